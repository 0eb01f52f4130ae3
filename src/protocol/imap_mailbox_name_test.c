/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_mailbox_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
modified_utf7_round_trips(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {
	    {"INBOX", "INBOX"},
	    {"A&-B", "A&B"},
	    /* RFC 3501 section 5.1.3 */
	    {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
	     "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
	    {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
	    {"&2D3eAA-", "\xf0\x9f\x98\x80"},
	    {"&AOkA6Q-&-&AOk-", "\xc3\xa9\xc3\xa9&\xc3\xa9"},
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct buf out = BUF_INIT(1000);
		assert_int_equal(imap_utf7_decode(&out, bytes_str(pairs[i][0])), ERR_OK);
		assert_true(bytes_is(buf_bytes(&out), pairs[i][1]));
		buf_reset(&out);
		assert_int_equal(imap_utf7_encode(&out, bytes_str(pairs[i][1])), ERR_OK);
		assert_true(bytes_is(buf_bytes(&out), pairs[i][0]));
		buf_clear(&out);
	}
}

static void
what_is_not_canonical_utf7_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"&",
					    "a&",
					    "&Jjo",
					    "&Jjo!-",
					    "&U,BTFw-&ZeVnLIqe-", /* two shifts that should be one */
					    "&AGE-",              /* ASCII in base64 */
					    "&2D0-",              /* half a surrogate pair */
					    "&3gA-",
					    "&2D3YPQ-",
					    "\xc3\xa9",
					    "a\x01",
					    "&APx-", /* bits left over */
					    "&A-",
					    "&APwA-",
					    "&=-"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct buf out = BUF_INIT(1000);
		assert_int_equal(imap_utf7_decode(&out, bytes_str(wrong[i])), ERR_FORMAT);
		assert_int_equal(out.len, 0);
		buf_clear(&out);
	}
}

static void
only_good_names_may_be_created(void **state)
{
	(void)state;
	static const char *const right[] = {"INBOX", "a/b/c", "Entw\xc3\xbcrfe", "a b", "...", "~x", "a.b"};
	static const char *const wrong[] = {"",      "/",     "a/",        "/a",           "a//b",
					    "a\x01", "a\x7f", "a\xc2\x85", "\xe2\x80\xa8", "a/../b",
					    ".",     "a*",    "%",         "\xc3",         "\xef\xbf\xbf"};
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		assert_true(imap_mailbox_name_valid(bytes_str(right[i])));
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_false(imap_mailbox_name_valid(bytes_str(wrong[i])));
	}
	char deep[2 * IMAP_NAME_LEVELS_MAX + 2];
	for (size_t i = 0; i < sizeof(deep); i++) {
		deep[i] = i % 2 == 0 ? 'a' : '/';
	}
	assert_true(imap_mailbox_name_valid(bytes_of(deep, 2 * IMAP_NAME_LEVELS_MAX - 1)));
	assert_false(imap_mailbox_name_valid(bytes_of(deep, 2 * IMAP_NAME_LEVELS_MAX + 1)));
}

static void
what_nobody_sees_is_not_fit_for_a_new_name(void **state)
{
	(void)state;
	static const char *const fit[] = {
	    "INBOX",
	    "a/b c",
	    "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
	    "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae\xd9\x88\xd8\xa7\xd9\x87\xd9\x85", /* Persian, with a non-joiner */
	    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb/\xe2\x9d\xa4\xef\xb8\x8f", /* emoji, joined and with a selector */
	};
	static const char *const unfit[] = {
	    "a\xe2\x80\xae"
	    "b", /* right-to-left override */
	    "\xe2\x80\x8f"
	    "a",
	    "a\xd8\x9c",
	    "a\xe2\x81\xa6"
	    "b\xe2\x81\xa9",
	    "so\xc2\xad"
	    "ft",
	    "a\xe2\x80\x8b"
	    "b",
	    "a\xe2\x81\xa0",
	    "\xf3\xa0\x81\xa5",
	    "a\xe2\x80\x8d"
	    "b",
	    "\xd9\x85\xe2\x80\x8c",
	    "\xd9\x85\xe2\x80\x8c/\xd9\x85",
	    "\xd9\x85\xe2\x80\x8c\xe2\x80\x8c\xd9\x85",
	};
	for (size_t i = 0; i < sizeof(fit) / sizeof(fit[0]); i++) {
		assert_true(imap_mailbox_name_valid(bytes_str(fit[i])));
		assert_true(imap_mailbox_name_fit(bytes_str(fit[i])));
	}
	for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
		assert_true(imap_mailbox_name_valid(bytes_str(unfit[i]))); /* older ones are still found */
		assert_false(imap_mailbox_name_fit(bytes_str(unfit[i])));
	}
	struct buf pattern = BUF_INIT(100);
	assert_int_equal(imap_pattern_from_wire(&pattern, BYTES_LIT("e\xcc\x81/"), BYTES_LIT("%"), true),
			 ERR_OK);
	assert_true(bytes_is(buf_bytes(&pattern), "\xc3\xa9/%"));
	buf_clear(&pattern);
}

static void
names_from_the_wire_take_the_form_of_the_house(void **state)
{
	(void)state;
	static const struct {
		const char *wire;
		bool utf8;
		bool trailing;
		const char *name;
	} rows[] = {
	    {"inbox", false, false, "INBOX"},
	    {"iNbOx/x", false, false, "INBOX/x"},
	    {"inboxes", false, false, "inboxes"},
	    {"a/b/", false, true, "a/b"},
	    {"a/b/", false, false, NULL},
	    {"Entw&APw-rfe", false, false, "Entw\xc3\xbcrfe"},
	    {"a&b", true, false, "a&b"},
	    {"Entw\xc3\xbcrfe", true, false, "Entw\xc3\xbcrfe"},
	    {"Entw\xc3\xbcrfe", false, false, NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = BUF_INIT(2000);
		enum err e =
		    imap_mailbox_from_wire(&out, bytes_str(rows[i].wire), rows[i].utf8, rows[i].trailing);
		assert_int_equal(e, rows[i].name == NULL ? ERR_FORMAT : ERR_OK);
		assert_true(bytes_is(buf_bytes(&out), rows[i].name == NULL ? "" : rows[i].name));
		buf_clear(&out);
	}
}

static void
patterns_match_as_list_says(void **state)
{
	(void)state;
	static const struct {
		const char *pattern;
		const char *name;
		bool matches;
		bool children;
	} rows[] = {
	    {"*", "a/b/c", true, true},      {"%", "a", true, false},
	    {"%", "a/b", false, false},      {"%/%", "a/b", true, false},
	    {"%/%", "a", false, true},       {"a*c", "a/b/c", true, true},
	    {"a%c", "a/c", false, false},    {"inb%", "INBOX", true, false},
	    {"INBOX", "INBOX", true, false}, {"inbox/%", "INBOX/x", true, false},
	    {"foo", "FOO", false, false},    {"", "a", false, false},
	    {"", "", true, false},           {"a/%", "a", false, true},
	    {"%%", "ab", true, false},       {"*b", "aab", true, true},
	    {"%b/*", "ab/x/y", true, true},  {"*x*y*", "xy", true, true},
	    {"a", "ab", false, false},       {"ab", "a", false, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(imap_pattern_match(bytes_str(rows[i].pattern), bytes_str(rows[i].name)) ==
			    rows[i].matches);
		assert_true(imap_pattern_match_children(bytes_str(rows[i].pattern),
							bytes_str(rows[i].name)) == rows[i].children);
	}
	/* What makes backtracking matchers explode takes a few million steps here. */
	char pattern[1000];
	char name[1000];
	for (size_t i = 0; i < sizeof(pattern); i++) {
		pattern[i] = i % 2 == 0 ? '*' : 'a';
		name[i] = 'a';
	}
	pattern[999] = 'b';
	assert_false(imap_pattern_match(bytes_of(pattern, 1000), bytes_of(name, 1000)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modified_utf7_round_trips),
	    cmocka_unit_test(what_is_not_canonical_utf7_is_refused),
	    cmocka_unit_test(only_good_names_may_be_created),
	    cmocka_unit_test(what_nobody_sees_is_not_fit_for_a_new_name),
	    cmocka_unit_test(names_from_the_wire_take_the_form_of_the_house),
	    cmocka_unit_test(patterns_match_as_list_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
