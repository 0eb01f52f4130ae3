/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_HTTP_SERVER_PRIVATE_H
#define COHUE_PROTOCOL_HTTP_SERVER_PRIVATE_H

#include "protocol/http_server.h"

/* What a head says, for the engine alone. */
struct http_head {
	struct http_request request; /* host: not yet lower case */
	uint64_t length;
	bool chunked;
	bool keep;
	bool expects; /* 100-continue */
};

/*
 * Reads a whole head: request line and field lines, each with its CRLF (which are the only CR and LF in it), without the empty
 * line at its end. Returns 0, or the status of the refusal. The views point into it.
 */
unsigned http_head_read(struct bytes head, struct http_head *ret);

#endif
