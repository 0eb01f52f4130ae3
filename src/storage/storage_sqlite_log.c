/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The SQLite driver: members' logs, their heads, their snapshots. */
#include <string.h>

#include "storage/storage_internal.h"
#include "storage/storage_sqlite.h"

static enum err
note_head(void *arg, const struct storage_record *record)
{
	struct storage_head *head = arg;
	storage_chain(record->before, record->kind, record->body, head->head);
	return ERR_OK;
}

/*
 * The head as the log's own rows say it: behind the last whole one (or what the newest snapshot stands for), and those
 * that stand directly behind that. `head` comes with what its row says, for what no row of the log tells.
 */
static enum err
derive_head(struct storage_sqlite *s, const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *head)
{
	bool more = true;
	sqlite3_stmt *q = sq_use(s, SQ_LOG_LAST);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	enum err e = sq_next(s, q);
	uint64_t n = e == ERR_OK ? sq_column_number(q, 0) : 0;
	sq_end(q);
	while (e == ERR_OK && more) {
		q = sq_use(s, SQ_LOG_HAS);
		sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
		sq_number(s, q, 2, n + 1);
		e = sq_has(s, q, &more);
		n += e == ERR_OK && more ? 1 : 0;
	}
	if (e == ERR_OK) {
		head->n = n;
		e = sq_log_read_one(&s->base, account, n, note_head, head);
		if (e == ERR_NOT_FOUND && n == 0) {
			memset(head->head, 0, HEAD_LEN);
		}
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e;
}

enum err
sq_log_head(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret)
{
	struct storage_sqlite *s = sq_of(base);
	struct storage_head head = {.n = 0};
	sqlite3_stmt *q = sq_use(s, SQ_HEAD_GET);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	enum err e = sq_next(s, q);
	if (e == ERR_OK) {
		head.n = sq_column_number(q, 0);
		head.used = sq_column_number(q, 2);
		head.known = true;
		head.derived =
		    sq_column_fixed(q, 1, head.head, HEAD_LEN) != ERR_OK || sqlite3_column_int64(q, 3) == 0;
	}
	sq_end(q);
	if (e == ERR_NOT_FOUND) {
		q = sq_use(s, SQ_ACCOUNT_STANDS);
		sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
		e = sq_has(s, q, &head.known);
		head.derived = head.known;
	}
	if (e == ERR_OK && head.derived) {
		e = derive_head(s, account, &head);
	}
	if (e == ERR_OK) {
		*ret = head;
	}
	return e;
}

enum err
sq_head_put(struct storage_sqlite *s, const uint8_t account[ACCOUNT_ID_LEN], const struct storage_head *head)
{
	sqlite3_stmt *q = sq_use(s, SQ_HEAD_PUT);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	sq_number(s, q, 2, head->n);
	sq_bytes(s, q, 3, bytes_of(head->head, HEAD_LEN));
	sq_number(s, q, 4, head->used);
	enum err e = sq_write(s, q);
	s->base.heads_mended += e == ERR_OK && head->derived ? 1 : 0;
	return e;
}

enum err
sq_record_put(struct storage_sqlite *s, const uint8_t account[ACCOUNT_ID_LEN], uint8_t kind,
	      struct bytes body, struct storage_head *head)
{
	sqlite3_stmt *q = sq_use(s, SQ_LOG_PUT);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	sq_number(s, q, 2, head->n + 1);
	sq_bytes(s, q, 3, bytes_of(head->head, HEAD_LEN));
	sq_number(s, q, 4, kind);
	sq_bytes(s, q, 5, body);
	enum err e = sq_write(s, q);
	if (e != ERR_OK) {
		/* sq_log_head stands behind the last record. */
		return e == ERR_EXISTS ? ERR_DAMAGED : e;
	}
	head->n++;
	storage_chain(head->head, kind, body, head->head);
	return ERR_OK;
}

enum err
sq_log_append(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN], const uint8_t expected[HEAD_LEN],
	      const struct bytes *bodies, size_t count, int64_t used_delta,
	      const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count, struct storage_head *ret)
{
	struct storage_sqlite *s = sq_of(base);
	struct storage_head head;
	enum err e = sq_may_write(s);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = bodies[i].len > STORAGE_RECORD_MAX ? ERR_LIMIT : ERR_OK;
	}
	e = e == ERR_OK ? sq_log_head(base, account, &head) : e;
	if (e == ERR_OK && memcmp(head.head, expected, HEAD_LEN) != 0) {
		e = ERR_CONFLICT;
	}
	e = e == ERR_OK ? sq_blobs_exist(s, claims, claim_count) : e;
	if (e != ERR_OK) {
		return e;
	}
	/* Nothing below fails but for the disk, memory or damage. */
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = sq_record_put(s, account, RECORD_SESSION, bodies[i], &head);
	}
	head.used = storage_used_after(head.used, used_delta);
	e = e == ERR_OK ? sq_blobs_claim(s, claims, claim_count) : e;
	e = e == ERR_OK ? sq_head_put(s, account, &head) : e;
	if (e == ERR_OK) {
		*ret = head;
	}
	return e;
}

static enum err
give_record(sqlite3_stmt *q, storage_record_fn fn, void *arg)
{
	/* What a damaged row cannot be is left empty: its reader sees that it does not open, and goes on behind it. */
	struct storage_record record = {.n = sq_column_number(q, 0), .body = sq_column(q, 3)};
	uint64_t kind = sq_column_number(q, 2);
	record.kind = kind <= UINT8_MAX ? (uint8_t)kind : 0;
	if (record.body.len > STORAGE_RECORD_MAX) {
		record.body = BYTES_EMPTY;
	}
	if (sq_column_fixed(q, 1, record.before, HEAD_LEN) != ERR_OK) {
		memset(record.before, 0, HEAD_LEN);
	}
	return fn(arg, &record);
}

enum err
sq_log_read(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN], uint64_t from, storage_record_fn fn,
	    void *arg)
{
	struct storage_sqlite *s = sq_of(base);
	if (from > INT64_MAX) {
		return ERR_OK;
	}
	sqlite3_stmt *q = sq_use(s, SQ_LOG_READ);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	sq_number(s, q, 2, from);
	enum err e;
	while ((e = sq_next(s, q)) == ERR_OK) {
		e = give_record(q, fn, arg);
		if (e != ERR_OK) {
			sq_end(q);
			return e;
		}
	}
	sq_end(q);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err
sq_log_read_one(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n, storage_record_fn fn,
		void *arg)
{
	struct storage_sqlite *s = sq_of(base);
	if (n > INT64_MAX) {
		return ERR_NOT_FOUND;
	}
	sqlite3_stmt *q = sq_use(s, SQ_LOG_READ_ONE);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	sq_number(s, q, 2, n);
	enum err e = sq_next(s, q);
	e = e == ERR_OK ? give_record(q, fn, arg) : e;
	sq_end(q);
	return e;
}

enum err
sq_log_delete(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN], const uint64_t *ns, size_t count)
{
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		if (ns[i] > INT64_MAX) {
			continue; /* not there */
		}
		sqlite3_stmt *q = sq_use(s, SQ_LOG_DELETE);
		sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
		sq_number(s, q, 2, ns[i]);
		e = sq_write(s, q);
	}
	return e;
}

enum err
sq_account_create(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN])
{
	struct storage_sqlite *s = sq_of(base);
	struct storage_head head;
	enum err e = sq_may_write(s);
	e = e == ERR_OK ? sq_log_head(base, account, &head) : e;
	return e == ERR_OK && (!head.known || head.derived) ? sq_head_put(s, account, &head) : e;
}

/* Every snapshot of a record below `below` but that of record `keep`. */
static enum err
drop_snapshots(struct storage_sqlite *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t below, uint64_t keep)
{
	uint64_t n = below;
	uint8_t blob[BLOB_NAME_LEN];
	enum err e = ERR_OK;
	while (e == ERR_OK && n > 0 && (e = sq_snapshot_get(&s->base, account, n, &n, blob)) == ERR_OK) {
		if (n == keep) {
			continue;
		}
		e = sq_blob_delete(&s->base, blob);
		if (e == ERR_OK || e == ERR_NOT_FOUND) {
			sqlite3_stmt *q = sq_use(s, SQ_SNAPSHOT_DELETE);
			sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
			sq_number(s, q, 2, n);
			e = sq_write(s, q);
		}
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err
sq_account_delete(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN])
{
	static const enum sq_statement steps[] = {SQ_LOG_DELETE_ALL, SQ_HEAD_DELETE};
	struct storage_sqlite *s = sq_of(base);
	enum err e = sq_may_write(s);
	e = e == ERR_OK ? drop_snapshots(s, account, INT64_MAX, 0) : e;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && e == ERR_OK; i++) {
		sqlite3_stmt *q = sq_use(s, steps[i]);
		sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
		e = sq_write(s, q);
	}
	return e;
}

enum err
sq_account_walk(struct storage *base, storage_row_fn fn, void *arg)
{
	return sq_walk(sq_of(base), SQ_HEAD_WALK, fn, arg);
}

enum err
sq_snapshot_get(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN], uint64_t below, uint64_t *ret_n,
		uint8_t ret_blob[BLOB_NAME_LEN])
{
	struct storage_sqlite *s = sq_of(base);
	sqlite3_stmt *q = sq_use(s, SQ_SNAPSHOT_GET);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	sq_number(s, q, 2, below == 0 || below > INT64_MAX ? INT64_MAX : below);
	enum err e = sq_next(s, q);
	if (e == ERR_OK) {
		e = sq_column_fixed(q, 1, ret_blob, BLOB_NAME_LEN);
	}
	if (e == ERR_OK) {
		*ret_n = sq_column_number(q, 0);
	}
	sq_end(q);
	return e;
}

enum err
sq_snapshot_put(struct storage *base, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n,
		const uint8_t blob[BLOB_NAME_LEN], uint64_t keep)
{
	struct storage_sqlite *s = sq_of(base);
	uint64_t old_n = 0;
	uint8_t old_blob[BLOB_NAME_LEN];
	enum err e = sq_may_write(s);
	if (e == ERR_OK && n >= INT64_MAX) {
		e = ERR_LIMIT;
	}
	e = e == ERR_OK ? sq_blob_exists(s, blob) : e;
	if (e != ERR_OK) {
		return e;
	}
	enum err old = sq_snapshot_get(base, account, 0, &old_n, old_blob);
	if (old != ERR_OK && old != ERR_NOT_FOUND) {
		return old;
	}
	if (old == ERR_OK && n < old_n) {
		return ERR_CONFLICT;
	}
	sqlite3_stmt *q = sq_use(s, SQ_SNAPSHOT_PUT);
	sq_bytes(s, q, 1, bytes_of(account, ACCOUNT_ID_LEN));
	sq_number(s, q, 2, n);
	sq_bytes(s, q, 3, bytes_of(blob, BLOB_NAME_LEN));
	e = sq_write(s, q);
	e = e == ERR_OK ? sq_blob_claim(s, blob) : e;
	if (e == ERR_OK && old == ERR_OK && old_n == n && memcmp(old_blob, blob, BLOB_NAME_LEN) != 0) {
		e = sq_blob_delete(base, old_blob);
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e == ERR_OK ? drop_snapshots(s, account, n, keep) : e;
}
