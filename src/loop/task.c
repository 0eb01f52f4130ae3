/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/task.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/secret.h"
#include "loop/fiber.h"
#include "loop/internal.h"

#if defined(__SANITIZE_ADDRESS__)
#define TASK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TASK_ASAN 1
#endif
#endif
#ifndef TASK_ASAN
#define TASK_ASAN 0
#endif
#if TASK_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

/* Resident bytes that a spare stack may keep, so that the next task does not fault them in again. */
enum { STACK_KEEP = 16 * 1024 };

enum task_state {
	TASK_READY,     /* queued to be resumed with a result */
	TASK_YIELDED,   /* queued to start or go on: a wake now is for a suspension to come */
	TASK_RUNNING,   /* the current one */
	TASK_SUSPENDED, /* waits for a wake or its timer */
	TASK_SLEEPING,  /* the same, where the timer is not a timeout */
};

struct task {
	struct loop *loop;
	task_fn *fn;
	void *arg;
	uint8_t *stack; /* lowest usable byte */
	struct fiber fiber;
	struct defer ready;
	struct timer timer;
	enum task_state state;
	enum err result, early_result;
	bool cancelled;
	bool woken_early; /* a wake came before the suspension it belongs to, with early_result */
	bool finished;
	msec resumed_at;
	struct task *next; /* among the spare ones */
#if TASK_ASAN
	void *fake_stack;
#endif
};

struct task_pool {
	size_t stack_bytes, max_tasks, max_spare, page;
	struct task *spare;
	size_t spare_count, unfinished;
	struct fiber main;
#if TASK_ASAN
	void *main_fake_stack;
	const void *main_stack;
	size_t main_stack_bytes;
#endif
};

/* One thread: one running task, whatever the loop. */
static struct task *current;

static struct task_pool *
pool_of(struct loop *loop)
{
	if (loop->tasks == NULL) {
		struct task_pool *pool = calloc(1, sizeof(*pool));
		if (pool == NULL) {
			return NULL;
		}
		pool->page = (size_t)sysconf(_SC_PAGESIZE);
		pool->stack_bytes = TASK_STACK_BYTES;
		pool->max_tasks = TASK_MAX_DEFAULT;
		pool->max_spare = TASK_SPARE_DEFAULT;
		loop->tasks = pool;
	}
	return loop->tasks;
}

enum err
task_configure(struct loop *loop, size_t stack_bytes, size_t max_tasks, size_t max_spare)
{
	if (loop->tasks != NULL) {
		return ERR_STATE;
	}
	struct task_pool *pool = pool_of(loop);
	if (pool == NULL) {
		return ERR_MEMORY;
	}
	size_t least = 4 * pool->page;
	pool->stack_bytes =
	    (stack_bytes < least ? least : stack_bytes + pool->page - 1) / pool->page * pool->page;
	pool->max_tasks = max_tasks;
	pool->max_spare = max_spare;
	return ERR_OK;
}

static void
task_free(struct task_pool *pool, struct task *t)
{
#if TASK_ASAN
	__lsan_unregister_root_region(t->stack, pool->stack_bytes);
#endif
	(void)munmap(t->stack - pool->page, pool->stack_bytes + pool->page);
	free(t);
}

void
task_pool_destroy(struct loop *loop)
{
	struct task_pool *pool = loop->tasks;
	if (pool == NULL) {
		return;
	}
	if (pool->unfinished > 0) {
		panic("loop destroyed with unfinished tasks");
	}
	while (pool->spare != NULL) {
		struct task *t = pool->spare;
		pool->spare = t->next;
		task_free(pool, t);
	}
	free(pool);
	loop->tasks = NULL;
}

/* A spare task, or a new one: guard page below, stack above. */
static struct task *
task_take(struct task_pool *pool)
{
	struct task *t = pool->spare;
	if (t != NULL) {
		pool->spare = t->next;
		pool->spare_count--;
		return t;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return NULL;
	}
	uint8_t *map = mmap(NULL, pool->stack_bytes + pool->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (map == MAP_FAILED) {
		free(t);
		return NULL;
	}
	if (mprotect(map, pool->page, PROT_NONE) != 0 ||
	    madvise(map, pool->stack_bytes + pool->page, MADV_DONTDUMP) != 0) {
		(void)munmap(map, pool->stack_bytes + pool->page);
		free(t);
		return NULL;
	}
	/* Stacks are small and sparse: a huge page would make each cost 2 MiB. Older kernels may not know the advice. */
	(void)madvise(map, pool->stack_bytes + pool->page, MADV_NOHUGEPAGE);
	t->stack = map + pool->page;
#if TASK_ASAN
	__lsan_register_root_region(t->stack, pool->stack_bytes);
#endif
	return t;
}

/*
 * Wipes the used part: the top always; below it whatever pages the kernel says
 * are resident, which it then gets back (and with them any copy in swap).
 */
static void
wipe_stack(const struct task_pool *pool, struct task *t)
{
#if TASK_ASAN
	__asan_unpoison_memory_region(t->stack, pool->stack_bytes);
#endif
	size_t keep = STACK_KEEP < pool->stack_bytes ? STACK_KEEP : pool->stack_bytes;
	size_t lower = pool->stack_bytes - keep;
	secret_wipe(t->stack + lower, keep);
	if (lower == 0) {
		return;
	}
	unsigned char resident[256];
	size_t pages = lower / pool->page;
	bool any = false;
	for (size_t first = 0; first < pages; first += sizeof(resident)) {
		size_t n = pages - first < sizeof(resident) ? pages - first : sizeof(resident);
		if (mincore(t->stack + first * pool->page, n * pool->page, resident) != 0) {
			memset(resident, 1, n);
		}
		for (size_t i = 0; i < n; i++) {
			if ((resident[i] & 1) != 0) {
				secret_wipe(t->stack + (first + i) * pool->page, pool->page);
				any = true;
			}
		}
	}
	if (any) {
		(void)madvise(t->stack, lower, MADV_DONTNEED);
	}
}

static void
task_release(struct task_pool *pool, struct task *t)
{
	wipe_stack(pool, t);
	if (pool->spare_count >= pool->max_spare) {
		task_free(pool, t);
		return;
	}
	t->next = pool->spare;
	pool->spare = t;
	pool->spare_count++;
}

/* The first and last frame on a task's stack. */
static void
task_main(void)
{
	struct task *t = current;
	struct task_pool *pool = t->loop->tasks;
#if TASK_ASAN
	__sanitizer_finish_switch_fiber(NULL, &pool->main_stack, &pool->main_stack_bytes);
#endif
	t->fn(t->arg);
	t->finished = true;
#if TASK_ASAN
	__sanitizer_start_switch_fiber(NULL, pool->main_stack, pool->main_stack_bytes);
#endif
	fiber_switch(&t->fiber, &pool->main);
	panic("a finished task was resumed");
}

/* From the loop: runs t until it suspends or ends. */
static void
resume(struct defer *d)
{
	struct task *t = d->arg;
	struct task_pool *pool = t->loop->tasks;
	timer_stop(&t->timer);
	t->state = TASK_RUNNING;
	t->resumed_at = clock_monotonic();
	current = t;
#if TASK_ASAN
	__sanitizer_start_switch_fiber(&pool->main_fake_stack, t->stack, pool->stack_bytes);
#endif
	fiber_switch(&pool->main, &t->fiber);
#if TASK_ASAN
	__sanitizer_finish_switch_fiber(pool->main_fake_stack, NULL, NULL);
#endif
	current = NULL;
	if (t->finished) {
		pool->unfinished--;
		task_release(pool, t);
	}
}

/* From the task: back to the loop, until resumed. */
static enum err
leave(struct task *t, enum task_state state)
{
	struct task_pool *pool = t->loop->tasks;
	t->state = state;
#if TASK_ASAN
	__sanitizer_start_switch_fiber(&t->fake_stack, pool->main_stack, pool->main_stack_bytes);
#endif
	fiber_switch(&t->fiber, &pool->main);
#if TASK_ASAN
	__sanitizer_finish_switch_fiber(t->fake_stack, &pool->main_stack, &pool->main_stack_bytes);
#endif
	return t->cancelled ? ERR_CLOSED : t->result;
}

static void
make_ready(struct task *t, enum err result)
{
	t->result = result;
	t->state = TASK_READY;
	timer_stop(&t->timer);
	defer_start(t->loop, &t->ready);
}

static void
on_timer(struct timer *timer)
{
	struct task *t = timer->arg;
	make_ready(t, t->state == TASK_SLEEPING ? ERR_OK : ERR_TIMEOUT);
}

enum err
task_spawn(struct loop *loop, task_fn *fn, void *arg, struct task **ret_task)
{
	struct task_pool *pool = pool_of(loop);
	if (pool == NULL) {
		return ERR_MEMORY;
	}
	if (pool->unfinished >= pool->max_tasks) {
		return ERR_LIMIT;
	}
	struct task *t = task_take(pool);
	if (t == NULL) {
		return ERR_MEMORY;
	}
	uint8_t *stack = t->stack;
	*t = (struct task){.loop = loop, .fn = fn, .arg = arg, .stack = stack};
	timer_init(&t->timer, on_timer, t);
	defer_init(&t->ready, resume, t);
	fiber_make(&t->fiber, stack, pool->stack_bytes, task_main);
	pool->unfinished++;
	t->state = TASK_YIELDED;
	defer_start(loop, &t->ready);
	if (ret_task != NULL) {
		*ret_task = t;
	}
	return ERR_OK;
}

struct task *
task_current(void)
{
	return current;
}

size_t
task_count(const struct loop *loop)
{
	return loop->tasks == NULL ? 0 : loop->tasks->unfinished;
}

static struct task *
running(void)
{
	if (current == NULL) {
		panic("suspended outside of a task");
	}
	return current;
}

enum err
task_suspend(void)
{
	struct task *t = running();
	if (t->cancelled) {
		return ERR_CLOSED;
	}
	if (t->woken_early) {
		t->woken_early = false;
		return t->early_result;
	}
	return leave(t, TASK_SUSPENDED);
}

enum err
task_suspend_until(msec deadline)
{
	struct task *t = running();
	if (t->cancelled) {
		return ERR_CLOSED;
	}
	if (t->woken_early) {
		t->woken_early = false;
		return t->early_result;
	}
	enum err e = timer_start(t->loop, &t->timer, deadline);
	return e != ERR_OK ? e : leave(t, TASK_SUSPENDED);
}

enum err
task_sleep(msec ms)
{
	struct task *t = running();
	if (t->cancelled) {
		return ERR_CLOSED;
	}
	enum err e = timer_start_after(t->loop, &t->timer, ms);
	return e != ERR_OK ? e : leave(t, TASK_SLEEPING);
}

enum err
task_yield(void)
{
	struct task *t = running();
	if (t->cancelled) {
		return ERR_CLOSED;
	}
	t->result = ERR_OK;
	defer_start(t->loop, &t->ready);
	return leave(t, TASK_YIELDED);
}

bool
task_has_run_for(msec ms)
{
	return clock_monotonic() - running()->resumed_at > ms;
}

void
task_wake(struct task *task, enum err result)
{
	switch (task->state) {
	case TASK_SUSPENDED:
	case TASK_SLEEPING:
		make_ready(task, result);
		break;
	case TASK_RUNNING:
	case TASK_YIELDED:
		if (!task->woken_early) {
			task->woken_early = true;
			task->early_result = result;
		}
		break;
	case TASK_READY:
		break;
	}
}

void
task_cancel(struct task *task)
{
	task->cancelled = true;
	if (task->state == TASK_SUSPENDED || task->state == TASK_SLEEPING) {
		make_ready(task, ERR_CLOSED);
	}
}

bool
task_is_cancelled(const struct task *task)
{
	return task->cancelled;
}
