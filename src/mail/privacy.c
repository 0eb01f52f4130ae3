/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/privacy.h"

#include <stdlib.h>
#include <string.h>

#include "mail/lexer.h"
#include "mail/privacy_names.h"
#include "mail/structure.h"
#include "mail/write.h"

/*
 * A message is rewritten by a list of changes to its octets: whatever no change names stays as it is, and so
 * does what a signature covers, since no change is ever made there.
 */

enum {
	BOUNDARY_SEARCH = 1000, /* octets of a delimiter line */
	IDS_MAX = 1000,         /* identifiers of one field that are looked at */
	IDS_ARENA = 1 << 20,
	EDITS_MAX = 64 << 20, /* octets of the list */
};

struct edit {
	size_t at;
	size_t len;
	size_t text_at; /* in edits.text */
	size_t text_len;
};

struct edits {
	struct buf list; /* of struct edit */
	struct buf text;
	enum err error; /* sticky */
};

static void
replace(struct edits *x, size_t at, size_t len, struct bytes text)
{
	const struct edit one = {.at = at, .len = len, .text_at = x->text.len, .text_len = text.len};
	if (x->error == ERR_OK) {
		x->error = buf_append(&x->text, text);
	}
	if (x->error == ERR_OK) {
		x->error = buf_append(&x->list, bytes_of(&one, sizeof(one)));
	}
}

static void
cut(struct edits *x, size_t at, size_t len)
{
	replace(x, at, len, BYTES_EMPTY);
}

static int
by_place(const void *left, const void *right)
{
	const struct edit *a = left;
	const struct edit *b = right;
	return a->at < b->at ? -1 : a->at > b->at ? 1 : 0;
}

static enum err
apply(struct edits *x, struct bytes message, struct buf *out)
{
	struct edit *list = (struct edit *)(void *)x->list.ptr;
	size_t count = x->list.len / sizeof(*list);
	size_t mark = out->len;
	size_t done = 0;
	enum err e = x->error;
	if (count > 0) {
		qsort(list, count, sizeof(*list), by_place);
	}
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (list[i].at < done) {
			continue; /* within what another change took out */
		}
		e = buf_append(out, bytes_slice(message, done, list[i].at - done));
		if (e == ERR_OK) {
			e = buf_append(out,
				       bytes_slice(buf_bytes(&x->text), list[i].text_at, list[i].text_len));
		}
		done = list[i].at + list[i].len;
	}
	if (e == ERR_OK) {
		e = buf_append(out, bytes_from(message, done));
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}

static void
edits_init(struct edits *x)
{
	buf_init(&x->list, EDITS_MAX);
	buf_init(&x->text, EDITS_MAX);
	x->error = ERR_OK;
}

static void
edits_clear(struct edits *x)
{
	buf_wipe(&x->list);
	buf_wipe(&x->text);
}

/* ---- looking ---- */

static bool
is_type(const struct mail_part *p, const char *type, const char *subtype)
{
	return bytes_is_nocase(p->type, type) && bytes_is_nocase(p->subtype, subtype);
}

/* What is in it, its headers included, is covered by a signature, or is none of our business. */
static bool
is_closed(const struct mail_part *p)
{
	return p->kind == MAIL_PART_MESSAGE || is_type(p, "multipart", "signed") ||
	       is_type(p, "multipart", "encrypted");
}

static bool
is_crypto(const struct mail_part *p)
{
	return is_type(p, "multipart", "signed") || is_type(p, "multipart", "encrypted") ||
	       is_type(p, "application", "pkcs7-mime") || is_type(p, "application", "x-pkcs7-mime");
}

/* As much of the message as says what its parts are: a text has none. */
static struct bytes
parts_of(struct bytes message)
{
	struct mail_field f;
	bool single = !mail_field_find(message, "Content-Type", &f) ||
		      bytes_starts_with_nocase(bytes_trim(f.value), "text/");
	return single ? bytes_slice(message, 0, mail_header_length(message)) : message;
}

static struct bytes
one_id(struct arena *arena, struct bytes value)
{
	struct mail_ids ids;
	bool good = mail_ids_parse(arena, value, 1, &ids) == ERR_OK && ids.count == 1 && !ids.truncated &&
		    ids.list[0].len <= MAIL_PRIVACY_ID_MAX && bytes_is_ascii(ids.list[0]);
	for (size_t i = 0; good && i < ids.list[0].len; i++) {
		good = ids.list[0].ptr[i] > ' ' && ids.list[0].ptr[i] < 127;
	}
	return good ? ids.list[0] : BYTES_EMPTY;
}

enum err
mail_privacy_look(struct arena *arena, struct bytes message, struct mail_privacy_look *ret)
{
	struct mail_privacy_look look = {.is_signed = false};
	struct mail_structure s;
	struct mail_field f;
	enum err e = mail_parse(arena, parts_of(message), &s);
	if (e != ERR_OK) {
		return e;
	}
	bool *inside = arena_array(arena, s.count, sizeof(*inside)); /* another message */
	if (inside == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < s.count; i++) {
		uint32_t parent = s.parts[i].parent;
		inside[i] =
		    parent != MAIL_NO_PART && (inside[parent] || s.parts[parent].kind == MAIL_PART_MESSAGE);
		look.is_signed = look.is_signed || (!inside[i] && is_crypto(&s.parts[i]));
	}
	look.resent = mail_field_find(message, "Resent-From", &f);
	if (mail_field_find(message, look.resent ? "Resent-Message-ID" : "Message-ID", &f)) {
		look.id = one_id(arena, f.value);
	}
	*ret = look;
	return ERR_OK;
}

static int
hex_value(uint8_t c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
mail_id_is_opaque(struct bytes id, struct bytes domain)
{
	enum { DIGITS = 32, VERSION = 12, VARIANT = 16, UUID_LEN = 36 };
	ptrdiff_t at = bytes_find(id, '@');
	int digit[DIGITS];
	size_t count = 0;
	if (at < 1 || id.len < 3 || id.ptr[0] != '<' || id.ptr[id.len - 1] != '>' ||
	    !bytes_equal_nocase(bytes_slice(id, (size_t)at + 1, id.len - (size_t)at - 2), domain)) {
		return false;
	}
	struct bytes local = bytes_slice(id, 1, (size_t)at - 1);
	for (size_t i = 0; i < local.len; i++) {
		if (local.len == UUID_LEN && (i == 8 || i == 13 || i == 18 || i == 23)) {
			if (local.ptr[i] != '-') {
				return false;
			}
			continue;
		}
		int value = hex_value(local.ptr[i]);
		if (value < 0 || count == DIGITS) {
			return false;
		}
		digit[count++] = value;
	}
	if (count != DIGITS) {
		return false;
	}
	bool variant = (digit[VARIANT] & 0xc) == 8; /* RFC 9562 section 4.1 */
	/* Versions 1, 2, 6 and 7 hold a time, and some the machine's address. */
	return local.len == UUID_LEN ? variant && digit[VERSION] == 4
				     : !variant || digit[VERSION] == 4 || digit[VERSION] > 7;
}

/* ---- fields ---- */

/* What stands outside of angle brackets and is not blank. */
static void
cut_between_ids(struct edits *x, struct bytes value, size_t value_at)
{
	size_t at = 0;
	while (at < value.len) {
		size_t from = at;
		if (value.ptr[at] == '<') {
			ptrdiff_t close = bytes_find(bytes_from(value, at), '>');
			if (close < 0) {
				return;
			}
			at += (size_t)close + 1;
		} else if (mail_is_blank(value.ptr[at])) {
			at++;
		} else {
			while (at < value.len && !mail_is_blank(value.ptr[at]) && value.ptr[at] != '<') {
				at++;
			}
			cut(x, value_at + from, at - from);
		}
	}
}

/* Each identifier in the value that has another one for it. */
static void
map_ids(struct edits *x, const struct mail_field *f, const struct mail_privacy *p)
{
	struct arena arena;
	size_t value_at = f->offset + (size_t)(f->value.ptr - f->whole.ptr);
	size_t at = 0;
	arena_init(&arena, IDS_ARENA);
	if (bytes_find(f->value, '<') >= 0) {
		/* Comments and words between identifiers: nobody reads them. */
		cut_between_ids(x, f->value, value_at);
	}
	for (unsigned i = 0; p->map != NULL && x->error == ERR_OK && i < IDS_MAX && at < f->value.len; i++) {
		ptrdiff_t open = bytes_find(bytes_from(f->value, at), '<');
		ptrdiff_t close = open < 0 ? -1 : bytes_find(bytes_from(f->value, at + (size_t)open), '>');
		if (close < 0) {
			break;
		}
		size_t begin = at + (size_t)open;
		size_t len = (size_t)close + 1;
		struct bytes id = one_id(&arena, bytes_slice(f->value, begin, len));
		struct buf to = BUF_INIT(MAIL_PRIVACY_ID_MAX);
		if (id.len > 0) {
			x->error = p->map(p->map_arg, id, &to);
		}
		if (to.len > 0) {
			replace(x, value_at + begin, len, buf_bytes(&to));
		}
		buf_wipe(&to);
		at = begin + len;
	}
	arena_clear(&arena);
}

static void
replace_field(struct edits *x, const struct mail_field *f, const char *name, struct bytes value)
{
	struct buf line = BUF_INIT(MAIL_PRIVACY_ID_MAX * 2);
	if (x->error == ERR_OK) {
		x->error = mail_write_field(&line, name, value);
	}
	replace(x, f->offset, f->whole.len, buf_bytes(&line));
	buf_wipe(&line);
}

/* In UTC; out where it cannot be read, or where `near` is set and it is far from it. */
static void
put_utc(struct edits *x, const struct mail_field *f, const char *name, const int64_t *near)
{
	struct mail_date date;
	struct buf text = BUF_INIT(64);
	bool good =
	    mail_date_parse(f->value, &date) == ERR_OK && mail_write_date(&text, date.seconds) == ERR_OK &&
	    (near == NULL ||
	     (date.seconds - *near < MAIL_PRIVACY_ODD_DATE && *near - date.seconds < MAIL_PRIVACY_ODD_DATE));
	if (good) {
		replace_field(x, f, name, buf_bytes(&text));
	} else {
		cut(x, f->offset, f->whole.len);
	}
	buf_clear(&text);
}

/* What was met in the header. */
struct met {
	bool id;
	bool date;
	bool resent_date;
	bool resent;
};

static void
take_id(struct edits *x, const struct mail_field *f, const char *name, const struct mail_privacy *p,
	bool *met)
{
	if (*met) {
		cut(x, f->offset, f->whole.len);
	} else {
		replace_field(x, f, name, p->id);
	}
	*met = true;
}

static void
take_resent(struct edits *x, const struct mail_field *f, const struct mail_privacy *p, struct met *met)
{
	if (bytes_is_nocase(f->name, "Resent-Message-ID")) {
		take_id(x, f, "Resent-Message-ID", p, &met->id);
	} else if (bytes_is_nocase(f->name, "Resent-Date")) {
		/* The newest stands first. */
		if (p->date == MAIL_DATE_KEEP || met->resent_date) {
			put_utc(x, f, "Resent-Date", met->resent_date ? NULL : &p->now);
		} else {
			cut(x, f->offset, f->whole.len);
		}
		met->resent_date = true;
	} else if (!privacy_resent_leaves(f->name)) {
		cut(x, f->offset, f->whole.len);
	}
}

static void
take_own(struct edits *x, const struct mail_field *f, const struct mail_privacy *p, struct met *met)
{
	if (!privacy_field_leaves(f->name)) {
		cut(x, f->offset, f->whole.len);
	} else if (bytes_is_nocase(f->name, "Message-ID")) {
		if (met->resent) {
			map_ids(x, f, p);
		} else {
			take_id(x, f, "Message-ID", p, &met->id);
		}
	} else if (bytes_is_nocase(f->name, "In-Reply-To") || bytes_is_nocase(f->name, "References")) {
		map_ids(x, f, p);
	} else if (bytes_is_nocase(f->name, "Date")) {
		/* Her own message, sent again: when it was written is part of it, where she was is not. */
		if (met->resent) {
			put_utc(x, f, "Date", NULL);
		} else if (p->date == MAIL_DATE_KEEP && !met->date) {
			put_utc(x, f, "Date", &p->now);
		} else {
			cut(x, f->offset, f->whole.len);
		}
		met->date = true;
	} else if (bytes_is_nocase(f->name, "MIME-Version") && !bytes_is(bytes_trim(f->value), "1.0")) {
		/* A comment in it names the program. */
		replace_field(x, f, "MIME-Version", BYTES_LIT("1.0"));
	}
}

/*
 * The line of an mbox at the front goes, and so does what stands among the fields and is none: with the fields around it
 * gone, it could end the header.
 */
static void
drop_mbox_line(struct edits *x, struct bytes message, size_t len)
{
	if (len > 0) {
		bool bare = mail_header_length(bytes_from(message, len)) == 0;
		replace(x, 0, len, bare ? BYTES_LIT("\r\n") : BYTES_EMPTY);
	}
}

/* The next field; what lies between it and the one before, or behind the last one, is cut. */
static bool
next_field(struct edits *x, struct mail_fields *it, size_t base, struct mail_field *f)
{
	size_t from = it->at;
	size_t end = from;
	bool found = mail_fields_next(it, f);
	if (found) {
		end = f->offset;
	}
	while (!found && end < it->head.len) {
		size_t line = mail_line_end(it->head, end);
		if (mail_line_is_empty(bytes_slice(it->head, end, line - end))) {
			break;
		}
		end = line;
	}
	if (end > from) {
		cut(x, base + from, end - from);
	}
	return found;
}

static void
take_header(struct edits *x, struct bytes message, const struct mail_privacy *p)
{
	struct mail_fields it;
	struct mail_field f;
	struct met met = {.resent = mail_field_find(message, "Resent-From", &f)};
	mail_fields_init(&it, message);
	drop_mbox_line(x, message, it.at);
	while (x->error == ERR_OK && next_field(x, &it, 0, &f)) {
		if (bytes_starts_with_nocase(f.name, "Resent-")) {
			take_resent(x, &f, p, &met);
		} else {
			take_own(x, &f, p, &met);
		}
	}
}

/* ---- parts ---- */

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
take_boundary(struct edits *x, struct bytes message, const struct mail_structure *s, uint32_t number,
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
	replace(x, place, len, buf_bytes(&text));
	buf_consume(&text, e == ERR_OK ? strlen(before) : 0);
	for (uint32_t c = part->first_child; good && c != MAIL_NO_PART; c = s->parts[c].next_sibling) {
		bool first = last == NULL;
		last = &s->parts[c];
		good = delimiter_before(message, last->header_at, boundary, &at);
		if (good && first && at > part->body_at) {
			/* What no reader shows: programs greet old ones there, each in its own words. */
			cut(x, part->body_at, at - part->body_at);
		}
		replace(x, at + 2, boundary.len, buf_bytes(&text));
	}
	if (good && last != NULL && closing_delimiter(message, last, boundary, &at)) {
		size_t behind = mail_line_end(message, at);
		size_t end = part->body_at + part->body_len;
		replace(x, at + 2, boundary.len, buf_bytes(&text));
		if (end > behind) {
			/* Nor what stands behind the last delimiter. */
			cut(x, behind, end - behind);
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
cut_comments(struct edits *x, struct bytes value, size_t value_at)
{
	struct mail_lexer lexer;
	struct mail_token t;
	mail_lexer_init(&lexer, value, MAIL_SPECIALS_MIME, false);
	do {
		t = mail_lexer_next(&lexer);
		if (t.kind == MAIL_TOKEN_COMMENT) {
			cut(x, value_at + t.at, t.end - t.at);
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
take_params(struct edits *x, struct bytes message, const struct mail_structure *s, uint32_t number,
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
				cut(x, value_at + param.at, param.end - param.at);
			}
			first = false;
		} else if (param.name.len > 0 && !privacy_param_leaves(param.name)) {
			cut(x, value_at + param.at, param.end - param.at);
		}
	}
	buf_wipe(&boundary);
}

/* Nothing can name a part by its Content-ID, in which some programs put a time. */
static bool
has_no_references(const struct mail_structure *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (is_type(&s->parts[i], "text", "html") || is_type(&s->parts[i], "multipart", "related")) {
			return false;
		}
	}
	return !s->truncated;
}

static void
take_part(struct edits *x, struct bytes message, const struct mail_structure *s, uint32_t number,
	  bool free_of_references, const struct mail_privacy *p)
{
	const struct mail_part *part = &s->parts[number];
	struct mail_fields it;
	struct mail_field f;
	bool typed = false;
	mail_fields_init(&it, bytes_slice(message, part->header_at, part->header_len));
	while (x->error == ERR_OK &&
	       (part->parent == MAIL_NO_PART ? mail_fields_next(&it, &f)
					     : next_field(x, &it, part->header_at, &f))) {
		f.offset += part->header_at;
		if (bytes_is_nocase(f.name, "Content-Type") && !typed) {
			typed = true;
			take_params(x, message, s, number, &f, p);
		} else if (bytes_is_nocase(f.name, "Content-Disposition")) {
			take_params(x, message, s, number, &f, p);
		} else if ((part->parent != MAIL_NO_PART && !privacy_part_field_leaves(f.name, f.value)) ||
			   (free_of_references && bytes_is_nocase(f.name, "Content-ID"))) {
			cut(x, f.offset, f.whole.len);
		}
	}
}

static void
take_parts(struct edits *x, struct bytes message, const struct mail_privacy *p)
{
	struct arena arena;
	struct mail_structure s;
	bool *closed = NULL;
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_MAX_PARTS);
	enum err e = mail_parse(&arena, parts_of(message), &s);
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

/* ---- the whole ---- */

/* The identifier, where the message has none. */
static enum err
put_missing_id(struct bytes message, const struct mail_privacy *p, struct buf *out)
{
	struct mail_field f;
	if (mail_field_find(message, "Message-ID", &f) || mail_field_find(message, "Resent-From", &f)) {
		return ERR_OK;
	}
	enum err e = mail_write_field(out, "Message-ID", p->id);
	/* Without any header, the empty line that ends it is missing, too. */
	return e == ERR_OK && mail_header_length(message) == 0 ? buf_append_str(out, "\r\n") : e;
}

static enum err
finish(struct edits *x, struct bytes message, const struct mail_privacy *p, struct buf *out)
{
	size_t mark = out->len;
	enum err e = x->error == ERR_OK ? put_missing_id(message, p, out) : x->error;
	if (e == ERR_OK) {
		e = apply(x, message, out);
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	edits_clear(x);
	return e;
}

enum err
mail_privacy_leave(struct bytes message, const struct mail_privacy *p, struct buf *out)
{
	struct edits x;
	edits_init(&x);
	take_header(&x, message, p);
	take_parts(&x, message, p);
	return finish(&x, message, p, out);
}

enum err
mail_privacy_keep(struct bytes message, const struct mail_privacy *p, struct buf *out)
{
	struct edits x;
	struct mail_fields it;
	struct mail_field f;
	struct met met = {.resent = mail_field_find(message, "Resent-From", &f)};
	edits_init(&x);
	mail_fields_init(&it, message);
	drop_mbox_line(&x, message, it.at);
	while (x.error == ERR_OK && mail_fields_next(&it, &f)) {
		if (bytes_is_nocase(f.name, met.resent ? "Resent-Message-ID" : "Message-ID")) {
			take_id(&x, &f, met.resent ? "Resent-Message-ID" : "Message-ID", p, &met.id);
		} else if (bytes_is_nocase(f.name, "In-Reply-To") || bytes_is_nocase(f.name, "References")) {
			map_ids(&x, &f, p);
		}
	}
	return finish(&x, message, p, out);
}

/* ---- dates ---- */

static enum err
put_date(const char *name, int64_t when, struct buf *fields)
{
	struct buf text = BUF_INIT(64);
	enum err e = mail_write_date(&text, when);
	if (e == ERR_OK) {
		e = mail_write_field(fields, name, buf_bytes(&text));
	}
	buf_clear(&text);
	return e;
}

enum err
mail_privacy_put_dates(struct bytes message, enum mail_privacy_date date, int64_t when, struct buf *fields)
{
	enum { DAY = 86400 };
	struct mail_field f;
	enum err e = ERR_OK;
	if (date == MAIL_DATE_DAY) {
		when -= when % DAY;
	}
	if (mail_field_find(message, "Resent-From", &f) && !mail_field_find(message, "Resent-Date", &f)) {
		e = put_date("Resent-Date", when, fields);
	}
	if (e == ERR_OK && !mail_field_find(message, "Date", &f)) {
		e = put_date("Date", when, fields);
	}
	return e;
}

bool
mail_privacy_date_is_odd(struct bytes message, int64_t when)
{
	struct mail_field f;
	struct mail_date date;
	return !mail_field_find(message, "Resent-From", &f) && mail_field_find(message, "Date", &f) &&
	       (mail_date_parse(f.value, &date) != ERR_OK || date.seconds - when >= MAIL_PRIVACY_ODD_DATE ||
		when - date.seconds >= MAIL_PRIVACY_ODD_DATE);
}
