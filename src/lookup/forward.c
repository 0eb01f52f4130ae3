/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "lookup/forward.h"

#include <string.h>

#include "mail/header.h"
#include "mail/write.h"

enum {
	KEY_LIMIT_MS = 20 * 1000,
	KEY_KEEP_MS = 5 * 60 * 1000,
	FIELD_MAX = 1000,
};

/* Whether she had it sent on before: her own field stands in it. */
static bool
went_through(struct bytes message, struct bytes forwarder)
{
	struct mail_fields it;
	struct mail_field f;
	bool found = false;
	mail_fields_init(&it, message);
	while (!found && mail_fields_next(&it, &f)) {
		struct buf value = BUF_INIT(FIELD_MAX);
		found = bytes_is_nocase(f.name, "Delivered-To") && mail_unfold(f.value, &value) == ERR_OK &&
			bytes_equal_nocase(bytes_trim(buf_bytes(&value)), forwarder);
		buf_clear(&value);
	}
	return found;
}

static enum err
name_her(struct forward_plan *p, const char *domain)
{
	enum err e = buf_append(&p->text, p->entry.name);
	e = e == ERR_OK ? buf_printf(&p->text, "@%s", domain) : e;
	size_t at = p->text.len;
	e = e == ERR_OK ? buf_append(&p->text, p->entry.name) : e;
	e = e == ERR_OK ? buf_printf(&p->text, "+" FORWARD_WORD "@%s", domain) : e;
	if (e == ERR_OK) {
		p->forwarder = bytes_slice(buf_bytes(&p->text), 0, at);
		p->sender = bytes_from(buf_bytes(&p->text), at);
	}
	return e;
}

/* Who can write the directory, and not have the keeper sign, sends no mail anywhere. */
static enum err
check_wish(const struct purpose_keys *keys, struct forward_plan *p)
{
	const uint8_t *key = keys->key[PURPOSE_PUBLIC_KEY_VERIFY];
	enum err e = key == NULL ? ERR_STATE : forward_list_put(&p->entry, &p->list);
	if (e == ERR_OK && forward_list_verify(key, p->entry.id, buf_bytes(&p->list),
					       p->entry.forwards_signature) != ERR_OK) {
		e = ERR_DAMAGED;
	}
	return e;
}

enum err
forward_plan_make(struct role_host *h, const struct purpose_keys *keys, const uint8_t account[SEALED_ID_LEN],
		  struct bytes message, struct forward_plan *ret)
{
	struct lookup_account found;
	memset(ret, 0, sizeof(*ret));
	buf_init(&ret->plain, DIRECTORY_VALUE_MAX);
	buf_init(&ret->list, FORWARD_LIST_MAX);
	buf_init(&ret->text, 4 * DIRECTORY_ADDRESS_MAX + 2 * CONFIG_NAME_MAX);
	enum err e = lookup_account(h, keys, account, &found, &ret->plain, &ret->entry);
	if (e == ERR_OK && !found.forwards) {
		e = ERR_NOT_FOUND;
	}
	e = e == ERR_OK ? check_wish(keys, ret) : e;
	e = e == ERR_OK ? name_her(ret, h->config.domain) : e;
	if (e == ERR_OK &&
	    (mail_count_received(message) > FORWARD_HOPS_MAX || went_through(message, ret->forwarder))) {
		e = ERR_NOT_FOUND;
	}
	return e;
}

void
forward_plan_clear(struct forward_plan *p)
{
	buf_wipe(&p->plain);
	buf_wipe(&p->text);
	buf_wipe(&p->list);
}

void
forward_plan_part(const struct forward_plan *p, size_t i, bool null_sender, struct courier_part *part,
		  struct courier_recipient *recipient)
{
	struct bytes address = p->entry.forwards[i];
	*recipient = (struct courier_recipient){.address = address, .notify = SPOOL_NOTIFY_FAILURE};
	part->domain = bytes_from(address, (size_t)(bytes_find_last(address, '@') + 1));
	part->sender = null_sender ? BYTES_EMPTY : p->sender;
	part->forwarder = p->forwarder;
	part->forwards = buf_bytes(&p->list);
	memcpy(part->forwards_signature, p->entry.forwards_signature, sizeof(part->forwards_signature));
	part->generation = p->entry.generation;
	memcpy(part->account, p->entry.id, sizeof(part->account));
	memcpy(part->public_key, p->entry.public_key, sizeof(part->public_key));
	part->ret = SPOOL_RET_HEADERS;
	part->flags |=
	    COURIER_FORWARDED | COURIER_AUTOMATIC | (null_sender ? (uint32_t)COURIER_NULL_SENDER : 0);
	part->recipients = recipient;
	part->recipient_count = 1;
}

enum err
spool_key_fetch(struct role_host *h, struct spool_key *known)
{
	struct buf reply = BUF_INIT(256);
	struct msg_spool_key_current_reply m;
	if (known->until > loop_now(h->loop)) {
		return ERR_OK;
	}
	enum err e = channel_call_empty(role_channel(h, ROLE_KEEPER, 0), MSG_SPOOL_KEY_CURRENT,
					loop_now(h->loop) + KEY_LIMIT_MS, &reply);
	if (e == ERR_OK) {
		e = msg_spool_key_current_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		known->epoch = m.epoch;
		memcpy(known->public_key, m.public_key, sizeof(known->public_key));
		known->until = loop_now(h->loop) + KEY_KEEP_MS;
	}
	buf_clear(&reply);
	return e;
}
