/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FOLD_PARTS_H
#define COHUE_FOLD_PARTS_H

#include "base/bytes.h"
#include "fold/state.h"

/*
 * What a fold is made of; private to the module. Nothing here depends on the
 * order of a hash: the one table (struct cards) is only ever asked by key.
 */

/*
 * Makes room for `need` elements of `size` bytes, a quarter more than asked, so that appending stays
 * O(1) and little of an array is empty. `array` is the address of the pointer, which stays as it was on
 * ERR_MEMORY.
 */
COHUE_MUST_USE enum err parts_grow(void *array, size_t *cap, size_t need, size_t size);

/* ---- Keywords: interned names, and interned sets of them, both counted ---- */

struct keyword {
	struct bytes name; /* owned; empty: a free slot */
	uint32_t refs;     /* sets that hold it */
};

struct keyset {
	uint16_t *ids; /* owned; in the order of the names without case; NULL: a free slot */
	uint16_t count;
	uint32_t refs; /* messages that have it */
	uint32_t next_free;
};

struct keywords {
	struct keyword *names; /* by id */
	size_t name_slots;
	size_t name_cap;
	uint16_t *order; /* ids in use, by name without case */
	size_t order_count;
	size_t order_cap;

	struct keyset *sets; /* by number; 0 is the empty set and never counted */
	size_t set_slots;
	size_t set_cap;
	uint32_t free_set;   /* 0: none */
	uint16_t *set_order; /* numbers in use, by their ids */
	size_t set_count;
	size_t set_order_cap;
};

int keyword_compare(struct bytes a, struct bytes b); /* without ASCII case */
/*
 * The set that `old` becomes; the caller then owns one more reference to it. *ret_made is false, and the set
 * `old` is given without a reference, where a limit stands against it. ERR_MEMORY.
 */
COHUE_MUST_USE enum err keywords_change(struct keywords *k, uint16_t old, enum operation_mode mode,
					struct keyword_list list, uint16_t *ret_set, bool *ret_made);
void keywords_retain(struct keywords *k, uint16_t set);
void keywords_release(struct keywords *k, uint16_t set);
void keywords_clear(struct keywords *k);
size_t keywords_memory(const struct keywords *k);

/* ---- Cards that more than one message refers to ---- */

struct card_entry {
	uint64_t record; /* 0: a free slot */
	uint32_t refs;
	uint16_t op;
};

struct cards {
	struct card_entry *slots;
	size_t slot_count; /* a power of two, or 0 */
	size_t count;
};

/* References, or `absent` where the table does not know the card. */
uint32_t cards_get(const struct cards *c, uint64_t record, uint16_t op, uint32_t absent);
/* Room for so many more cards at once. ERR_MEMORY. */
COHUE_MUST_USE enum err cards_reserve(struct cards *c, size_t extra);
/* One more; a card that is absent begins at `absent` + 1. ERR_MEMORY. */
COHUE_MUST_USE enum err cards_retain(struct cards *c, uint64_t record, uint16_t op, uint32_t absent);
/* One less; forgotten when one is left. Returns what is left (0 for a card that is absent). */
uint32_t cards_release(struct cards *c, uint64_t record, uint16_t op);
/* Forgets the cards with one reference only. ERR_MEMORY. */
COHUE_MUST_USE enum err cards_keep_shared(struct cards *c);
void cards_clear(struct cards *c);

/* ---- The last delivery ids ---- */

struct deliveries {
	uint8_t (*ids)[OPERATION_DELIVERY_LEN]; /* a ring once it is full */
	size_t cap;
	size_t count;
	size_t oldest;   /* 0 until full */
	uint16_t *order; /* positions, by id */
	size_t order_cap;
};

bool deliveries_seen(const struct deliveries *d, const uint8_t id[OPERATION_DELIVERY_LEN]);
/* Adds one that was not seen; the oldest goes when there are too many. ERR_MEMORY. */
COHUE_MUST_USE enum err deliveries_add(struct deliveries *d, const uint8_t id[OPERATION_DELIVERY_LEN]);
/* Many at once, oldest first, where there are none yet: O(n log n). ERR_EXISTS: one twice; ERR_MEMORY. */
COHUE_MUST_USE enum err deliveries_fill(struct deliveries *d, const uint8_t *ids, size_t count);
const uint8_t *deliveries_at(const struct deliveries *d, size_t i); /* 0 is the oldest */
void deliveries_clear(struct deliveries *d);

/* ---- Sorted names ---- */

struct names {
	struct bytes *at; /* each owned, ascending */
	size_t count;
	size_t cap;
	size_t bytes;
};

/* Where the name is, or would be. */
bool names_find(const struct names *l, struct bytes name, size_t *ret_index);
COHUE_MUST_USE enum err names_insert(struct names *l, size_t index, struct bytes name);
void names_remove(struct names *l, size_t index);
void names_clear(struct names *l);
/* A copy on the heap; ERR_MEMORY. names_free wipes it. */
COHUE_MUST_USE enum err names_copy(struct bytes name, struct bytes *ret);
void names_free(struct bytes *name);

/* ---- The fold ---- */

struct mailbox {
	struct fold_mailbox seen; /* what the public interface shows */
	struct fold_message *messages;
	size_t message_cap;
	struct fold_tombstone *tombstones;
	size_t tombstone_cap;
	size_t tombstone_head; /* those before were dropped */
};

struct sent_copy {
	uint8_t key[OPERATION_KEY_LEN];
	uint32_t mailbox;
	uint32_t uid;
};

/* A Message-ID that left as another one. */
struct renamed {
	uint8_t key[OPERATION_KEY_LEN];
	uint8_t token[OPERATION_TOKEN_LEN];
};

struct setting {
	struct bytes name;
	struct bytes value;
};

/* Annotations, in order; entries and values are owned. */
struct annotations {
	struct fold_annotation *at;
	size_t count;
	size_t cap;
	size_t bytes;
};

struct change {
	enum fold_change_kind kind;
	uint16_t op;
	uint32_t mailbox;
	size_t first_range;
	size_t range_count;
	size_t name_at; /* in the fold's change_names */
	size_t name_len;
};

struct fold {
	uint64_t n;
	uint64_t ignored;
	uint64_t damaged;
	uint64_t messages;
	uint64_t bytes;
	uint64_t swept; /* upto of the last SWEPT */
	uint32_t generation;
	uint32_t slots_revision;
	uint32_t uidvalidity;
	uint32_t next_mailbox;
	bool opened;
	bool broken; /* out of memory in the midst of a record */
	uint8_t slots_hash[OPERATION_SLOTS_HASH_LEN];

	struct mailbox **by_id;
	struct mailbox **by_name;
	size_t mailbox_count;
	size_t by_id_cap;
	size_t by_name_cap;

	struct names subscriptions;
	struct setting *settings;
	size_t setting_count;
	size_t setting_cap;
	size_t setting_bytes;
	struct annotations annotations;
	uint32_t epoch; /* of the last RESTORED */

	struct keywords keywords;
	struct cards cards;
	struct deliveries deliveries;

	uint64_t *pending;
	size_t pending_head;
	size_t pending_count; /* from pending_head on */
	size_t pending_cap;

	struct sent_copy *sent; /* oldest first */
	size_t sent_count;
	size_t sent_cap;

	struct renamed *renamed; /* a ring once it is full */
	size_t renamed_count;
	size_t renamed_cap;
	size_t renamed_oldest; /* 0 until full */

	struct fold_released *released;
	size_t released_count;
	size_t released_cap;

	fold_change_fn watcher;
	void *watcher_arg;
	struct change *changes;
	size_t change_count;
	size_t change_cap;
	struct buf change_names;
	struct uid_range *ranges;
	size_t range_count;
	size_t range_cap;
};

/* The record and operation that is being applied. */
struct applying {
	struct fold *f;
	uint64_t n;
	uint16_t op;
};

/* Changes: opened, then filled with UIDs in ascending order. Nothing without a watcher. ERR_MEMORY. */
COHUE_MUST_USE enum err change_begin(const struct applying *a, enum fold_change_kind kind, uint32_t mailbox);
/* One with a name. */
COHUE_MUST_USE enum err change_named(const struct applying *a, enum fold_change_kind kind, uint32_t mailbox,
				     struct bytes name);
COHUE_MUST_USE enum err change_uid(const struct applying *a, uint32_t uid);
/* Drops the last change if it has no UID. */
void change_end(const struct applying *a);

/* Mailboxes (mailbox.c) */
struct mailbox *mailbox_find(const struct fold *f, uint32_t id);
/* "INBOX" for the name in any case. */
struct bytes mailbox_canonical(struct bytes name);
bool mailbox_is_inbox(struct bytes name);
/* Position in by_name, or where it would be. */
bool mailbox_name_index(const struct fold *f, struct bytes name, size_t *ret_index);
/* Inserts a new mailbox with the greatest id; the name must be free. ERR_MEMORY. */
COHUE_MUST_USE enum err mailbox_insert(struct fold *f, uint32_t id, struct bytes name, struct mailbox **ret);
void mailbox_remove(struct fold *f, struct mailbox *m);
COHUE_MUST_USE enum err mailbox_rename(struct fold *f, struct mailbox *m, struct bytes name);
void mailbox_free(struct mailbox *m);
/* `from` and all below it, or none (counted as ignored): rename.c. ERR_MEMORY. */
COHUE_MUST_USE enum err mailbox_rename_tree(const struct applying *a, struct bytes from, struct bytes to);

/* Messages (message.c) */
COHUE_MUST_USE enum err message_reserve(struct mailbox *m, size_t extra);
/* Appends with the next UID; the caller has checked limits and owns what the message refers to. ERR_MEMORY. */
COHUE_MUST_USE enum err message_add(const struct applying *a, struct mailbox *m, struct fold_message message);
/* Counts a message in or out of the mailbox and the fold. */
void message_count_in(struct fold *f, struct mailbox *m, const struct fold_message *message);
void message_count_out(struct fold *f, struct mailbox *m, const struct fold_message *message);
/*
 * Takes away the messages of the set among the first `limit`; with `moved` their cards and keywords
 * live on elsewhere. ERR_MEMORY.
 */
COHUE_MUST_USE enum err message_expunge(const struct applying *a, struct mailbox *m, struct uid_set uids,
					uint32_t limit, bool moved);
COHUE_MUST_USE enum err message_copy(const struct applying *a, struct mailbox *from, struct mailbox *to,
				     uint32_t saved, struct uid_set uids, bool move, bool *ret_applied);
COHUE_MUST_USE enum err message_flags(const struct applying *a, struct mailbox *m, struct uid_set uids,
				      enum operation_mode mode, uint8_t flags, struct keyword_list keywords);
/* Gives up a message's card and keywords. ERR_MEMORY. */
COHUE_MUST_USE enum err message_let_go(const struct applying *a, const struct fold_message *message);
COHUE_MUST_USE enum err tombstone_add(struct mailbox *m, uint32_t uid, uint64_t modseq);
/* Appends a run as it is (a snapshot's). ERR_MEMORY. */
COHUE_MUST_USE enum err tombstone_push(struct mailbox *m, struct fold_tombstone t);
COHUE_MUST_USE enum err released_add(const struct applying *a, uint64_t record, uint16_t op);

/* Pending arrivals and Sent copies (recent.c) */
bool pending_find(const struct fold *f, uint64_t n, size_t *ret_index);
COHUE_MUST_USE enum err pending_add(struct fold *f, uint64_t n);
void pending_remove(struct fold *f, size_t index);
COHUE_MUST_USE enum err sent_add(struct fold *f, const struct sent_copy *copy);
/* One whose key was there before changes nothing; the oldest goes when there are too many. ERR_MEMORY. */
COHUE_MUST_USE enum err renamed_add(struct fold *f, const struct renamed *one);
/* The same, of one whose key is known not to be there. */
COHUE_MUST_USE enum err renamed_put(struct fold *f, const struct renamed *one);
/* NULL where there is none. O(n). */
const struct renamed *renamed_find(const struct fold *f, const uint8_t key[OPERATION_KEY_LEN]);
const struct renamed *renamed_at(const struct fold *f, size_t i); /* 0 is the oldest */

/* Settings (apply.c) */
bool setting_find(const struct fold *f, struct bytes name, size_t *ret_index);
/* Puts, replaces, or with an empty value removes. *ret_applied false past a limit. ERR_MEMORY. */
COHUE_MUST_USE enum err setting_put(struct fold *f, struct bytes name, struct bytes value, bool *ret_applied);

/* Annotations (annotation.c). Puts, replaces, or removes; *ret_applied false past a limit. ERR_MEMORY. */
COHUE_MUST_USE enum err annotation_put(struct fold *f, uint32_t mailbox, struct bytes entry, bool on,
				       struct bytes value, bool *ret_applied);
/* All of a mailbox. */
void annotation_drop(struct fold *f, uint32_t mailbox);
void annotation_clear(struct fold *f);

/* Operations (apply.c): applies one. ERR_MEMORY. */
COHUE_MUST_USE enum err apply_operation(const struct applying *a, const struct operation *op);

#endif
