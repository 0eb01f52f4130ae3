/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/keys.h"

#include <string.h>

#include "base/secret.h"
#include "sealed/value.h"

static const char *const labels[PURPOSE__COUNT] = {
    [PURPOSE_DIRECTORY_HASH] = "directory-hash",
    [PURPOSE_DIRECTORY_SEAL] = "directory-seal",
    [PURPOSE_PUBLIC_KEY_MAC] = "public-key-mac",
    [PURPOSE_PEPPER] = "pepper",
    [PURPOSE_SPOOL_STATE] = "spool-state",
    [PURPOSE_SPOOL_WRAP] = "spool-wrap",
    [PURPOSE_TLS_WRAP] = "tls-wrap",
    [PURPOSE_MESSAGE_ID] = "message-id",
    [PURPOSE_SCRAM_FAKE] = "scram-fake",
    [PURPOSE_BLOB_NAME] = "blob-name",
    [PURPOSE_DKIM_WRAP] = "dkim-wrap",
    [PURPOSE_PUBLIC_KEY_SIGN] = "public-key-sign",
    [PURPOSE_PUBLIC_KEY_VERIFY] = "public-key-verify",
    [PURPOSE_COURIER_KEEP] = "courier-keep",
    [PURPOSE_GATE_KEEP] = "gate-keep",
    [PURPOSE_SESSION_KEEP] = "session-keep",
};

const char *
sealed_purpose_label(enum sealed_purpose purpose)
{
	if ((unsigned)purpose >= PURPOSE__COUNT) {
		panic("no such purpose");
	}
	return labels[purpose];
}

void
sealed_purpose_key(const uint8_t house[SEALED_KEY_LEN], enum sealed_purpose purpose,
		   uint8_t ret[SEALED_KEY_LEN])
{
	if (purpose == PURPOSE_PUBLIC_KEY_VERIFY) {
		uint8_t seed[SIGN_SEED_LEN];
		crypto_derive(house, sealed_purpose_label(PURPOSE_PUBLIC_KEY_SIGN), seed);
		sign_public(seed, ret);
		secret_wipe(seed, sizeof(seed));
		return;
	}
	crypto_derive(house, sealed_purpose_label(purpose), ret);
}

/* The name may be long: its hash stands in the associated data. */
static void
wrap_ad(struct sealed_ad *ad, struct bytes name)
{
	uint8_t hash[SEALED_HASH_LEN];
	crypto_digest(name, hash);
	sealed_ad_init(ad, "cohue wrap 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, hash, sizeof(hash));
}

enum err
sealed_wrap(const uint8_t key[SEALED_KEY_LEN], struct bytes name, struct bytes plain, struct buf *ret)
{
	struct sealed_ad ad;
	if (plain.len > SIZE_MAX - SEALED_WRAP_OVERHEAD) {
		return ERR_LIMIT;
	}
	enum err e = buf_reserve(ret, plain.len + SEALED_WRAP_OVERHEAD);
	if (e != ERR_OK) {
		return e;
	}
	wrap_ad(&ad, name);
	uint8_t *p = ret->ptr + ret->len;
	p[0] = SEALED_VERSION;
	crypto_random_bytes(p + 1, SEALED_NONCE_LEN);
	crypto_seal(key, p + 1, sealed_ad_bytes(&ad), plain, p + 1 + SEALED_NONCE_LEN);
	ret->len += plain.len + SEALED_WRAP_OVERHEAD;
	return ERR_OK;
}

enum err
sealed_unwrap(const uint8_t key[SEALED_KEY_LEN], struct bytes name, struct bytes wrapped, struct buf *ret)
{
	struct sealed_ad ad;
	if (wrapped.len < SEALED_WRAP_OVERHEAD) {
		return ERR_FORMAT;
	}
	if (wrapped.ptr[0] != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	size_t n = wrapped.len - SEALED_WRAP_OVERHEAD;
	enum err e = buf_reserve(ret, n + 1);
	if (e != ERR_OK) {
		return e;
	}
	wrap_ad(&ad, name);
	e = crypto_open(key, wrapped.ptr + 1, sealed_ad_bytes(&ad), bytes_from(wrapped, 1 + SEALED_NONCE_LEN),
			ret->ptr + ret->len);
	if (e == ERR_OK) {
		ret->len += n;
	}
	return e;
}

static void
spool_key_ad(struct sealed_ad *ad, uint32_t epoch, const uint8_t public_key[BOX_PUBLIC_LEN])
{
	sealed_ad_init(ad, "cohue spool key 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put_u32(ad, epoch);
	sealed_ad_put(ad, public_key, BOX_PUBLIC_LEN);
}

void
sealed_spool_key_seal(const uint8_t spool_wrap[SEALED_KEY_LEN], uint32_t epoch,
		      const uint8_t public_key[BOX_PUBLIC_LEN], const uint8_t secret[BOX_SECRET_LEN],
		      uint8_t ret[SPOOL_KEY_VALUE_LEN])
{
	struct sealed_ad ad;
	spool_key_ad(&ad, epoch, public_key);
	memcpy(ret, public_key, BOX_PUBLIC_LEN);
	uint8_t *p = ret + BOX_PUBLIC_LEN;
	p[0] = SEALED_VERSION;
	crypto_random_bytes(p + 1, SEALED_NONCE_LEN);
	crypto_seal(spool_wrap, p + 1, sealed_ad_bytes(&ad), bytes_of(secret, BOX_SECRET_LEN),
		    p + 1 + SEALED_NONCE_LEN);
}

enum err
sealed_spool_key_open(const uint8_t spool_wrap[SEALED_KEY_LEN], uint32_t epoch, struct bytes value,
		      uint8_t ret_public[BOX_PUBLIC_LEN], uint8_t ret_secret[BOX_SECRET_LEN])
{
	struct sealed_ad ad;
	uint8_t secret[BOX_SECRET_LEN];

	if (value.len != SPOOL_KEY_VALUE_LEN) {
		return ERR_FORMAT;
	}
	struct bytes wrapped = bytes_from(value, BOX_PUBLIC_LEN);
	if (wrapped.ptr[0] != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	spool_key_ad(&ad, epoch, value.ptr);
	enum err e = crypto_open(spool_wrap, wrapped.ptr + 1, sealed_ad_bytes(&ad),
				 bytes_from(wrapped, 1 + SEALED_NONCE_LEN), secret);
	if (e == ERR_OK) {
		memcpy(ret_public, value.ptr, BOX_PUBLIC_LEN);
		memcpy(ret_secret, secret, sizeof(secret));
	}
	secret_wipe(secret, sizeof(secret));
	return e;
}

static void
public_statement(struct sealed_ad *m, const uint8_t account[SEALED_ID_LEN], uint32_t generation,
		 const uint8_t public_key[BOX_PUBLIC_LEN])
{
	sealed_ad_init(m, "cohue public key 2");
	sealed_ad_put(m, account, SEALED_ID_LEN);
	sealed_ad_put_u32(m, generation);
	sealed_ad_put(m, public_key, BOX_PUBLIC_LEN);
}

void
sealed_public_sign(const uint8_t seed[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		   uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN], uint8_t ret[SIGN_LEN])
{
	struct sealed_ad m;
	public_statement(&m, account, generation, public_key);
	sign_make(seed, sealed_ad_bytes(&m), ret);
}

enum err
sealed_public_verify(const uint8_t verify_key[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		     uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN],
		     const uint8_t signature[SIGN_LEN])
{
	struct sealed_ad m;
	public_statement(&m, account, generation, public_key);
	return sign_check(verify_key, sealed_ad_bytes(&m), signature);
}

void
sealed_public_mac(const uint8_t mac_key[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		  uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN], uint8_t ret[SEALED_HASH_LEN])
{
	struct sealed_ad m;
	sealed_ad_init(&m, "cohue public key 1");
	sealed_ad_put(&m, account, SEALED_ID_LEN);
	sealed_ad_put_u32(&m, generation);
	sealed_ad_put(&m, public_key, BOX_PUBLIC_LEN);
	crypto_mac(mac_key, sealed_ad_bytes(&m), ret);
}

enum err
sealed_public_check(const uint8_t mac_key[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		    uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN],
		    const uint8_t mac[SEALED_HASH_LEN])
{
	uint8_t want[SEALED_HASH_LEN];
	sealed_public_mac(mac_key, account, generation, public_key, want);
	return secret_equal(want, mac, sizeof(want)) ? ERR_OK : ERR_AUTH;
}
