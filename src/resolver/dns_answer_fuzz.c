/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "base/wire.h"
#include "resolver/dns_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first octet chooses the type; the question is taken from the message where it can be read. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_MX, DNS_TYPE_AAAA, DNS_TYPE_TXT,
					 DNS_TYPE_CNAME};
	if (size < 1) {
		return 0;
	}
	struct dns_answer a;
	struct buf rdata = BUF_INIT(DNS_RDATA_MAX * 2);
	uint16_t type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	if (dns_answer_read(bytes_of(data + 1, size - 1), BYTES_LIT("example.org"), type, &a, &rdata) ==
	    ERR_OK) {
		struct wire_reader r;
		wire_reader_init(&r, buf_bytes(&rdata));
		if (a.count > DNS_ANSWERS_MAX) {
			abort();
		}
		for (size_t i = 0; i < a.count; i++) {
			(void)wire_get_bytes(&r, DNS_RDATA_MAX);
		}
		if (wire_end(&r) != ERR_OK ||
		    (a.canonical[0] != '\0' && !dns_name_is_sound(bytes_str(a.canonical)))) {
			abort();
		}
	} else if (rdata.len != 0) {
		abort();
	}
	buf_clear(&rdata);
	return 0;
}
