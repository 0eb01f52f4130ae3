/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "law/law.h"

#include <stdlib.h>

#include "law/law_internal.h"

static const struct {
	const char *name;
	const struct law_rules *rules; /* NULL: not in this build */
} laws[] = {
    [LAW_NONE] = {"none", &law_rules_none},
    [LAW_EXPONENTIAL] = {"exponential", &law_rules_exponential},
    [LAW_CROWD] = {"crowd", NULL},
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

bool
law_kind_is_built(enum law_kind kind)
{
	return (size_t)kind < LAW_COUNT && laws[kind].rules != NULL;
}

enum err
law_create(const struct law_config *config, struct law **ret)
{
	if (!law_kind_is_built(config->kind)) {
		return ERR_UNSUPPORTED;
	}
	if (config->kind == LAW_EXPONENTIAL && (config->mean <= 0 || config->mean > 365 * MSEC_DAY)) {
		return ERR_FORMAT;
	}
	struct law *law = calloc(1, sizeof(*law));
	if (law == NULL) {
		return ERR_MEMORY;
	}
	law->config = *config;
	law->rules = laws[config->kind].rules;
	law_queue_clear(&law->queue);
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
		free((*law)->classes[i].gone);
	}
	free(*law);
	*law = NULL;
}

void
law_admit(const struct law *law, struct law_time now, struct law_random random, struct law_unit *unit)
{
	if (unit->entered == LAW_UNDRAWN) {
		unit->entered = now.age;
	}
	law->rules->draw(&law->config, random, unit);
}

enum err
law_insert(struct law *law, const struct law_unit *unit)
{
	if (unit->entered < 0 || unit->size_class >= LAW_CLASSES || unit->lane > LAW_DUE ||
	    unit->weight == 0) {
		return ERR_FORMAT;
	}
	return law_queue_add(&law->queue, unit, law->rules->ready(&law->config, unit));
}

enum err
law_remove(struct law *law, uint64_t id)
{
	return law_queue_remove(&law->queue, id);
}

enum err
law_get(const struct law *law, uint64_t id, struct law_unit *ret)
{
	const struct law_slot *slot = law_queue_find(&law->queue, id);
	if (slot == NULL) {
		return ERR_NOT_FOUND;
	}
	*ret = slot->unit;
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
	const struct law_slot *first = law_queue_at(&law->queue, 0);
	if (first == NULL) {
		return LAW_NEVER;
	}
	return first->ready <= now.age ? 0 : first->ready - now.age;
}

uint64_t
law_random_below(struct law_random random, uint64_t n)
{
	/* Rejects the incomplete last stretch of 2^64, which would favour small values. */
	uint64_t reject = n < 2 ? 0 : (0 - n) % n;
	for (;;) {
		uint64_t v = random.next(random.arg);
		if (v >= reject) {
			return n < 2 ? 0 : v % n;
		}
	}
}

static void
shuffle(struct law_release *releases, size_t count, struct law_random random)
{
	for (size_t i = count; i > 1; i--) {
		size_t k = (size_t)law_random_below(random, i);
		struct law_release swap = releases[i - 1];
		releases[i - 1] = releases[k];
		releases[k] = swap;
	}
}

/*
 * All that is ready stands at the top of the heap: walk down from the root and turn back where a unit
 * is not ready. `places` serves as the walk's list of what is still to be looked at.
 */
static size_t
find_ready(const struct law_queue *q, msec age, size_t max, uint32_t *places)
{
	size_t found = 0;
	const struct law_slot *first = law_queue_at(q, 0);
	if (first != NULL && first->ready <= age && max > 0) {
		places[found++] = 0;
	}
	for (size_t i = 0; i < found; i++) {
		for (uint32_t side = 1; side <= 2 && found < max; side++) {
			const struct law_slot *slot = law_queue_at(q, 2 * (size_t)places[i] + side);
			if (slot != NULL && slot->ready <= age) {
				places[found++] = 2 * places[i] + side;
			}
		}
	}
	return found;
}

enum err
law_decide(struct law *law, struct law_time now, struct law_random random, size_t max,
	   struct law_decision *ret)
{
	struct law_decision decision = {.tick = LAW_NO_TICK};
	const struct law_queue *q = &law->queue;
	if (max > q->count) {
		max = q->count;
	}
	if (max > 0) {
		uint32_t *places = calloc(max, sizeof(*places));
		if (places == NULL) {
			return ERR_MEMORY;
		}
		decision.release_count = find_ready(q, now.age, max, places);
		if (decision.release_count > 0) {
			decision.releases = calloc(decision.release_count, sizeof(*decision.releases));
			if (decision.releases == NULL) {
				free(places);
				return ERR_MEMORY;
			}
		}
		for (size_t i = 0; i < decision.release_count; i++) {
			decision.releases[i].unit = law_queue_at(q, places[i])->unit;
		}
		free(places);
	}
	shuffle(decision.releases, decision.release_count, random);
	*ret = decision;
	return ERR_OK;
}

void
law_commit(struct law *law, const struct law_decision *decision)
{
	for (size_t i = 0; i < decision->release_count; i++) {
		/* It may have been removed since. */
		enum err e = law_queue_remove(&law->queue, decision->releases[i].unit.id);
		if (e != ERR_OK && e != ERR_NOT_FOUND) {
			panic("a queue that cannot release");
		}
	}
}

void
law_decision_clear(struct law_decision *decision)
{
	free(decision->releases);
	free(decision->after);
	*decision = (struct law_decision){.tick = LAW_NO_TICK};
}

msec
law_notice_delay(struct law_random random)
{
	return MSEC_HOUR + (msec)law_random_below(random, (uint64_t)(7 * MSEC_HOUR) + 1);
}
