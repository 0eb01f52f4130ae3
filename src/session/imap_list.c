/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* LIST and LSUB (RFC 3501, RFC 5258, RFC 5819, RFC 6154, RFC 3348). */
#include <string.h>

#include "protocol/imap_mailbox_name.h"
#include "session/imap.h"

/* ---- names ---- */

typedef struct bytes name_at_fn(const struct fold *f, size_t i);

static struct bytes
mailbox_name_at(const struct fold *f, size_t i)
{
	return fold_mailbox_at(f, i)->name;
}

/*
 * Names stand in the order of their octets. The first that is not before this one, or (below) not before its children: they stand
 * together, but not next to it.
 */
static size_t
find_name(const struct fold *f, name_at_fn *at, size_t count, struct bytes name, bool below)
{
	size_t low = 0;
	size_t high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct bytes other = at(f, middle);
		size_t n = other.len < name.len ? other.len : name.len;
		int order = n == 0 ? 0 : memcmp(other.ptr, name.ptr, n);
		bool before = order < 0 || (order == 0 && other.len < name.len);
		if (order == 0 && below && !before) {
			before = other.len == name.len || other.ptr[name.len] < IMAP_DELIMITER;
		}
		if (before) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

static bool
is_below(struct bytes name, struct bytes parent)
{
	return name.len > parent.len && name.ptr[parent.len] == IMAP_DELIMITER &&
	       bytes_equal(bytes_slice(name, 0, parent.len), parent);
}

static bool
has_below(const struct fold *f, name_at_fn *at, size_t count, struct bytes name)
{
	size_t i = find_name(f, at, count, name, true);
	return i < count && is_below(at(f, i), name);
}

/* The uses that RFC 6154 names. */
static uint32_t
imap_uses(const struct fold_mailbox *box)
{
	return box->special_use & (IMAP_USE_OTHER - 1);
}

static bool
has_use_below(const struct fold *f, struct bytes name)
{
	size_t count = fold_mailbox_count(f);
	for (size_t i = find_name(f, mailbox_name_at, count, name, true);
	     i < count && is_below(fold_mailbox_at(f, i)->name, name); i++) {
		if (imap_uses(fold_mailbox_at(f, i)) != 0) {
			return true;
		}
	}
	return false;
}

/* ---- one response ---- */

struct entry {
	struct bytes name;
	const struct fold_mailbox *box; /* NULL: none of this name */
	bool subscribed;
	uint32_t children; /* enum imap_list_select: fulfilled by names below it */
};

static void
write_attributes(struct imap *im, const struct entry *e, const char *absent, bool subscribed)
{
	struct fold *f = im->member->fold;
	imap_write_text(&im->w, e->box == NULL ? absent : "");
	imap_write_text(&im->w, e->box == NULL ? " " : "");
	imap_write_text(&im->w, has_below(f, mailbox_name_at, fold_mailbox_count(f), e->name)
				    ? "\\HasChildren"
				    : "\\HasNoChildren");
	if (subscribed) {
		imap_write_text(&im->w, " \\Subscribed");
	}
	if (e->box != NULL && imap_uses(e->box) != 0) {
		imap_write_text(&im->w, " ");
		imap_write_uses(&im->w, imap_uses(e->box));
	}
}

bool
imap_name_is_wire(const struct imap *im, struct bytes name, struct bytes wire)
{
	struct buf own = BUF_INIT(IMAP_NAME_OUT_MAX);
	bool same =
	    imap_mailbox_to_wire(&own, name, im->utf8) == ERR_OK && bytes_equal(wire, buf_bytes(&own));
	buf_wipe(&own);
	return same;
}

void
imap_write_list(struct imap *im, struct bytes name, struct bytes wire)
{
	struct fold *f = im->member->fold;
	struct entry e = {.name = name, .box = fold_mailbox_by_name(f, name)};
	imap_write_text(&im->w, "* LIST (");
	write_attributes(im, &e, "\\NonExistent", fold_subscribed(f, name));
	imap_write_text(&im->w, ") \"/\" ");
	imap_write_mailbox(&im->w, name);
	if (wire.ptr != NULL && !imap_name_is_wire(im, name, wire)) {
		imap_write_text(&im->w, " (\"OLDNAME\" (");
		imap_write_string(&im->w, wire);
		imap_write_text(&im->w, "))");
	}
	imap_write_crlf(&im->w);
}

/* ---- many ---- */

struct listing {
	struct imap *im;
	bool lsub;
	bool extended; /* or IMAP4rev2: names that are none are \NonExistent */
	uint32_t select;
	uint32_t returns;
	struct buf *patterns;
	size_t pattern_count;
	struct buf before; /* the name that was dealt with last */
	size_t seen;
	struct bytes *entries; /* of METADATA */
};

static bool
matches(const struct listing *l, struct bytes name)
{
	for (size_t i = 0; i < l->pattern_count; i++) {
		if (imap_name_matches(l->im, buf_bytes(&l->patterns[i]), name)) {
			return true;
		}
	}
	return false;
}

static void
write_one(struct listing *l, const struct entry *e, bool fits)
{
	struct imap_writer *w = &l->im->w;
	if (l->lsub) {
		/* RFC 3501 section 6.3.9: what is above a subscribed name, and none itself, is \Noselect. */
		imap_write_text(w, e->subscribed && e->box != NULL ? "* LSUB (" : "* LSUB (\\Noselect");
	} else {
		bool told = ((l->returns & IMAP_LIST_RETURN_SUBSCRIBED) != 0 ||
			     (l->select & IMAP_LIST_SUBSCRIBED) != 0) &&
			    e->subscribed;
		imap_write_text(w, "* LIST (");
		write_attributes(l->im, e, l->extended ? "\\NonExistent" : "\\Noselect", told);
	}
	imap_write_text(w, ") \"/\" ");
	imap_write_mailbox(w, e->name);
	if (e->children != 0) {
		/* RFC 5258 section 3.5. */
		imap_write_text(w, " (\"CHILDINFO\" (");
		imap_write_text(w, (e->children & IMAP_LIST_SUBSCRIBED) != 0 ? "\"SUBSCRIBED\"" : "");
		imap_write_text(w, e->children == (IMAP_LIST_SUBSCRIBED | IMAP_LIST_SPECIAL_USE) ? " " : "");
		imap_write_text(w, (e->children & IMAP_LIST_SPECIAL_USE) != 0 ? "\"SPECIAL-USE\"" : "");
		imap_write_text(w, "))");
	}
	imap_write_crlf(w);
	if ((l->returns & IMAP_LIST_RETURN_STATUS) != 0 && e->box != NULL && fits) {
		imap_write_status_of(l->im, e->box, l->im->command->list.status);
	}
	if ((l->returns & IMAP_LIST_RETURN_METADATA) != 0 && e->box != NULL && fits) {
		imap_write_metadata_of(l->im, e->box, &l->im->command->list.metadata, l->entries);
	}
}

/* What RECURSIVEMATCH asks of the names below. */
static uint32_t
children_of(const struct listing *l, const struct entry *e)
{
	struct fold *f = l->im->member->fold;
	uint32_t found = 0;
	if ((l->select & IMAP_LIST_RECURSIVEMATCH) == 0) {
		return 0;
	}
	if ((l->select & IMAP_LIST_SUBSCRIBED) != 0 &&
	    has_below(f, fold_subscription_at, fold_subscription_count(f), e->name)) {
		found |= IMAP_LIST_SUBSCRIBED;
	}
	if ((l->select & IMAP_LIST_SPECIAL_USE) != 0 && has_use_below(f, e->name)) {
		found |= IMAP_LIST_SPECIAL_USE;
	}
	return found;
}

static void
consider(struct listing *l, struct bytes name)
{
	struct fold *f = l->im->member->fold;
	if (!matches(l, name)) {
		return;
	}
	struct entry e = {
	    .name = name, .box = fold_mailbox_by_name(f, name), .subscribed = fold_subscribed(f, name)};
	if (e.box != NULL && member_journal_hidden(l->im->member, e.box)) {
		return;
	}
	bool fits = ((l->select & IMAP_LIST_SUBSCRIBED) == 0 || e.subscribed) &&
		    ((l->select & IMAP_LIST_SPECIAL_USE) == 0 || (e.box != NULL && imap_uses(e.box) != 0));
	e.children = children_of(l, &e);
	if (fits || e.children != 0) {
		write_one(l, &e, fits);
	}
}

/*
 * The levels above a name that are not in the list themselves: each once, with the first name below it.
 */
static void
consider_ancestors(struct listing *l, struct bytes name, bool subscriptions)
{
	struct fold *f = l->im->member->fold;
	struct bytes before = buf_bytes(&l->before);
	for (size_t i = 1; i + 1 < name.len; i++) {
		if (name.ptr[i] != IMAP_DELIMITER) {
			continue;
		}
		struct bytes above = bytes_slice(name, 0, i);
		bool itself =
		    subscriptions ? fold_subscribed(f, above) : fold_mailbox_by_name(f, above) != NULL;
		if (!itself && !is_below(before, above)) {
			consider(l, above);
		}
	}
}

/* Sending may suspend, and the names be others then: what comes next is found by the name before it. */
static enum err
list_all(struct listing *l, bool subscriptions)
{
	enum err e = ERR_OK;
	while (e == ERR_OK) {
		struct fold *f = l->im->member->fold;
		name_at_fn *at = subscriptions ? fold_subscription_at : mailbox_name_at;
		size_t count = subscriptions ? fold_subscription_count(f) : fold_mailbox_count(f);
		struct bytes before = buf_bytes(&l->before);
		size_t i = find_name(f, at, count, before, false);
		if (i < count && l->seen > 0 && bytes_equal(at(f, i), before)) {
			i++;
		}
		for (; i < count && e == ERR_OK; i++) {
			struct bytes name = at(f, i);
			bool hidden =
			    !subscriptions && member_journal_hidden(l->im->member, fold_mailbox_at(f, i));
			if (!hidden) {
				consider_ancestors(l, name, subscriptions);
				consider(l, name);
			}
			buf_reset(&l->before);
			e = buf_append(&l->before, name);
			if (++l->seen % 256 == 0 || l->im->out.len >= IMAP_OUT_FLUSH) {
				break;
			}
		}
		if (i >= count) {
			break;
		}
		if (e == ERR_OK) {
			e = imap_flush(l->im, false);
		}
		if (e == ERR_OK) {
			e = imap_progress(l->im, l->seen, count);
		}
		if (e == ERR_OK && !l->im->member->loaded) {
			e = ERR_AGAIN;
		}
	}
	return e;
}

void
imap_do_list(struct imap *im)
{
	const struct imap_command *c = im->command;
	struct listing l = {.im = im,
			    .lsub = c->verb == IMAP_LSUB,
			    .select = c->list.select,
			    .returns = c->list.returns,
			    .extended = c->list.extended || im->rev2,
			    .before = BUF_INIT(IMAP_NAME_OUT_MAX)};
	if (!c->list.extended && c->list.pattern_count == 1 && c->list.patterns[0].len == 0) {
		/* RFC 3501 6.3.8: asks for the delimiter. */
		imap_write_text(&im->w, l.lsub ? "* LSUB (\\Noselect) \"/\" \"\"\r\n"
					       : "* LIST (\\Noselect) \"/\" \"\"\r\n");
		imap_ok(im, NULL, "Done");
		return;
	}
	l.patterns = arena_array(im->arena, c->list.pattern_count, sizeof(*l.patterns));
	if (l.patterns == NULL) {
		imap_fail(im, ERR_MEMORY);
		return;
	}
	if ((l.returns & IMAP_LIST_RETURN_METADATA) != 0 &&
	    !imap_metadata_names(im, &c->list.metadata, &l.entries)) {
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
	enum err e = list_all(&l, l.lsub || (l.select & IMAP_LIST_SUBSCRIBED) != 0);
	buf_wipe(&l.before);
	for (size_t i = 0; i < l.pattern_count; i++) {
		buf_wipe(&l.patterns[i]);
	}
	if (e != ERR_OK) {
		if (im->w.error == ERR_OK && !conn_is_closed(im->conn)) {
			imap_fail(im, e);
		}
		return;
	}
	imap_report(im, true);
	imap_ok(im, NULL, "Done");
}
