/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/smtp_data.h"

#include <string.h>

enum state {
	STATE_LINE_START,
	STATE_TEXT,
	STATE_CR,     /* a CR that waits for its LF: counted and emitted with it */
	STATE_DOT,    /* a dot at the start of a line, dropped or the end */
	STATE_DOT_CR, /* and a CR behind it */
};

void
smtp_data_init(struct smtp_data *d, bool dots, const struct smtp_data_limits *limits)
{
	*d =
	    (struct smtp_data){.limits = *limits, .state = STATE_LINE_START, .dots = dots, .in_header = true};
}

static void
set_fault(struct smtp_data *d, enum smtp_fault fault)
{
	if (d->fault == SMTP_FAULT_NONE) {
		d->fault = fault;
	}
}

/* Of several limits passed within one run, the one passed by most was passed first, whatever the split. */
static void
check_limits(struct smtp_data *d)
{
	uint64_t over = 0;
	enum smtp_fault fault = SMTP_FAULT_NONE;
	if (d->size > d->limits.max_size) {
		over = d->size - d->limits.max_size;
		fault = SMTP_FAULT_SIZE;
	}
	if (d->in_header && d->header > d->limits.max_header && d->header - d->limits.max_header > over) {
		over = d->header - d->limits.max_header;
		fault = SMTP_FAULT_HEADER;
	}
	if (d->line > d->limits.max_line && d->line - d->limits.max_line > over) {
		fault = SMTP_FAULT_LINE;
	}
	if (fault != SMTP_FAULT_NONE) {
		set_fault(d, fault);
	}
}

static void
count(struct smtp_data *d, size_t n)
{
	d->size += n;
	d->header += d->in_header ? n : 0;
	d->line = n > UINT32_MAX - d->line ? UINT32_MAX : d->line + (uint32_t)n;
	check_limits(d);
}

static void
end_line(struct smtp_data *d)
{
	bool empty = d->line == 0;
	d->line = 0;
	count(d, 2);
	d->line = 0;
	if (empty) {
		d->in_header = false;
	}
	d->state = STATE_LINE_START;
}

/* The first CR, LF or NUL, or the end: line by line, so that no search runs far ahead of another. */
static size_t
find_special(struct bytes in, size_t at)
{
	size_t end = in.len;
	const uint8_t *p = memchr(in.ptr + at, '\n', end - at);
	if (p != NULL) {
		end = (size_t)(p - in.ptr);
	}
	p = memchr(in.ptr + at, '\r', end - at);
	if (p != NULL) {
		end = (size_t)(p - in.ptr);
	}
	p = memchr(in.ptr + at, '\0', end - at);
	return p != NULL ? (size_t)(p - in.ptr) : end;
}

/* What an octet does after those held back. True when it is used up. */
static bool
leave_held_state(struct smtp_data *d, uint8_t c, struct bytes *run)
{
	bool used = false;
	switch ((enum state)d->state) {
	case STATE_CR:
		if (c == '\n') {
			end_line(d);
			*run = BYTES_LIT("\r\n");
			return true;
		}
		set_fault(d, SMTP_FAULT_BARE_CR);
		count(d, 1);
		break;
	case STATE_DOT:
		used = c == '\r';
		if (used) {
			d->state = STATE_DOT_CR;
			return true;
		}
		break;
	case STATE_DOT_CR:
		if (c == '\n') {
			d->ended = true;
			return true;
		}
		set_fault(d, SMTP_FAULT_BARE_CR);
		count(d, 1);
		break;
	case STATE_LINE_START:
	case STATE_TEXT:
		return false;
	}
	d->state = STATE_TEXT;
	return false;
}

static size_t
read_text(struct smtp_data *d, struct bytes in, size_t *ret_run_end)
{
	size_t at = 0;
	while (at < in.len) {
		if (d->state == STATE_LINE_START && d->dots && in.ptr[at] == '.') {
			d->state = STATE_DOT;
			*ret_run_end = at;
			return at + 1;
		}
		size_t special = find_special(in, at);
		if (special > at) {
			d->state = STATE_TEXT;
			count(d, special - at);
			at = special;
			continue;
		}
		if (in.ptr[at] == '\r' && at + 1 == in.len) {
			d->state = STATE_CR;
			*ret_run_end = at;
			return at + 1;
		}
		if (in.ptr[at] == '\r' && in.ptr[at + 1] == '\n') {
			end_line(d);
			at += 2;
			continue;
		}
		set_fault(d, in.ptr[at] == '\r'   ? SMTP_FAULT_BARE_CR
			     : in.ptr[at] == '\n' ? SMTP_FAULT_BARE_LF
						  : SMTP_FAULT_NUL);
		d->state = STATE_TEXT;
		count(d, 1);
		at++;
	}
	*ret_run_end = at;
	return at;
}

size_t
smtp_data_next(struct smtp_data *d, struct bytes in, struct bytes *ret_run)
{
	struct bytes run = BYTES_EMPTY;
	size_t used = 0;
	if (in.len > 0 && !d->ended) {
		if (leave_held_state(d, in.ptr[0], &run)) {
			used = 1;
		} else {
			size_t run_end = 0;
			used = read_text(d, in, &run_end);
			run = bytes_slice(in, 0, run_end);
		}
	}
	*ret_run = d->fault == SMTP_FAULT_NONE ? run : BYTES_EMPTY;
	return used;
}

void
smtp_data_finish(struct smtp_data *d)
{
	if (d->state == STATE_CR) {
		set_fault(d, SMTP_FAULT_BARE_CR);
		d->state = STATE_TEXT;
	}
	d->ended = true;
}
