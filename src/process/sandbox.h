/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROCESS_SANDBOX_H
#define COHUE_PROCESS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * What a role gives up once it holds what it needs: root, the file system,
 * new descriptors, most system calls. Entered once, never left. Before it:
 * open files and databases, lock the pool of secrets, load character-set
 * converters, the TLS library's configuration, time zone and error texts.
 */

/* What the seccomp filter allows beyond reading, writing, waiting and memory. */
enum {
	SANDBOX_NET_ACCEPT = 1 << 0, /* accept4, get/setsockopt, shutdown, get*name; never socket */
	SANDBOX_NET_CONNECT =
	    1 << 1,            /* socket (AF_INET, AF_INET6; stream, dgram), connect, bind, and the former */
	SANDBOX_DISK = 1 << 2, /* what SQLite in WAL mode needs, beneath the listed paths */
	SANDBOX_SPAWN =
	    1 << 3, /* the supervisor: no seccomp filter, no limits on processes, keeps its user */
	SANDBOX_THREADS = 1 << 4, /* clone for threads (libunbound, Argon2 helpers), never fork */
};

enum sandbox_access {
	SANDBOX_READ,       /* files and directories beneath */
	SANDBOX_READ_WRITE, /* and create, change, rename and remove regular files beneath */
};

enum { SANDBOX_PATHS_MAX = 8, SANDBOX_FDS_MAX = 64 };

struct sandbox_path {
	const char *path;
	enum sandbox_access access;
};

struct sandbox_profile {
	unsigned allow; /* SANDBOX_NET_ACCEPT | ... */
	uid_t uid;      /* when started as root: run as these; 0: keep */
	gid_t gid;
	/* Used when started as root without SANDBOX_DISK: an empty directory to chroot into. NULL: a fresh tmpfs. */
	const char *empty_dir;
	/*
	 * With paths the root is not emptied (they must stay reachable by the same name), and Landlock
	 * alone hides everything else. Without Landlock in the kernel the file permissions do it: see
	 * SANDBOX_IN_FORCE_PATHS.
	 */
	struct sandbox_path paths[SANDBOX_PATHS_MAX];
	size_t path_count;
	/* Descriptors to keep, besides 0, 1, 2; all others are closed. */
	const int *fds;
	size_t fd_count;
};

/* What the kernel lent us: sandbox_enter degrades where it lacks a feature, and says so. */
enum {
	SANDBOX_IN_FORCE_SECCOMP = 1 << 0,
	SANDBOX_IN_FORCE_LANDLOCK = 1 << 1,
	SANDBOX_IN_FORCE_EMPTY_ROOT = 1 << 2, /* by chroot, or by a mount namespace of our own */
	SANDBOX_IN_FORCE_USER = 1 << 3,       /* runs as another user than it was started by */
	SANDBOX_IN_FORCE_PATHS =
	    1 << 4, /* no path but the listed ones can be opened: Landlock, an empty root, or seccomp */
};

/*
 * Enters. On failure the process is half-sandboxed and must exit; ret_step
 * (static text, may be NULL) names the step that failed. ret_in_force (may be
 * NULL) says what is in force. ERR_LIMIT: too many paths or descriptors;
 * ERR_NOT_FOUND: a listed path does not exist; ERR_DENIED: the kernel refuses;
 * ERR_IO: what else errno says; ERR_MEMORY.
 */
COHUE_MUST_USE enum err sandbox_enter(const struct sandbox_profile *profile, const char **ret_step,
				      unsigned *ret_in_force);

/* No core dumps, not dumpable, no new privileges: for every process, first thing in main. */
COHUE_MUST_USE enum err sandbox_early(const char **ret_step);

#endif
