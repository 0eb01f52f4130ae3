/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_SMTP_CONNECTION_H
#define COHUE_GATE_SMTP_CONNECTION_H

#include "config/config.h"
#include "loop/stream.h"
#include "protocol/smtp_server.h"

/*
 * An SMTP engine over a socket: the host that both gates share. The owner embeds it, gives the
 * engine's callbacks, and after answering a question from outside of them calls smtp_connection_pump().
 */

struct smtp_connection;

struct smtp_connection_events {
	/* Once. The stream has gone; the engine is cleared by smtp_connection_clear. */
	void (*closed)(struct smtp_connection *c);
	/* GATE mode: the login succeeded and its 235 is on its way. The owner takes over. May be NULL. */
	void (*logged_in)(struct smtp_connection *c);
};

struct smtp_connection {
	struct stream *stream; /* NULL once closed or taken */
	struct smtp_server smtp;
	struct timer timer;
	struct loop *loop;
	struct tls_context *tls;
	const struct smtp_connection_events *events;
	bool wants_tls; /* a handshake is due once the reply is queued */
	bool pumping;
	bool taken;
};

/*
 * Takes the descriptor (closed on failure, too). implicit: TLS from the first byte on. The greeting leaves at once, or
 * after the handshake. pad: replies under TLS 1.3 are records of 512 bytes (loop/pad.h). `ctx` is what the engine's callbacks get. ERR_MEMORY, ERR_IO.
 */
COHUE_MUST_USE enum err smtp_connection_start(struct smtp_connection *c, struct loop *loop, int fd,
					      enum smtp_mode mode, bool implicit, struct tls_context *tls,
					      enum config_pad pad, const struct smtp_server_config *config,
					      const struct smtp_server_host *host, void *ctx,
					      const struct smtp_connection_events *events);
/* For the host's `starttls` callback. */
void smtp_connection_starttls(struct smtp_connection *c);
/* Sends what the engine wrote, reads on if it wants, sets its timer. After each answer given from outside. */
void smtp_connection_pump(struct smtp_connection *c);
/* Gives the stream away (after a login): no callback follows, the engine stays for what it knows. */
struct stream *smtp_connection_take(struct smtp_connection *c);
/* Ends all, at once. */
void smtp_connection_clear(struct smtp_connection *c);

#endif
