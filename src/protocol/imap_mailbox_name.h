/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_MAILBOX_NAME_H
#define COHUE_PROTOCOL_IMAP_MAILBOX_NAME_H

#include "base/bytes.h"

/*
 * Mailbox names. Inside the house a name is UTF-8 with '/' between levels,
 * and the inbox is "INBOX". On the wire it is modified UTF-7 (RFC 3501
 * section 5.1.3), or UTF-8 once UTF8=ACCEPT is enabled (RFC 6855).
 */

enum {
	IMAP_NAME_MAX = 1000,     /* octets of UTF-8 */
	IMAP_NAME_PART_MAX = 250, /* of one level */
	IMAP_NAME_LEVELS_MAX = 32,
	IMAP_DELIMITER = '/'
};

/* Modified UTF-7 to UTF-8; strict: no ASCII in base64, no 8-bit, no lone surrogates, canonical. ERR_FORMAT. */
COHUE_MUST_USE enum err imap_utf7_decode(struct buf *out, struct bytes name);
/* UTF-8 to modified UTF-7. ERR_FORMAT where it is not UTF-8. */
COHUE_MUST_USE enum err imap_utf7_encode(struct buf *out, struct bytes name);

/*
 * True for what can be a name: 1 to IMAP_NAME_MAX octets of UTF-8, no control
 * characters (C0, C1, DEL, line and paragraph separators), no noncharacters, no empty level,
 * not longer or deeper than above, no level "." or "..", no '%' or '*'.
 */
bool imap_mailbox_name_valid(struct bytes name);
/*
 * True where a valid name may be given to a new mailbox: without what nobody sees or what turns the direction of writing (marks,
 * embeddings, overrides, isolates; soft hyphens, zero-width spaces, invisible operators, annotations, tags: RFC 8264 section 9.13 has
 * them as not allowed). The joiners U+200C and U+200D stand between two characters beyond ASCII only: as in Persian, and in emoji.
 */
bool imap_mailbox_name_fit(struct bytes name);

/*
 * A name from the client into the house's form: decoded, "inbox" in any case (also as the first of
 * several levels) made "INBOX", one trailing '/' dropped where trailing is true (CREATE, RFC 3501 6.3.3).
 * Appends to out. ERR_FORMAT where it is no valid name (answer NO [CANNOT]).
 */
COHUE_MUST_USE enum err imap_mailbox_from_wire(struct buf *out, struct bytes wire, bool utf8, bool trailing);
/* The name as a client reads it, to be written with imap_write_astring. */
COHUE_MUST_USE enum err imap_mailbox_to_wire(struct buf *out, struct bytes name, bool utf8);
/*
 * LIST's reference and pattern, decoded, joined ("%" and "*" may occur) and in form C; a pattern that cannot be decoded
 * gives ERR_FORMAT: it matches nothing.
 */
COHUE_MUST_USE enum err imap_pattern_from_wire(struct buf *out, struct bytes reference, struct bytes pattern,
					       bool utf8);

/*
 * LIST matching (RFC 3501 section 6.3.8): '*' any octets, '%' any but the delimiter; INBOX as a first level
 * without case. Time at most name x pattern, no recursion.
 */
bool imap_pattern_match(struct bytes pattern, struct bytes name);
/* True where some descendant of name could match: for \NoSelect parents and RECURSIVEMATCH. */
bool imap_pattern_match_children(struct bytes pattern, struct bytes name);

#endif
