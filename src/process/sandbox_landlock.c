/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/sandbox_internal.h"

/*
 * Landlock's user interface, restated so that a program built with old kernel
 * headers uses all that a newer kernel knows (linux/landlock.h).
 */
struct ruleset {
	uint64_t fs;     /* ABI 1 */
	uint64_t net;    /* ABI 4 */
	uint64_t scoped; /* ABI 6 */
};

struct path_rule {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

enum {
	CREATE_VERSION = 1,
	RULE_PATH_BENEATH = 1,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_REG = 1 << 8,
	FS_ABI_1 = (1 << 13) - 1,
	FS_REFER = 1 << 13,     /* ABI 2 */
	FS_TRUNCATE = 1 << 14,  /* ABI 3 */
	FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
	NET_BIND_TCP = 1 << 0,
	NET_CONNECT_TCP = 1 << 1,
	SCOPE_ABSTRACT_UNIX = 1 << 0,
	SCOPE_SIGNAL = 1 << 1,
};

enum {
	CALL_CREATE = 444, /* the same numbers on all architectures */
	CALL_ADD_RULE = 445,
	CALL_RESTRICT = 446,
};

static uint64_t
rights(enum sandbox_access access, bool directory)
{
	uint64_t read = FS_READ_FILE | (directory ? FS_READ_DIR : 0);
	uint64_t write = FS_WRITE_FILE | FS_TRUNCATE | (directory ? FS_REMOVE_FILE | FS_MAKE_REG : 0);
	return access == SANDBOX_READ ? read : read | write;
}

enum err
sandbox_landlock(const struct sandbox_profile *profile, const int path_fds[SANDBOX_PATHS_MAX])
{
	long abi = syscall(CALL_CREATE, NULL, 0, CREATE_VERSION);
	if (abi < 1) {
		return ERR_UNSUPPORTED;
	}
	struct ruleset set = {.fs = FS_ABI_1, .net = 0, .scoped = 0};
	size_t size = sizeof(set.fs);
	set.fs |= (abi >= 2 ? (uint64_t)FS_REFER : 0) | (abi >= 3 ? (uint64_t)FS_TRUNCATE : 0) |
		  (abi >= 5 ? (uint64_t)FS_IOCTL_DEV : 0);
	if (abi >= 4) {
		size = sizeof(set.fs) + sizeof(set.net);
		set.net = NET_BIND_TCP |
			  ((profile->allow & SANDBOX_NET_CONNECT) != 0 ? 0 : (uint64_t)NET_CONNECT_TCP);
	}
	if (abi >= 6) {
		size = sizeof(set);
		set.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	}
	long fd = syscall(CALL_CREATE, &set, size, 0);
	if (fd < 0) {
		return errno == ENOMEM ? ERR_MEMORY : ERR_DENIED;
	}
	enum err e = ERR_OK;
	for (size_t i = 0; i < profile->path_count && e == ERR_OK; i++) {
		struct stat info;
		if (fstat(path_fds[i], &info) != 0) {
			e = ERR_IO;
			break;
		}
		struct path_rule rule = {
		    .allowed = rights(profile->paths[i].access, S_ISDIR(info.st_mode)) & set.fs,
		    .fd = path_fds[i],
		};
		if (syscall(CALL_ADD_RULE, fd, RULE_PATH_BENEATH, &rule, 0) != 0) {
			e = errno == ENOMEM ? ERR_MEMORY : ERR_DENIED;
		}
	}
	if (e == ERR_OK && syscall(CALL_RESTRICT, fd, 0) != 0) {
		e = ERR_DENIED;
	}
	(void)close((int)fd);
	return e;
}
