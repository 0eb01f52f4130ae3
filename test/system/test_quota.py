# SPDX-License-Identifier: AGPL-3.0-or-later
"""Full mailboxes: who has room gets her mail, whoever else it goes to; nothing that was accepted is lost; the figures are true."""

import base64
import email
import imaplib
import random
import re
import unittest

from harness import Cohue, Dialogue

KIB = 1024
MESSAGE_MAX = 64 * KIB


class Quota:
    """The same from either door: `door` opens an SMTP connection that may send as `sender`."""

    sender = ""

    def door(self) -> Dialogue:
        raise NotImplementedError

    def setUp(self) -> None:
        self.cohue = Cohue(settings={"limits.message_size": "64 KiB"})
        self.addCleanup(self.cohue.destroy)
        self.cohue.init()
        self.cohue.start()
        self.anna, self.bert, self.tight = (self.cohue.add_member(n) for n in ("anna", "bert", "tight"))
        self.cohue.cli("alias", "set", "pair", "tight", "bert")
        self.cohue.cli("member", "quota", "tight", "16 KiB")
        self.open_door = self.door()
        self.addCleanup(self.open_door.close)
        self.seed = 0

    def greeted(self, port: int, tls: bool) -> Dialogue:
        d = Dialogue(self.cohue.port(port), tls=tls)
        d.hear()
        d.say("EHLO client.test", 250)
        return d

    def mail(self, size: int = 0) -> None:
        self.open_door.say(f"MAIL FROM:<{self.sender}>" + (f" SIZE={size}" if size else ""), 250)

    def rcpt(self, name: str) -> int:
        code, text = self.open_door.say(f"RCPT TO:<{name}@house.test>")
        if code == 452:
            self.assertTrue("4.2.2" in text, text)
        return code

    def data(self, subject: str, octets: int = 40 * KIB) -> int:
        """Noise, so that it is stored in as many octets as that, and more."""
        self.seed += 1
        noise = base64.encodebytes(random.Random(self.seed).randbytes(octets * 3 // 4)).replace(b"\n", b"\r\n")
        self.open_door.say("DATA", 354)
        self.open_door.send(f"From: {self.sender}\r\nTo: x@house.test\r\nSubject: {subject}\r\n\r\n".encode() + noise + b".\r\n")
        return self.open_door.hear()[0]

    def asked(self, name: str, size: int = 0) -> int:
        self.mail(size)
        code = self.rcpt(name)
        self.open_door.say("RSET", 250)
        return code

    def subjects(self, member, count: int) -> list[str]:
        got = self.cohue.wait_mail(member, count)
        return sorted(email.message_from_bytes(m)["Subject"] for m in got)

    def used(self, name: str) -> tuple[int, int]:
        (row,) = (r for r in self.cohue.cli_json("member", "list") if r["name"] == name)
        return row["used"], row["quota"]

    def test_the_declared_size_is_weighed_at_the_recipient(self) -> None:
        self.assertEqual(self.asked("tight"), 250)
        self.assertEqual(self.asked("tight", 16 * KIB), 250)
        self.assertEqual(self.asked("tight", 16 * KIB + 1), 452)
        self.mail(40 * KIB)
        # Of several recipients, she alone is refused; behind a list, another has room.
        self.assertEqual([self.rcpt(n) for n in ("anna", "tight", "pair")], [250, 452, 250])

    def test_who_is_found_full_at_the_end_of_the_data_stops_nobody(self) -> None:
        self.mail()
        self.assertEqual([self.rcpt(n) for n in ("tight", "anna", "bert")], [250, 250, 250])
        self.assertEqual(self.data("first"), 250)
        for member in (self.tight, self.anna, self.bert):
            self.assertEqual(self.subjects(member, 1), ["first"])
        # All say the truth: more than there is room for.
        used, quota = self.used("tight")
        self.assertGreater(used, quota)
        self.assertEqual(quota, 16 * KIB)
        client: imaplib.IMAP4 = self.cohue.imap(self.tight)
        try:
            _, (roots, figures) = client.getquotaroot("INBOX")
            said = re.search(rb"STORAGE (\d+) (\d+)", figures[0])
            assert said, (roots, figures)
            self.assertEqual(int(said[2]), 16)
            self.assertGreaterEqual(int(said[1]), used // KIB)  # her session has written records since
            kind, answer = client.append("INBOX", "", "", b"Subject: own\r\n\r\nx\r\n")
            self.assertEqual((kind, b"OVERQUOTA" in answer[0]), ("NO", True))
        finally:
            client.logout()
        # From now on she is told at her recipient, and the others get theirs.
        self.mail()
        self.assertEqual([self.rcpt(n) for n in ("tight", "anna", "bert")], [452, 250, 250])
        self.assertEqual(self.data("second"), 250)
        for member in (self.anna, self.bert):
            self.assertEqual(self.subjects(member, 2), ["first", "second"])
        self.assertEqual(self.subjects(self.tight, 1), ["first"])

    def test_a_list_goes_on_past_a_full_member_and_passes_nobody_over(self) -> None:
        sent = []
        while self.asked("pair") == 250:
            self.mail()
            self.assertEqual(self.rcpt("pair"), 250)
            sent.append(f"list {len(sent)}")
            self.assertEqual(self.data(sent[-1]), 250)
            self.assertLess(len(sent), 4)
        # Beyond the quota at least once, and what was accepted is there: for both.
        self.assertGreater(len(sent), 1)
        self.assertEqual(self.subjects(self.tight, len(sent)), sent)
        self.assertEqual(self.subjects(self.bert, len(sent)), sent)
        used, quota = self.used("tight")
        self.assertGreater(used, quota + MESSAGE_MAX)
        # Now the list waits; others that the same message goes to do not.
        self.mail()
        self.assertEqual([self.rcpt(n) for n in ("pair", "tight", "anna")], [452, 452, 250])
        self.assertEqual(self.data("past the list", KIB), 250)
        self.assertEqual(self.subjects(self.anna, 1), ["past the list"])
        self.cohue.cli("member", "quota", "tight", "1 MiB")
        self.assertEqual(self.asked("pair"), 250)

    def test_a_list_of_full_members_waits(self) -> None:
        self.cohue.cli("member", "quota", "bert", "16 KiB")
        self.mail()
        self.assertEqual(self.rcpt("pair"), 250)
        self.assertEqual(self.data("last"), 250)
        self.assertEqual(self.subjects(self.bert, 1), ["last"])
        self.assertEqual(self.asked("pair"), 452)
        # One of them has room again.
        self.cohue.cli("member", "quota", "bert", "none")
        self.assertEqual(self.asked("pair", KIB), 250)
        # Declared to be more than the other's tolerance.
        self.assertEqual(self.asked("pair", 40 * KIB), 452)


class FromOutside(Quota, unittest.TestCase):
    sender = "bob@other.test"

    def door(self) -> Dialogue:
        return self.greeted(25, tls=False)


class FromMembers(Quota, unittest.TestCase):
    sender = "anna@house.test"

    def door(self) -> Dialogue:
        d = self.greeted(465, tls=True)
        login = base64.b64encode(f"\0{self.anna.address}\0{self.anna.password}".encode()).decode()
        d.say("AUTH PLAIN " + login, 235)
        return d
