/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * CREATE. Those that a client sends without waiting go into one record of the log together, so that a thousand folders cost a few commits
 * and not a thousand. Each has its own outcome and its own answer, in the order in which they came, and none before the record is on disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/imap_mailbox_name.h"
#include "session/imap.h"

enum {
	TOGETHER_MAX = 256,      /* in one record: of the longest names a bit more than half of it */
	TOGETHER_BYTES = 4 << 20 /* of tags and names */
};

struct one {
	struct bytes tag;
	struct bytes wire; /* as the client wrote it */
	struct bytes name; /* in the house's form */
	uint32_t use;
	enum err error;
	const char *why; /* ERR_FORMAT */
};

struct imap_creating {
	struct arena arena;
	size_t count;
	struct one list[TOGETHER_MAX];
};

void
imap_create_drop(struct imap *im)
{
	if (im->creating != NULL) {
		arena_clear(&im->creating->arena);
		free(im->creating);
		im->creating = NULL;
	}
}

static bool
is_before(const struct imap_creating *all, size_t end, struct bytes name)
{
	for (size_t i = 0; i < end; i++) {
		if (all->list[i].error == ERR_OK && bytes_equal(all->list[i].name, name)) {
			return true;
		}
	}
	return false;
}

/* What becomes of one; `added` counts the new mailboxes before it. Other errors than its own are returned. */
static enum err
add_one(struct imap_creating *all, size_t i, const struct member *m, struct member_change *c, size_t *added)
{
	struct one *one = &all->list[i];
	const struct fold_mailbox *present = fold_mailbox_by_name(m->fold, one->name);
	if (is_before(all, i, one->name)) {
		one->error = ERR_EXISTS;
		return ERR_OK;
	}
	if (present != NULL && member_journal_hidden(m, present) && one->use == 0) {
		return imap_show_journal(present, true, c); /* it was there, unseen: now it is hers to see */
	}
	one->error = present != NULL                                              ? ERR_EXISTS
		     : fold_mailbox_count(m->fold) + *added >= FOLD_MAILBOXES_MAX ? ERR_LIMIT
										  : ERR_OK;
	if (one->error != ERR_OK) {
		return ERR_OK;
	}
	(*added)++;
	struct operation op = {.kind = OPERATION_MAILBOX_CREATE,
			       .create = {.name = one->name,
					  .uidvalidity = imap_new_uidvalidity(),
					  .special_use = one->use,
					  .subscribed = false}};
	return operations_add(c->record, &op);
}

static enum err
build_create(void *arg, struct member *m, struct member_change *c)
{
	struct imap_creating *all = arg;
	enum err e = ERR_OK;
	size_t added = 0;
	for (size_t i = 0; i < all->count && e == ERR_OK; i++) {
		struct one *one = &all->list[i];
		if (one->name.ptr != NULL) {
			one->error = ERR_OK; /* it may be tried again after a conflict */
			e = add_one(all, i, m, c, &added);
		}
	}
	return e;
}

/* Which names they mean. */
static void
name_all(struct imap *im, struct imap_creating *all)
{
	for (size_t i = 0; i < all->count; i++) {
		struct one *one = &all->list[i];
		struct buf name = BUF_INIT(IMAP_NAME_OUT_MAX);
		if (one->error == ERR_OK) {
			one->error = imap_name_check(im, one->wire, true, &name, &one->why);
		}
		if (one->error == ERR_OK) {
			one->name = arena_copy(&all->arena, buf_bytes(&name));
			one->error = one->name.ptr == NULL ? ERR_MEMORY : ERR_OK;
		}
		buf_wipe(&name);
	}
}

static void
answer_created(struct imap *im, const struct one *one)
{
	const struct fold_mailbox *box = fold_mailbox_by_name(im->member->fold, one->name);
	char code[IMAP_MAILBOX_ID_MAX + 16] = "";
	if (box != NULL) {
		char id[IMAP_MAILBOX_ID_MAX];
		imap_mailbox_id(box, id);
		(void)snprintf(code, sizeof(code), "MAILBOXID (%s)", id);
	}
	struct bytes wire = one->wire;
	if (wire.len > 1 && wire.ptr[wire.len - 1] == IMAP_DELIMITER) {
		wire.len--; /* it says that others are to come below, and is no part of the name */
	}
	if (im->rev2 && !imap_name_is_wire(im, one->name, wire)) {
		imap_write_list(im, one->name, wire);
	}
	imap_report(im, true);
	imap_ok(im, box != NULL ? code : NULL, "Created");
}

void
imap_create_end(struct imap *im)
{
	struct imap_creating *all = im->creating;
	if (all == NULL) {
		return;
	}
	im->creating = NULL;
	const struct imap_command *before = im->command;
	struct arena *arena = im->arena;
	struct imap_command one = {.verb = IMAP_CREATE};
	im->command = &one;
	im->arena = &all->arena;
	enum err e = member_ready(im->member);
	if (e == ERR_OK) {
		name_all(im, all);
		e = member_append(im->member, im->conn, build_create, all, NULL);
	}
	for (size_t i = 0; i < all->count; i++) {
		const struct one *x = &all->list[i];
		one.tag = x->tag;
		if (x->error == ERR_UNSUPPORTED) {
			imap_no(im, "USEATTR", "That use is not known");
		} else if (x->error == ERR_FORMAT) {
			imap_no(im, "CANNOT", x->why);
		} else if (x->error != ERR_OK || e != ERR_OK) {
			imap_fail(im, e != ERR_OK ? e : x->error);
		} else {
			answer_created(im, x);
		}
	}
	im->command = before;
	im->arena = arena;
	arena_clear(&all->arena);
	free(all);
}

void
imap_do_create(struct imap *im)
{
	const struct imap_command *c = im->command;
	struct imap_creating *all = im->creating;
	if (all == NULL) {
		all = calloc(1, sizeof(*all));
		if (all == NULL) {
			imap_fail(im, ERR_MEMORY);
			return;
		}
		arena_init(&all->arena, TOGETHER_BYTES);
		im->creating = all;
	}
	struct one *one = &all->list[all->count];
	bool far_too_long = c->mailbox.len > (size_t)4 * IMAP_NAME_MAX;
	*one = (struct one){.tag = arena_copy(&all->arena, c->tag),
			    .wire = arena_copy(&all->arena, far_too_long ? BYTES_EMPTY : c->mailbox),
			    .use = c->create.use,
			    .error = (c->create.use & IMAP_USE_OTHER) != 0 ? ERR_UNSUPPORTED : ERR_OK};
	if (one->tag.ptr == NULL || one->wire.ptr == NULL) {
		imap_create_end(im);
		imap_fail(im, ERR_MEMORY);
		return;
	}
	all->count++;
	if (all->count == TOGETHER_MAX) {
		imap_create_end(im);
	}
}
