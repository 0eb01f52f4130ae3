/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_structure.h"

#include "mail/write.h"

enum { TEXT_MAX = 64 * 1024 }; /* longer texts go as they came */

static void
fail(struct imap_writer *w, enum err e)
{
	if (w->error == ERR_OK) {
		w->error = e;
	}
}

/* UTF-8 beyond ASCII, which a client that did not enable it is not to get as such. Where there are encoded words beside it, it goes as it came. */
static bool
is_foreign(const struct imap_writer *w, struct bytes s)
{
	uint8_t all = 0;
	for (size_t i = 0; i < s.len; i++) {
		all |= s.ptr[i];
	}
	return all >= 0x80 && !w->utf8 && s.len <= TEXT_MAX && bytes_is_utf8(s) &&
	       bytes_search(s, BYTES_LIT("=?")) < 0;
}

/*
 * Text for people. RFC 3501 section 4.3.1: octets above 127 only where the charset is told, which here encoded words do (RFC 2047); what is
 * not UTF-8 goes as it came, in a literal.
 */
static void
write_text(struct imap_writer *w, struct bytes s)
{
	if (!is_foreign(w, s)) {
		imap_write_nstring(w, s);
		return;
	}
	struct buf words = BUF_INIT(s.len * 4 + 256);
	enum err e = mail_encode_words(&words, s);
	if (e == ERR_OK) {
		imap_write_string(w, buf_bytes(&words));
	} else {
		fail(w, e);
	}
	buf_wipe(&words);
}

/* A parameter: as RFC 2231 section 4 has it, its name with a "*". */
static void
write_param(struct imap_writer *w, struct bytes name, struct bytes value)
{
	static const char hex[] = "0123456789ABCDEF";
	if (!is_foreign(w, value) || bytes_find(name, '*') >= 0) {
		imap_write_string(w, name);
		imap_write_text(w, " ");
		imap_write_string(w, value);
		return;
	}
	struct buf text = BUF_INIT(name.len + value.len * 3 + 16);
	enum err e = buf_append(&text, name);
	e = e == ERR_OK ? buf_append_byte(&text, '*') : e;
	if (e == ERR_OK) {
		imap_write_string(w, buf_bytes(&text));
		buf_reset(&text);
		e = buf_append_str(&text, "utf-8''");
	}
	for (size_t i = 0; i < value.len && e == ERR_OK; i++) {
		uint8_t c = value.ptr[i];
		const uint8_t escape[3] = {'%', (uint8_t)hex[c >> 4], (uint8_t)hex[c & 15]};
		bool plain = ascii_is_alnum(c) || c == '.' || c == '-' || c == '_';
		e = plain ? buf_append_byte(&text, c) : buf_append(&text, bytes_of(escape, 3));
	}
	if (e == ERR_OK) {
		imap_write_text(w, " ");
		imap_write_string(w, buf_bytes(&text));
	} else {
		fail(w, e);
	}
	buf_wipe(&text);
}

/* A name or an empty one: NIL. */
static void
write_name(struct imap_writer *w, struct bytes s)
{
	write_text(w, s.len == 0 ? BYTES_EMPTY : s);
}

/* (name adl mailbox host); groups as RFC 3501 section 7.4.2 says. */
static void
write_address(struct imap_writer *w, const struct mail_address *a)
{
	imap_write_text(w, "(");
	switch (a->kind) {
	case MAIL_ADDRESS_MAILBOX:
		write_name(w, a->name);
		imap_write_text(w, " NIL ");
		imap_write_string(w, a->local);
		imap_write_text(w, " ");
		/* Broken mail may lack a domain; NIL there would mean a group. */
		imap_write_string(w, a->domain);
		break;
	case MAIL_ADDRESS_GROUP:
		imap_write_text(w, "NIL NIL ");
		write_text(w, a->name.ptr == NULL ? BYTES_LIT("") : a->name);
		imap_write_text(w, " NIL");
		break;
	case MAIL_ADDRESS_GROUP_END:
		imap_write_text(w, "NIL NIL NIL NIL");
		break;
	}
	imap_write_text(w, ")");
}

static void
write_addresses(struct imap_writer *w, const struct mail_addresses *list)
{
	if (list->count == 0) {
		imap_write_text(w, "NIL");
		return;
	}
	imap_write_text(w, "(");
	for (size_t i = 0; i < list->count; i++) {
		write_address(w, &list->list[i]);
	}
	imap_write_text(w, ")");
}

void
imap_write_envelope(struct imap_writer *w, const struct mail_envelope *e)
{
	imap_write_text(w, "(");
	imap_write_nstring(w, e->date);
	imap_write_text(w, " ");
	write_text(w, e->subject);
	const struct mail_addresses *const lists[] = {&e->from, &e->sender, &e->reply_to,
						      &e->to,   &e->cc,     &e->bcc};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		imap_write_text(w, " ");
		write_addresses(w, lists[i]);
	}
	imap_write_text(w, " ");
	imap_write_nstring(w, e->in_reply_to);
	imap_write_text(w, " ");
	imap_write_nstring(w, e->message_id);
	imap_write_text(w, ")");
}

static void
write_params(struct imap_writer *w, const struct mail_params *p)
{
	if (p->count == 0) {
		imap_write_text(w, "NIL");
		return;
	}
	imap_write_text(w, "(");
	for (size_t i = 0; i < p->count; i++) {
		imap_write_text(w, i > 0 ? " " : "");
		write_param(w, p->list[i].name, p->list[i].value);
	}
	imap_write_text(w, ")");
}

/* disposition, language, location: the same end for both kinds of parts. */
static void
write_extension(struct imap_writer *w, const struct mail_part *part)
{
	imap_write_text(w, " ");
	if (part->disposition.len == 0) {
		imap_write_text(w, "NIL");
	} else {
		imap_write_text(w, "(");
		imap_write_string(w, part->disposition);
		imap_write_text(w, " ");
		write_params(w, &part->disposition_params);
		imap_write_text(w, ")");
	}
	imap_write_text(w, " ");
	if (part->language_count == 0) {
		imap_write_text(w, "NIL");
	} else {
		imap_write_text(w, "(");
		for (size_t i = 0; i < part->language_count; i++) {
			imap_write_text(w, i > 0 ? " " : "");
			imap_write_string(w, part->languages[i]);
		}
		imap_write_text(w, ")");
	}
	imap_write_text(w, " ");
	imap_write_nstring(w, part->location);
}

static void write_part(struct imap_writer *w, const struct mail_structure *s, uint32_t at, bool extended,
		       unsigned depth);

static void
write_multipart(struct imap_writer *w, const struct mail_structure *s, const struct mail_part *part,
		bool extended, unsigned depth)
{
	imap_write_text(w, "(");
	uint32_t child = part->first_child;
	for (uint32_t i = 0; i < part->child_count && child != MAIL_NO_PART && w->error == ERR_OK; i++) {
		write_part(w, s, child, extended, depth + 1);
		child = child < s->count ? s->parts[child].next_sibling : MAIL_NO_PART;
	}
	imap_write_text(w, " ");
	imap_write_string(w, part->subtype);
	if (extended) {
		imap_write_text(w, " ");
		write_params(w, &part->params);
		write_extension(w, part);
	}
	imap_write_text(w, ")");
}

static void
write_single(struct imap_writer *w, const struct mail_structure *s, const struct mail_part *part,
	     bool extended, unsigned depth)
{
	const struct mail_part *inner = NULL;
	if (part->kind == MAIL_PART_MESSAGE && part->first_child < s->count) {
		inner = &s->parts[part->first_child];
	}
	bool message = inner != NULL && inner->envelope != NULL;
	imap_write_text(w, "(");
	if (!message && bytes_is_nocase(part->type, "message") && bytes_is_nocase(part->subtype, "rfc822")) {
		/* The grammar demands an envelope there, and there is none. */
		imap_write_text(w, "\"application\" \"octet-stream\" ");
	} else {
		imap_write_string(w, part->type);
		imap_write_text(w, " ");
		imap_write_string(w, part->subtype);
		imap_write_text(w, " ");
	}
	write_params(w, &part->params);
	imap_write_text(w, " ");
	imap_write_nstring(w, part->id);
	imap_write_text(w, " ");
	write_text(w, part->description);
	imap_write_text(w, " ");
	imap_write_string(w, part->encoding.len > 0 ? part->encoding : BYTES_LIT("7bit"));
	imap_write_text(w, " ");
	imap_write_number(w, part->body_len);
	if (message) {
		imap_write_text(w, " ");
		imap_write_envelope(w, inner->envelope);
		imap_write_text(w, " ");
		write_part(w, s, part->first_child, extended, depth + 1);
	}
	if (message || bytes_is_nocase(part->type, "text")) {
		imap_write_text(w, " ");
		imap_write_number(w, part->body_lines);
	}
	if (extended) {
		imap_write_text(w, " ");
		imap_write_nstring(w, part->md5);
		write_extension(w, part);
	}
	imap_write_text(w, ")");
}

/* Recursion ends at MAIL_MAX_DEPTH, whatever a summary says. */
static void
write_part(struct imap_writer *w, const struct mail_structure *s, uint32_t at, bool extended, unsigned depth)
{
	if (at >= s->count || depth > MAIL_MAX_DEPTH + 1) {
		fail(w, ERR_LIMIT);
		return;
	}
	const struct mail_part *part = &s->parts[at];
	if (part->kind == MAIL_PART_MULTIPART && part->child_count > 0) {
		write_multipart(w, s, part, extended, depth);
	} else {
		write_single(w, s, part, extended, depth);
	}
}

void
imap_write_structure(struct imap_writer *w, const struct mail_structure *s, bool extended)
{
	write_part(w, s, 0, extended, 0);
}
