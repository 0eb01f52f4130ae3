/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_SNAPSHOT_H
#define COHUE_SEALED_SNAPSHOT_H

#include "sealed/blob.h"
#include "sealed/member_keys.h"

/*
 * A snapshot of a folded log: a blob whose chunk 0 is a small header sealed under the snapshot key of a generation, and whose
 * chunks 1… are the fold's bytes, sealed as in sealed/blob.h under a key that the header carries (chunk i of that
 * blob is stored as chunk i + 1). The header is bound to account, n and blob name.
 */

enum { SNAPSHOT_HEADER_MAX = 1024 };
#define SNAPSHOT_BODY_MAX ((uint64_t)256 << 20)

struct snapshot_header {
	uint64_t n;                    /* of the last record folded into it */
	uint8_t head[SEALED_HASH_LEN]; /* h(n): compare it with the log's */
	struct blob_ref body;
};

/*
 * Seals the body and gives all chunks to fn (header last, with index 0). ret_name: the blob's random name, ret_stored: bytes of
 * all chunks. ERR_STATE (no keys), ERR_LIMIT, ERR_MEMORY, or what fn returned.
 */
COHUE_MUST_USE enum err snapshot_seal(struct blob_codec *codec, const uint8_t account[SEALED_ID_LEN],
				      const struct member_keys *keys, uint64_t n,
				      const uint8_t head[SEALED_HASH_LEN], struct bytes body,
				      blob_chunk_fn fn, void *arg, uint8_t ret_name[SEALED_ID_LEN],
				      uint64_t *ret_stored);
/* Opens chunk 0. ERR_AUTH, ERR_NOT_FOUND (generation), ERR_FORMAT, ERR_UNSUPPORTED, ERR_MEMORY. Then read chunks 1 to
 * header.body.chunks with a blob_reader (limit: SNAPSHOT_BODY_MAX, checked). */
COHUE_MUST_USE enum err snapshot_open_header(const uint8_t account[SEALED_ID_LEN],
					     const struct member_keys *keys, uint64_t n,
					     const uint8_t name[SEALED_ID_LEN], struct bytes chunk0,
					     struct snapshot_header *ret);
COHUE_MUST_USE enum err snapshot_header_decode(struct bytes plain, struct snapshot_header *ret);

#endif
