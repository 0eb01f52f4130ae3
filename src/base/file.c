/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
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

static enum err
write_new(const char *path, struct bytes data, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	enum err e = fd < 0 ? err_from_errno(errno) : ERR_OK;
	while (e == ERR_OK && data.len > 0) {
		ssize_t n = write(fd, data.ptr, data.len);
		if (n > 0) {
			data = bytes_from(data, (size_t)n);
		} else if (n == 0 || errno != EINTR) {
			e = n == 0 ? ERR_IO : err_from_errno(errno);
		}
	}
	if (e == ERR_OK && fsync(fd) != 0) {
		e = err_from_errno(errno);
	}
	if (fd >= 0) {
		(void)close(fd);
	}
	return e;
}

enum err
file_replace(const char *folder, const char *name, struct bytes data, mode_t mode)
{
	char path[PATH_MAX];
	char fresh[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
	int k = snprintf(fresh, sizeof(fresh), "%s/%s.new", folder, name);
	if (n < 0 || k < 0 || (size_t)n >= sizeof(path) || (size_t)k >= sizeof(fresh)) {
		return ERR_LIMIT;
	}
	(void)unlink(fresh);
	enum err e = write_new(fresh, data, mode);
	if (e == ERR_OK && rename(fresh, path) != 0) {
		e = err_from_errno(errno);
	}
	if (e != ERR_OK) {
		(void)unlink(fresh);
		return e;
	}
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	e = dir < 0 || fsync(dir) != 0 ? err_from_errno(errno) : ERR_OK;
	if (dir >= 0) {
		(void)close(dir);
	}
	return e;
}
