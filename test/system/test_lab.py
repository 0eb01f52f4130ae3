# SPDX-License-Identifier: AGPL-3.0-or-later
"""The attacker that only sees packets: that it finds what shows, that it finds nothing by chance, and that the house passes it."""

import pathlib
import random
import struct
import subprocess
import tempfile
import unittest
import unittest.mock

from harness.cohue import require_root
from lab import attack, lab, line, rule, world
from lab.attack import Batch, Sent, Went
from lab.line import Capture, Connection, Question, Record, Way
from lab.rule import Letter


class House(unittest.TestCase):
    alone = "it measures what load would blur"
    seconds = 40

    def test_nothing_shows_beyond_theory(self) -> None:
        require_root()
        if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("the kernel gives no network namespaces here")
        verdict, truth = lab.watch(lab.SHORT)
        said = lab.report(verdict, truth, lab.SHORT, False)
        self.assertEqual((verdict.broken, truth.problems), ({}, []), said)
        # Enough was seen for that to mean something.
        found = verdict.found
        self.assertGreater(found.letters, 100, said)
        self.assertGreater(found.crowd, 4, said)
        self.assertGreater(found.arrivals, 60, said)
        self.assertGreater(found.names.asked, found.letters, said)
        self.assertGreater(min(found.beats.quiet, found.beats.news), 50, said)
        self.assertLess(verdict.power, 0.5, said)


def made_up(chance: random.Random, batches: int, size: int, leak: float = 0.0) -> list[Batch]:
    """Batches of letters by different members; of so large a share, what is seen afterwards has the order of what was before."""
    found = []
    for tick in range(batches):
        sent = [Sent(("m", n), Letter(f"m{chance.randrange(40)}", tick + n / size, chance.randrange(50000)), {})
                for n in range(size)]
        for s in sent:
            s.sight = {"entered": s.letter.time, "octets": s.letter.octets, "who": float(s.letter.who[1:])}
        fates = list(sent)
        chance.shuffle(fates)
        seen = []
        for place, s in enumerate(fates):
            hidden = {f: chance.random() for f in ("begun", "ended", "octets")}
            if chance.random() < leak:
                hidden["octets"] = s.letter.octets / 50000
            seen.append(Went(("h", place), tick, tick + 1.0, hidden))
        found.append(Batch(sent, seen, [s.letter.who for s in fates], list(fates)))
    return found


PAIRS = [("entered", "begun"), ("entered", "ended"), ("who", "begun"), ("octets", "begun"), ("octets", "octets")]
BOUND = lab.LEVEL / 75


class Attacker(unittest.TestCase):
    def test_the_rule_gives_the_shares_of_the_law(self) -> None:
        oracles = [([1, 1, 1], 3, 1), ([5, 1, 1], 3, 1), ([5, 2, 2, 1], 3, 2), ([10, 3, 3, 2, 1, 1], 5, 2),
                   ([4, 4, 4, 4], 3, 4), ([9, 9], 3, 0), ([7, 3], 2, 3), ([6], 1, 6), ([8, 1, 1], 3, 1)]
        for counts, k, want in oracles:
            self.assertEqual(rule.share(counts, k), want, (counts, k))

    def test_the_rule_releases_as_the_law_does(self) -> None:
        def of(*letters: tuple[str, float], deadline: float = 10) -> dict[int, list[str]]:
            made = [Letter(who, time, 0, number) for number, (who, time) in enumerate(letters)]
            return {tick: [m.who for m in batch] for tick, batch in rule.batches(made, 1, 3, deadline, 60).items()}
        self.assertEqual(of(("a", 0.1), ("b", 0.2), ("c", 0.3)), {1: ["a", "b", "c"]})
        # Two wait for a third one, in vain: void at the deadline.
        self.assertEqual(of(("a", 0.1), ("b", 0.2)), {11: ["a", "b"]})
        self.assertEqual(of(("a", 0.1), ("b", 0.2), ("c", 4.5)), {5: ["a", "b", "c"]})
        # A flood is held back by its share, and leaves alone when it is overdue.
        self.assertEqual(of(("a", 0.1), ("a", 0.2), ("b", 0.3), ("c", 0.4)), {1: ["a", "b", "c"], 11: ["a"]})

    def test_finds_nothing_where_nothing_is(self) -> None:
        chance = random.Random(11)
        below = correlated = 0
        for _ in range(120):
            batches = made_up(chance, 16, 9)
            scores = attack.panel(batches, PAIRS) + [attack.neighbours(batches, "begun"), attack.neighbours(batches, "ended")]
            trends = attack.trends(batches, PAIRS)
            self.assertGreater(min(s.p() for s in scores + trends), BOUND)
            correlated += sum(t.p() < 0.05 for t in trends)
            below += sum(s.p() < 0.05 for s in scores)
        # Each attacker's p is what it says, or larger.
        self.assertLess(below / (120 * 2 * (len(PAIRS) + 1)), 0.075)
        self.assertLess(correlated / (120 * len(PAIRS)), 0.085)

    def test_finds_order_and_sizes_where_they_show(self) -> None:
        chance = random.Random(12)
        batches = made_up(chance, 16, 9, leak=1.0)
        worst = min(attack.panel(batches, PAIRS), key=lambda s: s.p())
        self.assertEqual(worst.name, "octets with octets")
        self.assertEqual(worst.hits, 16 * 9)
        self.assertGreater(attack.learned(batches, PAIRS).interval()[0], 3)

    def test_finds_an_order_that_is_cut_up(self) -> None:
        for backwards in (False, True):
            batches = made_up(random.Random(18), 8, 9)
            for batch in batches:
                # The second one comes last, and the last but one second: so the lookups leave it.
                order = sorted(range(9), key=lambda i: batch.real[i].letter.time, reverse=backwards)
                for at, i in enumerate([order[0], order[7], *order[2:7], order[8], order[1]]):
                    batch.seen[i].sight["begun"] = batch.seen[i].time + at / 1000
            found = attack.neighbours(batches, "begun")
            self.assertEqual(found.hits, 8 * 4)
            self.assertAlmostEqual(found.theory, 8 * 16 / 9)
            self.assertLess(found.p(), lab.LEVEL / 20)
            self.assertGreater(attack.neighbours(batches, "ended").p(), 0.01)

    def test_finds_what_shows_faintly(self) -> None:
        batches = made_up(random.Random(15), 16, 9, leak=0.8)
        self.assertLess(min(t.p() for t in attack.trends(batches, PAIRS)), BOUND)

    def test_the_theory_of_a_guess_is_its_mean_over_all_orders(self) -> None:
        chance = random.Random(13)
        batch, = made_up(chance, 1, 8)
        batch.truth[:4] = ["m1", "m1", "m1", "m2"]
        guess = ["m1", "m1", "m2", *batch.truth[4:7], "m3", "m1"]
        s = attack.score("", [batch], lambda _: guess)
        hits = []
        for _ in range(20000):
            truth = list(batch.truth)
            chance.shuffle(truth)
            hits.append(sum(g == t for g, t in zip(guess, truth)))
        mean = sum(hits) / len(hits)
        self.assertAlmostEqual(s.theory, mean, delta=0.03)
        self.assertAlmostEqual(s.variance, sum((h - mean) ** 2 for h in hits) / len(hits), delta=0.06)

    def test_news_that_shows_has_an_auc_of_one(self) -> None:
        self.assertEqual(attack.auc([2, 3], [1, 1, 0])[0], 1.0)
        self.assertEqual(attack.auc([1, 1], [1, 1, 1])[0], 0.5)
        self.assertEqual(attack.auc([0, 0], [1, 1])[0], 0.0)

    def test_news_within_a_tick_are_told_from_ticks_that_are_late_for_all(self) -> None:
        chance = random.Random(16)

        def ticks(late: float, own: float) -> list[tuple[list[float], list[float]]]:
            """Of 300 ticks a tenth is late for all, and in these more have news; own news make later, too."""
            found = []
            for number in range(300):
                base, news = (late, 12) if number % 10 == 0 else (0.0, 2)
                found.append(([base + own + chance.random() for _ in range(news)],
                              [base + chance.random() for _ in range(30)]))
            return found
        apart = ticks(5.0, 0.0)
        value, error = attack.within(apart)
        self.assertLess(abs(value - 0.5), 4 * error)
        together, error = attack.auc([w for news, _ in apart for w in news], [w for _, quiet in apart for w in quiet])
        self.assertGreater(together - 0.5, 4 * error)
        value, error = attack.within(ticks(5.0, 0.2))
        self.assertGreater(value - 0.5, 4 * error)

    def test_the_power_is_what_it_says(self) -> None:
        chance = random.Random(14)
        batches = made_up(chance, 16, 9)
        theory = attack.score("", batches, attack.ranked("octets", "octets")).theory
        share = lab.power(theory, 16 * 9, BOUND)
        # A share of letters whose sizes show is not quite a share of letters that are linked: ranks get mixed up. One
        # whose links show is:
        seen = 0
        for _ in range(60):
            batches = made_up(chance, 16, 9)
            answer = {id(b): [t if chance.random() < share else chance.choice(b.candidates).letter.who for t in b.truth]
                      for b in batches}
            mean = sum(sum(b.truth.count(s.letter.who) for s in b.candidates) / len(b.candidates) for b in batches)
            hits = sum(sum(a == t for a, t in zip(answer[id(b)], b.truth)) for b in batches)
            seen += attack.poisson_tail(hits, mean) < BOUND
        self.assertGreaterEqual(seen, 57)


class Judge(unittest.TestCase):
    def test_a_port_of_the_house_that_comes_again_is_told_by_the_other_end(self) -> None:
        plan = world.Plan(clock=1)
        house, hosts = "10.53.0.2", ["10.53.0.60", "10.53.0.61", "10.53.0.62"]
        truth = world.Truth()
        capture = Capture([], [])

        def line_of(client: world.Place, server: world.Place, begun: float, size: int) -> None:
            up, down = Way(), Way()
            up.packets, up.records = [(begun, size)], [Record(begun, 23, size)]
            down.packets, down.records = [(begun + 0.01, 50)], [Record(begun + 0.01, 23, 50)]
            capture.connections.append(Connection(client, server, begun, up, down))
        for tick in (100, 110):
            for n in range(3):
                number, end = tick + n, (f"10.53.0.{140 + n}", tick)
                truth.sent[number], truth.delivered[number] = end, ((house, 5000 + n), hosts[(n + tick // 10) % 3])
                line_of(end, (house, 465), tick + 0.2 + n / 10, 5000)
                # In the tick before, too, somebody asked for that host: that was for another letter. For the third of a batch it
                # was enough.
                capture.questions += [Question(tick + at, "10.53.0.1", f"d{(n + tick // 10) % 3}.test", 15)
                                      for at in (0.5, 1.02)[:1 + (n < 2)]]
                line_of(truth.delivered[number][0], (truth.delivered[number][1], 25), tick + 1.05 + n / 100, 60000)
        seen = world.Seen(pathlib.Path(), house, {f"d{n}.test": host for n, host in enumerate(hosts)}, [], 99.0, 120.0)
        _, _, batches, foreseen, inside = attack.leaving(capture, seen, truth, plan)
        self.assertEqual((foreseen, inside), (1.0, 1.0))
        self.assertEqual([b.truth for b in batches], [["10.53.0.140", "10.53.0.141", "10.53.0.142"]] * 2)
        self.assertEqual([[r.place[1] for r in b.real] for b in batches], [[100] * 3, [110] * 3])
        self.assertEqual([[round(w.sight["asked"] % 1, 3) for w in b.seen] for b in batches], [[0.02, 0.02, 0.07]] * 2)

    def test_where_a_letter_goes_does_not_depend_on_when_in_its_tick_it_enters(self) -> None:
        place = world.Lab.__new__(world.Lab)
        for plan, rate in ((lab.SHORT, lab.SHORT.leaving), (lab.LONG, lab.LONG.leaving)):
            place.plan, place.used = plan, {}
            place.domains = {f"d{n}": "" for n in range(plan.hosts)}
            chance, now, again = random.Random(17), 1000.0, 0
            batch_of: dict[str, int] = {}
            for number in range(4000):
                now += chance.expovariate(rate)
                with unittest.mock.patch("time.time", lambda: now):
                    chosen = place.destination(chance)
                tick = int((now + chance.uniform(0.01, 0.3)) // plan.clock)
                again += tick - batch_of.get(chosen, 0) <= 1
                batch_of[chosen] = tick
            self.assertLess(again, 4)  # for once more letters than hosts


def frame(source: tuple[str, int], target: tuple[str, int], sequence: int, flags: int, data: bytes = b"") -> bytes:
    def ip(address: str) -> bytes:
        return bytes(map(int, address.split(".")))
    tcp = struct.pack(">HHIIBBHHH", source[1], target[1], sequence, 0, 5 << 4, flags, 1000, 0, 0) + data
    return bytes(12) + b"\x08\x00" + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ip(source[0]) \
        + ip(target[0]) + tcp


class Line(unittest.TestCase):
    def read(self, frames: list[bytes]) -> line.Capture:
        with tempfile.TemporaryDirectory(prefix="cohue-test-") as place:
            path = pathlib.Path(place) / "line.pcap"
            path.write_bytes(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1) + b"".join(
                struct.pack("<IIII", 1000 + n, 0, len(f), len(f)) + f for n, f in enumerate(frames)))
            return line.read(path)

    def test_record_headers_are_found_across_cut_repeated_and_swapped_segments(self) -> None:
        a, b = ("10.53.0.1", 5000), ("10.53.0.2", 25)
        records = b"".join(struct.pack(">BHH", kind, 0x303, size) + bytes(size) for kind, size in
                           ((22, 300), (23, 1040), (23, 16401)))
        hello = b"EHLO somebody\r\n"
        first = 0xffffff00  # the numbers wrap
        stream = hello + records
        cuts = [0, len(hello), len(hello) + 100, len(hello) + 303, len(hello) + 308, len(hello) + 5000, len(stream)]
        parts = [((first + 1 + x) & 0xffffffff, stream[x:y]) for x, y in zip(cuts, cuts[1:])]
        order = [parts[0], parts[1], parts[1], parts[3], parts[2], parts[3], parts[5], parts[4]]
        c, = self.read([frame(a, b, first, 2), frame(b, a, 77, 0x12), *(frame(a, b, s, 0x18, d) for s, d in order)]
                       ).connections
        self.assertEqual((c.client, c.server, c.begun), (a, b, 1000.0))
        self.assertEqual([(r.kind, r.size) for r in c.up.records], [(22, 300), (23, 1040), (23, 16401)])
        self.assertEqual(c.up.octets(), len(stream))
        self.assertEqual(len(c.up.data()), 2)


if __name__ == "__main__":
    unittest.main()
