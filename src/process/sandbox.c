/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "process/sandbox_internal.h"

#ifdef COHUE_SANITIZED
/* The leak checker needs a helper process and /proc: not after the sandbox is entered. */
static int entered;
int __lsan_is_turned_off(void);
int
__lsan_is_turned_off(void)
{
	return entered;
}
#endif

static enum err
from_errno(void)
{
	return errno == EPERM || errno == EACCES ? ERR_DENIED : err_from_errno(errno);
}

static enum err
limit(int resource, rlim_t value)
{
	const struct rlimit r = {.rlim_cur = value, .rlim_max = value};
	return setrlimit((__rlimit_resource_t)resource, &r) == 0 ? ERR_OK : from_errno();
}

enum err
sandbox_early(const char **ret_step)
{
	const char *step = "no core dumps";
	enum err e = limit(RLIMIT_CORE, 0);
	if (e == ERR_OK && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		e = from_errno();
	}
	if (e == ERR_OK && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		step = "no new privileges";
		e = from_errno();
	}
	if (e != ERR_OK && ret_step != NULL) {
		*ret_step = step;
	}
	return e;
}

/* Descriptors. */

static int
compare_fds(const void *a, const void *b)
{
	const int *x = a;
	const int *y = b;
	return *x < *y ? -1 : *x > *y;
}

static void
close_between(unsigned first, unsigned last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0) == 0) {
		return;
	}
	/* A kernel before 5.9. */
	struct rlimit r;
	unsigned end =
	    getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < 1U << 20 ? (unsigned)r.rlim_cur : 1U << 20;
	for (unsigned fd = first; fd <= last && fd < end; fd++) {
		(void)close((int)fd);
	}
}

static enum err
close_others(const struct sandbox_profile *profile)
{
	int keep[SANDBOX_FDS_MAX];
	size_t n = profile->fd_count;
	for (size_t i = 0; i < n; i++) {
		if (profile->fds[i] < 0) {
			return ERR_LIMIT;
		}
		keep[i] = profile->fds[i];
	}
	qsort(keep, n, sizeof(keep[0]), compare_fds);
	unsigned next = 3;
	for (size_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)keep[i];
		if (fd > next) {
			close_between(next, fd - 1);
		}
		next = fd >= next ? fd + 1 : next;
	}
	close_between(next, ~0U);
	return ERR_OK;
}

/* The empty root. */

static bool
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		return false;
	}
	size_t len = strlen(text);
	bool ok = write(fd, text, len) == (ssize_t)len;
	(void)close(fd);
	return ok;
}

static bool
map_id(const char *path, unsigned id)
{
	char line[48];
	int n = snprintf(line, sizeof(line), "%u %u 1\n", id, id);
	return n > 0 && (size_t)n < sizeof(line) && write_file(path, line);
}

/* A user namespace in which we may mount. False: the kernel does not let us, and nothing has changed that matters. */
static bool
own_namespaces(bool root)
{
	if (root) {
		return unshare(CLONE_NEWNS) == 0;
	}
	uid_t uid = geteuid();
	gid_t gid = getegid();
	/* The files of a process that is not dumpable belong to root. */
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) {
		return false;
	}
	bool ok = write_file("/proc/self/setgroups", "deny") && map_id("/proc/self/uid_map", uid) &&
		  map_id("/proc/self/gid_map", gid);
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && ok;
}

/* An empty, read-only tmpfs becomes the root; the old one is left behind. */
static bool
pivot_to_nothing(void)
{
	static const char point[] = "/tmp";
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", point, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     "size=4k,nr_inodes=2,mode=555") == 0 &&
	       chdir(point) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
	       chdir("/") == 0 &&
	       mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     NULL) == 0;
}

static enum err
empty_root(const struct sandbox_profile *profile, bool root, bool *ret_emptied)
{
	if (root && profile->empty_dir != NULL) {
		if (chdir(profile->empty_dir) != 0 || chroot(".") != 0 || chdir("/") != 0) {
			return errno == ENOENT ? ERR_NOT_FOUND : from_errno();
		}
		*ret_emptied = true;
		return ERR_OK;
	}
	*ret_emptied = own_namespaces(root) && pivot_to_nothing();
	return ERR_OK;
}

/* User and capabilities. */

static enum err
drop_bounding_set(void)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		int present = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (present < 0) {
			break; /* past the last one of this kernel */
		}
		if (present == 1 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
			return from_errno();
		}
	}
	return ERR_OK;
}

static enum err
drop_user(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) != 0 || (gid != 0 && setresgid(gid, gid, gid) != 0) ||
	    setresuid(uid, uid, uid) != 0) {
		return from_errno();
	}
	/* The kernel forgets this when the user changes: a role does not outlive its supervisor. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
		return from_errno();
	}
	/* No way back. */
	return setuid(0) == 0 || geteuid() != uid ? ERR_DENIED : ERR_OK;
}

static enum err
drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct none[2];
	memset(none, 0, sizeof(none));
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) == 0 ? ERR_OK : from_errno();
}

static bool
has_setpcap(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2];
	memset(data, 0, sizeof(data));
	return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & (1U << CAP_SETPCAP)) != 0;
}

/* All together. */

static enum err
open_paths(const struct sandbox_profile *profile, int fds[SANDBOX_PATHS_MAX])
{
	for (size_t i = 0; i < profile->path_count; i++) {
		fds[i] = open(profile->paths[i].path, O_PATH | O_CLOEXEC);
		if (fds[i] < 0) {
			return errno == ENOENT ? ERR_NOT_FOUND : from_errno();
		}
	}
	return ERR_OK;
}

static void
close_paths(size_t n, int fds[SANDBOX_PATHS_MAX])
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0) {
			(void)close(fds[i]);
			fds[i] = -1;
		}
	}
}

static enum err
limit_resources(unsigned allow)
{
	enum err e = ERR_OK;
	if ((allow & SANDBOX_THREADS) == 0) {
		e = limit(RLIMIT_NPROC, 0);
	}
	/* Where the log goes to a plain file, its size cannot be limited. */
	struct stat info;
	bool log_file = fstat(STDERR_FILENO, &info) == 0 && S_ISREG(info.st_mode);
	if (e == ERR_OK && (allow & SANDBOX_DISK) == 0 && !log_file) {
		e = limit(RLIMIT_FSIZE, 0);
	}
	return e;
}

/* For a role other than the supervisor. Each step leaves its name in *step. */
static enum err
enter_role(const struct sandbox_profile *p, int path_fds[SANDBOX_PATHS_MAX], const char **step,
	   unsigned *in_force)
{
	bool root = geteuid() == 0;
	bool emptied = false;
	*step = "opening the listed paths";
	enum err e = open_paths(p, path_fds);
	if (e == ERR_OK && p->path_count == 0) {
		*step = "emptying the root";
		e = empty_root(p, root, &emptied);
		*in_force |= emptied ? (unsigned)SANDBOX_IN_FORCE_EMPTY_ROOT | SANDBOX_IN_FORCE_PATHS : 0;
	}
	if (e == ERR_OK && has_setpcap()) {
		*step = "dropping the bounding set";
		e = drop_bounding_set();
	}
	if (e == ERR_OK && root && p->uid != 0) {
		*step = "changing the user";
		e = drop_user(p->uid, p->gid);
		*in_force |= e == ERR_OK ? (unsigned)SANDBOX_IN_FORCE_USER : 0;
	}
	if (e == ERR_OK) {
		*step = "dropping capabilities";
		e = drop_capabilities();
	}
	/* A change of user resets it. */
	if (e == ERR_OK && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		*step = "no core dumps";
		e = from_errno();
	}
	if (e == ERR_OK) {
		*step = "Landlock";
		e = sandbox_landlock(p, path_fds);
		*in_force |= e == ERR_OK ? (unsigned)SANDBOX_IN_FORCE_LANDLOCK | SANDBOX_IN_FORCE_PATHS : 0;
		e = e == ERR_UNSUPPORTED ? ERR_OK : e;
	}
	close_paths(p->path_count, path_fds);
	if (e == ERR_OK) {
		*step = "resource limits";
		e = limit_resources(p->allow);
	}
	if (e == ERR_OK) {
		*step = "the system call filter";
		e = sandbox_seccomp(p->allow);
		*in_force |= e == ERR_OK ? (unsigned)SANDBOX_IN_FORCE_SECCOMP : 0;
		*in_force |= (p->allow & SANDBOX_DISK) == 0 ? (unsigned)SANDBOX_IN_FORCE_PATHS : 0;
	}
	return e;
}

enum err
sandbox_enter(const struct sandbox_profile *profile, const char **ret_step, unsigned *ret_in_force)
{
	const char *step = "the profile";
	unsigned in_force = 0;
	int path_fds[SANDBOX_PATHS_MAX] = {-1, -1, -1, -1, -1, -1, -1, -1};
	enum err e = profile->path_count > SANDBOX_PATHS_MAX || profile->fd_count > SANDBOX_FDS_MAX
			 ? ERR_LIMIT
			 : ERR_OK;
	if (e == ERR_OK) {
		e = sandbox_early(&step);
	}
	if (e == ERR_OK) {
		step = "closing descriptors";
		e = close_others(profile);
	}
	if (e == ERR_OK && (profile->allow & SANDBOX_SPAWN) == 0) {
		/* localtime(3) would open a file later. */
		tzset();
#ifdef COHUE_SANITIZED
		entered = 1;
#endif
		e = enter_role(profile, path_fds, &step, &in_force);
		close_paths(e == ERR_OK ? 0 : profile->path_count, path_fds);
	}
	if (e != ERR_OK) {
		if (ret_step != NULL) {
			*ret_step = step;
		}
		return e;
	}
	if (ret_in_force != NULL) {
		*ret_in_force = in_force;
	}
	return ERR_OK;
}
