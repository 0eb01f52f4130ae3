/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SENDING_KEPT_H
#define COHUE_SESSION_SENDING_KEPT_H

#include "crypto/crypto.h"
#include "session/sending_limit.h"

/*
 * What of the counters of sending_limit.h outlives a process, so that a thief gains nothing by a restart. Pure. Only of accounts that have used up a
 * good part of a limit: who sends as people do leaves nothing. An account stands in it as a keyed hash, its counts as rounded
 * numbers with ages in minutes; whom it wrote to does not, not even as bits of a set.
 */

enum {
	SENDING_KEPT_NAME = 16,
	SENDING_KEPT_MOST = 200,       /* accounts */
	SENDING_KEPT_SIZE = 16 * 1024, /* octets, however many they are */
	SENDING_KEPT_PART = 4,         /* a quarter of a limit, or more */
};

struct sending_kept_entry {
	uint8_t name[SENDING_KEPT_NAME];
	uint32_t lifts;         /* of holds, of her entry then: a later one has made it void */
	struct sending sending; /* without domains */
};

struct sending_kept {
	struct sending_kept_entry entries[SENDING_KEPT_MOST];
	size_t count;
};

void sending_kept_name(const uint8_t key[CRYPTO_KEY_LEN], struct bytes account,
		       uint8_t ret[SENDING_KEPT_NAME]);
/* Adds the account if it is near a limit of the house and there is room. */
void sending_kept_add(struct sending_kept *k, const uint8_t name[SENDING_KEPT_NAME], uint32_t lifts,
		      struct sending *s, const struct sending_limits *l, msec now);
/* Takes the account's counters out, into *ret unless a hold of hers was lifted since. False: there are none. */
bool sending_kept_take(struct sending_kept *k, const uint8_t name[SENDING_KEPT_NAME], uint32_t lifts,
		       struct sending *ret);
/* SENDING_KEPT_SIZE octets. now: monotonic; wall: since 1970. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err sending_kept_write(struct sending_kept *k, msec now, msec wall, struct buf *out);
/* What is two days old, or comes from the future, is left out. ERR_FORMAT, ERR_UNSUPPORTED: k is empty. */
COHUE_MUST_USE enum err sending_kept_read(struct bytes plain, msec now, msec wall, struct sending_kept *k);

#endif
