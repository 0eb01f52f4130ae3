/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* DELETE, RENAME, SUBSCRIBE, STATUS, NAMESPACE. */
#include <stdio.h>
#include <string.h>

#include "protocol/imap_mailbox_name.h"
#include "session/imap.h"

/* ---- names that come and go ---- */

struct naming {
	struct bytes name;
	struct bytes old;
	uint32_t uidvalidity;
	bool on;
};

uint32_t
imap_new_uidvalidity(void)
{
	uint32_t v = (uint32_t)(clock_wall() / MSEC_SECOND);
	return v == 0 ? 1 : v;
}

enum err
imap_show_journal(const struct fold_mailbox *box, bool on, struct member_change *c)
{
	struct operation op = {.kind = OPERATION_SUBSCRIBE, .subscribe = {.name = box->name, .on = on}};
	return operations_add(c->record, &op);
}

static enum err
build_delete(void *arg, struct member *m, struct member_change *c)
{
	const struct naming *n = arg;
	static const struct uid_range all = {.first = 1, .last = UINT32_MAX};
	const struct fold_mailbox *box = fold_mailbox_by_name(m->fold, n->name);
	if (box == NULL) {
		return ERR_NOT_FOUND;
	}
	if ((box->special_use & MEMBER_USE_JOURNAL) != 0) {
		return imap_show_journal(box, false, c);
	}
	struct operation op = {.kind = OPERATION_MAILBOX_DELETE, .remove = {.mailbox = box->id}};
	enum err e = operations_add(c->record, &op);
	return e == ERR_OK ? member_drop_messages(m, box, (struct uid_set){.ranges = &all, .count = 1}, c)
			   : e;
}

void
imap_do_delete(struct imap *im)
{
	struct buf name = BUF_INIT(IMAP_NAME_OUT_MAX);
	const struct fold_mailbox *box = imap_mailbox(im, im->command->mailbox, "NONEXISTENT");
	if (box == NULL) {
		return;
	}
	if (bytes_is(box->name, "INBOX")) {
		imap_no(im, "CANNOT", "The inbox stays");
		return;
	}
	enum err e = buf_append(&name, box->name);
	if (im->selected && im->view.mailbox == box->id) {
		imap_deselect(im);
	}
	struct naming n = {.name = buf_bytes(&name)};
	if (e == ERR_OK) {
		e = member_append(im->member, im->conn, build_delete, &n, NULL);
	}
	if (e == ERR_OK) {
		imap_report(im, true);
		imap_ok(im, NULL, "Deleted");
	} else {
		imap_fail(im, e);
	}
	buf_wipe(&name);
}

static bool
is_below(struct bytes name, struct bytes parent)
{
	return name.len > parent.len && name.ptr[parent.len] == '/' &&
	       bytes_equal(bytes_slice(name, 0, parent.len), parent);
}

/* ERR_EXISTS, or ERR_LIMIT, where this one cannot go with the others. */
static enum err
may_rename(const struct member *m, struct bytes present, const struct naming *n)
{
	struct buf name = BUF_INIT(OPERATION_NAME_MAX);
	enum err e = buf_append(&name, n->name);
	if (e == ERR_OK) {
		e = buf_append(&name, bytes_from(present, n->old.len));
	}
	if (e == ERR_OK && !imap_mailbox_name_valid(buf_bytes(&name))) {
		e = ERR_LIMIT; /* too long, or too deep */
	}
	if (e == ERR_OK && fold_mailbox_by_name(m->fold, buf_bytes(&name)) != NULL) {
		e = ERR_EXISTS;
	}
	buf_wipe(&name);
	return e;
}

static enum err
build_rename(void *arg, struct member *m, struct member_change *c)
{
	const struct naming *n = arg;
	const struct fold_mailbox *box = fold_mailbox_by_name(m->fold, n->old);
	bool found = box != NULL;
	if (fold_mailbox_by_name(m->fold, n->name) != NULL) {
		return ERR_EXISTS;
	}
	if (box != NULL && bytes_is(box->name, "INBOX")) {
		struct operation op = {.kind = OPERATION_RENAME_INBOX,
				       .rename_inbox = {.name = n->name,
							.uidvalidity = n->uidvalidity,
							.saved = member_save_time()}};
		return operations_add(c->record, &op);
	}
	/* A name that is only the parent of others (\Noselect): they move, and it with them (RFC 3501 section 6.3.5). */
	enum err e = ERR_OK;
	for (size_t i = 0; i < fold_mailbox_count(m->fold) && e == ERR_OK; i++) {
		const struct fold_mailbox *child = fold_mailbox_at(m->fold, i);
		if (is_below(child->name, n->old)) {
			found = true;
			e = may_rename(m, child->name, n);
		}
	}
	if (e != ERR_OK || !found) {
		return e != ERR_OK ? e : ERR_NOT_FOUND;
	}
	/* Of however many: one operation, so that they move together. */
	struct operation op = {.kind = OPERATION_RENAME_TREE, .rename_tree = {.from = n->old, .to = n->name}};
	return operations_add(c->record, &op);
}

void
imap_do_rename(struct imap *im)
{
	struct buf name = BUF_INIT(IMAP_NAME_OUT_MAX);
	struct buf old = BUF_INIT(IMAP_NAME_OUT_MAX);
	if (imap_name(im, im->command->mailbox, true, &old) &&
	    imap_name(im, im->command->target, true, &name)) {
		struct naming n = {
		    .name = buf_bytes(&name), .old = buf_bytes(&old), .uidvalidity = imap_new_uidvalidity()};
		if (is_below(n.name, n.old) && !bytes_is(n.old, "INBOX")) {
			imap_no(im, "CANNOT", "A mailbox cannot move below itself");
		} else {
			enum err e = member_append(im->member, im->conn, build_rename, &n, NULL);
			if (e == ERR_OK) {
				imap_report(im, true);
				imap_ok(im, NULL, "Renamed");
			} else if (e == ERR_LIMIT && !bytes_is(n.old, "INBOX")) {
				imap_no(im, "CANNOT",
					"The name of a mailbox below it would be too long or too deep");
			} else {
				imap_fail(im, e);
			}
		}
	}
	buf_wipe(&name);
	buf_wipe(&old);
}

static enum err
build_subscribe(void *arg, struct member *m, struct member_change *c)
{
	const struct naming *n = arg;
	if (fold_subscribed(m->fold, n->name) == n->on) {
		return ERR_OK;
	}
	if (n->on && fold_subscription_count(m->fold) >= FOLD_SUBSCRIPTIONS_MAX) {
		return ERR_LIMIT;
	}
	struct operation op = {.kind = OPERATION_SUBSCRIBE, .subscribe = {.name = n->name, .on = n->on}};
	return operations_add(c->record, &op);
}

void
imap_do_subscribe(struct imap *im)
{
	struct buf name = BUF_INIT(IMAP_NAME_OUT_MAX);
	if (imap_name(im, im->command->mailbox, true, &name)) {
		struct naming n = {.name = buf_bytes(&name), .on = im->command->verb == IMAP_SUBSCRIBE};
		enum err e = member_append(im->member, im->conn, build_subscribe, &n, NULL);
		if (e == ERR_OK) {
			imap_ok(im, NULL, "Done");
		} else {
			imap_fail(im, e);
		}
	}
	buf_wipe(&name);
}

/* ---- asking ---- */

/* Octets that an EXPUNGE would take away (RFC 9208 section 4.1.4). */
static uint64_t
deleted_storage(const struct fold_mailbox *box)
{
	uint64_t sum = 0;
	uint32_t left = box->deleted;
	for (uint32_t i = 0; i < box->count && left > 0; i++) {
		if ((box->messages[i].flags & FOLD_DELETED) != 0) {
			sum += box->messages[i].size;
			left--;
		}
	}
	return sum;
}

void
imap_mailbox_id(const struct fold_mailbox *box, char ret[IMAP_MAILBOX_ID_MAX])
{
	(void)snprintf(ret, IMAP_MAILBOX_ID_MAX, "F%x", (unsigned)box->id);
}

void
imap_write_status_of(struct imap *im, const struct fold_mailbox *box, uint32_t items)
{
	const struct {
		uint32_t item;
		const char *name;
		uint64_t value;
	} table[] = {
	    {IMAP_STATUS_MESSAGES, "MESSAGES", box->count},
	    {IMAP_STATUS_RECENT, "RECENT", 0},
	    {IMAP_STATUS_UIDNEXT, "UIDNEXT", box->uidnext},
	    {IMAP_STATUS_UIDVALIDITY, "UIDVALIDITY", box->uidvalidity},
	    {IMAP_STATUS_UNSEEN, "UNSEEN", box->unseen},
	    {IMAP_STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ", box->highest_modseq},
	    {IMAP_STATUS_SIZE, "SIZE", box->bytes},
	    {IMAP_STATUS_DELETED, "DELETED", box->deleted},
	    {IMAP_STATUS_DELETED_STORAGE, "DELETED-STORAGE",
	     (items & IMAP_STATUS_DELETED_STORAGE) != 0 ? deleted_storage(box) : 0},
	    {IMAP_STATUS_APPENDLIMIT, "APPENDLIMIT", worker_message_max(im->conn->worker)},
	};
	bool first = true;
	imap_write_text(&im->w, "* STATUS ");
	imap_write_mailbox(&im->w, box->name);
	imap_write_text(&im->w, " (");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if ((items & table[i].item) != 0) {
			imap_write_format(&im->w, "%s%s %llu", first ? "" : " ", table[i].name,
					  (unsigned long long)table[i].value);
			first = false;
		}
	}
	if ((items & IMAP_STATUS_MAILBOXID) != 0) {
		char id[IMAP_MAILBOX_ID_MAX];
		imap_mailbox_id(box, id);
		imap_write_format(&im->w, "%sMAILBOXID (%s)", first ? "" : " ", id);
	}
	imap_write_text(&im->w, ")\r\n");
}

void
imap_do_status(struct imap *im)
{
	const struct fold_mailbox *box = imap_mailbox(im, im->command->mailbox, "NONEXISTENT");
	if (box != NULL) {
		if ((im->command->status.items & IMAP_STATUS_HIGHESTMODSEQ) != 0) {
			im->condstore = true; /* RFC 7162 3.1: a CONDSTORE-enabling command */
		}
		imap_write_status_of(im, box, im->command->status.items);
		imap_report(im, true);
		imap_ok(im, NULL, "Done");
	}
}

void
imap_do_namespace(struct imap *im)
{
	imap_write_text(&im->w, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	imap_ok(im, NULL, "Done");
}
