/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_set.h"

#include <stdlib.h>
#include <string.h>

/* nz-number or "*". Moves *at on. */
static enum err
parse_number(struct bytes text, size_t *at, uint32_t *ret_number)
{
	if (*at < text.len && text.ptr[*at] == '*') {
		(*at)++;
		*ret_number = IMAP_STAR;
		return ERR_OK;
	}
	size_t start = *at;
	uint64_t value = 0;
	while (*at < text.len && ascii_is_digit(text.ptr[*at]) && *at - start < 10) {
		value = value * 10 + (uint64_t)(text.ptr[*at] - '0');
		(*at)++;
	}
	if (value == 0 || value > UINT32_MAX || text.ptr[start] == '0') {
		return ERR_FORMAT;
	}
	*ret_number = (uint32_t)value;
	return ERR_OK;
}

enum err
imap_set_parse(struct arena *a, struct bytes text, struct imap_set *ret_set)
{
	size_t count = 1;
	for (size_t i = 0; i < text.len; i++) {
		count += text.ptr[i] == ',';
	}
	if (text.len == 0) {
		return ERR_FORMAT;
	}
	struct imap_range *ranges = arena_array(a, count, sizeof(*ranges));
	if (ranges == NULL) {
		return ERR_MEMORY;
	}
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		if (parse_number(text, &at, &ranges[i].first) != ERR_OK) {
			return ERR_FORMAT;
		}
		ranges[i].last = ranges[i].first;
		if (at < text.len && text.ptr[at] == ':') {
			at++;
			if (parse_number(text, &at, &ranges[i].last) != ERR_OK) {
				return ERR_FORMAT;
			}
		}
		if (i + 1 < count) {
			if (at >= text.len || text.ptr[at] != ',') {
				return ERR_FORMAT;
			}
			at++;
		}
	}
	if (at != text.len) {
		return ERR_FORMAT;
	}
	*ret_set = (struct imap_set){.ranges = ranges, .count = count, .saved = false};
	return ERR_OK;
}

static int
by_first(const void *left, const void *right)
{
	const struct imap_range *l = left;
	const struct imap_range *r = right;
	return l->first < r->first ? -1 : l->first > r->first;
}

size_t
imap_ranges_merge(struct imap_range *ranges, size_t count)
{
	if (count == 0) {
		return 0;
	}
	qsort(ranges, count, sizeof(*ranges), by_first);
	size_t kept = 0;
	for (size_t i = 1; i < count; i++) {
		if (ranges[kept].last == UINT32_MAX || ranges[i].first <= ranges[kept].last + 1) {
			if (ranges[i].last > ranges[kept].last) {
				ranges[kept].last = ranges[i].last;
			}
		} else {
			ranges[++kept] = ranges[i];
		}
	}
	return kept + 1;
}

enum err
imap_set_resolve(struct arena *a, const struct imap_set *set, uint32_t largest, struct imap_set *ret_set)
{
	struct imap_range *ranges = arena_array(a, set->count, sizeof(*ranges));
	if (ranges == NULL) {
		return ERR_MEMORY;
	}
	size_t count = 0;
	for (size_t i = 0; i < set->count; i++) {
		uint32_t first = set->ranges[i].first == IMAP_STAR ? largest : set->ranges[i].first;
		uint32_t last = set->ranges[i].last == IMAP_STAR ? largest : set->ranges[i].last;
		if (first > last) {
			uint32_t swap = first;
			first = last;
			last = swap;
		}
		if (first == 0) {
			first = 1; /* "*" of an empty mailbox names nothing */
		}
		if (first <= last) {
			ranges[count++] = (struct imap_range){.first = first, .last = last};
		}
	}
	count = imap_ranges_merge(ranges, count);
	*ret_set = (struct imap_set){.ranges = ranges, .count = count, .saved = false};
	return ERR_OK;
}

bool
imap_set_contains(const struct imap_set *set, uint32_t number)
{
	size_t low = 0;
	size_t high = set->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (number < set->ranges[mid].first) {
			high = mid;
		} else if (number > set->ranges[mid].last) {
			low = mid + 1;
		} else {
			return true;
		}
	}
	return false;
}

uint32_t
imap_set_last(const struct imap_set *set)
{
	return set->count == 0 ? 0 : set->ranges[set->count - 1].last;
}

uint64_t
imap_set_size(const struct imap_set *set)
{
	uint64_t size = 0;
	for (size_t i = 0; i < set->count; i++) {
		size += (uint64_t)set->ranges[i].last - set->ranges[i].first + 1;
	}
	return size;
}

enum err
imap_set_write(struct buf *out, const struct imap_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		enum err e = i > 0 ? buf_append_byte(out, ',') : ERR_OK;
		if (e == ERR_OK) {
			e = buf_append_u64(out, set->ranges[i].first);
		}
		if (e == ERR_OK && set->ranges[i].last != set->ranges[i].first) {
			e = buf_append_byte(out, ':');
			if (e == ERR_OK) {
				e = buf_append_u64(out, set->ranges[i].last);
			}
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

enum err
imap_ranges_add(struct buf *ranges, uint32_t number)
{
	struct imap_range r;
	if (ranges->len >= sizeof(r)) {
		memcpy(&r, ranges->ptr + (ranges->len - sizeof(r)), sizeof(r));
		if (r.last != UINT32_MAX && number == r.last + 1) {
			r.last = number;
			memcpy(ranges->ptr + (ranges->len - sizeof(r)), &r, sizeof(r));
			return ERR_OK;
		}
	}
	r = (struct imap_range){.first = number, .last = number};
	return buf_append(ranges, bytes_of(&r, sizeof(r)));
}

struct imap_set
imap_ranges_set(const struct buf *ranges)
{
	/* A buffer's memory comes from malloc: aligned for any type. */
	return (struct imap_set){.ranges = (const struct imap_range *)(const void *)ranges->ptr,
				 .count = ranges->len / sizeof(struct imap_range),
				 .saved = false};
}
