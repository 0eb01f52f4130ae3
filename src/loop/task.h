/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_TASK_H
#define COHUE_LOOP_TASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/error.h"
#include "loop/loop.h"

/*
 * A task is a function with a small stack of its own, so that a command which
 * must wait can be written as a plain sequence. Tasks of one loop take turns;
 * a task runs until it suspends, yields or returns. Stacks come from a pool,
 * have a guard page, stay out of core dumps, and are wiped when given back.
 *
 * A task's handle is valid until its function returns: who keeps one to cancel
 * or wake it later lets the function itself clear it as its last act.
 */

struct task;

typedef void task_fn(void *arg);

enum {
	TASK_STACK_BYTES = 128 * 1024, /* usable bytes; the guard page comes on top */
	TASK_MAX_DEFAULT = 4096,       /* unfinished tasks of one loop */
	TASK_SPARE_DEFAULT = 16,       /* free stacks kept */
};

/* Limits of this loop's pool; before its first task, or ERR_STATE. */
COHUE_MUST_USE enum err task_configure(struct loop *loop, size_t stack_bytes, size_t max_tasks,
				       size_t max_spare);

/*
 * Starts fn(arg) on a stack of its own, not at once but among this turn's (or,
 * from a deferred call, the next turn's) deferred calls. ret_task may be NULL.
 * ERR_LIMIT where max_tasks are unfinished, ERR_MEMORY.
 */
COHUE_MUST_USE enum err task_spawn(struct loop *loop, task_fn *fn, void *arg, struct task **ret_task);
/* The running task; NULL outside of any. */
struct task *task_current(void);
/* Unfinished tasks of this loop. */
size_t task_count(const struct loop *loop);

/*
 * The following five are called by the running task only. Each returns
 * ERR_CLOSED, at once if need be, when the task has been cancelled.
 */
/* Waits for task_wake and returns its result. */
COHUE_MUST_USE enum err task_suspend(void);
/* The same, or ERR_TIMEOUT from the deadline (CLOCK_MONOTONIC, ms) on. Whoever would have woken it must then forget it.
 */
COHUE_MUST_USE enum err task_suspend_until(msec deadline);
/* ERR_OK after ms milliseconds; early with task_wake's result. */
COHUE_MUST_USE enum err task_sleep(msec ms);
/* Goes behind all others that are ready, and behind a look at the descriptors. */
COHUE_MUST_USE enum err task_yield(void);
/* True once the task has run for more than ms since it was last resumed: time to yield. */
bool task_has_run_for(msec ms);

/*
 * Makes a suspended task ready; it runs among the deferred calls, never
 * within this call. The first wake of a suspension wins, later ones are
 * dropped. A wake of a task that has not suspended yet (its call completed at
 * once) is kept for its next task_suspend or task_suspend_until.
 */
void task_wake(struct task *task, enum err result);
/* From now on each suspension of the task returns ERR_CLOSED; it is woken if suspended. */
void task_cancel(struct task *task);
bool task_is_cancelled(const struct task *task);

#endif
