/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/privacy_edits.h"

#include <stdlib.h>

enum { EDITS_MAX = 64 << 20 }; /* octets of the list */

void
privacy_replace(struct privacy_edits *x, size_t at, size_t len, struct bytes text)
{
	const struct privacy_edit one = {.at = at, .len = len, .text_at = x->text.len, .text_len = text.len};
	if (x->error == ERR_OK) {
		x->error = buf_append(&x->text, text);
	}
	if (x->error == ERR_OK) {
		x->error = buf_append(&x->list, bytes_of(&one, sizeof(one)));
	}
}

void
privacy_cut(struct privacy_edits *x, size_t at, size_t len)
{
	privacy_replace(x, at, len, BYTES_EMPTY);
}

static int
by_place(const void *left, const void *right)
{
	const struct privacy_edit *a = left;
	const struct privacy_edit *b = right;
	return a->at < b->at ? -1 : a->at > b->at ? 1 : 0;
}

enum err
privacy_apply(struct privacy_edits *x, struct bytes message, struct buf *out)
{
	struct privacy_edit *list = (struct privacy_edit *)(void *)x->list.ptr;
	size_t count = x->list.len / sizeof(*list);
	size_t mark = out->len;
	size_t done = 0;
	enum err e = x->error;
	if (count > 0) {
		qsort(list, count, sizeof(*list), by_place);
	}
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (list[i].at < done) {
			continue; /* within what another change took out */
		}
		e = buf_append(out, bytes_slice(message, done, list[i].at - done));
		if (e == ERR_OK) {
			e = buf_append(out,
				       bytes_slice(buf_bytes(&x->text), list[i].text_at, list[i].text_len));
		}
		done = list[i].at + list[i].len;
	}
	if (e == ERR_OK) {
		e = buf_append(out, bytes_from(message, done));
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}

void
privacy_edits_init(struct privacy_edits *x)
{
	buf_init(&x->list, EDITS_MAX);
	buf_init(&x->text, EDITS_MAX);
	x->error = ERR_OK;
}

void
privacy_edits_clear(struct privacy_edits *x)
{
	buf_wipe(&x->list);
	buf_wipe(&x->text);
}

bool
privacy_next_field(struct privacy_edits *x, struct mail_fields *it, size_t base, struct mail_field *f)
{
	size_t from = it->at;
	size_t end = from;
	bool found = mail_fields_next(it, f);
	if (found) {
		end = f->offset;
	}
	while (!found && end < it->head.len) {
		size_t line = mail_line_end(it->head, end);
		if (mail_line_is_empty(bytes_slice(it->head, end, line - end))) {
			break;
		}
		end = line;
	}
	if (end > from) {
		privacy_cut(x, base + from, end - from);
	}
	return found;
}

bool
privacy_is_type(const struct mail_part *p, const char *type, const char *subtype)
{
	return bytes_is_nocase(p->type, type) && bytes_is_nocase(p->subtype, subtype);
}

struct bytes
privacy_parts_of(struct bytes message)
{
	struct mail_field f;
	bool single = !mail_field_find(message, "Content-Type", &f) ||
		      bytes_starts_with_nocase(bytes_trim(f.value), "text/");
	return single ? bytes_slice(message, 0, mail_header_length(message)) : message;
}
