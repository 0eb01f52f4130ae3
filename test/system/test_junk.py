# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a member does not want: her lists, and what her mailbox learns from what she moves."""

import random
import smtplib
import unittest

from harness.cohue import Cohue
from harness.wait import wait_until

BAD = "winner casino jackpot bonus claim prize lottery free spins deposit".split()
GOOD = "meeting minutes choir rehearsal potluck garden committee agenda bicycle".split()


def message(marker: str, words: list[str], author: str = "someone@elsewhere.test") -> bytes:
    r = random.Random(marker)
    text = " ".join(r.choice(words) for _ in range(40))
    return (f"From: {author}\r\nTo: alice@house.test\r\nSubject: {marker} {r.choice(words)}\r\n"
            f"Message-ID: <{marker}@elsewhere.test>\r\n\r\n{text}\r\n").encode()


class Junk(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.house = Cohue()
        cls.house.__enter__()
        cls.alice = cls.house.add_member("alice")
        cls.carol = cls.house.add_member("carol")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.house.__exit__(None, None, None)

    def send(self, *messages: bytes, to=None) -> None:
        with smtplib.SMTP("127.0.0.1", self.house.port(25), "host.elsewhere.test", timeout=30) as client:
            for octets in messages:
                client.sendmail("bounce@elsewhere.test", [(to or self.alice).address], octets)

    def count(self, folder: str, marker: str, who=None) -> int:
        with self.house.imap(who or self.alice) as imap:
            imap.select(folder)
            return len(imap.search(None, "HEADER", "Subject", marker)[1][0].split())

    def lands(self, marker: str, folder: str, who=None) -> None:
        wait_until(lambda: self.count(folder, marker, who) == 1, 15, f"{marker} in {folder}", pause=0.1)

    def move(self, marker: str, start: str, to: str) -> None:
        with self.house.imap(self.alice) as imap:
            imap.select(start)
            found = imap.search(None, "HEADER", "Subject", marker)[1][0].replace(b" ", b",").decode()
            self.assertEqual(imap._simple_command("MOVE", found, to)[0], "OK")

    def test_her_moves_teach(self) -> None:
        bad = [message(f"bad{n:02}", BAD) for n in range(12)]
        good = [message(f"good{n:02}", GOOD) for n in range(12)]
        self.send(*bad, *good)
        wait_until(lambda: self.count("INBOX", "good") == 12, 15, "all in the inbox", pause=0.1)
        self.assertEqual(self.count("INBOX", "bad"), 12)
        with self.house.imap(self.alice) as imap:
            imap.create("Kept")
        self.move("bad", "INBOX", "Junk")
        self.send(message("early", BAD))  # one kind of lessons alone judges nobody
        self.lands("early", "INBOX")
        self.move("good", "INBOX", "Kept")
        self.send(message("late", BAD), message("fine", GOOD))
        self.lands("late", "Junk")
        self.lands("fine", "INBOX")
        # What she taught is hers alone.
        self.send(message("other", BAD), to=self.carol)
        self.lands("other", "INBOX", self.carol)
        # It stands in her log, and is there after a restart.
        self.house.restart()
        self.send(message("again", BAD))
        self.lands("again", "Junk")
        # A member's own mail is never judged.
        with self.house.smtp(self.carol) as client:
            client.sendmail(self.carol.address, [self.alice.address],
                            message("inside", BAD, self.carol.address))
        self.lands("inside", "INBOX")

    def test_her_list_of_those_she_does_not_want(self) -> None:
        with self.house.imap(self.carol) as imap:
            said = imap.xatom("SETMETADATA", '""', '(/private/vendor/cohue/block "eve@elsewhere.test noise.test")')
            self.assertEqual(said[0], "OK", said)
        self.send(message("eve", GOOD, "Eve <EVE@elsewhere.test>"), message("noise", GOOD, "a@lists.noise.test"),
                  message("bob", GOOD, "bob@elsewhere.test"), to=self.carol)
        self.lands("eve", "Junk", self.carol)
        self.lands("noise", "Junk", self.carol)
        self.lands("bob", "INBOX", self.carol)
