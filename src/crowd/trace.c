/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Words that stand for people, in an open table with linear probing, at most half full. */
struct names {
	struct bytes *word; /* borrowed from the text; len 0: free */
	uint32_t *number;
	size_t mask;
	uint32_t count;
};

struct reader {
	struct trace trace;
	size_t rows_cap;
	struct names names;
	uint8_t *sends; /* per person; room for `sends_cap` */
	size_t sends_cap;
	msec until;
	uint64_t line;
	struct trace_error *error;
};

enum {
	SECONDS_MAX =
	    1000000000, /* times 1000: until the year 33658; keeps all sums of times far from overflow */
	FRACTION_DIGITS = 3,
};

static enum err COHUE_PRINTF(3, 4) refuse(struct reader *r, enum err e, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	r->error->line = r->line;
	(void)vsnprintf(r->error->text, sizeof(r->error->text), format, args);
	va_end(args);
	return e;
}

static uint64_t
hash(struct bytes word)
{
	uint64_t h = 0xcbf29ce484222325U;
	for (size_t i = 0; i < word.len; i++) {
		h = (h ^ word.ptr[i]) * 0x100000001b3U;
	}
	return h ^ (h >> 29);
}

static size_t
place_of(const struct names *n, struct bytes word)
{
	size_t at = (size_t)hash(word) & n->mask;
	while (n->word[at].len != 0 && !bytes_equal(n->word[at], word)) {
		at = (at + 1) & n->mask;
	}
	return at;
}

static enum err
grow(struct names *n)
{
	size_t size = n->word == NULL ? 1024 : 2 * (n->mask + 1);
	struct names bigger = {.word = calloc(size, sizeof(*bigger.word)),
			       .number = calloc(size, sizeof(*bigger.number)),
			       .mask = size - 1,
			       .count = n->count};
	if (bigger.word == NULL || bigger.number == NULL) {
		free(bigger.word);
		free(bigger.number);
		return ERR_MEMORY;
	}
	for (size_t i = 0; n->word != NULL && i <= n->mask; i++) {
		if (n->word[i].len != 0) {
			size_t at = place_of(&bigger, n->word[i]);
			bigger.word[at] = n->word[i];
			bigger.number[at] = n->number[i];
		}
	}
	free(n->word);
	free(n->number);
	*n = bigger;
	return ERR_OK;
}

static enum err
number_of(struct reader *r, struct bytes word, uint32_t *ret)
{
	struct names *n = &r->names;
	if (n->word == NULL || 2 * (size_t)(n->count + 1) > n->mask) {
		if (n->count >= TRACE_PEOPLE_MAX) {
			return refuse(r, ERR_LIMIT, "more than %d people. Remedy: give a part of the trace",
				      TRACE_PEOPLE_MAX);
		}
		enum err e = grow(n);
		if (e != ERR_OK) {
			return e;
		}
	}
	size_t at = place_of(n, word);
	if (n->word[at].len == 0) {
		n->word[at] = word;
		n->number[at] = n->count++;
	}
	*ret = n->number[at];
	return ERR_OK;
}

static bool
is_separator(uint8_t c)
{
	return c == ' ' || c == '\t' || c == ',' || c == '\r';
}

static struct bytes
next_word(struct bytes *line)
{
	size_t start = 0;
	while (start < line->len && is_separator(line->ptr[start])) {
		start++;
	}
	size_t end = start;
	while (end < line->len && !is_separator(line->ptr[end])) {
		end++;
	}
	struct bytes word = bytes_slice(*line, start, end - start);
	*line = bytes_from(*line, end);
	return word;
}

/* "123" or "123.456": milliseconds; finer digits are cut off. */
static enum err
time_of(struct bytes word, msec *ret)
{
	ptrdiff_t dot = bytes_find(word, '.');
	struct bytes whole = dot < 0 ? word : bytes_slice(word, 0, (size_t)dot);
	uint64_t seconds = 0;
	uint64_t thousandths = 0;
	enum err e = bytes_to_u64(whole, (uint64_t)SECONDS_MAX * 1000, &seconds);
	if (e != ERR_OK) {
		return e;
	}
	if (dot >= 0) {
		struct bytes part = bytes_from(word, (size_t)dot + 1);
		uint64_t scale = 100;
		if (part.len == 0) {
			return ERR_FORMAT;
		}
		for (size_t i = 0; i < part.len; i++) {
			if (!ascii_is_digit(part.ptr[i])) {
				return ERR_FORMAT;
			}
			if (i < FRACTION_DIGITS) {
				thousandths += scale * (uint64_t)(part.ptr[i] - '0');
				scale /= 10;
			}
		}
	}
	*ret = (msec)(seconds * 1000 + thousandths);
	return ERR_OK;
}

static enum err
add_row(struct reader *r, const struct trace_row *row)
{
	struct trace *t = &r->trace;
	if (t->row_count == r->rows_cap) {
		size_t more = r->rows_cap == 0 ? 4096 : 2 * r->rows_cap;
		struct trace_row *rows = NULL;
		if (t->row_count >= TRACE_ROWS_MAX) {
			return refuse(r, ERR_LIMIT, "more than %d rows. Remedy: give a part of the trace",
				      TRACE_ROWS_MAX);
		}
		rows = reallocarray(t->rows, more, sizeof(*rows));
		if (rows == NULL) {
			return ERR_MEMORY;
		}
		t->rows = rows;
		r->rows_cap = more;
	}
	if (row->sender >= r->sends_cap) {
		size_t more = 2 * (size_t)row->sender + 1024;
		uint8_t *sends = realloc(r->sends, more);
		if (sends == NULL) {
			return ERR_MEMORY;
		}
		for (size_t i = r->sends_cap; i < more; i++) {
			sends[i] = 0;
		}
		r->sends = sends;
		r->sends_cap = more;
	}
	t->senders += r->sends[row->sender] == 0;
	r->sends[row->sender] = 1;
	t->rows[t->row_count++] = *row;
	return ERR_OK;
}

static enum err
read_line(struct reader *r, struct bytes line)
{
	struct bytes sender = next_word(&line);
	struct bytes recipient = next_word(&line);
	struct bytes time = next_word(&line);
	struct trace_row row = {.time = 0};
	if (sender.len == 0 || sender.ptr[0] == '#') {
		return ERR_OK;
	}
	if (time.len == 0) {
		return refuse(r, ERR_FORMAT,
			      "three words are needed: sender, recipient, time in seconds. Remedy: complete "
			      "the line, or "
			      "put # before it");
	}
	if (sender.len > TRACE_NAME_MAX || recipient.len > TRACE_NAME_MAX) {
		return refuse(
		    r, ERR_FORMAT,
		    "a name is longer than %d octets. Remedy: number the people, or shorten the name",
		    TRACE_NAME_MAX);
	}
	if (time_of(time, &row.time) != ERR_OK) {
		return refuse(
		    r, ERR_FORMAT,
		    "the third word is not a time in seconds. Remedy: write digits, like 1234567 or "
		    "1234567.5, or put # before a heading");
	}
	if (row.time >= r->until) {
		return ERR_OK;
	}
	enum err e = number_of(r, sender, &row.sender);
	e = e == ERR_OK ? number_of(r, recipient, &row.recipient) : e;
	return e == ERR_OK ? add_row(r, &row) : e;
}

static int
by_time(const void *a, const void *b)
{
	const struct trace_row *x = a;
	const struct trace_row *y = b;
	if (x->time != y->time) {
		return x->time < y->time ? -1 : 1;
	}
	if (x->sender != y->sender) {
		return x->sender < y->sender ? -1 : 1;
	}
	return (x->recipient > y->recipient) - (x->recipient < y->recipient);
}

static enum err
make_units(struct trace *t)
{
	size_t count = 0;
	qsort(t->rows, t->row_count, sizeof(t->rows[0]), by_time);
	t->units = reallocarray(NULL, t->row_count, sizeof(t->units[0]));
	if (t->units == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < t->row_count; i++) {
		const struct trace_row *row = &t->rows[i];
		if (count > 0 && t->units[count - 1].time == row->time &&
		    t->units[count - 1].sender == row->sender) {
			t->units[count - 1].rows++;
		} else {
			t->units[count++] = (struct trace_unit){
			    .time = row->time, .sender = row->sender, .first = (uint32_t)i, .rows = 1};
		}
	}
	t->unit_count = count;
	return ERR_OK;
}

static enum err
read_lines(struct reader *r, struct bytes text)
{
	if (text.len >= 2 && text.ptr[0] == 0x1f && text.ptr[1] == 0x8b) {
		return refuse(
		    r, ERR_FORMAT,
		    "this is compressed (gzip). Remedy: gunzip -c FILE | cohue crowd simulate --trace -");
	}
	while (text.len > 0) {
		ptrdiff_t end = bytes_find(text, '\n');
		struct bytes line = end < 0 ? text : bytes_slice(text, 0, (size_t)end);
		text = bytes_from(text, end < 0 ? text.len : (size_t)end + 1);
		r->line++;
		enum err e = read_line(r, line);
		if (e != ERR_OK) {
			return e;
		}
	}
	r->line = 0;
	if (r->trace.row_count == 0) {
		return refuse(
		    r, ERR_FORMAT,
		    "there is no row in it. Remedy: lines `sender recipient time`, the time in seconds");
	}
	return make_units(&r->trace);
}

enum err
trace_read(struct bytes text, msec until, struct trace *ret, struct trace_error *ret_error)
{
	struct reader r = {.until = until, .error = ret_error};
	enum err e = read_lines(&r, text);
	if (e == ERR_OK) {
		r.trace.people = r.names.count;
		*ret = r.trace;
	} else {
		trace_clear(&r.trace);
	}
	free(r.names.word);
	free(r.names.number);
	free(r.sends);
	return e;
}

void
trace_clear(struct trace *t)
{
	free(t->rows);
	free(t->units);
	*t = (struct trace){.rows = NULL};
}
