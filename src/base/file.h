/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_FILE_H
#define COHUE_BASE_FILE_H

#include <sys/types.h>

#include "base/bytes.h"

/* What a file is, is asked of the open descriptor: between a question about a path and its opening the file may be replaced. */
enum file_flags {
	FILE_NO_LINK = 1, /* the path's last part must not be a symbolic link: ERR_IO */
	FILE_OURS = 2,    /* must belong to this user or to root; root may read anybody's */
};

/*
 * Appends a whole file of at most ret->max bytes. `refused`: mode bits that it must not have (S_IROTH and the like).
 * ERR_AUTH: others may read or change it (such a bit, or its owner). ERR_FORMAT: not a regular file. ERR_LIMIT: too
 * large. Others as of open(2) and read(2). Nothing is appended on failure.
 */
COHUE_MUST_USE enum err file_read(const char *path, unsigned flags, mode_t refused, struct buf *ret);

/*
 * Puts a file in the place of folder/name, or there, whole and on disk, folder entry included, or leaves what was there. Who calls
 * is alone with the folder: folder/name.new is used meanwhile, and what an interrupted call left of it is deleted. As of open(2), write(2), rename(2); ERR_LIMIT for a
 * path that is too long.
 */
COHUE_MUST_USE enum err file_replace(const char *folder, const char *name, struct bytes data, mode_t mode);

#endif
