/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_QUOTA_LEVEL_H
#define COHUE_SESSION_QUOTA_LEVEL_H

#include "base/bytes.h"

/* When a member is told that her room runs out: pure. */

enum {
	QUOTA_LEVEL_EARLY = 80, /* percent */
	QUOTA_LEVEL_LATE = 95,
	QUOTA_LEVEL_BACK = 10, /* so far below, it counts as left: a mailbox at the brink is told of once */
	QUOTA_WARNED_MIN = 1024 * 1024 /* octets: of a smaller quota, the warning would fill much itself */
};

/*
 * The level to remember: 0, QUOTA_LEVEL_EARLY or QUOTA_LEVEL_LATE; `before` is the one remembered so far. Higher than before: she is to be
 * told. quota 0: none.
 */
unsigned quota_level(uint64_t used, uint64_t quota, unsigned before);
/* What was remembered as text ("80"), and 0 for what is not one of the levels. */
unsigned quota_level_read(struct bytes text);

/*
 * The message that tells her. address: hers. Message-ID from random. ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err quota_level_message(unsigned level, uint64_t used, uint64_t quota, const char *domain,
					    struct bytes address, int64_t time, const uint8_t random[16],
					    struct buf *out);

#endif
