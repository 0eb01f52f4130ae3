/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_LIVE_H
#define COHUE_CROWD_LIVE_H

#include "law/law.h"

/*
 * How well the running service hid, in sums by the hour (the last day) and by the day (the last 30). The mixer adds what
 * each tick released, and writes what may be told (live_told) into its status; `cohue crowd live` reads the lines back.
 *
 * Lines "name value", among others that the reader passes over:
 *     crowd.hour.N letters=12 deliveries=15 …     N: hours since 1970
 *     crowd.day.N  letters=…                      N: days since 1970
 *     crowd.members N, crowd.counting N           as the house last said
 *     crowd.clock N, crowd.k N                    the law's T in seconds, and k
 * Unknown keys of a line are passed over; missing ones are 0.
 */

enum {
	LIVE_HOURS = 24,
	LIVE_DAYS = 30,
	LIVE_FEW = 10,
	LIVE_TEXT_MAX = 32 * 1024,
};
#define LIVE_MILLION 1000000U

/* Sums over the letters that left (leaving room, first attempts alone: retries and the house's own notices count for nothing). */
struct live_sums {
	uint64_t letters;    /* units */
	uint64_t deliveries; /* their weights */
	uint64_t void_letters;
	uint64_t urgent; /* of the void ones: in the urgent lane */
	uint64_t wait;   /* seconds, over letters */
	uint64_t crowd;  /* law_release.crowd, over letters */
	uint64_t guess;  /* largest share of a member in its class's batch, in millionths, over deliveries */
	uint64_t ticks;  /* that released at least one letter */
	uint64_t bytes;  /* wire sizes, over deliveries */
	uint64_t padded; /* the same, padded to their classes */
	uint64_t taken;  /* deliveries that their servers took, retries included */
	uint64_t shown;  /* of these: under TLS 1.2 or in clear, so that their size showed: void for size */
};

struct live_period {
	uint64_t number; /* of the hour or day */
	struct live_sums sums;
};

/* Oldest first. */
struct live {
	struct live_period hours[LIVE_HOURS];
	size_t hour_count;
	struct live_period days[LIVE_DAYS];
	size_t day_count;
	uint64_t members;
	uint64_t counting;
	uint64_t clock; /* seconds */
	uint64_t k;
};

/*
 * The sums of one decision of the leaving law: all but `bytes`, `taken` and `shown`, which the law does not know. `age` as the decision's. Units in
 * LAW_DUE count for nothing. `guess` only where the law says who was in a batch (crowd). ERR_MEMORY.
 */
COHUE_MUST_USE enum err live_of_decision(const struct law_decision *decision, msec age,
					 struct live_sums *ret);
/* Adds to the hour and day of `wall`; forgets what is too old. A clock that went back adds to the latest. */
void live_add(struct live *l, msec wall, const struct live_sums *sums);
/*
 * What may be told of it to who asks, however often: the last 24 whole hours as one period, and whole days; counts with one
 * digit, means without what would tell a letter's own (waits in steps of ten minutes; none of fewer than LIVE_FEW letters).
 */
void live_told(const struct live *l, msec wall, struct live *ret);
COHUE_MUST_USE enum err live_write(const struct live *l, struct buf *out);
/* ERR_FORMAT for a line that begins with "crowd." and is not as above, or for more periods than there can be. */
COHUE_MUST_USE enum err live_read(struct bytes text, struct live *ret);
/* The sum of all periods. */
struct live_sums live_total(const struct live_period *periods, size_t count);

#endif
