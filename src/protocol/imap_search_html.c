/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_search_html.h"

#include <string.h>

enum { REFERENCE_MAX = 12, NAME_MAX_LEN = 16 };

struct page {
	struct bytes html;
	size_t at;
	struct buf *out;
	struct buf links;
	enum err error;
};

static void
put(struct page *p, struct bytes text)
{
	if (p->error == ERR_OK) {
		p->error = buf_append(p->out, text);
	}
}

static void
put_point(struct page *p, struct buf *out, uint32_t c)
{
	uint8_t o[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
		return;
	}
	o[0] = (uint8_t)(n == 1 ? c : (0xf00U >> n | c >> (6 * (n - 1))));
	for (size_t i = 1; i < n; i++) {
		o[i] = (uint8_t)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
	}
	if (p->error == ERR_OK) {
		p->error = buf_append(out, bytes_of(o, n));
	}
}

/* HTML 4's, but those that nobody writes. Names are with case, and in order. */
static const struct {
	const char *name;
	uint16_t point;
} entities[] = {
    {"AElig", 0xc6},   {"Aacute", 0xc1},   {"Acirc", 0xc2},   {"Agrave", 0xc0}, {"Aring", 0xc5},
    {"Atilde", 0xc3},  {"Auml", 0xc4},     {"Ccedil", 0xc7},  {"ETH", 0xd0},    {"Eacute", 0xc9},
    {"Ecirc", 0xca},   {"Egrave", 0xc8},   {"Euml", 0xcb},    {"Iacute", 0xcd}, {"Icirc", 0xce},
    {"Igrave", 0xcc},  {"Iuml", 0xcf},     {"Ntilde", 0xd1},  {"OElig", 0x152}, {"Oacute", 0xd3},
    {"Ocirc", 0xd4},   {"Ograve", 0xd2},   {"Oslash", 0xd8},  {"Otilde", 0xd5}, {"Ouml", 0xd6},
    {"Scaron", 352},   {"THORN", 0xde},    {"Uacute", 0xda},  {"Ucirc", 0xdb},  {"Ugrave", 0xd9},
    {"Uuml", 0xdc},    {"Yacute", 0xdd},   {"aacute", 0xe1},  {"acirc", 0xe2},  {"aelig", 0xe6},
    {"agrave", 0xe0},  {"amp", '&'},       {"apos", '\''},    {"aring", 0xe5},  {"atilde", 0xe3},
    {"auml", 0xe4},    {"bdquo", 0x201e},  {"bull", 0x2022},  {"ccedil", 0xe7}, {"cent", 0xa2},
    {"copy", 0xa9},    {"deg", 0xb0},      {"divide", 0xf7},  {"eacute", 0xe9}, {"ecirc", 0xea},
    {"egrave", 0xe8},  {"eth", 0xf0},      {"euml", 0xeb},    {"euro", 0x20ac}, {"frac12", 0xbd},
    {"gt", '>'},       {"hellip", 0x2026}, {"iacute", 0xed},  {"icirc", 0xee},  {"iexcl", 0xa1},
    {"igrave", 0xec},  {"iquest", 0xbf},   {"iuml", 0xef},    {"laquo", 0xab},  {"ldquo", 0x201c},
    {"lsquo", 0x2018}, {"lt", '<'},        {"mdash", 0x2014}, {"micro", 0xb5},  {"middot", 0xb7},
    {"nbsp", 0xa0},    {"ndash", 0x2013},  {"ntilde", 0xf1},  {"oacute", 0xf3}, {"ocirc", 0xf4},
    {"oelig", 0x153},  {"ograve", 0xf2},   {"ordf", 0xaa},    {"ordm", 0xba},   {"oslash", 0xf8},
    {"otilde", 0xf5},  {"ouml", 0xf6},     {"para", 0xb6},    {"plusmn", 0xb1}, {"pound", 0xa3},
    {"quot", '"'},     {"raquo", 0xbb},    {"rdquo", 0x201d}, {"reg", 0xae},    {"rsquo", 0x2019},
    {"sbquo", 0x201a}, {"scaron", 353},    {"sect", 0xa7},    {"shy", 0xad},    {"szlig", 0xdf},
    {"thorn", 0xfe},   {"times", 0xd7},    {"trade", 0x2122}, {"uacute", 0xfa}, {"ucirc", 0xfb},
    {"ugrave", 0xf9},  {"uuml", 0xfc},     {"yacute", 0xfd},  {"yen", 0xa5},    {"yuml", 0xff},
    {"zwj", 0x200d},   {"zwnj", 0x200c},
};

static uint32_t
entity(struct bytes name)
{
	size_t low = 0;
	size_t high = sizeof(entities) / sizeof(entities[0]);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = bytes_compare(name, bytes_str(entities[middle].name));
		if (order == 0) {
			return entities[middle].point;
		}
		if (order < 0) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	return 0;
}

/* At an ampersand: the octets of a reference, 0 where it is none. */
static size_t
read_reference(struct bytes text, uint32_t *ret)
{
	text = bytes_slice(text, 1, REFERENCE_MAX);
	size_t n = 0;
	uint32_t c = 0;
	if (text.len > 1 && text.ptr[0] == '#') {
		bool hex = text.ptr[1] == 'x' || text.ptr[1] == 'X';
		size_t first = n = hex ? 2 : 1;
		while (n < text.len &&
		       (hex ? strchr("0123456789abcdef", ascii_lower(text.ptr[n])) != NULL && text.ptr[n] != 0
			    : ascii_is_digit(text.ptr[n]))) {
			uint8_t digit = ascii_lower(text.ptr[n]);
			c = c * (hex ? 16 : 10) + (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
			c = c > 0x110000 ? 0x110000 : c;
			n++;
		}
		if (n == first) {
			return 0;
		}
	} else {
		while (n < text.len && ascii_is_alnum(text.ptr[n])) {
			n++;
		}
		struct bytes name = bytes_slice(text, 0, n);
		c = entity(name);
		if (c == 0) {
			return 0;
		}
	}
	*ret = c;
	return 1 + n + (n < text.len && text.ptr[n] == ';' ? 1 : 0);
}

/* Text with references resolved. */
static void
put_text(struct page *p, struct bytes text, struct buf *out)
{
	while (text.len > 0 && p->error == ERR_OK) {
		const uint8_t *mark = memchr(text.ptr, '&', text.len);
		size_t n = mark == NULL ? text.len : (size_t)(mark - text.ptr);
		p->error = buf_append(out, bytes_slice(text, 0, n));
		text = bytes_from(text, n);
		if (text.len > 0 && p->error == ERR_OK) {
			uint32_t c = 0;
			n = read_reference(text, &c);
			if (n > 0) {
				put_point(p, out, c);
			} else {
				n = 1;
				p->error = buf_append(out, bytes_slice(text, 0, 1));
			}
			text = bytes_from(text, n);
		}
	}
}

static bool
is_one_of(struct bytes name, const char *const *names)
{
	uint8_t first = name.len > 0 ? ascii_lower(name.ptr[0]) : 0;
	for (; *names != NULL; names++) {
		if ((uint8_t)(*names)[0] == first && bytes_is_nocase(name, *names)) {
			return true;
		}
	}
	return false;
}

/* Those within a line. Any other tag separates words. */
static bool
is_inline(struct bytes name)
{
	static const char *const names[] = {
	    "a",    "abbr",   "acronym", "b",   "bdi", "bdo",  "big", "cite", "code", "del",  "dfn",
	    "em",   "font",   "i",       "ins", "kbd", "mark", "o:p", "q",    "s",    "samp", "small",
	    "span", "strike", "strong",  "sub", "sup", "tt",   "u",   "var",  "wbr",  NULL};
	return is_one_of(name, names);
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

/* Past the end of the element, whose content is no text: "</script" in any case. Without one, all the rest is skipped. */
static void
skip_raw(struct page *p, struct bytes name)
{
	while (p->at < p->html.len) {
		const uint8_t *mark = memchr(p->html.ptr + p->at, '<', p->html.len - p->at);
		if (mark == NULL) {
			p->at = p->html.len;
			return;
		}
		p->at = (size_t)(mark - p->html.ptr);
		struct bytes here = bytes_from(p->html, p->at + 1);
		if (here.len > name.len && here.ptr[0] == '/' &&
		    bytes_equal_nocase(bytes_slice(here, 1, name.len), name)) {
			return; /* the end tag is read as any other */
		}
		p->at++;
	}
}

/* name, or name=value, or name="value" within a tag; false at its end. */
static bool
read_attribute(struct page *p, struct bytes *ret_name, struct bytes *ret_value)
{
	const uint8_t *s = p->html.ptr;
	size_t n = p->html.len;
	size_t at = p->at;
	while (at < n && (is_blank(s[at]) || s[at] == '/')) {
		at++;
	}
	size_t begin = at;
	while (at < n && !is_blank(s[at]) && s[at] != '=' && s[at] != '>' && (s[at] != '/' || at == begin)) {
		at++;
	}
	*ret_name = bytes_slice(p->html, begin, at - begin);
	*ret_value = BYTES_EMPTY;
	while (at < n && is_blank(s[at])) {
		at++;
	}
	if (at < n && s[at] == '=') {
		at++;
		while (at < n && is_blank(s[at])) {
			at++;
		}
		uint8_t quote = at < n && (s[at] == '"' || s[at] == '\'') ? s[at++] : 0;
		begin = at;
		while (at < n && (quote != 0 ? s[at] != quote : !is_blank(s[at]) && s[at] != '>')) {
			at++;
		}
		*ret_value = bytes_slice(p->html, begin, at - begin);
		at += quote != 0 && at < n ? 1 : 0;
	}
	p->at = at;
	return at < n && (s[at] != '>' || ret_name->len > 0);
}

/* At the '<' of a tag. */
static void
read_tag(struct page *p)
{
	static const char *const raw[] = {"script", "style", NULL};
	static const char *const told[] = {"href", "alt", "title", NULL};
	size_t at = p->at + 1;
	bool ends = at < p->html.len && p->html.ptr[at] == '/';
	at += ends ? 1 : 0;
	size_t begin = at;
	while (at < p->html.len && at - begin < NAME_MAX_LEN &&
	       (ascii_is_alnum(p->html.ptr[at]) || p->html.ptr[at] == ':')) {
		at++;
	}
	struct bytes name = bytes_slice(p->html, begin, at - begin);
	struct bytes attribute;
	struct bytes value;
	p->at = at;
	while (p->at < p->html.len && p->html.ptr[p->at] != '>' && read_attribute(p, &attribute, &value)) {
		if (value.len > 0 && is_one_of(attribute, told)) {
			put_text(p, value, &p->links);
			p->error = p->error == ERR_OK ? buf_append_byte(&p->links, '\n') : p->error;
		}
	}
	p->at += p->at < p->html.len ? 1 : 0;
	if (!is_inline(name)) {
		put(p, BYTES_LIT("\n"));
	}
	if (!ends && is_one_of(name, raw)) {
		skip_raw(p, name);
	}
}

/* At a '<': a comment, declaration or tag is taken; false where it is a mere sign. */
static bool
read_markup(struct page *p)
{
	struct bytes here = bytes_from(p->html, p->at);
	if (bytes_starts_with(here, "<!--")) {
		ptrdiff_t end = bytes_search(bytes_from(here, 4), BYTES_LIT("-->"));
		p->at = end < 0 ? p->html.len : p->at + 4 + (size_t)end + 3;
		return true;
	}
	if (here.len > 1 && (here.ptr[1] == '!' || here.ptr[1] == '?')) {
		ptrdiff_t end = bytes_find(here, '>');
		p->at = end < 0 ? p->html.len : p->at + (size_t)end + 1;
		return true;
	}
	if (here.len > 1 && (ascii_is_alpha(here.ptr[1]) || here.ptr[1] == '/')) {
		read_tag(p);
		return true;
	}
	return false;
}

enum err
imap_search_html(struct bytes html, struct buf *out)
{
	struct page p = {.html = html, .out = out, .links = BUF_INIT(html.len + 64), .error = ERR_OK};
	while (p.at < html.len && p.error == ERR_OK) {
		const uint8_t *mark = memchr(html.ptr + p.at, '<', html.len - p.at);
		size_t end = mark == NULL ? html.len : (size_t)(mark - html.ptr);
		put_text(&p, bytes_slice(html, p.at, end - p.at), out);
		p.at = end;
		if (p.at < html.len && !read_markup(&p)) {
			put(&p, BYTES_LIT("<"));
			p.at++;
		}
	}
	if (p.links.len > 0) {
		put(&p, BYTES_LIT("\n"));
		put(&p, buf_bytes(&p.links));
	}
	buf_wipe(&p.links);
	return p.error;
}
