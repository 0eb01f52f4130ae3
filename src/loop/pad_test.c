/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/pad.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
a_shape_fits_when_each_record_gets_a_byte_and_none_too_many(void **state)
{
	(void)state;
	assert_true(pad_fits(511, 512, 1));
	assert_false(pad_fits(512, 512, 1));
	assert_false(pad_fits(0, 512, 1));
	assert_false(pad_fits(3, 512, 4));
	assert_true(pad_fits(4, 512, 4));
	assert_true(pad_fits(4 * 16383, 16384, 4));
	assert_false(pad_fits(4 * 16383 + 1, 16384, 4));
	assert_false(pad_fits(100, 16385, 1));
	assert_false(pad_fits(100, 1, 100));
	assert_false(pad_fits(100, 512, 0));
	assert_false(pad_fits(UINT64_MAX, 16384, UINT64_MAX / 16384));
}

static void
a_plan_is_used_up_by_its_payloads_exactly(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {4, 5, 16383, 16384, 16386, 16387, 32766, 49149, 49150, 65531, 65532};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t left = sizes[i];
		for (uint64_t records = 4; records > 0; records--) {
			size_t n = pad_payload(left, records, 16384);
			assert_true(n >= 1 && n <= 16383 && n <= left);
			left -= n;
		}
		assert_int_equal(left, 0);
	}
}

/* Feeds a response of `bytes` bytes as a stream does, and gives the records in all. */
static struct pad_shape
respond(uint64_t bytes)
{
	struct pad_shape shape;
	uint64_t sent = 0;
	if (bytes > PAD_FULL + PAD_HOLD) {
		sent = (bytes - PAD_HOLD - 1) / PAD_FULL;
	}
	assert_int_equal(pad_ladder(sent, (size_t)(bytes - sent * PAD_FULL), &shape), ERR_OK);
	shape.count += sent;
	return shape;
}

static void
a_response_shows_its_step_of_the_ladder_and_nothing_else(void **state)
{
	(void)state;
	uint64_t below = 0;
	struct {
		uint64_t most;
		size_t size;
		uint64_t count;
	} steps[] = {{511, 512, 1},
		     {4095, 4096, 1},
		     {16383, 16384, 1},
		     {4ULL * 16383, 16384, 4},
		     {16ULL * 16383, 16384, 16},
		     {64ULL * 16383, 16384, 64},
		     {256ULL * 16383, 16384, 256},
		     {1024ULL * 16383, 16384, 1024},
		     {4096ULL * 16383, 16384, 4096},
		     {8192ULL * 16383, 16384, 8192},
		     {12288ULL * 16383, 16384, 12288}};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t inside[] = {below + 1,     below + 2,         below + PAD_HOLD, below + 20479,
				     below + 20480, steps[i].most - 1, steps[i].most};
		for (size_t j = 0; j < sizeof(inside) / sizeof(inside[0]); j++) {
			if (inside[j] > below && inside[j] <= steps[i].most) {
				struct pad_shape shape = respond(inside[j]);
				assert_int_equal(shape.size, steps[i].size);
				assert_int_equal(shape.count, steps[i].count);
			}
		}
		below = steps[i].most;
	}
}

static void
an_end_with_too_few_bytes_for_its_records_is_refused(void **state)
{
	(void)state;
	struct pad_shape shape;
	assert_int_equal(pad_ladder(0, 0, &shape), ERR_LIMIT);
	assert_int_equal(pad_ladder(1, 2, &shape), ERR_LIMIT);
	assert_int_equal(pad_ladder(1, 3, &shape), ERR_OK);
	assert_int_equal(pad_ladder(4096, 4095, &shape), ERR_LIMIT);
	assert_int_equal(pad_ladder(4096, 4096, &shape), ERR_OK);
	assert_int_equal(shape.count, 4096);
}

static void
a_class_has_records_for_what_the_house_may_add(void **state)
{
	(void)state;
	assert_int_equal(pad_class_records(65536), 4);
	assert_int_equal(pad_class_records(262144), 16);
	assert_int_equal(pad_class_records(16 << 20), 1024);
	for (unsigned c = 0; c < 12; c++) {
		uint64_t bytes = (uint64_t)65536 << (2 * c);
		/* At least 3 KiB of the 4 that the class allows for. */
		assert_true(pad_class_records(bytes) * PAD_FULL + 1024 >= bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_shape_fits_when_each_record_gets_a_byte_and_none_too_many),
	    cmocka_unit_test(a_plan_is_used_up_by_its_payloads_exactly),
	    cmocka_unit_test(a_response_shows_its_step_of_the_ladder_and_nothing_else),
	    cmocka_unit_test(an_end_with_too_few_bytes_for_its_records_is_refused),
	    cmocka_unit_test(a_class_has_records_for_what_the_house_may_add),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
