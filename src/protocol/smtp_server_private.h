/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_SERVER_PRIVATE_H
#define COHUE_PROTOCOL_SMTP_SERVER_PRIVATE_H

#include "protocol/smtp_server.h"

/*
 * Between the files of the SMTP server engine: smtp_server.c (octets, lines,
 * time, answers), smtp_server_command.c (what the commands mean),
 * smtp_server_message.c (DATA and BDAT), smtp_server_auth.c.
 */

/* What the next octets are. */
enum smtp_input {
	SMTP_INPUT_COMMAND,
	SMTP_INPUT_SKIP, /* the rest of a refused line, up to its CRLF */
	SMTP_INPUT_AUTH, /* an answer to a 334 */
	SMTP_INPUT_DATA,
	SMTP_INPUT_CHUNK,
};

enum smtp_question {
	SMTP_ASKED_NOTHING,
	SMTP_ASKED_TLS,
	SMTP_ASKED_AUTH,
	SMTP_ASKED_MAIL,
	SMTP_ASKED_RCPT,
	SMTP_ASKED_DATA,
	SMTP_ASKED_CHUNK, /* may the first BDAT chunk come? */
	SMTP_ASKED_END,
};

enum smtp_transaction {
	SMTP_TRANSACTION_NONE,
	SMTP_TRANSACTION_MAIL, /* MAIL accepted */
	SMTP_TRANSACTION_RCPT, /* and at least one RCPT */
	SMTP_TRANSACTION_DATA, /* within DATA */
	SMTP_TRANSACTION_BDAT, /* between the first BDAT and the last */
};

/* A reply; text is static or lives through the call. */
void smtp_put(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text);
void smtp_put_str(struct smtp_server *s, unsigned code, const char *enhanced, const char *text);
/* Formats a reply into any buffer. */
COHUE_MUST_USE enum err smtp_format_reply(struct buf *out, unsigned code, const char *enhanced,
					  struct bytes text);
/* Raw text of the engine itself: 334, 354, EHLO lines. */
void smtp_put_raw(struct smtp_server *s, const char *text);
/* A reply to a mistake of the peer: counted, and a 421 in its place when there were too many. */
void smtp_mistake(struct smtp_server *s, unsigned code, const char *enhanced, const char *text);
/* True when the peer has used up its mistakes: then the 421 was written. */
bool smtp_count_mistake(struct smtp_server *s);
/* NOOP and the like: true when the connection was ended for it. */
bool smtp_count_junk(struct smtp_server *s);
/* Data begins, or went no further because of the host: the peer has its whole rate_window again. */
void smtp_restart_rate(struct smtp_server *s);
/* Octets of data came (at most SMTP_UNREAD_MAX): each moves the end of the window. */
void smtp_earn_time(struct smtp_server *s, size_t octets);
/* Ends the connection with this reply. */
void smtp_end(struct smtp_server *s, unsigned code, const char *enhanced, const char *text);
/* Ends a transaction that has not been answered well, and tells the host. */
void smtp_reset_transaction(struct smtp_server *s);

/* One command line, without its CRLF. */
void smtp_command(struct smtp_server *s, struct bytes line);

void smtp_command_auth(struct smtp_server *s, struct bytes args);
void smtp_auth_line(struct smtp_server *s, struct bytes line);

enum smtp_auth_step {
	SMTP_STEP_PLAIN,
	SMTP_STEP_USER,
	SMTP_STEP_PASSWORD,
	SMTP_STEP_SCRAM_FIRST,
	SMTP_STEP_SCRAM_FINAL,
	SMTP_STEP_SCRAM_THANKS, /* the empty line behind our signature */
};
/* Ends AUTH with a mistake of the peer. */
void smtp_fail_auth(struct smtp_server *s, unsigned code, const char *enhanced, const char *text);
/* AUTH SCRAM-SHA-256 begins; a message follows. False: it was answered. */
bool smtp_scram_begin(struct smtp_server *s, bool plus);
/* One message of hers, without its base64. */
void smtp_scram_take(struct smtp_server *s, struct bytes message);
/* The host's answer is written: reads on. */
void smtp_go_on(struct smtp_server *s, msec now);

void smtp_command_data(struct smtp_server *s, struct bytes args);
void smtp_command_bdat(struct smtp_server *s, struct bytes args);
/* A BDAT in a mode that takes none: its chunk is thrown away, then this is said. */
void smtp_refuse_chunk(struct smtp_server *s, struct bytes args, unsigned code, const char *enhanced,
		       const char *text);
/* Content of DATA or of a chunk; returns the octets used (> 0). */
size_t smtp_read_data(struct smtp_server *s, struct bytes in);
size_t smtp_read_chunk(struct smtp_server *s, struct bytes in);
/* The host answered data_begin. */
void smtp_data_accepted(struct smtp_server *s);
void smtp_chunk_accepted(struct smtp_server *s);
void smtp_chunk_declined(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text);

#endif
