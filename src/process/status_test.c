/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "process/status.h"

static char said[4096];

static const char *
told(const struct status_record *s, const char *lines, bool exact)
{
	struct buf out = BUF_INIT(sizeof(said) - 1);
	assert_int_equal(status_tell(s, bytes_str(lines), exact, &out), ERR_OK);
	memset(said, 0, sizeof(said));
	if (out.len > 0) {
		memcpy(said, out.ptr, out.len);
	}
	buf_clear(&out);
	return said;
}

static void
hour(struct status_record *s, const char *lines)
{
	status_hour_ends(s, bytes_str(lines));
}

static void
numbers_are_told_as_the_next_power_of_ten(void **state)
{
	(void)state;
	assert_int_equal(status_coarse(0), 0);
	assert_int_equal(status_coarse(1), 10);
	assert_int_equal(status_coarse(10), 10);
	assert_int_equal(status_coarse(11), 100);
	assert_true(status_coarse(UINT64_MAX) >= 10000000000000000000ULL);
}

static void
within_an_hour_nothing_changes_whatever_happens(void **state)
{
	static struct status_record s;
	(void)state;
	hour(&s, "law crowd\n+taken 0\n=waiting 0\n!failures 0\n");
	/* Before an hour has ended nothing of mail is told. */
	assert_string_equal(told(&s, "law crowd\n+taken 7\n=waiting 3\n!failures 2\n", false),
			    "whole_hours 0\nlaw crowd\nfailures_at_most 10\n");
	hour(&s, "law crowd\n+taken 7\n=waiting 3\n!failures 2\n");
	char before[sizeof(said)];
	memcpy(before, told(&s, "law crowd\n+taken 7\n=waiting 3\n!failures 2\n", false), sizeof(before));
	assert_string_equal(before, "whole_hours 1\nlaw crowd\ntaken_last_hour_at_most 10\n"
				    "taken_last_day_at_most 10\nwaiting_at_most 10\nfailures_at_most 10\n");
	assert_string_equal(told(&s, "law crowd\n+taken 5000\n=waiting 900\n!failures 2\n", false), before);
}

static void
sums_are_of_the_last_hour_and_the_last_day(void **state)
{
	static struct status_record s;
	(void)state;
	hour(&s, "+taken 1000\n=waiting 0\n");
	hour(&s, "+taken 1200\n=waiting 40\n");
	hour(&s, "+taken 1203\n=waiting 0\n");
	assert_string_equal(told(&s, "+taken 1203\n=waiting 0\n", false),
			    "whole_hours 2\ntaken_last_hour_at_most 10\ntaken_last_day_at_most 1000\n"
			    "waiting_at_most 0\n");
	for (int i = 0; i < STATUS_HOURS; i++) {
		hour(&s, "+taken 1203\n=waiting 0\n");
	}
	assert_string_equal(told(&s, "+taken 1203\n=waiting 0\n", false),
			    "whole_hours 24\ntaken_last_hour_at_most 0\ntaken_last_day_at_most 0\n"
			    "waiting_at_most 0\n");
}

static void
exact_figures_have_their_plain_names(void **state)
{
	static struct status_record s;
	(void)state;
	assert_string_equal(told(&s, "+taken 7\nlaw none\n=waiting 3\n!failures 2\n", true),
			    "taken 7\nlaw none\nwaiting 3\nfailures 2\n");
}

static void
amounts_that_may_be_left_out_are_so_by_what_was(void **state)
{
	static struct status_record s;
	(void)state;
	hour(&s, "~class_0 4\n~class_1 0\n");
	hour(&s, "~class_0 4\n~class_1 0\n");
	assert_string_equal(told(&s, "~class_0 0\n~class_1 9\n", false),
			    "whole_hours 1\nclass_0_at_most 10\n");
	assert_string_equal(told(&s, "~class_0 0\n~class_1 9\n", true), "class_1 9\n");
}

static void
what_is_no_figure_is_not_told_by_mistake(void **state)
{
	static struct status_record s;
	(void)state;
	hour(&s, "+taken\n+ 3\n=waiting many\n");
	hour(&s, "+taken\n+ 3\n=waiting many\n+late 5\n");
	assert_string_equal(told(&s, "+taken\n+ 3\n=waiting many\n+late 9\n+later 9\n", false),
			    "whole_hours 1\nlate_last_hour_at_most 10\nlate_last_day_at_most 10\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_are_told_as_the_next_power_of_ten),
	    cmocka_unit_test(within_an_hour_nothing_changes_whatever_happens),
	    cmocka_unit_test(sums_are_of_the_last_hour_and_the_last_day),
	    cmocka_unit_test(exact_figures_have_their_plain_names),
	    cmocka_unit_test(amounts_that_may_be_left_out_are_so_by_what_was),
	    cmocka_unit_test(what_is_no_figure_is_not_told_by_mistake),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
