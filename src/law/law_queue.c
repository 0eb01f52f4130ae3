/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "law/law_internal.h"

/*
 * Ids are the house's own and counted up, so those that wait together are neighbours: every second entry of a table at most
 * half full leaves no long runs, and keeps what is touched together near each other in memory.
 */
static uint32_t
hash_id(uint64_t id)
{
	return (uint32_t)(id << 1);
}

/* The table's entry of an id, or the free one where it would go. The table is at most half full. */
static uint32_t
table_entry(const struct law_queue *q, uint64_t id)
{
	uint32_t at = hash_id(id) & q->table_mask;
	while (q->table[at] != LAW_NO_SLOT && q->slots[q->table[at]].unit.id != id) {
		at = (at + 1) & q->table_mask;
	}
	return at;
}

/* Deletion with backward shift: no tombstones, so lookups never degrade. */
static void
table_delete(struct law_queue *q, uint32_t hole)
{
	uint32_t at = hole;
	for (;;) {
		at = (at + 1) & q->table_mask;
		if (q->table[at] == LAW_NO_SLOT) {
			break;
		}
		uint32_t home = hash_id(q->slots[q->table[at]].unit.id) & q->table_mask;
		/* Does the entry's home lie at or before the hole (cyclically)? */
		if (((at - home) & q->table_mask) >= ((at - hole) & q->table_mask)) {
			q->table[hole] = q->table[at];
			hole = at;
		}
	}
	q->table[hole] = LAW_NO_SLOT;
}

static enum err
grow(struct law_queue *q)
{
	uint32_t cap = q->cap == 0 ? 64 : q->cap * 2;
	if (q->count >= LAW_UNITS_MAX) {
		return ERR_LIMIT;
	}
	uint32_t *table = malloc(2 * (size_t)cap * sizeof(*table));
	struct law_slot *slots = reallocarray(q->slots, cap, sizeof(*slots));
	if (slots != NULL) {
		q->slots = slots;
	}
	uint32_t *heap = reallocarray(q->heap, cap, sizeof(*heap));
	if (heap != NULL) {
		q->heap = heap;
	}
	if (table == NULL || slots == NULL || heap == NULL) {
		free(table);
		return ERR_MEMORY;
	}
	free(q->table);
	q->table = table;
	q->table_mask = 2 * cap - 1;
	for (uint32_t i = 0; i < 2 * cap; i++) {
		q->table[i] = LAW_NO_SLOT;
	}
	/* Called only when all slots are taken. */
	for (uint32_t i = 0; i < q->cap; i++) {
		q->table[table_entry(q, q->slots[i].unit.id)] = i;
	}
	for (uint32_t i = q->cap; i < cap; i++) {
		q->slots[i] = (struct law_slot){.at = i + 1 < cap ? i + 1 : LAW_NO_SLOT};
	}
	q->free_slot = q->cap;
	q->cap = cap;
	return ERR_OK;
}

static bool
goes_before(const struct law_queue *q, uint32_t a, uint32_t b)
{
	const struct law_slot *x = &q->slots[a];
	const struct law_slot *y = &q->slots[b];
	return x->ready != y->ready ? x->ready < y->ready : x->unit.id < y->unit.id;
}

static void
set_heap(struct law_queue *q, uint32_t at, uint32_t slot)
{
	q->heap[at] = slot;
	q->slots[slot].at = at;
}

static void
sift_up(struct law_queue *q, uint32_t at)
{
	uint32_t slot = q->heap[at];
	while (at > 0 && goes_before(q, slot, q->heap[(at - 1) / 2])) {
		set_heap(q, at, q->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	set_heap(q, at, slot);
}

static void
sift_down(struct law_queue *q, uint32_t at)
{
	uint32_t slot = q->heap[at];
	for (;;) {
		uint32_t child = 2 * at + 1;
		if (child >= q->heap_count) {
			break;
		}
		if (child + 1 < q->heap_count && goes_before(q, q->heap[child + 1], q->heap[child])) {
			child++;
		}
		if (!goes_before(q, q->heap[child], slot)) {
			break;
		}
		set_heap(q, at, q->heap[child]);
		at = child;
	}
	set_heap(q, at, slot);
}

enum err
law_queue_add(struct law_queue *q, const struct law_unit *unit, uint32_t *ret_slot)
{
	if (law_queue_find(q, unit->id) != LAW_NO_SLOT) {
		return ERR_EXISTS;
	}
	if (q->count >= LAW_UNITS_MAX) {
		return ERR_LIMIT;
	}
	if (q->count == q->cap) {
		enum err e = grow(q);
		if (e != ERR_OK) {
			return e;
		}
	}
	uint32_t slot = q->free_slot;
	q->free_slot = q->slots[slot].at;
	q->slots[slot] =
	    (struct law_slot){.unit = *unit, .at = LAW_NO_SLOT, .prev = LAW_NO_SLOT, .next = LAW_NO_SLOT};
	q->table[table_entry(q, unit->id)] = slot;
	q->count++;
	q->per_class[unit->size_class]++;
	*ret_slot = slot;
	return ERR_OK;
}

void
law_queue_free(struct law_queue *q, uint32_t slot)
{
	table_delete(q, table_entry(q, q->slots[slot].unit.id));
	q->count--;
	q->per_class[q->slots[slot].unit.size_class]--;
	q->slots[slot] = (struct law_slot){.at = q->free_slot};
	q->free_slot = slot;
}

uint32_t
law_queue_find(const struct law_queue *q, uint64_t id)
{
	return q->count == 0 ? LAW_NO_SLOT : q->table[table_entry(q, id)];
}

void
law_queue_clear(struct law_queue *q)
{
	free(q->slots);
	free(q->heap);
	free(q->table);
	*q = (struct law_queue){.free_slot = LAW_NO_SLOT};
}

void
law_heap_push(struct law_queue *q, uint32_t slot, msec ready)
{
	q->slots[slot].ready = ready;
	q->slots[slot].where = LAW_IN_HEAP;
	set_heap(q, q->heap_count, slot);
	q->heap_count++;
	sift_up(q, q->heap_count - 1);
}

void
law_heap_remove(struct law_queue *q, uint32_t slot)
{
	uint32_t at = q->slots[slot].at;
	q->heap_count--;
	if (at != q->heap_count) {
		set_heap(q, at, q->heap[q->heap_count]);
		sift_up(q, at);
		sift_down(q, at);
	}
	q->slots[slot].at = LAW_NO_SLOT;
	q->slots[slot].where = LAW_NOWHERE;
}

uint32_t
law_heap_first(const struct law_queue *q)
{
	return q->heap_count == 0 ? LAW_NO_SLOT : q->heap[0];
}

/*
 * All that is ready stands at the top of the heap: walk down from the root and turn back where a unit
 * is not ready. `ret` serves as the walk's list of what is still to be looked at: places first, slots
 * in the end.
 */
size_t
law_heap_ready(const struct law_queue *q, msec age, size_t max, uint32_t *ret)
{
	size_t found = 0;
	if (q->heap_count > 0 && max > 0 && q->slots[q->heap[0]].ready <= age) {
		ret[found++] = 0;
	}
	for (size_t i = 0; i < found; i++) {
		for (uint32_t side = 1; side <= 2 && found < max; side++) {
			size_t place = 2 * (size_t)ret[i] + side;
			if (place < q->heap_count && q->slots[q->heap[place]].ready <= age) {
				ret[found++] = (uint32_t)place;
			}
		}
	}
	for (size_t i = 0; i < found; i++) {
		ret[i] = q->heap[ret[i]];
	}
	return found;
}
