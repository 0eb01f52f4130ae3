/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/decode.h"

#include <string.h>

enum mail_encoding
mail_encoding_of(struct bytes token)
{
	static const struct {
		const char *name;
		enum mail_encoding encoding;
	} names[] = {
	    {"", MAIL_ENCODING_7BIT},
	    {"7bit", MAIL_ENCODING_7BIT},
	    {"8bit", MAIL_ENCODING_8BIT},
	    {"binary", MAIL_ENCODING_BINARY},
	    {"quoted-printable", MAIL_ENCODING_QUOTED_PRINTABLE},
	    {"base64", MAIL_ENCODING_BASE64},
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (bytes_is_nocase(token, names[i].name)) {
			return names[i].encoding;
		}
	}
	return MAIL_ENCODING_UNKNOWN;
}

void
mail_decoder_init(struct mail_decoder *d, enum mail_encoding encoding)
{
	*d = (struct mail_decoder){.encoding = encoding};
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
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 2045 §6.8: foreign octets are passed over. A new group may follow padding. */
static enum err
push_base64(struct mail_decoder *d, struct bytes piece, struct buf *out)
{
	enum err e = buf_reserve(out, piece.len / 4 * 3 + 3);
	for (size_t i = 0; i < piece.len && e == ERR_OK; i++) {
		uint8_t c = piece.ptr[i];
		int v = base64_value(c);
		if (c == '=') {
			d->bit_count = 0;
			d->bits = 0;
			continue;
		}
		if (v < 0) {
			continue;
		}
		d->bits = d->bits << 6 | (uint32_t)v;
		d->bit_count += 6;
		if (d->bit_count >= 8) {
			d->bit_count -= 8;
			e = buf_append_byte(out, (uint8_t)(d->bits >> d->bit_count));
			d->bits &= (1U << d->bit_count) - 1;
		}
	}
	return e;
}

static int
hex_value(uint8_t c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) ? c - '0' : (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

static enum err
release(struct mail_decoder *d, struct buf *out)
{
	enum err e = buf_append(out, bytes_of(d->held, d->held_len));
	d->held_len = 0;
	return e;
}

/*
 * One octet of quoted-printable. Held are: blanks that may be the end of a line
 * (and are dropped then, RFC 2045 §6.7 rule 3), or what follows an '='.
 */
static enum err
push_quoted(struct mail_decoder *d, uint8_t c, struct buf *out)
{
	enum err e = ERR_OK;
	if (d->held_len > 0 && d->held[0] == '=') {
		if (c == '\n') {
			/* soft line break, blanks behind the '=' included */
			d->held_len = 0;
			return ERR_OK;
		}
		int high = d->held_len == 2 ? hex_value(d->held[1]) : -1;
		if (high >= 0 && hex_value(c) >= 0) {
			d->held_len = 0;
			return buf_append_byte(out, (uint8_t)(high * 16 + hex_value(c)));
		}
		bool blank = c == ' ' || c == '\t' || c == '\r';
		bool goes_on = d->held_len == 1 ? blank || hex_value(c) >= 0 : blank && high < 0;
		if (goes_on && d->held_len < sizeof(d->held)) {
			d->held[d->held_len++] = c;
			return ERR_OK;
		}
		e = release(d, out); /* no escape: it stays as it is written */
		return e == ERR_OK ? push_quoted(d, c, out) : e;
	}
	if (c == ' ' || c == '\t' || c == '\r') {
		if (d->held_len == sizeof(d->held)) {
			e = release(d, out);
		}
		d->held[d->held_len++] = c;
		return e;
	}
	if (c == '\n') {
		bool cr = d->held_len > 0 && d->held[d->held_len - 1] == '\r';
		d->held_len = 0;
		return buf_append(out, cr ? BYTES_LIT("\r\n") : BYTES_LIT("\n"));
	}
	e = release(d, out);
	if (e != ERR_OK) {
		return e;
	}
	if (c == '=') {
		d->held[d->held_len++] = c;
		return ERR_OK;
	}
	return buf_append_byte(out, c);
}

enum err
mail_decoder_push(struct mail_decoder *d, struct bytes piece, struct buf *out)
{
	enum err e = ERR_OK;
	if (d->encoding == MAIL_ENCODING_BASE64) {
		return push_base64(d, piece, out);
	}
	if (d->encoding == MAIL_ENCODING_QUOTED_PRINTABLE) {
		for (size_t i = 0; i < piece.len && e == ERR_OK; i++) {
			e = push_quoted(d, piece.ptr[i], out);
		}
		return e;
	}
	return buf_append(out, piece);
}

enum err
mail_decoder_end(struct mail_decoder *d, struct buf *out)
{
	enum err e = ERR_OK;
	if (d->encoding == MAIL_ENCODING_QUOTED_PRINTABLE && d->held_len > 1 && d->held[0] == '=' &&
	    hex_value(d->held[1]) >= 0) {
		e = release(d, out);
	}
	d->held_len = 0; /* a soft break, or blanks at the end of the last line */
	d->bit_count = 0;
	return e;
}

enum err
mail_decode(enum mail_encoding encoding, struct bytes body, struct buf *out)
{
	struct mail_decoder d;
	mail_decoder_init(&d, encoding);
	enum err e = mail_decoder_push(&d, body, out);
	return e == ERR_OK ? mail_decoder_end(&d, out) : e;
}
