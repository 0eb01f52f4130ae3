# SPDX-License-Identifier: AGPL-3.0-or-later
"""IMAP: what FETCH, STATUS and SEARCH tell beyond RFC 3501 (save dates, object ids, previews, decoded parts), and ways to put mail in."""

import base64
import contextlib
import datetime
import random
import os
import re
import unittest

from harness import Cohue, wait_until
from test_imap import NESTED, Client, simple


class Items(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue(settings={"limits.message_size": "2 MiB"})
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

    # RFC 8514

    def test_the_time_of_saving_is_that_of_each_putting(self) -> None:
        c = self.client()
        c.append("INBOX", simple("old"), date="03-Feb-2015 10:00:00 +0000")
        c.command("CREATE There")
        c.command("SELECT INBOX")

        def saved() -> float:
            answer = c.fetch("FETCH 1 (SAVEDATE INTERNALDATE)")
            self.assertIn(b'INTERNALDATE "03-Feb-2015', answer)
            text = re.search(rb'SAVEDATE "([^"]+)"', answer).group(1).decode()
            return datetime.datetime.strptime(text.strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()

        first = saved()
        self.assertLess(abs(datetime.datetime.now().timestamp() - first), 120)
        day = datetime.datetime.fromtimestamp(first, datetime.timezone.utc)
        text, next_day = day.strftime("%d-%b-%Y"), (day + datetime.timedelta(days=1)).strftime("%d-%b-%Y")
        for keys, found in ((f"SAVEDON {text}", [1]), (f"SAVEDSINCE {text}", [1]), (f"SAVEDBEFORE {text}", []),
                            (f"SAVEDBEFORE {next_day}", [1]), (f"SAVEDSINCE {next_day}", []), ("SAVEDATESUPPORTED", [1])):
            self.assertEqual(c.search(keys), found, keys)
        for verb in ("COPY", "MOVE"):
            c.command(f"{verb} 1 There")
        c.command("SELECT There")
        self.assertGreaterEqual(saved(), first)
        self.assertEqual(c.search("SAVEDATESUPPORTED"), [1, 2])

    # RFC 8474

    def test_object_ids_follow_mailboxes_messages_and_conversations(self) -> None:
        c = self.client()

        def mailbox(name: str) -> bytes:
            return re.search(rb"MAILBOXID \((F[0-9a-f]+)\)", c.command(f"STATUS {name} (MAILBOXID)")[0][0]).group(1)

        made = re.search(rb"\[MAILBOXID \((F[0-9a-f]+)\)\]", c.command("CREATE One")[1]).group(1)
        self.assertEqual(mailbox("One"), made)
        c.command("RENAME One Two")
        self.assertEqual(mailbox("Two"), made)
        self.assertTrue(any(b"[MAILBOXID (" + made + b")]" in r for r in c.command("SELECT Two")[0]))
        c.command("DELETE Two")
        c.command("CREATE Two")
        self.assertNotEqual(mailbox("Two"), made)
        listed = c.command('LIST "" * RETURN (STATUS (MAILBOXID MESSAGES))')[0]
        self.assertTrue(any(mailbox("Two") in r for r in listed), listed)

        c.append("INBOX", simple("root", more="Message-ID: <root@x>\r\n"))
        c.append("INBOX", simple("reply", more="Message-ID: <r1@y>\r\nIn-Reply-To: your letter <root@x>\r\n"))
        c.append("INBOX", simple("reply", more="Message-ID: <r2@y>\r\nIn-Reply-To: <r1@y>\r\nReferences: <root@x>\r\n <r1@y>\r\n"))
        c.append("INBOX", simple("none"))
        c.command("SELECT INBOX")
        c.command("COPY 1 Two")
        ids = [re.search(rb"EMAILID \((\S+)\) THREADID (NIL|\([^)\s]+\))", c.fetch(f"FETCH {i} (EMAILID THREADID)")).groups()
               for i in (1, 2, 3, 4)]
        self.assertEqual(len({e for e, _ in ids}), 4)
        self.assertEqual(len({t for _, t in ids[:3]}), 1)
        self.assertEqual(ids[3][1], b"NIL")
        self.assertEqual(c.search(f"EMAILID {ids[1][0].decode()}"), [2])
        self.assertEqual(c.search(f"THREADID {ids[0][1].decode()[1:-1]}"), [1, 2, 3])
        self.assertEqual(c.search(f"NOT THREADID {ids[0][1].decode()[1:-1]}"), [4])
        c.command("SELECT Two")
        self.assertIn(b"EMAILID (" + ids[0][0] + b") THREADID " + ids[0][1], c.fetch("FETCH 1 (EMAILID THREADID)"))

    # RFC 8970

    def test_previews_show_the_first_words(self) -> None:
        c = self.client()
        far = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\n" + random.Random(1).randbytes(350_000).hex().encode() + \
            b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nfar behind\r\n--b--\r\n"
        for message in (NESTED, simple("h", "<style>p{}</style><p>Dear&nbsp;all,<p>hi", "Content-Type: text/html\r\n"),
                        b"Content-Type: image/png\r\n\r\nx", far):
            c.append("INBOX", message)
        c.command("SELECT INBOX")
        for lazy in ("", " (LAZY)"):
            answers = [r for r in c.command(f"FETCH 1:4 (PREVIEW{lazy} FLAGS)")[0] if b"PREVIEW" in r]
            self.assertIn("PREVIEW {15}\r\nna\u00efve line two FLAGS".encode(), answers[0])
            self.assertIn(b'PREVIEW "Dear all, hi"', answers[1])
            self.assertIn(b'PREVIEW ""', answers[2])
            self.assertIn(b"PREVIEW NIL" if lazy else b'PREVIEW "far behind"', answers[3])
            self.assertIn(b"FLAGS ()", answers[3])
        self.assertIn(b"PREVIEW", c.fetch("FETCH 1 PREVIEW (LAZY)"))
        c.command("FETCH 1 (PREVIEW (EAGER))", "BAD")

    # RFC 3516

    def test_parts_come_decoded(self) -> None:
        c = self.client()
        large = bytes(range(256)) * 4000
        coded = base64.encodebytes(large).replace(b"\n", b"\r\n")
        c.append("INBOX", NESTED)
        c.append("INBOX", b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded)
        c.append("INBOX", simple("odd", "x", "Content-Transfer-Encoding: x-magic\r\n"))
        c.command("SELECT INBOX")

        def binary(number: int, item: str) -> bytes:
            answer = c.fetch(f"FETCH {number} ({item})")
            found = re.search(rb"\] ?(?:<\d+>)? ?~?\{(\d+)\}\r\n", answer)
            assert found, answer
            return answer[found.end():found.end() + int(found.group(1))]

        self.assertEqual(binary(1, "BINARY.PEEK[1]"), "na\u00efve\r\nline two".encode())
        self.assertEqual(binary(1, "BINARY.PEEK[3]"), b"\x89PNG\r\n\x1a\n")
        self.assertEqual(binary(1, "BINARY.PEEK[2.1]"), b"plain inner")
        self.assertEqual(binary(1, "BINARY.PEEK[]"), NESTED)
        self.assertIn(b"BINARY.SIZE[1] 16 BINARY.SIZE[3] 8", c.fetch("FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[3])"))
        self.assertIn(b"BINARY[9] NIL", c.fetch("FETCH 1 BINARY.PEEK[9]"))
        self.assertEqual(c.flags(1), set())
        self.assertEqual(binary(1, "BINARY[1]<3.4>"), "na\u00efve\r\n".encode()[3:7])
        self.assertEqual(c.flags(1), {b"\\Seen"})
        # With NUL octets: a literal8.
        self.assertIn(b"BINARY[1] ~{%d}\r\n" % len(large), c.fetch("FETCH 2 BINARY.PEEK[1]"))
        self.assertEqual(binary(2, "BINARY.PEEK[1]"), large)
        self.assertEqual(binary(2, "BINARY.PEEK[1]<1000000.99999>"), large[1_000_000:])
        self.assertIn(b"BINARY.SIZE[1] %d" % len(large), c.fetch("FETCH 2 BINARY.SIZE[1]"))
        untagged, status = c.command("FETCH 1:3 BINARY.SIZE[1]", "NO")
        self.assertIn(b"[UNKNOWN-CTE]", status)
        self.assertEqual(len([r for r in untagged if b"BINARY.SIZE" in r]), 2)
        for wrong in ("BINARY[1.MIME]", "BINARY[HEADER]", "BINARY.SIZE[1]<0.5>"):
            c.command(f"FETCH 1 {wrong}", "BAD")

    # RFC 3502, RFC 8508

    def put(self, c: Client, command: str, *messages: bytes, expect: str | None = "OK") -> tuple[list[bytes], bytes]:
        """APPEND or REPLACE: the command's texts between the messages are separated by '@'."""
        texts = command.split("@")
        whole = b"".join(t.encode() + b" {%d+}\r\n" % len(m) + m for t, m in zip(texts, messages))
        return c.command(whole + "@".join(texts[len(messages):]).encode(), expect)

    def test_several_messages_go_in_together_or_not_at_all(self) -> None:
        c = self.client("INBOX")
        one, two, three = simple("one"), simple("two"), NESTED
        untagged, status = self.put(c, 'APPEND INBOX (\\Seen)@ "03-Feb-2015 10:00:00 +0000"@ ($X \\Flagged)', one, two, three)
        self.assertRegex(status, rb"^OK \[APPENDUID \d+ 1:3\]")
        self.assertEqual([r for r in untagged if b"EXISTS" in r], [b"* 3 EXISTS"])
        for i, (message, flags) in enumerate(((one, {b"\\Seen"}), (two, set()), (three, {b"$X", b"\\Flagged"})), 1):
            self.assertEqual(c.literal(f"FETCH {i} BODY.PEEK[]"), message)
            self.assertEqual(c.flags(i), flags)
        self.assertIn(b"03-Feb-2015", c.fetch("FETCH 2 INTERNALDATE"))
        self.assertEqual(len({re.search(rb"MODSEQ \((\d+)\)", c.fetch(f"FETCH {i} (MODSEQ)")).group(1) for i in (1, 2, 3)}), 1)
        for command, messages, code in ((r"APPEND INBOX@ (bad", (one, two), b"BAD"), ("APPEND INBOX@", (one, b""), b"[CANNOT]"),
                                        ("APPEND INBOX@@ x", (one, two), b"BAD"), ("APPEND INBOX@", (one, b"a\0b"), b"[CANNOT]"),
                                        ("APPEND INBOX@ " + "(" + "k" * 65 + ")", (one, two), b"[LIMIT]"),
                                        ("APPEND INBOX@@", (one, two, b"x" * ((2 << 20) + 1000)), b"[TOOBIG]")):
            status = self.put(c, command, *messages, expect=None)[1]
            self.assertIn(code, status, command)
        # What the client waits for with is refused before it is sent.
        d = self.client()
        d.send(b"x APPEND INBOX {1+}\r\ny {%d}\r\n" % (3 << 20))
        self.assertIn(b"x NO [TOOBIG]", d.response())
        d.command("NOOP")
        self.assertEqual(c.search("ALL"), [1, 2, 3])
        self.assertIn(b"UNKNOWN-CTE", c.command(b"APPEND INBOX ~{3+}\r\na\0b", "NO")[1])
        c.command(b"APPEND INBOX ~{3+}\r\na:b")
        many = self.put(c, "APPEND INBOX" + "@" * 119, *[simple(f"number {i}") for i in range(120)])[1]
        self.assertIn(b" 5:124]", many)

    def test_replace_is_one_step(self) -> None:
        c, other = self.client(), self.client()
        for i in (1, 2, 3):
            c.append("INBOX", simple(f"draft {i}"))
        c.command("CREATE Done")
        c.command("SELECT INBOX")
        other.command("SELECT INBOX")
        untagged, status = self.put(c, "REPLACE 2 INBOX (\\Draft)", simple("better"))
        self.assertTrue(status.startswith(b"OK"), status)
        self.assertRegex(b"\n".join(untagged), rb"(?s)\* OK \[APPENDUID \d+ 4\].*\* 2 EXPUNGE\n\* 3 EXISTS")
        untagged = other.command("NOOP")[0]
        self.assertIn(b"* 2 EXPUNGE", untagged)
        self.assertIn(b"* 3 EXISTS", untagged)
        self.put(c, "UID REPLACE 4 Done", simple("done"))
        self.assertEqual(c.search("UID 1:*"), [1, 2])
        self.assertIn(b"MESSAGES 1", c.command("STATUS Done (MESSAGES)")[0][0])
        other.command("NOOP")
        # Gone, or never there, or not hers to change: nothing happens.
        for client, command, code in ((c, "UID REPLACE 2 INBOX", b"NO"), (c, "REPLACE 3 INBOX", b"BAD"), (c, "REPLACE 1 Nowhere", b"[TRYCREATE]"),
                                      (c, "REPLACE 1 INBOX (x", b"BAD"), (self.client(), "REPLACE 1 INBOX", b"BAD")):
            self.assertIn(code, self.put(client, command, simple("no"), expect=None)[1], command)
        self.assertIn(b"BAD", self.put(c, "REPLACE 1 INBOX@", simple("no"), simple("no"), expect=None)[1])
        c.command("EXAMINE INBOX")
        self.assertIn(b"READ-ONLY", self.put(c, "REPLACE 1 INBOX", simple("no"), expect="NO")[1])
        c.command("SELECT INBOX")
        message = simple("raced")
        c.send(b"r REPLACE 1 INBOX {%d+}\r\n" % len(message) + message)
        other.command("UID STORE 1 +FLAGS (\\Deleted)")
        other.command("EXPUNGE")
        c.send(b"\r\n")
        while not (answer := c.response()).startswith(b"r "):
            pass
        self.assertTrue(answer.startswith(b"r NO"), answer)
        self.assertIn(b"MESSAGES 1 ", other.command("STATUS INBOX (MESSAGES UIDNEXT)")[0][0])

    def test_a_client_s_copy_of_what_was_sent_stays_one_message(self) -> None:
        c = self.client()
        letter = simple("sent", more="Message-ID: <4e1b6b2f-2c1a-4b7e-9d5c-0a1b2c3d4e5f@house.test>\r\n")
        letter = letter.replace(b"ann@elsewhere.test", self.member.address.encode())
        with contextlib.closing(self.cohue.smtp(self.member)) as smtp:
            smtp.sendmail(self.member.address, [self.member.address], letter)
        wait_until(lambda: b"MESSAGES 1" in c.command("STATUS Sent (MESSAGES)")[0][0], 20, "the Sent copy")
        status = self.put(c, "APPEND Sent (\\Seen)@ (\\Seen $Mine)", simple("other"), letter)[1]
        self.assertRegex(status, rb"^OK \[APPENDUID \d+ 2,1\]")
        c.append("Drafts", letter)
        c.command("SELECT Drafts")
        untagged, _ = self.put(c, "REPLACE 1 Sent (\\Seen)", letter)
        self.assertIn(b"* 1 EXPUNGE", untagged)
        self.assertRegex(b"\n".join(untagged), rb"APPENDUID \d+ 1\]")
        self.assertIn(b"MESSAGES 2", c.command("STATUS Sent (MESSAGES)")[0][0])


class Disconnects(unittest.TestCase):
    def test_a_disconnect_anywhere_leaves_nothing(self) -> None:
        whole = b"x APPEND INBOX (\\Seen) {6+}\r\nA: b\r\n ~{8}\r\nC: d\r\n\r\n\r\n"
        with Cohue() as cohue:
            member = cohue.add_member("member")
            with Client(cohue, member) as c:
                c.command("SELECT INBOX")
                for cut in range(len(whole)):
                    with Client(cohue, member) as d:
                        d.send(whole[:cut])
                c.command("NOOP")
                self.assertEqual(c.search("ALL"), [])
                with Client(cohue, member) as d:
                    d.send(whole)
                    self.assertIn(b"+ ", d.read_line())
                    self.assertIn(b"x OK [APPENDUID", d.response())
                self.assertIn(b"UIDNEXT 3", c.command("STATUS INBOX (UIDNEXT)")[0][0])
                # One whose first chunks are in the store before she goes.
                large = b"Subject: large\r\n\r\n" + os.urandom(450_000).hex().encode()
                head = b"y APPEND INBOX {%d+}\r\n" % len(large)
                for cut in (70_000, 300_000, 600_000, len(large) - 1, len(large)):
                    with Client(cohue, member) as d:
                        d.send(head + large[:cut])
                c.command("NOOP")
                self.assertIn(b"UIDNEXT 3", c.command("STATUS INBOX (UIDNEXT)")[0][0])
            # What nobody claimed goes at the next start, if not before.
            cohue.restart()
            cohue.stop()
            checked = cohue.cli("check").stdout
            # Those of the two messages that did come whole, her snapshot, and no other.
            self.assertRegex(checked, r"\nsnapshots +1\n")
            self.assertRegex(checked, r"\nblobs +3\n")
            self.assertRegex(checked, r"\nblobs not yet claimed +0\n")
            self.assertIn("no damage found", checked)
