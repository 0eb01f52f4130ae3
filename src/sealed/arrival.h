/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_ARRIVAL_H
#define COHUE_SEALED_ARRIVAL_H

#include "sealed/blob.h"
#include "sealed/member_keys.h"

/*
 * A sealed arrival: a box to the member's public key that says which message came and how to open its blob. Whoever
 * has the public key can seal one (gate-mx, a session for local mail, the courier for bounces), so all that it says is
 * checked again when it is opened; what stands in `summary` is opaque here and must be checked by its reader.
 */

enum {
	ARRIVAL_SUMMARY_MAX = 128 * 1024,
	ARRIVAL_ADDRESS_MAX = 1000, /* bytes of a path: quoted, UTF-8 */
	ARRIVAL_EXTRA_MAX = 16 * 1024,
	ARRIVAL_SEALED_MAX = 192 * 1024,
};

enum arrival_flags {
	ARRIVAL_LOCAL = 1 << 0,         /* from a member, checked by her session */
	ARRIVAL_BOUNCE = 1 << 1,        /* made by this house */
	ARRIVAL_AUTHENTICATED = 1 << 2, /* SPF, DKIM or DMARC said so */
	ARRIVAL_ENCRYPTED = 1 << 3,     /* came under TLS */
	ARRIVAL_SPAM = 1 << 4,
	ARRIVAL_NULL_SENDER = 1 << 5, /* MAIL FROM:<> */
	ARRIVAL_JOURNAL = 1 << 6,     /* no mail: a line of her journal (sealed/journal.h), without a blob */
	ARRIVAL_FLAGS_ALL = (1 << 7) - 1,
};

struct arrival {
	uint8_t delivery[SEALED_ID_LEN];
	struct blob_ref blob;
	uint64_t received;      /* seconds since 1970 */
	uint32_t flags;         /* enum arrival_flags */
	struct bytes sender;    /* envelope, empty with ARRIVAL_NULL_SENDER */
	struct bytes recipient; /* the address as it was given */
	struct bytes summary;   /* mail/summary.h's encoding */
	struct bytes extra;     /* reserved: TLVs {type u16, length u32, octets}, unknown types are skipped */
};

/* Appends the sealed bytes: 1 KiB steps up to 16 KiB, 8 KiB above. ERR_LIMIT, ERR_FORMAT (flags, public key), ERR_MEMORY. */
COHUE_MUST_USE enum err arrival_seal(const uint8_t account[SEALED_ID_LEN], uint32_t generation,
				     const uint8_t public_key[BOX_PUBLIC_LEN], const struct arrival *arrival,
				     struct buf *ret);
/*
 * Appends the plain bytes to ret_plain (empty; wipe it when the views are no longer used) and gives views into it. ERR_AUTH,
 * ERR_FORMAT, ERR_NOT_FOUND (generation), ERR_UNSUPPORTED, ERR_MEMORY.
 */
COHUE_MUST_USE enum err arrival_open(const uint8_t account[SEALED_ID_LEN], const struct member_keys *keys,
				     struct bytes sealed, struct buf *ret_plain, struct arrival *ret);
/* The plain form (inside the box, without padding), as arrival_open gives it. */
COHUE_MUST_USE enum err arrival_decode(struct bytes plain, struct arrival *ret);

#endif
