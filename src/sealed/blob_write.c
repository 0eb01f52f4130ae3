/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "sealed/blob_format.h"

enum err
blob_codec_create(struct blob_codec **ret)
{
	struct blob_codec *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return ERR_MEMORY;
	}
	c->compress = ZSTD_createCCtx();
	c->decompress = ZSTD_createDCtx();
	buf_init(&c->scratch, SIZE_MAX / 2);
	if (c->compress == NULL || c->decompress == NULL ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(c->compress, ZSTD_c_compressionLevel, BLOB_LEVEL)) != 0 ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(c->compress, ZSTD_c_contentSizeFlag, 1)) != 0 ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(c->decompress, ZSTD_d_windowLogMax, BLOB_WINDOW_LOG)) != 0) {
		blob_codec_destroy(&c);
		return ERR_MEMORY;
	}
	*ret = c;
	return ERR_OK;
}

void
blob_codec_destroy(struct blob_codec **codec)
{
	if (*codec != NULL) {
		(void)ZSTD_freeCCtx((*codec)->compress);
		(void)ZSTD_freeDCtx((*codec)->decompress);
		buf_wipe(&(*codec)->scratch);
		free(*codec);
		*codec = NULL;
	}
}

void
blob_scratch_done(struct blob_codec *codec)
{
	if (codec->scratch.cap > BLOB_SCRATCH_KEEP) {
		buf_wipe(&codec->scratch);
		return;
	}
	secret_wipe(codec->scratch.ptr, codec->scratch.len);
	buf_reset(&codec->scratch);
}

/*
 * The chunk at work: version, then plain bytes, sealed where they stand. A full chunk waits until more comes, because only
 * then is it known that it is not the last.
 */
struct chunker {
	uint8_t name[SEALED_ID_LEN];
	uint8_t key[SEALED_KEY_LEN];
	blob_chunk_fn fn;
	void *arg;
	uint8_t *chunk; /* room + BLOB_CHUNK_OVERHEAD bytes */
	size_t room;    /* BLOB_CHUNK_PLAIN, or less for what needs less */
	size_t fill;
	uint32_t index;
	uint64_t total; /* plain bytes of all chunks */
	uint64_t stored;
	struct crypto_hasher hasher;
};

/* `most`: the longest frame that may come. */
static enum err
chunker_init(struct chunker *c, const struct blob_ref *ref, uint64_t most, blob_chunk_fn fn, void *arg)
{
	uint64_t padded = blob_ladder(most);
	memset(c, 0, sizeof(*c));
	c->room = padded < BLOB_CHUNK_PLAIN ? (size_t)padded : BLOB_CHUNK_PLAIN;
	c->chunk = malloc(c->room + BLOB_CHUNK_OVERHEAD);
	if (c->chunk == NULL) {
		return ERR_MEMORY;
	}
	memcpy(c->name, ref->name, sizeof(c->name));
	memcpy(c->key, ref->key, sizeof(c->key));
	c->fn = fn;
	c->arg = arg;
	crypto_hasher_init(&c->hasher, NULL);
	return ERR_OK;
}

static void
chunker_clear(struct chunker *c)
{
	if (c->chunk != NULL) {
		secret_wipe(c->chunk, c->room + BLOB_CHUNK_OVERHEAD);
		free(c->chunk);
	}
	secret_wipe(c, sizeof(*c));
}

static enum err
emit(struct chunker *c, bool last)
{
	uint8_t nonce[SEALED_NONCE_LEN];
	struct sealed_ad ad;

	if (c->index >= BLOB_CHUNKS_MAX) {
		return ERR_LIMIT;
	}
	blob_chunk_nonce(c->index, nonce);
	blob_chunk_ad(&ad, c->name, c->index, last);
	c->chunk[0] = SEALED_VERSION;
	crypto_seal(c->key, nonce, sealed_ad_bytes(&ad), bytes_of(c->chunk + 1, c->fill), c->chunk + 1);
	struct bytes stored = bytes_of(c->chunk, c->fill + BLOB_CHUNK_OVERHEAD);
	crypto_hasher_update(&c->hasher, stored);
	c->stored += stored.len;
	c->fill = 0;
	return c->fn(c->arg, c->index++, stored);
}

/* Where the next plain bytes go, at least one. */
static enum err
chunker_room(struct chunker *c, uint8_t **ret_at, size_t *ret_room)
{
	if (c->fill == c->room) {
		enum err e = emit(c, false);
		if (e != ERR_OK) {
			return e;
		}
	}
	*ret_at = c->chunk + 1 + c->fill;
	*ret_room = c->room - c->fill;
	return ERR_OK;
}

static void
chunker_took(struct chunker *c, size_t n)
{
	c->fill += n;
	c->total += n;
}

static enum err
chunker_put(struct chunker *c, struct bytes data)
{
	while (data.len > 0) {
		uint8_t *at = NULL;
		size_t room = 0;
		enum err e = chunker_room(c, &at, &room);
		if (e != ERR_OK) {
			return e;
		}
		size_t n = data.len < room ? data.len : room;
		memcpy(at, data.ptr, n);
		chunker_took(c, n);
		data = bytes_from(data, n);
	}
	return ERR_OK;
}

/* Zeros up to the ladder; then the last chunk. */
static enum err
chunker_finish(struct chunker *c, uint64_t size, struct blob_ref *ret)
{
	uint64_t left = blob_ladder(c->total) - c->total;
	while (left > 0) {
		uint8_t *at = NULL;
		size_t room = 0;
		enum err e = chunker_room(c, &at, &room);
		if (e != ERR_OK) {
			return e;
		}
		size_t n = left < room ? (size_t)left : room;
		memset(at, 0, n);
		chunker_took(c, n);
		left -= n;
	}
	enum err e = emit(c, true);
	if (e != ERR_OK) {
		return e;
	}
	memcpy(ret->name, c->name, sizeof(ret->name));
	memcpy(ret->key, c->key, sizeof(ret->key));
	crypto_hasher_final(&c->hasher, ret->hash);
	ret->size = size;
	ret->stored = c->stored;
	ret->chunks = c->index;
	return ERR_OK;
}

enum err
blob_compress(struct blob_codec *codec, struct bytes message, struct buf *ret)
{
	if (message.len > BLOB_MESSAGE_MAX) {
		return ERR_LIMIT;
	}
	if (codec->writing) {
		return ERR_STATE;
	}
	size_t most = ZSTD_compressBound(message.len);
	enum err e = buf_reserve(ret, most);
	if (e != ERR_OK) {
		return e;
	}
	size_t n = ZSTD_compress2(codec->compress, ret->ptr + ret->len, most, message.ptr, message.len);
	if (ZSTD_isError(n) != 0) {
		return ERR_MEMORY; /* the room is enough and the parameters are ours: nothing else is left */
	}
	ret->len += n;
	return ERR_OK;
}

enum err
blob_seal_frame(struct blob_ref *ref, struct bytes frame, uint64_t size, blob_chunk_fn fn, void *arg)
{
	struct chunker c;
	if (size > BLOB_MESSAGE_MAX) {
		return ERR_LIMIT;
	}
	enum err e = chunker_init(&c, ref, frame.len, fn, arg);
	if (e == ERR_OK) {
		e = chunker_put(&c, frame);
	}
	if (e == ERR_OK) {
		e = chunker_finish(&c, size, ref);
	}
	chunker_clear(&c);
	return e;
}

enum err
blob_seal(struct blob_codec *codec, struct blob_ref *ref, struct bytes message, blob_chunk_fn fn, void *arg)
{
	if (message.len > BLOB_SCRATCH_KEEP) {
		/* Piece by piece: a large frame is never whole in memory. */
		struct blob_writer *w = NULL;
		enum err e = blob_writer_create(codec, ref, message.len, fn, arg, &w);
		if (e == ERR_OK) {
			e = blob_writer_feed(w, message);
		}
		if (e == ERR_OK) {
			e = blob_writer_finish(w, ref);
		}
		blob_writer_destroy(&w);
		return e;
	}
	buf_reset(&codec->scratch);
	enum err e = blob_compress(codec, message, &codec->scratch);
	if (e == ERR_OK) {
		e = blob_seal_frame(ref, buf_bytes(&codec->scratch), message.len, fn, arg);
	}
	blob_scratch_done(codec);
	return e;
}

struct blob_writer {
	struct blob_codec *codec;
	struct chunker chunker;
	uint64_t size;
	uint64_t fed;
	enum err error;
};

enum err
blob_writer_create(struct blob_codec *codec, const struct blob_ref *ref, uint64_t size, blob_chunk_fn fn,
		   void *arg, struct blob_writer **ret)
{
	if (size > BLOB_MESSAGE_MAX) {
		return ERR_LIMIT;
	}
	if (codec->writing) {
		return ERR_STATE;
	}
	struct blob_writer *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return ERR_MEMORY;
	}
	enum err e = chunker_init(&w->chunker, ref, ZSTD_compressBound((size_t)size), fn, arg);
	if (e == ERR_OK && (ZSTD_isError(ZSTD_CCtx_reset(codec->compress, ZSTD_reset_session_only)) != 0 ||
			    ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(codec->compress, size)) != 0)) {
		e = ERR_MEMORY;
	}
	if (e != ERR_OK) {
		chunker_clear(&w->chunker);
		free(w);
		return e;
	}
	w->codec = codec;
	w->size = size;
	codec->writing = true;
	*ret = w;
	return ERR_OK;
}

static enum err
compress(struct blob_writer *w, struct bytes data, bool end)
{
	ZSTD_inBuffer in = {.src = data.ptr, .size = data.len, .pos = 0};
	for (;;) {
		uint8_t *at = NULL;
		size_t room = 0;
		enum err e = chunker_room(&w->chunker, &at, &room);
		if (e != ERR_OK) {
			return e;
		}
		ZSTD_outBuffer out = {.dst = at, .size = room, .pos = 0};
		size_t left =
		    ZSTD_compressStream2(w->codec->compress, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		chunker_took(&w->chunker, out.pos);
		if (ZSTD_isError(left) != 0) {
			return ERR_MEMORY;
		}
		if (end ? left == 0 : in.pos == in.size) {
			return ERR_OK;
		}
	}
}

enum err
blob_writer_feed(struct blob_writer *w, struct bytes data)
{
	if (w->error != ERR_OK) {
		return w->error;
	}
	if (data.len > w->size - w->fed) {
		w->error = ERR_STATE;
		return ERR_STATE;
	}
	w->fed += data.len;
	w->error = compress(w, data, false);
	return w->error;
}

enum err
blob_writer_finish(struct blob_writer *w, struct blob_ref *ret_ref)
{
	struct blob_ref ref;
	if (w->error == ERR_OK && w->fed != w->size) {
		w->error = ERR_STATE;
	}
	if (w->error == ERR_OK) {
		w->error = compress(w, BYTES_EMPTY, true);
	}
	if (w->error == ERR_OK) {
		w->error = chunker_finish(&w->chunker, w->size, &ref);
	}
	if (w->error != ERR_OK) {
		return w->error;
	}
	*ret_ref = ref;
	secret_wipe(&ref, sizeof(ref));
	w->error = ERR_STATE; /* nothing more */
	return ERR_OK;
}

void
blob_writer_destroy(struct blob_writer **w)
{
	if (*w != NULL) {
		(*w)->codec->writing = false;
		(void)ZSTD_CCtx_reset((*w)->codec->compress, ZSTD_reset_session_only);
		chunker_clear(&(*w)->chunker);
		free(*w);
		*w = NULL;
	}
}
