# SPDX-License-Identifier: AGPL-3.0-or-later
"""The members' door: TLS and login on 465, 587 and 993, who may send as whom, and what becomes of a message."""

import base64
import email
import email.policy
import random
import re
import shutil
import smtplib
import ssl
import subprocess
import unittest

from harness import Cohue, Dialogue, smtp_login, tls_context, wait_until


def letter(sender: str, to: str, subject: str, body: str = "Hello.\r\n", more: str = "") -> bytes:
    return (f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{more}\r\n{body}").encode()


def plain(name: str, password: str, authzid: str = "") -> str:
    return base64.b64encode(f"{authzid}\0{name}\0{password}".encode()).decode()


class Submission(unittest.TestCase):
    seconds = 10

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue(settings={"limits.message_size": "1 MiB", "limits.recipients": "100"})
        try:
            cls.cohue.init()
            cls.cohue.start()
            cls.alice, cls.bert, cls.clara = (cls.cohue.add_member(n) for n in ("alice", "bert", "clara"))
            cls.cohue.cli("alias", "set", "team", "bert", "clara")
            cls.cohue.cli("alias", "set", "ally", "alice")
        except BaseException:
            cls.cohue.destroy()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    def test_one_full_mailbox_is_told_at_its_recipient_and_in_a_list_stops_nobody(self) -> None:
        full = self.cohue.add_member("full")
        self.cohue.cli("alias", "set", "pair", "full", "clara")
        noise = base64.encodebytes(random.Random(5).randbytes(40000)).replace(b"\n", b"\r\n")
        with smtplib.SMTP("127.0.0.1", self.cohue.port(25), timeout=20) as stranger:
            stranger.sendmail("bob@other.test", [full.address], letter("bob@other.test", full.address, "much") + noise)
            self.assertEqual(len(self.find(full, "much")), 1)
            self.cohue.cli("member", "quota", "full", "16 KiB")
            stranger.mail("bob@other.test")
            code, text = stranger.rcpt(full.address)
            self.assertEqual((code, text[:5]), (452, b"4.2.2"))
            self.assertEqual(stranger.rcpt(self.alice.address)[0], 250)
            self.assertEqual(stranger.rcpt(f"pair@{full.address.partition('@')[2]}")[0], 250)
            stranger.rset()
            with smtp_login(self.cohue.port(465), self.alice.address, self.alice.password) as client:
                client.mail(self.alice.address)
                self.assertEqual(client.rcpt(full.address)[0], 452)
            self.cohue.cli("member", "quota", "full", "none")
            stranger.mail("bob@other.test")
            self.assertEqual(stranger.rcpt(full.address)[0], 250)

    def find(self, member, subject: str, folder: str = "INBOX", count: int = 1):
        """The messages with that subject, once there are so many."""
        def those():
            client = self.cohue.imap(member)
            try:
                client.select(folder, readonly=True)
                _, found = client.search(None, "SUBJECT", f'"{subject}"')
                numbers = found[0].split()
                if len(numbers) < count:
                    return None
                parts = [client.fetch(n, "(FLAGS BODY.PEEK[])")[1] for n in numbers]
                return [next(p for p in answer if isinstance(p, tuple))[1] for answer in parts]
            finally:
                client.logout()
        raw = wait_until(those, 20, f"{count} of {subject!r} in {folder} of {member.name}", pause=0.1)
        self.assertEqual(len(raw), count)
        return [email.message_from_bytes(r, policy=email.policy.default) for r in raw]

    def submit(self, octets: bytes, to: list[str], sender: str | None = None, **more) -> None:
        with self.cohue.smtp(self.alice) as client:
            client.sendmail(sender or self.alice.address, to, octets, **more)

    def refused(self, octets: bytes, sender: str | None = None) -> tuple[int, bytes]:
        with self.cohue.smtp(self.alice) as client:
            with self.assertRaises(smtplib.SMTPResponseException) as caught:
                client.sendmail(sender or self.alice.address, [self.bert.address], octets)
            return caught.exception.smtp_code, caught.exception.smtp_error

    # TLS and login

    def test_login_is_offered_under_tls_only(self) -> None:
        with Dialogue(self.cohue.port(587)) as d:
            self.assertEqual(d.hear()[0], 220)
            _, text = d.say("EHLO client.test", 250)
            self.assertIn("STARTTLS", text)
            self.assertNotIn("AUTH", text)
            self.assertEqual(d.say("AUTH PLAIN " + plain(self.alice.address, self.alice.password))[0], 538)
            d.say("STARTTLS", 220)
            d.start_tls()
            _, text = d.say("EHLO client.test", 250)
            # The last line counts for those who keep one alone: it must be the one without what they may not be able to do.
            self.assertEqual(re.findall(r"^AUTH .*$", text, re.M), ["AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN", "AUTH SCRAM-SHA-256 PLAIN LOGIN"])
            self.assertNotIn("STARTTLS", text)
            d.say("AUTH PLAIN " + plain(self.alice.address, self.alice.password), 235)
            d.say("NOOP", 250)
            d.say("QUIT", 221)

    def test_login_mechanisms_on_implicit_tls(self) -> None:
        for mechanism in ("PLAIN", "LOGIN"):
            with Dialogue(self.cohue.port(465), tls=True) as d:
                d.hear()
                d.say("EHLO client.test", 250)
                if mechanism == "PLAIN":
                    d.say("AUTH PLAIN", 334)
                    d.say(plain(self.alice.address, self.alice.password, self.alice.address), 235)
                else:
                    d.say("AUTH LOGIN", 334)
                    d.say(base64.b64encode(self.alice.address.encode()), 334)
                    d.say(base64.b64encode(self.alice.password.encode()), 235)
                d.say("QUIT", 221)

    def test_letters_wait_as_the_member_or_the_letter_says(self) -> None:
        self.cohue.cli("member", "lane", "clara", "patient")
        try:
            for lane, more, options in (("patient", "", ()), ("urgent", "X-Priority: 1 (Highest)\r\n", ()),
                                        ("normal", "Importance: normal\r\n", ()), ("urgent", "", ("HOLDFOR=1",)),
                                        ("normal", "X-Priority: 1\r\n", ("MT-PRIORITY=0",))):
                with self.cohue.smtp(self.clara) as server:
                    server.ehlo("client")
                    self.assertTrue(server.has_extn("futurerelease"))
                    self.assertTrue(server.has_extn("mt-priority"))
                    server.sendmail(self.clara.address, [self.bert.address],
                                    letter(self.clara.address, self.bert.address, "laned", more=more), options)
                client = self.cohue.imap(self.clara)
                try:
                    client.select("Journal", readonly=True)
                    _, parts = client.fetch("1:*", "(BODY.PEEK[TEXT])")
                    lanes = [line for part in parts if isinstance(part, tuple)
                             for line in part[1].decode().splitlines() if line.startswith("Its lane: ")]
                    self.assertIn(f"Its lane: {lane}", lanes[-1])
                finally:
                    client.logout()
        finally:
            self.cohue.cli("member", "lane", "clara", "normal")
        for octets in self.find(self.bert, "laned", count=5):
            self.assertEqual([octets["X-Priority"], octets["Importance"]], [None, None])
        wrong = self.cohue.cli("member", "lane", "clara", "slow", check=False)
        self.assertIn("normal, urgent or patient", wrong.stderr)

    def test_the_journal_is_hers_and_unlisted_until_she_wants_it(self) -> None:
        with self.cohue.smtp(self.alice) as server:
            server.sendmail(self.alice.address, [self.bert.address], letter(self.alice.address, self.bert.address, "noted"))
        client = self.cohue.imap(self.alice)
        try:
            names = lambda: [line.decode().split('"/" ')[1].strip('"') for line in client.list()[1]]
            self.assertNotIn("Journal", names())
            self.assertEqual(client.select("Journal", readonly=True)[0], "OK")
            _, found = client.search(None, "SUBJECT", '"Waits"', "SEEN")
            self.assertGreaterEqual(len(found[0].split()), 1)
            _, parts = client.fetch(found[0].split()[-1], "(BODY.PEEK[])")
            line = email.message_from_bytes(parts[0][1], policy=email.policy.default)
            self.assertEqual(line["Cohue-Event"], "submitted")
            self.assertIn("64 KiB", line.get_content())
            self.assertNotIn(self.bert.address, parts[0][1].decode())
            client.unselect()
            self.assertEqual(client.create("Journal")[0], "OK")
            self.assertIn("Journal", names())
            self.assertEqual(client.create("Journal")[0], "NO")
            self.assertEqual(client.delete("Journal")[0], "OK")
            self.assertNotIn("Journal", names())
            self.assertEqual(client.select("Journal", readonly=True)[0], "OK")
        finally:
            client.logout()
        lines = self.cohue.cli_json("journal", "alice", stdin=self.alice.password + "\n")
        self.assertIn("submitted", [l["event"] for l in lines])
        self.assertIn("Waits", self.cohue.cli("journal", "alice", stdin=self.alice.password + "\n").stdout)
        refused = self.cohue.cli("journal", "alice", stdin=self.bert.password + "\n", check=False)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("wrong name or password", refused.stderr)

    def test_nobody_logs_in_as_another(self) -> None:
        with Dialogue(self.cohue.port(465), tls=True) as d:
            d.hear()
            d.say("EHLO client.test", 250)
            d.say("AUTH PLAIN " + plain(self.alice.address, self.alice.password, self.bert.address), 535)

    def test_a_wrong_password_and_an_unknown_name_sound_alike(self) -> None:
        said = []
        for name, password in ((self.clara.address, "wrong-password"), ("nobody@house.test", "wrong-password")):
            with Dialogue(self.cohue.port(465), tls=True) as d:
                d.hear()
                d.say("EHLO client.test", 250)
                said.append(d.say("AUTH PLAIN " + plain(name, password)))
        self.assertEqual(said[0][0], 535)
        self.assertEqual(said[0], said[1])

    def test_members_speak_tls_1_3(self) -> None:
        for port in (465, 993):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                Dialogue(self.cohue.port(port), tls=True,
                         context=tls_context(maximum=ssl.TLSVersion.TLSv1_2)).read_line()

    def test_what_is_pipelined_behind_starttls_is_thrown_away(self) -> None:
        with Dialogue(self.cohue.port(587)) as d:
            d.hear()
            d.say("EHLO client.test", 250)
            d.send(b"STARTTLS\r\nNOOP\r\nMAIL FROM:<mallory@evil.test>\r\n")
            self.assertEqual(d.hear()[0], 220)
            d.start_tls()
            # The first answer under TLS is that to the first command under TLS.
            self.assertIn("AUTH", d.say("EHLO client.test", 250)[1])

    def test_nothing_is_relayed_before_login(self) -> None:
        with Dialogue(self.cohue.port(465), tls=True) as d:
            d.hear()
            d.say("EHLO client.test", 250)
            for command in ("MAIL FROM:<alice@house.test>", "RCPT TO:<bert@house.test>", "DATA"):
                self.assertEqual(d.say(command)[0] // 100, 5, command)
        with Dialogue(self.cohue.port(587)) as d:
            d.hear()
            d.say("EHLO client.test", 250)
            self.assertEqual(d.say("MAIL FROM:<alice@house.test>")[0], 530)

    # Who may write as whom

    def test_the_envelope_sender_is_hers(self) -> None:
        with self.cohue.smtp(self.alice) as client:
            client.ehlo()
            for address, code in (("bert@house.test", 553), ("alice@elsewhere.test", 553), ("", 553),
                                  ("bert+alice@house.test", 553), ("alice+shop@house.test", 250),
                                  ("ALICE@HOUSE.TEST", 250), ("ally@house.test", 250)):
                self.assertEqual(client.mail(address)[0], code, address)
                client.rset()

    def test_from_and_sender_are_hers(self) -> None:
        to = self.bert.address
        for octets in (letter(to, to, "spoof"), letter(f"alice@house.test, {to}", to, "spoof"),
                       letter(f"{to} <alice@house.test>", to, "spoof"), b"To: x@y.test\r\n\r\nno From\r\n",
                       letter("alice@house.test", to, "spoof", more="From: ceo@bank.test\r\n"),
                       letter("alice@house.test", to, "spoof", more=f"Sender: {to}\r\n"),
                       letter("alice@house.test", to, "spoof", more=f"Resent-From: {to}\r\n")):
            code, text = self.refused(octets)
            self.assertEqual((code, text[:5]), (550, b"5.7.1"), octets)

    def test_another_address_of_hers_may_stand_in_from(self) -> None:
        self.submit(letter("Ally <ally@house.test>", "bert", "as ally"), [self.bert.address], "ally@house.test")
        self.assertEqual(self.find(self.bert, "as ally")[0]["Return-Path"], "<ally@house.test>")

    # Where it goes

    def test_local_mail_arrives_without_traces_of_the_author(self) -> None:
        self.submit(letter("Alice <alice@house.test>", "bert@house.test", "traceless", more="User-Agent: Marker/7\r\n"
                           "X-Originating-IP: [192.0.2.7]\r\nBcc: clara@house.test\r\n"), [self.bert.address])
        (got,) = self.find(self.bert, "traceless")
        whole = got.as_bytes()
        for word in (b"127.0.0.1", b"client.test", b"Marker/7", b"192.0.2.7", b"clara"):
            self.assertNotIn(word, whole)
        self.assertEqual(len(got.get_all("Received")), 1)
        self.assertRegex(got["Received"], r"^by mail\.house\.test \(Cohue\) with ESMTPSA id [0-9a-f]{8};")
        self.assertRegex(got["Message-ID"], r"^<[0-9a-f]{32}@house\.test>$")
        self.assertTrue(got["Date"])
        self.assertEqual(got.get_content().strip(), "Hello.")

    def test_an_alias_reaches_each_of_its_members_once(self) -> None:
        self.submit(letter("alice@house.test", "team@house.test", "to the team"),
                    ["team@house.test", self.bert.address])
        self.find(self.bert, "to the team")
        self.find(self.clara, "to the team")

    def test_a_subaddress_reaches_its_member(self) -> None:
        self.submit(letter("alice@house.test", "bert+news@house.test", "sub"), ["bert+news@house.test"])
        self.find(self.bert, "sub")

    def test_a_report_of_success_comes_with_the_copy(self) -> None:
        self.submit(letter("alice@house.test", "bert@house.test", "please report"), [self.bert.address],
                    mail_options=["ENVID=ab+2Bc"], rcpt_options=["NOTIFY=SUCCESS,FAILURE",
                                                                 "ORCPT=rfc822;bert@house.test"])
        self.find(self.bert, "please report")
        report = self.find(self.alice, "Your message was delivered")[0]
        self.assertEqual(report.get_content_type(), "multipart/report")
        fields = "".join(str(part) for part in list(report.iter_parts())[1].get_payload())
        for field in ("Action: delivered", "Final-Recipient: rfc822;", "Original-Envelope-Id: ab+2Bc"):
            self.assertIn(field, fields)
        self.submit(letter("alice@house.test", "bert@house.test", "no report"), [self.bert.address])
        self.find(self.bert, "no report")
        self.find(self.alice, "Your message was delivered")  # still one

    def test_an_unknown_member_is_refused_and_the_others_get_it(self) -> None:
        with self.cohue.smtp(self.alice) as client:
            failed = client.sendmail(self.alice.address, ["nobody@house.test", self.bert.address],
                                     letter("alice@house.test", "bert", "half"))
        self.assertEqual(failed["nobody@house.test"][0], 550)
        self.find(self.bert, "half")

    def test_the_sent_copy_shows_bcc_and_keeps_the_rest(self) -> None:
        self.submit(letter("alice@house.test", "Bert <BERT@house.test>", "sent copy",
                           more="User-Agent: Marker/7\r\nMessage-ID: <kept@client.test>\r\n"),
                    [self.bert.address, "clara@house.test"])
        (mine,) = self.find(self.alice, "sent copy", "Sent")
        self.assertEqual(mine["Bcc"], "clara@house.test")
        self.assertEqual(mine["User-Agent"], "Marker/7")
        (theirs,) = self.find(self.clara, "sent copy")
        self.assertIsNone(theirs["Bcc"])
        self.assertEqual(theirs["Message-ID"], mine["Message-ID"])
        client = self.cohue.imap(self.alice)
        client.select("Sent", readonly=True)
        _, seen = client.search(None, "SEEN", "SUBJECT", '"sent copy"')
        self.assertEqual(len(seen[0].split()), 1)
        client.logout()

    # SMTP's extensions

    def login(self) -> Dialogue:
        d = Dialogue(self.cohue.port(465), tls=True)
        d.hear()
        d.say("EHLO client.test", 250)
        d.say("AUTH PLAIN " + plain(self.alice.address, self.alice.password), 235)
        return d

    def test_commands_pipelined_behind_the_login_are_not_lost(self) -> None:
        with Dialogue(self.cohue.port(465), tls=True) as d:
            d.hear()
            d.say("EHLO client.test", 250)
            body = letter("alice@house.test", "bert", "pipelined").replace(b"\r\n.", b"\r\n..")
            d.send(b"AUTH PLAIN " + plain(self.alice.address, self.alice.password).encode() + b"\r\n"
                   b"EHLO client.test\r\nMAIL FROM:<alice@house.test>\r\nRCPT TO:<bert@house.test>\r\n")
            self.assertEqual([d.hear()[0] for _ in range(4)], [235, 250, 250, 250])
            d.send(b"DATA\r\n")
            self.assertEqual(d.hear()[0], 354)
            d.send(body + b".\r\nQUIT\r\n")
            self.assertEqual([d.hear()[0] for _ in range(2)], [250, 221])
        self.find(self.bert, "pipelined")

    def test_bdat_in_several_chunks(self) -> None:
        text = letter("alice@house.test", "bert", "in chunks", "one\r\n.\r\ntwo\r\n")
        with self.login() as d:
            d.say("MAIL FROM:<alice@house.test> BODY=8BITMIME", 250)
            d.say("RCPT TO:<bert@house.test>", 250)
            for at in range(0, len(text), 17):
                piece = text[at:at + 17]
                last = b" LAST" if at + 17 >= len(text) else b""
                d.send(b"BDAT %d%s\r\n" % (len(piece), last) + piece)
                code, said = d.hear()
                self.assertEqual(code, 250)
            self.assertRegex(said, r"^2\.0\.0 Ok: queued as [0-9a-f]{8}$")
            d.say("QUIT", 221)
        self.assertEqual(self.find(self.bert, "in chunks")[0].get_content().split(), ["one", ".", "two"])

    def test_smtputf8_headers(self) -> None:
        with self.cohue.smtp(self.alice) as client:
            client.sendmail("alice@house.test", ["bert@house.test"],
                            "From: Àlïce <alice@house.test>\r\nSubject: utf8 ✉\r\n\r\nÖl\r\n".encode(),
                            mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        (got,) = self.find(self.bert, "utf8")
        self.assertIn("UTF8SMTPSA", got["Received"])

    def test_bare_line_ends_are_refused(self) -> None:
        for bad in (b"a\nb\r\n", b"a\rb\r\n", b"\n.\r\n", b"\r\n.\n"):
            with self.login() as d:
                d.say("MAIL FROM:<alice@house.test>", 250)
                d.say("RCPT TO:<bert@house.test>", 250)
                d.say("DATA", 354)
                d.send(letter("alice@house.test", "bert", "smuggled", "") + bad
                       + b"\r\n.\r\nMAIL FROM:<alice@house.test>\r\nRCPT TO:<bert@house.test>\r\n")
                self.assertEqual(d.hear()[0], 550, bad)
                self.assertEqual(d.read_line(), b"", "nothing behind it is heard")

    # Limits

    def test_many_recipients_of_a_message_of_many_parts(self) -> None:
        """Together their sealed copies are more than a mebibyte."""
        names = [f"many{n}" for n in range(13)]
        members = [self.cohue.add_member(name) for name in names]
        part = "--b\r\nContent-Type: text/plain; charset=utf-8; name=part.txt\r\nContent-Description: one\r\n\r\nx\r\n"
        octets = (letter("alice@house.test", "many", "many parts", "",
                         "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n") + part.encode() * 3000 + b"--b--\r\n")
        with self.cohue.smtp(self.alice) as client:
            client.sendmail("alice@house.test", [f"{name}@house.test" for name in names], octets)
        for member in (members[0], members[-1]):
            (got,) = self.cohue.wait_mail(member, 1)
            self.assertEqual(got.count(b"Content-Description: one\r\n\r\nx\r\n"), 3000)
            self.assertTrue(got.endswith(b"--\r\n"))

    def test_a_message_over_the_limit_is_refused_by_size_and_by_count(self) -> None:
        with self.login() as d:
            self.assertEqual(d.say("MAIL FROM:<alice@house.test> SIZE=1100000")[0], 552)
        line = b"x" * 70 + b"\r\n"
        code, _ = self.refused_raw(letter("alice@house.test", "bert", "too large") + line * 16000)
        self.assertEqual(code, 552)

    def refused_raw(self, octets: bytes) -> tuple[int, str]:
        with self.login() as d:
            d.say("MAIL FROM:<alice@house.test>", 250)
            d.say("RCPT TO:<bert@house.test>", 250)
            d.say("DATA", 354)
            d.send(octets + b"\r\n.\r\n")
            return d.hear()

    def test_a_message_near_the_limit_arrives_whole(self) -> None:
        body = "".join(f"{n:068d}\r\n" for n in range(14000))
        self.submit(letter("alice@house.test", "bert", "nearly too large", body), [self.bert.address])
        (got,) = self.find(self.bert, "nearly too large")
        self.assertEqual(got.get_content().split(), body.split())

    def test_received_loops_end(self) -> None:
        hops = "Received: by somewhere; Thu, 01 Jan 1970 00:00:00 +0000\r\n" * 51
        self.assertEqual(self.refused(letter("alice@house.test", "bert", "loop", more=hops))[0], 554)

    def test_many_recipients_and_too_many(self) -> None:
        with self.login() as d:
            d.say("MAIL FROM:<alice@house.test>", 250)
            codes = [d.say(f"RCPT TO:<bert+{n}@house.test>")[0] for n in range(101)]
            self.assertEqual(codes, [250] * 100 + [452])
            d.say("DATA", 354)
            d.send(letter("alice@house.test", "bert", "many names") + b".\r\n")
            self.assertEqual(d.hear()[0], 250)
        self.find(self.bert, "many names")

    def test_mail_to_others_is_taken_without_a_question_to_dns(self) -> None:
        with self.login() as d:
            d.say("MAIL FROM:<alice@house.test> RET=HDRS ENVID=x1", 250)
            d.say("RCPT TO:<bob@does-not-exist.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;bob@x.test", 250)
            d.say("RCPT TO:<bob@Bücher.test>".encode(), 553)
            d.say("RCPT TO:<bob@[192.0.2.1]>", 550)
            d.say("DATA", 354)
            d.send(letter("alice@house.test", "bob@does-not-exist.test", "far away") + b".\r\n")
            self.assertEqual(d.hear()[0], 250)
        self.find(self.alice, "far away", "Sent")

    def test_a_full_mailbox_takes_nothing_more_but_its_owner_may_still_write(self) -> None:
        with Cohue(settings={"limits.message_size": "4 MiB"}) as house:
            dora, emil = house.add_member("dora"), house.add_member("emil")
            house.cli("member", "quota", "dora", "1MiB")
            noise = base64.encodebytes(random.Random(7).randbytes(1 << 20)).replace(b"\n", b"\r\n")
            with house.smtp(emil) as client:
                with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:  # by the size that it declares
                    client.sendmail(emil.address, [dora.address], letter(emil.address, "dora", "large") + noise)
                self.assertEqual(caught.exception.recipients[dora.address][0], 452)
            # Her own letter leaves, though there is no room for the copy.
            with Dialogue(house.port(465), tls=True) as d:
                d.hear()
                d.say("EHLO client.test", 250)
                d.say("AUTH PLAIN " + plain(dora.address, dora.password), 235)
                d.say(f"MAIL FROM:<{dora.address}>", 250)
                d.say(f"RCPT TO:<{emil.address}>", 250)
                d.say("DATA", 354)
                d.send(letter(dora.address, "emil", "no copy") + noise + b".\r\n")
                code, text = d.hear()
                self.assertEqual(code, 250)
                self.assertIn("no Sent copy", text)
            self.assertIn(b"no copy", house.wait_mail(emil)[0])

    def test_what_got_250_survives_the_end_of_all_roles(self) -> None:
        with Cohue() as house:
            dora, emil = house.add_member("dora"), house.add_member("emil")
            with house.smtp(dora) as client:
                for n in range(10):
                    client.sendmail(dora.address, [emil.address], letter(dora.address, "emil", f"kept {n}"))
                house.kill()
            house.start()
            for member, folder in ((emil, "INBOX"), (dora, "Sent")):
                subjects = [email.message_from_bytes(m)["Subject"] for m in house.wait_mail(member, 10, folder)]
                self.assertEqual(sorted(subjects), [f"kept {n}" for n in range(10)])

    # Independent client

    @unittest.skipUnless(shutil.which("swaks"), "swaks is not installed")
    def test_swaks_over_starttls(self) -> None:
        ran = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(self.cohue.port(587)), "--tls",
                              "--tls-protocol", "tlsv1_3", "--auth", "LOGIN", "--auth-user", self.alice.address,
                              "--auth-password", self.alice.password, "--from", self.alice.address, "--to",
                              self.bert.address, "--h-Subject", "by swaks", "--h-X-Mailer", "swaks"],
                             capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        (got,) = self.find(self.bert, "by swaks")
        self.assertIsNone(got["X-Mailer"])

    # Faults

    def test_a_worker_that_dies_says_so_and_the_next_login_works(self) -> None:
        with self.login() as d:
            before = self.cohue.kill_role("session")
            code, _ = d.hear()
            self.assertIn(code, (421, 0))
        self.cohue.wait_role("session", before)

        def again():
            try:
                smtp_login(self.cohue.port(465), self.alice.address, self.alice.password).quit()
                return True
            except (smtplib.SMTPException, OSError):
                return False
        wait_until(again, 20, "a login after the worker's end", pause=0.3)

    def test_stopping_says_goodbye(self) -> None:
        with Cohue() as other:
            member = other.add_member("dora")
            early = Dialogue(other.port(465), tls=True)
            early.hear()
            late = Dialogue(other.port(993), tls=True)
            late.read_line()
            late.command(f'LOGIN {member.address} "{member.password}"')
            late.command("NOOP")
            self.assertEqual(other.stop(), 0)
            self.assertEqual(early.hear()[0], 421)
            self.assertTrue(late.read_line().startswith(b"* BYE"))

    def test_no_address_stands_in_the_log(self) -> None:
        text = self.cohue.log()
        for word in ("alice", "bert", "clara", "127.0.0.1", "spoof", "traceless"):
            self.assertNotIn(word, text)


if __name__ == "__main__":
    unittest.main()
