/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_INTERNAL_H
#define COHUE_SESSION_SUBMISSION_INTERNAL_H

#include "lookup/lookup.h"
#include "protocol/smtp_server.h"
#include "session/conn.h"

/* Shared by the files submission*.c: one transaction, from MAIL to its end. */

enum {
	SUBMISSION_PARTS_MAX = 400, /* accounts and domains of one message (a unit has room for 512) */
	SUBMISSION_TEXT_MAX = 1 << 20,
	SUBMISSION_RECEIVED_MAX = 50, /* hops: more is a loop (RFC 5321 section 6.3) */
};

/* A place in envelope.text, which moves as it grows. */
struct span {
	uint32_t at;
	uint32_t len;
};

struct recipient {
	struct span address; /* local part as given, domain as A-labels */
	struct span normal;
	struct span domain; /* of others; empty: ours */
	struct span orcpt;
	uint8_t notify;
	bool utf8;
};

/* An account here that gets a copy, once, by whichever recipient came first. */
struct target {
	struct lookup_account account;
	struct span address;
};

struct envelope {
	struct worker *worker;
	struct member *member;
	struct buf text;
	struct span sender;
	struct span envid;
	struct smtp_mail wish; /* how it wants to wait; its views are dead */
	uint64_t declared;     /* its size by MAIL's SIZE=; 0: unsaid */
	uint8_t ret;
	bool utf8;        /* SMTPUTF8 was said */
	bool require_tls; /* REQUIRETLS was */
	bool sender_utf8;
	struct recipient *recipients;
	size_t recipient_count;
	struct target *targets;
	size_t target_count;
	struct span *domains; /* each once */
	size_t domain_count;
	struct buf message;
	size_t charged; /* bytes taken from the worker's room for messages */
	bool too_much;
	bool put_off; /* a recipient was refused for the member's limits */
};

/* The answer to a question of the engine. code 0: its standard good one. Texts live as long as the envelope. */
struct submission_reply {
	unsigned code;
	const char *enhanced;
	const char *text;
	char ref[64]; /* if text is NULL */
};

struct bytes envelope_view(const struct envelope *v, struct span s);
/* NULL without memory. */
struct envelope *envelope_create(struct worker *w, struct member *m);
/* Wipes. Accepts NULL. */
void envelope_destroy(struct envelope **v);

/* MAIL and RCPT (submission_envelope.c), from a task. */
struct submission_reply envelope_mail(struct envelope *v, const struct member *m,
				      const struct smtp_mail *mail);
struct submission_reply envelope_rcpt(struct envelope *v, struct member *m, const struct smtp_rcpt *rcpt);
/* More of the message; what there is no room for sets too_much. */
void envelope_data(struct envelope *v, struct bytes chunk);

/* From the end of data to 250 (submission_send.c), from a task. */
struct submission_reply submission_send(struct envelope *v, struct member *m);

#endif
