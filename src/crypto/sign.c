/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/sign.h"

#include <sodium.h>

#include "base/secret.h"

_Static_assert((int)SIGN_SEED_LEN == (int)crypto_sign_SEEDBYTES &&
		   (int)SIGN_PUBLIC_LEN == (int)crypto_sign_PUBLICKEYBYTES &&
		   (int)SIGN_LEN == (int)crypto_sign_BYTES,
	       "Ed25519");

static void
pair_of(const uint8_t seed[SIGN_SEED_LEN], uint8_t ret_public[SIGN_PUBLIC_LEN],
	uint8_t ret_secret[crypto_sign_SECRETKEYBYTES])
{
	if (crypto_sign_seed_keypair(ret_public, ret_secret, seed) != 0) {
		panic("an Ed25519 pair cannot be made");
	}
}

void
sign_public(const uint8_t seed[SIGN_SEED_LEN], uint8_t ret[SIGN_PUBLIC_LEN])
{
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	pair_of(seed, ret, secret);
	secret_wipe(secret, sizeof(secret));
}

void
sign_make(const uint8_t seed[SIGN_SEED_LEN], struct bytes data, uint8_t ret[SIGN_LEN])
{
	uint8_t public_key[SIGN_PUBLIC_LEN];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	pair_of(seed, public_key, secret);
	if (crypto_sign_detached(ret, NULL, data.ptr, data.len, secret) != 0) {
		panic("an Ed25519 signature cannot be made");
	}
	secret_wipe(secret, sizeof(secret));
}

enum err
sign_check(const uint8_t key[SIGN_PUBLIC_LEN], struct bytes data, const uint8_t signature[SIGN_LEN])
{
	return crypto_sign_verify_detached(signature, data.ptr, data.len, key) == 0 ? ERR_OK : ERR_AUTH;
}
