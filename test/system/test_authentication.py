# SPDX-License-Identifier: AGPL-3.0-or-later
"""Arriving mail, judged by a signed DNS: what is genuine is said to be, what is forged is refused or set apart."""

import base64
import pathlib
import random
import smtplib
import subprocess
import tempfile
import unittest

from harness.cohue import Cohue
from harness.wait import wait_until
from peers import Knot, peers_available

ADDRESS = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.10"
SILENT = ADDRESS[:-2] + "99"  # nobody answers there
SIGNER = """
import dkim, sys
kind, domain, key = sys.argv[1], sys.argv[2].encode(), open(sys.argv[3], "rb").read()
message = sys.stdin.buffer.read()
if kind == "arc":
    field = b"".join(dkim.arc_sign(message, b"s1", domain, key, b"mx." + domain, timestamp=None))
else:
    field = dkim.sign(message, b"s1", domain, key, length=kind == "length")
sys.stdout.buffer.write(field + message)
"""


def strings(text: str) -> str:
    return " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250))


def message(author: str, marker: str, more: str = "", fields: str = "") -> bytes:
    return (f"{fields}From: {author}\r\nTo: alice@house.test\r\nSubject: {marker}\r\n"
            f"Message-ID: <{marker}@elsewhere.test>\r\n\r\nThe words.\r\n{more}").encode()


class Judged(unittest.TestCase):
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
    def begin(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.open.append(folder)
        cls.key = pathlib.Path(folder.name, "key.pem")
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
        cls.key.write_bytes(pem)
        der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True)
        record = strings("v=DKIM1; k=rsa; p=" + base64.b64encode(der.stdout).decode())
        signed = f"s1._domainkey TXT {record}"
        policy = lambda p: f'_dmarc TXT "v=DMARC1; p={p}"'
        zones = {
            "author.test": [signed, policy("reject"), '@ TXT "v=spf1 -all"'],
            "spf.test": ['@ TXT "v=spf1 ip4:127.0.0.0/8 -all"', policy("reject")],
            "apart.test": [policy("quarantine")],
            "free.test": ['@ TXT "v=spf1 ?all"'],
            "list.test": [signed],
            "stranger.test": [signed],
            "bomb.test": ['@ TXT "v=spf1 include:bomb.test include:bomb.test -all"', policy("reject")],
            "big.test": [policy("reject")] + [f'@ TXT "record {n:03} {"x" * 200}"' for n in range(200)],
            "named.test": ['@ TXT "v=spf1 exists:%{l}.users.named.test ip4:127.0.0.2 -all"', policy("reject")],
            "lame.test": ['_dmarc TXT "v=DMARC1; p=none; sp=reject"', "news NS ns.news", f"ns.news A {SILENT}"],
            "mute.test": ["news NS ns.news", f"ns.news A {SILENT}"],
            "forged.test": [policy("reject"), '@ TXT "v=spf1 ip4:127.0.0.0/8 -all"'],
        }
        cls.knot = Knot(zones, address=ADDRESS, port=53, bogus={"forged.test"})
        cls.knot.__enter__()
        cls.open.append(cls.knot)
        cls.house = Cohue(settings={"resolver.stub": ADDRESS, "resolver.trust_anchor": cls.knot.anchor,
                                    "authentication": "enforce", "authentication.arc_trusted": "other.test list.test"})
        cls.house.__enter__()
        cls.open.append(cls.house)
        cls.alice = cls.house.add_member("alice")

    @classmethod
    def tearDownClass(cls) -> None:
        while cls.open:
            part = cls.open.pop()
            part.cleanup() if hasattr(part, "cleanup") else part.__exit__(None, None, None)

    def sign(self, octets: bytes, domain: str, kind: str = "dkim") -> bytes:
        return subprocess.run(["/usr/bin/python3", "-c", SIGNER, kind, domain, str(self.key)], input=octets,
                              capture_output=True, check=True).stdout

    def send(self, octets: bytes, sender: str = "bounce@free.test", source: str = "127.0.0.1") -> None:
        with smtplib.SMTP("127.0.0.1", self.house.port(25), "host.free.test", timeout=60, source_address=(source, 0)) as client:
            client.sendmail(sender, ["alice@house.test"], octets)

    def refused(self, octets: bytes, sender: str = "bounce@free.test", code: int = 550) -> str:
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            self.send(octets, sender)
        self.assertEqual(caught.exception.smtp_code, code)
        return caught.exception.smtp_error.decode()

    def arrived(self, marker: str, folder: str = "INBOX") -> bytes:
        def look():
            with self.house.imap(self.alice) as imap:
                imap.select(folder)
                found = imap.search(None, "HEADER", "Subject", marker)[1][0].split()
                return imap.fetch(found[0], "(BODY.PEEK[])")[1][0][1] if found else None
        return wait_until(look, 20, f"{marker} in {folder}", pause=0.2)

    def results(self, octets: bytes) -> list[str]:
        """Our own Authentication-Results, method by method; there must be one alone."""
        head = octets.split(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").decode(errors="replace").split("\r\n")
        ours = [line for line in head if line.lower().startswith("authentication-results: mail.house.test")]
        self.assertEqual(len(ours), 1, head)
        return [part.strip() for part in ours[0].split(";")[1:]]

    def test_what_is_signed_is_genuine(self) -> None:
        self.send(self.sign(message("a@author.test", "signed"), "author.test"))
        said = self.results(self.arrived("signed"))
        self.assertIn("dmarc=pass header.from=author.test", said)
        self.assertTrue(any(s.startswith("dkim=pass header.d=author.test header.s=s1") for s in said), said)
        self.assertTrue(any(s.startswith("spf=neutral") for s in said), said)

    def test_what_a_sender_permits_is_genuine(self) -> None:
        self.send(message("a@spf.test", "permitted"), "x@spf.test")
        said = self.results(self.arrived("permitted"))
        self.assertIn("spf=pass smtp.mailfrom=x@spf.test", said)
        self.assertIn("dmarc=pass header.from=spf.test", said)

    def test_what_is_forged_is_refused_as_its_domain_asks(self) -> None:
        self.assertIn("DMARC", self.refused(message("a@author.test", "bare")))
        self.assertIn("DMARC", self.refused(message("a@author.test", "otherspf"), "x@spf.test"))
        changed = self.sign(message("a@author.test", "changed"), "author.test").replace(b"words", b"WORDS")
        self.refused(changed)
        foreign = self.sign(message("a@author.test", "foreign"), "stranger.test")
        self.refused(foreign)
        # Everybody may append behind a length.
        self.refused(self.sign(message("a@author.test", "length"), "author.test", "length") + b"Buy this.\r\n")

    def test_a_signed_field_has_no_second_one_beside_it(self) -> None:
        # The signature and the seal over the first one hold; readers are shown what stands on top.
        for evil in (b"Subject: EVIL\r\n", b"To: evil@spf.test\r\n", b"Content-Type: text/html\r\n" * 2):
            with self.subTest(evil):
                self.assertIn("DMARC", self.refused(evil + self.sign(message("a@author.test", "doubled"), "author.test")))
                self.assertIn("DMARC", self.refused(evil + self.listed("list.test", "doubled", "pass")))

    def test_what_is_to_be_set_apart_goes_to_junk(self) -> None:
        self.send(message("a@apart.test", "apart"))
        said = self.results(self.arrived("apart", "Junk"))
        self.assertTrue(any(s.startswith("dmarc=fail") for s in said), said)

    def test_an_author_that_a_reader_could_misread_is_refused(self) -> None:
        for author in ("a@author.test\r\nFrom: b@spf.test", "a@spf.test, b@author.test"):
            self.assertIn("From", self.refused(message(author, "two"), "x@spf.test"))

    def test_results_that_claim_to_be_ours_are_removed(self) -> None:
        forged = ("Authentication-Results: mail.house.test; dmarc=pass header.from=bank.test\r\n"
                  "Authentication-Results: (a) MAIL.HOUSE.TEST 1; spf=pass\r\n"
                  "Authentication-Results: (;) mail.house.test; dmarc=pass header.from=bank.test\r\n"
                  "Authentication-Results: (a(b;)c) mail.house.test 1; dmarc=pass header.from=bank.test\r\n"
                  "Authentication-Results: (\\;) \"mail.house.test\"; dmarc=pass header.from=bank.test\r\n"
                  "Authentication-Results: mail(x).house.test; dmarc=pass header.from=bank.test\r\n"
                  "Authentication-Results: mail\u3002house.test; dmarc=pass header.from=bank.test\r\n"
                  "Authentication-Results: elsewhere.test; spf=pass\r\n")
        self.send(message("a@free.test", "claims", fields=forged))
        octets = self.arrived("claims")
        self.assertIn("dmarc=none header.from=free.test", self.results(octets))
        self.assertNotIn(b"bank.test", octets)
        self.assertIn(b"Authentication-Results: elsewhere.test; spf=pass", octets)

    def listed(self, domain: str, marker: str, then: str) -> bytes:
        """As a mailing list passes it on: judged, changed, sealed."""
        judged = (f"Authentication-Results: mx.{domain}; dmarc={then} header.from=author.test\r\n").encode()
        return self.sign(judged + message("a@author.test", marker, "-- \r\nThe list\r\n"), domain, "arc")

    def test_a_list_that_is_trusted_may_change_what_it_sends(self) -> None:
        self.send(self.listed("list.test", "listed", "pass"))
        said = self.results(self.arrived("listed"))
        self.assertTrue(any(s.startswith("arc=pass") for s in said), said)
        self.assertTrue(any(s.startswith("dmarc=fail") for s in said), said)
        # Nobody else may, and the list not where it saw no pass itself.
        self.refused(self.listed("stranger.test", "sealed", "pass"))
        self.refused(self.listed("list.test", "failed", "fail"))
        self.refused(self.listed("list.test", "broken", "pass").replace(b"The list", b"The LIST"))

    def test_a_trusted_seal_vouches_for_what_it_wrote_itself_alone(self) -> None:
        # The stranger's set comes first and says that all is well; the list sealed that, and itself saw a failure.
        first = self.listed("stranger.test", "relayed", "pass")
        judged = b"Authentication-Results: mx.list.test; dmarc=fail header.from=author.test\r\n"
        self.refused(self.sign(judged + first, "list.test", "arc"))
        # And it vouches for the author that it saw, not for another one.
        other = message("a@author.test", "renamed", "-- \r\nThe list\r\n")
        judged = b"Authentication-Results: mx.list.test; dmarc=pass header.from=stranger.test\r\n"
        self.refused(self.sign(judged + other, "list.test", "arc"))

    def test_what_is_judged_is_what_is_shown(self) -> None:
        forged = b"From: CEO <a@author.test>\r\nAuthentication-Results: mail.house.test; dmarc=pass\r\nSubject: x\r\n\r\nHi\r\n"
        for first in (b"junk\r\n", b" folded\r\n", b": y\r\n", b"\x80: y\r\n", b"Subject x\r\n", b"From x Thu Jan 1\r\n"):
            with self.subTest(first):
                self.assertIn("header", self.refused(first + forged))
        for author in ("a@author..test", "a@author.test>", "a@[author.test]", "a@(author.test", "=?utf-8?q?a=40author=2Etest?=",
                       '"a@author.test" <a>', "a@author.test@spf.test", "a@author.test: b@spf.test;", "a@author.test x <b@spf.test>",
                       "b@spf.test (a@author.test)", "=?utf-8?q?a=40author=2Etest?= <b@spf.test>"):
            with self.subTest(author):
                self.assertIn("From", self.refused(message(author, "odd"), "x@spf.test"))
        # Octets above 127 that are no text: in an author's domain they name nobody; in a subject or beside an address they may stand.
        raw = message("a@aut-hor.test", "raw")
        self.assertIn("From", self.refused(raw.replace(b"aut-hor", b"aut\xffhor"), "x@spf.test"))
        self.send(message("a@spf.test", "octets").replace(b"a@spf.test", b"\xe4\xff <a@spf.test>", 1), "x@spf.test")
        self.assertIn("dmarc=pass header.from=spf.test", self.results(self.arrived("octets")))
        # A report of an old server: its From names nobody.
        self.send(message("MAILER-DAEMON (Mail Delivery System)", "daemon"), "")
        self.arrived("daemon", "Junk")
        # Whoever claims to be of this house, from outside and without proof.
        self.send(message("bob@house.test", "ours"))
        self.arrived("ours", "Junk")

    def test_hostile_dns_costs_little_and_vouches_for_nobody(self) -> None:
        self.refused(message("a@bomb.test", "bomb"), "x@bomb.test")
        self.refused(message("a@big.test", "big"), "x@big.test")
        # Answers that do not validate say nothing: neither genuine nor forged, and set apart.
        self.send(message("a@forged.test", "bogus"), "x@forged.test")
        said = self.results(self.arrived("bogus", "Junk"))
        self.assertTrue(any(s.startswith("dmarc=temperror") for s in said), said)
        self.assertTrue(any(s.startswith("spf=temperror") for s in said), said)

    def test_who_has_silent_name_servers_is_not_waved_through(self) -> None:
        # The organisation's record says what to do with those below it.
        self.refused(message("ceo@news.lame.test", "lame"), "x@spf.test", 451)
        # Nobody knows what is wanted.
        self.send(message("ceo@news.mute.test", "mute"), "x@spf.test")
        said = self.results(self.arrived("mute", "Junk"))
        self.assertTrue(any(s.startswith("dmarc=temperror") for s in said), said)

    def test_a_record_that_asks_for_the_sender_is_followed_as_far_as_it_goes(self) -> None:
        self.send(message("a@named.test", "further"), "a@named.test", "127.0.0.2")
        self.assertIn("spf=pass smtp.mailfrom=a@named.test", self.results(self.arrived("further")))
        # It might have permitted her, whom we do not ask for.
        self.send(message("a@named.test", "perhaps"), "a@named.test")
        said = self.results(self.arrived("perhaps", "Junk"))
        self.assertTrue(any(s.startswith("spf=neutral") for s in said), said)
        self.assertTrue(any(s.startswith("dmarc=fail") for s in said), said)
        # Another one's record excuses nobody.
        self.refused(message("a@author.test", "excuse"), "a@named.test")
