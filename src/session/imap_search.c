/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Searching, in up to four passes: what the fold alone decides; then what envelopes, headers and messages decide, each for
 * those that are still open and need just that. Each pass is pipelined and lets others run.
 */
#include "session/imap_search.h"

#include "mail/summary.h"
#include "protocol/imap_search.h"
#include "protocol/imap_search_text.h"
#include "session/imap_fetch.h"

enum { CARDS = 16 /* envelopes between two breaths */ };

struct searching {
	struct imap *im;
	const struct imap_command *command;
	int64_t now;
	struct message_item *items;
	size_t count;
	enum imap_match *state; /* per item */
	bool lists;             /* of envelopes are looked at */
	uint32_t next;          /* in the mailbox: where the next one may stand */
	struct imap_search_stream *stream;
	size_t decided;
	size_t passed; /* of the items: decided, and so is all before them */
	size_t kept;   /* of these, at the front: results */
	size_t enough; /* results */
	struct imap_search_text text;
	struct arena arena; /* of one message */
	unsigned damaged;
};

/* They are asked for in order, so that it is mostly the next one. */
static const struct fold_message *
folded(struct searching *s, uint32_t uid)
{
	const struct fold_mailbox *box = imap_selected(s->im);
	if (box == NULL) {
		return NULL;
	}
	if (s->next >= box->count || box->messages[s->next].uid != uid) {
		s->next = fold_message_lower(box, uid);
	}
	bool there = s->next < box->count && box->messages[s->next].uid == uid;
	return there ? &box->messages[s->next++] : NULL;
}

/* Evaluates with what is given; the state of the item follows. */
static enum err
match(struct searching *s, size_t i, struct imap_search_message *q)
{
	const struct fold_message *m = folded(s, s->items[i].uid);
	if (m == NULL) {
		s->state[i] = IMAP_MATCH_NO;
		s->decided++;
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
	if (s->command->search.object_ids) {
		imap_email_id(m, id);
		q->email_id = bytes_str(id);
	}
	enum err e = imap_search_match(s->command->search.key, q, s->now, &s->text, &s->state[i]);
	s->decided += e == ERR_OK && s->state[i] <= IMAP_MATCH_YES ? 1 : 0;
	return e;
}

static void
next_message(struct searching *s)
{
	imap_search_text_next(&s->text);
	if (s->arena.used > 0) {
		arena_clear(&s->arena);
		arena_init(&s->arena, IMAP_ARENA_MAX * 2);
	}
}

/* What is decided without a gap goes to the front; and is told, where it is due. */
static void
keep_decided(struct searching *s)
{
	while (s->passed < s->count && s->state[s->passed] <= IMAP_MATCH_YES) {
		if (s->state[s->passed] == IMAP_MATCH_YES) {
			s->items[s->kept++] = s->items[s->passed];
		}
		s->passed++;
	}
}

static enum err
breathe(struct searching *s)
{
	keep_decided(s);
	return s->stream == NULL
		   ? imap_progress(s->im, s->decided, s->count)
		   : imap_search_stream_more(s->stream, s->items, s->kept, s->decided, s->count);
}

static enum err
first_pass(struct searching *s)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < s->count && s->kept < s->enough && e == ERR_OK; i++) {
		struct imap_search_message q = {.envelope = NULL};
		e = match(s, i, &q);
		next_message(s);
		if (e == ERR_OK && i % 64 == 63) {
			e = breathe(s);
		}
	}
	return e;
}

/* Where the parts of a message stand: from its card, or from its octets where the card has no room for all of them. */
static enum err
find_parts(struct searching *s, const struct message *m, struct mail_structure *ret)
{
	enum err e = mail_summary_decode(&s->arena, m->card.summary, (size_t)m->card.blob.size, ret);
	if ((e == ERR_OK && ret->truncated) || e == ERR_FORMAT) {
		e = m->whole ? mail_parse(&s->arena, m->octets, ret) : e;
	}
	return e;
}

static enum err
match_message(struct searching *s, size_t i, const struct message *m, enum message_want want)
{
	struct imap_search_message q = {.envelope = NULL};
	struct mail_envelope envelope;
	struct mail_structure structure;
	enum err e = s->lists ? mail_summary_decode_envelope(&s->arena, m->card.summary, &envelope)
			      : mail_summary_decode_front(m->card.summary, &envelope);
	char thread[IMAP_OBJECT_ID_MAX];
	if (e == ERR_OK && s->command->search.object_ids) {
		q.thread_id = imap_thread_id(&envelope, thread) ? bytes_str(thread) : bytes_of("", 0);
	}
	if (e == ERR_OK && !envelope.truncated) {
		q.envelope = &envelope;
	}
	if (e == ERR_OK && want != MESSAGE_CARD) {
		size_t header = mail_header_length(m->octets);
		if (m->whole || header < m->octets.len) {
			q.header = header == 0 ? bytes_of("", 0) : bytes_slice(m->octets, 0, header);
			q.envelope = &envelope;
		}
	}
	if (e == ERR_OK && want == MESSAGE_BODY) {
		e = find_parts(s, m, &structure);
		if (e == ERR_OK) {
			q.message = m->octets.ptr == NULL ? bytes_of("", 0) : m->octets;
			q.structure = &structure;
			q.header = q.header.ptr == NULL ? bytes_of("", 0) : q.header;
		}
	}
	return e == ERR_OK ? match(s, i, &q) : e;
}

static enum err
keep_piece(void *arg, struct bytes piece)
{
	return buf_append(arg, piece);
}

/* A message too large to be opened at once: of it, what stands before the last text part's end, where there is room. */
static enum err
match_large(struct searching *s, size_t i, struct message *m)
{
	struct worker *w = s->im->conn->worker;
	size_t size = (size_t)m->card.blob.size;
	struct mail_structure structure;
	enum err e = mail_summary_decode(&s->arena, m->card.summary, size, &structure);
	if (e == ERR_OK && !structure.truncated) {
		size = imap_search_body_end(&structure);
	}
	e = worker_take_work(w, s->im->member, size);
	if (e != ERR_OK) {
		return e;
	}
	struct buf kept = BUF_INIT(size);
	e = size > 0 ? message_stream(s->im->member, &m->card.blob, 0, size, keep_piece, &kept) : ERR_OK;
	if (e == ERR_OK) {
		m->octets = buf_bytes(&kept);
		m->whole = size == m->card.blob.size;
		e = match_message(s, i, m, MESSAGE_BODY);
	}
	buf_wipe(&kept);
	worker_give_work(w, s->im->member, size);
	return e;
}

/* Those that need just this. */
static enum err
later_pass(struct searching *s, enum imap_match need, enum message_want want)
{
	size_t count = 0;
	unsigned cards = 0;
	for (size_t i = 0; i < s->count; i++) {
		count += s->state[i] == need ? 1 : 0;
	}
	if (count == 0 || s->kept >= s->enough) {
		return ERR_OK;
	}
	struct message_item *left = arena_array(s->im->arena, count, sizeof(*left));
	uint32_t *index = arena_array(s->im->arena, count, sizeof(*index));
	struct message_reader *reader = NULL;
	struct message m;
	if (left == NULL || index == NULL) {
		return ERR_MEMORY;
	}
	count = 0;
	for (size_t i = 0; i < s->count; i++) {
		if (s->state[i] == need) {
			index[count] = (uint32_t)i;
			left[count++] = s->items[i];
		}
	}
	enum err e = message_reader_create(s->im->member, want, left, count, &reader);
	while (e == ERR_OK && s->kept < s->enough && message_reader_next(reader, &m)) {
		size_t i = index[m.item - left];
		e = m.error;
		if (e == ERR_OK && want == MESSAGE_BODY && !m.whole) {
			e = match_large(s, i, &m);
		} else if (e == ERR_OK) {
			e = match_message(s, i, &m, want);
		}
		if (e == ERR_DAMAGED || e == ERR_FORMAT) {
			/* It cannot be looked into, or is no longer there; the others can. */
			e = imap_damage(s->im, m.item->uid);
			s->damaged += e == ERR_DAMAGED ? 1 : 0;
			s->state[i] = IMAP_MATCH_NO;
			s->decided++;
			e = e == ERR_DAMAGED || e == ERR_NOT_FOUND ? ERR_OK : e;
		}
		next_message(s);
		/* A look at the clock costs a good part of a card. */
		if (e == ERR_OK && (want != MESSAGE_CARD || ++cards % CARDS == 0)) {
			e = breathe(s);
		}
	}
	message_reader_destroy(&reader);
	return e;
}

static enum err
search(struct searching *s)
{
	static const struct {
		enum imap_match need;
		enum message_want want;
	} passes[] = {{IMAP_NEEDS_ENVELOPE, MESSAGE_CARD},
		      {IMAP_NEEDS_HEADER, MESSAGE_HEADER},
		      {IMAP_NEEDS_MESSAGE, MESSAGE_BODY}};
	enum err e = first_pass(s);
	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && e == ERR_OK; i++) {
		e = later_pass(s, passes[i].need, passes[i].want);
	}
	/* What headers did not decide after all, such as one that is longer than what was brought of it. */
	for (size_t i = 0; i < s->count && e == ERR_OK; i++) {
		if (s->state[i] > IMAP_MATCH_YES) {
			s->state[i] = IMAP_NEEDS_MESSAGE;
		}
	}
	return e == ERR_OK ? later_pass(s, IMAP_NEEDS_MESSAGE, MESSAGE_BODY) : e;
}

void
imap_search_failed(struct imap *im)
{
	if ((im->command->search.returns & IMAP_RETURN_SAVE) != 0) {
		buf_clear(&im->saved);
	}
}

/* RETURN (MIN) and RETURN (PARTIAL 1:100) alone need no more than the first ones. */
static size_t
enough_of(const struct imap_command *command)
{
	uint32_t returns = command->search.returns;
	const struct imap_partial *p = &command->search.partial;
	size_t last = p->first > p->last ? p->first : p->last;
	bool partial = (returns & IMAP_RETURN_PARTIAL) != 0;
	if (!command->search.esearch ||
	    (returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT | IMAP_RETURN_MAX)) != 0 ||
	    (returns & (IMAP_RETURN_MIN | IMAP_RETURN_PARTIAL)) == 0 || (partial && p->from_end)) {
		return SIZE_MAX;
	}
	return partial ? last : 1;
}

bool
imap_search_run(struct imap *im, struct imap_search_stream *stream, struct imap_found *ret)
{
	struct searching s = {.im = im,
			      .command = im->command,
			      .now = clock_wall() / MSEC_SECOND,
			      .lists = imap_search_needs_lists(im->command->search.key),
			      .stream = stream,
			      .enough = stream == NULL ? SIZE_MAX : enough_of(im->command)};
	static const struct imap_range everything = {.first = 1, .last = IMAP_STAR};
	struct imap_set all = {.ranges = &everything, .count = 1};
	struct imap_set saved = imap_ranges_set(&im->saved);
	const struct fold_mailbox *box = imap_selected(im);
	if (box == NULL) {
		imap_search_failed(im);
		imap_no(im, "UNAVAILABLE", "The mailbox has gone");
		return false;
	}
	uint32_t count = view_count(&im->view, box);
	enum err e = imap_search_prepare(im->arena, im->command->search.key, count,
					 view_last_uid(&im->view, box), &saved);
	if (e == ERR_OK && count > 0 && !imap_pick(im, &all, false, &s.items, &s.count)) {
		imap_search_failed(im);
		return false;
	}
	im->condstore = im->condstore || im->command->search.modseq;
	s.state = arena_array(im->arena, s.count + 1, sizeof(*s.state));
	if (s.state == NULL) {
		e = ERR_MEMORY;
	}
	for (size_t i = 0; i < s.count && e == ERR_OK; i++) {
		s.state[i] = IMAP_NEEDS_ENVELOPE; /* not looked at yet */
	}
	if (e == ERR_OK) {
		imap_search_text_init(&s.text);
		arena_init(&s.arena, IMAP_ARENA_MAX * 2);
		e = search(&s);
		imap_search_text_clear(&s.text);
		arena_clear(&s.arena);
	}
	if (e != ERR_OK) {
		imap_search_failed(im);
		imap_search_stream_break(stream);
		if (!conn_is_closed(im->conn)) {
			imap_fail(im, e);
		}
		return false;
	}
	keep_decided(&s);
	*ret = (struct imap_found){.items = s.items, .count = s.kept, .damaged = s.damaged};
	return true;
}

void
imap_do_search(struct imap *im)
{
	struct imap_search_stream stream;
	struct imap_found found;
	imap_search_stream_init(&stream, im);
	if (imap_search_run(im, &stream, &found)) {
		imap_search_answer(im, &stream, &found, "SEARCH");
	}
}
