#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""make demo: two providers in a world of their own (network namespaces, a signed DNS), and mail both ways.

Cohue serves cohue.test for alice and bert; Postfix and Dovecot serve other.test for bob. Real clients send;
the table shows how long each letter waited, and the headers that the other side gets to see. Then alice writes to
providers of all kinds (Exim and OpenSMTPD, and played ones), and her journal tells what became of each letter, and how it was
protected. Whatever is not as it must be is named in the end, and the exit status is 1.
"""

import contextlib
import email
import email.policy
import email.utils
import pathlib
import signal
import smtplib
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))
sys.path.insert(0, str(ROOT / "demo"))
from harness import tls_context, wait_until  # noqa: E402
from harness.dialogue import imap_login  # noqa: E402
from harness.world import World  # noqa: E402
from providers import DOMAINS, EXCEPTIONS, EXPECTED, GREY, STRIPPED, Providers, outcomes, second_time  # noqa: E402

# Short waits, so that a spectator does not have to: each letter waits some seconds, drawn anew.
SETTINGS = {"leave.law": "exponential", "leave.mean": "4 s", "arrive.law": "exponential", "arrive.mean": "2 s"}
SEEN = ("Return-Path", "Received", "Date", "Message-ID", "From", "To", "Subject", "User-Agent", "DKIM-Signature")


def letter(sender: str, recipient: str, subject: str, words: str) -> bytes:
    return (f"Date: {email.utils.formatdate(localtime=True)}\r\nFrom: {sender}\r\nTo: {recipient}\r\n"
            f"Subject: {subject}\r\nMessage-ID: {email.utils.make_msgid(domain='alices-laptop.local')}\r\n"
            "User-Agent: Demo 1.0 (Linux; alice at home)\r\n"
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{words}\r\n").encode()


def say(text: str) -> None:
    print(text, flush=True)


def submit(world: World, name: str, recipient: str, message: bytes) -> float:
    member = world.house.members[name]
    with world.inside("members"):
        with smtplib.SMTP_SSL(world.address("house"), 465, context=tls_context(), timeout=30,
                              local_hostname="alices-laptop.local") as client:
            client.login(member.address, member.password)
            start = time.monotonic()
            client.sendmail(member.address, [recipient], message)
    return start


def house_inbox(world: World, name: str) -> list[bytes]:
    member = world.house.members[name]
    with world.inside("members"):
        client = imap_login(993, member.address, member.password, world.address("house"))
        try:
            _, count = client.select("INBOX", readonly=True)
            if int(count[0]) == 0:
                return []
            _, answer = client.fetch("1:*", "(BODY.PEEK[])")
            return [part[1] for part in answer if isinstance(part, tuple)]
        finally:
            client.logout()


def arrives(inbox, words: str, start: float) -> tuple[float, bytes]:
    found = wait_until(lambda: [m for m in inbox() if words.encode() in m], 120, f"'{words}' arrives", pause=0.2)
    return time.monotonic() - start, found[0]


def show(title: str, delay: float, message: bytes) -> None:
    say(f"\n{title}: arrived after {delay:.1f} s. The recipient's side sees:")
    parsed = email.message_from_bytes(message, policy=email.policy.compat32)
    for name, value in parsed.items():
        if name in SEEN:
            say(f"    {name}: " + " ".join(value.split()))


def providers_of_all_kinds(world: World, providers: Providers) -> list[str]:
    """Shows what became of the letters; what is not as it must be."""
    say("\nalice -> anna, at providers of all kinds. Her journal says:")
    told = outcomes(world, "alice")
    for domain, kind in DOMAINS.items():
        say(f"    {domain:15} {kind:56} {told[domain]}")
    wrong = [f"{domain}: expected '{EXPECTED[domain]}', came '{told[domain]}'" for domain in DOMAINS if told[domain] != EXPECTED[domain]]
    for domain in DOMAINS:
        there, expected = providers.took(domain), int(EXPECTED[domain].startswith("delivered"))
        if there != expected:
            wrong.append(f"{domain}: expected {expected} letters there, found {there}")
    if not providers.stripping or not providers.stripping.stripped:
        wrong.append(f"{STRIPPED}: expected an offer of STARTTLS that the relay takes away, came none")

    say("\nTwo hours later, by the clock put on:")
    later, expected = second_time(world, "alice"), "delivered, encrypted, not verified"
    say(f"    {GREY:15} {'met the same sender again':56} {later}")
    if (later, providers.took(GREY)) != (expected, 1):
        wrong.append(f"{GREY}, the second time: expected '{expected}' and 1 letter there, came '{later}' and {providers.took(GREY)}")
    for domain in DOMAINS:
        if not EXPECTED[domain].startswith("delivered") and domain != GREY and providers.took(domain):
            wrong.append(f"{domain}: expected no letter there, ever; found {providers.took(domain)}")
    return wrong


def main() -> int:
    try:
        say("Building a small world: a signed DNS, other.test (Postfix + Dovecot), cohue.test ...")
        with tempfile.TemporaryDirectory(prefix="cohue-demo-") as place, contextlib.ExitStack() as ends:
            providers = Providers(pathlib.Path(place))
            ends.callback(providers.stop)
            world = ends.enter_context(World(records=providers.records))
            providers.start(world)
            say("DNS: " + world.knot_says("cohue.test", "MX"))
            world.start_house(("alice", "bert"), {**SETTINGS, "tls.exceptions": EXCEPTIONS, "tls.authorities": str(providers.authority.certificate)})
            say("Cohue runs for cohue.test with the members alice and bert.")
            for domain in DOMAINS:
                submit(world, "alice", f"anna@{domain}", letter("alice@cohue.test", f"anna@{domain}", "Hello", "Does it come?"))

            start = submit(world, "alice", "bob@other.test", letter(
                "alice@cohue.test", "bob@other.test", "The garden", "Shall we meet by the gate?"))
            delay, seen = arrives(lambda: world.other_inbox("bob"), "Shall we meet by the gate?", start)
            show("alice -> bob, to the other provider", delay, seen)

            with world.inside("other"):
                start = time.monotonic()
                world.postfix.deliver("bob@other.test", ["alice@cohue.test"], letter(
                    "bob@other.test", "alice@cohue.test", "Re: The garden", "Yes, bring the cake."))
            delay, seen = arrives(lambda: house_inbox(world, "alice"), "Yes, bring the cake.", start)
            show("bob -> alice, back", delay, seen)

            start = submit(world, "alice", "bert@cohue.test", letter(
                "alice@cohue.test", "bert@cohue.test", "Cake", "It never leaves the house."))
            delay, seen = arrives(lambda: house_inbox(world, "bert"), "It never leaves the house.", start)
            show("alice -> bert, inside the house", delay, seen)

            wrong = providers_of_all_kinds(world, providers)
            world.house.stop()
    except unittest.SkipTest as reason:
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    except AssertionError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    for line in wrong:
        print(f"demo: {line}", file=sys.stderr)
    if wrong:
        return 1
    say("\nAll of it is gone again: no process, no namespace, no file is left.")
    return 0


if __name__ == "__main__":
    # So that what was started is also ended, and its files go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
