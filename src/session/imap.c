/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The command loop and the smallest commands. The others: one verb, or a small group, per file. */
#include "session/imap.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/imap_gate.h"
#include "session/imap_notify.h"

enum { IDLE_LINE_MAX = 1024, BATCH_MAX = CONN_WINDOW };

/* ---- small commands ---- */

static void
do_capability(struct imap *im)
{
	imap_write_text(&im->w, "* CAPABILITY ");
	imap_write_text(&im->w, imap_capabilities());
	imap_write_crlf(&im->w);
	imap_ok(im, NULL, "Done");
}

static void
do_noop(struct imap *im)
{
	imap_report(im, true);
	if (!im->leaving) {
		imap_ok(im, NULL, "Done");
	}
}

static void
do_logout(struct imap *im)
{
	imap_write_status(&im->w, BYTES_EMPTY, "BYE", NULL, "See you");
	imap_ok(im, NULL, "Done");
	im->leaving = true;
}

static void
do_idle(struct imap *im)
{
	imap_report(im, true);
	if (im->leaving) {
		return;
	}
	imap_write_continue(&im->w, "idling");
	memcpy(im->idle_tag, im->command->tag.ptr, im->command->tag.len);
	im->idle_tag_len = im->command->tag.len;
	im->idling = true;
	imap_notify_set_view(im);
	imap_reader_expect_line(&im->reader, IDLE_LINE_MAX);
}

static void
do_login(struct imap *im)
{
	imap_bad(im, "You are logged in already");
}

static void
do_starttls(struct imap *im)
{
	imap_bad(im, "TLS is on already");
}

typedef void command_fn(struct imap *im);

static const struct {
	command_fn *fn;
	bool needs_state; /* the member's folded log */
} commands[IMAP_VERB__COUNT] = {
    [IMAP_CAPABILITY] = {do_capability, false},
    [IMAP_NOOP] = {do_noop, true},
    [IMAP_LOGOUT] = {do_logout, false},
    [IMAP_ID] = {imap_do_id, false},
    [IMAP_STARTTLS] = {do_starttls, false},
    [IMAP_AUTHENTICATE] = {do_login, false},
    [IMAP_LOGIN] = {do_login, false},
    [IMAP_ENABLE] = {imap_do_enable, false},
    [IMAP_SELECT] = {imap_do_select, true},
    [IMAP_EXAMINE] = {imap_do_select, true},
    [IMAP_CREATE] = {imap_do_create, true},
    [IMAP_DELETE] = {imap_do_delete, true},
    [IMAP_RENAME] = {imap_do_rename, true},
    [IMAP_SUBSCRIBE] = {imap_do_subscribe, true},
    [IMAP_UNSUBSCRIBE] = {imap_do_subscribe, true},
    [IMAP_LIST] = {imap_do_list, true},
    [IMAP_LSUB] = {imap_do_list, true},
    [IMAP_STATUS] = {imap_do_status, true},
    [IMAP_NAMESPACE] = {imap_do_namespace, false},
    [IMAP_GETQUOTA] = {imap_do_quota, true},
    [IMAP_GETQUOTAROOT] = {imap_do_quota, true},
    [IMAP_SETQUOTA] = {imap_do_setquota, false},
    [IMAP_GETMETADATA] = {imap_do_getmetadata, true},
    [IMAP_SETMETADATA] = {imap_do_setmetadata, true},
    [IMAP_IDLE] = {do_idle, true},
    [IMAP_CHECK] = {do_noop, true},
    [IMAP_CLOSE] = {imap_do_close, true},
    [IMAP_UNSELECT] = {imap_do_unselect, false},
    [IMAP_EXPUNGE] = {imap_do_expunge, true},
    [IMAP_SEARCH] = {imap_do_search, true},
    [IMAP_SORT] = {imap_do_sort, true},
    [IMAP_THREAD] = {imap_do_thread, true},
    [IMAP_FETCH] = {imap_do_fetch, true},
    [IMAP_STORE] = {imap_do_store, true},
    [IMAP_COPY] = {imap_do_copy, true},
    [IMAP_MOVE] = {imap_do_copy, true},
    [IMAP_NOTIFY] = {imap_do_notify, true},
};

/* ---- the loop ---- */

static void
say_bye(struct imap *im, const char *code, const char *text)
{
	imap_write_status(&im->w, BYTES_EMPTY, "BYE", code, text);
	im->leaving = true;
}

static void
bad_tagged(struct imap *im, struct bytes tag, const char *text, bool count)
{
	imap_write_status(&im->w, tag, "BAD", NULL, text);
	if (count && imap_reader_count_error(&im->reader)) {
		say_bye(im, NULL, "Too many errors");
	}
}

/* Of other mailboxes, and of new messages in this one: what NOTIFY asked for. */
static void
tell_unasked(struct imap *im, enum imap_notify_when when)
{
	if (!im->leaving && im->w.error == ERR_OK && imap_notify_is_on(im)) {
		imap_notify_tell(im, when, 0);
		/* Where there are beats, data items that must be read for it come with answers to commands. */
		if (when == IMAP_NOTIFY_ALL || !im->view.paced) {
			imap_notify_fetch_new(im, 0);
		}
	}
}

/* Nobody has said anything: something has happened. */
static void
report_unasked(struct imap *im)
{
	if (im->view.paced) {
		imap_report_own(im);
		tell_unasked(im, IMAP_NOTIFY_OWN);
	} else {
		imap_report(im, im->idling);
		tell_unasked(im, IMAP_NOTIFY_ALL);
	}
}

static void
run_command(struct imap *im, struct bytes tag, struct bytes text)
{
	struct arena arena;
	struct imap_command command;
	const char *why = "That command is not understood";
	arena_init(&arena, IMAP_ARENA_MAX);
	enum err e = imap_command_parse(&arena, text, imap_modes(im), &command, &why);
	im->conn->worker->seen_commands++;
	if (e != ERR_OK || command.verb != IMAP_CREATE) {
		imap_create_end(im); /* those before it */
	}
	if (im->leaving) {
		arena_clear(&arena);
		return;
	}
	if (e == ERR_UNSUPPORTED) {
		if ((command.search.returns & IMAP_RETURN_SAVE) != 0) {
			buf_clear(&im->saved);
		}
		imap_write_status(&im->w, tag, "NO", "BADCHARSET", "That charset is not known");
	} else if (e == ERR_MEMORY) {
		imap_write_status(&im->w, tag, "NO", "LIMIT", "Too large a command");
	} else if (e != ERR_OK) {
		bad_tagged(im, tag, why, true);
	} else if (!imap_command_allowed(&command, im->selected ? IMAP_SELECTED : IMAP_AUTHENTICATED) ||
		   commands[command.verb].fn == NULL) {
		bad_tagged(im, tag,
			   (imap_verb_states(command.verb) & IMAP_SELECTED) != 0 ? "Select a mailbox first"
										 : "Not after login",
			   true);
	} else if (im->uidonly && imap_command_uses_numbers(&command)) {
		imap_write_status(&im->w, tag, "BAD", "UIDREQUIRED", "After ENABLE UIDONLY, UIDs only");
	} else {
		im->command = &command;
		im->arena = &arena;
		im->progress = loop_now(im->conn->worker->host->loop) + im->conn->worker->progress_ms;
		e = commands[command.verb].needs_state ? member_ready(im->member) : ERR_OK;
		if (e == ERR_OK && im->selected && im->view.lost && command.verb != IMAP_LOGOUT) {
			say_bye(im, NULL, "The selected mailbox has gone");
		} else if (e != ERR_OK) {
			imap_fail(im, e);
		} else {
			commands[command.verb].fn(im);
			tell_unasked(im, IMAP_NOTIFY_ALL);
		}
		im->command = NULL;
		im->arena = NULL;
	}
	arena_clear(&arena);
}

static void
end_idle(struct imap *im, struct bytes line)
{
	imap_report(im, true);
	im->idling = false;
	imap_notify_set_view(im);
	struct bytes tag = bytes_of(im->idle_tag, im->idle_tag_len);
	if (bytes_is_nocase(bytes_trim(line), "DONE")) {
		imap_write_status(&im->w, tag, "OK", NULL, "Done");
	} else {
		bad_tagged(im, tag, "DONE was expected", true);
	}
}

static void
handle(struct imap *im, const struct imap_event *ev)
{
	if (ev->kind != IMAP_EVENT_COMMAND && im->creating != NULL) {
		imap_create_end(im);
		tell_unasked(im, IMAP_NOTIFY_ALL);
	}
	switch (ev->kind) {
	case IMAP_EVENT_NONE:
		break;
	case IMAP_EVENT_COMMAND:
		run_command(im, ev->tag, ev->text);
		break;
	case IMAP_EVENT_CONTINUE:
		imap_write_continue(&im->w, "OK");
		break;
	case IMAP_EVENT_APPEND:
	case IMAP_EVENT_APPEND_MORE:
		if (ev->kind == IMAP_EVENT_APPEND ? imap_append_begin(im, ev->text)
						  : imap_append_more(im, ev->text)) {
			imap_reader_accept(&im->reader);
			if (ev->wait) {
				imap_write_continue(&im->w, "OK");
			}
		} else {
			imap_reader_refuse(&im->reader);
		}
		break;
	case IMAP_EVENT_DATA:
		imap_append_data(im, ev->text);
		break;
	case IMAP_EVENT_APPEND_END:
		imap_append_end(im, ev->text);
		break;
	case IMAP_EVENT_LINE:
		end_idle(im, ev->text);
		break;
	case IMAP_EVENT_BAD:
		imap_append_drop(im);
		if (im->idling) {
			im->idling = false;
			imap_notify_set_view(im);
		}
		imap_write_status(&im->w, ev->tag, ev->code != NULL ? "NO" : "BAD", ev->code,
				  (const char *)ev->text.ptr);
		break;
	case IMAP_EVENT_BYE:
		imap_append_drop(im);
		imap_write_text(&im->w, "* BYE ");
		imap_write_raw(&im->w, ev->text);
		imap_write_crlf(&im->w);
		im->leaving = true;
		break;
	}
}

/*
 * A command that has begun has PACE_MS to be whole, and each octet buys some of it back: 100 a second are enough. Who has announced a
 * message and sends nothing has PACE_MESSAGE_MS.
 */
enum { PACE_MS = 5 * 60 * 1000, PACE_MESSAGE_MS = 60 * 1000, OCTET_MS = 10 };

static msec
pace_window(const struct imap *im)
{
	msec idle = im->conn->worker->host->config.imap_idle;
	msec pace = im->appending != NULL ? PACE_MESSAGE_MS : PACE_MS;
	return idle < pace ? idle : pace;
}

/* These octets have come, and what was whole of them has been done. */
static void
keep_pace(struct imap *im, size_t octets)
{
	msec most = loop_now(im->conn->worker->host->loop) + pace_window(im);
	msec bought = im->pace + (msec)octets * OCTET_MS;
	bool within = !im->leaving && imap_reader_is_within(&im->reader);
	im->pace = !within ? 0 : im->pace == 0 || bought > most ? most : bought;
}

/* All that has come. ERR_CLOSED and the like: the connection has ended. */
static enum err
read_commands(struct imap *im)
{
	enum err e = ERR_OK;
	while (e == ERR_OK && !im->leaving && conn_available(im->conn) > 0) {
		struct buf batch = BUF_INIT(BATCH_MAX);
		e = conn_take(im->conn, &batch);
		struct bytes input = buf_bytes(&batch);
		bool more = e == ERR_OK;
		while (more && e == ERR_OK && !im->leaving) {
			struct imap_event ev = imap_reader_next(&im->reader, &input);
			more = ev.kind != IMAP_EVENT_NONE;
			handle(im, &ev);
			/* Pipelined commands are answered in one go; but what waits for an answer gets it now. */
			e = imap_flush(im, input.len == 0);
			if (e == ERR_OK) {
				e = imap_breathe(im);
			}
		}
		conn_consumed(im->conn, batch.len);
		keep_pace(im, batch.len);
		buf_wipe(&batch);
	}
	return e;
}

static void
serve(struct conn *c)
{
	struct imap *im = c->state;
	msec idle = c->worker->host->config.imap_idle;
	buf_init(&im->out, IMAP_OUT_MAX);
	imap_writer_init(&im->w, &im->out, im->utf8);
	if (c->worker->host->stopping) {
		say_bye(im, "UNAVAILABLE", "The service restarts");
	} else if (im->pace != 0 && loop_now(c->worker->host->loop) >= im->pace) {
		say_bye(im, NULL, "Too slow");
	} else if (c->timed && conn_available(c) == 0) {
		say_bye(im, NULL, "Idle for too long");
	} else if (im->selected && im->view.lost && im->view.idle) {
		say_bye(im, NULL, "The selected mailbox has gone");
	}
	enum err e = im->leaving ? ERR_OK : read_commands(im);
	if (e == ERR_OK && (im->idling || imap_notify_is_on(im)) && !im->leaving && conn_available(c) == 0) {
		report_unasked(im);
	}
	if (e == ERR_OK) {
		e = imap_flush(im, true);
	}
	buf_wipe(&im->out);
	if (e != ERR_OK || im->leaving) {
		conn_close(c);
	} else {
		msec silence = loop_now(c->worker->host->loop) + idle;
		conn_deadline(c, im->pace != 0 && im->pace < silence ? im->pace : silence);
	}
}

/* Between serve and serve: no task runs. The record is the same length whatever it says. */
static void
beat(struct conn *c)
{
	struct imap *im = c->state;
	if ((!im->idling && !imap_notify_is_on(im)) || im->leaving || conn_available(c) > 0) {
		return; /* or it is about to be answered */
	}
	buf_init(&im->out, IMAP_OUT_MAX);
	imap_writer_init(&im->w, &im->out, im->utf8);
	imap_report_beat(im, CONN_BEAT_MAX);
	imap_notify_fetch_new(im, CONN_BEAT_MAX);
	imap_notify_tell(im, IMAP_NOTIFY_BEAT, CONN_BEAT_MAX);
	if (im->out.len == 0) {
		imap_write_status(&im->w, BYTES_EMPTY, "OK", NULL, "Still here");
	}
	enum err e = im->w.error;
	if (e == ERR_OK) {
		e = conn_write_beat(c, buf_bytes(&im->out));
	}
	buf_wipe(&im->out);
	if (e != ERR_OK) {
		conn_close(c);
	}
}

static enum err
open_imap(struct conn *c)
{
	struct imap *im = calloc(1, sizeof(*im));
	if (im == NULL) {
		return ERR_MEMORY;
	}
	im->conn = c;
	buf_init(&im->saved, IMAP_SAVED_MAX);
	im->member = c->member;
	imap_reader_init(&im->reader, imap_reader_limits_session(worker_message_max(c->worker)));
	c->state = im;
	return ERR_OK;
}

static void
destroy(struct conn *c)
{
	struct imap *im = c->state;
	buf_clear(&im->saved);
	imap_append_drop(im);
	imap_create_drop(im);
	imap_deselect(im);
	imap_notify_clear(im);
	imap_reader_clear(&im->reader);
	buf_wipe(&im->out);
	free(im);
	c->state = NULL;
}

const struct conn_protocol imap_protocol = {
    .open = open_imap, .serve = serve, .beat = beat, .destroy = destroy};
