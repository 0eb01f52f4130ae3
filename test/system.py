#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs the system tests: test/system/test_*.py (all, or those whose id contains one of the arguments)."""

import pathlib
import signal
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from harness.runner import run_suite  # noqa: E402


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def main() -> int:
    # Line by line even into a file: a run that hangs shows where.
    sys.stdout.reconfigure(line_buffering=True)
    loader = unittest.TestLoader()
    suite = loader.discover(str(HERE / "system"), pattern="test_*.py", top_level_dir=str(HERE / "system"))
    wanted = sys.argv[1:]
    if wanted:
        # Classes keep their tests together, so class fixtures run once.
        suite = unittest.TestSuite(t for t in each(suite) if any(word in t.id() for word in wanted))
    return run_suite(suite)


if __name__ == "__main__":
    # So that what was started is also ended, and its files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
