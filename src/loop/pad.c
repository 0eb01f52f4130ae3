/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/pad.h"

bool
pad_fits(uint64_t bytes, size_t size, uint64_t count)
{
	if (size < 2 || size > PAD_RECORD_MAX || count == 0 || bytes < count) {
		return false;
	}
	uint64_t each = size - 1;
	return bytes / each + (bytes % each > 0 ? 1 : 0) <= count;
}

size_t
pad_payload(uint64_t bytes, uint64_t count, size_t size)
{
	uint64_t most = bytes - (count - 1);
	return most < size - 1 ? (size_t)most : size - 1;
}

enum err
pad_ladder(uint64_t sent, size_t left, struct pad_shape *ret)
{
	if (sent == 0 && left < PAD_RECORD_MAX) {
		if (left == 0) {
			return ERR_LIMIT;
		}
		*ret = (struct pad_shape){.size = left < PAD_SMALL    ? PAD_SMALL
						  : left < PAD_MIDDLE ? PAD_MIDDLE
								      : PAD_RECORD_MAX,
					  .count = 1};
		return ERR_OK;
	}
	uint64_t need = sent + left / PAD_FULL + (left % PAD_FULL > 0 ? 1 : 0);
	uint64_t all = PAD_FIRST;
	while (all < need && all < PAD_LARGEST) {
		all *= 4;
	}
	if (all < need) {
		all = (need + PAD_LARGEST - 1) / PAD_LARGEST * PAD_LARGEST;
	}
	if (!pad_fits(left, PAD_RECORD_MAX, all - sent)) {
		return ERR_LIMIT;
	}
	*ret = (struct pad_shape){.size = PAD_RECORD_MAX, .count = all - sent};
	return ERR_OK;
}

uint64_t
pad_class_records(uint64_t class_bytes)
{
	return class_bytes / PAD_RECORD_MAX + class_bytes / ((uint64_t)PAD_RECORD_MAX * PAD_LARGEST);
}
