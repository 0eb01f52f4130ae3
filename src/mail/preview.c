/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/preview.h"

#include <string.h>

#include "mail/charset.h"
#include "mail/decode.h"

/* Takes text octet by octet, keeps the first characters of it. The text is valid UTF-8, but may be cut anywhere. */
struct sink {
	struct buf *out;
	enum err error;
	size_t characters;
	bool blank; /* a blank is due before the next character */
	uint8_t held[4];
	size_t held_len;
	size_t held_want;
};

static bool
is_full(const struct sink *s)
{
	return s->error != ERR_OK || s->characters >= MAIL_PREVIEW_CHARACTERS;
}

static bool
is_blank(uint32_t c)
{
	return c <= 0x20 || c == 0x7f || (c >= 0x80 && c <= 0xa0) || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
	       c == 0x3000;
}

/* Takes no room, and says nothing: newsletters pad their first line with such; directions must not leak into the client's list. */
static bool
is_invisible(uint32_t c)
{
	return c == 0xad || c == 0x34f || (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static void
put_character(struct sink *s, uint32_t c, struct bytes utf8)
{
	if (is_invisible(c) || is_full(s)) {
		return;
	}
	if (is_blank(c)) {
		s->blank = s->characters > 0;
		return;
	}
	if (s->blank && s->characters + 1 < MAIL_PREVIEW_CHARACTERS) {
		s->error = buf_append_byte(s->out, ' ');
		s->characters++;
	}
	s->blank = false;
	if (s->error == ERR_OK) {
		s->error = buf_append(s->out, utf8);
		s->characters++;
	}
}

static void
put_octet(struct sink *s, uint8_t c)
{
	if (c < 0x80) {
		s->held_len = 0;
		put_character(s, c, bytes_of(&c, 1));
		return;
	}
	if (c >= 0xc0) {
		s->held_len = 0;
		s->held_want = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	} else if (s->held_len == 0) {
		return;
	}
	s->held[s->held_len++] = c;
	if (s->held_len < s->held_want) {
		return;
	}
	uint32_t code = s->held[0] & (0x7fU >> s->held_want);
	for (size_t i = 1; i < s->held_want; i++) {
		code = code << 6 | (s->held[i] & 0x3fU);
	}
	put_character(s, code, bytes_of(s->held, s->held_len));
	s->held_len = 0;
}

static void
put_code(struct sink *s, uint32_t c)
{
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
		c = 0xfffd;
	}
	if (c < 0x80) {
		put_octet(s, (uint8_t)c);
		return;
	}
	size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
	put_octet(s, (uint8_t)(first[more] | c >> (6 * more)));
	while (more-- > 0) {
		put_octet(s, (uint8_t)(0x80 | (c >> (6 * more) & 0x3f)));
	}
}

/* ---- plain text ---- */

static void
take_plain(struct sink *s, struct bytes text)
{
	size_t at = 0;
	while (at < text.len && !is_full(s)) {
		ptrdiff_t end = bytes_find(bytes_from(text, at), '\n');
		size_t next = end < 0 ? text.len : at + (size_t)end + 1;
		/* What was answered to is not what is said. */
		if (text.ptr[at] != '>') {
			for (size_t i = at; i < next; i++) {
				put_octet(s, text.ptr[i]);
			}
		}
		at = next;
	}
}

/* ---- HTML ---- */

struct entity {
	const char *name;
	uint32_t code;
};

static const struct entity entities[] = {
    {"amp", '&'},      {"lt", '<'},        {"gt", '>'},       {"quot", '"'},     {"apos", '\''},
    {"nbsp", 0xa0},    {"shy", 0xad},      {"zwnj", 0x200c},  {"zwj", 0x200d},   {"ndash", 0x2013},
    {"mdash", 0x2014}, {"lsquo", 0x2018},  {"rsquo", 0x2019}, {"ldquo", 0x201c}, {"rdquo", 0x201d},
    {"bull", 0x2022},  {"hellip", 0x2026}, {"euro", 0x20ac},  {"copy", 0xa9},    {"reg", 0xae},
    {"laquo", 0xab},   {"raquo", 0xbb},    {"eacute", 0xe9},  {"egrave", 0xe8},  {"agrave", 0xe0},
    {"ccedil", 0xe7},  {"auml", 0xe4},     {"ouml", 0xf6},    {"uuml", 0xfc},    {"szlig", 0xdf},
};

/* Text behind '&': what it stands for, and how long it is; 0: it is no entity. */
static size_t
entity_at(struct bytes text, uint32_t *ret_code)
{
	enum { ENTITY_MAX = 10 };
	ptrdiff_t end = bytes_find(bytes_slice(text, 0, ENTITY_MAX), ';');
	if (end < 1) {
		return 0;
	}
	struct bytes name = bytes_slice(text, 0, (size_t)end);
	if (name.ptr[0] == '#') {
		bool hex = name.len > 1 && (name.ptr[1] == 'x' || name.ptr[1] == 'X');
		uint32_t code = 0;
		size_t i = hex ? 2 : 1;
		if (i == name.len) {
			return 0;
		}
		for (; i < name.len; i++) {
			uint8_t c = name.ptr[i];
			uint8_t lower = c | 0x20;
			if (!ascii_is_digit(c) && (!hex || lower < 'a' || lower > 'f')) {
				return 0;
			}
			uint32_t digit = ascii_is_digit(c) ? c - (uint32_t)'0' : lower - (uint32_t)'a' + 10;
			code = code * (hex ? 16 : 10) + digit; /* eight digits at most: within 32 bits */
		}
		*ret_code = code;
		return name.len + 1;
	}
	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
		if (bytes_is(name, entities[i].name)) {
			*ret_code = entities[i].code;
			return name.len + 1;
		}
	}
	return 0;
}

static struct bytes
tag_name(struct bytes tag)
{
	size_t start = tag.len > 0 && tag.ptr[0] == '/' ? 1 : 0;
	size_t end = start;
	while (end < tag.len && (ascii_is_digit(tag.ptr[end]) ||
				 ((tag.ptr[end] | 0x20) >= 'a' && (tag.ptr[end] | 0x20) <= 'z'))) {
		end++;
	}
	return bytes_slice(tag, start, end - start);
}

static bool
is_one_of(struct bytes name, const char *const *names)
{
	while (*names != NULL && !bytes_is_nocase(name, *names)) {
		names++;
	}
	return *names != NULL;
}

/* Behind the '>' that ends a tag which begins at `at`; quotes are honoured until one is found that never ends. */
static size_t
tag_end(struct bytes text, size_t at, bool *quotes)
{
	uint8_t quote = 0;
	for (size_t i = at; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (quote != 0) {
			quote = c == quote ? 0 : quote;
		} else if (c == '>') {
			return i + 1;
		} else if (*quotes && (c == '"' || c == '\'') && i > at && text.ptr[i - 1] == '=') {
			quote = c;
		}
	}
	if (quote != 0) {
		*quotes = false;
		return tag_end(text, at, quotes); /* once: without quotes there is none to stay open */
	}
	return text.len;
}

/* Where "</name" stands from `at` on; the end where it does not. */
static size_t
close_of(struct bytes text, size_t at, struct bytes name)
{
	for (; at + 2 + name.len <= text.len; at++) {
		if (text.ptr[at] == '<' && text.ptr[at + 1] == '/' &&
		    bytes_equal_nocase(bytes_slice(text, at + 2, name.len), name)) {
			return at;
		}
	}
	return text.len;
}

static void
take_html(struct sink *s, struct bytes text)
{
	static const char *const unseen[] = {"style", "script", "title", "noscript", "template", NULL};
	static const char *const within_words[] = {"a",   "abbr", "b", "big",   "code", "em",     "font",
						   "i",   "mark", "s", "small", "span", "strong", "sub",
						   "sup", "tt",   "u", "wbr",   NULL};
	bool quotes = true;
	size_t at = 0;
	while (at < text.len && !is_full(s)) {
		uint8_t c = text.ptr[at];
		if (c == '&') {
			uint32_t code = 0;
			size_t len = entity_at(bytes_from(text, at + 1), &code);
			if (len > 0) {
				put_code(s, code);
				at += 1 + len;
				continue;
			}
		}
		if (c != '<') {
			put_octet(s, c);
			at++;
			continue;
		}
		struct bytes rest = bytes_from(text, at + 1);
		if (bytes_starts_with_nocase(rest, "!--")) {
			size_t i = at + 4;
			while (i + 3 <= text.len && memcmp(text.ptr + i, "-->", 3) != 0) {
				i++;
			}
			at = i + 3 <= text.len ? i + 3 : text.len;
			continue;
		}
		struct bytes name = tag_name(rest);
		if (name.len == 0 &&
		    (rest.len == 0 || (rest.ptr[0] != '!' && rest.ptr[0] != '?' && rest.ptr[0] != '/'))) {
			put_octet(s, c); /* a sign, not a tag */
			at++;
			continue;
		}
		if (!is_one_of(name, within_words)) {
			put_octet(s, ' ');
		}
		at = tag_end(text, at + 1, &quotes);
		if (rest.len > 0 && rest.ptr[0] != '/' && is_one_of(name, unseen)) {
			at = close_of(text, at, name);
		}
	}
}

/* ---- parts ---- */

enum err
mail_preview_part(const struct mail_structure *s, uint32_t *ret_part)
{
	static const char *const subtypes[] = {"plain", "html"};
	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < s->count; i++) {
			const struct mail_part *p = &s->parts[i];
			if (p->kind == MAIL_PART_LEAF && bytes_is_nocase(p->type, "text") &&
			    bytes_is_nocase(p->subtype, subtypes[k]) && p->body_len > 0 &&
			    !bytes_is_nocase(p->disposition, "attachment")) {
				*ret_part = (uint32_t)i;
				return ERR_OK;
			}
		}
	}
	return ERR_NOT_FOUND;
}

enum err
mail_preview(const struct mail_part *part, struct bytes octets, struct buf *out)
{
	struct buf plain = BUF_INIT(MAIL_PREVIEW_OCTETS + 128);
	struct buf text = BUF_INIT(8 * MAIL_PREVIEW_OCTETS);
	struct bytes charset = BYTES_EMPTY;
	enum err e = mail_decode(mail_encoding_of(part->encoding),
				 bytes_slice(octets, 0, MAIL_PREVIEW_OCTETS), &plain);
	if (e == ERR_OK) {
		if (!mail_param_find(&part->params, "charset", &charset)) {
			charset = BYTES_LIT("utf-8");
		}
		e = mail_charset_to_utf8(charset, buf_bytes(&plain), &text);
		if (e == ERR_UNSUPPORTED) {
			e = mail_charset_to_utf8(BYTES_LIT("utf-8"), buf_bytes(&plain), &text);
		}
	}
	struct sink s = {.out = out, .error = ERR_OK};
	if (e == ERR_OK) {
		if (bytes_is_nocase(part->subtype, "html")) {
			take_html(&s, buf_bytes(&text));
		} else {
			take_plain(&s, buf_bytes(&text));
		}
		e = s.error;
	}
	buf_wipe(&plain);
	buf_wipe(&text);
	return e;
}
