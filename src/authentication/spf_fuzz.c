/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Lines are records: each question gets the next one, in turn, as a TXT record and as rdata. A message's From and results too. */
#include <string.h>

#include "authentication/results.h"
#include "base/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct oracle {
	struct bytes lines;
	size_t at;
	struct buf rdata;
};

static struct bytes
next_line(struct oracle *o)
{
	struct bytes rest = bytes_from(o->lines, o->at);
	ptrdiff_t end = bytes_find(rest, '\n');
	struct bytes line = end < 0 ? rest : bytes_slice(rest, 0, (size_t)end);
	o->at = end < 0 ? 0 : o->at + (size_t)end + 1;
	return line;
}

static enum err
ask(void *ctx, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	struct oracle *o = ctx;
	struct wire_writer w;
	(void)name;
	struct bytes line = bytes_slice(next_line(o), 0, 255);
	buf_reset(&o->rdata);
	wire_writer_init(&w, &o->rdata);
	size_t opened = wire_open_bytes(&w);
	if (type == AUTHENTICATION_TXT) {
		wire_put_u8(&w, (uint8_t)line.len);
	}
	wire_put_fixed(&w, line.ptr, line.len);
	wire_close_bytes(&w, opened);
	*ret = (struct authentication_answer){.rdata = buf_bytes(&o->rdata)};
	return wire_done(&w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oracle o = {.lines = bytes_of(data, size), .rdata = {.max = 4096}};
	struct authentication_dns dns = {.ask = ask, .ctx = &o};
	struct spf_input in = {.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1},
			       .hello = BYTES_LIT("h.example"),
			       .sender = BYTES_LIT("a-b.c@example.org"),
			       .allow_local_part = true};
	struct authentication_results r;
	enum authentication_result found;
	struct buf out = BUF_INIT(1 << 20);
	memset(&r, 0, sizeof(r));
	spf_check(&in, &dns, &r.spf);
	o.at = 0;
	dmarc_check(o.lines, &r.dkim, &r.spf, 0, &dns, &r.dmarc);
	r.sender = bytes_slice(o.lines, 0, 100);
	if (authentication_results_write("mx", &r, &out) == ERR_OK &&
	    authentication_results_read(o.lines, "spf", &found) == ERR_OK &&
	    authentication_results_strip(o.lines, "mx", "example", &out) != ERR_OK) {
		buf_reset(&out);
	}
	buf_clear(&out);
	buf_clear(&o.rdata);
	return 0;
}
