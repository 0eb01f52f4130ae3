/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_SET_H
#define COHUE_PROTOCOL_IMAP_SET_H

#include "base/arena.h"
#include "base/bytes.h"

/*
 * Sets of sequence numbers or UIDs (RFC 3501 sequence-set), kept as ranges.
 * As parsed, a range may be in any order and hold IMAP_STAR; resolved, the
 * ranges are sorted, disjoint and not adjacent, and first <= last.
 */

enum { IMAP_STAR = 0 }; /* "*": never a valid number itself */

struct imap_range {
	uint32_t first;
	uint32_t last;
};

struct imap_set {
	const struct imap_range *ranges;
	size_t count;
	bool saved; /* "$" (RFC 5182), with no ranges: what was saved takes its place; always UIDs */
};

/* Parses all of text into the arena. ERR_FORMAT, ERR_MEMORY. */
COHUE_MUST_USE enum err imap_set_parse(struct arena *a, struct bytes text, struct imap_set *ret_set);
/*
 * Puts largest for "*" (RFC 3501: the largest number in use; for an empty mailbox give 0: the
 * set is then empty where it holds "*" alone), sorts and merges. ERR_MEMORY.
 */
COHUE_MUST_USE enum err imap_set_resolve(struct arena *a, const struct imap_set *set, uint32_t largest,
					 struct imap_set *ret_set);
/* Sorts and merges plain ranges in place (no "*"); returns how many are left. */
size_t imap_ranges_merge(struct imap_range *ranges, size_t count);
/* On a resolved set; binary search. */
bool imap_set_contains(const struct imap_set *set, uint32_t number);
/* Largest number of a resolved set, 0 when empty. */
uint32_t imap_set_last(const struct imap_set *set);
/* How many numbers a resolved set holds. */
uint64_t imap_set_size(const struct imap_set *set);
/* Appends "1:3,5,7:9"; a resolved, non-empty set. */
COHUE_MUST_USE enum err imap_set_write(struct buf *out, const struct imap_set *set);

/*
 * Collects numbers in the order given (COPYUID needs that order kept) as ranges: 1,2,3,7 gives 1:3,7.
 * The buffer holds struct imap_range values. ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err imap_ranges_add(struct buf *ranges, uint32_t number);
/* The collected ranges as a set that borrows the buffer. */
struct imap_set imap_ranges_set(const struct buf *ranges);

#endif
