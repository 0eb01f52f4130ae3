/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_MEMBER_H
#define COHUE_SESSION_MEMBER_H

#include "fold/state.h"
#include "process/log.h"
#include "sealed/arrival.h"
#include "sealed/card.h"
#include "sealed/directory.h"
#include "sealed/member_keys.h"
#include "session/lock.h"
#include "session/worker.h"

/*
 * A member who is online in this worker: her keys, and her log folded into mailboxes. All that suspends is
 * called from a task. The state may change at each suspension: pointers into the fold do not outlive one,
 * but where the caller holds the member's lock (as member_build_fn does).
 */

struct conn;
struct view;
struct mends;
struct retired_profile;

enum {
	MEMBER_KEEP_MS = 60 * 1000, /* after the last connection */
	MEMBER_RETRY_MS =
	    10 * 1000, /* what did not verify is read again: the disk, or the volunteer, may have mended it */
	MEMBER_DAMAGE_MS = 60 * 60 * 1000,
	MEMBER_SNAPSHOT_RECORDS = 2000,
	MEMBER_SNAPSHOT_BYTES = 1 << 20,
	MEMBER_SNAPSHOT_IDLE_RECORDS = 64, /* enough for one when nothing is going on */
	MEMBER_SNAPSHOT_SHARE =
	    16, /* when she leaves, one is made where it is at most so many times what it stands for */
};

/* Whether all names of her mailboxes are in Unicode's form C (imap_name.c). */
enum member_names { MEMBER_NAMES_UNKNOWN, MEMBER_NAMES_FORM_C, MEMBER_NAMES_OLD };

struct member {
	struct member *next; /* in the worker's bucket */
	struct worker *worker;
	uint8_t account[SEALED_ID_LEN];
	unsigned refs;
	unsigned conn_count;
	size_t message_bytes; /* worker_take_bytes */
	size_t work_bytes;    /* worker_take_work */
	struct conn *conns;
	msec idle_since;

	struct member_keys keys;
	uint8_t slots_hash[SEALED_HASH_LEN];
	uint32_t slots_revision;
	uint16_t slot;
	struct buf profile_plain;
	struct retired_profile *retired;  /* older ones, which tasks may still look at; until she goes */
	struct directory_account profile; /* name, addresses, quota, ...; borrows from profile_plain */

	struct lock lock;
	bool closed; /* suspended, removed, or her password changed: no new connection, no append */
	bool loaded;
	enum err
	    broken; /* ERR_DAMAGED: what the store says cannot be; ERR_UNSUPPORTED: written by a newer program */
	msec broken_at;
	char ref[LOG_REF_LEN + 1]; /* of the log's line about it */
	char damage_ref
	    [LOG_REF_LEN +
	     1]; /* of the log's line about single messages of hers that do not verify; empty: none yet */
	msec damage_at;
	bool outdated; /* broken, because the slot list that came with her keys is older than her log */
	struct fold *fold;
	uint8_t head[SEALED_HASH_LEN]; /* h(fold_n) */
	enum member_names names;
	bool unsure;       /* a row that was folded is not what it was: the next one tells its hash */
	bool last_arrived; /* the last row was folded as an arrival */
	uint64_t
	    suspects[16]; /* such rows that are not what they were, and no record of hers is behind them */
	size_t suspect_count;
	struct mends *mends; /* of damaged records, while the log is loaded; or NULL */
	uint64_t previous;   /* n of the last session's record that was folded from its row; 0: none */
	struct buf skeleton; /* of that one, for the next to carry; empty: too long */
	struct buf last;     /* that one itself, while its skeleton has not been made */
	uint64_t used;       /* bytes counted against the quota */
	uint32_t epoch;      /* of the store: see OPERATION_RESTORED */
	uint64_t snapshot_n; /* of the newest snapshot that could be read, or that was put here; 0: none */
	uint64_t
	    snapshot_older; /* of the one that the store has below it: nothing above may be swept; 0: none */
	uint64_t snapshot_bytes; /* stored, of the newest one */
	size_t bytes_since;      /* of records since the snapshot */
	bool changed;            /* LOG_CHANGED came: a sync is due */
	bool syncing;            /* a task is at it */
	bool keeping;            /* a snapshot is being made */
	msec keep_after;         /* no new attempt at one before this */

	/* An append whose outcome is not known: found again by its head. */
	uint64_t sought_n;
	uint8_t sought_head[SEALED_HASH_LEN];
	bool sought_found;

	const struct conn *author; /* whose operations are being folded now, for silent changes */
	struct view *views;
	struct member_watcher *watchers;
};

/* Sees what is folded, after the views have. change NULL: the state has gone, and what changes until it is there again is not told. */
struct member_watcher {
	struct member_watcher *next;
	void (*fn)(void *arg, const struct fold_change *change);
	void *arg;
};
void member_watch(struct member *m, struct member_watcher *w);
void member_unwatch(struct member *m, struct member_watcher *w);

/* ---- for the worker ---- */

/*
 * Finds or makes the member and takes over what the opener says. Adds a reference. keys: as member_keys_encode; profile: a
 * directory account's plain bytes. ERR_FORMAT, ERR_MEMORY. ERR_CONFLICT: this worker has seen a newer slot list.
 */
COHUE_MUST_USE enum err member_open(struct worker *w, const struct msg_member_open *m, struct member **ret);
struct member *member_find(const struct worker *w, const uint8_t account[SEALED_ID_LEN]);
void member_ref(struct member *m);
/* Freed some time after the last one (by member_upkeep), its keys wiped. */
void member_unref(struct member **m);
/* Arrivals were put into her log: fold and file them soon. */
void member_log_changed(struct member *m, uint64_t n);
/* Closes her connections and forgets her. */
void member_close(struct member *m);
/*
 * Starts a task that sweeps and makes a snapshot, where it is worth it: while she is at work, whenever she pauses, or before she is forgotten. The
 * task holds a reference.
 */
enum snapshot_moment { SNAPSHOT_BUSY, SNAPSHOT_IDLE, SNAPSHOT_LEAVING };
void member_snapshot_consider(struct member *m, enum snapshot_moment moment);
/* Frees whoever has been away long enough. */
void member_upkeep(struct worker *w);

/* ---- for protocols, from a task ---- */

/*
 * Loads her state where it is not there yet, and folds what came since. ERR_DAMAGED: the store's answers contradict
 * her log or what this worker saw before, or her log knows a newer slot list (m->outdated). ERR_UNSUPPORTED: a newer program wrote it. Others are temporary.
 */
COHUE_MUST_USE enum err member_ready(struct member *m);
/* Folds and files what LOG_CHANGED announced, if anything. */
COHUE_MUST_USE enum err member_sync(struct member *m);

/* What goes with a record. */
struct member_change {
	struct buf *
	    record; /* begun; add operations (fold/operation.h). None: nothing is appended, and that is well */
	struct buf claims; /* names of blobs, 16 bytes each */
	struct buf drops;  /* names of blobs that nothing refers to any more */
	int64_t used_delta;
	void (*meanwhile)(void *arg); /* or NULL: work to do while the store writes, with build's arg */
};
/*
 * Called under the member's lock with the state that the record will be folded into; again after a conflict. May suspend. What it returns, if
 * not ERR_OK, is returned by member_append.
 */
typedef enum err (*member_build_fn)(void *arg, struct member *m, struct member_change *change);
/*
 * Appends one record and folds it; only then returns. author (may be NULL) marks the connection whose own
 * change it is. *ret_n (may be NULL): its n, 0 where there was nothing to append. ERR_DAMAGED, ERR_DENIED (closed);
 * others, among them ERR_AGAIN, are temporary: it may then yet turn out to have been done.
 */
COHUE_MUST_USE enum err member_append(struct member *m, const struct conn *author, member_build_fn fn,
				      void *arg, uint64_t *ret_n);

/*
 * For messages that go away (an expunge, a mailbox's end): adds the blobs that nothing refers to then to
 * change->drops, and their bytes to used_delta. From a member_build_fn; reads cards, so it suspends.
 */
COHUE_MUST_USE enum err member_drop_messages(struct member *m, const struct fold_mailbox *mailbox,
					     struct uid_set uids, struct member_change *change);

struct member_new_message {
	struct bytes message; /* whole, CRLF lines or not: kept octet by octet */
	uint8_t flags;        /* enum fold_flag */
	struct keyword_list keywords;
	int64_t date; /* internal date, seconds since 1970 UTC */
	int16_t zone; /* minutes */
	bool sent;    /* our own Sent copy: found again by key */
	uint8_t key[OPERATION_KEY_LEN];
	const struct operation *also; /* goes into the same record; may be NULL */
	uint32_t standing; /* UID of a message that stands for it already, and gets the flags; 0: none */
};
/* Messages that go into a mailbox together, in one record, or not at all. */
struct member_put {
	uint32_t mailbox;
	const struct member_new_message *messages;
	size_t count;
	uint32_t from;     /* the mailbox of a message that they replace (RFC 8508); 0: none */
	uint32_t replaced; /* its UID */
	uint32_t uidvalidity;
	uint32_t *uids; /* room for count: filled */
	bool gone;      /* set: what was to be replaced is not there any more */
};
/*
 * Stores messages and appends them. ERR_NOT_FOUND: the mailbox has gone. ERR_QUOTA, ERR_LIMIT
 * (too large or too many). Others are temporary. Nothing is changed then.
 */
COHUE_MUST_USE enum err member_put_messages(struct member *m, const struct conn *author,
					    struct member_put *put);
/* The same for one message. ret_uidvalidity and ret_uid may be NULL. */
COHUE_MUST_USE enum err member_append_message(struct member *m, const struct conn *author, uint32_t mailbox,
					      const struct member_new_message *message,
					      uint32_t *ret_uidvalidity, uint32_t *ret_uid);
/*
 * The Sent copy of a submitted message, into the mailbox with \Sent (INBOX's sibling "Sent" where there is none). Bcc is
 * expected in the message already. submitted: as her program gave it, by which its own copy of it will be known. also (may be NULL)
 * goes into the same record.
 */
COHUE_MUST_USE enum err member_file_sent(struct member *m, struct bytes message, struct bytes submitted,
					 int64_t date, const struct operation *also);
/* The time that goes into an operation which puts messages somewhere (RFC 8514). */
uint32_t member_save_time(void);
/* A record with this operation alone. */
COHUE_MUST_USE enum err member_append_operation(struct member *m, const struct operation *op);
/*
 * The key under which a Sent copy is found again: BLAKE2b over Message-ID, From and the body, keyed with the
 * member's first key. false: no Message-ID.
 */
bool member_sent_key(const struct member *m, struct bytes message, uint8_t ret[OPERATION_KEY_LEN]);
/* The same of a copy that we made of what was submitted: her program knows it as that, unless it gave it no Message-ID at all. */
bool member_sent_copy_key(const struct member *m, struct bytes copy, struct bytes submitted,
			  uint8_t ret[OPERATION_KEY_LEN]);
/*
 * The author's copy travels with the unit, as an arrival of hers whose `extra` says so: the key under which it is found again,
 * and a MAC of hers over it and the delivery id, so that nobody else can put anything among what she sent. renamed: an
 * OPERATION_RENAMED that enters the log with it, under the same MAC; may be NULL.
 */
COHUE_MUST_USE enum err member_sent_mark(const struct member *m, const uint8_t delivery[SEALED_ID_LEN],
					 const uint8_t key[OPERATION_KEY_LEN],
					 const struct operation *renamed, struct buf *ret_extra);
/* True for such an arrival of this member's. ret_renamed borrows from it; its kind is 0 where there is none. */
bool member_sent_marked(const struct member *m, const struct arrival *a, uint8_t ret_key[OPERATION_KEY_LEN],
			struct operation *ret_renamed);
/* Where Sent copies go; NULL without any mailbox. */
const struct fold_mailbox *member_sent_mailbox(const struct member *m);
/* Where goes what is set apart; the inbox where there is no other; NULL without any. */
const struct fold_mailbox *member_junk_mailbox(const struct member *m);
/* Annotations of her account (RFC 5464) with her own lists: session/junk.h. */
#define MEMBER_JUNK_ALLOW "/private/vendor/cohue/allow"
#define MEMBER_JUNK_BLOCK "/private/vendor/cohue/block"
/* True: an arrival that goes into Junk. */
bool member_junk_judge(const struct member *m, const struct arrival *a);
/* Whether it teaches something that messages go from one of her mailboxes into another; and what. */
bool member_junk_teaches(const struct member *m, const struct fold_mailbox *from,
			 const struct fold_mailbox *to, bool *ret_unwanted);
/* Learns from messages, of very many the first ones. Suspends. */
struct message_item;
void member_junk_learn(struct member *m, const struct message_item *items, size_t count, bool unwanted);
/* Reads and files what the log has, without waiting for the store's notice of it. */
COHUE_MUST_USE enum err member_look(struct member *m);

/*
 * A message of hers does not verify, and the others do: the reference of the log's line about it, for her to be told. One line in
 * MEMBER_DAMAGE_MS at most, whatever a client asks for.
 */
const char *member_damage(struct member *m);
/* True where the address (local@domain, normalised or not) belongs to her: name@domain, further addresses, subaddresses of both. */
bool member_owns_address(const struct member *m, const struct mail_mailbox *address);
/* Bytes that she may have; 0: no limit. */
uint64_t member_quota(const struct member *m);

/* ---- the journal ---- */

/* special_use of the mailbox that is the journal: beyond the bits of RFC 6154 (enum imap_special_use). */
enum { MEMBER_USE_JOURNAL = 1 << 16 };
/* NULL while nothing stands in it. The member is ready. */
const struct fold_mailbox *member_journal(const struct member *m);
/* True for the journal as long as she has not subscribed to it: it is not listed. */
bool member_journal_hidden(const struct member *m, const struct fold_mailbox *box);

/* ---- blobs on their way to the store ---- */

/* Puts chunks, several at a time. From a task. */
struct upload {
	struct member *member;
	struct task *waiter;
	unsigned open; /* requests without an answer */
	enum err error;
};
void upload_init(struct upload *u, struct member *m);
/* A delivery_chunk_fn (arg: struct upload). */
enum err upload_chunk(void *arg, const uint8_t blob[SEALED_ID_LEN], uint32_t chunk, struct bytes data);
/* Waits for all answers. Call it in any case: the answers know the struct. */
COHUE_MUST_USE enum err upload_finish(struct upload *u);

/* Where her mail is sent on, as the opener said at her last login: addresses, separated by blanks, appended. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err member_forward_list(const struct member *m, struct buf *out);

#endif
