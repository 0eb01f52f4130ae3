/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_mailbox_name.h"

#include <string.h>

#include "base/arena.h"
#include "protocol/imap_nfc.h"

/* --- Modified UTF-7 (RFC 3501 section 5.1.3) --- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int
base64_value(uint8_t c)
{
	const char *at = c == 0 ? NULL : memchr(base64_digits, c, 64);
	return at == NULL ? -1 : (int)(at - base64_digits);
}

/* Behind '&' up to and with '-'. */
static enum err
decode_shift(struct buf *out, struct bytes name, size_t *at)
{
	uint32_t bits = 0;
	unsigned count = 0;
	uint32_t high = 0;
	while (*at < name.len && name.ptr[*at] != '-') {
		int value = base64_value(name.ptr[(*at)++]);
		if (value < 0) {
			return ERR_FORMAT;
		}
		bits = (bits << 6 | (uint32_t)value) & 0x3fffffU;
		count += 6;
		if (count < 16) {
			continue;
		}
		count -= 16;
		uint32_t unit = bits >> count & 0xffffU;
		if ((unit >= 0xdc00 && unit <= 0xdfff) != (high != 0)) {
			return ERR_FORMAT;
		}
		if (unit >= 0xd800 && unit <= 0xdbff) {
			high = unit;
			continue;
		}
		enum err e = buf_append_utf8(
		    out, high != 0 ? 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00) : unit);
		high = 0;
		if (e != ERR_OK) {
			return e;
		}
	}
	if (*at >= name.len || high != 0) {
		return ERR_FORMAT;
	}
	(*at)++;
	return ERR_OK;
}

static enum err
decode_utf7(struct buf *out, struct bytes name)
{
	for (size_t at = 0; at < name.len;) {
		uint8_t c = name.ptr[at++];
		enum err e = ERR_OK;
		if (c < 0x20 || c >= 0x7f) {
			return ERR_FORMAT;
		}
		if (c != '&') {
			e = buf_append_byte(out, c);
		} else if (at < name.len && name.ptr[at] == '-') {
			at++;
			e = buf_append_byte(out, '&');
		} else {
			e = decode_shift(out, name, &at);
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

enum err
imap_utf7_decode(struct buf *out, struct bytes name)
{
	size_t start = out->len;
	enum err e = decode_utf7(out, name);
	if (e == ERR_OK && bytes_find(name, '&') >= 0) {
		/* One name, one form: what we would not write ourselves is refused. */
		struct buf again = BUF_INIT(name.len);
		e = imap_utf7_encode(&again, bytes_from(buf_bytes(out), start));
		if (e == ERR_LIMIT || (e == ERR_OK && !bytes_equal(buf_bytes(&again), name))) {
			e = ERR_FORMAT;
		}
		buf_clear(&again);
	}
	if (e != ERR_OK) {
		buf_truncate(out, start);
	}
	return e;
}

/* One run of characters outside printable ASCII, with its '&' and '-'. */
static enum err
encode_shift(struct buf *out, struct bytes name, size_t *at)
{
	uint32_t bits = 0;
	unsigned count = 0;
	enum err e = buf_append_byte(out, '&');
	while (e == ERR_OK && *at < name.len && (name.ptr[*at] < 0x20 || name.ptr[*at] >= 0x7f)) {
		uint32_t c = bytes_utf8_next(name, at);
		uint32_t units[2] = {c, 0};
		size_t n = 1;
		if (c >= 0x10000) {
			units[0] = 0xd800 + ((c - 0x10000) >> 10);
			units[1] = 0xdc00 + ((c - 0x10000) & 0x3ff);
			n = 2;
		}
		for (size_t i = 0; i < n; i++) {
			bits = bits << 16 | units[i];
			count += 16;
			while (e == ERR_OK && count >= 6) {
				count -= 6;
				e = buf_append_byte(out, (uint8_t)base64_digits[bits >> count & 0x3f]);
			}
			bits &= 0x3f;
		}
	}
	if (e == ERR_OK && count > 0) {
		e = buf_append_byte(out, (uint8_t)base64_digits[bits << (6 - count) & 0x3f]);
	}
	return e == ERR_OK ? buf_append_byte(out, '-') : e;
}

enum err
imap_utf7_encode(struct buf *out, struct bytes name)
{
	size_t start = out->len;
	enum err e = bytes_is_utf8(name) ? ERR_OK : ERR_FORMAT;
	for (size_t at = 0; e == ERR_OK && at < name.len;) {
		uint8_t c = name.ptr[at];
		if (c == '&') {
			at++;
			e = buf_append_str(out, "&-");
		} else if (c >= 0x20 && c < 0x7f) {
			at++;
			e = buf_append_byte(out, c);
		} else {
			e = encode_shift(out, name, &at);
		}
	}
	if (e != ERR_OK) {
		buf_truncate(out, start);
	}
	return e;
}

/* --- Names --- */

static bool
is_forbidden_char(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == '%' ||
	       c == '*' || (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffeU) == 0xfffeU;
}

/* Not seen, or seen only by what it does to its neighbours. */
static bool
is_hidden_char(uint32_t c)
{
	static const uint32_t hidden[][2] = {
	    {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},   {0x115f, 0x1160},   {0x17b4, 0x17b5},
	    {0x180b, 0x180f}, {0x200b, 0x200b}, {0x200e, 0x200f}, {0x202a, 0x202e},   {0x2060, 0x206f},
	    {0x3164, 0x3164}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0xe0000, 0xe0fff},
	};
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		if (c >= hidden[i][0] && c <= hidden[i][1]) {
			return true;
		}
	}
	return false;
}

static bool
is_joiner(uint32_t c)
{
	return c == 0x200c || c == 0x200d;
}

bool
imap_mailbox_name_fit(struct bytes name)
{
	uint32_t before = 0;
	for (size_t at = 0; at < name.len;) {
		uint32_t c = bytes_utf8_next(name, &at);
		if (is_hidden_char(c) || (is_joiner(c) && (before < 0x80 || is_joiner(before))) ||
		    (is_joiner(before) && c < 0x80)) {
			return false;
		}
		before = c;
	}
	return !is_joiner(before);
}

static bool
is_part_valid(struct bytes part)
{
	return part.len > 0 && part.len <= IMAP_NAME_PART_MAX && !bytes_is(part, ".") &&
	       !bytes_is(part, "..");
}

bool
imap_mailbox_name_valid(struct bytes name)
{
	if (name.len == 0 || name.len > IMAP_NAME_MAX || !bytes_is_utf8(name)) {
		return false;
	}
	for (size_t at = 0; at < name.len;) {
		if (is_forbidden_char(bytes_utf8_next(name, &at))) {
			return false;
		}
	}
	struct bytes rest = name;
	for (unsigned level = 0; level < IMAP_NAME_LEVELS_MAX; level++) {
		ptrdiff_t slash = bytes_find(rest, IMAP_DELIMITER);
		if (slash < 0) {
			return is_part_valid(rest);
		}
		if (!is_part_valid(bytes_slice(rest, 0, (size_t)slash))) {
			return false;
		}
		rest = bytes_from(rest, (size_t)slash + 1);
	}
	return false;
}

static bool
begins_with_inbox(struct bytes name)
{
	return bytes_starts_with_nocase(name, "INBOX") && (name.len == 5 || name.ptr[5] == IMAP_DELIMITER);
}

enum err
imap_mailbox_from_wire(struct buf *out, struct bytes wire, bool utf8, bool trailing)
{
	struct buf name = BUF_INIT((size_t)IMAP_NAME_MAX * 4);
	if (wire.len > (size_t)IMAP_NAME_MAX * 4) {
		return ERR_FORMAT;
	}
	enum err e = utf8 ? buf_append(&name, wire) : imap_utf7_decode(&name, wire);
	if (e == ERR_OK && trailing && name.len > 1 && name.ptr[name.len - 1] == IMAP_DELIMITER) {
		buf_truncate(&name, name.len - 1);
	}
	if (e == ERR_OK && !imap_mailbox_name_valid(buf_bytes(&name))) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		if (begins_with_inbox(buf_bytes(&name))) {
			memcpy(name.ptr, "INBOX", 5);
		}
		e = buf_append(out, buf_bytes(&name));
	}
	buf_wipe(&name);
	return e == ERR_LIMIT ? ERR_FORMAT : e;
}

enum err
imap_mailbox_to_wire(struct buf *out, struct bytes name, bool utf8)
{
	return utf8 ? buf_append(out, name) : imap_utf7_encode(out, name);
}

/* --- LIST patterns --- */

enum { PATTERN_MAX = 4 * IMAP_NAME_MAX };

enum err
imap_pattern_from_wire(struct buf *out, struct bytes reference, struct bytes pattern, bool utf8)
{
	struct buf joined = BUF_INIT(PATTERN_MAX);
	/* A shift does not cross from one into the other, so each is decoded alone. */
	enum err e = utf8 ? buf_append(&joined, reference) : imap_utf7_decode(&joined, reference);
	if (e == ERR_OK) {
		e = utf8 ? buf_append(&joined, pattern) : imap_utf7_decode(&joined, pattern);
	}
	if (e == ERR_OK) {
		e = imap_nfc(buf_bytes(&joined), out);
	}
	buf_wipe(&joined);
	return e == ERR_LIMIT ? ERR_FORMAT : e;
}

/* alive[i]: what was read so far fits the first i octets of the pattern. */
struct automaton {
	bool alive[PATTERN_MAX + 1];
};

/* A wildcard may match nothing: what stands before it lives behind it, too. */
static void
spread(struct automaton *a, struct bytes pattern)
{
	for (size_t i = 0; i < pattern.len; i++) {
		if (a->alive[i] && (pattern.ptr[i] == '*' || pattern.ptr[i] == '%')) {
			a->alive[i + 1] = true;
		}
	}
}

static void
step(struct automaton *a, struct bytes pattern, uint8_t c, bool nocase)
{
	/* From the end, so that each octet moves a state once. */
	for (size_t i = pattern.len + 1; i-- > 0;) {
		uint8_t p = i < pattern.len ? pattern.ptr[i] : 0;
		bool stays = i < pattern.len && (p == '*' || (p == '%' && c != IMAP_DELIMITER));
		bool arrives = false;
		if (i > 0) {
			uint8_t before = pattern.ptr[i - 1];
			arrives = a->alive[i - 1] && before != '*' && before != '%' &&
				  (before == c || (nocase && ascii_lower(before) == ascii_lower(c)));
		}
		a->alive[i] = (a->alive[i] && stays) || arrives;
	}
	spread(a, pattern);
}

static void
run(struct automaton *a, struct bytes pattern, struct bytes name)
{
	memset(a->alive, 0, pattern.len + 1);
	a->alive[0] = true;
	spread(a, pattern);
	bool inbox = begins_with_inbox(name);
	for (size_t i = 0; i < name.len; i++) {
		step(a, pattern, name.ptr[i], inbox && i < 5);
	}
}

bool
imap_pattern_match(struct bytes pattern, struct bytes name)
{
	struct automaton a;
	if (bytes_is(pattern, "*")) {
		return true;
	}
	if (pattern.len > PATTERN_MAX) {
		return false;
	}
	run(&a, pattern, name);
	return a.alive[pattern.len];
}

bool
imap_pattern_match_children(struct bytes pattern, struct bytes name)
{
	struct automaton a;
	if (pattern.len > PATTERN_MAX) {
		return false;
	}
	run(&a, pattern, name);
	step(&a, pattern, IMAP_DELIMITER, false);
	for (size_t i = 0; i < pattern.len; i++) {
		if (a.alive[i]) {
			return true; /* the rest of the pattern, taken as it is, names a child */
		}
	}
	return false;
}
