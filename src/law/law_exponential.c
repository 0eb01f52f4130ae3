/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The laws that let each unit go at a time of its own. Exponential (stop-and-go; Danezis 2004):
 * memoryless, so an observer of all times learns no more from a delay than from the number that waits.
 * Redrawn beyond 5 m, which shortens the mean to 0.966 m and bounds the wait. None: at once.
 */
#include <math.h>
#include <stdlib.h>

#include "law/law_internal.h"

enum { REDRAWS_MAX = 64, BEYOND = 5 };

msec
law_arrival(const struct law_unit *unit)
{
	return unit->due != LAW_UNDRAWN && unit->due > unit->entered ? unit->due : unit->entered;
}

msec
law_exponential_delay(msec mean, struct law_random random)
{
	double m = (double)mean;
	/* A redraw happens with e^-5; 64 in a row do not. */
	for (int i = 0; i < REDRAWS_MAX; i++) {
		/* 53 bits, in (0, 1) */
		double u = ((double)(random.next(random.arg) >> 11) + 0.5) * 0x1p-53;
		double drawn = -m * log(u);
		if (drawn <= BEYOND * m) {
			return (msec)drawn;
		}
	}
	return BEYOND * mean;
}

static void
draw_exponential(const struct law *law, struct law_time now, struct law_random random, bool first,
		 struct law_unit *unit)
{
	(void)now;
	if (unit->lane == LAW_DUE || (unit->due != LAW_UNDRAWN && !first)) {
		return;
	}
	/* A member who asks for haste gets it; what is held waits from the end of its hold. */
	msec delay = unit->lane == LAW_URGENT ? 0 : law_exponential_delay(law->config.mean, random);
	unit->due = law_arrival(unit) + delay;
}

static void
draw_nothing(const struct law *law, struct law_time now, struct law_random random, bool first,
	     struct law_unit *unit)
{
	(void)law;
	(void)now;
	(void)random;
	(void)first;
	(void)unit;
}

static enum err
place_by_arrival(struct law *law, uint32_t slot)
{
	law_heap_push(&law->queue, slot, law_arrival(&law->queue.slots[slot].unit));
	return ERR_OK;
}

msec
law_next_by_time(const struct law *law, struct law_time now)
{
	uint32_t first = law_heap_first(&law->queue);
	if (first == LAW_NO_SLOT) {
		return LAW_NEVER;
	}
	msec ready = law->queue.slots[first].ready;
	return ready <= now.age ? 0 : ready - now.age;
}

enum err
law_decide_by_time(struct law *law, struct law_time now, struct law_random random, size_t max,
		   struct law_decision *ret)
{
	struct law_decision decision = {.tick = LAW_NO_TICK};
	const struct law_queue *q = &law->queue;
	if (max > q->heap_count) {
		max = q->heap_count;
	}
	if (max > 0 && law_next_by_time(law, now) == 0) {
		uint32_t *slots = calloc(max, sizeof(*slots));
		if (slots == NULL) {
			return ERR_MEMORY;
		}
		decision.release_count = law_heap_ready(q, now.age, max, slots);
		decision.releases = calloc(decision.release_count, sizeof(*decision.releases));
		if (decision.releases == NULL) {
			free(slots);
			return ERR_MEMORY;
		}
		for (size_t i = 0; i < decision.release_count; i++) {
			decision.releases[i].unit = q->slots[slots[i]].unit;
		}
		free(slots);
	}
	law_shuffle(decision.releases, decision.release_count, random);
	*ret = decision;
	return ERR_OK;
}

const struct law_rules law_rules_exponential = {
    .draw = draw_exponential,
    .place = place_by_arrival,
    .next = law_next_by_time,
    .decide = law_decide_by_time,
};

const struct law_rules law_rules_none = {
    .draw = draw_nothing,
    .place = place_by_arrival,
    .next = law_next_by_time,
    .decide = law_decide_by_time,
};
