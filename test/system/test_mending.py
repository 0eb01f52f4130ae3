# SPDX-License-Identifier: AGPL-3.0-or-later
"""A damaged record of a member's log costs the messages that came with it, and nothing else: each record, each kind of damage."""

import contextlib
import pathlib
import re
import smtplib
import sqlite3
import sys
import unittest

from harness import Cohue, Member, wait_until
from test_imap import Client, simple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reader"))
import reader  # noqa: E402  (the path above)




def history(c: Client) -> None:
    """One record each, but for the message that had arrived, which was filed with the login."""
    c.append("INBOX", simple("one"), "\\Seen")
    c.append("INBOX", simple("two"))
    c.command("CREATE work/deep")
    c.append("work/deep", simple("three"), "Marked")
    c.command("SELECT INBOX")
    c.command('STORE 1:2 +FLAGS (\\Answered "Later")'.replace('"', ""))
    c.command("COPY 1:3 work/deep")
    c.command("MOVE 2 Trash")
    c.command("STORE 1 +FLAGS (\\Deleted)")
    c.command("EXPUNGE")
    c.command("RENAME work job")
    c.command("SUBSCRIBE job/deep")
    c.command('SETMETADATA job/deep (/private/comment "mine")')
    c.append("job/deep", simple("four"))
    c.append("INBOX", simple("five"))
    c.command("STORE 1 +FLAGS (\\Flagged)")


class Mending(unittest.TestCase):
    seconds = 60

    def setUp(self) -> None:
        self.cohue = Cohue()
        self.addCleanup(self.cohue.destroy)
        self.cohue.init()
        self.cohue.start()

    def new_members(self, names: list[str]) -> dict[str, Member]:
        members = {name: self.cohue.add_member(name) for name in names}
        with smtplib.SMTP("127.0.0.1", self.cohue.port(25)) as smtp:
            for member in members.values():
                smtp.sendmail("ann@elsewhere.test", [member.address], simple("arrived"))
        for member in members.values():
            self.cohue.wait_mail(member)
            c = Client(self.cohue, member)
            history(c)
            c.close()
        return members

    def state(self, member: Member) -> dict[bytes, tuple]:
        """Of each folder: UIDVALIDITY, UIDNEXT, MAILBOXID, and of each UID flags and subject (None: not to be had)."""
        c = Client(self.cohue, member)
        got = {}
        for answer in c.command('LIST "" * RETURN (SUBSCRIBED STATUS (UIDVALIDITY UIDNEXT MAILBOXID UNSEEN))')[0]:
            if answer.startswith(b"* STATUS"):
                got[answer.split()[2]] = re.search(rb"UIDVALIDITY (\d+)", answer)[1], answer.replace(
                    re.search(rb"UIDVALIDITY \d+", answer)[0], b"")
        for name, said in got.items():
            self.assertIn(b"OK", c.command(b"SELECT " + name)[1])
            flags = dict(re.findall(rb"UID (\d+) FLAGS \(([^)]*)\)", c.fetch("UID FETCH 1:* (UID FLAGS)")))
            subjects = {uid: self.subject(c, uid) for uid in flags}
            got[name] = (*said, {uid: (frozenset(f.split()), subjects[uid]) for uid, f in flags.items()})
        got[b"subscribed"] = tuple(sorted(c.command('LSUB "" *')[0]))
        got[b"comment"] = tuple(c.command("GETMETADATA job/deep /private/comment")[0])
        c.close()
        return got

    @staticmethod
    def subject(c: Client, uid: bytes) -> bytes | None:
        untagged, said = c.command(b"UID FETCH " + uid + b" (ENVELOPE BODY.PEEK[TEXT])", None)
        found = re.search(rb'ENVELOPE \((?:NIL|"[^"]*") "([^"]*)"', b" ".join(untagged))
        if said.startswith(b"OK"):
            assert found, (untagged, said)
            return found[1]
        assert b"CORRUPTION" in said or b"damaged" in said.lower(), said
        return None

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(next((self.cohue.home / "store").glob("*.db")))

    def account(self, name: str, db: sqlite3.Connection) -> bytes:
        house = bytes.fromhex(self.cohue.key.read_text().strip())
        key = reader.mac(reader.mac(house, b"directory-hash"), f"address:{name}@house.test".encode())
        value, = db.execute("SELECT value FROM directory WHERE key = ?", (key,)).fetchone()
        return reader.directory_open(reader.mac(house, b"directory-seal"), key, value)[-16:]

    def damage(self, db: sqlite3.Connection, account: bytes, n: int, kind: str) -> None:
        where = (account, n)
        if kind == "kinds":
            for k in range(3):
                self.damage(db, account, n + k, "kind")
            return
        if kind == "gone":
            done = db.execute("DELETE FROM log WHERE account = ? AND n = ?", where)
        elif kind == "kind":
            done = db.execute("UPDATE log SET kind = 3 - kind WHERE account = ? AND n = ?", where)
        else:
            column = kind
            octets = bytearray(db.execute(f"SELECT {column} FROM log WHERE account = ? AND n = ?", where).fetchone()[0])
            octets[-1] ^= 1
            done = db.execute(f"UPDATE log SET {column} = ? WHERE account = ? AND n = ?", (bytes(octets), *where))
        self.assertEqual(done.rowcount, 1)

    def lost_nothing(self, sound: dict, got: dict, what: str) -> int:
        """All as it was, but that messages may not be readable: how many are not."""
        blank = {name: (*value[:2], {uid: flags for uid, (flags, _) in value[2].items()})
                 for name, value in got.items() if len(value) == 3 and isinstance(value[2], dict)}
        expected = {name: (*value[:2], {uid: flags for uid, (flags, _) in value[2].items()})
                    for name, value in sound.items() if len(value) == 3 and isinstance(value[2], dict)}
        self.assertEqual(blank, expected, what)
        self.assertEqual((got[b"subscribed"], got[b"comment"]), (sound[b"subscribed"], sound[b"comment"]), what)
        missing = 0
        for name in expected:
            for uid, (_, subject) in got[name][2].items():
                self.assertIn(subject, (None, sound[name][2][uid][1]), what)
                missing += subject is None
        return missing

    def test_each_record_damaged_in_each_way_costs_at_most_the_messages_that_came_with_it(self) -> None:
        probe = self.new_members(["probe"])["probe"]
        self.cohue.stop()
        with contextlib.closing(self.database()) as db:
            rows = db.execute("SELECT n, kind FROM log WHERE account = ? ORDER BY n", (self.account("probe", db),)).fetchall()
        self.cohue.start()
        last = rows[-1][0]
        self.assertGreater(last, 15)
        cases = [(n, "body") for n, _ in rows] + [(n, kind) for n in (2, 3, 8, last - 1) for kind in ("gone", "kind", "before")]
        cases += [(last, "before"), (last, "kind"), (5, "kinds"), (last - 2, "kinds")]
        members = self.new_members([f"m{i}" for i in range(len(cases))])
        sound = {name: self.state(member) for name, member in members.items()}
        probed = self.state(probe)
        self.cohue.stop()
        with contextlib.closing(self.database()) as db, db:
            db.execute("DELETE FROM snapshots")
            for (n, kind), name in zip(cases, members):
                account = self.account(name, db)
                top, = db.execute("SELECT max(n) FROM log WHERE account = ?", (account,)).fetchone()
                self.assertEqual(top, last, "the histories are alike")
                self.damage(db, account, n, kind)
            # Two in a row: the first of them is lost, and nothing is taken for something else.
            account = self.account("probe", db)
            self.damage(db, account, 8, "body")
            self.damage(db, account, 9, "body")
        self.cohue.start()
        # What is lost is believed at the second look alone: the first one is this.
        doubtful = [members[name] for (n, kind), name in zip(cases, members) if (n, kind) == (last, "body")] + [probe]
        for member in doubtful:
            c = Client(self.cohue, member)
            self.assertIn(b"NO [CORRUPTION]", c.command("SELECT INBOX", None)[1])
            c.close()
        unreadable = 0
        for (n, kind), (name, member) in zip(cases, members.items()):
            what = f"record {n} of {last}, its {kind}"
            if n == last and kind == "body":
                self.is_told(member, sound[name])
                continue
            got = self.state(member)
            missing = self.lost_nothing(sound[name], got, what)
            self.assertLessEqual(missing, 3, what)  # "one" was copied, and moved
            unreadable += missing
            # She goes on: what is put now stands the next time, too.
            c = Client(self.cohue, member)
            self.assertIn(b"OK", c.append("INBOX", simple("after")))
            c.close()
        self.assertGreater(unreadable, 5)
        self.is_told(probe, probed)
        self.cohue.stop()
        with contextlib.closing(self.database()) as db, db:
            db.execute("DELETE FROM snapshots")
        self.cohue.start()
        for (n, kind), (name, member) in zip(cases, members.items()):
            again = self.state(member)
            subjects = [s for _, s in again[b"INBOX"][2].values()]
            if n != last or kind != "body":
                self.assertEqual(subjects[-1], b"after", (n, kind))
                self.assertEqual(again[b"INBOX"][0], sound[name][b"INBOX"][0], (n, kind))
            else:
                self.assertEqual(again[b"INBOX"][0], self.told_validity, "a second load gives no other numbers")

    def is_told(self, member: Member, before: dict) -> None:
        """A change is lost: other UIDVALIDITYs, a note, and each message still what it was."""

        def is_back() -> bool:
            c = Client(self.cohue, member)
            said = c.command("SELECT INBOX", None)[1]
            c.close()
            return said.startswith(b"OK")
        wait_until(is_back, 40, "she gets at her mail again")
        after = self.state(member)
        self.told_validity = after[b"INBOX"][0] if member.name != "probe" else getattr(self, "told_validity", b"")
        self.assertGreater(int(after[b"INBOX"][0]), int(before[b"INBOX"][0]))
        known = {subject for value in before.values() if isinstance(value[-1], dict) for _, subject in value[-1].values()}
        for name, value in after.items():
            for uid, (_, subject) in value[2].items() if isinstance(value[-1], dict) else ():
                was = before[name][2].get(uid, (None, None))[1] if name in before else None
                self.assertIn(subject, {None, b"A change to your mailboxes was lost", was or b"one"} | (set() if was else known))
        texts = self.cohue.wait_mail(member, len(after[b"INBOX"][2]))
        self.assertTrue(any(b"A change to your mailboxes was lost" in t for t in texts))


if __name__ == "__main__":
    unittest.main()
