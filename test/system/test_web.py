# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the house says over HTTP, on the real binary: settings that programs find, the policy, and what strangers may try."""

import concurrent.futures
import hashlib
import http.client
import json
import plistlib
import re
import shutil
import socket
import ssl
import subprocess
import unittest
import xml.etree.ElementTree as xml

from harness import Cohue, imap_login, wait_until

DOMAIN = "house.test"
HOST = "mail.house.test"
AUTOCONFIG = "/.well-known/autoconfig/mail/config-v1.1.xml"
OUTLOOK = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"


class Https(http.client.HTTPSConnection):
    """To the service on loopback, whatever the name; the certificate is verified for that name."""

    def __init__(self, c: Cohue, name: str) -> None:
        context = ssl.create_default_context(cafile=str(c.home / "tls/member.crt"))
        super().__init__(name, c.port(443), context=context, timeout=10)

    def connect(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        self.sock = self._context.wrap_socket(raw, server_hostname=self.host)


class Web(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.c = Cohue(domain=DOMAIN, hostname=HOST)
        cls.addClassCleanup(cls.c.destroy)
        cls.c.init()
        cls.c.start()
        cls.alice = cls.c.add_member("alice")

    def get(self, path: str, name: str = HOST, method: str = "GET", body: str | None = None,
            secure: bool = True) -> tuple[http.client.HTTPResponse, str]:
        if secure:
            connection: http.client.HTTPConnection = Https(self.c, name)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.c.port(80), timeout=10)
        connection.request(method, path, body, {"Host": name})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def raw(self, text: bytes, port: int = 80, end: bool = False) -> bytes:
        """All that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.c.port(port)), 10) as s:
            s.settimeout(30)
            got = b""
            try:
                s.sendall(text)
                if end:
                    s.shutdown(socket.SHUT_WR)
                while piece := s.recv(65536):
                    got += piece
            except ConnectionResetError:
                pass
            return got

    # The documents

    def test_the_certificate_holds_every_name_and_programs_find_the_settings_at_each(self) -> None:
        for name in (HOST, DOMAIN, f"autoconfig.{DOMAIN}", f"autodiscover.{DOMAIN}"):
            for secure in (True, False):
                answer, text = self.get(f"{AUTOCONFIG}?emailaddress=eve%40{DOMAIN}", name, secure=secure)
                self.assertEqual(answer.status, 200, name)
                self.assertNotIn("eve", text)
                provider = xml.fromstring(text).find("emailProvider")
                imap, smtp, starttls = provider.find("incomingServer"), *provider.findall("outgoingServer")
                self.assertEqual([provider.findtext("domain"), imap.get("type"), smtp.get("type")],
                                 [DOMAIN, "imap", "smtp"])
                for server, port, kind in ((imap, 993, "SSL"), (smtp, 465, "SSL"), (starttls, 587, "STARTTLS")):
                    self.assertEqual([server.findtext(k) for k in
                                      ("hostname", "port", "socketType", "authentication", "username")],
                                     [HOST, str(self.c.port(port)), kind, "password-cleartext", "%EMAILADDRESS%"])
        # What was found works: the address and the application password.
        imap_login(self.c.port(993), self.alice.address, self.alice.password).logout()

    def test_curl_asks_as_a_mail_program_does(self) -> None:
        if shutil.which("curl") is None:
            self.skipTest("there is no curl")
        for scheme, port, extra in (("http", 80, []), ("https", 443, ["--cacert", str(self.c.home / "tls/member.crt")])):
            name = f"autoconfig.{DOMAIN}"
            port = self.c.port(port)
            ran = subprocess.run(
                ["curl", "-sS", "--fail", "--max-time", "10", *extra, "--resolve", f"{name}:{port}:127.0.0.1",
                 f"{scheme}://{name}:{port}/mail/config-v1.1.xml?emailaddress=alice@{DOMAIN}"],
                capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertIn("<clientConfig", ran.stdout)

    def test_outlook_and_apple_find_them_too(self) -> None:
        question = ('<?xml version="1.0"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/'
                    f'outlook/requestschema/2006"><Request><EMailAddress>{self.alice.address}</EMailAddress>'
                    "</Request></Autodiscover>")
        for method, body in (("POST", question), ("GET", None)):
            answer, text = self.get("/Autodiscover/Autodiscover.xml", f"autodiscover.{DOMAIN}", method, body)
            self.assertEqual(answer.status, 200)
            found = {p.findtext(OUTLOOK + "Type"): p for p in xml.fromstring(text).iter(OUTLOOK + "Protocol")}
            self.assertEqual(found["IMAP"].findtext(OUTLOOK + "Port"), str(self.c.port(993)))
            self.assertEqual(found["SMTP"].findtext(OUTLOOK + "Server"), HOST)
            self.assertEqual(found["IMAP"].findtext(OUTLOOK + "LoginName"), self.alice.address if body else None)
        _, text = self.get("/autodiscover/autodiscover.json?Email=x&Protocol=AutodiscoverV1")
        self.assertEqual(json.loads(text)["Protocol"], "AutodiscoverV1")
        self.assertEqual(self.get("/autodiscover/autodiscover.json?Protocol=ActiveSync")[0].status, 400)

        answer, text = self.get(f"/apple.mobileconfig?address={self.alice.address}")
        self.assertEqual(answer.headers["Content-Type"], "application/x-apple-aspen-config")
        account, = plistlib.loads(text.encode())["PayloadContent"]
        self.assertEqual([account["EmailAddress"], account["IncomingMailServerPortNumber"],
                          account["OutgoingMailServerUseSSL"]], [self.alice.address, self.c.port(993), True])
        account, = plistlib.loads(self.get("/apple.mobileconfig")[1].encode())["PayloadContent"]
        self.assertNotIn("EmailAddress", account)
        self.assertEqual(self.get("/apple.mobileconfig?address=%3Cb%3E%40evil.test")[0].status, 400)

    def test_the_page_is_served_with_strict_fields_and_no_cookie(self) -> None:
        answer, text = self.get("/")
        self.assertIn(f"port {self.c.port(993)}", text)
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertIn("default-src 'none'", answer.headers["Content-Security-Policy"])
        self.assertIn("max-age=", answer.headers["Strict-Transport-Security"])
        self.assertFalse({"set-cookie", "server", "etag"} & {name.lower() for name in answer.headers})
        head, nothing = self.get("/", method="HEAD")
        self.assertEqual([head.status, nothing, head.headers["Content-Length"]], [200, "", str(len(text.encode()))])
        self.assertEqual(self.get("/style.css")[0].headers["Content-Type"], "text/css; charset=utf-8")
        for path in ("/../etc/passwd", "/cohue.conf", "/.well-known/", "/mail/config-v1.1.xml"):
            self.assertEqual(self.get(path)[0].status, 404)

    def test_the_policy_and_its_record_belong_together(self) -> None:
        answer, text = self.get("/.well-known/mta-sts.txt", f"mta-sts.{DOMAIN}")
        self.assertTrue(answer.headers["Content-Type"].startswith("text/plain"))
        self.assertEqual(dict(line.split(": ") for line in text.splitlines()),
                         {"version": "STSv1", "mode": "testing", "mx": HOST, "max_age": "604800"})
        records = {(r["name"], r["type"]): r for r in self.c.cli_json("dns")}
        policy_id = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()[:20]
        self.assertEqual(records[f"_mta-sts.{DOMAIN}.", "TXT"]["value"], f'"v=STSv1; id={policy_id}"')
        self.assertEqual(records[f"_imap._tcp.{DOMAIN}.", "SRV"]["value"], "0 0 0 .")
        self.assertEqual(records[f"_autodiscover._tcp.{DOMAIN}.", "SRV"]["value"], f"0 0 {self.c.port(443)} {HOST}.")
        self.assertEqual(records[f"autoconfig.{DOMAIN}.", "CNAME"]["value"], f"{HOST}.")
        self.assertTrue(records[f"_smtp._tls.{DOMAIN}.", "TXT"]["optional"])
        self.assertRegex(self.c.cli("dns").stdout, rf"(?m)^; _smtp\._tls\.{re.escape(DOMAIN)}\.")
        self.assertEqual(self.get("/.well-known/mta-sts.txt")[0].status, 404)

    # In clear, and foreign names

    def test_port_80_sends_on_to_https_and_never_elsewhere(self) -> None:
        answer, _ = self.get("/a?b=c", secure=False)
        self.assertEqual([answer.status, answer.headers["Location"]],
                         [301, f"https://{HOST}:{self.c.port(443)}/a?b=c"])
        self.assertNotIn("Strict-Transport-Security", answer.headers)
        answer, _ = self.get("/autodiscover/autodiscover.xml", f"autodiscover.{DOMAIN}", secure=False)
        self.assertEqual(answer.status, 302)
        self.assertEqual(self.get("/", "evil.test", secure=False)[0].status, 421)
        self.assertEqual(self.get("/", method="POST", body="x", secure=False)[0].status, 403)
        self.assertEqual(self.get("/.well-known/acme-challenge/none", secure=False)[0].status, 404)

    # TLS

    def test_tls_is_1_3_and_speaks_http_1_1_or_nothing(self) -> None:
        def shake(offer: list[str], maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, port: int = 443) -> str | None:
            context = ssl.create_default_context(cafile=str(self.c.home / "tls/member.crt"))
            context.maximum_version = maximum
            if offer:
                context.set_alpn_protocols(offer)
            with socket.create_connection(("127.0.0.1", self.c.port(port)), 10) as raw, \
                    context.wrap_socket(raw, server_hostname=HOST) as s:
                if port == 443:
                    s.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                self.assertTrue(s.recv(16))
                return s.selected_alpn_protocol()

        self.assertEqual(shake(["h2", "http/1.1"]), "http/1.1")
        self.assertIsNone(shake([]))
        for offer in (["h2"], ["imap"], ["http/1.0", "smtp"]):
            with self.assertRaises(ssl.SSLError):
                shake(offer)
        with self.assertRaises(ssl.SSLError):
            shake([], ssl.TLSVersion.TLSv1_2)
        # Elsewhere what is offered is overlooked.
        self.assertIsNone(shake(["imap"], port=993))

    # What strangers may try

    def test_malformed_requests_get_an_answer_and_the_end(self) -> None:
        host = b"Host: " + HOST.encode() + b"\r\n"
        smuggled = b"GET /smuggled HTTP/1.1\r\n" + host + b"\r\n"
        for request, status in (
                (b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
                (b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
                (b"GET / HTTP/1.1\r\n" + host + b"X: a\r\n b\r\n\r\n", 400),
                (b"GET / HTTP/1.1\n" + host + b"\n", 400),
                (b"GET / HTTP/1.1\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + host + b"\r\n", 400),
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
                (b"EHLO x\r\n\r\n", 400),
                (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n", 414),
                (b"GET / HTTP/1.1\r\n" + host + b"X: " + b"x" * 20000 + b"\r\n", 431),
                (b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 70000\r\n\r\n", 413),
                (b"PUT / HTTP/1.1\r\n" + host + b"\r\n", 405),
                (b"BREW / HTTP/1.1\r\n" + host + b"\r\n", 501),
                (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)):
            got = self.raw(request + (smuggled if status in (400, 405) else b""))
            # The kernel may throw the answer away where more was sent than we read.
            self.assertTrue(got.startswith(f"HTTP/1.1 {status} ".encode()) or
                            (got == b"" and len(request) > 4096), (request[:80], got[:80]))
            self.assertLessEqual(got.count(b"HTTP/1.1 "), 1, request[:80])

    def test_requests_may_be_pipelined_and_the_last_of_many_ends_it(self) -> None:
        request = f"GET {AUTOCONFIG} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        got = self.raw(request * 150)
        self.assertEqual(got.count(b"HTTP/1.1 200 OK\r\n"), 100)
        self.assertEqual(got.count(b"</clientConfig>"), 100)
        self.assertEqual(got.count(b"Connection: close\r\n"), 1)

    def test_who_holds_connections_open_keeps_no_member_out(self) -> None:
        held = []
        try:
            for _ in range(60):
                s = socket.create_connection(("127.0.0.1", self.c.port(80)), 10)
                held.append(s)
                s.sendall(b"GET / HT")
            imap_login(self.c.port(993), self.alice.address, self.alice.password).logout()

            def ended() -> int:
                n = 0
                for s in held:
                    s.setblocking(False)
                    try:
                        n += s.recv(1) == b""
                    except BlockingIOError:
                        pass
                    except ConnectionResetError:
                        n += 1
                return n

            # One source has 16; the others are turned away at once.
            wait_until(lambda: ended() >= 60 - 16, 10, "more than one source's share is turned away")
        finally:
            for s in held:
                s.close()
        wait_until(lambda: self.raw(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode()).startswith(b"HTTP/1.1 301"), 10,
                   "there is room again")

    def test_many_at_once_are_all_answered(self) -> None:
        def one(i: int) -> int:
            return self.get(AUTOCONFIG, secure=i % 2 == 0)[0].status

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertEqual(set(pool.map(one, range(120))), {200})

    # Last by name: what all of the above has left

    def test_zz_nothing_restarted_and_nothing_was_written_down(self) -> None:
        gate, = [r for r in self.c.cli_json("status") if r["role"] == "gate-member"]
        self.assertEqual(int(gate["restarts"]), 0)
        self.assertGreater(int(gate["web_requests"]), 100)
        log = self.c.log()
        for word in ("is ready again", "broke the message table", "alice", "eve", "127.0.0.1", "evil"):
            self.assertNotIn(word, log)


class WebOff(unittest.TestCase):
    def test_a_taken_port_is_told_with_its_remedy_and_off_and_other_ports_help(self) -> None:
        c = Cohue()
        self.addCleanup(c.destroy)
        c.init()
        with socket.socket() as other:
            other.bind(("127.0.0.1", c.port(443)))
            other.listen()
            c.start(ready=False)
            self.assertNotEqual(c.process.wait(20), 0)
            c.process = None
            self.assertRegex(c.log(), r"port \d+: Address already in use.*web\.https_port.*web = off")
            c.settings["web"] = "off"
            c.start()
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", c.port(80)), 5)
            c.stop()
            # Beside the other server: another port, and the same documents.
            c.settings.update({"web": "on", "web.https_port": "444"})
            c.start()
            context = ssl.create_default_context(cafile=str(c.home / "tls/member.crt"))
            with socket.create_connection(("127.0.0.1", c.port(444)), 10) as raw, \
                    context.wrap_socket(raw, server_hostname=c.hostname) as s:
                s.sendall(f"GET / HTTP/1.0\r\nHost: {c.hostname}\r\n\r\n".encode())
                self.assertTrue(s.recv(64).startswith(b"HTTP/1.1 200 "))


if __name__ == "__main__":
    unittest.main()
