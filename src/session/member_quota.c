/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Her room runs out: a message into her INBOX, written by her own session, once per level; the level stands in her log. */
#include "session/member_internal.h"
#include "session/notice.h"
#include "session/quota_level.h"

enum { WARNING_MAX = 4096 };

static const char warned[] = "quota.warned";

static unsigned
remembered(const struct member *m)
{
	return quota_level_read(fold_setting(m->fold, warned));
}

static enum err
put_message(struct member *m, unsigned level, struct member_change *c)
{
	struct buf body = BUF_INIT(WARNING_MAX);
	char subject[QUOTA_SUBJECT_LEN];
	enum err e = quota_level_say(level, m->used, member_quota(m), subject, &body);
	const struct notice n = {.subject = subject, .tag = "quota", .body = buf_bytes(&body)};
	e = e == ERR_OK ? notice_put(m, &n, c) : e;
	buf_clear(&body);
	return e;
}

static enum err
build_warning(void *arg, struct member *m, struct member_change *c)
{
	(void)arg;
	unsigned before = remembered(m);
	unsigned level = quota_level(m->used, member_quota(m), before);
	if (level == before || fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX")) == NULL) {
		return ERR_OK;
	}
	struct operation op = {.kind = OPERATION_SETTING,
			       .setting = {.name = bytes_str(warned),
					   .value = level == 0                  ? BYTES_EMPTY
						    : level == QUOTA_LEVEL_LATE ? BYTES_LIT("95")
										: BYTES_LIT("80")}};
	enum err e = operations_add(c->record, &op);
	return e == ERR_OK && level > before ? put_message(m, level, c) : e;
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
