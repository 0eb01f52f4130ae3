/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Snapshots: made now and then, so that a login folds little; what none needs any more is swept away. */
#include <string.h>

#include "base/wire.h"
#include "fold/snapshot.h"
#include "process/log.h"
#include "sealed/snapshot.h"
#include "session/member_internal.h"

enum { GET_CHUNKS = 8, DELETE_AT_ONCE = 4096, RETRY_MS = 60 * 1000, LOAD_TRIES = 3 };

/* ---- reading ---- */

static enum err
get_chunks(struct member *m, const uint8_t name[SEALED_ID_LEN], uint32_t first, uint32_t count,
	   struct buf *ret)
{
	struct msg_blob_get q = {.first = first, .count = count};
	memcpy(q.blob, name, sizeof(q.blob));
	return channel_call(worker_store(m->worker), BLOB_GET, blob_get, &q, worker_deadline(m->worker), ret);
}

/* All chunks of the body, one behind the other with their lengths. */
static enum err
get_body(struct member *m, const uint8_t name[SEALED_ID_LEN], uint32_t chunks, struct buf *ret)
{
	uint32_t done = 0;
	enum err e = ERR_OK;
	while (e == ERR_OK && done < chunks) {
		struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
		struct msg_blob_get_reply r;
		uint32_t want = chunks - done < GET_CHUNKS ? chunks - done : GET_CHUNKS;
		e = get_chunks(m, name, done + 1, want, &reply);
		if (e == ERR_OK) {
			e = msg_blob_get_reply_decode(buf_bytes(&reply), &r);
		}
		if (e == ERR_OK) {
			struct wire_reader count;
			uint32_t got = 0;
			wire_reader_init(&count, r.chunks);
			while (count.rest.len > 0 && count.error == ERR_OK) {
				(void)wire_get_bytes(&count, BLOB_CHUNK_MAX);
				got++;
			}
			if (wire_end(&count) != ERR_OK || got == 0 || got > want) {
				e = ERR_DAMAGED;
			} else {
				done += got;
				e = buf_append(ret, r.chunks);
			}
		}
		buf_clear(&reply);
	}
	return e;
}

static enum err
collect(void *arg, uint32_t index, struct bytes piece)
{
	(void)index;
	return buf_append(arg, piece);
}

static enum err
open_body(struct worker *w, const struct snapshot_header *header, struct bytes chunks, struct fold **ret)
{
	struct buf plain = BUF_INIT((size_t)SNAPSHOT_BODY_MAX);
	struct blob_reader *reader = NULL;
	struct wire_reader r;
	wire_reader_init(&r, chunks);
	enum err e = blob_reader_create(w->codec, &header->body, collect, &plain, &reader);
	while (e == ERR_OK && r.rest.len > 0) {
		e = blob_reader_feed(reader, wire_get_bytes(&r, BLOB_CHUNK_MAX));
	}
	if (e == ERR_OK) {
		e = blob_reader_finish(reader);
	}
	blob_reader_destroy(&reader);
	if (e == ERR_OK) {
		e = fold_snapshot_read(buf_bytes(&plain), ret);
	}
	buf_wipe(&plain);
	return e;
}

static enum err
load_named(struct member *m, const struct msg_snapshot_get_reply *at)
{
	struct snapshot_header header;
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
	struct buf chunks = BUF_INIT((size_t)SNAPSHOT_BODY_MAX * 2);
	struct msg_blob_get_reply r;
	struct fold *fold = NULL;
	enum err e = get_chunks(m, at->blob, 0, 1, &reply);
	if (e == ERR_OK) {
		e = msg_blob_get_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		struct wire_reader first;
		wire_reader_init(&first, r.chunks);
		e = snapshot_open_header(m->account, &m->keys, at->n, at->blob,
					 wire_get_bytes(&first, BLOB_CHUNK_MAX), &header);
	}
	if (e == ERR_OK) {
		e = get_body(m, at->blob, header.body.chunks, &chunks);
	}
	if (e == ERR_OK) {
		e = open_body(m->worker, &header, buf_bytes(&chunks), &fold);
	}
	if (e == ERR_OK && fold_n(fold) != header.n) {
		fold_destroy(&fold);
		e = ERR_DAMAGED;
	}
	if (e == ERR_OK) {
		fold_destroy(&m->fold);
		m->fold = fold;
		m->snapshot_n = header.n;
		m->snapshot_older = at->older;
		m->snapshot_bytes = header.body.stored;
		member_folded(m, header.n, header.head, 0);
		m->bytes_since = 0;
	}
	buf_clear(&reply);
	buf_clear(&chunks);
	return e;
}

/* The newest one of a record below `below` (0: of all); *ret_n: its n, where there is one, read or not. */
static enum err
load_below(struct member *m, uint64_t below, uint64_t *ret_n)
{
	struct msg_snapshot_get q = {.below = below};
	struct msg_snapshot_get_reply r;
	struct buf reply = BUF_INIT(IPC_SMALL);
	memcpy(q.account, m->account, sizeof(q.account));
	enum err e = channel_call(worker_store(m->worker), SNAPSHOT_GET, snapshot_get, &q,
				  worker_deadline(m->worker), &reply);
	if (e == ERR_OK) {
		e = msg_snapshot_get_reply_decode(buf_bytes(&reply), &r);
	}
	buf_clear(&reply);
	if (e != ERR_OK) {
		return e;
	}
	*ret_n = r.n;
	return load_named(m, &r);
}

static bool
cannot_be_read(enum err e)
{
	return e == ERR_AUTH || e == ERR_FORMAT || e == ERR_DAMAGED || e == ERR_NOT_FOUND || e == ERR_LIMIT;
}

enum err
member_snapshot_load(struct member *m)
{
	uint64_t n = 0;
	uint64_t damaged = 0;
	enum err e = ERR_NOT_FOUND;
	for (unsigned i = 0; i < LOAD_TRIES; i++) {
		n = 0;
		e = load_below(m, damaged, &n);
		if (m->broken != ERR_OK) {
			return m->broken;
		}
		/* One that cannot be read is as good as none: the one below it does, whose records are still there, or the log. */
		if (n == 0 || !cannot_be_read(e)) {
			break;
		}
		damaged = n;
		e = ERR_NOT_FOUND;
	}
	if (damaged > 0 && (e == ERR_OK || e == ERR_NOT_FOUND)) {
		/* Nothing is swept for the sake of one that cannot be read. */
		m->snapshot_older = 0;
		m->worker->seen_damaged++;
		log_event(LOG_LEVEL_ERROR,
			  "a member's snapshot does not open: %s. Remedy: `cohue check`; a new one is made "
			  "when she leaves",
			  e == ERR_OK ? "an older one is used" : "her log is read from its beginning");
	}
	return e;
}

/* ---- making ---- */

struct making {
	struct member *member;
	struct buf first;  /* chunk 0, which comes last */
	struct buf chunks; /* the others, with their lengths */
	struct buf ranges; /* what may be deleted before */
	uint64_t upto;     /* of the ranges: the older snapshot that stays until this one is there */
	uint64_t n;
	uint64_t stored;
	uint8_t name[SEALED_ID_LEN];
};

static enum err
keep_chunk(void *arg, uint32_t index, struct bytes chunk)
{
	struct making *k = arg;
	struct wire_writer w;
	if (index == 0) {
		return buf_append(&k->first, chunk);
	}
	wire_writer_init(&w, &k->chunks);
	wire_put_bytes(&w, chunk);
	return wire_done(&w);
}

/* Under the lock. */
static enum err
make(struct member *m, struct making *k)
{
	struct buf plain = BUF_INIT((size_t)SNAPSHOT_BODY_MAX);
	k->n = fold_n(m->fold);
	enum err e = fold_snapshot_write(m->fold, &plain);
	if (e == ERR_OK) {
		e = snapshot_seal(m->worker->codec, m->account, &m->keys, k->n, m->head, buf_bytes(&plain),
				  keep_chunk, k, k->name, &k->stored);
	}
	buf_wipe(&plain);
	return e;
}

static enum err
put(struct member *m, const struct making *k)
{
	struct upload u;
	struct wire_reader r;
	uint32_t index = 0;
	upload_init(&u, m);
	wire_reader_init(&r, buf_bytes(&k->chunks));
	enum err e = upload_chunk(&u, k->name, index++, buf_bytes(&k->first));
	while (e == ERR_OK && r.rest.len > 0) {
		e = upload_chunk(&u, k->name, index++, wire_get_bytes(&r, BLOB_CHUNK_MAX));
	}
	enum err last = upload_finish(&u);
	e = e == ERR_OK ? last : e;
	if (e == ERR_OK) {
		struct msg_snapshot_put q = {.n = k->n, .keep = m->snapshot_n};
		memcpy(q.account, m->account, sizeof(q.account));
		memcpy(q.blob, k->name, sizeof(q.blob));
		e = channel_call(worker_store(m->worker), SNAPSHOT_PUT, snapshot_put, &q,
				 worker_deadline(m->worker), NULL);
	}
	return e;
}

static enum err
delete_some(struct member *m, struct buf *ns)
{
	struct msg_log_delete q = {.ns = buf_bytes(ns), .blobs = BYTES_EMPTY};
	memcpy(q.account, m->account, sizeof(q.account));
	enum err e = channel_call(worker_store(m->worker), LOG_DELETE, log_delete, &q,
				  worker_deadline(m->worker), NULL);
	buf_reset(ns);
	return e;
}

/* The blobs went with the appends that let them go (member_drop_messages); these are the records. */
static enum err
sweep(struct member *m, const struct making *k)
{
	struct buf ns = BUF_INIT(DELETE_AT_ONCE * 8);
	enum err e = ERR_OK;
	size_t count = k->ranges.len / sizeof(struct record_range);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		struct record_range range;
		memcpy(&range, k->ranges.ptr + i * sizeof(range), sizeof(range));
		for (uint64_t n = range.first; n <= range.last && n <= k->upto && e == ERR_OK; n++) {
			struct wire_writer w;
			wire_writer_init(&w, &ns);
			wire_put_u64(&w, n);
			e = wire_done(&w);
			if (e == ERR_OK && ns.len == DELETE_AT_ONCE * 8) {
				e = delete_some(m, &ns);
			}
		}
	}
	if (e == ERR_OK && ns.len > 0) {
		e = delete_some(m, &ns);
	}
	buf_clear(&ns);
	return e;
}

static enum err
build_swept(void *arg, struct member *m, struct member_change *c)
{
	const struct making *k = arg;
	struct operation op = {.kind = OPERATION_SWEPT, .swept = {.upto = k->upto}};
	(void)m;
	return operations_add(c->record, &op);
}

static bool
may_keep(const struct member *m)
{
	return m->loaded && m->broken == ERR_OK && !m->closed;
}

/*
 * Two snapshots stay: this one, and the one before it, which was read when she came, or was put while she was here. So what is deleted
 * is only what lies before both of them, and that was so when the last one was made: a damaged one costs nothing.
 */
static enum err
sweep_older(struct member *m, struct making *k)
{
	struct record_range first = {.first = 0};
	enum err e = ERR_STATE;
	k->upto = m->snapshot_older;
	if (k->upto == 0) {
		return ERR_OK;
	}
	lock_take(&m->lock);
	if (may_keep(m)) {
		e = fold_deletable(m->fold, &k->ranges);
	}
	lock_give(&m->lock);
	if (e == ERR_OK && k->ranges.len >= sizeof(first)) {
		memcpy(&first, k->ranges.ptr, sizeof(first));
	}
	if (e != ERR_OK || first.first == 0 || first.first > k->upto) {
		return e;
	}
	e = sweep(m, k);
	lock_take(&m->lock);
	if (e == ERR_OK) {
		e = may_keep(m) ? member_append_locked(m, NULL, build_swept, k, NULL) : ERR_STATE;
	}
	lock_give(&m->lock);
	return e;
}

static void
keep_task(void *arg)
{
	struct member *m = arg;
	struct making k = {.member = m,
			   .first = BUF_INIT(BLOB_CHUNK_MAX),
			   .chunks = BUF_INIT((size_t)SNAPSHOT_BODY_MAX * 2),
			   .ranges = BUF_INIT((size_t)64 << 20)};
	enum err e = sweep_older(m, &k);
	lock_take(&m->lock);
	if (e == ERR_OK) {
		e = may_keep(m) ? make(m, &k) : ERR_STATE;
	}
	lock_give(&m->lock);
	if (e == ERR_OK) {
		e = put(m, &k);
	}
	if (e == ERR_OK) {
		m->snapshot_older = m->snapshot_n;
		m->snapshot_n = k.n;
		m->snapshot_bytes = k.stored;
		m->bytes_since = 0;
	}
	if (e != ERR_OK && e != ERR_STATE && e != ERR_CLOSED && e != ERR_CONFLICT) {
		log_event(LOG_LEVEL_WARNING, "a snapshot could not be made: %s; it is tried again",
			  err_text(e));
	}
	if (e != ERR_OK) {
		m->keep_after = loop_now(m->worker->host->loop) + RETRY_MS;
	}
	buf_wipe(&k.first);
	buf_clear(&k.chunks);
	buf_clear(&k.ranges);
	m->keeping = false;
	bool alone = m->refs == 1 && !m->closed;
	struct member *same = m;
	msec idle_since = m->idle_since;
	member_unref(&m);
	if (alone) {
		/* It was not she who was here: her keys stay no longer for it. */
		same->idle_since = idle_since;
	}
}

/*
 * Small mailboxes get one each time that something has changed; of a large one only where as much was written to her log as makes a fair share of
 * it.
 */
static bool
is_worth_it(const struct member *m, enum snapshot_moment moment)
{
	uint64_t records = fold_n(m->fold) - m->snapshot_n;
	if (records >= MEMBER_SNAPSHOT_RECORDS || m->bytes_since >= MEMBER_SNAPSHOT_BYTES) {
		return true;
	}
	if (moment == SNAPSHOT_BUSY || records == 0) {
		return false;
	}
	return records >= MEMBER_SNAPSHOT_IDLE_RECORDS ||
	       (moment == SNAPSHOT_LEAVING &&
		m->snapshot_bytes <= (uint64_t)m->bytes_since * MEMBER_SNAPSHOT_SHARE);
}

void
member_snapshot_consider(struct member *m, enum snapshot_moment moment)
{
	if (!m->loaded || m->keeping || m->broken != ERR_OK || m->closed ||
	    (m->worker->host->stopping && moment != SNAPSHOT_LEAVING) ||
	    loop_now(m->worker->host->loop) < m->keep_after || !is_worth_it(m, moment)) {
		return;
	}
	m->keeping = true;
	member_ref(m);
	if (role_spawn(m->worker->host, keep_task, m) != ERR_OK) {
		m->keeping = false;
		m->refs--; /* not member_unref, which would come back here */
	}
}
