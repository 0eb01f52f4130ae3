/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/fiber.h"

#include <stdint.h>
#include <string.h>

#include "base/error.h"

#if COHUE_FIBER_NATIVE

/* In fiber_switch.S: pushes the callee-saved registers, changes the stack pointer, pops them. */
void cohue_fiber_switch(void **from_sp, void *to_sp);
void cohue_fiber_start(void);

void
fiber_switch(struct fiber *from, struct fiber *to)
{
	cohue_fiber_switch(&from->sp, to->sp);
}

#if defined(__x86_64__)

/* As cohue_fiber_switch pushes: MXCSR and x87 control word, r15, r14, r13, r12, rbx, rbp, return address. */
void
fiber_make(struct fiber *f, void *stack, size_t stack_bytes, void (*fn)(void))
{
	uintptr_t top = ((uintptr_t)stack + stack_bytes) & ~(uintptr_t)15;
	uint64_t *sp = (uint64_t *)(top - 10 * sizeof(uint64_t)); /* 9 used; keeps 16-byte alignment */
	memset(sp, 0, 10 * sizeof(uint64_t));
	uint32_t mxcsr;
	uint16_t x87;
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(x87));
	sp[0] = (uint64_t)mxcsr | ((uint64_t)x87 << 32);
	sp[1] = (uint64_t)(uintptr_t)fn; /* r15, called by cohue_fiber_start */
	sp[7] = (uint64_t)(uintptr_t)cohue_fiber_start;
	f->sp = sp;
}

#else

/* As cohue_fiber_switch stores: d8..d15, x19..x30. */
void
fiber_make(struct fiber *f, void *stack, size_t stack_bytes, void (*fn)(void))
{
	uintptr_t top = ((uintptr_t)stack + stack_bytes) & ~(uintptr_t)15;
	uint64_t *sp = (uint64_t *)(top - 20 * sizeof(uint64_t));
	memset(sp, 0, 20 * sizeof(uint64_t));
	sp[8] = (uint64_t)(uintptr_t)fn;                 /* x19, called by cohue_fiber_start */
	sp[19] = (uint64_t)(uintptr_t)cohue_fiber_start; /* x30 */
	f->sp = sp;
}

#endif

#else

void
fiber_make(struct fiber *f, void *stack, size_t stack_bytes, void (*fn)(void))
{
	if (getcontext(&f->context) != 0) {
		panic("getcontext failed");
	}
	f->context.uc_stack.ss_sp = stack;
	f->context.uc_stack.ss_size = stack_bytes;
	f->context.uc_link = NULL;
	makecontext(&f->context, fn, 0);
}

void
fiber_switch(struct fiber *from, struct fiber *to)
{
	if (swapcontext(&from->context, &to->context) != 0) {
		panic("swapcontext failed");
	}
}

#endif
