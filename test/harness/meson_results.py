#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs the tests of a build tree and closes with one line of sums, read from Meson's own JSON log."""

import json
import os
import subprocess
import sys

GOOD = {"OK", "EXPECTEDFAIL"}


def main() -> int:
    tree = sys.argv[1]
    log = os.path.join(tree, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    # The slowest ones wait for clocks, not for processors.
    at_once = str((os.cpu_count() or 1) * 3 // 2 + 1)
    ran = subprocess.run(["meson", "test", "-C", tree, "--no-rebuild", "--print-errorlogs", "--num-processes", at_once,
                          "--timeout-multiplier", "4"],
                         check=False)
    passed = failed = skipped = 0
    if os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                entry = json.loads(line)
                if entry["result"] in GOOD:
                    passed += 1
                elif entry["result"] == "SKIP":
                    skipped += 1
                    print(f"skipped {entry['name']}")
                else:
                    failed += 1
                    print(f"FAILED  {entry['name']}: {entry['result']}")
    if passed + failed == 0:
        print("no test ran")
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or ran.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
