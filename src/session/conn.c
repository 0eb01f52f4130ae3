/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/conn.h"

#include <stdlib.h>
#include <string.h>

enum {
	WRITE_PIECE = 64 * 1024,
	WRITE_LIMIT_MS = 10 * 60 * 1000, /* a client that takes nothing for so long is cut off */
	CREDIT_STEP = 16 * 1024, /* told to the gate in steps, so that small commands cost no notice each */
};

static struct conn **
bucket(struct worker *w, unsigned gate, uint32_t id)
{
	return &w->conns[(id * 31U + gate) % WORKER_BUCKETS];
}

static struct channel *
gate_channel(const struct conn *c)
{
	return role_channel(c->worker->host, ROLE_GATE_MEMBER, c->gate);
}

struct conn *
conn_find(const struct worker *w, unsigned gate, uint32_t id)
{
	for (struct conn *c = w->conns[(id * 31U + gate) % WORKER_BUCKETS]; c != NULL; c = c->next) {
		if (c->gate == gate && c->id == id && !c->closed) {
			return c;
		}
	}
	return NULL;
}

static void
unlink_conn(struct conn *c)
{
	struct conn **at = bucket(c->worker, c->gate, c->id);
	while (*at != c) {
		at = &(*at)->next;
	}
	*at = c->next;
	at = &c->member->conns;
	while (*at != c) {
		at = &(*at)->next_of_member;
	}
	*at = c->next_of_member;
	c->member->conn_count--;
	c->worker->conn_count--;
}

static void
conn_free(struct conn *c)
{
	timer_stop(&c->timer);
	c->protocol->destroy(c);
	unlink_conn(c);
	buf_wipe(&c->input);
	member_unref(&c->member);
	free(c);
}

static void
tell_closed(struct conn *c)
{
	struct channel *ch = gate_channel(c);
	struct msg_conn_close m = {.conn = c->id};
	if (ch != NULL && channel_notice(ch, CONN_CLOSE, conn_close, &m) != ERR_OK) {
		channel_end(ch);
	}
}

void
conn_flush(struct conn *c, enum conn_pad pad)
{
	struct channel *ch = gate_channel(c);
	struct msg_conn_flush m = {.conn = c->id, .pad = (uint8_t)pad};
	if (!c->unended || c->closed || ch == NULL) {
		return;
	}
	c->unended = false;
	if (channel_notice(ch, CONN_FLUSH, conn_flush, &m) != ERR_OK) {
		channel_end(ch);
	}
}

static void
serve_task(void *arg)
{
	struct conn *c = arg;
	while (!c->closed && !c->closing && c->woken) {
		c->woken = false;
		c->protocol->serve(c);
		conn_flush(c, CONN_PAD_LADDER);
		c->timed = false;
	}
	c->task = NULL;
	if (c->closing && !c->closed) {
		tell_closed(c);
		c->closed = true;
	}
	if (c->closed) {
		conn_free(c);
	} else if (c->struck) {
		conn_beat(c);
	}
}

/* Runs serve, or lets the running one know. */
static void
call_serve(struct conn *c)
{
	c->woken = true;
	if (c->task == NULL && !c->closed &&
	    task_spawn(c->worker->host->loop, serve_task, c, &c->task) != ERR_OK) {
		/* Too many at once: this connection is given up rather than left hanging. */
		c->task = NULL;
		tell_closed(c);
		c->closed = true;
		conn_free(c);
	}
}

static void
wake_waiter(struct conn *c)
{
	if (c->waiter != NULL) {
		struct task *t = c->waiter;
		c->waiter = NULL;
		task_wake(t, ERR_OK);
	}
}

static void
on_timer(struct timer *t)
{
	struct conn *c = t->arg;
	c->timed = true;
	call_serve(c);
}

enum err
conn_open(struct worker *w, unsigned gate, uint32_t id, struct member *m,
	  const struct conn_protocol *protocol, uint8_t kind, bool extended)
{
	if (conn_find(w, gate, id) != NULL || m->closed || m->conn_count >= WORKER_CONNECTIONS_PER_MEMBER) {
		enum err e = conn_find(w, gate, id) != NULL ? ERR_EXISTS : ERR_LIMIT;
		member_unref(&m);
		return e;
	}
	struct conn *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		member_unref(&m);
		return ERR_MEMORY;
	}
	c->worker = w;
	c->member = m;
	c->protocol = protocol;
	c->gate = gate;
	c->id = id;
	c->kind = kind;
	c->extended = extended;
	c->window = CONN_WINDOW;
	buf_init(&c->input, CONN_WINDOW);
	timer_init(&c->timer, on_timer, c);
	enum err e = protocol->open(c);
	if (e != ERR_OK) {
		member_unref(&m);
		free(c);
		return e;
	}
	c->next = *bucket(w, gate, id);
	*bucket(w, gate, id) = c;
	c->next_of_member = m->conns;
	m->conns = c;
	m->conn_count++;
	w->conn_count++;
	w->seen_connections++;
	call_serve(c);
	return ERR_OK;
}

enum err
conn_data(struct conn *c, struct bytes data)
{
	/* On the way, taken and not yet credited, and waiting here: all of it is within one window. */
	if (data.len > (size_t)CONN_WINDOW - c->input.len) {
		return ERR_LIMIT;
	}
	enum err e = buf_append(&c->input, data);
	if (e != ERR_OK) {
		return e;
	}
	wake_waiter(c);
	call_serve(c);
	return ERR_OK;
}

enum err
conn_credit(struct conn *c, uint32_t count)
{
	if (count > CONN_WINDOW - c->window) {
		return ERR_LIMIT;
	}
	c->window += count;
	wake_waiter(c);
	return ERR_OK;
}

void
conn_gone(struct conn *c)
{
	if (c->closed) {
		return;
	}
	c->closed = true;
	wake_waiter(c);
	if (c->task == NULL) {
		conn_free(c);
	}
}

void
conn_gate_gone(struct worker *w, unsigned gate)
{
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		struct conn *c = w->conns[i];
		while (c != NULL) {
			struct conn *next = c->next;
			if (c->gate == gate) {
				conn_gone(c);
			}
			c = next;
		}
	}
}

bool
conn_is_closed(const struct conn *c)
{
	return c->closed || c->closing;
}

enum err
conn_take(struct conn *c, struct buf *ret)
{
	enum err e = ERR_OK;
	if (ret->len == 0 && ret->ptr == NULL && c->input.max == ret->max) {
		*ret = c->input;
		buf_init(&c->input, ret->max);
		return ERR_OK;
	}
	e = buf_append(ret, buf_bytes(&c->input));
	if (e == ERR_OK) {
		buf_wipe(&c->input);
	}
	return e;
}

size_t
conn_available(const struct conn *c)
{
	return c->input.len;
}

void
conn_consumed(struct conn *c, size_t n)
{
	struct channel *ch = gate_channel(c);
	c->uncredited += n;
	if (c->closed || ch == NULL || c->uncredited < CREDIT_STEP) {
		return;
	}
	struct msg_conn_credit m = {.conn = c->id, .count = (uint32_t)c->uncredited};
	c->uncredited = 0;
	if (channel_notice(ch, CONN_CREDIT, conn_credit, &m) != ERR_OK) {
		channel_end(ch);
	}
}

/* Suspends until something of this connection changes. */
static enum err
wait(struct conn *c, msec deadline)
{
	c->waiter = task_current();
	enum err e = deadline == 0 ? task_suspend() : task_suspend_until(deadline);
	c->waiter = NULL;
	return c->closed ? ERR_CLOSED : e;
}

enum err
conn_wait(struct conn *c, msec deadline)
{
	while (c->input.len == 0) {
		if (c->closed) {
			return ERR_CLOSED;
		}
		conn_flush(c, CONN_PAD_LADDER);
		enum err e = wait(c, deadline);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

enum err
conn_write(struct conn *c, struct bytes data)
{
	msec limit = loop_now(c->worker->host->loop) + WRITE_LIMIT_MS;
	while (data.len > 0) {
		struct channel *ch = gate_channel(c);
		if (c->closed || ch == NULL) {
			return ERR_CLOSED;
		}
		if (c->window == 0) {
			enum err e = wait(c, limit);
			if (e != ERR_OK) {
				if (e == ERR_TIMEOUT) {
					c->closing = true;
				}
				return e;
			}
			continue;
		}
		size_t n = data.len < WRITE_PIECE ? data.len : WRITE_PIECE;
		n = n < c->window ? n : c->window;
		struct msg_conn_data m = {.conn = c->id, .data = bytes_slice(data, 0, n)};
		enum err e = channel_notice(ch, CONN_DATA, conn_data, &m);
		if (e != ERR_OK) {
			c->closing = true;
			return e;
		}
		c->window -= n;
		c->unended = true;
		data = bytes_from(data, n);
	}
	return c->closed ? ERR_CLOSED : ERR_OK;
}

enum err
conn_write_beat(struct conn *c, struct bytes data)
{
	struct channel *ch = gate_channel(c);
	struct msg_conn_data m = {.conn = c->id, .data = data};
	if (c->closed || ch == NULL) {
		return ERR_CLOSED;
	}
	if (data.len == 0 || data.len > CONN_BEAT_MAX || c->unended) {
		return ERR_LIMIT;
	}
	if (c->window < data.len) {
		return ERR_OK;
	}
	enum err e = channel_notice(ch, CONN_DATA, conn_data, &m);
	if (e == ERR_OK) {
		c->window -= data.len;
		c->unended = true;
		conn_flush(c, CONN_PAD_BEAT);
	}
	return e;
}

void
conn_beat(struct conn *c)
{
	c->struck = c->task != NULL;
	if (c->protocol->beat != NULL && c->task == NULL && !c->closed && !c->closing) {
		c->protocol->beat(c);
	}
}

void
conn_wake(struct conn *c)
{
	if (!c->closed && !c->closing) {
		call_serve(c);
	}
}

void
conn_deadline(struct conn *c, msec deadline)
{
	if (deadline == 0) {
		timer_stop(&c->timer);
	} else if (timer_start(c->worker->host->loop, &c->timer, deadline) != ERR_OK) {
		conn_close(c);
	}
}

void
conn_close(struct conn *c)
{
	if (c->closed || c->closing) {
		return;
	}
	c->closing = true;
	if (c->task == NULL) {
		tell_closed(c);
		c->closed = true;
		conn_free(c);
	}
}
