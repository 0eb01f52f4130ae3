/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Her room runs out: a message into her INBOX, written by her own session, once per level; the level stands in her log. */
#include <string.h>

#include "crypto/crypto.h"
#include "session/member_internal.h"
#include "session/quota_level.h"

enum { WARNING_MAX = 4096 };

static const char warned[] = "quota.warned";

static unsigned
remembered(const struct member *m)
{
	return quota_level_read(fold_setting(m->fold, warned));
}

static enum err
put_message(struct member *m, uint32_t mailbox, unsigned level, struct member_change *c)
{
	struct buf text = BUF_INIT(WARNING_MAX);
	struct buf address = BUF_INIT(CONFIG_NAME_MAX + DIRECTORY_ADDRESS_MAX);
	struct buf card = BUF_INIT(OPERATION_CARD_MAX);
	struct blob_ref ref = {.size = 0};
	const char *domain = m->worker->host->config.domain;
	uint32_t now = member_save_time();
	uint8_t random[16];
	crypto_random_bytes(random, sizeof(random));
	enum err e = buf_append(&address, m->profile.name);
	e = e == ERR_OK ? buf_printf(&address, "@%s", domain) : e;
	e = e == ERR_OK ? quota_level_message(level, m->used, member_quota(m), domain, buf_bytes(&address),
					      now, random, &text)
			: e;
	e = e == ERR_OK ? member_store_own(m, buf_bytes(&text), now, &ref, &card) : e;
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
	buf_wipe(&text);
	buf_wipe(&address);
	buf_wipe(&card);
	explicit_bzero(&ref, sizeof(ref));
	return e;
}

static enum err
build_warning(void *arg, struct member *m, struct member_change *c)
{
	(void)arg;
	const struct fold_mailbox *inbox = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"));
	unsigned before = remembered(m);
	unsigned level = quota_level(m->used, member_quota(m), before);
	if (level == before || inbox == NULL) {
		return ERR_OK;
	}
	struct operation op = {.kind = OPERATION_SETTING,
			       .setting = {.name = bytes_str(warned),
					   .value = level == 0                  ? BYTES_EMPTY
						    : level == QUOTA_LEVEL_LATE ? BYTES_LIT("95")
										: BYTES_LIT("80")}};
	enum err e = operations_add(c->record, &op);
	return e == ERR_OK && level > before ? put_message(m, inbox->id, level, c) : e;
}

void
member_quota_consider(struct member *m)
{
	unsigned before = m->loaded && m->broken == ERR_OK ? remembered(m) : 0;
	if (!m->loaded || m->broken != ERR_OK || quota_level(m->used, member_quota(m), before) == before) {
		return;
	}
	/* What goes wrong here goes wrong again, and is said, with the next record; it must not stop what led here. */
	enum err e = member_append_locked(m, NULL, build_warning, NULL, NULL);
	(void)e;
}
