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

#include "base/secret.h"
#include "process/log.h"
#include "supervisor/house.h"

enum { PATH_ROOM = CONFIG_PATH_MAX + 64, KEY_BYTES = 32 };

static const char default_home[] = "/var/lib/cohue";

/* Reads a whole file of at most out->max bytes. */
static enum err
read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		return err_from_errno(errno);
	}
	enum err e = ERR_OK;
	uint8_t block[4096];
	ssize_t n = 0;
	while (e == ERR_OK && (n = read(fd, block, sizeof(block))) > 0) {
		e = buf_append(out, bytes_of(block, (size_t)n));
	}
	if (n < 0) {
		e = err_from_errno(errno);
	}
	explicit_bzero(block, sizeof(block));
	(void)close(fd);
	return e;
}

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

static bool
load_config(struct house *h, char **sets, size_t set_count)
{
	char path[PATH_ROOM];
	struct config_error problem = {.line = 0};
	struct buf text = BUF_INIT(CONFIG_FILE_MAX);
	(void)snprintf(path, sizeof(path), "%s/cohue.conf", h->home);
	config_defaults(&h->config);
	struct stat st;
	if (stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		log_event(LOG_LEVEL_ERROR, "%s may be written by others. Remedy: chmod 644 %s", path, path);
		return false;
	}
	enum err e = read_file(path, &text);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "%s cannot be read: %s. Remedy: `cohue init` writes one", path,
			  err_text(e));
		buf_clear(&text);
		return false;
	}
	e = config_load(&h->config, buf_bytes(&text), path, &problem);
	buf_clear(&text);
	for (size_t i = 0; i < set_count && e == ERR_OK; i++) {
		e = config_set(&h->config, bytes_str(sets[i]), &problem);
	}
	if (e == ERR_OK) {
		e = config_check(&h->config, path, &problem);
	}
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
	struct stat st;
	if (path[0] == '\0') {
		log_event(LOG_LEVEL_ERROR,
			  "house_key is not set in %s/cohue.conf. Remedy: set it to the file that `cohue "
			  "init --key FILE` wrote",
			  h->home);
		return false;
	}
	if (stat(path, &st) != 0) {
		log_event(LOG_LEVEL_ERROR,
			  "the house key file %s cannot be read: %s. Remedy: bring it back (mount its "
			  "medium), or correct "
			  "house_key; without it nothing stored can be opened",
			  path, strerror(errno));
		return false;
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		log_event(LOG_LEVEL_ERROR,
			  "the house key file %s may be read by others. Remedy: chmod 600 %s", path, path);
		return false;
	}
	struct buf text = BUF_INIT(4096);
	struct buf key = BUF_INIT(64);
	enum err e = read_file(path, &text);
	if (e == ERR_OK) {
		e = buf_append_unhex(&key, bytes_trim(buf_bytes(&text)));
	}
	bool good = e == ERR_OK && key.len == KEY_BYTES;
	if (good) {
		memcpy(ret_key, key.ptr, KEY_BYTES);
	} else if (e == ERR_OK || e == ERR_FORMAT || e == ERR_LIMIT) {
		log_event(LOG_LEVEL_ERROR,
			  "%s is not a house key (64 hexadecimal digits). Remedy: correct house_key, or "
			  "bring the right file back",
			  path);
	} else {
		log_event(LOG_LEVEL_ERROR,
			  "the house key file %s cannot be read: %s. Remedy: run as the user who owns it",
			  path, err_text(e));
	}
	buf_wipe(&text);
	buf_wipe(&key);
	return good;
}

static bool
read_named(const char *what, const char *path, struct buf *out)
{
	enum err e = read_file(path, out);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR,
			  "the %s %s cannot be read: %s. Remedy: correct the tls. keys of cohue.conf, or "
			  "bring the file back",
			  what, path, err_text(e));
	}
	return e == ERR_OK;
}

bool
preflight_read_tls(const struct house *h, enum role kind, struct buf *ret_key, struct buf *ret_chain,
		   bool *ret_sealed)
{
	bool mx = kind == ROLE_GATE_MX;
	const char *key = mx ? h->config.tls_mx_key : h->config.tls_member_key;
	const char *chain = mx ? h->config.tls_mx_certificate : h->config.tls_member_certificate;
	char path[PATH_ROOM];
	*ret_sealed = key[0] == '\0';
	if (key[0] != '\0') {
		if (!read_named("TLS key", key, ret_key)) {
			return false;
		}
	} else {
		(void)snprintf(path, sizeof(path), "%s/tls/%s.key.sealed", h->home, mx ? "mx" : "member");
		if (!read_named("sealed TLS key", path, ret_key)) {
			return false;
		}
	}
	if (chain[0] != '\0') {
		return read_named("certificate", chain, ret_chain);
	}
	(void)snprintf(path, sizeof(path), "%s/tls/%s.crt", h->home, mx ? "mx" : "member");
	return read_named("certificate", path, ret_chain);
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
		struct buf tls_key = BUF_INIT(IPC_SMALL);
		struct buf chain = BUF_INIT(IPC_SMALL * 4);
		bool sealed = false;
		good = preflight_read_tls(h, kinds[i], &tls_key, &chain, &sealed);
		buf_wipe(&tls_key);
		buf_clear(&chain);
	}
	return good;
}
