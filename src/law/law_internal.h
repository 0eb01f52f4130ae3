/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LAW_LAW_INTERNAL_H
#define COHUE_LAW_LAW_INTERNAL_H

#include "law/law.h"

/*
 * What law.c, the queue and the laws share. A waiting unit has a slot that it keeps, and a hash table
 * finds the slot of an id. What goes by its time alone stands in a heap of slot numbers; what the crowd
 * decides together stands in its member's list, in order of arrival (law_share.c).
 */

#define LAW_NO_SLOT UINT32_MAX

enum law_where {
	LAW_NOWHERE = 0, /* a free slot, or one that is on its way */
	LAW_IN_HEAP = 1,
	LAW_IN_LINE = 2,    /* the class's queue */
	LAW_IN_PATIENT = 3, /* the class's patient store */
};

struct law_slot {
	struct law_unit unit;
	msec ready;    /* the heap's order; in a list the arrival, which is the list's order */
	uint32_t at;   /* place in the heap; for a free slot, the next free one */
	uint32_t prev; /* in its member's list */
	uint32_t next;
	uint8_t where; /* enum law_where */
};

struct law_queue {
	struct law_slot *slots;
	uint32_t *heap;
	uint32_t count; /* units waiting */
	uint32_t heap_count;
	uint32_t cap; /* of slots and heap */
	uint32_t free_slot;
	uint32_t *table;     /* open addressing, linear probing: slot or LAW_NO_SLOT */
	uint32_t table_mask; /* its size - 1: a power of two, at least twice cap */
	uint32_t per_class[LAW_CLASSES];
};

/* What one member has waiting in one place. */
struct law_share {
	uint64_t member;
	uint64_t weight;  /* of all */
	uint64_t counted; /* of those that count */
	uint32_t count;
	uint32_t urgent; /* units in haste */
	uint32_t head;   /* slots, by arrival, then id */
	uint32_t tail;
	bool unsorted; /* something came in out of order since the last look */
	/* While a decision is made: */
	uint64_t taken; /* weight that leaves */
	uint64_t kept;  /* of it what counts, within the share */
	bool beyond;    /* something leaves that the share has no room for */
};

struct law_store {
	struct law_share *shares;
	uint32_t count;
	uint32_t cap;
	uint32_t *table; /* by member: share or LAW_NO_SLOT */
	uint32_t table_mask;
};

/* Counters of one size class (the crowd's; the other laws carry them along). */
struct law_gone {
	uint64_t member;
	uint64_t weight;
};

struct law_counters {
	uint64_t urgent; /* sum of gone: what is stored is checked by it */
	struct law_gone
	    *gone; /* weight of what left in haste since the gate last opened, by member; ascending */
	size_t gone_count;
	msec opened; /* age clock: when the gate last opened; who came by then and still waits is capped */
};

struct law_class {
	struct law_counters counters;
	struct law_store line;
	struct law_store patient;
};

/* One member in one class's decision: what came by the cut. */
struct law_claim {
	struct law_share *share;
	uint64_t gone;
	uint64_t weight; /* waiting, all */
	uint64_t counted;
	uint32_t count;
	uint32_t urgent;
	uint32_t end; /* the slot behind the last that came by the cut */
};

/* What a decision of the crowd changes besides the queue. */
struct law_after {
	msec tick;
	msec tick_age;
	struct law_counters counters[LAW_CLASSES]; /* of the classes named in the decision */
};

/* The rules of one law. */
struct law_rules {
	/* Sets what the law draws at entry. `first`: the unit has never been admitted before; entered is set. */
	void (*draw)(const struct law *law, struct law_time now, struct law_random random, bool first,
		     struct law_unit *unit);
	/* Puts a slot that is nowhere where it belongs. ERR_MEMORY. */
	enum err (*place)(struct law *law, uint32_t slot);
	msec (*next)(const struct law *law, struct law_time now);
	enum err (*decide)(struct law *law, struct law_time now, struct law_random random, size_t max,
			   struct law_decision *ret);
};

struct law {
	struct law_config config;
	const struct law_rules *rules;
	struct law_queue queue;
	struct law_class classes[LAW_CLASSES];
	msec tick; /* wall clock, by the grid: the last one decided; LAW_NO_TICK */
	msec tick_age;
	bool alone;
};

extern const struct law_rules law_rules_none;
extern const struct law_rules law_rules_exponential;
extern const struct law_rules law_rules_crowd;

/* law_queue.c */
void law_queue_clear(struct law_queue *q);
/* Gives the new slot, which is nowhere yet. ERR_EXISTS, ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err law_queue_add(struct law_queue *q, const struct law_unit *unit, uint32_t *ret_slot);
/* Of a slot that is nowhere (any more). */
void law_queue_free(struct law_queue *q, uint32_t slot);
/* LAW_NO_SLOT where it does not wait. */
uint32_t law_queue_find(const struct law_queue *q, uint64_t id);
void law_heap_push(struct law_queue *q, uint32_t slot, msec ready);
void law_heap_remove(struct law_queue *q, uint32_t slot);
/* Slots of the heap that are ready at `age`, at most `max` of them, into `ret`; in no order. */
size_t law_heap_ready(const struct law_queue *q, msec age, size_t max, uint32_t *ret);
/* The slot that is ready first, or LAW_NO_SLOT. */
uint32_t law_heap_first(const struct law_queue *q);

/* law_share.c */
void law_store_clear(struct law_store *s);
/* Into its member's list, by slot->ready. ERR_MEMORY. */
COHUE_MUST_USE enum err law_store_add(struct law_store *s, struct law_queue *q, uint32_t slot,
				      enum law_where where);
void law_store_remove(struct law_store *s, struct law_queue *q, uint32_t slot);
struct law_share *law_store_find(const struct law_store *s, uint64_t member);
void law_share_sort(struct law_share *share, struct law_queue *q);
COHUE_MUST_USE enum err law_counters_copy(const struct law_counters *c, struct law_counters *ret);
/* gone[member] += weight. ERR_MEMORY. */
COHUE_MUST_USE enum err law_counters_add(struct law_counters *c, uint64_t member, uint64_t weight);
uint64_t law_counters_of(const struct law_counters *c, uint64_t member);

/* law_fit.c */
/* Steps of a search, each some tens of nanoseconds; beyond, it goes on coarsely: a share that is not the largest still keeps the promise. */
#define LAW_FIT_WORK_MAX (20 * 1000 * 1000)
/*
 * The largest share x with which, every unit released in order of arrival (those in haste first) that still fits into what its member's
 * share has left beside what she has gone, k x is no more than all that is released and counts; 0: there is none. With that x, somebody
 * who releases something fills it. ERR_MEMORY.
 */
COHUE_MUST_USE enum err law_fit(const struct law_queue *q, const struct law_claim *claims, size_t count,
				uint64_t k, uint64_t *ret_x);

/* law.c: takes a slot out of wherever it stands. */
void law_displace(struct law *law, uint32_t slot);
void law_shuffle(struct law_release *releases, size_t count, struct law_random random);

/* law_exponential.c: what goes by its own time. */
msec law_exponential_delay(msec mean, struct law_random random);
msec law_next_by_time(const struct law *law, struct law_time now);
COHUE_MUST_USE enum err law_decide_by_time(struct law *law, struct law_time now, struct law_random random,
					   size_t max, struct law_decision *ret);
/* When a unit comes into the queue (age clock). */
msec law_arrival(const struct law_unit *unit);

/* True for what leaves at the next tick, gate or no gate: the urgent, and what was held for a time of its author's choice. */
static inline bool
law_in_haste(const struct law_unit *unit)
{
	return unit->lane == LAW_URGENT || (unit->lane == LAW_NORMAL && unit->due > unit->entered);
}

#endif
