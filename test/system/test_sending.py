# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a house sends, as others see it: who asks for less is left alone; who is refused much is stopped, is told, and stays so."""

import re
import unittest

from harness.cohue import Cohue
from harness.sink import Sink
from harness.wait import wait_until

DELIVERED, DEFERRED, FAILED = "delivered", "deferred", "failed"


def letter(member, to: str, subject: str) -> bytes:
    return f"From: {member.address}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nx\r\n".encode()


class Sending(unittest.TestCase):
    settings: dict[str, str] = {}
    refuse = ""

    @classmethod
    def setUpClass(cls) -> None:
        cls.sink = cls.enterClassContext(Sink(refuse=cls.refuse))
        cls.house = Cohue(settings={"smarthost": f"127.0.0.1:{cls.sink.port}", **cls.settings})
        cls.addClassCleanup(cls.house.destroy)
        cls.house.init()
        cls.house.start()
        cls.anna, cls.bert = cls.house.add_member("anna"), cls.house.add_member("bert")

    def send(self, member, to: list[str], subject: str) -> None:
        with self.house.smtp(member) as client:
            client.sendmail(member.address, to, letter(member, to[0], subject))

    def journal(self, member, event: str) -> list[dict[str, str]]:
        lines = self.house.cli_json("journal", member.name, stdin=member.password + "\n")
        return [line for line in lines if line["event"] == event]


class Rate(Sending):
    refuse = "451 4.7.650 The mail server has been temporarily rate limited"

    def test_who_asks_for_less_is_left_alone_and_met_again_after_a_restart(self) -> None:
        self.send(self.anna, ["a@big.test"], "first")
        wait_until(lambda: len(self.journal(self.anna, DEFERRED)) == 1, 20, "put off")
        self.assertEqual(len(self.sink.sessions), 1)
        for number in range(4):
            self.send(self.anna, [f"b{number}@big.test"], f"next-{number}")
        wait_until(lambda: len(self.journal(self.anna, DEFERRED)) == 5, 20, "all put off")
        # Nobody knocked, and each was told what the server had said.
        self.assertEqual(len(self.sink.sessions), 1)
        for line in self.journal(self.anna, DEFERRED):
            self.assertIn("temporarily rate limited", line["reason"])
        # Nothing of it is kept: it is asked once more, and takes what comes then.
        self.house.restart()
        self.sink.refuse = ""
        self.send(self.anna, ["c@big.test"], "last")
        wait_until(lambda: len(self.journal(self.anna, DELIVERED)) == 1, 20, "taken")

class Refused(Sending):
    refuse = "550 5.1.1 no such user here"
    settings = {"limits.sending_failures": "30", "limits.sending_recipients": "40", "session.workers": "2"}

    def row(self, name: str) -> dict:
        return next(r for r in self.house.cli_json("member", "list") if r["name"] == name)

    def names(self, member, count: int) -> list[int]:
        with self.house.smtp(member) as client:
            client.ehlo()
            client.docmd(f"MAIL FROM:<{member.address}>")
            return [client.docmd(f"RCPT TO:<{member.name}{n}@big.test>")[0] for n in range(count)]

    def test_who_is_refused_by_others_is_held_told_and_lifted(self) -> None:
        # A few wrong addresses make nobody a thief.
        self.send(self.bert, [f"x{n}@big.test" for n in range(10)], "to-few")
        self.house.imap(self.bert).logout()
        wait_until(lambda: len(self.journal(self.bert, FAILED)) == 1, 20, "refused")
        self.send(self.anna, [f"spam{n}@big.test" for n in range(25)], "to-many")
        self.house.imap(self.anna).logout()
        wait_until(lambda: self.journal(self.anna, FAILED), 20, "refused")
        wait_until(lambda: self.row("anna")["sending_held"], 20, "the hold in her entry")
        ref = self.row("anna")["sending_held"]
        self.assertEqual(self.row("bert")["sending_held"], "")
        # She is told, with no address of others.
        note = wait_until(lambda: next((m for m in self.house.wait_mail(self.anna, 1) if b"cannot send mail" in m), None),
                          20, "her note").decode()
        self.assertIn(ref, note)
        self.assertNotIn("big.test", note)
        # So are the volunteers: a number, a reference, why; nobody's name, nor whom she wrote to.
        said = [line for line in self.house.log().splitlines() if ref in line]
        self.assertTrue(any("refused by others for good" in line for line in said), said)
        for word in ("anna", "big.test", "spam"):
            self.assertNotIn(word, self.house.log())
        wait_until(lambda: re.search(r"sending_held\s+1\b", self.house.cli("status").stdout), 10, "counted")
        self.assertEqual(self.names(self.anna, 1), [503])
        before = len(self.sink.sessions)
        # It survives a restart, and is hers alone.
        self.house.restart()
        with self.house.smtp(self.anna) as client:
            client.ehlo()
            code, text = client.docmd(f"MAIL FROM:<{self.anna.address}>")
            self.assertEqual(code, 550)
            self.assertIn(ref, text.decode())
        self.assertEqual(self.names(self.bert, 1), [250])
        self.assertEqual(len(self.sink.sessions), before)
        # Lifted, she begins anew: the refusals that were kept are void.
        self.house.cli("member", "resume", "anna")
        self.assertEqual(self.row("anna")["sending_held"], "")
        self.assertEqual(self.names(self.anna, 3), [250] * 3)
        self.send(self.anna, ["one@big.test"], "once more")
        self.house.imap(self.anna).logout()
        wait_until(lambda: len(self.journal(self.anna, FAILED)) == 2, 20, "refused")
        self.assertEqual(self.row("anna")["sending_held"], "")

    def test_a_restart_gives_nobody_a_new_limit(self) -> None:
        carla = self.house.add_member("carla")
        self.assertEqual(self.names(carla, 42).count(250), 40)
        self.house.restart()
        self.assertEqual(self.names(carla, 1), [450])
        # Nor the death of her worker, after an orderly end.
        for pid in self.house.kill_role("session"):
            self.house.wait_role("session", [pid])
        wait_until(lambda: self.names(carla, 1) == [450], 20, "the count is still there")


if __name__ == "__main__":
    unittest.main()
