/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/header.h"

#include "mail/lexer.h"

/* The index of the colon where a field begins at `at`; else `end`. RFC 5322 §2.2, with §4.5's blanks before the colon. */
static size_t
find_colon(struct bytes text, size_t at, size_t end, size_t *ret_name_end)
{
	size_t i = at;
	while (i < end && text.ptr[i] > 32 && text.ptr[i] < 127 && text.ptr[i] != ':') {
		i++;
	}
	if (i == at) {
		return end;
	}
	*ret_name_end = i;
	while (i < end && (text.ptr[i] == ' ' || text.ptr[i] == '\t')) {
		i++;
	}
	return i < end && text.ptr[i] == ':' ? i : end;
}

static bool
is_field(struct bytes text, size_t at, size_t end)
{
	size_t name_end;
	return find_colon(text, at, end, &name_end) < end;
}

size_t
mail_mbox_line_length(struct bytes message)
{
	if (!bytes_starts_with(message, "From ") && !bytes_starts_with(message, ">From ")) {
		return 0;
	}
	size_t end = mail_line_end(message, 0);
	return is_field(message, 0, end) ? 0 : end;
}

size_t
mail_header_length(struct bytes message)
{
	size_t at = mail_mbox_line_length(message);
	size_t end = mail_line_end(message, at);
	if (!mail_line_is_empty(bytes_slice(message, at, end - at)) && !is_field(message, at, end)) {
		return 0;
	}
	while (at < message.len) {
		end = mail_line_end(message, at);
		if (mail_line_is_empty(bytes_slice(message, at, end - at))) {
			return end;
		}
		at = end;
	}
	return message.len;
}

void
mail_fields_init(struct mail_fields *it, struct bytes message)
{
	it->head = bytes_slice(message, 0, mail_header_length(message));
	it->at = mail_mbox_line_length(it->head);
}

/* Without one line end at its end. */
static struct bytes
chomp(struct bytes line)
{
	if (line.len > 0 && line.ptr[line.len - 1] == '\n') {
		line.len--;
		if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
			line.len--;
		}
	}
	return line;
}

bool
mail_fields_next(struct mail_fields *it, struct mail_field *ret_field)
{
	struct bytes head = it->head;
	while (it->at < head.len) {
		size_t at = it->at;
		size_t line = mail_line_end(head, at);
		size_t end = line;
		size_t name_end = at;
		while (end < head.len && (head.ptr[end] == ' ' || head.ptr[end] == '\t')) {
			end = mail_line_end(head, end);
		}
		it->at = end;
		size_t colon = find_colon(head, at, line, &name_end);
		if (colon < line) {
			ret_field->name = bytes_slice(head, at, name_end - at);
			ret_field->value = chomp(bytes_slice(head, colon + 1, end - colon - 1));
			ret_field->whole = bytes_slice(head, at, end - at);
			ret_field->offset = at;
			return true;
		}
	}
	return false;
}

bool
mail_field_find(struct bytes message, const char *name, struct mail_field *ret_field)
{
	struct mail_fields it;
	struct mail_field field;
	mail_fields_init(&it, message);
	while (mail_fields_next(&it, &field)) {
		if (bytes_is_nocase(field.name, name)) {
			*ret_field = field;
			return true;
		}
	}
	return false;
}

enum err
mail_unfold(struct bytes value, struct buf *out)
{
	value = bytes_trim(value);
	size_t mark = out->len;
	size_t at = 0;
	while (at < value.len) {
		size_t end = mail_line_end(value, at);
		enum err e = buf_append(out, chomp(bytes_slice(value, at, end - at)));
		if (e != ERR_OK) {
			buf_truncate(out, mark);
			return e;
		}
		at = end;
	}
	return ERR_OK;
}
