/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_MESSAGE_H
#define COHUE_COURIER_MESSAGE_H

#include "mail/privacy.h"

/*
 * The message as it leaves: a trace field of the house that says nothing of its author, and whatever a
 * peer that knows less needs. Pure.
 */

struct message_trace {
	const char *hostname;
	const char *reference; /* opaque */
	int64_t now;           /* seconds since 1970 */
	int64_t first_release; /* what the Date is made of */
	enum mail_privacy_date date;
};

/* Octets above 127 and where. */
struct message_needs {
	bool eight_bit; /* anywhere */
	bool utf8;      /* in a header */
};

/* True if every CR and LF is part of a CRLF, and there is no NUL: what SMTP can carry (RFC 5321 section 2.3.8). */
bool message_is_clean(struct bytes message);

/*
 * Appends trace fields, Date and Resent-Date where they are missing, and the message; a kept Date that has become odd while the
 * message waited is replaced. ERR_FORMAT: it is not clean; ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err message_release(struct bytes message, const struct message_trace *trace,
					struct buf *out);

struct message_needs message_needs(struct bytes message);

/*
 * An address as it is said to a peer: its domain as A-labels, so that SMTPUTF8 is needed for the local part alone.
 * ERR_FORMAT for what is no address. ret_utf8: the local part needs it.
 */
COHUE_MUST_USE enum err message_address(struct bytes address, struct buf *out, bool *ret_utf8);

#endif
