# SPDX-License-Identifier: AGPL-3.0-or-later
"""Members' public keys carry the keeper's signature; a house made before there were signatures gets them at its next start."""

import contextlib
import ctypes
import json
import os
import pathlib
import random
import re
import smtplib
import sqlite3
import sys
import unittest

from harness import Cohue
from harness.cohue import ROOT
from harness.wait import wait_until
from peers import Knot, peers_available

sys.path.insert(0, str(ROOT / "test" / "reader"))
import reader  # noqa: E402  (the independent reader of the formats)

WRITE = b"From: stranger@elsewhere.test\r\nTo: alice@house.test\r\nSubject: a letter\r\n\r\nwords\r\n"


def aead_seal(key: bytes, nonce: bytes, ad: bytes, plain: bytes) -> bytes:
    out = ctypes.create_string_buffer(len(plain) + 16)
    reader.sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
        out, None, plain, ctypes.c_ulonglong(len(plain)), ad, ctypes.c_ulonglong(len(ad)), None, nonce, key)
    return out.raw


class SignedKeys(unittest.TestCase):
    def setUp(self) -> None:
        self.c = Cohue()
        self.addCleanup(self.c.destroy)
        self.c.init()
        self.c.start()
        self.alice = self.c.add_member("alice")
        self.c.add_member("bob")
        self.c.imap(self.alice).logout()
        self.c.stop()
        house = bytes.fromhex(pathlib.Path(self.c.key).read_text().strip())
        self.seal = reader.mac(house, b"directory-seal")
        self.mac_key = reader.mac(house, b"public-key-mac")
        self.verify_key = reader.ed25519_public(reader.mac(house, b"public-key-sign"))

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(str(next((self.c.home / "store").glob("*.db"))))

    def accounts(self) -> dict[bytes, bytes]:
        """key -> plain entry, of all accounts"""
        with contextlib.closing(self.database()) as db:
            rows = db.execute("SELECT key, value FROM directory").fetchall()
        opened = {key: reader.directory_open(self.seal, key, value) for key, value in rows}
        return {key: plain for key, plain in opened.items() if plain[0] == 2}

    def split(self, plain: bytes) -> tuple[bytes, bytes, bytes, bytes, int, bytes]:
        """What stands before the public key; account, generation and key; its proof; what stands behind."""
        r = reader.Reader(plain)
        r.fixed(1)
        version = r.number(1)
        account = r.fixed(16)
        r.fixed(1)
        r.text()
        for _ in range(r.number(2)):
            r.text()
        generation = r.fixed(4)
        public = r.fixed(32)
        proof = r.fixed(64 if version >= 2 else 32)
        before = plain[:len(plain) - len(r.data) - len(proof) - 36]
        return before, account, generation, public, proof, r.data

    def put(self, db: sqlite3.Connection, key: bytes, plain: bytes) -> None:
        padded = (plain + b"\x80").ljust((len(plain) // 512 + 1) * 512, b"\0")
        nonce = os.urandom(24)
        value = b"\1" + nonce + aead_seal(self.seal, nonce, b"cohue directory 1\1" + key, padded)
        db.execute("UPDATE directory SET value = ?, sum = NULL WHERE key = ?", (value, key))

    def make_old(self, damaged: bool = False) -> None:
        """As entries were before: version 1, with a MAC."""
        with contextlib.closing(self.database()) as db, db:
            for key, plain in self.accounts().items():
                before, account, generation, public, _, rest = self.split(plain)
                proof = reader.mac(self.mac_key, b"cohue public key 1" + account + generation + public)
                if damaged:
                    public = os.urandom(32)
                # What came behind quota and day came later.
                old = before[:1] + b"\1" + before[2:] + generation + public + proof + rest[:12]
                self.put(db, key, old)
            db.execute("DELETE FROM meta WHERE CAST(name AS TEXT) = 'directory-form'")

    def versions(self) -> set[int]:
        return {plain[1] for plain in self.accounts().values()}

    def test_an_older_house_gets_its_signatures_at_the_next_start(self) -> None:
        c = self.c
        self.assertGreater(min(self.versions()), 1)
        self.make_old()
        self.assertEqual(self.versions(), {1})
        c.cli("check")
        c.start()
        with c.smtp() as s:
            s.sendmail("stranger@elsewhere.test", ["alice@house.test", "bob@house.test"], WRITE)
        self.assertEqual(len(c.wait_mail(self.alice)), 1)
        c.stop()
        accounts = self.accounts()
        self.assertEqual(len(accounts), 2)
        for plain in accounts.values():
            self.assertGreater(plain[1], 1)
            _, account, generation, public, proof, _ = self.split(plain)
            self.assertTrue(reader.ed25519_verify(
                self.verify_key, b"cohue public key 2" + account + generation + public, proof))
        c.cli("check")

    def test_a_key_whose_mac_does_not_fit_is_not_signed_and_nothing_is_sealed_to_it(self) -> None:
        c = self.c
        self.make_old(damaged=True)
        ran = c.cli("check", check=False)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("does not verify", ran.stdout)
        c.start()
        self.assertIn("public key does not verify", c.log())
        with c.smtp() as s:
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                s.sendmail("stranger@elsewhere.test", ["alice@house.test"], WRITE)
        self.assertEqual({code // 100 for code, _ in refused.exception.recipients.values()}, {4})
        c.stop()
        self.assertEqual(self.versions(), {1})

    def test_mail_is_sent_on_to_no_address_that_she_has_not_signed(self) -> None:
        # Who has the store and a gate's keys writes another address in the place of hers.
        c = self.c
        c.start()
        # What nobody has looked at does not go on.
        words = ("member", "forward", "alice", "alice@peer.test")
        refused = c.cli(*words, stdin=self.alice.password + "\n", check=False)
        self.assertEqual((refused.returncode, "`authentication = enforce`" in refused.stderr), (1, True), refused.stderr)
        c.stop()
        peers_available()
        dns = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.21"
        knot = self.enterContext(Knot({"elsewhere.test": ['@ TXT "v=spf1 ?all"']}, address=dns, port=53))
        c.settings |= {"authentication": "mark", "resolver.stub": dns, "resolver.trust_anchor": knot.anchor}
        c.start()
        for name in ("alice", "bob"):
            c.cli("member", "forward", name, f"{name}@peer.test", stdin=c.members[name].password + "\n")
        c.stop()
        c.cli("check")
        with contextlib.closing(self.database()) as db, db:
            for key, plain in self.accounts().items():
                self.put(db, key, plain.replace(b"alice@peer.test", b"thief@peer.test"))
        ran = c.cli("check", check=False)
        self.assertEqual((ran.returncode, ran.stdout.count("is sent on is not signed")), (1, 1), ran.stdout)
        c.start()
        with c.smtp() as s:
            s.sendmail("stranger@elsewhere.test", ["alice@house.test", "bob@house.test"], WRITE)

        def counts():
            found = [int(n) for n in re.findall(r'"(?:not_)?forwarded": "?(\d+)', json.dumps(c.cli_json("status")))]
            return found if sum(found) == 2 else None
        # Bob's, and not hers.
        self.assertEqual(wait_until(counts, 20, "both decisions"), [1, 1])
        c.stop()
        c.settings["authentication"] = "off"
        c.start()
        with c.smtp() as s:
            s.sendmail("stranger@elsewhere.test", ["alice@house.test", "bob@house.test"], WRITE)
        self.assertEqual(wait_until(counts, 20, "both decisions"), [0, 2])

    def test_after_that_a_mac_is_no_proof_any_more(self) -> None:
        # Who had captured a gate when gates had the MAC's key, and the store, puts in a key of his own.
        c = self.c
        with contextlib.closing(self.database()) as db:
            signed = db.execute("SELECT name, value FROM meta WHERE CAST(name AS TEXT) = 'directory-form'").fetchall()
        self.make_old()
        with contextlib.closing(self.database()) as db, db:
            db.executemany("INSERT INTO meta(name, value) VALUES(?, ?)", signed)
        c.start()
        with c.smtp() as s:
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                s.sendmail("stranger@elsewhere.test", ["alice@house.test"], WRITE)
        self.assertEqual({code // 100 for code, _ in refused.exception.recipients.values()}, {4})


if __name__ == "__main__":
    unittest.main()
