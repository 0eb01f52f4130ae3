# SPDX-License-Identifier: AGPL-3.0-or-later
"""Connections in IDLE as somebody on their lines sees them (when, and how long each TLS record), and what they said in truth."""

import collections
import dataclasses
import math
import random
import select
import smtplib
import socket
import ssl
import struct
import threading
import time

from harness.dialogue import tls_context
from harness.relay import APPLICATION_DATA, TAG

SO_TIMESTAMPNS = 35  # asm-generic/socket.h
NANO = 1_000_000_000


@dataclasses.dataclass
class Sample:
    """One connection between one tick and the next."""
    member: int
    connection: int
    tick: int
    sizes: tuple[int, ...]
    after: float  # seconds from the tick to the first record
    news: bool


class Idler:
    """A client over TLS that reads nothing but what comes, with the kernel's time of each segment."""

    def __init__(self, number: int, member: int, port: int, name: str, password: str, context: ssl.SSLContext) -> None:
        self.number = number
        self.member = member
        self.raw = b""
        self.events: list[tuple[int, int, bool]] = []  # ns since 1970, size, whether it told of something
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.came, self.goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.came, self.goes)
        self.plain = b""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self.came.write(self.socket.recv(65536))
        self.flush()
        self.ask(f"a LOGIN {name} {password}", b"a OK")
        self.ask("b SELECT INBOX", b"b OK")
        self.ask("c IDLE", b"+ idling")
        self.socket.setblocking(False)

    def flush(self) -> None:
        data = self.goes.read()
        if data:
            self.socket.sendall(data)

    def pull(self) -> bytes:
        said = b""
        while True:
            try:
                more = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return said
            if not more:
                raise ConnectionError("the server closed")
            said += more

    def ask(self, line: str, answer: bytes) -> None:
        self.tls.write(line.encode() + b"\r\n")
        self.flush()
        while answer not in self.plain:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"closed at {line.split()[1]}: {self.plain[-200:]!r}")
            self.came.write(data)
            self.plain += self.pull()
        self.plain = b""

    def readable(self) -> None:
        data, extra, _, _ = self.socket.recvmsg(65536, 128)
        if not data:
            raise ConnectionError("the server closed")
        at = time.time_ns()
        for _, kind, value in extra:
            if kind == SO_TIMESTAMPNS and len(value) >= 16:
                seconds, rest = struct.unpack("qq", value[:16])
                at = seconds * NANO + rest
        self.raw += data
        self.came.write(data)
        told = b"EXISTS" in self.pull()
        while len(self.raw) >= 5 and len(self.raw) >= 5 + int.from_bytes(self.raw[3:5], "big"):
            length = int.from_bytes(self.raw[3:5], "big")
            if self.raw[0] == APPLICATION_DATA:
                self.events.append((at, length - TAG, told))
            self.raw = self.raw[5 + length:]

    def close(self) -> None:
        self.socket.close()


def crowd(port: int, accounts: list[tuple[str, str]], each: int) -> list[Idler]:
    """`each` connections of each (address, password), all in IDLE."""
    context = tls_context()
    return [Idler(i, i % len(accounts), port, *accounts[i % len(accounts)], context)
            for i in range(each * len(accounts))]


def watch(idlers: list[Idler], until: float) -> None:
    poll = select.epoll()
    by_fd = {i.socket.fileno(): i for i in idlers}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    while (left := until - time.time()) > 0:
        for fd, _ in poll.poll(left):
            by_fd[fd].readable()
    poll.close()


class Writer(threading.Thread):
    """A stranger who writes, once between two ticks, one message to half of the members, chosen anew each time."""

    def __init__(self, port: int, addresses: list[str], clock: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.port, self.addresses, self.clock = port, addresses, clock
        self.dice = random.Random(seed)
        self.ended = threading.Event()
        self.sent = 0

    def run(self) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="stranger.test", timeout=20) as client:
            while not self.ended.is_set():
                now = time.time()
                # Behind the beat, and so that it is on disk before the next tick.
                begin = (math.floor(now / self.clock) + 1 + self.dice.uniform(0.3, 0.7)) * self.clock
                if self.ended.wait(begin - now):
                    return
                to = self.dice.sample(self.addresses, len(self.addresses) // 2)
                client.sendmail("bob@stranger.test", to, b"From: bob@stranger.test\r\nSubject: x\r\n\r\nHello\r\n")
                self.sent += 1


def samples(idlers: list[Idler], clock: float, first: int, last: int) -> list[Sample]:
    """Of ticks first .. last - 1 (counted since 1970); connections that got nothing have none."""
    found: dict[tuple[int, int], list[tuple[int, int, bool]]] = collections.defaultdict(list)
    period = round(clock * NANO)
    for idler in idlers:
        for event in idler.events:
            found[idler.number, event[0] // period].append(event)
    by_number = {i.number: i for i in idlers}
    return [Sample(by_number[number].member, number, tick, tuple(size for _, size, _ in events),
                   (events[0][0] - tick * period) / NANO, any(told for _, _, told in events))
            for (number, tick), events in found.items() if first <= tick < last]


def ranks(values: list[float]) -> list[float]:
    """1 for the least; equal ones share."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranked = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for i in order[at:end]:
            ranked[i] = (at + end + 1) / 2
        at = end
    return ranked


def auc_of(ranked: list[float], labels: list[bool]) -> float:
    """The chance that a sample with the label ranks above one without (Mann and Whitney)."""
    with_it = sum(labels)
    without = len(labels) - with_it
    if with_it == 0 or without == 0:
        raise ValueError("samples of one kind only")
    return (sum(r for r, label in zip(ranked, labels) if label) - with_it * (with_it + 1) / 2) / (with_it * without)


@dataclasses.dataclass
class Told:
    """How well something tells news from none: 0.5 is not at all. error: its standard error where there is nothing to tell."""
    auc: float
    error: float

    def __str__(self) -> str:
        return f"AUC {self.auc:.4f} +- {self.error:.4f}"

    @property
    def distance(self) -> float:
        return abs(self.auc - 0.5)


def tell(found: list[Sample], values: list[float], seed: int, rounds: int = 200) -> Told:
    """The error by permutation: within each tick the news is dealt to the members anew, whose connections hear of it together."""
    dice = random.Random(seed)
    ranked = ranks(values)
    truth = auc_of(ranked, [s.news for s in found])
    news: dict[int, dict[int, bool]] = collections.defaultdict(dict)
    for s in found:
        news[s.tick][s.member] = s.news or news[s.tick].get(s.member, False)
    others = []
    for _ in range(rounds):
        dealt = {tick: dict(zip(of, dice.sample(list(of.values()), len(of)))) for tick, of in news.items()}
        others.append(auc_of(ranked, [dealt[s.tick][s.member] for s in found]))
    return Told(truth, math.sqrt(sum((a - 0.5) ** 2 for a in others) / rounds))


def residuals(found: list[Sample]) -> list[float]:
    """Times as an observer sees them who knows each connection's usual place, and what all had in common at each tick."""
    values = [s.after for s in found]
    for key in (lambda s: ("tick", s.tick), lambda s: ("connection", s.connection)):
        groups: dict = collections.defaultdict(list)
        for s, value in zip(found, values):
            groups[key(s)].append(value)
        middle = {k: sorted(v)[len(v) // 2] for k, v in groups.items()}
        values = [value - middle[key(s)] for s, value in zip(found, values)]
    return values


def places(found: list[Sample]) -> list[tuple[float, float]]:
    """Of each: its place among the records of its tick (-1 to 1, from its connection's usual one: beats have a fixed order, so the place
    itself says who it is, and members that had much news by chance would show in it), and the seconds since the one before it, where the work that news
    make would show; for the first of a tick, as many as is usual there."""
    ticks: dict[int, list[int]] = collections.defaultdict(list)
    for i, s in enumerate(found):
        ticks[s.tick].append(i)
    seen = [(0.0, 0.0)] * len(found)
    for here in ticks.values():
        here.sort(key=lambda i: found[i].after)
        gaps = [found[b].after - found[a].after for a, b in zip(here, here[1:])]
        for place, (i, gap) in enumerate(zip(here, [sorted(gaps)[len(gaps) // 2] if gaps else 0.0] + gaps)):
            seen[i] = place / len(here), gap
    usual: dict[int, list[float]] = collections.defaultdict(list)
    for s, (place, _) in zip(found, seen):
        usual[s.connection].append(place)
    middle = {connection: sorted(v)[len(v) // 2] for connection, v in usual.items()}
    return [(place - middle[s.connection], gap) for s, (place, gap) in zip(found, seen)]
