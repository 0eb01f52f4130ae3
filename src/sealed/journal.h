/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_JOURNAL_H
#define COHUE_SEALED_JOURNAL_H

#include "sealed/arrival.h"

/*
 * A line of a member's journal: what became of a letter of hers. Written by her session (submitted), the mixer (left) and the
 * courier (delivered, deferred, failed), sealed to her public key as an arrival without a blob whose `extra` holds the line;
 * her session files it into her journal, where she alone can read it.
 */

enum {
	JOURNAL_TEXT_MAX = 400, /* octets of each text */
	JOURNAL_LINE_MAX = 2048,
	ARRIVAL_EXTRA_JOURNAL = 2, /* the TLV's type */
};

enum journal_event {
	JOURNAL_SUBMITTED = 1,
	JOURNAL_LEFT = 2, /* its wait is over */
	JOURNAL_DELIVERED = 3,
	JOURNAL_DEFERRED = 4, /* an attempt failed, another one comes */
	JOURNAL_FAILED = 5,
	JOURNAL_FORWARD_FAILED = 6, /* of a copy that she has sent on: refused for good */
	JOURNAL__COUNT
};

/* How the wait of JOURNAL_LEFT went. */
enum journal_wait {
	JOURNAL_WAIT_NONE = 0,        /* the house does not wait */
	JOURNAL_WAIT_CROWD = 1,       /* in a crowd: the promise held */
	JOURNAL_WAIT_VOID = 2,        /* the promise did not hold: too few wrote, or it was urgent */
	JOURNAL_WAIT_EXPONENTIAL = 3, /* a random delay: nothing is promised of a single letter */
	JOURNAL_WAIT__COUNT
};

/* How the server proved who it is. */
enum journal_proof {
	JOURNAL_PROOF_NONE = 0,
	JOURNAL_PROOF_NAME = 1, /* in some way: lines of the time before the next two */
	JOURNAL_PROOF_DANE = 2,
	JOURNAL_PROOF_STS = 3, /* by an authority, as an MTA-STS policy asks */
	JOURNAL_PROOF__COUNT
};

struct journal_line {
	enum journal_event event;
	uint8_t unit[SEALED_ID_LEN]; /* the letter: the same in all its lines */
	uint64_t time;               /* seconds since 1970 */
	/* SUBMITTED */
	uint8_t lane;           /* enum law_lane */
	uint64_t hold;          /* seconds that it was to be held */
	struct bytes reference; /* what the client was told with 250, and stands in the house's log */
	struct bytes message_id;
	/* SUBMITTED, LEFT */
	uint8_t size_class;
	uint32_t recipients;
	/* LEFT */
	enum journal_wait wait;
	uint32_t crowd; /* members whose letters of this class left with it, herself included */
	uint32_t batch; /* deliveries of this class */
	/* DELIVERED, DEFERRED, FAILED, FORWARD_FAILED: one destination */
	struct bytes domain;
	uint16_t tls; /* version of the protocol (0x0304: 1.3), 0: in clear, or not reached */
	enum journal_proof proof;
	bool padded;       /* sizes were hidden */
	struct bytes text; /* what the server said, or why it was not reached */
};

/* Appends the plain form. ERR_FORMAT, ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err journal_encode(const struct journal_line *line, struct buf *out);
/* Views borrow from plain. ERR_FORMAT, ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err journal_decode(struct bytes plain, struct journal_line *ret);

/*
 * Seals a line to a member's public key; the caller has checked the key. `delivery` is random: a line that comes twice is
 * filed once. Appends to *ret what stands in her log. ERR_FORMAT, ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err journal_seal(const uint8_t account[SEALED_ID_LEN], uint32_t generation,
				     const uint8_t public_key[BOX_PUBLIC_LEN],
				     const uint8_t delivery[SEALED_ID_LEN], const struct journal_line *line,
				     struct buf *ret);
/* The line as a TLV of an arrival's `extra`: the author's copy of a letter carries one, too. */
COHUE_MUST_USE enum err journal_put_extra(const struct journal_line *line, struct buf *extra);
/* The line in an arrival that was opened. ERR_NOT_FOUND: it has none. ERR_FORMAT, ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err journal_of_arrival(const struct arrival *arrival, struct journal_line *ret);

#endif
