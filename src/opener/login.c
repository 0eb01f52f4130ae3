/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * A login: throttle, look up, open, hand the keys to the session's worker. Whatever is wrong (the name,
 * the password, the account's state), the same questions are asked of the store, the same work is done,
 * and the same answer is given.
 */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/crypto.h"
#include "loop/task.h"
#include "opener/internal.h"
#include "opener/name.h"
#include "process/log.h"

enum { TRIES = 3, NAME_ROOM = 512 };

struct request {
	struct opener *o;
	unsigned gate;
	unsigned life; /* of the gate */
	enum msg_type type;
	uint32_t id;
	struct buf payload; /* holds the password */
};

/* What somebody shows to be let in: a password, or (scram not NULL) a proof that she has one. */
struct claim {
	struct bytes password;
	const struct msg_scram_final *scram;
	struct slot_scram salt;
	uint8_t signature[SCRAM_KEY_LEN]; /* once the proof was right */
	bool right;
	bool used;        /* the nonce, in this login */
	bool no_verifier; /* none can be made now: the login goes on without */
};

static bool
may_log_in(const struct opener_account *a)
{
	return a->entry.status == ACCOUNT_INVITED || a->entry.status == ACCOUNT_ACTIVE;
}

/* Whose address it is. What is no one's gives an id that nobody has: the same questions follow. */
static enum err
find_id(struct opener *o, struct bytes address, uint8_t ret_id[SEALED_ID_LEN], bool *ret_found)
{
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	uint8_t nobody[CRYPTO_HASH_LEN];
	struct directory_address *entry = calloc(1, sizeof(*entry));
	if (entry == NULL) {
		return ERR_MEMORY;
	}
	crypto_mac(o->keys.key[PURPOSE_DIRECTORY_HASH], address, nobody);
	memcpy(ret_id, nobody, SEALED_ID_LEN);
	*ret_found = false;
	enum err e = opener_find_address(o, address, &plain, entry);
	if (e == ERR_OK && entry->count == 1) {
		memcpy(ret_id, entry->accounts[0], SEALED_ID_LEN);
		*ret_found = true;
	}
	buf_wipe(&plain);
	free(entry);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/*
 * The first login: whoever created the account knew its first secrets, so a new generation begins. ERR_CONFLICT: somebody
 * else changed the account meanwhile.
 */
static enum err
activate(struct opener *o, struct opener_account *a)
{
	struct opener_lock lock = {.held = false};
	struct opener_account *now = NULL;
	struct opener_changes c;
	opener_changes_init(&c, o);
	enum err e = opener_lock_take(o, a->id, &lock);
	if (e == ERR_OK) {
		e = opener_account_load(o, a->id, &now);
	}
	if (e == ERR_OK && (!bytes_equal(buf_bytes(&now->plain), buf_bytes(&a->plain)) ||
			    !bytes_equal(buf_bytes(&now->slots_value), buf_bytes(&a->slots_value)))) {
		e = ERR_CONFLICT;
	}
	if (e == ERR_OK) {
		e = sealed_slots_new_generation(a->slots, &a->keys);
	}
	if (e == ERR_OK) {
		e = opener_rekey(o, a);
	}
	if (e == ERR_OK) {
		a->entry.status = ACCOUNT_ACTIVE;
		opener_put_account(&c, OPENER_PUT, &a->entry);
		opener_put_slots(&c, OPENER_PUT, a->slots, a->id);
		e = opener_commit(&c);
	}
	opener_changes_clear(&c);
	opener_account_free(&now);
	opener_lock_give(o, &lock);
	return e;
}

/* A change came in between: is what was opened still what stands there? */
static enum err
look_again(struct opener *o, const struct opener_account *a)
{
	struct opener_account *now = NULL;
	enum err e = opener_account_load(o, a->id, &now);
	if (e == ERR_OK &&
	    (!may_log_in(now) || !bytes_equal(buf_bytes(&now->slots_value), buf_bytes(&a->slots_value)))) {
		e = ERR_CONFLICT;
	}
	opener_account_free(&now);
	return e == ERR_NOT_FOUND ? ERR_CONFLICT : e;
}

enum err
opener_hand_over(struct opener *o, const struct opener_account *a, bool commit, struct msg_login_reply *ret)
{
	struct msg_member_open m;
	struct buf keys = BUF_INIT(IPC_CHUNK);
	unsigned worker = opener_worker_of(o, a->id);
	memset(&m, 0, sizeof(m));
	enum err e = sealed_slots_hash(a->slots, m.slots_hash);
	if (e == ERR_OK) {
		e = member_keys_encode(&a->keys, &keys);
	}
	if (e == ERR_OK) {
		crypto_random_bytes(m.token, sizeof(m.token));
		memcpy(m.account, a->id, sizeof(m.account));
		m.slot = a->slot > UINT16_MAX ? UINT16_MAX : (uint16_t)a->slot;
		m.slots_revision = sealed_slots_revision(a->slots);
		m.commit = commit ? 1 : 0;
		m.keys = buf_bytes(&keys);
		m.profile = buf_bytes(&a->plain);
		e = channel_call(role_channel(o->host, ROLE_SESSION, worker), MEMBER_OPEN, member_open, &m,
				 opener_deadline(o), NULL);
	}
	if (e == ERR_OK && ret != NULL) {
		ret->worker = (uint16_t)worker;
		memcpy(ret->token, m.token, sizeof(ret->token));
	} else if (e == ERR_AUTH) {
		e = ERR_AGAIN;
	}
	buf_wipe(&keys);
	return e;
}

/*
 * The one moment at which the server knows an application password made before there were verifiers is its login: it gets one.
 * ERR_CONFLICT: start anew.
 */
static enum err
add_verifier(struct opener *o, struct opener_account *a, struct claim *claim)
{
	struct opener_lock lock = {.held = false};
	struct opener_account *now = NULL;
	struct opener_changes c;
	struct slot_code code;
	opener_changes_init(&c, o);
	enum err e = slot_code_parse(claim->password, &code) == ERR_OK ? ERR_OK : ERR_STATE;
	if (e == ERR_OK) {
		e = opener_lock_take(o, a->id, &lock);
	}
	if (e == ERR_OK) {
		e = opener_account_load(o, a->id, &now);
	}
	bool same = e == ERR_OK && bytes_equal(buf_bytes(&now->slots_value), buf_bytes(&a->slots_value));
	if (same) {
		e = opener_add_scram(o, a->entry.name, a->slots, &code);
		opener_put_slots(&c, OPENER_PUT, a->slots, a->id);
		e = e == ERR_OK ? opener_commit(&c) : e;
		e = e == ERR_OK ? opener_account_refresh(o, a) : e;
	}
	/* The list in hand is then not the one in the store. */
	claim->no_verifier = same && e != ERR_OK;
	secret_wipe(&code, sizeof(code));
	opener_changes_clear(&c);
	opener_account_free(&now);
	opener_lock_give(o, &lock);
	return same && e == ERR_OK ? ERR_OK : e == ERR_OK || same ? ERR_CONFLICT : e;
}

static bool
wants_verifier(struct opener *o, const struct opener_account *a, const struct claim *claim)
{
	struct slot_code code;
	struct slot_scram scram;
	struct buf address = BUF_INIT(NAME_ROOM);
	bool wants = claim->scram == NULL && !claim->no_verifier &&
		     slot_code_parse(claim->password, &code) == ERR_OK && code.kind == SLOT_APP &&
		     opener_address(o, a->entry.name, &address) == ERR_OK;
	if (wants) {
		opener_scram_of(o, buf_bytes(&address), &scram);
		wants = !sealed_slots_has_scram(a->slots, a->slot, &scram);
	}
	secret_wipe(&code, sizeof(code));
	buf_wipe(&address);
	return wants;
}

/* Opens the account with what was shown. A nonce lets in once. */
static enum err
try_claim(struct opener *o, struct opener_account *a, struct claim *claim)
{
	const struct msg_scram_final *m = claim->scram;
	if (m == NULL) {
		enum err e = opener_open(o, a, claim->password, false);
		claim->right = e == ERR_OK;
		return e;
	}
	const struct scram_message message = {.head = m->head, .tail = m->tail};
	enum err e = opener_open_scram(o, a, &claim->salt, &message, m->proof, claim->signature);
	if (e == ERR_OK && !claim->used) {
		e = scram_nonce_use(o->nonces, loop_now(o->host->loop), m->nonce);
		claim->used = e == ERR_OK;
	}
	claim->right = e == ERR_OK;
	return e;
}

static enum err
attempt(struct opener *o, struct bytes address, struct claim *claim, struct msg_login_reply *ret)
{
	uint8_t id[SEALED_ID_LEN];
	struct opener_account *a = NULL;
	bool found = false;
	uint64_t revision = o->revision;
	enum err e = find_id(o, address, id, &found);
	if (e == ERR_OK) {
		e = opener_account_load(o, id, &a);
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	if (e != ERR_OK) {
		return e;
	}
	e = try_claim(o, found && a != NULL && may_log_in(a) ? a : NULL, claim);
	if (e == ERR_OK && a->entry.status == ACCOUNT_INVITED) {
		e = activate(o, a);
		revision = o->revision;
		if (e == ERR_OK) {
			e = opener_account_refresh(o, a);
		}
	}
	if (e == ERR_OK && wants_verifier(o, a, claim)) {
		e = add_verifier(o, a, claim);
		revision = e == ERR_OK ? o->revision : revision;
	}
	if (e == ERR_OK && revision != o->revision) {
		e = look_again(o, a);
	}
	if (e == ERR_OK) {
		e = opener_hand_over(o, a, false, ret);
		/* The worker knows a newer slot list than the store has given: not a race, since that was looked at. */
		e = e == ERR_CONFLICT ? ERR_DAMAGED : e;
	}
	opener_account_free(&a);
	return e;
}

enum err
opener_login_name(const struct opener *o, struct bytes typed, struct buf *ret)
{
	enum err e = name_of_login(typed, o->host->config.domain, ret);
	if (e == ERR_FORMAT || e == ERR_DENIED) {
		uint8_t digest[CRYPTO_HASH_LEN];
		crypto_digest(typed, digest);
		buf_reset(ret);
		/* Not an address: no entry can have this key. */
		e = buf_append(ret, BYTES_LIT("@"));
		e = e == ERR_OK ? buf_append_hex(ret, bytes_of(digest, sizeof(digest))) : e;
	}
	return e;
}

/* Under the address of a login; `from` is the network's. */
static enum err
let_in(struct opener *o, struct bytes address, const uint8_t from[16], bool guessable, struct claim *claim,
       struct msg_login_reply *ret)
{
	struct throttle_attempt t = {.name = address, .guessable = guessable};
	memcpy(t.address, from, sizeof(t.address));
	msec wait = throttle_enter(o->throttle, loop_now(o->host->loop), &t);
	if (wait == THROTTLE_REFUSED) {
		return ERR_AGAIN;
	}
	enum err e = wait > 0 ? task_sleep(wait) : ERR_OK;
	if (e == ERR_OK) {
		e = ERR_CONFLICT;
	}
	for (unsigned i = 0; i < TRIES && e == ERR_CONFLICT; i++) {
		e = attempt(o, address, claim, ret);
	}
	msec now = loop_now(o->host->loop);
	if (claim->right) {
		throttle_succeeded(o->throttle, now, &t);
	} else if (e != ERR_AUTH) {
		throttle_undo(o->throttle, now, &t);
	}
	return e;
}

enum err
opener_log_in(struct opener *o, const struct msg_login *m, struct msg_login_reply *ret)
{
	struct buf address = BUF_INIT(NAME_ROOM);
	struct slot_code code;
	struct claim claim = {.password = m->password};
	enum err e = opener_login_name(o, m->name, &address);
	if (e == ERR_OK) {
		bool guessable = slot_code_parse(m->password, &code) != ERR_OK;
		secret_wipe(&code, sizeof(code));
		e = let_in(o, buf_bytes(&address), m->address, guessable, &claim, ret);
	}
	buf_wipe(&address);
	return e;
}

/* What the proof signs must end in the nonce that it came with; a proof over anything else is one for another dialogue. */
static bool
signs_nonce(const struct msg_scram_final *m)
{
	struct buf wanted = BUF_INIT(IPC_SMALL);
	ptrdiff_t at = -1;
	if (buf_append_str(&wanted, ",r=") == ERR_OK && buf_append(&wanted, m->client_nonce) == ERR_OK &&
	    buf_append(&wanted, bytes_of(m->nonce, sizeof(m->nonce))) == ERR_OK) {
		at = bytes_search(m->tail, buf_bytes(&wanted));
	}
	size_t end = at < 0 ? 0 : (size_t)at + wanted.len;
	bool signs = at >= 0 && (end == m->tail.len || m->tail.ptr[end] == ',');
	buf_clear(&wanted);
	return signs;
}

enum err
opener_scram_log_in(struct opener *o, const struct msg_scram_final *m, struct msg_scram_final_reply *ret)
{
	struct buf address = BUF_INIT(NAME_ROOM);
	struct claim claim = {.scram = m};
	struct msg_login_reply r;
	memset(&r, 0, sizeof(r));
	enum err e = opener_login_name(o, m->name, &address);
	if (e == ERR_OK && (!scram_nonce_check(o->nonces, loop_now(o->host->loop), buf_bytes(&address),
					       m->client_nonce, m->nonce) ||
			    !signs_nonce(m))) {
		/* No honest gate asks so but after a restart of this role, and then a new dialogue helps. */
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		opener_scram_of(o, buf_bytes(&address), &claim.salt);
		/* Nobody's own password has a verifier: there is nothing to guess. */
		e = let_in(o, buf_bytes(&address), m->address, false, &claim, &r);
	}
	if (e == ERR_OK) {
		ret->worker = r.worker;
		memcpy(ret->token, r.token, sizeof(ret->token));
		memcpy(ret->signature, claim.signature, sizeof(ret->signature));
	}
	secret_wipe(&r, sizeof(r));
	secret_wipe(&claim, sizeof(claim));
	buf_wipe(&address);
	return e;
}

static void
answer(struct request *q, enum err e, const struct msg_login_reply *r, const struct msg_scram_final_reply *s)
{
	struct opener *o = q->o;
	struct channel *ch = role_channel(o->host, ROLE_GATE_MEMBER, q->gate);
	if (ch == NULL || o->gate_lives[q->gate] != q->life) {
		return;
	}
	e = e != ERR_OK            ? channel_answer(ch, q->type, q->id, e)
	    : q->type == MSG_LOGIN ? channel_reply(ch, LOGIN, login_reply, q->id, r)
				   : channel_reply(ch, SCRAM_FINAL, scram_final_reply, q->id, s);
	if (e != ERR_OK) {
		channel_end(ch);
	}
}

static void
login_task(void *arg)
{
	struct request *q = arg;
	struct opener *o = q->o;
	struct msg_login m;
	struct msg_login_reply r;
	struct msg_scram_final f;
	struct msg_scram_final_reply s;
	memset(&r, 0, sizeof(r));
	memset(&s, 0, sizeof(s));
	enum err e = ERR_OK;
	if (q->type == MSG_LOGIN) {
		e = msg_login_decode(buf_bytes(&q->payload), &m);
		e = e == ERR_OK ? opener_log_in(o, &m, &r) : e;
	} else {
		e = msg_scram_final_decode(buf_bytes(&q->payload), &f);
		e = e == ERR_OK ? opener_scram_log_in(o, &f, &s) : e;
	}
	if (e == ERR_OK) {
		o->seen_logins++;
	} else if (e == ERR_AUTH) {
		o->seen_refused++;
	} else {
		/* Nothing was said of the password. */
		o->seen_deferred++;
		/* What is damaged the gate tells, under a reference that she hears. */
		e = e == ERR_DAMAGED ? e : ERR_AGAIN;
	}
	answer(q, e, &r, &s);
	secret_wipe(&r, sizeof(r));
	secret_wipe(&s, sizeof(s));
	secret_wipe(&f, sizeof(f));
	buf_wipe(&q->payload);
	free(q);
	o->logins--;
}

void
opener_login(struct opener *o, struct channel *ch, const struct channel_message *m)
{
	struct msg_login login;
	struct msg_scram_final final;
	unsigned gate = channel_peer_index(ch);
	if ((m->type == MSG_LOGIN ? msg_login_decode(m->payload, &login)
				  : msg_scram_final_decode(m->payload, &final)) != ERR_OK) {
		channel_fault(ch);
		return;
	}
	struct request *q = o->logins < OPENER_LOGINS_MAX ? calloc(1, sizeof(*q)) : NULL;
	enum err e = q == NULL ? ERR_AGAIN : ERR_OK;
	if (e == ERR_OK) {
		*q = (struct request){
		    .o = o, .gate = gate, .life = o->gate_lives[gate], .type = m->type, .id = m->id};
		buf_init(&q->payload, IPC_SMALL);
		e = buf_append(&q->payload, m->payload);
	}
	if (e == ERR_OK) {
		o->logins++;
		e = role_spawn(o->host, login_task, q);
		o->logins -= e == ERR_OK ? 0 : 1;
	}
	if (e != ERR_OK) {
		o->seen_deferred++;
		if (q != NULL) {
			buf_wipe(&q->payload);
			free(q);
		}
		if (channel_answer(ch, m->type, m->id, ERR_AGAIN) != ERR_OK) {
			channel_end(ch);
		}
	}
}
