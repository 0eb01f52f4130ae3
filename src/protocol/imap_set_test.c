/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
check(const char *text, uint32_t largest, const char *expected)
{
	struct arena a;
	struct imap_set set;
	struct imap_set resolved;
	struct buf out = BUF_INIT(1000);
	arena_init(&a, 100000);
	assert_int_equal(imap_set_parse(&a, bytes_str(text), &set), ERR_OK);
	assert_int_equal(imap_set_resolve(&a, &set, largest, &resolved), ERR_OK);
	assert_int_equal(imap_set_write(&out, &resolved), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), expected));
	buf_clear(&out);
	arena_clear(&a);
}

static void
sets_are_sorted_and_merged_with_the_star_in_place(void **state)
{
	(void)state;
	check("5,1:3,4", 10, "1:5");
	check("*", 10, "10");
	check("*:8", 10, "8:10");
	check("12:*", 10, "10:12"); /* RFC 3501: the order does not matter */
	check("2,4:7,9,12:*", 15, "2,4:7,9,12:15");
	check("1:*", 0, "1");
	check("*", 0, "");
	check("4294967295,4294967294,1", 10, "1,4294967294:4294967295");
	check("1,1,1:1", 10, "1");
}

static void
malformed_sets_are_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"",   "0",          "1,",  ",1", "1:", ":1",  "1:2:3", "a",
					    "01", "4294967296", "1 2", "-1", "$",  "1:0", "**"};
	struct arena a;
	arena_init(&a, 100000);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct imap_set set;
		assert_int_equal(imap_set_parse(&a, bytes_str(wrong[i]), &set), ERR_FORMAT);
	}
	arena_clear(&a);
}

static void
membership_and_size_follow_the_ranges(void **state)
{
	(void)state;
	struct imap_range ranges[] = {{10, 20}, {1, 3}, {4, 4}, {30, 30}};
	struct imap_set set = {.ranges = ranges, .count = imap_ranges_merge(ranges, 4)};
	assert_int_equal(set.count, 3);
	for (uint32_t i = 0; i < 40; i++) {
		bool in = (i >= 1 && i <= 4) || (i >= 10 && i <= 20) || i == 30;
		assert_true(imap_set_contains(&set, i) == in);
	}
	assert_int_equal(imap_set_size(&set), 16);
	assert_int_equal(imap_set_last(&set), 30);
}

static void
collected_numbers_keep_their_order(void **state)
{
	(void)state;
	struct buf ranges = BUF_INIT(1000);
	struct buf out = BUF_INIT(1000);
	const uint32_t numbers[] = {7, 8, 9, 3, 4, 20};
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(imap_ranges_add(&ranges, numbers[i]), ERR_OK);
	}
	struct imap_set set = imap_ranges_set(&ranges);
	assert_int_equal(imap_set_write(&out, &set), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "7:9,3:4,20"));
	buf_clear(&out);
	buf_clear(&ranges);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sets_are_sorted_and_merged_with_the_star_in_place),
	    cmocka_unit_test(malformed_sets_are_refused),
	    cmocka_unit_test(membership_and_size_follow_the_ranges),
	    cmocka_unit_test(collected_numbers_keep_their_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
