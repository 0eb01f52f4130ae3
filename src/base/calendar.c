/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/calendar.h"

enum { DAYS_OF_ERA = 146097, DAYS_TO_1970 = 719468, DAY_SECONDS = 86400 };

static int64_t
floor_divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0 ? 1 : 0);
}

int64_t
calendar_days(int64_t year, int month, int64_t day)
{
	/* Years begin in March, so that the leap day is the last. */
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = floor_divide(y, 400);
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (int64_t)(month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_1970;
}

struct calendar
calendar_of(int64_t seconds)
{
	int64_t days = floor_divide(seconds, DAY_SECONDS);
	int rest = (int)(seconds - days * DAY_SECONDS);
	int64_t z = days + DAYS_TO_1970;
	int64_t era = floor_divide(z, DAYS_OF_ERA);
	int64_t of_era = z - era * DAYS_OF_ERA;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int of_year = (int)(of_era - (365 * y + y / 4 - y / 100));
	int m = (5 * of_year + 2) / 153;
	struct calendar c = {.day = of_year - (153 * m + 2) / 5 + 1,
			     .month = m < 10 ? m + 3 : m - 9,
			     .hour = rest / 3600,
			     .minute = rest / 60 % 60,
			     .second = rest % 60,
			     .weekday = (int)(days + 4 - 7 * floor_divide(days + 4, 7))};
	c.year = y + era * 400 + (c.month <= 2 ? 1 : 0);
	return c;
}

bool
calendar_is_day(int64_t year, int month, int day)
{
	static const int lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	if (month < 1 || month > 12 || day < 1) {
		return false;
	}
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return day <= lengths[month - 1] + (month == 2 && leap ? 1 : 0);
}
