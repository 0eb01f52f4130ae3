/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"

static enum err
may_be_read(int fd, unsigned flags, mode_t refused)
{
	struct stat st;
	if (fstat(fd, &st) != 0) {
		return err_from_errno(errno);
	}
	if (!S_ISREG(st.st_mode)) {
		return ERR_FORMAT;
	}
	if ((st.st_mode & refused) != 0 ||
	    ((flags & FILE_OURS) != 0 && st.st_uid != 0 && geteuid() != 0 && st.st_uid != geteuid())) {
		return ERR_AUTH;
	}
	return ERR_OK;
}

enum err
file_read(const char *path, unsigned flags, mode_t refused, struct buf *ret)
{
	/* Not blocking: it may be a pipe. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
				((flags & FILE_NO_LINK) != 0 ? O_NOFOLLOW : 0));
	if (fd < 0) {
		return err_from_errno(errno);
	}
	size_t before = ret->len;
	uint8_t block[4096];
	ssize_t n = 0;
	enum err e = may_be_read(fd, flags, refused);
	while (e == ERR_OK && (n = read(fd, block, sizeof(block))) > 0) {
		e = buf_append(ret, bytes_of(block, (size_t)n));
	}
	if (e == ERR_OK && n < 0) {
		e = err_from_errno(errno);
	}
	if (e != ERR_OK && ret->len > before) {
		secret_wipe(ret->ptr + before, ret->len - before);
		buf_truncate(ret, before);
	}
	secret_wipe(block, sizeof(block));
	(void)close(fd);
	return e;
}
