/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 4000 };

struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t at;
	alignas(max_align_t) uint8_t data[];
};

void
arena_init(struct arena *a, size_t max)
{
	*a = (struct arena){.blocks = NULL, .used = 0, .max = max};
}

void *
arena_alloc(struct arena *a, size_t size)
{
	const size_t align = alignof(max_align_t);
	if (size > SIZE_MAX / 2) {
		return NULL;
	}
	size = size == 0 ? align : (size + align - 1) / align * align;
	struct arena_block *b = a->blocks;
	if (b == NULL || b->size - b->at < size) {
		size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
		size_t whole = sizeof(*b) + room;
		if (whole > a->max || a->used > a->max - whole) {
			/* Near the maximum: try with just what is needed. */
			room = size;
			whole = sizeof(*b) + room;
			if (whole > a->max || a->used > a->max - whole) {
				return NULL;
			}
		}
		b = malloc(whole);
		if (b == NULL) {
			return NULL;
		}
		b->next = a->blocks;
		b->size = room;
		b->at = 0;
		a->blocks = b;
		a->used += whole;
	}
	void *p = b->data + b->at;
	b->at += size;
	memset(p, 0, size);
	return p;
}

void *
arena_array(struct arena *a, size_t count, size_t size)
{
	if (size != 0 && count > SIZE_MAX / 2 / size) {
		return NULL;
	}
	return arena_alloc(a, count * size);
}

struct bytes
arena_copy(struct arena *a, struct bytes src)
{
	uint8_t *p = arena_alloc(a, src.len);
	if (p == NULL) {
		return BYTES_EMPTY;
	}
	if (src.len > 0) {
		memcpy(p, src.ptr, src.len);
	}
	return bytes_of(p, src.len);
}

void
arena_clear(struct arena *a)
{
	while (a->blocks != NULL) {
		struct arena_block *next = a->blocks->next;
		explicit_bzero(a->blocks->data, a->blocks->at);
		free(a->blocks);
		a->blocks = next;
	}
	a->used = 0;
}
