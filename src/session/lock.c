/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/lock.h"

#include <stddef.h>

#include "base/error.h"

struct lock_waiter {
	struct lock_waiter *next;
	struct task *task;
	bool granted;
};

void
lock_init(struct lock *l)
{
	*l = (struct lock){.held = false, .first = NULL, .last = NULL};
}

/* Waiters live on the stacks of the tasks that wait, and are taken out before those go on. */
static __attribute__((noinline)) void
enqueue(struct lock *l, struct lock_waiter *w)
{
	if (l->last == NULL) {
		l->first = w;
	} else {
		l->last->next = w;
	}
	l->last = w;
}

void
lock_take(struct lock *l)
{
	if (!l->held) {
		l->held = true;
		return;
	}
	struct lock_waiter me = {.next = NULL, .task = task_current(), .granted = false};
	if (me.task == NULL) {
		panic("lock_take outside of a task");
	}
	enqueue(l, &me);
	while (!me.granted) {
		if (task_suspend() == ERR_CLOSED && !me.granted) {
			/* Tasks of this role are never cancelled. */
			panic("a task was cancelled while it waited for a lock");
		}
	}
}

void
lock_give(struct lock *l)
{
	struct lock_waiter *next = l->first;
	if (next == NULL) {
		l->held = false;
		return;
	}
	l->first = next->next;
	if (l->first == NULL) {
		l->last = NULL;
	}
	next->granted = true;
	task_wake(next->task, ERR_OK);
}
