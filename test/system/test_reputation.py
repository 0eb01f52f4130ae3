# SPDX-License-Identifier: AGPL-3.0-or-later
"""What keeps a house's name good: a stolen account is stopped early, and its member and the volunteers are told, not whom it wrote to."""

import email
import re
import unittest

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
        # It survives a restart, which counters do not.
        self.house.restart()
        d = self.door(self.anna)
        self.assertEqual(d.say(f"MAIL FROM:<{self.anna.address}>")[0], 550)
        self.house.cli("member", "resume", "anna")
        self.assertEqual(self.row("anna")["sending_held"], "")
        self.door(self.anna).say(f"MAIL FROM:<{self.anna.address}>", 250)


if __name__ == "__main__":
    unittest.main()
