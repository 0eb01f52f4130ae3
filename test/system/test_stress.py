# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many connections at once, each checking every answer (test/stress); for long by hand: make stress."""

import unittest

from stress.stress import stress


class Stress(unittest.TestCase):
    seconds = 20

    def test_what_many_connections_are_told_fits_together(self) -> None:
        run = stress(seconds=10, seed=20261122, members=2, connections=8)
        self.assertGreater(sum(book.checks for _, book in run.books), 5000, run.told)
