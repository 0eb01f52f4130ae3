# SPDX-License-Identifier: AGPL-3.0-or-later
"""kill -9 of any role, and of all, under load: what was answered with 250 is there afterwards, whole, once."""

import collections
import os
import signal
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
    seconds = 40

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

    def test_a_mixer_that_dies_before_it_answered_is_asked_again(self) -> None:
        """Between the commit and the answer: the sender hears 250, not 451, and there is one message."""
        for submitted in (False, True):
            for committed in (True, False):
                with self.subTest(submitted=submitted, committed=committed), Cohue() as cohue:
                    member = cohue.add_member("alice")
                    store = cohue.role_pids("store")[0]
                    with self.sender(cohue, member, submitted) as client:
                        os.kill(store, signal.SIGSTOP)
                        client.docmd("DATA")
                        client.send(b"From: alice@house.test\r\nSubject: crash 1\r\n\r\n"
                                    + b"line of 1\r\n" * 50 + b"end\r\n.\r\n")
                        time.sleep(1)  # the unit is on its way to the store
                        gone = cohue.role_pids("mixer")[0]
                        if committed:
                            os.kill(gone, signal.SIGSTOP)
                            os.kill(store, signal.SIGCONT)
                            time.sleep(1)
                            os.kill(gone, signal.SIGKILL)
                        else:
                            os.kill(gone, signal.SIGKILL)
                            os.kill(store, signal.SIGCONT)
                        self.assertEqual(client.getreply()[0], 250)
                    self.assertNotEqual(cohue.role_pids("mixer"), [gone])
                    self.assertEqual(self.arrived(cohue, member), {1})
                    time.sleep(1)
                    self.arrived(cohue, member)
                    self.assertEqual(len(self.messages), 1)

    def test_a_session_that_dies_leaves_the_letter_and_the_copy_or_neither(self) -> None:
        """Whenever it dies, and however often the client comes again: one copy of one letter in Sent."""
        octets = (b"From: alice@house.test\r\nTo: bob@house.test\r\nSubject: crash 1\r\nMessage-ID: <1@house.test>\r\n\r\n"
                  + b"line of 1\r\n" * 50 + b"end\r\n")
        for committed in (True, False):
            with self.subTest(committed=committed), Cohue() as cohue:
                alice, bob = cohue.add_member("alice"), cohue.add_member("bob")
                store, mixer = cohue.role_pids("store")[0], cohue.role_pids("mixer")[0]
                with cohue.smtp(alice) as warm:
                    warm.sendmail(alice.address, [alice.address], octets.replace(b"1@", b"0@").replace(b"crash 1", b"warm"))
                client = cohue.smtp(alice)
                client.ehlo()
                client.mail(alice.address)
                client.rcpt(bob.address)
                # The commit happens, or not, while the session cannot hear of it; then it dies.
                os.kill(mixer, signal.SIGSTOP)
                client.docmd("DATA")
                client.send(octets + b".\r\n")
                time.sleep(1)
                gone = cohue.role_pids("session")
                for pid in gone:
                    os.kill(pid, signal.SIGSTOP)
                if committed:
                    os.kill(mixer, signal.SIGCONT)
                    time.sleep(1)
                    cohue.kill_role("session")
                else:
                    cohue.kill_role("session")
                    cohue.kill_role("mixer")
                cohue.wait_role("session", gone)
                with self.assertRaises((smtplib.SMTPException, OSError)):
                    code, text = client.getreply()
                    raise smtplib.SMTPResponseException(code, text)
                self.assertIn(store, cohue.role_pids("store"))

                def copies() -> int:
                    return sum(b"Subject: crash 1" in t for t in cohue.wait_mail(alice, 1, folder="Sent", seconds=15))

                if committed:
                    self.assertTrue(any(b"Subject: crash 1" in t for t in cohue.wait_mail(bob, 1, seconds=15)))
                wait_until(lambda: copies() == committed, 15, "as many copies as letters")
                with cohue.smtp(alice) as again:
                    again.sendmail(alice.address, [bob.address], octets)
                wait_until(lambda: copies() == 1, 15, "one copy")
                with cohue.imap(alice) as imap:
                    imap.append("Sent", "(\\Seen)", None, octets)
                self.assertEqual(copies(), 1, "the client's own copy is ours")

    @staticmethod
    def sender(cohue: Cohue, member, submitted: bool) -> smtplib.SMTP:
        client = cohue.smtp(member) if submitted else smtplib.SMTP("127.0.0.1", cohue.port(25), timeout=40,
                                                                   local_hostname="s.test")
        client.ehlo()
        client.mail(member.address if submitted else "s@stranger.test")
        client.rcpt(member.address)
        return client


if __name__ == "__main__":
    unittest.main()
