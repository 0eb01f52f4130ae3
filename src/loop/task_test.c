/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/task.h"

static struct loop *loop;

static int
set_up(void **state)
{
	(void)state;
	return loop_create(&loop) == ERR_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	loop_destroy(&loop);
	return 0;
}

static void
turns(int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(loop_run_once(loop, 0), ERR_OK);
	}
}

static void
until_done(void)
{
	for (int i = 0; i < 10000 && task_count(loop) > 0; i++) {
		assert_int_equal(loop_run_once(loop, 1000), ERR_OK);
	}
	assert_int_equal(task_count(loop), 0);
}

struct job {
	struct task *task;
	enum err result;
	int stage;
	msec ms;
	char name;
	char *trace;
};

static void
suspend_once(void *arg)
{
	struct job *j = arg;
	j->stage = 1;
	j->result = task_suspend();
	j->stage = 2;
}

static void
a_suspended_task_goes_on_with_the_first_wakes_result(void **state)
{
	(void)state;
	struct job j = {.result = ERR_STATE};
	assert_int_equal(task_spawn(loop, suspend_once, &j, &j.task), ERR_OK);
	assert_int_equal(j.stage, 0);
	turns(1);
	assert_int_equal(j.stage, 1);
	task_wake(j.task, ERR_QUOTA);
	task_wake(j.task, ERR_OK);
	assert_int_equal(j.stage, 1);
	turns(1);
	assert_int_equal(j.stage, 2);
	assert_int_equal(j.result, ERR_QUOTA);
	assert_int_equal(task_count(loop), 0);
}

static void
wake_self(void *arg)
{
	struct job *j = arg;
	task_wake(task_current(), ERR_FULL);
	assert_int_equal(task_yield(), ERR_OK);
	j->result = task_suspend();
}

static void
a_wake_before_the_suspension_is_kept_across_a_yield(void **state)
{
	(void)state;
	struct job j = {.result = ERR_OK};
	assert_int_equal(task_spawn(loop, wake_self, &j, NULL), ERR_OK);
	until_done();
	assert_int_equal(j.result, ERR_FULL);
}

static void
suspend_until(void *arg)
{
	struct job *j = arg;
	j->result = task_suspend_until(clock_monotonic() + j->ms);
	j->stage = 2;
}

static void
a_deadline_ends_a_suspension_with_a_timeout(void **state)
{
	(void)state;
	struct job j = {.ms = 20, .result = ERR_OK};
	msec start = clock_monotonic();
	assert_int_equal(task_spawn(loop, suspend_until, &j, &j.task), ERR_OK);
	until_done();
	assert_int_equal(j.result, ERR_TIMEOUT);
	assert_true(clock_monotonic() - start >= 20);

	struct job woken = {.ms = 60000, .result = ERR_STATE};
	assert_int_equal(task_spawn(loop, suspend_until, &woken, &woken.task), ERR_OK);
	turns(1);
	task_wake(woken.task, ERR_OK);
	until_done();
	assert_int_equal(woken.result, ERR_OK);
}

static void
sleep_some(void *arg)
{
	struct job *j = arg;
	j->result = task_sleep(j->ms);
}

static void
cancelling_ends_every_kind_of_wait(void **state)
{
	(void)state;
	struct job jobs[3] = {{.ms = 60000}, {.ms = 60000}, {.ms = 60000}};
	assert_int_equal(task_spawn(loop, suspend_once, &jobs[0], &jobs[0].task), ERR_OK);
	assert_int_equal(task_spawn(loop, suspend_until, &jobs[1], &jobs[1].task), ERR_OK);
	assert_int_equal(task_spawn(loop, sleep_some, &jobs[2], &jobs[2].task), ERR_OK);
	turns(1);
	for (size_t i = 0; i < 3; i++) {
		task_cancel(jobs[i].task);
		assert_true(task_is_cancelled(jobs[i].task));
	}
	until_done();
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(jobs[i].result, ERR_CLOSED);
	}
	/* Cancelled before its start: it runs, and its first wait fails. */
	struct job early = {.result = ERR_OK};
	assert_int_equal(task_spawn(loop, suspend_once, &early, &early.task), ERR_OK);
	task_cancel(early.task);
	until_done();
	assert_int_equal(early.stage, 2);
	assert_int_equal(early.result, ERR_CLOSED);
}

static void
a_sleep_takes_its_time(void **state)
{
	(void)state;
	struct job j = {.ms = 15, .result = ERR_STATE};
	msec start = clock_monotonic();
	assert_int_equal(task_spawn(loop, sleep_some, &j, NULL), ERR_OK);
	until_done();
	assert_int_equal(j.result, ERR_OK);
	assert_true(clock_monotonic() - start >= 15);
}

static void
trace_and_yield(void *arg)
{
	struct job *j = arg;
	for (int i = 0; i < 3; i++) {
		size_t n = strlen(j->trace);
		j->trace[n] = j->name;
		assert_int_equal(task_yield(), ERR_OK);
	}
}

static void
a_yield_goes_behind_the_others(void **state)
{
	(void)state;
	char trace[16] = {0};
	struct job jobs[3];
	for (size_t i = 0; i < 3; i++) {
		jobs[i] = (struct job){.trace = trace, .name = (char)('a' + i)};
		assert_int_equal(task_spawn(loop, trace_and_yield, &jobs[i], NULL), ERR_OK);
	}
	until_done();
	assert_string_equal(trace, "abcabcabc");
}

static double
use_floats_and_stack(int depth, double x)
{
	volatile char room[1024];
	memset((char *)(uintptr_t)room, depth, sizeof(room));
	if (depth == 0) {
		assert_int_equal(task_yield(), ERR_OK);
		return x;
	}
	double y = use_floats_and_stack(depth - 1, x * 1.5) + 1.0;
	assert_int_equal(room[512], (char)depth);
	return y;
}

static void
deep(void *arg)
{
	double *x = arg;
	*x = use_floats_and_stack(20, *x);
}

static void
thousands_of_tasks_keep_their_stacks_apart(void **state)
{
	(void)state;
	enum { N = 2000 };
	double *values = calloc(N, sizeof(*values));
	assert_non_null(values);
	for (size_t i = 0; i < N; i++) {
		values[i] = (double)i;
		assert_int_equal(task_spawn(loop, deep, &values[i], NULL), ERR_OK);
	}
	until_done();
	for (size_t i = 0; i < N; i++) {
		double expected = (double)i;
		for (int d = 0; d < 20; d++) {
			expected *= 1.5;
		}
		assert_true(values[i] >= expected + 19.999 && values[i] <= expected + 20.001);
	}
	free(values);
}

static void
nothing(void *arg)
{
	(void)arg;
}

static void
the_pool_refuses_more_tasks_than_configured(void **state)
{
	(void)state;
	assert_int_equal(task_configure(loop, 64 * 1024, 2, 1), ERR_OK);
	assert_int_equal(task_configure(loop, 64 * 1024, 2, 1), ERR_STATE);
	assert_int_equal(task_spawn(loop, nothing, NULL, NULL), ERR_OK);
	assert_int_equal(task_spawn(loop, nothing, NULL, NULL), ERR_OK);
	assert_int_equal(task_spawn(loop, nothing, NULL, NULL), ERR_LIMIT);
	until_done();
	assert_int_equal(task_spawn(loop, nothing, NULL, NULL), ERR_OK);
	until_done();
}

#ifndef COHUE_SANITIZED /* redzones and fake stacks move what this looks at */
static volatile uint8_t *left_high, *left_low;

static void
leave_secrets(void *arg)
{
	(void)arg;
	volatile uint8_t secret[64 * 1024];
	for (size_t i = 0; i < sizeof(secret); i++) {
		secret[i] = 0x5a;
	}
	left_high = secret + sizeof(secret) - 64;
	left_low = secret + 64;
	assert_int_equal(task_yield(), ERR_OK);
	assert_int_equal(*left_low, 0x5a);
}

static void
a_stack_is_wiped_when_it_is_given_back(void **state)
{
	(void)state;
	assert_int_equal(task_spawn(loop, leave_secrets, NULL, NULL), ERR_OK);
	turns(1);
	assert_int_equal(*left_high, 0x5a);
	assert_int_equal(*left_low, 0x5a);
	until_done();
	assert_int_equal(*left_high, 0);
	assert_int_equal(*left_low, 0);
}

static int
overflow(int depth, const volatile char *above)
{
	volatile char room[4096];
	room[0] = (char)(*above + depth);
	int below = depth == 0 ? 0 : overflow(depth - 1, room);
	return below + room[0]; /* used after the call, so that the frame must stay */
}

static void
run_over(void *arg)
{
	int *depth = arg;
	volatile char top = 0;
	*depth = overflow(*depth, &top);
}

static void
a_stack_overflow_hits_the_guard_page(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		int depth = 64; /* 256 KiB of 128 */
		if (task_spawn(loop, run_over, &depth, NULL) == ERR_OK && loop_run_once(loop, 0) == ERR_OK) {
			_exit(0);
		}
		_exit(1);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}
#endif

int
main(void)
{
#define TASK_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TASK_TEST(a_suspended_task_goes_on_with_the_first_wakes_result),
	    TASK_TEST(a_wake_before_the_suspension_is_kept_across_a_yield),
	    TASK_TEST(a_deadline_ends_a_suspension_with_a_timeout),
	    TASK_TEST(cancelling_ends_every_kind_of_wait),
	    TASK_TEST(a_sleep_takes_its_time),
	    TASK_TEST(a_yield_goes_behind_the_others),
	    TASK_TEST(thousands_of_tasks_keep_their_stacks_apart),
	    TASK_TEST(the_pool_refuses_more_tasks_than_configured),
#ifndef COHUE_SANITIZED
	    TASK_TEST(a_stack_is_wiped_when_it_is_given_back),
	    TASK_TEST(a_stack_overflow_hits_the_guard_page),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
