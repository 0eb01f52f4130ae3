/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mixer/room.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

enum { TABLE_FIRST = 1024 };

/* ---- tables: chained, doubled when full; ids are random or counted ---- */

static uint64_t
id_hash(const uint8_t id[IPC_UNIT])
{
	uint64_t h;
	memcpy(&h, id, sizeof(h));
	return h;
}

static enum err
table_init(struct room_table *t)
{
	t->buckets = calloc(TABLE_FIRST, sizeof(void *));
	t->size = TABLE_FIRST;
	t->count = 0;
	return t->buckets == NULL ? ERR_MEMORY : ERR_OK;
}

static void
units_grow(struct room_table *t)
{
	if (t->count < t->size * 2) {
		return;
	}
	void **bigger = calloc(t->size * 2, sizeof(void *));
	if (bigger == NULL) {
		/* Slower, not wrong. */
		return;
	}
	for (size_t i = 0; i < t->size; i++) {
		for (struct unit *u = t->buckets[i]; u != NULL;) {
			struct unit *next = u->next;
			size_t b = id_hash(u->id) & (t->size * 2 - 1);
			u->next = bigger[b];
			bigger[b] = u;
			u = next;
		}
	}
	free(t->buckets);
	t->buckets = bigger;
	t->size *= 2;
}

static void
entries_grow(struct room_table *t)
{
	if (t->count < t->size * 2) {
		return;
	}
	void **bigger = calloc(t->size * 2, sizeof(void *));
	if (bigger == NULL) {
		return;
	}
	for (size_t i = 0; i < t->size; i++) {
		for (struct entry *e = t->buckets[i]; e != NULL;) {
			struct entry *next = e->next;
			size_t b = e->law_id & (t->size * 2 - 1);
			e->next = bigger[b];
			bigger[b] = e;
			e = next;
		}
	}
	free(t->buckets);
	t->buckets = bigger;
	t->size *= 2;
}

enum err
room_init(struct mixer *m)
{
	enum err e = table_init(&m->units);
	return e == ERR_OK ? table_init(&m->entries) : e;
}

static void
unit_free(struct unit *u)
{
	free(u->state.parts);
	explicit_bzero(u, sizeof(*u));
	free(u);
}

void
room_forget(struct mixer *m)
{
	m->generation++;
	outgoing_forget(m);
	m->going = NULL;
	m->going_end = &m->going;
	for (size_t i = 0; i < m->entries.size; i++) {
		while (m->entries.buckets[i] != NULL) {
			struct entry *e = m->entries.buckets[i];
			struct law *law = e->unit->state.stage == SPOOL_LEAVING ? m->leave : m->arrive;
			if (law_remove(law, e->law_id) != ERR_OK) {
				panic("an entry that its law does not know");
			}
			m->entries.buckets[i] = e->next;
			m->entries.count--;
			free(e);
		}
	}
	for (size_t i = 0; i < m->units.size; i++) {
		while (m->units.buckets[i] != NULL) {
			struct unit *u = m->units.buckets[i];
			m->units.buckets[i] = u->next;
			m->units.count--;
			unit_free(u);
		}
	}
}

/* ---- units ---- */

struct unit *
room_find(const struct mixer *m, const uint8_t id[IPC_UNIT])
{
	struct unit *u = m->units.buckets[id_hash(id) & (m->units.size - 1)];
	while (u != NULL && memcmp(u->id, id, IPC_UNIT) != 0) {
		u = u->next;
	}
	return u;
}

static size_t
past_place(const uint8_t id[IPC_UNIT])
{
	return id_hash(id) % ROOM_PAST;
}

bool
room_knows(const struct mixer *m, const uint8_t id[IPC_UNIT])
{
	return room_find(m, id) != NULL || memcmp(m->past[past_place(id)], id, IPC_UNIT) == 0;
}

enum err
room_add(struct mixer *m, const uint8_t id[IPC_UNIT], const struct spool_state *state, struct unit **ret)
{
	if (room_find(m, id) != NULL) {
		return ERR_EXISTS;
	}
	struct unit *u = calloc(1, sizeof(*u));
	struct spool_part *parts = calloc(state->part_count == 0 ? 1 : state->part_count, sizeof(*parts));
	if (u == NULL || parts == NULL) {
		free(u);
		free(parts);
		return ERR_MEMORY;
	}
	memcpy(u->id, id, IPC_UNIT);
	u->state = *state;
	u->state.parts = parts;
	for (size_t i = 0; i < state->part_count; i++) {
		parts[i] = state->parts[i];
	}
	units_grow(&m->units);
	size_t b = id_hash(id) & (m->units.size - 1);
	u->next = m->units.buckets[b];
	m->units.buckets[b] = u;
	m->units.count++;
	*ret = u;
	return ERR_OK;
}

void
room_remove(struct mixer *m, struct unit *u)
{
	void **at = &m->units.buckets[id_hash(u->id) & (m->units.size - 1)];
	while (*at != u) {
		if (*at == NULL) {
			panic("a unit that is not in its table");
		}
		at = (void **)&((struct unit *)*at)->next;
	}
	*at = u->next;
	m->units.count--;
	memcpy(m->past[past_place(u->id)], u->id, IPC_UNIT);
	outgoing_forget_unit(m, u);
	unit_free(u);
}

struct spool_part *
room_part(struct unit *u, uint32_t number)
{
	for (size_t i = 0; i < u->state.part_count; i++) {
		if (u->state.parts[i].number == number) {
			return &u->state.parts[i];
		}
	}
	return NULL;
}

bool
room_drop_part(struct unit *u, uint32_t number)
{
	struct spool_part *p = room_part(u, number);
	if (p != NULL) {
		size_t at = (size_t)(p - u->state.parts);
		memmove(p, p + 1, (u->state.part_count - at - 1) * sizeof(*p));
		u->state.part_count--;
	}
	return u->state.part_count == 0;
}

/* ---- waiting ---- */

struct law_time
room_now(const struct mixer *m)
{
	return (struct law_time){.age = law_age_now(&m->age, clock_boot()), .wall = clock_wall()};
}

struct law_random
room_random(struct mixer *m)
{
	return (struct law_random){.next = crypto_random_u64, .arg = &m->random};
}

struct law_unit
room_law_unit(struct mixer *m, const struct law *law, const struct spool_state *state, bool fresh)
{
	struct law_unit lu;
	law_unit_init(&lu);
	if ((state->flags & STATE_FORWARDED) == 0) {
		/* Else not she: what strangers make her send on takes nothing off her own share. */
		memcpy(&lu.member, state->sender, sizeof(lu.member));
	}
	lu.weight = state->weight == 0 ? 1 : state->weight < LAW_WEIGHT_MAX ? state->weight : LAW_WEIGHT_MAX;
	lu.size_class = state->size_class < LAW_CLASSES ? state->size_class : LAW_CLASSES - 1;
	lu.lane = state->lane <= LAW_DUE ? state->lane : LAW_NORMAL;
	lu.counts = (state->flags & STATE_COUNTS) != 0;
	lu.due = state->due != 0 ? state->due : LAW_UNDRAWN;
	if ((state->flags & STATE_HELD) != 0 && !fresh && state->due > state->entered) {
		lu.due = law_hold_due(state->entered, state->due, state->wall_entered, room_now(m));
	}
	if (!fresh) {
		lu.entered = state->entered;
	}
	law_admit(law, room_now(m), room_random(m), &lu);
	return lu;
}

void
room_keep(struct spool_state *state, const struct law_unit *lu)
{
	state->entered = lu->entered;
	state->due = lu->due;
}

static enum err
wait_as(struct mixer *m, struct unit *u, struct law_unit lu, bool whole, uint32_t part)
{
	struct law *law = u->state.stage == SPOOL_LEAVING ? m->leave : m->arrive;
	struct entry *e = calloc(1, sizeof(*e));
	if (e == NULL) {
		return ERR_MEMORY;
	}
	e->law_id = ++m->next_law_id;
	e->unit = u;
	e->whole = whole;
	e->part = part;
	lu.id = e->law_id;
	enum err x = law_insert(law, &lu);
	if (x != ERR_OK) {
		free(e);
		return x;
	}
	entries_grow(&m->entries);
	size_t b = e->law_id & (m->entries.size - 1);
	e->next = m->entries.buckets[b];
	m->entries.buckets[b] = e;
	m->entries.count++;
	room_schedule(m);
	return ERR_OK;
}

uint64_t
room_batch_of(const struct mixer *m, const struct unit *u)
{
	bool ticks = u->state.stage == SPOOL_LEAVING && m->host->config.leave.kind == LAW_CROWD &&
		     !law_is_alone(m->leave);
	msec tick = law_last_tick(m->leave);
	return ticks && tick > 0 ? (uint64_t)tick : 0;
}

enum err
room_wait(struct mixer *m, struct unit *u, struct law_unit lu)
{
	return wait_as(m, u, lu, true, 0);
}

enum err
room_wait_part(struct mixer *m, struct unit *u, const struct spool_part *p)
{
	struct law_unit lu;
	law_unit_init(&lu);
	if ((u->state.flags & STATE_FORWARDED) == 0) {
		memcpy(&lu.member, u->state.sender, sizeof(lu.member));
	}
	lu.entered = u->state.entered;
	lu.due = p->due;
	lu.weight = 1;
	lu.size_class = u->state.size_class;
	lu.lane = LAW_DUE;
	lu.counts = false;
	return wait_as(m, u, lu, false, p->number);
}

void
room_hold(struct mixer *m)
{
	struct law_time now = room_now(m);
	if (!law_hold_clock_turned(&m->hold_clock, now)) {
		return;
	}
	for (size_t i = 0; i < m->entries.size; i++) {
		for (const struct entry *e = m->entries.buckets[i]; e != NULL; e = e->next) {
			const struct spool_state *s = &e->unit->state;
			struct law_unit lu;
			if (!e->whole || (s->flags & STATE_HELD) == 0 || s->stage != SPOOL_LEAVING ||
			    law_get(m->leave, e->law_id, &lu) != ERR_OK || lu.due <= now.age) {
				continue;
			}
			lu.due = law_hold_due(s->entered, s->due, s->wall_entered, now);
			/* What stands in the law has room there. */
			if (law_remove(m->leave, e->law_id) != ERR_OK ||
			    law_insert(m->leave, &lu) != ERR_OK) {
				panic("no memory for a unit that is on disk");
			}
		}
	}
}

struct entry *
room_entry(const struct mixer *m, uint64_t law_id)
{
	struct entry *e = m->entries.buckets[law_id & (m->entries.size - 1)];
	while (e != NULL && e->law_id != law_id) {
		e = e->next;
	}
	return e;
}

void
room_entry_remove(struct mixer *m, struct entry *e)
{
	void **at = &m->entries.buckets[e->law_id & (m->entries.size - 1)];
	while (*at != e) {
		if (*at == NULL) {
			panic("an entry that is not in its table");
		}
		at = (void **)&((struct entry *)*at)->next;
	}
	*at = e->next;
	m->entries.count--;
	free(e);
}

void
room_schedule(struct mixer *m)
{
	if (!m->loaded || m->deciding || m->host->stopping) {
		return;
	}
	struct law_time now = room_now(m);
	msec a = law_next(m->leave, now);
	msec b = law_next(m->arrive, now);
	msec next = m->going != NULL ? 0 : a < b ? a : b;
	if (next == LAW_NEVER) {
		timer_stop(&m->tick);
		return;
	}
	/* A long wait is looked at anew each minute, since the wall clock may be set meanwhile. */
	next = next > MSEC_MINUTE ? MSEC_MINUTE : next;
	if (timer_start_after(m->host->loop, &m->tick, next) != ERR_OK) {
		panic("no memory for the one timer of the waiting room");
	}
}

/* ---- the store ---- */

enum err
room_batch(struct mixer *m, struct bytes ops)
{
	struct msg_spool_batch q = {.ops = ops};
	struct msg_spool_batch_reply r = {.left = 0};
	struct buf reply = BUF_INIT(64);
	enum err e = channel_call(role_channel(m->host, ROLE_STORE, 0), SPOOL_BATCH, spool_batch, &q,
				  loop_now(m->host->loop) + ROOM_LIMIT_MS, &reply);
	if (e == ERR_OK) {
		e = msg_spool_batch_reply_decode(buf_bytes(&reply), &r);
		m->left_out = m->left_out || r.left > 0;
	}
	buf_clear(&reply);
	if (e == ERR_TIMEOUT || e == ERR_NOT_FOUND || e == ERR_EXISTS) {
		/* It may be carried out yet, or the disk is not as it is thought to be here. */
		mixer_reload(m);
	}
	return e;
}

enum err
room_seal(const struct mixer *m, const uint8_t id[IPC_UNIT], const struct spool_state *state, struct buf *ret)
{
	return spool_state_seal(state, m->keys.key[PURPOSE_SPOOL_STATE], id, ret);
}
