/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The opener reads, from gate-member, names and passwords as strangers typed them, and from the supervisor
 * what a volunteer typed. It holds the directory's keys and the pepper, and for a moment the keys of
 * those who log in, which it passes to their session's worker and forgets. It has no network and no disk; it
 * starts one thread, for Argon2id. Its capture yields the directory, and the keys of those who log in
 * while it lasts; it can write the directory, so it could also give an address to another account.
 */
#include "opener/opener.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "loop/task.h"
#include "opener/internal.h"
#include "process/log.h"

enum { START_LIMIT_MS = 20 * 1000, STOP_LIMIT_MS = 5 * 1000, STOP_STEP_MS = 20 };

msec
opener_deadline(const struct opener *o)
{
	return loop_now(o->host->loop) + OPENER_CALL_MS;
}

uint32_t
opener_today(void)
{
	return (uint32_t)(clock_wall() / MSEC_DAY);
}

/* ---- the CLI's requests ---- */

struct control_request {
	struct opener *o;
	uint32_t id;
	struct buf request;
};

static void
control_task(void *arg)
{
	struct control_request *q = arg;
	struct opener *o = q->o;
	struct channel *ch = o->host->supervisor;
	struct buf packet = BUF_INIT(CONTROL_ANSWER_MAX + 64);
	uint64_t revision = o->revision;
	o->seen_controls++;
	opener_control(o, buf_bytes(&q->request), &packet);
	if (o->revision != revision) {
		opener_tell_house(o);
	}
	struct msg_control_reply r = {.answer = buf_bytes(&packet)};
	if (channel_reply(ch, CONTROL, control_reply, q->id, &r) != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "an answer to a command could not be given");
	}
	buf_wipe(&packet);
	buf_wipe(&q->request);
	free(q);
}

static void
take_control(struct opener *o, struct channel *ch, const struct channel_message *m)
{
	struct msg_control c;
	if (msg_control_decode(m->payload, &c) != ERR_OK) {
		channel_fault(ch);
		return;
	}
	struct control_request *q = calloc(1, sizeof(*q));
	enum err e = q == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		q->o = o;
		q->id = m->id;
		buf_init(&q->request, CONTROL_REQUEST_MAX);
		e = buf_append(&q->request, c.request);
	}
	if (e == ERR_OK) {
		e = role_spawn(o->host, control_task, q);
	}
	if (e != ERR_OK) {
		if (q != NULL) {
			buf_wipe(&q->request);
			free(q);
		}
		if (channel_answer(ch, m->type, m->id, e) != ERR_OK) {
			channel_end(ch);
		}
	}
}

/* ---- the role ---- */

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	(void)profile;
	struct opener *o = calloc(1, sizeof(*o));
	if (o == NULL) {
		return ERR_MEMORY;
	}
	/* One arena for both threads: counting processors for a second one would need files. */
	(void)mallopt(M_ARENA_MAX, 1);
	o->host = h;
	h->state = o;
	enum err e = throttle_create(clock_monotonic(), &o->throttle);
	return e == ERR_OK ? scram_nonces_create(clock_monotonic(), &o->nonces) : e;
}

static enum err
start(struct role_host *h)
{
	struct opener *o = h->state;
	struct channel *ch = NULL;
	enum err e = work_create(h->loop, &o->work);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "cannot start the thread for passwords: %s", err_text(e));
		return e;
	}
	msec limit = loop_now(h->loop) + START_LIMIT_MS;
	e = purpose_keys_fetch(h, &o->keys);
	if (e == ERR_OK &&
	    (o->keys.key[PURPOSE_DIRECTORY_HASH] == NULL || o->keys.key[PURPOSE_DIRECTORY_SEAL] == NULL ||
	     o->keys.key[PURPOSE_PEPPER] == NULL || o->keys.key[PURPOSE_SCRAM_FAKE] == NULL)) {
		e = ERR_STATE;
	}
	bool again = e == ERR_OK;
	while (again) {
		e = role_wait_channel(h, ROLE_STORE, 0, limit, &ch);
		e = e == ERR_OK ? opener_renew(o) : e;
		/* The store, or the keeper, was restarted in between: its successor is waited for. */
		again = e == ERR_CLOSED && loop_now(h->loop) < limit && task_sleep(STOP_STEP_MS) == ERR_OK;
	}
	return e == ERR_OK ? opener_start_house(o) : e;
}

static void
peer_up(struct role_host *h, struct channel *ch)
{
	struct opener *o = h->state;
	if (channel_peer(ch) == ROLE_GATE_MEMBER) {
		o->gate_lives[channel_peer_index(ch)]++;
	} else if (channel_peer(ch) == ROLE_MIXER) {
		opener_tell_house(o);
	}
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	struct opener *o = h->state;
	bool ready = o->work != NULL && o->keys.key[PURPOSE_PEPPER] != NULL;
	switch ((int)m->type) {
	case MSG_MEMBER_HOLD:
		if (!h->stopping && ready) {
			opener_hold(o, ch, m);
		}
		break;
	case MSG_LOGIN:
	case MSG_SCRAM_FIRST:
	case MSG_SCRAM_FINAL:
	case MSG_CONTROL:
		if (h->stopping || !ready) {
			if (channel_answer(ch, m->type, m->id, ERR_AGAIN) != ERR_OK) {
				channel_end(ch);
			}
		} else if (m->type == MSG_SCRAM_FIRST) {
			opener_scram_first(o, ch, m);
		} else if (m->type == MSG_LOGIN || m->type == MSG_SCRAM_FINAL) {
			opener_login(o, ch, m);
		} else {
			take_control(o, ch, m);
		}
		break;
	default:
		channel_fault(ch);
		break;
	}
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct opener *o = h->state;
	return buf_printf(out,
			  "+logins %llu\n+logins_refused %llu\n+logins_deferred %llu\n=logins_under_way %zu\n"
			  "=passwords_waiting %zu\n+passwords_stretched %llu\n+commands %llu\n"
			  "!sending_held %u\n",
			  (unsigned long long)o->seen_logins, (unsigned long long)o->seen_refused,
			  (unsigned long long)o->seen_deferred, o->logins,
			  o->work == NULL ? 0 : work_count(o->work),
			  (unsigned long long)(o->work == NULL ? 0 : work_total(o->work)),
			  (unsigned long long)o->seen_controls, o->held);
}

static void
stop_task(void *arg)
{
	struct opener *o = arg;
	msec until = loop_now(o->host->loop) + STOP_LIMIT_MS;
	/* Changes under way get their answer; this task itself is one. */
	while (task_count(o->host->loop) > 1 && loop_now(o->host->loop) < until) {
		if (task_sleep(STOP_STEP_MS) != ERR_OK) {
			break;
		}
	}
	role_stopped(o->host);
}

static void
stop(struct role_host *h)
{
	if (role_spawn(h, stop_task, h->state) != ERR_OK) {
		role_stopped(h);
	}
}

const struct role_def opener_role = {
    .id = ROLE_OPENER,
    .sandbox_allow = SANDBOX_THREADS,
    .prepare = prepare,
    .start = start,
    .peer_up = peer_up,
    .message = message,
    .status = status,
    .stop = stop,
};
