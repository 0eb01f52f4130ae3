/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the parts of a message tell, and their boundaries. */
#include <string.h>

#include "mail/privacy_edits.h"
#include "mail/privacy_names.h"

enum { BOUNDARY_SEARCH = 1000 }; /* octets of a delimiter line */

/* What is in it, its headers included, is covered by a signature, or is none of our business. */
static bool
is_closed(const struct mail_part *p)
{
	return p->kind == MAIL_PART_MESSAGE || privacy_is_type(p, "multipart", "signed") ||
	       privacy_is_type(p, "multipart", "encrypted");
}

/* One parameter of a field with parameters, as it stands there. */
struct found_param {
	size_t at;       /* of the ';' before it, in the value */
	size_t end;      /* before the next ';', or at the end */
	size_t value_at; /* quotes included */
	size_t value_end;
	struct bytes name;
	struct bytes text; /* without quotes */
};

static bool
is_special(struct mail_token t, uint8_t c)
{
	return t.kind == MAIL_TOKEN_SPECIAL && t.text.ptr[0] == c;
}

/* The next parameter behind *at, which is at a ';' or before one. */
static bool
next_param(struct bytes value, size_t *at, struct found_param *ret)
{
	struct mail_lexer x;
	struct mail_token t;
	mail_lexer_init(&x, value, MAIL_SPECIALS_MIME, false);
	x.at = *at;
	do {
		t = mail_lexer_next(&x);
	} while (t.kind != MAIL_TOKEN_END && !is_special(t, ';'));
	if (t.kind == MAIL_TOKEN_END) {
		return false;
	}
	*ret = (struct found_param){.at = t.at};
	struct mail_token name = mail_lexer_next_word(&x);
	if (is_special(name, ';')) {
		*at = name.at;
		ret->end = name.at;
		return true;
	}
	t = name;
	if (name.kind == MAIL_TOKEN_ATOM) {
		ret->name = name.text;
		t = mail_lexer_next_word(&x);
	}
	if (is_special(t, '=')) {
		t = mail_lexer_next_word(&x);
		ret->value_at = t.at;
		ret->value_end = t.at;
		if (t.kind == MAIL_TOKEN_QUOTED) {
			ret->value_end = t.end;
			ret->text = t.text;
		}
		while (t.kind != MAIL_TOKEN_END && !is_special(t, ';')) {
			if (ret->text.ptr == NULL && t.kind != MAIL_TOKEN_SPACE &&
			    t.kind != MAIL_TOKEN_COMMENT) {
				ret->value_end = t.end;
			}
			t = mail_lexer_next(&x);
		}
		if (ret->text.ptr == NULL) {
			ret->text = bytes_slice(value, ret->value_at, ret->value_end - ret->value_at);
		}
	} else {
		ret->name = BYTES_EMPTY;
		while (t.kind != MAIL_TOKEN_END && !is_special(t, ';')) {
			t = mail_lexer_next(&x);
		}
	}
	ret->end = t.kind == MAIL_TOKEN_END ? value.len : t.at;
	*at = ret->end;
	return true;
}

/* The start of the delimiter line of `boundary` that ends at `end`; false where there is none. */
static bool
delimiter_before(struct bytes message, size_t end, struct bytes boundary, size_t *ret_at)
{
	size_t at = end > 0 ? end - 1 : 0; /* its own line end */
	while (at > 0 && end - at < BOUNDARY_SEARCH && message.ptr[at - 1] != '\n') {
		at--;
	}
	struct bytes line = bytes_slice(message, at, end - at);
	if (!bytes_starts_with(line, "--") || !bytes_equal(bytes_slice(line, 2, boundary.len), boundary)) {
		return false;
	}
	*ret_at = at;
	return true;
}

/* Where the last delimiter line begins, the one with "--" behind; false: it was never closed. */
static bool
closing_delimiter(struct bytes message, const struct mail_part *last, struct bytes boundary, size_t *ret_at)
{
	size_t at = last->body_at + last->body_len;
	for (unsigned i = 0; i < 3 && at < message.len; i++) {
		struct bytes line = bytes_slice(message, at, mail_line_end(message, at) - at);
		if (bytes_starts_with(line, "--") &&
		    bytes_equal(bytes_slice(line, 2, boundary.len), boundary) &&
		    bytes_starts_with(bytes_from(line, 2 + boundary.len), "--")) {
			*ret_at = at;
			return true;
		}
		at += line.len;
	}
	return false;
}

/*
 * A new boundary: in the header (instead of `len` octets at `place`, behind `before`), and on each delimiter line. All or
 * nothing.
 */
static void
take_boundary(struct privacy_edits *x, struct bytes message, const struct mail_structure *s, uint32_t number,
	      size_t place, size_t len, const char *before, struct bytes boundary,
	      const struct mail_privacy *p)
{
	const struct mail_part *part = &s->parts[number];
	const struct mail_part *last = NULL;
	struct buf text = BUF_INIT(64);
	size_t mark = x->list.len;
	size_t at = 0;
	bool good = boundary.len > 0;
	/* Quotes only where there were some: the first one could end what an odd header opened before. */
	enum err e = buf_append_str(&text, before);
	e = e == ERR_OK ? buf_append_byte(&text, '_') : e;
	e = e == ERR_OK ? buf_append_hex(&text, bytes_of(p->seed, sizeof(p->seed))) : e;
	e = e == ERR_OK ? buf_printf(&text, "_%04x", (unsigned)number) : e;
	x->error = x->error == ERR_OK ? e : x->error;
	privacy_replace(x, place, len, buf_bytes(&text));
	buf_consume(&text, e == ERR_OK ? strlen(before) : 0);
	for (uint32_t c = part->first_child; good && c != MAIL_NO_PART; c = s->parts[c].next_sibling) {
		bool first = last == NULL;
		last = &s->parts[c];
		good = delimiter_before(message, last->header_at, boundary, &at);
		if (good && first && at > part->body_at) {
			/* What no reader shows: programs greet old ones there, each in its own words. */
			privacy_cut(x, part->body_at, at - part->body_at);
		}
		privacy_replace(x, at + 2, boundary.len, buf_bytes(&text));
	}
	if (good && last != NULL && closing_delimiter(message, last, boundary, &at)) {
		size_t behind = mail_line_end(message, at);
		size_t end = part->body_at + part->body_len;
		privacy_replace(x, at + 2, boundary.len, buf_bytes(&text));
		if (end > behind) {
			/* Nor what stands behind the last delimiter. */
			privacy_cut(x, behind, end - behind);
		}
	}
	if (!good || last == NULL) {
		buf_truncate(&x->list, mark);
	}
	buf_clear(&text);
}

static bool
has_param(struct bytes value, const char *name)
{
	struct found_param param;
	size_t at = 0;
	for (unsigned i = 0; i < MAIL_MAX_PARAMS && next_param(value, &at, &param); i++) {
		if (bytes_is_nocase(param.name, name)) {
			return true;
		}
	}
	return false;
}

/* Comments of a field with parameters: they say what programs and people thought. */
static void
cut_comments(struct privacy_edits *x, struct bytes value, size_t value_at)
{
	struct mail_lexer lexer;
	struct mail_token t;
	mail_lexer_init(&lexer, value, MAIL_SPECIALS_MIME, false);
	do {
		t = mail_lexer_next(&lexer);
		if (t.kind == MAIL_TOKEN_COMMENT) {
			privacy_cut(x, value_at + t.at, t.end - t.at);
		}
	} while (t.kind != MAIL_TOKEN_END);
}

/* The boundary as the structure's reader understood it, in the arena of the edits' text: of a part whose field has it in pieces. */
static enum err
whole_boundary(const struct mail_part *part, struct buf *out)
{
	struct bytes plain;
	enum err e = mail_param_find(&part->params, "boundary", &plain)
			 ? buf_append(out, plain)
			 : mail_param_decode(&part->params, "boundary", out);
	while (e == ERR_OK && out->len > 0 && mail_is_blank(out->ptr[out->len - 1])) {
		buf_truncate(out, out->len - 1);
	}
	return e;
}

/* Parameters that tell of files and machines go; a boundary is made anew. */
static void
take_params(struct privacy_edits *x, struct bytes message, const struct mail_structure *s, uint32_t number,
	    const struct mail_field *f, const struct mail_privacy *p)
{
	size_t value_at = f->offset + (size_t)(f->value.ptr - f->whole.ptr);
	size_t at = 0;
	bool first = true;
	struct found_param param;
	bool multipart = s->parts[number].kind == MAIL_PART_MULTIPART && !s->truncated;
	struct buf boundary = BUF_INIT(BOUNDARY_SEARCH);
	bool known = multipart && whole_boundary(&s->parts[number], &boundary) == ERR_OK;
	bool in_pieces = known && !has_param(f->value, "boundary");
	cut_comments(x, f->value, value_at);
	for (unsigned i = 0; i < MAIL_MAX_PARAMS && x->error == ERR_OK && next_param(f->value, &at, &param);
	     i++) {
		if (bytes_is_nocase(param.name, "boundary")) {
			if (first && known) {
				take_boundary(x, message, s, number,
					      value_at + (size_t)(param.text.ptr - f->value.ptr),
					      param.text.len, "", buf_bytes(&boundary), p);
			}
			first = false;
		} else if (in_pieces && bytes_starts_with_nocase(param.name, "boundary*")) {
			if (first) {
				take_boundary(x, message, s, number, value_at + param.at,
					      param.end - param.at, "; boundary=", buf_bytes(&boundary), p);
			} else {
				privacy_cut(x, value_at + param.at, param.end - param.at);
			}
			first = false;
		} else if (param.name.len > 0 && !privacy_param_leaves(param.name)) {
			privacy_cut(x, value_at + param.at, param.end - param.at);
		}
	}
	buf_wipe(&boundary);
}

/* Nothing can name a part by its Content-ID, in which some programs put a time. */
static bool
has_no_references(const struct mail_structure *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (privacy_is_type(&s->parts[i], "text", "html") ||
		    privacy_is_type(&s->parts[i], "multipart", "related")) {
			return false;
		}
	}
	return !s->truncated;
}

static void
take_part(struct privacy_edits *x, struct bytes message, const struct mail_structure *s, uint32_t number,
	  bool free_of_references, const struct mail_privacy *p)
{
	const struct mail_part *part = &s->parts[number];
	struct mail_fields it;
	struct mail_field f;
	bool typed = false;
	mail_fields_init(&it, bytes_slice(message, part->header_at, part->header_len));
	while (x->error == ERR_OK &&
	       (part->parent == MAIL_NO_PART ? mail_fields_next(&it, &f)
					     : privacy_next_field(x, &it, part->header_at, &f))) {
		f.offset += part->header_at;
		if (bytes_is_nocase(f.name, "Content-Type") && !typed) {
			typed = true;
			take_params(x, message, s, number, &f, p);
		} else if (bytes_is_nocase(f.name, "Content-Disposition")) {
			take_params(x, message, s, number, &f, p);
		} else if ((part->parent != MAIL_NO_PART && !privacy_part_field_leaves(f.name, f.value)) ||
			   (free_of_references && bytes_is_nocase(f.name, "Content-ID"))) {
			privacy_cut(x, f.offset, f.whole.len);
		}
	}
}

void
privacy_take_parts(struct privacy_edits *x, struct bytes message, const struct mail_privacy *p)
{
	struct arena arena;
	struct mail_structure s;
	bool *closed = NULL;
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_MAX_PARTS);
	enum err e = mail_parse(&arena, privacy_parts_of(message), &s);
	if (e == ERR_OK) {
		closed = arena_array(&arena, s.count, sizeof(*closed));
		e = closed == NULL ? ERR_MEMORY : ERR_OK;
	}
	x->error = x->error == ERR_OK ? e : x->error;
	bool free_of_references = e == ERR_OK && has_no_references(&s);
	for (uint32_t i = 0; x->error == ERR_OK && i < s.count; i++) {
		uint32_t parent = s.parts[i].parent;
		closed[i] = parent != MAIL_NO_PART && (closed[parent] || is_closed(&s.parts[parent]));
		if (!closed[i]) {
			take_part(x, message, &s, i, free_of_references, p);
		}
	}
	arena_clear(&arena);
}
