/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The TLS keys and certificates: read whenever the keeper starts or a volunteer asks for it, and handed on unread. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "process/log.h"
#include "supervisor/house.h"

enum { RELOAD_LIMIT_MS = 20 * 1000 };

/* The key that comes next, if there is one (keeper/tls_next.h). */
static void
read_next(const struct house *h, const char *kind, bool sealed, struct buf *out)
{
	char path[CONFIG_PATH_MAX + 64];
	(void)snprintf(path, sizeof(path), "%s/tls/%s.next", h->home, kind);
	enum err e = sealed ? file_read(path, FILE_NO_LINK, S_IWGRP | S_IWOTH, out) : ERR_NOT_FOUND;
	if (e != ERR_OK) {
		buf_reset(out);
	}
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		log_event(LOG_LEVEL_WARNING, "%s cannot be read: %s. Remedy: see to its rights", path,
			  err_text(e));
	}
}

bool
tls_files_send(struct child *keeper, channel_reply_fn *fn, void *arg, struct buf *problem)
{
	struct house *h = keeper->house;
	struct buf keys[2] = {BUF_INIT(TLS_KEY_FILE_MAX), BUF_INIT(TLS_KEY_FILE_MAX)};
	struct buf chains[2] = {BUF_INIT(TLS_CHAIN_FILE_MAX), BUF_INIT(TLS_CHAIN_FILE_MAX)};
	struct buf next[2] = {BUF_INIT(TLS_KEY_FILE_MAX), BUF_INIT(TLS_KEY_FILE_MAX)};
	bool sealed[2] = {false, false};
	bool good = preflight_read_tls(h, ROLE_GATE_MX, &keys[0], &chains[0], &sealed[0], problem) &&
		    preflight_read_tls(h, ROLE_GATE_MEMBER, &keys[1], &chains[1], &sealed[1], problem);
	if (good) {
		read_next(h, "mx", sealed[0], &next[0]);
		read_next(h, "member", sealed[1], &next[1]);
		struct msg_tls_files m = {.mx_sealed = sealed[0],
					  .mx_key = buf_bytes(&keys[0]),
					  .mx_chain = buf_bytes(&chains[0]),
					  .member_sealed = sealed[1],
					  .member_key = buf_bytes(&keys[1]),
					  .member_chain = buf_bytes(&chains[1]),
					  .mx_next = buf_bytes(&next[0]),
					  .member_next = buf_bytes(&next[1])};
		enum err e = channel_request(keeper->channel, TLS_FILES, tls_files, &m,
					     loop_now(h->loop) + RELOAD_LIMIT_MS, fn, arg);
		if (e != ERR_OK) {
			good = false;
			if (buf_printf(problem, "the TLS files cannot be handed on: %s", err_text(e)) !=
			    ERR_OK) {
				buf_reset(problem);
			}
		}
	}
	for (size_t i = 0; i < 2; i++) {
		buf_wipe(&keys[i]);
		buf_clear(&chains[i]);
		buf_wipe(&next[i]);
	}
	return good;
}

static void
on_reloaded(void *arg, enum err status, struct bytes payload)
{
	struct msg_tls_files_reply r;
	(void)arg;
	/* What the keeper refuses it has logged. */
	if (status != ERR_OK || msg_tls_files_reply_decode(payload, &r) != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "the TLS files were not read anew: %s. Remedy: `cohue tls reload`",
			  err_text(status));
	} else if (r.problem.len == 0) {
		log_event(LOG_LEVEL_NOTICE, "the TLS keys and certificates were read anew");
	}
}

void
tls_files_reload(struct house *h)
{
	struct child *keeper = child_find(h, ROLE_KEEPER, 0);
	struct buf problem = BUF_INIT(TLS_PROBLEM_MAX);
	if (keeper == NULL || keeper->state != CHILD_READY || keeper->channel == NULL) {
		/* It reads them when it starts. */
		return;
	}
	if (!tls_files_send(keeper, on_reloaded, NULL, &problem)) {
		log_event(LOG_LEVEL_ERROR, "%.*s", (int)problem.len, (const char *)problem.ptr);
	}
	buf_clear(&problem);
}
