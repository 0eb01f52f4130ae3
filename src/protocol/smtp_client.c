/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/smtp_client.h"

#include <stdlib.h>

#include "protocol/smtp_client_private.h"

enum { OUT_MAX = 2 * SMTP_CLIENT_OUT_HIGH };

#define NEVER INT64_MAX

void
smtp_client_config_default(struct smtp_client_config *ret_config)
{
	*ret_config = (struct smtp_client_config){
	    .tls = SMTP_TLS_REQUIRE,
	    .timeouts = {.greeting = 5 * MSEC_MINUTE,
			 .command = 5 * MSEC_MINUTE,
			 .data = 2 * MSEC_MINUTE,
			 .block = 3 * MSEC_MINUTE,
			 .final_dot = 10 * MSEC_MINUTE,
			 .quit = 30 * MSEC_SECOND},
	};
}

void
smtp_client_init(struct smtp_client *c, const struct smtp_client_config *config,
		 const struct smtp_client_host *host, void *ctx)
{
	*c = (struct smtp_client){.config = config, .host = host, .ctx = ctx};
	c->out = BUF_INIT(OUT_MAX);
	c->verdicts = BUF_INIT(1 << 20);
	smtp_reply_init(&c->reply);
	c->tls = config->tls == SMTP_TLS_IMPLICIT;
	c->deadline = NEVER;
}

void
smtp_client_clear(struct smtp_client *c)
{
	buf_wipe(&c->out);
	buf_wipe(&c->verdicts);
	smtp_reply_clear(&c->reply);
	free(c->mail_failure);
	c->mail_failure = NULL;
	c->mail = NULL;
	c->state = SMTP_CLIENT_CLOSED;
	c->deadline = NEVER;
}

void
smtp_client_put(struct smtp_client *c, struct bytes text)
{
	if (c->state != SMTP_CLIENT_CLOSED && buf_append(&c->out, text) != ERR_OK) {
		smtp_client_end_local(c, SMTP_CLOSED_MEMORY, 451, "4.3.0", "Out of memory");
	}
}

void
smtp_client_put_str(struct smtp_client *c, const char *text)
{
	smtp_client_put(c, bytes_str(text));
}

void
smtp_client_wait(struct smtp_client *c, msec timeout)
{
	c->deadline = c->now + timeout;
}

void
smtp_client_end(struct smtp_client *c, enum smtp_closed why, const struct smtp_result *result)
{
	if (c->state == SMTP_CLIENT_CLOSED) {
		return;
	}
	c->state = SMTP_CLIENT_CLOSED;
	c->deadline = NEVER;
	if (why != SMTP_CLOSED_QUIT) {
		buf_wipe(&c->out); /* half a message may not go out behind an error */
	}
	if (c->mail != NULL) {
		smtp_client_mail_end(c, result);
	}
	c->host->closed(c->ctx, why, result);
}

void
smtp_client_end_local(struct smtp_client *c, enum smtp_closed why, unsigned code, const char *status,
		      const char *text)
{
	struct smtp_result result;
	smtp_result_local(code, status, text, &result);
	smtp_client_end(c, why, &result);
}

void
smtp_client_start(struct smtp_client *c, msec now)
{
	c->now = now;
	c->state = SMTP_CLIENT_GREETING;
	smtp_client_wait(c, c->config->timeouts.greeting);
}

/* EHLO and what it offers */

static void
say_hello(struct smtp_client *c, bool extended)
{
	c->state = extended ? SMTP_CLIENT_EHLO : SMTP_CLIENT_HELO;
	c->extended = false;
	c->offers = 0;
	c->peer_size = 0;
	smtp_client_put_str(c, extended ? "EHLO " : "HELO ");
	smtp_client_put(c, c->config->hello);
	smtp_client_put_str(c, "\r\n");
	if (c->state != SMTP_CLIENT_CLOSED) {
		smtp_client_wait(c, c->config->timeouts.command);
	}
}

static unsigned
auth_offers(struct bytes mechanisms)
{
	unsigned offers = 0;
	while (mechanisms.len > 0) {
		ptrdiff_t space = bytes_find(mechanisms, ' ');
		size_t len = space >= 0 ? (size_t)space : mechanisms.len;
		struct bytes word = bytes_slice(mechanisms, 0, len);
		offers |= bytes_is_nocase(word, "PLAIN") ? SMTP_OFFER_AUTH_PLAIN : 0U;
		offers |= bytes_is_nocase(word, "LOGIN") ? SMTP_OFFER_AUTH_LOGIN : 0U;
		mechanisms = bytes_from(mechanisms, len + (space >= 0 ? 1 : 0));
	}
	return offers;
}

static void
take_offer(struct smtp_client *c, struct bytes line)
{
	static const struct {
		const char *keyword;
		unsigned offer;
	} keywords[] = {
	    {"PIPELINING", SMTP_OFFER_PIPELINING},
	    {"SIZE", SMTP_OFFER_SIZE},
	    {"8BITMIME", SMTP_OFFER_8BITMIME},
	    {"SMTPUTF8", SMTP_OFFER_SMTPUTF8},
	    {"DSN", SMTP_OFFER_DSN},
	    {"STARTTLS", SMTP_OFFER_STARTTLS},
	    {"ENHANCEDSTATUSCODES", SMTP_OFFER_ENHANCED},
	    {"CHUNKING", SMTP_OFFER_CHUNKING},
	    {"REQUIRETLS", SMTP_OFFER_REQUIRETLS},
	};
	ptrdiff_t space = bytes_find(line, ' ');
	struct bytes keyword = space >= 0 ? bytes_slice(line, 0, (size_t)space) : line;
	struct bytes args = space >= 0 ? bytes_trim(bytes_from(line, (size_t)space)) : BYTES_EMPTY;
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		c->offers |= bytes_is_nocase(keyword, keywords[i].keyword) ? keywords[i].offer : 0U;
	}
	if (bytes_is_nocase(keyword, "SIZE") && bytes_to_u64(args, UINT64_MAX, &c->peer_size) != ERR_OK) {
		c->peer_size = 0; /* none said, or nonsense: it will say so at MAIL */
	}
	if (bytes_is_nocase(keyword, "AUTH")) {
		c->offers |= auth_offers(args);
	}
}

static void
take_offers(struct smtp_client *c)
{
	struct bytes rest = buf_bytes(&c->reply.text);
	for (bool greeting = true; rest.len > 0; greeting = false) {
		ptrdiff_t lf = bytes_find(rest, '\n');
		struct bytes line = lf >= 0 ? bytes_slice(rest, 0, (size_t)lf) : rest;
		rest = lf >= 0 ? bytes_from(rest, (size_t)lf + 1) : BYTES_EMPTY;
		if (!greeting) {
			take_offer(c, bytes_trim(line));
		}
	}
}

/* AUTH, towards a smarthost */

static void
put_base64_line(struct smtp_client *c, struct bytes plain)
{
	if (c->state != SMTP_CLIENT_CLOSED && buf_append_base64(&c->out, plain) != ERR_OK) {
		smtp_client_end_local(c, SMTP_CLOSED_MEMORY, 451, "4.3.0", "Out of memory");
	}
	smtp_client_put_str(c, "\r\n");
}

static void
begin_auth(struct smtp_client *c)
{
	if (!c->tls || (c->offers & (SMTP_OFFER_AUTH_PLAIN | SMTP_OFFER_AUTH_LOGIN)) == 0) {
		smtp_client_end_local(c, SMTP_CLOSED_AUTH, 454, "4.7.0", "No login offered under TLS");
		return;
	}
	smtp_client_wait(c, c->config->timeouts.command);
	if ((c->offers & SMTP_OFFER_AUTH_PLAIN) == 0) {
		c->state = SMTP_CLIENT_AUTH_LOGIN;
		smtp_client_put_str(c, "AUTH LOGIN\r\n");
		return;
	}
	struct buf plain = BUF_INIT(c->config->user.len + c->config->password.len + 2);
	enum err e = buf_reserve(&plain, plain.max);
	if (e == ERR_OK) {
		e = buf_append_byte(&plain, 0);
	}
	if (e == ERR_OK) {
		e = buf_append(&plain, c->config->user);
	}
	if (e == ERR_OK) {
		e = buf_append_byte(&plain, 0);
	}
	if (e == ERR_OK) {
		e = buf_append(&plain, c->config->password);
	}
	if (e == ERR_OK) {
		c->state = SMTP_CLIENT_AUTH_PLAIN;
		smtp_client_put_str(c, "AUTH PLAIN ");
		put_base64_line(c, buf_bytes(&plain));
	} else {
		smtp_client_end_local(c, SMTP_CLOSED_MEMORY, 451, "4.3.0", "Out of memory");
	}
	buf_wipe(&plain);
}

static void
become_ready(struct smtp_client *c)
{
	c->state = SMTP_CLIENT_READY;
	c->deadline = NEVER;
	c->host->ready(c->ctx);
}

/* EHLO or HELO was answered well: what comes before the first message? */
static void
after_hello(struct smtp_client *c)
{
	bool wanted = c->config->tls == SMTP_TLS_PREFER || c->config->tls == SMTP_TLS_REQUIRE;
	if (!c->tls && wanted && !c->tls_refused && (c->offers & SMTP_OFFER_STARTTLS) != 0) {
		c->state = SMTP_CLIENT_STARTTLS;
		smtp_client_wait(c, c->config->timeouts.command);
		smtp_client_put_str(c, "STARTTLS\r\n");
	} else if (!c->tls && c->config->tls == SMTP_TLS_REQUIRE) {
		smtp_client_end_local(c, SMTP_CLOSED_NO_TLS, 451, "4.7.10",
				      "The server offers no encryption");
	} else if (c->config->user.len > 0) {
		begin_auth(c);
	} else {
		become_ready(c);
	}
}

/* Replies */

static void
reply_ehlo(struct smtp_client *c, const struct smtp_result *result)
{
	if (result->code / 100 == 2) {
		c->extended = true;
		take_offers(c);
		after_hello(c);
	} else if (result->code >= 500) {
		say_hello(c, false);
	} else {
		smtp_client_end(c, SMTP_CLOSED_REFUSED, result);
	}
}

static void
reply_starttls(struct smtp_client *c, const struct smtp_result *result, size_t left)
{
	if (result->code == 220 && left > 0) {
		/* Said in clear, to be taken for said under TLS (response injection). */
		smtp_client_end_local(c, SMTP_CLOSED_PROTOCOL, 451, "4.7.0", "Data behind STARTTLS in clear");
	} else if (result->code == 220) {
		c->state = SMTP_CLIENT_HANDSHAKE;
		c->deadline = NEVER;
		c->host->starttls(c->ctx);
	} else if (c->config->tls == SMTP_TLS_REQUIRE) {
		smtp_client_end_local(c, SMTP_CLOSED_NO_TLS, 451, "4.7.10", "The server refused encryption");
	} else {
		c->tls_refused = true;
		after_hello(c);
	}
}

static void
reply_auth(struct smtp_client *c, const struct smtp_result *result)
{
	if (result->code == 334 && c->state == SMTP_CLIENT_AUTH_LOGIN) {
		c->state = SMTP_CLIENT_AUTH_USER;
		put_base64_line(c, c->config->user);
	} else if (result->code == 334 && c->state == SMTP_CLIENT_AUTH_USER) {
		c->state = SMTP_CLIENT_AUTH_PASSWORD;
		put_base64_line(c, c->config->password);
	} else if (result->code == 235 &&
		   (c->state == SMTP_CLIENT_AUTH_PLAIN || c->state == SMTP_CLIENT_AUTH_PASSWORD)) {
		become_ready(c);
		return;
	} else {
		smtp_client_end(c, SMTP_CLOSED_AUTH, result);
		return;
	}
	if (c->state != SMTP_CLIENT_CLOSED) {
		smtp_client_wait(c, c->config->timeouts.command);
	}
}

static void
unexpected(struct smtp_client *c)
{
	smtp_client_end_local(c, SMTP_CLOSED_PROTOCOL, 451, "4.5.0", "The server spoke out of turn");
}

/* One reply; `left` octets stand behind it. */
static void
handle_reply(struct smtp_client *c, const struct smtp_result *result, size_t left)
{
	enum smtp_client_state state = (enum smtp_client_state)c->state;
	if (state == SMTP_CLIENT_QUIT) {
		smtp_client_end(c, SMTP_CLOSED_QUIT, result);
		return;
	}
	if (result->code == 421) {
		smtp_client_end(c, SMTP_CLOSED_REFUSED, result);
		return;
	}
	switch (state) {
	case SMTP_CLIENT_GREETING:
		if (result->code == 220) {
			say_hello(c, true);
		} else {
			smtp_client_end(c, SMTP_CLOSED_REFUSED, result);
		}
		break;
	case SMTP_CLIENT_EHLO:
		reply_ehlo(c, result);
		break;
	case SMTP_CLIENT_HELO:
		if (result->code / 100 == 2) {
			after_hello(c);
		} else {
			smtp_client_end(c, SMTP_CLOSED_REFUSED, result);
		}
		break;
	case SMTP_CLIENT_STARTTLS:
		reply_starttls(c, result, left);
		break;
	case SMTP_CLIENT_AUTH_PLAIN:
	case SMTP_CLIENT_AUTH_LOGIN:
	case SMTP_CLIENT_AUTH_USER:
	case SMTP_CLIENT_AUTH_PASSWORD:
		reply_auth(c, result);
		break;
	case SMTP_CLIENT_ENVELOPE:
	case SMTP_CLIENT_BODY:
	case SMTP_CLIENT_FINAL:
	case SMTP_CLIENT_EMPTY:
		smtp_client_mail_reply(c, result);
		break;
	case SMTP_CLIENT_NEW:
	case SMTP_CLIENT_HANDSHAKE:
	case SMTP_CLIENT_READY:
		unexpected(c);
		break;
	case SMTP_CLIENT_QUIT:
	case SMTP_CLIENT_CLOSED:
		break;
	}
}

void
smtp_client_feed(struct smtp_client *c, struct bytes in, msec now)
{
	c->now = now;
	while (in.len > 0 && c->state != SMTP_CLIENT_CLOSED) {
		size_t used = 0;
		enum err e = c->state == SMTP_CLIENT_NEW || c->state == SMTP_CLIENT_HANDSHAKE
				 ? ERR_STATE
				 : smtp_reply_feed(&c->reply, in, &used);
		if (e == ERR_MEMORY) {
			smtp_client_end_local(c, SMTP_CLOSED_MEMORY, 451, "4.3.0", "Out of memory");
		} else if (e != ERR_OK) {
			smtp_client_end_local(c, SMTP_CLOSED_PROTOCOL, 451, "4.5.0",
					      "The server's reply is not SMTP");
		} else if (c->reply.complete) {
			struct smtp_result result;
			in = bytes_from(in, used);
			smtp_result_of(&c->reply, &result);
			handle_reply(c, &result, in.len);
			smtp_reply_next(&c->reply);
		} else {
			in = bytes_from(in, used);
		}
	}
}

void
smtp_client_tls_started(struct smtp_client *c, msec now)
{
	if (c->state == SMTP_CLIENT_HANDSHAKE) {
		c->now = now;
		c->tls = true;
		smtp_reply_next(&c->reply);
		say_hello(c, true); /* what was offered in clear is forgotten (RFC 3207) */
	}
}

struct bytes
smtp_client_output(const struct smtp_client *c)
{
	return buf_bytes(&c->out);
}

void
smtp_client_sent(struct smtp_client *c, size_t n, msec now)
{
	bool content = c->state == SMTP_CLIENT_BODY || c->state == SMTP_CLIENT_FINAL;
	c->now = now;
	if (n == c->out.len) {
		buf_wipe(&c->out);
	} else {
		buf_consume(&c->out, n);
	}
	if (content && n > 0) {
		smtp_client_wait(c, c->config->timeouts.block);
	}
	if (c->state == SMTP_CLIENT_ENVELOPE || c->state == SMTP_CLIENT_BODY) {
		smtp_client_mail_write(c);
	}
	if (c->state == SMTP_CLIENT_FINAL && content && c->out.len == 0) {
		smtp_client_wait(c, c->config->timeouts.final_dot);
	}
}

void
smtp_client_wake(struct smtp_client *c, msec now)
{
	if (c->state == SMTP_CLIENT_BODY && c->body_waits) {
		c->now = now;
		c->body_waits = false;
		smtp_client_wait(c, c->config->timeouts.block);
		smtp_client_mail_write(c);
	}
}

void
smtp_client_lost(struct smtp_client *c, msec now)
{
	c->now = now;
	if (c->state == SMTP_CLIENT_QUIT) {
		smtp_client_end_local(c, SMTP_CLOSED_QUIT, 221, "2.0.0", "Closed");
	} else {
		smtp_client_end_local(c, SMTP_CLOSED_LOST, 421, "4.4.2", "The connection was lost");
	}
}

msec
smtp_client_deadline(const struct smtp_client *c)
{
	return c->body_waits && c->out.len == 0 ? NEVER : c->deadline;
}

void
smtp_client_tick(struct smtp_client *c, msec now)
{
	c->now = now;
	if (now < smtp_client_deadline(c) || c->state == SMTP_CLIENT_CLOSED) {
		return;
	}
	if (c->state == SMTP_CLIENT_QUIT) {
		smtp_client_end_local(c, SMTP_CLOSED_QUIT, 221, "2.0.0", "Closed");
	} else {
		smtp_client_end_local(c, SMTP_CLOSED_TIMEOUT, 421, "4.4.2",
				      "The server did not answer in time");
	}
}

bool
smtp_client_is_ready(const struct smtp_client *c)
{
	return c->state == SMTP_CLIENT_READY;
}

bool
smtp_client_is_closed(const struct smtp_client *c)
{
	return c->state == SMTP_CLIENT_CLOSED;
}

bool
smtp_client_is_tls(const struct smtp_client *c)
{
	return c->tls;
}

unsigned
smtp_client_offers(const struct smtp_client *c)
{
	return c->offers;
}

bool
smtp_client_is_in_envelope(const struct smtp_client *c)
{
	return c->state == SMTP_CLIENT_ENVELOPE;
}

bool
smtp_client_is_in_body(const struct smtp_client *c)
{
	return c->state == SMTP_CLIENT_BODY || c->state == SMTP_CLIENT_FINAL;
}

uint64_t
smtp_client_peer_size(const struct smtp_client *c)
{
	return c->peer_size;
}

void
smtp_client_quit(struct smtp_client *c, msec now)
{
	c->now = now;
	if (c->state == SMTP_CLIENT_READY) {
		c->state = SMTP_CLIENT_QUIT;
		smtp_client_wait(c, c->config->timeouts.quit);
		smtp_client_put_str(c, "QUIT\r\n");
	} else if (c->state != SMTP_CLIENT_QUIT) {
		smtp_client_end_local(c, SMTP_CLOSED_LOST, 421, "4.4.2", "The connection was given up");
	}
}
