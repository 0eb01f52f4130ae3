/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_fold_case.h"

#include <string.h>

#include "protocol/imap_fold_table.h"

/*
 * Compatibility decomposition with full case folding (Unicode's NFKD and CaseFolding.txt; RFC 5051 says the like with
 * simple title case), so that "é" matches however it is composed, and full-width letters match the ordinary ones.
 * Characters that are not seen within words (soft hyphens, joiners) are dropped. No locale, and no files.
 */

enum {
	HANGUL_FIRST = 0xac00,
	HANGUL_LAST = 0xd7a3,
	HANGUL_L = 0x1100,
	HANGUL_V = 0x1161,
	HANGUL_T = 0x11a7,
	HANGUL_VT = 588,
	HANGUL_TS = 28,
	VARIATION_FIRST = 0xe0100, /* selectors, dropped */
	VARIATION_LAST = 0xe01ef,
	MARKS_MAX =
	    32, /* combining marks that are brought into canonical order; further ones stay as they come */
};

/* Of each octet below 128: itself in lower case, a blank for what is one. */
static const uint8_t ascii[128] = {
    0,   1,    2,   3,   4,   5,   6,   7,   8,   ' ', ' ', ' ', ' ', ' ', 14,  15,  16,   17,  18,
    19,  20,   21,  22,  23,  24,  25,  26,  27,  28,  29,  30,  31,  ' ', '!', '"', '#',  '$', '%',
    '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', '0', '1', '2', '3', '4', '5', '6',  '7', '8',
    '9', ':',  ';', '<', '=', '>', '?', '@', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i',  'j', 'k',
    'l', 'm',  'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '[', '\\', ']', '^',
    '_', '`',  'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',  'p', 'q',
    'r', 's',  't', 'u', 'v', 'w', 'x', 'y', 'z', '{', '|', '}', '~', 127,
};

struct mark {
	uint8_t octets[4];
	uint8_t len;
	uint8_t class;
};

struct folder {
	struct buf *out;
	enum err error;
	struct mark marks[MARKS_MAX];
	size_t mark_count;
};

static uint16_t
fold_of(uint32_t c)
{
	size_t page = c / IMAP_FOLD_PAGE;
	if (page >= imap_fold_index_count) {
		return 0;
	}
	return imap_fold_pages[(size_t)imap_fold_index[page] * IMAP_FOLD_PAGE + c % IMAP_FOLD_PAGE];
}

uint8_t
imap_combining_class(uint32_t c)
{
	size_t page = c / IMAP_FOLD_PAGE;
	if (page >= imap_class_index_count) {
		return 0;
	}
	return imap_class_pages[(size_t)imap_class_index[page] * IMAP_FOLD_PAGE + c % IMAP_FOLD_PAGE];
}

/* The character at the front; its length, 0 where it is not well-formed. */
static size_t
decode(struct bytes text, uint32_t *ret)
{
	const uint8_t *p = text.ptr;
	if (p[0] < 0x80) {
		*ret = p[0];
		return 1;
	}
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || text.len < n) {
		return 0;
	}
	uint32_t c = p[0] & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
		c = c << 6 | (p[i] & 0x3fU);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
	    (n == 4 && (c < 0x10000 || c > 0x10ffff))) {
		return 0;
	}
	*ret = c;
	return n;
}

static size_t
encode(uint32_t c, uint8_t o[static 4])
{
	if (c < 0x80) {
		o[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		o[0] = (uint8_t)(0xc0 | c >> 6);
		o[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	o[0] = (uint8_t)(0xe0 | c >> 12);
	o[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	o[2] = (uint8_t)(0x80 | (c & 0x3f));
	return 3;
}

static void
put(struct folder *f, struct bytes octets)
{
	if (f->error == ERR_OK) {
		f->error = buf_append(f->out, octets);
	}
}

static void
put_marks(struct folder *f)
{
	for (size_t i = 0; i < f->mark_count; i++) {
		put(f, bytes_of(f->marks[i].octets, f->marks[i].len));
	}
	f->mark_count = 0;
}

static void
put_blank(struct folder *f)
{
	if (f->out->len == 0 || f->out->ptr[f->out->len - 1] != ' ') {
		put(f, BYTES_LIT(" "));
	}
}

/* One character that stays as it is; marks wait until what follows them is known. */
static void
put_char(struct folder *f, uint32_t c, struct bytes octets)
{
	uint8_t class = c < 0x300 ? 0 : imap_combining_class(c);
	if (class == 0 || f->mark_count == MARKS_MAX) {
		put_marks(f);
	}
	if (class == 0) {
		if (c == ' ') {
			put_blank(f);
		} else {
			put(f, octets);
		}
		return;
	}
	size_t at = f->mark_count++;
	while (at > 0 && f->marks[at - 1].class > class) {
		f->marks[at] = f->marks[at - 1];
		at--;
	}
	f->marks[at] = (struct mark){.len = (uint8_t)octets.len, .class = class};
	memcpy(f->marks[at].octets, octets.ptr, octets.len);
}

static void
put_hangul(struct folder *f, uint32_t c)
{
	uint8_t octets[12];
	uint32_t s = c - HANGUL_FIRST;
	size_t n = encode(HANGUL_L + s / HANGUL_VT, octets);
	n += encode(HANGUL_V + s % HANGUL_VT / HANGUL_TS, octets + n);
	if (s % HANGUL_TS != 0) {
		n += encode(HANGUL_T + s % HANGUL_TS, octets + n);
	}
	put_marks(f);
	put(f, bytes_of(octets, n));
}

static void
fold_char(struct folder *f, uint32_t c, struct bytes octets)
{
	if (c >= HANGUL_FIRST && c <= HANGUL_LAST) {
		put_hangul(f, c);
		return;
	}
	if (c >= VARIATION_FIRST && c <= VARIATION_LAST) {
		return;
	}
	uint16_t place = fold_of(c);
	if (place == 0) {
		put_char(f, c, octets);
		return;
	}
	struct bytes folded = bytes_of(imap_fold_pool + place + 1, imap_fold_pool[place]);
	while (folded.len > 0) {
		uint32_t one = 0;
		size_t n = decode(folded, &one);
		put_char(f, one, bytes_slice(folded, 0, n));
		folded = bytes_from(folded, n);
	}
}

/* The ASCII octets at the front, as far as there is room; returns how many were taken. */
static size_t
fold_ascii(struct folder *f, struct bytes text)
{
	struct buf *out = f->out;
	size_t room = out->max - out->len;
	f->error = text.len < room ? buf_reserve(out, text.len) : buf_reserve(out, room);
	if (f->error != ERR_OK) {
		return 0;
	}
	uint8_t *o = out->ptr + out->len;
	const uint8_t *end = o + (text.len < room ? text.len : room);
	const uint8_t *p = text.ptr;
	const uint8_t *last = text.ptr + text.len;
	bool blank = out->len > 0 && o[-1] == ' ';
	while (p < last && *p < 0x80 && o < end) {
		uint8_t c = ascii[*p++];
		/* A blank after another one is overwritten by what follows. */
		o -= blank && c == ' ' ? 1 : 0;
		*o++ = c;
		blank = c == ' ';
	}
	out->len = (size_t)(o - out->ptr);
	if (p < last && *p < 0x80) {
		f->error = ERR_LIMIT;
	}
	return (size_t)(p - text.ptr);
}

bool
imap_fold_plain(struct bytes text, uint8_t *room, size_t *ret_len)
{
	uint8_t *o = room;
	bool blank = false;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c >= 0x80 || (c == '=' && i + 1 < text.len && text.ptr[i + 1] == '?')) {
			return false;
		}
		c = ascii[c];
		o -= blank && c == ' ' ? 1 : 0;
		*o++ = c;
		blank = c == ' ';
	}
	*ret_len = (size_t)(o - room);
	return true;
}

enum err
imap_fold_case(struct bytes text, struct buf *out)
{
	struct folder f = {.out = out, .error = ERR_OK};
	while (text.len > 0 && f.error == ERR_OK) {
		size_t n;
		if (text.ptr[0] < 0x80) {
			put_marks(&f);
			n = f.error == ERR_OK ? fold_ascii(&f, text) : 0;
		} else {
			uint32_t c = 0;
			n = decode(text, &c);
			if (n == 0) {
				n = 1;
				put_marks(&f);
				put(&f, bytes_slice(text, 0, 1));
			} else {
				fold_char(&f, c, bytes_slice(text, 0, n));
			}
		}
		text = bytes_from(text, n);
	}
	put_marks(&f);
	return f.error;
}
