/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_PRIVACY_H
#define COHUE_MAIL_PRIVACY_H

#include "base/arena.h"

/*
 * What leaves with a member's message, and what does not: her program, her machine, her time zone and the
 * minute in which she wrote. docs/leaks.md says which program tells what. What a signature covers is never touched.
 */

enum {
	MAIL_PRIVACY_ID_MAX = 998,           /* octets of an identifier, brackets included */
	MAIL_PRIVACY_SEED_LEN = 16,          /* random octets */
	MAIL_PRIVACY_ODD_DATE = 3 * 86400,   /* seconds that a Date may be off: some providers refuse more */
	MAIL_PRIVACY_FIELDS_MAX = 16 * 1024, /* octets that a rewritten message may be longer */
};

/* The Date that recipients see. */
enum mail_privacy_date {
	MAIL_DATE_RELEASE = 0, /* when the message first left */
	MAIL_DATE_DAY = 1,     /* the day of that, 00:00 UTC */
	MAIL_DATE_KEEP = 2,    /* the author's own, in UTC */
};

struct mail_privacy_look {
	/* Message-ID, without blanks, with its brackets; empty where there is none that could be used. Resent: Resent-Message-ID. */
	struct bytes id;
	/* An OpenPGP or S/MIME signature may cover a copy of the header (RFC 9788): encrypted mail counts, too. */
	bool is_signed;
	bool resent; /* has Resent-From */
};

/* Parses the message. Views borrow from it or from the arena (MAIL_PARSE_MEMORY). ERR_MEMORY, ERR_LIMIT. */
COHUE_MUST_USE enum err mail_privacy_look(struct arena *arena, struct bytes message,
					  struct mail_privacy_look *ret);

/*
 * True where an identifier may leave as it is: under `domain` itself, and before the '@' nothing but 122 bits or
 * more that are random by their form: a UUID of version 4, or 32 hexadecimal digits that are no UUID with a time in it.
 */
bool mail_id_is_opaque(struct bytes id, struct bytes domain);

/* What stands for an identifier that the author's program wrote before. Appends it; nothing where the identifier stays. */
typedef enum err (*mail_privacy_map_fn)(void *arg, struct bytes id, struct buf *out);

struct mail_privacy {
	struct bytes id;         /* Message-ID (resent: Resent-Message-ID) that leaves, brackets included */
	mail_privacy_map_fn map; /* for In-Reply-To and References; may be NULL */
	void *map_arg;
	enum mail_privacy_date date;
	int64_t now; /* seconds since 1970 */
	uint8_t seed[MAIL_PRIVACY_SEED_LEN];
};

/*
 * Appends the message as it leaves. RELEASE and DAY: without Date (Resent-Date), which mail_privacy_put_dates() adds;
 * KEEP: with Date in UTC, where it is less than MAIL_PRIVACY_ODD_DATE off. `out` needs room for the message and
 * MAIL_PRIVACY_FIELDS_MAX, and for each part some 40 octets. ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err mail_privacy_leave(struct bytes message, const struct mail_privacy *p,
					   struct buf *out);
/* Appends the author's own copy: only the identifiers are those that leave. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err mail_privacy_keep(struct bytes message, const struct mail_privacy *p,
					  struct buf *out);

/*
 * Appends to `fields` the Date and, in a resent message, the Resent-Date that the message lacks, as complete lines.
 * `when`: seconds since 1970. ERR_LIMIT, ERR_MEMORY, ERR_FORMAT (past year 9999).
 */
COHUE_MUST_USE enum err mail_privacy_put_dates(struct bytes message, enum mail_privacy_date date,
					       int64_t when, struct buf *fields);
/* True where a Date kept by KEEP is by now too odd to leave with: drop it, and put another. Never of resent mail. */
bool mail_privacy_date_is_odd(struct bytes message, int64_t when);

#endif
