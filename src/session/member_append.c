/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Records of our own: built against the present state, tried again when something came in between. */
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"
#include "session/member_internal.h"
#include "session/posted.h"

enum { ATTEMPTS_MAX = 8, DROPS_MAX = 30000 * SEALED_ID_LEN };

uint32_t
member_save_time(void)
{
	int64_t seconds = clock_wall() / MSEC_SECOND;
	return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

/* The request, as it goes to the store; what is to be done meanwhile is done. */
static enum err
send(struct member *m, const struct member_change *c, void *arg, struct bytes sealed,
     struct msg_log_append_reply *ret)
{
	struct buf bodies = BUF_INIT(SEALED_RECORD_MAX + 64);
	struct wire_writer w;
	wire_writer_init(&w, &bodies);
	wire_put_bytes(&w, sealed);
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		struct channel *store = worker_store(m->worker);
		struct posted answer;
		struct msg_log_append q = {.used_delta = (uint64_t)c->used_delta,
					   .bodies = buf_bytes(&bodies),
					   .claims = buf_bytes(&c->claims),
					   .drops = buf_bytes(&c->drops)};
		memcpy(q.account, m->account, sizeof(q.account));
		memcpy(q.expected, m->head, sizeof(q.expected));
		posted_init(&answer, m->worker);
		posted_begin(&answer);
		posted_sent(&answer, store == NULL ? ERR_CLOSED
						   : channel_request(store, LOG_APPEND, log_append, &q,
								     worker_deadline(m->worker),
								     posted_answer, &answer));
		if (c->meanwhile != NULL) {
			c->meanwhile(arg);
		}
		e = posted_wait(&answer);
		if (e == ERR_OK) {
			e = msg_log_append_reply_decode(buf_bytes(&answer.reply), ret);
		}
		posted_clear(&answer);
	}
	buf_clear(&bodies);
	return e;
}

static enum err
seal(struct member *m, struct bytes plain, struct buf *ret_sealed, uint8_t ret_head[SEALED_HASH_LEN])
{
	struct record_place place = {.kind = RECORD_KIND_SESSION, .n = fold_n(m->fold) + 1};
	memcpy(place.account, m->account, sizeof(place.account));
	memcpy(place.before, m->head, sizeof(place.before));
	enum err e = record_seal(&m->keys, &place, plain, ret_sealed);
	if (e == ERR_OK) {
		member_chain(m->head, RECORD_KIND_SESSION, buf_bytes(ret_sealed), ret_head);
	}
	return e;
}

static enum err
fold_own(struct member *m, const struct conn *author, const struct msg_log_append_reply *r,
	 struct bytes plain, const uint8_t head[SEALED_HASH_LEN], size_t sealed_len)
{
	uint64_t n = fold_n(m->fold) + 1;
	if (r->n != n || memcmp(r->head, head, SEALED_HASH_LEN) != 0) {
		return member_broken(m, ERR_DAMAGED);
	}
	m->used = r->used;
	m->author = author;
	enum err e = fold_apply_session(m->fold, n, plain);
	m->author = NULL;
	m->unsure = false;
	e = e == ERR_OK ? member_remember(m, n, plain) : e;
	if (e != ERR_OK) {
		member_unload(m);
		return e;
	}
	member_folded(m, n, head, sealed_len);
	return worker_know_head(m->worker, m->account, n, head);
}

/* After an answer that says nothing of what was done: looks. */
static enum err
look_again(struct member *m, const struct conn *author, uint64_t n, const uint8_t head[SEALED_HASH_LEN])
{
	m->sought_n = n;
	memcpy(m->sought_head, head, SEALED_HASH_LEN);
	m->sought_found = false;
	enum err e = worker_wait_store(m->worker);
	if (e == ERR_OK) {
		m->author = author;
		e = member_fetch(m);
		m->author = NULL;
	}
	m->sought_n = 0;
	if (e != ERR_OK) {
		return e;
	}
	return m->sought_found ? ERR_OK : ERR_NOT_FOUND;
}

static enum err
attempt(struct member *m, const struct conn *author, struct member_change *c, void *arg, uint64_t *ret_n,
	bool *ret_again)
{
	struct buf sealed = BUF_INIT(SEALED_RECORD_MAX);
	struct msg_log_append_reply r;
	uint8_t head[SEALED_HASH_LEN];
	uint64_t n = fold_n(m->fold) + 1;
	struct buf plain = BUF_INIT(OPERATION_PLAIN_MAX);
	struct operations_carried carried = {.previous = m->previous, .skeleton = buf_bytes(&m->skeleton)};
	fold_carry_bases(m->fold, &carried);
	enum err e = operations_carry(buf_bytes(c->record), &carried, &plain);
	e = e == ERR_OK ? seal(m, buf_bytes(&plain), &sealed, head) : e;
	if (e == ERR_OK) {
		e = send(m, c, arg, buf_bytes(&sealed), &r);
		if (e == ERR_OK) {
			e = fold_own(m, author, &r, buf_bytes(&plain), head, sealed.len);
		} else if (e == ERR_CONFLICT) {
			e = member_fetch(m);
			/* Where nothing came in between, a blob has gone with the store's restart: her client tries again. */
			*ret_again = e == ERR_OK && fold_n(m->fold) >= n;
			e = e == ERR_OK ? ERR_AGAIN : e;
		} else if (e == ERR_CLOSED || e == ERR_TIMEOUT) {
			e = look_again(m, author, n, head);
			*ret_again = e == ERR_NOT_FOUND && c->claims.len == 0;
			e = e == ERR_NOT_FOUND ? ERR_AGAIN : e;
		} else if (e == ERR_NOT_FOUND) {
			e = ERR_AGAIN; /* a blob that the store lost */
		}
	}
	if (e == ERR_OK) {
		*ret_n = n;
	}
	buf_wipe(&plain);
	buf_clear(&sealed);
	return e;
}

enum err
member_append_locked(struct member *m, const struct conn *author, member_build_fn fn, void *arg,
		     uint64_t *ret_n)
{
	enum err e = ERR_AGAIN;
	bool again = true;
	uint64_t n = 0;
	for (unsigned i = 0; i < ATTEMPTS_MAX && again; i++) {
		struct buf record = BUF_INIT(OPERATION_RECORD_MAX);
		struct member_change c = {.record = &record,
					  .claims = BUF_INIT(DROPS_MAX),
					  .drops = BUF_INIT(DROPS_MAX),
					  .used_delta = 0,
					  .meanwhile = NULL};
		again = false;
		e = operations_begin(&record);
		if (e == ERR_OK) {
			e = fn(arg, m, &c);
		}
		if (e == ERR_OK && operations_any(&record)) {
			e = attempt(m, author, &c, arg, &n, &again);
		}
		buf_wipe(&record);
		buf_clear(&c.claims);
		buf_clear(&c.drops);
	}
	if (e == ERR_OK && ret_n != NULL) {
		*ret_n = n;
	}
	return e;
}

enum err
member_append(struct member *m, const struct conn *author, member_build_fn fn, void *arg, uint64_t *ret_n)
{
	enum err e = member_ready(m);
	if (e != ERR_OK) {
		return e;
	}
	member_ref(m);
	lock_take(&m->lock);
	e = m->closed ? ERR_DENIED : m->broken;
	if (e == ERR_OK && !m->loaded) {
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		e = member_append_locked(m, author, fn, arg, ret_n);
	}
	if (e == ERR_OK) {
		member_quota_consider(m);
	}
	lock_give(&m->lock);
	member_snapshot_consider(m, SNAPSHOT_BUSY);
	member_unref(&m);
	return e;
}

/* ---- founding ---- */

static const struct {
	const char *name;
	uint32_t use; /* enum imap_special_use: the fold keeps it as it is */
} first_mailboxes[] = {
    {"INBOX", 0}, {"Drafts", 4}, {"Sent", 32}, {"Junk", 16}, {"Trash", 64}, {"Archive", 2},
};

/*
 * Above what the log ever gave, and not the same where one backup is put back a second time: the clock's, where that is ahead, else by
 * chance.
 */
static uint32_t
new_uidvalidity(const struct member *m)
{
	uint64_t clock = (uint64_t)(clock_wall() / MSEC_SECOND);
	uint64_t given = fold_uidvalidity(m->fold);
	uint8_t octets[3];
	crypto_random_bytes(octets, sizeof(octets));
	uint64_t chance = ((uint64_t)octets[0] << 16 | (uint64_t)octets[1] << 8 | octets[2]) >> 2;
	uint64_t next = (clock > given ? clock : given) + chance;
	return next > UINT32_MAX ? (uint32_t)given : (uint32_t)next;
}

static enum err
build_founding(void *arg, struct member *m, struct member_change *c)
{
	uint8_t hash[SEALED_HASH_LEN];
	const struct member_key *newest = member_keys_newest(&m->keys);
	const struct known_head *known = worker_known_head(m->worker, m->account);
	(void)arg;
	/* Her log may have lost what named the newer list: who lives, remembers. */
	if (known != NULL && m->slots_revision != 0 && m->slots_revision < known->revision) {
		return member_outdated(m);
	}
	if (!fold_slots_may_follow(m->fold, m->slots_hash, m->slots_revision, newest->generation)) {
		return member_outdated(m);
	}
	if (!fold_slots_hash(m->fold, hash) || memcmp(hash, m->slots_hash, sizeof(hash)) != 0 ||
	    fold_slots_revision(m->fold) != m->slots_revision ||
	    fold_generation(m->fold) != newest->generation) {
		struct operation op = {
		    .kind = OPERATION_OPEN,
		    .open = {.generation = newest->generation, .revision = m->slots_revision}};
		memcpy(op.open.slots_hash, m->slots_hash, sizeof(op.open.slots_hash));
		enum err e = operations_add(c->record, &op);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (m->epoch > fold_epoch(m->fold)) {
		/* What was told to her programs may be beyond what there is now: no UID of theirs may mean another message. */
		struct operation op = {.kind = OPERATION_RESTORED,
				       .restored = {.epoch = m->epoch, .uidvalidity = new_uidvalidity(m)}};
		enum err e = operations_add(c->record, &op);
		if (e != ERR_OK) {
			return e;
		}
	}
	enum err lost = member_mend_tell(m, c);
	if (lost != ERR_OK || fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX")) != NULL) {
		return lost;
	}
	for (size_t i = 0; i < sizeof(first_mailboxes) / sizeof(first_mailboxes[0]); i++) {
		struct operation op = {.kind = OPERATION_MAILBOX_CREATE,
				       .create = {.name = bytes_str(first_mailboxes[i].name),
						  .uidvalidity = (uint32_t)(clock_wall() / MSEC_SECOND),
						  .special_use = first_mailboxes[i].use,
						  .subscribed = true}};
		enum err e = operations_add(c->record, &op);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

enum err
member_found(struct member *m)
{
	enum err e = member_append_locked(m, NULL, build_founding, NULL, NULL);
	if (e == ERR_OK) {
		worker_is_sound(m->worker, m->account, fold_slots_revision(m->fold));
	}
	return e;
}
