/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_REPLY_H
#define COHUE_PROTOCOL_SMTP_REPLY_H

#include "base/bytes.h"

/* Replies of an SMTP server (RFC 5321 section 4.2), read strictly and with limits. */

enum {
	SMTP_REPLY_LINES_MAX = 100,
	SMTP_REPLY_LINE_MAX = 4096, /* octets with CRLF; RFC 5321 says 512 */
	SMTP_REPLY_KEPT_MAX = 8192, /* octets of text kept of one reply; what is longer is cut */
};

struct smtp_reply_parser {
	struct buf text; /* the lines without their codes, each ended by LF; no memory between replies */
	uint32_t lines;
	uint32_t column; /* octets of the present line */
	unsigned code;
	unsigned line_code;
	bool last; /* the present line is the last */
	bool saw_cr;
	bool complete;
};

void smtp_reply_init(struct smtp_reply_parser *p);
void smtp_reply_clear(struct smtp_reply_parser *p);
/*
 * Reads up to the end of one reply: then p->complete, p->code and p->text are
 * valid until smtp_reply_next. ERR_FORMAT: no SMTP reply (bare CR or LF, NUL,
 * codes that differ, no code); ERR_LIMIT: too long; ERR_MEMORY.
 */
COHUE_MUST_USE enum err smtp_reply_feed(struct smtp_reply_parser *p, struct bytes in, size_t *ret_used);
/* Forgets the reply and frees its memory. */
void smtp_reply_next(struct smtp_reply_parser *p);
/* True when part of a reply was read. */
bool smtp_reply_begun(const struct smtp_reply_parser *p);

enum { SMTP_RESULT_TEXT_MAX = 512 };

/* What a reply meant, fit for a DSN: bounded, printable ASCII only. */
struct smtp_result {
	unsigned code;   /* 200 to 599 */
	bool local;      /* made here (connection lost, timeout, policy), not said by the peer */
	char status[12]; /* "5.1.1"; made from the code where the peer gave none */
	char text[SMTP_RESULT_TEXT_MAX + 1];
};

/* From a complete reply: takes the enhanced status (RFC 2034) off its text where its class fits the code. */
void smtp_result_of(const struct smtp_reply_parser *p, struct smtp_result *ret_result);
/* A local result. */
void smtp_result_local(unsigned code, const char *status, const char *text, struct smtp_result *ret_result);

#endif
