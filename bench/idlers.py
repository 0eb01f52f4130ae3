# SPDX-License-Identifier: AGPL-3.0-or-later
"""Thousands of connections in IDLE: what they hold, what they cost while nothing happens and at a beat, how soon they hear of news."""

import math
import pathlib
import smtplib
import subprocess
import sys
import time

from measure import cpu_nanoseconds, pss_bytes, settle_cpu
from systems import DOMAIN, ROOT

sys.path.insert(0, str(ROOT / "test"))
from harness import Cohue  # noqa: E402
from harness.idle import Idler, watch  # noqa: E402
from harness.dialogue import tls_context  # noqa: E402

CLOCK, AFTER = 20.0, 2.0  # arrive.clock, and from a tick to its beat (src/session/beat.h), seconds
DEFAULT_CLOCK = 120.0
WATCHED = 20  # members whose news is timed


def spent(house: Cohue, until: float) -> float:
    """Milliseconds of CPU of all roles from now to that time."""
    before = cpu_nanoseconds(house.pids())
    time.sleep(max(0.0, until - time.time()))
    return (cpu_nanoseconds(house.pids()) - before) / 1e6


def write_to(house: Cohue, addresses: list[str]) -> None:
    """In the lane of what enters at the next tick."""
    with smtplib.SMTP("127.0.0.1", house.port(25), local_hostname="stranger.test", timeout=20) as stranger:
        for address in addresses:
            stranger.sendmail("bob@stranger.test", [address.replace("@", "+now@")],
                              b"From: bob@stranger.test\r\nSubject: x\r\n\r\nHello\r\n")


def hold(imapload: pathlib.Path, house: Cohue, accounts: list[tuple[str, str]], count: int) -> subprocess.Popen:
    client = subprocess.Popen([imapload, "127.0.0.1", str(house.port(993)), "idle", str(count)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client.stdin.write("".join(f"{name} {password}\n" for name, password in accounts) + "\n")
    client.stdin.flush()
    if client.stdout.readline() != "ready\n":
        client.kill()
        raise AssertionError("idle connections failed")
    return client


def many(note, imapload: pathlib.Path, quick: bool) -> None:
    # One address may hold a quarter of all connections.
    members, count = (200, 1000) if quick else (1000, 5000)
    settings = {"arrive.law": "crowd", "arrive.clock": f"{CLOCK:g} s", "arrive.crowd": "1",
                "arrive.deadline": f"{2 * CLOCK:g} s", "gate_member.connections": str(4 * count)}
    with Cohue(DOMAIN, settings=settings) as house:
        accounts = [(m.address, m.password) for m in (house.add_member(f"user{i}") for i in range(members))]
        settle_cpu([house.process.pid])
        before = pss_bytes([house.process.pid])
        client = hold(imapload, house, accounts, count - WATCHED)
        listeners = [Idler(i, i, house.port(993), *accounts[i], tls_context()) for i in range(WATCHED)]
        settle_cpu([house.process.pid], limit=10)
        roots = [house.process.pid]
        quiet = pss_bytes(roots)
        tick = (math.floor(time.time() / CLOCK) + 1) * CLOCK
        time.sleep(max(0.0, tick + AFTER + 3 - time.time()))
        beaten = pss_bytes(roots)
        until = tick + CLOCK - 1
        window = until - time.time()
        nothing = spent(house, until) / window / 10
        at_beat = spent(house, tick + CLOCK + AFTER + 3) - nothing * 10 * (AFTER + 4)
        # News, for some: they hear of it with the beat, and are read by a client that has the kernel's time of it.
        write_to(house, [address for address, _ in accounts[:WATCHED]])
        tick = (math.floor(time.time() / CLOCK) + 1) * CLOCK
        watch(listeners, tick + AFTER + 3)
        heard = sorted(at / 1e9 - tick for i in listeners for at, _, told in i.events if told)
        for listener in listeners:
            listener.close()
        client.stdin.close()
        client.wait(60)
    if len(heard) != WATCHED:
        raise AssertionError(f"{len(heard)} of {WATCHED} heard of their letter")
    name = f"{count} connections of {members} members"
    note("many", f"{name}: memory", "Cohue", {
        "kib_per_connection": round((beaten - before) / count / 1024, 1),
        "before_first_beat": round((quiet - before) / count / 1024, 1)})
    note("many", f"{name}: processor", "Cohue", {
        "percent_of_a_core": round(nothing, 2), "ms_a_beat": round(at_beat, 1),
        "percent_with_a_beat_each_2_minutes": round(nothing + at_beat / DEFAULT_CLOCK / 10, 2)})
    note("many", f"{name}: news after the beat", "Cohue", {
        "median_ms": round((heard[WATCHED // 2] - AFTER) * 1e3, 1), "last_ms": round((heard[-1] - AFTER) * 1e3, 1)})
