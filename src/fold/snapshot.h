/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FOLD_SNAPSHOT_H
#define COHUE_FOLD_SNAPSHOT_H

#include "fold/state.h"

/*
 * The whole state as bytes. Canonical: two folds are in the same state exactly
 * where their snapshots are the same bytes. Numbers are delta-coded varints,
 * about 10 to 15 bytes a message. snapshot.c states the form byte for byte.
 */

enum {
	SNAPSHOT_VERSION = 4
}; /* 1: without the revision of the slot list; 2: without what was renamed; 3: without times of saving and annotations */

/* Appends to an empty buffer. ERR_STATE: out of memory earlier, or a buffer that is not empty. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err fold_snapshot_write(const struct fold *f, struct buf *out);
/*
 * The state again, with every invariant checked. ERR_UNSUPPORTED: of a newer version. ERR_DAMAGED: not
 * a snapshot. ERR_MEMORY.
 */
COHUE_MUST_USE enum err fold_snapshot_read(struct bytes snapshot, struct fold **ret);

#endif
