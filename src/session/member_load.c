/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the store's rows to the folded state, believing only what the chain and the keys bear out. */
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"
#include "process/log.h"
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

enum err
member_folded(struct member *m, uint64_t n, const uint8_t head[SEALED_HASH_LEN], size_t body_len)
{
	memcpy(m->head, head, SEALED_HASH_LEN);
	m->bytes_since += body_len;
	if (m->sought_n == n && memcmp(m->sought_head, head, SEALED_HASH_LEN) == 0) {
		m->sought_found = true;
	}
	return contradicts_known(m, n, head) ? member_broken(m, ERR_DAMAGED) : ERR_OK;
}

static enum err
fold_session(struct member *m, const struct record_place *place, struct bytes body)
{
	struct buf plain = BUF_INIT(SEALED_RECORD_MAX);
	enum err e = record_open(&m->keys, place, body, &plain);
	if (e == ERR_OK) {
		e = fold_apply_session(m->fold, place->n, buf_bytes(&plain));
	} else if (e == ERR_NOT_FOUND) {
		/* Of a generation that her slot list does not have: unless its header is damaged, the list is an older one. */
		e = member_outdated(m);
	} else if (e != ERR_MEMORY && e != ERR_UNSUPPORTED) {
		/* Not from this place, or not by this member: the store, or the disk, has changed it. */
		e = ERR_DAMAGED;
	}
	buf_wipe(&plain);
	return e;
}

/* One row that must be the next of the log. */
static enum err
fold_row(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN], uint8_t kind, struct bytes body)
{
	uint64_t expected = fold_n(m->fold) + 1;
	if (n != expected || memcmp(before, m->head, SEALED_HASH_LEN) != 0) {
		return member_broken(m, ERR_DAMAGED);
	}
	struct record_place place = {.kind = kind, .n = n};
	memcpy(place.account, m->account, sizeof(place.account));
	memcpy(place.before, before, sizeof(place.before));
	uint8_t head[SEALED_HASH_LEN];
	member_chain(before, kind, body, head);
	enum err e = kind == RECORD_KIND_SESSION   ? fold_session(m, &place, body)
		     : kind == RECORD_KIND_ARRIVAL ? fold_apply_arrival(m->fold, n)
						   : ERR_DAMAGED;
	if (e == ERR_DAMAGED || e == ERR_UNSUPPORTED) {
		return member_broken(m, e);
	}
	if (e != ERR_OK) {
		member_unload(m);
		return e;
	}
	return member_folded(m, n, head, body.len);
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

enum err
member_fetch(struct member *m)
{
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
		if (head.n < n || (head.n == n && memcmp(head.head, m->head, SEALED_HASH_LEN) != 0)) {
			return member_broken(m, ERR_DAMAGED);
		}
		if (head.n == n) {
			m->used = head.used;
			m->epoch = head.epoch;
			e = worker_know_head(m->worker, m->account, n, m->head);
			return e == ERR_DAMAGED ? member_broken(m, e) : e;
		}
	}
	return member_broken(m, ERR_DAMAGED);
}

static enum err
load(struct member *m)
{
	static const uint8_t zero[SEALED_HASH_LEN];
	enum err e = fold_create(&m->fold);
	memcpy(m->head, zero, sizeof(m->head));
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
