/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/scram.h"

#include <sodium.h>
#include <string.h>

_Static_assert(SCRAM_KEY_LEN == crypto_auth_hmacsha256_BYTES, "HMAC");
_Static_assert(SCRAM_KEY_LEN == crypto_hash_sha256_BYTES, "SHA-256");

static void
hmac(const uint8_t key[SCRAM_KEY_LEN], struct bytes head, struct bytes tail, uint8_t ret[SCRAM_KEY_LEN])
{
	crypto_auth_hmacsha256_state state;
	(void)crypto_auth_hmacsha256_init(&state, key, SCRAM_KEY_LEN);
	(void)crypto_auth_hmacsha256_update(&state, head.ptr, head.len);
	(void)crypto_auth_hmacsha256_update(&state, tail.ptr, tail.len);
	(void)crypto_auth_hmacsha256_final(&state, ret);
	sodium_memzero(&state, sizeof(state));
}

/* RFC 5802 section 2.2, Hi(): PBKDF2 with one block. */
static void
salted_password(struct bytes password, const uint8_t salt[SCRAM_SALT_LEN], uint32_t count,
		uint8_t ret[SCRAM_KEY_LEN])
{
	static const uint8_t first_block[4] = {0, 0, 0, 1};
	crypto_auth_hmacsha256_state keyed;
	crypto_auth_hmacsha256_state state;
	uint8_t u[SCRAM_KEY_LEN];
	(void)crypto_auth_hmacsha256_init(&keyed, password.ptr, password.len);
	state = keyed;
	(void)crypto_auth_hmacsha256_update(&state, salt, SCRAM_SALT_LEN);
	(void)crypto_auth_hmacsha256_update(&state, first_block, sizeof(first_block));
	(void)crypto_auth_hmacsha256_final(&state, u);
	memcpy(ret, u, sizeof(u));
	for (uint32_t i = 1; i < count; i++) {
		state = keyed;
		(void)crypto_auth_hmacsha256_update(&state, u, sizeof(u));
		(void)crypto_auth_hmacsha256_final(&state, u);
		for (size_t k = 0; k < sizeof(u); k++) {
			ret[k] ^= u[k];
		}
	}
	sodium_memzero(&keyed, sizeof(keyed));
	sodium_memzero(&state, sizeof(state));
	sodium_memzero(u, sizeof(u));
}

void
scram_derive(struct bytes password, const uint8_t salt[SCRAM_SALT_LEN], uint32_t count,
	     struct scram_keys *ret)
{
	uint8_t salted[SCRAM_KEY_LEN];
	salted_password(password, salt, count, salted);
	hmac(salted, BYTES_LIT("Client Key"), BYTES_EMPTY, ret->client);
	hmac(salted, BYTES_LIT("Server Key"), BYTES_EMPTY, ret->server);
	(void)crypto_hash_sha256(ret->stored, ret->client, sizeof(ret->client));
	sodium_memzero(salted, sizeof(salted));
}

void
scram_prove(const struct scram_keys *keys, const struct scram_message *m, uint8_t ret[SCRAM_KEY_LEN])
{
	hmac(keys->stored, m->head, m->tail, ret);
	for (size_t i = 0; i < SCRAM_KEY_LEN; i++) {
		ret[i] ^= keys->client[i];
	}
}

bool
scram_check(const uint8_t stored[SCRAM_KEY_LEN], const struct scram_message *m,
	    const uint8_t proof[SCRAM_KEY_LEN], uint8_t ret_client_key[SCRAM_KEY_LEN])
{
	uint8_t hash[SCRAM_KEY_LEN];
	hmac(stored, m->head, m->tail, ret_client_key);
	for (size_t i = 0; i < SCRAM_KEY_LEN; i++) {
		ret_client_key[i] ^= proof[i];
	}
	(void)crypto_hash_sha256(hash, ret_client_key, SCRAM_KEY_LEN);
	return sodium_memcmp(hash, stored, sizeof(hash)) == 0;
}

void
scram_sign(const uint8_t server[SCRAM_KEY_LEN], const struct scram_message *m, uint8_t ret[SCRAM_KEY_LEN])
{
	hmac(server, m->head, m->tail, ret);
}
