#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a client does after news is seen: mbsync in a loop, and one that waits in IDLE and fetches what it is told of.

Prints the TLS records that cross the member's line where there was a letter, and where there was none.
"""

import pathlib
import smtplib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "test"))
from harness.cohue import Cohue, Member  # noqa: E402
from harness.dialogue import imap_login  # noqa: E402
from harness.relay import Relay  # noqa: E402

ROUNDS = 6
TEXT = b"From: bob@stranger.test\r\nSubject: x\r\n\r\n" + b"Some words in a line of a letter.\r\n" * 60


def stranger(house: Cohue, to: str) -> None:
    with smtplib.SMTP("127.0.0.1", house.port(25), local_hostname="stranger.test", timeout=20) as client:
        client.sendmail("bob@stranger.test", [to], TEXT)


def show(name: str, line: Relay, since: int) -> None:
    time.sleep(0.3)
    records = [r for r in line.records[since:] if r.kind == 23]
    client = [r.size for r in records if r.outgoing]
    server = [r.size for r in records if not r.outgoing]
    print(f"  {name}: client {len(client)} records, {sum(client)} bytes; server {len(server)} records: {server}", flush=True)


def mbsync(house: Cohue, alice: Member, line: Relay) -> None:
    with tempfile.TemporaryDirectory() as place:
        certificate = pathlib.Path(place, "cert")
        subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{house.port(993)}"], stdin=subprocess.DEVNULL,
                       stdout=certificate.open("wb"), stderr=subprocess.DEVNULL, check=False)
        config = pathlib.Path(place, "rc")
        config.write_text(f"IMAPStore far\nHost 127.0.0.1\nPort {line.port}\nUser {alice.address}\nPass {alice.password}\n"
                          f"SSLType IMAPS\nSystemCertificates no\nCertificateFile {certificate}\n\n"
                          f"MaildirStore near\nPath {place}/\nInbox {place}/INBOX\n\n"
                          "Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n")
        for number in range(2 * ROUNDS):
            if number % 2 == 1:
                stranger(house, alice.address)
                time.sleep(0.3)
            since = len(line.records)
            ran = subprocess.run(["mbsync", "-q", "-c", str(config), "all"], capture_output=True, check=False, timeout=30)
            if ran.returncode != 0:
                sys.exit(f"mbsync: {ran.stderr.decode()}")
            show("a letter" if number % 2 == 1 else "none    ", line, since)


def waits(house: Cohue, alice: Member, line: Relay) -> None:
    client = imap_login(line.port, alice.address, alice.password)
    client.select("INBOX")
    client.send(b"i IDLE\r\n")
    client.readline()
    for number in range(2 * ROUNDS):
        since = len(line.records)
        if number % 2 == 1:
            stranger(house, alice.address)
            count = client.readline().split()[1]
            client.readline()
            client.send(b"DONE\r\n")
            client.readline()
            client.fetch(count.decode(), "(BODY.PEEK[])")
            client.send(b"i IDLE\r\n")
            client.readline()
        show("a letter" if number % 2 == 1 else "none    ", line, since)
    client.shutdown()


def main() -> None:
    # Without waiting, so that nothing else crosses the line: when the clock strikes says bench/beats.py.
    with Cohue() as house, Relay(house.port(993)) as line:
        alice = house.add_member("alice")
        print("mbsync, one run each:")
        mbsync(house, alice, line)
        print("a client in IDLE:")
        waits(house, alice, line)


if __name__ == "__main__":
    main()
