/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/calendar.h"

static void
every_day_is_what_the_c_library_says(void **state)
{
	(void)state;
	/* From the year 1 to 9999, at a time of day that moves. */
	for (int64_t day = calendar_days(1, 1, 1); day <= calendar_days(9999, 12, 31); day++) {
		int64_t seconds = day * 86400 + (day * 7919 % 86400 + 86400) % 86400;
		time_t t = (time_t)seconds;
		struct tm tm;
		assert_non_null(gmtime_r(&t, &tm));
		struct calendar c = calendar_of(seconds);
		assert_true(c.year == tm.tm_year + 1900 && c.month == tm.tm_mon + 1 && c.day == tm.tm_mday);
		assert_true(c.hour == tm.tm_hour && c.minute == tm.tm_min && c.second == tm.tm_sec);
		assert_int_equal(c.weekday, tm.tm_wday);
		assert_int_equal(calendar_days(c.year, c.month, c.day), day);
		assert_true(calendar_is_day(c.year, c.month, c.day));
	}
}

static void
days_that_do_not_exist_are_none(void **state)
{
	(void)state;
	assert_false(calendar_is_day(2026, 2, 29));
	assert_true(calendar_is_day(2024, 2, 29));
	assert_false(calendar_is_day(1900, 2, 29));
	assert_true(calendar_is_day(2000, 2, 29));
	assert_false(calendar_is_day(2026, 4, 31));
	assert_false(calendar_is_day(2026, 13, 1));
	assert_false(calendar_is_day(2026, 0, 1));
	assert_false(calendar_is_day(2026, 1, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_day_is_what_the_c_library_says),
	    cmocka_unit_test(days_that_do_not_exist_are_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
