# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a packet capture shows to somebody without keys: when, how much, between whom, and the headers of TLS records;
of DNS the questions, which travel in clear. Contents are stepped over."""

import dataclasses
import pathlib
import struct
from typing import Iterator


@dataclasses.dataclass(slots=True)
class Record:
    """A TLS record by its header; the time is that of the packet in which it begins."""
    time: float
    kind: int
    size: int  # as on the line: without the five bytes of the header


@dataclasses.dataclass(slots=True)
class Way:
    """One direction of a connection."""
    packets: list[tuple[float, int]] = dataclasses.field(default_factory=list)  # time, octets; those with some only
    records: list[Record] = dataclasses.field(default_factory=list)
    next: int = -1  # the sequence number that comes next
    header: bytes = b""
    left: int = 0  # of the record at hand
    secure: bool = False
    late: dict[int, tuple[float, bytes]] = dataclasses.field(default_factory=dict)

    def octets(self) -> int:
        return sum(size for _, size in self.packets)

    def data(self) -> list[Record]:
        return [r for r in self.records if r.kind == 23]

    def segment(self, time: float, sequence: int, data: bytes) -> None:
        if self.next < 0:
            self.next = sequence
        behind = (self.next - sequence) & 0xffffffff
        if 0 < behind < 1 << 31:  # some or all of it was here before
            data = data[behind:]
            sequence = self.next
        if not data:
            return
        if sequence != self.next:
            self.late[sequence] = (time, data)
            return
        self.take(time, data)
        while self.next in self.late:
            self.take(*self.late.pop(self.next))

    def take(self, time: float, data: bytes) -> None:
        self.next = (self.next + len(data)) & 0xffffffff
        self.packets.append((time, len(data)))
        if not self.secure:
            # Before STARTTLS there is text; a handshake begins with a record of its own.
            if not (data[0] == 22 and len(data) > 2 and data[1] == 3):
                return
            self.secure = True
        at = 0
        while at < len(data):
            if self.left > 0:
                step = min(self.left, len(data) - at)
                self.left -= step
                at += step
                continue
            part = data[at:at + 5 - len(self.header)]
            self.header += part
            at += len(part)
            if len(self.header) == 5:
                kind, _, size = struct.unpack(">BHH", self.header)
                self.records.append(Record(time, kind, size))
                self.left = size
                self.header = b""


@dataclasses.dataclass(slots=True)
class Connection:
    client: tuple[str, int]
    server: tuple[str, int]
    begun: float
    up: Way = dataclasses.field(default_factory=Way)
    down: Way = dataclasses.field(default_factory=Way)

    def ended(self) -> float:
        return max([self.begun] + [w.packets[-1][0] for w in (self.up, self.down) if w.packets])


@dataclasses.dataclass(slots=True)
class Question:
    time: float
    asked: str  # address of the server
    name: str
    kind: int


@dataclasses.dataclass(slots=True)
class Capture:
    connections: list[Connection]
    questions: list[Question]


def packets(path: pathlib.Path) -> Iterator[tuple[float, bytes]]:
    """Of a classic pcap file of Ethernet frames, in microseconds or nanoseconds."""
    with open(path, "rb") as file:
        head = file.read(24)
        order, parts = {b"\xd4\xc3\xb2\xa1": ("<", 1e6), b"\xa1\xb2\xc3\xd4": (">", 1e6),
                        b"\x4d\x3c\xb2\xa1": ("<", 1e9), b"\xa1\xb2\x3c\x4d": (">", 1e9)}[head[:4]]
        if struct.unpack(order + "I", head[20:24])[0] != 1:
            raise ValueError("not a capture of Ethernet")
        while len(head := file.read(16)) == 16:
            seconds, fraction, size, _ = struct.unpack(order + "IIII", head)
            yield seconds + fraction / parts, file.read(size)


def question(data: bytes) -> tuple[str, int] | None:
    """Name and type of a DNS query."""
    if len(data) < 17 or data[2] & 0x80:
        return None
    labels, at = [], 12
    while at < len(data) and 0 < data[at] < 64:
        labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1").lower())
        at += 1 + data[at]
    if at + 5 > len(data):
        return None
    return ".".join(labels), struct.unpack(">H", data[at + 1:at + 3])[0]


def read(path: pathlib.Path) -> Capture:
    """IPv4 over Ethernet: TCP connections from their first packet on, and DNS questions."""
    open_ones: dict[tuple, Connection] = {}
    found = Capture([], [])
    for time, frame in packets(path):
        if len(frame) < 34 or frame[12:14] != b"\x08\x00":
            continue
        start = 14 + (frame[14] & 15) * 4
        end = 14 + struct.unpack(">H", frame[16:18])[0]
        if end == 14:  # larger than the field can say, before the network card cuts it
            end = len(frame)
        source, target = (".".join(map(str, frame[at:at + 4])) for at in (26, 30))
        if len(frame) < start + 8:
            continue
        ports = struct.unpack(">HH", frame[start:start + 4])
        if frame[23] == 17:
            if ports[1] == 53 and (asked := question(frame[start + 8:end])):
                found.questions.append(Question(time, target, *asked))
        elif frame[23] == 6 and len(frame) >= start + 20:
            here, there = (source, ports[0]), (target, ports[1])
            sequence, = struct.unpack(">I", frame[start + 4:start + 8])
            flags = frame[start + 13]
            if flags & 0x12 == 0x02:
                known = open_ones.get((here, there))
                if known is None or known.up.packets:  # else: the same greeting, repeated
                    known = open_ones[here, there] = Connection(here, there, time)
                    found.connections.append(known)
                known.up.next = (sequence + 1) & 0xffffffff
                continue
            connection, up = open_ones.get((here, there)), True
            if connection is None:
                connection, up = open_ones.get((there, here)), False
            if connection is None:
                continue
            way = connection.up if up else connection.down
            if flags & 0x02:
                way.next = (sequence + 1) & 0xffffffff
                continue
            data = frame[start + (frame[start + 12] >> 4) * 4:end]
            if data:
                way.segment(time, sequence, data)
    return found
