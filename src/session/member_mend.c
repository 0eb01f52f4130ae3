/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * A damaged record in a member's log: what is behind it tells what stood there, so that it costs the messages whose cards it held, and
 * nothing else. Each record carries the skeleton of the session's record before it (fold/operation.h), sealed to her. Only where that
 * is damaged too, or where it is the log's last record, a change is lost: the log goes on without it, says so, gives every mailbox a new
 * UIDVALIDITY, and she gets a note.
 *
 * SECURITY: a store could as well cut the log short; by damaging it, it takes a change or two out, and is seen to. What it puts
 * in a record's place does not open, or is another record of hers for the same place, which the skeleton shows.
 */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "process/log.h"
#include "sealed/arrival.h"
#include "session/member_internal.h"
#include "session/notice.h"

enum { SCAN_BYTES = 512 * 1024, SCAN_ROWS_MAX = 65536, LOST_MAX = 64, SLICE_MS = 10 };

struct mends {
	struct mend items[MEMBER_MENDS_MAX];
	size_t count;
	bool again;
};

/* ---- what is known ---- */

static struct mend *
find(const struct member *m, uint64_t n)
{
	for (size_t i = 0; m->mends != NULL && i < m->mends->count; i++) {
		if (m->mends->items[i].n == n) {
			return &m->mends->items[i];
		}
	}
	return NULL;
}

const struct mend *
member_mend_of(const struct member *m, uint64_t n)
{
	return find(m, n);
}

void
member_mend_clear(struct member *m)
{
	for (size_t i = 0; m->mends != NULL && i < m->mends->count; i++) {
		buf_wipe(&m->mends->items[i].skeleton);
	}
	free(m->mends);
	m->mends = NULL;
}

bool
member_mend_again(struct member *m)
{
	bool again = m->mends != NULL && m->mends->again;
	if (again) {
		m->mends->again = false;
	}
	return again;
}

/* ERR_LIMIT: too much is damaged. What is known already gives way to what is found now, but is counted as nothing new. */
static enum err
add(struct member *m, uint64_t n, enum mend_how how, bool told, struct bytes skeleton)
{
	struct mend *mend = find(m, n);
	if (m->mends == NULL) {
		m->mends = calloc(1, sizeof(*m->mends));
		if (m->mends == NULL) {
			return ERR_MEMORY;
		}
	}
	if (mend != NULL && mend->how == how && mend->told == told) {
		return ERR_OK;
	}
	if (mend == NULL) {
		if (m->mends->count == MEMBER_MENDS_MAX) {
			return ERR_LIMIT;
		}
		mend = &m->mends->items[m->mends->count++];
		buf_init(&mend->skeleton, OPERATION_CARRIED_MAX);
	}
	mend->n = n;
	mend->how = how;
	mend->told = told;
	m->mends->again = true;
	buf_reset(&mend->skeleton);
	return buf_append(&mend->skeleton, skeleton);
}

/* What says something of the log, and not of the way to it. */
static bool
is_damage(enum err e)
{
	return e == ERR_OK || e == ERR_DAMAGED || e == ERR_LIMIT || e == ERR_FORMAT || e == ERR_AUTH ||
	       e == ERR_NOT_FOUND || e == ERR_UNSUPPORTED;
}

/* The state is loaded anew, with what is known now. Where that is nothing more than before, it cannot be mended. */
static enum err
begin_anew(struct member *m, enum err e)
{
	if (e == ERR_OK && m->mends != NULL && m->mends->again) {
		m->worker->seen_damaged++;
		member_unload(m);
		return ERR_AGAIN;
	}
	return is_damage(e) ? member_broken(m, ERR_DAMAGED) : e;
}

/* A disk may read wrongly once: that something is lost is believed at the second look, some while later. */
static enum err
lose(struct member *m, uint64_t n)
{
	return worker_doubted(m->worker, m->account) ? add(m, n, MEND_LOST, false, BYTES_EMPTY) : ERR_DAMAGED;
}

/* True where nothing is known of the session's record with this number that would have to be folded before what names it. */
static bool
is_settled(const struct member *m, uint64_t named)
{
	const struct mend *mend = find(m, named);
	return named == m->previous || named == 0 || (m->previous == 0 && named <= m->snapshot_n) ||
	       (mend != NULL && mend->how == MEND_LOST);
}

/* A skeleton names the session's record before its own: one that was folded as something else is lost. */
static enum err
miss(struct member *m, struct bytes skeleton)
{
	struct operations_carried c;
	enum err e = operations_carried(skeleton, &c);
	if (e != ERR_OK || c.previous <= m->previous || is_settled(m, c.previous)) {
		return e;
	}
	return begin_anew(m, lose(m, c.previous));
}

enum err
member_mend_fold(struct member *m, const struct mend *mend)
{
	enum err e = ERR_OK;
	m->unsure = true;
	m->last_arrived = false;
	switch (mend->how) {
	case MEND_SKELETON:
		e = miss(m, buf_bytes(&mend->skeleton));
		e = e == ERR_OK ? fold_apply_session(m->fold, mend->n, buf_bytes(&mend->skeleton)) : e;
		return e == ERR_OK ? member_remember(m, mend->n, buf_bytes(&mend->skeleton)) : e;
	case MEND_ARRIVAL:
		return fold_apply_arrival(m->fold, mend->n);
	case MEND_LOST:
	default:
		return fold_apply_damaged(m->fold, mend->n);
	}
}

/* ---- what the records behind it say ---- */

/* Rows from the first damaged one on, up to the first record of hers that opens. */
struct scan {
	struct member *m;
	uint64_t expected;
	uint8_t head[SEALED_HASH_LEN];
	struct {
		uint64_t n;
		uint8_t kind; /* 0: missing, or none of those that there are; an arrival's: it opens as one */
	} bad[MEMBER_MENDS_MAX];
	size_t bad_count;
	enum err worst; /* ERR_NOT_FOUND: of a generation that her keys do not have; ERR_UNSUPPORTED */
	size_t rows;
	bool found;
	uint64_t at; /* n of the one that opens */
	struct buf plain;
};

static enum err
note_bad(struct scan *s, uint64_t n, uint8_t kind)
{
	if (s->bad_count == MEMBER_MENDS_MAX) {
		return ERR_LIMIT;
	}
	s->bad[s->bad_count].n = n;
	s->bad[s->bad_count++].kind = kind;
	return ERR_OK;
}

static bool
is_arrival(struct member *m, struct bytes body)
{
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct arrival a;
	bool opens = arrival_open(m->account, &m->keys, body, &plain, &a) == ERR_OK;
	buf_wipe(&plain);
	return opens;
}

static enum err
scan_row(struct scan *s, uint64_t n, const uint8_t before[SEALED_HASH_LEN], uint8_t kind, struct bytes body)
{
	uint8_t used[SEALED_HASH_LEN];
	enum err e = n < s->expected || n - s->expected > MEMBER_MENDS_MAX ? ERR_LIMIT : ERR_OK;
	for (uint64_t gone = s->expected; e == ERR_OK && gone < n; gone++) {
		e = note_bad(s, gone, 0);
	}
	s->expected = n + 1;
	if (e != ERR_OK) {
		return e;
	}
	memcpy(used, before, sizeof(used));
	if (kind == RECORD_KIND_SESSION) {
		e = member_open_row(s->m, n, before, s->head, body, &s->plain, used);
		if (e == ERR_MEMORY) {
			return e;
		}
		s->found = e == ERR_OK;
		s->at = n;
		if (e == ERR_NOT_FOUND || e == ERR_UNSUPPORTED) {
			s->worst = e;
		}
		e = s->found ? ERR_OK : note_bad(s, n, is_arrival(s->m, body) ? RECORD_KIND_ARRIVAL : kind);
	} else if (kind != RECORD_KIND_ARRIVAL) {
		e = note_bad(s, n, is_arrival(s->m, body) ? RECORD_KIND_ARRIVAL : 0);
	}
	member_chain(used, kind, body, s->head);
	return e;
}

static enum err
scan_page(struct scan *s, struct bytes rows)
{
	struct wire_reader r;
	enum err e = ERR_OK;
	wire_reader_init(&r, rows);
	while (e == ERR_OK && r.rest.len > 0 && !s->found) {
		uint8_t before[SEALED_HASH_LEN];
		uint64_t n = wire_get_u64(&r);
		wire_get_fixed(&r, before, sizeof(before));
		uint8_t kind = wire_get_u8(&r);
		struct bytes body = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
		e = r.error != ERR_OK || ++s->rows > SCAN_ROWS_MAX ? ERR_DAMAGED
								   : scan_row(s, n, before, kind, body);
		if (e == ERR_OK && task_has_run_for(SLICE_MS)) {
			e = task_yield();
		}
	}
	return e;
}

static enum err
scan(struct scan *s)
{
	bool more = true;
	enum err e = ERR_OK;
	while (e == ERR_OK && more && !s->found) {
		struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
		struct msg_log_read_reply page;
		struct msg_log_read q = {.from = s->expected, .max_bytes = SCAN_BYTES};
		memcpy(q.account, s->m->account, sizeof(q.account));
		e = channel_call(worker_store(s->m->worker), LOG_READ, log_read, &q,
				 worker_deadline(s->m->worker), &reply);
		e = e == ERR_OK ? msg_log_read_reply_decode(buf_bytes(&reply), &page) : e;
		if (e == ERR_OK) {
			more = page.more != 0 && page.rows.len > 0;
			e = scan_page(s, page.rows);
		}
		buf_clear(&reply);
	}
	return e;
}

/* No record of hers behind it: the last change is lost. */
static enum err
decide_without(struct scan *s, enum err why)
{
	struct member *m = s->m;
	if (s->worst == ERR_NOT_FOUND || (why == ERR_NOT_FOUND && s->bad_count > 0 && s->bad[0].kind != 0)) {
		return member_outdated(m);
	}
	if (s->worst == ERR_UNSUPPORTED) {
		return member_broken(m, ERR_UNSUPPORTED);
	}
	/* A log of which nothing opens is another one's, or these are other keys. */
	enum err e = m->previous == 0 && m->snapshot_n == 0 ? ERR_DAMAGED : ERR_OK;
	for (size_t i = 0; i < s->bad_count && e == ERR_OK; i++) {
		e = s->bad[i].kind == RECORD_KIND_ARRIVAL
			? add(m, s->bad[i].n, MEND_ARRIVAL, false, BYTES_EMPTY)
			: lose(m, s->bad[i].n);
	}
	return e;
}

static bool
says_lost(struct bytes plain, uint64_t n)
{
	uint64_t lost[LOST_MAX];
	size_t count = operations_lost(plain, lost, LOST_MAX);
	for (size_t i = 0; i < count; i++) {
		if (lost[i] == n) {
			return true;
		}
	}
	return false;
}

static enum err
decide_by(struct scan *s)
{
	struct bytes plain = buf_bytes(&s->plain);
	struct operations_carried c;
	enum err e = operations_carried(plain, &c);
	if (e == ERR_OK && c.next_mailbox == 0) {
		e = ERR_DAMAGED; /* of an older version: nobody knows what numbers the lost one gave */
	}
	for (size_t i = 0; i < s->bad_count && e == ERR_OK; i++) {
		uint64_t n = s->bad[i].n;
		bool told = says_lost(plain, n);
		if (n == c.previous && c.skeleton.len > 0 && !told) {
			e = add(s->m, n, MEND_SKELETON, false, c.skeleton);
		} else if (!told &&
			   (s->bad[i].kind == RECORD_KIND_ARRIVAL || (n > c.previous && c.previous != 0))) {
			e = add(s->m, n, MEND_ARRIVAL, false, BYTES_EMPTY);
		} else {
			e = told ? add(s->m, n, MEND_LOST, true, BYTES_EMPTY) : lose(s->m, n);
		}
	}
	/* One that says that it is an arrival is none, where it is the one that was before. */
	if (e == ERR_OK && c.previous > s->bad[0].n && c.skeleton.len > 0 && find(s->m, c.previous) == NULL) {
		e = add(s->m, c.previous, MEND_SKELETON, false, c.skeleton);
	}
	return e;
}

enum err
member_mend(struct member *m, uint64_t n, enum err why)
{
	struct scan s = {.m = m, .expected = n, .worst = ERR_OK, .plain = BUF_INIT(SEALED_RECORD_MAX)};
	memcpy(s.head, m->head, sizeof(s.head));
	enum err e = scan(&s);
	if (e == ERR_OK) {
		e = s.found ? decide_by(&s) : decide_without(&s, why);
	}
	buf_wipe(&s.plain);
	return m->broken != ERR_OK ? m->broken : begin_anew(m, e);
}

/* ---- what does not fit together ---- */

enum err
member_mend_changed(struct member *m, struct bytes plain, bool differs)
{
	struct operations_carried c;
	enum err e = operations_carried(plain, &c);
	if (e != ERR_OK || c.next_mailbox == 0) {
		/* Of an older version: it names nothing. */
		return e == ERR_OK && !differs ? ERR_OK : member_broken(m, ERR_DAMAGED);
	}
	if (c.previous != m->previous && is_settled(m, c.previous)) {
		return ERR_OK;
	}
	if (c.previous == m->previous) {
		e = differs ? member_remember_last(m) : ERR_OK;
		if (e != ERR_OK || !differs || bytes_equal(c.skeleton, buf_bytes(&m->skeleton))) {
			m->worker->seen_damaged += differs;
			return e;
		}
	}
	if (c.previous >= m->previous) {
		e = c.skeleton.len > 0 ? add(m, c.previous, MEND_SKELETON, false, c.skeleton)
				       : lose(m, c.previous);
	} else {
		e = add(m, m->previous, MEND_ARRIVAL, false, BYTES_EMPTY);
	}
	return begin_anew(m, e);
}

/* One row of the log, opened as an arrival. */
static enum err
open_arrival(struct member *m, uint64_t n)
{
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct msg_log_read_reply page;
	struct msg_log_read q = {.from = n, .max_bytes = 1};
	memcpy(q.account, m->account, sizeof(q.account));
	enum err e =
	    channel_call(worker_store(m->worker), LOG_READ, log_read, &q, worker_deadline(m->worker), &reply);
	e = e == ERR_OK ? msg_log_read_reply_decode(buf_bytes(&reply), &page) : e;
	if (e == ERR_OK) {
		uint8_t before[SEALED_HASH_LEN];
		struct arrival a;
		struct wire_reader r;
		wire_reader_init(&r, page.rows);
		uint64_t at = wire_get_u64(&r);
		wire_get_fixed(&r, before, sizeof(before));
		uint8_t kind = wire_get_u8(&r);
		struct bytes body = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
		e = r.error == ERR_OK && at == n && kind == RECORD_KIND_ARRIVAL
			? arrival_open(m->account, &m->keys, body, &plain, &a)
			: ERR_AUTH;
	}
	buf_wipe(&plain);
	buf_clear(&reply);
	return e;
}

enum err
member_mend_suspects(struct member *m)
{
	bool lost = false;
	enum err e = ERR_OK;
	for (size_t i = 0; i < m->suspect_count && e == ERR_OK; i++) {
		e = open_arrival(m, m->suspects[i]);
		if (e == ERR_AUTH || e == ERR_FORMAT || e == ERR_NOT_FOUND || e == ERR_UNSUPPORTED) {
			e = lose(m, m->suspects[i]);
			lost = true;
		}
	}
	if (e == ERR_OK && !lost) {
		m->suspect_count = 0;
		return ERR_OK;
	}
	return begin_anew(m, e);
}

enum err
member_mend_missing(struct member *m, uint64_t head)
{
	enum err e = head - fold_n(m->fold) > MEMBER_MENDS_MAX || (m->previous == 0 && m->snapshot_n == 0)
			 ? ERR_DAMAGED
			 : ERR_OK;
	bool known = true;
	for (uint64_t n = fold_n(m->fold) + 1; n <= head && e == ERR_OK; n++) {
		const struct mend *mend = find(m, n);
		if (mend == NULL) {
			known = false;
			e = lose(m, n);
		} else if (known) {
			e = member_mend_fold(m, mend);
		}
	}
	return e == ERR_OK && known ? ERR_OK : begin_anew(m, e);
}

enum err
member_mend_lost(struct member *m, uint64_t n, struct bytes plain)
{
	uint64_t lost[LOST_MAX];
	size_t count = operations_lost(plain, lost, LOST_MAX);
	enum err e = ERR_OK;
	bool again = false;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		const struct mend *mend = find(m, lost[i]);
		if (mend != NULL && mend->how == MEND_LOST) {
			e = add(m, lost[i], MEND_LOST, true, BYTES_EMPTY);
			m->mends->again = again; /* it is not new: only who says it */
		} else if (lost[i] > m->snapshot_n && lost[i] < n) {
			/* To this session's eyes it was well: all must leave it out alike. */
			e = add(m, lost[i], MEND_LOST, true, BYTES_EMPTY);
			again = true;
		}
	}
	return again || e != ERR_OK ? begin_anew(m, e) : ERR_OK;
}

/* ---- telling ---- */

static const char note[] =
    "A part of what this house keeps of your mailboxes could not be read: the disk, or somebody at it, "
    "has\r\n"
    "changed it. Your mailboxes go on without that part. The last change before it may be undone: a letter "
    "that\r\n"
    "you deleted or moved may be back in its place, one that you had stored in a folder may be gone, a mark "
    "too.\r\n"
    "\r\n"
    "Your mail program fetches all your letters anew. Who runs the house can look closer with you\r\n"
    "(cohue check --member NAME, with your password), and may have a backup.\r\n";

enum err
member_mend_tell(struct member *m, struct member_change *c)
{
	size_t told = 0;
	enum err e = ERR_OK;
	for (size_t i = 0; m->mends != NULL && i < m->mends->count && e == ERR_OK; i++) {
		const struct mend *mend = &m->mends->items[i];
		if (mend->how == MEND_LOST && !mend->told) {
			const struct operation op = {.kind = OPERATION_LOST, .lost = {.n = mend->n}};
			e = operations_add(c->record, &op);
			told++;
		}
	}
	if (e == ERR_OK && told > 0) {
		const struct notice n = {
		    .subject = "A change to your mailboxes was lost", .tag = "lost", .body = BYTES_LIT(note)};
		(void)member_damage(m);
		e = notice_put(m, &n, c);
	}
	return e;
}
