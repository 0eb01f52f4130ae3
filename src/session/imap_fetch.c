/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* FETCH: numbers and flags from the fold, envelopes and structures from cards, octets from blobs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mail/summary.h"
#include "protocol/imap_section.h"
#include "protocol/imap_structure.h"
#include "session/imap_fetch.h"
#include "session/imap_notify.h"

enum { DIRECT = 16 * 1024 }; /* octets from here on are sent without another copy */

static bool
of_whole(const struct imap_fetch_item *item)
{
	struct imap_plan p;
	return imap_section_of_whole(item, 0, &p);
}

static bool
within_header(const struct imap_fetch_item *item)
{
	if (item->kind == IMAP_FETCH_RFC822_HEADER || item->kind == IMAP_FETCH_PREVIEW) {
		return true; /* a preview is of what stands near the header, or is asked for alone */
	}
	return item->kind == IMAP_FETCH_SECTION && item->section.path_len == 0 &&
	       (item->section.kind == IMAP_SECTION_HEADER || item->section.kind == IMAP_SECTION_FIELDS ||
		item->section.kind == IMAP_SECTION_FIELDS_NOT);
}

static bool
plan(struct fetching *f)
{
	bool sets_seen = false;
	f->want = MESSAGE_CARD;
	for (size_t i = 0; i < f->command->fetch.count; i++) {
		const struct imap_fetch_item *item = &f->command->fetch.items[i];
		sets_seen = sets_seen || imap_fetch_sets_seen(item);
		f->says_uid = f->says_uid || item->kind == IMAP_FETCH_UID;
		f->says_flags = f->says_flags || item->kind == IMAP_FETCH_FLAGS;
		f->says_modseq = f->says_modseq || item->kind == IMAP_FETCH_MODSEQ;
		if (imap_fetch_needs_message(item)) {
			f->needs_card = true;
			f->needs_structure = f->needs_structure || !of_whole(item);
			if (!within_header(item)) {
				f->want = MESSAGE_BODY;
			} else if (f->want == MESSAGE_CARD) {
				f->want = MESSAGE_HEADER;
			}
		} else if (item->kind == IMAP_FETCH_ENVELOPE || item->kind == IMAP_FETCH_BODY ||
			   item->kind == IMAP_FETCH_BODYSTRUCTURE || item->kind == IMAP_FETCH_THREADID) {
			f->needs_card = true;
		}
	}
	return sets_seen;
}

/* ---- octets ---- */

static enum err
pass_piece(void *arg, struct bytes piece)
{
	struct fetching *f = arg;
	return conn_write(f->im->conn, piece);
}

static enum err
keep_piece(void *arg, struct bytes piece)
{
	return buf_append(arg, piece);
}

/* A literal of the message's octets, from memory or streamed. */
static enum err
write_range(struct fetching *f, uint64_t at, uint64_t len)
{
	struct imap *im = f->im;
	struct message *m = f->message;
	enum err e = ERR_OK;
	imap_write_literal_head(&im->w, len, false);
	if (len == 0) {
		return ERR_OK;
	}
	if (at + len <= m->octets.len) {
		struct bytes part = bytes_slice(m->octets, (size_t)at, (size_t)len);
		if (part.len < DIRECT) {
			imap_write_raw(&im->w, part);
			return ERR_OK;
		}
		e = imap_flush(im, true);
		return e == ERR_OK ? conn_write(im->conn, part) : e;
	}
	e = imap_flush(im, true);
	if (e == ERR_OK) {
		e = message_stream(im->member, &m->card.blob, at, len, pass_piece, f);
		if (e != ERR_OK) {
			/* The length has been said: what follows cannot be taken back. */
			conn_close(im->conn);
		}
	}
	return e;
}

static enum err
write_filtered(struct fetching *f, const struct imap_fetch_item *item, const struct imap_plan *p)
{
	struct message *m = f->message;
	struct buf held = BUF_INIT(p->len);
	struct buf out = BUF_INIT(p->len + 64);
	struct bytes header;
	enum err e = ERR_OK;
	if (p->at + p->len <= m->octets.len) {
		header = bytes_slice(m->octets, p->at, p->len);
	} else {
		e = message_stream(f->im->member, &m->card.blob, p->at, p->len, keep_piece, &held);
		header = buf_bytes(&held);
	}
	if (e == ERR_OK) {
		e = imap_section_filter(&item->section, header, &out);
	}
	if (e == ERR_OK) {
		struct bytes part = imap_section_partial(item, buf_bytes(&out));
		imap_write_literal_head(&f->im->w, part.len, false);
		imap_write_raw(&f->im->w, part);
	}
	buf_wipe(&held);
	buf_wipe(&out);
	return e;
}

static enum err
write_octets(struct fetching *f, const struct imap_fetch_item *item)
{
	struct imap_writer *w = &f->im->w;
	struct imap_plan p;
	imap_write_section_name(w, item);
	imap_write_text(w, " ");
	enum err e = ERR_OK;
	if (!imap_section_of_whole(item, (size_t)f->message->card.blob.size, &p)) {
		e = imap_section_resolve(&f->structure, item, &p);
	}
	if (e == ERR_NOT_FOUND) {
		imap_write_text(w, "NIL");
		return ERR_OK;
	}
	if (e != ERR_OK) {
		return e;
	}
	if (p.kind == IMAP_PLAN_FILTER) {
		return write_filtered(f, item, &p);
	}
	return write_range(f, p.at, p.len);
}

/* ---- one message ---- */

static enum err
prepare(struct fetching *f)
{
	f->structure_ready = false;
	if (!f->needs_structure) {
		return ERR_OK;
	}
	enum err e = mail_summary_decode(&f->arena, f->message->card.summary,
					 (size_t)f->message->card.blob.size, &f->structure);
	f->structure_ready = e == ERR_OK;
	return e == ERR_OK || e == ERR_MEMORY ? e : ERR_DAMAGED;
}

static enum err
write_envelope(struct fetching *f)
{
	struct mail_envelope envelope;
	enum err e = mail_summary_decode_envelope(&f->arena, f->message->card.summary, &envelope);
	if (e == ERR_OK) {
		imap_write_text(&f->im->w, "ENVELOPE ");
		imap_write_envelope(&f->im->w, &envelope);
	}
	return e == ERR_OK || e == ERR_MEMORY ? e : ERR_DAMAGED;
}

static enum err
write_structure(struct fetching *f, bool extended)
{
	if (!f->structure_ready) {
		enum err e = mail_summary_decode(&f->arena, f->message->card.summary,
						 (size_t)f->message->card.blob.size, &f->structure);
		if (e != ERR_OK) {
			return e == ERR_MEMORY ? e : ERR_DAMAGED;
		}
		f->structure_ready = true;
	}
	imap_write_text(&f->im->w, extended ? "BODYSTRUCTURE " : "BODY ");
	imap_write_structure(&f->im->w, &f->structure, extended);
	return ERR_OK;
}

static enum err
write_item(struct fetching *f, const struct imap_fetch_item *item, const struct fold_message *m)
{
	struct imap_writer *w = &f->im->w;
	switch (item->kind) {
	case IMAP_FETCH_UID:
		imap_write_text(w, "UID ");
		imap_write_number(w, m->uid);
		return ERR_OK;
	case IMAP_FETCH_FLAGS: {
		struct imap_flags flags = imap_flags_of(f->im, &f->arena, m);
		imap_write_text(w, "FLAGS ");
		imap_write_flags(w, &flags);
		return ERR_OK;
	}
	case IMAP_FETCH_INTERNALDATE:
		imap_write_text(w, "INTERNALDATE ");
		imap_write_time(w, (struct imap_time){.seconds = m->date, .zone = m->zone});
		return ERR_OK;
	case IMAP_FETCH_RFC822_SIZE:
		imap_write_text(w, "RFC822.SIZE ");
		imap_write_number(w, m->size);
		return ERR_OK;
	case IMAP_FETCH_MODSEQ:
		imap_write_format(w, "MODSEQ (%llu)", (unsigned long long)m->modseq);
		return ERR_OK;
	case IMAP_FETCH_ENVELOPE:
		return write_envelope(f);
	case IMAP_FETCH_BODY:
	case IMAP_FETCH_BODYSTRUCTURE:
		return write_structure(f, item->kind == IMAP_FETCH_BODYSTRUCTURE);
	case IMAP_FETCH_RFC822:
	case IMAP_FETCH_RFC822_HEADER:
	case IMAP_FETCH_RFC822_TEXT:
	case IMAP_FETCH_SECTION:
		return write_octets(f, item);
	case IMAP_FETCH_SAVEDATE:
		imap_fetch_write_savedate(f, m);
		return ERR_OK;
	case IMAP_FETCH_EMAILID:
		imap_fetch_write_emailid(f, m);
		return ERR_OK;
	case IMAP_FETCH_THREADID:
		return imap_fetch_write_threadid(f);
	case IMAP_FETCH_PREVIEW:
		return imap_fetch_write_preview(f, item);
	case IMAP_FETCH_BINARY:
	case IMAP_FETCH_BINARY_SIZE:
		return imap_fetch_write_binary(f, item);
	}
	return ERR_STATE;
}

/* Nothing of a message that cannot be read is answered, but what cannot be taken back. */
static void
write_message(struct fetching *f, size_t index, struct message *message)
{
	struct imap *im = f->im;
	const struct fold_mailbox *box = imap_selected(im);
	const struct message_item *item = message != NULL ? message->item : &f->items[index];
	const struct fold_message *found = box == NULL ? NULL : fold_message_by_uid(box, item->uid);
	if (found == NULL) {
		f->gone++;
		return;
	}
	struct fold_message m = *found; /* writing may suspend */
	size_t mark = imap_write_mark(&im->w);
	enum err e = ERR_OK;
	f->message = message;
	if (message != NULL) {
		e = message->error;
		if (e == ERR_OK) {
			e = prepare(f);
		}
	}
	if (e == ERR_OK) {
		const char *space = "";
		imap_write_fetch_head(im, item->sequence, item->uid);
		for (size_t i = 0; i < f->command->fetch.count && e == ERR_OK; i++) {
			imap_write_text(&im->w, space);
			e = write_item(f, &f->command->fetch.items[i], &m);
			space = " ";
		}
		bool seen = f->seen != NULL && f->seen[item - f->items];
		if (seen && (im->qresync || im->rev2) && !f->says_uid && e == ERR_OK) {
			imap_write_format(&im->w, " UID %u", m.uid);
		}
		if (seen && !f->says_flags && e == ERR_OK) {
			struct imap_flags flags = imap_flags_of(im, &f->arena, &m);
			imap_write_text(&im->w, " FLAGS ");
			imap_write_flags(&im->w, &flags);
		}
		/* RFC 7162 section 3.1: what tells of flags tells of their mod-sequence, an implicit \Seen too. */
		if (im->condstore && (seen || f->says_flags) && !f->says_modseq && e == ERR_OK) {
			imap_write_format(&im->w, " MODSEQ (%llu)", (unsigned long long)m.modseq);
		}
		imap_write_text(&im->w, ")\r\n");
	}
	if (e != ERR_OK) {
		if (mark <= im->out.len) {
			imap_write_undo(&im->w, mark);
		}
		if (e == ERR_UNSUPPORTED) {
			f->undecodable++;
		} else {
			if (e == ERR_DAMAGED || e == ERR_FORMAT || e == ERR_NOT_FOUND) {
				e = imap_damage(im, item->uid);
			}
			if (e == ERR_DAMAGED) {
				f->damaged++;
			} else if (e == ERR_NOT_FOUND) {
				f->gone++;
			} else {
				f->failed = e;
			}
		}
	}
	if (f->arena.used > 0) {
		arena_clear(&f->arena);
		arena_init(&f->arena, IMAP_ARENA_MAX);
	}
}

/* ---- all of them ---- */

static enum err
fetch_numbers(struct fetching *f)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < f->count && e == ERR_OK; i++) {
		write_message(f, i, NULL);
		e = imap_flush(f->im, false);
		if (e == ERR_OK && i % 64 == 63) {
			e = imap_progress(f->im, i, f->count);
		}
	}
	return e;
}

static enum err
fetch_messages(struct fetching *f)
{
	struct message_reader *reader = NULL;
	struct message message;
	/* Those that have gone already have no record. */
	size_t there = 0;
	for (size_t i = 0; i < f->count; i++) {
		if (f->items[i].record != 0) {
			if (f->seen != NULL) {
				f->seen[there] = f->seen[i];
			}
			f->items[there++] = f->items[i];
		} else {
			f->gone++;
		}
	}
	enum err e = message_reader_create(f->im->member, f->want, f->items, there, &reader);
	uint64_t done = 0;
	while (e == ERR_OK && f->failed == ERR_OK && message_reader_next(reader, &message)) {
		write_message(f, 0, &message);
		e = imap_flush(f->im, false);
		if (e == ERR_OK) {
			e = imap_progress(f->im, done++, there);
		}
	}
	message_reader_destroy(&reader);
	return e;
}

/* ---- \Seen ---- */

static enum err
build_seen(void *arg, struct member *m, struct member_change *c)
{
	struct fetching *f = arg;
	const struct fold_mailbox *box = fold_mailbox_by_id(m->fold, f->im->view.mailbox);
	struct message_item *unseen = arena_array(f->im->arena, f->count + 1, sizeof(*unseen));
	struct uid_set uids;
	size_t count = 0;
	if (box == NULL || unseen == NULL) {
		return box == NULL ? ERR_NOT_FOUND : ERR_MEMORY;
	}
	for (size_t i = 0; i < f->count; i++) {
		const struct fold_message *message = fold_message_by_uid(box, f->items[i].uid);
		f->seen[i] = message != NULL && (message->flags & FOLD_SEEN) == 0;
		if (f->seen[i]) {
			unseen[count++] = f->items[i];
		}
	}
	if (!imap_uid_set(f->im->arena, unseen, count, &uids)) {
		return ERR_LIMIT;
	}
	if (uids.count == 0) {
		return ERR_OK;
	}
	struct operation op = {
	    .kind = OPERATION_FLAGS,
	    .flags = {.mailbox = box->id, .uids = uids, .mode = OPERATION_ADD, .flags = FOLD_SEEN}};
	return operations_add(c->record, &op);
}

static void
set_seen(struct fetching *f)
{
	f->seen = arena_array(f->im->arena, f->count + 1, sizeof(*f->seen));
	if (f->seen == NULL) {
		return;
	}
	f->im->view.mute = true;
	/* Reading goes on where it cannot be noted. */
	if (member_append(f->im->member, f->im->conn, build_seen, f, NULL) != ERR_OK) {
		f->seen = NULL;
	}
	f->im->view.mute = false;
}

/* RFC 9394 section 3.4: first these, then those of them that were changed. */
static void
keep_part(struct fetching *f)
{
	const struct imap_partial *p = &f->command->fetch.partial;
	size_t there = 0;
	for (size_t i = 0; i < f->count; i++) {
		if (f->items[i].record != 0) {
			f->items[there++] = f->items[i];
		}
	}
	size_t first = p->first;
	size_t last = p->last < there ? p->last : there;
	size_t kept = first <= last ? last - first + 1 : 0;
	size_t from = p->from_end ? there - (first - 1 + kept) : first - 1;
	if (kept > 0 && from > 0) {
		memmove(f->items, f->items + from, kept * sizeof(*f->items));
	}
	f->count = kept;
}

static void
keep_changed(struct fetching *f)
{
	const struct fold_mailbox *box = imap_selected(f->im);
	size_t kept = 0;
	for (size_t i = 0; i < f->count && box != NULL; i++) {
		const struct fold_message *m = fold_message_by_uid(box, f->items[i].uid);
		if (m != NULL && m->modseq > f->command->fetch.changed_since) {
			f->items[kept++] = f->items[i];
		}
	}
	f->count = kept;
}

/* False: answered. */
static bool
write_vanished(struct imap *im)
{
	/* What the client still counts is told as going now, and not as having gone earlier. */
	imap_report(im, true);
	const struct fold_mailbox *box = im->leaving ? NULL : imap_selected(im);
	struct imap_set uids;
	if (box == NULL) {
		return !im->leaving;
	}
	enum err e = imap_set_resolve(im->arena, &im->command->set, view_last_uid(&im->view, box), &uids);
	if (e == ERR_OK) {
		e = imap_write_vanished_earlier(im, box, im->command->fetch.changed_since, &uids, 0);
	}
	if (e != ERR_OK) {
		imap_fail(im, e);
	}
	return e == ERR_OK;
}

void
imap_do_fetch(struct imap *im)
{
	struct fetching f = {.im = im, .command = im->command, .failed = ERR_OK};
	bool sets_seen = plan(&f);
	arena_init(&f.arena, IMAP_ARENA_MAX);
	if (im->command->fetch.vanished && !write_vanished(im)) {
		return;
	}
	if (!imap_pick(im, &im->command->set, im->command->uid, &f.items, &f.count)) {
		return;
	}
	for (size_t i = 0; i < im->command->fetch.count; i++) {
		im->condstore = im->condstore || im->command->fetch.items[i].kind == IMAP_FETCH_MODSEQ;
	}
	if (im->command->fetch.partial.given) {
		keep_part(&f);
	}
	if (im->command->fetch.changed_since_given) {
		im->condstore = true;
		keep_changed(&f);
	}
	if (sets_seen && !im->view.read_only && f.count > 0) {
		set_seen(&f);
	}
	enum err e = f.needs_card ? fetch_messages(&f) : fetch_numbers(&f);
	arena_clear(&f.arena);
	if (e != ERR_OK) {
		if (im->w.error == ERR_OK && !conn_is_closed(im->conn)) {
			imap_fail(im, e);
		}
		return;
	}
	imap_report(im, im->command->uid);
	if (f.failed != ERR_OK) {
		imap_fail(im, f.failed);
	} else if (f.damaged > 0) {
		char text[128];
		(void)snprintf(text, sizeof(text),
			       "Some messages are damaged and cannot be read; the others were given (%s)",
			       member_damage(im->member));
		imap_no(im, "CORRUPTION", text);
	} else if (f.undecodable > 0) {
		imap_no(im, "UNKNOWN-CTE", "A part has a transfer encoding that is not known");
	} else if (f.gone > 0) {
		imap_ok(im, "EXPUNGEISSUED", "Some messages have gone");
	} else {
		imap_ok(im, NULL, "Done");
	}
}

bool
imap_fetch_unasked(struct imap *im, const struct imap_fetch_item *items, size_t item_count,
		   const uint32_t *uids, size_t count, size_t room, size_t *ret_done)
{
	const struct imap_command c = {
	    .verb = IMAP_FETCH, .uid = true, .fetch = {.items = items, .count = item_count}};
	struct fetching f = {.im = im, .command = &c, .failed = ERR_OK};
	const struct fold_mailbox *box = imap_selected(im);
	(void)plan(&f);
	*ret_done = 0;
	if (box == NULL || count == 0 || (room > 0 && f.needs_card)) {
		return count == 0;
	}
	f.items = calloc(count, sizeof(*f.items));
	if (f.items == NULL) {
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		const struct fold_message *m = fold_message_by_uid(box, uids[i]);
		f.items[i] = (struct message_item){.record = m != NULL ? m->record : 0,
						   .op = m != NULL ? m->op : 0,
						   .uid = uids[i],
						   .sequence = view_sequence(&im->view, box, uids[i])};
	}
	f.count = count;
	arena_init(&f.arena, IMAP_ARENA_MAX);
	size_t done = 0;
	for (; room > 0 && done < count; done++) {
		size_t mark = imap_write_mark(&im->w);
		write_message(&f, done, NULL);
		if (im->out.len > room) {
			imap_write_undo(&im->w, mark);
			break;
		}
	}
	if (room == 0) {
		/* One that cannot be read is left out: whoever asks for it hears why. */
		enum err e = f.needs_card ? fetch_messages(&f) : fetch_numbers(&f);
		done = e == ERR_OK ? count : 0;
	}
	arena_clear(&f.arena);
	free(f.items);
	*ret_done = done;
	return done == count;
}
