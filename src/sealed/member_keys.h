/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_MEMBER_KEYS_H
#define COHUE_SEALED_MEMBER_KEYS_H

#include "sealed/keys.h"

/*
 * What an opened slot gives: the secrets of all key generations of one member, in the locked pool.
 * The opener makes them and sends them to the member's session worker.
 */

enum { MEMBER_GENERATIONS_MAX = 256 };

struct member_key {
	uint32_t generation; /* counts from 1 */
	uint8_t public_key[BOX_PUBLIC_LEN];
	/* Both in the pool, one piece: */
	uint8_t *secret;     /* 32 bytes: X25519, opens arrivals */
	uint8_t *record_key; /* 32 bytes: BLAKE2b-256(key = secret, "cohue record key 1") */
};

struct member_keys {
	size_t count;            /* 0 after init */
	struct member_key *keys; /* ascending, without gaps; the last is the present generation */
};

void member_keys_init(struct member_keys *k);
/* Wipes and gives back. Safe twice. */
void member_keys_clear(struct member_keys *k);
/* Appends the next generation (copies the secret). ERR_LIMIT, ERR_MEMORY (also: pool full). */
COHUE_MUST_USE enum err member_keys_add(struct member_keys *k, uint32_t generation,
					const uint8_t public_key[BOX_PUBLIC_LEN],
					const uint8_t secret[BOX_SECRET_LEN]);
/* NULL where there is no such generation. */
const struct member_key *member_keys_find(const struct member_keys *k, uint32_t generation);
/* The present one; NULL when empty. */
const struct member_key *member_keys_newest(const struct member_keys *k);
/* "cohue snapshot key 1" of one generation. */
void member_snapshot_key(const struct member_key *k, uint8_t ret[SEALED_KEY_LEN]);

/* For the message opener → session. Wipe the buffer (buf_wipe) when it has been sent. */
COHUE_MUST_USE enum err member_keys_encode(const struct member_keys *k, struct buf *ret);
/* ret must be empty (init). ERR_FORMAT, ERR_LIMIT, ERR_MEMORY. Each public key is checked against its secret. */
COHUE_MUST_USE enum err member_keys_decode(struct bytes data, struct member_keys *ret);

#endif
