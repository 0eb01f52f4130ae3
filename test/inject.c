/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * inject PID CALL [ARG]...: makes a running process perform one system call
 * with integer arguments, and says what the kernel made of it. With it the
 * system tests prove each role's sandbox on the shipped binary. Needs root.
 *
 * CALL is a number or one of the names below. Output and exit status:
 *   "returned N"            0
 *   "errno N"               0   (allowed by the filter, failed by itself)
 *   "killed by signal N"    3   (31 is SIGSYS: the filter)
 *   a message on stderr     1
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 6, STOPS_MAX = 100 };

static const struct {
	const char *name;
	long number;
} names[] = {
    {"openat", SYS_openat},   {"execve", SYS_execve},     {"socket", SYS_socket},
    {"connect", SYS_connect}, {"bind", SYS_bind},         {"listen", SYS_listen},
    {"ptrace", SYS_ptrace},   {"mmap", SYS_mmap},         {"clone", SYS_clone},
    {"kill", SYS_kill},       {"mount", SYS_mount},       {"setuid", SYS_setuid},
    {"unshare", SYS_unshare}, {"mprotect", SYS_mprotect}, {"getpid", SYS_getpid},
    {"accept4", SYS_accept4}, {"unlinkat", SYS_unlinkat}, {"process_vm_readv", SYS_process_vm_readv},
};

#if defined(__x86_64__)
typedef struct user_regs_struct registers;
static const uint64_t instruction = 0x050f; /* syscall */
static const uint64_t instruction_mask = 0xffff;

static uint64_t
where(const registers *r)
{
	return r->rip;
}

static void
prepare(registers *r, uint64_t at, long call, const uint64_t args[ARGS_MAX])
{
	r->rip = at;
	r->orig_rax = UINT64_MAX; /* not within a call: nothing to restart */
	r->rax = (uint64_t)call;
	r->rdi = args[0];
	r->rsi = args[1];
	r->rdx = args[2];
	r->r10 = args[3];
	r->r8 = args[4];
	r->r9 = args[5];
}

static int64_t
result_of(const registers *r)
{
	return (int64_t)r->rax;
}
#elif defined(__aarch64__)
typedef struct user_pt_regs registers;
static const uint64_t instruction = 0xd4000001; /* svc #0 */
static const uint64_t instruction_mask = 0xffffffff;

static uint64_t
where(const registers *r)
{
	return r->pc;
}

static void
prepare(registers *r, uint64_t at, long call, const uint64_t args[ARGS_MAX])
{
	r->pc = at;
	r->regs[8] = (uint64_t)call;
	memcpy(r->regs, args, ARGS_MAX * sizeof(args[0]));
}

static int64_t
result_of(const registers *r)
{
	return (int64_t)r->regs[0];
}
#else
#error "inject knows x86_64 and aarch64"
#endif

static int
give_up(const char *what)
{
	(void)fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	return 1;
}

static long
get_registers(pid_t pid, registers *r)
{
	struct iovec v = {.iov_base = r, .iov_len = sizeof(*r)};
	return ptrace(PTRACE_GETREGSET, pid, (void *)(uintptr_t)NT_PRSTATUS, &v);
}

static long
set_registers(pid_t pid, registers *r)
{
	struct iovec v = {.iov_base = r, .iov_len = sizeof(*r)};
	return ptrace(PTRACE_SETREGSET, pid, (void *)(uintptr_t)NT_PRSTATUS, &v);
}

/* Goes on to the next stop at a call's begin or end. 0, -1, or the signal that killed it. */
static int
to_call(pid_t pid)
{
	long signal_number = 0;
	for (int i = 0; i < STOPS_MAX; i++) {
		int status = 0;
		if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)signal_number) != 0 ||
		    waitpid(pid, &status, __WALL) != pid) {
			return -1;
		}
		if (WIFSIGNALED(status)) {
			return WTERMSIG(status);
		}
		if (!WIFSTOPPED(status)) {
			return -1;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			return 0;
		}
		signal_number = status >> 16 != 0 ? 0 : WSTOPSIG(status);
	}
	return -1;
}

static int
inject(pid_t pid, long call, const uint64_t args[ARGS_MAX])
{
	int status = 0;
	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(uintptr_t)PTRACE_O_TRACESYSGOOD) != 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0 || waitpid(pid, &status, __WALL) != pid ||
	    !WIFSTOPPED(status)) {
		return give_up("attach");
	}
	registers before;
	registers during;
	if (get_registers(pid, &before) != 0) {
		return give_up("registers");
	}
	uint64_t at = where(&before) & ~(uint64_t)7;
	errno = 0;
	uint64_t code = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, (void *)(uintptr_t)at, NULL);
	if (errno != 0 || ptrace(PTRACE_POKETEXT, pid, (void *)(uintptr_t)at,
				 (void *)(uintptr_t)((code & ~instruction_mask) | instruction)) != 0) {
		return give_up("text");
	}
	during = before;
	prepare(&during, at, call, args);
#if defined(__aarch64__)
	int none = -1;
	struct iovec v = {.iov_base = &none, .iov_len = sizeof(none)};
	(void)ptrace(PTRACE_SETREGSET, pid, (void *)(uintptr_t)NT_ARM_SYSTEM_CALL, &v);
#endif
	if (set_registers(pid, &during) != 0) {
		return give_up("registers");
	}
	int end = to_call(pid);
	end = end == 0 ? to_call(pid) : end;
	if (end < 0 || (end == 0 && get_registers(pid, &during) != 0)) {
		return give_up("the call");
	}
	/* The filter's signal may still be on its way at the call's end: a second, harmless call shows. */
	static const uint64_t no_args[ARGS_MAX] = {0};
	registers again = before;
	prepare(&again, at, SYS_getpid, no_args);
	if (end == 0 && set_registers(pid, &again) != 0) {
		return give_up("registers");
	}
	end = end == 0 ? to_call(pid) : end;
	end = end == 0 ? to_call(pid) : end;
	if (end > 0) {
		(void)printf("killed by signal %d\n", end);
		return 3;
	}
	if (end < 0) {
		return give_up("the call's end");
	}
	int64_t result = result_of(&during);
	if (ptrace(PTRACE_POKETEXT, pid, (void *)(uintptr_t)at, (void *)(uintptr_t)code) != 0 ||
	    set_registers(pid, &before) != 0 || ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0) {
		return give_up("detach");
	}
	if (result < 0 && result > -4096) {
		(void)printf("errno %lld\n", (long long)-result);
	} else {
		(void)printf("returned %lld\n", (long long)result);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	uint64_t args[ARGS_MAX] = {0};
	if (argc < 3 || argc > 3 + ARGS_MAX) {
		(void)fprintf(stderr, "usage: inject PID CALL [ARG]...\n");
		return 1;
	}
	char *end = NULL;
	long pid = strtol(argv[1], &end, 10);
	long call = strtol(argv[2], &end, 10);
	if (*end != 0) {
		call = -1;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			call = strcmp(names[i].name, argv[2]) == 0 ? names[i].number : call;
		}
	}
	if (pid <= 0 || call < 0) {
		(void)fprintf(stderr, "inject: no such process number or call\n");
		return 1;
	}
	for (int i = 3; i < argc; i++) {
		args[i - 3] = (uint64_t)strtoll(argv[i], NULL, 0);
	}
	return inject((pid_t)pid, call, args);
}
