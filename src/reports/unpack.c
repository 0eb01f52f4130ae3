/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "reports/unpack.h"

#include <zlib.h>

enum {
	STEP = 16 * 1024,
	RATIO_FROM = 64 * 1024,
	GZIP_BITS = 15 + 16, /* zlib's way to say: with a gzip header */
	RAW_BITS = -15,
	ZIP_HEADER = 30,
	ZIP_ENCRYPTED = 1,
	ZIP_STORED = 0,
	ZIP_DEFLATED = 8,
};

static enum err
append(struct buf *ret, struct bytes piece, size_t packed)
{
	size_t size = ret->len + piece.len;
	if (size > UNPACK_MAX || (size > RATIO_FROM && size / UNPACK_RATIO_MAX > packed)) {
		return ERR_LIMIT;
	}
	return buf_append(ret, piece);
}

static enum err
inflate_all(struct bytes packed, int bits, struct buf *ret)
{
	uint8_t out[STEP];
	z_stream z = {.next_in = NULL};
	if (packed.len > UNPACK_MAX) {
		return ERR_LIMIT;
	}
	if (inflateInit2(&z, bits) != Z_OK) {
		return ERR_MEMORY;
	}
	/* zlib's interface has no const, and does not write there. */
	z.next_in = (z_const Bytef *)(uintptr_t)packed.ptr;
	z.avail_in = (uInt)packed.len;
	int r = Z_OK;
	enum err e = ERR_OK;
	while (e == ERR_OK && r == Z_OK) {
		z.next_out = out;
		z.avail_out = STEP;
		r = inflate(&z, Z_NO_FLUSH);
		e = r == Z_OK || r == Z_STREAM_END
			? append(ret, bytes_of(out, STEP - z.avail_out), packed.len)
		    : r == Z_MEM_ERROR ? ERR_MEMORY
				       : ERR_FORMAT;
	}
	(void)inflateEnd(&z);
	return e;
}

static unsigned
le16(struct bytes b, size_t at)
{
	return b.ptr[at] | (unsigned)b.ptr[at + 1] << 8;
}

static enum err
unzip(struct bytes zip, struct buf *ret)
{
	if (zip.len < ZIP_HEADER || (le16(zip, 6) & ZIP_ENCRYPTED) != 0) {
		return ERR_FORMAT;
	}
	size_t at = ZIP_HEADER + (size_t)le16(zip, 26) + le16(zip, 28);
	size_t size = le16(zip, 18) | (size_t)le16(zip, 20) << 16;
	if (at > zip.len) {
		return ERR_FORMAT;
	}
	struct bytes data = bytes_from(zip, at);
	switch (le16(zip, 8)) {
	case ZIP_DEFLATED:
		return inflate_all(data, RAW_BITS, ret); /* knows its end: the size may stand behind it */
	case ZIP_STORED:
		return size == 0 || size > data.len ? ERR_FORMAT
						    : append(ret, bytes_slice(data, 0, size), size);
	default:
		return ERR_FORMAT;
	}
}

enum err
report_unpack(struct bytes packed, struct buf *ret)
{
	enum err e;
	if (packed.len >= 3 && packed.ptr[0] == 0x1f && packed.ptr[1] == 0x8b) {
		e = inflate_all(packed, GZIP_BITS, ret);
	} else if (bytes_starts_with(packed, "PK\x03\x04")) {
		e = unzip(packed, ret);
	} else {
		e = append(ret, packed, packed.len);
	}
	if (e != ERR_OK) {
		buf_wipe(ret);
	}
	return e;
}
