/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_FIBER_H
#define COHUE_LOOP_FIBER_H

#include <stddef.h>

/*
 * Changing stacks, and nothing else: task.c is its only user. x86_64 and
 * aarch64 have their own few instructions (ucontext makes two system calls
 * each time, for a signal mask that never changes); others use ucontext.
 */

#if defined(__x86_64__) || defined(__aarch64__)
#define COHUE_FIBER_NATIVE 1
#else
#define COHUE_FIBER_NATIVE 0
#include <ucontext.h>
#endif

struct fiber {
#if COHUE_FIBER_NATIVE
	void *sp; /* the saved registers lie on the stack */
#else
	ucontext_t context;
#endif
};

/* The first switch to it calls fn() on this stack. fn never returns. */
void fiber_make(struct fiber *f, void *stack, size_t stack_bytes, void (*fn)(void));
/* Saves the present state in `from` and goes on in `to`. */
void fiber_switch(struct fiber *from, struct fiber *to);

#endif
