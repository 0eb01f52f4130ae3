/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "opener/name.h"

static void
test_names_are_lower_case_dot_strings_without_plus(void **state)
{
	(void)state;
	static const char *const good[] = {"alice", "a", "a.b", "a-b_c", "o'neil", "x1.y2.z3"};
	static const char *const bad[] = {"",    ".a",    "a.",  "a..b", "a+b",      "Alice", "a b",
					  "a@b", "\"a\"", "a,b", "a\n",  "\xc3\xa9", "a(b)",  "<a>"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(name_is_local(bytes_str(good[i])));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(name_is_local(bytes_str(bad[i])));
	}
	char longest[65];
	memset(longest, 'a', sizeof(longest));
	assert_true(name_is_local(bytes_of(longest, 64)));
	assert_false(name_is_local(bytes_of(longest, 65)));
}

static void
member(const char *typed, enum err wanted, const char *name)
{
	struct buf b = BUF_INIT(64);
	assert_int_equal(name_of_member(bytes_str(typed), "example.org", &b), wanted);
	if (wanted == ERR_OK) {
		assert_true(bytes_is(buf_bytes(&b), name));
	} else {
		assert_int_equal(b.len, 0);
	}
	buf_clear(&b);
}

static void
test_a_member_may_be_typed_with_our_domain_and_in_any_case(void **state)
{
	(void)state;
	member("Alice", ERR_OK, "alice");
	member("alice@Example.ORG", ERR_OK, "alice");
	member(" alice ", ERR_OK, "alice");
	member("alice@example.com", ERR_DENIED, NULL);
	member("alice+x", ERR_FORMAT, NULL);
	member("\"a b\"@example.org", ERR_FORMAT, NULL);
	member("", ERR_FORMAT, NULL);
	member("@example.org", ERR_FORMAT, NULL);
}

static void
login(const char *typed, enum err wanted, const char *address)
{
	struct buf b = BUF_INIT(400);
	assert_int_equal(name_of_login(bytes_str(typed), "example.org", &b), wanted);
	if (wanted == ERR_OK) {
		assert_true(bytes_is(buf_bytes(&b), address));
	}
	buf_clear(&b);
}

static void
test_a_login_has_one_name_whatever_subaddress_is_typed(void **state)
{
	(void)state;
	login("alice", ERR_OK, "alice@example.org");
	login("ALICE@EXAMPLE.org", ERR_OK, "alice@example.org");
	login("alice+1@example.org", ERR_OK, "alice@example.org");
	login("alice+2", ERR_OK, "alice@example.org");
	login("alice@elsewhere.org", ERR_DENIED, NULL);
	login("", ERR_FORMAT, NULL);
	login("a b c", ERR_FORMAT, NULL);
	login("alice@example.org\r\n", ERR_OK, "alice@example.org");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names_are_lower_case_dot_strings_without_plus),
	    cmocka_unit_test(test_a_member_may_be_typed_with_our_domain_and_in_any_case),
	    cmocka_unit_test(test_a_login_has_one_name_whatever_subaddress_is_typed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
