/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What arrived enters the inbox: each sealed arrival is opened, and a batch of them filed in one record. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "session/member_internal.h"

enum {
	BATCH = 64,               /* arrivals of one record */
	BATCH_BYTES = 192 * 1024, /* of their operations, about */
	READ_BYTES = 512 * 1024,
	ROUNDS_MAX = 1 << 20,
};

/* One row of the store's answer. */
struct row {
	uint64_t n;
	uint8_t kind;
	struct bytes body;
};

struct batch {
	size_t from;  /* of the pending ones: those before it cannot be opened by this session */
	size_t stuck; /* found so in this batch */
	struct buf reply;
	struct row rows[BATCH];
	size_t count;
	uint32_t journal; /* id of its mailbox, once it is known */
	uint8_t seen[BATCH][SEALED_ID_LEN];
	size_t seen_count;
};

static enum err
read_batch(struct member *m, struct batch *b)
{
	struct buf ns = BUF_INIT(BATCH * 8);
	struct wire_writer w;
	size_t wanted = fold_pending_count(m->fold) - b->from;
	wanted = wanted < BATCH ? wanted : BATCH;
	wire_writer_init(&w, &ns);
	for (size_t i = 0; i < wanted; i++) {
		wire_put_u64(&w, fold_pending_at(m->fold, b->from + i));
	}
	struct msg_log_read_many q = {.max_bytes = READ_BYTES, .ns = buf_bytes(&ns)};
	struct msg_log_read_many_reply page;
	memcpy(q.account, m->account, sizeof(q.account));
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		e = channel_call(worker_store(m->worker), LOG_READ_MANY, log_read_many, &q,
				 worker_deadline(m->worker), &b->reply);
	}
	if (e == ERR_OK) {
		e = msg_log_read_many_reply_decode(buf_bytes(&b->reply), &page);
	}
	buf_clear(&ns);
	if (e != ERR_OK) {
		return e;
	}
	struct wire_reader r;
	wire_reader_init(&r, page.rows);
	while (r.rest.len > 0 && b->count < wanted) {
		uint8_t before[SEALED_HASH_LEN];
		struct row *row = &b->rows[b->count];
		row->n = wire_get_u64(&r);
		wire_get_fixed(&r, before, sizeof(before));
		row->kind = wire_get_u8(&r);
		row->body = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
		/* An answer to something else than was asked is no answer. */
		if (r.error != ERR_OK || row->n != fold_pending_at(m->fold, b->from + b->count)) {
			return member_broken(m, ERR_DAMAGED);
		}
		b->count++;
	}
	return b->count > 0 ? ERR_OK : member_broken(m, ERR_DAMAGED);
}

static bool
seen_before(const struct member *m, const struct batch *b, const uint8_t delivery[SEALED_ID_LEN])
{
	for (size_t i = 0; i < b->seen_count; i++) {
		if (memcmp(b->seen[i], delivery, SEALED_ID_LEN) == 0) {
			return true;
		}
	}
	return fold_delivery_seen(m->fold, delivery);
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
file_sent(const struct member *m, const struct arrival *a, uint64_t n, struct bytes card,
	  const uint8_t key[OPERATION_KEY_LEN], const struct operation *renamed, struct member_change *c)
{
	const struct fold_mailbox *box = member_sent_mailbox(m);
	struct operation op = {.kind = OPERATION_APPEND,
			       .append = {.has_key = true,
					  .message = {.mailbox = box == NULL ? 0 : box->id,
						      .flags = FOLD_SEEN,
						      .date = (int64_t)a->received,
						      .size = a->blob.size,
						      .card = card}}};
	memcpy(op.append.key, key, sizeof(op.append.key));
	enum err e = operations_add(c->record, &op);
	if (e == ERR_OK && renamed->kind == OPERATION_RENAMED) {
		e = operations_add(c->record, renamed);
	}
	return e == ERR_OK ? drop(c, n, a->delivery, OPERATION_UNWANTED) : e;
}

/* A line of the journal, or the first one that comes with the author's copy. It is told, or it is not: no mail depends on it. */
static enum err
file_line(struct member *m, struct batch *b, const struct arrival *a, uint64_t n, struct member_change *c)
{
	struct journal_line line;
	bool alone = (a->flags & ARRIVAL_JOURNAL) != 0;
	enum err e = journal_of_arrival(a, &line);
	if (e == ERR_OK) {
		e = member_journal_put(m, &line, alone ? n : 0, a->delivery, c, &b->journal);
	}
	if (e == ERR_OK && alone) {
		memcpy(b->seen[b->seen_count++], a->delivery, SEALED_ID_LEN);
	} else if (alone && (e == ERR_NOT_FOUND || e == ERR_FORMAT || e == ERR_EXISTS)) {
		m->worker->seen_damaged++;
		e = drop(c, n, NULL, OPERATION_DAMAGED);
	} else if (e == ERR_NOT_FOUND || e == ERR_FORMAT || e == ERR_EXISTS || e == ERR_UNSUPPORTED) {
		e = ERR_OK;
	}
	return e;
}

static enum err
file_one(struct member *m, struct batch *b, const struct row *row, uint32_t inbox, struct member_change *c)
{
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct buf card_bytes = BUF_INIT(OPERATION_CARD_MAX);
	struct arrival a;
	struct card card;
	uint8_t sent_key[OPERATION_KEY_LEN];
	struct operation renamed;
	enum err e = row->kind == RECORD_KIND_ARRIVAL
			 ? arrival_open(m->account, &m->keys, row->body, &plain, &a)
			 : ERR_FORMAT;
	if (e == ERR_OK) {
		card_of_arrival(&a, &card);
		e = card_encode(&card, &card_bytes);
	}
	if (e == ERR_OK && seen_before(m, b, a.delivery)) {
		e = drop(c, row->n, a.delivery, OPERATION_DUPLICATE);
	} else if (e == ERR_OK && (a.flags & ARRIVAL_JOURNAL) != 0) {
		e = file_line(m, b, &a, row->n, c);
	} else if (e == ERR_OK && member_sent_marked(m, &a, sent_key, &renamed)) {
		e = file_line(m, b, &a, row->n, c);
		e = e == ERR_OK ? file_sent(m, &a, row->n, buf_bytes(&card_bytes), sent_key, &renamed, c) : e;
		if (e == ERR_OK) {
			memcpy(b->seen[b->seen_count++], a.delivery, SEALED_ID_LEN);
		}
	} else if (e == ERR_OK) {
		struct operation op = {.kind = OPERATION_FILED,
				       .filed = {.arrival = row->n,
						 .message = {.mailbox = inbox,
							     .date = (int64_t)a.received,
							     .zone = 0,
							     .size = a.blob.size,
							     .card = buf_bytes(&card_bytes)}}};
		memcpy(op.filed.delivery, a.delivery, sizeof(op.filed.delivery));
		e = operations_add(c->record, &op);
		if (e == ERR_OK) {
			memcpy(b->seen[b->seen_count++], a.delivery, SEALED_ID_LEN);
			m->worker->seen_filed++;
		} else if (e == ERR_FORMAT) {
			/* What the gate said cannot be a message (its size, its time). */
			e = drop(c, row->n, NULL, OPERATION_DAMAGED);
		}
	} else if (e != ERR_MEMORY && e != ERR_UNSUPPORTED && e != ERR_NOT_FOUND) {
		/* It alone is lost; the others are filed. */
		m->worker->seen_damaged++;
		e = drop(c, row->n, NULL, OPERATION_DAMAGED);
	}
	buf_wipe(&plain);
	buf_wipe(&card_bytes);
	return e;
}

static enum err
build_filing(void *arg, struct member *m, struct member_change *c)
{
	const struct fold_mailbox *inbox = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"));
	struct batch *b = arg;
	enum err e = ERR_OK;
	buf_wipe(&b->reply);
	b->count = 0;
	b->seen_count = 0;
	b->journal = 0;
	b->stuck = 0;
	if (inbox == NULL) {
		return ERR_STATE;
	}
	if (fold_pending_count(m->fold) > b->from) {
		e = read_batch(m, b);
	}
	for (size_t i = 0; i < b->count && e == ERR_OK && c->record->len < BATCH_BYTES; i++) {
		e = file_one(m, b, &b->rows[i], inbox->id, c);
		if (e == ERR_LIMIT && i > 0) {
			return ERR_OK; /* the next record takes it */
		}
		if (e == ERR_NOT_FOUND || e == ERR_UNSUPPORTED) {
			/* Of a generation, or a version, that this session does not know: it waits for one that does. */
			b->stuck++;
			e = ERR_OK;
		}
	}
	return e;
}

enum err
member_file_pending(struct member *m)
{
	enum err e = ERR_OK;
	size_t from = 0;
	for (unsigned round = 0; round < ROUNDS_MAX && e == ERR_OK && fold_pending_count(m->fold) > from;
	     round++) {
		struct batch *b = calloc(1, sizeof(*b));
		if (b == NULL) {
			return ERR_MEMORY;
		}
		buf_init(&b->reply, IPC_PAYLOAD_MAX);
		b->from = from;
		uint64_t n = 0;
		e = member_append_locked(m, NULL, build_filing, b, &n);
		from += b->stuck;
		bool on = n != 0 || b->stuck > 0;
		buf_wipe(&b->reply);
		free(b);
		if (!on) {
			break;
		}
	}
	return e;
}
