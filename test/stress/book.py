# SPDX-License-Identifier: AGPL-3.0-or-later
"""What all connections of one member were told, in one place: what they know must fit together."""

import collections
import dataclasses
import threading

Key = tuple[int, int]  # UIDVALIDITY, UID; no two mailboxes of a member share a UIDVALIDITY


class Violation(AssertionError):
    """The server told what cannot be."""


@dataclasses.dataclass
class Told:
    flags: frozenset[str]
    modseq: int


class Book:
    """Of one member. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.checks = 0
        self.latest: dict[Key, int] = {}  # the greatest MODSEQ that anyone was told of a message
        self.flags: dict[tuple[int, int, int], frozenset[str]] = {}  # (…, MODSEQ): the flags it stands for
        self.high: dict[int, int] = collections.defaultdict(int)  # the greatest MODSEQ of a mailbox
        self.uidnext: dict[int, int] = collections.defaultdict(lambda: 1)
        self.token: dict[Key, str] = {}  # which letter it is
        self.size: dict[str, int] = {}
        self.removable: set[Key] = set()  # someone asked for its removal, or marked it \Deleted
        self.gone: set[Key] = set()
        self.answered: set[Key] = set()  # APPENDUID, COPYUID
        self.letters: dict[str, bool] = {}  # token: True where the server said that it has it
        self.copied: set[str] = set()
        self.moved: set[str] = set()
        self.fleeting: set[str] = set()  # were in a mailbox that anybody may delete
        self.names: dict[int, str] = {}

    def check(self, holds: bool, what: str) -> None:
        self.checks += 1
        if not holds:
            raise Violation(what)

    def mailbox(self, uidvalidity: int, uidnext: int, high: int, floor: tuple[int, int] = (0, 0)) -> None:
        """As SELECT or STATUS tell it; floor: UIDNEXT and HIGHESTMODSEQ known before the question was sent."""
        with self.lock:
            if uidnext:
                self.check(uidnext >= floor[0], f"UIDNEXT {uidnext} after {floor[0]}")
                self.uidnext[uidvalidity] = max(self.uidnext[uidvalidity], uidnext)
            if high:
                self.check(high >= floor[1], f"HIGHESTMODSEQ {high} after {floor[1]}")
                self.high[uidvalidity] = max(self.high[uidvalidity], high)

    def floor(self, uidvalidity: int) -> tuple[int, int]:
        with self.lock:
            return self.uidnext[uidvalidity], self.high[uidvalidity]

    def message(self, key: Key, flags: frozenset[str] | None, modseq: int | None, floor: int = 0) -> None:
        """A FETCH response. floor: MODSEQ that it must at least have."""
        with self.lock:
            self.uidnext[key[0]] = max(self.uidnext[key[0]], key[1] + 1)
            if flags is not None and "\\Deleted" in flags:
                self.removable.add(key)  # by whoever copied it, or by a mark that is known to be in doubt
            if modseq is None:
                return
            self.check(modseq >= floor, f"{key}: MODSEQ {modseq} after {floor}")
            self.latest[key] = max(self.latest.get(key, 0), modseq)
            self.high[key[0]] = max(self.high[key[0]], modseq)
            if flags is not None:
                before = self.flags.setdefault((*key, modseq), flags)
                self.check(before == flags, f"{key}: MODSEQ {modseq} stood for {sorted(before)}, now for {sorted(flags)}")

    def identity(self, key: Key, token: str) -> None:
        with self.lock:
            before = self.token.setdefault(key, token)
            self.check(before == token, f"{key} was {before}, is {token}")

    def created(self, key: Key, token: str | None, floor: int) -> None:
        """APPENDUID and COPYUID. floor: UIDNEXT of the target before the command was sent."""
        with self.lock:
            self.check(key not in self.answered, f"{key} was given twice")
            self.check(key[1] >= floor, f"{key}: UIDNEXT was {floor} before")
            self.answered.add(key)
            if token is not None:
                self.identity(key, token)

    def removed(self, key: Key) -> None:
        with self.lock:
            self.gone.add(key)

    def may_go(self, keys) -> None:
        with self.lock:
            self.removable.update(keys)
