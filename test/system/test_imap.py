# SPDX-License-Identifier: AGPL-3.0-or-later
"""IMAP as RFC 3501 and the extensions that the house offers say, seen from outside."""

import imaplib
import pathlib
import random
import re
import tarfile
import threading
import time
import unittest

from harness import Cohue, Dialogue, wait_until

SEEDS = (1, 2, 3)
REAL_MAIL = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "spamassassin-ham-850.tar.gz"

NESTED = (b"From: \"Ann B\" <ann@elsewhere.test>\r\nTo: alice@house.test, Bert <bert@house.test>\r\n"
          b"Cc: crew: c@x.test, d@x.test;\r\nReply-To: reply@elsewhere.test\r\nIn-Reply-To: <before@x.test>\r\n"
          b"Message-ID: <nested@x.test>\r\nDate: Tue, 4 Mar 2025 10:00:00 +0100\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= all\r\n"
          b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"out\"\r\n\r\n"
          b"preamble\r\n--out\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
          b"\r\nna=C3=AFve\r\nline two\r\n--out\r\nContent-Type: message/rfc822\r\nContent-Description: inner one\r\n\r\n"
          b"From: in@x.test\r\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n"
          b"--in\r\n\r\nplain inner\r\n--in\r\nContent-Type: text/html\r\nContent-ID: <cid@x>\r\n\r\n<p>html</p>\r\n--in--\r\n"
          b"\r\n--out\r\nContent-Type: image/png; name=dot.png\r\nContent-Disposition: attachment; filename=dot.png\r\n"
          b"Content-Transfer-Encoding: base64\r\nContent-Language: de, en\r\nContent-MD5: abc\r\n\r\niVBORw0KGgo=\r\n--out--\r\nepilogue\r\n")


def simple(subject: str, body: str = "Hello.\r\n", more: str = "") -> bytes:
    return f"From: Ann <ann@elsewhere.test>\r\nTo: alice@house.test\r\nSubject: {subject}\r\n{more}\r\n{body}".encode()


class Client(Dialogue):
    """One IMAP connection, logged in."""

    def __init__(self, cohue: Cohue, member, timeout: float = 20) -> None:
        super().__init__(cohue.port(993), tls=True, timeout=timeout)
        assert self.response().startswith(b"* OK")
        self.command(f'LOGIN {member.address} "{member.password}"')

    def append(self, mailbox: str, octets: bytes, flags: str = "", date: str = "") -> bytes:
        more = (f" ({flags})" if flags else "") + (f' "{date}"' if date else "")
        return self.command(f'APPEND "{mailbox}"{more} {{{len(octets)}+}}\r\n'.encode() + octets)[1]

    def fetch(self, command: str) -> bytes:
        """All untagged FETCH responses of one command."""
        return b"\r\n".join(r for r in self.command(command)[0] if re.match(rb"\* \d+ FETCH ", r))

    def literal(self, command: str) -> bytes:
        """The one string of the one FETCH response."""
        answer = self.fetch(command)
        quoted = re.search(rb'\] (?:<\d+> )?"([^"]*)"\)', answer) or re.search(rb'\]<\d+> "([^"]*)"\)', answer)
        found = re.search(rb"\{(\d+)\}\r\n", answer)
        if found:
            return answer[found.end():found.end() + int(found.group(1))]
        assert quoted, answer
        return quoted.group(1)

    def search(self, keys: str) -> list[int]:
        found = [r for r in self.command("SEARCH " + keys)[0] if r.startswith(b"* SEARCH")]
        assert len(found) == 1, found
        return [int(n) for n in found[0].split()[2:] if n.isdigit()]

    def flags(self, sequence: int) -> set[bytes]:
        answer = self.fetch(f"FETCH {sequence} (FLAGS)")
        return set(re.search(rb"FLAGS \(([^)]*)\)", answer).group(1).split())

    def idle(self) -> None:
        self.send(b"i1 IDLE\r\n")
        while not self.read_line().startswith(b"+"):
            pass

    def hear_until(self, pattern: bytes, seconds: float = 5) -> bytes:
        """Reads responses until one matches; that one."""
        self.socket.settimeout(seconds)
        try:
            while True:
                answer = self.response()
                assert answer, "the connection ended"
                if re.search(pattern, answer):
                    return answer
        finally:
            self.socket.settimeout(20)


class Imap(unittest.TestCase):
    seconds = 10

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue(settings={"limits.message_size": "35 MiB"})
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
        self.clients: list[Client] = []

    def tearDown(self) -> None:
        for client in self.clients:
            client.close()

    def client(self, select: str = "") -> Client:
        c = Client(self.cohue, self.member)
        self.clients.append(c)
        if select:
            c.command(f"SELECT {select}")
        return c

    # FETCH

    def test_fetch_gives_all_items(self) -> None:
        c = self.client()
        c.append("INBOX", NESTED, "\\Flagged $Label1", "05-Mar-2025 11:12:13 +0200")
        c.command("SELECT INBOX")
        answer = c.fetch("FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)")
        self.assertIn(b'INTERNALDATE "05-Mar-2025 ', answer)
        self.assertEqual(imaplib.Internaldate2tuple(answer.replace(b"* 1 FETCH", b"1"))[:6],
                         time.localtime(1741165933)[:6])
        self.assertIn(b"RFC822.SIZE %d" % len(NESTED), answer)
        self.assertIn(b"UID 1", answer)
        self.assertIn(b"$Label1", answer)
        self.assertIn(b'ENVELOPE ("Tue, 4 Mar 2025 10:00:00 +0100" "=?utf-8?q?Gr=C3=BC=C3=9Fe?= all" '
                      b'(("Ann B" NIL "ann" "elsewhere.test")) (("Ann B" NIL "ann" "elsewhere.test")) '
                      b'((NIL NIL "reply" "elsewhere.test")) '
                      b'((NIL NIL "alice" "house.test")("Bert" NIL "bert" "house.test")) '
                      b'((NIL NIL "crew" NIL)(NIL NIL "c" "x.test")(NIL NIL "d" "x.test")(NIL NIL NIL NIL)) '
                      b'NIL "<before@x.test>" "<nested@x.test>")', answer)
        structure = c.fetch("FETCH 1 BODYSTRUCTURE")
        for part in (b'("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 20 2 ', b'"message" "rfc822"',
                     b'"inner one"', b'"<cid@x>"', b'("attachment" ("filename" "dot.png"))', b'("de" "en")', b'"abc"',
                     b'"mixed" ("boundary" "out")', b'"alternative" ("boundary" "in")'):
            self.assertIn(part.lower(), structure.lower())
        self.assertEqual(structure.count(b"("), structure.count(b")"))
        self.assertNotIn(b"attachment", c.fetch("FETCH 1 BODY"))
        for macro, items in (("ALL", (b"ENVELOPE",)), ("FAST", (b"INTERNALDATE",)), ("FULL", (b"ENVELOPE", b"BODY ("))):
            answer = c.fetch(f"FETCH 1 {macro}")
            for item in (b"FLAGS", b"RFC822.SIZE", *items):
                self.assertIn(item, answer)
        self.assertNotIn(b"\\Seen", c.flags(1).__str__().encode())

    def test_fetch_gives_every_section_and_any_range(self) -> None:
        c = self.client()
        c.append("INBOX", NESTED)
        c.command("EXAMINE INBOX")
        head, _, text = NESTED.partition(b"\r\n\r\n")
        inner = NESTED[NESTED.index(b"From: in@x.test"):NESTED.index(b"\r\n--out\r\nContent-Type: image/png")]
        sections = {
            "": NESTED, "HEADER": head + b"\r\n\r\n", "TEXT": text, "1": b"na=C3=AFve\r\nline two",
            "1.MIME": b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
            "2": inner, "2.HEADER": inner.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", "2.TEXT": inner.partition(b"\r\n\r\n")[2],
            "2.1": b"plain inner", "2.2": b"<p>html</p>", "2.2.MIME": b"Content-Type: text/html\r\nContent-ID: <cid@x>\r\n\r\n",
            "3": b"iVBORw0KGgo=", "HEADER.FIELDS (Subject DATE)":
            b"Date: Tue, 4 Mar 2025 10:00:00 +0100\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= all\r\n\r\n",
            "2.HEADER.FIELDS.NOT (From)": b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n",
        }
        for section, octets in sections.items():
            self.assertEqual(c.literal(f"FETCH 1 BODY.PEEK[{section}]"), octets, section)
            for start, count in ((0, 5), (3, 7), (0, 1 << 31), (len(octets) - 1, 10), (len(octets), 1), (1 << 31, 1)):
                self.assertEqual(c.literal(f"FETCH 1 BODY.PEEK[{section}]<{start}.{count}>"),
                                 octets[start:start + count], (section, start, count))
        self.assertIn(b"BODY[4] NIL", c.fetch("FETCH 1 BODY.PEEK[4]"))
        self.assertIn(b"BODY[1.1] NIL", c.fetch("FETCH 1 BODY.PEEK[1.1]"))
        for item, octets in (("RFC822", NESTED), ("RFC822.HEADER", head + b"\r\n\r\n"), ("RFC822.TEXT", text)):
            answer = c.fetch(f"FETCH 1 {item}")
            self.assertTrue(answer.endswith(b"%s {%d}\r\n%s)" % (item.encode(), len(octets), octets)), item)

    def test_seen_is_set_by_reading_and_not_by_peeking(self) -> None:
        c = self.client()
        for i in range(4):
            c.append("INBOX", simple(f"n{i}"))
        c.command("SELECT INBOX")
        c.fetch("FETCH 1 BODY.PEEK[]")
        c.fetch("FETCH 1 RFC822.HEADER")
        self.assertNotIn(b"\\Seen", c.flags(1))
        self.assertIn(b"\\Seen", c.fetch("FETCH 2 BODY[TEXT]"))
        self.assertIn(b"\\Seen", c.fetch("FETCH 3 RFC822"))
        self.assertEqual(c.search("SEEN"), [2, 3])
        c.command("EXAMINE INBOX")
        c.fetch("FETCH 1 BODY[]")
        self.assertEqual(c.search("SEEN"), [2, 3])
        self.assertTrue(c.command("STORE 1 +FLAGS (\\Seen)", "NO"))

    # SEARCH

    def test_search_knows_every_key(self) -> None:
        c = self.client()
        c.append("INBOX", simple("alpha one", "The quick brown fox\r\n", "Date: Mon, 3 Feb 2025 10:00:00 +0000\r\nCc: carl@x.test\r\n"),
                 "\\Seen", "03-Feb-2025 10:00:00 +0000")
        c.append("INBOX", simple("beta two", "lazy dog\r\n", "Date: Tue, 4 Mar 2025 23:30:00 -0500\r\nX-Tag: yes\r\n"),
                 "\\Flagged $Work", "04-Mar-2025 10:00:00 +0000")
        c.append("INBOX", simple("=?utf-8?b?R3LDvMOfZQ==?=", "x" * 5000 + "\r\n", "Date: Sat, 5 Apr 2025 10:00:00 +0000\r\n"),
                 "\\Answered \\Draft", "05-Apr-2025 10:00:00 +0000")
        c.append("INBOX", NESTED, "\\Deleted", "06-May-2025 10:00:00 +0000")
        c.command("SELECT INBOX")
        for keys, expected in {
            "ALL": [1, 2, 3, 4], "ANSWERED": [3], "UNANSWERED": [1, 2, 4], "DELETED": [4], "UNDELETED": [1, 2, 3],
            "DRAFT": [3], "UNDRAFT": [1, 2, 4], "FLAGGED": [2], "UNFLAGGED": [1, 3, 4], "SEEN": [1], "UNSEEN": [2, 3, 4],
            "NEW": [], "RECENT": [], "OLD": [1, 2, 3, 4], "KEYWORD $work": [2], "UNKEYWORD $Work": [1, 3, 4],
            "KEYWORD $None": [], "SUBJECT ALPHA": [1], 'SUBJECT "a t"': [2], "FROM elsewhere": [1, 2, 3, 4], "FROM ann": [1, 2, 3, 4],
            "TO bert": [4], "CC carl": [1], "CC d@x.test": [4], "BCC x": [], "HEADER X-Tag \"\"": [2], "HEADER X-Tag ye": [2],
            "BODY fox": [1], "BODY subject": [4], "TEXT beta": [2], "TEXT dog": [2], "LARGER 4000": [3], "SMALLER 4000": [1, 2, 4],
            "BEFORE 4-Mar-2025": [1], "ON 4-Mar-2025": [2], "SINCE 04-Mar-2025": [2, 3, 4],
            "SENTBEFORE 4-Mar-2025": [1], "SENTON 4-Mar-2025": [2, 4], "SENTSINCE 5-Mar-2025": [3],
            "UID 2:3": [2, 3], "2,4": [2, 4], "*": [4], "NOT 2": [1, 3, 4], "OR 1 SUBJECT beta": [1, 2],
            "OR (SEEN SUBJECT one) (NOT (UNFLAGGED))": [1, 2], "SEEN FLAGGED": [], "(1:3) NOT SEEN": [2, 3],
            "CHARSET UTF-8 SUBJECT {7+}\r\nGr\u00fc\u00dfe": [3, 4], "CHARSET UTF-8 BODY {6+}\r\nna\u00efve": [4], "YOUNGER 1000": [],
            "OLDER 1000": [1, 2, 3, 4], "NOT NOT NOT 1": [2, 3, 4],
        }.items():
            self.assertEqual(c.search(keys), expected, keys)
        self.assertIn(b"BADCHARSET", c.command("SEARCH CHARSET KLINGON ALL", "NO")[1])
        untagged, _ = c.command("UID SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN")
        self.assertTrue(any(re.search(rb'ESEARCH \(TAG "a\d+"\) UID', r) and b"MIN 2" in r and b"MAX 4" in r and b"COUNT 3" in r
                            and b"ALL 2:4" in r for r in untagged), untagged)
        for wrong in ("SEARCH", "SEARCH FOO", "SEARCH ON 99-Foo-2025", "SEARCH (ALL", "SEARCH OR 1", "SEARCH LARGER -1"):
            c.command(wrong, "BAD")

    # Flags

    def test_a_keyword_too_many_is_refused_aloud(self) -> None:
        client = self.cohue.imap(self.member)
        try:
            for _ in range(18):
                client.append("INBOX", None, None, b"Subject: x\r\n\r\nbody\r\n")
            client.select("INBOX")
            said = [client.store(str(i + 1), "+FLAGS", "(" + " ".join(f"k{i}x{n}" for n in range(60)) + ")")[0]
                    for i in range(18)]
            self.assertEqual(said, ["OK"] * 16 + ["NO"] * 2)
            self.assertEqual(client.store("17", "+FLAGS", "(k0x1)")[0], "OK")
            self.assertEqual(client.append("INBOX", "(" + " ".join(f"z{n}" for n in range(50)) + ")", None,
                                           b"Subject: y\r\n\r\nbody\r\n")[0], "NO")
        finally:
            client.logout()

    def test_flags_and_keywords_are_stored_for_good(self) -> None:
        c = self.client()
        for i in range(3):
            c.append("INBOX", simple(f"n{i}"))
        untagged, _ = c.command("SELECT INBOX")
        self.assertTrue(any(b"PERMANENTFLAGS" in r and b"\\*" in r for r in untagged))
        self.assertIn(b"FETCH (", c.fetch("STORE 1:2 +FLAGS (\\Seen $Forwarded MyLabel)"))
        self.assertEqual(c.fetch("STORE 1 -FLAGS.SILENT (\\Seen)"), b"")
        c.command("STORE 2 FLAGS (\\Flagged)")
        c.command("UID STORE 3 +FLAGS (\\Deleted \\Answered \\Draft mylabel)")
        c.command("STORE 1 +FLAGS (\\Recent)", None)
        expected = [{b"$Forwarded", b"MyLabel"}, {b"\\Flagged"}, {b"\\Deleted", b"\\Answered", b"\\Draft", b"MyLabel"}]
        self.assertEqual([c.flags(i) for i in (1, 2, 3)], expected)
        c.close()
        self.cohue.restart()
        c = self.client()
        untagged, _ = c.command("SELECT INBOX")
        self.assertTrue(any(r.startswith(b"* FLAGS") and b"$Forwarded" in r and b"MyLabel" in r for r in untagged))
        self.assertEqual([c.flags(i) for i in (1, 2, 3)], expected)

    # COPY, MOVE, EXPUNGE

    def test_copy_move_and_expunge_say_the_uids(self) -> None:
        c = self.client()
        c.command("CREATE Other")
        validity = re.search(rb"UIDVALIDITY (\d+)", b" ".join(c.command("STATUS Other (UIDVALIDITY)")[0])).group(1)
        self.assertIn(b"[APPENDUID %s 1]" % validity, c.append("Other", simple("first")))
        for i in range(5):
            c.append("INBOX", simple(f"n{i}"), "\\Flagged $K")
        c.command("SELECT INBOX")
        self.assertIn(b"[COPYUID %s 1:2,4 2:4]" % validity, c.command("COPY 1:2,4 Other")[1])
        untagged, _ = c.command("UID MOVE 3,5 Other")
        self.assertTrue(any(b"[COPYUID %s 3,5 5:6]" % validity in r for r in untagged), untagged)
        gone = [r for r in untagged if r.endswith(b"EXPUNGE")]
        self.assertIn(gone, ([b"* 5 EXPUNGE", b"* 3 EXPUNGE"], [b"* 3 EXPUNGE", b"* 4 EXPUNGE"]))
        self.assertIn(b"[TRYCREATE]", c.command("COPY 1 Nowhere", "NO")[1])
        self.assertIn(b"[TRYCREATE]", c.command("MOVE 1 Nowhere", "NO")[1])
        c.command("STORE 1:2 +FLAGS (\\Deleted)")
        untagged, _ = c.command("UID EXPUNGE 2,7:9")
        self.assertIn(b"* 2 EXPUNGE", untagged)
        self.assertEqual(c.command("EXPUNGE")[0], [b"* 1 EXPUNGE"])
        self.assertEqual(c.search("ALL"), [1])
        c.command("STORE 1 +FLAGS (\\Deleted)")
        self.assertFalse([r for r in c.command("CLOSE")[0] if b"EXPUNGE" in r])
        c.command("SELECT INBOX")
        self.assertEqual(c.search("ALL"), [])
        c.command("SELECT Other")
        self.assertEqual(c.flags(2), {b"\\Flagged", b"$K"})
        c.command("STORE 1 +FLAGS (\\Deleted)")
        c.command("UNSELECT")
        c.command("EXAMINE Other")
        c.command("EXPUNGE", "NO")
        c.command("CLOSE")
        c.command("EXAMINE Other")
        self.assertEqual(c.search("ALL"), [1, 2, 3, 4, 5, 6])
        # Onto itself: a second one, under its own UID.
        c.command("SELECT Other")
        self.assertIn(b"[COPYUID %s 1 7]" % validity, c.command("COPY 1 Other")[1])
        self.assertEqual(len(c.search("ALL")), 7)

    # Mailboxes

    def listed(self, c: Client, command: str) -> dict[bytes, bytes]:
        found = {}
        for r in c.command(command)[0]:
            m = re.match(rb'\* (?:LIST|LSUB) \(([^)]*)\) "/" (.*)', r)
            if m:
                found[m.group(2).strip(b'"')] = m.group(1)
        return found

    def test_mailboxes_are_made_renamed_and_deleted_with_children(self) -> None:
        c = self.client()
        for name in ("Work/2025/March", "Work", "&AMk-t&AOk-", '"two words"', '"a&-b"'):
            c.command(f"CREATE {name}", None)
        boxes = self.listed(c, 'LIST "" "*"')
        for name in (b"INBOX", b"Work", b"Work/2025/March", b"&AMk-t&AOk-", b"two words", b"a&-b"):
            self.assertIn(name, boxes)
        self.assertIn(b"\\HasChildren", boxes[b"Work"])
        self.assertIn(b"\\HasNoChildren", boxes[b"Work/2025/March"])
        self.assertIn(b"Work", self.listed(c, 'LIST "" "%"'))
        self.assertNotIn(b"Work/2025/March", self.listed(c, 'LIST "" "%"'))
        self.assertEqual(set(self.listed(c, 'LIST "Work/" "%"')), {b"Work/2025"})
        self.assertEqual(set(self.listed(c, 'LIST "" "W*"')), {b"Work", b"Work/2025", b"Work/2025/March"})
        self.assertIn(b"\\Noselect", self.listed(c, 'LIST "" ""')[b""])
        self.assertIn(b"ALREADYEXISTS", c.command("CREATE Work", "NO")[1])
        c.command("CREATE inbox", "NO")
        c.append("Work/2025/March", simple("kept"))
        c.command("RENAME Work &ZeVnLIqe-")  # 日本語
        boxes = self.listed(c, 'LIST "" "*"')
        self.assertIn(b"&ZeVnLIqe-/2025/March", boxes)
        self.assertNotIn(b"Work", boxes)
        self.assertIn(b"* STATUS \"&ZeVnLIqe-/2025/March\" (MESSAGES 1)".replace(b'"', b""),
                      c.command("STATUS &ZeVnLIqe-/2025/March (MESSAGES)")[0][0].replace(b'"', b""))
        c.command("DELETE &ZeVnLIqe-")
        boxes = self.listed(c, 'LIST "" "*"')
        self.assertIn(b"&ZeVnLIqe-/2025/March", boxes)
        self.assertIn(b"\\Noselect", boxes[b"&ZeVnLIqe-"])
        # A name that is only a parent moves with what is below it (RFC 3501 section 6.3.5).
        c.command("SELECT &ZeVnLIqe-", "NO")
        c.command("RENAME &ZeVnLIqe- &ZeVnLIqe-/deeper", "NO")
        c.command("CREATE Other")
        self.assertIn(b"ALREADYEXISTS", c.command("RENAME &ZeVnLIqe- Other", "NO")[1])
        c.command("RENAME &ZeVnLIqe- Moved")
        boxes = self.listed(c, 'LIST "" "*"')
        self.assertIn(b"\\Noselect", boxes[b"Moved"])
        self.assertFalse([name for name in boxes if name.startswith(b"&ZeVnLIqe-")])
        self.assertIn(b"(MESSAGES 1)", c.command("STATUS Moved/2025/March (MESSAGES)")[0][0])
        c.command("RENAME Moved &ZeVnLIqe-")
        self.assertIn(b"NONEXISTENT", c.command("DELETE Nowhere", "NO")[1])
        self.assertIn(b"NONEXISTENT", c.command("SELECT Nowhere", "NO")[1])
        self.assertIn(b"NONEXISTENT", c.command("RENAME Nowhere Else", "NO")[1])
        c.command("DELETE INBOX", "NO")
        for wrong in ('""', '"/"', '"a//b"', '"&bad"', '"&AGE-"', '"x\ty"'):
            c.command(f"CREATE {wrong}", "NO")
        # RENAME of INBOX moves its messages.
        c.append("INBOX", simple("moved"))
        c.command("RENAME INBOX Old")
        self.assertIn(b"MESSAGES 1", c.command("STATUS Old (MESSAGES)")[0][0])
        self.assertIn(b"MESSAGES 0", c.command("STATUS INBOX (MESSAGES)")[0][0])

    def test_a_rename_too_deep_says_so(self) -> None:
        c = self.client()
        c.command("CREATE " + "/".join("a" * 20))
        _, status = c.command("RENAME a " + "/".join("b" * 20), "NO")
        self.assertIn(b"[CANNOT] The name of a mailbox below it", status)

    def test_a_recreated_mailbox_has_another_uidvalidity(self) -> None:
        c = self.client()
        seen = set()
        for _ in range(3):
            c.command("CREATE Again")
            status = c.command("STATUS Again (UIDVALIDITY UIDNEXT)")[0][0]
            seen.add((re.search(rb"UIDVALIDITY (\d+)", status).group(1)))
            c.append("Again", simple("x"))
            c.command("DELETE Again")
        self.assertEqual(len(seen), 3)

    def test_subscriptions_status_namespace_and_special_use(self) -> None:
        c = self.client()
        c.command("CREATE Lists/one")
        c.command("SUBSCRIBE Lists/one")
        self.assertIn(b"Lists/one", self.listed(c, 'LSUB "" "*"'))
        self.assertIn(b"\\Noselect", self.listed(c, 'LSUB "" "%"')[b"Lists"])
        c.command("DELETE Lists/one")
        self.assertIn(b"Lists/one", self.listed(c, 'LSUB "" "*"'))
        c.command("UNSUBSCRIBE Lists/one")
        self.assertNotIn(b"Lists/one", self.listed(c, 'LSUB "" "*"'))
        self.assertEqual(c.command("NAMESPACE")[0], [b'* NAMESPACE (("" "/")) NIL NIL'])
        boxes = self.listed(c, 'LIST "" "*" RETURN (SPECIAL-USE)')
        for use in (b"\\Sent", b"\\Drafts", b"\\Trash", b"\\Junk", b"\\Archive"):
            self.assertEqual(len([n for n, flags in boxes.items() if use in flags]), 1, boxes)
        self.assertTrue(all(b"INBOX" != n for n in self.listed(c, 'LIST (SPECIAL-USE) "" "*"')))
        c.append("INBOX", simple("x"), "\\Seen")
        c.append("INBOX", simple("y"))
        self.assertEqual(c.command("STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN)")[0],
                         [b"* STATUS INBOX (MESSAGES 2 RECENT 0 UIDNEXT 3 UNSEEN 1)"])
        untagged, _ = c.command('LIST "" "INBOX" RETURN (STATUS (MESSAGES))')
        self.assertEqual(len([r for r in untagged if r == b"* STATUS INBOX (MESSAGES 2)"]), 1, untagged)
        c.command('ID ("name" "test" "version" NIL)')
        c.command("ID NIL")

    # Several connections

    def test_idle_tells_news_flags_and_expunges_within_a_second(self) -> None:
        one, two = self.client("INBOX"), self.client("INBOX")
        one.idle()
        start = time.monotonic()
        two.append("INBOX", simple("news"))
        one.hear_until(rb"^\* 1 EXISTS", 1)
        two.command("NOOP")
        two.command("STORE 1 +FLAGS (\\Flagged)")
        self.assertIn(b"\\Flagged", one.hear_until(rb"^\* 1 FETCH", 1))
        two.command("STORE 1 +FLAGS (\\Deleted)")
        one.hear_until(rb"^\* 1 FETCH .*Deleted", 1)
        two.command("EXPUNGE")
        one.hear_until(rb"^\* 1 EXPUNGE", 1)
        # Also what comes from outside.
        with self.cohue.smtp() as smtp:
            smtp.sendmail("x@elsewhere.test", [self.member.address], simple("from outside"))
        one.hear_until(rb"^\* 1 EXISTS", 2)
        self.assertLess(time.monotonic() - start, 4)
        one.send(b"DONE\r\n")
        one.hear_until(rb"^i1 OK")
        one.command("NOOP")

    def test_expunges_reach_others_with_their_own_numbers(self) -> None:
        one, two = self.client(), self.client()
        for i in range(10):
            one.append("INBOX", simple(f"n{i}"))
        one.command("SELECT INBOX")
        two.command("SELECT INBOX")
        two.command("STORE 2,4,9 +FLAGS (\\Deleted)")
        two.command("EXPUNGE")
        two.append("INBOX", simple("n10"))
        # Not while numbers are in use: FETCH, STORE, SEARCH say no EXPUNGE.
        for command in ("FETCH 1:10 (UID)", "SEARCH ALL", "STORE 1 +FLAGS (\\Seen)"):
            untagged, _ = one.command(command)
            self.assertFalse([r for r in untagged if b"EXPUNGE" in r], command)
        self.assertEqual(one.search("SUBJECT n9"), [10])
        untagged, _ = one.command("NOOP")
        uids = list(range(1, 11))
        for r in untagged:
            if r.endswith(b"EXPUNGE"):
                del uids[int(r.split()[1]) - 1]
        self.assertEqual(uids, [1, 3, 5, 6, 7, 8, 10])
        self.assertEqual([int(u) for u in re.findall(rb"UID (\d+)", one.fetch("FETCH 1:* (UID)"))], uids + [11])

    def test_copy_of_what_has_gone(self) -> None:
        one, two = self.client(), self.client()
        for i in range(8):
            one.append("INBOX", simple(f"n{i}"))
        one.command("CREATE copies")
        one.command("SELECT INBOX")
        two.command("SELECT INBOX")
        # All or nothing of what is named by number (RFC 3501 section 6.4.7, RFC 2180 section 4.4); COPY may tell what has gone.
        for verb, copied in (("COPY", 0), ("MOVE", 1)):
            two.command("STORE 1 +FLAGS (\\Deleted)")
            two.command("EXPUNGE")
            untagged, status = one.command(f"{verb} 1:2 copies", "NO")
            self.assertIn(b"[EXPUNGEISSUED]", status)
            self.assertIn(b"* 1 EXPUNGE", untagged)
            self.assertEqual(one.command("STATUS copies (MESSAGES)")[0], [b"* STATUS copies (MESSAGES %d)" % copied])
            self.assertIn(b"COPYUID", b" ".join([*(answer := one.command(f"{verb} 1 copies"))[0], answer[1]]))
            two.command("NOOP")
        # Of UIDs, what is not there is ignored (section 6.4.8). 1, 2 and 4 have gone.
        two.command("UID STORE 4 +FLAGS (\\Deleted)")
        two.command("EXPUNGE")
        self.assertRegex(one.command("UID COPY 1:2,4:5 copies")[1], rb"OK \[COPYUID \d+ 5 3\]")
        self.assertNotIn(b"COPYUID", one.command("UID COPY 1:2 copies")[1])

    def test_a_deleted_mailbox_and_its_watchers(self) -> None:
        one, two = self.client(), self.client()
        one.command("CREATE Gone")
        one.append("Gone", simple("x"))
        one.command("SELECT Gone")
        two.command("DELETE Gone")
        # One goes on or is told BYE: never another mailbox's messages, never silence.
        one.send(b"z NOOP\r\n")
        self.assertRegex(one.response(), rb"^(\* BYE|\* \d+ E|z )")
        two.command("NOOP")

    def test_random_work_over_three_connections_stays_consistent(self) -> None:
        first = self.client()
        first.command("CREATE B")
        for i in range(20):
            first.append("INBOX", simple(f"seed{i}"))
        problems: list[str] = []
        done = [0]

        def work(seed: int) -> None:
            rng = random.Random(seed)
            try:
                c = Client(self.cohue, self.member)
                box = rng.choice(("INBOX", "B"))
                uids: list[int] = []

                def take(untagged: list[bytes]) -> None:
                    for r in untagged:
                        m = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)", r)
                        if not m:
                            continue
                        n = int(m.group(1))
                        if m.group(2) == b"EXPUNGE":
                            assert n <= len(uids), f"EXPUNGE {n} of {len(uids)}"
                            del uids[n - 1]
                        elif m.group(2) == b"EXISTS":
                            assert n >= len(uids), f"EXISTS {n} after {len(uids)}"
                            uids.extend([0] * (n - len(uids)))
                        else:
                            assert n <= len(uids), f"FETCH {n} of {len(uids)}"
                            uid = re.search(rb"UID (\d+)", r)
                            if uid:
                                assert uids[n - 1] in (0, int(uid.group(1))), f"{n}: {uids[n - 1]} is {r!r}"
                                uids[n - 1] = int(uid.group(1))

                def select() -> None:
                    uids.clear()
                    take(c.command(f"SELECT {box}")[0])
                    take(c.command("FETCH 1:* (UID FLAGS)", "OK" if uids else None)[0])
                select()
                end = time.monotonic() + 4
                while time.monotonic() < end:
                    other = "B" if box == "INBOX" else "INBOX"
                    n = rng.randint(1, len(uids)) if uids else 0
                    what = rng.choice(("append", "flag", "copy", "move", "expunge", "fetch", "search", "select", "noop", "idle"))
                    done[0] += 1
                    if what == "append" and len(uids) < 60:
                        m = simple(f"r{seed}-{done[0]}")
                        take(c.command(f"APPEND {rng.choice((box, other))} {{{len(m)}+}}\r\n".encode() + m)[0])
                        take(c.command("NOOP")[0])
                    elif what == "flag" and n:
                        take(c.command(f"STORE {n} {rng.choice('+-')}FLAGS ({rng.choice((chr(92) + 'Seen', chr(92) + 'Deleted', 'Key'))})", None)[0])
                    elif what == "copy" and n and len(uids) < 60:
                        take(c.command(f"COPY {n} {other}", None)[0])
                    elif what == "move" and n:
                        take(c.command(f"MOVE {n} {other}", None)[0])
                    elif what == "expunge":
                        take(c.command("EXPUNGE")[0])
                    elif what == "fetch" and uids:
                        take(c.command("FETCH 1:* (UID FLAGS ENVELOPE)")[0])
                    elif what == "search":
                        c.tag += 1
                        c.send(b"s%d UID SEARCH ALL\r\n" % c.tag)
                        got, answer = [], b""
                        while not (answer := c.response()).startswith(b"s"):
                            got.append(answer)
                        take(got)
                    elif what == "select":
                        box = other
                        select()
                    elif what == "idle":
                        c.send(b"i IDLE\r\nDONE\r\n")
                        got = []
                        while not (answer := c.response()).startswith(b"i "):
                            got.append(answer)
                        take(got)
                    else:
                        take(c.command("NOOP")[0])
                take(c.command("NOOP")[0])
                untagged, _ = c.command("UID SEARCH ALL")
                take([r for r in untagged if not r.startswith(b"* SEARCH")])
                c.close()
            except Exception as problem:  # noqa: BLE001 (told by the main thread)
                problems.append(f"{seed}: {type(problem).__name__} {problem}")
        threads = [threading.Thread(target=work, args=(seed,)) for seed in SEEDS]
        for t in threads:
            t.start()
        for t in threads:
            t.join(40)
        self.assertEqual(problems, [])
        self.assertGreater(done[0], 60)
        # What is folded live is what is folded anew.
        def state(c: Client) -> list[bytes]:
            answers = []
            for box in ("INBOX", "B"):
                c.command(f"EXAMINE {box}")
                answers += [c.command(f"STATUS {box} (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ SIZE)")[0][0],
                            c.command("FETCH 1:* (UID FLAGS MODSEQ RFC822.SIZE)", None)[0]]
            return answers
        live = state(first)
        first.close()
        self.cohue.restart()
        self.assertEqual(state(self.client()), live)

    # CONDSTORE, UTF8

    def test_condstore(self) -> None:
        c = self.client()
        for i in range(3):
            c.append("INBOX", simple(f"n{i}"))
        untagged, _ = c.command("SELECT INBOX (CONDSTORE)")
        high = max(int(m) for m in re.findall(rb"HIGHESTMODSEQ (\d+)", b" ".join(untagged)))
        answer = c.fetch("STORE 2 +FLAGS (\\Seen)")
        new = int(re.search(rb"MODSEQ \((\d+)\)", answer).group(1))
        self.assertGreater(new, high)
        self.assertEqual(re.findall(rb"\* (\d+) FETCH", c.fetch(f"FETCH 1:* (FLAGS) (CHANGEDSINCE {high})")), [b"2"])
        self.assertEqual(c.fetch(f"FETCH 1:* (FLAGS) (CHANGEDSINCE {new})"), b"")
        untagged, status = c.command(f"STORE 1:3 (UNCHANGEDSINCE {high}) +FLAGS (\\Flagged)", None)
        self.assertIn(b"[MODIFIED 2]", status)
        self.assertEqual(c.search("FLAGGED"), [1, 3])
        found = [r for r in c.command(f"SEARCH MODSEQ {new}")[0] if r.startswith(b"* SEARCH")][0]
        self.assertRegex(found, rb"^\* SEARCH 1 2 3 \(MODSEQ \d+\)")
        untagged, status = c.command("STORE 1 +FLAGS.SILENT (\\Answered)")
        self.assertTrue(any(b"MODSEQ" in r for r in untagged), "a silent STORE still says the MODSEQ")
        self.assertIn(b"HIGHESTMODSEQ", c.command("STATUS INBOX (HIGHESTMODSEQ)")[0][0])

    def test_condstore_tells_the_modseq_of_an_implicit_seen(self) -> None:
        c = self.client()
        for i in range(4):
            c.append("INBOX", simple(f"n{i}"))
        c.command("SELECT INBOX")
        self.assertNotIn(b"MODSEQ", c.fetch("FETCH 1 (BODY[])"))
        c.command("ENABLE CONDSTORE")
        for items, n in (("BODY[]", 2), ("FLAGS BODY[TEXT]", 3), ("MODSEQ BODY[]", 4)):
            answer = c.fetch(f"FETCH {n} ({items})")
            told = re.findall(rb"MODSEQ \((\d+)\)", answer)
            self.assertEqual(len(told), 1, answer)
            self.assertIn(b"\\Seen", answer)
            self.assertEqual(re.findall(rb"MODSEQ \((\d+)\)", c.fetch(f"FETCH {n} (MODSEQ)")), told)
        self.assertNotIn(b"MODSEQ", c.fetch("FETCH 2 (BODY[])"), "seen before: nothing has changed")

    def test_condstore_tells_the_modseq_after_a_move(self) -> None:
        c = self.client()
        for i in range(2):
            c.append("INBOX", simple(f"n{i}"))
        c.command("CREATE Elsewhere")
        c.command("SELECT INBOX (CONDSTORE)")
        _, status = c.command("MOVE 1 Elsewhere")
        high = re.search(rb"OK \[HIGHESTMODSEQ (\d+)\]", status)
        self.assertIsNotNone(high, status)
        self.assertIn(b"HIGHESTMODSEQ " + high.group(1), c.command("STATUS INBOX (HIGHESTMODSEQ)")[0][0])

    def test_a_new_keyword_is_told_before_it_is_used(self) -> None:
        c, other = self.client(), self.client()
        c.append("INBOX", simple("n"))
        for one in (c, other):
            one.command("SELECT INBOX")
        answer = b" ".join(c.command("STORE 1 +FLAGS ($Fresh)")[0])
        self.assertRegex(answer, rb"(?s)\* FLAGS \([^)]*\$Fresh\).*PERMANENTFLAGS \([^)]*\$Fresh \\\*\).*\* 1 FETCH")
        self.assertNotIn(b"PERMANENTFLAGS", b" ".join(c.command("STORE 1 +FLAGS ($Fresh)")[0]), "told once")
        answer = b" ".join(other.command("NOOP")[0])
        self.assertRegex(answer, rb"(?s)\* FLAGS \([^)]*\$Fresh\).*\* 1 FETCH")

    def test_utf8_accept(self) -> None:
        c = self.client()
        c.command("CREATE &AMk-t&AOk-")
        self.assertEqual(c.command("ENABLE UTF8=ACCEPT CONDSTORE X-NO")[0], [b"* ENABLED UTF8=ACCEPT CONDSTORE"])
        self.assertIn("Été".encode(), self.listed(c, 'LIST "" "*"'))
        c.command('CREATE "日本/語"'.encode())
        c.command('SELECT "日本/語"'.encode())
        message = "From: Zoë <zoë@x.test>\r\nSubject: Ünï\r\n\r\nx\r\n".encode()
        c.command('APPEND "日本/語" UTF8 (~{%d+}\r\n'.encode() % len(message) + message + b")")
        c.command("NOOP")
        self.assertIn("Ünï".encode(), c.fetch("FETCH 1 (ENVELOPE)"))
        self.assertEqual(c.search('SUBJECT "ünï"'), [1])
        d = self.client()
        self.assertIn(b"&ZeVnLA-/&ip4-", self.listed(d, 'LIST "" "*"'))

    # APPEND

    def test_append_keeps_every_octet(self) -> None:
        c = self.client()
        octets = bytes(b for b in range(1, 256) if b not in (10, 13))
        messages = [b"x", b"\r\n", b"A: b", b"A: b\r\n", b"\r\n\r\n", b"no header at all\r\n", b"A: b\r\n\r\n" + octets * 500,
                    b"A: b\nB: c\n\nbare LF\n", b"A: b\r\n\r\nbare\rCR\r\r\n", b"A: b\r\n\r\n" + b"x" * 100_000,
                    b"A: b\r\n\r\n.\r\n..\r\n.x", NESTED, b"A: " + b"y" * 60_000 + b"\r\n\r\n", b"A: b\r\n\r\n{5}\r\n)\r\n"]
        for m in messages:
            c.append("INBOX", m)
        c.command("SELECT INBOX")
        for i, m in enumerate(messages, 1):
            self.assertEqual(c.literal(f"FETCH {i} BODY.PEEK[]"), m, i)
            self.assertIn(b"RFC822.SIZE %d" % len(m), c.fetch(f"FETCH {i} (RFC822.SIZE BODYSTRUCTURE ENVELOPE)"))
            head = c.literal(f"FETCH {i} BODY.PEEK[HEADER]")
            self.assertEqual(head + c.literal(f"FETCH {i} BODY.PEEK[TEXT]"), m, i)

    def test_append_is_refused_early_and_clearly(self) -> None:
        c = self.client()
        # A synchronising literal is refused before it is sent.
        for command, code in ((f"APPEND INBOX {{{36 << 20}}}", b"TOOBIG"), ("APPEND Nowhere {10}", b"TRYCREATE"),
                              ("APPEND INBOX {0}", b"")):
            _, status = c.command(command, None)
            self.assertRegex(status, rb"^(NO|BAD) ")
            self.assertIn(code, status)
            c.command("NOOP")
        # A non-synchronising one is read over.
        _, status = c.command(b"APPEND Nowhere {10+}\r\n0123456789", "NO")
        self.assertIn(b"TRYCREATE", status)
        c.command("NOOP")
        count = c.command("STATUS INBOX (MESSAGES)")[0][0]
        _, status = c.command(b"APPEND INBOX {14+}\r\nA: b\r\n\r\nx\0y\r\n\r\n", "NO")
        self.assertIn(b"NUL", status)
        self.assertEqual(c.command("STATUS INBOX (MESSAGES)")[0][0], count)
        c.command('APPEND INBOX "not a date" {1+}\r\nx', "BAD")
        c.command('APPEND INBOX (\\Recent) {1+}\r\nx', None)
        c.command("NOOP")
        self.assertIn(b"* STATUS INBOX (MESSAGES ", c.command("STATUS INBOX (MESSAGES)")[0][0])

    def test_append_stops_at_the_quota(self) -> None:
        member = self.cohue.add_member("tight")
        self.cohue.cli("member", "quota", "tight", "1 MiB")
        c = Client(self.cohue, member)
        self.clients.append(c)
        message = simple("big", "x" * 300_000)
        random_body = random.Random(1).randbytes(300_000).hex().encode()  # does not compress away
        statuses = [c.command(f"APPEND INBOX {{{len(message) + len(random_body)}+}}\r\n".encode() + message + random_body, None)[1]
                    for _ in range(8)]
        self.assertTrue(statuses[0].startswith(b"OK"), statuses)
        self.assertIn(b"[OVERQUOTA]", statuses[-1])
        self.assertIn(b"QUOTA", b" ".join(c.command("GETQUOTAROOT INBOX")[0]))
        c.command("SELECT INBOX")
        count = len(c.search("ALL"))
        self.assertEqual(count, len([s for s in statuses if s.startswith(b"OK")]))
        c.command("STORE 1:* +FLAGS (\\Deleted)")
        c.command("EXPUNGE")
        self.assertTrue(c.command(f"APPEND INBOX {{{len(message)}+}}\r\n".encode() + message)[1].startswith(b"OK"))

    def test_a_broken_off_append_leaves_nothing(self) -> None:
        c = self.client("INBOX")
        for cut in (0, 10, 70_000):
            d = self.client()
            d.send(b"x APPEND INBOX {100000+}\r\n" + b"y" * cut)
            d.close()
        d = self.client()
        d.send(b"x APPEND INBOX {10+}\r\n0123456789")  # the command's end is missing
        d.close()
        time.sleep(0.3)  # nothing is to happen: there is no event to wait for
        untagged, _ = c.command("NOOP")
        self.assertFalse([r for r in untagged if b"EXISTS" in r], untagged)
        self.assertEqual(c.search("ALL"), [])
        self.assertIn(b"MESSAGES 0 UIDNEXT 1", c.command("STATUS INBOX (MESSAGES UIDNEXT)")[0][0])

    def test_an_announced_message_takes_no_room_from_others(self) -> None:
        for n in range(20):  # 700 MiB, of which nothing comes
            c = self.client()
            c.send(f"x APPEND INBOX {{{35 << 20}}}\r\n".encode())
            self.assertTrue(c.response().startswith(b"+"), n)
        other = Client(self.cohue, self.cohue.add_member("other"))
        self.clients.append(other)
        message = simple("short")
        other.append("INBOX", message)
        self.client().append("INBOX", message)

    # Bad input

    def test_bad_input_before_login_ends_soon(self) -> None:
        for attack in (b"a LOGIN {400000000}", b"a LOGIN {-1}", b"a LOGIN {}", b"a LOGIN {99999999999999999999}",
                       b"a LOGIN {400000000+}", b"(" * 5000, b"a SEARCH " + b"(" * 5000, b"\0\0\0",
                       b"a AUTHENTICATE PLAIN\r\n!!!", b"a APPEND INBOX {10}\r\n0123456789", b"a SELECT INBOX", b"a", b"GET / HTTP/1.1",
                       b"a LOGIN x {5}\r\nab\0cd", b'a LOGIN "x\\', b"a LOGIN \xff\xfe x", b" ", b"a LOGIN x y z", b"+ x y"):
            with Dialogue(self.cohue.port(993), tls=True, timeout=5) as d:
                d.response()
                d.send(attack + b"\r\n")
                answer = d.response()
                while answer.startswith(b"+"):
                    answer = d.response()
                self.assertRegex(answer, rb"^(a|GET|\*) (BAD|BYE|NO) ", attack[:40])
                if answer.startswith(b"* BYE"):
                    self.assertTrue(d.ended(), attack[:40])
                else:  # it still listens
                    d.command("NOOP")
        with Dialogue(self.cohue.port(993), tls=True) as d:  # an endless line
            d.response()
            with self.assertRaises((ConnectionError, OSError, AssertionError)):
                for _ in range(2000):
                    d.send(b"A" * 16384)
                self.assertTrue(False)
        self.client("INBOX").command("NOOP")

    def test_bad_input_after_login(self) -> None:
        c = self.client("INBOX")
        for attack in (b"a1 FETCH 1 BODY[" + b"1." * 5000 + b"1]", b"a1 FETCH 0 FLAGS", b"a1 FETCH 4294967296 FLAGS", b"a1 FETCH 1:2:3 FLAGS",
                       b"a1 SEARCH " + b"NOT " * 5000 + b"ALL", b"a1 SEARCH " + b"(" * 3000 + b"ALL" + b")" * 3000, b"a1 STORE 1 FLAGS (\\Bad",
                       b"a1 LIST", b"a1 CREATE {-1}", b"a1 CREATE {}"):
            d = self.client("INBOX")
            d.send(attack + b"\r\n")
            self.assertRegex(d.response(), rb"^(a1|\*) (BAD|NO|BYE)", attack[:40])
            d.close()
        c.command("NOOP")

    def test_octets_of_a_literal_are_no_literal(self) -> None:
        with Dialogue(self.cohue.port(993), tls=True) as d:
            d.response()
            d.send(b"x LOGIN nobody {3+}\r\n{5}\r\nz NOOP\r\n")
            self.assertRegex(d.response(), rb"^x NO ")
            self.assertRegex(d.response(), rb"^z OK ")
        c = self.client("INBOX")
        c.send(b"y SEARCH SUBJECT {3+}\r\n{5}\r\nz NOOP\r\n")
        self.assertEqual(c.response(), b"* SEARCH")
        self.assertRegex(c.response(), rb"^y OK ")
        self.assertRegex(c.response(), rb"^z OK ")

    def test_a_slow_client_is_served_and_bounds_others_not(self) -> None:
        slow = self.client()
        for octet in b"s1 APPEND INBOX {30+}\r\n":
            slow.send(bytes([octet]))
        other = self.client("INBOX")
        start = time.monotonic()
        other.command("NOOP")
        self.assertLess(time.monotonic() - start, 1)
        for octet in b"From: a@b.c\r\n\r\n123456789012345\r\n":
            slow.send(bytes([octet]))
        slow.hear_until(rb"^s1 OK")
        # One who asks for much and reads nothing.
        big = simple("big", "x" * 1_500_000)
        for _ in range(4):
            other.append("INBOX", big)
        lazy = self.client("INBOX")
        lazy.send(b"".join(b"l%d FETCH 1:* BODY.PEEK[]\r\n" % i for i in range(10)))
        start = time.monotonic()
        for _ in range(5):
            other.command("NOOP")
        self.assertLess(time.monotonic() - start, 2)
        total, end = 0, time.monotonic() + 20
        while b"l9 OK" not in (line := lazy.read_line()):
            total += len(line)
            self.assertLess(time.monotonic(), end)
        self.assertGreater(total, 10 * 4 * 1_500_000)

    # Real mail

    def real_mail(self) -> list[bytes]:
        if not REAL_MAIL.is_file():
            self.skipTest("the collection of real messages is not here")
        with tarfile.open(REAL_MAIL) as tar:
            return [tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()]

    def fetch_all(self, c: Client, count: int) -> dict[int, bytes]:
        c.tag += 1
        c.send(b"f%d FETCH 1:* (UID BODY.PEEK[])\r\n" % c.tag)
        found = {}
        while not (answer := c.response()).startswith(b"f%d " % c.tag):
            m = re.match(rb"\* \d+ FETCH \(UID (\d+) BODY\[\] \{(\d+)\}\r\n", answer)
            if m:
                found[int(m.group(1))] = answer[m.end():m.end() + int(m.group(2))]
        self.assertEqual(len(found), count, answer)
        return found

    def test_real_messages_come_out_as_they_were_put_in(self) -> None:
        raw = self.real_mail()
        messages = raw[:60] + [re.sub(rb"(?<!\r)\n", b"\r\n", m) for m in raw[60:]]  # some as they lie there, with bare LF
        c = self.client()
        for start in range(0, len(messages), 50):
            batch = messages[start:start + 50]
            c.send(b"".join(b"r%d APPEND INBOX {%d+}\r\n%s\r\n" % (i, len(m), m) for i, m in enumerate(batch)))
            for i in range(len(batch)):
                c.hear_until(rb"^r%d OK" % i, 20)
        c.command("SELECT INBOX")
        self.assertEqual(self.fetch_all(c, len(messages)), dict(enumerate(messages, 1)))

    def test_real_messages_arrive_whole_behind_their_trace(self) -> None:
        # No bare CR or LF crosses port 25: such lines are what SMTP makes of them.
        messages = [re.sub(rb"\r\n|\r|\n", b"\r\n", m) for m in self.real_mail()]
        with self.cohue.smtp() as smtp:
            for m in messages:
                smtp.sendmail("stranger@elsewhere.test", [self.member.address], m, mail_options=["BODY=8BITMIME"])
        c = self.client()

        def there() -> bool:
            return b"(MESSAGES %d)" % len(messages) in c.command("STATUS INBOX (MESSAGES)")[0][-1]
        wait_until(there, 20, "all messages", pause=0.1)
        c.command("SELECT INBOX")
        arrived = self.fetch_all(c, len(messages))
        left = {}
        for m in messages:
            whole = m if m.endswith(b"\r\n") else m + b"\r\n"
            left[whole] = left.get(whole, 0) + 1
        for octets in arrived.values():
            found = next((w for w in (octets[i:] for i in [0] + [k.end() for k in re.finditer(rb"\r\n", octets[:4000])])
                          if w in left), None)
            self.assertIsNotNone(found, octets[:600])
            left[found] -= 1
            if left[found] == 0:
                del left[found]
        self.assertEqual(left, {})


if __name__ == "__main__":
    unittest.main()
