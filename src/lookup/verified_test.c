/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "lookup/verified.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t seed[SIGN_SEED_LEN] = {7};

static void
sign(struct directory_account *a)
{
	sealed_public_sign(seed, a->id, a->generation, a->public_key, a->signature);
}

static void
what_was_verified_is_not_verified_again_and_nothing_else_passes_for_it(void **state)
{
	(void)state;
	uint8_t key[SEALED_KEY_LEN];
	struct verified_keys *v = calloc(1, sizeof(*v));
	struct directory_account a = {.generation = 0x01020304};
	struct directory_account b;
	assert_non_null(v);
	sign_public(seed, key);
	sign(&a);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(verified_check(v, key, &a), ERR_OK);
		assert_int_equal(v->signatures, 1);
	}
	/* Each part of it changed, beside a good one that is remembered. */
	for (size_t i = 0; i < 5; i++) {
		b = a;
		b.id[15] ^= i == 0;
		b.generation ^= i == 1 ? 1U << 24 : 0;
		b.public_key[31] ^= i == 2;
		b.signature[63] ^= i == 3 ? 0x20 : 0;
		b.unsigned_yet = i == 4;
		assert_int_equal(verified_check(v, key, &b), ERR_DAMAGED);
		assert_int_equal(verified_check(v, key, &b), ERR_DAMAGED);
	}
	assert_int_equal(verified_check(v, key, &a), ERR_OK);
	assert_int_equal(v->signatures, 9);
	/* More than there are places: all pass, none is lost to another for ever. */
	for (uint32_t i = 1; i <= 2 * VERIFIED_MAX; i++) {
		memcpy(a.id, &i, sizeof(i));
		sign(&a);
		assert_int_equal(verified_check(v, key, &a), ERR_OK);
		assert_int_equal(verified_check(v, key, &a), ERR_OK);
	}
	assert_int_equal(v->signatures, 9 + 2 * VERIFIED_MAX);
	free(v);
}

static int
with_crypto(void **state)
{
	(void)state;
	return crypto_init() == ERR_OK ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_verified_is_not_verified_again_and_nothing_else_passes_for_it),
	};
	return cmocka_run_group_tests(tests, with_crypto, NULL);
}
