/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "storage/storage_shim.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNSYNCED_MAX = 100000 };

/* What stood there before a write or truncation that is not yet synced. */
struct unsynced {
	sqlite3_file *file; /* NULL: synced since */
	sqlite3_int64 offset;
	uint8_t *old;
	int len;
};

struct shim_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs shim;
static sqlite3_vfs *real_vfs;
static bool safe_overwrites = true;
static enum shim_fault armed;
static unsigned long events;
static unsigned long at_event;
static uint32_t coin_state;
static struct unsynced unsynced[UNSYNCED_MAX];
static size_t unsynced_count;

static sqlite3_file *
real_of(sqlite3_file *file)
{
	return ((struct shim_file *)(void *)file)->real;
}

static bool
coin(void)
{
	coin_state ^= coin_state << 13;
	coin_state ^= coin_state >> 17;
	coin_state ^= coin_state << 5;
	return (coin_state & 8) != 0;
}

static void
remember(sqlite3_file *file, sqlite3_int64 offset, int len)
{
	if (armed != SHIM_POWER_CUT || unsynced_count == UNSYNCED_MAX || len <= 0) {
		return;
	}
	uint8_t *old = calloc(1, (size_t)len);
	if (old == NULL) {
		abort();
	}
	/* A short read past the end leaves zeros. */
	(void)file->pMethods->xRead(file, old, len, offset);
	unsynced[unsynced_count++] =
	    (struct unsynced){.file = file, .offset = offset, .old = old, .len = len};
}

static void
forget(const sqlite3_file *file)
{
	for (size_t i = 0; i < unsynced_count; i++) {
		if (unsynced[i].file == file) {
			unsynced[i].file = NULL;
		}
	}
}

static void
cut_power(void)
{
	for (size_t i = unsynced_count; i > 0; i--) {
		const struct unsynced *u = &unsynced[i - 1];
		if (u->file == NULL || coin()) {
			continue;
		}
		/* Sometimes only whole sectors of it reached the disk. */
		int keep =
		    coin() && u->len > 512 ? 512 * (1 + (int)(coin_state % (unsigned)(u->len / 512))) : 0;
		if (keep < u->len) {
			(void)u->file->pMethods->xWrite(u->file, u->old + keep, u->len - keep,
							u->offset + keep);
		}
	}
}

/* SQLITE_OK, or the error that the event is to give. */
static int
event(int io_error)
{
	if (armed == SHIM_NONE || ++events < at_event) {
		return SQLITE_OK;
	}
	bool first = events == at_event;
	switch (armed) {
	case SHIM_NONE:
		break;
	case SHIM_POWER_CUT:
		cut_power();
		_exit(7);
	case SHIM_KILL:
		_exit(7);
	case SHIM_FULL_ONCE:
	case SHIM_FULL_STAYS:
		if (first || armed == SHIM_FULL_STAYS) {
			errno = ENOSPC;
			return io_error == SQLITE_IOERR_WRITE ? SQLITE_FULL : SQLITE_OK;
		}
		break;
	case SHIM_IO_ONCE:
	case SHIM_IO_STAYS:
		if (first || armed == SHIM_IO_STAYS) {
			errno = EIO;
			return io_error;
		}
		break;
	}
	return SQLITE_OK;
}

static int
shim_close(sqlite3_file *file)
{
	forget(real_of(file));
	return real_of(file)->pMethods->xClose(real_of(file));
}

static int
shim_read(sqlite3_file *file, void *to, int len, sqlite3_int64 offset)
{
	return real_of(file)->pMethods->xRead(real_of(file), to, len, offset);
}

static int
shim_write(sqlite3_file *file, const void *from, int len, sqlite3_int64 offset)
{
	int rc = event(SQLITE_IOERR_WRITE);
	if (rc != SQLITE_OK) {
		return rc;
	}
	remember(real_of(file), offset, len);
	return real_of(file)->pMethods->xWrite(real_of(file), from, len, offset);
}

static int
shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	sqlite3_int64 old = 0;
	int rc = event(SQLITE_IOERR_TRUNCATE);
	if (rc != SQLITE_OK) {
		return rc;
	}
	if (real_of(file)->pMethods->xFileSize(real_of(file), &old) == SQLITE_OK && old > size) {
		remember(real_of(file), size, (int)(old - size));
	}
	return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int
shim_sync(sqlite3_file *file, int flags)
{
	int rc = event(SQLITE_IOERR_FSYNC);
	if (rc != SQLITE_OK) {
		return rc;
	}
	rc = real_of(file)->pMethods->xSync(real_of(file), flags);
	forget(real_of(file));
	return rc;
}

static int
shim_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	return real_of(file)->pMethods->xFileSize(real_of(file), ret);
}

static int
shim_lock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int
shim_unlock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int
shim_reserved(sqlite3_file *file, int *ret)
{
	return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret);
}

static int
shim_control(sqlite3_file *file, int op, void *arg)
{
	return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int
shim_sector(sqlite3_file *file)
{
	return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int
shim_characteristics(sqlite3_file *file)
{
	/* A power cut tears writes, but leaves alone what is beside them; whether that is known is the test's choice. */
	(void)file;
	return safe_overwrites ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

/* Version 1: no shared memory; exclusive locking needs none. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_characteristics,
};

static int
shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct shim_file *f = (struct shim_file *)(void *)file;
	(void)vfs;
	memset(f, 0, sizeof(*f));
	f->real = (sqlite3_file *)(void *)(f + 1);
	int rc = real_vfs->xOpen(real_vfs, name, f->real, flags, ret_flags);
	f->base.pMethods = rc == SQLITE_OK ? &methods : NULL;
	return rc;
}

void
shim_install(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	shim = *real_vfs;
	shim.zName = "cohue-shim";
	shim.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
	shim.xOpen = shim_open;
	shim.pNext = NULL;
	if (sqlite3_vfs_register(&shim, 1) != SQLITE_OK) {
		abort();
	}
}

void
shim_arm(enum shim_fault fault, unsigned long k, unsigned seed)
{
	armed = fault;
	at_event = k;
	events = 0;
	coin_state = seed * 2654435761U + 1;
	for (size_t i = 0; i < unsynced_count; i++) {
		free(unsynced[i].old);
	}
	unsynced_count = 0;
}

void
shim_claim_safe_overwrites(bool on)
{
	safe_overwrites = on;
}

unsigned long
shim_disarm(void)
{
	armed = SHIM_NONE;
	return events;
}
