/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_MEMBER_INTERNAL_H
#define COHUE_SESSION_MEMBER_INTERNAL_H

#include "sealed/journal.h"
#include "sealed/record.h"
#include "session/member.h"

/* Shared by the files member*.c. */

enum {
	RECORD_KIND_ARRIVAL = 1, /* as the store has them */
	RECORD_KIND_SESSION = 2,
};

/* What stands in a damaged record's place. */
enum mend_how {
	MEND_SKELETON = 1, /* what the next record carries of it */
	MEND_ARRIVAL,      /* an arrival stood there */
	MEND_LOST,         /* nothing */
};
struct mend {
	uint64_t n;
	enum mend_how how;
	bool told;           /* LOST: her log says so already */
	struct buf skeleton; /* SKELETON */
};
enum { MEMBER_MENDS_MAX = 16 }; /* damaged records that a log is mended of at once */

/* h(n) = BLAKE2b-256(h(n-1) || kind || body). ret may be before. */
void member_chain(const uint8_t before[SEALED_HASH_LEN], uint8_t kind, struct bytes body,
		  uint8_t ret[SEALED_HASH_LEN]);
/* Forgets the folded state; it is loaded again when it is next needed. Ends what looks at it. */
void member_unload(struct member *m);
/* Under the lock: folds what the store has beyond what we know. */
COHUE_MUST_USE enum err member_fetch(struct member *m);
/* Under the lock: member_append without taking it. */
COHUE_MUST_USE enum err member_append_locked(struct member *m, const struct conn *author, member_build_fn fn,
					     void *arg, uint64_t *ret_n);
/* Under the lock: files what is pending. */
COHUE_MUST_USE enum err member_file_pending(struct member *m);
/*
 * From a member_build_fn: a line of the journal, as a message in its mailbox; filed, with the arrival and its delivery id, or
 * appended (arrival 0). *journal: the mailbox's id, 0 at first in a record; made where there is none.
 */
COHUE_MUST_USE enum err member_journal_put(struct member *m, const struct journal_line *line,
					   uint64_t arrival, const uint8_t *delivery, struct member_change *c,
					   uint32_t *journal);
/* From a member_build_fn: a message of ours into that mailbox: stored, claimed, counted, and appended. now: member_save_time() */
COHUE_MUST_USE enum err member_put_own(struct member *m, struct bytes text, uint32_t mailbox, uint32_t now,
				       struct member_change *c);
/* Under the lock, after what may have taken or given room: tells her where it runs out. */
void member_quota_consider(struct member *m);
/* Under the lock, once loaded: tells her where her mail is sent on, if that is news to her log. */
void member_forward_consider(struct member *m);
/* Under the lock: forgets the lines that are too old. */
COHUE_MUST_USE enum err member_journal_expire(struct member *m);
/* Under the lock: OPEN, and the first mailboxes of a new account. */
COHUE_MUST_USE enum err member_found(struct member *m);
/* Under the lock: takes the newest snapshot that can be read. ERR_NOT_FOUND: none. */
COHUE_MUST_USE enum err member_snapshot_load(struct member *m);
/* One folded record's place is known now. */
void member_folded(struct member *m, uint64_t n, const uint8_t head[SEALED_HASH_LEN], size_t body_len);
/*
 * The row of record n (kind 0 and an empty body: it is missing), which is the next to be folded, cannot be opened: why says how not.
 * Looks what the records behind it say of it, keeps what is to stand in its place, and forgets the state, so that member_ready loads it
 * anew. ERR_AGAIN; ERR_DAMAGED, ERR_UNSUPPORTED: it cannot be mended (member_broken).
 */
COHUE_MUST_USE enum err member_mend(struct member *m, uint64_t n, enum err why);
/* What stands in the place of record n. NULL: nothing, fold its row. */
const struct mend *member_mend_of(const struct member *m, uint64_t n);
/* Folds it. */
COHUE_MUST_USE enum err member_mend_fold(struct member *m, const struct mend *mend);
/*
 * A record opened: that of hers before it is the one that it names, and, where the chain differs from what its writer saw (differs), the
 * same as then. ERR_OK: so it is, or an arrival is another, which is found out where that is opened. Else as member_mend.
 */
COHUE_MUST_USE enum err member_mend_changed(struct member *m, struct bytes plain, bool differs);
/* All rows are folded: those suspects that are no arrivals are lost. ERR_OK, or as member_mend. */
COHUE_MUST_USE enum err member_mend_suspects(struct member *m);
/* The log's last records, up to head, are missing. ERR_OK once that is known and folded; else as member_mend. */
COHUE_MUST_USE enum err member_mend_missing(struct member *m, uint64_t head);
/* What record n says is lost must not have been folded. ERR_OK, or as member_mend. */
COHUE_MUST_USE enum err member_mend_lost(struct member *m, uint64_t n, struct bytes plain);
/* True once after something was found to stand in a record's place: the state is loaded anew. */
bool member_mend_again(struct member *m);
/* From a member_build_fn: her log says from now on what is lost, and so does a message to her. */
COHUE_MUST_USE enum err member_mend_tell(struct member *m, struct member_change *c);
/* Forgets all of it. */
void member_mend_clear(struct member *m);
/* Keeps what the next record is to carry of this one (plain: as opened, or as begun). */
COHUE_MUST_USE enum err member_remember(struct member *m, uint64_t n, struct bytes plain);
/* The same of what was folded last from a row. */
COHUE_MUST_USE enum err member_remember_last(struct member *m);
/* Opens a row under the head before it that it came with, else under `head`. ret_before: which one it was. As record_open. */
COHUE_MUST_USE enum err member_open_row(struct member *m, uint64_t n, const uint8_t before[SEALED_HASH_LEN],
					const uint8_t head[SEALED_HASH_LEN], struct bytes body,
					struct buf *ret_plain, uint8_t ret_before[SEALED_HASH_LEN]);
/* Where the record cannot be what its member wrote. */
enum err member_broken(struct member *m, enum err why);
/* Where the slot list that her keys came from is not the newest that her log knows. */
enum err member_outdated(struct member *m);
/* The watcher of the fold (view.c). */
void views_on_change(void *arg, const struct fold_change *change);
/* The state behind the views has gone (view.c). */
void views_lost(struct member *m);

#endif
