/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "protocol/smtp_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
run(struct bytes in, size_t step, bool dots, struct smtp_data *d, uint64_t *ret_sum, size_t *ret_used)
{
	struct smtp_data_limits limits = {.max_size = 3000, .max_header = 500, .max_line = 80};
	uint64_t sum = 0;
	size_t used = 0;
	smtp_data_init(d, dots, &limits);
	while (used < in.len && !d->ended) {
		struct bytes content = BYTES_EMPTY;
		size_t n = smtp_data_next(d, bytes_slice(in, used, step), &content);
		if (n == 0) {
			panic("no progress");
		}
		used += n;
		for (size_t i = 0; i < content.len; i++) {
			sum = sum * 31 + content.ptr[i];
		}
	}
	if (!dots) {
		smtp_data_finish(d);
	}
	*ret_sum = sum;
	*ret_used = used;
}

/* The same result at any split. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2) {
		return 0;
	}
	struct smtp_data a;
	struct smtp_data b;
	uint64_t sum_a = 0;
	uint64_t sum_b = 0;
	size_t used_a = 0;
	size_t used_b = 0;
	bool dots = (data[0] & 1) != 0;
	struct bytes in = bytes_of(data + 2, size - 2);
	run(in, in.len + 1, dots, &a, &sum_a, &used_a);
	run(in, data[1] % 9U + 1, dots, &b, &sum_b, &used_b);
	if (used_a != used_b || a.fault != b.fault || a.ended != b.ended ||
	    (a.fault == SMTP_FAULT_NONE && (sum_a != sum_b || a.size != b.size))) {
		panic("a split makes a difference");
	}
	return 0;
}
