/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
a_buffer_refuses_to_grow_past_its_maximum(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(10);
	assert_int_equal(buf_append_str(&b, "12345678"), ERR_OK);
	assert_int_equal(buf_append_str(&b, "abc"), ERR_LIMIT);
	assert_int_equal(b.len, 8);
	assert_int_equal(buf_append_str(&b, "ab"), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "12345678ab"));
	buf_consume(&b, 9);
	assert_true(bytes_is(buf_bytes(&b), "b"));
	buf_clear(&b);
	assert_null(b.ptr);
}

static void
base64_round_trips_and_refuses_what_is_not(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {
	    {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct buf b = BUF_INIT(100);
		assert_int_equal(buf_append_base64(&b, bytes_str(pairs[i][0])), ERR_OK);
		assert_true(bytes_is(buf_bytes(&b), pairs[i][1]));
		struct buf back = BUF_INIT(100);
		assert_int_equal(buf_append_unbase64(&back, buf_bytes(&b)), ERR_OK);
		assert_true(bytes_is(buf_bytes(&back), pairs[i][0]));
		buf_clear(&b);
		buf_clear(&back);
	}
	static const char *const bad[] = {"Zg=", "Z===", "Zg==Zg==", "Z g=", "=Zg="};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf b = BUF_INIT(100);
		assert_int_equal(buf_append_unbase64(&b, bytes_str(bad[i])), ERR_FORMAT);
		assert_int_equal(b.len, 0);
		buf_clear(&b);
	}
}

static void
utf8_is_told_from_what_is_not(void **state)
{
	(void)state;
	assert_true(bytes_is_utf8(bytes_str("abc \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80")));
	static const char *const bad[] = {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80",
					  "\x80",     "\xc3",         "a\xe2\x82"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(bytes_is_utf8(bytes_str(bad[i])));
	}
}

static void
numbers_are_read_strictly(void **state)
{
	(void)state;
	uint64_t v = 7;
	assert_int_equal(bytes_to_u64(bytes_str("18446744073709551615"), UINT64_MAX, &v), ERR_OK);
	assert_true(v == UINT64_MAX);
	assert_int_equal(bytes_to_u64(bytes_str("18446744073709551616"), UINT64_MAX, &v), ERR_LIMIT);
	assert_int_equal(bytes_to_u64(bytes_str("-1"), 10, &v), ERR_FORMAT);
	assert_int_equal(bytes_to_u64(bytes_str(""), 10, &v), ERR_FORMAT);
	assert_int_equal(bytes_to_u64(bytes_str("11"), 10, &v), ERR_LIMIT);
	assert_true(v == UINT64_MAX);
}

static void
views_are_found_sliced_and_compared(void **state)
{
	(void)state;
	struct bytes a = bytes_str("  Hello World\r\n");
	assert_true(bytes_is(bytes_trim(a), "Hello World"));
	assert_true(bytes_starts_with_nocase(bytes_trim(a), "hELLO"));
	assert_true(bytes_ends_with_nocase(bytes_trim(a), "WORLD"));
	assert_int_equal(bytes_search(a, bytes_str("World")), 8);
	assert_int_equal(bytes_search(a, bytes_str("world")), -1);
	assert_int_equal(bytes_slice(a, 100, 5).len, 0);
	assert_true(bytes_compare(bytes_str("a"), bytes_str("ab")) < 0);
}

static void
xml_text_ends_nowhere(void **state)
{
	struct buf b = BUF_INIT(64);
	(void)state;
	assert_int_equal(buf_append_xml(&b, BYTES_LIT("a<b>&\"'\xc3\xa9\0;")), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&b), BYTES_LIT("a&lt;b&gt;&amp;&quot;&#39;\xc3\xa9\0;")));
	buf_clear(&b);
	struct buf small = BUF_INIT(4);
	assert_int_equal(buf_append_xml(&small, BYTES_LIT("&")), ERR_LIMIT);
	buf_clear(&small);
}

static void
characters_are_written_and_read_back_at_each_length(void **state)
{
	(void)state;
	static const uint32_t chars[] = {0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff};
	struct buf b = BUF_INIT(64);
	size_t at = 0;
	for (size_t i = 0; i < sizeof(chars) / sizeof(chars[0]); i++) {
		assert_int_equal(buf_append_utf8(&b, chars[i]), ERR_OK);
	}
	assert_int_equal(b.len, 2 * (1 + 2 + 3 + 4));
	assert_true(bytes_is_utf8(buf_bytes(&b)));
	for (size_t i = 0; i < sizeof(chars) / sizeof(chars[0]); i++) {
		assert_int_equal(bytes_utf8_next(buf_bytes(&b), &at), chars[i]);
	}
	assert_int_equal(at, b.len);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_buffer_refuses_to_grow_past_its_maximum),
	    cmocka_unit_test(base64_round_trips_and_refuses_what_is_not),
	    cmocka_unit_test(utf8_is_told_from_what_is_not),
	    cmocka_unit_test(characters_are_written_and_read_back_at_each_length),
	    cmocka_unit_test(numbers_are_read_strictly),
	    cmocka_unit_test(views_are_found_sliced_and_compared),
	    cmocka_unit_test(xml_text_ends_nowhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
