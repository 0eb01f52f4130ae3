/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/value.h"

#include <string.h>

#include "base/secret.h"

size_t
sealed_step(size_t n, size_t step)
{
	return (n / step + 1) * step;
}

enum err
sealed_pad(struct buf *b, size_t start, size_t padded)
{
	size_t have = b->len - start;
	if (padded <= have) {
		panic("no room for padding");
	}
	enum err e = buf_reserve(b, padded - have);
	if (e != ERR_OK) {
		return e;
	}
	memset(b->ptr + b->len, 0, padded - have);
	b->ptr[b->len] = 0x80;
	b->len += padded - have;
	return ERR_OK;
}

enum err
sealed_unpad(struct buf *b, size_t start)
{
	size_t n = b->len;
	while (n > start && b->ptr[n - 1] == 0) {
		n--;
	}
	if (n == start || b->ptr[n - 1] != 0x80) {
		return ERR_FORMAT;
	}
	buf_truncate(b, n - 1);
	return ERR_OK;
}

void
sealed_ad_put(struct sealed_ad *ad, const void *octets, size_t n)
{
	if (n > sizeof(ad->octets) - ad->len) {
		panic("associated data too long");
	}
	memcpy(ad->octets + ad->len, octets, n);
	ad->len += n;
}

void
sealed_ad_init(struct sealed_ad *ad, const char *label)
{
	struct bytes l = bytes_str(label);
	ad->len = 0;
	sealed_ad_put(ad, l.ptr, l.len);
}

void
sealed_ad_put_u8(struct sealed_ad *ad, uint8_t v)
{
	sealed_ad_put(ad, &v, 1);
}

void
sealed_ad_put_u32(struct sealed_ad *ad, uint32_t v)
{
	for (unsigned shift = 32; shift > 0; shift -= 8) {
		sealed_ad_put_u8(ad, (uint8_t)(v >> (shift - 8)));
	}
}

void
sealed_ad_put_u64(struct sealed_ad *ad, uint64_t v)
{
	sealed_ad_put_u32(ad, (uint32_t)(v >> 32));
	sealed_ad_put_u32(ad, (uint32_t)v);
}

struct bytes
sealed_ad_bytes(const struct sealed_ad *ad)
{
	return bytes_of(ad->octets, ad->len);
}

enum err
sealed_body_put(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad, struct bytes plain,
		size_t padded, struct buf *ret)
{
	size_t before = ret->len;
	enum err e = buf_reserve(ret, SEALED_NONCE_LEN + padded + CRYPTO_TAG_LEN);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t *nonce = ret->ptr + before;
	uint8_t *body = nonce + SEALED_NONCE_LEN;
	crypto_random_bytes(nonce, SEALED_NONCE_LEN);
	ret->len += SEALED_NONCE_LEN;
	e = buf_append(ret, plain);
	if (e == ERR_OK) {
		e = sealed_pad(ret, before + SEALED_NONCE_LEN, padded);
	}
	if (e != ERR_OK) {
		buf_truncate(ret, before);
		return e;
	}
	crypto_seal(key, nonce, sealed_ad_bytes(ad), bytes_of(body, padded), body);
	ret->len += CRYPTO_TAG_LEN;
	return ERR_OK;
}

enum err
sealed_body_get(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad, struct bytes body,
		struct buf *ret)
{
	size_t before = ret->len;
	if (body.len < SEALED_NONCE_LEN + CRYPTO_TAG_LEN + 1) {
		return ERR_FORMAT;
	}
	size_t padded = body.len - SEALED_NONCE_LEN - CRYPTO_TAG_LEN;
	enum err e = buf_reserve(ret, padded);
	if (e == ERR_OK) {
		e = crypto_open(key, body.ptr, sealed_ad_bytes(ad), bytes_from(body, SEALED_NONCE_LEN),
				ret->ptr + before);
	}
	if (e != ERR_OK) {
		return e;
	}
	ret->len += padded;
	e = sealed_unpad(ret, before);
	if (e != ERR_OK) {
		secret_wipe(ret->ptr + before, padded);
		buf_truncate(ret, before);
	}
	return e;
}

static void
directory_ad(struct sealed_ad *ad, const uint8_t key[SEALED_HASH_LEN])
{
	sealed_ad_init(ad, "cohue directory 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, key, SEALED_HASH_LEN);
}

enum err
sealed_directory_put(const uint8_t directory_seal[SEALED_KEY_LEN], const uint8_t key[SEALED_HASH_LEN],
		     struct bytes plain, size_t step, struct buf *ret)
{
	struct sealed_ad ad;
	directory_ad(&ad, key);
	enum err e = buf_append_byte(ret, SEALED_VERSION);
	if (e != ERR_OK) {
		return e;
	}
	e = sealed_body_put(directory_seal, &ad, plain, sealed_step(plain.len, step), ret);
	if (e != ERR_OK) {
		buf_truncate(ret, ret->len - 1);
	}
	return e;
}

enum err
sealed_directory_get(const uint8_t directory_seal[SEALED_KEY_LEN], const uint8_t key[SEALED_HASH_LEN],
		     struct bytes value, struct buf *ret_plain)
{
	struct sealed_ad ad;
	if (value.len < 1) {
		return ERR_FORMAT;
	}
	if (value.ptr[0] != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	directory_ad(&ad, key);
	return sealed_body_get(directory_seal, &ad, bytes_from(value, 1), ret_plain);
}

void
sealed_expect(struct wire_reader *r, bool holds)
{
	if (!holds) {
		wire_fail(r, ERR_FORMAT);
	}
}
