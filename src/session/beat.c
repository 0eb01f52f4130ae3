/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/beat.h"

#include "loop/task.h"
#include "process/log.h"
#include "session/conn.h"

enum {
	LOOK_MS = 10 * 1000, /* at the wall clock, which may jump, and goes on while the machine sleeps */
	SLICE_MS = 5,
};

bool
beat_is_on(const struct worker *w)
{
	return w->host->config.arrive.kind == LAW_CROWD;
}

msec
beat_after(msec clock)
{
	return clock / 10 < BEAT_AFTER_MS ? clock / 10 : BEAT_AFTER_MS;
}

/* Always in the same order: how long a connection waits for those before it says nothing of this tick. */
static void
strike(struct worker *w, bool in_task)
{
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		struct conn *c = w->conns[i];
		while (c != NULL) {
			struct conn *next = c->next;
			conn_beat(c);
			c = next;
		}
		/* The connections of other buckets may come and go meanwhile; this one is done with. */
		if (in_task && task_has_run_for(SLICE_MS) && task_yield() != ERR_OK) {
			in_task = false;
		}
	}
}

static void
strike_task(void *arg)
{
	struct worker *w = arg;
	strike(w, true);
	w->beating = false;
}

static void
schedule(struct worker *w)
{
	msec clock = w->host->config.arrive.clock;
	msec wall = clock_wall() - beat_after(clock);
	msec wait = law_grid_after(clock, wall) - wall;
	if (timer_start_after(w->host->loop, &w->beat, wait < LOOK_MS ? wait : LOOK_MS) != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "the worker's beat cannot be scheduled");
	}
}

static void
on_beat(struct timer *t)
{
	struct worker *w = t->arg;
	msec clock = w->host->config.arrive.clock;
	msec tick = law_grid_at(clock, clock_wall() - beat_after(clock));
	bool due = tick > w->beat_last;
	/* A clock that was set back goes on from where it is: the public grid is wherever it says. */
	w->beat_last = tick;
	if (due && !w->beating && !w->host->stopping) {
		w->beating = true;
		if (role_spawn(w->host, strike_task, w) != ERR_OK) {
			strike(w, false);
			w->beating = false;
		}
	}
	schedule(w);
}

void
beat_init(struct worker *w)
{
	timer_init(&w->beat, on_beat, w);
}

enum err
beat_start(struct worker *w)
{
	if (!beat_is_on(w)) {
		return ERR_OK;
	}
	msec clock = w->host->config.arrive.clock;
	w->beat_last = law_grid_at(clock, clock_wall() - beat_after(clock));
	schedule(w);
	return timer_is_running(&w->beat) ? ERR_OK : ERR_MEMORY;
}
