/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_LOCK_H
#define COHUE_SESSION_LOCK_H

#include <stdbool.h>

#include "loop/task.h"

/* A lock that tasks wait for in order; a task that holds it may suspend. Not recursive. */

struct lock_waiter;

struct lock {
	bool held;
	struct lock_waiter *first;
	struct lock_waiter *last;
};

void lock_init(struct lock *l);
/* From a task; suspends until it is ours. */
void lock_take(struct lock *l);
void lock_give(struct lock *l);

#endif
