# SPDX-License-Identifier: AGPL-3.0-or-later
"""`cohue crowd` on the real binary: every command and format, what it refuses and how, and the times promised for large inputs."""

import csv
import io
import json
import pathlib
import random
import resource
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

from harness.cohue import cohue_binary


def crowd(*words: object, given: str = "") -> subprocess.CompletedProcess:
    return subprocess.run([cohue_binary(), "crowd", *map(str, words)], input=given, capture_output=True, text=True,
                          timeout=120, check=False)


class Crowd(unittest.TestCase):
    def good(self, *words: object, given: str = "") -> str:
        ran = crowd(*words, given=given)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), words)
        return ran.stdout

    def refused(self, *words: object, given: str = "") -> str:
        ran = crowd(*words, given=given)
        self.assertEqual((ran.returncode, ran.stdout), (1, ""), words)
        self.assertIn("Remedy: ", ran.stderr)
        self.assertEqual(ran.stderr.count("\n"), 1, ran.stderr)
        return ran.stderr

    def test_the_table_says_the_same_in_each_format(self) -> None:
        asked = ("table", "--members", "10,100", "--rates", "1,5", "--clocks", "60")
        rows = json.loads(self.good(*asked, "--json"))
        self.assertEqual([(r["members"], r["rate"]) for r in rows], [(10, 1), (100, 1), (10, 5), (100, 5)])
        # b = 100 * 5 / 24; (1 - e^-b) / b
        self.assertAlmostEqual(rows[3]["guess_batch"], 0.048, places=4)
        lines = list(csv.DictReader(io.StringIO(self.good(*asked, "--format", "csv"))))
        self.assertEqual([float(line["guess_batch"]) for line in lines], [r["guess_batch"] for r in rows])
        self.assertIn("4.8 %", self.good(*asked))
        svg = xml.etree.ElementTree.fromstring(self.good(*asked, "--format=svg"))
        self.assertEqual(len(svg.findall(".//{http://www.w3.org/2000/svg}path")), 2)

    def test_a_simulation_keeps_the_promise_and_repeats_itself(self) -> None:
        asked = ("simulate", "--members", 60, "--rate", 3, "--days", 60, "--clock", "60 m", "--crowd", 4, "--sizes", "fifth")
        first = self.good(*asked, "--json")
        self.assertEqual(first, self.good(*asked, "--json"))
        r = json.loads(first)
        here = r["single"]["here"]
        self.assertEqual(here["above_promise"], 0)
        self.assertLessEqual(here["largest_kept"], 0.25 + 1e-9)
        self.assertLess(here["guess"], r["single"]["exponential"]["guess"])
        self.assertAlmostEqual(r["single"]["exponential"]["wait_mean_min"] / here["wait_mean_min"], 1, delta=0.05)
        self.assertEqual([b["void"] for b in r["blocked"]], [True, True, True, False, False])
        self.assertEqual([f["accounts"] for f in r["flooded"]], [1, 2, 3])
        self.assertGreater(r["regular"]["normal"]["bayes_90_days"], 0.8)
        self.assertNotEqual(first, self.good(*asked, "--json", "--seed", 2))
        self.assertIn("nobody is told", self.good(*asked))
        rows = list(csv.DictReader(io.StringIO(self.good(*asked, "--format", "csv"))))
        self.assertEqual([r["law"] for r in rows], ["crowd", "exponential", "plain batch"])
        exponential = json.loads(self.good("simulate", "--members", 60, "--law", "exponential", "--mean", "30m", "--json"))
        self.assertAlmostEqual(exponential["single"]["here"]["wait_mean_min"], 29, delta=1)

    def test_a_trace_is_read_and_its_garbage_named_by_line(self) -> None:
        chance = random.Random(1)
        rows = [f"p{chance.randrange(30)} q{chance.randrange(30)} {t}" for t in range(0, 40 * 86400, 700)]
        chance.shuffle(rows)
        r = json.loads(self.good("simulate", "--trace", "-", "--json", given="# a heading\n" + "\n".join(rows)))
        self.assertEqual(r["source"]["letters"], len(rows))
        self.assertEqual(r["source"]["people"], 30)
        with tempfile.TemporaryDirectory(prefix="cohue-test-") as place:
            path = pathlib.Path(place) / "trace"
            path.write_text("\n".join(rows[:50]) + "\n1 2 three\n")
            self.assertIn(f"{path}:51: ", self.refused("simulate", "--trace", path))
            path.write_bytes(b"\x1f\x8b\x08rest")
            self.assertIn("gunzip", self.refused("simulate", "--trace", path))
            self.assertIn("cannot be read", self.refused("simulate", "--trace", path / "none"))

    def test_impossible_settings_are_refused_with_advice(self) -> None:
        self.assertIn("--crowd 4 or less", self.refused("simulate", "--members", 4, "--crowd", 5))
        self.assertIn("only 2 could ever count", self.refused("simulate", "--trace", "-", given="a b 1\nb a 9000\n"))
        self.refused("simulate")
        self.refused("simulate", "--members", 10, "--trace", "-")
        self.refused("simulate", "--members", "many")
        self.refused("simulate", "--members", 10, "--clock", "soon")
        self.refused("simulate", "--members", 10, "--clock", "2 h", "--deadline", "1 h")
        self.refused("advise", "--members", 2)
        self.refused("table", "--members", "1,,2")
        self.refused("live", "--home", "/nonexistent")
        for words in (("table", "--what"), ("simulate", "extra"), ("advise", "--members"), ("live", "--members", 4)):
            self.assertEqual(crowd(*words).returncode, 2, words)

    def test_advice_fits_its_limits(self) -> None:
        r = json.loads(self.good("advise", "--members", 100, "--rate", 5, "--wait", 40, "--json", "--alliance", 4))
        best = r["choices"][r["best"]]
        self.assertTrue(best["fits"])
        self.assertLessEqual(best["wait_mean_s"], 2400)
        self.assertEqual(best["guess"], min(c["guess"] for c in r["choices"] if c["fits"]))
        self.assertLess(r["alliance"]["risk_as_house"], r["alliance"]["risk_as_whole"])
        text = self.good("advise", "--members", 12, "--rate", "0.5")
        self.assertIn("leave.patient = 168 h", text)
        self.assertIn("a model, not a measurement", text)

    def test_large_inputs_take_seconds(self) -> None:
        # The size of the email-Eu trace; generous bounds, since the machine may be busy.
        chance = random.Random(2)
        trace = "\n".join(f"{chance.randrange(900)} {chance.randrange(900)} {i * 140}" for i in range(332_334))
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.good("simulate", "--trace", "-", given=trace)
        middle = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertLess(middle.ru_utime - start.ru_utime, 3)
        self.good("simulate", "--members", 1_000_000, "--rate", 5, "--days", 1)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertLess(end.ru_utime - middle.ru_utime, 8)
        self.assertLess(end.ru_maxrss, 500 * 1024)


if __name__ == "__main__":
    unittest.main()
