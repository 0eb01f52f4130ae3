/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Who waits with how much: for each class a table of members, each with a list of units in order of
 * arrival. What comes in out of order (a restart reads units as they lie on disk) is sorted at the next
 * decision, once.
 */
#include <stdlib.h>
#include <string.h>

#include "law/law_internal.h"

static uint32_t
hash_member(uint64_t member)
{
	member ^= member >> 30;
	member *= 0xbf58476d1ce4e5b9U;
	member ^= member >> 27;
	member *= 0x94d049bb133111ebU;
	member ^= member >> 31;
	return (uint32_t)member;
}

/* The table's entry of a member, or the free one where he would go. The table is at most half full. */
static uint32_t
table_entry(const struct law_store *s, uint64_t member)
{
	uint32_t at = hash_member(member) & s->table_mask;
	while (s->table[at] != LAW_NO_SLOT && s->shares[s->table[at]].member != member) {
		at = (at + 1) & s->table_mask;
	}
	return at;
}

static void
table_delete(struct law_store *s, uint32_t hole)
{
	uint32_t at = hole;
	for (;;) {
		at = (at + 1) & s->table_mask;
		if (s->table[at] == LAW_NO_SLOT) {
			break;
		}
		uint32_t home = hash_member(s->shares[s->table[at]].member) & s->table_mask;
		if (((at - home) & s->table_mask) >= ((at - hole) & s->table_mask)) {
			s->table[hole] = s->table[at];
			hole = at;
		}
	}
	s->table[hole] = LAW_NO_SLOT;
}

static enum err
grow(struct law_store *s)
{
	uint32_t cap = s->cap == 0 ? 16 : s->cap * 2;
	uint32_t *table = malloc(2 * (size_t)cap * sizeof(*table));
	struct law_share *shares = reallocarray(s->shares, cap, sizeof(*shares));
	if (shares != NULL) {
		s->shares = shares;
	}
	if (table == NULL || shares == NULL) {
		free(table);
		return ERR_MEMORY;
	}
	free(s->table);
	s->table = table;
	s->table_mask = 2 * cap - 1;
	s->cap = cap;
	for (uint32_t i = 0; i < 2 * cap; i++) {
		table[i] = LAW_NO_SLOT;
	}
	for (uint32_t i = 0; i < s->count; i++) {
		table[table_entry(s, s->shares[i].member)] = i;
	}
	return ERR_OK;
}

void
law_store_clear(struct law_store *s)
{
	free(s->shares);
	free(s->table);
	*s = (struct law_store){.shares = NULL};
}

struct law_share *
law_store_find(const struct law_store *s, uint64_t member)
{
	if (s->count == 0) {
		return NULL;
	}
	uint32_t at = s->table[table_entry(s, member)];
	return at == LAW_NO_SLOT ? NULL : &s->shares[at];
}

static bool
comes_before(const struct law_queue *q, uint32_t a, uint32_t b)
{
	const struct law_slot *x = &q->slots[a];
	const struct law_slot *y = &q->slots[b];
	return x->ready != y->ready ? x->ready < y->ready : x->unit.id < y->unit.id;
}

enum err
law_store_add(struct law_store *s, struct law_queue *q, uint32_t slot, enum law_where where)
{
	struct law_slot *x = &q->slots[slot];
	struct law_share *share = law_store_find(s, x->unit.member);
	if (share == NULL) {
		if (s->count == s->cap) {
			enum err e = grow(s);
			if (e != ERR_OK) {
				return e;
			}
		}
		s->table[table_entry(s, x->unit.member)] = s->count;
		share = &s->shares[s->count++];
		*share =
		    (struct law_share){.member = x->unit.member, .head = LAW_NO_SLOT, .tail = LAW_NO_SLOT};
	}
	x->where = (uint8_t)where;
	x->next = LAW_NO_SLOT;
	x->prev = share->tail;
	if (share->tail == LAW_NO_SLOT) {
		share->head = slot;
	} else {
		share->unsorted = share->unsorted || comes_before(q, slot, share->tail);
		q->slots[share->tail].next = slot;
	}
	share->tail = slot;
	share->count++;
	share->weight += x->unit.weight;
	share->counted += x->unit.counts ? x->unit.weight : 0;
	share->urgent += law_in_haste(&x->unit) ? 1 : 0;
	return ERR_OK;
}

void
law_store_remove(struct law_store *s, struct law_queue *q, uint32_t slot)
{
	struct law_slot *x = &q->slots[slot];
	uint32_t entry = table_entry(s, x->unit.member);
	uint32_t at = s->table[entry];
	struct law_share *share = &s->shares[at];
	if (x->prev == LAW_NO_SLOT) {
		share->head = x->next;
	} else {
		q->slots[x->prev].next = x->next;
	}
	if (x->next == LAW_NO_SLOT) {
		share->tail = x->prev;
	} else {
		q->slots[x->next].prev = x->prev;
	}
	x->prev = LAW_NO_SLOT;
	x->next = LAW_NO_SLOT;
	x->where = LAW_NOWHERE;
	share->count--;
	share->weight -= x->unit.weight;
	share->counted -= x->unit.counts ? x->unit.weight : 0;
	share->urgent -= law_in_haste(&x->unit) ? 1 : 0;
	if (share->count > 0) {
		return;
	}
	table_delete(s, entry);
	s->count--;
	if (at != s->count) {
		uint32_t moved = table_entry(s, s->shares[s->count].member);
		s->shares[at] = s->shares[s->count];
		s->table[moved] = at;
	}
}

/* Bottom-up merge of singly linked lists: bins[i] holds a sorted list of 2^i, or nothing. */
void
law_share_sort(struct law_share *share, struct law_queue *q)
{
	enum { BINS = 32 };
	uint32_t bins[BINS];
	if (!share->unsorted) {
		return;
	}
	for (size_t i = 0; i < BINS; i++) {
		bins[i] = LAW_NO_SLOT;
	}
	uint32_t rest = share->head;
	uint32_t all = LAW_NO_SLOT;
	for (bool more = true; more;) {
		uint32_t list = rest;
		more = rest != LAW_NO_SLOT;
		if (more) {
			rest = q->slots[list].next;
			q->slots[list].next = LAW_NO_SLOT;
		}
		for (size_t i = 0; i < BINS; i++) {
			if (more && bins[i] == LAW_NO_SLOT) {
				bins[i] = list;
				break;
			}
			/* Merge bins[i], which came in earlier, with the list. At the end all bins. */
			uint32_t a = bins[i];
			uint32_t b = list;
			uint32_t first = LAW_NO_SLOT;
			uint32_t *end = &first;
			bins[i] = LAW_NO_SLOT;
			while (a != LAW_NO_SLOT || b != LAW_NO_SLOT) {
				bool take_b = a == LAW_NO_SLOT || (b != LAW_NO_SLOT && comes_before(q, b, a));
				uint32_t *from = take_b ? &b : &a;
				*end = *from;
				end = &q->slots[*from].next;
				*from = *end;
			}
			*end = LAW_NO_SLOT;
			list = first;
			all = first;
		}
	}
	uint32_t before = LAW_NO_SLOT;
	share->head = all;
	for (uint32_t at = all; at != LAW_NO_SLOT; at = q->slots[at].next) {
		q->slots[at].prev = before;
		before = at;
	}
	share->tail = before;
	share->unsorted = false;
}

/* ---- counters ---- */

enum err
law_counters_copy(const struct law_counters *c, struct law_counters *ret)
{
	struct law_counters copy = *c;
	if (c->gone_count > 0) {
		copy.gone = calloc(c->gone_count, sizeof(*copy.gone));
		if (copy.gone == NULL) {
			return ERR_MEMORY;
		}
		memcpy(copy.gone, c->gone, c->gone_count * sizeof(*copy.gone));
	}
	*ret = copy;
	return ERR_OK;
}

/* The first entry that is not before the member's. */
static size_t
gone_at(const struct law_counters *c, uint64_t member)
{
	size_t low = 0;
	size_t high = c->gone_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (c->gone[middle].member < member) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

uint64_t
law_counters_of(const struct law_counters *c, uint64_t member)
{
	size_t at = gone_at(c, member);
	return at < c->gone_count && c->gone[at].member == member ? c->gone[at].weight : 0;
}

enum err
law_counters_add(struct law_counters *c, uint64_t member, uint64_t weight)
{
	size_t at = gone_at(c, member);
	if (at == c->gone_count || c->gone[at].member != member) {
		/* A storm of urgent letters behind a shut gate: those of further members take up no room in their shares. */
		if (c->gone_count == LAW_GONE_MAX) {
			return ERR_OK;
		}
		struct law_gone *gone = reallocarray(c->gone, c->gone_count + 1, sizeof(*gone));
		if (gone == NULL) {
			return ERR_MEMORY;
		}
		memmove(gone + at + 1, gone + at, (c->gone_count - at) * sizeof(*gone));
		gone[at] = (struct law_gone){.member = member};
		c->gone = gone;
		c->gone_count++;
	}
	c->gone[at].weight += weight;
	c->urgent += weight;
	return ERR_OK;
}
