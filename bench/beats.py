#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many connections in IDLE on a fast clock: can who sees their TLS records tell news from none? And what do they cost?

The clients run on the same machine and stamp each segment with the kernel's time, so that the times are sharper than those of
anybody on a network. Each connection at each tick is a sample; half of the members, chosen anew each time, get a message.
"""

import argparse
import math
import pathlib
import resource
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "test"))
from harness.cohue import Cohue  # noqa: E402
from harness.idle import Writer, crowd, places, residuals, samples, tell, watch  # noqa: E402


def pss(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        for line in pathlib.Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def cpu(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        # User and system, in hundredths of a second.
        fields = pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=250)
    parser.add_argument("--each", type=int, default=4, help="connections of each member")
    parser.add_argument("--ticks", type=int, default=15)
    parser.add_argument("--clock", type=float, default=1.0, help="seconds, at least 1")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    wanted = given.members * given.each
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(1024, wanted * 4)), hard))
    settings = {"arrive.law": "crowd", "arrive.clock": f"{given.clock:g} s", "arrive.crowd": "1",
                "arrive.deadline": f"{2 * given.clock:g} s", "gate_member.connections": str(8 * wanted)}
    with Cohue(settings=settings) as house:
        members = [house.add_member(f"member{n}") for n in range(given.members)]
        accounts = [(m.address, m.password) for m in members]
        # What the first connection of each member costs is not what one more does.
        first_ones = crowd(house.port(993), accounts, 1)
        pids = house.pids()
        before = pss(pids)
        idlers = first_ones + crowd(house.port(993), accounts, given.each - 1)
        for number, idler in enumerate(idlers):
            idler.number = number
        quiet = pss(pids)
        watch(idlers, (math.floor(time.time() / given.clock) + 4.5) * given.clock)
        beaten = pss(pids)
        writer = Writer(house.port(25), [m.address for m in members], given.clock, given.seed)
        writer.start()
        first = math.floor(time.time() / given.clock) + 2
        used = cpu(pids)
        watch(idlers, (first + given.ticks) * given.clock + 0.05)
        used = cpu(pids) - used
        writer.ended.set()
        writer.join()
        told_to = pss(pids)
        for idler in idlers:
            idler.close()
    found = samples(idlers, given.clock, first, first + given.ticks)
    more = len(idlers) - given.members
    print(f"{len(idlers)} connections, {given.ticks} ticks: {len(found)} samples of {len(idlers) * given.ticks}, "
          f"{sum(s.news for s in found)} with news, {writer.sent} messages")
    shapes = {s.sizes for s in found}
    print(f"records between two ticks: {sorted(shapes)}")
    after = sorted(s.after for s in found)
    print("after the tick, ms: " + ", ".join(f"{name} {1000 * after[min(len(after) - 1, int(len(after) * p))]:.2f}"
                                           for name, p in (("first", 0), ("median", 0.5), ("99 %", 0.99), ("last", 1))))
    rest = sorted(abs(v) for v in residuals(found))
    print(f"beside a connection's usual place in a tick, ms: median {1000 * rest[len(rest) // 2]:.3f}")
    told = {"size": tell(found, [float(sum(s.sizes)) for s in found], 1),
            "number": tell(found, [float(len(s.sizes)) for s in found], 1),
            "time": tell(found, [s.after for s in found], 1),
            "time, places known": tell(found, residuals(found), 1),
            "place in its tick": tell(found, [place for place, _ in places(found)], 1),
            "gap to the record before": tell(found, [gap for _, gap in places(found)], 1)}
    for name, value in told.items():
        print(f"news told by {name}: {value}; 95 %: {value.auc - 1.96 * value.error:.4f} to {value.auc + 1.96 * value.error:.4f}")
    print(f"a connection in IDLE: {(quiet - before) / more:.1f} KiB before its first beat, "
          f"{(beaten - before) / more:.1f} KiB after a few, {(told_to - before) / more:.1f} KiB with all that came in")
    print(f"processor: {1e6 * used / max(1, len(found)):.0f} us a beat, arriving mail and its filing with it")
    good = shapes == {(512,)} and len(found) == len(idlers) * given.ticks and all(t.distance <= 0.02 for t in told.values())
    print("ok: AUC within 0.02 of chance" if good else "FAILED: news shows")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
