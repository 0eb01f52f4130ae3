/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_RECORD_H
#define COHUE_SEALED_RECORD_H

#include "sealed/member_keys.h"

/*
 * A session's record in a member's log: XChaCha20-Poly1305 under the record key of a generation, with a random
 * nonce. The associated data binds it to its place (account, generation, kind, n, head before),
 * so that a store that moves, repeats or reorders records is found out.
 */

enum {
	SEALED_RECORD_OVERHEAD = 1 + 4 + 24 + 1 + 16, /* without padding */
	SEALED_RECORD_MAX = 512 * 1024,               /* sealed bytes */
	SEALED_RECORD_PLAIN_MAX = SEALED_RECORD_MAX - 8192,
};

/* Where a record stands. */
struct record_place {
	uint8_t account[SEALED_ID_LEN];
	uint8_t kind; /* the store's kind byte: 2 for a session's record */
	uint64_t n;
	uint8_t before[SEALED_HASH_LEN]; /* h(n-1) */
};

/*
 * Appends the sealed body, under the newest generation. Padded: to multiples of 64 bytes up to 1 KiB, of 512 up to
 * 16 KiB, of 4 KiB above. ERR_LIMIT: plain longer than SEALED_RECORD_PLAIN_MAX. ERR_STATE: no keys. ERR_MEMORY.
 */
COHUE_MUST_USE enum err record_seal(const struct member_keys *keys, const struct record_place *place,
				    struct bytes plain, struct buf *ret);
/*
 * Appends the plain bytes. ERR_AUTH: not from this place or not by this member. ERR_NOT_FOUND: of a generation that
 * the keys do not have. ERR_FORMAT, ERR_UNSUPPORTED, ERR_MEMORY.
 */
COHUE_MUST_USE enum err record_open(const struct member_keys *keys, const struct record_place *place,
				    struct bytes sealed, struct buf *ret);

#endif
