/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Certificates by ACME: what the keeper made or checked comes here to be put into HOME/tls, and is opened by nobody here. Each file is
 * replaced whole; in which order, so that each certificate is beside its key at any time, the keeper sees to (keeper/tls_next.h).
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "process/log.h"
#include "supervisor/house.h"

enum { PATH_ROOM = CONFIG_PATH_MAX + 64 };

static const char account_file[] = "acme.key.sealed";

/* HOME/tls/name, or what was there before; on disk when it says so. */
static bool
replace(const struct house *h, const char *name, struct bytes data, mode_t mode)
{
	char folder[PATH_ROOM];
	(void)snprintf(folder, sizeof(folder), "%s/tls", h->home);
	enum err e = file_replace(folder, name, data, mode);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR,
			  "%s/%s cannot be written: %s. Remedy: see to the space and the rights there",
			  folder, name, err_text(e));
	}
	return e == ERR_OK;
}

enum err
acme_begin(struct child *keeper)
{
	const struct house *h = keeper->house;
	char path[PATH_ROOM + 32];
	struct buf key = BUF_INIT(IPC_SMALL - 64);
	if (h->config.acme != CONFIG_ON) {
		return ERR_OK;
	}
	(void)snprintf(path, sizeof(path), "%s/tls/%s", h->home, account_file);
	enum err e = file_read(path, FILE_NO_LINK | FILE_OURS, S_IRWXG | S_IRWXO, &key);
	if (e == ERR_OK) {
		struct msg_acme_account m = {.key = buf_bytes(&key)};
		e = channel_notice(keeper->channel, ACME_ACCOUNT, acme_account, &m);
	} else {
		if (e != ERR_NOT_FOUND) {
			log_event(LOG_LEVEL_WARNING,
				  "%s cannot be read: %s. Remedy: see to its rights; without it a new "
				  "account is made",
				  path, err_text(e));
		}
		e = ERR_OK;
	}
	buf_wipe(&key);
	return e;
}

static enum err
save(const struct house *h, const struct msg_acme_save *m)
{
	const struct {
		const char *name;
		const char *own; /* set: the volunteer has files of his own */
		mode_t mode;
	} files[ACME_FILES] = {[ACME_FILE_ACCOUNT] = {account_file, "", 0600},
			       [ACME_FILE_MX] = {"mx.crt", h->config.tls_mx_certificate, 0644},
			       [ACME_FILE_MEMBER] = {"member.crt", h->config.tls_member_certificate, 0644},
			       [ACME_FILE_MX_KEY] = {"mx.key.sealed", h->config.tls_mx_key, 0600},
			       [ACME_FILE_MEMBER_KEY] = {"member.key.sealed", h->config.tls_member_key, 0600},
			       [ACME_FILE_MX_NEXT] = {"mx.next", h->config.tls_mx_key, 0600},
			       [ACME_FILE_MEMBER_NEXT] = {"member.next", h->config.tls_member_key, 0600}};
	if (m->what < ACME_FILE_ACCOUNT || m->what >= ACME_FILES || h->config.acme != CONFIG_ON ||
	    files[m->what].own[0] != '\0' || m->data.len == 0) {
		return ERR_DENIED;
	}
	return replace(h, files[m->what].name, m->data, files[m->what].mode) ? ERR_OK : ERR_IO;
}

void
acme_save(struct child *keeper, const struct channel_message *m)
{
	struct msg_acme_save q;
	if (msg_acme_save_decode(m->payload, &q) != ERR_OK) {
		channel_fault(keeper->channel);
		return;
	}
	struct msg_acme_saved r = {.what = q.what, .good = save(keeper->house, &q) == ERR_OK ? 1 : 0};
	if (channel_notice(keeper->channel, ACME_SAVED, acme_saved, &r) != ERR_OK) {
		channel_end(keeper->channel);
	}
}

/* Nobody waits for it any more: the log says what comes of it. */
static void
on_renewed(void *arg, enum err status, struct bytes payload)
{
	struct house *h = arg;
	(void)payload;
	h->renewal_owed = status == ERR_CLOSED ? h->renewal_left : 0;
}

void
acme_renew_again(struct child *fetcher)
{
	struct house *h = fetcher->house;
	if (h->renewal_owed == 0 || fetcher->channel == NULL) {
		return;
	}
	h->renewal_left = h->renewal_owed - 1;
	/* Where it cannot be said now, the next one hears of it. */
	if (channel_request_empty(fetcher->channel, MSG_ACME_RENEW, loop_now(h->loop) + ACME_RENEW_LIMIT_MS,
				  on_renewed, h) == ERR_OK) {
		h->renewal_owed = 0;
	}
}
