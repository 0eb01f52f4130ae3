/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* New messages of the member's own, and the end of old ones. */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery.h"
#include "session/member_internal.h"
#include "session/message.h"

enum { UPLOAD_OPEN_MAX = 8, SENT_USE = 32, JUNK_USE = 16 };

/* ---- blobs ---- */

void
upload_init(struct upload *u, struct member *m)
{
	*u = (struct upload){.member = m, .waiter = NULL, .open = 0, .error = ERR_OK};
}

static void
on_chunk(void *arg, enum err status, struct bytes payload)
{
	struct upload *u = arg;
	(void)payload;
	u->open--;
	if (u->error == ERR_OK) {
		u->error = status;
	}
	if (u->waiter != NULL) {
		struct task *t = u->waiter;
		u->waiter = NULL;
		task_wake(t, ERR_OK);
	}
}

static void
wait_below(struct upload *u, unsigned most)
{
	while (u->open > most) {
		u->waiter = task_current();
		if (task_suspend() == ERR_CLOSED && u->waiter != NULL) {
			panic("a task was cancelled while it wrote a blob");
		}
		u->waiter = NULL;
	}
}

enum err
upload_chunk(void *arg, const uint8_t blob[SEALED_ID_LEN], uint32_t chunk, struct bytes data)
{
	struct upload *u = arg;
	struct msg_blob_put q = {.chunk = chunk, .data = data};
	memcpy(q.blob, blob, sizeof(q.blob));
	struct channel *store = worker_store(u->member->worker);
	if (u->error == ERR_OK && store == NULL) {
		u->error = ERR_CLOSED;
	}
	if (u->error != ERR_OK) {
		return u->error;
	}
	u->error =
	    channel_request(store, BLOB_PUT, blob_put, &q, worker_deadline(u->member->worker), on_chunk, u);
	if (u->error == ERR_OK) {
		u->open++;
		wait_below(u, UPLOAD_OPEN_MAX - 1);
	}
	return u->error;
}

enum err
upload_finish(struct upload *u)
{
	wait_below(u, 0);
	return u->error;
}

/* The mailbox of a special use (RFC 6154), else of that name, else the inbox. */
static const struct fold_mailbox *
mailbox_for(const struct member *m, uint32_t use, struct bytes name)
{
	const struct fold_mailbox *box = NULL;
	for (size_t i = 0; i < fold_mailbox_count(m->fold) && box == NULL; i++) {
		if ((fold_mailbox_at(m->fold, i)->special_use & use) != 0) {
			box = fold_mailbox_at(m->fold, i);
		}
	}
	if (box == NULL) {
		box = fold_mailbox_by_name(m->fold, name);
	}
	if (box == NULL) {
		box = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"));
	}
	return box;
}

const struct fold_mailbox *
member_sent_mailbox(const struct member *m)
{
	return mailbox_for(m, SENT_USE, BYTES_LIT("Sent"));
}

const struct fold_mailbox *
member_junk_mailbox(const struct member *m)
{
	return mailbox_for(m, JUNK_USE, BYTES_LIT("Junk"));
}

enum err
member_file_sent(struct member *m, struct bytes message, struct bytes submitted, int64_t date,
		 const struct operation *also)
{
	enum err e = member_ready(m);
	const struct fold_mailbox *box = e == ERR_OK ? member_sent_mailbox(m) : NULL;
	if (box == NULL) {
		return e == ERR_OK ? ERR_NOT_FOUND : e;
	}
	struct member_new_message new = {
	    .message = message, .flags = FOLD_SEEN, .date = date, .zone = 0, .also = also};
	new.sent = member_sent_copy_key(m, message, submitted, new.key);
	return member_append_message(m, NULL, box->id, &new, NULL, NULL);
}

static enum err
build_operation(void *arg, struct member *m, struct member_change *c)
{
	(void)m;
	return operations_add(c->record, arg);
}

enum err
member_append_operation(struct member *m, const struct operation *op)
{
	struct operation copy = *op;
	return member_append(m, NULL, build_operation, &copy, NULL);
}

/* ---- letting go ---- */

static int
by_card(const void *left, const void *right)
{
	const struct message_item *a = left;
	const struct message_item *b = right;
	if (a->record != b->record) {
		return a->record < b->record ? -1 : 1;
	}
	return a->op < b->op ? -1 : a->op > b->op ? 1 : 0;
}

static void
collect_going(const struct fold_mailbox *mailbox, struct uid_set uids, struct message_item *items,
	      size_t *count)
{
	for (size_t r = 0; r < uids.count; r++) {
		for (uint32_t i = fold_message_lower(mailbox, uids.ranges[r].first);
		     i < mailbox->count && mailbox->messages[i].uid <= uids.ranges[r].last; i++) {
			items[(*count)++] = (struct message_item){.record = mailbox->messages[i].record,
								  .op = mailbox->messages[i].op,
								  .uid = mailbox->messages[i].uid};
		}
	}
}

/* Keeps one item per card that no message refers to once all of these have gone. */
static size_t
keep_last_references(const struct fold *f, const struct fold_mailbox *mailbox, struct message_item *items,
		     size_t count)
{
	size_t kept = 0;
	size_t i = 0;
	qsort(items, count, sizeof(*items), by_card);
	while (i < count) {
		size_t same = 1;
		while (i + same < count && by_card(&items[i], &items[i + same]) == 0) {
			same++;
		}
		const struct fold_message *message = fold_message_by_uid(mailbox, items[i].uid);
		if (message != NULL && fold_card_refs(f, message) == same) {
			items[kept++] = items[i];
		}
		i += same;
	}
	return kept;
}

enum err
member_drop_messages(struct member *m, const struct fold_mailbox *mailbox, struct uid_set uids,
		     struct member_change *change)
{
	if (mailbox->count == 0) {
		return ERR_OK;
	}
	struct message_item *items = calloc(mailbox->count, sizeof(*items));
	struct message_reader *reader = NULL;
	struct message message;
	size_t count = 0;
	if (items == NULL) {
		return ERR_MEMORY;
	}
	collect_going(mailbox, uids, items, &count);
	count = keep_last_references(m->fold, mailbox, items, count);
	enum err e = message_reader_create(m, MESSAGE_CARD, items, count, &reader);
	while (e == ERR_OK && message_reader_next(reader, &message)) {
		if (message.error == ERR_OK) {
			e = buf_append(&change->drops,
				       bytes_of(message.card.blob.name, sizeof(message.card.blob.name)));
			change->used_delta -= (int64_t)message.card.blob.stored;
		} else if (message.error != ERR_DAMAGED) {
			e = message.error;
		}
	}
	message_reader_destroy(&reader);
	free(items);
	return e;
}
