/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CRYPTO_PASSWORD_H
#define COHUE_CRYPTO_PASSWORD_H

#include "base/bytes.h"
#include "crypto/crypto.h"

/*
 * A key from what a human remembers: Argon2id (RFC 9106), version 0x13, 1 lane,
 * t = 3 passes over 64 MiB, salt 16 bytes, output 32 bytes. The password that goes in is
 * BLAKE2b-256(key = pepper, "cohue password 1" || password), so that a stolen disk without
 * the house key cannot even be guessed at.
 */

enum {
	PASSWORD_SALT_LEN = 16,
	PASSWORD_MAX = 1024, /* bytes */
};

/*
 * About 0.1 s of CPU and 64 MiB that are given back at once. ERR_LIMIT: longer than
 * PASSWORD_MAX. ERR_MEMORY: a temporary failure, never to be told as a wrong password.
 */
COHUE_MUST_USE enum err password_key(const uint8_t pepper[CRYPTO_KEY_LEN], struct bytes password,
				     const uint8_t salt[PASSWORD_SALT_LEN], uint8_t ret[CRYPTO_KEY_LEN]);

#endif
