# SPDX-License-Identifier: AGPL-3.0-or-later
"""SEARCH in all its forms, SORT and THREAD: what RFC 5256 and the others say, and what Dovecot answers to the same.
With COHUE_REAL_MAIL naming a tar of messages, differences from Dovecot over those are printed, too."""

import base64
import os
import quopri
import re
import tarfile
import time
import unittest

from harness import Cohue, wait_until
from peers import Dovecot, peers_available
from test_imap import Client


def message(number: int, subject: str, body: str = "Hello.\r\n", more: str = "", sender: str = "Ann <ann@x.test>",
            to: str = "alice@house.test", day: int = 1) -> bytes:
    return (f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <m{number}@x.test>\r\n"
            f"Date: {day:02} Mar 2025 10:00:00 +0000\r\n{more}\r\n{body}").encode()


def encoded(text: str, charset: str, encoding: str, subtype: str = "plain") -> bytes:
    octets = text.encode(charset)
    body = base64.encodebytes(octets) if encoding == "base64" else quopri.encodestring(octets)
    return (f"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/{subtype}; charset={charset}\r\n"
            f"Content-Transfer-Encoding: {encoding}\r\n\r\n").encode() + body.replace(b"\n", b"\r\n")


NESTED = """Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=o

--o
Content-Type: message/rfc822

Subject: =?utf-8?q?inn=C3=A9r?=
Content-Type: multipart/mixed; boundary=i

--i
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

ZGVlcCBiZWxvdw==
--i--

--o
Content-Type: application/octet-stream; name="plan.bin"
Content-Disposition: attachment; filename*=utf-8''b%C3%BCcher.bin
Content-Transfer-Encoding: base64

c2VjcmV0IGluIGJpbmFyeQ==
--o--
""".replace("\n", "\r\n").encode()

# One conversation with a gap, one by subjects alone, identifiers twice, a loop, lists' marks and languages.
MAILBOX = [
    message(1, "Plans", day=3),
    message(2, "Re: Plans", more="In-Reply-To: <m1@x.test>\r\n", sender="bert@y.test", day=4),
    message(3, "Re: Plans", more="References: <m1@x.test> <m2@x.test>\r\n", sender="Carl <carl@z.test>", day=6),
    message(4, "re: [list] plans (fwd)", more="References: <m1@x.test> <gone@x.test>\r\n", day=5),
    message(5, "Other", sender="Zoe <a@a.test>", day=1),
    message(6, "=?utf-8?q?R=C3=A9sum=C3=A9?=", to="bob@house.test", more="Cc: dora@x.test\r\n", day=9),
    message(7, "RE: RE\u0301SUME\u0301", day=8),
    message(5, "Same identifier", day=10),
    message(9, "a", more="References: <m10@x.test>\r\n", day=11),
    message(10, "b", more="References: <m9@x.test>\r\n", day=12),
    message(11, "[list] zebra", more="References: <lost@x.test>\r\n", day=14),
    message(12, "quite another", more="References: <lost@x.test>\r\n", day=13),
    message(13, "Re: ", day=15),
    message(14, "", day=16, sender="\"quoted, name\" <q@x.test>"),
    message(15, "[Fwd: Other]", day=17, body="words " * 300),
]


class Searching(unittest.TestCase):
    seconds = 6

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue()
        cls.number = 0
        try:
            cls.cohue.init()
            cls.cohue.start()
        except BaseException:
            cls.cohue.destroy()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    def setUp(self) -> None:
        type(self).number += 1
        self.member = self.cohue.add_member(f"member{self.number}")

    def client(self) -> Client:
        c = Client(self.cohue, self.member)
        self.addCleanup(c.close)
        return c

    def filled(self, messages: list[bytes]) -> Client:
        c = self.client()
        for octets in messages:
            c.append("INBOX", octets)
        c.command("SELECT INBOX")
        return c

    def finds(self, c: Client, keys: str) -> list[int]:
        """Sent in UTF-8, as a literal where it must be."""
        octets = keys.encode()
        parts = re.split(rb'"([^"]*)"', octets)
        text = b"".join(p if i % 2 == 0 else b"{%d+}\r\n%s" % (len(p), p) for i, p in enumerate(parts))
        untagged, _ = c.command(b"SEARCH CHARSET UTF-8 " + text)
        found = [r for r in untagged if r.startswith(b"* SEARCH")]
        return [int(n) for n in found[0].split()[2:]]

    def test_text_is_found_whatever_its_encoding_and_form(self) -> None:
        c = self.filled([
            encoded("Der Kaffee im Caf\u00e9 ist hei\u00df", "iso-8859-1", "quoted-printable"),
            encoded("\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "koi8-r", "base64"),
            encoded("\u65e5\u672c\u8a9e\u306e\u30e1\u30fc\u30eb", "iso-2022-jp", "base64"),
            encoded("one line\r\nand cafe\u0301 decomposed", "utf-8", "quoted-printable"),
            encoded("\uff26\uff35\uff2c\uff2c width", "utf-8", "base64"),
            encoded("<p>Im <b>Ca</b>f&eacute;</p><style>hidden</style><a href='http://link.test/'>go</a>", "us-ascii", "base64", "html"),
            NESTED,
        ])
        for keys, found in (('BODY "caf\u00e9"', [1, 4, 6]), ('BODY "CAFE\u0301"', [1, 4, 6]), ('BODY "HEISS"', [1]),
                            ('BODY "\u041f\u0420\u0418\u0412\u0415\u0422"', [2]), ('BODY "\u672c\u8a9e"', [3]),
                            ('BODY "line and"', [4]), ('BODY "full"', [5]), ('BODY "hidden"', []),
                            ('BODY "im caf\u00e9"', [1, 6]), ('BODY "link.test"', [6]),
                            ('BODY "deep below"', [7]), ('BODY "inn\u00c9r"', [7]), ('BODY "B\u00fccher"', [7]),
                            ('BODY "plan.bin"', [7]), ('BODY "secret"', []), ('TEXT "outer"', [7]), ('BODY "outer"', [])):
            self.assertEqual(self.finds(c, keys), found, keys)

    def test_words_are_found_across_charsets_of_messages_and_of_commands(self) -> None:
        def header(text: str, charset: str) -> bytes:
            word = base64.b64encode(text.encode(charset)).decode()
            return f"Subject: =?{charset}?b?{word}?=\r\nFrom: =?{charset}?b?{word}?= <x@x.test>\r\n\r\n-\r\n".encode()

        c = self.filled([
            encoded("\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "windows-1251", "quoted-printable"),
            b"Subject: x\r\nContent-Type: text/plain; charset=windows-1251\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            + "\u041f\u0440\u0438\u0432\u0435\u0442!\r\n".encode("windows-1251"),
            encoded("\u041f\u0440\u0438\u0432\u0435\u0442", "utf-8", "base64"),
            header("\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "koi8-r"),
            header("\u65e5\u672c\u8a9e\u306e\u30e1\u30fc\u30eb", "iso-2022-jp"),
            encoded("\u65e5\u672c\u8a9e\u306e\u30e1\u30fc\u30eb", "shift_jis", "base64"),
            header("Caf\u00e9 cr\u00e8me", "iso-8859-1"),
            header("CAFE\u0301 CRE\u0300ME", "utf-8"),
            encoded("Caf\u00e9 cr\u00e8me", "utf-16", "base64"),
            message(10, "plain CAFE"),
        ])
        for charset, keys, text, found in (
                ("utf-8", b"TEXT", "\u041f\u0420\u0418\u0412\u0415\u0422", [1, 2, 3, 4]), ("windows-1251", b"TEXT", "\u043f\u0440\u0438\u0432\u0435\u0442", [1, 2, 3, 4]),
                ("koi8-r", b"SUBJECT", "\u041c\u0418\u0420", [4]), ("koi8-r", b"FROM", "\u043c\u0438\u0440", [4]), ("koi8-r", b"BODY", "\u043c\u0438\u0440", [1]),
                ("iso-2022-jp", b"TEXT", "\u672c\u8a9e", [5, 6]), ("shift_jis", b"SUBJECT", "\u30e1\u30fc\u30eb", [5]), ("euc-jp", b"BODY", "\u30e1\u30fc\u30eb", [6]),
                ("iso-8859-1", b"TEXT", "caf\u00e9 CR\u00c8ME", [7, 8, 9]), ("utf-8", b"SUBJECT", "cafe\u0301", [7, 8]), ("utf-8", b"FROM", "Cr\u00e8me", [7, 8]),
                ("us-ascii", b"SUBJECT", "cafe", [7, 8, 10])):
            octets = text.encode(charset)
            untagged, _ = c.command(b"SEARCH CHARSET %s %s {%d+}\r\n%s" % (charset.encode(), keys, len(octets), octets))
            answer = [r for r in untagged if r.startswith(b"* SEARCH")]
            self.assertEqual([int(n) for n in answer[0].split()[2:]], found, f"{charset} {keys!r} {text}")
        # Streamed or not, a client that closes in the midst, and one that sends LOGOUT behind: the service goes on.
        c.send(b"s SEARCH TEXT mir\r\nl LOGOUT\r\n")
        heard = b""
        while b"l OK" not in heard:
            heard += c.read_line()
        self.assertRegex(heard, rb"(?s)^\* SEARCH\r\ns OK .*\* BYE .*l OK")

    def test_sort_and_thread_answer_in_all_forms(self) -> None:
        c = self.filled(MAILBOX)
        untagged, _ = c.command("SORT (REVERSE SIZE) UTF-8 SUBJECT plans")
        self.assertEqual(untagged[0].split()[:2], [b"*", b"SORT"])
        self.assertEqual(sorted(untagged[0].split()[2:]), [b"1", b"2", b"3", b"4"])
        untagged, _ = c.command("UID SORT RETURN (MIN MAX COUNT ALL) (REVERSE DATE) UTF-8 1:5")
        self.assertRegex(untagged[0], rb'^\* ESEARCH \(TAG "\w+"\) UID MIN 3 MAX 5 ALL 3:4,2,1,5 COUNT 5')
        untagged, _ = c.command("SORT RETURN (PARTIAL -1:-2) (DATE) UTF-8 1:5")
        self.assertRegex(untagged[0], rb"\) PARTIAL \(-1:-2 4,3\)")
        untagged, _ = c.command("SORT (DATE) UTF-8 KEYWORD nobody")
        self.assertEqual(untagged[0].strip(), b"* SORT")
        untagged, _ = c.command("THREAD REFERENCES UTF-8 1:4")
        self.assertEqual(untagged[0].strip(), b"* THREAD (1 (2 3)(4))")
        untagged, _ = c.command("UID THREAD ORDEREDSUBJECT UTF-8 1:4")
        self.assertEqual(untagged[0].strip(), b"* THREAD (1 (2)(4)(3))")
        self.assertEqual(c.command("THREAD REFERENCES UTF-8 KEYWORD nobody")[0][0].strip(), b"* THREAD")
        self.assertRegex(c.command("SORT (DATE) UTF-8 MODSEQ 1")[0][-1], rb"^\* SORT [\d ]+ \(MODSEQ \d+\)")
        self.assertIn(b"BADCHARSET", c.command("SORT (DATE) KLINGON ALL", "NO")[1])
        for wrong in ("SORT (DATE) ALL", "THREAD JWZ UTF-8 ALL", "SORT () UTF-8 ALL", "SEARCH RETURN (ALL PARTIAL 1:2) ALL"):
            c.command(wrong, "BAD")

    def test_saved_results_stay_right(self) -> None:
        c = self.filled(MAILBOX[:9])

        def uids() -> list[int]:
            found = [r for r in c.command("UID SEARCH $")[0] if r.startswith(b"* SEARCH")]
            return [int(n) for n in found[0].split()[2:]]

        self.assertEqual(uids(), [])
        self.assertEqual(c.command("FETCH $ (UID)")[0], [])
        self.assertEqual(c.command("SEARCH RETURN (SAVE) 2:4,6")[0], [])
        self.assertEqual(uids(), [2, 3, 4, 6])
        self.assertRegex(c.command("SEARCH RETURN (SAVE MIN MAX) $")[0][0], rb"MIN 2 MAX 6\s*$")
        self.assertEqual(uids(), [2, 6])
        self.assertRegex(c.command("SEARCH RETURN (SAVE MAX COUNT) 2:5")[0][0], rb"MAX 5 COUNT 4\s*$")
        self.assertEqual(uids(), [2, 3, 4, 5])
        self.assertRegex(c.command("UID SEARCH RETURN (SAVE PARTIAL -1:-2 MIN) $")[0][0], rb"UID MIN 2 PARTIAL \(-1:-2 4:5\)\s*$")
        self.assertEqual(uids(), [2, 4, 5])
        # Neither BAD nor another SEARCH changes it; what is expunged leaves it; numbers move, it does not.
        c.command("SEARCH RETURN (SAVE) NONSENSE", "BAD")
        c.command("SEARCH RETURN (COUNT) ALL")
        c.command("STORE 1,4 +FLAGS (\\Deleted)")
        c.command("EXPUNGE")
        self.assertEqual(uids(), [2, 5])
        self.assertEqual([r.split()[1] for r in c.command("FETCH $ (UID)")[0]], [b"1", b"3"])
        c.command("STORE $ +FLAGS ($Kept)")
        self.assertEqual(c.search("KEYWORD $Kept"), [1, 3])
        self.assertEqual(c.search("NOT $"), [2, 4, 5, 6, 7])
        self.assertEqual(c.search("OR UID $ 7"), [1, 3, 7])
        c.command("SORT RETURN (SAVE COUNT) (REVERSE DATE) UTF-8 $")
        self.assertEqual(uids(), [2, 5])
        # One command after the other, sent at once.
        c.send(b"p1 SEARCH RETURN (SAVE) SUBJECT same\r\np2 UID FETCH $ (UID)\r\n")
        heard = b""
        while b"p2 OK" not in heard:
            heard += c.read_line()
        self.assertIn(b"UID 8", heard)
        self.assertNotIn(b"UID 5", heard)
        c.command("CREATE Shelf")
        c.command("COPY $ Shelf")
        c.command("MOVE $ Shelf")
        self.assertEqual(uids(), [])
        # A search that fails leaves nothing.
        c.command("SEARCH RETURN (SAVE) ALL")
        c.command("SEARCH RETURN (SAVE) CHARSET KLINGON ALL", "NO")
        self.assertEqual(uids(), [])
        c.command("SEARCH RETURN (SAVE) ALL")
        c.command("STORE $ +FLAGS.SILENT (\\Deleted)")
        c.command("UID EXPUNGE $")
        self.assertEqual(c.search("ALL"), [])
        c.command("SELECT Shelf")
        self.assertEqual(uids(), [])
        c.command("SEARCH RETURN (SAVE) ALL")
        c.command("SELECT Shelf")
        self.assertEqual(uids(), [])

    def test_a_long_search_ends_with_its_connection_and_stops_nobody(self) -> None:
        big = message(1, "big", "0123456789 abcdef\r\n" * 8000)
        c = self.filled([big])
        for _ in range(8):
            c.command("COPY 1:* INBOX")
        self.assertEqual(len(c.search("ALL")), 256)
        other = self.client()
        other.command("SELECT INBOX")
        keys = b" ".join(b"NOT BODY nowhere%d" % i for i in range(20))
        start = time.monotonic()
        c.command(b"SEARCH " + keys)
        whole = time.monotonic() - start
        # Another client of the same worker is served meanwhile.
        c.send(b"long SEARCH " + keys + b"\r\n")
        start = time.monotonic()
        for _ in range(5):
            other.command("NOOP")
        served = time.monotonic() - start
        c.close()
        self.assertLess(served, whole)
        # Its work ends with it: the processor is quiet again before it could have been through with twenty of them.
        again = [self.client() for _ in range(20)]
        for one in again:
            one.command("SELECT INBOX")
            one.send(b"long SEARCH " + keys + b"\r\n")
        for one in again:
            one.close()
        start = time.monotonic()
        other.command(b"SEARCH " + keys)
        self.assertLess(time.monotonic() - start, 12 * whole)


def answers(client, commands: list[str]) -> dict[str, str]:
    said = {}
    for command in commands:
        untagged, _ = client.command(command)
        said[command] = " ".join(r.decode().strip() for r in untagged if re.match(rb"\* (SORT|THREAD|SEARCH)", r))
    return said


COMMANDS = [*(f"SORT ({by}) UTF-8 ALL" for by in ("DATE", "ARRIVAL", "SIZE", "SUBJECT", "REVERSE SUBJECT DATE", "FROM", "TO", "CC",
                                                  "DISPLAYFROM", "DISPLAYTO", "REVERSE DISPLAYFROM SIZE")),
            "THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL", "SEARCH SUBJECT plans", "SEARCH FROM x.test",
            "SEARCH BODY words", "SEARCH TEXT zoe", "SEARCH HEADER References gone", "SEARCH SENTSINCE 9-Mar-2025", "SEARCH LARGER 400",
            "SEARCH HEADER Cc \"\"", "SEARCH NOT TO alice"]


class BesideDovecot(unittest.TestCase):
    seconds = 8

    def test_answers_are_those_of_dovecot(self) -> None:
        peers_available()
        with Cohue() as cohue, Dovecot() as dovecot:
            member = cohue.add_member("alice")
            ours = Client(cohue, member)
            self.addCleanup(ours.close)
            theirs = Client.__new__(Client)
            super(Client, theirs).__init__(dovecot.imaps, tls=True)
            self.addCleanup(theirs.close)
            wait_until(lambda: theirs.response().startswith(b"* OK"), 5, "a greeting")
            theirs.command(f"LOGIN alice {dovecot.password}")
            self.compare(ours, theirs, MAILBOX, COMMANDS, "INBOX", True)
            if os.environ.get("COHUE_REAL_MAIL"):
                with tarfile.open(os.environ["COHUE_REAL_MAIL"]) as tar:
                    real = [tar.extractfile(m).read() for m in tar if m.isfile()]
                real = [re.sub(rb"\r?\n", b"\r\n", octets) for octets in real]
                words = ("linux", "razor", "spamassassin", "http", "the", "wrote:", "perl", "ireland", "EUR", "free")
                self.compare(ours, theirs, real, [*COMMANDS[:13], *(f"SEARCH BODY {w}" for w in words),
                                                  *(f"SEARCH SUBJECT {w}" for w in words), *(f"SEARCH TEXT {w}" for w in words)],
                             "real", False)

    def compare(self, ours: Client, theirs: Client, messages: list[bytes], commands: list[str], mailbox: str, strict: bool) -> None:
        for client in (ours, theirs):
            if mailbox != "INBOX":
                client.command(f"CREATE {mailbox}")
            for i, octets in enumerate(messages):
                client.append(mailbox, octets, date=f"{i % 28 + 1:02}-Apr-2025 10:00:00 +0000")
            client.command(f"SELECT {mailbox}")
        one, other = answers(ours, commands), answers(theirs, commands)
        for command in commands:
            if strict:
                self.assertEqual(one[command], other[command], command)
            elif one[command] != other[command]:
                print(f"{command}\n  ours   {one[command][:20000]}\n  theirs {other[command][:20000]}")
