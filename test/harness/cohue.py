# SPDX-License-Identifier: AGPL-3.0-or-later
"""The real binary in a temporary home: init, run, members by the CLI, roles found and killed, nothing left behind."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest

from harness.dialogue import imap_login, smtp_login
from harness.wait import free_port_offset, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_binary(variable: str, trees: tuple[str, ...]) -> str:
    named = os.environ.get(variable)
    if named:
        return named
    for tree in trees:
        for path in sorted((ROOT / tree).rglob("cohue")):
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    raise unittest.SkipTest(f"the program is not built ({variable} names another place)")


def cohue_binary() -> str:
    """The program as shipped: no test hooks."""
    return find_binary("COHUE_BIN", ("build-release", "build", "build-asan"))


# Tests send more than members do.
NO_LIMITS = ("limits.sending_messages", "limits.sending_recipients", "limits.sending_recipients_day",
             "limits.sending_domains", "limits.sending_failures", "limits.client_connections",
             "limits.client_messages", "limits.unknown_recipients")

# What services of the test that runs now had to say: those that ended. The others stand in Cohue.living.
ended_logs: list[str] = []


def forget_logs() -> None:
    ended_logs.clear()


def recent_logs() -> list[str]:
    """The ends of the logs of all services that live, or that ended in this test."""
    return ended_logs + [service.told() for service in Cohue.living]


@dataclasses.dataclass
class Member:
    name: str
    address: str
    password: str  # an application password
    recovery: str = ""


class Cohue:
    """A service of its own: `with Cohue() as c: ...`. Everything is gone at the end, also after a failure.

    Settings are KEY=VALUE of the configuration; waiting is off unless a test asks for it.
    """

    living: list["Cohue"] = []

    def __init__(self, domain: str = "house.test", hostname: str = "mail.house.test", binary: str | None = None,
                 settings: dict[str, str] | None = None, directory: str | None = None,
                 environment: dict[str, str] | None = None, prefix: list[str] | None = None,
                 offset: int | None = None) -> None:
        self.binary = binary or cohue_binary()
        self.domain = domain
        self.hostname = hostname
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cohue-test-", dir=directory))
        # Unprivileged roles must reach what they are given by path, and nothing else.
        self.directory.chmod(0o711)
        self.home = self.directory / "home"
        self.key = self.directory / "house.key"
        self.log_path = self.directory / "log"
        self.offset = free_port_offset() if offset is None else offset
        self.settings = {"leave.law": "none", "arrive.law": "none", "status.exact": "yes", "authentication": "off",
                         **dict.fromkeys(NO_LIMITS, "0"),
                         **(settings or {})}
        self.environment = {**os.environ, **(environment or {})}
        self.prefix = prefix or []
        self.process: subprocess.Popen | None = None
        self.members: dict[str, Member] = {}
        Cohue.living.append(self)

    def __enter__(self) -> "Cohue":
        try:
            self.init()
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def port(self, service: int) -> int:
        return service + self.offset

    # The command line

    def cli(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 30,
            home: bool = True) -> subprocess.CompletedProcess:
        command = [*self.prefix, self.binary, *arguments]
        if home:
            command += ["--home", str(self.home)]
        ran = subprocess.run(command, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                             capture_output=True, text=True, timeout=timeout, check=False, env=self.environment)
        if check and ran.returncode != 0:
            raise AssertionError(f"{' '.join(arguments)}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def cli_json(self, *arguments: str, stdin: str | None = None, timeout: float = 30):
        return json.loads(self.cli(*arguments, "--json", stdin=stdin, timeout=timeout).stdout)

    def init(self) -> str:
        return self.cli("init", "--domain", self.domain, "--hostname", self.hostname, "--key", str(self.key),
                        "--port-offset", str(self.offset)).stdout

    def add_member(self, name: str) -> Member:
        said = self.cli_json("member", "add", name)
        password = next((said[k] for k in ("app_password", "application_password", "password") if k in said), None)
        assert password, f"member add --json hands out no password: {sorted(said)}"
        recovery = next((said[k] for k in ("recovery", "recovery_code") if k in said), "")
        member = Member(name, said.get("address", f"{name}@{self.domain}"), password, recovery)
        self.members[name] = member
        return member

    # Start and stop

    def start(self, seconds: float = 30, ready: bool = True) -> None:
        assert self.process is None
        sets = [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.prefix, self.binary, "run", "--home", str(self.home), *sets],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                                            start_new_session=True)
        if ready:
            wait_until(self.is_ready, seconds, f"service ready; log:\n{self.log()}")

    def is_ready(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"the service ended at start: {self.log()}")
        # The greeting: ports are bound early, by the supervisor; the gate answers when it can work.
        with socket.create_connection(("127.0.0.1", self.port(25)), 2) as s:
            s.settimeout(2)
            if not s.recv(512).startswith(b"220"):
                return False
        return self.cli("status", check=False).returncode == 0

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def told(self) -> str:
        return f"-- the end of the log of {self.hostname}:\n" + "\n".join(self.log().splitlines()[-40:])

    def stop(self, seconds: float = 20) -> int:
        """Orderly: SIGTERM to the supervisor alone. Its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """kill -9 of everything at once."""
        if self.process is None:
            return
        pids = self.pids()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        wait_until(lambda: not any(alive(pid) for pid in pids), 10, "all roles gone")
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def pass_time(self, hours: int) -> None:
        """As if the house had been shut for so long (the wall clock has no say in it)."""
        self.stop()
        (path,) = (self.home / "store").glob("*.db")
        owner = path.stat()
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            (value,) = database.execute("SELECT value FROM meta WHERE name = CAST('mixer-age' AS BLOB)").fetchone()
            age = int.from_bytes(value[1:9], "big") + hours * 3600 * 1000
            database.execute("UPDATE meta SET value = ? WHERE name = CAST('mixer-age' AS BLOB)",
                             (value[:1] + age.to_bytes(8, "big") + value[9:],))
        for file in path.parent.glob(path.name + "*"):
            os.chown(file, owner.st_uid, owner.st_gid)
        self.start()

    def destroy(self) -> None:
        self.kill()
        if self in Cohue.living:
            Cohue.living.remove(self)
            ended_logs.append(self.told())
        shutil.rmtree(self.directory, ignore_errors=True)

    # Processes

    def pids(self) -> list[int]:
        """The supervisor and all its descendants."""
        assert self.process is not None
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    stat = pathlib.Path("/proc", entry, "stat").read_text()
                except OSError:
                    continue
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def role_pids(self, role: str) -> list[int]:
        """By comm or a word of the command line; 'gate-mx' and 'gate_mx' are the same."""
        wanted = {role.replace("_", "-")[:15], role.replace("-", "_")[:15]}
        found = []
        for pid in self.pids()[1:]:
            try:
                words = set(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                            .replace("\0", " ").replace(":", " ").split())
                words.add(pathlib.Path(f"/proc/{pid}/comm").read_text().strip())
            except OSError:
                continue
            if wanted & {word.removeprefix("cohue-")[:15] for word in words}:
                found.append(pid)
        return sorted(found)

    def kill_role(self, role: str, sig: int = signal.SIGKILL) -> list[int]:
        pids = self.role_pids(role)
        assert pids, f"no process for role {role}"
        for pid in pids:
            os.kill(pid, sig)
        return pids

    def wait_role(self, role: str, other_than: list[int], seconds: float = 15) -> list[int]:
        """Until the role runs again, in new processes."""
        return wait_until(lambda: [p for p in self.role_pids(role) if p not in other_than], seconds, f"a new {role}")

    # Clients

    def smtp(self, member: Member | None = None, implicit: bool = True):
        if member is None:
            import smtplib  # strangers, on 25
            return smtplib.SMTP("127.0.0.1", self.port(25), timeout=20, local_hostname="stranger.test")
        return smtp_login(self.port(465 if implicit else 587), member.address, member.password, implicit)

    def imap(self, member: Member):
        return imap_login(self.port(993), member.address, member.password)

    def wait_mail(self, member: Member, count: int = 1, folder: str = "INBOX", seconds: float = 20) -> list[bytes]:
        """Until so many messages lie in the folder; all of them, whole."""
        client = self.imap(member)
        try:
            def enough():
                kind, answer = client.select(folder, readonly=True)
                return kind == "OK" and int(answer[0]) >= count
            wait_until(enough, seconds, f"{count} messages in {folder} of {member.name}", pause=0.1)
            _, answer = client.fetch("1:*", "(BODY.PEEK[])")
            return [part[1] for part in answer if isinstance(part, tuple)]
        finally:
            client.logout()


def alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def require_root() -> None:
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")


def settle(seconds: float) -> None:
    """Real waiting, for what has no event to wait for. Rare, short, and with a reason beside the call."""
    time.sleep(seconds)
