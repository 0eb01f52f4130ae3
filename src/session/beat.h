/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_BEAT_H
#define COHUE_SESSION_BEAT_H

#include "session/worker.h"

/*
 * What a connection in IDLE, or with NOTIFY, shows whoever watches its line. Under the crowd law arrivals enter members' logs at the
 * ticks of a public clock. A while after each tick, the same for all and always, every connection in IDLE, and every one that asked for NOTIFY, gets one record of the same
 * length, with news or without; what the house brings is told by it, and by nothing in between. When it is
 * sent depends on the clock alone, not on what was filed: who is not done filing by then tells of it with the next one.
 */

enum { BEAT_AFTER_MS = 2000 }; /* or a tenth of the clock's period, if that is less */

/* True where there are beats: the law of arrivals has ticks. */
bool beat_is_on(const struct worker *w);
/* The wait between a tick and its beat. */
msec beat_after(msec clock);
void beat_init(struct worker *w);
/* Nothing happens where there are no beats. ERR_MEMORY. */
COHUE_MUST_USE enum err beat_start(struct worker *w);

#endif
