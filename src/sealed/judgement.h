/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_JUDGEMENT_H
#define COHUE_SEALED_JUDGEMENT_H

#include "sealed/arrival.h"

/*
 * What the gate found in a message that may be unwanted, in an arrival's `extra`: how suspicious it is by rules that are the same for
 * everybody, and its traits. What follows is decided under the member's own key, by her session.
 */

enum { JUDGEMENT_TRAITS_MAX = 200, JUDGEMENT_SCORE_MAX = 1000 };

struct judgement {
	uint32_t score; /* tenths; 50 and more: unwanted, if nothing else speaks for it */
	uint32_t traits[JUDGEMENT_TRAITS_MAX]; /* mail/traits.h */
	size_t trait_count;
};

/* Appends a TLV to `extra`. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err judgement_put(const struct judgement *j, struct buf *extra);
/* ERR_NOT_FOUND: there is none. ERR_FORMAT. */
COHUE_MUST_USE enum err judgement_of(struct bytes extra, struct judgement *ret);

#endif
