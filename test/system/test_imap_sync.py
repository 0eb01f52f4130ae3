# SPDX-License-Identifier: AGPL-3.0-or-later
"""What clients enable, and how they keep up: IMAP4rev2, QRESYNC, UIDONLY, PARTIAL, LIST in its extended form, NOTIFY."""

import random
import re
import unittest

from harness import Cohue
from test_imap import Client, simple


def numbers(text: bytes) -> list[int]:
    """"1:3,7" as numbers."""
    found: list[int] = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


def vanished(answers: list[bytes], earlier: bool) -> list[int]:
    form = rb"\* VANISHED \(EARLIER\) (\S+)" if earlier else rb"\* VANISHED (\d\S*)"
    return [n for a in answers for m in re.findall(form, a) for n in numbers(m)]


def modseq(answers: list[bytes]) -> int:
    return int(re.search(rb"HIGHESTMODSEQ (\d+)", b" ".join(answers)).group(1))


class Keeping(unittest.TestCase):
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

    def client(self, enable: str = "", select: str = "") -> Client:
        c = Client(self.cohue, self.member)
        self.addCleanup(c.close)
        if enable:
            c.command(f"ENABLE {enable}")
        if select:
            c.command(f"SELECT {select}")
        return c

    # ENABLE, IMAP4rev2

    def test_what_was_enabled_is_said_and_holds(self) -> None:
        c = self.client()
        offered = c.command("CAPABILITY")[0][0].split()
        for name in (b"IMAP4rev1", b"IMAP4rev2", b"QRESYNC", b"UIDONLY", b"INPROGRESS"):
            self.assertIn(name, offered)
        self.assertEqual(c.command("ENABLE IMAP4REV2 X-NONE imap4rev2")[0], [b"* ENABLED IMAP4rev2"])
        self.assertEqual(c.command("ENABLE QRESYNC UTF8=ACCEPT")[0], [b"* ENABLED QRESYNC UTF8=ACCEPT"])
        c.command("SELECT INBOX")
        self.assertEqual(c.command("ENABLE UIDONLY")[0], [b"* ENABLED"], "not while a mailbox is selected")
        c.command("SEARCH CHARSET UTF-8 ALL", "BAD")
        self.assertRegex(c.command("ID NIL")[0][0], rb'^\* ID \("name" "Cohue" "version" "[0-9.]+" '
                         rb'"support-url" "mailto:postmaster@house.test"\)$')
        plain = self.client()
        self.assertNotIn(b"QRESYNC", b"".join(plain.command("ENABLE CONDSTORE")[0]))
        plain.command("SELECT INBOX (QRESYNC (1 1))", "BAD")
        plain.command("UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)", "BAD")

    def test_rev2_changes_what_is_said(self) -> None:
        old = self.client()
        old.command("CREATE &AMk-t&AOk-")
        for n in range(3):
            old.append("INBOX", simple(f"n{n}"), "\\Seen" if n == 0 else "")
        was = b"\n".join(old.command("SELECT INBOX")[0])
        for word in (b"RECENT", b"[UNSEEN 2]"):
            self.assertIn(word, was)
        self.assertNotIn(b"* LIST", was)
        self.assertEqual(old.search("ALL"), [1, 2, 3])
        c = self.client("IMAP4rev2")
        now = c.command("SELECT inbox")[0]
        self.assertIn(b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX ("OLDNAME" ("inbox"))', now)
        for word in (b"RECENT", b"UNSEEN"):
            self.assertNotIn(word, b"\n".join(now))
        self.assertEqual(c.command("SEARCH CHARSET UTF-8 SEEN")[0][0].split()[-2:], [b"ALL", b"1"])
        self.assertNotIn(b"* SEARCH", b"\n".join(c.command("SEARCH UNSEEN")[0]))
        old.append("INBOX", simple("new"))
        self.assertEqual(c.command("NOOP")[0], [b"* 4 EXISTS"])
        answers = c.command('SELECT "Été"'.encode())[0]
        self.assertIn(b"[CLOSED]", answers[0])
        self.assertIn('"/" "Été"'.encode(), b"".join(answers))
        self.assertIn(b'("OLDNAME" ("inbox/x"))', b"".join(c.command("CREATE inbox/x")[0]))
        self.assertEqual(c.command("CREATE plain/")[0], [])
        self.assertEqual(c.command("STATUS INBOX (MESSAGES DELETED SIZE RECENT)")[0][0].split()[3:5], [b"(MESSAGES", b"4"])
        for command in ("CHECK", "UNSELECT", 'LSUB "" "*"', "NAMESPACE"):
            c.command(command)
        c.command("SELECT INBOX")
        self.assertIn(b"UID 1", c.fetch("STORE 1 +FLAGS (\\Flagged)"))
        self.assertIn(b"[TRYCREATE]", c.command("COPY 1 Nowhere", "NO")[1])

    # LIST

    def listed(self, c: Client, command: str) -> dict[bytes, tuple[set[bytes], bytes]]:
        found = {}
        for answer in c.command(command)[0]:
            m = re.match(rb'\* LIST \(([^)]*)\) "/" (\S+|"[^"]*")(.*)', answer)
            if m:
                self.assertNotIn(m.group(2), found)
                found[m.group(2)] = (set(m.group(1).split()), m.group(3).strip())
        return found

    def test_extended_list(self) -> None:
        c = self.client()
        for name in ("Fruit", "Fruit/Apple", "Fruit-salad", "Vegetable/Bean"):
            c.command(f"CREATE {name}")
        for name in ("Fruit/Apple", "Vegetable/Bean", "Gone/Peach", "Fruit/Peach"):
            c.command(f"SUBSCRIBE {name}")
        boxes = self.listed(c, 'LIST "" (Fruit* "Veg%")')
        self.assertEqual(set(boxes), {b"Fruit", b"Fruit/Apple", b"Fruit-salad", b"Vegetable"})
        self.assertEqual(boxes[b"Vegetable"][0], {b"\\NonExistent", b"\\HasChildren"})
        self.assertEqual(boxes[b"Fruit-salad"][0], {b"\\HasNoChildren"})
        self.assertEqual(self.listed(c, 'LIST "" "Veg%"')[b"Vegetable"][0], {b"\\Noselect", b"\\HasChildren"})
        for name in ("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"):
            c.command(f"UNSUBSCRIBE {name}")
        boxes = self.listed(c, 'LIST (SUBSCRIBED) "" *')
        self.assertEqual({name: flags & {b"\\NonExistent", b"\\Subscribed"} for name, (flags, _) in boxes.items()},
                         {b"Fruit/Apple": {b"\\Subscribed"}, b"Vegetable/Bean": {b"\\Subscribed"},
                          b"Gone/Peach": {b"\\Subscribed", b"\\NonExistent"},
                          b"Fruit/Peach": {b"\\Subscribed", b"\\NonExistent"}})
        boxes = self.listed(c, 'LIST (SUBSCRIBED RECURSIVEMATCH) "" %')
        self.assertEqual({name: (b"\\NonExistent" in flags, more) for name, (flags, more) in boxes.items()},
                         {name: (name != b"Fruit", b'("CHILDINFO" ("SUBSCRIBED"))')
                          for name in (b"Fruit", b"Gone", b"Vegetable")})
        c.command("LIST (RECURSIVEMATCH) \"\" *", "BAD")
        c.command("CREATE Deep/Er/Trash2 (USE (\\Flagged))")
        boxes = self.listed(c, 'LIST (SPECIAL-USE RECURSIVEMATCH) "" %')
        self.assertEqual(boxes[b"Deep"], ({b"\\NonExistent", b"\\HasChildren"}, b'("CHILDINFO" ("SPECIAL-USE"))'))
        self.assertNotIn(b"Fruit", boxes)
        self.assertIn(b"[USEATTR]", c.command("CREATE Odd (USE (\\Odd))", "NO")[1])
        answers = c.command('LIST (SUBSCRIBED) "" (Fruit/%) RETURN (STATUS (MESSAGES) CHILDREN)')[0]
        self.assertEqual([a for a in answers if b"STATUS" in a], [b"* STATUS Fruit/Apple (MESSAGES 0)"])
        boxes = self.listed(c, 'LIST "" "Fruit/%" RETURN (SUBSCRIBED)')
        self.assertIn(b"\\Subscribed", boxes[b"Fruit/Apple"][0])
        many = " ".join(f"Fruit{n}" for n in range(60))
        self.assertEqual(set(self.listed(c, f'LIST "" ({many} Fruit)')), {b"Fruit"})

    # QRESYNC

    def test_qresync_tells_what_was_missed(self) -> None:
        """A client that keeps what it was told, and comes back now and then, knows what is there."""
        rng = random.Random(7)
        writer = self.client()
        for n in range(40):
            writer.append("INBOX", simple(f"n{n}"))
        writer.command("SELECT INBOX")
        reader = self.client("QRESYNC")
        known: dict[int, bytes] = {}
        high, validity = 0, 0
        for turn in range(8):
            more = f" (QRESYNC ({validity} {high}{rng.choice(['', ' 1:10000'])}))" if high else ""
            answers = reader.command("SELECT INBOX" + more)[0]
            validity = int(re.search(rb"UIDVALIDITY (\d+)", b" ".join(answers)).group(1))
            high = modseq(answers)
            if turn == 0:
                answers = reader.command("UID FETCH 1:* FLAGS")[0]
            changed = [a for a in answers if b" FETCH (" in a]
            if turn > 0:
                self.assertLess(len(changed), 12, "only what was changed")
                self.assertTrue(all(b"MODSEQ (" in a for a in changed))
            for uid in vanished(answers, True):
                known.pop(uid, None)
            for a in changed:
                known[int(re.search(rb"UID (\d+)", a).group(1))] = re.search(rb"FLAGS \(([^)]*)\)", a).group(1)
            fresh = self.client()
            fresh.command("EXAMINE INBOX")
            truth = {int(re.search(rb"UID (\d+)", a).group(1)): re.search(rb"FLAGS \(([^)]*)\)", a).group(1)
                     for a in fresh.command("UID FETCH 1:* FLAGS")[0] if b" FETCH (" in a}
            self.assertEqual(known, truth)
            reader.command("UNSELECT")
            uids = sorted(truth)
            writer.command(f"UID STORE {rng.choice(uids)},{rng.choice(uids)} +FLAGS (\\Flagged $k{turn})")
            writer.command(f"UID STORE {rng.choice(uids)} +FLAGS (\\Deleted)")
            writer.command("EXPUNGE")
            writer.append("INBOX", simple(f"later{turn}"))
            writer.command("NOOP")

    def test_qresync_speaks_of_uids(self) -> None:
        c, other = self.client("QRESYNC"), self.client()
        for n in range(9):
            c.append("INBOX", simple(f"n{n}"))
        before = modseq(c.command("SELECT INBOX")[0])
        other.command("SELECT INBOX")
        self.assertIn(b"UID 2", c.fetch("STORE 2 +FLAGS (\\Seen)"))
        other.command("STORE 2:4,7 +FLAGS.SILENT (\\Deleted)")
        c.command("NOOP")
        other.command("EXPUNGE")
        self.assertEqual(vanished(c.command("FETCH 1 FLAGS")[0], False), [], "numbers stand still while they are used")
        answers = c.command("NOOP")[0]
        self.assertEqual(answers, [b"* VANISHED 2:4,7"])
        c.command("STORE 1 +FLAGS.SILENT (\\Deleted)")
        answers, status = c.command("UID EXPUNGE 1")
        self.assertEqual(answers, [b"* VANISHED 1"])
        self.assertIn(b"[HIGHESTMODSEQ ", status)
        answers = c.command(f"UID FETCH 1:5,8:9 FLAGS (VANISHED CHANGEDSINCE {before})")[0]
        self.assertEqual(answers, [b"* VANISHED (EARLIER) 1:4"])
        self.assertEqual(c.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq([status])} VANISHED)")[0], [])
        c.command("STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.assertNotIn(b"HIGHESTMODSEQ", c.command("CLOSE")[1])
        wrong = c.command(f"SELECT INBOX (QRESYNC (77 {before}))")[0]
        self.assertFalse([a for a in wrong if b"VANISHED" in a or b"FETCH" in a], "of another UIDVALIDITY")

    # UIDONLY, PARTIAL

    def test_uidonly_uses_no_numbers(self) -> None:
        c, other = self.client("UIDONLY"), self.client()
        for n in range(5):
            c.append("INBOX", simple(f"n{n}"))
        self.assertNotIn(b"[UNSEEN", b"".join(c.command("SELECT INBOX")[0]))
        for command in ("FETCH 1 FLAGS", "STORE 1 +FLAGS (\\Seen)", "SEARCH ALL", "UID SEARCH NOT 1:2", "COPY 1 INBOX",
                        "MOVE 1 INBOX"):
            self.assertIn(b"[UIDREQUIRED]", c.command(command, "BAD")[1])
        other.command("SELECT INBOX")
        other.command("STORE 1 +FLAGS (\\Deleted)")
        self.assertRegex(c.command("NOOP")[0][0], rb"^\* 1 UIDFETCH \(UID 1 FLAGS")
        other.command("EXPUNGE")
        self.assertEqual(c.command("NOOP")[0], [b"* VANISHED 1"])
        self.assertRegex(c.command("UID FETCH 3 (FLAGS)")[0][0], rb"^\* 3 UIDFETCH \(")
        self.assertRegex(c.command("UID STORE 4 +FLAGS (\\Seen)")[0][0], rb"^\* 4 UIDFETCH \(UID 4 FLAGS")
        c.command("UID STORE 5 +FLAGS.SILENT (\\Deleted)")
        self.assertEqual(c.command("EXPUNGE")[0], [b"* VANISHED 5"])
        self.assertEqual(numbers(c.command("UID SEARCH UID 1:9")[0][0].split(b"SEARCH ")[1].replace(b" ", b",")), [2, 3, 4])
        c.command("ENABLE QRESYNC")
        mixed = self.client("UIDONLY QRESYNC")
        self.assertIn(b"[UIDREQUIRED]", mixed.command("SELECT INBOX (QRESYNC (1 1 1:9 (1 1)))", "BAD")[1])

    def test_a_part_of_the_answers(self) -> None:
        c = self.client()
        for n in range(6):
            c.append("INBOX", simple(f"n{n}"))
        high = modseq(c.command("SELECT INBOX")[0])
        c.command("STORE 2 +FLAGS (\\Deleted)")
        c.command("EXPUNGE")  # left: 1, 3, 4, 5, 6

        def uids(modifier: str, which: str = "1:*") -> list[int]:
            return [int(n) for n in re.findall(rb"UID (\d+)", c.fetch(f"UID FETCH {which} (FLAGS) ({modifier})"))]
        self.assertEqual(uids("PARTIAL 1:2"), [1, 3])
        self.assertEqual(uids("PARTIAL 4:100"), [5, 6])
        self.assertEqual(uids("PARTIAL -1:-2"), [5, 6])
        self.assertEqual(uids("PARTIAL -4:-2"), [3, 4, 5])
        self.assertEqual(uids("PARTIAL 6:9"), [])
        self.assertEqual(uids("PARTIAL 2:3", "3:5"), [4, 5])
        c.command("UID STORE 3,6 +FLAGS (\\Seen)")
        self.assertEqual(uids(f"PARTIAL -1:-2 CHANGEDSINCE {high}"), [6])
        c.command("FETCH 1:* FLAGS (PARTIAL 1:2)", "BAD")

    # NOTIFY

    def test_notify_tells_of_the_selected_mailbox_unasked(self) -> None:
        other = self.client()
        other.append("INBOX", simple("old"))
        c = self.client("", "INBOX")
        other.append("INBOX", simple("before"))
        untagged, _ = c.command("NOTIFY SET (selected (MessageNew (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)]) "
                                "MessageExpunge FlagChange))")
        self.assertIn(b"* 2 EXISTS", untagged, "what has gathered is told first")
        other.append("INBOX", simple("new one"), "\\Flagged")
        self.assertEqual(c.hear_until(rb"EXISTS"), b"* 3 EXISTS")
        told = c.hear_until(rb"FETCH")
        self.assertRegex(told, rb"(?s)^\* 3 FETCH \(UID 3 FLAGS \(\\Flagged\) BODY\[HEADER.FIELDS \(SUBJECT\)\] .*new one")
        other.command("SELECT INBOX")
        other.command("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        self.assertRegex(c.hear_until(rb"FETCH"), rb"^\* 1 FETCH \(UID 1 FLAGS \(\\Deleted\)")
        c.hear_until(rb"\* 2 FETCH")
        other.command("EXPUNGE")
        self.assertEqual([c.hear_until(rb"EXPUNGE"), c.hear_until(rb"EXPUNGE")], [b"* 2 EXPUNGE", b"* 1 EXPUNGE"])
        c.append("INBOX", simple("my own"))
        self.assertFalse([a for a in c.command("NOOP")[0] if b"FETCH" in a], "of one's own message nothing but EXISTS")
        self.assertNotIn(b"\\Seen", c.fetch("FETCH 1:* FLAGS"))
        # Without FlagChange, and with expunges when a command asks.
        c.command("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
        other.command("NOOP")
        other.command("STORE 1 +FLAGS (\\Deleted $Unheard)")
        other.command("EXPUNGE")
        other.append("INBOX", simple("last"))
        self.assertEqual(c.hear_until(rb"\* "), b"* 3 EXISTS", "the expunged one still counts")
        self.assertEqual(c.command("FETCH 2 FLAGS")[0][-1:], c.command("FETCH 2 FLAGS")[0][-1:])
        self.assertEqual([a for a in c.command("NOOP")[0] if b"FETCH" in a or b"EXPUNGE" in a], [b"* 1 EXPUNGE"])
        c.command("NOTIFY NONE")
        other.append("INBOX", simple("unheard"))
        self.assertEqual(c.command("NOOP")[0], [])
        # It waits until the client wants to hear of its mailbox again.
        c.command("NOTIFY SET (selected (MessageNew MessageExpunge))")
        self.assertTrue(any(a.endswith(b" EXISTS") for a in c.command("NOOP")[0]))

    def test_notify_tells_of_other_mailboxes(self) -> None:
        other = self.client()
        for name in ("Lists", "Lists/a", "Quiet"):
            other.command(f"CREATE {name}")
        c = self.client("CONDSTORE", "INBOX")
        self.assertIn(b"[BADEVENT (MessageNew ", c.command("NOTIFY SET (personal (Rumour))", "NO")[1])
        c.command("NOTIFY SET (personal (FlagChange))", "BAD")
        untagged, _ = c.command("NOTIFY SET STATUS (subtree Lists (MessageNew MessageExpunge FlagChange)) "
                                "(personal (MailboxName SubscriptionChange))")
        self.assertEqual([re.sub(rb"\d+", b"n", a) for a in untagged],
                         [b"* STATUS %s (MESSAGES n UIDNEXT n UIDVALIDITY n HIGHESTMODSEQ n)" % name
                          for name in (b"Lists", b"Lists/a")])
        other.append("Quiet", simple("unheard"))
        other.append("Lists/a", simple("heard"))
        self.assertRegex(c.hear_until(rb"\* "), rb"^\* STATUS Lists/a \(MESSAGES 1 UIDNEXT 2 HIGHESTMODSEQ \d+\)")
        other.command("SELECT Lists/a")
        other.command("STORE 1 +FLAGS (\\Seen \\Deleted)")
        self.assertRegex(c.hear_until(rb"\* "),
                         rb"^\* STATUS Lists/a \(UIDVALIDITY \d+ UNSEEN 0 HIGHESTMODSEQ \d+\)")
        other.command("EXPUNGE")
        self.assertRegex(c.hear_until(rb"\* "), rb"^\* STATUS Lists/a \(MESSAGES 0 UIDNEXT 2 HIGHESTMODSEQ \d+\)")
        other.command("CREATE Lists/b")
        self.assertEqual([c.hear_until(rb"\* "), c.hear_until(rb"\* ")],
                         [b'* LIST (\\HasNoChildren) "/" Lists/b', b'* LIST (\\HasChildren) "/" Lists'])
        other.command("RENAME Lists News")
        self.assertEqual(c.hear_until(rb"\* "), b'* LIST (\\HasChildren) "/" News ("OLDNAME" (Lists))'.replace(b"(Lists)", b'("Lists")'))
        other.command("DELETE News/a")
        self.assertEqual([c.hear_until(rb"\* "), c.hear_until(rb"\* ")],
                         [b'* LIST (\\NonExistent \\HasNoChildren) "/" News/a', b'* LIST (\\HasChildren) "/" News'])
        other.command("SUBSCRIBE News")
        self.assertEqual(c.hear_until(rb"\* "), b'* LIST (\\HasChildren \\Subscribed) "/" News')
        c.command("CREATE Mine")
        other.append("INBOX", simple("not of the selected one"))
        self.assertEqual(c.command("NOOP")[0], [], "neither what it did itself, nor what it did not ask for")
        c.idle()
        other.command("DELETE Mine")
        self.assertEqual(c.hear_until(rb"\* "), b'* LIST (\\NonExistent \\HasNoChildren) "/" Mine')
        c.send(b"DONE\r\n")
        c.hear_until(rb"^i1 OK")
        # RFC 5465 section 5: mod-sequences of messages to who enabled CONDSTORE, of flags to all.
        plain = self.client()
        for of, enabled in (((plain, False), (c, True))):
            for events, told in (("MessageNew MessageExpunge", enabled), ("MessageNew MessageExpunge FlagChange", True)):
                untagged, _ = of.command(f"NOTIFY SET STATUS (mailboxes Quiet ({events}))")
                self.assertEqual([b"HIGHESTMODSEQ" in a for a in untagged], [told], (enabled, events))
        c.command("NOTIFY SET (mailboxes (INBOX) (MailboxMetadataChange)) (personal (ServerMetadataChange))")
        other.command('SETMETADATA INBOX (/private/comment "x")')
        self.assertEqual(c.hear_until(rb"\* "), b"* METADATA INBOX /private/comment")
        other.command('SETMETADATA News (/private/comment "x")')
        other.command('SETMETADATA "" (/private/comment "x")')
        self.assertEqual(c.hear_until(rb"\* "), b'* METADATA "" /private/comment')
