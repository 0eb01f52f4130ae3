# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `make bench` measures with still fits together: every system it starts is made, and the row with most parts runs, with a few letters."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import bench  # noqa: E402
import checked  # noqa: E402
from peers import peers_available  # noqa: E402


class Bench(unittest.TestCase):
    seconds = 15

    @classmethod
    def setUpClass(cls) -> None:
        peers_available()

    def test_each_part_finds_its_systems(self) -> None:
        relays, readers, holders = bench.peers(True)
        for make in (*relays, *readers, *(make for make, *_ in holders)):
            made = make()
            self.assertTrue(made.name)
            made.__exit__()
        self.assertEqual(bench.peers(False), ([], [], []))
        self.assertEqual(len(bench.parts([bench.House], relays, readers, holders, True)), 9)

    def test_the_row_with_most_parts_runs(self) -> None:
        """Postfix with rspamd as its milter before Dovecot, and Cohue: both judge who sent what a load program sends."""
        with tempfile.TemporaryDirectory(prefix="cohue-bench-") as place, contextlib.redirect_stdout(io.StringIO()) as said, \
                unittest.mock.patch.object(bench, "OUT", pathlib.Path(place)), unittest.mock.patch.object(checked, "ROWS", [("4 kB", 4000, 50, 50)]):
            bench.build()
            checked.arrive_checked(["clear", "Cohue"], True, bench.note, bench.smtp_load)
            bench.ratios()
        self.assertIn("Cohue against Postfix + Dovecot + rspamd (clear): per_second", said.getvalue())


if __name__ == "__main__":
    unittest.main()
