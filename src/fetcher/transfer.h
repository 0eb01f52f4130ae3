/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FETCHER_TRANSFER_H
#define COHUE_FETCHER_TRANSFER_H

#include "base/bytes.h"
#include "loop/loop.h"

/*
 * HTTP requests by libcurl within a role's loop: no threads, no files, no DNS of its own, no redirects, no cookies, no proxy, nothing
 * compressed, each over a connection of its own. HTTPS is verified, against the authorities given.
 */

enum { TRANSFER_ADDRESSES_MAX = 8, TRANSFER_HOST_MAX = 256 };

struct transfer_engine;

/* What an URL names. */
struct transfer_url {
	char host[TRANSFER_HOST_MAX]; /* A-labels, or a numeric address without brackets */
	uint16_t port;
	bool https;
	bool numeric;
};

struct transfer_address {
	uint8_t address[16]; /* IPv6, or mapped IPv4 */
};

struct transfer_request {
	struct bytes method;
	struct bytes url;
	struct bytes headers; /* list of {bytes name, bytes value} (base/wire.h) */
	struct bytes body;
	size_t body_max;    /* of the answer */
	size_t headers_max; /* of the answer */
	msec timeout;
	const struct transfer_address *addresses; /* none where the host is numeric */
	size_t address_count;
	bool loopback; /* this machine may be reached */
};

struct transfer_result {
	enum err error; /* as of MSG_FETCH */
	uint16_t status;
	struct buf headers;
	struct buf body;
};

/* Before the sandbox. authorities: PEM; empty: no HTTPS can succeed. ERR_FORMAT: no certificate in it; ERR_MEMORY. */
COHUE_MUST_USE enum err transfer_create(struct loop *loop, struct bytes authorities,
					struct transfer_engine **ret);
/* ERR_FORMAT: none that can be fetched: no http or https, a user or a fragment in it, odd octets. */
COHUE_MUST_USE enum err transfer_url_read(struct bytes url, struct transfer_url *ret);
/* In a task: until it is over. *ret holds buffers that the caller clears, whatever came of it. */
void transfer_run(struct transfer_engine *engine, const struct transfer_request *request,
		  struct transfer_result *ret);
/* True for addresses that are no server's: this machine (unless allowed), multicast, link-local and the like. */
bool transfer_is_refused(const uint8_t address[16], bool loopback);

#endif
