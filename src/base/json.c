/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/json.h"

#include <string.h>

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t
skip_blanks(struct bytes t, size_t at)
{
	while (at < t.len && is_blank(t.ptr[at])) {
		at++;
	}
	return at;
}

static int
hex_digit(uint8_t c)
{
	return ascii_is_digit(c)      ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* Behind the string that begins at `at` with its quote; 0: there is none. RFC 8259 section 7. */
static size_t
string_end(struct bytes t, size_t at)
{
	for (at++; at < t.len && t.ptr[at] != '"'; at++) {
		if (t.ptr[at] < ' ') {
			return 0;
		}
		if (t.ptr[at] != '\\') {
			continue;
		}
		at++;
		if (at < t.len && t.ptr[at] == 'u') {
			for (size_t i = 1; i <= 4; i++) {
				if (at + i >= t.len || hex_digit(t.ptr[at + i]) < 0) {
					return 0;
				}
			}
			at += 4;
		} else if (at >= t.len || bytes_find(BYTES_LIT("\"\\/bfnrt"), t.ptr[at]) < 0) {
			return 0;
		}
	}
	return at < t.len ? at + 1 : 0;
}

static size_t
digits_end(struct bytes t, size_t at)
{
	while (at < t.len && ascii_is_digit(t.ptr[at])) {
		at++;
	}
	return at;
}

/* RFC 8259 section 6. */
static size_t
number_end(struct bytes t, size_t at)
{
	at += at < t.len && t.ptr[at] == '-' ? 1 : 0;
	size_t end = digits_end(t, at);
	if (end == at || (t.ptr[at] == '0' && end > at + 1)) {
		return 0;
	}
	if (end < t.len && t.ptr[end] == '.') {
		at = end + 1;
		end = digits_end(t, at);
		if (end == at) {
			return 0;
		}
	}
	if (end < t.len && (t.ptr[end] == 'e' || t.ptr[end] == 'E')) {
		at = end + 1;
		at += at < t.len && (t.ptr[at] == '+' || t.ptr[at] == '-') ? 1 : 0;
		end = digits_end(t, at);
		if (end == at) {
			return 0;
		}
	}
	return end;
}

/* Behind a value that is no container; 0: there is none. */
static size_t
scalar_end(struct bytes t, size_t at)
{
	static const char *const words[] = {"true", "false", "null"};
	if (at < t.len && t.ptr[at] == '"') {
		return string_end(t, at);
	}
	for (size_t i = 0; i < 3; i++) {
		if (bytes_starts_with(bytes_from(t, at), words[i])) {
			return at + strlen(words[i]);
		}
	}
	return number_end(t, at);
}

enum err
json_check_octets(struct bytes t)
{
	uint64_t objects = 0; /* a bit for each open container: is it an object? */
	unsigned depth = 0;
	size_t at = skip_blanks(t, 0);
	for (;;) {
		bool opened = false;
		/* A value begins here. */
		if (at < t.len && (t.ptr[at] == '{' || t.ptr[at] == '[')) {
			if (depth == JSON_DEPTH_MAX) {
				return ERR_LIMIT;
			}
			objects = objects << 1 | (t.ptr[at] == '{' ? 1 : 0);
			depth++;
			at++;
			opened = true;
		} else {
			at = scalar_end(t, at);
			if (at == 0) {
				return ERR_FORMAT;
			}
		}
		at = skip_blanks(t, at);
		/* What ends here. */
		while (depth > 0 && at < t.len && t.ptr[at] == ((objects & 1) != 0 ? '}' : ']')) {
			objects >>= 1;
			depth--;
			opened = false;
			at = skip_blanks(t, at + 1);
		}
		if (depth == 0) {
			return at == t.len ? ERR_OK : ERR_FORMAT;
		}
		if (!opened) {
			if (at >= t.len || t.ptr[at] != ',') {
				return ERR_FORMAT;
			}
			at = skip_blanks(t, at + 1);
		}
		if ((objects & 1) != 0) {
			size_t end = at < t.len && t.ptr[at] == '"' ? string_end(t, at) : 0;
			at = skip_blanks(t, end);
			if (end == 0 || at >= t.len || t.ptr[at] != ':') {
				return ERR_FORMAT;
			}
			at = skip_blanks(t, at + 1);
		}
	}
}

enum err
json_check(struct bytes t)
{
	return bytes_is_utf8(t) ? json_check_octets(t) : ERR_FORMAT;
}

enum json_kind
json_kind(struct bytes v)
{
	static const struct {
		char begin;
		enum json_kind kind;
	} kinds[] = {{'{', JSON_OBJECT}, {'[', JSON_ARRAY}, {'"', JSON_STRING},
		     {'t', JSON_TRUE},   {'f', JSON_FALSE}, {'n', JSON_NULL}};
	size_t at = skip_blanks(v, 0);
	if (at == v.len) {
		return JSON_NOTHING;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (v.ptr[at] == (uint8_t)kinds[i].begin) {
			return kinds[i].kind;
		}
	}
	return JSON_NUMBER;
}

/* Behind the value at `at`, in a checked text: what is open is counted, not remembered. */
static size_t
value_end(struct bytes t, size_t at)
{
	if (at >= t.len || (t.ptr[at] != '{' && t.ptr[at] != '[')) {
		return scalar_end(t, at);
	}
	size_t depth = 0;
	while (at < t.len) {
		uint8_t c = t.ptr[at];
		if (c == '"') {
			at = string_end(t, at);
			if (at == 0) {
				return 0;
			}
			continue;
		}
		depth += c == '{' || c == '[' ? 1 : 0;
		depth -= c == '}' || c == ']' ? 1 : 0;
		at++;
		if (depth == 0) {
			return at;
		}
	}
	return 0;
}

/* The next element, with its name where it has one. */
static struct bytes
next_of(struct bytes container, size_t *at, struct bytes *ret_name)
{
	struct bytes t = container;
	size_t i = *at == 0 ? skip_blanks(t, 0) : *at;
	bool object = i < t.len && t.ptr[skip_blanks(t, 0)] == '{';
	if (*at == 0 && (i >= t.len || (t.ptr[i] != '{' && t.ptr[i] != '['))) {
		return BYTES_EMPTY;
	}
	/* Over the bracket, or the comma. */
	i = skip_blanks(t, i);
	if (i >= t.len || (*at > 0 && t.ptr[i] != ',')) {
		return BYTES_EMPTY;
	}
	i = skip_blanks(t, i + 1);
	if (i >= t.len || t.ptr[i] == '}' || t.ptr[i] == ']') {
		return BYTES_EMPTY;
	}
	if (object) {
		size_t end = t.ptr[i] == '"' ? string_end(t, i) : 0;
		if (end == 0) {
			return BYTES_EMPTY;
		}
		*ret_name = bytes_slice(t, i + 1, end - i - 2);
		i = skip_blanks(t, end);
		i = skip_blanks(t, i + 1);
	}
	size_t end = value_end(t, i);
	if (end <= i) {
		return BYTES_EMPTY;
	}
	*at = end;
	return bytes_slice(t, i, end - i);
}

struct bytes
json_next(struct bytes container, size_t *at)
{
	struct bytes name = BYTES_EMPTY;
	return next_of(container, at, &name);
}

struct bytes
json_member(struct bytes object, const char *name)
{
	size_t at = 0;
	if (json_kind(object) != JSON_OBJECT) {
		return BYTES_EMPTY;
	}
	for (;;) {
		struct bytes found = BYTES_EMPTY;
		struct bytes value = next_of(object, &at, &found);
		if (value.len == 0 || bytes_is(found, name)) {
			return value;
		}
	}
}

/* A string's octets between its quotes; false: it is none. */
static bool
inside(struct bytes value, struct bytes *ret)
{
	size_t at = skip_blanks(value, 0);
	size_t end = at < value.len && value.ptr[at] == '"' ? string_end(value, at) : 0;
	if (end == 0) {
		return false;
	}
	*ret = bytes_slice(value, at + 1, end - at - 2);
	return true;
}

/* Four digits, which a checked text has. */
static unsigned
unit_at(struct bytes t, size_t at)
{
	unsigned n = 0;
	for (size_t i = 0; i < 4; i++) {
		n = n << 4 | (at + i < t.len ? (unsigned)hex_digit(t.ptr[at + i]) & 15U : 0);
	}
	return n;
}

static enum err
put_utf8(struct buf *out, unsigned c)
{
	uint8_t o[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n - 1; i > 0; i--) {
		o[i] = (uint8_t)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	o[0] = (uint8_t)(lead[n] | c);
	return buf_append(out, bytes_of(o, n));
}

/* At the u of an escape. *at is moved to its last digit. */
static enum err
put_escaped(struct bytes t, size_t *at, struct buf *out)
{
	unsigned c = unit_at(t, *at + 1);
	*at += 4;
	if (c >= 0xd800 && c < 0xdc00) {
		unsigned low = bytes_starts_with(bytes_from(t, *at + 1), "\\u") ? unit_at(t, *at + 3) : 0;
		if (low < 0xdc00 || low > 0xdfff) {
			return ERR_FORMAT;
		}
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		*at += 6;
	} else if ((c >= 0xdc00 && c <= 0xdfff) || c == 0) {
		return ERR_FORMAT;
	}
	return put_utf8(out, c);
}

enum err
json_string(struct bytes value, struct buf *out)
{
	static const char plain[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";
	struct bytes t;
	size_t before = out->len;
	enum err e = inside(value, &t) ? ERR_OK : ERR_FORMAT;
	for (size_t i = 0; e == ERR_OK && i < t.len; i++) {
		if (t.ptr[i] != '\\') {
			e = buf_append_byte(out, t.ptr[i]);
			continue;
		}
		i++;
		if (t.ptr[i] == 'u') {
			e = put_escaped(t, &i, out);
			continue;
		}
		ptrdiff_t which = bytes_find(BYTES_LIT(plain), t.ptr[i]);
		e = which < 0 ? ERR_FORMAT : buf_append_byte(out, (uint8_t)meant[which]);
	}
	if (e != ERR_OK) {
		buf_truncate(out, before);
	}
	return e;
}

struct bytes
json_written(struct bytes value)
{
	struct bytes t;
	return inside(value, &t) ? t : bytes_trim(value);
}

bool
json_is(struct bytes value, const char *text)
{
	struct bytes t;
	return inside(value, &t) && bytes_is(t, text);
}
