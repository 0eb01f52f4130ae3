/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/questions.h"

#include <stdlib.h>

#include "loop/task.h"

enum {
	COUNT_MAX = 200,      /* of one message and kind; SPF and DKIM have limits of their own below it */
	REPLY_MS = 60 * 1000, /* by then the resolver has answered, whatever the DNS does */
	LOOK_AGAIN_MS = 50,   /* for a turn */
};

/* One question under way. It keeps its place until the resolver is done with it, even if nobody waits any more. */
struct question {
	struct mx *mx;
	struct task *task; /* NULL: nobody waits */
	struct buf *reply;
	enum turns_kind kind;
	size_t place;
	bool done;
	enum err status;
};

static void
on_reply(void *arg, enum err status, struct bytes payload)
{
	struct question *q = arg;
	turns_give(&q->mx->turns, q->kind, q->place);
	if (q->task == NULL) {
		free(q);
		return;
	}
	q->status = status == ERR_OK ? buf_append(q->reply, payload) : status;
	q->done = true;
	task_wake(q->task, ERR_OK);
}

/* ERR_TIMEOUT: the others did not leave it a place. */
static enum err
wait_for_turn(struct mx_questions *m, msec until, size_t *ret)
{
	struct mx_connection *c = m->c;
	while (!turns_take(&c->mx->turns, m->kind, c->network, c->network_len, ret)) {
		if (c->gone || loop_now(c->mx->host->loop) >= until) {
			m->troubled = true;
			return ERR_TIMEOUT;
		}
		if (task_sleep(LOOK_AGAIN_MS) != ERR_OK) {
			return ERR_CLOSED;
		}
	}
	return ERR_OK;
}

/* Into m->reply. */
static enum err
ask_resolver(struct mx_questions *m, const struct msg_resolve *what, msec until)
{
	struct mx *mx = m->c->mx;
	struct question *q = calloc(1, sizeof(*q));
	size_t place = 0;
	enum err e = q == NULL ? ERR_MEMORY : wait_for_turn(m, until, &place);
	if (e != ERR_OK) {
		free(q);
		return e;
	}
	struct channel *ch = role_channel(mx->host, ROLE_RESOLVER, 0);
	*q = (struct question){
	    .mx = mx, .task = task_current(), .reply = &m->reply, .kind = m->kind, .place = place};
	e = ch == NULL ? ERR_CLOSED
		       : channel_request(ch, RESOLVE, resolve, what, loop_now(mx->host->loop) + REPLY_MS,
					 on_reply, q);
	if (e != ERR_OK) {
		turns_give(&mx->turns, m->kind, place);
		free(q);
		return ERR_CLOSED;
	}
	while (e == ERR_OK && !q->done) {
		e = task_suspend_until(until);
	}
	if (!q->done) {
		q->task = NULL;
		q->reply = NULL;
		return e;
	}
	e = q->status;
	free(q);
	return e;
}

/* Whether it failed for our sake, and not for that of whose names were asked for. */
static bool
is_ours(const struct mx_questions *m, enum err e)
{
	switch ((int)e) {
	case ERR_OK:
	case ERR_AUTH:  /* bogus */
	case ERR_LIMIT: /* too many of this message */
		return false;
	case ERR_AGAIN:
	case ERR_TIMEOUT:
		return turns_are_short(&m->c->mx->turns, m->kind);
	default:
		return true; /* no resolver, or no room in it */
	}
}

static enum err
ask(void *ctx, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	enum { NO_NAME = 3 };
	struct mx_questions *m = ctx;
	struct msg_resolve what = {
	    .name = name, .type = (uint16_t)type, .strangers = m->kind == TURNS_SENDERS ? 1 : 0};
	struct msg_resolve_reply r;
	msec now = loop_now(m->c->mx->host->loop);
	msec until = m->each > 0 && now + m->each < m->until ? now + m->each : m->until;
	if (m->c->gone) {
		return ERR_CLOSED;
	}
	if (++m->count > COUNT_MAX) {
		return ERR_LIMIT;
	}
	buf_wipe(&m->reply);
	enum err e = now >= until ? ERR_TIMEOUT : ask_resolver(m, &what, until);
	m->troubled = m->troubled || is_ours(m, e);
	if (e == ERR_OK) {
		e = msg_resolve_reply_decode(buf_bytes(&m->reply), &r);
	}
	if (e == ERR_OK) {
		*ret = (struct authentication_answer){
		    .no_name = r.rcode == NO_NAME, .secure = r.secure != 0, .rdata = r.answers};
	}
	return e;
}

struct authentication_dns
mx_questions_start(struct mx_questions *m, struct mx_connection *c)
{
	*m = (struct mx_questions){.c = c, .reply = BUF_INIT(IPC_CHUNK + 1024)};
	return (struct authentication_dns){.ask = ask, .ctx = m};
}

void
mx_questions_turn_to(struct mx_questions *m, enum turns_kind kind, msec all, msec each)
{
	m->kind = kind;
	m->until = loop_now(m->c->mx->host->loop) + all;
	m->each = each;
	m->count = 0;
	m->troubled = false;
}

void
mx_questions_clear(struct mx_questions *m)
{
	buf_wipe(&m->reply);
}
