/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_OPENER_WORK_H
#define COHUE_OPENER_WORK_H

#include "loop/loop.h"

/*
 * The one thread beside the loop, for what takes long (Argon2id): one job at a time, so that memory is
 * bounded to one 64 MiB, and a bounded queue. Everybody else is served meanwhile.
 */

enum { WORK_QUEUE_MAX = 64 };

struct work;

/* After the sandbox (it starts a thread). ERR_MEMORY, ERR_IO. */
COHUE_MUST_USE enum err work_create(struct loop *loop, struct work **ret);
/* Ends the thread; no job may wait. Accepts NULL inside. */
void work_destroy(struct work **w);
/*
 * From a task: runs fn(arg) on the thread and suspends until it is done. fn may touch only what arg leads to, memory
 * (also the pool of secrets) and the primitives. ERR_AGAIN: WORK_QUEUE_MAX jobs wait. ERR_CLOSED: the task
 * was cancelled; fn has not run, or has ended.
 */
COHUE_MUST_USE enum err work_run(struct work *w, void (*fn)(void *arg), void *arg);
/* Jobs that wait or run. */
size_t work_count(const struct work *w);
/* Jobs that were ever given. */
uint64_t work_total(const struct work *w);

#endif
