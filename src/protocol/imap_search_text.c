/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_search_text.h"

#include "mail/charset.h"
#include "mail/decode.h"
#include "protocol/imap_fold_case.h"
#include "protocol/imap_search_html.h"

enum { FILE_NAME_MAX = 4096 };

enum err
imap_search_folded(struct buf *out, struct bytes text)
{
	size_t room = out->max - out->len;
	return imap_fold_case(bytes_slice(text, 0, room), out);
}

enum err
imap_search_value(struct buf *out, struct bytes value)
{
	value = bytes_slice(value, 0, IMAP_SEARCH_HEADER_MAX);
	struct buf decoded = BUF_INIT((size_t)IMAP_SEARCH_HEADER_MAX * 4);
	enum err e = mail_words_decode(value, &decoded);
	if (e == ERR_LIMIT) {
		e = ERR_OK; /* what there is of it */
	}
	if (e == ERR_OK) {
		e = imap_search_folded(out, buf_bytes(&decoded));
	}
	buf_wipe(&decoded);
	return e;
}

enum err
imap_search_header(struct buf *out, struct bytes header)
{
	struct mail_fields it;
	struct mail_field field;
	enum err e = ERR_OK;
	mail_fields_init(&it, header);
	while (e == ERR_OK && mail_fields_next(&it, &field)) {
		e = imap_search_folded(out, field.name);
		e = e == ERR_OK ? buf_append_str(out, ": ") : e;
		e = e == ERR_OK ? imap_search_value(out, field.value) : e;
		e = e == ERR_OK ? buf_append_byte(out, '\n') : e;
	}
	return e;
}

/* Texts with limits of their own are searched as far as they go. */
static enum err
unless_limit(enum err e)
{
	return e == ERR_LIMIT ? ERR_OK : e;
}

/* The text in UTF-8: itself, or in *utf8. What is said to be nothing else, and is not UTF-8, is read as most programs read it. */
static enum err
to_utf8(struct bytes charset, struct bytes *text, struct buf *utf8)
{
	bool said =
	    charset.len > 0 && !bytes_is_nocase(charset, "utf-8") && !bytes_is_nocase(charset, "us-ascii");
	enum err e = said ? unless_limit(mail_charset_to_utf8(charset, *text, utf8)) : ERR_UNSUPPORTED;
	if (e == ERR_UNSUPPORTED) {
		if (bytes_is_utf8(*text)) {
			return ERR_OK;
		}
		e = bytes_is_nocase(charset, "utf-8")
			? ERR_OK
			: unless_limit(mail_charset_to_utf8(BYTES_LIT("windows-1252"), *text, utf8));
	}
	if (e == ERR_OK && utf8->len > 0) {
		*text = buf_bytes(utf8);
	}
	return e;
}

static enum err
append_part(struct buf *out, struct bytes body, const struct mail_part *part)
{
	size_t room = out->max - out->len;
	struct buf decoded = BUF_INIT(room);
	struct buf utf8 = BUF_INIT(room * 3);
	struct buf seen = BUF_INIT(room + 64);
	struct bytes charset = BYTES_EMPTY;
	enum mail_encoding encoding = mail_encoding_of(part->encoding);
	struct bytes text = bytes_slice(body, 0, room);
	enum err e = ERR_OK;
	if (encoding == MAIL_ENCODING_QUOTED_PRINTABLE || encoding == MAIL_ENCODING_BASE64) {
		e = unless_limit(mail_decode(encoding, text, &decoded));
		text = buf_bytes(&decoded);
	}
	if (e == ERR_OK) {
		(void)mail_param_find(&part->params, "charset", &charset);
		e = to_utf8(charset, &text, &utf8);
	}
	if (e == ERR_OK && bytes_is_nocase(part->subtype, "html")) {
		e = unless_limit(imap_search_html(text, &seen));
		text = buf_bytes(&seen);
	}
	if (e == ERR_OK) {
		e = imap_search_folded(out, text);
	}
	buf_wipe(&decoded);
	buf_wipe(&utf8);
	buf_wipe(&seen);
	return e == ERR_OK ? buf_append_byte(out, '\n') : e;
}

static bool
is_text(const struct mail_part *part)
{
	/* message/delivery-status and the like, too. */
	return part->kind == MAIL_PART_LEAF &&
	       (bytes_is_nocase(part->type, "text") || bytes_is_nocase(part->type, "message"));
}

static enum err
append_name(struct buf *out, const struct mail_params *params, const char *name)
{
	struct buf value = BUF_INIT(FILE_NAME_MAX);
	enum err e = mail_param_decode(params, name, &value);
	if (e == ERR_OK || e == ERR_LIMIT) {
		e = imap_search_folded(out, buf_bytes(&value));
		e = e == ERR_OK ? buf_append_byte(out, '\n') : e;
	} else if (e != ERR_MEMORY) {
		e = ERR_OK;
	}
	buf_wipe(&value);
	return e;
}

enum err
imap_search_body(struct buf *out, struct bytes message, const struct mail_structure *s)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < s->count; i++) {
		const struct mail_part *part = &s->parts[i];
		if (i > 0 && part->envelope != NULL) {
			e = imap_search_header(out, bytes_slice(message, part->header_at, part->header_len));
		}
		if (e == ERR_OK && part->disposition_params.count > 0) {
			e = append_name(out, &part->disposition_params, "filename");
		}
		if (e == ERR_OK && part->params.count > 0) {
			e = append_name(out, &part->params, "name");
		}
		if (e == ERR_OK && is_text(part)) {
			e = append_part(out, bytes_slice(message, part->body_at, part->body_len), part);
		}
	}
	return e;
}

size_t
imap_search_body_end(const struct mail_structure *s)
{
	size_t end = s->count > 0 ? s->parts[0].body_at : 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct mail_part *part = &s->parts[i];
		size_t here = is_text(part)            ? part->body_at + part->body_len
			      : part->envelope != NULL ? part->body_at
						       : 0;
		end = here > end ? here : end;
	}
	return end;
}
