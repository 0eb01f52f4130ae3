/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "law/hold.h"

enum { TREMBLE = 1000 }; /* ms between two readings that mean nothing */

void
law_hold_clock_start(struct law_hold_clock *c, struct law_time now)
{
	*c = (struct law_hold_clock){.ahead = now.wall - now.age, .ahead_since = LAW_UNDRAWN};
}

bool
law_hold_clock_turned(struct law_hold_clock *c, struct law_time now)
{
	msec by = now.wall - now.age - c->ahead;
	if (by <= TREMBLE) {
		c->ahead_since = LAW_UNDRAWN;
	} else if (c->ahead_since == LAW_UNDRAWN) {
		c->ahead_since = now.age;
	}
	bool believed = c->ahead_since != LAW_UNDRAWN && now.age - c->ahead_since >= LAW_HOLD_BELIEVED_AFTER;
	if (by >= -TREMBLE && !believed) {
		return false;
	}
	law_hold_clock_start(c, now);
	return true;
}

msec
law_hold_due(msec entered, msec due, msec wall_entered, struct law_time now)
{
	msec hold = due - entered;
	msec left = wall_entered + hold - now.wall;
	if (left > 0) {
		return now.age + (left < hold ? left : hold);
	}
	return due < now.age ? due : now.age;
}
