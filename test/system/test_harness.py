# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tools that other tests trust: a search that finds what lies there, and waiting that ends."""

import base64
import pathlib
import shutil
import tempfile
import unittest

from harness import Timeout, find_markers, wait_until


class Markers(unittest.TestCase):
    def setUp(self) -> None:
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="cohue-test-"))
        self.addCleanup(shutil.rmtree, self.place)

    def test_a_marker_is_found_in_every_shape_and_only_where_it_is(self) -> None:
        word = "Quetzalcoatl7"
        shapes = {"plain": word.encode(), "upper": word.upper().encode(), "wide": word.encode("utf-16-le"),
                  "hex": word.encode().hex().encode(),
                  **{f"base64-{n}": base64.b64encode(b"x" * n + word.encode() + b"yz") for n in range(4)}}
        for name, octets in shapes.items():
            (self.place / name).write_bytes(b"\0noise" + octets + b"noise\0")
        (self.place / "clean").write_bytes(b"Quetzal coatl")
        found = {pathlib.Path(hit.partition(": ")[0]).name for hit in find_markers([self.place], [word])}
        self.assertEqual(found, set(shapes))

    def test_a_marker_in_a_file_name_is_found(self) -> None:
        (self.place / "of-Quetzalcoatl7.db").write_bytes(b"")
        self.assertTrue(find_markers([self.place], ["Quetzalcoatl7"]))
        self.assertEqual(find_markers([self.place], ["Xolotl9"]), [])


class Waiting(unittest.TestCase):
    def test_waiting_ends_and_says_for_what(self) -> None:
        with self.assertRaisesRegex(Timeout, "pigs"):
            wait_until(lambda: False, 0.1, "pigs fly")
        self.assertEqual(wait_until(lambda: 7, 0.1), 7)


if __name__ == "__main__":
    unittest.main()
