/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_CLIENT_PRIVATE_H
#define COHUE_PROTOCOL_SMTP_CLIENT_PRIVATE_H

#include "protocol/smtp_client.h"

/*
 * Between the files of the SMTP client engine: smtp_client.c (the connection:
 * greeting, EHLO, STARTTLS, AUTH, time) and smtp_client_mail.c (a transaction).
 */

enum smtp_client_state {
	SMTP_CLIENT_NEW,
	SMTP_CLIENT_GREETING,
	SMTP_CLIENT_EHLO,
	SMTP_CLIENT_HELO,
	SMTP_CLIENT_STARTTLS,
	SMTP_CLIENT_HANDSHAKE,
	SMTP_CLIENT_AUTH_PLAIN,
	SMTP_CLIENT_AUTH_LOGIN,
	SMTP_CLIENT_AUTH_USER,
	SMTP_CLIENT_AUTH_PASSWORD,
	SMTP_CLIENT_READY,
	SMTP_CLIENT_ENVELOPE,
	SMTP_CLIENT_BODY,
	SMTP_CLIENT_FINAL, /* the dot is written */
	SMTP_CLIENT_EMPTY, /* a dot without a body: the peer took DATA, but no recipient */
	SMTP_CLIENT_QUIT,
	SMTP_CLIENT_CLOSED,
};

enum {
	SMTP_CLIENT_OUT_HIGH = 32768, /* no more is written past this until some is sent */
};

/* Appends to the output; closes on failure. */
void smtp_client_put(struct smtp_client *c, struct bytes text);
void smtp_client_put_str(struct smtp_client *c, const char *text);
void smtp_client_wait(struct smtp_client *c, msec timeout);
/* The connection is over: tells the undecided recipients, done() and closed(). */
void smtp_client_end(struct smtp_client *c, enum smtp_closed why, const struct smtp_result *result);
void smtp_client_end_local(struct smtp_client *c, enum smtp_closed why, unsigned code, const char *status,
			   const char *text);

/* A reply within a transaction. */
void smtp_client_mail_reply(struct smtp_client *c, const struct smtp_result *result);
/* Writes what may be written now of a transaction. */
void smtp_client_mail_write(struct smtp_client *c);
/* Gives the result to all recipients not yet decided, and ends the transaction. */
void smtp_client_mail_end(struct smtp_client *c, const struct smtp_result *result);

#endif
