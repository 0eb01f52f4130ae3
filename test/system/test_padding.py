# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sizes on the line: what somebody sees who reads the headers of TLS records, and nothing else."""

import imaplib
import json
import random
import smtplib
import socket
import ssl
import threading
import time
import unittest

from harness.cohue import Cohue
from harness.dialogue import imap_login, smtp_login, tls_context
from harness.relay import Relay
from harness.sink import Sink
from harness.wait import wait_until

FULL = 16384
ENVELOPE = 4096


def letter(size: int, subject: str = "x") -> bytes:
    """A message of exactly so many octets, without dots at the start of lines."""
    head = f"From: alice@house.test\r\nTo: bob@house.test\r\nSubject: {subject}\r\n\r\n".encode()
    body = (b"abcdefghijklmnopqrstuvwxyz0123456789 " * (size // 37 + 1))[:size - len(head)]
    lines = bytearray(body)
    for at in range(76, len(lines) - 1, 78):
        lines[at:at + 2] = b"\r\n"
    if len(lines) >= 2:
        lines[-2:] = b"\r\n"
    return head + bytes(lines)


def settle(relay: Relay) -> int:
    """Until nothing has crossed for a while; how many records there are then."""
    count = -1
    while count != len(relay.records):
        count = len(relay.records)
        time.sleep(0.15)
    return count


class Members(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.house = Cohue().__enter__()
        try:
            cls.alice = cls.house.add_member("alice")
        except BaseException:
            cls.house.destroy()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.house.destroy()

    def test_each_small_answer_of_imap_is_one_record_of_512(self) -> None:
        with Relay(self.house.port(993)) as line:
            client = imap_login(line.port, self.alice.address, self.alice.password)
            since = settle(line)
            # The greeting, what it can do, and the login; before them the handshake and a ticket.
            self.assertEqual(line.sizes(False)[-3:], [512] * 3)
            for number, command in enumerate((client.noop, client.select, lambda: client.status("INBOX", "(MESSAGES)"),
                                              lambda: client.search(None, "ALL"), client.noop)):
                command()
                settle(line)
                self.assertEqual(line.sizes(False, since), [512] * (number + 1))
            client.logout()

    def test_a_fetched_message_shows_its_step_of_the_ladder_alone(self) -> None:
        client = self.house.imap(self.alice)
        client.create("Sizes")
        # Of each pair the first and nearly the last size of a step; FETCH adds about 60 octets.
        steps = [((600, 3900), [4096]), ((4200, 16200), [FULL]), ((17000, 65300), [FULL] * 4),
                 ((66000, 261900), [FULL] * 16), ((263000, 1048300), [FULL] * 64)]
        for sizes, _ in steps:
            for size in sizes:
                client.append("Sizes", None, None, letter(size))
        client.logout()
        with Relay(self.house.port(993)) as line:
            client = imap_login(line.port, self.alice.address, self.alice.password)
            client.select("Sizes", readonly=True)
            uid = 0
            for sizes, want in steps:
                for size in sizes:
                    uid += 1
                    since = settle(line)
                    _, answer = client.fetch(str(uid), "(BODY.PEEK[])")
                    self.assertEqual(len(answer[0][1]), size)
                    settle(line)
                    self.assertEqual(line.sizes(False, since), want, f"{size} octets")
            client.logout()

    def test_replies_to_submissions_are_records_of_512(self) -> None:
        for implicit in (True, False):
            with Relay(self.house.port(465 if implicit else 587)) as line:
                client = smtp_login(line.port, self.alice.address, self.alice.password, implicit)
                since = settle(line)
                client.sendmail(self.alice.address, [self.alice.address], letter(5000))
                client.quit()
                settle(line)
                # MAIL, RCPT, DATA, the message, QUIT; the last record says that TLS ends.
                replies = line.sizes(False, since)
                self.assertEqual(replies[:5], [512] * 5)
                self.assertLess(len(replies), 7)

    def test_replies_to_strangers_are_records_of_512(self) -> None:
        with Relay(self.house.port(25)) as line:
            client = smtplib.SMTP("127.0.0.1", line.port, local_hostname="stranger.test", timeout=20)
            client.starttls(context=tls_context())
            client.ehlo()
            since = settle(line)
            self.assertEqual(line.sizes(False)[-1], 512)
            client.mail("bob@stranger.test")
            client.rcpt(self.alice.address)
            client.rcpt("nobody-of-that-name@house.test")
            client.rset()
            settle(line)
            self.assertEqual(line.sizes(False, since), [512] * 4)
            client.quit()


class Off(unittest.TestCase):
    def test_without_padding_sizes_show_and_the_start_says_so(self) -> None:
        with Cohue(settings={"pad": "none"}) as house:
            alice = house.add_member("alice")
            self.assertIn("padding is off", house.log())
            with Relay(house.port(993)) as line:
                client: imaplib.IMAP4 = imap_login(line.port, alice.address, alice.password)
                since = settle(line)
                client.noop()
                wait_until(lambda: line.sizes(False, since), 5, "an answer")
                self.assertLess(line.sizes(False, since)[0], 100)
                client.logout()


class Leaving(unittest.TestCase):
    """A courier, a line, and another provider's server. It is reached as a smarthost: no DNS is asked."""

    seconds = 35

    def world(self, settings: dict[str, str] | None = None, **options) -> None:
        self.sink = self.enterContext(Sink(**options))
        self.line = self.enterContext(Relay(self.sink.port))
        self.house = self.enterContext(Cohue(settings={"smarthost": f"127.0.0.1:{self.line.port}", **(settings or {})}))
        self.alice = self.house.add_member("alice")

    def send(self, octets: bytes, recipients: int = 1) -> None:
        with self.house.smtp(self.alice) as client:
            client.sendmail(self.alice.address, [f"person-{n}@sink.test" for n in range(recipients)], octets)

    def seen(self, octets: bytes, recipients: int = 1) -> tuple[list[int], bytes]:
        """The sizes of the records of one delivery in a connection of its own, and what arrived."""
        count, connections = len(self.sink.messages), self.line.connections
        self.send(octets, recipients)
        wait_until(lambda: len(self.sink.messages) > count, 20, "delivery")
        wait_until(lambda: self.sink.sessions[-1][-1] == "QUIT", 20, "the end of the connection")
        settle(self.line)
        self.assertEqual(self.line.connections, connections + 1)
        records = [r for r in self.line.records if r.connection == self.line.connections and r.outgoing and r.kind == 23]
        # The client's Finished comes first, close_notify last: they say the same each time.
        self.assertEqual((records[0].size, records[-1].size), (records[0].size, 3))
        return [r.size for r in records[1:-1]], self.sink.messages[-1]

    def status(self) -> dict[str, int]:
        """The courier's figures."""
        said = json.loads(self.house.cli("status", "--json").stdout)
        found: dict[str, int] = {}

        def walk(value, role: str) -> None:
            if isinstance(value, dict):
                role = value.get("role", role)
                for key, inner in value.items():
                    if isinstance(inner, (dict, list)):
                        walk(inner, role)
                    elif role == "courier" and str(inner).isdigit():
                        found[key] = int(inner)
            elif isinstance(value, list):
                for inner in value:
                    walk(inner, role)
        walk(said, "")
        return found

    def size_void(self) -> tuple[int, int]:
        """Deliveries that were taken, and those of them that were void for size, as `cohue crowd live` tells them."""
        day = json.loads(self.house.cli("crowd", "live", "--json").stdout)["sums"][0]["day"]
        return day["taken"], day["void_for_size"]

    def test_commands_are_one_record_each_flight_and_bodies_show_their_class(self) -> None:
        self.world()
        # With what the house adds (some 150 octets), and room for it: 4096.
        for sizes, records in [((200, 20000, 61000), 4), ((61900, 200000, 257500), 16), ((259000, 900000), 64)]:
            for size in sizes:
                with self.subTest(size=size):
                    sizes_seen, arrived = self.seen(letter(size))
                    # EHLO; MAIL, RCPT and DATA in one; the message; QUIT.
                    self.assertEqual(sizes_seen, [1024, ENVELOPE] + [FULL] * records + [1024])
                    self.assertGreater(len(arrived), size)
        status = self.status()
        self.assertEqual((status["delivered_unpadded"], status["class_exceeded"]), (0, 0))
        taken, void = self.size_void()
        self.assertTrue(taken >= 1 and void == 0)
        self.assertGreater(status["padding_mib"], 0)

    def test_a_body_of_dots_is_counted_as_it_travels(self) -> None:
        self.world()
        head = b"From: alice@house.test\r\nTo: p@sink.test\r\nSubject: dots\r\n\r\n"
        octets = head + b".\r\n" * 15500
        sizes, arrived = self.seen(octets)
        # 46,500 octets, and 15,500 dots more.
        self.assertEqual(sizes[2:-1], [FULL] * 16)
        self.assertTrue(arrived.endswith(b"\r\n\r\n" + b".\r\n" * 15500))

    def test_eight_bits_that_grow_on_the_way_go_up_a_class_openly(self) -> None:
        self.world(eight_bit=False)
        head = (b"From: alice@house.test\r\nTo: p@sink.test\r\nSubject: eight\r\nMIME-Version: 1.0\r\n"
                b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
        # In base64, a third more.
        line = "\u00e4\u00f6\u00fc".encode() * 12 + b"\r\n"
        octets = head + line * (56000 // len(line))
        sizes, _ = self.seen(octets)
        self.assertEqual(sizes[2:-1], [FULL] * 16)
        self.assertEqual(self.status()["class_exceeded"], 1)
        # In a class that its crowd was not of: void for size, and told.
        taken, void = self.size_void()
        self.assertTrue(taken >= 1 and void == 1, (taken, void))
        told = self.house.cli("journal", "alice", stdin=self.alice.password + "\n").stdout
        self.assertIn("void for size: it showed", told)

    def deliveries(self, recipients: list[str], many: int) -> list[list[int]]:
        """The sizes of records of each delivery of one letter, in connections of their own or one behind the other."""
        first, count = self.line.connections, len(self.sink.messages)
        with self.house.smtp(self.alice) as client:
            client.sendmail(self.alice.address, recipients, letter(500))
        wait_until(lambda: len(self.sink.messages) == count + many, 20, "deliveries")
        wait_until(lambda: all(said[-1] == "QUIT" for said in self.sink.sessions[first:]), 20, "the ends of the connections")
        settle(self.line)
        told = [line[9:-1] for said in self.sink.sessions[first:] for line in said if line.startswith("RCPT")]
        self.assertEqual(sorted(told), sorted(recipients))
        found = []
        for number in range(first + 1, self.line.connections + 1):
            sizes = [r.size for r in self.line.records if r.connection == number and r.outgoing and r.kind == 23]
            # Finished and EHLO before, QUIT and close_notify behind; in between nothing but deliveries.
            self.assertEqual((sizes[1], sizes[-2:]), (1024, [1024, 3]))
            rest = sizes[2:-2]
            while rest:
                end = next((n for n, (a, b) in enumerate(zip(rest, rest[1:]), 1) if a == FULL != b), len(rest))
                found.append(rest[:end])
                rest = rest[end:]
        return found

    def test_a_delivery_has_the_same_records_whoever_and_however_many_it_is_for(self) -> None:
        self.world()
        usual = [[ENVELOPE] + [FULL] * 4]
        short, long = "p{}@sink.test", "somebody.with.a.very.long.name.of.nearly.sixty.four.letters.{}@mail.sink.test"
        self.assertEqual(self.deliveries([short.format(0)], 1), usual)
        self.assertEqual(self.deliveries([long.format(0)], 1), usual)
        self.assertEqual(self.deliveries([short.format(n) for n in range(60)], 1), usual)
        # These do not go into one envelope: two deliveries, and each counts in the crowd.
        self.assertEqual(self.deliveries([long.format(n) for n in range(60)], 2), usual * 2)
        status = self.status()
        self.assertEqual((status["delivered"], status["delivered_unpadded"]), (122, 0))

    def test_without_pipelining_a_delivery_has_always_as_many_commands(self) -> None:
        self.world(pipelining=False)
        # MAIL, four times RCPT or NOOP, DATA.
        usual = [[1024] * 6 + [FULL] * 4]
        self.assertEqual(self.deliveries(["p@sink.test"], 1), usual)
        self.assertEqual(self.deliveries([f"p{n}@sink.test" for n in range(4)], 1), usual)
        self.assertEqual(self.deliveries([f"p{n}@sink.test" for n in range(14)], 4), usual * 4)

    def test_older_tls_is_told_as_unpadded(self) -> None:
        self.world(maximum=ssl.TLSVersion.TLSv1_2)
        self.send(letter(500))
        wait_until(lambda: self.status().get("delivered") == 1, 20, "delivery")
        status = self.status()
        self.assertEqual((status["delivered_unpadded"], status["delivered_clear"]), (1, 0))
        wait_until(lambda: self.size_void() == (1, 1), 20, "the sums")

    def test_what_goes_in_clear_is_told_as_such(self) -> None:
        self.world({"tls.outbound": "prefer"}, starttls=False)
        self.send(letter(500))
        wait_until(lambda: self.status().get("delivered") == 1, 20, "delivery")
        status = self.status()
        self.assertEqual((status["delivered_unpadded"], status["delivered_clear"]), (1, 1))
        wait_until(lambda: self.size_void() == (1, 1), 20, "the sums")

    def test_no_session_is_resumed(self) -> None:
        self.world()
        for _ in range(3):
            self.seen(letter(500))
        self.assertEqual(self.sink.resumed, 0)


class Names(unittest.TestCase):
    """Whom the house asks about names, and when."""

    def test_no_name_is_asked_for_before_its_message_leaves(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stub:
            address = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.10"
            stub.bind((address, 0))
            asked: list[bytes] = []

            def listen() -> None:
                while True:
                    try:
                        packet, who = stub.recvfrom(4096)
                    except OSError:
                        return
                    asked.append(packet.lower())
                    # Nothing of that type (RFC 1035 section 4.1.1): the next label is asked for.
                    stub.sendto(packet[:2] + b"\x84\x00" + packet[4:6] + bytes(6) + packet[12:question_end(packet)], who)
            threading.Thread(target=listen, daemon=True).start()
            settings = {"resolver.stub": f"example={address}@{stub.getsockname()[1]}", "resolver.trust_anchor": ANCHOR,
                        "leave.law": "exponential", "leave.mean": "1d"}
            with Cohue(settings=settings) as house:
                alice = house.add_member("alice")
                before = len(asked)
                for number in range(3):
                    with house.smtp(alice) as client:
                        client.sendmail(alice.address, [f"bob@waiting{number}.example"], letter(500))
                time.sleep(4)
                self.assertEqual(asked[before:], [])
                house.stop()
                house.settings["leave.law"] = "none"
                house.start()
                with house.smtp(alice) as client:
                    client.sendmail(alice.address, ["bob@leaving.example"], letter(500))
                wait_until(lambda: [p for p in asked if b"leaving" in p], 20, "a question")


# Any will do: nothing here is signed.
ANCHOR = "example.net. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"


def question_end(packet: bytes) -> int:
    at = 12
    while packet[at]:
        at += packet[at] + 1
    return at + 5
