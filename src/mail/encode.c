/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/decode.h"
#include "mail/lexer.h"

enum { LINE = 76, RAW_PER_LINE = 57 };

enum err
mail_encode_base64(struct bytes body, struct buf *out)
{
	enum err e = ERR_OK;
	while (body.len > 0 && e == ERR_OK) {
		e = buf_append_base64(out, bytes_slice(body, 0, RAW_PER_LINE));
		if (e == ERR_OK) {
			e = buf_append_str(out, "\r\n");
		}
		body = bytes_from(body, RAW_PER_LINE);
	}
	return e;
}

/* RFC 2045 §6.7 rules 2 and 3; what could be taken for a delimiter or dot at a line's start is escaped, too. */
static bool
needs_escape(struct bytes line, size_t i, size_t column)
{
	uint8_t c = line.ptr[i];
	bool last = i + 1 == line.len;
	if (c == ' ' || c == '\t') {
		return last;
	}
	if (column == 0 && (c == '-' || c == '.' || bytes_starts_with(bytes_from(line, i), "From "))) {
		return true;
	}
	return c < 33 || c > 126 || c == '=';
}

static enum err
encode_line(struct bytes line, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t column = 0;
	enum err e = ERR_OK;
	for (size_t i = 0; i < line.len && e == ERR_OK; i++) {
		uint8_t c = line.ptr[i];
		size_t width = needs_escape(line, i, column) ? 3 : 1;
		if (column + width > LINE - 1 && !(i + 1 == line.len && column + width <= LINE)) {
			e = buf_append_str(out, "=\r\n");
			column = 0;
			width = needs_escape(line, i, column) ? 3 : 1;
		}
		if (e == ERR_OK && width == 3) {
			const uint8_t escape[3] = {'=', (uint8_t)hex[c >> 4], (uint8_t)hex[c & 15]};
			e = buf_append(out, bytes_of(escape, 3));
		} else if (e == ERR_OK) {
			e = buf_append_byte(out, c);
		}
		column += width;
	}
	return e;
}

enum err
mail_encode_quoted_printable(struct bytes body, struct buf *out)
{
	enum err e = ERR_OK;
	while (body.len > 0 && e == ERR_OK) {
		size_t end = mail_line_end(body, 0);
		struct bytes line = bytes_slice(body, 0, end);
		bool ended = line.ptr[line.len - 1] == '\n';
		if (ended) {
			line.len -= line.len > 1 && line.ptr[line.len - 2] == '\r' ? 2 : 1;
		}
		e = encode_line(line, out);
		if (e == ERR_OK && ended) {
			e = buf_append_str(out, "\r\n");
		}
		body = bytes_from(body, end);
	}
	return e;
}
