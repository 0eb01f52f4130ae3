/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the store's rows to the folded state, believing only what the chain and the keys bear out. */
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"
#include "process/log.h"
#include "sealed/value.h"
#include "session/member_internal.h"
#include "session/posted.h"

enum { PAGE_BYTES = 512 * 1024, SLICE_MS = 10 };

void
member_chain(const uint8_t before[SEALED_HASH_LEN], uint8_t kind, struct bytes body,
	     uint8_t ret[SEALED_HASH_LEN])
{
	struct crypto_hasher h;
	crypto_hasher_init(&h, NULL);
	crypto_hasher_update(&h, bytes_of(before, SEALED_HASH_LEN));
	crypto_hasher_update(&h, bytes_of(&kind, 1));
	crypto_hasher_update(&h, body);
	crypto_hasher_final(&h, ret);
}

/* Compares with what was seen before, on the way past that place. */
static bool
contradicts_known(const struct member *m, uint64_t n, const uint8_t head[SEALED_HASH_LEN])
{
	const struct known_head *k = worker_known_head(m->worker, m->account);
	return k != NULL && k->n == n && memcmp(k->head, head, SEALED_HASH_LEN) != 0;
}

void
member_folded(struct member *m, uint64_t n, const uint8_t head[SEALED_HASH_LEN], size_t body_len)
{
	memcpy(m->head, head, SEALED_HASH_LEN);
	m->bytes_since += body_len;
	if (m->sought_n == n && memcmp(m->sought_head, head, SEALED_HASH_LEN) == 0) {
		m->sought_found = true;
	}
}

/* The clear octets before the seal: which version, and which generation's key. */
enum { ROW_HEAD = 1 + 4, GENERATIONS_TRIED = 4 };

/* Where it is they that are damaged, the seal tells: it vouches for them. */
static enum err
open_with_other_head(struct member *m, const struct record_place *place, struct bytes body,
		     struct buf *ret_plain)
{
	struct buf again = BUF_INIT(SEALED_RECORD_MAX);
	const struct member_key *newest = member_keys_newest(&m->keys);
	enum err e = buf_append(&again, body);
	uint32_t generation = newest == NULL ? 0 : newest->generation;
	if (e == ERR_OK && body.len <= ROW_HEAD) {
		e = ERR_FORMAT;
	} else if (e == ERR_OK) {
		e = ERR_AUTH;
	}
	for (unsigned i = 0; i < GENERATIONS_TRIED && generation > 0 && e == ERR_AUTH; i++, generation--) {
		again.ptr[0] = SEALED_VERSION;
		for (unsigned k = 0; k < 4; k++) {
			again.ptr[1 + k] = (uint8_t)(generation >> (24 - 8 * k));
		}
		e = record_open(&m->keys, place, buf_bytes(&again), ret_plain);
		e = e == ERR_NOT_FOUND ? ERR_AUTH : e;
	}
	buf_clear(&again);
	return e;
}

enum err
member_open_row(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN],
		const uint8_t head[SEALED_HASH_LEN], struct bytes body, struct buf *ret_plain,
		uint8_t ret_before[SEALED_HASH_LEN])
{
	struct record_place place = {.kind = RECORD_KIND_SESSION, .n = n};
	memcpy(place.account, m->account, sizeof(place.account));
	memcpy(place.before, before, sizeof(place.before));
	enum err e = record_open(&m->keys, &place, body, ret_plain);
	enum err why = e;
	if (e != ERR_OK && e != ERR_MEMORY) {
		enum err other = open_with_other_head(m, &place, body, ret_plain);
		e = other == ERR_OK || other == ERR_MEMORY ? other : why;
	}
	if (e == ERR_AUTH && memcmp(before, head, SEALED_HASH_LEN) != 0) {
		/* It may be the head before it, as the row has it, that is damaged. */
		memcpy(place.before, head, sizeof(place.before));
		e = record_open(&m->keys, &place, body, ret_plain);
	}
	memcpy(ret_before, place.before, SEALED_HASH_LEN);
	return e;
}

enum err
member_remember(struct member *m, uint64_t n, struct bytes plain)
{
	buf_wipe(&m->last);
	buf_init(&m->last, OPERATION_PLAIN_MAX);
	buf_reset(&m->skeleton);
	m->previous = n;
	enum err e = operations_skeleton(plain, &m->skeleton);
	return e == ERR_MEMORY ? e : ERR_OK;
}

/* Of many records that are folded one behind the other, only the last one's skeleton is wanted. */
static void
remember_later(struct member *m, uint64_t n, struct buf *plain)
{
	struct buf old = m->last;
	m->last = *plain;
	*plain = old;
	m->previous = n;
}

enum err
member_remember_last(struct member *m)
{
	struct buf last = m->last;
	buf_init(&m->last, OPERATION_PLAIN_MAX);
	enum err e = last.len > 0 ? member_remember(m, m->previous, buf_bytes(&last)) : ERR_OK;
	buf_wipe(&last);
	return e;
}

/* A session's record that opened. */
static enum err
fold_opened(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN], struct bytes plain)
{
	bool differs = !m->unsure && memcmp(before, m->head, SEALED_HASH_LEN) != 0;
	enum err e = member_mend_changed(m, plain, differs);
	if (e == ERR_OK) {
		e = member_mend_lost(m, n, plain);
	}
	if (e == ERR_OK) {
		e = fold_apply_session(m->fold, n, plain);
	}
	m->unsure = false;
	m->suspect_count = 0; /* it vouches for what is before it */
	return e;
}

static enum err
fold_session(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN], struct bytes body,
	     uint8_t ret_before[SEALED_HASH_LEN])
{
	struct buf plain = BUF_INIT(SEALED_RECORD_MAX);
	enum err e = member_open_row(m, n, before, m->head, body, &plain, ret_before);
	if (e == ERR_OK) {
		e = fold_opened(m, n, ret_before, buf_bytes(&plain));
		if (e == ERR_OK) {
			remember_later(m, n, &plain);
		}
	} else if (e != ERR_MEMORY) {
		e = member_mend(m, n, e);
	}
	buf_wipe(&plain);
	return e;
}

/* What the row says it is, is in clear: her seal alone tells a record of hers. */
static bool
is_session(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN], struct bytes body)
{
	struct buf plain = BUF_INIT(SEALED_RECORD_MAX);
	struct record_place place = {.kind = RECORD_KIND_SESSION, .n = n};
	memcpy(place.account, m->account, sizeof(place.account));
	memcpy(place.before, before, sizeof(place.before));
	bool opens = record_open(&m->keys, &place, body, &plain) == ERR_OK;
	buf_wipe(&plain);
	return opens;
}

static void
suspect(struct member *m, uint64_t n)
{
	if (m->suspect_count < MEMBER_MENDS_MAX) {
		m->suspects[m->suspect_count++] = n;
	}
}

/* Nobody vouches for it before the next record of hers. */
static enum err
fold_arrival(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN])
{
	if (memcmp(before, m->head, SEALED_HASH_LEN) != 0) {
		if (!m->unsure && m->last_arrived) {
			suspect(m, n - 1);
		}
		m->unsure = true;
	} else {
		m->unsure = false;
	}
	return fold_apply_arrival(m->fold, n);
}

/* A row as it stands, the next of the log. */
static enum err
fold_this(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN], uint8_t kind,
	  struct bytes body)
{
	const struct mend *mend = member_mend_of(m, n);
	uint8_t head[SEALED_HASH_LEN];
	uint8_t after[SEALED_HASH_LEN]; /* what it was sealed behind */
	bool arrived = false;
	enum err e = ERR_OK;
	memcpy(after, before, sizeof(after));
	if (mend != NULL) {
		e = member_mend_fold(m, mend);
	} else if (kind == RECORD_KIND_SESSION || is_session(m, n, before, body)) {
		e = fold_session(m, n, before, body, after);
	} else if (kind == RECORD_KIND_ARRIVAL) {
		arrived = true;
		e = fold_arrival(m, n, before);
	} else {
		e = member_mend(m, n, ERR_FORMAT);
	}
	if (e == ERR_MEMORY || e == ERR_STATE) {
		member_unload(m);
	} else if (e == ERR_DAMAGED || e == ERR_UNSUPPORTED) {
		e = member_broken(m, e);
	}
	if (e == ERR_OK) {
		/* By what the row says: a kind that was changed shows in the next one, too. */
		member_chain(after, kind, body, head);
		member_folded(m, n, head, body.len);
		m->last_arrived = arrived;
	}
	return e;
}

/* One row; those before it that are missing are mended. */
static enum err
fold_row(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN], uint8_t kind, struct bytes body)
{
	uint64_t expected = fold_n(m->fold) + 1;
	if (n < expected || n - expected > MEMBER_MENDS_MAX) {
		return member_broken(m, ERR_DAMAGED);
	}
	for (; expected < n; expected++) {
		const struct mend *mend = member_mend_of(m, expected);
		enum err e =
		    mend == NULL ? member_mend(m, expected, ERR_NOT_FOUND) : member_mend_fold(m, mend);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (contradicts_known(m, n - 1, before)) {
		return member_broken(m, ERR_DAMAGED);
	}
	return fold_this(m, n, before, kind, body);
}

static enum err
fold_page(struct member *m, struct bytes rows)
{
	struct wire_reader r;
	wire_reader_init(&r, rows);
	while (r.rest.len > 0 && r.error == ERR_OK) {
		uint8_t before[SEALED_HASH_LEN];
		uint64_t n = wire_get_u64(&r);
		wire_get_fixed(&r, before, sizeof(before));
		uint8_t kind = wire_get_u8(&r);
		struct bytes body = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
		if (r.error != ERR_OK) {
			break;
		}
		enum err e = fold_row(m, n, before, kind, body);
		if (e != ERR_OK) {
			return e;
		}
		if (task_has_run_for(SLICE_MS)) {
			e = task_yield();
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	return wire_end(&r) == ERR_OK ? ERR_OK : member_broken(m, ERR_DAMAGED);
}

static enum err
read_head(struct member *m, struct msg_log_head_reply *ret)
{
	struct msg_log_head q;
	struct buf reply = BUF_INIT(IPC_SMALL);
	memcpy(q.account, m->account, sizeof(q.account));
	enum err e =
	    channel_call(worker_store(m->worker), LOG_HEAD, log_head, &q, worker_deadline(m->worker), &reply);
	if (e == ERR_OK) {
		e = msg_log_head_reply_decode(buf_bytes(&reply), ret);
	}
	buf_clear(&reply);
	return e;
}

static void
ask_rows(struct member *m, struct posted *p, uint64_t from)
{
	struct msg_log_read q = {.from = from, .max_bytes = PAGE_BYTES};
	struct channel *store = worker_store(m->worker);
	memcpy(q.account, m->account, sizeof(q.account));
	posted_begin(p);
	posted_sent(p, store == NULL ? ERR_CLOSED
				     : channel_request(store, LOG_READ, log_read, &q,
						       worker_deadline(m->worker), posted_answer, p));
}

/* The n of the page's last row, as the store gives it: fold_page sees whether it may be believed. */
static uint64_t
last_of(struct bytes rows)
{
	uint64_t n = 0;
	uint8_t before[SEALED_HASH_LEN];
	struct wire_reader r;
	wire_reader_init(&r, rows);
	while (r.rest.len > 0) {
		n = wire_get_u64(&r);
		wire_get_fixed(&r, before, sizeof(before));
		(void)wire_get_u8(&r);
		(void)wire_get_bytes(&r, IPC_PAYLOAD_MAX);
	}
	return n;
}

/* All that there is beyond what we know; the store reads the next page while one is folded. */
static enum err
fetch_rows(struct member *m)
{
	struct posted pages[2];
	unsigned at = 0;
	bool more = true;
	enum err e = ERR_OK;
	posted_init(&pages[0], m->worker);
	posted_init(&pages[1], m->worker);
	ask_rows(m, &pages[0], fold_n(m->fold) + 1);
	while (more && e == ERR_OK) {
		struct msg_log_read_reply page;
		struct posted *p = &pages[at];
		at ^= 1;
		e = posted_wait(p);
		if (e == ERR_OK) {
			e = msg_log_read_reply_decode(buf_bytes(&p->reply), &page);
		}
		if (e == ERR_OK) {
			more = page.more != 0 && page.rows.len > 0;
			if (more) {
				ask_rows(m, &pages[at], last_of(page.rows) + 1);
			}
			e = fold_page(m, page.rows);
		}
	}
	posted_clear(&pages[0]);
	posted_clear(&pages[1]);
	return e;
}

/* The store's head, once all its rows are folded, or mended up to it. */
static enum err
take_head(struct member *m, const struct msg_log_head_reply *head)
{
	uint64_t n = fold_n(m->fold);
	if (memcmp(head->head, m->head, SEALED_HASH_LEN) != 0) {
		/* The last row, or the head, is damaged: the next record goes behind what the store says. */
		if (!m->unsure && m->last_arrived) {
			suspect(m, n);
		}
		memcpy(m->head, head->head, sizeof(m->head));
		m->unsure = true;
	}
	m->used = head->used;
	m->epoch = head->epoch;
	enum err e = member_remember_last(m);
	e = e == ERR_OK ? member_mend_suspects(m) : e;
	if (e != ERR_OK) {
		return e;
	}
	e = worker_know_head(m->worker, m->account, n, m->head);
	return e == ERR_DAMAGED ? member_broken(m, e) : e;
}

enum err
member_fetch(struct member *m)
{
	uint64_t seen = UINT64_MAX;
	/* Another gate's release may come in between; a store that says so for ever is stopped. */
	for (unsigned round = 0; round < 1000; round++) {
		struct msg_log_head_reply head;
		enum err e = fetch_rows(m);
		if (e == ERR_OK) {
			e = read_head(m, &head);
		}
		if (e != ERR_OK) {
			return e;
		}
		uint64_t n = fold_n(m->fold);
		if (head.n > n && n == seen) {
			e = member_mend_missing(m, head.n);
			if (e != ERR_OK) {
				return e;
			}
			n = fold_n(m->fold);
		}
		seen = n;
		if (head.n < n || (head.n == n && contradicts_known(m, n, head.head))) {
			return member_broken(m, ERR_DAMAGED);
		}
		if (head.n == n) {
			return take_head(m, &head);
		}
	}
	return member_broken(m, ERR_DAMAGED);
}

static enum err
load_once(struct member *m)
{
	static const uint8_t zero[SEALED_HASH_LEN];
	enum err e = fold_create(&m->fold);
	memcpy(m->head, zero, sizeof(m->head));
	m->unsure = false;
	m->last_arrived = false;
	m->suspect_count = 0;
	m->previous = 0;
	buf_wipe(&m->last);
	buf_init(&m->last, OPERATION_PLAIN_MAX);
	buf_reset(&m->skeleton);
	if (e == ERR_OK) {
		e = member_snapshot_load(m);
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	if (e == ERR_OK) {
		e = member_fetch(m);
	}
	if (e == ERR_OK) {
		fold_watch(m->fold, views_on_change, m);
		m->loaded = true;
		e = member_found(m);
	}
	return e;
}

static enum err
load(struct member *m)
{
	enum err e = load_once(m);
	/* Each time more is known of what is damaged; of that there is not much. */
	while (e == ERR_AGAIN && member_mend_again(m)) {
		member_unload(m);
		e = load_once(m);
	}
	if (e == ERR_OK) {
		member_mend_clear(m);
	}
	return e;
}

enum err
member_ready(struct member *m)
{
	/* One without mailboxes is just being founded, by whoever came first: that is waited for. */
	if (m->loaded && !m->changed && m->broken == ERR_OK && fold_mailbox_count(m->fold) > 0) {
		return ERR_OK;
	}
	member_ref(m);
	enum err e = worker_wait_store(m->worker);
	lock_take(&m->lock);
	if (e == ERR_OK && m->broken != ERR_OK &&
	    loop_now(m->worker->host->loop) - m->broken_at >= MEMBER_RETRY_MS) {
		/* Nothing of what was folded is believed. */
		member_unload(m);
		member_mend_clear(m);
		m->broken = ERR_OK;
		m->outdated = false;
	}
	if (e == ERR_OK) {
		e = m->broken;
	}
	if (e == ERR_OK && !m->loaded) {
		m->changed = false;
		e = load(m);
		if (e != ERR_OK) {
			member_unload(m);
		} else {
			e = member_file_pending(m);
			e = e == ERR_OK ? member_journal_expire(m) : e;
			if (e == ERR_OK) {
				member_forward_consider(m);
				member_quota_consider(m);
			}
			m->changed = m->changed || e != ERR_OK;
		}
	}
	lock_give(&m->lock);
	if (e == ERR_OK && m->changed) {
		e = member_sync(m);
	}
	member_unref(&m);
	return e;
}

enum err
member_sync(struct member *m)
{
	if (!m->changed || !m->loaded) {
		return m->broken;
	}
	member_ref(m);
	lock_take(&m->lock);
	enum err e = m->broken;
	if (e == ERR_OK && m->changed && m->loaded) {
		m->changed = false;
		e = member_fetch(m);
		if (e == ERR_OK) {
			e = member_found(m);
		}
		if (e == ERR_OK) {
			e = member_file_pending(m);
		}
		if (e == ERR_OK) {
			member_forward_consider(m);
			member_quota_consider(m);
		}
		if (e != ERR_OK && m->broken == ERR_OK) {
			m->changed = true; /* tried again with the next command */
		}
	}
	lock_give(&m->lock);
	member_snapshot_consider(m, SNAPSHOT_BUSY);
	member_unref(&m);
	return e;
}

enum err
member_look(struct member *m)
{
	m->changed = true;
	return member_ready(m);
}

static void
sync_task(void *arg)
{
	struct member *m = arg;
	if (worker_wait_store(m->worker) == ERR_OK && member_sync(m) != ERR_OK && m->broken == ERR_OK) {
		/* The next command, or the next notice, tries again. */
		log_event(LOG_LEVEL_WARNING, "arrived mail could not be filed yet");
	}
	m->syncing = false;
	member_unref(&m);
}

void
member_log_changed(struct member *m, uint64_t n)
{
	if (!m->loaded || m->broken != ERR_OK || (n != UINT64_MAX && n <= fold_n(m->fold))) {
		return;
	}
	m->changed = true;
	if (m->syncing || m->closed) {
		return;
	}
	m->syncing = true;
	member_ref(m);
	if (role_spawn(m->worker->host, sync_task, m) != ERR_OK) {
		m->syncing = false;
		member_unref(&m);
	}
}
