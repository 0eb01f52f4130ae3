# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sizes on the line: what somebody sees who reads the headers of TLS records, and nothing else."""

import imaplib
import smtplib
import time
import unittest

from harness.cohue import Cohue
from harness.dialogue import imap_login, smtp_login, tls_context
from harness.relay import Relay
from harness.wait import wait_until

FULL = 16384


def letter(size: int, subject: str = "x") -> bytes:
    """A message of exactly so many octets, without dots at the start of lines."""
    head = f"From: alice@house.test\r\nTo: bob@house.test\r\nSubject: {subject}\r\n\r\n".encode()
    body = (b"abcdefghijklmnopqrstuvwxyz0123456789 " * (size // 37 + 1))[:size - len(head)]
    lines = bytearray(body)
    for at in range(76, len(lines) - 1, 78):
        lines[at:at + 2] = b"\r\n"
    if len(lines) >= 2:
        lines[-2:] = b"\r\n"
    return head + bytes(lines)


def settle(relay: Relay) -> int:
    """Until nothing has crossed for a while; how many records there are then."""
    count = -1
    while count != len(relay.records):
        count = len(relay.records)
        time.sleep(0.15)
    return count


class Members(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.house = Cohue().__enter__()
        try:
            cls.alice = cls.house.add_member("alice")
        except BaseException:
            cls.house.destroy()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.house.destroy()

    def test_each_small_answer_of_imap_is_one_record_of_512(self) -> None:
        with Relay(self.house.port(993)) as line:
            client = imap_login(line.port, self.alice.address, self.alice.password)
            since = settle(line)
            # The greeting, what it can do, and the login; before them the handshake and a ticket.
            self.assertEqual(line.sizes(False)[-3:], [512] * 3)
            for number, command in enumerate((client.noop, client.select, lambda: client.status("INBOX", "(MESSAGES)"),
                                              lambda: client.search(None, "ALL"), client.noop)):
                command()
                settle(line)
                self.assertEqual(line.sizes(False, since), [512] * (number + 1))
            client.logout()

    def test_a_fetched_message_shows_its_step_of_the_ladder_alone(self) -> None:
        client = self.house.imap(self.alice)
        client.create("Sizes")
        # Of each pair the first and nearly the last size of a step; FETCH adds about 60 octets.
        steps = [((600, 3900), [4096]), ((4200, 16200), [FULL]), ((17000, 65300), [FULL] * 4),
                 ((66000, 261900), [FULL] * 16), ((263000, 1048300), [FULL] * 64)]
        for sizes, _ in steps:
            for size in sizes:
                client.append("Sizes", None, None, letter(size))
        client.logout()
        with Relay(self.house.port(993)) as line:
            client = imap_login(line.port, self.alice.address, self.alice.password)
            client.select("Sizes", readonly=True)
            uid = 0
            for sizes, want in steps:
                for size in sizes:
                    uid += 1
                    since = settle(line)
                    _, answer = client.fetch(str(uid), "(BODY.PEEK[])")
                    self.assertEqual(len(answer[0][1]), size)
                    settle(line)
                    self.assertEqual(line.sizes(False, since), want, f"{size} octets")
            client.logout()

    def test_replies_to_submissions_are_records_of_512(self) -> None:
        for implicit in (True, False):
            with Relay(self.house.port(465 if implicit else 587)) as line:
                client = smtp_login(line.port, self.alice.address, self.alice.password, implicit)
                since = settle(line)
                client.sendmail(self.alice.address, [self.alice.address], letter(5000))
                client.quit()
                settle(line)
                # MAIL, RCPT, DATA, the message, QUIT; the last record says that TLS ends.
                replies = line.sizes(False, since)
                self.assertEqual(replies[:5], [512] * 5)
                self.assertLess(len(replies), 7)

    def test_replies_to_strangers_are_records_of_512(self) -> None:
        with Relay(self.house.port(25)) as line:
            client = smtplib.SMTP("127.0.0.1", line.port, local_hostname="stranger.test", timeout=20)
            client.starttls(context=tls_context())
            client.ehlo()
            since = settle(line)
            self.assertEqual(line.sizes(False)[-1], 512)
            client.mail("bob@stranger.test")
            client.rcpt(self.alice.address)
            client.rcpt("nobody-of-that-name@house.test")
            client.rset()
            settle(line)
            self.assertEqual(line.sizes(False, since), [512] * 4)
            client.quit()


class Off(unittest.TestCase):
    def test_without_padding_sizes_show_and_the_start_says_so(self) -> None:
        with Cohue(settings={"pad": "none"}) as house:
            alice = house.add_member("alice")
            self.assertIn("padding is off", house.log())
            with Relay(house.port(993)) as line:
                client: imaplib.IMAP4 = imap_login(line.port, alice.address, alice.password)
                since = settle(line)
                client.noop()
                wait_until(lambda: line.sizes(False, since), 5, "an answer")
                self.assertLess(line.sizes(False, since)[0], 100)
                client.logout()
