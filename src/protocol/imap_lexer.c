/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_lexer.h"

#include <string.h>

#include "base/calendar.h"

enum { KEYWORD_MAX = 200 };

void
imap_lex_fail(struct imap_lexer *l, enum err error, const char *why)
{
	if (l->error == ERR_OK) {
		l->error = error;
		l->why = why;
	}
}

int
imap_lex_peek(const struct imap_lexer *l)
{
	return l->error != ERR_OK || l->rest.len == 0 ? -1 : l->rest.ptr[0];
}

bool
imap_lex_take(struct imap_lexer *l, char c)
{
	if (imap_lex_peek(l) != (int)(uint8_t)c) {
		return false;
	}
	l->rest = bytes_from(l->rest, 1);
	return true;
}

void
imap_lex_need(struct imap_lexer *l, char c)
{
	if (!imap_lex_take(l, c)) {
		imap_lex_fail(l, ERR_FORMAT,
			      c == ' '   ? "A space or further argument is missing"
			      : c == ')' ? "A closing parenthesis is missing"
			      : c == '(' ? "A parenthesis is missing"
					 : "Syntax error");
	}
}

void
imap_lex_end(struct imap_lexer *l)
{
	while (imap_lex_take(l, ' ')) {
	}
	if (l->error == ERR_OK && l->rest.len > 0) {
		imap_lex_fail(l, ERR_FORMAT, "Unexpected characters at the end of the command");
	}
}

static bool
is_atom_octet(uint8_t c)
{
	return c > 0x20 && c < 0x7f && memchr("(){%*\"\\]", c, 8) == NULL;
}

static bool
is_astring_octet(uint8_t c)
{
	return is_atom_octet(c) || c == ']';
}

static bool
is_pattern_octet(uint8_t c)
{
	return is_astring_octet(c) || c == '%' || c == '*';
}

static struct bytes
take_run(struct imap_lexer *l, bool (*fits)(uint8_t), const char *why)
{
	size_t n = 0;
	if (l->error != ERR_OK) {
		return BYTES_EMPTY;
	}
	while (n < l->rest.len && fits(l->rest.ptr[n])) {
		n++;
	}
	if (n == 0) {
		imap_lex_fail(l, ERR_FORMAT, why);
		return BYTES_EMPTY;
	}
	struct bytes run = bytes_slice(l->rest, 0, n);
	l->rest = bytes_from(l->rest, n);
	return run;
}

bool
imap_lex_word(struct imap_lexer *l, const char *word)
{
	size_t n = strlen(word);
	if (l->error != ERR_OK || !bytes_starts_with_nocase(l->rest, word) ||
	    (l->rest.len > n && is_atom_octet(l->rest.ptr[n]))) {
		return false;
	}
	l->rest = bytes_from(l->rest, n);
	return true;
}

struct bytes
imap_lex_atom(struct imap_lexer *l)
{
	return take_run(l, is_atom_octet, "An atom is missing");
}

static struct bytes
take_quoted(struct imap_lexer *l)
{
	size_t n = 1;
	bool escapes = false;
	while (n < l->rest.len && l->rest.ptr[n] != '"') {
		if (l->rest.ptr[n] == '\\') {
			escapes = true;
			n++;
			if (n < l->rest.len && l->rest.ptr[n] != '"' && l->rest.ptr[n] != '\\') {
				imap_lex_fail(l, ERR_FORMAT, "Wrong escape in a quoted string");
				return BYTES_EMPTY;
			}
		}
		if (n < l->rest.len &&
		    (l->rest.ptr[n] == '\r' || l->rest.ptr[n] == '\n' || l->rest.ptr[n] == 0)) {
			imap_lex_fail(l, ERR_FORMAT, "Line end in a quoted string");
			return BYTES_EMPTY;
		}
		n++;
	}
	if (n >= l->rest.len) {
		imap_lex_fail(l, ERR_FORMAT, "Quoted string without its end");
		return BYTES_EMPTY;
	}
	struct bytes inner = bytes_slice(l->rest, 1, n - 1);
	l->rest = bytes_from(l->rest, n + 1);
	if (!escapes) {
		return inner;
	}
	uint8_t *copy = arena_alloc(l->arena, inner.len);
	if (copy == NULL) {
		imap_lex_fail(l, ERR_MEMORY, "Too much memory needed");
		return BYTES_EMPTY;
	}
	size_t len = 0;
	for (size_t i = 0; i < inner.len; i++) {
		if (inner.ptr[i] == '\\') {
			i++;
		}
		copy[len++] = inner.ptr[i];
	}
	return bytes_of(copy, len);
}

static struct bytes
take_literal(struct imap_lexer *l, bool binary)
{
	imap_lex_need(l, '{');
	uint64_t size = imap_lex_number(l, UINT32_MAX);
	(void)imap_lex_take(l, '+');
	imap_lex_need(l, '}');
	if (l->error != ERR_OK || !bytes_starts_with(l->rest, "\r\n") || size > l->rest.len - 2) {
		imap_lex_fail(l, ERR_FORMAT, "Literal without its octets");
		return BYTES_EMPTY;
	}
	struct bytes octets = bytes_slice(l->rest, 2, (size_t)size);
	if (!binary && bytes_find(octets, 0) >= 0) {
		imap_lex_fail(l, ERR_FORMAT, "NUL in a literal");
		return BYTES_EMPTY;
	}
	l->rest = bytes_from(l->rest, 2 + (size_t)size);
	return octets;
}

struct bytes
imap_lex_string(struct imap_lexer *l)
{
	if (imap_lex_peek(l) == '"') {
		return take_quoted(l);
	}
	if (imap_lex_peek(l) == '{') {
		return take_literal(l, false);
	}
	imap_lex_fail(l, ERR_FORMAT, "A string is missing");
	return BYTES_EMPTY;
}

struct bytes
imap_lex_astring(struct imap_lexer *l)
{
	int c = imap_lex_peek(l);
	return c == '"' || c == '{' ? imap_lex_string(l)
				    : take_run(l, is_astring_octet, "An argument is missing");
}

struct bytes
imap_lex_nstring(struct imap_lexer *l)
{
	if (imap_lex_word(l, "NIL")) {
		return BYTES_EMPTY;
	}
	struct bytes s = imap_lex_string(l);
	/* An empty string is not NIL. */
	return s.ptr == NULL ? BYTES_LIT("") : s;
}

struct bytes
imap_lex_nstring8(struct imap_lexer *l)
{
	if (!imap_lex_take(l, '~')) {
		return imap_lex_nstring(l);
	}
	struct bytes s = take_literal(l, true);
	return s.ptr == NULL ? BYTES_LIT("") : s;
}

struct bytes
imap_lex_pattern(struct imap_lexer *l)
{
	int c = imap_lex_peek(l);
	return c == '"' || c == '{' ? imap_lex_string(l)
				    : take_run(l, is_pattern_octet, "A pattern is missing");
}

static bool
is_digit_octet(uint8_t c)
{
	return ascii_is_digit(c);
}

uint64_t
imap_lex_number(struct imap_lexer *l, uint64_t max)
{
	struct bytes digits = take_run(l, is_digit_octet, "A number is missing");
	uint64_t value = 0;
	if (l->error == ERR_OK && bytes_to_u64(digits, max, &value) != ERR_OK) {
		imap_lex_fail(l, ERR_FORMAT, "A number is too large");
		return 0;
	}
	return value;
}

static bool
is_set_octet(uint8_t c)
{
	return ascii_is_digit(c) || c == ',' || c == ':' || c == '*';
}

void
imap_lex_set(struct imap_lexer *l, struct imap_set *set)
{
	if (imap_lex_peek(l) == '$') {
		(void)imap_lex_take(l, '$');
		*set = (struct imap_set){.ranges = NULL, .count = 0, .saved = true};
		return;
	}
	struct bytes text = take_run(l, is_set_octet, "A set of numbers is missing");
	if (l->error != ERR_OK) {
		return;
	}
	enum err e = imap_set_parse(l->arena, text, set);
	if (e != ERR_OK) {
		imap_lex_fail(l, e, "Not a valid set of numbers");
	}
}

void *
imap_lex_grow(struct imap_lexer *l, void *array, size_t count, size_t *cap, size_t size)
{
	if (l->error != ERR_OK) {
		return NULL;
	}
	if (count < *cap) {
		return array;
	}
	size_t more = *cap == 0 ? 4 : *cap * 2;
	void *larger = arena_array(l->arena, more, size);
	if (larger == NULL) {
		imap_lex_fail(l, ERR_MEMORY, "Too much memory needed");
		return NULL;
	}
	if (count > 0) {
		memcpy(larger, array, count * size);
	}
	*cap = more;
	return larger;
}

void
imap_lex_flags(struct imap_lexer *l, bool need_parentheses, struct imap_flags *flags)
{
	struct bytes *keywords = NULL;
	size_t cap = 0;
	uint32_t system = 0;
	size_t count = 0;
	bool open = imap_lex_take(l, '(');
	if (!open && need_parentheses) {
		imap_lex_fail(l, ERR_FORMAT, "A list of flags is missing");
	}
	bool done = open && imap_lex_take(l, ')');
	while (!done && l->error == ERR_OK) {
		if (imap_lex_take(l, '\\')) {
			struct bytes name = imap_lex_atom(l);
			struct bytes whole = name.len > 0 ? bytes_of(name.ptr - 1, name.len + 1) : name;
			uint32_t bit = imap_flag_bit(whole);
			if (bit == 0) {
				imap_lex_fail(l, ERR_FORMAT, "Unknown system flag");
			} else if (bit == IMAP_FLAG_RECENT) {
				/* RFC 3501 section 2.3.2; passed over, `FLAGS \Recent` would take all others away. */
				imap_lex_fail(l, ERR_FORMAT, "\\Recent is not a client's to set");
			}
			system |= bit;
		} else {
			struct bytes name = imap_lex_atom(l);
			if (name.len > KEYWORD_MAX) {
				imap_lex_fail(l, ERR_FORMAT, "Keyword too long");
			}
			keywords = imap_lex_grow(l, keywords, count, &cap, sizeof(*keywords));
			if (keywords != NULL) {
				keywords[count++] = name;
			}
		}
		if (open && imap_lex_take(l, ')')) {
			done = true;
		} else if (!open && imap_lex_peek(l) != ' ') {
			done = true;
		} else {
			imap_lex_need(l, ' ');
		}
	}
	flags->system = system;
	flags->keywords = keywords;
	flags->keyword_count = count;
}

/* Exactly n digits. */
static int
take_digits(struct imap_lexer *l, size_t n)
{
	int value = 0;
	for (size_t i = 0; i < n; i++) {
		int c = imap_lex_peek(l);
		if (c < '0' || c > '9') {
			imap_lex_fail(l, ERR_FORMAT, "Not a valid date");
			return 0;
		}
		value = value * 10 + (c - '0');
		(void)imap_lex_take(l, (char)c);
	}
	return value;
}

static int
take_month(struct imap_lexer *l)
{
	static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	for (int m = 0; m < 12; m++) {
		if (l->error == ERR_OK && bytes_starts_with_nocase(l->rest, names[m])) {
			l->rest = bytes_from(l->rest, 3);
			return m + 1;
		}
	}
	imap_lex_fail(l, ERR_FORMAT, "Not a valid date");
	return 1;
}

/* "-Mon-yyyy" behind a day, all checked. */
static int32_t
take_rest_of_date(struct imap_lexer *l, int day)
{
	imap_lex_need(l, '-');
	int month = take_month(l);
	imap_lex_need(l, '-');
	int year = take_digits(l, 4);
	if (!calendar_is_day(year, month, day)) {
		imap_lex_fail(l, ERR_FORMAT, "Not a valid date");
	}
	return l->error == ERR_OK ? (int32_t)calendar_days(year, month, day) : 0;
}

int32_t
imap_lex_date(struct imap_lexer *l)
{
	bool quoted = imap_lex_take(l, '"');
	int day = take_digits(l, 1);
	int next = imap_lex_peek(l);
	if (next >= '0' && next <= '9') {
		day = day * 10 + take_digits(l, 1);
	}
	int32_t days = take_rest_of_date(l, day);
	if (quoted) {
		imap_lex_need(l, '"');
	}
	return days;
}

struct imap_time
imap_lex_time(struct imap_lexer *l)
{
	imap_lex_need(l, '"');
	int day = imap_lex_take(l, ' ') ? take_digits(l, 1) : take_digits(l, 2);
	int32_t days = take_rest_of_date(l, day);
	imap_lex_need(l, ' ');
	int hour = take_digits(l, 2);
	imap_lex_need(l, ':');
	int minute = take_digits(l, 2);
	imap_lex_need(l, ':');
	int second = take_digits(l, 2);
	imap_lex_need(l, ' ');
	bool west = imap_lex_peek(l) == '-';
	if (!imap_lex_take(l, '-')) {
		imap_lex_need(l, '+');
	}
	int zone_hours = take_digits(l, 2);
	int zone_minutes = take_digits(l, 2);
	imap_lex_need(l, '"');
	if (hour > 23 || minute > 59 || second > 60 || zone_hours > 23 || zone_minutes > 59) {
		imap_lex_fail(l, ERR_FORMAT, "Not a valid date");
	}
	int zone = zone_hours * 60 + zone_minutes;
	zone = west ? -zone : zone;
	return (struct imap_time){.seconds = (int64_t)days * 86400 + hour * 3600 + minute * 60 + second -
					     (int64_t)zone * 60,
				  .zone = (int16_t)zone};
}
