# SPDX-License-Identifier: AGPL-3.0-or-later
"""SCRAM-SHA-256 and -PLUS on the real binary: independent clients log in, and what is refused looks the same for everybody."""

import base64
import os
import shutil
import ssl
import subprocess
import unittest

from harness import Cohue
from harness.scram import Dialogue, ExportingLine, Line, b64, rfc_7677

PLUS = "SCRAM-SHA-256-PLUS"


class Scram(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.c = Cohue(settings={"tls.member_minimum": "1.2"})
        cls.addClassCleanup(cls.c.destroy)
        cls.c.init()
        cls.c.start()
        cls.alice = cls.c.add_member("alice")
        cls.bert = cls.c.add_member("bert")

    def line(self, imap: bool = True, **options) -> Line:
        return Line(self.c.port(993 if imap else 465), imap, **options)

    def said(self, *dialogues: Dialogue, mechanism: str = "SCRAM-SHA-256", imap: bool = True, **options) -> list[str]:
        """One connection for each; answers without their tags."""
        answers = []
        for dialogue in dialogues:
            with self.line(imap) as line:
                answers.append(line.log_in(dialogue, mechanism, **options).removeprefix("t1 "))
        return answers

    def opens(self, line: Line, dialogue: Dialogue, mechanism: str = "SCRAM-SHA-256", **options) -> None:
        answer = line.log_in(dialogue, mechanism, **options)
        self.assertTrue(answer.startswith(("t1 OK", "235 ")), answer)
        # It opens the mailbox, although nobody ever said the password.
        if line.imap:
            line.send("x STATUS INBOX (MESSAGES)")
            self.assertIn("STATUS", line.line())
        else:
            line.send(f"MAIL FROM:<{self.alice.address}>")
            self.assertTrue(line.line().startswith("250"))

    def test_the_client_of_these_tests_is_that_of_the_rfc(self) -> None:
        rfc_7677()

    def test_it_opens_imap_and_submission_bound_and_unbound(self) -> None:
        name, password = "alice", self.alice.password
        for imap in (True, False):
            for initial in (True, False):
                with self.line(imap) as line:
                    self.assertIn(PLUS, line.greeting)
                    self.opens(line, Dialogue(name, password), initial=initial)
            with self.line(imap) as line:
                self.opens(line, Dialogue(name, password, "p=tls-server-end-point", line.end_point, authzid=name), PLUS)
            with self.line(imap, version=ssl.TLSVersion.TLSv1_2) as line:
                self.opens(line, Dialogue(name, password, "p=tls-server-end-point", line.end_point), PLUS)
            with ExportingLine(self.c.port(993 if imap else 465), imap) as line:
                self.opens(line, Dialogue(name, password, "p=tls-exporter", line.exporter), PLUS)
        for name in ("alice@house.test", "ALICE@House.Test", "alice+shop"):
            with self.line() as line:
                self.opens(line, Dialogue(name, password))

    def test_the_other_clients(self) -> None:
        if shutil.which("gsasl") is None:
            self.skipTest("gsasl is not installed")
        for mechanism in ("SCRAM-SHA-256", PLUS):
            ran = subprocess.run(
                ["gsasl", "--smtp", f"--connect=127.0.0.1:{self.c.port(587)}", "-a", "alice", "-z", "alice", "-p",
                 self.alice.password, "-m", mechanism, "--x509-ca-file=", *(["--no-cb"] if mechanism != PLUS else [])],
                input="", capture_output=True, text=True, timeout=30, check=False)
            self.assertIn(f"AUTH {mechanism}\n", ran.stdout)
            self.assertIn("235 2.7.0", ran.stdout, ran.stderr)
        # Its own choice, of two lines that differ: it can bind, and does.
        ran = subprocess.run(
            ["gsasl", "--smtp", f"--connect=127.0.0.1:{self.c.port(587)}", "-a", "alice", "-z", "alice", "-p", self.alice.password,
             "--x509-ca-file="], input="", capture_output=True, text=True, timeout=30, check=False)
        self.assertIn(f"AUTH {PLUS}\n", ran.stdout)
        self.assertIn("235 2.7.0", ran.stdout, ran.stderr)
        if shutil.which("mbsync") is None:
            self.skipTest("mbsync is not installed")
        root = self.c.directory / "mbsync"
        (root / "box").mkdir(parents=True)
        (root / "rc").write_text(
            f"IMAPAccount a\nHost 127.0.0.1\nPort {self.c.port(993)}\nUser alice\nPass {self.alice.password}\n"
            f"SSLType IMAPS\nCertificateFile {self.c.home}/tls/member.crt\nAuthMechs SCRAM-SHA-256\n\n"
            f"IMAPStore far\nAccount a\n\nMaildirStore near\nPath {root}/box/\nInbox {root}/box/INBOX\n\n"
            f"Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Near\n")
        ran = subprocess.run(["mbsync", "-D", "-c", str(root / "rc"), "all"], capture_output=True, text=True, timeout=30,
                             check=False, env={**os.environ, "HOME": str(root)})
        self.assertEqual(ran.returncode, 0, ran.stdout[-2000:] + ran.stderr[-2000:])
        self.assertIn("AUTHENTICATE SCRAM-SHA-256", ran.stdout)

    def test_what_does_not_fit_the_channel_is_refused(self) -> None:
        name, password = "alice", self.alice.password
        for imap in (True, False):
            with self.line(imap) as line:
                wrong = bytes([line.end_point[0] ^ 1]) + line.end_point[1:]
                self.assertRegex(line.log_in(Dialogue(name, password, "p=tls-server-end-point", wrong), PLUS),
                                 "another channel")
            with ExportingLine(self.c.port(993 if imap else 465), imap) as one, \
                    ExportingLine(self.c.port(993 if imap else 465), imap) as other:
                # What was bound to one channel is carried into another: somebody stands in between.
                self.assertRegex(one.log_in(Dialogue(name, password, "p=tls-exporter", other.exporter), PLUS),
                                 "another channel")
            answers = self.said(Dialogue(name, password, "y"), mechanism="SCRAM-SHA-256", imap=imap)
            answers += self.said(Dialogue(name, password, "y"), Dialogue(name, password, "n"),
                                 Dialogue(name, password, "p=tls-unique", b"x" * 12), mechanism=PLUS, imap=imap)
            answers += self.said(Dialogue(name, password, "p=tls-exporter", b"x" * 32), imap=imap)
            answers += self.said(Dialogue(name, password, authzid="bert"), Dialogue(name, password, extension="m=x,"),
                                 imap=imap)
            # A proof that is no proof, and one for the dialogue before.
            answers += self.said(Dialogue(name, password), imap=imap, tamper=lambda final: final[:-4] + b"AAA=")
            for answer in answers:
                self.assertRegex(answer, "^(NO|535)", answers)
            for tamper in (lambda final: final[:-4], lambda final: final.split(b",p=")[0], lambda final: b"",
                           lambda final: final + b",x=y"):
                self.assertRegex(self.said(Dialogue(name, password), imap=imap, tamper=tamper)[0], "^(BAD|501)")
            self.assertRegex(self.said(Dialogue(name, password), imap=imap, last="dj0=")[0], "^(BAD|501)")
            self.assertRegex(self.said(Dialogue(name, password), imap=imap, last="*")[0], "^(BAD|501)")

    def test_what_was_overheard_opens_nothing(self) -> None:
        heard = Dialogue("alice", self.alice.password)
        finals: list[bytes] = []
        self.said(heard, tamper=lambda final: finals.append(final) or final)
        with self.line() as line:
            said = line.begin("SCRAM-SHA-256", heard.first(), True)
            self.assertTrue(said.startswith("+ "))
            line.send(b64(finals[0]))
            self.assertIn("NO", line.line())

    def test_only_application_passwords_have_a_verifier_and_a_dropped_one_is_gone(self) -> None:
        c, bert = self.c, self.bert
        c.cli("member", "passwd", "bert", stdin=f"{bert.password}\na password of his own\n")
        other = c.cli_json("member", "app-password", "bert", "--label", "phone", stdin=bert.password + "\n")["app_password"]
        opened = [a.split()[0] for a in self.said(*(Dialogue("bert", p) for p in (
            bert.password, other, "a password of his own", bert.recovery, other.upper())))]
        self.assertEqual(opened, ["OK", "OK", "NO", "NO", "NO"])
        c.cli("member", "app-drop", "bert", other.split("-")[0], stdin=bert.password + "\n")
        self.assertEqual([a.split()[0] for a in self.said(Dialogue("bert", bert.password), Dialogue("bert", other))],
                         ["OK", "NO"])
        c.cli("member", "suspend", "bert")
        wrong = self.said(Dialogue("bert", bert.password), Dialogue("nobody", bert.password), Dialogue("alice", "x"),
                          Dialogue("postmaster", self.alice.password), Dialogue("alice@elsewhere.test", "x"))
        self.assertEqual(set(wrong), {"NO [AUTHENTICATIONFAILED] Wrong name or password"})

    def salts(self, names: list[str]) -> list[tuple]:
        found = []
        with self.line() as line:
            for i, name in enumerate(names):
                dialogue = Dialogue(name, "x")
                said = line.begin("SCRAM-SHA-256", dialogue.first(), True)
                fields = dict(f.split("=", 1) for f in base64.b64decode(said.split()[1]).decode().split(","))
                found.append((base64.b64decode(fields["s"]), int(fields["i"]), len(said)))
                line.send("*")
                self.assertIn("BAD", line.line(), i)
        return found

    def test_nobodies_have_a_salt_that_stays_as_members_do(self) -> None:
        names = [f"name{i}" for i in range(998)] + ["alice", "bert"]
        found = self.salts(names)
        self.assertEqual(len({salt for salt, _, _ in found}), len(names))
        self.assertEqual({(len(salt), rounds) for salt, rounds, _ in found}, {(16, 4096)})
        # Forms of one name are one name, of a member's or not.
        self.assertEqual(*self.salts(["alice", "ALICE@house.test"]))
        self.assertEqual(*(s[:2] for s in self.salts(["nobody", "Nobody@house.test"])))
        self.assertEqual(*(s[:2] for s in self.salts(["nobody", "nobody+shop"])))
        self.assertEqual(*(s[:2] for s in self.salts(["alice", "alice+shop"])))
        self.c.restart()
        self.assertEqual(self.salts(names), found)


if __name__ == "__main__":
    unittest.main()
