/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_INTERNAL_H
#define COHUE_CLI_INTERNAL_H

#include <stdbool.h>

#include "base/wire.h"
#include "cli/cli.h"
#include "config/config.h"
#include "control/control.h"
#include "dkim/ring.h"

/* What the files of this folder share. */

enum {
	CLI_WORDS_MAX = 256, /* words after the command's name */
	CLI_PATH_ROOM = CONFIG_PATH_MAX + 64,
	CLI_OUTPUT_MAX = 64 * 1024 * 1024,
};

/* One command line, read. Texts are the command line's own. */
struct cli {
	const char *home;
	bool json;
	/* Options of single commands; NULL where not given. */
	const char *domain;
	const char *hostname;
	const char *key;
	const char *port_offset;
	const char *label;
	const char *quota;
	const char *member;
	bool password;
	bool man;
	bool yes;
	char *words[CLI_WORDS_MAX];
	size_t word_count;
};

typedef int cli_fn(struct cli *c);

/* One line on standard error: what, where, the remedy. Gives CLI_FAILED. */
int cli_fail(const char *format, ...) COHUE_PRINTF(1, 2);
/* What was gathered goes to standard output, then is wiped. CLI_FAILED where it cannot. */
int cli_print(struct buf *out);

/* ---- home.c ---- */

/* HOME/name; false (said) where it is too long. */
bool cli_path(const struct cli *c, const char *name, char ret[CLI_PATH_ROOM]);
/* HOME/cohue.conf, checked; false (said). */
bool cli_config(const struct cli *c, struct config *ret);
/* The house key of a home; false (said). Wipe it. */
bool cli_house_key(const struct config *config, uint8_t ret[32]);

/* ---- client.c ---- */

/*
 * One request to the service. `ret_data` gets the result (empty it before). False after a message: the service is not
 * there, or refused. A text that comes with success goes to standard error.
 */
bool cli_ask(const struct cli *c, struct buf *request, struct buf *ret_data);

/* ---- terminal.c ---- */

/*
 * A secret: typed without echo (twice with `again`), or the next line of standard input. False after a message.
 * `prompt` like "Present password". May give an empty one only with `optional`.
 */
bool cli_secret(const char *prompt, bool again, struct buf *ret);
/* True where the person at the terminal types the name; always true without a terminal. */
bool cli_confirm(const char *question, const char *name);

/* JSON, appended: a text with its quotes. Octets that are no UTF-8 become U+FFFD. */
COHUE_MUST_USE enum err cli_json_text(struct buf *out, struct bytes text);
/* A size in bytes for people ("4.2 GiB"), appended. */
COHUE_MUST_USE enum err cli_size(struct buf *out, uint64_t bytes);
/* "5 GiB", "500M", "1000" and "none" (0). ERR_FORMAT. */
COHUE_MUST_USE enum err cli_read_size(const char *text, uint64_t *ret);

/* ---- offline.c: the store of a service that is stopped ---- */

struct storage;
/*
 * The supervisor's own lock, held until *ret_fd is closed, so that no service starts meanwhile; -1 where there is none yet. False
 * (said) where a service runs.
 */
bool cli_offline_lock(const struct cli *c, int *ret_fd);
/* With the rights of the store's user from then on: no file there may become root's. False (said). */
bool cli_offline_store(const struct cli *c, bool read_only, struct storage **ret);

/* ---- the commands ---- */

cli_fn cli_init, cli_dns, cli_reports, cli_status, cli_stop, cli_tls, cli_tls_reload, cli_tls_renew,
    cli_check, cli_restored, cli_config_show, cli_journal, cli_doctor;
cli_fn cli_member_add, cli_member_list, cli_member_passwd, cli_member_app_password, cli_member_app_list,
    cli_member_app_drop, cli_member_recovery, cli_member_suspend, cli_member_resume, cli_member_remove,
    cli_member_quota, cli_member_forward, cli_member_limit, cli_member_lane;
cli_fn cli_alias_set, cli_alias_remove, cli_alias_list;
cli_fn cli_dkim, cli_dkim_rotate, cli_dkim_activate;
cli_fn cli_crowd_table, cli_crowd_simulate, cli_crowd_advise, cli_crowd_live, cli_crowd_report;

/*
 * dns.c: the records to publish, for people or as JSON; the certificate of HOME gives the TLSA record, its dkim.keys those of
 * DKIM (NULL: there are none yet).
 */
COHUE_MUST_USE enum err cli_dns_records(const struct config *config, const char *certificate,
					const char *next, const struct dkim_ring *dkim, bool json,
					struct buf *out);

/* ---- dkim.c ---- */

/* HOME/dkim.keys, without its secrets. As of file_read and dkim_ring_read. */
COHUE_MUST_USE enum err cli_dkim_read(const char *path, struct dkim_ring *ret);
/* A TXT record's value as a zone file has it: quoted strings of at most 255 octets. Appended. */
COHUE_MUST_USE enum err cli_dkim_quote(struct bytes text, struct buf *out);
/* The records of all pairs that are not gone, in the order of making. Texts are lent. */
struct cli_dkim_record {
	const char *name; /* with its last dot */
	const char *value;
	const char *note;
	const char *selector;
	const char *state;
	int64_t made;
	int64_t until; /* seconds since 1970; INT64_MAX: no end is set */
};
typedef enum err cli_dkim_record_fn(void *arg, const struct cli_dkim_record *record);
COHUE_MUST_USE enum err cli_dkim_records(const struct dkim_ring *r, const char *domain,
					 cli_dkim_record_fn *fn, void *arg);

#endif
