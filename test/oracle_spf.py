#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares src/authentication's SPF with pyspf (python3-spf) over made records.

oracle_spf.py AUTHENTICATION_DUMP [COUNT]; exits with 77 (skipped) without pyspf.
"""
import collections
import os
import random
import subprocess
import sys
import tempfile
import warnings

SKIPPED = 77
warnings.simplefilter("ignore")
try:
    import spf
except ImportError:
    if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3") and not os.environ.get("ORACLE_AGAIN"):
        os.environ["ORACLE_AGAIN"] = "1"
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("skipped: python3-spf is not here")
    sys.exit(SKIPPED)

ZONE = [line.split(" ", 2) for line in """\
host.test A 192.0.2.1
host.test A 192.0.2.2
host.test AAAA 2001:db8::1
record.test A 192.0.2.3
record.test MX mx1.test
record.test MX mx2.test
mx1.test A 192.0.2.10
mx2.test A 192.0.2.20
mx2.test AAAA 2001:db8::20
1.2.0.192.in-addr.arpa PTR host.test
3.2.0.192.in-addr.arpa PTR a.record.test
a.record.test A 192.0.2.3
10.2.0.192.in-addr.arpa PTR a.record.test
pass.test TXT v=spf1 +all
fail.test TXT v=spf1 -all
soft.test TXT v=spf1 ip4:192.0.2.1 ~all
two.test TXT v=spf1 -all
two.test TXT v=spf1 +all
bad.test TXT v=spf1 nonsense
deep.test TXT v=spf1 include:soft.test include:fail.test ?all
loop.test TXT v=spf1 include:loop.test
away.test TXT v=spf1 redirect=soft.test
other.test TXT hello
192.0.2.1.x.test A 127.0.0.1
record.x.test A 127.0.0.1
bob.x.test A 127.0.0.1
test.record.x.test A 127.0.0.1""".splitlines()]
ADDRESSES = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.10", "192.0.2.20", "198.51.100.7", "2001:db8::1", "2001:db8::20"]
SPECS = ["host.test", "record.test", "nothing.test", "mx1.test", "%{d}", "%{o}", "a.%{d}", "%{i}.x.test", "%{d1r}.x.test",
         "%{dr}.x.test", "%{l}.x.test", "%{l1r-}.x.test", "%{h}", "%{ir}.%{v}.arpa", "x", "%{z}.test", "%{d", "host.test.", "a..test",
         "%%.test", "%{L}.x.test"]


def lookup(name, qtype, *_args, **_kw):
    name = name.rstrip(".").lower()
    if name == "record.test" and qtype in ("TXT", "SPF"):
        return [((name, "TXT"), (current.encode(),))] if qtype == "TXT" else []
    answers = []
    for owner, kind, text in ZONE:
        if owner == name and kind == qtype:
            data = ((text.encode(),) if kind == "TXT" else (10, text) if kind == "MX" else text)
            if kind == "AAAA":
                import ipaddress
                data = ipaddress.ip_address(text).packed if spf.__dict__.get("bytes_aaaa") else text
            answers.append(((name, kind), data))
    return answers


def term(r):
    q = r.choice(["", "", "", "+", "-", "~", "?"])
    spec = r.choice(SPECS) if r.random() < 0.25 else r.choice(["host.test", "record.test", "%{d}", "%{i}.x.test", "mx1.test"])
    cidr = r.choice(["", "", "", "/24", "/32", "//64", "/30//120", "/33", "/024", "/0"])
    return r.choice([
        lambda: q + "all",
        lambda: q + "a" + r.choice(["", ":" + spec]) + cidr,
        lambda: q + "mx" + r.choice(["", ":" + spec]) + cidr,
        lambda: q + "ptr" + r.choice(["", ":" + spec]),
        lambda: q + "ip4:" + r.choice(["192.0.2.1", "192.0.2.0/24", "198.51.100.0/25", "192.0.2", "192.0.2.1/33", "300.0.0.1"]),
        lambda: q + "ip6:" + r.choice(["2001:db8::/32", "2001:db8::1", "2001:db8::20/128", "2001:db8::/129", "192.0.2.1", "::g"]),
        lambda: q + "exists:" + spec,
        lambda: q + "include:" + r.choice(["pass.test", "fail.test", "soft.test", "deep.test", "away.test", "fail.test",
                                           "soft.test", "two.test", "bad.test", "other.test", "loop.test", "nothing.test"]),
        lambda: "redirect=" + r.choice(["soft.test", "fail.test", "nothing.test", "loop.test"]),
        lambda: r.choice(["exp=host.test", f"x{r.randrange(10**6)}=y", "unknown=%{d}", "all:x", "include", "ip4", "exists", "a/", "-", "moo"]),
    ])()


def main():
    global current
    dump, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    r = random.Random(7208)
    spf.DNSLookup = lookup
    cases = []
    for _ in range(count):
        record = " ".join(["v=spf1"] + [term(r) for _ in range(r.randrange(5))] + r.choice([[], ["-all"], ["~all"]]))
        cases.append((r.choice(ADDRESSES), "host.test", r.choice(["bob@record.test", "a-b@record.test"]), record))
    with tempfile.NamedTemporaryFile("w") as f:
        f.write("".join("\t".join(row) + "\n" for row in ZONE))
        f.flush()
        ours = subprocess.run([dump, "spf", f.name], input="".join("\t".join(c) + "\n" for c in cases), text=True,
                              capture_output=True, check=True).stdout.split()
    bad, seen = 0, collections.Counter()
    for case, mine in zip(cases, ours, strict=True):
        address, hello, sender, current = case
        try:
            theirs = spf.query(i=address, s=sender, h=hello, strict=True).check()[0]
        except Exception as e:  # not all that it meets is caught
            theirs = type(e).__name__
        seen[mine] += 1
        if current.count("unknown=") > 1:
            continue  # pyspf refuses an unknown modifier that comes twice; RFC 7208 section 6 ignores it, however often
        if theirs != mine:
            bad += 1
            print(f"pyspf says {theirs}, we say {mine}: {case}")
    print(f"{count} records, {dict(seen)}, {bad} judged differently")
    return 1 if bad else 0


sys.exit(main())
