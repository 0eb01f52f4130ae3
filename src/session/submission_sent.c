/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_sent.h"

#include <string.h>

#include "crypto/crypto.h"
#include "delivery/delivery.h"

enum { MARK_MAX = 256 + JOURNAL_LINE_MAX + OPERATION_IDENTIFIER_MAX };

static enum err
add_part(struct member *m, struct bytes copy, const struct journal_line *line,
	 const uint8_t key[OPERATION_KEY_LEN], const struct operation *renamed, struct upload *u,
	 struct buf *parts)
{
	const struct directory_account *profile = &m->profile;
	struct delivery d;
	struct buf mark = BUF_INIT(MARK_MAX);
	uint8_t delivery[SEALED_ID_LEN];
	memset(&d, 0, sizeof(d));
	crypto_random_bytes(delivery, sizeof(delivery));
	enum err e = member_sent_mark(m, delivery, key, renamed, &mark);
	e = e == ERR_OK ? journal_put_extra(line, &mark) : e;
	e = e == ERR_OK ? delivery_init(&d, m->worker->codec, m->worker->keys.key[PURPOSE_BLOB_NAME], copy, 1)
			: e;
	/* The store is told no quota: a full mailbox must not keep a message from leaving. */
	if (e == ERR_OK && member_quota(m) != 0 && m->used + d.frame.len > member_quota(m)) {
		e = ERR_QUOTA;
	}
	if (e == ERR_OK) {
		struct delivery_target target = {
		    .generation = profile->generation, .sent = delivery, .extra = buf_bytes(&mark)};
		memcpy(target.account, m->account, SEALED_ID_LEN);
		memcpy(target.public_key, profile->public_key, BOX_PUBLIC_LEN);
		d.received = line->time;
		d.flags = ARRIVAL_LOCAL;
		e = delivery_add_arrival(&d, &target, upload_chunk, u, parts);
	}
	delivery_clear(&d);
	buf_wipe(&mark);
	return e;
}

enum submission_sent
submission_add_sent(struct member *m, struct bytes copy, struct bytes submitted,
		    const struct journal_line *line, const struct operation *renamed, struct upload *u,
		    struct buf *parts)
{
	uint8_t key[OPERATION_KEY_LEN];
	uint32_t mailbox = 0;
	uint32_t uid = 0;
	if (member_ready(m) != ERR_OK || !member_sent_copy_key(m, copy, submitted, key)) {
		return SUBMISSION_SENT_AFTER;
	}
	if (fold_sent_copy(m->fold, key, &mailbox, &uid) == ERR_OK) {
		return SUBMISSION_SENT_BEFORE;
	}
	enum err e = add_part(m, copy, line, key, renamed, u, parts);
	return e == ERR_OK      ? SUBMISSION_SENT_WITH_UNIT
	       : e == ERR_QUOTA ? SUBMISSION_SENT_FULL
				: SUBMISSION_SENT_AFTER;
}
