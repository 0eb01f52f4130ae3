/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * void cohue_fiber_switch(void **from_sp, void *to_sp): saves what the calling
 * convention says a function must keep, on the old stack; takes it from the
 * new one. Signal masks and thread-local state stay as they are.
 *
 * This object carries no shadow-stack note on purpose: the linker then marks
 * the program as one that changes stacks by itself, and the kernel leaves
 * shadow stacks off.
 */

#if defined(__x86_64__)

	.text
	.globl cohue_fiber_switch
	.hidden cohue_fiber_switch
	.type cohue_fiber_switch, @function
	.p2align 4
cohue_fiber_switch:
	.cfi_startproc
	endbr64
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	subq $8, %rsp
	stmxcsr (%rsp)
	fnstcw 4(%rsp)
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	ldmxcsr (%rsp)
	fldcw 4(%rsp)
	addq $8, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.cfi_endproc
	.size cohue_fiber_switch, . - cohue_fiber_switch

	/* The outermost frame of a fiber: no return address, and the debugger's walk ends here. */
	.globl cohue_fiber_start
	.hidden cohue_fiber_start
	.type cohue_fiber_start, @function
	.p2align 4
cohue_fiber_start:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	xorl %ebp, %ebp
	andq $-16, %rsp
	callq *%r15
	ud2
	.cfi_endproc
	.size cohue_fiber_start, . - cohue_fiber_start

#elif defined(__aarch64__)

	.text
	.globl cohue_fiber_switch
	.hidden cohue_fiber_switch
	.type cohue_fiber_switch, %function
	.p2align 4
cohue_fiber_switch:
	.cfi_startproc
	hint #34 /* bti c */
	sub sp, sp, #160
	stp d8, d9, [sp, #0]
	stp d10, d11, [sp, #16]
	stp d12, d13, [sp, #32]
	stp d14, d15, [sp, #48]
	stp x19, x20, [sp, #64]
	stp x21, x22, [sp, #80]
	stp x23, x24, [sp, #96]
	stp x25, x26, [sp, #112]
	stp x27, x28, [sp, #128]
	stp x29, x30, [sp, #144]
	mov x9, sp
	str x9, [x0]
	mov sp, x1
	ldp d8, d9, [sp, #0]
	ldp d10, d11, [sp, #16]
	ldp d12, d13, [sp, #32]
	ldp d14, d15, [sp, #48]
	ldp x19, x20, [sp, #64]
	ldp x21, x22, [sp, #80]
	ldp x23, x24, [sp, #96]
	ldp x25, x26, [sp, #112]
	ldp x27, x28, [sp, #128]
	ldp x29, x30, [sp, #144]
	add sp, sp, #160
	ret
	.cfi_endproc
	.size cohue_fiber_switch, . - cohue_fiber_switch

	.globl cohue_fiber_start
	.hidden cohue_fiber_start
	.type cohue_fiber_start, %function
	.p2align 4
cohue_fiber_start:
	.cfi_startproc
	.cfi_undefined x30
	hint #36 /* bti j */
	mov x29, #0
	mov x30, #0
	blr x19
	brk #1
	.cfi_endproc
	.size cohue_fiber_start, . - cohue_fiber_start

#endif

	.section .note.GNU-stack, "", %progbits
