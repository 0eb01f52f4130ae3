/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CRYPTO_BOX_H
#define COHUE_CRYPTO_BOX_H

#include "base/bytes.h"
#include "crypto/crypto.h"

/*
 * Sealing to a public key. Unlike libsodium's crypto_box_seal, this one binds associated
 * data and a label that says what the box is for:
 *
 *   e, E   = a fresh X25519 pair;  s = X25519(e, P)
 *   key    = BLAKE2b-256(key = s, "cohue box 1" || len(label) (1 byte) || label || E || P)
 *   box    = E (32) || XChaCha20-Poly1305(key, nonce = 24 zero bytes, ad, plain) || tag (16)
 *
 * The key is used once, hence the constant nonce. Two scalar multiplications to seal, one to open.
 * Anybody can seal: a box says nothing about its sender.
 */

enum {
	BOX_PUBLIC_LEN = 32,
	BOX_SECRET_LEN = 32,
	BOX_OVERHEAD = 48,
	BOX_LABEL_MAX = 64,
};

/* A new pair. The secret belongs into the pool of base/secret.h, or is wiped soon. */
void box_pair(uint8_t ret_public[BOX_PUBLIC_LEN], uint8_t ret_secret[BOX_SECRET_LEN]);
/* The public half of a secret. */
void box_public(const uint8_t secret[BOX_SECRET_LEN], uint8_t ret_public[BOX_PUBLIC_LEN]);

/* Appends plain.len + BOX_OVERHEAD bytes to ret. ERR_FORMAT: no usable public key (small order). ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err box_seal(const uint8_t to[BOX_PUBLIC_LEN], const char *label, struct bytes ad,
				 struct bytes plain, struct buf *ret);
/* Appends the plain bytes. ERR_FORMAT: too short. ERR_AUTH: another key, label, ad, or damaged. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err box_open(const uint8_t secret[BOX_SECRET_LEN],
				 const uint8_t public_key[BOX_PUBLIC_LEN], const char *label, struct bytes ad,
				 struct bytes box, struct buf *ret);

#endif
