/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/secret.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Units of 32 bytes; one byte per unit in `marks`: 0 free, 1 first of a piece, 2 the
 * rest of it. Pieces are few and small (keys), so a linear search with a hint is fast.
 */
enum { UNIT = 32, MAX_UNITS_A_PIECE = 4096 / UNIT };

static uint8_t *pool;
static uint8_t *marks;
static size_t units;
static size_t used_units;
static size_t hint;
/* The opener has a second thread. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;

static void
on_abort(int signum)
{
	secret_pool_wipe();
	(void)signal(signum, SIG_DFL);
	(void)raise(signum);
}

enum err
secret_pool_init(size_t pool_bytes)
{
	if (pool != NULL) {
		return ERR_STATE;
	}
	size_t n = pool_bytes / UNIT;
	uint8_t *p = mmap(NULL, pool_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		return ERR_MEMORY;
	}
	if (mlock(p, pool_bytes) != 0 || madvise(p, pool_bytes, MADV_DONTDUMP) != 0 ||
	    madvise(p, pool_bytes, MADV_WIPEONFORK) != 0) {
		(void)munmap(p, pool_bytes);
		return ERR_MEMORY;
	}
	uint8_t *m = calloc(n, 1);
	if (m == NULL) {
		(void)munmap(p, pool_bytes);
		return ERR_MEMORY;
	}
	pool = p;
	marks = m;
	units = n;
	(void)atexit(secret_pool_wipe);
	(void)signal(SIGABRT, on_abort);
	return ERR_OK;
}

static void *
take_units(size_t need)
{
	for (size_t pass = 0; pass < 2; pass++) {
		size_t run = 0;
		for (size_t i = pass == 0 ? hint : 0; i < units; i++) {
			run = marks[i] == 0 ? run + 1 : 0;
			if (run == need) {
				size_t first = i + 1 - need;
				memset(marks + first, 2, need);
				marks[first] = 1;
				used_units += need;
				hint = i + 1;
				return pool + first * UNIT;
			}
		}
	}
	return NULL;
}

void *
secret_alloc(size_t size)
{
	size_t need = (size + UNIT - 1) / UNIT;
	if (pool == NULL || size == 0 || need > MAX_UNITS_A_PIECE) {
		return NULL;
	}
	(void)pthread_mutex_lock(&pool_lock);
	void *secret = take_units(need);
	(void)pthread_mutex_unlock(&pool_lock);
	return secret;
}

void
secret_free(void *secret)
{
	if (secret == NULL) {
		return;
	}
	size_t first = (size_t)((uint8_t *)secret - pool) / UNIT;
	(void)pthread_mutex_lock(&pool_lock);
	if (!secret_contains(secret) || marks[first] != 1) {
		panic("secret_free of what is no secret");
	}
	size_t n = 1;
	while (first + n < units && marks[first + n] == 2) {
		n++;
	}
	explicit_bzero(secret, n * UNIT);
	memset(marks + first, 0, n);
	used_units -= n;
	hint = first < hint ? first : hint;
	(void)pthread_mutex_unlock(&pool_lock);
}

void
secret_pool_wipe(void)
{
	if (pool != NULL) {
		explicit_bzero(pool, units * UNIT);
	}
}

bool
secret_contains(const void *ptr)
{
	const uint8_t *p = ptr;
	return pool != NULL && p >= pool && p < pool + units * UNIT;
}

size_t
secret_pool_used(void)
{
	return used_units * UNIT;
}

bool
secret_equal(const void *a, const void *b, size_t n)
{
	const volatile uint8_t *x = a;
	const volatile uint8_t *y = b;
	uint8_t diff = 0;
	for (size_t i = 0; i < n; i++) {
		diff |= (uint8_t)(x[i] ^ y[i]);
	}
	return diff == 0;
}

void
secret_wipe(void *ptr, size_t n)
{
	if (ptr != NULL) {
		explicit_bzero(ptr, n);
	}
}
