/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* How a host has to be protected: every row of docs/links.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "courier/policy.h"

struct row {
	struct policy_facts facts;
	enum policy_use use;
	const char *status; /* of POLICY_USE_NOT */
};

#define NO_DANE POLICY_DANE_NONE
#define NO_STS POLICY_STS_NONE

static void
check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct smtp_result why;
		memset(&why, 0, sizeof(why));
		enum policy_use use = policy_decide(&rows[i].facts, &why);
		if (use != rows[i].use) {
			fail_msg("row %zu gives %d", i, (int)use);
		}
		if (use == POLICY_USE_NOT) {
			assert_string_equal(why.status, rows[i].status);
		}
	}
}

static void
the_domain_decides_before_the_house(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {{.require = true}, POLICY_USE_ENCRYPT, ""},
	    {{.require = false}, POLICY_USE_PREFER, ""},
	    {{.dane = POLICY_DANE_USABLE}, POLICY_USE_DANE, ""},
	    {{.require = true, .dane = POLICY_DANE_USABLE}, POLICY_USE_DANE, ""},
	    {{.dane = POLICY_DANE_UNUSABLE}, POLICY_USE_ENCRYPT, ""},
	    {{.dane = POLICY_DANE_BROKEN}, POLICY_USE_NOT, "4.7.5"},
	    {{.sts = POLICY_STS_NAMED}, POLICY_USE_AUTHORITY, ""},
	    {{.sts = POLICY_STS_FOREIGN}, POLICY_USE_NOT, "4.7.5"},
	    {{.sts = POLICY_STS_TESTING}, POLICY_USE_PREFER, ""},
	    {{.require = true, .sts = POLICY_STS_TESTING}, POLICY_USE_ENCRYPT, ""},
	};
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

static void
dane_comes_before_mta_sts(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {{.dane = POLICY_DANE_USABLE, .sts = POLICY_STS_NAMED}, POLICY_USE_DANE, ""},
	    {{.dane = POLICY_DANE_USABLE, .sts = POLICY_STS_FOREIGN}, POLICY_USE_DANE, ""},
	    {{.dane = POLICY_DANE_BROKEN, .sts = POLICY_STS_NAMED}, POLICY_USE_NOT, "4.7.5"},
	    {{.dane = POLICY_DANE_UNUSABLE, .sts = POLICY_STS_NAMED}, POLICY_USE_AUTHORITY, ""},
	    {{.dane = POLICY_DANE_UNUSABLE, .sts = POLICY_STS_FOREIGN}, POLICY_USE_NOT, "4.7.5"},
	};
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

static void
requiretls_has_the_last_word(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {{.requiretls = true}, POLICY_USE_NOT, "5.7.30"},
	    {{.requiretls = true, .dane = POLICY_DANE_UNUSABLE}, POLICY_USE_NOT, "5.7.30"},
	    {{.requiretls = true, .sts = POLICY_STS_TESTING}, POLICY_USE_NOT, "5.7.30"},
	    {{.requiretls = true, .dane = POLICY_DANE_USABLE}, POLICY_USE_DANE, ""},
	    {{.requiretls = true, .sts = POLICY_STS_NAMED}, POLICY_USE_AUTHORITY, ""},
	    /* What may pass is tried again: a name server that fails is no reason to return it. */
	    {{.requiretls = true, .dane = POLICY_DANE_BROKEN}, POLICY_USE_NOT, "4.7.5"},
	    {{.requiretls = true, .exception = true}, POLICY_USE_NOT, "5.7.30"},
	    {{.requiretls = true, .author_waives = true}, POLICY_USE_NOT, "5.7.30"},
	    {{.requiretls = true, .relay = true}, POLICY_USE_AUTHORITY, ""},
	};
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

static void
exceptions_and_relays_are_for_those_who_named_them(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {{.require = true, .exception = true, .dane = POLICY_DANE_BROKEN}, POLICY_USE_PREFER, ""},
	    {{.require = true, .exception = true, .sts = POLICY_STS_FOREIGN}, POLICY_USE_PREFER, ""},
	    {{.require = true, .author_waives = true, .dane = POLICY_DANE_USABLE}, POLICY_USE_PREFER, ""},
	    {{.require = true, .relay = true, .sts = POLICY_STS_FOREIGN}, POLICY_USE_ENCRYPT, ""},
	    {{.relay = true}, POLICY_USE_PREFER, ""},
	};
	check(rows, sizeof(rows) / sizeof(rows[0]));
	assert_true(policy_is_listed(" a.test  B.test ", BYTES_LIT("b.test")));
	assert_false(policy_is_listed("a.test b.test", BYTES_LIT("x.b.test")));
	assert_false(policy_is_listed("a.test b.test", BYTES_LIT("b.tes")));
	assert_false(policy_is_listed("", BYTES_LIT("b.test")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_domain_decides_before_the_house),
	    cmocka_unit_test(dane_comes_before_mta_sts),
	    cmocka_unit_test(requiretls_has_the_last_word),
	    cmocka_unit_test(exceptions_and_relays_are_for_those_who_named_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
