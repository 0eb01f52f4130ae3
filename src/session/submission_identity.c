/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_identity.h"

#include <string.h>

#include "base/secret.h"
#include "crypto/crypto.h"

#define LABEL "cohue message id 1"

_Static_assert((int)MAIL_PRIVACY_ID_MAX == (int)OPERATION_IDENTIFIER_MAX, "an identifier fits into the log");

void
identity_init(struct identity *i)
{
	memset(i, 0, sizeof(*i));
	buf_init(&i->id, MAIL_PRIVACY_ID_MAX);
	buf_init(&i->original, MAIL_PRIVACY_ID_MAX);
}

void
identity_clear(struct identity *i)
{
	buf_wipe(&i->id);
	buf_wipe(&i->original);
}

/* By which the log knows an original. */
static enum err
key_of(const struct member *m, struct bytes original, uint8_t ret[OPERATION_KEY_LEN])
{
	const struct member_key *first = member_keys_find(&m->keys, 1);
	uint8_t secret[CRYPTO_KEY_LEN];
	uint8_t hash[CRYPTO_HASH_LEN];
	if (first == NULL) {
		return ERR_STATE;
	}
	crypto_derive(first->record_key, LABEL, secret);
	crypto_mac(secret, original, hash);
	memcpy(ret, hash, OPERATION_KEY_LEN);
	secret_wipe(secret, sizeof(secret));
	return ERR_OK;
}

static enum err
write_id(const struct member *m, const uint8_t token[OPERATION_TOKEN_LEN], struct buf *out)
{
	enum err e = buf_append_byte(out, '<');
	e = e == ERR_OK ? buf_append_hex(out, bytes_of(token, OPERATION_TOKEN_LEN)) : e;
	return e == ERR_OK ? buf_printf(out, "@%s>", m->worker->host->config.domain) : e;
}

enum err
identity_keys_init(struct identity_keys *k, const struct member *m)
{
	const struct member_key *first = member_keys_find(&m->keys, 1);
	if (first == NULL) {
		return ERR_STATE;
	}
	crypto_derive(first->record_key, LABEL, k->secret);
	return ERR_OK;
}

enum err
identity_key(const struct identity_keys *k, const struct member *m, struct bytes id,
	     uint8_t ret[OPERATION_KEY_LEN])
{
	uint8_t hash[CRYPTO_HASH_LEN];
	uint8_t token[OPERATION_TOKEN_LEN];
	struct buf left = BUF_INIT(MAIL_PRIVACY_ID_MAX);
	enum err e = ERR_OK;
	crypto_mac(k->secret, id, hash);
	if (fold_renamed(m->fold, hash, token) == ERR_OK) {
		e = write_id(m, token, &left);
		if (e == ERR_OK) {
			crypto_mac(k->secret, buf_bytes(&left), hash);
		}
		buf_wipe(&left);
	}
	memcpy(ret, hash, OPERATION_KEY_LEN);
	return e;
}

static enum err
token_of(const struct member *m, struct bytes original, uint8_t ret[OPERATION_TOKEN_LEN])
{
	const uint8_t *key = m->worker->keys.key[PURPOSE_MESSAGE_ID];
	uint8_t hash[CRYPTO_HASH_LEN];
	struct crypto_hasher h;
	if (key == NULL) {
		return ERR_STATE;
	}
	crypto_hasher_init(&h, key);
	crypto_hasher_update(&h, BYTES_LIT(LABEL));
	crypto_hasher_update(&h, bytes_of(m->account, sizeof(m->account)));
	crypto_hasher_update(&h, original);
	crypto_hasher_final(&h, hash);
	memcpy(ret, hash, OPERATION_TOKEN_LEN);
	return ERR_OK;
}

enum err
identity_make(struct identity *i, const struct member *m, const struct mail_privacy_look *look)
{
	if (look->id.len == 0) {
		crypto_random_bytes(i->token, sizeof(i->token));
		return write_id(m, i->token, &i->id);
	}
	if (look->is_signed || mail_id_is_opaque(look->id, bytes_str(m->worker->host->config.domain))) {
		return buf_append(&i->id, look->id);
	}
	enum err e = key_of(m, look->id, i->key);
	if (e == ERR_OK && fold_renamed(m->fold, i->key, i->token) != ERR_OK) {
		e = token_of(m, look->id, i->token);
		/* Nobody ever refers to a Resent-Message-ID. */
		if (e == ERR_OK && !look->resent) {
			e = buf_append(&i->original, look->id);
		}
	}
	return e == ERR_OK ? write_id(m, i->token, &i->id) : e;
}

enum err
identity_map(void *arg, struct bytes id, struct buf *out)
{
	const struct member *m = arg;
	uint8_t key[OPERATION_KEY_LEN];
	uint8_t token[OPERATION_TOKEN_LEN];
	enum err e = key_of(m, id, key);
	return e == ERR_OK && fold_renamed(m->fold, key, token) == ERR_OK ? write_id(m, token, out) : e;
}

bool
identity_operation(const struct identity *i, struct operation *ret)
{
	if (i->original.len == 0) {
		return false;
	}
	*ret =
	    (struct operation){.kind = OPERATION_RENAMED, .renamed = {.original = buf_bytes(&i->original)}};
	memcpy(ret->renamed.key, i->key, sizeof(ret->renamed.key));
	memcpy(ret->renamed.token, i->token, sizeof(ret->renamed.token));
	return true;
}
