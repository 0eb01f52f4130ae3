/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What arrived enters the inbox: each sealed arrival is opened, and a batch of them filed in one record. After a long absence
 * there are thousands: while the store writes a record the arrivals of the next one are opened, and those
 * after them are being read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "session/member_internal.h"
#include "session/posted.h"
#include "session/sending.h"

enum {
	BATCH = 64,               /* arrivals of one record */
	BATCH_BYTES = 192 * 1024, /* of their operations, about */
	READ_BYTES = 512 * 1024,
	QUEUE = 2 * BATCH,
	ROUNDS_MAX = 1 << 20,
	SLICE_MS = 10,
};

/* An arrival, opened. */
struct opened {
	uint64_t n;
	enum err error; /* of opening it */
	uint8_t delivery[SEALED_ID_LEN];
	bool line; /* a line of the journal, and nothing else */
	bool sent; /* the author's own copy, with its key */
	bool junk; /* she does not want it */
	uint8_t sent_key[OPERATION_KEY_LEN];
	struct operation renamed; /* with her copy; views of plain */
	struct buf plain;         /* of these two */
	int64_t received;
	uint64_t size;
	struct buf card;
};

/* queue[i] is the arrival at from + i of the pending ones, in the state after record `at`. */
struct filing {
	struct member *member;
	uint64_t at;
	size_t from; /* those before it cannot be opened by this session */
	struct opened queue[QUEUE];
	size_t count;
	struct posted rows; /* those behind the queue */
	size_t asked;       /* so many of them */
	enum err error;     /* of bringing more: temporary, or the store's answer was none */
	/* The batch under way: */
	size_t used;      /* from the queue's front */
	size_t stuck;     /* among them: they stay pending */
	uint32_t journal; /* id of its mailbox, once it is known */
	uint8_t seen[BATCH][SEALED_ID_LEN];
	size_t seen_count;
};

/* ---- opening ---- */

static void
open_arrival(struct filing *f, struct bytes body, uint8_t kind, struct opened *o)
{
	struct member *m = f->member;
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct arrival a;
	struct card card;
	/* A kind of 0: the row is gone. Else the box tells what it is. */
	o->error = kind != 0 ? arrival_open(m->account, &m->keys, body, &plain, &a) : ERR_FORMAT;
	if (o->error == ERR_OK) {
		card_of_arrival(&a, &card);
		o->error = card_encode(&card, &o->card);
	}
	if (o->error == ERR_OK) {
		memcpy(o->delivery, a.delivery, sizeof(o->delivery));
		o->received = (int64_t)a.received;
		o->size = a.blob.size;
		o->line = (a.flags & ARRIVAL_JOURNAL) != 0;
		o->sent = !o->line && member_sent_marked(m, &a, o->sent_key, &o->renamed);
		o->junk = !o->line && !o->sent && member_junk_judge(m, &a);
		if (o->line || o->sent) {
			o->plain = plain;
			buf_init(&plain, 0);
		}
	}
	buf_wipe(&plain);
}

/* Asks for what follows the queue, as far as it has room. */
static void
ask(struct filing *f)
{
	struct member *m = f->member;
	struct channel *store = worker_store(m->worker);
	uint8_t ns[BATCH * 8];
	size_t have = f->from + f->count;
	size_t pending = fold_pending_count(m->fold);
	size_t wanted = pending > have ? pending - have : 0;
	wanted = wanted < BATCH ? wanted : BATCH;
	wanted = wanted < QUEUE - f->count ? wanted : QUEUE - f->count;
	f->asked = wanted;
	if (wanted == 0) {
		return;
	}
	for (size_t i = 0; i < wanted; i++) {
		uint64_t n = fold_pending_at(m->fold, have + i);
		for (unsigned shift = 0; shift < 8; shift++) {
			ns[i * 8 + shift] = (uint8_t)(n >> (56 - 8 * shift));
		}
	}
	struct msg_log_read_many q = {.max_bytes = READ_BYTES, .ns = bytes_of(ns, wanted * 8)};
	memcpy(q.account, m->account, sizeof(q.account));
	posted_begin(&f->rows);
	posted_sent(&f->rows, store == NULL
				  ? ERR_CLOSED
				  : channel_request(store, LOG_READ_MANY, log_read_many, &q,
						    worker_deadline(m->worker), posted_answer, &f->rows));
}

static enum err
take_rows(struct filing *f)
{
	struct member *m = f->member;
	struct msg_log_read_many_reply page;
	struct wire_reader r;
	size_t had = f->count;
	enum err e = posted_wait(&f->rows);
	if (e == ERR_OK) {
		e = msg_log_read_many_reply_decode(buf_bytes(&f->rows.reply), &page);
	}
	if (e != ERR_OK) {
		return e;
	}
	wire_reader_init(&r, page.rows);
	while (r.rest.len > 0 && f->count < had + f->asked) {
		uint8_t before[SEALED_HASH_LEN];
		struct opened *o = &f->queue[f->count];
		o->n = wire_get_u64(&r);
		wire_get_fixed(&r, before, sizeof(before));
		uint8_t kind = wire_get_u8(&r);
		struct bytes body = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
		/* An answer to something else than was asked is no answer. */
		if (r.error != ERR_OK || o->n != fold_pending_at(m->fold, f->from + f->count)) {
			return ERR_DAMAGED;
		}
		buf_init(&o->card, OPERATION_CARD_MAX);
		buf_init(&o->plain, ARRIVAL_SEALED_MAX);
		open_arrival(f, body, kind, o);
		f->count++;
		if (task_has_run_for(SLICE_MS)) {
			e = task_yield();
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	return f->count > had ? ERR_OK : ERR_DAMAGED;
}

/* Opens the next ones, and asks for those behind them. An error is kept for who needs them. */
static void
open_more(void *arg)
{
	struct filing *f = arg;
	if (f->error != ERR_OK) {
		return;
	}
	if (f->asked == 0) {
		ask(f);
	}
	if (f->asked > 0) {
		f->error = take_rows(f);
		f->asked = 0;
		if (f->error == ERR_OK) {
			ask(f);
		}
	}
}

static void
forget(struct filing *f, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_wipe(&f->queue[i].card);
		buf_wipe(&f->queue[i].plain);
	}
	f->count -= count;
	memmove(f->queue, f->queue + count, f->count * sizeof(f->queue[0]));
}

/* Others have changed what is pending. */
static void
begin_anew(struct filing *f)
{
	forget(f, f->count);
	posted_clear(&f->rows);
	f->asked = 0;
	f->error = ERR_OK;
	f->from = 0;
	f->at = fold_n(f->member->fold);
}

/* ---- filing ---- */

static bool
seen_before(const struct filing *f, const uint8_t delivery[SEALED_ID_LEN])
{
	for (size_t i = 0; i < f->seen_count; i++) {
		if (memcmp(f->seen[i], delivery, SEALED_ID_LEN) == 0) {
			return true;
		}
	}
	return fold_delivery_seen(f->member->fold, delivery);
}

static enum err
drop(struct member_change *c, uint64_t n, const uint8_t *delivery, enum operation_reason reason)
{
	struct operation op = {.kind = OPERATION_DROPPED, .dropped = {.arrival = n, .reason = reason}};
	if (delivery != NULL) {
		memcpy(op.dropped.delivery, delivery, sizeof(op.dropped.delivery));
	}
	return operations_add(c->record, &op);
}

/*
 * The author's copy of what she sent: appended to Sent with its key, by which her client's own copy of it is known; and the arrival
 * is done with, in the same record. Its blob was charged when the unit was put.
 */
static enum err
file_sent(const struct member *m, const struct opened *o, struct member_change *c)
{
	const struct fold_mailbox *box = member_sent_mailbox(m);
	struct operation op = {.kind = OPERATION_APPEND,
			       .append = {.has_key = true,
					  .message = {.mailbox = box == NULL ? 0 : box->id,
						      .flags = FOLD_SEEN,
						      .date = o->received,
						      .size = o->size,
						      .saved = member_save_time(),
						      .card = buf_bytes(&o->card)}}};
	memcpy(op.append.key, o->sent_key, sizeof(op.append.key));
	enum err e = operations_add(c->record, &op);
	if (e == ERR_OK && o->renamed.kind == OPERATION_RENAMED) {
		e = operations_add(c->record, &o->renamed);
	}
	return e == ERR_OK ? drop(c, o->n, o->delivery, OPERATION_UNWANTED) : e;
}

/* A line of the journal, or the first one that comes with the author's copy. It is told, or it is not: no mail depends on it. */
static enum err
file_line(struct filing *f, const struct opened *o, struct member_change *c)
{
	struct member *m = f->member;
	struct journal_line line;
	struct arrival a;
	enum err e = arrival_decode(buf_bytes(&o->plain), &a);
	if (e == ERR_OK) {
		e = journal_of_arrival(&a, &line);
	}
	if (e == ERR_OK) {
		e = member_journal_put(m, &line, o->line ? o->n : 0, o->delivery, c, &f->journal);
	}
	if (e == ERR_OK && o->line) {
		sending_heard(m, &line);
		memcpy(f->seen[f->seen_count++], o->delivery, SEALED_ID_LEN);
	} else if (o->line && (e == ERR_NOT_FOUND || e == ERR_FORMAT || e == ERR_EXISTS)) {
		m->worker->seen_damaged++;
		e = drop(c, o->n, NULL, OPERATION_DAMAGED);
	} else if (e == ERR_NOT_FOUND || e == ERR_FORMAT || e == ERR_EXISTS || e == ERR_UNSUPPORTED) {
		e = ERR_OK;
	}
	return e;
}

/* ERR_NOT_FOUND, ERR_UNSUPPORTED: it waits for a session that knows its generation, or its version. */
static enum err
file_one(struct filing *f, const struct opened *o, uint32_t inbox, uint32_t junk, struct member_change *c)
{
	struct worker *w = f->member->worker;
	if (o->error == ERR_MEMORY || o->error == ERR_UNSUPPORTED || o->error == ERR_NOT_FOUND) {
		return o->error;
	}
	if (o->error != ERR_OK) {
		/* It alone is lost; the others are filed. */
		w->seen_damaged++;
		return drop(c, o->n, NULL, OPERATION_DAMAGED);
	}
	if (seen_before(f, o->delivery)) {
		return drop(c, o->n, o->delivery, OPERATION_DUPLICATE);
	}
	if (o->line) {
		return file_line(f, o, c);
	}
	if (o->sent) {
		enum err e = file_line(f, o, c);
		e = e == ERR_OK ? file_sent(f->member, o, c) : e;
		if (e == ERR_OK) {
			memcpy(f->seen[f->seen_count++], o->delivery, SEALED_ID_LEN);
		}
		return e;
	}
	struct operation op = {.kind = OPERATION_FILED,
			       .filed = {.arrival = o->n,
					 .message = {.mailbox = o->junk ? junk : inbox,
						     .date = o->received,
						     .zone = 0,
						     .size = o->size,
						     .saved = member_save_time(),
						     .card = buf_bytes(&o->card)}}};
	memcpy(op.filed.delivery, o->delivery, sizeof(op.filed.delivery));
	enum err e = operations_add(c->record, &op);
	if (e == ERR_FORMAT) {
		/* What the gate said cannot be a message (its size, its time). */
		return drop(c, o->n, NULL, OPERATION_DAMAGED);
	}
	if (e == ERR_OK) {
		memcpy(f->seen[f->seen_count++], o->delivery, SEALED_ID_LEN);
		w->seen_filed++;
	}
	return e;
}

static enum err
build_filing(void *arg, struct member *m, struct member_change *c)
{
	const struct fold_mailbox *inbox = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"));
	struct filing *f = arg;
	f->used = 0;
	f->stuck = 0;
	f->seen_count = 0;
	f->journal = 0;
	const struct fold_mailbox *junk = member_junk_mailbox(m);
	if (inbox == NULL || junk == NULL) {
		return ERR_STATE;
	}
	if (fold_n(m->fold) != f->at) {
		begin_anew(f);
	}
	if (f->count == 0 && fold_pending_count(m->fold) > f->from) {
		open_more(f);
	}
	if (f->count == 0 && f->error != ERR_OK) {
		return f->error == ERR_DAMAGED ? member_broken(m, f->error) : f->error;
	}
	while (f->used < f->count && f->used < BATCH && c->record->len < BATCH_BYTES) {
		enum err e = file_one(f, &f->queue[f->used], inbox->id, junk->id, c);
		if (e == ERR_LIMIT && f->used > 0) {
			break; /* the next record takes it */
		}
		if (e == ERR_NOT_FOUND || e == ERR_UNSUPPORTED) {
			f->stuck++;
			e = ERR_OK;
		}
		if (e != ERR_OK) {
			return e;
		}
		f->used++;
	}
	c->meanwhile = open_more;
	return ERR_OK;
}

enum err
member_file_pending(struct member *m)
{
	enum err e = ERR_OK;
	if (fold_pending_count(m->fold) == 0) {
		return ERR_OK;
	}
	struct filing *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		return ERR_MEMORY;
	}
	f->member = m;
	posted_init(&f->rows, m->worker);
	f->at = fold_n(m->fold);
	for (unsigned round = 0; round < ROUNDS_MAX && fold_pending_count(m->fold) > f->from; round++) {
		uint64_t n = 0;
		e = member_append_locked(m, NULL, build_filing, f, &n);
		if (e != ERR_OK || (n == 0 && f->stuck == 0)) {
			break;
		}
		if (n == 0 || fold_n(m->fold) == f->at + 1) {
			/* Filed ones are pending no more; what is stuck is passed over from now on. */
			f->at = fold_n(m->fold);
			f->from += f->stuck;
			forget(f, f->used);
		}
	}
	forget(f, f->count);
	posted_clear(&f->rows);
	explicit_bzero(f, sizeof(*f));
	free(f);
	return e;
}
