# SPDX-License-Identifier: AGPL-3.0-or-later
"""What strangers send to make two messages of one, to speak before encryption, or to have us answer somebody else: over real lines, cut anywhere."""

import socket
import ssl
import time
import unittest

from harness.cohue import Cohue

HEAD = b"From: x@free.test\r\nSubject: outer\r\n\r\nfirst"
INNER = b"MAIL FROM:<evil@free.test>\r\nRCPT TO:<alice@house.test>\r\nDATA\r\nFrom: e@free.test\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
# What other servers have taken for the end of data.
ENDS = [b"\n.\n", b"\r.\r", b"\r.\r\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\0\n", b"\r\r\n.\r\r\n",
        b"\n\r\n.\n", b"\r\n\r.\r\n", b"\r\n.\r\r\n"]


class Line:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def say(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> int:
        """0: the line has ended."""
        while line := self.reader.readline():
            if line[3:4] != b"-":
                return int(line[:3])
        return 0

    def ask(self, octets: bytes) -> int:
        self.say(octets + b"\r\n")
        return self.reply()

    def rest(self) -> list[int]:
        """All that it says until it ends."""
        codes = []
        try:
            while code := self.reply():
                codes.append(code)
        except ConnectionError:
            pass
        return codes

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.house = Cohue()
        cls.addClassCleanup(cls.house.destroy)
        cls.house.init()
        cls.house.start()
        cls.alice = cls.house.add_member("alice")

    def line(self) -> Line:
        line = Line(self.house.port(25))
        self.addCleanup(line.close)
        self.assertEqual(line.reply(), 220)
        self.assertEqual(line.ask(b"EHLO x.free.test"), 250)
        return line

    def envelope(self) -> Line:
        line = self.line()
        self.assertEqual(line.ask(b"MAIL FROM:<x@free.test>"), 250)
        self.assertEqual(line.ask(b"RCPT TO:<alice@house.test>"), 250)
        return line

    def nothing_arrived(self) -> None:
        with self.house.imap(self.alice) as imap:
            imap.select("INBOX", readonly=True)
            self.assertEqual(imap.search(None, "SUBJECT", "smuggled")[1], [b""])
            self.assertEqual(imap.search(None, "FROM", "e@free.test")[1], [b""])

    def test_a_no_variant_of_the_end_of_data_makes_two_messages_of_one(self) -> None:
        for end in ENDS:
            whole = HEAD + end + INNER + b"QUIT\r\n"
            # In one packet, and cut at each octet of the variant.
            for cut in range(len(HEAD), len(HEAD) + len(end) + 1):
                with self.subTest(end=end, cut=cut):
                    line = self.envelope()
                    self.assertEqual(line.ask(b"DATA"), 354)
                    line.say(whole[:cut])
                    if len(HEAD) < cut:
                        time.sleep(0.002)
                    line.say(whole[cut:])
                    # One message, refused; never one more, nor an answer to a command in it.
                    self.assertEqual([code for code in line.rest() if code not in (221, 421)], [550])
                    line.close()
        self.nothing_arrived()

    def test_b_nor_in_chunks(self) -> None:
        for end in ENDS:
            with self.subTest(end=end):
                line = self.envelope()
                whole = HEAD + end + INNER
                line.say(b"BDAT %d LAST\r\n" % len(whole) + whole + b"QUIT\r\n")
                codes = line.rest()
                self.assertNotIn(354, codes)
                # Refused, for its bare CR, LF or NUL.
                self.assertIn(codes[0], (550, 554), codes)
                line.close()
        # A chunk that says it is longer swallows commands, and says so in the message, not in the dialogue.
        line = self.envelope()
        body = HEAD + b"\r\n.\r\n" + INNER
        line.say(b"BDAT %d LAST\r\n" % len(body) + body)
        self.assertEqual(line.reply(), 250)
        self.assertEqual(line.ask(b"NOOP"), 250)
        (got,) = self.house.wait_mail(self.alice, 1)
        self.assertIn(b"Subject: outer", got)
        self.assertIn(b"MAIL FROM:<evil@free.test>", got)
        self.nothing_arrived()

    def test_c_what_is_glued_behind_starttls_is_not_heard(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        line = self.line()
        line.say(b"STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@free.test>\r\nRCPT TO:<alice@house.test>\r\n")
        self.assertEqual(line.reply(), 220)
        line.reader.close()
        line.socket = context.wrap_socket(line.socket)
        line.reader = line.socket.makefile("rb")
        # Nothing was answered inside, and the envelope is empty.
        self.assertEqual(line.ask(b"RCPT TO:<alice@house.test>"), 503)
        self.assertEqual(line.ask(b"EHLO x.free.test"), 250)
        self.assertEqual(line.ask(b"DATA"), 503)

    def test_d_nobody_else_is_answered_whatever_is_wrong(self) -> None:
        """No bounce to a sender outside: what cannot be taken is refused while the server is there."""
        self.house.add_member("gone")
        self.house.cli("alias", "set", "list", "gone")
        self.house.cli("member", "remove", "gone", "--yes", check=False)
        line = self.line()
        self.assertEqual(line.ask(b"MAIL FROM:<victim@forged.test>"), 250)
        for name in b"gone", b"nobody", b"list":
            self.assertEqual(line.ask(b"RCPT TO:<%s@house.test>" % name), 550, name)
        self.assertEqual(line.ask(b"RCPT TO:<alice@house.test>"), 250)
        self.assertEqual(line.ask(b"DATA"), 354)
        line.say(b"X: " + b"y" * 900 + b"\r\n")
        line.say((b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n" * 200) + b"\r\nround and round\r\n.\r\n")
        self.assertIn(line.reply() // 100, (5,))
        # The null sender to an address that is not, and a bounce of a bounce.
        line = self.line()
        self.assertEqual(line.ask(b"MAIL FROM:<>"), 250)
        self.assertEqual(line.ask(b"RCPT TO:<nobody@house.test>"), 550)
        self.assertEqual(line.ask(b"RCPT TO:<alice@house.test>"), 250)
        self.assertEqual(line.ask(b"DATA"), 354)
        line.say(b"From: MAILER-DAEMON@free.test\r\nSubject: Undelivered\r\nDisposition-Notification-To: victim@forged.test\r\n"
                 b"Return-Receipt-To: victim@forged.test\r\n\r\nx\r\n.\r\n")
        self.assertEqual(line.reply(), 250)
        rows = {r.get("role", r.get("name", "")): r for r in self.house.cli_json("status")}
        mixer = next(r for name, r in rows.items() if name.startswith("mixer"))
        courier = next(r for name, r in rows.items() if name.startswith("courier"))
        self.assertEqual((mixer["waiting_to_leave"], mixer["being_delivered"], courier["reports"]), (0, 0, 0))


if __name__ == "__main__":
    unittest.main()
