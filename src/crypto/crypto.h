/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CRYPTO_CRYPTO_H
#define COHUE_CRYPTO_CRYPTO_H

#include "base/bytes.h"

/*
 * The few primitives everything else is made of, on libsodium 1.0.18: keyed BLAKE2b
 * (RFC 7693), XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), X25519 (RFC 7748, in
 * crypto/box.h) and Ed25519 (RFC 8032, in crypto/sign.h). Names stay clear of libsodium's own crypto_hash, crypto_box_… .
 */

enum {
	CRYPTO_KEY_LEN = 32,
	CRYPTO_HASH_LEN = 32,
	CRYPTO_NONCE_LEN = 24,
	CRYPTO_TAG_LEN = 16,
};

/*
 * Once per process, before anything else here (a second call does nothing). Afterwards only
 * getrandom(2) is needed of the kernel. ERR_IO where libsodium does not start.
 */
COHUE_MUST_USE enum err crypto_init(void);

/* From the kernel's generator. Cannot fail: ends the process where the kernel refuses. */
void crypto_random_bytes(void *ret, size_t n);

/* BLAKE2b-256, unkeyed. */
void crypto_digest(struct bytes data, uint8_t ret[CRYPTO_HASH_LEN]);
/* BLAKE2b-256 keyed with 32 bytes: a MAC and a pseudo-random function. */
void crypto_mac(const uint8_t key[CRYPTO_KEY_LEN], struct bytes data, uint8_t ret[CRYPTO_HASH_LEN]);
/* A key from a key: BLAKE2b-256(key, the label's octets without NUL). */
void crypto_derive(const uint8_t key[CRYPTO_KEY_LEN], const char *label, uint8_t ret[CRYPTO_KEY_LEN]);

/* The same in pieces. Must not be moved between init and final; final wipes it. */
struct crypto_hasher {
	uint8_t opaque[384 + 64];
};
/* key may be NULL (unkeyed). */
void crypto_hasher_init(struct crypto_hasher *h, const uint8_t key[CRYPTO_KEY_LEN]);
void crypto_hasher_update(struct crypto_hasher *h, struct bytes data);
void crypto_hasher_final(struct crypto_hasher *h, uint8_t ret[CRYPTO_HASH_LEN]);

/*
 * XChaCha20-Poly1305. ret_cipher takes plain.len + CRYPTO_TAG_LEN bytes (the tag last) and
 * may be plain's own memory. A (key, nonce) pair must never come twice: random nonces, or a
 * key that is used once.
 */
void crypto_seal(const uint8_t key[CRYPTO_KEY_LEN], const uint8_t nonce[CRYPTO_NONCE_LEN], struct bytes ad,
		 struct bytes plain, uint8_t *ret_cipher);
/*
 * ret_plain takes cipher.len - CRYPTO_TAG_LEN bytes, and may be the cipher's own memory.
 * ERR_FORMAT: shorter than a tag. ERR_AUTH: not sealed like this (ret_plain is then zeroed or untouched).
 */
COHUE_MUST_USE enum err crypto_open(const uint8_t key[CRYPTO_KEY_LEN], const uint8_t nonce[CRYPTO_NONCE_LEN],
				    struct bytes ad, struct bytes cipher, uint8_t *ret_plain);

#endif
