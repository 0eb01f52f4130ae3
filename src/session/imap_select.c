/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* SELECT, EXAMINE and UNSELECT, and what a client that comes back has missed (RFC 7162). */
#include <string.h>

#include "session/imap_notify.h"
#include "session/imap_resync.h"

/* ---- flags ---- */

/* FNV-1a: it need not resist anybody, the keywords are her own. */
static uint64_t
sum_of_keywords(const struct fold *f)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < fold_keyword_count(f); i++) {
		struct bytes name = fold_keyword_at(f, i);
		for (size_t j = 0; j <= name.len; j++) {
			sum = (sum ^ (j < name.len ? name.ptr[j] : 0)) * UINT64_C(0x100000001b3);
		}
	}
	return sum;
}

static void
write_flag_lists(struct imap *im, bool read_only)
{
	struct fold *f = im->member->fold;
	size_t count = fold_keyword_count(f);
	im->keywords_told = sum_of_keywords(f);
	imap_write_text(&im->w, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft");
	for (size_t i = 0; i < count; i++) {
		imap_write_text(&im->w, " ");
		imap_write_raw(&im->w, fold_keyword_at(f, i));
	}
	imap_write_text(&im->w, ")\r\n* OK [PERMANENTFLAGS (");
	if (!read_only) {
		imap_write_text(&im->w, "\\Answered \\Flagged \\Deleted \\Seen \\Draft");
		for (size_t i = 0; i < count; i++) {
			imap_write_text(&im->w, " ");
			imap_write_raw(&im->w, fold_keyword_at(f, i));
		}
		imap_write_text(&im->w, " \\*");
	}
	imap_write_text(&im->w, ")] Kept\r\n");
}

void
imap_tell_keywords(struct imap *im)
{
	if (im->selected && sum_of_keywords(im->member->fold) != im->keywords_told) {
		write_flag_lists(im, im->view.read_only);
	}
}

/* ---- what was missed ---- */

enum err
imap_write_vanished_earlier(struct imap *im, const struct fold_mailbox *box, uint64_t since,
			    const struct imap_set *uids, uint32_t above)
{
	struct imap_set vanished;
	enum err e = resync_vanished(im->arena, box, since, uids, above, &vanished);
	if (e == ERR_OK && vanished.count > 0) {
		imap_write_text(&im->w, "* VANISHED (EARLIER) ");
		imap_write_set(&im->w, &vanished);
		imap_write_crlf(&im->w);
	}
	return e;
}

static enum err
write_changed(struct imap *im, const uint32_t *uids, size_t count)
{
	struct arena arena;
	enum err e = ERR_OK;
	arena_init(&arena, IMAP_ARENA_MAX);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		const struct fold_mailbox *box = imap_selected(im);
		const struct fold_message *m = box == NULL ? NULL : fold_message_by_uid(box, uids[i]);
		if (m == NULL) {
			continue; /* gone while this was sent: told as such with the next command */
		}
		struct imap_flags flags = imap_flags_of(im, &arena, m);
		imap_write_fetch_head(im, view_sequence(&im->view, box, m->uid), m->uid);
		imap_write_format(&im->w, "UID %u MODSEQ (%llu) FLAGS ", m->uid,
				  (unsigned long long)m->modseq);
		imap_write_flags(&im->w, &flags);
		imap_write_text(&im->w, ")\r\n");
		if (arena.used > 0) {
			arena_clear(&arena);
			arena_init(&arena, IMAP_ARENA_MAX);
		}
		e = imap_flush(im, false);
		if (e == ERR_OK && i % 64 == 63) {
			e = imap_progress(im, i, count);
		}
	}
	arena_clear(&arena);
	return e;
}

static enum err
resync(struct imap *im, const struct fold_mailbox *box)
{
	const struct imap_command *c = im->command;
	static const struct imap_range all = {.first = 1, .last = UINT32_MAX};
	struct imap_set known = {.ranges = &all, .count = 1};
	struct imap_set match = {.count = 0};
	struct imap_set match_uid = {.count = 0};
	enum err e = ERR_OK;
	if (c->select.known.count > 0) {
		e = imap_set_resolve(im->arena, &c->select.known, 0, &known);
	}
	if (e == ERR_OK && c->select.match.count > 0) {
		e = imap_set_resolve(im->arena, &c->select.match, 0, &match);
	}
	if (e == ERR_OK && c->select.match_uid.count > 0) {
		e = imap_set_resolve(im->arena, &c->select.match_uid, 0, &match_uid);
	}
	if (e == ERR_OK) {
		uint32_t above = resync_matched(box, &match, &match_uid);
		e = imap_write_vanished_earlier(im, box, c->select.modseq, &known, above);
	}
	uint32_t *uids = NULL;
	size_t count = 0;
	if (e == ERR_OK) {
		e = resync_changed(im->arena, box, c->select.modseq, &known, &uids, &count);
	}
	return e == ERR_OK ? write_changed(im, uids, count) : e;
}

/* ---- selecting ---- */

static void
write_first_unseen(struct imap *im, const struct fold_mailbox *box)
{
	for (uint32_t i = 0; i < box->count && box->unseen > 0; i++) {
		if ((box->messages[i].flags & FOLD_SEEN) == 0) {
			imap_write_format(&im->w, "* OK [UNSEEN %u] The first unseen one\r\n", i + 1);
			return;
		}
	}
}

void
imap_do_select(struct imap *im)
{
	bool read_only = im->command->verb == IMAP_EXAMINE;
	if (im->selected) {
		/* RFC 3501 6.3.1: also where the new one then fails. */
		imap_deselect(im);
		imap_write_status(&im->w, BYTES_EMPTY, "OK", "CLOSED", "The mailbox before is closed");
	}
	const struct fold_mailbox *box = imap_mailbox(im, im->command->mailbox, "NONEXISTENT");
	if (box == NULL) {
		return;
	}
	im->condstore = im->condstore || im->command->select.condstore || im->command->select.qresync;
	view_open(&im->view, im->member, im->conn, box, read_only);
	im->selected = true;
	imap_notify_set_view(im);
	write_flag_lists(im, read_only);
	imap_write_untagged_number(&im->w, box->count, "EXISTS");
	if (im->rev2) {
		/* RFC 9051 appendix E: LIST has come, RECENT and UNSEEN have gone. */
		imap_write_list(im, box->name, im->command->mailbox);
	} else {
		imap_write_untagged_number(&im->w, 0, "RECENT");
		if (!im->uidonly) {
			write_first_unseen(im, box);
		}
	}
	imap_write_format(&im->w, "* OK [UIDVALIDITY %u] UIDs are valid\r\n", box->uidvalidity);
	imap_write_format(&im->w, "* OK [UIDNEXT %u] The next UID\r\n", box->uidnext);
	imap_write_format(&im->w, "* OK [HIGHESTMODSEQ %llu] Counted\r\n",
			  (unsigned long long)box->highest_modseq);
	char id[IMAP_MAILBOX_ID_MAX];
	imap_mailbox_id(box, id);
	imap_write_format(&im->w, "* OK [MAILBOXID (%s)] Its own\r\n", id);
	enum err e = ERR_OK;
	if (im->command->select.qresync && im->command->select.uidvalidity == box->uidvalidity) {
		e = resync(im, box);
	}
	if (e != ERR_OK) {
		/* The client must not take what it was told for all. */
		imap_deselect(im);
		imap_fail(im, e);
		return;
	}
	imap_ok(im, read_only ? "READ-ONLY" : "READ-WRITE", "Selected");
}

void
imap_do_unselect(struct imap *im)
{
	imap_deselect(im);
	imap_ok(im, NULL, "Closed");
}
