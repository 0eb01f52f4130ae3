# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs unittest suites with one line a test and the closing line that ./check adds up."""

import sys
import time
import traceback
import unittest


class Lines(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
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


def run_suite(suite: unittest.TestSuite) -> int:
    """Prints 'N passed, N failed, N skipped' last; 1 where one failed or none was there."""
    result = Lines()
    suite.run(result)
    if result.passed + result.bad + result.out == 0:
        print("no test ran")
        result.bad += 1
    print(f"{result.passed} passed, {result.bad} failed, {result.out} skipped", flush=True)
    return 1 if result.bad else 0
