/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_WIRE_H
#define COHUE_BASE_WIRE_H

#include "base/bytes.h"

/*
 * The encoding of internal messages and sealed records: big-endian integers,
 * byte strings with a 32-bit length before them. The reader's error is sticky:
 * read all fields, then ask wire_end() once, which also demands that nothing
 * is left over. After an error each read gives zero or an empty view.
 */

struct wire_reader {
	struct bytes rest;
	enum err error;
};

void wire_reader_init(struct wire_reader *r, struct bytes data);
uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
/* Borrowed from the data. A length above max or above what is left is ERR_FORMAT. */
struct bytes wire_get_bytes(struct wire_reader *r, size_t max);
/* Exactly n bytes without a length prefix, copied out (zeros after an error). */
void wire_get_fixed(struct wire_reader *r, uint8_t *ret, size_t n);
/* All that is left. */
struct bytes wire_get_rest(struct wire_reader *r);
void wire_fail(struct wire_reader *r, enum err e);
COHUE_MUST_USE enum err wire_end(const struct wire_reader *r);

/* The writer appends to a caller's buffer; its error is sticky, too. */
struct wire_writer {
	struct buf *out;
	enum err error;
};

void wire_writer_init(struct wire_writer *w, struct buf *out);
void wire_put_u8(struct wire_writer *w, uint8_t v);
void wire_put_u16(struct wire_writer *w, uint16_t v);
void wire_put_u32(struct wire_writer *w, uint32_t v);
void wire_put_u64(struct wire_writer *w, uint64_t v);
void wire_put_bytes(struct wire_writer *w, struct bytes v);
void wire_put_fixed(struct wire_writer *w, const uint8_t *v, size_t n);
/* A byte string that the caller appends to the buffer itself, between these two: its length is put before it in the end. */
size_t wire_open_bytes(struct wire_writer *w);
void wire_close_bytes(struct wire_writer *w, size_t opened);
COHUE_MUST_USE enum err wire_done(const struct wire_writer *w);

#endif
