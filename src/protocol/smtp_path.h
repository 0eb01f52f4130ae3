/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_PATH_H
#define COHUE_PROTOCOL_SMTP_PATH_H

#include "base/bytes.h"

/*
 * The path of MAIL and RCPT, by the grammar of RFC 5321 section 4.1.2 and
 * RFC 6531 section 3.3: syntax only, no policy. Views into what was scanned.
 */

enum {
	/* RFC 5321 asks for at least 64 and 255 octets; VERP and SRS senders pass 64 in practice. */
	SMTP_LOCAL_MAX = 255,
	SMTP_DOMAIN_MAX = 255,
};

struct smtp_path {
	struct bytes mailbox; /* local@domain as written, without <> and source route; empty for <> */
	struct bytes local;   /* as written: with its quotes and backslashes where quoted */
	struct bytes domain;  /* empty for <> and <postmaster>; with its brackets for a literal */
	bool is_null;         /* <> */
	bool is_postmaster;   /* <postmaster> in any case, without a domain */
	bool is_quoted;       /* the local part is a quoted string */
	bool is_literal;      /* the domain is an address literal */
	bool is_utf8;         /* has non-ASCII characters (well-formed UTF-8): only under SMTPUTF8 */
};

/*
 * Scans a path at the start of text. ret_rest is what follows the closing
 * bracket. A source route is checked and thrown away (RFC 5321 appendix C).
 * ERR_FORMAT; ERR_LIMIT for an overlong local part or domain.
 */
COHUE_MUST_USE enum err smtp_path_scan(struct bytes text, struct smtp_path *ret_path, struct bytes *ret_rest);
/* The same for a mailbox without brackets, which must fill the whole text. */
COHUE_MUST_USE enum err smtp_mailbox_scan(struct bytes text, struct smtp_path *ret_path);
/*
 * Appends the local part without quotes and quoting backslashes, as it is
 * compared ("a\b"@x and ab@x name one mailbox). ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err smtp_path_plain_local(const struct smtp_path *path, struct buf *ret_local);
/* True for a Domain of RFC 5321 (letters, digits, hyphens; U-labels where utf8 is set). */
bool smtp_domain_valid(struct bytes domain, bool utf8);
/* True for [192.0.2.1], [IPv6:...] or [tag:content]. */
bool smtp_literal_valid(struct bytes literal);

#endif
