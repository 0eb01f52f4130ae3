# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the disks give away: nothing without the house key; with it, still nothing that is a member's."""

import email.message
import email.policy
import sqlite3
import unittest

from harness.cohue import Cohue
from harness.seizure import find_markers
from harness.wait import wait_until

MARKERS = {
    "subject": "zanzibarsubject", "body": "quixoticbodyword", "attachment": "periwinklefile",
    "folder": "obsidianfolder", "keyword": "marigoldkeyword", "search": "tangerinesearch",
    "sender": "vermillionsender", "domain": "halcyonstranger", "alias": "wisteriaalias",
}


class Seizure(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue(domain="seizedhouse.test")
        try:
            cls.cohue.init()
            cls.cohue.start()
            cls.traffic()
            cls.log = cls.cohue.log()
            cls.cohue.stop()
        except BaseException:
            cls.cohue.destroy()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    @classmethod
    def traffic(cls) -> None:
        """Arriving, local and leaving mail (which waits), folders, keywords, searches; all with marker words."""
        c = cls.cohue
        alice, bob = c.add_member("alicemarker"), c.add_member("bobmarker")
        c.cli("alias", "set", MARKERS["alias"], "alicemarker", "bobmarker")
        for sender, recipient, submit in (
                (f"{MARKERS['sender']}@{MARKERS['domain']}.test", alice.address, None),
                (f"{MARKERS['sender']}@{MARKERS['domain']}.test", f"{MARKERS['alias']}@{c.domain}", None),
                (alice.address, bob.address, alice),
                (alice.address, f"recipient@{MARKERS['domain']}.invalid", alice)):
            message = email.message.EmailMessage(policy=email.policy.SMTP)
            message["From"], message["To"], message["Subject"] = sender, recipient, MARKERS["subject"]
            message.set_content(f"{MARKERS['body']}\n" * 40)
            message.add_attachment(b"x" * 3000, maintype="application", subtype="octet-stream",
                                   filename=f"{MARKERS['attachment']}.bin")
            client = c.smtp(submit)
            client.sendmail(sender, [recipient], message.as_bytes())
            client.quit()
        c.wait_mail(bob, 2)
        client = c.imap(alice)
        client.create(MARKERS["folder"])
        wait_until(lambda: int(client.select("INBOX")[1][0]) >= 2, 20, "mail for the folder")
        client.copy("1", MARKERS["folder"])
        client.store("1", "+FLAGS", f"({MARKERS['keyword']})")
        client.search(None, "BODY", f'"{MARKERS["search"]}"')
        client.search(None, "SUBJECT", f'"{MARKERS["subject"]}"')
        client.logout()

    def test_markers_are_nowhere_in_home(self) -> None:
        words = [*MARKERS.values(), "alicemarker", "bobmarker", "@seizedhouse"]
        # The domain is no secret: the configuration and the certificates, which everybody is shown, name it.
        public = ("cohue.conf", "tls/member.crt", "tls/mx.crt")
        hits = [hit for hit in find_markers([self.cohue.home], words) if not any(name in hit for name in public)]
        self.assertEqual(hits, [])

    def test_nor_in_the_log(self) -> None:
        for word in [*MARKERS.values(), "alicemarker", "bobmarker", "127.0.0.1", "@"]:
            self.assertNotIn(word, self.log)

    def test_sizes_and_order_tell_little(self) -> None:
        """Blobs lie in steps of the ladder; primary keys are random or keyed hashes: no table counts up in time."""
        path = next(self.cohue.home.rglob("*.db"))
        database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        try:
            tables = [row[0] for row in database.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'")]
            for sql in tables:
                if sql.upper().startswith("CREATE TABLE BLOBS("):
                    # Its numbers come from random names: nothing of the order in which they were written.
                    ids = [row[0] for row in database.execute("SELECT id FROM blobs")]
                    self.assertGreater(max(map(abs, ids)), 1 << 56)
                    self.assertGreater(len({i & 0xff for i in ids}), 5)
                else:
                    self.assertIn("WITHOUT ROWID", sql.upper())
                self.assertNotIn("AUTOINCREMENT", sql.upper())
        finally:
            database.close()

    def test_an_attack_that_knows_the_formats(self) -> None:
        """Every value of every table, tried as text, as zlib, zstd and gzip: no header, date or MIME word shows."""
        words = [b"Subject:", b"From:", b"Received:", b"Message-ID", b"text/plain", b"INBOX", b"Sent", b"\\Seen"]
        path = next(self.cohue.home.rglob("*.db"))
        database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        found = 0
        try:
            names = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for name in names:
                for row in database.execute(f'SELECT * FROM "{name}"'):
                    for value in row:
                        if isinstance(value, bytes) and len(value) > 40:
                            found += 1
                            for word in words:
                                self.assertNotIn(word, value, name)
                            # A zstd or gzip frame would be plain text by another name.
                            self.assertNotIn(b"\x28\xb5\x2f\xfd", value[:64])
                            self.assertNotEqual(value[:2], b"\x1f\x8b")
                            # Sealed bytes are spread like random ones.
                            if len(value) >= 4096:
                                counts = [value.count(bytes([i])) for i in range(256)]
                                self.assertLess(max(counts), len(value) / 256 * 3)
        finally:
            database.close()
        self.assertGreater(found, 10)

    def test_with_the_house_key_alone_mail_stays_closed(self) -> None:
        """`cohue check` opens all that the house key opens; what it may print names no content."""
        ran = self.cohue.cli("check", check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        for kind in ("subject", "body", "attachment", "folder", "keyword", "search", "sender", "domain"):
            self.assertNotIn(MARKERS[kind], ran.stdout + ran.stderr)


if __name__ == "__main__":
    unittest.main()
