/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_ERROR_H
#define COHUE_BASE_ERROR_H

/*
 * The one list of errors. Libraries return them and never log; a role logs
 * once, with nothing of a member in the text. Functions that can fail are
 * marked COHUE_MUST_USE, and leave their ret_ outputs untouched on failure.
 */

#define COHUE_MUST_USE __attribute__((warn_unused_result))
#define COHUE_NORETURN __attribute__((noreturn))
#define COHUE_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define COHUE_UNUSED __attribute__((unused))

enum err {
	ERR_OK = 0,
	ERR_MEMORY,      /* allocation failed: always a temporary failure to the peer */
	ERR_LIMIT,       /* a stated maximum would be passed */
	ERR_FORMAT,      /* bytes are not of the expected form */
	ERR_AUTH,        /* a MAC, tag, signature or password does not fit */
	ERR_NOT_FOUND,   /* no such thing */
	ERR_EXISTS,      /* there is one already */
	ERR_CONFLICT,    /* the expected head or version is not the present one: fold and try again */
	ERR_QUOTA,       /* a member's quota would be passed */
	ERR_AGAIN,       /* would block, or busy: try later */
	ERR_IO,          /* the kernel or disk reported an error */
	ERR_FULL,        /* the disk is full */
	ERR_CLOSED,      /* the peer has gone */
	ERR_TIMEOUT,     /* the deadline passed */
	ERR_DENIED,      /* the policy does not allow it */
	ERR_UNSUPPORTED, /* a version or feature that this program does not know */
	ERR_STATE,       /* not in this state */
	ERR_DAMAGED,     /* stored data does not verify */
	ERR__COUNT
};

/* A short English name ("no space left"), static, never NULL. */
const char *err_text(enum err e);

/* Maps an errno value to the nearest error; ENOSPC and EDQUOT give ERR_FULL. */
enum err err_from_errno(int errnum);

/* Ends the process at once, with a fixed message on standard error: for what cannot happen. */
COHUE_NORETURN void panic(const char *what);

#endif
