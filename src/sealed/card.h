/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_CARD_H
#define COHUE_SEALED_CARD_H

#include "sealed/arrival.h"

/*
 * The card of a message: what the `filed` and `append` operations of the log carry, so that a session can list and
 * open a message without asking for anything else. Plain bytes: the record around it is sealed.
 */

struct card {
	struct blob_ref blob;
	uint64_t internal_date; /* seconds since 1970 */
	uint32_t flags;         /* enum arrival_flags: where it came from */
	struct bytes sender;    /* envelope; empty for an append */
	struct bytes recipient; /* as addressed; empty for an append */
	struct bytes summary;   /* mail/summary.h's encoding, at most ARRIVAL_SUMMARY_MAX */
};

/* Appends. ERR_LIMIT, ERR_FORMAT, ERR_MEMORY. */
COHUE_MUST_USE enum err card_encode(const struct card *card, struct buf *ret);
/* Views borrow from data. ERR_FORMAT, ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err card_decode(struct bytes data, struct card *ret);
/* The card of an arrival; views borrow from the same place. */
void card_of_arrival(const struct arrival *arrival, struct card *ret);

#endif
