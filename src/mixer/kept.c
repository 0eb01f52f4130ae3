/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What other roles want to find again after a restart: sealed by them, put among the store's values, and given back. */
#include <stdio.h>
#include <stdlib.h>

#include "mixer/room.h"

enum { NAME_MAX_LEN = 32 };

struct kept {
	struct mixer *m;
	enum role from;
	unsigned index;
	uint64_t serial; /* of its channel */
	uint32_t id;
	enum msg_type type;
	char name[NAME_MAX_LEN];
	struct buf value;
};

/* Of that role alone: nobody reads another's, nor writes another place than his own. */
static void
name_of(struct kept *k, unsigned place)
{
	if (k->from == ROLE_COURIER) {
		(void)snprintf(k->name, sizeof(k->name), "courier-kept");
	} else {
		(void)snprintf(k->name, sizeof(k->name), "%s-kept-%u",
			       k->from == ROLE_SESSION ? "session" : "gate-mx", place);
	}
}

static enum err
get(struct kept *k)
{
	struct msg_meta_get q = {.name = bytes_str(k->name)};
	return channel_call(role_channel(k->m->host, ROLE_STORE, 0), META_GET, meta_get, &q,
			    loop_now(k->m->host->loop) + ROOM_LIMIT_MS, &k->value);
}

static enum err
put(struct kept *k)
{
	struct msg_meta_put q = {.name = bytes_str(k->name), .value = buf_bytes(&k->value)};
	return channel_call(role_channel(k->m->host, ROLE_STORE, 0), META_PUT, meta_put, &q,
			    loop_now(k->m->host->loop) + ROOM_LIMIT_MS, NULL);
}

static void
kept_task(void *arg)
{
	struct kept *k = arg;
	struct msg_kept_get_reply r;
	struct msg_meta_get_reply found;
	enum err e = k->type == MSG_KEPT_GET ? get(k) : put(k);
	struct channel *ch = role_channel(k->m->host, k->from, k->index);
	if (e == ERR_OK && k->type == MSG_KEPT_GET) {
		e = msg_meta_get_reply_decode(buf_bytes(&k->value), &found);
		r.value = found.value;
	}
	if (ch != NULL && channel_serial(ch) == k->serial) {
		e = e == ERR_OK && k->type == MSG_KEPT_GET
			? channel_reply(ch, KEPT_GET, kept_get_reply, k->id, &r)
			: channel_answer(ch, k->type, k->id, e);
		if (e != ERR_OK) {
			channel_end(ch);
		}
	}
	buf_clear(&k->value);
	free(k);
}

void
mixer_kept(struct mixer *m, struct channel *ch, const struct channel_message *msg)
{
	struct msg_kept_put put_message;
	struct msg_kept_get get_message;
	struct kept *k = calloc(1, sizeof(*k));
	enum err e = k == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		*k = (struct kept){.m = m,
				   .from = channel_peer(ch),
				   .index = channel_peer_index(ch),
				   .serial = channel_serial(ch),
				   .id = msg->id,
				   .type = msg->type,
				   .value = BUF_INIT(IPC_CHUNK + 64)};
		e = msg->type == MSG_KEPT_GET ? msg_kept_get_decode(msg->payload, &get_message)
					      : msg_kept_put_decode(msg->payload, &put_message);
	}
	if (e == ERR_OK) {
		name_of(k, msg->type == MSG_KEPT_GET ? get_message.place : k->index);
	}
	if (e == ERR_OK && msg->type == MSG_KEPT_PUT) {
		e = buf_append(&k->value, put_message.value);
	}
	if (e == ERR_OK) {
		e = role_spawn(m->host, kept_task, k);
	}
	if (e == ERR_OK) {
		return;
	}
	if (k != NULL) {
		buf_clear(&k->value);
		free(k);
	}
	if (e == ERR_FORMAT) {
		channel_fault(ch);
	} else if (channel_answer(ch, msg->type, msg->id, e) != ERR_OK) {
		channel_end(ch);
	}
}
