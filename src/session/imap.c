/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The command loop, and what the commands share. One verb, or a small group, per file. */
#include "session/imap.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/imap_gate.h"
#include "protocol/imap_mailbox_name.h"

enum { IDLE_LINE_MAX = 1024, BATCH_MAX = CONN_WINDOW };

/* ---- answers ---- */

enum err
imap_flush(struct imap *im, bool all)
{
	if (im->w.error != ERR_OK) {
		conn_close(im->conn);
		return im->w.error;
	}
	if (im->out.len == 0 || (!all && im->out.len < IMAP_OUT_FLUSH)) {
		return conn_is_closed(im->conn) ? ERR_CLOSED : ERR_OK;
	}
	enum err e = conn_write(im->conn, buf_bytes(&im->out));
	buf_reset(&im->out);
	return e;
}

enum err
imap_breathe(struct imap *im)
{
	if (task_has_run_for(IMAP_SLICE_MS)) {
		enum err e = task_yield();
		if (e != ERR_OK) {
			return e;
		}
	}
	return conn_is_closed(im->conn) ? ERR_CLOSED : ERR_OK;
}

static struct bytes
tag_of(const struct imap *im)
{
	return im->command != NULL ? im->command->tag : BYTES_EMPTY;
}

void
imap_ok(struct imap *im, const char *code, const char *text)
{
	imap_write_status(&im->w, tag_of(im), "OK", code, text);
}

void
imap_no(struct imap *im, const char *code, const char *text)
{
	imap_write_status(&im->w, tag_of(im), "NO", code, text);
}

void
imap_bad(struct imap *im, const char *text)
{
	imap_write_status(&im->w, tag_of(im), "BAD", NULL, text);
}

void
imap_fail(struct imap *im, enum err e)
{
	switch ((int)e) {
	case ERR_DAMAGED:
		imap_no(im, "CORRUPTION", "The stored mail does not verify: it was damaged or tampered with");
		break;
	case ERR_UNSUPPORTED:
		imap_no(im, "UNAVAILABLE", "The stored mail was written by a newer version");
		break;
	case ERR_QUOTA:
		imap_no(im, "OVERQUOTA", "No room left in your mailboxes");
		break;
	case ERR_LIMIT:
		imap_no(im, "LIMIT", "Too much at once");
		break;
	case ERR_NOT_FOUND:
		imap_no(im, "NONEXISTENT", "There is no such mailbox");
		break;
	case ERR_EXISTS:
		imap_no(im, "ALREADYEXISTS", "There is one of this name already");
		break;
	case ERR_DENIED:
		imap_no(im, "UNAVAILABLE", "This account has just been closed or changed: log in again");
		break;
	default:
		imap_no(im, "UNAVAILABLE", "Not now: try again later");
		break;
	}
}

bool
imap_name(struct imap *im, struct bytes wire, bool trailing, struct buf *ret)
{
	enum err e = imap_mailbox_from_wire(ret, wire, im->utf8, trailing);
	if (e == ERR_OK && operation_name_valid(buf_bytes(ret))) {
		return true;
	}
	if (e == ERR_MEMORY) {
		imap_fail(im, e);
	} else {
		imap_no(im, "CANNOT", "That is not a mailbox name");
	}
	return false;
}

const struct fold_mailbox *
imap_mailbox(struct imap *im, struct bytes wire, const char *code)
{
	struct buf name = BUF_INIT(IMAP_NAME_OUT_MAX);
	const struct fold_mailbox *box = NULL;
	/* A name that cannot exist does not exist. */
	if (imap_mailbox_from_wire(&name, wire, im->utf8, false) == ERR_OK) {
		box = fold_mailbox_by_name(im->member->fold, buf_bytes(&name));
	}
	buf_wipe(&name);
	if (box == NULL) {
		imap_no(im, code, "There is no such mailbox");
	}
	return box;
}

const struct fold_mailbox *
imap_selected(const struct imap *im)
{
	if (!im->selected || im->view.lost || !im->member->loaded) {
		return NULL;
	}
	return fold_mailbox_by_id(im->member->fold, im->view.mailbox);
}

struct imap_flags
imap_flags_of(struct imap *im, struct arena *a, const struct fold_message *message)
{
	struct imap_flags flags = {.system = message->flags, .keywords = NULL, .keyword_count = 0};
	if (message->keyset == 0) {
		return flags;
	}
	size_t count = fold_keyset_count(im->member->fold, message->keyset);
	struct bytes *names = arena_array(a, count, sizeof(*names));
	if (names != NULL) {
		for (size_t i = 0; i < count; i++) {
			names[i] = fold_keyset_at(im->member->fold, message->keyset, i);
		}
		flags.keywords = names;
		flags.keyword_count = count;
	}
	return flags;
}

/* ---- picking messages ---- */

static bool
pick_range(const struct imap *im, const struct fold_mailbox *box, uint32_t first, uint32_t last,
	   struct message_item *items, size_t *count)
{
	/* first .. last: sequence numbers within the view. Merges what is there and what has gone. */
	uint32_t uid = view_uid(&im->view, box, first);
	uint32_t at = fold_message_lower(box, uid);
	uint32_t gone = first - 1 - at;
	uint32_t there = fold_message_lower(box, im->view.uidnext);
	for (uint32_t sequence = first; sequence <= last; sequence++) {
		if (gone < view_gone_count(&im->view) &&
		    (at >= there || view_gone_at(&im->view, gone) < box->messages[at].uid)) {
			items[(*count)++] = (struct message_item){.record = 0,
								  .op = 0,
								  .uid = view_gone_at(&im->view, gone++),
								  .sequence = sequence};
		} else if (at < there) {
			const struct fold_message *m = &box->messages[at++];
			items[(*count)++] = (struct message_item){
			    .record = m->record, .op = m->op, .uid = m->uid, .sequence = sequence};
		} else {
			return false;
		}
	}
	return true;
}

bool
imap_pick(struct imap *im, const struct imap_set *set, bool uid, struct message_item **ret, size_t *ret_count)
{
	const struct fold_mailbox *box = imap_selected(im);
	if (box == NULL) {
		imap_no(im, "UNAVAILABLE", "The mailbox has gone");
		return false;
	}
	uint32_t count = view_count(&im->view, box);
	struct imap_set resolved;
	if (imap_set_resolve(im->arena, set, uid ? view_last_uid(&im->view, box) : count, &resolved) !=
	    ERR_OK) {
		imap_fail(im, ERR_MEMORY);
		return false;
	}
	if (!uid && imap_set_last(&resolved) > count) {
		imap_bad(im, "There is no message of that number");
		return false;
	}
	struct message_item *items = arena_array(im->arena, (size_t)count + 1, sizeof(*items));
	if (items == NULL) {
		imap_fail(im, ERR_MEMORY);
		return false;
	}
	size_t n = 0;
	for (size_t i = 0; i < resolved.count; i++) {
		uint32_t first = resolved.ranges[i].first;
		uint32_t last = resolved.ranges[i].last;
		if (uid) {
			first = view_sequence(&im->view, box, first);
			last = last == UINT32_MAX ? count : view_sequence(&im->view, box, last + 1) - 1;
			last = last < count ? last : count;
		}
		if (first <= last && first >= 1 && !pick_range(im, box, first, last, items, &n)) {
			break;
		}
	}
	*ret = items;
	*ret_count = n;
	return true;
}

bool
imap_uid_set(struct arena *a, const struct message_item *items, size_t count, struct uid_set *ret)
{
	struct uid_range *ranges = arena_array(a, count + 1, sizeof(*ranges));
	size_t n = 0;
	if (ranges == NULL) {
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (items[i].record == 0) {
			continue; /* gone */
		}
		if (n > 0 && ranges[n - 1].last + 1 == items[i].uid) {
			ranges[n - 1].last = items[i].uid;
		} else {
			ranges[n++] = (struct uid_range){.first = items[i].uid, .last = items[i].uid};
		}
	}
	*ret = (struct uid_set){.ranges = ranges, .count = n};
	return n <= OPERATION_RANGES_MAX;
}

/* ---- telling of changes ---- */

static void
report_expunges(struct imap *im, const struct fold_mailbox *box)
{
	size_t count = view_gone_count(&im->view);
	/* From the last, so that each number is still right when the client reads it. */
	for (size_t i = count; i > 0; i--) {
		uint32_t uid = view_gone_at(&im->view, i - 1);
		uint32_t sequence = fold_message_lower(box, uid) + (uint32_t)i;
		imap_write_untagged_number(&im->w, sequence, "EXPUNGE");
	}
	buf_clear(&im->view.gone);
}

static void
report_flags(struct imap *im, const struct fold_mailbox *box)
{
	struct view *v = &im->view;
	size_t count = v->changed.len / sizeof(struct uid_range);
	struct arena arena;
	arena_init(&arena, IMAP_ARENA_MAX);
	struct imap_range *ranges = arena_array(&arena, count, sizeof(*ranges));
	if (ranges != NULL) {
		for (size_t i = 0; i < count; i++) {
			struct uid_range one;
			memcpy(&one, v->changed.ptr + i * sizeof(one), sizeof(one));
			ranges[i] = (struct imap_range){.first = one.first, .last = one.last};
		}
		count = imap_ranges_merge(ranges, count);
	} else {
		count = 0;
	}
	for (size_t r = 0; r < count; r++) {
		for (uint32_t i = fold_message_lower(box, ranges[r].first);
		     i < box->count && box->messages[i].uid <= ranges[r].last &&
		     box->messages[i].uid < v->uidnext;
		     i++) {
			const struct fold_message *m = &box->messages[i];
			struct imap_flags flags = imap_flags_of(im, &arena, m);
			imap_write_format(&im->w, "* %u FETCH (UID %u", view_sequence(v, box, m->uid),
					  m->uid);
			if (im->condstore) {
				imap_write_format(&im->w, " MODSEQ (%llu)", (unsigned long long)m->modseq);
			}
			imap_write_text(&im->w, " FLAGS ");
			imap_write_flags(&im->w, &flags);
			imap_write_text(&im->w, ")\r\n");
		}
	}
	arena_clear(&arena);
	buf_clear(&v->changed);
}

void
imap_report(struct imap *im, bool expunges)
{
	if (!im->selected || !im->view.stale) {
		return;
	}
	const struct fold_mailbox *box = imap_selected(im);
	if (box == NULL) {
		imap_write_status(&im->w, BYTES_EMPTY, "BYE", NULL, "The selected mailbox has gone");
		im->leaving = true;
		return;
	}
	struct view *v = &im->view;
	if (expunges && view_gone_count(v) > 0) {
		report_expunges(im, box);
	}
	uint32_t before = view_count(v, box);
	v->uidnext = box->uidnext;
	uint32_t now = view_count(v, box);
	if (now != before) {
		imap_write_untagged_number(&im->w, now, "EXISTS");
		imap_write_untagged_number(&im->w, 0, "RECENT");
	}
	if (v->changed.len > 0) {
		report_flags(im, box);
	}
	v->stale = view_gone_count(v) > 0;
}

void
imap_deselect(struct imap *im)
{
	if (im->selected) {
		view_close(&im->view);
		im->selected = false;
	}
}

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
do_id(struct imap *im)
{
	imap_write_text(&im->w, "* ID (\"name\" \"Cohue\")\r\n");
	imap_ok(im, NULL, "Done");
}

static void
do_enable(struct imap *im)
{
	imap_write_text(&im->w, "* ENABLED");
	for (size_t i = 0; i < im->command->enable.count; i++) {
		struct bytes name = im->command->enable.names[i];
		if (bytes_is_nocase(name, "CONDSTORE")) {
			im->condstore = true;
			imap_write_text(&im->w, " CONDSTORE");
		} else if (bytes_is_nocase(name, "UTF8=ACCEPT") && !im->selected) {
			im->utf8 = true;
			imap_write_text(&im->w, " UTF8=ACCEPT");
		}
	}
	imap_write_crlf(&im->w);
	im->w.utf8 = im->utf8;
	imap_ok(im, NULL, "Done");
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
	im->view.idle = im->selected;
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
    [IMAP_ID] = {do_id, false},
    [IMAP_STARTTLS] = {do_starttls, false},
    [IMAP_AUTHENTICATE] = {do_login, false},
    [IMAP_LOGIN] = {do_login, false},
    [IMAP_ENABLE] = {do_enable, false},
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
    [IMAP_IDLE] = {do_idle, true},
    [IMAP_CHECK] = {do_noop, true},
    [IMAP_CLOSE] = {imap_do_close, true},
    [IMAP_UNSELECT] = {imap_do_unselect, false},
    [IMAP_EXPUNGE] = {imap_do_expunge, true},
    [IMAP_SEARCH] = {imap_do_search, true},
    [IMAP_FETCH] = {imap_do_fetch, true},
    [IMAP_STORE] = {imap_do_store, true},
    [IMAP_COPY] = {imap_do_copy, true},
    [IMAP_MOVE] = {imap_do_copy, true},
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

static void
run_command(struct imap *im, struct bytes tag, struct bytes text)
{
	struct arena arena;
	struct imap_command command;
	const char *why = "That command is not understood";
	arena_init(&arena, IMAP_ARENA_MAX);
	enum err e = imap_command_parse(&arena, text, im->utf8, &command, &why);
	im->conn->worker->seen_commands++;
	if (e == ERR_UNSUPPORTED) {
		imap_write_status(&im->w, tag, "NO", "BADCHARSET (UTF-8 US-ASCII)",
				  "That charset is not known");
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
	} else {
		im->command = &command;
		im->arena = &arena;
		e = commands[command.verb].needs_state ? member_ready(im->member) : ERR_OK;
		if (e == ERR_OK && im->selected && im->view.lost && command.verb != IMAP_LOGOUT) {
			say_bye(im, NULL, "The selected mailbox has gone");
		} else if (e != ERR_OK) {
			imap_fail(im, e);
		} else {
			commands[command.verb].fn(im);
		}
		im->command = NULL;
		im->arena = NULL;
	}
	arena_clear(&arena);
}

static void
end_idle(struct imap *im, struct bytes line)
{
	im->idling = false;
	im->view.idle = false;
	imap_report(im, true);
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
		if (imap_append_begin(im, ev->text)) {
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
		imap_append_end(im);
		break;
	case IMAP_EVENT_LINE:
		end_idle(im, ev->text);
		break;
	case IMAP_EVENT_BAD:
		imap_append_drop(im);
		if (im->idling) {
			im->idling = false;
			im->view.idle = false;
		}
		imap_write_raw(&im->w, ev->tag.len > 0 ? ev->tag : BYTES_LIT("*"));
		imap_write_text(&im->w, " BAD ");
		imap_write_raw(&im->w, ev->text);
		imap_write_crlf(&im->w);
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
	} else if (c->timed && conn_available(c) == 0) {
		say_bye(im, NULL, "Idle for too long");
	} else if (im->selected && im->view.lost && im->view.idle) {
		say_bye(im, NULL, "The selected mailbox has gone");
	}
	enum err e = im->leaving ? ERR_OK : read_commands(im);
	if (e == ERR_OK && im->idling && !im->leaving && conn_available(c) == 0) {
		imap_report(im, true);
	}
	if (e == ERR_OK) {
		e = imap_flush(im, true);
	}
	buf_wipe(&im->out);
	if (e != ERR_OK || im->leaving) {
		conn_close(c);
	} else {
		conn_deadline(c, loop_now(c->worker->host->loop) + idle);
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
	im->member = c->member;
	imap_reader_init(&im->reader, imap_reader_limits_session(worker_message_max(c->worker)));
	c->state = im;
	return ERR_OK;
}

static void
destroy(struct conn *c)
{
	struct imap *im = c->state;
	imap_append_drop(im);
	imap_deselect(im);
	imap_reader_clear(&im->reader);
	buf_wipe(&im->out);
	free(im);
	c->state = NULL;
}

const struct conn_protocol imap_protocol = {.open = open_imap, .serve = serve, .destroy = destroy};
