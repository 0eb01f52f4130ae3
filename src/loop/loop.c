/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/internal.h"

enum { HEAP_ARITY = 4 };

static void
no_call(struct defer *d)
{
	(void)d;
}

enum err
loop_create(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (loop == NULL) {
		return ERR_MEMORY;
	}
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) {
		free(loop);
		return ERR_IO;
	}
	/* OpenSSL writes to sockets by write(2), which has no MSG_NOSIGNAL. */
	(void)signal(SIGPIPE, SIG_IGN);
	defer_init(&loop->mark, no_call, NULL);
	loop->now = clock_monotonic();
	*ret_loop = loop;
	return ERR_OK;
}

static void
forget_deferred(struct defer_list *list)
{
	while (list->first != NULL) {
		defer_stop(list->first);
	}
}

void
loop_destroy(struct loop **loop)
{
	struct loop *l = *loop;
	if (l == NULL) {
		return;
	}
	stream_loop_clear(l);
	task_pool_destroy(l);
	for (size_t i = 0; i < l->timer_count; i++) {
		l->timers[i]->loop = NULL;
	}
	free(l->timers);
	forget_deferred(&l->deferred);
	forget_deferred(&l->deferred_last);
	(void)close(l->epoll);
	free(l);
	*loop = NULL;
}

msec
loop_now(const struct loop *loop)
{
	return loop->now;
}

int
loop_descriptor(const struct loop *loop)
{
	return loop->epoll;
}

uint64_t
loop_turns(const struct loop *loop)
{
	return loop->turns;
}

void
loop_stop(struct loop *loop)
{
	loop->stopping = true;
}

/* Watches. */

void
watch_init(struct watch *w, watch_fn *fn, void *arg)
{
	*w = (struct watch){.fn = fn, .arg = arg, .fd = -1};
}

static uint32_t
to_epoll(unsigned events)
{
	return ((events & LOOP_READ) != 0 ? (uint32_t)EPOLLIN : 0) |
	       ((events & LOOP_WRITE) != 0 ? (uint32_t)EPOLLOUT : 0);
}

enum err
watch_start(struct loop *loop, struct watch *w, int fd, unsigned events)
{
	if (w->loop != NULL) {
		return ERR_STATE;
	}
	struct epoll_event event = {.events = to_epoll(events), .data.ptr = w};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		return errno == ENOMEM ? ERR_MEMORY : ERR_IO;
	}
	w->loop = loop;
	w->fd = fd;
	w->events = events;
	return ERR_OK;
}

enum err
watch_change(struct watch *w, unsigned events)
{
	if (w->loop == NULL) {
		return ERR_STATE;
	}
	if (w->events == events) {
		return ERR_OK;
	}
	struct epoll_event event = {.events = to_epoll(events), .data.ptr = w};
	if (epoll_ctl(w->loop->epoll, EPOLL_CTL_MOD, w->fd, &event) != 0) {
		return errno == ENOMEM ? ERR_MEMORY : ERR_IO;
	}
	w->events = events;
	return ERR_OK;
}

void
watch_stop(struct watch *w)
{
	struct loop *loop = w->loop;
	if (loop == NULL) {
		return;
	}
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = loop->batch_at; i < loop->batch_count; i++) {
		if (loop->batch[i].data.ptr == w) {
			loop->batch[i].data.ptr = NULL;
		}
	}
	w->loop = NULL;
	w->fd = -1;
}

/* Timers. */

static void
heap_place(struct loop *loop, size_t at, struct timer *t)
{
	loop->timers[at] = t;
	t->index = at;
}

static void
heap_up(struct loop *loop, size_t at, struct timer *t)
{
	while (at > 0) {
		size_t parent = (at - 1) / HEAP_ARITY;
		if (loop->timers[parent]->deadline <= t->deadline) {
			break;
		}
		heap_place(loop, at, loop->timers[parent]);
		at = parent;
	}
	heap_place(loop, at, t);
}

static void
heap_down(struct loop *loop, size_t at, struct timer *t)
{
	for (;;) {
		size_t child = at * HEAP_ARITY + 1;
		if (child >= loop->timer_count) {
			break;
		}
		size_t end = child + HEAP_ARITY < loop->timer_count ? child + HEAP_ARITY : loop->timer_count;
		size_t least = child;
		for (size_t i = child + 1; i < end; i++) {
			if (loop->timers[i]->deadline < loop->timers[least]->deadline) {
				least = i;
			}
		}
		if (loop->timers[least]->deadline >= t->deadline) {
			break;
		}
		heap_place(loop, at, loop->timers[least]);
		at = least;
	}
	heap_place(loop, at, t);
}

static void
heap_settle(struct loop *loop, size_t at, struct timer *t)
{
	if (at > 0 && loop->timers[(at - 1) / HEAP_ARITY]->deadline > t->deadline) {
		heap_up(loop, at, t);
	} else {
		heap_down(loop, at, t);
	}
}

void
timer_init(struct timer *t, timer_fn *fn, void *arg)
{
	*t = (struct timer){.fn = fn, .arg = arg};
}

enum err
timer_start(struct loop *loop, struct timer *t, msec deadline)
{
	if (t->loop != NULL) {
		t->deadline = deadline;
		heap_settle(loop, t->index, t);
		return ERR_OK;
	}
	if (loop->timer_count == loop->timer_cap) {
		size_t cap = loop->timer_cap == 0 ? 64 : loop->timer_cap * 2;
		struct timer **timers = reallocarray(loop->timers, cap, sizeof(*timers));
		if (timers == NULL) {
			return ERR_MEMORY;
		}
		loop->timers = timers;
		loop->timer_cap = cap;
	}
	t->loop = loop;
	t->deadline = deadline;
	loop->timer_count++;
	heap_up(loop, loop->timer_count - 1, t);
	return ERR_OK;
}

enum err
timer_start_after(struct loop *loop, struct timer *t, msec after)
{
	return timer_start(loop, t, clock_monotonic() + after);
}

void
timer_stop(struct timer *t)
{
	struct loop *loop = t->loop;
	if (loop == NULL) {
		return;
	}
	t->loop = NULL;
	loop->timer_count--;
	if (t->index < loop->timer_count) {
		heap_settle(loop, t->index, loop->timers[loop->timer_count]);
	}
}

bool
timer_is_running(const struct timer *t)
{
	return t->loop != NULL;
}

/* Those due at this moment; one that starts itself anew for now waits for the next turn. */
static void
run_timers(struct loop *loop)
{
	size_t most = loop->timer_count;
	for (size_t i = 0; i < most && loop->timer_count > 0; i++) {
		struct timer *t = loop->timers[0];
		if (t->deadline > loop->now) {
			return;
		}
		timer_stop(t);
		t->fn(t);
	}
}

/* Deferred calls. */

void
defer_init(struct defer *d, defer_fn *fn, void *arg)
{
	*d = (struct defer){.fn = fn, .arg = arg};
}

/* The ends of a list point to themselves nowhere: prev of the first is NULL, and `last` finds its list. */
static void
defer_append(struct defer_list *list, struct loop *loop, struct defer *d)
{
	if (d->loop != NULL) {
		return;
	}
	d->loop = loop;
	d->next = NULL;
	d->prev = list->last;
	if (list->last == NULL) {
		list->first = d;
	} else {
		list->last->next = d;
	}
	list->last = d;
}

void
defer_start(struct loop *loop, struct defer *d)
{
	defer_append(&loop->deferred, loop, d);
}

void
defer_start_last(struct loop *loop, struct defer *d)
{
	defer_append(&loop->deferred_last, loop, d);
}

void
defer_stop(struct defer *d)
{
	struct loop *loop = d->loop;
	if (loop == NULL) {
		return;
	}
	if (d->prev != NULL) {
		d->prev->next = d->next;
	} else {
		struct defer_list *list = loop->deferred.first == d ? &loop->deferred : &loop->deferred_last;
		list->first = d->next;
	}
	if (d->next != NULL) {
		d->next->prev = d->prev;
	} else {
		struct defer_list *list = loop->deferred.last == d ? &loop->deferred : &loop->deferred_last;
		list->last = d->prev;
	}
	d->loop = NULL;
	d->prev = NULL;
	d->next = NULL;
}

bool
defer_is_queued(const struct defer *d)
{
	return d->loop != NULL;
}

/* Up to a mark set behind the present last: what these calls defer again waits for the next turn. */
static void
run_deferred(struct loop *loop, struct defer_list *list)
{
	if (list->first == NULL) {
		return;
	}
	defer_append(list, loop, &loop->mark);
	while (loop->mark.loop != NULL) {
		struct defer *d = list->first;
		defer_stop(d);
		d->fn(d);
	}
}

/* Turns. */

static int
wait_ms(const struct loop *loop, msec timeout)
{
	if (loop->deferred.first != NULL || loop->deferred_last.first != NULL) {
		return 0;
	}
	msec wait = timeout;
	if (loop->timer_count > 0) {
		msec due = loop->timers[0]->deadline - clock_monotonic();
		due = due < 0 ? 0 : due;
		wait = wait < 0 || due < wait ? due : wait;
	}
	return wait < 0 ? -1 : wait > INT_MAX ? INT_MAX : (int)wait;
}

enum err
loop_run_once(struct loop *loop, msec timeout)
{
	int n = epoll_wait(loop->epoll, loop->batch, LOOP_BATCH, wait_ms(loop, timeout));
	if (n < 0 && errno != EINTR) {
		return ERR_IO;
	}
	loop->now = clock_monotonic();
	loop->turns++;
	loop->batch_count = n < 0 ? 0 : n;
	for (loop->batch_at = 0; loop->batch_at < loop->batch_count; loop->batch_at++) {
		const struct epoll_event *event = &loop->batch[loop->batch_at];
		struct watch *w = event->data.ptr;
		if (w == NULL) {
			continue;
		}
		unsigned events = ((event->events & EPOLLIN) != 0 ? (unsigned)LOOP_READ : 0) |
				  ((event->events & EPOLLOUT) != 0 ? (unsigned)LOOP_WRITE : 0) |
				  ((event->events & (EPOLLERR | EPOLLHUP)) != 0 ? (unsigned)LOOP_HANGUP : 0);
		w->fn(w, events);
	}
	loop->batch_count = 0;
	run_timers(loop);
	run_deferred(loop, &loop->deferred);
	run_deferred(loop, &loop->deferred_last);
	return ERR_OK;
}

enum err
loop_run(struct loop *loop)
{
	while (!loop->stopping) {
		enum err e = loop_run_once(loop, -1);
		if (e != ERR_OK) {
			return e;
		}
	}
	loop->stopping = false;
	return ERR_OK;
}
