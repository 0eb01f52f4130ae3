/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_CLIENT_H
#define COHUE_PROTOCOL_SMTP_CLIENT_H

#include "base/bytes.h"
#include "base/clock.h"
#include "protocol/smtp_envelope.h"
#include "protocol/smtp_reply.h"

/*
 * The sending side of SMTP (RFC 5321), without I/O: octets in, commands and
 * callbacks out, the clock passed in. Several messages may go over one
 * connection. The host
 *   1. calls smtp_client_init and smtp_client_start once connected;
 *   2. feeds what comes, sends smtp_client_output, reports smtp_client_sent;
 *   3. on ready() calls smtp_client_send or smtp_client_quit, there or later;
 *   4. calls smtp_client_tick at smtp_client_deadline;
 *   5. on closed() sends what is left of the output (only QUIT can be), closes, and calls smtp_client_clear.
 * For each message: recipient() once for every recipient, then done(). When the
 * connection is lost meanwhile, the recipients not yet decided get a local
 * temporary result, then done(), then closed(). Callbacks may call send, quit
 * and wake, but not feed, sent, tick, lost or clear.
 */

enum smtp_tls_policy {
	SMTP_TLS_NONE,     /* never STARTTLS */
	SMTP_TLS_PREFER,   /* when offered */
	SMTP_TLS_REQUIRE,  /* or close */
	SMTP_TLS_IMPLICIT, /* the octets come through TLS from the start */
};

/* Extensions, as smtp_client_offers gives them. */
enum {
	SMTP_OFFER_PIPELINING = 1,
	SMTP_OFFER_SIZE = 2,
	SMTP_OFFER_8BITMIME = 4,
	SMTP_OFFER_SMTPUTF8 = 8,
	SMTP_OFFER_DSN = 16,
	SMTP_OFFER_STARTTLS = 32,
	SMTP_OFFER_AUTH_PLAIN = 64,
	SMTP_OFFER_AUTH_LOGIN = 128,
	SMTP_OFFER_ENHANCED = 256,
	SMTP_OFFER_CHUNKING = 512,
	SMTP_OFFER_REQUIRETLS = 1024,
};

/* RFC 5321 section 4.5.3.2. */
struct smtp_client_timeouts {
	msec greeting;  /* 5 min */
	msec command;   /* EHLO, MAIL, RCPT, AUTH, STARTTLS: 5 min */
	msec data;      /* DATA: 2 min */
	msec block;     /* nothing sent of a body: 3 min */
	msec final_dot; /* 10 min */
	msec quit;      /* QUIT and RSET: 30 s */
};

/* Shared by many connections; outlives them. */
struct smtp_client_config {
	struct bytes hello; /* our name, for EHLO */
	enum smtp_tls_policy tls;
	struct bytes user; /* AUTH before the first message when not empty; under TLS only */
	struct bytes password;
	struct smtp_client_timeouts timeouts;
};

enum smtp_closed {
	SMTP_CLOSED_QUIT,     /* as asked */
	SMTP_CLOSED_REFUSED,  /* greeting, EHLO or RSET refused, or 421 */
	SMTP_CLOSED_NO_TLS,   /* required, and not offered or refused */
	SMTP_CLOSED_AUTH,     /* login refused or not possible */
	SMTP_CLOSED_PROTOCOL, /* what came is not SMTP, or octets came in clear behind STARTTLS */
	SMTP_CLOSED_TIMEOUT,
	SMTP_CLOSED_LOST, /* the host said so */
	SMTP_CLOSED_BODY, /* the host's body failed or held a bare CR or LF, or a NUL */
	SMTP_CLOSED_MEMORY,
};

struct smtp_client_rcpt {
	struct bytes mailbox; /* local@domain */
	unsigned notify;      /* SMTP_NOTIFY_…, sent when the peer offers DSN */
	struct bytes orcpt_type;
	struct bytes orcpt; /* decoded; sent when not empty and the peer offers DSN */
};

/* Borrowed, with all it points to, until done(). */
struct smtp_client_mail {
	struct bytes sender; /* local@domain, or empty for <> */
	const struct smtp_client_rcpt *rcpts;
	size_t rcpt_count;
	uint64_t size;    /* octets of the body; 0 when not known */
	bool needs_8bit;  /* the body has octets above 127 */
	bool needs_utf8;  /* an address or a header field has */
	bool require_tls; /* REQUIRETLS (RFC 8689): only where it is offered */
	enum smtp_ret ret;
	struct bytes envid; /* decoded */
	/*
	 * NOOPs before DATA (RFC 5321 section 4.1.1.9), for peers without pipelining: who counts exchanges cannot tell how
	 * many of them were recipients.
	 */
	size_t fill;
};

struct smtp_client_host {
	/* Everything received in clear was used up: do the handshake, then smtp_client_tls_started. */
	void (*starttls)(void *ctx);
	/* The connection takes a message. */
	void (*ready)(void *ctx);
	/*
	 * The next part of the body, CRLF line ends, not dot-stuffed: ERR_OK with a
	 * chunk that lives until the next call or done(), an empty one at the end;
	 * ERR_AGAIN: smtp_client_wake comes later; any other ends the connection,
	 * since a message begun can't be taken back.
	 */
	enum err (*body)(void *ctx, struct bytes *ret_chunk);
	/* The verdict on one recipient; 2xx only after the peer took the message. */
	void (*recipient)(void *ctx, size_t index, const struct smtp_result *result);
	/* The message is over; all recipients were told of. */
	void (*done)(void *ctx);
	/* The connection is over; the last callback. */
	void (*closed)(void *ctx, enum smtp_closed why, const struct smtp_result *result);
};

struct smtp_client {
	const struct smtp_client_config *config;
	const struct smtp_client_host *host;
	void *ctx;
	struct buf out;
	struct buf verdicts; /* one octet per recipient during a transaction */
	struct smtp_reply_parser reply;
	const struct smtp_client_mail *mail;
	struct bytes chunk;               /* of the body, not yet sent */
	struct smtp_result *mail_failure; /* owned; why MAIL was refused */
	uint64_t peer_size;
	size_t asked;    /* commands of the transaction written */
	size_t answered; /* and answered */
	size_t accepted; /* recipients */
	msec now;
	msec deadline;
	unsigned offers;
	uint8_t state;
	uint8_t body_state;
	bool tls;
	bool tls_refused;
	bool extended;
	bool need_reset;
	bool body_waits;
};

void smtp_client_config_default(struct smtp_client_config *ret_config);
void smtp_client_init(struct smtp_client *c, const struct smtp_client_config *config,
		      const struct smtp_client_host *host, void *ctx);
/* Wipes and frees; calls nothing. */
void smtp_client_clear(struct smtp_client *c);
/* Connected: waits for the greeting. */
void smtp_client_start(struct smtp_client *c, msec now);
/* Takes all of `in`. Ignored once closed. */
void smtp_client_feed(struct smtp_client *c, struct bytes in, msec now);
void smtp_client_tls_started(struct smtp_client *c, msec now);
struct bytes smtp_client_output(const struct smtp_client *c);
void smtp_client_sent(struct smtp_client *c, size_t n, msec now);
/* The body has more now, after ERR_AGAIN. */
void smtp_client_wake(struct smtp_client *c, msec now);
/* The peer closed, or TLS failed: as temporary results say it. */
void smtp_client_lost(struct smtp_client *c, msec now);
msec smtp_client_deadline(const struct smtp_client *c);
void smtp_client_tick(struct smtp_client *c, msec now);

/* True between ready() and the next send or quit. */
bool smtp_client_is_ready(const struct smtp_client *c);
bool smtp_client_is_closed(const struct smtp_client *c);
bool smtp_client_is_tls(const struct smtp_client *c);
/* SMTP_OFFER_… of the last EHLO. */
unsigned smtp_client_offers(const struct smtp_client *c);
/* True while the output is RSET, MAIL, RCPT, NOOP or DATA of a message: all of them at once where the peer pipelines. */
bool smtp_client_is_in_envelope(const struct smtp_client *c);
/* True while the output is message, and no command. */
bool smtp_client_is_in_body(const struct smtp_client *c);
/* How many octets a body becomes on the way: dots doubled, and the end (RFC 5321 section 4.5.2). */
uint64_t smtp_client_body_size(struct bytes body);
/*
 * How many of mail's recipients, from the front, go into one flight of commands with RSET, MAIL and DATA that is no longer than
 * `octets`; for a peer with these offers. ERR_MEMORY.
 */
COHUE_MUST_USE enum err smtp_client_flight(unsigned offers, const struct smtp_client_mail *mail,
					   size_t octets, size_t *ret_count);
/* Octets of the peer's SIZE, 0 when it set none. */
uint64_t smtp_client_peer_size(const struct smtp_client *c);

/*
 * Begins a message. On failure nothing was sent and the connection stays ready:
 * ERR_STATE: not ready; ERR_FORMAT: an address, ENVID or ORCPT that can't be
 * sent, or no recipients; ERR_UNSUPPORTED: needs_8bit or needs_utf8 and the peer offers
 * no such thing (the host downgrades, or bounces 5.6.7); ERR_LIMIT: larger
 * than the peer's SIZE (bounce 5.3.4); ERR_MEMORY.
 */
COHUE_MUST_USE enum err smtp_client_send(struct smtp_client *c, const struct smtp_client_mail *mail,
					 msec now);
/* QUIT when ready; otherwise closes at once. closed() follows. */
void smtp_client_quit(struct smtp_client *c, msec now);

#endif
