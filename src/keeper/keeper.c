/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The keeper holds the house key and everything derived from it, and the TLS keys. It reads the small, fixed
 * requests of other roles, never anything that a stranger or a member wrote but the randoms and key shares within
 * what a gate's handshake has signed (tls_content.h: fixed forms, compared octet by octet), and answers each role only with
 * what the table below grants it. It has no network and no disk. Its capture gives the directory and the
 * spool; members' mail stays under their own keys.
 */
#include "keeper/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "keeper/acme_requests.h"
#include "keeper/dkim.h"
#include "keeper/tls_files.h"
#include "keeper/tls_keys.h"
#include "keeper/wiping.h"
#include "loop/tls.h"
#include "process/log.h"
#include "sealed/forward_list.h"
#include "sealed/keys.h"

enum {
	SPOOL_KEYS_MAX = 64,
	TLS_FORGET_MS = 60 * 1000, /* above what a handshake may last */
};

/* Which purpose keys a role may have: the grant, in one place. */
static const unsigned grants[ROLE__COUNT] = {
    [ROLE_GATE_MX] = 1U << PURPOSE_DIRECTORY_HASH | 1U << PURPOSE_DIRECTORY_SEAL |
		     1U << PURPOSE_PUBLIC_KEY_VERIFY | 1U << PURPOSE_BLOB_NAME | 1U << PURPOSE_GATE_KEEP,
    [ROLE_OPENER] = 1U << PURPOSE_DIRECTORY_HASH | 1U << PURPOSE_DIRECTORY_SEAL | 1U << PURPOSE_PEPPER |
		    1U << PURPOSE_BLOB_NAME | 1U << PURPOSE_SCRAM_FAKE,
    [ROLE_SESSION] = 1U << PURPOSE_DIRECTORY_HASH | 1U << PURPOSE_DIRECTORY_SEAL |
		     1U << PURPOSE_PUBLIC_KEY_VERIFY | 1U << PURPOSE_MESSAGE_ID | 1U << PURPOSE_BLOB_NAME |
		     1U << PURPOSE_SESSION_KEEP,
    [ROLE_MIXER] = 1U << PURPOSE_SPOOL_STATE,
    [ROLE_COURIER] = 1U << PURPOSE_BLOB_NAME | 1U << PURPOSE_COURIER_KEEP | 1U << PURPOSE_PUBLIC_KEY_VERIFY,
};

struct spool_key {
	uint32_t epoch;
	bool durable; /* the mixer has it on disk: only then may anybody seal to it */
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t *secret; /* in the pool; NULL: free place */
};

struct keeper {
	uint8_t *house; /* in the pool; NULL until it came */
	struct spool_key spool[SPOOL_KEYS_MAX];
	struct role_host *host;
	struct tls_keys tls;
	struct timer tls_forget;
	bool tls_old_members; /* tls.member_minimum: 1.2 */
	struct keeper_acme acme;
	struct keeper_dkim dkim;
	int64_t dkim_overlap; /* seconds */
	uint64_t requests;
	uint64_t handshakes;
	char house_key_file[CONFIG_PATH_MAX]; /* for the words alone: it is never opened here */
};

static void
derive(const struct keeper *k, enum sealed_purpose purpose, uint8_t ret[SEALED_KEY_LEN])
{
	if (k->house == NULL) {
		panic("the keeper was asked before it had the house key");
	}
	sealed_purpose_key(k->house, purpose, ret);
}

/* ---- from the supervisor ---- */

static enum err
take_house_key(struct keeper *k, struct bytes payload)
{
	struct msg_house_key m;
	enum err e = msg_house_key_decode(payload, &m);
	if (e == ERR_OK && k->house == NULL) {
		k->house = secret_alloc(sizeof(m.key));
		e = k->house == NULL ? ERR_MEMORY : ERR_OK;
	}
	if (e == ERR_OK) {
		memcpy(k->house, m.key, sizeof(m.key));
	}
	secret_wipe(&m, sizeof(m));
	return e;
}

static void
on_tls_forget(struct timer *t)
{
	struct keeper *k = t->arg;
	tls_keys_forget(&k->tls);
}

/* New pairs are in force: the gates ask for the chains anew; the keys before sign a little longer. */
static enum err
tls_tell_gates(struct keeper *k)
{
	static const enum role gates[] = {ROLE_GATE_MX, ROLE_GATE_MEMBER};
	for (size_t i = 0; i < 2; i++) {
		for (unsigned n = 0; n < ROLE_PEERS_MAX; n++) {
			struct channel *gate = role_channel(k->host, gates[i], n);
			if (gate != NULL && channel_notice_empty(gate, MSG_TLS_CHANGED) != ERR_OK) {
				/* It asks when it is joined anew. */
				channel_end(gate);
			}
		}
	}
	timer_stop(&k->tls_forget);
	return timer_start_after(k->host->loop, &k->tls_forget, TLS_FORGET_MS);
}

static enum err
take_tls_files(struct keeper *k, struct channel *ch, const struct channel_message *message)
{
	struct msg_tls_files m;
	uint8_t wrap[SEALED_KEY_LEN];
	struct buf problem = BUF_INIT(1024);
	if (msg_tls_files_decode(message->payload, &m) != ERR_OK || k->house == NULL) {
		return ERR_FORMAT;
	}
	bool first = !tls_keys_complete(&k->tls);
	derive(k, PURPOSE_TLS_WRAP, wrap);
	enum err e = keeper_tls_take(&k->tls, wrap, k->house_key_file, &m, &problem);
	secret_wipe(wrap, sizeof(wrap));
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "%.*s", (int)problem.len, (const char *)problem.ptr);
	} else {
		e = first ? ERR_OK : tls_tell_gates(k);
	}
	/* At the start there is nothing to go on with: the channel ends before others wait for this role. */
	if (!first || e == ERR_OK) {
		struct msg_tls_files_reply r = {.problem = buf_bytes(&problem)};
		e = channel_reply(ch, TLS_FILES, tls_files_reply, message->id, &r);
	}
	buf_clear(&problem);
	return e;
}

static enum err
take_acme_account(struct keeper *k, struct bytes payload)
{
	uint8_t wrap[SEALED_KEY_LEN];
	if (k->house == NULL) {
		return ERR_FORMAT;
	}
	derive(k, PURPOSE_TLS_WRAP, wrap);
	enum err e = keeper_acme_take(&k->acme, wrap, payload);
	secret_wipe(wrap, sizeof(wrap));
	return e;
}

static enum err
take_dkim_file(struct keeper *k, struct bytes payload)
{
	uint8_t wrap[SEALED_KEY_LEN];
	if (k->house == NULL) {
		return ERR_FORMAT;
	}
	derive(k, PURPOSE_DKIM_WRAP, wrap);
	enum err e = keeper_dkim_take(&k->dkim, wrap, k->house_key_file, payload);
	secret_wipe(wrap, sizeof(wrap));
	return e;
}

static enum err
dkim_change(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	uint8_t wrap[SEALED_KEY_LEN];
	derive(k, PURPOSE_DKIM_WRAP, wrap);
	enum err e = keeper_dkim_change(wrap, k->house_key_file, k->dkim_overlap, ch, m);
	secret_wipe(wrap, sizeof(wrap));
	return e;
}

/* ---- the spool's keys ---- */

static struct spool_key *
find_spool_key(struct keeper *k, uint32_t epoch)
{
	for (size_t i = 0; i < SPOOL_KEYS_MAX; i++) {
		if (k->spool[i].secret != NULL && k->spool[i].epoch == epoch) {
			return &k->spool[i];
		}
	}
	return NULL;
}

/* Among those on disk. */
static struct spool_key *
newest_spool_key(struct keeper *k)
{
	struct spool_key *newest = NULL;
	for (size_t i = 0; i < SPOOL_KEYS_MAX; i++) {
		if (k->spool[i].secret != NULL && k->spool[i].durable &&
		    (newest == NULL || k->spool[i].epoch > newest->epoch)) {
			newest = &k->spool[i];
		}
	}
	return newest;
}

static enum err
add_spool_key(struct keeper *k, uint32_t epoch, const uint8_t public_key[BOX_PUBLIC_LEN],
	      const uint8_t secret[BOX_SECRET_LEN], bool durable)
{
	struct spool_key *place = find_spool_key(k, epoch);
	for (size_t i = 0; i < SPOOL_KEYS_MAX && place == NULL; i++) {
		if (k->spool[i].secret == NULL) {
			place = &k->spool[i];
		}
	}
	if (place == NULL) {
		return ERR_LIMIT;
	}
	if (place->secret == NULL) {
		place->secret = secret_alloc(BOX_SECRET_LEN);
		if (place->secret == NULL) {
			return ERR_MEMORY;
		}
	}
	place->epoch = epoch;
	place->durable = durable;
	memcpy(place->public_key, public_key, BOX_PUBLIC_LEN);
	memcpy(place->secret, secret, BOX_SECRET_LEN);
	return ERR_OK;
}

static enum err
spool_key_new(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_spool_key_new q;
	if (msg_spool_key_new_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	if (find_spool_key(k, q.epoch) != NULL) {
		return ERR_EXISTS;
	}
	uint8_t secret[BOX_SECRET_LEN];
	uint8_t wrap[SEALED_KEY_LEN];
	uint8_t value[SPOOL_KEY_VALUE_LEN];
	struct msg_spool_key_new_reply r = {.wrapped = bytes_of(value, sizeof(value))};
	box_pair(r.public_key, secret);
	derive(k, PURPOSE_SPOOL_WRAP, wrap);
	sealed_spool_key_seal(wrap, q.epoch, r.public_key, secret, value);
	enum err e = add_spool_key(k, q.epoch, r.public_key, secret, false);
	secret_wipe(secret, sizeof(secret));
	secret_wipe(wrap, sizeof(wrap));
	return e != ERR_OK ? e : channel_reply(ch, SPOOL_KEY_NEW, spool_key_new_reply, m->id, &r);
}

static enum err
spool_key_load(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_spool_key_load q;
	uint8_t wrap[SEALED_KEY_LEN];
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t secret[BOX_SECRET_LEN];
	if (msg_spool_key_load_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	derive(k, PURPOSE_SPOOL_WRAP, wrap);
	enum err e = sealed_spool_key_open(wrap, q.epoch, q.wrapped, public_key, secret);
	secret_wipe(wrap, sizeof(wrap));
	if (e != ERR_OK) {
		return e == ERR_FORMAT ? ERR_DAMAGED : e;
	}
	e = add_spool_key(k, q.epoch, public_key, secret, true);
	secret_wipe(secret, sizeof(secret));
	return e != ERR_OK ? e : channel_answer(ch, MSG_SPOOL_KEY_LOAD, m->id, ERR_OK);
}

static enum err
spool_key_drop(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_spool_key_drop q;
	if (msg_spool_key_drop_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct spool_key *key = find_spool_key(k, q.epoch);
	if (key != NULL) {
		secret_free(key->secret);
		key->secret = NULL;
	}
	return channel_answer(ch, MSG_SPOOL_KEY_DROP, m->id, ERR_OK);
}

static enum err
spool_key_current(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct spool_key *key = newest_spool_key(k);
	if (msg_empty_decode(m->payload) != ERR_OK) {
		return ERR_FORMAT;
	}
	if (key == NULL) {
		return ERR_AGAIN;
	}
	struct msg_spool_key_current_reply r = {.epoch = key->epoch};
	memcpy(r.public_key, key->public_key, sizeof(r.public_key));
	return channel_reply(ch, SPOOL_KEY_CURRENT, spool_key_current_reply, m->id, &r);
}

static enum err
spool_key_secret(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_spool_key_secret q;
	if (msg_spool_key_secret_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct spool_key *key = find_spool_key(k, q.epoch);
	if (key == NULL) {
		return ERR_NOT_FOUND;
	}
	struct msg_spool_key_secret_reply r = {.unused_ = 0};
	memcpy(r.public_key, key->public_key, sizeof(r.public_key));
	memcpy(r.secret_key, key->secret, sizeof(r.secret_key));
	enum err e = channel_reply(ch, SPOOL_KEY_SECRET, spool_key_secret_reply, m->id, &r);
	secret_wipe(&r, sizeof(r));
	return e;
}

/* ---- the rest ---- */

static enum err
purpose_keys(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct buf keys = BUF_INIT(IPC_SMALL);
	struct wire_writer w;
	unsigned granted = grants[channel_peer(ch)];
	if (msg_empty_decode(m->payload) != ERR_OK) {
		return ERR_FORMAT;
	}
	wire_writer_init(&w, &keys);
	for (unsigned p = 0; p < PURPOSE__COUNT; p++) {
		if ((granted & 1U << p) != 0) {
			uint8_t key[SEALED_KEY_LEN];
			derive(k, (enum sealed_purpose)p, key);
			wire_put_u8(&w, (uint8_t)p);
			wire_put_fixed(&w, key, sizeof(key));
			secret_wipe(key, sizeof(key));
		}
	}
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		struct msg_purpose_keys_reply r = {.keys = buf_bytes(&keys)};
		e = channel_reply(ch, PURPOSE_KEYS, purpose_keys_reply, m->id, &r);
	}
	buf_wipe(&keys);
	return e;
}

/* A gate has to do with the pair of its own kind alone. */
static enum tls_kind
tls_kind_of(const struct channel *ch)
{
	return channel_peer(ch) == ROLE_GATE_MX ? TLS_KIND_MX : TLS_KIND_MEMBER;
}

static enum err
tls_chain(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_tls_chain_reply r = {.chain_pem = tls_keys_chain(&k->tls, tls_kind_of(ch))};
	if (msg_empty_decode(m->payload) != ERR_OK) {
		return ERR_FORMAT;
	}
	return r.chain_pem.len == 0 ? ERR_NOT_FOUND
				    : channel_reply(ch, TLS_CHAIN, tls_chain_reply, m->id, &r);
}

static enum err
tls_sign(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_tls_sign q;
	struct buf signature = BUF_INIT(TLS_SIGNATURE_MAX);
	if (msg_tls_sign_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	enum tls_kind kind = tls_kind_of(ch);
	enum err e = tls_keys_sign(&k->tls, kind, kind == TLS_KIND_MX || k->tls_old_members, q.key, q.scheme,
				   q.content, &signature);
	if (e == ERR_OK) {
		struct msg_tls_sign_reply r = {.signature = buf_bytes(&signature)};
		k->handshakes++;
		e = channel_reply(ch, TLS_SIGN, tls_sign_reply, m->id, &r);
	}
	buf_clear(&signature);
	return e;
}

/* ---- certificates by ACME ---- */

static void
acme_changed(void *arg)
{
	struct keeper *k = arg;
	if (tls_tell_gates(k) != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "the key before stays in memory until the next change");
	}
}

/* The opener has the member's keys, or an entry of the time before signatures, whose MAC must fit. */
static enum err
sign_member(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_sign_public q;
	struct msg_sign_public_reply r;
	uint8_t key[SEALED_KEY_LEN];
	enum err e = ERR_OK;
	if (msg_sign_public_decode(m->payload, &q) != ERR_OK ||
	    (q.mac.len != 0 && q.mac.len != SEALED_HASH_LEN)) {
		return ERR_FORMAT;
	}
	if (q.mac.len != 0) {
		derive(k, PURPOSE_PUBLIC_KEY_MAC, key);
		e = sealed_public_check(key, q.account, q.generation, q.public_key, q.mac.ptr);
	}
	if (e == ERR_OK) {
		derive(k, PURPOSE_PUBLIC_KEY_SIGN, key);
		sealed_public_sign(key, q.account, q.generation, q.public_key, r.signature);
	}
	secret_wipe(key, sizeof(key));
	return e == ERR_OK ? channel_reply(ch, SIGN_PUBLIC, sign_public_reply, m->id, &r) : e;
}

/* Where a member's mail may be sent on. The opener has checked that it is she who says so. */
static enum err
sign_forwards(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	struct msg_sign_forwards q;
	struct msg_sign_forwards_reply r;
	uint8_t key[SEALED_KEY_LEN];
	if (msg_sign_forwards_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	derive(k, PURPOSE_PUBLIC_KEY_SIGN, key);
	forward_list_sign(key, q.account, q.list, r.signature);
	secret_wipe(key, sizeof(key));
	return channel_reply(ch, SIGN_FORWARDS, sign_forwards_reply, m->id, &r);
}

static enum err
acme_state(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	uint8_t wrap[SEALED_KEY_LEN];
	derive(k, PURPOSE_TLS_WRAP, wrap);
	enum err e = keeper_acme_state(&k->acme, wrap, ch, m);
	secret_wipe(wrap, sizeof(wrap));
	return e;
}

static enum err
acme_sign(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	return keeper_acme_sign(&k->acme, ch, m);
}

static enum err
acme_chain(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	return keeper_acme_chain(&k->acme, ch, m);
}

static enum err
acme_vouch(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	return keeper_acme_vouch(&k->acme, ch, m);
}

static enum err
dkim_selectors(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	return keeper_dkim_selectors(&k->dkim, ch, m);
}

static enum err
dkim_sign_digest(struct keeper *k, struct channel *ch, const struct channel_message *m)
{
	return keeper_dkim_sign(&k->dkim, ch, m);
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	static const struct {
		enum msg_type type;
		enum err (*fn)(struct keeper *k, struct channel *ch, const struct channel_message *m);
	} table[] = {
	    {MSG_PURPOSE_KEYS, purpose_keys},
	    {MSG_TLS_CHAIN, tls_chain},
	    {MSG_TLS_SIGN, tls_sign},
	    {MSG_SIGN_PUBLIC, sign_member},
	    {MSG_SIGN_FORWARDS, sign_forwards},
	    {MSG_SPOOL_KEY_NEW, spool_key_new},
	    {MSG_SPOOL_KEY_LOAD, spool_key_load},
	    {MSG_SPOOL_KEY_DROP, spool_key_drop},
	    {MSG_SPOOL_KEY_CURRENT, spool_key_current},
	    {MSG_SPOOL_KEY_SECRET, spool_key_secret},
	    {MSG_ACME_STATE, acme_state},
	    {MSG_ACME_SIGN, acme_sign},
	    {MSG_ACME_CHAIN, acme_chain},
	    {MSG_ACME_VOUCH, acme_vouch},
	    {MSG_DKIM_CHANGE, dkim_change},
	    {MSG_DKIM_SELECTORS, dkim_selectors},
	    {MSG_DKIM_SIGN, dkim_sign_digest},
	};
	struct keeper *k = h->state;
	enum err e = ERR_FORMAT;
	if (m->type == MSG_HOUSE_KEY || m->type == MSG_TLS_FILES || m->type == MSG_DKIM_FILE ||
	    m->type == MSG_ACME_ACCOUNT || m->type == MSG_ACME_SAVED) {
		e = m->type == MSG_HOUSE_KEY      ? take_house_key(k, m->payload)
		    : m->type == MSG_TLS_FILES    ? take_tls_files(k, ch, m)
		    : m->type == MSG_ACME_ACCOUNT ? take_acme_account(k, m->payload)
		    : m->type == MSG_ACME_SAVED   ? keeper_acme_saved(&k->acme, m->payload)
						  : take_dkim_file(k, m->payload);
		if (e != ERR_OK) {
			if (!log_said_error()) {
				log_event(LOG_LEVEL_ERROR, "cannot take the keys: %s", err_text(e));
			}
			channel_end(ch);
		}
		return;
	}
	k->requests++;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].type == m->type) {
			e = table[i].fn(k, ch, m);
			break;
		}
	}
	if (e == ERR_FORMAT) {
		channel_fault(ch);
	} else if (e != ERR_OK && channel_answer(ch, m->type, m->id, e) != ERR_OK) {
		channel_end(ch);
	}
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	(void)profile;
	struct keeper *k = calloc(1, sizeof(*k));
	if (k == NULL) {
		return ERR_MEMORY;
	}
	(void)snprintf(k->house_key_file, sizeof(k->house_key_file), "%s", h->config.house_key);
	k->host = h;
	k->tls_old_members = h->config.tls_member_minimum == CONFIG_TLS_1_2;
	timer_init(&k->tls_forget, on_tls_forget, k);
	k->dkim_overlap = h->config.dkim_overlap / MSEC_SECOND;
	k->acme = (struct keeper_acme){.host = h, .tls = &k->tls, .changed = acme_changed, .arg = k};
	h->state = k;
	enum err e = wiping_start();
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "OpenSSL is in use before the keeper can see to its memory");
	}
	e = e == ERR_OK ? tls_keys_warm_up() : e;
	e = e == ERR_OK ? keeper_acme_prepare(&k->acme) : e;
	return e == ERR_OK ? dkim_pair_warm() : e;
}

static enum err
start(struct role_host *h)
{
	const struct keeper *k = h->state;
	return k->house != NULL && tls_keys_complete(&k->tls) ? ERR_OK : ERR_STATE;
}

static enum err
status(struct role_host *h, struct buf *out)
{
	struct keeper *k = h->state;
	size_t spool = 0;
	for (size_t i = 0; i < SPOOL_KEYS_MAX; i++) {
		spool += k->spool[i].secret != NULL ? 1 : 0;
	}
	return buf_printf(out,
			  "+requests %llu\n+handshakes_signed %llu\n+dkim_signatures %llu\nspool_keys %zu\n",
			  (unsigned long long)k->requests, (unsigned long long)k->handshakes,
			  (unsigned long long)k->dkim.signatures, spool);
}

const struct role_def keeper_role = {
    .id = ROLE_KEEPER,
    .prepare = prepare,
    .start = start,
    .message = message,
    .status = status,
};
