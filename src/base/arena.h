/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_ARENA_H
#define COHUE_BASE_ARENA_H

#include "base/bytes.h"

/*
 * Memory of one command in one region, freed at its end. An arena holds
 * nothing until its first allocation, and never more than its maximum.
 */

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used; /* bytes handed out, alignment and blocks included */
	size_t max;
};

void arena_init(struct arena *a, size_t max);
/* Zeroed, aligned for any type. NULL past max or without memory. */
void *arena_alloc(struct arena *a, size_t size);
/* count * size, checked for overflow. */
void *arena_array(struct arena *a, size_t count, size_t size);
/* A copy that lives as long as the arena; its ptr is NULL on failure (len 0 gives a valid empty view). */
struct bytes arena_copy(struct arena *a, struct bytes src);
/* Wipes and frees all. */
void arena_clear(struct arena *a);

#endif
