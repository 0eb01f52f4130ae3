/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The removal of a member: all that is hers, and her place in each alias. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "loop/task.h"
#include "opener/internal.h"
#include "sealed/blob.h"

enum { DELETED_AT_ONCE = 64 * SEALED_ID_LEN }; /* octets of names */

/* Her place in each alias: alone there, the alias goes; else only her. */
struct removal {
	struct opener_changes *changes;
	const uint8_t *id;
	bool duty_lost;
};

static enum err
remove_from(void *arg, enum directory_kind kind, struct bytes plain)
{
	struct removal *x = arg;
	if (kind != DIRECTORY_ADDRESS) {
		return ERR_OK;
	}
	struct directory_address *entry = malloc(sizeof(*entry));
	if (entry == NULL) {
		return ERR_MEMORY;
	}
	enum err e = directory_address_decode(plain, entry);
	size_t kept = 0;
	for (size_t i = 0; e == ERR_OK && i < entry->count; i++) {
		if (memcmp(entry->accounts[i], x->id, SEALED_ID_LEN) != 0) {
			memmove(entry->accounts[kept++], entry->accounts[i], SEALED_ID_LEN);
		}
	}
	if (e == ERR_OK && kept == 0) {
		opener_delete_address(x->changes, entry->address);
		x->duty_lost = x->duty_lost || bytes_starts_with(entry->address, "postmaster@") ||
			       bytes_starts_with(entry->address, "abuse@");
	} else if (e == ERR_OK && kept < entry->count) {
		/* A list stays one, also with a single member: nobody may send from it who could not before. */
		entry->count = kept;
		opener_put_address(x->changes, OPENER_PUT, entry);
	}
	free(entry);
	return e == ERR_OK ? x->changes->error : e;
}

static enum err
delete_log(struct opener *o, const uint8_t id[SEALED_ID_LEN])
{
	struct msg_account_delete m;
	memcpy(m.account, id, sizeof(m.account));
	return channel_call(role_channel(o->host, ROLE_STORE, 0), ACCOUNT_DELETE, account_delete, &m,
			    opener_deadline(o), NULL);
}

/* Those of a page whose names tell that they are hers. */
static enum err
gather_blobs(struct opener *o, const uint8_t id[SEALED_ID_LEN], struct bytes names, struct buf *ret)
{
	enum err e = ERR_OK;
	for (size_t at = 0; at + SEALED_ID_LEN <= names.len && e == ERR_OK; at += SEALED_ID_LEN) {
		uint8_t owner[BLOB_OWNER_LEN];
		blob_name_owner(o->keys.key[PURPOSE_BLOB_NAME], names.ptr + at, owner);
		if (memcmp(owner, id, sizeof(owner)) == 0) {
			e = buf_append(ret, bytes_slice(names, at, SEALED_ID_LEN));
		}
	}
	return e;
}

/* Her messages' bodies. All names there are have to be looked at: the store must not know whose which is. */
static enum err
delete_blobs(struct opener *o, const uint8_t id[SEALED_ID_LEN])
{
	struct msg_blob_names q = {.unused_ = 0};
	struct msg_blob_names_reply page = {.more = 1};
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
	enum err e = ERR_OK;
	while (e == ERR_OK && page.more != 0) {
		struct buf hers = BUF_INIT(IPC_PAYLOAD_MAX);
		buf_reset(&reply);
		e = channel_call(role_channel(o->host, ROLE_STORE, 0), BLOB_NAMES, blob_names, &q,
				 opener_deadline(o), &reply);
		if (e == ERR_OK) {
			e = msg_blob_names_reply_decode(buf_bytes(&reply), &page);
		}
		if (e == ERR_OK &&
		    (page.names.len % SEALED_ID_LEN != 0 || (page.more != 0 && page.names.len == 0))) {
			e = ERR_DAMAGED; /* it would go on for ever */
		}
		if (e == ERR_OK) {
			e = gather_blobs(o, id, page.names, &hers);
		}
		if (e == ERR_OK && page.names.len > 0) {
			memcpy(q.after, page.names.ptr + page.names.len - SEALED_ID_LEN, sizeof(q.after));
		}
		/* A few at a time: others wait for the store's turns. */
		for (size_t at = 0; e == ERR_OK && at < hers.len; at += DELETED_AT_ONCE) {
			struct msg_blobs_delete d = {.names =
							 bytes_slice(buf_bytes(&hers), at, DELETED_AT_ONCE)};
			e = channel_call(role_channel(o->host, ROLE_STORE, 0), BLOBS_DELETE, blobs_delete, &d,
					 opener_deadline(o), NULL);
		}
		if (e == ERR_OK && page.more != 0) {
			e = task_yield();
		}
		buf_clear(&hers);
	}
	buf_clear(&reply);
	return e;
}

/*
 * First she can neither log in nor be written to; then her session ends, which could still write; then
 * her log goes, so that nothing can be put into it any more, then her messages, and last the entries, so that what was cut short can be ended by the same command.
 */
static enum err
remove_account(struct opener *o, struct opener_account *a, bool *ret_duty_lost)
{
	struct opener_changes c;
	opener_changes_init(&c, o);
	a->entry.status = ACCOUNT_REMOVED;
	opener_put_account(&c, OPENER_PUT, &a->entry);
	enum err e = opener_commit(&c);
	opener_changes_clear(&c);
	if (e != ERR_OK) {
		return e;
	}
	opener_close_member(o, a->id);
	e = delete_log(o, a->id);
	if (e == ERR_OK || e == ERR_NOT_FOUND) {
		e = delete_blobs(o, a->id);
	}
	if (e != ERR_OK) {
		return e;
	}
	opener_changes_init(&c, o);
	struct removal x = {.changes = &c, .id = a->id, .duty_lost = false};
	e = opener_walk(o, remove_from, &x);
	if (e == ERR_OK) {
		opener_delete_account(&c, a->id);
		e = opener_commit(&c);
	}
	opener_changes_clear(&c);
	*ret_duty_lost = x.duty_lost;
	return e;
}

void
opener_member_remove(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct opener_lock directory = {.held = false};
	struct opener_lock own = {.held = false};
	struct opener_account *account = NULL;
	bool duty_lost = false;
	enum err e = wire_end(r);
	if (e == ERR_OK) {
		e = opener_lock_take(o, opener_directory_lock, &directory);
	}
	if (e != ERR_OK) {
		opener_say_error(a, e);
	} else if (opener_find_member(o, name, a, &account)) {
		uint8_t id[SEALED_ID_LEN];
		memcpy(id, account->id, sizeof(id));
		opener_account_free(&account);
		e = opener_lock_take(o, id, &own);
		if (e == ERR_OK) {
			e = opener_account_load(o, id, &account);
		}
		if (e == ERR_OK) {
			e = remove_account(o, account, &duty_lost);
		}
		if (e != ERR_OK) {
			opener_say_error(a, e);
		} else if (duty_lost) {
			opener_say(a, ERR_OK,
				   "postmaster@ or abuse@ has nobody now. Remedy: cohue alias set "
				   "postmaster NAME, cohue alias set abuse NAME");
		}
	}
	opener_lock_give(o, &own);
	opener_lock_give(o, &directory);
	opener_account_free(&account);
}
