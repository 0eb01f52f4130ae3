/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_CONNECTION_H
#define COHUE_COURIER_CONNECTION_H

#include "courier/report.h"
#include "courier/route.h"
#include "crypto/crypto.h"
#include "loop/listen.h"
#include "loop/stream.h"
#include "loop/task.h"
#include "loop/tls_proof.h"
#include "protocol/smtp_client.h"

/*
 * One connection to another provider's server: the SMTP client engine over a stream. Tasks call it and
 * suspend until it has got somewhere; at most one task at a time.
 */

/* Recipients of a delivery to a peer that does not pipeline, or NOOPs in their place. */
enum { CONNECTION_STEPS = 4 };

/* How a connection has to be protected. */
struct connection_wish {
	enum smtp_tls_policy tls;
	enum tls_proof proof;
	char host[ROUTE_NAME_MAX]; /* whose proof; "": the target's name */
	char also[ROUTE_NAME_MAX]; /* for DANE: the domain that the mail is for */
	/* Borrowed until connection_open, or pool_get, returns. */
	const struct tls_association *associations;
	size_t association_count;
	/* The same for wishes that one connection fulfils; all zero where nothing is to be proved. */
	uint8_t mark[CRYPTO_HASH_LEN];
};

void connection_wish_init(struct connection_wish *w, enum smtp_tls_policy tls);
/* Fills in the mark. */
void connection_wish_mark(struct connection_wish *w);

/* What all connections share; outlives them. */
struct connection_settings {
	struct loop *loop;
	struct tls_context *tls;
	struct smtp_client_config smtp[4]; /* by enum smtp_tls_policy */
	uint16_t port;
	msec connect_ms;
	bool pad; /* where TLS 1.3 is spoken */
};

struct connection {
	const struct connection_settings *settings;
	struct route_target target;
	struct connection_wish wish;
	struct smtp_client client;
	struct connector connector;
	struct stream *stream;
	struct timer timer;
	struct task *waiter; /* the task that has suspended in here; else NULL */
	bool ready;
	bool over; /* nothing more comes of it */
	bool wants_tls;
	bool handshake_failed;
	bool unproved; /* since the server did not prove what it should */
	bool pumping;
	bool padded;          /* all that is sent under TLS has sizes that say nothing */
	uint64_t batch;       /* for whose works it lives */
	enum smtp_closed why; /* once over */
	struct smtp_result result;
	unsigned messages;
	/* The message at hand. */
	struct bytes body;
	size_t body_at;
	unsigned asked_class; /* that it waited in */
	unsigned size_class;  /* that it is padded to */
	uint64_t body_size;   /* octets on the wire */
	uint64_t body_left;   /* of them, not yet written */
	uint64_t payload_before, padding_before;
	bool body_ended; /* the peer may have taken the message from here on */
	bool done;
	struct protection how;
	void (*on_recipient)(void *arg, size_t index, const struct smtp_result *result);
	void *recipient_arg;
	/* For whoever keeps it while idle: it has ended by itself. */
	void (*on_end)(struct connection *c);
	void *end_arg;
	msec idle_since;
	struct connection *next;
};

/*
 * Connects, greets, does STARTTLS and AUTH as the policy says. ERR_OK: it takes a message. Otherwise ret_why says what
 * happened, as a result for recipients, and *ret_closed where the engine got that far (SMTP_CLOSED_LOST else).
 * ERR_AUTH: the handshake failed; ERR_CLOSED: all else; ERR_MEMORY. In a task.
 */
COHUE_MUST_USE enum err connection_open(const struct connection_settings *settings,
					const struct route_target *target, const struct connection_wish *wish,
					struct connection **ret, struct smtp_result *ret_why,
					enum smtp_closed *ret_closed);
/*
 * What an observer sees of it, under TLS 1.3: EHLO, the message and QUIT around one record of 4096 bytes with MAIL, all RCPT and DATA;
 * where the peer does not pipeline, around as many of 1024 as there are commands, of which CONNECTION_STEPS are RCPT
 * or NOOP. All other commands are a record of 1024, too; the message is as many full records as its size class has. Who sends has
 * seen to it that the envelope goes in (mail.fill, smtp_client_flight).
 * The class is size_class at least, and the next one that it goes into where it does not; `how` tells. Where the
 * promised records cannot be made the connection ends.
 *
 * Sends one message; recipient() is called for each of mail's recipients before it returns. As smtp_client_send; ERR_OK
 * says that all were told, not that all went well. `body` is lent until it returns. In a task.
 */
COHUE_MUST_USE enum err
connection_send(struct connection *c, const struct smtp_client_mail *mail, struct bytes body,
		unsigned size_class,
		void (*recipient)(void *arg, size_t index, const struct smtp_result *result), void *arg);
/* Of the message that was sent last, so far. */
void connection_protection(const struct connection *c, struct protection *ret);
/* True while it takes a message. */
bool connection_is_ready(const struct connection *c);
/* Says QUIT where it can, and lets the loop close it. Accepts NULL. */
void connection_finish(struct connection **c);

#endif
