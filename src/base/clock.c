/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/clock.h"

#include <time.h>

#include "base/error.h"

static msec
read_clock(clockid_t id)
{
	struct timespec t;
	if (clock_gettime(id, &t) != 0) {
		panic("clock_gettime failed");
	}
	return (msec)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

msec
clock_monotonic(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

msec
clock_boot(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

msec
clock_wall(void)
{
	return read_clock(CLOCK_REALTIME);
}
