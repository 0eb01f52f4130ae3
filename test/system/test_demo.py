# SPDX-License-Identifier: AGPL-3.0-or-later
"""`make demo` as a spectator sees it: mail both ways, inside the house and to providers of all kinds, and nothing is left afterwards."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from harness.cohue import cohue_binary, require_root

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Runs a command as the one to whom all its orphans fall; names those that outlive it.
CONTAINED = """
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
code = subprocess.run(sys.argv[1:]).returncode
end = time.monotonic() + 5
while True:
    try:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                print("OUTLIVED", open(f"/proc/self/task/{os.getpid()}/children").read())
                sys.exit(99)
            time.sleep(0.05)
    except ChildProcessError:
        sys.exit(code)
"""


class Demo(unittest.TestCase):
    seconds = 32

    def test_shows_mail_both_ways_and_leaves_neither_process_nor_file_nor_mount(self) -> None:
        require_root()
        mounts = pathlib.Path("/proc/self/mounts").read_text()
        with tempfile.TemporaryDirectory(prefix="cohue-demo-") as room:
            os.chmod(room, 0o711)
            ran = subprocess.run([sys.executable, "-c", CONTAINED, sys.executable, str(ROOT / "demo/demo.py")],
                                 env={**os.environ, "TMPDIR": room, "COHUE_BIN": cohue_binary()}, timeout=150,
                                 capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
            for story in ("alice -> bob", "bob -> alice", "alice -> bert", "fully validated"):
                self.assertIn(story, ran.stdout)
            for domain, outcome in (("dane", "delivered, protected by DANE"), ("sts", "delivered, protected by MTA-STS"),
                                    ("plain-tls", "delivered, encrypted, not verified"),
                                    ("slow", "delivered, encrypted, not verified"), ("wrong", "deferred: .*DANE"),
                                    ("stripped", "deferred: .*no encryption"), ("clear", "deferred: .*no encryption"),
                                    ("grey", "deferred: 451"), ("grey", "delivered, encrypted, not verified"),
                                    ("exim", "delivered, protected by DANE"), ("opensmtpd", "delivered, clear"), ("cuts", "deferred: "), ("null", "failed: ")):
                self.assertRegex(ran.stdout, rf"(?m)^ *{domain}\.test .*{outcome}")
            self.assertEqual(os.listdir(room), [])
        self.assertEqual(pathlib.Path("/proc/self/mounts").read_text(), mounts)


if __name__ == "__main__":
    unittest.main()
