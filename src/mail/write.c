/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/write.h"

#include <string.h>

#include "base/calendar.h"

enum {
	FOLD_AT = 76,
	LINE_LIMIT = 990, /* under the 998 of RFC 5322 §2.1.1, with room for a name */
	WORD_OCTETS = 45  /* gives 60 of base64: an encoded word of 72 (RFC 2047 §2) */
};

static bool
is_name(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= 32 || name.ptr[i] >= 127 || name.ptr[i] == ':') {
			return false;
		}
	}
	return name.len > 0 && name.len <= 200;
}

static uint8_t
harmless(uint8_t c)
{
	return c < 32 || c == 127 ? (uint8_t)' ' : c;
}

/* Appends one run without blanks, cut where it is longer than a line may be. */
static enum err
put_run(struct buf *out, struct bytes run, size_t *column)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < run.len && e == ERR_OK; i++) {
		/* Not in the middle of a UTF-8 sequence. */
		if (*column >= LINE_LIMIT && (run.ptr[i] & 0xc0) != 0x80) {
			e = buf_append_str(out, "\r\n ");
			*column = 1;
		}
		if (e == ERR_OK) {
			e = buf_append_byte(out, run.ptr[i]);
			(*column)++;
		}
	}
	return e;
}

/* Blanks are kept but at the ends; a line is folded before a blank where the next run would pass FOLD_AT. */
static enum err
put_folded(struct buf *out, struct bytes value, size_t column)
{
	enum err e = ERR_OK;
	size_t i = 0;
	bool line_has_run = false;
	while (i < value.len && e == ERR_OK) {
		size_t blank = i;
		while (i < value.len && harmless(value.ptr[i]) == ' ') {
			i++;
		}
		size_t blanks = i - blank;
		size_t run = i;
		while (i < value.len && harmless(value.ptr[i]) != ' ') {
			i++;
		}
		if (i == run) {
			break; /* blanks at the end */
		}
		/* A long row of blanks is one blank: no line may consist of blanks alone. */
		blanks = blanks > 8 ? 1 : blanks;
		if (line_has_run && blanks > 0 && column + blanks + (i - run) > FOLD_AT) {
			e = buf_append_str(out, "\r\n");
			column = 0;
		}
		for (size_t k = 0; k < blanks && e == ERR_OK; k++) {
			e = buf_append_byte(out, ' ');
			column++;
		}
		if (e == ERR_OK) {
			e = put_run(out, bytes_slice(value, run, i - run), &column);
		}
		line_has_run = true;
	}
	return e == ERR_OK ? buf_append_str(out, "\r\n") : e;
}

enum err
mail_write_field(struct buf *out, const char *name, struct bytes value)
{
	size_t mark = out->len;
	struct bytes n = bytes_str(name);
	if (!is_name(n)) {
		return ERR_FORMAT;
	}
	while (value.len > 0 && harmless(value.ptr[0]) == ' ') {
		value = bytes_from(value, 1);
	}
	enum err e = buf_append(out, n);
	if (e == ERR_OK) {
		e = buf_append_str(out, ": ");
	}
	if (e == ERR_OK) {
		e = put_folded(out, value, n.len + 2);
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}

static bool
is_plain(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < 32 || text.ptr[i] > 126) {
			return false;
		}
	}
	return bytes_search(text, BYTES_LIT("=?")) < 0;
}

enum err
mail_encode_words(struct buf *out, struct bytes utf8)
{
	enum err e = ERR_OK;
	if (is_plain(utf8)) {
		return buf_append(out, utf8);
	}
	for (size_t i = 0; i < utf8.len && e == ERR_OK;) {
		size_t n = utf8.len - i > WORD_OCTETS ? WORD_OCTETS : utf8.len - i;
		/* Whole characters only (RFC 2047 §5). */
		while (n > 1 && i + n < utf8.len && (utf8.ptr[i + n] & 0xc0) == 0x80) {
			n--;
		}
		e = buf_append_str(out, i == 0 ? "=?UTF-8?B?" : " =?UTF-8?B?");
		if (e == ERR_OK) {
			e = buf_append_base64(out, bytes_slice(utf8, i, n));
		}
		if (e == ERR_OK) {
			e = buf_append_str(out, "?=");
		}
		i += n;
	}
	return e;
}

enum err
mail_write_text_field(struct buf *out, const char *name, struct bytes utf8)
{
	struct buf words = BUF_INIT(utf8.len > SIZE_MAX / 8 ? SIZE_MAX / 2 : utf8.len * 4 + 256);
	enum err e = mail_encode_words(&words, utf8);
	if (e == ERR_OK) {
		e = mail_write_field(out, name, buf_bytes(&words));
	}
	buf_wipe(&words);
	return e;
}

enum err
mail_write_phrase(struct buf *out, struct bytes utf8)
{
	bool atoms = true;
	for (size_t i = 0; i < utf8.len; i++) {
		uint8_t c = utf8.ptr[i];
		atoms = atoms && (ascii_is_alnum(c) || (c != 0 && strchr(" !#$%&'*+-/=?^_`{|}~", c) != NULL));
	}
	if (!is_plain(utf8)) {
		return mail_encode_words(out, utf8);
	}
	if (atoms && utf8.len > 0) {
		return buf_append(out, utf8);
	}
	enum err e = buf_append_byte(out, '"');
	for (size_t i = 0; i < utf8.len && e == ERR_OK; i++) {
		if (utf8.ptr[i] == '"' || utf8.ptr[i] == '\\') {
			e = buf_append_byte(out, '\\');
		}
		if (e == ERR_OK) {
			e = buf_append_byte(out, utf8.ptr[i]);
		}
	}
	return e == ERR_OK ? buf_append_byte(out, '"') : e;
}

enum err
mail_write_date(struct buf *out, int64_t seconds)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	if (seconds < -2208988800 || seconds > 253402300799) {
		return ERR_FORMAT;
	}
	struct calendar c = calendar_of(seconds);
	return buf_printf(out, "%s, %02d %s %04d %02d:%02d:%02d +0000", days[c.weekday], c.day,
			  months[c.month - 1], (int)c.year, c.hour, c.minute, c.second);
}

enum err
mail_write_timestamp(struct buf *out, int64_t seconds)
{
	struct calendar c = calendar_of(seconds);
	if (c.year < 0 || c.year > 9999) {
		return ERR_FORMAT;
	}
	return buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02dZ", (int)c.year, c.month, c.day, c.hour,
			  c.minute, c.second);
}
