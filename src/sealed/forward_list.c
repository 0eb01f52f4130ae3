/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/forward_list.h"

#include "sealed/value.h"

enum err
forward_list_put(const struct directory_account *entry, struct buf *ret)
{
	struct wire_writer w;
	if (entry->forward_count == 0 || entry->name.len == 0 || entry->forward_slot == 0) {
		return ERR_FORMAT;
	}
	if (entry->forward_count > DIRECTORY_FORWARDS_MAX) {
		return ERR_LIMIT;
	}
	wire_writer_init(&w, ret);
	wire_put_bytes(&w, entry->name);
	wire_put_u8(&w, (uint8_t)entry->forward_count);
	for (size_t i = 0; i < entry->forward_count; i++) {
		wire_put_bytes(&w, entry->forwards[i]);
	}
	wire_put_u32(&w, entry->forward_slot);
	return wire_done(&w);
}

enum err
forward_list_decode(struct bytes encoded, struct forward_list *ret)
{
	struct wire_reader r;
	struct forward_list got = {.count = 0};
	wire_reader_init(&r, encoded);
	got.name = wire_get_bytes(&r, DIRECTORY_ADDRESS_MAX);
	got.count = wire_get_u8(&r);
	sealed_expect(&r, got.name.len > 0 && got.count > 0 && got.count <= DIRECTORY_FORWARDS_MAX);
	for (size_t i = 0; i < got.count && r.error == ERR_OK; i++) {
		got.addresses[i] = wire_get_bytes(&r, DIRECTORY_ADDRESS_MAX);
		sealed_expect(&r, got.addresses[i].len > 0);
	}
	got.slot = wire_get_u32(&r);
	sealed_expect(&r, got.slot > 0);
	if (wire_end(&r) != ERR_OK) {
		return ERR_FORMAT;
	}
	*ret = got;
	return ERR_OK;
}

void
forward_list_hash(struct bytes encoded, uint8_t ret[SEALED_HASH_LEN])
{
	crypto_digest(encoded, ret);
}

static void
statement(struct sealed_ad *m, const uint8_t account[SEALED_ID_LEN], const uint8_t hash[SEALED_HASH_LEN])
{
	sealed_ad_init(m, "cohue forward 2");
	sealed_ad_put(m, account, SEALED_ID_LEN);
	sealed_ad_put(m, hash, SEALED_HASH_LEN);
}

void
forward_list_sign(const uint8_t seed[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		  const uint8_t hash[SEALED_HASH_LEN], uint8_t ret[SIGN_LEN])
{
	struct sealed_ad m;
	statement(&m, account, hash);
	sign_make(seed, sealed_ad_bytes(&m), ret);
}

enum err
forward_list_verify(const uint8_t verify_key[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		    struct bytes encoded, const uint8_t signature[SIGN_LEN])
{
	struct sealed_ad m;
	uint8_t hash[SEALED_HASH_LEN];
	forward_list_hash(encoded, hash);
	statement(&m, account, hash);
	return sign_check(verify_key, sealed_ad_bytes(&m), signature);
}
