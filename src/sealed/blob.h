/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_BLOB_H
#define COHUE_SEALED_BLOB_H

#include "base/wire.h"
#include "sealed/keys.h"

/*
 * The body of one message for one member: one zstd frame (level 3, content size declared), padded with zeros to
 * a ladder, cut into chunks of 64 KiB, each sealed under the blob's own random key: nonce = index, associated
 * data = version, name, index, last. The key stands only in the log (or in a sealed spool part).
 * docs/store-format.md says why this ladder.
 */

enum {
	BLOB_CHUNK_PLAIN = 64 * 1024,
	BLOB_CHUNK_OVERHEAD = 1 + 16, /* version, tag */
	BLOB_CHUNK_MAX = BLOB_CHUNK_PLAIN + BLOB_CHUNK_OVERHEAD,
	BLOB_REF_LEN = 16 + 32 + 32 + 8 + 8 + 4, /* encoded */
};
#define BLOB_MESSAGE_MAX ((uint64_t)1 << 30) /* bytes of a message that this format takes */

/* Where a blob is and how to open it. The first two are chosen before sealing, the rest results from it. */
struct blob_ref {
	uint8_t name[SEALED_ID_LEN];
	uint8_t key[SEALED_KEY_LEN];
	uint8_t hash[SEALED_HASH_LEN]; /* BLAKE2b-256 of all stored chunks, in order */
	uint64_t size;                 /* of the message, in bytes */
	uint64_t stored;               /* bytes of all stored chunks: what the quota counts */
	uint32_t chunks;
};

/* Random name and key; the rest zero. */
void blob_ref_init(struct blob_ref *ref);
/*
 * A name that tells whose the blob is to those who have the key `blob-name`, so that all blobs of a removed member can be found without
 * her keys; to all others it is random. account all zero: what waits for the courier is nobody's.
 */
enum { BLOB_OWNER_LEN = 8 }; /* the first octets of the account's id */
void blob_name(const uint8_t key[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
	       uint8_t ret[SEALED_ID_LEN]);
/* Whose a name says it is; of one that was not made like this, noise. */
void blob_name_owner(const uint8_t key[SEALED_KEY_LEN], const uint8_t name[SEALED_ID_LEN],
		     uint8_t ret[BLOB_OWNER_LEN]);
void blob_ref_put(struct wire_writer *w, const struct blob_ref *ref);
/* Fails the reader with ERR_FORMAT where the numbers contradict each other or pass a limit. */
void blob_ref_get(struct wire_reader *r, struct blob_ref *ret);
/* The padded length for a frame of n bytes, before chunking and tags. */
uint64_t blob_ladder(uint64_t n);

/* One per process: compression contexts, reused (no idle memory beyond them). */
struct blob_codec;
COHUE_MUST_USE enum err blob_codec_create(struct blob_codec **ret);
void blob_codec_destroy(struct blob_codec **codec);

/* Takes one stored chunk (lent until it returns); anything but ERR_OK stops and is returned. */
typedef enum err (*blob_chunk_fn)(void *arg, uint32_t index, struct bytes chunk);

/* In one go. For one message to several members: compress once, then seal_frame for each. */
COHUE_MUST_USE enum err blob_seal(struct blob_codec *codec, struct blob_ref *ref, struct bytes message,
				  blob_chunk_fn fn, void *arg);
/* Appends the frame to ret. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err blob_compress(struct blob_codec *codec, struct bytes message, struct buf *ret);
/* size: of the message that the frame holds. ref (name and key set) is completed. */
COHUE_MUST_USE enum err blob_seal_frame(struct blob_ref *ref, struct bytes frame, uint64_t size,
					blob_chunk_fn fn, void *arg);

/*
 * In pieces, with at most one chunk in memory. The message's size is said first; finish fails with ERR_STATE where another
 * number of bytes came. One writer at a time per codec. `ref` (name and key set) is completed by finish.
 */
struct blob_writer;
COHUE_MUST_USE enum err blob_writer_create(struct blob_codec *codec, const struct blob_ref *ref,
					   uint64_t size, blob_chunk_fn fn, void *arg,
					   struct blob_writer **ret);
COHUE_MUST_USE enum err blob_writer_feed(struct blob_writer *w, struct bytes data);
COHUE_MUST_USE enum err blob_writer_finish(struct blob_writer *w, struct blob_ref *ret_ref);
/* Wipes and frees; without finish the blob is worthless. */
void blob_writer_destroy(struct blob_writer **w);

/*
 * A small blob (ref->chunks == 1) in one go: appends exactly ref->size bytes. ERR_LIMIT: ret's maximum is less. ERR_AUTH,
 * ERR_DAMAGED: not what the reference says; ret is as before then.
 */
COHUE_MUST_USE enum err blob_open_small(struct blob_codec *codec, const struct blob_ref *ref,
					struct bytes chunk, struct buf *ret);

/*
 * In pieces: feed the chunks in order; plain bytes go to fn in pieces of at most 128 KiB (index counts the
 * pieces). Bytes already given are only proven whole when finish says ERR_OK: each chunk is authenticated before any of
 * its bytes is given, the whole (hash, size, end of frame, padding) by finish. One reader at a time per codec.
 */
struct blob_reader;
COHUE_MUST_USE enum err blob_reader_create(struct blob_codec *codec, const struct blob_ref *ref,
					   blob_chunk_fn fn, void *arg, struct blob_reader **ret);
COHUE_MUST_USE enum err blob_reader_feed(struct blob_reader *r, struct bytes chunk);
COHUE_MUST_USE enum err blob_reader_finish(struct blob_reader *r);
void blob_reader_destroy(struct blob_reader **r);

#endif
