/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The SQLite driver: blobs, and those that nobody has claimed yet. */
#include <string.h>

#include "storage/storage_sqlite.h"

/* Its place in s->fresh, or SQ_FRESH_MAX. */
static size_t
find_fresh(const struct storage_sqlite *s, const uint8_t *name)
{
	for (size_t i = 0; i < s->fresh_count; i++) {
		if (memcmp(s->fresh[i], name, BLOB_NAME_LEN) == 0) {
			return i;
		}
	}
	return SQ_FRESH_MAX;
}

static bool
drop_fresh(struct storage_sqlite *s, const uint8_t *name)
{
	size_t i = find_fresh(s, name);
	if (i == SQ_FRESH_MAX) {
		return false;
	}
	s->fresh_count--;
	memmove(s->fresh[i], s->fresh[s->fresh_count], BLOB_NAME_LEN);
	return true;
}

static enum err
has_name(struct storage_sqlite *s, enum sq_statement which, const uint8_t *name, bool *ret)
{
	sqlite3_stmt *q = sq_use(s, which);
	sq_bytes(s, q, 1, bytes_of(name, BLOB_NAME_LEN));
	return sq_has(s, q, ret);
}

static enum err
has_chunk(struct storage_sqlite *s, const uint8_t *name, uint32_t chunk, bool *ret)
{
	sqlite3_stmt *q = sq_use(s, SQ_BLOB_HAS);
	sq_bytes(s, q, 1, bytes_of(name, BLOB_NAME_LEN));
	sq_number(s, q, 2, chunk);
	return sq_has(s, q, ret);
}

static enum err
delete_name(struct storage_sqlite *s, enum sq_statement which, const uint8_t *name, bool *ret_was_there)
{
	sqlite3_stmt *q = sq_use(s, which);
	sq_bytes(s, q, 1, bytes_of(name, BLOB_NAME_LEN));
	enum err e = sq_write(s, q);
	if (e == ERR_OK) {
		*ret_was_there = sq_changed(s) > 0;
	}
	return e;
}

/*
 * Chunks come in order. What was pending when the store ended is gone, so a blob whose first chunks
 * went to the store before its restart must not be continued: it would miss its beginning.
 */
static enum err
may_continue(struct storage_sqlite *s, const uint8_t *name, uint32_t chunk)
{
	bool pending = find_fresh(s, name) != SQ_FRESH_MAX;
	bool before = false;
	enum err e = pending ? ERR_OK : has_name(s, SQ_PENDING_HAS, name, &pending);
	e = e == ERR_OK ? has_chunk(s, name, chunk - 1, &before) : e;
	if (e != ERR_OK) {
		return e;
	}
	if (!before) {
		return ERR_STATE;
	}
	return pending ? ERR_OK : ERR_EXISTS;
}

static enum err
write_pending(struct storage_sqlite *s, const uint8_t *name)
{
	sqlite3_stmt *q = sq_use(s, SQ_PENDING_PUT);
	sq_bytes(s, q, 1, bytes_of(name, BLOB_NAME_LEN));
	return sq_write(s, q);
}

static enum err
put_pending(struct storage_sqlite *s, const uint8_t *name)
{
	if (s->fresh_count == SQ_FRESH_MAX) {
		return write_pending(s, name);
	}
	memcpy(s->fresh[s->fresh_count++], name, BLOB_NAME_LEN);
	return ERR_OK;
}

enum err
sq_blobs_settle(struct storage_sqlite *s)
{
	enum err e = ERR_OK;
	while (s->fresh_count > 0 && e == ERR_OK) {
		e = write_pending(s, s->fresh[s->fresh_count - 1]);
		s->fresh_count -= e == ERR_OK ? 1 : 0;
	}
	return e;
}

enum err
sq_blob_put(struct storage *base, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, struct bytes data)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	if (e != ERR_OK) {
		return e;
	}
	if (data.len > STORAGE_BLOB_CHUNK_MAX) {
		return ERR_LIMIT;
	}
	if (chunk > 0 && (e = may_continue(s, name, chunk)) != ERR_OK) {
		return e;
	}
	sqlite3_stmt *q = sq_use(s, SQ_BLOB_PUT);
	sq_bytes(s, q, 1, bytes_of(name, BLOB_NAME_LEN));
	sq_number(s, q, 2, chunk);
	sq_bytes(s, q, 3, data);
	e = sq_write(s, q);
	return e == ERR_OK && chunk == 0 ? put_pending(s, name) : e;
}

enum err
sq_blob_get(struct storage *base, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, struct buf *ret_data)
{
	struct storage_sqlite *s = sq_of(base);
	sqlite3_stmt *q = sq_use(s, SQ_BLOB_GET);
	sq_bytes(s, q, 1, bytes_of(name, BLOB_NAME_LEN));
	sq_number(s, q, 2, chunk);
	return sq_fetch(s, q, ret_data);
}

enum err
sq_blob_delete(struct storage *base, const uint8_t name[BLOB_NAME_LEN])
{
	struct storage_sqlite *s = sq_of(base);
	bool there = false;
	bool pending = false;
	enum err e = sq_may_write(s);
	e = e == ERR_OK ? delete_name(s, SQ_BLOB_DELETE, name, &there) : e;
	if (e == ERR_OK && !drop_fresh(s, name)) {
		e = delete_name(s, SQ_PENDING_DELETE, name, &pending);
	}
	return e == ERR_OK && !there ? ERR_NOT_FOUND : e;
}

enum err
sq_blob_walk(struct storage *base, struct bytes after, storage_row_fn fn, void *arg)
{
	return sq_walk_after(sq_of(base), SQ_BLOB_WALK, after, fn, arg);
}

enum err
sq_blob_exists(struct storage_sqlite *s, const uint8_t name[BLOB_NAME_LEN])
{
	bool there = false;
	enum err e = has_chunk(s, name, 0, &there);
	return e == ERR_OK && !there ? ERR_NOT_FOUND : e;
}

enum err
sq_blobs_exist(struct storage_sqlite *s, const uint8_t (*names)[BLOB_NAME_LEN], size_t count)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = sq_blob_exists(s, names[i]);
	}
	return e;
}

enum err
sq_blob_claim(struct storage_sqlite *s, const uint8_t name[BLOB_NAME_LEN])
{
	bool was_pending = false;
	return drop_fresh(s, name) ? ERR_OK : delete_name(s, SQ_PENDING_DELETE, name, &was_pending);
}

enum err
sq_blobs_claim(struct storage_sqlite *s, const uint8_t (*names)[BLOB_NAME_LEN], size_t count)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = sq_blob_claim(s, names[i]);
	}
	return e;
}

enum err
sq_blobs_sweep(struct storage_sqlite *s)
{
	enum err e = sq_write(s, sq_use(s, SQ_PENDING_BLOBS_DELETE));
	return e == ERR_OK ? sq_write(s, sq_use(s, SQ_PENDING_CLEAR)) : e;
}
