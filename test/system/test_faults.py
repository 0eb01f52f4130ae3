# SPDX-License-Identifier: AGPL-3.0-or-later
"""Mistakes of the volunteer give one clear line and an exit code; a full disk gives 4xx and heals by itself."""

import contextlib
import os
import pathlib
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
import unittest

from harness.cohue import Cohue, require_root
from harness.wait import wait_until


class Mistakes(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue()
        cls.cohue.init()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    def refused(self, *sets: str, home: str | None = None) -> str:
        ran = subprocess.run([self.cohue.binary, "run", "--home", home or str(self.cohue.home),
                              *[part for s in sets for part in ("--set", s)]],
                             capture_output=True, text=True, timeout=30, check=False)
        self.assertNotEqual(ran.returncode, 0, ran.stderr)
        # A small house is warned that it has no crowd; that is no second fault.
        lines = [line for line in ran.stderr.splitlines() if ": warning: fewer members" not in line]
        self.assertEqual(len(lines), 1, ran.stderr)
        self.assertIn("Remedy:", lines[0])
        return lines[0]

    def test_an_unknown_key(self) -> None:
        conf = self.cohue.home / "cohue.conf"
        before = conf.read_text()
        try:
            conf.write_text(before + "\nport_offest = 1\n")
            line = self.refused()
            self.assertIn(f"cohue.conf:{len(before.splitlines()) + 2}", line)
            self.assertIn("port_offset", line)
        finally:
            conf.write_text(before)

    def test_settings_that_cannot_be_read(self) -> None:
        conf = self.cohue.home / "cohue.conf"
        away = conf.with_name("away")
        conf.rename(away)
        try:
            self.assertIn("`cohue init`", self.refused())
            conf.mkdir()
            line = self.refused()
            self.assertIn("directory", line)
            self.assertNotIn("cohue init", line)
            ran = self.cohue.cli("check", check=False)
            self.assertIn("directory", ran.stderr)
            self.assertNotIn("cohue init", ran.stderr)
            conf.rmdir()
            conf.symlink_to(away)
            line = self.refused()
            self.assertIn("no link", line)
            conf.unlink()
        finally:
            away.rename(conf)

    def test_a_port_in_use(self) -> None:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("0.0.0.0", self.cohue.port(25)))
            other.listen()
            self.assertIn(str(self.cohue.port(25)), self.refused())

    def test_a_missing_house_key(self) -> None:
        moved = self.cohue.key.with_suffix(".away")
        self.cohue.key.rename(moved)
        try:
            self.assertIn(str(self.cohue.key), self.refused())
        finally:
            moved.rename(self.cohue.key)

    def test_a_house_key_that_others_can_read(self) -> None:
        self.cohue.key.chmod(0o644)
        try:
            self.assertIn("chmod 600", self.refused())
        finally:
            self.cohue.key.chmod(0o600)

    def test_the_key_of_another_house(self) -> None:
        before = self.cohue.key.read_text()
        try:
            self.cohue.key.write_text("ab" * 32 + "\n")
            line = self.refused()
            self.assertIn(f"the house key in {self.cohue.key} is of another home", line)
            self.assertNotIn("gate-mx", line)
        finally:
            self.cohue.key.write_text(before)

    def test_tls_files_that_cannot_be_used(self) -> None:
        tls = self.cohue.home / "tls"
        other = self.cohue.directory / "other.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(other), "2048"], check=True, capture_output=True)
        for gate in ("mx", "member"):
            certificate, sealed = tls / f"{gate}.crt", tls / f"{gate}.key.sealed"
            line = self.refused(f"tls.{gate}_key={other}", f"tls.{gate}_certificate={certificate}")
            self.assertIn("do not belong together", line)
            self.assertIn(f"tls.{gate}_key", line)
            for path in (certificate, sealed):
                before = path.read_bytes()
                try:
                    path.write_bytes(b"junk\n")
                    self.assertIn(f"tls.{gate}_key", self.refused())
                finally:
                    path.write_bytes(before)

    def test_a_tls_key_that_others_can_read_and_files_that_are_none(self) -> None:
        key = self.cohue.directory / "tls.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        key.chmod(0o644)
        certificate = self.cohue.home / "tls" / "mx.crt"
        settings = (f"tls.mx_key={key}", f"tls.mx_certificate={certificate}")
        self.assertIn("chmod 600", self.refused(*settings))
        key.chmod(0o640)  # a group for it (ssl-cert) is usual
        self.assertIn("do not belong together", self.refused(*settings))
        for path in (self.cohue.key, certificate, self.cohue.home / "tls" / "mx.key.sealed"):
            away = path.with_name("away")
            path.rename(away)
            try:
                # A pipe would be waited for.
                os.mkfifo(path, 0o600)
                self.assertIn(str(path), self.refused())
                path.unlink()
                path.symlink_to(away)
                if path.suffix == ".sealed":
                    self.assertIn(str(path), self.refused())
            finally:
                path.unlink()
                away.rename(path)

    def test_a_missing_certificate(self) -> None:
        self.assertIn("/nowhere.", self.refused("tls.mx_certificate=/nowhere.pem", "tls.mx_key=/nowhere.key"))

    def test_a_store_that_others_can_enter(self) -> None:
        store = self.cohue.home / "store"
        store.chmod(0o755)
        try:
            self.assertIn("chmod 700", self.refused())
        finally:
            store.chmod(0o700)

    def test_a_configuration_that_others_can_write(self) -> None:
        conf = self.cohue.home / "cohue.conf"
        conf.chmod(0o666)
        try:
            self.assertIn("chmod 644", self.refused())
        finally:
            conf.chmod(0o644)

    def test_a_missing_database_is_not_replaced_by_an_empty_house(self) -> None:
        with Cohue() as cohue:
            cohue.add_member("eve")
            cohue.stop()
            away = cohue.directory / "away"
            away.mkdir()
            for path in (cohue.home / "store").glob("cohue.db*"):
                path.rename(away / path.name)
            self.assertIn("bring back the whole folder", self.refused(home=str(cohue.home)))
            self.assertEqual(list((cohue.home / "store").glob("cohue.db*")), [])
            for path in away.iterdir():
                path.rename(cohue.home / "store" / path.name)
            cohue.start()
            self.assertIn("eve", cohue.cli("member", "list").stdout)

    def test_no_home(self) -> None:
        self.assertIn("cohue init", self.refused(home="/nowhere/at/all"))

    def test_a_second_instance(self) -> None:
        self.cohue.start()
        try:
            self.assertIn("another cohue", self.refused())
        finally:
            self.cohue.stop()


class FullDisk(unittest.TestCase):
    def test_mail_is_deferred_and_nothing_is_lost(self) -> None:
        require_root()
        place = pathlib.Path(tempfile.mkdtemp(prefix="cohue-full-"))
        place.chmod(0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=755", "none", str(place)], check=True)
        try:
            with Cohue(directory=str(place)) as cohue:
                # The log must not be what fills the disk.
                member = cohue.add_member("alice")
                body = os.urandom(300_000).hex()
                text = "From: s@stranger.test\r\nSubject: big\r\n\r\n" + "\r\n".join(
                    body[i:i + 76] for i in range(0, len(body), 76)) + "\r\n"
                kept, codes = 0, set()
                for _ in range(60):
                    with smtplib.SMTP("127.0.0.1", cohue.port(25), timeout=20, local_hostname="s.test") as client:
                        try:
                            client.sendmail("s@stranger.test", [member.address], text)
                            kept += 1
                        except smtplib.SMTPResponseException as refusal:
                            codes.add(refusal.smtp_code)
                            break
                        except smtplib.SMTPRecipientsRefused as refusal:
                            codes.update(code for code, _ in refusal.recipients.values())
                            break
                self.assertGreater(kept, 2)
                self.assertTrue(codes and all(400 <= code < 500 for code in codes), codes)
                # Room again, without hands: a small message goes through, and all that was kept is there.
                subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)

                def small() -> bool:
                    with smtplib.SMTP("127.0.0.1", cohue.port(25), timeout=20, local_hostname="s.test") as client:
                        try:
                            client.sendmail("s@stranger.test", [member.address], "Subject: small\r\n\r\nx\r\n")
                        except smtplib.SMTPException:
                            return False
                    return True

                wait_until(small, 20, "mail after the disk has room again")
                texts = cohue.wait_mail(member, kept + 1)
                self.assertEqual(sum(b"Subject: big" in t for t in texts), kept)
                for t in texts:
                    if b"Subject: big" in t:
                        self.assertIn(body[-40:].encode(), t.replace(b"\r\n", b""))
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False)
            shutil.rmtree(place, ignore_errors=True)


class WriteErrors(unittest.TestCase):
    """A disk that answers EIO to the store, by strace: each sender hears 4xx or NO, and afterwards all goes on without hands."""

    def setUp(self) -> None:
        require_root()
        if shutil.which("strace") is None:
            self.skipTest("strace is not here")

    @contextlib.contextmanager
    def broken(self, pid: int, call: str, error: str):
        """From now on every such call fails. (Without a call in its place the sandbox would see number -1.)"""
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={call}",
                                   "-e", f"inject={call}:error={error}:syscall=getpid"], stderr=subprocess.PIPE)
        try:
            wait_until(lambda: f"TracerPid:\t{tracer.pid}" in pathlib.Path(f"/proc/{pid}/status").read_text(), 10,
                       "strace to attach")
            yield
        finally:
            tracer.terminate()
            tracer.wait(10)
            tracer.stderr.close()

    @staticmethod
    def arrives(cohue: Cohue, recipient: str, subject: str) -> int:
        with smtplib.SMTP("127.0.0.1", cohue.port(25), timeout=30, local_hostname="s.test") as client:
            try:
                client.sendmail("s@stranger.test", [recipient], f"Subject: {subject}\r\n\r\nwhole\r\n")
            except smtplib.SMTPResponseException as refusal:
                return refusal.smtp_code
        return 250

    @staticmethod
    def leaves(cohue: Cohue, member, subject: str) -> int:
        try:
            with cohue.smtp(member) as client:
                client.sendmail(member.address, [member.address],
                                f"From: {member.address}\r\nSubject: {subject}\r\n\r\nwhole\r\n")
        except smtplib.SMTPResponseException as refusal:
            return refusal.smtp_code
        return 250

    @staticmethod
    def subjects(cohue: Cohue, member) -> list[str]:
        texts = cohue.wait_mail(member, 1)
        assert all(t.endswith(b"whole\r\n") for t in texts)
        return sorted(re.search(rb"Subject: (\S+)", t)[1].decode() for t in texts)

    def test_nothing_is_promised_and_nothing_is_lost(self) -> None:
        with Cohue() as cohue:
            member = cohue.add_member("alice")
            kept = ["before"]
            self.assertEqual(self.arrives(cohue, member.address, "before"), 250)
            with cohue.imap(member) as imap:
                for call, error in (("pwrite64", "EIO"), ("fdatasync", "EIO"), ("pwrite64", "EDQUOT"),
                                    ("pwrite64", "EROFS"), ("fdatasync", "ENOSPC")):
                    name = f"{call}-{error}"
                    with self.subTest(name):
                        (store,) = cohue.role_pids("store")
                        with self.broken(store, call, error):
                            for _ in range(2):
                                self.assertIn(self.arrives(cohue, member.address, f"no-{name}"), range(400, 500))
                                self.assertIn(self.leaves(cohue, member, f"no-{name}"), range(400, 500))
                            said, _ = imap.append("INBOX", None, None, b"Subject: no\r\n\r\nwhole\r\n")
                            self.assertEqual(said, "NO")
                        wait_until(lambda: self.arrives(cohue, member.address, f"in-{name}") == 250, 20, "mail again")
                        wait_until(lambda: self.leaves(cohue, member, f"out-{name}") == 250, 20, "mail again")
                        said, text = imap.append("INBOX", None, None, f"Subject: app-{name}\r\n\r\nwhole\r\n".encode())
                        self.assertEqual(said, "OK", text)
                        kept += [f"in-{name}", f"out-{name}", f"app-{name}"]
                        wait_until(lambda: self.subjects(cohue, member) == sorted(kept), 20, "all of them, once")
            cohue.restart()
            self.assertEqual(self.subjects(cohue, member), sorted(kept))
            cohue.stop()
            self.assertEqual(cohue.cli_json("check")["damaged"], 0)


if __name__ == "__main__":
    unittest.main()
