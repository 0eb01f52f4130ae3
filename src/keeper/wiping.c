/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/wiping.h"

#include "base/openssl.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* Files and lines are OpenSSL's, for those who look for leaks. */

static void *
take(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return n == 0 ? NULL : malloc(n);
}

static void
give_back(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p != NULL) {
		explicit_bzero(p, malloc_usable_size(p));
		free(p);
	}
}

static void *
resize(void *p, size_t n, const char *file, int line)
{
	size_t had = p == NULL ? 0 : malloc_usable_size(p);
	if (n == 0) {
		give_back(p, file, line);
		return NULL;
	}
	if (p != NULL && n <= had && n >= had / 2) {
		return p;
	}
	/* Never realloc(): where it moves, what it leaves is as it was. */
	void *moved = malloc(n);
	if (moved != NULL && p != NULL) {
		memcpy(moved, p, n < had ? n : had);
		give_back(p, file, line);
	}
	return moved;
}

enum err
wiping_start(void)
{
	return CRYPTO_set_mem_functions(take, resize, give_back) == 1 ? ERR_OK : ERR_STATE;
}
