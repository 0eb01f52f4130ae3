/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_DELAYS_H
#define COHUE_CROWD_DELAYS_H

#include "base/bytes.h"
#include "base/clock.h"

/*
 * Waits, counted: by the second up to four hours, by the minute up to 60 days, the rest in one. The mean is exact.
 * Constant memory, however many.
 */

struct delays;

COHUE_MUST_USE enum err delays_create(struct delays **ret);
void delays_destroy(struct delays **d);
void delays_add(struct delays *d, msec wait);
uint64_t delays_count(const struct delays *d);
/* 0 while there are none. */
msec delays_mean(const struct delays *d);
/* The least wait (to the resolution above) that at least `share` of them do not pass. */
msec delays_quantile(const struct delays *d, double share);
msec delays_max(const struct delays *d);

#endif
