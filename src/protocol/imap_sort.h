/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_SORT_H
#define COHUE_PROTOCOL_IMAP_SORT_H

#include "mail/structure.h"
#include "protocol/imap_command.h"

/* Orders messages as SORT asks (RFC 5256, RFC 5957). */

enum {
	IMAP_SORT_TEXT_MAX =
	    512 /* octets that strings are compared by: longer ones that begin so are equal */
};

struct imap_sort_value {
	int64_t number;
	struct bytes text; /* folded, with small ASCII letters made large: i;unicode-casemap's order */
};

/* What is known of a message. envelope NULL: it cannot be read. */
struct imap_sort_source {
	const struct mail_envelope *envelope;
	int64_t internal; /* seconds since 1970 UTC */
	uint64_t size;
};

/* The value of a message for a criterion; texts in the arena. ERR_MEMORY. */
COHUE_MUST_USE enum err imap_sort_value_of(struct arena *a, enum imap_sort_by by,
					   const struct imap_sort_source *source,
					   struct imap_sort_value *ret);
/* The sent date (RFC 5256 section 2.2): of the Date field, else the internal one. */
int64_t imap_sent_date(const struct imap_sort_source *source);
/* The base subject as it is compared, in the arena. *ret_reply: of a reply or a forwarded message. ERR_MEMORY. */
COHUE_MUST_USE enum err imap_sort_subject(struct arena *a, const struct mail_envelope *envelope,
					  struct bytes *ret, bool *ret_reply);
/* Writes 0 .. count - 1 to ret in order. values: order_count of each message, message by message. */
void imap_sort(const struct imap_sort_criterion *order, size_t order_count,
	       const struct imap_sort_value *values, uint32_t *ret, size_t count);

#endif
