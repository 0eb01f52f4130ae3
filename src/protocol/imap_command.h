/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_COMMAND_H
#define COHUE_PROTOCOL_IMAP_COMMAND_H

#include "base/arena.h"
#include "base/bytes.h"
#include "protocol/imap_set.h"

/*
 * One complete command (as the reader assembles it) parsed into a typed
 * struct: RFC 3501 section 6 and the extensions named beside the fields.
 * All memory is in the caller's arena; views borrow the arena or the text.
 * One table gives for each name its parser and the states that allow it.
 */

enum imap_state {
	IMAP_NOT_AUTHENTICATED = 1,
	IMAP_AUTHENTICATED = 2,
	IMAP_SELECTED = 4,
	IMAP_ANY_STATE = 7,
	IMAP_LOGGED_IN = 6
};

enum imap_verb {
	IMAP_CAPABILITY,
	IMAP_NOOP,
	IMAP_LOGOUT,
	IMAP_ID,
	IMAP_STARTTLS,
	IMAP_AUTHENTICATE,
	IMAP_LOGIN,
	IMAP_ENABLE,
	IMAP_SELECT,
	IMAP_EXAMINE,
	IMAP_CREATE,
	IMAP_DELETE,
	IMAP_RENAME,
	IMAP_SUBSCRIBE,
	IMAP_UNSUBSCRIBE,
	IMAP_LIST,
	IMAP_LSUB,
	IMAP_STATUS,
	IMAP_APPEND,
	IMAP_NAMESPACE,
	IMAP_GETQUOTA,
	IMAP_GETQUOTAROOT,
	IMAP_IDLE,
	IMAP_CHECK,
	IMAP_CLOSE,
	IMAP_UNSELECT,
	IMAP_EXPUNGE,
	IMAP_SEARCH,
	IMAP_SORT,   /* RFC 5256 */
	IMAP_THREAD, /* RFC 5256 */
	IMAP_FETCH,
	IMAP_STORE,
	IMAP_COPY,
	IMAP_MOVE,
	IMAP_REPLACE, /* RFC 8508 */
	IMAP_NOTIFY,
	IMAP_GETMETADATA, /* RFC 5464 */
	IMAP_SETMETADATA,
	IMAP_SETQUOTA, /* RFC 9208 */
	IMAP_VERB__COUNT
};

enum imap_flag {
	IMAP_FLAG_SEEN = 1,
	IMAP_FLAG_ANSWERED = 2,
	IMAP_FLAG_FLAGGED = 4,
	IMAP_FLAG_DELETED = 8,
	IMAP_FLAG_DRAFT = 16,
	IMAP_FLAG_RECENT = 32 /* only ever sent, or searched for */
};

struct imap_flags {
	uint32_t system;              /* enum imap_flag bits */
	const struct bytes *keywords; /* as sent: compare without case */
	size_t keyword_count;
};

/* A date-time (RFC 3501): the instant, and the zone it was written in. */
struct imap_time {
	int64_t seconds; /* since 1970 UTC */
	int16_t zone;    /* minutes east of UTC */
};

enum imap_special_use { /* RFC 6154 */
			IMAP_USE_ALL = 1,
			IMAP_USE_ARCHIVE = 2,
			IMAP_USE_DRAFTS = 4,
			IMAP_USE_FLAGGED = 8,
			IMAP_USE_JUNK = 16,
			IMAP_USE_SENT = 32,
			IMAP_USE_TRASH = 64,
			IMAP_USE_OTHER = 128 /* one that we do not know: answer NO [USEATTR] */
};

enum imap_status_item {
	IMAP_STATUS_MESSAGES = 1,
	IMAP_STATUS_RECENT = 2,
	IMAP_STATUS_UIDNEXT = 4,
	IMAP_STATUS_UIDVALIDITY = 8,
	IMAP_STATUS_UNSEEN = 16,
	IMAP_STATUS_HIGHESTMODSEQ = 32,    /* RFC 7162 */
	IMAP_STATUS_SIZE = 64,             /* RFC 8438 */
	IMAP_STATUS_DELETED = 128,         /* RFC 9051, RFC 9208 */
	IMAP_STATUS_APPENDLIMIT = 256,     /* RFC 7889 */
	IMAP_STATUS_MAILBOXID = 512,       /* RFC 8474 */
	IMAP_STATUS_DELETED_STORAGE = 1024 /* RFC 9208 */
};

enum imap_list_select { /* RFC 5258 */
			IMAP_LIST_SUBSCRIBED = 1,
			IMAP_LIST_REMOTE = 2,
			IMAP_LIST_RECURSIVEMATCH = 4,
			IMAP_LIST_SPECIAL_USE = 8
};

enum imap_list_return {
	IMAP_LIST_RETURN_SUBSCRIBED = 1,
	IMAP_LIST_RETURN_CHILDREN = 2,
	IMAP_LIST_RETURN_SPECIAL_USE = 4,
	IMAP_LIST_RETURN_STATUS = 8,    /* RFC 5819, with status items */
	IMAP_LIST_RETURN_METADATA = 128 /* RFC 9590, with entries */
};

enum imap_section_kind {
	IMAP_SECTION_ALL,        /* "", or a part number alone: the part's content */
	IMAP_SECTION_HEADER,     /* of the message, or of a message/rfc822 part */
	IMAP_SECTION_FIELDS,     /* HEADER.FIELDS */
	IMAP_SECTION_FIELDS_NOT, /* HEADER.FIELDS.NOT */
	IMAP_SECTION_TEXT,
	IMAP_SECTION_MIME /* only with a part number */
};

struct imap_section {
	enum imap_section_kind kind;
	const uint32_t *path; /* part numbers, each at least 1 */
	size_t path_len;
	const struct bytes *fields; /* field names, as sent */
	size_t field_count;
};

enum imap_fetch_kind {
	IMAP_FETCH_ENVELOPE,
	IMAP_FETCH_FLAGS,
	IMAP_FETCH_INTERNALDATE,
	IMAP_FETCH_RFC822,        /* answered under its own name; sets \Seen */
	IMAP_FETCH_RFC822_HEADER, /* does not set \Seen */
	IMAP_FETCH_RFC822_SIZE,
	IMAP_FETCH_RFC822_TEXT, /* sets \Seen */
	IMAP_FETCH_BODY,        /* without section: the non-extensible structure */
	IMAP_FETCH_BODYSTRUCTURE,
	IMAP_FETCH_UID,
	IMAP_FETCH_MODSEQ,   /* RFC 7162 */
	IMAP_FETCH_SECTION,  /* BODY[...] and BODY.PEEK[...] */
	IMAP_FETCH_SAVEDATE, /* RFC 8514 */
	IMAP_FETCH_EMAILID,  /* RFC 8474 */
	IMAP_FETCH_THREADID,
	IMAP_FETCH_PREVIEW,    /* RFC 8970; lazy */
	IMAP_FETCH_BINARY,     /* RFC 3516: BINARY[...] and BINARY.PEEK[...]; section.path alone */
	IMAP_FETCH_BINARY_SIZE /* BINARY.SIZE[...] */
};

struct imap_fetch_item {
	enum imap_fetch_kind kind;
	bool peek;
	bool lazy;    /* PREVIEW (LAZY): only where it is at hand */
	bool partial; /* <start.count> was given */
	uint32_t start;
	uint32_t count; /* at least 1 */
	struct imap_section section;
};

enum imap_store_mode { IMAP_STORE_REPLACE, IMAP_STORE_ADD, IMAP_STORE_REMOVE };

enum imap_search_op {
	IMAP_SEARCH_ALL,
	IMAP_SEARCH_AND,     /* of the list at first */
	IMAP_SEARCH_OR,      /* of the two at first */
	IMAP_SEARCH_NOT,     /* of the one at first */
	IMAP_SEARCH_FLAG,    /* flag: set (SEEN, ANSWERED, ...) */
	IMAP_SEARCH_UNFLAG,  /* flag: not set (UNSEEN, OLD, ...); NEW is AND of RECENT and UNSEEN */
	IMAP_SEARCH_KEYWORD, /* text */
	IMAP_SEARCH_UNKEYWORD,
	IMAP_SEARCH_HEADER, /* name, text; also FROM, TO, CC, BCC, SUBJECT (name is set) */
	IMAP_SEARCH_BODY,   /* text */
	IMAP_SEARCH_TEXT,   /* text */
	IMAP_SEARCH_BEFORE, /* day: internal date */
	IMAP_SEARCH_ON,
	IMAP_SEARCH_SINCE,
	IMAP_SEARCH_SENTBEFORE, /* day: Date field */
	IMAP_SEARCH_SENTON,
	IMAP_SEARCH_SENTSINCE,
	IMAP_SEARCH_LARGER, /* number, octets */
	IMAP_SEARCH_SMALLER,
	IMAP_SEARCH_UID,    /* set */
	IMAP_SEARCH_SET,    /* set, sequence numbers */
	IMAP_SEARCH_MODSEQ, /* number (RFC 7162); the optional entry name is read and ignored */
	IMAP_SEARCH_OLDER,  /* number, seconds (RFC 5032) */
	IMAP_SEARCH_YOUNGER,
	IMAP_SEARCH_SAVEDBEFORE, /* day: the time of saving (RFC 8514); SAVEDATESUPPORTED is ALL */
	IMAP_SEARCH_SAVEDON,
	IMAP_SEARCH_SAVEDSINCE,
	IMAP_SEARCH_EMAILID, /* text (RFC 8474) */
	IMAP_SEARCH_THREADID /* text */
};

/* Depth of the tree at most IMAP_SEARCH_DEPTH_MAX, all keys at most IMAP_SEARCH_KEYS_MAX. */
/* Header fields that an envelope knows. */
enum imap_search_field {
	IMAP_FIELD_OTHER,
	IMAP_FIELD_SUBJECT,
	IMAP_FIELD_MESSAGE_ID,
	IMAP_FIELD_IN_REPLY_TO,
	IMAP_FIELD_FROM, /* and from here on lists */
	IMAP_FIELD_TO,
	IMAP_FIELD_CC,
	IMAP_FIELD_BCC
};

struct imap_search_key {
	enum imap_search_op op;
	enum imap_search_field field;  /* of IMAP_SEARCH_HEADER; set by imap_search_prepare */
	struct imap_search_key *next;  /* in the parent's list */
	struct imap_search_key *first; /* children */
	uint32_t flag;
	uint64_t number;
	int32_t day; /* since 1970-01-01 */
	struct bytes name;
	struct bytes text;   /* in UTF-8, whatever CHARSET was given */
	struct bytes folded; /* text, folded for comparison (imap_fold_case) */
	struct imap_set set;
};

enum { IMAP_SEARCH_DEPTH_MAX = 32, IMAP_SEARCH_KEYS_MAX = 4096, IMAP_PATH_MAX = 64 };

enum imap_sort_by { /* RFC 5256, and DISPLAY... RFC 5957 */
		    IMAP_SORT_ARRIVAL,
		    IMAP_SORT_CC,
		    IMAP_SORT_DATE,
		    IMAP_SORT_FROM,
		    IMAP_SORT_SIZE,
		    IMAP_SORT_SUBJECT,
		    IMAP_SORT_TO,
		    IMAP_SORT_DISPLAYFROM,
		    IMAP_SORT_DISPLAYTO
};

struct imap_sort_criterion {
	enum imap_sort_by by;
	bool reverse;
};

enum { IMAP_SORT_MAX = 16 }; /* criteria of one command */

enum imap_thread_algorithm { IMAP_THREAD_ORDEREDSUBJECT, IMAP_THREAD_REFERENCES };

enum imap_search_return { /* RFC 4731; 0: the plain SEARCH response */
			  IMAP_RETURN_MIN = 1,
			  IMAP_RETURN_MAX = 2,
			  IMAP_RETURN_ALL = 4,
			  IMAP_RETURN_COUNT = 8,
			  IMAP_RETURN_SAVE = 16,   /* RFC 5182 */
			  IMAP_RETURN_PARTIAL = 32 /* RFC 9394 */
};

enum imap_notify_filter { /* RFC 5465 section 6 */
			  IMAP_NOTIFY_SELECTED,
			  IMAP_NOTIFY_SELECTED_DELAYED,
			  IMAP_NOTIFY_INBOXES,
			  IMAP_NOTIFY_PERSONAL,
			  IMAP_NOTIFY_SUBSCRIBED,
			  IMAP_NOTIFY_SUBTREE,
			  IMAP_NOTIFY_MAILBOXES
};

enum imap_notify_event { /* RFC 5465 section 5; those that are not known to us are UNKNOWN: answer NO [BADEVENT ...] */
			 IMAP_NOTICE_MESSAGE_NEW = 1,
			 IMAP_NOTICE_MESSAGE_EXPUNGE = 2,
			 IMAP_NOTICE_FLAG_CHANGE = 4,
			 IMAP_NOTICE_MAILBOX_NAME = 8,
			 IMAP_NOTICE_SUBSCRIPTION_CHANGE = 16,
			 IMAP_NOTICE_MAILBOX_METADATA = 32,
			 IMAP_NOTICE_SERVER_METADATA = 64,
			 IMAP_NOTICE_UNKNOWN = 128
};

struct imap_notify_group {
	enum imap_notify_filter filter;
	uint32_t events;           /* enum imap_notify_event; 0 is NONE */
	const struct bytes *names; /* SUBTREE, MAILBOXES: as sent */
	size_t name_count;
	const struct imap_fetch_item *items; /* of MessageNew for SELECTED; UID is added */
	size_t item_count;                   /* 0: EXISTS alone */
};

/* RFC 9394: the first .. last of the results, or from their end; 1 <= first <= last. */
struct imap_partial {
	bool given;
	bool from_end;
	uint32_t first;
	uint32_t last;
};

enum { IMAP_METADATA_ITEMS_MAX = 256 }; /* of one command */
enum imap_metadata_depth { IMAP_DEPTH_0, IMAP_DEPTH_1, IMAP_DEPTH_INFINITY };

/* What GETMETADATA, SETMETADATA and LIST RETURN (METADATA ...) say of entries. */
struct imap_metadata {
	const struct imap_metadata_item {
		struct bytes entry; /* as sent: begins with '/'; else to be checked, case does not count */
		struct bytes value; /* SETMETADATA: ptr NULL for NIL; any octets */
	} * items;
	size_t count;
	enum imap_metadata_depth depth;
	bool has_max;
	uint64_t max; /* MAXSIZE, octets of a value */
};

/* What is said of a message that is put somewhere; it is streamed, and not in the text. */
struct imap_append_part {
	struct imap_flags flags;
	bool has_time;
	struct imap_time time;
	bool utf8;     /* in UTF8's parentheses (RFC 6855): ")" follows its octets */
	bool literal8; /* RFC 3516; so is what stands in UTF8's */
	uint64_t size; /* octets */
};

struct imap_command {
	struct bytes tag;
	enum imap_verb verb;
	bool uid; /* with the UID prefix (EXPUNGE, SEARCH, SORT, THREAD, FETCH, STORE, COPY, MOVE) */

	/* Mailbox names are as sent (modified UTF-7, or UTF-8): pass them through imap_mailbox_from_wire. */
	struct bytes
	    mailbox; /* SELECT EXAMINE CREATE DELETE RENAME (UN)SUBSCRIBE STATUS APPEND COPY MOVE GETQUOTAROOT; LIST: reference */
	struct bytes target; /* RENAME: the new name */
	struct imap_set set; /* FETCH STORE COPY MOVE, UID EXPUNGE; REPLACE: one */

	union {
		struct {
			struct bytes name;
			struct bytes password;
		} login;
		struct {
			struct bytes mechanism;
			bool has_initial;     /* RFC 4959 */
			struct bytes initial; /* base64 text; "=" was given: empty */
		} authenticate;
		struct {
			const struct bytes *pairs; /* name, value, ...; a NIL value has ptr NULL */
			size_t count;              /* of views in pairs: even; 0 for NIL */
		} id;
		struct {
			const struct bytes *names;
			size_t count;
		} enable;
		struct {
			bool condstore; /* RFC 7162 */
			bool qresync;   /* RFC 7162 section 3.2.5: what the client knows of the mailbox */
			uint32_t uidvalidity;
			uint64_t modseq;
			struct imap_set known;     /* UIDs; count 0: not given */
			struct imap_set match;     /* sequence numbers, ascending; count 0: not given */
			struct imap_set match_uid; /* their UIDs: as many */
		} select;
		struct {
			uint32_t use; /* enum imap_special_use bits, RFC 6154 */
		} create;
		struct {
			const struct bytes *patterns; /* one, or several in the extended form */
			size_t pattern_count;
			bool extended;
			uint32_t select;  /* enum imap_list_select */
			uint32_t returns; /* enum imap_list_return */
			uint32_t status;  /* enum imap_status_item */
			struct imap_metadata metadata;
		} list; /* LIST and LSUB */
		struct {
			uint32_t items;
		} status;
		struct imap_append_part append; /* APPEND, REPLACE: of the first message */
		struct {
			struct bytes root;
		} quota; /* GETQUOTA, SETQUOTA */
		struct imap_metadata metadata;
		struct {
			struct imap_search_key *key; /* never NULL; AND on top */
			uint32_t returns;            /* enum imap_search_return */
			bool esearch;                /* RETURN was given */
			bool modseq;                 /* a MODSEQ key occurs: answer with (MODSEQ n) */
			bool object_ids;             /* an EMAILID or THREADID key occurs */
			bool charset_given;
			struct imap_partial partial;             /* with IMAP_RETURN_PARTIAL */
			const struct imap_sort_criterion *order; /* SORT: order_count of them, at least 1 */
			size_t order_count;
			enum imap_thread_algorithm algorithm; /* THREAD */
		} search;                                     /* SEARCH, SORT and THREAD */
		struct {
			const struct imap_fetch_item *
			    items; /* macros are expanded; UID and MODSEQ added where they must be answered */
			size_t count;
			bool changed_since_given;
			uint64_t changed_since;
			bool vanished; /* RFC 7162 section 3.2.6: UID FETCH with CHANGEDSINCE only */
			struct imap_partial partial; /* UID FETCH only */
		} fetch;
		struct {
			enum imap_store_mode mode;
			bool silent;
			struct imap_flags flags;
			bool unchanged_since_given;
			uint64_t unchanged_since;
		} store;
		struct {
			bool none;
			bool status;
			const struct imap_notify_group *groups;
			size_t count;
		} notify; /* RFC 5465 */
	};
};

enum imap_mode {
	IMAP_MODE_UTF8 = 1,    /* quoted strings may hold UTF-8: UTF8=ACCEPT or IMAP4rev2 */
	IMAP_MODE_ACCEPT = 2,  /* UTF8=ACCEPT: SEARCH with CHARSET is refused (RFC 6855 section 3) */
	IMAP_MODE_REV2 = 4,    /* SEARCH answers with ESEARCH (RFC 9051 section 6.4.4) */
	IMAP_MODE_QRESYNC = 8, /* its parameters and modifiers are taken */
	IMAP_MODE_ALL = 15
};

/*
 * Parses a command's text. modes: enum imap_mode bits, what the client has enabled. For an IMAP_EVENT_APPEND give its text, which
 * ends with the literal's "{N}". ERR_FORMAT (answer BAD), ERR_NOT_FOUND (unknown command: BAD),
 * ERR_UNSUPPORTED (SEARCH, SORT, THREAD: NO [BADCHARSET]), ERR_LIMIT (nested or long past
 * the limits: BAD), ERR_MEMORY (answer NO [LIMIT]).
 * On failure *ret_why is a static English text if ret_why is not NULL.
 */
COHUE_MUST_USE enum err imap_command_parse(struct arena *a, struct bytes text, unsigned modes,
					   struct imap_command *ret_command, const char **ret_why);
/*
 * What stands between two messages of an APPEND (IMAP_EVENT_APPEND_MORE): flags and the like, up to and with "{N}". in_utf8: the message before was
 * given in UTF8's form. The text must live as long as the flags are looked at. ERR_FORMAT and the like, with *ret_why.
 */
COHUE_MUST_USE enum err imap_append_part_parse(struct arena *a, struct bytes text, unsigned modes,
					       bool in_utf8, struct imap_append_part *ret,
					       const char **ret_why);
/* True where the command names messages by their numbers, in its set or in a search key: not under UIDONLY (RFC 9586). */
bool imap_command_uses_numbers(const struct imap_command *command);
/* Upper-case, static: "FETCH". */
const char *imap_verb_name(enum imap_verb verb);
/* enum imap_state bits in which the command is allowed. */
unsigned imap_verb_states(enum imap_verb verb);
/* True when the command may run in this state (a single bit). */
bool imap_command_allowed(const struct imap_command *command, enum imap_state state);

/* A flag name with backslash to its bit; 0 for a keyword or an unknown system flag. */
uint32_t imap_flag_bit(struct bytes name);
/* The static name ("\\Seen") of one bit, NULL for none. */
const char *imap_flag_name(uint32_t bit);
/* "\\Sent" to its bit (IMAP_USE_OTHER when unknown), and back (NULL for none). */
uint32_t imap_use_bit(struct bytes name);
const char *imap_use_name(uint32_t bit);

#endif
