/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What waits. What is sealed to members only they can open; what is sealed to the courier is opened as it would, and read whole. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/secret.h"
#include "cli/check.h"
#include "sealed/spool.h"

enum { WAITING_MAX = 1 << 22, ARENA_ROOM = 4 << 20 };

struct spool_secret {
	struct spool_secret *next;
	uint32_t epoch;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t *secret; /* in the pool */
};

/* A part, as its unit's state names it. */
struct waiting {
	uint8_t unit[SEALED_ID_LEN];
	uint32_t number;
	bool courier;
};

struct spool_check {
	struct check *check;
	struct blob_codec *codec;
	struct spool_secret *secrets;
	struct waiting *parts;
	size_t count;
	size_t room;
	uint64_t units;
	uint64_t opened;
};

static enum err
add_part(struct spool_check *s, const uint8_t unit[SEALED_ID_LEN], const struct spool_part *p)
{
	if (s->count == s->room) {
		size_t room = s->room == 0 ? 256 : s->room * 2;
		struct waiting *more =
		    room > WAITING_MAX ? NULL : reallocarray(s->parts, room, sizeof(*more));
		if (more == NULL) {
			return ERR_MEMORY;
		}
		s->parts = more;
		s->room = room;
	}
	struct waiting *w = &s->parts[s->count++];
	memcpy(w->unit, unit, sizeof(w->unit));
	w->number = p->number;
	w->courier = p->kind == SPOOL_PART_COURIER;
	return ERR_OK;
}

static enum err
on_unit(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct spool_check *s = arg;
	struct spool_state state;
	struct arena arena;
	char where[17];
	(void)part;
	check_hex(key, where);
	arena_init(&arena, 1 << 20);
	enum err e = key.len != SEALED_ID_LEN ? ERR_FORMAT
					      : spool_state_open(s->check->keys[PURPOSE_SPOOL_STATE], key.ptr,
								 value, &arena, &state);
	if (e == ERR_OK) {
		s->units++;
		for (size_t i = 0; i < state.part_count && e == ERR_OK; i++) {
			e = add_part(s, key.ptr, &state.parts[i]);
			e = e == ERR_OK ? buf_append(&s->check->used_blobs,
						     bytes_of(state.parts[i].blob, SEALED_ID_LEN))
					: e;
		}
	} else if (e != ERR_MEMORY) {
		check_damage(s->check, "waiting room: unit %s does not open with this house key", where);
		e = ERR_OK;
	}
	arena_clear(&arena);
	return e;
}

static enum err
on_spool_key(void *arg, struct bytes key, uint32_t epoch, struct bytes value)
{
	struct spool_check *s = arg;
	struct spool_secret *k = calloc(1, sizeof(*k));
	(void)key;
	if (k == NULL) {
		return ERR_MEMORY;
	}
	k->epoch = epoch;
	k->secret = secret_alloc(BOX_SECRET_LEN);
	enum err e = k->secret == NULL ? ERR_MEMORY
				       : sealed_spool_key_open(s->check->keys[PURPOSE_SPOOL_WRAP], epoch,
							       value, k->public_key, k->secret);
	if (e == ERR_OK) {
		k->next = s->secrets;
		s->secrets = k;
		return ERR_OK;
	}
	secret_free(k->secret);
	free(k);
	if (e != ERR_MEMORY) {
		check_damage(s->check,
			     "waiting room: the spool key of epoch %u does not open with this house key",
			     (unsigned)epoch);
		e = ERR_OK;
	}
	return e;
}

static const struct spool_secret *
find_secret(const struct spool_check *s, uint32_t epoch)
{
	const struct spool_secret *k = s->secrets;
	while (k != NULL && k->epoch != epoch) {
		k = k->next;
	}
	return k;
}

/* ERR_NOT_FOUND also where its spool key is not there. */
static enum err
open_courier_part(struct spool_check *s, const struct waiting *w, struct bytes body)
{
	struct courier_part part;
	struct arena arena;
	struct buf plain = BUF_INIT(SPOOL_PART_MAX);
	uint32_t epoch = 0;
	arena_init(&arena, ARENA_ROOM);
	enum err e = courier_part_epoch(body, &epoch);
	const struct spool_secret *k = e == ERR_OK ? find_secret(s, epoch) : NULL;
	e = e == ERR_OK && k == NULL ? ERR_NOT_FOUND : e;
	if (e == ERR_OK) {
		e = courier_part_open(k->secret, k->public_key, w->unit, w->number, body, &plain, &arena,
				      &part);
	}
	if (e == ERR_OK) {
		e = check_read_blob(s->check, s->codec, &part.blob, 0, check_ignore_piece, NULL);
	}
	buf_wipe(&plain);
	arena_clear(&arena);
	return e;
}

static enum err
check_part(struct spool_check *s, const struct waiting *w)
{
	struct storage *storage = s->check->storage;
	struct buf body = BUF_INIT(STORAGE_RECORD_MAX);
	char where[17];
	check_hex(bytes_of(w->unit, sizeof(w->unit)), where);
	enum err e = storage->driver->spool_part_get(storage, w->unit, w->number, &body);
	if (e == ERR_NOT_FOUND) {
		check_damage(s->check, "waiting room: part %u of unit %s is not there", (unsigned)w->number,
			     where);
		e = ERR_OK;
	} else if (e == ERR_LIMIT) {
		check_damage(s->check, "waiting room: part %u of unit %s is larger than a part can be",
			     (unsigned)w->number, where);
		e = ERR_OK;
	} else if (e == ERR_OK && w->courier) {
		e = open_courier_part(s, w, buf_bytes(&body));
		s->opened += e == ERR_OK ? 1 : 0;
		if (e != ERR_OK && e != ERR_MEMORY && e != ERR_IO) {
			check_damage(s->check,
				     "waiting room: part %u of unit %s, or its message, does not open: %s",
				     (unsigned)w->number, where, err_text(e));
			e = ERR_OK;
		}
	}
	buf_clear(&body);
	return e;
}

enum err
check_spool(struct check *k)
{
	const struct storage_driver *d = k->storage->driver;
	struct spool_check s = {.check = k};
	enum err e = blob_codec_create(&s.codec);
	e = e == ERR_OK ? d->spool_walk(k->storage, BYTES_EMPTY, on_unit, &s) : e;
	e = e == ERR_OK ? d->spool_key_walk(k->storage, on_spool_key, &s) : e;
	for (size_t i = 0; i < s.count && e == ERR_OK; i++) {
		e = check_part(&s, &s.parts[i]);
	}
	if (e == ERR_OK) {
		check_count(k, "units that wait", s.units);
		check_count(k, "parts for other providers read to their end", s.opened);
	}
	while (s.secrets != NULL) {
		struct spool_secret *next = s.secrets->next;
		secret_free(s.secrets->secret);
		free(s.secrets);
		s.secrets = next;
	}
	free(s.parts);
	blob_codec_destroy(&s.codec);
	return e;
}
