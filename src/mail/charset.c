/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT BYTES_LIT("\xef\xbf\xbd")

enum { NAME_MAX_LEN = 40, PIECE = 512 };

/*
 * Labels for what has another name here: those of WHATWG Encoding section 4.2, IANA's, and others seen in mail. What is read as something
 * wider is so there, too: ISO-8859-1 as windows-1252, EUC-KR as cp949, Shift_JIS as cp932, GB2312 as GBK.
 */
static const struct {
	const char *name, *labels; /* with a space before and behind each */
} aliases[] = {
    {"us-ascii",
     " ascii ansi_x3.4-1968 ansi_x3.4-1986 iso646-us iso_646.irv:1991 iso-ir-6 us ibm367 cp367 csascii "},
    {"utf-8", " utf8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 csutf8 "},
    {"iso-8859-1",
     " latin1 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 iso-ir-100 l1 ibm819 cp819 csisolatin1 "},
    {"windows-1252", " cp1252 x-cp1252 ansi cswindows1252 unknown-8bit x-unknown x-user-defined default "},
    {"windows-1250", " cp1250 x-cp1250 cswindows1250 "},
    {"windows-1251", " cp1251 x-cp1251 cswindows1251 "},
    {"windows-1253", " cp1253 x-cp1253 cswindows1253 "},
    {"windows-1254", " cp1254 x-cp1254 cswindows1254 "},
    {"windows-1255", " cp1255 x-cp1255 cswindows1255 "},
    {"windows-1256", " cp1256 x-cp1256 cswindows1256 "},
    {"windows-1257", " cp1257 x-cp1257 cswindows1257 "},
    {"windows-1258", " cp1258 x-cp1258 cswindows1258 "},
    {"windows-874",
     " cp874 x-cp874 dos-874 ibm874 cswindows874 iso-8859-11 iso8859-11 iso885911 tis-620 tis620 cstis620 "},
    {"iso-8859-2", " iso8859-2 iso88592 iso_8859-2 iso-ir-101 latin2 l2 csisolatin2 iso_8859-2:1987 "},
    {"iso-8859-3", " iso8859-3 iso88593 iso_8859-3 iso-ir-109 latin3 l3 csisolatin3 iso_8859-3:1988 "},
    {"iso-8859-4", " iso8859-4 iso88594 iso_8859-4 iso-ir-110 latin4 l4 csisolatin4 iso_8859-4:1988 "},
    {"iso-8859-5", " iso8859-5 iso88595 iso_8859-5 iso-ir-144 cyrillic csisolatincyrillic iso_8859-5:1988 "},
    {"iso-8859-6", " iso8859-6 iso88596 iso_8859-6 iso-ir-127 arabic asmo-708 ecma-114 csisolatinarabic "
		   "iso_8859-6:1987 iso-8859-6-e iso-8859-6-i csiso88596e csiso88596i "},
    {"iso-8859-7", " iso8859-7 iso88597 iso_8859-7 iso-ir-126 greek greek8 elot_928 ecma-118 sun_eu_greek "
		   "csisolatingreek iso_8859-7:1987 "},
    {"iso-8859-8", " iso8859-8 iso88598 iso_8859-8 iso-ir-138 hebrew visual logical csisolatinhebrew "
		   "iso_8859-8:1988 iso-8859-8-e iso-8859-8-i csiso88598e csiso88598i "},
    {"iso-8859-9", " iso8859-9 iso88599 iso_8859-9 iso-ir-148 latin5 l5 csisolatin5 iso_8859-9:1989 "},
    {"iso-8859-10", " iso8859-10 iso885910 iso_8859-10 iso-ir-157 latin6 l6 csisolatin6 "},
    {"iso-8859-13", " iso8859-13 iso885913 iso_8859-13 latin7 l7 csiso885913 "},
    {"iso-8859-14", " iso8859-14 iso885914 iso_8859-14 iso-ir-199 latin8 l8 iso-celtic csiso885914 "},
    {"iso-8859-15",
     " iso8859-15 iso885915 iso_8859-15 iso-ir-203 latin9 latin-9 l9 csisolatin9 csiso885915 "},
    {"iso-8859-16", " iso8859-16 iso885916 iso_8859-16 iso-ir-226 latin10 l10 csiso885916 "},
    {"koi8-r", " koi koi8 koi8_r cskoi8r "},
    {"koi8-u", " koi8-ru cskoi8u "},
    {"gbk", " gb2312 gb_2312-80 gb_2312 chinese csgb2312 csiso58gb231280 iso-ir-58 x-gbk cp936 ms936 "
	    "windows-936 csgbk euc-cn euccn x-euc-cn "},
    {"hz-gb-2312", " hz "},
    {"gb18030", " csgb18030 "},
    {"big5-hkscs", " big5 big5hkscs csbig5 cn-big5 x-x-big5 x-big5 cp950 windows-950 csbig5hkscs "},
    {"cp949", " ks_c_5601-1987 ks_c_5601-1989 ksc_5601 ksc5601 csksc56011987 iso-ir-149 korean euc-kr euckr "
	      "cseuckr windows-949 x-windows-949 uhc "},
    {"euc-jp", " eucjp x-euc-jp x-euc cseucpkdfmtjapanese "},
    {"iso-2022-jp-2", " iso-2022-jp csiso2022jp csiso2022jp2 "},
    {"iso-2022-kr", " csiso2022kr "},
    {"cp932", " shift_jis shift-jis sjis x-sjis ms_kanji csshiftjis windows-31j cswindows31j ms932 ibm943 "
	      "windows-932 "},
    {"johab", " cp1361 ms1361 x-johab "},
    {"utf-7", " unicode-1-1-utf-7 csunicode11utf7 utf7 csutf7 x-unicode-2-0-utf-7 "},
    {"utf-16", " csutf16 unicode iso-10646-ucs-2 ucs-2 csunicode "},
    {"utf-16le", " csutf16le unicodefffe "},
    {"utf-16be", " csutf16be unicodefeff "},
    {"utf-32", " csutf32 ucs-4 iso-10646-ucs-4 csucs4 "},
    {"macintosh", " mac csmacintosh x-mac-roman macroman "},
    {"mac-cyrillic", " x-mac-cyrillic maccyrillic x-mac-ukrainian mac-ukrainian "},
    {"cp437", " ibm437 437 cspc8codepage437 "},
    {"cp850", " ibm850 850 cspc850multilingual "},
    {"cp852", " ibm852 852 cspcp852 "},
    {"cp855", " ibm855 855 csibm855 "},
    {"cp857", " ibm857 857 csibm857 "},
    {"cp858", " ibm858 ibm00858 ccsid00858 cspc858multilingual "},
    {"cp862", " ibm862 862 cspc862latinhebrew dos-862 "},
    {"cp866", " ibm866 866 csibm866 "},
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
    {.name = "euc-jp"},       {.name = "iso-2022-jp-2"}, {.name = "iso-2022-kr"},  {.name = "johab"},
    {.name = "mac-cyrillic"}, {.name = "utf-7"},         {.name = "utf-16"},       {.name = "utf-16le"},
    {.name = "utf-16be"},     {.name = "utf-32"},        {.name = "macintosh"},    {.name = "cp437"},
    {.name = "cp850"},        {.name = "cp852"},         {.name = "cp855"},        {.name = "cp857"},
    {.name = "cp858"},        {.name = "cp862"},         {.name = "cp866"},        {.name = "cp932"},
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

/* The charset's name in lower case; false where no name can be so. */
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
	return true;
}

/* A label's own name, in place. */
static void
resolve(char name[NAME_MAX_LEN + 1])
{
	char label[NAME_MAX_LEN + 3];
	(void)snprintf(label, sizeof(label), " %s ", name);
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (strstr(aliases[i].labels, label) != NULL) {
			(void)memcpy(name, aliases[i].name, strlen(aliases[i].name) + 1);
			return;
		}
	}
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

static enum err convert(const char *name, struct bytes text, struct buf *out);

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

/* HZ (RFC 1843), which this iconv does not know, is GB2312 in seven bits, between "~{" and "~}" of one line. */
static enum err
from_hz(struct bytes text, struct buf *out)
{
	struct buf wide = BUF_INIT(text.len + 1);
	enum err e = ERR_OK;
	bool within = false;
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		uint8_t c = text.ptr[i];
		uint8_t next = i + 1 < text.len ? text.ptr[i + 1] : 0;
		if (c == '~' && (next == '{' || next == '}' || next == '~' || next == '\n')) {
			within = next == '{' || (within && next == '~');
			e = next == '~' ? buf_append_byte(&wide, '~') : ERR_OK;
			i++;
		} else if (within && c > 0x20 && c < 0x7f && next > 0x20 && next < 0x7f) {
			uint8_t pair[2] = {(uint8_t)(c | 0x80), (uint8_t)(next | 0x80)};
			e = buf_append(&wide, bytes_of(pair, 2));
			i++;
		} else {
			within = within && c != '\n';
			e = buf_append_byte(&wide, c & 0x7f);
		}
	}
	if (e == ERR_OK) {
		e = convert("gbk", buf_bytes(&wide), out);
	}
	buf_wipe(&wide);
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
	if (strcmp(name, "hz-gb-2312") == 0) {
		return from_hz(text, out);
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
	resolve(name);
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

bool
mail_charset_is_wide(struct bytes charset)
{
	char name[NAME_MAX_LEN + 1];
	if (!canonical(charset, name)) {
		return false;
	}
	resolve(name);
	return strncmp(name, "utf-16", 6) == 0 || strncmp(name, "utf-32", 6) == 0;
}
