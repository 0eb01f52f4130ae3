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

/* What tells her: the subject, and the text (session/notice.h). ERR_LIMIT, ERR_MEMORY. */
enum { QUOTA_SUBJECT_LEN = 48 };
COHUE_MUST_USE enum err quota_level_say(unsigned level, uint64_t used, uint64_t quota,
					char ret_subject[QUOTA_SUBJECT_LEN], struct buf *ret_body);

#endif
