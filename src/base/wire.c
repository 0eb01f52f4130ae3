/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/wire.h"

#include <string.h>

void
wire_reader_init(struct wire_reader *r, struct bytes data)
{
	r->rest = data;
	r->error = ERR_OK;
}

void
wire_fail(struct wire_reader *r, enum err e)
{
	if (r->error == ERR_OK) {
		r->error = e;
	}
	r->rest = BYTES_EMPTY;
}

static struct bytes
take(struct wire_reader *r, size_t n)
{
	if (r->error != ERR_OK || r->rest.len < n) {
		wire_fail(r, ERR_FORMAT);
		return BYTES_EMPTY;
	}
	/* Written out: a card is read with a hundred of these. */
	struct bytes got = {.ptr = r->rest.ptr, .len = n};
	r->rest.ptr = n > 0 ? r->rest.ptr + n : r->rest.ptr;
	r->rest.len -= n;
	return got;
}

static uint64_t
get_number(struct wire_reader *r, size_t n)
{
	struct bytes b = take(r, n);
	uint64_t v = 0;
	for (size_t i = 0; i < b.len; i++) {
		v = v << 8 | b.ptr[i];
	}
	return v;
}

uint8_t
wire_get_u8(struct wire_reader *r)
{
	return (uint8_t)get_number(r, 1);
}

uint16_t
wire_get_u16(struct wire_reader *r)
{
	return (uint16_t)get_number(r, 2);
}

uint32_t
wire_get_u32(struct wire_reader *r)
{
	return (uint32_t)get_number(r, 4);
}

uint64_t
wire_get_u64(struct wire_reader *r)
{
	return get_number(r, 8);
}

struct bytes
wire_get_bytes(struct wire_reader *r, size_t max)
{
	size_t n = wire_get_u32(r);
	if (n > max) {
		wire_fail(r, ERR_FORMAT);
		return BYTES_EMPTY;
	}
	return take(r, n);
}

void
wire_get_fixed(struct wire_reader *r, uint8_t *ret, size_t n)
{
	struct bytes b = take(r, n);
	if (b.len == n && n > 0) {
		memcpy(ret, b.ptr, n);
	} else if (n > 0) {
		memset(ret, 0, n);
	}
}

struct bytes
wire_get_rest(struct wire_reader *r)
{
	return take(r, r->rest.len);
}

enum err
wire_end(const struct wire_reader *r)
{
	if (r->error != ERR_OK) {
		return r->error;
	}
	return r->rest.len == 0 ? ERR_OK : ERR_FORMAT;
}

void
wire_writer_init(struct wire_writer *w, struct buf *out)
{
	w->out = out;
	w->error = ERR_OK;
}

static void
put(struct wire_writer *w, struct bytes b)
{
	if (w->error == ERR_OK) {
		w->error = buf_append(w->out, b);
	}
}

static void
put_number(struct wire_writer *w, uint64_t v, size_t n)
{
	uint8_t b[8];
	for (size_t i = 0; i < n; i++) {
		b[n - 1 - i] = (uint8_t)(v >> (8 * i));
	}
	put(w, bytes_of(b, n));
}

void
wire_put_u8(struct wire_writer *w, uint8_t v)
{
	put_number(w, v, 1);
}

void
wire_put_u16(struct wire_writer *w, uint16_t v)
{
	put_number(w, v, 2);
}

void
wire_put_u32(struct wire_writer *w, uint32_t v)
{
	put_number(w, v, 4);
}

void
wire_put_u64(struct wire_writer *w, uint64_t v)
{
	put_number(w, v, 8);
}

void
wire_put_bytes(struct wire_writer *w, struct bytes v)
{
	if (v.len > UINT32_MAX) {
		w->error = w->error == ERR_OK ? ERR_LIMIT : w->error;
		return;
	}
	wire_put_u32(w, (uint32_t)v.len);
	put(w, v);
}

void
wire_put_fixed(struct wire_writer *w, const uint8_t *v, size_t n)
{
	put(w, bytes_of(v, n));
}

size_t
wire_open_bytes(struct wire_writer *w)
{
	put_number(w, 0, 4);
	return w->out->len;
}

void
wire_close_bytes(struct wire_writer *w, size_t opened)
{
	if (w->error != ERR_OK) {
		return;
	}
	size_t len = w->out->len - opened;
	if (len > UINT32_MAX) {
		w->error = ERR_LIMIT;
		return;
	}
	for (size_t i = 0; i < 4; i++) {
		w->out->ptr[opened - 1 - i] = (uint8_t)(len >> (8 * i));
	}
}

enum err
wire_done(const struct wire_writer *w)
{
	return w->error;
}
