/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_section.h"

static struct imap_plan
range_of(size_t at, size_t len)
{
	return (struct imap_plan){.kind = IMAP_PLAN_RANGE, .at = at, .len = len};
}

struct bytes
imap_section_partial(const struct imap_fetch_item *item, struct bytes text)
{
	return item->partial ? bytes_slice(text, item->start, item->count) : text;
}

/* The same cut on a range. */
static void
cut(const struct imap_fetch_item *item, struct imap_plan *plan)
{
	if (!item->partial) {
		return;
	}
	size_t skip = item->start < plan->len ? item->start : plan->len;
	plan->at += skip;
	plan->len -= skip;
	if (plan->len > item->count) {
		plan->len = item->count;
	}
}

bool
imap_section_of_whole(const struct imap_fetch_item *item, size_t size, struct imap_plan *ret_plan)
{
	bool whole = item->kind == IMAP_FETCH_RFC822 ||
		     (item->kind == IMAP_FETCH_SECTION && item->section.kind == IMAP_SECTION_ALL &&
		      item->section.path_len == 0);
	if (whole) {
		*ret_plan = range_of(0, size);
		if (item->kind == IMAP_FETCH_SECTION) {
			cut(item, ret_plan);
		}
	}
	return whole;
}

enum err
imap_section_resolve(const struct mail_structure *s, const struct imap_fetch_item *item,
		     struct imap_plan *ret_plan)
{
	const struct imap_section *section = &item->section;
	uint32_t at = 0;
	enum err e = ERR_OK;
	struct imap_plan plan = range_of(0, 0);
	if (s->count == 0) {
		return ERR_NOT_FOUND;
	}
	const struct mail_part *root = &s->parts[0];
	if (item->kind != IMAP_FETCH_SECTION) {
		*ret_plan = item->kind == IMAP_FETCH_RFC822_HEADER
				? range_of(root->header_at, root->header_len)
			    : item->kind == IMAP_FETCH_RFC822_TEXT ? range_of(root->body_at, root->body_len)
								   : range_of(0, s->size);
		return ERR_OK;
	}
	switch (section->kind) {
	case IMAP_SECTION_ALL:
		if (section->path_len == 0) {
			plan = range_of(0, s->size);
			break;
		}
		e = mail_part_find(s, section->path, section->path_len, &at);
		if (e == ERR_OK) {
			plan = range_of(s->parts[at].body_at, s->parts[at].body_len);
		}
		break;
	case IMAP_SECTION_MIME:
		e = mail_part_find(s, section->path, section->path_len, &at);
		if (e == ERR_OK) {
			plan = range_of(s->parts[at].header_at, s->parts[at].header_len);
		}
		break;
	case IMAP_SECTION_TEXT:
		e = mail_part_message(s, section->path, section->path_len, &at);
		if (e == ERR_OK) {
			plan = range_of(s->parts[at].body_at, s->parts[at].body_len);
		}
		break;
	case IMAP_SECTION_HEADER:
	case IMAP_SECTION_FIELDS:
	case IMAP_SECTION_FIELDS_NOT:
		e = mail_part_message(s, section->path, section->path_len, &at);
		if (e == ERR_OK) {
			plan = range_of(s->parts[at].header_at, s->parts[at].header_len);
		}
		break;
	}
	if (e != ERR_OK) {
		return e;
	}
	if (section->kind == IMAP_SECTION_FIELDS || section->kind == IMAP_SECTION_FIELDS_NOT) {
		plan.kind = IMAP_PLAN_FILTER; /* the cut follows the filter */
	} else {
		cut(item, &plan);
	}
	*ret_plan = plan;
	return ERR_OK;
}

enum err
imap_section_filter(const struct imap_section *section, struct bytes header, struct buf *out)
{
	bool wanted = section->kind == IMAP_SECTION_FIELDS;
	size_t start = out->len;
	struct mail_fields it;
	struct mail_field field;
	enum err e = ERR_OK;
	mail_fields_init(&it, header);
	while (e == ERR_OK && mail_fields_next(&it, &field)) {
		bool named = false;
		for (size_t i = 0; i < section->field_count && !named; i++) {
			named = section->fields[i].len == field.name.len &&
				bytes_equal_nocase(section->fields[i], field.name);
		}
		if (named == wanted) {
			e = buf_append(out, field.whole);
		}
	}
	if (e == ERR_OK) {
		/* The header may have ended without a line end. */
		bool open = out->len > start && out->ptr[out->len - 1] != '\n';
		e = buf_append_str(out, open ? "\r\n\r\n" : "\r\n");
	}
	if (e != ERR_OK) {
		buf_truncate(out, start);
	}
	return e;
}

bool
imap_fetch_sets_seen(const struct imap_fetch_item *item)
{
	return item->kind == IMAP_FETCH_RFC822 || item->kind == IMAP_FETCH_RFC822_TEXT ||
	       ((item->kind == IMAP_FETCH_SECTION || item->kind == IMAP_FETCH_BINARY) && !item->peek);
}

bool
imap_fetch_needs_message(const struct imap_fetch_item *item)
{
	return item->kind == IMAP_FETCH_RFC822 || item->kind == IMAP_FETCH_RFC822_HEADER ||
	       item->kind == IMAP_FETCH_RFC822_TEXT || item->kind == IMAP_FETCH_SECTION ||
	       item->kind == IMAP_FETCH_BINARY || item->kind == IMAP_FETCH_BINARY_SIZE ||
	       item->kind == IMAP_FETCH_PREVIEW;
}
