/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
a_secret_is_wiped_when_given_back(void **state)
{
	(void)state;
	uint8_t *a = secret_alloc(40);
	uint8_t *b = secret_alloc(32);
	assert_non_null(a);
	assert_non_null(b);
	assert_true(secret_contains(a));
	assert_int_equal(secret_pool_used(), 96);
	memset(a, 0xaa, 40);
	memset(b, 0xbb, 32);
	secret_free(a);
	for (size_t i = 0; i < 40; i++) {
		assert_int_equal(a[i], 0);
	}
	assert_int_equal(b[31], 0xbb);
	/* The same place is found again. */
	assert_ptr_equal(secret_alloc(64), a);
	secret_free(a);
	secret_free(b);
	secret_free(NULL);
	assert_int_equal(secret_pool_used(), 0);
}

static void
a_full_pool_gives_null(void **state)
{
	(void)state;
	void *all[32];
	size_t n = 0;
	while (n < 32 && (all[n] = secret_alloc(4096)) != NULL) {
		n++;
	}
	assert_int_equal(n, 16);
	assert_null(secret_alloc(1));
	for (size_t i = 0; i < n; i++) {
		secret_free(all[i]);
	}
	assert_null(secret_alloc(4097));
}

static void
comparison_finds_each_difference(void **state)
{
	(void)state;
	uint8_t a[32] = {0};
	uint8_t b[32] = {0};
	assert_true(secret_equal(a, b, 32));
	for (size_t i = 0; i < 32; i++) {
		b[i] = 1;
		assert_false(secret_equal(a, b, 32));
		b[i] = 0;
	}
}

static int
with_pool(void **state)
{
	(void)state;
	return secret_pool_init(65536) == ERR_OK ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_secret_is_wiped_when_given_back),
	    cmocka_unit_test(a_full_pool_gives_null),
	    cmocka_unit_test(comparison_finds_each_difference),
	};
	return cmocka_run_group_tests(tests, with_pool, NULL);
}
