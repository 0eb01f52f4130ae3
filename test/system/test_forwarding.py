# SPDX-License-Identifier: AGPL-3.0-or-later
"""A member's mail sent on elsewhere: by her own wish alone, sealed so that the next server can judge it, and never in a circle."""

import base64
import collections
import contextlib
import dataclasses
import json
import pathlib
import random
import re
import subprocess
import tempfile
import unittest

from harness.cohue import Cohue
from harness.sink import Sink
from harness.wait import wait_until
from peers import Knot, peers_available
from test_authentication import SIGNER, message, strings

# Debian's modules belong to Debian's Python.
VERIFIER = """
import base64, json, logging, sys
import dkim
logging.disable(logging.CRITICAL)
asked = json.load(sys.stdin)
def txt(name, timeout=5):
    return asked["records"].get(name.decode().rstrip(".").lower(), "").encode()
octets = base64.b64decode(asked["message"])
cv, sets, why = dkim.arc_verify(octets, dnsfunc=txt)
fields = (b"\\r\\n" + octets).partition(b"\\r\\n\\r\\n")[0].lower().count(b"\\r\\ndkim-signature:")
good = [bool(dkim.DKIM(octets).verify(idx=i, dnsfunc=txt)) for i in range(fields)]
json.dump({"arc": (cv or b"").decode(), "why": str(why), "sets": len(sets), "dkim": good}, sys.stdout)
"""
DNS = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.20"


class Forwarding(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        peers_available()
        cls.open = []
        try:
            cls.begin()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        while cls.open:
            part = cls.open.pop()
            part.cleanup() if hasattr(part, "cleanup") else part.__exit__(None, None, None)

    @classmethod
    def begin(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.open.append(folder)
        cls.key = pathlib.Path(folder.name, "key.pem")
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
        cls.key.write_bytes(pem)
        der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True)
        cls.record = "v=DKIM1; k=rsa; p=" + base64.b64encode(der.stdout).decode()
        signed = f"s1._domainkey TXT {strings(cls.record)}"
        cls.sink = Sink()
        cls.sink.__enter__()
        cls.open.append(cls.sink)
        cls.house = Cohue(settings={"authentication": "enforce", "smarthost": f"127.0.0.1:{cls.sink.port}",
                                    "limits.sending_messages": "2", "limits.message_size": "64 KiB"})
        cls.open.append(cls.house)
        cls.house.init()
        cls.ours = {r["name"].rstrip(".").lower(): "".join(re.findall(r'"([^"]*)"', r["value"]))
                    for r in cls.house.cli_json("dns") if "._domainkey." in r["name"]}
        zones = {"author.test": [signed, '_dmarc TXT "v=DMARC1; p=reject"', '@ TXT "v=spf1 -all"'],
                 "apart.test": ['_dmarc TXT "v=DMARC1; p=quarantine"'],
                 "list.test": [signed], "free.test": ['@ TXT "v=spf1 ?all"'],
                 "house.test": [f"{name}. TXT {strings(value)}" for name, value in cls.ours.items()]}
        cls.knot = Knot(zones, address=DNS, port=53)
        cls.knot.__enter__()
        cls.open.append(cls.knot)
        cls.house.settings |= {"resolver.stub": DNS, "resolver.trust_anchor": cls.knot.anchor}
        cls.house.start()
        for name in ("alice", "bob", "carol", "dora"):
            setattr(cls, name, cls.house.add_member(name))
            if name != "carol":
                cls.house.cli("member", "limit", name, "none")
        cls.forward("alice", "away@peer.test")
        cls.forward("bob", "bob@peer.test")
        cls.forward("carol", "carol@peer.test", "second@other.test")

    @classmethod
    def forward(cls, name: str, *addresses: str) -> None:
        cls.house.cli("member", "forward", name, *addresses, stdin=cls.house.members[name].password + "\n")

    def setUp(self) -> None:
        self.sink.refuse = ""
        self.before = len(self.sink.messages)
        self.before_senders = self.senders()
        self.kept = self.count("not_forwarded")

    def sign(self, octets: bytes, domain: str, kind: str = "dkim") -> bytes:
        return subprocess.run(["/usr/bin/python3", "-c", SIGNER, kind, domain, str(self.key)], input=octets,
                              capture_output=True, check=True).stdout

    def count(self, name: str) -> int:
        rows = self.house.cli_json("status")
        return sum(int(v) for v in re.findall(rf'"{name}": "?(\d+)', json.dumps(rows)))

    def send_to(self, octets: bytes, to: str = "alice", sender: str = "bounce@free.test") -> None:
        with self.house.smtp() as client:
            client.sendmail(sender, [f"{to}@house.test"], octets)

    def sent_on(self, marker: str, count: int = 1) -> bytes:
        """The newest copy at the peer of so many, with this in its subject."""
        def look():
            there = [m for m in self.sink.messages[self.before:] if f"Subject: {marker}".encode() in m]
            return there[-1] if len(there) >= count else None
        return wait_until(look, 20, "the copy at the peer")

    def stays(self, count: int = 1) -> None:
        """It was decided that no copy goes out; the counter says so after all that could."""
        wait_until(lambda: self.count("not_forwarded") >= self.kept + count, 20, "the decision")
        self.assertEqual(len(self.sink.messages), self.before)

    def senders(self) -> collections.Counter:
        """Connections are kept for a while: their order says nothing."""
        return collections.Counter(re.search("<(.*?)>", line)[1] for said in self.sink.sessions for line in said
                                   if line.startswith("MAIL FROM"))

    def assert_sent_as(self, sender: str) -> None:
        self.assertEqual(list(self.senders() - self.before_senders), [sender])

    def verified(self, octets: bytes) -> dict:
        records = self.ours | {f"s1._domainkey.{d}": self.record for d in ("author.test", "list.test")}
        ran = subprocess.run(["/usr/bin/python3", "-c", VERIFIER], capture_output=True, text=True, timeout=60, check=False,
                             input=json.dumps({"records": records, "message": base64.b64encode(octets).decode()}))
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return json.loads(ran.stdout)

    def inbox(self, member, marker: str) -> bytes:
        def look():
            with self.house.imap(member) as imap:
                imap.select("INBOX")
                found = imap.search(None, "HEADER", "Subject", f'"{marker}"')[1][0].split()
                return imap.fetch(found[-1], "(BODY.PEEK[])")[1][0][1] if found else None
        return wait_until(look, 20, f"{marker} of {member.name}", pause=0.2)

    def test_what_is_sent_on_is_sealed_and_its_author_stays_proved(self) -> None:
        self.send_to(self.sign(message("a@author.test", "once"), "author.test"))
        octets = self.sent_on("once")
        self.assert_sent_as("alice+forwarded@house.test")
        said = self.verified(octets)
        self.assertEqual((said["arc"], said["sets"], said["dkim"]), ("pass", 1, [True]), said)
        head = octets.partition(b"\r\n\r\n")[0].decode()
        self.assertIn("cv=none", head)
        self.assertIn("dmarc=pass", head.partition("ARC-Authentication-Results: i=1;")[2])
        self.assertNotRegex(head, "(?m)^Return-Path:")
        self.assertNotIn("d=house.test", re.sub(r"(?ms)^ARC-\S+: .*?\r\n(?=\S)", "", head + "\r\nX: "))
        self.inbox(self.alice, "once")

    def test_a_chain_goes_on(self) -> None:
        listed = self.sign(message("a@author.test", "listed"), "author.test")
        listed = self.sign(b"Authentication-Results: mx.list.test; dmarc=pass header.from=author.test\r\n" + listed,
                           "list.test", "arc")
        self.send_to(listed)
        octets = self.sent_on("listed")
        said = self.verified(octets)
        self.assertEqual((said["arc"], said["sets"], said["dkim"]), ("pass", 2, [True]), said)
        self.assertRegex(octets.decode(), r"ARC-Seal: i=2; a=rsa-sha256; cv=pass")

    def test_a_chain_that_failed_is_called_so_once(self) -> None:
        chain = "".join(f"{name}: i=1; {tags}\r\n" for name, tags in (
            ("ARC-Seal", "a=rsa-sha256; cv=CV; d=x.test; s=s; b=AAAA"),
            ("ARC-Message-Signature", "a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA"),
            ("ARC-Authentication-Results", "x.test; dmarc=pass")))
        for cv, marker, seals in (("none", "broken", ["fail", "none"]), ("fail", "called", ["fail"])):
            octets = chain.replace("CV", cv).encode() + message("a@author.test", marker)
            self.send_to(self.sign(octets, "author.test"))
            head = wait_until(lambda: next((m for m in self.sink.messages if marker.encode() in m), None), 20,
                              marker).split(b"\r\n\r\n")[0].decode()
            self.assertEqual(re.findall(r"(?ms)^ARC-Seal:.*?cv=(\w+)", head), seals)

    def test_a_report_goes_on_without_sender(self) -> None:
        self.send_to(message("mailer@free.test", "report"), sender="")
        self.sent_on("report")
        self.assert_sent_as("")

    def test_nothing_goes_round(self) -> None:
        self.send_to(self.sign(message("a@author.test", "round"), "author.test"))
        first = self.sent_on("round")
        # The peer of one member's sends it to another one, whose peer sends it back.
        self.send_to(first, "bob")
        second = self.sent_on("round", 2)
        said = self.verified(second)
        self.assertEqual((said["arc"], said["sets"], said["dkim"]), ("pass", 2, [True]), said)
        self.before += 2
        self.send_to(second)
        self.stays()
        # What comes back to the address that copies are sent from goes nowhere else.
        forwarded = self.count("forwarded")
        self.send_to(message("mailer@free.test", "comes-back"), "alice+forwarded", sender="")
        self.inbox(self.alice, "comes-back")
        self.assertEqual((len(self.sink.messages), self.count("forwarded")), (self.before, forwarded))

    def test_what_is_set_apart_stays(self) -> None:
        self.send_to(message("a@apart.test", "apart"))
        self.stays()

    def test_no_more_than_she_may_send_herself(self) -> None:
        for n in range(3):
            self.send_to(self.sign(message("a@author.test", f"many-{n}"), "author.test"), "carol")
        self.sent_on("many", 4)
        self.inbox(self.carol, "many-2")
        self.before += 4
        self.stays()

    def test_who_wrote_hears_nothing_of_it_and_the_refusal_comes_to_her(self) -> None:
        self.sink.refuse = "550 5.1.1 nobody of that name"
        self.send_to(self.sign(message("a@author.test", "refused"), "author.test"))
        told = self.inbox(self.alice, "could not be delivered").decode()
        self.assertIn("could not be sent on", told)
        self.assertIn("away@peer.test", told)
        lines = self.house.cli("journal", "alice", stdin=self.alice.password + "\n").stdout
        self.assertIn("A forwarded copy was refused by peer.test", lines)

    def test_a_member_s_letter_goes_on_signed_and_she_does_not_learn_of_it(self) -> None:
        with self.house.smtp(self.dora) as client:
            client.sendmail(self.dora.address, ["bob@house.test"],
                            b"From: dora@house.test\r\nTo: bob@house.test\r\nSubject: within\r\n\r\nwords\r\n")
        octets = self.sent_on("within")
        self.assert_sent_as("bob+forwarded@house.test")
        said = self.verified(octets)
        self.assertEqual((said["sets"], said["dkim"]), (0, [True, True]), said)
        self.assertIn(b"Delivered-To: bob@house.test", octets)
        self.inbox(self.bob, "within")
        self.assertNotIn("peer.test", self.house.cli("journal", "dora", stdin=self.dora.password + "\n").stdout)

    def test_what_finds_no_room_is_refused_to_its_sender_and_nobody_is_written_to(self) -> None:
        erna = self.house.add_member("erna")
        self.house.cli("member", "quota", "erna", "16 KiB")
        with contextlib.ExitStack() as stack:
            # All are accepted before the first is there.
            clients = [stack.enter_context(self.house.smtp()) for _ in range(8)]
            for client in clients:
                client.ehlo()
                client.mail("somebody@free.test")
                self.assertEqual(client.rcpt(erna.address)[0], 250)
            answers = []
            for client in clients:
                noise = base64.encodebytes(random.randbytes(44 << 10)).replace(b"\n", b"\r\n")
                answers.append(client.data(message("a@free.test", "much").partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + noise)[0])
        self.assertEqual(set(answers), {250, 452}, answers)
        self.assertEqual(answers, sorted(answers))
        # What follows is the first that leaves, and the only one.
        self.send_to(self.sign(message("a@author.test", "after"), "author.test"))
        self.sent_on("after")
        self.assertEqual(len(self.sink.messages), self.before + 1)
        self.assert_sent_as("alice+forwarded@house.test")

    def count_inbox(self, member, subject: str) -> int:
        with self.house.imap(member) as imap:
            imap.select("INBOX")
            return len(imap.search(None, "HEADER", "Subject", f'"{subject}"')[1][0].split())

    def test_her_wish_ends_with_the_secret_by_which_it_was_said(self) -> None:
        fay = self.house.add_member("fay")
        row = lambda: next(m for m in self.house.cli_json("member", "list") if m["name"] == "fay")["forwards"]
        secret = lambda *words, word: self.house.cli("member", *words, stdin=word + "\n")
        on = "sent on to another address"
        # Somebody who was shown the first password, and takes the letter about it away.
        secret("forward", "fay", "spy@peer.test", word=fay.password)
        with self.house.imap(fay) as imap:
            imap.select("INBOX")
            for found in imap.search(None, "ALL")[1][0].split():
                imap.store(found, "+FLAGS", "\\Deleted")
            imap.expunge()
        self.assertEqual(self.count_inbox(fay, on), 0)
        # Whatever she changes, she is told again.
        answer = secret("app-password", "fay", word=fay.password).stdout
        own = dataclasses.replace(fay, password=re.search(r"application password: (\S+)", answer)[1])
        again = self.inbox(own, "is still sent on").decode()
        self.assertIn("spy@peer.test", again)
        with self.house.imap(own) as imap:
            entry = imap.xatom("GETMETADATA", '""', "/private/vendor/cohue/forward")
            self.assertEqual(entry[0], "OK")
            self.assertIn(b"spy@peer.test", b"".join(imap.response("METADATA")[1]))
            refused = imap.xatom("SETMETADATA", '""', '(/private/vendor/cohue/forward "")')
            self.assertEqual(refused[0], "NO")
        # And with the secret goes what hung on it.
        ended = secret("app-drop", "fay", "1", word=own.password)
        self.assertIn("not sent on any more", ended.stderr)
        self.assertEqual(row(), [])
        self.inbox(own, "is not sent on any more")
        kept = self.count("forwarded")
        self.send_to(self.sign(message("a@author.test", "quiet"), "author.test"), "fay")
        self.inbox(own, "quiet")
        self.assertEqual((self.count("forwarded"), len(self.sink.messages)), (kept, self.before))
        # The same for the recovery code and the main password; other secrets do not matter.
        code = secret("recovery", "fay", word=own.password).stdout.split("recovery code: ")[1].strip()
        secret("forward", "fay", "her@peer.test", word=code)
        self.house.cli("member", "passwd", "fay", stdin=f"{own.password}\na main password\n")
        self.assertEqual(row(), ["her@peer.test"])
        self.assertIn("not sent on any more", secret("recovery", "fay", word=own.password).stderr)
        self.assertEqual(row(), [])
        secret("forward", "fay", "her@peer.test", word="a main password")
        self.house.cli("member", "passwd", "fay", stdin=f"{own.password}\nanother password\n")
        self.assertEqual(row(), [])

    def test_she_alone_turns_it_on_and_is_told(self) -> None:
        row = lambda: next(m for m in self.house.cli_json("member", "list") if m["name"] == "dora")["forwards"]
        wrong = self.house.cli("member", "forward", "dora", "spy@peer.test", stdin="not hers\n", check=False)
        self.assertNotEqual(wrong.returncode, 0)
        self.assertEqual(row(), [])
        own = self.house.cli("member", "forward", "dora", "alice@house.test", stdin=self.dora.password + "\n", check=False)
        self.assertIn("cohue alias set", own.stderr)
        many = [f"a{n}@peer.test" for n in range(5)]
        self.forward("dora", *many)
        self.assertEqual(row(), many)
        told = self.inbox(self.dora, "sent on to another address").decode()
        self.assertTrue(all(address in told for address in many), told)
        self.house.cli("member", "forward", "dora", "none")
        self.assertEqual(row(), [])
        self.inbox(self.dora, "is not sent on any more")
        with self.house.imap(self.dora) as imap:
            imap.select("INBOX")
            self.assertEqual(len(imap.search(None, "HEADER", "Subject", '"sent on"')[1][0].split()), 2)


if __name__ == "__main__":
    unittest.main()
