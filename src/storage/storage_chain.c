/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <sodium.h>

#include "storage/storage_internal.h"

void
storage_chain(const uint8_t before[HEAD_LEN], uint8_t kind, struct bytes body, uint8_t ret[HEAD_LEN])
{
	crypto_generichash_state state;
	uint8_t head[HEAD_LEN];
	/* None of these can fail with a constant, valid output length. */
	(void)crypto_generichash_init(&state, NULL, 0, HEAD_LEN);
	(void)crypto_generichash_update(&state, before, HEAD_LEN);
	(void)crypto_generichash_update(&state, &kind, 1);
	if (body.len > 0) {
		(void)crypto_generichash_update(&state, body.ptr, body.len);
	}
	(void)crypto_generichash_final(&state, head, HEAD_LEN);
	/* ret may be before. */
	for (size_t i = 0; i < HEAD_LEN; i++) {
		ret[i] = head[i];
	}
}

uint64_t
storage_used_after(uint64_t used, int64_t delta)
{
	if (delta < 0) {
		uint64_t less = (uint64_t)0 - (uint64_t)delta;
		return less > used ? 0 : used - less;
	}
	return (uint64_t)delta > INT64_MAX - used ? INT64_MAX : used + (uint64_t)delta;
}
