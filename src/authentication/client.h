/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_CLIENT_H
#define COHUE_AUTHENTICATION_CLIENT_H

#include "authentication/question.h"

/* What the DNS says of a host that sends: its names, the name that it gives itself, and lists that it may stand in. */

enum {
	CLIENT_NAMES_MAX = 10, /* names of an address that are looked at, as RFC 7208 section 4.6.4 has it */
	CLIENT_LISTS_MAX = 8,  /* block lists asked */
};

enum client_reverse {
	CLIENT_REVERSE_UNKNOWN, /* not asked, or no answer now */
	CLIENT_REVERSE_NONE,    /* its address has no name */
	CLIENT_REVERSE_OTHER,   /* names, none of which has the address (RFC 8601 section 2.7.3: iprev) */
	CLIENT_REVERSE_CONFIRMED
};
enum client_hello {
	CLIENT_HELLO_NAME,    /* a name that has an address, or nobody knows now */
	CLIENT_HELLO_LOST,    /* a name without an address */
	CLIENT_HELLO_SHORT,   /* no name of several labels: "localhost", "DESKTOP-7" */
	CLIENT_HELLO_LITERAL, /* its own address in brackets: allowed (RFC 5321 section 4.1.3), and rare */
	CLIENT_HELLO_NUMERIC, /* an address without brackets, or one of another host */
	CLIENT_HELLO_OURS     /* our own name or address's name: nobody else has it */
};

struct client_verdict {
	enum client_reverse reverse;
	enum client_hello hello;
	char name[254]; /* confirmed; else empty */
	unsigned lists; /* that list it */
};

struct client_input {
	uint8_t address[16]; /* IPv6, or mapped IPv4 */
	struct bytes hello;  /* as said */
	struct bytes host;   /* our own name */
	struct bytes domain; /* and that of our members */
	struct bytes lists;  /* zones, separated by blanks */
};

/* At most 2 + 2 * CLIENT_NAMES_MAX + CLIENT_LISTS_MAX questions, mostly three. */
void client_check(const struct client_input *in, const struct authentication_dns *dns,
		  struct client_verdict *ret);
/* The name under which an address is asked for, in `zone`: "1.2.0.192.in-addr.arpa", or "….ip6.arpa" where zone is empty. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err client_question(const uint8_t address[16], struct bytes zone, struct buf *out);

#endif
