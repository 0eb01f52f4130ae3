/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * A new home. It is made beside its place under another name, and put there when all of it is on disk: what
 * fails half-way leaves nothing behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "cli/internal.h"
#include "crypto/crypto.h"
#include "ipc/roles.h"
#include "loop/tls.h"
#include "mail/address.h"
#include "sealed/keys.h"
#include "web/web.h"

enum { HOUSE_KEY_BYTES = 32, KEY_TEXT = 2 * HOUSE_KEY_BYTES + 1 };

struct building {
	char home[CONFIG_PATH_MAX];     /* absolute */
	char work[CONFIG_PATH_MAX + 8]; /* where it is made */
	char key[CONFIG_PATH_MAX];      /* absolute */
	struct config config;
	struct buf config_text;
	uint8_t house[HOUSE_KEY_BYTES];
	bool work_made;
	bool key_made;
};

/* ---- names ---- */

/* The last component, and the directory before it made absolute: the name itself need not exist. */
static bool
absolute(const char *path, const char *what, char ret[CONFIG_PATH_MAX])
{
	char copy[CONFIG_PATH_MAX];
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/') {
		n--;
	}
	if (n == 0 || n >= sizeof(copy)) {
		(void)cli_fail("the path of %s is empty or too long. Remedy: another path", what);
		return false;
	}
	memcpy(copy, path, n);
	copy[n] = '\0';
	char *slash = strrchr(copy, '/');
	const char *base = slash == NULL ? copy : slash + 1;
	if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
		(void)cli_fail("%s cannot be %s. Remedy: name a new file or directory", what, path);
		return false;
	}
	if (slash != NULL) {
		*slash = '\0';
	}
	const char *parent = slash == NULL ? "." : slash == copy ? "/" : copy;
	char *real = realpath(parent, NULL);
	if (real == NULL) {
		(void)cli_fail("%s, for %s, cannot be entered: %s. Remedy: make this directory first", parent,
			       what, strerror(errno));
		return false;
	}
	int got = snprintf(ret, CONFIG_PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base);
	free(real);
	if (got < 0 || got >= CONFIG_PATH_MAX - 32) {
		(void)cli_fail("the path of %s is too long. Remedy: another path", what);
		return false;
	}
	return true;
}

static bool
is_empty_directory(const char *path)
{
	DIR *d = opendir(path);
	bool empty = d != NULL;
	for (const struct dirent *e; empty && (e = readdir(d)) != NULL;) {
		empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	}
	if (d != NULL) {
		(void)closedir(d);
	}
	return empty;
}

static bool
find_places(const struct cli *c, struct building *b)
{
	static const char system_home[] = "/var/lib/cohue";
	struct stat st;
	if (!absolute(c->home, "the home", b->home)) {
		return false;
	}
	if (lstat(b->home, &st) == 0 && !is_empty_directory(b->home)) {
		(void)cli_fail(
		    "%s is there already, and not an empty directory; nothing was changed. Remedy: "
		    "another --home, or remove it (with it goes all mail in it)",
		    b->home);
		return false;
	}
	if (c->key != NULL) {
		if (!absolute(c->key, "the house key", b->key)) {
			return false;
		}
	} else if (geteuid() == 0 && strcmp(b->home, system_home) == 0) {
		if (mkdir("/etc/cohue", 0700) != 0 && errno != EEXIST) {
			(void)cli_fail("/etc/cohue cannot be made: %s. Remedy: --key FILE", strerror(errno));
			return false;
		}
		(void)snprintf(b->key, sizeof(b->key), "/etc/cohue/house.key");
	} else {
		(void)snprintf(b->key, sizeof(b->key), "%.*s.key", CONFIG_PATH_MAX - 8, b->home);
	}
	size_t n = strlen(b->home);
	if (strncmp(b->key, b->home, n) == 0 && (b->key[n] == '/' || b->key[n] == '\0')) {
		(void)cli_fail(
		    "the house key must not lie in the home: who seizes or backs up the one would have "
		    "the other. Remedy: --key FILE on another medium");
		return false;
	}
	if (lstat(b->key, &st) == 0) {
		(void)cli_fail(
		    "%s is there already and is not overwritten: another home may need it. Remedy: "
		    "another --key FILE",
		    b->key);
		return false;
	}
	return true;
}

static bool
normal_name(const char *what, const char *typed, char ret[CONFIG_NAME_MAX])
{
	struct buf name = BUF_INIT(CONFIG_NAME_MAX - 1);
	enum err e = mail_domain_normalise(bytes_str(typed), &name);
	bool dots = e == ERR_OK && name.len > 0 && bytes_find(buf_bytes(&name), '[') < 0;
	if (dots) {
		memcpy(ret, name.ptr, name.len);
		ret[name.len] = '\0';
	} else {
		(void)cli_fail("'%s' is not a %s. Remedy: a name like %s", typed, what,
			       strcmp(what, "domain") == 0 ? "example.org" : "mail.example.org");
	}
	buf_clear(&name);
	return dots;
}

static bool
make_config(const struct cli *c, struct building *b)
{
	char domain[CONFIG_NAME_MAX];
	char hostname[CONFIG_NAME_MAX];
	char guess[CONFIG_NAME_MAX + 8];
	struct config_error problem = {.line = 0};
	uint64_t offset = 0;
	if (c->domain == NULL) {
		(void)fprintf(stderr,
			      "cohue: init needs the domain of the members' addresses. Remedy: cohue init "
			      "--domain example.org\n");
		return false;
	}
	if (!normal_name("domain", c->domain, domain)) {
		return false;
	}
	(void)snprintf(guess, sizeof(guess), "mail.%s", domain);
	if (!normal_name("host name", c->hostname == NULL ? guess : c->hostname, hostname)) {
		return false;
	}
	if (c->port_offset != NULL && bytes_to_u64(bytes_str(c->port_offset), 64000, &offset) != ERR_OK) {
		(void)cli_fail("'%s' is not a port offset. Remedy: a number up to 64000, like 10000",
			       c->port_offset);
		return false;
	}
	buf_init(&b->config_text, CONFIG_FILE_MAX);
	enum err e = config_write_template(&b->config_text, domain, hostname, b->key, (uint32_t)offset);
	config_defaults(&b->config);
	if (e == ERR_OK) {
		e = config_load(&b->config, buf_bytes(&b->config_text), "cohue.conf", &problem);
	}
	if (e == ERR_OK) {
		e = config_check(&b->config, "cohue.conf", &problem);
	}
	if (e != ERR_OK) {
		(void)cli_fail("%s", problem.text[0] != '\0' ? problem.text : err_text(e));
	}
	return e == ERR_OK;
}

/* ---- files ---- */

static bool
trouble(const char *path)
{
	(void)cli_fail(
	    "%s cannot be made: %s; nothing was changed. Remedy: see to the rights and the space there", path,
	    strerror(errno));
	return false;
}

static bool
sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0) {
		(void)close(fd);
	}
	return good;
}

/* A new file, on disk. */
static bool
write_file(const char *path, struct bytes text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0) {
		return trouble(path);
	}
	bool good = fchmod(fd, mode) == 0;
	while (good && text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);
		good = n > 0;
		text = good ? bytes_from(text, (size_t)n) : text;
	}
	good = good && fsync(fd) == 0;
	int problem = errno;
	(void)close(fd);
	errno = problem;
	return good || trouble(path);
}

static bool
in_work(const struct building *b, const char *name, char ret[CLI_PATH_ROOM])
{
	int n = snprintf(ret, CLI_PATH_ROOM, "%s/%s", b->work, name);
	return n > 0 && n < CLI_PATH_ROOM;
}

static bool
make_directory(const struct building *b, const char *name, mode_t mode)
{
	char path[CLI_PATH_ROOM];
	if (!in_work(b, name, path) || mkdir(path, mode) != 0 || chmod(path, mode) != 0) {
		return trouble(path);
	}
	return true;
}

static bool
make_tls(const struct building *b, const char *kind)
{
	char name[32];
	char path[CLI_PATH_ROOM];
	uint8_t wrap[SEALED_KEY_LEN];
	struct buf key = BUF_INIT(16 * 1024);
	struct buf certificate = BUF_INIT(16 * 1024);
	struct buf sealed = BUF_INIT(32 * 1024);
	char names[WEB_NAMES_MAX][CONFIG_NAME_MAX];
	const char *list[WEB_NAMES_MAX];
	size_t count = web_names(&b->config, names);
	for (size_t i = 0; i < count; i++) {
		list[i] = names[i];
	}
	/* Other servers know this machine by its own name alone; it is the first. */
	enum err e = tls_make_self_signed_for(list, strcmp(kind, "member") == 0 ? count : 1, clock_wall(),
					      &key, &certificate);
	if (e == ERR_OK) {
		(void)snprintf(name, sizeof(name), "tls-%s", kind);
		sealed_purpose_key(b->house, PURPOSE_TLS_WRAP, wrap);
		e = sealed_wrap(wrap, bytes_str(name), buf_bytes(&key), &sealed);
		secret_wipe(wrap, sizeof(wrap));
	}
	buf_wipe(&key);
	bool good = e == ERR_OK;
	if (!good) {
		(void)cli_fail("a TLS key cannot be made: %s; nothing was changed", err_text(e));
	}
	(void)snprintf(name, sizeof(name), "tls/%s.key.sealed", kind);
	good = good && in_work(b, name, path) && write_file(path, buf_bytes(&sealed), 0600);
	(void)snprintf(name, sizeof(name), "tls/%s.crt", kind);
	good = good && in_work(b, name, path) && write_file(path, buf_bytes(&certificate), 0644);
	buf_clear(&sealed);
	buf_clear(&certificate);
	return good;
}

enum { POOL_BYTES = 64 * 1024 };

/* The keys that sign leaving mail (dkim/ring.h): they sign from the start. */
static bool
make_dkim(const struct building *b)
{
	char path[CLI_PATH_ROOM];
	uint8_t wrap[SEALED_KEY_LEN];
	struct dkim_ring ring;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	if (secret_pool_init(POOL_BYTES) != ERR_OK) {
		(void)cli_fail(
		    "cannot lock %d bytes of memory for keys. Remedy: raise the memlock limit (ulimit -l)",
		    (int)POOL_BYTES);
		return false;
	}
	int64_t now = clock_wall() / MSEC_SECOND;
	dkim_ring_init(&ring);
	enum err e = dkim_ring_make(&ring, now, now);
	if (e == ERR_OK) {
		sealed_purpose_key(b->house, PURPOSE_DKIM_WRAP, wrap);
		e = dkim_ring_write(&ring, wrap, &file);
		secret_wipe(wrap, sizeof(wrap));
	}
	dkim_ring_clear(&ring);
	if (e != ERR_OK) {
		(void)cli_fail("the keys that sign mail cannot be made: %s; nothing was changed",
			       err_text(e));
	}
	bool good = e == ERR_OK && in_work(b, "dkim.keys", path) && write_file(path, buf_bytes(&file), 0600);
	buf_clear(&file);
	return good;
}

static bool
make_key(struct building *b)
{
	struct buf text = BUF_INIT(KEY_TEXT);
	crypto_random_bytes(b->house, sizeof(b->house));
	bool good = buf_append_hex(&text, bytes_of(b->house, sizeof(b->house))) == ERR_OK &&
		    buf_append_byte(&text, '\n') == ERR_OK;
	if (good) {
		good = write_file(b->key, buf_bytes(&text), 0600);
		/* Refused because it is there: then it is not ours to take away. */
		b->key_made = good || errno != EEXIST;
	}
	buf_wipe(&text);
	return good;
}

/* ---- the users of the roles ---- */

static bool
run_useradd(const char *user)
{
	char program[] = "/usr/sbin/useradd";
	char name[64];
	(void)snprintf(name, sizeof(name), "%s", user);
	char *const arguments[] = {program,
				   (char[]){"--system"},
				   (char[]){"--user-group"},
				   (char[]){"--no-create-home"},
				   (char[]){"--home-dir"},
				   (char[]){"/nonexistent"},
				   (char[]){"--shell"},
				   (char[]){"/usr/sbin/nologin"},
				   name,
				   NULL};
	char *const environment[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, NULL};
	pid_t pid = 0;
	int status = 0;
	if (posix_spawn(&pid, program, NULL, NULL, arguments, environment) != 0) {
		return false;
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			return false;
		}
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool
make_users(const struct building *b)
{
	struct passwd *store = NULL;
	char path[CLI_PATH_ROOM];
	for (unsigned r = ROLE_KEEPER; r < ROLE__COUNT; r++) {
		char user[64];
		(void)snprintf(user, sizeof(user), "cohue-%s", role_name((enum role)r));
		if (getpwnam(user) == NULL && !run_useradd(user)) {
			(void)cli_fail("the system user %s cannot be made; nothing else was changed. Remedy: "
				       "make it by hand, or with "
				       "systemd-sysusers and cohue.sysusers, then try again",
				       user);
			return false;
		}
	}
	store = getpwnam("cohue-store");
	if (store == NULL || !in_work(b, "store", path) || chown(path, store->pw_uid, store->pw_gid) != 0) {
		return trouble(path);
	}
	return true;
}

/* ---- all of it ---- */

static bool
make_work_directory(struct building *b)
{
	struct buf name = BUF_INIT(sizeof(b->work) - 1);
	bool good = buf_append_str(&name, b->home) == ERR_OK && buf_append_str(&name, ".new") == ERR_OK;
	if (good) {
		memcpy(b->work, name.ptr, name.len);
		b->work[name.len] = '\0';
	}
	buf_clear(&name);
	if (!good || mkdir(b->work, 0700) != 0) {
		if (errno == EEXIST) {
			(void)cli_fail("%s is there: another `cohue init` is at work, or was cut short. "
				       "Remedy: remove it, "
				       "then try again",
				       b->work);
			return false;
		}
		return trouble(b->work);
	}
	b->work_made = true;
	return true;
}

static bool
build(struct building *b)
{
	char path[CLI_PATH_ROOM];
	bool good = make_work_directory(b) && make_directory(b, "store", 0700) &&
		    make_directory(b, "tls", 0700) && make_directory(b, "empty", 0555) &&
		    /* The word to the store that it may make its database: src/store/store.c. */
		    in_work(b, "store/new", path) && write_file(path, BYTES_EMPTY, 0644) &&
		    in_work(b, "cohue.conf", path) && write_file(path, buf_bytes(&b->config_text), 0644) &&
		    make_key(b) && make_tls(b, "mx") && make_tls(b, "member") && make_dkim(b);
	if (good && geteuid() == 0) {
		good = make_users(b);
	}
	if (!good) {
		return false;
	}
	(void)snprintf(path, sizeof(path), "%s/tls", b->work);
	if (chmod(b->work, 0711) != 0 || !sync_directory(path) || !sync_directory(b->work)) {
		return trouble(b->work);
	}
	/* Onto an empty directory, too. */
	if (rename(b->work, b->home) != 0) {
		return trouble(b->home);
	}
	b->work_made = false;
	char *slash = strrchr(b->work, '/');
	*slash = '\0';
	(void)sync_directory(b->work[0] == '\0' ? "/" : b->work);
	*slash = '/';
	slash = strrchr(b->key, '/');
	*slash = '\0';
	(void)sync_directory(b->key[0] == '\0' ? "/" : b->key);
	*slash = '/';
	return true;
}

static void
take_down(const struct building *b)
{
	static const char *const names[] = {"tls/mx.key.sealed",
					    "tls/mx.crt",
					    "tls/member.key.sealed",
					    "tls/member.crt",
					    "cohue.conf",
					    "dkim.keys",
					    "tls",
					    "store",
					    "empty"};
	char path[CLI_PATH_ROOM];
	if (b->key_made) {
		(void)unlink(b->key);
	}
	for (size_t i = 0; b->work_made && i < sizeof(names) / sizeof(names[0]); i++) {
		if (in_work(b, names[i], path)) {
			(void)remove(path);
		}
	}
	if (b->work_made) {
		(void)rmdir(b->work);
	}
}

static enum err
say(const struct cli *c, const struct building *b, const struct dkim_ring *dkim, struct buf *out)
{
	char certificate[CLI_PATH_ROOM];
	(void)snprintf(certificate, sizeof(certificate), "%s/tls/mx.crt", b->home);
	if (c->json) {
		enum err e = buf_append_str(out, "{\"home\": ");
		e = e == ERR_OK ? cli_json_text(out, bytes_str(b->home)) : e;
		e = e == ERR_OK ? buf_append_str(out, ", \"house_key\": ") : e;
		e = e == ERR_OK ? cli_json_text(out, bytes_str(b->key)) : e;
		e = e == ERR_OK ? buf_append_str(out, ", \"dns\": ") : e;
		e = e == ERR_OK ? cli_dns_records(&b->config, certificate, NULL, dkim, true, out) : e;
		return e == ERR_OK ? buf_append_str(out, "}\n") : e;
	}
	enum err e = buf_printf(out,
				"The home is %s, the house key %s.\n"
				"Keep a copy of the key where neither the machine nor its backups are: "
				"without it nothing stored can be\n"
				"opened; with it and the disk, addresses and waiting mail can.\n\n"
				"Publish these records in the DNS of %s:\n\n",
				b->home, b->key, b->config.domain);
	e = e == ERR_OK ? cli_dns_records(&b->config, certificate, NULL, dkim, false, out) : e;
	return e == ERR_OK
		   ? buf_printf(
			 out,
			 "\nNext:\n\n"
			 "  cohue run --home %s                start the service\n"
			 "  cohue member add NAME --home %s    the first member; she also gets "
			 "postmaster@ and abuse@\n\n"
			 "The certificate is self-signed: programs ask once whether to trust it. With\n"
			 "`acme = on` in cohue.conf the house gets one of Let's Encrypt by itself, once "
			 "these records are\npublished and ports 80 and 443 are open; or name your own in "
			 "tls.member_certificate and tls.member_key.\n",
			 b->home, b->home)
		   : e;
}

static enum err
tell(const struct cli *c, const struct building *b, struct buf *out)
{
	char keys[CLI_PATH_ROOM];
	struct dkim_ring ring;
	int n = snprintf(keys, sizeof(keys), "%s/dkim.keys", b->home);
	enum err e = n > 0 && (size_t)n < sizeof(keys) ? cli_dkim_read(keys, &ring) : ERR_LIMIT;
	if (e == ERR_OK) {
		e = say(c, b, &ring, out);
		dkim_ring_clear(&ring);
	}
	return e;
}

int
cli_init(struct cli *c)
{
	struct buf out = BUF_INIT(64 * 1024);
	struct building *b = calloc(1, sizeof(*b));
	if (b == NULL) {
		return cli_fail("out of memory");
	}
	(void)umask(077);
	int status = CLI_FAILED;
	if (c->domain == NULL) {
		status = CLI_USAGE;
	}
	if (find_places(c, b) && make_config(c, b)) {
		if (build(b)) {
			status = tell(c, b, &out) == ERR_OK ? cli_print(&out) : CLI_FAILED;
		} else {
			take_down(b);
		}
	}
	buf_clear(&b->config_text);
	secret_wipe(b, sizeof(*b));
	free(b);
	return status;
}
