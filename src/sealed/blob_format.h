/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_BLOB_FORMAT_H
#define COHUE_SEALED_BLOB_FORMAT_H

#include <zstd.h>
#include <zstd_errors.h>

#include "sealed/blob.h"
#include "sealed/value.h"

/* Shared by blob_write.c and blob_read.c (internal). */

enum {
	BLOB_LEVEL = 3,
	BLOB_WINDOW_LOG = 21,      /* the largest window a reader takes: 2 MiB */
	BLOB_CHUNKS_MAX = 1 << 15, /* 2 GiB padded: the ladder's step above BLOB_MESSAGE_MAX */
	BLOB_PIECE = 128 * 1024,   /* plain bytes given at a time */
	BLOB_SCRATCH_KEEP = 256 * 1024,
};

struct blob_codec {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
	struct buf scratch; /* a frame or a chunk at work; wiped after use */
	bool writing;       /* a blob_writer has the first context */
	bool reading;       /* a blob_reader has the second */
};

/* Wipes what was used and gives back what is large. */
void blob_scratch_done(struct blob_codec *codec);
uint32_t blob_chunks_of(uint64_t padded);
bool blob_ref_is_sound(const struct blob_ref *ref);
void blob_chunk_nonce(uint32_t index, uint8_t ret[SEALED_NONCE_LEN]);
void blob_chunk_ad(struct sealed_ad *ad, const uint8_t name[SEALED_ID_LEN], uint32_t index, bool last);

#endif
