/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/rspamd.h"
#include "sealed/judgement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t tenths = 0;
	if (rspamd_read(bytes_of(data, size), &tenths) == ERR_OK && tenths > JUDGEMENT_SCORE_MAX) {
		panic("a score beyond the most");
	}
	return 0;
}
