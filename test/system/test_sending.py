# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a house sends, as others see it: who asks for less is left alone; who is refused much is stopped, is told, and stays so."""

import email
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


if __name__ == "__main__":
    unittest.main()
