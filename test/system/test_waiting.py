# SPDX-License-Identifier: AGPL-3.0-or-later
"""The waiting room of a running service under the crowd law: who leaves with whom, what the journal and the sums say of it."""

import email
import email.policy
import time
import unittest

from harness import Cohue, wait_until

CLOCK = 2


def letter(sender: str, to: str, subject: str, more: str = "") -> bytes:
    return f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{more}\r\nHello.\r\n".encode()


class Waiting(unittest.TestCase):
    seconds = 40

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue(settings={"leave.law": "crowd", "leave.clock": f"{CLOCK} s", "leave.crowd": "3",
                                    "leave.deadline": "8 s", "leave.patient": "20 s", "arrive.law": "crowd",
                                    "arrive.clock": "1 s", "arrive.crowd": "1", "arrive.deadline": "2 s"})
        try:
            cls.cohue.init()
            cls.cohue.start()
            cls.members = [cls.cohue.add_member(n) for n in ("alice", "bert", "clara", "dora")]
        except BaseException:
            cls.cohue.destroy()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    def send(self, author, to, subject: str, more: str = "", options: tuple[str, ...] = ()) -> None:
        with self.cohue.smtp(author) as server:
            server.sendmail(author.address, [to.address], letter(author.address, to.address, subject, more), options)

    def journal(self, member) -> list[dict[str, str]]:
        return self.cohue.cli_json("journal", member.name, stdin=member.password + "\n")

    def left(self, member, count: int, seconds: float = 30) -> list[dict[str, str]]:
        """The lines that tell how her letters left, once there are so many."""
        def look():
            lines = [line for line in self.journal(member) if line["event"] == "left"]
            return lines if len(lines) >= count else None
        return wait_until(look, seconds, f"{count} letters of {member.name} left", pause=0.3)

    def subjects(self, member) -> list[str]:
        client = self.cohue.imap(member)
        try:
            _, count = client.select("INBOX", readonly=True)
            if count == [b"0"]:
                return []
            _, parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            return [email.message_from_bytes(p[1], policy=email.policy.default)["Subject"] for p in parts
                    if isinstance(p, tuple)]
        finally:
            client.logout()

    def test_three_leave_together_one_alone_leaves_late_and_is_told(self) -> None:
        alice, bert, clara, dora = self.members
        before = [len([x for x in self.journal(m) if x["event"] == "left"]) for m in (alice, bert, clara)]
        self.send(alice, dora, "one of three")
        self.send(bert, dora, "one of three")
        time.sleep(2 * CLOCK + 0.5)
        self.assertNotIn("one of three", self.subjects(dora))
        self.send(clara, dora, "one of three")
        for member, old in zip((alice, bert, clara), before):
            line = self.left(member, old + 1)[-1]
            self.assertEqual((line["protected"], line["crowd"]), ("yes", "3"))
        wait_until(lambda: self.subjects(dora).count("one of three") == 3, 20, "all three")
        self.send(alice, dora, "alone")
        line = self.left(alice, before[0] + 2)[-1]
        self.assertEqual((line["protected"], line["text"]), ("no", "Left without a crowd: not protected"))
        wait_until(lambda: "alone" in self.subjects(dora), 20, "the lonely one")
        said = self.cohue.cli_json("crowd", "live")
        day = said["sums"][0]["day"]
        self.assertEqual((said["members"], said["counting"], said["crowd"], said["clock_s"]), (4, 4, 3, CLOCK))
        self.assertGreaterEqual(day["letters"], 4)
        self.assertGreaterEqual(day["void"], 1)
        self.assertGreater(day["padding"], 1)

    def test_an_urgent_letter_waits_for_the_tick_alone_and_a_held_one_for_its_time(self) -> None:
        _, _, clara, dora = self.members
        before = len([x for x in self.journal(dora) if x["event"] == "left"])
        self.send(dora, clara, "urgent", "X-Priority: 1 (Highest)\r\n")
        line = self.left(dora, before + 1, 3 * CLOCK + 5)[-1]
        self.assertEqual(line["protected"], "no")
        wait_until(lambda: "urgent" in self.subjects(clara), 10, "the urgent one")
        self.send(dora, clara, "held", options=("HOLDFOR=6",))
        self.assertIn("Kept for later", [x["text"] for x in self.journal(dora)])
        time.sleep(4)
        self.assertNotIn("held", self.subjects(clara))
        wait_until(lambda: "held" in self.subjects(clara), 40, "the held one")


if __name__ == "__main__":
    unittest.main()
