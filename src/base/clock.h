/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_CLOCK_H
#define COHUE_BASE_CLOCK_H

#include <stdint.h>

/*
 * Pure libraries never read a clock: it is passed in. Roles read it here.
 * Both in milliseconds, so that ages and deadlines need no floating point.
 */

typedef int64_t msec;

#define MSEC_SECOND ((msec)1000)
#define MSEC_MINUTE (60 * MSEC_SECOND)
#define MSEC_HOUR (60 * MSEC_MINUTE)
#define MSEC_DAY (24 * MSEC_HOUR)

/* CLOCK_MONOTONIC: for deadlines within a process. */
msec clock_monotonic(void);
/* CLOCK_BOOTTIME: goes on while the machine sleeps. */
msec clock_boot(void);
/* CLOCK_REALTIME, since 1970 UTC. */
msec clock_wall(void);

#endif
