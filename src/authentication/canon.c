/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/canon.h"

#include <string.h>

enum err
canon_begin(struct canon *c, uint64_t limit)
{
	c->md = EVP_MD_CTX_new();
	c->left = limit;
	c->seen = 0;
	c->held = 0;
	c->error = c->md != NULL && EVP_DigestInit_ex(c->md, EVP_sha256(), NULL) == 1 ? ERR_OK : ERR_MEMORY;
	return c->error;
}

static void
digest(struct canon *c, const uint8_t *data, size_t len)
{
	if (len > 0 && c->error == ERR_OK && EVP_DigestUpdate(c->md, data, len) != 1) {
		c->error = ERR_MEMORY;
	}
}

static void
flush(struct canon *c)
{
	digest(c, c->hold, c->held);
	c->held = 0;
}

void
canon_put(struct canon *c, struct bytes data)
{
	c->seen += data.len;
	if (data.len > c->left) {
		data.len = (size_t)c->left;
	}
	c->left -= data.len;
	if (data.len > sizeof(c->hold) - c->held) {
		flush(c);
		if (data.len > sizeof(c->hold) / 2) {
			digest(c, data.ptr, data.len);
			return;
		}
	}
	if (data.len > 0) {
		memcpy(c->hold + c->held, data.ptr, data.len);
		c->held += data.len;
	}
}

static bool
is_wsp(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct bytes
without_line_end(struct bytes line)
{
	if (line.len > 0 && line.ptr[line.len - 1] == '\n') {
		line.len--;
		if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
			line.len--;
		}
	}
	return line;
}

/* Whether the canonical form may differ here: not where one space stands between words. */
static bool
is_run(struct bytes text, size_t at, bool is_field)
{
	uint8_t c = text.ptr[at];
	if (c == ' ' && !is_field) {
		return at + 1 == text.len || is_wsp(text.ptr[at + 1]);
	}
	return is_wsp(c) || (is_field && (c == '\r' || c == '\n'));
}

/* Runs of blanks become one space; none at the end. `lead`: none at the beginning either, line ends are blanks. */
static void
put_relaxed(struct canon *c, struct bytes text, bool is_field)
{
	size_t at = 0;
	bool any = false;
	while (at < text.len) {
		size_t blank = at;
		while (blank < text.len && !is_run(text, blank, is_field)) {
			blank++;
		}
		canon_put(c, bytes_slice(text, at, blank - at));
		any = any || blank > at;
		at = blank;
		while (at < text.len && (is_wsp(text.ptr[at]) ||
					 (is_field && (text.ptr[at] == '\r' || text.ptr[at] == '\n')))) {
			at++;
		}
		if (at > blank && at < text.len && (any || !is_field)) {
			canon_put(c, BYTES_LIT(" "));
		}
	}
}

void
canon_field(struct canon *c, struct bytes whole, bool relaxed, bool with_end)
{
	struct bytes field = without_line_end(whole);
	if (!relaxed) {
		canon_put(c, field);
	} else {
		ptrdiff_t colon = bytes_find(field, ':');
		struct bytes name = bytes_trim(colon < 0 ? field : bytes_slice(field, 0, (size_t)colon));
		for (size_t i = 0; i < name.len; i++) {
			uint8_t lower = ascii_lower(name.ptr[i]);
			canon_put(c, bytes_of(&lower, 1));
		}
		canon_put(c, BYTES_LIT(":"));
		put_relaxed(c, colon < 0 ? BYTES_EMPTY : bytes_from(field, (size_t)colon + 1), true);
	}
	if (with_end) {
		canon_put(c, BYTES_LIT("\r\n"));
	}
}

static void
put_empty_lines(struct canon *c, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		canon_put(c, BYTES_LIT("\r\n"));
	}
}

/* Where the blanks at a line's end begin. */
static size_t
text_length(struct bytes line)
{
	while (line.len > 0 && is_wsp(line.ptr[line.len - 1])) {
		line.len--;
	}
	return line.len;
}

static void
relaxed_body(struct canon *c, struct bytes body)
{
	size_t at = 0;
	size_t empty = 0;
	while (at < body.len) {
		struct bytes rest = bytes_from(body, at);
		ptrdiff_t end = bytes_search(rest, BYTES_LIT("\r\n"));
		struct bytes line = end < 0 ? rest : bytes_slice(rest, 0, (size_t)end);
		at += end < 0 ? rest.len : (size_t)end + 2;
		line.len = text_length(line);
		if (line.len == 0) {
			empty++;
			continue;
		}
		put_empty_lines(c, empty);
		empty = 0;
		put_relaxed(c, line, false);
		canon_put(c, BYTES_LIT("\r\n"));
	}
}

void
canon_body(struct canon *c, struct bytes body, bool relaxed)
{
	if (relaxed) {
		relaxed_body(c, body);
		return;
	}
	while (body.len >= 2 && body.ptr[body.len - 1] == '\n' && body.ptr[body.len - 2] == '\r') {
		body.len -= 2;
	}
	canon_put(c, body);
	canon_put(c, BYTES_LIT("\r\n"));
}

enum err
canon_end(struct canon *c, uint8_t ret_digest[CANON_DIGEST_LEN])
{
	uint8_t out[CANON_DIGEST_LEN];
	unsigned len = 0;
	flush(c);
	if (c->error == ERR_OK && (EVP_DigestFinal_ex(c->md, out, &len) != 1 || len != CANON_DIGEST_LEN)) {
		c->error = ERR_MEMORY;
	}
	EVP_MD_CTX_free(c->md);
	c->md = NULL;
	if (c->error == ERR_OK) {
		memcpy(ret_digest, out, sizeof(out));
	}
	return c->error;
}
