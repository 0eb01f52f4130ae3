/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/results.h"

#include <string.h>

#include "authentication/text.h"
#include "mail/header.h"

enum { VALUE_MAX = 320, ID_OCTETS_MAX = 512, FIELD_OCTETS_MAX = 16 * 1024 };

/* A pvalue (RFC 8601 section 2.2): as it is where it is plain, or quoted; control octets become '?'. */
static enum err
put_value(struct buf *out, struct bytes value)
{
	bool plain = value.len > 0;
	value = bytes_slice(value, 0, VALUE_MAX);
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.ptr[i];
		plain = plain && (ascii_is_alnum(c) || c == '.' || c == '-' || c == '_' || c == '@' ||
				  c == '+' || c == '=' || c == '/');
	}
	if (plain) {
		return buf_append(out, value);
	}
	enum err e = buf_append_str(out, "\"");
	for (size_t i = 0; i < value.len && e == ERR_OK; i++) {
		uint8_t c = value.ptr[i];
		if (c == '"' || c == '\\') {
			e = buf_append_str(out, "\\");
		}
		if (e == ERR_OK) {
			e = buf_append_byte(out, c < ' ' || c == 0x7f ? '?' : c);
		}
	}
	return e == ERR_OK ? buf_append_str(out, "\"") : e;
}

static enum err
put_method(struct buf *out, const char *method, enum authentication_result result, const char *why)
{
	enum err e = buf_printf(out, ";\r\n\t%s=%s", method, authentication_result_name(result));
	return e == ERR_OK && why != NULL ? buf_printf(out, " reason=\"%s\"", why) : e;
}

static enum err
put_property(struct buf *out, const char *name, struct bytes value)
{
	if (value.len == 0) {
		return ERR_OK;
	}
	enum err e = buf_printf(out, " %s=", name);
	return e == ERR_OK ? put_value(out, value) : e;
}

static enum err
put_spf(struct buf *out, const struct authentication_results *r)
{
	enum err e = put_method(out, "spf", r->spf.result, r->spf.why);
	if (e == ERR_OK) {
		e = r->spf.of_hello ? put_property(out, "smtp.helo", bytes_str(r->spf.domain))
				    : put_property(out, "smtp.mailfrom", r->sender);
	}
	if (e == ERR_OK && r->hello.domain[0] != '\0') {
		e = put_method(out, "spf", r->hello.result, r->hello.why);
		e = e == ERR_OK ? put_property(out, "smtp.helo", bytes_str(r->hello.domain)) : e;
	}
	return e;
}

static enum err
put_dkim(struct buf *out, const struct dkim_verdicts *dkim)
{
	enum err e = dkim->count == 0 ? put_method(out, "dkim", AUTHENTICATION_NONE, NULL) : ERR_OK;
	for (size_t i = 0; i < dkim->count && e == ERR_OK; i++) {
		const struct dkim_verdict *v = &dkim->list[i];
		e = put_method(out, "dkim", v->result, v->why);
		e = e == ERR_OK ? put_property(out, "header.d", v->domain) : e;
		e = e == ERR_OK ? put_property(out, "header.s", v->selector) : e;
		e = e == ERR_OK ? put_property(out, "header.b", v->signature) : e;
	}
	return e;
}

enum err
authentication_results_write(const char *host, const struct authentication_results *r, struct buf *out)
{
	struct buf field = BUF_INIT(FIELD_OCTETS_MAX);
	enum err e = buf_printf(&field, "Authentication-Results: %s", host);
	e = e == ERR_OK ? put_spf(&field, r) : e;
	e = e == ERR_OK ? put_dkim(&field, &r->dkim) : e;
	e = e == ERR_OK ? put_method(&field, "dmarc", r->dmarc.result, r->dmarc.why) : e;
	e = e == ERR_OK ? put_property(&field, "header.from", bytes_str(r->dmarc.domain)) : e;
	if (e == ERR_OK && r->arc.result != AUTHENTICATION_NONE) {
		e = put_method(&field, "arc", r->arc.result, r->arc.why);
		e = e == ERR_OK
			? put_property(&field, "header.oldest-pass",
				       r->arc.result == AUTHENTICATION_PASS ? BYTES_LIT("1") : BYTES_EMPTY)
			: e;
	}
	e = e == ERR_OK ? buf_append_str(&field, "\r\n") : e;
	e = e == ERR_OK ? buf_append(out, buf_bytes(&field)) : e;
	buf_clear(&field);
	return e;
}

/* ---- reading ---- */

/* Behind blanks, line ends and comments, which nest. */
static size_t
skip_blanks(struct bytes text, size_t at)
{
	size_t depth = 0;
	while (at < text.len) {
		uint8_t c = text.ptr[at];
		if (c == '(') {
			depth++;
		} else if (c == ')' && depth > 0) {
			depth--;
		} else if (c == '\\' && depth > 0) {
			at++;
		} else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
			break;
		}
		at++;
	}
	return at < text.len ? at : text.len;
}

/* A token or quoted string at `at`, without its quotes; *ret_end behind it. */
static struct bytes
take_word(struct bytes text, size_t at, size_t *ret_end)
{
	size_t from = at;
	if (at < text.len && text.ptr[at] == '"') {
		for (at++; at < text.len && text.ptr[at] != '"'; at++) {
			at += text.ptr[at] == '\\' ? 1 : 0;
		}
		*ret_end = at < text.len ? at + 1 : text.len;
		return bytes_slice(text, from + 1, (at < text.len ? at : text.len) - from - 1);
	}
	while (at < text.len && (ascii_is_alnum(text.ptr[at]) || text.ptr[at] == '.' || text.ptr[at] == '-' ||
				 text.ptr[at] == '_')) {
		at++;
	}
	*ret_end = at;
	return bytes_slice(text, from, at - from);
}

static bool
is_name_octet(uint8_t c)
{
	return ascii_is_alnum(c) || c == '.' || c == '-' || c == '_';
}

/* Of a token (RFC 2045 section 5.1). */
static bool
is_token_octet(uint8_t c)
{
	return c > ' ' && c < 127 && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

/* Behind blanks, folds and comments. False: a comment without an end, or with octets that no comment has. */
static bool
skip_strictly(struct bytes text, size_t *at)
{
	size_t depth = 0;
	for (; *at < text.len; (*at)++) {
		uint8_t c = text.ptr[*at];
		bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
		if (!blank && (c < ' ' || c == 127)) {
			return false;
		}
		if (c == '(') {
			depth++;
		} else if (depth == 0 && !blank) {
			return true;
		} else if (c == ')') {
			depth--;
		} else if (c == '\\') {
			(*at)++;
		}
	}
	*at = text.len;
	return depth == 0;
}

/* The authserv-id by the letter (RFC 8601 section 2.2), its quotes undone; *ret_end: of all that stands before the first ';'. */
static enum err
read_id(struct bytes value, struct buf *out, size_t *ret_end)
{
	size_t at = 0;
	enum err e = ERR_OK;
	if (!skip_strictly(value, &at)) {
		return ERR_FORMAT;
	}
	bool quoted = at < value.len && value.ptr[at] == '"';
	for (at += quoted ? 1 : 0; e == ERR_OK && at < value.len; at++) {
		if (quoted && value.ptr[at] == '\\' && at + 1 < value.len) {
			at++;
		} else if (quoted && value.ptr[at] == '"') {
			break;
		}
		if (!is_token_octet(value.ptr[at])) {
			break;
		}
		e = buf_append_byte(out, ascii_lower(value.ptr[at]));
	}
	if (quoted && (at == value.len || value.ptr[at++] != '"')) {
		return ERR_FORMAT;
	}
	if (e != ERR_OK || out->len == 0 || !skip_strictly(value, &at)) {
		return e == ERR_OK ? ERR_FORMAT : e;
	}
	while (at < value.len && ascii_is_digit(value.ptr[at])) {
		at++; /* the version */
	}
	if (!skip_strictly(value, &at) || at == value.len || value.ptr[at] != ';') {
		return ERR_FORMAT;
	}
	*ret_end = at;
	return ERR_OK;
}

/* The name anywhere in it, in a comment, too: who reads comments badly may take it for the id. */
static bool
mentions(struct bytes id, const char *host)
{
	struct bytes name = bytes_str(host);
	for (size_t i = 0; i + name.len <= id.len; i++) {
		size_t behind = i + name.len;
		if (bytes_equal_nocase(bytes_slice(id, i, name.len), name) &&
		    (i == 0 || !is_name_octet(id.ptr[i - 1])) &&
		    (behind == id.len || !is_name_octet(id.ptr[behind]))) {
			return true;
		}
	}
	return false;
}

/*
 * Whether a reader could take it for a field of this house (RFC 8601 section 5). What cannot be read by the letter may be, whatever it says:
 * nobody here needs it.
 */
static bool
claims_to_be(struct bytes value, const char *host, const char *domain)
{
	struct buf id = BUF_INIT(ID_OCTETS_MAX);
	size_t end;
	bool claims = true;
	if (read_id(value, &id, &end) == ERR_OK) {
		struct bytes name = buf_bytes(&id);
		while (name.len > 0 && name.ptr[name.len - 1] == '.') {
			name.len--;
		}
		claims = name.len == 0 || bytes_is_nocase(name, host) ||
			 text_is_within(name, bytes_str(domain)) ||
			 mentions(bytes_slice(value, 0, end), host);
	}
	buf_clear(&id);
	return claims;
}

enum err
authentication_results_strip(struct bytes message, const char *host, const char *domain, struct buf *out)
{
	struct mail_fields it;
	struct mail_field field;
	size_t from = 0;
	enum err e = ERR_OK;
	mail_fields_init(&it, message);
	while (e == ERR_OK && mail_fields_next(&it, &field)) {
		if (bytes_is_nocase(field.name, "Authentication-Results") &&
		    claims_to_be(field.value, host, domain)) {
			e = buf_append(out, bytes_slice(message, from, field.offset - from));
			from = field.offset + field.whole.len;
		}
	}
	return e == ERR_OK ? buf_append(out, bytes_from(message, from)) : e;
}

/* Behind the next ';' that stands in no comment and no quoted string; text.len without one. */
static size_t
next_method(struct bytes text, size_t at)
{
	while (at < text.len && text.ptr[at] != ';') {
		size_t next = skip_blanks(text, at);
		if (next == at && text.ptr[at] == '"') {
			(void)take_word(text, at, &next);
		}
		at = next == at ? at + 1 : next;
	}
	return at < text.len ? at + 1 : text.len;
}

/* Where a method's own text ("dmarc=pass ...") begins and ends. */
static bool
find_method(struct bytes value, const char *method, size_t *ret_behind_name, size_t *ret_end)
{
	for (size_t at = 0; at < value.len; at = next_method(value, at)) {
		size_t end;
		struct bytes name = take_word(value, skip_blanks(value, at), &end);
		end = skip_blanks(value, end);
		if (bytes_is_nocase(name, method) && end < value.len && value.ptr[end] == '=') {
			*ret_behind_name = end + 1;
			*ret_end = next_method(value, at);
			return true;
		}
	}
	return false;
}

enum err
authentication_results_property(struct bytes value, const char *method, const char *property,
				struct bytes *ret)
{
	size_t at;
	size_t end;
	if (!find_method(value, method, &at, &end)) {
		return ERR_NOT_FOUND;
	}
	(void)take_word(value, skip_blanks(value, at), &at);
	while (at < end) {
		size_t behind;
		struct bytes name = take_word(value, skip_blanks(value, at), &behind);
		size_t sign = skip_blanks(value, behind);
		if (name.len > 0 && sign < end && value.ptr[sign] == '=') {
			struct bytes found = take_word(value, skip_blanks(value, sign + 1), &behind);
			if (bytes_is_nocase(name, property)) {
				*ret = found;
				return ERR_OK;
			}
		}
		at = behind > at ? behind : at + 1;
	}
	return ERR_NOT_FOUND;
}

enum err
authentication_results_read(struct bytes value, const char *method, enum authentication_result *ret)
{
	for (size_t at = 0; at < value.len; at = next_method(value, at)) {
		size_t end;
		struct bytes name = take_word(value, skip_blanks(value, at), &end);
		if (!bytes_is_nocase(name, method)) {
			continue;
		}
		end = skip_blanks(value, end);
		if (end >= value.len || value.ptr[end] != '=') {
			continue;
		}
		struct bytes word = take_word(value, skip_blanks(value, end + 1), &end);
		for (int r = AUTHENTICATION_NONE; r <= AUTHENTICATION_PERMERROR; r++) {
			if (bytes_is_nocase(word,
					    authentication_result_name((enum authentication_result)r))) {
				*ret = (enum authentication_result)r;
				return ERR_OK;
			}
		}
		return ERR_FORMAT;
	}
	return ERR_NOT_FOUND;
}
