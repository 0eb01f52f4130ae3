#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""An independent reader of the sealed formats, written from docs/store-format.md alone.

Reads what `sealed_sample` prints and opens all of it: house key and passwords in, messages out. Uses Python's
standard library, and by ctypes the system's libsodium (X25519, XChaCha20-Poly1305, Argon2id) and libzstd.
Exit code 77 (skipped) where one of them is not there.
"""
import ctypes
import ctypes.util
import hashlib
import hmac
import struct
import subprocess
import sys


def load(name):
    path = ctypes.util.find_library(name)
    if path is None:
        print("skipped: no lib" + name)
        sys.exit(77)
    return ctypes.CDLL(path)


sodium = load("sodium")
zstd = load("zstd")
sodium.sodium_init()
zstd.ZSTD_decompress.restype = ctypes.c_size_t
zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
zstd.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
zstd.ZSTD_findFrameCompressedSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
zstd.ZSTD_isError.argtypes = [ctypes.c_size_t]


class Refused(Exception):
    pass


def need(holds, what):
    if not holds:
        raise Refused(what)


# --- primitives -------------------------------------------------------------------------------

def mac(key, data):
    return hashlib.blake2b(data, digest_size=32, key=key).digest()


def digest(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def x25519(secret, public):
    out = ctypes.create_string_buffer(32)
    need(sodium.crypto_scalarmult(out, secret, public) == 0, "small order")
    return out.raw


def x25519_base(secret):
    out = ctypes.create_string_buffer(32)
    sodium.crypto_scalarmult_base(out, secret)
    return out.raw


def ed25519_public(seed):
    public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
    sodium.crypto_sign_seed_keypair(public, secret, seed)
    return public.raw


def ed25519_verify(public, data, signature):
    return sodium.crypto_sign_verify_detached(signature, data, ctypes.c_ulonglong(len(data)), public) == 0


def aead_open(key, nonce, ad, cipher):
    need(len(cipher) >= 16, "short")
    out = ctypes.create_string_buffer(max(1, len(cipher)))
    got = ctypes.c_ulonglong()
    bad = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        out, ctypes.byref(got), None, cipher, ctypes.c_ulonglong(len(cipher)), ad, ctypes.c_ulonglong(len(ad)),
        nonce, key)
    need(bad == 0, "authentication")
    return out.raw[:got.value]


def box_open(secret, label, ad, box):
    public = x25519_base(secret)
    ephemeral = box[:32]
    key = mac(x25519(secret, ephemeral),
              b"cohue box 1" + bytes([len(label)]) + label + ephemeral + public)
    return aead_open(key, bytes(24), ad, box[32:])


def argon2id(password, salt):
    out = ctypes.create_string_buffer(32)
    bad = sodium.crypto_pwhash(out, ctypes.c_ulonglong(32), password, ctypes.c_ulonglong(len(password)), salt,
                               ctypes.c_ulonglong(3), ctypes.c_size_t(64 << 20), 2)
    need(bad == 0, "argon2id: no memory")
    return out.raw


def unpad(plain):
    body = plain.rstrip(b"\0")
    need(body.endswith(b"\x80"), "padding")
    return body[:-1]


def body_open(key, ad, body):
    return unpad(aead_open(key, body[:24], ad, body[24:]))


class Reader:
    """Big-endian integers, byte strings behind a 32-bit length; `end` demands that nothing is left."""

    def __init__(self, data):
        self.data = data

    def fixed(self, n):
        need(len(self.data) >= n, "truncated")
        got, self.data = self.data[:n], self.data[n:]
        return got

    def number(self, n):
        return int.from_bytes(self.fixed(n), "big")

    def text(self):
        return self.fixed(self.number(4))

    def end(self):
        need(not self.data, "something is left over")


def u32(v):
    return struct.pack(">I", v)


def u64(v):
    return struct.pack(">Q", v)


# --- formats ----------------------------------------------------------------------------------

def directory_open(seal, key, value):
    need(value[0] == 1, "version")
    return body_open(seal, b"cohue directory 1" + b"\1" + key, value[1:])


ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def code_parse(text, kind):
    text = text.lower().translate(str.maketrans("oil", "011"))
    number = 0
    if kind == 2:
        head, text = text.split("-", 1)
        number = int(head)
    bits = "".join(format(ALPHABET.index(c), "05b") for c in text if c not in "- ")
    secret_bits, check_bits = (128, 7) if kind == 2 else (160, 15)
    need(len(bits) == secret_bits + check_bits, "length of a code")
    secret = int(bits[:secret_bits], 2).to_bytes(secret_bits // 8, "big")
    said = int(bits[secret_bits:], 2)
    if kind == 2:
        check = digest(b"cohue app password check 1" + u32(number) + secret)
    else:
        check = digest(b"cohue recovery code check 1" + secret)
    need(int.from_bytes(check[:2], "big") >> (16 - check_bits) == said, "checksum")
    return number, secret


class SlotList:
    def __init__(self, plain):
        self.plain = plain
        r = Reader(plain)
        need(r.number(1) == 3, "kind")
        version = r.number(1)
        need(version in (1, 2, 3), "version")
        self.account = r.fixed(16)
        self.revision = r.number(4) if version >= 2 else 0
        need(version == 1 or self.revision > 0, "revision")
        self.next = r.number(4)
        self.salt, self.rounds = (r.fixed(16), r.number(4)) if version >= 3 else (b"", 0)
        self.slots = []
        for _ in range(r.number(2)):
            self.slots.append({
                "number": r.number(4), "kind": r.number(1), "day": r.number(4), "public": r.fixed(32),
                "salt": r.fixed(16), "wrapped": r.fixed(72), "label_generation": r.number(4),
                "label": r.fixed(112), "newest": r.fixed(80)})
            if version >= 3 and r.number(1) == 1:
                self.slots[-1].update(verifier=r.fixed(104), scram=r.fixed(72))
        count = r.number(2)
        self.publics, self.older = [], []
        for i in range(count):
            self.publics.append(r.fixed(32))
            if i + 1 < count:
                self.older.append(r.fixed(72))
        r.end()

    def open(self, slot, key):
        """All generations' secrets, oldest first, from the key that wraps the slot's secret."""
        ad = b"cohue slot 1" + self.account + u32(slot["number"]) + bytes([slot["kind"]]) + slot["public"]
        return self.unlock(slot, aead_open(key, slot["wrapped"][:24], ad, slot["wrapped"][24:]))

    def unlock(self, slot, secret):
        need(x25519_base(secret) == slot["public"], "slot's public key")
        count = len(self.publics)
        ad = self.account + u32(slot["number"]) + u32(count) + self.publics[-1]
        secrets = [box_open(secret, b"cohue generation 1", ad, slot["newest"])]
        for generation in range(count - 1, 0, -1):
            wrapped = self.older[generation - 1]
            ad = b"cohue older generation 1" + self.account + u32(generation) + self.publics[generation - 1]
            key = mac(secrets[0], b"cohue older generation key 1")
            secrets.insert(0, aead_open(key, wrapped[:24], ad, wrapped[24:]))
        need([x25519_base(s) for s in secrets] == self.publics, "public keys")
        return secrets

    def open_main(self, pepper, password):
        slot = next(s for s in self.slots if s["kind"] == 1)
        return self.open(slot, argon2id(mac(pepper, b"cohue password 1" + password), slot["salt"]))

    def open_code(self, pepper, text, kind):
        number, secret = code_parse(text, kind)
        label = b"cohue app password 1" if kind == 2 else b"cohue recovery code 1"
        slot = next(s for s in self.slots if s["kind"] == kind and (kind == 3 or s["number"] == number))
        return self.open(slot, mac(pepper, label + self.account + u32(slot["number"]) + slot["salt"] + secret))

    def open_scram(self, pepper, text, number):
        """What the opener does with a right proof, and what it then knows: the keys, and StoredKey and ServerKey."""
        slot = next(s for s in self.slots if s["number"] == number)
        salted = hashlib.pbkdf2_hmac("sha256", text.encode(), self.salt, self.rounds)
        client, server = (hmac.digest(salted, label, "sha256") for label in (b"Client Key", b"Server Key"))
        who = self.account + u32(number)
        ad = b"cohue scram verifier 1" + who + slot["public"] + self.salt + u32(self.rounds)
        key = mac(pepper, b"cohue scram verifier key 1" + who + slot["salt"])
        need(aead_open(key, slot["verifier"][:24], ad, slot["verifier"][24:]) ==
             hashlib.sha256(client).digest() + server, "verifier")
        key = mac(pepper, b"cohue scram client key 1" + who + slot["salt"] + client)
        ad = b"cohue slot scram 1" + who + slot["public"]
        return self.unlock(slot, aead_open(key, slot["scram"][:24], ad, slot["scram"][24:]))

    def label(self, slot, secrets):
        ad = self.account + u32(slot["number"])
        return unpad(box_open(secrets[slot["label_generation"] - 1], b"cohue slot label 1", ad, slot["label"]))


def blob_ref(r):
    return {"name": r.fixed(16), "key": r.fixed(32), "hash": r.fixed(32), "size": r.number(8),
            "stored": r.number(8), "chunks": r.number(4)}


def blob_open(ref, chunks):
    need(len(chunks) == ref["chunks"], "chunks")
    need(digest(b"".join(chunks)) == ref["hash"], "hash")
    need(sum(map(len, chunks)) == ref["stored"], "stored")
    plain = b""
    for i, chunk in enumerate(chunks):
        need(chunk[0] == 1, "version")
        ad = b"cohue blob 1" + b"\1" + ref["name"] + u32(i) + bytes([i + 1 == len(chunks)])
        plain += aead_open(ref["key"], bytes(20) + u32(i), ad, chunk[1:])
    ladder = 4096
    while ladder < len(plain):
        ladder *= 4 if ladder < 65536 else 2
    need(ladder == len(plain), "ladder")
    frame = zstd.ZSTD_findFrameCompressedSize(plain, len(plain))
    need(not zstd.ZSTD_isError(frame) and not plain[frame:].strip(b"\0"), "frame and padding")
    out = ctypes.create_string_buffer(max(1, ref["size"]))
    got = zstd.ZSTD_decompress(out, ref["size"], plain[:frame], frame)
    need(got == ref["size"], "size")
    return out.raw[:got]


def arrival_open(account, secrets, sealed):
    r = Reader(sealed)
    need(r.number(1) == 1, "version")
    generation = r.number(4)
    plain = unpad(box_open(secrets[generation - 1], b"cohue arrival 1", b"\1" + account + u32(generation), r.data))
    r = Reader(plain)
    need(r.number(1) == 1, "version")
    got = {"delivery": r.fixed(16), "blob": blob_ref(r), "received": r.number(8), "flags": r.number(4),
           "sender": r.text(), "recipient": r.text(), "summary": r.text(), "extra": r.text()}
    r.end()
    return got


def record_open(account, secrets, kind, n, before, sealed):
    r = Reader(sealed)
    need(r.number(1) == 1, "version")
    generation = r.number(4)
    ad = b"cohue record 1" + b"\1" + account + u32(generation) + bytes([kind]) + u64(n) + before
    return body_open(mac(secrets[generation - 1], b"cohue record key 1"), ad, r.data)


def card_decode(data):
    r = Reader(data)
    need(r.number(1) == 1, "version")
    got = {"blob": blob_ref(r), "date": r.number(8), "flags": r.number(4), "sender": r.text(),
           "recipient": r.text(), "summary": r.text()}
    r.end()
    return got


def snapshot_open(account, secrets, n, name, chunks):
    r = Reader(chunks[0])
    need(r.number(1) == 1, "version")
    generation = r.number(4)
    ad = b"cohue snapshot 1" + b"\1" + account + u32(generation) + u64(n) + name
    r = Reader(body_open(mac(secrets[generation - 1], b"cohue snapshot key 1"), ad, r.data))
    need(r.number(1) == 1 and r.number(8) == n, "version or n")
    head = r.fixed(32)
    ref = blob_ref(r)
    r.end()
    return head, blob_open(ref, chunks[1:])


def state_open(key, unit, value):
    need(value[0] == 1, "version")
    r = Reader(body_open(key, b"cohue spool state 1" + b"\1" + unit, value[1:]))
    version = r.number(1)
    need(version in (1, 2), "version")
    got = {"stage": r.number(1), "sender_kind": r.number(1), "sender": r.fixed(16), "entered": r.number(8),
           "wall": r.number(8), "due": r.number(8), "class": r.number(1), "lane": r.number(1),
           "weight": r.number(4), "attempts": r.number(4), "flags": r.number(4), "epoch": r.number(4)}
    if version == 2:
        got |= {"since_day": r.number(4), "generation": r.number(4), "public_key": r.fixed(32), "left": r.number(8),
                "void": r.number(1), "crowd": r.number(4), "batch": r.number(4)}
    got["parts"] = [{"number": r.number(4), "kind": r.number(1), "account": r.fixed(16), "blob": r.fixed(16),
                     "bytes": r.number(8), "destinations": r.number(4), "attempts": r.number(4),
                     "due": r.number(8), "epoch": r.number(4), "flags": r.number(4)}
                    for _ in range(r.number(2))]
    r.end()
    return got


def courier_open(secret, unit, number, sealed):
    r = Reader(sealed)
    need(r.number(1) == 1, "version")
    epoch = r.number(4)
    ad = b"\1" + u32(epoch) + unit + u32(number)
    r = Reader(unpad(box_open(secret, b"cohue courier part 1", ad, r.data)))
    version = r.number(1)
    need(version in (1, 2), "version")
    got = {"domain": r.text(), "sender": r.text(), "account": r.fixed(16), "generation": r.number(4),
           "public": r.fixed(32), "ret": r.number(1), "envid": r.text(), "blob": blob_ref(r),
           "flags": r.number(4), "message_id": r.text(), "first_release": r.number(8), "entered": r.number(8)}
    got["recipients"] = [{"address": r.text(), "notify": r.number(1), "status": r.number(1), "orcpt": r.text(),
                          "diagnostic": r.text()} for _ in range(r.number(2))]
    need((version == 2) == (got["flags"] & 128 != 0), "a forwarded part is of version 2")
    if version == 2:
        got |= {"forwarder": r.text(), "results": r.text(), "arc": r.number(1), "sets": r.number(1),
                "forwards": r.text(), "signature": r.fixed(64)}
    r.end()
    return got


# --- the sample -------------------------------------------------------------------------------

def refused(fn, *args):
    try:
        fn(*args)
    except Refused:
        return True
    return False


def main():
    text = subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout
    got = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        got[name] = bytes.fromhex(value)
    house, account, unit = got["house"], got["account-id"], got["unit-id"]
    purpose = {p: mac(house, p.encode()) for p in (
        "directory-hash", "directory-seal", "public-key-sign", "pepper", "spool-state", "spool-wrap")}

    key = mac(purpose["directory-hash"], b"slots:" + account)
    slots = SlotList(directory_open(purpose["directory-seal"], key, got["slots"]))
    assert slots.account == account and slots.revision == 6
    assert digest(b"cohue slot list 1" + slots.plain) == got["slots-hash"]
    secrets = slots.open_main(purpose["pepper"], b"main password")
    assert secrets == [got["expect-secret.%d" % i] for i in range(1, len(secrets) + 1)] and len(secrets) == 3
    assert slots.open_code(purpose["pepper"], got["app"].decode(), 2) == secrets
    assert slots.open_scram(purpose["pepper"], got["app"].decode(), 2) == secrets
    assert refused(slots.open_scram, purpose["pepper"], got["app"].decode().upper(), 2)
    assert slots.open_code(purpose["pepper"], got["recovery"].decode().upper(), 3) == secrets
    assert refused(slots.open_main, purpose["pepper"], b"another password")
    assert [slots.label(s, secrets) for s in slots.slots] == [b"at home", b"phone", b""]

    key = mac(purpose["directory-hash"], b"address:alice@example.org")
    r = Reader(directory_open(purpose["directory-seal"], key, got["address"]))
    assert (r.number(1), r.number(1), r.number(1), r.text(), r.number(2), r.fixed(16)) == (
        1, 1, 1, b"alice@example.org", 1, account)
    r.end()
    key = mac(purpose["directory-hash"], b"account:" + account)
    r = Reader(directory_open(purpose["directory-seal"], key, got["account"]))
    assert (r.number(1), r.number(1), r.fixed(16), r.number(1), r.text()) == (2, 6, account, 2, b"alice")
    assert (r.number(2), r.text(), r.number(4)) == (1, b"al@example.org", 3)
    public = r.fixed(32)
    assert public == x25519_base(secrets[-1])
    signature = r.fixed(64)
    statement = b"cohue public key 2" + account + u32(3) + public
    key = ed25519_public(purpose["public-key-sign"])
    assert ed25519_verify(key, statement, signature) and not ed25519_verify(key, statement + b"x", signature)
    assert (r.number(8), r.number(4), r.number(1)) == (1 << 30, 20000, 0)
    held = (r.text(), r.number(4), r.number(2))
    assert held == (b"1a2b3c4d", 3, 5), held
    addresses = (r.number(1), r.text(), r.text())
    assert addresses == (2, b"al@example.net", b"a@example.com")
    assert r.number(4) == 3
    forwards = u32(5) + b"alice" + b"\2" + u32(14) + addresses[1] + u32(13) + addresses[2] + u32(3)
    assert ed25519_verify(key, b"cohue forward 2" + account + digest(forwards), r.fixed(64))
    r.end()

    arrival = arrival_open(account, secrets, got["arrival"])
    assert arrival["sender"] == b"bob@example.net" and arrival["received"] == 1700000000
    assert blob_open(arrival["blob"], [got["blob.0"]]) == got["expect-blob"]
    assert refused(arrival_open, bytes(16), secrets, got["arrival"])
    card = card_decode(record_open(account, secrets, 2, 9, bytes([7]) * 32, got["record"]))
    large = [got["large.%d" % i] for i in range(card["blob"]["chunks"])]
    assert len(large) > 1 and digest(blob_open(card["blob"], large)) == got["expect-large-blake2b"]
    assert refused(record_open, account, secrets, 2, 10, bytes([7]) * 32, got["record"])
    assert refused(blob_open, card["blob"], large[1:] + large[:1])

    chunks = [got["snapshot.%d" % i] for i in range(2)]
    assert snapshot_open(account, secrets, 77, got["snapshot-name"], chunks) == (bytes([8]) * 32, b"a folded log")
    state = state_open(purpose["spool-state"], unit, got["state"])
    assert state["stage"] == 1 and state["sender"] == account and state["parts"][0]["epoch"] == 20000
    assert state["since_day"] == 4 and state["left"] == 5 and state["void"] == 1 and state["crowd"] == 6
    wrapped = got["spool-key"]
    need(wrapped[32] == 1, "version")
    secret = aead_open(purpose["spool-wrap"], wrapped[33:57],
                       b"cohue spool key 1" + b"\1" + u32(20000) + wrapped[:32], wrapped[57:])
    part = courier_open(secret, unit, 1, got["courier"])
    assert part["domain"] == b"example.net" and part["recipients"][0]["orcpt"] == b"rfc822;bob@example.net"
    part = courier_open(secret, unit, 1, got["courier-forwarded"])
    assert (part["forwarder"], part["sets"], part["forwards"]) == (b"alice@example.org", 2, forwards)
    statement = b"cohue forward 2" + part["account"] + digest(forwards)
    assert ed25519_verify(ed25519_public(purpose["public-key-sign"]), statement, part["signature"])
    assert part["results"].startswith(b"mx.example.org; dmarc=pass")
    print("all of the sample is open")


if __name__ == "__main__":
    main()
