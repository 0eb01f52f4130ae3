/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_SEARCH_H
#define COHUE_PROTOCOL_IMAP_SEARCH_H

#include "mail/structure.h"
#include "protocol/imap_command.h"

/*
 * Evaluates a search key tree (RFC 3501 section 6.4.4) against one message.
 * Three-valued: what is not loaded yet gives IMAP_NEEDS_..., and only where the
 * answer depends on it, so that the host loads a header or body for few
 * messages; it then asks again.
 *
 * Strings match as parts, folded (imap_fold_case.h), over decoded headers (RFC 2047) and decoded text parts
 * (imap_search_text.h). Of parts that are not text, the names of their files match.
 */

enum imap_match {
	IMAP_MATCH_NO,
	IMAP_MATCH_YES,
	IMAP_NEEDS_ENVELOPE, /* load the summary: envelope */
	IMAP_NEEDS_HEADER,   /* load at least the message's header */
	IMAP_NEEDS_MESSAGE   /* load the whole message and its structure */
};

enum {
	IMAP_SEARCH_TEXT_MAX =
	    16 * 1024 * 1024,          /* octets of folded text searched per message: the first ones */
	IMAP_SEARCH_BODY_KEYS_MAX = 64 /* BODY and TEXT keys per command, refused by the parser */
};

struct imap_search_message {
	uint32_t sequence;
	uint32_t uid;
	uint32_t flags; /* enum imap_flag bits */
	const struct bytes *keywords;
	size_t keyword_count;
	uint64_t size;
	uint64_t modseq;
	struct imap_time internal;
	uint32_t saved; /* seconds since 1970 UTC; 0: unknown, the internal date stands for it (RFC 8514) */
	struct bytes email_id;  /* RFC 8474 */
	struct bytes thread_id; /* ptr NULL: not loaded; comes with the envelope. Empty: NIL */

	const struct mail_envelope *envelope;   /* NULL: not loaded */
	struct bytes header;                    /* ptr NULL: not loaded; else the outermost header */
	struct bytes message;                   /* ptr NULL: not loaded */
	const struct mail_structure *structure; /* with message */
};

/* Folded text of the present message, made once for all keys. Holds nothing until a BODY or TEXT key is met. */
struct imap_search_text {
	struct buf header;
	struct buf body;
	bool header_ready;
	bool body_ready;
};

void imap_search_text_init(struct imap_search_text *t);
/* Between messages: forgets the text, and keeps memory of an ordinary message's size. */
void imap_search_text_next(struct imap_search_text *t);
/* Wipes; at the end. */
void imap_search_text_clear(struct imap_search_text *t);

/*
 * Says of each HEADER key which field it is, puts the numbers for "*", and what was saved for "$", into all sets of the tree: call it once before matching.
 * largest_sequence = number of messages; largest_uid = UID of the last one, 0 when empty; saved: resolved UIDs, borrowed. ERR_MEMORY.
 */
COHUE_MUST_USE enum err imap_search_prepare(struct arena *a, struct imap_search_key *key,
					    uint32_t largest_sequence, uint32_t largest_uid,
					    const struct imap_set *saved);
/* Whether a key looks at the lists of an envelope, addresses and references; where none does they may be left empty. */
bool imap_search_needs_lists(const struct imap_search_key *key);
/* now: seconds since 1970 UTC, for OLDER and YOUNGER. ERR_MEMORY; ERR_LIMIT for a tree deeper than IMAP_SEARCH_DEPTH_MAX. */
COHUE_MUST_USE enum err imap_search_match(const struct imap_search_key *key,
					  const struct imap_search_message *message, int64_t now,
					  struct imap_search_text *text, enum imap_match *ret_match);

#endif
