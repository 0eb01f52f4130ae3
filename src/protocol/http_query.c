/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/http_server.h"

static int
digit(uint8_t c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum err
decode(struct bytes text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i] == '+' ? ' ' : text.ptr[i];
		if (c == '%') {
			int high = i + 2 < text.len ? digit(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? digit(text.ptr[i + 2]) : -1;
			if (high < 0 || low < 0) {
				return ERR_FORMAT;
			}
			c = (uint8_t)(high * 16 + low);
			i += 2;
		}
		if (c < ' ' || c == 0x7f) {
			return ERR_FORMAT;
		}
		enum err e = buf_append_byte(out, c);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

enum err
http_query_value(struct bytes query, const char *name, struct buf *out)
{
	while (query.len > 0) {
		ptrdiff_t end = bytes_find(query, '&');
		struct bytes pair = end < 0 ? query : bytes_slice(query, 0, (size_t)end);
		ptrdiff_t equal = bytes_find(pair, '=');
		query = end < 0 ? BYTES_EMPTY : bytes_from(query, (size_t)end + 1);
		if (equal >= 0 && bytes_is(bytes_slice(pair, 0, (size_t)equal), name)) {
			size_t before = out->len;
			enum err e = decode(bytes_from(pair, (size_t)equal + 1), out);
			if (e != ERR_OK) {
				buf_truncate(out, before);
			}
			return e;
		}
	}
	return ERR_NOT_FOUND;
}
