/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/address.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <string.h>

/* RFC 5321 §4.1.2 atext (RFC 5322 §3.2.3), and UTF-8 (RFC 6531 §3.3) */
static bool
is_atext(uint8_t c)
{
	return ascii_is_alnum(c) || c >= 0x80 || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_dot_string(struct bytes local)
{
	bool dot = true; /* before the first atom, too, no dot may stand */
	for (size_t i = 0; i < local.len; i++) {
		if (local.ptr[i] == '.') {
			if (dot) {
				return false;
			}
			dot = true;
		} else if (is_atext(local.ptr[i])) {
			dot = false;
		} else {
			return false;
		}
	}
	return !dot;
}

/* Octets of the quoted string at the front, 0 where there is none. */
static size_t
quoted_length(struct bytes text)
{
	for (size_t i = 1; i < text.len && i < MAIL_MAILBOX_MAX; i++) {
		uint8_t c = text.ptr[i];
		if (c == '"') {
			return i + 1;
		}
		if (c == '\\') {
			i++;
			if (i == text.len) {
				return 0;
			}
			c = text.ptr[i];
		}
		if (c < 32 || c == 127) {
			return 0;
		}
	}
	return 0;
}

static bool
is_literal(struct bytes domain)
{
	char text[64];
	struct in6_addr address;
	struct bytes inner = bytes_slice(domain, 1, domain.len - 2);
	int family = AF_INET;
	if (domain.len < 3 || domain.ptr[domain.len - 1] != ']') {
		return false;
	}
	if (bytes_starts_with_nocase(inner, "IPv6:")) {
		inner = bytes_from(inner, 5);
		family = AF_INET6;
	}
	if (inner.len >= sizeof(text) || bytes_find(inner, 0) >= 0) {
		return false;
	}
	memcpy(text, inner.ptr, inner.len);
	text[inner.len] = '\0';
	return inet_pton(family, text, &address) == 1;
}

/* Letters, digits, hyphens inside of labels; underscores and a final dot are tolerated. */
static bool
is_host_name(struct bytes domain)
{
	size_t label = 0;
	if (domain.len > 1 && domain.ptr[domain.len - 1] == '.') {
		domain.len--;
	}
	for (size_t i = 0; i < domain.len; i++) {
		uint8_t c = domain.ptr[i];
		bool edge = label == 0 || i + 1 == domain.len || domain.ptr[i + 1] == '.';
		if (c == '.') {
			if (label == 0) {
				return false;
			}
			label = 0;
			continue;
		}
		if (!ascii_is_alnum(c) && c < 0x80 && c != '_' && (c != '-' || edge)) {
			return false;
		}
		label++;
		/* A U-label may have more octets than its A-label. */
		if (label > 63 && bytes_is_ascii(domain)) {
			return false;
		}
	}
	return label > 0;
}

enum err
mail_mailbox_parse(struct bytes text, struct mail_mailbox *ret_mailbox)
{
	struct mail_mailbox m = {.quoted = false};
	size_t at;
	if (text.len > 2 * MAIL_MAILBOX_MAX) {
		return ERR_LIMIT;
	}
	if (text.len > 0 && text.ptr[0] == '"') {
		at = quoted_length(text);
		m.quoted = true;
	} else {
		ptrdiff_t found = bytes_find(text, '@');
		at = found < 0 ? 0 : (size_t)found;
		if (!is_dot_string(bytes_slice(text, 0, at))) {
			return ERR_FORMAT;
		}
	}
	if (at == 0 || at >= text.len || text.ptr[at] != '@') {
		return ERR_FORMAT;
	}
	m.local = bytes_slice(text, 0, at);
	m.domain = bytes_from(text, at + 1);
	m.utf8 = !bytes_is_ascii(text);
	if (m.domain.len == 0 || (m.utf8 && !bytes_is_utf8(text))) {
		return ERR_FORMAT;
	}
	m.literal = m.domain.ptr[0] == '[';
	if (m.literal ? !is_literal(m.domain) : !is_host_name(m.domain)) {
		return ERR_FORMAT;
	}
	/* The quotes themselves are not counted. */
	if (m.local.len > MAIL_LOCAL_MAX + (m.quoted ? 2 : 0) || m.domain.len > MAIL_DOMAIN_MAX) {
		return ERR_LIMIT;
	}
	*ret_mailbox = m;
	return ERR_OK;
}

/* The '>' that ends a path: not one within a quoted string. */
static size_t
path_end(struct bytes text)
{
	bool quoted = false;
	for (size_t i = 1; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (quoted && c == '\\') {
			i++;
		} else if (c == '"') {
			quoted = !quoted;
		} else if (c == '>' && !quoted) {
			return i;
		}
	}
	return text.len;
}

enum err
mail_path_parse(struct bytes text, struct mail_mailbox *ret_mailbox, size_t *ret_used)
{
	struct mail_mailbox m = {.local = bytes_of("", 0), .domain = bytes_of("", 0)};
	if (text.len < 2 || text.ptr[0] != '<') {
		return ERR_FORMAT;
	}
	size_t end = path_end(text);
	if (end == text.len) {
		return ERR_FORMAT;
	}
	struct bytes path = bytes_slice(text, 1, end - 1);
	if (path.len > 0 && path.ptr[0] == '@') {
		/* RFC 5321 §4.1.1.3: a source route is accepted and ignored. */
		ptrdiff_t colon = bytes_find(path, ':');
		if (colon < 0) {
			return ERR_FORMAT;
		}
		path = bytes_from(path, (size_t)colon + 1);
		if (path.len == 0) {
			return ERR_FORMAT;
		}
	}
	if (bytes_is_nocase(path, "postmaster")) {
		m.local = path;
	} else if (path.len > 0) {
		enum err e = mail_mailbox_parse(path, &m);
		if (e != ERR_OK) {
			return e;
		}
	}
	*ret_mailbox = m;
	*ret_used = end + 1;
	return ERR_OK;
}

enum err
mail_local_unquote(const struct mail_mailbox *mailbox, struct buf *out)
{
	struct bytes local = mailbox->local;
	enum err e = ERR_OK;
	if (!mailbox->quoted) {
		return buf_append(out, local);
	}
	for (size_t i = 1; i + 1 < local.len && e == ERR_OK; i++) {
		if (local.ptr[i] == '\\' && i + 2 < local.len) {
			i++;
		}
		e = buf_append_byte(out, local.ptr[i]);
	}
	return e;
}

enum err
mail_local_quote(struct bytes local, struct buf *out)
{
	if (is_dot_string(local)) {
		return buf_append(out, local);
	}
	enum err e = buf_append_byte(out, '"');
	for (size_t i = 0; i < local.len && e == ERR_OK; i++) {
		uint8_t c = local.ptr[i];
		if (c < 32 || c == 127) {
			return ERR_FORMAT;
		}
		if (c == '"' || c == '\\') {
			e = buf_append_byte(out, '\\');
		}
		if (e == ERR_OK) {
			e = buf_append_byte(out, c);
		}
	}
	return e == ERR_OK ? buf_append_byte(out, '"') : e;
}

enum err
mail_domain_normalise(struct bytes domain, struct buf *out)
{
	enum err e = ERR_OK;
	if (domain.len > 1 && domain.ptr[domain.len - 1] == '.') {
		domain.len--;
	}
	if (domain.len == 0 || domain.len > MAIL_DOMAIN_MAX || bytes_find(domain, 0) >= 0) {
		return ERR_FORMAT;
	}
	if (!bytes_is_ascii(domain)) {
		uint8_t text[MAIL_DOMAIN_MAX + 1];
		uint8_t *ascii = NULL;
		memcpy(text, domain.ptr, domain.len);
		text[domain.len] = 0;
		int code = idn2_lookup_u8(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
		if (code != IDN2_OK) {
			return code == IDN2_MALLOC ? ERR_MEMORY : ERR_FORMAT;
		}
		size_t len = strnlen((const char *)ascii, MAIL_DOMAIN_MAX);
		struct bytes got = bytes_of(ascii, len);
		for (size_t i = 0; i < len && e == ERR_OK; i++) {
			e = buf_append_byte(out, ascii_lower(got.ptr[i]));
		}
		idn2_free(ascii);
		return e;
	}
	for (size_t i = 0; i < domain.len && e == ERR_OK; i++) {
		e = buf_append_byte(out, ascii_lower(domain.ptr[i]));
	}
	return e;
}

enum err
mail_mailbox_normalise(const struct mail_mailbox *mailbox, struct buf *out)
{
	struct buf local = BUF_INIT(MAIL_MAILBOX_MAX * 2);
	size_t mark = out->len;
	enum err e = mail_local_unquote(mailbox, &local);
	for (size_t i = 0; i < local.len; i++) {
		local.ptr[i] = ascii_lower(local.ptr[i]);
	}
	if (e == ERR_OK) {
		e = mail_local_quote(buf_bytes(&local), out);
	}
	buf_wipe(&local);
	if (e == ERR_OK) {
		e = buf_append_byte(out, '@');
	}
	if (e == ERR_OK && mailbox->domain.len > 0) {
		e = mail_domain_normalise(mailbox->domain, out);
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}

bool
mail_subaddress_split(struct bytes local, uint8_t separator, struct bytes *ret_base, struct bytes *ret_detail)
{
	ptrdiff_t at = bytes_find(local, separator);
	if (at <= 0) {
		*ret_base = local;
		*ret_detail = BYTES_EMPTY;
		return false;
	}
	*ret_base = bytes_slice(local, 0, (size_t)at);
	*ret_detail = bytes_from(local, (size_t)at + 1);
	return true;
}

bool
mail_subaddress_ends(struct bytes local, uint8_t separator, struct bytes word)
{
	ptrdiff_t last = bytes_find_last(local, separator);
	return bytes_find(local, separator) > 0 &&
	       bytes_equal_nocase(bytes_from(local, (size_t)last + 1), word);
}
