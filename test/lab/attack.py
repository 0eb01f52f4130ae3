# SPDX-License-Identifier: AGPL-3.0-or-later
"""Links submissions to deliveries, and arrivals to fetches, from what a capture shows and what is public.

In theory the order inside a batch says nothing: whoever is guessed with the share p of a batch is right with the chance p, and
all assignments of a batch's senders to its deliveries are equally likely. So each attacker, however clever, has an exact
distribution of successes to be compared with: that of his own guesses, when the truth is shuffled within each batch.
"""

import bisect
import dataclasses
import math
import random
from typing import Callable

from lab import rule
from lab.line import Capture, Connection
from lab.rule import Letter
from lab.world import Place, Plan, Seen, Truth

STEP = 61000  # octets of a submission: from here on it is of the second size class
STEP_OUT = 130000  # and of a delivery, padded
BODY = 400  # octets: no command of a mail program is a larger record, and no letter a smaller one


@dataclasses.dataclass
class Sent:
    """A letter on its way in, as seen from outside."""
    place: Place
    letter: Letter
    sight: dict[str, float]


@dataclasses.dataclass
class Went:
    """What became of one, as seen: a delivery, or a fetch."""
    place: Place
    tick: int
    time: float
    sight: dict[str, float]
    host: str = ""  # a delivery's other end: the house's ports come again, towards other hosts


@dataclasses.dataclass
class Batch:
    candidates: list[Sent]  # by the public rule
    seen: list[Went]
    truth: list[str]  # for each of the seen: who it was
    real: list[Sent | None]  # and which: of those that the capture shows


@dataclasses.dataclass
class Score:
    name: str
    hits: int = 0
    theory: float = 0.0  # hits to expect
    variance: float = 0.0

    def ratio(self) -> float:
        return self.hits / self.theory if self.theory > 0 else math.inf if self.hits else 1.0

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """The ratio's 95 % confidence interval; what is measured may vary as little as theory, or as a sum of rare hits."""
        if self.theory <= 0:
            return 0.0, math.inf
        spread = z * math.sqrt(max(self.variance, self.hits)) / self.theory
        return max(0.0, self.ratio() - spread), self.ratio() + spread

    def p(self) -> float:
        """How likely so many hits or more are in theory: a sum of rare, nearly independent ones."""
        return poisson_tail(self.hits, self.theory)


def poisson_tail(hits: int, mean: float) -> float:
    if hits == 0:
        return 1.0
    if mean <= 0:
        return 0.0
    term = math.exp(hits * math.log(mean) - mean - math.lgamma(hits + 1))
    total, n = 0.0, hits
    while term > total * 1e-12 or n < mean:
        total += term
        n += 1
        term *= mean / n
    return min(1.0, total)


def taken(connection: Connection) -> tuple[float, int] | None:
    """When the house took the letter of this connection, and how many octets came in."""
    body = [r.time for r in connection.up.data() if r.size >= BODY]
    if not body:
        return None
    answers = [r.time for r in connection.down.data() if r.time > body[-1]]
    return (answers[0], connection.up.octets()) if answers else None


def letters_in(capture: Capture, seen: Seen, port: int) -> list[Sent]:
    found = []
    for c in capture.connections:
        if c.server == (seen.house, port) and (when := taken(c)):
            body = [r for r in c.up.data() if r.size >= BODY]
            found.append(Sent(c.client, Letter(c.client[0], *when, number=len(found)),
                              {"entered": when[0], "octets": when[1], "begun": c.begun, "records": len(body),
                               "packets": len(c.up.packets), "who": float(int(c.client[0].rpartition(".")[2]))}))
    return found


def deliveries(capture: Capture, seen: Seen, clock: float) -> list[Went]:
    asked: dict[str, list[float]] = {}
    for q in capture.questions:
        if q.name in seen.names:
            asked.setdefault(seen.names[q.name], []).append(q.time)
    found = []
    for c in capture.connections:
        if c.client[0] == seen.house and c.server[1] == 25:
            dns = asked.get(c.server[0], [])
            # The first question since the tick; there is none where the answer was at hand.
            at = bisect.bisect_left(dns, c.begun // clock * clock)
            data = c.up.data()
            found.append(Went(c.client, int(c.begun // clock), c.begun, {
                "begun": c.begun, "ended": c.ended(), "asked": min([c.begun, *dns[at:at + 1]]),
                "lasted": c.ended() - c.begun, "octets": c.up.octets(), "packets": len(c.up.packets),
                "records": len(data), "largest": max((r.size for r in data), default=0),
                "back": c.down.octets(), "where": float(int(c.server[0].rpartition(".")[2]))}, c.server[0]))
    return found


def fetches(capture: Capture, seen: Seen, clock: float) -> list[Went]:
    """Each tick in which a connection to a mailbox says something by itself."""
    found = []
    for c in capture.connections:
        if c.server != (seen.house, 993):
            continue
        ticks: dict[int, list[tuple[float, int]]] = {}
        for r in c.up.data():
            ticks.setdefault(int(r.time // clock), []).append((r.time, r.size))
        for tick, said in ticks.items():
            back = [r for r in c.down.data() if said[0][0] <= r.time < (tick + 1) * clock]
            found.append(Went(c.client, tick, said[0][0], {
                "begun": said[0][0], "octets": sum(r.size for r in back), "records": len(back),
                "ended": max([said[0][0]] + [r.time for r in back]), "where": float(int(c.client[0].rpartition(".")[2]))}))
    return found


def predicted(letters: list[Sent], clock: float, k: int, deadline: float, until: float, counts: dict[int, int],
              stayed: frozenset[Place] = frozenset()) -> dict[int, list[Sent]]:
    """The rule, with the little that a letter enters before its sender is told so: what fits the batches' sizes best."""
    best: tuple[int, dict[int, list[Letter]]] | None = None
    for early in (0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08):
        batches = rule.batches([dataclasses.replace(s.letter, time=s.letter.time - early, number=n)
                                for n, s in enumerate(letters)], clock, k, deadline, until)
        fit = sum(counts.get(tick, 0) == sum(letters[one.number].place not in stayed for one in batch)
                  for tick, batch in batches.items())
        if best is None or fit > best[0]:
            best = fit, batches
    return {tick: [letters[letter.number] for letter in batch] for tick, batch in best[1].items()}


# Guesses: for each that is seen of a batch, who.

def likeliest(chance: random.Random) -> Callable[[Batch], list[str]]:
    """What the public rule alone gives: whoever has the largest share."""
    def guess(batch: Batch) -> list[str]:
        counts: dict[str, int] = {}
        for sent in batch.candidates:
            counts[sent.letter.who] = counts.get(sent.letter.who, 0) + 1
        top = [who for who, count in counts.items() if count == max(counts.values())]
        return [chance.choice(top) for _ in batch.seen]
    return guess


def ranked(before: str, after: str, backwards: bool = False) -> Callable[[Batch], list[str]]:
    """The i-th by one feature is the i-th by the other. Ties: at random, or they would show what the lists' order shows."""
    chance = random.Random(7)

    def guess(batch: Batch) -> list[str]:
        ins = sorted(batch.candidates, key=lambda s: (s.sight[before], chance.random()), reverse=backwards)
        outs = sorted(range(len(batch.seen)), key=lambda i: (batch.seen[i].sight[after], chance.random()))
        answer = [""] * len(outs)
        for rank, i in enumerate(outs):
            answer[i] = ins[rank * len(ins) // len(outs)].letter.who
        return answer
    return guess


def latest(letters: list[Sent], feature: str) -> Callable[[Batch], list[str]]:
    """Whoever was the last before it: right where nothing waits."""
    order = sorted(letters, key=lambda s: s.letter.time)
    times = [s.letter.time for s in order]

    def guess(batch: Batch) -> list[str]:
        answer = []
        for went in batch.seen:
            # An answer may cross what it answers on the line: half a hundredth of a second.
            at = bisect.bisect_right(times, went.sight[feature] + 0.005)
            answer.append(order[at - 1].letter.who if at > 0 else "")
        return answer
    return guess


def score(name: str, batches: list[Batch], guess: Callable[[Batch], list[str]]) -> Score:
    """Hits, and the exact mean and variance of hits with the truth shuffled within each batch."""
    s = Score(name)
    for batch in batches:
        n = len(batch.seen)
        answer = guess(batch)
        s.hits += sum(a == t for a, t in zip(answer, batch.truth))
        guessed: dict[str, int] = {}
        for a in answer:
            guessed[a] = guessed.get(a, 0) + 1
        pairs = [(g, batch.truth.count(who)) for who, g in guessed.items()]
        mean = sum(g * t for g, t in pairs) / n
        s.theory += mean
        if n > 1:
            total = sum(g * t for g, t in pairs)
            both = sum(g * (g - 1) * t * (t - 1) + g * t * (total - g * t) for g, t in pairs)
            s.variance += both / (n * (n - 1)) + mean - mean * mean
    return s


ORDER = [("entered", "begun"), ("entered", "ended"), ("who", "begun")]
SIZES = [("octets", "octets"), ("octets", "packets"), ("octets", "records"), ("octets", "largest"), ("octets", "lasted"),
         ("octets", "begun"), ("packets", "packets"), ("records", "records"), ("records", "octets"), ("octets", "back")]
NAMES = [("entered", "asked"), ("octets", "asked"), ("who", "asked")]
# Of a batch of arrivals, the candidates are those who fetch.
FETCHING = [("begun", "entered"), ("ended", "entered"), ("octets", "octets"), ("records", "octets"), ("begun", "octets"),
            ("where", "begun"), ("begun", "who")]



def panel(batches: list[Batch], pairs: list[tuple[str, str]]) -> list[Score]:
    found = []
    for before, after in pairs:
        for backwards in (False, True):
            found.append(score(f"{before} {'against' if backwards else 'with'} {after}", batches,
                               ranked(before, after, backwards)))
    return found


@dataclasses.dataclass
class Trend:
    """Whether one feature goes with another where the rule leaves all orders equally likely: weak where each link is."""
    name: str
    z: float

    def p(self) -> float:
        return math.erfc(abs(self.z) / math.sqrt(2))


def mid_ranks(values: list[float]) -> list[float]:
    order = sorted(values)
    return [(bisect.bisect_left(order, v) + bisect.bisect_right(order, v) - 1) / 2 for v in values]


def trend(batches: list[Batch], before: str, after: str) -> Trend:
    """Spearman's rank correlation, summed over the batches, in its standard deviations under shuffling."""
    total = variance = 0.0
    for batch in batches:
        both = [(r.sight[before], w.sight[after]) for r, w in zip(batch.real, batch.seen) if r is not None]
        n = len(both)
        if n < 2:
            continue
        x, y = (mid_ranks(list(side)) for side in zip(*both))
        middle = (n - 1) / 2
        total += sum((a - middle) * (b - middle) for a, b in zip(x, y))
        variance += sum((a - middle) ** 2 for a in x) * sum((b - middle) ** 2 for b in y) / (n - 1)
    return Trend(f"{before} and {after}", total / math.sqrt(variance) if variance > 0 else 0.0)


def neighbours(batches: list[Batch], after: str) -> Score:
    """How many that come one behind the other had also entered so, either way round: an order that is moved as a whole, or turned
    round, or cut and put together again (as lookups side by side do with it) keeps its neighbours. In theory two of n are
    neighbours with the chance 2/n; their number varies a little less than rare, independent hits (for two letters not at all)."""
    chance = random.Random(7)
    s = Score(f"neighbours at entry with {after}")
    for batch in batches:
        both = [(r.sight["entered"], chance.random(), w.sight[after]) for r, w in zip(batch.real, batch.seen) if r is not None]
        n = len(both)
        if n < 2:
            continue
        place = {one: number for number, one in enumerate(sorted(both))}
        line = [place[one] for one in sorted(both, key=lambda one: (one[2], one[1]))]
        s.hits += sum(abs(x - y) == 1 for x, y in zip(line, line[1:]))
        s.theory += 2 * (n - 1) / n
    s.variance = s.theory
    return s


def trends(batches: list[Batch], pairs: list[tuple[str, str]]) -> list[Trend]:
    return [trend(batches, before, after) for before, after in pairs]


def learned(batches: list[Batch], pairs: list[tuple[str, str]]) -> Score:
    """He tries everything on the first third of the run, with the truth at hand, and takes what was best to the rest."""
    half = len(batches) // 3
    tried = [(score("", batches[:half], ranked(b, a, back)).p(), b, a, back) for b, a in pairs for back in (False, True)]
    _, before, after, backwards = min(tried)
    return score(f"learned: {before} {'against' if backwards else 'with'} {after}", batches[half:],
                 ranked(before, after, backwards))


def auc(positive: list[float], negative: list[float]) -> tuple[float, float]:
    """The chance that one of the first is larger than one of the second (a tie is half), and its standard error if
    both are alike."""
    if not positive or not negative:
        return 0.5, 0.5
    ranks = sorted([(v, 1) for v in positive] + [(v, 0) for v in negative])
    total, at = 0.0, 0
    while at < len(ranks):
        end = at
        while end < len(ranks) and ranks[end][0] == ranks[at][0]:
            end += 1
        total += sum(kind for _, kind in ranks[at:end]) * (at + end + 1) / 2
        at = end
    n, m = len(positive), len(negative)
    return (total - n * (n + 1) / 2) / (n * m), math.sqrt((n + m + 1) / (12 * n * m))


def within(groups: list[tuple[list[float], list[float]]]) -> tuple[float, float]:
    """The same with each compared only with those of its own group (van Elteren: the groups' pairs, summed), and its standard
    error if the two kinds are alike in each group, whatever sets the groups apart."""
    wins = pairs = variance = 0.0
    for positive, negative in groups:
        n, m = len(positive), len(negative)
        if n and m:
            wins += auc(positive, negative)[0] * n * m
            pairs += n * m
            variance += n * m * (n + m + 1) / 12
    return (wins / pairs, math.sqrt(variance) / pairs) if pairs else (0.5, 0.5)


@dataclasses.dataclass
class Names:
    """Questions about destinations: how many, and how many while nothing was being delivered."""
    asked: int = 0
    early: int = 0


@dataclasses.dataclass
class Beats:
    """Connections in IDLE, tick by tick: what the house says by itself, with news and without."""
    quiet: int = 0
    news: int = 0
    auc: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    late: tuple[float, float] = (0.5, 0.5)  # of the time, over all ticks: what is late for all counts as well


@dataclasses.dataclass
class Found:
    letters: int
    ticks: int
    foreseen: float  # ticks whose batch had the size that the rule gives
    inside: float  # deliveries whose letter was among the rule's candidates
    crowd: float  # mean number of deliveries in a batch
    rule: Score
    order: list[Score]
    sizes: list[Score]
    timing: list[Score]
    learned: Score
    names: Names
    arrivals: int
    arrivals_inside: float
    fetching: list[Score]
    trends: dict[str, list[Trend]]
    beats: Beats
    overrun: int  # deliveries that began in the tick's second half: the machine was too slow for its clock


def leaving(capture: Capture, seen: Seen, truth: Truth, plan: Plan):
    """Each size class has a gate of its own, so its share of a tick is a batch. What stays in the house waits and counts as well, and
    he cannot know which letters these are: they are among the candidates. The judge knows, and counts what the rule foresees without."""
    went = [w for w in deliveries(capture, seen, plan.clock)]
    sent = letters_in(capture, seen, 465)
    letter_of = {ends: truth.sent[number] for number, ends in truth.delivered.items() if number in truth.sent}
    seen_of = {s.place: s for s in sent}
    stayed = frozenset(truth.stayed)
    batches, foreseen, inside, total = [], 0, 0, 0
    for large in (False, True):
        mine = [s for s in sent if (s.letter.octets >= STEP) == large]
        gone = [w for w in went if (w.sight["octets"] >= STEP_OUT) == large]
        counts: dict[int, int] = {}
        for w in gone:
            counts[w.tick] = counts.get(w.tick, 0) + 1
        ins = predicted(mine, plan.clock, plan.k, plan.deadline, seen.ended + 6 * plan.clock, counts, stayed)
        for tick in sorted(counts):
            group = [w for w in gone if w.tick == tick and (w.place, w.host) in letter_of]
            if not group:
                continue
            total += 1
            candidates = ins.get(tick, [])
            foreseen += sum(s.place not in stayed for s in candidates) == counts[tick]
            here = {s.place for s in candidates}
            letters = [letter_of[w.place, w.host] for w in group]
            inside += sum(place in here for place in letters)
            # Where the rule knows nobody (it was broken, or only who is in haste leaves): whoever wrote in the tick before.
            candidates = candidates or [s for s in mine if tick - 1 <= s.letter.time / plan.clock < tick + 1]
            if candidates:
                batches.append(Batch(candidates, group, [place[0] for place in letters],
                                     [seen_of.get(place) for place in letters]))
    return sent, went, batches, foreseen / max(1, total), inside / max(1, sum(len(b.seen) for b in batches))


def questions(capture: Capture, seen: Seen, went: list[Went], clock: float) -> Names:
    """A question is in its place between a tick at which something left and the last delivery that begins after that tick, or
    the middle between two ticks (for what could not be delivered)."""
    last: dict[int, float] = {}
    for w in went:
        last[w.tick] = max(last.get(w.tick, 0.0), w.time)
    found = Names()
    for q in capture.questions:
        if q.name.endswith(".dest.test"):
            found.asked += 1
            tick = int(q.time // clock)
            found.early += tick not in last or q.time > max(last[tick], (tick + 0.5) * clock)
    return found


def arriving(capture: Capture, seen: Seen, truth: Truth, plan: Plan):
    sent = [s for s in letters_in(capture, seen, 25)]
    number_of = {place: number for number, place in truth.given.items()}
    ins = predicted(sent, plan.clock, plan.arrive_k, plan.arrive_deadline, seen.ended + 6 * plan.clock, {})
    news: dict[int, list[Went]] = {}
    for w in fetches(capture, seen, plan.clock):
        if w.time > seen.begun:
            news.setdefault(w.tick, []).append(w)
    batches, inside, total = [], 0, 0
    for tick, letters in sorted(ins.items()):
        fetchers = news.get(tick, [])
        known = [s for s in letters if s.place in number_of]
        total += len(known)
        addresses = {w.place[0] for w in fetchers}
        inside += sum(truth.meant[number_of[s.place]] in addresses for s in known)
        if fetchers and known:
            # Turned round: for each arrival, which of the fetchers is it?
            candidates = [Sent(w.place, Letter(w.place[0], w.time, 0), w.sight) for w in fetchers]
            by_address = {c.letter.who: c for c in candidates}
            batches.append(Batch(candidates, [Went(s.place, tick, s.letter.time, s.sight) for s in known],
                                 [truth.meant[number_of[s.place]] for s in known],
                                 [by_address.get(truth.meant[number_of[s.place]]) for s in known]))
    return batches, total, inside / max(1, total)


def beats(capture: Capture, seen: Seen, truth: Truth, clock: float) -> Beats:
    """Per connection and tick: what came before the client said anything."""
    found = Beats()
    places = set(truth.idle)
    sights: dict[bool, dict[str, list[float]]] = {
        kind: {"records": [], "octets": [], "packets": [], "time": []} for kind in (False, True)}
    times: dict[int, list[tuple[bool, float]]] = {}
    first, last = int(seen.begun // clock) + 2, int(seen.ended // clock) - 1
    for c in capture.connections:
        if c.client not in places:
            continue
        said: dict[int, float] = {}
        for r in c.up.data():
            said.setdefault(int(r.time // clock), r.time)
        down: dict[int, list] = {}
        for r in c.down.data():
            down.setdefault(int(r.time // clock), []).append(r)
        parts: dict[int, list[float]] = {}
        for t, _ in c.down.packets:
            parts.setdefault(int(t // clock), []).append(t)
        for tick in range(first, last):
            if tick - 1 in said and down.get(tick - 1) and said[tick - 1] > (tick - 0.3) * clock:
                continue  # it was still busy with what went before
            until = said.get(tick, math.inf)
            records = [r for r in down.get(tick, []) if r.time <= until]
            here = sights[tick in said]
            here["records"].append(len(records))
            here["octets"].append(sum(r.size for r in records))
            when = records[0].time % clock if records else clock
            here["time"].append(when)
            times.setdefault(tick, []).append((tick in said, when))
            here["packets"].append(sum(t <= until for t in parts.get(tick, [])))
    found.quiet, found.news = len(sights[False]["records"]), len(sights[True]["records"])
    # A tick that brings much is late for all, and what it brings is seen at the gate; what tells of one connection is its place
    # among the others of the same tick, and how long after the one before it its record came: the work that news make.
    for kind in (False, True):
        sights[kind]["gap"] = []
    for here in times.values():
        here.sort(key=lambda one: one[1])
        for (_, before), (news, when) in zip(here, here[1:]):
            sights[news]["gap"].append(when - before)
    for feature in sights[True]:
        if feature != "time":
            found.auc[feature] = auc(sights[True][feature], sights[False][feature])
    found.auc["place in its tick"] = within([([w for news, w in here if news], [w for news, w in here if not news])
                                             for here in times.values()])
    # Of all ticks together, beside: late ticks are late for all, but more of those who are in them have news.
    found.late = auc(sights[True]["time"], sights[False]["time"])
    return found


def attack(capture: Capture, seen: Seen, truth: Truth, plan: Plan) -> Found:
    sent, went, batches, foreseen, inside = leaving(capture, seen, truth, plan)
    in_batches, arrivals, arrivals_inside = arriving(capture, seen, truth, plan)
    everything = ORDER + SIZES + NAMES
    return Found(
        letters=sum(len(b.seen) for b in batches), ticks=len(batches), foreseen=foreseen, inside=inside,
        crowd=sum(len(b.seen) for b in batches) / max(1, len(batches)),
        rule=score("the public rule: the largest share", batches, likeliest(random.Random(3))),
        order=panel(batches, ORDER) + [neighbours(batches, "asked"), neighbours(batches, "begun")], sizes=panel(batches, SIZES),
        timing=[score("the last one before", batches, latest(sent, "begun")),
                score("the last one before the question", batches, latest(sent, "asked"))] + panel(batches, NAMES),
        learned=learned(batches, everything), names=questions(capture, seen, went, plan.clock),
        arrivals=arrivals, arrivals_inside=arrivals_inside, fetching=panel(in_batches, FETCHING),
        trends={"order": trends(batches, ORDER + NAMES[::2]), "sizes": trends(batches, SIZES + NAMES[1:2]),
                "fetching": trends(in_batches, FETCHING)},
        beats=beats(capture, seen, truth, plan.clock),
        overrun=sum(w.time % plan.clock > plan.clock / 2 for w in went))
