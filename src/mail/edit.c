/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/header.h"
#include "mail/lexer.h"
#include "mail/structure.h"
#include "mail/write.h"

/* Changes to a message's header; the other octets stay as they are. */

static bool
is_named(struct bytes name, const char *const *names)
{
	for (size_t i = 0; names[i] != NULL; i++) {
		if (bytes_is_nocase(name, names[i])) {
			return true;
		}
	}
	return false;
}

enum err
mail_strip_fields(struct bytes message, const char *const *names, struct buf *out)
{
	struct mail_fields it;
	struct mail_field field;
	size_t mark = out->len;
	size_t kept = 0; /* up to here all is written */
	enum err e = ERR_OK;
	mail_fields_init(&it, message);
	while (e == ERR_OK && mail_fields_next(&it, &field)) {
		if (is_named(field.name, names)) {
			e = buf_append(out, bytes_slice(message, kept, field.offset - kept));
			kept = field.offset + field.whole.len;
		}
	}
	if (e == ERR_OK) {
		e = buf_append(out, bytes_from(message, kept));
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}

enum err
mail_insert_top(struct bytes message, struct bytes fields, struct buf *out)
{
	size_t mark = out->len;
	struct bytes rest = bytes_from(message, mail_mbox_line_length(message));
	enum err e = buf_append(out, fields);
	if (e == ERR_OK && mail_header_length(rest) == 0) {
		e = buf_append_str(out, "\r\n");
	}
	if (e == ERR_OK) {
		e = buf_append(out, rest);
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}

size_t
mail_count_received(struct bytes message)
{
	struct mail_fields it;
	struct mail_field field;
	size_t count = 0;
	mail_fields_init(&it, message);
	while (mail_fields_next(&it, &field)) {
		count += bytes_is_nocase(field.name, "Received") ? 1 : 0;
	}
	return count;
}

bool
mail_has_8bit(struct bytes message)
{
	return !bytes_is_ascii(message);
}

bool
mail_has_8bit_header(struct bytes message)
{
	struct arena arena;
	struct mail_structure s;
	bool found = false;
	if (bytes_is_ascii(message)) {
		return false;
	}
	arena_init(&arena, MAIL_PARSE_MEMORY);
	/* What can't be looked at counts as 8-bit: the stricter answer. */
	if (mail_parse(&arena, message, &s) != ERR_OK) {
		found = true;
	} else {
		for (size_t i = 0; i < s.count && !found; i++) {
			found = !bytes_is_ascii(
			    bytes_slice(message, s.parts[i].header_at, s.parts[i].header_len));
		}
	}
	arena_clear(&arena);
	return found;
}
