/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The in-memory driver, for tests: one sorted array of (table, key) → value, and a list of undone
 * values for rollback. Simple rather than fast; same answers as the SQLite driver, held to by
 * the same tests.
 */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "storage/storage_internal.h"

enum table {
	T_DIRECTORY = 1,
	T_HEADS,
	T_LOG,
	T_SNAPSHOTS,
	T_BLOBS,
	T_PENDING,
	T_UNITS,
	T_PARTS,
	T_KEYS,
	T_META,
};

enum { KEY_LEN_MAX = 256 };

/* First byte of the key: the table; then the name; then a number of 8 bytes, big-endian, where there is one. */
struct key {
	uint8_t bytes[KEY_LEN_MAX];
	size_t len;
};

struct entry {
	struct key key;
	uint8_t *value;
	size_t len;
};

struct undo {
	struct key key;
	struct entry *old; /* NULL: it was not there */
};

struct storage_memory {
	struct storage base;
	struct entry **entries;
	size_t count;
	size_t cap;
	struct undo *undo;
	size_t undo_count;
	size_t undo_cap;
	bool in_transaction;
};

static struct storage_memory *
mem_of(struct storage *s)
{
	return (struct storage_memory *)(void *)s;
}

static struct key
key_of(enum table table, struct bytes name)
{
	struct key k = {.len = 1};
	k.bytes[0] = (uint8_t)table;
	if (name.len > KEY_LEN_MAX - 16) {
		panic("a name too long for the memory driver");
	}
	if (name.len > 0) {
		memcpy(k.bytes + 1, name.ptr, name.len);
	}
	k.len += name.len;
	return k;
}

static struct key
key_numbered(enum table table, struct bytes name, uint64_t number)
{
	struct key k = key_of(table, name);
	for (unsigned i = 0; i < 8; i++) {
		k.bytes[k.len++] = (uint8_t)(number >> (56 - 8 * i));
	}
	return k;
}

static uint64_t
number_of(const struct key *k)
{
	uint64_t v = 0;
	for (size_t i = k->len - 8; i < k->len; i++) {
		v = v << 8 | k->bytes[i];
	}
	return v;
}

static int
compare(const struct key *a, const struct key *b)
{
	return bytes_compare(bytes_of(a->bytes, a->len), bytes_of(b->bytes, b->len));
}

/* The first entry that is not below the key. */
static size_t
lower_bound(const struct storage_memory *m, const struct key *k)
{
	size_t low = 0;
	size_t high = m->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (compare(&m->entries[mid]->key, k) < 0) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

static struct entry *
get(const struct storage_memory *m, struct key k)
{
	size_t at = lower_bound(m, &k);
	return at < m->count && compare(&m->entries[at]->key, &k) == 0 ? m->entries[at] : NULL;
}

static bool
has_prefix(const struct entry *e, const struct key *prefix)
{
	return e->key.len >= prefix->len && memcmp(e->key.bytes, prefix->bytes, prefix->len) == 0;
}

static void
free_entry(struct entry *e)
{
	if (e != NULL) {
		free(e->value);
		free(e);
	}
}

static enum err
grow(void **array, size_t *cap, size_t count, size_t size)
{
	if (count < *cap) {
		return ERR_OK;
	}
	size_t more = *cap == 0 ? 64 : *cap * 2;
	void *p = reallocarray(*array, more, size);
	if (p == NULL) {
		return ERR_MEMORY;
	}
	*array = p;
	*cap = more;
	return ERR_OK;
}

static enum err
remember(struct storage_memory *m, const struct key *k, struct entry *old)
{
	void *p = m->undo;
	enum err e = grow(&p, &m->undo_cap, m->undo_count, sizeof(*m->undo));
	m->undo = p;
	if (e == ERR_OK) {
		m->undo[m->undo_count++] = (struct undo){.key = *k, .old = old};
	}
	return e;
}

/* Takes the slot out of the array; what was there is the caller's. */
static struct entry *
take_out(struct storage_memory *m, size_t at)
{
	struct entry *e = m->entries[at];
	m->count--;
	memmove(m->entries + at, m->entries + at + 1, (m->count - at) * sizeof(struct entry *));
	return e;
}

/* Room for one more must be there. */
static void
put_in(struct storage_memory *m, size_t at, struct entry *e)
{
	memmove(m->entries + at + 1, m->entries + at, (m->count - at) * sizeof(struct entry *));
	m->entries[at] = e;
	m->count++;
}

static enum err
put(struct storage_memory *m, struct key k, struct bytes value)
{
	void *p = m->entries;
	enum err e = grow(&p, &m->cap, m->count, sizeof(struct entry *));
	m->entries = p;
	struct entry *fresh = calloc(1, sizeof(*fresh));
	uint8_t *copy = malloc(value.len + 1);
	if (e != ERR_OK || fresh == NULL || copy == NULL) {
		free(fresh);
		free(copy);
		return ERR_MEMORY;
	}
	if (value.len > 0) {
		memcpy(copy, value.ptr, value.len);
	}
	*fresh = (struct entry){.key = k, .value = copy, .len = value.len};
	size_t at = lower_bound(m, &k);
	bool there = at < m->count && compare(&m->entries[at]->key, &k) == 0;
	e = remember(m, &k, there ? m->entries[at] : NULL);
	if (e != ERR_OK) {
		free_entry(fresh);
		return e;
	}
	if (there) {
		m->entries[at] = fresh;
	} else {
		put_in(m, at, fresh);
	}
	return ERR_OK;
}

/* ERR_NOT_FOUND. */
static enum err
drop(struct storage_memory *m, struct key k)
{
	size_t at = lower_bound(m, &k);
	if (at >= m->count || compare(&m->entries[at]->key, &k) != 0) {
		return ERR_NOT_FOUND;
	}
	enum err e = remember(m, &k, m->entries[at]);
	if (e == ERR_OK) {
		(void)take_out(m, at);
	}
	return e;
}

static enum err
drop_prefix(struct storage_memory *m, struct key prefix, size_t *ret_count)
{
	size_t n = 0;
	for (;;) {
		size_t at = lower_bound(m, &prefix);
		if (at >= m->count || !has_prefix(m->entries[at], &prefix)) {
			break;
		}
		enum err e = drop(m, m->entries[at]->key);
		if (e != ERR_OK) {
			return e;
		}
		n++;
	}
	*ret_count = n;
	return ERR_OK;
}

static enum err
fetch(struct storage_memory *m, struct key k, struct buf *ret)
{
	const struct entry *e = get(m, k);
	return e == NULL ? ERR_NOT_FOUND : buf_append(ret, bytes_of(e->value, e->len));
}

/* Gives each row of a table: the name of `name_len` bytes (0: the whole rest), and the number behind it. */
static enum err
walk_after(struct storage_memory *m, enum table table, size_t name_len, bool with_value, struct bytes after,
	   storage_row_fn fn, void *arg)
{
	struct key prefix = key_of(table, BYTES_EMPTY);
	for (size_t i = lower_bound(m, &prefix); i < m->count && has_prefix(m->entries[i], &prefix); i++) {
		const struct entry *e = m->entries[i];
		bool numbered = e->key.len == 1 + name_len + 8;
		if (after.len > 0 && bytes_compare(bytes_of(e->key.bytes + 1, name_len), after) <= 0) {
			continue;
		}
		struct bytes value = with_value ? bytes_of(e->value, e->len) : BYTES_EMPTY;
		enum err got = fn(arg, bytes_of(e->key.bytes + 1, name_len),
				  numbered ? (uint32_t)number_of(&e->key) : 0, value);
		if (got != ERR_OK) {
			return got;
		}
	}
	return ERR_OK;
}

static enum err
walk(struct storage_memory *m, enum table table, size_t name_len, bool with_value, storage_row_fn fn,
     void *arg)
{
	return walk_after(m, table, name_len, with_value, BYTES_EMPTY, fn, arg);
}

static enum err
may_write(struct storage_memory *m)
{
	return m->in_transaction ? ERR_OK : ERR_STATE;
}

static enum err
begin(struct storage *s)
{
	struct storage_memory *m = mem_of(s);
	if (m->in_transaction) {
		return ERR_STATE;
	}
	m->in_transaction = true;
	return ERR_OK;
}

static enum err
commit(struct storage *s)
{
	struct storage_memory *m = mem_of(s);
	if (!m->in_transaction) {
		return ERR_STATE;
	}
	for (size_t i = 0; i < m->undo_count; i++) {
		free_entry(m->undo[i].old);
	}
	m->undo_count = 0;
	m->in_transaction = false;
	return ERR_OK;
}

static void
rollback(struct storage *s)
{
	struct storage_memory *m = mem_of(s);
	while (m->undo_count > 0) {
		const struct undo *u = &m->undo[--m->undo_count];
		size_t at = lower_bound(m, &u->key);
		if (at < m->count && compare(&m->entries[at]->key, &u->key) == 0) {
			free_entry(take_out(m, at));
		}
		/* There was room for it before, and the array never shrinks. */
		if (u->old != NULL) {
			put_in(m, at, u->old);
		}
	}
	m->in_transaction = false;
}

static enum err
put_value(struct storage *s, struct key k, struct bytes value)
{
	struct storage_memory *m = mem_of(s);
	if (!m->in_transaction) {
		return ERR_STATE;
	}
	return value.len > STORAGE_VALUE_MAX ? ERR_LIMIT : put(m, k, value);
}

static enum err
directory_get(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN], struct buf *ret_value)
{
	return fetch(mem_of(s), key_of(T_DIRECTORY, bytes_of(key, ADDRESS_KEY_LEN)), ret_value);
}

static enum err
directory_put(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN], struct bytes value)
{
	return put_value(s, key_of(T_DIRECTORY, bytes_of(key, ADDRESS_KEY_LEN)), value);
}

static enum err
directory_create(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN], struct bytes value)
{
	struct key k = key_of(T_DIRECTORY, bytes_of(key, ADDRESS_KEY_LEN));
	if (mem_of(s)->in_transaction && value.len <= STORAGE_VALUE_MAX && get(mem_of(s), k) != NULL) {
		return ERR_EXISTS;
	}
	return put_value(s, k, value);
}

static enum err
drop_checked(struct storage *s, struct key k)
{
	enum err e = may_write(mem_of(s));
	return e == ERR_OK ? drop(mem_of(s), k) : e;
}

static enum err
directory_delete(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN])
{
	return drop_checked(s, key_of(T_DIRECTORY, bytes_of(key, ADDRESS_KEY_LEN)));
}

static enum err
directory_walk(struct storage *s, struct bytes after, storage_row_fn fn, void *arg)
{
	return walk_after(mem_of(s), T_DIRECTORY, ADDRESS_KEY_LEN, true, after, fn, arg);
}

static enum err
key_put(struct storage *s, uint32_t epoch, struct bytes value)
{
	return put_value(s, key_numbered(T_KEYS, BYTES_EMPTY, epoch), value);
}

static enum err
key_delete(struct storage *s, uint32_t epoch)
{
	return drop_checked(s, key_numbered(T_KEYS, BYTES_EMPTY, epoch));
}

static enum err
key_walk(struct storage *s, storage_row_fn fn, void *arg)
{
	return walk(mem_of(s), T_KEYS, 0, true, fn, arg);
}

static enum err
meta_get(struct storage *s, const char *name, struct buf *ret_value)
{
	return fetch(mem_of(s), key_of(T_META, bytes_str(name)), ret_value);
}

static enum err
meta_put(struct storage *s, const char *name, struct bytes value)
{
	return put_value(s, key_of(T_META, bytes_str(name)), value);
}

static enum err
meta_walk(struct storage *s, storage_row_fn fn, void *arg)
{
	struct storage_memory *m = mem_of(s);
	struct key prefix = key_of(T_META, BYTES_EMPTY);
	for (size_t i = lower_bound(m, &prefix); i < m->count && has_prefix(m->entries[i], &prefix); i++) {
		const struct entry *e = m->entries[i];
		enum err got =
		    fn(arg, bytes_of(e->key.bytes + 1, e->key.len - 1), 0, bytes_of(e->value, e->len));
		if (got != ERR_OK) {
			return got;
		}
	}
	return ERR_OK;
}

/* A head's value: n, head, used. */
static enum err
log_head(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret)
{
	struct storage_head head = {.n = 0};
	const struct entry *e = get(mem_of(s), key_of(T_HEADS, bytes_of(account, ACCOUNT_ID_LEN)));
	if (e != NULL) {
		struct wire_reader r;
		wire_reader_init(&r, bytes_of(e->value, e->len));
		wire_get_fixed(&r, head.head, HEAD_LEN);
		head.n = wire_get_u64(&r);
		head.used = wire_get_u64(&r);
		head.known = true;
		if (wire_end(&r) != ERR_OK) {
			return ERR_DAMAGED;
		}
	}
	*ret = head;
	return ERR_OK;
}

static enum err
head_put(struct storage_memory *m, const uint8_t account[ACCOUNT_ID_LEN], const struct storage_head *head)
{
	struct buf value = BUF_INIT(HEAD_LEN + 16);
	struct wire_writer w;
	wire_writer_init(&w, &value);
	wire_put_fixed(&w, head->head, HEAD_LEN);
	wire_put_u64(&w, head->n);
	wire_put_u64(&w, head->used);
	enum err e = wire_done(&w);
	e = e == ERR_OK ? put(m, key_of(T_HEADS, bytes_of(account, ACCOUNT_ID_LEN)), buf_bytes(&value)) : e;
	buf_clear(&value);
	return e;
}

/* A record's value: before, kind, body. */
static enum err
record_put(struct storage_memory *m, const uint8_t account[ACCOUNT_ID_LEN], uint8_t kind, struct bytes body,
	   struct storage_head *head)
{
	struct buf value = BUF_INIT(HEAD_LEN + 1 + STORAGE_RECORD_MAX);
	enum err e = buf_append(&value, bytes_of(head->head, HEAD_LEN));
	e = e == ERR_OK ? buf_append_byte(&value, kind) : e;
	e = e == ERR_OK ? buf_append(&value, body) : e;
	if (e == ERR_OK) {
		e = put(m, key_numbered(T_LOG, bytes_of(account, ACCOUNT_ID_LEN), head->n + 1),
			buf_bytes(&value));
	}
	buf_clear(&value);
	if (e == ERR_OK) {
		head->n++;
		storage_chain(head->head, kind, body, head->head);
	}
	return e;
}

static enum err
give_record(const struct entry *e, storage_record_fn fn, void *arg)
{
	struct storage_record record = {.n = number_of(&e->key)};
	struct wire_reader r;
	wire_reader_init(&r, bytes_of(e->value, e->len));
	wire_get_fixed(&r, record.before, HEAD_LEN);
	record.kind = wire_get_u8(&r);
	record.body = wire_get_rest(&r);
	return wire_end(&r) != ERR_OK ? ERR_DAMAGED : fn(arg, &record);
}

static struct key
blob_key(const uint8_t name[BLOB_NAME_LEN], uint32_t chunk)
{
	return key_numbered(T_BLOBS, bytes_of(name, BLOB_NAME_LEN), chunk);
}

static enum err
blobs_exist(struct storage_memory *m, const uint8_t (*names)[BLOB_NAME_LEN], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (get(m, blob_key(names[i], 0)) == NULL) {
			return ERR_NOT_FOUND;
		}
	}
	return ERR_OK;
}

static enum err
blobs_claim(struct storage_memory *m, const uint8_t (*names)[BLOB_NAME_LEN], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum err e = drop(m, key_of(T_PENDING, bytes_of(names[i], BLOB_NAME_LEN)));
		if (e != ERR_OK && e != ERR_NOT_FOUND) {
			return e;
		}
	}
	return ERR_OK;
}

static enum err
log_append(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], const uint8_t expected[HEAD_LEN],
	   const struct bytes *bodies, size_t count, int64_t used_delta,
	   const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count, struct storage_head *ret)
{
	struct storage_memory *m = mem_of(s);
	struct storage_head head;
	enum err e = may_write(m);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = bodies[i].len > STORAGE_RECORD_MAX ? ERR_LIMIT : ERR_OK;
	}
	e = e == ERR_OK ? log_head(s, account, &head) : e;
	if (e == ERR_OK && memcmp(head.head, expected, HEAD_LEN) != 0) {
		e = ERR_CONFLICT;
	}
	e = e == ERR_OK ? blobs_exist(m, claims, claim_count) : e;
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = record_put(m, account, RECORD_SESSION, bodies[i], &head);
	}
	head.used = storage_used_after(head.used, used_delta);
	e = e == ERR_OK ? blobs_claim(m, claims, claim_count) : e;
	e = e == ERR_OK ? head_put(m, account, &head) : e;
	if (e == ERR_OK) {
		*ret = head;
	}
	return e;
}

static enum err
log_read(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t from, storage_record_fn fn,
	 void *arg)
{
	struct storage_memory *m = mem_of(s);
	struct key prefix = key_of(T_LOG, bytes_of(account, ACCOUNT_ID_LEN));
	struct key start = key_numbered(T_LOG, bytes_of(account, ACCOUNT_ID_LEN), from);
	for (size_t i = lower_bound(m, &start); i < m->count && has_prefix(m->entries[i], &prefix); i++) {
		enum err e = give_record(m->entries[i], fn, arg);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

static enum err
log_read_one(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n, storage_record_fn fn,
	     void *arg)
{
	const struct entry *e = get(mem_of(s), key_numbered(T_LOG, bytes_of(account, ACCOUNT_ID_LEN), n));
	return e == NULL ? ERR_NOT_FOUND : give_record(e, fn, arg);
}

static enum err
log_delete(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], const uint64_t *ns, size_t count)
{
	enum err e = may_write(mem_of(s));
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = drop(mem_of(s), key_numbered(T_LOG, bytes_of(account, ACCOUNT_ID_LEN), ns[i]));
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e;
}

static enum err
blob_delete(struct storage *s, const uint8_t name[BLOB_NAME_LEN])
{
	struct storage_memory *m = mem_of(s);
	size_t chunks = 0;
	enum err e = may_write(m);
	e = e == ERR_OK ? drop_prefix(m, key_of(T_BLOBS, bytes_of(name, BLOB_NAME_LEN)), &chunks) : e;
	if (e == ERR_OK) {
		e = drop(m, key_of(T_PENDING, bytes_of(name, BLOB_NAME_LEN)));
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e == ERR_OK && chunks == 0 ? ERR_NOT_FOUND : e;
}

/* A snapshot's key has its n, its value is the blob's name. */
static enum err
snapshot_get(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t below, uint64_t *ret_n,
	     uint8_t ret_blob[BLOB_NAME_LEN])
{
	const struct storage_memory *m = mem_of(s);
	struct key prefix = key_of(T_SNAPSHOTS, bytes_of(account, ACCOUNT_ID_LEN));
	struct key end = key_numbered(T_SNAPSHOTS, bytes_of(account, ACCOUNT_ID_LEN),
				      below == 0 || below > INT64_MAX ? INT64_MAX : below);
	size_t at = lower_bound(m, &end);
	if (at == 0 || !has_prefix(m->entries[at - 1], &prefix)) {
		return ERR_NOT_FOUND;
	}
	const struct entry *e = m->entries[at - 1];
	if (e->len != BLOB_NAME_LEN) {
		return ERR_DAMAGED;
	}
	*ret_n = number_of(&e->key);
	memcpy(ret_blob, e->value, BLOB_NAME_LEN);
	return ERR_OK;
}

/* Every snapshot of a record below `below` but that of record `keep`. */
static enum err
drop_snapshots(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t below, uint64_t keep)
{
	uint64_t n = below;
	uint8_t blob[BLOB_NAME_LEN];
	enum err e = ERR_OK;
	while (e == ERR_OK && n > 0 && (e = snapshot_get(s, account, n, &n, blob)) == ERR_OK) {
		if (n == keep) {
			continue;
		}
		e = blob_delete(s, blob);
		if (e == ERR_OK || e == ERR_NOT_FOUND) {
			e = drop(mem_of(s), key_numbered(T_SNAPSHOTS, bytes_of(account, ACCOUNT_ID_LEN), n));
		}
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err
snapshot_put(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n,
	     const uint8_t blob[BLOB_NAME_LEN], uint64_t keep)
{
	struct storage_memory *m = mem_of(s);
	uint64_t old_n = 0;
	uint8_t old_blob[BLOB_NAME_LEN] = {0};
	enum err e = may_write(m);
	if (e == ERR_OK && n >= INT64_MAX) {
		e = ERR_LIMIT;
	}
	if (e == ERR_OK && get(m, blob_key(blob, 0)) == NULL) {
		e = ERR_NOT_FOUND;
	}
	if (e != ERR_OK) {
		return e;
	}
	bool older = snapshot_get(s, account, 0, &old_n, old_blob) == ERR_OK;
	if (older && n < old_n) {
		return ERR_CONFLICT;
	}
	e = put(m, key_numbered(T_SNAPSHOTS, bytes_of(account, ACCOUNT_ID_LEN), n),
		bytes_of(blob, BLOB_NAME_LEN));
	if (e == ERR_OK) {
		e = drop(m, key_of(T_PENDING, bytes_of(blob, BLOB_NAME_LEN)));
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	if (e == ERR_OK && older && old_n == n && memcmp(old_blob, blob, BLOB_NAME_LEN) != 0) {
		e = blob_delete(s, old_blob);
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e == ERR_OK ? drop_snapshots(s, account, n, keep) : e;
}

static enum err
account_create(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN])
{
	struct storage_memory *m = mem_of(s);
	struct storage_head head;
	enum err e = may_write(m);
	e = e == ERR_OK ? log_head(s, account, &head) : e;
	return e == ERR_OK && !head.known ? head_put(m, account, &head) : e;
}

static enum err
account_delete(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN])
{
	static const enum table tables[] = {T_LOG, T_HEADS};
	struct storage_memory *m = mem_of(s);
	size_t count;
	enum err e = may_write(m);
	e = e == ERR_OK ? drop_snapshots(s, account, INT64_MAX, 0) : e;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && e == ERR_OK; i++) {
		e = drop_prefix(m, key_of(tables[i], bytes_of(account, ACCOUNT_ID_LEN)), &count);
	}
	return e;
}

struct account_walk {
	storage_row_fn fn;
	void *arg;
};

static enum err
give_account(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	const struct account_walk *a = arg;
	return a->fn(a->arg, key, part, bytes_slice(value, 0, HEAD_LEN));
}

static enum err
account_walk(struct storage *s, storage_row_fn fn, void *arg)
{
	struct account_walk a = {.fn = fn, .arg = arg};
	return walk(mem_of(s), T_HEADS, ACCOUNT_ID_LEN, true, give_account, &a);
}

static enum err
blob_put(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, struct bytes data)
{
	struct storage_memory *m = mem_of(s);
	struct key pending = key_of(T_PENDING, bytes_of(name, BLOB_NAME_LEN));
	enum err e = may_write(m);
	if (e != ERR_OK) {
		return e;
	}
	if (data.len > STORAGE_BLOB_CHUNK_MAX) {
		return ERR_LIMIT;
	}
	if (chunk > 0 && get(m, blob_key(name, chunk - 1)) == NULL) {
		return ERR_STATE;
	}
	if ((chunk > 0 && get(m, pending) == NULL) || get(m, blob_key(name, chunk)) != NULL) {
		return ERR_EXISTS;
	}
	e = put(m, blob_key(name, chunk), data);
	return e == ERR_OK && chunk == 0 ? put(m, pending, BYTES_EMPTY) : e;
}

static enum err
blob_get(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, struct buf *ret_data)
{
	return fetch(mem_of(s), blob_key(name, chunk), ret_data);
}

static enum err
blob_walk(struct storage *s, struct bytes after, storage_row_fn fn, void *arg)
{
	return walk_after(mem_of(s), T_BLOBS, BLOB_NAME_LEN, false, after, fn, arg);
}

static struct key
unit_key(const uint8_t unit[UNIT_ID_LEN])
{
	return key_of(T_UNITS, bytes_of(unit, UNIT_ID_LEN));
}

static struct key
part_key(const uint8_t unit[UNIT_ID_LEN], uint32_t part)
{
	return key_numbered(T_PARTS, bytes_of(unit, UNIT_ID_LEN), part);
}

static enum err
check_quota(struct storage *s, const uint8_t (*accounts)[ACCOUNT_ID_LEN], const uint64_t *sizes,
	    const uint64_t *quotas, size_t i)
{
	struct storage_head head;
	enum err e = log_head(s, accounts[i], &head);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t k = 0; k <= i; k++) {
		if (memcmp(accounts[k], accounts[i], ACCOUNT_ID_LEN) == 0) {
			if (sizes[k] > INT64_MAX - head.used) {
				return ERR_QUOTA;
			}
			head.used += sizes[k];
		}
	}
	return quotas[i] != 0 && head.used > quotas[i] ? ERR_QUOTA : ERR_OK;
}

static enum err
spool_put(struct storage *s, const uint8_t unit[UNIT_ID_LEN], struct bytes state, const struct bytes *parts,
	  size_t part_count, const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count,
	  const uint8_t (*accounts)[ACCOUNT_ID_LEN], const uint64_t *sizes, const uint64_t *quotas,
	  size_t account_count)
{
	struct storage_memory *m = mem_of(s);
	enum err e = may_write(m);
	if (e == ERR_OK && (state.len > STORAGE_VALUE_MAX || part_count > STORAGE_PARTS_MAX ||
			    account_count > STORAGE_PARTS_MAX)) {
		e = ERR_LIMIT;
	}
	for (size_t i = 0; i < part_count && e == ERR_OK; i++) {
		e = parts[i].len > STORAGE_RECORD_MAX ? ERR_LIMIT : ERR_OK;
	}
	e = e == ERR_OK && get(m, unit_key(unit)) != NULL ? ERR_EXISTS : e;
	e = e == ERR_OK ? blobs_exist(m, claims, claim_count) : e;
	for (size_t i = 0; i < account_count && e == ERR_OK; i++) {
		e = check_quota(s, accounts, sizes, quotas, i);
	}
	e = e == ERR_OK ? put(m, unit_key(unit), state) : e;
	for (size_t i = 0; i < part_count && e == ERR_OK; i++) {
		e = put(m, part_key(unit, (uint32_t)i), parts[i]);
	}
	e = e == ERR_OK ? blobs_claim(m, claims, claim_count) : e;
	for (size_t i = 0; i < account_count && e == ERR_OK; i++) {
		struct storage_head head;
		e = log_head(s, accounts[i], &head);
		if (e == ERR_OK) {
			head.used += sizes[i];
			e = head_put(m, accounts[i], &head);
		}
	}
	return e;
}

static enum err
spool_state(struct storage *s, const uint8_t unit[UNIT_ID_LEN], struct bytes state)
{
	enum err e = may_write(mem_of(s));
	if (e == ERR_OK && state.len <= STORAGE_VALUE_MAX && get(mem_of(s), unit_key(unit)) == NULL) {
		return ERR_NOT_FOUND;
	}
	return put_value(s, unit_key(unit), state);
}

static enum err
spool_part_get(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part, struct buf *ret_body)
{
	return fetch(mem_of(s), part_key(unit, part), ret_body);
}

static enum err
spool_part_put(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part, struct bytes body)
{
	enum err e = may_write(mem_of(s));
	if (e == ERR_OK && body.len > STORAGE_RECORD_MAX) {
		e = ERR_LIMIT;
	}
	e = e == ERR_OK && get(mem_of(s), part_key(unit, part)) == NULL ? ERR_NOT_FOUND : e;
	return e == ERR_OK ? put(mem_of(s), part_key(unit, part), body) : e;
}

static enum err
spool_release(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
	      const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret)
{
	struct storage_memory *m = mem_of(s);
	struct storage_head head;
	enum err e = may_write(m);
	if (e != ERR_OK) {
		return e;
	}
	const struct entry *body = get(m, part_key(unit, part));
	if (body == NULL) {
		return ERR_NOT_FOUND;
	}
	e = log_head(s, account, &head);
	e = e == ERR_OK ? record_put(m, account, RECORD_ARRIVAL, bytes_of(body->value, body->len), &head) : e;
	e = e == ERR_OK ? head_put(m, account, &head) : e;
	e = e == ERR_OK ? drop(m, part_key(unit, part)) : e;
	if (e == ERR_OK) {
		*ret = head;
	}
	return e;
}

static enum err
spool_move(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
	   const uint8_t to_unit[UNIT_ID_LEN], struct bytes to_state)
{
	struct storage_memory *m = mem_of(s);
	enum err e = may_write(m);
	if (e == ERR_OK && to_state.len > STORAGE_VALUE_MAX) {
		e = ERR_LIMIT;
	}
	if (e != ERR_OK) {
		return e;
	}
	const struct entry *body = get(m, part_key(unit, part));
	if (body == NULL) {
		return ERR_NOT_FOUND;
	}
	if (get(m, part_key(to_unit, part)) != NULL) {
		return ERR_EXISTS;
	}
	e = put(m, unit_key(to_unit), to_state);
	e = e == ERR_OK ? put(m, part_key(to_unit, part), bytes_of(body->value, body->len)) : e;
	return e == ERR_OK ? drop(m, part_key(unit, part)) : e;
}

static enum err
spool_part_delete(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part)
{
	return drop_checked(s, part_key(unit, part));
}

static enum err
spool_delete(struct storage *s, const uint8_t unit[UNIT_ID_LEN])
{
	size_t count;
	enum err e = may_write(mem_of(s));
	e = e == ERR_OK ? drop_prefix(mem_of(s), key_of(T_PARTS, bytes_of(unit, UNIT_ID_LEN)), &count) : e;
	return e == ERR_OK ? drop(mem_of(s), unit_key(unit)) : e;
}

static enum err
spool_walk(struct storage *s, struct bytes after, storage_row_fn fn, void *arg)
{
	return walk_after(mem_of(s), T_UNITS, UNIT_ID_LEN, true, after, fn, arg);
}

static enum err
spool_part_walk(struct storage *s, storage_row_fn fn, void *arg)
{
	return walk(mem_of(s), T_PARTS, UNIT_ID_LEN, true, fn, arg);
}

static enum err
upkeep(struct storage *s)
{
	return mem_of(s)->in_transaction ? ERR_STATE : ERR_OK;
}

/* Memory is not damaged: only counts. */
static enum err
check(struct storage *s, void (*report)(void *arg, const char *what, uint64_t count), void *arg)
{
	static const struct {
		const char *what;
		enum table table;
	} tables[] = {{"records", T_LOG}, {"accounts", T_HEADS}, {"units waiting", T_UNITS}};
	const struct storage_memory *m = mem_of(s);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		struct key from = key_of(tables[i].table, BYTES_EMPTY);
		struct key to = key_of((enum table)(tables[i].table + 1), BYTES_EMPTY);
		report(arg, tables[i].what, lower_bound(m, &to) - lower_bound(m, &from));
	}
	return ERR_OK;
}

static void
destroy(struct storage **s)
{
	if (*s == NULL) {
		return;
	}
	struct storage_memory *m = mem_of(*s);
	rollback(*s);
	for (size_t i = 0; i < m->count; i++) {
		free_entry(m->entries[i]);
	}
	free(m->entries);
	free(m->undo);
	free(m);
	*s = NULL;
}

static const struct storage_driver driver = {
    .name = "memory",
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .directory_get = directory_get,
    .directory_put = directory_put,
    .directory_create = directory_create,
    .directory_delete = directory_delete,
    .directory_walk = directory_walk,
    .log_head = log_head,
    .log_append = log_append,
    .log_read = log_read,
    .log_read_one = log_read_one,
    .log_delete = log_delete,
    .account_create = account_create,
    .account_delete = account_delete,
    .account_walk = account_walk,
    .snapshot_put = snapshot_put,
    .snapshot_get = snapshot_get,
    .blob_put = blob_put,
    .blob_get = blob_get,
    .blob_delete = blob_delete,
    .blob_walk = blob_walk,
    .spool_put = spool_put,
    .spool_state = spool_state,
    .spool_part_get = spool_part_get,
    .spool_part_put = spool_part_put,
    .spool_release = spool_release,
    .spool_move = spool_move,
    .spool_part_delete = spool_part_delete,
    .spool_delete = spool_delete,
    .spool_walk = spool_walk,
    .spool_part_walk = spool_part_walk,
    .spool_key_put = key_put,
    .spool_key_delete = key_delete,
    .spool_key_walk = key_walk,
    .meta_get = meta_get,
    .meta_put = meta_put,
    .meta_walk = meta_walk,
    .upkeep = upkeep,
    .check = check,
    .destroy = destroy,
};

enum err
storage_memory_create(struct storage **ret)
{
	struct storage_memory *m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return ERR_MEMORY;
	}
	m->base.driver = &driver;
	*ret = &m->base;
	return ERR_OK;
}
