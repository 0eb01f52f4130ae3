/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A part from the mixer: taken, opened, its message fetched, and given back. */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "courier/internal.h"
#include "process/log.h"

enum { PAGE_CHUNKS = 8, TRIES = 10, PAUSE_MS = 2000, MEMORY_PAUSE_MS = 50, MEMORY_LIMIT_MS = 120 * 1000 };

static bool
is_passing(enum err e)
{
	return e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_AGAIN || e == ERR_MEMORY;
}

static struct work *
find(struct courier *c, const uint8_t unit[IPC_UNIT], uint32_t part)
{
	struct work *w = c->works;
	while (w != NULL && (w->part_number != part || memcmp(w->unit, unit, IPC_UNIT) != 0)) {
		w = w->next;
	}
	return w;
}

static void
free_work(struct work *w)
{
	struct courier *c = w->courier;
	struct work **at = &c->works;
	while (*at != w) {
		at = &(*at)->next;
	}
	*at = w->next;
	c->work_count--;
	bool last = w->batch != 0;
	for (const struct work *other = c->works; other != NULL && last; other = other->next) {
		last = other->batch != w->batch;
	}
	if (last) {
		pool_quit_batch(c->pool, w->batch);
	}
	work_drop_message(w);
	buf_wipe(&w->body);
	buf_wipe(&w->plain);
	if (w->outcomes != NULL) {
		secret_wipe(w->outcomes, w->part.recipient_count * sizeof(*w->outcomes));
		free(w->outcomes);
	}
	arena_clear(&w->arena);
	secret_wipe(w, sizeof(*w));
	free(w);
}

/* ---- opening ---- */

static enum err
open_part(struct work *w)
{
	uint8_t secret[BOX_SECRET_LEN];
	enum err e = courier_key(w->courier, w->epoch, w->public_key, secret);
	if (e == ERR_OK) {
		e = courier_part_open(secret, w->public_key, w->unit, w->part_number, buf_bytes(&w->body),
				      &w->plain, &w->arena, &w->part);
		secret_wipe(secret, sizeof(secret));
	}
	if (e == ERR_OK) {
		w->outcomes = calloc(w->part.recipient_count, sizeof(*w->outcomes));
		e = w->outcomes == NULL ? ERR_MEMORY : ERR_OK;
	}
	if (e == ERR_OK && w->part.first_release == 0) {
		w->part.first_release =
		    w->left > 0 ? w->left / MSEC_SECOND : (uint64_t)(clock_wall() / MSEC_SECOND);
	}
	if (e != ERR_OK) {
		buf_wipe(&w->plain);
		arena_clear(&w->arena);
	}
	return e;
}

/* What cannot be opened stays in the spool: it is not ours to throw away. */
static void
leave_closed(struct work *w, enum err why)
{
	log_event(LOG_LEVEL_ERROR, "a part that waits cannot be opened (%s) and stays where it is",
		  err_text(why));
	struct msg_courier_verdict v = {.part = w->part_number, .again = 1, .warned = w->warned};
	memcpy(v.unit, w->unit, sizeof(v.unit));
	enum err e =
	    channel_call(role_channel(w->courier->host, ROLE_MIXER, 0), COURIER_VERDICT, courier_verdict, &v,
			 loop_now(w->courier->host->loop) + COURIER_CALL_MS, NULL);
	/* Not heard: the mixer hands it over again when it is back. */
	(void)e;
}

static void
work_task(void *arg)
{
	struct work *w = arg;
	enum err e = open_part(w);
	while (is_passing(e) && !w->courier->host->stopping && task_sleep(PAUSE_MS) == ERR_OK) {
		e = open_part(w);
	}
	if (e == ERR_OK) {
		log_ref(w->reference);
		work_deliver(w);
		work_conclude(w);
	} else if (!is_passing(e)) {
		leave_closed(w, e);
	}
	free_work(w);
}

/* ---- the batch ---- */

static void
begin(struct work *w)
{
	w->gathered = false;
	if (role_spawn(w->courier->host, work_task, w) != ERR_OK) {
		/* It cannot be refused: the mixer gives it anew to a new process. */
		panic("no memory for work at hand");
	}
}

/*
 * All that was gathered begins, in random order: the parts of one message came one behind the other, and connections that are opened
 * so would show which of them belong together.
 */
static void
on_gathered(struct timer *t)
{
	struct courier *c = t->arg;
	size_t count = 0;
	for (const struct work *w = c->works; w != NULL; w = w->next) {
		count += w->gathered ? 1 : 0;
	}
	for (; count > 0; count--) {
		uint64_t skip = crypto_random_below(&c->random, count);
		struct work *w = c->works;
		while (!w->gathered || skip > 0) {
			skip -= w->gathered ? 1 : 0;
			w = w->next;
		}
		begin(w);
	}
}

void
work_gather_start(struct courier *c)
{
	timer_init(&c->gather, on_gathered, c);
}

static enum err
gather(struct work *w)
{
	struct courier *c = w->courier;
	msec now = loop_now(c->host->loop);
	if (!timer_is_running(&c->gather)) {
		c->gather_limit = now + COURIER_GATHER_MOST_MS;
	}
	msec due = now + COURIER_GATHER_MS < c->gather_limit ? now + COURIER_GATHER_MS : c->gather_limit;
	w->gathered = true;
	return timer_start(c->host->loop, &c->gather, due);
}

void
work_take(struct courier *c, const struct msg_courier_work *m)
{
	struct work *w = find(c, m->unit, m->part);
	if (w != NULL) {
		/* A mixer that restarted gives everything anew: this one is under way, or waits to be told. */
		w->handed_again = true;
		return;
	}
	w = c->work_count >= COURIER_WORKS_MAX ? NULL : calloc(1, sizeof(*w));
	enum err e = w == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		*w = (struct work){.courier = c,
				   .next = c->works,
				   .part_number = m->part,
				   .epoch = m->epoch,
				   .age = m->age,
				   .left = m->left,
				   .batch = m->batch_id,
				   .size_class = m->size_class,
				   .warned = m->warned != 0,
				   .last = m->last != 0,
				   .strange = m->strange != 0,
				   .body = BUF_INIT(SPOOL_PART_MAX),
				   .plain = BUF_INIT(SPOOL_PART_MAX)};
		memcpy(w->unit, m->unit, sizeof(w->unit));
		arena_init(&w->arena, 1 << 20);
		c->works = w;
		c->work_count++;
		e = buf_append(&w->body, m->body);
		if (e == ERR_OK) {
			/* Without a tick (another law than the crowd's) there is no batch to wait for. */
			e = w->batch != 0 ? gather(w) : role_spawn(c->host, work_task, w);
		}
		if (e != ERR_OK) {
			free_work(w);
		}
	}
	if (e != ERR_OK) {
		/* It cannot be refused: the mixer gives it anew to a new channel. */
		log_event(LOG_LEVEL_ERROR, "cannot take more work: %s", err_text(e));
		struct channel *mixer = role_channel(c->host, ROLE_MIXER, 0);
		if (mixer != NULL) {
			panic("no memory for work at hand");
		}
	}
}

/* ---- the message ---- */

static enum err
wait_for_memory(struct work *w, size_t need)
{
	struct courier *c = w->courier;
	msec until = loop_now(c->host->loop) + MEMORY_LIMIT_MS;
	enum err e = ERR_OK;
	while (e == ERR_OK && c->held > 0 && c->held + need > COURIER_MEMORY) {
		e = loop_now(c->host->loop) > until ? ERR_AGAIN : task_sleep(MEMORY_PAUSE_MS);
	}
	if (e == ERR_OK) {
		w->charged = need;
		c->held += need;
	}
	return e;
}

void
work_drop_message(struct work *w)
{
	w->courier->held -= w->charged;
	w->charged = 0;
	buf_wipe(&w->message);
	buf_clear(&w->signatures);
}

/* Appends the chunks of one page to `chunks`, as a list of bytes. */
static enum err
fetch_page(struct work *w, uint32_t first, struct buf *chunks, uint32_t *ret_count)
{
	struct courier *c = w->courier;
	struct msg_courier_blob q = {.part = w->part_number, .first = first, .count = PAGE_CHUNKS};
	struct msg_courier_blob_reply r;
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX + 64);
	uint32_t count = 0;
	memcpy(q.unit, w->unit, sizeof(q.unit));
	memcpy(q.blob, w->part.blob.name, sizeof(q.blob));
	enum err e = channel_call(role_channel(c->host, ROLE_MIXER, 0), COURIER_BLOB, courier_blob, &q,
				  loop_now(c->host->loop) + COURIER_CALL_MS, &reply);
	if (e == ERR_OK) {
		e = msg_courier_blob_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		struct wire_reader reader;
		wire_reader_init(&reader, r.chunks);
		while (reader.rest.len > 0 && reader.error == ERR_OK && count < PAGE_CHUNKS) {
			(void)wire_get_bytes(&reader, BLOB_CHUNK_MAX);
			count++;
		}
		e = wire_end(&reader) == ERR_OK && count > 0 ? buf_append(chunks, r.chunks) : ERR_DAMAGED;
	}
	buf_clear(&reply);
	if (e == ERR_OK) {
		*ret_count = count;
	}
	return e;
}

static enum err
take_piece(void *arg, uint32_t index, struct bytes piece)
{
	(void)index;
	return buf_append(arg, piece);
}

/* Without a suspension in between: the codec has one reader at a time. */
static enum err
open_chunks(struct work *w, struct bytes chunks)
{
	struct blob_reader *reader = NULL;
	struct wire_reader list;
	buf_init(&w->message, (size_t)w->part.blob.size + 1);
	enum err e = blob_reader_create(w->courier->codec, &w->part.blob, take_piece, &w->message, &reader);
	wire_reader_init(&list, chunks);
	while (e == ERR_OK && list.rest.len > 0 && list.error == ERR_OK) {
		e = blob_reader_feed(reader, wire_get_bytes(&list, BLOB_CHUNK_MAX));
	}
	if (e == ERR_OK) {
		e = list.error == ERR_OK ? blob_reader_finish(reader) : ERR_DAMAGED;
	}
	blob_reader_destroy(&reader);
	if (e != ERR_OK) {
		buf_wipe(&w->message);
	}
	return e;
}

static enum err
fetch_all(struct work *w)
{
	struct buf chunks = BUF_INIT((size_t)w->part.blob.stored + (size_t)w->part.blob.chunks * 4 + 64);
	enum err e = ERR_OK;
	for (uint32_t first = 0; e == ERR_OK && first < w->part.blob.chunks;) {
		uint32_t count = 0;
		e = fetch_page(w, first, &chunks, &count);
		first += count;
	}
	if (e == ERR_OK) {
		e = open_chunks(w, buf_bytes(&chunks));
	}
	buf_clear(&chunks);
	return e;
}

enum err
work_fetch(struct work *w)
{
	if (w->message.len > 0) {
		return ERR_OK;
	}
	if (w->part.blob.size == 0 || w->part.blob.size > BLOB_MESSAGE_MAX) {
		return ERR_DAMAGED;
	}
	/* As stored, as it is, and as it leaves. */
	enum err e = wait_for_memory(w, (size_t)w->part.blob.size * 3 + BLOB_CHUNK_MAX);
	if (e != ERR_OK) {
		return e;
	}
	e = fetch_all(w);
	for (unsigned i = 1; i < TRIES && is_passing(e) && !w->courier->host->stopping; i++) {
		e = task_sleep(PAUSE_MS) == ERR_OK ? fetch_all(w) : ERR_CLOSED;
	}
	if (e != ERR_OK) {
		work_drop_message(w);
	}
	if (e != ERR_OK && !is_passing(e)) {
		log_event(LOG_LEVEL_ERROR, "a message that leaves cannot be read (%s). Remedy: `cohue check`",
			  err_text(e));
	}
	return e;
}
