#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""bench.py [--quick] [--peers-only|--cohue-only] [arrive] [authentication] [arrive-checked] [idle] [mailbox] [login] [search] [large] [many]: Cohue against Postfix + Dovecot,
in one run on one machine. Prints a table; the figures as JSON go to build-bench/result.json. See bench/README.md."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from checked import arrive_checked, authentication  # noqa: E402
from idlers import many  # noqa: E402
from large import large  # noqa: E402
from measure import cpu_seconds, pss_bytes, settle_cpu, tree, watches  # noqa: E402
from systems import DOMAIN, ROOMY_HOUSE, USERS, House, Peers  # noqa: E402

OUT = HERE.parent / "build-bench"
results: dict = {}


def build() -> None:
    OUT.mkdir(exist_ok=True)
    for name in ("smtpload", "imapload", "machine"):
        sources = [HERE / f"{name}.c", HERE / "client.c"]
        subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", *sources, "-o",
                        OUT / name, "-lssl", "-lcrypto", "-lm", "-lpthread"], check=True)


def machine(moment: str) -> None:
    """What the machine itself does now: a figure means something beside the handshake of the same minute."""
    ran = subprocess.run([OUT / "machine", OUT], capture_output=True, text=True, check=True)
    note("machine", moment, f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", json.loads(ran.stdout))


def smtp_load(port: int, messages: int, *options: str) -> dict:
    ran = subprocess.run([OUT / "smtpload", "--port", str(port), "--domain", DOMAIN, "--messages", str(messages),
                          "--users", str(USERS), *options], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise AssertionError(f"smtpload: {ran.stderr}")
    return json.loads(ran.stdout)


def imap_load(system, accounts, *arguments: str) -> list[dict]:
    stdin = "".join(f"{name} {password}\n" for name, password in accounts) + "\n"
    ran = subprocess.run([OUT / "imapload", "127.0.0.1", str(system.imap_port), *arguments], input=stdin,
                         capture_output=True, text=True, check=False)
    if ran.returncode:
        raise AssertionError(f"imapload: {ran.stderr}")
    return [json.loads(line) for line in ran.stdout.splitlines()]


# name, messages for the peers, for Cohue, options. More for the faster one, so that both run for seconds.
ARRIVALS = [
    ("4 kB, one a connection, 10 connections", 1500, 6000, ("--connections", "10")),
    ("4 kB, one a connection, 1 connection", 200, 1000, ("--connections", "1")),
    ("4 kB, 100 a connection, 10 connections", 2000, 10000, ("--connections", "10", "--per-connection", "100")),
    ("lognormal, mean 30 kB, one a connection, 10", 1000, 3000, ("--connections", "10", "--lognormal")),
]


def arrive(systems: list, quick: bool) -> None:
    for make in systems:
        with make() as system:
            done = system.arrived()
            for name, few, many, options in ARRIVALS:
                count = (many if system.name == "Cohue" else few) // (5 if quick else 1)
                smtp_load(system.smtp_port, 40, *options)  # warm
                system.wait_arrived(done + 40)
                done += 40
                before = settle_cpu(system.roots())
                start = time.monotonic()
                load = smtp_load(system.smtp_port, count, *options)
                system.wait_arrived(done + count)
                wall = time.monotonic() - start
                done += count
                cpu = settle_cpu(system.roots()) - before
                note("arrive", name, system.name, {
                    "messages": count, "per_second": round(count / wall, 1), "cpu_ms": round(cpu / count * 1e3, 3),
                    "accepted_per_second": load["per_second"], "p50_ms": load["p50_ms"], "p99_ms": load["p99_ms"],
                    "mean_bytes": load["mean_bytes"]})
            arrived = system.arrived()
            if arrived != done:
                raise AssertionError(f"{system.name}: {done} were answered with 250, {arrived} are there")


def idle_growth(system, count: int) -> dict:
    stdin = "".join(f"{name} {password}\n" for name, password in system.accounts) + "\n"
    # One connection of each account first: what a member costs is not what a connection costs.
    first = hold(system, stdin, len(system.accounts))
    settle(system)
    before = pss_bytes(system.roots())
    second = hold(system, stdin, count)
    settle(system)
    after = pss_bytes(system.roots())
    processes = len(tree(system.roots()))
    for client in (first, second):
        client.stdin.close()
        client.wait(60)
    return {"connections": count, "kib_per_connection": round((after - before) / count / 1024, 1),
            "processes": processes,
            "pss_before_mib": round(before / 2**20, 1), "pss_after_mib": round(after / 2**20, 1)}


def settle(system) -> None:
    """Until neither processor time nor the number of processes moves: hibernation takes its time."""
    settle_cpu(system.roots(), quiet=4)
    last, since, end = len(tree(system.roots())), time.monotonic(), time.monotonic() + 60
    while time.monotonic() - since < 4 and time.monotonic() < end:
        time.sleep(0.1)
        now = len(tree(system.roots()))
        if now != last:
            last, since = now, time.monotonic()


def hold(system, stdin: str, count: int) -> subprocess.Popen:
    client = subprocess.Popen([OUT / "imapload", "127.0.0.1", str(system.imap_port), "idle", str(count)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client.stdin.write(stdin)
    client.stdin.flush()
    if client.stdout.readline() != "ready\n":
        client.kill()
        raise AssertionError(f"{system.name}: idle connections failed")
    return client


def idle(systems: list, quick: bool) -> None:
    for make, label, count in systems:
        count = count // (5 if quick else 1)
        with watches(4 * count), make() as system:
            note("idle", f"{count} idle connections", label or system.name, idle_growth(system, count))


def arrive_at_one(system, count: int, *more: str) -> dict:
    """Messages for the first account, by the shortest way."""
    lmtp = getattr(system, "lmtp_port", 0)
    port, options = (lmtp, ("--lmtp",)) if lmtp else (system.smtp_port, ())
    load = smtp_load(port, count, "--users", "1", "--connections", "10", "--per-connection", "100", *options, *more)
    system.wait_arrived(count)
    return load


def mailbox(systems: list, quick: bool) -> None:
    for make in systems:
        with make() as system:
            # mail_crypt takes 2 ms a body, however many there are: a fifth of the mailbox tells as much in a fifth of
            # the time. The ratios below are per message.
            count = (4000 if quick else 20000) // (5 if "(mail_crypt)" in system.name else 1)
            user = system.accounts[:1]
            load = arrive_at_one(system, count)
            settle_cpu(system.roots())
            envelopes = "FETCH 1:* (FLAGS ENVELOPE)"
            for label, command in (("first ENVELOPE", envelopes), ("ENVELOPE again", envelopes),
                                   ("all bodies", "FETCH 1:* (BODY.PEEK[])"), ("one body", "FETCH 777 (BODY.PEEK[])")):
                before = cpu_seconds(system.roots())
                login, select, fetch = imap_load(system, user, "run", "SELECT INBOX", command)
                cpu = settle_cpu(system.roots()) - before
                note("mailbox", label, system.name, {
                    "messages": count, "seconds": fetch["seconds"], "with_login": round(login["seconds"] + select["seconds"] +
                                                                      fetch["seconds"], 4),
                    "cpu_s": round(cpu, 3), "bytes": fetch["bytes"]})
            if hasattr(system, "restart"):
                # Nothing in memory: the mailbox comes from its snapshot.
                system.restart()
                before = settle_cpu(system.roots())
                login, select, fetch = imap_load(system, user, "run", "SELECT INBOX", envelopes)
                cpu = settle_cpu(system.roots()) - before
                note("mailbox", "ENVELOPE after a restart", system.name, {
                    "messages": count, "seconds": fetch["seconds"], "with_login": round(
                        login["seconds"] + select["seconds"] + fetch["seconds"], 4), "cpu_s": round(cpu, 3)})
            note("mailbox", "filling", system.name, {"messages": count, "per_second": load["per_second"]})


# name, messages, options. A word that no message has: each must be read to its end.
SEARCHED = [("4 kB", 20000, ()), ("lognormal, mean 30 kB", 5000, ("--lognormal",))]
SEARCHES = [("a word in bodies", "SEARCH BODY quetzalcoatlus"), ("another word", "SEARCH BODY pterodaustro"),
            ("a word in subjects", "SEARCH SUBJECT quetzalcoatlus")]


def search(systems: list, quick: bool) -> None:
    for make in systems:
        for size, many, more in SEARCHED:
            with make() as system:
                count = many // (5 if quick else 1) // (5 if "(mail_crypt)" in system.name else 1)
                user = system.accounts[:1]
                arrive_at_one(system, count, *more)
                imap_load(system, user, "run", "SELECT INBOX", "FETCH 1:* (FLAGS ENVELOPE)")  # filed, and in the caches
                for label, command in SEARCHES:
                    before = settle_cpu(system.roots())
                    *_, found = imap_load(system, user, "run", "SELECT INBOX", command)
                    cpu = settle_cpu(system.roots()) - before
                    note("search", f"{label}, {size}", system.name, {
                        "messages": count, "seconds": found["seconds"], "cpu_s": round(cpu, 3)})


def connection_cpu(system, mode: str, count: int, accounts: list) -> float:
    """Milliseconds of CPU of the service for a connection."""
    imap_load(system, accounts, mode, str(len(accounts)))
    before = settle_cpu(system.roots())
    imap_load(system, accounts, mode, str(count))
    return (settle_cpu(system.roots()) - before) / count * 1e3


def login(systems: list, quick: bool) -> None:
    count = 200 if quick else 1000
    for make in systems:
        with make() as system:
            handshake = connection_cpu(system, "handshake", count, system.accounts)
            cost = connection_cpu(system, "login", count, system.accounts)
            note("login", "beyond the handshake", system.name, {
                "cpu_ms": round(cost - handshake, 3), "handshake_cpu_ms": round(handshake, 3)})
            if hasattr(system, "choose_password"):
                # By one Argon2id, which is slow on purpose: compared with nobody.
                cost = connection_cpu(system, "login", count // 20, [system.choose_password()])
                note("login", "main password, beyond the handshake", system.name, {
                    "cpu_ms": round(cost - handshake, 1)})


def note(group: str, name: str, system: str, figures: dict) -> None:
    results.setdefault(group, {}).setdefault(name, {})[system] = figures
    shown = "  ".join(f"{key} {value}" for key, value in figures.items())
    print(f"{group:8} {name:46} {system:30} {shown}", flush=True)


def ratios() -> None:
    """Peers' figure over Cohue's, wherever both are there: above 1 means that Cohue is better."""
    print()
    for group, rows in results.items():
        for name, by_system in rows.items():
            ours = by_system.get("Cohue")
            for other, theirs in by_system.items():
                if not isinstance(ours, dict) or other == "Cohue":
                    continue
                told = []
                for key in ("per_second", "cpu_ms", "cpu_s", "ms", "seconds", "with_login", "kib_per_connection", "bytes_a_message"):
                    a, b = ours.get(key), theirs.get(key)
                    if group in ("mailbox", "search") and name != "one body" and key != "per_second" and a and b:
                        a, b = a / ours["messages"], b / theirs["messages"]
                    if a and b and a > 0 and b > 0:
                        told.append(f"{key} {a / b if key == 'per_second' else b / a:.1f} x")
                print(f"{group:8} {name:46} Cohue against {other}: {', '.join(told)}")


def peers(wanted: bool) -> tuple[list, list, list]:
    """What Cohue is measured against: where mail arrives, where it is read, where connections are held."""
    if not wanted:
        return [], [], []
    return ([lambda: Peers(True), lambda: Peers(False)],
            [lambda: Peers(True, postfix=False), lambda: Peers(False, postfix=False)],
            [(lambda: Peers(True, "", postfix=False), "Dovecot, default", 250),
             (lambda: Peers(True, postfix=False), "Dovecot, shared login processes", 1000),
             (lambda: Peers(True, hibernate=True, postfix=False), "Dovecot, hibernated", 1000)])


def parts(ours: list, relays: list, readers: list, holders: list, quick: bool) -> dict:
    return {
        "arrive": lambda: arrive([*relays, *ours], quick),
        "authentication": lambda: authentication(note, quick) if ours else None,
        "arrive-checked": lambda: arrive_checked(["crypt", "clear"] * bool(relays) + ["Cohue"] * bool(ours), quick, note, smtp_load),
        "login": lambda: login([*readers[:1], *ours], quick),
        "idle": lambda: idle([*holders, *((lambda: make(ROOMY_HOUSE), "", 1000) for make in ours)], quick),
        "mailbox": lambda: mailbox([*readers, *ours], quick),
        "search": lambda: search([*readers, *ours], quick),
        "large": lambda: large([*readers, *ours], quick, note, arrive_at_one, imap_load),
        "many": lambda: many(note, OUT / "imapload", quick) if ours else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of everything: to see that it runs")
    parser.add_argument("--peers-only", action="store_true")
    parser.add_argument("--cohue-only", action="store_true")
    parser.add_argument("what", nargs="*", help="arrive, authentication, arrive-checked, idle, mailbox, login, search, large, many (all, where none is named)")
    chosen = parser.parse_args()
    build()
    os.environ.setdefault("COHUE_BIN", next((str(p) for p in (HERE.parent / "build-release").rglob("cohue")
                                             if p.is_file() and os.access(p, os.X_OK)), ""))
    named = parts([] if chosen.peers_only else [House], *peers(not chosen.cohue_only), chosen.quick)
    unknown = set(chosen.what) - set(named)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    try:
        machine("before")
        for name, part in named.items():
            if name in (chosen.what or named):
                start = time.monotonic()
                part()
                note("machine", name, f"load {os.getloadavg()[0]:.1f}", {"took_seconds": round(time.monotonic() - start)})
        machine("after")
    except unittest.SkipTest as reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    finally:
        (OUT / "result.json").write_text(json.dumps(results, indent=1) + "\n")
    ratios()
    return 0


if __name__ == "__main__":
    # So that what was started is also ended, and its files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
