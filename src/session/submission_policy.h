/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_POLICY_H
#define COHUE_SESSION_SUBMISSION_POLICY_H

#include "mail/address.h"

/*
 * Whose name a member may write under. Pure: whether an address is hers is asked of the caller. A header that another
 * reader could understand otherwise than we do is refused, not guessed at.
 */

struct submission_owner {
	bool (*owns)(const void *arg, const struct mail_mailbox *mailbox);
	const void *arg;
};

enum submission_verdict {
	SUBMISSION_OK,
	SUBMISSION_NO_FROM,
	SUBMISSION_MANY_FROM,
	SUBMISSION_UNCLEAR_FROM, /* cannot be read without doubt, or names nobody */
	SUBMISSION_FOREIGN_FROM,
	SUBMISSION_BAD_SENDER, /* twice, unclear, or several addresses */
	SUBMISSION_FOREIGN_SENDER,
	SUBMISSION_BAD_RESENT, /* Resent- fields without a clear Resent-From */
	SUBMISSION_FOREIGN_RESENT,
	SUBMISSION_MEMORY, /* temporary */
	SUBMISSION__COUNT
};

/*
 * From (RFC 5322 section 3.6.2): exactly one, each of its mailboxes (also within groups, RFC 6854) hers. Sender, if present:
 * one, with one mailbox, hers. With any Resent- field (section 3.6.6): each Resent-From and Resent-Sender hers, and at
 * least one Resent-From.
 */
enum submission_verdict submission_check(struct bytes message, const struct submission_owner *owner);
/* What is said to the client: printable ASCII, static. */
const char *submission_verdict_text(enum submission_verdict v);

#endif
