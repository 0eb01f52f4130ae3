/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/imap_resync.h"

/* ---- the client's sequence match ---- */

struct walk {
	const struct imap_set *set;
	size_t range;
	uint64_t number; /* 0: at the end */
};

static struct walk
walk_begin(const struct imap_set *set)
{
	return (struct walk){.set = set, .number = set->count > 0 ? set->ranges[0].first : 0};
}

static void
walk_on(struct walk *w)
{
	if (w->number < w->set->ranges[w->range].last) {
		w->number++;
	} else {
		w->range++;
		w->number = w->range < w->set->count ? w->set->ranges[w->range].first : 0;
	}
}

uint32_t
resync_matched(const struct fold_mailbox *box, const struct imap_set *numbers, const struct imap_set *uids)
{
	struct walk number = walk_begin(numbers);
	struct walk uid = walk_begin(uids);
	uint32_t matched = 0;
	while (number.number != 0 && uid.number != 0 && number.number <= box->count &&
	       box->messages[number.number - 1].uid == uid.number) {
		matched = (uint32_t)uid.number;
		walk_on(&number);
		walk_on(&uid);
	}
	return matched;
}

/* ---- what has gone ---- */

struct ranges {
	struct arena *arena;
	struct imap_range *list;
	size_t count;
	size_t cap;
};

static enum err
add(struct ranges *r, uint32_t first, uint32_t last)
{
	if (r->count == r->cap) {
		size_t more = r->cap == 0 ? 64 : r->cap * 2;
		struct imap_range *list = arena_array(r->arena, more, sizeof(*list));
		if (list == NULL) {
			return ERR_MEMORY;
		}
		for (size_t i = 0; i < r->count; i++) {
			list[i] = r->list[i];
		}
		r->list = list;
		r->cap = more;
	}
	r->list[r->count++] = (struct imap_range){.first = first, .last = last};
	return ERR_OK;
}

/* The part of first .. last that is in the set. */
static enum err
add_within(struct ranges *r, const struct imap_set *set, uint32_t first, uint32_t last)
{
	size_t low = 0;
	size_t high = set->count;
	while (low < high) { /* the first range that does not end before it */
		size_t middle = low + (high - low) / 2;
		if (set->ranges[middle].last < first) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	enum err e = ERR_OK;
	for (; low < set->count && set->ranges[low].first <= last && e == ERR_OK; low++) {
		uint32_t from = set->ranges[low].first > first ? set->ranges[low].first : first;
		uint32_t to = set->ranges[low].last < last ? set->ranges[low].last : last;
		e = add(r, from, to);
	}
	return e;
}

/* Each gap between the messages above `above` and below UIDNEXT. */
static enum err
add_missing(struct ranges *r, const struct fold_mailbox *box, const struct imap_set *uids, uint32_t above)
{
	enum err e = ERR_OK;
	uint32_t next = above + 1;
	for (uint32_t i = fold_message_lower(box, next); i < box->count && e == ERR_OK; i++) {
		uint32_t uid = box->messages[i].uid;
		if (uid > next) {
			e = add_within(r, uids, next, uid - 1);
		}
		next = uid + 1;
	}
	if (e == ERR_OK && next < box->uidnext) {
		e = add_within(r, uids, next, box->uidnext - 1);
	}
	return e;
}

enum err
resync_vanished(struct arena *a, const struct fold_mailbox *box, uint64_t since, const struct imap_set *uids,
		uint32_t above, struct imap_set *ret_vanished)
{
	struct ranges r = {.arena = a};
	size_t at = 0;
	enum err e = ERR_OK;
	if (!fold_tombstones_since(box, since, &at)) {
		e = add_missing(&r, box, uids, above);
	} else {
		for (; at < box->tombstone_count && e == ERR_OK; at++) {
			e = add_within(&r, uids, box->tombstones[at].first, box->tombstones[at].last);
		}
	}
	if (e == ERR_OK) {
		r.count = imap_ranges_merge(r.list, r.count);
		*ret_vanished = (struct imap_set){.ranges = r.list, .count = r.count};
	}
	return e;
}

/* ---- what was changed ---- */

enum err
resync_changed(struct arena *a, const struct fold_mailbox *box, uint64_t since, const struct imap_set *uids,
	       uint32_t **ret_uids, size_t *ret_count)
{
	size_t count = 0;
	/* Twice over what is in memory in one piece: 100,000 messages take some tenths of a millisecond. */
	for (uint32_t i = 0; i < box->count && since < box->highest_modseq; i++) {
		count += box->messages[i].modseq > since ? 1 : 0;
	}
	uint32_t *list = arena_array(a, count + 1, sizeof(*list));
	if (list == NULL) {
		return ERR_MEMORY;
	}
	size_t kept = 0;
	for (uint32_t i = 0; i < box->count && count > 0; i++) {
		if (box->messages[i].modseq > since) {
			count--;
			if (imap_set_contains(uids, box->messages[i].uid)) {
				list[kept++] = box->messages[i].uid;
			}
		}
	}
	*ret_uids = list;
	*ret_count = kept;
	return ERR_OK;
}
