/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/privacy.h"

#include <string.h>

#include "mail/privacy_edits.h"
#include "mail/privacy_names.h"
#include "mail/write.h"

enum {
	IDS_MAX = 1000, /* identifiers of one field that are looked at */
	IDS_ARENA = 1 << 20,
};

/* ---- looking ---- */

static bool
is_crypto(const struct mail_part *p)
{
	return privacy_is_type(p, "multipart", "signed") || privacy_is_type(p, "multipart", "encrypted") ||
	       privacy_is_type(p, "application", "pkcs7-mime") ||
	       privacy_is_type(p, "application", "x-pkcs7-mime");
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
	enum err e = mail_parse(arena, privacy_parts_of(message), &s);
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
cut_between_ids(struct privacy_edits *x, struct bytes value, size_t value_at)
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
			privacy_cut(x, value_at + from, at - from);
		}
	}
}

/* Each identifier in the value that has another one for it. */
static void
map_ids(struct privacy_edits *x, const struct mail_field *f, const struct mail_privacy *p)
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
			privacy_replace(x, value_at + begin, len, buf_bytes(&to));
		}
		buf_wipe(&to);
		at = begin + len;
	}
	arena_clear(&arena);
}

static void
replace_field(struct privacy_edits *x, const struct mail_field *f, const char *name, struct bytes value)
{
	struct buf line = BUF_INIT(MAIL_PRIVACY_ID_MAX * 2);
	if (x->error == ERR_OK) {
		x->error = mail_write_field(&line, name, value);
	}
	privacy_replace(x, f->offset, f->whole.len, buf_bytes(&line));
	buf_wipe(&line);
}

/* In UTC; out where it cannot be read, or where `near` is set and it is far from it. */
static void
put_utc(struct privacy_edits *x, const struct mail_field *f, const char *name, const int64_t *near)
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
		privacy_cut(x, f->offset, f->whole.len);
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
take_id(struct privacy_edits *x, const struct mail_field *f, const char *name, const struct mail_privacy *p,
	bool *met)
{
	if (*met) {
		privacy_cut(x, f->offset, f->whole.len);
	} else {
		replace_field(x, f, name, p->id);
	}
	*met = true;
}

static void
take_resent(struct privacy_edits *x, const struct mail_field *f, const struct mail_privacy *p,
	    struct met *met)
{
	if (bytes_is_nocase(f->name, "Resent-Message-ID")) {
		take_id(x, f, "Resent-Message-ID", p, &met->id);
	} else if (bytes_is_nocase(f->name, "Resent-Date")) {
		/* The newest stands first. */
		if (p->date == MAIL_DATE_KEEP || met->resent_date) {
			put_utc(x, f, "Resent-Date", met->resent_date ? NULL : &p->now);
		} else {
			privacy_cut(x, f->offset, f->whole.len);
		}
		met->resent_date = true;
	} else if (!privacy_resent_leaves(f->name)) {
		privacy_cut(x, f->offset, f->whole.len);
	}
}

static void
take_own(struct privacy_edits *x, const struct mail_field *f, const struct mail_privacy *p, struct met *met)
{
	if (!privacy_field_leaves(f->name)) {
		privacy_cut(x, f->offset, f->whole.len);
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
			privacy_cut(x, f->offset, f->whole.len);
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
drop_mbox_line(struct privacy_edits *x, struct bytes message, size_t len)
{
	if (len > 0) {
		bool bare = mail_header_length(bytes_from(message, len)) == 0;
		privacy_replace(x, 0, len, bare ? BYTES_LIT("\r\n") : BYTES_EMPTY);
	}
}

static void
take_header(struct privacy_edits *x, struct bytes message, const struct mail_privacy *p)
{
	struct mail_fields it;
	struct mail_field f;
	struct met met = {.resent = mail_field_find(message, "Resent-From", &f)};
	mail_fields_init(&it, message);
	drop_mbox_line(x, message, it.at);
	while (x->error == ERR_OK && privacy_next_field(x, &it, 0, &f)) {
		if (bytes_starts_with_nocase(f.name, "Resent-")) {
			take_resent(x, &f, p, &met);
		} else {
			take_own(x, &f, p, &met);
		}
	}
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
finish(struct privacy_edits *x, struct bytes message, const struct mail_privacy *p, struct buf *out)
{
	size_t mark = out->len;
	enum err e = x->error == ERR_OK ? put_missing_id(message, p, out) : x->error;
	if (e == ERR_OK) {
		e = privacy_apply(x, message, out);
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	privacy_edits_clear(x);
	return e;
}

enum err
mail_privacy_leave(struct bytes message, const struct mail_privacy *p, struct buf *out)
{
	struct privacy_edits x;
	privacy_edits_init(&x);
	take_header(&x, message, p);
	privacy_take_parts(&x, message, p);
	return finish(&x, message, p, out);
}

enum err
mail_privacy_keep(struct bytes message, const struct mail_privacy *p, struct buf *out)
{
	struct privacy_edits x;
	struct mail_fields it;
	struct mail_field f;
	struct met met = {.resent = mail_field_find(message, "Resent-From", &f)};
	privacy_edits_init(&x);
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
