# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line on the real binary: init leaves all or nothing, members and aliases, check, messages and exit codes."""

import json
import os
import pathlib
import re
import shutil
import smtplib
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from harness import Cohue
from harness.cohue import ROOT, cohue_binary
from harness.wait import wait_until

sys.path.insert(0, str(ROOT / "test" / "reader"))
import reader  # noqa: E402  (the independent reader of the formats)

WRITE = b"From: alice@house.test\r\nTo: bob@house.test\r\nSubject: a letter\r\n\r\n" + b"some more words\r\n" * 1000


class Help(unittest.TestCase):
    def run_cohue(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([cohue_binary(), *words], capture_output=True, text=True, timeout=30, check=False)

    def test_the_version_is_the_one_that_was_built(self) -> None:
        version = re.search(r"version: '([0-9.]+)'", (ROOT / "meson.build").read_text()).group(1)
        for word in ("--version", "version"):
            ran = self.run_cohue(word)
            self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, f"cohue {version}\n", ""))

    def test_each_command_and_group_tells_its_usage(self) -> None:
        everything = self.run_cohue("help").stdout
        commands = re.findall(r"^  cohue ((?:member |alias |crowd )?[a-z-]+)", everything, re.M)
        self.assertIn("member app-password", commands)
        self.assertIn("run", commands)
        for command in commands:
            for flag in ("--help", "-h"):
                ran = self.run_cohue(*command.split(), flag)
                self.assertEqual((ran.returncode, ran.stderr), (0, ""), command)
                self.assertIn(f"cohue {command}", ran.stdout)
                self.assertIn(ran.stdout, everything)
        ran = self.run_cohue("member", "--help")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertEqual(ran.stdout.count("cohue member "), sum(c.startswith("member ") for c in commands))
        self.assertNotIn("alias", ran.stdout)
        for words in (("nothing", "--help"), ("member", "nothing", "--help")):
            self.assertEqual(self.run_cohue(*words).returncode, 2, words)


class Init(unittest.TestCase):
    def setUp(self) -> None:
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="cohue-test-"))
        self.addCleanup(shutil.rmtree, self.place)
        self.binary = cohue_binary()

    def run_init(self, *arguments: str, domain: str = "house.test", home: str = "home") -> subprocess.CompletedProcess:
        return subprocess.run([self.binary, "init", "--domain", domain, "--home", str(self.place / home), *arguments],
                              capture_output=True, text=True, timeout=30, check=False)

    def listing(self) -> list[str]:
        return sorted(str(p.relative_to(self.place)) for p in self.place.rglob("*"))

    def test_a_home_has_what_it_needs_and_nobody_else_may_read_it(self) -> None:
        ran = self.run_init()
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("house.test. IN MX 10 mail.house.test.", ran.stdout)
        modes = {"home": 0o711, "home/store": 0o700, "home/store/new": 0o644, "home/tls": 0o700,
                 "home/empty": 0o555, "home.key": 0o600, "home/dkim.keys": 0o600,
                 "home/cohue.conf": 0o644, "home/tls/mx.key.sealed": 0o600, "home/tls/member.key.sealed": 0o600,
                 "home/tls/mx.crt": 0o644, "home/tls/member.crt": 0o644}
        self.assertEqual(self.listing(), sorted(modes))
        for name, mode in modes.items():
            self.assertEqual((self.place / name).stat().st_mode & 0o7777, mode, name)
        self.assertRegex((self.place / "home.key").read_text(), r"\A[0-9a-f]{64}\n\Z")
        # The key of TLS lies there sealed: no PEM.
        self.assertNotIn(b"PRIVATE", (self.place / "home/tls/mx.key.sealed").read_bytes())

    def test_an_existing_home_or_key_is_refused_and_untouched(self) -> None:
        self.assertEqual(self.run_init().returncode, 0)
        before = {n: (self.place / n).read_bytes() for n in self.listing() if (self.place / n).is_file()}
        ran = self.run_init()
        self.assertEqual(ran.returncode, 1)
        self.assertIn("Remedy", ran.stderr)
        ran = self.run_init("--key", str(self.place / "home.key"), home="other")
        self.assertEqual(ran.returncode, 1)
        after = {n: (self.place / n).read_bytes() for n in self.listing() if (self.place / n).is_file()}
        self.assertEqual(before, after)

    def test_what_fails_leaves_nothing_behind(self) -> None:
        for arguments, domain in [(["--key", str(self.place / "home" / "key")], "house.test"),
                                  (["--key", "/nowhere/at/all/key"], "house.test"),
                                  (["--port-offset", "x"], "house.test"), (["--hostname", "a b"], "house.test"),
                                  ([], "not a domain"), (["--bogus"], "house.test")]:
            ran = self.run_init(*arguments, domain=domain)
            self.assertNotEqual(ran.returncode, 0, arguments)
            self.assertEqual(self.listing(), [], arguments)
            self.assertEqual(len(ran.stderr.strip().splitlines()[0:1]), 1)

    def test_an_empty_directory_may_become_the_home(self) -> None:
        (self.place / "home").mkdir()
        self.assertEqual(self.run_init().returncode, 0)

    def test_json_names_what_was_made(self) -> None:
        said = json.loads(self.run_init("--json").stdout)
        self.assertEqual(said["home"], str(self.place / "home"))
        self.assertTrue(any(r["type"] == "MX" for r in said["dns"]))


class Words(unittest.TestCase):
    """What needs no service."""

    def setUp(self) -> None:
        self.binary = cohue_binary()

    def cohue(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.binary, *arguments], capture_output=True, text=True, timeout=30, check=False,
                              stdin=subprocess.DEVNULL)

    def test_what_is_not_understood_is_said_with_status_2(self) -> None:
        for words in ([], ["bogus"], ["member"], ["member", "bogus"], ["member", "add"], ["member", "add", "a", "b"],
                      ["status", "--bogus"], ["init"], ["member", "add", "a", "--quota"], ["status", "--json=1"]):
            ran = self.cohue(*words)
            self.assertEqual(ran.returncode, 2, words)
            self.assertTrue(ran.stderr, words)

    def test_help_names_every_command_and_the_manual_does(self) -> None:
        said = self.cohue("help").stdout
        commands = re.findall(r"^  cohue ((?:member |alias )?[a-z-]+)", said, re.M)
        self.assertGreater(len(commands), 15)
        manual = (ROOT / "man" / "cohue.1").read_text().replace("\\-", "-")
        for command in commands:
            self.assertIn(f"cohue {command}", manual)

    def test_the_manual_of_the_configuration_is_that_of_the_program(self) -> None:
        keys = self.cohue("config", "--man").stdout
        self.assertIn(".B house_key", keys)
        self.assertIn(keys, (ROOT / "man" / "cohue.conf.5").read_text())

    def test_without_a_service_the_remedy_is_said(self) -> None:
        for words in (["status"], ["stop"], ["member", "list"]):
            ran = self.cohue(*words, "--home", "/nonexistent")
            self.assertEqual(ran.returncode, 1)
            self.assertEqual(len(ran.stderr.strip().splitlines()), 1)
            self.assertIn("Remedy", ran.stderr)


class Members(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.c = Cohue()
        cls.addClassCleanup(cls.c.destroy)
        cls.c.init()
        cls.c.start()
        cls.alice = cls.c.add_member("alice")

    def failed(self, *arguments: str, stdin: str | None = None) -> str:
        ran = self.c.cli(*arguments, stdin=stdin, check=False)
        self.assertEqual(ran.returncode, 1, ran.stdout + ran.stderr)
        self.assertIn("Remedy", ran.stderr)
        return ran.stderr

    def test_the_first_member_is_postmaster_and_abuse(self) -> None:
        rows = {r["name"]: r for r in self.c.cli_json("member", "list")}
        self.assertEqual(sorted(rows["alice"]["aliases"]), ["abuse", "postmaster"])
        aliases = {r["alias"]: r["members"] for r in self.c.cli_json("alias", "list")}
        self.assertEqual(aliases["postmaster"], ["alice"])
        self.failed("alias", "remove", "postmaster")

    def test_names_are_checked_and_never_given_twice(self) -> None:
        self.assertIn("taken", self.failed("member", "add", "Alice"))
        for name in ("a+b", ".a", "a..b", "x" * 65, "alice@elsewhere.test", "mailer-daemon", "a b"):
            self.failed("member", "add", name)

    def test_an_alias_is_hers_to_send_from_and_a_list_is_not(self) -> None:
        self.c.add_member("ann")
        self.c.cli("alias", "set", "ann.lee", "ann")
        self.c.cli("alias", "set", "board", "ann", "alice")
        rows = {r["name"]: r for r in self.c.cli_json("member", "list")}
        self.assertEqual(rows["ann"]["aliases"], ["ann.lee"])
        self.failed("alias", "set", "alice", "ann")
        self.failed("alias", "set", "x", "nobody")
        self.c.cli("alias", "remove", "ann.lee")
        self.c.cli("alias", "remove", "board")
        self.failed("alias", "remove", "board")

    def test_a_removed_member_is_gone_and_her_name_is_free(self) -> None:
        gone = self.c.add_member("gone")
        self.c.imap(gone).logout()
        self.c.cli("alias", "set", "also-gone", "gone")
        self.c.cli("member", "remove", "gone")
        self.assertNotIn("gone", [r["name"] for r in self.c.cli_json("member", "list")])
        self.assertNotIn("also-gone", [r["alias"] for r in self.c.cli_json("alias", "list")])
        self.failed("member", "remove", "gone")
        self.c.add_member("gone")

    def test_many_members_come_in_pages(self) -> None:
        for i in range(12):
            self.c.add_member(f"many{i:02}")
        # Rows of over 3 kB: more than one answer of the control socket holds.
        for i in range(12 * 50):
            self.c.cli("alias", "set", f"a{i:03}-" + "x" * 55, f"many{i % 12:02}")
        names = [r["name"] for r in self.c.cli_json("member", "list")]
        self.assertEqual(names, sorted(names))
        self.assertEqual(len([n for n in names if n.startswith("many")]), 12)
        aliases = [r["alias"] for r in self.c.cli_json("alias", "list")]
        self.assertEqual(len([a for a in aliases if a.endswith("xxx")]), 600)
        self.assertEqual(len(aliases), len(set(aliases)))

    def test_quota(self) -> None:
        self.c.cli("member", "quota", "alice", "1", "GiB")
        rows = {r["name"]: r for r in self.c.cli_json("member", "list")}
        self.assertEqual(rows["alice"]["quota"], 1 << 30)
        self.c.cli("member", "quota", "alice", "none")
        rows = {r["name"]: r for r in self.c.cli_json("member", "list")}
        self.assertEqual(rows["alice"]["quota"], 0)
        self.failed("member", "quota", "alice", "much")

    def test_status_names_every_role_and_no_member(self) -> None:
        said = self.c.cli("status", "--json").stdout
        roles = {r["role"] for r in json.loads(said)}
        self.assertEqual(roles, {"keeper", "store", "resolver", "fetcher", "mixer", "courier", "opener", "session", "gate-member",
                                 "gate-mx"})
        self.assertNotIn("alice", said)

    def test_status_shows_no_letter_that_comes_or_waits(self) -> None:
        with Cohue(settings={"status.exact": "no", "leave.law": "exponential", "leave.mean": "1d"}) as house:
            alice = house.add_member("alice")

            def told() -> list[dict]:
                rows = house.cli_json("status")
                for row in rows:
                    row.pop("disk_free_percent", None)
                return rows
            before = told()
            for message in ("leaves", "waits"):
                with house.smtp(alice) as client:
                    client.sendmail(alice.address, ["bob@elsewhere.example"], f"From: {alice.address}\r\nSubject: {message}\r\n\r\nx\r\n")
            with smtplib.SMTP("127.0.0.1", house.port(25), timeout=20) as client:
                client.sendmail("bob@elsewhere.example", [alice.address], "From: bob@elsewhere.example\r\nSubject: comes\r\n\r\nx\r\n")
            client = house.imap(alice)
            wait_until(lambda: client.select()[1] != [b"0"], 20, "arrival")
            client.logout()
            after = told()
            self.assertEqual([r["state"] for r in after], ["ready"] * len(after))
            self.assertIn("failures_at_most", next(r for r in after if r["role"] == "mixer"))
            # Unless an hour has just ended, which brings lines.
            if time.time() % 3600 > 60:
                self.assertEqual(before, after)

    def test_the_log_names_no_member(self) -> None:
        self.assertNotIn("alice", self.c.log())


class Check(unittest.TestCase):
    def setUp(self) -> None:
        self.c = Cohue()
        self.addCleanup(self.c.destroy)
        self.c.init()
        self.c.start()
        self.alice = self.c.add_member("alice")
        self.bob = self.c.add_member("bob")
        client = self.c.smtp(self.alice)
        for _ in range(3):
            client.sendmail(self.alice.address, [self.bob.address], WRITE)
        client.quit()
        self.assertEqual(len(self.c.wait_mail(self.bob, 3)), 3)

    def check(self, member: str | None = None, secret: str = "") -> tuple[int, dict, str]:
        words = ["check", "--json"] + (["--member", member] if member else [])
        ran = self.c.cli(*words, stdin=secret + "\n" if member else None, check=False, timeout=60)
        return ran.returncode, json.loads(ran.stdout) if ran.stdout else {}, ran.stderr

    def test_a_running_service_is_not_checked(self) -> None:
        code, _, said = self.check()
        self.assertEqual(code, 1)
        self.assertIn("cohue stop", said)

    def test_all_is_well_and_stays_as_it_was(self) -> None:
        self.c.cli("stop")
        self.c.kill()
        before = {p: p.read_bytes() for p in sorted((self.c.home / "store").iterdir()) if p.name != "lock"}
        code, said, problem = self.check()
        self.assertEqual((code, said.get("damaged")), (0, 0), problem)
        self.assertEqual(said["counts"]["members"], 2)
        for secret in (self.bob.password, self.bob.recovery):
            code, said, problem = self.check("bob", secret)
            self.assertEqual((code, said.get("damaged")), (0, 0), problem)
            self.assertEqual(said["counts"]["messages of this member"], 3)
            self.assertEqual(said["counts"]["blobs read to their end"], 3)
        self.assertEqual(self.check("bob", self.alice.password)[0], 1)
        self.assertEqual(self.check("nobody", "secret")[0], 1)
        after = {p: p.read_bytes() for p in sorted((self.c.home / "store").iterdir()) if p.name != "lock"}
        self.assertEqual(before, after)
        self.c.start()
        self.assertEqual(len(self.c.wait_mail(self.bob, 3)), 3)

    def damage(self, statement: str) -> None:
        database = next(p for p in (self.c.home / "store").iterdir() if p.read_bytes()[:6] == b"SQLite")
        owner = database.stat()
        with sqlite3.connect(database) as db:
            self.assertEqual(db.execute(statement).rowcount, 1)
        db.close()
        for path in database.parent.iterdir():
            os.chown(path, owner.st_uid, owner.st_gid)

    def flip(self, table: str, column: str, where: str) -> None:
        self.damage(f"UPDATE {table} SET {column} = substr({column}, 1, 40) || "
                    f"(CASE WHEN substr({column}, 41, 1) = x'00' THEN x'01' ELSE x'00' END) || substr({column}, 42) "
                    f"WHERE rowid_is = 1".replace("rowid_is = 1", where))

    def test_a_flipped_octet_is_found_where_it_is(self) -> None:
        self.c.stop()
        code, _, _ = self.check()
        self.assertEqual(code, 0)
        self.flip("directory", "value", "key = (SELECT min(key) FROM directory)")
        code, said, problem = self.check()
        self.assertEqual(code, 1)
        self.assertTrue(any("directory" in line for line in said["damage"]), said)
        self.assertIn("Remedy", problem)

    def test_a_flipped_octet_of_a_message_is_found_with_her_password(self) -> None:
        self.c.stop()
        tables = self.check()[1]["counts"]
        self.assertGreaterEqual(tables["blobs"], 3)
        code, _, _ = self.check("bob", self.bob.password)
        self.assertEqual(code, 0)
        # Every message's first chunk in turn would do; all of them are damaged, one by one.
        names = "name = (SELECT name FROM blobs WHERE chunk = 0 ORDER BY name LIMIT 1 OFFSET {}) AND chunk = 0"
        for i in range(tables["blobs"]):
            self.flip("blobs", "data", names.format(i))
        code, said, _ = self.check("bob", self.bob.password)
        self.assertEqual(code, 1)
        self.assertGreaterEqual(said["damaged"], 1)

    def test_what_waits_for_others_is_read_whole_with_the_house_key(self) -> None:
        self.c.stop()
        self.c.settings["leave.law"] = "exponential"
        self.c.start()
        with self.c.smtp(self.alice) as client:
            client.sendmail(self.alice.address, ["eve@elsewhere.test", "carl@other.test", self.bob.address], WRITE * 20)
        self.c.stop()
        code, said, problem = self.check()
        self.assertEqual((code, said.get("damaged")), (0, 0), problem)
        self.assertEqual(said["counts"]["units that wait"], 1)
        self.assertEqual(said["counts"]["parts for other providers read to their end"], 2)
        self.flip("spool_parts", "body", "(unit, part) = (SELECT unit, part FROM spool_parts WHERE part = 0)")
        code, said, problem = self.check()
        # Its sum, and its seal.
        self.assertEqual((code, said["damaged"]), (1, 2), said)
        self.assertIn("part 0", said["damage"][0])
        self.assertIn("part 0 of unit", said["damage"][1])
        self.damage("DELETE FROM spool_parts WHERE part = 1")
        code, said, problem = self.check()
        self.assertEqual((code, said["damaged"]), (1, 3), said)
        self.assertIn("is not there", said["damage"][2])

    def account_of(self, name: str, db: sqlite3.Connection) -> bytes:
        house = bytes.fromhex(self.c.key.read_text().strip())
        key = reader.mac(reader.mac(house, b"directory-hash"), f"address:{name}@house.test".encode())
        value, = db.execute("SELECT value FROM directory WHERE key = ?", (key,)).fetchone()
        return reader.directory_open(reader.mac(house, b"directory-seal"), key, value)[-16:]

    def test_a_flipped_octet_of_a_log_is_told_with_its_record(self) -> None:
        client = self.c.imap(self.bob)
        client.select()
        client.store("1", "+FLAGS", "\\Flagged")
        client.logout()
        self.c.kill()  # at an orderly stop, a snapshot would stand for it
        database = next(p for p in (self.c.home / "store").iterdir() if p.read_bytes()[:6] == b"SQLite")
        db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        # Its last record says what is flagged.
        bob = self.account_of("bob", db)
        n, = db.execute("SELECT max(n) FROM log WHERE account = ? AND kind = 2", (bob,)).fetchone()
        db.close()
        where = f"account = x'{bob.hex()}' AND n = {n}"
        self.flip("log", "body", where)
        code, said, _ = self.check()
        self.assertEqual(code, 1)
        self.assertTrue(any(f"record {n} of log {bob.hex()[:8]}" in line for line in said["damage"]), said)
        code, said, _ = self.check("bob", self.bob.password)
        self.assertEqual(code, 1)
        told = [line for line in said["damage"] if line.startswith(f"record {n} does not open")]
        self.assertEqual(len(told), 1, said)
        self.assertIn("a change of hers is lost", told[0])
        # Everything else of hers was looked at all the same.
        self.assertEqual(said["counts"]["blobs read to their end"], 3)
        self.c.start()
        # At the second look, a while after the first, it is left out; she is told, and all else of hers is there.
        client = self.c.imap(self.bob)
        self.assertEqual(client.select()[0], "NO")
        reference = re.search(r"for now: .* \((\w{8})\)", client.select()[1][0].decode())
        self.assertIsNotNone(reference)
        self.assertIn(f"{reference[1]}: a member's log", self.c.log())
        wait_until(lambda: client.select()[0] == "OK", 40, "her mailbox comes back")
        self.assertTrue(any(b"A change to your mailboxes was lost" in text for text in self.c.wait_mail(self.bob, 4)))
        client = self.c.imap(self.bob)
        client.select()
        self.assertNotIn("\\Flagged", str(client.fetch("1:*", "(FLAGS)")))
        self.assertRegex(self.c.log(), r"\w{8}: a message of a member")
        # The others have not noticed.
        self.c.imap(self.alice).select()
        self.c.stop()

    def test_another_house_key_opens_nothing(self) -> None:
        self.c.stop()
        key = self.c.key.read_text()
        self.c.key.write_text("0" * 64 + "\n")
        code, said, _ = self.check()
        self.assertEqual(code, 1)
        self.assertGreater(said["damaged"], 1)
        self.c.key.write_text(key)
        self.assertEqual(self.check()[0], 0)


if __name__ == "__main__":
    unittest.main()
