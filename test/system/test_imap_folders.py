# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folder names in any script, deep trees, and very many folders."""

import re
import unittest

from test_imap import Client, simple
from test_imap_metadata import Shared as Base


def utf7(name: str) -> str:
    """Modified UTF-7 (RFC 3501 section 5.1.3), by Python's own UTF-7 or UTF-16 and base64."""
    import base64
    out, run = "", ""
    for c in [*name, ""]:
        if c and not " " <= c <= "~":
            run += c
            continue
        if run:
            out += "&" + base64.b64encode(run.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
            run = ""
        out += "&-" if c == "&" else c
    return out


SCRIPTS = ["Gr\u00fc\u00dfe & Co", "\u041f\u0438\u0441\u044c\u043c\u0430", "\u65e5\u672c\u8a9e/\u4e0b\u66f8\u304d", "\u05e9\u05dc\u05d5\u05dd",
           "\u0627\u0644\u0628\u0631\u064a\u062f", "\U0001f4e8\U0001f469\u200d\U0001f469\u200d\U0001f467", "\u0939\u093f\u0928\u094d\u0926\u0940",
           "a&b", "tilde~quote\"back\\slash", " led and trailed ", "INBOX/deeper", "x" * 250, "/".join(["d"] * 32)]
REFUSED = ["a\x7fb", "a\x80b", "a\u2028b", "a\u2029b", "/a", "a//b", "..", "a/./b", "a%b", "a*b", "x" * 251, "/".join(["d"] * 33), "\ufeffa", "a\ufffeb", "a\u202eb",
           "\u200fa", "\u2066a\u2069", "so\u00adft", "a\u200bb", "a\u200db", "\u0645\u200c", "\U000e0061"]


class Folders(Base):
    def names(self, c: Client, command: str = 'LIST "" *') -> list[bytes]:
        """As sent, quoted ones unquoted."""
        got = []
        for answer in c.command(command)[0]:
            if answer.startswith(b"* LIST"):
                name = answer.split(b' "/" ', 1)[1]
                literal = re.match(rb"\{\d+\}\r\n", name)
                got.append(name[literal.end():] if literal else
                           re.sub(rb"\\(.)", rb"\1", name[1:-1]) if name.startswith(b'"') else name)
        return got

    def quoted(self, name: str) -> bytes:
        octets = name.encode()
        return b"{%d+}\r\n" % len(octets) + octets

    def test_names_in_any_script_are_the_same_in_both_encodings_and_what_is_none_is_refused(self) -> None:
        old, new = self.client(), self.client()
        new.command("ENABLE UTF8=ACCEPT")
        first = set(self.names(old))
        for name in SCRIPTS:
            self.say(old, b"CREATE " + self.quoted(utf7(name)))
            self.assertIn(b"[ALREADYEXISTS]", self.say(new, b"CREATE " + self.quoted(name), "NO")[-1])
            self.say(new, b"SELECT " + self.quoted(name))
        self.say(new, "UNSELECT")
        told_old, told_new = self.names(old), self.names(new)
        for name in SCRIPTS:
            self.assertIn(utf7(name).encode(), told_old)
            self.assertIn(name.encode(), told_new)
        for c, told in ((old, told_old), (new, told_new)):
            # Pattern by pattern, a name comes back as it was sent.
            for name in (n for n in told if b"*" not in n and b"%" not in n):
                self.assertEqual(self.names(c, 'LIST "" '.encode() + b"{%d+}\r\n" % len(name) + name), [name])
        for name in SCRIPTS:
            self.say(old, b"DELETE " + self.quoted(utf7(name)))
        self.assertEqual(set(self.names(new)), first)
        for name in REFUSED:
            self.assertIn(b"[CANNOT]", self.say(new, b"CREATE " + self.quoted(name), "NO")[-1], name)
        for name in ("&", "&AGE-", "&2D0-", "&AOQ-&APw-", "a\u00e4"):  # not closed, ASCII, half a pair, two runs for one, 8-bit
            self.assertIn(b"[CANNOT]", self.say(old, b"CREATE " + self.quoted(name), "NO")[-1], name)

    def test_the_two_spellings_of_an_accented_letter_are_one_name(self) -> None:
        old, new, rev2 = self.client(), self.client(), self.client()
        new.command("ENABLE UTF8=ACCEPT")
        rev2.command("ENABLE IMAP4rev2")
        short, long = "\u00e9t\u00e9", "e\u0301te\u0301"
        # RFC 9051 section 6.3.4: who is given another name than the one she asked for is told so.
        told = self.say(rev2, b"CREATE " + self.quoted(long))
        self.assertIn(b'("OLDNAME" ', b" ".join(told))
        self.assertIn(b"[ALREADYEXISTS]", self.say(new, b"CREATE " + self.quoted(short), "NO")[-1])
        self.assertIn(b"[ALREADYEXISTS]", self.say(old, b"CREATE " + self.quoted(utf7(long)), "NO")[-1])
        self.say(new, b"SUBSCRIBE " + self.quoted(long))
        for name in (short, long):
            for c, wire in ((new, name), (old, utf7(name))):
                self.say(c, b"SELECT " + self.quoted(wire))
                self.say(c, "UNSELECT")
            self.assertEqual(self.names(new, b'LIST "" ' + self.quoted(name)), [short.encode()])
            self.assertEqual(self.names(new, b'LIST (SUBSCRIBED) "" ' + self.quoted(name)), [short.encode()])
            self.assertEqual(self.names(old, b'LIST "" ' + self.quoted(utf7(name))), [utf7(short).encode()])
        self.say(new, b"RENAME " + self.quoted(long) + b" " + self.quoted(long + "/x"), "NO")
        self.say(new, b"RENAME " + self.quoted(long) + b" " + self.quoted(long + "2"))
        self.assertEqual(self.names(new, b'LIST "" ' + self.quoted(short[:1] + "*")), [(short + "2").encode()])
        self.say(new, b"UNSUBSCRIBE " + self.quoted(long))
        self.assertEqual(self.names(new, b'LIST (SUBSCRIBED) "" ' + self.quoted(short)), [])
        self.say(old, b"DELETE " + self.quoted(utf7(long + "2")))

    def test_a_tree_moves_with_its_mail_and_nothing_moves_where_something_stands(self) -> None:
        c = self.client()
        for name in ("a/b/c", "a/b", "a/bc", "z"):
            self.say(c, f"CREATE {name}")
        c.append("a/b/c", simple("deep"))
        self.say(c, "SUBSCRIBE a/b")
        ids = {n: self.say(c, f"STATUS a/{n} (MAILBOXID UIDVALIDITY)")[0].split(b"(", 1)[1] for n in ("b", "b/c")}
        # a is no mailbox itself, only the level above.
        self.assertIn(b'* LIST (\\Noselect \\HasChildren) "/" a', self.say(c, 'LIST "" %'))
        self.say(c, "SELECT a", "NO")
        self.assertIn(b"[ALREADYEXISTS]", self.say(c, "RENAME a/b z", "NO")[-1])
        self.assertIn(b"[NONEXISTENT]", self.say(c, "RENAME none other", "NO")[-1])
        self.assertIn(b"[CANNOT]", self.say(c, "RENAME a/b a/b/d", "NO")[-1])
        # One of the names below is taken: none moves.
        self.say(c, "CREATE y/b/c")
        self.assertIn(b"[ALREADYEXISTS]", self.say(c, "RENAME a y", "NO")[-1])
        self.assertEqual({n for n in self.names(c) if n[:2] in (b"a/", b"y/")}, {b"a/b", b"a/b/c", b"a/bc", b"y/b", b"y/b/c"})
        self.say(c, "RENAME a w/v")
        self.assertEqual({n for n in self.names(c) if n[:1] in b"aw"}, {b"w", b"w/v", b"w/v/b", b"w/v/b/c", b"w/v/bc"})
        for name, was in ids.items():
            self.assertEqual(self.say(c, f"STATUS w/v/{name} (MAILBOXID UIDVALIDITY)")[0].split(b"(", 1)[1], was)
        self.assertIn(b"EXISTS", b" ".join(self.say(c, "SELECT w/v/b/c")))
        self.assertIn(b"Subject: deep", c.literal("FETCH 1 BODY.PEEK[HEADER]"))
        # A subscription is to a name (RFC 9051 section 6.3.7): it stays.
        self.assertIn(b"a/b", b" ".join(self.say(c, 'LIST (SUBSCRIBED) "" *')))
        # Too deep, or too long, for one below: none moves.
        deep = "/".join(["d"] * 31)
        self.assertIn(b"[CANNOT]", self.say(c, f"RENAME w/v/b {deep}/e", "NO")[-1])
        self.say(c, "SELECT w/v/b/c")
        # DELETE leaves what is below, and the name as a level.
        self.say(c, "DELETE w/v/b")
        self.assertIn(b'* LIST (\\Noselect \\HasChildren) "/" w/v/b', self.say(c, 'LIST "" w/v/%'))
        self.assertIn(b"[NONEXISTENT]", self.say(c, "DELETE w/v/b", "NO")[-1])
        self.say(c, "CREATE w/v/b")
        # INBOX gives its mail away and stays; it does not go, and its spelling does not count.
        c.append("inbox", simple("mine"))
        self.say(c, "RENAME iNbOx kept")
        self.assertIn(b"* STATUS kept (MESSAGES 1)", self.say(c, "STATUS kept (MESSAGES)"))
        self.assertIn(b"* STATUS INBOX (MESSAGES 0)", self.say(c, "STATUS inbox (MESSAGES)"))
        for command in ("DELETE Inbox", "CREATE InBox"):
            self.say(c, command, "NO")

    def test_thousands_are_made_moved_together_listed_and_kept(self) -> None:
        count = 4500  # more than a record could name one by one
        c = self.client()
        for first in range(0, count, 500):
            c.send(b"".join(b"p%d CREATE top/%d/n%d\r\n" % (i, i % 7, i) for i in range(first, first + 500)))
            for i in range(first, first + 500):
                answer = c.response()
                while not answer.startswith(b"p"):
                    answer = c.response()
                self.assertEqual(answer.split()[:2], [b"p%d" % i, b"OK"])
        # Of those that come together many go into one record, whose number is their mod-sequence.
        told = c.command('LIST "" top/* RETURN (STATUS (HIGHESTMODSEQ))')[0]
        self.assertLess(len(set(re.findall(rb"HIGHESTMODSEQ (\d+)", b" ".join(told)))), count // 8)
        self.say(c, "RENAME top other/place")
        told = [n for n in self.names(c) if n.startswith(b"other/place/")]
        self.assertEqual(len(told), count + 7)
        self.assertEqual(len([n for n in self.names(c) if n.startswith(b"top")]), 0)
        status = [a for a in c.command('LIST "" other/place/3/* RETURN (STATUS (MESSAGES UIDVALIDITY))')[0] if a.startswith(b"* STATUS")]
        self.assertEqual(len(status), len(range(3, count, 7)))
        validities = set(re.findall(rb"UIDVALIDITY (\d+)", b" ".join(status)))
        self.assertEqual(len(validities), len(status))
        c.close()
        self.cohue.restart()
        self.assertEqual([n for n in self.names(self.client()) if n.startswith(b"other/place/")], told)


if __name__ == "__main__":
    unittest.main()
