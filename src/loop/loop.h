/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_LOOP_H
#define COHUE_LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

/*
 * One thread, one loop. A turn is: wait for descriptors, call the watches of
 * this batch, call the timers that are due, call what was deferred, then what
 * was deferred to the end of the turn. Watches, timers and deferred calls are
 * embedded in the caller's own structures, and any of them may be stopped, and
 * its memory freed, from within any callback, its own included.
 */

struct loop;
struct watch;
struct timer;
struct defer;

enum {
	LOOP_READ = 1,   /* readable, or the peer has closed */
	LOOP_WRITE = 2,  /* writable */
	LOOP_HANGUP = 4, /* error or both sides closed: reported whether asked for or not */
};

typedef void watch_fn(struct watch *w, unsigned events);
typedef void timer_fn(struct timer *t);
typedef void defer_fn(struct defer *d);

struct watch {
	struct loop *loop; /* NULL while stopped */
	watch_fn *fn;
	void *arg; /* the callback's own */
	int fd;
	unsigned events; /* LOOP_READ | LOOP_WRITE asked for */
};

struct timer {
	struct loop *loop; /* NULL while stopped */
	timer_fn *fn;
	void *arg; /* the callback's own */
	msec deadline;
	size_t index; /* place in the heap */
};

struct defer {
	struct loop *loop; /* NULL while not queued */
	defer_fn *fn;
	void *arg; /* the callback's own */
	struct defer *prev, *next;
};

/* ERR_MEMORY, ERR_IO. The caller destroys it, after all that hangs on it. Sets SIGPIPE to be ignored. */
COHUE_MUST_USE enum err loop_create(struct loop **ret_loop);
/* Stops (does not free) what still hangs on it; accepts NULL. No task may be unfinished. */
void loop_destroy(struct loop **loop);

/* Turns until loop_stop is called. ERR_IO where the kernel refuses to wait. */
COHUE_MUST_USE enum err loop_run(struct loop *loop);
/* One turn that waits at most timeout ms (negative: until something happens). */
COHUE_MUST_USE enum err loop_run_once(struct loop *loop, msec timeout);
/* loop_run returns at the end of this turn. */
void loop_stop(struct loop *loop);
/* CLOCK_MONOTONIC in ms as read at the start of this turn's callbacks. */
msec loop_now(const struct loop *loop);
/* The descriptor it waits on: a sandbox that closes all others must keep it. */
int loop_descriptor(const struct loop *loop);
/* Turns taken so far. */
uint64_t loop_turns(const struct loop *loop);

void watch_init(struct watch *w, watch_fn *fn, void *arg);
/* Level-triggered. The descriptor stays the caller's. ERR_STATE if started, ERR_IO, ERR_MEMORY. */
COHUE_MUST_USE enum err watch_start(struct loop *loop, struct watch *w, int fd, unsigned events);
/* Changes what is asked for (0: only hang-ups). ERR_STATE if stopped. */
COHUE_MUST_USE enum err watch_change(struct watch *w, unsigned events);
/* Before the descriptor is closed. No callback follows. Safe on a stopped one. */
void watch_stop(struct watch *w);

void timer_init(struct timer *t, timer_fn *fn, void *arg);
/* Starts or moves it. Called once, at or after the deadline (CLOCK_MONOTONIC, ms). ERR_MEMORY: not started. */
COHUE_MUST_USE enum err timer_start(struct loop *loop, struct timer *t, msec deadline);
/* The same, `after` ms from now. */
COHUE_MUST_USE enum err timer_start_after(struct loop *loop, struct timer *t, msec after);
void timer_stop(struct timer *t);
bool timer_is_running(const struct timer *t);

void defer_init(struct defer *d, defer_fn *fn, void *arg);
/*
 * Calls it once after this batch of events (group commit). Already queued: no
 * effect. What a deferred call defers again runs in the next turn, so that
 * descriptors are not starved.
 */
void defer_start(struct loop *loop, struct defer *d);
/* The same, behind everything else of this turn, what deferred calls did included: for flushing writes. */
void defer_start_last(struct loop *loop, struct defer *d);
void defer_stop(struct defer *d);
bool defer_is_queued(const struct defer *d);

#endif
