/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LAW_HOLD_H
#define COHUE_LAW_HOLD_H

#include "law/law.h"

/*
 * "Send later" (RFC 4865) means a time of the wall clock, while the law goes by the age clock: the one is reckoned into the other.
 * Both run alike, but for time without power, which the age clock does not know, and where the wall clock is set.
 *
 * At a start the wall clock is believed. While the house runs, one that is set back is believed at once: that only delays, and never
 * by more than the author's own hold. One that is set forward is believed when it has stood for an hour: what is put right before
 * (a time server that lied, a hand that slipped) lets no letter go too early, and a clock that had been slow costs an hour.
 * No deadline and no gate ever goes by this.
 */

#define LAW_HOLD_BELIEVED_AFTER MSEC_HOUR

struct law_hold_clock {
	msec ahead;       /* of the wall clock before the age clock, as it is believed */
	msec ahead_since; /* age clock: since when it has been further ahead; LAW_UNDRAWN: it is not */
};

/* Believes the wall clock. */
void law_hold_clock_start(struct law_hold_clock *c, struct law_time now);
/* True where it is believed anew: all that is held is to be reckoned again. */
bool law_hold_clock_turned(struct law_hold_clock *c, struct law_time now);
/*
 * When (age clock) a letter comes into the queue that was to be held from `entered` until `due` (age clock), and came in at
 * `wall_entered`. Not before now, unless it was due already; not later than its whole hold from now.
 */
msec law_hold_due(msec entered, msec due, msec wall_entered, struct law_time now);

#endif
