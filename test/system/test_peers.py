# SPDX-License-Identifier: AGPL-3.0-or-later
"""The peers themselves: what the tests of the house rest on. No test here needs Cohue."""

import smtplib
import subprocess
import unittest

from harness.dialogue import tls_context
from harness.wait import free_port, wait_until
from harness.world import World
from peers import Dovecot, Exim, Knot, OpenSMTPD, Postfix, peers_available

MESSAGE = b"From: someone@client.test\r\nTo: bob@here.test\r\nSubject: hello\r\n\r\nThe words themselves.\r\n"


class MailServers(unittest.TestCase):
    seconds = 12

    @classmethod
    def setUpClass(cls) -> None:
        peers_available()

    def accepts_with_starttls(self, kind) -> None:
        with kind() as peer:
            with smtplib.SMTP("127.0.0.1", peer.port, timeout=20, local_hostname="client.test") as client:
                client.starttls(context=tls_context())
                client.sendmail("someone@client.test", [f"bob@{peer.domain}"], MESSAGE)
            self.assertIn(b"The words themselves.", peer.wait_inbox("bob")[0])

    def test_postfix_accepts_with_starttls(self) -> None:
        self.accepts_with_starttls(Postfix)

    def test_exim_accepts_with_starttls(self) -> None:
        self.accepts_with_starttls(Exim)

    def test_opensmtpd_accepts_in_clear(self) -> None:
        with OpenSMTPD() as peer:
            peer.deliver("someone@client.test", [f"bob@{peer.domain}"], MESSAGE)
            self.assertIn(b"The words themselves.", peer.wait_inbox("bob")[0])

    def test_each_sends_with_starttls(self) -> None:
        with Postfix("here.test") as here:
            for number, kind in enumerate((Exim, OpenSMTPD, Postfix)):
                with kind("there.test", routes={"here.test": ("127.0.0.1", here.port)}) as peer:
                    peer.deliver("someone@there.test", ["bob@here.test"], MESSAGE)
                    self.assertIn(b"(using TLSv1.3", here.wait_inbox("bob", number + 1)[number])

    def test_dovecot_files_and_shows_and_encrypts_on_disk(self) -> None:
        for mail_crypt in (False, True):
            with Dovecot(mail_crypt=mail_crypt) as peer:
                peer.deliver("bob@dovecot.test", MESSAGE)
                self.assertIn(b"The words themselves.", peer.inbox("bob")[0])
                on_disk = [p.read_bytes() for p in peer.cell.path("var/mail/bob").glob("[cn][ue][rw]/*")]
                self.assertEqual(len(on_disk), 1)
                self.assertEqual(b"The words" in on_disk[0], not mail_crypt)

    def test_a_stopped_peer_leaves_no_process_and_no_file(self) -> None:
        with Postfix() as peer:
            directory = peer.cell.directory
            name = str(peer.port)
            self.assertTrue(directory.exists())
        self.assertFalse(directory.exists())

        def listening() -> bool:
            return f":{name} " in subprocess.run(["ss", "-ltn"], capture_output=True, text=True, check=True).stdout
        wait_until(lambda: not listening(), 5, "the port is free again")


class Names(unittest.TestCase):
    def test_answers_validate_from_the_root_and_forged_ones_do_not(self) -> None:
        with Knot({"house.test": ["@ MX 10 mail", "mail A 192.0.2.1"], "plain.test": ["@ A 192.0.2.2"],
                   "bad.test": ["@ A 192.0.2.3"]}, unsigned={"plain.test"}, bogus={"bad.test"},
                  port=free_port()) as knot:
            self.assertIn("; fully validated", knot.validate("house.test", "MX"))
            self.assertIn("negative response, fully validated", knot.validate("nobody.house.test", "A"))
            self.assertIn("; unsigned answer", knot.validate("plain.test", "A"))
            self.assertNotIn("192.0.2.3", knot.validate("bad.test", "A"))


class SmallInternet(unittest.TestCase):
    def test_a_stranger_finds_the_provider_by_mx_and_delivers(self) -> None:
        with World() as world:
            address = world.network.add("third")
            with world.inside("third"):
                with Exim("third.test", port=25, address=address, resolver=world.address("dns")) as exim:
                    exim.deliver("x@third.test", ["bob@other.test"], MESSAGE)
                    wait_until(lambda: world.other_inbox("bob"), 20, f"mail by MX: {exim.queued()}", pause=0.1)
            self.assertIn(b"The words themselves.", world.other_inbox("bob")[0])

    def test_the_provider_publishes_the_key_that_it_shows(self) -> None:
        with World(dovecot=False) as world:
            with world.inside("members"):
                told = world.knot.validate("_25._tcp.mail.other.test", "TLSA")
                self.assertIn("; fully validated", told)
                record = next(line.split("TLSA", 1)[1].strip() for line in told.splitlines() if "\tTLSA\t" in line)
                shown = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect",
                                        f"{world.address('other')}:25", "-dane_tlsa_domain", "mail.other.test",
                                        "-dane_tlsa_rrdata", record], input=b"QUIT\r\n", capture_output=True, timeout=20, check=False).stdout
            self.assertIn(b"Verification: OK", shown)


if __name__ == "__main__":
    unittest.main()
