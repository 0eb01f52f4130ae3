#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares what src/mail reads with what Python's email package reads.

oracle_mail.py MAIL_DUMP [FOLDER-OR-TAR]

Without the second argument: spamassassin-ham-850.tar.gz under $COHUE_DATA or
../shared/data beside the source tree; exits with 77 (skipped) where it is absent.
Each message is read as it is (LF) and with CRLF line ends.
"""
import email
import email.header
import email.policy
import email.utils
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import warnings

SKIPPED = 77
warnings.simplefilter("ignore")


def octets(text):
    return None if text is None else text.encode("latin-1")


def utf8(text):
    return None if text is None else octets(text).decode("utf-8")


def messages(where):
    if where.is_dir():
        for path in sorted(p for p in where.rglob("*") if p.is_file()):
            yield str(path.relative_to(where)), path.read_bytes()
    else:
        with tarfile.open(where) as tar:
            for member in tar:
                if member.isfile():
                    yield member.name, tar.extractfile(member).read()


def is_broken_multipart(part):
    names = {type(d).__name__ for d in part.defects}
    return part.get_content_maintype() == "multipart" and (
        not part.is_multipart()
        or bool(names & {"NoBoundaryInMultipartDefect", "StartBoundaryNotFoundDefect"}))


def flatten(part):
    """Python's parts in our order. It also splits message/* that are not message/rfc822."""
    yield part
    if part.is_multipart() and (part.get_content_maintype() == "multipart"
                                or part.get_content_type() == "message/rfc822"):
        for child in part.get_payload():
            yield from flatten(child)


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


def decoded(part, name):
    """A header as people read it, by the modern parser of the email package."""
    value = part.get(name)
    return None if value is None else squeeze(str(value))


def windows_1252(text):
    return "".join(bytes([ord(c)]).decode("cp1252", "replace") if 0x80 <= ord(c) < 0xa0 else c for c in text)


def within_word(match):
    return str(email.header.make_header(email.header.decode_header(match.group(0))))


def raw_text(value):
    return value.encode("ascii", "surrogateescape") if isinstance(value, str) else value


class Comparison:
    def __init__(self):
        self.failures = []
        self.tolerated = {}
        self.counts = {"messages": 0, "parts": 0, "fields": 0, "addresses": 0, "subjects": 0, "dates": 0}

    def fail(self, path, what, ours, theirs):
        self.failures.append(f"{path}: {what}\n   ours:   {ours!r}\n   theirs: {theirs!r}")

    def tolerate(self, path, why):
        self.tolerated.setdefault(why, []).append(path)

    def compare(self, path, data, ours):
        self.counts["messages"] += 1
        legacy = email.message_from_bytes(data, policy=email.policy.compat32)
        modern = email.message_from_bytes(data, policy=email.policy.default)
        self.slices(path, data, ours)
        theirs = list(flatten(legacy))
        parts = ours["parts"]
        if len(parts) != len(theirs):
            self.fail(path, "number of parts", [p["type"] for p in parts],
                      [p.get_content_type() for p in theirs])
            return
        for mine, other, new in zip(parts, theirs, flatten(modern)):
            self.part(path, data, mine, other)
            if mine.get("envelope"):
                self.envelope(path, mine, other, new)

    def slices(self, path, data, ours):
        """Header, what stands before, between and behind the children, in order: every octet once."""
        parts = ours["parts"]
        children = {}
        for i, part in enumerate(parts):
            children.setdefault(part["parent"], []).append(i)

        def pieces(i):
            p = parts[i]
            at = p["header_at"]
            yield data[at:at + p["header_len"]]
            at += p["header_len"]
            assert at == p["body_at"]
            for child in children.get(i, []):
                yield data[at:parts[child]["header_at"]]
                yield from pieces(child)
                at = parts[child]["body_at"] + parts[child]["body_len"]
            end = p["body_at"] + p["body_len"]
            assert at <= end
            yield data[at:end]

        whole = b"".join(pieces(0))
        if whole != data or ours["size"] != len(data):
            self.fail(path, "octets", len(whole), len(data))

    def part(self, path, data, mine, other):
        self.counts["parts"] += 1
        kind = (mine["type"] + "/" + mine["subtype"]).lower()
        if kind != other.get_content_type():
            if is_broken_multipart(other) and kind == "text/plain":
                self.tolerate(path, "a multipart without a delimiter line is text/plain")
            else:
                self.fail(path, "type", kind, other.get_content_type())
        fields = [(octets(n), octets(v)) for n, v in mine["fields"]]
        theirs = [(raw_text(n), raw_text(v)) for n, v in other.raw_items()]
        self.counts["fields"] += len(fields)
        norm = [(n, v.replace(b"\r\n", b"\n").lstrip(b" \t").rstrip(b"\r\n")) for n, v in fields]
        other_norm = [(n, v.replace(b"\r\n", b"\n").lstrip(b" \t").rstrip(b"\r\n")) for n, v in theirs]
        if norm != other_norm:
            diff = [(a, b) for a, b in zip(norm, other_norm) if a != b][:1]
            self.fail(path, "fields", diff or norm[len(other_norm):], other_norm[len(norm):])
        if mine["kind"] == 0 and not other.is_multipart():
            self.body(path, mine, other)
        filename = other.get_filename()
        if filename is not None and filename.isascii() and "=?" not in filename:
            if squeeze(utf8(mine.get("filename")) or "") != squeeze(filename):
                self.fail(path, "filename", mine.get("filename"), filename)

    def body(self, path, mine, other):
        ours = octets(mine["decoded"])
        theirs = other.get_payload(decode=True)
        # RFC 2045 6.7 rule 3 drops blanks at the ends of lines; Python keeps them.
        ours, theirs = (re.sub(rb"[ \t\r]+(\n|$)", rb"\1", x).rstrip() for x in (ours, theirs))
        if ours != theirs and b"==" in other.get_payload().encode("ascii", "surrogateescape"):
            self.tolerate(path, "a false escape '==' in quoted-printable stays as it is written")
        elif ours != theirs:
            self.fail(path, "decoded body", ours[:80], theirs[:80])

    def envelope(self, path, mine, other, new):
        env = mine["envelope"]
        if env["truncated"]:
            self.fail(path, "truncated", True, False)
        self.counts["subjects"] += 1
        subject = utf8(env["subject"])
        theirs = decoded(new, "subject")
        if (None if subject is None else squeeze(subject)) != theirs:
            raw = raw_text(dict((n.lower(), v) for n, v in reversed(list(other.raw_items()))).get("subject", ""))
            if not raw.isascii():
                self.tolerate(path, "octets above 127 in a header are windows-1252, not unknown-8bit")
            elif subject is not None and squeeze(subject) == windows_1252(theirs):
                self.tolerate(path, "ISO-8859-1 means windows-1252")
            else:
                self.fail(path, "subject", subject, theirs)
        self.date(path, env, other)
        for name in ("from", "to", "cc"):
            self.addresses(path, name, env[name], new)

    def date(self, path, env, other):
        value = other.get("date")
        if value is None:
            return
        self.counts["dates"] += 1
        parsed = email.utils.parsedate_tz(str(value))
        theirs = None if parsed is None else email.utils.mktime_tz(parsed)
        if (env["sent"] if env["has_sent"] else None) != theirs:
            self.fail(path, "date " + str(value), env["sent"] if env["has_sent"] else None, theirs)

    def addresses(self, path, name, ours, new):
        header = new.get(name)
        if header is None:
            if ours:
                self.fail(path, name, ours, None)
            return
        mine = []
        for a in ours:
            if a["kind"] == 0:
                local, domain = utf8(a["local"]) or "", utf8(a["domain"]) or ""
                mine.append((squeeze(utf8(a["name"]) or ""), local, domain))
        theirs = [(squeeze(a.display_name), a.username, a.domain) for a in header.addresses]
        self.counts["addresses"] += len(mine)
        if [m[1:] for m in mine] != [t[1:] for t in theirs]:
            old = email.utils.getaddresses([squeeze(str(header))])
            old = [tuple(a.rpartition("@")[::2]) if "@" in a else (a, "") for _, a in old if a]
            if old == [(m[1], m[2]) if m[2] else (m[1], "") for m in mine]:
                self.tolerate(path, "an address that only Python's older parser reads as we do")
            elif header.defects:
                self.tolerate(path, "an address list that Python calls defective")
            else:
                self.fail(path, name, mine, theirs)
            return
        for m, t in zip(mine, theirs):
            if m[0] != t[0]:
                if not t[0] and m[0]:
                    self.tolerate(path, "a comment stands for the display name")
                elif "=?" in t[0] and m[0] == re.sub(r"=\?([^?]+)\?[bBqQ]\?[^?]+\?=", within_word, t[0]):
                    self.tolerate(path, "an encoded word inside of a word is decoded")
                elif header.defects:
                    self.tolerate(path, "a display name that Python calls defective")
                else:
                    self.fail(path, name, m, t)


def run(dump, source, limit_lines):
    result = Comparison()
    with tempfile.TemporaryDirectory() as folder:
        batch = []
        for number, (name, data) in enumerate(source):
            for suffix, octets_ in (("lf", data), ("crlf", re.sub(rb"\r?\n", b"\r\n", data))):
                path = os.path.join(folder, f"{number}.{suffix}")
                with open(path, "wb") as f:
                    f.write(octets_)
                batch.append((f"{name} ({suffix})", path, octets_))
        for start in range(0, len(batch), 50):
            chunk = batch[start:start + 50]
            output = subprocess.run([dump] + [p for _, p, _ in chunk], check=True,
                                    stdout=subprocess.PIPE).stdout.splitlines()
            assert len(output) == len(chunk)
            for (name, _, data), line in zip(chunk, output):
                ours = json.loads(line)
                if len(ours["parts"]) == 1 and len(data) < 10000 and ours["summary"] >= 1024:
                    result.tolerate(name, "a summary of a plain message of 1 KiB or more")
                result.compare(name, data, ours)
    print(" ".join(f"{k}={v}" for k, v in result.counts.items()))
    for why, paths in sorted(result.tolerated.items()):
        print(f"tolerated: {why}: {len(paths)} ({paths[0]})")
    for failure in result.failures[:limit_lines]:
        print(failure)
    print(f"{len(result.failures)} disagreements")
    return 1 if result.failures or result.counts["messages"] == 0 else 0


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    if len(sys.argv) > 2:
        where = pathlib.Path(sys.argv[2])
    else:
        data = os.environ.get("COHUE_DATA")
        folder = pathlib.Path(data) if data else root.parent / "shared" / "data"
        where = folder / "spamassassin-ham-850.tar.gz"
    if not where.exists():
        print("no messages here: skipped")
        return SKIPPED
    return run(sys.argv[1], messages(where), 40)


if __name__ == "__main__":
    sys.exit(main())
