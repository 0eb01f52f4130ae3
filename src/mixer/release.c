/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The ticker: what the law decides is stored in one transaction, and only then done. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"
#include "mixer/room.h"
#include "sealed/journal.h"

/* A leaving unit's local parts go on as an arriving unit of their own. */
struct onward {
	uint8_t id[IPC_UNIT];
	struct spool_state state;
	bool used;
};

/* Units whose release is decided, carried out in one transaction. */
struct turn {
	struct mixer *m;
	struct unit **units;
	size_t count;
	struct arena arena;
	struct buf ops;
	struct wire_writer w;
	struct onward *onward; /* one per unit */
};

static enum err
release_arriving(struct turn *t, const struct unit *u)
{
	for (size_t i = 0; i < u->state.part_count; i++) {
		wire_put_u8(&t->w, SPOOL_OP_RELEASE);
		wire_put_fixed(&t->w, u->id, IPC_UNIT);
		wire_put_u32(&t->w, u->state.parts[i].number);
		wire_put_fixed(&t->w, u->state.parts[i].account, IPC_ACCOUNT);
		wire_put_fixed(&t->w, u->state.parts[i].blob, IPC_BLOB);
	}
	wire_put_u8(&t->w, SPOOL_OP_DELETE);
	wire_put_fixed(&t->w, u->id, IPC_UNIT);
	return wire_done(&t->w);
}

static enum err
move_locals(struct turn *t, const struct unit *u, struct onward *on)
{
	struct mixer *m = t->m;
	struct law_time now = room_now(m);
	size_t count = 0;
	on->state = u->state;
	on->state.stage = SPOOL_ARRIVING;
	on->state.entered = now.age;
	on->state.due = 0;
	on->state.epoch = 0;
	on->state.weight = 1;
	on->state.lane = LAW_NORMAL;
	/* What never came over a line opens no gate. */
	on->state.flags = 0;
	on->state.parts = arena_array(&t->arena, u->state.part_count, sizeof(*on->state.parts));
	if (on->state.parts == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < u->state.part_count; i++) {
		if (u->state.parts[i].kind == SPOOL_PART_LOCAL) {
			on->state.parts[count++] = u->state.parts[i];
		}
	}
	on->state.part_count = count;
	if (count == 0) {
		return ERR_OK;
	}
	on->used = true;
	crypto_random_bytes(on->id, sizeof(on->id));
	struct law_unit lu = room_law_unit(m, m->arrive, &on->state, true);
	room_keep(&on->state, &lu);
	struct buf sealed = BUF_INIT(SPOOL_STATE_MAX);
	enum err e = room_seal(m, on->id, &on->state, &sealed);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		wire_put_u8(&t->w, SPOOL_OP_MOVE);
		wire_put_fixed(&t->w, u->id, IPC_UNIT);
		wire_put_u32(&t->w, on->state.parts[i].number);
		wire_put_fixed(&t->w, on->id, IPC_UNIT);
		/* The state grows with the parts: said with each of them, it would not fit for many. */
		wire_put_bytes(&t->w, BYTES_LIT("-"));
		e = wire_done(&t->w);
	}
	if (e == ERR_OK) {
		wire_put_u8(&t->w, SPOOL_OP_STATE);
		wire_put_fixed(&t->w, on->id, IPC_UNIT);
		wire_put_bytes(&t->w, buf_bytes(&sealed));
		e = wire_done(&t->w);
	}
	buf_clear(&sealed);
	return e;
}

static enum journal_wait
wait_of(const struct mixer *m, const struct spool_state *s)
{
	switch (m->host->config.leave.kind) {
	case LAW_CROWD:
		return s->is_void ? JOURNAL_WAIT_VOID : JOURNAL_WAIT_CROWD;
	case LAW_EXPONENTIAL:
		return JOURNAL_WAIT_EXPONENTIAL;
	case LAW_NONE:
		break;
	}
	return JOURNAL_WAIT_NONE;
}

/* Her journal says how it left, in the transaction in which it does. A letter is not kept back for what its journal lacks. */
static enum err
write_left(struct turn *t, const struct unit *u)
{
	const struct spool_state *s = &u->state;
	struct journal_line line = {.event = JOURNAL_LEFT,
				    .time = (uint64_t)(s->left > 0 ? s->left / MSEC_SECOND : 0),
				    .size_class = s->size_class,
				    .recipients = s->weight,
				    .wait = wait_of(t->m, s),
				    .crowd = s->crowd,
				    .batch = s->batch};
	uint8_t delivery[SEALED_ID_LEN];
	struct buf sealed = BUF_INIT(ARRIVAL_SEALED_MAX);
	if (s->generation == 0 || s->sender_kind != SPOOL_SENDER_ACCOUNT) {
		return ERR_OK;
	}
	crypto_random_bytes(delivery, sizeof(delivery));
	memcpy(line.unit, u->id, sizeof(line.unit));
	enum err e = ERR_OK;
	if (journal_seal(s->sender, s->generation, s->public_key, delivery, &line, &sealed) == ERR_OK) {
		e = mixer_journal_op(s->sender, buf_bytes(&sealed), &t->w);
	} else {
		t->m->seen_failures++;
	}
	buf_clear(&sealed);
	return e;
}

static enum err
release_leaving(struct turn *t, const struct unit *u, struct onward *on)
{
	enum err e = write_left(t, u);
	e = e == ERR_OK ? move_locals(t, u, on) : e;
	if (e != ERR_OK) {
		return e;
	}
	struct spool_state rest = u->state;
	rest.flags |= UNIT_RELEASED;
	rest.due = room_now(t->m).age;
	rest.parts = arena_array(&t->arena, u->state.part_count + 1, sizeof(*rest.parts));
	rest.part_count = 0;
	for (size_t i = 0; rest.parts != NULL && i < u->state.part_count; i++) {
		if (u->state.parts[i].kind == SPOOL_PART_COURIER) {
			rest.parts[rest.part_count++] = u->state.parts[i];
		}
	}
	if (rest.parts == NULL) {
		return ERR_MEMORY;
	}
	if (rest.part_count == 0) {
		wire_put_u8(&t->w, SPOOL_OP_DELETE);
		wire_put_fixed(&t->w, u->id, IPC_UNIT);
		return wire_done(&t->w);
	}
	struct buf sealed = BUF_INIT(SPOOL_STATE_MAX);
	e = room_seal(t->m, u->id, &rest, &sealed);
	if (e == ERR_OK) {
		wire_put_u8(&t->w, SPOOL_OP_STATE);
		wire_put_fixed(&t->w, u->id, IPC_UNIT);
		wire_put_bytes(&t->w, buf_bytes(&sealed));
		e = wire_done(&t->w);
	}
	buf_clear(&sealed);
	return e;
}

static enum err
turn_open(struct turn *t)
{
	arena_init(&t->arena, 8 << 20);
	buf_init(&t->ops, ROOM_BATCH_BYTES);
	wire_writer_init(&t->w, &t->ops);
	t->onward = arena_array(&t->arena, t->count + 1, sizeof(*t->onward));
	enum err e = t->onward == NULL ? ERR_MEMORY : ERR_OK;
	for (size_t i = 0; i < t->count && e == ERR_OK; i++) {
		struct unit *u = t->units[i];
		e = u->state.stage == SPOOL_LEAVING ? release_leaving(t, u, &t->onward[i])
						    : release_arriving(t, u);
	}
	return e;
}

static void
turn_clear(struct turn *t)
{
	arena_clear(&t->arena);
	buf_wipe(&t->ops);
}

/* After the commit. What is on disk is now done here; memory that lacks is made up by loading anew. */
static void
turn_done(struct turn *t)
{
	struct mixer *m = t->m;
	for (size_t i = 0; i < t->count; i++) {
		struct unit *u = t->units[i];
		m->seen_released++;
		if (u->state.stage != SPOOL_LEAVING) {
			m->seen_arrived += u->state.part_count;
			room_remove(m, u);
			continue;
		}
		const struct onward *on = &t->onward[i];
		if (on->used) {
			if (room_enter(m, on->id, &on->state) != ERR_OK) {
				panic("no memory for a unit that is on disk");
			}
			for (size_t k = 0; k < on->state.part_count; k++) {
				(void)room_drop_part(u, on->state.parts[k].number);
			}
		}
		u->state.flags |= UNIT_RELEASED;
		u->state.due = room_now(m).age;
		if (u->state.part_count == 0) {
			room_remove(m, u);
			continue;
		}
		for (size_t k = 0; k < u->state.part_count; k++) {
			outgoing_add(m, u, u->state.parts[k].number, room_batch_of(m, u));
		}
	}
}

/* ---- decisions ---- */

/* How a unit leaves stands in its state from now on. */
static void
mark(struct unit *u, const struct law_release *r, msec left)
{
	u->state.left = left;
	u->state.is_void = r->is_void;
	u->state.crowd = r->crowd;
	u->state.batch = r->batch;
}

static enum err
list_all(const struct law_decision *d, struct unit *const *units, const struct law_release *const *of,
	 size_t count, msec left, struct tick_list *ret)
{
	struct tick_list list = {.left = left, .count = count};
	list.entries = calloc(count, sizeof(*list.entries));
	if (list.entries == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < d->release_count; i++) {
		const struct law_release *r = &d->releases[i];
		if (r->crowd > 0) {
			list.crowd[r->unit.size_class] = r->crowd;
			list.batch[r->unit.size_class] = r->batch;
		}
	}
	for (size_t i = 0; i < count; i++) {
		memcpy(list.entries[i].id, units[i]->id, IPC_UNIT);
		list.entries[i].size_class = of[i]->unit.size_class;
		list.entries[i].is_void = of[i]->is_void;
	}
	*ret = list;
	return ERR_OK;
}

/* What the law has let go is no longer its own; retries are on their way, since nothing changes on disk for them. */
static void
commit(struct mixer *m, bool leaving, const struct law_decision *d)
{
	uint64_t voids = 0;
	law_commit(leaving ? m->leave : m->arrive, d);
	for (size_t i = 0; i < d->release_count; i++) {
		struct entry *entry = room_entry(m, d->releases[i].unit.id);
		struct unit *u = entry->unit;
		bool whole = entry->whole;
		uint32_t part = entry->part;
		room_entry_remove(m, entry);
		voids += d->releases[i].is_void ? 1 : 0;
		if (!whole) {
			m->seen_released++;
			outgoing_add(m, u, part, room_batch_of(m, u));
		}
	}
	sums_add(leaving ? &m->left_sums : &m->arrived_sums, d->release_count, voids);
	struct live_sums hidden;
	if (leaving && live_of_decision(d, room_now(m).age, &hidden) == ERR_OK) {
		live_add(&m->live, room_now(m).wall, &hidden);
	}
}

/*
 * Stores a decision. Where all of it goes into one transaction, it is carried out in it; otherwise its units stand in the line of
 * the going afterwards.
 */
static enum err
store_decision(struct mixer *m, bool leaving, const struct law_decision *d, struct unit **units,
	       const struct law_release **of, size_t count, msec left)
{
	struct turn t = {.m = m, .units = units, .count = count <= m->batch ? count : 0};
	struct tick_list list = {.entries = NULL};
	bool listed = count > m->batch;
	enum err e = turn_open(&t);
	if (e == ERR_OK && listed) {
		e = list_all(d, units, of, count, left, &list);
		e = e == ERR_OK ? tick_write_list(m, leaving, &list) : e;
	}
	if (e == ERR_OK && d->after != NULL) {
		e = tick_write(m, leaving, d, listed ? &list : NULL, &t.w);
	}
	if (e == ERR_LIMIT && m->batch > 1) {
		/* Units with many recipients: fewer at a time. */
		m->batch /= 2;
	} else if (e == ERR_OK) {
		m->batch = ROOM_BATCH;
	}
	if (e == ERR_OK && t.ops.len > 0) {
		e = room_batch(m, buf_bytes(&t.ops));
	}
	/* While the task waited the store may have restarted: then all is loaded anew as soon as this task ends. */
	if (e == ERR_OK && !m->loaded) {
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		commit(m, leaving, d);
		for (size_t i = 0; i < count && listed; i++) {
			going_add(m, units[i]);
		}
		turn_done(&t);
	}
	tick_list_clear(&list);
	turn_clear(&t);
	return e;
}

/* One decision of one law. ERR_OK also when there was nothing to release. */
static enum err
decide(struct mixer *m, bool leaving)
{
	struct law *law = leaving ? m->leave : m->arrive;
	struct law_decision d;
	if (leaving) {
		room_hold(m);
	}
	struct law_time now = room_now(m);
	memset(&d, 0, sizeof(d));
	if (law_next(law, now) > 0) {
		return ERR_OK;
	}
	enum err e = law_decide(law, now, room_random(m), m->batch, &d);
	if (e != ERR_OK) {
		return e;
	}
	if (d.release_count == 0 && d.classes == 0) {
		/* Made again after a restart it would come out the same. */
		law_commit(law, &d);
		law_decision_clear(&d);
		return ERR_OK;
	}
	msec left = d.tick == LAW_NO_TICK ? now.wall : d.tick;
	struct unit **units = calloc(d.release_count + 1, sizeof(*units));
	const struct law_release **of = calloc(d.release_count + 1, sizeof(*of));
	size_t count = 0;
	e = units == NULL || of == NULL ? ERR_MEMORY : ERR_OK;
	for (size_t i = 0; i < d.release_count && e == ERR_OK; i++) {
		struct entry *entry = room_entry(m, d.releases[i].unit.id);
		if (entry == NULL) {
			panic("the law released what nobody knows");
		}
		if (entry->whole) {
			of[count] = &d.releases[i];
			units[count++] = entry->unit;
			mark(entry->unit, &d.releases[i], left);
		}
	}
	if (e == ERR_OK) {
		e = store_decision(m, leaving, &d, units, of, count, left);
	}
	free(units);
	free(of);
	law_decision_clear(&d);
	return e;
}

/* The next portion of those whose release is decided. */
static enum err
carry_on(struct mixer *m)
{
	struct unit **units = calloc(m->batch, sizeof(*units));
	struct turn t = {.m = m, .units = units};
	if (units == NULL) {
		return ERR_MEMORY;
	}
	struct unit *rest = m->going;
	while (rest != NULL && t.count < m->batch) {
		units[t.count++] = rest;
		rest = rest->then;
	}
	enum err e = turn_open(&t);
	if (e == ERR_LIMIT && m->batch > 1) {
		m->batch /= 2;
	} else if (e == ERR_OK) {
		m->batch = ROOM_BATCH;
	}
	if (e == ERR_OK) {
		e = room_batch(m, buf_bytes(&t.ops));
	}
	if (e == ERR_OK && !m->loaded) {
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		m->going = rest;
		m->going_end = rest == NULL ? &m->going : m->going_end;
		turn_done(&t);
	}
	turn_clear(&t);
	free(units);
	return e;
}

static enum err
work_off(struct mixer *m)
{
	if (m->going != NULL) {
		return carry_on(m);
	}
	enum err e = decide(m, true);
	return e == ERR_OK && m->loaded && m->going == NULL ? decide(m, false) : e;
}

static void
tick_task(void *arg)
{
	struct mixer *m = arg;
	enum { PAUSE_MS = 200 };
	for (;;) {
		house_settle(m);
		enum err e = m->loaded ? work_off(m) : ERR_OK;
		outgoing_kick(m);
		if (e != ERR_OK) {
			/* Nothing has changed: the same decision, or a better one, a little later. */
			m->seen_failures++;
			if (task_sleep(PAUSE_MS) != ERR_OK) {
				break;
			}
			continue;
		}
		struct law_time now = room_now(m);
		if (!m->loaded || m->host->stopping ||
		    (m->going == NULL && law_next(m->leave, now) > 0 && law_next(m->arrive, now) > 0)) {
			break;
		}
	}
	m->deciding = false;
	room_schedule(m);
}

void
mixer_tick(struct timer *timer)
{
	struct mixer *m = timer->arg;
	if (m->deciding || !m->loaded) {
		return;
	}
	m->deciding = true;
	if (role_spawn(m->host, tick_task, m) != ERR_OK) {
		m->deciding = false;
		if (timer_start_after(m->host->loop, &m->tick, MSEC_SECOND) != ERR_OK) {
			panic("no memory for the one timer of the waiting room");
		}
	}
}
