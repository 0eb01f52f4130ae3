/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_ENVELOPE_H
#define COHUE_PROTOCOL_SMTP_ENVELOPE_H

#include "mail/address.h"

/* The parts of an envelope as MAIL and RCPT carry them, shared by both engines. */

/* BODY= of RFC 6152. */
enum smtp_body { SMTP_BODY_UNSAID = 0, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* RET= of RFC 3461. */
enum smtp_ret { SMTP_RET_UNSAID = 0, SMTP_RET_FULL, SMTP_RET_HDRS };

/* NOTIFY= of RFC 3461: 0 when unsaid, else NEVER alone or a set of the others. */
enum {
	SMTP_NOTIFY_NEVER = 1,
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8,
};

enum {
	SMTP_ENVID_MAX = 100, /* octets, decoded (RFC 3461 section 4.4) */
	SMTP_ORCPT_MAX = 500, /* octets, encoded, type included (section 4.2) */
};

/* What came with MAIL. All views live as long as the callback that is given it. */
struct smtp_mail {
	struct mail_mailbox sender; /* local part and domain empty for <> */
	uint64_t size;              /* octets declared with SIZE=; 0 when unsaid */
	enum smtp_body body;
	bool utf8;        /* SMTPUTF8 (RFC 6531) */
	bool require_tls; /* REQUIRETLS (RFC 8689) */
	enum smtp_ret ret;
	struct bytes envid; /* decoded; empty when unsaid */
	/*
	 * Seconds to wait before it is sent (RFC 4865), 0 when unsaid or past. HOLDUNTIL, a wish for a time,
	 * never gives 1: that is what HOLDFOR=1 means to us, an urgent letter.
	 */
	uint64_t hold;
	bool has_priority;
	int8_t priority; /* -9 to 9 (RFC 6710) */
};

/* What came with RCPT. */
struct smtp_rcpt {
	struct mail_mailbox recipient; /* domain empty for <postmaster> */
	unsigned notify;
	struct bytes orcpt_type; /* "rfc822"; empty when unsaid */
	struct bytes orcpt;      /* decoded; of type utf-8 as it came (RFC 6533 section 3) */
};

/* Decodes xtext (RFC 3461 section 4). ERR_FORMAT, ERR_LIMIT, ERR_MEMORY; nothing appended on failure. */
COHUE_MUST_USE enum err smtp_xtext_decode(struct bytes text, struct buf *ret_plain);
COHUE_MUST_USE enum err smtp_xtext_encode(struct bytes plain, struct buf *ret_text);

/*
 * Reads the parameters behind the path of MAIL or RCPT, as a table of this
 * module knows them. Decoded values are appended to `scratch`, into which the
 * views of ret_ point. ret_ must come with its path set; other fields are set here.
 * ERR_UNSUPPORTED: a keyword that is not known or not offered (555 5.5.4);
 * ERR_FORMAT: bad value, or a keyword twice (501 5.5.4); ERR_LIMIT: held longer than offered; ERR_MEMORY.
 * `dsn` allows RET, ENVID, NOTIFY, ORCPT; `auth` allows AUTH= (read and ignored); `priority` MT-PRIORITY; `require_tls` REQUIRETLS;
 * `hold_max` HOLDFOR and HOLDUNTIL, up to that many seconds after `wall` (seconds since 1970); 0: none.
 */
struct smtp_offer {
	bool dsn;
	bool auth;
	bool priority;
	bool require_tls;
	uint64_t hold_max;
	int64_t wall;
};
COHUE_MUST_USE enum err smtp_mail_params(struct bytes text, struct smtp_offer offer, struct buf *scratch,
					 struct smtp_mail *ret_mail);
COHUE_MUST_USE enum err smtp_rcpt_params(struct bytes text, struct smtp_offer offer, bool utf8,
					 struct buf *scratch, struct smtp_rcpt *ret_rcpt);

#endif
