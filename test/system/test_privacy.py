# SPDX-License-Identifier: AGPL-3.0-or-later
"""What leaves with a message, read at the other provider: nothing of what real programs tell, threads that hold on both
sides, and signatures that still verify."""

import email
import email.policy
import email.utils
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import Cohue, wait_until
from harness.sink import Sink

LEAKS = pathlib.Path(__file__).resolve().parents[1] / "corpus" / "leaks"
OURS = re.compile(r"<[0-9a-f]{32}@house\.test>")
ALICE = "alice@house.test"


def parse(octets: bytes):
    return email.message_from_bytes(octets, policy=email.policy.SMTP)


def letter(message_id: str, subject: str, more: str = "", body: str = "Hello.\r\n", sender: str = ALICE) -> bytes:
    return (f"From: {sender}\r\nTo: bob@other.test\r\nSubject: {subject}\r\n"
            f"Date: {email.utils.format_datetime(email.utils.localtime())}\r\n"
            f"Message-ID: {message_id}\r\n{more}\r\n{body}").encode()


def body(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[2]


class House(unittest.TestCase):
    settings: dict[str, str] = {}

    @classmethod
    def setUpClass(cls) -> None:
        cls.sink = Sink()
        cls.sink.__enter__()
        cls.house = Cohue(settings={"smarthost": f"127.0.0.1:{cls.sink.port}", "courier.port": str(cls.sink.port),
                                    **cls.settings})
        try:
            cls.house.init()
            cls.house.start()
            cls.alice, cls.bert = cls.house.add_member("alice"), cls.house.add_member("bert")
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.house.destroy()
        cls.sink.__exit__()

    def send(self, octets: bytes, recipients: tuple[str, ...] = ("bob@other.test",)) -> bytes:
        """Submits, and gives what arrived at the other provider."""
        count = len(self.sink.messages)
        with self.house.smtp(self.alice) as client:
            client.sendmail(ALICE, list(recipients), octets)
        wait_until(lambda: len(self.sink.messages) > count, 20, "the delivery")
        return self.sink.messages[-1]

    def boxed(self, member, folder: str, subject: str) -> list[bytes]:
        """All messages with exactly this subject, once there is one."""
        def those():
            with self.house.imap(member) as client:
                client.select(folder, readonly=True)
                _, answer = client.fetch("1:*", "(BODY.PEEK[])")
                found = [part[1] for part in answer if isinstance(part, tuple)]
            return [m for m in found if parse(m)["Subject"] == subject]
        return wait_until(those, 20, f"{subject} in {folder}", pause=0.1)

    def arrive(self, octets: bytes) -> None:
        with self.house.smtp() as client:
            client.sendmail("bob@other.test", [ALICE], octets)


class Programs(House):
    def test_nothing_that_a_program_tells_leaves(self) -> None:
        lists = json.loads((LEAKS / "leaks.json").read_text())
        self.assertEqual({p.stem for p in LEAKS.glob("*.eml")}, set(lists))
        for program, words in lists.items():
            with self.subTest(program):
                octets = (LEAKS / f"{program}.eml").read_bytes()
                got = self.send(octets, ("bob@other.test", "hidden@other.test", self.bert.address))
                local = self.boxed(self.bert, "INBOX", parse(octets)["Subject"])[-1]
                for arrived in (got, local):
                    for word in words:
                        self.assertNotIn(word.encode(), arrived, word)
                    self.assertNotIn(b"127.0.0.1", arrived)
                    self.compare(parse(octets), parse(arrived))

    def compare(self, before, after) -> None:
        """What the author wrote is all there; the house's own line and Date say when, in UTC, and nothing else."""
        for field in ("From", "To", "Subject", "References", "In-Reply-To", "MIME-Version"):
            self.assertEqual((after[field] or "").lower(), (before[field] or "").lower(), field)
        self.assertEqual([p.get_content_type() for p in after.walk()], [p.get_content_type() for p in before.walk()])
        for one, other in zip(before.walk(), after.walk()):
            if not one.is_multipart():
                self.assertEqual(other.get_content(), one.get_content())
                self.assertEqual(other.get_filename(), one.get_filename())
        received = after.get_all("Received")
        self.assertEqual(len(received), 1)
        self.assertRegex(received[0], r"^by mail\.house\.test \(Cohue\)( with ESMTPSA)? id [0-9a-f]+; .* \+0000$")
        self.assertEqual(len(after.get_all("Date")), 1)
        self.assertTrue(after["Date"].endswith(" +0000"))
        self.assertLess(abs(time.time() - email.utils.parsedate_to_datetime(after["Date"]).timestamp()), 90)
        self.assertEqual(len(after.get_all("Message-ID")), 1)
        self.assertTrue(OURS.fullmatch(after["Message-ID"]) or after["Message-ID"] == before["Message-ID"])
        self.assertTrue(set(map(str.lower, after.keys())) <= set(map(str.lower, before.keys())) |
                        {"received", "date", "message-id", "return-path", "dkim-signature"})

    def test_two_destinations_and_a_member_see_the_same_message(self) -> None:
        count = len(self.sink.messages)
        with self.house.smtp(self.alice) as client:
            client.sendmail(ALICE, ["bob@other.test", "eve@third.test"], letter("<1@pc.lan>", "two"))
        wait_until(lambda: len(self.sink.messages) == count + 2, 20, "both")
        one, other = (parse(m) for m in self.sink.messages[-2:])
        for field in ("Date", "Message-ID"):
            self.assertEqual(one[field], other[field])


class Threads(House):
    def test_an_answer_finds_the_sent_copy_and_the_next_answer_finds_both(self) -> None:
        # As her program wrote it, and as its own folder keeps it.
        mine = letter("<20250304101112.GA77@laptop.lan>", "plan")
        first = parse(self.send(mine))
        self.assertRegex(first["Message-ID"], OURS)
        # Her copy on the server carries what the answers will refer to.
        (copy,) = self.boxed(self.alice, "Sent", "plan")
        self.assertEqual(parse(copy)["Message-ID"], first["Message-ID"])
        self.arrive(letter("<answer@other.test>", "Re: plan", f"In-Reply-To: {first['Message-ID']}\r\n"
                           f"References: {first['Message-ID']}\r\n", sender="bob@other.test"))
        (answer,) = self.boxed(self.alice, "INBOX", "Re: plan")
        self.assertEqual(parse(answer)["In-Reply-To"], parse(copy)["Message-ID"])
        # She goes on from her program's own copy, which knows the old identifier alone: Bob's side has one thread all the same.
        third = parse(self.send(letter("<20250304111112.GA78@laptop.lan>", "Re: Re: plan",
                                       "In-Reply-To: <20250304101112.GA77@laptop.lan>\r\nReferences:\r\n"
                                       " <20250304101112.GA77@laptop.lan>\r\n <answer@other.test>\r\n")))
        self.assertEqual(third["In-Reply-To"], first["Message-ID"])
        self.assertEqual(third["References"].split(), [first["Message-ID"], "<answer@other.test>"])
        # And so has the server's copy of it.
        self.assertEqual(parse(self.boxed(self.alice, "Sent", "Re: Re: plan")[0])["References"].split(),
                         [first["Message-ID"], "<answer@other.test>"])

    def test_thread_knows_a_message_by_both_its_names(self) -> None:
        mine = letter("<20250305.trip@laptop.lan>", "trip")
        left = parse(self.send(mine))["Message-ID"]
        self.boxed(self.alice, "Sent", "trip")
        with self.house.imap(self.alice) as client:
            client.create("trips")
            for octets in (mine, letter("<yes@other.test>", "yes", f"In-Reply-To: {left}\r\n"),
                           letter("<no@other.test>", "no", "In-Reply-To: <20250305.other@laptop.lan>\r\n")):
                client.append("trips", None, None, octets)
            client.select("trips", readonly=True)
            self.assertEqual(client.thread("REFERENCES", "UTF-8", "ALL")[1], [b"(1 2)(3)"])

    def test_the_identifier_is_the_same_each_time_and_known_after_a_restart(self) -> None:
        one = parse(self.send(letter("<same@laptop.lan>", "once")))["Message-ID"]
        self.assertEqual(parse(self.send(letter("<same@laptop.lan>", "twice", body="Other.\r\n")))["Message-ID"], one)
        self.house.restart()
        later = parse(self.send(letter("<later@laptop.lan>", "later", "References: <same@laptop.lan> <x@other.test>\r\n")))
        self.assertEqual(later["References"], f"{one} <x@other.test>")

    def test_another_member_with_the_same_identifier_leaves_under_another(self) -> None:
        one = parse(self.send(letter("<1.twin@laptop.lan>", "twin")))["Message-ID"]
        count = len(self.sink.messages)
        with self.house.smtp(self.bert) as client:
            client.sendmail(self.bert.address, ["bob@other.test"], letter("<1.twin@laptop.lan>", "twin", sender=self.bert.address))
        wait_until(lambda: len(self.sink.messages) > count, 20, "the delivery")
        self.assertNotEqual(parse(self.sink.messages[-1])["Message-ID"], one)

    def test_a_client_that_appends_its_own_copy_gets_the_uid_of_ours(self) -> None:
        octets = letter("<own.copy@laptop.lan>", "own copy", "User-Agent: Marker/7\r\n")
        self.send(octets)
        self.boxed(self.alice, "Sent", "own copy")
        with self.house.imap(self.alice) as client:
            client.select("Sent", readonly=True)
            _, found = client.search(None, "SUBJECT", '"own copy"')
            _, uid = client.fetch(found[0], "(UID)")
            said = client.append("Sent", r"(\Seen)", None, octets)
            self.assertIn(re.search(rb"UID (\d+)", uid[0])[1], said[1][0].split(b"]")[0].split())
        self.assertEqual(len(self.boxed(self.alice, "Sent", "own copy")), 1)

    def test_random_identifiers_under_our_domain_stay(self) -> None:
        for stays in ("<8b6f8cf5-9bf1-4373-acbb-d310135d1c4c@house.test>", "<0123456789abcdef0123456789abcdef@house.test>"):
            self.assertEqual(parse(self.send(letter(stays, "stays")))["Message-ID"], stays)

    @unittest.skipUnless(shutil.which("neomutt") and shutil.which("script"), "neomutt is not installed")
    def test_neomutt_on_both_sides_shows_one_thread(self) -> None:
        """Both write with neomutt, which also appends its own copies; both see one thread of all three letters."""
        def mutt(member, mailbox: str, push: str, *arguments: str) -> bytes:
            home = self.house.directory / f"mutt-{member.name}"
            home.mkdir(exist_ok=True)
            (home / "rc").write_text(f"""set folder="imaps://127.0.0.1:{self.house.port(993)}/" spoolfile="+{mailbox}"
set imap_user="{member.address}" imap_pass="{member.password}" smtp_pass="{member.password}" smtp_authenticators="plain"
set smtp_url="smtps://{member.address}@127.0.0.1:{self.house.port(465)}/"
set certificate_file="{home}/certificates" ssl_verify_host=no ssl_verify_dates=no
set from="{member.address}" use_from=yes hostname="laptop.lan" record="+Sent" copy=yes postponed="" header_cache=""
set editor="true" autoedit=yes fast_reply=yes include=yes delete=yes abort_unmodified=no quit=yes wait_key=no sleep_time=0
set sort=threads strict_threads=yes index_format="ROW %T %s" status_on_top=no help=no
push "{push}"
""")
            import ssl
            (home / "certificates").write_text(ssl.get_server_certificate(("127.0.0.1", self.house.port(993))))
            ran = subprocess.run(["timeout", "20", "script", "-qec",
                                  " ".join(["neomutt", "-n", "-F", str(home / "rc"), *arguments]), "/dev/null"], input=b"",
                                 capture_output=True, timeout=30, check=False,
                                 env={**os.environ, "HOME": str(home), "TERM": "xterm", "LINES": "24", "COLUMNS": "100"})
            self.assertEqual(ran.returncode, 0, ran.stdout[-2000:])
            return ran.stdout

        dora, emil = self.house.add_member("dora"), self.house.add_member("emil")
        answer = "<last-entry><display-message><exit><reply><send-message><quit>"
        (self.house.directory / "tea").write_text("Tea at five?\n")
        mutt(dora, "INBOX", "", "-s", "tea", emil.address, f"< {self.house.directory}/tea")
        self.boxed(emil, "INBOX", "tea")
        mutt(emil, "INBOX", answer)
        self.boxed(dora, "INBOX", "Re: tea")
        mutt(dora, "INBOX", answer)
        wait_until(lambda: len(self.boxed(emil, "INBOX", "Re: tea")) == 1, 20, "the last letter")
        for member, sent in ((dora, 2), (emil, 1)):
            self.assertEqual(len(self.house.wait_mail(member, sent, "Sent")), sent, "one copy each")
        thread = [parse(self.house.wait_mail(dora, 2, "Sent")[0]), parse(self.house.wait_mail(dora, 1)[0]),
                  parse(self.house.wait_mail(dora, 2, "Sent")[1])]
        for before, after in zip(thread, thread[1:]):
            self.assertEqual(after["In-Reply-To"], before["Message-ID"])
            self.assertIn(before["Message-ID"], after["References"])
        for m in thread:
            self.assertRegex(m["Message-ID"], OURS)
        # All in one folder, as neomutt draws it: each answer hangs under what it answers.
        for member in (dora, emil):
            with self.house.imap(member) as client:
                client.select("Sent")
                client.copy("1:*", "INBOX")
            shown = mutt(member, "INBOX", "<quit>").decode(errors="replace")
            rows = re.sub(r"\x1b[^a-zA-Z]*[a-zA-Z]", "", shown)
            self.assertRegex(rows, r"(?s)ROW . tea\b.*ROW . └─>.*ROW .   └─>")


@unittest.skipUnless(shutil.which("gpg") and shutil.which("openssl"), "gpg or openssl is missing")
class Signatures(House):
    """Made by gpg and openssl, sent, and verified as they arrived."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.place = tempfile.TemporaryDirectory(prefix="cohue-sign-")
        cls.home = pathlib.Path(cls.place.name)
        cls.home.chmod(0o700)
        cls.gpg("--quick-gen-key", f"Alice <{ALICE}>", "ed25519", "sign", "never")
        fingerprint = re.search(rb"fpr:+([0-9A-F]{40})", cls.gpg("--with-colons", "--list-keys")[1])[1].decode()
        cls.gpg("--quick-add-key", fingerprint, "cv25519", "encr", "never")
        cls.tool("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
                 "-subj", f"/CN=Alice/emailAddress={ALICE}", "-addext", "keyUsage=digitalSignature,keyEncipherment",
                 "-addext", "extendedKeyUsage=emailProtection", "-days", "2")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        subprocess.run(["gpgconf", "--homedir", cls.place.name, "--kill", "all"], check=False)
        super().tearDownClass()
        cls.place.cleanup()

    @classmethod
    def tool(cls, *command: str, stdin: bytes = b"", check: bool = True) -> tuple[int, bytes]:
        ran = subprocess.run(command, input=stdin, capture_output=True, cwd=cls.home, timeout=60, check=False)
        if check and ran.returncode != 0:
            raise AssertionError(f"{command}: {ran.stderr.decode(errors='replace')}")
        return ran.returncode, ran.stdout

    @classmethod
    def gpg(cls, *options: str, stdin: bytes = b"", check: bool = True) -> tuple[int, bytes]:
        return cls.tool("gpg", "--homedir", cls.place.name, "--batch", "--yes", "--passphrase", "", "--pinentry-mode",
                        "loopback", "--trust-model", "always", *options, stdin=stdin, check=check)

    # A part with all that must survive: trailing blanks, dashes, an own boundary with a time, a protected header.
    PART = (b'Content-Type: multipart/mixed; boundary="----=_Part_1_1700000000"; protected-headers="v1"\r\n'
            b"From: Alice <alice@house.test>\r\nSubject: signed\r\nX-Mailer: within the signature\r\n"
            b"Message-ID: <1700000000.1@laptop.lan>\r\nDate: Tue, 14 Nov 2023 23:13:20 +0100\r\n\r\n"
            b"preamble\r\n------=_Part_1_1700000000\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\nHello =E2=82=AC\r\n-- =20\r\nAlice\r\n\r\n"
            b"------=_Part_1_1700000000\r\nContent-Type: text/plain\r\nContent-ID: <20231114@laptop.lan>\r\n"
            b"Content-Disposition: attachment; filename=x; modification-date=\"Tue, 14 Nov 2023 23:00:00 +0100\"\r\n\r\n"
            b".\r\n..\r\nFrom here\r\n------=_Part_1_1700000000--\r\n")

    def signed_mail(self, message_id: str = "<1700000000.1@laptop.lan>", more: str = "") -> bytes:
        signature = self.gpg("--armor", "--detach-sign", stdin=self.PART)[1].replace(b"\n", b"\r\n")
        return letter(message_id, "signed", "User-Agent: Marker/7\r\nMIME-Version: 1.0\r\n" + more +
                      'Content-Type: multipart/signed; micalg=pgp-sha512;\r\n protocol="application/pgp-signature";\r\n'
                      ' boundary="sign_20231114231320"\r\n', "").rstrip(b"\r\n") + b"\r\n\r\n--sign_20231114231320\r\n" \
            + self.PART + b"\r\n--sign_20231114231320\r\nContent-Type: application/pgp-signature; name=signature.asc\r\n\r\n" \
            + signature + b"\r\n--sign_20231114231320--\r\n"

    def pieces(self, octets: bytes) -> list[bytes]:
        """The parts of a multipart, octet by octet."""
        boundary = b"--" + parse(octets).get_boundary().encode()
        return [piece[2:-2] for piece in body(octets).split(boundary)[1:-1]]

    def verifies(self, octets: bytes) -> bool:
        part, signature = self.pieces(octets)
        (self.home / "part").write_bytes(part)
        (self.home / "sig.asc").write_bytes(body(signature))
        return self.gpg("--verify", "sig.asc", "part", check=False)[0] == 0

    def test_openpgp_signatures_verify_and_nothing_signed_is_touched(self) -> None:
        got = self.send(self.signed_mail())
        self.assertTrue(self.verifies(got))
        self.assertEqual(self.pieces(got)[0], self.PART)
        self.assertNotIn(b"Marker/7", got)
        self.assertNotIn(b"sign_20231114231320", got)
        # The signature covers a copy of the identifier: both stay.
        self.assertEqual(parse(got)["Message-ID"], "<1700000000.1@laptop.lan>")
        self.assertFalse(self.verifies(got.replace(b"Hello", b"Hallo")), "the test itself")

    def test_a_mailing_lists_footer_around_a_signed_part_changes_nothing_in_it(self) -> None:
        inner = self.signed_mail()
        at = inner.index(b"Content-Type: multipart/signed")
        octets = (letter("<list@laptop.lan>", "footer", 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="foot"\r\n',
                         "") + b"--foot\r\n" + inner[at:] + b"\r\n--foot\r\nContent-Type: text/plain\r\n\r\nfooter\r\n--foot--\r\n")
        got = self.send(octets)
        part = self.pieces(got)[0]
        self.assertTrue(self.verifies(part))
        self.assertEqual(parse(got)["Message-ID"], "<list@laptop.lan>")

    def test_openpgp_encrypted_mail_opens(self) -> None:
        secret = self.gpg("--armor", "--encrypt", "--sign", "-r", ALICE, stdin=self.PART)[1].replace(b"\n", b"\r\n")
        octets = (letter("<2@laptop.lan>", "...", "MIME-Version: 1.0\r\nContent-Type: multipart/encrypted;\r\n"
                         ' protocol="application/pgp-encrypted"; boundary="enc_1700000000"\r\n', "")
                  + b"--enc_1700000000\r\nContent-Type: application/pgp-encrypted\r\nContent-Description: PGP/MIME\r\n\r\n"
                  b"Version: 1\r\n\r\n--enc_1700000000\r\nContent-Type: application/octet-stream; name=encrypted.asc\r\n\r\n"
                  + secret + b"\r\n--enc_1700000000--\r\n")
        got = self.send(octets)
        self.assertNotIn(b"enc_1700000000", got)
        self.assertEqual(self.gpg("--decrypt", stdin=body(self.pieces(got)[1]))[1], self.PART)

    def test_inline_openpgp_verifies(self) -> None:
        text = self.gpg("--clearsign", stdin=b"Hello.\n- dash\n-- \nAlice \n")[1].replace(b"\n", b"\r\n")
        got = self.send(letter("<3@laptop.lan>", "inline", "Content-Type: text/plain; format=flowed\r\n", "") + text)
        self.assertEqual(self.gpg("--verify", stdin=body(got), check=False)[0], 0)
        self.assertIn(b"\r\nContent-Type: text/plain; format=flowed\r\n", got)

    def smime(self, *options: str, stdin: bytes) -> bytes:
        return self.tool("openssl", "cms", *options, stdin=stdin)[1]

    def test_s_mime_signatures_verify(self) -> None:
        made = self.smime("-sign", "-signer", "cert.pem", "-inkey", "key.pem", "-binary", "-crlfeol", stdin=self.PART)
        made = made.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        got = self.send(letter("<4@laptop.lan>", "smime", "", "").rstrip(b"\r\n") + b"\r\n" + made)
        (self.home / "got.eml").write_bytes(got)
        code, text = self.tool("openssl", "cms", "-verify", "-in", "got.eml", "-CAfile", "cert.pem", "-crlfeol", check=False)
        self.assertEqual(code, 0)
        self.assertEqual(text.replace(b"\r\n", b"\n"), self.PART.replace(b"\r\n", b"\n"))
        self.assertNotEqual(parse(got).get_boundary(), email.message_from_bytes(made).get_boundary())

    def test_s_mime_encrypted_mail_opens(self) -> None:
        made = self.smime("-encrypt", "-binary", "cert.pem", stdin=self.PART).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        got = self.send(letter("<5@laptop.lan>", "enveloped", "", "").rstrip(b"\r\n") + b"\r\n" + made)
        (self.home / "got.eml").write_bytes(got)
        self.assertEqual(self.smime("-decrypt", "-in", "got.eml", "-recip", "cert.pem", "-inkey", "key.pem", stdin=b""), self.PART)

    def test_autocrypt_stays(self) -> None:
        import base64
        key = base64.encodebytes(self.gpg("--export", ALICE)[1]).decode().replace("\n", "\r\n ").rstrip()
        field = f"Autocrypt: addr={ALICE}; prefer-encrypt=mutual; keydata=\r\n {key}\r\n"
        got = self.send(letter("<6@laptop.lan>", "autocrypt", field))
        self.assertIn(field.encode(), got)
        data = "".join(parse(got)["Autocrypt"].partition("keydata=")[2].split())
        self.assertEqual(base64.b64decode(data), self.gpg("--export", ALICE)[1])


class Day(House):
    settings = {"date": "day"}

    def test_only_the_day_is_told(self) -> None:
        date = parse(self.send(letter("<1@laptop.lan>", "day")))["Date"]
        self.assertRegex(date, r" 00:00:00 \+0000$")
        self.assertLess(abs(time.time() - email.utils.parsedate_to_datetime(date).timestamp()), 86400 + 60)


class Keep(House):
    settings = {"date": "keep"}

    def test_the_authors_time_in_utc_unless_it_is_days_off(self) -> None:
        near = time.time() - 7000
        said = email.utils.formatdate(near + 3600, usegmt=False).replace("-0000", "+0100")
        octets = letter("<1@laptop.lan>", "keep")
        octets = re.sub(rb"Date: [^\r]*", b"Date: " + said.encode(), octets)
        self.assertEqual(parse(self.send(octets))["Date"], email.utils.formatdate(near).replace("-0000", "+0000"))
        octets = re.sub(rb"Date: [^\r]*", b"Date: Tue, 04 Mar 2014 10:00:00 +0100", octets).replace(b"<1@", b"<2@")
        got = email.utils.parsedate_to_datetime(parse(self.send(octets))["Date"]).timestamp()
        self.assertLess(abs(time.time() - got), 60)


if __name__ == "__main__":
    unittest.main()
