/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/internal.h"

static void
test_sizes_are_read_as_people_write_them(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {{"0", 0},
		    {"none", 0},
		    {"1000", 1000},
		    {"5 GiB", 5ULL << 30},
		    {"5GiB", 5ULL << 30},
		    {" 500m ", 500ULL << 20},
		    {"1 TiB", 1ULL << 40},
		    {"64k", 64 << 10}};
	static const char *const bad[] = {
	    "", "x", "5x", "-1", "1.5G", "GiB", "99999999999999999999", "9999999999T"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t n = 1;
		assert_int_equal(cli_read_size(good[i].text, &n), ERR_OK);
		assert_true(n == good[i].size);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t n = 7;
		assert_int_equal(cli_read_size(bad[i], &n), ERR_FORMAT);
		assert_true(n == 7);
	}
}

static void
shown(uint64_t size, const char *wanted)
{
	struct buf out = BUF_INIT(64);
	assert_int_equal(cli_size(&out, size), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), wanted));
	buf_clear(&out);
}

static void
test_sizes_are_shown_in_the_largest_unit(void **state)
{
	(void)state;
	shown(0, "0 B");
	shown(1023, "1023 B");
	shown(1024, "1 KiB");
	shown(1536, "1.5 KiB");
	shown(5ULL << 30, "5 GiB");
}

static void
test_json_text_is_escaped_and_always_utf8(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(256);
	assert_int_equal(cli_json_text(&out, BYTES_LIT("a\"b\\c\n\x01 \xc3\xa9 \xff\xc3")), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "\"a\\\"b\\\\c\\u000a\\u0001 \xc3\xa9 \\ufffd\\ufffd\""));
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes_are_read_as_people_write_them),
	    cmocka_unit_test(test_sizes_are_shown_in_the_largest_unit),
	    cmocka_unit_test(test_json_text_is_escaped_and_always_utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
