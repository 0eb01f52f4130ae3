/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FOLD_FOLD_TESTING_H
#define COHUE_FOLD_FOLD_TESTING_H

#include <string.h>

#include "fold/operation_rules.h"

/* For tests: a record as operations_begin and operations_add made it becomes one of a version that carried nothing (below 5). */
static inline void
record_of_version(struct buf *b, uint8_t version)
{
	memmove(b->ptr + 1, b->ptr + 1 + OPERATION_CARRIED_LEN, b->len - 1 - OPERATION_CARRIED_LEN);
	buf_truncate(b, b->len - OPERATION_CARRIED_LEN);
	b->ptr[0] = version;
}

#endif
