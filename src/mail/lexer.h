/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_LEXER_H
#define COHUE_MAIL_LEXER_H

#include "base/arena.h"

/*
 * Tokens of structured field bodies (RFC 5322 §3.2), private to src/mail.
 * One pass, no recursion: nested comments are counted. A quote, parenthesis or
 * bracket that is never closed is an ordinary character; this is found out at most once per
 * kind, so that the whole stays linear.
 */

enum mail_token_kind {
	MAIL_TOKEN_END,
	MAIL_TOKEN_SPACE, /* blanks and line ends */
	MAIL_TOKEN_ATOM,
	MAIL_TOKEN_QUOTED,  /* text: between the quotes, escapes and folding still in it */
	MAIL_TOKEN_COMMENT, /* text: between the outer parentheses */
	MAIL_TOKEN_LITERAL, /* text: with the brackets */
	MAIL_TOKEN_SPECIAL  /* text: one octet */
};

struct mail_token {
	enum mail_token_kind kind;
	struct bytes text;
	size_t at;  /* first octet in the input */
	size_t end; /* behind the last one */
};

struct mail_lexer {
	struct bytes in;
	size_t at;
	const char *specials;
	bool literals;
	bool open_quote;
	bool open_comment;
	bool open_literal;
};

#define MAIL_SPECIALS_ADDRESS "<>@,;:"
#define MAIL_SPECIALS_MIME "<>@,;:/[]?="

void mail_lexer_init(struct mail_lexer *x, struct bytes in, const char *specials, bool literals);
struct mail_token mail_lexer_next(struct mail_lexer *x);
/* The next token that is neither space nor comment. */
struct mail_token mail_lexer_next_word(struct mail_lexer *x);

/* The index behind the line end at or after `at`, or the length. */
size_t mail_line_end(struct bytes text, size_t at);
/* True for an empty line: CRLF or LF alone. */
bool mail_line_is_empty(struct bytes line);
bool mail_is_blank(uint8_t c); /* space, tab, CR, LF */
/*
 * A copy without line ends, escapes undone. With keep_odd_escapes only \" and
 * \\ are undone. Borrows where nothing changes; ptr NULL without memory.
 */
struct bytes mail_unquote(struct arena *arena, struct bytes quoted, bool keep_odd_escapes);
/* Unfolded and trimmed; borrows where nothing changes; never NULL but without memory. */
struct bytes mail_unfold_copy(struct arena *arena, struct bytes value);

#endif
