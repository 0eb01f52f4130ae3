/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/traits.h"

#include "mail/decode.h"

enum { SET_SIZE = 1024 }; /* a power of two, well above MAIL_TRAITS_MAX */

struct traits {
	uint32_t *list;
	size_t count;
	uint32_t set[SET_SIZE]; /* 0: free */
	uint8_t letters[256];
};

/* FNV-1a over a kind and the octets, letters of ASCII without case. It tells words apart; it need not resist anybody. */
static const uint32_t HASH_FACTOR = 16777619U;

static uint32_t
hash_start(char kind)
{
	return (2166136261U ^ (uint8_t)kind) * HASH_FACTOR;
}

static void
put_hash(struct traits *t, uint32_t h)
{
	h = h == 0 ? 1 : h;
	size_t at = h & (SET_SIZE - 1);
	if (t->count == MAIL_TRAITS_MAX) {
		return;
	}
	while (t->set[at] != 0 && t->set[at] != h) {
		at = (at + 1) & (SET_SIZE - 1);
	}
	if (t->set[at] == 0) {
		t->set[at] = h;
		t->list[t->count++] = h;
	}
}

static void
put(struct traits *t, char kind, struct bytes word)
{
	uint32_t h = hash_start(kind);
	for (size_t i = 0; i < word.len; i++) {
		h = (h ^ ascii_lower(word.ptr[i])) * HASH_FACTOR;
	}
	put_hash(t, h);
}

/* Of what words are made; in small letters. 0: of none. */
static void
make_letters(uint8_t ret[256])
{
	for (unsigned c = 0; c < 256; c++) {
		uint8_t lower = ascii_lower((uint8_t)c);
		bool letter = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ||
			      lower >= 0x80 || lower == '$' || lower == '\'';
		ret[c] = letter ? lower : 0;
	}
}

/* Asked of every octet of every message: each is looked at once, and words get their hash on the way. */
static void
put_words(struct traits *t, char kind, struct bytes text)
{
	size_t at = 0;
	while (at < text.len && t->count < MAIL_TRAITS_MAX) {
		size_t from = at;
		uint32_t h = hash_start(kind);
		uint8_t letter;
		while (at < text.len && (letter = t->letters[text.ptr[at]]) != 0) {
			h = (h ^ letter) * HASH_FACTOR;
			at++;
		}
		if (at - from >= MAIL_TRAITS_WORD_MIN && at - from <= MAIL_TRAITS_WORD_MAX) {
			put_hash(t, h);
		}
		at++; /* of no word, or the end */
	}
}

/* Hosts of "://host". */
static void
put_hosts(struct traits *t, struct bytes text)
{
	size_t at = 0;
	while (at < text.len && t->count < MAIL_TRAITS_MAX) {
		ptrdiff_t found = bytes_search(bytes_from(text, at), BYTES_LIT("://"));
		if (found < 0) {
			return;
		}
		at += (size_t)found + 3;
		size_t from = at;
		while (at < text.len &&
		       (ascii_is_alnum(text.ptr[at]) || text.ptr[at] == '.' || text.ptr[at] == '-')) {
			at++;
		}
		if (at > from) {
			put(t, 'h', bytes_slice(text, from, at - from));
		}
	}
}

/* HTML: what stands in tags becomes blanks, after its hosts were taken. In place. */
static void
drop_tags(struct buf *text)
{
	bool inside = false;
	for (size_t i = 0; i < text->len; i++) {
		uint8_t c = text->ptr[i];
		inside = c == '<' || (inside && c != '>');
		if (inside || c == '>') {
			text->ptr[i] = ' ';
		}
	}
}

static enum err
put_part(struct traits *t, const struct mail_part *p, struct bytes message)
{
	struct bytes body = bytes_slice(bytes_from(message, p->body_at), 0,
					p->body_len < MAIL_TRAITS_OCTETS ? p->body_len : MAIL_TRAITS_OCTETS);
	struct buf text = BUF_INIT(2 * MAIL_TRAITS_OCTETS);
	enum err e = mail_decode(mail_encoding_of(p->encoding), body, &text);
	if (e == ERR_OK) {
		put_hosts(t, buf_bytes(&text));
		if (bytes_is_nocase(p->subtype, "html")) {
			drop_tags(&text);
		}
		put_words(t, 'w', buf_bytes(&text));
	}
	buf_wipe(&text);
	return e;
}

enum err
mail_traits(const struct mail_structure *s, struct bytes message, uint32_t ret[MAIL_TRAITS_MAX],
	    size_t *ret_count)
{
	struct traits t = {.list = ret};
	size_t parts = 0;
	enum err e = ERR_OK;
	make_letters(t.letters);
	const struct mail_envelope *envelope = s->count > 0 ? s->parts[0].envelope : NULL;
	if (envelope != NULL) {
		for (size_t i = 0; i < envelope->from.count && i < 4; i++) {
			put(&t, 'f', envelope->from.list[i].domain);
		}
		put_words(&t, 's', envelope->subject);
	}
	for (size_t i = 0; i < s->count && parts < MAIL_TRAITS_PARTS && e == ERR_OK; i++) {
		const struct mail_part *p = &s->parts[i];
		if (p->kind == MAIL_PART_LEAF && bytes_is_nocase(p->type, "text") &&
		    !bytes_is_nocase(p->disposition, "attachment")) {
			e = put_part(&t, p, message);
			parts++;
		}
	}
	if (e == ERR_OK) {
		*ret_count = t.count;
	}
	return e;
}
