# SPDX-License-Identifier: AGPL-3.0-or-later
"""Metadata of mailboxes and of the account (RFC 5464, 9590, 6154), and quotas as IMAP tells them (RFC 9208)."""

import base64
import random
import re
import unittest

from harness import Cohue
from test_imap import Client, simple


class Shared(unittest.TestCase):
    """One service for all tests of a class; each test has a member of its own."""

    settings: dict[str, str] = {}

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue(settings=cls.settings)
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

    def say(self, c: Client, text: str | bytes, expect: str = "OK") -> list[bytes]:
        answers, tagged = c.command(text, expect)
        return [*answers, tagged]


class Metadata(Shared):
    def of(self, c: Client, text: str) -> dict[str, dict[bytes, bytes | None]]:
        """Mailbox to entries, of all METADATA responses."""
        got: dict[str, dict[bytes, bytes | None]] = {}
        for answer in c.command(text)[0]:
            if answer.startswith(b"* METADATA"):
                name, rest = re.match(rb'\* METADATA ("[^"]*"|\S+) \((.*)\)$', answer, re.S).groups()
                entries = got.setdefault(name.strip(b'"').decode(), {})
                while rest:
                    entry, rest = rest.split(b" ", 1)
                    literal = re.match(rb"~?\{(\d+)\}\r\n", rest)
                    if literal:
                        end = literal.end() + int(literal[1])
                        value, rest = rest[literal.end():end], rest[end:]
                    elif rest.startswith(b'"'):
                        value, rest = re.match(rb'"((?:[^"\\]|\\.)*)"(.*)', rest, re.S).groups()
                        value = re.sub(rb"\\(.)", rb"\1", value)
                    else:
                        value, rest = None, rest[3:]
                    self.assertNotIn(entry, entries)
                    entries[entry] = value
                    rest = rest.lstrip(b" ")
        return got

    def test_values_are_kept_removed_and_told_by_depth_and_size(self) -> None:
        c = self.client()
        self.assertIn(b" METADATA", b" ".join(self.say(c, "CAPABILITY")))
        self.say(c, 'SETMETADATA INBOX (/private/Comment "mine \\"too\\"" /shared/comment "ours" '
                    '/private/vendor/x/a "" /private/vendor/x/a/b ~{3+}\r\n\x00\xffz /private/vendor/xy "no child")'.encode("latin-1"))
        # Names do not know case; an empty value is a value, and what is not there is NIL.
        self.assertEqual(self.of(c, "GETMETADATA INBOX (/PRIVATE/comment /private/vendor/x/a /private/vendor/x /shared/nothing)"),
                         {"INBOX": {b"/private/comment": b'mine "too"', b"/private/vendor/x/a": b"",
                                    b"/private/vendor/x": None, b"/shared/nothing": None}})
        one = {b"/private/vendor/x/a": b""}
        self.assertEqual(self.of(c, "GETMETADATA (DEPTH 1) INBOX /private/vendor/x"), {"INBOX": one})
        self.assertEqual(self.of(c, "GETMETADATA INBOX (DEPTH infinity) /private/vendor/x"),
                         {"INBOX": {**one, b"/private/vendor/x/a/b": b"\x00\xffz"}})
        self.assertEqual(len(self.of(c, "GETMETADATA (DEPTH infinity) INBOX (/private /shared)")["INBOX"]), 5)
        answers = self.say(c, "GETMETADATA (MAXSIZE 5) INBOX (/private/comment /shared/comment)")
        self.assertEqual([a for a in answers if a.startswith(b"* M")], [b'* METADATA INBOX (/shared/comment "ours")'])
        self.assertIn(b"OK [METADATA LONGENTRIES 10]", answers[-1])
        # Removed; then the same again in a mailbox that is renamed, and at last deleted.
        self.say(c, "SETMETADATA INBOX (/private/vendor/x/a NIL /private/vendor/x/gone NIL)")
        self.assertEqual(self.of(c, "GETMETADATA INBOX /private/vendor/x/a"), {"INBOX": {b"/private/vendor/x/a": None}})
        self.say(c, "CREATE a/b")
        self.say(c, "SETMETADATA a/b (/private/comment here)".replace("here", '"here"'))
        self.say(c, "RENAME a c")
        self.assertEqual(self.of(c, "GETMETADATA c/b /private/comment"), {"c/b": {b"/private/comment": b"here"}})
        self.say(c, "GETMETADATA a/b /private/comment", "NO")
        self.say(c, "DELETE c/b")
        self.say(c, "CREATE c/b")
        self.assertEqual(self.of(c, "GETMETADATA c/b /private/comment"), {"c/b": {b"/private/comment": None}})

    def test_the_account_has_its_own_and_the_server_says_who_to_write_to(self) -> None:
        c = self.client()
        self.say(c, 'SETMETADATA "" (/private/vendor/x "account")')
        self.assertEqual(self.of(c, 'GETMETADATA "" (/private/vendor/x /shared/admin)'),
                         {"": {b"/shared/admin": b"mailto:postmaster@house.test", b"/private/vendor/x": b"account"}})
        self.assertEqual(self.of(c, "GETMETADATA INBOX /private/vendor/x"), {"INBOX": {b"/private/vendor/x": None}})
        self.assertIn(b"[NOPERM]", self.say(c, 'SETMETADATA "" (/private/y "1" /shared/comment "all")', "NO")[-1])
        self.assertEqual(self.of(c, 'GETMETADATA "" /private/y'), {"": {b"/private/y": None}})
        # Another member sees nothing of it.
        self.setUp()
        self.assertEqual(self.of(self.client(), 'GETMETADATA "" /private/vendor/x'), {"": {b"/private/vendor/x": None}})

    def test_limits_are_told_and_nothing_is_half_done(self) -> None:
        c = self.client()
        big = b"x" * (16 * 1024 + 1)
        self.assertIn(b"[METADATA MAXSIZE 16384]", self.say(
            c, b'SETMETADATA INBOX (/private/a "1" /private/b {%d+}\r\n' % len(big) + big + b")", "NO")[-1])
        # However large a literal is, the answer is the same, and the next command is read as one.
        for size in (40000, 1000000):
            c.send(b"big SETMETADATA INBOX (/private/a {%d+}\r\n" % size + b"NOOP\r\n" * (size // 6) + b"x" * (size % 6) + b" /private/b ~{1+}\r\n\0)\r\n")
            self.assertRegex(c.hear_until(rb"big "), rb"big NO \[METADATA MAXSIZE 16384\]")
            c.send(b"wait SETMETADATA INBOX (/private/a {%d}\r\n" % size)
            self.assertRegex(c.hear_until(rb"wait "), rb"wait NO \[METADATA MAXSIZE 16384\]")
        many = " ".join(f'/private/n{i} "1"' for i in range(129))
        self.assertIn(b"[METADATA TOOMANY]", self.say(c, f"SETMETADATA INBOX ({many})", "NO")[-1])
        self.assertEqual(self.of(c, "GETMETADATA (DEPTH infinity) INBOX (/private /shared)"), {})
        self.say(c, "SETMETADATA INBOX (" + many.rpartition(" /private/n128")[0] + ")")
        self.assertEqual(len(self.of(c, "GETMETADATA (DEPTH infinity) INBOX /private")["INBOX"]), 128)
        self.assertIn(b"[METADATA TOOMANY]", self.say(c, 'SETMETADATA INBOX (/private/more "1")', "NO")[-1])
        self.say(c, 'SETMETADATA INBOX (/private/n0 NIL /private/more "1")')
        for bad in ('(/private/x* "1")', '(/other/x "1")', '(/private/ "1")', '(/private//x "1")', '(/private "1")',
                    '(/private/x "1" /PRIVATE/X "2")', '(private/x "1")'):
            self.say(c, "SETMETADATA INBOX " + bad, "BAD")
        self.say(c, "GETMETADATA INBOX (/private/x%)", "BAD")
        self.assertIn(b"[NONEXISTENT]", self.say(c, 'SETMETADATA none (/private/x "1")', "NO")[-1])

    def test_a_special_use_is_an_entry_and_list_tells_entries(self) -> None:
        c = self.client()
        self.assertEqual(self.of(c, "GETMETADATA Sent (/private/specialuse)"), {"Sent": {b"/private/specialuse": b"\\Sent"}})
        self.say(c, "CREATE Old")
        self.say(c, 'SETMETADATA Old (/private/specialuse "\\\\Archive" /private/comment "x")')
        self.say(c, "SETMETADATA Archive (/private/specialuse NIL)")
        self.assertEqual([a for a in self.say(c, 'LIST (SPECIAL-USE) "" *') if b"Archive" in a],
                         [b'* LIST (\\HasNoChildren \\Archive) "/" Old'])
        self.assertEqual(self.of(c, "GETMETADATA Archive /private/specialuse"), {"Archive": {b"/private/specialuse": None}})
        self.assertIn(b"[USEATTR]", self.say(c, 'SETMETADATA Old (/private/specialuse "\\\\Nonsense")', "NO")[-1])
        got = self.of(c, 'LIST "" (Old Archive INBOX) RETURN (METADATA (/private/comment /private/specialuse))')
        self.assertEqual(got, {"Old": {b"/private/comment": b"x", b"/private/specialuse": b"\\Archive"},
                               "Archive": {b"/private/comment": None, b"/private/specialuse": None},
                               "INBOX": {b"/private/comment": None, b"/private/specialuse": None}})

    def test_it_is_all_there_after_a_restart_from_a_snapshot(self) -> None:
        c = self.client()
        self.say(c, "CREATE box")
        for i in range(70):  # enough records that a snapshot is made when she leaves
            self.say(c, f'SETMETADATA box (/private/n{i % 7} "{i}")')
        self.say(c, 'SETMETADATA "" (/private/token "t")')
        wanted = self.of(c, "GETMETADATA (DEPTH 1) box /private")
        self.assertEqual(wanted["box"][b"/private/n6"], b"69")
        c.close()
        self.cohue.restart()
        c = self.client()
        self.assertEqual(self.of(c, "GETMETADATA (DEPTH 1) box /private"), wanted)
        self.assertEqual(self.of(c, 'GETMETADATA "" /private/token'), {"": {b"/private/token": b"t"}})
        # And none of it stands anywhere in clear.
        self.cohue.stop()
        found = [p for p in self.cohue.home.rglob("*") if p.is_file() and b"/private/token" in p.read_bytes()]
        self.cohue.start()
        self.assertEqual(found, [])


class Quota(Shared):
    def test_what_is_deleted_is_told_and_the_limit_is_not_hers_to_set(self) -> None:
        self.cohue.cli("member", "quota", self.member.name, "1 MiB")
        c = self.client()
        octets = [simple(f"n{i}", "x" * (1000 * (i + 1))) for i in range(3)]
        for message in octets:
            c.append("INBOX", message)
        c.command("SELECT INBOX")
        self.say(c, "STORE 1,3 +FLAGS (\\Deleted)")
        status = self.say(c, "STATUS INBOX (MESSAGES DELETED DELETED-STORAGE)")[0]
        self.assertIn(b"MESSAGES 3", status)
        self.assertIn(b"DELETED 2", status)
        self.assertIn(b"DELETED-STORAGE %d" % (len(octets[0]) + len(octets[2])), status)
        root, figures = self.say(c, "GETQUOTAROOT INBOX")[:2]
        self.assertEqual(root, b'* QUOTAROOT INBOX ""')
        self.assertRegex(figures, rb'^\* QUOTA "" \(STORAGE \d+ 1024\)$')
        self.assertEqual(self.say(c, 'GETQUOTA ""')[0], figures)
        self.assertIn(b"[NONEXISTENT]", self.say(c, "GETQUOTA other", "NO")[-1])
        self.assertIn(b"[NOPERM]", self.say(c, 'SETQUOTA "" (STORAGE 4096)', "NO")[-1])
        self.assertEqual(self.say(c, 'GETQUOTA ""')[0], figures)

    def test_a_full_mailbox_is_told_of_once_per_level(self) -> None:
        self.cohue.cli("member", "quota", self.member.name, "4 MiB")
        c = self.client()
        seed = iter(range(100))

        def told() -> list[bytes]:
            found = c.fetch("FETCH 1:* (ENVELOPE)") if b"* 0 EXISTS" not in c.command("SELECT INBOX")[0] else b""
            return re.findall(rb"mailboxes are (\d+) % full", found)

        def fill(kib: int) -> None:
            """So much as stored: one class of the ladder, nearly all of it noise."""
            noise = random.Random(next(seed)).randbytes(kib * 1024 * 7 // 10)
            c.append("Archive", simple("noise") + base64.encodebytes(noise).replace(b"\n", b"\r\n"))

        def percent() -> int:
            used, limit = map(int, re.search(rb"STORAGE (\d+) (\d+)", self.say(c, 'GETQUOTA ""')[0]).groups())
            return 100 * used // limit

        for kib in (1024, 1024, 1024):
            fill(kib)
        self.assertEqual(told(), [])
        fill(256)
        self.assertIn(percent(), range(80, 90))
        self.assertEqual(told(), [b"80"])
        c.append("Archive", simple("little"))
        self.assertEqual(told(), [b"80"])
        fill(512)
        fill(128)
        self.assertGreaterEqual(percent(), 95)
        self.assertEqual(told(), [b"80", b"95"])
        big = random.Random(9).randbytes(400000).hex().encode()
        self.assertIn(b"[OVERQUOTA]", self.say(c, b"APPEND INBOX {%d+}\r\n" % len(big) + big, "NO")[-1])
        # It is remembered; and once room was made, it may be told again.
        c.close()
        self.cohue.restart()
        c = self.client()
        self.assertEqual(told(), [b"80", b"95"])
        c.command("SELECT Archive")
        self.say(c, "STORE 1 +FLAGS (\\Deleted)")
        self.say(c, "EXPUNGE")
        self.assertEqual(told(), [b"80", b"95"])
        fill(1024)
        self.assertEqual(told(), [b"80", b"95", b"95"])


if __name__ == "__main__":
    unittest.main()
