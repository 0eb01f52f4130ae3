/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_MESSAGE_H
#define COHUE_SESSION_SUBMISSION_MESSAGE_H

#include "mail/header.h"

/* The author's own copy of a submitted message. Pure. */

/* A recipient of the envelope. */
struct submission_address {
	struct bytes address; /* "local@domain" */
	struct bytes normal;  /* by mail_mailbox_normalise */
	bool shown;           /* set by submission_sent_copy: stands in To or Cc */
};

/*
 * The author's copy: as submitted, `fields` on top, and Bcc made anew of the recipients that To and Cc do not show.
 * ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err submission_sent_copy(struct bytes message, struct bytes fields,
					     struct submission_address *recipients, size_t count,
					     struct buf *out);
/* True where Auto-Submitted says that no person wrote it (RFC 3834). */
bool submission_is_automatic(struct bytes message);
/* True where the header says, once, TLS-Required: No (RFC 8689 section 5): rather delivered than protected. */
bool submission_waives_tls(struct bytes message);

#endif
