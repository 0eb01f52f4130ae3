/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The SQLite driver: small values by name (directory, spool keys, meta). */
#include "storage/storage_sqlite.h"

static enum err
put_value(struct storage *base, enum sq_statement which, struct bytes key, struct bytes value)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	if (e != ERR_OK) {
		return e;
	}
	if (value.len > STORAGE_VALUE_MAX) {
		return ERR_LIMIT;
	}
	sqlite3_stmt *q = sq_use(s, which);
	sq_bytes(s, q, 1, key);
	sq_bytes(s, q, 2, value);
	return sq_write(s, q);
}

enum err
sq_directory_get(struct storage *base, const uint8_t key[ADDRESS_KEY_LEN], struct buf *ret_value)
{
	struct storage_sqlite *s = sq_of(base);
	sqlite3_stmt *q = sq_use(s, SQ_DIRECTORY_GET);
	sq_bytes(s, q, 1, bytes_of(key, ADDRESS_KEY_LEN));
	return sq_fetch(s, q, ret_value);
}

enum err
sq_directory_put(struct storage *base, const uint8_t key[ADDRESS_KEY_LEN], struct bytes value)
{
	return put_value(base, SQ_DIRECTORY_PUT, bytes_of(key, ADDRESS_KEY_LEN), value);
}

enum err
sq_directory_create(struct storage *base, const uint8_t key[ADDRESS_KEY_LEN], struct bytes value)
{
	return put_value(base, SQ_DIRECTORY_CREATE, bytes_of(key, ADDRESS_KEY_LEN), value);
}

enum err
sq_directory_delete(struct storage *base, const uint8_t key[ADDRESS_KEY_LEN])
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	if (e != ERR_OK) {
		return e;
	}
	sqlite3_stmt *q = sq_use(s, SQ_DIRECTORY_DELETE);
	sq_bytes(s, q, 1, bytes_of(key, ADDRESS_KEY_LEN));
	e = sq_write(s, q);
	return e == ERR_OK && sq_changed(s) == 0 ? ERR_NOT_FOUND : e;
}

enum err
sq_directory_walk(struct storage *base, struct bytes after, storage_row_fn fn, void *arg)
{
	return sq_walk_after(sq_of(base), SQ_DIRECTORY_WALK, after, fn, arg);
}

enum err
sq_key_put(struct storage *base, uint32_t epoch, struct bytes value)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	if (e != ERR_OK) {
		return e;
	}
	if (value.len > STORAGE_VALUE_MAX) {
		return ERR_LIMIT;
	}
	sqlite3_stmt *q = sq_use(s, SQ_KEY_PUT);
	sq_number(s, q, 1, epoch);
	sq_bytes(s, q, 2, value);
	return sq_write(s, q);
}

enum err
sq_key_delete(struct storage *base, uint32_t epoch)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	if (e != ERR_OK) {
		return e;
	}
	sqlite3_stmt *q = sq_use(s, SQ_KEY_DELETE);
	sq_number(s, q, 1, epoch);
	e = sq_write(s, q);
	return e == ERR_OK && sq_changed(s) == 0 ? ERR_NOT_FOUND : e;
}

enum err
sq_key_walk(struct storage *base, storage_row_fn fn, void *arg)
{
	return sq_walk(sq_of(base), SQ_KEY_WALK, fn, arg);
}

enum err
sq_meta_get(struct storage *base, const char *name, struct buf *ret_value)
{
	struct storage_sqlite *s = sq_of(base);
	sqlite3_stmt *q = sq_use(s, SQ_META_GET);
	sq_bytes(s, q, 1, bytes_str(name));
	return sq_fetch(s, q, ret_value);
}

enum err
sq_meta_put(struct storage *base, const char *name, struct bytes value)
{
	return put_value(base, SQ_META_PUT, bytes_str(name), value);
}

enum err
sq_meta_walk(struct storage *base, storage_row_fn fn, void *arg)
{
	return sq_walk(sq_of(base), SQ_META_WALK, fn, arg);
}
