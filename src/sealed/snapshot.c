/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/snapshot.h"

#include <string.h>

#include "base/secret.h"
#include "sealed/value.h"

enum { HEADER_PADDED = 256 };

static void
header_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t generation, uint64_t n,
	  const uint8_t name[SEALED_ID_LEN])
{
	sealed_ad_init(ad, "cohue snapshot 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, generation);
	sealed_ad_put_u64(ad, n);
	sealed_ad_put(ad, name, SEALED_ID_LEN);
}

/* The body's chunks stand one behind the header. */
struct shifted {
	blob_chunk_fn fn;
	void *arg;
};

static enum err
shift(void *arg, uint32_t index, struct bytes chunk)
{
	const struct shifted *s = arg;
	return s->fn(s->arg, index + 1, chunk);
}

static enum err
seal_header(const uint8_t account[SEALED_ID_LEN], const struct member_key *k, const struct snapshot_header *h,
	    struct buf *ret)
{
	struct buf plain = BUF_INIT(SNAPSHOT_HEADER_MAX);
	struct sealed_ad ad;
	struct wire_writer w;
	uint8_t key[SEALED_KEY_LEN];

	wire_writer_init(&w, &plain);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u64(&w, h->n);
	wire_put_fixed(&w, h->head, SEALED_HASH_LEN);
	blob_ref_put(&w, &h->body);
	enum err e = wire_done(&w);
	wire_writer_init(&w, ret);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u32(&w, k->generation);
	if (e == ERR_OK) {
		e = wire_done(&w);
	}
	if (e == ERR_OK) {
		header_ad(&ad, account, k->generation, h->n, h->body.name);
		member_snapshot_key(k, key);
		e = sealed_body_put(key, &ad, buf_bytes(&plain), HEADER_PADDED, ret);
		secret_wipe(key, sizeof(key));
	}
	buf_wipe(&plain);
	return e;
}

enum err
snapshot_seal(struct blob_codec *codec, const uint8_t account[SEALED_ID_LEN], const struct member_keys *keys,
	      uint64_t n, const uint8_t head[SEALED_HASH_LEN], struct bytes body, blob_chunk_fn fn, void *arg,
	      uint8_t ret_name[SEALED_ID_LEN], uint64_t *ret_stored)
{
	const struct member_key *k = member_keys_newest(keys);
	struct snapshot_header h = {.n = n};
	struct shifted shifted = {.fn = fn, .arg = arg};
	struct buf header = BUF_INIT(SNAPSHOT_HEADER_MAX);

	if (k == NULL) {
		return ERR_STATE;
	}
	if (body.len > SNAPSHOT_BODY_MAX) {
		return ERR_LIMIT;
	}
	memcpy(h.head, head, SEALED_HASH_LEN);
	blob_ref_init(&h.body);
	enum err e = blob_seal(codec, &h.body, body, shift, &shifted);
	if (e == ERR_OK) {
		e = seal_header(account, k, &h, &header);
	}
	if (e == ERR_OK) {
		e = fn(arg, 0, buf_bytes(&header));
	}
	if (e == ERR_OK) {
		memcpy(ret_name, h.body.name, SEALED_ID_LEN);
		*ret_stored = h.body.stored + header.len;
	}
	secret_wipe(&h, sizeof(h));
	buf_clear(&header);
	return e;
}

enum err
snapshot_header_decode(struct bytes plain, struct snapshot_header *ret)
{
	struct wire_reader r;
	struct snapshot_header got;

	wire_reader_init(&r, plain);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	got.n = wire_get_u64(&r);
	wire_get_fixed(&r, got.head, SEALED_HASH_LEN);
	blob_ref_get(&r, &got.body);
	sealed_expect(&r, got.body.size <= SNAPSHOT_BODY_MAX);
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = got;
	}
	secret_wipe(&got, sizeof(got));
	return e;
}

enum err
snapshot_open_header(const uint8_t account[SEALED_ID_LEN], const struct member_keys *keys, uint64_t n,
		     const uint8_t name[SEALED_ID_LEN], struct bytes chunk0, struct snapshot_header *ret)
{
	struct buf plain = BUF_INIT(SNAPSHOT_HEADER_MAX);
	struct snapshot_header got;
	struct wire_reader r;
	struct sealed_ad ad;
	uint8_t key[SEALED_KEY_LEN];

	wire_reader_init(&r, chunk0);
	uint8_t version = wire_get_u8(&r);
	uint32_t generation = wire_get_u32(&r);
	if (r.error != ERR_OK || chunk0.len > SNAPSHOT_HEADER_MAX) {
		return ERR_FORMAT;
	}
	if (version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	const struct member_key *k = member_keys_find(keys, generation);
	if (k == NULL) {
		return ERR_NOT_FOUND;
	}
	header_ad(&ad, account, generation, n, name);
	member_snapshot_key(k, key);
	enum err e = sealed_body_get(key, &ad, wire_get_rest(&r), &plain);
	secret_wipe(key, sizeof(key));
	if (e == ERR_OK) {
		e = snapshot_header_decode(buf_bytes(&plain), &got);
	}
	if (e == ERR_OK && (got.n != n || memcmp(got.body.name, name, SEALED_ID_LEN) != 0)) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		*ret = got;
	}
	secret_wipe(&got, sizeof(got));
	buf_wipe(&plain);
	return e;
}
