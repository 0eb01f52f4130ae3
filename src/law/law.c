/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "law/law.h"

#include <stdlib.h>

#include "law/law_internal.h"

static const struct {
	const char *name;
	const struct law_rules *rules;
} laws[] = {
    [LAW_NONE] = {"none", &law_rules_none},
    [LAW_EXPONENTIAL] = {"exponential", &law_rules_exponential},
    [LAW_CROWD] = {"crowd", &law_rules_crowd},
};

enum { LAW_COUNT = sizeof(laws) / sizeof(laws[0]) };

const char *
law_kind_name(enum law_kind kind)
{
	return (size_t)kind < LAW_COUNT ? laws[kind].name : "unknown";
}

enum err
law_kind_of(struct bytes name, enum law_kind *ret)
{
	for (size_t i = 0; i < LAW_COUNT; i++) {
		if (bytes_is(name, laws[i].name)) {
			*ret = (enum law_kind)i;
			return ERR_OK;
		}
	}
	return ERR_FORMAT;
}

static bool
is_possible(const struct law_config *c)
{
	const msec most = 365 * MSEC_DAY;
	bool mean = c->mean > 0 && c->mean <= most;
	bool ticks = c->clock > 0 && c->clock <= most && c->k > 0 && c->k <= LAW_UNITS_MAX &&
		     c->deadline >= 0 && c->deadline <= most &&
		     (c->patient == 0 || (c->patient >= c->clock && c->patient <= most));
	return c->kind == LAW_NONE || (mean && (c->kind != LAW_CROWD || ticks));
}

enum err
law_create(const struct law_config *config, struct law **ret)
{
	if ((size_t)config->kind >= LAW_COUNT) {
		return ERR_UNSUPPORTED;
	}
	if (!is_possible(config)) {
		return ERR_FORMAT;
	}
	struct law *law = calloc(1, sizeof(*law));
	if (law == NULL) {
		return ERR_MEMORY;
	}
	law->config = *config;
	law->rules = laws[config->kind].rules;
	law->tick = LAW_NO_TICK;
	law->tick_age = LAW_UNDRAWN;
	law_queue_clear(&law->queue);
	for (size_t i = 0; i < LAW_CLASSES; i++) {
		law->classes[i].counters.opened = LAW_UNDRAWN;
	}
	*ret = law;
	return ERR_OK;
}

void
law_destroy(struct law **law)
{
	if (*law == NULL) {
		return;
	}
	law_queue_clear(&(*law)->queue);
	for (size_t i = 0; i < LAW_CLASSES; i++) {
		free((*law)->classes[i].counters.gone);
		law_store_clear(&(*law)->classes[i].line);
		law_store_clear(&(*law)->classes[i].patient);
	}
	free(*law);
	*law = NULL;
}

void
law_admit(const struct law *law, struct law_time now, struct law_random random, struct law_unit *unit)
{
	bool first = unit->entered == LAW_UNDRAWN;
	if (first) {
		unit->entered = now.age;
	}
	law->rules->draw(law, now, random, first, unit);
}

enum err
law_insert(struct law *law, const struct law_unit *unit)
{
	uint32_t slot;
	const msec most = INT64_MAX / 4;
	if (unit->entered < 0 || unit->entered > most || unit->due > most ||
	    unit->size_class >= LAW_CLASSES || unit->lane > LAW_DUE || unit->weight == 0 ||
	    unit->weight > LAW_WEIGHT_MAX) {
		return ERR_FORMAT;
	}
	enum err e = law_queue_add(&law->queue, unit, &slot);
	if (e == ERR_OK) {
		e = law->rules->place(law, slot);
		if (e != ERR_OK) {
			law_queue_free(&law->queue, slot);
		}
	}
	return e;
}

void
law_displace(struct law *law, uint32_t slot)
{
	struct law_slot *s = &law->queue.slots[slot];
	struct law_class *c = &law->classes[s->unit.size_class];
	switch ((enum law_where)s->where) {
	case LAW_IN_HEAP:
		law_heap_remove(&law->queue, slot);
		break;
	case LAW_IN_LINE:
		law_store_remove(&c->line, &law->queue, slot);
		break;
	case LAW_IN_PATIENT:
		law_store_remove(&c->patient, &law->queue, slot);
		break;
	case LAW_NOWHERE:
		break;
	}
}

enum err
law_remove(struct law *law, uint64_t id)
{
	uint32_t slot = law_queue_find(&law->queue, id);
	if (slot == LAW_NO_SLOT) {
		return ERR_NOT_FOUND;
	}
	law_displace(law, slot);
	law_queue_free(&law->queue, slot);
	return ERR_OK;
}

enum err
law_get(const struct law *law, uint64_t id, struct law_unit *ret)
{
	uint32_t slot = law_queue_find(&law->queue, id);
	if (slot == LAW_NO_SLOT) {
		return ERR_NOT_FOUND;
	}
	*ret = law->queue.slots[slot].unit;
	return ERR_OK;
}

size_t
law_waiting(const struct law *law)
{
	return law->queue.count;
}

size_t
law_waiting_in(const struct law *law, unsigned size_class)
{
	return size_class < LAW_CLASSES ? law->queue.per_class[size_class] : 0;
}

msec
law_next(const struct law *law, struct law_time now)
{
	return law->rules->next(law, now);
}

uint64_t
law_random_below(struct law_random random, uint64_t n)
{
	if (n < 2) {
		return 0;
	}
	for (;;) {
		uint64_t v = random.next(random.arg);
		if (n <= UINT32_MAX) {
			/* v / 2^32 * n (Lemire 2019): a division only where the fraction may favour somebody. */
			uint64_t scaled = (v >> 32) * n;
			uint32_t fraction = (uint32_t)scaled;
			if (fraction >= n || fraction >= (((uint64_t)1 << 32) - n) % n) {
				return scaled >> 32;
			}
		} else if (v - v % n <= 0 - n) {
			/* Not of the incomplete last stretch of 2^64. */
			return v % n;
		}
	}
}

void
law_shuffle(struct law_release *releases, size_t count, struct law_random random)
{
	for (size_t i = count; i > 1; i--) {
		size_t k = (size_t)law_random_below(random, i);
		struct law_release swap = releases[i - 1];
		releases[i - 1] = releases[k];
		releases[k] = swap;
	}
}

enum err
law_decide(struct law *law, struct law_time now, struct law_random random, size_t max,
	   struct law_decision *ret)
{
	return law->rules->decide(law, now, random, max, ret);
}

void
law_commit(struct law *law, const struct law_decision *decision)
{
	struct law_after *after = decision->after;
	for (size_t i = 0; i < decision->release_count; i++) {
		/* It may have been removed since. */
		enum err e = law_remove(law, decision->releases[i].unit.id);
		if (e != ERR_OK && e != ERR_NOT_FOUND) {
			panic("a queue that cannot release");
		}
	}
	if (after == NULL) {
		return;
	}
	law->tick = after->tick;
	law->tick_age = after->tick_age;
	for (unsigned i = 0; i < LAW_CLASSES; i++) {
		if ((decision->classes & (1U << i)) != 0) {
			/* Exchanged: what was goes with the decision. */
			struct law_counters was = law->classes[i].counters;
			law->classes[i].counters = after->counters[i];
			after->counters[i] = was;
		}
	}
}

void
law_decision_clear(struct law_decision *decision)
{
	struct law_after *after = decision->after;
	for (size_t i = 0; after != NULL && i < LAW_CLASSES; i++) {
		free(after->counters[i].gone);
	}
	free(after);
	free(decision->releases);
	*decision = (struct law_decision){.tick = LAW_NO_TICK};
}

msec
law_notice_delay(struct law_random random)
{
	return MSEC_HOUR + (msec)law_random_below(random, (uint64_t)(7 * MSEC_HOUR) + 1);
}
