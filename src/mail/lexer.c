/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/lexer.h"

#include <string.h>

bool
mail_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

size_t
mail_line_end(struct bytes text, size_t at)
{
	if (at >= text.len) {
		return text.len;
	}
	const uint8_t *nl = memchr(text.ptr + at, '\n', text.len - at);
	return nl == NULL ? text.len : (size_t)(nl - text.ptr) + 1;
}

bool
mail_line_is_empty(struct bytes line)
{
	return (line.len == 1 && line.ptr[0] == '\n') ||
	       (line.len == 2 && line.ptr[0] == '\r' && line.ptr[1] == '\n');
}

void
mail_lexer_init(struct mail_lexer *x, struct bytes in, const char *specials, bool literals)
{
	*x = (struct mail_lexer){.in = in, .specials = specials, .literals = literals};
}

static bool
is_special(const struct mail_lexer *x, uint8_t c)
{
	return c != 0 && c < 0x80 && strchr(x->specials, c) != NULL;
}

/* The index of the closing character for what opens at `at`, or the length of the input. */
static size_t
find_close(const struct mail_lexer *x, size_t at, uint8_t close)
{
	size_t depth = 1;
	for (size_t i = at + 1; i < x->in.len; i++) {
		uint8_t c = x->in.ptr[i];
		if (c == '\\') {
			i++;
		} else if (c == close) {
			depth--;
			if (depth == 0) {
				return i;
			}
		} else if (close == ')' && c == '(') {
			depth++;
		}
	}
	return x->in.len;
}

static struct mail_token
make(const struct mail_lexer *x, enum mail_token_kind kind, size_t at, size_t end, size_t edge)
{
	return (struct mail_token){
	    .kind = kind,
	    .text = bytes_slice(x->in, at + edge, end - at - 2 * edge),
	    .at = at,
	    .end = end,
	};
}

/* A closed quoted string, comment or literal that begins here; END where there is none. */
static struct mail_token
enclosed(struct mail_lexer *x, size_t at)
{
	const struct {
		uint8_t open, close;
		enum mail_token_kind kind;
		size_t edge;
		bool *unclosed;
	} kinds[] = {
	    {'"', '"', MAIL_TOKEN_QUOTED, 1, &x->open_quote},
	    {'(', ')', MAIL_TOKEN_COMMENT, 1, &x->open_comment},
	    {'[', ']', MAIL_TOKEN_LITERAL, 0, &x->open_literal},
	};
	for (size_t i = 0; i < (x->literals ? 3 : 2); i++) {
		if (x->in.ptr[at] == kinds[i].open && !*kinds[i].unclosed) {
			size_t close = find_close(x, at, kinds[i].close);
			if (close < x->in.len) {
				return make(x, kinds[i].kind, at, close + 1, kinds[i].edge);
			}
			*kinds[i].unclosed = true;
		}
	}
	return make(x, MAIL_TOKEN_END, at, at, 0);
}

static bool
opens(const struct mail_lexer *x, uint8_t c)
{
	return (c == '"' && !x->open_quote) || (c == '(' && !x->open_comment) ||
	       (c == '[' && x->literals && !x->open_literal);
}

struct mail_token
mail_lexer_next(struct mail_lexer *x)
{
	size_t at = x->at;
	size_t end = at;
	struct mail_token token;
	if (at >= x->in.len) {
		return make(x, MAIL_TOKEN_END, at, at, 0);
	}
	uint8_t c = x->in.ptr[at];
	if (mail_is_blank(c)) {
		while (end < x->in.len && mail_is_blank(x->in.ptr[end])) {
			end++;
		}
		token = make(x, MAIL_TOKEN_SPACE, at, end, 0);
	} else if (is_special(x, c)) {
		token = make(x, MAIL_TOKEN_SPECIAL, at, at + 1, 0);
	} else {
		token = enclosed(x, at);
		if (token.kind == MAIL_TOKEN_END) {
			end = at + 1;
			while (end < x->in.len && !mail_is_blank(x->in.ptr[end]) &&
			       !is_special(x, x->in.ptr[end]) && !opens(x, x->in.ptr[end])) {
				end++;
			}
			token = make(x, MAIL_TOKEN_ATOM, at, end, 0);
		}
	}
	x->at = token.end;
	return token;
}

struct mail_token
mail_lexer_next_word(struct mail_lexer *x)
{
	struct mail_token t;
	do {
		t = mail_lexer_next(x);
	} while (t.kind == MAIL_TOKEN_SPACE || t.kind == MAIL_TOKEN_COMMENT);
	return t;
}

static bool
is_line_end(struct bytes b, size_t i)
{
	return b.ptr[i] == '\n' || (b.ptr[i] == '\r' && i + 1 < b.len && b.ptr[i + 1] == '\n');
}

struct bytes
mail_unquote(struct arena *arena, struct bytes quoted, bool keep_odd_escapes)
{
	if (bytes_find(quoted, '\\') < 0 && bytes_find(quoted, '\n') < 0) {
		return quoted.ptr == NULL ? bytes_of("", 0) : quoted;
	}
	uint8_t *to = arena_alloc(arena, quoted.len);
	size_t len = 0;
	if (to == NULL) {
		return BYTES_EMPTY;
	}
	for (size_t i = 0; i < quoted.len; i++) {
		uint8_t c = quoted.ptr[i];
		if (is_line_end(quoted, i)) {
			continue;
		}
		if (c == '\\' && i + 1 < quoted.len) {
			uint8_t next = quoted.ptr[i + 1];
			if (!keep_odd_escapes || next == '"' || next == '\\') {
				c = next;
				i++;
			}
		}
		to[len++] = c;
	}
	return bytes_of(to, len);
}

struct bytes
mail_unfold_copy(struct arena *arena, struct bytes value)
{
	value = bytes_trim(value);
	if (bytes_find(value, '\n') < 0) {
		return value.ptr == NULL ? bytes_of("", 0) : value;
	}
	uint8_t *to = arena_alloc(arena, value.len);
	size_t len = 0;
	if (to == NULL) {
		return BYTES_EMPTY;
	}
	for (size_t i = 0; i < value.len; i++) {
		if (!is_line_end(value, i)) {
			to[len++] = value.ptr[i];
		}
	}
	return bytes_of(to, len);
}
