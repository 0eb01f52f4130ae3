/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORAGE_STORAGE_SQLITE_H
#define COHUE_STORAGE_STORAGE_SQLITE_H

#include <sqlite3.h>

#include "storage/storage.h"

/*
 * What the files of the SQLite driver share: a cache of prepared statements with a sticky
 * error for bindings, and the functions of each group of tables. Internal to src/storage.
 */

enum sq_statement {
	SQ_BEGIN,
	SQ_COMMIT,
	SQ_ROLLBACK,
	SQ_MARK,
	SQ_MARK_BACK,
	SQ_MARK_DONE,
	SQ_META_GET,
	SQ_META_PUT,
	SQ_META_WALK,
	SQ_DIRECTORY_GET,
	SQ_DIRECTORY_PUT,
	SQ_DIRECTORY_CREATE,
	SQ_DIRECTORY_DELETE,
	SQ_DIRECTORY_WALK,
	SQ_KEY_PUT,
	SQ_KEY_DELETE,
	SQ_KEY_WALK,
	SQ_HEAD_GET,
	SQ_HEAD_PUT,
	SQ_HEAD_ADD,
	SQ_HEAD_DELETE,
	SQ_HEAD_WALK,
	SQ_LOG_PUT,
	SQ_LOG_LAST,
	SQ_LOG_HAS,
	SQ_ACCOUNT_STANDS,
	SQ_LOG_READ,
	SQ_LOG_READ_ONE,
	SQ_LOG_DELETE,
	SQ_LOG_DELETE_ALL,
	SQ_SNAPSHOT_GET,
	SQ_SNAPSHOT_PUT,
	SQ_SNAPSHOT_DELETE,
	SQ_BLOB_PUT,
	SQ_BLOB_GET,
	SQ_BLOB_HAS,
	SQ_BLOB_DELETE,
	SQ_BLOB_WALK,
	SQ_PENDING_PUT,
	SQ_PENDING_HAS,
	SQ_PENDING_DELETE,
	SQ_PENDING_BLOBS_DELETE,
	SQ_PENDING_CLEAR,
	SQ_UNIT_CREATE,
	SQ_UNIT_PUT,
	SQ_UNIT_UPDATE,
	SQ_UNIT_HAS,
	SQ_UNIT_DELETE,
	SQ_UNIT_WALK,
	SQ_PART_CREATE,
	SQ_PART_GET,
	SQ_PART_HAS,
	SQ_PART_UPDATE,
	SQ_PART_DELETE,
	SQ_PART_DELETE_ALL,
	SQ_PART_WALK,
	SQ__COUNT
};

enum { SQ_FRESH_MAX = 256 };

struct storage_sqlite {
	struct storage base;
	sqlite3 *db;
	sqlite3_stmt *statements[SQ__COUNT];
	int lock_fd;
	enum err bind_error; /* of the statement being bound */
	bool read_only;
	bool in_transaction;
	/*
	 * Blobs that this transaction began and nothing in it has claimed yet. Nearly all are claimed before the
	 * commit: only the others are written to blob_pending, by the commit. What finds no room here is written at once.
	 */
	uint8_t fresh[SQ_FRESH_MAX][BLOB_NAME_LEN];
	size_t fresh_count;
};

struct storage_sqlite *sq_of(struct storage *s);
/* The error that stands for an SQLite result code; ERR_EXISTS for a broken uniqueness. */
enum err sq_error(struct storage_sqlite *s, int rc);
/* A statement, reset, ready to bind. */
sqlite3_stmt *sq_use(struct storage_sqlite *s, enum sq_statement which);
/* Bound bytes are lent until sq_write or sq_end. */
void sq_bytes(struct storage_sqlite *s, sqlite3_stmt *q, int at, struct bytes value);
void sq_number(struct storage_sqlite *s, sqlite3_stmt *q, int at, uint64_t value);
/* Runs to its end; sq_changed tells how many rows it touched. ERR_EXISTS: uniqueness. */
COHUE_MUST_USE enum err sq_write(struct storage_sqlite *s, sqlite3_stmt *q);
uint64_t sq_changed(struct storage_sqlite *s);
/* The next row: ERR_OK, or ERR_NOT_FOUND after the last. Call sq_end in each case. */
COHUE_MUST_USE enum err sq_next(struct storage_sqlite *s, sqlite3_stmt *q);
void sq_end(sqlite3_stmt *q);
/* Lent until the next sq_next or sq_end. */
struct bytes sq_column(sqlite3_stmt *q, int at);
uint64_t sq_column_number(sqlite3_stmt *q, int at);
/* A column of exactly n bytes; ERR_DAMAGED otherwise. */
COHUE_MUST_USE enum err sq_column_fixed(sqlite3_stmt *q, int at, uint8_t *ret, size_t n);
/* True for one row, whose columns are not asked for. */
COHUE_MUST_USE enum err sq_has(struct storage_sqlite *s, sqlite3_stmt *q, bool *ret);
/* Binds nothing more, appends the first column of the first row to ret; ERR_NOT_FOUND. */
COHUE_MUST_USE enum err sq_fetch(struct storage_sqlite *s, sqlite3_stmt *q, struct buf *ret);
/* key = column 0, part = column 1, value = column 2. */
COHUE_MUST_USE enum err sq_walk(struct storage_sqlite *s, enum sq_statement which, storage_row_fn fn,
				void *arg);
enum err sq_walk_after(struct storage_sqlite *s, enum sq_statement which, struct bytes after,
		       storage_row_fn fn, void *arg);
/* ERR_STATE outside begin() and commit(). */
COHUE_MUST_USE enum err sq_may_write(const struct storage_sqlite *s);

/* Directory, spool keys, meta (storage_sqlite_directory.c). */
enum err sq_directory_get(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN], struct buf *ret_value);
enum err sq_directory_put(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN], struct bytes value);
enum err sq_directory_create(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN], struct bytes value);
enum err sq_directory_delete(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN]);
enum err sq_directory_walk(struct storage *s, struct bytes after, storage_row_fn fn, void *arg);
enum err sq_key_put(struct storage *s, uint32_t epoch, struct bytes value);
enum err sq_key_delete(struct storage *s, uint32_t epoch);
enum err sq_key_walk(struct storage *s, storage_row_fn fn, void *arg);
enum err sq_meta_get(struct storage *s, const char *name, struct buf *ret_value);
enum err sq_meta_put(struct storage *s, const char *name, struct bytes value);
enum err sq_meta_walk(struct storage *s, storage_row_fn fn, void *arg);

/* Logs and snapshots (storage_sqlite_log.c). */
enum err sq_log_head(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret);
enum err sq_log_append(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN],
		       const uint8_t expected[HEAD_LEN], const struct bytes *bodies, size_t count,
		       int64_t used_delta, const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count,
		       struct storage_head *ret);
enum err sq_log_read(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t from,
		     storage_record_fn fn, void *arg);
enum err sq_log_read_one(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n,
			 storage_record_fn fn, void *arg);
enum err sq_log_delete(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], const uint64_t *ns,
		       size_t count);
enum err sq_account_create(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN]);
enum err sq_account_delete(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN]);
enum err sq_account_walk(struct storage *s, storage_row_fn fn, void *arg);
enum err sq_snapshot_put(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n,
			 const uint8_t blob[BLOB_NAME_LEN], uint64_t keep);
enum err sq_snapshot_get(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t below,
			 uint64_t *ret_n, uint8_t ret_blob[BLOB_NAME_LEN]);
/* Writes one record behind *head and moves *head on; the caller stores the head. */
COHUE_MUST_USE enum err sq_record_put(struct storage_sqlite *s, const uint8_t account[ACCOUNT_ID_LEN],
				      uint8_t kind, struct bytes body, struct storage_head *head);
COHUE_MUST_USE enum err sq_head_put(struct storage_sqlite *s, const uint8_t account[ACCOUNT_ID_LEN],
				    const struct storage_head *head);

/* Blobs (storage_sqlite_blob.c). */
enum err sq_blob_put(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, struct bytes data);
enum err sq_blob_get(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk,
		     struct buf *ret_data);
enum err sq_blob_delete(struct storage *s, const uint8_t name[BLOB_NAME_LEN]);
enum err sq_blob_walk(struct storage *s, struct bytes after, storage_row_fn fn, void *arg);
/* ERR_NOT_FOUND unless it, or each of them, is there, pending or not. Writes nothing. */
COHUE_MUST_USE enum err sq_blob_exists(struct storage_sqlite *s, const uint8_t name[BLOB_NAME_LEN]);
COHUE_MUST_USE enum err sq_blobs_exist(struct storage_sqlite *s, const uint8_t (*names)[BLOB_NAME_LEN],
				       size_t count);
COHUE_MUST_USE enum err sq_blob_claim(struct storage_sqlite *s, const uint8_t name[BLOB_NAME_LEN]);
COHUE_MUST_USE enum err sq_blobs_claim(struct storage_sqlite *s, const uint8_t (*names)[BLOB_NAME_LEN],
				       size_t count);
/* Before the commit: what this transaction leaves unclaimed is written down. */
COHUE_MUST_USE enum err sq_blobs_settle(struct storage_sqlite *s);
/* Deletes what nobody claimed. */
COHUE_MUST_USE enum err sq_blobs_sweep(struct storage_sqlite *s);

/* Spool (storage_sqlite_spool.c). */
enum err sq_spool_put(struct storage *s, const uint8_t unit[UNIT_ID_LEN], struct bytes state,
		      const struct bytes *parts, size_t part_count, const uint8_t (*claims)[BLOB_NAME_LEN],
		      size_t claim_count, const uint8_t (*accounts)[ACCOUNT_ID_LEN], const uint64_t *sizes,
		      const uint64_t *quotas, size_t account_count);
enum err sq_spool_state(struct storage *s, const uint8_t unit[UNIT_ID_LEN], struct bytes state);
enum err sq_spool_part_get(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
			   struct buf *ret_body);
enum err sq_spool_part_put(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
			   struct bytes body);
enum err sq_spool_release(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
			  const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret);
enum err sq_spool_move(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
		       const uint8_t to_unit[UNIT_ID_LEN], struct bytes to_state);
enum err sq_spool_part_delete(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part);
enum err sq_spool_delete(struct storage *s, const uint8_t unit[UNIT_ID_LEN]);
enum err sq_spool_walk(struct storage *s, struct bytes after, storage_row_fn fn, void *arg);
enum err sq_spool_part_walk(struct storage *s, storage_row_fn fn, void *arg);

/* storage_sqlite_check.c */
enum err sq_check(struct storage *s, void (*report)(void *arg, const char *what, uint64_t count), void *arg);

#endif
