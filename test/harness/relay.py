# SPDX-License-Identifier: AGPL-3.0-or-later
"""Somebody on the line: passes bytes on, and sees of TLS what anybody sees: the headers of its records. One who strips makes servers' offer of
STARTTLS unreadable, as some routers do."""

import dataclasses
import socket
import threading
import time

APPLICATION_DATA = 23
OFFER = b"STARTTLS"
TAG = 16  # of each cipher of TLS 1.3 that we offer


@dataclasses.dataclass
class Record:
    connection: int
    outgoing: bool  # from whoever connected
    kind: int
    size: int  # of the inner plaintext, with type and padding
    at: float


class Relay:
    """`with Relay(port) as r: connect to r.port`. r.records holds what crossed, once TLS began."""

    def __init__(self, port: int, host: str = "127.0.0.1", listen: str = "127.0.0.1", listen_port: int = 0, strip: bool = False) -> None:
        self.target = (host, port)
        self.strip = strip
        self.stripped = 0  # offers that were there, and did not arrive
        self.records: list[Record] = []
        self.connections = 0
        self.listener = socket.create_server((listen, listen_port))
        self.port = self.listener.getsockname()[1]
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> "Relay":
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for s in [self.listener, *self.sockets]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target, 10)
            except OSError:
                return
            self.connections += 1
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.settimeout(None)
                self.sockets.append(s)
            number = self.connections
            threading.Thread(target=self.carry, args=(near, far, number, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, number, False), daemon=True).start()

    def carry(self, source: socket.socket, sink: socket.socket, number: int, outgoing: bool) -> None:
        seen = b""
        tls = False
        try:
            while data := source.recv(65536):
                if self.strip and not outgoing and not tls:
                    self.stripped += data.count(OFFER)
                    data = data.replace(OFFER, b"X" * len(OFFER))
                seen += data
                # SMTP speaks in clear first; a handshake begins with 22, 3.
                if not tls:
                    begin = 0 if seen[:2] == b"\x16\x03" else seen.find(b"\n\x16\x03") + 1
                    tls = seen[begin:begin + 2] == b"\x16\x03"
                    seen = seen[begin:] if tls else seen[-2:]
                while tls and len(seen) >= 5:
                    length = int.from_bytes(seen[3:5], "big")
                    if len(seen) < 5 + length:
                        break
                    self.records.append(Record(number, outgoing, seen[0], length - TAG, time.monotonic()))
                    seen = seen[5 + length:]
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def sizes(self, outgoing: bool, since: int = 0) -> list[int]:
        return [r.size for r in self.records[since:] if r.outgoing == outgoing and r.kind == APPLICATION_DATA]
