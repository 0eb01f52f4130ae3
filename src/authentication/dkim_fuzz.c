/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The first line is what the DNS says to each question; the rest is the message. */
#include "authentication/arc.h"

#include "base/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct oracle {
	struct bytes text;
	struct buf rdata;
};

static enum err
ask(void *ctx, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	struct oracle *o = ctx;
	struct wire_writer w;
	(void)name;
	(void)type;
	buf_reset(&o->rdata);
	wire_writer_init(&w, &o->rdata);
	size_t opened = wire_open_bytes(&w);
	struct bytes piece = bytes_slice(o->text, 0, 255);
	wire_put_u8(&w, (uint8_t)piece.len);
	wire_put_fixed(&w, piece.ptr, piece.len);
	wire_close_bytes(&w, opened);
	*ret = (struct authentication_answer){.rdata = buf_bytes(&o->rdata)};
	return wire_done(&w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = bytes_of(data, size);
	ptrdiff_t end = bytes_find(input, '\n');
	struct oracle o = {.text = bytes_slice(input, 0, end < 0 ? 0 : (size_t)end), .rdata = {.max = 4096}};
	struct bytes message = bytes_from(input, end < 0 ? 0 : (size_t)end + 1);
	struct authentication_dns dns = {.ask = ask, .ctx = &o};
	struct arena a;
	struct dkim_verdicts verdicts;
	struct arc_verdict chain;
	arena_init(&a, 16 << 20);
	if (dkim_verify(&a, message, BYTES_LIT("example.org"), 1, &dns, &verdicts) != ERR_OK ||
	    arc_verify(&a, message, &dns, &chain) != ERR_OK) {
		arena_clear(&a);
		buf_clear(&o.rdata);
		return 0;
	}
	arena_clear(&a);
	buf_clear(&o.rdata);
	return 0;
}
