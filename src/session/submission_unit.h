/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_UNIT_H
#define COHUE_SESSION_SUBMISSION_UNIT_H

#include "process/log.h"
#include "session/submission_identity.h"
#include "session/submission_internal.h"
#include "session/submission_sent.h"

/* What submission_send.c makes of a transaction: one unit in the room of what leaves. */

/* One message on its way out. */
struct submission_unit {
	struct envelope *envelope;
	struct member *member;
	struct worker *worker;
	char ref[LOG_REF_LEN + 1];
	int64_t now;   /* seconds since 1970 */
	int64_t stamp; /* the same for others' eyes */
	struct identity identity;
	struct buf leaving; /* the message as it leaves, without Date */
	struct buf parts;
	uint32_t part_count;
	size_t deliveries; /* of the parts, those that leave the house */
	uint8_t unit[IPC_UNIT];
	struct upload upload;
	enum submission_sent sent;
};

/*
 * Seals a part for each domain of others, and copies for where members have their mail sent on. ERR_LIMIT: too many for one unit. Else as of
 * the keeper, the store and the directory.
 */
COHUE_MUST_USE enum err submission_add_remote(struct submission_unit *s);

#endif
