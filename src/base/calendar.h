/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_CALENDAR_H
#define COHUE_BASE_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The proleptic Gregorian calendar, in UTC, without leap seconds: no locale, no time zone, no files. Source: Howard
 * Hinnant, "chrono-compatible low-level date algorithms".
 */

struct calendar {
	int64_t year;
	int month; /* 1 to 12 */
	int day;   /* 1 to 31 */
	int hour, minute, second;
	int weekday; /* 0: Sunday */
};

/* Days since 1970-01-01. Month 1 to 12; a day past its month's end counts on. */
int64_t calendar_days(int64_t year, int month, int64_t day);
/* From seconds since 1970. */
struct calendar calendar_of(int64_t seconds);
/* True for a day that exists. */
bool calendar_is_day(int64_t year, int month, int day);

#endif
