/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Making signatures. */
#include <string.h>

#include "authentication/signature.h"

enum { LINE_OCTETS = 72, FIELD_MAX = 16 * 1024 };

/*
 * What a reader sees or a program acts upon, each once more than it is there, so that nobody adds one without breaking
 * the signature (RFC 6376 section 8.15); then what mailing lists and readers add nothing to but may carry.
 */
static const char *const oversigned[] = {
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "Sender",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
};
static const char *const signed_once[] = {
    "Autocrypt",        "Auto-Submitted", "Content-Language", "List-Id",
    "List-Unsubscribe", "List-Post",      "List-Help",
};

static enum err
add_name(struct buf *names, size_t *line, const char *name)
{
	size_t len = strlen(name) + 1;
	enum err e = ERR_OK;
	if (*line + len > LINE_OCTETS) {
		e = buf_append_str(names, names->len == 0 ? "" : ":\r\n\t ");
		*line = 2;
	} else if (names->len > 0) {
		e = buf_append_str(names, ":");
	}
	*line += len;
	return e == ERR_OK ? buf_append_str(names, name) : e;
}

enum err
signature_choose(const struct header_index *h, struct buf *names, struct canon *c)
{
	enum err e = ERR_OK;
	size_t line = 4;
	size_t count = sizeof(oversigned) / sizeof(oversigned[0]);
	size_t all = count + sizeof(signed_once) / sizeof(signed_once[0]);
	for (size_t n = 0; n < all && e == ERR_OK; n++) {
		const char *name = n < count ? oversigned[n] : signed_once[n - count];
		for (size_t i = h->count; i-- > 0 && e == ERR_OK;) {
			if (bytes_is_nocase(h->fields[i].name, name)) {
				canon_field(c, h->fields[i].whole, true, true);
				e = add_name(names, &line, name);
			}
		}
		if (n < count && e == ERR_OK) {
			e = add_name(names, &line, name);
		}
	}
	return e;
}

enum err
signature_fold_base64(struct bytes data, struct buf *out)
{
	struct buf text = BUF_INIT(FIELD_MAX);
	enum err e = buf_append_base64(&text, data);
	for (size_t at = 0; at < text.len && e == ERR_OK; at += LINE_OCTETS) {
		e = at > 0 ? buf_append_str(out, "\r\n\t ") : ERR_OK;
		if (e == ERR_OK) {
			e = buf_append(out, bytes_slice(buf_bytes(&text), at, LINE_OCTETS));
		}
	}
	buf_clear(&text);
	return e;
}

enum err
signature_write(const char *name, struct bytes text, struct canon *before, const struct dkim_signer *signer,
		struct buf *out)
{
	struct buf field = BUF_INIT(FIELD_MAX);
	struct buf made = BUF_INIT(SIGNATURE_OCTETS_MAX);
	uint8_t digest[CANON_DIGEST_LEN];
	enum err e = buf_printf(&field, "%s: %.*s\r\n\tb=", name, (int)text.len, (const char *)text.ptr);
	if (e == ERR_OK) {
		canon_field(before, buf_bytes(&field), true, false);
	}
	enum err hashed = canon_end(before, digest);
	e = e == ERR_OK ? hashed : e;
	if (e == ERR_OK) {
		e = signer->sign(signer->ctx, signer, digest, &made);
	}
	if (e == ERR_OK) {
		e = signature_fold_base64(buf_bytes(&made), &field);
	}
	if (e == ERR_OK) {
		e = buf_append_str(&field, "\r\n");
	}
	if (e == ERR_OK) {
		e = buf_append(out, buf_bytes(&field));
	}
	buf_clear(&field);
	buf_clear(&made);
	return e;
}
