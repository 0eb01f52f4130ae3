/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/box.h"

#include <sodium.h>
#include <string.h>

#include "base/secret.h"

static const uint8_t zero_nonce[CRYPTO_NONCE_LEN];

/* False where the shared point is zero: a public key of small order. */
static bool
box_key(const uint8_t secret[BOX_SECRET_LEN], const uint8_t peer[BOX_PUBLIC_LEN], const char *label,
	const uint8_t ephemeral[BOX_PUBLIC_LEN], const uint8_t to[BOX_PUBLIC_LEN],
	uint8_t ret[CRYPTO_KEY_LEN])
{
	static const char prefix[] = "cohue box 1";
	uint8_t shared[crypto_scalarmult_BYTES];
	uint8_t bound[sizeof(prefix) - 1 + 1 + BOX_LABEL_MAX + 2 * BOX_PUBLIC_LEN];
	struct bytes name = bytes_str(label);

	if (name.len > BOX_LABEL_MAX) {
		panic("box label too long");
	}
	if (crypto_scalarmult(shared, secret, peer) != 0) {
		secret_wipe(shared, sizeof(shared));
		return false;
	}
	size_t n = sizeof(prefix) - 1;
	memcpy(bound, prefix, n);
	bound[n++] = (uint8_t)name.len;
	memcpy(bound + n, name.ptr, name.len);
	n += name.len;
	memcpy(bound + n, ephemeral, BOX_PUBLIC_LEN);
	memcpy(bound + n + BOX_PUBLIC_LEN, to, BOX_PUBLIC_LEN);
	n += (size_t)2 * BOX_PUBLIC_LEN;
	crypto_mac(shared, bytes_of(bound, n), ret);
	secret_wipe(shared, sizeof(shared));
	return true;
}

void
box_pair(uint8_t ret_public[BOX_PUBLIC_LEN], uint8_t ret_secret[BOX_SECRET_LEN])
{
	crypto_random_bytes(ret_secret, BOX_SECRET_LEN);
	box_public(ret_secret, ret_public);
}

void
box_public(const uint8_t secret[BOX_SECRET_LEN], uint8_t ret_public[BOX_PUBLIC_LEN])
{
	(void)crypto_scalarmult_base(ret_public, secret);
}

enum err
box_seal(const uint8_t to[BOX_PUBLIC_LEN], const char *label, struct bytes ad, struct bytes plain,
	 struct buf *ret)
{
	uint8_t secret[BOX_SECRET_LEN];
	uint8_t ephemeral[BOX_PUBLIC_LEN];
	uint8_t key[CRYPTO_KEY_LEN];

	if (plain.len > SIZE_MAX - BOX_OVERHEAD) {
		return ERR_LIMIT;
	}
	enum err e = buf_reserve(ret, plain.len + BOX_OVERHEAD);
	if (e != ERR_OK) {
		return e;
	}
	box_pair(ephemeral, secret);
	bool usable = box_key(secret, to, label, ephemeral, to, key);
	secret_wipe(secret, sizeof(secret));
	if (!usable) {
		return ERR_FORMAT;
	}
	memcpy(ret->ptr + ret->len, ephemeral, BOX_PUBLIC_LEN);
	crypto_seal(key, zero_nonce, ad, plain, ret->ptr + ret->len + BOX_PUBLIC_LEN);
	ret->len += plain.len + BOX_OVERHEAD;
	secret_wipe(key, sizeof(key));
	return ERR_OK;
}

enum err
box_open(const uint8_t secret[BOX_SECRET_LEN], const uint8_t public_key[BOX_PUBLIC_LEN], const char *label,
	 struct bytes ad, struct bytes box, struct buf *ret)
{
	uint8_t key[CRYPTO_KEY_LEN];

	if (box.len < BOX_OVERHEAD) {
		return ERR_FORMAT;
	}
	size_t plain_len = box.len - BOX_OVERHEAD;
	enum err e = buf_reserve(ret, plain_len + 1); /* so that there is memory to point at */
	if (e != ERR_OK) {
		return e;
	}
	if (!box_key(secret, box.ptr, label, box.ptr, public_key, key)) {
		return ERR_AUTH;
	}
	e = crypto_open(key, zero_nonce, ad, bytes_from(box, BOX_PUBLIC_LEN), ret->ptr + ret->len);
	secret_wipe(key, sizeof(key));
	if (e == ERR_OK) {
		ret->len += plain_len;
	}
	return e;
}
