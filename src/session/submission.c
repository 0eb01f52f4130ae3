/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SMTP after login: the engine over a connection that gate-member carries. serve() runs in a task and is the only one
 * that touches the engine, so that its questions are answered in place, however long that takes.
 */
#include "session/submission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/sending.h"
#include "session/submission_internal.h"

enum { DATA_LIMIT_MS = 10 * 60 * 1000 };

struct submission {
	struct conn *conn;
	struct smtp_server smtp;
	struct envelope *envelope; /* NULL outside of a transaction */
};

/* One for all connections of the process. */
static struct smtp_server_config smtp_config;

static msec
now(const struct submission *s)
{
	return loop_now(s->conn->worker->host->loop);
}

static void
answer(struct submission *s, const struct submission_reply *r)
{
	if (r->code == 0) {
		smtp_server_accept(&s->smtp, now(s));
	} else {
		smtp_server_reply(&s->smtp, r->code, r->enhanced,
				  bytes_str(r->text != NULL ? r->text : r->ref), now(s));
	}
}

/* ---- the engine's questions ---- */

static void
on_hello(void *ctx, enum smtp_hello kind, struct bytes name)
{
	/* What a client calls itself goes nowhere. */
	(void)ctx;
	(void)kind;
	(void)name;
}

static void
on_starttls(void *ctx)
{
	/* The engine refuses it in its SESSION mode. */
	(void)ctx;
}

static void
on_auth(void *ctx, const struct smtp_credentials *credentials)
{
	struct submission *s = ctx;
	(void)credentials;
	smtp_server_reply(&s->smtp, 503, "5.5.1", BYTES_LIT("Already authenticated"), now(s));
}

/*
 * Only who could read her log may send in her name: else a password that was dropped could still send, behind a store that brings the
 * older slot list back.
 */
static struct submission_reply
may_send(struct member *m)
{
	enum err e = member_ready(m);
	struct submission_reply r = {.code = 0};
	if (e == ERR_DAMAGED || e == ERR_UNSUPPORTED) {
		r = (struct submission_reply){.code = 451, .enhanced = "4.3.0", .text = NULL};
		(void)snprintf(r.ref, sizeof(r.ref), "Your mailbox cannot be read for now (%s)", m->ref);
	} else if (e != ERR_OK) {
		r = (struct submission_reply){
		    .code = 451, .enhanced = "4.3.0", .text = "Temporary failure, try again later"};
	}
	return r;
}

static void
on_mail(void *ctx, const struct smtp_mail *mail)
{
	struct submission *s = ctx;
	struct submission_reply r = may_send(s->conn->member);
	envelope_destroy(&s->envelope);
	if (r.code == 0) {
		r = sending_message_begins(s->conn->member);
	}
	if (r.code != 0) {
		answer(s, &r);
		return;
	}
	r = (struct submission_reply){
	    .code = 452, .enhanced = "4.3.1", .text = "Out of memory, try again later"};
	s->envelope = envelope_create(s->conn->worker, s->conn->member);
	if (s->envelope != NULL) {
		r = envelope_mail(s->envelope, s->conn->member, mail);
	}
	if (r.code != 0) {
		envelope_destroy(&s->envelope);
	}
	answer(s, &r);
}

static void
on_rcpt(void *ctx, const struct smtp_rcpt *rcpt)
{
	struct submission *s = ctx;
	struct submission_reply r = envelope_rcpt(s->envelope, s->conn->member, rcpt);
	s->conn->worker->seen_commands++;
	answer(s, &r);
}

static void
on_data_begin(void *ctx, bool chunked)
{
	struct submission *s = ctx;
	(void)chunked;
	smtp_server_accept(&s->smtp, now(s));
}

static void
on_data(void *ctx, struct bytes chunk)
{
	envelope_data(((struct submission *)ctx)->envelope, chunk);
}

static void
on_data_end(void *ctx, uint64_t size)
{
	struct submission *s = ctx;
	(void)size;
	struct submission_reply r = submission_send(s->envelope, s->conn->member);
	envelope_destroy(&s->envelope);
	answer(s, &r);
}

static void
on_reset(void *ctx)
{
	envelope_destroy(&((struct submission *)ctx)->envelope);
}

static const struct smtp_server_host host = {
    .hello = on_hello,
    .starttls = on_starttls,
    .auth = on_auth,
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data_begin = on_data_begin,
    .data = on_data,
    .data_end = on_data_end,
    .reset = on_reset,
};

/* ---- the connection ---- */

static enum err
submission_open(struct conn *c)
{
	struct role_host *h = c->worker->host;
	struct submission *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ERR_MEMORY;
	}
	if (smtp_config.hostname.len == 0) {
		smtp_server_config_default(&smtp_config);
		smtp_config.hostname = bytes_str(h->config.hostname);
		smtp_config.max_message = worker_message_max(c->worker);
		smtp_config.max_recipients = h->config.recipients;
		smtp_config.command_timeout = h->config.smtp_idle;
		smtp_config.data_timeout =
		    h->config.smtp_idle < DATA_LIMIT_MS ? h->config.smtp_idle : DATA_LIMIT_MS;
		smtp_config.hold_max = CONFIG_HOLD_MAX;
		smtp_config.wall = clock_wall;
		smtp_config.starttls = false;
	}
	s->conn = c;
	c->state = s;
	smtp_server_init(&s->smtp, SMTP_MODE_SESSION, true, &smtp_config, &host, s);
	smtp_server_start(&s->smtp, c->extended ? SMTP_HELLO_EHLO : SMTP_HELLO_HELO, loop_now(h->loop));
	return ERR_OK;
}

/* Sends what the engine has to say; that may let it read on. False: the connection has gone. */
static bool
flush(struct submission *s)
{
	struct bytes out = smtp_server_output(&s->smtp);
	while (out.len > 0) {
		if (conn_write(s->conn, out) != ERR_OK) {
			return false;
		}
		smtp_server_sent(&s->smtp, out.len, now(s));
		out = smtp_server_output(&s->smtp);
	}
	return !conn_is_closed(s->conn);
}

/* Feeds what came, piece by piece, with the answers sent in between. False: the connection has gone. */
static bool
feed(struct submission *s, struct bytes in)
{
	while (in.len > 0 && !smtp_server_closing(&s->smtp)) {
		struct bytes piece = bytes_slice(in, 0, smtp_server_wants(&s->smtp));
		if (piece.len == 0 || smtp_server_feed(&s->smtp, piece, now(s)) != ERR_OK) {
			/* All that it asked was answered: an engine that takes nothing is at its end. */
			return flush(s) && smtp_server_closing(&s->smtp);
		}
		conn_consumed(s->conn, piece.len);
		in = bytes_from(in, piece.len);
		if (!flush(s)) {
			return false;
		}
	}
	return true;
}

static void
submission_serve(struct conn *c)
{
	struct submission *s = c->state;
	struct buf in = BUF_INIT(CONN_WINDOW);
	bool alive = true;
	if (c->timed) {
		smtp_server_tick(&s->smtp, now(s));
	}
	alive = flush(s);
	while (alive && conn_available(c) > 0 && !smtp_server_closing(&s->smtp)) {
		alive = conn_take(c, &in) == ERR_OK && feed(s, buf_bytes(&in));
		buf_wipe(&in);
	}
	buf_wipe(&in);
	if (alive && c->worker->host->stopping) {
		smtp_server_shutdown(&s->smtp, now(s));
	}
	alive = alive && flush(s);
	if (!alive || smtp_server_closing(&s->smtp)) {
		conn_close(c);
		return;
	}
	msec deadline = smtp_server_deadline(&s->smtp);
	conn_deadline(c, deadline == SMTP_NEVER ? 0 : deadline);
}

static void
submission_destroy(struct conn *c)
{
	struct submission *s = c->state;
	if (s != NULL) {
		envelope_destroy(&s->envelope);
		smtp_server_clear(&s->smtp);
		free(s);
		c->state = NULL;
	}
}

const struct conn_protocol submission_protocol = {
    .open = submission_open, .serve = submission_serve, .destroy = submission_destroy};
