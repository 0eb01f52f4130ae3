/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_RATE_H
#define COHUE_GATE_MX_RATE_H

#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/crypto.h"

/*
 * How much came from whom lately, and who came before, without a list of anybody: a table of fixed size in memory, found by a hash under a key
 * that was drawn at the start (of known networks: rate_known_under). What was quiet longest gives way. Pure but for memory.
 */

enum rate_kind {
	RATE_CONNECTIONS = 1, /* of a network, a minute */
	RATE_MESSAGES,        /* of a network, a minute */
	RATE_DOMAIN,          /* proved, of a domain, a minute */
	RATE_UNKNOWN,         /* recipients, of a network, an hour */
	RATE_FORWARD,         /* copies that a member has sent on, an hour */
	RATE_FORWARD_DAY,     /* the same, a day */
};
enum { RATE_NETWORK_MAX = 8 };

struct rate_table;

/* The key is copied, and wiped at the end. ERR_MEMORY. */
COHUE_MUST_USE enum err rate_create(const uint8_t key[CRYPTO_KEY_LEN], struct rate_table **ret);
void rate_destroy(struct rate_table **t);

/* IPv4: /24; IPv6: /56. The octets go into `ret`, their number is returned. */
size_t rate_network(const uint8_t address[16], uint8_t ret[RATE_NETWORK_MAX]);

/*
 * A bucket that runs out evenly: `limit` in `window`. limit 0: none. True: below it; `add` is put in in any case but that it
 * overflows. Times: of any clock that does not go back.
 */
bool rate_take(struct rate_table *t, enum rate_kind kind, struct bytes who, uint32_t limit, msec window,
	       unsigned add, msec now);

/*
 * Networks that are known outlive the process, and are the same for all gates: their hashes are made under a key of the house's. Nothing
 * else of the table is.
 */
void rate_known_under(struct rate_table *t, const uint8_t key[CRYPTO_KEY_LEN]);
/* Appends at most `room` octets: those that came last. now, wall: the clock of the other calls, and ms since 1970. */
COHUE_MUST_USE enum err rate_known_write(const struct rate_table *t, msec now, msec wall, size_t room,
					 struct buf *out);
/* Adds those that are not too old. ERR_FORMAT: none was added. */
COHUE_MUST_USE enum err rate_known_read(struct rate_table *t, struct bytes octets, msec now, msec wall);

/* Greylisting: false until somebody has come a second time, at least `delay` after the first; then for five weeks true for the network. */
bool rate_has_come_again(struct rate_table *t, struct bytes network, struct bytes sender,
			 struct bytes recipient, msec delay, msec now);

#endif
