# SPDX-License-Identifier: AGPL-3.0-or-later
"""Arriving mail, judged by a DNS that goes in circles, cuts its answers short, or takes its time."""

import os
import smtplib
import socket
import struct
import threading
import time

from harness.cohue import Cohue
from peers import Knot, peers_available
from test_authentication import ADDRESS, Judged as Base, message

ODD = ADDRESS[:-2] + "77"
BUSY = 280  # connections: more than the resolver ever takes at once
DELAY = 2.0  # seconds


class OddServer:
    """Serves odd.test: names with a label "slow" late, those with "cut" over TCP alone."""

    def __init__(self, address: str) -> None:
        self.over_tcp = 0
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53))
        self.waiting: list[tuple[float, bytes, tuple]] = []
        self.ended = False
        for run in (self.hear, self.tell, self.serve):
            threading.Thread(target=run, daemon=True).start()

    @staticmethod
    def answer(packet: bytes, cut: bool) -> bytes:
        end = packet.index(b"\0", 12) + 1
        kind = struct.unpack(">H", packet[end:end + 2])[0]
        name = packet[12:end].lower()
        text = None
        if b"_dmarc" in name:
            text = b"v=DMARC1; p=reject"
        elif b"\x03cut" in name:
            text = b"v=spf1 ip4:127.0.0.0/8 -all"
        elif kind == 16 and b"\x04slow" in name:
            text = b"v=spf1" + b"".join(b" include:" + os.urandom(6).hex().encode() + b".slow.odd.test" for _ in range(2)) + b" -all"
        data = b"" if text is None or kind != 16 or cut else (
            b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c" + struct.pack(">H", len(text) + 1) + bytes([len(text)]) + text)
        return packet[:2] + (b"\x86\0" if cut else b"\x84\0") + struct.pack(">HHHH", 1, 1 if data else 0, 0, 0) + packet[12:end + 4] + data

    def hear(self) -> None:
        while not self.ended:
            try:
                packet, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            slow = b"\x04slow" in packet.lower()
            self.waiting.append((time.monotonic() + (DELAY if slow else 0), self.answer(packet, b"\x03cut" in packet.lower()), peer))

    def tell(self) -> None:
        while not self.ended:
            for item in [i for i in self.waiting if i[0] <= time.monotonic()]:
                self.waiting.remove(item)
                self.udp.sendto(item[1], item[2])
            time.sleep(0.01)

    def serve(self) -> None:
        while not self.ended:
            try:
                link, _ = self.tcp.accept()
            except OSError:
                return
            with link:
                head = link.recv(2)
                packet = link.recv(struct.unpack(">H", head)[0]) if len(head) == 2 else b""
                if packet:
                    self.over_tcp += 1
                    out = self.answer(packet, False)
                    link.sendall(struct.pack(">H", len(out)) + out)

    def __exit__(self, *_: object) -> None:
        self.ended = True
        self.udp.close()
        self.tcp.close()


class OddDns(Base):
    @classmethod
    def setUpClass(cls) -> None:
        peers_available()
        super().setUpClass()

    @classmethod
    def begin(cls) -> None:
        policy = '_dmarc TXT "v=DMARC1; p=reject"'
        circle = ["one CNAME two", "two CNAME one"]
        zones = {
            "test": ["odd NS ns.odd", f"ns.odd A {ODD}"],
            "author.test": [policy, '@ TXT "v=spf1 -all"'],
            "free.test": ['@ TXT "v=spf1 ?all"'],
            "circle.test": [policy, '@ TXT "v=spf1 include:one.circle.test -all"', *circle],
            "round.test": [policy, "s1._domainkey CNAME s2._domainkey", "s2._domainkey CNAME s1._domainkey"],
            "wheel.test": ["_dmarc CNAME one", *circle],
        }
        cls.odd = OddServer(ODD)
        cls.open.append(cls.odd)
        cls.knot = Knot(zones, address=ADDRESS, port=53)
        cls.knot.__enter__()
        cls.open.append(cls.knot)
        cls.house = Cohue(settings={"resolver.stub": ADDRESS, "resolver.trust_anchor": cls.knot.anchor, "authentication": "enforce"})
        cls.house.__enter__()
        cls.open.append(cls.house)
        cls.alice = cls.house.add_member("alice")

    def test_names_that_lead_to_themselves_prove_nothing_and_end(self) -> None:
        # The author's policy is known: what might yet prove him has to come again.
        self.refused(message("a@circle.test", "spf"), "a@circle.test", 451)
        # The body is as it was signed: so the key is asked for.
        fields = ("DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=round.test; s=s1; h=from;\r\n"
                  " bh=ssiOVws/oCJGS5wViajGg3LUlJv6jB0ubC7+5zOUfpY=; b=" + "A" * 340 + "AA==\r\n")
        said = self.unread(fields)
        self.assertIn("451", said)
        # There is no policy to be had, of anybody.
        self.send(message("a@wheel.test", "wheel"))
        self.assertTrue(any(s.startswith("dmarc=temperror") for s in self.results(self.arrived("wheel", "Junk"))))

    def unread(self, fields: str) -> str:
        try:
            self.send(message("a@round.test", "key", fields=fields))
        except smtplib.SMTPDataError as e:
            return f"{e.smtp_code}"
        return "250"

    def test_an_answer_that_is_cut_short_is_asked_for_again(self) -> None:
        self.send(message("a@cut.odd.test", "cut"), "x@cut.odd.test")
        said = self.results(self.arrived("cut"))
        self.assertIn("spf=pass smtp.mailfrom=x@cut.odd.test", said)
        self.assertGreater(self.odd.over_tcp, 0)

    def test_slow_name_servers_keep_nobody_from_being_judged(self) -> None:
        def hold() -> None:
            try:
                self.send(message("q@free.test", "slow"), f"x@{os.urandom(6).hex()}.slow.odd.test")
            except (OSError, smtplib.SMTPException):
                pass
        for _ in range(BUSY):
            threading.Thread(target=hold, daemon=True).start()
        time.sleep(DELAY)
        # From another network: those who keep theirs busy wait for each other.
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            self.send(message("a@author.test", "forged"), source="127.0.5.1")
        self.assertEqual(caught.exception.smtp_code, 550, caught.exception)


# Its tests are of its own module alone.
for name in [n for n in dir(Base) if n.startswith("test_")]:
    setattr(OddDns, name, None)
del Base
