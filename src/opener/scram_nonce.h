/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_OPENER_SCRAM_NONCE_H
#define COHUE_OPENER_SCRAM_NONCE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"

/*
 * The server's part of SCRAM nonces. Each is 18 random octets and 18 of a MAC over them, the name and the client's part, under a
 * key that lives in this process alone: nothing is kept for who begins and does not end. One is good for two to four
 * minutes, and for one login: those that have logged in are remembered until they are too old, so that a gate which was captured cannot
 * use again what it overheard. Pure: the clock is passed in.
 */

enum {
	SCRAM_NONCE_LEN = 48, /* printable octets (base64) */
	SCRAM_NONCE_EPOCH_MS = 2 * 60 * 1000,
	SCRAM_NONCE_PLACES = 16384, /* logins remembered: 256 KiB */
	SCRAM_NONCE_PROBES = 64,
};

struct scram_nonces;

/* ERR_MEMORY. */
COHUE_MUST_USE enum err scram_nonces_create(msec now, struct scram_nonces **ret);
void scram_nonces_destroy(struct scram_nonces **n);

void scram_nonce_make(struct scram_nonces *n, msec now, struct bytes name, struct bytes client_nonce,
		      uint8_t ret[SCRAM_NONCE_LEN]);
/* Whether it was made here for these, not long ago. */
bool scram_nonce_check(const struct scram_nonces *n, msec now, struct bytes name, struct bytes client_nonce,
		       const uint8_t nonce[SCRAM_NONCE_LEN]);
/* Of one that was checked: ERR_AUTH where it has logged in before; ERR_AGAIN while there is no place to remember it. */
COHUE_MUST_USE enum err scram_nonce_use(struct scram_nonces *n, msec now,
					const uint8_t nonce[SCRAM_NONCE_LEN]);

#endif
