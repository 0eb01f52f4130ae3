/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/random.h"

#include <sodium.h>
#include <string.h>

#include "base/secret.h"

static void
refill(struct crypto_random *r)
{
	static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
	uint8_t key[CRYPTO_KEY_LEN];

	memcpy(key, r->block, sizeof(key));
	(void)crypto_stream_chacha20(r->block, sizeof(r->block), nonce, key);
	secret_wipe(key, sizeof(key));
	r->used = CRYPTO_KEY_LEN;
}

void
crypto_random_init_seed(struct crypto_random *r, const uint8_t seed[CRYPTO_KEY_LEN])
{
	memcpy(r->block, seed, CRYPTO_KEY_LEN);
	r->used = sizeof(r->block);
}

void
crypto_random_init(struct crypto_random *r)
{
	crypto_random_bytes(r->block, CRYPTO_KEY_LEN);
	r->used = sizeof(r->block);
}

uint64_t
crypto_random_u64(void *arg)
{
	struct crypto_random *r = arg;
	uint64_t v = 0;

	if (r->used + sizeof(v) > sizeof(r->block)) {
		refill(r);
	}
	for (size_t i = 0; i < sizeof(v); i++) {
		v = v << 8 | r->block[r->used + i];
	}
	memset(r->block + r->used, 0, sizeof(v));
	r->used += sizeof(v);
	return v;
}

uint64_t
crypto_random_below(struct crypto_random *r, uint64_t bound)
{
	if (bound == 0) {
		panic("random number below zero");
	}
	/* The top part that does not hold `bound` evenly is drawn again. */
	uint64_t excess = (UINT64_MAX % bound + 1) % bound;
	uint64_t v;
	do {
		v = crypto_random_u64(r);
	} while (v > UINT64_MAX - excess);
	return v % bound;
}

void
crypto_random_clear(struct crypto_random *r)
{
	secret_wipe(r, sizeof(*r));
	r->used = sizeof(r->block);
}
