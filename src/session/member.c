/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/member.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "crypto/crypto.h"
#include "mail/address.h"
#include "mail/header.h"
#include "process/log.h"
#include "session/conn.h"
#include "session/member_internal.h"

struct retired_profile {
	struct retired_profile *next;
	struct buf plain;
};

static struct member **
bucket(struct worker *w, const uint8_t account[SEALED_ID_LEN])
{
	return &w->members[((size_t)account[0] << 8 | account[1]) % WORKER_BUCKETS];
}

struct member *
member_find(const struct worker *w, const uint8_t account[SEALED_ID_LEN])
{
	struct member *m = w->members[((size_t)account[0] << 8 | account[1]) % WORKER_BUCKETS];
	while (m != NULL && (m->closed || memcmp(m->account, account, SEALED_ID_LEN) != 0)) {
		m = m->next;
	}
	return m;
}

void
member_unload(struct member *m)
{
	views_lost(m);
	fold_destroy(&m->fold);
	m->loaded = false;
	m->bytes_since = 0;
	m->snapshot_n = 0;
	m->snapshot_older = 0;
	m->snapshot_bytes = 0;
}

static void
member_free(struct member *m)
{
	struct member **at = bucket(m->worker, m->account);
	while (*at != m) {
		at = &(*at)->next;
	}
	*at = m->next;
	m->worker->member_count--;
	member_unload(m);
	member_mend_clear(m);
	buf_wipe(&m->skeleton);
	buf_wipe(&m->last);
	member_keys_clear(&m->keys);
	buf_wipe(&m->profile_plain);
	while (m->retired != NULL) {
		struct retired_profile *r = m->retired;
		m->retired = r->next;
		buf_wipe(&r->plain);
		free(r);
	}
	secret_wipe(m, sizeof(*m));
	free(m);
}

/* The new profile; the old one's bytes stay for tasks that have views into it. */
static enum err
take_profile(struct member *m, struct buf *plain, const struct directory_account *profile)
{
	if (m->profile_plain.len > 0 && bytes_equal(buf_bytes(&m->profile_plain), buf_bytes(plain))) {
		buf_wipe(plain);
		return ERR_OK;
	}
	if (m->profile_plain.len > 0) {
		struct retired_profile *r = calloc(1, sizeof(*r));
		if (r == NULL) {
			return ERR_MEMORY;
		}
		r->plain = m->profile_plain;
		r->next = m->retired;
		m->retired = r;
		m->changed = true; /* she may have to be told */
	}
	m->profile_plain = *plain;
	m->profile = *profile;
	return ERR_OK;
}

/* Keys and profile as the opener has them now: she may have got a new generation since. */
static enum err
take_over(struct member *m, const struct msg_member_open *q)
{
	struct member_keys keys;
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct directory_account profile;
	member_keys_init(&keys);
	enum err e = member_keys_decode(q->keys, &keys);
	if (e == ERR_OK && keys.count == 0) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		e = buf_append(&plain, q->profile);
	}
	if (e == ERR_OK) {
		e = directory_account_decode(buf_bytes(&plain), &profile);
	}
	if (e == ERR_OK && memcmp(profile.id, q->account, SEALED_ID_LEN) != 0) {
		e = ERR_FORMAT;
	}
	/*
	 * A task may be in the midst of using the old keys: they are replaced in place, never by fewer. And a slot list never gives
	 * way to an older one, nor to another of the same age.
	 */
	if (e == ERR_OK && (keys.count < m->keys.count || q->slots_revision < m->slots_revision ||
			    (q->slots_revision == m->slots_revision && q->slots_revision != 0 &&
			     memcmp(m->slots_hash, q->slots_hash, sizeof(m->slots_hash)) != 0))) {
		e = ERR_CONFLICT;
	}
	if (e != ERR_OK) {
		member_keys_clear(&keys);
		buf_wipe(&plain);
		return e;
	}
	e = take_profile(m, &plain, &profile);
	if (e != ERR_OK) {
		member_keys_clear(&keys);
		buf_wipe(&plain);
		return e;
	}
	/* Her log commits to the slot list and the generation; arrivals of a new generation can be filed now. */
	if (keys.count > m->keys.count || memcmp(m->slots_hash, q->slots_hash, sizeof(m->slots_hash)) != 0) {
		m->changed = true;
	}
	if (keys.count > m->keys.count) {
		member_keys_clear(&m->keys);
		m->keys = keys;
	} else {
		member_keys_clear(&keys);
	}
	if (m->outdated && q->slots_revision > m->slots_revision) {
		/* The newer list is back. */
		m->outdated = false;
		m->broken = ERR_OK;
	}
	memcpy(m->slots_hash, q->slots_hash, sizeof(m->slots_hash));
	m->slots_revision = q->slots_revision;
	m->slot = q->slot;
	return ERR_OK;
}

enum err
member_open(struct worker *w, const struct msg_member_open *q, struct member **ret)
{
	struct member *m = member_find(w, q->account);
	if (m != NULL) {
		enum err e = take_over(m, q);
		if (e == ERR_OK) {
			m->refs++;
			*ret = m;
		}
		return e;
	}
	m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return ERR_MEMORY;
	}
	m->worker = w;
	memcpy(m->account, q->account, sizeof(m->account));
	member_keys_init(&m->keys);
	buf_init(&m->profile_plain, DIRECTORY_VALUE_MAX);
	buf_init(&m->skeleton, OPERATION_CARRIED_MAX);
	buf_init(&m->last, OPERATION_PLAIN_MAX);
	lock_init(&m->lock);
	m->next = *bucket(w, m->account);
	*bucket(w, m->account) = m;
	w->member_count++;
	enum err e = take_over(m, q);
	if (e != ERR_OK) {
		member_free(m);
		return e;
	}
	m->refs = 1;
	*ret = m;
	return ERR_OK;
}

void
member_ref(struct member *m)
{
	m->refs++;
}

void
member_unref(struct member **ref)
{
	struct member *m = *ref;
	*ref = NULL;
	if (m == NULL) {
		return;
	}
	m->refs--;
	m->idle_since = loop_now(m->worker->host->loop);
	if (m->refs == 0 && m->closed) {
		member_free(m);
	} else if (m->refs == 0) {
		member_snapshot_consider(m, SNAPSHOT_IDLE);
	}
}

void
member_close(struct member *m)
{
	member_ref(m);
	m->closed = true;
	struct conn *c = m->conns;
	while (c != NULL) {
		struct conn *next = c->next_of_member;
		conn_close(c);
		c = next;
	}
	member_unref(&m);
}

void
member_upkeep(struct worker *w)
{
	msec now = loop_now(w->host->loop);
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		struct member *m = w->members[i];
		while (m != NULL) {
			struct member *next = m->next;
			if (m->refs == 0 && now - m->idle_since >= MEMBER_KEEP_MS) {
				member_snapshot_consider(m, SNAPSHOT_LEAVING);
				if (m->refs == 0) {
					member_free(m);
				}
			}
			m = next;
		}
	}
}

/* Sticks for some time, so that neither the log nor the store is flooded; then all is read anew. */
static void
mark_broken(struct member *m, enum err why, const char *what)
{
	m->broken = why;
	m->broken_at = loop_now(m->worker->host->loop);
	m->worker->seen_damaged++;
	log_ref(m->ref);
	log_event(LOG_LEVEL_ERROR, "%s: %s", m->ref, what);
}

const char *
member_damage(struct member *m)
{
	msec now = loop_now(m->worker->host->loop);
	m->worker->seen_damaged++;
	if (m->damage_ref[0] == '\0' || now - m->damage_at >= MEMBER_DAMAGE_MS) {
		m->damage_at = now;
		log_ref(m->damage_ref);
		log_event(LOG_LEVEL_ERROR,
			  "%s: a message of a member does not verify: it is damaged, or missing; the others "
			  "are well. "
			  "Remedy: `cohue check --member NAME` tells which, with her password; then a backup",
			  m->damage_ref);
	}
	return m->damage_ref;
}

enum err
member_broken(struct member *m, enum err why)
{
	if (m->broken == ERR_OK) {
		mark_broken(
		    m, why,
		    why == ERR_UNSUPPORTED
			? "a member's log was written by a newer cohue. Remedy: install that"
			: "a member's log is not what her session wrote: damaged, or rolled back. "
			  "Remedy: `cohue check --member NAME` tells where, with her password; then a "
			  "backup");
	}
	return why;
}

enum err
member_outdated(struct member *m)
{
	if (m->broken == ERR_OK) {
		m->outdated = true;
		mark_broken(
		    m, ERR_DAMAGED,
		    "a member's slot list is older than her log says: rolled back. Remedy: `cohue check "
		    "--member NAME` tells more, with her password; then a backup");
	}
	return m->broken;
}

/* ---- what she is called and may have ---- */

uint64_t
member_quota(const struct member *m)
{
	return m->profile.quota;
}

static bool
is_domain(const struct member *m, struct bytes domain)
{
	struct buf normal = BUF_INIT(MAIL_DOMAIN_MAX + 64);
	bool same = mail_domain_normalise(domain, &normal) == ERR_OK &&
		    bytes_is_nocase(buf_bytes(&normal), m->worker->host->config.domain);
	buf_clear(&normal);
	return same;
}

static bool
owns_normal(const struct member *m, struct bytes local, struct bytes whole)
{
	if (bytes_equal_nocase(local, m->profile.name)) {
		return true;
	}
	for (size_t i = 0; i < m->profile.address_count; i++) {
		if (bytes_equal_nocase(m->profile.addresses[i], whole)) {
			return true;
		}
	}
	return false;
}

bool
member_owns_address(const struct member *m, const struct mail_mailbox *address)
{
	if (address->literal || !is_domain(m, address->domain)) {
		return false;
	}
	struct buf normal = BUF_INIT(MAIL_MAILBOX_MAX * 2);
	bool owns = false;
	if (mail_mailbox_normalise(address, &normal) == ERR_OK) {
		struct bytes whole = buf_bytes(&normal);
		ptrdiff_t at = bytes_find_last(whole, '@');
		struct bytes local = at < 0 ? whole : bytes_slice(whole, 0, (size_t)at);
		struct bytes base;
		struct bytes detail;
		owns = owns_normal(m, local, whole);
		if (!owns && at > 0 && mail_subaddress_split(local, '+', &base, &detail)) {
			struct buf plain = BUF_INIT(MAIL_MAILBOX_MAX * 2);
			owns = buf_append(&plain, base) == ERR_OK &&
			       buf_append(&plain, bytes_from(whole, (size_t)at)) == ERR_OK &&
			       owns_normal(m, base, buf_bytes(&plain));
			buf_wipe(&plain);
		}
	}
	buf_wipe(&normal);
	return owns;
}

bool
member_sent_key(const struct member *m, struct bytes message, uint8_t ret[OPERATION_KEY_LEN])
{
	struct mail_field id;
	struct mail_field from;
	const struct member_key *key = member_keys_find(&m->keys, 1);
	if (key == NULL || !mail_field_find(message, "Message-ID", &id)) {
		return false;
	}
	uint8_t secret[CRYPTO_KEY_LEN];
	uint8_t hash[CRYPTO_HASH_LEN];
	struct crypto_hasher h;
	crypto_derive(key->record_key, "cohue sent copy 1", secret);
	crypto_hasher_init(&h, secret);
	crypto_hasher_update(&h, bytes_trim(id.value));
	crypto_hasher_update(&h, BYTES_LIT("\n"));
	if (mail_field_find(message, "From", &from)) {
		crypto_hasher_update(&h, bytes_trim(from.value));
	}
	crypto_hasher_update(&h, BYTES_LIT("\n"));
	/* A client's copy may end in more or fewer empty lines than what it submitted. */
	struct bytes body = bytes_from(message, mail_header_length(message));
	while (body.len > 0 && (body.ptr[body.len - 1] == '\n' || body.ptr[body.len - 1] == '\r')) {
		body.len--;
	}
	crypto_hasher_update(&h, body);
	crypto_hasher_final(&h, hash);
	memcpy(ret, hash, OPERATION_KEY_LEN);
	secret_wipe(secret, sizeof(secret));
	return true;
}

bool
member_sent_copy_key(const struct member *m, struct bytes copy, struct bytes submitted,
		     uint8_t ret[OPERATION_KEY_LEN])
{
	return member_sent_key(m, submitted, ret) || member_sent_key(m, copy, ret);
}

/* What stands in arrival.extra (docs/store-format.md). */
enum {
	EXTRA_SENT = 1,
	SENT_MAC_LEN = CRYPTO_HASH_LEN,
	SENT_MARK_LEN = OPERATION_KEY_LEN + SENT_MAC_LEN,
	RENAMED_LEN = OPERATION_KEY_LEN + OPERATION_TOKEN_LEN, /* and the original */
};

/* renamed: as it stands behind the MAC, or empty. */
static bool
sent_mac(const struct member *m, const uint8_t delivery[SEALED_ID_LEN], const uint8_t key[OPERATION_KEY_LEN],
	 struct bytes renamed, uint8_t ret[SENT_MAC_LEN])
{
	const struct member_key *first = member_keys_find(&m->keys, 1);
	uint8_t secret[CRYPTO_KEY_LEN];
	struct crypto_hasher h;
	if (first == NULL) {
		return false;
	}
	crypto_derive(first->record_key, "cohue sent arrival 1", secret);
	crypto_hasher_init(&h, secret);
	crypto_hasher_update(&h, bytes_of(delivery, SEALED_ID_LEN));
	crypto_hasher_update(&h, bytes_of(key, OPERATION_KEY_LEN));
	crypto_hasher_update(&h, renamed);
	crypto_hasher_final(&h, ret);
	secret_wipe(secret, sizeof(secret));
	return true;
}

enum err
member_sent_mark(const struct member *m, const uint8_t delivery[SEALED_ID_LEN],
		 const uint8_t key[OPERATION_KEY_LEN], const struct operation *renamed, struct buf *ret_extra)
{
	uint8_t mac[SENT_MAC_LEN];
	struct buf behind = BUF_INIT(RENAMED_LEN + OPERATION_IDENTIFIER_MAX);
	struct wire_writer w;
	enum err e = ERR_OK;
	if (renamed != NULL) {
		e = buf_append(&behind, bytes_of(renamed->renamed.key, OPERATION_KEY_LEN));
		e = e == ERR_OK ? buf_append(&behind, bytes_of(renamed->renamed.token, OPERATION_TOKEN_LEN))
				: e;
		e = e == ERR_OK ? buf_append(&behind, renamed->renamed.original) : e;
	}
	if (e == ERR_OK && !sent_mac(m, delivery, key, buf_bytes(&behind), mac)) {
		e = ERR_NOT_FOUND;
	}
	if (e == ERR_OK) {
		wire_writer_init(&w, ret_extra);
		wire_put_u16(&w, EXTRA_SENT);
		wire_put_u32(&w, (uint32_t)(SENT_MARK_LEN + behind.len));
		wire_put_fixed(&w, key, OPERATION_KEY_LEN);
		wire_put_fixed(&w, mac, sizeof(mac));
		wire_put_fixed(&w, behind.ptr, behind.len);
		e = wire_done(&w);
	}
	buf_wipe(&behind);
	return e;
}

static void
read_renamed(struct bytes behind, struct operation *ret)
{
	*ret = (struct operation){.kind = 0};
	if (behind.len > RENAMED_LEN) {
		ret->kind = OPERATION_RENAMED;
		memcpy(ret->renamed.key, behind.ptr, OPERATION_KEY_LEN);
		memcpy(ret->renamed.token, behind.ptr + OPERATION_KEY_LEN, OPERATION_TOKEN_LEN);
		ret->renamed.original = bytes_from(behind, RENAMED_LEN);
	}
}

bool
member_sent_marked(const struct member *m, const struct arrival *a, uint8_t ret_key[OPERATION_KEY_LEN],
		   struct operation *ret_renamed)
{
	struct wire_reader r;
	wire_reader_init(&r, a->extra);
	while (r.rest.len > 0 && r.error == ERR_OK) {
		uint16_t type = wire_get_u16(&r);
		struct bytes value = wire_get_bytes(&r, ARRIVAL_EXTRA_MAX);
		struct bytes behind = bytes_from(value, SENT_MARK_LEN);
		uint8_t mac[SENT_MAC_LEN];
		if (r.error == ERR_OK && type == EXTRA_SENT && value.len >= SENT_MARK_LEN &&
		    sent_mac(m, a->delivery, value.ptr, behind, mac) &&
		    secret_equal(mac, value.ptr + OPERATION_KEY_LEN, sizeof(mac))) {
			memcpy(ret_key, value.ptr, OPERATION_KEY_LEN);
			read_renamed(behind, ret_renamed);
			return true;
		}
	}
	return false;
}
