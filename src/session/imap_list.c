/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* LIST and LSUB (RFC 3501, RFC 5258, RFC 5819, RFC 6154, RFC 3348). */
#include <string.h>

#include "protocol/imap_mailbox_name.h"
#include "session/imap.h"

struct listing {
	struct imap *im;
	bool lsub;
	uint32_t select;
	uint32_t returns;
	struct buf patterns[16];
	size_t pattern_count;
};

static bool
matches(const struct listing *l, struct bytes name)
{
	for (size_t i = 0; i < l->pattern_count; i++) {
		if (imap_pattern_match(buf_bytes(&l->patterns[i]), name)) {
			return true;
		}
	}
	return false;
}

/* Mailboxes stand in the order of their names' octets. */
static bool
has_children(const struct fold *f, struct bytes name)
{
	size_t low = 0;
	size_t high = fold_mailbox_count(f);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct bytes other = fold_mailbox_at(f, middle)->name;
		size_t n = other.len < name.len ? other.len : name.len;
		int order = n == 0 ? 0 : memcmp(other.ptr, name.ptr, n);
		bool before =
		    order < 0 || (order == 0 && (other.len <= name.len || other.ptr[name.len] < '/'));
		if (before) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == fold_mailbox_count(f)) {
		return false;
	}
	struct bytes next = fold_mailbox_at(f, low)->name;
	return next.len > name.len && next.ptr[name.len] == '/' &&
	       bytes_equal(bytes_slice(next, 0, name.len), name);
}

/* The uses that RFC 6154 names. */
static uint32_t
imap_uses(const struct fold_mailbox *box)
{
	return box->special_use & (IMAP_USE_OTHER - 1);
}

static void
write_one(struct listing *l, struct bytes name, const struct fold_mailbox *box, bool subscribed)
{
	struct imap_writer *w = &l->im->w;
	struct fold *f = l->im->member->fold;
	imap_write_text(w, l->lsub ? "* LSUB (" : "* LIST (");
	const char *space = "";
	if (box == NULL) {
		bool nonexistent = (l->select & IMAP_LIST_SUBSCRIBED) != 0 && subscribed;
		imap_write_text(w, nonexistent ? "\\NonExistent" : "\\Noselect");
		space = " ";
	}
	if (!l->lsub) {
		imap_write_text(w, space);
		imap_write_text(w, has_children(f, name) ? "\\HasChildren" : "\\HasNoChildren");
		space = " ";
		if (((l->returns & IMAP_LIST_RETURN_SUBSCRIBED) != 0 ||
		     (l->select & IMAP_LIST_SUBSCRIBED) != 0) &&
		    subscribed) {
			imap_write_text(w, " \\Subscribed");
		}
		if (box != NULL && imap_uses(box) != 0) {
			imap_write_text(w, " ");
			imap_write_uses(w, imap_uses(box));
		}
	}
	imap_write_text(w, ") \"/\" ");
	imap_write_mailbox(w, name);
	imap_write_crlf(w);
	if ((l->returns & IMAP_LIST_RETURN_STATUS) != 0 && box != NULL) {
		imap_write_status_of(l->im, box, l->im->command->list.status);
	}
}

/*
 * The levels above a name that are no mailboxes themselves: listed once, with the first name below them. `before` is the
 * name that came before this one in the order.
 */
static void
write_ancestors(struct listing *l, struct bytes name, struct bytes before, bool subscriptions)
{
	struct fold *f = l->im->member->fold;
	for (size_t i = 1; i + 1 < name.len; i++) {
		if (name.ptr[i] != '/') {
			continue;
		}
		struct bytes above = bytes_slice(name, 0, i);
		bool done =
		    before.len > i && before.ptr[i] == '/' && bytes_equal(bytes_slice(before, 0, i), above);
		bool itself =
		    subscriptions ? fold_subscribed(f, above) : fold_mailbox_by_name(f, above) != NULL;
		if (!done && !itself && matches(l, above)) {
			write_one(l, above, subscriptions && !l->lsub ? fold_mailbox_by_name(f, above) : NULL,
				  false);
		}
	}
}

static enum err
list_mailboxes(struct listing *l)
{
	struct fold *f = l->im->member->fold;
	struct bytes before = BYTES_EMPTY;
	for (size_t i = 0; i < fold_mailbox_count(f); i++) {
		const struct fold_mailbox *box = fold_mailbox_at(f, i);
		bool special = (l->select & IMAP_LIST_SPECIAL_USE) != 0;
		if (!special) {
			write_ancestors(l, box->name, before, false);
		}
		if (matches(l, box->name) && !member_journal_hidden(l->im->member, box) &&
		    (!special || imap_uses(box) != 0)) {
			write_one(l, box->name, box, fold_subscribed(f, box->name));
		}
		before = box->name;
	}
	return l->im->w.error;
}

static enum err
list_subscriptions(struct listing *l)
{
	struct fold *f = l->im->member->fold;
	struct bytes before = BYTES_EMPTY;
	bool ancestors = l->lsub || (l->select & IMAP_LIST_RECURSIVEMATCH) != 0;
	for (size_t i = 0; i < fold_subscription_count(f); i++) {
		struct bytes name = fold_subscription_at(f, i);
		const struct fold_mailbox *box = fold_mailbox_by_name(f, name);
		if (ancestors) {
			write_ancestors(l, name, before, true);
		}
		if (matches(l, name) &&
		    ((l->select & IMAP_LIST_SPECIAL_USE) == 0 || (box != NULL && imap_uses(box) != 0))) {
			write_one(l, name, box, true);
		}
		before = name;
	}
	return l->im->w.error;
}

void
imap_do_list(struct imap *im)
{
	const struct imap_command *c = im->command;
	struct listing l = {.im = im,
			    .lsub = c->verb == IMAP_LSUB,
			    .select = c->list.select,
			    .returns = c->list.returns,
			    .pattern_count = 0};
	if (!c->list.extended && c->list.pattern_count == 1 && c->list.patterns[0].len == 0) {
		/* RFC 3501 6.3.8: asks for the delimiter. */
		imap_write_text(&im->w, l.lsub ? "* LSUB (\\Noselect) \"/\" \"\"\r\n"
					       : "* LIST (\\Noselect) \"/\" \"\"\r\n");
		imap_ok(im, NULL, "Done");
		return;
	}
	if (c->list.pattern_count > sizeof(l.patterns) / sizeof(l.patterns[0])) {
		imap_fail(im, ERR_LIMIT);
		return;
	}
	for (size_t i = 0; i < c->list.pattern_count; i++) {
		struct buf *p = &l.patterns[l.pattern_count];
		buf_init(p, IMAP_NAME_OUT_MAX);
		/* A pattern that cannot be decoded matches nothing. */
		if (imap_pattern_from_wire(p, c->mailbox, c->list.patterns[i], im->utf8) == ERR_OK) {
			l.pattern_count++;
		} else {
			buf_clear(p);
		}
	}
	enum err e =
	    l.lsub || (l.select & IMAP_LIST_SUBSCRIBED) != 0 ? list_subscriptions(&l) : list_mailboxes(&l);
	for (size_t i = 0; i < l.pattern_count; i++) {
		buf_wipe(&l.patterns[i]);
	}
	imap_report(im, true);
	if (e == ERR_OK) {
		imap_ok(im, NULL, "Done");
	}
}
