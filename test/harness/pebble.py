# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pebble, Let's Encrypt's test authority (Debian's package of that name), with its own DNS: all names lead to 127.0.0.1."""

import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import unittest
import urllib.request

from harness.wait import wait_until


def free_ports(count: int) -> list[int]:
    sockets = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        sockets.append(s)
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Pebble:
    """`Pebble(folder, http, tls)`: asks on these ports of 127.0.0.1. `ca` is the file for acme.ca, `directory` for acme.directory."""

    def __init__(self, folder: pathlib.Path, http: int, tls: int, life: int = 0) -> None:
        for program in ("pebble", "pebble-challtestsrv"):
            if shutil.which(program) is None:
                raise unittest.SkipTest(f"{program} is not installed (Debian's package pebble)")
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.port, self.management, self.dns, self.dns_management = free_ports(4)
        self.ca, key = folder / "pebble-ca.crt", folder / "pebble.key"
        certificate = folder / "pebble.crt"
        # For the authority's own web server: not the one that it issues under.
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1", "-days", "3",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        shutil.copy(certificate, self.ca)
        self.configuration = folder / "pebble.json"
        pebble = {"listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
                  "certificate": str(certificate), "privateKey": str(key), "httpPort": http, "tlsPort": tls,
                  "ocspResponderURL": "", "externalAccountBindingRequired": False}
        if life:
            pebble["certificateValidityPeriod"] = life
        self.configuration.write_text(json.dumps({"pebble": pebble}))
        self.log = folder / "pebble.log"

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def start(self, **environment: str) -> None:
        """PEBBLE_WFE_NONCEREJECT: percent of nonces that are refused; PEBBLE_AUTHZREUSE: of authorisations used again."""
        settings = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "15", "PEBBLE_AUTHZREUSE": "0", **environment}
        with open(self.log, "ab") as log:
            self.processes = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings)
                              for command in
                              ([shutil.which("pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
                                "-dns01", f"127.0.0.1:{self.dns}", "-http01", "", "-https01", "", "-tlsalpn01", "",
                                "-management", f"127.0.0.1:{self.dns_management}"],
                               [shutil.which("pebble"), "-config", str(self.configuration), "-strict", "-dnsserver",
                                f"127.0.0.1:{self.dns}"])]
        wait_until(self.answers, 15, "pebble answers")

    def answers(self) -> bool:
        for port in (self.port, self.management, self.dns_management):
            with socket.create_connection(("127.0.0.1", port), 2):
                pass
        return True

    def _management(self, path: str) -> str:
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(f"https://127.0.0.1:{self.management}{path}", context=context, timeout=10) as a:
            return a.read().decode()

    def trust(self) -> None:
        """From now on `ca` holds what certificates lead to, too."""
        with open(self.ca, "a", encoding="ascii") as f:
            f.write(self.root().read_text())

    def root(self) -> pathlib.Path:
        """What it issues under: new at each start."""
        path = self.folder / "issuer-root.crt"
        path.write_text(self._management("/roots/0"))
        return path

    def place(self, name: str, address: str) -> None:
        """Where the authority finds this name from now on."""
        for what, of in (("clear-a", {}), ("add-a", {"addresses": [address]})):
            body = json.dumps({"host": name, **of}).encode()
            with urllib.request.urlopen(f"http://127.0.0.1:{self.dns_management}/{what}", body, timeout=10) as answer:
                answer.read()

    def told(self) -> str:
        return self.log.read_text(errors="replace")

    def asked(self, pattern: str) -> int:
        return len(re.findall(pattern, self.told()))

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(10)
        self.processes = []
