/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FOLD_STATE_H
#define COHUE_FOLD_STATE_H

#include "base/bytes.h"
#include "fold/operation.h"

/*
 * The fold: a member's log in, mailboxes out. Pure: no clock, no locale, no
 * hash order; the same log gives the same state in any process, and so does
 * any snapshot of it with the rest of the log.
 *
 * - UIDs count up in the order of folding; the mod-sequence of a change is the
 *   n of its record.
 * - An operation that cannot be applied (unknown mailbox, name taken, a limit
 *   below passed, ...) changes nothing and is counted as ignored; the others of
 *   its record are applied. It is never an error.
 * - A record that does not decode changes nothing and is counted as damaged.
 * - A card is named by (record n, index of the operation). COPY and MOVE share it.
 */

enum {
	FOLD_MAILBOXES_MAX = 20000,
	FOLD_SUBSCRIPTIONS_MAX = 20000,
	FOLD_MESSAGES_MAX = 2000000,  /* of one member, over all mailboxes */
	FOLD_KEYWORDS_MAX = 1000,     /* different keywords in use by one member */
	FOLD_KEYSETS_MAX = 65535,     /* different sets of keywords in use, the empty one included */
	FOLD_TOMBSTONES_MAX = 100000, /* runs of expunged UIDs remembered per mailbox */
	FOLD_DELIVERIES_MAX = 65536,  /* delivery ids remembered */
	FOLD_SENT_MAX = 1000,         /* Sent copies remembered */
	FOLD_RENAMED_MAX = 16384,     /* identifiers remembered that left as others */
	FOLD_SETTINGS_MAX = 256,
	FOLD_SETTINGS_BYTES_MAX = 1024 * 1024,    /* all names and values */
	FOLD_ANNOTATIONS_EACH_MAX = 128,          /* of one mailbox, and of the account itself */
	FOLD_ANNOTATIONS_MAX = 4096,              /* of all together */
	FOLD_ANNOTATIONS_BYTES_MAX = 1024 * 1024, /* all names and values */
	/*
	 * So far UIDVALIDITY, and the ids of mailboxes, jump where an older log was put back: beyond all that the lost part can
	 * have given out.
	 */
	FOLD_RESTORED_JUMP = 1 << 18,
	FOLD_BASES_RECORDS = 32 /* a record says the next UIDs of what the last so many records changed */
};

struct fold;

/* 48 bytes a message. */
struct fold_message {
	uint64_t modseq;
	uint64_t record; /* the card stands in this record ... */
	uint64_t size;   /* RFC822.SIZE */
	int64_t date;    /* internal date, seconds since 1970 UTC */
	uint32_t uid;
	uint32_t
	    saved; /* when it was put into this mailbox, seconds since 1970 UTC; 0: unknown (RFC 8514: NIL) */
	uint16_t op;     /* ... in its operation of this index */
	uint16_t keyset; /* 0: no keywords; see fold_keyset_* */
	int16_t zone;    /* minutes east of UTC */
	uint8_t flags;   /* enum fold_flag */
};

/* A run of expunged UIDs; modseq is the n of the record that expunged them. */
struct fold_tombstone {
	uint64_t modseq;
	uint32_t first;
	uint32_t last;
};

/* To be read only; pointers hold until the next record is applied. */
struct fold_mailbox {
	uint32_t id; /* from 1, never given again */
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint32_t special_use;
	uint64_t highest_modseq; /* n of the last change; of its creation at first */
	struct bytes name;       /* "INBOX" in this spelling */

	const struct fold_message *messages; /* by UID; sequence number k is messages[k - 1] */
	uint32_t count;
	uint32_t unseen;  /* without \Seen */
	uint32_t deleted; /* with \Deleted */
	uint64_t bytes;   /* sum of the sizes */

	const struct fold_tombstone *tombstones; /* by modseq */
	size_t tombstone_count;
	/* Expunges with modseq <= this are no longer all remembered (0: all are). */
	uint64_t tombstone_floor;
};

/* ---- Changes, for live views ---- */

enum fold_change_kind {
	FOLD_CHANGE_MAILBOX_CREATED,
	FOLD_CHANGE_MAILBOX_DELETED, /* the id is gone */
	FOLD_CHANGE_MAILBOX_RENAMED,
	FOLD_CHANGE_SUBSCRIPTION, /* mailbox 0: the list of subscriptions changed */
	FOLD_CHANGE_ADDED,        /* uids: one range, in source order for COPY and MOVE */
	FOLD_CHANGE_FLAGS,        /* uids whose flags or keywords did change */
	FOLD_CHANGE_EXPUNGED,     /* uids that were there and are gone */
	FOLD_CHANGE_ARRIVAL,      /* an arrival is pending */
	FOLD_CHANGE_SETTLED,      /* an arrival was filed or dropped */
	FOLD_CHANGE_RELEASED,     /* cards were released: see fold_released */
	FOLD_CHANGE_SETTING,
	FOLD_CHANGE_ANNOTATION, /* of the mailbox; 0: of the account */
	FOLD_CHANGE_USE,        /* of the mailbox, its special_use */
	FOLD_CHANGE_RESTORED,   /* all UIDVALIDITYs are new */
	FOLD_CHANGE_KEYS        /* OPEN or GENERATION */
};

struct fold_change {
	enum fold_change_kind kind;
	uint16_t op;         /* index of the operation in the record; its modseq is n */
	uint32_t mailbox;    /* id, 0 where none */
	uint64_t n;          /* of the record */
	struct uid_set uids; /* ADDED, FLAGS, EXPUNGED; lent until the callback returns */
	/* DELETED, RENAMED: the name that it had; SUBSCRIPTION: whose; ANNOTATION: the entry's. Lent likewise. */
	struct bytes name;
};

/*
 * Called for each change, in order, after the whole record is folded (and counted as folded).
 * The fold may be read, not changed, meanwhile.
 */
typedef void (*fold_change_fn)(void *arg, const struct fold_change *change);

/* ---- Folding ---- */

/* An empty state before record 1. ERR_MEMORY. */
COHUE_MUST_USE enum err fold_create(struct fold **ret);
/* Accepts NULL inside; wipes what it held. */
void fold_destroy(struct fold **f);
/* At most one watcher; fn NULL removes it. */
void fold_watch(struct fold *f, fold_change_fn fn, void *arg);

/*
 * The next record of the log, n = fold_n() + 1, in its three forms: the opened plaintext of a session's
 * record; an arrival, which is pending from now on; a record that could not be opened.
 * ERR_STATE: n is not the next, or an earlier call ran out of memory. ERR_UNSUPPORTED: a newer program
 * wrote it (nothing changed; do not go on). ERR_MEMORY: the state is unusable from now on: destroy it
 * and fold again from the last snapshot.
 */
COHUE_MUST_USE enum err fold_apply_session(struct fold *f, uint64_t n, struct bytes record);
COHUE_MUST_USE enum err fold_apply_arrival(struct fold *f, uint64_t n);
COHUE_MUST_USE enum err fold_apply_damaged(struct fold *f, uint64_t n);

/* The bases of a record that is made in this state: the first OPERATION_BASES_MAX by id. */
void fold_carry_bases(const struct fold *f, struct operations_carried *c);

/* ---- Reading ---- */

uint64_t fold_n(const struct fold *f);          /* of the last folded record; 0 at first */
uint64_t fold_ignored(const struct fold *f);    /* operations that could not be applied, ever */
uint64_t fold_damaged(const struct fold *f);    /* records that did not decode or open, ever */
uint64_t fold_messages(const struct fold *f);   /* over all mailboxes */
uint64_t fold_bytes(const struct fold *f);      /* sum of the sizes over all mailboxes */
uint32_t fold_generation(const struct fold *f); /* of the last OPEN or GENERATION; 0 before */
/* Of the last OPEN; false and zeros before the first. */
bool fold_slots_hash(const struct fold *f, uint8_t ret_hash[OPERATION_SLOTS_HASH_LEN]);
/*
 * Whether a slot list may follow the one of the last OPEN: neither its revision nor its generation is lower, and it is not another
 * list of the same revision. An OPEN for which this does not hold is ignored.
 */
bool fold_slots_may_follow(const struct fold *f, const uint8_t hash[OPERATION_SLOTS_HASH_LEN],
			   uint32_t revision, uint32_t generation);
uint32_t fold_slots_revision(const struct fold *f); /* of the last OPEN; 0 before, and in old logs */
/* Greatest UIDVALIDITY ever given. */
uint32_t fold_uidvalidity(const struct fold *f);
/* The id that the next created mailbox gets: for a record that creates one and files into it. */
uint32_t fold_next_mailbox(const struct fold *f);
/* Memory held, in bytes. */
size_t fold_memory(const struct fold *f);

/* Mailboxes in the order of their names (octets). */
size_t fold_mailbox_count(const struct fold *f);
const struct fold_mailbox *fold_mailbox_at(const struct fold *f, size_t i);
/* NULL where there is none; O(log n). "inbox" in any case is INBOX. */
const struct fold_mailbox *fold_mailbox_by_id(const struct fold *f, uint32_t id);
const struct fold_mailbox *fold_mailbox_by_name(const struct fold *f, struct bytes name);

/* Index of the first message with at least this UID; count where there is none. O(log n). */
uint32_t fold_message_lower(const struct fold_mailbox *m, uint32_t uid);
/* NULL where there is none. O(log n). */
const struct fold_message *fold_message_by_uid(const struct fold_mailbox *m, uint32_t uid);
/*
 * The tombstones whose modseq is above `since` begin at this index (QRESYNC, RFC 7162). False where they no
 * longer reach back that far: then all UIDs that do not exist must be said to be gone.
 */
bool fold_tombstones_since(const struct fold_mailbox *m, uint64_t since, size_t *ret_index);

/* Subscribed names, in octet order, existing or not. */
size_t fold_subscription_count(const struct fold *f);
struct bytes fold_subscription_at(const struct fold *f, size_t i);
bool fold_subscribed(const struct fold *f, struct bytes name);

/* Keywords in use by the member, ordered without case. */
size_t fold_keyword_count(const struct fold *f);
struct bytes fold_keyword_at(const struct fold *f, size_t i);
/* Keywords of a message's set, ordered without case. */
size_t fold_keyset_count(const struct fold *f, uint16_t keyset);
struct bytes fold_keyset_at(const struct fold *f, uint16_t keyset, size_t i);
bool fold_keyset_has(const struct fold *f, uint16_t keyset, struct bytes keyword);

/* Arrivals not yet filed, ascending n. */
size_t fold_pending_count(const struct fold *f);
uint64_t fold_pending_at(const struct fold *f, size_t i);
/* True for a delivery id among the last FOLD_DELIVERIES_MAX: the arrival is a duplicate. */
bool fold_delivery_seen(const struct fold *f, const uint8_t delivery[OPERATION_DELIVERY_LEN]);
/* Where the Sent copy with this key was put, if it is still there. ERR_NOT_FOUND. */
COHUE_MUST_USE enum err fold_sent_copy(const struct fold *f, const uint8_t key[OPERATION_KEY_LEN],
				       uint32_t *ret_mailbox, uint32_t *ret_uid);

/*
 * The token of the identifier as which a message left whose author's program had given it the one with this key, if it is among
 * the last FOLD_RENAMED_MAX. ERR_NOT_FOUND.
 */
COHUE_MUST_USE enum err fold_renamed(const struct fold *f, const uint8_t key[OPERATION_KEY_LEN],
				     uint8_t ret_token[OPERATION_TOKEN_LEN]);

/* Settings in the order of their names. An empty view where there is none. */
size_t fold_setting_count(const struct fold *f);
struct bytes fold_setting_name(const struct fold *f, size_t i);
struct bytes fold_setting_value(const struct fold *f, size_t i);
struct bytes fold_setting(const struct fold *f, const char *name);

/*
 * Annotations in the order of their mailboxes' ids (the account's own, 0, first), then of their names. fold_annotation_first
 * gives the index of the first one of a mailbox, and how many it has.
 */
struct fold_annotation {
	uint32_t mailbox;
	struct bytes entry;
	struct bytes value;
};
size_t fold_annotation_count(const struct fold *f);
const struct fold_annotation *fold_annotation_at(const struct fold *f, size_t i);
size_t fold_annotation_first(const struct fold *f, uint32_t mailbox, size_t *ret_count);
/* NULL where there is none. */
const struct fold_annotation *fold_annotation(const struct fold *f, uint32_t mailbox, struct bytes entry);
/* How much of the limits is used. */
struct fold_annotating {
	size_t each;  /* annotations that the mailbox would have */
	size_t count; /* all */
	size_t bytes; /* all names and values */
};
/* The state as it is; for who puts several, to count on. */
struct fold_annotating fold_annotating(const struct fold *f, uint32_t mailbox);
/* Counts one more change on; false where it would pass a limit. `present` is what there is so far, or NULL. */
bool fold_annotating_add(struct fold_annotating *a, const struct fold_annotation *present, struct bytes entry,
			 bool on, struct bytes value);

/* Of the last RESTORED; 0 before. */
uint32_t fold_epoch(const struct fold *f);

/* ---- What may be deleted ---- */

/*
 * In this order, so that a crash between any two steps leaves nothing behind and takes nothing away:
 * 1. put a snapshot of this state; 2. delete the blobs named by the cards in fold_released (read from
 * their records, which still stand); 3. delete the records of fold_deletable; 4. append a record
 * with SWEPT {n of the snapshot}. Only then the fold forgets them.
 */
struct fold_released {
	uint64_t record;
	uint64_t n;  /* of the record that released it */
	uint16_t op; /* index of the operation that carries the card, or: */
};
enum { FOLD_RELEASED_ARRIVAL = 0xffff }; /* op of an arrival that was filed or dropped: it has no card */

/* How many messages share this message's card (itself included). */
uint32_t fold_card_refs(const struct fold *f, const struct fold_message *message);
/* Cards and arrivals that nothing refers to any more, in the order of release, since the last SWEPT. */
size_t fold_released_count(const struct fold *f);
const struct fold_released *fold_released_at(const struct fold *f, size_t i);

struct record_range {
	uint64_t first;
	uint64_t last;
};
/*
 * The records that no snapshot taken now needs: those without a live card that are not pending arrivals,
 * and that were not swept already. Appends struct record_range values to ret_ranges, ascending,
 * disjoint (none may be added). O(m log m). ERR_MEMORY, ERR_LIMIT.
 */
COHUE_MUST_USE enum err fold_deletable(const struct fold *f, struct buf *ret_ranges);

#endif
