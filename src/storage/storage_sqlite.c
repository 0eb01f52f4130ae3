/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The SQLite driver: opening, the instance lock, transactions and prepared statements.
 *
 * The store's process is sandboxed after open(), so every file is opened there: the first
 * commit, which open() always makes, creates the WAL, syncs the folder and seeds SQLite's
 * generator. Exclusive locking keeps the WAL index in memory (no shared-memory file), and
 * the WAL is truncated, never removed.
 */
#include "storage/storage_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/storage_sqlite_vfs.h"

enum {
	APPLICATION_ID = 0x436f6875, /* "Cohu" */
	FORMAT_VERSION = 3,
	PATH_LEN_MAX = 4096,
};

static const char database_name[] = "cohue.db";
static const char lock_name[] = "lock";

/*
 * Page size by measurement: with rows of 4.2 kB, 8 and 16 KiB pages waste half of the file and more, and
 * halve the throughput of 4 KiB pages; with rows of 64 KiB, larger pages win a quarter (storage_bench.c).
 */
static const char *const settings[] = {
    "PRAGMA page_size=4096",
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL", /* also what storage_sqlite_vfs.h rests on */
    "PRAGMA secure_delete=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA mmap_size=0",
    "PRAGMA cache_size=-16384",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA wal_autocheckpoint=2000",     /* 8 MiB: one checkpoint serves hundreds of commits */
    "PRAGMA journal_size_limit=16777216", /* bytes of WAL that stay after a checkpoint */
};

/*
 * Blobs are large, and a table WITHOUT ROWID keeps the beginning of its rows in the inner pages too: its tree of 20,000 of
 * them is seven pages deep, and reading one costs three times as much as here, where the row's number is made of
 * its random name, so that inner pages hold numbers only.
 */
#define BLOBS_TABLE                                                                                          \
	"CREATE TABLE blobs(id INTEGER PRIMARY KEY, name BLOB NOT NULL, chunk INTEGER NOT NULL,"             \
	" data BLOB NOT NULL, sum INTEGER);"
#define SNAPSHOTS_TABLE                                                                                      \
	"CREATE TABLE snapshots(account BLOB NOT NULL, n INTEGER NOT NULL, blob BLOB NOT NULL, sum INTEGER," \
	" PRIMARY KEY(account, n)) WITHOUT ROWID;"
#define BLOB_ROW "id=blob_row(?1,?2) AND name=?1 AND chunk=?2"

/* sum: row_sum() of the row's other columns; NULL in a row of before version 3. */
static const char schema[] =
    "CREATE TABLE directory(key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL, sum INTEGER) WITHOUT ROWID;"
    "CREATE TABLE heads(account BLOB NOT NULL PRIMARY KEY, n INTEGER NOT NULL, head BLOB NOT NULL,"
    " used INTEGER NOT NULL, sum INTEGER) WITHOUT ROWID;"
    "CREATE TABLE log(account BLOB NOT NULL, n INTEGER NOT NULL, before BLOB NOT NULL,"
    " kind INTEGER NOT NULL, body BLOB NOT NULL, sum INTEGER, PRIMARY KEY(account, n)) WITHOUT ROWID;" //
    SNAPSHOTS_TABLE BLOBS_TABLE "CREATE TABLE blob_pending(name BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID;"
    "CREATE TABLE spool_units(unit BLOB NOT NULL PRIMARY KEY, state BLOB NOT NULL, sum INTEGER)"
    " WITHOUT ROWID;"
    "CREATE TABLE spool_parts(unit BLOB NOT NULL, part INTEGER NOT NULL, body BLOB NOT NULL, sum INTEGER,"
    " PRIMARY KEY(unit, part)) WITHOUT ROWID;"
    "CREATE TABLE spool_keys(epoch INTEGER NOT NULL PRIMARY KEY, value BLOB NOT NULL, sum INTEGER)"
    " WITHOUT ROWID;"
    "CREATE TABLE meta(name BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL, sum INTEGER) WITHOUT ROWID;";

/* From version 1, where blobs were a table WITHOUT ROWID, to 2. */
static const char migration_1[] =
    "ALTER TABLE blobs RENAME TO blobs_1;"
    "CREATE TABLE blobs(id INTEGER PRIMARY KEY, name BLOB NOT NULL, chunk INTEGER NOT NULL,"
    " data BLOB NOT NULL);"
    "INSERT INTO blobs SELECT blob_row(name,chunk),name,chunk,data FROM blobs_1;"
    "DROP TABLE blobs_1;";
/* From version 2, without sums and with one snapshot of each account, to 3. No large row is written anew. */
static const char migration_2[] =
    "ALTER TABLE directory ADD COLUMN sum INTEGER; ALTER TABLE heads ADD COLUMN sum INTEGER;"
    "ALTER TABLE log ADD COLUMN sum INTEGER; ALTER TABLE blobs ADD COLUMN sum INTEGER;"
    "ALTER TABLE spool_units ADD COLUMN sum INTEGER; ALTER TABLE spool_parts ADD COLUMN sum INTEGER;"
    "ALTER TABLE spool_keys ADD COLUMN sum INTEGER; ALTER TABLE meta ADD COLUMN sum INTEGER;"
    "ALTER TABLE snapshots RENAME TO snapshots_2;" SNAPSHOTS_TABLE
    "INSERT INTO snapshots SELECT account,n,blob,NULL FROM snapshots_2;"
    "DROP TABLE snapshots_2;";

static const char *const statements[SQ__COUNT] = {
    [SQ_BEGIN] = "BEGIN IMMEDIATE",
    [SQ_COMMIT] = "COMMIT",
    [SQ_ROLLBACK] = "ROLLBACK",
    [SQ_MARK] = "SAVEPOINT one",
    [SQ_MARK_BACK] = "ROLLBACK TO one",
    [SQ_MARK_DONE] = "RELEASE one",
    [SQ_META_GET] = "SELECT value FROM meta WHERE name=?1",
    [SQ_META_WALK] = "SELECT name,0,value FROM meta ORDER BY name",
    [SQ_META_PUT] = "INSERT OR REPLACE INTO meta VALUES(?1,?2,row_sum(?1,?2))",
    [SQ_DIRECTORY_GET] = "SELECT value FROM directory WHERE key=?1",
    [SQ_DIRECTORY_PUT] = "INSERT OR REPLACE INTO directory VALUES(?1,?2,row_sum(?1,?2))",
    [SQ_DIRECTORY_CREATE] = "INSERT INTO directory VALUES(?1,?2,row_sum(?1,?2))",
    [SQ_DIRECTORY_DELETE] = "DELETE FROM directory WHERE key=?1",
    [SQ_DIRECTORY_WALK] = "SELECT key,0,value FROM directory WHERE key>?1 ORDER BY key",
    [SQ_KEY_PUT] = "INSERT OR REPLACE INTO spool_keys VALUES(?1,?2,row_sum(?1,?2))",
    [SQ_KEY_DELETE] = "DELETE FROM spool_keys WHERE epoch=?1",
    [SQ_KEY_WALK] = "SELECT x'',epoch,value FROM spool_keys ORDER BY epoch",
    /* Last column: it can be believed. The record behind it is not there. */
    [SQ_HEAD_GET] = "SELECT n,head,used,coalesce((sum IS NULL OR sum=row_sum(account,n,head,used))"
		    " AND typeof(n)='integer' AND n>=0 AND NOT EXISTS"
		    "(SELECT 1 FROM log l WHERE l.account=?1 AND l.n=h.n+1),0) FROM heads h WHERE account=?1",
    [SQ_LOG_LAST] =
	"SELECT max(coalesce((SELECT n FROM log WHERE account=?1 AND n>0 AND n<9223372036854775807"
	" AND (sum IS NULL OR sum=row_sum(account,n,before,kind,body)) ORDER BY n DESC LIMIT 1),0),"
	"coalesce((SELECT n FROM snapshots WHERE account=?1 AND n>0 AND n<9223372036854775807"
	" AND (sum IS NULL OR sum=row_sum(account,n,blob)) ORDER BY n DESC LIMIT 1),0))",
    [SQ_LOG_HAS] = "SELECT 1 FROM log WHERE account=?1 AND n=?2",
    [SQ_ACCOUNT_STANDS] = "SELECT 1 WHERE EXISTS(SELECT 1 FROM log WHERE account=?1)"
			  " OR EXISTS(SELECT 1 FROM snapshots WHERE account=?1)",
    [SQ_HEAD_PUT] = "INSERT INTO heads VALUES(?1,?2,?3,?4,row_sum(?1,?2,?3,?4))"
		    " ON CONFLICT(account) DO UPDATE SET n=?2,head=?3,used=?4,sum=row_sum(?1,?2,?3,?4)",
    [SQ_HEAD_ADD] = "INSERT INTO heads VALUES(?1,0,zeroblob(32),?2,row_sum(?1,0,zeroblob(32),?2))"
		    " ON CONFLICT(account) DO UPDATE SET used=used+?2,"
		    " sum=CASE WHEN sum IS row_sum(account,n,head,used) OR sum IS NULL"
		    " THEN row_sum(account,n,head,used+?2) ELSE sum END",
    [SQ_HEAD_DELETE] = "DELETE FROM heads WHERE account=?1",
    [SQ_HEAD_WALK] = "SELECT account,0,head FROM heads ORDER BY account",
    [SQ_LOG_PUT] = "INSERT INTO log VALUES(?1,?2,?3,?4,?5,row_sum(?1,?2,?3,?4,?5))",
    [SQ_LOG_READ] = "SELECT n,before,kind,body FROM log WHERE account=?1 AND n>=?2 ORDER BY n",
    [SQ_LOG_READ_ONE] = "SELECT n,before,kind,body FROM log WHERE account=?1 AND n=?2",
    [SQ_LOG_DELETE] = "DELETE FROM log WHERE account=?1 AND n=?2",
    [SQ_LOG_DELETE_ALL] = "DELETE FROM log WHERE account=?1",
    [SQ_SNAPSHOT_GET] = "SELECT n,blob FROM snapshots WHERE account=?1 AND n<?2 ORDER BY n DESC LIMIT 1",
    [SQ_SNAPSHOT_PUT] = "INSERT OR REPLACE INTO snapshots VALUES(?1,?2,?3,row_sum(?1,?2,?3))",
    [SQ_SNAPSHOT_DELETE] = "DELETE FROM snapshots WHERE account=?1 AND n=?2",
    [SQ_BLOB_PUT] = "INSERT INTO blobs VALUES(blob_row(?1,?2),?1,?2,?3,row_sum(?1,?2,?3))",
    [SQ_BLOB_GET] = "SELECT data FROM blobs WHERE " BLOB_ROW,
    [SQ_BLOB_HAS] = "SELECT 1 FROM blobs WHERE " BLOB_ROW,
    [SQ_BLOB_DELETE] =
	"DELETE FROM blobs WHERE id BETWEEN blob_row(?1,0) AND blob_row(?1,4294967295) AND name=?1",
    [SQ_BLOB_WALK] =
	"SELECT name,chunk,x'' FROM blobs WHERE id>coalesce(blob_row(?1,4294967295),-1) ORDER BY id",
    [SQ_PENDING_PUT] = "INSERT OR REPLACE INTO blob_pending VALUES(?1)",
    [SQ_PENDING_HAS] = "SELECT 1 FROM blob_pending WHERE name=?1",
    [SQ_PENDING_DELETE] = "DELETE FROM blob_pending WHERE name=?1",
    [SQ_PENDING_BLOBS_DELETE] =
	"DELETE FROM blobs WHERE id IN (SELECT b.id FROM blob_pending p CROSS JOIN blobs b"
	" WHERE b.id BETWEEN blob_row(p.name,0) AND blob_row(p.name,4294967295) AND b.name=p.name)",
    [SQ_PENDING_CLEAR] = "DELETE FROM blob_pending",
    [SQ_UNIT_CREATE] = "INSERT INTO spool_units VALUES(?1,?2,row_sum(?1,?2))",
    [SQ_UNIT_PUT] = "INSERT OR REPLACE INTO spool_units VALUES(?1,?2,row_sum(?1,?2))",
    [SQ_UNIT_UPDATE] = "UPDATE spool_units SET state=?2,sum=row_sum(?1,?2) WHERE unit=?1",
    [SQ_UNIT_HAS] = "SELECT 1 FROM spool_units WHERE unit=?1",
    [SQ_UNIT_DELETE] = "DELETE FROM spool_units WHERE unit=?1",
    [SQ_UNIT_WALK] = "SELECT unit,0,state FROM spool_units WHERE unit>?1 ORDER BY unit",
    [SQ_PART_CREATE] = "INSERT INTO spool_parts VALUES(?1,?2,?3,row_sum(?1,?2,?3))",
    [SQ_PART_GET] = "SELECT body FROM spool_parts WHERE unit=?1 AND part=?2",
    [SQ_PART_HAS] = "SELECT 1 FROM spool_parts WHERE unit=?1 AND part=?2",
    [SQ_PART_UPDATE] = "UPDATE spool_parts SET body=?3,sum=row_sum(?1,?2,?3) WHERE unit=?1 AND part=?2",
    [SQ_PART_DELETE] = "DELETE FROM spool_parts WHERE unit=?1 AND part=?2",
    [SQ_PART_DELETE_ALL] = "DELETE FROM spool_parts WHERE unit=?1",
    [SQ_PART_WALK] = "SELECT unit,part,body FROM spool_parts ORDER BY unit,part",
};

struct storage_sqlite *
sq_of(struct storage *s)
{
	return (struct storage_sqlite *)(void *)s;
}

enum err
sq_error(struct storage_sqlite *s, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return ERR_OK;
	case SQLITE_FULL:
		return ERR_FULL;
	case SQLITE_NOMEM:
		return ERR_MEMORY;
	case SQLITE_TOOBIG:
		return ERR_LIMIT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_AGAIN;
	case SQLITE_CONSTRAINT:
		return ERR_EXISTS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_MISMATCH:
		return ERR_DAMAGED;
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_READONLY:
		return ERR_DENIED;
	default:
		break;
	}
	if (rc == SQLITE_IOERR_NOMEM) {
		return ERR_MEMORY;
	}
	return err_from_errno(sqlite3_system_errno(s->db)) == ERR_FULL ? ERR_FULL : ERR_IO;
}

sqlite3_stmt *
sq_use(struct storage_sqlite *s, enum sq_statement which)
{
	sq_end(s->statements[which]);
	s->bind_error = ERR_OK;
	return s->statements[which];
}

void
sq_bytes(struct storage_sqlite *s, sqlite3_stmt *q, int at, struct bytes value)
{
	/* A NULL pointer would bind NULL. */
	int rc = value.len == 0 ? sqlite3_bind_zeroblob(q, at, 0)
				: sqlite3_bind_blob64(q, at, value.ptr, value.len, SQLITE_STATIC);
	if (rc != SQLITE_OK && s->bind_error == ERR_OK) {
		s->bind_error = sq_error(s, rc);
	}
}

void
sq_number(struct storage_sqlite *s, sqlite3_stmt *q, int at, uint64_t value)
{
	if (value > INT64_MAX) {
		s->bind_error = s->bind_error == ERR_OK ? ERR_LIMIT : s->bind_error;
		return;
	}
	int rc = sqlite3_bind_int64(q, at, (sqlite3_int64)value);
	if (rc != SQLITE_OK && s->bind_error == ERR_OK) {
		s->bind_error = sq_error(s, rc);
	}
}

enum err
sq_next(struct storage_sqlite *s, sqlite3_stmt *q)
{
	if (s->bind_error != ERR_OK) {
		return s->bind_error;
	}
	int rc = sqlite3_step(q);
	return rc == SQLITE_ROW ? ERR_OK : rc == SQLITE_DONE ? ERR_NOT_FOUND : sq_error(s, rc);
}

void
sq_end(sqlite3_stmt *q)
{
	/* Repeats the error of the last step, which has been told already. */
	(void)sqlite3_reset(q);
	(void)sqlite3_clear_bindings(q);
}

enum err
sq_write(struct storage_sqlite *s, sqlite3_stmt *q)
{
	enum err e = sq_next(s, q);
	sq_end(q);
	return e == ERR_NOT_FOUND ? ERR_OK : e == ERR_OK ? ERR_STATE : e;
}

uint64_t
sq_changed(struct storage_sqlite *s)
{
	return (uint64_t)sqlite3_changes64(s->db);
}

struct bytes
sq_column(sqlite3_stmt *q, int at)
{
	const void *ptr = sqlite3_column_blob(q, at);
	int len = sqlite3_column_bytes(q, at);
	return bytes_of(ptr, ptr == NULL || len < 0 ? 0 : (size_t)len);
}

uint64_t
sq_column_number(sqlite3_stmt *q, int at)
{
	sqlite3_int64 v = sqlite3_column_int64(q, at);
	return v < 0 ? 0 : (uint64_t)v;
}

enum err
sq_column_fixed(sqlite3_stmt *q, int at, uint8_t *ret, size_t n)
{
	struct bytes value = sq_column(q, at);
	if (value.len != n) {
		return ERR_DAMAGED;
	}
	memcpy(ret, value.ptr, n);
	return ERR_OK;
}

enum err
sq_has(struct storage_sqlite *s, sqlite3_stmt *q, bool *ret)
{
	enum err e = sq_next(s, q);
	sq_end(q);
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		return e;
	}
	*ret = e == ERR_OK;
	return ERR_OK;
}

enum err
sq_fetch(struct storage_sqlite *s, sqlite3_stmt *q, struct buf *ret)
{
	enum err e = sq_next(s, q);
	if (e == ERR_OK) {
		e = buf_append(ret, sq_column(q, 0));
	}
	sq_end(q);
	return e;
}

enum err
sq_walk(struct storage_sqlite *s, enum sq_statement which, storage_row_fn fn, void *arg)
{
	return sq_walk_after(s, which, BYTES_EMPTY, fn, arg);
}

enum err
sq_walk_after(struct storage_sqlite *s, enum sq_statement which, struct bytes after, storage_row_fn fn,
	      void *arg)
{
	sqlite3_stmt *q = sq_use(s, which);
	enum err e;
	if (sqlite3_bind_parameter_count(q) > 0) {
		/* An empty blob is before every key; no bytes at all would be NULL, and equal to nothing. */
		sq_bytes(s, q, 1, after.len > 0 ? after : bytes_of("", 0));
	}
	while ((e = sq_next(s, q)) == ERR_OK) {
		e = fn(arg, sq_column(q, 0), (uint32_t)sq_column_number(q, 1), sq_column(q, 2));
		if (e != ERR_OK) {
			sq_end(q);
			return e;
		}
	}
	sq_end(q);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err
sq_may_write(const struct storage_sqlite *s)
{
	return s->in_transaction ? ERR_OK : ERR_STATE;
}

static enum err
begin(struct storage *base)
{
	struct storage_sqlite *s = sq_of(base);
	if (s->in_transaction || s->read_only) {
		return ERR_STATE;
	}
	enum err e = sq_write(s, sq_use(s, SQ_BEGIN));
	s->in_transaction = e == ERR_OK;
	return e;
}

static enum err
commit(struct storage *base)
{
	struct storage_sqlite *s = sq_of(base);
	if (!s->in_transaction) {
		return ERR_STATE;
	}
	if (sqlite3_get_autocommit(s->db) != 0) {
		return ERR_IO; /* SQLite has rolled back by itself after an error */
	}
	enum err e = sq_blobs_settle(s);
	e = e == ERR_OK ? sq_write(s, sq_use(s, SQ_COMMIT)) : e;
	s->in_transaction = e != ERR_OK;
	return e;
}

static void
rollback(struct storage *base)
{
	struct storage_sqlite *s = sq_of(base);
	for (size_t i = 0; i < SQ__COUNT; i++) {
		sq_end(s->statements[i]);
	}
	if (s->db != NULL && sqlite3_get_autocommit(s->db) == 0) {
		/* Cannot fail in a way that leaves the transaction open. */
		enum err e = sq_write(s, sq_use(s, SQ_ROLLBACK));
		if (e != ERR_OK && sqlite3_get_autocommit(s->db) == 0) {
			panic("a transaction could not be rolled back");
		}
	}
	s->in_transaction = false;
	s->fresh_count = 0;
}

static enum err
upkeep(struct storage *base)
{
	struct storage_sqlite *s = sq_of(base);
	if (s->in_transaction || s->read_only) {
		return ERR_STATE;
	}
	return sq_error(s, sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
}

static void
destroy(struct storage **base)
{
	if (*base == NULL) {
		return;
	}
	struct storage_sqlite *s = sq_of(*base);
	if (s->db != NULL) {
		if (s->in_transaction) {
			rollback(*base);
		}
		for (size_t i = 0; i < SQ__COUNT; i++) {
			(void)sqlite3_finalize(s->statements[i]);
		}
		if (!s->read_only) {
			(void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
		}
		(void)sqlite3_close(s->db);
	}
	if (s->lock_fd >= 0) {
		(void)close(s->lock_fd);
	}
	free(s);
	*base = NULL;
}

static const struct storage_driver driver = {
    .name = "sqlite",
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .directory_get = sq_directory_get,
    .directory_put = sq_directory_put,
    .directory_create = sq_directory_create,
    .directory_delete = sq_directory_delete,
    .directory_walk = sq_directory_walk,
    .log_head = sq_log_head,
    .log_append = sq_log_append,
    .log_read = sq_log_read,
    .log_read_one = sq_log_read_one,
    .log_delete = sq_log_delete,
    .account_create = sq_account_create,
    .account_delete = sq_account_delete,
    .account_walk = sq_account_walk,
    .snapshot_put = sq_snapshot_put,
    .snapshot_get = sq_snapshot_get,
    .blob_put = sq_blob_put,
    .blob_get = sq_blob_get,
    .blob_delete = sq_blob_delete,
    .blob_walk = sq_blob_walk,
    .spool_put = sq_spool_put,
    .spool_state = sq_spool_state,
    .spool_part_get = sq_spool_part_get,
    .spool_part_put = sq_spool_part_put,
    .spool_release = sq_spool_release,
    .spool_move = sq_spool_move,
    .spool_part_delete = sq_spool_part_delete,
    .spool_delete = sq_spool_delete,
    .spool_walk = sq_spool_walk,
    .spool_part_walk = sq_spool_part_walk,
    .spool_key_put = sq_key_put,
    .spool_key_delete = sq_key_delete,
    .spool_key_walk = sq_key_walk,
    .meta_get = sq_meta_get,
    .meta_put = sq_meta_put,
    .meta_walk = sq_meta_walk,
    .upkeep = upkeep,
    .check = sq_check,
    .destroy = destroy,
};

static enum err
path_in(const char *folder, const char *name, char ret[PATH_LEN_MAX])
{
	int n = snprintf(ret, PATH_LEN_MAX, "%s/%s", folder, name);
	return n < 0 || n >= PATH_LEN_MAX ? ERR_LIMIT : ERR_OK;
}

/* The lock of this instance; the kernel takes it back when the process ends. */
static enum err
take_lock(struct storage_sqlite *s, const char *folder)
{
	char path[PATH_LEN_MAX];
	enum err e = path_in(folder, lock_name, path);
	if (e != ERR_OK) {
		return e;
	}
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0) {
		return err_from_errno(errno);
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		return errno == EWOULDBLOCK ? ERR_EXISTS : err_from_errno(errno);
	}
	return ERR_OK;
}

static enum err
execute(struct storage_sqlite *s, const char *sql)
{
	return sq_error(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static enum err
pragma_number(struct storage_sqlite *s, const char *sql, int64_t *ret)
{
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
	if (rc == SQLITE_OK) {
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW) {
			*ret = sqlite3_column_int64(q, 0);
		}
	}
	(void)sqlite3_finalize(q);
	return rc == SQLITE_ROW ? ERR_OK : rc == SQLITE_DONE ? ERR_DAMAGED : sq_error(s, rc);
}

/*
 * blob_row(name, chunk): the number of a chunk's row. 62 bits of the random name, so that a blob's chunks, counted on from there,
 * stay in order. Two blobs that meet are told apart by their names; the later one is refused.
 */
static void
blob_row(sqlite3_context *context, int count, sqlite3_value **values)
{
	const uint8_t *name = sqlite3_value_blob(values[0]);
	if (count != 2 || name == NULL || sqlite3_value_bytes(values[0]) != BLOB_NAME_LEN) {
		sqlite3_result_null(context);
		return;
	}
	uint64_t row = 0;
	for (size_t i = 0; i < 8; i++) {
		row = row << 8 | name[i];
	}
	row = (row >> 2) + ((uint64_t)sqlite3_value_int64(values[1]) & UINT32_MAX);
	sqlite3_result_int64(context, (sqlite3_int64)row);
}

static void
put_be(uint8_t *at, size_t n, uint64_t value)
{
	for (size_t i = n; i > 0; i--) {
		at[i - 1] = (uint8_t)value;
		value >>= 8;
	}
}

/*
 * row_sum(column, ...): against bits that flip on the disk, for who has no key. The first 8 octets of the hash of each number as
 * u64, and of each text as its u32 length and its octets. It proves nothing against who writes the file: that the seals do.
 */
static void
row_sum(sqlite3_context *context, int count, sqlite3_value **values)
{
	crypto_generichash_state state;
	uint8_t sum[HEAD_LEN];
	uint64_t number = 0;
	/* None of these can fail with a constant, valid output length. */
	(void)crypto_generichash_init(&state, NULL, 0, sizeof(sum));
	for (int i = 0; i < count; i++) {
		uint8_t head[8];
		if (sqlite3_value_type(values[i]) == SQLITE_INTEGER) {
			put_be(head, 8, (uint64_t)sqlite3_value_int64(values[i]));
			(void)crypto_generichash_update(&state, head, 8);
			continue;
		}
		const void *ptr = sqlite3_value_blob(values[i]);
		int len = sqlite3_value_bytes(values[i]);
		put_be(head, 4, (uint64_t)len);
		(void)crypto_generichash_update(&state, head, 4);
		if (ptr != NULL && len > 0) {
			(void)crypto_generichash_update(&state, ptr, (unsigned long long)len);
		}
	}
	(void)crypto_generichash_final(&state, sum, sizeof(sum));
	for (size_t i = 0; i < 8; i++) {
		number = number << 8 | sum[i];
	}
	sqlite3_result_int64(context, (sqlite3_int64)number);
}

static bool
add_function(struct storage_sqlite *s, const char *name, int arguments,
	     void (*fn)(sqlite3_context *, int, sqlite3_value **))
{
	return sqlite3_create_function_v2(s->db, name, arguments,
					  SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL, fn,
					  NULL, NULL, NULL) == SQLITE_OK;
}

static enum err
configure(struct storage_sqlite *s)
{
	int on = 1;
	if (!add_function(s, "blob_row", 2, blob_row) || !add_function(s, "row_sum", -1, row_sum)) {
		return ERR_MEMORY;
	}
	(void)sqlite3_extended_result_codes(s->db, 1);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, s->read_only ? 1 : 0, NULL);
	(void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 4 * 1024 * 1024);
	(void)sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		enum err e = execute(s, settings[i]);
		if (e != ERR_OK) {
			return e;
		}
	}
	/* The sandbox allows no unlink: the WAL stays at the end, empty. */
	(void)sqlite3_file_control(s->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &on);
	return ERR_OK;
}

/* Creates the tables, all or none, or sees that they are ours. */
static enum err
settle_schema(struct storage_sqlite *s, bool create)
{
	int64_t application = 0;
	int64_t version = 0;
	int64_t tables = 0;
	enum err e = pragma_number(s, "PRAGMA application_id", &application);
	e = e == ERR_OK ? pragma_number(s, "PRAGMA user_version", &version) : e;
	e = e == ERR_OK ? pragma_number(s, "SELECT count(*) FROM sqlite_schema", &tables) : e;
	if (e != ERR_OK) {
		return e;
	}
	if (application == APPLICATION_ID && version == FORMAT_VERSION) {
		return ERR_OK;
	}
	char marks[128];
	(void)snprintf(marks, sizeof(marks), "PRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT",
		       APPLICATION_ID, FORMAT_VERSION);
	if (application == APPLICATION_ID) {
		if ((version != 1 && version != 2) || s->read_only) {
			return version == 1 || version == 2 ? ERR_STATE : ERR_UNSUPPORTED;
		}
		e = execute(s, "BEGIN IMMEDIATE");
		e = e == ERR_OK && version == 1 ? execute(s, migration_1) : e;
		e = e == ERR_OK ? execute(s, migration_2) : e;
		return e == ERR_OK ? execute(s, marks) : e;
	}
	if (application != 0 || tables != 0) {
		return ERR_DAMAGED;
	}
	if (!create || s->read_only) {
		return ERR_NOT_FOUND;
	}
	e = execute(s, "BEGIN IMMEDIATE");
	e = e == ERR_OK ? execute(s, schema) : e;
	return e == ERR_OK ? execute(s, marks) : e;
}

static enum err
prepare(struct storage_sqlite *s)
{
	for (size_t i = 0; i < SQ__COUNT; i++) {
		int rc = sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
					    &s->statements[i], NULL);
		if (rc != SQLITE_OK) {
			/* A table or column is not there. */
			return (rc & 0xff) == SQLITE_ERROR ? ERR_DAMAGED : sq_error(s, rc);
		}
	}
	return ERR_OK;
}

/* The commit that opens all files; it also drops what nobody claimed before the last end. */
static enum err
first_commit(struct storage_sqlite *s)
{
	struct storage *base = &s->base;
	enum err e = begin(base);
	if (e != ERR_OK) {
		return e;
	}
	e = sq_blobs_sweep(s);
	e = e == ERR_OK ? sq_meta_put(base, "format", BYTES_LIT("1")) : e;
	e = e == ERR_OK ? commit(base) : e;
	if (e != ERR_OK) {
		rollback(base);
		return e;
	}
	return upkeep(base);
}

static enum err
open_database(struct storage_sqlite *s, const char *folder, bool create)
{
	char path[PATH_LEN_MAX];
	struct stat st;
	enum err e = path_in(folder, database_name, path);
	if (e != ERR_OK) {
		return e;
	}
	/* Made here with mode 0600; SQLite gives the WAL the same. */
	int fd = open(
	    path, (s->read_only ? O_RDONLY : O_RDWR) | (create ? O_CREAT : 0) | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return errno == ENOENT ? ERR_NOT_FOUND : err_from_errno(errno);
	}
	e = fstat(fd, &st) != 0 ? err_from_errno(errno) : S_ISREG(st.st_mode) ? ERR_OK : ERR_DAMAGED;
	(void)close(fd);
	if (e != ERR_OK) {
		return e;
	}
	const char *vfs = sq_vfs_name();
	if (vfs == NULL) {
		return ERR_MEMORY;
	}
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs) != SQLITE_OK) {
		return s->db == NULL ? ERR_MEMORY : sq_error(s, sqlite3_extended_errcode(s->db));
	}
	e = configure(s);
	e = e == ERR_OK ? settle_schema(s, create) : e;
	e = e == ERR_OK ? prepare(s) : e;
	if (e == ERR_OK) {
		e = s->read_only ? execute(s, "PRAGMA query_only=ON") : first_commit(s);
	}
	return e;
}

enum err
storage_sqlite_open(const char *folder, bool create, bool read_only, struct storage **ret)
{
	struct storage_sqlite *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ERR_MEMORY;
	}
	s->base.driver = &driver;
	s->lock_fd = -1;
	s->read_only = read_only;
	enum err e = take_lock(s, folder);
	e = e == ERR_OK ? open_database(s, folder, create && !read_only) : e;
	if (e != ERR_OK) {
		struct storage *base = &s->base;
		/* Without a checkpoint: the file may not be ours. */
		s->read_only = true;
		destroy(&base);
		return e == ERR_AGAIN ? ERR_EXISTS : e;
	}
	*ret = &s->base;
	return ERR_OK;
}
