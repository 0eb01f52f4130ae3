# SPDX-License-Identifier: AGPL-3.0-or-later
"""Knot as an authoritative server for a whole small DNS: a signed root, signed TLDs and zones below, chained by DS
records, with the root's DS as trust anchor. It answers a stub resolver directly, and a validating one as its root."""

import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile

from harness.wait import free_port, wait_until
from peers.cell import layer


def query(address: str, port: int, name: str, kind: int = 6, timeout: float = 1.0) -> bytes:
    """One UDP question without recursion; the raw answer."""
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".") if p) + b"\0"
    packet = struct.pack(">HHHHHH", 0x4321, 0, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.sendto(packet, (address, port))
        return s.recv(4096)


def program(name: str) -> tuple[str, dict[str, str]]:
    """Where Knot's program lies, and the environment to run it in: installed, or else unpacked (an installed package
    would start as a service at the next boot)."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found:
        return found, dict(os.environ)
    tree = layer("knot", ["knot"])
    libraries = ":".join(str(p) for p in tree.glob("usr/lib/*-linux-gnu*"))
    return str(tree / "usr/sbin" / name), {**os.environ, "LD_LIBRARY_PATH": libraries}


class Knot:
    """`zones`: name -> record lines (relative owner names, without SOA and NS). Parents up to the root are made up
    as needed. `unsigned`: zones without DNSSEC (no DS in the parent); `bogus`: zones whose DS in the parent is wrong.
    """

    def __init__(self, zones: dict[str, list[str]], address: str = "127.0.0.1", port: int | None = None,
                 unsigned: set[str] | None = None, bogus: set[str] | None = None,
                 directory: str | None = None) -> None:
        self.knotd, self.environment = program("knotd")
        self.keymgr, _ = program("keymgr")
        self.address = address
        self.port = port or free_port()
        self.unsigned = unsigned or set()
        self.bogus = bogus or set()
        self.zones = {name.rstrip(".") + "." if name != "." else ".": list(lines) for name, lines in zones.items()}
        for name in list(self.zones):
            while name != ".":
                name = name.partition(".")[2] or "."
                self.zones.setdefault(name, [])
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cohue-knot-", dir=directory))
        self.process: subprocess.Popen | None = None
        self.anchor = ""
        try:
            self.prepare()
        except BaseException:
            shutil.rmtree(self.directory)
            raise

    def signed(self, zone: str) -> bool:
        return zone.rstrip(".") not in {z.rstrip(".") for z in self.unsigned}

    def parent(self, zone: str) -> str:
        """The closest enclosing zone."""
        name = zone
        while True:
            name = name.partition(".")[2] or "."
            if name in self.zones:
                return name

    def prepare(self) -> None:
        d = self.directory
        (d / "zones").mkdir()
        (d / "run").mkdir()
        (d / "db").mkdir()
        config = (f"server:\n    rundir: {d}/run\n    listen: {self.address}@{self.port}\n"
                  f"log:\n  - target: {d}/log\n    any: info\n"
                  f"database:\n    storage: {d}/db\n"
                  "policy:\n  - id: signing\n    algorithm: ecdsap256sha256\n    manual: on\n"
                  "template:\n  - id: default\n"
                  f"    storage: {d}/zones\n    zonefile-load: difference-no-serial\n    zonefile-sync: -1\n"
                  "    journal-content: all\nzone:\n")
        for zone in self.zones:
            config += f"  - domain: {zone}\n    file: {self.file_of(zone)}\n"
            if self.signed(zone):
                config += "    dnssec-signing: on\n    dnssec-policy: signing\n"
        (d / "knot.conf").write_text(config)
        ds: dict[str, list[str]] = {zone: [] for zone in self.zones}
        for zone in self.zones:
            if self.signed(zone):
                self.key("generate", zone, "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
                lines = [l for l in self.key("ds", zone).splitlines() if " 13 2 " in l]
                if zone == ".":
                    self.anchor = lines[0]
                elif zone.rstrip(".") in {z.rstrip(".") for z in self.bogus}:
                    ds[zone] = [lines[0][:-8] + "deadbeef"]
                else:
                    ds[zone] = lines
        for zone, lines in self.zones.items():
            ns = "ns.root-servers.test."
            text = (f"$ORIGIN {zone}\n$TTL 60\n@ SOA {ns} hostmaster.root-servers.test. 1 3600 600 86400 30\n@ NS {ns}\n")
            for child in self.zones:
                if child not in (zone, ".") and self.parent(child) == zone:
                    text += f"{child} NS {ns}\n" + "".join(f"{line}\n" for line in ds[child])
            if zone in (".", self.closest(ns)):  # glue, and the record itself
                text += f"{ns} A {self.address}\n"
            text += "".join(f"{line}\n" for line in lines)
            (d / "zones" / self.file_of(zone)).write_text(text)
        (d / "anchor").write_text(self.anchor + "\n")

    def closest(self, name: str) -> str:
        while name not in self.zones:
            name = name.partition(".")[2] or "."
        return name

    @staticmethod
    def file_of(zone: str) -> str:
        return "root.zone" if zone == "." else zone + "zone"

    def key(self, command: str, zone: str, *more: str) -> str:
        return subprocess.run([self.keymgr, "-c", self.directory / "knot.conf", zone, command, *more], check=True,
                              capture_output=True, text=True, env=self.environment).stdout

    def __enter__(self) -> "Knot":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with open(self.directory / "output", "ab") as out:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", self.knotd, "-c",
                                             self.directory / "knot.conf"], stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL, env=self.environment)
        wait_until(self.ready, 20, f"knot answers: {self.log()}", pause=0.05)

    def ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"knot ended: {self.log()}")
        return all(len(query(self.address, self.port, zone)) > 40 for zone in self.zones)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def validate(self, name: str, kind: str) -> str:
        """What delv, BIND's validating client, says with this world's trust anchor alone."""
        tag, algorithm, digest_type, digest = self.anchor.split()[2:6]
        anchors = self.directory / "anchors"
        anchors.write_text(f'trust-anchors {{ . static-ds {tag} {algorithm} {digest_type} "{digest}"; }};\n')
        ran = subprocess.run(["delv", f"@{self.address}", "-p", str(self.port), "-a", anchors, "+root", name, kind],
                             capture_output=True, text=True, timeout=30, check=False)
        return ran.stdout + ran.stderr

    def log(self) -> str:
        return "".join((self.directory / name).read_text() for name in ("log", "output")
                       if (self.directory / name).exists())
