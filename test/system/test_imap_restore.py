# SPDX-License-Identifier: AGPL-3.0-or-later
"""UIDs and UIDVALIDITY where the service died, and where an older copy of the store was put back."""

import re
import shutil
import subprocess
import unittest

from harness import Cohue
from test_imap import Client, simple


class Restore(unittest.TestCase):
    def setUp(self) -> None:
        self.cohue = Cohue()
        self.addCleanup(self.cohue.destroy)
        self.cohue.init()
        self.cohue.start()
        self.member = self.cohue.add_member("anna")

    def boxes(self) -> dict[bytes, tuple[int, int, bytes]]:
        """Of each folder: UIDVALIDITY, UIDNEXT, MAILBOXID."""
        c = Client(self.cohue, self.member)
        got = {}
        for answer in c.command('LIST "" * RETURN (STATUS (UIDVALIDITY UIDNEXT MAILBOXID))')[0]:
            if answer.startswith(b"* STATUS"):
                name = answer.split()[2]
                got[name] = (int(re.search(rb"UIDVALIDITY (\d+)", answer)[1]), int(re.search(rb"UIDNEXT (\d+)", answer)[1]),
                             re.search(rb"MAILBOXID \((\w+)\)", answer)[1])
        c.close()
        return got

    def fill(self, box: str, *subjects: str) -> None:
        c = Client(self.cohue, self.member)
        for subject in subjects:
            c.append(box, simple(subject))
        c.close()

    def known(self, box: str) -> dict[tuple[int, int], bytes]:
        """What a program keeps: (UIDVALIDITY, UID) to subject."""
        c = Client(self.cohue, self.member)
        validity = int(re.search(rb"UIDVALIDITY (\d+)", b" ".join(c.command(f"SELECT {box}")[0]))[1])
        found = re.findall(rb"UID (\d+) .*?Subject: (\S+)", c.fetch("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), re.S)
        c.close()
        return {(validity, int(uid)): subject for uid, subject in found}

    def test_a_copy_put_back_gives_no_number_to_another_message_and_a_crash_changes_none(self) -> None:
        c = Client(self.cohue, self.member)
        c.command("CREATE work/deep")
        c.close()
        self.fill("INBOX", "one", "two")
        self.fill("work/deep", "w1")
        before = self.boxes()
        # A crash: all that was confirmed is there, under its numbers.
        self.cohue.kill()
        self.cohue.start()
        self.assertEqual(self.boxes(), before)
        self.cohue.stop()
        store, copy = self.cohue.home / "store", self.cohue.home / "copy"
        subprocess.run(["cp", "-a", store, copy], check=True)
        self.cohue.start()
        # Said while it runs, it is refused.
        self.assertIn("cohue stop", self.cohue.cli("restored", check=False).stderr)
        self.fill("INBOX", "three", "four")
        c = Client(self.cohue, self.member)
        c.command("CREATE later")
        c.close()
        seen = self.known("INBOX")
        lost = self.boxes()
        self.assertEqual(sorted(seen.values()), [b"four", b"one", b"three", b"two"])
        self.cohue.stop()
        shutil.rmtree(store)
        subprocess.run(["cp", "-a", copy, store], check=True)
        self.cohue.cli("restored")
        self.cohue.start()
        after = self.boxes()
        self.assertEqual(set(after), set(before))
        newest = max(v for v, _, _ in lost.values())
        for name, (validity, uidnext, mailbox) in after.items():
            self.assertGreater(validity, newest, name)
            self.assertEqual((uidnext, mailbox), before[name][1:])  # it is the same mailbox
        self.assertEqual(len({v for v, _, _ in after.values()}), len(after))
        self.fill("INBOX", "other")
        c = Client(self.cohue, self.member)
        c.command("CREATE new")
        c.close()
        now = self.known("INBOX")
        self.assertEqual([key for key in seen if key in now and now[key] != seen[key]], [])
        self.assertEqual(sorted(now.values()), [b"one", b"other", b"two"])
        self.assertNotIn(self.boxes()[b"new"][2], {m for _, _, m in lost.values()})
        # Said once, it holds once.
        del after[b"INBOX"]
        self.cohue.restart()
        self.assertEqual({n: b for n, b in self.boxes().items() if n in after}, after)
        # The same copy, put back a second time, gives other numbers again.
        given = {v for v, _, _ in self.boxes().values()}
        self.cohue.stop()
        shutil.rmtree(store)
        subprocess.run(["cp", "-a", copy, store], check=True)
        self.cohue.cli("restored")
        self.cohue.start()
        self.assertEqual(given & {v for v, _, _ in self.boxes().values()}, set())


if __name__ == "__main__":
    unittest.main()
