/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#define REPLACEMENT BYTES_LIT("\xef\xbf\xbd")

enum { NAME_MAX_LEN = 40, PIECE = 512 };

/* Names that mail uses for what another one means, or for what iconv knows better under another name (WHATWG Encoding §4.2). */
static const struct {
	const char *alias, *name;
} aliases[] = {
    {"ascii", "us-ascii"},
    {"ansi_x3.4-1968", "us-ascii"},
    {"iso646-us", "us-ascii"},
    {"utf8", "utf-8"},
    {"unicode-1-1-utf-8", "utf-8"},
    {"latin1", "iso-8859-1"},
    {"iso8859-1", "iso-8859-1"},
    {"iso_8859-1", "iso-8859-1"},
    {"l1", "iso-8859-1"},
    {"cp1252", "windows-1252"},
    {"x-cp1252", "windows-1252"},
    {"x-sjis", "shift_jis"},
    {"gb2312", "gbk"},
    {"x-gbk", "gbk"},
    {"ks_c_5601-1987", "cp949"},
    {"euc-kr", "cp949"},
    {"x-windows-949", "cp949"},
    {"iso-8859-8-i", "iso-8859-8"},
    {"big5", "big5-hkscs"},
    {"x-big5", "big5-hkscs"},
    {"iso-2022-jp", "iso-2022-jp-2"},
    {"unknown-8bit", "windows-1252"},
    {"x-unknown", "windows-1252"},
    {"default", "windows-1252"},
};

static struct {
	const char *name;
	iconv_t converter;
	bool open;
} cache[] = {
    {.name = "iso-8859-2"},   {.name = "iso-8859-3"},    {.name = "iso-8859-4"},   {.name = "iso-8859-5"},
    {.name = "iso-8859-6"},   {.name = "iso-8859-7"},    {.name = "iso-8859-8"},   {.name = "iso-8859-9"},
    {.name = "iso-8859-10"},  {.name = "iso-8859-13"},   {.name = "iso-8859-14"},  {.name = "iso-8859-15"},
    {.name = "iso-8859-16"},  {.name = "windows-1250"},  {.name = "windows-1251"}, {.name = "windows-1253"},
    {.name = "windows-1254"}, {.name = "windows-1255"},  {.name = "windows-1256"}, {.name = "windows-1257"},
    {.name = "windows-1258"}, {.name = "windows-874"},   {.name = "koi8-r"},       {.name = "koi8-u"},
    {.name = "gbk"},          {.name = "gb18030"},       {.name = "big5-hkscs"},   {.name = "cp949"},
    {.name = "euc-jp"},       {.name = "iso-2022-jp-2"}, {.name = "iso-2022-kr"},  {.name = "shift_jis"},
    {.name = "tis-620"},      {.name = "utf-7"},         {.name = "utf-16"},       {.name = "utf-16le"},
    {.name = "utf-16be"},     {.name = "utf-32"},        {.name = "macintosh"},    {.name = "cp437"},
    {.name = "cp850"},        {.name = "cp866"},         {.name = "cp932"},
};
static bool preloaded;

static bool
is_bad(iconv_t c)
{
	return c == (iconv_t)-1; /* NOLINT: this is how iconv_open says it */
}

void
mail_charset_preload(void)
{
	for (size_t i = 0; i < sizeof(cache) / sizeof(cache[0]); i++) {
		if (!cache[i].open) {
			cache[i].converter = iconv_open("UTF-8", cache[i].name);
			cache[i].open = !is_bad(cache[i].converter);
		}
	}
	preloaded = true;
}

void
mail_charset_unload(void)
{
	for (size_t i = 0; i < sizeof(cache) / sizeof(cache[0]); i++) {
		if (cache[i].open) {
			(void)iconv_close(cache[i].converter);
			cache[i].open = false;
		}
	}
	preloaded = false;
}

/* The charset's own name in lower case; false where no name can be so. */
static bool
canonical(struct bytes charset, char ret[NAME_MAX_LEN + 1])
{
	charset = bytes_trim(charset);
	if (charset.len == 0 || charset.len > NAME_MAX_LEN) {
		return false;
	}
	for (size_t i = 0; i < charset.len; i++) {
		uint8_t c = ascii_lower(charset.ptr[i]);
		/* No '/', which would carry options into iconv. */
		if (!ascii_is_alnum(c) && strchr("-_.:+()", c) == NULL) {
			return false;
		}
		ret[i] = (char)c;
	}
	ret[charset.len] = '\0';
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (strcmp(ret, aliases[i].alias) == 0) {
			(void)memcpy(ret, aliases[i].name, strlen(aliases[i].name) + 1);
			break;
		}
	}
	return true;
}

static enum err
append_point(uint32_t p, struct buf *out)
{
	uint8_t b[4];
	size_t n;
	if (p < 0x80) {
		return buf_append_byte(out, (uint8_t)p);
	}
	if (p < 0x800) {
		b[0] = (uint8_t)(0xc0 | p >> 6);
		b[1] = (uint8_t)(0x80 | (p & 0x3f));
		n = 2;
	} else {
		b[0] = (uint8_t)(0xe0 | p >> 12);
		b[1] = (uint8_t)(0x80 | (p >> 6 & 0x3f));
		b[2] = (uint8_t)(0x80 | (p & 0x3f));
		n = 3;
	}
	return buf_append(out, bytes_of(b, n));
}

/* ISO-8859-1 labels mean windows-1252 in practice (WHATWG Encoding §4.2). */
static enum err
from_windows_1252(struct bytes text, struct buf *out)
{
	static const uint16_t high[32] = {
	    0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
	    0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178,
	};
	enum err e = ERR_OK;
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		uint8_t c = text.ptr[i];
		e = append_point(c >= 0x80 && c < 0xa0 ? high[c - 0x80] : c, out);
	}
	return e;
}

/* Octets of the well-formed sequence at the front, 0 where it is none. */
static size_t
utf8_sequence(struct bytes text)
{
	for (size_t n = 1; n <= 4 && n <= text.len; n++) {
		if (bytes_is_utf8(bytes_slice(text, 0, n))) {
			return n;
		}
	}
	return 0;
}

static enum err
from_utf8(struct bytes text, struct buf *out)
{
	if (bytes_is_utf8(text)) {
		return buf_append(out, text);
	}
	enum err e = ERR_OK;
	while (text.len > 0 && e == ERR_OK) {
		size_t n = utf8_sequence(text);
		e = n > 0 ? buf_append(out, bytes_slice(text, 0, n)) : buf_append(out, REPLACEMENT);
		text = bytes_from(text, n > 0 ? n : 1);
	}
	return e;
}

static enum err
from_ascii(struct bytes text, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		e = text.ptr[i] < 0x80 ? buf_append_byte(out, text.ptr[i]) : buf_append(out, REPLACEMENT);
	}
	return e;
}

static enum err
from_iconv(iconv_t converter, struct bytes text, struct buf *out)
{
	char piece[PIECE];
	/* iconv does not write through its input, though its type says so. */
	union {
		const uint8_t *in;
		char *iconv;
	} from = {.in = text.ptr};
	size_t left = text.len;
	enum err e = ERR_OK;
	(void)iconv(converter, NULL, NULL, NULL, NULL);
	for (bool flush = false; e == ERR_OK;) {
		char *to = piece;
		size_t room = sizeof(piece);
		size_t before = left;
		size_t got = flush ? iconv(converter, NULL, NULL, &to, &room)
				   : iconv(converter, &from.iconv, &left, &to, &room);
		int error = got == (size_t)-1 ? errno : 0;
		e = buf_append(out, bytes_of(piece, sizeof(piece) - room));
		if (e != ERR_OK || (flush && error == 0)) {
			break;
		}
		if (error == 0) {
			flush = true;
		} else if (error == E2BIG && (left < before || room < sizeof(piece))) {
			continue;
		} else if (left > 0) {
			/* Wrong or unfinished: one octet is given up. */
			e = buf_append(out, REPLACEMENT);
			from.in++;
			left--;
		} else {
			break;
		}
	}
	return e;
}

static enum err
convert(const char *name, struct bytes text, struct buf *out)
{
	if (strcmp(name, "us-ascii") == 0) {
		return from_ascii(text, out);
	}
	if (strcmp(name, "utf-8") == 0) {
		return from_utf8(text, out);
	}
	if (strcmp(name, "iso-8859-1") == 0 || strcmp(name, "windows-1252") == 0) {
		return from_windows_1252(text, out);
	}
	for (size_t i = 0; i < sizeof(cache) / sizeof(cache[0]); i++) {
		if (cache[i].open && strcmp(cache[i].name, name) == 0) {
			return from_iconv(cache[i].converter, text, out);
		}
	}
	if (preloaded) {
		return ERR_UNSUPPORTED;
	}
	iconv_t converter = iconv_open("UTF-8", name);
	if (is_bad(converter)) {
		return ERR_UNSUPPORTED;
	}
	enum err e = from_iconv(converter, text, out);
	(void)iconv_close(converter);
	return e;
}

enum err
mail_charset_to_utf8(struct bytes charset, struct bytes text, struct buf *out)
{
	char name[NAME_MAX_LEN + 1];
	size_t mark = out->len;
	if (!canonical(charset, name)) {
		return ERR_UNSUPPORTED;
	}
	enum err e = convert(name, text, out);
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}

bool
mail_charset_known(struct bytes charset)
{
	struct buf none = BUF_INIT(64);
	enum err e = mail_charset_to_utf8(charset, BYTES_EMPTY, &none);
	buf_clear(&none);
	return e == ERR_OK;
}
