/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "reports/write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A record's text; and whatever it names can be written into a header field. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct report_uri uris[REPORT_URIS_MAX];
	struct bytes rua = bytes_of(data, size);
	(void)report_tls_record(bytes_of(data, size), &rua);
	size_t count = report_uris(rua, uris);
	for (size_t i = 0; i < count; i++) {
		if (strpbrk(uris[i].address, "\r\n<> ") != NULL || uris[i].domain[0] == '\0') {
			abort();
		}
	}
	struct tally t;
	tally_init(&t);
	enum err e = tally_read(&t, TALLY_DMARC, bytes_of(data, size));
	(void)e;
	tally_clear(&t);
	return 0;
}
