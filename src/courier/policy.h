/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_POLICY_H
#define COHUE_COURIER_POLICY_H

#include <stdbool.h>

#include "protocol/smtp_reply.h"

/*
 * How a host has to be protected before it is given a message: DANE before MTA-STS before the house's own setting; never less than the
 * domain asks for, but where the house or the author made an exception. Pure; docs/links.md has the table.
 */

/* What the signed DNS says of a host's keys (RFC 7672 section 2.2). */
enum policy_dane {
	POLICY_DANE_NONE,     /* nothing, or not securely */
	POLICY_DANE_USABLE,   /* records that a certificate can be held against */
	POLICY_DANE_UNUSABLE, /* records, none of which can: encryption without proof */
	POLICY_DANE_BROKEN, /* the answer does not validate, or there is none now: the host may not be used */
};

/* What the domain's policy says of a host. */
enum policy_sts {
	POLICY_STS_NONE, /* no policy, or one that asks for nothing */
	POLICY_STS_TESTING,
	POLICY_STS_NAMED,   /* enforced, and this host is one of its */
	POLICY_STS_FOREIGN, /* enforced, and it is not */
};

struct policy_facts {
	bool require;       /* tls.outbound */
	bool exception;     /* the domain is one of tls.exceptions */
	bool author_waives; /* TLS-Required: No (RFC 8689 section 5) */
	bool requiretls;    /* the author demands it (RFC 8689 section 2) */
	bool relay;         /* through the smarthost: named by the operators, no matter of the domain's */
	enum policy_dane dane;
	enum policy_sts sts;
};

enum policy_use {
	POLICY_USE_NOT, /* this host may not be used */
	POLICY_USE_PREFER,
	POLICY_USE_ENCRYPT,
	POLICY_USE_AUTHORITY, /* verified by an authority: MTA-STS, or a relay for REQUIRETLS */
	POLICY_USE_DANE,
};

/* With POLICY_USE_NOT, *ret_why is why, as the recipients will hear it: temporary, or for good. */
enum policy_use policy_decide(const struct policy_facts *facts, struct smtp_result *ret_why);

/* Whether the domain is one of a list separated by blanks, in any case. */
bool policy_is_listed(const char *list, struct bytes domain);

#endif
