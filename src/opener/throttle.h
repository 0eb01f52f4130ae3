/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_OPENER_THROTTLE_H
#define COHUE_OPENER_THROTTLE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"

/*
 * Slows guessing, per network address and per member name, without keeping either: what is kept are
 * hashes under a key that lives in memory alone and changes every day, in a table of fixed size. Pure:
 * the clock is passed in.
 *
 * Each attempt is counted when it begins, so that many at once gain nothing, and taken back when it succeeds.
 * Past a few free ones an attempt must wait for its turn: the turns of one address, and of one
 * name, lie 250 ms apart at first, twice as far with each further failure, 30 s at most. Failures are
 * forgiven one by one as time passes, so nobody is locked out for good.
 *
 * Who has logged in from an address before is exempt there until she fails too often: a stranger who guesses
 * at her name does not slow her. Secrets that cannot be guessed (application passwords)
 * count for the address alone.
 */

enum {
	THROTTLE_PLACES = 16384,      /* entries in the table: 640 KiB */
	THROTTLE_MOST_MS = 30 * 1000, /* the longest wait, and the largest distance between turns */
	THROTTLE_REFUSED = -1,
	THROTTLE_FREE_ADDRESS = 20, /* failures without any wait */
	THROTTLE_FREE_NAME = 5,
	THROTTLE_FORGIVE_MS = 2 * 60 * 1000, /* after each of these one failure is forgiven */
	THROTTLE_KEY_MS = 24 * 3600 * 1000,
};

struct throttle;

struct throttle_attempt {
	uint8_t address[16]; /* IPv6, or mapped IPv4; of IPv6 the first 64 bits count */
	struct bytes name;   /* normalised, whether there is such a member or not */
	bool guessable;      /* a human's password */
	bool trusted; /* filled in by throttle_enter: it counts for the pair of name and address alone */
};

/* ERR_MEMORY. */
COHUE_MUST_USE enum err throttle_create(msec now, struct throttle **ret);
void throttle_destroy(struct throttle **t);

/*
 * Counts the attempt and gives the milliseconds to wait before its secret may be looked at, or
 * THROTTLE_REFUSED (not counted): the turns of the next 30 s are taken.
 */
msec throttle_enter(struct throttle *t, msec now, struct throttle_attempt *a);
/* The same attempt, from here on. The secret was right: takes it back, and trusts this name at this address. */
void throttle_succeeded(struct throttle *t, msec now, const struct throttle_attempt *a);
/* Nothing was learnt of the secret (a temporary failure): takes the attempt back. */
void throttle_undo(struct throttle *t, msec now, const struct throttle_attempt *a);

#endif
