/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_PAD_H
#define COHUE_LOOP_PAD_H

#include "base/bytes.h"

/*
 * How many TLS 1.3 records of which size carry so many bytes. Pure.
 *
 * A record's size is that of its inner plaintext (RFC 8446 section 5.4): payload, one byte of type, padding. It
 * carries size - 1 bytes at most, and at least one, since OpenSSL sends no record without payload.
 */

enum {
	PAD_RECORD_MAX = 16384,
	PAD_FULL = PAD_RECORD_MAX - 1, /* bytes that a full record carries */
	PAD_SMALL = 512,
	PAD_MIDDLE = 4096,
	PAD_FIRST = 4,      /* full records: 64 KiB */
	PAD_LARGEST = 4096, /* full records: 64 MiB; beyond, multiples of that */
	/*
	 * Who writes before the end is known keeps more than so many bytes back, so that each of the
	 * records which may still be missing gets its byte.
	 */
	PAD_HOLD = PAD_LARGEST,
};

struct pad_shape {
	size_t size;    /* of each record */
	uint64_t count; /* records */
};

/* Whether `count` records of this size can carry that many bytes, each at least one. */
bool pad_fits(uint64_t bytes, size_t size, uint64_t count);
/* Bytes of the next record, when so many are left for so many records: as much as goes in, but one is left for each to come. */
size_t pad_payload(uint64_t bytes, uint64_t count, size_t size);
/*
 * The records that end a response, of which `left` bytes (1 or more) have still to go, behind `sent` full records. All together
 * are 512 or 4096 bytes, or 1, 4, 16 ... 4096 full records, or a multiple of 4096. ERR_LIMIT: too few bytes are left.
 */
COHUE_MUST_USE enum err pad_ladder(uint64_t sent, size_t left, struct pad_shape *ret);
/*
 * Full records for a message of a size class of so many bytes (64 KiB times a power of four). They carry a thousandth less than the
 * class, but of the largest classes all of it: what the house adds to a message is allowed for with 4 KiB (delivery.h).
 */
uint64_t pad_class_records(uint64_t class_bytes);

#endif
