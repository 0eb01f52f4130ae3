/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/pending.h"

#include <stdlib.h>
#include <string.h>

enum { PENDING_MAX = 65536 };

struct pending_blob {
	struct pending_blob *next;
	uint8_t name[BLOB_NAME_LEN];
	uint32_t chunks;
	bool is_void;
	msec began;
};

/* Names are random, so their first byte spreads them. */
static struct pending_blob **
find(struct pending_blobs *p, const uint8_t name[BLOB_NAME_LEN])
{
	struct pending_blob **at = &p->buckets[name[0]];
	while (*at != NULL && memcmp((*at)->name, name, BLOB_NAME_LEN) != 0) {
		at = &(*at)->next;
	}
	return at;
}

enum err
unclaimed_add(struct pending_blobs *p, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, msec now)
{
	struct pending_blob **at = find(p, name);
	if (*at != NULL) {
		if ((*at)->is_void || chunk != (*at)->chunks) {
			return ERR_CONFLICT;
		}
		(*at)->chunks++;
		return ERR_OK;
	}
	if (chunk != 0) {
		return ERR_CONFLICT;
	}
	if (p->count >= PENDING_MAX) {
		return ERR_LIMIT;
	}
	struct pending_blob *b = calloc(1, sizeof(*b));
	if (b == NULL) {
		return ERR_MEMORY;
	}
	memcpy(b->name, name, BLOB_NAME_LEN);
	b->chunks = 1;
	b->began = now;
	*at = b;
	p->count++;
	return ERR_OK;
}

bool
unclaimed_has(const struct pending_blobs *p, const uint8_t name[BLOB_NAME_LEN])
{
	for (const struct pending_blob *b = p->buckets[name[0]]; b != NULL; b = b->next) {
		if (memcmp(b->name, name, BLOB_NAME_LEN) == 0) {
			return !b->is_void;
		}
	}
	return false;
}

void
unclaimed_remove(struct pending_blobs *p, const uint8_t name[BLOB_NAME_LEN])
{
	struct pending_blob **at = find(p, name);
	if (*at != NULL) {
		struct pending_blob *gone = *at;
		*at = gone->next;
		free(gone);
		p->count--;
	}
}

void
pending_void(struct pending_blobs *p)
{
	for (size_t i = 0; i < 256; i++) {
		for (struct pending_blob *b = p->buckets[i]; b != NULL; b = b->next) {
			b->is_void = true;
		}
	}
}

void
unclaimed_clear(struct pending_blobs *p)
{
	for (size_t i = 0; i < 256; i++) {
		while (p->buckets[i] != NULL) {
			unclaimed_remove(p, p->buckets[i]->name);
		}
	}
}

bool
unclaimed_take_older(struct pending_blobs *p, msec limit, uint8_t ret_name[BLOB_NAME_LEN])
{
	for (size_t i = 0; i < 256; i++) {
		for (struct pending_blob *b = p->buckets[i]; b != NULL; b = b->next) {
			if (b->is_void || b->began < limit) {
				memcpy(ret_name, b->name, BLOB_NAME_LEN);
				unclaimed_remove(p, ret_name);
				return true;
			}
		}
	}
	return false;
}
