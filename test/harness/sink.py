# SPDX-License-Identifier: AGPL-3.0-or-later
"""Another provider's server, played: SMTP with STARTTLS that takes everything, and remembers what it was told."""

import pathlib
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time


class Sink:
    """`with Sink() as s`: s.port, s.messages (bytes), s.sessions (lists of command lines)."""

    def __init__(self, pipelining: bool = True, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, address: str = "127.0.0.1",
                 port: int = 0, starttls: bool = True, eight_bit: bool = True,
                 context: ssl.SSLContext | None = None, more: tuple[str, ...] = (), cut: int | None = None,
                 refuse: str = "", pause: float = 0, grey: float | None = None) -> None:
        self.offers = ["8BITMIME"] * eight_bit + ["PIPELINING"] * pipelining
        self.offers += more
        self.starttls = starttls
        self.cut = cut          # octets of a message after which the connection is dropped
        self.refuse = refuse    # the answer to RCPT
        self.late = ""          # the answer to a message, when it is not taken
        self.turned_away: list[bytes] = []
        self.grey = grey        # seconds after which a sender may come again to the same recipient
        self.met: dict[tuple[str, str], float] = {}
        self.pause = pause      # seconds before each answer
        self.messages: list[bytes] = []
        self.sessions: list[list[str]] = []
        self.open = 0           # sessions that have not ended
        self.lock = threading.Lock()
        self.begun: list[float] = []
        self.resumed = 0
        self.context = context
        if context is None:
            self.make_context(maximum)
        sink = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with sink.lock:
                    sink.open += 1
                try:
                    sink.serve(self.request)
                except (OSError, ssl.SSLError, EOFError):
                    pass
                finally:
                    with sink.lock:
                        sink.open -= 1

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
        self.server = Server((address, port), Handler)
        self.port = self.server.server_address[1]

    def make_context(self, maximum: ssl.TLSVersion) -> None:
        with tempfile.TemporaryDirectory() as place:
            key, certificate = pathlib.Path(place) / "key", pathlib.Path(place) / "certificate"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-keyout", key, "-out", certificate, "-subj", "/CN=mx.sink.test", "-days", "2"],
                           check=True, capture_output=True)
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, key)
            self.context.maximum_version = maximum

    def __enter__(self) -> "Sink":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def serve(self, line: socket.socket) -> None:
        said: list[str] = []
        self.sessions.append(said)
        self.begun.append(time.monotonic())
        reader = line.makefile("rb")

        def reply(text: str) -> None:
            time.sleep(self.pause)
            line.sendall(text.encode() + b"\r\n")
        reply("220 mx.sink.test")
        secure = False
        sender, willing = "", 0
        while command := reader.readline():
            text = command.decode().rstrip("\r\n")
            said.append(text)
            verb = text.split(" ")[0].upper()
            if verb == "EHLO":
                offers = [o for o in self.offers if secure or o != "REQUIRETLS"] + ["STARTTLS"] * (self.starttls and not secure)
                reply("\r\n".join(f"250-{word}" for word in ["mx.sink.test", *offers]) + "\r\n250 HELP")
            elif verb == "STARTTLS":
                reply("220 go on")
                reader.close()
                line = self.context.wrap_socket(line, server_side=True)
                self.resumed += bool(line.session_reused)
                secure = True
                reader = line.makefile("rb")
            elif verb == "RCPT" and self.refuse:
                reply(self.refuse)
            elif verb == "RCPT" and self.grey is not None:
                first = self.met.setdefault((sender, text.partition(">")[0]), time.monotonic())
                fine = time.monotonic() - first > self.grey
                willing += fine
                reply("250 fine" if fine else "451 4.7.1 Greylisting in action, please come back later")
            elif verb == "DATA" and (self.refuse or (self.grey is not None and not willing)):
                reply("503 nobody takes it")
            elif verb == "DATA":
                reply("354 go on")
                body = b""
                while (part := reader.readline()) != b".\r\n":
                    if not part:
                        raise EOFError
                    if self.cut is not None and len(body) > self.cut:
                        line.shutdown(socket.SHUT_RDWR)
                        raise EOFError
                    body += part[1:] if part.startswith(b".") else part
                late = self.late
                (self.turned_away if late else self.messages).append(body)
                reply(late or "250 taken")
            elif verb == "QUIT":
                reply("221 bye")
                return
            else:
                if verb == "MAIL":
                    sender, willing = text.partition(">")[0], 0
                reply("250 fine")
