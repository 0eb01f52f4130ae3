/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORE_PENDING_H
#define COHUE_STORE_PENDING_H

#include "base/bytes.h"
#include "base/clock.h"
#include "storage/storage.h"

/*
 * Blobs that came in chunks and that no record or unit has claimed yet. A chunk is acknowledged before it is
 * on disk, since only the claim is a promise; so a blob may be claimed only if every chunk since its first is
 * in the same or a committed transaction. A rollback makes all of them void: what is on disk of them is deleted in time.
 */
struct pending_blobs {
	struct pending_blob *buckets[256];
	size_t count;
};

/* The next chunk of a blob: ERR_CONFLICT unless it follows the last (the first is 0), ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err unclaimed_add(struct pending_blobs *p, const uint8_t name[BLOB_NAME_LEN],
				      uint32_t chunk, msec now);
bool unclaimed_has(const struct pending_blobs *p, const uint8_t name[BLOB_NAME_LEN]);
void unclaimed_remove(struct pending_blobs *p, const uint8_t name[BLOB_NAME_LEN]);
/* None of them can be claimed or go on any more. */
void pending_void(struct pending_blobs *p);
void unclaimed_clear(struct pending_blobs *p);
/* Removes one that began before `limit`, or that is void, and gives its name; false when there is none. */
bool unclaimed_take_older(struct pending_blobs *p, msec limit, uint8_t ret_name[BLOB_NAME_LEN]);

#endif
