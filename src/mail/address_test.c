/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/address.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
normal_is(const char *address, const char *want)
{
	struct mail_mailbox m;
	struct buf out = BUF_INIT(1000);
	assert_int_equal(mail_mailbox_parse(bytes_str(address), &m), ERR_OK);
	assert_int_equal(mail_mailbox_normalise(&m, &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), want));
	buf_clear(&out);
}

static void
equal_addresses_have_one_form(void **state)
{
	(void)state;
	normal_is("Alice@Example.ORG", "alice@example.org");
	normal_is("\"Alice\"@example.org.", "alice@example.org");
	normal_is("\"a\\b c\"@x", "\"ab c\"@x");
	normal_is("a@B\xc3\xbc"
		  "cher.example",
		  "a@xn--bcher-kva.example");
	normal_is("a@[IPv6:::1]", "a@[ipv6:::1]");
	normal_is("a@[192.0.2.1]", "a@[192.0.2.1]");
	normal_is("\xc3\xbc@x.example", "\xc3\xbc@x.example");
}

static void
what_is_no_mailbox_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "",         "a",     "@b",    "a@",     ".a@b",       "a..b@c",    "a.@b",         "a b@c",
	    "a@b c",    "a@-b",  "a@b-",  "a@b..c", "a@.b",       "a@[1.2.3]", "a@[192.0.2.1", "\"a@b",
	    "\"a\"b@c", "a@b@c", "a\r@b", "a@b\n",  "\"\x01\"@b", "\xff@b",    "<a@b>",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mail_mailbox m;
		if (mail_mailbox_parse(bytes_str(bad[i]), &m) != ERR_FORMAT) {
			fail_msg("accepted: number %zu", i);
		}
	}
}

static void
long_local_parts_are_refused(void **state)
{
	(void)state;
	struct mail_mailbox m;
	char text[80];
	for (size_t i = 0; i < 65; i++) {
		text[i] = 'a';
	}
	text[65] = '@';
	text[66] = 'b';
	assert_int_equal(mail_mailbox_parse(bytes_of(text, 67), &m), ERR_LIMIT);
	assert_int_equal(mail_mailbox_parse(bytes_of(text + 1, 66), &m), ERR_OK);
}

static void
paths_end_at_their_bracket(void **state)
{
	(void)state;
	struct mail_mailbox m;
	size_t used;
	assert_int_equal(mail_path_parse(BYTES_LIT("<> SIZE=1"), &m, &used), ERR_OK);
	assert_int_equal(used, 2);
	assert_int_equal(m.local.len, 0);
	assert_int_equal(mail_path_parse(BYTES_LIT("<\"a>b\"@c> X"), &m, &used), ERR_OK);
	assert_int_equal(used, 9);
	assert_true(m.quoted);
	assert_int_equal(mail_path_parse(BYTES_LIT("<@r,@s:a@b>"), &m, &used), ERR_OK);
	assert_true(bytes_is(m.local, "a"));
	assert_int_equal(mail_path_parse(BYTES_LIT("<Postmaster>"), &m, &used), ERR_OK);
	assert_int_equal(m.domain.len, 0);
	assert_int_equal(mail_path_parse(BYTES_LIT("a@b"), &m, &used), ERR_FORMAT);
	assert_int_equal(mail_path_parse(BYTES_LIT("<a@b"), &m, &used), ERR_FORMAT);
	assert_int_equal(mail_path_parse(BYTES_LIT("<@r:>"), &m, &used), ERR_FORMAT);
}

static void
subaddresses_are_split_at_the_first_separator(void **state)
{
	(void)state;
	struct bytes base;
	struct bytes detail;
	assert_true(mail_subaddress_split(BYTES_LIT("alice+shop+x"), '+', &base, &detail));
	assert_true(bytes_is(base, "alice"));
	assert_true(bytes_is(detail, "shop+x"));
	assert_false(mail_subaddress_split(BYTES_LIT("+x"), '+', &base, &detail));
	assert_true(bytes_is(base, "+x"));
}

static void
the_last_subaddress_counts_whatever_its_case(void **state)
{
	(void)state;
	assert_true(mail_subaddress_ends(BYTES_LIT("alice+now"), '+', BYTES_LIT("now")));
	assert_true(mail_subaddress_ends(BYTES_LIT("alice+shop+NOW"), '+', BYTES_LIT("now")));
	assert_false(mail_subaddress_ends(BYTES_LIT("alice+now+shop"), '+', BYTES_LIT("now")));
	assert_false(mail_subaddress_ends(BYTES_LIT("alice+nowhere"), '+', BYTES_LIT("now")));
	assert_false(mail_subaddress_ends(BYTES_LIT("alicenow"), '+', BYTES_LIT("now")));
	assert_false(mail_subaddress_ends(BYTES_LIT("now"), '+', BYTES_LIT("now")));
	assert_false(mail_subaddress_ends(BYTES_LIT("+now"), '+', BYTES_LIT("now")));
	assert_false(mail_subaddress_ends(BYTES_LIT("+shop+now"), '+', BYTES_LIT("now")));
	assert_false(mail_subaddress_ends(BYTES_EMPTY, '+', BYTES_LIT("now")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal_addresses_have_one_form),
	    cmocka_unit_test(what_is_no_mailbox_is_refused),
	    cmocka_unit_test(long_local_parts_are_refused),
	    cmocka_unit_test(paths_end_at_their_bracket),
	    cmocka_unit_test(subaddresses_are_split_at_the_first_separator),
	    cmocka_unit_test(the_last_subaddress_counts_whatever_its_case),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
