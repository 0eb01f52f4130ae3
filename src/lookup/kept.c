/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "lookup/kept.h"

#include <stdio.h>

enum { LIMIT_MS = 20 * 1000, ROOM = IPC_CHUNK };

static void
name_of(const char *role, unsigned place, char ret[SPOOL_NAME_MAX])
{
	(void)snprintf(ret, SPOOL_NAME_MAX, "%s-kept-%u", role, place);
}

enum err
kept_get(struct role_host *h, const uint8_t key[SEALED_KEY_LEN], const char *role, unsigned place,
	 struct buf *ret_plain)
{
	char name[SPOOL_NAME_MAX];
	struct buf reply = BUF_INIT(ROOM + 64);
	struct msg_kept_get_reply r;
	struct msg_kept_get q = {.place = (uint8_t)place};
	enum err e = channel_call(role_channel(h, ROLE_MIXER, 0), KEPT_GET, kept_get, &q,
				  loop_now(h->loop) + LIMIT_MS, &reply);
	if (e == ERR_OK) {
		e = msg_kept_get_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		name_of(role, place, name);
		e = spool_value_open(key, name, r.value, ret_plain);
	}
	buf_clear(&reply);
	return e;
}

enum err
kept_put(struct role_host *h, const uint8_t key[SEALED_KEY_LEN], const char *role, struct bytes plain)
{
	char name[SPOOL_NAME_MAX];
	struct buf sealed = BUF_INIT(ROOM - 64);
	name_of(role, h->index, name);
	enum err e = spool_value_seal(plain, key, name, &sealed);
	if (e == ERR_OK) {
		struct msg_kept_put m = {.value = buf_bytes(&sealed)};
		e = channel_call(role_channel(h, ROLE_MIXER, 0), KEPT_PUT, kept_put, &m,
				 loop_now(h->loop) + LIMIT_MS, NULL);
	}
	buf_clear(&sealed);
	return e;
}
