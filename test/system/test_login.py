# SPDX-License-Identifier: AGPL-3.0-or-later
"""Logins on the real binary: what opens, what does not, what is slowed, and that nobody waits for another's password."""

import contextlib
import imaplib
import smtplib
import sqlite3
import ssl
import time
import unittest

from harness import Cohue, Dialogue
from harness.cohue import Member


def refusal(c: Cohue, name: str, password: str) -> str:
    """The server's words, or "" where it opens."""
    try:
        c.imap(Member(name, name, password)).logout()
    except imaplib.IMAP4.error as problem:
        return str(problem)
    return ""


class Logins(unittest.TestCase):
    seconds = 15

    def setUp(self) -> None:
        self.c = Cohue()
        self.addCleanup(self.c.destroy)
        self.c.init()
        self.c.start()
        self.alice = self.c.add_member("alice")

    def test_her_names_open_and_others_do_not(self) -> None:
        for name in ("alice", "alice@house.test", "ALICE@House.Test", "alice+shop", "postmaster@house.test"):
            self.assertEqual(refusal(self.c, name, self.alice.password), "", name)
        said = {refusal(self.c, name, password) for name, password in [
            ("alice", self.alice.password[:-1] + "x"), ("alice", "no such password"), ("nobody", self.alice.password),
            ("nobody", "no such password"), ("alice@elsewhere.test", self.alice.password), ("alice", self.alice.recovery)]}
        self.assertEqual(len(said), 1, said)
        self.assertIn("AUTHENTICATIONFAILED", said.pop())

    def test_a_password_of_her_own(self) -> None:
        c = self.c
        c.cli("member", "passwd", "alice", stdin=f"{self.alice.password}\na password of her own\n")
        self.assertEqual(refusal(c, "alice", "a password of her own"), "")
        self.assertEqual(refusal(c, "alice", self.alice.password), "")
        ran = c.cli("member", "passwd", "alice", stdin="wrong one\nanother password\n", check=False)
        self.assertEqual(ran.returncode, 1)
        c.cli("member", "passwd", "alice", stdin=f"{self.alice.recovery}\nanother password\n")
        self.assertNotEqual(refusal(c, "alice", "a password of her own"), "")
        c.restart()
        self.assertEqual(refusal(c, "alice", "another password"), "")

    def test_a_dropped_application_password_is_closed_out(self) -> None:
        c = self.c
        other = c.cli_json("member", "app-password", "alice", "--label", "phone",
                           stdin=self.alice.password + "\n")["app_password"]
        rows = c.cli_json("member", "app-list", "alice", stdin=other + "\n")
        self.assertEqual([(r["number"], r["label"]) for r in rows], [(1, "first"), (2, ""), (3, "phone")])
        live = c.imap(self.alice)
        live.select()
        c.cli("member", "app-drop", "alice", "1", stdin=other + "\n")
        with self.assertRaises((imaplib.IMAP4.error, OSError)):
            for _ in range(50):
                live.noop()
                time.sleep(0.1)
        self.assertNotEqual(refusal(c, "alice", self.alice.password), "")
        self.assertEqual(refusal(c, "alice", other), "")

    def directory(self) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(self.database())) as db:
            return db.execute("SELECT key, value FROM directory").fetchall()

    def put_directory(self, rows: list[tuple]) -> None:
        with contextlib.closing(sqlite3.connect(self.database())) as db, db:
            db.executemany("UPDATE directory SET value = ? WHERE key = ?", [(value, key) for key, value in rows])

    def database(self) -> str:
        return str(next((self.c.home / "store").glob("*.db")))

    def test_a_store_that_goes_back_brings_no_dropped_password_back(self) -> None:
        c = self.c
        other = c.cli_json("member", "app-password", "alice", "--label", "phone",
                           stdin=self.alice.password + "\n")["app_password"]
        client = c.imap(self.alice)
        client.select()
        client.logout()
        c.stop()
        before = self.directory()
        c.start()
        # She does not log in between the drop and the rollback, nor write anything.
        c.cli("member", "app-drop", "alice", "1", stdin=other + "\n")
        c.stop()
        after = self.directory()
        self.put_directory(before)
        c.start()
        client = c.imap(self.alice)
        kind, said = client.select()
        self.assertEqual(kind, "NO")
        self.assertIn(b"CORRUPTION", said[0])
        with c.smtp(self.alice) as smtp:
            self.assertEqual(smtp.mail("alice@house.test")[0], 451)
        ran = c.cli("member", "app-password", "alice", stdin=self.alice.password + "\n", check=False)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("gone back", ran.stderr)
        c.stop()
        self.put_directory(after)
        c.start()
        self.assertNotEqual(refusal(c, "alice", self.alice.password), "")
        client = c.imap(Member("alice", "alice", other))
        self.assertEqual(client.select()[0], "OK")

    def test_a_suspended_member_is_told_nothing_and_comes_back(self) -> None:
        c = self.c
        wrong = refusal(c, "alice", "wrong password")
        c.cli("member", "suspend", "alice")
        self.assertEqual(refusal(c, "alice", self.alice.password), wrong)
        with self.assertRaises(smtplib.SMTPAuthenticationError):
            c.smtp(self.alice)
        c.cli("member", "resume", "alice")
        self.assertEqual(refusal(c, "alice", self.alice.password), "")

    def test_guessing_is_slowed_for_known_and_unknown_names_alike(self) -> None:
        # The free failures, then waits; no answer is any other than "wrong" or "later".
        for name in ("alice", "nobody"):
            begin = time.monotonic()
            for _ in range(9):
                self.assertTrue(refusal(self.c, name, "a wrong guess"))
            self.assertGreater(time.monotonic() - begin, 0.7, name)
        # Her application password cannot be guessed, and meets no wait for it.
        begin = time.monotonic()
        self.assertEqual(refusal(self.c, "alice", self.alice.password), "")
        self.assertLess(time.monotonic() - begin, 5)

    def test_nobody_waits_for_passwords_that_are_stretched(self) -> None:
        """They are stretched one after the other; who comes last with what needs no stretching is answered before the most of them."""
        guesses = 15  # of those that the throttle lets through at once
        # From here on she is trusted at this address, and meets no throttle.
        self.assertEqual(refusal(self.c, "alice", self.alice.password), "")
        lines = [self.enterContext(Dialogue(self.c.port(993), tls=True, timeout=60)) for _ in range(guesses + 1)]
        for line in lines:
            self.assertIn(b"OK", line.read_line())
        for i, line in enumerate(lines[:-1]):
            line.send(f'a LOGIN guess{i} "some password"\r\n'.encode())
        lines[-1].send(f'a LOGIN alice "{self.alice.password}"\r\n'.encode())
        self.assertIn(b"a OK", lines[-1].read_line())
        waiting = [line for line in lines[:-1] if not self.is_answered(line)]
        self.assertGreater(len(waiting), guesses / 2)
        for line in waiting:
            self.assertIn(b"a NO", line.read_line())

    @staticmethod
    def is_answered(line: Dialogue) -> bool:
        seconds = line.socket.gettimeout()
        line.socket.settimeout(0)
        try:
            return line.read_line() != b""
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        finally:
            line.socket.settimeout(seconds)

    def test_the_opener_may_die_at_any_time(self) -> None:
        c = self.c
        self.assertEqual(refusal(c, "alice", self.alice.password), "")
        before = c.kill_role("opener")
        c.wait_role("opener", before)
        for _ in range(100):
            said = refusal(c, "alice", self.alice.password)
            # "Later" while it starts, never "wrong".
            self.assertNotIn("AUTHENTICATIONFAILED", said)
            if not said:
                return
            time.sleep(0.1)
        self.fail("no login after the opener came back")


if __name__ == "__main__":
    unittest.main()
