# SPDX-License-Identifier: AGPL-3.0-or-later
"""The public rule of the waiting room, as an observer works it out from what he sees: which letters leave at which tick.
Written from the law's description, not from the server's code. One size class, one recipient a letter, normal lane."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Letter:
    """What is seen of one: who sent, when it was taken, and how large it was."""
    who: str
    time: float
    octets: int
    number: int = -1


def share(counts: list[int], k: int) -> int:
    """The largest x with which nobody has more than 1/k of what leaves; 0: there is none."""
    best = 0
    for x in range(1, max(counts, default=0) + 1):
        if sum(min(c, x) for c in counts) >= k * x:
            best = x
    return best


def batches(letters: list[Letter], clock: float, k: int, deadline: float, until: float) -> dict[int, list[Letter]]:
    """Tick (its number since 1970) -> the letters that leave then, in order of arrival."""
    todo = sorted(letters, key=lambda letter: letter.time)
    found: dict[int, list[Letter]] = {}
    if not todo:
        return found
    waiting: list[Letter] = []
    capped: set[int] = set()  # ids of those once held back by their sender's share
    at = 0
    tick = int(todo[0].time // clock)
    while tick * clock <= until:
        now = tick * clock
        while at < len(todo) and todo[at].time <= now:
            waiting.append(todo[at])
            at += 1
        counts: dict[str, int] = {}
        for letter in waiting:
            counts[letter.who] = counts.get(letter.who, 0) + 1
        overdue = [letter for letter in waiting if now - letter.time > deadline]
        x = share(list(counts.values()), k)
        if x > 0:
            taken: dict[str, int] = {}
            leaving = []
            for letter in waiting:
                if taken.get(letter.who, 0) < x:
                    taken[letter.who] = taken.get(letter.who, 0) + 1
                    leaving.append(letter)
                elif id(letter) in capped and letter in overdue:
                    leaving.append(letter)
                else:
                    capped.add(id(letter))
        elif any(id(letter) not in capped for letter in overdue):
            leaving = [letter for letter in waiting if id(letter) not in capped or letter in overdue]
        else:
            leaving = [letter for letter in overdue if id(letter) in capped]
        if leaving:
            found[tick] = leaving
            gone = set(map(id, leaving))
            waiting = [letter for letter in waiting if id(letter) not in gone]
        tick += 1
    return found
