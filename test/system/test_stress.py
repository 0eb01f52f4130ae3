# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many connections at once, each checking every answer (test/stress); for long by hand: make stress."""

import pathlib
import random
import threading
import time
import unittest

from harness import Cohue
from harness.dialogue import Dialogue
from stress.stress import stress

VERBS = (b"LOGIN AUTHENTICATE SELECT EXAMINE FETCH STORE SEARCH SORT THREAD APPEND COPY MOVE LIST LSUB STATUS NOTIFY SETMETADATA GETMETADATA"
         b" IDLE ENABLE UID REPLACE EXPUNGE RENAME CREATE DELETE").split()
SIGNS = rb'()"{}*%:,1234567890 \[]<>~+$ABCflags'


def junk(rng: random.Random) -> bytes:
    verb = b"a " + rng.choice(VERBS) + b" "
    return rng.choice((
        lambda: rng.randbytes(rng.randrange(1, 4000)),
        lambda: verb + rng.randbytes(rng.randrange(60)).replace(b"\n", b" ") + b"\r\n",
        lambda: verb + bytes(rng.choice(SIGNS) for _ in range(rng.randrange(200))) + b"\r\n",
        lambda: verb + b"{%d%s}\r\n" % (rng.choice((0, 1, 5, 70000, 4294967295, 99999999999)), rng.choice((b"", b"+"))) + rng.randbytes(50),
        lambda: verb + b"(" * rng.randrange(5000) + b"\r\n",
        lambda: b"x" * rng.randrange(200_000)))()


def resident(pids: list[int]) -> int:
    """KiB."""
    return sum(int(line.split()[1]) for pid in pids for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
               if line.startswith("VmRSS"))


class First(unittest.TestCase):
    def test_programs_that_log_in_at_once_for_the_first_time_all_find_the_inbox(self) -> None:
        with Cohue() as cohue:
            for n in range(6):
                member = cohue.add_member(f"member{n}")
                lines = [Dialogue(cohue.port(993), tls=True) for _ in range(6)]
                for line in lines:
                    line.response()
                for line in lines:
                    line.send(f'a LOGIN {member.address} "{member.password}"\r\nb SELECT INBOX\r\n'.encode())
                for line in lines:
                    heard: list[bytes] = []
                    while not heard or not heard[-1].startswith(b"b "):
                        heard.append(line.response())
                        self.assertTrue(heard[-1], f"the connection ended after {heard}")
                    self.assertTrue(heard[-1].startswith(b"b OK"), heard)
                    line.close()


class Junk(unittest.TestCase):
    def test_any_octets_get_an_answer_or_a_closed_connection_and_cost_no_memory(self) -> None:
        with Cohue() as cohue:
            member = cohue.add_member("alice")
            pids = cohue.role_pids("session") + cohue.role_pids("gate-member")
            before, end = resident(pids), time.monotonic() + 4
            ends: list[str] = []

            def work(seed: int) -> None:
                rng = random.Random(seed)
                while time.monotonic() < end:
                    with Dialogue(cohue.port(993), tls=True) as line:
                        line.response()
                        if seed % 2:
                            line.command(f'LOGIN {member.address} "{member.password}"')
                            line.command("SELECT INBOX")
                        sent = b"".join(junk(rng) for _ in range(rng.randrange(1, 8)))
                        answer = b""
                        try:
                            line.send(sent + b"\r\nDONE\r\nz LOGOUT\r\n")
                            line.socket.settimeout(2)
                            while more := line.socket.recv(65536):
                                answer += more
                            ends.append("closed")
                        except TimeoutError:
                            # Only a literal that it announced is waited for: it could still come.
                            ends.append("waits" if b"}\r\n" in sent else f"silent after {sent[:200]!r}, {answer[:200]!r}")
                        except OSError:
                            ends.append("closed")
            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            self.assertEqual([e for e in ends if e not in ("closed", "waits")], [])
            self.assertGreater(ends.count("closed"), 10)
            self.assertEqual(pids, cohue.role_pids("session") + cohue.role_pids("gate-member"), "none of them crashed")
            self.assertLess(resident(pids) - before, 16 << 10)
            cohue.imap(member).logout()


class Stress(unittest.TestCase):
    seconds = 40

    def test_what_many_connections_are_told_fits_together(self) -> None:
        run = stress(seconds=10, seed=20261122, members=2, connections=8)
        self.assertGreater(sum(book.checks for _, book in run.books), 5000, run.told)

    def test_nothing_is_lost_or_doubled_when_roles_are_killed(self) -> None:
        run = stress(seconds=8, seed=11, members=2, connections=6, kill=True)
        self.assertGreater(len(run.killer.kills), 0, run.told)
