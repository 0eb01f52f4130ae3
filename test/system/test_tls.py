# SPDX-License-Identifier: AGPL-3.0-or-later
"""TLS for us: what each port offers, keys that no gate holds, certificates changed while connections stay open."""

import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import unittest
from xml.etree import ElementTree

from harness.cohue import Cohue, require_root
from harness.wait import wait_until


def make_pair(folder: pathlib.Path, name: str, kind: str) -> tuple[pathlib.Path, pathlib.Path]:
    key, chain = folder / f"{name}.key", folder / f"{name}.crt"
    algorithm = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"],
                 "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "weak": ["rsa:1024"]}[kind]
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", *algorithm, "-keyout", str(key), "-out", str(chain),
                    "-subj", f"/CN={name}.test", "-days", "30"], check=True, capture_output=True)
    key.chmod(0o600)
    return key, chain


def secret_of(key: pathlib.Path) -> list[bytes]:
    """Numbers of a key that only its holder has, each in both orders of bytes: files have one, BIGNUMs the other."""
    text = subprocess.run(["openssl", "pkey", "-in", str(key), "-noout", "-text"], check=True, capture_output=True,
                          text=True).stdout
    found = []
    for name in ("priv", "privateExponent", "prime1"):
        match = re.search(rf"^{name}:\n((?:    [0-9a-f:]+\n)+)", text, re.MULTILINE)
        if match:
            number = bytes.fromhex(re.sub(r"[^0-9a-f]", "", match.group(1))).lstrip(b"\0")
            found += [number, number[::-1]]
    assert found, text
    # A part is enough: a number in memory may be cut by nothing, but be followed by anything.
    return [n[:32] for n in found]


def holding(pid: int, needles: list[bytes]) -> list[str]:
    """The areas of its memory in which one of them lies, as /proc/PID/maps names them."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            area, mode = line.split()[:2]
            start, end = (int(x, 16) for x in area.split("-"))
            if not mode.startswith("r") or "[v" in line:
                continue
            try:
                data = os.pread(memory.fileno(), end - start, start)
            except OSError:
                continue
            if any(n in data for n in needles):
                found.append(area)
    return found


def holds(pid: int, needles: list[bytes]) -> bool:
    return bool(holding(pid, needles))


def flags_of(pid: int) -> dict[str, set[str]]:
    """Of each area: lo is locked, dd is left out of dumps (proc(5))."""
    areas, area = {}, ""
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="ascii").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            area = line.split()[0]
        elif line.startswith("VmFlags:"):
            areas[area] = set(line.split()[1:])
    return areas


class Ports(unittest.TestCase):
    """One service whose members have a P-256 key of their own, and strangers an RSA one."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue()
        try:
            cls.cohue.init()
            # In use: copies, so that a test can replace them.
            cls.files = cls.cohue.directory
            cls.pairs = {"mx": make_pair(cls.files, "first-mx", "rsa"), "member": make_pair(cls.files, "first", "ec")}
            for gate, pair in cls.pairs.items():
                for what, path in zip(("key", "certificate"), pair):
                    used = cls.used(gate, what)
                    shutil.copy(path, used)
                    cls.cohue.settings[f"tls.{gate}_{what}"] = str(used)
            cls.cohue.start()
            cls.member = cls.cohue.add_member("alice")
        except BaseException:
            cls.cohue.destroy()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    @classmethod
    def used(cls, gate: str, what: str) -> pathlib.Path:
        return cls.files / f"used-{gate}-{what}"

    def put(self, gate: str, pair: tuple[pathlib.Path, pathlib.Path]) -> None:
        for what, path in zip(("key", "certificate"), pair):
            shutil.copy(path, self.used(gate, what))

    def client(self, port: int, *arguments: str) -> str:
        """What openssl s_client says; it hangs up at once. A handshake that is not completed has no cipher."""
        start = ["-starttls", "smtp"] if port in (25, 587) else []
        ran = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.cohue.port(port)}", *start,
                               *arguments], input="", capture_output=True, text=True, timeout=20, check=False)
        return ran.stdout if ran.returncode == 0 else "Cipher is (NONE)"

    def name_shown(self, port: int) -> str:
        found = re.search(r"subject=CN ?= ?(\S+)", self.client(port))
        return found.group(1) if found else "none"

    # What is offered

    def test_members_get_tls_1_3_and_nothing_older(self) -> None:
        for port in (465, 587, 993):
            said = self.client(port)
            self.assertIn("New, TLSv1.3, Cipher is TLS_AES", said)
            self.assertIn("Compression: NONE", said)
            for old in ("-tls1_2", "-tls1_1", "-tls1"):
                self.assertIn("Cipher is (NONE)", self.client(port, old, "-cipher", "ALL:@SECLEVEL=0"), (port, old))

    def test_strangers_get_tls_1_2_with_forward_secrecy_and_aead_only(self) -> None:
        self.assertIn("New, TLSv1.3, Cipher is TLS_AES", self.client(25))
        good = self.client(25, "-tls1_2")
        self.assertIn("Cipher is ECDHE-RSA-AES128-GCM-SHA256", good)
        self.assertIn("Compression: NONE", good)
        self.assertRegex(good, r"Secure Renegotiation IS supported")
        self.assertNotIn("TLS session ticket:", good)
        for weak in ("kRSA", "DHE", "ECDHE+AES+SHA1:ECDHE+AES+SHA256:ECDHE+AES+SHA384", "NULL:eNULL:aNULL", "PSK"):
            self.assertIn("Cipher is (NONE)", self.client(25, "-tls1_2", "-cipher", f"{weak}:@SECLEVEL=0"), weak)
        for old in ("-tls1_1", "-tls1"):
            self.assertIn("Cipher is (NONE)", self.client(25, old, "-cipher", "ALL:@SECLEVEL=0"), old)
        # Signatures: PSS and PKCS #1 with SHA-2; a client that knows SHA-1 alone gets none.
        for scheme, fine in (("RSA-PSS+SHA256", True), ("RSA-PSS+SHA512", True), ("RSA+SHA256", True),
                             ("RSA+SHA384", True), ("RSA+SHA1", False)):
            said = self.client(25, "-tls1_2", "-sigalgs", scheme, "-cipher", "ALL:@SECLEVEL=0")
            self.assertEqual("Cipher is ECDHE-RSA" in said, fine, scheme)
            if fine:
                # The keeper signs over these randoms and key share, for this key: the client has verified it.
                self.assertIn("Verification error: self-signed certificate", said)

    def test_a_scanner_finds_nothing_old_on_any_port(self) -> None:
        if shutil.which("sslscan") is None:
            self.skipTest("sslscan is not installed")
        aead = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
        older = {f"ECDHE-RSA-{c}" for c in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")}
        for port in (25, 465, 587, 993, 443):
            with self.subTest(port=port):
                starttls = ["--starttls-smtp"] if port in (25, 587) else []
                ran = subprocess.run(["sslscan", "--show-sigs", *starttls, "--xml=-",
                                      f"127.0.0.1:{self.cohue.port(port)}"], capture_output=True, text=True,
                                     stdin=subprocess.DEVNULL, timeout=60, check=True)
                found = ElementTree.fromstring(ran.stdout).find("ssltest")
                versions = {f"{p.get('type')}{p.get('version')}" for p in found.iter("protocol") if p.get("enabled") == "1"}
                self.assertEqual(versions, {"tls1.3", "tls1.2"} if port == 25 else {"tls1.3"})
                self.assertEqual({c.get("cipher") for c in found.iter("cipher")}, aead | (older if port == 25 else set()))
                self.assertTrue(all(int(g.get("bits")) >= 128 for g in found.iter("group")))
                self.assertEqual({r.get("supported") for r in found.iter("renegotiation")}, {"0"})
                self.assertEqual({h.get("vulnerable") for h in found.iter("heartbleed")}, {"0"})
                self.assertFalse([s.get("name") for s in found.iter("connection-signature-algorithm")
                                  if "sha1" in s.get("name") or "md5" in s.get("name")])
                self.assertIn(found.find(".//pk").get("type"), ("EC", "RSA"))

    def test_a_client_cannot_renegotiate(self) -> None:
        ran = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-tls1_2", "-connect",
                              f"127.0.0.1:{self.cohue.port(25)}"],
                             input="R\n", capture_output=True, text=True, timeout=20, check=False)
        self.assertRegex(ran.stdout + ran.stderr, "no renegotiation|RENEGOTIATING\n.*(alert|error)")

    def test_members_resume_and_strangers_do_not(self) -> None:
        def resumed(port: int, version: str) -> bool:
            path = str(self.files / "session")
            start = ["-starttls", "smtp"] if port in (25, 587) else []
            base = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.cohue.port(port)}", *start, version]
            # A line is sent and answered, so that the ticket has come.
            line = "a1 LOGOUT\r\n" if port == 993 else "QUIT\r\n"
            subprocess.run([*base, "-sess_out", path, "-quiet", "-ign_eof"], input=line, capture_output=True, text=True,
                           timeout=20, check=False)
            if not os.path.exists(path):
                return False
            said = subprocess.run([*base, "-sess_in", path, "-ign_eof"], input=line, capture_output=True, text=True,
                                  timeout=20, check=False).stdout
            os.unlink(path)
            return "Reused, TLSv1" in said

        # Each worker has ticket keys of its own: of a few tries some meet the one that made the ticket.
        self.assertTrue(any(resumed(993, "-tls1_3") for _ in range(12)))
        self.assertFalse(resumed(25, "-tls1_3"))
        self.assertFalse(resumed(25, "-tls1_2"))

    # Where the keys are

    def test_no_gate_holds_a_key(self) -> None:
        require_root()
        for port in (25, 465, 993):
            self.assertNotEqual(self.name_shown(port), "none")
        needles = {gate: secret_of(self.used(gate, "key")) for gate in self.pairs}
        # What the search finds where there is something: the keeper has both.
        for pid in self.cohue.role_pids("keeper"):
            for gate, numbers in needles.items():
                self.assertTrue(holds(pid, numbers), gate)
        for role in ("gate-mx", "gate-member"):
            for pid in self.cohue.role_pids(role):
                for numbers in needles.values():
                    self.assertFalse(holds(pid, numbers), role)

    def test_the_keeper_has_its_keys_in_locked_memory_alone(self) -> None:
        # Read from PEM by way of base64 and DER, signed with: no octet of either stays where it could be swapped or dumped.
        require_root()
        for port in (25, 993):
            self.assertNotEqual(self.name_shown(port), "none")
        pid = self.cohue.role_pids("keeper")[0]
        flags = flags_of(pid)
        for key in (self.used(gate, "key") for gate in self.pairs):
            # The exponents. OpenSSL keeps an RSA key's primes as a modulus, too, in ordinary memory (docs/links.md).
            areas = holding(pid, secret_of(key)[:2])
            self.assertTrue(areas)
            for area in areas:
                self.assertLessEqual({"lo", "dd"}, flags[area], area)
            # Nor the file's own text: any line of it.
            for line in key.read_bytes().splitlines()[1:-1]:
                self.assertEqual(holding(pid, [line[:40]]), [])

    def test_handshakes_fail_while_the_keeper_is_away_and_members_go_on(self) -> None:
        open_one = self.cohue.imap(self.member)
        keepers = self.cohue.role_pids("keeper")
        try:
            for pid in keepers:
                os.kill(pid, signal.SIGSTOP)
            self.assertEqual(self.name_shown(993), "none")
            self.assertEqual(open_one.noop()[0], "OK")
        finally:
            for pid in keepers:
                os.kill(pid, signal.SIGCONT)
        # Each worker that met the silence has its own pause.
        wait_until(lambda: {self.name_shown(993) for _ in range(8)} == {"first.test"}, 20, "handshakes again")
        self.cohue.kill_role("keeper")
        self.cohue.wait_role("keeper", keepers)
        wait_until(lambda: {self.name_shown(993) for _ in range(8)} == {"first.test"}, 20, "a keeper anew")
        self.assertEqual(open_one.noop()[0], "OK")
        open_one.logout()

    # Reload

    def test_new_certificates_are_taken_and_connections_stay(self) -> None:
        open_one = self.cohue.imap(self.member)
        waiting = socket.create_connection(("127.0.0.1", self.cohue.port(587)), timeout=20)
        waiting.recv(1000)
        waiting.sendall(b"EHLO x.test\r\n")
        waiting.recv(4000)
        try:
            self.put("member", make_pair(self.files, "second", "rsa"))
            self.put("mx", make_pair(self.files, "second-mx", "p384"))
            self.assertEqual(self.name_shown(993), "first.test")
            self.cohue.cli("tls", "reload")
            for port, name in ((993, "second.test"), (465, "second.test"), (25, "second-mx.test")):
                wait_until(lambda: self.name_shown(port) == name, 10, f"the new certificate on {port}")
                # Each worker, not one of them.
                self.assertEqual({self.name_shown(port) for _ in range(6)}, {name})
            self.assertEqual(open_one.noop()[0], "OK")
            # Begun in clear before, in TLS after.
            waiting.sendall(b"STARTTLS\r\n")
            self.assertTrue(waiting.recv(1000).startswith(b"220"))
            context = ssl.create_default_context(cafile=str(self.used("member", "certificate")))
            context.check_hostname = False
            with context.wrap_socket(waiting) as secure:
                self.assertEqual(secure.version(), "TLSv1.3")

            # Back, by signal; a broken one is refused by name and changes nothing.
            self.put("member", (self.pairs["mx"][0], self.pairs["member"][1]))
            ran = self.cohue.cli("tls", "reload", check=False)
            self.assertEqual(ran.returncode, 1)
            self.assertIn("do not belong together", ran.stderr)
            self.assertIn("tls.member_key", ran.stderr)
            self.put("member", make_pair(self.files, "weak", "weak"))
            self.assertIn("RSA of 2048", self.cohue.cli("tls", "reload", check=False).stderr)
            self.used("member", "certificate").unlink()
            self.assertIn(str(self.used("member", "certificate")), self.cohue.cli("tls", "reload", check=False).stderr)
            self.assertEqual(self.name_shown(993), "second.test")
            self.assertEqual(self.name_shown(25), "second-mx.test")
        finally:
            for gate, pair in self.pairs.items():
                self.put(gate, pair)
            assert self.cohue.process is not None
            self.cohue.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.name_shown(993) == "first.test", 10, "the first certificate again")
        wait_until(lambda: self.name_shown(25) == "first-mx.test", 10, "the first certificate again")
        self.assertEqual(open_one.noop()[0], "OK")
        open_one.logout()


if __name__ == "__main__":
    unittest.main()
