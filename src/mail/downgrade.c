/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/decode.h"
#include "mail/structure.h"
#include "mail/write.h"

#include "mail/lexer.h"

/* 8BITMIME to 7 bits (RFC 6152 §3), part by part. */

struct downgrade {
	struct bytes message;
	struct mail_structure s;
	struct buf *out;
	size_t at; /* octets of the message that are written */
};

static bool
needs_work(struct bytes text)
{
	if (!bytes_is_ascii(text)) {
		return true;
	}
	size_t at = 0;
	while (at < text.len) {
		size_t end = mail_line_end(text, at);
		if (end - at > 1000) {
			return true;
		}
		at = end;
	}
	return false;
}

/* RFC 1847, RFC 8551: what is signed, or may be. */
static bool
is_signed(const struct mail_part *part)
{
	return (bytes_is_nocase(part->type, "multipart") &&
		(bytes_is_nocase(part->subtype, "signed") || bytes_is_nocase(part->subtype, "encrypted"))) ||
	       (bytes_is_nocase(part->type, "application") &&
		(bytes_starts_with_nocase(part->subtype, "pkcs7-") ||
		 bytes_starts_with_nocase(part->subtype, "x-pkcs7-")));
}

static struct bytes
body_of(const struct downgrade *d, const struct mail_part *part)
{
	return bytes_slice(d->message, part->body_at, part->body_len);
}

static enum err
copy_to(struct downgrade *d, size_t end)
{
	enum err e = ERR_OK;
	if (end > d->at) {
		e = buf_append(d->out, bytes_slice(d->message, d->at, end - d->at));
		d->at = end;
	}
	return e;
}

/* The header with another Content-Transfer-Encoding, in the place of the first. */
static enum err
put_header(struct downgrade *d, const struct mail_part *part, const char *encoding)
{
	struct bytes header = bytes_slice(d->message, part->header_at, part->header_len);
	struct mail_fields it;
	struct mail_field field;
	size_t end = 0; /* behind the last field */
	bool done = false;
	enum err e = copy_to(d, part->header_at);
	mail_fields_init(&it, header);
	while (e == ERR_OK && mail_fields_next(&it, &field)) {
		end = field.offset + field.whole.len;
		if (!bytes_is_nocase(field.name, "Content-Transfer-Encoding")) {
			continue;
		}
		e = copy_to(d, part->header_at + field.offset);
		if (e == ERR_OK && !done) {
			e = mail_write_field(d->out, "Content-Transfer-Encoding", bytes_str(encoding));
		}
		done = true;
		d->at = part->header_at + end;
	}
	if (e == ERR_OK && !done) {
		e = copy_to(d, part->header_at + end);
		if (e == ERR_OK && end > 0 && header.ptr[end - 1] != '\n') {
			e = buf_append_str(d->out, "\r\n");
		}
		if (e == ERR_OK) {
			e = mail_write_field(d->out, "Content-Transfer-Encoding", bytes_str(encoding));
		}
		/* A part without any header has no empty line either. */
		if (e == ERR_OK && header.len == 0) {
			e = buf_append_str(d->out, "\r\n");
		}
	}
	return e == ERR_OK ? copy_to(d, part->body_at) : e;
}

static enum err
put_leaf(struct downgrade *d, const struct mail_part *part)
{
	struct bytes body = body_of(d, part);
	enum mail_encoding had = mail_encoding_of(part->encoding);
	bool text = bytes_is_nocase(part->type, "text");
	struct buf plain = BUF_INIT(body.len + 64);
	enum err e = ERR_OK;
	/* Octets above 127 in what calls itself encoded: decoded first, so that nothing is encoded twice. */
	if (had == MAIL_ENCODING_QUOTED_PRINTABLE || had == MAIL_ENCODING_BASE64) {
		e = mail_decode(had, body, &plain);
		body = buf_bytes(&plain);
	}
	bool quoted = text && had != MAIL_ENCODING_BINARY && had != MAIL_ENCODING_BASE64;
	if (e == ERR_OK) {
		e = put_header(d, part, quoted ? "quoted-printable" : "base64");
	}
	if (e == ERR_OK) {
		e = quoted ? mail_encode_quoted_printable(body, d->out) : mail_encode_base64(body, d->out);
	}
	d->at = part->body_at + part->body_len;
	buf_wipe(&plain);
	return e;
}

/* True where the part lies in something signed, or is it. */
static bool
in_signed(const struct mail_structure *s, const struct mail_part *part)
{
	while (!is_signed(part)) {
		if (part->parent == MAIL_NO_PART) {
			return false;
		}
		part = &s->parts[part->parent];
	}
	return true;
}

static enum err
put_parts(struct downgrade *d)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < d->s.count && e == ERR_OK; i++) {
		const struct mail_part *part = &d->s.parts[i];
		if (!needs_work(body_of(d, part))) {
			continue;
		}
		if (in_signed(&d->s, part)) {
			return ERR_UNSUPPORTED;
		}
		if (part->kind == MAIL_PART_LEAF) {
			e = put_leaf(d, part);
		} else if (mail_encoding_of(part->encoding) == MAIL_ENCODING_8BIT ||
			   mail_encoding_of(part->encoding) == MAIL_ENCODING_BINARY) {
			e = put_header(d, part, "7bit");
		}
	}
	return e == ERR_OK ? copy_to(d, d->message.len) : e;
}

enum err
mail_downgrade_8bit(struct bytes message, struct buf *out)
{
	struct arena arena;
	struct downgrade d = {.message = message, .out = out};
	size_t mark = out->len;
	arena_init(&arena, MAIL_PARSE_MEMORY);
	enum err e = mail_parse(&arena, message, &d.s);
	if (e == ERR_OK) {
		/* Past the limits it is unknown what a leaf holds. */
		e = d.s.truncated && needs_work(message) ? ERR_UNSUPPORTED : put_parts(&d);
	}
	arena_clear(&arena);
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}
