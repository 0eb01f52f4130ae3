/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* STORE, COPY, MOVE, EXPUNGE and CLOSE: what changes messages that are there. */
#include <string.h>

#include "session/imap.h"

/* ---- STORE ---- */

struct storing {
	const struct imap_command *command;
	struct arena *arena;
	uint32_t mailbox;
	struct message_item *items;
	size_t count;
	struct buf modified; /* struct imap_range: not changed, since UNCHANGEDSINCE does not hold */
	bool gone;           /* some of them are not there any more */
};

static enum err
build_store(void *arg, struct member *m, struct member_change *c)
{
	struct storing *s = arg;
	const struct imap_command *q = s->command;
	const struct fold_mailbox *box = fold_mailbox_by_id(m->fold, s->mailbox);
	if (box == NULL) {
		return ERR_NOT_FOUND;
	}
	buf_reset(&s->modified);
	s->gone = false;
	for (size_t i = 0; i < s->count; i++) {
		const struct fold_message *message = fold_message_by_uid(box, s->items[i].uid);
		s->items[i].record = message != NULL ? message->record : 0;
		s->gone = s->gone || message == NULL;
		if (message != NULL && q->store.unchanged_since_given &&
		    message->modseq > q->store.unchanged_since) {
			s->items[i].record = 0;
			enum err e =
			    imap_ranges_add(&s->modified, q->uid ? message->uid : s->items[i].sequence);
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	struct uid_set uids;
	if (!imap_uid_set(s->arena, s->items, s->count, &uids)) {
		return ERR_LIMIT;
	}
	if (uids.count == 0) {
		return ERR_OK;
	}
	struct operation op = {
	    .kind = OPERATION_FLAGS,
	    .flags = {.mailbox = s->mailbox,
		      .uids = uids,
		      .mode = q->store.mode == IMAP_STORE_ADD      ? OPERATION_ADD
			      : q->store.mode == IMAP_STORE_REMOVE ? OPERATION_REMOVE
								   : OPERATION_SET,
		      .flags = (uint8_t)(q->store.flags.system & FOLD_FLAGS_ALL),
		      .keywords = {.names = q->store.flags.keywords, .count = q->store.flags.keyword_count}}};
	return operations_add(c->record, &op);
}

static enum err
tell_stored(struct imap *im, const struct storing *s)
{
	bool silent = s->command->store.silent;
	bool modseq = im->condstore || s->command->store.unchanged_since_given;
	if (silent && !modseq) {
		return ERR_OK;
	}
	struct arena arena;
	arena_init(&arena, IMAP_ARENA_MAX);
	enum err e = ERR_OK;
	imap_tell_keywords(im);
	for (size_t i = 0; i < s->count && e == ERR_OK; i++) {
		const struct fold_mailbox *box = imap_selected(im);
		const struct fold_message *m = box == NULL ? NULL : fold_message_by_uid(box, s->items[i].uid);
		if (m == NULL || s->items[i].record == 0) {
			continue;
		}
		const char *space = "";
		imap_write_fetch_head(im, s->items[i].sequence, m->uid);
		if (s->command->uid || im->qresync || im->rev2) {
			imap_write_format(&im->w, "UID %u", m->uid);
			space = " ";
		}
		if (modseq) {
			imap_write_format(&im->w, "%sMODSEQ (%llu)", space, (unsigned long long)m->modseq);
			space = " ";
		}
		if (!silent) {
			struct imap_flags flags = imap_flags_of(im, &arena, m);
			imap_write_format(&im->w, "%sFLAGS ", space);
			imap_write_flags(&im->w, &flags);
			arena_clear(&arena);
			arena_init(&arena, IMAP_ARENA_MAX);
		}
		imap_write_text(&im->w, ")\r\n");
		e = imap_flush(im, false);
	}
	arena_clear(&arena);
	return e;
}

void
imap_do_store(struct imap *im)
{
	struct storing s = {.command = im->command,
			    .arena = im->arena,
			    .mailbox = im->view.mailbox,
			    .modified = BUF_INIT((size_t)16 << 20)};
	if (im->view.read_only) {
		imap_no(im, "READ-ONLY", "This mailbox was opened for reading only");
		return;
	}
	if (im->command->store.mode != IMAP_STORE_REMOVE &&
	    !imap_keywords_fit(im, &im->command->store.flags)) {
		imap_no(im, "LIMIT", "A keyword is too long, or there are too many of them");
		return;
	}
	if (!imap_pick(im, &im->command->set, im->command->uid, &s.items, &s.count)) {
		return;
	}
	if (im->command->store.unchanged_since_given) {
		im->condstore = true;
	}
	im->view.mute = true;
	enum err e = member_append(im->member, im->conn, build_store, &s, NULL);
	im->view.mute = false;
	if (e == ERR_OK) {
		e = tell_stored(im, &s);
	}
	if (e != ERR_OK) {
		imap_fail(im, e);
	} else {
		imap_report(im, im->command->uid);
		if (s.modified.len > 0) {
			struct imap_set set = imap_ranges_set(&s.modified);
			imap_write_raw(&im->w, im->command->tag);
			imap_write_text(&im->w, " OK [MODIFIED ");
			imap_write_set(&im->w, &set);
			imap_write_text(&im->w, "] Some were changed since\r\n");
		} else if (s.gone && !im->command->uid) {
			/* Counted by this connection, and not there any more (RFC 2180 section 4.2, RFC 5530). */
			imap_ok(im, "EXPUNGEISSUED", "Some messages have gone");
		} else {
			imap_ok(im, NULL, "Stored");
		}
	}
	buf_clear(&s.modified);
}

/* What takes messages away says the mailbox's new mod-sequence (RFC 7162 section 3.2.10, for MOVE as for EXPUNGE). */
static void
ok_with_modseq(struct imap *im, const char *text)
{
	const struct fold_mailbox *box = imap_selected(im);
	if (im->condstore && box != NULL) {
		imap_write_raw(&im->w, im->command->tag);
		imap_write_format(&im->w, " OK [HIGHESTMODSEQ %llu] %s\r\n",
				  (unsigned long long)box->highest_modseq, text);
	} else {
		imap_ok(im, NULL, text);
	}
}

/* ---- COPY and MOVE ---- */

struct copying {
	const struct imap_command *command;
	struct arena *arena;
	uint32_t from;
	struct bytes to_name;
	struct message_item *items;
	size_t count;
	struct uid_set uids; /* as appended */
	uint32_t uidvalidity;
	uint32_t first; /* UID of the first copy */
	bool gone;      /* of what was named by number, something has */
};

static enum err
build_copy(void *arg, struct member *m, struct member_change *c)
{
	struct copying *s = arg;
	const struct fold_mailbox *from = fold_mailbox_by_id(m->fold, s->from);
	const struct fold_mailbox *to = fold_mailbox_by_name(m->fold, s->to_name);
	if (from == NULL) {
		return ERR_STATE;
	}
	if (to == NULL) {
		return ERR_NOT_FOUND;
	}
	uint64_t count = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct fold_message *message = fold_message_by_uid(from, s->items[i].uid);
		s->items[i].record = message != NULL ? message->record : 0;
		count += message != NULL ? 1 : 0;
	}
	/*
	 * All or nothing (RFC 3501 section 6.4.7, RFC 2180 section 4.4): of message numbers the client knows what they stand for, and
	 * must learn that it was not copied. A UID that is not there is ignored (RFC 3501 section 6.4.8).
	 */
	s->gone = count < s->count && !s->command->uid;
	if (s->gone) {
		return ERR_STATE;
	}
	if (!imap_uid_set(s->arena, s->items, s->count, &s->uids) ||
	    fold_messages(m->fold) + count > FOLD_MESSAGES_MAX || UINT32_MAX - to->uidnext < count) {
		return ERR_LIMIT;
	}
	if (s->uids.count == 0) {
		return ERR_OK;
	}
	s->uidvalidity = to->uidvalidity;
	s->first = to->uidnext;
	struct operation op = {
	    .kind = s->command->verb == IMAP_MOVE ? OPERATION_MOVE : OPERATION_COPY,
	    .copy = {.from = from->id, .to = to->id, .saved = member_save_time(), .uids = s->uids}};
	return operations_add(c->record, &op);
}

static void
write_copyuid(struct imap *im, const struct copying *s)
{
	struct imap_range *from = arena_array(im->arena, s->uids.count + 1, sizeof(*from));
	uint32_t count = 0;
	if (from == NULL) {
		im->w.error = ERR_MEMORY;
		return;
	}
	for (size_t i = 0; i < s->uids.count; i++) {
		from[i] =
		    (struct imap_range){.first = s->uids.ranges[i].first, .last = s->uids.ranges[i].last};
		count += from[i].last - from[i].first + 1;
	}
	struct imap_range to = {.first = s->first, .last = s->first + count - 1};
	struct imap_set from_set = {.ranges = from, .count = s->uids.count};
	struct imap_set to_set = {.ranges = &to, .count = 1};
	imap_write_copyuid(&im->w, s->uidvalidity, &from_set, &to_set);
}

void
imap_do_copy(struct imap *im)
{
	struct copying s = {.command = im->command, .arena = im->arena, .from = im->view.mailbox};
	bool move = im->command->verb == IMAP_MOVE;
	if (move && im->view.read_only) {
		imap_no(im, "READ-ONLY", "This mailbox was opened for reading only");
		return;
	}
	const struct fold_mailbox *to = imap_mailbox(im, im->command->mailbox, "TRYCREATE");
	if (to == NULL || !imap_pick(im, &im->command->set, im->command->uid, &s.items, &s.count)) {
		return;
	}
	s.to_name = arena_copy(im->arena, to->name);
	uint64_t n = 0;
	bool unwanted = false;
	const struct fold_mailbox *from = imap_selected(im);
	bool teaches = from != NULL && member_junk_teaches(im->member, from, to, &unwanted);
	enum err e =
	    s.to_name.ptr == NULL ? ERR_MEMORY : member_append(im->member, im->conn, build_copy, &s, &n);
	if (e == ERR_NOT_FOUND) {
		imap_no(im, "TRYCREATE", "The mailbox has gone");
		return;
	}
	if (s.gone && e == ERR_STATE) {
		imap_report(im, true);
		imap_no(im, "EXPUNGEISSUED", "Some messages have gone: nothing was done");
		return;
	}
	if (e != ERR_OK) {
		imap_fail(im, e);
		return;
	}
	if (n == 0) {
		imap_report(im, im->command->uid || move);
		imap_ok(im, NULL, "There was nothing to do");
		return;
	}
	if (teaches) {
		member_junk_learn(im->member, s.items, s.count, unwanted);
	}
	if (move) {
		/* RFC 6851 4.3: before the expunges. */
		imap_write_text(&im->w, "* OK [");
		write_copyuid(im, &s);
		imap_write_text(&im->w, "] Moved\r\n");
		imap_report(im, true);
		ok_with_modseq(im, "Moved");
	} else {
		imap_report(im, true);
		imap_write_raw(&im->w, im->command->tag);
		imap_write_text(&im->w, " OK [");
		write_copyuid(im, &s);
		imap_write_text(&im->w, "] Copied\r\n");
	}
}

/* ---- EXPUNGE ---- */

struct expunging {
	struct arena *arena;
	uint32_t mailbox;
	const struct imap_set *set; /* UID EXPUNGE: resolved; NULL: all */
};

static enum err
build_expunge(void *arg, struct member *m, struct member_change *c)
{
	const struct expunging *x = arg;
	const struct fold_mailbox *box = fold_mailbox_by_id(m->fold, x->mailbox);
	if (box == NULL) {
		return ERR_STATE;
	}
	struct message_item *items = arena_array(x->arena, (size_t)box->deleted + 1, sizeof(*items));
	size_t count = 0;
	struct uid_set uids;
	if (items == NULL) {
		return ERR_MEMORY;
	}
	for (uint32_t i = 0; i < box->count && count < box->deleted; i++) {
		const struct fold_message *message = &box->messages[i];
		if ((message->flags & FOLD_DELETED) != 0 &&
		    (x->set == NULL || imap_set_contains(x->set, message->uid))) {
			items[count++] =
			    (struct message_item){.record = message->record, .uid = message->uid};
		}
	}
	if (!imap_uid_set(x->arena, items, count, &uids)) {
		return ERR_LIMIT;
	}
	if (uids.count == 0) {
		return ERR_OK;
	}
	struct operation op = {.kind = OPERATION_EXPUNGE, .expunge = {.mailbox = x->mailbox, .uids = uids}};
	enum err e = operations_add(c->record, &op);
	return e == ERR_OK ? member_drop_messages(m, box, uids, c) : e;
}

static enum err
expunge(struct imap *im, const struct imap_set *set)
{
	struct expunging x = {.arena = im->arena, .mailbox = im->view.mailbox, .set = set};
	return member_append(im->member, im->conn, build_expunge, &x, NULL);
}

void
imap_do_expunge(struct imap *im)
{
	struct imap_set resolved;
	const struct fold_mailbox *box = imap_selected(im);
	if (im->view.read_only || box == NULL) {
		imap_no(im, "READ-ONLY", "This mailbox was opened for reading only");
		return;
	}
	enum err e = ERR_OK;
	if (im->command->uid) {
		bool uid = true;
		e = imap_resolve(im, &im->command->set, &uid, &resolved);
	}
	if (e == ERR_OK) {
		e = expunge(im, im->command->uid ? &resolved : NULL);
	}
	if (e != ERR_OK) {
		imap_fail(im, e);
		return;
	}
	imap_report(im, true);
	ok_with_modseq(im, "Expunged");
}

void
imap_do_close(struct imap *im)
{
	enum err e = im->view.read_only || imap_selected(im) == NULL ? ERR_OK : expunge(im, NULL);
	if (e != ERR_OK) {
		imap_fail(im, e);
		return;
	}
	imap_deselect(im);
	imap_ok(im, NULL, "Closed");
}
