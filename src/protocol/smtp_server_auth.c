/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* AUTH (RFC 4954) of the SMTP server engine: PLAIN (RFC 4616), LOGIN; SCRAM is in smtp_server_scram.c. */
#include "protocol/sasl_scram.h"
#include "protocol/smtp_server_private.h"

static void
leave_auth(struct smtp_server *s)
{
	s->input = SMTP_INPUT_COMMAND;
	buf_wipe(&s->user);
	sasl_scram_destroy(&s->scram);
}

void
smtp_fail_auth(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	leave_auth(s);
	smtp_mistake(s, code, enhanced, text);
}

static void
ask(struct smtp_server *s, const struct smtp_credentials *credentials)
{
	s->input = SMTP_INPUT_COMMAND;
	s->question = SMTP_ASKED_AUTH;
	s->host->auth(s->ctx, credentials);
	buf_wipe(&s->user);
}

/* authzid NUL authcid NUL password (RFC 4616). */
static enum err
split_plain(struct bytes message, struct smtp_credentials *ret_credentials)
{
	ptrdiff_t first = bytes_find(message, 0);
	if (first < 0) {
		return ERR_FORMAT;
	}
	struct bytes rest = bytes_from(message, (size_t)first + 1);
	ptrdiff_t second = bytes_find(rest, 0);
	if (second <= 0) {
		return ERR_FORMAT;
	}
	struct smtp_credentials credentials = {
	    .mechanism = SMTP_AUTH_PLAIN,
	    .authzid = bytes_slice(message, 0, (size_t)first),
	    .user = bytes_slice(rest, 0, (size_t)second),
	    .password = bytes_from(rest, (size_t)second + 1),
	};
	if (credentials.password.len == 0 || bytes_find(credentials.password, 0) >= 0) {
		return ERR_FORMAT;
	}
	*ret_credentials = credentials;
	return ERR_OK;
}

static void
take_plain(struct smtp_server *s, struct bytes message)
{
	struct smtp_credentials credentials;
	if (split_plain(message, &credentials) != ERR_OK) {
		smtp_fail_auth(s, 501, "5.5.2", "Bad PLAIN message");
		return;
	}
	ask(s, &credentials);
}

static void
take_user(struct smtp_server *s, struct bytes user)
{
	if (user.len == 0) {
		smtp_fail_auth(s, 501, "5.5.2", "Empty user name");
	} else if (buf_append(&s->user, user) != ERR_OK) {
		smtp_fail_auth(s, 454, "4.3.0", "Out of memory");
	} else {
		s->auth_step = SMTP_STEP_PASSWORD;
		s->input = SMTP_INPUT_AUTH;
		smtp_put_raw(s, "334 UGFzc3dvcmQ6\r\n");
	}
}

/* An answer of the client in base64, whether with AUTH itself or after a 334. */
static void
take_response(struct smtp_server *s, struct bytes text)
{
	struct buf plain = BUF_INIT(SMTP_AUTH_LINE_MAX);
	enum err e = buf_append_unbase64(&plain, text);
	if (e != ERR_OK) {
		smtp_fail_auth(s, e == ERR_MEMORY ? 454 : 501, e == ERR_MEMORY ? "4.3.0" : "5.5.2",
			       e == ERR_MEMORY ? "Out of memory" : "Not base64");
		buf_wipe(&plain);
		return;
	}
	switch ((enum smtp_auth_step)s->auth_step) {
	case SMTP_STEP_PLAIN:
		take_plain(s, buf_bytes(&plain));
		break;
	case SMTP_STEP_USER:
		take_user(s, buf_bytes(&plain));
		break;
	case SMTP_STEP_PASSWORD: {
		struct smtp_credentials credentials = {
		    .mechanism = SMTP_AUTH_LOGIN, .user = buf_bytes(&s->user), .password = buf_bytes(&plain)};
		ask(s, &credentials);
		break;
	}
	case SMTP_STEP_SCRAM_FIRST:
	case SMTP_STEP_SCRAM_FINAL:
	case SMTP_STEP_SCRAM_THANKS:
		smtp_scram_take(s, buf_bytes(&plain));
		break;
	}
	buf_wipe(&plain);
}

void
smtp_auth_line(struct smtp_server *s, struct bytes line)
{
	if (bytes_is(line, "*")) {
		smtp_fail_auth(s, 501, "5.7.0", "Authentication cancelled");
	} else {
		take_response(s, line);
	}
}

void
smtp_command_auth(struct smtp_server *s, struct bytes args)
{
	if (s->mode == SMTP_MODE_SESSION) {
		smtp_mistake(s, 503, "5.5.1", "Already authenticated");
		return;
	}
	if (!s->tls) {
		smtp_mistake(s, 538, "5.7.11", "Encryption required: STARTTLS first");
		return;
	}
	if (s->hello != SMTP_HELLO_EHLO) {
		smtp_mistake(s, 503, "5.5.1", "EHLO first");
		return;
	}
	if (s->auth_failures >= s->config->max_auth) {
		smtp_end(s, 421, "4.7.0", "Too many failed logins, closing");
		return;
	}
	ptrdiff_t space = bytes_find(args, ' ');
	struct bytes mechanism = space >= 0 ? bytes_slice(args, 0, (size_t)space) : args;
	struct bytes initial = space >= 0 ? bytes_trim(bytes_from(args, (size_t)space)) : BYTES_EMPTY;
	if (bytes_is_nocase(mechanism, "PLAIN")) {
		s->auth_step = SMTP_STEP_PLAIN;
	} else if (bytes_is_nocase(mechanism, "LOGIN")) {
		s->auth_step = SMTP_STEP_USER;
	} else if (s->host->scram != NULL && (bytes_is_nocase(mechanism, "SCRAM-SHA-256") ||
					      bytes_is_nocase(mechanism, "SCRAM-SHA-256-PLUS"))) {
		if (!smtp_scram_begin(s, bytes_is_nocase(mechanism, "SCRAM-SHA-256-PLUS"))) {
			return;
		}
	} else {
		smtp_mistake(s, 504, "5.5.4", "Mechanism not offered");
		return;
	}
	if (initial.len > 0) {
		/* A lone "=" stands for an empty response (RFC 4954 section 4). */
		take_response(s, bytes_is(initial, "=") ? BYTES_EMPTY : initial);
		return;
	}
	s->input = SMTP_INPUT_AUTH;
	smtp_put_raw(s, s->auth_step == SMTP_STEP_USER ? "334 VXNlcm5hbWU6\r\n" : "334 \r\n");
}
