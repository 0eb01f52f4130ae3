/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/sandbox_internal.h"

/*
 * The list of what is allowed; all else ends the process. Names that this
 * architecture does not have are skipped by libseccomp (the legacy calls of
 * x86_64 do not exist on aarch64).
 */

#define CALL(name) SCMP_SYS(name)
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Descriptors one has, memory, waiting, time, randomness, signals to oneself, the end. */
static const int base_calls[] = {
    CALL(read),         CALL(readv),           CALL(write),        CALL(writev),
    CALL(close),        CALL(close_range),     CALL(dup),          CALL(dup3),
    CALL(fstat),        CALL(lseek),           CALL(recvmsg),      CALL(recvfrom),
    CALL(shutdown),     CALL(epoll_create1),   CALL(epoll_ctl),    CALL(epoll_wait),
    CALL(epoll_pwait),  CALL(epoll_pwait2),    CALL(poll),         CALL(ppoll),
    CALL(select),       CALL(pselect6),        CALL(eventfd2),     CALL(futex),
    CALL(munmap),       CALL(mremap),          CALL(madvise),      CALL(mincore),
    CALL(mlock),        CALL(munlock),         CALL(brk),          CALL(clock_gettime),
    CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep),    CALL(gettimeofday),
    CALL(time),         CALL(getrandom),       CALL(exit),         CALL(exit_group),
    CALL(rt_sigaction), CALL(rt_sigprocmask),  CALL(rt_sigreturn), CALL(rt_sigpending),
    CALL(sigaltstack),  CALL(restart_syscall), CALL(getpid),       CALL(gettid),
    CALL(getppid),      CALL(getuid),          CALL(geteuid),      CALL(getgid),
    CALL(getegid),      CALL(getrusage),       CALL(sched_yield),  CALL(sched_getaffinity),
    CALL(sysinfo),      CALL(uname),           CALL(membarrier),   CALL(set_robust_list),
    CALL(rseq),         CALL(getcpu),
};

/* fcntl on one's own descriptors; locks come with SANDBOX_DISK. */
static const int base_fcntl[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};

static const int accept_calls[] = {
    CALL(accept4), CALL(accept), CALL(getsockopt), CALL(setsockopt), CALL(getpeername), CALL(getsockname),
};

static const int connect_calls[] = {CALL(connect), CALL(bind), CALL(sendmmsg), CALL(recvmmsg)};

/* As SQLite in WAL mode was seen to use, and their newer and older forms. No mkdir, link, chown, mount. */
static const int disk_calls[] = {
    CALL(openat),     CALL(open),      CALL(newfstatat), CALL(stat),      CALL(lstat),
    CALL(statx),      CALL(fstatfs),   CALL(statfs),     CALL(pread64),   CALL(pwrite64),
    CALL(preadv),     CALL(pwritev),   CALL(fsync),      CALL(fdatasync), CALL(sync_file_range),
    CALL(ftruncate),  CALL(fallocate), CALL(unlink),     CALL(unlinkat),  CALL(rename),
    CALL(renameat),   CALL(renameat2), CALL(access),     CALL(faccessat), CALL(faccessat2),
    CALL(getcwd),     CALL(readlink),  CALL(readlinkat), CALL(fchmod),    CALL(flock),
    CALL(getdents64), CALL(umask),     CALL(fadvise64),  CALL(msync),
};

static const int disk_fcntl[] = {F_SETLK, F_SETLKW, F_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_OFD_GETLK};

static const int thread_calls[] = {
    CALL(pipe2), CALL(set_tid_address), CALL(sched_getparam), CALL(sched_getscheduler), CALL(socketpair),
};

struct filter {
	scmp_filter_ctx ctx;
	int error; /* sticky */
};

static void
allow_list(struct filter *f, const int *calls, size_t n)
{
	for (size_t i = 0; i < n && f->error == 0; i++) {
		f->error = seccomp_rule_add(f->ctx, SCMP_ACT_ALLOW, calls[i], 0);
	}
}

static void
allow_if(struct filter *f, int call, unsigned n, const struct scmp_arg_cmp *conditions)
{
	if (f->error == 0) {
		f->error = seccomp_rule_add_array(f->ctx, SCMP_ACT_ALLOW, call, n, conditions);
	}
}

static void
refuse(struct filter *f, int call, int errnum)
{
	if (f->error == 0) {
		f->error = seccomp_rule_add(f->ctx, SCMP_ACT_ERRNO((unsigned)errnum), call, 0);
	}
}

static struct scmp_arg_cmp
is(unsigned arg, uint64_t value)
{
	return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_EQ, .datum_a = value};
}

static struct scmp_arg_cmp
masked(unsigned arg, uint64_t mask, uint64_t value)
{
	return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

static void
allow_fcntl(struct filter *f, const int *commands, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* Only the low half of the register counts for the kernel. */
		const struct scmp_arg_cmp c = masked(1, UINT32_MAX, (uint32_t)commands[i]);
		allow_if(f, CALL(fcntl), 1, &c);
	}
}

static void
allow_base(struct filter *f, unsigned allow)
{
	allow_list(f, base_calls, COUNT(base_calls));
	allow_fcntl(f, base_fcntl, COUNT(base_fcntl));
	/* Memory never becomes executable. */
	const struct scmp_arg_cmp no_exec = masked(2, PROT_EXEC, 0);
	allow_if(f, CALL(mmap), 1, &no_exec);
	allow_if(f, CALL(mprotect), 1, &no_exec);
	/* abort(3) and raise(3): signals to this very process. */
	const struct scmp_arg_cmp self = is(0, (uint64_t)getpid());
	allow_if(f, CALL(tgkill), 1, &self);
	if ((allow & SANDBOX_NET_CONNECT) != 0) {
		const int sending[] = {CALL(sendmsg), CALL(sendto)};
		allow_list(f, sending, COUNT(sending));
	} else {
		/* Sending opens no connection: a listening socket, once shut down, could else be made to reach out. */
		const struct scmp_arg_cmp message = masked(2, MSG_FASTOPEN, 0);
		allow_if(f, CALL(sendmsg), 1, &message);
		const struct scmp_arg_cmp to_peer[] = {masked(3, MSG_FASTOPEN, 0), is(4, 0)};
		allow_if(f, CALL(sendto), 2, to_peer);
	}
	/* Asking for a limit, never setting one. */
	const struct scmp_arg_cmp ask[] = {is(0, 0), is(2, 0)};
	allow_if(f, CALL(prlimit64), 2, ask);
	if ((allow & (SANDBOX_NET_ACCEPT | SANDBOX_NET_CONNECT)) == 0) {
		/* Streams over socket pairs ask for this like all others; it does nothing there. */
		const struct scmp_arg_cmp nodelay[] = {is(1, IPPROTO_TCP), is(2, TCP_NODELAY)};
		allow_if(f, CALL(setsockopt), 2, nodelay);
		const struct scmp_arg_cmp error[] = {is(1, SOL_SOCKET), is(2, SO_ERROR)};
		allow_if(f, CALL(getsockopt), 2, error);
	}
	/* isatty(3) within standard I/O: an answer, not an end. */
	refuse(f, CALL(ioctl), ENOTTY);
	/*
	 * The C library's fstat(3), also within standard I/O, is this call with an empty path: what path it is
	 * the filter cannot see, and Landlock does not guard it, so it fails where there is no disk.
	 */
	if ((allow & SANDBOX_DISK) == 0) {
		refuse(f, CALL(newfstatat), EPERM);
	}
#ifdef COHUE_SANITIZED
	/* What the sanitizers' run-time library does besides: looks at /proc (and may fail), names its mappings. */
	if ((allow & SANDBOX_DISK) == 0) {
		refuse(f, CALL(openat), EPERM);
		refuse(f, CALL(open), EPERM);
		refuse(f, CALL(readlink), EPERM);
		refuse(f, CALL(readlinkat), EPERM);
	}
	refuse(f, CALL(prctl), EPERM);
#endif
}

static void
allow_connect(struct filter *f)
{
	allow_list(f, connect_calls, COUNT(connect_calls));
	static const int families[] = {AF_INET, AF_INET6};
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	for (size_t i = 0; i < COUNT(families); i++) {
		for (size_t j = 0; j < COUNT(types); j++) {
			const struct scmp_arg_cmp c[] = {
			    is(0, (uint64_t)families[i]),
			    masked(1, ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK), (uint64_t)types[j]),
			};
			allow_if(f, CALL(socket), 2, c);
		}
	}
}

enum err
sandbox_seccomp(unsigned allow)
{
	struct filter f = {.ctx = seccomp_init(SCMP_ACT_KILL_PROCESS), .error = 0};
	if (f.ctx == NULL) {
		return ERR_MEMORY;
	}
	f.error = seccomp_attr_set(f.ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (f.error == 0) {
		f.error = seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	}
	if (f.error == 0) {
		f.error = seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree instead of a list */
	}
	allow_base(&f, allow);
	if ((allow & (SANDBOX_NET_ACCEPT | SANDBOX_NET_CONNECT)) != 0) {
		allow_list(&f, accept_calls, COUNT(accept_calls));
	}
	if ((allow & SANDBOX_NET_CONNECT) != 0) {
		allow_connect(&f);
	}
	if ((allow & SANDBOX_DISK) != 0) {
		allow_list(&f, disk_calls, COUNT(disk_calls));
		allow_fcntl(&f, disk_fcntl, COUNT(disk_fcntl));
		/* SQLite gives its files the database's owner when it runs as root, and does without. */
		refuse(&f, CALL(fchown), EPERM);
	}
	if ((allow & SANDBOX_THREADS) != 0) {
		allow_list(&f, thread_calls, COUNT(thread_calls));
		/* A thread of this process; clone3 hides its flags in memory, so the C library is made to fall back. */
		const struct scmp_arg_cmp thread =
		    masked(0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM);
		allow_if(&f, CALL(clone), 1, &thread);
		refuse(&f, CALL(clone3), ENOSYS);
	}
	if (f.error == 0) {
		f.error = seccomp_load(f.ctx);
	}
	seccomp_release(f.ctx);
	return f.error == 0 ? ERR_OK : f.error == -ENOMEM ? ERR_MEMORY : ERR_DENIED;
}
