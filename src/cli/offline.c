/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The store of a service that is stopped, for commands that look at it, or change it, themselves. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/wire.h"
#include "cli/internal.h"
#include "storage/storage.h"

bool
cli_offline_lock(const struct cli *c, int *ret_fd)
{
	char path[CLI_PATH_ROOM];
	if (!cli_path(c, "lock", path)) {
		return false;
	}
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret_fd < 0 && errno == ENOENT) {
		return true; /* it has never run */
	}
	if (*ret_fd < 0) {
		(void)cli_fail("%s cannot be opened: %s. Remedy: run as the user who runs the service", path,
			       strerror(errno));
		return false;
	}
	if (flock(*ret_fd, LOCK_EX | LOCK_NB) != 0) {
		(void)cli_fail(
		    "the service runs on %s: what it writes cannot be looked at meanwhile. Remedy: "
		    "cohue stop --home %s",
		    c->home, c->home);
		return false;
	}
	return true;
}

/* From here on with the rights of the store's user: no file there may become root's. */
static bool
become_owner(const char *folder)
{
	struct stat st;
	if (stat(folder, &st) != 0) {
		(void)cli_fail(
		    "%s cannot be entered: %s. Remedy: name the right home, as the user who runs the service",
		    folder, strerror(errno));
		return false;
	}
	if (geteuid() == 0 && st.st_uid != 0 &&
	    (setgroups(0, NULL) != 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) != 0 ||
	     setresuid(st.st_uid, st.st_uid, st.st_uid) != 0)) {
		(void)cli_fail("the rights of the owner of %s cannot be taken: %s", folder, strerror(errno));
		return false;
	}
	return true;
}

bool
cli_offline_store(const struct cli *c, bool read_only, struct storage **ret)
{
	char folder[CLI_PATH_ROOM];
	char *real = realpath(c->home, NULL);
	int n = real == NULL ? -1 : snprintf(folder, sizeof(folder), "%s/store", real);
	free(real);
	if (n < 0 || (size_t)n >= sizeof(folder)) {
		(void)cli_fail("%s cannot be entered: %s. Remedy: name the right home", c->home,
			       strerror(errno));
		return false;
	}
	if (!become_owner(folder)) {
		return false;
	}
	enum err e = storage_sqlite_open(folder, false, read_only, ret);
	if (e == ERR_OK) {
		return true;
	}
	if (e == ERR_NOT_FOUND) {
		(void)cli_fail(
		    "there is nothing stored in %s. Remedy: name the right home; a service that never ran "
		    "has nothing to check",
		    folder);
	} else if (e == ERR_EXISTS) {
		(void)cli_fail("another process has the store in %s. Remedy: cohue stop --home %s", folder,
			       c->home);
	} else if (e == ERR_UNSUPPORTED) {
		(void)cli_fail("the store in %s was made by a newer program. Remedy: use that one", folder);
	} else if (e == ERR_STATE) {
		(void)cli_fail(
		    "the store in %s is of an older form, which must not be changed here. Remedy: start "
		    "the service once (cohue run --home %s), stop it, and check again",
		    folder, c->home);
	} else {
		(void)cli_fail("the store in %s cannot be opened: %s. Remedy: run as the user who runs the "
			       "service; where "
			       "it is damaged, restore a backup",
			       folder, err_text(e));
	}
	return false;
}

/* ---- cohue restored ---- */

/* Above the one before, and above all that a later state of this store, now lost, can have had: that was made before now. */
static enum err
next_epoch(struct storage *s, uint32_t now, uint32_t *ret)
{
	struct buf value = BUF_INIT(64);
	uint32_t before = 0;
	enum err e = s->driver->meta_get(s, STORAGE_META_RESTORED, &value);
	if (e == ERR_OK) {
		struct wire_reader r;
		wire_reader_init(&r, buf_bytes(&value));
		before = wire_get_u32(&r);
		e = wire_end(&r) == ERR_OK ? ERR_OK : ERR_DAMAGED;
	}
	buf_clear(&value);
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		return e;
	}
	if (before == UINT32_MAX) {
		return ERR_LIMIT;
	}
	*ret = before >= now ? before + 1 : now;
	return ERR_OK;
}

static enum err
begin_epoch(struct storage *s, uint32_t now)
{
	uint32_t epoch = 0;
	struct buf value = BUF_INIT(8);
	struct wire_writer w;
	enum err e = next_epoch(s, now, &epoch);
	if (e != ERR_OK) {
		return e;
	}
	wire_writer_init(&w, &value);
	wire_put_u32(&w, epoch);
	e = wire_done(&w);
	e = e == ERR_OK ? s->driver->begin(s) : e;
	if (e == ERR_OK) {
		e = s->driver->meta_put(s, STORAGE_META_RESTORED, buf_bytes(&value));
		e = e == ERR_OK ? s->driver->commit(s) : e;
		if (e != ERR_OK) {
			s->driver->rollback(s);
		}
	}
	buf_clear(&value);
	return e;
}

int
cli_restored(struct cli *c)
{
	struct config config;
	struct storage *storage = NULL;
	int lock = -1;
	int status = CLI_FAILED;
	if (cli_config(c, &config) && cli_offline_lock(c, &lock) && cli_offline_store(c, false, &storage)) {
		enum err e = begin_epoch(storage, (uint32_t)(clock_wall() / MSEC_SECOND));
		storage->driver->destroy(&storage);
		if (e == ERR_OK) {
			struct buf out = BUF_INIT(CLI_OUTPUT_MAX);
			e = buf_append_str(
			    &out, "noted: mail programs will read all their folders anew, once, after "
				  "the next start\n");
			status = e == ERR_OK ? cli_print(&out) : cli_fail("%s", err_text(e));
		} else {
			status =
			    cli_fail("it cannot be noted in the store: %s. Remedy: see to the disk, then "
				     "try again before the service starts",
				     err_text(e));
		}
	}
	if (lock >= 0) {
		(void)close(lock);
	}
	return status;
}
