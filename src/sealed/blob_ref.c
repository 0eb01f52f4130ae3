/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "sealed/blob_format.h"

void
blob_ref_init(struct blob_ref *ref)
{
	memset(ref, 0, sizeof(*ref));
	crypto_random_bytes(ref->name, sizeof(ref->name));
	crypto_random_bytes(ref->key, sizeof(ref->key));
}

/* The first half is random, the second the owner under a pad from the first. */
static void
mask(const uint8_t key[SEALED_KEY_LEN], const uint8_t half[SEALED_ID_LEN - BLOB_OWNER_LEN],
     const uint8_t in[BLOB_OWNER_LEN], uint8_t ret[BLOB_OWNER_LEN])
{
	struct sealed_ad m;
	uint8_t pad[SEALED_HASH_LEN];
	sealed_ad_init(&m, "cohue blob name 1");
	sealed_ad_put(&m, half, SEALED_ID_LEN - BLOB_OWNER_LEN);
	crypto_mac(key, sealed_ad_bytes(&m), pad);
	for (size_t i = 0; i < BLOB_OWNER_LEN; i++) {
		ret[i] = in[i] ^ pad[i];
	}
}

void
blob_name(const uint8_t key[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN], uint8_t ret[SEALED_ID_LEN])
{
	crypto_random_bytes(ret, SEALED_ID_LEN - BLOB_OWNER_LEN);
	mask(key, ret, account, ret + SEALED_ID_LEN - BLOB_OWNER_LEN);
}

void
blob_name_owner(const uint8_t key[SEALED_KEY_LEN], const uint8_t name[SEALED_ID_LEN],
		uint8_t ret[BLOB_OWNER_LEN])
{
	mask(key, name, name + SEALED_ID_LEN - BLOB_OWNER_LEN, ret);
}

void
blob_ref_put(struct wire_writer *w, const struct blob_ref *ref)
{
	wire_put_fixed(w, ref->name, sizeof(ref->name));
	wire_put_fixed(w, ref->key, sizeof(ref->key));
	wire_put_fixed(w, ref->hash, sizeof(ref->hash));
	wire_put_u64(w, ref->size);
	wire_put_u64(w, ref->stored);
	wire_put_u32(w, ref->chunks);
}

/* 4, 16, 64 KiB, then doubling: measured in docs/store-format.md. */
uint64_t
blob_ladder(uint64_t n)
{
	uint64_t length = 4096;
	while (length < n) {
		length *= length < BLOB_CHUNK_PLAIN ? 4 : 2;
	}
	return length;
}

uint32_t
blob_chunks_of(uint64_t padded)
{
	return padded <= BLOB_CHUNK_PLAIN ? 1 : (uint32_t)(padded / BLOB_CHUNK_PLAIN);
}

bool
blob_ref_is_sound(const struct blob_ref *ref)
{
	if (ref->size > BLOB_MESSAGE_MAX || ref->chunks == 0 || ref->chunks > BLOB_CHUNKS_MAX) {
		return false;
	}
	uint64_t overhead = (uint64_t)ref->chunks * BLOB_CHUNK_OVERHEAD;
	if (ref->stored <= overhead ||
	    ref->stored - overhead > (uint64_t)BLOB_CHUNKS_MAX * BLOB_CHUNK_PLAIN) {
		return false;
	}
	uint64_t padded = ref->stored - overhead;
	return blob_ladder(padded) == padded && blob_chunks_of(padded) == ref->chunks;
}

void
blob_ref_get(struct wire_reader *r, struct blob_ref *ret)
{
	wire_get_fixed(r, ret->name, sizeof(ret->name));
	wire_get_fixed(r, ret->key, sizeof(ret->key));
	wire_get_fixed(r, ret->hash, sizeof(ret->hash));
	ret->size = wire_get_u64(r);
	ret->stored = wire_get_u64(r);
	ret->chunks = wire_get_u32(r);
	sealed_expect(r, blob_ref_is_sound(ret));
}

void
blob_chunk_nonce(uint32_t index, uint8_t ret[SEALED_NONCE_LEN])
{
	memset(ret, 0, SEALED_NONCE_LEN);
	for (size_t i = 0; i < 4; i++) {
		ret[SEALED_NONCE_LEN - 1 - i] = (uint8_t)(index >> (8 * i));
	}
}

void
blob_chunk_ad(struct sealed_ad *ad, const uint8_t name[SEALED_ID_LEN], uint32_t index, bool last)
{
	sealed_ad_init(ad, "cohue blob 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, name, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, index);
	sealed_ad_put_u8(ad, last ? 1 : 0);
}
