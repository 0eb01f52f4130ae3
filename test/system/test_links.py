# SPDX-License-Identifier: AGPL-3.0-or-later
"""Links to others: what each kind of provider gets of our mail, how protected, and what its author hears."""

import email
import email.policy
import http.server
import json
import pathlib
import random
import shutil
import ssl
import tempfile
import threading
import time
import unittest

from harness.authority import Authority, server_context, tlsa
from harness.cohue import Cohue
from harness.sink import Sink
from harness.wait import free_port, wait_until
from peers import Exim, Knot, OpenSMTPD, Postfix, peers_available

PORT, HTTPS = free_port(), free_port()
NET = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
DNS, POLICIES, NOBODY = f"{NET}.2", f"{NET}.3", f"{NET}.4"

DELIVERED, DEFERRED, FAILED = "delivered", "deferred", "failed"
NOT_VERIFIED, BY_DANE, BY_STS, CLEAR = "encrypted, not verified", "DANE", "MTA-STS", "clear"


class Policies:
    """The hosts mta-sts.DOMAIN, all at one address: what each answers, and with which certificate."""

    def __init__(self, authority: Authority, stranger: Authority, answers: dict[str, object]) -> None:
        self.asked: list[str] = []
        names = [f"mta-sts.{domain}" for domain in answers]
        good = server_context(*authority.sign(*names))
        untrusted = server_context(*stranger.sign("mta-sts.sts-untrusted.test"))
        policies = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                domain = self.headers["Host"].partition(":")[0].removeprefix("mta-sts.")
                policies.asked.append(domain)
                answer = answers[domain]
                kind = "text/plain; charset=utf-8"
                if self.path != "/.well-known/mta-sts.txt":
                    self.send_error(404)
                    return
                if answer == "redirect":
                    self.send_response(301)
                    self.send_header("Location", f"https://mta-sts.sts-good.test:{HTTPS}/.well-known/mta-sts.txt")
                    self.end_headers()
                    return
                if isinstance(answer, tuple):
                    kind, answer = answer
                octets = str(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                if domain == "sts-slow.test":
                    for at in range(0, len(octets), 8):
                        self.wfile.write(octets[at:at + 8])
                        time.sleep(0.05)
                else:
                    self.wfile.write(octets)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        def by_name(line: ssl.SSLSocket, name: str, _: ssl.SSLContext) -> None:
            line.context = untrusted if name == "mta-sts.sts-untrusted.test" else good
        context = server_context(*authority.sign(*names))
        context.sni_callback = by_name
        self.server = Server((POLICIES, HTTPS), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def policy(mode: str, mx: str, more: str = "") -> str:
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n{more}"


class Links(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        peers_available()
        cls.open = []
        try:
            cls.begin()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        while cls.open:
            cls.open.pop().__exit__(None, None, None)

    @classmethod
    def start(cls, part):
        part.__enter__()
        cls.open.append(part)
        return part

    @classmethod
    def begin(cls) -> None:
        place = pathlib.Path(tempfile.mkdtemp(prefix="cohue-links-"))
        cls.addClassCleanup(shutil.rmtree, place)
        cls.zones, cls.sinks, cls.unsigned = {}, {}, set()
        cls.hosts = iter(range(20, 250))
        cls.authority, cls.stranger = Authority(place), Authority(place, "stranger")
        cls.peers()
        cls.played()
        cls.policed()
        cls.policies = Policies(cls.authority, cls.stranger, cls.answers)
        cls.addClassCleanup(cls.policies.stop)
        cls.knot = cls.start(Knot(cls.zones, address=DNS, port=53, unsigned=cls.unsigned, bogus={"_tcp.mx0.dane-bogus.test"}))
        cls.house = cls.start(Cohue(settings={
            "resolver.stub": DNS, "resolver.trust_anchor": cls.knot.anchor, "courier.port": str(PORT),
            "fetcher.port": str(HTTPS), "tls.authorities": str(cls.authority.certificate),
            "tls.exceptions": "other.test Excepted.test"}))
        cls.alice = cls.house.add_member("alice")
        cls.told = {}
        with cls.house.smtp(cls.alice) as client:
            for domain in [*cls.zones, "null.test"]:
                if domain.count(".") == 1 and domain not in cls.own:
                    client.sendmail(cls.alice.address, [f"bob@{domain}"], cls.message(domain))

    @staticmethod
    def message(domain: str, subject: str = "letter", more: str = "", size: int = 10) -> bytes:
        return (f"From: alice@house.test\r\nTo: bob@{domain}\r\nSubject: {subject} to {domain}\r\n{more}\r\n"
                + "words\r\n" * size).encode()

    # ---- the world ----

    own = {"requiretls.test", "no-requiretls.test", "waived.test", "sts-kept.test"}  # their tests write to them

    @classmethod
    def place(cls, domain: str, *records: str, address: str | None = None, mx: str = "mx0") -> str:
        address = address or f"{NET}.{next(cls.hosts)}"
        cls.zones[domain] = [f"@ MX 10 {mx}", f"mx0 A {address}", *records]
        return address

    @classmethod
    def sink(cls, domain: str, *records: str, names: tuple[str, ...] = (), authority: Authority | None = None,
             mx: str = "mx0", **options) -> None:
        """A domain with a server of its own; in its records, {good} and {wrong} and {chain} stand for TLSA data."""
        chain, key = (authority or cls.stranger).sign(*(names or (f"mx0.{domain}",)))
        words = {"good": tlsa(chain), "wrong": tlsa(chain, wrong=True), "pkix": tlsa(chain, usage=1),
                 "chain": tlsa((authority or cls.stranger).certificate, usage=2), "name": f"_{PORT}._tcp"}
        address = cls.place(domain, *(r.format(**words) for r in records), mx=mx)
        cls.sinks[domain] = cls.start(Sink(address=address, port=PORT, context=server_context(chain, key), **options))

    @classmethod
    def peers(cls) -> None:
        address = cls.place("dane-good.test")
        cls.postfix = Postfix("dane-good.test", address=address, port=PORT)
        cls.zones["dane-good.test"].append(f"_{PORT}._tcp.mx0 {tlsa(cls.postfix.cell.path('etc/peer.crt'))}")
        cls.start(cls.postfix)
        address = cls.place("dane-ta.test", f"_{PORT}._tcp.mx0 {tlsa(cls.authority.certificate, usage=2)}")
        cls.exim = Exim("dane-ta.test", address=address, port=PORT)
        chain, key = cls.authority.sign("mx0.dane-ta.test")
        cls.exim.cell.path("etc/peer.crt").write_bytes(chain.read_bytes())
        cls.exim.cell.path("etc/peer.key").write_bytes(key.read_bytes())
        cls.start(cls.exim)
        cls.opensmtpd = cls.start(OpenSMTPD("plain.test", address=cls.place("plain.test"), port=PORT))

    @classmethod
    def played(cls) -> None:
        cls.sink("dane-wrong.test", "{name}.mx0 {wrong}")
        cls.sink("dane-one-of-two.test", "{name}.mx0 {wrong}", "{name}.mx0 {good}")
        cls.sink("dane-ta-name.test", "{name}.mx0 {chain}", names=("mx.somebody-else.test",))
        cls.sink("dane-ta-domain.test", "{name}.mx0 {chain}", names=("dane-ta-domain.test",))
        cls.sink("dane-unusable.test", "{name}.mx0 {pkix}")
        cls.sink("dane-stripped.test", "{name}.mx0 {good}", starttls=False)
        cls.sink("dane-insecure.test", "{name}.mx0 {wrong}")
        cls.unsigned.add("dane-insecure.test")
        cls.sink("dane-alias.test", "alias CNAME mx0", "{name}.mx0 {good}", mx="alias")
        cls.sink("dane-bogus.test")
        address = cls.zones["dane-bogus.test"].pop().split()[-1]
        cls.zones["mx0.dane-bogus.test"] = [f"@ A {address}"]
        cls.zones["_tcp.mx0.dane-bogus.test"] = [f"_{PORT} TLSA 3 1 1 {'00' * 32}"]
        cls.sink("excepted.test", "{name}.mx0 {wrong}")
        cls.sink("grey.test", refuse="450 4.7.1 come back later")
        cls.sink("cuts.test", cut=20)
        cls.sink("slow.test", pause=0.3)
        cls.sink("requiretls.test", "{name}.mx0 {good}", more=("REQUIRETLS",))
        cls.sink("no-requiretls.test", "{name}.mx0 {good}")
        cls.sink("waived.test", "{name}.mx0 {wrong}", starttls=False)
        cls.zones["null.test"] = ["@ MX 0 ."]

    @classmethod
    def policed(cls) -> None:
        cls.answers = {}

        def add(domain: str, answer: object, *records: str, trusted: bool = True, names: tuple[str, ...] = (),
                host: str = POLICIES, **options) -> None:
            cls.sink(domain, '_mta-sts TXT "v=STSv1; id=20260101;"', f"mta-sts A {host}", *records,
                     authority=cls.authority if trusted else cls.stranger, names=names, **options)
            cls.answers[domain] = answer
        add("sts-good.test", policy("enforce", "*.sts-good.test"))
        add("sts-kept.test", policy("enforce", "mx0.sts-kept.test"))
        add("sts-wrong.test", policy("enforce", "mx0.sts-wrong.test"), names=("mx.somebody-else.test",))
        add("sts-stranger.test", policy("enforce", "mx0.sts-stranger.test"), trusted=False)
        add("sts-foreign.test", policy("enforce", "mx1.sts-foreign.test"))
        add("sts-testing.test", policy("testing", "mx1.sts-testing.test"), trusted=False)
        add("sts-none.test", policy("none", "mx1.sts-none.test"), trusted=False)
        add("sts-stripped.test", policy("enforce", "mx0.sts-stripped.test"), starttls=False)
        add("sts-slow.test", policy("enforce", "mx0.sts-slow.test"))
        add("sts-redirect.test", "redirect", trusted=False)
        add("sts-huge.test", policy("enforce", "mx1.sts-huge.test", "x: y\r\n" * 20000), trusted=False)
        add("sts-html.test", ("text/html", policy("enforce", "mx1.sts-html.test")), trusted=False)
        add("sts-untrusted.test", policy("enforce", "mx1.sts-untrusted.test"), trusted=False)
        add("sts-odd.test", "version: STSv1\nmode: enforce\nmax_age: soon\nmx: mx1.sts-odd.test\n", trusted=False)
        add("sts-down.test", "", trusted=False, host=NOBODY)
        add("dane-first.test", policy("enforce", "mx1.dane-first.test"), "{name}.mx0 {good}", trusted=False)
        add("dane-not-overruled.test", policy("enforce", "mx0.dane-not-overruled.test"), "{name}.mx0 {wrong}")

    # ---- what became of it ----

    def lines(self) -> list[dict[str, str]]:
        return self.house.cli_json("journal", "alice", stdin=self.alice.password + "\n")

    def line(self, domain: str) -> dict[str, str]:
        """The first line on this domain that says how an attempt went."""
        def look():
            for line in self.lines():
                if line["event"] in (DELIVERED, DEFERRED, FAILED):
                    found = line["text"].partition(" by " if " by " in line["text"] else " to ")[2]
                    self.told.setdefault(found.partition(",")[0], line)
            return self.told.get(domain)
        if domain not in self.told:
            wait_until(look, 40, f"what became of the letter to {domain}", pause=0.2)
        return self.told[domain]

    def check(self, domain: str, event: str, *words: str) -> None:
        line = self.line(domain)
        self.assertEqual(line["event"], event, line)
        for word in words:
            self.assertIn(word, line["link" if event == DELIVERED else "reason"])

    def check_all(self, table: dict[str, tuple[str, ...]]) -> None:
        for domain, (event, *words) in table.items():
            with self.subTest(domain=domain):
                self.check(domain, event, *words)
                if domain in self.sinks:
                    taken = event == DELIVERED
                    self.assertEqual(len(self.sinks[domain].messages), int(taken))

    def reports(self, subject: str) -> list[email.message.EmailMessage]:
        found = [m for m in self.house.wait_mail(self.alice, 1, seconds=30)
                 if b"multipart/report" in m and subject.encode() in m]
        return [email.message_from_bytes(m, policy=email.policy.default) for m in found]

    # ---- tests ----

    def test_dane(self) -> None:
        self.check_all({
            "dane-good.test": (DELIVERED, BY_DANE),
            "dane-ta.test": (DELIVERED, BY_DANE),
            "dane-one-of-two.test": (DELIVERED, BY_DANE),
            "dane-ta-domain.test": (DELIVERED, BY_DANE),
            "dane-alias.test": (DELIVERED, BY_DANE),
            "dane-wrong.test": (DEFERRED, "none of those that the domain's DNS names (DANE)"),
            "dane-ta-name.test": (DEFERRED, "(DANE)"),
            "dane-bogus.test": (DEFERRED, "(DANE) does not verify"),
            "dane-stripped.test": (DEFERRED, "offers no encryption"),
            "dane-unusable.test": (DELIVERED, NOT_VERIFIED),
            "dane-insecure.test": (DELIVERED, NOT_VERIFIED),
        })
        self.assertIn(b"words", self.postfix.wait_inbox("bob")[-1])
        self.assertIn(b"words", self.exim.wait_inbox("bob")[-1])

    def test_mta_sts(self) -> None:
        self.check_all({
            "sts-good.test": (DELIVERED, BY_STS),
            "sts-slow.test": (DELIVERED, BY_STS),
            "sts-wrong.test": (DEFERRED, "does not prove that it is the domain's (MTA-STS)"),
            "sts-stranger.test": (DEFERRED, "(MTA-STS)"),
            "sts-foreign.test": (DEFERRED, "policy (MTA-STS)"),
            "sts-stripped.test": (DEFERRED, "offers no encryption"),
            "sts-testing.test": (DELIVERED, NOT_VERIFIED),
            "sts-none.test": (DELIVERED, NOT_VERIFIED),
        })

    def test_a_policy_that_cannot_be_had_is_none(self) -> None:
        self.check_all({f"sts-{name}.test": (DELIVERED, NOT_VERIFIED)
                        for name in ("redirect", "huge", "html", "untrusted", "odd", "down")})
        self.assertNotIn("sts-untrusted.test", self.policies.asked)
        self.assertEqual(self.policies.asked.count("sts-redirect.test"), 1)

    def test_dane_comes_before_mta_sts(self) -> None:
        self.check_all({"dane-first.test": (DELIVERED, BY_DANE), "dane-not-overruled.test": (DEFERRED, "(DANE)")})

    def test_others(self) -> None:
        self.check_all({
            "plain.test": (DEFERRED, "offers no encryption"),
            "excepted.test": (DELIVERED, NOT_VERIFIED),
            "grey.test": (DEFERRED, "come back later"),
            "cuts.test": (DEFERRED, "connection was lost"),
            "slow.test": (DELIVERED, NOT_VERIFIED),
            "null.test": (FAILED, "takes no mail"),
        })
        self.assertEqual(self.opensmtpd.inbox("bob"), [])

    def test_who_wrote_it_hears_at_the_first_failure_that_it_is_not_sent_unprotected(self) -> None:
        for domain in ("dane-wrong.test", "sts-wrong.test", "plain.test"):
            with self.subTest(domain=domain):
                self.line(domain)
                report = wait_until(lambda: self.reports(f"letter to {domain}"), 30, "a warning")[0]
                self.assertIn("Action: delayed", report.as_string())
                self.assertIn("in another way", list(report.iter_parts())[0].get_content())
        self.line("grey.test")
        self.assertEqual(self.reports("letter to grey.test"), [])

    def send(self, domain: str, more: str = "", options: tuple[str, ...] = ()) -> None:
        with self.house.smtp(self.alice) as client:
            client.ehlo()
            self.assertTrue(client.has_extn("requiretls"))
            client.sendmail(self.alice.address, [f"bob@{domain}"], self.message(domain, more=more), options)

    def test_requiretls_goes_to_who_promises_it_too(self) -> None:
        self.send("requiretls.test", options=("REQUIRETLS",))
        self.check_all({"requiretls.test": (DELIVERED, BY_DANE)})
        (mail,) = [c for s in self.sinks["requiretls.test"].sessions for c in s if c.startswith("MAIL")]
        self.assertIn(" REQUIRETLS", mail)

    def test_requiretls_comes_back_from_who_does_not(self) -> None:
        self.send("no-requiretls.test", options=("REQUIRETLS",))
        self.check_all({"no-requiretls.test": (FAILED, "REQUIRETLS")})
        report = wait_until(lambda: self.reports("letter to no-requiretls.test"), 30, "a report")[0].as_string()
        self.assertIn("Status: 5.7.30", report)

    def test_an_author_may_waive_protection(self) -> None:
        self.send("waived.test", more="TLS-Required: No\r\n")
        self.check_all({"waived.test": (DELIVERED, CLEAR)})

    def courier(self, name: str) -> int:
        rows = json.loads(self.house.cli("status", "--json").stdout)
        return sum(int(row[name]) for row in rows if row.get("role") == "courier" and name in row)

    def test_zz_a_policy_outlives_its_host_and_a_restart(self) -> None:
        self.send("sts-kept.test")
        self.check_all({"sts-kept.test": (DELIVERED, BY_STS)})
        # What is kept is written soon after; the policy's host goes, and the service comes anew.
        time.sleep(0.5)
        self.policies.stop()
        self.house.restart()
        self.send("sts-kept.test")
        wait_until(lambda: len(self.sinks["sts-kept.test"].messages) == 2, 30, "delivered")
        wait_until(lambda: self.courier("delivered_mta_sts") == 1, 10, "verified")
        self.assertEqual(self.courier("policies"), 0, "nothing is asked for that holds still")
