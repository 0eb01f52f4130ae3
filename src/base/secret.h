/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_SECRET_H
#define COHUE_BASE_SECRET_H

#include "base/bytes.h"

/*
 * The one locked pool for keys: memory that is never swapped, never dumped,
 * and wiped when given back and when the process ends. Each process has one.
 * The default of SECRET_POOL_BYTES fits a memlock limit of 8 MiB.
 */

enum { SECRET_POOL_BYTES = 1 << 20 };

/*
 * Maps and locks the pool, and arranges that it is wiped at exit(3) and abort(3) alike.
 * Once per process, before the first secret_alloc. ERR_MEMORY where the
 * kernel refuses to lock: the remedy is a higher RLIMIT_MEMLOCK.
 */
COHUE_MUST_USE enum err secret_pool_init(size_t pool_bytes);
/* Zeroed bytes from the pool, or NULL when it is full. At most 4096 at a time. */
void *secret_alloc(size_t size);
/* Wipes and gives back; accepts NULL. */
void secret_free(void *secret);
/* Wipes all of it, now. */
void secret_pool_wipe(void);
/* True where ptr lies in the pool (for tests and assertions). */
bool secret_contains(const void *ptr);
size_t secret_pool_used(void);

/* Compares in time that depends on n alone. */
bool secret_equal(const void *a, const void *b, size_t n);
void secret_wipe(void *ptr, size_t n);

#endif
