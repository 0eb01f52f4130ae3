/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_SENT_H
#define COHUE_SESSION_SUBMISSION_SENT_H

#include "sealed/journal.h"
#include "session/member.h"

/* The author's copy of what she sends, on disk with the unit or not at all: no crash leaves one without the other. */

enum submission_sent {
	SUBMISSION_SENT_WITH_UNIT, /* the last part of the unit */
	SUBMISSION_SENT_BEFORE,    /* there is one: of an attempt whose end the client did not hear */
	SUBMISSION_SENT_FULL,      /* no room in her mailbox */
	SUBMISSION_SENT_AFTER,     /* it has no place in the unit: to be filed when that is on disk */
};

/*
 * Adds the copy (complete, as it is to be kept) to the parts, after all others, with the first line of the letter's journal, whose time
 * is the copy's. submitted: as her program gave the message. renamed: goes into her log with it; may be NULL. From a task. Never
 * fails: what a copy lacks must not keep a message from leaving.
 */
enum submission_sent submission_add_sent(struct member *m, struct bytes copy, struct bytes submitted,
					 const struct journal_line *line, const struct operation *renamed,
					 struct upload *u, struct buf *parts);

#endif
