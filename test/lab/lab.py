#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""make lab: the attacker that only sees packets, against the real server; measured success beside the one of theory."""

import argparse
import dataclasses
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lab import attack, line  # noqa: E402
from lab.attack import Found, Score, Trend  # noqa: E402
from lab.world import Lab, Plan, Truth  # noqa: E402

LEVEL = 0.001  # the chance that all the attackers together call a sound house broken, at most
# What a careless house would show first has half of that level for itself, so that few letters suffice.
MAIN = {"the last one before", "entered with asked", "entered with begun", "octets with octets", "entered and asked",
        "octets and octets", "neighbours at entry with asked", "neighbours at entry with begun"}
FORESEEN, INSIDE = 0.8, 0.9
EARLY = 0.02
AUC = 0.02


@dataclasses.dataclass
class Verdict:
    found: Found
    bound: float  # of the p of each single attacker, but the main ones
    broken: dict[str, str]  # what was found out, and by what
    power: float  # the share of letters whose senders must show for it to be noticed 99 times of 100


def quantile(mean: float, p: float) -> int:
    """The least number of hits that theory makes less likely than that."""
    hits = int(mean)
    while attack.poisson_tail(hits, mean) >= p:
        hits += 1
    return hits


def power(theory: float, letters: int, p: float) -> float:
    """Letters that show themselves hit for certain, the others as in theory."""
    if letters == 0:
        return 1.0
    bound = quantile(theory, p)
    for percent in range(1, 101):
        mean = theory * (1 - percent / 100) + letters * percent / 100
        if attack.poisson_tail(bound, mean) >= 0.99:
            return percent / 100
    return 1.0


def judge(found: Found) -> Verdict:
    groups = {"waiting": found.timing, "order": found.order, "sizes": found.sizes, "fetching": found.fetching,
              "law": [found.rule]}
    names = [one.name for group in (*groups.values(), *found.trends.values()) for one in group]
    main = sum(name in MAIN for name in names)
    bound = LEVEL / 2 / (len(names) - main)

    def shows(one: Score | Trend) -> bool:
        return one.p() < (LEVEL / 2 / main if one.name in MAIN else bound)
    broken: dict[str, str] = {}
    for name, group in groups.items():
        if seen := [one for one in group if shows(one)]:
            worst = min(seen, key=Score.p)
            broken[name] = f"{worst.name}: {worst.hits} hits where theory has {worst.theory:.1f} (p = {worst.p():.1g})"
    for name, trends in found.trends.items():
        if clear := [one for one in trends if shows(one)]:
            clearest = min(clear, key=Trend.p)
            broken[name] = f"{clearest.name} go together: {clearest.z:.1f} standard deviations"
    if found.foreseen < FORESEEN or found.inside < INSIDE:
        broken.setdefault("waiting", f"the rule foresees {found.foreseen:.0%} of the batches, and "
                          f"{found.inside:.0%} of the letters in theirs")
    if found.names.early > EARLY * max(1, found.names.asked):
        broken["names"] = f"{found.names.early} of {found.names.asked} questions while nothing was leaving"
    for feature, (value, error) in found.beats.auc.items():
        if abs(value - 0.5) > AUC + 4 * error:
            broken["idle"] = f"news shows in {feature}: AUC {value:.3f}, standard error {error:.3f}"
    best = found.order[0]
    return Verdict(found, bound, broken, power(best.theory, found.letters, bound))


def watch(plan: Plan) -> tuple[Verdict, Truth]:
    with Lab(plan) as lab:
        seen, truth = lab.watch()
        return judge(attack.attack(line.read(seen.capture), seen, truth, plan)), truth


def row(score: Score) -> str:
    low, high = score.interval()
    return f"  {score.name:42} {score.hits:6} {score.theory:8.1f}   {score.ratio():5.2f} ({low:.2f} to {high:.2f})   {score.p():.2g}"


def report(verdict: Verdict, truth: Truth, plan: Plan, everything: bool) -> str:
    f = verdict.found
    out = [f"{plan.members} members, {plan.hosts} hosts, {plan.seconds:.0f} s, T = {plan.clock} s, k = {plan.k}: {f.letters} letters "
           f"left in {f.ticks} batches ({f.crowd:.1f} each), {f.arrivals} came in",
           f"The rule, computed from what is public, foresees the size of {f.foreseen:.1%} of the batches and has "
           f"{f.inside:.1%} of the letters in theirs", "",
           f"  {'who links submissions to deliveries by':42} {'hits':>6} {'theory':>8}   measured / theory (95 %)   p"]
    groups = [("the law", [f.rule]), ("times", f.timing), ("order", f.order), ("sizes", f.sizes),
              ("arrivals and fetches", f.fetching)]
    for title, scores in groups:
        if everything or len(scores) == 1:
            out += [f"{title}:", *map(row, scores)]
        else:
            out += [f"{title}: the luckiest of {len(scores)}", row(min(scores, key=Score.p))]
    out += ["learned on the first third of the run, measured on the rest:", row(f.learned), "",
            "what goes together (rank correlation, in standard deviations), the clearest of each kind: " + ", ".join(
                f"{t.name} {t.z:+.1f}" for t in (min(group, key=Trend.p) for group in f.trends.values())),
            f"names: {f.names.asked} questions about destinations, {f.names.early} of them while nothing was leaving",
            f"idle: {f.beats.quiet} connections' ticks without news, {f.beats.news} with; AUC of news, by "
            + ", ".join(f"{feature} {value:.3f} ± {1.96 * error:.3f}" for feature, (value, error) in f.beats.auc.items())
            + f"; by time over all ticks {f.beats.late[0]:.3f} ± {1.96 * f.beats.late[1]:.3f}", "",
            f"level: a sound house is called broken by chance at most once in {1 / LEVEL:.0f} runs (each attacker: p < {verdict.bound:.1g}); "
            f"power: seen in 99 of 100 runs where {verdict.power:.0%} of the letters show their senders"]
    if f.overrun:
        out.append(f"{f.overrun} deliveries began in the second half of a tick: the machine is slow for this clock")
    out += [f"a client's problem: {problem}" for problem in truth.problems[:5]]
    out += [f"BROKEN, {name}: {how}" for name, how in verdict.broken.items()]
    if not verdict.broken:
        out.append("Nothing shows beyond theory.")
    return "\n".join(out)


SHORT = Plan(seconds=34, leaving=7.0, arriving=4.0)
LONG = Plan(members=60, strangers=20, seconds=300, clock=1, leaving=12.0, arriving=4.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the run of ./check")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for the house, to see it broken")
    parser.add_argument("--all", action="store_true", help="each attacker, not the luckiest of each kind")
    options = parser.parse_args()
    plan = dataclasses.replace(SHORT if options.short else LONG, seed=options.seed,
                               settings=dict(word.split("=", 1) for word in options.set))
    if options.seconds:
        plan = dataclasses.replace(plan, seconds=options.seconds)
    try:
        verdict, truth = watch(plan)
    except unittest.SkipTest as reason:
        print(f"lab: {reason}", file=sys.stderr)
        return 1
    print(report(verdict, truth, plan, options.all))
    return 1 if verdict.broken or truth.problems else 0


if __name__ == "__main__":
    # So that what was started is also ended, and its files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
