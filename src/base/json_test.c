/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
what_the_grammar_allows_passes(void **state)
{
	static const char *const good[] = {"{}",
					   "[]",
					   " [ ] ",
					   "0",
					   "-0",
					   "1.5e+3",
					   "10E-2",
					   "true",
					   "false",
					   "null",
					   "\"\"",
					   "\"\\u00e9\\n\"",
					   "{\"a\":[1,{\"b\":null}],\"c\":\"\"}",
					   "\r\n\t{ \"a\" : 1 , \"a\" : 2 }\n",
					   "[[[[]]],[]]",
					   "\"\xc3\xa9\""};
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(json_check(bytes_str(good[i])), ERR_OK);
	}
}

static void
anything_else_is_refused(void **state)
{
	static const char *const bad[] = {"",         " ",
					  "{",        "[",
					  "]",        "}",
					  "[}",       "{]",
					  "[1,]",     "{\"a\":1,}",
					  "{\"a\"}",  "{\"a\" 1}",
					  "{a:1}",    "{1:1}",
					  "01",       "1.",
					  ".5",       "+1",
					  "1e",       "-",
					  "tru",      "True",
					  "nul",      "truex",
					  "\"",       "\"\\\"",
					  "\"\\x\"",  "\"\\u12g4\"",
					  "\"\n\"",   "'a'",
					  "[1 2]",    "[1],",
					  "{}{}",     "1 1",
					  "[,1]",     "{,}",
					  "\"\xff\"", "\"\xed\xa0\x80\"",
					  "[1]x",     "\"\\u123"};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(json_check(bytes_str(bad[i])), ERR_FORMAT);
	}
}

static void
nesting_has_an_end(void **state)
{
	char text[2 * (JSON_DEPTH_MAX + 1)];
	(void)state;
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_int_equal(json_check(bytes_of(text, (size_t)2 * JSON_DEPTH_MAX)), ERR_OK);
	memset(text, '[', sizeof(text));
	assert_int_equal(json_check(bytes_of(text, sizeof(text))), ERR_LIMIT);
}

static void
members_are_found_by_name_at_their_own_level_alone(void **state)
{
	struct bytes t =
	    BYTES_LIT("{\"x\":{\"a\":1},\"list\":[\"p\", {\"a\":2} ,[3]],\"a\":\"yes\",\"a\":\"no\"}");
	(void)state;
	assert_int_equal(json_check(t), ERR_OK);
	assert_true(json_is(json_member(t, "a"), "yes"));
	assert_true(bytes_is(json_member(json_member(t, "x"), "a"), "1"));
	assert_int_equal(json_member(t, "list").len, strlen("[\"p\", {\"a\":2} ,[3]]"));
	assert_int_equal(json_kind(json_member(t, "b")), JSON_NOTHING);
	assert_int_equal(json_kind(json_member(json_member(t, "a"), "a")), JSON_NOTHING);
	assert_false(json_is(json_member(t, "x"), "a"));
}

static void
arrays_are_walked_in_order(void **state)
{
	struct bytes t = BYTES_LIT(" [ 1 , \"],\" ,{\"a\":[]}, [] ]");
	size_t at = 0;
	(void)state;
	assert_int_equal(json_check(t), ERR_OK);
	assert_true(bytes_is(json_next(t, &at), "1"));
	assert_true(json_is(json_next(t, &at), "],"));
	assert_int_equal(json_kind(json_next(t, &at)), JSON_OBJECT);
	assert_int_equal(json_kind(json_next(t, &at)), JSON_ARRAY);
	assert_int_equal(json_next(t, &at).len, 0);
	assert_int_equal(json_next(t, &at).len, 0);
	at = 0;
	assert_int_equal(json_next(BYTES_LIT("[]"), &at).len, 0);
	at = 0;
	assert_int_equal(json_next(BYTES_LIT("\"a\""), &at).len, 0);
}

static void
strings_say_what_their_escapes_mean(void **state)
{
	struct buf out = BUF_INIT(64);
	(void)state;
	assert_int_equal(json_string(BYTES_LIT("\"a\\\"\\\\\\/\\n\\u00e9\\ud83d\\ude00\""), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "a\"\\/\n\xc3\xa9\xf0\x9f\x98\x80"));
	buf_reset(&out);
	assert_int_equal(json_string(BYTES_LIT("\"a\\u0000b\""), &out), ERR_FORMAT);
	assert_int_equal(json_string(BYTES_LIT("\"a\\ud83d\""), &out), ERR_FORMAT);
	assert_int_equal(json_string(BYTES_LIT("\"a\\ud83d\\u0041\""), &out), ERR_FORMAT);
	assert_int_equal(json_string(BYTES_LIT("\"\\ude00\""), &out), ERR_FORMAT);
	assert_int_equal(json_string(BYTES_LIT("17"), &out), ERR_FORMAT);
	assert_int_equal(out.len, 0);
	buf_clear(&out);
}

static void
octets_of_no_charset_pass_where_they_are_asked_for(void **state)
{
	struct bytes t = BYTES_LIT("{\"a\\\"\xff\":[\"\xc3\"],\"b\": 1.50 ,\"c\":\"\\u0041\"}");
	(void)state;
	assert_int_equal(json_check(t), ERR_FORMAT);
	assert_int_equal(json_check_octets(t), ERR_OK);
	assert_int_equal(json_check_octets(BYTES_LIT("\"\xff")), ERR_FORMAT);
	assert_true(bytes_is(json_written(json_member(t, "b")), "1.50"));
	assert_true(bytes_is(json_written(json_member(t, "c")), "\\u0041"));
	assert_int_equal(json_written(json_member(t, "d")).len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_grammar_allows_passes),
	    cmocka_unit_test(anything_else_is_refused),
	    cmocka_unit_test(nesting_has_an_end),
	    cmocka_unit_test(members_are_found_by_name_at_their_own_level_alone),
	    cmocka_unit_test(arrays_are_walked_in_order),
	    cmocka_unit_test(strings_say_what_their_escapes_mean),
	    cmocka_unit_test(octets_of_no_charset_pass_where_they_are_asked_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
