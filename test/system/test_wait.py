# SPDX-License-Identifier: AGPL-3.0-or-later
"""The crowd law on the whole service, its clock sped up to seconds: who leaves when, with whom, and what the author reads of it."""

import contextlib
import email.utils
import os
import pathlib
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
import unittest

from harness.cohue import Cohue, Member, require_root
from harness.sink import Sink
from harness.wait import wait_until

T = 2
LEAVE = {"leave.law": "crowd", "leave.clock": f"{T} s", "leave.crowd": "3", "leave.deadline": "1 d", "leave.mean": "1 s",
         "leave.patient": "1 d"}
ARRIVE = {"arrive.law": "crowd", "arrive.clock": f"{T} s", "arrive.crowd": "2", "arrive.deadline": "1 d"}


def figures(house: Cohue) -> dict[str, str]:
    """The mixer's lines of `cohue status`."""
    found: dict[str, str] = {}

    def walk(value, inside: bool) -> None:
        if isinstance(value, dict):
            inside = inside or "mixer" in value.values()
            for key, inner in value.items():
                if isinstance(inner, dict | list):
                    walk(inner, inside or key == "mixer")
                elif inside:
                    found[key] = str(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, inside)
    walk(house.cli_json("status"), False)
    return found


def after_tick() -> int:
    """Waits until a tick has just been; its time."""
    tick = (int(time.time()) // T + 1) * T
    time.sleep(max(0, tick + 0.3 - time.time()))
    return tick


class Leaving(unittest.TestCase):
    seconds = 40

    def setUp(self) -> None:
        self.sink = self.enterContext(Sink())
        self.house = self.enterContext(Cohue(settings={"smarthost": f"127.0.0.1:{self.sink.port}", **LEAVE}))
        self.members = [self.house.add_member(f"member{n}") for n in range(4)]
        # Their accounts are of today; so is the house, in whose first days all count.
        wait_until(lambda: figures(self.house).get("leave_alone") == "0", 10, "the crowd to be there")

    def send(self, member: Member, subject: str, more: str = "", options: tuple[str, ...] = (),
             to: tuple[str, ...] = ("bob@far.test",)) -> None:
        text = (f"From: {member.address}\r\nTo: bob@far.test\r\nSubject: {subject}\r\n"
                f"Date: Thu, 01 Jan 2026 07:08:09 +0545\r\n{more}\r\nHello\r\n")
        with self.house.smtp(member) as client:
            client.sendmail(member.address, to, text, options)

    def subjects(self) -> set[str]:
        return {re.search(rb"^Subject: (.*)\r$", m, re.M)[1].decode() for m in list(self.sink.messages)}

    def dates(self) -> set[int]:
        return {int(email.utils.parsedate_to_datetime(re.search(rb"^Date: (.*)\r$", m, re.M)[1].decode()).timestamp())
                for m in list(self.sink.messages)}

    def journal(self, member: Member) -> str:
        client = self.house.imap(member)
        try:
            client.select("Journal", readonly=True)
            _, parts = client.fetch("1:*", "(BODY.PEEK[])")
            return "".join(p[1].decode() for p in parts if isinstance(p, tuple))
        finally:
            client.logout()

    def test_three_leave_together_at_a_tick_with_its_time_as_their_date(self) -> None:
        after_tick()
        self.send(self.members[0], "one")
        self.send(self.members[1], "two")
        time.sleep(2 * T)
        self.assertEqual(self.subjects(), set())
        tick = after_tick() + T
        self.send(self.members[2], "three")
        self.assertEqual(self.subjects(), set())
        wait_until(lambda: len(self.sink.messages) == 3, 3 * T, "the crowd at the door")
        self.assertGreaterEqual(time.time(), tick)
        self.assertEqual(self.subjects(), {"one", "two", "three"})
        self.assertEqual(self.dates(), {tick})
        wait_until(lambda: "Left in a crowd of 3: protected" in self.journal(self.members[0]), 10, "her journal")

    def test_who_is_in_haste_leaves_alone_and_is_told(self) -> None:
        self.send(self.members[0], "slow")
        # A copy for a member crosses no line: the letter weighs as much as the observer sees.
        self.send(self.members[0], "soon", more="X-Priority: 1\r\n", to=("bob@far.test", self.members[2].address))
        self.send(self.members[0], "inside", more="X-Priority: 1\r\n", to=tuple(m.address for m in self.members[2:]))
        self.send(self.members[1], "held", options=("HOLDFOR=86400",))
        wait_until(lambda: self.subjects() == {"soon"}, 3 * T, "the urgent letter alone")
        time.sleep(2 * T)
        self.assertEqual(self.subjects(), {"soon"})
        day = self.house.cli_json("crowd", "live")["sums"][0]["day"]
        self.assertEqual((day["letters"], day["deliveries"], day["void"]), (2, 2, 2))
        wait_until(lambda: "Left without a crowd: not protected" in self.journal(self.members[0]), 10, "her journal")

    def test_twenty_urgent_letters_of_one_shut_the_gate_for_nobody_else(self) -> None:
        after_tick()
        with self.house.smtp(self.members[0]) as client:
            for n in range(20):
                client.sendmail(self.members[0].address, ["bob@far.test"], f"From: {self.members[0].address}\r\n"
                                f"Subject: urgent {n}\r\nX-Priority: 1\r\n\r\nHello\r\n")
        wait_until(lambda: len(self.sink.messages) == 20, 3 * T + 5, "the urgent letters")
        after_tick()
        for n, member in enumerate(self.members[1:]):
            self.send(member, f"other {n}")
        wait_until(lambda: len(self.sink.messages) == 23, 3 * T, "the three others")
        for member in self.members[1:]:
            wait_until(lambda m=member: "Left in a crowd of 3: protected" in self.journal(m), 10, "her journal")

    def test_ten_devices_and_a_program_make_no_crowd(self) -> None:
        after_tick()
        devices = [self.house.smtp(self.members[0]) for _ in range(10)]
        for n, device in enumerate(devices):
            device.sendmail(self.members[0].address, ["bob@far.test"], f"From: {self.members[0].address}\r\n"
                            f"Subject: device {n}\r\n\r\nHello\r\n")
        for device in devices:
            device.quit()
        self.send(self.members[1], "person")
        self.send(self.members[2], "program", more="Auto-Submitted: auto-generated\r\n")
        # Whoever has many devices is one, and a program is nobody: two are not three.
        time.sleep(2 * T)
        self.assertEqual(self.subjects(), set())
        self.send(self.members[3], "another")
        wait_until(lambda: len(self.sink.messages) == 4, 3 * T, "one of each")
        time.sleep(T)
        self.assertEqual(self.subjects(), {"device 0", "person", "program", "another"})

    def test_a_machine_that_slept_over_ticks_makes_up_for_them_once(self) -> None:
        after_tick()
        for n, member in enumerate(self.members[:3]):
            self.send(member, f"before {n}")
        # The mixer stands still as in a suspended machine: three ticks pass without it.
        mixer = self.house.role_pids("mixer")[0]
        os.kill(mixer, signal.SIGSTOP)
        try:
            time.sleep(3 * T)
            self.assertEqual(self.subjects(), set())
        finally:
            os.kill(mixer, signal.SIGCONT)
        wait_until(lambda: len(self.sink.messages) == 3, 2 * T + 5, "the missed tick")
        # All of one batch, as of one tick of the grid, which had passed.
        dates = self.dates()
        self.assertEqual(len(dates), 1)
        self.assertEqual(dates.pop() % T, 0)
        wait_until(lambda: "Left in a crowd of 3: protected" in self.journal(self.members[0]), 10, "her journal")

    def test_all_roles_killed_at_the_tick_lose_nobody(self) -> None:
        # Logged in before, so that all twelve come within one tick: who came late would wait for a crowd until tomorrow.
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.house.smtp(member)) for member in self.members]
            after_tick()
            for each in range(3):
                for n, (client, member) in enumerate(zip(clients, self.members)):
                    client.sendmail(member.address, ["bob@far.test"],
                                    f"From: {member.address}\r\nTo: bob@far.test\r\nSubject: {n}-{each}\r\n\r\nHello\r\n")
        # As near to the decision as it can be hit from here.
        tick = (int(time.time()) // T + 1) * T
        time.sleep(max(0, tick - 0.002 - time.time()))
        self.house.kill()
        self.house.start()
        wait_until(lambda: len(self.subjects()) == 12, 6 * T, "all twelve")
        self.assertEqual(figures(self.house)["waiting_to_leave"], "0")

    def test_impossible_settings_and_a_house_too_small_are_told(self) -> None:
        for setting, words in ((("leave.crowd=0",), "leave.crowd"), (("leave.crowd=1",), "give a number from 2 to 1000"),
                               (("leave.deadline=1 s",), "--set: leave.deadline is shorter"),
                               (("leave.patient=1 s",), "--set: leave.patient is shorter")):
            ran = subprocess.run([self.house.binary, "run", "--home", self.house.home,
                                  *(w for s in (f"leave.clock={T} s", *setting) for w in ("--set", s))],
                                 capture_output=True, text=True, timeout=20, check=False)
            self.assertNotEqual(ran.returncode, 0)
            self.assertIn(words, ran.stderr)
            self.assertIn("Remedy", ran.stderr)
        self.house.stop()
        # A fault of the file is the file's, also where --set sets another thing.
        conf = self.house.directory / "home/cohue.conf"
        was = conf.read_text()
        conf.write_text(re.sub(r"(?m)^retry[.]warn.*$", "", was) + "\nretry.warn = 30 d\n")
        ran = subprocess.run([self.house.binary, "run", "--home", self.house.home, "--set", "leave.crowd=4"],
                             capture_output=True, text=True, timeout=20, check=False)
        self.assertIn("cohue.conf: retry.warn is not before", ran.stderr)
        conf.write_text(was)
        self.house.settings["leave.crowd"] = "5"
        self.house.start()
        wait_until(lambda: figures(self.house).get("leave_alone") == "1", 10, "that they are too few")
        wait_until(lambda: "lower leave.crowd" in self.house.log(), 10, "the line in the log")
        self.assertIn("the promise does not hold, each letter leaves void", self.house.log())
        self.assertEqual(figures(self.house)["leave_promise"], "void")
        self.send(self.members[0], "alone")
        wait_until(lambda: self.subjects() == {"alone"}, 20, "by the exponential law")
        wait_until(lambda: "Left without a crowd: not protected" in self.journal(self.members[0]), 10, "void")
        # One more makes five.
        self.house.add_member("fifth")
        wait_until(lambda: figures(self.house).get("leave_alone") == "0", 10, "that they are enough")
        self.assertEqual(figures(self.house)["leave_promise"], "holds")
        self.house.cli("member", "suspend", "fifth")
        wait_until(lambda: figures(self.house).get("leave_alone") == "1", 10, "that she is suspended")


class Arriving(unittest.TestCase):
    seconds = 20

    def test_mail_of_one_host_waits_for_another_host(self) -> None:
        house = self.enterContext(Cohue(settings=ARRIVE))
        alice = house.add_member("alice")
        client = house.imap(alice)

        def arrive(subject: str, host: str) -> None:
            with smtplib.SMTP("127.0.0.1", house.port(25), local_hostname="s.test", timeout=20,
                              source_address=(host, 0)) as line:
                line.sendmail("s@stranger.test", [alice.address], f"Subject: {subject}\r\n\r\nx\r\n")
        after_tick()
        arrive("one", "127.0.0.2")
        arrive("two", "127.0.0.2")
        time.sleep(2 * T)
        # Neither who is there, nor who comes fresh, sees earlier what came.
        self.assertEqual(client.select()[1], [b"0"])
        self.assertIn(b"MESSAGES 0", client.status("INBOX", "(MESSAGES)")[1][0])
        after_tick()
        arrive("three", "127.0.0.3")
        self.assertEqual(house.imap(alice).select()[1], [b"0"])
        # One of each host; the second of the first one stays behind.
        wait_until(lambda: client.select()[1] == [b"2"], 3 * T, "one of each host")
        time.sleep(T)
        self.assertEqual(client.select()[1], [b"2"])
        client.logout()
        self.assertEqual(figures(house)["arrive_class_0"], "1")

    def test_a_disk_that_is_full_at_the_tick_only_delays_it(self) -> None:
        require_root()
        place = pathlib.Path(tempfile.mkdtemp(prefix="cohue-tick-"))
        place.chmod(0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "none", str(place)], check=True)
        try:
            with Cohue(directory=str(place), settings={**ARRIVE, "arrive.clock": "4 s"}) as house:
                alice = house.add_member("alice")
                fill = house.directory / "fill"
                tick = (int(time.time()) // 4 + 1) * 4
                time.sleep(max(0, tick + 0.3 - time.time()))
                for n in range(2, 12):
                    with smtplib.SMTP("127.0.0.1", house.port(25), local_hostname="s.test", timeout=20,
                                      source_address=(f"127.0.0.{n}", 0)) as line:
                        line.sendmail("s@stranger.test", [alice.address], f"Subject: {n}\r\n\r\nx\r\n")
                self.assertLess(time.time(), tick + 3)
                try:
                    with open(fill, "wb") as out:
                        while True:
                            out.write(b"\0" * 4096)
                            out.flush()
                except OSError:
                    pass
                time.sleep(max(0, tick + 5 - time.time()))
                self.assertGreater(int(figures(house)["failures"]), 0)
                self.assertEqual(figures(house)["waiting_to_arrive"], "10")
                fill.unlink()
                self.assertEqual(len(house.wait_mail(alice, 10)), 10)
                self.assertEqual(figures(house)["waiting_to_arrive"], "0")
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False)
            shutil.rmtree(place, ignore_errors=True)


class Inside(unittest.TestCase):
    """Letters between members pass both laws; deadlines are short."""

    seconds = 40

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue(settings={**LEAVE, "leave.deadline": "8 s", "leave.patient": "20 s", **ARRIVE,
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
            text = f"From: {author.address}\r\nTo: {to.address}\r\nSubject: {subject}\r\n{more}\r\nHello.\r\n"
            server.sendmail(author.address, [to.address], text, options)

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
            return [p[1].decode().strip().removeprefix("Subject: ") for p in parts
                    if isinstance(p, tuple)]
        finally:
            client.logout()

    def test_three_leave_together_one_alone_leaves_late_and_is_told(self) -> None:
        alice, bert, clara, dora = self.members
        before = [len([x for x in self.journal(m) if x["event"] == "left"]) for m in (alice, bert, clara)]
        self.send(alice, dora, "one of three")
        self.send(bert, dora, "one of three")
        time.sleep(2 * T + 0.5)
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
        self.assertEqual((said["members"], said["counting"], said["crowd"], said["clock_s"]), (4, 4, 3, T))
        self.assertGreaterEqual(day["letters"], 4)
        self.assertGreaterEqual(day["void"], 1)
        self.assertGreater(day["padding"], 1)

    def test_an_urgent_letter_waits_for_the_tick_alone_and_a_held_one_for_its_time(self) -> None:
        _, _, clara, dora = self.members
        before = len([x for x in self.journal(dora) if x["event"] == "left"])
        self.send(dora, clara, "urgent", "X-Priority: 1 (Highest)\r\n")
        line = self.left(dora, before + 1, 3 * T + 5)[-1]
        self.assertEqual(line["protected"], "no")
        wait_until(lambda: "urgent" in self.subjects(clara), 10, "the urgent one")
        self.send(dora, clara, "held", options=("HOLDFOR=6",))
        self.assertIn("Kept for later", [x["text"] for x in self.journal(dora)])
        time.sleep(4)
        self.assertNotIn("held", self.subjects(clara))
        wait_until(lambda: "held" in self.subjects(clara), 40, "the held one")
