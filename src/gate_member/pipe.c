/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* After login: bytes in frames, within a window each way. Nothing here looks at what they say. */
#include <string.h>

#include "base/secret.h"
#include "gate_member/gate.h"
#include "loop/pad.h"

enum { FRAME_MAX = 65536 };

static struct connection **
bucket(struct member_gate *g, uint32_t id)
{
	return &g->pipes[id % GATE_BUCKETS];
}

/* The connection of that name, if the worker holds its other end. A stranger's name is told by ret_foreign. */
static struct connection *
find(struct member_gate *g, unsigned worker, uint32_t id, bool *ret_foreign)
{
	struct connection *c = *bucket(g, id);
	while (c != NULL && c->id != id) {
		c = c->next_pipe;
	}
	*ret_foreign = c != NULL && c->worker != worker;
	return *ret_foreign ? NULL : c;
}

/*
 * Names count upwards and come again only after four thousand million others, so that a frame which was under
 * way when its connection closed never meets another member's.
 */
static void
enter(struct connection *c)
{
	struct member_gate *g = c->gate;
	struct connection *other = NULL;
	do {
		g->last_id++;
		other = *bucket(g, g->last_id);
		while (other != NULL && other->id != g->last_id) {
			other = other->next_pipe;
		}
	} while (other != NULL);
	c->id = g->last_id;
	c->next_pipe = *bucket(g, c->id);
	*bucket(g, c->id) = c;
	c->joined = true;
	g->piped++;
}

/* Out of the table: no frame comes or goes any more. */
static void
detach(struct connection *c)
{
	struct connection **at = bucket(c->gate, c->id);
	while (*at != c) {
		at = &(*at)->next_pipe;
	}
	*at = c->next_pipe;
	c->joined = false;
	c->gate->piped--;
}

static struct channel *
session_of(const struct connection *c)
{
	return role_channel(c->gate->host, ROLE_SESSION, c->worker);
}

void
pipe_leave(struct connection *c)
{
	if (!c->joined) {
		return;
	}
	struct channel *ch = session_of(c);
	struct msg_conn_close m = {.conn = c->id};
	detach(c);
	if (ch != NULL && channel_notice(ch, CONN_CLOSE, conn_close, &m) != ERR_OK) {
		/* A session that misses an end would hold the member's keys for ever. */
		channel_end(ch);
	}
}

/* Sends what is queued to the client, then closes. */
static void
finish(struct connection *c)
{
	pipe_leave(c);
	stream_close(c->stream);
}

static enum err
send_piece(struct connection *c, struct bytes piece)
{
	struct channel *ch = session_of(c);
	struct msg_conn_data m = {.conn = c->id, .data = piece};
	enum err e = ch == NULL ? ERR_CLOSED : channel_notice(ch, CONN_DATA, conn_data, &m);
	if (e == ERR_OK) {
		c->to_session -= (uint32_t)piece.len;
		c->active_at = loop_now(c->gate->host->loop);
	}
	return e;
}

/* Carries as much as the window allows; returns how much, or nothing where the pipe broke and is closing. */
static size_t
carry(struct connection *c, struct bytes data)
{
	size_t carried = 0;
	while (carried < data.len && c->to_session > 0) {
		size_t most = c->to_session < FRAME_MAX ? c->to_session : FRAME_MAX;
		struct bytes piece = bytes_slice(data, carried, most);
		if (send_piece(c, piece) != ERR_OK) {
			finish(c);
			return 0;
		}
		carried += piece.len;
	}
	return carried;
}

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct connection *c = arg;
	if (!c->joined) {
		return;
	}
	stream_consume(s, carry(c, data));
	if (c->to_session == 0) {
		stream_pause(s);
	}
}

static void
give_credit(struct connection *c)
{
	struct channel *ch = session_of(c);
	if (!c->joined || c->owed < GATE_CREDIT_STEP || stream_is_congested(c->stream)) {
		return;
	}
	struct msg_conn_credit m = {.conn = c->id, .count = c->owed};
	if (ch == NULL || channel_notice(ch, CONN_CREDIT, conn_credit, &m) != ERR_OK) {
		finish(c);
		return;
	}
	c->to_client += c->owed;
	c->owed = 0;
}

static void
on_drained(struct stream *s, void *arg)
{
	(void)s;
	give_credit(arg);
}

static void
on_closed(struct stream *s, void *arg, enum err why)
{
	(void)s;
	(void)why;
	connection_free(arg);
}

static const struct stream_events pipe_events = {.data = on_data, .drained = on_drained, .closed = on_closed};

static msec
idle_limit(const struct connection *c)
{
	const struct config *config = &c->gate->host->config;
	return (c->protocol == IPC_PROTOCOL_IMAP ? config->imap_idle : config->smtp_idle) +
	       GATE_IDLE_MARGIN_MS;
}

void
pipe_start(struct connection *c, struct stream *s, const uint8_t token[IPC_TOKEN], bool extended,
	   struct buf *unread)
{
	struct msg_conn_open m = {.protocol = c->protocol, .extended = extended ? 1 : 0};
	struct channel *ch = session_of(c);
	c->stream = s;
	c->to_session = CONN_WINDOW;
	c->to_client = CONN_WINDOW;
	c->line_end = true;
	stream_set_events(s, &pipe_events, c);
	stream_set_idle(s, idle_limit(c));
	stream_set_quick_ack(s, true);
	if (c->gate->host->config.pad != CONFIG_PAD_NONE) {
		stream_set_ladder(s, STREAM_LADDER_RESPONSE);
		c->gate->seen_unpadded += stream_can_pad(s) ? 0 : 1;
	}
	enter(c);
	m.conn = c->id;
	memcpy(m.token, token, sizeof(m.token));
	enum err e = ch == NULL ? ERR_CLOSED : channel_notice(ch, CONN_OPEN, conn_open, &m);
	secret_wipe(&m, sizeof(m));
	if (e != ERR_OK) {
		detach(c);
		stream_close(s);
	} else if (carry(c, buf_bytes(unread)) == unread->len && c->joined) {
		/* What the engine had not taken from the stream is offered to the pipe now. */
		stream_resume(s);
	}
	buf_wipe(unread);
}

enum err
pipe_data(struct member_gate *g, unsigned worker, const struct msg_conn_data *m)
{
	bool foreign = false;
	struct connection *c = find(g, worker, m->conn, &foreign);
	if (c == NULL) {
		return foreign ? ERR_FORMAT : ERR_OK;
	}
	if (m->data.len > c->to_client) {
		return ERR_FORMAT;
	}
	if (m->data.len == 0) {
		return ERR_OK;
	}
	c->to_client -= (uint32_t)m->data.len;
	c->owed += (uint32_t)m->data.len;
	c->active_at = loop_now(g->host->loop);
	c->line_end = m->data.ptr[m->data.len - 1] == '\n';
	if (stream_write(c->stream, m->data) != ERR_OK) {
		/* Bytes are missing from here on: nothing may follow them. */
		connection_free(c);
		return ERR_OK;
	}
	give_credit(c);
	return ERR_OK;
}

enum err
pipe_flush(struct member_gate *g, unsigned worker, const struct msg_conn_flush *m)
{
	bool foreign = false;
	struct connection *c = find(g, worker, m->conn, &foreign);
	if (foreign || (m->pad != CONN_PAD_LADDER && m->pad != CONN_PAD_BEAT)) {
		return ERR_FORMAT;
	}
	if (c == NULL || g->host->config.pad == CONFIG_PAD_NONE) {
		return ERR_OK;
	}
	enum err e = m->pad == CONN_PAD_BEAT ? stream_end_record(c->stream, PAD_SMALL)
					     : stream_end_response(c->stream);
	if (e != ERR_OK) {
		/* It would show its size. */
		connection_free(c);
	}
	return ERR_OK;
}

enum err
pipe_credit(struct member_gate *g, unsigned worker, const struct msg_conn_credit *m)
{
	bool foreign = false;
	struct connection *c = find(g, worker, m->conn, &foreign);
	if (c == NULL) {
		return foreign ? ERR_FORMAT : ERR_OK;
	}
	if (m->count > CONN_WINDOW - c->to_session) {
		return ERR_FORMAT;
	}
	c->to_session += m->count;
	stream_resume(c->stream);
	return ERR_OK;
}

enum err
pipe_close(struct member_gate *g, unsigned worker, const struct msg_conn_close *m)
{
	bool foreign = false;
	struct connection *c = find(g, worker, m->conn, &foreign);
	if (c != NULL) {
		detach(c);
		stream_close(c->stream);
	}
	return foreign ? ERR_FORMAT : ERR_OK;
}

/*
 * Last words, where a line could stand. In IMAP a literal may be under way, whose octets only the session
 * could count: there they are said to a connection that is quiet, and to no other.
 */
static void
say_goodbye(struct connection *c, bool quiet)
{
	bool imap = c->protocol == IPC_PROTOCOL_IMAP;
	struct bytes words = imap ? BYTES_LIT("* BYE [UNAVAILABLE] Service not available\r\n")
				  : BYTES_LIT("421 4.3.2 Service not available, closing\r\n");
	if (c->line_end && (quiet || !imap)) {
		/* Who takes no more bytes hears the end of the connection instead. */
		(void)!stream_write(c->stream, words);
	}
	stream_close(c->stream);
}

static bool
is_quiet(const struct connection *c)
{
	return loop_now(c->gate->host->loop) - c->active_at >= GATE_QUIET_MS;
}

void
pipe_worker_gone(struct member_gate *g, unsigned worker)
{
	for (struct connection *c = g->all; c != NULL; c = c->next) {
		if (c->joined && c->worker == worker) {
			detach(c);
			say_goodbye(c, is_quiet(c));
		}
	}
}

void
pipe_shutdown(struct connection *c)
{
	if (c->joined && is_quiet(c)) {
		pipe_leave(c);
		say_goodbye(c, true);
	}
}
