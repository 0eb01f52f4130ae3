/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Macros (RFC 7208 section 7). */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "authentication/spf_internal.h"

enum { PARTS_MAX = 128 };

static enum err
append_address(const uint8_t address[16], bool readable, struct buf *out)
{
	char text[INET6_ADDRSTRLEN] = "";
	enum err e = ERR_OK;
	if (spf_is_ipv4(address)) {
		(void)inet_ntop(AF_INET, address + 12, text, sizeof(text));
		return buf_append_str(out, text);
	}
	if (readable) {
		(void)inet_ntop(AF_INET6, address, text, sizeof(text));
		return buf_append_str(out, text);
	}
	for (size_t i = 0; i < 32 && e == ERR_OK; i++) {
		unsigned nibble = (unsigned)(i % 2 == 0 ? address[i / 2] >> 4 : address[i / 2] & 15);
		e = buf_printf(out, "%s%x", i == 0 ? "" : ".", nibble);
	}
	return e;
}

static enum err
append_value(struct spf_state *s, uint8_t letter, struct bytes domain, struct buf *out)
{
	enum err e;
	struct bytes name;
	switch (letter) {
	case 's':
		e = buf_append(out, s->sender_local);
		if (e == ERR_OK) {
			e = buf_append_str(out, "@");
		}
		return e == ERR_OK ? buf_append(out, s->sender_domain) : e;
	case 'l':
		return buf_append(out, s->sender_local);
	case 'o':
		return buf_append(out, s->sender_domain);
	case 'd':
		return buf_append(out, domain);
	case 'i':
		return append_address(s->in->address, false, out);
	case 'c':
		return append_address(s->in->address, true, out);
	case 'h':
		return buf_append(out, s->in->hello);
	case 'v':
		return buf_append_str(out, spf_is_ipv4(s->in->address) ? "in-addr" : "ip6");
	case 'r':
		return buf_append(out, s->in->receiver.len == 0 ? BYTES_LIT("unknown") : s->in->receiver);
	case 't':
		return buf_append_u64(out, s->in->now < 0 ? 0 : (uint64_t)s->in->now);
	case 'p':
		/* A name below the domain is preferred. */
		name = spf_validated_name(s, domain);
		name = name.len == 0 ? spf_validated_name(s, BYTES_EMPTY) : name;
		return buf_append(out, name.len == 0 ? BYTES_LIT("unknown") : name);
	default:
		return ERR_FORMAT;
	}
}

static enum err
append_escaped(struct bytes text, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		uint8_t c = text.ptr[i];
		bool plain = ascii_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
		e = plain ? buf_append_byte(out, c) : buf_printf(out, "%%%02X", c);
	}
	return e;
}

/* The value cut at delimiters, reversed if so said, the right-most `keep` parts joined by dots. */
static enum err
transform(struct bytes value, unsigned keep, bool reverse, struct bytes delimiters, struct buf *out)
{
	struct bytes parts[PARTS_MAX];
	size_t count = 0;
	size_t from = 0;
	enum err e = ERR_OK;
	for (size_t i = 0; i <= value.len; i++) {
		if (i == value.len || bytes_find(delimiters, value.ptr[i]) >= 0) {
			if (count == PARTS_MAX) {
				return ERR_LIMIT;
			}
			parts[count++] = bytes_slice(value, from, i - from);
			from = i + 1;
		}
	}
	size_t first = keep == 0 || keep > count ? 0 : count - keep;
	for (size_t i = first; i < count && e == ERR_OK; i++) {
		e = i > first ? buf_append_str(out, ".") : ERR_OK;
		if (e == ERR_OK) {
			e = buf_append(out, parts[reverse ? count - 1 - i : i]);
		}
	}
	return e;
}

/* "{d1r.}" and the like, without braces. */
static enum err
expand_one(struct spf_state *s, struct bytes inside, struct bytes domain, struct buf *out)
{
	struct buf value = BUF_INIT(SPF_EXPANDED_MAX);
	struct buf changed = BUF_INIT(SPF_EXPANDED_MAX);
	uint8_t letter = ascii_lower(inside.ptr[0]);
	size_t at = 1;
	unsigned keep = 0;
	while (at < inside.len && ascii_is_digit(inside.ptr[at])) {
		keep = keep * 10 + (unsigned)(inside.ptr[at++] - '0');
	}
	bool reverse = at < inside.len && ascii_lower(inside.ptr[at]) == 'r';
	struct bytes delimiters = bytes_from(inside, at + (reverse ? 1 : 0));
	enum err e = append_value(s, letter, domain, &value);
	if (e == ERR_OK) {
		e = transform(buf_bytes(&value), keep, reverse,
			      delimiters.len == 0 ? BYTES_LIT(".") : delimiters, &changed);
	}
	if (e == ERR_OK) {
		e = letter == inside.ptr[0] ? buf_append(out, buf_bytes(&changed))
					    : append_escaped(buf_bytes(&changed), out);
	}
	buf_clear(&value);
	buf_clear(&changed);
	return e;
}

enum err
spf_expand(struct spf_state *s, struct bytes text, struct bytes domain, struct buf *out)
{
	enum err e = ERR_OK;
	size_t at = 0;
	struct buf whole = BUF_INIT(SPF_EXPANDED_MAX);
	while (at < text.len && e == ERR_OK) {
		uint8_t next = at + 1 < text.len ? text.ptr[at + 1] : 0;
		if (text.ptr[at] != '%') {
			e = buf_append_byte(&whole, text.ptr[at++]);
		} else if (next == '{') {
			ptrdiff_t end = bytes_find(bytes_from(text, at), '}');
			e = end < 3
				? ERR_FORMAT
				: expand_one(s, bytes_slice(text, at + 2, (size_t)end - 2), domain, &whole);
			at += end < 0 ? 1 : (size_t)end + 1;
		} else {
			e = next == '%'   ? buf_append_str(&whole, "%")
			    : next == '_' ? buf_append_str(&whole, " ")
			    : next == '-' ? buf_append_str(&whole, "%20")
					  : ERR_FORMAT;
			at += 2;
		}
	}
	if (e == ERR_OK) {
		struct bytes name = buf_bytes(&whole);
		if (name.len > 0 && name.ptr[name.len - 1] == '.') {
			name.len--;
		}
		while (name.len > 253) { /* section 7.3: labels are dropped on the left */
			ptrdiff_t dot = bytes_find(name, '.');
			name = dot < 0 ? BYTES_EMPTY : bytes_from(name, (size_t)dot + 1);
		}
		e = buf_append(out, name);
	}
	buf_clear(&whole);
	return e;
}
