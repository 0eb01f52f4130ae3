/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/view.h"

#include <stdlib.h>
#include <string.h>

#include "session/conn.h"
#include "session/member_internal.h"

size_t
view_gone_count(const struct view *v)
{
	return v->gone.len / sizeof(uint32_t);
}

uint32_t
view_gone_at(const struct view *v, size_t i)
{
	uint32_t uid;
	memcpy(&uid, v->gone.ptr + i * sizeof(uid), sizeof(uid));
	return uid;
}

void
view_open(struct view *v, struct member *m, struct conn *c, const struct fold_mailbox *box, bool read_only)
{
	*v = (struct view){.next = m->views,
			   .member = m,
			   .conn = c,
			   .mailbox = box->id,
			   .uidnext = box->uidnext,
			   .read_only = read_only};
	buf_init(&v->gone, VIEW_GONE_MAX);
	buf_init(&v->changed, VIEW_CHANGED_MAX);
	m->views = v;
}

void
view_close(struct view *v)
{
	if (v->member == NULL) {
		return;
	}
	struct view **at = &v->member->views;
	while (*at != v) {
		at = &(*at)->next;
	}
	*at = v->next;
	buf_clear(&v->gone);
	buf_clear(&v->changed);
	v->member = NULL;
}

/* Gone UIDs below this one. */
static uint32_t
gone_below(const struct view *v, uint32_t uid)
{
	size_t low = 0;
	size_t high = view_gone_count(v);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (view_gone_at(v, middle) < uid) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return (uint32_t)low;
}

bool
view_is_gone(const struct view *v, uint32_t uid)
{
	uint32_t i = gone_below(v, uid);
	return i < view_gone_count(v) && view_gone_at(v, i) == uid;
}

uint32_t
view_count(const struct view *v, const struct fold_mailbox *box)
{
	return fold_message_lower(box, v->uidnext) + (uint32_t)view_gone_count(v);
}

uint32_t
view_last_uid(const struct view *v, const struct fold_mailbox *box)
{
	uint32_t there = fold_message_lower(box, v->uidnext);
	uint32_t last = there == 0 ? 0 : box->messages[there - 1].uid;
	size_t gone = view_gone_count(v);
	return gone > 0 && view_gone_at(v, gone - 1) > last ? view_gone_at(v, gone - 1) : last;
}

uint32_t
view_sequence(const struct view *v, const struct fold_mailbox *box, uint32_t uid)
{
	return fold_message_lower(box, uid) + gone_below(v, uid) + 1;
}

uint32_t
view_uid(const struct view *v, const struct fold_mailbox *box, uint32_t sequence)
{
	uint32_t there = fold_message_lower(box, v->uidnext);
	uint32_t gone = (uint32_t)view_gone_count(v);
	if (sequence == 0 || sequence > there + gone) {
		return 0;
	}
	if (gone == 0) {
		return box->messages[sequence - 1].uid;
	}
	/* How many of the messages that are there stand before it: the most whose own place is not behind it. */
	uint32_t low = 0;
	uint32_t high = there;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint32_t place = middle + gone_below(v, box->messages[middle].uid) + 1;
		if (place < sequence) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low < there && low + gone_below(v, box->messages[low].uid) + 1 == sequence) {
		return box->messages[low].uid;
	}
	return view_gone_at(v, sequence - 1 - low);
}

/* ---- changes ---- */

static int
by_number(const void *left, const void *right)
{
	uint32_t a;
	uint32_t b;
	memcpy(&a, left, sizeof(a));
	memcpy(&b, right, sizeof(b));
	return a < b ? -1 : a > b ? 1 : 0;
}

static enum err
note_gone(struct view *v, struct uid_set uids)
{
	uint32_t last = view_gone_count(v) > 0 ? view_gone_at(v, view_gone_count(v) - 1) : 0;
	bool sorted = true;
	for (size_t i = 0; i < uids.count; i++) {
		for (uint64_t uid = uids.ranges[i].first; uid <= uids.ranges[i].last && uid < v->uidnext;
		     uid++) {
			uint32_t one = (uint32_t)uid;
			enum err e = buf_append(&v->gone, bytes_of(&one, sizeof(one)));
			if (e != ERR_OK) {
				return e;
			}
			sorted = sorted && one > last;
			last = one;
		}
	}
	if (!sorted) {
		qsort(v->gone.ptr, view_gone_count(v), sizeof(uint32_t), by_number);
	}
	return ERR_OK;
}

static enum err
note_flags(struct view *v, struct uid_set uids)
{
	if (v->mute && v->member->author == v->conn) {
		return ERR_OK;
	}
	if (v->changed.len + uids.count * sizeof(*uids.ranges) > VIEW_CHANGED_MAX) {
		/* Too many single ones to remember: all are told. */
		struct uid_range all = {.first = 1, .last = UINT32_MAX};
		buf_reset(&v->changed);
		return buf_append(&v->changed, bytes_of(&all, sizeof(all)));
	}
	return buf_append(&v->changed, bytes_of(uids.ranges, uids.count * sizeof(*uids.ranges)));
}

static void
tell(struct view *v, bool added)
{
	v->stale = true;
	if (v->member->author == NULL && !v->lost) {
		v->news = true;
	} else {
		v->own = true;
		v->added = v->added || added;
	}
	if (v->idle && (v->own || !v->paced)) {
		conn_wake(v->conn);
	}
}

void
member_watch(struct member *m, struct member_watcher *w)
{
	w->next = m->watchers;
	m->watchers = w;
}

void
member_unwatch(struct member *m, struct member_watcher *w)
{
	struct member_watcher **at = &m->watchers;
	while (*at != w) {
		at = &(*at)->next;
	}
	*at = w->next;
}

static void
tell_watchers(struct member *m, const struct fold_change *change)
{
	struct member_watcher *next = NULL;
	for (struct member_watcher *w = m->watchers; w != NULL; w = next) {
		next = w->next;
		w->fn(w->arg, change);
	}
}

void
views_on_change(void *arg, const struct fold_change *change)
{
	struct member *m = arg;
	struct view *next = NULL;
	for (struct view *v = m->views; v != NULL; v = next) {
		next = v->next;
		bool all = change->kind == FOLD_CHANGE_RESTORED; /* another UIDVALIDITY */
		if ((v->mailbox != change->mailbox && !all) || v->lost) {
			continue;
		}
		enum err e = ERR_OK;
		if (change->kind == FOLD_CHANGE_EXPUNGED) {
			e = note_gone(v, change->uids);
		} else if (change->kind == FOLD_CHANGE_FLAGS) {
			e = note_flags(v, change->uids);
		} else if (change->kind == FOLD_CHANGE_MAILBOX_DELETED || all) {
			v->lost = true;
		} else if (change->kind != FOLD_CHANGE_ADDED) {
			continue;
		}
		v->lost = v->lost || e != ERR_OK;
		tell(v, change->kind == FOLD_CHANGE_ADDED);
	}
	tell_watchers(m, change);
}

void
views_lost(struct member *m)
{
	struct view *next = NULL;
	for (struct view *v = m->views; v != NULL; v = next) {
		next = v->next;
		v->lost = true;
		conn_wake(v->conn);
	}
	tell_watchers(m, NULL);
}
