/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_ADDRESS_H
#define COHUE_MAIL_ADDRESS_H

#include "base/bytes.h"

/* Addresses as SMTP knows them (RFC 5321 §4.1.2, RFC 6531 §3.3), and their form for look-ups. */

enum {
	MAIL_LOCAL_MAX = 64,   /* octets, RFC 5321 §4.5.3.1.1 */
	MAIL_DOMAIN_MAX = 255, /* octets, RFC 5321 §4.5.3.1.2 */
	MAIL_MAILBOX_MAX = MAIL_LOCAL_MAX + 1 + MAIL_DOMAIN_MAX
};

struct mail_mailbox {
	struct bytes local;  /* as written, with quotes where it has them */
	struct bytes domain; /* as written; a literal with its brackets; empty for "postmaster" alone */
	bool quoted;         /* local is a quoted string */
	bool literal;        /* domain is an address literal */
	bool utf8;           /* octets above 127: needs SMTPUTF8 */
};

/*
 * Reads "local@domain" to the end of text. Local parts are dot-strings or
 * quoted strings; domains are host names (letters, digits, hyphens, underscores,
 * UTF-8) or literals "[192.0.2.1]", "[IPv6:...]". ERR_FORMAT; ERR_LIMIT where too long.
 */
COHUE_MUST_USE enum err mail_mailbox_parse(struct bytes text, struct mail_mailbox *ret_mailbox);
/*
 * Reads "<local@domain>" of MAIL FROM and RCPT TO at the start of text, an
 * obsolete source route dropped; "<>" gives an empty local part and domain;
 * "<postmaster>" an empty domain. ret_used: octets up to and with ">".
 */
COHUE_MUST_USE enum err mail_path_parse(struct bytes text, struct mail_mailbox *ret_mailbox,
					size_t *ret_used);
/*
 * Appends the form for look-ups and comparison: local part unquoted where it
 * can be, ASCII letters lower-case, '@', domain by mail_domain_normalise. ERR_FORMAT for a
 * domain that can't be an A-label.
 */
COHUE_MUST_USE enum err mail_mailbox_normalise(const struct mail_mailbox *mailbox, struct buf *out);
/* Appends the domain in lower case, U-labels as A-labels (IDNA 2008, libidn2), without a final dot. ERR_FORMAT. */
COHUE_MUST_USE enum err mail_domain_normalise(struct bytes domain, struct buf *out);
/* Appends the local part with its quoting undone. */
COHUE_MUST_USE enum err mail_local_unquote(const struct mail_mailbox *mailbox, struct buf *out);
/* Appends the local part in SMTP's form, quoted where it must be. `local` has no quoting. */
COHUE_MUST_USE enum err mail_local_quote(struct bytes local, struct buf *out);
/* True for "alice+word" and "alice+shop+word", whatever the case; never without something before the separator. */
bool mail_subaddress_ends(struct bytes local, uint8_t separator, struct bytes word);
/* "alice+shop" gives "alice" and "shop"; false (and base = local, detail empty) without the separator, or where it comes first. */
bool mail_subaddress_split(struct bytes local, uint8_t separator, struct bytes *ret_base,
			   struct bytes *ret_detail);

#endif
