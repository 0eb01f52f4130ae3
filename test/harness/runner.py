# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs unittest suites with one line a test, and what a failed one's services had in their logs."""

import os
import sys
import time
import traceback
import unittest

from harness.cohue import Cohue, forget_logs, recent_logs

SEPARATOR = "\x1e"


class Lines(unittest.TestResult):
    def __init__(self, separator: str = "") -> None:
        super().__init__()
        self.separator = separator
        self.passed = 0
        self.bad = 0
        self.out = 0
        self.started = 0.0
        self.spoiled = False

    def say(self, word: str, test: unittest.TestCase, more: str = "") -> None:
        print(f"{word:8}{test.id()}{more}", flush=True)

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.started = time.monotonic()
        self.spoiled = False
        forget_logs()

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        if self.separator:
            separate()

    def addSuccess(self, test: unittest.TestCase) -> None:
        if not self.spoiled:
            self.passed += 1
            self.say("ok", test, f" ({time.monotonic() - self.started:.2f} s)")

    def broken(self, test: unittest.TestCase, problem) -> None:
        if not self.spoiled:
            self.bad += 1
        self.spoiled = True
        self.say("FAILED", test)
        traceback.print_exception(*problem, file=sys.stdout)
        for log in recent_logs():
            print(log)
        sys.stdout.flush()

    def addError(self, test, err) -> None:
        super().addError(test, err)
        self.broken(test, err)

    def addFailure(self, test, err) -> None:
        super().addFailure(test, err)
        self.broken(test, err)

    def addSubTest(self, test, subtest, err) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.broken(subtest, err)

    def addSkip(self, test, reason) -> None:
        super().addSkip(test, reason)
        self.out += 1
        self.say("skipped", test, f": {reason}")

    def addUnexpectedSuccess(self, test) -> None:
        super().addUnexpectedSuccess(test)
        self.bad += 1
        self.say("FAILED", test, ": passed, but was expected to fail")

    def addExpectedFailure(self, test, err) -> None:
        super().addExpectedFailure(test, err)
        self.passed += 1
        self.say("ok", test, " (fails, as expected)")


def separate(more: str = "") -> None:
    """A line of SEPARATOR in one piece, whatever else a thread or a child may be writing just now."""
    sys.stdout.flush()
    os.write(sys.stdout.fileno(), f"\n{SEPARATOR}{more}\n".encode())


def run_suite(suite: unittest.TestSuite) -> int:
    """Prints 'N passed, N failed, N skipped' last; 1 where one failed or none was there."""
    result = Lines()
    suite.run(result)
    if result.passed + result.bad + result.out == 0:
        print("no test ran")
        result.bad += 1
    print(f"{result.passed} passed, {result.bad} failed, {result.out} skipped", flush=True)
    return 1 if result.bad else 0


def run_named(tests: list[str]) -> None:
    """For the lanes (harness/lanes.py), which read along: tests of one class (`module.Class.test`), each ending with a line
    of SEPARATOR; the last one says passed, failed, skipped."""
    result = Lines(SEPARATOR)
    try:
        unittest.defaultTestLoader.loadTestsFromNames(tests).run(result)
    finally:
        # A class that is interrupted does not clear up what it shares.
        for service in list(Cohue.living):
            service.destroy()
    separate(f"{result.passed} {result.bad} {result.out}")
