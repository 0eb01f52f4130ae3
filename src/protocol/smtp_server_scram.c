/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* AUTH SCRAM-SHA-256 and -PLUS of the SMTP server engine. */
#include "protocol/sasl_scram.h"
#include "protocol/smtp_server_private.h"

bool
smtp_scram_begin(struct smtp_server *s, bool plus)
{
	sasl_scram_destroy(&s->scram);
	if (sasl_scram_create(plus, &s->scram) != ERR_OK) {
		smtp_put_str(s, 454, "4.3.0", "Out of memory");
		return false;
	}
	s->auth_step = SMTP_STEP_SCRAM_FIRST;
	return true;
}

static void
fail(struct smtp_server *s, enum err e)
{
	if (e == ERR_FORMAT) {
		smtp_fail_auth(s, 501, "5.5.2", "Not a SCRAM message");
	} else if (e == ERR_AUTH || e == ERR_DENIED || e == ERR_UNSUPPORTED) {
		s->auth_failures++;
		smtp_fail_auth(s, 535, "5.7.8", s->scram->problem); /* static */
	} else {
		smtp_fail_auth(s, 454, "4.3.0", "Out of memory");
	}
}

void
smtp_scram_take(struct smtp_server *s, struct bytes message)
{
	bool final = s->auth_step == SMTP_STEP_SCRAM_FINAL;
	if (s->auth_step == SMTP_STEP_SCRAM_THANKS) {
		if (message.len > 0) {
			fail(s, ERR_FORMAT);
			return;
		}
		/* The host has said yes already. */
		sasl_scram_destroy(&s->scram);
		s->input = SMTP_INPUT_COMMAND;
		s->logged_in = true;
		smtp_put_str(s, 235, "2.7.0", "Authentication successful");
		return;
	}
	enum err e = final ? sasl_scram_final(s->scram, message) : sasl_scram_first(s->scram, message);
	if (e != ERR_OK) {
		fail(s, e);
		return;
	}
	s->input = SMTP_INPUT_COMMAND;
	s->question = SMTP_ASKED_AUTH;
	s->host->scram(s->ctx, s->scram, final);
}

/* A message of ours, and then hers. */
static void
put_challenge(struct smtp_server *s, struct bytes message, enum smtp_auth_step step)
{
	smtp_put_raw(s, "334 ");
	if (buf_append_base64(&s->out, message) != ERR_OK) {
		s->closing = true;
	}
	smtp_put_raw(s, "\r\n");
	s->auth_step = (uint8_t)step;
	s->input = SMTP_INPUT_AUTH;
}

static bool
is_asked(const struct smtp_server *s, enum smtp_auth_step step)
{
	return !s->closing && s->question == SMTP_ASKED_AUTH && s->scram != NULL &&
	       s->auth_step == (uint8_t)step;
}

void
smtp_server_challenge(struct smtp_server *s, const uint8_t salt[SASL_SCRAM_SALT_LEN], uint32_t rounds,
		      const uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN], struct bytes binding, msec now)
{
	struct buf message = BUF_INIT(SASL_SCRAM_MESSAGE_MAX);
	if (!is_asked(s, SMTP_STEP_SCRAM_FIRST)) {
		return;
	}
	enum err e = sasl_scram_challenge(s->scram, salt, rounds, server_nonce, binding, &message);
	if (e == ERR_OK) {
		put_challenge(s, buf_bytes(&message), SMTP_STEP_SCRAM_FINAL);
	} else {
		fail(s, e);
	}
	buf_wipe(&message);
	smtp_go_on(s, now);
}

void
smtp_server_prove(struct smtp_server *s, const uint8_t signature[SASL_SCRAM_KEY_LEN], msec now)
{
	struct buf message = BUF_INIT(SASL_SCRAM_MESSAGE_MAX);
	if (!is_asked(s, SMTP_STEP_SCRAM_FINAL)) {
		return;
	}
	enum err e = sasl_scram_verdict(signature, &message);
	if (e == ERR_OK) {
		put_challenge(s, buf_bytes(&message), SMTP_STEP_SCRAM_THANKS);
	} else {
		fail(s, e);
	}
	buf_wipe(&message);
	smtp_go_on(s, now);
}
