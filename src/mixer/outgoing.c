/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Released courier parts: handed over, their blobs passed on, the courier's verdict stored. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "mixer/room.h"
#include "process/log.h"

void
outgoing_add(struct mixer *m, struct unit *u, uint32_t part, uint64_t batch)
{
	struct work *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		panic("no memory for a part that is on disk");
	}
	w->unit = u;
	w->part = part;
	w->batch = batch;
	u->works++;
	*m->works_end = w;
	m->works_end = &w->next;
	for (struct held **at = &m->held; *at != NULL; at = &(*at)->next) {
		struct held *h = *at;
		if (h->part == part && memcmp(h->id, u->id, IPC_UNIT) == 0) {
			w->sent = true;
			m->works_sent++;
			*at = h->next;
			free(h);
			break;
		}
	}
}

void
outgoing_forget_held(struct mixer *m)
{
	while (m->held != NULL) {
		struct held *h = m->held;
		m->held = h->next;
		free(h);
	}
}

void
outgoing_forget(struct mixer *m)
{
	while (m->works != NULL) {
		struct work *w = m->works;
		m->works = w->next;
		struct held *h = w->sent ? calloc(1, sizeof(*h)) : NULL;
		if (h != NULL) {
			/* Without memory it is handed over once more: delivered twice rather than not at all. */
			memcpy(h->id, w->unit->id, sizeof(h->id));
			h->part = w->part;
			h->next = m->held;
			m->held = h;
		}
		free(w);
	}
	m->works_end = &m->works;
	m->works_sent = 0;
}

static struct work *
find(struct mixer *m, const uint8_t id[IPC_UNIT], uint32_t part)
{
	for (struct work *w = m->works; w != NULL; w = w->next) {
		if (w->part == part && memcmp(w->unit->id, id, IPC_UNIT) == 0) {
			return w;
		}
	}
	return NULL;
}

static void
remove_work(struct mixer *m, const struct work *gone)
{
	for (struct work **at = &m->works; *at != NULL; at = &(*at)->next) {
		struct work *w = *at;
		if (w == gone) {
			*at = w->next;
			if (w->next == NULL) {
				m->works_end = at;
			}
			m->works_sent -= w->sent ? 1 : 0;
			w->unit->works--;
			free(w);
			return;
		}
	}
}

void
outgoing_forget_unit(struct mixer *m, const struct unit *u)
{
	for (struct work *w = m->works; w != NULL && u->works > 0;) {
		struct work *next = w->next;
		if (w->unit == u) {
			remove_work(m, w);
		}
		w = next;
	}
}

void
outgoing_courier_gone(struct mixer *m)
{
	for (struct work *w = m->works; w != NULL; w = w->next) {
		w->sent = false;
	}
	m->works_sent = 0;
	outgoing_forget_held(m);
}

/* By the age clock. Until then it waited for others: no attempt has failed, and nobody is late. */
static msec
first_release(const struct unit *u)
{
	return u->state.due > u->state.entered ? u->state.due : u->state.entered;
}

/*
 * When the next attempt is due, after one more failure; counts it. Attempts that would have been made meanwhile (the house was
 * shut, the tick was late) are counted and not made up for: five at once are worth no more than one. LAW_NEVER: none.
 */
static msec
next_attempt(const struct mixer *m, const struct unit *u, uint32_t *attempts)
{
	msec now = room_now(m).age;
	msec due = LAW_NEVER;
	do {
		(*attempts)++;
		due = law_retry_at(*attempts, first_release(u), m->host->config.retry_give_up);
	} while (due != LAW_NEVER && due <= now);
	return due;
}

/* Whether another attempt may go better by itself. */
static bool
is_temporary(enum err e)
{
	return e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_AGAIN || e == ERR_MEMORY || e == ERR_IO ||
	       e == ERR_FULL;
}

static enum err
hand_over(struct mixer *m, const uint8_t id[IPC_UNIT], uint32_t number)
{
	struct msg_spool_part_get q = {.part = number};
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX + 64);
	struct msg_spool_part_get_reply part;
	memcpy(q.unit, id, sizeof(q.unit));
	enum err e = channel_call(role_channel(m->host, ROLE_STORE, 0), SPOOL_PART_GET, spool_part_get, &q,
				  loop_now(m->host->loop) + ROOM_LIMIT_MS, &reply);
	if (e == ERR_OK) {
		e = msg_spool_part_get_reply_decode(buf_bytes(&reply), &part);
	}
	struct work *w = find(m, id, number);
	struct channel *courier = role_channel(m->host, ROLE_COURIER, 0);
	if (e == ERR_OK && w != NULL && !w->sent && courier != NULL) {
		const struct unit *u = w->unit;
		const struct spool_part *p = room_part(w->unit, number);
		msec age = room_now(m).age - first_release(u);
		uint32_t attempts = p->attempts;
		struct msg_courier_work work = {
		    .part = number,
		    .epoch = p->epoch,
		    .attempt = p->attempts,
		    .age = age < 0 ? 0 : (uint64_t)age,
		    .warned = (p->flags & PART_WARNED) != 0,
		    .last = next_attempt(m, u, &attempts) == LAW_NEVER,
		    /* Of an older form: as good as any day, and the same for all. */
		    .left = (uint64_t)(u->state.left > 0 ? u->state.left : u->state.wall_entered),
		    .batch_id = w->batch,
		    .size_class = u->state.size_class,
		    .is_void = u->state.is_void,
		    .crowd = u->state.crowd,
		    .batch = u->state.batch,
		    .strange = (u->state.flags & STATE_FORWARDED) != 0,
		    .body = part.body};
		memcpy(work.unit, id, sizeof(work.unit));
		e = channel_notice(courier, COURIER_WORK, courier_work, &work);
		if (e == ERR_OK) {
			w->sent = true;
			m->works_sent++;
		}
	}
	buf_wipe(&reply);
	if (w != NULL && !w->sent && e != ERR_OK && !is_temporary(e)) {
		/* It must not stand in the way of all that come behind it. */
		log_event(
		    LOG_LEVEL_ERROR,
		    "a part that waits to leave cannot be handed over (%s) and stays where it is. Remedy: "
		    "`cohue check`",
		    err_text(e));
		m->seen_failures++;
		remove_work(m, w);
		e = ERR_OK;
	}
	return e;
}

static void
hand_task(void *arg)
{
	struct mixer *m = arg;
	bool more = true;
	while (more && !m->host->stopping) {
		more = false;
		if (m->works_sent >= ROOM_WORK_MAX || role_channel(m->host, ROLE_COURIER, 0) == NULL) {
			break;
		}
		for (struct work *w = m->works; w != NULL; w = w->next) {
			if (!w->sent) {
				uint8_t id[IPC_UNIT];
				memcpy(id, w->unit->id, sizeof(id));
				/* On failure the store or the courier is away; their return kicks again. */
				more = hand_over(m, id, w->part) == ERR_OK;
				break;
			}
		}
	}
	m->handing = false;
}

void
outgoing_kick(struct mixer *m)
{
	if (m->handing || m->works == NULL || !m->loaded) {
		return;
	}
	m->handing = true;
	if (role_spawn(m->host, hand_task, m) != ERR_OK) {
		m->handing = false;
	}
}

/* ---- what the courier asks ---- */

struct blob_relay {
	struct mixer *m;
	uint64_t serial; /* of the courier's channel */
	uint32_t id;
};

static void
on_blob(void *arg, enum err status, struct bytes payload)
{
	struct blob_relay *r = arg;
	struct channel *ch = role_channel(r->m->host, ROLE_COURIER, 0);
	struct msg_blob_get_reply got;
	if (ch != NULL && channel_serial(ch) == r->serial) {
		enum err e;
		if (status == ERR_OK && msg_blob_get_reply_decode(payload, &got) == ERR_OK) {
			struct msg_courier_blob_reply reply = {.chunks = got.chunks};
			e = channel_reply(ch, COURIER_BLOB, courier_blob_reply, r->id, &reply);
		} else {
			e = channel_answer(ch, MSG_COURIER_BLOB, r->id,
					   status == ERR_OK ? ERR_DAMAGED : status);
		}
		if (e != ERR_OK) {
			channel_end(ch);
		}
	}
	free(r);
}

void
outgoing_blob(struct mixer *m, struct channel *ch, const struct channel_message *msg)
{
	struct msg_courier_blob q;
	if (msg_courier_blob_decode(msg->payload, &q) != ERR_OK) {
		channel_fault(ch);
		return;
	}
	struct work *w = find(m, q.unit, q.part);
	const struct spool_part *p = w == NULL ? NULL : room_part(w->unit, q.part);
	struct channel *store = role_channel(m->host, ROLE_STORE, 0);
	enum err e = ERR_OK;
	if (p == NULL || !w->sent || memcmp(p->blob, q.blob, sizeof(q.blob)) != 0) {
		/* Only the blobs of work at hand. */
		e = ERR_DENIED;
	} else if (store == NULL) {
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		struct blob_relay *r = calloc(1, sizeof(*r));
		struct msg_blob_get get = {.first = q.first, .count = q.count};
		memcpy(get.blob, q.blob, sizeof(get.blob));
		e = r == NULL ? ERR_MEMORY : ERR_OK;
		if (e == ERR_OK) {
			*r = (struct blob_relay){.m = m, .serial = channel_serial(ch), .id = msg->id};
			e = channel_request(store, BLOB_GET, blob_get, &get, 0, on_blob, r);
		}
		if (e != ERR_OK) {
			free(r);
		}
	}
	if (e != ERR_OK && channel_answer(ch, msg->type, msg->id, e) != ERR_OK) {
		channel_end(ch);
	}
}

/* ---- the verdict ---- */

struct verdict {
	struct mixer *m;
	uint64_t serial; /* of the courier's channel */
	uint32_t id;
	struct buf payload; /* the message, kept while the task waits */
};

struct notice {
	uint8_t id[IPC_UNIT];
	struct spool_state state;
};

enum { JOURNAL_LINES_MAX = 8 };

/* Into the author's log, and nobody else's. */
static enum err
write_journal(const uint8_t account[IPC_ACCOUNT], struct bytes lines, struct wire_writer *w)
{
	struct wire_reader r;
	enum err e = ERR_OK;
	wire_reader_init(&r, lines);
	for (unsigned i = 0; r.rest.len > 0 && e == ERR_OK; i++) {
		struct bytes sealed = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
		e = r.error != ERR_OK || i >= JOURNAL_LINES_MAX ? ERR_FORMAT
								: mixer_journal_op(account, sealed, w);
	}
	return e;
}

static enum err
write_verdict(struct mixer *m, const struct msg_courier_verdict *v, const struct unit *u,
	      struct spool_part *after, struct arena *arena, struct wire_writer *w, struct notice *ret_notice)
{
	enum err e = ERR_OK;
	struct buf sealed = BUF_INIT(SPOOL_STATE_MAX);
	if (v->notices.len > 0) {
		e = mixer_notice_op(m, v->notices, arena, ret_notice->id, &ret_notice->state, w);
	}
	if (e == ERR_OK && u->state.sender_kind == SPOOL_SENDER_ACCOUNT) {
		e = write_journal(u->state.sender, v->journal, w);
	}
	bool last = u->state.part_count == 1;
	if (e == ERR_OK && v->again == 0) {
		wire_put_u8(w, SPOOL_OP_BLOB_DELETE);
		wire_put_fixed(w, after->blob, IPC_BLOB);
		wire_put_u8(w, last ? SPOOL_OP_DELETE : SPOOL_OP_PART_DELETE);
		wire_put_fixed(w, u->id, IPC_UNIT);
		if (!last) {
			wire_put_u32(w, v->part);
		}
	}
	if (e == ERR_OK && v->again != 0 && v->body.len > 0) {
		wire_put_u8(w, SPOOL_OP_PART_PUT);
		wire_put_fixed(w, u->id, IPC_UNIT);
		wire_put_u32(w, v->part);
		wire_put_bytes(w, v->body);
	}
	if (e == ERR_OK && (v->again != 0 || !last)) {
		struct spool_state state = u->state;
		state.parts = arena_array(arena, u->state.part_count, sizeof(*state.parts));
		state.part_count = 0;
		for (size_t i = 0; state.parts != NULL && i < u->state.part_count; i++) {
			if (u->state.parts[i].number != v->part) {
				state.parts[state.part_count++] = u->state.parts[i];
			} else if (v->again != 0) {
				state.parts[state.part_count++] = *after;
			}
		}
		e = state.parts == NULL ? ERR_MEMORY : room_seal(m, u->id, &state, &sealed);
		wire_put_u8(w, SPOOL_OP_STATE);
		wire_put_fixed(w, u->id, IPC_UNIT);
		wire_put_bytes(w, buf_bytes(&sealed));
	}
	buf_clear(&sealed);
	return e == ERR_OK ? wire_done(w) : e;
}

/* A member's letter at its destination: void for size where that showed. Once, when the verdict is on disk. */
static void
count_delivery(struct mixer *m, const struct unit *u, const struct msg_courier_verdict *v)
{
	if (u->state.sender_kind == SPOOL_SENDER_ACCOUNT && (u->state.flags & STATE_FORWARDED) == 0 &&
	    v->delivery != IPC_DELIVERY_NONE) {
		const struct live_sums sums = {.taken = 1, .shown = v->delivery != IPC_DELIVERY_HIDDEN};
		live_add(&m->live, room_now(m).wall, &sums);
	}
}

static enum err
store_verdict(struct mixer *m, const struct msg_courier_verdict *v)
{
	enum { POLL_MS = 5 };
	struct work *work = find(m, v->unit, v->part);
	/* The unit's state is sealed as a whole: two verdicts at once would each undo the other's. */
	while (m->loaded && work != NULL && work->unit->judged) {
		enum err e = task_sleep(POLL_MS);
		if (e != ERR_OK) {
			return e;
		}
		work = find(m, v->unit, v->part);
	}
	if (!m->loaded) {
		return ERR_AGAIN;
	}
	if (work == NULL) {
		/* Said twice, or of an earlier life. */
		return ERR_OK;
	}
	uint64_t generation = m->generation;
	struct unit *u = work->unit;
	u->judged = true;
	struct spool_part after = *room_part(u, v->part);
	msec due = next_attempt(m, u, &after.attempts);
	after.flags |= v->warned != 0 ? PART_WARNED : 0;
	/* The courier was told that an attempt is the last one; if it still wants another, it gets one hour. */
	after.due = due == LAW_NEVER ? room_now(m).age + MSEC_HOUR : due;
	struct arena arena;
	struct wire_writer w;
	struct notice notice;
	struct buf ops = BUF_INIT(IPC_PAYLOAD_MAX - 64);
	arena_init(&arena, 1 << 20);
	wire_writer_init(&w, &ops);
	enum err e = write_verdict(m, v, u, &after, &arena, &w, &notice);
	if (e == ERR_OK) {
		e = room_batch(m, buf_bytes(&ops));
	}
	/* What waits may have been loaded anew meanwhile, with what this verdict changed. */
	bool same = m->generation == generation;
	if (same) {
		u->judged = false;
	}
	work = same ? find(m, v->unit, v->part) : NULL;
	if (e == ERR_OK && work != NULL) {
		remove_work(m, work);
		count_delivery(m, u, v);
		if (v->notices.len > 0 && room_enter(m, notice.id, &notice.state) != ERR_OK) {
			panic("no memory for a unit that is on disk");
		}
		if (v->again != 0) {
			*room_part(u, v->part) = after;
			if (room_wait_part(m, u, &after) != ERR_OK) {
				panic("no memory for a part that is on disk");
			}
		} else if (room_drop_part(u, v->part)) {
			room_remove(m, u);
		}
	}
	arena_clear(&arena);
	buf_wipe(&ops);
	return e;
}

static void
verdict_task(void *arg)
{
	struct verdict *t = arg;
	struct mixer *m = t->m;
	struct msg_courier_verdict v;
	enum { PAUSE_MS = 200 };
	msec until = loop_now(m->host->loop) + ROOM_LIMIT_MS;
	enum err e = msg_courier_verdict_decode(buf_bytes(&t->payload), &v);
	if (e == ERR_OK) {
		e = store_verdict(m, &v);
	}
	/* What was delivered must not be forgotten because the store restarts or the disk is full for a moment. */
	while (is_temporary(e) && !m->host->stopping && loop_now(m->host->loop) < until &&
	       task_sleep(PAUSE_MS) == ERR_OK) {
		e = store_verdict(m, &v);
	}
	struct channel *ch = role_channel(m->host, ROLE_COURIER, 0);
	if (ch != NULL && channel_serial(ch) == t->serial) {
		if (e == ERR_FORMAT) {
			channel_fault(ch);
		} else if (channel_answer(ch, MSG_COURIER_VERDICT, t->id, e) != ERR_OK) {
			channel_end(ch);
		}
	}
	buf_wipe(&t->payload);
	free(t);
	outgoing_kick(m);
}

void
outgoing_verdict(struct mixer *m, struct channel *ch, const struct channel_message *msg)
{
	struct verdict *t = calloc(1, sizeof(*t));
	enum err e = t == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		*t = (struct verdict){.m = m,
				      .serial = channel_serial(ch),
				      .id = msg->id,
				      .payload = BUF_INIT(IPC_PAYLOAD_MAX)};
		e = buf_append(&t->payload, msg->payload);
	}
	if (e == ERR_OK) {
		e = role_spawn(m->host, verdict_task, t);
	}
	if (e != ERR_OK) {
		if (t != NULL) {
			buf_wipe(&t->payload);
			free(t);
		}
		if (channel_answer(ch, msg->type, msg->id, e) != ERR_OK) {
			channel_end(ch);
		}
	}
}
