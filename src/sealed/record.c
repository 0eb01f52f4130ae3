/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/record.h"

#include "base/secret.h"
#include "sealed/value.h"

/* Small records (flags, moves) fall into few sizes; large ones (cards, imports) are told apart coarsely. */
static size_t
padded_length(size_t n)
{
	size_t padded = sealed_step(n, 64);
	if (padded > 1024) {
		padded = sealed_step(n, 512);
	}
	if (padded > (size_t)16 * 1024) {
		padded = sealed_step(n, 4096);
	}
	return padded;
}

static void
record_ad(struct sealed_ad *ad, const struct record_place *place, uint32_t generation)
{
	sealed_ad_init(ad, "cohue record 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, place->account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, generation);
	sealed_ad_put_u8(ad, place->kind);
	sealed_ad_put_u64(ad, place->n);
	sealed_ad_put(ad, place->before, SEALED_HASH_LEN);
}

enum err
record_seal(const struct member_keys *keys, const struct record_place *place, struct bytes plain,
	    struct buf *ret)
{
	const struct member_key *k = member_keys_newest(keys);
	struct sealed_ad ad;
	struct wire_writer w;
	size_t before = ret->len;

	if (k == NULL) {
		return ERR_STATE;
	}
	if (plain.len > SEALED_RECORD_PLAIN_MAX) {
		return ERR_LIMIT;
	}
	record_ad(&ad, place, k->generation);
	wire_writer_init(&w, ret);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u32(&w, k->generation);
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		e = sealed_body_put(k->record_key, &ad, plain, padded_length(plain.len), ret);
	}
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	return e;
}

enum err
record_open(const struct member_keys *keys, const struct record_place *place, struct bytes sealed,
	    struct buf *ret)
{
	struct wire_reader r;
	struct sealed_ad ad;

	wire_reader_init(&r, sealed);
	uint8_t version = wire_get_u8(&r);
	uint32_t generation = wire_get_u32(&r);
	if (r.error != ERR_OK || sealed.len > SEALED_RECORD_MAX) {
		return ERR_FORMAT;
	}
	if (version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	const struct member_key *k = member_keys_find(keys, generation);
	if (k == NULL) {
		return ERR_NOT_FOUND;
	}
	record_ad(&ad, place, generation);
	return sealed_body_get(k->record_key, &ad, wire_get_rest(&r), ret);
}
