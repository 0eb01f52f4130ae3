/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/socket.h>

#include "loop/loop.h"

static struct loop *
new_loop(void)
{
	struct loop *loop = NULL;
	assert_int_equal(loop_create(&loop), ERR_OK);
	return loop;
}

static void
turn(struct loop *loop)
{
	assert_int_equal(loop_run_once(loop, 1000), ERR_OK);
}

struct pair {
	struct watch *a, *b;
	int calls;
};

/* Whichever of the two is called first frees both. */
static void
free_both(struct watch *w, unsigned events)
{
	struct pair *p = w->arg;
	assert_true((events & LOOP_READ) != 0);
	p->calls++;
	watch_stop(p->a);
	watch_stop(p->b);
	free(p->a);
	free(p->b);
}

static void
a_watch_freed_by_another_in_the_same_batch_is_not_called(void **state)
{
	(void)state;
	struct loop *loop = new_loop();
	int fds[2][2];
	struct pair p = {.a = malloc(sizeof(struct watch)), .b = malloc(sizeof(struct watch)), .calls = 0};
	struct watch *watches[2] = {p.a, p.b};
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
		watch_init(watches[i], free_both, &p);
		assert_int_equal(watch_start(loop, watches[i], fds[i][0], LOOP_READ), ERR_OK);
		assert_int_equal(write(fds[i][1], "x", 1), 1);
	}
	turn(loop);
	assert_int_equal(p.calls, 1);
	for (size_t i = 0; i < 2; i++) {
		(void)close(fds[i][0]);
		(void)close(fds[i][1]);
	}
	loop_destroy(&loop);
	assert_null(loop);
}

static void
count_watch(struct watch *w, unsigned events)
{
	int *counts = w->arg;
	counts[0] += (events & LOOP_READ) != 0;
	counts[1] += (events & LOOP_WRITE) != 0;
	counts[2] += (events & LOOP_HANGUP) != 0;
}

static void
a_watch_is_level_triggered_and_reports_what_is_asked_for(void **state)
{
	(void)state;
	struct loop *loop = new_loop();
	int fds[2];
	int counts[3] = {0, 0, 0};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	struct watch w;
	watch_init(&w, count_watch, counts);
	assert_int_equal(watch_change(&w, LOOP_READ), ERR_STATE);
	assert_int_equal(watch_start(loop, &w, fds[0], LOOP_READ), ERR_OK);
	assert_int_equal(watch_start(loop, &w, fds[0], LOOP_READ), ERR_STATE);
	assert_int_equal(write(fds[1], "x", 1), 1);
	turn(loop);
	turn(loop);
	assert_int_equal(counts[0], 2);
	assert_int_equal(counts[1], 0);
	assert_int_equal(watch_change(&w, LOOP_WRITE), ERR_OK);
	turn(loop);
	assert_int_equal(counts[0], 2);
	assert_int_equal(counts[1], 1);
	assert_int_equal(watch_change(&w, 0), ERR_OK);
	(void)close(fds[1]);
	turn(loop);
	assert_int_equal(counts[2], 1);
	watch_stop(&w);
	watch_stop(&w);
	(void)close(fds[0]);
	loop_destroy(&loop);
}

enum { MANY = 200000 };

struct order {
	msec last;
	size_t calls;
	bool wrong;
};

static void
check_order(struct timer *t)
{
	struct order *o = t->arg;
	o->wrong = o->wrong || t->deadline < o->last;
	o->last = t->deadline;
	o->calls++;
}

static void
many_timers_fire_in_order_and_stopped_ones_do_not(void **state)
{
	(void)state;
	struct loop *loop = new_loop();
	struct timer *timers = calloc(MANY, sizeof(*timers));
	assert_non_null(timers);
	struct order o = {.last = 0, .calls = 0, .wrong = false};
	uint32_t x = 1;
	for (size_t i = 0; i < MANY; i++) {
		timer_init(&timers[i], check_order, &o);
		x = x * 1664525 + 1013904223;
		assert_int_equal(timer_start(loop, &timers[i], (msec)(x >> 16)), ERR_OK);
	}
	/* Moved in both directions, and every third stopped. */
	for (size_t i = 0; i < MANY; i++) {
		x = x * 1664525 + 1013904223;
		if (i % 3 == 0) {
			timer_stop(&timers[i]);
			assert_false(timer_is_running(&timers[i]));
		} else if (i % 3 == 1) {
			assert_int_equal(timer_start(loop, &timers[i], (msec)(x >> 16)), ERR_OK);
		}
	}
	turn(loop);
	assert_int_equal(o.calls, MANY - (MANY + 2) / 3);
	assert_false(o.wrong);
	free(timers);
	loop_destroy(&loop);
}

static struct loop *the_loop;

static void
restart_at_once(struct timer *t)
{
	int *calls = t->arg;
	(*calls)++;
	assert_int_equal(timer_start(the_loop, t, 0), ERR_OK);
}

static void
a_timer_that_restarts_itself_does_not_starve_the_turn(void **state)
{
	(void)state;
	the_loop = new_loop();
	int calls = 0;
	struct timer t;
	timer_init(&t, restart_at_once, &calls);
	assert_int_equal(timer_start(the_loop, &t, 0), ERR_OK);
	turn(the_loop);
	assert_int_equal(calls, 1);
	turn(the_loop);
	assert_int_equal(calls, 2);
	timer_stop(&t);
	loop_destroy(&the_loop);
}

static void
a_wait_ends_when_the_first_timer_is_due_and_never_early(void **state)
{
	(void)state;
	struct loop *loop = new_loop();
	struct order o = {.last = 0, .calls = 0, .wrong = false};
	struct timer t;
	timer_init(&t, check_order, &o);
	msec start = clock_monotonic();
	assert_int_equal(timer_start(loop, &t, start + 30), ERR_OK);
	for (int i = 0; i < 100 && o.calls == 0; i++) {
		assert_int_equal(loop_run_once(loop, -1), ERR_OK);
	}
	assert_int_equal(o.calls, 1);
	assert_true(clock_monotonic() >= start + 30);
	loop_destroy(&loop);
}

struct note {
	struct defer d;
	char *trace;
	size_t *at;
	char name;
	struct note *also;
	bool also_last;
};

static void
take_note(struct defer *d)
{
	struct note *n = d->arg;
	n->trace[(*n->at)++] = n->name;
	if (n->also != NULL && n->also_last) {
		defer_start_last(the_loop, &n->also->d);
	} else if (n->also != NULL) {
		defer_start(the_loop, &n->also->d);
	}
}

static void
deferred_calls_run_once_after_the_batch_and_the_last_ones_behind_them(void **state)
{
	(void)state;
	the_loop = new_loop();
	char trace[16] = {0};
	size_t at = 0;
	struct note notes[4];
	for (size_t i = 0; i < 4; i++) {
		notes[i] = (struct note){.trace = trace, .at = &at, .name = (char)('a' + i)};
		defer_init(&notes[i].d, take_note, &notes[i]);
	}
	notes[0].also = &notes[0]; /* again: next turn */
	notes[1].also = &notes[3]; /* at the end of this turn */
	notes[1].also_last = true;
	defer_start_last(the_loop, &notes[2].d);
	defer_start(the_loop, &notes[0].d);
	defer_start(the_loop, &notes[1].d);
	defer_start(the_loop, &notes[1].d);
	turn(the_loop);
	assert_string_equal(trace, "abcd");
	turn(the_loop);
	assert_string_equal(trace, "abcda");
	defer_stop(&notes[0].d);
	assert_false(defer_is_queued(&notes[0].d));
	loop_destroy(&the_loop);
}

static void
stop_loop(struct timer *t)
{
	(void)t;
	loop_stop(the_loop);
}

static void
run_returns_after_stop(void **state)
{
	(void)state;
	the_loop = new_loop();
	struct timer t;
	timer_init(&t, stop_loop, NULL);
	assert_int_equal(timer_start_after(the_loop, &t, 5), ERR_OK);
	assert_int_equal(loop_run(the_loop), ERR_OK);
	/* A stop asked for before the run counts, too. */
	loop_stop(the_loop);
	assert_int_equal(loop_run(the_loop), ERR_OK);
	loop_destroy(&the_loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_watch_freed_by_another_in_the_same_batch_is_not_called),
	    cmocka_unit_test(a_watch_is_level_triggered_and_reports_what_is_asked_for),
	    cmocka_unit_test(many_timers_fire_in_order_and_stopped_ones_do_not),
	    cmocka_unit_test(a_timer_that_restarts_itself_does_not_starve_the_turn),
	    cmocka_unit_test(a_wait_ends_when_the_first_timer_is_due_and_never_early),
	    cmocka_unit_test(deferred_calls_run_once_after_the_batch_and_the_last_ones_behind_them),
	    cmocka_unit_test(run_returns_after_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
