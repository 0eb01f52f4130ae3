/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes
bytes_of(const void *ptr, size_t len)
{
	return (struct bytes){.ptr = ptr, .len = len};
}

struct bytes
bytes_str(const char *s)
{
	return bytes_of(s, strlen(s));
}

uint8_t
ascii_lower(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') ? (uint8_t)(c + 32) : c;
}

uint8_t
ascii_upper(uint8_t c)
{
	return (c >= 'a' && c <= 'z') ? (uint8_t)(c - 32) : c;
}

bool
ascii_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

bool
ascii_is_alpha(uint8_t c)
{
	c = ascii_lower(c);
	return c >= 'a' && c <= 'z';
}

bool
ascii_is_alnum(uint8_t c)
{
	return ascii_is_digit(c) || ascii_is_alpha(c);
}

bool
bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool
bytes_equal_nocase(struct bytes a, struct bytes b)
{
	if (a.len != b.len) {
		return false;
	}
	for (size_t i = 0; i < a.len; i++) {
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i])) {
			return false;
		}
	}
	return true;
}

bool
bytes_is(struct bytes a, const char *text)
{
	return bytes_equal(a, bytes_str(text));
}

bool
bytes_is_nocase(struct bytes a, const char *text)
{
	return bytes_equal_nocase(a, bytes_str(text));
}

int
bytes_compare(struct bytes a, struct bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
	if (c != 0) {
		return c;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

bool
bytes_starts_with(struct bytes a, const char *prefix)
{
	struct bytes p = bytes_str(prefix);
	return a.len >= p.len && bytes_equal(bytes_slice(a, 0, p.len), p);
}

bool
bytes_starts_with_nocase(struct bytes a, const char *prefix)
{
	struct bytes p = bytes_str(prefix);
	return a.len >= p.len && bytes_equal_nocase(bytes_slice(a, 0, p.len), p);
}

bool
bytes_ends_with_nocase(struct bytes a, const char *suffix)
{
	struct bytes s = bytes_str(suffix);
	return a.len >= s.len && bytes_equal_nocase(bytes_from(a, a.len - s.len), s);
}

ptrdiff_t
bytes_find(struct bytes hay, uint8_t c)
{
	if (hay.len == 0) {
		return -1;
	}
	const uint8_t *p = memchr(hay.ptr, c, hay.len);
	return p == NULL ? -1 : p - hay.ptr;
}

ptrdiff_t
bytes_find_last(struct bytes hay, uint8_t c)
{
	for (size_t i = hay.len; i > 0; i--) {
		if (hay.ptr[i - 1] == c) {
			return (ptrdiff_t)(i - 1);
		}
	}
	return -1;
}

ptrdiff_t
bytes_search(struct bytes hay, struct bytes needle)
{
	if (needle.len == 0) {
		return 0;
	}
	if (hay.len < needle.len) {
		return -1;
	}
	/* memmem is linear (two-way) in glibc. */
	const uint8_t *p = memmem(hay.ptr, hay.len, needle.ptr, needle.len);
	return p == NULL ? -1 : p - hay.ptr;
}

struct bytes
bytes_slice(struct bytes a, size_t start, size_t len)
{
	if (start > a.len) {
		start = a.len;
	}
	if (len > a.len - start) {
		len = a.len - start;
	}
	return bytes_of(a.ptr == NULL ? NULL : a.ptr + start, len);
}

struct bytes
bytes_from(struct bytes a, size_t start)
{
	return bytes_slice(a, start, SIZE_MAX);
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct bytes
bytes_trim(struct bytes a)
{
	while (a.len > 0 && is_blank(a.ptr[0])) {
		a = bytes_from(a, 1);
	}
	while (a.len > 0 && is_blank(a.ptr[a.len - 1])) {
		a.len--;
	}
	return a;
}

enum err
bytes_to_u64(struct bytes a, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;
	if (a.len == 0) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < a.len; i++) {
		if (!ascii_is_digit(a.ptr[i])) {
			return ERR_FORMAT;
		}
		uint64_t digit = (uint64_t)(a.ptr[i] - '0');
		if (value > (UINT64_MAX - digit) / 10) {
			return ERR_LIMIT;
		}
		value = value * 10 + digit;
	}
	if (value > max) {
		return ERR_LIMIT;
	}
	*ret_value = value;
	return ERR_OK;
}

bool
bytes_is_ascii(struct bytes a)
{
	for (size_t i = 0; i < a.len; i++) {
		if (a.ptr[i] >= 0x80) {
			return false;
		}
	}
	return true;
}

bool
bytes_is_utf8(struct bytes a)
{
	size_t i = 0;
	while (i < a.len) {
		uint8_t c = a.ptr[i];
		size_t more;
		uint32_t point;
		uint32_t least;
		if (c < 0x80) {
			i++;
			continue;
		}
		if ((c & 0xe0) == 0xc0) {
			more = 1;
			point = c & 0x1fU;
			least = 0x80;
		} else if ((c & 0xf0) == 0xe0) {
			more = 2;
			point = c & 0x0fU;
			least = 0x800;
		} else if ((c & 0xf8) == 0xf0) {
			more = 3;
			point = c & 0x07U;
			least = 0x10000;
		} else {
			return false;
		}
		if (a.len - i <= more) {
			return false;
		}
		for (size_t k = 1; k <= more; k++) {
			if ((a.ptr[i + k] & 0xc0) != 0x80) {
				return false;
			}
			point = (point << 6) | (a.ptr[i + k] & 0x3fU);
		}
		if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
			return false;
		}
		i += more + 1;
	}
	return true;
}

uint32_t
bytes_utf8_next(struct bytes a, size_t *at)
{
	uint8_t c = a.ptr[(*at)++];
	if (c < 0x80) {
		return c;
	}
	unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
	uint32_t value = c & (0x3fU >> more);
	for (; more > 0 && *at < a.len; more--) {
		value = value << 6 | (a.ptr[(*at)++] & 0x3fU);
	}
	return value;
}

void
buf_init(struct buf *b, size_t max)
{
	*b = BUF_INIT(max);
}

void
buf_clear(struct buf *b)
{
	free(b->ptr);
	b->ptr = NULL;
	b->len = 0;
	b->cap = 0;
}

void
buf_wipe(struct buf *b)
{
	if (b->ptr != NULL) {
		explicit_bzero(b->ptr, b->cap);
	}
	buf_clear(b);
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
}

enum err
buf_reserve(struct buf *b, size_t extra)
{
	if (extra > b->max || b->len > b->max - extra) {
		return ERR_LIMIT;
	}
	size_t want = b->len + extra;
	if (want <= b->cap) {
		return ERR_OK;
	}
	size_t cap = b->cap < 64 ? 64 : b->cap;
	while (cap < want) {
		cap = cap > b->max / 2 ? b->max : cap * 2;
	}
	if (cap > b->max) {
		cap = b->max;
	}
	/* No realloc: it may leave a copy of the old content behind. */
	uint8_t *ptr = malloc(cap);
	if (ptr == NULL) {
		return ERR_MEMORY;
	}
	if (b->len > 0) {
		memcpy(ptr, b->ptr, b->len);
		explicit_bzero(b->ptr, b->len);
	}
	free(b->ptr);
	b->ptr = ptr;
	b->cap = cap;
	return ERR_OK;
}

enum err
buf_append(struct buf *b, struct bytes a)
{
	if (a.len == 0) {
		return ERR_OK;
	}
	if (a.len > b->cap - b->len) {
		enum err e = buf_reserve(b, a.len);
		if (e != ERR_OK) {
			return e;
		}
	}
	memcpy(b->ptr + b->len, a.ptr, a.len);
	b->len += a.len;
	return ERR_OK;
}

enum err
buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, bytes_str(s));
}

enum err
buf_append_byte(struct buf *b, uint8_t c)
{
	if (b->len == b->cap) {
		enum err e = buf_reserve(b, 1);
		if (e != ERR_OK) {
			return e;
		}
	}
	b->ptr[b->len++] = c;
	return ERR_OK;
}

enum err
buf_append_u64(struct buf *b, uint64_t value)
{
	uint8_t digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (uint8_t)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	return buf_append(b, bytes_of(digits + at, sizeof(digits) - at));
}

enum err
buf_append_xml(struct buf *b, struct bytes a)
{
	static const char special[] = "&<>\"'";
	static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
	enum err e = ERR_OK;
	for (size_t i = 0; i < a.len && e == ERR_OK; i++) {
		ptrdiff_t which = bytes_find(BYTES_LIT(special), a.ptr[i]);
		e = which < 0 ? buf_append_byte(b, a.ptr[i]) : buf_append_str(b, names[which]);
	}
	return e;
}

enum err
buf_append_hex(struct buf *b, struct bytes a)
{
	static const char digits[] = "0123456789abcdef";
	if (a.len > SIZE_MAX / 2) {
		return ERR_LIMIT;
	}
	enum err e = buf_reserve(b, a.len * 2);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < a.len; i++) {
		b->ptr[b->len++] = (uint8_t)digits[a.ptr[i] >> 4];
		b->ptr[b->len++] = (uint8_t)digits[a.ptr[i] & 15];
	}
	return ERR_OK;
}

enum err
buf_append_base64(struct buf *b, struct bytes a)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	if (a.len > SIZE_MAX / 2) {
		return ERR_LIMIT;
	}
	enum err e = buf_reserve(b, (a.len + 2) / 3 * 4);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < a.len; i += 3) {
		size_t n = a.len - i < 3 ? a.len - i : 3;
		uint32_t v = (uint32_t)a.ptr[i] << 16;
		v |= n > 1 ? (uint32_t)a.ptr[i + 1] << 8 : 0;
		v |= n > 2 ? (uint32_t)a.ptr[i + 2] : 0;
		b->ptr[b->len++] = (uint8_t)digits[v >> 18];
		b->ptr[b->len++] = (uint8_t)digits[(v >> 12) & 63];
		b->ptr[b->len++] = n > 1 ? (uint8_t)digits[(v >> 6) & 63] : '=';
		b->ptr[b->len++] = n > 2 ? (uint8_t)digits[v & 63] : '=';
	}
	return ERR_OK;
}

static int
base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (ascii_is_digit(c)) {
		return c - '0' + 52;
	}
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

enum err
buf_append_unbase64(struct buf *b, struct bytes text)
{
	size_t start = b->len;
	if (text.len % 4 != 0) {
		return ERR_FORMAT;
	}
	enum err e = buf_reserve(b, text.len / 4 * 3);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < text.len; i += 4) {
		size_t pad = 0;
		uint32_t v = 0;
		for (size_t k = 0; k < 4; k++) {
			uint8_t c = text.ptr[i + k];
			int d = base64_value(c);
			if (c == '=' && i + 4 == text.len && k >= 2) {
				pad++;
				d = 0;
			} else if (d < 0 || pad > 0) {
				b->len = start;
				return ERR_FORMAT;
			}
			v = v << 6 | (uint32_t)d;
		}
		uint8_t out[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
		for (size_t k = 0; k < 3 - pad; k++) {
			b->ptr[b->len++] = out[k];
		}
	}
	return ERR_OK;
}

enum err
buf_append_unhex(struct buf *b, struct bytes text)
{
	size_t start = b->len;
	if (text.len % 2 != 0) {
		return ERR_FORMAT;
	}
	enum err e = buf_reserve(b, text.len / 2);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < text.len; i += 2) {
		unsigned v = 0;
		for (size_t k = 0; k < 2; k++) {
			uint8_t c = ascii_lower(text.ptr[i + k]);
			if (ascii_is_digit(c)) {
				v = v << 4 | (unsigned)(c - '0');
			} else if (c >= 'a' && c <= 'f') {
				v = v << 4 | (unsigned)(c - 'a' + 10);
			} else {
				b->len = start;
				return ERR_FORMAT;
			}
		}
		b->ptr[b->len++] = (uint8_t)v;
	}
	return ERR_OK;
}

enum err
buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0) {
		return ERR_FORMAT;
	}
	/* One more: vsnprintf writes a NUL that does not count. */
	char *text = malloc((size_t)n + 1);
	if (text == NULL) {
		return ERR_MEMORY;
	}
	va_start(args, format);
	(void)vsnprintf(text, (size_t)n + 1, format, args);
	va_end(args);
	enum err e = buf_append(b, bytes_of(text, (size_t)n));
	explicit_bzero(text, (size_t)n);
	free(text);
	return e;
}

void
buf_consume(struct buf *b, size_t n)
{
	if (n > b->len) {
		panic("buf_consume past the end");
	}
	b->len -= n;
	if (b->len > 0) {
		memmove(b->ptr, b->ptr + n, b->len);
	}
}

void
buf_truncate(struct buf *b, size_t len)
{
	if (len > b->len) {
		panic("buf_truncate past the end");
	}
	b->len = len;
}

struct bytes
buf_bytes(const struct buf *b)
{
	return bytes_of(b->ptr, b->len);
}

enum err
buf_append_utf8(struct buf *b, uint32_t c)
{
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	uint8_t o[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; c >>= 6) {
		o[i] = (uint8_t)(0x80 | (c & 0x3f));
	}
	o[0] = (uint8_t)(lead[n] | c);
	return buf_append(b, bytes_of(o, n));
}
