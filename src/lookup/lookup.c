/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "lookup/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "sealed/blob.h"

enum {
	LIMIT_MS = 20 * 1000,
	ADDED_MAX =
	    64 *
	    1024, /* to a message before it is stored: Return-Path, Received, a frame that does not compress */
};

static msec
limit(const struct role_host *h)
{
	return loop_now(h->loop) + LIMIT_MS;
}

enum err
purpose_keys_fetch(struct role_host *h, struct purpose_keys *ret)
{
	struct channel *keeper = NULL;
	struct buf reply = BUF_INIT(IPC_SMALL);
	struct msg_purpose_keys_reply m;
	enum err e = role_wait_channel(h, ROLE_KEEPER, 0, limit(h), &keeper);
	if (e == ERR_OK && ret->verified == NULL) {
		ret->verified = calloc(1, sizeof(*ret->verified));
		e = ret->verified == NULL ? ERR_MEMORY : ERR_OK;
	}
	if (e == ERR_OK) {
		e = channel_call_empty(keeper, MSG_PURPOSE_KEYS, limit(h), &reply);
	}
	if (e == ERR_OK) {
		e = msg_purpose_keys_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		struct wire_reader r;
		wire_reader_init(&r, m.keys);
		while (e == ERR_OK && r.rest.len > 0 && r.error == ERR_OK) {
			uint8_t purpose = wire_get_u8(&r);
			if (purpose >= PURPOSE__COUNT) {
				e = ERR_FORMAT;
				break;
			}
			if (ret->key[purpose] == NULL) {
				ret->key[purpose] = secret_alloc(SEALED_KEY_LEN);
			}
			if (ret->key[purpose] == NULL) {
				e = ERR_MEMORY;
				break;
			}
			wire_get_fixed(&r, ret->key[purpose], SEALED_KEY_LEN);
		}
		e = e == ERR_OK ? wire_end(&r) : e;
	}
	buf_wipe(&reply);
	return e;
}

enum err
lookup_value(struct role_host *h, const struct purpose_keys *keys, const uint8_t key[SEALED_HASH_LEN],
	     struct buf *ret_plain, enum directory_kind *ret_kind)
{
	struct msg_directory_get q;
	struct buf reply = BUF_INIT(IPC_CHUNK);
	struct msg_directory_get_reply m;
	memcpy(q.key, key, sizeof(q.key));
	enum err e =
	    channel_call(role_channel(h, ROLE_STORE, 0), DIRECTORY_GET, directory_get, &q, limit(h), &reply);
	if (e == ERR_OK) {
		e = msg_directory_get_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		e = directory_unseal(keys->key[PURPOSE_DIRECTORY_SEAL], key, m.value, ret_plain, ret_kind);
		if (e == ERR_AUTH || e == ERR_FORMAT) {
			e = ERR_DAMAGED;
		}
	}
	buf_clear(&reply);
	return e;
}

enum err
lookup_account(struct role_host *h, const struct purpose_keys *keys, const uint8_t id[SEALED_ID_LEN],
	       struct lookup_account *ret, struct buf *ret_plain, struct directory_account *ret_entry)
{
	uint8_t key[SEALED_HASH_LEN];
	struct buf own = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct buf *plain = ret_plain != NULL ? ret_plain : &own;
	enum directory_kind kind;
	struct directory_account *entry = ret_entry != NULL ? ret_entry : calloc(1, sizeof(*entry));
	if (entry == NULL) {
		return ERR_MEMORY;
	}
	directory_account_key(keys->key[PURPOSE_DIRECTORY_HASH], id, key);
	enum err e = lookup_value(h, keys, key, plain, &kind);
	if (e == ERR_OK) {
		e = kind == DIRECTORY_ACCOUNT ? directory_account_decode(buf_bytes(plain), entry)
					      : ERR_DAMAGED;
	}
	if (e == ERR_OK && memcmp(entry->id, id, SEALED_ID_LEN) != 0) {
		e = ERR_DAMAGED;
	}
	if (e == ERR_OK && keys->key[PURPOSE_PUBLIC_KEY_VERIFY] != NULL) {
		e = verified_check(keys->verified, keys->key[PURPOSE_PUBLIC_KEY_VERIFY], entry);
	}
	if (e == ERR_OK) {
		memcpy(ret->id, id, SEALED_ID_LEN);
		memcpy(ret->public_key, entry->public_key, BOX_PUBLIC_LEN);
		ret->status = entry->status;
		ret->generation = entry->generation;
		ret->quota = entry->quota;
		ret->created_day = entry->created_day;
		ret->forwards = entry->forward_count > 0 && entry->held.len == 0 &&
				(entry->status == ACCOUNT_ACTIVE || entry->status == ACCOUNT_INVITED);
	}
	buf_wipe(&own);
	if (ret_entry == NULL) {
		free(entry);
	}
	return e;
}

/* The directory entry of one normalised address, in *entry (large: the caller's heap). */
static enum err
find_address(struct role_host *h, const struct purpose_keys *keys, struct bytes address, struct buf *plain,
	     struct directory_address *entry)
{
	uint8_t key[SEALED_HASH_LEN];
	enum directory_kind kind;
	directory_address_key(keys->key[PURPOSE_DIRECTORY_HASH], address, key);
	enum err e = lookup_value(h, keys, key, plain, &kind);
	if (e == ERR_OK) {
		e = kind == DIRECTORY_ADDRESS ? directory_address_decode(buf_bytes(plain), entry)
					      : ERR_DAMAGED;
	}
	return e;
}

/* How full an account is: asked, and answered while the task waits for something else. */
struct fill {
	struct channel *asked; /* NULL: not asked */
	bool answered;
	enum err e;
	uint64_t used;
};

static void
on_fill(void *arg, enum err status, struct bytes payload)
{
	struct fill *f = arg;
	struct msg_log_head_reply m;
	f->e = status == ERR_OK ? msg_log_head_reply_decode(payload, &m) : status;
	f->used = f->e == ERR_OK ? m.used : 0;
	f->answered = true;
}

static void
ask_fill(struct role_host *h, const uint8_t id[SEALED_ID_LEN], struct fill *f)
{
	struct channel *store = role_channel(h, ROLE_STORE, 0);
	struct msg_log_head q;
	memcpy(q.account, id, sizeof(q.account));
	if (store != NULL && channel_request(store, LOG_HEAD, log_head, &q, limit(h), on_fill, f) == ERR_OK) {
		f->asked = store;
	}
}

/* Something is left, and enough for what was declared. */
static bool
has_room(uint64_t used, uint64_t size, uint64_t quota)
{
	return used < quota && size <= quota - used;
}

/* What is known of all accounts behind an address. */
struct space {
	uint64_t size; /* declared */
	bool some;     /* one has room */
	bool spent;    /* one has none, not even with the tolerance */
};

/* The store answers in order, so the answer is there as soon as that to a later question; if not, one asks again. */
static enum err
check_fill(struct role_host *h, struct fill *f, const struct lookup_account *account, struct space *s)
{
	if (account->quota == 0) {
		s->some = true;
		return ERR_OK;
	}
	enum err e = f->answered ? f->e : lookup_used(h, account->id, &f->used);
	if (e == ERR_OK) {
		s->some = s->some || has_room(f->used, s->size, account->quota);
		s->spent = s->spent || !has_room(f->used, s->size, account->quota + h->config.message_size);
	}
	return e;
}

/* No answer may come to a stack that is no more. A channel that has gone has answered all, or forgotten it. */
static void
forget_fill(struct role_host *h, struct fill *f)
{
	if (f->asked != NULL && !f->answered && role_channel(h, ROLE_STORE, 0) == f->asked) {
		channel_forget(f->asked, f);
	}
}

/* One account of those behind an address; with `space`, how full it is, too. Who was removed is not found. */
static enum err
account_behind(struct role_host *h, const struct purpose_keys *keys, const uint8_t id[SEALED_ID_LEN],
	       struct space *space, struct lookup_account *ret)
{
	struct fill fill = {.asked = NULL};
	if (space != NULL) {
		ask_fill(h, id, &fill);
	}
	enum err e = lookup_account(h, keys, id, ret, NULL, NULL);
	if (e == ERR_OK && ret->status == ACCOUNT_REMOVED) {
		e = ERR_NOT_FOUND;
	} else if (e == ERR_OK && space != NULL) {
		e = check_fill(h, &fill, ret, space);
	}
	forget_fill(h, &fill);
	return e;
}

static enum err
accounts_behind(struct role_host *h, const struct purpose_keys *keys, const struct mail_mailbox *mailbox,
		struct space *space, struct lookup_account *ret, size_t room, size_t *ret_count)
{
	struct buf address = BUF_INIT(DIRECTORY_ADDRESS_MAX);
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct directory_address *entry = NULL;
	struct mail_mailbox whole = *mailbox;
	if (whole.domain.len == 0) {
		whole.domain = bytes_str(h->config.domain);
	}
	enum err e = mail_mailbox_normalise(&whole, &address);
	if (e == ERR_LIMIT || e == ERR_FORMAT) {
		e = ERR_NOT_FOUND;
	}
	if (e == ERR_OK) {
		ptrdiff_t at = bytes_find_last(buf_bytes(&address), '@');
		struct bytes domain = bytes_from(buf_bytes(&address), (size_t)(at + 1));
		e = at >= 0 && bytes_is(domain, h->config.domain) ? ERR_OK : ERR_DENIED;
	}
	if (e == ERR_OK) {
		entry = calloc(1, sizeof(*entry));
		e = entry == NULL ? ERR_MEMORY : find_address(h, keys, buf_bytes(&address), &plain, entry);
	}
	struct bytes base;
	struct bytes detail;
	if (e == ERR_NOT_FOUND && mail_subaddress_split(whole.local, '+', &base, &detail)) {
		whole.local = base;
		buf_reset(&address);
		buf_wipe(&plain);
		e = mail_mailbox_normalise(&whole, &address);
		e = e == ERR_OK ? find_address(h, keys, buf_bytes(&address), &plain, entry)
		    : e == ERR_LIMIT || e == ERR_FORMAT ? ERR_NOT_FOUND
							: e;
	}
	size_t count = 0;
	for (size_t i = 0; e == ERR_OK && i < entry->count; i++) {
		if (count == room) {
			e = ERR_LIMIT;
			break;
		}
		e = account_behind(h, keys, entry->accounts[i], space, &ret[count]);
		if (e == ERR_OK) {
			count++;
		} else if (e == ERR_NOT_FOUND) {
			/* Removed since the list was written. */
			e = ERR_OK;
		}
	}
	if (e == ERR_OK && count == 0) {
		e = ERR_NOT_FOUND;
	}
	if (e == ERR_OK) {
		*ret_count = count;
	}
	free(entry);
	buf_wipe(&plain);
	buf_wipe(&address);
	return e;
}

enum err
lookup_address(struct role_host *h, const struct purpose_keys *keys, const struct mail_mailbox *mailbox,
	       struct lookup_account *ret, size_t room, size_t *ret_count)
{
	return accounts_behind(h, keys, mailbox, NULL, ret, room, ret_count);
}

enum err
lookup_recipient(struct role_host *h, const struct purpose_keys *keys, const struct mail_mailbox *mailbox,
		 uint64_t size, struct lookup_account *ret, size_t room, size_t *ret_count)
{
	struct space space = {.size = size};
	size_t count = 0;
	enum err e = accounts_behind(h, keys, mailbox, &space, ret, room, &count);
	if (e == ERR_OK && (!space.some || space.spent)) {
		e = ERR_QUOTA;
	}
	if (e == ERR_OK) {
		*ret_count = count;
	}
	return e;
}

uint64_t
lookup_ceiling(const struct role_host *h, const struct lookup_account *account)
{
	uint64_t largest = blob_ladder(h->config.message_size + ADDED_MAX);
	largest += largest / 1024; /* more than its chunks' seals */
	return account->quota == 0 ? 0 : account->quota + h->config.message_size + largest;
}

enum err
lookup_used(struct role_host *h, const uint8_t id[SEALED_ID_LEN], uint64_t *ret_used)
{
	struct msg_log_head q;
	struct msg_log_head_reply m;
	struct buf reply = BUF_INIT(256);
	memcpy(q.account, id, sizeof(q.account));
	enum err e = channel_call(role_channel(h, ROLE_STORE, 0), LOG_HEAD, log_head, &q, limit(h), &reply);
	if (e == ERR_OK) {
		e = msg_log_head_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		*ret_used = m.used;
	}
	buf_clear(&reply);
	return e;
}
