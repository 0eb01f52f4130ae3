/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The law's memory, under names of their own beside the units: the last tick with the decision at hand ("mixer-leave"), each
 * size class's counters ("mixer-leave-class-0"), and the pieces of a large decision's list of units ("mixer-leave-list-0"); for
 * arriving mail the same with "arrive". All sealed: the times of ticks and the numbers of those who left are nobody's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "mixer/room.h"
#include "process/log.h"

enum {
	TICK_VERSION = 1,
	PIECE_VERSION = 1,
	PIECE_UNITS = 3000, /* of one named value */
	PIECES_MAX = LAW_UNITS_MAX / PIECE_UNITS + 1,
	ENTRY_LEN = IPC_UNIT + 2,
	META_VALUE_MAX = 64 * 1024,
};

static const char *
side(bool leaving)
{
	return leaving ? "mixer-leave" : "mixer-arrive";
}

static enum err
put_sealed(const struct mixer *m, const char *name, struct bytes plain, struct wire_writer *w)
{
	struct buf sealed = BUF_INIT(META_VALUE_MAX);
	enum err e = spool_value_seal(plain, m->keys.key[PURPOSE_SPOOL_STATE], name, &sealed);
	if (e == ERR_OK) {
		wire_put_u8(w, SPOOL_OP_META);
		wire_put_bytes(w, bytes_str(name));
		wire_put_bytes(w, buf_bytes(&sealed));
		e = wire_done(w);
	}
	buf_clear(&sealed);
	return e;
}

/* ERR_NOT_FOUND also for one that does not open: told, and then as in a new house. */
static enum err
get_sealed(const struct mixer *m, const char *name, struct buf *ret)
{
	struct buf reply = BUF_INIT(IPC_CHUNK);
	struct msg_meta_get q = {.name = bytes_str(name)};
	struct msg_meta_get_reply r;
	enum err e = channel_call(role_channel(m->host, ROLE_STORE, 0), META_GET, meta_get, &q,
				  loop_now(m->host->loop) + ROOM_LIMIT_MS, &reply);
	if (e == ERR_OK) {
		e = msg_meta_get_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		e = spool_value_open(m->keys.key[PURPOSE_SPOOL_STATE], name, r.value, ret);
		if (e == ERR_AUTH || e == ERR_FORMAT || e == ERR_UNSUPPORTED) {
			log_event(LOG_LEVEL_ERROR,
				  "what the waiting room remembers of its last tick cannot be read (%s); it "
				  "goes on "
				  "without. Remedy: `cohue check`",
				  err_text(e));
			e = ERR_NOT_FOUND;
		}
	}
	buf_clear(&reply);
	return e;
}

static void
class_name(bool leaving, unsigned size_class, char ret[SPOOL_NAME_MAX])
{
	(void)snprintf(ret, SPOOL_NAME_MAX, "%s-class-%u", side(leaving), size_class);
}

static void
piece_name(bool leaving, uint32_t piece, char ret[SPOOL_NAME_MAX])
{
	(void)snprintf(ret, SPOOL_NAME_MAX, "%s-list-%" PRIu32, side(leaving), piece);
}

/* ---- to disk ---- */

static enum err
write_classes(struct mixer *m, bool leaving, const struct law_decision *d, struct wire_writer *w)
{
	const struct law *law = leaving ? m->leave : m->arrive;
	enum err e = ERR_OK;
	for (unsigned i = 0; i < LAW_CLASSES && e == ERR_OK; i++) {
		char name[SPOOL_NAME_MAX];
		struct buf plain = BUF_INIT(LAW_CLASS_ENCODED_MAX);
		if ((d->classes & (1U << i)) == 0) {
			continue;
		}
		class_name(leaving, i, name);
		e = law_class_encode(law, d, i, &plain);
		e = e == ERR_OK ? put_sealed(m, name, buf_bytes(&plain), w) : e;
		buf_clear(&plain);
	}
	return e;
}

enum err
tick_write(struct mixer *m, bool leaving, const struct law_decision *d, const struct tick_list *list,
	   struct wire_writer *w)
{
	struct buf tick = BUF_INIT(64);
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	struct wire_writer p;
	enum err e = law_tick_encode(leaving ? m->leave : m->arrive, d, &tick);
	wire_writer_init(&p, &plain);
	wire_put_u8(&p, TICK_VERSION);
	wire_put_bytes(&p, buf_bytes(&tick));
	wire_put_u32(&p, list == NULL ? 0 : list->pieces);
	if (list != NULL && list->pieces > 0) {
		wire_put_u64(&p, list->name);
		wire_put_u64(&p, (uint64_t)list->left);
		for (size_t i = 0; i < LAW_CLASSES; i++) {
			wire_put_u32(&p, list->crowd[i]);
			wire_put_u32(&p, list->batch[i]);
		}
	}
	e = e == ERR_OK ? wire_done(&p) : e;
	e = e == ERR_OK ? put_sealed(m, side(leaving), buf_bytes(&plain), w) : e;
	buf_clear(&plain);
	buf_clear(&tick);
	return e == ERR_OK ? write_classes(m, leaving, d, w) : e;
}

enum err
tick_write_list(struct mixer *m, bool leaving, struct tick_list *list)
{
	enum { PIECES_AT_ONCE = 12 };
	enum err e = ERR_OK;
	list->name = crypto_random_u64(&m->random);
	list->pieces = 0;
	for (size_t at = 0; at < list->count && e == ERR_OK;) {
		struct buf ops = BUF_INIT(ROOM_BATCH_BYTES);
		struct wire_writer w;
		wire_writer_init(&w, &ops);
		for (int i = 0; i < PIECES_AT_ONCE && at < list->count && e == ERR_OK; i++) {
			char name[SPOOL_NAME_MAX];
			struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
			struct wire_writer p;
			wire_writer_init(&p, &plain);
			wire_put_u8(&p, PIECE_VERSION);
			wire_put_u64(&p, list->name);
			for (size_t n = 0; n < PIECE_UNITS && at < list->count; n++, at++) {
				wire_put_fixed(&p, list->entries[at].id, IPC_UNIT);
				wire_put_u8(&p, list->entries[at].size_class);
				wire_put_u8(&p, list->entries[at].is_void ? 1 : 0);
			}
			e = wire_done(&p);
			piece_name(leaving, list->pieces, name);
			e = e == ERR_OK ? put_sealed(m, name, buf_bytes(&plain), &w) : e;
			list->pieces++;
			buf_clear(&plain);
		}
		e = e == ERR_OK ? room_batch(m, buf_bytes(&ops)) : e;
		buf_clear(&ops);
	}
	return e;
}

/* ---- from disk ---- */

static int
by_id(const void *a, const void *b)
{
	return memcmp(((const struct tick_entry *)a)->id, ((const struct tick_entry *)b)->id, IPC_UNIT);
}

const struct tick_entry *
tick_find(const struct tick_list *list, const uint8_t id[IPC_UNIT])
{
	struct tick_entry wanted = {.is_void = false};
	if (list->count == 0) {
		return NULL;
	}
	memcpy(wanted.id, id, IPC_UNIT);
	return bsearch(&wanted, list->entries, list->count, sizeof(wanted), by_id);
}

void
tick_list_clear(struct tick_list *list)
{
	free(list->entries);
	*list = (struct tick_list){.entries = NULL};
}

static enum err
load_piece(struct mixer *m, bool leaving, uint32_t piece, struct tick_list *list)
{
	char name[SPOOL_NAME_MAX];
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	struct wire_reader r;
	piece_name(leaving, piece, name);
	enum err e = get_sealed(m, name, &plain);
	wire_reader_init(&r, buf_bytes(&plain));
	uint8_t version = wire_get_u8(&r);
	uint64_t of = wire_get_u64(&r);
	if (e == ERR_OK && (r.error != ERR_OK || version != PIECE_VERSION || of != list->name ||
			    r.rest.len % ENTRY_LEN != 0)) {
		e = ERR_NOT_FOUND;
	}
	struct tick_entry *entries = NULL;
	if (e == ERR_OK) {
		entries =
		    reallocarray(list->entries, list->count + r.rest.len / ENTRY_LEN + 1, sizeof(*entries));
		e = entries == NULL ? ERR_MEMORY : ERR_OK;
	}
	if (e == ERR_OK) {
		list->entries = entries;
		while (r.rest.len > 0) {
			struct tick_entry *entry = &list->entries[list->count++];
			wire_get_fixed(&r, entry->id, IPC_UNIT);
			uint8_t size_class = wire_get_u8(&r);
			entry->size_class = size_class < LAW_CLASSES ? size_class : LAW_CLASSES - 1;
			entry->is_void = wire_get_u8(&r) != 0;
		}
	}
	buf_clear(&plain);
	return e;
}

static enum err
load_list(struct mixer *m, bool leaving, struct wire_reader *r, struct tick_list *list)
{
	list->name = wire_get_u64(r);
	list->left = (msec)wire_get_u64(r);
	for (size_t i = 0; i < LAW_CLASSES; i++) {
		list->crowd[i] = wire_get_u32(r);
		list->batch[i] = wire_get_u32(r);
	}
	enum err e = r->error;
	for (uint32_t i = 0; i < list->pieces && e == ERR_OK; i++) {
		e = load_piece(m, leaving, i, list);
	}
	if (e == ERR_NOT_FOUND || e == ERR_FORMAT) {
		/* Written over by a later decision that came to nothing; this one has been carried out. */
		free(list->entries);
		list->entries = NULL;
		list->count = 0;
		return ERR_OK;
	}
	if (e == ERR_OK && list->count > 0) {
		qsort(list->entries, list->count, sizeof(*list->entries), by_id);
	}
	return e;
}

static enum err
load_classes(struct mixer *m, bool leaving)
{
	struct law *law = leaving ? m->leave : m->arrive;
	enum err e = ERR_OK;
	for (unsigned i = 0; i < LAW_CLASSES && e == ERR_OK; i++) {
		char name[SPOOL_NAME_MAX];
		struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
		class_name(leaving, i, name);
		e = get_sealed(m, name, &plain);
		if (e == ERR_OK) {
			e = law_class_decode(law, i, buf_bytes(&plain));
		}
		buf_clear(&plain);
		/* A new house, or an older form: the gate opens later for it, not earlier. */
		e = e == ERR_NOT_FOUND || e == ERR_FORMAT || e == ERR_UNSUPPORTED ? ERR_OK : e;
	}
	return e;
}

enum err
tick_load(struct mixer *m, bool leaving, struct tick_list *ret)
{
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	struct tick_list list = {.entries = NULL};
	struct wire_reader r;
	enum err e = get_sealed(m, side(leaving), &plain);
	if (e == ERR_OK) {
		wire_reader_init(&r, buf_bytes(&plain));
		uint8_t version = wire_get_u8(&r);
		struct bytes tick = wire_get_bytes(&r, 64);
		list.pieces = wire_get_u32(&r);
		if (r.error != ERR_OK || version != TICK_VERSION || list.pieces > PIECES_MAX) {
			e = ERR_FORMAT;
		}
		if (e == ERR_OK && list.pieces > 0) {
			e = load_list(m, leaving, &r, &list);
		}
		e = e == ERR_OK ? law_tick_decode(leaving ? m->leave : m->arrive, tick) : e;
	}
	buf_clear(&plain);
	e = e == ERR_NOT_FOUND || e == ERR_FORMAT || e == ERR_UNSUPPORTED ? ERR_OK : e;
	e = e == ERR_OK ? load_classes(m, leaving) : e;
	if (e == ERR_OK) {
		*ret = list;
	} else {
		tick_list_clear(&list);
	}
	return e;
}

void
going_add(struct mixer *m, struct unit *u)
{
	u->then = NULL;
	*m->going_end = u;
	m->going_end = &u->then;
}
