/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_MESSAGE_H
#define COHUE_SESSION_SUBMISSION_MESSAGE_H

#include "mail/header.h"

/* The two texts that come of a submitted message: what leaves, and the author's own copy. Pure. */

struct submission_stamp {
	const char *domain; /* ours, for a Message-ID */
	int64_t now;        /* seconds since 1970 */
	uint8_t random[16];
};

/* A recipient of the envelope. */
struct submission_address {
	struct bytes address; /* "local@domain" */
	struct bytes normal;  /* by mail_mailbox_normalise */
	bool shown;           /* set by submission_sent_copy: stands in To or Cc */
};

/*
 * Appends a Date and a Message-ID, each where the message has none, as complete lines (RFC 6409 section 8), and the identifier that
 * the message then has, brackets included, to ret_id. ERR_MEMORY, ERR_FORMAT (a time past year 9999), ERR_LIMIT.
 */
COHUE_MUST_USE enum err submission_missing_fields(struct bytes message, const struct submission_stamp *stamp,
						  struct buf *ret_fields, struct buf *ret_id);
/*
 * What leaves: `fields` on top; without Bcc, Return-Path, and what a program or a webmail tells of its user.
 * ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err submission_leaving(struct bytes message, struct bytes fields, struct buf *out);
/*
 * The author's copy: as submitted, `fields` on top, and Bcc made anew of the recipients that To and Cc do not show.
 * ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err submission_sent_copy(struct bytes message, struct bytes fields,
					     struct submission_address *recipients, size_t count,
					     struct buf *out);
/* True where Auto-Submitted says that no person wrote it (RFC 3834). */
bool submission_is_automatic(struct bytes message);

#endif
