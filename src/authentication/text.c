/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/text.h"

#include <string.h>

bool
text_records_next(struct bytes *rdata, struct bytes *ret_one)
{
	if (rdata->len < 4) {
		return false;
	}
	uint32_t len = (uint32_t)rdata->ptr[0] << 24 | (uint32_t)rdata->ptr[1] << 16 |
		       (uint32_t)rdata->ptr[2] << 8 | rdata->ptr[3];
	if (len > rdata->len - 4) {
		return false;
	}
	*ret_one = bytes_slice(*rdata, 4, len);
	*rdata = bytes_from(*rdata, 4 + (size_t)len);
	return true;
}

enum err
text_of_txt(struct bytes rdata, struct buf *out)
{
	enum err e = ERR_OK;
	while (rdata.len > 0 && e == ERR_OK) {
		size_t len = rdata.ptr[0];
		if (len > rdata.len - 1) {
			return ERR_FORMAT;
		}
		e = buf_append(out, bytes_slice(rdata, 1, len));
		rdata = bytes_from(rdata, len + 1);
	}
	return e;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_tag_name(struct bytes name)
{
	if (name.len == 0 || !ascii_is_alpha(name.ptr[0])) {
		return false;
	}
	for (size_t i = 1; i < name.len; i++) {
		if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '_') {
			return false;
		}
	}
	return true;
}

static enum err
take_tag(struct bytes text, size_t at, size_t end, struct tags *tags)
{
	struct bytes spec = bytes_slice(text, at, end - at);
	ptrdiff_t equals = bytes_find(spec, '=');
	if (equals < 0) {
		return ERR_FORMAT;
	}
	struct bytes name = bytes_trim(bytes_slice(spec, 0, (size_t)equals));
	struct bytes present;
	if (!is_tag_name(name)) {
		return ERR_FORMAT;
	}
	if (tags->count == TAGS_MAX) {
		return ERR_LIMIT;
	}
	for (size_t i = 0; i < tags->count; i++) {
		present = tags->list[i].name;
		if (bytes_equal(present, name)) {
			return ERR_FORMAT;
		}
	}
	struct tag *tag = &tags->list[tags->count++];
	*tag = (struct tag){.name = name,
			    .value = bytes_trim(bytes_from(spec, (size_t)equals + 1)),
			    .raw_at = at + (size_t)equals + 1,
			    .raw_len = spec.len - (size_t)equals - 1};
	return ERR_OK;
}

enum err
tags_parse(struct bytes text, struct tags *ret)
{
	enum err e = ERR_OK;
	size_t at = 0;
	ret->count = 0;
	while (at <= text.len && e == ERR_OK) {
		ptrdiff_t semicolon = bytes_find(bytes_from(text, at), ';');
		size_t end = semicolon < 0 ? text.len : at + (size_t)semicolon;
		bool last = semicolon < 0;
		/* Nothing behind the last semicolon is no tag. */
		if (!last || bytes_trim(bytes_slice(text, at, end - at)).len > 0) {
			e = take_tag(text, at, end, ret);
		}
		at = end + 1;
	}
	return e == ERR_OK && ret->count == 0 ? ERR_FORMAT : e;
}

bool
tags_find(const struct tags *tags, const char *name, struct bytes *ret_value)
{
	for (size_t i = 0; i < tags->count; i++) {
		if (bytes_is(tags->list[i].name, name)) {
			*ret_value = tags->list[i].value;
			return true;
		}
	}
	return false;
}

enum err
tags_compact(struct bytes value, struct buf *out)
{
	enum err e = ERR_OK;
	size_t from = 0;
	for (size_t i = 0; i <= value.len && e == ERR_OK; i++) {
		if (i == value.len || is_blank(value.ptr[i])) {
			e = buf_append(out, bytes_slice(value, from, i - from));
			from = i + 1;
		}
	}
	return e;
}

bool
tags_item(struct bytes *list, uint8_t separator, struct bytes *ret_item)
{
	if (list->ptr == NULL) {
		return false;
	}
	ptrdiff_t end = bytes_find(*list, separator);
	*ret_item = bytes_trim(end < 0 ? *list : bytes_slice(*list, 0, (size_t)end));
	*list = end < 0 ? BYTES_EMPTY : bytes_of(list->ptr + end + 1, list->len - (size_t)end - 1);
	return true;
}

bool
text_is_domain(struct bytes domain, unsigned dots)
{
	size_t label = 0;
	unsigned seen = 0;
	for (size_t i = 0; i < domain.len; i++) {
		uint8_t c = domain.ptr[i];
		if (c == '.') {
			if (label == 0) {
				return false;
			}
			label = 0;
			seen++;
		} else if (!ascii_is_alnum(c) && c != '-' && c != '_') {
			return false;
		} else if (++label > 63) {
			return false;
		}
	}
	return label > 0 && domain.len <= 253 && seen >= dots;
}

bool
text_is_within(struct bytes domain, struct bytes parent)
{
	if (domain.len <= parent.len) {
		return bytes_equal_nocase(domain, parent);
	}
	size_t at = domain.len - parent.len;
	return domain.ptr[at - 1] == '.' && bytes_equal_nocase(bytes_from(domain, at), parent);
}

struct bytes
text_lower(struct arena *a, struct bytes text)
{
	uint8_t *copy = arena_alloc(a, text.len + 1);
	for (size_t i = 0; copy != NULL && i < text.len; i++) {
		copy[i] = ascii_lower(text.ptr[i]);
	}
	return bytes_of(copy, copy == NULL ? 0 : text.len);
}
