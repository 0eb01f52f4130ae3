#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs the system tests, test/system/test_*.py: all, or those whose id contains one of the words.

    system.py [--lanes N] [--beside | --alone] [WORD...]

Classes run side by side in N lanes (twice the processors, three at least); harness/lanes.py tells what a class may declare.
--beside: only those that bear company. --alone: only those that need a quiet machine."""

import os
import pathlib
import signal
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "system")]
from harness.lanes import Lanes, jobs_of  # noqa: E402
from harness.runner import run_named  # noqa: E402


def main(words: list[str]) -> int:
    if words[:1] == ["--class"]:
        run_named(words[1:])
        return 0
    width = max(3, 2 * (os.cpu_count() or 1))
    if "--lanes" in words:
        at = words.index("--lanes")
        width = int(words[at + 1])
        del words[at:at + 2]
    kinds = {word for word in words if word in ("--beside", "--alone")}
    suite = unittest.TestLoader().discover(str(HERE / "system"), pattern="test_*.py", top_level_dir=str(HERE / "system"))
    jobs = jobs_of(suite, [word for word in words if word not in kinds])
    if len(kinds) == 1:
        jobs = [job for job in jobs if bool(job.alone) == ("--alone" in kinds)]
    lanes = Lanes(width)
    lanes.run(jobs)
    passed, failed, skipped = lanes.sums
    if passed + failed + skipped == 0:
        print("no test ran")
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    # So that what was started is also ended, and its files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("ended before its end")
