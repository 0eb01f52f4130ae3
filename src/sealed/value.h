/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_VALUE_H
#define COHUE_SEALED_VALUE_H

#include "base/wire.h"
#include "sealed/keys.h"

/*
 * What the sealed formats share (internal to this module). Padding is the octet 0x80 and then zeros up to a step
 * (ISO/IEC 7816-4), inside the seal, so that sizes tell no more than the step.
 */

enum { SEALED_VERSION = 1, SEALED_NONCE_LEN = 24 };

/* n content bytes with padding: the least multiple of step that is greater than n. */
size_t sealed_step(size_t n, size_t step);
/* Appends padding to b, whose content begins at start, up to `padded` bytes (more than there are). */
COHUE_MUST_USE enum err sealed_pad(struct buf *b, size_t start, size_t padded);
/* Takes the padding away again. ERR_FORMAT. */
COHUE_MUST_USE enum err sealed_unpad(struct buf *b, size_t start);

/* Associated data in one piece: label, then what the writer put. */
struct sealed_ad {
	uint8_t octets[192];
	size_t len;
};
void sealed_ad_init(struct sealed_ad *ad, const char *label);
void sealed_ad_put(struct sealed_ad *ad, const void *octets, size_t n);
void sealed_ad_put_u8(struct sealed_ad *ad, uint8_t v);
void sealed_ad_put_u32(struct sealed_ad *ad, uint32_t v);
void sealed_ad_put_u64(struct sealed_ad *ad, uint64_t v);
struct bytes sealed_ad_bytes(const struct sealed_ad *ad);

/* Appends nonce || XChaCha20-Poly1305(plain padded to `padded` bytes) || tag. */
COHUE_MUST_USE enum err sealed_body_put(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad,
					struct bytes plain, size_t padded, struct buf *ret);
/* The reverse: appends the plain bytes. ERR_FORMAT, ERR_AUTH, ERR_LIMIT, ERR_MEMORY; ret as before then. */
COHUE_MUST_USE enum err sealed_body_get(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad,
					struct bytes body, struct buf *ret);

/* A directory value: version || body, associated data = "cohue directory 1" || version || key. */
COHUE_MUST_USE enum err sealed_directory_put(const uint8_t directory_seal[SEALED_KEY_LEN],
					     const uint8_t key[SEALED_HASH_LEN], struct bytes plain,
					     size_t step, struct buf *ret);
COHUE_MUST_USE enum err sealed_directory_get(const uint8_t directory_seal[SEALED_KEY_LEN],
					     const uint8_t key[SEALED_HASH_LEN], struct bytes value,
					     struct buf *ret_plain);

/* A reader's demand: fails it with ERR_FORMAT where `holds` is false. */
void sealed_expect(struct wire_reader *r, bool holds);

#endif
