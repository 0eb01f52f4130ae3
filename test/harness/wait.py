# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waiting with a bound, and ports that nobody uses."""

import functools
import random
import socket
import time
from typing import Callable, TypeVar

T = TypeVar("T")
SERVICE_PORTS = (25, 465, 587, 993, 443, 80)


class Timeout(AssertionError):
    pass


def wait_until(probe: Callable[[], T], seconds: float = 10, what: str = "", pause: float = 0.02) -> T:
    """The first true answer of the probe; its OSErrors count as 'not yet'. Timeout after so many seconds."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            answer = probe()
            if answer:
                return answer
        except OSError as problem:
            last = problem
        if time.monotonic() >= end:
            raise Timeout(f"not within {seconds} s: {what or probe}" + (f" ({last})" if last else ""))
        time.sleep(pause)


def is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as s:
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, port))
        except OSError as problem:
            if family == socket.AF_INET6 and problem.errno in (97, 99):  # no IPv6 here
                continue
            return False
    return True


class Ports:
    """A block of ports below the kernel's ephemeral range that is this process's alone: a name that the kernel gives to
    one holder, until his end, stands for each. So nobody else's test takes a port between its choice and its use."""

    BLOCK = 1100  # the service ports span 968 of it

    def __init__(self) -> None:
        self.given: set[int] = set()
        blocks = list(range(10000, 32000, self.BLOCK))
        random.shuffle(blocks)
        for self.first in blocks:
            self.holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self.holder.bind(f"\0cohue-test-ports-{self.first}")
                return
            except OSError:
                self.holder.close()
        raise OSError("no block of ports is free: too many tests run on this machine")

    def take(self, ports: list[int]) -> bool:
        """Whether all of them are free, and nobody's yet."""
        if self.given.intersection(ports) or not all(is_free(port) for port in ports):
            return False
        self.given.update(ports)
        return True


@functools.cache
def my_ports() -> Ports:
    return Ports()


def free_port() -> int:
    """A free TCP port that no other test uses."""
    ports = my_ports()
    for port in random.sample(range(ports.first, ports.first + ports.BLOCK), ports.BLOCK):
        if ports.take([port]):
            return port
    raise OSError("no free port")


def free_port_offset() -> int:
    """Such that all service ports plus it are free, and no other test uses them."""
    ports = my_ports()
    first = ports.first - min(SERVICE_PORTS)
    offsets = range(first, first + ports.BLOCK - max(SERVICE_PORTS) + min(SERVICE_PORTS))
    for offset in random.sample(offsets, len(offsets)):
        if ports.take([port + offset for port in SERVICE_PORTS]):
            return offset
    raise OSError("no free port offset")
