# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reports of our own to others: off unless asked for; coarse, signed, of nobody; and read by another house."""

import email
import email.policy
import gzip
import json
import random
import re
import smtplib
import socket
import threading
import time
import unittest
import xml.etree.ElementTree

from harness.cohue import Cohue, settle
from harness.sink import Sink
from harness.wait import wait_until
from peers import Knot, peers_available

NET = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
DNS, PEER, PLAIN = f"{NET}.2", f"{NET}.3", f"{NET}.4"
DAY = 8
MEMBERS = 12  # of them at least five are told apart


class Questions:
    """Stands before the name server, and writes down what is asked."""

    def __init__(self, behind: int) -> None:
        self.names: list[str] = []
        self.behind = (DNS, behind)
        self.line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.line.bind((DNS, 53))
        self.whole = socket.create_server((DNS, 53))
        threading.Thread(target=self.pass_on, daemon=True).start()
        threading.Thread(target=self.pass_on_whole, daemon=True).start()

    def note(self, question: bytes) -> None:
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode(errors="replace"))
            at += 1 + question[at]
        self.names.append(".".join(labels).lower())

    def pass_on(self) -> None:
        def answer(question: bytes, asker: tuple) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(5)
                s.sendto(question, self.behind)
                try:
                    self.line.sendto(s.recv(65535), asker)
                except OSError:
                    pass
        while True:
            try:
                question, asker = self.line.recvfrom(65535)
            except OSError:
                return
            self.note(question)
            threading.Thread(target=answer, args=(question, asker), daemon=True).start()

    def pass_on_whole(self) -> None:
        def answer(asker: socket.socket) -> None:
            with asker, socket.create_connection(self.behind, 5) as s:
                asker.settimeout(5)
                try:
                    while head := asker.recv(2, socket.MSG_WAITALL):
                        question = asker.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
                        self.note(question)
                        s.sendall(head + question)
                        size = s.recv(2, socket.MSG_WAITALL)
                        asker.sendall(size + s.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
                except OSError:
                    pass
        while True:
            try:
                asker, _ = self.whole.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(asker,), daemon=True).start()

    def close(self) -> None:
        self.line.close()
        self.whole.close()

    def about_reports(self) -> set[str]:
        """Without what stands between: a resolver asks no more of a name than it must."""
        return {n for n in self.names if n.startswith("_smtp._tls.") or n.endswith("_dmarc.elsewhere.test")}


class Reporting(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        peers_available()
        cls.peer = Cohue(domain="peer.test", hostname="mx.peer.test",
                         settings={"listen": f"127.0.0.1 {PEER}", "dmarc.rua": "reports@peer.test", "authentication": "enforce"})
        cls.addClassCleanup(cls.peer.destroy)
        cls.house = Cohue(settings={"authentication": "enforce", "reports.day": f"{DAY} s"})
        cls.addClassCleanup(cls.house.destroy)
        cls.house.init()
        cls.house.settings["courier.port"] = str(cls.peer.port(25))
        # Its first start makes the keys that are in the DNS from then on.
        cls.house.start()
        keys = {r["name"]: r["value"] for r in cls.house.cli_json("dns") if "._domainkey." in r["name"]}
        cls.members = [cls.house.add_member(f"member{n}") for n in range(MEMBERS)]
        cls.house.stop()
        cls.plain = cls.enterClassContext(Sink(starttls=False, address=PLAIN, port=cls.peer.port(25)))
        cls.knot = cls.enterClassContext(Knot({
            "house.test": [f"{name.removesuffix('.house.test.')} TXT {value}" for name, value in keys.items()]
            + ['_dmarc TXT "v=DMARC1; p=reject"'],
            # The first of its hosts offers no encryption.
            "peer.test": ["@ MX 5 plain", "@ MX 10 mx", f"plain A {PLAIN}", f"mx A {PEER}", '@ TXT "v=spf1 ip4:127.0.0.0/8 -all"',
                          '_dmarc TXT "v=DMARC1; p=none; rua=mailto:reports@peer.test!1m,mailto:x@elsewhere.test"',
                          '_smtp._tls TXT "v=TLSRPTv1; rua=https://peer.test/r,mailto:reports@peer.test"'],
            "elsewhere.test": ["@ MX 10 mx", f"mx A {PLAIN}"],
            "quiet.test": ['@ TXT "v=spf1 ip4:127.0.0.0/8 -all"', '_dmarc TXT "v=DMARC1; p=none; rua=mailto:r@quiet.test"'],
        }, address=DNS))
        cls.questions = Questions(cls.knot.port)
        cls.addClassCleanup(cls.questions.close)
        cls.peer.settings |= {"resolver.stub": DNS, "resolver.trust_anchor": cls.knot.anchor}
        cls.house.settings |= {"resolver.stub": DNS, "resolver.trust_anchor": cls.knot.anchor}
        cls.peer.init()
        cls.peer.start()
        cls.bert = cls.peer.add_member("bert")
        cls.peer.cli("alias", "set", "reports", "bert")

    @staticmethod
    def early_in_a_day() -> None:
        while time.time() % DAY > DAY / 3:
            settle(0.05)  # all of it into one day, as the house counts them

    def arrive(self, domain: str, members: int, count: int) -> None:
        with smtplib.SMTP("127.0.0.1", self.house.port(25), f"mx.{domain}", timeout=60) as client:
            for n in range(count):
                client.sendmail(f"x@{domain}", [m.address for m in self.members[:members]],
                                f"From: a@{domain}\r\nTo: list@{domain}\r\nSubject: {n}\r\n\r\nwords\r\n".encode())

    def leave(self) -> None:
        def send(member) -> None:
            with self.house.smtp(member) as client:
                for n in range(2):
                    client.sendmail(member.address, [self.bert.address], f"From: {member.address}\r\nSubject: {n}\r\n\r\nHi\r\n")
        threads = [threading.Thread(target=send, args=(m,)) for m in self.members]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def test_nothing_is_asked_summed_or_sent_unless_it_is_on_and_then_it_is_coarse(self) -> None:
        self.house.start()
        self.arrive("peer.test", MEMBERS, 20)
        self.leave()
        letters = 2 * MEMBERS
        self.peer.wait_mail(self.bert, letters)
        settle(DAY * 1.7)  # what would have been sent would be here
        self.assertEqual(self.questions.about_reports(), set())
        self.assertEqual(self.sent(), 0)
        self.assertEqual(len(self.peer.wait_mail(self.bert, letters)), letters)
        self.house.stop()

        self.house.settings |= {"reports.dmarc": "on", "reports.tls": "on"}
        self.house.start()
        self.early_in_a_day()
        self.arrive("peer.test", MEMBERS, 20)
        self.arrive("quiet.test", 3, 20)  # few members
        self.leave()
        letters *= 2
        wait_until(lambda: self.sent() >= 2, DAY * 3, "two reports", pause=0.2)
        found = {}
        for octets in self.peer.wait_mail(self.bert, letters + 2):
            letter = email.message_from_bytes(octets, policy=email.policy.SMTP)
            if "Report Domain:" in letter["Subject"]:
                found[letter.get_content_type()] = (letter, octets)
        self.assertEqual(set(found), {"multipart/mixed", "multipart/report"})
        self.aggregate(*found["multipart/mixed"])
        self.tls(*found["multipart/report"])
        # The other house believes what it reads, since it is signed: none is `unproved`.
        said = self.peer.cli_json("reports")
        self.assertNotIn("void", said)
        self.assertEqual(set(said), {"dmarc", "pass_from", "tls", "tls_failed"})
        self.assertEqual(set(said["pass_from"]), {"127.0.0.0/24"})
        self.assertEqual(set(said["tls_failed"]), {"starttls"})
        # Of the domain of few members nothing was asked, and who did not say that he takes them got none.
        asked = self.questions.about_reports()
        self.assertEqual({n for n in asked if n.startswith("_smtp")}, {"_smtp._tls.peer.test"})
        self.assertTrue(any(n.endswith("_dmarc.elsewhere.test") for n in asked), asked)
        self.assertEqual(self.sent(), 2)
        self.assertEqual(self.plain.messages, [])

    def sent(self) -> int:
        return next(r for r in self.house.cli_json("status") if r.get("role", r.get("name", "")).startswith("courier"))["reports_to_others"]

    def common(self, letter: email.message.EmailMessage, octets: bytes, kind: str, ending: str) -> bytes:
        self.assertEqual(letter["Return-Path"], "<>")
        self.assertEqual(letter["From"], "noreply-reports@house.test")
        self.assertEqual(letter["Auto-Submitted"], "auto-generated")
        self.assertIn("dmarc=pass header.from=house.test", letter["Authentication-Results"].replace("\r\n\t", " "))
        self.assertRegex(letter["Subject"], r"^Report Domain: peer\.test Submitter: house\.test Report-ID: <\w+@house\.test>$")
        part = next(p for p in letter.walk() if p.get_content_type() == kind)
        self.assertRegex(part.get_filename(), rf"^house\.test!peer\.test!\d+!\d+\.{ending}\.gz$")
        text = gzip.decompress(part.get_payload(decode=True))
        for private in (*(m.name for m in self.members), "bert", "quiet"):
            self.assertNotIn(private.encode(), text + octets.partition(b"\r\n\r\n")[2])
        return text

    def aggregate(self, letter: email.message.EmailMessage, octets: bytes) -> None:
        text = self.common(letter, octets, "application/gzip", "xml")
        tree = xml.etree.ElementTree.fromstring(text)
        self.assertEqual([r.findtext("row/source_ip") for r in tree.findall("record")], ["127.0.0.0"])
        self.assertEqual([r.findtext("row/count") for r in tree.findall("record")], ["16"])
        self.assertEqual(tree.findtext("record/identifiers/header_from"), "peer.test")
        self.assertEqual((tree.findtext("record/row/policy_evaluated/dkim"), tree.findtext("record/row/policy_evaluated/spf")),
                         ("fail", "pass"))
        self.assertEqual(tree.findtext("policy_published/p"), "none")

    def tls(self, letter: email.message.EmailMessage, octets: bytes) -> None:
        self.assertEqual((letter["TLS-Report-Domain"], letter["TLS-Report-Submitter"]), ("peer.test", "house.test"))
        self.assertRegex(letter["Content-Type"], 'report-type="?tlsrpt"?')
        said = json.loads(self.common(letter, octets, "application/tlsrpt+gzip", "json"))
        policy, = said["policies"]
        self.assertEqual(policy["policy"], {"policy-type": "no-policy-found", "policy-domain": "peer.test"})
        self.assertEqual(policy["failure-details"], [{"result-type": "starttls-not-supported", "failed-session-count": 16}])
        self.assertGreater(policy["summary"]["total-successful-session-count"], 0)
        self.assertTrue(re.fullmatch(r"house\.test", said["organization-name"]))


if __name__ == "__main__":
    unittest.main()
