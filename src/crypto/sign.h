/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CRYPTO_SIGN_H
#define COHUE_CRYPTO_SIGN_H

#include "base/bytes.h"

/* Ed25519 (RFC 8032), pure. */

enum {
	SIGN_SEED_LEN = 32,
	SIGN_PUBLIC_LEN = 32,
	SIGN_LEN = 64,
};

/* The verification key of a seed. */
void sign_public(const uint8_t seed[SIGN_SEED_LEN], uint8_t ret[SIGN_PUBLIC_LEN]);
void sign_make(const uint8_t seed[SIGN_SEED_LEN], struct bytes data, uint8_t ret[SIGN_LEN]);
/* ERR_AUTH: not made over these data with this key's seed. About 60 microseconds. */
COHUE_MUST_USE enum err sign_check(const uint8_t key[SIGN_PUBLIC_LEN], struct bytes data,
				   const uint8_t signature[SIGN_LEN]);

#endif
