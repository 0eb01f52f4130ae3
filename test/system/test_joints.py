# SPDX-License-Identifier: AGPL-3.0-or-later
"""Roles and their channels: one that ends between two live roles is made anew; who accuses others again and again is ended too.

The test takes a role's descriptors (as root may), in the place of a captured role.
"""

import ctypes
import os
import pathlib
import re
import socket
import struct
import time
import unittest

from harness import Cohue
from harness.cohue import ROOT, require_root
from harness.wait import wait_until

WRITE = b"From: stranger@elsewhere.test\r\nTo: alice@house.test\r\nSubject: a letter\r\n\r\nwords\r\n"
ROLES = ("gate-mx", "gate-member", "session", "opener", "mixer", "store", "keeper", "courier", "resolver", "fetcher")
PIDFD_OPEN, PIDFD_GETFD = 434, 438
libc = ctypes.CDLL(None, use_errno=True)


def take(pid: int, fd: int) -> socket.socket:
    """A copy of another process's descriptor."""
    handle = libc.syscall(PIDFD_OPEN, pid, 0)
    assert handle >= 0, os.strerror(ctypes.get_errno())
    try:
        copy = libc.syscall(PIDFD_GETFD, handle, fd, 0)
        assert copy >= 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(handle)
    return socket.socket(fileno=copy)


def channels(pid: int) -> list[int]:
    """Descriptors of a role's channels to others: unnamed UNIX sockets but the supervisor's (3)."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        fd = int(name)
        if fd > 3 and os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
            with take(pid, fd) as s:
                if s.family == socket.AF_UNIX:
                    found.append(fd)
    return found


def message_number(wanted: str) -> int:
    """Its place in the one table."""
    table = (ROOT / "src/ipc/messages.h").read_text()
    names = re.findall(r"^\tM\((\w+),", table, re.M)
    return names.index(wanted) + 1


def role_number(wanted: str) -> int:
    names = re.findall(r"^\t(ROLE_\w+)\b", (ROOT / "src/ipc/roles.h").read_text(), re.M)
    return names.index("ROLE_" + wanted.upper().replace("-", "_"))


def accuse(accuser: int, role: str) -> None:
    payload = struct.pack(">BH", role_number(role), 0)
    frame = struct.pack(">IHBBI", len(payload), message_number("PEER_FAULT"), 2, 0, 0) + payload
    with take(accuser, 3) as s:
        s.sendall(frame)


class Joints(unittest.TestCase):
    seconds = 8

    def setUp(self) -> None:
        require_root()
        self.c = Cohue(settings={"gate_mx.workers": "1"})
        self.addCleanup(self.c.destroy)
        self.c.init()
        self.c.start()
        self.alice = self.c.add_member("alice")

    def mail_comes_and_goes(self, count: int) -> None:
        def sent() -> bool:
            with self.c.smtp() as s:
                return s.sendmail("stranger@elsewhere.test", ["alice@house.test"], WRITE) == {}

        wait_until(sent, 20, "a letter taken in", pause=0.2)
        wait_until(lambda: len(self.c.wait_mail(self.alice, count, seconds=2)) == count, 20, f"{count} letters", pause=0.2)

    def test_a_channel_that_ends_is_made_anew(self) -> None:
        c = self.c
        count = 1
        self.mail_comes_and_goes(count)
        for role in ROLES:
            before = {r: c.role_pids(r) for r in ROLES}
            with self.subTest(role):
                pid = c.role_pids(role)[0]
                told = c.log().count("joined anew")
                found = channels(pid)
                self.assertGreater(len(found), 0)
                for fd in found:
                    with take(pid, fd) as s:
                        s.shutdown(socket.SHUT_RDWR)
                wait_until(lambda: c.log().count("joined anew") > told, 10, "joined anew")
                wait_until(lambda: len(channels(pid)) == len(found), 10, f"all channels of {role}")
                count += 1
                self.mail_comes_and_goes(count)
                # Nobody was restarted for that.
                self.assertEqual({r: c.role_pids(r) for r in ROLES}, before)
        self.assertNotIn("broke the message table", c.log())

    def test_who_accuses_again_and_again_is_ended_too(self) -> None:
        c = self.c
        gate = c.role_pids("gate-mx")
        for i in range(4):
            store = c.role_pids("store")
            self.assertEqual(c.role_pids("gate-mx"), gate)
            ready = c.log().count("store 0 is ready again")
            accuse(gate[0], "store")
            c.wait_role("store", store)
            wait_until(lambda: c.log().count("store 0 is ready again") > ready, 20, "the store back")
        c.wait_role("gate-mx", gate)
        self.assertEqual(c.log().count("it may be the culprit"), 1)
        time.sleep(0.5)
        self.mail_comes_and_goes(1)
        # Of a role with which it has no channel it can know nothing.
        gate = c.role_pids("gate-mx")
        opener = c.role_pids("opener")
        accuse(gate[0], "opener")
        c.wait_role("gate-mx", gate)
        self.assertEqual(c.role_pids("opener"), opener)


if __name__ == "__main__":
    unittest.main()
