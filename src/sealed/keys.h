/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_KEYS_H
#define COHUE_SEALED_KEYS_H

#include "base/bytes.h"
#include "crypto/box.h"
#include "crypto/crypto.h"
#include "crypto/sign.h"

/*
 * The keys of the house. Purpose keys are BLAKE2b-256(key = house key, label); the keeper
 * alone derives them and hands each role its own. docs/store-format.md gives every byte.
 */

enum {
	SEALED_ID_LEN = 16,   /* account, delivery, unit ids and blob names */
	SEALED_KEY_LEN = 32,  /* symmetric keys, X25519 halves */
	SEALED_HASH_LEN = 32, /* heads, hashes, keyed hashes */
	SEALED_SALT_LEN = 16,
	SEALED_WRAP_OVERHEAD = 41, /* version, nonce, tag */
};

enum sealed_purpose {
	PURPOSE_DIRECTORY_HASH = 0,
	PURPOSE_DIRECTORY_SEAL,
	PURPOSE_PUBLIC_KEY_MAC, /* of entries made before there were signatures; nobody but the keeper has it */
	PURPOSE_PEPPER,
	PURPOSE_SPOOL_STATE,
	PURPOSE_SPOOL_WRAP,
	PURPOSE_TLS_WRAP,
	PURPOSE_MESSAGE_ID,
	PURPOSE_SCRAM_FAKE,
	PURPOSE_BLOB_NAME,
	PURPOSE_DKIM_WRAP,
	PURPOSE_PUBLIC_KEY_SIGN,   /* the seed; nobody but the keeper has it */
	PURPOSE_PUBLIC_KEY_VERIFY, /* no secret: the verification key of that seed */
	PURPOSE_COURIER_KEEP, /* what the courier finds again after a restart: policies of other domains */
	PURPOSE_GATE_KEEP,    /* gate-mx: networks that came again, sums of reports */
	PURPOSE_SESSION_KEEP, /* sessions: how much was sent lately by who sends much */
	PURPOSE__COUNT
};

/* "directory-hash" and so on; static. */
const char *sealed_purpose_label(enum sealed_purpose purpose);
void sealed_purpose_key(const uint8_t house[SEALED_KEY_LEN], enum sealed_purpose purpose,
			uint8_t ret[SEALED_KEY_LEN]);

/*
 * Wraps a small secret (a TLS key, a spool key) under a purpose key: appends
 * plain.len + SEALED_WRAP_OVERHEAD bytes. `name` says what it is, and must be the same to unwrap.
 */
COHUE_MUST_USE enum err sealed_wrap(const uint8_t key[SEALED_KEY_LEN], struct bytes name, struct bytes plain,
				    struct buf *ret);
/* Appends the plain bytes. ERR_FORMAT, ERR_UNSUPPORTED (version), ERR_AUTH, ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err sealed_unwrap(const uint8_t key[SEALED_KEY_LEN], struct bytes name,
				      struct bytes wrapped, struct buf *ret);

/* The value of `spool_keys`: public key (32) || wrapped secret, bound to its epoch and public key. */
enum { SPOOL_KEY_VALUE_LEN = 32 + 32 + SEALED_WRAP_OVERHEAD };
void sealed_spool_key_seal(const uint8_t spool_wrap[SEALED_KEY_LEN], uint32_t epoch,
			   const uint8_t public_key[BOX_PUBLIC_LEN], const uint8_t secret[BOX_SECRET_LEN],
			   uint8_t ret[SPOOL_KEY_VALUE_LEN]);
COHUE_MUST_USE enum err sealed_spool_key_open(const uint8_t spool_wrap[SEALED_KEY_LEN], uint32_t epoch,
					      struct bytes value, uint8_t ret_public[BOX_PUBLIC_LEN],
					      uint8_t ret_secret[BOX_SECRET_LEN]);

/*
 * The keeper's signature under a member's public key: without it nobody seals anything to that key. Who checks it
 * cannot make one.
 */
void sealed_public_sign(const uint8_t seed[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
			uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN], uint8_t ret[SIGN_LEN]);
/* ERR_AUTH where the signature does not fit. */
COHUE_MUST_USE enum err sealed_public_verify(const uint8_t verify_key[SEALED_KEY_LEN],
					     const uint8_t account[SEALED_ID_LEN], uint32_t generation,
					     const uint8_t public_key[BOX_PUBLIC_LEN],
					     const uint8_t signature[SIGN_LEN]);
/* The MAC that stood in its place in entries of version 1, under `public-key-mac`: only the keeper and `cohue check` know it. */
void sealed_public_mac(const uint8_t mac_key[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		       uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN],
		       uint8_t ret[SEALED_HASH_LEN]);
/* ERR_AUTH where the MAC does not fit. */
COHUE_MUST_USE enum err sealed_public_check(const uint8_t mac_key[SEALED_KEY_LEN],
					    const uint8_t account[SEALED_ID_LEN], uint32_t generation,
					    const uint8_t public_key[BOX_PUBLIC_LEN],
					    const uint8_t mac[SEALED_HASH_LEN]);

#endif
