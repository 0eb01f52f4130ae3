/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* NOTIFY (RFC 5465). */
#include "session/imap_notify.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/imap_mailbox_name.h"
#include "session/beat.h"

enum {
	GROUPS_BYTES_MAX = 1 << 20,
	BOXES_MAX =
	    1000, /* mailboxes with something to tell: beyond, it is all given up (RFC 5465 section 5.8) */
	NAMES_MAX = 128 << 10, /* octets of names with something to tell */
	FRESH_MAX = 10000,     /* new messages whose data items are to be told */
	MESSAGE_EVENTS = IMAP_NOTICE_MESSAGE_NEW | IMAP_NOTICE_MESSAGE_EXPUNGE | IMAP_NOTICE_FLAG_CHANGE,
};

/* A mailbox with something to tell. */
struct dirty {
	uint32_t mailbox;
	uint32_t events;
	bool news; /* the house brought some of it */
	bool own;  /* her own clients did */
};

/* A name with something to tell, in imap_notify.names: this, then the name, then the old name or the entry. */
struct told_name {
	uint32_t event; /* MAILBOX_NAME, SUBSCRIPTION_CHANGE, MAILBOX_METADATA, SERVER_METADATA */
	uint32_t len;
	uint32_t more_len;
	bool news;
};

struct imap_notify {
	struct imap *im;
	struct member_watcher watcher;
	struct arena arena; /* groups, their names (in the house's form) and items */
	struct imap_notify_group *groups;
	size_t count; /* 0: NONE */
	const struct imap_notify_group *selected;
	bool overflow;
	struct buf dirty; /* struct dirty */
	struct buf names;
	struct buf
	    fresh; /* uint32_t, ascending: UIDs of the selected mailbox, told of by EXISTS or not yet */
	uint64_t renamed_n; /* the record that renamed this one, and with it those below: */
	struct buf renamed;
};

/* ---- what is asked ---- */

bool
imap_notify_is_on(const struct imap *im)
{
	return im->notify != NULL && im->notify->count > 0;
}

uint32_t
imap_notify_of_selected(const struct imap *im)
{
	if (im->notify == NULL) {
		return MESSAGE_EVENTS;
	}
	return im->notify->selected != NULL ? im->notify->selected->events & MESSAGE_EVENTS : 0;
}

bool
imap_notify_delays_expunges(const struct imap *im)
{
	return im->notify == NULL || im->notify->selected == NULL ||
	       im->notify->selected->filter == IMAP_NOTIFY_SELECTED_DELAYED;
}

void
imap_notify_set_view(struct imap *im)
{
	im->view.idle =
	    im->selected && (im->idling || imap_notify_is_on(im)) && imap_notify_of_selected(im) != 0;
	im->view.paced = beat_is_on(im->conn->worker);
}

static bool
is_below(struct bytes name, struct bytes parent)
{
	return name.len > parent.len && name.ptr[parent.len] == IMAP_DELIMITER &&
	       bytes_equal(bytes_slice(name, 0, parent.len), parent);
}

static bool
names_it(const struct imap *im, const struct imap_notify_group *g, struct bytes name)
{
	switch (g->filter) {
	case IMAP_NOTIFY_SELECTED:
	case IMAP_NOTIFY_SELECTED_DELAYED:
		return false;
	case IMAP_NOTIFY_INBOXES: /* rules may file into any: RFC 5465 section 6.3 */
	case IMAP_NOTIFY_PERSONAL:
		return true;
	case IMAP_NOTIFY_SUBSCRIBED:
		return fold_subscribed(im->member->fold, name);
	case IMAP_NOTIFY_SUBTREE:
	case IMAP_NOTIFY_MAILBOXES:
		break;
	}
	for (size_t i = 0; i < g->name_count; i++) {
		if (bytes_equal(g->names[i], name) ||
		    (g->filter == IMAP_NOTIFY_SUBTREE && is_below(name, g->names[i]))) {
			return true;
		}
	}
	return false;
}

/* Which of these events are asked for, of this mailbox. */
static uint32_t
asked(const struct imap_notify *n, struct bytes name, uint32_t events)
{
	uint32_t found = 0;
	for (size_t i = 0; i < n->count; i++) {
		if ((n->groups[i].events & events & ~found) != 0 && names_it(n->im, &n->groups[i], name)) {
			found |= n->groups[i].events & events;
		}
	}
	return found;
}

/* ---- what happens ---- */

static void
give_up(struct imap_notify *n)
{
	n->overflow = true;
	buf_wipe(&n->dirty);
	buf_wipe(&n->names);
	buf_wipe(&n->fresh);
}

static void
note_mailbox(struct imap_notify *n, const struct fold_mailbox *box, uint32_t event, bool news)
{
	if (member_journal_hidden(n->im->member, box) || asked(n, box->name, event) == 0) {
		return;
	}
	struct dirty one;
	for (size_t at = 0; at < n->dirty.len; at += sizeof(one)) {
		memcpy(&one, n->dirty.ptr + at, sizeof(one));
		if (one.mailbox == box->id) {
			one.events |= event;
			one.news = one.news || news;
			one.own = one.own || !news;
			memcpy(n->dirty.ptr + at, &one, sizeof(one));
			return;
		}
	}
	memset(&one, 0, sizeof(one));
	one.mailbox = box->id;
	one.events = event;
	one.news = news;
	one.own = !news;
	if (buf_append(&n->dirty, bytes_of(&one, sizeof(one))) != ERR_OK) {
		give_up(n);
	}
}

static void
note_name(struct imap_notify *n, uint32_t event, struct bytes name, struct bytes more, bool news)
{
	struct told_name one;
	memset(&one, 0, sizeof(one));
	one.event = event;
	one.len = (uint32_t)name.len;
	one.more_len = (uint32_t)more.len;
	one.news = news;
	enum err e = buf_append(&n->names, bytes_of(&one, sizeof(one)));
	if (e == ERR_OK) {
		e = buf_append(&n->names, name);
	}
	if (e == ERR_OK) {
		e = buf_append(&n->names, more);
	}
	if (e != ERR_OK) {
		give_up(n);
	}
}

static void
note_name_if_asked(struct imap_notify *n, uint32_t event, struct bytes name, struct bytes old, bool news)
{
	if (asked(n, name, event) != 0 || (old.len > 0 && asked(n, old, event) != 0)) {
		note_name(n, event, name, old, news);
	}
}

/* A name came or went: it, and the one right above it (RFC 5465 section 5.4). */
static void
note_tree(struct imap_notify *n, struct bytes name, bool news)
{
	size_t end = name.len;
	note_name_if_asked(n, IMAP_NOTICE_MAILBOX_NAME, name, BYTES_EMPTY, news);
	while (end > 0 && name.ptr[end - 1] != IMAP_DELIMITER) {
		end--;
	}
	if (end > 1) {
		note_name_if_asked(n, IMAP_NOTICE_MAILBOX_NAME, bytes_slice(name, 0, end - 1), BYTES_EMPTY,
				   news);
	}
}

static void
note_renamed(struct imap_notify *n, const struct fold_change *change, struct bytes name, bool news)
{
	if (n->renamed_n == change->n && is_below(change->name, buf_bytes(&n->renamed))) {
		return; /* it went with the one above it */
	}
	n->renamed_n = change->n;
	buf_reset(&n->renamed);
	if (buf_append(&n->renamed, change->name) != ERR_OK) {
		give_up(n);
		return;
	}
	note_name_if_asked(n, IMAP_NOTICE_MAILBOX_NAME, name, change->name, news);
}

static void
note_annotation(struct imap_notify *n, const struct fold_change *change, const struct fold_mailbox *box,
		bool news)
{
	if (change->mailbox != 0) {
		if (box != NULL && asked(n, box->name, IMAP_NOTICE_MAILBOX_METADATA) != 0) {
			note_name(n, IMAP_NOTICE_MAILBOX_METADATA, box->name, change->name, news);
		}
		return;
	}
	for (size_t i = 0; i < n->count; i++) {
		if ((n->groups[i].events & IMAP_NOTICE_SERVER_METADATA) != 0) {
			note_name(n, IMAP_NOTICE_SERVER_METADATA, BYTES_EMPTY, change->name, news);
			return;
		}
	}
}

/* New messages of the selected mailbox, whose data items are asked for. */
static void
note_fresh(struct imap_notify *n, struct uid_set uids)
{
	if (n->selected == NULL || n->selected->item_count == 0) {
		return;
	}
	for (size_t i = 0; i < uids.count; i++) {
		for (uint64_t uid = uids.ranges[i].first; uid <= uids.ranges[i].last; uid++) {
			uint32_t one = (uint32_t)uid;
			if (buf_append(&n->fresh, bytes_of(&one, sizeof(one))) != ERR_OK) {
				give_up(n);
				return;
			}
		}
	}
}

static void
on_change(void *arg, const struct fold_change *change)
{
	struct imap_notify *n = arg;
	struct imap *im = n->im;
	if (n->count == 0 || n->overflow) {
		return;
	}
	if (change == NULL || change->kind == FOLD_CHANGE_RESTORED) {
		give_up(n); /* what has changed is not known */
		conn_wake(im->conn);
		return;
	}
	if (im->member->author == im->conn) {
		return; /* RFC 5465 section 5: it knows what it did */
	}
	const struct fold_mailbox *box = fold_mailbox_by_id(im->member->fold, change->mailbox);
	bool news = im->member->author == NULL;
	bool selected = im->selected && im->view.mailbox == change->mailbox;
	size_t before = n->dirty.len + n->names.len;
	switch (change->kind) {
	case FOLD_CHANGE_ADDED:
		if (selected) {
			note_fresh(n, change->uids);
		} else if (box != NULL) {
			note_mailbox(n, box, IMAP_NOTICE_MESSAGE_NEW, news);
		}
		break;
	case FOLD_CHANGE_EXPUNGED:
		if (!selected && box != NULL) {
			note_mailbox(n, box, IMAP_NOTICE_MESSAGE_EXPUNGE, news);
		}
		break;
	case FOLD_CHANGE_FLAGS:
		if (!selected && box != NULL) {
			note_mailbox(n, box, IMAP_NOTICE_FLAG_CHANGE, news);
		}
		break;
	case FOLD_CHANGE_MAILBOX_CREATED:
		if (box != NULL && !member_journal_hidden(im->member, box)) {
			note_tree(n, box->name, news);
		}
		break;
	case FOLD_CHANGE_MAILBOX_DELETED:
		note_tree(n, change->name, news);
		break;
	case FOLD_CHANGE_MAILBOX_RENAMED:
		if (box != NULL) {
			note_renamed(n, change, box->name, news);
		}
		break;
	case FOLD_CHANGE_SUBSCRIPTION:
		note_name_if_asked(n, IMAP_NOTICE_SUBSCRIPTION_CHANGE, change->name, BYTES_EMPTY, news);
		break;
	case FOLD_CHANGE_ANNOTATION:
		note_annotation(n, change, box, news);
		break;
	case FOLD_CHANGE_ARRIVAL:
	case FOLD_CHANGE_SETTLED:
	case FOLD_CHANGE_RELEASED:
	case FOLD_CHANGE_SETTING:
	case FOLD_CHANGE_USE:
	case FOLD_CHANGE_RESTORED:
	case FOLD_CHANGE_KEYS:
		break;
	}
	if ((n->overflow || n->dirty.len + n->names.len != before || n->dirty.len > 0) &&
	    (!news || !beat_is_on(im->conn->worker))) {
		conn_wake(im->conn);
	}
}

/* ---- telling ---- */

/* Of flags always (RFC 5465 section 5.1), since every mailbox counts them; of messages once CONDSTORE is enabled. */
static uint32_t
modseq_item(const struct imap *im, uint32_t events)
{
	return im->condstore || (events & IMAP_NOTICE_FLAG_CHANGE) != 0 ? (uint32_t)IMAP_STATUS_HIGHESTMODSEQ
									: 0;
}

static void
write_status(struct imap *im, const struct fold_mailbox *box, uint32_t events)
{
	uint32_t items = modseq_item(im, events);
	if ((events & (IMAP_NOTICE_MESSAGE_NEW | IMAP_NOTICE_MESSAGE_EXPUNGE)) != 0) {
		items |= IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT;
	}
	if ((events & IMAP_NOTICE_FLAG_CHANGE) != 0) {
		items |= IMAP_STATUS_UIDVALIDITY | IMAP_STATUS_UNSEEN;
	}
	imap_write_status_of(im, box, items);
}

static bool
is_due(bool news, bool own, enum imap_notify_when when)
{
	return when == IMAP_NOTIFY_ALL || (when == IMAP_NOTIFY_OWN ? own : news);
}

/* What was written since goes only if it fits; else it is taken back. */
static bool
fits(struct imap *im, size_t mark, enum imap_notify_when when, size_t room)
{
	if (when != IMAP_NOTIFY_BEAT || im->out.len <= room) {
		return true;
	}
	imap_write_undo(&im->w, mark);
	return false;
}

static void
tell_mailboxes(struct imap_notify *n, enum imap_notify_when when, size_t room)
{
	struct imap *im = n->im;
	size_t kept = 0;
	for (size_t at = 0; at < n->dirty.len; at += sizeof(struct dirty)) {
		struct dirty one;
		memcpy(&one, n->dirty.ptr + at, sizeof(one));
		const struct fold_mailbox *box = fold_mailbox_by_id(im->member->fold, one.mailbox);
		bool told = box == NULL;
		if (!told && is_due(one.news, one.own, when)) {
			size_t mark = imap_write_mark(&im->w);
			write_status(im, box, one.events);
			told = fits(im, mark, when, room);
		}
		if (!told) {
			memmove(n->dirty.ptr + kept, &one, sizeof(one));
			kept += sizeof(one);
		}
	}
	if (kept == 0) {
		buf_clear(&n->dirty);
	} else {
		buf_truncate(&n->dirty, kept);
	}
}

static void
write_name(struct imap *im, const struct told_name *one, struct bytes name, struct bytes more)
{
	if (one->event == IMAP_NOTICE_MAILBOX_METADATA || one->event == IMAP_NOTICE_SERVER_METADATA) {
		imap_write_text(&im->w, "* METADATA ");
		if (name.len > 0) {
			imap_write_mailbox(&im->w, name);
		} else {
			imap_write_text(&im->w, "\"\"");
		}
		imap_write_text(&im->w, " ");
		imap_write_astring(&im->w, more);
		imap_write_crlf(&im->w);
		return;
	}
	struct buf old = BUF_INIT(IMAP_NAME_OUT_MAX);
	if (more.len > 0 && imap_mailbox_to_wire(&old, more, im->utf8) == ERR_OK) {
		imap_write_list(im, name, buf_bytes(&old));
	} else {
		imap_write_list(im, name, BYTES_EMPTY);
	}
	buf_wipe(&old);
}

static void
tell_names(struct imap_notify *n, enum imap_notify_when when, size_t room)
{
	struct imap *im = n->im;
	struct buf names = n->names;
	buf_init(&n->names, NAMES_MAX);
	enum err e = ERR_OK;
	for (size_t at = 0; at < names.len && e == ERR_OK;) {
		struct told_name one;
		memcpy(&one, names.ptr + at, sizeof(one));
		struct bytes name = bytes_of(names.ptr + at + sizeof(one), one.len);
		struct bytes more = bytes_of(names.ptr + at + sizeof(one) + one.len, one.more_len);
		size_t whole = sizeof(one) + one.len + one.more_len;
		bool told = false;
		if (is_due(one.news, !one.news, when)) {
			size_t mark = imap_write_mark(&im->w);
			write_name(im, &one, name, more);
			told = fits(im, mark, when, room);
		}
		if (!told) {
			e = buf_append(&n->names, bytes_of(names.ptr + at, whole));
		}
		at += whole;
	}
	buf_wipe(&names);
	if (e != ERR_OK) {
		give_up(n);
	}
}

static void
forget_groups(struct imap_notify *n)
{
	arena_clear(&n->arena);
	n->groups = NULL;
	n->count = 0;
	n->selected = NULL;
	buf_wipe(&n->dirty);
	buf_wipe(&n->names);
	buf_wipe(&n->fresh);
	buf_wipe(&n->renamed);
}

void
imap_notify_tell(struct imap *im, enum imap_notify_when when, size_t room)
{
	struct imap_notify *n = im->notify;
	if (n == NULL || n->count == 0 || !im->member->loaded) {
		return;
	}
	if (n->overflow) {
		size_t mark = imap_write_mark(&im->w);
		imap_write_status(&im->w, BYTES_EMPTY, "OK", "NOTIFICATIONOVERFLOW",
				  "Too much has changed: ask, and say NOTIFY again");
		if (fits(im, mark, when, room)) {
			n->overflow = false;
			forget_groups(n);
			imap_notify_set_view(im);
		}
		return;
	}
	if (n->names.len > 0) {
		tell_names(n, when, room);
	}
	if (n->dirty.len > 0) {
		tell_mailboxes(n, when, room);
	}
}

void
imap_notify_fetch_new(struct imap *im, size_t room)
{
	struct imap_notify *n = im->notify;
	if (n == NULL || n->fresh.len == 0 || n->selected == NULL || imap_selected(im) == NULL) {
		return;
	}
	/* Reading them suspends, and more may come meanwhile. */
	struct buf fresh = n->fresh;
	buf_init(&n->fresh, FRESH_MAX * sizeof(uint32_t));
	const uint32_t *uids = (const uint32_t *)(const void *)fresh.ptr;
	size_t count = fresh.len / sizeof(*uids);
	size_t told = 0;
	size_t done = 0;
	while (told < count && uids[told] < im->view.uidnext) {
		told++;
	}
	uint32_t mailbox = im->view.mailbox;
	(void)imap_fetch_unasked(im, n->selected->items, n->selected->item_count, uids, told, room, &done);
	/* NOTIFY and SELECT are commands of the same connection: they do not run meanwhile. */
	if (im->selected && im->view.mailbox == mailbox && done < count) {
		struct buf later = n->fresh;
		buf_init(&n->fresh, FRESH_MAX * sizeof(uint32_t));
		if (buf_append(&n->fresh, bytes_from(buf_bytes(&fresh), done * sizeof(*uids))) != ERR_OK ||
		    buf_append(&n->fresh, buf_bytes(&later)) != ERR_OK) {
			give_up(n);
		}
		buf_wipe(&later);
	}
	buf_wipe(&fresh);
}

void
imap_notify_deselected(struct imap *im)
{
	if (im->notify != NULL) {
		buf_wipe(&im->notify->fresh);
	}
}

/* ---- the command ---- */

static enum err
copy_names(struct imap *im, struct arena *a, const struct imap_notify_group *from,
	   struct imap_notify_group *to)
{
	struct bytes *names = arena_array(a, from->name_count + 1, sizeof(*names));
	if (names == NULL) {
		return ERR_MEMORY;
	}
	to->names = names;
	to->name_count = 0;
	for (size_t i = 0; i < from->name_count; i++) {
		struct buf name = BUF_INIT(IMAP_NAME_OUT_MAX);
		enum err e = imap_name_of(im, from->names[i], false, &name);
		if (e == ERR_OK) {
			names[to->name_count] = arena_copy(a, buf_bytes(&name));
			e = names[to->name_count].ptr == NULL ? ERR_MEMORY : ERR_OK;
			to->name_count++;
		}
		buf_wipe(&name);
		if (e == ERR_MEMORY) {
			return e; /* a name that none can have names nothing */
		}
	}
	return ERR_OK;
}

static enum err
copy_items(struct arena *a, const struct imap_notify_group *from, struct imap_notify_group *to)
{
	struct imap_fetch_item *items = arena_array(a, from->item_count + 1, sizeof(*items));
	enum err e = items == NULL ? ERR_MEMORY : ERR_OK;
	to->items = items;
	for (size_t i = 0; i < from->item_count && e == ERR_OK; i++) {
		const struct imap_section *s = &from->items[i].section;
		items[i] = from->items[i];
		uint32_t *path = arena_array(a, s->path_len + 1, sizeof(*path));
		struct bytes *fields = arena_array(a, s->field_count + 1, sizeof(*fields));
		if (path == NULL || fields == NULL) {
			return ERR_MEMORY;
		}
		for (size_t k = 0; k < s->path_len; k++) {
			path[k] = s->path[k];
		}
		for (size_t k = 0; k < s->field_count && e == ERR_OK; k++) {
			fields[k] = arena_copy(a, s->fields[k]);
			e = fields[k].ptr == NULL ? ERR_MEMORY : ERR_OK;
		}
		items[i].section.path = path;
		items[i].section.fields = fields;
	}
	return e;
}

static enum err
take_groups(struct imap_notify *n, const struct imap_command *c)
{
	n->groups = arena_array(&n->arena, c->notify.count + 1, sizeof(*n->groups));
	enum err e = n->groups == NULL ? ERR_MEMORY : ERR_OK;
	for (size_t i = 0; i < c->notify.count && e == ERR_OK; i++) {
		const struct imap_notify_group *g = &c->notify.groups[i];
		n->groups[i] = *g;
		e = copy_names(n->im, &n->arena, g, &n->groups[i]);
		if (e == ERR_OK) {
			e = copy_items(&n->arena, g, &n->groups[i]);
		}
		if (g->filter == IMAP_NOTIFY_SELECTED || g->filter == IMAP_NOTIFY_SELECTED_DELAYED) {
			n->selected = &n->groups[i];
		}
		n->count = e == ERR_OK ? i + 1 : 0;
	}
	return e;
}

static enum err
create(struct imap *im)
{
	struct imap_notify *n = calloc(1, sizeof(*n));
	if (n == NULL) {
		return ERR_MEMORY;
	}
	n->im = im;
	n->watcher.fn = on_change;
	n->watcher.arg = n;
	arena_init(&n->arena, GROUPS_BYTES_MAX);
	buf_init(&n->dirty, BOXES_MAX * sizeof(struct dirty));
	buf_init(&n->names, NAMES_MAX);
	buf_init(&n->fresh, FRESH_MAX * sizeof(uint32_t));
	buf_init(&n->renamed, OPERATION_NAME_MAX);
	member_watch(im->member, &n->watcher);
	im->notify = n;
	return ERR_OK;
}

void
imap_notify_clear(struct imap *im)
{
	if (im->notify != NULL) {
		member_unwatch(im->member, &im->notify->watcher);
		forget_groups(im->notify);
		free(im->notify);
		im->notify = NULL;
	}
}

/* STATUS of each mailbox that is watched (RFC 5465 section 3.1). */
static enum err
write_all_status(struct imap *im)
{
	struct fold *f = im->member->fold;
	size_t count = fold_mailbox_count(f);
	uint32_t *ids = arena_array(im->arena, count + 1, sizeof(*ids));
	if (ids == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < count; i++) {
		ids[i] = fold_mailbox_at(f, i)->id;
	}
	enum err e = ERR_OK;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		/* Sending suspends: the state may be another one. */
		const struct fold_mailbox *box =
		    im->member->loaded ? fold_mailbox_by_id(im->member->fold, ids[i]) : NULL;
		uint32_t events = box == NULL || member_journal_hidden(im->member, box)
				      ? 0
				      : asked(im->notify, box->name, MESSAGE_EVENTS);
		if (events != 0 && !(im->selected && im->view.mailbox == ids[i])) {
			uint32_t items = IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY;
			imap_write_status_of(im, box, items | modseq_item(im, events));
			e = imap_flush(im, false);
		}
		if (e == ERR_OK && i % 64 == 63) {
			e = imap_progress(im, i, count);
		}
	}
	return e;
}

void
imap_do_notify(struct imap *im)
{
	const struct imap_command *c = im->command;
	for (size_t i = 0; i < c->notify.count; i++) {
		if ((c->notify.groups[i].events & IMAP_NOTICE_UNKNOWN) != 0) {
			imap_no(
			    im,
			    "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange "
			    "MailboxMetadataChange ServerMetadataChange)",
			    "Of other events nothing can be told");
			return;
		}
	}
	if (!c->notify.none) {
		/* What has gathered so far is told as it would have been (RFC 5465 section 3.1). */
		imap_report(im, true);
		if (im->leaving) {
			return;
		}
	}
	enum err e = im->notify == NULL ? create(im) : ERR_OK;
	if (e == ERR_OK) {
		im->notify->overflow = false;
		forget_groups(im->notify);
		arena_init(&im->notify->arena, GROUPS_BYTES_MAX);
		e = take_groups(im->notify, c);
	}
	if (e == ERR_OK && c->notify.status) {
		e = write_all_status(im);
	}
	if (e != ERR_OK && im->notify != NULL) {
		forget_groups(im->notify);
	}
	imap_notify_set_view(im);
	if (e == ERR_OK) {
		imap_ok(im, NULL, c->notify.none ? "Nothing is told" : "What happens is told");
	} else if (e == ERR_LIMIT || e == ERR_MEMORY) {
		imap_no(im, "NOTIFICATIONOVERFLOW", "That is too much");
	} else if (im->w.error == ERR_OK && !conn_is_closed(im->conn)) {
		imap_fail(im, e);
	}
}
