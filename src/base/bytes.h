/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_BYTES_H
#define COHUE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Bytes always carry their length. `struct bytes` is a borrowed view: it owns
 * nothing and lives as long as what it points into. `struct buf` owns its
 * memory and has a maximum that it never grows past.
 */

struct bytes {
	const uint8_t *ptr;
	size_t len;
};

struct buf {
	uint8_t *ptr; /* NULL while empty: an empty buffer holds no memory */
	size_t len;
	size_t cap;
	size_t max; /* in bytes; appending past it gives ERR_LIMIT */
};

#define BYTES_EMPTY ((struct bytes){.ptr = NULL, .len = 0})
/* A view of a string literal or array, without the final NUL. */
#define BYTES_LIT(s) ((struct bytes){.ptr = (const uint8_t *)(s), .len = sizeof(s) - 1})
#define BUF_INIT(maximum) ((struct buf){.ptr = NULL, .len = 0, .cap = 0, .max = (maximum)})

struct bytes bytes_of(const void *ptr, size_t len);
struct bytes bytes_str(const char *s); /* strlen: for trusted, NUL-terminated text only */

bool bytes_equal(struct bytes a, struct bytes b);
/* ASCII letters compare without case; other octets exactly. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);
bool bytes_is(struct bytes a, const char *text);
bool bytes_is_nocase(struct bytes a, const char *text);
int bytes_compare(struct bytes a, struct bytes b);
bool bytes_starts_with(struct bytes a, const char *prefix);
bool bytes_starts_with_nocase(struct bytes a, const char *prefix);
bool bytes_ends_with_nocase(struct bytes a, const char *suffix);

/* Positions; (ptrdiff_t)-1 where not found. */
ptrdiff_t bytes_find(struct bytes hay, uint8_t c);
ptrdiff_t bytes_find_last(struct bytes hay, uint8_t c);
ptrdiff_t bytes_search(struct bytes hay, struct bytes needle);

/* A part of a view; start and length are clipped to what is there. */
struct bytes bytes_slice(struct bytes a, size_t start, size_t len);
struct bytes bytes_from(struct bytes a, size_t start);
/* Without spaces and tabs (also CR and LF) at both ends. */
struct bytes bytes_trim(struct bytes a);
/* Decimal digits only, no sign, at most max. ERR_FORMAT or ERR_LIMIT. */
COHUE_MUST_USE enum err bytes_to_u64(struct bytes a, uint64_t max, uint64_t *ret_value);

uint8_t ascii_lower(uint8_t c);
uint8_t ascii_upper(uint8_t c);
bool ascii_is_digit(uint8_t c);
bool ascii_is_alpha(uint8_t c);
bool ascii_is_alnum(uint8_t c);
/* True for well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates). */
bool bytes_is_utf8(struct bytes a);
/* The character at *at of text for which that is true, *at < a.len; moves *at behind it. */
uint32_t bytes_utf8_next(struct bytes a, size_t *at);
bool bytes_is_ascii(struct bytes a);

void buf_init(struct buf *b, size_t max);
/* Frees the memory; keeps the maximum. Safe on a cleared buffer. */
void buf_clear(struct buf *b);
/* Overwrites what was held before freeing: for secrets and mail in flight. */
void buf_wipe(struct buf *b);
/* Forgets the content and keeps the memory. */
void buf_reset(struct buf *b);
/* Makes room for `extra` more bytes. ERR_LIMIT past max, ERR_MEMORY. */
COHUE_MUST_USE enum err buf_reserve(struct buf *b, size_t extra);
COHUE_MUST_USE enum err buf_append(struct buf *b, struct bytes a);
COHUE_MUST_USE enum err buf_append_str(struct buf *b, const char *s);
COHUE_MUST_USE enum err buf_append_byte(struct buf *b, uint8_t c);
COHUE_MUST_USE enum err buf_append_u64(struct buf *b, uint64_t value);    /* decimal */
COHUE_MUST_USE enum err buf_append_hex(struct buf *b, struct bytes a);    /* lower-case */
COHUE_MUST_USE enum err buf_append_base64(struct buf *b, struct bytes a); /* RFC 4648, padded, one line */
COHUE_MUST_USE enum err buf_append_xml(struct buf *b, struct bytes a);    /* as text, or within quotes */
/* One character, below 0x110000 and no surrogate, as UTF-8. ERR_MEMORY, ERR_LIMIT. */
COHUE_MUST_USE enum err buf_append_utf8(struct buf *b, uint32_t c);
COHUE_MUST_USE enum err buf_printf(struct buf *b, const char *format, ...) COHUE_PRINTF(2, 3);
/* Drops n bytes at the front (n <= len). */
void buf_consume(struct buf *b, size_t n);
void buf_truncate(struct buf *b, size_t len);
struct bytes buf_bytes(const struct buf *b);
/* RFC 4648 base64, padding required, nothing else accepted. ERR_FORMAT. */
COHUE_MUST_USE enum err buf_append_unbase64(struct buf *b, struct bytes text);
COHUE_MUST_USE enum err buf_append_unhex(struct buf *b, struct bytes text);

#endif
