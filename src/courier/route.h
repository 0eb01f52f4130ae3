/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_ROUTE_H
#define COHUE_COURIER_ROUTE_H

#include "base/bytes.h"
#include "protocol/smtp_reply.h"

/*
 * Which hosts take the mail of a domain, in which order (RFC 5321 section 5, RFC 7505). Pure but for
 * its callbacks, so that tests play the DNS. What the DNS says is bounded: a hostile answer costs little.
 */

enum {
	ROUTE_NAME_MAX = 256,   /* a host name with its NUL */
	ROUTE_HOSTS_MAX = 10,   /* MX hosts looked at, the best ones */
	ROUTE_TARGETS_MAX = 20, /* addresses of all of them together */
	ROUTE_RECORDS_MAX = 64, /* of one answer */
};

enum route_type { ROUTE_A = 1, ROUTE_MX = 15, ROUTE_TXT = 16, ROUTE_AAAA = 28, ROUTE_TLSA = 52 };

/* Where to connect to. */
struct route_target {
	char name[ROUTE_NAME_MAX]; /* of the host; of a literal: the literal */
	uint8_t address[16];       /* IPv6, or mapped IPv4 */
	/* The DNS said all of it securely, from the domain to this address (RFC 7672 section 2.2): DANE may hold. */
	bool secure;
	char canonical
	    [ROUTE_NAME_MAX]; /* the name behind its aliases, secure as the rest; "" where it is no alias */
};

struct route {
	bool secure; /* which hosts the domain names was said securely */
	size_t count;
	struct route_target targets[ROUTE_TARGETS_MAX]; /* in the order in which to try them */
};

/* One answer: rdata as in MSG_RESOLVE_REPLY, a list of bytes, lent until the next call. */
struct route_answer {
	bool no_name; /* NXDOMAIN */
	bool secure;  /* validated */
	char canonical[ROUTE_NAME_MAX];
	struct bytes rdata;
};

struct route_host {
	/*
	 * name: A-labels without the final dot. ERR_AUTH: the answer does not validate; any other
	 * error: no answer now.
	 */
	enum err (*resolve)(void *ctx, const char *name, enum route_type type, struct route_answer *ret);
	/* Uniform below bound, which is not 0. */
	uint32_t (*random)(void *ctx, uint32_t bound);
	void *ctx;
	const char *hostname; /* our own */
	bool allow_loopback;  /* trial runs; else nobody's MX is this machine */
};

/*
 * The targets for a domain (A-labels), or an address literal in brackets. ERR_NOT_FOUND: there are none, and
 * *ret_why says why, with 5xx; ERR_AGAIN: not known now, 4xx.
 */
COHUE_MUST_USE enum err route_find(const struct route_host *host, struct bytes domain, struct route *ret,
				   struct smtp_result *ret_why);
/* The same for a host that was named on purpose: no MX. `name` may be a numeric address without brackets. */
COHUE_MUST_USE enum err route_find_host(const struct route_host *host, const char *name, struct route *ret,
					struct smtp_result *ret_why);

#endif
