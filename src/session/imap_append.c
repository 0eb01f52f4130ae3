/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* APPEND and REPLACE: messages come in piece by piece, and go into the log, in one record, when the last one is whole. */
#include <stdlib.h>
#include <string.h>

#include "session/imap.h"

enum { SENT_KEPT_FLAGS = FOLD_SEEN };

static void
release(struct imap *im, struct imap_appended *m)
{
	buf_wipe(&m->octets);
	worker_give_bytes(im->conn->worker, im->member, m->taken);
	m->taken = 0;
}

void
imap_append_drop(struct imap *im)
{
	struct imap_appending *a = im->appending;
	if (a == NULL) {
		return;
	}
	im->appending = NULL;
	for (size_t i = 0; i < a->count; i++) {
		release(im, &a->messages[i]);
	}
	free(a->messages);
	buf_wipe(&a->mailbox);
	arena_clear(&a->arena);
	free(a);
}

/* Room for one more message; false: answered. */
static bool
take_message(struct imap *im, struct imap_appending *a, const struct imap_append_part *part)
{
	uint64_t most = worker_message_max(im->conn->worker);
	uint64_t together = most > IMAP_APPEND_OCTETS ? most : IMAP_APPEND_OCTETS;
	if (part->size == 0) {
		imap_no(im, "CANNOT", "An empty message is none");
	} else if (part->size > most) {
		imap_no(im, "TOOBIG", "The message is too large");
	} else if (a->count == IMAP_APPEND_COUNT || part->size > together - a->octets) {
		imap_no(im, "LIMIT", "Too many messages in one command");
	} else if (!imap_keywords_fit(im, &part->flags)) {
		imap_no(im, "LIMIT", "A keyword is too long, or there are too many of them");
	} else if (!worker_has_bytes(im->conn->worker, im->member, (size_t)part->size)) {
		imap_fail(im, ERR_AGAIN);
	} else {
		size_t size = (size_t)part->size;
		struct imap_appended *more = realloc(a->messages, (a->count + 1) * sizeof(*more));
		if (more == NULL) {
			imap_fail(im, ERR_MEMORY);
			return false;
		}
		a->messages = more;
		struct imap_appended *m = &a->messages[a->count++];
		*m = (struct imap_appended){.part = *part};
		buf_init(&m->octets, size);
		a->octets += size;
		return true;
	}
	return false;
}

/* Which message REPLACE is about. */
static bool
find_replaced(struct imap *im, struct imap_appending *a)
{
	struct message_item *items = NULL;
	size_t count = 0;
	if (!imap_command_allowed(&a->command, im->selected ? IMAP_SELECTED : IMAP_AUTHENTICATED)) {
		imap_bad(im, "Select a mailbox first");
		return false;
	}
	if (im->uidonly && imap_command_uses_numbers(&a->command)) {
		imap_write_status(&im->w, a->command.tag, "BAD", "UIDREQUIRED",
				  "After ENABLE UIDONLY, UIDs only");
		return false;
	}
	if (im->view.read_only) {
		imap_no(im, "READ-ONLY", "This mailbox was opened for reading only");
		return false;
	}
	im->arena = &a->arena;
	bool picked = imap_pick(im, &a->command.set, a->command.uid, &items, &count);
	im->arena = NULL;
	if (!picked) {
		return false;
	}
	if (count != 1 || items[0].record == 0) {
		imap_no(im, NULL, "There is no such message to be replaced");
		return false;
	}
	a->from = im->view.mailbox;
	a->replaced = items[0].uid;
	return true;
}

/* Whether the mailbox is there and the message may come. */
static bool
may_come(struct imap *im, struct imap_appending *a)
{
	const struct imap_command *c = &a->command;
	if (c->verb == IMAP_REPLACE && !find_replaced(im, a)) {
		return false;
	}
	const struct fold_mailbox *box = imap_mailbox(im, c->mailbox, "TRYCREATE");
	if (box == NULL) {
		return false;
	}
	enum err e = buf_append(&a->mailbox, box->name);
	if (e != ERR_OK) {
		imap_fail(im, e);
		return false;
	}
	return take_message(im, a, &c->append);
}

/* A command that is not understood counts as an error, as any other. */
static void
say_bad(struct imap *im, struct bytes tag, enum err e, const char *why)
{
	if (e == ERR_MEMORY) {
		imap_write_status(&im->w, tag, "NO", "LIMIT", "Too large a command");
		return;
	}
	imap_write_status(&im->w, tag, "BAD", NULL, why);
	if (imap_reader_count_error(&im->reader)) {
		imap_write_status(&im->w, BYTES_EMPTY, "BYE", NULL, "Too many errors");
		im->leaving = true;
	}
}

bool
imap_append_begin(struct imap *im, struct bytes text)
{
	const char *why = "That command is not understood";
	ptrdiff_t space = bytes_find(text, ' ');
	struct bytes tag = bytes_slice(text, 0, space < 0 ? 0 : (size_t)space);
	bool comes = false;
	imap_append_drop(im);
	struct imap_appending *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		imap_write_status(&im->w, tag, "NO", "UNAVAILABLE", "Not now: try again later");
		return false;
	}
	arena_init(&a->arena, IMAP_ARENA_MAX);
	buf_init(&a->mailbox, IMAP_NAME_OUT_MAX);
	im->appending = a;
	/* The text goes while the message comes: the command keeps a copy. */
	struct bytes kept = arena_copy(&a->arena, text);
	enum err e = kept.ptr == NULL
			 ? ERR_MEMORY
			 : imap_command_parse(&a->arena, kept, imap_modes(im), &a->command, &why);
	if (e != ERR_OK) {
		say_bad(im, tag, e, why);
	} else {
		im->command = &a->command;
		e = member_ready(im->member);
		if (e == ERR_OK) {
			comes = may_come(im, a);
		} else {
			imap_fail(im, e);
		}
		im->command = NULL;
	}
	if (!comes) {
		imap_append_drop(im);
	}
	return comes;
}

bool
imap_append_more(struct imap *im, struct bytes text)
{
	struct imap_appending *a = im->appending;
	const char *why = "One message replaces one";
	struct imap_append_part part;
	bool comes = false;
	if (a == NULL) {
		return false;
	}
	struct bytes kept = arena_copy(&a->arena, text);
	bool in_utf8 = a->messages[a->count - 1].part.utf8;
	enum err e = kept.ptr == NULL ? ERR_MEMORY
		     : a->command.verb == IMAP_REPLACE
			 ? ERR_FORMAT
			 : imap_append_part_parse(&a->arena, kept, imap_modes(im), in_utf8, &part, &why);
	im->command = &a->command;
	if (e != ERR_OK) {
		say_bad(im, a->command.tag, e, why);
	} else if ((e = member_ready(im->member)) != ERR_OK) {
		imap_fail(im, e);
	} else {
		comes = take_message(im, a, &part);
	}
	im->command = NULL;
	if (!comes) {
		imap_append_drop(im);
	}
	return comes;
}

/* Room is taken for what has come, not for what was announced. */
static enum err
take_octets(struct imap *im, struct imap_appended *m, struct bytes data)
{
	size_t before = m->octets.cap;
	enum err e = buf_append(&m->octets, data);
	size_t grown = m->octets.cap - before;
	if (e == ERR_OK && grown > 0) {
		e = worker_take_bytes(im->conn->worker, im->member, grown);
		m->taken += e == ERR_OK ? grown : 0;
	}
	return e;
}

void
imap_append_data(struct imap *im, struct bytes data)
{
	struct imap_appending *a = im->appending;
	if (a != NULL && a->error == ERR_OK) {
		struct imap_appended *m = &a->messages[a->count - 1];
		m->has_nul = m->has_nul || (data.len > 0 && memchr(data.ptr, 0, data.len) != NULL);
		a->error = take_octets(im, m, data);
		if (a->error != ERR_OK) {
			/* What comes yet is read over, and then answered. */
			for (size_t i = 0; i < a->count; i++) {
				release(im, &a->messages[i]);
			}
		}
	}
}

/*
 * The UID of our copy that stands for the client's own of what the server has just filed as sent: what the client's adds is kept. 0:
 * there is none.
 */
static uint32_t
stands_already(struct imap *im, const struct imap_appending *a, const struct imap_appended *m,
	       const struct fold_mailbox *box)
{
	uint8_t key[OPERATION_KEY_LEN];
	uint32_t mailbox = 0;
	uint32_t uid = 0;
	if ((box->special_use & IMAP_USE_SENT) == 0 ||
	    !member_sent_key(im->member, buf_bytes(&m->octets), key) ||
	    fold_sent_copy(im->member->fold, key, &mailbox, &uid) != ERR_OK || mailbox != box->id) {
		return 0;
	}
	return a->from == box->id && a->replaced == uid ? 0 : uid;
}

/* The UIDs in the order of the messages. */
static void
write_appenduid(struct imap *im, struct bytes tag, const struct member_put *put)
{
	struct buf ranges = BUF_INIT(IMAP_APPEND_COUNT * sizeof(struct imap_range));
	struct buf uids = BUF_INIT(IMAP_APPEND_COUNT * 24);
	enum err e = ERR_OK;
	for (size_t i = 0; i < put->count && e == ERR_OK; i++) {
		e = imap_ranges_add(&ranges, put->uids[i]);
	}
	struct imap_set set = imap_ranges_set(&ranges);
	e = e == ERR_OK ? imap_set_write(&uids, &set) : e;
	if (e == ERR_OK) {
		imap_write_raw(&im->w, tag.len > 0 ? tag : BYTES_LIT("*"));
		imap_write_format(&im->w, " OK [APPENDUID %u ", (unsigned)put->uidvalidity);
		imap_write_raw(&im->w, buf_bytes(&uids));
		imap_write_text(&im->w, tag.len > 0 ? "] Appended\r\n" : "] The new one\r\n");
	} else {
		im->w.error = e;
	}
	buf_clear(&ranges);
	buf_clear(&uids);
}

static void
answer_put(struct imap *im, enum err e, const struct member_put *put)
{
	bool replace = im->command->verb == IMAP_REPLACE;
	if (e == ERR_NOT_FOUND) {
		imap_no(im, "TRYCREATE", "The mailbox has gone");
	} else if (put->gone) {
		imap_report(im, true);
		imap_no(im, NULL, "The message to be replaced has gone");
	} else if (e != ERR_OK) {
		imap_fail(im, e);
	} else if (replace) {
		/* RFC 8508 section 3.3: before the expunge. */
		write_appenduid(im, BYTES_EMPTY, put);
		imap_report(im, true);
		imap_ok(im, NULL, "Replaced");
	} else {
		imap_report(im, true);
		write_appenduid(im, im->command->tag, put);
	}
}

static void
put_all(struct imap *im, struct imap_appending *a, const struct fold_mailbox *box)
{
	struct member_new_message *messages = arena_array(&a->arena, a->count, sizeof(*messages));
	uint32_t *uids = arena_array(&a->arena, a->count, sizeof(*uids));
	if (messages == NULL || uids == NULL) {
		imap_fail(im, ERR_MEMORY);
		return;
	}
	for (size_t i = 0; i < a->count; i++) {
		const struct imap_appended *m = &a->messages[i];
		const struct imap_append_part *part = &m->part;
		messages[i] = (struct member_new_message){
		    .message = buf_bytes(&m->octets),
		    .flags = (uint8_t)(part->flags.system & FOLD_FLAGS_ALL),
		    .keywords = {.names = part->flags.keywords, .count = part->flags.keyword_count},
		    .date = part->has_time ? part->time.seconds : clock_wall() / MSEC_SECOND,
		    .zone = part->has_time ? part->time.zone : (int16_t)0,
		    .standing = stands_already(im, a, m, box)};
		if (messages[i].standing != 0) {
			messages[i].flags &= (uint8_t)~SENT_KEPT_FLAGS; /* ours is seen from the beginning */
		}
	}
	struct member_put put = {.mailbox = box->id,
				 .messages = messages,
				 .count = a->count,
				 .from = a->from,
				 .replaced = a->replaced,
				 .uidvalidity = box->uidvalidity,
				 .uids = uids};
	answer_put(im, member_put_messages(im->member, im->conn, &put), &put);
}

static void
append_whole(struct imap *im, struct imap_appending *a, struct bytes rest)
{
	enum err e = ERR_OK;
	if (!bytes_is(rest, a->messages[a->count - 1].part.utf8 ? ")" : "")) {
		say_bad(im, a->command.tag, ERR_FORMAT, "Syntax error behind the message");
		return;
	}
	for (size_t i = 0; i < a->count; i++) {
		const struct imap_appended *m = &a->messages[i];
		if (m->has_nul) {
			/* CHAR8 is no NUL (RFC 3501 section 9); a literal8 may hold it, but no message (RFC 3516 section 4.4). */
			imap_no(im, m->part.literal8 ? "UNKNOWN-CTE" : "CANNOT",
				"A message cannot hold NUL octets");
			return;
		}
		e = a->error != ERR_OK ? a->error : m->octets.len != m->part.size ? ERR_MEMORY : e;
	}
	e = e == ERR_OK ? member_ready(im->member) : e;
	if (e != ERR_OK) {
		imap_fail(im, e);
		return;
	}
	const struct fold_mailbox *box = fold_mailbox_by_name(im->member->fold, buf_bytes(&a->mailbox));
	if (box == NULL) {
		imap_no(im, "TRYCREATE", "The mailbox has gone");
		return;
	}
	put_all(im, a, box);
}

void
imap_append_end(struct imap *im, struct bytes rest)
{
	struct imap_appending *a = im->appending;
	if (a == NULL) {
		return;
	}
	im->command = &a->command;
	append_whole(im, a, rest);
	im->command = NULL;
	imap_append_drop(im);
}
