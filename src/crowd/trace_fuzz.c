/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "crowd/live.h"
#include "crowd/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read is in order and within its own bounds; what is refused says why. The live sums read the same bytes. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace t;
	struct trace_error error = {.line = 0};
	static struct live live;
	enum err e = trace_read(bytes_of(data, size), INT64_MAX, &t, &error);
	if (e == ERR_OK) {
		size_t rows = 0;
		for (size_t i = 0; i < t.unit_count; i++) {
			const struct trace_unit *u = &t.units[i];
			if (u->first != rows || u->rows == 0 || u->sender >= t.people || u->time < 0 ||
			    (i > 0 && u->time < t.units[i - 1].time)) {
				abort();
			}
			rows += u->rows;
		}
		if (rows != t.row_count || t.senders > t.people || t.people > 2 * t.row_count) {
			abort();
		}
		trace_clear(&t);
	} else if (error.text[0] == '\0') {
		abort();
	}
	if (live_read(bytes_of(data, size), &live) == ERR_OK) {
		struct buf text = BUF_INIT(LIVE_TEXT_MAX);
		static struct live back;
		if (live_write(&live, &text) != ERR_OK || live_read(buf_bytes(&text), &back) != ERR_OK) {
			abort();
		}
		buf_clear(&text);
	}
	return 0;
}
