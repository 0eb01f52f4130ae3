# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a role must not do is stopped by the kernel: tried on the program as shipped, in its running roles."""

import os
import pathlib
import subprocess
import unittest

from harness.cohue import ROOT, Cohue, require_root
from harness.wait import wait_until

ROLES = ("keeper", "store", "resolver", "fetcher", "mixer", "courier", "opener", "session", "gate-member", "gate-mx")
# The only roles that may open sockets of their own.
CONNECTING = {"courier", "resolver", "fetcher"}
AF_INET, AF_UNIX, AF_NETLINK, SOCK_STREAM = 2, 1, 16, 1
AT_FDCWD = -100
KILLED = "killed by signal 31"


def inject_tool() -> str:
    for tree in ("build", "build-release", "build-asan"):
        path = ROOT / tree / "test" / "inject"
        if path.exists():
            return str(path)
    raise unittest.SkipTest("the inject tool is not built")


class Sandbox(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        require_root()
        cls.tool = inject_tool()
        cls.cohue = Cohue()
        cls.cohue.__enter__()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    def attempt(self, pid: int, *call: object) -> str:
        ran = subprocess.run([self.tool, str(pid), *map(str, call)], capture_output=True, text=True, timeout=20,
                             check=False)
        self.assertIn(ran.returncode, (0, 3), ran.stderr)
        return ran.stdout.strip()

    def attempt_everywhere(self, roles, *call: object) -> dict[str, str]:
        """In one process of each role; killed ones are waited for until they are back."""
        results, before = {}, {}
        for role in roles:
            before[role] = wait_until(lambda role=role: self.cohue.role_pids(role), 20, role)
            results[role] = self.attempt(before[role][0], *call)
        for role, result in results.items():
            if result.startswith("killed"):
                count = len(before[role])
                wait_until(lambda role=role, count=count: len(self.cohue.role_pids(role)) == count, 30, role)
        wait_until(self.all_ready, 40, "all roles ready again")
        return results

    def all_ready(self) -> bool:
        status = self.cohue.cli("status", check=False)
        states = [line for line in status.stdout.splitlines() if " state " in line]
        return status.returncode == 0 and bool(states) and all(line.endswith(" ready") for line in states)

    def test_identity(self) -> None:
        """Own unprivileged users, no capabilities, no new privileges, a filter, an empty root, no core dumps."""
        for role in ROLES:
            for pid in self.cohue.role_pids(role):
                status = dict(line.split(":\t", 1) for line in
                              pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
                with self.subTest(role=role):
                    self.assertNotIn("0", status["Uid"].split())
                    self.assertNotIn("0", status["Gid"].split())
                    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                        self.assertEqual(int(status[capabilities], 16), 0, capabilities)
                    self.assertEqual(status["NoNewPrivs"].strip(), "1")
                    self.assertEqual(status["Seccomp"].strip(), "2")
                    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
                    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
                    self.assertEqual(core.split()[4:6], ["0", "0"])
                    self.assertNotEqual(int(status["VmLck"].split()[0]), 0, "no locked memory for keys")
                    if role != "store":
                        self.assertEqual(os.listdir(f"/proc/{pid}/root"), [])
        users = {pathlib.Path(f"/proc/{pid}").stat().st_uid for role in ROLES for pid in self.cohue.role_pids(role)}
        self.assertEqual(len(users), 1 if users == {0} else len(ROLES), "each role has a user of its own")

    def test_no_role_can_run_a_program(self) -> None:
        results = self.attempt_everywhere(ROLES, "execve", 0, 0, 0)
        self.assertEqual(results, {role: KILLED for role in ROLES})

    def test_no_role_can_trace_another(self) -> None:
        results = self.attempt_everywhere(ROLES, "ptrace", 16, os.getpid(), 0, 0)
        self.assertEqual(results, {role: KILLED for role in ROLES})

    def test_only_the_store_can_open_files(self) -> None:
        others = [role for role in ROLES if role != "store"]
        results = self.attempt_everywhere(others, "openat", AT_FDCWD, 0, 0, 0)
        self.assertEqual(results, {role: KILLED for role in others})

    def test_only_courier_and_resolver_can_open_sockets(self) -> None:
        others = [role for role in ROLES if role not in CONNECTING]
        results = self.attempt_everywhere(others, "socket", AF_INET, SOCK_STREAM, 0)
        self.assertEqual(results, {role: KILLED for role in others})

    def test_those_two_only_for_the_internet(self) -> None:
        for family in (AF_UNIX, AF_NETLINK):
            results = self.attempt_everywhere(sorted(CONNECTING), "socket", family, SOCK_STREAM, 0)
            for role, result in results.items():
                self.assertFalse(result.startswith("returned"), f"{role}: {result}")

    def test_memory_cannot_become_code(self) -> None:
        # An anonymous page that can be written and run.
        results = self.attempt_everywhere(ROLES, "mmap", 0, 4096, 7, 0x22, -1, 0)
        for role, result in results.items():
            self.assertFalse(result.startswith("returned"), f"{role}: {result}")

    def test_no_role_can_signal_another(self) -> None:
        results = self.attempt_everywhere(ROLES, "kill", os.getpid(), 0)
        for role, result in results.items():
            self.assertFalse(result.startswith("returned"), f"{role}: {result}")


if __name__ == "__main__":
    unittest.main()
