/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/smtp_reply.h"

#include <string.h>

void
smtp_reply_init(struct smtp_reply_parser *p)
{
	*p = (struct smtp_reply_parser){.text = BUF_INIT(SMTP_REPLY_KEPT_MAX)};
}

void
smtp_reply_clear(struct smtp_reply_parser *p)
{
	buf_clear(&p->text);
	smtp_reply_init(p);
}

void
smtp_reply_next(struct smtp_reply_parser *p)
{
	smtp_reply_clear(p);
}

bool
smtp_reply_begun(const struct smtp_reply_parser *p)
{
	return p->lines > 0 || p->column > 0;
}

/* What passes the buffer's maximum is cut without an error. */
static enum err
keep(struct smtp_reply_parser *p, uint8_t c)
{
	enum err e = buf_append_byte(&p->text, c);
	return e == ERR_LIMIT ? ERR_OK : e;
}

static enum err
take_digit(struct smtp_reply_parser *p, uint8_t c)
{
	if (!ascii_is_digit(c) || (p->column == 0 && (c < '2' || c > '5'))) {
		return ERR_FORMAT;
	}
	p->line_code = p->line_code * 10 + (unsigned)(c - '0');
	return ERR_OK;
}

static enum err
take_octet(struct smtp_reply_parser *p, uint8_t c)
{
	enum err e = ERR_OK;
	if (p->column < 3) {
		e = take_digit(p, c);
	} else if (p->column == 3) {
		p->last = c == ' ';
		e = c == ' ' || c == '-' ? ERR_OK : ERR_FORMAT;
	} else {
		e = keep(p, c);
	}
	p->column++;
	return e == ERR_OK && p->column > SMTP_REPLY_LINE_MAX - 2 ? ERR_LIMIT : e;
}

static enum err
end_line(struct smtp_reply_parser *p)
{
	if (p->column < 3 || (p->lines > 0 && p->line_code != p->code)) {
		return ERR_FORMAT;
	}
	p->last = p->last || p->column == 3; /* "250" alone is a last line */
	p->code = p->line_code;
	p->line_code = 0;
	p->column = 0;
	p->saw_cr = false;
	if (++p->lines > SMTP_REPLY_LINES_MAX) {
		return ERR_LIMIT;
	}
	p->complete = p->last;
	return keep(p, '\n');
}

enum err
smtp_reply_feed(struct smtp_reply_parser *p, struct bytes in, size_t *ret_used)
{
	size_t i = 0;
	enum err e = ERR_OK;
	while (i < in.len && e == ERR_OK && !p->complete) {
		uint8_t c = in.ptr[i++];
		if (p->saw_cr) {
			e = c == '\n' ? end_line(p) : ERR_FORMAT;
		} else if (c == '\r') {
			p->saw_cr = true;
		} else if (c == '\n' || c == '\0') {
			e = ERR_FORMAT;
		} else {
			e = take_octet(p, c);
		}
	}
	if (e == ERR_OK) {
		*ret_used = i;
	}
	return e;
}

/* Length of "5.1.1" at the start of a line, its class that of the code; 0 where there is none (RFC 2034). */
static size_t
scan_status(struct bytes line, unsigned code)
{
	size_t at = 0;
	for (unsigned part = 0; part < 3; part++) {
		size_t start = at;
		while (at < line.len && ascii_is_digit(line.ptr[at]) && at - start < 3) {
			at++;
		}
		if (at == start || (part == 0 && (at != 1 || line.ptr[0] != '0' + code / 100))) {
			return 0;
		}
		if (part < 2) {
			if (at == line.len || line.ptr[at] != '.') {
				return 0;
			}
			at++;
		}
	}
	return at == line.len || line.ptr[at] == ' ' ? at : 0;
}

static void
append_text(struct smtp_result *r, size_t *len, struct bytes line)
{
	if (*len > 0 && *len < SMTP_RESULT_TEXT_MAX) {
		r->text[(*len)++] = ' ';
	}
	for (size_t i = 0; i < line.len && *len < SMTP_RESULT_TEXT_MAX; i++) {
		uint8_t c = line.ptr[i];
		r->text[(*len)++] = (char)(c == '\t' ? ' ' : c < ' ' || c > 126 ? '?' : c);
	}
}

void
smtp_result_of(const struct smtp_reply_parser *p, struct smtp_result *ret_result)
{
	struct smtp_result r = {.code = p->code};
	struct bytes rest = buf_bytes(&p->text);
	size_t len = 0;
	smtp_result_local(p->code, NULL, "", &r);
	r.local = false;
	for (bool first = true; rest.len > 0; first = false) {
		ptrdiff_t lf = bytes_find(rest, '\n');
		struct bytes line = lf >= 0 ? bytes_slice(rest, 0, (size_t)lf) : rest;
		rest = lf >= 0 ? bytes_from(rest, (size_t)lf + 1) : BYTES_EMPTY;
		size_t status = scan_status(line, p->code);
		if (first && status > 0 && status < sizeof(r.status)) {
			memcpy(r.status, line.ptr, status);
			r.status[status] = '\0';
		}
		append_text(&r, &len, bytes_trim(bytes_from(line, status)));
	}
	r.text[len] = '\0';
	*ret_result = r;
}

void
smtp_result_local(unsigned code, const char *status, const char *text, struct smtp_result *ret_result)
{
	struct smtp_result r = {.code = code, .local = true};
	char made[] = {(char)('0' + code / 100 % 10), '.', '0', '.', '0', '\0'};
	struct bytes s = bytes_slice(bytes_str(status != NULL ? status : made), 0, sizeof(r.status) - 1);
	size_t len = 0;
	memcpy(r.status, s.ptr, s.len);
	append_text(&r, &len, bytes_str(text));
	*ret_result = r;
}
