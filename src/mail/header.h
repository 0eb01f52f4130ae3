/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_HEADER_H
#define COHUE_MAIL_HEADER_H

#include "base/arena.h"

/*
 * Header fields of a message or part, over a borrowed view: nothing is copied
 * unless quoting, comments or folding force it. All parsers run in time linear
 * in their input, do not recurse, and accept the oddities that
 * docs/tolerated.md lists. Line ends are CRLF or a bare LF; a bare CR is an
 * ordinary octet.
 */

/* --- Fields (RFC 5322 §2.2, §4.5) --- */

struct mail_field {
	struct bytes name;  /* without blanks before the colon */
	struct bytes value; /* raw: from behind the colon up to the final line end, folding included */
	struct bytes whole; /* name to final line end, both included */
	size_t offset;      /* of `whole` in the view that was given */
};

struct mail_fields {
	struct bytes head;
	size_t at;
};

/*
 * Octets of the header at the front of a message or part, the empty line that
 * ends it included. It ends at the first empty line, or with the view. Lines
 * that are no field are part of it and skipped, but where the very first line
 * is none (mbox "From " lines aside), the header is empty: 0.
 */
size_t mail_header_length(struct bytes message);
/*
 * Octets of an mbox separator line at the front: "From " or, quoted by a mailer, ">From ". 0 where there is none:
 * `From :` is a field, with the blanks that RFC 5322 §4.5 lets stand before the colon.
 */
size_t mail_mbox_line_length(struct bytes message);
/* Starts at a message or its header alone. */
void mail_fields_init(struct mail_fields *it, struct bytes message);
/* The next field; false at the end of the header. */
bool mail_fields_next(struct mail_fields *it, struct mail_field *ret_field);
/* The first field of that name (ASCII letters without case). */
bool mail_field_find(struct bytes message, const char *name, struct mail_field *ret_field);
/* Appends the value without line ends, trimmed at both ends (RFC 5322 §2.2.3). */
COHUE_MUST_USE enum err mail_unfold(struct bytes value, struct buf *out);

/* --- Addresses (RFC 5322 §3.4, §4.4; RFC 6532) --- */

enum mail_address_kind {
	MAIL_ADDRESS_MAILBOX,
	MAIL_ADDRESS_GROUP,    /* name of a group; its members follow */
	MAIL_ADDRESS_GROUP_END /* no name */
};

struct mail_address {
	enum mail_address_kind kind;
	/* Quoting and folding undone, encoded words (RFC 2047) left as they are; a comment where there is no phrase. */
	struct bytes name;
	struct bytes local; /* quoting undone; may be empty in broken mail */
	struct bytes
	    domain; /* as written, without blanks and comments; literals with brackets; may be empty */
};

struct mail_addresses {
	const struct mail_address *list;
	size_t count;
	bool truncated; /* there were more than allowed */
};

/*
 * Never fails for what the text says: what can't be read as an address gives one
 * with the text as its local part and no domain, or nothing. At most max
 * entries. ERR_MEMORY where the arena is full.
 */
COHUE_MUST_USE enum err mail_addresses_parse(struct arena *arena, struct bytes value, size_t max,
					     struct mail_addresses *ret_addresses);

/* --- Dates (RFC 5322 §3.3, §4.3) --- */

struct mail_date {
	int64_t seconds;        /* since 1970-01-01 00:00 UTC */
	int16_t offset_minutes; /* of the author's zone, east positive; 0 where unknown ("-0000") */
};

/* Obsolete zones, two-digit years, missing weekday or seconds are read. ERR_FORMAT. */
COHUE_MUST_USE enum err mail_date_parse(struct bytes value, struct mail_date *ret_date);

/* An Internet timestamp, "2026-11-22T17:30:00Z" (RFC 3339 section 5.6), as seconds since 1970; a fraction is dropped. ERR_FORMAT. */
COHUE_MUST_USE enum err mail_timestamp_parse(struct bytes text, int64_t *ret_seconds);

/* --- Message identifiers (RFC 5322 §3.6.4) --- */

struct mail_ids {
	const struct bytes *list; /* each with its angle brackets; blanks inside removed */
	size_t count;
	bool truncated; /* the first max-1 and the last were kept */
};

/* For Message-ID, In-Reply-To, References. What stands outside of brackets is ignored. */
COHUE_MUST_USE enum err mail_ids_parse(struct arena *arena, struct bytes value, size_t max,
				       struct mail_ids *ret_ids);

/* --- MIME content fields (RFC 2045 §5, RFC 2183, RFC 2231) --- */

enum { MAIL_MAX_PARAMS = 128, MAIL_MAX_PARAM_VALUE = 8192 };

struct mail_param {
	struct bytes name;  /* as written: "filename*0*" stays so */
	struct bytes value; /* quoting undone; charset and percent signs stay, for BODYSTRUCTURE */
};

struct mail_params {
	const struct mail_param *list;
	size_t count;
};

/* "type/subtype; params" */
struct mail_content {
	struct bytes type;
	struct bytes subtype; /* empty in Content-Disposition */
	struct mail_params params;
	bool truncated; /* parameters past MAIL_MAX_PARAMS, or longer than MAIL_MAX_PARAM_VALUE */
};

/* ERR_FORMAT where there is no type/subtype: the reader then takes text/plain (RFC 2045 §5.2). */
COHUE_MUST_USE enum err mail_content_type_parse(struct arena *arena, struct bytes value,
						struct mail_content *ret_content);
COHUE_MUST_USE enum err mail_disposition_parse(struct arena *arena, struct bytes value,
					       struct mail_content *ret_content);
/* Content-Language: a list of tags, at most 32 (RFC 3282). */
COHUE_MUST_USE enum err mail_languages_parse(struct arena *arena, struct bytes value,
					     const struct bytes **ret_list, size_t *ret_count);
/* A single token without comments and blanks: Content-Transfer-Encoding. Empty where there is none. */
COHUE_MUST_USE enum err mail_token_parse(struct arena *arena, struct bytes value, struct bytes *ret_token);
/* The value of a plain parameter of that name. */
bool mail_param_find(const struct mail_params *params, const char *name, struct bytes *ret_value);
/*
 * Appends the parameter in UTF-8: continuations joined, percent signs and
 * charset resolved (RFC 2231); a plain value with encoded words is decoded, too.
 * ERR_NOT_FOUND.
 */
COHUE_MUST_USE enum err mail_param_decode(const struct mail_params *params, const char *name,
					  struct buf *out);

#endif
