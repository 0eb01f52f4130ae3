/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The SQLite driver: what waits. */
#include <string.h>

#include "storage/storage_internal.h"
#include "storage/storage_sqlite.h"

static sqlite3_stmt *
use_unit(struct storage_sqlite *s, enum sq_statement which, const uint8_t unit[UNIT_ID_LEN])
{
	sqlite3_stmt *q = sq_use(s, which);
	sq_bytes(s, q, 1, bytes_of(unit, UNIT_ID_LEN));
	return q;
}

static sqlite3_stmt *
use_part(struct storage_sqlite *s, enum sq_statement which, const uint8_t unit[UNIT_ID_LEN], uint32_t part)
{
	sqlite3_stmt *q = use_unit(s, which, unit);
	sq_number(s, q, 2, part);
	return q;
}

static enum err
put_unit(struct storage_sqlite *s, enum sq_statement which, const uint8_t unit[UNIT_ID_LEN],
	 struct bytes state)
{
	sqlite3_stmt *q = use_unit(s, which, unit);
	sq_bytes(s, q, 2, state);
	return sq_write(s, q);
}

static enum err
put_part(struct storage_sqlite *s, enum sq_statement which, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
	 struct bytes body)
{
	sqlite3_stmt *q = use_part(s, which, unit, part);
	sq_bytes(s, q, 3, body);
	return sq_write(s, q);
}

/* ERR_QUOTA where one account would pass its quota, by all of its entries up to i together. */
static enum err
check_quota(struct storage_sqlite *s, const uint8_t (*accounts)[ACCOUNT_ID_LEN], const uint64_t *sizes,
	    const uint64_t *quotas, size_t i)
{
	struct storage_head head;
	enum err e = sq_log_head(&s->base, accounts[i], &head);
	if (e != ERR_OK) {
		return e;
	}
	uint64_t used = head.used;
	for (size_t k = 0; k <= i; k++) {
		if (memcmp(accounts[k], accounts[i], ACCOUNT_ID_LEN) == 0) {
			if (sizes[k] > INT64_MAX - used) {
				return ERR_QUOTA;
			}
			used += sizes[k];
		}
	}
	return quotas[i] != 0 && used > quotas[i] ? ERR_QUOTA : ERR_OK;
}

static enum err
add_used(struct storage_sqlite *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t size)
{
	struct storage_head head;
	enum err e = sq_log_head(&s->base, account, &head);
	if (e != ERR_OK) {
		return e;
	}
	if (head.derived) {
		/* Where the row is gone a new one would begin an empty log. */
		head.used = storage_used_after(head.used, (int64_t)size);
		return sq_head_put(s, account, &head);
	}
	sqlite3_stmt *q = sq_use(s, SQ_HEAD_ADD);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	sq_number(s, q, 2, size);
	return sq_write(s, q);
}

enum err
sq_spool_put(struct storage *base, const uint8_t unit[UNIT_ID_LEN], struct bytes state,
	     const struct bytes *parts, size_t part_count, const uint8_t (*claims)[BLOB_NAME_LEN],
	     size_t claim_count, const uint8_t (*accounts)[ACCOUNT_ID_LEN], const uint64_t *sizes,
	     const uint64_t *quotas, size_t account_count)
{
	struct storage_sqlite *s = sq_of(base);
	bool there = false;
	enum err e = sq_may_write(s);
	if (e == ERR_OK && (state.len > STORAGE_VALUE_MAX || part_count > STORAGE_PARTS_MAX ||
			    account_count > STORAGE_PARTS_MAX)) {
		e = ERR_LIMIT;
	}
	for (size_t i = 0; i < part_count && e == ERR_OK; i++) {
		e = parts[i].len > STORAGE_RECORD_MAX ? ERR_LIMIT : ERR_OK;
	}
	e = e == ERR_OK ? sq_has(s, use_unit(s, SQ_UNIT_HAS, unit), &there) : e;
	e = e == ERR_OK && there ? ERR_EXISTS : e;
	e = e == ERR_OK ? sq_blobs_exist(s, claims, claim_count) : e;
	for (size_t i = 0; i < account_count && e == ERR_OK; i++) {
		e = check_quota(s, accounts, sizes, quotas, i);
	}
	if (e != ERR_OK) {
		return e;
	}
	/* Nothing below fails but for the disk or memory. */
	e = put_unit(s, SQ_UNIT_CREATE, unit, state);
	for (size_t i = 0; i < part_count && e == ERR_OK; i++) {
		e = put_part(s, SQ_PART_CREATE, unit, (uint32_t)i, parts[i]);
	}
	e = e == ERR_OK ? sq_blobs_claim(s, claims, claim_count) : e;
	for (size_t i = 0; i < account_count && e == ERR_OK; i++) {
		e = add_used(s, accounts[i], sizes[i]);
	}
	return e == ERR_EXISTS ? ERR_DAMAGED : e; /* parts without their unit */
}

enum err
sq_spool_state(struct storage *base, const uint8_t unit[UNIT_ID_LEN], struct bytes state)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	if (e == ERR_OK && state.len > STORAGE_VALUE_MAX) {
		e = ERR_LIMIT;
	}
	e = e == ERR_OK ? put_unit(s, SQ_UNIT_UPDATE, unit, state) : e;
	return e == ERR_OK && sq_changed(s) == 0 ? ERR_NOT_FOUND : e;
}

enum err
sq_spool_part_get(struct storage *base, const uint8_t unit[UNIT_ID_LEN], uint32_t part, struct buf *ret_body)
{
	struct storage_sqlite *s = sq_of(base);
	return sq_fetch(s, use_part(s, SQ_PART_GET, unit, part), ret_body);
}

enum err
sq_spool_part_put(struct storage *base, const uint8_t unit[UNIT_ID_LEN], uint32_t part, struct bytes body)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	if (e == ERR_OK && body.len > STORAGE_RECORD_MAX) {
		e = ERR_LIMIT;
	}
	e = e == ERR_OK ? put_part(s, SQ_PART_UPDATE, unit, part, body) : e;
	return e == ERR_OK && sq_changed(s) == 0 ? ERR_NOT_FOUND : e;
}

/* The writes of a release; what fails in them because of one log's damage is taken back alone. */
static enum err
write_release(struct storage_sqlite *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
	      const uint8_t account[ACCOUNT_ID_LEN], struct bytes body, struct storage_head *head)
{
	enum err e = sq_write(s, sq_use(s, SQ_MARK));
	if (e != ERR_OK) {
		return e;
	}
	e = sq_record_put(s, account, RECORD_ARRIVAL, body, head);
	e = e == ERR_OK ? sq_head_put(s, account, head) : e;
	e = e == ERR_OK ? sq_write(s, use_part(s, SQ_PART_DELETE, unit, part)) : e;
	e = e == ERR_LIMIT ? ERR_DAMAGED : e; /* a number that no log can have */
	if (sqlite3_get_autocommit(s->db) != 0) {
		return e == ERR_OK || e == ERR_DAMAGED ? ERR_IO : e; /* all of it was rolled back */
	}
	enum err back = e == ERR_OK ? ERR_OK : sq_write(s, sq_use(s, SQ_MARK_BACK));
	back = back == ERR_OK ? sq_write(s, sq_use(s, SQ_MARK_DONE)) : back;
	return back == ERR_OK ? e : ERR_IO;
}

enum err
sq_spool_release(struct storage *base, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
		 const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret)
{
	struct storage_sqlite *s = sq_of(base);
	struct storage_head head;
	struct buf body = BUF_INIT(STORAGE_RECORD_MAX);
	enum err e = sq_may_write(s);
	e = e == ERR_OK ? sq_spool_part_get(base, unit, part, &body) : e;
	e = e == ERR_LIMIT ? ERR_DAMAGED : e;
	e = e == ERR_OK ? sq_log_head(base, account, &head) : e;
	e = e == ERR_OK ? write_release(s, unit, part, account, buf_bytes(&body), &head) : e;
	buf_clear(&body);
	if (e == ERR_OK) {
		*ret = head;
	}
	return e;
}

enum err
sq_spool_move(struct storage *base, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
	      const uint8_t to_unit[UNIT_ID_LEN], struct bytes to_state)
{
	struct storage_sqlite *s = sq_of(base);
	struct buf body = BUF_INIT(STORAGE_RECORD_MAX);
	bool there = false;
	enum err e = sq_may_write(s);
	if (e == ERR_OK && to_state.len > STORAGE_VALUE_MAX) {
		e = ERR_LIMIT;
	}
	e = e == ERR_OK ? sq_spool_part_get(base, unit, part, &body) : e;
	e = e == ERR_OK ? sq_has(s, use_part(s, SQ_PART_HAS, to_unit, part), &there) : e;
	e = e == ERR_OK && there ? ERR_EXISTS : e;
	e = e == ERR_OK ? put_unit(s, SQ_UNIT_PUT, to_unit, to_state) : e;
	e = e == ERR_OK ? put_part(s, SQ_PART_CREATE, to_unit, part, buf_bytes(&body)) : e;
	e = e == ERR_OK ? sq_write(s, use_part(s, SQ_PART_DELETE, unit, part)) : e;
	buf_clear(&body);
	return e;
}

enum err
sq_spool_part_delete(struct storage *base, const uint8_t unit[UNIT_ID_LEN], uint32_t part)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	e = e == ERR_OK ? sq_write(s, use_part(s, SQ_PART_DELETE, unit, part)) : e;
	return e == ERR_OK && sq_changed(s) == 0 ? ERR_NOT_FOUND : e;
}

enum err
sq_spool_delete(struct storage *base, const uint8_t unit[UNIT_ID_LEN])
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	e = e == ERR_OK ? sq_write(s, use_unit(s, SQ_PART_DELETE_ALL, unit)) : e;
	e = e == ERR_OK ? sq_write(s, use_unit(s, SQ_UNIT_DELETE, unit)) : e;
	return e == ERR_OK && sq_changed(s) == 0 ? ERR_NOT_FOUND : e;
}

enum err
sq_spool_walk(struct storage *base, struct bytes after, storage_row_fn fn, void *arg)
{
	return sq_walk_after(sq_of(base), SQ_UNIT_WALK, after, fn, arg);
}

enum err
sq_spool_part_walk(struct storage *base, storage_row_fn fn, void *arg)
{
	return sq_walk(sq_of(base), SQ_PART_WALK, fn, arg);
}
