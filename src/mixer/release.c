/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The ticker: what the law decides is stored in one transaction, and only then done. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"
#include "mixer/room.h"

/* A leaving unit's local parts go on as an arriving unit of their own. */
struct onward {
	uint8_t id[IPC_UNIT];
	struct spool_state state;
	bool used;
};

struct turn {
	struct mixer *m;
	struct law *law;
	bool leaving;
	struct arena arena;
	struct buf ops;
	struct wire_writer w;
	struct onward *onward; /* one per release */
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
	on->state.flags = u->state.flags & STATE_COUNTS;
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
	struct law_unit lu = room_law_unit(m, m->arrive, &on->state);
	on->state.entered = lu.entered;
	on->state.due = lu.due;
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

static enum err
release_leaving(struct turn *t, const struct unit *u, struct onward *on)
{
	enum err e = move_locals(t, u, on);
	if (e != ERR_OK) {
		return e;
	}
	struct spool_state rest = u->state;
	rest.flags |= UNIT_RELEASED;
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
write_decision(struct turn *t, const struct law_decision *d)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < d->release_count && e == ERR_OK; i++) {
		const struct entry *entry = room_entry(t->m, d->releases[i].unit.id);
		if (entry == NULL) {
			panic("the law released what nobody knows");
		}
		if (!entry->whole) {
			/* A retry: nothing changes on disk before the courier's verdict. */
			continue;
		}
		e = t->leaving ? release_leaving(t, entry->unit, &t->onward[i])
			       : release_arriving(t, entry->unit);
	}
	return e;
}

/* After the commit. What is on disk is now done here; memory that lacks is made up by loading anew. */
static void
carry_out(struct turn *t, const struct law_decision *d)
{
	struct mixer *m = t->m;
	for (size_t i = 0; i < d->release_count; i++) {
		struct entry *entry = room_entry(m, d->releases[i].unit.id);
		struct unit *u = entry->unit;
		bool whole = entry->whole;
		uint32_t part = entry->part;
		room_entry_remove(m, entry);
		m->seen_released++;
		if (!whole) {
			outgoing_add(m, u, part);
			continue;
		}
		if (!t->leaving) {
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
		if (u->state.part_count == 0) {
			room_remove(m, u);
			continue;
		}
		for (size_t k = 0; k < u->state.part_count; k++) {
			outgoing_add(m, u, u->state.parts[k].number);
		}
	}
}

/* One decision of one law. ERR_OK also when there was nothing to release. */
static enum err
decide(struct mixer *m, bool leaving)
{
	struct turn t = {.m = m, .law = leaving ? m->leave : m->arrive, .leaving = leaving};
	struct law_decision d;
	memset(&d, 0, sizeof(d));
	if (law_next(t.law, room_now(m)) > 0) {
		return ERR_OK;
	}
	enum err e = law_decide(t.law, room_now(m), room_random(m), m->batch, &d);
	if (e != ERR_OK) {
		return e;
	}
	arena_init(&t.arena, 8 << 20);
	buf_init(&t.ops, ROOM_BATCH_BYTES);
	wire_writer_init(&t.w, &t.ops);
	t.onward = arena_array(&t.arena, d.release_count + 1, sizeof(*t.onward));
	e = t.onward == NULL ? ERR_MEMORY : write_decision(&t, &d);
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
	if (e == ERR_OK && m->loaded) {
		law_commit(t.law, &d);
		carry_out(&t, &d);
	} else if (e == ERR_OK) {
		e = ERR_AGAIN;
	}
	law_decision_clear(&d);
	arena_clear(&t.arena);
	buf_wipe(&t.ops);
	return e;
}

static void
tick_task(void *arg)
{
	struct mixer *m = arg;
	enum { PAUSE_MS = 200 };
	for (;;) {
		enum err a = m->loaded ? decide(m, true) : ERR_OK;
		enum err b = m->loaded ? decide(m, false) : ERR_OK;
		outgoing_kick(m);
		if (a != ERR_OK || b != ERR_OK) {
			/* Nothing has changed: the same decision, or a better one, a little later. */
			m->seen_failures++;
			if (task_sleep(PAUSE_MS) != ERR_OK) {
				break;
			}
			continue;
		}
		struct law_time now = room_now(m);
		if (!m->loaded || m->host->stopping ||
		    (law_next(m->leave, now) > 0 && law_next(m->arrive, now) > 0)) {
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
