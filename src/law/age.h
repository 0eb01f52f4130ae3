/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LAW_AGE_H
#define COHUE_LAW_AGE_H

#include "base/bytes.h"
#include "base/clock.h"

/*
 * The age clock: it never goes back and never jumps, whatever happens to the wall clock, and goes on
 * over restarts. Within one boot of the machine it follows CLOCK_BOOTTIME, downtime of the service
 * included. Over a reboot it goes on from where it was last saved: the time without power is not
 * known for certain, so it does not count, and what waits waits that much longer.
 *
 * Save it with each decision and at least every minute or so.
 */

enum { LAW_BOOT_ID_LEN = 16, LAW_AGE_ENCODED_LEN = 33 };

struct law_age {
	msec age;  /* at `boot` */
	msec boot; /* clock_boot() then */
	uint8_t boot_id[LAW_BOOT_ID_LEN];
};

/* A clock that starts at 0. boot_id: /proc/sys/kernel/random/boot_id, as bytes. */
void law_age_start(struct law_age *a, const uint8_t boot_id[LAW_BOOT_ID_LEN], msec boot_now);
/* Goes on from a saved one. ERR_FORMAT, ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err law_age_resume(struct bytes saved, const uint8_t boot_id[LAW_BOOT_ID_LEN],
				       msec boot_now, struct law_age *ret);
/* After a power cut the saved age may lie behind what was stamped with it: goes on from there. Never back. */
void law_age_reach(struct law_age *a, msec boot_now, msec age);
msec law_age_now(const struct law_age *a, msec boot_now);
COHUE_MUST_USE enum err law_age_save(const struct law_age *a, msec boot_now, struct buf *out);

#endif
