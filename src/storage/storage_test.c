/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One suite of behaviour, run against each driver; then what only the SQLite driver has. */
#include "storage/storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct storage *s;
	char folder[64]; /* empty: the memory driver */
};

static void
remove_folder(const char *folder)
{
	DIR *d = opendir(folder);
	if (d == NULL) {
		return;
	}
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (e->d_name[0] != '.') {
			(void)unlinkat(dirfd(d), e->d_name, 0);
		}
	}
	(void)closedir(d);
	(void)rmdir(folder);
}

static int
setup_memory(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	assert_int_equal(storage_memory_create(&f->s), ERR_OK);
	*state = f;
	return 0;
}

static int
setup_sqlite(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/cohue-storage-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(storage_sqlite_open(f->folder, true, false, &f->s), ERR_OK);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	if (f->s != NULL) {
		f->s->driver->destroy(&f->s);
	}
	if (f->folder[0] != '\0') {
		remove_folder(f->folder);
	}
	free(f);
	return 0;
}

static struct storage *
storage_of(void **state)
{
	return ((struct fixture *)*state)->s;
}

/* 16 or 32 bytes that begin with a number. */
struct name {
	uint8_t id[32];
};

static struct name
name_of(unsigned n)
{
	struct name x;
	memset(x.id, 0x5a, sizeof(x.id));
	x.id[0] = (uint8_t)(n >> 8);
	x.id[1] = (uint8_t)n;
	return x;
}

static const uint8_t zero_head[HEAD_LEN];

static void
begin(struct storage *s)
{
	assert_int_equal(s->driver->begin(s), ERR_OK);
}

static void
commit(struct storage *s)
{
	assert_int_equal(s->driver->commit(s), ERR_OK);
}

static enum err
append(struct storage *s, struct name account, const uint8_t *expected, const char *body,
       struct storage_head *ret)
{
	struct bytes b = bytes_str(body);
	return s->driver->log_append(s, account.id, expected, &b, 1, (int64_t)b.len, NULL, 0, ret);
}

static enum err
spool(struct storage *s, struct name unit, const char *body, struct name account, uint64_t size,
      uint64_t quota)
{
	struct bytes part = bytes_str(body);
	uint8_t accounts[1][ACCOUNT_ID_LEN];
	memcpy(accounts[0], account.id, ACCOUNT_ID_LEN);
	return s->driver->spool_put(s, unit.id, BYTES_LIT("state"), &part, 1, NULL, 0, (void *)accounts,
				    &size, &quota, 1);
}

struct collected {
	char text[1024];
	size_t len;
	size_t rows;
};

static void
collect(struct collected *c, struct bytes b)
{
	assert_true(b.len < sizeof(c->text) - c->len - 2);
	if (b.len > 0) {
		memcpy(c->text + c->len, b.ptr, b.len);
	}
	c->len += b.len;
	c->text[c->len++] = '|';
	c->text[c->len] = '\0';
	c->rows++;
}

static enum err
collect_record(void *arg, const struct storage_record *record)
{
	struct collected *c = arg;
	char head[32];
	(void)snprintf(head, sizeof(head), "%llu:%d:", (unsigned long long)record->n, record->kind);
	size_t n = strlen(head);
	memcpy(c->text + c->len, head, n);
	c->len += n;
	collect(c, record->body);
	return ERR_OK;
}

static enum err
collect_value(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	(void)key;
	(void)part;
	collect(arg, value);
	return ERR_OK;
}

static enum err
count_row(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	(void)part;
	(void)value;
	assert_int_equal(key.len, 16);
	(*(size_t *)arg)++;
	return ERR_OK;
}

static enum err
stop_row(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	(void)key;
	(void)part;
	(void)value;
	(*(size_t *)arg)++;
	return ERR_DENIED;
}

static size_t
blobs_in(struct storage *s)
{
	size_t n = 0;
	assert_int_equal(s->driver->blob_walk(s, BYTES_EMPTY, count_row, &n), ERR_OK);
	return n;
}

static void
a_write_outside_a_transaction_is_refused(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_head head;
	assert_int_equal(append(s, name_of(1), zero_head, "x", &head), ERR_STATE);
	assert_int_equal(s->driver->directory_put(s, name_of(1).id, BYTES_LIT("v")), ERR_STATE);
	assert_int_equal(s->driver->spool_delete(s, name_of(1).id), ERR_STATE);
	assert_int_equal(s->driver->blob_put(s, name_of(1).id, 0, BYTES_LIT("v")), ERR_STATE);
	assert_int_equal(s->driver->commit(s), ERR_STATE);
	begin(s);
	assert_int_equal(s->driver->begin(s), ERR_STATE);
	assert_int_equal(s->driver->upkeep(s), ERR_STATE);
	commit(s);
	assert_int_equal(s->driver->upkeep(s), ERR_OK);
}

static void
the_directory_puts_creates_once_and_deletes(void **state)
{
	struct storage *s = storage_of(state);
	struct buf b = BUF_INIT(100);
	struct name key = name_of(7);
	begin(s);
	assert_int_equal(s->driver->directory_create(s, key.id, BYTES_LIT("one")), ERR_OK);
	assert_int_equal(s->driver->directory_create(s, key.id, BYTES_LIT("two")), ERR_EXISTS);
	assert_int_equal(s->driver->directory_get(s, key.id, &b), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "one"));
	assert_int_equal(s->driver->directory_put(s, key.id, BYTES_LIT("three")), ERR_OK);
	assert_int_equal(s->driver->directory_put(s, name_of(6).id, BYTES_EMPTY), ERR_OK);
	commit(s);
	struct collected c = {.len = 0};
	assert_int_equal(s->driver->directory_walk(s, BYTES_EMPTY, collect_value, &c), ERR_OK);
	assert_string_equal(c.text, "|three|");
	size_t seen = 0;
	assert_int_equal(s->driver->directory_walk(s, BYTES_EMPTY, stop_row, &seen), ERR_DENIED);
	assert_int_equal(seen, 1);
	begin(s);
	assert_int_equal(s->driver->directory_delete(s, key.id), ERR_OK);
	assert_int_equal(s->driver->directory_delete(s, key.id), ERR_NOT_FOUND);
	commit(s);
	assert_int_equal(s->driver->directory_get(s, key.id, &b), ERR_NOT_FOUND);
	buf_clear(&b);
}

static void
a_log_grows_only_behind_the_head_that_was_expected(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_head head;
	struct storage_head after;
	struct name a = name_of(1);
	assert_int_equal(s->driver->log_head(s, a.id, &head), ERR_OK);
	assert_int_equal(head.n, 0);
	assert_memory_equal(head.head, zero_head, HEAD_LEN);
	begin(s);
	assert_int_equal(append(s, a, head.head, "one", &after), ERR_OK);
	assert_int_equal(after.n, 1);
	assert_int_equal(append(s, a, head.head, "again", &head), ERR_CONFLICT);
	struct bytes two[] = {BYTES_LIT("two"), BYTES_LIT("three")};
	assert_int_equal(s->driver->log_append(s, a.id, after.head, two, 2, -100, NULL, 0, &after), ERR_OK);
	commit(s);
	assert_int_equal(after.n, 3);
	assert_int_equal(after.used, 0);
	uint8_t chain[HEAD_LEN] = {0};
	storage_chain(chain, RECORD_SESSION, BYTES_LIT("one"), chain);
	storage_chain(chain, RECORD_SESSION, BYTES_LIT("two"), chain);
	storage_chain(chain, RECORD_SESSION, BYTES_LIT("three"), chain);
	assert_memory_equal(after.head, chain, HEAD_LEN);
	struct collected c = {.len = 0};
	assert_int_equal(s->driver->log_read(s, a.id, 2, collect_record, &c), ERR_OK);
	assert_string_equal(c.text, "2:2:two|3:2:three|");
	assert_int_equal(s->driver->log_read_one(s, a.id, 4, collect_record, &c), ERR_NOT_FOUND);
	assert_int_equal(s->driver->log_read(s, a.id, UINT64_MAX, collect_record, &c), ERR_OK);
	assert_int_equal(c.rows, 2);
	uint64_t ns[] = {1, 2, 99};
	begin(s);
	assert_int_equal(s->driver->log_delete(s, a.id, ns, 3), ERR_OK);
	commit(s);
	assert_int_equal(s->driver->log_head(s, a.id, &head), ERR_OK);
	assert_int_equal(head.n, 3);
	memset(&c, 0, sizeof(c));
	assert_int_equal(s->driver->log_read(s, a.id, 0, collect_record, &c), ERR_OK);
	assert_string_equal(c.text, "3:2:three|");
}

static void
an_append_that_is_refused_changes_nothing(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_head head;
	struct name a = name_of(1);
	uint8_t claims[2][BLOB_NAME_LEN];
	memcpy(claims[0], name_of(50).id, BLOB_NAME_LEN);
	memcpy(claims[1], name_of(51).id, BLOB_NAME_LEN);
	struct bytes body = BYTES_LIT("body");
	struct bytes huge = bytes_of(calloc(1, STORAGE_RECORD_MAX + 1), STORAGE_RECORD_MAX + 1);
	begin(s);
	assert_int_equal(s->driver->blob_put(s, claims[0], 0, BYTES_LIT("blob")), ERR_OK);
	assert_int_equal(s->driver->log_append(s, a.id, zero_head, &body, 1, 4, (void *)claims, 2, &head),
			 ERR_NOT_FOUND);
	assert_int_equal(s->driver->log_append(s, a.id, zero_head, &huge, 1, 4, NULL, 0, &head), ERR_LIMIT);
	/* still pending: it takes another chunk */
	assert_int_equal(s->driver->blob_put(s, claims[0], 1, BYTES_LIT("more")), ERR_OK);
	assert_int_equal(s->driver->log_append(s, a.id, zero_head, &body, 1, 4, (void *)claims, 1, &head),
			 ERR_OK);
	assert_int_equal(s->driver->blob_put(s, claims[0], 2, BYTES_LIT("late")), ERR_EXISTS);
	commit(s);
	free((void *)(uintptr_t)huge.ptr);
	assert_int_equal(head.n, 1);
	assert_int_equal(head.used, 4);
}

static void
rollback_forgets_everything_since_begin(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_head head;
	struct buf b = BUF_INIT(100);
	begin(s);
	assert_int_equal(s->driver->directory_put(s, name_of(1).id, BYTES_LIT("old")), ERR_OK);
	assert_int_equal(append(s, name_of(1), zero_head, "kept", &head), ERR_OK);
	commit(s);
	begin(s);
	assert_int_equal(s->driver->directory_put(s, name_of(1).id, BYTES_LIT("new")), ERR_OK);
	assert_int_equal(s->driver->directory_put(s, name_of(1).id, BYTES_LIT("newer")), ERR_OK);
	assert_int_equal(s->driver->directory_put(s, name_of(2).id, BYTES_LIT("other")), ERR_OK);
	assert_int_equal(s->driver->account_delete(s, name_of(1).id), ERR_OK);
	assert_int_equal(spool(s, name_of(9), "part", name_of(3), 10, 0), ERR_OK);
	s->driver->rollback(s);
	assert_int_equal(s->driver->directory_get(s, name_of(1).id, &b), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "old"));
	assert_int_equal(s->driver->directory_get(s, name_of(2).id, &b), ERR_NOT_FOUND);
	assert_int_equal(s->driver->log_head(s, name_of(1).id, &head), ERR_OK);
	assert_int_equal(head.n, 1);
	assert_int_equal(s->driver->log_head(s, name_of(3).id, &head), ERR_OK);
	assert_int_equal(head.used, 0);
	begin(s);
	commit(s);
	buf_clear(&b);
}

static void
blob_chunks_come_in_order_and_once(void **state)
{
	struct storage *s = storage_of(state);
	struct buf b = BUF_INIT(100000);
	struct name blob = name_of(1);
	static uint8_t large[STORAGE_BLOB_CHUNK_MAX + 1];
	begin(s);
	assert_int_equal(s->driver->blob_put(s, blob.id, 1, BYTES_LIT("b")), ERR_STATE);
	assert_int_equal(s->driver->blob_put(s, blob.id, 0, bytes_of(large, sizeof(large))), ERR_LIMIT);
	assert_int_equal(s->driver->blob_put(s, blob.id, 0, bytes_of(large, sizeof(large) - 1)), ERR_OK);
	assert_int_equal(s->driver->blob_put(s, blob.id, 0, BYTES_LIT("again")), ERR_EXISTS);
	assert_int_equal(s->driver->blob_put(s, blob.id, 1, BYTES_LIT("b")), ERR_OK);
	assert_int_equal(s->driver->blob_put(s, blob.id, 3, BYTES_LIT("d")), ERR_STATE);
	commit(s);
	assert_int_equal(blobs_in(s), 2);
	assert_int_equal(s->driver->blob_get(s, blob.id, 0, &b), ERR_OK);
	assert_int_equal(b.len, STORAGE_BLOB_CHUNK_MAX);
	assert_int_equal(s->driver->blob_get(s, blob.id, 2, &b), ERR_NOT_FOUND);
	begin(s);
	assert_int_equal(s->driver->blob_delete(s, blob.id), ERR_OK);
	assert_int_equal(s->driver->blob_delete(s, blob.id), ERR_NOT_FOUND);
	commit(s);
	assert_int_equal(blobs_in(s), 0);
	buf_clear(&b);
}

static void
a_release_moves_a_part_to_the_log_exactly_once(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_head head;
	begin(s);
	assert_int_equal(spool(s, name_of(9), "sealed", name_of(1), 100, 1000), ERR_OK);
	assert_int_equal(spool(s, name_of(9), "twice", name_of(1), 100, 1000), ERR_EXISTS);
	commit(s);
	begin(s);
	assert_int_equal(s->driver->spool_release(s, name_of(9).id, 0, name_of(1).id, &head), ERR_OK);
	assert_int_equal(head.n, 1);
	assert_int_equal(head.used, 100);
	assert_int_equal(s->driver->spool_release(s, name_of(9).id, 0, name_of(1).id, &head), ERR_NOT_FOUND);
	assert_int_equal(s->driver->spool_release(s, name_of(9).id, 1, name_of(1).id, &head), ERR_NOT_FOUND);
	commit(s);
	struct collected c = {.len = 0};
	assert_int_equal(s->driver->log_read(s, name_of(1).id, 0, collect_record, &c), ERR_OK);
	assert_string_equal(c.text, "1:1:sealed|");
	uint8_t chain[HEAD_LEN];
	storage_chain(zero_head, RECORD_ARRIVAL, BYTES_LIT("sealed"), chain);
	assert_memory_equal(chain, head.head, HEAD_LEN);
	memset(&c, 0, sizeof(c));
	assert_int_equal(s->driver->spool_part_walk(s, collect_value, &c), ERR_OK);
	assert_int_equal(c.rows, 0);
	assert_int_equal(s->driver->spool_walk(s, BYTES_EMPTY, collect_value, &c), ERR_OK);
	assert_string_equal(c.text, "state|");
}

static void
the_quota_is_reserved_for_all_or_nothing_is_written(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_head head;
	struct bytes part = BYTES_LIT("p");
	uint8_t accounts[3][ACCOUNT_ID_LEN];
	memcpy(accounts[0], name_of(1).id, ACCOUNT_ID_LEN);
	memcpy(accounts[1], name_of(2).id, ACCOUNT_ID_LEN);
	memcpy(accounts[2], name_of(1).id, ACCOUNT_ID_LEN);
	uint64_t sizes[] = {60, 10, 60};
	uint64_t quotas[] = {100, 100, 100};
	begin(s);
	/* The same account twice: together too much. */
	assert_int_equal(s->driver->spool_put(s, name_of(9).id, BYTES_LIT("s"), &part, 1, NULL, 0,
					      (void *)accounts, sizes, quotas, 3),
			 ERR_QUOTA);
	assert_int_equal(s->driver->log_head(s, name_of(2).id, &head), ERR_OK);
	assert_int_equal(head.used, 0);
	sizes[2] = 40;
	assert_int_equal(s->driver->spool_put(s, name_of(9).id, BYTES_LIT("s"), &part, 1, NULL, 0,
					      (void *)accounts, sizes, quotas, 3),
			 ERR_OK);
	assert_int_equal(spool(s, name_of(10), "x", name_of(1), 1, 100), ERR_QUOTA);
	assert_int_equal(spool(s, name_of(10), "x", name_of(1), UINT64_MAX, 0), ERR_QUOTA);
	assert_int_equal(spool(s, name_of(10), "x", name_of(1), 1, 0), ERR_OK);
	commit(s);
	assert_int_equal(s->driver->log_head(s, name_of(1).id, &head), ERR_OK);
	assert_int_equal(head.used, 101);
}

static void
a_part_moves_to_another_unit_and_parts_change(void **state)
{
	struct storage *s = storage_of(state);
	struct buf b = BUF_INIT(100);
	struct bytes parts[] = {BYTES_LIT("zero"), BYTES_LIT("one")};
	begin(s);
	assert_int_equal(
	    s->driver->spool_put(s, name_of(1).id, BYTES_LIT("s1"), parts, 2, NULL, 0, NULL, NULL, NULL, 0),
	    ERR_OK);
	assert_int_equal(s->driver->spool_move(s, name_of(1).id, 1, name_of(2).id, BYTES_LIT("s2")), ERR_OK);
	assert_int_equal(s->driver->spool_move(s, name_of(1).id, 1, name_of(2).id, BYTES_LIT("s3")),
			 ERR_NOT_FOUND);
	assert_int_equal(s->driver->spool_part_get(s, name_of(2).id, 1, &b), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "one"));
	assert_int_equal(s->driver->spool_part_put(s, name_of(1).id, 0, BYTES_LIT("fewer")), ERR_OK);
	assert_int_equal(s->driver->spool_part_put(s, name_of(1).id, 5, BYTES_LIT("none")), ERR_NOT_FOUND);
	assert_int_equal(s->driver->spool_state(s, name_of(1).id, BYTES_LIT("t1")), ERR_OK);
	assert_int_equal(s->driver->spool_state(s, name_of(3).id, BYTES_LIT("t3")), ERR_NOT_FOUND);
	commit(s);
	struct collected c = {.len = 0};
	assert_int_equal(s->driver->spool_walk(s, BYTES_EMPTY, collect_value, &c), ERR_OK);
	assert_int_equal(s->driver->spool_part_walk(s, collect_value, &c), ERR_OK);
	assert_string_equal(c.text, "t1|s2|fewer|one|");
	begin(s);
	assert_int_equal(s->driver->spool_part_delete(s, name_of(2).id, 1), ERR_OK);
	assert_int_equal(s->driver->spool_part_delete(s, name_of(2).id, 1), ERR_NOT_FOUND);
	assert_int_equal(s->driver->spool_delete(s, name_of(1).id), ERR_OK);
	assert_int_equal(s->driver->spool_delete(s, name_of(2).id), ERR_OK);
	assert_int_equal(s->driver->spool_delete(s, name_of(2).id), ERR_NOT_FOUND);
	commit(s);
	memset(&c, 0, sizeof(c));
	assert_int_equal(s->driver->spool_part_walk(s, collect_value, &c), ERR_OK);
	assert_int_equal(c.rows, 0);
	buf_clear(&b);
}

static void
a_snapshot_replaces_the_older_one_and_its_blob(void **state)
{
	struct storage *s = storage_of(state);
	uint64_t n = 0;
	uint8_t blob[BLOB_NAME_LEN];
	struct name a = name_of(1);
	begin(s);
	assert_int_equal(s->driver->snapshot_put(s, a.id, 5, name_of(10).id, 0), ERR_NOT_FOUND);
	assert_int_equal(s->driver->blob_put(s, name_of(10).id, 0, BYTES_LIT("old")), ERR_OK);
	assert_int_equal(s->driver->blob_put(s, name_of(11).id, 0, BYTES_LIT("new")), ERR_OK);
	assert_int_equal(s->driver->snapshot_put(s, a.id, 5, name_of(10).id, 0), ERR_OK);
	assert_int_equal(s->driver->snapshot_put(s, a.id, 4, name_of(11).id, 0), ERR_CONFLICT);
	assert_int_equal(s->driver->snapshot_put(s, a.id, 6, name_of(11).id, 0), ERR_OK);
	commit(s);
	assert_int_equal(s->driver->snapshot_get(s, a.id, 0, &n, blob), ERR_OK);
	assert_int_equal(n, 6);
	assert_memory_equal(blob, name_of(11).id, BLOB_NAME_LEN);
	assert_int_equal(blobs_in(s), 1);
	begin(s);
	struct storage_head head;
	assert_int_equal(append(s, a, zero_head, "r", &head), ERR_OK);
	assert_int_equal(s->driver->account_delete(s, a.id), ERR_OK);
	commit(s);
	assert_int_equal(s->driver->snapshot_get(s, a.id, 0, &n, blob), ERR_NOT_FOUND);
	assert_int_equal(blobs_in(s), 0);
	size_t accounts = 0;
	assert_int_equal(s->driver->account_walk(s, count_row, &accounts), ERR_OK);
	assert_int_equal(accounts, 0);
}

static void
the_snapshot_that_is_to_be_kept_stays_beside_the_new_one(void **state)
{
	struct storage *s = storage_of(state);
	uint64_t n = 0;
	uint8_t blob[BLOB_NAME_LEN];
	struct name a = name_of(1);
	begin(s);
	for (unsigned i = 10; i < 14; i++) {
		assert_int_equal(s->driver->blob_put(s, name_of(i).id, 0, BYTES_LIT("state")), ERR_OK);
	}
	assert_int_equal(s->driver->snapshot_put(s, a.id, 5, name_of(10).id, 0), ERR_OK);
	assert_int_equal(s->driver->snapshot_put(s, a.id, 6, name_of(11).id, 5), ERR_OK);
	assert_int_equal(s->driver->snapshot_put(s, a.id, 9, name_of(12).id, 5), ERR_OK);
	/* Another one's. */
	assert_int_equal(s->driver->snapshot_put(s, name_of(2).id, 7, name_of(13).id, 0), ERR_OK);
	commit(s);
	assert_int_equal(blobs_in(s), 3);
	assert_int_equal(s->driver->snapshot_get(s, a.id, 0, &n, blob), ERR_OK);
	assert_int_equal(n, 9);
	assert_memory_equal(blob, name_of(12).id, BLOB_NAME_LEN);
	assert_int_equal(s->driver->snapshot_get(s, a.id, 9, &n, blob), ERR_OK);
	assert_int_equal(n, 5);
	assert_memory_equal(blob, name_of(10).id, BLOB_NAME_LEN);
	assert_int_equal(s->driver->snapshot_get(s, a.id, 5, &n, blob), ERR_NOT_FOUND);
	begin(s);
	assert_int_equal(s->driver->account_delete(s, a.id), ERR_OK);
	commit(s);
	assert_int_equal(blobs_in(s), 1);
	assert_int_equal(s->driver->snapshot_get(s, a.id, 0, &n, blob), ERR_NOT_FOUND);
	assert_int_equal(s->driver->snapshot_get(s, name_of(2).id, 0, &n, blob), ERR_OK);
}

static void
an_account_is_known_from_its_creation_to_its_deletion(void **state)
{
	struct storage *s = storage_of(state);
	struct name a = name_of(4);
	struct storage_head head;
	assert_int_equal(s->driver->log_head(s, a.id, &head), ERR_OK);
	assert_false(head.known);
	assert_int_equal(s->driver->account_create(s, a.id), ERR_STATE);
	begin(s);
	assert_int_equal(s->driver->account_create(s, a.id), ERR_OK);
	assert_int_equal(s->driver->log_head(s, a.id, &head), ERR_OK);
	assert_true(head.known);
	assert_int_equal(head.n, 0);
	assert_int_equal(append(s, a, zero_head, "r", &head), ERR_OK);
	/* Again: nothing happens to the log. */
	assert_int_equal(s->driver->account_create(s, a.id), ERR_OK);
	commit(s);
	assert_int_equal(s->driver->log_head(s, a.id, &head), ERR_OK);
	assert_int_equal(head.n, 1);
	begin(s);
	assert_int_equal(s->driver->account_delete(s, a.id), ERR_OK);
	commit(s);
	assert_int_equal(s->driver->log_head(s, a.id, &head), ERR_OK);
	assert_false(head.known);
}

static void
spool_keys_and_named_values_are_kept(void **state)
{
	struct storage *s = storage_of(state);
	struct buf b = BUF_INIT(100);
	begin(s);
	assert_int_equal(s->driver->spool_key_put(s, 300, BYTES_LIT("k300")), ERR_OK);
	assert_int_equal(s->driver->spool_key_put(s, 2, BYTES_LIT("k2")), ERR_OK);
	assert_int_equal(s->driver->spool_key_delete(s, 1), ERR_NOT_FOUND);
	assert_int_equal(s->driver->meta_put(s, "mixer", BYTES_LIT("sealed")), ERR_OK);
	commit(s);
	struct collected c = {.len = 0};
	assert_int_equal(s->driver->spool_key_walk(s, collect_value, &c), ERR_OK);
	assert_string_equal(c.text, "k2|k300|");
	assert_int_equal(s->driver->meta_get(s, "mixer", &b), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "sealed"));
	assert_int_equal(s->driver->meta_get(s, "other", &b), ERR_NOT_FOUND);
	buf_clear(&b);
}

struct told {
	uint64_t records;
	uint64_t damage;
	uint64_t unsummed;
	const char *wanted; /* a line begins so */
	bool heard;
};

static void
hear(void *arg, const char *what, uint64_t count)
{
	struct told *t = arg;
	if (strcmp(what, "records") == 0) {
		t->records = count;
	}
	if (strncmp(what, "damaged", 7) == 0) {
		t->damage += count;
	}
	if (strcmp(what, "rows of before there were sums") == 0) {
		t->unsummed = count;
	}
	t->heard = t->heard || (t->wanted != NULL && strncmp(what, t->wanted, strlen(t->wanted)) == 0);
}

static void
check_finds_a_sound_store_sound(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_head head;
	struct told told = {0};
	begin(s);
	assert_int_equal(append(s, name_of(1), zero_head, "a", &head), ERR_OK);
	assert_int_equal(append(s, name_of(1), head.head, "b", &head), ERR_OK);
	assert_int_equal(append(s, name_of(2), zero_head, "c", &head), ERR_OK);
	assert_int_equal(spool(s, name_of(9), "p", name_of(3), 10, 0), ERR_OK);
	commit(s);
	assert_int_equal(s->driver->check(s, hear, &told), ERR_OK);
	assert_int_equal(told.records, 3);
	assert_int_equal(told.damage, 0);
}

/* --- SQLite only --- */

static void
reopen(struct fixture *f, bool create, bool read_only)
{
	f->s->driver->destroy(&f->s);
	assert_null(f->s);
	assert_int_equal(storage_sqlite_open(f->folder, create, read_only, &f->s), ERR_OK);
}

static void
what_was_committed_is_there_after_reopening_and_pending_blobs_are_not(void **state)
{
	struct fixture *f = *state;
	struct storage_head head;
	begin(f->s);
	assert_int_equal(append(f->s, name_of(1), zero_head, "kept", &head), ERR_OK);
	assert_int_equal(f->s->driver->blob_put(f->s, name_of(1).id, 0, BYTES_LIT("claimed")), ERR_OK);
	assert_int_equal(f->s->driver->snapshot_put(f->s, name_of(1).id, 1, name_of(1).id, 0), ERR_OK);
	assert_int_equal(f->s->driver->blob_put(f->s, name_of(2).id, 0, BYTES_LIT("pending")), ERR_OK);
	commit(f->s);
	begin(f->s);
	assert_int_equal(append(f->s, name_of(1), head.head, "lost", &head), ERR_OK);
	reopen(f, false, false);
	assert_int_equal(f->s->driver->log_head(f->s, name_of(1).id, &head), ERR_OK);
	assert_int_equal(head.n, 1);
	assert_int_equal(blobs_in(f->s), 1);
	/* The rest of a blob whose beginning is gone is not taken. */
	begin(f->s);
	assert_int_equal(f->s->driver->blob_put(f->s, name_of(2).id, 1, BYTES_LIT("rest")), ERR_STATE);
	commit(f->s);
}

/* Names that nothing in their transaction claims are written down by its commit, however many; the others never are. */
static void
unclaimed_blobs_go_at_the_next_start_however_many(void **state)
{
	enum { MANY = 700 };
	struct fixture *f = *state;
	const struct storage_driver *d = f->s->driver;
	begin(f->s);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(d->blob_put(f->s, name_of(i).id, 0, BYTES_LIT("blob")), ERR_OK);
	}
	/* One of those kept in memory, one of those written at once, and one that is deleted. */
	assert_int_equal(d->snapshot_put(f->s, name_of(1).id, 1, name_of(3).id, 0), ERR_OK);
	assert_int_equal(d->snapshot_put(f->s, name_of(2).id, 1, name_of(MANY - 1).id, 0), ERR_OK);
	assert_int_equal(d->blob_delete(f->s, name_of(4).id), ERR_OK);
	commit(f->s);
	/* In another transaction, another is claimed, and one goes on. */
	begin(f->s);
	assert_int_equal(d->snapshot_put(f->s, name_of(3).id, 1, name_of(5).id, 0), ERR_OK);
	assert_int_equal(d->blob_put(f->s, name_of(6).id, 1, BYTES_LIT("more")), ERR_OK);
	assert_int_equal(d->blob_put(f->s, name_of(5).id, 1, BYTES_LIT("late")), ERR_EXISTS);
	commit(f->s);
	/* What is rolled back leaves no name behind that a later commit would write. */
	begin(f->s);
	assert_int_equal(d->blob_put(f->s, name_of(MANY).id, 0, BYTES_LIT("undone")), ERR_OK);
	d->rollback(f->s);
	begin(f->s);
	commit(f->s);
	struct told told = {0};
	assert_int_equal(d->check(f->s, hear, &told), ERR_OK);
	reopen(f, false, false);
	assert_int_equal(blobs_in(f->s), 3);
}

static void
a_second_instance_is_refused(void **state)
{
	struct fixture *f = *state;
	struct storage *second = NULL;
	assert_int_equal(storage_sqlite_open(f->folder, false, false, &second), ERR_EXISTS);
	assert_int_equal(storage_sqlite_open(f->folder, false, true, &second), ERR_EXISTS);
	assert_null(second);
}

static void
read_only_reads_and_writes_no_byte(void **state)
{
	struct fixture *f = *state;
	struct storage_head head;
	struct told told = {0};
	begin(f->s);
	assert_int_equal(append(f->s, name_of(1), zero_head, "a", &head), ERR_OK);
	commit(f->s);
	reopen(f, true, true);
	assert_int_equal(f->s->driver->begin(f->s), ERR_STATE);
	assert_int_equal(f->s->driver->upkeep(f->s), ERR_STATE);
	assert_int_equal(f->s->driver->check(f->s, hear, &told), ERR_OK);
	assert_int_equal(told.records, 1);
}

static void
foreign_and_newer_files_are_told_apart(void **state)
{
	struct fixture *f = *state;
	char path[128];
	sqlite3 *db;
	struct storage *s = NULL;
	(void)snprintf(path, sizeof(path), "%s/cohue.db", f->folder);
	f->s->driver->destroy(&f->s);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=4", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
	assert_int_equal(storage_sqlite_open(f->folder, false, false, &s), ERR_UNSUPPORTED);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA application_id=1", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
	assert_int_equal(storage_sqlite_open(f->folder, true, false, &s), ERR_DAMAGED);
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, "this is not a database, but a letter to somebody else\n", 54), 54);
	(void)close(fd);
	assert_int_equal(storage_sqlite_open(f->folder, true, false, &s), ERR_DAMAGED);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(storage_sqlite_open(f->folder, false, false, &s), ERR_NOT_FOUND);
	assert_int_equal(storage_sqlite_open(f->folder, true, false, &s), ERR_OK);
	s->driver->destroy(&s);
}

/* The sum of a row is its last column; version 2 had none, and one snapshot of each account. */
#define WITHOUT_SUMS                                                                                         \
	"ALTER TABLE directory DROP COLUMN sum; ALTER TABLE heads DROP COLUMN sum;"                          \
	"ALTER TABLE log DROP COLUMN sum; ALTER TABLE blobs DROP COLUMN sum;"                                \
	"ALTER TABLE spool_units DROP COLUMN sum; ALTER TABLE spool_parts DROP COLUMN sum;"                  \
	"ALTER TABLE spool_keys DROP COLUMN sum; ALTER TABLE meta DROP COLUMN sum;"                          \
	"CREATE TABLE s(account BLOB NOT NULL PRIMARY KEY, n INTEGER NOT NULL, blob BLOB NOT NULL)"          \
	" WITHOUT ROWID; INSERT INTO s SELECT account,n,blob FROM snapshots; DROP TABLE snapshots;"          \
	"ALTER TABLE s RENAME TO snapshots; PRAGMA user_version=2;"

static void
change_file(const struct fixture *f, const char *sql)
{
	char path[128];
	sqlite3 *db;
	(void)snprintf(path, sizeof(path), "%s/cohue.db", f->folder);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
}

static void
older_stores_are_taken_over(void **state)
{
	static const char *const back[] = {
	    "BEGIN;" WITHOUT_SUMS "COMMIT",
	    /* Version 1 had blobs in a table WITHOUT ROWID. */
	    "BEGIN;" WITHOUT_SUMS
	    "CREATE TABLE old(name BLOB NOT NULL, chunk INTEGER NOT NULL, data BLOB NOT NULL,"
	    " PRIMARY KEY(name, chunk)) WITHOUT ROWID; INSERT INTO old SELECT name,chunk,data FROM blobs;"
	    " DROP TABLE blobs; ALTER TABLE old RENAME TO blobs; PRAGMA user_version=1; COMMIT",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(back) / sizeof(back[0]); i++) {
		void *inner = NULL;
		struct storage_head head;
		struct told told = {0};
		struct buf got = BUF_INIT(64);
		struct storage *s = NULL;
		uint64_t n = 0;
		uint8_t blob[BLOB_NAME_LEN];
		assert_int_equal(setup_sqlite(&inner), 0);
		struct fixture *f = inner;
		begin(f->s);
		assert_int_equal(append(f->s, name_of(1), zero_head, "a", &head), ERR_OK);
		assert_int_equal(f->s->driver->blob_put(f->s, name_of(1).id, 0, BYTES_LIT("x")), ERR_OK);
		assert_int_equal(f->s->driver->blob_put(f->s, name_of(1).id, 1, BYTES_LIT("y")), ERR_OK);
		assert_int_equal(f->s->driver->snapshot_put(f->s, name_of(1).id, 1, name_of(1).id, 0),
				 ERR_OK);
		assert_int_equal(f->s->driver->blob_put(f->s, name_of(2).id, 0, BYTES_LIT("pending")),
				 ERR_OK);
		commit(f->s);
		f->s->driver->destroy(&f->s);
		change_file(f, back[i]);
		assert_int_equal(storage_sqlite_open(f->folder, false, true, &s), ERR_STATE);
		assert_int_equal(storage_sqlite_open(f->folder, false, false, &f->s), ERR_OK);
		assert_int_equal(f->s->driver->blob_get(f->s, name_of(1).id, 1, &got), ERR_OK);
		assert_true(bytes_is(buf_bytes(&got), "y"));
		assert_int_equal(blobs_in(f->s), 2);
		assert_int_equal(f->s->driver->snapshot_get(f->s, name_of(1).id, 0, &n, blob), ERR_OK);
		assert_int_equal(n, 1);
		assert_int_equal(f->s->driver->check(f->s, hear, &told), ERR_OK);
		/* Rows without a sum: the record, two chunks, head, snapshot. (The format's name was put anew.) */
		assert_int_equal(told.unsummed, 5);
		/* What is written from now on has one. */
		begin(f->s);
		assert_int_equal(append(f->s, name_of(1), head.head, "b", &head), ERR_OK);
		commit(f->s);
		memset(&told, 0, sizeof(told));
		assert_int_equal(f->s->driver->check(f->s, hear, &told), ERR_OK);
		assert_int_equal(told.unsummed, 4);
		buf_clear(&got);
		assert_int_equal(teardown(&inner), 0);
	}
}

static void
check_finds_what_was_changed_behind_our_back(void **state)
{
	static const struct {
		const char *harm;
		const char *told; /* one of the lines begins so */
	} harms[] = {
	    {"UPDATE log SET body=x'00' WHERE n=2", "damaged record 2 of log 0001"},
	    {"UPDATE log SET before=zeroblob(32) WHERE n=2", "damaged record 2 of log 0001"},
	    {"UPDATE log SET kind=1 WHERE n=3", "damaged record 3 of log 0001"},
	    /* Without its sum the chain tells. */
	    {"UPDATE log SET body=x'00',sum=NULL WHERE n=2", "damaged record 2 of log 0001"},
	    {"UPDATE log SET body=x'00',sum=NULL WHERE n=3", "damaged record 3 of log 0001"},
	    {"DELETE FROM log WHERE n=2", "damaged log 0001"},
	    {"DELETE FROM log WHERE n=3", "damaged log 0001"},
	    {"DELETE FROM log", "damaged log 0001"},
	    {"UPDATE heads SET head=zeroblob(32) WHERE n=3", "damaged head of log 0001"},
	    {"UPDATE heads SET used=used+1 WHERE n=3", "damaged head of log 0001"},
	    {"UPDATE heads SET n=1 WHERE n=3", "damaged log 0001"},
	    {"DELETE FROM spool_units", "damaged spool: parts without their unit"},
	    {"UPDATE spool_units SET state=x'00'", "damaged unit of the waiting room 0009"},
	    {"UPDATE spool_parts SET body=x'00'", "damaged unit of the waiting room 0009"},
	    {"UPDATE spool_keys SET value=x'00'", "damaged key of the waiting room, epoch 7"},
	    {"UPDATE directory SET value=x'00'", "damaged directory entry 0005"},
	    {"UPDATE meta SET value=x'00' WHERE name=CAST('mixer-leave' AS BLOB)",
	     "damaged named value mixer-leave"},
	    {"UPDATE snapshots SET n=2", "damaged note of a snapshot of log 0001"},
	    {"UPDATE blobs SET data=x'00' WHERE chunk=1", "damaged blob 0001"},
	    {"DELETE FROM blobs WHERE chunk=0", "damaged blob 0001"},
	    {"UPDATE blobs SET id=id+5", "damaged blobs: where they are not found"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(harms) / sizeof(harms[0]); i++) {
		void *inner = NULL;
		struct storage_head head;
		struct told told = {.wanted = harms[i].told};
		assert_int_equal(setup_sqlite(&inner), 0);
		struct fixture *f = inner;
		const struct storage_driver *d = f->s->driver;
		begin(f->s);
		assert_int_equal(append(f->s, name_of(1), zero_head, "a", &head), ERR_OK);
		assert_int_equal(append(f->s, name_of(1), head.head, "b", &head), ERR_OK);
		assert_int_equal(append(f->s, name_of(1), head.head, "c", &head), ERR_OK);
		assert_int_equal(spool(f->s, name_of(9), "p", name_of(3), 10, 0), ERR_OK);
		assert_int_equal(d->blob_put(f->s, name_of(1).id, 0, BYTES_LIT("x")), ERR_OK);
		assert_int_equal(d->blob_put(f->s, name_of(1).id, 1, BYTES_LIT("y")), ERR_OK);
		assert_int_equal(d->snapshot_put(f->s, name_of(1).id, 1, name_of(1).id, 0), ERR_OK);
		assert_int_equal(d->directory_put(f->s, name_of(5).id, BYTES_LIT("entry")), ERR_OK);
		assert_int_equal(d->spool_key_put(f->s, 7, BYTES_LIT("key")), ERR_OK);
		assert_int_equal(d->meta_put(f->s, "mixer-leave", BYTES_LIT("state")), ERR_OK);
		/* Every way of writing a row keeps its sum right. */
		assert_int_equal(spool(f->s, name_of(8), "p", name_of(1), 10, 0), ERR_OK);
		assert_int_equal(d->spool_state(f->s, name_of(9).id, BYTES_LIT("newer")), ERR_OK);
		assert_int_equal(d->spool_part_put(f->s, name_of(9).id, 0, BYTES_LIT("less")), ERR_OK);
		assert_int_equal(d->spool_move(f->s, name_of(8).id, 0, name_of(7).id, BYTES_LIT("state")),
				 ERR_OK);
		assert_int_equal(d->spool_release(f->s, name_of(7).id, 0, name_of(4).id, &head), ERR_OK);
		assert_int_equal(d->spool_delete(f->s, name_of(7).id), ERR_OK);
		assert_int_equal(d->spool_delete(f->s, name_of(8).id), ERR_OK);
		assert_int_equal(d->directory_put(f->s, name_of(5).id, BYTES_LIT("entry 2")), ERR_OK);
		commit(f->s);
		assert_int_equal(d->check(f->s, hear, &told), ERR_OK);
		assert_int_equal(told.damage + told.unsummed, 0);
		f->s->driver->destroy(&f->s);
		change_file(f, harms[i].harm);
		assert_int_equal(storage_sqlite_open(f->folder, false, false, &f->s), ERR_OK);
		assert_int_equal(f->s->driver->check(f->s, hear, &told), ERR_DAMAGED);
		if (!told.heard) {
			print_message("%s\n", harms[i].harm);
		}
		assert_true(told.heard);
		assert_int_equal(teardown(&inner), 0);
	}
}

static bool
file_contains(const char *folder, const char *name, const char *text)
{
	char path[128];
	static uint8_t content[1 << 20];
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	size_t n = fread(content, 1, sizeof(content), file);
	(void)fclose(file);
	return bytes_search(bytes_of(content, n), bytes_str(text)) >= 0;
}

static void
what_was_deleted_is_gone_from_the_files_after_upkeep(void **state)
{
	struct fixture *f = *state;
	static const char marker[] = "marker-that-nobody-else-would-write";
	begin(f->s);
	assert_int_equal(f->s->driver->directory_put(f->s, name_of(1).id, BYTES_LIT(marker)), ERR_OK);
	commit(f->s);
	assert_true(file_contains(f->folder, "cohue.db-wal", marker));
	begin(f->s);
	assert_int_equal(f->s->driver->directory_delete(f->s, name_of(1).id), ERR_OK);
	commit(f->s);
	assert_int_equal(f->s->driver->upkeep(f->s), ERR_OK);
	assert_false(file_contains(f->folder, "cohue.db", marker));
	assert_false(file_contains(f->folder, "cohue.db-wal", marker));
}

static void
files_are_readable_by_their_owner_alone(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"cohue.db", "cohue.db-wal", "lock"};
	for (size_t i = 0; i < 3; i++) {
		char path[128];
		struct stat st;
		(void)snprintf(path, sizeof(path), "%s/%s", f->folder, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

/* Three records of hers, and one of another's. */
static void
fill_logs(struct storage *s, struct storage_head *ret)
{
	struct storage_head other;
	begin(s);
	assert_int_equal(append(s, name_of(1), zero_head, "one", ret), ERR_OK);
	assert_int_equal(append(s, name_of(1), ret->head, "two", ret), ERR_OK);
	assert_int_equal(append(s, name_of(1), ret->head, "three", ret), ERR_OK);
	assert_int_equal(append(s, name_of(2), zero_head, "other", &other), ERR_OK);
	assert_int_equal(spool(s, name_of(3), "hers", name_of(1), 10, 0), ERR_OK);
	assert_int_equal(spool(s, name_of(4), "another's", name_of(2), 10, 0), ERR_OK);
	commit(s);
}

#define HERS " WHERE account=x'00015a5a5a5a5a5a5a5a5a5a5a5a5a5a'"

static void
a_damaged_head_is_what_its_log_says_and_the_next_append_mends_it(void **state)
{
	static const struct {
		const char *sql;
		bool used;  /* is kept */
		bool whole; /* nothing to mend */
	} kinds[] = {
	    {"UPDATE heads SET n=n-1" HERS, true, false},
	    {"UPDATE heads SET n=0,head=zeroblob(32)" HERS, true, false},
	    {"UPDATE heads SET n=n+1" HERS, true, false},
	    {"UPDATE heads SET n=n+4398046511104" HERS, true, false},
	    {"UPDATE heads SET n=-7" HERS, true, false},
	    {"UPDATE heads SET n='many',sum=NULL" HERS, true, false},
	    {"UPDATE heads SET head=x'00'" HERS, true, false},
	    {"UPDATE heads SET head=randomblob(32)" HERS, true, false},
	    {"UPDATE heads SET sum=sum+1" HERS, true, false},
	    {"UPDATE heads SET n=n-1,sum=NULL" HERS, true, false},
	    {"DELETE FROM heads" HERS, false, false},
	    {"UPDATE heads SET sum=NULL" HERS, true, true},
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct storage_head sound;
		struct storage_head head;
		struct told told = {0};
		print_message("%s\n", kinds[i].sql);
		fill_logs(f->s, &sound);
		assert_int_equal(f->s->driver->log_head(f->s, name_of(1).id, &sound), ERR_OK);
		f->s->driver->destroy(&f->s);
		change_file(f, kinds[i].sql);
		assert_int_equal(storage_sqlite_open(f->folder, false, false, &f->s), ERR_OK);
		assert_int_equal(f->s->driver->log_head(f->s, name_of(1).id, &head), ERR_OK);
		assert_true(head.known);
		assert_int_equal(head.derived, !kinds[i].whole);
		assert_int_equal(head.n, 3);
		assert_memory_equal(head.head, sound.head, HEAD_LEN);
		assert_int_equal(head.used, kinds[i].used ? sound.used : 0);
		/* Her letter and another's come in by one transaction. */
		begin(f->s);
		assert_int_equal(f->s->driver->spool_release(f->s, name_of(3).id, 0, name_of(1).id, &head),
				 ERR_OK);
		assert_int_equal(head.n, 4);
		assert_int_equal(f->s->driver->spool_release(f->s, name_of(4).id, 0, name_of(2).id, &head),
				 ERR_OK);
		assert_int_equal(head.n, 2);
		assert_int_equal(f->s->driver->spool_delete(f->s, name_of(3).id), ERR_OK);
		assert_int_equal(f->s->driver->spool_delete(f->s, name_of(4).id), ERR_OK);
		commit(f->s);
		assert_int_equal(f->s->heads_mended, kinds[i].whole ? 0 : 1);
		assert_int_equal(f->s->driver->log_head(f->s, name_of(1).id, &head), ERR_OK);
		assert_false(head.derived);
		assert_int_equal(f->s->driver->check(f->s, hear, &told), ERR_OK);
		begin(f->s);
		assert_int_equal(f->s->driver->account_delete(f->s, name_of(1).id), ERR_OK);
		assert_int_equal(f->s->driver->account_delete(f->s, name_of(2).id), ERR_OK);
		commit(f->s);
		assert_int_equal(f->s->driver->log_head(f->s, name_of(1).id, &head), ERR_OK);
		assert_false(head.known);
	}
}

static void
a_head_ends_where_its_log_does_though_a_record_stands_far_away(void **state)
{
	struct fixture *f = *state;
	struct storage_head sound;
	struct storage_head head;
	fill_logs(f->s, &sound);
	f->s->driver->destroy(&f->s);
	/* Her first record was swept, too, and what comes finds no row. */
	change_file(f, "UPDATE log SET n=n+4398046511104" HERS " AND n=2; DELETE FROM log" HERS
		       " AND n=1; DELETE FROM heads" HERS);
	assert_int_equal(storage_sqlite_open(f->folder, false, false, &f->s), ERR_OK);
	begin(f->s);
	assert_int_equal(spool(f->s, name_of(5), "more", name_of(1), 10, 0), ERR_OK);
	commit(f->s);
	assert_int_equal(f->s->driver->log_head(f->s, name_of(1).id, &head), ERR_OK);
	assert_int_equal(head.n, 3);
	assert_memory_equal(head.head, sound.head, HEAD_LEN);
}

static void
what_a_damaged_record_cannot_be_is_given_as_nothing(void **state)
{
	struct fixture *f = *state;
	struct storage_head head;
	struct collected c = {.len = 0};
	fill_logs(f->s, &head);
	f->s->driver->destroy(&f->s);
	change_file(f,
		    "UPDATE log SET before=x'00'" HERS " AND n=1; UPDATE log SET body=zeroblob(600000)" HERS
		    " AND n=2; UPDATE log SET kind=258" HERS " AND n=3");
	assert_int_equal(storage_sqlite_open(f->folder, false, false, &f->s), ERR_OK);
	assert_int_equal(f->s->driver->log_read(f->s, name_of(1).id, 1, collect_record, &c), ERR_OK);
	assert_string_equal(c.text, "1:2:one|2:2:|3:0:three|");
}

static void
a_release_that_one_log_refuses_leaves_the_others_of_its_transaction(void **state)
{
	struct fixture *f = *state;
	struct storage_head head;
	struct collected c = {.len = 0};
	fill_logs(f->s, &head);
	f->s->driver->destroy(&f->s);
	/* The one behind which no record can be numbered. */
	change_file(f, "UPDATE heads SET n=9223372036854775807,sum=NULL" HERS);
	assert_int_equal(storage_sqlite_open(f->folder, false, false, &f->s), ERR_OK);
	begin(f->s);
	assert_int_equal(f->s->driver->spool_release(f->s, name_of(3).id, 0, name_of(1).id, &head),
			 ERR_DAMAGED);
	assert_int_equal(f->s->driver->spool_release(f->s, name_of(4).id, 0, name_of(2).id, &head), ERR_OK);
	commit(f->s);
	assert_int_equal(f->s->driver->log_read(f->s, name_of(2).id, 1, collect_record, &c), ERR_OK);
	assert_string_equal(c.text, "1:2:other|2:1:another's|");
	c.len = 0;
	assert_int_equal(f->s->driver->spool_part_walk(f->s, collect_value, &c), ERR_OK);
	assert_string_equal(c.text, "hers|");
}

#define BOTH(test)                                                                                           \
	cmocka_unit_test_setup_teardown(test, setup_memory, teardown),                                       \
	    cmocka_unit_test_setup_teardown(test, setup_sqlite, teardown)
#define SQLITE(test) cmocka_unit_test_setup_teardown(test, setup_sqlite, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(a_write_outside_a_transaction_is_refused),
	    BOTH(the_directory_puts_creates_once_and_deletes),
	    BOTH(a_log_grows_only_behind_the_head_that_was_expected),
	    BOTH(an_append_that_is_refused_changes_nothing),
	    BOTH(rollback_forgets_everything_since_begin),
	    BOTH(blob_chunks_come_in_order_and_once),
	    BOTH(a_release_moves_a_part_to_the_log_exactly_once),
	    BOTH(the_quota_is_reserved_for_all_or_nothing_is_written),
	    BOTH(a_part_moves_to_another_unit_and_parts_change),
	    BOTH(a_snapshot_replaces_the_older_one_and_its_blob),
	    BOTH(the_snapshot_that_is_to_be_kept_stays_beside_the_new_one),
	    BOTH(an_account_is_known_from_its_creation_to_its_deletion),
	    BOTH(spool_keys_and_named_values_are_kept),
	    BOTH(check_finds_a_sound_store_sound),
	    SQLITE(unclaimed_blobs_go_at_the_next_start_however_many),
	    SQLITE(what_was_committed_is_there_after_reopening_and_pending_blobs_are_not),
	    SQLITE(a_second_instance_is_refused),
	    SQLITE(read_only_reads_and_writes_no_byte),
	    SQLITE(foreign_and_newer_files_are_told_apart),
	    SQLITE(older_stores_are_taken_over),
	    SQLITE(check_finds_what_was_changed_behind_our_back),
	    SQLITE(a_damaged_head_is_what_its_log_says_and_the_next_append_mends_it),
	    SQLITE(a_head_ends_where_its_log_does_though_a_record_stands_far_away),
	    SQLITE(what_a_damaged_record_cannot_be_is_given_as_nothing),
	    SQLITE(a_release_that_one_log_refuses_leaves_the_others_of_its_transaction),
	    SQLITE(what_was_deleted_is_gone_from_the_files_after_upkeep),
	    SQLITE(files_are_readable_by_their_owner_alone),
	};
	if (sodium_init() < 0) {
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
