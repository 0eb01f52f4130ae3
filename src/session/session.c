/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. A session worker holds the keys of those members who are online in it, and reads what they type after
 * login (IMAP, submission), what the store says of their logs (believed only where their keys bear it out), and the mail of
 * strangers, which gates have parsed and this worker parses again only inside bounded libraries. It has no file and no
 * network: members' bytes come through gate-member. Its capture yields the mail of the members who are online in this
 * worker, and the names in the directory; not the members of other workers.
 */
#include "session/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "mail/charset.h"
#include "process/log.h"
#include "session/beat.h"
#include "session/conn.h"
#include "session/imap.h"
#include "session/member.h"
#include "session/sending.h"
#include "session/submission.h"
#include "session/worker.h"

enum { START_LIMIT_MS = 20 * 1000, UPKEEP_MS = 5 * 1000, STOP_LIMIT_MS = 5 * 1000, STOP_AT_ONCE = 4 };

/* ---- tokens ---- */

static void
token_free(struct worker *w, struct token **at)
{
	struct token *t = *at;
	*at = t->next;
	member_unref(&t->member);
	secret_wipe(t, sizeof(*t));
	free(t);
	w->token_count--;
}

static void
drop_old_tokens(struct worker *w, msec now)
{
	struct token **at = &w->tokens;
	while (*at != NULL) {
		if ((*at)->until <= now) {
			token_free(w, at);
		} else {
			at = &(*at)->next;
		}
	}
}

/* The member behind a token, whose reference the caller takes over; NULL where there is none. A token serves once. */
static struct member *
take_token(struct worker *w, const uint8_t token[IPC_TOKEN])
{
	drop_old_tokens(w, loop_now(w->host->loop));
	for (struct token **at = &w->tokens; *at != NULL; at = &(*at)->next) {
		if (secret_equal((*at)->token, token, IPC_TOKEN)) {
			struct member *m = (*at)->member;
			member_ref(m);
			token_free(w, at);
			return m;
		}
	}
	return NULL;
}

/* ---- messages ---- */

/* ---- a slot list that her log is to know, though she is not here ---- */

struct commit {
	struct worker *worker;
	struct member *member; /* holds one reference */
	uint32_t id;
	unsigned life;
};

static void
commit_task(void *arg)
{
	struct commit *c = arg;
	struct worker *w = c->worker;
	enum err e = member_ready(c->member);
	e = e != ERR_OK && c->member->outdated ? ERR_CONFLICT : e;
	member_unref(&c->member);
	struct channel *ch = role_channel(w->host, ROLE_OPENER, 0);
	if (ch != NULL && c->life == w->opener_life &&
	    channel_answer(ch, MSG_MEMBER_OPEN, c->id, e) != ERR_OK) {
		channel_end(ch);
	}
	free(c);
}

/* Takes over the reference. */
static enum err
begin_commit(struct worker *w, struct member *member, uint32_t id)
{
	struct commit *c = calloc(1, sizeof(*c));
	enum err e = c == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		*c = (struct commit){.worker = w, .member = member, .id = id, .life = w->opener_life};
		e = role_spawn(w->host, commit_task, c);
	}
	if (e != ERR_OK) {
		member_unref(&member);
		free(c);
	}
	return e;
}

static enum err
on_member_open(struct worker *w, struct channel *ch, const struct channel_message *m)
{
	struct msg_member_open q;
	struct member *member = NULL;
	if (msg_member_open_decode(m->payload, &q) != ERR_OK || q.commit > 1) {
		return ERR_FORMAT;
	}
	drop_old_tokens(w, loop_now(w->host->loop));
	if (w->token_count >= WORKER_TOKENS_MAX) {
		return ERR_AGAIN;
	}
	enum err e = member_open(w, &q, &member);
	if (e != ERR_OK) {
		return e;
	}
	if (q.commit == 1) {
		return begin_commit(w, member, m->id);
	}
	struct token *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		member_unref(&member);
		return ERR_MEMORY;
	}
	memcpy(t->token, q.token, sizeof(t->token));
	t->until = loop_now(w->host->loop) + WORKER_TOKEN_MS;
	t->member = member;
	t->next = w->tokens;
	w->tokens = t;
	w->token_count++;
	return channel_answer(ch, MSG_MEMBER_OPEN, m->id, ERR_OK);
}

static enum err
on_member_close(struct worker *w, struct channel *ch, const struct channel_message *m)
{
	struct msg_member_close q;
	if (msg_member_close_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct token **at = &w->tokens;
	while (*at != NULL) {
		if (memcmp((*at)->member->account, q.account, SEALED_ID_LEN) == 0) {
			token_free(w, at);
		} else {
			at = &(*at)->next;
		}
	}
	struct member *member = member_find(w, q.account);
	if (member != NULL) {
		member_close(member);
	}
	return channel_answer(ch, MSG_MEMBER_CLOSE, m->id, ERR_OK);
}

static void
refuse_conn(struct channel *ch, uint32_t id)
{
	struct msg_conn_close m = {.conn = id};
	if (channel_notice(ch, CONN_CLOSE, conn_close, &m) != ERR_OK) {
		channel_end(ch);
	}
}

static enum err
on_conn_open(struct worker *w, struct channel *ch, const struct channel_message *m)
{
	struct msg_conn_open q;
	if (msg_conn_open_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	const struct conn_protocol *protocol = q.protocol == IPC_PROTOCOL_IMAP         ? &imap_protocol
					       : q.protocol == IPC_PROTOCOL_SUBMISSION ? &submission_protocol
										       : NULL;
	if (protocol == NULL) {
		return ERR_FORMAT;
	}
	struct member *member = take_token(w, q.token);
	if (member == NULL) {
		/* Late, or the member was closed in between. */
		refuse_conn(ch, q.conn);
		return ERR_OK;
	}
	enum err e =
	    conn_open(w, channel_peer_index(ch), q.conn, member, protocol, q.protocol, q.extended != 0);
	if (e == ERR_EXISTS) {
		return ERR_FORMAT;
	}
	if (e != ERR_OK) {
		refuse_conn(ch, q.conn);
	}
	return ERR_OK;
}

static enum err
on_conn_data(struct worker *w, struct channel *ch, const struct channel_message *m)
{
	struct msg_conn_data q;
	if (msg_conn_data_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct conn *c = conn_find(w, channel_peer_index(ch), q.conn);
	if (c == NULL) {
		return ERR_OK; /* closed here a moment ago */
	}
	enum err e = conn_data(c, q.data);
	if (e == ERR_MEMORY) {
		conn_gone(c);
		refuse_conn(ch, q.conn);
		return ERR_OK;
	}
	return e == ERR_LIMIT ? ERR_FORMAT : e;
}

static enum err
on_conn_credit(struct worker *w, struct channel *ch, const struct channel_message *m)
{
	struct msg_conn_credit q;
	if (msg_conn_credit_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct conn *c = conn_find(w, channel_peer_index(ch), q.conn);
	return c == NULL || conn_credit(c, q.count) == ERR_OK ? ERR_OK : ERR_FORMAT;
}

static enum err
on_conn_close(struct worker *w, struct channel *ch, const struct channel_message *m)
{
	struct msg_conn_close q;
	if (msg_conn_close_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct conn *c = conn_find(w, channel_peer_index(ch), q.conn);
	if (c != NULL) {
		conn_gone(c);
	}
	return ERR_OK;
}

static enum err
on_log_changed(struct worker *w, struct channel *ch, const struct channel_message *m)
{
	struct msg_log_changed q;
	(void)ch;
	if (msg_log_changed_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct member *member = member_find(w, q.account);
	if (member != NULL) {
		member_log_changed(member, q.n);
	}
	return ERR_OK;
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	static const struct {
		enum msg_type type;
		enum err (*fn)(struct worker *w, struct channel *ch, const struct channel_message *m);
		bool answered;
	} table[] = {
	    {MSG_MEMBER_OPEN, on_member_open, true},  {MSG_MEMBER_CLOSE, on_member_close, true},
	    {MSG_CONN_OPEN, on_conn_open, false},     {MSG_CONN_DATA, on_conn_data, false},
	    {MSG_CONN_CREDIT, on_conn_credit, false}, {MSG_CONN_CLOSE, on_conn_close, false},
	    {MSG_LOG_CHANGED, on_log_changed, false},
	};
	struct worker *w = h->state;
	enum err e = ERR_FORMAT;
	bool answered = false;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].type == m->type) {
			answered = table[i].answered;
			e = table[i].fn(w, ch, m);
			break;
		}
	}
	if (e == ERR_FORMAT) {
		channel_fault(ch);
	} else if (e != ERR_OK && (!answered || channel_answer(ch, m->type, m->id, e) != ERR_OK)) {
		channel_end(ch);
	}
}

/* ---- life ---- */

static void
on_upkeep(struct timer *t)
{
	struct worker *w = t->arg;
	drop_old_tokens(w, loop_now(w->host->loop));
	member_upkeep(w);
	sending_upkeep(w);
	if (timer_start_after(w->host->loop, t, UPKEEP_MS) != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "the worker's upkeep cannot be scheduled");
	}
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	(void)profile;
	struct worker *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return ERR_MEMORY;
	}
	w->host = h;
	w->progress_ms = IMAP_PROGRESS_MS;
	w->stream_ms = IMAP_STREAM_MS;
	h->state = w;
	timer_init(&w->upkeep, on_upkeep, w);
	beat_init(w);
	/* Converters are files: there are none any more once the root is empty. */
	mail_charset_preload();
	return blob_codec_create(&w->codec);
}

static enum err
start(struct role_host *h)
{
	struct worker *w = h->state;
	struct channel *ch = NULL;
	msec limit = loop_now(h->loop) + START_LIMIT_MS;
	enum err e = purpose_keys_fetch(h, &w->keys);
	if (e == ERR_OK) {
		e = role_wait_channel(h, ROLE_STORE, 0, limit, &ch);
	}
	if (e == ERR_OK) {
		e = role_wait_channel(h, ROLE_MIXER, 0, limit, &ch);
	}
	if (e == ERR_OK) {
		sending_load(w);
		e = timer_start_after(h->loop, &w->upkeep, UPKEEP_MS);
	}
	return e == ERR_OK ? beat_start(w) : e;
}

static void
peer_up(struct role_host *h, struct channel *ch)
{
	struct worker *w = h->state;
	w->opener_life += channel_peer(ch) == ROLE_OPENER ? 1 : 0;
	if (channel_peer(ch) != ROLE_STORE) {
		return;
	}
	/* Notices of change may have been lost while the store was away. */
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		for (struct member *m = w->members[i]; m != NULL; m = m->next) {
			member_log_changed(m, UINT64_MAX);
		}
	}
}

static void
peer_down(struct role_host *h, enum role peer, unsigned index)
{
	if (peer == ROLE_GATE_MEMBER) {
		conn_gate_gone(h->state, index);
	}
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct worker *w = h->state;
	return buf_printf(out,
			  "=connections_open %zu\n=members_online %zu\n+connections %llu\n+commands %llu\n"
			  "+beats %llu\n+filed %llu\n!damaged %llu\n+sending_put_off %llu\n=tasks %zu\n",
			  w->conn_count, w->member_count, (unsigned long long)w->seen_connections,
			  (unsigned long long)w->seen_commands, (unsigned long long)w->seen_beats,
			  (unsigned long long)w->seen_filed, (unsigned long long)w->seen_damaged,
			  (unsigned long long)w->seen_put_off, task_count(h->loop));
}

/* Until no more tasks than that are left, this one included. False past the limit. */
static bool
wait_tasks(struct role_host *h, size_t most, msec limit)
{
	while (task_count(h->loop) > most) {
		if (loop_now(h->loop) >= limit || task_sleep(10) != ERR_OK) {
			return false;
		}
	}
	return true;
}

static void
stop_task(void *arg)
{
	struct worker *w = arg;
	struct role_host *h = w->host;
	msec limit = loop_now(h->loop) + STOP_LIMIT_MS;
	timer_stop(&w->upkeep);
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		for (struct conn *c = w->conns[i]; c != NULL; c = c->next) {
			conn_wake(c);
		}
	}
	/* What is under way gets its answer; this task is one of those counted. */
	bool going = wait_tasks(h, 1, limit);
	sending_save(w);
	for (size_t i = 0; i < WORKER_BUCKETS && going; i++) {
		struct member *m = w->members[i];
		while (m != NULL && going) {
			member_ref(m);
			member_snapshot_consider(m, SNAPSHOT_LEAVING);
			going = wait_tasks(h, STOP_AT_ONCE, limit);
			struct member *next = m->next;
			member_unref(&m);
			m = next;
		}
	}
	(void)(going && wait_tasks(h, 1, limit));
	sending_clear(w);
	role_stopped(h);
}

static void
stop(struct role_host *h)
{
	if (role_spawn(h, stop_task, h->state) != ERR_OK) {
		role_stopped(h);
	}
}

const struct role_def session_role = {
    .id = ROLE_SESSION,
    .prepare = prepare,
    .start = start,
    .peer_up = peer_up,
    .peer_down = peer_down,
    .message = message,
    .status = status,
    .stop = stop,
};
