/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_member/imap_connection.h"

#include "gate/gate_stream.h"

static const struct stream_settings settings = {
    .read_max = IMAP_GATE_UNREAD_MAX,
    .handshake_ms = 30 * MSEC_SECOND,
    .close_ms = 10 * MSEC_SECOND,
};

static bool
is_question(enum imap_gate_event event)
{
	return event == IMAP_GATE_LOGIN || event == IMAP_GATE_SCRAM_FIRST || event == IMAP_GATE_SCRAM_FINAL;
}

/* Sends what the engine wrote and asks what it wants asked. False: the stream takes nothing more. */
static bool
settle(struct imap_connection *c, enum imap_gate_event *ret_event)
{
	enum imap_gate_event event = imap_gate_sent(&c->imap, 0, loop_now(c->loop));
	for (;;) {
		struct bytes out = imap_gate_output(&c->imap);
		if (out.len > 0) {
			if (stream_write(c->stream, out) != ERR_OK) {
				return false;
			}
			event = imap_gate_sent(&c->imap, out.len, loop_now(c->loop));
		} else if (is_question(event) && !c->asked) {
			struct imap_credentials credentials = imap_gate_credentials(&c->imap);
			c->asked = true;
			if (event == IMAP_GATE_LOGIN) {
				c->events->login(c, &credentials);
			} else {
				c->events->scram(c, imap_gate_scram(&c->imap),
						 event == IMAP_GATE_SCRAM_FINAL);
			}
			/* It may have been answered at once. */
			event = imap_gate_sent(&c->imap, 0, loop_now(c->loop));
		} else {
			*ret_event = event;
			return true;
		}
	}
}

static void
pump(struct imap_connection *c)
{
	enum imap_gate_event event = IMAP_GATE_CLOSE;
	if (c->pumping || c->stream == NULL) {
		return;
	}
	c->pumping = true;
	bool fine = settle(c, &event);
	c->pumping = false;
	if (!fine || event == IMAP_GATE_CLOSE) {
		timer_stop(&c->timer);
		stream_close(c->stream);
		return;
	}
	if (event == IMAP_GATE_LOGGED_IN) {
		timer_stop(&c->timer);
		c->events->logged_in(c);
		return;
	}
	gate_stream_await(c->stream, imap_gate_wants_input(&c->imap), c->loop, &c->timer,
			  imap_gate_deadline(&c->imap));
}

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct imap_connection *c = arg;
	/* While the engine reads, it leaves nothing whole unread: there is room for a piece. */
	while (data.len > 0 && imap_gate_wants_input(&c->imap)) {
		struct bytes piece = bytes_slice(data, 0, IMAP_GATE_UNREAD_MAX - c->imap.unread.len);
		(void)imap_gate_input(&c->imap, piece, loop_now(c->loop));
		stream_consume(s, piece.len);
		data = bytes_from(data, piece.len);
	}
	pump(c);
}

static void
on_drained(struct stream *s, void *arg)
{
	(void)s;
	pump(arg);
}

static void
on_closed(struct stream *s, void *arg, enum err why)
{
	struct imap_connection *c = arg;
	(void)s;
	(void)why;
	timer_stop(&c->timer);
	stream_destroy(&c->stream);
	c->events->closed(c);
}

static const struct stream_events stream_callbacks = {
    .data = on_data, .drained = on_drained, .closed = on_closed};

static void
on_timer(struct timer *t)
{
	struct imap_connection *c = t->arg;
	(void)imap_gate_tick(&c->imap, loop_now(c->loop));
	pump(c);
}

enum err
imap_connection_start(struct imap_connection *c, struct loop *loop, int fd, struct tls_context *tls,
		      enum config_pad pad, const struct imap_gate_config *config,
		      const struct imap_connection_events *events, void *arg)
{
	*c = (struct imap_connection){.loop = loop, .events = events, .arg = arg};
	timer_init(&c->timer, on_timer, c);
	enum err e = gate_stream_open(loop, fd, &settings, &stream_callbacks, c, pad, &c->stream);
	if (e != ERR_OK) {
		return e;
	}
	e = imap_gate_init(&c->imap, config, loop_now(loop));
	if (e == ERR_OK) {
		e = stream_start_tls_server(c->stream, tls, true, NULL);
		if (e != ERR_OK) {
			imap_gate_clear(&c->imap);
		}
	}
	if (e != ERR_OK) {
		stream_destroy(&c->stream);
		return e;
	}
	/* The greeting is queued and leaves after the handshake. */
	pump(c);
	return ERR_OK;
}

void
imap_connection_answer(struct imap_connection *c, enum imap_gate_verdict verdict)
{
	c->asked = false;
	(void)imap_gate_answer(&c->imap, verdict, loop_now(c->loop));
	pump(c);
}

void
imap_connection_damaged(struct imap_connection *c, const char *reference)
{
	c->asked = false;
	(void)imap_gate_damaged(&c->imap, reference, loop_now(c->loop));
	pump(c);
}

void
imap_connection_challenge(struct imap_connection *c, const uint8_t salt[SASL_SCRAM_SALT_LEN], uint32_t rounds,
			  const uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN], struct bytes binding)
{
	c->asked = false;
	(void)imap_gate_challenge(&c->imap, salt, rounds, server_nonce, binding, loop_now(c->loop));
	pump(c);
}

void
imap_connection_prove(struct imap_connection *c, const uint8_t signature[SASL_SCRAM_KEY_LEN])
{
	c->asked = false;
	(void)imap_gate_prove(&c->imap, signature, loop_now(c->loop));
	pump(c);
}

void
imap_connection_shutdown(struct imap_connection *c)
{
	if (c->stream == NULL) {
		return;
	}
	if (c->asked) {
		imap_connection_answer(c, IMAP_GATE_SHUTDOWN);
		return;
	}
	timer_stop(&c->timer);
	/* Where the queue takes no more, nobody reads. */
	(void)!stream_write(c->stream, BYTES_LIT("* BYE [UNAVAILABLE] Shutting down\r\n"));
	stream_close(c->stream);
}

struct stream *
imap_connection_take(struct imap_connection *c)
{
	struct stream *s = c->stream;
	timer_stop(&c->timer);
	c->stream = NULL;
	return s;
}

void
imap_connection_clear(struct imap_connection *c)
{
	timer_stop(&c->timer);
	stream_destroy(&c->stream);
	imap_gate_clear(&c->imap);
}
