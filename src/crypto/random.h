/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CRYPTO_RANDOM_H
#define COHUE_CRYPTO_RANDOM_H

#include "base/bytes.h"
#include "crypto/crypto.h"

/*
 * A buffered generator for many small numbers (the law's shuffles and delays): ChaCha20 under a
 * key that each refill replaces, so that a capture tells nothing of numbers already given.
 * Keys and nonces come from crypto_random_bytes. Not to be carried over a fork.
 */

struct crypto_random {
	uint8_t block[32 + 992]; /* the next key, then what is left to give */
	size_t used;
};

/* Seeded by the kernel. */
void crypto_random_init(struct crypto_random *r);
/* The same numbers for the same seed on every machine: for tests and simulations. */
void crypto_random_init_seed(struct crypto_random *r, const uint8_t seed[CRYPTO_KEY_LEN]);
/* Uniform. The argument is a struct crypto_random, so that this fits `uint64_t (*)(void *)`. */
uint64_t crypto_random_u64(void *r);
/* Uniform below bound (> 0), without bias. */
uint64_t crypto_random_below(struct crypto_random *r, uint64_t bound);
void crypto_random_clear(struct crypto_random *r);

#endif
