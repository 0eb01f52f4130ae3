/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "lookup/verified.h"

#include <string.h>

static void
hash_of(const struct directory_account *a, uint8_t ret[SEALED_HASH_LEN])
{
	struct crypto_hasher h;
	const uint8_t generation[4] = {(uint8_t)(a->generation >> 24), (uint8_t)(a->generation >> 16),
				       (uint8_t)(a->generation >> 8), (uint8_t)a->generation};
	crypto_hasher_init(&h, NULL);
	crypto_hasher_update(&h, bytes_of(a->id, sizeof(a->id)));
	crypto_hasher_update(&h, bytes_of(generation, sizeof(generation)));
	crypto_hasher_update(&h, bytes_of(a->public_key, sizeof(a->public_key)));
	crypto_hasher_update(&h, bytes_of(a->signature, sizeof(a->signature)));
	crypto_hasher_final(&h, ret);
}

enum err
verified_check(struct verified_keys *v, const uint8_t verify_key[SEALED_KEY_LEN],
	       const struct directory_account *entry)
{
	uint8_t hash[SEALED_HASH_LEN];
	if (entry->unsigned_yet) {
		return ERR_DAMAGED; /* the opener has all of them signed before the doors are open */
	}
	hash_of(entry, hash);
	uint8_t *place = v->hash[((size_t)hash[0] << 8 | hash[1]) % VERIFIED_MAX];
	if (memcmp(place, hash, sizeof(hash)) == 0) {
		return ERR_OK;
	}
	v->signatures++;
	if (sealed_public_verify(verify_key, entry->id, entry->generation, entry->public_key,
				 entry->signature) != ERR_OK) {
		return ERR_DAMAGED;
	}
	memcpy(place, hash, sizeof(hash));
	return ERR_OK;
}
