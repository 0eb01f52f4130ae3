/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_QUESTION_H
#define COHUE_AUTHENTICATION_QUESTION_H

#include "base/bytes.h"

/*
 * How DKIM, SPF, DMARC and ARC ask the DNS. The library does no I/O: whoever uses it answers, from a task that may
 * suspend; tests play the DNS.
 */

enum authentication_rr {
	AUTHENTICATION_A = 1,
	AUTHENTICATION_PTR = 12,
	AUTHENTICATION_MX = 15,
	AUTHENTICATION_TXT = 16,
	AUTHENTICATION_AAAA = 28
};

struct authentication_answer {
	bool no_name; /* NXDOMAIN */
	bool secure;  /* validated by DNSSEC */
	struct bytes
	    rdata; /* list of {u32 length, rdata in wire form} as in MSG_RESOLVE_REPLY; lent until the next question */
};

struct authentication_dns {
	/*
	 * name: A-labels and '_' labels without the final dot. ERR_OK also for no name and no data. ERR_AUTH: bogus (to be
	 * treated as a temporary error); ERR_AGAIN, ERR_TIMEOUT: no answer now; ERR_LIMIT: this message has asked too much.
	 */
	enum err (*ask)(void *ctx, struct bytes name, enum authentication_rr type,
			struct authentication_answer *ret);
	void *ctx;
};

/* RFC 8601 section 2.7: the words of Authentication-Results. */
enum authentication_result {
	AUTHENTICATION_NONE,
	AUTHENTICATION_PASS,
	AUTHENTICATION_FAIL,
	AUTHENTICATION_SOFTFAIL, /* SPF */
	AUTHENTICATION_NEUTRAL,
	AUTHENTICATION_POLICY, /* passes, but is not trusted: l=, a short key */
	AUTHENTICATION_TEMPERROR,
	AUTHENTICATION_PERMERROR
};
const char *authentication_result_name(enum authentication_result result); /* "pass" */

#endif
