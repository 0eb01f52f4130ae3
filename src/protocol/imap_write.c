/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/calendar.h"
#include "protocol/imap_mailbox_name.h"

enum { QUOTED_MAX = 1000 };

void
imap_writer_init(struct imap_writer *w, struct buf *out, bool utf8)
{
	*w = (struct imap_writer){.out = out, .error = ERR_OK, .utf8 = utf8};
}

enum err
imap_write_done(const struct imap_writer *w)
{
	return w->error;
}

size_t
imap_write_mark(const struct imap_writer *w)
{
	return w->out->len;
}

void
imap_write_undo(struct imap_writer *w, size_t mark)
{
	buf_truncate(w->out, mark);
	w->error = ERR_OK;
}

void
imap_write_raw(struct imap_writer *w, struct bytes octets)
{
	if (w->error == ERR_OK) {
		w->error = buf_append(w->out, octets);
	}
}

void
imap_write_format(struct imap_writer *w, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text)) {
		w->error = w->error == ERR_OK ? ERR_LIMIT : w->error;
		return;
	}
	imap_write_raw(w, bytes_of(text, (size_t)n));
}

void
imap_write_number(struct imap_writer *w, uint64_t number)
{
	if (w->error == ERR_OK) {
		w->error = buf_append_u64(w->out, number);
	}
}

void
imap_write_crlf(struct imap_writer *w)
{
	imap_write_raw(w, BYTES_LIT("\r\n"));
}

static void
write_octet(struct imap_writer *w, uint8_t c)
{
	if (w->error == ERR_OK) {
		w->error = buf_append_byte(w->out, c);
	}
}

static bool
fits_quoted(const struct imap_writer *w, struct bytes s)
{
	if (s.len > QUOTED_MAX) {
		return false;
	}
	/* Without a branch in the loop, so that it takes many octets at once. */
	unsigned bad = 0;
	unsigned all = 0;
	for (size_t i = 0; i < s.len; i++) {
		bad |=
		    (unsigned)(s.ptr[i] == 0) | (unsigned)(s.ptr[i] == '\r') | (unsigned)(s.ptr[i] == '\n');
		all |= s.ptr[i];
	}
	return bad == 0 && (all < 0x80 || (w->utf8 && bytes_is_utf8(s)));
}

void
imap_write_literal_head(struct imap_writer *w, uint64_t size, bool binary)
{
	imap_write_text(w, binary ? "~{" : "{");
	imap_write_number(w, size);
	imap_write_text(w, "}\r\n");
}

void
imap_write_string(struct imap_writer *w, struct bytes s)
{
	if (!fits_quoted(w, s)) {
		imap_write_literal_head(w, s.len, false);
		size_t at = w->out->len;
		imap_write_raw(w, s);
		/* RFC 3501: a literal holds no NUL. */
		for (; w->error == ERR_OK && at < w->out->len; at++) {
			if (w->out->ptr[at] == 0) {
				w->out->ptr[at] = '?';
			}
		}
		return;
	}
	size_t escapes = 0;
	for (size_t i = 0; i < s.len; i++) {
		escapes += (size_t)(s.ptr[i] == '"') + (size_t)(s.ptr[i] == '\\');
	}
	if (w->error == ERR_OK) {
		w->error = buf_reserve(w->out, s.len + escapes + 2);
	}
	if (w->error != ERR_OK) {
		return;
	}
	uint8_t *at = w->out->ptr + w->out->len;
	*at++ = '"';
	if (escapes == 0 && s.len > 0) {
		memcpy(at, s.ptr, s.len);
		at += s.len;
	}
	for (size_t i = 0; escapes > 0 && i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\') {
			*at++ = '\\';
		}
		*at++ = s.ptr[i];
	}
	*at++ = '"';
	w->out->len = (size_t)(at - w->out->ptr);
}

void
imap_write_nstring(struct imap_writer *w, struct bytes s)
{
	if (s.ptr == NULL) {
		imap_write_text(w, "NIL");
	} else {
		imap_write_string(w, s);
	}
}

bool
imap_is_atom(struct bytes s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= 0x20 || s.ptr[i] >= 0x7f || memchr("(){%*\"\\]", s.ptr[i], 8) != NULL) {
			return false;
		}
	}
	return s.len > 0;
}

void
imap_write_astring(struct imap_writer *w, struct bytes s)
{
	if (s.len <= QUOTED_MAX && imap_is_atom(s) && !bytes_is_nocase(s, "NIL")) {
		imap_write_raw(w, s);
	} else {
		imap_write_string(w, s);
	}
}

void
imap_write_mailbox(struct imap_writer *w, struct bytes name)
{
	struct buf wire = BUF_INIT((size_t)IMAP_NAME_MAX * 4);
	enum err e = imap_mailbox_to_wire(&wire, name, w->utf8);
	if (e == ERR_OK) {
		imap_write_astring(w, buf_bytes(&wire));
	} else if (w->error == ERR_OK) {
		w->error = e;
	}
	buf_wipe(&wire);
}

void
imap_write_flags(struct imap_writer *w, const struct imap_flags *flags)
{
	bool first = true;
	write_octet(w, '(');
	for (uint32_t bit = 1; bit <= IMAP_FLAG_RECENT; bit <<= 1) {
		if ((flags->system & bit) != 0) {
			imap_write_text(w, first ? "" : " ");
			imap_write_text(w, imap_flag_name(bit));
			first = false;
		}
	}
	for (size_t i = 0; i < flags->keyword_count; i++) {
		if (imap_is_atom(flags->keywords[i])) {
			imap_write_text(w, first ? "" : " ");
			imap_write_raw(w, flags->keywords[i]);
			first = false;
		}
	}
	write_octet(w, ')');
}

void
imap_write_uses(struct imap_writer *w, uint32_t use)
{
	bool first = true;
	for (uint32_t bit = 1; bit <= IMAP_USE_TRASH; bit <<= 1) {
		if ((use & bit) != 0) {
			imap_write_text(w, first ? "" : " ");
			imap_write_text(w, imap_use_name(bit));
			first = false;
		}
	}
}

void
imap_write_set(struct imap_writer *w, const struct imap_set *set)
{
	if (w->error == ERR_OK) {
		w->error = imap_set_write(w->out, set);
	}
}

void
imap_write_time(struct imap_writer *w, struct imap_time time)
{
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	const int64_t earliest = calendar_days(1, 1, 1) * 86400;
	const int64_t latest = calendar_days(9999, 12, 31) * 86400;
	int zone = time.zone > -1440 && time.zone < 1440 ? time.zone : 0;
	int64_t local = time.seconds;
	local = local < earliest ? earliest : local > latest ? latest : local;
	local += (int64_t)zone * 60;
	local = local < earliest ? earliest : local;
	struct calendar c = calendar_of(local);
	int west = zone < 0;
	int minutes = west ? -zone : zone;
	imap_write_format(w, "\"%02d-%s-%04d %02d:%02d:%02d %c%02d%02d\"", c.day, months[c.month - 1],
			  (int)c.year, c.hour, c.minute, c.second, west ? '-' : '+', minutes / 60,
			  minutes % 60);
}

void
imap_write_section_name(struct imap_writer *w, const struct imap_fetch_item *item)
{
	const struct imap_section *s = &item->section;
	bool binary = item->kind == IMAP_FETCH_BINARY || item->kind == IMAP_FETCH_BINARY_SIZE;
	if (item->kind != IMAP_FETCH_SECTION && !binary) {
		imap_write_text(w, item->kind == IMAP_FETCH_RFC822          ? "RFC822"
				   : item->kind == IMAP_FETCH_RFC822_HEADER ? "RFC822.HEADER"
									    : "RFC822.TEXT");
		return;
	}
	imap_write_text(w, item->kind == IMAP_FETCH_BINARY ? "BINARY[" : binary ? "BINARY.SIZE[" : "BODY[");
	for (size_t i = 0; i < s->path_len; i++) {
		imap_write_text(w, i > 0 ? "." : "");
		imap_write_number(w, s->path[i]);
	}
	static const char *const names[] = {[IMAP_SECTION_ALL] = "",
					    [IMAP_SECTION_HEADER] = "HEADER",
					    [IMAP_SECTION_FIELDS] = "HEADER.FIELDS (",
					    [IMAP_SECTION_FIELDS_NOT] = "HEADER.FIELDS.NOT (",
					    [IMAP_SECTION_TEXT] = "TEXT",
					    [IMAP_SECTION_MIME] = "MIME"};
	imap_write_text(w, s->path_len > 0 && s->kind != IMAP_SECTION_ALL ? "." : "");
	imap_write_text(w, names[s->kind]);
	for (size_t i = 0; i < s->field_count; i++) {
		imap_write_text(w, i > 0 ? " " : "");
		imap_write_astring(w, s->fields[i]);
	}
	imap_write_text(w, s->kind == IMAP_SECTION_FIELDS || s->kind == IMAP_SECTION_FIELDS_NOT ? ")]" : "]");
	if (item->partial) {
		imap_write_format(w, "<%u>", (unsigned)item->start);
	}
}

void
imap_write_status(struct imap_writer *w, struct bytes tag, const char *status, const char *code,
		  const char *text)
{
	imap_write_raw(w, tag.len > 0 ? tag : BYTES_LIT("*"));
	write_octet(w, ' ');
	imap_write_text(w, status);
	if (code != NULL) {
		imap_write_text(w, " [");
		imap_write_text(w, code);
		write_octet(w, ']');
	}
	write_octet(w, ' ');
	imap_write_text(w, text);
	imap_write_crlf(w);
}

void
imap_write_untagged_number(struct imap_writer *w, uint32_t number, const char *what)
{
	imap_write_text(w, "* ");
	imap_write_number(w, number);
	write_octet(w, ' ');
	imap_write_text(w, what);
	imap_write_crlf(w);
}

void
imap_write_continue(struct imap_writer *w, const char *text)
{
	imap_write_text(w, "+ ");
	imap_write_text(w, text);
	imap_write_crlf(w);
}

void
imap_partial_slice(const struct imap_partial *p, size_t count, size_t *ret_first, size_t *ret_count)
{
	size_t low = p->first < p->last ? p->first : p->last;
	size_t high = p->first < p->last ? p->last : p->first;
	high = high < count ? high : count;
	*ret_count = low <= high ? high - low + 1 : 0;
	*ret_first = p->from_end ? count - high : low - 1;
}

/* Numbers as a set that keeps their order: what ascends one by one becomes a range. */
static void
write_numbers(struct imap_writer *w, const uint32_t *numbers, size_t count)
{
	for (size_t i = 0; i < count && w->error == ERR_OK;) {
		size_t n = 1;
		while (i + n < count && numbers[i + n] == numbers[i] + n) {
			n++;
		}
		if (i > 0) {
			write_octet(w, ',');
		}
		imap_write_number(w, numbers[i]);
		if (n > 1) {
			write_octet(w, ':');
			imap_write_number(w, numbers[i + n - 1]);
		}
		i += n;
	}
}

void
imap_write_esearch(struct imap_writer *w, const struct imap_esearch *e)
{
	uint32_t returns = e->returns == 0 ? (uint32_t)IMAP_RETURN_ALL : e->returns;
	imap_write_text(w, "* ESEARCH (TAG ");
	imap_write_string(w, e->tag);
	imap_write_text(w, e->uid ? ") UID" : ")");
	if (e->count > 0) {
		if ((returns & IMAP_RETURN_MIN) != 0) {
			imap_write_text(w, " MIN ");
			imap_write_number(w, e->numbers[0]);
		}
		if ((returns & IMAP_RETURN_MAX) != 0) {
			imap_write_text(w, " MAX ");
			imap_write_number(w, e->numbers[e->count - 1]);
		}
		if ((returns & IMAP_RETURN_ALL) != 0) {
			imap_write_text(w, " ALL ");
			write_numbers(w, e->numbers, e->count);
		}
	}
	if ((returns & IMAP_RETURN_PARTIAL) != 0) {
		size_t first = 0;
		size_t count = 0;
		const char *sign = e->partial.from_end ? "-" : "";
		imap_partial_slice(&e->partial, e->count, &first, &count);
		imap_write_format(w, " PARTIAL (%s%u:%s%u ", sign, e->partial.first, sign, e->partial.last);
		if (count > 0) {
			write_numbers(w, e->numbers + first, count);
		} else {
			imap_write_text(w, "NIL");
		}
		write_octet(w, ')');
	}
	if ((returns & IMAP_RETURN_COUNT) != 0) {
		imap_write_text(w, " COUNT ");
		imap_write_number(w, e->count);
	}
	if (e->modseq != 0 && e->count > 0) {
		imap_write_text(w, " MODSEQ ");
		imap_write_number(w, e->modseq);
	}
	imap_write_crlf(w);
}

void
imap_write_appenduid(struct imap_writer *w, struct bytes tag, uint32_t validity, uint32_t uid,
		     const char *text)
{
	char code[64];
	(void)snprintf(code, sizeof(code), "APPENDUID %u %u", (unsigned)validity, (unsigned)uid);
	imap_write_status(w, tag, "OK", code, text);
}

void
imap_write_copyuid(struct imap_writer *w, uint32_t validity, const struct imap_set *from,
		   const struct imap_set *to)
{
	imap_write_text(w, "COPYUID ");
	imap_write_number(w, validity);
	write_octet(w, ' ');
	imap_write_set(w, from);
	write_octet(w, ' ');
	imap_write_set(w, to);
}
