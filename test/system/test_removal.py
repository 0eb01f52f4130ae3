# SPDX-License-Identifier: AGPL-3.0-or-later
"""A removed member's mail goes with her: filed, sent, waiting, and what comes late. What belongs to nobody is counted."""

import contextlib
import os
import sqlite3
import unittest

from harness import Cohue

LETTER = ("From: stranger@elsewhere.test\r\nTo: all@house.test\r\nSubject: a letter\r\n"
          "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n")


def letter(octets: int = 0) -> bytes:
    """With so many octets that do not compress well."""
    return LETTER.encode() + b"words\r\n" + b"".join(os.urandom(35).hex().encode() + b"\r\n" for _ in range(octets // 72))


class Removal(unittest.TestCase):
    seconds = 10

    def rows(self, sql: str) -> list[tuple]:
        database = next((self.c.home / "store").glob("*.db"))
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def blobs(self) -> set[bytes]:
        return {name for name, in self.rows("SELECT name FROM blobs")}

    def make(self, **settings: str) -> None:
        self.c = Cohue(settings=settings)
        self.addCleanup(self.c.destroy)
        self.c.init()
        self.c.start()
        self.alice = self.c.add_member("alice")
        self.bob = self.c.add_member("bob")

    def send(self, data: bytes, *to: str) -> None:
        with self.c.smtp() as s:
            self.assertEqual(s.sendmail("stranger@elsewhere.test", [f"{name}@house.test" for name in to], data), {})

    def test_her_messages_go_and_nobody_elses(self) -> None:
        self.make()
        c = self.c
        self.send(letter(), "bob")
        self.send(letter(300_000), "bob")
        with c.smtp(self.bob) as s:
            s.sendmail("bob@house.test", ["bob@house.test"], b"From: bob@house.test\r\nTo: bob@house.test\r\n\r\nx\r\n")
        c.wait_mail(self.bob, 3)
        c.stop()
        kept = self.blobs()
        self.assertGreaterEqual(len(kept), 4)  # three and the Sent copy
        c.start()
        for i in range(30):
            self.send(letter(100_000 if i % 10 == 0 else 0), "alice")
        with c.smtp(self.alice) as s:
            s.sendmail("alice@house.test", ["alice@house.test"],
                       b"From: alice@house.test\r\nTo: alice@house.test\r\n\r\nx\r\n")
        c.wait_mail(self.alice, 31)
        client = c.imap(self.alice)
        client.append("Drafts", None, None, b"From: alice@house.test\r\n\r\na draft\r\n")
        client.logout()
        c.stop()
        self.assertGreaterEqual(len(self.blobs() - kept), 33)
        report = c.cli_json("check")
        self.assertEqual((report["counts"]["blobs of nobody"], report["counts"]["logs of nobody"]), (0, 0))
        c.start()
        c.cli("member", "remove", "alice")
        self.assertEqual(len(c.wait_mail(self.bob, 3)), 3)
        c.stop()
        # But for bob's snapshots, which come and go.
        snapshots = {blob for blob, in self.rows("SELECT blob FROM snapshots")}
        self.assertLessEqual(self.blobs() - snapshots, kept)
        self.assertEqual(len(self.rows("SELECT account FROM heads")), 1)
        report = c.cli_json("check")
        self.assertEqual(report["damaged"], 0)
        self.assertEqual((report["counts"]["blobs of nobody"], report["counts"]["logs of nobody"]), (0, 0))

    def test_what_waits_for_her_is_dropped_when_its_time_comes(self) -> None:
        self.make(**{"arrive.law": "exponential", "arrive.mean": "4s"})
        c = self.c
        for _ in range(8):
            self.send(letter(), "alice", "bob")
        c.cli("member", "remove", "alice")
        self.assertEqual(len(c.wait_mail(self.bob, 8, seconds=60)), 8)
        c.stop()
        # One unit each: it leaves the spool whole.
        self.assertEqual(self.rows("SELECT unit FROM spool_units"), [])
        self.assertEqual(len(self.rows("SELECT account FROM heads")), 1)
        self.assertEqual(len(self.rows("SELECT DISTINCT account FROM log")), 1)
        report = c.cli_json("check")
        self.assertEqual(report["damaged"], 0)
        self.assertEqual((report["counts"]["blobs of nobody"], report["counts"]["logs of nobody"]), (0, 0))

    def test_what_belongs_to_nobody_is_counted(self) -> None:
        self.make()
        c = self.c
        self.send(letter(), "alice", "bob")
        c.wait_mail(self.alice)
        c.stop()
        database = next((c.home / "store").glob("*.db"))
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            # As an older program left them: a message of a removed member, under a name that tells nothing, and her log.
            name = os.urandom(16)
            db.execute("INSERT INTO blobs(id, name, chunk, data) VALUES(?, ?, 0, x'00')",
                       (int.from_bytes(name[:8], "big") >> 2, name))
            db.execute("INSERT INTO heads(account, n, head, used) VALUES(?, 0, zeroblob(32), 0)", (os.urandom(16),))
        report = c.cli_json("check")
        self.assertEqual(report["damaged"], 0)
        self.assertEqual((report["counts"]["blobs of nobody"], report["counts"]["logs of nobody"]), (1, 1))


if __name__ == "__main__":
    unittest.main()
