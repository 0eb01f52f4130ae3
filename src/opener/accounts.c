/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Accounts as the directory has them: read, opened, changed in one transaction. */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "loop/task.h"
#include "opener/internal.h"
#include "process/log.h"

enum { LOCK_STEP_MS = 10, LOCK_MOST_MS = 60 * 1000 };

enum err
opener_address(const struct opener *o, struct bytes local, struct buf *ret)
{
	enum err e = buf_append(ret, local);
	return e == ERR_OK ? buf_printf(ret, "@%s", o->host->config.domain) : e;
}

enum err
opener_fetch(struct opener *o, const uint8_t key[SEALED_HASH_LEN], struct buf *ret)
{
	struct msg_directory_get q;
	struct msg_directory_get_reply m;
	struct buf reply = BUF_INIT(IPC_CHUNK);
	memcpy(q.key, key, sizeof(q.key));
	enum err e = channel_call(role_channel(o->host, ROLE_STORE, 0), DIRECTORY_GET, directory_get, &q,
				  opener_deadline(o), &reply);
	if (e == ERR_OK) {
		e = msg_directory_get_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		e = buf_append(ret, m.value);
	}
	buf_clear(&reply);
	return e;
}

enum err
opener_find_address(struct opener *o, struct bytes address, struct buf *plain, struct directory_address *ret)
{
	uint8_t key[SEALED_HASH_LEN];
	enum directory_kind kind;
	directory_address_key(o->keys.key[PURPOSE_DIRECTORY_HASH], address, key);
	enum err e = lookup_value(o->host, &o->keys, key, plain, &kind);
	if (e == ERR_OK && kind != DIRECTORY_ADDRESS) {
		e = ERR_DAMAGED;
	}
	return e == ERR_OK ? directory_address_decode(buf_bytes(plain), ret) : e;
}

/* ---- one account ---- */

enum err
opener_account_load(struct opener *o, const uint8_t id[SEALED_ID_LEN], struct opener_account **ret)
{
	struct lookup_account found;
	uint8_t key[SEALED_HASH_LEN];
	struct opener_account *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		return ERR_MEMORY;
	}
	memcpy(a->id, id, sizeof(a->id));
	buf_init(&a->plain, DIRECTORY_VALUE_MAX);
	buf_init(&a->slots_value, DIRECTORY_VALUE_MAX);
	member_keys_init(&a->keys);
	enum err e = lookup_account(o->host, &o->keys, id, &found, &a->plain, &a->entry);
	/* Asked for in any case: whether it is there must not show in the number of questions. */
	sealed_slots_key(o->keys.key[PURPOSE_DIRECTORY_HASH], id, key);
	enum err f = opener_fetch(o, key, &a->slots_value);
	e = e == ERR_OK ? f : e;
	if (e == ERR_OK) {
		*ret = a;
	} else {
		opener_account_free(&a);
	}
	return e;
}

void
opener_account_free(struct opener_account **account)
{
	struct opener_account *a = *account;
	if (a == NULL) {
		return;
	}
	sealed_slots_destroy(&a->slots);
	member_keys_clear(&a->keys);
	buf_wipe(&a->plain);
	buf_wipe(&a->slots_value);
	secret_wipe(a, sizeof(*a));
	free(a);
	*account = NULL;
}

enum err
opener_account_refresh(struct opener *o, struct opener_account *a)
{
	struct opener_account *now = NULL;
	enum err e = opener_account_load(o, a->id, &now);
	if (e == ERR_OK) {
		struct buf plain = a->plain;
		struct buf value = a->slots_value;
		a->plain = now->plain;
		a->slots_value = now->slots_value;
		a->entry = now->entry;
		now->plain = plain;
		now->slots_value = value;
	}
	opener_account_free(&now);
	return e;
}

struct opening {
	const struct opener *o;
	struct opener_account *account;
	struct bytes password;
	enum err result;
};

/* On the thread. */
static void
open_main(void *arg)
{
	struct opening *j = arg;
	const uint8_t *pepper = j->o->keys.key[PURPOSE_PEPPER];
	j->result = j->account == NULL ? sealed_slots_fake_open(pepper, j->password, NULL)
				       : sealed_slots_open_main(j->account->slots, pepper, j->password,
								&j->account->keys, &j->account->slot);
}

static enum err
unseal_slots(const struct opener *o, struct opener_account *a)
{
	uint8_t key[SEALED_HASH_LEN];
	if (a == NULL || a->slots != NULL) {
		return ERR_OK;
	}
	sealed_slots_key(o->keys.key[PURPOSE_DIRECTORY_HASH], a->id, key);
	enum err e = sealed_slots_unseal(o->keys.key[PURPOSE_DIRECTORY_SEAL], key, a->id,
					 buf_bytes(&a->slots_value), &a->slots);
	return e == ERR_OK || e == ERR_MEMORY ? e : ERR_DAMAGED;
}

enum err
opener_open_scram(struct opener *o, struct opener_account *a, const struct slot_scram *scram,
		  const struct scram_message *m, const uint8_t proof[SCRAM_KEY_LEN],
		  uint8_t ret_signature[SCRAM_KEY_LEN])
{
	const uint8_t *pepper = o->keys.key[PURPOSE_PEPPER];
	enum err e = unseal_slots(o, a);
	if (e != ERR_OK) {
		return e;
	}
	return a == NULL ? sealed_slots_fake_scram(pepper, scram, m, proof)
			 : sealed_slots_open_scram(a->slots, pepper, scram, m, proof, &a->keys, &a->slot,
						   ret_signature);
}

enum err
opener_open(struct opener *o, struct opener_account *a, struct bytes secret, bool recovery_allowed)
{
	const uint8_t *pepper = o->keys.key[PURPOSE_PEPPER];
	struct slot_code code;
	enum err e = unseal_slots(o, a);
	if (e != ERR_OK) {
		return e;
	}
	if (slot_code_parse(secret, &code) == ERR_OK) {
		if (code.kind == SLOT_RECOVERY && !recovery_allowed) {
			a = NULL;
		}
		e = a == NULL ? sealed_slots_fake_open(pepper, secret, &code)
			      : sealed_slots_open_code(a->slots, pepper, &code, &a->keys, &a->slot);
		secret_wipe(&code, sizeof(code));
		return e;
	}
	struct opening j = {.o = o, .account = a, .password = secret, .result = ERR_AGAIN};
	e = work_run(o->work, open_main, &j);
	return e == ERR_OK ? j.result : e;
}

enum err
opener_rekey(struct opener *o, struct opener_account *a)
{
	struct msg_sign_public q = {.mac = BYTES_EMPTY};
	struct msg_sign_public_reply m;
	struct buf reply = BUF_INIT(256);
	memcpy(q.account, a->id, sizeof(q.account));
	q.generation = sealed_slots_generation(a->slots, q.public_key);
	enum err e = channel_call(role_channel(o->host, ROLE_KEEPER, 0), SIGN_PUBLIC, sign_public, &q,
				  opener_deadline(o), &reply);
	if (e == ERR_OK) {
		e = msg_sign_public_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		a->entry.generation = q.generation;
		memcpy(a->entry.public_key, q.public_key, sizeof(a->entry.public_key));
		memcpy(a->entry.signature, m.signature, sizeof(a->entry.signature));
		a->entry.unsigned_yet = false;
	}
	buf_clear(&reply);
	return e;
}

/* ---- locks ---- */

static bool
is_locked(const struct opener *o, const uint8_t account[SEALED_ID_LEN])
{
	for (const struct opener_lock *l = o->locks; l != NULL; l = l->next) {
		if (memcmp(l->account, account, SEALED_ID_LEN) == 0) {
			return true;
		}
	}
	return false;
}

enum err
opener_lock_take(struct opener *o, const uint8_t account[SEALED_ID_LEN], struct opener_lock *ret)
{
	msec until = loop_now(o->host->loop) + LOCK_MOST_MS;
	ret->held = false;
	while (is_locked(o, account)) {
		enum err e = loop_now(o->host->loop) >= until ? ERR_AGAIN : task_sleep(LOCK_STEP_MS);
		if (e != ERR_OK) {
			return e;
		}
	}
	memcpy(ret->account, account, SEALED_ID_LEN);
	ret->next = o->locks;
	ret->held = true;
	o->locks = ret;
	return ERR_OK;
}

void
opener_lock_give(struct opener *o, struct opener_lock *l)
{
	if (!l->held) {
		return;
	}
	for (struct opener_lock **p = &o->locks; *p != NULL; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			break;
		}
	}
	l->held = false;
}

/* ---- transactions ---- */

enum { OP_DELETE = 3, OP_KNOW = 4 };

void
opener_changes_init(struct opener_changes *c, struct opener *o)
{
	c->o = o;
	c->error = ERR_OK;
	buf_init(&c->ops, IPC_PAYLOAD_MAX - 64);
}

void
opener_changes_clear(struct opener_changes *c)
{
	buf_wipe(&c->ops);
}

static void
add_op(struct opener_changes *c, unsigned op, const uint8_t key[SEALED_HASH_LEN], struct bytes value)
{
	struct wire_writer w;
	if (c->error != ERR_OK) {
		return;
	}
	wire_writer_init(&w, &c->ops);
	wire_put_u8(&w, (uint8_t)op);
	wire_put_fixed(&w, key, SEALED_HASH_LEN);
	wire_put_bytes(&w, value);
	c->error = wire_done(&w);
}

void
opener_put_address(struct opener_changes *c, enum opener_op op, const struct directory_address *entry)
{
	uint8_t key[SEALED_HASH_LEN];
	struct buf value = BUF_INIT(DIRECTORY_VALUE_MAX);
	directory_address_key(c->o->keys.key[PURPOSE_DIRECTORY_HASH], entry->address, key);
	enum err e = directory_address_seal(entry, c->o->keys.key[PURPOSE_DIRECTORY_SEAL], key, &value);
	c->error = c->error == ERR_OK ? e : c->error;
	add_op(c, op, key, buf_bytes(&value));
	buf_clear(&value);
}

void
opener_delete_address(struct opener_changes *c, struct bytes address)
{
	uint8_t key[SEALED_HASH_LEN];
	directory_address_key(c->o->keys.key[PURPOSE_DIRECTORY_HASH], address, key);
	add_op(c, OP_DELETE, key, BYTES_EMPTY);
}

void
opener_put_account(struct opener_changes *c, enum opener_op op, const struct directory_account *entry)
{
	uint8_t key[SEALED_HASH_LEN];
	struct buf value = BUF_INIT(DIRECTORY_VALUE_MAX);
	directory_account_key(c->o->keys.key[PURPOSE_DIRECTORY_HASH], entry->id, key);
	enum err e = directory_account_seal(entry, c->o->keys.key[PURPOSE_DIRECTORY_SEAL], key, &value);
	c->error = c->error == ERR_OK ? e : c->error;
	add_op(c, op, key, buf_bytes(&value));
	buf_clear(&value);
}

void
opener_put_slots(struct opener_changes *c, enum opener_op op, const struct sealed_slots *slots,
		 const uint8_t account[SEALED_ID_LEN])
{
	uint8_t key[SEALED_HASH_LEN];
	struct buf value = BUF_INIT(DIRECTORY_VALUE_MAX);
	sealed_slots_key(c->o->keys.key[PURPOSE_DIRECTORY_HASH], account, key);
	enum err e = sealed_slots_seal(slots, c->o->keys.key[PURPOSE_DIRECTORY_SEAL], key, &value);
	c->error = c->error == ERR_OK ? e : c->error;
	add_op(c, op, key, buf_bytes(&value));
	buf_clear(&value);
}

void
opener_know_account(struct opener_changes *c, const uint8_t account[SEALED_ID_LEN])
{
	static const uint8_t no_key[SEALED_HASH_LEN];
	add_op(c, OP_KNOW, no_key, bytes_of(account, SEALED_ID_LEN));
}

void
opener_delete_account(struct opener_changes *c, const uint8_t account[SEALED_ID_LEN])
{
	uint8_t key[SEALED_HASH_LEN];
	directory_account_key(c->o->keys.key[PURPOSE_DIRECTORY_HASH], account, key);
	add_op(c, OP_DELETE, key, BYTES_EMPTY);
	sealed_slots_key(c->o->keys.key[PURPOSE_DIRECTORY_HASH], account, key);
	add_op(c, OP_DELETE, key, BYTES_EMPTY);
}

enum err
opener_commit(struct opener_changes *c)
{
	struct msg_directory_write m = {.ops = buf_bytes(&c->ops)};
	if (c->error != ERR_OK) {
		return c->error;
	}
	c->o->revision++;
	enum err e = channel_call(role_channel(c->o->host, ROLE_STORE, 0), DIRECTORY_WRITE, directory_write,
				  &m, opener_deadline(c->o), NULL);
	/* Once more: who read between the two saw either state. */
	c->o->revision++;
	return e;
}

/* ---- all entries ---- */

static enum err
walk_rows(struct opener *o, struct bytes rows, uint8_t ret_last[SEALED_HASH_LEN], opener_walk_fn *fn,
	  void *arg)
{
	struct wire_reader r;
	enum err e = ERR_OK;
	wire_reader_init(&r, rows);
	while (e == ERR_OK && r.rest.len > 0 && r.error == ERR_OK) {
		struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
		enum directory_kind kind;
		wire_get_fixed(&r, ret_last, SEALED_HASH_LEN);
		struct bytes value = wire_get_bytes(&r, DIRECTORY_VALUE_MAX * 2);
		e = r.error;
		if (e == ERR_OK) {
			e = directory_unseal(o->keys.key[PURPOSE_DIRECTORY_SEAL], ret_last, value, &plain,
					     &kind);
			e = e == ERR_OK || e == ERR_MEMORY ? e : ERR_DAMAGED;
		}
		if (e == ERR_OK) {
			e = fn(arg, kind, buf_bytes(&plain));
		}
		buf_wipe(&plain);
	}
	return e;
}

enum err
opener_walk(struct opener *o, opener_walk_fn *fn, void *arg)
{
	struct msg_directory_walk q;
	struct msg_directory_walk_reply m = {.more = 1};
	struct buf reply = BUF_INIT(IPC_PAYLOAD_MAX);
	enum err e = ERR_OK;
	memset(q.after, 0, sizeof(q.after));
	while (e == ERR_OK && m.more != 0) {
		buf_reset(&reply);
		e = channel_call(role_channel(o->host, ROLE_STORE, 0), DIRECTORY_WALK, directory_walk, &q,
				 opener_deadline(o), &reply);
		if (e == ERR_OK) {
			e = msg_directory_walk_reply_decode(buf_bytes(&reply), &m);
		}
		if (e == ERR_OK && m.more != 0 && m.rows.len == 0) {
			e = ERR_DAMAGED; /* it would go on for ever */
		}
		if (e == ERR_OK) {
			e = walk_rows(o, m.rows, q.after, fn, arg);
		}
		if (e == ERR_OK && m.more != 0) {
			e = task_yield();
		}
	}
	buf_clear(&reply);
	return e;
}

/* ---- a directory of an older program ---- */

struct renewal {
	struct opener_changes changes;
	bool refused; /* an entry whose MAC does not fit */
};

enum { RENEWAL_BYTES = 256 * 1024 };

static enum err
write_renewed(struct renewal *n)
{
	struct opener *o = n->changes.o;
	enum err e = n->changes.ops.len > 0 ? opener_commit(&n->changes) : n->changes.error;
	opener_changes_clear(&n->changes);
	opener_changes_init(&n->changes, o);
	return e;
}

/* ERR_AUTH: its MAC does not fit. */
static enum err
sign_old(struct renewal *n, struct directory_account *entry)
{
	struct opener *o = n->changes.o;
	struct buf reply = BUF_INIT(256);
	struct msg_sign_public q = {.generation = entry->generation,
				    .mac = bytes_of(entry->mac, sizeof(entry->mac))};
	struct msg_sign_public_reply m;
	memcpy(q.account, entry->id, sizeof(q.account));
	memcpy(q.public_key, entry->public_key, sizeof(q.public_key));
	enum err e = channel_call(role_channel(o->host, ROLE_KEEPER, 0), SIGN_PUBLIC, sign_public, &q,
				  opener_deadline(o), &reply);
	if (e == ERR_OK) {
		e = msg_sign_public_reply_decode(buf_bytes(&reply), &m);
	}
	buf_clear(&reply);
	if (e == ERR_OK) {
		memcpy(entry->signature, m.signature, sizeof(entry->signature));
		entry->unsigned_yet = false;
		opener_put_account(&n->changes, OPENER_PUT, entry);
		e = n->changes.error;
	}
	return e;
}

static enum err
renew(void *arg, enum directory_kind kind, struct bytes plain)
{
	struct renewal *n = arg;
	struct directory_account entry;
	if (kind != DIRECTORY_ACCOUNT) {
		return ERR_OK;
	}
	if (directory_account_decode(plain, &entry) != ERR_OK) {
		return ERR_DAMAGED;
	}
	enum err e = entry.unsigned_yet ? sign_old(n, &entry) : ERR_OK;
	if (e == ERR_AUTH) {
		n->refused = true;
		e = ERR_OK;
	}
	if (e == ERR_OK && entry.status != ACCOUNT_REMOVED) {
		opener_know_account(&n->changes, entry.id);
		e = n->changes.error;
	}
	return e == ERR_OK && n->changes.ops.len > RENEWAL_BYTES ? write_renewed(n) : e;
}

enum err
opener_renew(struct opener *o)
{
	/* 1: signed keys, and accounts that the store knows. */
	struct msg_meta_get q = {.name = BYTES_LIT("directory-form")};
	struct msg_meta_put p = {.name = q.name, .value = BYTES_LIT("1")};
	struct buf reply = BUF_INIT(IPC_CHUNK);
	struct renewal n = {.refused = false};
	enum err e = channel_call(role_channel(o->host, ROLE_STORE, 0), META_GET, meta_get, &q,
				  opener_deadline(o), &reply);
	buf_clear(&reply);
	if (e != ERR_NOT_FOUND) {
		return e;
	}
	opener_changes_init(&n.changes, o);
	e = opener_walk(o, renew, &n);
	if (e == ERR_OK) {
		e = write_renewed(&n);
	}
	opener_changes_clear(&n.changes);
	if (e == ERR_OK && n.refused) {
		log_event(LOG_LEVEL_ERROR,
			  "a member's public key does not verify: she gets no mail. Remedy: stop "
			  "the service and run `cohue check`");
		return ERR_OK;
	}
	return e != ERR_OK ? e
			   : channel_call(role_channel(o->host, ROLE_STORE, 0), META_PUT, meta_put, &p,
					  opener_deadline(o), NULL);
}

/* ---- session workers ---- */

unsigned
opener_worker_of(const struct opener *o, const uint8_t account[SEALED_ID_LEN])
{
	return account[0] % o->host->config.session_workers;
}

void
opener_close_member(struct opener *o, const uint8_t account[SEALED_ID_LEN])
{
	struct msg_member_close m;
	memcpy(m.account, account, sizeof(m.account));
	struct channel *ch = role_channel(o->host, ROLE_SESSION, opener_worker_of(o, account));
	enum err e = channel_call(ch, MEMBER_CLOSE, member_close, &m, opener_deadline(o), NULL);
	/* A worker that does not answer any more is restarted by the supervisor, and has then no session. */
	(void)e;
}
