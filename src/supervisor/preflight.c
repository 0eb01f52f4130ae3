/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What must be right before anything starts; each fault gives one line: what, where, and the remedy. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secret.h"
#include "process/log.h"
#include "supervisor/house.h"

enum { PATH_ROOM = CONFIG_PATH_MAX + 64, KEY_BYTES = 32 };

static const char default_home[] = "/var/lib/cohue";

static bool
find_home(struct house *h, const char *home)
{
	const char *wanted = home != NULL ? home : default_home;
	char *real = realpath(wanted, NULL);
	if (real == NULL || strlen(real) >= sizeof(h->home) - 32) {
		log_event(LOG_LEVEL_ERROR,
			  "the home directory %s cannot be entered: %s. Remedy: `cohue init --home DIR "
			  "--domain D`, "
			  "then `cohue run --home DIR`",
			  wanted, strerror(errno));
		free(real);
		return false;
	}
	memcpy(h->home, real, strlen(real) + 1);
	free(real);
	struct stat st;
	if (stat(h->home, &st) != 0 || !S_ISDIR(st.st_mode)) {
		log_event(LOG_LEVEL_ERROR,
			  "%s is not a directory. Remedy: name the directory that `cohue init` made",
			  h->home);
		return false;
	}
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 || (st.st_uid != geteuid() && geteuid() != 0)) {
		log_event(LOG_LEVEL_ERROR,
			  "%s may be written by others than you. Remedy: chown it to the user who runs "
			  "cohue, and chmod 755 or 711",
			  h->home);
		return false;
	}
	(void)snprintf(h->empty_dir, sizeof(h->empty_dir), "%.*s/empty", CONFIG_PATH_MAX - 8, h->home);
	return true;
}

static bool
take_lock(struct house *h)
{
	char path[PATH_ROOM];
	(void)snprintf(path, sizeof(path), "%s/lock", h->home);
	h->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (h->lock_fd < 0) {
		log_event(LOG_LEVEL_ERROR,
			  "%s cannot be opened: %s. Remedy: run as the user who owns the home directory",
			  path, strerror(errno));
		return false;
	}
	if (flock(h->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		log_event(LOG_LEVEL_ERROR,
			  "another cohue runs on %s already. Remedy: stop it first, or give this one a home "
			  "of its own",
			  h->home);
		return false;
	}
	return true;
}

/* Whether the file has this fault by itself, without what --set put over it. */
static bool
is_of_file(const struct config *file, const char *path, const struct config_error *fault)
{
	struct config_error own = {.line = 0};
	return config_check(file, path, &own) != ERR_OK && strcmp(own.text, fault->text) == 0;
}

static bool
load_config(struct house *h, char **sets, size_t set_count)
{
	char path[PATH_ROOM];
	struct config_error problem = {.line = 0};
	struct buf text = BUF_INIT(CONFIG_FILE_MAX);
	(void)snprintf(path, sizeof(path), "%s/cohue.conf", h->home);
	config_defaults(&h->config);
	enum err e = file_read(path, FILE_NO_LINK, S_IWGRP | S_IWOTH, &text);
	if (e == ERR_AUTH) {
		log_event(LOG_LEVEL_ERROR, "%s may be written by others. Remedy: chmod 644 %s", path, path);
		return false;
	}
	if (e != ERR_OK) {
		log_event(
		    LOG_LEVEL_ERROR, "%s cannot be read: %s. Remedy: %s", path, err_text(e),
		    e == ERR_NOT_FOUND
			? "bring it back from a backup; for a new home, `cohue init` writes one"
		    : e == ERR_DENIED ? "run as the user who owns it, or chown it to the one who runs cohue"
		    : e == ERR_FORMAT ? "put a file there: what is there now is a directory or another thing"
		    : e == ERR_LIMIT  ? "shorten it: it is too large for settings"
				      : "put the file itself there, no link, and see that its disk is well");
		buf_clear(&text);
		return false;
	}
	e = config_load(&h->config, buf_bytes(&text), path, &problem);
	buf_clear(&text);
	struct config *file = malloc(sizeof(*file));
	if (file == NULL) {
		return false;
	}
	*file = h->config;
	for (size_t i = 0; i < set_count && e == ERR_OK; i++) {
		e = config_set(&h->config, bytes_str(sets[i]), &problem);
	}
	if (e == ERR_OK) {
		e = config_check(&h->config, path, &problem);
		if (e != ERR_OK && !is_of_file(file, path, &problem)) {
			e = config_check(&h->config, "--set", &problem);
		}
	}
	free(file);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "%s", problem.text[0] != '\0' ? problem.text : err_text(e));
		return false;
	}
	buf_init(&h->config_bytes, CONFIG_ENCODED_MAX);
	e = config_encode(&h->config, &h->config_bytes);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "the configuration is too large: %s", err_text(e));
		return false;
	}
	return true;
}

bool
preflight_read_key(const struct house *h, uint8_t ret_key[32])
{
	const char *path = h->config.house_key;
	if (path[0] == '\0') {
		log_event(LOG_LEVEL_ERROR,
			  "house_key is not set in %s/cohue.conf. Remedy: set it to the file that `cohue "
			  "init --key FILE` wrote",
			  h->home);
		return false;
	}
	struct buf text = BUF_INIT(4096);
	struct buf key = BUF_INIT(64);
	enum err e = file_read(path, FILE_OURS, S_IRWXG | S_IRWXO, &text);
	if (e == ERR_OK) {
		e = buf_append_unhex(&key, bytes_trim(buf_bytes(&text)));
	}
	bool good = e == ERR_OK && key.len == KEY_BYTES;
	if (good) {
		memcpy(ret_key, key.ptr, KEY_BYTES);
	} else if (e == ERR_AUTH) {
		log_event(
		    LOG_LEVEL_ERROR,
		    "the house key file %s may be read or changed by others. Remedy: chown it to the user "
		    "who runs cohue, and chmod 600 %s",
		    path, path);
	} else if (e == ERR_OK || e == ERR_FORMAT || e == ERR_LIMIT) {
		log_event(LOG_LEVEL_ERROR,
			  "%s is not a house key (64 hexadecimal digits). Remedy: correct house_key, or "
			  "bring the right file back",
			  path);
	} else {
		log_event(LOG_LEVEL_ERROR,
			  "the house key file %s cannot be read: %s. Remedy: bring it back (mount its "
			  "medium), correct house_key, or run as the user who owns it; without it nothing "
			  "stored can be opened",
			  path, err_text(e));
	}
	buf_wipe(&text);
	buf_wipe(&key);
	return good;
}

/* Certificates are public, and links to them are usual (ACME clients make such); keys are neither. */
static bool
read_named(const char *what, const char *path, unsigned flags, mode_t refused, struct buf *out,
	   struct buf *problem)
{
	enum err e = file_read(path, flags, refused, out);
	enum err said = ERR_OK;
	if (e == ERR_AUTH) {
		said = buf_printf(problem,
				  "the %s %s may be read or changed by others. Remedy: chown it to the user "
				  "who runs cohue, or root, and chmod 600 %s",
				  what, path, path);
	} else if (e != ERR_OK) {
		said = buf_printf(problem,
				  "the %s %s cannot be read: %s. Remedy: correct the tls. keys of "
				  "cohue.conf, or bring the file back",
				  what, path, e == ERR_FORMAT ? "not a file" : err_text(e));
	}
	if (said != ERR_OK) {
		/* A path of that length; which file it is stands in the configuration. */
		buf_reset(problem);
		said = buf_printf(problem, "the %s cannot be read. Remedy: a shorter path", what);
	}
	return e == ERR_OK && said == ERR_OK;
}

bool
preflight_read_tls(const struct house *h, enum role kind, struct buf *ret_key, struct buf *ret_chain,
		   bool *ret_sealed, struct buf *problem)
{
	bool mx = kind == ROLE_GATE_MX;
	const char *key = mx ? h->config.tls_mx_key : h->config.tls_member_key;
	const char *chain = mx ? h->config.tls_mx_certificate : h->config.tls_member_certificate;
	char path[PATH_ROOM];
	*ret_sealed = key[0] == '\0';
	if (key[0] != '\0') {
		if (!read_named("TLS key", key, FILE_OURS, S_IWGRP | S_IRWXO, ret_key, problem)) {
			return false;
		}
	} else {
		(void)snprintf(path, sizeof(path), "%s/tls/%s.key.sealed", h->home, mx ? "mx" : "member");
		if (!read_named("sealed TLS key", path, FILE_NO_LINK, S_IWGRP | S_IWOTH, ret_key, problem)) {
			return false;
		}
	}
	if (chain[0] != '\0') {
		return read_named("certificate", chain, 0, S_IWOTH, ret_chain, problem);
	}
	(void)snprintf(path, sizeof(path), "%s/tls/%s.crt", h->home, mx ? "mx" : "member");
	return read_named("certificate", path, 0, S_IWOTH, ret_chain, problem);
}

static bool
check_store_folder(const struct house *h)
{
	char path[PATH_ROOM];
	struct stat st;
	(void)snprintf(path, sizeof(path), "%s/store", h->home);
	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		log_event(LOG_LEVEL_ERROR,
			  "%s is not a directory. Remedy: `cohue init`, or bring it back from a backup",
			  path);
		return false;
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		log_event(LOG_LEVEL_ERROR, "%s may be entered by others. Remedy: chmod 700 %s", path, path);
		return false;
	}
	return true;
}

bool
preflight(struct house *h, const char *home, char **sets, size_t set_count)
{
	uint8_t key[32];
	if (!find_home(h, home) || !load_config(h, sets, set_count) || !take_lock(h) ||
	    !check_store_folder(h) || !preflight_read_key(h, key)) {
		return false;
	}
	secret_wipe(key, sizeof(key));
	static const enum role kinds[] = {ROLE_GATE_MX, ROLE_GATE_MEMBER};
	bool good = true;
	for (size_t i = 0; i < 2 && good; i++) {
		struct buf tls_key = BUF_INIT(TLS_KEY_FILE_MAX);
		struct buf chain = BUF_INIT(TLS_CHAIN_FILE_MAX);
		struct buf problem = BUF_INIT(TLS_PROBLEM_MAX);
		bool sealed = false;
		good = preflight_read_tls(h, kinds[i], &tls_key, &chain, &sealed, &problem);
		if (!good) {
			log_event(LOG_LEVEL_ERROR, "%.*s", (int)problem.len, (const char *)problem.ptr);
		}
		buf_wipe(&tls_key);
		buf_clear(&problem);
		buf_clear(&chain);
	}
	return good;
}
