/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Policies, their records and headers, and what was kept of them: never beyond their bounds. */
#include <stdint.h>

#include "courier/mta_sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct sts_policy p;
	struct sts_cache c;
	struct bytes id;
	char kept[STS_ID_MAX + 1];
	sts_policy_init(&p);
	sts_cache_init(&c);
	if (sts_policy_read(in, &p) == ERR_OK && sts_policy_names(&p, "mx.example.org") && p.hosts.len == 0) {
		panic("a host out of an empty list");
	}
	if (sts_record_read(in, &id) == ERR_OK && (id.len == 0 || id.len > STS_ID_MAX)) {
		panic("an id without bounds");
	}
	(void)sts_content_type_fits(in);
	enum err e = sts_answer_read(in, kept);
	e = sts_cache_read(in, 1000, &c);
	(void)e;
	sts_policy_clear(&p);
	sts_cache_clear(&c);
	return 0;
}
