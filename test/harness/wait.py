# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waiting with a bound, and ports that nobody uses."""

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


def free_port() -> int:
    """A free TCP port below the kernel's ephemeral range, so that no client takes it meanwhile."""
    for _ in range(1000):
        port = random.randrange(11000, 32000)
        if is_free(port):
            return port
    raise OSError("no free port")


def free_port_offset() -> int:
    for _ in range(1000):
        offset = random.randrange(10000, 31000)
        if all(is_free(port + offset) for port in SERVICE_PORTS):
            return offset
    raise OSError("no free port offset")
