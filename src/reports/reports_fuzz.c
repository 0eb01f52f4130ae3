/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/error.h"
#include "reports/report.h"
#include "reports/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct report_sums sums;
	struct bytes in = bytes_of(data, size);
	struct buf plain = BUF_INIT(UNPACK_MAX);
	enum err e = report_unpack(in, &plain);
	if (e != ERR_OK && plain.len > 0) {
		panic("something of what was refused is left");
	}
	e = report_add_dmarc(&sums, "house.test", in);
	e = report_add_tls(&sums, "house.test", in);
	e = report_add_dmarc(&sums, "house.test", buf_bytes(&plain));
	e = report_add_tls(&sums, "house.test", buf_bytes(&plain));
	e = report_add_complaint(&sums, in);
	(void)e;
	(void)report_add_message(&sums, "house.test", in, true);
	if (sums.source_count > REPORT_SOURCES_MAX) {
		panic("more networks than there is room for");
	}
	buf_clear(&plain);
	return 0;
}
