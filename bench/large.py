# SPDX-License-Identifier: AGPL-3.0-or-later
"""A mailbox of 100,000 messages: opened, opened again, and taken up again where a client left it (QRESYNC)."""

import imaplib
import sys
import time

from measure import cpu_nanoseconds, pss_bytes, settle_cpu
from systems import ROOT

sys.path.insert(0, str(ROOT / "test"))
from harness.dialogue import imap_login  # noqa: E402

LARGE = 100000
TIMES = 40
# A client writes \Seen, copies and expunges: ten changes in all.
FLAGGED, ADDED, EXPUNGED = 6, 2, 2


def client(system) -> imaplib.IMAP4:
    imap = imap_login(system.imap_port, *system.accounts[0])
    imap.sock.settimeout(600)
    return imap


def fill(system, count: int, arriving: int, load) -> None:
    """So many arrive; the rest of the mailbox are copies of them, which is quicker and gives each a place of its own."""
    load(system, arriving)
    imap = client(system)
    have = int(imap.select("INBOX")[1][0])
    while have < count:
        imap.copy(f"1:{min(have, count - have)}", "INBOX")
        have = int(imap.select("INBOX")[1][0])
    if have != count:
        raise AssertionError(f"{system.name}: {have} messages of {count}")
    imap.logout()
    settle_cpu(system.roots(), quiet=2)


def opened(system, imap_load) -> dict:
    """LOGIN and SELECT on a connection of its own, with all that the service does for it."""
    before = settle_cpu(system.roots())
    login, select = imap_load(system, system.accounts[:1], "run", "SELECT INBOX")
    cpu = settle_cpu(system.roots()) - before
    return {"seconds": round(login["seconds"] + select["seconds"], 4), "cpu_s": round(cpu, 3)}


def repeated(system, imap_load, *commands: str) -> tuple[float, float]:
    """Milliseconds of time and of the service's CPU for the last of the commands, on one connection."""
    before = cpu_nanoseconds(system.roots())
    said = imap_load(system, system.accounts[:1], "run", *commands, *([commands[-1]] * (TIMES - 1)))
    settle_cpu(system.roots())
    cpu = (cpu_nanoseconds(system.roots()) - before) / 1e6
    took = sorted(row["seconds"] for row in said[-TIMES:])
    return took[TIMES // 2] * 1e3, cpu / TIMES


def change(system) -> str:
    """Ten changes; the SELECT of a client that knows the mailbox as it was before."""
    imap = client(system)
    imap.xatom("ENABLE", "CONDSTORE")
    count = int(imap.select("INBOX")[1][0])
    modseq = int(imap.response("HIGHESTMODSEQ")[1][0])
    validity = int(imap.response("UIDVALIDITY")[1][0])
    for i in range(FLAGGED):
        imap.store(str(1 + i * (count // FLAGGED)), "+FLAGS", r"(\Flagged)")
    for i in range(EXPUNGED):
        imap.store(str(count // 3 + i * 1000), "+FLAGS", r"(\Deleted)")
    imap.expunge()
    imap.copy(f"1:{ADDED}", "INBOX")
    imap.logout()
    # Dovecot looks at a directory twice that was changed a moment ago.
    time.sleep(3)
    return f"SELECT INBOX (QRESYNC ({validity} {modseq}))"


def large(systems: list, quick: bool, note, load, imap_load) -> None:
    for make in systems:
        with make() as system:
            count = LARGE // (5 if quick else 1)
            fill(system, count, count // 5 if system.name == "Cohue" else 2000, load)
            name = f"{count} messages"
            if hasattr(system, "restart"):
                system.restart()
            memory = pss_bytes(system.roots())
            imap = client(system)
            base = pss_bytes(system.roots())
            imap.select("INBOX")
            settle_cpu(system.roots(), quiet=1)
            grown = pss_bytes(system.roots())
            imap.logout()
            note("large", f"{name}: memory", system.name, {
                "bytes_a_message": round((grown - min(memory, base)) / count)})
            if hasattr(system, "restart"):
                system.restart()
            note("large", f"{name}: LOGIN and SELECT, nothing in memory", system.name, opened(system, imap_load))
            note("large", f"{name}: LOGIN and SELECT again", system.name, opened(system, imap_load))
            wall, cpu = repeated(system, imap_load, "SELECT INBOX")
            note("large", f"{name}: SELECT again, of {TIMES}", system.name, {"ms": round(wall, 2), "cpu_ms": round(cpu, 2)})
            resync = change(system)
            wall, cpu = repeated(system, imap_load, "SELECT INBOX")
            again, more = repeated(system, imap_load, "ENABLE QRESYNC", resync)
            note("large", f"{name}: QRESYNC with 10 changes, of {TIMES}", system.name, {
                "ms": round(again, 2), "cpu_ms": round(more, 2), "select_ms": round(wall, 2),
                "select_cpu_ms": round(cpu, 2)})
            if hasattr(system, "restart"):
                system.restart()
            before = settle_cpu(system.roots())
            login, _, select = imap_load(system, system.accounts[:1], "run", "ENABLE QRESYNC", resync)
            note("large", f"{name}: QRESYNC, nothing in memory", system.name, {
                "seconds": round(login["seconds"] + select["seconds"], 4),
                "cpu_s": round(settle_cpu(system.roots()) - before, 3), "bytes": select["bytes"]})
