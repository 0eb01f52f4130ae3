/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * How many arriving messages a second the store takes, by the size of the group that shares a commit:
 * per message one blob, spool_put and release. `storage_bench FOLDER [BYTES] [MESSAGES]`
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/storage.h"

enum { ACCOUNTS = 50, SEALED = 1200, STATE = 150 };

static double
seconds(clockid_t which)
{
	struct timespec t;
	if (clock_gettime(which, &t) != 0) {
		exit(1);
	}
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
must(enum err e)
{
	if (e != ERR_OK) {
		(void)fprintf(stderr, "%s\n", err_text(e));
		exit(1);
	}
}

static void
message(struct storage *s, struct bytes data)
{
	uint8_t blob[1][BLOB_NAME_LEN];
	uint8_t unit[UNIT_ID_LEN];
	uint8_t account[1][ACCOUNT_ID_LEN] = {{(uint8_t)randombytes_uniform(ACCOUNTS)}};
	struct bytes part = bytes_slice(data, 0, SEALED);
	uint64_t size = data.len;
	uint64_t quota = 0;
	struct storage_head head;
	randombytes_buf(blob, sizeof(blob));
	randombytes_buf(unit, sizeof(unit));
	for (size_t at = 0; at < data.len; at += 65536) {
		must(s->driver->blob_put(s, blob[0], (uint32_t)(at / 65536), bytes_slice(data, at, 65536)));
	}
	must(s->driver->spool_put(s, unit, bytes_slice(data, 0, STATE), &part, 1, (void *)blob, 1,
				  (void *)account, &size, &quota, 1));
	must(s->driver->spool_release(s, unit, 0, account[0], &head));
	must(s->driver->spool_delete(s, unit));
}

int
main(int argc, char **argv)
{
	static const unsigned groups[] = {1, 10, 100};
	struct storage *s = NULL;
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 4216;
	unsigned count = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2000;
	if (argc < 2 || size < SEALED || sodium_init() < 0) {
		return 2;
	}
	uint8_t *data = malloc(size);
	if (data == NULL) {
		return 1;
	}
	randombytes_buf(data, size);
	must(storage_sqlite_open(argv[1], true, false, &s));
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		double wall = seconds(CLOCK_MONOTONIC);
		double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
		for (unsigned done = 0; done < count; done += groups[g]) {
			must(s->driver->begin(s));
			for (unsigned i = 0; i < groups[g]; i++) {
				message(s, bytes_of(data, size));
			}
			must(s->driver->commit(s));
		}
		wall = seconds(CLOCK_MONOTONIC) - wall;
		cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		(void)printf("%zu bytes, groups of %3u: %7.0f messages/s, %6.3f ms of CPU each\n", size,
			     groups[g], count / wall, cpu * 1000 / count);
	}
	s->driver->destroy(&s);
	free(data);
	return 0;
}
