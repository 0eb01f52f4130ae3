/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What lies in a home, read with the rights of who types. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/secret.h"
#include "cli/internal.h"

bool
cli_path(const struct cli *c, const char *name, char ret[CLI_PATH_ROOM])
{
	int n = snprintf(ret, CLI_PATH_ROOM, "%s/%s", c->home, name);
	if (n < 0 || n >= CLI_PATH_ROOM) {
		(void)cli_fail("the path of the home directory is too long. Remedy: a shorter path");
		return false;
	}
	return true;
}

bool
cli_config(const struct cli *c, struct config *ret)
{
	char path[CLI_PATH_ROOM];
	struct config_error problem = {.line = 0};
	struct buf text = BUF_INIT(CONFIG_FILE_MAX);
	if (!cli_path(c, "cohue.conf", path)) {
		return false;
	}
	enum err e = file_read(path, FILE_NO_LINK, S_IWGRP | S_IWOTH, &text);
	if (e == ERR_AUTH) {
		(void)cli_fail("%s may be written by others. Remedy: chmod 644 %s", path, path);
		return false;
	}
	if (e != ERR_OK) {
		(void)cli_fail(
		    "%s cannot be read: %s. Remedy: %s", path, err_text(e),
		    e == ERR_NOT_FOUND ? "name the home with --home DIR (or COHUE_HOME), or make one: "
					 "cohue init --domain D --home DIR"
		    : e == ERR_DENIED  ? "run as the user who owns it, or as root"
		    : e == ERR_FORMAT  ? "put a file there: what is there now is a directory or another thing"
		    : e == ERR_LIMIT   ? "shorten it: it is too large for settings"
				       : "put the file itself there, no link, and see that its disk is well");
		return false;
	}
	config_defaults(ret);
	e = config_load(ret, buf_bytes(&text), path, &problem);
	if (e == ERR_OK) {
		e = config_check(ret, path, &problem);
	}
	buf_clear(&text);
	if (e != ERR_OK) {
		(void)cli_fail("%s", problem.text[0] != '\0' ? problem.text : err_text(e));
	}
	return e == ERR_OK;
}

bool
cli_house_key(const struct config *config, uint8_t ret[32])
{
	struct buf text = BUF_INIT(4096);
	struct buf key = BUF_INIT(64);
	enum err e = config->house_key[0] == '\0'
			 ? ERR_NOT_FOUND
			 : file_read(config->house_key, FILE_OURS, S_IRWXG | S_IRWXO, &text);
	if (e == ERR_AUTH) {
		(void)cli_fail(
		    "the house key file %s may be read or changed by others. Remedy: chown it to the user "
		    "who runs cohue, and chmod 600 %s",
		    config->house_key, config->house_key);
		return false;
	}
	if (e != ERR_OK) {
		(void)cli_fail("the house key file '%s' cannot be read: %s. Remedy: bring it back (mount its "
			       "medium), or correct house_key in cohue.conf",
			       config->house_key, err_text(e));
		return false;
	}
	e = buf_append_unhex(&key, bytes_trim(buf_bytes(&text)));
	bool good = e == ERR_OK && key.len == 32;
	if (good) {
		memcpy(ret, key.ptr, 32);
	} else {
		(void)cli_fail("%s is not a house key (64 hexadecimal digits). Remedy: correct house_key, or "
			       "bring the right file back",
			       config->house_key);
	}
	buf_wipe(&text);
	buf_wipe(&key);
	return good;
}
