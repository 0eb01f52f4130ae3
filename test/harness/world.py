# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small internet in network namespaces: hosts on one bridge, a signed DNS from its own root, another provider
(Postfix + Dovecot), and the house. Nothing of it is visible outside; when the test's process ends, all is gone."""

import contextlib
import ctypes
import hashlib
import os
import pathlib
import subprocess
import unittest

from harness.cohue import Cohue
from harness.wait import wait_until

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """Hosts 10.53.0.N (and fd53::N), each a network namespace held open by a sleeping process."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise unittest.SkipTest("network namespaces with several users need root")
        self.holders: dict[str, subprocess.Popen] = {}
        self.addresses: dict[str, str] = {}
        self.hold("bridge")
        self.ip("bridge", "link add br0 type bridge")
        self.ip("bridge", "link set br0 up")

    def hold(self, name: str) -> int:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"],
                                   stdin=subprocess.DEVNULL)
        self.holders[name] = process
        mine = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != mine, 5, "a namespace", pause=0.005)
        return process.pid

    def ip(self, host: str, command: str, check: bool = True) -> None:
        subprocess.run(["nsenter", f"--net=/proc/{self.holders[host].pid}/ns/net", "ip", *command.split()],
                       check=check, capture_output=not check)

    def add(self, name: str) -> str:
        """A new host; its IPv4 address."""
        number = len(self.addresses) + 1
        pid = self.hold(name)
        self.ip("bridge", f"link add v{number} type veth peer name eth0 netns {pid}")
        self.ip("bridge", f"link set v{number} master br0 up")
        self.ip(name, "link set lo up")
        self.ip(name, f"addr add 10.53.0.{number}/24 dev eth0")
        self.ip(name, f"-6 addr add fd53::{number:x}/64 dev eth0 nodad", check=False)
        self.ip(name, "link set eth0 up")
        self.addresses[name] = f"10.53.0.{number}"
        return self.addresses[name]

    @contextlib.contextmanager
    def inside(self, name: str):
        """The calling thread, and what it starts, is on that host."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{self.holders[name].pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(back, CLONE_NEWNET) != 0:
                    os._exit(70)
        finally:
            os.close(there)
            os.close(back)

    def destroy(self) -> None:
        for process in self.holders.values():
            process.kill()
            process.wait(10)
        self.holders.clear()


def tlsa(certificate: pathlib.Path) -> str:
    """The data of a TLSA 3 1 1 record: SHA-256 of the public key."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], check=True,
                         capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True,
                         capture_output=True).stdout
    return "3 1 1 " + hashlib.sha256(der).hexdigest()


class World:
    """Hosts dns, house, other, members. `other` accepts mail for other.test (users bob, carol, dave) and finds the
    house by MX. `records`: more record lines by zone."""

    def __init__(self, house: str = "cohue.test", other: str = "other.test",
                 records: dict[str, list[str]] | None = None, dovecot: bool = True) -> None:
        from peers import Dovecot, Knot, Postfix
        self.house_domain, self.other_domain = house, other
        self.network = Network()
        self.house: Cohue | None = None
        self.postfix = self.dovecot = self.knot = None
        try:
            dns, at_house, at_other = (self.network.add(name) for name in ("dns", "house", "other"))
            self.network.add("members")
            if dovecot:
                self.dovecot = Dovecot(other, address=at_other, imaps=993, lmtp=24)
            self.postfix = Postfix(other, port=25, address=at_other, resolver=dns,
                                   lmtp=(at_other, 24) if dovecot else None)
            zones = {house: [f"@ MX 10 mail.{house}.", f"mail A {at_house}", '@ TXT "v=spf1 mx -all"'],
                     other: [f"@ MX 10 mail.{other}.", f"mail A {at_other}", '@ TXT "v=spf1 mx -all"',
                             f"_25._tcp.mail TLSA {tlsa(self.postfix.cell.path('etc/peer.crt'))}"],
                     "0.53.10.in-addr.arpa": [f"{at_house.rpartition('.')[2]} PTR mail.{house}.",
                                              f"{at_other.rpartition('.')[2]} PTR mail.{other}."]}
            for zone, lines in (records or {}).items():
                zones.setdefault(zone, []).extend(lines)
            self.knot = Knot(zones, address=dns, port=53)
            with self.inside("dns"):
                self.knot.start()
            with self.inside("other"):
                if self.dovecot:
                    self.dovecot.start()
                self.postfix.start()
        except BaseException:
            self.destroy()
            raise

    def inside(self, host: str):
        return self.network.inside(host)

    def address(self, host: str) -> str:
        return self.network.addresses[host]

    def start_house(self, members: tuple[str, ...] = ("alice", "bert"), settings: dict[str, str] | None = None) -> Cohue:
        """Cohue on its own host with the real ports, resolving through this world's root."""
        self.house = Cohue(self.house_domain, f"mail.{self.house_domain}", offset=0, settings={
            "resolver.stub": self.address("dns"), "resolver.trust_anchor": self.knot.anchor, **(settings or {})})
        with self.inside("house"):
            self.house.init()
            self.house.start()
            for name in members:
                self.house.add_member(name)
        return self.house

    def other_inbox(self, user: str) -> list[bytes]:
        assert self.postfix is not None
        if self.dovecot is None:
            return self.postfix.inbox(user)
        with self.inside("other"):
            return self.dovecot.inbox(user)

    def knot_says(self, name: str, kind: str) -> str:
        """A validated answer in one line, asked from the members' host."""
        assert self.knot is not None
        with self.inside("members"):
            lines = self.knot.validate(name, kind).splitlines()
        return " ".join([" ".join(line.split()) for line in lines if line and "RRSIG" not in line][::-1])

    def destroy(self) -> None:
        if self.house is not None:
            self.house.destroy()
        for part in (self.postfix, self.dovecot, self.knot):
            if part is not None:
                part.stop()
        self.network.destroy()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()
