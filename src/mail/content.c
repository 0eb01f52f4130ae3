/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "mail/header.h"
#include "mail/lexer.h"

static bool
is_char(struct mail_token t, uint8_t c)
{
	return t.kind == MAIL_TOKEN_SPECIAL && t.text.ptr[0] == c;
}

/* Behind the next ';', or at the end. */
static void
skip_to_semicolon(struct mail_lexer *x)
{
	struct mail_token t;
	do {
		t = mail_lexer_next(x);
	} while (t.kind != MAIL_TOKEN_END && !is_char(t, ';'));
}

/*
 * An unquoted value: everything up to ';' without outer blanks and comments,
 * since real mail has tspecials and blanks in it ("name=my file.txt").
 */
static struct bytes
bare_value(struct mail_lexer *x, struct mail_token first)
{
	struct mail_token t = first;
	size_t end = first.at;
	while (t.kind != MAIL_TOKEN_END && !is_char(t, ';')) {
		if (t.kind != MAIL_TOKEN_SPACE && t.kind != MAIL_TOKEN_COMMENT) {
			end = t.end;
		}
		t = mail_lexer_next(x);
	}
	return bytes_slice(x->in, first.at, end - first.at);
}

/* Reads parameters to the end of x, which stands behind the first ';'. */
static enum err
take_params(struct arena *arena, struct mail_lexer *x, struct mail_content *content)
{
	struct mail_param found[MAIL_MAX_PARAMS];
	size_t count = 0;
	while (x->at < x->in.len) {
		struct mail_token name = mail_lexer_next_word(x);
		if (name.kind == MAIL_TOKEN_END) {
			break;
		}
		if (is_char(name, ';')) {
			continue;
		}
		if (name.kind != MAIL_TOKEN_ATOM || !is_char(mail_lexer_next_word(x), '=')) {
			/* The token just read may be the ';' itself. */
			if (x->at == 0 || x->in.ptr[x->at - 1] != ';') {
				skip_to_semicolon(x);
			}
			continue;
		}
		struct mail_token first = mail_lexer_next_word(x);
		struct bytes value;
		if (first.kind == MAIL_TOKEN_QUOTED) {
			skip_to_semicolon(x);
			value = first.text;
		} else {
			value = bare_value(x, first);
		}
		if (count == MAIL_MAX_PARAMS || value.len > MAIL_MAX_PARAM_VALUE || name.text.len > 200) {
			content->truncated = true;
			continue;
		}
		if (first.kind == MAIL_TOKEN_QUOTED) {
			value = mail_unquote(arena, value, true);
		} else {
			value = mail_unfold_copy(arena, value);
		}
		if (value.ptr == NULL) {
			return ERR_MEMORY;
		}
		found[count++] = (struct mail_param){.name = name.text, .value = value};
	}
	if (count > 0) {
		struct mail_param *list = arena_array(arena, count, sizeof(*list));
		if (list == NULL) {
			return ERR_MEMORY;
		}
		memcpy(list, found, count * sizeof(*list));
		content->params.list = list;
		content->params.count = count;
	}
	return ERR_OK;
}

enum err
mail_content_type_parse(struct arena *arena, struct bytes value, struct mail_content *ret_content)
{
	struct mail_content content = {.truncated = false};
	struct mail_lexer x;
	mail_lexer_init(&x, value, MAIL_SPECIALS_MIME ";", false);
	struct mail_token type = mail_lexer_next_word(&x);
	struct mail_token slash = mail_lexer_next_word(&x);
	struct mail_token subtype = mail_lexer_next_word(&x);
	if (type.kind != MAIL_TOKEN_ATOM || !is_char(slash, '/') || subtype.kind != MAIL_TOKEN_ATOM ||
	    type.text.len > 127 || subtype.text.len > 127) {
		return ERR_FORMAT;
	}
	content.type = type.text;
	content.subtype = subtype.text;
	skip_to_semicolon(&x);
	enum err e = take_params(arena, &x, &content);
	if (e == ERR_OK) {
		*ret_content = content;
	}
	return e;
}

enum err
mail_disposition_parse(struct arena *arena, struct bytes value, struct mail_content *ret_content)
{
	struct mail_content content = {.truncated = false};
	struct mail_lexer x;
	mail_lexer_init(&x, value, MAIL_SPECIALS_MIME ";", false);
	struct mail_token type = mail_lexer_next_word(&x);
	if ((type.kind != MAIL_TOKEN_ATOM && type.kind != MAIL_TOKEN_QUOTED) || type.text.len == 0 ||
	    type.text.len > 127) {
		return ERR_FORMAT;
	}
	content.type = type.text;
	skip_to_semicolon(&x);
	enum err e = take_params(arena, &x, &content);
	if (e == ERR_OK) {
		*ret_content = content;
	}
	return e;
}

enum err
mail_languages_parse(struct arena *arena, struct bytes value, const struct bytes **ret_list,
		     size_t *ret_count)
{
	struct bytes found[32];
	size_t count = 0;
	struct mail_lexer x;
	struct mail_token t;
	mail_lexer_init(&x, value, ",;", false);
	while (count < sizeof(found) / sizeof(found[0]) &&
	       (t = mail_lexer_next_word(&x)).kind != MAIL_TOKEN_END) {
		if (t.kind == MAIL_TOKEN_ATOM && t.text.len <= 100) {
			found[count++] = t.text;
		}
	}
	struct bytes *list = arena_array(arena, count, sizeof(*list));
	if (list == NULL) {
		return ERR_MEMORY;
	}
	if (count > 0) {
		memcpy(list, found, count * sizeof(*list));
	}
	*ret_list = list;
	*ret_count = count;
	return ERR_OK;
}

enum err
mail_token_parse(struct arena *arena, struct bytes value, struct bytes *ret_token)
{
	struct mail_lexer x;
	mail_lexer_init(&x, value, ",;", false);
	struct mail_token t = mail_lexer_next_word(&x);
	if (t.kind == MAIL_TOKEN_QUOTED) {
		struct bytes text = mail_unquote(arena, t.text, true);
		if (text.ptr == NULL) {
			return ERR_MEMORY;
		}
		*ret_token = text;
	} else {
		*ret_token = t.kind == MAIL_TOKEN_ATOM ? t.text : BYTES_EMPTY;
	}
	return ERR_OK;
}
