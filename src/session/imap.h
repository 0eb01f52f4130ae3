/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_IMAP_H
#define COHUE_SESSION_IMAP_H

#include "protocol/imap_command.h"
#include "protocol/imap_reader.h"
#include "protocol/imap_write.h"
#include "session/conn.h"
#include "session/message.h"
#include "session/view.h"

/* IMAP after login: what a connection of IPC_PROTOCOL_IMAP is served by. */
extern const struct conn_protocol imap_protocol;

enum {
	IMAP_ARENA_MAX = 48 << 20, /* of one command */
	IMAP_OUT_MAX = 4 << 20,
	IMAP_OUT_FLUSH = 32 * 1024, /* from here on responses are sent */
	IMAP_SLICE_MS = 5,          /* then others have their turn */
	IMAP_PROGRESS_MS = 10000,   /* worker.progress_ms */
	IMAP_STREAM_MS = 1000,      /* worker.stream_ms */
	IMAP_NAME_OUT_MAX = 8192,
	IMAP_SAVED_MAX = 1 << 20,      /* bytes of "$": 131072 ranges */
	IMAP_APPEND_COUNT = 500,       /* messages of one APPEND */
	IMAP_APPEND_OCTETS = 64 << 20, /* of them together, where one alone may not have more */
};

/* One message of an APPEND. */
struct imap_appended {
	struct imap_append_part part; /* flags in the arena */
	struct buf octets;
	size_t taken; /* of the worker's room: what the octets that are there hold */
	bool has_nul;
};

/* An APPEND, or a REPLACE, whose messages are coming in. */
struct imap_appending {
	struct arena arena;
	struct imap_command command;
	struct buf mailbox;             /* name, in the house's form */
	struct imap_appended *messages; /* the last one is coming */
	size_t count;
	size_t octets;     /* of all */
	uint32_t from;     /* REPLACE: the mailbox and UID of what goes */
	uint32_t replaced; /* 0: APPEND */
	enum err error;    /* while it came: ERR_MEMORY, ERR_AGAIN */
};

struct imap_notify;
struct imap_creating;

struct imap {
	struct conn *conn;
	struct member *member;
	struct imap_reader reader;
	struct view view; /* of the selected mailbox */
	bool selected;
	/* What was enabled (RFC 5161); nothing is ever disabled. */
	bool utf8;              /* names and strings in UTF-8: UTF8=ACCEPT or IMAP4rev2 */
	bool accept;            /* UTF8=ACCEPT (RFC 6855) */
	bool rev2;              /* IMAP4rev2 (RFC 9051) */
	bool condstore;         /* MODSEQ is told unasked */
	bool qresync;           /* VANISHED for EXPUNGE (RFC 7162) */
	bool uidonly;           /* no message numbers, either way (RFC 9586) */
	uint64_t keywords_told; /* a sum over those that the FLAGS response named last */
	bool idling;
	bool leaving; /* LOGOUT or BYE was said */
	msec pace; /* by when a command that has begun must be whole: each octet moves it on. 0: none has */
	uint8_t idle_tag[IMAP_TAG_MAX];
	size_t idle_tag_len;
	struct imap_appending *appending;
	struct buf saved; /* "$" (RFC 5182): struct imap_range, UIDs, ascending; some may have gone since */

	struct imap_creating *creating; /* CREATEs that wait for their record (imap_create.c); NULL: none */
	struct imap_notify *notify;     /* NULL: NOTIFY was never used (imap_notify.h) */
	msec progress;                  /* when a command that still runs says so next */

	/* While a command runs: */
	struct buf out;
	struct imap_writer w;
	struct arena *arena;
	const struct imap_command *command;
};

/* ---- for the commands' files: imap_answer.c ---- */

/* Sends what was written, if it is much (or in any case with `all`). ERR_CLOSED and the like end the command. */
COHUE_MUST_USE enum err imap_flush(struct imap *im, bool all);
/* Lets others run where this task has run long. Sends nothing. */
COHUE_MUST_USE enum err imap_breathe(struct imap *im);
/* The same, in the midst of long work, between two responses: says now and then how far it is (RFC 9585). total 0: not known. */
COHUE_MUST_USE enum err imap_progress(struct imap *im, uint64_t done, uint64_t total);
/* enum imap_mode bits, for the parser. */
unsigned imap_modes(const struct imap *im);
/* "* 12 FETCH (", or "* 345 UIDFETCH (" where numbers are not used. */
void imap_write_fetch_head(struct imap *im, uint32_t sequence, uint32_t uid);
/* Tagged answers. code: NULL or "TRYCREATE". */
void imap_ok(struct imap *im, const char *code, const char *text);
void imap_no(struct imap *im, const char *code, const char *text);
void imap_bad(struct imap *im, const char *text);
/* The answer that fits an error. */
void imap_fail(struct imap *im, enum err e);
/*
 * The name that a client means (imap_name.c): as it stands, where there is a mailbox or a subscription of it in any spelling, else in form C.
 * ERR_FORMAT: it cannot be one. trailing: see imap_mailbox_from_wire. Needs the state.
 */
COHUE_MUST_USE enum err imap_name_of(struct imap *im, struct bytes wire, bool trailing, struct buf *ret);
/* True where a name, in any spelling, fits LIST's pattern (as imap_pattern_from_wire has it). */
bool imap_name_matches(struct imap *im, struct bytes pattern, struct bytes name);
/* imap_name_of's, where there is such a mailbox or there may be one. ERR_FORMAT: why not, for people. */
COHUE_MUST_USE enum err imap_name_check(struct imap *im, struct bytes wire, bool trailing, struct buf *ret,
					const char **ret_why);
/* imap_name_of's, where there is such a mailbox or there may be one; false: answered NO. */
bool imap_name(struct imap *im, struct bytes wire, bool trailing, struct buf *ret);
/* The named mailbox; NULL: answered NO with this code. */
const struct fold_mailbox *imap_mailbox(struct imap *im, struct bytes wire, const char *code);
/* The selected mailbox as it is now; NULL where it has gone. */
const struct fold_mailbox *imap_selected(const struct imap *im);
/*
 * Of a message in the selected mailbox that could not be read, once the log was looked at: ERR_DAMAGED, or ERR_NOT_FOUND where it was
 * expunged meanwhile: its octets go with the commit, before its own session has heard of that. Else why the log could not be read. Suspends.
 */
COHUE_MUST_USE enum err imap_damage(struct imap *im, uint32_t uid);
/* A set with its "*" and "$" resolved, in the command's arena; *uid becomes true for "$", which holds UIDs. ERR_MEMORY. */
COHUE_MUST_USE enum err imap_resolve(struct imap *im, const struct imap_set *set, bool *uid,
				     struct imap_set *ret);
/* The command's messages, with numbers as this connection knows them. False: answered BAD or NO. */
bool imap_pick(struct imap *im, const struct imap_set *set, bool uid, struct message_item **ret,
	       size_t *ret_count);
/* Flags of a message, keywords in the arena. */
struct imap_flags imap_flags_of(struct imap *im, struct arena *a, const struct fold_message *message);
/*
 * True where these keywords can be set: well formed, not too many, and those that are new within what a member may have in use
 * (the fold would leave them out without a word).
 */
bool imap_keywords_fit(const struct imap *im, const struct imap_flags *flags);
/* Items' UIDs as ranges, in the arena. False without memory, or too many ranges. */
bool imap_uid_set(struct arena *a, const struct message_item *items, size_t count, struct uid_set *ret);
/* FLAGS and PERMANENTFLAGS again, where the account's keywords are others than those told. */
void imap_tell_keywords(struct imap *im);
/* Tells what has changed in the selected mailbox; `expunges`: sequence numbers may change now. */
void imap_report(struct imap *im, bool expunges);
/* Between two beats: what her own clients did; what the house brought stays. */
void imap_report_own(struct imap *im);
/* At a beat: what the house brought, as far as it goes into so many bytes of output. */
void imap_report_beat(struct imap *im, size_t room);
void imap_deselect(struct imap *im);
/* For a new mailbox; the fold makes it greater where that is needed. */
uint32_t imap_new_uidvalidity(void);
/* The journal is shown by a subscription, and never deleted: it forgets by itself. */
COHUE_MUST_USE enum err imap_show_journal(const struct fold_mailbox *box, bool on, struct member_change *c);
/* True where the client, had it written the name as we do, would have written this. */
bool imap_name_is_wire(const struct imap *im, struct bytes name, struct bytes wire);
/*
 * "* LIST (...) "/" name" of a name in the house's form, whether there is such a mailbox or not. wire: as the client named it: told as
 * OLDNAME where it is not the same (RFC 9051 section 6.3.9.7); ptr NULL: no such.
 */
void imap_write_list(struct imap *im, struct bytes name, struct bytes wire);
/*
 * "* VANISHED (EARLIER) ..." of these UIDs, if any of them has gone since that mod-sequence (RFC 7162 section 3.2.10.1). uids: resolved; above:
 * of what is not above this UID nothing has gone (0: not known). In the command's arena. ERR_MEMORY.
 */
COHUE_MUST_USE enum err imap_write_vanished_earlier(struct imap *im, const struct fold_mailbox *box,
						    uint64_t since, const struct imap_set *uids,
						    uint32_t above);

/* ---- the commands: each writes its answer, the tagged one included ---- */

void imap_do_id(struct imap *im);
void imap_do_enable(struct imap *im);
void imap_do_select(struct imap *im);
void imap_do_close(struct imap *im);
void imap_do_unselect(struct imap *im);
/* Takes it to those that wait; imap_create_end makes them. */
void imap_do_create(struct imap *im);
/* One record for all CREATEs that came one behind the other, then the answer to each. To be called before any other command, and before waiting. */
void imap_create_end(struct imap *im);
/* Forgets those that wait, unanswered. */
void imap_create_drop(struct imap *im);
void imap_do_delete(struct imap *im);
void imap_do_rename(struct imap *im);
void imap_do_subscribe(struct imap *im);
void imap_do_list(struct imap *im);
void imap_do_status(struct imap *im);
void imap_do_namespace(struct imap *im);
void imap_do_quota(struct imap *im);
void imap_do_setquota(struct imap *im);
void imap_do_getmetadata(struct imap *im);
void imap_do_setmetadata(struct imap *im);
void imap_do_expunge(struct imap *im);
void imap_do_search(struct imap *im);
void imap_do_sort(struct imap *im);
void imap_do_thread(struct imap *im);
void imap_do_fetch(struct imap *im);
void imap_do_store(struct imap *im);
void imap_do_copy(struct imap *im);
void imap_do_notify(struct imap *im);
enum { IMAP_MAILBOX_ID_MAX = 24 };
/* Its MAILBOXID (RFC 8474), without parentheses: a renamed mailbox keeps it, no other ever gets it. */
void imap_mailbox_id(const struct fold_mailbox *box, char ret[IMAP_MAILBOX_ID_MAX]);
/* Entries as they are kept, in the arena, as many as were asked for; false: answered BAD. */
bool imap_metadata_names(struct imap *im, const struct imap_metadata *asked, struct bytes **ret);
/* "* METADATA name (...)" with these entries of a mailbox. Does not suspend. */
void imap_write_metadata_of(struct imap *im, const struct fold_mailbox *box,
			    const struct imap_metadata *asked, const struct bytes *names);
/* STATUS items of a mailbox, "* STATUS name (...)". */
void imap_write_status_of(struct imap *im, const struct fold_mailbox *box, uint32_t items);

/* APPEND and REPLACE, in steps (imap_append.c). begin, more: true: go on with the message; false: answered. */
bool imap_append_begin(struct imap *im, struct bytes text);
bool imap_append_more(struct imap *im, struct bytes text);
void imap_append_data(struct imap *im, struct bytes data);
/* rest: what stands behind the last message. */
void imap_append_end(struct imap *im, struct bytes rest);
void imap_append_drop(struct imap *im);

#endif
