# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each kind of row, damaged by one octet: `cohue check` finds it, without a password and with it, and the house goes on around it."""

import contextlib
import imaplib
import os
import pathlib
import re
import shutil
import smtplib
import sqlite3
import subprocess
import sys
import unittest

from harness import Cohue
from harness.cohue import ROOT

sys.path.insert(0, str(ROOT / "test" / "reader"))
import reader  # noqa: E402  (the independent reader of the formats)

LETTER = b"From: ann@elsewhere.test\r\nTo: bob@house.test\r\nSubject: letter %d\r\n\r\n" + b"some words\r\n" * 2000


class Damage(unittest.TestCase):
    """One store, made once; each kind is tried on a copy of it."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.c = c = Cohue()
        c.init()
        c.start()
        cls.alice, cls.bob = c.add_member("alice"), c.add_member("bob")
        with c.smtp() as client:
            client.sendmail("ann@elsewhere.test", [cls.alice.address], LETTER % 0)
            for i in range(3):
                client.sendmail("ann@elsewhere.test", [cls.bob.address], LETTER % i)
        c.wait_mail(cls.alice)
        c.wait_mail(cls.bob, 3)
        c.stop()
        letters = cls.rows("SELECT name FROM blobs EXCEPT SELECT blob FROM snapshots")
        # Each orderly stop leaves a snapshot of what has changed, and the one before it stays.
        for flag in ("\\Flagged", "\\Answered"):
            c.start()
            with cls.mail(cls.bob) as client:
                client.select()
                client.store("1", "+FLAGS", flag)
            c.stop()
        c.cli("restored")
        c.settings["leave.law"] = "exponential"
        c.start()
        with c.smtp(cls.alice) as client:
            client.sendmail(cls.alice.address, ["eve@other.test", "carl@third.test", cls.bob.address], LETTER.replace(b"ann@elsewhere", b"alice@house") % 9)
        with cls.mail(cls.bob) as client:
            client.select()
            client.store("2", "+FLAGS", "\\Flagged")
        c.stop()
        house = bytes.fromhex(pathlib.Path(c.key).read_text().strip())
        hashing, sealing = reader.mac(house, b"directory-hash"), reader.mac(house, b"directory-seal")
        cls.address = reader.mac(hashing, b"address:" + cls.bob.address.encode())
        (value,), = cls.rows("SELECT value FROM directory WHERE key = ?", cls.address)
        cls.hers = reader.directory_open(sealing, cls.address, value)[-16:]
        cls.account = reader.mac(hashing, b"account:" + cls.hers)
        cls.slots = reader.mac(hashing, b"slots:" + cls.hers)
        # Whose letter a blob is, its name tells who has the house key.
        naming = reader.mac(house, b"blob-name")
        cls.letters = [name for name, in letters
                       if bytes(a ^ b for a, b in zip(name[8:], reader.mac(naming, b"cohue blob name 1" + name[:8]))) == cls.hers[:8]]
        assert len(cls.letters) == 3
        cls.store, cls.kept = c.home / "store", c.home.parent / "kept"
        subprocess.run(["cp", "-a", cls.store, cls.kept], check=True)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.c.destroy()

    @classmethod
    def rows(cls, sql: str, *values: object) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(f"file:{cls.c.home / 'store' / 'cohue.db'}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchall()

    @classmethod
    @contextlib.contextmanager
    def mail(cls, member):
        client = cls.c.imap(member)
        try:
            yield client
        finally:
            client.logout()

    def setUp(self) -> None:
        self.addCleanup(lambda: self.c.process is not None and self.c.stop())

    def put_back(self) -> None:
        shutil.rmtree(self.store)
        subprocess.run(["cp", "-a", self.kept, self.store], check=True)

    def flip(self, table: str, column: str, where: str, *values: object, at: float = 0.5) -> None:
        """One octet of one row."""
        database = self.store / "cohue.db"
        owner = database.stat()
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            (value,), = db.execute(f"SELECT {column} FROM {table} WHERE {where}", values).fetchall()
            spot = int(len(value) * at)
            value = value[:spot] + bytes([value[spot] ^ 4]) + value[spot + 1:]
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value, *values))
        for path in self.store.iterdir():
            os.chown(path, owner.st_uid, owner.st_gid)

    def change(self, sql: str, *values: object) -> None:
        database = self.store / "cohue.db"
        owner = database.stat()
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            db.execute(sql, values)
        for path in self.store.iterdir():
            os.chown(path, owner.st_uid, owner.st_gid)

    def check(self, member=None) -> tuple[int, str, str]:
        words = ["check", "--member", member.name] if member else ["check"]
        ran = self.c.cli(*words, stdin=member.password + "\n" if member else None, check=False, timeout=60)
        return ran.returncode, ran.stdout, ran.stderr

    def found(self, keyless: str, with_password: str | None = None) -> None:
        """Both ways of checking tell it; and tell no name."""
        for member, pattern in ((None, keyless), (self.bob, with_password)):
            if pattern is not None:
                code, told, remedy = self.check(member)
                self.assertEqual(code, 1, told)
                self.assertRegex(told, pattern)
                self.assertIn("Remedy", remedy)
                self.assertNotIn("@", told + remedy)

    def others_go_on(self) -> None:
        with self.mail(self.alice) as client:
            self.assertEqual(client.select(), ("OK", [b"1"]))
            self.assertEqual(client.fetch("1", "(BODY.PEEK[])")[1][0][1].count(b"some words"), 2000)

    def letters_of(self, client) -> list[bytes]:
        return [part[1] for part in client.fetch("1:3", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]

    def all_is_there(self) -> None:
        with self.mail(self.bob) as client:
            self.assertEqual(client.select(), ("OK", [b"3"]))
            self.assertEqual(len(self.letters_of(client)), 3)
            self.assertEqual([len(client.search(None, key)[1][0].split()) for key in ("FLAGGED", "ANSWERED")], [2, 1])

    def snapshots(self) -> list[bytes]:
        return [blob for blob, in self.rows("SELECT blob FROM snapshots WHERE account = ? ORDER BY n DESC", self.hers)]

    # ---- the kinds ----

    def test_a_sound_store_is_sound(self) -> None:
        self.put_back()
        self.assertEqual((self.check()[0], self.check(self.bob)[0]), (0, 0))
        self.assertEqual(len(self.snapshots()), 2)

    def test_a_message_costs_itself_alone(self) -> None:
        self.put_back()
        blob = self.letters[1]
        self.flip("blobs", "data", "name = ? AND chunk = 0", blob)
        self.found(rf"blob {blob.hex()[:16]}, chunk 0", r"the message of record \d+ does not verify")
        self.c.start()
        self.others_go_on()
        with self.mail(self.bob) as client:
            client.select()
            said, answer = client.fetch("1:3", "(BODY.PEEK[])")
            self.assertEqual(said, "NO")
            reference = re.search(rb"CORRUPTION.*\((\w{8})\)", answer[0])
            self.assertIsNotNone(reference, answer)
            whole = 0
            for i in ("1", "2", "3"):
                said, answer = client.fetch(i, "(BODY.PEEK[])")
                whole += said == "OK" and isinstance(answer[0], tuple)
            self.assertEqual(whole, 2)
            self.assertEqual(len(client.fetch("1:3", "(FLAGS ENVELOPE)")[1]), 3)
        self.assertIn(reference[1].decode(), self.c.log())

    def test_a_missing_chunk(self) -> None:
        self.put_back()
        with contextlib.closing(sqlite3.connect(self.store / "cohue.db")) as db, db:
            db.execute("DELETE FROM blobs WHERE name = ?", (self.letters[0],))
        code, told, _ = self.check(self.bob)
        self.assertEqual(code, 1)
        self.assertRegex(told, r"the message of record \d+ is not there")

    def test_the_newest_snapshot_costs_nothing(self) -> None:
        self.put_back()
        newest = self.snapshots()[0]
        self.flip("blobs", "data", "name = ? AND chunk = 1", newest)
        self.found(rf"blob {newest.hex()[:16]}, chunk 1", r"the snapshot of record \d+ does not open")
        self.c.start()
        self.others_go_on()
        self.all_is_there()
        self.assertIn("snapshot does not open: an older one is used", self.c.log())
        # She changes something and goes: a sound one takes its place.
        with self.mail(self.bob) as client:
            client.select()
            client.store("3", "+FLAGS", "\\Seen")
        self.c.stop()
        self.assertNotIn(newest, self.snapshots())
        self.assertEqual(self.check(self.bob)[0], 0, self.check(self.bob))

    def test_both_snapshots_cost_nothing_unless_records_were_swept(self) -> None:
        self.put_back()
        first, = self.rows("SELECT min(n) FROM log WHERE account = ?", self.hers)[0]
        self.assertGreater(first, 1, "some were swept")
        for blob in self.snapshots():
            self.flip("blobs", "data", "name = ? AND chunk = 1", blob)
        self.found("blob ", r"the snapshot of record \d+ does not open")
        self.c.start()
        self.others_go_on()
        with self.mail(self.bob) as client:
            said, answer = client.select()
            self.assertEqual(said, "NO")
            self.assertIn(b"CORRUPTION", answer[0])
        self.assertIn("snapshot does not open: her log is read from its beginning", self.c.log())
        # Nothing was written over what a backup may still complete.
        self.c.stop()
        self.assertEqual(len(self.snapshots()), 2)

    def test_records_that_a_snapshot_stands_for(self) -> None:
        self.put_back()
        (first,), = self.rows("SELECT max(n) FROM snapshots WHERE account = ?", self.hers)
        self.flip("log", "body", "account = ? AND n = ?", self.hers, first)
        self.found(rf"record {first} of log {self.hers.hex()[:8]}", rf"record {first} does not open")
        self.c.start()
        self.others_go_on()
        self.all_is_there()

    def test_a_record_taken_out(self) -> None:
        self.put_back()
        (low,), = self.rows("SELECT min(n) FROM snapshots WHERE account = ?", self.hers)
        with contextlib.closing(sqlite3.connect(self.store / "cohue.db")) as db, db:
            db.execute("DELETE FROM log WHERE account = ? AND n = ?", (self.hers, low + 1))
        self.found(rf"log {self.hers.hex()[:8]}\w+: its records {low + 1} to {low + 1} are not there")

    def test_an_arrival_that_was_not_filed(self) -> None:
        self.put_back()
        self.c.start()
        with self.c.smtp() as client:
            client.sendmail("ann@elsewhere.test", [self.bob.address], LETTER % 7)
            client.sendmail("ann@elsewhere.test", [self.alice.address], LETTER % 7)
        self.c.wait_mail(self.alice, 2)  # and so bob's has come, too
        self.c.stop()
        (n,), = self.rows("SELECT max(n) FROM log WHERE account = ?", self.hers)
        self.flip("log", "body", "account = ? AND n = ?", self.hers, n)
        self.found(rf"record {n} of log {self.hers.hex()[:8]}", rf"record {n}\b.* does not open")

    def test_the_directory(self) -> None:
        for what, key in (("slot list", self.slots), ("account", self.account), ("address", self.address)):
            with self.subTest(what):
                self.put_back()
                self.flip("directory", "value", "key = ?", key)
                self.found(rf"directory entry {key.hex()[:16]}[^$]*entry {key.hex()[:16]} does not open with this house key")
                self.c.start()
                self.others_go_on()
                # Neither a wrong password nor a matter of time; and the log has what she is to tell.
                with self.assertRaisesRegex(imaplib.IMAP4.error, r"CONTACTADMIN.*damaged here: tell who runs this house") as refused:
                    self.c.imap(self.bob)
                self.assertIn(re.search(r"\((\w{8})\)", str(refused.exception))[1] + ": a login met", self.c.log())
                with self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
                    self.c.smtp(self.bob)
                self.assertEqual(refused.exception.smtp_code, 554)
                # Her mail is not lost: it is put off, or taken where only her login is concerned.
                with self.c.smtp() as client:
                    client.ehlo()
                    client.mail("ann@elsewhere.test")
                    self.assertEqual(client.rcpt(self.bob.address)[0], 250 if what == "slot list" else 451)
                self.c.stop()

    def test_the_head_of_a_log(self) -> None:
        self.put_back()
        self.flip("heads", "head", "account = ?", self.hers)
        self.found(rf"head of log {self.hers.hex()[:8]}")
        self.c.start()
        self.others_go_on()
        self.all_is_there()  # her last record opens, and vouches for itself
        with self.mail(self.bob) as client:
            client.select()
            client.store("3", "+FLAGS", "\\Seen")
        self.c.stop()
        self.c.start()
        self.all_is_there()

    def test_a_head_that_is_wrong_costs_nothing_and_nobody(self) -> None:
        """It is made anew of its log; a letter to her comes in, one to another too, and the house starts again."""
        for change in ("SET n = n - 1", "SET n = n + (1 << 42)", "SET head = x'00'", None):
            with self.subTest(change or "gone"):
                self.put_back()
                self.change(f"UPDATE heads {change} WHERE account = ?" if change else "DELETE FROM heads WHERE account = ?", self.hers)
                self.found(f"log {self.hers.hex()[:8]}", "damaged|beyond|head")
                self.c.start()
                with self.c.smtp() as client:
                    client.sendmail("ann@elsewhere.test", [self.bob.address, self.alice.address], LETTER % 77)
                self.c.wait_mail(self.alice, 2)
                self.c.wait_mail(self.bob, 4)
                self.c.stop()
                self.c.start()
                with self.mail(self.bob) as client:
                    self.assertEqual(client.select(), ("OK", [b"4"]))
                self.c.stop()
                self.assertEqual(self.check(self.bob)[0], 0)  # it is mended on disk

    def test_numbers_and_sizes_that_cannot_be(self) -> None:
        """Looking at everything ends, and goes on behind each."""
        gone = "DELETE FROM heads WHERE account = ?"
        huge = "UPDATE heads SET n = n + (1 << 42), sum = NULL WHERE account = ?"
        far = "UPDATE log SET n = n + (1 << 42) WHERE account = ?1 AND n = (SELECT max(n) FROM log WHERE account = ?1)"
        large = "UPDATE spool_parts SET body = zeroblob(3000000) WHERE unit IN (SELECT unit FROM spool_units) AND ? NOTNULL"
        for change, keyless, hers in ((gone, r"its records \d+ to \d+ are beyond its head", "the head of her log is wrong, or gone"),
                                      (huge, "records .* are not there", r"the head of her log says \d+ records"),
                                      (far, "are not there", "that number is wrong"),
                                      (large, r"part \d+ of unit \w+ is larger than a part can be", None)):
            with self.subTest(change):
                self.put_back()
                self.change(change, self.hers)
                self.found(keyless, hers)
                self.assertLess(len(self.check()[1].splitlines()), 40)

    def test_what_waits(self) -> None:
        parts = self.rows("SELECT unit, part FROM spool_parts")
        units = self.rows("SELECT unit FROM spool_units")
        self.assertEqual((len(units), len(parts)), (1, 3))
        (unit,), = units
        kinds = [("spool_units", "state", "unit = ?", (unit,), rf"unit of the waiting room {unit.hex()[:16]}")]
        kinds += [("spool_parts", "body", "unit = ? AND part = ?", (unit, part),
                   rf"unit of the waiting room {unit.hex()[:16]}, part {part}") for _, part in parts]
        (epoch,) = self.rows("SELECT max(epoch) FROM spool_keys")[0]
        kinds += [("spool_keys", "value", "epoch = ?", (epoch,), rf"key of the waiting room, epoch {epoch}")]
        for table, column, where, values, told in kinds:
            with self.subTest(told):
                self.put_back()
                self.flip(table, column, where, *values)
                self.found(told)
                self.c.start()
                self.others_go_on()
                self.all_is_there()
                self.c.stop()
                # It stays where it is, for who can mend it.
                self.assertEqual(len(self.rows("SELECT 1 FROM spool_units")), 1)

    def test_named_values(self) -> None:
        names = {bytes(name).decode() for name, in self.rows("SELECT name FROM meta")}
        self.assertLessEqual({"format", "mixer-age", "mixer-house", "directory-form", "restored"}, names)
        for name in sorted(names):
            with self.subTest(name):
                self.put_back()
                self.flip("meta", "value", "name = CAST(? AS BLOB)", name)
                self.found(rf"named value {name}\b" + (rf"[^$]*value {name} does not open" if name == "mixer-house" else ""))
                self.c.start()
                self.others_go_on()
                self.all_is_there()
                self.c.stop()

    def test_the_note_of_a_snapshot(self) -> None:
        self.put_back()
        newest = self.snapshots()[0]
        self.flip("snapshots", "blob", "account = ? AND blob = ?", self.hers, newest)
        self.found(rf"note of a snapshot of log {self.hers.hex()[:8]}", r"the snapshot of record \d+ does not open")
        self.c.start()
        self.all_is_there()

    def test_a_page_of_the_file(self) -> None:
        self.put_back()
        with contextlib.closing(sqlite3.connect(self.store / "cohue.db")) as db:
            (page,), = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'spool_keys'").fetchall()
        with open(self.store / "cohue.db", "r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff")
        code, told, said = self.check()
        self.assertEqual(code, 1)
        self.assertRegex(told + said, "database pages|damaged")


if __name__ == "__main__":
    unittest.main()
