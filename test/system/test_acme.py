# SPDX-License-Identifier: AGPL-3.0-or-later
"""Certificates by ACME, against Pebble: both challenges, renewal with connections open, new keys and crashes between, names that fail, an authority that is ill."""

import http.server
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from harness import Cohue, wait_until
from harness.authority import Authority as OwnAuthority
from harness.pebble import Pebble

DOMAIN, HOST = "house.test", "mail.house.test"
NAMES = {HOST, DOMAIN, f"autoconfig.{DOMAIN}", f"autodiscover.{DOMAIN}", f"mta-sts.{DOMAIN}"}


def names_of(text: str) -> set[str]:
    return set(text.split())


class Authority(unittest.TestCase):
    """One house and one authority that refuses a share of nonces, through a life: first certificates, renewals, failures."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="cohue-acme-"))
        cls.folder.chmod(0o711)
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        # On one address: a name that leads to another of loopback's is not ours.
        cls.c = Cohue(domain=DOMAIN, hostname=HOST, settings={"listen": "127.0.0.1"})
        cls.addClassCleanup(cls.c.destroy)
        cls.pebble = Pebble(cls.folder, cls.c.port(80), cls.c.port(443))
        cls.addClassCleanup(cls.pebble.stop)
        cls.pebble.start()
        cls.c.init()
        cls.set_up("http-01")
        cls.c.start()

    @classmethod
    def set_up(cls, challenge: str) -> None:
        """In the file, which the command line reads, too."""
        path = cls.c.home / "cohue.conf"
        text = path.read_text().split("# by ACME")[0]
        path.write_text(f"{text}# by ACME\nacme = on\nacme.directory = {cls.pebble.directory}\n"
                        f"acme.ca = {cls.pebble.ca}\nacme.challenge = {challenge}\n")

    @classmethod
    def certificates(cls) -> dict[str, dict]:
        return {row["ports"]: row for row in cls.c.cli_json("tls")}

    def renew(self, fine: bool = True) -> str:
        ran = self.c.cli("tls", "renew", check=False, timeout=120)
        self.assertEqual(ran.returncode == 0, fine, (ran.stderr, self.c.log()))
        return ran.stderr

    def status(self) -> str:
        return self.c.cli("status").stdout

    def connect(self, port: int, name: str = HOST) -> ssl.SSLSocket:
        """Verified against the authority's root, for this name."""
        context = ssl.create_default_context(cafile=str(self.pebble.root()))
        raw = socket.create_connection(("127.0.0.1", self.c.port(port)), 10)
        if port in (25, 587):
            raw.recv(1024)
            raw.sendall(b"EHLO test\r\n")
            raw.recv(4096)
            raw.sendall(b"STARTTLS\r\n")
            raw.recv(1024)
        return context.wrap_socket(raw, server_hostname=name)

    def serial(self, port: int) -> str:
        with self.connect(port) as s:
            return s.getpeercert()["serialNumber"]

    def key_of(self, which: str) -> str:
        ran = subprocess.run(["openssl", "x509", "-noout", "-pubkey", "-in", str(self.c.home / f"tls/{which}.crt")],
                             check=True, capture_output=True, text=True)
        return ran.stdout

    def test_0_a_chain_to_nobody_is_not_taken(self) -> None:
        before = [(self.c.home / f"tls/{w}.crt").read_bytes() for w in ("mx", "member")]
        said = self.renew(fine=False)
        self.assertIn("leads to no authority that this machine trusts", said)
        self.assertIn("Remedy:", said)
        self.assertEqual(before, [(self.c.home / f"tls/{w}.crt").read_bytes() for w in ("mx", "member")])
        self.assertNotIn("is in force", self.c.log())
        self.pebble.trust()
        self.c.restart()

    def test_1_the_first_certificates_come_by_themselves(self) -> None:
        wait_until(lambda: self.c.log().count("is in force") == 2, 20, f"certificates; log:\n{self.c.log()}")
        for port in (25, 465, 587, 993, 443):
            with self.connect(port) as s:
                self.assertEqual(s.version(), "TLSv1.3")
        for name in NAMES:
            self.connect(443, name).close()
        shown = self.certificates()
        self.assertEqual(names_of(shown["port 25"]["names"]), {HOST})
        self.assertEqual(names_of(shown["ports 465, 587, 993 and 443"]["names"]), NAMES)
        for row in shown.values():
            self.assertIn("Pebble Intermediate", row["issuer"])
            self.assertEqual(row["lacking"], "")
        self.assertGreater(self.pebble.asked("Attempting to validate w/ HTTP"), 5)
        self.assertEqual(self.pebble.asked("Attempting to validate w/ TLS"), 0)
        account = self.c.home / "tls/acme.key.sealed"
        self.assertEqual(account.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(b"PRIVATE KEY", account.read_bytes())
        wait_until(lambda: "acme_member_issuer       authority" in self.status(), 10, "it says so")
        self.assertNotIn("acme_problem", self.status())

    def tlsa(self) -> list[str]:
        return [r["value"] for r in self.c.cli_json("dns") if r["type"] == "TLSA"]

    def test_2_a_renewal_brings_the_next_key_and_keeps_open_connections(self) -> None:
        keys = [self.key_of(w) for w in ("mx", "member")]
        tlsa = self.tlsa()
        self.assertEqual(len(tlsa), 2)
        before = self.serial(993)
        with self.connect(993) as old:
            self.assertIn(b"OK", old.recv(1024))
            self.renew()
            wait_until(lambda: self.serial(993) != before, 10, "the new certificate is shown")
            old.sendall(b"a NOOP\r\n")
            self.assertIn(b"a OK", old.recv(1024))
        # Nobody insists on a key of this host (there are no TLSA records), so both change, to those that were shown before.
        for key, name in zip(keys, ("mx", "member")):
            self.assertNotEqual(key, self.key_of(name))
        after = wait_until(lambda: len(self.tlsa()) == 2 and self.tlsa()[1] != tlsa[1] and self.tlsa(), 10, "another next key")
        self.assertEqual(after[0], tlsa[1])
        self.assertNotIn(after[1], tlsa)
        self.connect(25).close()
        # The share of nonces that it refuses was met, and asked again.
        self.assertEqual(self.c.log().count("warning: the certificate authority"), 0)

    def test_2b_a_crash_between_certificate_and_key_leaves_them_together(self) -> None:
        tls = self.c.home / "tls"
        names = [f"{w}.{end}" for w in ("mx", "member") for end in ("key.sealed", "next")]
        old = {name: (tls / name).read_bytes() for name in names}
        self.renew()
        wait_until(lambda: all((tls / name).read_bytes() != octets for name, octets in old.items()), 10, "keys in place")
        new = {name: (tls / name).read_bytes() for name in names}
        for w in ("mx", "member"):
            self.assertEqual(new[f"{w}.key.sealed"], old[f"{w}.next"][32:])
            self.assertEqual((tls / f"{w}.next").stat().st_mode & 0o777, 0o600)
        serial = self.serial(993)
        # As after the first step (the certificate alone is there), and after the second (the key, too; no other next one yet).
        for files in (old, {**old, **{n: o for n, o in new.items() if n.endswith("key.sealed")}}):
            self.c.stop()
            for name, octets in files.items():
                (tls / name).write_bytes(octets)
            self.c.start()
            self.assertEqual(self.serial(993), serial)
            self.connect(25).close()
            wait_until(lambda: all((tls / n).read_bytes() == o for n, o in new.items() if n.endswith("key.sealed")), 20,
                       "each key in its own file")
            wait_until(lambda: all((tls / f"{w}.next").read_bytes() != old[f"{w}.next"] for w in ("mx", "member")), 20,
                       "other next keys")

    def test_3_tls_alpn_01_and_nothing_else_by_that_name(self) -> None:
        self.c.stop()
        self.set_up("tls-alpn-01")
        self.c.start()
        before = self.serial(443)
        asked = self.pebble.asked("Attempting to validate w/ HTTP")
        self.renew()
        wait_until(lambda: self.serial(443) != before, 10, "the new certificate is shown")
        self.assertEqual(self.pebble.asked("Attempting to validate w/ HTTP"), asked)
        # No challenge stands: who asks for one gets none, and others are served as ever.
        ran = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.c.port(443)}", "-servername", HOST,
                              "-alpn", "acme-tls/1"], input="", capture_output=True, text=True, timeout=20, check=False)
        self.assertNotIn("ALPN protocol: acme-tls/1", ran.stdout)
        with self.connect(443) as s:
            s.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            self.assertTrue(s.recv(1024).startswith(b"HTTP/1.1 200"))

    def test_4_a_name_that_leads_elsewhere_is_left_out_and_said(self) -> None:
        self.pebble.place(f"mta-sts.{DOMAIN}", "127.0.0.9")
        self.addCleanup(self.pebble.place, f"mta-sts.{DOMAIN}", "127.0.0.1")
        self.renew()
        shown = self.certificates()["ports 465, 587, 993 and 443"]
        self.assertEqual(names_of(shown["names"]), NAMES - {f"mta-sts.{DOMAIN}"})
        self.assertEqual(shown["lacking"], f"mta-sts.{DOMAIN}")
        self.assertIn("lacks them", self.c.log())

    def test_5_a_failure_is_said_once_and_the_old_certificates_stay(self) -> None:
        before = self.serial(993)
        self.pebble.place(HOST, "127.0.0.9")
        self.addCleanup(self.pebble.place, HOST, "127.0.0.1")
        for _ in range(2):
            said = self.renew(fine=False)
            self.assertIn(f"does not find the proof for {HOST}", said)
            self.assertIn("Remedy:", said)
        self.assertEqual(self.c.log().count("does not find the proof for"), 1)
        self.assertIn("acme_problem", self.status())
        self.assertEqual(self.serial(993), before)
        found = {r["check"]: r for r in json.loads(self.c.cli("doctor", "--json", check=False, timeout=60).stdout)}
        self.assertEqual(found["acme"]["level"], "bad")
        self.pebble.place(HOST, "127.0.0.1")
        self.renew()
        self.assertNotIn("acme_problem", self.status())

    def test_5b_a_disk_that_was_full_blocks_nothing_once_it_is_not(self) -> None:
        tls = self.c.home / "tls"
        key = tls / "member.key.sealed"
        saved = key.read_bytes()
        key.unlink()
        key.mkdir()
        (key / "in the way").touch()  # to be replaced fails, as on a full disk
        for times in (1, 2):
            said = self.renew(fine=False)
            self.assertIn("cannot be saved in the folder tls", said)
            self.assertIn("Remedy: see to the space and the rights", said)
            self.assertIn("member.key.sealed cannot be written", self.c.log())
            # Not one order more before it is.
            orders = orders if times == 2 else self.pebble.asked("There are now")
            self.assertEqual(self.pebble.asked("There are now"), orders)
            self.assertGreater(orders, 0)
        self.assertIn("acme_problem", self.status())
        shutil.rmtree(key)
        key.write_bytes(saved)
        key.chmod(0o600)
        self.renew()
        self.assertNotIn("acme_problem", self.status())
        self.assertEqual(len(self.tlsa()), 2)
        # No next key at the start, and no room for one.
        self.c.stop()
        following = tls / "mx.next"
        following.unlink()
        following.mkdir()
        (following / "in the way").touch()
        self.c.start()
        self.assertIn("cannot be saved in the folder tls", self.renew(fine=False))
        shutil.rmtree(following)
        self.renew()
        self.assertTrue(following.is_file())

    def test_5c_a_renewal_outlives_the_fetcher(self) -> None:
        before = self.serial(993)
        ran = subprocess.Popen([self.c.binary, "tls", "renew", "--home", str(self.c.home)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        time.sleep(0.1)
        self.c.kill_role("fetcher")
        ran.communicate(timeout=60)
        wait_until(lambda: self.serial(993) != before, 30, "the renewal was done all the same")

    def test_5d_with_files_of_ones_own_for_port_25_members_get_theirs(self) -> None:
        self.c.stop()
        chain, key = OwnAuthority(self.folder).sign(HOST)
        key.chmod(0o600)
        path = self.c.home / "cohue.conf"
        text = path.read_text()
        self.addCleanup(self.c.restart)
        self.addCleanup(path.write_text, text)
        path.write_text(text + f"tls.mx_key = {key}\ntls.mx_certificate = {chain}\n")
        self.c.start()
        before = self.serial(993)
        self.renew()
        wait_until(lambda: self.serial(993) != before, 10, "the new certificate is shown")
        self.assertEqual(self.c.log().count("does not sign"), 0)

    def test_6_without_an_authority_the_house_goes_on(self) -> None:
        before = self.serial(993)
        root = ssl.create_default_context(cafile=str(self.pebble.root()))
        self.pebble.stop()
        self.assertIn("does not answer", self.renew(fine=False))
        self.c.stop()
        self.c.start()
        raw = socket.create_connection(("127.0.0.1", self.c.port(993)), 10)
        with root.wrap_socket(raw, server_hostname=HOST) as s:
            self.assertEqual(s.getpeercert()["serialNumber"], before)


class Ill(http.server.BaseHTTPRequestHandler):
    """An authority's web server that says what the test wants."""

    answer = (200, b"{}", {})

    def do_GET(self) -> None:
        status, body, fields = Ill.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


class IllAuthority(unittest.TestCase):
    def test_what_is_no_directory_changes_nothing(self) -> None:
        with tempfile.TemporaryDirectory(prefix="cohue-acme-") as name:
            folder = pathlib.Path(name)
            folder.chmod(0o711)
            key, certificate = folder / "key", folder / "crt"
            subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                            "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1", "-days", "3",
                            "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ill)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            base = f"https://127.0.0.1:{server.server_port}"
            full = {"newNonce": f"{base}/n", "newAccount": f"{base}/a", "newOrder": f"{base}/o"}
            cases = [
                ((302, b"", {"Location": f"{base}/elsewhere"}), "redirects"),
                ((200, b"<html>hello</html>", {}), "no JSON"),
                ((200, b"[" * 100000, {}), "no JSON"),
                ((200, b'{"a":"' + b"x" * 1000000 + b'"}', {}), "too long"),
                ((200, b"[]", {}), "nothing that ACME knows"),
                ((503, b'{"type":"urn:ietf:params:acme:error:rateLimited"}', {"Retry-After": "100"}), "rateLimited"),
                ((200, json.dumps({**full, "newOrder": "https://other.test/o"}).encode(), {}), "of another host"),
                ((200, json.dumps({**full, "newNonce": base + '/"\\u0022'}).encode(), {}), "of another host"),
                ((200, json.dumps(full).encode(), {"Replay-Nonce": 'a","x":"b'}), "does not sign"),
                ((200, json.dumps({**full, "meta": {"externalAccountRequired": True}}).encode(), {}), "beforehand"),
            ]
            try:
                Ill.answer = cases[0][0]
                with Cohue(settings={"acme": "on", "acme.directory": f"{base}/dir", "acme.ca": str(certificate)}) as c:
                    before = [(c.home / f"tls/{w}.crt").read_bytes() for w in ("mx", "member")]
                    for answer, expected in cases:
                        Ill.answer = answer
                        ran = c.cli("tls", "renew", check=False, timeout=60)
                        self.assertNotEqual(ran.returncode, 0, expected)
                        self.assertIn(expected, ran.stderr)
                        self.assertIn("Remedy:", ran.stderr)
                    self.assertEqual(before, [(c.home / f"tls/{w}.crt").read_bytes() for w in ("mx", "member")])
                    self.assertNotIn("restarted", c.log())
                    c.add_member("alice")
                with Cohue() as c:
                    self.assertIn("acme is off", c.cli("tls", "renew", check=False).stderr)
                    self.assertNotIn("acme", c.cli("status").stdout)
            finally:
                server.shutdown()
                server.server_close()


if __name__ == "__main__":
    unittest.main()
