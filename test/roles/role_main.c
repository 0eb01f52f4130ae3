/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The roles under test as processes of their own: `role_main --role=NAME`, started by rolehost.c. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "courier/courier.h"
#include "crypto/crypto.h"
#include "keeper/keeper.h"
#include "mixer/mixer.h"
#include "process/role.h"
#include "store/store.h"

/* The wall clock as the test sets it: milliseconds that a file holds, in front of libc's. The others are true. */
static const volatile int64_t *wall_offset;
static int (*true_clock)(clockid_t id, struct timespec *t);

static void
find_offset(void)
{
	void *found = dlsym(RTLD_NEXT, "clock_gettime");
	memcpy(&true_clock, &found, sizeof(true_clock));
	const char *path = getenv("COHUE_TEST_CLOCK");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	wall_offset = page == MAP_FAILED ? NULL : page;
	if (fd >= 0) {
		(void)close(fd);
	}
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int result = true_clock == NULL ? -1 : true_clock(id, t);
	if (result == 0 && id == CLOCK_REALTIME && wall_offset != NULL) {
		t->tv_sec += *wall_offset / 1000;
	}
	return result;
}

int
main(int argc, char **argv)
{
	static const struct role_def *const roles[] = {&keeper_role, &store_role, &mixer_role, &courier_role};
	static const char flag[] = "--role=";
	find_offset();
	if (argc != 2 || strncmp(argv[1], flag, sizeof(flag) - 1) != 0 || crypto_init() != ERR_OK) {
		return 2;
	}
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(role_name(roles[i]->id), argv[1] + sizeof(flag) - 1) == 0) {
			return role_main(roles[i]);
		}
	}
	return 2;
}
