# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients: Python's own smtplib and imaplib over TLS, and a raw line by line dialogue for what they refuse to say."""

import imaplib
import re
import smtplib
import socket
import ssl


def tls_context(minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, maximum: ssl.TLSVersion | None = None
                ) -> ssl.SSLContext:
    """Encrypts, verifies nobody: test certificates are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = minimum
    if maximum is not None:
        context.maximum_version = maximum
    return context


def smtp_login(port: int, name: str = "", password: str = "", implicit: bool = True, host: str = "127.0.0.1",
               timeout: float = 20) -> smtplib.SMTP:
    """A submission (465 with implicit, else STARTTLS), logged in where a name is given."""
    if implicit:
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, context=tls_context(), timeout=timeout,
                                                local_hostname="client.test")
    else:
        client = smtplib.SMTP(host, port, timeout=timeout, local_hostname="client.test")
        client.starttls(context=tls_context())
    if name:
        client.login(name, password)
    return client


def imap_login(port: int, name: str, password: str, host: str = "127.0.0.1", timeout: float = 20) -> imaplib.IMAP4_SSL:
    imaplib._MAXLINE = 50_000_000  # noqa: SLF001 (its default refuses legal answers)
    client = imaplib.IMAP4_SSL(host, port, ssl_context=tls_context(), timeout=timeout)
    client.login(name, password)
    return client


class Dialogue:
    """Bytes out, lines in; every read has the timeout. `say`/`hear` for SMTP, `command` for IMAP."""

    def __init__(self, port: int, host: str = "127.0.0.1", tls: bool = False, timeout: float = 20,
                 context: ssl.SSLContext | None = None) -> None:
        self.socket: socket.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""
        self.tag = 0
        self.context = context or tls_context()
        if tls:
            self.start_tls()

    def __enter__(self) -> "Dialogue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def start_tls(self) -> None:
        self.socket = self.context.wrap_socket(self.socket, server_hostname="mail.test")

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def read_line(self) -> bytes:
        """With its CRLF; b'' at the end of the connection."""
        while b"\n" not in self.pending:
            more = self.socket.recv(65536)
            if not more:
                rest, self.pending = self.pending, b""
                return rest
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\n")
        return line + b"\n"

    def read_exactly(self, size: int) -> bytes:
        while len(self.pending) < size:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(f"{len(self.pending)} of {size} octets")
            self.pending += more
        octets, self.pending = self.pending[:size], self.pending[size:]
        return octets

    def ended(self) -> bool:
        """True where the peer closes without saying more."""
        return self.read_line() == b""

    # SMTP

    def hear(self) -> tuple[int, str]:
        """One whole reply: code and text, lines joined by newlines. Code 0 at the end of the connection."""
        lines = []
        while True:
            line = self.read_line()
            if not line:
                return 0, "\n".join(lines)
            assert line.endswith(b"\r\n"), line
            text = line[:-2].decode("utf-8", "replace")
            assert re.match(r"[2-5]\d\d[ -]", text), text
            lines.append(text[4:])
            if text[3] == " ":
                return int(text[:3]), "\n".join(lines)

    def say(self, line: str | bytes, expect: int | None = None) -> tuple[int, str]:
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        reply = self.hear()
        assert expect is None or reply[0] == expect, f"{line!r}: {reply}"
        return reply

    # IMAP

    def response(self) -> bytes:
        """One response with its literals inside, without the last CRLF."""
        whole = b""
        while True:
            line = self.read_line()
            if not line:
                return whole
            whole += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                return whole.removesuffix(b"\r\n")
            whole += self.read_exactly(int(literal.group(1)))

    def command(self, text: str | bytes, expect: str | None = "OK") -> tuple[list[bytes], bytes]:
        """Sends one tagged command; the untagged responses and the tagged line without its tag."""
        self.tag += 1
        tag = b"a%d" % self.tag
        self.send(tag + b" " + (text.encode() if isinstance(text, str) else text) + b"\r\n")
        untagged = []
        while True:
            answer = self.response()
            if not answer:
                raise EOFError(f"connection ended in {text!r} after {untagged!r}")
            if answer.startswith(tag + b" "):
                status = answer[len(tag) + 1:]
                assert expect is None or status.startswith(expect.encode()), f"{text!r}: {status!r}"
                return untagged, status
            untagged.append(answer)
