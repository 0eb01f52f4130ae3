/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MEMBER_HTTP_CONNECTION_H
#define COHUE_GATE_MEMBER_HTTP_CONNECTION_H

#include "config/config.h"
#include "loop/stream.h"
#include "protocol/http_server.h"
#include "web/web.h"

/* The HTTP engine over a socket, in clear (port 80) or under TLS, and what src/web answers. The owner embeds it. */

struct http_connection;

struct http_connection_events {
	/* Once. The stream has gone; the rest by http_connection_clear. */
	void (*closed)(struct http_connection *c);
};

struct http_connection {
	struct stream *stream; /* NULL once closed */
	struct http_server http;
	struct timer timer;
	struct loop *loop;
	const struct web *web;
	const struct http_connection_events *events;
	void *arg; /* the owner's own */
	uint64_t answered;
	bool secure;
	bool pumping;
};

/* Takes the descriptor (closed on failure, too). tls: NULL for port 80. `web` and `events` outlive it. ERR_MEMORY, ERR_IO. */
COHUE_MUST_USE enum err http_connection_start(struct http_connection *c, struct loop *loop, int fd,
					      struct tls_context *tls, enum config_pad pad,
					      const struct web *web,
					      const struct http_connection_events *events, void *arg);
/* The service ends: sends what is written and closes. */
void http_connection_shutdown(struct http_connection *c);
/* Ends all, at once. */
void http_connection_clear(struct http_connection *c);

#endif
