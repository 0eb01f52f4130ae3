/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* APPEND: the message comes in piece by piece, and goes into the log when it is whole. */
#include <stdlib.h>
#include <string.h>

#include "session/imap.h"

enum { SENT_KEPT_FLAGS = FOLD_SEEN };

static struct keyword_list
keywords_of(const struct imap_flags *flags)
{
	return (struct keyword_list){.names = flags->keywords, .count = flags->keyword_count};
}

void
imap_append_drop(struct imap *im)
{
	struct imap_appending *a = im->appending;
	if (a == NULL) {
		return;
	}
	im->appending = NULL;
	worker_give_bytes(im->conn->worker, a->taken);
	buf_wipe(&a->message);
	buf_wipe(&a->mailbox);
	arena_clear(&a->arena);
	free(a);
}

/* Whether the mailbox is there and the message may come. */
static bool
may_come(struct imap *im, struct imap_appending *a)
{
	const struct imap_command *c = &a->command;
	const struct fold_mailbox *box = imap_mailbox(im, c->mailbox, "TRYCREATE");
	if (box == NULL) {
		return false;
	}
	if (c->append.size == 0) {
		imap_no(im, "CANNOT", "An empty message is none");
	} else if (c->append.size > worker_message_max(im->conn->worker)) {
		imap_no(im, "TOOBIG", "The message is too large");
	} else if (!imap_keywords_fit(im, &c->append.flags)) {
		imap_no(im, "LIMIT", "A keyword is too long, or there are too many of them");
	} else if (worker_take_bytes(im->conn->worker, (size_t)c->append.size) != ERR_OK) {
		imap_fail(im, ERR_AGAIN);
	} else {
		a->taken = (size_t)c->append.size;
		buf_init(&a->message, a->taken);
		enum err e = buf_append(&a->mailbox, box->name);
		if (e == ERR_OK) {
			return true;
		}
		imap_fail(im, e);
	}
	return false;
}

bool
imap_append_begin(struct imap *im, struct bytes text)
{
	const char *why = "That command is not understood";
	bool comes = false;
	imap_append_drop(im);
	struct imap_appending *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		imap_write_status(&im->w, bytes_slice(text, 0, (size_t)bytes_find(text, ' ')), "NO",
				  "UNAVAILABLE", "Not now: try again later");
		return false;
	}
	arena_init(&a->arena, IMAP_ARENA_MAX);
	buf_init(&a->mailbox, IMAP_NAME_OUT_MAX);
	im->appending = a;
	/* The text may go while the message comes: the command keeps a copy. */
	struct bytes kept = arena_copy(&a->arena, text);
	enum err e = kept.ptr == NULL
			 ? ERR_MEMORY
			 : imap_command_parse(&a->arena, kept, imap_modes(im), &a->command, &why);
	if (e != ERR_OK) {
		ptrdiff_t space = bytes_find(text, ' ');
		struct bytes tag = bytes_slice(text, 0, space < 0 ? 0 : (size_t)space);
		if (e == ERR_MEMORY) {
			imap_write_status(&im->w, tag, "NO", "LIMIT", "Too large a command");
		} else {
			imap_write_status(&im->w, tag, "BAD", NULL, why);
		}
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

void
imap_append_data(struct imap *im, struct bytes data)
{
	struct imap_appending *a = im->appending;
	if (a != NULL && !a->failed) {
		/* literal = "{" number "}" CRLF *CHAR8, and CHAR8 is no NUL (RFC 3501 section 9); literal8 may hold it. */
		a->has_nul = a->has_nul || (!a->command.append.utf8 && data.len > 0 &&
					    memchr(data.ptr, 0, data.len) != NULL);
		a->failed = buf_append(&a->message, data) != ERR_OK;
	}
}

/* A client's own copy of what the server has just filed as sent: what it adds is kept. */
struct merging {
	uint32_t mailbox;
	uint32_t uid;
	uint8_t flags;
	struct keyword_list keywords;
};

static enum err
build_merge(void *arg, struct member *m, struct member_change *c)
{
	const struct merging *g = arg;
	const struct fold_mailbox *box = fold_mailbox_by_id(m->fold, g->mailbox);
	if (box == NULL || fold_message_by_uid(box, g->uid) == NULL) {
		return ERR_NOT_FOUND;
	}
	struct uid_range one = {.first = g->uid, .last = g->uid};
	struct operation op = {.kind = OPERATION_FLAGS,
			       .flags = {.mailbox = g->mailbox,
					 .uids = {.ranges = &one, .count = 1},
					 .mode = OPERATION_ADD,
					 .flags = g->flags,
					 .keywords = g->keywords}};
	return operations_add(c->record, &op);
}

/* True where our copy stands for the client's. */
static bool
stands_already(struct imap *im, const struct imap_appending *a, const struct fold_mailbox *box,
	       uint32_t *ret_uid)
{
	uint8_t key[OPERATION_KEY_LEN];
	uint32_t mailbox = 0;
	if ((box->special_use & IMAP_USE_SENT) == 0 ||
	    !member_sent_key(im->member, buf_bytes(&a->message), key) ||
	    fold_sent_copy(im->member->fold, key, &mailbox, ret_uid) != ERR_OK || mailbox != box->id) {
		return false;
	}
	const struct imap_flags *flags = &a->command.append.flags;
	if ((flags->system & ~(uint32_t)SENT_KEPT_FLAGS) == 0 && flags->keyword_count == 0) {
		return true;
	}
	struct merging g = {.mailbox = mailbox,
			    .uid = *ret_uid,
			    .flags = (uint8_t)(flags->system & FOLD_FLAGS_ALL),
			    .keywords = keywords_of(flags)};
	return member_append(im->member, im->conn, build_merge, &g, NULL) == ERR_OK;
}

static void
append_whole(struct imap *im, struct imap_appending *a)
{
	const struct imap_command *c = &a->command;
	if (a->has_nul) {
		imap_no(im, "CANNOT", "A message cannot hold NUL octets");
		return;
	}
	enum err e = a->failed || a->message.len != c->append.size ? ERR_MEMORY : member_ready(im->member);
	const struct fold_mailbox *box =
	    e == ERR_OK ? fold_mailbox_by_name(im->member->fold, buf_bytes(&a->mailbox)) : NULL;
	if (e == ERR_OK && box == NULL) {
		imap_no(im, "TRYCREATE", "The mailbox has gone");
		return;
	}
	uint32_t uid = 0;
	uint32_t validity = box != NULL ? box->uidvalidity : 0;
	uint32_t mailbox = box != NULL ? box->id : 0;
	if (e == ERR_OK && !stands_already(im, a, box, &uid)) {
		struct member_new_message m = {.message = buf_bytes(&a->message),
					       .flags = (uint8_t)(c->append.flags.system & FOLD_FLAGS_ALL),
					       .keywords = keywords_of(&c->append.flags),
					       .date = c->append.has_time ? c->append.time.seconds
									  : clock_wall() / MSEC_SECOND,
					       .zone = c->append.has_time ? c->append.time.zone : (int16_t)0};
		e = member_append_message(im->member, im->conn, mailbox, &m, &validity, &uid);
		if (e == ERR_NOT_FOUND) {
			imap_no(im, "TRYCREATE", "The mailbox has gone");
			return;
		}
	}
	if (e != ERR_OK) {
		imap_fail(im, e);
		return;
	}
	imap_report(im, true);
	if (uid != 0) {
		imap_write_appenduid(&im->w, c->tag, validity, uid, "Appended");
	} else {
		imap_ok(im, NULL, "Appended");
	}
}

void
imap_append_end(struct imap *im)
{
	struct imap_appending *a = im->appending;
	if (a == NULL) {
		return;
	}
	im->command = &a->command;
	append_whole(im, a);
	im->command = NULL;
	imap_append_drop(im);
}
