/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Putting messages into a mailbox: their octets become blobs, then one record says all of it. */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery.h"
#include "session/member_internal.h"

/* What was stored of one message. */
struct stored {
	struct blob_ref ref;
	struct buf card;
};

struct putting {
	struct member_put *put;
	struct stored *stored;
};

/* ERR_AGAIN: what stood for it has gone meanwhile. */
static enum err
add_flags(const struct member_new_message *message, const struct fold_mailbox *box, struct member_change *c)
{
	if (fold_message_by_uid(box, message->standing) == NULL) {
		return ERR_AGAIN;
	}
	const struct uid_range one = {.first = message->standing, .last = message->standing};
	struct operation op = {.kind = OPERATION_FLAGS,
			       .flags = {.mailbox = box->id,
					 .uids = {.ranges = &one, .count = 1},
					 .mode = OPERATION_ADD,
					 .flags = message->flags,
					 .keywords = message->keywords}};
	return message->flags == 0 && message->keywords.count == 0 ? ERR_OK : operations_add(c->record, &op);
}

static enum err
add_message(const struct member_new_message *message, const struct stored *s, const struct fold_mailbox *box,
	    struct member_change *c)
{
	struct operation op = {.kind = OPERATION_APPEND,
			       .append = {.has_key = message->sent,
					  .message = {.mailbox = box->id,
						      .flags = message->flags,
						      .keywords = message->keywords,
						      .date = message->date,
						      .zone = message->zone,
						      .size = s->ref.size,
						      .saved = member_save_time(),
						      .card = buf_bytes(&s->card)}}};
	memcpy(op.append.key, message->key, sizeof(op.append.key));
	enum err e = operations_add(c->record, &op);
	if (e == ERR_OK && message->also != NULL) {
		e = operations_add(c->record, message->also);
	}
	if (e == ERR_OK) {
		e = buf_append(&c->claims, bytes_of(s->ref.name, sizeof(s->ref.name)));
		c->used_delta += (int64_t)s->ref.stored;
	}
	return e;
}

static enum err
expunge_replaced(struct member *m, struct member_put *put, struct member_change *c)
{
	const struct fold_mailbox *from = fold_mailbox_by_id(m->fold, put->from);
	if (from == NULL || fold_message_by_uid(from, put->replaced) == NULL) {
		put->gone = true;
		return ERR_STATE;
	}
	const struct uid_range one = {.first = put->replaced, .last = put->replaced};
	const struct uid_set uids = {.ranges = &one, .count = 1};
	struct operation op = {.kind = OPERATION_EXPUNGE, .expunge = {.mailbox = from->id, .uids = uids}};
	enum err e = operations_add(c->record, &op);
	return e == ERR_OK ? member_drop_messages(m, from, uids, c) : e;
}

static enum err
build_put(void *arg, struct member *m, struct member_change *c)
{
	struct putting *p = arg;
	struct member_put *put = p->put;
	const struct fold_mailbox *box = fold_mailbox_by_id(m->fold, put->mailbox);
	enum err e = box == NULL ? ERR_NOT_FOUND : ERR_OK;
	if (e == ERR_OK && (fold_messages(m->fold) + put->count > FOLD_MESSAGES_MAX ||
			    put->count >= UINT32_MAX - box->uidnext)) {
		e = ERR_LIMIT;
	}
	uint32_t next = e == ERR_OK ? box->uidnext : 0;
	c->used_delta = 0;
	for (size_t i = 0; i < put->count && e == ERR_OK; i++) {
		const struct member_new_message *message = &put->messages[i];
		put->uids[i] = message->standing != 0 ? message->standing : next++;
		e = message->standing != 0 ? add_flags(message, box, c)
					   : add_message(message, &p->stored[i], box, c);
	}
	if (e == ERR_OK && member_quota(m) != 0 && m->used + (uint64_t)c->used_delta > member_quota(m)) {
		e = ERR_QUOTA;
	}
	if (e == ERR_OK) {
		put->uidvalidity = box->uidvalidity;
		/* Suspends: the mailbox is not looked at any more. */
		e = put->from != 0 ? expunge_replaced(m, put, c) : ERR_OK;
	}
	return e;
}

static enum err
store_one(struct member *m, const struct member_new_message *message, struct stored *s)
{
	struct delivery d;
	struct upload u;
	upload_init(&u, m);
	enum err e =
	    delivery_init(&d, m->worker->codec, m->worker->keys.key[PURPOSE_BLOB_NAME], message->message, 1);
	if (e == ERR_OK) {
		e = delivery_seal_blob(&d, m->account, &s->ref, upload_chunk, &u);
	}
	enum err uploaded = upload_finish(&u);
	e = e == ERR_OK ? uploaded : e;
	if (e == ERR_OK) {
		struct card card = {.blob = s->ref,
				    .internal_date = message->date < 0 ? 0 : (uint64_t)message->date,
				    .flags = ARRIVAL_LOCAL,
				    .summary = buf_bytes(&d.summary)};
		e = card.summary.len > ARRIVAL_SUMMARY_MAX ? ERR_LIMIT : card_encode(&card, &s->card);
	}
	delivery_clear(&d);
	return e;
}

enum err
member_put_messages(struct member *m, const struct conn *author, struct member_put *put)
{
	enum err e = member_ready(m);
	uint64_t octets = 0;
	for (size_t i = 0; i < put->count; i++) {
		octets += put->messages[i].standing == 0 ? put->messages[i].message.len : 0;
	}
	if (e == ERR_OK && member_quota(m) != 0 && m->used + octets / 16 > member_quota(m)) {
		e = ERR_QUOTA; /* however well it compresses: not worth the work */
	}
	struct putting p = {.put = put, .stored = NULL};
	if (e == ERR_OK) {
		p.stored = calloc(put->count, sizeof(*p.stored));
		e = p.stored == NULL ? ERR_MEMORY : ERR_OK;
	}
	size_t cards = 0;
	for (size_t i = 0; i < put->count && e == ERR_OK; i++) {
		buf_init(&p.stored[i].card, OPERATION_CARD_MAX);
		if (put->messages[i].standing == 0) {
			e = store_one(m, &put->messages[i], &p.stored[i]);
			cards += p.stored[i].card.len;
		}
		if (e == ERR_OK && cards > OPERATION_RECORD_MAX) {
			e = ERR_LIMIT; /* one record would not hold them */
		}
	}
	if (e == ERR_OK) {
		e = member_append(m, author, build_put, &p, NULL);
	}
	for (size_t i = 0; i < put->count && p.stored != NULL; i++) {
		buf_wipe(&p.stored[i].card);
		explicit_bzero(&p.stored[i].ref, sizeof(p.stored[i].ref));
	}
	free(p.stored);
	return e;
}

enum err
member_append_message(struct member *m, const struct conn *author, uint32_t mailbox,
		      const struct member_new_message *message, uint32_t *ret_uidvalidity, uint32_t *ret_uid)
{
	uint32_t uid = 0;
	struct member_put put = {.mailbox = mailbox, .messages = message, .count = 1, .uids = &uid};
	enum err e = member_put_messages(m, author, &put);
	if (e == ERR_OK && ret_uidvalidity != NULL) {
		*ret_uidvalidity = put.uidvalidity;
	}
	if (e == ERR_OK && ret_uid != NULL) {
		*ret_uid = uid;
	}
	return e;
}
