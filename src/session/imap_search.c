/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SEARCH, in up to three passes: what the fold alone decides; then what envelopes decide; then, for those still open,
 * the messages themselves. Each pass is pipelined and lets others run.
 */
#include "protocol/imap_search.h"

#include <string.h>

#include "mail/summary.h"
#include "session/imap_fetch.h"

struct searching {
	struct imap *im;
	const struct imap_command *command;
	int64_t now;
	struct message_item *items;
	size_t count;
	enum imap_match *state; /* per item */
	struct imap_search_text text;
	struct arena arena; /* of one message */
	uint64_t modseq;    /* greatest of those found */
	unsigned damaged;
	enum err failed;
};

/* Evaluates with what is given; the state of the item follows. */
static enum err
match(struct searching *s, size_t i, struct imap_search_message *q)
{
	const struct fold_mailbox *box = imap_selected(s->im);
	const struct fold_message *m = box == NULL ? NULL : fold_message_by_uid(box, s->items[i].uid);
	if (m == NULL) {
		s->state[i] = IMAP_MATCH_NO;
		return ERR_OK;
	}
	struct imap_flags flags = imap_flags_of(s->im, &s->arena, m);
	q->sequence = s->items[i].sequence;
	q->uid = m->uid;
	q->flags = flags.system;
	q->keywords = flags.keywords;
	q->keyword_count = flags.keyword_count;
	q->size = m->size;
	q->modseq = m->modseq;
	q->internal = (struct imap_time){.seconds = m->date, .zone = m->zone};
	q->saved = m->saved;
	char id[IMAP_OBJECT_ID_MAX];
	imap_email_id(m, id);
	q->email_id = bytes_str(id);
	enum err e = imap_search_match(s->command->search.key, q, s->now, &s->text, &s->state[i]);
	if (e == ERR_OK && s->state[i] == IMAP_MATCH_YES && m->modseq > s->modseq) {
		s->modseq = m->modseq;
	}
	return e;
}

static void
next_message(struct searching *s)
{
	imap_search_text_clear(&s->text);
	if (s->arena.used > 0) {
		arena_clear(&s->arena);
		arena_init(&s->arena, IMAP_ARENA_MAX * 2);
	}
}

static enum err
first_pass(struct searching *s, bool *ret_open)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < s->count && e == ERR_OK; i++) {
		struct imap_search_message q = {.envelope = NULL};
		e = match(s, i, &q);
		*ret_open = *ret_open || s->state[i] > IMAP_MATCH_YES;
		next_message(s);
		if (e == ERR_OK && i % 64 == 63) {
			e = imap_breathe(s->im);
		}
	}
	return e;
}

static enum err
match_message(struct searching *s, size_t i, const struct message *m)
{
	struct imap_search_message q = {.envelope = NULL};
	struct mail_envelope envelope;
	struct mail_structure structure;
	enum err e = mail_summary_decode_envelope(&s->arena, m->card.summary, &envelope);
	char thread[IMAP_OBJECT_ID_MAX];
	if (e == ERR_OK) {
		q.thread_id = imap_thread_id(&envelope, thread) ? bytes_str(thread) : bytes_of("", 0);
	}
	if (e == ERR_OK && !envelope.truncated) {
		q.envelope = &envelope;
	}
	if (e == ERR_OK && m->octets.ptr != NULL && m->whole) {
		e = mail_parse(&s->arena, m->octets, &structure);
		if (e == ERR_OK) {
			q.message = m->octets;
			q.structure = &structure;
			q.header = bytes_slice(m->octets, 0, mail_header_length(m->octets));
			if (q.header.ptr == NULL) {
				q.header = bytes_of("", 0);
			}
			q.envelope = structure.count > 0 && structure.parts[0].envelope != NULL
					 ? structure.parts[0].envelope
					 : &envelope;
		}
	}
	return e == ERR_OK ? match(s, i, &q) : e;
}

/* A message too large to be opened at once: taken into memory as a whole, where there is room. */
static enum err
keep_piece(void *arg, struct bytes piece)
{
	return buf_append(arg, piece);
}

static enum err
match_large(struct searching *s, size_t i, struct message *m)
{
	struct worker *w = s->im->conn->worker;
	size_t size = (size_t)m->card.blob.size;
	enum err e = worker_take_bytes(w, size);
	if (e != ERR_OK) {
		return e;
	}
	struct buf whole = BUF_INIT(size);
	e = message_stream(s->im->member, &m->card.blob, 0, size, keep_piece, &whole);
	if (e == ERR_OK) {
		m->octets = buf_bytes(&whole);
		m->whole = true;
		e = match_message(s, i, m);
	}
	buf_wipe(&whole);
	worker_give_bytes(w, size);
	return e;
}

/* Those still open, with cards, or with whole messages. */
static enum err
later_pass(struct searching *s, enum message_want want, bool *ret_open)
{
	struct message_item *left = arena_array(s->im->arena, s->count + 1, sizeof(*left));
	size_t *index = arena_array(s->im->arena, s->count + 1, sizeof(*index));
	struct message_reader *reader = NULL;
	struct message m;
	size_t count = 0;
	*ret_open = false;
	if (left == NULL || index == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (s->state[i] > IMAP_MATCH_YES) {
			index[count] = i;
			left[count++] = s->items[i];
		}
	}
	enum err e = message_reader_create(s->im->member, want, left, count, &reader);
	while (e == ERR_OK && message_reader_next(reader, &m)) {
		size_t i = index[m.item - left];
		e = m.error;
		if (e == ERR_OK && want == MESSAGE_BODY && !m.whole) {
			e = match_large(s, i, &m);
		} else if (e == ERR_OK) {
			e = match_message(s, i, &m);
		}
		if (e == ERR_DAMAGED || e == ERR_FORMAT) {
			/* It cannot be looked into; the others can. */
			s->damaged++;
			s->state[i] = IMAP_MATCH_NO;
			e = ERR_OK;
		}
		*ret_open = *ret_open || s->state[i] > IMAP_MATCH_YES;
		next_message(s);
		if (e == ERR_OK) {
			e = imap_breathe(s->im);
		}
	}
	message_reader_destroy(&reader);
	return e;
}

static void
answer(struct searching *s)
{
	struct imap *im = s->im;
	struct buf ranges = BUF_INIT((size_t)32 << 20);
	enum err e = ERR_OK;
	for (size_t i = 0; i < s->count && e == ERR_OK; i++) {
		if (s->state[i] == IMAP_MATCH_YES) {
			e = imap_ranges_add(&ranges,
					    s->command->uid ? s->items[i].uid : s->items[i].sequence);
		}
	}
	if (e != ERR_OK) {
		buf_clear(&ranges);
		imap_fail(im, e);
		return;
	}
	struct imap_set found = imap_ranges_set(&ranges);
	uint64_t modseq = s->command->search.modseq && found.count > 0 ? s->modseq : 0;
	if (s->command->search.esearch) {
		imap_write_esearch(&im->w, s->command->tag, s->command->uid, s->command->search.returns,
				   &found, modseq);
	} else {
		imap_write_search(&im->w, &found, modseq);
	}
	buf_clear(&ranges);
	imap_report(im, s->command->uid);
	if (s->damaged > 0) {
		imap_ok(im, NULL, "Done, but damaged messages could not be looked into");
	} else {
		imap_ok(im, NULL, "Done");
	}
}

void
imap_do_search(struct imap *im)
{
	struct searching s = {.im = im, .command = im->command, .now = clock_wall() / MSEC_SECOND};
	static const struct imap_range everything = {.first = 1, .last = IMAP_STAR};
	struct imap_set all = {.ranges = &everything, .count = 1};
	const struct fold_mailbox *box = imap_selected(im);
	if (box == NULL) {
		imap_no(im, "UNAVAILABLE", "The mailbox has gone");
		return;
	}
	uint32_t count = view_count(&im->view, box);
	if (imap_search_prepare(im->arena, im->command->search.key, count, view_last_uid(&im->view, box)) !=
	    ERR_OK) {
		imap_fail(im, ERR_MEMORY);
		return;
	}
	if (count > 0 && !imap_pick(im, &all, false, &s.items, &s.count)) {
		return;
	}
	im->condstore = im->condstore || im->command->search.modseq;
	s.state = arena_array(im->arena, s.count + 1, sizeof(*s.state));
	if (s.state == NULL) {
		imap_fail(im, ERR_MEMORY);
		return;
	}
	imap_search_text_init(&s.text);
	arena_init(&s.arena, IMAP_ARENA_MAX * 2);
	bool open = false;
	enum err e = first_pass(&s, &open);
	if (e == ERR_OK && open) {
		e = later_pass(&s, MESSAGE_CARD, &open);
	}
	if (e == ERR_OK && open) {
		e = later_pass(&s, MESSAGE_BODY, &open);
	}
	imap_search_text_clear(&s.text);
	arena_clear(&s.arena);
	if (e == ERR_OK) {
		answer(&s);
	} else if (!conn_is_closed(im->conn)) {
		imap_fail(im, e);
	}
}
