/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_JOURNAL_TEXT_H
#define COHUE_SESSION_JOURNAL_TEXT_H

#include "sealed/journal.h"

/* A line of the journal as a message that a mail program, and `cohue journal`, can show. Pure. */

struct journal_names {
	const char *domain;   /* ours */
	struct bytes address; /* the member's */
	uint8_t random[16];   /* for the Message-ID */
};

/*
 * Appends the message: From the house, a subject that says it all, a few sentences, and for programs the fields
 * Cohue-Letter (the same in all lines of a letter), Cohue-Event, Cohue-Protected (of a letter that left: yes or no),
 * Cohue-Crowd, and Cohue-Size-Hidden (of one that was delivered), Cohue-Link (how it was protected) and Cohue-Reason (what the server said). All lines of one letter are one thread. ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err journal_write(const struct journal_line *line, const struct journal_names *names,
				      struct buf *out);

#endif
