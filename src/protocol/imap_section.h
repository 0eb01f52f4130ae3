/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_SECTION_H
#define COHUE_PROTOCOL_IMAP_SECTION_H

#include "mail/structure.h"
#include "protocol/imap_command.h"

/*
 * What BODY[section]<partial>, RFC822, RFC822.HEADER and RFC822.TEXT need of a
 * message (RFC 3501 section 6.4.5). The host supplies the octets:
 *
 *   IMAP_PLAN_RANGE   write a literal of len octets: those of the message at `at`.
 *   IMAP_PLAN_FILTER  read the len octets at `at` (a header), pass them through
 *                     imap_section_filter, cut the result with imap_section_partial,
 *                     and write that as a string.
 *   ERR_NOT_FOUND     there is no such part: write NIL.
 */

enum imap_plan_kind { IMAP_PLAN_RANGE, IMAP_PLAN_FILTER };

struct imap_plan {
	enum imap_plan_kind kind;
	size_t at; /* in the message */
	size_t len;
};

/* item: of kind SECTION, RFC822, RFC822_HEADER or RFC822_TEXT. ERR_NOT_FOUND. */
COHUE_MUST_USE enum err imap_section_resolve(const struct mail_structure *s,
					     const struct imap_fetch_item *item, struct imap_plan *ret_plan);
/* True where the item is of all octets, so that the structure is not needed: the range for a message of this size. */
bool imap_section_of_whole(const struct imap_fetch_item *item, size_t size, struct imap_plan *ret_plan);
/*
 * Appends the header fields that HEADER.FIELDS or HEADER.FIELDS.NOT asks for, octets and
 * order as they stand, and the empty line. Linear in header x names. ERR_LIMIT, ERR_MEMORY of out.
 */
COHUE_MUST_USE enum err imap_section_filter(const struct imap_section *section, struct bytes header,
					    struct buf *out);
/* The part of text that <start.count> asks for; all of it without. Empty past the end. */
struct bytes imap_section_partial(const struct imap_fetch_item *item, struct bytes text);
/* True where fetching the item sets \Seen: BODY[...] and BINARY[...] without PEEK, RFC822, RFC822.TEXT. */
bool imap_fetch_sets_seen(const struct imap_fetch_item *item);
/* True where the message's octets are needed to answer the item; false: the summary and the fold suffice. */
bool imap_fetch_needs_message(const struct imap_fetch_item *item);

#endif
