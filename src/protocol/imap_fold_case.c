/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_search.h"

/*
 * Simple case folding (Unicode CaseFolding.txt, status C and S) of the scripts
 * of Europe. No locale, no table files; and no folded form is longer in UTF-8
 * than what it comes from.
 */

struct fold_range {
	uint16_t first;
	uint16_t last;
	int16_t delta;  /* added to each */
	uint16_t every; /* 1: all; 2: every second one, from the first */
};

static const struct fold_range ranges[] = {
    {0x00b5, 0x00b5, 0x03bc - 0x00b5, 1},
    {0x00c0, 0x00d6, 32, 1},
    {0x00d8, 0x00de, 32, 1},
    {0x0100, 0x012e, 1, 2},
    {0x0132, 0x0136, 1, 2},
    {0x0139, 0x0147, 1, 2},
    {0x014a, 0x0176, 1, 2},
    {0x0178, 0x0178, 0x00ff - 0x0178, 1},
    {0x0179, 0x017d, 1, 2},
    {0x017f, 0x017f, 's' - 0x017f, 1},
    {0x01cd, 0x01db, 1, 2},
    {0x01de, 0x01ee, 1, 2},
    {0x01f8, 0x021e, 1, 2},
    {0x0222, 0x0232, 1, 2},
    {0x0386, 0x0386, 0x03ac - 0x0386, 1},
    {0x0388, 0x038a, 37, 1},
    {0x038c, 0x038c, 64, 1},
    {0x038e, 0x038f, 63, 1},
    {0x0391, 0x03a1, 32, 1},
    {0x03a3, 0x03ab, 32, 1},
    {0x03c2, 0x03c2, 1, 1},
    {0x03d0, 0x03d0, 0x03b2 - 0x03d0, 1},
    {0x03d1, 0x03d1, 0x03b8 - 0x03d1, 1},
    {0x03d5, 0x03d5, 0x03c6 - 0x03d5, 1},
    {0x03d6, 0x03d6, 0x03c0 - 0x03d6, 1},
    {0x0400, 0x040f, 80, 1},
    {0x0410, 0x042f, 32, 1},
    {0x0460, 0x0480, 1, 2},
    {0x048a, 0x04be, 1, 2},
    {0x04c0, 0x04c0, 15, 1},
    {0x04c1, 0x04cd, 1, 2},
    {0x04d0, 0x052e, 1, 2},
    {0x0531, 0x0556, 48, 1},
    {0x1e00, 0x1e94, 1, 2},
    {0x1e9e, 0x1e9e, 0x00df - 0x1e9e, 1},
    {0x1ea0, 0x1efe, 1, 2},
    {0x1f08, 0x1f0f, -8, 1},
    {0x1f18, 0x1f1d, -8, 1},
    {0x1f28, 0x1f2f, -8, 1},
    {0x1f38, 0x1f3f, -8, 1},
    {0x1f48, 0x1f4d, -8, 1},
    {0x1f59, 0x1f5f, -8, 2},
    {0x1f68, 0x1f6f, -8, 1},
    {0x212a, 0x212a, 'k' - 0x212a, 1},
    {0x212b, 0x212b, 0x00e5 - 0x212b, 1},
    {0xff21, 0xff3a, 32, 1},
};

static uint32_t
fold_char(uint32_t c)
{
	size_t low = 0;
	size_t high = sizeof(ranges) / sizeof(ranges[0]);
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct fold_range *r = &ranges[mid];
		if (c < r->first) {
			high = mid;
		} else if (c > r->last) {
			low = mid + 1;
		} else {
			return (c - r->first) % r->every == 0 ? (uint32_t)((int32_t)c + r->delta) : c;
		}
	}
	return c;
}

/* Folds one character of two or three octets into o; returns octets taken, 1 for what is not well-formed. */
static size_t
fold_long(const uint8_t *p, size_t left, uint8_t *o, size_t *ret_len)
{
	uint32_t c = 0;
	size_t n = 0;
	if (p[0] >= 0xc2 && p[0] <= 0xdf && left >= 2 && (p[1] & 0xc0) == 0x80) {
		c = (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3fU);
		n = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef && left >= 3 && (p[1] & 0xc0) == 0x80 &&
		   (p[2] & 0xc0) == 0x80) {
		c = (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3fU);
		n = 3;
	}
	uint32_t folded = n == 0 ? 0 : fold_char(c);
	if (n == 0 || folded == c) {
		n = n == 0 ? 1 : n;
		for (size_t i = 0; i < n; i++) {
			o[i] = p[i];
		}
		*ret_len = n;
		return n;
	}
	size_t len = 0;
	if (folded < 0x80) {
		o[len++] = (uint8_t)folded;
	} else if (folded < 0x800) {
		o[len++] = (uint8_t)(0xc0 | folded >> 6);
		o[len++] = (uint8_t)(0x80 | (folded & 0x3f));
	} else {
		o[len++] = (uint8_t)(0xe0 | folded >> 12);
		o[len++] = (uint8_t)(0x80 | (folded >> 6 & 0x3f));
		o[len++] = (uint8_t)(0x80 | (folded & 0x3f));
	}
	*ret_len = len;
	return n;
}

enum err
imap_fold_case(struct bytes text, struct buf *out)
{
	if (text.len == 0) {
		return ERR_OK;
	}
	enum err e = buf_reserve(out, text.len);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t *o = out->ptr + out->len;
	size_t len = 0;
	for (size_t i = 0; i < text.len;) {
		uint8_t c = text.ptr[i];
		if (c < 0x80) {
			o[len++] = ascii_lower(c);
			i++;
		} else {
			size_t n = 0;
			i += fold_long(text.ptr + i, text.len - i, o + len, &n);
			len += n;
		}
	}
	out->len += len;
	return ERR_OK;
}
