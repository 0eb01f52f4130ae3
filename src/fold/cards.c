/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "fold/parts.h"

/*
 * Open addressing with linear probing; a removal shifts back what follows, so
 * that no markers are left. Keys are positions in the log: nobody chooses them.
 */

enum { CARDS_FIRST = 64 };

static size_t
slot_of(const struct cards *c, uint64_t record, uint16_t op)
{
	/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
	uint64_t x = record * 8191 + op;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return (size_t)(x ^ (x >> 31)) & (c->slot_count - 1);
}

/* The card's slot, or the free one where it would go. There is always a free one. */
static size_t
find(const struct cards *c, uint64_t record, uint16_t op)
{
	size_t i = slot_of(c, record, op);
	while (c->slots[i].record != 0 && (c->slots[i].record != record || c->slots[i].op != op)) {
		i = (i + 1) & (c->slot_count - 1);
	}
	return i;
}

static enum err
resize(struct cards *c, size_t slot_count)
{
	struct cards bigger = {
	    .slots = calloc(slot_count, sizeof(*bigger.slots)), .slot_count = slot_count, .count = c->count};
	if (bigger.slots == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < c->slot_count; i++) {
		if (c->slots[i].record != 0) {
			bigger.slots[find(&bigger, c->slots[i].record, c->slots[i].op)] = c->slots[i];
		}
	}
	free(c->slots);
	*c = bigger;
	return ERR_OK;
}

enum err
cards_reserve(struct cards *c, size_t extra)
{
	size_t slot_count = c->slot_count == 0 ? CARDS_FIRST : c->slot_count;
	while (slot_count / 4 * 3 <= c->count + extra) {
		slot_count *= 2;
	}
	return slot_count == c->slot_count ? ERR_OK : resize(c, slot_count);
}

uint32_t
cards_get(const struct cards *c, uint64_t record, uint16_t op, uint32_t absent)
{
	if (c->count == 0) {
		return absent;
	}
	const struct card_entry *e = &c->slots[find(c, record, op)];
	return e->record == 0 ? absent : e->refs;
}

enum err
cards_retain(struct cards *c, uint64_t record, uint16_t op, uint32_t absent)
{
	enum err reserved = cards_reserve(c, 1);
	if (reserved != ERR_OK) {
		return reserved;
	}
	struct card_entry *e = &c->slots[find(c, record, op)];
	if (e->record == 0) {
		*e = (struct card_entry){.record = record, .refs = absent, .op = op};
		c->count++;
	}
	e->refs++;
	return ERR_OK;
}

static void
drop(struct cards *c, size_t i)
{
	const size_t mask = c->slot_count - 1;
	size_t hole = i;
	c->slots[hole].record = 0;
	c->count--;
	for (size_t j = (i + 1) & mask; c->slots[j].record != 0; j = (j + 1) & mask) {
		/* Moves back unless its own slot lies behind the hole. */
		size_t home = slot_of(c, c->slots[j].record, c->slots[j].op);
		if (((j - home) & mask) >= ((j - hole) & mask)) {
			c->slots[hole] = c->slots[j];
			c->slots[j].record = 0;
			hole = j;
		}
	}
}

uint32_t
cards_release(struct cards *c, uint64_t record, uint16_t op)
{
	if (c->count == 0) {
		return 0;
	}
	size_t i = find(c, record, op);
	if (c->slots[i].record == 0) {
		return 0;
	}
	c->slots[i].refs--;
	uint32_t left = c->slots[i].refs;
	if (left <= 1) {
		drop(c, i);
		if (c->count == 0) {
			cards_clear(c);
		}
	}
	return left;
}

enum err
cards_keep_shared(struct cards *c)
{
	struct cards kept = {.slots = NULL, .slot_count = 0, .count = 0};
	for (size_t i = 0; i < c->slot_count; i++) {
		const struct card_entry *e = &c->slots[i];
		if (e->record != 0 && e->refs > 1) {
			if (cards_retain(&kept, e->record, e->op, e->refs - 1) != ERR_OK) {
				cards_clear(&kept);
				return ERR_MEMORY;
			}
		}
	}
	cards_clear(c);
	*c = kept;
	return ERR_OK;
}

void
cards_clear(struct cards *c)
{
	free(c->slots);
	*c = (struct cards){.slots = NULL, .slot_count = 0, .count = 0};
}
