# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client that does at random what clients do."""

import random
import re
import threading
import time
import traceback

from stress.book import Book, Violation
from stress.view import PASSING, STEADY, TOKEN, UID, Ended, View, members_of, set_of

SYSTEM = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded", "$Junk")
MODES = {  # by the connection's number: what it enables, and what it wants to be notified of
    "plain": ("", ""),
    "condstore": ("CONDSTORE", ""),
    "qresync": ("QRESYNC", ""),
    "uidonly": ("UIDONLY CONDSTORE", ""),
    "rev2": ("IMAP4rev2 QRESYNC UTF8=ACCEPT", ""),
    "all": ("IMAP4rev2 QRESYNC UIDONLY", ""),
    "notify": ("QRESYNC", "(SELECTED (MessageNew (UID FLAGS MODSEQ) MessageExpunge FlagChange))"
                          " (PERSONAL (MessageNew MessageExpunge))"),
    "delayed": ("CONDSTORE", "(SELECTED-DELAYED (MessageNew (UID FLAGS) MessageExpunge FlagChange))"
                             " (INBOXES (MessageNew MessageExpunge FlagChange))"),
}


def letter(token: str, rng: random.Random) -> bytes:
    body = "x" * rng.choice((1, 10, 70)) + "\r\n"
    size = rng.choice((1, 1, 1, 20, 400, 3000))
    return (f"From: s@stress.test\r\nMessage-ID: <{token}@stress.test>\r\nSubject: {token} word{rng.randrange(9)}\r\n"
            f"\r\n" + body * size).encode()


def utf7(name: str) -> str:
    return {"Füße": "F&APwA3w-e"}.get(name, name)


class Actor(threading.Thread):
    """One connection after the other of one member, until `ending` is set."""

    def __init__(self, cohue, member, book: Book, number: int, seed: int, ending: threading.Event, faults: bool,
                 prefix: str = "") -> None:
        super().__init__(daemon=True)
        mode = list(MODES)[number % len(MODES)]
        self.rng = random.Random(seed * 1000 + number)
        self.label = f"{member.name}/{number} ({mode})"
        self.book, self.ending, self.faults = book, ending, faults
        self.view = View(cohue, member, book, str(number), *MODES[mode])
        self.view.faults_allowed = faults
        self.prefix = prefix
        self.letters = 0
        self.problem = ""
        self.done = 0
        self.doing: list[tuple[str, ...]] = []
        self.kept: dict[str, tuple[int, int, list]] = {}  # for QRESYNC: UIDVALIDITY, mod-sequence, entries of a box

    # Running

    def run(self) -> None:
        v = self.view
        try:
            while not self.ending.is_set():
                try:
                    v.connect()
                    while not self.ending.is_set():
                        self.step()
                        self.done += 1
                except Ended as end:
                    self.ended(end)
        except BaseException as problem:  # noqa: BLE001 (told by the main thread)
            history = "\n".join("   " + line.decode(errors="replace") for line in list(v.history)[-40:])
            where = "" if isinstance(problem, Violation) else traceback.format_exc()
            self.problem = f"{self.label}: {problem}\n{where}{history}"
            self.ending.set()

    def ended(self, end: Ended) -> None:
        told = str(end)
        v = self.view
        self.forget_doubtful()
        if not self.faults:
            v.check("selected mailbox has gone" in told, f"the connection ended: {told}")
            v.check(v.box not in STEADY, f"{v.box} has gone")
        v.close()
        if self.faults:
            time.sleep(self.rng.random() * 0.3)

    def forget_doubtful(self) -> None:
        """What a command was about that was not answered: it happened, or did not."""
        for kind, *what in self.doing:
            if kind == "own":
                v = self.view
                v.own.pop((int(what[0]), int(what[1])), None)
        self.doing = []

    def step(self) -> None:
        v = self.view
        if not v.box or self.rng.random() < 0.03:
            return self.select(self.rng.choice(STEADY * 3 + PASSING))
        if any(e.uid is None for e in v.entries) and (v.uidonly or v.notify or self.rng.random() < 0.7):
            return self.learn()
        weights = {self.fetch: 14, self.store: 16, self.store_if: 6, self.expunge: 4, self.uid_expunge: 4, self.append: 12,
                   self.copy: 5, self.move: 5, self.search: 8, self.sort: 3, self.idle: 3, self.noop: 10, self.status: 4,
                   self.pipeline: 5, self.close: 1, self.folders: 3, self.reconnect: 2, self.replace: 3, self.compare: 3,
                   self.listing: 1, self.thread_command: 1}
        # A mailbox of a size that is quick to compare.
        if len(v.entries) > 60:
            weights[self.append] = 1
            weights[self.shrink] = 30
        return self.rng.choices(list(weights), list(weights.values()))[0]()

    def run1(self, command, **more):
        return self.view.run(command, **more)[0]

    # Choosing

    def uids(self, most: int = 8) -> list[int]:
        known = [e.uid for e in self.view.entries if e.uid is not None]
        if not known:
            return []
        if self.rng.random() < 0.3:
            first = self.rng.randrange(len(known))
            return known[first:first + self.rng.randint(1, most)]
        return sorted(self.rng.sample(known, min(len(known), self.rng.randint(1, most))))

    def target(self) -> tuple[bool, str, list[int]]:
        """By UID or not, the set as written, the UIDs meant; no UIDs: nothing to do."""
        uids = self.uids()
        v = self.view
        if not uids:
            return True, "", []
        if v.uidonly or (v.notify and "DELAYED" not in v.notify) or self.rng.random() < 0.5:
            return True, set_of(uids), uids
        v.unasked()
        places = [i + 1 for i, e in enumerate(v.entries) if e.uid in set(uids)]
        known = [v.entries[i - 1].uid for i in places]
        return (False, set_of(places), [u for u in known if u is not None]) if places else (True, "", [])

    def flags(self) -> list[str]:
        return self.rng.sample(SYSTEM, self.rng.randint(1, 2))

    def key(self, uid: int) -> tuple[int, int]:
        return (self.view.uidvalidity, uid)

    def token(self) -> str:
        self.letters += 1
        return f"{self.prefix}{self.view.name}-{self.letters}"

    # Commands

    def select(self, box: str) -> None:
        v = self.view
        wire = box if v.rev2 else utf7(box)
        command = self.rng.choice(("SELECT", "SELECT", "SELECT", "EXAMINE"))
        kept = self.kept.pop(box, None) if v.vanishes and "QRESYNC" in v.enable else None
        parameters = ""
        if kept is not None:
            uids = [e.uid for e in kept[2] if e.uid is not None]
            known = f" {set_of(uids)}" if uids and self.rng.random() < 0.5 else ""
            parameters = f" (QRESYNC ({kept[0]} {kept[1]}{known}))"
        elif "CONDSTORE" in v.enable and self.rng.random() < 0.3:
            parameters = " (CONDSTORE)"
        if v.box:
            self.keep()
        v.deselect()
        if kept is not None:
            v.entries = [e for e in kept[2] if e.uid is not None]
        # What is told of the mailbox comes before EXISTS' numbers can be compared: the answers are applied here.
        v.say(b"s1 " + f'{command} "{wire}"{parameters}'.encode() + b"\r\n")
        untagged: list[bytes] = []
        while True:
            answer = v.hear()
            if answer.startswith(b"s1 "):
                break
            if answer.startswith(b"* BYE"):
                raise Ended(answer.decode())
            untagged.append(answer)
        # What stands before CLOSED is of the mailbox before.
        closed = max((i for i, a in enumerate(untagged) if b"[CLOSED]" in a), default=-1)
        untagged = untagged[closed + 1:]
        text = b"\n".join(a for a in untagged if a.startswith(b"* OK"))
        if not answer.startswith(b"s1 OK"):
            if self.faults and b"[UNAVAILABLE]" in answer:
                raise Ended("unavailable")
            v.check(box not in STEADY and b"[NONEXISTENT]" in answer, f"SELECT {box}: {answer!r}")
            v.deselect()
            if v.rev2 or self.rng.random() < 0.5:
                self.create(box)
            return
        exists = [int(a.split()[1]) for a in untagged if a.endswith(b" EXISTS")]
        v.check(len(exists) == 1, f"EXISTS of a SELECT: {exists}")
        number = {code: int(found.group(1)) if (found := re.search(code + rb" (\d+)", text)) else 0
                  for code in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ")}
        v.box, v.read_only, v.uidvalidity = box, command == "EXAMINE", number[b"UIDVALIDITY"]
        v.check(b"[READ-ONLY]" in answer if v.read_only else b"[READ-WRITE]" in answer, f"{answer!r}")
        v.check(all(number.values()), f"{number}")
        v.check(self.book.names.setdefault(v.uidvalidity, box) == box or box not in STEADY, f"UIDVALIDITY {v.uidvalidity} of {box} and "
                f"{self.book.names[v.uidvalidity]}")
        self.book.mailbox(v.uidvalidity, number[b"UIDNEXT"], number[b"HIGHESTMODSEQ"])
        if kept is None or kept[0] != v.uidvalidity:
            v.check(not any(b"VANISHED" in a or b" FETCH " in a for a in untagged), "changes of another mailbox")
            v.entries = []
            v.apply(b"* %d EXISTS" % exists[0], True)
            v.synced = 0
            return
        # Resynchronised: first what has gone, then the new ones, then what was changed.
        for a in untagged:
            if a.startswith(b"* VANISHED"):
                v.check(a.startswith(b"* VANISHED (EARLIER)"), f"{a!r}")
                v.apply(a, True)
        old = len(v.entries)
        v.check(exists[0] >= old, f"{exists[0]} messages, {old} of which were known and did not vanish")
        v.apply(b"* %d EXISTS" % exists[0], True)
        for a in untagged:
            if re.match(rb"\* \d+ (UID)?FETCH", a):
                v.apply(a, True)
        v.synced = number[b"HIGHESTMODSEQ"]
        self.compare()

    def keep(self) -> None:
        v = self.view
        if ("QRESYNC" in v.enable and v.synced and all(e.uid is not None for e in v.entries)
                and self.rng.random() < 0.8):
            self.kept[v.box] = (v.uidvalidity, v.synced, v.entries)

    def learn(self) -> None:
        """UIDs of what arrived."""
        v = self.view
        last = 0
        if not v.uidonly:
            blank = next((i for i, e in enumerate(v.entries) if e.uid is None), len(v.entries))
            last = max((e.uid for e in v.entries[:blank] if e.uid is not None), default=0)
        self.run1(f"UID FETCH {last + 1}:* (FLAGS{' MODSEQ' if 'UIDONLY' in v.enable else ''} RFC822.SIZE"
                  " BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")

    def fetch(self) -> None:
        by_uid, text, uids = self.target()
        if not uids:
            return
        v = self.view
        items = self.rng.choice(("FLAGS", "(UID FLAGS)", "(FLAGS MODSEQ)", "(UID FLAGS MODSEQ RFC822.SIZE)", "(UID ENVELOPE)", "FAST",
                                 "(UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", "(UID BODY.PEEK[])", "(UID BODYSTRUCTURE FLAGS)",
                                 "BODY[TEXT]", "(UID EMAILID PREVIEW)", "(MODSEQ BODY[HEADER])"))
        floors = {uid: self.book.latest.get(self.key(uid), 0) for uid in uids}
        answers, status = self.run1(f"{'UID ' if by_uid else ''}FETCH {text} {items}", expunges=by_uid)
        told = {}
        for a in answers:
            found = re.match(rb"\* (\d+) (FETCH|UIDFETCH) \(", a)
            if found:
                uid = UID.search(a) if found.group(2) == b"FETCH" else found
                if uid:
                    told[int(uid.group(1))] = a
        if "MODSEQ" in items and "UID" in items:
            for uid, a in told.items():
                found = re.search(rb"MODSEQ \((\d+)\)", a)
                if uid in floors and found:
                    v.check(int(found.group(1)) >= floors[uid], f"UID {uid}: MODSEQ {floors[uid]} was told before")
        if "BODY.PEEK[]" in items:
            for uid, a in told.items():
                found = TOKEN.search(a)
                if found:
                    size = int(re.search(rb"BODY\[\] \{(\d+)\}", a).group(1))
                    self.book.identity(self.key(uid), found.group(1).decode())
                    v.check(size == self.book.size.get(found.group(1).decode(), size), f"{found.group(1)!r} has {size} octets")

    def store_text(self, by_uid: bool, text: str, how: str) -> str:
        return f"{'UID ' if by_uid else ''}STORE {text} {how}"

    def store(self) -> None:
        v = self.view
        by_uid, text, uids = self.target()
        if not uids or v.read_only:
            return
        sign = self.rng.choice("+-")
        silent = self.rng.choice(("", "", ".SILENT"))
        kind = self.rng.random()
        keys = [self.key(u) for u in uids]
        if kind < 0.35 and v.box != "B":
            for k in keys:
                self.doing.append(("own", str(k[0]), str(k[1])))
                v.own.pop(k, None)
            self.run1(self.store_text(by_uid, text, f"{sign}FLAGS{silent} ({v.keyword})"), expunges=by_uid)
            present = {e.uid: e for e in v.entries}
            for k in keys:
                if k[1] in present:
                    v.own[k] = sign == "+"
                    flags = present[k[1]].flags
                    if flags is not None and not silent and (v.keyword in flags) != v.own[k]:
                        v.check(self.unsure(present[k[1]]), f"{k}: STORE {sign}{v.keyword} told of {sorted(flags)}")
                        del v.own[k]
                    elif silent and flags is not None:
                        present[k[1]].flags = None
            self.doing = []
            return
        if kind < 0.5:
            flags = ["\\Deleted"]
            if sign == "+":
                self.book.may_go(keys)
        else:
            flags = self.flags()
        if v.box == "B" and kind > 0.9:
            sign = ""
        self.run1(self.store_text(by_uid, text, f"{sign}FLAGS{silent} ({' '.join(flags)})"), expunges=by_uid)
        if silent:
            # A client that asked not to be told applies it itself; here it asks.
            for e in v.entries:
                if e.uid in uids:
                    e.flags = None

    def store_if(self) -> None:
        """UNCHANGEDSINCE: what was known to have changed since must be refused, what was refused must have changed."""
        v = self.view
        by_uid, text, uids = self.target()
        if not uids or v.read_only:
            return
        present = {e.uid: e for e in v.entries}
        since = self.rng.choice([present[u].modseq for u in uids] + [self.book.floor(v.uidvalidity)[1]]) or 1
        stale = {u for u in uids if present[u].modseq > since}
        answers, status = self.run1(self.store_text(by_uid, f"{text} (UNCHANGEDSINCE {since})", f"+FLAGS ({' '.join(self.flags())})"),
                                    expunges=by_uid, expect="")
        v.check(status.startswith(b"OK") or b"EXPUNGEISSUED" in status, f"{status!r}")
        found = re.search(rb"\[MODIFIED (\S+)\]", status)
        refused = set(members_of(found.group(1))) if found else set()
        if not by_uid:
            v.check(all(1 <= n <= len(v.entries) for n in refused), f"{status!r}")
            refused = {v.entries[n - 1].uid or 0 for n in refused}
        v.check(refused <= set(uids), f"MODIFIED {sorted(refused)} of {uids}")
        here = {e.uid for e in v.entries}
        v.check(stale & here <= refused | v.gone | self.doubly_gone(stale), f"changed since {since} and not refused: {sorted(stale - refused)}")
        if refused & here:
            answers, _ = self.run1(f"UID FETCH {set_of(sorted(refused & here))} (UID MODSEQ)")
            for a in answers:
                uid, modseq = UID.search(a) or re.match(rb"\* (\d+) UIDFETCH", a), re.search(rb"MODSEQ \((\d+)\)", a)
                if uid and modseq and int(uid.group(1)) in refused:
                    v.check(int(modseq.group(1)) > since, f"refused, but at {modseq.group(1)!r}, not after {since}")

    def doubly_gone(self, uids) -> set[int]:
        """Expunged, but this connection was not told yet."""
        with self.book.lock:
            return {u for u in uids if self.key(u) in self.book.removable}

    def expunge(self) -> None:
        if not self.view.read_only:
            self.run1("EXPUNGE")

    def uid_expunge(self) -> None:
        v = self.view
        uids = self.uids()
        if uids and not v.read_only:
            untouched = [u for u in uids if self.key(u) not in self.book.removable]
            answers, status = self.run1(f"UID EXPUNGE {set_of(uids)}")
            for u in untouched:
                v.check(u not in v.gone or self.may_be_gone(u), f"UID {u} was expunged; nobody marked it")

    def shrink(self) -> None:
        v = self.view
        uids = self.uids(40)
        if not uids or v.read_only:
            return self.select(self.rng.choice(STEADY))
        self.book.may_go([self.key(u) for u in uids])
        self.run1(f"UID STORE {set_of(uids)} +FLAGS.SILENT (\\Deleted)")
        for e in v.entries:
            if e.uid in uids:
                e.flags = None
        self.run1(f"UID EXPUNGE {set_of(uids)}")
        if not self.faults:
            here = {e.uid for e in v.entries}
            v.check(all(u not in here for u in uids if self.key(u) in self.book.gone), "told gone, but there")

    def box_name(self, steady: bool = False) -> str:
        return self.rng.choice(STEADY * 4 if steady else STEADY * 4 + PASSING)

    def wire(self, box: str) -> str:
        return f'"{box if self.view.rev2 else utf7(box)}"'

    def validity(self, box: str) -> int:
        """Of a steady mailbox, where somebody knows it."""
        with self.book.lock:
            return next((v for v, name in self.book.names.items() if name == box), 0) if box in STEADY else 0

    def append(self, count: int = 0) -> None:
        v = self.view
        box = self.box_name()
        count = self.rng.choice((1, 1, 1, 2, 5))
        tokens, parts = [], []
        for _ in range(count):
            token = self.token()
            octets = letter(token, self.rng)
            with self.book.lock:
                self.book.letters[token] = False
                self.book.size[token] = len(octets)
                if box not in STEADY:
                    self.book.fleeting.add(token)
            tokens.append(token)
            flags = " (" + " ".join(self.flags()) + ")" if self.rng.random() < 0.4 else ""
            parts.append(f"{flags} {{{len(octets)}+}}\r\n".encode() + octets)
        floor = self.book.floor(self.validity(box))[0] if self.validity(box) else 1
        answers, status = self.run1(f"APPEND {self.wire(box)}".encode() + b"".join(parts), expect="")
        if status.startswith(b"NO [TRYCREATE]"):
            return self.create(box)
        self.given(status, rb"APPENDUID (\d+) (\S+)\]", [tokens], floor)
        with self.book.lock:
            for token in tokens:
                self.book.letters[token] = True

    def given(self, status: bytes, pattern: bytes, tokens: list[list[str]], floor: int) -> list[int]:
        v = self.view
        found = re.search(pattern, status)
        v.check(found is not None and status.startswith(b"OK"), f"{status!r}")
        uids = members_of(found.group(2))
        v.check(len(uids) == len(tokens[0]), f"{status!r} for {len(tokens[0])}")
        for uid, token in zip(uids, tokens[0]):
            self.book.created((int(found.group(1)), uid), token, floor)
        return uids

    def copy(self, verb: str = "COPY") -> None:
        v = self.view
        by_uid, text, uids = self.target()
        if not uids or (verb == "MOVE" and v.read_only):
            return
        box = self.box_name()
        keys = [self.key(u) for u in uids]
        with self.book.lock:
            tokens = {self.book.token.get(k) for k in keys}
            known = all(tokens)
            if verb == "COPY" or not known:
                self.book.copied.update(t for t in tokens if t)
            if box not in STEADY:
                self.book.fleeting.update(t for t in tokens if t)
            if verb == "MOVE":
                self.book.removable.update(keys)
                self.book.moved.update(t for t in tokens if t)
        if not known:
            return self.learn_identity(uids)
        floor = self.book.floor(self.validity(box))[0] if self.validity(box) else 1
        answers, status = self.run1(f"{'UID ' if by_uid else ''}{verb} {text} {self.wire(box)}", expect="")
        if status.startswith(b"NO [TRYCREATE]"):
            return self.create(box)
        status = b"OK " + b"\n".join([a for a in answers if b"COPYUID" in a]) if verb == "MOVE" and status.startswith(b"OK") \
            and b"COPYUID" not in status else status
        found = re.search(rb"COPYUID (\d+) (\S+) (\S+)\]", status)
        v.check(status.startswith(b"OK") or b"EXPUNGEISSUED" in status or b"NO [CANNOT]" in status, f"{status!r}")
        if not found:
            return None
        sources, copies = members_of(found.group(2)), members_of(found.group(3))
        v.check(len(sources) == len(copies) and set(sources) <= set(uids), f"{status!r} of {uids}")
        validity = int(found.group(1))
        with self.book.lock:
            for source, made in zip(sources, copies):
                self.book.created((validity, made), self.book.token.get(self.key(source)), floor)
                if self.key(source) in self.book.removable:
                    self.book.removable.add((validity, made))
        if verb == "MOVE" and not self.faults:
            here = {e.uid for e in v.entries}
            v.check(not here & set(sources), f"moved, but still there: {sorted(here & set(sources))}")
        return None

    def learn_identity(self, uids: list[int]) -> None:
        self.run1(f"UID FETCH {set_of(uids)} (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")

    def move(self) -> None:
        self.copy("MOVE")

    def replace(self) -> None:
        v = self.view
        uids = self.uids(1)
        if not uids or v.read_only:
            return
        token = self.token()
        octets = letter(token, self.rng)
        with self.book.lock:
            self.book.letters[token] = False
            self.book.size[token] = len(octets)
            self.book.removable.add(self.key(uids[0]))
        box = self.box_name(steady=True)
        answers, status = self.run1(f"UID REPLACE {uids[0]} {self.wire(box)} {{{len(octets)}+}}\r\n".encode() + octets, expect="")
        if status.startswith(b"OK"):
            told = b"\n".join([status, *answers])
            self.given(b"OK " + told, rb"APPENDUID (\d+) (\S+)\]", [[token]], 1)
            v.check(all(e.uid != uids[0] for e in v.entries), f"UID {uids[0]} was replaced and is still there")
            with self.book.lock:
                self.book.letters[token] = True
        else:
            v.check(b"EXPUNGEISSUED" in status or b"NONEXISTENT" in status or b"NO" in status, f"{status!r}")

    def found(self, answers: list[bytes]) -> list[int]:
        """Of SEARCH or SORT, in either form."""
        for a in answers:
            if a.startswith((b"* SEARCH", b"* SORT")):
                return [int(n) for n in re.sub(rb" ?\(MODSEQ \d+\)", b"", a).split()[2:]]
            if a.startswith(b"* ESEARCH"):
                found = re.search(rb" ALL (\S+)", a)
                return members_of(found.group(1)) if found else []
        raise Violation(f"no result in {answers!r}")

    def search(self) -> None:
        v = self.view
        numbers = not (v.uidonly or (v.notify and "DELAYED" not in v.notify)) and self.rng.random() < 0.5
        if numbers:
            v.unasked()
        before, added = list(v.entries), v.added
        choice = self.rng.randrange(4)
        modseq = self.rng.choice([e.modseq for e in v.entries] or [1]) or 1
        keys = ("ALL", "SEEN", f"MODSEQ {modseq}", "SUBJECT word1 NOT DELETED")[choice]
        answers, _ = self.run1(f"{'' if numbers else 'UID '}SEARCH {'RETURN (ALL) ' if self.rng.random() < 0.4 else ''}{keys}", expunges=not numbers)
        found = self.found(answers)
        v.check(found == sorted(set(found)), f"SEARCH out of order: {found}")
        if numbers:
            v.check(all(1 <= n <= len(before) + v.added - added for n in found), f"SEARCH found {found[-3:]} of {len(before)}")
            there = set(found)
        else:
            unknown = sum(e.uid is None for e in before) + v.added - added
            more = [u for u in found if u not in {e.uid for e in before}]
            v.check(len(more) <= unknown, f"SEARCH found {more}, which were never told of")
            there = set(found)
        for i, e in enumerate(before):
            name = i + 1 if numbers else e.uid
            if name is not None and (choice == 0 or (choice == 2 and e.modseq >= modseq)):
                v.check(name in there or self.unsure(e), f"SEARCH {keys} did not find {name}")

    def unsure(self, entry) -> bool:
        return entry.uid is None or self.may_be_gone(entry.uid)

    def may_be_gone(self, uid: int) -> bool:
        """Whoever copied a message that was marked notes it when the answer comes: that is waited for."""
        for _ in range(100):
            if self.key(uid) in self.book.removable:
                return True
            time.sleep(0.05)
        return False

    def sort(self) -> None:
        v = self.view
        numbers = not (v.uidonly or (v.notify and "DELAYED" not in v.notify)) and self.rng.random() < 0.5
        if numbers:
            v.unasked()
        before, added = list(v.entries), v.added
        answers, _ = self.run1(f"{'' if numbers else 'UID '}SORT ({self.rng.choice(('ARRIVAL', 'REVERSE SIZE', 'SUBJECT', 'REVERSE DATE'))}) UTF-8 ALL",
                               expunges=not numbers)
        found = self.found(answers)
        v.check(len(found) == len(set(found)) <= len(before) + v.added - added, f"SORT: {len(found)} of {len(before)}")
        for i, e in enumerate(before):
            v.check((i + 1 if numbers else e.uid) in found or self.unsure(e), f"SORT left out {i + 1} (UID {e.uid})")

    def thread_command(self) -> None:
        v = self.view
        before, added = list(v.entries), v.added
        answers, _ = self.run1(f"UID THREAD {self.rng.choice(('REFERENCES', 'ORDEREDSUBJECT'))} UTF-8 ALL")
        found = [int(n) for a in answers if a.startswith(b"* THREAD") for n in re.findall(rb"\d+", a)]
        v.check(len(found) == len(set(found)) <= len(before) + v.added - added, f"THREAD: {len(found)} of {len(before)}")
        v.check(all(e.uid in found or self.unsure(e) for e in before), "THREAD left one out")

    def noop(self) -> None:
        v = self.view
        high = v.synced
        with self.book.lock:
            mine = dict(self.book.latest)
        self.run1(self.rng.choice(("NOOP", "NOOP", "CHECK")))
        # Everything that was told to anyone before is told now, unless it has gone, which this connection may have still to hear.
        behind = [e.uid for e in v.entries if e.uid is not None and e.modseq and ("CONDSTORE" in v.enable or v.vanishes)
                  and e.modseq < mine.get(self.key(e.uid), 0)]
        if behind:
            answers, _ = self.run1(f"UID FETCH {set_of(behind)} (UID MODSEQ)")
            there = {int((UID.search(a) or found).group(1)) for a in answers if (found := re.match(rb"\* (\d+) (?:UID)?FETCH", a))}
            v.check(not there & set(behind), f"NOOP did not tell what has changed of UIDs {sorted(there & set(behind))}, as others were told")
        if "QRESYNC" in v.enable:
            v.synced = max([high, v.synced] + [e.modseq for e in v.entries])

    def idle(self) -> None:
        v = self.view
        if v.box:
            v.unasked()
        v.say(b"i IDLE\r\n")
        until = time.monotonic() + self.rng.random() * 0.2
        idling = False
        v.line.socket.settimeout(40)
        while not (answer := v.hear()).startswith(b"i "):
            if answer.startswith(b"+") and not idling:
                idling = True
                while time.monotonic() < until:
                    v.unasked(idle=True)
                    time.sleep(0.02)
                v.say(b"DONE\r\n")
            else:
                v.apply(answer, True)
        v.check(answer.startswith(b"i OK"), f"{answer!r}")

    def status(self) -> None:
        v = self.view
        box = self.box_name()
        validity = self.validity(box)
        floor = self.book.floor(validity) if validity else (0, 0)
        answers, status = self.run1(f"STATUS {self.wire(box)} (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ UNSEEN SIZE)", expect="")
        if status.startswith(b"NO [NONEXISTENT]"):
            return v.check(box not in STEADY, f"{box}: {status!r}")
        told = [a for a in answers if a.startswith(b"* STATUS") and b"HIGHESTMODSEQ" in a and b"SIZE" in a]
        v.check(status.startswith(b"OK") and len(told) == 1, f"{told} {status!r}")
        n = {k: int(re.search(k.encode() + rb" (\d+)", told[0]).group(1)) for k in ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ", "UNSEEN")}
        v.check(n["UNSEEN"] <= n["MESSAGES"] < n["UIDNEXT"], f"{told}")
        if validity:
            v.check(n["UIDVALIDITY"] == validity, f"{box}: UIDVALIDITY was {validity}, is {n['UIDVALIDITY']}")
            self.book.mailbox(validity, n["UIDNEXT"], n["HIGHESTMODSEQ"], floor)
        return None

    def pipeline(self) -> None:
        """Several commands by number at once: the numbers stand still through all of them."""
        v = self.view
        if v.uidonly or (v.notify and "DELAYED" not in v.notify) or not v.entries:
            return
        v.unasked()
        count = len(v.entries)
        some = self.rng.randint(1, count)
        commands = [f"FETCH {some}:{count} (UID FLAGS)", f"SEARCH 1:{count}", f"STORE {some} +FLAGS (\\Seen)", f"FETCH {count} (UID RFC822.SIZE)",
                    f"FETCH 1:{some} (FLAGS)"]
        if v.read_only:
            del commands[2]
        self.rng.shuffle(commands)
        v.run(*commands[:self.rng.randint(2, len(commands))], expunges=False)

    def close(self) -> None:
        v = self.view
        command = self.rng.choice(("CLOSE", "UNSELECT"))
        if v.box:
            self.keep()
        if command == "CLOSE" and not v.read_only:
            self.kept.pop(v.box, None)
        self.run1(command)
        v.deselect()

    def create(self, box: str) -> None:
        if box in STEADY:
            return
        _, status = self.run1(f"CREATE {self.wire(box)}", expect="")
        self.view.check(status.startswith(b"OK") or b"ALREADYEXISTS" in status, f"{status!r}")

    def folders(self) -> None:
        v = self.view
        box = self.rng.choice(PASSING)
        kind = self.rng.randrange(3)
        if kind == 0:
            return self.create(box)
        if kind == 1:
            other = self.rng.choice(PASSING)
            _, status = self.run1(f"RENAME {self.wire(box)} {self.wire(other)}", expect="")
            v.check(status[:2] in (b"OK", b"NO"), f"{status!r}")
            return None
        answers, status = self.run1(f"STATUS {self.wire(box)} (UIDVALIDITY)", expect="")
        found = re.search(rb"UIDVALIDITY (\d+)", b"\n".join(a for a in answers if a.startswith(b"* STATUS")))
        if not found:
            return None
        if v.box == box or v.uidvalidity == int(found.group(1)):
            self.run1("UNSELECT")
            v.deselect()
        _, status = self.run1(f"DELETE {self.wire(box)}", expect="")
        v.check(status[:2] == b"OK" or b"NONEXISTENT" in status, f"{status!r}")
        return None

    def listing(self) -> None:
        answers, _ = self.run1('LIST "" * RETURN (STATUS (MESSAGES UIDNEXT))')
        names = [a.rpartition(b'"/" ')[2] for a in answers if a.startswith(b"* LIST")]
        self.view.check(len(names) == len(set(names)), f"{names}")
        self.view.check({b"INBOX", b"A", b"B"} <= {n.strip(b'"') for n in names}, f"{names}")

    def reconnect(self) -> None:
        v = self.view
        if v.box:
            self.keep()
        if self.rng.random() < 0.5:
            v.say(b"z LOGOUT\r\n")
        v.close()
        v.connect()

    def compare(self) -> None:
        """All of the mailbox: what was told piece by piece is what is told at once."""
        v = self.view
        self.run1("NOOP")
        known = {e.uid: (e.flags, e.modseq) for e in v.entries if e.uid is not None}
        synced = max([v.synced] + [e.modseq for e in v.entries])
        with self.book.lock:
            floors = dict(self.book.latest)
        count = len(v.entries)
        answers, _ = self.run1("UID FETCH 1:* (UID FLAGS MODSEQ)")
        told = []
        for a in answers:
            found = re.match(rb"\* (\d+) (?:UID)?FETCH", a)
            if not found:
                continue
            uid = int((UID.search(a) or found).group(1))
            modseq = int(re.search(rb"MODSEQ \((\d+)\)", a).group(1)) if b"MODSEQ" in a else 0
            flags = frozenset(f for f in re.search(rb"FLAGS \(([^)]*)\)", a).group(1).decode().split() if f != "\\Recent") if b"FLAGS" in a else None
            told.append(uid)
            v.check(modseq == 0 or modseq >= floors.get(self.key(uid), 0), f"UID {uid}: MODSEQ {modseq}, others were told {floors.get(self.key(uid))}")
            if uid in known and known[uid][0] is not None and known[uid][1] and modseq == known[uid][1]:
                v.check(flags == known[uid][0], f"UID {uid}: {known[uid][0]} was told, {flags} is true, both at {modseq}")
            if uid in known and v.synced and known[uid][1] and modseq <= v.synced and known[uid][1] != modseq:
                raise Violation(f"UID {uid}: at {modseq}, told {known[uid][1]}, though all up to {v.synced} was said to be told")
        v.check(set(told) <= {e.uid for e in v.entries} | v.gone, "UIDs that were not counted")
        v.check(count >= 0 and synced >= 0, "")
        v.check(all(e.uid in told or self.unsure(e) for e in v.entries[:count]), "messages that are counted, but not there")
