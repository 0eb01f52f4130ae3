/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "process/status.h"

#include <string.h>

static struct bytes
next_line(struct bytes *rest)
{
	ptrdiff_t end = bytes_find(*rest, '\n');
	struct bytes line = end < 0 ? *rest : bytes_slice(*rest, 0, (size_t)end);
	*rest = end < 0 ? BYTES_EMPTY : bytes_from(*rest, (size_t)end + 1);
	return line;
}

static bool
is_marked(struct bytes line)
{
	return line.len > 0 && memchr("+=~!", line.ptr[0], 4) != NULL;
}

/* "name N": the name with its mark, and N. False: no such line. */
static bool
take_figure(struct bytes line, struct bytes *ret_name, uint64_t *ret_value)
{
	ptrdiff_t space = bytes_find(line, ' ');
	if (space <= 1 || (size_t)space >= STATUS_NAME_MAX ||
	    bytes_to_u64(bytes_from(line, (size_t)space + 1), UINT64_MAX, ret_value) != ERR_OK) {
		return false;
	}
	*ret_name = bytes_slice(line, 0, (size_t)space);
	return true;
}

static const struct status_figure *
find(const struct status_record *s, struct bytes name)
{
	for (size_t i = 0; i < s->count; i++) {
		if (bytes_is(name, s->figures[i].name)) {
			return &s->figures[i];
		}
	}
	return NULL;
}

uint64_t
status_coarse(uint64_t n)
{
	uint64_t step = 10;
	while (step < n && step <= UINT64_MAX / 10) {
		step *= 10;
	}
	return n == 0 ? 0 : step;
}

void
status_hour_ends(struct status_record *s, struct bytes lines)
{
	bool first = !s->begun;
	for (size_t i = 0; i < s->count; i++) {
		uint64_t *at = s->figures[i].at;
		/* What has gone from the lines stays as it was. */
		memmove(at + 1, at, STATUS_HOURS * sizeof(*at));
	}
	while (lines.len > 0) {
		struct bytes line = next_line(&lines);
		struct bytes name;
		uint64_t value = 0;
		if (!is_marked(line) || !take_figure(line, &name, &value)) {
			continue;
		}
		const struct status_figure *known = find(s, name);
		size_t i = known != NULL ? (size_t)(known - s->figures) : s->count;
		if (i == STATUS_FIGURES) {
			continue;
		}
		struct status_figure *f = &s->figures[i];
		if (known == NULL) {
			memset(f, 0, sizeof(*f));
			memcpy(f->name, name.ptr, name.len);
			s->count++;
		}
		f->at[0] = value;
		for (size_t h = 1; first && h <= STATUS_HOURS; h++) {
			f->at[h] = value;
		}
	}
	s->hours += first ? 0 : 1;
	s->begun = true;
}

static enum err
put(struct buf *out, struct bytes name, const char *what, uint64_t value)
{
	return buf_printf(out, "%.*s%s_at_most %llu\n", (int)name.len, (const char *)name.ptr, what,
			  (unsigned long long)status_coarse(value));
}

static uint64_t
since(const struct status_figure *f, size_t hours)
{
	return f->at[0] > f->at[hours] ? f->at[0] - f->at[hours] : 0;
}

static enum err
tell_figure(const struct status_record *s, struct bytes line, struct buf *out)
{
	struct bytes name;
	uint64_t value = 0;
	if (!take_figure(line, &name, &value)) {
		return ERR_OK;
	}
	uint8_t mark = name.ptr[0];
	const struct status_figure *f = find(s, name);
	name = bytes_from(name, 1);
	if (mark == '!') {
		return put(out, name, "", value);
	}
	if (f == NULL || s->hours == 0) {
		return ERR_OK; /* not before an hour has ended */
	}
	if (mark == '~' && f->at[0] == 0) {
		return ERR_OK;
	}
	if (mark == '=' || mark == '~') {
		return put(out, name, "", f->at[0]);
	}
	enum err e = put(out, name, "_last_hour", since(f, 1));
	return e == ERR_OK ? put(out, name, "_last_day", since(f, STATUS_HOURS)) : e;
}

static bool
ends_in_zero(struct bytes line)
{
	struct bytes name;
	uint64_t value = 0;
	return take_figure(line, &name, &value) && value == 0;
}

enum err
status_tell(const struct status_record *s, struct bytes lines, bool exact, struct buf *out)
{
	enum err e = ERR_OK;
	if (!exact) {
		e = buf_printf(out, "whole_hours %llu\n",
			       (unsigned long long)(s->hours < STATUS_HOURS ? s->hours : STATUS_HOURS));
	}
	while (e == ERR_OK && lines.len > 0) {
		struct bytes line = next_line(&lines);
		bool marked = is_marked(line);
		if (marked && !exact) {
			e = tell_figure(s, line, out);
		} else if (line.len > 0 && (line.ptr[0] != '~' || !ends_in_zero(line))) {
			e = buf_append(out, bytes_from(line, marked ? 1 : 0));
			e = e == ERR_OK ? buf_append_byte(out, '\n') : e;
		}
	}
	return e;
}
