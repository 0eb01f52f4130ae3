/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "opener/scram_nonce.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/crypto.h"

enum { RANDOM_LEN = 18, MAC_LEN = 18 };
_Static_assert((RANDOM_LEN + MAC_LEN) / 3 * 4 == (int)SCRAM_NONCE_LEN, "base64");

struct used {
	uint64_t id; /* the front of its MAC: as good as random */
	msec until;  /* 0: free */
};

struct scram_nonces {
	uint8_t *key; /* in the pool */
	msec start;
	struct used used[SCRAM_NONCE_PLACES];
};

enum err
scram_nonces_create(msec now, struct scram_nonces **ret)
{
	struct scram_nonces *n = calloc(1, sizeof(*n));
	if (n == NULL) {
		return ERR_MEMORY;
	}
	n->key = secret_alloc(CRYPTO_KEY_LEN);
	if (n->key == NULL) {
		free(n);
		return ERR_MEMORY;
	}
	crypto_random_bytes(n->key, CRYPTO_KEY_LEN);
	n->start = now;
	*ret = n;
	return ERR_OK;
}

void
scram_nonces_destroy(struct scram_nonces **n)
{
	if (*n != NULL) {
		secret_free((*n)->key);
		free(*n);
		*n = NULL;
	}
}

static uint64_t
epoch_of(const struct scram_nonces *n, msec now)
{
	return now < n->start ? 0 : (uint64_t)(now - n->start) / SCRAM_NONCE_EPOCH_MS;
}

static void
put_u64(struct crypto_hasher *h, uint64_t v)
{
	uint8_t octets[8];
	for (size_t i = 0; i < sizeof(octets); i++) {
		octets[i] = (uint8_t)(v >> (8 * i));
	}
	crypto_hasher_update(h, bytes_of(octets, sizeof(octets)));
}

static void
mac_of(const struct scram_nonces *n, uint64_t epoch, struct bytes name, struct bytes client_nonce,
       const uint8_t random[RANDOM_LEN], uint8_t ret[CRYPTO_HASH_LEN])
{
	struct crypto_hasher h;
	crypto_hasher_init(&h, n->key);
	put_u64(&h, epoch);
	crypto_hasher_update(&h, bytes_of(random, RANDOM_LEN));
	put_u64(&h, name.len);
	crypto_hasher_update(&h, name);
	crypto_hasher_update(&h, client_nonce);
	crypto_hasher_final(&h, ret);
}

void
scram_nonce_make(struct scram_nonces *n, msec now, struct bytes name, struct bytes client_nonce,
		 uint8_t ret[SCRAM_NONCE_LEN])
{
	uint8_t octets[RANDOM_LEN + MAC_LEN];
	uint8_t mac[CRYPTO_HASH_LEN];
	static const char symbols[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	crypto_random_bytes(octets, RANDOM_LEN);
	mac_of(n, epoch_of(n, now), name, client_nonce, octets, mac);
	memcpy(octets + RANDOM_LEN, mac, MAC_LEN);
	for (size_t i = 0; i < sizeof(octets) / 3; i++) {
		uint32_t v =
		    (uint32_t)octets[3 * i] << 16 | (uint32_t)octets[3 * i + 1] << 8 | octets[3 * i + 2];
		for (size_t k = 0; k < 4; k++) {
			ret[4 * i + k] = (uint8_t)symbols[v >> (18 - 6 * k) & 63];
		}
	}
}

static bool
read_nonce(const uint8_t nonce[SCRAM_NONCE_LEN], uint8_t ret[RANDOM_LEN + MAC_LEN])
{
	struct buf octets = BUF_INIT(RANDOM_LEN + MAC_LEN);
	bool ok = buf_append_unbase64(&octets, bytes_of(nonce, SCRAM_NONCE_LEN)) == ERR_OK &&
		  octets.len == RANDOM_LEN + MAC_LEN;
	if (ok) {
		memcpy(ret, octets.ptr, RANDOM_LEN + MAC_LEN);
	}
	buf_clear(&octets);
	return ok;
}

bool
scram_nonce_check(const struct scram_nonces *n, msec now, struct bytes name, struct bytes client_nonce,
		  const uint8_t nonce[SCRAM_NONCE_LEN])
{
	uint8_t octets[RANDOM_LEN + MAC_LEN];
	uint8_t mac[CRYPTO_HASH_LEN];
	uint64_t epoch = epoch_of(n, now);
	if (!read_nonce(nonce, octets)) {
		return false;
	}
	mac_of(n, epoch, name, client_nonce, octets, mac);
	bool fits = secret_equal(mac, octets + RANDOM_LEN, MAC_LEN);
	if (!fits && epoch > 0) {
		mac_of(n, epoch - 1, name, client_nonce, octets, mac);
		fits = secret_equal(mac, octets + RANDOM_LEN, MAC_LEN);
	}
	return fits;
}

enum err
scram_nonce_use(struct scram_nonces *n, msec now, const uint8_t nonce[SCRAM_NONCE_LEN])
{
	uint8_t octets[RANDOM_LEN + MAC_LEN];
	struct used *free_place = NULL;
	uint64_t id = 0;
	if (!read_nonce(nonce, octets)) {
		return ERR_AUTH;
	}
	memcpy(&id, octets + RANDOM_LEN, sizeof(id));
	for (size_t i = 0; i < SCRAM_NONCE_PROBES; i++) {
		struct used *u = &n->used[(id + i) % SCRAM_NONCE_PLACES];
		if (u->until > now && u->id == id) {
			return ERR_AUTH;
		}
		if (u->until <= now && free_place == NULL) {
			free_place = u;
		}
	}
	if (free_place == NULL) {
		return ERR_AGAIN;
	}
	/*
	 * Past this no check lets it through: its epoch and the next are over. A minute more is for the wait between check and use,
	 * which the throttle bounds to half of that.
	 */
	*free_place = (struct used){.id = id, .until = now + 2 * SCRAM_NONCE_EPOCH_MS + MSEC_SECOND * 60};
	return ERR_OK;
}
