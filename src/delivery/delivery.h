/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_DELIVERY_DELIVERY_H
#define COHUE_DELIVERY_DELIVERY_H

#include "base/bytes.h"
#include "sealed/arrival.h"
#include "sealed/spool.h"

/*
 * A message made ready to wait: parsed and compressed once, then sealed for each recipient as a part of MIX_PUT (or of
 * COURIER_VERDICT's notices). Shared by gate-mx, session and courier. Pure: the chunks go to a callback.
 */

struct delivery {
	struct blob_codec *codec; /* borrowed */
	const uint8_t *
	    name_key; /* borrowed: `blob-name` (sealed/blob.h); NULL: names that tell nobody whose they are */
	struct bytes message; /* borrowed: CRLF lines, complete */
	struct buf frame;     /* compressed */
	struct buf summary;
	uint64_t received; /* seconds since 1970 */
	uint32_t flags;    /* enum arrival_flags */
	struct bytes sender;
};

/* To whom a part is sealed. */
struct delivery_target {
	uint8_t account[SEALED_ID_LEN];
	uint32_t generation;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint64_t quota;
	struct bytes recipient; /* the address as given */
	/* Of the author's own copy (IPC_PART_SENT); NULL and nothing for what arrives. */
	const uint8_t *sent; /* its delivery id */
	struct bytes extra;
};

/*
 * Parses and compresses. ERR_LIMIT (size), ERR_MEMORY. The message and the codec outlive it. It is to be sealed for `copies`
 * accounts: where they are very many and so are its parts, the last of these are left out of the summaries, so
 * that all fit into one unit.
 */
COHUE_MUST_USE enum err delivery_init(struct delivery *d, struct blob_codec *codec, const uint8_t *name_key,
				      struct bytes message, size_t copies);
/* Wipes. Safe after a failed init, and twice. */
void delivery_clear(struct delivery *d);

/*
 * The size that gives a message its size class: its octets as transferred (RFC 5321 section 4.5.2: a dot at the
 * start of a line is doubled), and room for the fields that the house adds on the way.
 */
enum { DELIVERY_WIRE_ROOM = 4096 };
uint64_t delivery_wire_size(struct bytes message);

/*
 * A delivery's envelope leaves as one record of DELIVERY_FLIGHT bytes of commands, whoever it is for; who has more recipients at one
 * domain than go in makes several deliveries, and each weighs (sealed/spool.h: weight). How many of the part's recipients from
 * `first` on one takes: at least one, if there is one. An upper bound of what the courier will say, whatever the peer offers.
 */
enum {
	DELIVERY_FLIGHT = 4095,
	DELIVERY_RECIPIENTS = 100 /* that each server takes (RFC 5321 section 4.5.3.1.8) */
};
size_t delivery_fitting(const struct courier_part *part, size_t first);

/*
 * Seals it to one account: gives the chunks of a blob of its own to fn, then appends one element of
 * MIX_PUT's list of parts. The stored size is charged to the account. ERR_LIMIT, ERR_FORMAT, ERR_MEMORY, or what fn said.
 */
typedef enum err (*delivery_chunk_fn)(void *arg, const uint8_t blob[SEALED_ID_LEN], uint32_t chunk,
				      struct bytes data);
COHUE_MUST_USE enum err delivery_add_arrival(struct delivery *d, const struct delivery_target *target,
					     delivery_chunk_fn fn, void *arg, struct buf *parts);
/*
 * Seals it to the spool's public key: `part` says who sends and to whom (its blob is set here), `number` is its place in the
 * unit's list of parts.
 */
COHUE_MUST_USE enum err delivery_add_courier(struct delivery *d, struct courier_part *part, uint32_t epoch,
					     const uint8_t spool_public[BOX_PUBLIC_LEN],
					     const uint8_t unit[SEALED_ID_LEN], uint32_t number,
					     delivery_chunk_fn fn, void *arg, struct buf *parts);
/* The blob alone, of this account: for a copy that the member's own session files. */
COHUE_MUST_USE enum err delivery_seal_blob(struct delivery *d, const uint8_t account[SEALED_ID_LEN],
					   struct blob_ref *ret_ref, delivery_chunk_fn fn, void *arg);

#endif
