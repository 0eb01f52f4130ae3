/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The laws that draw at entry. Exponential (stop-and-go; Danezis 2004): memoryless, so an observer of
 * all times learns no more from a delay than from the number that waits. Redrawn beyond 5 m, which
 * shortens the mean to 0.966 m and bounds the wait. None: at once.
 */
#include <math.h>

#include "law/law_internal.h"

enum { REDRAWS_MAX = 64, BEYOND = 5 };

static void
draw_exponential(const struct law_config *config, struct law_random random, struct law_unit *unit)
{
	if (unit->lane == LAW_DUE || unit->due != LAW_UNDRAWN) {
		return;
	}
	double mean = (double)config->mean;
	double delay = BEYOND * mean;
	/* A redraw happens with e^-5; 64 in a row do not. */
	for (int i = 0; i < REDRAWS_MAX; i++) {
		/* 53 bits, in (0, 1) */
		double u = ((double)(random.next(random.arg) >> 11) + 0.5) * 0x1p-53;
		double drawn = -mean * log(u);
		if (drawn <= BEYOND * mean) {
			delay = drawn;
			break;
		}
	}
	unit->due = unit->entered + (msec)delay;
}

static msec
ready_when_due(const struct law_config *config, const struct law_unit *unit)
{
	(void)config;
	return unit->due == LAW_UNDRAWN ? unit->entered : unit->due;
}

const struct law_rules law_rules_exponential = {
    .draw = draw_exponential,
    .ready = ready_when_due,
};

static void
draw_nothing(const struct law_config *config, struct law_random random, struct law_unit *unit)
{
	(void)config;
	(void)random;
	(void)unit;
}

/* What an earlier law drew no longer holds; a backoff does. */
static msec
ready_at_once(const struct law_config *config, const struct law_unit *unit)
{
	(void)config;
	return unit->lane == LAW_DUE && unit->due != LAW_UNDRAWN ? unit->due : unit->entered;
}

const struct law_rules law_rules_none = {
    .draw = draw_nothing,
    .ready = ready_at_once,
};
