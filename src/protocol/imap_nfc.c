/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_nfc.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/imap_fold_case.h"
#include "protocol/imap_nfc_table.h"

enum {
	LEAD_MIN = 0xcc, /* of U+0300: text without is in form C as it stands */
	APART_MAX = 4,   /* no character is made of more */
	HANGUL_S = 0xac00,
	HANGUL_L = 0x1100,
	HANGUL_V = 0x1161,
	HANGUL_T = 0x11a7,
	HANGUL_LS = 19,
	HANGUL_VS = 21,
	HANGUL_TS = 28,
	HANGUL_SS = HANGUL_LS * HANGUL_VS * HANGUL_TS,
};

struct text {
	uint32_t *chars;
	size_t count;
};

static const uint32_t *
find(const uint32_t (*rows)[3], size_t count, uint32_t first, const uint32_t *second)
{
	size_t low = 0;
	size_t high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const uint32_t *row = rows[middle];
		if (row[0] == first && (second == NULL || row[1] == *second)) {
			return row;
		}
		if (row[0] < first || (row[0] == first && second != NULL && row[1] < *second)) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return NULL;
}

/* Puts one character, which is not made of others, behind the text, marks in their canonical order. */
static void
put(struct text *t, uint32_t c)
{
	uint8_t class = imap_combining_class(c);
	size_t at = t->count++;
	while (class != 0 && at > 0 && imap_combining_class(t->chars[at - 1]) > class) {
		t->chars[at] = t->chars[at - 1];
		at--;
	}
	t->chars[at] = c;
}

static void
put_apart(struct text *t, uint32_t c)
{
	uint32_t behind[APART_MAX];
	size_t count = 0;
	if (c >= HANGUL_S && c < HANGUL_S + HANGUL_SS) {
		uint32_t s = c - HANGUL_S;
		put(t, HANGUL_L + s / (HANGUL_VS * HANGUL_TS));
		put(t, HANGUL_V + s / HANGUL_TS % HANGUL_VS);
		if (s % HANGUL_TS != 0) {
			put(t, HANGUL_T + s % HANGUL_TS);
		}
		return;
	}
	for (const uint32_t *row; count < APART_MAX - 1 && c >= 0x80 &&
				  (row = find(imap_nfc_apart, imap_nfc_apart_count, c, NULL)) != NULL;) {
		if (row[2] != 0) {
			behind[count++] = row[2];
		}
		c = row[1];
	}
	put(t, c);
	while (count > 0) {
		put(t, behind[--count]);
	}
}

/* The character that these two make; 0: none. */
static uint32_t
pair(uint32_t a, uint32_t b)
{
	if (a >= HANGUL_L && a < HANGUL_L + HANGUL_LS && b >= HANGUL_V && b < HANGUL_V + HANGUL_VS) {
		return HANGUL_S + ((a - HANGUL_L) * HANGUL_VS + (b - HANGUL_V)) * HANGUL_TS;
	}
	if (a >= HANGUL_S && a < HANGUL_S + HANGUL_SS && (a - HANGUL_S) % HANGUL_TS == 0 && b > HANGUL_T &&
	    b < HANGUL_T + HANGUL_TS) {
		return a + (b - HANGUL_T);
	}
	const uint32_t *row = find(imap_nfc_together, imap_nfc_together_count, a, &b);
	return row == NULL ? 0 : row[2];
}

/* UAX 15: each character that nothing of its class, or of a higher one, keeps from the last starter goes together with it. */
static void
compose(struct text *t)
{
	size_t kept = 0;
	size_t starter = SIZE_MAX;
	uint8_t before = 0; /* class of the last one that was kept behind the starter */
	for (size_t i = 0; i < t->count; i++) {
		uint32_t c = t->chars[i];
		uint8_t class = imap_combining_class(c);
		bool free = starter != SIZE_MAX && (kept == starter + 1 || before < class);
		uint32_t one = free ? pair(t->chars[starter], c) : 0;
		if (one != 0) {
			t->chars[starter] = one;
			continue;
		}
		if (class == 0) {
			starter = kept;
		}
		before = class;
		t->chars[kept++] = c;
	}
	t->count = kept;
}

static bool
may_combine(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] >= LEAD_MIN) {
			return true;
		}
	}
	return false;
}

enum err
imap_nfc(struct bytes text, struct buf *out)
{
	if (!bytes_is_utf8(text)) {
		return ERR_FORMAT;
	}
	if (!may_combine(text)) {
		return buf_append(out, text);
	}
	/* A character of n octets is made of at most APART_MAX, and has at least two octets then. */
	struct text t = {.chars = calloc(text.len, APART_MAX * sizeof(*t.chars))};
	size_t start = out->len;
	enum err e = t.chars == NULL ? ERR_MEMORY : ERR_OK;
	for (size_t at = 0; e == ERR_OK && at < text.len;) {
		put_apart(&t, bytes_utf8_next(text, &at));
	}
	compose(&t);
	for (size_t i = 0; e == ERR_OK && i < t.count; i++) {
		e = buf_append_utf8(out, t.chars[i]);
	}
	if (e != ERR_OK) {
		buf_truncate(out, start);
	}
	if (t.chars != NULL) {
		explicit_bzero(t.chars, text.len * APART_MAX * sizeof(*t.chars));
	}
	free(t.chars);
	return e;
}
