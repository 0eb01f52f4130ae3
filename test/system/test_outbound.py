# SPDX-License-Identifier: AGPL-3.0-or-later
"""Leaving mail: to Postfix, Exim and OpenSMTPD by a signed DNS, and what its sender hears when it cannot go."""

import email
import email.policy
import json
import pathlib
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from harness.cohue import Cohue
from harness.sink import Sink
from harness.wait import free_port, wait_until
from peers import Exim, Knot, OpenSMTPD, Postfix, peers_available

PORT = free_port()
# A net of this run's own, since referrals lead to port 53, where another run may answer just now.
NET = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
ADDRESSES = {"dns": f"{NET}.10", "postfix": f"{NET}.11", "exim": f"{NET}.12", "opensmtpd": f"{NET}.13",
             "narrow": f"{NET}.14", "grey": f"{NET}.15", "nobody": f"{NET}.99"}


def mx(*hosts: str) -> list[str]:
    lines = [f"@ MX {10 * (n + 1)} mx{n}" for n in range(len(hosts))]
    return lines + [f"mx{n} A {ADDRESSES[host]}" for n, host in enumerate(hosts)]


ZONES = {
    "postfix.test": mx("nobody", "postfix"),
    "exim.test": mx("exim"),
    "opensmtpd.test": [f"@ A {ADDRESSES['opensmtpd']}"],
    "narrow.test": mx("narrow"),
    "alias.test": ["@ TXT nothing", "www CNAME narrow.test."],
    "silent.test": ["@ MX 0 ."],
    "loop.test": ["@ MX 10 mail.house.test."],
    "house.test": ["@ MX 10 mail", "mail A 127.0.0.1"],
    "forged.test": mx("postfix"),
    "down.test": mx("nobody"),
    "grey.test": mx("grey"),
}


def message(to: str, subject: str = "hello", body: str = "The words themselves.", more: str = "") -> bytes:
    return (f"From: alice@house.test\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@house.test>\r\n"
            f"{more}\r\n{body}\r\n").encode()


class Outbound(unittest.TestCase):
    settings: dict[str, str] = {}

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
    def begin(cls) -> None:
        cls.knot = cls.start(Knot(ZONES, address=ADDRESSES["dns"], port=53, bogus={"forged.test"}))
        cls.house = cls.start(Cohue(settings={
            "resolver.stub": ADDRESSES["dns"], "resolver.trust_anchor": cls.knot.anchor,
            "courier.port": str(PORT), **cls.settings}))
        cls.alice = cls.house.add_member("alice")

    @classmethod
    def start(cls, part):
        part.__enter__()
        cls.open.append(part)
        return part

    @classmethod
    def tearDownClass(cls) -> None:
        while cls.open:
            cls.open.pop().__exit__(None, None, None)

    def send(self, recipients: list[str], octets: bytes, mail_options: tuple[str, ...] = (),
             rcpt_options: tuple[str, ...] = ()) -> None:
        with self.house.smtp(self.alice) as client:
            client.sendmail(self.alice.address, recipients, octets, mail_options, rcpt_options)

    def courier(self) -> dict[str, int]:
        said = json.loads(self.house.cli("status", "--json").stdout)
        found: dict[str, int] = {}

        def walk(value, path: str) -> None:
            if isinstance(value, dict):
                for key, inner in value.items():
                    walk(inner, f"{path}.{key}")
            elif isinstance(value, list):
                for inner in value:
                    walk(inner, f"{path}.{inner.get('role', '')}" if isinstance(inner, dict) else path)
            elif "courier" in path and str(value).isdigit():
                found[path.rpartition(".")[2]] = int(value)
        walk(said, "")
        return found

    def report(self, marker: str, seconds: float = 30) -> email.message.EmailMessage:
        """The report in the sender's mailbox that returns the message with this subject."""
        def look():
            for octets in self.house.wait_mail(self.alice, 1, seconds=seconds):
                if b"multipart/report" in octets and marker.encode() in octets:
                    return email.message_from_bytes(octets, policy=email.policy.default)
            return None
        return wait_until(look, seconds, f"a report on {marker}", pause=0.2)

    def failed(self, to: str, marker: str, status: str, octets: bytes | None = None, **options) -> str:
        """Sends, and demands a report of failure with this status; its text for people."""
        self.send([to], octets or message(to, marker), **options)
        report = self.report(marker)
        parts = list(report.iter_parts())
        self.assertEqual([p.get_content_type() for p in parts],
                         ["text/plain", "message/delivery-status", "text/rfc822-headers"])
        fields = parts[1].as_string()
        self.assertIn("Action: failed", fields)
        self.assertIn(f"Status: {status}", fields)
        self.assertIn(to, fields)
        self.assertEqual(report["Auto-Submitted"], "auto-replied")
        return parts[0].get_content()


class Peers(Outbound):
    @classmethod
    def begin(cls) -> None:
        access = ("check_recipient_access inline:{ {grey@postfix.test = 450 4.7.1 come back later}, "
                  "{full@postfix.test = 552 5.2.2 mailbox full} }")
        cls.postfix = cls.start(Postfix("postfix.test", address=ADDRESSES["postfix"], port=PORT,
                                        extra=f"smtpd_recipient_restrictions = {access}\n"))
        cls.exim = cls.start(Exim("exim.test", address=ADDRESSES["exim"], port=PORT))
        cls.opensmtpd = cls.start(OpenSMTPD("opensmtpd.test", address=ADDRESSES["opensmtpd"], port=PORT))
        cls.narrow = cls.start(Postfix("narrow.test", address=ADDRESSES["narrow"], port=PORT, extra=(
            "smtpd_discard_ehlo_keywords = 8bitmime, smtputf8, dsn\nsmtputf8_enable = no\nstrict_7bit_headers = no\n")))
        super().begin()

    def test_postfix_takes_it_under_tls_from_its_second_mx(self) -> None:
        self.send(["bob@postfix.test"], message("bob@postfix.test", "to-postfix", body=".\r\n..dots\r\nend"))
        got = self.postfix.wait_inbox("bob")[-1]
        self.assertIn(b"(using TLSv1.3", got)
        self.assertIn(b".\n..dots\nend", got.replace(b"\r\n", b"\n"))

    def test_what_leaves_tells_nothing_of_the_client(self) -> None:
        self.send(["carol@postfix.test"], message("carol@postfix.test", "trace"))
        got = email.message_from_bytes(self.postfix.wait_inbox("carol")[-1])
        ours = [value for value in got.get_all("Received") if "Cohue" in value]
        self.assertEqual(len(ours), 1)
        self.assertRegex(" ".join(ours[0].split()),
                         r"^by mail\.house\.test \(Cohue\) id [0-9a-f]{8}; \w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000$")
        self.assertIn("Date", got)

    def test_exim_takes_it_under_tls(self) -> None:
        self.send(["bob@exim.test"], message("bob@exim.test", "to-exim"))
        got = self.exim.wait_inbox("bob")[-1]
        self.assertIn(b"The words themselves.", got)
        self.assertIn(b"TLS1.3", got)

    def test_a_server_without_encryption_waits_under_require(self) -> None:
        before = self.courier()
        self.send(["bob@opensmtpd.test"], message("bob@opensmtpd.test", "to-opensmtpd"))
        wait_until(lambda: self.courier()["no_encryption"] > before["no_encryption"], 20, "refused for lack of TLS")
        self.assertEqual(self.opensmtpd.inbox("bob"), [])

    def test_all_recipients_of_a_domain_share_one_transaction(self) -> None:
        before = self.exim.log().count(" <= alice@house.test")
        self.send(["bob@exim.test", "carol@exim.test", "dave@exim.test"], message("bob@exim.test", "together"))
        for user in ("bob", "carol", "dave"):
            wait_until(lambda: any(b"Subject: together" in m for m in self.exim.inbox(user)), 20, user)
        self.assertEqual(self.exim.log().count(" <= alice@house.test"), before + 1)

    def test_a_batch_shares_connections(self) -> None:
        before = self.narrow.log().count(": connect from")
        with self.house.smtp(self.alice) as client:
            for number in range(12):
                client.sendmail(self.alice.address, ["carol@narrow.test"],
                                message("carol@narrow.test", f"batch-{number}"))
        self.narrow.wait_inbox("carol", 12)
        self.assertLess(self.narrow.log().count(": connect from") - before, 8)

    def test_eight_bits_become_seven_where_the_peer_knows_no_more(self) -> None:
        text = "K\u00e4se f\u00fcr alle"
        octets = message("bob@narrow.test", "eight", more="MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                         "Content-Transfer-Encoding: 8bit\r\n", body=text)
        self.send(["bob@narrow.test"], octets, ("BODY=8BITMIME",))
        got = self.narrow.wait_inbox("bob")[-1]
        self.assertTrue(got.isascii())
        self.assertEqual(email.message_from_bytes(got, policy=email.policy.default).get_content().strip(), text)

    def test_signed_parts_are_not_changed_but_returned(self) -> None:
        octets = message("bob@narrow.test", "signed", more=(
            "MIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; "
            "micalg=pgp-sha256; boundary=b\r\n"), body=(
            "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nK\u00e4se\r\n"
            "--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--"))
        said = self.failed("bob@narrow.test", "signed", "5.6.3", octets, mail_options=("BODY=8BITMIME",))
        self.assertIn("signed", said)

    def test_addresses_that_the_peer_cannot_take_come_back(self) -> None:
        to = "b\u00f6b@narrow.test"
        with self.house.smtp(self.alice) as client:
            client.ehlo()
            client.mail(self.alice.address, ["SMTPUTF8", "BODY=8BITMIME"])
            code, _ = client.rcpt(to)
            self.assertEqual(code, 250)
            client.data(message(to, "unicode"))
        report = self.report("unicode")
        self.assertIn("5.6.7", report.as_string())

    def test_a_refused_recipient_comes_back_and_the_others_arrive(self) -> None:
        self.send(["nobody-here@postfix.test", "dave@postfix.test"], message("dave@postfix.test", "half"))
        report = self.report("half")
        self.assertIn("nobody-here@postfix.test", report.as_string())
        self.assertNotIn("dave@postfix.test>", list(report.iter_parts())[0].get_content())
        self.assertIn("Status: 5.1.1", report.as_string())
        wait_until(lambda: any(b"Subject: half" in m for m in self.postfix.inbox("dave")), 20, "the other one")

    def test_a_full_mailbox_is_explained(self) -> None:
        self.assertIn("mailbox is full", self.failed("full@postfix.test", "full", "5.2.2"))

    def test_a_greylisted_message_waits(self) -> None:
        before = self.courier()
        self.send(["grey@postfix.test"], message("grey@postfix.test", "grey"))
        wait_until(lambda: self.courier()["deferred"] > before["deferred"], 20, "deferred")
        self.assertEqual(self.courier()["failed"], before["failed"])

    def test_the_journal_tells_its_author_what_became_of_each_letter(self) -> None:
        def lines(subject: str) -> list[dict[str, str]]:
            return [line for line in self.house.cli_json("journal", "alice", stdin=self.alice.password + "\n")
                    if subject in line["text"]]
        self.send(["bob@exim.test"], message("bob@exim.test", "noted"))
        done = wait_until(lambda: lines("Delivered to exim.test"), 20, "delivered")[-1]
        self.assertEqual((done["event"], done["size_hidden"]), ("delivered", "yes"))
        of_it = [line["event"] for line in lines("") if line["letter"] == done["letter"]]
        self.assertEqual(of_it[0], "submitted")
        self.send(["grey@postfix.test"], message("grey@postfix.test", "grey again"))
        wait_until(lambda: lines("Not yet taken by postfix.test"), 20, "deferred")
        self.send(["nobody-here@postfix.test"], message("nobody-here@postfix.test", "nobody"))
        wait_until(lambda: lines("Refused by postfix.test"), 20, "failed")

    def test_success_is_reported_where_it_was_asked_for(self) -> None:
        self.send(["dave@narrow.test"], message("dave@narrow.test", "receipt"), rcpt_options=("NOTIFY=SUCCESS",))
        self.assertIn("Action: relayed", self.report("receipt").as_string())


class Deaths(Outbound):
    """kill -9 of what delivers: each message arrives all the same, at least once, and is the same."""

    @classmethod
    def begin(cls) -> None:
        cls.postfix = cls.start(Postfix("postfix.test", address=ADDRESSES["postfix"], port=PORT))
        super().begin()

    def killed(self, role: str) -> None:
        wanted = {f"{role}-{n}" for n in range(20)}
        with self.house.smtp(self.alice) as client:
            for number in range(20):
                client.sendmail(self.alice.address, ["bob@postfix.test"],
                                message("bob@postfix.test", f"{role}-{number}", body=("x" * 70 + "\r\n") * 3000))
                if number in (3, 9, 15):
                    old = self.house.kill_role(role)
                    self.house.wait_role(role, old)
                    wait_until(self.house.is_ready, 15, "ready again")

        def arrived() -> set[str]:
            found = (email.message_from_bytes(m) for m in self.postfix.inbox("bob"))
            return {m["Subject"] for m in found if len(m.get_payload()) > 200_000}
        wait_until(lambda: wanted <= arrived(), 60, f"all messages after {role} died", pause=0.3)

    def test_the_courier_dies(self) -> None:
        self.killed("courier")

    def test_the_resolver_dies(self) -> None:
        self.killed("resolver")


class Names(Outbound):
    def test_a_domain_that_takes_no_mail(self) -> None:
        self.assertIn("takes no mail", self.failed("bob@silent.test", "null-mx", "5.1.10"))

    def test_a_domain_that_does_not_exist(self) -> None:
        self.assertIn("does not exist", self.failed("bob@no-such.postfix.test", "nxdomain", "5.1.2"))

    def test_a_domain_without_a_server(self) -> None:
        self.failed("bob@alias.test", "no-server", "5.4.4")

    def test_a_domain_that_points_back_to_us(self) -> None:
        self.failed("bob@loop.test", "loop", "5.4.6")

    def test_forged_answers_and_dead_servers_wait(self) -> None:
        before = self.courier()
        self.send(["bob@forged.test"], message("bob@forged.test", "forged"))
        self.send(["bob@down.test"], message("bob@down.test", "down"))
        wait_until(lambda: self.courier()["deferred"] >= before["deferred"] + 2, 60, "both deferred")

    def test_never_notified_is_never_told(self) -> None:
        before = self.courier()
        self.send(["bob@silent.test"], message("bob@silent.test", "quiet"), rcpt_options=("NOTIFY=NEVER",))
        wait_until(lambda: self.courier()["failed"] > before["failed"], 20, "failed")
        self.assertEqual(self.courier()["reports"], before["reports"])


class Waits(Outbound):
    """What cannot be delivered for days, while the age clock is put on by hand."""

    def reports(self, marker: str) -> list[str]:
        return [octets.decode("utf-8", "replace") for octets in self.house.wait_mail(self.alice, 1, seconds=20)
                if b"multipart/report" in octets and marker.encode() in octets]

    def tried(self, hours: int) -> None:
        self.house.pass_time(hours)
        # A restarted courier counts from zero.
        wait_until(lambda: self.courier()["deferred"] + self.courier()["failed"] >= 2, 60, "both tried again")

    def test_greylisting_ends_in_delivery_within_two_hours(self) -> None:
        """A server that wants each sender to come again for each recipient (RFC 6647): it is met for every one of them, and hourly."""
        with Sink(address=ADDRESSES["grey"], port=PORT, grey=0.1) as grey:
            self.send([self.alice.address], message(self.alice.address, "first"))
            before = self.courier()["deferred"]
            for user in ("ann", "ben"):
                self.send([f"{user}@grey.test"], message(f"{user}@grey.test", f"to-{user}"))
            wait_until(lambda: self.courier()["deferred"] >= before + 2, 30, "both met, and put off")
            self.assertEqual(len(grey.met), 2)
            self.assertEqual(grey.messages, [])
            self.house.pass_time(2)
            wait_until(lambda: len(grey.messages) == 2, 30, "both taken")
        self.assertEqual(self.reports("to-ann"), [])

    def test_a_warning_after_a_day_and_the_letter_back_after_five(self) -> None:
        before = self.courier()["deferred"]
        self.send([self.alice.address], message(self.alice.address, "first"))
        self.send(["bob@down.test"], message("bob@down.test", "slow-one"))
        self.send(["bob@down.test"], message("bob@down.test", "mute-one"), rcpt_options=("NOTIFY=FAILURE",))
        wait_until(lambda: self.courier()["deferred"] >= before + 2, 60, "both deferred")
        self.tried(2)
        self.assertEqual(self.courier()["deferred"], 2, "attempts missed are not made up for")
        self.assertEqual(self.reports("slow-one"), [])
        self.tried(23)
        report = self.report("slow-one").as_string()
        self.assertIn("Action: delayed", report)
        self.assertIn("Will-Retry-Until:", report)
        self.tried(24)
        self.assertEqual(len(self.reports("slow-one")), 1, "warned once")
        self.assertEqual(self.reports("mute-one"), [], "who wants to hear of failure only is not warned")
        self.tried(80)
        wait_until(lambda: len(self.reports("slow-one")) == 2, 30, "the letter back")
        (returned,) = (r for r in self.reports("slow-one") if "Action: delayed" not in r)
        self.assertIn("Action: failed", returned)
        self.assertIn("Status: 4.4.", returned.replace("Status: 5.4.7", "Status: 4.4.7"))
        self.assertEqual(len(self.reports("mute-one")), 1)
        self.assertIn("Action: failed", self.reports("mute-one")[0])
        self.house.pass_time(24 * 10)
        self.assertEqual((len(self.reports("slow-one")), len(self.reports("mute-one"))), (2, 1), "nothing is tried any more")


class Prefer(Outbound):
    settings = {"tls.outbound": "prefer"}

    def test_opensmtpd_takes_it_in_clear_and_with_a_broken_handshake(self) -> None:
        for offer in (False, True):
            class Here(OpenSMTPD):
                offer_tls = offer
            with Here("opensmtpd.test", address=ADDRESSES["opensmtpd"], port=PORT) as peer:
                self.send(["bob@opensmtpd.test"], message("bob@opensmtpd.test", f"clear-{offer}"))
                self.assertIn(b"The words themselves.", peer.wait_inbox("bob")[-1])


class Relay(Outbound):
    @classmethod
    def begin(cls) -> None:
        cls.postfix = cls.start(Postfix("postfix.test", address=ADDRESSES["postfix"], port=PORT))
        cls.settings = {"smarthost": f"{ADDRESSES['postfix']}:{PORT}"}
        super().begin()

    def test_everything_goes_through_the_relay(self) -> None:
        self.send(["bob@postfix.test"], message("bob@postfix.test", "relayed"))
        self.assertIn(b"Subject: relayed", self.postfix.wait_inbox("bob")[-1])


class RelayWithLogin(Outbound):
    """Through another house of the same domain, by its submission port: STARTTLS, then AUTH."""

    @classmethod
    def begin(cls) -> None:
        cls.postfix = cls.start(Postfix("postfix.test", address=ADDRESSES["postfix"], port=PORT))
        cls.knot = cls.start(Knot(ZONES, address=ADDRESSES["dns"], port=53))
        names = {"resolver.stub": ADDRESSES["dns"], "resolver.trust_anchor": cls.knot.anchor}
        cls.relay = cls.start(Cohue(hostname="relay.house.test", settings={**names, "courier.port": str(PORT)}))
        at_relay = cls.relay.add_member("alice")
        cls.password = cls.relay.directory / "relay-password"
        cls.password.write_text(at_relay.password + "\n")
        cls.house = cls.start(Cohue(settings={
            **names, "smarthost": f"127.0.0.1:{cls.relay.port(587)}", "smarthost.user": at_relay.address,
            "smarthost.password_file": str(cls.password)}))
        cls.alice = cls.house.add_member("alice")

    def test_it_logs_in_and_delivers(self) -> None:
        self.send(["bob@postfix.test"], message("bob@postfix.test", "with-login"))
        self.assertIn(b"Subject: with-login", self.postfix.wait_inbox("bob")[-1])

    def test_a_wrong_password_loses_nothing(self) -> None:
        self.password.write_text("wrong\n")
        self.house.restart()
        try:
            self.send(["carol@postfix.test"], message("carol@postfix.test", "wrong-login"))
            wait_until(lambda: self.courier()["deferred"] == 1, 20, "deferred")
            self.assertEqual(self.courier()["failed"], 0)
        finally:
            self.password.write_text(self.relay.members["alice"].password + "\n")
            self.house.restart()


class DnsOverTls(threading.Thread):
    """RFC 7858 before a Knot: each framed question goes to it by TCP, its answer back under TLS."""

    def __init__(self, knot: Knot, directory: pathlib.Path) -> None:
        super().__init__(daemon=True)
        self.knot = knot
        self.questions = 0
        self.certificate = directory / "dns.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=dns.names.test", "-addext", "subjectAltName=DNS:dns.names.test", "-days", "2",
                        "-keyout", directory / "dns.key", "-out", self.certificate], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, directory / "dns.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        try:
            with self.context.wrap_socket(client, server_side=True) as tls, \
                    socket.create_connection((self.knot.address, self.knot.port)) as knot:
                here, there = tls.makefile("rwb"), knot.makefile("rwb")
                while frame := here.read(2):
                    there.write(frame + here.read(int.from_bytes(frame, "big")))
                    there.flush()
                    frame = there.read(2)
                    here.write(frame + there.read(int.from_bytes(frame, "big")))
                    here.flush()
                    self.questions += 1
        except OSError:
            pass


class UnderTls(Outbound):
    """The names asked for under TLS, of a server whose certificate the system trusts."""

    seconds = 20

    name = "dns.names.test"

    @classmethod
    def begin(cls) -> None:
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="cohue-dot-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.knot = cls.start(Knot(ZONES, address=ADDRESSES["dns"], port=53))
        cls.dns = DnsOverTls(cls.knot, cls.directory)
        cls.addClassCleanup(cls.dns.listener.close)
        cls.dns.start()
        trusted = "mount --bind \"$0\" /etc/ssl/certs/ca-certificates.crt && exec \"$@\""
        cls.house = cls.start(Cohue(
            prefix=["unshare", "--mount", "--propagation", "private", "sh", "-c", trusted, str(cls.dns.certificate)],
            settings={"resolver.forward_tls": f"127.0.0.1@{cls.dns.port}#{cls.name}",
                      "resolver.trust_anchor": cls.knot.anchor, "courier.port": str(PORT)}))
        cls.alice = cls.house.add_member("alice")

    def test_validated_answers_come_under_tls(self) -> None:
        self.failed("bob@silent.test", "under-tls", "5.1.10")
        self.assertGreater(self.dns.questions, 1)


class UnderWrongTls(UnderTls):
    name = "other.names.test"

    def test_validated_answers_come_under_tls(self) -> None:
        self.send(["bob@silent.test"], message("bob@silent.test", "wrong-name"))
        wait_until(lambda: self.courier()["deferred"] == 1, 60, "deferred")
        self.assertEqual(self.dns.questions, 0)


class ResolverStarts(unittest.TestCase):
    def test_each_way_of_asking_starts(self) -> None:
        for settings in ({}, {"resolver.forward": "127.0.0.1@5353"},
                         {"resolver.forward_tls": "127.0.0.1@8853#dns.house.test"}):
            with self.subTest(settings=settings), Cohue(settings=settings) as house:
                self.assertNotIn("error", house.log())
