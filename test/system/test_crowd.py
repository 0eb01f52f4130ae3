# SPDX-License-Identifier: AGPL-3.0-or-later
"""`cohue crowd` on the real binary: every command and format, what it refuses and how, and the times promised for large inputs."""

import csv
import io
import json
import pathlib
import random
import re
import resource
import socket
import struct
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree

from harness.cohue import cohue_binary


def crowd(*words: object, given: str = "") -> subprocess.CompletedProcess:
    return subprocess.run([cohue_binary(), "crowd", *map(str, words)], input=given, capture_output=True, text=True,
                          timeout=120, check=False)


class Crowd(unittest.TestCase):
    seconds = 12

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
        self.assertEqual([(f["accounts"], f["urgent"]) for f in r["flooded"]],
                         [(c, urgent) for urgent in (False, True) for c in (1, 2, 3)])
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
        # Who is alone is no crowd, whatever a simulation of it would say of a promise kept.
        self.assertIn("--crowd: leave.crowd: \"1\" is out of range. Remedy: give a number from 2 to 1000", self.refused("simulate", "--members", 10, "--crowd", 1))
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

    def answered(self, lines: list[str], *words: object) -> subprocess.CompletedProcess:
        """A command that asks the service, whose status has these lines of the mixer."""
        status = "".join(f"{line}\n" for line in ["supervisor 0 state ready", "mixer 0 waiting_to_leave 3",
                                                  *(f"mixer 0 {line}" for line in lines)]).encode()
        with tempfile.TemporaryDirectory(prefix="cohue-test-") as place, \
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind(f"{place}/control.sock")
            door.listen()
            door.settimeout(20)

            def answer() -> None:
                peer, _ = door.accept()
                with peer:
                    peer.recv(100)
                    peer.send(b"\0" + struct.pack(">I", 0) + struct.pack(">I", len(status)) + status)

            thread = threading.Thread(target=answer)
            thread.start()
            ran = crowd(*words, "--home", place)
            thread.join()
            return ran

    def test_live_tells_the_day_and_the_month_of_the_running_service(self) -> None:
        facts = ["crowd.members 40", "crowd.counting 31", "crowd.clock 1800", "crowd.k 3"]
        sums = [f"crowd.hour.{490000 + h} letters=10 deliveries=20 void=1 urgent=1 wait=9000 crowd=55 guess=2000000 ticks=2 "
                "bytes=100 padded=250 taken=20 shown=3" for h in range(24)]
        days = [f"crowd.day.{20400 + d} letters=124 deliveries=124 wait=111600 crowd=620 guess=12400000" for d in range(30)]
        ran = self.answered(facts + sums + days, "live", "--json")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        r = json.loads(ran.stdout)
        day, month = r["sums"][0]["day"], r["sums"][1]["month"]
        self.assertEqual((r["members"], r["counting"], r["crowd"], r["clock_s"]), (40, 31, 3, 1800))
        self.assertEqual((day["letters"], day["deliveries"], day["void"]), (240, 480, 24))
        self.assertEqual((day["wait_mean_min"], day["crowd_mean"], day["guess"], day["padding"]), (15, 5.5, 0.1, 2.5))
        self.assertEqual((day["taken"], day["void_for_size"], month["void_for_size"]), (480, 72, 0))
        self.assertEqual((month["letters"], month["guess"]), (3720, 0.1))
        ran = self.answered(facts + sums + days, "live")
        self.assertIn("40 members, of whom 31 count", ran.stdout)
        self.assertRegex(ran.stdout, r"last 24 hours +240 +15 min +5.5 +10.0 % +10.00 % +15.00 % +2.50")
        rows = list(csv.DictReader(io.StringIO(self.answered(facts + sums + days, "live", "--format", "csv").stdout)))
        self.assertEqual(len(rows), 54)
        self.assertEqual((rows[0]["taken"], rows[0]["void_for_size"], rows[30]["taken"]), ("20", "3", "0"))
        # 124 letters a day of 31 who count: 4 a day.
        advice = json.loads(self.answered(facts + sums + days, "advise", "--live", "--json").stdout)
        self.assertEqual((advice["members"], advice["rate"]), (31, 4))
        for lines in (["crowd.hour.7 letters=x"], [], facts[:1]):
            ran = self.answered(lines, "live")
            self.assertEqual((ran.returncode, ran.stdout), (1, ""), lines)
            self.assertIn("Remedy: ", ran.stderr)
        ran = self.answered(facts, "advise", "--live")
        self.assertIn("no days to judge by", ran.stderr)

    def test_the_report_is_one_page_with_its_plots(self) -> None:
        with tempfile.TemporaryDirectory(prefix="cohue-test-") as place:
            self.good("report", "--out", place)
            page = (pathlib.Path(place) / "crowd.md").read_text()
            plots = re.findall(r"\]\((crowd/[a-z-]+\.svg)\)", page)
            self.assertEqual(len(plots), 4)
            for plot in plots:
                xml.etree.ElementTree.parse(pathlib.Path(place) / plot)
            # Each table's rows have as many cells as its head, and nothing was left out.
            for table in re.findall(r"(?:^\|.*\n)+", page, re.M):
                self.assertEqual(len({row.count("|") for row in table.splitlines()}), 1, table)
            self.assertNotIn("nan", page)
            self.assertRegex(page, r"\| 1 \| 100 % \| 0\.00 \|")
            self.refused("report", "--out", pathlib.Path(place) / "none")

    def test_large_inputs_take_work_in_proportion(self) -> None:
        # The size of the email-Eu trace, and fifteen times as much: a simulation's work grows with the letters, not faster.
        chance = random.Random(2)
        trace = "\n".join(f"{chance.randrange(900)} {chance.randrange(900)} {i * 140}" for i in range(332_334))
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.good("simulate", "--trace", "-", given=trace)
        middle = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.good("simulate", "--members", 1_000_000, "--rate", 5, "--days", 1)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertLess(end.ru_utime - middle.ru_utime, 60 * max(middle.ru_utime - start.ru_utime, 0.1))
        self.assertLess(end.ru_maxrss, 500 * 1024)


if __name__ == "__main__":
    unittest.main()
