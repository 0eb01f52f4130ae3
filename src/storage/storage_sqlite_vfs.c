/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "storage/storage_sqlite_vfs.h"

#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* 30 pages with their headers. SQLite's own VFS cannot write 128 KiB or more at once: it takes the length modulo that. */
enum { HELD_MAX = 30 * (24 + 4096) };

struct log_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
	uint8_t *held;      /* HELD_MAX bytes, for the life of the file; NULL: all is passed on at once */
	int held_len;       /* not yet given to the real file */
	sqlite3_int64 held_from; /* where they belong */
};

static const char vfs_name[] = "cohue";
static sqlite3_vfs vfs;
static sqlite3_vfs *real_vfs;

static struct log_file *
log_of(sqlite3_file *file)
{
	return (struct log_file *)(void *)file;
}

static int
write_held(struct log_file *f)
{
	int len = f->held_len;
	f->held_len = 0;
	return len == 0 ? SQLITE_OK : f->real->pMethods->xWrite(f->real, f->held, len, f->held_from);
}

static int
log_close(sqlite3_file *file)
{
	struct log_file *f = log_of(file);
	int written = write_held(f);
	int closed = f->real->pMethods->xClose(f->real);
	free(f->held);
	f->held = NULL;
	return written == SQLITE_OK ? closed : written;
}

static int
log_read(sqlite3_file *file, void *to, int len, sqlite3_int64 offset)
{
	struct log_file *f = log_of(file);
	sqlite3_int64 end = offset + len;
	sqlite3_int64 held_end = f->held_from + f->held_len;
	sqlite3_int64 from = offset > f->held_from ? offset : f->held_from;
	sqlite3_int64 until = end < held_end ? end : held_end;
	if (from >= until) {
		return f->real->pMethods->xRead(f->real, to, len, offset);
	}
	int rc = SQLITE_OK;
	if (from > offset || until < end) {
		/* A short read leaves zeros, also where held bytes come to stand. */
		rc = f->real->pMethods->xRead(f->real, to, len, offset);
		rc = rc == SQLITE_IOERR_SHORT_READ && until == end ? SQLITE_OK : rc;
		if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ) {
			return rc;
		}
	}
	memcpy((uint8_t *)to + (from - offset), f->held + (from - f->held_from), (size_t)(until - from));
	return rc;
}

static int
log_write(sqlite3_file *file, const void *from, int len, sqlite3_int64 offset)
{
	struct log_file *f = log_of(file);
	if (f->held_len > 0 && (offset != f->held_from + f->held_len || len > HELD_MAX - f->held_len)) {
		int rc = write_held(f);
		if (rc != SQLITE_OK) {
			return rc;
		}
	}
	if (f->held == NULL || len > HELD_MAX) {
		return f->real->pMethods->xWrite(f->real, from, len, offset);
	}
	if (f->held_len == 0) {
		f->held_from = offset;
	}
	memcpy(f->held + f->held_len, from, (size_t)len);
	f->held_len += len;
	return SQLITE_OK;
}

static int
log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct log_file *f = log_of(file);
	int rc = write_held(f);
	return rc == SQLITE_OK ? f->real->pMethods->xTruncate(f->real, size) : rc;
}

static int
log_sync(sqlite3_file *file, int flags)
{
	struct log_file *f = log_of(file);
	int rc = write_held(f);
	return rc == SQLITE_OK ? f->real->pMethods->xSync(f->real, flags) : rc;
}

static int
log_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	struct log_file *f = log_of(file);
	int rc = f->real->pMethods->xFileSize(f->real, ret);
	if (rc == SQLITE_OK && f->held_len > 0 && *ret < f->held_from + f->held_len) {
		*ret = f->held_from + f->held_len;
	}
	return rc;
}

static int
log_lock(sqlite3_file *file, int level)
{
	return log_of(file)->real->pMethods->xLock(log_of(file)->real, level);
}

static int
log_unlock(sqlite3_file *file, int level)
{
	return log_of(file)->real->pMethods->xUnlock(log_of(file)->real, level);
}

static int
log_reserved(sqlite3_file *file, int *ret)
{
	return log_of(file)->real->pMethods->xCheckReservedLock(log_of(file)->real, ret);
}

static int
log_control(sqlite3_file *file, int op, void *arg)
{
	return log_of(file)->real->pMethods->xFileControl(log_of(file)->real, op, arg);
}

static int
log_sector(sqlite3_file *file)
{
	return log_of(file)->real->pMethods->xSectorSize(log_of(file)->real);
}

static int
log_characteristics(sqlite3_file *file)
{
	return log_of(file)->real->pMethods->xDeviceCharacteristics(log_of(file)->real);
}

/* Version 1: the log is neither mapped nor locked by pages. */
static const sqlite3_io_methods log_methods = {
    .iVersion = 1,
    .xClose = log_close,
    .xRead = log_read,
    .xWrite = log_write,
    .xTruncate = log_truncate,
    .xSync = log_sync,
    .xFileSize = log_size,
    .xLock = log_lock,
    .xUnlock = log_unlock,
    .xCheckReservedLock = log_reserved,
    .xFileControl = log_control,
    .xSectorSize = log_sector,
    .xDeviceCharacteristics = log_characteristics,
};

static int
vfs_open(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	(void)self;
	if ((flags & SQLITE_OPEN_WAL) == 0) {
		/* The database itself goes by the real VFS alone. */
		return real_vfs->xOpen(real_vfs, name, file, flags, ret_flags);
	}
	struct log_file *f = log_of(file);
	memset(f, 0, sizeof(*f));
	f->real = (sqlite3_file *)(void *)(f + 1);
	int rc = real_vfs->xOpen(real_vfs, name, f->real, flags, ret_flags);
	if (rc == SQLITE_OK &&
	    (f->real->pMethods->xDeviceCharacteristics(f->real) & SQLITE_IOCAP_POWERSAFE_OVERWRITE) != 0) {
		f->held = malloc(HELD_MAX);
		rc = f->held == NULL ? SQLITE_NOMEM : SQLITE_OK;
	}
	if (rc == SQLITE_OK) {
		f->base.pMethods = &log_methods;
	} else if (f->real->pMethods != NULL) {
		(void)f->real->pMethods->xClose(f->real);
	}
	return rc;
}

const char *
sq_vfs_name(void)
{
	if (real_vfs == NULL) {
		/* Also finds what a test made the default. */
		sqlite3_vfs *real = sqlite3_vfs_find(NULL);
		if (real == NULL) {
			return NULL;
		}
		vfs = *real;
		vfs.zName = vfs_name;
		vfs.szOsFile = (int)sizeof(struct log_file) + real->szOsFile;
		vfs.xOpen = vfs_open;
		vfs.pNext = NULL;
		if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK) {
			return NULL;
		}
		real_vfs = real;
	}
	return vfs_name;
}
