# SPDX-License-Identifier: AGPL-3.0-or-later
"""One connection as its client sees it: every response is applied to what it knew, and checked against it."""

import collections
import re
import socket
import ssl
import threading

from harness.dialogue import Dialogue
from stress.book import Book, Violation

STEADY = ("INBOX", "A", "B")  # never deleted; what is set by FLAGS without a sign is set in B alone
PASSING = ("T0", "T1", "T0/x", "Füße")
NUMBER = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH|RECENT|UIDFETCH)(.*)", re.S)
FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")
UID = re.compile(rb"\bUID (\d+)")
TOKEN = re.compile(rb"Message-ID: <([^@>]+)@stress.test>")
SIZE = re.compile(rb"RFC822.SIZE (\d+)")
connecting = threading.Semaphore(4)


def members_of(text: bytes) -> list[int]:
    """"1:3,7" as numbers."""
    found: list[int] = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


def set_of(numbers: list[int]) -> str:
    """In the order given, runs joined."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and parts[-1][1] + 1 == n:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in parts)


class Ended(Exception):
    """The connection ended where it may."""


class Entry:
    __slots__ = ("uid", "flags", "modseq")

    def __init__(self) -> None:
        self.uid: int | None = None
        self.flags: frozenset[str] | None = None
        self.modseq = 0


class View:
    """The dialogue and what was told in it. `enable`: what is enabled after each login."""

    def __init__(self, cohue, member, book: Book, name: str, enable: str = "", notify: str = "") -> None:
        self.cohue, self.member, self.book, self.name = cohue, member, book, name
        self.enable, self.notify = enable, notify
        self.uidonly = "UIDONLY" in enable
        self.vanishes = "QRESYNC" in enable or self.uidonly
        self.rev2 = "IMAP4rev2" in enable
        self.history: collections.deque[bytes] = collections.deque(maxlen=80)
        self.commands = 0
        self.faults_allowed = False  # roles are being killed
        self.line: Dialogue | None = None
        self.own: dict[tuple[int, int], bool] = {}  # of its own keyword: what must be told
        self.keyword = f"$S{name}"
        self.deselect()

    def deselect(self) -> None:
        self.box = ""
        self.uidvalidity = 0
        self.read_only = False
        self.entries: list[Entry] = []
        self.synced = 0  # all changes up to this mod-sequence are known
        self.added = 0  # by EXISTS
        self.gone: set[int] = set()  # UIDs that this connection was told to be expunged

    def check(self, holds: bool, what: str) -> None:
        self.book.check(holds, what)

    # The connection

    def connect(self) -> None:
        with connecting:
            try:
                self.line = Dialogue(self.cohue.port(993), tls=True, timeout=40)
            except OSError as problem:
                raise Ended(f"no connection: {problem}") from problem
            self.deselect()
            if not self.hear().startswith(b"* OK"):
                raise Ended("no greeting")
            self.run(f'LOGIN {self.member.address} "{self.member.password}"')
        if self.enable:
            self.run(f"ENABLE {self.enable}")
        if self.notify:
            self.run(f"NOTIFY SET {self.notify}")

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None
        self.history.append(b"-- closed")

    def hear(self) -> bytes:
        assert self.line is not None
        try:
            answer = self.line.response()
        except (ssl.SSLError, ConnectionError, EOFError) as problem:
            raise Ended(str(problem)) from problem
        except TimeoutError as problem:
            raise Violation("no answer within 40 s") from problem
        self.history.append(b"S " + answer[:400])
        if not answer:
            raise Ended("closed")
        return answer

    def say(self, octets: bytes) -> None:
        assert self.line is not None
        self.history.append(b"C " + octets[:400])
        try:
            self.line.send(octets)
        except OSError as problem:
            raise Ended(str(problem)) from problem

    def unasked(self, idle: bool = False) -> None:
        """What came while no command was on its way, or in IDLE."""
        assert self.line is not None
        while True:
            if not self.line.pending:
                self.line.socket.settimeout(0)
                try:
                    more = self.line.socket.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    return
                except (ssl.SSLError, OSError) as problem:
                    raise Ended(str(problem)) from problem
                finally:
                    self.line.socket.settimeout(40)
                if not more:
                    raise Ended("closed")
                self.line.pending += more
            answer = self.hear()
            self.apply(answer, expunges=idle or (self.notify != "" and "DELAYED" not in self.notify))

    def run(self, *commands: str | bytes, expunges: bool = True, expect: str = "OK",
            ) -> list[tuple[list[bytes], bytes]]:
        """Sends these at once; untagged responses and tagged status of each. expunges: whether they may be told meanwhile."""
        assert self.line is not None
        if self.box:
            self.unasked()
        wanted = []
        octets = b""
        for command in commands:
            self.commands += 1
            wanted.append(b"t%d" % self.commands)
            octets += wanted[-1] + b" " + (command.encode() if isinstance(command, str) else command) + b"\r\n"
        self.say(octets)
        results = []
        for tag, command in zip(wanted, commands):
            untagged: list[bytes] = []
            while True:
                answer = self.hear()
                if answer.startswith(tag + b" "):
                    status = answer[len(tag) + 1:]
                    break
                self.check(answer[:2] in (b"* ", b"+ "), f"{answer[:60]!r} while {command[:60]!r} is on its way")
                untagged.append(answer)
                self.apply(answer, expunges or (self.notify != "" and "DELAYED" not in self.notify))
            self.status(status)
            good = status.startswith(expect.encode())
            if not status.startswith(b"OK") and self.faults_allowed and b"[UNAVAILABLE]" in status:
                raise Ended("unavailable")
            if not status.startswith(b"OK") and self.box in PASSING and (b"[UNAVAILABLE]" in status or (b"[NONEXISTENT]" in status and (expect == "OK" or "STORE" in str(command)))):
                raise Ended("selected mailbox has gone")  # deleted by another while the command was on its way
            self.check(good or expect == "", f"{command[:80]!r}: {status!r}")
            results.append((untagged, status))
        return results

    # What is told

    def status(self, text: bytes) -> None:
        """A response code of a tagged or an untagged status."""
        found = re.search(rb"\[HIGHESTMODSEQ (\d+)\]", text)
        if found and self.uidvalidity:
            self.book.mailbox(self.uidvalidity, 0, int(found.group(1)), (0, self.synced))

    def apply(self, answer: bytes, expunges: bool) -> None:
        if answer.startswith(b"* BYE"):
            raise Ended(answer.decode(errors="replace"))
        if answer.startswith(b"* VANISHED"):
            self.vanished(answer)
            self.check(expunges or answer.startswith(b"* VANISHED (EARLIER)"), f"numbers change in a command that uses them: {answer!r}")
            return
        found = NUMBER.match(answer)
        if not found:
            return
        number, kind, rest = int(found.group(1)), found.group(2), found.group(3)
        if not self.uidvalidity and kind != b"EXISTS":
            self.check(kind == b"RECENT", f"{answer[:80]!r} with no mailbox selected")
            return
        if kind == b"EXISTS":
            self.check(number >= len(self.entries), f"EXISTS {number} where {len(self.entries)} are known")
            self.added += number - len(self.entries)
            self.entries += [Entry() for _ in range(number - len(self.entries))]
        elif kind == b"EXPUNGE":
            self.check(not self.vanishes, "EXPUNGE where VANISHED was enabled")
            self.check(expunges, f"numbers change in a command that uses them: {answer!r}")
            self.check(1 <= number <= len(self.entries), f"EXPUNGE {number} of {len(self.entries)}")
            entry = self.entries.pop(number - 1)
            if entry.uid is not None:
                self.gone.add(entry.uid)
                self.book.removed((self.uidvalidity, entry.uid))
        elif kind == b"FETCH":
            self.check(not self.uidonly, "FETCH where UIDONLY was enabled")
            self.check(1 <= number <= len(self.entries), f"FETCH {number} of {len(self.entries)}")
            uid = UID.search(rest)
            entry = self.entries[number - 1]
            if uid:
                self.uid_at(number - 1, int(uid.group(1)))
            self.fetched(entry, rest)
        elif kind == b"UIDFETCH":
            self.check(self.uidonly, "UIDFETCH where UIDONLY is not enabled")
            self.fetched(self.by_uid(number), rest)

    def uid_at(self, index: int, uid: int) -> None:
        entry = self.entries[index]
        self.check(entry.uid in (None, uid), f"number {index + 1} is UID {entry.uid}, then {uid}")
        if entry.uid is None:
            self.check(uid not in self.gone, f"UID {uid} was expunged and is back")
            entry.uid = uid
            below = next((e.uid for e in reversed(self.entries[:index]) if e.uid is not None), 0)
            above = next((e.uid for e in self.entries[index + 1:] if e.uid is not None), 1 << 32)
            self.check(below < uid < above, f"UID {uid} stands between {below} and {above}")

    def by_uid(self, uid: int) -> Entry:
        """Under UIDONLY no number is told: it is one of those that are known, or of those that are only counted."""
        for e in self.entries:
            if e.uid == uid:
                return e
        self.check(uid not in self.gone, f"UID {uid} was expunged and is back")
        for e in self.entries:
            if e.uid is None:
                e.uid = uid
                known = sorted((x for x in self.entries if x.uid is not None), key=lambda x: x.uid or 0)
                self.entries = known + [x for x in self.entries if x.uid is None]
                return e
        raise Violation(f"UIDFETCH {uid}, which is not among the {len(self.entries)} that are known")

    def fetched(self, entry: Entry, rest: bytes) -> None:
        flags, modseq, token, size = (p.search(rest) for p in (FLAGS, MODSEQ, TOKEN, SIZE))
        if modseq:
            m = int(modseq.group(1))
            self.check(m >= entry.modseq, f"UID {entry.uid}: MODSEQ {m} after {entry.modseq}")
            entry.modseq = m
        if flags:
            entry.flags = frozenset(f for f in flags.group(1).decode().split() if f != "\\Recent")
        if entry.uid is None:
            return
        key = (self.uidvalidity, entry.uid)
        self.book.message(key, entry.flags if flags else None, entry.modseq if modseq else None)
        if flags and key in self.own:
            self.check((self.keyword in (entry.flags or ())) == self.own[key], f"{key}: {self.keyword} should be {self.own[key]}")
        if token:
            self.book.identity(key, token.group(1).decode())
        if size and key in self.book.token:
            want = self.book.size.get(self.book.token[key])
            self.check(want in (None, int(size.group(1))), f"{key}: {size.group(1)!r} octets, of {want}")

    def vanished(self, answer: bytes) -> None:
        earlier = answer.startswith(b"* VANISHED (EARLIER)")
        uids = members_of(answer.split()[-1]) if not earlier or answer.split()[-1] != b"(EARLIER)" else []
        self.check(self.vanishes, "VANISHED where it is not enabled")
        self.check(uids == sorted(set(uids)), f"VANISHED out of order: {answer!r}")
        self.gone.update(uids)
        known = {e.uid: e for e in self.entries if e.uid is not None}
        taken = [known[u] for u in uids if u in known]
        for e in taken:
            self.book.removed((self.uidvalidity, e.uid or 0))
        dropped = set(map(id, taken))
        self.entries = [e for e in self.entries if id(e) not in dropped]
        if not earlier:
            # Of those whose UIDs were not asked for yet it is one that stands between the next UIDs that are known.
            for uid in uids:
                if uid in known:
                    continue
                if self.uidonly:  # no places are told
                    blank = [i for i, e in enumerate(self.entries) if e.uid is None]
                    self.check(bool(blank), f"VANISHED {uid}, which was never told of: {answer[:200]!r}")
                    del self.entries[blank[0]]
                    continue
                end = next((i for i, e in enumerate(self.entries) if e.uid is not None and e.uid > uid), len(self.entries))
                self.check(end > 0 and self.entries[end - 1].uid is None, f"VANISHED {uid}, which was never told of: {answer[:200]!r}")
                del self.entries[end - 1]
                # Which of several it was is not known, nor what is whose.
                for e in reversed(self.entries[:end - 1]):
                    if e.uid is not None:
                        break
                    e.modseq, e.flags = 0, None
