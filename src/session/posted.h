/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_POSTED_H
#define COHUE_SESSION_POSTED_H

#include "ipc/channel.h"
#include "session/worker.h"

/*
 * A request to the store that is waited for later: a task posts it, does something else, and takes the answer when it needs it. One
 * at a time. Posted with channel_request(..., posted_answer, p) after posted_begin(p), whose result goes to posted_sent.
 */
struct posted {
	struct worker *worker;
	struct buf
	    reply; /* the answer's payload, once posted_wait has returned ERR_OK; until the next begins */
	bool open; /* sent, and not yet waited for */
	bool done;
	enum err status;
	struct task *waiter;
};

void posted_init(struct posted *p, struct worker *w);
void posted_begin(struct posted *p);
/* What channel_request returned: an error is told by posted_wait. Lets the store begin at once. */
void posted_sent(struct posted *p, enum err e);
void posted_answer(void *arg, enum err status, struct bytes payload);
/* In a task: suspends until the answer is there. ERR_STATE where nothing was posted; ERR_CLOSED where the task is cancelled. */
COHUE_MUST_USE enum err posted_wait(struct posted *p);
/* Forgets what is on its way, and wipes the reply. */
void posted_clear(struct posted *p);

#endif
