/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[ERR__COUNT] = {
    [ERR_OK] = "no error",
    [ERR_MEMORY] = "out of memory",
    [ERR_LIMIT] = "a limit would be passed",
    [ERR_FORMAT] = "malformed data",
    [ERR_AUTH] = "authentication failed",
    [ERR_NOT_FOUND] = "not found",
    [ERR_EXISTS] = "exists already",
    [ERR_CONFLICT] = "changed meanwhile",
    [ERR_QUOTA] = "over quota",
    [ERR_AGAIN] = "try again later",
    [ERR_IO] = "input/output error",
    [ERR_FULL] = "no space left",
    [ERR_CLOSED] = "closed by the peer",
    [ERR_TIMEOUT] = "timed out",
    [ERR_DENIED] = "not allowed",
    [ERR_UNSUPPORTED] = "not supported",
    [ERR_STATE] = "not in this state",
    [ERR_DAMAGED] = "stored data is damaged",
};

const char *
err_text(enum err e)
{
	if ((unsigned)e >= ERR__COUNT || names[e] == NULL) {
		return "unknown error";
	}
	return names[e];
}

enum err
err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return ERR_OK;
	case ENOMEM:
		return ERR_MEMORY;
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	case EAGAIN:
	case EINTR:
		return ERR_AGAIN;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return ERR_CLOSED;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	default:
		return ERR_IO;
	}
}

void
panic(const char *what)
{
	static const char head[] = "cohue: fatal: ";
	ssize_t ignored = write(STDERR_FILENO, head, sizeof(head) - 1);
	ignored = write(STDERR_FILENO, what, strlen(what));
	ignored = write(STDERR_FILENO, "\n", 1);
	(void)ignored;
	abort();
}
