# SPDX-License-Identifier: AGPL-3.0-or-later
"""kill -9 of any role, and of all, under load: what was answered with 250 is there afterwards, whole, once."""

import collections
import smtplib
import threading
import time
import unittest

from harness.cohue import Cohue
from harness.wait import wait_until

# All that can stand between 250 and the mailbox.
ROLES = ("store", "mixer", "gate-mx", "session", "keeper", "opener", "gate-member")


class Load:
    """Strangers who send, each message with a number of its own, and remember which ones were answered with 250."""

    def __init__(self, cohue: Cohue, recipient: str, threads: int = 3) -> None:
        self.cohue, self.recipient = cohue, recipient
        self.kept: set[int] = set()
        self.number = 0
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        while not self.ending.is_set():
            with self.lock:
                self.number += 1
                number = self.number
            text = (f"From: s@stranger.test\r\nTo: {self.recipient}\r\nSubject: crash {number}\r\n"
                    f"Message-ID: <{number}@stranger.test>\r\n\r\n" + f"line of {number}\r\n" * 50 + "end\r\n")
            try:
                with smtplib.SMTP("127.0.0.1", self.cohue.port(25), timeout=20, local_hostname="s.test") as client:
                    client.sendmail("s@stranger.test", [self.recipient], text.encode())
                with self.lock:
                    self.kept.add(number)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.05)  # refused or cut off: not kept, says the protocol

    def end(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(30)


class Crash(unittest.TestCase):
    def check(self, cohue: Cohue, member, load: Load) -> None:
        load.end()
        self.assertGreater(len(load.kept), 5)
        wait_until(lambda: self.arrived(cohue, member) >= load.kept, 40,
                   f"all of {len(load.kept)} messages that were answered with 250")
        found = collections.Counter(number for number, _ in self.messages)
        twice = {number: count for number, count in found.items() if count > 1 and number in load.kept}
        self.assertEqual(twice, {}, "messages that are there more than once")
        for number, text in self.messages:
            self.assertTrue(text.endswith(b"end\r\n") and text.count(b"line of %d\r\n" % number) == 50, "not whole")

    def arrived(self, cohue: Cohue, member) -> set[int]:
        try:
            texts = cohue.wait_mail(member, 1, seconds=5)
        except Exception:  # noqa: BLE001 (a role is just starting again)
            return set()
        self.messages = [(int(text.split(b"Subject: crash ")[1].split(b"\r\n")[0]), text) for text in texts]
        return {number for number, _ in self.messages}

    def test_each_role_in_turn(self) -> None:
        with Cohue() as cohue:
            member = cohue.add_member("alice")
            load = Load(cohue, member.address)
            for role in ROLES:
                time.sleep(0.5)  # some traffic between two deaths
                gone = cohue.kill_role(role)
                cohue.wait_role(role, gone)
            time.sleep(0.5)
            self.check(cohue, member, load)

    def test_all_at_once(self) -> None:
        with Cohue() as cohue:
            member = cohue.add_member("alice")
            load = Load(cohue, member.address)
            for _ in range(3):
                time.sleep(0.7)
                cohue.kill()
                cohue.start()
            time.sleep(0.5)
            self.check(cohue, member, load)

    def test_while_it_waits(self) -> None:
        """Mail in the waiting room survives, waits on, and comes out once."""
        with Cohue(settings={"arrive.law": "exponential", "arrive.mean": "2 s"}) as cohue:
            member = cohue.add_member("alice")
            load = Load(cohue, member.address)
            time.sleep(1)
            cohue.kill()
            cohue.start()
            time.sleep(1)
            gone = cohue.kill_role("mixer")
            cohue.wait_role("mixer", gone)
            self.check(cohue, member, load)


if __name__ == "__main__":
    unittest.main()
