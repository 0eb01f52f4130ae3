/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ENABLE and what follows from it, ID, and the progress of long commands. */
#include "session/imap.h"

void
imap_do_id(struct imap *im)
{
	/* To members, who may ask for help; strangers, at the gate, hear the name alone. */
	imap_write_text(&im->w, "* ID (\"name\" \"Cohue\" \"version\" \"" COHUE_VERSION
				"\" \"support-url\" \"mailto:postmaster@");
	imap_write_text(&im->w, im->conn->worker->host->config.domain);
	imap_write_text(&im->w, "\")\r\n");
	imap_ok(im, NULL, "Done");
}

unsigned
imap_modes(const struct imap *im)
{
	unsigned modes = 0;
	modes |= im->utf8 ? (unsigned)IMAP_MODE_UTF8 : 0;
	modes |= im->accept ? (unsigned)IMAP_MODE_ACCEPT : 0;
	modes |= im->rev2 ? (unsigned)IMAP_MODE_REV2 : 0;
	modes |= im->qresync ? (unsigned)IMAP_MODE_QRESYNC : 0;
	return modes;
}

static bool
say_enabled(struct imap *im, bool *mode, const char *name)
{
	*mode = true;
	imap_write_text(&im->w, " ");
	imap_write_text(&im->w, name);
	return true;
}

/* True where it is one that can be enabled, now. */
static bool
enable(struct imap *im, struct bytes name)
{
	if (bytes_is_nocase(name, "CONDSTORE")) {
		return say_enabled(im, &im->condstore, "CONDSTORE");
	}
	if (im->selected) {
		/* RFC 5161 section 3.1: what a selected mailbox is told of does not change its form. */
		return false;
	}
	if (bytes_is_nocase(name, "QRESYNC")) {
		im->condstore = true;
		return say_enabled(im, &im->qresync, "QRESYNC");
	}
	if (bytes_is_nocase(name, "UIDONLY")) {
		return say_enabled(im, &im->uidonly, "UIDONLY");
	}
	if (bytes_is_nocase(name, "IMAP4rev2")) {
		im->utf8 = true;
		return say_enabled(im, &im->rev2, "IMAP4rev2");
	}
	if (bytes_is_nocase(name, "UTF8=ACCEPT")) {
		im->utf8 = true;
		return say_enabled(im, &im->accept, "UTF8=ACCEPT");
	}
	return false;
}

void
imap_do_enable(struct imap *im)
{
	imap_write_text(&im->w, "* ENABLED");
	for (size_t i = 0; i < im->command->enable.count; i++) {
		bool twice = false;
		for (size_t j = 0; j < i; j++) {
			twice = twice || bytes_equal_nocase(im->command->enable.names[i],
							    im->command->enable.names[j]);
		}
		if (!twice) {
			(void)enable(im, im->command->enable.names[i]);
		}
	}
	imap_write_crlf(&im->w);
	im->w.utf8 = im->utf8;
	imap_ok(im, NULL, "Done");
}

void
imap_write_fetch_head(struct imap *im, uint32_t sequence, uint32_t uid)
{
	imap_write_text(&im->w, "* ");
	imap_write_number(&im->w, im->uidonly ? uid : sequence);
	imap_write_text(&im->w, im->uidonly ? " UIDFETCH (" : " FETCH (");
}

enum err
imap_progress(struct imap *im, uint64_t done, uint64_t total)
{
	msec now = loop_now(im->conn->worker->host->loop);
	if (now >= im->progress && im->command != NULL) {
		im->progress = now + im->conn->worker->progress_ms;
		imap_write_text(&im->w, "* OK [INPROGRESS (\"");
		imap_write_raw(&im->w, im->command->tag);
		if (total > 0) {
			imap_write_format(&im->w, "\" %llu %llu)] Still at it\r\n",
					  (unsigned long long)(done < total ? done : total - 1),
					  (unsigned long long)total);
		} else {
			imap_write_format(&im->w, "\" %llu NIL)] Still at it\r\n", (unsigned long long)done);
		}
		enum err e = imap_flush(im, true);
		if (e != ERR_OK) {
			return e;
		}
		/* Nobody would see it before the answer's end. */
		conn_flush(im->conn, CONN_PAD_LADDER);
	}
	return imap_breathe(im);
}
