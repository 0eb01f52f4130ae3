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
/* From a member_build_fn: stores a message of ours; its blob is to be claimed, its octets counted. */
COHUE_MUST_USE enum err member_store_own(struct member *m, struct bytes text, uint64_t time,
					 struct blob_ref *ret_ref, struct buf *ret_card);
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
COHUE_MUST_USE enum err member_folded(struct member *m, uint64_t n, const uint8_t head[SEALED_HASH_LEN],
				      size_t body_len);
/* Where the record cannot be what its member wrote. */
enum err member_broken(struct member *m, enum err why);
/* Where the slot list that her keys came from is not the newest that her log knows. */
enum err member_outdated(struct member *m);
/* The watcher of the fold (view.c). */
void views_on_change(void *arg, const struct fold_change *change);
/* The state behind the views has gone (view.c). */
void views_lost(struct member *m);

#endif
