# SPDX-License-Identifier: AGPL-3.0-or-later
"""What keeps a house's name good: a stolen account is stopped early, and its member and the volunteers are told, not whom it wrote to."""

import email
import email.policy
import gzip
import io
import pathlib
import re
import unittest
import zipfile
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from harness.cohue import Cohue
from harness.wait import wait_until

LIMITS = {"limits.sending_messages": "6", "limits.sending_recipients": "20", "limits.sending_recipients_day": "30",
          "limits.sending_domains": "4", "limits.sending_failures": "30"}


def status(house: Cohue, role: str) -> dict:
    return next(r for r in house.cli_json("status") if r.get("role", r.get("name", "")).startswith(role))


class Door:
    def __init__(self, client) -> None:
        self.client = client
        client.ehlo()

    def say(self, line: str, wanted: int = 0) -> tuple[int, str]:
        code, text = self.client.docmd(line)
        assert wanted in (0, code), (line, code, text)
        return code, text.decode()


class Reputation(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.house = Cohue(settings=LIMITS)
        cls.addClassCleanup(cls.house.destroy)
        cls.house.init()
        cls.house.start()
        cls.anna, cls.bert, cls.clara = (cls.house.add_member(n) for n in ("anna", "bert", "clara"))

    def row(self, name: str) -> dict:
        return next(r for r in self.house.cli_json("member", "list") if r["name"] == name)

    def door(self, member) -> "Door":
        d = Door(self.house.smtp(member))
        self.addCleanup(d.client.close)
        return d

    def test_too_many_messages_are_put_off_and_another_member_is_not(self) -> None:
        d = self.door(self.bert)
        for _ in range(6):
            d.say(f"MAIL FROM:<{self.bert.address}>", 250)
            d.say("RSET", 250)
        code, text = d.say(f"MAIL FROM:<{self.bert.address}>")
        self.assertEqual(code, 450, text)
        self.assertRegex(text, r"4\.7\.1 Too much mail in a short time \(\w+\)")
        # Her other connections are she.
        self.assertEqual(self.door(self.bert).say(f"MAIL FROM:<{self.bert.address}>")[0], 450)
        other = self.door(self.clara)
        other.say(f"MAIL FROM:<{self.clara.address}>", 250)
        # New domains of others, by their number; those known go on.
        codes = [other.say(f"RCPT TO:<x@d{n}.test>")[0] for n in range(8)]
        self.assertEqual(codes[:3], [250] * 3)
        self.assertEqual(codes[-1], 450)
        self.assertEqual(other.say("RCPT TO:<y@d0.test>")[0], 250)
        # A limit of her own.
        self.house.cli("member", "limit", "bert", "2")
        self.assertEqual(self.row("bert")["limit"], 2)
        self.door(self.bert).say(f"MAIL FROM:<{self.bert.address}>", 250)

    def test_who_goes_on_is_held_is_told_and_lifted(self) -> None:
        d = self.door(self.anna)
        codes = []
        for _ in range(40):
            codes.append(d.say(f"MAIL FROM:<{self.anna.address}>")[0])
            d.say("RSET", 250)
        self.assertEqual(codes[:6], [250] * 6)
        self.assertEqual(codes[-1], 550, codes)
        self.assertGreaterEqual(codes.count(450), 10)
        wait_until(lambda: self.row("anna")["sending_held"], 10, "the hold in her entry")
        ref = self.row("anna")["sending_held"]
        _, text = d.say(f"MAIL FROM:<{self.anna.address}>")
        self.assertIn(ref, text)
        note = email.message_from_bytes(self.house.wait_mail(self.anna, 1)[0])
        self.assertIn("cannot send", note["Subject"])
        self.assertIn(ref, note.get_payload())
        # Volunteers: a number and a reference; no name, and nobody she wrote to.
        self.assertIn(ref, self.house.log())
        self.assertNotIn("anna", self.house.log())
        wait_until(lambda: re.search(r"sending_held\s+1\b", self.house.cli("status").stdout), 10, "counted")
        # It survives a restart.
        self.house.restart()
        d = self.door(self.anna)
        self.assertEqual(d.say(f"MAIL FROM:<{self.anna.address}>")[0], 550)
        self.house.cli("member", "resume", "anna")
        self.assertEqual(self.row("anna")["sending_held"], "")
        self.door(self.anna).say(f"MAIL FROM:<{self.anna.address}>", 250)


ROOT = pathlib.Path(__file__).resolve().parents[2]


def report(name: str, kind: str, data: bytes, to: str) -> bytes:
    part = MIMEMultipart("report")
    part["From"], part["To"], part["Subject"] = "noreply@big.test", to, name
    part.attach(MIMEText("see attachment"))
    item = MIMEApplication(data, kind)
    part.attach(item)
    return part.as_bytes(policy=email.policy.SMTP)


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.house = Cohue(settings={"dmarc.rua": "reports@house.test"})
        cls.addClassCleanup(cls.house.destroy)
        cls.house.init()
        cls.house.start()
        cls.anna, cls.bert = cls.house.add_member("anna"), cls.house.add_member("bert")
        cls.house.cli("alias", "set", "reports", "bert")

    def arrives(self, to: str, message: bytes, sender: str = "<>") -> None:
        client = self.house.smtp()
        self.addCleanup(client.close)
        client.ehlo()
        client.mail(sender)
        code, text = client.rcpt(f"<{to}>")
        self.assertEqual(code, 250, text)
        code, text = client.data(message)
        self.assertEqual(code, 250, text)

    def test_reports_are_summed_up_and_delivered_and_bombs_do_no_harm(self) -> None:
        self.assertEqual(self.house.cli_json("reports"), {})
        corpus = ROOT / "test/corpus/reports"
        dmarc, tls = (corpus / "dmarc").read_bytes(), (corpus / "tls").read_bytes()
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("big.test!house.test!1!2.xml", dmarc)
        self.arrives("reports@house.test", report("gzip", "gzip", gzip.compress(dmarc), "reports@house.test"))
        self.arrives("reports@house.test", report("zip", "zip", zipped.getvalue(), "reports@house.test"))
        self.arrives("postmaster@house.test", report("tls", "tlsrpt+gzip", gzip.compress(tls), "postmaster@house.test"))
        self.arrives("abuse@house.test", (corpus / "complaint").read_bytes())
        self.arrives("reports@house.test", report("bomb", "gzip", gzip.compress(bytes(64 << 20)), "reports@house.test"))
        # Mail to a member is nobody's report.
        self.arrives("anna@house.test", report("hers", "gzip", gzip.compress(dmarc), "anna@house.test"))
        said = self.house.cli_json("reports")
        self.assertEqual(said["complaint"], {"abuse": 10})
        self.assertEqual(said["void"], {"unread": 10})
        self.assertEqual(said["dmarc"]["reports"], 10)  # coarse: at most
        self.assertGreaterEqual(said["dmarc"]["pass"], 24)
        self.assertEqual(set(said["fail_from"]), {"192.0.2.0/24", "2001:db8:1::/48"})
        self.assertGreaterEqual(said["tls"]["good"], 5326)
        self.assertEqual(set(said["tls_failed"]), {"expired", "starttls", "other"})
        self.assertIn("Complaints", self.house.cli("reports").stdout)
        self.assertNotIn("report.", self.house.cli("status").stdout)
        # All of it was delivered to whoever has the address.
        self.assertEqual(len(self.house.wait_mail(self.bert, 3)), 3)
        self.assertEqual(len(self.house.wait_mail(self.anna, 3)), 3)
        # A restart forgets none of it.
        self.house.restart()
        self.assertEqual(self.house.cli_json("reports"), said)

    def test_nothing_goes_back_to_strangers(self) -> None:
        """Whatever is wrong is said at RCPT, to the server that asks; so there is never a bounce to a forged sender."""
        self.house.add_member("gone")
        self.house.add_member("full")
        self.house.cli("member", "suspend", "gone")
        self.house.cli("member", "quota", "full", "4 KiB")
        client = self.house.smtp()
        self.addCleanup(client.close)
        client.ehlo()
        client.docmd("MAIL FROM:<victim@forged.test> SIZE=8000")
        self.assertEqual(client.rcpt("<nobody@house.test>")[0], 550)
        self.assertEqual(client.rcpt("<someone@elsewhere.test>")[0] // 100, 5)
        self.assertEqual(client.rcpt("<full@house.test>")[0], 452)
        # Suspended: her mail still arrives.
        self.assertEqual(client.rcpt("<gone@house.test>")[0], 250)
        self.assertEqual(client.data(b"Subject: x\r\n\r\nx\r\n")[0], 250)
        # A bounce of what she never sent is a message as any other, and is answered by nothing.
        self.arrives("gone@house.test", b"From: MAILER-DAEMON@big.test\r\nSubject: Undelivered\r\nContent-Type: "
                     b"multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n")
        mixer, courier = status(self.house, "mixer"), status(self.house, "courier")
        self.assertEqual((mixer["waiting_to_leave"], mixer["being_delivered"], courier["reports"]), (0, 0, 0))


if __name__ == "__main__":
    unittest.main()
