/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "resolver/events.h"

#include <stdlib.h>
#include <sys/time.h>

/* The base of their structures comes first, so that one pointer is both. */
struct base {
	struct ub_event_base super;
	struct loop *loop;
};

typedef void event_fn(int fd, short bits, void *arg);

struct event {
	struct ub_event super;
	struct loop *loop;
	int fd;
	short bits;
	event_fn *fn;
	void *arg;
	struct watch watch;
	struct timer timer;
};

static struct event *
of(struct ub_event *e)
{
	return (struct event *)(void *)e;
}

static void
stop_event(struct event *e)
{
	watch_stop(&e->watch);
	timer_stop(&e->timer);
}

/* The callback may free the event. */
static void
on_watch(struct watch *w, unsigned events)
{
	struct event *e = w->arg;
	short bits = 0;
	if ((events & (LOOP_READ | LOOP_HANGUP)) != 0) {
		bits = (short)(bits | (e->bits & UB_EV_READ));
	}
	if ((events & (LOOP_WRITE | LOOP_HANGUP)) != 0) {
		bits = (short)(bits | (e->bits & UB_EV_WRITE));
	}
	if (bits == 0) {
		return;
	}
	if ((e->bits & UB_EV_PERSIST) == 0) {
		stop_event(e);
	}
	e->fn(e->fd, bits, e->arg);
}

static void
on_timer(struct timer *t)
{
	struct event *e = t->arg;
	if ((e->bits & UB_EV_PERSIST) == 0) {
		stop_event(e);
	}
	e->fn(e->fd, UB_EV_TIMEOUT, e->arg);
}

static void
add_bits(struct ub_event *ev, short bits)
{
	of(ev)->bits = (short)(of(ev)->bits | bits);
}

static void
del_bits(struct ub_event *ev, short bits)
{
	of(ev)->bits = (short)(of(ev)->bits & ~bits);
}

static void
set_fd(struct ub_event *ev, int fd)
{
	of(ev)->fd = fd;
}

static void
free_event(struct ub_event *ev)
{
	stop_event(of(ev));
	free(of(ev));
}

static int
start_timer(struct event *e, const struct timeval *tv)
{
	msec after = (msec)tv->tv_sec * MSEC_SECOND + ((msec)tv->tv_usec + 999) / 1000;
	return timer_start_after(e->loop, &e->timer, after) == ERR_OK ? 0 : -1;
}

static int
add(struct ub_event *ev, struct timeval *tv)
{
	struct event *e = of(ev);
	unsigned wanted = ((e->bits & UB_EV_READ) != 0 ? (unsigned)LOOP_READ : 0U) |
			  ((e->bits & UB_EV_WRITE) != 0 ? (unsigned)LOOP_WRITE : 0U);
	stop_event(e);
	if (e->fd >= 0 && wanted != 0 && watch_start(e->loop, &e->watch, e->fd, wanted) != ERR_OK) {
		return -1;
	}
	if ((e->bits & UB_EV_TIMEOUT) != 0 && tv != NULL && start_timer(e, tv) != 0) {
		stop_event(e);
		return -1;
	}
	return 0;
}

static int
del(struct ub_event *ev)
{
	stop_event(of(ev));
	return 0;
}

static int
add_timer(struct ub_event *ev, struct ub_event_base *base, event_fn *fn, void *arg, struct timeval *tv)
{
	struct event *e = of(ev);
	(void)base;
	e->fn = fn;
	e->arg = arg;
	return start_timer(e, tv);
}

static int
del_timer(struct ub_event *ev)
{
	timer_stop(&of(ev)->timer);
	return 0;
}

static struct ub_event_vmt event_table = {
    .add_bits = add_bits,
    .del_bits = del_bits,
    .set_fd = set_fd,
    .free = free_event,
    .add = add,
    .del = del,
    .add_timer = add_timer,
    .del_timer = del_timer,
};

static struct ub_event *
new_event(struct ub_event_base *base, int fd, short bits, event_fn *fn, void *arg)
{
	struct event *e = calloc(1, sizeof(*e));
	if (e == NULL) {
		return NULL;
	}
	e->super = (struct ub_event){.magic = UB_EVENT_MAGIC, .vmt = &event_table};
	e->loop = ((struct base *)(void *)base)->loop;
	e->fd = fd;
	e->bits = bits;
	e->fn = fn;
	e->arg = arg;
	watch_init(&e->watch, on_watch, e);
	timer_init(&e->timer, on_timer, e);
	return &e->super;
}

/* Signals, ends and runs of the loop are not libunbound's. */
static struct ub_event_base_vmt base_table = {.new_event = new_event};

enum err
events_create(struct loop *loop, struct ub_event_base **ret)
{
	struct base *b = calloc(1, sizeof(*b));
	if (b == NULL) {
		return ERR_MEMORY;
	}
	b->super = (struct ub_event_base){.magic = UB_EVENT_MAGIC, .vmt = &base_table};
	b->loop = loop;
	*ret = &b->super;
	return ERR_OK;
}
