/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_SPF_H
#define COHUE_AUTHENTICATION_SPF_H

#include "authentication/question.h"

/* SPF (RFC 7208), complete: macros, 10 mechanisms that ask, 2 void look-ups, 10 MX and PTR names. */

struct spf_input {
	uint8_t address[16];   /* of the client: IPv6, or mapped IPv4 */
	struct bytes hello;    /* as said; may be a literal */
	struct bytes sender;   /* MAIL FROM; empty: postmaster@hello (section 2.4) */
	struct bytes receiver; /* our host name, for %{r} */
	int64_t now;           /* for %{t} */
	/* Macros that would put the local part into a question to the sender's servers: true lets them (see docs/authentication.md). */
	bool allow_local_part;
};
struct spf_verdict {
	enum authentication_result result;
	char domain[254]; /* that was checked; empty: none could be */
	bool of_hello;    /* MAIL FROM was empty */
	bool
	    withheld; /* terms that ask for the sender's local part were passed over: they might have matched */
	const char *why; /* static */
};
void spf_check(const struct spf_input *in, const struct authentication_dns *dns, struct spf_verdict *ret);

#endif
