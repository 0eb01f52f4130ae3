/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Members' logs, snapshots and blobs. */
#include <string.h>

#include "base/wire.h"
#include "store/store_internal.h"

enum {
	ROW_OVERHEAD = 8 + HEAD_LEN + 1 + 4,
	ROWS_MAX = IPC_PAYLOAD_MAX - 1024,
	BODIES_MAX = 256, /* records of one append */
	CHUNKS_A_READ = 8,
	NS_MAX = 65536,
};

enum err
store_check_account(const struct store *s, const uint8_t account[ACCOUNT_ID_LEN])
{
	struct storage_head head;
	enum err e = s->driver->log_head(s->storage, account, &head);
	return e == ERR_OK && !head.known ? ERR_NOT_FOUND : e;
}

enum err
store_check_claims(const struct store *s, struct bytes names)
{
	if (names.len % BLOB_NAME_LEN != 0) {
		return ERR_FORMAT;
	}
	for (size_t at = 0; at < names.len; at += BLOB_NAME_LEN) {
		if (!unclaimed_has(&s->pending, names.ptr + at)) {
			return ERR_CONFLICT;
		}
	}
	return ERR_OK;
}

void
store_claimed(struct store *s, struct bytes names)
{
	for (size_t at = 0; at < names.len; at += BLOB_NAME_LEN) {
		unclaimed_remove(&s->pending, names.ptr + at);
	}
}

/* A list of names as the driver takes them; an empty list has no address. */
static const uint8_t (*as_names(struct bytes names))[BLOB_NAME_LEN]
{
	return (const uint8_t(*)[BLOB_NAME_LEN])(uintptr_t)names.ptr;
}

static enum err
delete_blobs(struct store *s, struct bytes names)
{
	if (names.len % BLOB_NAME_LEN != 0) {
		return ERR_FORMAT;
	}
	for (size_t at = 0; at < names.len; at += BLOB_NAME_LEN) {
		enum err e = s->driver->blob_delete(s->storage, names.ptr + at);
		/* Deleted before, by the same command cut short: what was wanted. */
		if (e != ERR_OK && e != ERR_NOT_FOUND) {
			return e;
		}
		unclaimed_remove(&s->pending, names.ptr + at);
	}
	return ERR_OK;
}

static enum err
reply_head(const struct store *s, const struct storage_head *head, struct buf *ret_reply)
{
	struct msg_log_head_reply r = {.n = head->n, .used = head->used, .epoch = s->epoch};
	memcpy(r.head, head->head, sizeof(r.head));
	return msg_log_head_reply_encode(ret_reply, &r);
}

enum err
store_log_head(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_log_head m;
	struct storage_head head;
	if (msg_log_head_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	enum err e = s->driver->log_head(s->storage, m.account, &head);
	return e == ERR_OK ? reply_head(s, &head, ret_reply) : e;
}

struct rows {
	struct buf rows;
	size_t max;
	bool more;
};

/* Stops the walk; never leaves this file. */
static const enum err enough = ERR_AGAIN;

static enum err
add_row(void *arg, const struct storage_record *record)
{
	struct rows *r = arg;
	size_t need = ROW_OVERHEAD + record->body.len;
	/* At least one row comes, so that a reader always gets on. */
	if (r->rows.len > 0 && r->rows.len + need > r->max) {
		r->more = true;
		return enough;
	}
	struct wire_writer w;
	wire_writer_init(&w, &r->rows);
	wire_put_u64(&w, record->n);
	wire_put_fixed(&w, record->before, HEAD_LEN);
	wire_put_u8(&w, record->kind);
	wire_put_bytes(&w, record->body);
	return wire_done(&w);
}

static size_t
row_limit(uint32_t wanted)
{
	return wanted < ROWS_MAX ? wanted : ROWS_MAX;
}

enum err
store_log_read(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_log_read m;
	if (msg_log_read_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct rows r = {.rows = BUF_INIT(ROWS_MAX), .max = row_limit(m.max_bytes), .more = false};
	enum err e = s->driver->log_read(s->storage, m.account, m.from, add_row, &r);
	if (e == enough && r.more) {
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		struct msg_log_read_reply reply = {.more = r.more, .rows = buf_bytes(&r.rows)};
		e = msg_log_read_reply_encode(ret_reply, &reply);
	}
	buf_clear(&r.rows);
	return e;
}

enum err
store_log_read_many(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_log_read_many m;
	if (msg_log_read_many_decode(q->payload, &m) != ERR_OK || m.ns.len % 8 != 0 ||
	    m.ns.len / 8 > NS_MAX) {
		return ERR_FORMAT;
	}
	struct rows r = {.rows = BUF_INIT(ROWS_MAX), .max = row_limit(m.max_bytes), .more = false};
	struct wire_reader ns;
	wire_reader_init(&ns, m.ns);
	enum err e = ERR_OK;
	while (e == ERR_OK && ns.rest.len > 0) {
		uint64_t n = wire_get_u64(&ns);
		e = s->driver->log_read_one(s->storage, m.account, n, add_row, &r);
		if (e == ERR_NOT_FOUND) {
			struct storage_record gone = {.n = n, .kind = 0, .body = BYTES_EMPTY};
			e = add_row(&r, &gone);
		}
	}
	if (e == enough && r.more) {
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		struct msg_log_read_many_reply reply = {.rows = buf_bytes(&r.rows)};
		e = msg_log_read_many_reply_encode(ret_reply, &reply);
	}
	buf_clear(&r.rows);
	return e;
}

enum err
store_log_append(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_log_append m;
	struct bytes bodies[BODIES_MAX];
	size_t count = 0;
	if (msg_log_append_decode(q->payload, &m) != ERR_OK || m.drops.len % BLOB_NAME_LEN != 0) {
		return ERR_FORMAT;
	}
	struct wire_reader r;
	wire_reader_init(&r, m.bodies);
	while (r.rest.len > 0 && r.error == ERR_OK && count < BODIES_MAX) {
		bodies[count++] = wire_get_bytes(&r, STORAGE_RECORD_MAX);
	}
	if (wire_end(&r) != ERR_OK || count == 0) {
		return ERR_FORMAT;
	}
	enum err e = store_check_account(s, m.account);
	e = e == ERR_OK ? store_check_claims(s, m.claims) : e;
	struct storage_head head;
	if (e == ERR_OK) {
		e = s->driver->log_append(s->storage, m.account, m.expected, bodies, count,
					  (int64_t)m.used_delta, as_names(m.claims),
					  m.claims.len / BLOB_NAME_LEN, &head);
	}
	if (e == ERR_OK) {
		store_claimed(s, m.claims);
		e = delete_blobs(s, m.drops);
		s->must_roll_back = e != ERR_OK;
	}
	if (e != ERR_OK) {
		return e;
	}
	struct msg_log_append_reply reply = {.n = head.n, .used = head.used};
	memcpy(reply.head, head.head, sizeof(reply.head));
	return msg_log_append_reply_encode(ret_reply, &reply);
}

enum err
store_log_delete(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_log_delete m;
	(void)ret_reply;
	if (msg_log_delete_decode(q->payload, &m) != ERR_OK || m.ns.len % 8 != 0 || m.ns.len / 8 > NS_MAX ||
	    m.blobs.len % BLOB_NAME_LEN != 0) {
		return ERR_FORMAT;
	}
	struct wire_reader ns;
	wire_reader_init(&ns, m.ns);
	enum err e = ERR_OK;
	while (e == ERR_OK && ns.rest.len > 0) {
		uint64_t n = wire_get_u64(&ns);
		e = s->driver->log_delete(s->storage, m.account, &n, 1);
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	e = e == ERR_OK ? delete_blobs(s, m.blobs) : e;
	s->must_roll_back = e != ERR_OK;
	return e;
}

struct names {
	struct buf names;
	bool more;
};

static enum err
add_name(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct names *n = arg;
	(void)value;
	if (part != 0) {
		return ERR_OK;
	}
	if (n->names.len + key.len > ROWS_MAX) {
		n->more = true;
		return ERR_AGAIN;
	}
	return buf_append(&n->names, key);
}

enum err
store_blob_names(struct store *s, const struct request *q, struct buf *ret_reply)
{
	static const uint8_t first[BLOB_NAME_LEN];
	struct msg_blob_names m;
	struct names n = {.names = BUF_INIT(ROWS_MAX), .more = false};
	if (msg_blob_names_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	bool all = memcmp(m.after, first, sizeof(first)) == 0;
	enum err e = s->driver->blob_walk(s->storage, all ? BYTES_EMPTY : bytes_of(m.after, sizeof(m.after)),
					  add_name, &n);
	if (e == ERR_AGAIN && n.more) {
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		struct msg_blob_names_reply r = {.more = n.more, .names = buf_bytes(&n.names)};
		e = msg_blob_names_reply_encode(ret_reply, &r);
	}
	buf_clear(&n.names);
	return e;
}

enum err
store_blobs_delete(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_blobs_delete m;
	(void)ret_reply;
	if (msg_blobs_delete_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	enum err e = delete_blobs(s, m.names);
	s->must_roll_back = e != ERR_OK && e != ERR_FORMAT;
	return e;
}

enum err
store_snapshot_put(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_snapshot_put m;
	(void)ret_reply;
	if (msg_snapshot_put_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct bytes name = bytes_of(m.blob, sizeof(m.blob));
	enum err e = store_check_account(s, m.account);
	e = e == ERR_OK ? store_check_claims(s, name) : e;
	if (e == ERR_OK) {
		e = s->driver->snapshot_put(s->storage, m.account, m.n, m.blob, m.keep);
	}
	if (e == ERR_OK) {
		store_claimed(s, name);
	}
	return e;
}

enum err
store_snapshot_get(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_snapshot_get m;
	struct msg_snapshot_get_reply r = {.n = 0};
	if (msg_snapshot_get_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	enum err e = s->driver->snapshot_get(s->storage, m.account, m.below, &r.n, r.blob);
	if (e == ERR_OK && r.n > 0) {
		uint8_t blob[BLOB_NAME_LEN];
		e = s->driver->snapshot_get(s->storage, m.account, r.n, &r.older, blob);
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e == ERR_OK ? msg_snapshot_get_reply_encode(ret_reply, &r) : e;
}

enum err
store_blob_put(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_blob_put m;
	(void)ret_reply;
	if (msg_blob_put_decode(q->payload, &m) != ERR_OK || m.data.len > STORAGE_BLOB_CHUNK_MAX) {
		return ERR_FORMAT;
	}
	enum err e = unclaimed_add(&s->pending, m.blob, m.chunk, loop_now(s->host->loop));
	if (e == ERR_OK) {
		e = s->driver->blob_put(s->storage, m.blob, m.chunk, m.data);
		if (e != ERR_OK) {
			unclaimed_remove(&s->pending, m.blob);
		}
	}
	return e;
}

enum err
store_blob_get(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_blob_get m;
	if (msg_blob_get_decode(q->payload, &m) != ERR_OK || m.count == 0 || m.count > CHUNKS_A_READ) {
		return ERR_FORMAT;
	}
	struct buf chunks = BUF_INIT(IPC_PAYLOAD_MAX - 64);
	struct buf one = BUF_INIT(STORAGE_BLOB_CHUNK_MAX);
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < m.count && e == ERR_OK; i++) {
		buf_reset(&one);
		e = s->driver->blob_get(s->storage, m.blob, m.first + i, &one);
		if (e == ERR_NOT_FOUND && i > 0) {
			/* The blob ends here. */
			e = ERR_OK;
			break;
		}
		if (e == ERR_OK) {
			struct wire_writer w;
			wire_writer_init(&w, &chunks);
			wire_put_bytes(&w, buf_bytes(&one));
			e = wire_done(&w);
		}
	}
	if (e == ERR_OK) {
		struct msg_blob_get_reply r = {.chunks = buf_bytes(&chunks)};
		e = msg_blob_get_reply_encode(ret_reply, &r);
	}
	buf_clear(&chunks);
	buf_clear(&one);
	return e;
}

/* One entry of BLOB_GET_MANY's answer, read straight into it. ERR_LIMIT: it does not fit any more. */
static enum err
add_first_chunk(struct store *s, const uint8_t name[BLOB_NAME_LEN], struct buf *out)
{
	size_t start = out->len;
	struct wire_writer w;
	wire_writer_init(&w, out);
	wire_put_u8(&w, 1);
	size_t opened = wire_open_bytes(&w);
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		e = s->driver->blob_get(s->storage, name, 0, out);
	}
	if (e == ERR_NOT_FOUND) {
		out->ptr[start] = 0;
		return ERR_OK;
	}
	wire_close_bytes(&w, opened);
	if (e != ERR_OK) {
		buf_truncate(out, start);
	}
	return e;
}

enum err
store_blob_get_many(struct store *s, const struct request *q, struct buf *ret_reply)
{
	enum { USUAL = 4096 + 64 }; /* most letters' blob, and what is around it */
	struct msg_blob_get_many m;
	if (msg_blob_get_many_decode(q->payload, &m) != ERR_OK || m.names.len == 0 ||
	    m.names.len % BLOB_NAME_LEN != 0 || m.names.len / BLOB_NAME_LEN > BLOB_GET_MANY_MAX) {
		return ERR_FORMAT;
	}
	/* The reply's one field, encoded where it grows. */
	struct wire_writer w;
	wire_writer_init(&w, ret_reply);
	enum err e = buf_reserve(ret_reply, m.names.len / BLOB_NAME_LEN * USUAL);
	size_t opened = wire_open_bytes(&w);
	for (size_t at = 0; at < m.names.len && e == ERR_OK; at += BLOB_NAME_LEN) {
		e = add_first_chunk(s, m.names.ptr + at, ret_reply);
	}
	wire_close_bytes(&w, opened);
	if (e == ERR_LIMIT && ret_reply->len > opened) {
		e = ERR_OK; /* the rest is asked for again */
	}
	return e == ERR_OK ? wire_done(&w) : e;
}
