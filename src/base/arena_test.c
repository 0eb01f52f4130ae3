/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
an_arena_stops_at_its_maximum_and_holds_nothing_after(void **state)
{
	(void)state;
	struct arena a;
	arena_init(&a, 10000);
	assert_null(a.blocks);
	assert_non_null(arena_alloc(&a, 100));
	assert_non_null(arena_alloc(&a, 5000));
	assert_null(arena_alloc(&a, 6000));
	assert_null(arena_array(&a, SIZE_MAX / 2, 16));
	struct bytes c = arena_copy(&a, bytes_str("copy"));
	assert_true(bytes_is(c, "copy"));
	arena_clear(&a);
	assert_null(a.blocks);
	assert_int_equal(a.used, 0);
}

static void
memory_is_zeroed_and_aligned(void **state)
{
	(void)state;
	struct arena a;
	arena_init(&a, 100000);
	for (size_t i = 1; i < 100; i++) {
		uint8_t *p = arena_alloc(&a, i);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t k = 0; k < i; k++) {
			assert_int_equal(p[k], 0);
		}
	}
	arena_clear(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_arena_stops_at_its_maximum_and_holds_nothing_after),
	    cmocka_unit_test(memory_is_zeroed_and_aligned),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
