/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_member/http_connection.h"

#include "gate/gate_stream.h"

static const struct stream_settings settings = {
    .read_max = HTTP_UNREAD_MAX,
    .write_max = HTTP_OUTPUT_MAX,
    .handshake_ms = 20 * MSEC_SECOND,
    .close_ms = 10 * MSEC_SECOND,
};

static const struct http_server_config secure_config = {.fields = web_fields_secure, .wall = clock_wall};
static const struct http_server_config clear_config = {.fields = web_fields_clear, .wall = clock_wall};

static void
on_request(void *ctx, const struct http_request *request)
{
	struct http_connection *c = ctx;
	struct web_reply reply;
	msec now = loop_now(c->loop);
	enum err e = web_answer(c->web, c->secure, request, now, &reply);
	struct http_answer answer = {.status = 503};
	if (e == ERR_OK) {
		answer = (struct http_answer){.status = reply.status,
					      .type = reply.type,
					      .fields = buf_bytes(&reply.fields),
					      .body = buf_bytes(&reply.body)};
	}
	c->answered++;
	http_server_answer(&c->http, &answer, now);
	/* An address may have stood in it. */
	buf_wipe(&reply.fields);
	buf_wipe(&reply.body);
}

static const struct http_server_host host = {.request = on_request};

static bool
send_output(struct http_connection *c)
{
	for (struct bytes out = http_server_output(&c->http); out.len > 0;
	     out = http_server_output(&c->http)) {
		/* Who does not read what was answered gets nothing more until there is room. */
		if (stream_is_congested(c->stream)) {
			return true;
		}
		if (stream_write(c->stream, out) != ERR_OK) {
			return false;
		}
		http_server_sent(&c->http, out.len, loop_now(c->loop));
	}
	return true;
}

static void
pump(struct http_connection *c)
{
	if (c->pumping || c->stream == NULL) {
		return;
	}
	c->pumping = true;
	bool fine = send_output(c);
	c->pumping = false;
	bool done = http_server_closing(&c->http) && http_server_output(&c->http).len == 0;
	if (!fine || done) {
		timer_stop(&c->timer);
		stream_close(c->stream);
		return;
	}
	gate_stream_await(c->stream, http_server_wants(&c->http) > 0, c->loop, &c->timer,
			  http_server_deadline(&c->http));
}

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct http_connection *c = arg;
	while (data.len > 0) {
		struct bytes piece = bytes_slice(data, 0, http_server_wants(&c->http));
		/* Room was asked for just now, and an engine that is closing has none. */
		if (piece.len == 0 || http_server_feed(&c->http, piece, loop_now(c->loop)) != ERR_OK) {
			break;
		}
		stream_consume(s, piece.len);
		data = bytes_from(data, piece.len);
		c->pumping = true;
		bool fine = send_output(c);
		c->pumping = false;
		if (!fine) {
			break;
		}
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
	struct http_connection *c = arg;
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
	struct http_connection *c = t->arg;
	http_server_tick(&c->http, loop_now(c->loop));
	/* What it wrote before and nobody reads is given up with it. */
	if (http_server_closing(&c->http) && stream_is_congested(c->stream)) {
		stream_close(c->stream);
		return;
	}
	pump(c);
}

enum err
http_connection_start(struct http_connection *c, struct loop *loop, int fd, struct tls_context *tls,
		      enum config_pad pad, const struct web *web, const struct http_connection_events *events,
		      void *arg)
{
	*c = (struct http_connection){
	    .loop = loop, .web = web, .events = events, .arg = arg, .secure = tls != NULL};
	timer_init(&c->timer, on_timer, c);
	/* Which of the documents it was, its size does not tell. */
	enum err e = gate_stream_open(loop, fd, &settings, &stream_callbacks, c, pad, &c->stream);
	if (e != ERR_OK) {
		return e;
	}
	http_server_init(&c->http, c->secure ? &secure_config : &clear_config, &host, c, loop_now(loop));
	if (c->secure) {
		stream_set_alpn(c->stream, "http/1.1");
		e = stream_start_tls_server(c->stream, tls, true, NULL);
	}
	if (e != ERR_OK) {
		stream_destroy(&c->stream);
		return e;
	}
	pump(c);
	return ERR_OK;
}

void
http_connection_shutdown(struct http_connection *c)
{
	if (c->stream != NULL) {
		timer_stop(&c->timer);
		stream_close(c->stream);
	}
}

void
http_connection_clear(struct http_connection *c)
{
	timer_stop(&c->timer);
	stream_destroy(&c->stream);
	http_server_clear(&c->http);
}
