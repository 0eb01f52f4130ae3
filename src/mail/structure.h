/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_STRUCTURE_H
#define COHUE_MAIL_STRUCTURE_H

#include "mail/header.h"

/*
 * The parts of a message, parsed once (RFC 2045, RFC 2046): a flat array in
 * the order of the octets (a part stands before its children), with exact
 * offsets into the message. The same struct comes from mail_summary_decode().
 *
 * A MULTIPART has at least one child. A MESSAGE (message/rfc822) has exactly
 * one: the root of the message in it, which has an envelope. What can't be
 * kept so is a LEAF, and its type says what it then is: a multipart without a
 * boundary or without a single delimiter line becomes text/plain, one past the
 * limits, or an encoded message/rfc822, application/octet-stream.
 */

enum {
	MAIL_MAX_DEPTH = 64,         /* levels of parts; what lies deeper is an opaque leaf */
	MAIL_MAX_PARTS = 10000,      /* after these, nothing is split any more */
	MAIL_MAX_ADDRESSES = 20000,  /* of all envelopes of a message together */
	MAIL_MAX_REFERENCES = 100,   /* identifiers kept of References */
	MAIL_PARSE_MEMORY = 48 << 20 /* an arena of this size always suffices for mail_parse() */
};

#define MAIL_NO_PART UINT32_MAX

enum mail_part_kind { MAIL_PART_LEAF, MAIL_PART_MULTIPART, MAIL_PART_MESSAGE };

/* What IMAP's ENVELOPE needs (RFC 9051 §2.3.5, §7.5.2), raw octets without folding. A field that is absent has ptr NULL. */
struct mail_envelope {
	struct bytes date;     /* as written */
	bool has_sent;         /* `sent` could be read */
	struct mail_date sent; /* the Date field */
	struct bytes subject;  /* encoded words left as they are */
	struct mail_addresses from;
	struct mail_addresses sender;   /* from, where absent or empty */
	struct mail_addresses reply_to; /* from, where absent or empty */
	struct mail_addresses to;
	struct mail_addresses cc;
	struct mail_addresses bcc;
	struct bytes in_reply_to;
	struct bytes message_id;
	struct mail_ids references; /* of the outermost message only */
	bool truncated;             /* something was shortened: the message itself says more */
};

struct mail_part {
	enum mail_part_kind kind;
	uint32_t parent; /* MAIL_NO_PART for the root */
	uint32_t first_child;
	uint32_t next_sibling;
	uint32_t child_count;
	uint32_t depth; /* 0 for the root */

	/* Octets in the message. The header contains the empty line that ends it. */
	size_t header_at;
	size_t header_len;
	size_t body_at;    /* header_at + header_len */
	size_t body_len;   /* without the line end before the next delimiter */
	size_t body_lines; /* line ends in the body, one more for an unfinished last line */

	/* Never empty: text/plain where nothing is said (message/rfc822 in a digest). */
	struct bytes type;
	struct bytes subtype;
	struct mail_params params;
	struct bytes encoding;    /* Content-Transfer-Encoding as written; ptr NULL: absent, "7bit" */
	struct bytes id;          /* Content-ID, unfolded; ptr NULL where absent, and so the following */
	struct bytes description; /* encoded words left as they are */
	struct bytes md5;
	struct bytes location;
	struct bytes disposition; /* the type alone */
	struct mail_params disposition_params;
	const struct bytes *languages;
	size_t language_count;

	const struct mail_envelope
	    *envelope; /* root of a message (outermost, or child of MESSAGE); else NULL */
};

struct mail_structure {
	const struct mail_part *parts; /* parts[0] is the message itself */
	size_t count;
	size_t size;    /* of the message, octets */
	bool truncated; /* a limit was met: the structure is coarser than the message */
};

/*
 * Views in the result point into the message or the arena. Never fails for
 * what the message says; ERR_MEMORY where the arena is full, ERR_LIMIT for
 * a message of 4 GiB or more.
 */
COHUE_MUST_USE enum err mail_parse(struct arena *arena, struct bytes message, struct mail_structure *ret);

/*
 * Finds the part that an IMAP section names (RFC 9051 §6.4.5.1): "2.1" is {2, 1}.
 * No numbers, or the numbers of a MESSAGE, name that part itself; HEADER and
 * TEXT of it are those of mail_part_message(). A single-part message has part 1:
 * its root. ERR_NOT_FOUND.
 */
COHUE_MUST_USE enum err mail_part_find(const struct mail_structure *s, const uint32_t *numbers, size_t count,
				       uint32_t *ret_part);
/*
 * The root part whose header and body are HEADER and TEXT of a section: for no numbers the
 * whole message's, for a MESSAGE that of the message in it. ERR_NOT_FOUND for other parts.
 */
COHUE_MUST_USE enum err mail_part_message(const struct mail_structure *s, const uint32_t *numbers,
					  size_t count, uint32_t *ret_part);

#endif
