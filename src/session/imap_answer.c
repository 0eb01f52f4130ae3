/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the commands share: answers, picking messages, telling of changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/imap_notify.h"

/* ---- answers ---- */

enum err
imap_flush(struct imap *im, bool all)
{
	if (im->w.error != ERR_OK) {
		conn_close(im->conn);
		return im->w.error;
	}
	if (im->out.len == 0 || (!all && im->out.len < IMAP_OUT_FLUSH)) {
		return conn_is_closed(im->conn) ? ERR_CLOSED : ERR_OK;
	}
	enum err e = conn_write(im->conn, buf_bytes(&im->out));
	buf_reset(&im->out);
	return e;
}

enum err
imap_breathe(struct imap *im)
{
	if (task_has_run_for(IMAP_SLICE_MS)) {
		enum err e = task_yield();
		if (e != ERR_OK) {
			return e;
		}
	}
	return conn_is_closed(im->conn) ? ERR_CLOSED : ERR_OK;
}

static struct bytes
tag_of(const struct imap *im)
{
	return im->command != NULL ? im->command->tag : BYTES_EMPTY;
}

void
imap_ok(struct imap *im, const char *code, const char *text)
{
	imap_write_status(&im->w, tag_of(im), "OK", code, text);
}

void
imap_no(struct imap *im, const char *code, const char *text)
{
	imap_write_status(&im->w, tag_of(im), "NO", code, text);
}

void
imap_bad(struct imap *im, const char *text)
{
	imap_write_status(&im->w, tag_of(im), "BAD", NULL, text);
}

void
imap_fail(struct imap *im, enum err e)
{
	char text[128];
	switch ((int)e) {
	case ERR_DAMAGED:
		if (im->member->broken != ERR_OK) {
			/* All of it, and not one message. */
			(void)snprintf(text, sizeof(text),
				       "Your mailbox cannot be read for now: tell who runs this house (%s)",
				       im->member->ref);
			imap_no(im, "CORRUPTION", text);
			break;
		}
		imap_no(im, "CORRUPTION", "The stored mail does not verify: it was damaged or tampered with");
		break;
	case ERR_UNSUPPORTED:
		imap_no(im, "UNAVAILABLE", "The stored mail was written by a newer version");
		break;
	case ERR_QUOTA:
		imap_no(im, "OVERQUOTA", "No room left in your mailboxes");
		break;
	case ERR_LIMIT:
		imap_no(im, "LIMIT", "Too much at once");
		break;
	case ERR_NOT_FOUND:
		imap_no(im, "NONEXISTENT", "There is no such mailbox");
		break;
	case ERR_EXISTS:
		imap_no(im, "ALREADYEXISTS", "There is one of this name already");
		break;
	case ERR_DENIED:
		imap_no(im, "UNAVAILABLE", "This account has just been closed or changed: log in again");
		break;
	default:
		imap_no(im, "UNAVAILABLE", "Not now: try again later");
		break;
	}
}

const struct fold_mailbox *
imap_selected(const struct imap *im)
{
	if (!im->selected || im->view.lost || !im->member->loaded) {
		return NULL;
	}
	return fold_mailbox_by_id(im->member->fold, im->view.mailbox);
}

static bool
is_there(const struct imap *im, uint32_t uid)
{
	const struct fold_mailbox *box = imap_selected(im);
	return box != NULL && fold_message_by_uid(box, uid) != NULL;
}

enum err
imap_damage(struct imap *im, uint32_t uid)
{
	/* Of many that went together, the first one alone is looked for in the log. */
	if (im->member->loaded && !is_there(im, uid)) {
		return ERR_NOT_FOUND;
	}
	enum err e = member_look(im->member);
	if (e != ERR_OK) {
		return e;
	}
	return is_there(im, uid) ? ERR_DAMAGED : ERR_NOT_FOUND;
}

struct imap_flags
imap_flags_of(struct imap *im, struct arena *a, const struct fold_message *message)
{
	struct imap_flags flags = {.system = message->flags, .keywords = NULL, .keyword_count = 0};
	if (message->keyset == 0) {
		return flags;
	}
	size_t count = fold_keyset_count(im->member->fold, message->keyset);
	struct bytes *names = arena_array(a, count, sizeof(*names));
	if (names != NULL) {
		for (size_t i = 0; i < count; i++) {
			names[i] = fold_keyset_at(im->member->fold, message->keyset, i);
		}
		flags.keywords = names;
		flags.keyword_count = count;
	}
	return flags;
}

/* ---- picking messages ---- */

static bool
pick_range(const struct imap *im, const struct fold_mailbox *box, uint32_t first, uint32_t last,
	   struct message_item *items, size_t *count)
{
	/* first .. last: sequence numbers within the view. Merges what is there and what has gone. */
	uint32_t uid = view_uid(&im->view, box, first);
	uint32_t at = fold_message_lower(box, uid);
	uint32_t gone = first - 1 - at;
	uint32_t there = fold_message_lower(box, im->view.uidnext);
	for (uint32_t sequence = first; sequence <= last; sequence++) {
		if (gone < view_gone_count(&im->view) &&
		    (at >= there || view_gone_at(&im->view, gone) < box->messages[at].uid)) {
			items[(*count)++] = (struct message_item){.record = 0,
								  .op = 0,
								  .uid = view_gone_at(&im->view, gone++),
								  .sequence = sequence};
		} else if (at < there) {
			const struct fold_message *m = &box->messages[at++];
			items[(*count)++] = (struct message_item){
			    .record = m->record, .op = m->op, .uid = m->uid, .sequence = sequence};
		} else {
			return false;
		}
	}
	return true;
}

enum err
imap_resolve(struct imap *im, const struct imap_set *set, bool *uid, struct imap_set *ret)
{
	const struct fold_mailbox *box = imap_selected(im);
	if (set->saved) {
		*ret = imap_ranges_set(&im->saved);
		*uid = true;
		return ERR_OK;
	}
	uint32_t largest = box == NULL ? 0
			   : *uid      ? view_last_uid(&im->view, box)
				       : view_count(&im->view, box);
	return imap_set_resolve(im->arena, set, largest, ret);
}

bool
imap_pick(struct imap *im, const struct imap_set *set, bool uid, struct message_item **ret, size_t *ret_count)
{
	const struct fold_mailbox *box = imap_selected(im);
	if (box == NULL) {
		imap_no(im, "UNAVAILABLE", "The mailbox has gone");
		return false;
	}
	uint32_t count = view_count(&im->view, box);
	struct imap_set resolved;
	if (imap_resolve(im, set, &uid, &resolved) != ERR_OK) {
		imap_fail(im, ERR_MEMORY);
		return false;
	}
	if (!uid && imap_set_last(&resolved) > count) {
		imap_bad(im, "There is no message of that number");
		return false;
	}
	struct message_item *items = arena_array(im->arena, (size_t)count + 1, sizeof(*items));
	if (items == NULL) {
		imap_fail(im, ERR_MEMORY);
		return false;
	}
	size_t n = 0;
	for (size_t i = 0; i < resolved.count; i++) {
		uint32_t first = resolved.ranges[i].first;
		uint32_t last = resolved.ranges[i].last;
		if (uid) {
			first = view_sequence(&im->view, box, first);
			last = last == UINT32_MAX ? count : view_sequence(&im->view, box, last + 1) - 1;
			last = last < count ? last : count;
		}
		if (first <= last && first >= 1 && !pick_range(im, box, first, last, items, &n)) {
			break;
		}
	}
	*ret = items;
	*ret_count = n;
	return true;
}

bool
imap_uid_set(struct arena *a, const struct message_item *items, size_t count, struct uid_set *ret)
{
	struct uid_range *ranges = arena_array(a, count + 1, sizeof(*ranges));
	size_t n = 0;
	if (ranges == NULL) {
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (items[i].record == 0) {
			continue; /* gone */
		}
		if (n > 0 && ranges[n - 1].last + 1 == items[i].uid) {
			ranges[n - 1].last = items[i].uid;
		} else {
			ranges[n++] = (struct uid_range){.first = items[i].uid, .last = items[i].uid};
		}
	}
	*ret = (struct uid_set){.ranges = ranges, .count = n};
	return n <= OPERATION_RANGES_MAX;
}

/* ---- telling of changes ---- */

enum {
	LINE_EXPUNGE_MAX = sizeof("* 4294967295 EXPUNGE\r\n"),
	LINES_ADDED_MAX = sizeof("* 4294967295 EXISTS\r\n* 4294967295 RECENT\r\n"),
};

/* From the last on, as many as go into so many bytes of output. */
static void
report_vanished(struct imap *im, size_t room)
{
	size_t count = view_gone_count(&im->view);
	size_t used = im->out.len + sizeof("* VANISHED \r\n");
	size_t first = count;
	uint32_t after = 0;
	while (first > 0) {
		uint32_t uid = view_gone_at(&im->view, first - 1);
		if (uid + 1 != after) {
			used += sizeof("4294967295:4294967295");
			if (used > room) {
				break;
			}
		}
		after = uid;
		first--;
	}
	if (first == count) {
		return;
	}
	imap_write_text(&im->w, "* VANISHED ");
	for (size_t i = first; i < count;) {
		uint32_t from = view_gone_at(&im->view, i);
		uint32_t to = from;
		for (i++; i < count && view_gone_at(&im->view, i) == to + 1; i++) {
			to++;
		}
		const struct imap_range one = {.first = from, .last = to};
		const struct imap_set set = {.ranges = &one, .count = 1};
		imap_write_set(&im->w, &set);
		imap_write_text(&im->w, i < count ? "," : "\r\n");
	}
	if (first == 0) {
		buf_clear(&im->view.gone);
	} else {
		buf_truncate(&im->view.gone, first * sizeof(uint32_t));
	}
}

/* As many as go into so many bytes of output. */
static void
report_expunges(struct imap *im, const struct fold_mailbox *box, size_t room)
{
	if (im->qresync || im->uidonly) {
		report_vanished(im, room);
		return;
	}
	size_t count = view_gone_count(&im->view);
	/* From the last, so that each number is still right when the client reads it. */
	for (; count > 0 && im->out.len + LINE_EXPUNGE_MAX <= room; count--) {
		uint32_t uid = view_gone_at(&im->view, count - 1);
		uint32_t sequence = fold_message_lower(box, uid) + (uint32_t)count;
		imap_write_untagged_number(&im->w, sequence, "EXPUNGE");
	}
	if (count == 0) {
		buf_clear(&im->view.gone);
	} else {
		buf_truncate(&im->view.gone, count * sizeof(uint32_t));
	}
}

static void
report_added(struct imap *im, const struct fold_mailbox *box)
{
	struct view *v = &im->view;
	uint32_t before = view_count(v, box);
	v->uidnext = box->uidnext;
	uint32_t now = view_count(v, box);
	if (now != before) {
		imap_write_untagged_number(&im->w, now, "EXISTS");
		if (!im->rev2) {
			imap_write_untagged_number(&im->w, 0, "RECENT");
		}
	}
}

static void
report_flags(struct imap *im, const struct fold_mailbox *box)
{
	struct view *v = &im->view;
	size_t count = v->changed.len / sizeof(struct uid_range);
	if (count == 0 || (imap_notify_of_selected(im) & IMAP_NOTICE_FLAG_CHANGE) == 0) {
		buf_clear(&v->changed);
		return;
	}
	imap_tell_keywords(im);
	struct arena arena;
	arena_init(&arena, IMAP_ARENA_MAX);
	struct imap_range *ranges = arena_array(&arena, count, sizeof(*ranges));
	if (ranges != NULL) {
		for (size_t i = 0; i < count; i++) {
			struct uid_range one;
			memcpy(&one, v->changed.ptr + i * sizeof(one), sizeof(one));
			ranges[i] = (struct imap_range){.first = one.first, .last = one.last};
		}
		count = imap_ranges_merge(ranges, count);
	} else {
		count = 0;
	}
	for (size_t r = 0; r < count; r++) {
		for (uint32_t i = fold_message_lower(box, ranges[r].first);
		     i < box->count && box->messages[i].uid <= ranges[r].last &&
		     box->messages[i].uid < v->uidnext;
		     i++) {
			const struct fold_message *m = &box->messages[i];
			struct imap_flags flags = imap_flags_of(im, &arena, m);
			imap_write_fetch_head(im, view_sequence(v, box, m->uid), m->uid);
			imap_write_format(&im->w, "UID %u", m->uid);
			if (im->condstore) {
				imap_write_format(&im->w, " MODSEQ (%llu)", (unsigned long long)m->modseq);
			}
			imap_write_text(&im->w, " FLAGS ");
			imap_write_flags(&im->w, &flags);
			imap_write_text(&im->w, ")\r\n");
		}
	}
	arena_clear(&arena);
	buf_clear(&v->changed);
}

/* Commands that take messages away say so, whatever NOTIFY asked for. */
static bool
changes_numbers(const struct imap *im)
{
	return im->command != NULL && (im->command->verb == IMAP_EXPUNGE || im->command->verb == IMAP_MOVE ||
				       im->command->verb == IMAP_REPLACE);
}

/* In IDLE that is what a client waits for; without, only who said that numbers may change at any time (RFC 5465 section 6.1). */
static bool
may_expunge_unasked(const struct imap *im)
{
	return im->idling || !imap_notify_delays_expunges(im);
}

/* The mailbox with something to tell of; NULL where there is none, or it has gone. */
static const struct fold_mailbox *
stale_mailbox(struct imap *im)
{
	if (!im->selected || !im->view.stale) {
		return NULL;
	}
	const struct fold_mailbox *box = imap_selected(im);
	if (box == NULL) {
		imap_write_status(&im->w, BYTES_EMPTY, "BYE", NULL, "The selected mailbox has gone");
		im->leaving = true;
	}
	return box;
}

void
imap_report(struct imap *im, bool expunges)
{
	const struct fold_mailbox *box = stale_mailbox(im);
	struct view *v = &im->view;
	if (box == NULL) {
		return;
	}
	if (imap_notify_of_selected(im) == 0 && !changes_numbers(im)) {
		return; /* RFC 5465 section 3.1: the client wants to hear nothing of it */
	}
	if (expunges || (imap_notify_is_on(im) && !imap_notify_delays_expunges(im))) {
		report_expunges(im, box, SIZE_MAX);
	}
	report_added(im, box);
	report_flags(im, box);
	v->stale = view_gone_count(v) > 0;
	v->news = v->own = v->added = false;
}

void
imap_report_own(struct imap *im)
{
	const struct fold_mailbox *box = im->view.own ? stale_mailbox(im) : NULL;
	struct view *v = &im->view;
	if (box == NULL) {
		return;
	}
	if (imap_notify_of_selected(im) == 0) {
		return;
	}
	if (may_expunge_unasked(im)) {
		report_expunges(im, box, SIZE_MAX);
	}
	if (!v->news || v->added) {
		report_added(im, box);
		v->news = false;
	}
	report_flags(im, box);
	v->own = v->added = false;
	v->stale = v->news || view_gone_count(v) > 0;
}

void
imap_report_beat(struct imap *im, size_t room)
{
	/* What goes beyond one record, and what her own clients did at this moment, is told by others. */
	const struct fold_mailbox *box =
	    im->view.news && !im->view.lost && imap_selected(im) != NULL ? stale_mailbox(im) : NULL;
	struct view *v = &im->view;
	if (box == NULL || room < im->out.len + LINE_EXPUNGE_MAX + LINES_ADDED_MAX ||
	    imap_notify_of_selected(im) == 0) {
		return;
	}
	if (may_expunge_unasked(im)) {
		report_expunges(im, box, room - LINES_ADDED_MAX);
	}
	report_added(im, box);
	v->news = view_gone_count(v) > 0;
	v->added = false;
	v->stale = v->news || v->own || v->changed.len > 0;
}

void
imap_deselect(struct imap *im)
{
	if (im->selected) {
		view_close(&im->view);
		buf_clear(&im->saved);
		im->selected = false;
	}
}

static bool
is_in_use(const struct fold *f, struct bytes keyword)
{
	for (size_t i = 0; i < fold_keyword_count(f); i++) {
		if (bytes_equal_nocase(fold_keyword_at(f, i), keyword)) {
			return true;
		}
	}
	return false;
}

bool
imap_keywords_fit(const struct imap *im, const struct imap_flags *flags)
{
	const struct fold *f = im->member->fold;
	size_t fresh = 0;
	if (flags->keyword_count > OPERATION_KEYWORDS_MAX) {
		return false;
	}
	for (size_t i = 0; i < flags->keyword_count; i++) {
		if (!operation_keyword_valid(flags->keywords[i])) {
			return false;
		}
		fresh += is_in_use(f, flags->keywords[i]) ? 0 : 1;
	}
	return fresh == 0 || fold_keyword_count(f) + fresh <= FOLD_KEYWORDS_MAX;
}
