#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many connections of several members at once, on a house of its own, and strangers who send meanwhile.

    stress.py [--seconds N] [--seed N] [--members N] [--connections N] [--kill]

Every answer is checked as it comes (view.py, actor.py) against what the connection was told before and what others were told (book.py).
Some connections ask for much and read little (stall.py).
At the end all connections, a fresh one and one after a restart must see the same mailboxes, and nothing is lost or doubled.
--kill: the session's workers, the store and the whole house are killed at random meanwhile. The seed makes the same choices,
though not the same interleaving; it is told with each failure."""

import argparse
import pathlib
import random
import re
import smtplib
import sys
import threading
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from harness.cohue import Cohue  # noqa: E402
from harness.wait import wait_until  # noqa: E402
from stress.actor import Actor, letter  # noqa: E402
from stress.book import Book, Violation  # noqa: E402
from stress.stall import Staller  # noqa: E402
from stress.view import STEADY, Ended, View  # noqa: E402

VICTIMS = ("session", "store", "session", "gate-member", "opener", "mixer", "")


class Sender(threading.Thread):
    """A stranger on port 25."""

    def __init__(self, cohue, books: list, seed: int, ending: threading.Event, prefix: str) -> None:
        super().__init__(daemon=True)
        self.cohue, self.books, self.ending, self.prefix = cohue, books, ending, prefix
        self.rng = random.Random(seed)
        self.sent = 0

    def run(self) -> None:
        number = 0
        while not self.ending.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.cohue.port(25), timeout=20, local_hostname="s.test") as client:
                    for _ in range(5):
                        number += 1
                        token = f"{self.prefix}in-{number}"
                        member, book = self.rng.choice(self.books)
                        with book.lock:
                            book.letters[token] = False
                        client.sendmail("s@stress.test", [member.address], letter(token, self.rng))
                        with book.lock:
                            book.letters[token] = True
                        self.sent += 1
                        time.sleep(self.rng.random() * 0.1)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.1)


class Killer(threading.Thread):
    def __init__(self, cohue, seed: int, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self.cohue, self.ending = cohue, ending
        self.rng = random.Random(seed)
        self.kills: list[str] = []
        self.problem = ""

    def run(self) -> None:
        try:
            while not self.ending.wait(0.7 + self.rng.random() * 2):
                victim = self.rng.choice(VICTIMS)
                self.kills.append(victim or "all")
                if not victim:
                    self.cohue.kill()
                    self.cohue.start()
                    continue
                pids = self.cohue.role_pids(victim)
                if pids:
                    self.cohue.kill_role(victim)
                    self.cohue.wait_role(victim, pids, 30)
        except BaseException as problem:  # noqa: BLE001
            self.problem = f"killing {self.kills[-1:]}: {problem}"
            self.ending.set()


class Stress:
    def __init__(self, cohue, members, connections: int, seed: int, kill: bool) -> None:
        self.cohue, self.seed = cohue, seed
        self.ending = threading.Event()
        self.books = [(m, Book()) for m in members]
        self.prefix = f"{seed}-"
        self.actors = [Actor(cohue, m, book, n + i, seed, self.ending, kill, self.prefix)
                       for i, (m, book) in enumerate(self.books) for n in range(connections)]
        self.sender = Sender(cohue, self.books, seed, self.ending, self.prefix)
        self.stallers = [Staller(cohue, m, n, seed, self.ending, kill) for m, _ in self.books for n in range(2)]
        self.killer = Killer(cohue, seed, self.ending) if kill else None
        self.told = ""

    def run(self, seconds: float) -> None:
        """Raises Violation."""
        for m, book in self.books:
            first = View(self.cohue, m, book, "first")
            first.connect()
            for box in STEADY[1:]:
                first.run(f"CREATE {box}")
            first.close()
        start = time.monotonic()
        others = [t for t in (self.sender, self.killer, *self.stallers) if t is not None]
        for thread in [*self.actors, *others]:
            thread.start()
        self.ending.wait(seconds)
        self.ending.set()
        for thread in [*self.actors, *others]:
            thread.join(90)
            if thread.is_alive():
                raise Violation(f"seed {self.seed}: {getattr(thread, 'label', 'a thread')} hangs")
        took = time.monotonic() - start
        problems = [t.problem for t in [*self.actors, *self.stallers, self.killer] if t is not None and t.problem]
        if problems:
            raise Violation(f"seed {self.seed}:\n" + "\n".join(problems))
        self.compare()
        done = sum(a.done for a in self.actors)
        checks = sum(book.checks for _, book in self.books)
        self.told = (f"seed {self.seed}: {len(self.books)} members, {len(self.actors)} connections, {sum(a.view.commands for a in self.actors)} "
                     f"commands in {done} steps, {done / took:.0f} a second, {checks} checks, {self.sender.sent} arrivals, "
                     f"{sum(t.stalls for t in self.stallers)} connections that read nothing for a while"
                     + (f", {len(self.killer.kills)} kills" if self.killer else ""))

    def compare(self) -> None:
        try:
            for m, book in self.books:
                arrived = wait_until(lambda m=m, book=book: self.settled(m, book), 40, "all that was accepted to arrive", pause=0.2)
                assert arrived
                for actor in self.actors:
                    if actor.view.member is m and actor.view.line is not None and actor.view.box:
                        self.last_look(actor, arrived)
                    actor.view.close()
            before = {m.name: self.state(m, book) for m, book in self.books}
            for m, book in self.books:
                self.account(book, before[m.name])
            self.cohue.restart()
            for m, book in self.books:
                after = self.state(m, book)
                for box in set(before[m.name]) | set(after):
                    book.check(before[m.name].get(box) == after.get(box),
                               f"{m.name}: {box} before and after a restart:\n{before[m.name].get(box)}\n{after.get(box)}")
        except (Violation, AssertionError, Ended) as problem:
            raise Violation(f"seed {self.seed}, at the end: {problem!r}") from problem

    def state(self, member, book: Book) -> dict[str, tuple]:
        """Of each mailbox: UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ, and the messages: UID, flags, mod-sequence, letter."""
        view = View(self.cohue, member, book, "last", "CONDSTORE")
        view.connect()
        found: dict[str, tuple] = {}
        (listed, _), = view.run('LIST "" *')
        for answer in listed:
            if b"\\Noselect" in answer or b"\\NonExistent" in answer:
                continue
            box = answer.rpartition(b'"/" ')[2].strip(b'"').decode()
            view.deselect()
            (told, _), = view.run(f'EXAMINE "{box}"')
            text = b" ".join(told)
            number = {c: int(re.search(c + rb" (\d+)", text).group(1)) for c in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ")}
            view.box, view.uidvalidity = box, number[b"UIDVALIDITY"]
            (answers, _), = view.run("FETCH 1:* (UID FLAGS MODSEQ RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", expect="")
            messages = []
            for a in answers:
                m = re.match(rb"\* \d+ FETCH", a)
                if m:
                    token = re.search(rb"Message-ID: <([^@>]+)@", a)
                    messages.append((int(re.search(rb"\bUID (\d+)", a).group(1)), tuple(sorted(re.search(rb"FLAGS \(([^)]*)\)", a).group(1).split())),
                                     int(re.search(rb"MODSEQ \((\d+)\)", a).group(1)), token.group(1).decode() if token else "",
                                     int(re.search(rb"RFC822.SIZE (\d+)", a).group(1))))
            found[box] = (number[b"UIDVALIDITY"], number[b"UIDNEXT"], number[b"HIGHESTMODSEQ"], tuple(messages))
        view.close()
        return found

    def settled(self, member, book: Book):
        """The state, once all that was accepted on port 25 is in it, or may have gone."""
        state = self.state(member, book)
        return state if not self.missing(book, state) else None

    def missing(self, book: Book, state: dict[str, tuple]) -> set[str]:
        there = {message[3] for box in state.values() for message in box[3]}
        with book.lock:
            excused = {book.token[k] for k in book.removable if k in book.token} | book.fleeting
            # Nobody learned which letter it was before it went.
            unknown = any(k not in book.token for k in book.removable)
            return {t for t, sure in book.letters.items() if sure and t not in there and t not in excused
                    and not (unknown and "in-" in t)}

    def account(self, book: Book, state: dict[str, tuple]) -> None:
        missing = self.missing(book, state)
        book.check(not missing, f"lost: {sorted(missing)[:10]}")
        seen: dict[str, int] = {}
        for box, (validity, uidnext, high, messages) in state.items():
            uids = [message[0] for message in messages]
            book.check(uids == sorted(set(uids)) and (not uids or uids[-1] < uidnext), f"{box}: {uids} below {uidnext}")
            floor = book.floor(validity)
            book.check(uidnext >= floor[0] and high >= floor[1], f"{box}: {uidnext} {high}, told {floor}")
            for uid, flags, modseq, token, size in messages:
                key = (validity, uid)
                book.check(key not in book.gone, f"{box}: UID {uid} was told to be gone, and is there")
                book.check(modseq <= high, f"{box}: UID {uid} at {modseq}, beyond {high}")
                book.check(modseq >= book.latest.get(key, 0), f"{box}: UID {uid} at {modseq}, {book.latest.get(key)} was told")
                book.message(key, frozenset(f.decode() for f in flags), modseq)
                if token:
                    book.identity(key, token)
                    book.check(book.size.get(token, size) == size, f"{token} has {size} octets")
                    book.check(token in book.letters, f"{token} was never sent")
                    seen[token] = seen.get(token, 0) + 1
        twice = {t: n for t, n in seen.items() if n > 1 and t not in book.copied}
        book.check(not twice, f"there more than once: {twice}")
        for key in book.answered:
            box = next((b for b in state.values() if b[0] == key[0]), None)
            if box is not None and key not in book.removable and book.token.get(key) not in book.fleeting:
                book.check(any(message[0] == key[1] for message in box[3]), f"{key} ({book.token.get(key)}) was given and is not there")

    def last_look(self, actor: Actor, state: dict[str, tuple]) -> None:
        """What this connection was told all along is what a fresh one sees."""
        view = actor.view
        try:
            if view.read_only or any(e.uid is None for e in view.entries):
                actor.learn()
            view.run("NOOP")
            if any(e.uid is None for e in view.entries):
                actor.learn()
                view.run("NOOP")
        except Ended:
            return  # its mailbox has gone, or its worker was killed
        box = next((b for b in state.values() if b[0] == view.uidvalidity), None)
        if box is None:
            return
        view.check([e.uid for e in view.entries] == [message[0] for message in box[3]],
                   f"{actor.label} sees {[e.uid for e in view.entries]}, a fresh one {[message[0] for message in box[3]]}")
        for e, (uid, flags, modseq, _, _) in zip(view.entries, box[3]):
            told = frozenset(f.decode() for f in flags)
            view.check(e.flags in (None, told), f"{actor.label}: UID {uid} has {sorted(told)}, told {sorted(e.flags or [])}\n"
                       + "\n".join(h.decode(errors="replace") for h in list(view.history)[-40:]))
            view.check(not e.modseq or e.modseq == modseq or e.flags is None, f"{actor.label}: UID {uid} at {modseq}, told {e.modseq}")


def stress(seconds: float, seed: int, members: int = 3, connections: int = 8, kill: bool = False) -> Stress:
    with Cohue() as cohue:
        run = Stress(cohue, [cohue.add_member(f"member{n}") for n in range(members)], connections, seed, kill)
        try:
            run.run(seconds)
        except Violation as problem:
            raise Violation(f"{problem}\n{cohue.told()}") from problem
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8, help="of each member")
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    try:
        print(stress(options.seconds, options.seed, options.members, options.connections, options.kill).told)
    except Violation as problem:
        print(problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
