/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "mail/summary.h"
#include "session/member_internal.h"

/*
 * Two stages. Records: requests for the next numbers are kept on their way (PAGES of them); the answers
 * are used in order, and what an answer left out is asked for again in its place. Bodies: each card that comes out of the
 * first stage is put into a ring; the ring's oldest is what the caller sees. Blobs of which one chunk is enough are asked
 * for BATCH at a time, and the ring is filled again when a batch has been used, so that the store reads the next ones
 * while these are opened; larger ones with a request each.
 */

enum {
	PAGES = 4,
	PAGE_BYTES = 256 * 1024,
	PAGE_RECORDS = 256,
	HEADER_PIECE = 64 * 1024, /* a header up to this is read from the first chunk alone */
	BATCH = 16,               /* blobs of one request */
	BATCHES = MESSAGE_AHEAD / BATCH + 2,
	OCTETS_KEEP = 64 * 1024, /* a buffer of messages up to this serves the next one, too */
};

/* First chunks asked for together. Free when no slot waits for any of them. */
struct batch {
	uint8_t names[BATCH * SEALED_ID_LEN];
	size_t count;
	size_t users; /* slots that have not been shown */
	struct buf reply;
	struct bytes chunks[BATCH]; /* of the reply, each a list of one; ptr NULL: left out */
	bool found[BATCH];
	bool done;
	enum err status;
	struct message_reader *reader;
};

/* Items of one record that follow each other are asked for once. */
struct page {
	size_t first; /* item */
	size_t next;  /* behind the last item that this page is to answer */
	struct buf reply;
	bool asked;
	bool done;
	enum err status;
	struct message_reader *reader;
};

struct slot {
	const struct message_item *item;
	enum err error;
	struct buf bytes; /* the card's */
	struct card card;
	struct batch *batch; /* with its blob, or NULL: it has a request of its own */
	size_t place;        /* in the batch */
	struct buf reply;
	bool done;
	enum err status;
	struct message_reader *reader;
};

struct message_reader {
	struct member *member;
	enum message_want want;
	const struct message_item *items;
	size_t count;
	size_t asked_to; /* items that pages cover */
	size_t taken;    /* items that have gone into the ring */
	struct page pages[PAGES];
	size_t page_first; /* ring of pages */
	size_t page_count;
	struct wire_reader rows; /* of the present page */
	bool in_page;
	uint64_t plain_n; /* record in plain; 0 none */
	enum err plain_error;
	struct buf plain;
	struct operations_place place; /* in plain */
	struct slot ring[MESSAGE_AHEAD];
	size_t ring_first;
	size_t ring_count;
	size_t ring_bytes;
	struct batch batches[BATCHES];
	struct batch *gathering; /* the batch that is being filled, or NULL */
	struct buf octets;       /* of the message shown */
	unsigned open;           /* requests on their way */
	struct task *waiter;
};

static void
wake(struct message_reader *r)
{
	if (r->waiter != NULL) {
		struct task *t = r->waiter;
		r->waiter = NULL;
		task_wake(t, ERR_OK);
	}
}

static void
wait(struct message_reader *r)
{
	r->waiter = task_current();
	if (task_suspend() == ERR_CLOSED && r->waiter != NULL) {
		panic("a task was cancelled while it read messages");
	}
	r->waiter = NULL;
}

/* ---- records ---- */

static void
on_page(void *arg, enum err status, struct bytes payload)
{
	struct page *p = arg;
	p->reader->open--;
	p->done = true;
	p->status = status == ERR_OK ? buf_append(&p->reply, payload) : status;
	wake(p->reader);
}

static void
ask_page(struct message_reader *r, struct page *p)
{
	uint8_t ns[PAGE_RECORDS * 8];
	size_t len = 0;
	uint64_t last = 0;
	size_t i = p->first;
	while (i < p->next && len < sizeof(ns)) {
		uint64_t n = r->items[i].record;
		if (n != last) {
			for (unsigned shift = 0; shift < 8; shift++) {
				ns[len++] = (uint8_t)(n >> (56 - 8 * shift));
			}
			last = n;
		}
		i++;
	}
	struct msg_log_read_many q = {.max_bytes = PAGE_BYTES, .ns = bytes_of(ns, len)};
	memcpy(q.account, r->member->account, sizeof(q.account));
	struct channel *store = worker_store(r->member->worker);
	buf_reset(&p->reply);
	p->asked = true;
	p->done = false;
	p->status = store == NULL ? ERR_CLOSED
				  : channel_request(store, LOG_READ_MANY, log_read_many, &q,
						    worker_deadline(r->member->worker), on_page, p);
	if (p->status == ERR_OK) {
		r->open++;
	} else {
		p->done = true;
	}
}

static void
ask_ahead(struct message_reader *r)
{
	while (r->page_count < PAGES && r->asked_to < r->count) {
		struct page *p = &r->pages[(r->page_first + r->page_count) % PAGES];
		size_t records = 0;
		uint64_t last = 0;
		size_t i = r->asked_to;
		while (i < r->count) {
			if (r->items[i].record != last) {
				if (records == PAGE_RECORDS) {
					break;
				}
				records++;
				last = r->items[i].record;
			}
			i++;
		}
		p->reader = r;
		p->first = r->asked_to;
		p->next = i;
		buf_init(&p->reply, IPC_PAYLOAD_MAX);
		ask_page(r, p);
		r->asked_to = i;
		r->page_count++;
	}
}

static void
open_row(struct message_reader *r, uint64_t wanted)
{
	struct record_place place = {.kind = 0};
	buf_reset(&r->plain);
	r->place = (struct operations_place){.index = 0, .offset = 0};
	r->plain_n = wanted;
	place.n = wire_get_u64(&r->rows);
	wire_get_fixed(&r->rows, place.before, sizeof(place.before));
	(void)wire_get_u8(&r->rows); /* its kind, which the seal tells better */
	place.kind = RECORD_KIND_SESSION;
	struct bytes body = wire_get_bytes(&r->rows, IPC_PAYLOAD_MAX);
	memcpy(place.account, r->member->account, sizeof(place.account));
	if (r->rows.error != ERR_OK || place.n != wanted) {
		r->plain_error = ERR_DAMAGED;
		return;
	}
	enum err e = record_open(&r->member->keys, &place, body, &r->plain);
	r->plain_error = e == ERR_OK || e == ERR_MEMORY ? e : ERR_DAMAGED;
}

/* Makes r->plain the record of item i. */
static enum err
bring_record(struct message_reader *r, size_t i)
{
	uint64_t wanted = r->items[i].record;
	if (r->plain_n == wanted) {
		return r->plain_error;
	}
	for (;;) {
		ask_ahead(r);
		struct page *p = &r->pages[r->page_first];
		while (!p->done) {
			wait(r);
		}
		if (p->status == ERR_OK && !r->in_page) {
			struct msg_log_read_many_reply m;
			if (msg_log_read_many_reply_decode(buf_bytes(&p->reply), &m) != ERR_OK ||
			    m.rows.len == 0) {
				p->status = ERR_DAMAGED;
			} else {
				wire_reader_init(&r->rows, m.rows);
				r->in_page = true;
			}
		}
		if (p->status != ERR_OK) {
			r->plain_n = wanted;
			r->plain_error = p->status;
			buf_reset(&r->plain);
			/* The next record asks anew; this page has nothing. */
			p->first = i + 1;
			while (p->first < p->next && r->items[p->first].record == wanted) {
				p->first++;
			}
		} else if (r->rows.rest.len > 0) {
			open_row(r, wanted);
			p->first = i + 1;
			while (p->first < p->next && r->items[p->first].record == wanted) {
				p->first++;
			}
		}
		bool answered = r->plain_n == wanted;
		if (p->first >= p->next) {
			buf_clear(&p->reply);
			r->page_first = (r->page_first + 1) % PAGES;
			r->page_count--;
			r->in_page = false;
		} else if (p->status != ERR_OK || r->rows.rest.len == 0) {
			/* What did not fit into the answer. */
			r->in_page = false;
			ask_page(r, p);
		}
		if (answered) {
			return r->plain_error;
		}
	}
}

/* ---- bodies ---- */

static void
on_blob(void *arg, enum err status, struct bytes payload)
{
	struct slot *s = arg;
	s->reader->open--;
	s->done = true;
	s->status = status == ERR_OK ? buf_append(&s->reply, payload) : status;
	wake(s->reader);
}

static void
on_batch(void *arg, enum err status, struct bytes payload)
{
	struct batch *b = arg;
	struct msg_blob_get_many_reply m;
	struct wire_reader r;
	b->reader->open--;
	b->done = true;
	b->status = status == ERR_OK ? buf_append(&b->reply, payload) : status;
	if (b->status == ERR_OK && msg_blob_get_many_reply_decode(buf_bytes(&b->reply), &m) != ERR_OK) {
		b->status = ERR_DAMAGED;
	}
	wire_reader_init(&r, b->status == ERR_OK ? m.chunks : BYTES_EMPTY);
	for (size_t i = 0; i < b->count; i++) {
		b->found[i] = wire_get_u8(&r) != 0;
		struct bytes rest = r.rest;
		(void)wire_get_bytes(&r, BLOB_CHUNK_MAX);
		/* What did not fit is asked for alone. */
		b->chunks[i] = r.error == ERR_OK ? bytes_slice(rest, 0, rest.len - r.rest.len) : BYTES_EMPTY;
	}
	wake(b->reader);
}

static void
ask_batch(struct message_reader *r)
{
	struct batch *b = r->gathering;
	if (b == NULL) {
		return;
	}
	r->gathering = NULL;
	struct msg_blob_get_many q = {.names = bytes_of(b->names, b->count * SEALED_ID_LEN)};
	struct channel *store = worker_store(r->member->worker);
	b->status = store == NULL ? ERR_CLOSED
				  : channel_request(store, BLOB_GET_MANY, blob_get_many, &q,
						    worker_deadline(r->member->worker), on_batch, b);
	if (b->status == ERR_OK) {
		r->open++;
		/* The store begins while the messages before these are opened. */
		channel_flush(store);
	} else {
		b->done = true;
	}
}

/* A place in the batch that is being filled; false where all are in use. */
static bool
join_batch(struct message_reader *r, struct slot *s)
{
	struct batch *b = r->gathering;
	for (size_t i = 0; b == NULL && i < BATCHES; i++) {
		if (r->batches[i].users == 0) {
			b = &r->batches[i];
			buf_reset(&b->reply);
			b->count = 0;
			b->done = false;
			b->reader = r;
		}
	}
	if (b == NULL) {
		return false;
	}
	r->gathering = b;
	memcpy(b->names + b->count * SEALED_ID_LEN, s->card.blob.name, SEALED_ID_LEN);
	s->batch = b;
	s->place = b->count++;
	b->users++;
	if (b->count == BATCH) {
		ask_batch(r);
	}
	return true;
}

static void
ask_blob(struct message_reader *r, struct slot *s, uint32_t count)
{
	struct msg_blob_get q = {.first = 0, .count = count};
	struct channel *store = worker_store(r->member->worker);
	memcpy(q.blob, s->card.blob.name, sizeof(q.blob));
	buf_reset(&s->reply);
	s->done = false;
	s->status = store == NULL ? ERR_CLOSED
				  : channel_request(store, BLOB_GET, blob_get, &q,
						    worker_deadline(r->member->worker), on_blob, s);
	if (s->status == ERR_OK) {
		r->open++;
	} else {
		s->done = true;
	}
}

static bool
is_large(const struct blob_ref *ref)
{
	return ref->chunks > MESSAGE_WHOLE_CHUNKS || ref->size > MESSAGE_WHOLE_MAX;
}

static size_t
weight(const struct message_reader *r, const struct slot *s)
{
	if (r->want == MESSAGE_CARD || s->error != ERR_OK) {
		return 0;
	}
	return (size_t)BLOB_CHUNK_MAX *
	       (r->want == MESSAGE_HEADER || is_large(&s->card.blob) ? 1 : s->card.blob.chunks);
}

static void
fill_slot(struct message_reader *r, struct slot *s)
{
	struct bytes card;
	s->reader = r;
	s->item = &r->items[r->taken];
	s->batch = NULL;
	buf_reset(&s->bytes);
	s->error = bring_record(r, r->taken);
	if (s->error == ERR_OK) {
		s->error = operations_card_from(buf_bytes(&r->plain), &r->place, s->item->op, &card) == ERR_OK
			       ? ERR_OK
			       : ERR_DAMAGED;
	}
	if (s->error == ERR_OK) {
		s->error = buf_append(&s->bytes, card);
	}
	if (s->error == ERR_OK && card_decode(buf_bytes(&s->bytes), &s->card) != ERR_OK) {
		s->error = ERR_DAMAGED;
	}
	r->taken++;
	if (s->error == ERR_OK && r->want != MESSAGE_CARD) {
		uint32_t count = r->want == MESSAGE_HEADER ? 1 : s->card.blob.chunks;
		if (count == 1 && join_batch(r, s)) {
			/* asked for with others */
		} else if (count == 1 || !is_large(&s->card.blob)) {
			ask_blob(r, s, count);
		}
	}
	r->ring_bytes += weight(r, s);
}

static void
fill_ring(struct message_reader *r)
{
	size_t ahead = r->want == MESSAGE_CARD ? 1 : MESSAGE_AHEAD;
	if (r->want != MESSAGE_CARD && r->ring_count > MESSAGE_AHEAD - BATCH) {
		return;
	}
	while (r->ring_count < ahead && r->taken < r->count &&
	       (r->ring_count == 0 || r->ring_bytes < MESSAGE_AHEAD_BYTES)) {
		fill_slot(r, &r->ring[(r->ring_first + r->ring_count) % MESSAGE_AHEAD]);
		r->ring_count++;
	}
	ask_batch(r);
}

struct taking {
	struct buf *out;
	size_t enough; /* 0: all */
};

static enum err
take_piece(void *arg, uint32_t index, struct bytes piece)
{
	struct taking *t = arg;
	(void)index;
	enum err e = buf_append(t->out, piece);
	return e == ERR_OK && t->enough != 0 && t->out->len >= t->enough ? ERR_EXISTS : e;
}

/* Room for a message's octets; what the buffer held before is overwritten, or wiped in the end. */
static void
renew_octets(struct message_reader *r, size_t size)
{
	if (r->octets.cap < size || r->octets.cap > OCTETS_KEEP) {
		buf_wipe(&r->octets);
		buf_init(&r->octets, size);
	}
	buf_reset(&r->octets);
}

/* A list of chunks through the worker's codec; nothing suspends in between. */
static enum err
open_chunks(struct message_reader *r, const struct blob_ref *ref, struct bytes list, size_t enough,
	    bool *ret_whole)
{
	struct wire_reader chunks;
	struct blob_reader *reader = NULL;
	struct taking t = {.out = &r->octets, .enough = enough};
	wire_reader_init(&chunks, list);
	renew_octets(r, (size_t)ref->size);
	*ret_whole = false;
	if (ref->chunks == 1) {
		struct bytes only = wire_get_bytes(&chunks, BLOB_CHUNK_MAX);
		enum err e = blob_open_small(r->member->worker->codec, ref, only, &r->octets);
		*ret_whole = e == ERR_OK;
		return e == ERR_OK || e == ERR_MEMORY ? e : ERR_DAMAGED;
	}
	enum err e = blob_reader_create(r->member->worker->codec, ref, take_piece, &t, &reader);
	while (e == ERR_OK && chunks.rest.len > 0) {
		e = blob_reader_feed(reader, wire_get_bytes(&chunks, BLOB_CHUNK_MAX));
	}
	if (e == ERR_OK && enough == 0) {
		e = blob_reader_finish(reader);
		*ret_whole = e == ERR_OK;
	}
	blob_reader_destroy(&reader);
	/* ERR_EXISTS: enough was there before the end. */
	return e == ERR_OK || e == ERR_EXISTS ? ERR_OK : e == ERR_MEMORY ? e : ERR_DAMAGED;
}

/* Waits for the slot's chunks; the list lives until its batch, or the slot, is used again. */
static enum err
bring_chunks(struct message_reader *r, struct slot *s, struct bytes *ret_list)
{
	struct batch *b = s->batch;
	if (b != NULL) {
		while (!b->done) {
			wait(r);
		}
		if (b->status != ERR_OK || b->chunks[s->place].ptr != NULL) {
			*ret_list = b->chunks[s->place];
			return b->status == ERR_OK && !b->found[s->place] ? ERR_DAMAGED : b->status;
		}
		ask_blob(r, s, 1);
	}
	while (!s->done) {
		wait(r);
	}
	struct msg_blob_get_reply m;
	enum err e = s->status == ERR_NOT_FOUND ? ERR_DAMAGED : s->status;
	if (e == ERR_OK && msg_blob_get_reply_decode(buf_bytes(&s->reply), &m) != ERR_OK) {
		e = ERR_DAMAGED;
	}
	*ret_list = e == ERR_OK ? m.chunks : BYTES_EMPTY;
	return e;
}

/* The octets of the slot's message, as far as they were asked for. */
static enum err
bring_octets(struct message_reader *r, struct slot *s, struct message *ret)
{
	struct bytes list;
	if (is_large(&s->card.blob) && r->want == MESSAGE_BODY) {
		return ERR_OK; /* streamed by the caller */
	}
	enum err e = bring_chunks(r, s, &list);
	bool whole = false;
	bool part = r->want == MESSAGE_HEADER && s->card.blob.chunks > 1;
	if (e == ERR_OK) {
		e = open_chunks(r, &s->card.blob, list, part ? HEADER_PIECE : 0, &whole);
	}
	if (e == ERR_OK && (s->card.blob.size > 0 || whole)) {
		ret->octets = buf_bytes(&r->octets);
		ret->whole = whole;
		if (ret->octets.ptr == NULL) {
			ret->octets = bytes_of("", 0);
		}
	}
	return e;
}

bool
message_reader_next(struct message_reader *r, struct message *ret)
{
	fill_ring(r);
	if (r->ring_count == 0) {
		return false;
	}
	struct slot *s = &r->ring[r->ring_first];
	*ret = (struct message){.item = s->item, .error = s->error, .octets = BYTES_EMPTY, .whole = false};
	if (s->error == ERR_OK) {
		ret->card = s->card;
		if (r->want != MESSAGE_CARD) {
			ret->error = bring_octets(r, s, ret);
		}
	}
	/* The slot's bytes stay until it is filled again, which the next call does last of all: see fill_ring's bound. */
	if (s->batch != NULL) {
		s->batch->users--;
	}
	r->ring_bytes -= weight(r, s);
	r->ring_first = (r->ring_first + 1) % MESSAGE_AHEAD;
	r->ring_count--;
	return true;
}

enum err
message_reader_create(struct member *m, enum message_want want, const struct message_item *items,
		      size_t count, struct message_reader **ret)
{
	struct message_reader *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return ERR_MEMORY;
	}
	r->member = m;
	r->want = want;
	r->items = items;
	r->count = count;
	buf_init(&r->plain, SEALED_RECORD_MAX);
	buf_init(&r->octets, 0);
	for (size_t i = 0; i < BATCHES; i++) {
		buf_init(&r->batches[i].reply, IPC_PAYLOAD_MAX);
	}
	for (size_t i = 0; i < MESSAGE_AHEAD; i++) {
		buf_init(&r->ring[i].bytes, OPERATION_CARD_MAX);
		buf_init(&r->ring[i].reply, IPC_PAYLOAD_MAX);
	}
	member_ref(m);
	*ret = r;
	return ERR_OK;
}

void
message_reader_destroy(struct message_reader **ref)
{
	struct message_reader *r = *ref;
	*ref = NULL;
	if (r == NULL) {
		return;
	}
	while (r->open > 0) {
		wait(r);
	}
	for (size_t i = 0; i < PAGES; i++) {
		buf_clear(&r->pages[i].reply);
	}
	for (size_t i = 0; i < BATCHES; i++) {
		buf_clear(&r->batches[i].reply);
	}
	for (size_t i = 0; i < MESSAGE_AHEAD; i++) {
		buf_wipe(&r->ring[i].bytes);
		buf_clear(&r->ring[i].reply);
		explicit_bzero(&r->ring[i].card, sizeof(r->ring[i].card));
	}
	buf_wipe(&r->plain);
	buf_wipe(&r->octets);
	member_unref(&r->member);
	free(r);
}

/* ---- large messages ---- */

struct streaming {
	uint64_t at;
	uint64_t end;
	uint64_t position;
	enum err (*fn)(void *arg, struct bytes piece);
	void *arg;
};

static enum err
stream_piece(void *arg, uint32_t index, struct bytes piece)
{
	struct streaming *s = arg;
	(void)index;
	uint64_t begin = s->position;
	uint64_t end = begin + piece.len;
	s->position = end;
	if (end <= s->at || begin >= s->end) {
		return begin >= s->end ? ERR_EXISTS : ERR_OK;
	}
	size_t from = begin < s->at ? (size_t)(s->at - begin) : 0;
	size_t to = end > s->end ? (size_t)(s->end - begin) : piece.len;
	enum err e = s->fn(s->arg, bytes_slice(piece, from, to - from));
	return e;
}

enum err
message_stream(struct member *m, const struct blob_ref *ref, uint64_t at, uint64_t len,
	       enum err (*fn)(void *arg, struct bytes piece), void *arg)
{
	/* A codec of its own: others work while this one waits. */
	struct blob_codec *codec = NULL;
	struct blob_reader *reader = NULL;
	struct streaming s = {.at = at, .end = at + len, .fn = fn, .arg = arg};
	uint32_t done = 0;
	enum err e = blob_codec_create(&codec);
	if (e == ERR_OK) {
		e = blob_reader_create(codec, ref, stream_piece, &s, &reader);
	}
	while (e == ERR_OK && done < ref->chunks && s.position < s.end) {
		struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
		struct msg_blob_get_reply r;
		uint32_t left = ref->chunks - done;
		struct msg_blob_get q = {.first = done, .count = left < 4 ? left : 4};
		memcpy(q.blob, ref->name, sizeof(q.blob));
		e = channel_call(worker_store(m->worker), BLOB_GET, blob_get, &q, worker_deadline(m->worker),
				 &reply);
		e = e == ERR_NOT_FOUND ? ERR_DAMAGED : e;
		if (e == ERR_OK &&
		    (msg_blob_get_reply_decode(buf_bytes(&reply), &r) != ERR_OK || r.chunks.len == 0)) {
			e = ERR_DAMAGED;
		}
		struct wire_reader chunks;
		wire_reader_init(&chunks, e == ERR_OK ? r.chunks : BYTES_EMPTY);
		while (e == ERR_OK && chunks.rest.len > 0) {
			e = blob_reader_feed(reader, wire_get_bytes(&chunks, BLOB_CHUNK_MAX));
			done++;
		}
		buf_clear(&reply);
	}
	if (e == ERR_OK && done == ref->chunks) {
		e = blob_reader_finish(reader);
	}
	blob_reader_destroy(&reader);
	blob_codec_destroy(&codec);
	if (e == ERR_EXISTS) {
		e = ERR_OK;
	}
	return e == ERR_AUTH || e == ERR_FORMAT ? ERR_DAMAGED : e;
}
