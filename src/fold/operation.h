/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FOLD_OPERATION_H
#define COHUE_FOLD_OPERATION_H

#include "base/arena.h"
#include "base/bytes.h"

/*
 * The plaintext of one session record: a version byte, from version 5 on what it carries of the record before it, the count of
 * operations (16 bits, at least 1), and the operations, folded together or not at all. Each is a kind byte, the length
 * of its body (32 bits) and the body, in the encoding of base/wire.h.
 *
 * A record of a newer version is ERR_UNSUPPORTED (an older program must stop,
 * not fold to something else); what does not decode strictly is ERR_FORMAT.
 */

enum {
	/*
	 * 1: OPEN had no revision. 2: without RENAMED. 3: without the times of saving. 4: carries nothing of the record before.
	 * Written is the last one.
	 */
	OPERATION_VERSION = 5,
	OPERATION_RECORD_MAX = 480 * 1024, /* bytes of one record's plaintext, without what it carries */
	OPERATION_CARRIED_MAX = 16 * 1024, /* bytes that a record carries of the one before */
	OPERATION_BASES_MAX = 64,          /* mailboxes whose next UID a record says */
	OPERATION_PLAIN_MAX = OPERATION_RECORD_MAX + OPERATION_CARRIED_MAX + 1024,
	OPERATION_COUNT_MAX = 4096,      /* operations in one record */
	OPERATION_NAME_MAX = 1024,       /* octets of a mailbox name */
	OPERATION_NAME_LEVELS_MAX = 32,  /* levels between '/' */
	OPERATION_KEYWORD_MAX = 64,      /* octets of one keyword */
	OPERATION_KEYWORDS_MAX = 64,     /* keywords of one operation, and of one message */
	OPERATION_RANGES_MAX = 65536,    /* UID ranges of one operation */
	OPERATION_CARD_MAX = 256 * 1024, /* bytes of one card */
	OPERATION_SETTING_NAME_MAX = 64,
	OPERATION_SETTING_VALUE_MAX = 64 * 1024,
	OPERATION_NOTE_MAX = 64 * 1024,
	OPERATION_DELIVERY_LEN = 16, /* a delivery id */
	OPERATION_KEY_LEN = 16,      /* the key under which a Sent copy is found again */
	OPERATION_SLOTS_HASH_LEN = 32,
	OPERATION_TOKEN_LEN =
	    16, /* what stands before the '@' of an identifier of ours, in hexadecimal digits */
	OPERATION_IDENTIFIER_MAX = 998,
	OPERATION_ENTRY_MAX = 256,            /* octets of an annotation's name */
	OPERATION_ANNOTATION_MAX = 64 * 1024, /* octets of its value */
	OPERATION_USE_MASK = 0xffff           /* the bits of special_use that OPERATION_USE sets */
};

enum operation_kind {
	OPERATION_OPEN = 1, /* commits to the slot list, its revision and the generation; none goes back */
	OPERATION_MAILBOX_CREATE = 2,
	OPERATION_MAILBOX_DELETE = 3,
	OPERATION_MAILBOX_RENAME = 4, /* one per child, too: the fold knows no tree */
	OPERATION_RENAME_INBOX = 5,   /* the messages of INBOX into a new mailbox (RFC 3501 section 6.3.5) */
	OPERATION_SUBSCRIBE = 6,
	OPERATION_FILED = 7,
	OPERATION_APPEND = 8,
	OPERATION_FLAGS = 9,
	OPERATION_COPY = 10,
	OPERATION_MOVE = 11,
	OPERATION_EXPUNGE = 12,
	OPERATION_DROPPED = 13,
	OPERATION_SETTING = 14,
	OPERATION_GENERATION = 15,
	OPERATION_NOTE = 16,  /* opaque: not folded */
	OPERATION_SWEPT = 17, /* what was released up to record n has been deleted: forget it */
	OPERATION_RENAMED =
	    18, /* version 3: a message left under another Message-ID than its author's program gave it */
	OPERATION_ANNOTATE = 19, /* version 4: metadata of a mailbox, or of the account (RFC 5464) */
	OPERATION_USE = 20,      /* version 4: what a mailbox is for, after it was created */
	OPERATION_RESTORED = 21, /* version 4: an older copy of the log was put back: no UIDVALIDITY stays */
	OPERATION_RENAME_TREE = 22, /* version 4: a name and all below it: together, or not at all */
	OPERATION_LOST =
	    23, /* version 5: a record before this one cannot be read, and is left out: no UIDVALIDITY stays */
	OPERATION__END
};

/* Flags of RFC 3501 as bits (the same as enum imap_flag). */
enum fold_flag {
	FOLD_SEEN = 1,
	FOLD_ANSWERED = 2,
	FOLD_FLAGGED = 4,
	FOLD_DELETED = 8,
	FOLD_DRAFT = 16,
	FOLD_FLAGS_ALL = 31
};

enum operation_mode { OPERATION_ADD = 1, OPERATION_REMOVE = 2, OPERATION_SET = 3 };

enum operation_reason {
	OPERATION_DUPLICATE = 1, /* the delivery id was seen before */
	OPERATION_DAMAGED = 2,   /* does not open or parse; its delivery id is not remembered */
	OPERATION_UNWANTED = 3   /* a rule of the member's discards it; its delivery id is remembered */
};

/* first <= last, first > 0. */
struct uid_range {
	uint32_t first;
	uint32_t last;
};

/* Ranges ascend and do not overlap. None is valid and means no message. */
struct uid_set {
	const struct uid_range *ranges;
	size_t count;
};

/* As sent, in any order; compared without case, the first spelling is kept. */
struct keyword_list {
	const struct bytes *names;
	size_t count;
};

/* What FILED and APPEND say of a message. */
struct operation_message {
	uint32_t mailbox;
	uint8_t flags; /* enum fold_flag */
	struct keyword_list keywords;
	int64_t date;  /* internal date, seconds since 1970 UTC */
	int16_t zone;  /* minutes east of UTC, -1439 to 1439: as it was given */
	uint64_t size; /* RFC822.SIZE, in octets */
	uint32_t
	    saved; /* when it is put there (RFC 8514), seconds since 1970 UTC; 0: unknown, as before version 4 */
	struct bytes card;    /* opaque to the fold; stays in the record */
	uint32_t card_offset; /* decoding only: where the card begins within the record's plaintext */
};

struct operation {
	enum operation_kind kind;
	union {
		struct {
			uint8_t slots_hash[OPERATION_SLOTS_HASH_LEN];
			uint32_t generation;
			uint32_t revision; /* of the slot list; 0 in records of version 1 */
		} open;
		struct {
			struct bytes name;
			/* Raised to one above the greatest ever folded, so that it never repeats. Not 0. */
			uint32_t uidvalidity;
			uint32_t special_use; /* bits, opaque to the fold (enum imap_special_use) */
			bool subscribed;      /* also subscribes the name */
		} create;
		struct {
			uint32_t mailbox;
		} remove; /* MAILBOX_DELETE */
		struct {
			uint32_t mailbox;
			struct bytes name;
		} rename;
		struct {
			struct bytes name;
			uint32_t uidvalidity; /* as in create */
			uint32_t saved;       /* as in operation_message: the messages are moved */
		} rename_inbox;
		struct {
			struct bytes name; /* need not exist */
			bool on;
		} subscribe;
		struct {
			uint64_t arrival; /* n of the arrival's record */
			uint8_t delivery[OPERATION_DELIVERY_LEN];
			struct operation_message message;
		} filed;
		struct {
			bool has_key; /* a Sent copy of ours */
			uint8_t key[OPERATION_KEY_LEN];
			struct operation_message message;
		} append;
		struct {
			uint32_t mailbox;
			struct uid_set uids;
			enum operation_mode mode;
			uint8_t flags;
			struct keyword_list keywords;
		} flags;
		struct {
			uint32_t from;
			uint32_t to;    /* may be the same */
			uint32_t saved; /* as in operation_message */
			struct uid_set uids;
		} copy; /* COPY and MOVE */
		struct {
			uint32_t mailbox;
			struct uid_set uids; /* exactly these go, whether \Deleted or not */
		} expunge;
		struct {
			uint64_t arrival;
			uint8_t delivery[OPERATION_DELIVERY_LEN];
			enum operation_reason reason;
		} dropped;
		struct {
			struct bytes name;  /* 1 to OPERATION_SETTING_NAME_MAX of a-z 0-9 . - _ */
			struct bytes value; /* empty: the setting goes away */
		} setting;
		struct {
			uint32_t number;
		} generation;
		struct {
			struct bytes data;
		} note;
		struct {
			uint64_t upto; /* n of the snapshot after which was swept */
		} swept;
		struct {
			uint8_t key[OPERATION_KEY_LEN];     /* by which the original is found again */
			uint8_t token[OPERATION_TOKEN_LEN]; /* of the identifier that left */
			struct bytes original;              /* at most OPERATION_IDENTIFIER_MAX */
		} renamed;
		struct {
			uint32_t mailbox;   /* 0: the account's own */
			struct bytes entry; /* "/private/..." or "/shared/...", see operation_entry_valid */
			bool on;            /* false: it goes away, and the value is empty */
			struct bytes value; /* any octets, none too */
		} annotate;
		struct {
			uint32_t mailbox;
			uint32_t special_use; /* within OPERATION_USE_MASK; the other bits stay */
		} use;
		struct {
			struct bytes from; /* need not be a mailbox itself; not INBOX */
			struct bytes to;   /* not below it */
		} rename_tree;
		struct {
			uint32_t epoch; /* above that of the one before, not 0 */
			uint32_t
			    uidvalidity; /* from here on, or from beyond what was given if that is more. Not 0 */
		} restored;
		struct {
			uint64_t n; /* of the record: not 0 */
		} lost;
	};
};

/* Begins a record in an empty buffer: its version. ERR_STATE where the buffer is not empty, ERR_MEMORY, ERR_LIMIT. */
COHUE_MUST_USE enum err operations_begin(struct buf *record);
/*
 * Adds one operation. ERR_FORMAT: it breaks a rule stated above (a bad name, keyword, range, ...).
 * ERR_LIMIT: the record, or the operation alone, would pass a limit. The buffer is unchanged on failure.
 */
COHUE_MUST_USE enum err operations_add(struct buf *record, const struct operation *op);

/*
 * What is left of a record for the next one to carry: a record of its own with the same operations at the same places, without
 * what is long or says more than the fold needs: cards, notes, originals, and values above 1 KiB (such a setting or
 * annotation is left out; a note stands in its place). Appended to ret. ERR_LIMIT: above OPERATION_CARRIED_MAX.
 * ERR_FORMAT, ERR_UNSUPPORTED, ERR_MEMORY; ret is unchanged then.
 */
COHUE_MUST_USE enum err operations_skeleton(struct bytes record, struct buf *ret);
/* The UID that the next message of a mailbox gets. */
struct operation_base {
	uint32_t mailbox;
	uint32_t uidnext;
};
/*
 * What a record carries, so that a damaged one before it costs little. All is empty in versions below 5.
 */
struct operations_carried {
	uint64_t previous;     /* n of the session's record before this one; 0: unknown */
	struct bytes skeleton; /* of that one; empty: too long, or unknown */
	/* Where numbers went on when this record was made: of the mailboxes that the records just before may have added to. */
	uint32_t next_mailbox; /* 0: unknown */
	/* Of the last OPEN and GENERATION: so that a lost one brings no older slot list back. */
	uint32_t revision;
	uint32_t generation;
	struct operation_base bases[OPERATION_BASES_MAX];
	size_t base_count;
};
/*
 * Appends the record as it is sealed, with what it carries. record: as operations_begin began it. ERR_FORMAT: it was not, or the
 * skeleton is too long, or there are too many bases. ERR_MEMORY, ERR_LIMIT; ret is unchanged then.
 */
COHUE_MUST_USE enum err operations_carry(struct bytes record, const struct operations_carried *carried,
					 struct buf *ret);
/* What a record carries. The view borrows from the record. ERR_FORMAT, ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err operations_carried(struct bytes record, struct operations_carried *ret);
/* The records that this one says are lost: at most max of them; returns how many. None in a record that cannot be read. */
size_t operations_lost(struct bytes record, uint64_t *ret, size_t max);
/* True where the record has operations, beyond what operations_begin wrote. */
bool operations_any(const struct buf *record);

/*
 * Decodes a whole record. Views point into the record; arrays live in the arena (16 MiB of maximum
 * suffice for any record). ERR_FORMAT, ERR_UNSUPPORTED (newer version), ERR_MEMORY.
 */
COHUE_MUST_USE enum err operations_decode(struct arena *a, struct bytes record,
					  const struct operation **ret_ops, size_t *ret_count);

/*
 * The card that operation `index` of the record carries, without decoding the rest.
 * ERR_NOT_FOUND: no such operation, or one without a card. ERR_FORMAT, ERR_UNSUPPORTED.
 */
COHUE_MUST_USE enum err operations_card(struct bytes record, uint16_t index, struct bytes *ret_card);
/* Where in a record the last card was: whoever takes its cards in order does not begin anew for each. Zero: at the beginning. */
struct operations_place {
	uint16_t index; /* of the operation that begins at the offset */
	size_t offset;
};
/* The same from *place on, which goes on behind what was found; an index before it starts anew. */
COHUE_MUST_USE enum err operations_card_from(struct bytes record, struct operations_place *place,
					     uint16_t index, struct bytes *ret_card);

/* 1 to OPERATION_NAME_MAX octets of UTF-8 without C0 and DEL, no empty level, not too deep. */
bool operation_name_valid(struct bytes name);
/*
 * The name of an annotation as it is kept: lower case, begins with "/private/" or "/shared/", printable ASCII
 * without '*' and '%', no empty component, at most OPERATION_ENTRY_MAX octets (RFC 5464 section 5).
 */
bool operation_entry_valid(struct bytes entry);
/* A flag-keyword of RFC 3501 (an ATOM), 1 to OPERATION_KEYWORD_MAX octets. */
bool operation_keyword_valid(struct bytes keyword);
/* Ascending, disjoint, not 0. */
bool uid_set_valid(struct uid_set set);
bool uid_set_contains(struct uid_set set, uint32_t uid); /* binary search */

#endif
