/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_PACE_H
#define COHUE_COURIER_PACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "protocol/smtp_reply.h"

/*
 * How fast a host wants to be served: a host that says "slower" is left alone for a while, longer each time that it says so again, and
 * afterwards met by one connection until it has taken something. By address, in memory, of fixed size, and pure: clock and randomness are passed in.
 */

enum {
	PACE_HOSTS = 512,
	PACE_STEPS_MAX = 6, /* 1, 2, 4, … 32 minutes */
};
#define PACE_FIRST_MS MSEC_MINUTE
/* A host that was silent for so long after its pause is as one that never said anything. */
#define PACE_FORGET_MS (2 * MSEC_HOUR)

struct pace_host {
	uint8_t address[16];
	unsigned steps; /* pauses in a row; 0: free place */
	msec until;     /* end of the last one */
	struct smtp_result why;
};

struct pace {
	struct pace_host hosts[PACE_HOSTS];
};

/*
 * Whether an answer asks for less rather than refuses one letter. fresh: on a connection that has taken nothing yet (421 there is no
 * idle time that ran out). Greylisting (451 4.7.1, or as its text says) is not: it waits for that very letter.
 */
bool pace_is_slower(const struct smtp_result *said, bool fresh);
/* The host said so; what it says during a pause counts for nothing. random: evenly distributed, it makes the pause up to a quarter longer. */
void pace_slower(struct pace *p, const uint8_t address[16], const struct smtp_result *why, uint32_t random,
		 msec now);
/* It took a message: half as slow from now on. */
void pace_took(struct pace *p, const uint8_t address[16], msec now);
/* NULL: it may be met; else what it said. */
const struct smtp_result *pace_pauses(const struct pace *p, const uint8_t address[16], msec now);
/* Connections that it may be met with at once, of `most`. */
unsigned pace_connections(const struct pace *p, const uint8_t address[16], unsigned most, msec now);

#endif
