/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FOLD_VARINT_H
#define COHUE_FOLD_VARINT_H

#include "base/bytes.h"

/*
 * Numbers in groups of seven bits, lowest first, the top bit saying that more
 * follow; only the shortest form is accepted. Inline, because a snapshot holds
 * a million of them. The reader's error is sticky, as in base/wire.h.
 */

enum { VARINT_MAX = 10 }; /* bytes of one number */

struct varint_reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

static inline size_t
varint_put(uint8_t out[VARINT_MAX], uint64_t v)
{
	size_t n = 0;
	while (v >= 0x80) {
		out[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	out[n++] = (uint8_t)v;
	return n;
}

static inline struct varint_reader
varint_reader_of(struct bytes data)
{
	struct varint_reader r = {.at = data.ptr, .end = data.ptr, .bad = false};
	if (data.len > 0) {
		r.end = data.ptr + data.len;
	}
	return r;
}

static inline uint64_t
varint_fail(struct varint_reader *r)
{
	r->bad = true;
	r->at = r->end;
	return 0;
}

/* 0 after an error; above max is an error. */
static inline uint64_t
varint_get(struct varint_reader *r, uint64_t max)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (r->at == r->end) {
			return varint_fail(r);
		}
		uint8_t c = *r->at++;
		uint64_t group = c & 0x7f;
		if (shift == 63 && group > 1) {
			return varint_fail(r);
		}
		v |= group << shift;
		if ((c & 0x80) == 0) {
			if ((c == 0 && shift > 0) || v > max) {
				return varint_fail(r);
			}
			return v;
		}
	}
	return varint_fail(r);
}

/* Borrowed; an empty view after an error. */
static inline struct bytes
varint_get_bytes(struct varint_reader *r, size_t max)
{
	size_t n = (size_t)varint_get(r, max);
	if (n > (size_t)(r->end - r->at)) {
		(void)varint_fail(r);
		return BYTES_EMPTY;
	}
	struct bytes got = bytes_of(r->at, n);
	if (n > 0) {
		r->at += n;
	}
	return got;
}

/* Small numbers of either sign to small numbers: 0, -1, 1, -2, ... */
static inline uint64_t
zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static inline int64_t
unzigzag(uint64_t v)
{
	uint64_t u = (v >> 1) ^ ((v & 1) != 0 ? UINT64_MAX : 0);
	return (int64_t)u;
}

#endif
