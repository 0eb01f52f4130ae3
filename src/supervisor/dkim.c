/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * HOME/dkim.keys. The supervisor moves its octets between the disk and the keeper, and opens nothing: it asks what the file becomes,
 * has that on disk, and only then says that it counts.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "process/log.h"
#include "supervisor/house.h"

enum { FILE_MAX = 32 * 1024, ANSWER_MS = 60 * 1000, PATH_ROOM = CONFIG_PATH_MAX + 64, OP_TIDY = 0 };

/* The whole file or the one before; on disk when it says so. */
static bool
replace(const struct house *h, struct bytes data)
{
	/* The lock on HOME is ours. */
	enum err e = file_replace(h->home, "dkim.keys", data, 0600);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR,
			  "%s/dkim.keys cannot be written: %s. Remedy: see to the space and the rights there",
			  h->home, err_text(e));
	}
	return e == ERR_OK;
}

static void
end_change(struct house *h, enum err status, const char *text)
{
	struct dkim_change d = h->dkim;
	h->dkim = (struct dkim_change){.busy = false};
	buf_clear(&d.file);
	if (d.done != NULL) {
		d.done(d.arg, status, text);
	}
}

static bool
hand_over(struct house *h, struct bytes file)
{
	struct child *keeper = child_find(h, ROLE_KEEPER, 0);
	struct msg_dkim_file m = {.file = file};
	/* One that is away gets it at its next start. */
	return keeper != NULL && keeper->channel != NULL &&
	       channel_notice(keeper->channel, DKIM_FILE, dkim_file, &m) == ERR_OK;
}

static const char *
explain(enum err e)
{
	switch ((int)e) {
	case ERR_EXISTS:
		return "the next keys wait already. Remedy: publish their records (`cohue dns`); they sign "
		       "when "
		       "`cohue dkim` says, or with `cohue dkim activate`";
	case ERR_NOT_FOUND:
		return "no keys wait to be used. Remedy: `cohue dkim rotate` makes the next ones";
	case ERR_LIMIT:
		return "so many keys are still listed that there is no room for others. Remedy: wait until "
		       "`cohue dkim` shows that older ones are gone";
	case ERR_AUTH:
	case ERR_DAMAGED:
	case ERR_UNSUPPORTED:
		return "dkim.keys does not open. Remedy: the service's log says what to do";
	default:
		return "the keys could not be changed. Remedy: try again in a moment";
	}
}

static void
on_changed(void *arg, enum err status, struct bytes payload)
{
	struct house *h = arg;
	struct msg_dkim_change_reply r = {.file = BYTES_EMPTY};
	if (!h->dkim.busy) {
		return;
	}
	if (status == ERR_OK) {
		status = msg_dkim_change_reply_decode(payload, &r);
	}
	bool fresh = h->dkim.file.len == 0;
	bool same = bytes_equal(r.file, buf_bytes(&h->dkim.file));
	if (status == ERR_OK && !same && !replace(h, r.file)) {
		status = ERR_IO;
		if (h->dkim.first && !fresh) {
			/* Tidying can wait. */
			(void)hand_over(h, buf_bytes(&h->dkim.file));
		}
	} else if (status == ERR_OK) {
		(void)hand_over(h, r.file);
		if (fresh) {
			log_event(LOG_LEVEL_NOTICE,
				  "keys were made that sign leaving mail. Remedy: publish their "
				  "records, as `cohue dns` shows them");
		}
	}
	end_change(h, status, status == ERR_OK ? "" : explain(status));
}

static enum err
send_change(struct child *keeper, unsigned op)
{
	struct house *h = keeper->house;
	char path[PATH_ROOM];
	(void)snprintf(path, sizeof(path), "%s/dkim.keys", h->home);
	buf_init(&h->dkim.file, FILE_MAX);
	enum err e = file_read(path, FILE_NO_LINK | FILE_OURS, S_IRWXG | S_IRWXO, &h->dkim.file);
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		log_event(LOG_LEVEL_ERROR,
			  "%s cannot be read: %s; leaving mail waits. Remedy: chown it to the user who runs "
			  "cohue and "
			  "chmod 600, or bring it back from a backup, then start anew",
			  path, e == ERR_AUTH ? "others may read or change it" : err_text(e));
		return e;
	}
	struct msg_dkim_change m = {.op = (uint8_t)op, .file = buf_bytes(&h->dkim.file)};
	return channel_request(keeper->channel, DKIM_CHANGE, dkim_change, &m, loop_now(h->loop) + ANSWER_MS,
			       on_changed, h);
}

void
dkim_begin(struct child *keeper)
{
	struct house *h = keeper->house;
	if (h->dkim.busy) {
		/* It was asked of the one before, which is no more. */
		end_change(h, ERR_CLOSED, explain(ERR_CLOSED));
	}
	h->dkim = (struct dkim_change){.busy = true, .first = true};
	enum err e = send_change(keeper, OP_TIDY);
	if (e != ERR_OK) {
		end_change(h, e, "");
	}
}

enum err
dkim_ask(struct house *h, unsigned op, dkim_done_fn *done, void *arg)
{
	struct child *keeper = child_find(h, ROLE_KEEPER, 0);
	if (h->dkim.busy || keeper == NULL || keeper->channel == NULL || keeper->state != CHILD_READY) {
		return ERR_AGAIN;
	}
	h->dkim = (struct dkim_change){.busy = true};
	enum err e = send_change(keeper, op);
	if (e != ERR_OK) {
		end_change(h, e, "");
		return ERR_AGAIN;
	}
	h->dkim.done = done;
	h->dkim.arg = arg;
	return ERR_OK;
}

void
dkim_forget(struct house *h, const void *arg)
{
	if (h->dkim.busy && h->dkim.arg == arg) {
		h->dkim.done = NULL;
		h->dkim.arg = NULL;
	}
}
