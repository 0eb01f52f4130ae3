/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_structure.h"

static void
fail(struct imap_writer *w, enum err e)
{
	if (w->error == ERR_OK) {
		w->error = e;
	}
}

/* A name or an empty one: NIL. */
static void
write_name(struct imap_writer *w, struct bytes s)
{
	imap_write_nstring(w, s.len == 0 ? BYTES_EMPTY : s);
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
		imap_write_string(w, a->name);
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
	imap_write_nstring(w, e->subject);
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
		imap_write_string(w, p->list[i].name);
		imap_write_text(w, " ");
		imap_write_string(w, p->list[i].value);
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
	imap_write_nstring(w, part->description);
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
