/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "mail/header.h"
#include "mail/lexer.h"

enum { MAX_ID = 2000 };

/* A copy without blanks inside; borrowed where there are none. */
static struct bytes
squeeze(struct arena *arena, struct bytes raw)
{
	size_t i = 0;
	while (i < raw.len && !mail_is_blank(raw.ptr[i])) {
		i++;
	}
	if (i == raw.len) {
		return raw;
	}
	uint8_t *to = arena_alloc(arena, raw.len);
	size_t len = 0;
	if (to == NULL) {
		return BYTES_EMPTY;
	}
	for (i = 0; i < raw.len; i++) {
		if (!mail_is_blank(raw.ptr[i])) {
			to[len++] = raw.ptr[i];
		}
	}
	return bytes_of(to, len);
}

/* The next "<...>" of a sane length at or after *at; false where there is none. */
static bool
next_id(struct bytes value, size_t *at, struct bytes *ret)
{
	size_t open = SIZE_MAX;
	for (size_t i = *at; i < value.len; i++) {
		if (value.ptr[i] == '<') {
			open = i;
		} else if (value.ptr[i] == '>' && open != SIZE_MAX && i - open < MAX_ID) {
			*ret = bytes_slice(value, open, i + 1 - open);
			*at = i + 1;
			return true;
		}
	}
	*at = value.len;
	return false;
}

enum err
mail_ids_parse(struct arena *arena, struct bytes value, size_t max, struct mail_ids *ret_ids)
{
	struct bytes raw;
	size_t at = 0;
	size_t count = 0;
	while (count < max && next_id(value, &at, &raw)) {
		count++;
	}
	struct bytes *list = arena_array(arena, count, sizeof(*list));
	struct mail_ids ids = {.list = list, .count = 0, .truncated = false};
	if (list == NULL) {
		return ERR_MEMORY;
	}
	at = 0;
	while (count > 0 && next_id(value, &at, &raw)) {
		if (ids.count == count) {
			ids.truncated = true;
			list[count - 1] = raw;
		} else {
			list[ids.count++] = raw;
		}
	}
	for (size_t i = 0; i < ids.count; i++) {
		list[i] = squeeze(arena, list[i]);
		if (list[i].ptr == NULL) {
			return ERR_MEMORY;
		}
	}
	*ret_ids = ids;
	return ERR_OK;
}
