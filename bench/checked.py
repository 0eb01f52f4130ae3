# SPDX-License-Identifier: AGPL-3.0-or-later
"""What it costs to judge who sent a message: by itself, and where mail arrives."""

import contextlib
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

from measure import settle_cpu
from systems import DOMAIN, House, Peers  # which also finds the tests' modules
from harness.dialogue import imap_login
from peers import Knot

SENDER = "other.test"
# Different messages: Message-ID, subject, words, and with them the signature.
DISTINCT = 200
WORDS = "minutes of the meeting were read and agreed the treasurer reports that the fund for the garden stands as before".split()


def tree() -> pathlib.Path:
    """Where the binary under test was built."""
    return pathlib.Path(os.environ["COHUE_BIN"]).resolve().parents[1]


def build(name: str) -> None:
    subprocess.run(["ninja", "-C", tree(), f"src/authentication/{name}"], check=True, capture_output=True)


def authentication(note, quick: bool) -> None:
    """CPU of the library alone, for one message."""
    build("authentication_bench")
    for size in (30000, 4000):
        ran = subprocess.run([tree() / "src/authentication/authentication_bench", str(size), "100" if quick else "400"],
                             capture_output=True, text=True, check=True)
        took = json.loads(ran.stdout)
        together = took["sign_both"] + took["judge"]
        for label, key in (("sign, RSA-2048", "sign_rsa"), ("sign, RSA-2048 and Ed25519", "sign_both"),
                           ("verify DKIM, RSA-2048", "verify_rsa"), ("verify DKIM, RSA-2048 and Ed25519", "verify_both"), ("SPF", "spf"),
                           ("DMARC", "dmarc"), ("judge: SPF, DKIM (RSA), ARC, DMARC", "judge")):
            note("authentication", f"{label}, {size // 1000} kB", "Cohue", {"cpu_ms": took[key]})
        note("authentication", f"sign by both, and judge, {size // 1000} kB", "Cohue", {"cpu_ms": round(together, 4)})
        if size == 30000 and together >= 1:
            print(f"authentication: {together:.2f} ms for a message of 30 kB: the target is less than 1 ms", flush=True)


def text(number: int, size: int) -> bytes:
    r = random.Random(number)
    head = (f"Received: from client.{SENDER} (client.{SENDER} [192.0.2.7])\r\n\tby mx.{SENDER} with ESMTPSA id {number:016x}\r\n"
            f"\tfor <user@{DOMAIN}>; Sun, 22 Nov 2026 10:00:00 +0000\r\n"
            f"From: Sender <sender@{SENDER}>\r\nTo: <user@{DOMAIN}>\r\nSubject: Minutes, part {number}, and what is left to do\r\n"
            f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{r.getrandbits(64):016x}@{SENDER}>\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
    lines, length = [head], len(head)
    while length < size:
        line = " ".join(r.choice(WORDS) for _ in range(11)) + "\r\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()


def signed(size: int, path: pathlib.Path, selector: str) -> str:
    """Writes messages signed by RSA-2048, each after its length; the key's record."""
    made = (text(number, size) for number in range(DISTINCT))
    ran = subprocess.run([tree() / "src/authentication/authentication_dump", "sign", "rsa", SENDER, selector],
                         input=b"".join(b"%d\n" % len(m) + m for m in made), capture_output=True, check=True)
    record, _, messages = ran.stdout.partition(b"\n")
    path.write_bytes(messages)
    return record.decode()


def strings(record: str) -> str:
    return " ".join(f'"{record[i:i + 250]}"' for i in range(0, len(record), 250))


def check(system, user: int) -> None:
    """That it was judged, and found genuine: by DKIM, SPF and DMARC."""
    client = imap_login(system.imap_port, *system.accounts[user])
    try:
        client.select("INBOX", readonly=True)
        head = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (AUTHENTICATION-RESULTS)])")[1][0][1].decode()
    finally:
        client.logout()
    missing = [word for word in ("dkim=pass", "spf=pass", "dmarc=pass") if word not in head]
    if missing:
        raise AssertionError(f"{system.name}: not {', '.join(missing)}: {head}")


# name, size, messages for the peers, for Cohue.
ROWS = [("4 kB, judged, one a connection, 10 connections", 4000, 600, 3000),
        ("30 kB, judged, one a connection, 10 connections", 30000, 600, 3000)]


def arrive_checked(which: list[str], quick: bool, note, smtp_load) -> None:
    """`which`: of "crypt", "clear", "Cohue". One DNS for all; what it costs is in nobody's figures."""
    build("authentication_dump")
    with contextlib.ExitStack() as stack:
        place = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cohue-bench-")))
        zone = ['@ TXT "v=spf1 include:_spf.other.test -all"', '_spf TXT "v=spf1 ip4:198.51.100.0/24 ip4:127.0.0.0/8 ~all"',
                '_dmarc TXT "v=DMARC1; p=reject"']
        for name, size, *_ in ROWS:
            zone.append(f"s{size}._domainkey TXT " + strings(signed(size, place / str(size), f"s{size}")))
        address = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.53"
        knot = stack.enter_context(Knot({SENDER: zone, DOMAIN: ["@ MX 10 mail"]}, address=address, port=53))
        judging = {"authentication": "enforce", "resolver.stub": address, "resolver.trust_anchor": knot.anchor}
        makers = {"crypt": lambda: Peers(True, resolver=(address, 53)), "clear": lambda: Peers(False, resolver=(address, 53)),
                  "Cohue": lambda: House(judging)}
        for kind in which:
            with makers[kind]() as system:
                measure(system, place, quick, note, smtp_load)


def measure(system, place: pathlib.Path, quick: bool, note, smtp_load) -> None:
    done = 0
    for name, size, few, many in ROWS:
        count = (many if system.name == "Cohue" else few) // (5 if quick else 1)
        options = ("--connections", "10", "--file", str(place / str(size)))
        smtp_load(system.smtp_port, 40, *options)  # warm: what the DNS says is known now
        done += 40
        system.wait_arrived(done)
        before, start = settle_cpu(system.roots()), time.monotonic()
        load = smtp_load(system.smtp_port, count, *options)
        done += count
        system.wait_arrived(done)
        wall = time.monotonic() - start
        cpu = settle_cpu(system.roots()) - before
        note("arrive-checked", name, system.name, {
            "messages": count, "per_second": round(count / wall, 1), "cpu_ms": round(cpu / count * 1e3, 3),
            "per_cpu_second": round(count / cpu), "p50_ms": load["p50_ms"], "p99_ms": load["p99_ms"], "mean_bytes": load["mean_bytes"]})
    if system.arrived() != done:
        raise AssertionError(f"{system.name}: {done} were answered with 250, {system.arrived()} are there")
    for user in (0, 7):
        check(system, user)
