# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a member does not want: her lists, and what her mailbox learns from what she moves."""

import random
import smtplib
import unittest

from harness.cohue import Cohue
from harness.wait import wait_until
from peers import Knot, Rspamd, peers_available

BAD = "winner casino jackpot bonus claim prize lottery free spins deposit".split()
GOOD = "meeting minutes choir rehearsal potluck garden committee agenda bicycle".split()


def message(marker: str, words: list[str], author: str = "someone@elsewhere.test") -> bytes:
    r = random.Random(marker)
    text = " ".join(r.choice(words) for _ in range(40))
    return (f"From: {author}\r\nTo: alice@house.test\r\nSubject: {marker} {r.choice(words)}\r\n"
            f"Message-ID: <{marker}@elsewhere.test>\r\n\r\n{text}\r\n").encode()


class Boxes(unittest.TestCase):
    house: Cohue
    alice: object

    def count(self, folder: str, marker: str, who=None) -> int:
        with self.house.imap(who or self.alice) as imap:
            imap.select(folder)
            return len(imap.search(None, "HEADER", "Subject", marker)[1][0].split())

    def lands(self, marker: str, folder: str, who=None) -> None:
        wait_until(lambda: self.count(folder, marker, who) == 1, 15, f"{marker} in {folder}", pause=0.1)

    def send_from(self, address: str, hello: str, octets: bytes, sender: str = "bounce@free.test",
                  to: str = "alice@house.test") -> None:
        with smtplib.SMTP("127.0.0.1", self.house.port(25), hello, timeout=30, source_address=(address, 0)) as client:
            client.sendmail(sender, [to], octets)


class Junk(Boxes):
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


def dated(marker: str, author: str = "someone@free.test") -> bytes:
    return b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n" + message(marker, GOOD, author)


class Score(Boxes):
    """What is the same for everybody: from 5.0 on, into Junk."""

    @classmethod
    def setUpClass(cls) -> None:
        peers_available()
        dns = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.11"
        zones = {"free.test": ["host A 127.0.0.1"], "permitted.test": ['@ TXT "v=spf1 ip4:127.0.0.0/8 -all"'],
                 "bl.test": ["9.9.9.127 A 127.0.0.2", "8.9.9.127 A 127.255.255.254"]}
        cls.knot = Knot(zones, address=dns, port=53)
        cls.addClassCleanup(cls.knot.__exit__, None, None, None)
        cls.knot.__enter__()
        cls.house = Cohue(settings={"resolver.stub": dns, "resolver.trust_anchor": cls.knot.anchor,
                                    "authentication": "enforce", "dnsbl": "bl.test", "limits.domain_messages": "2"})
        cls.addClassCleanup(cls.house.__exit__, None, None, None)
        cls.house.__enter__()
        cls.alice = cls.house.add_member("alice")

    def test_a_host_that_is_not_what_it_says_goes_to_junk(self) -> None:
        self.send_from("127.0.0.1", "host.free.test", dated("honest"))
        self.lands("honest", "INBOX")
        self.send_from("127.9.9.7", "nowhere.free.test", dated("small"))  # no name, nothing in the DNS: suspicious, no more
        self.lands("small", "INBOX")
        self.send_from("127.9.9.7", "mail.house.test", dated("liar"))
        self.lands("liar", "Junk")

    def test_a_list_is_asked_for_the_host(self) -> None:
        self.send_from("127.9.9.9", "host.free.test", dated("listed"))
        self.lands("listed", "Junk")
        self.send_from("127.9.9.8", "host.free.test", dated("unlisted"))  # the list does not want to be asked
        self.lands("unlisted", "INBOX")

    def test_a_domain_has_a_limit_that_nobody_else_uses_up(self) -> None:
        for n in range(4):
            self.send_from(f"127.5.{n}.1", "host.free.test", dated(f"other{n}"), "x@free.test")
        for n in range(2):
            self.send_from(f"127.5.{n}.1", "host.free.test", dated(f"own{n}"), "x@permitted.test")
        with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
            self.send_from("127.5.9.1", "host.free.test", dated("own9"), "x@PERMITTED.test")
        self.assertEqual(caught.exception.smtp_code, 450)


class Limits(Boxes):
    """Without DNS: how much may come from one network, and the choice to let it come twice."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.house = Cohue(settings={"limits.client_connections": "5", "limits.client_messages": "3",
                                    "limits.unknown_recipients": "2", "greylist": "yes", "greylist.delay": "1 s"})
        cls.addClassCleanup(cls.house.__exit__, None, None, None)
        cls.house.__enter__()
        cls.alice = cls.house.add_member("alice")

    def session(self, address: str) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.house.port(25), "host.free.test", timeout=30, source_address=(address, 0))
        self.addCleanup(client.close)
        client.ehlo()
        return client

    def test_connections_of_a_network(self) -> None:
        for n in range(5):
            self.session(f"127.2.2.{n + 1}")
        with self.assertRaises(smtplib.SMTPConnectError) as caught:
            self.session("127.2.2.99")
        self.assertEqual(caught.exception.smtp_code, 421)
        self.session("127.2.3.1")
        for _ in range(8):
            self.session("127.0.0.1")

    def test_messages_of_a_network(self) -> None:
        client = self.session("127.2.4.1")
        said = [client.mail("x@free.test")[0] for _ in range(4) if client.rset()]
        self.assertEqual(said, [250, 250, 250, 450])

    def test_unknown_recipients_of_a_network(self) -> None:
        client = self.session("127.2.5.1")
        client.mail("x@free.test")
        said = [client.rcpt(f"nobody{n}@house.test")[0] for n in range(3)]
        self.assertEqual(said, [550, 550, 450])
        self.assertEqual(client.rcpt("alice@house.test")[0], 450)  # nor does it learn who is here

    def test_who_comes_first_comes_twice(self) -> None:
        client = self.session("127.2.6.1")
        client.mail("x@free.test")
        self.assertEqual(client.rcpt("alice@house.test")[0], 450)
        self.assertEqual(client.rcpt("alice+now@house.test")[0], 250)
        wait_until(lambda: client.rcpt("alice@house.test")[0] == 250, 15, "the second time", pause=0.2)
        # Its network is known from then on.
        other = self.session("127.2.6.9")
        other.mail("y@free.test")
        self.assertEqual(other.rcpt("alice@house.test")[0], 250)

    def test_zz_a_restart_does_not_make_the_world_come_twice(self) -> None:
        client = self.session("127.2.7.1")
        client.mail("x@free.test")
        wait_until(lambda: client.rcpt("alice@house.test")[0] == 250, 15, "the second time", pause=0.2)
        client.close()
        self.house.restart()
        for network, code in ("127.2.7", 250), ("127.2.8", 450):
            client = self.session(f"{network}.5")
            client.mail("z@free.test")
            self.assertEqual(client.rcpt("alice@house.test")[0], code, network)


GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class Shown(Boxes):
    """To an rspamd that asks nobody and keeps nothing."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.rspamd = Rspamd()
        cls.addClassCleanup(cls.rspamd.__exit__, None, None, None)
        cls.rspamd.__enter__()
        cls.house = Cohue(settings={"rspamd": cls.rspamd.url})
        cls.addClassCleanup(cls.house.__exit__, None, None, None)
        cls.house.__enter__()
        cls.alice = cls.house.add_member("alice")

    def test_what_rspamd_would_refuse_goes_to_junk_and_it_keeps_nothing(self) -> None:
        self.send_from("127.0.0.1", "host.free.test", dated("gtube") + GTUBE + b"\r\n")
        self.lands("gtube", "Junk")
        self.send_from("127.0.0.1", "host.free.test", dated("shown", "hidden@free.test"))
        self.lands("shown", "INBOX")
        # A large one is shown by its beginning.
        large = (dated("large").replace(b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
                 + b"--b\r\n\r\n" + GTUBE + b"\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n"
                 + (b"x" * 70 + b"\r\n") * 30000 + b"--b--\r\n")
        self.send_from("127.0.0.1", "host.free.test", large)
        self.lands("large", "Junk")
        for path in self.rspamd.cell.directory.rglob("*"):
            if path.is_file():
                for word in (b"hidden@free.test", b"alice@", b"free.test", b"gtube@elsewhere"):
                    self.assertNotIn(word, path.read_bytes(), path)
        # Without it, mail comes in all the same.
        self.rspamd.stop()
        self.send_from("127.0.0.1", "host.free.test", dated("alone") + GTUBE + b"\r\n")
        self.lands("alone", "INBOX")
        self.assertIn("rspamd_unanswered", self.house.cli("status").stdout)
