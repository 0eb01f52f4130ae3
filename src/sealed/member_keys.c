/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/member_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "sealed/value.h"

void
member_keys_init(struct member_keys *k)
{
	k->count = 0;
	k->keys = NULL;
}

void
member_keys_clear(struct member_keys *k)
{
	for (size_t i = 0; i < k->count; i++) {
		secret_free(k->keys[i].secret); /* the record key is the second half of it */
	}
	free(k->keys);
	member_keys_init(k);
}

enum err
member_keys_add(struct member_keys *k, uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN],
		const uint8_t secret[BOX_SECRET_LEN])
{
	if (k->count >= MEMBER_GENERATIONS_MAX || generation == 0) {
		return ERR_LIMIT;
	}
	if (k->count > 0 && k->keys[k->count - 1].generation + 1 != generation) {
		return ERR_FORMAT;
	}
	struct member_key *grown = realloc(k->keys, (k->count + 1) * sizeof(*grown));
	if (grown == NULL) {
		return ERR_MEMORY;
	}
	k->keys = grown;
	uint8_t *piece = secret_alloc(BOX_SECRET_LEN + SEALED_KEY_LEN);
	if (piece == NULL) {
		return ERR_MEMORY;
	}
	struct member_key *key = &grown[k->count];
	key->generation = generation;
	memcpy(key->public_key, public_key, BOX_PUBLIC_LEN);
	key->secret = piece;
	key->record_key = piece + BOX_SECRET_LEN;
	memcpy(key->secret, secret, BOX_SECRET_LEN);
	crypto_derive(key->secret, "cohue record key 1", key->record_key);
	k->count++;
	return ERR_OK;
}

const struct member_key *
member_keys_find(const struct member_keys *k, uint32_t generation)
{
	if (k->count == 0 || generation < k->keys[0].generation) {
		return NULL;
	}
	size_t i = generation - k->keys[0].generation;
	return i < k->count ? &k->keys[i] : NULL;
}

const struct member_key *
member_keys_newest(const struct member_keys *k)
{
	return k->count > 0 ? &k->keys[k->count - 1] : NULL;
}

void
member_snapshot_key(const struct member_key *k, uint8_t ret[SEALED_KEY_LEN])
{
	crypto_derive(k->secret, "cohue snapshot key 1", ret);
}

enum err
member_keys_encode(const struct member_keys *k, struct buf *ret)
{
	struct wire_writer w;
	size_t before = ret->len;
	wire_writer_init(&w, ret);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u16(&w, (uint16_t)k->count);
	for (size_t i = 0; i < k->count; i++) {
		wire_put_u32(&w, k->keys[i].generation);
		wire_put_fixed(&w, k->keys[i].public_key, BOX_PUBLIC_LEN);
		wire_put_fixed(&w, k->keys[i].secret, BOX_SECRET_LEN);
	}
	enum err e = wire_done(&w);
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	return e;
}

enum err
member_keys_decode(struct bytes data, struct member_keys *ret)
{
	struct member_keys got;
	struct wire_reader r;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t check[BOX_PUBLIC_LEN];
	uint8_t secret[BOX_SECRET_LEN];
	enum err e = ERR_OK;

	member_keys_init(&got);
	wire_reader_init(&r, data);
	if (wire_get_u8(&r) != SEALED_VERSION) {
		return ERR_FORMAT;
	}
	size_t count = wire_get_u16(&r);
	if (count == 0 || count > MEMBER_GENERATIONS_MAX) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < count && e == ERR_OK && r.error == ERR_OK; i++) {
		uint32_t generation = wire_get_u32(&r);
		wire_get_fixed(&r, public_key, sizeof(public_key));
		wire_get_fixed(&r, secret, sizeof(secret));
		box_public(secret, check);
		if (generation == 0 || memcmp(check, public_key, sizeof(check)) != 0) {
			e = ERR_FORMAT;
		} else {
			e = member_keys_add(&got, generation, public_key, secret);
		}
	}
	secret_wipe(secret, sizeof(secret));
	if (e == ERR_OK) {
		e = wire_end(&r);
	}
	if (e != ERR_OK) {
		member_keys_clear(&got);
		return e;
	}
	*ret = got;
	return ERR_OK;
}
