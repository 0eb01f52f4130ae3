#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares src/authentication's DKIM and ARC with dkimpy (python3-dkim), both ways.

oracle_authentication.py AUTHENTICATION_DUMP [COUNT]

Made messages, and the real ones where spamassassin-ham-850.tar.gz lies under $COHUE_DATA or ../shared/data beside the
source tree: what dkimpy signs we verify, as it is and changed; what we sign and seal dkimpy verifies. Exits with 77 (skipped) without dkimpy.
"""
import collections
import logging
import os
import pathlib
import random
import re
import subprocess
import sys
import tarfile
import tempfile

SKIPPED = 77
try:
    import dkim
except ImportError:
    # Debian's modules belong to Debian's Python, which need not be the first one in the path.
    if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3") and not os.environ.get("ORACLE_AGAIN"):
        os.environ["ORACLE_AGAIN"] = "1"
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("skipped: python3-dkim is not here")
    sys.exit(SKIPPED)

ROOT = pathlib.Path(__file__).resolve().parent.parent
logging.disable(logging.CRITICAL)


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


def rsa_pair(bits):
    import base64
    pem = openssl("genrsa", "-traditional", str(bits))
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(openssl("rsa", "-pubout", "-outform", "DER", data=pem))


def made_message(r):
    words = ["one", "two", "  three", "four\t", "", " ", "\t", "fünf".encode().decode("latin-1"), "=C3", ".", "..", "From x"]
    line = lambda: "".join(r.choice(words) + r.choice([" ", "  ", "\t", ""]) for _ in range(r.randrange(6)))
    fields = ["From: a@example.org", "To: b@example.net"]
    for name in ["Subject", "SUBJECT", "Date", "X-Odd", "Cc", "Received", "MIME-Version"]:
        if r.random() < 0.6:
            gap = r.choice([": ", ":", ":   ", ":\r\n "])
            fields.append(name + gap + "x" + line().replace("\r", "") + r.choice(["", "\r\n\t folded  y ", "  "]))
    r.shuffle(fields)
    body = "".join(line() + "\r\n" for _ in range(r.randrange(8))) + "\r\n" * r.randrange(4)
    if r.random() < 0.05:
        body = ""
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode("latin-1")


def real_messages():
    folder = pathlib.Path(os.environ.get("COHUE_DATA", ROOT.parent / "shared" / "data"))
    for path in folder.rglob("spamassassin-ham-850.tar.gz") if folder.is_dir() else []:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile():
                    data = tar.extractfile(member).read()
                    if data.startswith(b"From "):
                        data = data.split(b"\n", 1)[1]
                    yield data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def run(dump, *args, messages):
    data = b"".join(b"%d\n" % len(m) + m for m in messages)
    return subprocess.run([dump, *args], input=data, capture_output=True, check=True).stdout


def changed(r, message):
    at = r.randrange(len(message))
    kind = r.randrange(3)
    if kind == 0:
        return message[:at] + bytes([message[at] ^ (1 << r.randrange(7))]) + message[at + 1:]
    if kind == 1:
        return message[:at] + b" " + message[at:]
    return message[:at] + message[at + 1:]


ONCE = {b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"message-id", b"in-reply-to", b"references", b"subject", b"date",
        b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id",
        b"content-description", b"content-language", b"content-location", b"content-md5"}


def has_unsigned_double(message):
    """RFC 6376 section 8.15: a field that may stand once stands more often than h= names it. dkimpy lets it pass; we do not."""
    head = re.sub(rb"\r\n(?=[ \t])", b"", message.split(b"\r\n\r\n")[0])
    lines = [line.split(b":", 1) for line in head.split(b"\r\n")]
    signature = next((value for name, value in lines if name.strip().lower() == b"dkim-signature"), b"")
    found = re.search(rb"(?:^|;)\s*h\s*=([^;]*)", signature)
    named = collections.Counter(n.strip().lower() for n in found[1].split(b":")) if found else {}
    there = collections.Counter(name.strip().lower() for name, _ in lines)
    return any(count > 1 and count > named.get(name, 0) for name, count in there.items() if name in ONCE)


def doubled(r, message):
    """One more of what stands once already, on top."""
    name = r.choice([b"Subject", b"To", b"Date", b"Content-Type", b"cc"])
    return name + b": EVIL\r\n" + (name + b": evil\r\n" if r.random() < 0.3 else b"") + message


def sound(message):
    """SMTP carries only CRLF line ends; where the header ends must be beyond doubt for both."""
    bare = message.replace(b"\r\n", b"")
    head = message.split(b"\r\n\r\n")[0].split(b"\r\n")
    return (b"\r" not in bare and b"\n" not in bare and b"\0" not in message and b"\r\n\r\n" in message
            and message.endswith(b"\r\n")  # dkimpy leaves blanks at an end without line end, which SMTP cannot carry
            and all(line[:1] in b" \t" and line.strip() or b":" in line and line.split(b":")[0].replace(b"-", b"").isalnum()
                    for line in head) and head[0][:1] not in b" \t")


def main():
    dump, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 400
    r = random.Random(20)
    pem, record = rsa_pair(1024)
    ed_seed = b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="  # RFC 8032 section 7.1, test 1
    ed_record = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    records = {b"rsa._domainkey.example.org": record, b"ed._domainkey.example.org": ed_record}
    dns = lambda name, timeout=5: records.get(name.rstrip(b"."))
    real = [m for m in real_messages() if sound(m)]
    sources = [made_message(r) for _ in range(count)] + real
    signed, bad = [], 0
    for m in sources:
        canon = (r.choice([b"relaxed", b"simple"]), r.choice([b"relaxed", b"simple"]))
        ed = r.random() < 0.3
        try:
            field = dkim.sign(m, b"ed" if ed else b"rsa", b"example.org", ed_seed if ed else pem, canonicalize=canon,
                              signature_algorithm=b"ed25519-sha256" if ed else b"rsa-sha256")
        except dkim.DKIMException:
            continue  # no From, and the like
        whole = field + m
        signed.append(whole)
        signed += [c for c in (changed(r, whole) for _ in range(2)) if sound(c)]
        signed.append(doubled(r, whole))
    with tempfile.NamedTemporaryFile() as f:
        for name, text in records.items():
            f.write(name + b"\t" + text + b"\n")
        f.flush()
        ours = run(dump, "verify", f.name, messages=signed).decode().splitlines()
        passed = doubles = 0
        for message, line in zip(signed, ours, strict=True):
            try:
                theirs = dkim.DKIM(message, minkey=1024).verify(dnsfunc=dns)
            except dkim.DKIMException:
                theirs = False
            except Exception:  # it does not survive some changes: no opinion
                continue
            passed += theirs
            double = theirs and has_unsigned_double(message)
            doubles += double
            if (theirs and not double) != (" dkim=pass" in line):
                bad += 1
                print(f"dkimpy says {theirs}, we say {line!r} of {message[:900]!r}")
        print(f"{len(signed)} messages signed by dkimpy, {passed} of them valid, {doubles} of those with a field doubled, {bad} judged differently")
    for algorithm in ("rsa", "ed25519"):
        for verb in ("sign", "seal"):
            out = run(dump, verb, algorithm, "example.org", "arc", messages=sources)
            mine, rest = out.split(b"\n", 1)
            records[b"arc._domainkey.example.org"] = mine
            if verb == "seal" and algorithm != "rsa":
                continue  # dkimpy knows RSA seals alone
            good = total = 0
            while rest:
                length, rest = rest.split(b"\n", 1)
                message, rest = rest[:int(length)], rest[int(length):]
                try:
                    if verb == "sign":
                        good += dkim.DKIM(message).verify(dnsfunc=dns)
                    else:
                        good += dkim.arc_verify(message, dnsfunc=dns)[0] == dkim.CV_Pass
                except dkim.DKIMException:
                    pass
                total += 1
            print(f"{verb} {algorithm}: dkimpy verifies {good} of {total}")
            bad += total - good
    return 1 if bad else 0


sys.exit(main())
