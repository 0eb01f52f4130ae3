/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/password.h"

#include <sodium.h>

#include "base/secret.h"

enum { PASSES = 3 };
static const size_t MEMORY = (size_t)64 << 20;

_Static_assert(PASSWORD_SALT_LEN == crypto_pwhash_argon2id_SALTBYTES, "salt");

enum err
password_key(const uint8_t pepper[CRYPTO_KEY_LEN], struct bytes password,
	     const uint8_t salt[PASSWORD_SALT_LEN], uint8_t ret[CRYPTO_KEY_LEN])
{
	uint8_t mixed[CRYPTO_HASH_LEN];
	uint8_t key[CRYPTO_KEY_LEN];
	struct crypto_hasher h;

	if (password.len > PASSWORD_MAX) {
		return ERR_LIMIT;
	}
	crypto_hasher_init(&h, pepper);
	crypto_hasher_update(&h, BYTES_LIT("cohue password 1"));
	crypto_hasher_update(&h, password);
	crypto_hasher_final(&h, mixed);
	/* All arguments are within their ranges: what is left to fail is memory. */
	int failed = crypto_pwhash(key, sizeof(key), (const char *)mixed, sizeof(mixed), salt, PASSES, MEMORY,
				   crypto_pwhash_ALG_ARGON2ID13);
	secret_wipe(mixed, sizeof(mixed));
	if (failed == 0) {
		for (size_t i = 0; i < sizeof(key); i++) {
			ret[i] = key[i];
		}
	}
	secret_wipe(key, sizeof(key));
	return failed == 0 ? ERR_OK : ERR_MEMORY;
}
