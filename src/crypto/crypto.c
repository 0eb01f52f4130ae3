/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/crypto.h"

#include <sodium.h>
#include <string.h>

_Static_assert(CRYPTO_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(CRYPTO_TAG_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(CRYPTO_KEY_LEN == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(sizeof(crypto_generichash_state) <= 384, "hash state");

enum err
crypto_init(void)
{
	return sodium_init() >= 0 ? ERR_OK : ERR_IO;
}

void
crypto_random_bytes(void *ret, size_t n)
{
	randombytes_buf(ret, n);
}

void
crypto_digest(struct bytes data, uint8_t ret[CRYPTO_HASH_LEN])
{
	(void)crypto_generichash(ret, CRYPTO_HASH_LEN, data.ptr, data.len, NULL, 0);
}

void
crypto_mac(const uint8_t key[CRYPTO_KEY_LEN], struct bytes data, uint8_t ret[CRYPTO_HASH_LEN])
{
	(void)crypto_generichash(ret, CRYPTO_HASH_LEN, data.ptr, data.len, key, CRYPTO_KEY_LEN);
}

void
crypto_derive(const uint8_t key[CRYPTO_KEY_LEN], const char *label, uint8_t ret[CRYPTO_KEY_LEN])
{
	crypto_mac(key, bytes_str(label), ret);
}

/* libsodium wants its state on 64 bytes; malloc promises 16. */
static crypto_generichash_state *
state_of(struct crypto_hasher *h)
{
	size_t skip = (64 - ((uintptr_t)h->opaque & 63)) & 63;
	return (void *)(h->opaque + skip);
}

void
crypto_hasher_init(struct crypto_hasher *h, const uint8_t key[CRYPTO_KEY_LEN])
{
	(void)crypto_generichash_init(state_of(h), key, key == NULL ? 0 : CRYPTO_KEY_LEN, CRYPTO_HASH_LEN);
}

void
crypto_hasher_update(struct crypto_hasher *h, struct bytes data)
{
	if (data.len > 0) {
		(void)crypto_generichash_update(state_of(h), data.ptr, data.len);
	}
}

void
crypto_hasher_final(struct crypto_hasher *h, uint8_t ret[CRYPTO_HASH_LEN])
{
	(void)crypto_generichash_final(state_of(h), ret, CRYPTO_HASH_LEN);
	sodium_memzero(h, sizeof(*h));
}

void
crypto_seal(const uint8_t key[CRYPTO_KEY_LEN], const uint8_t nonce[CRYPTO_NONCE_LEN], struct bytes ad,
	    struct bytes plain, uint8_t *ret_cipher)
{
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret_cipher, NULL, plain.ptr, plain.len, ad.ptr,
							 ad.len, NULL, nonce, key);
}

enum err
crypto_open(const uint8_t key[CRYPTO_KEY_LEN], const uint8_t nonce[CRYPTO_NONCE_LEN], struct bytes ad,
	    struct bytes cipher, uint8_t *ret_plain)
{
	if (cipher.len < CRYPTO_TAG_LEN) {
		return ERR_FORMAT;
	}
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret_plain, NULL, NULL, cipher.ptr, cipher.len, ad.ptr,
						       ad.len, nonce, key) != 0) {
		return ERR_AUTH;
	}
	return ERR_OK;
}
