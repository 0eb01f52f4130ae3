/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MEMBER_IMAP_CONNECTION_H
#define COHUE_GATE_MEMBER_IMAP_CONNECTION_H

#include "config/config.h"
#include "loop/stream.h"
#include "protocol/imap_gate.h"

/* The IMAP engine before login, over a socket with implicit TLS. The owner embeds it. */

struct imap_connection;

struct imap_connection_events {
	/* Once. The stream has gone; the engine is cleared by imap_connection_clear. */
	void (*closed)(struct imap_connection *c);
	/* Answer with imap_connection_answer, from within or later. The views live until then. */
	void (*login)(struct imap_connection *c, const struct imap_credentials *credentials);
	/* One of her two messages of SCRAM: answer with imap_connection_challenge, then imap_connection_prove; or as above to refuse. */
	void (*scram)(struct imap_connection *c, const struct sasl_scram *scram, bool final);
	/* The OK is on its way: the owner takes over, and may free this. */
	void (*logged_in)(struct imap_connection *c);
};

struct imap_connection {
	struct stream *stream; /* NULL once closed or taken */
	struct imap_gate imap;
	struct timer timer;
	struct loop *loop;
	const struct imap_connection_events *events;
	void *arg; /* the owner's own */
	bool asked;
	bool pumping;
};

/* Takes the descriptor (closed on failure, too). `events` and `config` outlive it. ERR_MEMORY, ERR_IO. */
COHUE_MUST_USE enum err imap_connection_start(struct imap_connection *c, struct loop *loop, int fd,
					      struct tls_context *tls, enum config_pad pad,
					      const struct imap_gate_config *config,
					      const struct imap_connection_events *events, void *arg);
void imap_connection_answer(struct imap_connection *c, enum imap_gate_verdict verdict);
void imap_connection_damaged(struct imap_connection *c, const char *reference);
void imap_connection_challenge(struct imap_connection *c, const uint8_t salt[SASL_SCRAM_SALT_LEN],
			       uint32_t rounds, const uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN],
			       struct bytes binding);
void imap_connection_prove(struct imap_connection *c, const uint8_t signature[SASL_SCRAM_KEY_LEN]);
/* The service ends: BYE and close, unless the login has succeeded. */
void imap_connection_shutdown(struct imap_connection *c);
/* Gives the stream away (after a login): no callback follows. */
struct stream *imap_connection_take(struct imap_connection *c);
/* Ends all, at once. */
void imap_connection_clear(struct imap_connection *c);

#endif
