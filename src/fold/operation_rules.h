/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FOLD_OPERATION_RULES_H
#define COHUE_FOLD_OPERATION_RULES_H

#include "fold/operation.h"

/* What writer, reader and snapshots all check; private to the module. */

#define OPERATION_SIZE_MAX ((uint64_t)1 << 40) /* octets of one message: sums cannot overflow */
#define OPERATION_DATE_MAX ((int64_t)1 << 48)  /* seconds: differences cannot overflow */
enum {
	/* As begun: version; what is carried (previous, length of the skeleton, next mailbox, revision, generation, count of bases: all 0); count. */
	OPERATION_CARRIED_LEN = 8 + 4 + 4 + 4 + 4 + 1,
	OPERATION_HEAD_LEN = 1 + OPERATION_CARRIED_LEN + 2
};
enum { OPERATION_ZONE_MAX = 1439 }; /* minutes */

bool operation_setting_name_valid(struct bytes name);
/* The version of the record in which an operation of this kind came to be: it stands in no older one. */
uint8_t operation_version(enum operation_kind kind);
/* All rules of operation.h that concern one operation's values. */
bool operation_valid(const struct operation *op);

#endif
