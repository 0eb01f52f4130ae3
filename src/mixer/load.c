/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From disk: what waits, the age clock, and the spool's keys. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "mixer/room.h"
#include "process/log.h"

static const char age_name[] = "mixer-age";

static struct channel *
store_of(const struct mixer *m)
{
	return role_channel(m->host, ROLE_STORE, 0);
}

static msec
limit(const struct mixer *m)
{
	return loop_now(m->host->loop) + ROOM_LIMIT_MS;
}

/* ---- the age clock ---- */

enum err
mixer_save_age(struct mixer *m)
{
	struct buf saved = BUF_INIT(LAW_AGE_ENCODED_LEN);
	enum err e = law_age_save(&m->age, clock_boot(), &saved);
	if (e == ERR_OK) {
		struct msg_meta_put q = {.name = bytes_str(age_name), .value = buf_bytes(&saved)};
		e = channel_call(store_of(m), META_PUT, meta_put, &q, limit(m), NULL);
	}
	buf_clear(&saved);
	return e;
}

static enum err
load_age(struct mixer *m)
{
	struct buf reply = BUF_INIT(1024);
	struct msg_meta_get q = {.name = bytes_str(age_name)};
	struct msg_meta_get_reply r;
	uint8_t boot_id[LAW_BOOT_ID_LEN];
	memcpy(boot_id, m->age.boot_id, sizeof(boot_id));
	enum err e = channel_call(store_of(m), META_GET, meta_get, &q, limit(m), &reply);
	if (e == ERR_OK) {
		e = msg_meta_get_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		e = law_age_resume(r.value, boot_id, clock_boot(), &m->age);
	}
	buf_clear(&reply);
	/* A new house, or a value that is damaged: starts at 0 and waits longer, never shorter. */
	if (e == ERR_NOT_FOUND || e == ERR_FORMAT) {
		law_age_start(&m->age, boot_id, clock_boot());
		e = ERR_OK;
	}
	return e == ERR_OK ? mixer_save_age(m) : e;
}

/* ---- units ---- */

/* Of the lists of decisions that may not be carried out yet. */
struct lists {
	struct tick_list leave;
	struct tick_list arrive;
};

/* True for a unit whose release is decided already. */
static bool
goes_on(struct mixer *m, struct unit *u, const struct lists *lists)
{
	const struct tick_list *list = u->state.stage == SPOOL_LEAVING ? &lists->leave : &lists->arrive;
	const struct tick_entry *entry = tick_find(list, u->id);
	if (entry == NULL) {
		return false;
	}
	u->state.left = list->left;
	u->state.is_void = entry->is_void;
	u->state.crowd = list->crowd[entry->size_class];
	u->state.batch = list->batch[entry->size_class];
	going_add(m, u);
	return true;
}

/* Whether its tick has not come yet: what was due by the last tick left with it, and is tried again at once. */
static bool
is_to_wait(const struct mixer *m, const struct spool_part *p)
{
	bool ticks = m->host->config.leave.kind == LAW_CROWD && !law_is_alone(m->leave);
	return p->due > (ticks && p->due > 0 ? law_tick_age(m->leave) : room_now(m).age);
}

static enum err
take_unit(struct mixer *m, const uint8_t id[IPC_UNIT], struct bytes sealed, const struct lists *lists)
{
	struct arena arena;
	struct spool_state state;
	struct unit *u = NULL;
	arena_init(&arena, 1 << 20);
	enum err e = spool_state_open(m->keys.key[PURPOSE_SPOOL_STATE], id, sealed, &arena, &state);
	if (e == ERR_AUTH || e == ERR_FORMAT || e == ERR_UNSUPPORTED) {
		log_event(
		    LOG_LEVEL_ERROR,
		    "a unit that waits cannot be read (%s) and stays where it is. Remedy: `cohue check`",
		    err_text(e));
		m->unreadable++;
		arena_clear(&arena);
		return ERR_OK;
	}
	if (e == ERR_OK) {
		e = room_add(m, id, &state, &u);
	}
	arena_clear(&arena);
	if (e != ERR_OK) {
		return e == ERR_EXISTS ? ERR_OK : e;
	}
	law_age_reach(&m->age, clock_boot(), u->state.entered);
	if ((u->state.flags & UNIT_RELEASED) == 0) {
		const struct law *law = u->state.stage == SPOOL_LEAVING ? m->leave : m->arrive;
		return goes_on(m, u, lists) ? ERR_OK
					    : room_wait(m, u, room_law_unit(m, law, &u->state, false));
	}
	for (size_t i = 0; i < u->state.part_count && e == ERR_OK; i++) {
		const struct spool_part *p = &u->state.parts[i];
		if (is_to_wait(m, p)) {
			e = room_wait_part(m, u, p);
		} else {
			/* It was at the courier: what became of it is not known, so it is tried again. */
			outgoing_add(m, u, p->number, room_batch_of(m, u));
		}
	}
	return e;
}

static enum err
load_units(struct mixer *m, const struct lists *lists)
{
	struct msg_spool_walk q = {.unused_ = 0};
	bool more = true;
	enum err e = ERR_OK;
	while (e == ERR_OK && more) {
		struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX + 64);
		struct msg_spool_walk_reply r;
		e = channel_call(store_of(m), SPOOL_WALK, spool_walk, &q, limit(m), &reply);
		if (e == ERR_OK) {
			e = msg_spool_walk_reply_decode(buf_bytes(&reply), &r);
		}
		if (e == ERR_OK) {
			struct wire_reader rows;
			wire_reader_init(&rows, r.rows);
			more = r.more != 0;
			while (e == ERR_OK && rows.rest.len > 0 && rows.error == ERR_OK) {
				wire_get_fixed(&rows, q.after, sizeof(q.after));
				struct bytes sealed = wire_get_bytes(&rows, SPOOL_STATE_MAX);
				e = rows.error == ERR_OK ? take_unit(m, q.after, sealed, lists) : ERR_FORMAT;
			}
		}
		buf_clear(&reply);
	}
	return e;
}

enum err
mixer_load(struct mixer *m)
{
	m->loaded = false;
	m->unreadable = 0;
	room_forget(m);
	struct lists lists = {.leave = {.entries = NULL}, .arrive = {.entries = NULL}};
	enum err e = load_age(m);
	if (e == ERR_OK) {
		e = house_load(m);
	}
	if (e == ERR_OK) {
		e = tick_load(m, true, &lists.leave);
	}
	if (e == ERR_OK) {
		e = tick_load(m, false, &lists.arrive);
	}
	if (e == ERR_OK) {
		law_age_reach(&m->age, clock_boot(), law_tick_age(m->leave));
		law_age_reach(&m->age, clock_boot(), law_tick_age(m->arrive));
		law_hold_clock_start(&m->hold_clock, room_now(m));
		e = load_units(m, &lists);
	}
	tick_list_clear(&lists.leave);
	tick_list_clear(&lists.arrive);
	if (e == ERR_OK && m->reload_again) {
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		m->loaded = true;
		mixer_settle_unsure(m);
		outgoing_forget_held(m);
		room_schedule(m);
		outgoing_kick(m);
	} else {
		room_forget(m);
	}
	return e;
}

/* ---- spool keys: one a day ---- */

static uint32_t
today(void)
{
	return (uint32_t)(clock_wall() / MSEC_DAY);
}

static bool
is_needed(const struct mixer *m, uint32_t epoch)
{
	/* Yesterday's may be in the hands of a session that seals just now. And who does not know all that waits destroys nothing. */
	if (epoch + 1 >= today() || !m->loaded || m->unreadable > 0 || m->entering_old > 0) {
		return true;
	}
	for (size_t i = 0; i < m->units.size; i++) {
		for (const struct unit *u = m->units.buckets[i]; u != NULL; u = u->next) {
			for (size_t k = 0; k < u->state.part_count; k++) {
				if (u->state.parts[k].kind == SPOOL_PART_COURIER &&
				    u->state.parts[k].epoch == epoch) {
					return true;
				}
			}
		}
	}
	return false;
}

static enum err
drop_key(struct mixer *m, uint32_t epoch)
{
	struct msg_spool_key_drop drop = {.epoch = epoch};
	struct msg_spool_keys q = {.op = 2, .epoch = epoch};
	enum err e = channel_call(role_channel(m->host, ROLE_KEEPER, 0), SPOOL_KEY_DROP, spool_key_drop,
				  &drop, limit(m), NULL);
	return e == ERR_OK ? channel_call(store_of(m), SPOOL_KEYS, spool_keys, &q, limit(m), NULL) : e;
}

static enum err
load_key(struct mixer *m, uint32_t epoch, struct bytes value)
{
	struct msg_spool_key_load q = {.epoch = epoch, .wrapped = value};
	enum err e = channel_call(role_channel(m->host, ROLE_KEEPER, 0), SPOOL_KEY_LOAD, spool_key_load, &q,
				  limit(m), NULL);
	if (e == ERR_AUTH || e == ERR_DAMAGED) {
		log_event(
		    LOG_LEVEL_ERROR,
		    "a spool key does not open with this house key; what was sealed to it cannot leave");
		e = ERR_OK;
	}
	return e;
}

static enum err
new_key(struct mixer *m, uint32_t epoch)
{
	struct msg_spool_key_new q = {.epoch = epoch};
	struct msg_spool_key_new_reply r;
	struct buf reply = BUF_INIT(2048);
	enum err e = channel_call(role_channel(m->host, ROLE_KEEPER, 0), SPOOL_KEY_NEW, spool_key_new, &q,
				  limit(m), &reply);
	if (e == ERR_EXISTS) {
		/* Of an attempt whose end was not heard; it is not on disk, so nobody has it. The next attempt makes it. */
		struct msg_spool_key_drop drop = {.epoch = epoch};
		e = channel_call(role_channel(m->host, ROLE_KEEPER, 0), SPOOL_KEY_DROP, spool_key_drop, &drop,
				 limit(m), NULL);
		e = e == ERR_OK ? ERR_AGAIN : e;
	}
	if (e == ERR_OK) {
		e = msg_spool_key_new_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		struct msg_spool_keys put = {.op = 1, .epoch = epoch, .value = r.wrapped};
		e = channel_call(store_of(m), SPOOL_KEYS, spool_keys, &put, limit(m), NULL);
		if (e == ERR_OK) {
			/* From now on it is handed out. */
			e = load_key(m, epoch, r.wrapped);
		} else {
			/* Not on disk: nobody may seal to it. */
			struct msg_spool_key_drop drop = {.epoch = epoch};
			enum err ignored = channel_call(role_channel(m->host, ROLE_KEEPER, 0), SPOOL_KEY_DROP,
							spool_key_drop, &drop, limit(m), NULL);
			(void)ignored;
		}
	}
	buf_clear(&reply);
	return e;
}

static enum err
keys(struct mixer *m)
{
	struct msg_spool_keys q = {.op = 0};
	struct msg_spool_keys_reply r;
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX + 64);
	uint32_t newest = 0;
	enum err e = channel_call(store_of(m), SPOOL_KEYS, spool_keys, &q, limit(m), &reply);
	if (e == ERR_OK) {
		e = msg_spool_keys_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		struct wire_reader rows;
		wire_reader_init(&rows, r.rows);
		while (e == ERR_OK && rows.rest.len > 0 && rows.error == ERR_OK) {
			uint32_t epoch = wire_get_u32(&rows);
			struct bytes value = wire_get_bytes(&rows, 4096);
			if (rows.error != ERR_OK) {
				e = ERR_FORMAT;
				break;
			}
			newest = epoch > newest ? epoch : newest;
			e = is_needed(m, epoch) ? load_key(m, epoch, value) : drop_key(m, epoch);
		}
	}
	buf_wipe(&reply);
	/* A clock that was set back makes no second key of a number. */
	if (e == ERR_OK && newest < today()) {
		e = new_key(m, today());
	}
	return e;
}

enum err
mixer_keys(struct mixer *m)
{
	enum { POLL_MS = 10 };
	/* Two at once would make two keys of one number. */
	while (m->keying) {
		enum err e = task_sleep(POLL_MS);
		if (e != ERR_OK) {
			return e;
		}
	}
	m->keying = true;
	enum err e = keys(m);
	m->keying = false;
	return e;
}
