/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate/smtp_connection.h"

#include "gate/gate_stream.h"

static const struct stream_settings settings = {
    .read_max = SMTP_UNREAD_MAX,
    .handshake_ms = 30 * MSEC_SECOND,
    .close_ms = 10 * MSEC_SECOND,
};

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct smtp_connection *c = arg;
	c->pumping = true;
	while (data.len > 0 && !c->wants_tls && !smtp_server_closing(&c->smtp)) {
		size_t room = smtp_server_wants(&c->smtp);
		struct bytes piece = bytes_slice(data, 0, room);
		if (piece.len == 0) {
			break;
		}
		/* Room was asked for just now, and the engine is not closing. */
		if (smtp_server_feed(&c->smtp, piece, loop_now(c->loop)) != ERR_OK) {
			break;
		}
		stream_consume(s, piece.len);
		data = bytes_from(data, piece.len);
	}
	c->pumping = false;
	smtp_connection_pump(c);
}

static void
on_secured(struct stream *s, void *arg)
{
	struct smtp_connection *c = arg;
	(void)s;
	smtp_server_tls_started(&c->smtp, loop_now(c->loop));
	smtp_connection_pump(c);
}

static void
on_drained(struct stream *s, void *arg)
{
	(void)s;
	smtp_connection_pump(arg);
}

static void
on_closed(struct stream *s, void *arg, enum err why)
{
	struct smtp_connection *c = arg;
	(void)s;
	(void)why;
	timer_stop(&c->timer);
	stream_destroy(&c->stream);
	c->events->closed(c);
}

static const struct stream_events stream_callbacks = {
    .data = on_data, .secured = on_secured, .drained = on_drained, .closed = on_closed};

static void
on_timer(struct timer *t)
{
	struct smtp_connection *c = t->arg;
	smtp_server_tick(&c->smtp, loop_now(c->loop));
	smtp_connection_pump(c);
}

enum err
smtp_connection_start(struct smtp_connection *c, struct loop *loop, int fd, enum smtp_mode mode,
		      bool implicit, struct tls_context *tls, enum config_pad pad,
		      const struct smtp_server_config *config, const struct smtp_server_host *host, void *ctx,
		      const struct smtp_connection_events *events)
{
	*c = (struct smtp_connection){.loop = loop, .tls = tls, .events = events};
	timer_init(&c->timer, on_timer, c);
	enum err e = gate_stream_open(loop, fd, &settings, &stream_callbacks, c, pad, &c->stream);
	if (e != ERR_OK) {
		return e;
	}
	smtp_server_init(&c->smtp, mode, implicit, config, host, ctx);
	if (implicit) {
		e = stream_start_tls_server(c->stream, tls, true, NULL);
	}
	if (e != ERR_OK) {
		stream_destroy(&c->stream);
		return e;
	}
	/* With implicit TLS it is queued and leaves after the handshake. */
	smtp_server_start(&c->smtp, SMTP_HELLO_NONE, loop_now(loop));
	smtp_connection_pump(c);
	return ERR_OK;
}

void
smtp_connection_starttls(struct smtp_connection *c)
{
	c->wants_tls = true;
}

static bool
send_output(struct smtp_connection *c)
{
	struct bytes out = smtp_server_output(&c->smtp);
	while (out.len > 0) {
		if (stream_write(c->stream, out) != ERR_OK) {
			return false;
		}
		smtp_server_sent(&c->smtp, out.len, loop_now(c->loop));
		out = smtp_server_output(&c->smtp);
	}
	return true;
}

void
smtp_connection_pump(struct smtp_connection *c)
{
	if (c->pumping || c->stream == NULL) {
		return;
	}
	c->pumping = true;
	/*
	 * Replies to pipelined commands wait for the one that is being answered, and leave in one record
	 * (RFC 2920 section 3.2); who does not pipeline has none outstanding then.
	 */
	bool fine = smtp_server_asked(&c->smtp) || send_output(c);
	if (fine && c->wants_tls) {
		c->wants_tls = false;
		fine = stream_start_tls_server(c->stream, c->tls, false, NULL) == ERR_OK;
	}
	c->pumping = false;
	if (!fine || smtp_server_closing(&c->smtp)) {
		timer_stop(&c->timer);
		stream_close(c->stream);
		return;
	}
	if (smtp_server_logged_in(&c->smtp) && c->events->logged_in != NULL && !c->taken) {
		timer_stop(&c->timer);
		c->events->logged_in(c);
		return;
	}
	gate_stream_await(c->stream, smtp_server_wants(&c->smtp) > 0, c->loop, &c->timer,
			  smtp_server_deadline(&c->smtp));
}

struct stream *
smtp_connection_take(struct smtp_connection *c)
{
	struct stream *s = c->stream;
	timer_stop(&c->timer);
	c->taken = true;
	c->stream = NULL;
	return s;
}

void
smtp_connection_clear(struct smtp_connection *c)
{
	timer_stop(&c->timer);
	stream_destroy(&c->stream);
	smtp_server_clear(&c->smtp);
}
