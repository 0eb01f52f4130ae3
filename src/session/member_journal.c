/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The member's journal: a mailbox of hers that is not listed until she asks for it, and forgets after thirty days. */
#include <string.h>

#include "delivery/delivery.h"
#include "sealed/card.h"
#include "session/journal_text.h"
#include "session/member_internal.h"

enum {
	JOURNAL_MESSAGE_MAX = 16 * 1024,
	JOURNAL_KEEP_SECONDS = 30 * 24 * 3600,
};

const struct fold_mailbox *
member_journal(const struct member *m)
{
	for (size_t i = 0; i < fold_mailbox_count(m->fold); i++) {
		const struct fold_mailbox *box = fold_mailbox_at(m->fold, i);
		if ((box->special_use & MEMBER_USE_JOURNAL) != 0) {
			return box;
		}
	}
	return NULL;
}

bool
member_journal_hidden(const struct member *m, const struct fold_mailbox *box)
{
	return (box->special_use & MEMBER_USE_JOURNAL) != 0 && !fold_subscribed(m->fold, box->name);
}

/* A name that no mailbox has: hers may be called "Journal" already. */
static enum err
free_name(const struct member *m, struct buf *ret)
{
	for (unsigned i = 1; i < 100; i++) {
		buf_reset(ret);
		enum err e = i == 1 ? buf_append_str(ret, "Journal") : buf_printf(ret, "Journal %u", i);
		if (e != ERR_OK || fold_mailbox_by_name(m->fold, buf_bytes(ret)) == NULL) {
			return e;
		}
	}
	return ERR_EXISTS;
}

/* The journal's id; where there is none yet, the record makes it. */
static enum err
find_or_create(struct member *m, struct member_change *c, uint32_t *journal)
{
	const struct fold_mailbox *box = member_journal(m);
	if (*journal != 0) {
		return ERR_OK;
	}
	if (box != NULL) {
		*journal = box->id;
		return ERR_OK;
	}
	struct buf name = BUF_INIT(OPERATION_NAME_MAX);
	enum err e = free_name(m, &name);
	if (e == ERR_OK) {
		struct operation op = {.kind = OPERATION_MAILBOX_CREATE,
				       .create = {.name = buf_bytes(&name),
						  .uidvalidity = (uint32_t)(clock_wall() / MSEC_SECOND),
						  .special_use = MEMBER_USE_JOURNAL}};
		e = operations_add(c->record, &op);
	}
	if (e == ERR_OK) {
		*journal = fold_next_mailbox(m->fold);
	}
	buf_clear(&name);
	return e;
}

static enum err
write_message(const struct member *m, const struct journal_line *line, struct buf *out)
{
	struct journal_names names = {.domain = m->worker->host->config.domain};
	struct buf address = BUF_INIT(CONFIG_NAME_MAX + DIRECTORY_ADDRESS_MAX);
	crypto_random_bytes(names.random, sizeof(names.random));
	enum err e = buf_append(&address, m->profile.name);
	e = e == ERR_OK ? buf_printf(&address, "@%s", names.domain) : e;
	names.address = buf_bytes(&address);
	e = e == ERR_OK ? journal_write(line, &names, out) : e;
	buf_wipe(&address);
	return e;
}

/* A message of ours; its blob is to be claimed, its octets counted. */
static enum err
store_own(struct member *m, struct bytes text, uint64_t time, struct blob_ref *ret_ref, struct buf *ret_card)
{
	struct delivery d;
	struct upload u;
	memset(&d, 0, sizeof(d));
	upload_init(&u, m);
	enum err e = delivery_init(&d, m->worker->codec, m->worker->keys.key[PURPOSE_BLOB_NAME], text, 1);
	e = e == ERR_OK ? delivery_seal_blob(&d, m->account, ret_ref, upload_chunk, &u) : e;
	enum err uploaded = upload_finish(&u);
	e = e == ERR_OK ? uploaded : e;
	if (e == ERR_OK) {
		struct card card = {.blob = *ret_ref,
				    .internal_date = time,
				    .flags = ARRIVAL_LOCAL,
				    .summary = buf_bytes(&d.summary)};
		e = card_encode(&card, ret_card);
	}
	delivery_clear(&d);
	return e;
}

enum err
member_put_own(struct member *m, struct bytes text, uint32_t mailbox, uint32_t now, struct member_change *c)
{
	struct buf card = BUF_INIT(OPERATION_CARD_MAX);
	struct blob_ref ref = {.size = 0};
	enum err e = store_own(m, text, now, &ref, &card);
	if (e == ERR_OK) {
		struct operation op = {.kind = OPERATION_APPEND,
				       .append = {.message = {.mailbox = mailbox,
							      .date = now,
							      .size = ref.size,
							      .saved = now,
							      .card = buf_bytes(&card)}}};
		e = operations_add(c->record, &op);
	}
	if (e == ERR_OK) {
		e = buf_append(&c->claims, bytes_of(ref.name, sizeof(ref.name)));
		c->used_delta += (int64_t)ref.stored;
	}
	buf_wipe(&card);
	explicit_bzero(&ref, sizeof(ref));
	return e;
}

enum err
member_journal_put(struct member *m, const struct journal_line *line, uint64_t arrival,
		   const uint8_t *delivery, struct member_change *c, uint32_t *journal)
{
	struct buf text = BUF_INIT(JOURNAL_MESSAGE_MAX);
	struct buf card = BUF_INIT(OPERATION_CARD_MAX);
	struct blob_ref ref;
	memset(&ref, 0, sizeof(ref));
	enum err e = find_or_create(m, c, journal);
	e = e == ERR_OK ? write_message(m, line, &text) : e;
	e = e == ERR_OK ? store_own(m, buf_bytes(&text), line->time, &ref, &card) : e;
	if (e == ERR_OK) {
		struct operation_message message = {.mailbox = *journal,
						    .flags = FOLD_SEEN,
						    .date = (int64_t)line->time,
						    .size = ref.size,
						    .saved = member_save_time(),
						    .card = buf_bytes(&card)};
		struct operation op = {.kind = arrival == 0 ? OPERATION_APPEND : OPERATION_FILED};
		if (arrival == 0) {
			op.append.message = message;
		} else {
			op.filed.arrival = arrival;
			op.filed.message = message;
			memcpy(op.filed.delivery, delivery, sizeof(op.filed.delivery));
		}
		e = operations_add(c->record, &op);
	}
	if (e == ERR_OK) {
		e = buf_append(&c->claims, bytes_of(ref.name, sizeof(ref.name)));
		c->used_delta += (int64_t)ref.stored;
	}
	buf_wipe(&text);
	buf_wipe(&card);
	explicit_bzero(&ref, sizeof(ref));
	return e;
}

/* How many of its first lines are too old. They stand in the order of filing, nearly that of time. */
static uint32_t
old_lines(const struct fold_mailbox *box)
{
	int64_t limit = clock_wall() / MSEC_SECOND - JOURNAL_KEEP_SECONDS;
	uint32_t count = 0;
	while (count < box->count && box->messages[count].date < limit) {
		count++;
	}
	return count;
}

static enum err
build_expiry(void *arg, struct member *m, struct member_change *c)
{
	const struct fold_mailbox *box = member_journal(m);
	(void)arg;
	uint32_t count = box == NULL ? 0 : old_lines(box);
	if (count == 0) {
		return ERR_OK;
	}
	struct uid_range range = {.first = 1, .last = box->messages[count - 1].uid};
	struct uid_set uids = {.ranges = &range, .count = 1};
	struct operation op = {.kind = OPERATION_EXPUNGE, .expunge = {.mailbox = box->id, .uids = uids}};
	enum err e = operations_add(c->record, &op);
	return e == ERR_OK ? member_drop_messages(m, box, uids, c) : e;
}

enum err
member_journal_expire(struct member *m)
{
	const struct fold_mailbox *box = member_journal(m);
	return box == NULL || old_lines(box) == 0 ? ERR_OK
						  : member_append_locked(m, NULL, build_expiry, NULL, NULL);
}
