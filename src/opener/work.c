/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "opener/work.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop/task.h"

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE };

/* Lives on the stack of the task that waits for it. */
struct job {
	void (*fn)(void *arg);
	void *arg;
	struct task *task;
	struct job *next;
	enum job_state state; /* under the lock */
};

struct work {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wanted; /* something waits, or the end */
	pthread_cond_t ended;  /* a job has ended */
	struct job *first;     /* waiting, oldest first; under the lock */
	struct job *done;      /* ended, their tasks to be woken; under the lock */
	bool end;              /* under the lock */
	size_t count;
	uint64_t total;
	int event;
	struct watch watch;
};

static void *
serve(void *arg)
{
	struct work *w = arg;
	(void)pthread_mutex_lock(&w->lock);
	while (!w->end) {
		struct job *j = w->first;
		if (j == NULL) {
			(void)pthread_cond_wait(&w->wanted, &w->lock);
			continue;
		}
		w->first = j->next;
		j->state = JOB_RUNNING;
		(void)pthread_mutex_unlock(&w->lock);
		j->fn(j->arg);
		(void)pthread_mutex_lock(&w->lock);
		j->state = JOB_DONE;
		j->next = w->done;
		w->done = j;
		(void)pthread_cond_broadcast(&w->ended);
		uint64_t one = 1;
		if (write(w->event, &one, sizeof(one)) != (ssize_t)sizeof(one)) {
			panic("the opener's thread cannot tell that it is done");
		}
	}
	(void)pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void
on_event(struct watch *watch, unsigned events)
{
	struct work *w = watch->arg;
	uint64_t n = 0;
	(void)events;
	if (read(w->event, &n, sizeof(n)) != (ssize_t)sizeof(n)) {
		return;
	}
	(void)pthread_mutex_lock(&w->lock);
	while (w->done != NULL) {
		struct job *j = w->done;
		w->done = j->next;
		task_wake(j->task, ERR_OK);
	}
	(void)pthread_mutex_unlock(&w->lock);
}

enum err
work_create(struct loop *loop, struct work **ret)
{
	struct work *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return ERR_MEMORY;
	}
	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->event < 0) {
		free(w);
		return ERR_IO;
	}
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->wanted, NULL);
	(void)pthread_cond_init(&w->ended, NULL);
	watch_init(&w->watch, on_event, w);
	enum err e = watch_start(loop, &w->watch, w->event, LOOP_READ);
	if (e == ERR_OK && pthread_create(&w->thread, NULL, serve, w) != 0) {
		watch_stop(&w->watch);
		e = ERR_IO;
	}
	if (e != ERR_OK) {
		(void)close(w->event);
		free(w);
		return e;
	}
	*ret = w;
	return ERR_OK;
}

void
work_destroy(struct work **work)
{
	struct work *w = *work;
	if (w == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&w->lock);
	w->end = true;
	(void)pthread_cond_signal(&w->wanted);
	(void)pthread_mutex_unlock(&w->lock);
	(void)pthread_join(w->thread, NULL);
	watch_stop(&w->watch);
	(void)close(w->event);
	(void)pthread_cond_destroy(&w->wanted);
	(void)pthread_cond_destroy(&w->ended);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
	*work = NULL;
}

static void
unlink_job(struct job **list, const struct job *j)
{
	for (struct job **p = list; *p != NULL; p = &(*p)->next) {
		if (*p == j) {
			*p = j->next;
			return;
		}
	}
}

enum err
work_run(struct work *w, void (*fn)(void *arg), void *arg)
{
	struct job j = {.fn = fn, .arg = arg, .task = task_current(), .next = NULL, .state = JOB_WAITING};
	if (w->count >= WORK_QUEUE_MAX) {
		return ERR_AGAIN;
	}
	w->count++;
	w->total++;
	(void)pthread_mutex_lock(&w->lock);
	struct job **last = &w->first;
	while (*last != NULL) {
		last = &(*last)->next;
	}
	*last = &j;
	(void)pthread_cond_signal(&w->wanted);
	(void)pthread_mutex_unlock(&w->lock);
	enum err e = task_suspend();
	(void)pthread_mutex_lock(&w->lock);
	if (j.state == JOB_WAITING) {
		/* Cancelled: nothing has begun. */
		unlink_job(&w->first, &j);
	}
	while (j.state == JOB_RUNNING) {
		/* Cancelled in the midst of it: what arg leads to must stay until the end. */
		(void)pthread_cond_wait(&w->ended, &w->lock);
	}
	unlink_job(&w->done, &j);
	(void)pthread_mutex_unlock(&w->lock);
	w->count--;
	return e;
}

size_t
work_count(const struct work *w)
{
	return w->count;
}

uint64_t
work_total(const struct work *w)
{
	return w->total;
}
