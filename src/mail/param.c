/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/charset.h"
#include "mail/header.h"

/* Values of parameters: plain, extended, continued (RFC 2231). */

bool
mail_param_find(const struct mail_params *params, const char *name, struct bytes *ret_value)
{
	for (size_t i = 0; i < params->count; i++) {
		if (bytes_is_nocase(params->list[i].name, name)) {
			*ret_value = params->list[i].value;
			return true;
		}
	}
	return false;
}

/* What stands behind "name*" in a parameter's name; false where it is another name. */
static bool
extension_of(struct bytes param, struct bytes name, struct bytes *ret_rest)
{
	if (param.len <= name.len || !bytes_equal_nocase(bytes_slice(param, 0, name.len), name) ||
	    param.ptr[name.len] != '*') {
		return false;
	}
	*ret_rest = bytes_from(param, name.len + 1);
	return true;
}

/* The piece of that number; true where found. `rest` is "" for "name*", else "0", "0*", "1", ... */
static bool
find_piece(const struct mail_params *params, struct bytes name, uint64_t index, struct bytes *ret_value,
	   bool *ret_extended)
{
	for (size_t i = 0; i < params->count; i++) {
		struct bytes rest;
		uint64_t n;
		if (!extension_of(params->list[i].name, name, &rest)) {
			continue;
		}
		bool extended = rest.len > 0 && rest.ptr[rest.len - 1] == '*';
		if (extended) {
			rest.len--;
		}
		if (bytes_to_u64(rest, MAIL_MAX_PARAMS, &n) == ERR_OK && n == index) {
			*ret_value = params->list[i].value;
			*ret_extended = extended;
			return true;
		}
	}
	return false;
}

/* Takes "charset'language'" off the front. */
static struct bytes
take_charset(struct bytes *value)
{
	ptrdiff_t first = bytes_find(*value, '\'');
	if (first < 0) {
		return BYTES_EMPTY;
	}
	struct bytes charset = bytes_slice(*value, 0, (size_t)first);
	struct bytes rest = bytes_from(*value, (size_t)first + 1);
	ptrdiff_t second = bytes_find(rest, '\'');
	if (second < 0) {
		return BYTES_EMPTY;
	}
	*value = bytes_from(rest, (size_t)second + 1);
	return charset;
}

static int
hex_digit(uint8_t c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) ? c - '0' : (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

static enum err
append_percent(struct bytes value, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < value.len && e == ERR_OK; i++) {
		uint8_t c = value.ptr[i];
		if (c == '%' && value.len - i > 2 && hex_digit(value.ptr[i + 1]) >= 0 &&
		    hex_digit(value.ptr[i + 2]) >= 0) {
			c = (uint8_t)(hex_digit(value.ptr[i + 1]) * 16 + hex_digit(value.ptr[i + 2]));
			i += 2;
		}
		e = buf_append_byte(out, c);
	}
	return e;
}

static enum err
to_utf8(struct bytes charset, struct bytes octets, struct buf *out)
{
	if (charset.len == 0) {
		return mail_words_decode(octets, out);
	}
	enum err e = mail_charset_to_utf8(charset, octets, out);
	return e == ERR_UNSUPPORTED ? mail_charset_to_utf8(bytes_str("windows-1252"), octets, out) : e;
}

enum err
mail_param_decode(const struct mail_params *params, const char *name, struct buf *out)
{
	struct bytes want = bytes_str(name);
	struct bytes charset = BYTES_EMPTY;
	struct bytes value;
	struct buf octets = BUF_INIT((size_t)MAIL_MAX_PARAMS * MAIL_MAX_PARAM_VALUE);
	bool extended;
	bool found = false;
	enum err e = ERR_OK;
	for (size_t i = 0; i < params->count && !found; i++) {
		struct bytes rest;
		if (extension_of(params->list[i].name, want, &rest) && rest.len == 0) {
			value = params->list[i].value;
			charset = take_charset(&value);
			e = append_percent(value, &octets);
			found = true;
		}
	}
	for (uint64_t n = 0; !found || n > 0; n++) {
		if ((n == 0 && found) || !find_piece(params, want, n, &value, &extended)) {
			break;
		}
		if (n == 0 && extended) {
			charset = take_charset(&value);
		}
		found = true;
		if (e == ERR_OK) {
			e = extended ? append_percent(value, &octets) : buf_append(&octets, value);
		}
	}
	if (!found && mail_param_find(params, name, &value)) {
		found = true;
		e = buf_append(&octets, value);
	}
	if (!found) {
		e = ERR_NOT_FOUND;
	}
	if (e == ERR_OK) {
		e = to_utf8(charset, buf_bytes(&octets), out);
	}
	buf_clear(&octets);
	return e;
}
