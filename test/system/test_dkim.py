# SPDX-License-Identifier: AGPL-3.0-or-later
"""What leaves is signed over exactly the octets that leave, as two independent verifiers see it; keys rotate with overlap."""

import json
import pathlib
import re
import subprocess
import time
import unittest

from harness.cohue import Cohue
from harness.sink import Sink
from harness.wait import wait_until

# Debian's modules belong to Debian's Python, which need not be the one that runs this.
DKIMPY = """
import base64, json, logging, sys
import dkim
logging.disable(logging.CRITICAL)
asked = json.load(sys.stdin)
records = {name.rstrip(".").lower(): text for name, text in asked["records"].items()}
def txt(name, timeout=5):
    return records.get(name.decode().rstrip(".").lower(), "").encode()
said = []
for octets in map(base64.b64decode, asked["messages"]):
    d = dkim.DKIM(octets)
    said.append([])
    for i in range(octets.partition(b"\\r\\n\\r\\n")[0].lower().count(b"dkim-signature:")):
        try:
            said[-1].append([d.verify(idx=i, dnsfunc=txt), (d.signature_fields or {}).get(b"s", b"").decode()])
        except dkim.DKIMException as e:
            said[-1].append([False, str(e)])
json.dump(said, sys.stdout)
"""
PERL = r"""
use strict; use JSON::PP; use MIME::Base64; use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS;
my $asked = decode_json(join '', <STDIN>);
my %records = map { my $n = lc $_; $n =~ s/\.$//; ($n => $asked->{records}{$_}) } keys %{$asked->{records}};
no warnings 'redefine';
{ package Row; sub type { 'TXT' } sub txtdata { ($_[0]{text}) } }
*Mail::DKIM::DNS::query_async = sub {
	my ($host, $type, %p) = @_;
	my $text = $records{lc $host};
	return sub { $p{Callbacks}{Success}->(defined $text ? bless({text => $text}, 'Row') : ()) };
};
my @said;
for my $m (@{$asked->{messages}}) {
	my $d = Mail::DKIM::Verifier->new;
	$d->PRINT(decode_base64($m));
	$d->CLOSE;
	push @said, [map { [$_->result eq 'pass' ? JSON::PP::true : JSON::PP::false, $_->selector] } $d->signatures];
}
print encode_json(\@said);
"""


def txt(value: str) -> str:
    """The content of a TXT record from its quoted strings, of which none may be longer than the DNS allows."""
    strings = re.findall(r'"([^"]*)"', value)
    assert strings and all(len(s) <= 255 for s in strings), value
    return "".join(strings)


def verdicts(program: list[str], records: dict[str, str], messages: list[bytes]) -> list[list[list]]:
    import base64
    asked = {"records": records, "messages": [base64.b64encode(m).decode() for m in messages]}
    ran = subprocess.run(program, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def verifiers() -> list[list[str]]:
    found = []
    for program, probe in ((["/usr/bin/python3", "-c", DKIMPY], ["/usr/bin/python3", "-c", "import dkim"]),
                           (["perl", "-e", PERL], ["perl", "-MMail::DKIM::Verifier", "-e", "1"])):
        try:
            if subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 0:
                found.append(program)
        except OSError:
            pass
    if not found:
        raise unittest.SkipTest("neither dkimpy nor Mail::DKIM is here")
    return found


def message(to: str, subject: str, body: bytes, more: bytes = b"", date: bytes = b"") -> bytes:
    return (f"From: alice@house.test\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@house.test>\r\n".encode()
            + date + more + b"\r\n" + body)


class House(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.verifiers = verifiers()
        cls.perl = next((v for v in cls.verifiers if v[0] == "perl"), None)
        cls.sink = Sink()
        cls.sink.__enter__()
        cls.house = Cohue(settings={"smarthost": f"127.0.0.1:{cls.sink.port}"})
        try:
            cls.house.__enter__()
            cls.alice = cls.house.add_member("alice")
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.house.destroy()
        cls.sink.__exit__()

    def setUp(self) -> None:
        self.sink.offers = ["8BITMIME", "PIPELINING", "SMTPUTF8"]

    def send(self, octets: bytes, recipients: tuple[str, ...] = ("bob@sink.test",), options: tuple[str, ...] = ()) -> None:
        with self.house.smtp(self.alice) as client:
            client.sendmail(self.alice.address, list(recipients), octets, options)

    def arrived(self, octets: bytes, recipients: tuple[str, ...] = ("bob@sink.test",), count: int = 1,
                options: tuple[str, ...] = (), seconds: float = 30) -> list[bytes]:
        before = len(self.sink.messages)
        self.send(octets, recipients, options)
        wait_until(lambda: len(self.sink.messages) >= before + count, seconds, "delivery")
        return self.sink.messages[before:]

    def records(self) -> dict[str, str]:
        return {r["name"]: txt(r["value"]) for r in self.house.cli_json("dns") if "._domainkey." in r["name"]}

    def selectors(self) -> dict[str, str]:
        return {r["selector"]: r["state"] for r in self.house.cli_json("dkim")}

    def assert_signed(self, messages: list[bytes], records: dict[str, str] | None = None) -> list[str]:
        """By two signatures that all verifiers accept; which selectors they name."""
        records = records or self.records()
        named: list[str] = []
        for program in self.verifiers:
            for said in verdicts(program, records, messages):
                self.assertEqual([selector[-1] for _, selector in said], ["r", "e"])
                # Debian's Mail::DKIM knows RSA alone.
                wanted = [True, True] if program is not self.perl else [True, said[1][0]]
                self.assertEqual([good for good, _ in said], wanted, said)
                named = [selector for _, selector in said]
        return named


class Signing(House):
    def test_each_form_that_leaves_verifies(self) -> None:
        signed = ("multipart/signed", b'Content-Type: multipart/signed; boundary=b; protocol="application/pgp-signature"\r\n'
                  b"MIME-Version: 1.0\r\n", b"--b\r\nContent-Type: text/plain\r\n\r\nwords  \r\n\r\n--b\r\n"
                  b"Content-Type: application/pgp-signature\r\n\r\nxx\r\n--b--\r\n")
        eight = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        forms = [("seven", b"", b".\r\n..dots\r\n\r\n \t \r\n\r\n\r\n"), ("empty", b"", b""), signed,
                 ("eight", eight, "Grüße, 你好\r\n".encode()),
                 ("folded", b"Cc: one@sink.test,\r\n\t two@sink.test\r\nReferences: <a@b>\r\n <c@d>\r\n", b"x\r\n"),
                 ("spaces", b"X-Odd:\ta  b \r\nAutocrypt: addr=alice@house.test\r\n", b"a  b\t c \r\n  \r\n"),
                 ("large", b"", (b"0123456789 the same line again " * 30 + b"\r\n") * 5500)]
        got = []
        for subject, more, body in forms:
            [one] = self.arrived(message("bob@sink.test", subject.replace("/", "-"), body, more), seconds=60)
            got.append(one)
        self.assertGreater(len(got[-1]), 5_000_000)
        self.assert_signed(got)
        for octets in got:
            head = octets.partition(b"\r\n\r\n")[0]
            fields = re.findall(rb"(?im)^DKIM-Signature:(?:.*\r\n[ \t])*.*", head)
            self.assertEqual(len(fields), 2)
            self.assertTrue(head.lower().startswith(b"dkim-signature:"))
            for field in fields:
                # No time, no length; From and its like once more than they are there.
                self.assertNotRegex(field, rb"(?:^|[;\s])[tlx]=")
                self.assertIn(b"d=house.test;", field)
                names = re.sub(rb"\s", b"", re.search(rb"h=([^;]*);", field).group(1)).lower().split(b":")
                present = [n.split(b":")[0].lower() for n in re.split(rb"\r\n(?![ \t])", head)]
                for name in (b"from", b"to", b"subject", b"date", b"message-id", b"reply-to"):
                    self.assertEqual(names.count(name), present.count(name) + 1, name)
                self.assertNotIn(b"received", names)
                self.assertLess(len(field), 1100)

    def test_a_changed_letter_is_refused_by_the_verifiers(self) -> None:
        [octets] = self.arrived(message("bob@sink.test", "changed", b"words\r\n"))
        changed = [octets.replace(b"words", b"wards"), octets.replace(b"Subject: changed", b"Subject: chanted"),
                   b"From: mallory@house.test\r\n" + octets]
        for program in self.verifiers:
            for said in verdicts(program, self.records(), changed):
                self.assertEqual([good for good, _ in said], [False, False])

    def test_what_is_made_narrow_for_a_peer_is_signed_as_it_leaves(self) -> None:
        octets = message("bob@sink.test", "narrow", "Grüße\r\n".encode() * 50,
                         b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")
        [wide] = self.arrived(octets)
        # Another letter's may still be open, too: over any of them the next one would leave as it is.
        wait_until(lambda: self.sink.open == 0, 20, "the end of all connections")
        self.sink.offers = ["PIPELINING"]
        [narrow] = self.arrived(octets)
        self.assertTrue(narrow.isascii())
        self.assertFalse(wide.isascii())
        self.assert_signed([wide, narrow])

    def test_internationalised_headers_are_signed(self) -> None:
        octets = message("bob@sink.test", "utf8", b"x\r\n", "Reply-To: Jürgen <alice@house.test>\r\n".encode())
        got = self.arrived(octets, options=("SMTPUTF8", "BODY=8BITMIME"))
        self.assertIn("Jürgen".encode(), got[0])
        self.assert_signed(got)

    def test_the_copies_for_two_providers_are_both_signed_and_alike(self) -> None:
        got = self.arrived(message("bob@sink.test", "two", b"x\r\n"), ("bob@sink.test", "carl@other.test"), 2)
        self.assert_signed(got)
        signatures = [re.findall(rb"(?s)b=[^;]*?\r\n(?![ \t])", m.partition(b"\r\n\r\n")[0])[0] for m in got]
        # RSA of the same header is the same; what differs, the trace field, is not signed.
        self.assertEqual(signatures[0], signatures[1])

    def test_mail_between_members_carries_no_signature(self) -> None:
        self.send(message(self.alice.address, "inside", b"x\r\n"), (self.alice.address,))
        [octets] = [m for m in self.house.wait_mail(self.alice) if b"Subject: inside" in m][:1]
        self.assertNotIn(b"DKIM-Signature", octets)

    def test_without_the_keeper_mail_waits_and_then_leaves_signed(self) -> None:
        before = len(self.sink.messages)
        # Submission needs the keeper, too: it goes right behind it, before or after the signing.
        self.send(message("bob@sink.test", "keeper-gone", b"x\r\n"))
        pids = self.house.kill_role("keeper")
        wait_until(lambda: len(self.sink.messages) > before, 30, "delivery")
        self.house.wait_role("keeper", pids)
        self.assert_signed(self.sink.messages[before:])


class Rotation(House):
    def test_a_letter_that_waited_through_a_rotation_is_signed_with_the_key_of_its_retry(self) -> None:
        self.sink.late = "451 4.3.0 come back later"
        self.send(message("bob@sink.test", "patient", b"x\r\n"))
        wait_until(lambda: self.sink.turned_away, 30, "the first attempt")
        self.house.cli("dkim", "rotate")
        [new] = [s for s, state in self.selectors().items() if state == "waits" and s.endswith("r")]
        self.house.cli("dkim", "activate")
        self.sink.late = ""
        self.house.pass_time(2)
        wait_until(lambda: self.sink.messages, 30, "the retry")
        first, retried = (self.assert_signed(octets)[0] for octets in (self.sink.turned_away, self.sink.messages))
        self.assertEqual(retried, new)
        self.assertNotEqual(first, new)

    def test_rotation_overlaps_and_survives_what_dies(self) -> None:
        first = self.selectors()
        old = next(s for s, state in first.items() if state == "signs" and s.endswith("r"))
        keys = self.house.home / "dkim.keys"
        self.assertEqual(keys.stat().st_mode & 0o777, 0o600)
        self.assertFalse(re.search(rb"PRIVATE|RSA", keys.read_bytes()))
        before = self.records()

        refused = self.house.cli("dkim", "activate", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("dkim rotate", refused.stderr)

        self.house.cli("dkim", "rotate")
        states = self.selectors()
        [new] = [s for s, state in states.items() if state == "waits" and s.endswith("r")]
        self.assertEqual(states[old], "signs")
        self.assertEqual(sorted(self.records()), sorted([*before, *(f"{new[:-1]}{k}._domainkey.house.test." for k in "re")]))
        listed = {r["selector"]: r for r in self.house.cli_json("dkim")}
        self.assertAlmostEqual(listed[new]["until"], time.time() + 7 * 86400, delta=300)
        self.assertEqual(self.house.cli("dkim", "rotate", check=False).returncode, 1)

        # Still the old one; and after the keeper's end, and the whole service's, too.
        self.assertEqual(self.assert_signed(self.arrived(message("bob@sink.test", "overlap", b"x\r\n")))[0], old)
        again = self.house.log().count("keeper 0 is ready again")
        self.house.kill_role("keeper")
        wait_until(lambda: self.house.log().count("keeper 0 is ready again") > again, 20, "the keeper is back")
        self.assertEqual(self.assert_signed(self.arrived(message("bob@sink.test", "overlap-2", b"x\r\n")))[0], old)
        in_flight = self.sink.messages[-1]

        wait_until(lambda: self.house.cli("dkim", "activate", check=False).returncode == 0, 20, "the keeper is back")
        self.assertEqual(self.selectors()[old], "kept")
        self.assertEqual(self.assert_signed(self.arrived(message("bob@sink.test", "after", b"x\r\n")))[0], new)
        # What left before verifies by the records that stay.
        self.assert_signed([in_flight])
        size = keys.stat().st_size
        self.house.restart()
        # Its secret went with the start; its record stays.
        wait_until(lambda: keys.stat().st_size < size, 10, "the old secret is destroyed")
        self.assertEqual(self.selectors()[old], "kept")
        self.assertEqual(self.assert_signed(self.arrived(message("bob@sink.test", "restarted", b"x\r\n")))[0], new)
        self.assertFalse((self.house.home / "dkim.keys.new").exists())


class Homes(unittest.TestCase):
    def test_an_older_home_gets_keys_and_a_spoilt_file_keeps_mail_back(self) -> None:
        with Sink() as sink:
            house = Cohue(settings={"smarthost": f"127.0.0.1:{sink.port}"})
            self.addCleanup(house.destroy)
            house.init()
            keys: pathlib.Path = house.home / "dkim.keys"
            keys.unlink()
            self.assertIn("DKIM: the keys are made at", house.cli("dns").stdout)
            house.start()
            wait_until(keys.exists, 10, "keys")
            self.assertEqual({r["state"] for r in house.cli_json("dkim")}, {"signs"})
            self.assertIn("keys were made that sign leaving mail", house.log())
            alice = house.add_member("alice")
            with house.smtp(alice) as client:
                client.sendmail(alice.address, ["bob@sink.test"], message("bob@sink.test", "first", b"x\r\n"))
            wait_until(lambda: sink.messages, 20, "delivery")
            self.assertEqual(sink.messages[0].count(b"DKIM-Signature:"), 2)

            house.stop()
            good = keys.read_bytes()
            keys.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
            house.start()
            wait_until(lambda: "dkim.keys does not open" in house.log(), 10, "the fault is told")
            with house.smtp(alice) as client:
                client.sendmail(alice.address, ["bob@sink.test"], message("bob@sink.test", "second", b"x\r\n"))
                client.sendmail(alice.address, [alice.address], message(alice.address, "inside", b"x\r\n"))
            house.wait_mail(alice)
            self.assertEqual(len(sink.messages), 1)
            self.assertNotEqual(house.cli("dkim", "rotate", check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
