/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "process/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * Each case runs in a child of its own. The whole runs as whoever started it,
 * and, when that is root, a second time as an ordinary user.
 */

enum { FINE = 0, REFUSED = 40, KILLED = 41, FAILED_TO_ENTER = 42, ALLOWED = 43, NO_USER = 65534 };

static char directory[64];

typedef int deed_fn(void);

/* The child's exit status, or KILLED when the filter ended it. */
static int
in_child(const struct sandbox_profile *profile, deed_fn *deed, unsigned *ret_in_force)
{
	int report[2];
	assert_int_equal(pipe(report), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const char *step = "?";
		unsigned in_force = 0;
		struct sandbox_profile p = *profile;
		int keep[2] = {report[1], profile->fd_count > 0 ? profile->fds[0] : report[1]};
		p.fds = keep;
		p.fd_count = 2;
		if (sandbox_enter(&p, &step, &in_force) != ERR_OK) {
			(void)dprintf(STDERR_FILENO, "not entered: %s: %s\n", step, strerror(errno));
			_exit(FAILED_TO_ENTER);
		}
		if (write(report[1], &in_force, sizeof(in_force)) != (ssize_t)sizeof(in_force)) {
			_exit(FAILED_TO_ENTER);
		}
		_exit(deed());
	}
	(void)close(report[1]);
	unsigned in_force = 0;
	if (read(report[0], &in_force, sizeof(in_force)) == (ssize_t)sizeof(in_force) &&
	    ret_in_force != NULL) {
		*ret_in_force = in_force;
	}
	(void)close(report[0]);
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status)) {
		return WTERMSIG(status) == SIGSYS ? KILLED : 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}

static struct sandbox_profile
profile_of(unsigned allow)
{
	return (struct sandbox_profile){.allow = allow, .uid = NO_USER, .gid = NO_USER};
}

static void
is_killed(unsigned allow, deed_fn *deed)
{
	const struct sandbox_profile p = profile_of(allow);
	assert_int_equal(in_child(&p, deed, NULL), KILLED);
}

static void
is_fine(unsigned allow, deed_fn *deed)
{
	const struct sandbox_profile p = profile_of(allow);
	assert_int_equal(in_child(&p, deed, NULL), FINE);
}

/* Deeds: FINE or ALLOWED when the kernel let it happen. */

static int
do_execve(void)
{
	char *const argv[] = {NULL};
	(void)syscall(SYS_execve, "/bin/true", argv, argv);
	return ALLOWED;
}

static int
do_fork(void)
{
	(void)fork();
	return ALLOWED;
}

static int
do_open(void)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
	return fd >= 0 ? ALLOWED : REFUSED;
}

static int
do_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? FINE : REFUSED;
}

static int
do_unix_socket(void)
{
	(void)socket(AF_UNIX, SOCK_STREAM, 0);
	return ALLOWED;
}

static int
do_raw_socket(void)
{
	(void)socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	return ALLOWED;
}

static int
do_connect(void)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	(void)connect(STDIN_FILENO, (struct sockaddr *)&to, sizeof(to));
	return ALLOWED;
}

static int
do_listen(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	(void)listen(fd, 1);
	return ALLOWED;
}

static int listener;

/* A listening socket that is shut down is an unconnected one, and sending can connect it. */
static int
do_fast_open(void)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	(void)shutdown(listener, SHUT_RDWR);
	(void)sendto(listener, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof(to));
	return errno == ECONNREFUSED || errno == EINPROGRESS ? ALLOWED : REFUSED;
}

static int
do_fast_open_message(void)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct iovec iov = {.iov_base = (char[]){'x'}, .iov_len = 1};
	struct msghdr h = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1};
	(void)shutdown(listener, SHUT_RDWR);
	(void)sendmsg(listener, &h, MSG_FASTOPEN | MSG_NOSIGNAL);
	return errno == ECONNREFUSED || errno == EINPROGRESS ? ALLOWED : REFUSED;
}

static int
do_ptrace(void)
{
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	return ALLOWED;
}

static int
do_kill(void)
{
	(void)kill(getppid(), 0);
	return ALLOWED;
}

static int
do_mmap_exec(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return ALLOWED;
}

static int
do_mprotect_exec(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)mprotect(p, 4096, PROT_READ | PROT_EXEC);
	return ALLOWED;
}

static int
do_mount(void)
{
	(void)syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL);
	return ALLOWED;
}

static int
do_bpf_like_things(void)
{
	(void)syscall(SYS_io_uring_setup, 1, NULL);
	return ALLOWED;
}

static int
do_ordinary_work(void)
{
	int pair[2] = {STDERR_FILENO, STDERR_FILENO};
	char *memory = malloc(4U << 20);
	if (memory == NULL) {
		return 1;
	}
	memset(memory, 1, 4U << 20);
	free(memory);
	struct timespec now;
	uint8_t random[16];
	if (clock_gettime(CLOCK_MONOTONIC, &now) != 0 ||
	    syscall(SYS_getrandom, random, sizeof(random), 0) != 16 || fcntl(pair[0], F_GETFL) < 0) {
		return 2;
	}
	struct rlimit core;
	if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0) {
		return 3;
	}
	return FINE;
}

static int
do_abort(void)
{
	abort();
}

static int
count_descriptors(void)
{
	int open_ones = 0;
	for (int fd = 3; fd < 256; fd++) {
		open_ones += fcntl(fd, F_GETFD) >= 0;
	}
	return open_ones == 1 ? FINE : ALLOWED;
}

static int
be_nobody(void)
{
	return geteuid() != 0 && getegid() != 0 && getuid() == geteuid() ? FINE : ALLOWED;
}

static int
use_listed_directory(void)
{
	char from[128];
	char to[128];
	(void)snprintf(from, sizeof(from), "%s/file", directory);
	(void)snprintf(to, sizeof(to), "%s/other", directory);
	int fd = open(from, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
	if (fd < 0 || pwrite(fd, "x", 1, 0) != 1 || fdatasync(fd) != 0 || fcntl(fd, F_SETLK, &lock) != 0 ||
	    ftruncate(fd, 0) != 0 || close(fd) != 0) {
		return 1;
	}
	return rename(from, to) == 0 && unlink(to) == 0 ? FINE : 2;
}

static int
use_database(void)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/db", directory);
	sqlite3 *db = NULL;
	sqlite3 *second = NULL;
	static const char work[] =
	    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA "
	    "temp_store=MEMORY;"
	    "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB); BEGIN IMMEDIATE;"
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000)"
	    " INSERT INTO t SELECT i, randomblob(500) FROM n; COMMIT;"
	    "DELETE FROM t WHERE a % 3 = 0; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA integrity_check; VACUUM;";
	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, work, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_open(path, &second) != SQLITE_OK ||
	    sqlite3_exec(second, "SELECT count(*) FROM t; DROP TABLE t;", NULL, NULL, NULL) != SQLITE_OK) {
		(void)dprintf(STDERR_FILENO, "sqlite: %s\n", sqlite3_errmsg(db));
		return 1;
	}
	bool ok = sqlite3_close(second) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK;
	return ok && unlink(path) == 0 ? FINE : 2;
}

static int
write_in_listed_directory(void)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/file", directory);
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) >= 0 ? ALLOWED : REFUSED;
}

static int
do_chmod(void)
{
	(void)syscall(SYS_fchmodat, AT_FDCWD, directory, 0777);
	return ALLOWED;
}

/* Tests. */

static void
nothing_but_the_allowed_calls_is_possible(void **state)
{
	(void)state;
	static deed_fn *const forbidden[] = {
	    do_execve,      do_fork,   do_ptrace,    do_kill,          do_connect, do_socket,
	    do_unix_socket, do_listen, do_mmap_exec, do_mprotect_exec, do_mount,   do_bpf_like_things,
	    do_raw_socket,
	};
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		is_killed(0, forbidden[i]);
	}
	is_fine(0, do_ordinary_work);
#ifdef COHUE_SANITIZED /* the sanitizers look at /proc: they get an error instead */
	const struct sandbox_profile p = profile_of(0);
	assert_int_equal(in_child(&p, do_open, NULL), REFUSED);
#else
	is_killed(0, do_open);
#endif
}

static void
a_role_that_accepts_may_not_connect(void **state)
{
	(void)state;
	static deed_fn *const forbidden[] = {do_execve, do_ptrace, do_connect, do_socket, do_mmap_exec};
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		is_killed(SANDBOX_NET_ACCEPT, forbidden[i]);
	}
	is_fine(SANDBOX_NET_ACCEPT, do_ordinary_work);
}

static void
a_listening_socket_cannot_be_made_to_connect(void **state)
{
	(void)state;
	static deed_fn *const deeds[] = {do_fast_open, do_fast_open_message};
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
		listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(listener >= 0);
		assert_int_equal(listen(listener, 1), 0);
		struct sandbox_profile p = profile_of(SANDBOX_NET_ACCEPT);
		p.fds = &listener;
		p.fd_count = 1;
		assert_int_equal(in_child(&p, deeds[i], NULL), KILLED);
		(void)close(listener);
	}
}

static void
a_role_that_connects_makes_internet_sockets_only(void **state)
{
	(void)state;
	is_fine(SANDBOX_NET_CONNECT, do_socket);
	is_killed(SANDBOX_NET_CONNECT, do_unix_socket);
	is_killed(SANDBOX_NET_CONNECT, do_raw_socket);
	is_killed(SANDBOX_NET_CONNECT, do_listen);
	is_killed(SANDBOX_NET_CONNECT, do_execve);
}

static void
a_role_with_a_disk_reaches_its_directory_and_no_more(void **state)
{
	(void)state;
	struct sandbox_profile p = profile_of(SANDBOX_DISK);
	p.paths[0] = (struct sandbox_path){.path = directory, .access = SANDBOX_READ_WRITE};
	p.path_count = 1;
	unsigned in_force = 0;
	assert_int_equal(in_child(&p, use_listed_directory, &in_force), FINE);
	assert_true((in_force & SANDBOX_IN_FORCE_SECCOMP) != 0);
	if ((in_force & SANDBOX_IN_FORCE_PATHS) != 0) {
		assert_int_equal(in_child(&p, do_open, NULL), REFUSED);
		p.paths[0].access = SANDBOX_READ;
		assert_int_equal(in_child(&p, write_in_listed_directory, NULL), REFUSED);
	} else {
		(void)printf("this kernel has no Landlock: paths are guarded by file permissions alone\n");
	}
	assert_int_equal(in_child(&p, do_socket, NULL), KILLED);
	assert_int_equal(in_child(&p, do_execve, NULL), KILLED);
	assert_int_equal(in_child(&p, do_chmod, NULL), KILLED);
}

static void
the_database_works_with_its_directory_alone(void **state)
{
	(void)state;
	struct sandbox_profile p = profile_of(SANDBOX_DISK);
	p.paths[0] = (struct sandbox_path){.path = directory, .access = SANDBOX_READ_WRITE};
	p.path_count = 1;
	assert_int_equal(in_child(&p, use_database, NULL), FINE);
	p.uid = 0; /* as root without its powers, where this is root */
	p.gid = 0;
	if (geteuid() == 0) {
		assert_int_equal(chown(directory, 0, 0), 0);
		assert_int_equal(in_child(&p, use_database, NULL), FINE);
		assert_int_equal(chown(directory, NO_USER, NO_USER), 0);
	}
}

static void
a_disk_without_paths_is_an_empty_one_where_the_kernel_allows(void **state)
{
	(void)state;
	const struct sandbox_profile p = profile_of(SANDBOX_DISK);
	unsigned in_force = 0;
	int result = in_child(&p, do_open, &in_force);
	if ((in_force & SANDBOX_IN_FORCE_PATHS) != 0) {
		assert_int_equal(result, REFUSED);
	}
	(void)printf("in force: seccomp %d, Landlock %d, empty root %d, user %d\n",
		     (in_force & SANDBOX_IN_FORCE_SECCOMP) != 0, (in_force & SANDBOX_IN_FORCE_LANDLOCK) != 0,
		     (in_force & SANDBOX_IN_FORCE_EMPTY_ROOT) != 0, (in_force & SANDBOX_IN_FORCE_USER) != 0);
	if (geteuid() == 0) {
		assert_true((in_force & SANDBOX_IN_FORCE_USER) != 0);
	}
}

static void
root_is_given_up(void **state)
{
	(void)state;
	is_fine(0, be_nobody);
	if (geteuid() == 0) {
		struct sandbox_profile p = profile_of(SANDBOX_DISK);
		p.empty_dir = directory;
		unsigned in_force = 0;
		assert_int_equal(in_child(&p, do_open, &in_force), REFUSED);
		assert_true((in_force & SANDBOX_IN_FORCE_EMPTY_ROOT) != 0);
		p.empty_dir = "/nowhere/at/all";
		assert_int_equal(in_child(&p, do_ordinary_work, NULL), FAILED_TO_ENTER);
	}
}

static void
other_descriptors_are_closed(void **state)
{
	(void)state;
	int a = dup(STDERR_FILENO);
	int b = fcntl(STDERR_FILENO, F_DUPFD, 200);
	assert_true(a >= 0 && b >= 200);
	is_fine(0, count_descriptors);
	(void)close(a);
	(void)close(b);
}

static void
abort_ends_by_its_own_signal_not_by_the_filter(void **state)
{
	(void)state;
	const struct sandbox_profile p = profile_of(0);
	assert_int_equal(in_child(&p, do_abort, NULL), 128 + SIGABRT);
}

static void
a_missing_path_is_reported_with_its_step(void **state)
{
	(void)state;
	struct sandbox_profile p = profile_of(SANDBOX_DISK);
	p.paths[0] = (struct sandbox_path){.path = "/nowhere/at/all", .access = SANDBOX_READ};
	p.path_count = 1;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const char *step = "";
		enum err e = sandbox_enter(&p, &step, NULL);
		_exit(e == ERR_NOT_FOUND && strcmp(step, "opening the listed paths") == 0 ? 0 : 1);
	}
	int status = -1;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int
run_all(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_but_the_allowed_calls_is_possible),
	    cmocka_unit_test(a_role_that_accepts_may_not_connect),
	    cmocka_unit_test(a_listening_socket_cannot_be_made_to_connect),
	    cmocka_unit_test(a_role_that_connects_makes_internet_sockets_only),
	    cmocka_unit_test(a_role_with_a_disk_reaches_its_directory_and_no_more),
	    cmocka_unit_test(the_database_works_with_its_directory_alone),
	    cmocka_unit_test(a_disk_without_paths_is_an_empty_one_where_the_kernel_allows),
	    cmocka_unit_test(root_is_given_up),
	    cmocka_unit_test(other_descriptors_are_closed),
	    cmocka_unit_test(abort_ends_by_its_own_signal_not_by_the_filter),
	    cmocka_unit_test(a_missing_path_is_reported_with_its_step),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	(void)snprintf(directory, sizeof(directory), "/tmp/cohue-sandbox-XXXXXX");
	if (mkdtemp(directory) == NULL) {
		return 1;
	}
	int failed = 0;
	if (geteuid() == 0) {
		if (chown(directory, NO_USER, NO_USER) != 0) {
			return 1;
		}
		(void)fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			if (setgroups(0, NULL) != 0 || setgid(NO_USER) != 0 || setuid(NO_USER) != 0 ||
			    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) {
				_exit(1);
			}
			int n = run_all();
			(void)fflush(stdout);
			_exit(n == 0 ? 0 : 1);
		}
		int status = -1;
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
			failed = 1;
		}
	}
	failed += run_all();
	(void)rmdir(directory);
	return failed;
}
