/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "sealed/blob_format.h"

static bool
all_zero(struct bytes b)
{
	return b.len == 0 || (b.ptr[0] == 0 && memcmp(b.ptr, b.ptr + 1, b.len - 1) == 0);
}

/* Opens chunk `index` into the codec's scratch. */
static enum err
open_chunk(struct blob_codec *codec, const struct blob_ref *ref, uint32_t index, struct bytes chunk)
{
	uint8_t nonce[SEALED_NONCE_LEN];
	struct sealed_ad ad;
	uint64_t overhead = (uint64_t)ref->chunks * BLOB_CHUNK_OVERHEAD;
	uint64_t expected = ref->chunks > 1 ? BLOB_CHUNK_MAX : ref->stored - overhead + BLOB_CHUNK_OVERHEAD;

	if (chunk.len != expected) {
		return ERR_DAMAGED;
	}
	if (chunk.ptr[0] != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	buf_reset(&codec->scratch);
	enum err e = buf_reserve(&codec->scratch, chunk.len);
	if (e != ERR_OK) {
		return e;
	}
	blob_chunk_nonce(index, nonce);
	blob_chunk_ad(&ad, ref->name, index, index + 1 == ref->chunks);
	e = crypto_open(ref->key, nonce, sealed_ad_bytes(&ad), bytes_from(chunk, 1), codec->scratch.ptr);
	if (e == ERR_OK) {
		codec->scratch.len = chunk.len - BLOB_CHUNK_OVERHEAD;
	}
	return e;
}

static bool
hash_fits(struct crypto_hasher *h, const struct blob_ref *ref)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	crypto_hasher_final(h, hash);
	return memcmp(hash, ref->hash, sizeof(hash)) == 0;
}

enum err
blob_open_small(struct blob_codec *codec, const struct blob_ref *ref, struct bytes chunk, struct buf *ret)
{
	if (ref->chunks != 1 || !blob_ref_is_sound(ref)) {
		return ERR_FORMAT;
	}
	if (codec->reading) {
		return ERR_STATE;
	}
	if (ref->size > ret->max || ret->len > ret->max - ref->size) {
		return ERR_LIMIT;
	}
	size_t size = (size_t)ref->size;
	uint8_t hash[CRYPTO_HASH_LEN];
	enum err e = open_chunk(codec, ref, 0, chunk);
	if (e == ERR_OK) {
		crypto_digest(chunk, hash);
		e = memcmp(hash, ref->hash, sizeof(hash)) == 0 ? ERR_OK : ERR_DAMAGED;
	}
	struct bytes plain = buf_bytes(&codec->scratch);
	if (e == ERR_OK && ZSTD_getFrameContentSize(plain.ptr, plain.len) != ref->size) {
		e = ERR_DAMAGED;
	}
	if (e == ERR_OK) {
		e = buf_reserve(ret, size > 0 ? size : 1);
	}
	if (e == ERR_OK) {
		size_t frame = ZSTD_findFrameCompressedSize(plain.ptr, plain.len);
		size_t got =
		    ZSTD_isError(frame) != 0
			? SIZE_MAX
			: ZSTD_decompressDCtx(codec->decompress, ret->ptr + ret->len, size, plain.ptr, frame);
		if (got != size || !all_zero(bytes_from(plain, frame))) {
			e = ERR_DAMAGED;
		} else {
			ret->len += size;
		}
	}
	blob_scratch_done(codec);
	return e;
}

struct blob_reader {
	struct blob_codec *codec;
	struct blob_ref ref;
	blob_chunk_fn fn;
	void *arg;
	struct crypto_hasher hasher;
	uint8_t *piece; /* BLOB_PIECE bytes */
	uint32_t index;
	uint32_t pieces;
	uint64_t given;
	bool framed; /* the frame has ended: only zeros may follow */
	enum err error;
};

enum err
blob_reader_create(struct blob_codec *codec, const struct blob_ref *ref, blob_chunk_fn fn, void *arg,
		   struct blob_reader **ret)
{
	if (!blob_ref_is_sound(ref)) {
		return ERR_FORMAT;
	}
	if (codec->reading) {
		return ERR_STATE;
	}
	struct blob_reader *r = calloc(1, sizeof(*r));
	uint8_t *piece = malloc(BLOB_PIECE);
	if (r == NULL || piece == NULL ||
	    ZSTD_isError(ZSTD_DCtx_reset(codec->decompress, ZSTD_reset_session_only)) != 0) {
		free(r);
		free(piece);
		return ERR_MEMORY;
	}
	r->codec = codec;
	r->ref = *ref;
	r->fn = fn;
	r->arg = arg;
	r->piece = piece;
	crypto_hasher_init(&r->hasher, NULL);
	codec->reading = true;
	*ret = r;
	return ERR_OK;
}

static enum err
decompress(struct blob_reader *r, struct bytes plain)
{
	ZSTD_inBuffer in = {.src = plain.ptr, .size = plain.len, .pos = 0};
	while (!r->framed) {
		ZSTD_outBuffer out = {.dst = r->piece, .size = BLOB_PIECE, .pos = 0};
		size_t left = ZSTD_decompressStream(r->codec->decompress, &out, &in);
		if (ZSTD_isError(left) != 0 || out.pos > r->ref.size - r->given) {
			return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? ERR_MEMORY
										       : ERR_DAMAGED;
		}
		r->given += out.pos;
		r->framed = left == 0;
		if (out.pos > 0) {
			enum err e = r->fn(r->arg, r->pieces++, bytes_of(r->piece, out.pos));
			if (e != ERR_OK) {
				return e;
			}
		} else if (in.pos == in.size) {
			return ERR_OK; /* wants the next chunk */
		}
	}
	return all_zero(bytes_from(plain, in.pos)) ? ERR_OK : ERR_DAMAGED;
}

static enum err
feed(struct blob_reader *r, struct bytes chunk)
{
	if (r->index >= r->ref.chunks) {
		return ERR_DAMAGED;
	}
	enum err e = open_chunk(r->codec, &r->ref, r->index, chunk);
	if (e != ERR_OK) {
		return e;
	}
	struct bytes plain = buf_bytes(&r->codec->scratch);
	if (r->index == 0 && ZSTD_getFrameContentSize(plain.ptr, plain.len) != r->ref.size) {
		return ERR_DAMAGED;
	}
	r->index++;
	crypto_hasher_update(&r->hasher, chunk);
	return r->framed ? (all_zero(plain) ? ERR_OK : ERR_DAMAGED) : decompress(r, plain);
}

enum err
blob_reader_feed(struct blob_reader *r, struct bytes chunk)
{
	if (r->error == ERR_OK) {
		r->error = feed(r, chunk);
		blob_scratch_done(r->codec);
	}
	return r->error;
}

enum err
blob_reader_finish(struct blob_reader *r)
{
	if (r->error != ERR_OK) {
		return r->error;
	}
	r->error = ERR_STATE; /* nothing more */
	if (r->index != r->ref.chunks || !r->framed || r->given != r->ref.size ||
	    !hash_fits(&r->hasher, &r->ref)) {
		return ERR_DAMAGED;
	}
	return ERR_OK;
}

void
blob_reader_destroy(struct blob_reader **r)
{
	if (*r != NULL) {
		(*r)->codec->reading = false;
		secret_wipe((*r)->piece, BLOB_PIECE);
		free((*r)->piece);
		secret_wipe(*r, sizeof(**r));
		free(*r);
		*r = NULL;
	}
}
