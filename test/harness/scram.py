# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client of SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677), written from the RFCs alone, that can also misbehave."""

import base64
import contextlib
import hashlib
import hmac
import os
import re
import socket
import ssl
import subprocess


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def saslname(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")


class Dialogue:
    """One exchange. `flag` is the GS2 flag, `binding` the data of the channel binding."""

    def __init__(self, name: str, password: str, flag: str = "n", binding: bytes = b"", authzid: str = "",
                 nonce: str = "", extension: str = "") -> None:
        self.password = password
        self.header = f"{flag},{'a=' + saslname(authzid) if authzid else ''},"
        self.binding = binding
        self.nonce = nonce or b64(os.urandom(18))
        self.bare = f"{extension}n={saslname(name)},r={self.nonce}"
        self.salt, self.rounds = b"", 0
        self.signature = b""

    def first(self) -> bytes:
        return (self.header + self.bare).encode()

    def final(self, challenge: bytes) -> bytes:
        text = challenge.decode()
        fields = dict(field.split("=", 1) for field in text.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) >= len(self.nonce) + 24, text
        self.salt, self.rounds = base64.b64decode(fields["s"], validate=True), int(fields["i"])
        assert self.rounds >= 4096
        without_proof = f"c={b64(self.header.encode() + self.binding)},r={fields['r']}"
        message = f"{self.bare},{text},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), self.salt, self.rounds)
        client = hmac.digest(salted, b"Client Key", "sha256")
        mine = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return f"{without_proof},p={b64(bytes(a ^ b for a, b in zip(client, mine)))}".encode()

    def check(self, verdict: bytes) -> None:
        """That the server knows the ServerKey."""
        assert verdict.decode() == f"v={b64(self.signature)}", verdict


def rfc_7677() -> None:
    """Section 3: the example."""
    d = Dialogue("user", "pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    assert d.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert d.final(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    d.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


class Line:
    """A line-wise connection under TLS to IMAP (993) or submission (465), with what its channel binds."""

    def __init__(self, port: int, imap: bool, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = version
        self.imap = imap
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))
        self.file = self.socket.makefile("rb")
        self.end_point = hashlib.sha256(self.socket.getpeercert(binary_form=True)).digest()
        self.greeting = self.line()
        self.count = 0
        if not imap:
            self.send("EHLO client.test")
            while (said := self.line()).startswith("250-"):
                self.greeting += said + "\n"

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\r\n")

    def line(self) -> str:
        return self.file.readline().decode().rstrip("\r\n")

    def begin(self, mechanism: str, first: bytes, initial: bool) -> str:
        """Up to the answer to her first message."""
        self.count += 1
        if self.imap:
            self.send(f"t{self.count} AUTHENTICATE {mechanism}" + (f" {b64(first)}" if initial else ""))
        else:
            self.send(f"AUTH {mechanism}" + (f" {b64(first)}" if initial else ""))
        if not initial:
            said = self.line()
            if said.strip() not in ("+", "334"):
                return said
            self.send(b64(first))
        return self.line()

    def log_in(self, dialogue: Dialogue, mechanism: str = "SCRAM-SHA-256", initial: bool = True,
               tamper=lambda final: final, last: str = "") -> str:
        """The last line said. Where it opened the server has proved itself, too."""
        said = self.begin(mechanism, dialogue.first(), initial)
        if not said.startswith(("+ ", "334 ")):
            return said
        self.send(b64(tamper(dialogue.final(base64.b64decode(said.split()[1], validate=True)))))
        said = self.line()
        if not said.startswith(("+ ", "334 ")):
            return said
        dialogue.check(base64.b64decode(said.split()[1], validate=True))
        self.send(last)
        return self.line()


class ExportingLine(Line):
    """The same through `openssl s_client`, which tells the channel's tls-exporter (RFC 9266)."""

    def __init__(self, port: int, imap: bool) -> None:  # pylint: disable=super-init-not-called
        self.imap, self.count = imap, 0
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-ign_eof", "-crlf", "-keymatexport",
             "EXPORTER-Channel-Binding", "-keymatexportlen", "32"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        said = ""
        while not (found := re.search(r"Keying material: ([0-9A-F]{64})", said)):
            said = self.line()
        self.exporter = bytes.fromhex(found.group(1))
        while not said.startswith(("* OK", "220 ")):
            said = self.line()
        if not imap:
            self.send("EHLO client.test")
            while not (said := self.line()).startswith("250 "):
                pass

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        said = self.process.stdout.readline()
        assert said, "s_client has ended"
        return said.rstrip("\r\n")
