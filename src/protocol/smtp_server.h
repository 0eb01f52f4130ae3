/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_SERVER_H
#define COHUE_PROTOCOL_SMTP_SERVER_H

#include "base/bytes.h"
#include "base/clock.h"
#include "protocol/smtp_data.h"
#include "protocol/smtp_envelope.h"

/*
 * The receiving side of SMTP (RFC 5321), without I/O: octets in, callbacks and
 * replies out, the clock passed in. One engine, three modes:
 *
 *   SMTP_MODE_MX       port 25: strangers; never AUTH, no DSN.
 *   SMTP_MODE_GATE     587 and 465 before login: EHLO, STARTTLS, AUTH; mail
 *                      commands get 530. After a login it stops reading:
 *                      smtp_server_take_unread hands on what is left.
 *   SMTP_MODE_SESSION  after login, with the state that the gate had.
 *
 * The host
 *   1. calls smtp_server_init, then smtp_server_start (the greeting);
 *   2. whenever smtp_server_wants() > 0, may feed up to that many octets;
 *   3. after every call that takes `now`, sends smtp_server_output and reports
 *      what went out with smtp_server_sent;
 *   4. calls smtp_server_tick at smtp_server_deadline (a slow peer is bounded in each state);
 *   5. closes once smtp_server_closing and the output is sent; and calls smtp_server_clear.
 *
 * Callbacks marked (answer) ask a question: the engine reads nothing more until
 * the host answers, in the callback or later, with smtp_server_accept (the
 * standard good reply) or smtp_server_reply (any reply; 2xx accepts, 421 also ends
 * the connection). Callbacks must not call feed, tick, sent or clear. Views
 * given to a callback live until it returns.
 */

enum smtp_mode { SMTP_MODE_MX, SMTP_MODE_GATE, SMTP_MODE_SESSION };
enum smtp_hello { SMTP_HELLO_NONE = 0, SMTP_HELLO_HELO, SMTP_HELLO_EHLO };
enum smtp_mechanism { SMTP_AUTH_PLAIN, SMTP_AUTH_LOGIN };
struct sasl_scram;

/* Never: the deadline while the engine waits for its host. */
#define SMTP_NEVER INT64_MAX

enum {
	SMTP_COMMAND_MAX = 2048,    /* octets with CRLF: 512 and room for extensions (RFC 5321 4.5.3.1.4) */
	SMTP_AUTH_LINE_MAX = 12288, /* RFC 4954 section 4 */
	SMTP_UNREAD_MAX = 65536,    /* pipelined octets held while the host thinks */
	SMTP_REPLY_TEXT_MAX = 400,  /* octets of a reply's text; the rest is cut */
};

/* Shared by many connections; outlives them. */
struct smtp_server_config {
	struct bytes hostname;   /* in the greeting and the EHLO reply */
	uint64_t max_message;    /* octets, announced with SIZE */
	uint64_t max_header;     /* octets of a message header */
	uint32_t max_line;       /* octets of a line of data, see smtp_server_config_default */
	uint32_t max_recipients; /* of one message: more get 452 4.5.3 */
	uint32_t max_errors;     /* bad or refused commands of one connection: then 421 4.7.0 */
	uint32_t max_unknown;    /* unknown commands: then 421 4.7.0 */
	uint32_t max_junk;       /* NOOP, RSET, VRFY, EHLO between two messages: then they count as errors */
	uint32_t max_auth;       /* failed logins of one connection: then 421 4.7.0 */
	msec command_timeout;    /* for a whole command (RFC 5321 4.5.3.2.7: 5 minutes) */
	msec data_timeout;       /* between blocks of data (3 minutes or more) */
	msec message_timeout;    /* for the whole data of one message */
	/* Against trickling: data begins with rate_window of time, and each octet buys octet_time of it back. */
	msec rate_window;
	msec octet_time;
	msec
	    message_wait; /* from the start, or the last message accepted, to the next one's data, or to the login */
	/* After login: how long a letter may be held (RFC 4865), seconds, and the wall clock that says until when. NULL: not offered. */
	uint64_t hold_max;
	msec (*wall)(void);
	bool starttls;    /* offer STARTTLS while in clear */
	bool require_tls; /* MX only: 530 5.7.0 for mail in clear */
};

struct smtp_credentials {
	enum smtp_mechanism mechanism;
	struct bytes authzid; /* PLAIN only; usually empty */
	struct bytes user;
	struct bytes password; /* wiped after the callback */
};

struct smtp_server_host {
	/* EHLO or HELO with a name that is well-formed; a present transaction was reset. */
	void (*hello)(void *ctx, enum smtp_hello kind, struct bytes name);
	/* The 220 is in the output: send it, do the handshake, then smtp_server_tls_started. */
	void (*starttls)(void *ctx);
	/* (answer) 235 logs in; 535 5.7.8 refuses, 454 4.7.0 is temporary. */
	void (*auth)(void *ctx, const struct smtp_credentials *credentials);
	/*
	 * (answer) NULL: SCRAM is not offered. Her first message (final false): smtp_server_challenge goes on. The last: smtp_server_prove. Both:
	 * smtp_server_reply refuses as above.
	 */
	void (*scram)(void *ctx, const struct sasl_scram *scram, bool final);
	/* (answer) */
	void (*mail)(void *ctx, const struct smtp_mail *mail);
	/* (answer) */
	void (*rcpt)(void *ctx, const struct smtp_rcpt *rcpt);
	/*
	 * (answer) DATA, or the first BDAT, with at least one recipient accepted:
	 * reserve quota and room. `chunked` for BDAT: its refusal is sent after the chunk.
	 */
	void (*data_begin)(void *ctx, bool chunked);
	/* Content, in order. May call smtp_server_hold when it can take no more for now. */
	void (*data)(void *ctx, struct bytes chunk);
	/* (answer) The whole message came, `size` octets: 2xx is the promise to keep it. */
	void (*data_end)(void *ctx, uint64_t size);
	/*
	 * The transaction (from an accepted MAIL on) is over without data_end's good
	 * answer: RSET, EHLO, STARTTLS, QUIT, a fault in the data, a refusal,
	 * a timeout. Not called by smtp_server_clear.
	 */
	void (*reset)(void *ctx);
};

struct smtp_server {
	const struct smtp_server_config *config;
	const struct smtp_server_host *host;
	void *ctx;
	struct buf in;            /* unread; holds no memory when empty */
	struct buf out;           /* unsent; the same */
	struct buf user;          /* between the steps of AUTH LOGIN */
	struct sasl_scram *scram; /* during AUTH SCRAM-…, else NULL */
	struct buf refusal;       /* reply kept until the end of a refused chunk */
	struct smtp_data data;
	uint64_t chunk_left; /* octets of the present BDAT chunk */
	msec now;
	msec deadline;
	msec message_deadline;
	msec rate_deadline; /* moved on by each octet of data */
	msec wait_deadline; /* by when the next message must begin */
	uint32_t scanned;   /* octets of a partial line already looked at */
	uint32_t skipped;   /* octets of a refused line thrown away */
	uint32_t recipients;
	uint32_t errors;
	uint32_t unknown;
	uint32_t junk;
	uint32_t auth_failures;
	enum smtp_mode mode;
	enum smtp_hello hello;
	uint8_t input;    /* what the next octets are */
	uint8_t question; /* what the host was asked */
	uint8_t transaction;
	uint8_t auth_step;
	bool tls;
	bool utf8;
	bool logged_in;
	bool chunk_last;
	bool chunk_refused;
	bool skip_cr;
	bool discard;
	bool held;
	bool running;
	bool closing;
	bool stopping; /* shutdown asked while a message was in question */
};

/* Fills in the defaults (hostname stays empty and must be set). */
void smtp_server_config_default(struct smtp_server_config *ret_config);

/* config and host outlive the connection. tls: true where the octets already come through TLS. */
void smtp_server_init(struct smtp_server *s, enum smtp_mode mode, bool tls,
		      const struct smtp_server_config *config, const struct smtp_server_host *host,
		      void *ctx);
/* Wipes and frees the buffers; safe on a cleared one. */
void smtp_server_clear(struct smtp_server *s);
/* Writes the greeting (MX, GATE). In SESSION mode there is none; `hello` is what the gate had seen. */
void smtp_server_start(struct smtp_server *s, enum smtp_hello hello, msec now);
/* Refuses the connection instead of greeting: 4xx or 554 and close. */
void smtp_server_refuse(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text,
			msec now);

/* How many octets the engine takes now; 0: read nothing from the peer for the moment. */
size_t smtp_server_wants(const struct smtp_server *s);
/* Takes all of `in` (kept or used up). ERR_LIMIT when longer than smtp_server_wants, ERR_STATE when closing. */
COHUE_MUST_USE enum err smtp_server_feed(struct smtp_server *s, struct bytes in, msec now);

/* Answers with the standard good reply of the command in question. No effect when nothing was asked. */
void smtp_server_accept(struct smtp_server *s, msec now);
/* Goes on with SCRAM: as imap_gate_challenge and imap_gate_prove. No effect when that was not asked. */
void smtp_server_challenge(struct smtp_server *s, const uint8_t salt[16], uint32_t rounds,
			   const uint8_t server_nonce[48], struct bytes binding, msec now);
void smtp_server_prove(struct smtp_server *s, const uint8_t signature[32], msec now);
/*
 * Answers with this reply. enhanced: "5.1.1", its class that of the code. Text:
 * printable ASCII, other octets become '?'. No effect when nothing was asked.
 */
void smtp_server_reply(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text,
		       msec now);
/* True while a question waits for its answer. */
bool smtp_server_asked(const struct smtp_server *s);
/* Stops the flow of data() until smtp_server_release: back pressure without loss. */
void smtp_server_hold(struct smtp_server *s);
void smtp_server_release(struct smtp_server *s, msec now);
/* The handshake is done: the peer must say EHLO again. */
void smtp_server_tls_started(struct smtp_server *s, msec now);

/* What is to be sent, in order; then say how much of it went out (n <= its length). */
struct bytes smtp_server_output(const struct smtp_server *s);
void smtp_server_sent(struct smtp_server *s, size_t n, msec now);
bool smtp_server_closing(const struct smtp_server *s);

/* When smtp_server_tick has something to do; SMTP_NEVER while the host is asked. */
msec smtp_server_deadline(const struct smtp_server *s);
/* Past the deadline: 421 4.4.2 and close. */
void smtp_server_tick(struct smtp_server *s, msec now);
/* The service ends: 421 4.3.2 (RFC 5321 section 3.8) and close; a data_end in question is left to its answer first. */
void smtp_server_shutdown(struct smtp_server *s, msec now);

/* GATE: true after the 235; the engine reads nothing more. */
bool smtp_server_logged_in(const struct smtp_server *s);
/* GATE: what the session must be told of. */
enum smtp_hello smtp_server_hello(const struct smtp_server *s);
/* GATE, after login: appends the pipelined octets that were not read, and forgets them. */
COHUE_MUST_USE enum err smtp_server_take_unread(struct smtp_server *s, struct buf *ret_unread);
/* True between an accepted MAIL and the end of its transaction. */
bool smtp_server_in_transaction(const struct smtp_server *s);

#endif
