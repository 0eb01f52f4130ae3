/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_reader.h"

#include <string.h>

/*
 * LINE -> (LITERAL -> LINE)* -> COMMAND. An APPEND's messages go through
 * OFFERED (the host decides), STREAM and TAIL each. What is refused goes through
 * DROP_LINE and DROP_LITERAL, which hold 32 octets, enough to see the literal
 * at a line's end and so stay in step with the client.
 */
enum {
	AT_LINE,
	AT_LITERAL,
	AT_OFFERED,
	AT_STREAM,
	AT_TAIL,
	AT_DROP_LINE,
	AT_DROP_LITERAL,
	AT_EXPECTED,
	AT_BYE,
	AT_DEAD
};

enum literal_kind {
	LITERAL_NONE,
	LITERAL_WAIT,    /* {N} */
	LITERAL_NO_WAIT, /* {N+} */
	LITERAL_MALFORMED
};

/* Room for "{N}" CRLF behind a full command. */
enum { TEXT_SLACK = 64 };

static const char metadata_maxsize[] = "METADATA MAXSIZE 16384";
_Static_assert(IMAP_METADATA_VALUE_MAX == 16384, "as the code says");

struct imap_reader_limits
imap_reader_limits_gate(void)
{
	return (struct imap_reader_limits){.command_max = IMAP_GATE_COMMAND_MAX,
					   .literal_max = IMAP_GATE_LITERAL_MAX,
					   .message_max = 0,
					   .line_discard_max = (size_t)2 * IMAP_GATE_COMMAND_MAX,
					   .discard_max = (uint64_t)2 * IMAP_GATE_COMMAND_MAX,
					   .errors_max = IMAP_ERRORS_MAX};
}

struct imap_reader_limits
imap_reader_limits_session(uint64_t message_max)
{
	return (struct imap_reader_limits){.command_max = IMAP_SESSION_COMMAND_MAX,
					   .literal_max = IMAP_SESSION_LITERAL_MAX,
					   .message_max = message_max,
					   .line_discard_max = (size_t)2 * IMAP_SESSION_COMMAND_MAX,
					   .discard_max =
					       message_max > UINT64_MAX / 2
						   ? message_max
						   : message_max + (uint64_t)2 * IMAP_SESSION_COMMAND_MAX,
					   .errors_max = IMAP_ERRORS_MAX};
}

void
imap_reader_init(struct imap_reader *r, struct imap_reader_limits limits)
{
	*r = (struct imap_reader){.limits = limits, .state = AT_LINE};
	buf_init(&r->text, limits.command_max + TEXT_SLACK);
}

void
imap_reader_clear(struct imap_reader *r)
{
	buf_wipe(&r->text);
	explicit_bzero(r->tail, sizeof(r->tail));
	r->state = AT_DEAD;
	r->lent = false;
}

bool
imap_reader_is_within(const struct imap_reader *r)
{
	return r->state == AT_LINE ? !r->lent && (r->text.len > 0 || r->cr)
				   : r->state != AT_EXPECTED && r->state != AT_DEAD;
}

size_t
imap_reader_held(const struct imap_reader *r)
{
	return r->text.cap;
}

bool
imap_tag_valid(struct bytes tag)
{
	if (tag.len == 0 || tag.len > IMAP_TAG_MAX) {
		return false;
	}
	for (size_t i = 0; i < tag.len; i++) {
		uint8_t c = tag.ptr[i];
		if (c <= 0x20 || c >= 0x7f || memchr("(){%*\"\\+", c, 8) != NULL) {
			return false;
		}
	}
	return true;
}

/* Ready for the next command; holds nothing. */
static void
start_over(struct imap_reader *r)
{
	buf_wipe(&r->text);
	explicit_bzero(r->tail, sizeof(r->tail));
	r->state = AT_LINE;
	r->quoted = r->escaped = r->cr = r->silent = r->lent = r->plain = r->utf8 = r->wait = false;
	r->literal = 0;
	r->discarded = 0;
	r->passed = 0;
	r->tail_len = 0;
	r->behind = 0;
	r->tag_len = 0;
	r->why = NULL;
	r->code = NULL;
	r->text.max = r->limits.command_max + TEXT_SLACK;
}

/* Takes the tag from the first line, once. */
static void
keep_tag(struct imap_reader *r)
{
	if (r->tag_len > 0) {
		return;
	}
	struct bytes text = buf_bytes(&r->text);
	ptrdiff_t space = bytes_find(text, ' ');
	struct bytes tag = space < 0 ? text : bytes_slice(text, 0, (size_t)space);
	if (imap_tag_valid(tag)) {
		memcpy(r->tag, tag.ptr, tag.len);
		r->tag_len = tag.len;
	}
}

static struct imap_event
event(struct imap_reader *r, enum imap_event_kind kind, struct bytes text)
{
	return (struct imap_event){
	    .kind = kind, .tag = bytes_of(r->tag, r->tag_len), .text = text, .size = 0, .wait = false};
}

static struct imap_event
say_bye(struct imap_reader *r, const char *why)
{
	buf_wipe(&r->text);
	r->state = AT_DEAD;
	return event(r, IMAP_EVENT_BYE, bytes_str(why));
}

/* The end of a dropped command. The tag stays for the event; the rest starts over at the next call. */
static struct imap_event
say_bad(struct imap_reader *r)
{
	r->errors += r->code == NULL ? 1 : 0;
	if (r->errors >= r->limits.errors_max) {
		return say_bye(r, "Too many errors");
	}
	struct imap_event e = event(r, IMAP_EVENT_BAD, bytes_str(r->why != NULL ? r->why : "Syntax error"));
	e.code = r->code;
	r->lent = true;
	return e;
}

bool
imap_reader_count_error(struct imap_reader *r)
{
	r->errors++;
	return r->errors >= r->limits.errors_max;
}

/* The line that is being read, as far as it is held: what stands behind the last literal, whose octets are no syntax. */
static struct bytes
present_line(const struct imap_reader *r)
{
	return bytes_from(buf_bytes(&r->text), r->behind);
}

static void
push_tail(struct imap_reader *r, struct bytes a)
{
	const size_t max = sizeof(r->tail);
	if (a.len >= max) {
		memcpy(r->tail, a.ptr + (a.len - max), max);
		r->tail_len = max;
		return;
	}
	if (r->tail_len + a.len > max) {
		size_t drop = r->tail_len + a.len - max;
		memmove(r->tail, r->tail + drop, r->tail_len - drop);
		r->tail_len -= drop;
	}
	if (a.len > 0) {
		memcpy(r->tail + r->tail_len, a.ptr, a.len);
		r->tail_len += a.len;
	}
}

/* From holding a line to throwing it away: the present line goes on until its end. */
static void
drop_line(struct imap_reader *r, const char *why)
{
	keep_tag(r);
	r->tail_len = 0;
	push_tail(r, present_line(r));
	buf_wipe(&r->text);
	r->behind = 0;
	r->why = why;
	r->discarded = 0;
	r->passed = 0;
	r->state = AT_DROP_LINE;
}

/* The literal at the end of an unquoted line, if there is one (RFC 3501 literal, RFC 7888). */
static enum literal_kind
literal_at_end(struct bytes line, uint64_t *ret_size, bool *ret_binary)
{
	if (line.len == 0 || line.ptr[line.len - 1] != '}') {
		return LITERAL_NONE;
	}
	ptrdiff_t open = bytes_find_last(line, '{');
	if (open < 0) {
		return LITERAL_NONE; /* "}" may stand in an atom */
	}
	size_t at = (size_t)open;
	struct bytes digits = bytes_slice(line, at + 1, line.len - at - 2);
	enum literal_kind kind = LITERAL_WAIT;
	if (digits.len > 0 && digits.ptr[digits.len - 1] == '+') {
		kind = LITERAL_NO_WAIT;
		digits.len--;
	}
	uint64_t size = 0;
	if (digits.len > 19 || bytes_to_u64(digits, INT64_MAX, &size) != ERR_OK) {
		return LITERAL_MALFORMED;
	}
	*ret_size = size;
	*ret_binary = at > 0 && line.ptr[at - 1] == '~';
	return kind;
}

/* How far the text is plain: stops at CR, LF, NUL. Follows quoted strings on the way. */
static size_t
scan_line(struct imap_reader *r, struct bytes in)
{
	size_t i = 0;
	for (; i < in.len; i++) {
		uint8_t c = in.ptr[i];
		if (c == '\r' || c == '\n' || c == 0) {
			break;
		}
		if (!r->quoted) {
			r->quoted = c == '"';
		} else if (r->escaped) {
			r->escaped = false;
		} else if (c == '\\') {
			r->escaped = true;
		} else if (c == '"') {
			r->quoted = false;
		}
	}
	return i;
}

/* RFC 5464 section 5: a value is any octets. */
static bool
takes_binary(struct bytes text)
{
	ptrdiff_t space = bytes_find(text, ' ');
	return space >= 0 && bytes_starts_with_nocase(bytes_from(text, (size_t)space + 1), "SETMETADATA ");
}

/* True where the held text is an APPEND (or REPLACE) whose mailbox name is complete: the literal is its message. */
static bool
is_message_literal(const struct imap_reader *r, struct bytes text)
{
	if (r->limits.message_max == 0) {
		return false;
	}
	ptrdiff_t space = bytes_find(text, ' ');
	struct bytes rest = space < 0 ? BYTES_EMPTY : bytes_from(text, (size_t)space + 1);
	if (bytes_starts_with_nocase(rest, "UID REPLACE ")) {
		rest = bytes_from(rest, 4);
	}
	if (bytes_starts_with_nocase(rest, "REPLACE ")) {
		/* Its number is followed by what follows APPEND. */
		rest = bytes_from(rest, 8);
		space = bytes_find(rest, ' ');
		rest = space < 0 ? BYTES_EMPTY : bytes_from(rest, (size_t)space + 1);
	} else if (bytes_starts_with_nocase(rest, "APPEND ")) {
		rest = bytes_from(rest, 7);
	} else {
		return false;
	}
	ptrdiff_t open = bytes_find_last(rest, '{');
	return open > 0; /* at 0 it is the mailbox name */
}

/* A line has ended: a whole command, or a literal follows. Returns true when *ret_event is set. */
static bool
end_of_line(struct imap_reader *r, struct imap_event *ret_event)
{
	r->cr = false;
	struct bytes text = buf_bytes(&r->text);
	if (text.len == 0) {
		return false; /* empty lines between commands are skipped */
	}
	uint64_t size = 0;
	bool binary = false;
	enum literal_kind kind = r->quoted ? LITERAL_NONE : literal_at_end(present_line(r), &size, &binary);
	keep_tag(r);
	if (r->quoted || kind == LITERAL_MALFORMED || r->tag_len == 0) {
		r->why = r->quoted         ? "Quoted string without its end"
			 : r->tag_len == 0 ? "No valid tag"
					   : "Malformed literal";
		if (r->tag_len == 0 && kind == LITERAL_NO_WAIT) {
			/* Its octets come at once, and are not commands. */
			drop_line(r, r->why);
			r->quoted = false;
			if (size > r->limits.discard_max) {
				*ret_event = say_bye(r, "Literal too large");
				return true;
			}
			r->literal = size;
			r->state = AT_DROP_LITERAL;
			return false;
		}
		*ret_event = say_bad(r);
		return true;
	}
	if (kind == LITERAL_NONE) {
		r->commands++;
		r->lent = true;
		*ret_event = event(r, IMAP_EVENT_COMMAND, text);
		return true;
	}
	if (is_message_literal(r, text)) {
		r->state = AT_OFFERED;
		r->literal = size;
		r->utf8 = binary;
		r->wait = kind == LITERAL_WAIT;
		*ret_event = event(r, IMAP_EVENT_APPEND, text);
		ret_event->size = size;
		ret_event->wait = r->wait;
		ret_event->utf8 = binary;
		return true;
	}
	bool annotation = r->limits.message_max > 0 && takes_binary(text);
	const char *why = binary && !takes_binary(text) ? "Binary literals are not supported here"
			  : size > r->limits.literal_max || size > r->limits.command_max - text.len ||
				  (annotation && size > IMAP_METADATA_VALUE_MAX)
			      ? "Literal too large"
			      : NULL;
	if (why != NULL) {
		if (annotation) {
			/* RFC 5464 section 4.3: what is too long is no error of syntax. */
			r->code = size > IMAP_METADATA_VALUE_MAX ? metadata_maxsize : "LIMIT";
		}
		if (kind == LITERAL_WAIT) {
			r->why = why;
			*ret_event = say_bad(r);
			return true;
		}
		if (size > r->limits.discard_max) {
			*ret_event = say_bye(r, "Literal too large");
			return true;
		}
		drop_line(r, why);
		r->literal = size;
		r->state = AT_DROP_LITERAL;
		return false;
	}
	if (buf_append(&r->text, BYTES_LIT("\r\n")) != ERR_OK) {
		*ret_event = say_bye(r, "[UNAVAILABLE] Out of memory");
		return true;
	}
	r->literal = size;
	r->behind = r->text.len;
	r->state = AT_LITERAL;
	if (kind == LITERAL_WAIT) {
		*ret_event = event(r, IMAP_EVENT_CONTINUE, BYTES_EMPTY);
		return true;
	}
	return false;
}

static void
advance(struct bytes *input, size_t n)
{
	*input = bytes_from(*input, n);
}

/* Consumes a CR or LF. Returns 1 at the line's end, 0 to go on, -1 at a bare CR or a NUL (taken in). */
static int
line_octet(struct imap_reader *r, struct bytes *input)
{
	uint8_t c = input->ptr[0];
	if (c == '\n') {
		advance(input, 1);
		r->cr = false;
		return 1;
	}
	if (r->cr || c == 0) {
		/* The octet behind a bare CR is looked at again. */
		r->cr = false;
		if (c == 0) {
			advance(input, 1);
		}
		return -1;
	}
	if (c == '\r') {
		advance(input, 1);
		r->cr = true;
	}
	return 0;
}

static bool
read_line(struct imap_reader *r, struct bytes *input, struct imap_event *ret_event)
{
	if (r->cr || input->ptr[0] == '\r' || input->ptr[0] == '\n' || input->ptr[0] == 0) {
		int what = line_octet(r, input);
		if (what < 0) {
			drop_line(r, "Bare CR or NUL in a command");
		}
		return what > 0 && end_of_line(r, ret_event);
	}
	size_t n = scan_line(r, *input);
	struct bytes part = bytes_slice(*input, 0, n);
	advance(input, n);
	if (n > r->limits.command_max -
		    (r->text.len < r->limits.command_max ? r->text.len : r->limits.command_max)) {
		/* The tag may stand in this very piece. */
		struct bytes start = bytes_slice(part, 0, IMAP_TAG_MAX + 1);
		uint64_t whole = (uint64_t)r->text.len + n;
		if (r->text.len < start.len && buf_append(&r->text, start) != ERR_OK) {
			*ret_event = say_bye(r, "[UNAVAILABLE] Out of memory");
			return true;
		}
		drop_line(r, "Command too long");
		push_tail(r, part);
		r->discarded = whole;
		r->passed = whole;
		if (whole > r->limits.discard_max || whole > r->limits.line_discard_max) {
			*ret_event = say_bye(r, "Command too long");
			return true;
		}
		return false;
	}
	if (buf_append(&r->text, part) != ERR_OK) {
		*ret_event = say_bye(r, "[UNAVAILABLE] Out of memory");
		return true;
	}
	return false;
}

static bool
read_literal(struct imap_reader *r, struct bytes *input, struct imap_event *ret_event)
{
	size_t n = r->literal < input->len ? (size_t)r->literal : input->len;
	if (buf_append(&r->text, bytes_slice(*input, 0, n)) != ERR_OK) {
		*ret_event = say_bye(r, "[UNAVAILABLE] Out of memory");
		return true;
	}
	advance(input, n);
	r->literal -= n;
	r->behind = r->text.len;
	if (r->literal == 0) {
		r->state = AT_LINE;
	}
	return false;
}

static bool
drop_some_line(struct imap_reader *r, struct bytes *input, struct imap_event *ret_event)
{
	if (r->cr || input->ptr[0] == '\r' || input->ptr[0] == '\n' || input->ptr[0] == 0) {
		if (line_octet(r, input) <= 0) {
			return false;
		}
		uint64_t size = 0;
		bool binary = false;
		enum literal_kind kind = r->quoted || r->plain
					     ? LITERAL_NONE
					     : literal_at_end(bytes_of(r->tail, r->tail_len), &size, &binary);
		r->tail_len = 0;
		if (kind == LITERAL_NO_WAIT) {
			r->literal = size;
			if (size > r->limits.discard_max || r->discarded > r->limits.discard_max - size) {
				*ret_event = say_bye(r, "Literal too large");
				return true;
			}
			r->state = AT_DROP_LITERAL;
			return false;
		}
		if (r->silent) {
			start_over(r);
			return false;
		}
		*ret_event = say_bad(r);
		return true;
	}
	size_t n = scan_line(r, *input);
	push_tail(r, bytes_slice(*input, 0, n));
	advance(input, n);
	r->discarded += n;
	r->passed += n;
	if (r->discarded > r->limits.discard_max || r->passed > r->limits.line_discard_max) {
		*ret_event = say_bye(r, "Command too long");
		return true;
	}
	return false;
}

static void
drop_some_literal(struct imap_reader *r, struct bytes *input)
{
	size_t n = r->literal < input->len ? (size_t)r->literal : input->len;
	advance(input, n);
	r->literal -= n;
	r->discarded += n;
	if (r->literal == 0) {
		r->state = AT_DROP_LINE;
		r->tail_len = 0;
	}
}

/* The line behind a message has ended: the command is whole, or another message follows. */
static bool
end_of_tail(struct imap_reader *r, struct imap_event *ret_event)
{
	struct bytes text = buf_bytes(&r->text);
	uint64_t size = 0;
	bool binary = false;
	enum literal_kind kind = r->quoted ? LITERAL_NONE : literal_at_end(present_line(r), &size, &binary);
	if (r->quoted || kind == LITERAL_MALFORMED) {
		r->why = r->quoted ? "Quoted string without its end" : "Malformed literal";
		*ret_event = say_bad(r);
		return true;
	}
	if (kind == LITERAL_NONE) {
		r->commands++;
		r->lent = true;
		*ret_event = event(r, IMAP_EVENT_APPEND_END, text);
		return true;
	}
	r->state = AT_OFFERED;
	r->literal = size;
	r->wait = kind == LITERAL_WAIT;
	*ret_event = event(r, IMAP_EVENT_APPEND_MORE, text);
	ret_event->size = size;
	ret_event->wait = r->wait;
	ret_event->utf8 = binary;
	return true;
}

static bool
read_tail(struct imap_reader *r, struct bytes *input, struct imap_event *ret_event)
{
	if (r->cr || input->ptr[0] == '\r' || input->ptr[0] == '\n' || input->ptr[0] == 0) {
		int what = line_octet(r, input);
		if (what < 0) {
			drop_line(r, "Bare CR or NUL in a command");
		}
		return what > 0 && end_of_tail(r, ret_event);
	}
	size_t n = scan_line(r, *input);
	struct bytes part = bytes_slice(*input, 0, n);
	advance(input, n);
	if (n > r->limits.command_max - r->text.len) {
		drop_line(r, "Command too long");
		push_tail(r, part);
		r->discarded = n;
		return false;
	}
	if (buf_append(&r->text, part) != ERR_OK) {
		*ret_event = say_bye(r, "[UNAVAILABLE] Out of memory");
		return true;
	}
	return false;
}

static bool
read_expected(struct imap_reader *r, struct bytes *input, struct imap_event *ret_event)
{
	if (r->cr || input->ptr[0] == '\r' || input->ptr[0] == '\n' || input->ptr[0] == 0) {
		int what = line_octet(r, input);
		if (what > 0) {
			r->lent = true;
			*ret_event = event(r, IMAP_EVENT_LINE, buf_bytes(&r->text));
			return true;
		}
		if (what < 0) {
			buf_wipe(&r->text);
			r->why = "Bare CR or NUL in a line";
			r->plain = true;
			r->state = AT_DROP_LINE;
		}
		return false;
	}
	size_t n = scan_line(r, *input);
	struct bytes part = bytes_slice(*input, 0, n);
	advance(input, n);
	if (n > r->line_max - r->text.len) {
		buf_wipe(&r->text);
		r->why = "Line too long";
		r->plain = true;
		r->discarded = n;
		r->state = AT_DROP_LINE;
		return false;
	}
	if (buf_append(&r->text, part) != ERR_OK) {
		*ret_event = say_bye(r, "[UNAVAILABLE] Out of memory");
		return true;
	}
	return false;
}

void
imap_reader_release(struct imap_reader *r)
{
	if (r->lent) {
		start_over(r);
	}
}

struct imap_event
imap_reader_next(struct imap_reader *r, struct bytes *input)
{
	struct imap_event e = {.kind = IMAP_EVENT_NONE};
	if (r->lent) {
		start_over(r);
	}
	for (;;) {
		bool ready = false;
		if (r->state == AT_STREAM && r->literal == 0) {
			r->state = AT_TAIL;
			buf_reset(&r->text);
			r->behind = 0;
		} else if (r->state == AT_LITERAL && r->literal == 0) {
			r->state = AT_LINE;
		} else if (r->state == AT_DROP_LITERAL && r->literal == 0) {
			r->state = AT_DROP_LINE;
			r->tail_len = 0;
		}
		if (r->state == AT_BYE) {
			return say_bye(r, r->why);
		}
		if (r->state == AT_DEAD) {
			*input = bytes_from(*input, input->len);
			return e;
		}
		if (r->state == AT_OFFERED) {
			panic("imap_reader_next before the APPEND was decided");
		}
		if (input->len == 0) {
			return e;
		}
		switch (r->state) {
		case AT_LINE:
			ready = read_line(r, input, &e);
			break;
		case AT_LITERAL:
			ready = read_literal(r, input, &e);
			break;
		case AT_STREAM: {
			size_t n = r->literal < input->len ? (size_t)r->literal : input->len;
			e = event(r, IMAP_EVENT_DATA, bytes_slice(*input, 0, n));
			advance(input, n);
			r->literal -= n;
			ready = true;
			break;
		}
		case AT_TAIL:
			ready = read_tail(r, input, &e);
			break;
		case AT_DROP_LINE:
			ready = drop_some_line(r, input, &e);
			break;
		case AT_DROP_LITERAL:
			drop_some_literal(r, input);
			break;
		case AT_EXPECTED:
			ready = read_expected(r, input, &e);
			break;
		default:
			panic("imap_reader: no such state");
		}
		if (ready) {
			return e;
		}
	}
}

void
imap_reader_accept(struct imap_reader *r)
{
	if (r->state != AT_OFFERED) {
		panic("imap_reader_accept without an APPEND");
	}
	r->state = AT_STREAM;
	r->quoted = r->escaped = false;
}

void
imap_reader_refuse(struct imap_reader *r)
{
	if (r->state == AT_OFFERED && r->wait) {
		start_over(r); /* the client sends neither literal nor rest */
		return;
	}
	if (r->state != AT_OFFERED && r->state != AT_STREAM) {
		panic("imap_reader_refuse without an APPEND");
	}
	buf_wipe(&r->text);
	r->quoted = r->escaped = false;
	r->silent = true;
	r->discarded = 0;
	r->passed = 0;
	if (r->literal > r->limits.discard_max) {
		r->why = "Message too large";
		r->state = AT_BYE;
		return;
	}
	r->state = AT_DROP_LITERAL;
}

void
imap_reader_expect_line(struct imap_reader *r, size_t max)
{
	start_over(r);
	r->line_max = max;
	r->text.max = max + TEXT_SLACK;
	r->state = AT_EXPECTED;
}
