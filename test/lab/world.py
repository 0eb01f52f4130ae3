# SPDX-License-Identifier: AGPL-3.0-or-later
"""The small internet that is watched: a house with members, other people's servers at addresses of their own, strangers;
traffic at random times; and a capture at the house's line. What really happened is noted beside it, for the judge alone."""

import asyncio
import base64
import dataclasses
import math
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from harness.cohue import Cohue
from harness.dialogue import tls_context
from harness.wait import wait_until
from harness.world import Network

Place = tuple[str, int]  # address and port: one end of a connection


@dataclasses.dataclass
class Plan:
    members: int = 30
    hosts: int = 64
    strangers: int = 10
    seconds: float = 60
    clock: int = 2  # seconds: of leaving and of arriving mail
    k: int = 3
    deadline: int = 120
    arrive_k: int = 2
    arrive_deadline: int = 4
    leaving: float = 4.0  # letters a second, from all members together
    arriving: float = 2.0
    smallest: int = 700
    largest: int = 50000
    large: float = 0.2  # of the letters: with an attachment, in the next size class
    urgent: float = 0.1  # their programs say that they are in haste
    local: float = 0.1  # to members
    seed: int = 1
    settings: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Truth:
    """What the attacker is measured against, and never gets to see."""
    sent: dict[int, Place] = dataclasses.field(default_factory=dict)  # letter -> its sender's end
    delivered: dict[int, tuple[Place, str]] = dataclasses.field(default_factory=dict)  # -> the house's end, the host
    stayed: set[Place] = dataclasses.field(default_factory=set)  # senders' ends of letters to members
    given: dict[int, Place] = dataclasses.field(default_factory=dict)  # arriving letter -> the stranger's end
    meant: dict[int, str] = dataclasses.field(default_factory=dict)  # -> the recipient's address on the line
    fetched: dict[int, Place] = dataclasses.field(default_factory=dict)  # -> the fetcher's end
    idle: list[Place] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Seen:
    """What the attacker knows: the capture, and what is public about the house."""
    capture: pathlib.Path
    house: str
    names: dict[str, str]  # destination domain -> the address of its server
    members: list[str]
    begun: float
    ended: float


class Refused(Exception):
    pass


def text(number: int, size: int, sender: str, recipient: str, chance: random.Random, more: str = "", kind: str = "lab") -> bytes:
    head = (f"From: {sender}\r\nTo: {recipient}\r\nSubject: {kind} {number}\r\n{more}MIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=us-ascii\r\n\r\n").encode()
    line = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz ", k=70)).strip().encode() + b"\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


async def hear(reader: asyncio.StreamReader, good: str) -> str:
    while True:
        line = (await reader.readline()).decode("latin-1")
        if not line:
            raise Refused("the connection ended")
        if line[3:4] != "-":
            if line[:1] != good:
                raise Refused(line.strip())
            return line


class Lab:
    """`with Lab(plan) as lab: seen, truth = lab.watch()`"""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.truth = Truth()
        self.chance = random.Random(plan.seed)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cohue-lab-"))
        self.house: Cohue | None = None
        self.knot = None
        self.network: Network | None = None
        self.trust = tls_context()
        self.members: list[tuple[str, str, str]] = []  # address on the line, mail address, password
        self.hosts: list[str] = []
        self.strangers: list[str] = []
        self.used: dict[str, float] = {}  # destination -> when a letter to it was last begun
        try:
            self.build()
        except BaseException:
            self.destroy()
            raise

    # The world

    def build(self) -> None:
        if shutil.which("tcpdump") is None:
            raise unittest.SkipTest("tcpdump is not installed")
        from peers import Knot
        self.network = net = Network()
        dns, at_house, _, _, _ = (net.add(name) for name in ("dns", "house", "members", "outside", "strangers"))
        self.at_house = at_house

        def more(host: str, first: int, count: int) -> list[str]:
            for n in range(first, first + count):
                net.ip(host, f"addr add 10.53.0.{n}/24 dev eth0")
            return [f"10.53.0.{n}" for n in range(first, first + count)]
        plan = self.plan
        if plan.members > 110 or plan.hosts > 70 or plan.strangers > 30:
            raise ValueError("more hosts than there are addresses")
        at_members = more("members", 140, plan.members)
        self.hosts = more("outside", 60, plan.hosts)
        self.strangers = more("strangers", 20, plan.strangers)
        self.domains = {f"d{n}.dest.test": address for n, address in enumerate(self.hosts)}
        # An answer lives for no second, so that each letter's names are asked for anew.
        self.knot = Knot({"cohue.test": ["@ MX 10 mail.cohue.test.", f"mail A {at_house}"],
                          "dest.test": [line for n, address in enumerate(self.hosts)
                                        for line in (f"d{n} 0 MX 10 mx.d{n}", f"mx.d{n} 0 A {address}")],
                          "strange.test": [f"s{n} A {address}" for n, address in enumerate(self.strangers)],
                          "0.53.10.in-addr.arpa": []}, address=dns, port=53)
        with net.inside("dns"):
            self.knot.start()
        self.house = Cohue("cohue.test", "mail.cohue.test", offset=0, settings={
            "resolver.stub": dns, "resolver.trust_anchor": self.knot.anchor,
            "leave.law": "crowd", "leave.clock": f"{plan.clock} s", "leave.crowd": str(plan.k),
            "leave.deadline": f"{plan.deadline} s", "arrive.law": "crowd", "arrive.clock": f"{plan.clock} s",
            "arrive.crowd": str(plan.arrive_k), "arrive.deadline": f"{plan.arrive_deadline} s", **plan.settings})
        with net.inside("house"):
            self.house.init()
            self.house.start()
            for address in at_members:
                member = self.house.add_member(f"m{address.rpartition('.')[2]}")
                self.members.append((address, member.address, member.password))
        self.certify()

    def certify(self) -> None:
        key, certificate = self.directory / "key", self.directory / "certificate"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", certificate, "-subj", "/CN=mx.dest.test", "-days", "2"],
                       check=True, capture_output=True)
        self.served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.served.load_cert_chain(certificate, key)

    def socket(self, host: str, address: str) -> socket.socket:
        """A socket that lives on that host, with that address of it."""
        with self.network.inside(host):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        made.bind((address, 0))
        return made

    async def call(self, host: str, address: str, port: int, secure: bool
                   ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Place]:
        line = self.socket(host, address)
        try:
            await asyncio.get_running_loop().sock_connect(line, (self.at_house, port))
            place = line.getsockname()
            reader, writer = await asyncio.open_connection(
                sock=line, limit=1 << 20, **({"ssl": self.trust, "server_hostname": "mail.cohue.test"} if secure else {}))
        except BaseException:
            line.close()
            raise
        return reader, writer, place

    # Those who take part

    async def sink(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Another provider's server: takes everything."""
        house, here = writer.get_extra_info("peername")[:2], writer.get_extra_info("sockname")[0]
        try:
            writer.write(b"220 mx.dest.test\r\n")
            secure = False
            while line := await reader.readline():
                verb = line[:8].strip().split(b" ")[0].upper()
                if verb == b"EHLO":
                    writer.write(b"250-mx.dest.test\r\n250-8BITMIME\r\n" + b"250-STARTTLS\r\n" * (not secure)
                                 + b"250 PIPELINING\r\n")
                elif verb == b"STARTTLS":
                    writer.write(b"220 go on\r\n")
                    await writer.drain()
                    await writer.start_tls(self.served)
                    secure = True
                elif verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    while (part := await reader.readline()) != b".\r\n":
                        if not part:
                            return
                        if part.startswith(b"Subject: lab "):
                            self.truth.delivered[int(part.split()[2])] = (house, here)
                    writer.write(b"250 taken\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    await writer.drain()
                    return
                else:
                    writer.write(b"250 fine\r\n")
                await writer.drain()
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def submit(self, number: int, who: int, recipient: str, size: int, urgent: bool) -> None:
        """One letter by a member's program, in a connection of its own. An empty recipient: another member."""
        address, mail, password = self.members[who]
        reader, writer, place = await self.call("members", address, 465, True)
        try:
            if recipient:
                self.truth.sent[number] = place
            else:
                self.truth.stayed.add(place)
            await hear(reader, "2")
            token = base64.b64encode(f"\0{mail}\0{password}".encode()).decode()
            to = recipient or self.members[number % len(self.members)][1]
            for line in ("EHLO client.test", f"AUTH PLAIN {token}", f"MAIL FROM:<{mail}>", f"RCPT TO:<{to}>"):
                writer.write(line.encode() + b"\r\n")
                await hear(reader, "2")
            writer.write(b"DATA\r\n")
            await hear(reader, "3")
            # As long a header in haste as at leisure.
            more = f"X-Priority: {1 if urgent else 3}\r\n"
            writer.write(text(number, size, mail, to, self.chance, more, "lab" if recipient else "inside") + b".\r\n")
            await hear(reader, "2")
            writer.write(b"QUIT\r\n")
            await hear(reader, "2")
        except Refused as problem:
            self.truth.sent.pop(number, None)
            raise Refused(f"submission: {problem}") from problem
        finally:
            writer.close()

    async def give(self, number: int, stranger: int, who: int, size: int) -> None:
        """One letter from outside."""
        reader, writer, place = await self.call("strangers", self.strangers[stranger], 25, False)
        try:
            await hear(reader, "2")
            sender, recipient = f"x@s{stranger}.strange.test", self.members[who][1]
            writer.write(f"EHLO s{stranger}.strange.test\r\n".encode())
            await hear(reader, "2")
            writer.write(b"STARTTLS\r\n")
            await hear(reader, "2")
            await writer.start_tls(self.trust, server_hostname="mail.cohue.test")
            for line in (f"EHLO s{stranger}.strange.test", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
                writer.write(line.encode() + b"\r\n")
                await hear(reader, "2")
            writer.write(b"DATA\r\n")
            await hear(reader, "3")
            self.truth.given[number] = place
            self.truth.meant[number] = self.members[who][0]
            writer.write(text(number, size, sender, recipient, self.chance) + b".\r\n")
            await hear(reader, "2")
            writer.write(b"QUIT\r\n")
            await hear(reader, "2")
        except Refused as problem:
            self.truth.given.pop(number, None)
            raise Refused(f"arrival: {problem}") from problem
        finally:
            writer.close()

    async def idle(self, who: int) -> None:
        """A member's program that stays connected, and fetches what it is told of."""
        address, mail, password = self.members[who]
        reader, writer, place = await self.call("members", address, 993, True)
        count = 0

        async def until(tag: bytes) -> bytes:
            nonlocal count
            said = b""
            while line := await reader.readline():
                said += line
                if found := re.match(rb"\* (\d+) EXISTS", line):
                    count = int(found[1])
                if found := re.search(rb"\{(\d+)\}\r\n$", line):
                    said += await reader.readexactly(int(found[1]))
                elif line.startswith(tag):
                    if tag == b"a" and b" OK" not in line:
                        raise Refused(line.decode("latin-1").strip())
                    return said
            raise Refused("the mailbox's connection ended")
        try:
            await reader.readline()
            for command in (f"LOGIN {mail} {password}", "SELECT INBOX"):
                writer.write(f"a {command}\r\n".encode())
                await until(b"a")
            had = count
            self.truth.idle.append(place)
            while True:
                writer.write(b"a IDLE\r\n")
                await until(b"+")
                while count == had:
                    await until(b"*")
                writer.write(b"DONE\r\n")
                await until(b"a")
                first, had = had + 1, count
                writer.write(f"a FETCH {first}:{had} (BODY.PEEK[])\r\n".encode())
                for number in re.findall(rb"\nSubject: lab (\d+)", await until(b"a")):
                    self.truth.fetched[int(number)] = place
        finally:
            writer.close()

    # The run

    def destination(self, chance: random.Random) -> str:
        """Hosts of a batch differ, so that a delivery is a connection. All through a tick those are drawn from that no batch of late
        went to: were a host of the batch before taken again, then by those who enter late rather than early, and whatever it left
        behind (an answer in a cache) would put the batch in an order that no sender and no letter has made."""
        now, clock = time.time(), self.plan.clock
        tick = now // clock * clock
        free = next(free for since in (tick - 1.4 * clock, tick, math.inf)
                    if (free := [d for d in self.domains if self.used.get(d, 0.0) < since]))
        chosen = chance.choice(free)
        self.used[chosen] = now
        return chosen

    async def life(self) -> None:
        plan, truth, tasks = self.plan, self.truth, set()
        servers = []
        for address in self.hosts:
            with self.network.inside("outside"):
                door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((address, 25))
            servers.append(await asyncio.start_server(self.sink, sock=door, limit=1 << 20))

        def ended(task: asyncio.Task) -> None:
            tasks.discard(task)
            if not task.cancelled() and (problem := task.exception()):
                truth.problems.append(f"{type(problem).__name__}: {problem}")

        def begin(work) -> None:
            task = asyncio.create_task(work)
            tasks.add(task)
            task.add_done_callback(ended)
        idlers = set()
        if plan.arriving > 0:
            for who in range(plan.members):
                task = asyncio.create_task(self.idle(who))
                task.add_done_callback(ended)
                idlers.add(task)
            end = time.monotonic() + 30
            while len(truth.idle) < plan.members and time.monotonic() < end:
                await asyncio.sleep(0.05)
        self.begun = time.time()
        chance = random.Random(plan.seed + 1)

        async def leaving() -> None:
            number, due = 0, time.monotonic()
            end = due + plan.seconds
            while plan.leaving > 0 and (due := due + chance.expovariate(plan.leaving)) < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                domain = self.destination(chance)
                size = int(plan.smallest * (plan.largest / plan.smallest) ** chance.random())
                if chance.random() < plan.large:
                    size = chance.randrange(70000, 200000)
                recipient = "" if chance.random() < plan.local else f"somebody@{domain}"
                begin(self.submit(number, chance.randrange(plan.members), recipient, size, chance.random() < plan.urgent))
                number += 1

        async def arriving() -> None:
            number, due = 0, time.monotonic()
            end = due + plan.seconds
            while plan.arriving > 0 and (due := due + chance.expovariate(plan.arriving)) < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                # All within one step of the ladder for what is fetched, 16 KiB.
                begin(self.give(number, chance.randrange(plan.strangers), chance.randrange(plan.members),
                                chance.randrange(5000, 14000)))
                number += 1
        await asyncio.gather(leaving(), arriving())
        self.ended = time.time()
        # What is under way comes to its end; a letter that waits for a crowd may not.
        end = time.monotonic() + 30
        while tasks and time.monotonic() < end:
            await asyncio.sleep(0.05)
        end = time.monotonic() + 3 * plan.clock
        while time.monotonic() < end and (set(truth.sent) - set(truth.delivered)
                                          or (plan.arriving > 0 and set(truth.given) - set(truth.fetched))):
            await asyncio.sleep(0.1)
        for task in list(tasks) + list(idlers):
            task.cancel()
        await asyncio.gather(*tasks, *idlers, return_exceptions=True)
        for server in servers:
            server.close()

    def watch(self) -> tuple[Seen, Truth]:
        """Runs the traffic under the capture."""
        path = self.directory / "line.pcap"
        with self.network.inside("house"):
            dump = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "tcpdump", "-i", "eth0", "-n", "-Z", "root", "-U", "-B",
                                     "65536", "-s", "0", "-w", path, "ip"], stdin=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: path.exists() and path.stat().st_size >= 24, 10, "the capture begins")
            asyncio.run(self.life())
        finally:
            dump.send_signal(signal.SIGINT)
            said = dump.communicate(timeout=20)[1].decode(errors="replace")
        lost = re.search(r"(\d+) packets dropped by kernel", said)
        if lost is None or int(lost[1]) > 0:
            self.truth.problems.append(f"the capture is not whole: {' '.join(said.split())}")
        return Seen(path, self.at_house, self.domains, [m[0] for m in self.members], self.begun, self.ended), self.truth

    def destroy(self) -> None:
        if self.house is not None:
            self.house.destroy()
        if self.knot is not None:
            self.knot.stop()
        if self.network is not None:
            self.network.destroy()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()
