/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_WRITE_H
#define COHUE_MAIL_WRITE_H

#include "base/bytes.h"

/*
 * Writing mail. Whatever is given, no bare CR or LF and no extra field comes out of a
 * field writer: control octets in values become spaces. Lines end in CRLF.
 */

/* "Name: value" folded at blanks near 78 columns, at most 998 octets a line (RFC 5322 §2.1.1, §2.2.3). ERR_FORMAT for a name that is none. */
COHUE_MUST_USE enum err mail_write_field(struct buf *out, const char *name, struct bytes value);
/* The same for UTF-8 text: encoded words (RFC 2047, UTF-8, B) where it is not ASCII. */
COHUE_MUST_USE enum err mail_write_text_field(struct buf *out, const char *name, struct bytes utf8);
/* Appends text as RFC 2047 words without folding, or as it is where it is printable ASCII. */
COHUE_MUST_USE enum err mail_encode_words(struct buf *out, struct bytes utf8);
/* Appends a display name as a phrase: atoms, quoted string or encoded words. */
COHUE_MUST_USE enum err mail_write_phrase(struct buf *out, struct bytes utf8);
/* "Thu, 01 Jan 1970 00:00:00 +0000": always UTC, which tells nothing of the author. ERR_FORMAT outside of years 1900 to 9999. */
COHUE_MUST_USE enum err mail_write_date(struct buf *out, int64_t seconds);
/* "1970-01-01T00:00:00Z" (RFC 3339). ERR_FORMAT outside of years 0 to 9999. */
COHUE_MUST_USE enum err mail_write_timestamp(struct buf *out, int64_t seconds);

/* Appends the message without the fields of these names (NULL-terminated); all other octets as they are. */
COHUE_MUST_USE enum err mail_strip_fields(struct bytes message, const char *const *names, struct buf *out);
/*
 * Appends `fields` (complete lines, from the writers above) and then the message; an mbox "From " line is
 * dropped, and a message without header gets the empty line that it lacks.
 */
COHUE_MUST_USE enum err mail_insert_top(struct bytes message, struct bytes fields, struct buf *out);
/* Received fields: for loop detection (RFC 5321 §6.3). */
size_t mail_count_received(struct bytes message);
/* True where the message has an octet above 127 in its header, or in the header of any part. */
bool mail_has_8bit_header(struct bytes message);
bool mail_has_8bit(struct bytes message);

/*
 * Appends the message in 7 bits: each part with octets above 127 (or a line of more than 998 octets)
 * becomes quoted-printable (text) or base64, its Content-Transfer-Encoding is
 * rewritten. Header texts are not touched. Nothing under multipart/signed or application/pkcs7-* is ever
 * touched: ERR_UNSUPPORTED where such a part would need it, nothing written then (bounce 5.6.3).
 */
COHUE_MUST_USE enum err mail_downgrade_8bit(struct bytes message, struct buf *out);

/* --- Delivery status notifications (RFC 3461, RFC 3464, RFC 6522) --- */

enum mail_dsn_action {
	MAIL_DSN_FAILED,
	MAIL_DSN_DELAYED,
	MAIL_DSN_DELIVERED,
	MAIL_DSN_RELAYED,
	MAIL_DSN_EXPANDED
};

struct mail_dsn_recipient {
	struct bytes final;          /* address, "local@domain" */
	struct bytes original;       /* ORCPT as received, "rfc822;..." with xtext; may be empty */
	enum mail_dsn_action action; /* */
	struct bytes status;         /* "5.1.1" (RFC 3463) */
	struct bytes diagnostic;     /* the peer's reply, without type; may be empty */
	struct bytes remote_mta;     /* its name; may be empty */
	int64_t last_attempt;        /* seconds since 1970, 0: unsaid */
	int64_t will_retry_until;    /* for DELAYED; 0: unsaid */
};

struct mail_dsn {
	struct bytes reporting_mta; /* host name */
	struct bytes from;          /* "postmaster@domain": the header address */
	struct bytes to;            /* envelope sender of the original */
	struct bytes message_id;    /* with angle brackets */
	struct bytes boundary;      /* random, at most 70 of letters, digits, '-', '_', '=' */
	int64_t date;               /* seconds since 1970 */
	int64_t arrival_date;       /* of the original; 0: unsaid */
	struct bytes envelope_id;   /* ENVID as received (xtext); may be empty */
	struct bytes subject;       /* UTF-8; empty: chosen from the action */
	struct bytes text; /* UTF-8 for people, CRLF or LF lines; empty: a text from the recipients' fields */
	struct bytes reference; /* opaque reference for support; may be empty */
	const struct mail_dsn_recipient *recipients;
	size_t recipient_count;
	struct bytes original; /* the message, or as much of it as is to be returned */
	bool return_full;      /* all of it (RET=FULL), else its header only (RFC 6522 text/rfc822-headers) */
};

/* ERR_FORMAT without recipients or with a boundary that is none or occurs in the original. */
COHUE_MUST_USE enum err mail_dsn_write(struct buf *out, const struct mail_dsn *dsn);

#endif
