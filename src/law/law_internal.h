/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LAW_LAW_INTERNAL_H
#define COHUE_LAW_LAW_INTERNAL_H

#include "law/law.h"

/*
 * What law.c, the queue and the laws share. A waiting unit has a slot that it keeps; a heap of slot
 * numbers is ordered by the time at which the law lets each go, and a hash table finds the slot of an id.
 */

struct law_slot {
	struct law_unit unit;
	msec ready;  /* the heap's order: what the law's rules say */
	uint32_t at; /* place in the heap; for a free slot, the next free one */
};

#define LAW_NO_SLOT UINT32_MAX

struct law_queue {
	struct law_slot *slots;
	uint32_t *heap;
	uint32_t count; /* units waiting: entries of the heap */
	uint32_t cap;   /* of slots and heap */
	uint32_t free_slot;
	uint32_t *table;     /* open addressing, linear probing: slot or LAW_NO_SLOT */
	uint32_t table_mask; /* its size - 1: a power of two, at least twice cap */
	uint32_t per_class[LAW_CLASSES];
};

/* Counters of one size class since its gate last opened (the crowd's); empty for the other laws. */
struct law_gone {
	uint64_t member;
	uint64_t weight;
};

struct law_class {
	uint64_t urgent;       /* u: weight of urgent units sent since the last opening */
	struct law_gone *gone; /* ascending by member */
	size_t gone_count;
};

/* The rules of one law. */
struct law_rules {
	/* Sets unit->due where this law draws at entry and it is not yet drawn. */
	void (*draw)(const struct law_config *config, struct law_random random, struct law_unit *unit);
	/* When the unit may leave by itself (age clock). */
	msec (*ready)(const struct law_config *config, const struct law_unit *unit);
};

struct law {
	struct law_config config;
	const struct law_rules *rules;
	struct law_queue queue;
	struct law_class classes[LAW_CLASSES];
};

extern const struct law_rules law_rules_none;
extern const struct law_rules law_rules_exponential;

void law_queue_clear(struct law_queue *q);
COHUE_MUST_USE enum err law_queue_add(struct law_queue *q, const struct law_unit *unit, msec ready);
COHUE_MUST_USE enum err law_queue_remove(struct law_queue *q, uint64_t id);
/* NULL where it does not wait. Valid until the queue changes. */
const struct law_slot *law_queue_find(const struct law_queue *q, uint64_t id);
/* The slot at a place of the heap: 0 is the first to leave, the children of i are 2i+1 and 2i+2. NULL beyond. */
const struct law_slot *law_queue_at(const struct law_queue *q, size_t place);

#endif
