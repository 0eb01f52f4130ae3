/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_TLS_KEYS_H
#define COHUE_KEEPER_TLS_KEYS_H

#include "base/bytes.h"

/*
 * The TLS keys of the house and their certificates: one pair for strangers' port, one for members'. Keys never leave this
 * process. P-256, P-384, P-521, and RSA of 2048 to 8192 bits. After a change the key before goes on signing, for handshakes that
 * began with it, until tls_keys_forget().
 */

enum tls_kind { TLS_KIND_MX, TLS_KIND_MEMBER, TLS_KINDS };

struct tls_pair;
struct evp_pkey_st;
struct tls_next;

struct tls_keys {
	struct {
		struct tls_pair *now;
		struct tls_pair *before;
		struct tls_next *next; /* tls_next.h; NULL: none */
		struct tls_next *owed; /* in use already, and its file is still the next one's */
	} of[TLS_KINDS];
};

/*
 * Touches all of OpenSSL that reads keys and signs, while there are still files, and sets up memory for keys that is locked and
 * wiped. ERR_MEMORY, ERR_IO.
 */
COHUE_MUST_USE enum err tls_keys_warm_up(void);

/*
 * A key (PEM) and its chain (PEM, leaf first). ERR_FORMAT (no key, no certificate), ERR_UNSUPPORTED (kind or size of
 * the key), ERR_AUTH (they do not belong together), ERR_MEMORY.
 */
COHUE_MUST_USE enum err tls_pair_create(struct bytes key_pem, struct bytes chain_pem, struct tls_pair **ret);
void tls_pair_destroy(struct tls_pair **pair);
/* Takes the pair. */
void tls_keys_put(struct tls_keys *k, enum tls_kind kind, struct tls_pair **pair);
void tls_keys_forget(struct tls_keys *k);
bool tls_keys_complete(const struct tls_keys *k);
/* The key in use, borrowed: for this folder alone. NULL where there is none. */
struct evp_pkey_st *tls_keys_private(const struct tls_keys *k, enum tls_kind kind);
/* A key, by its id, with its chain. ERR_AUTH: it is of another key. */
COHUE_MUST_USE enum err tls_pair_of(struct evp_pkey_st *key, const uint8_t id[32], struct bytes chain_pem,
				    struct tls_pair **ret);
/* Of the public key. */
const uint8_t *tls_pair_id(const struct tls_pair *pair);
/* The key in use under another chain. Errors as of tls_pair_create(). */
COHUE_MUST_USE enum err tls_keys_again(const struct tls_keys *k, enum tls_kind kind, struct bytes chain_pem,
				       struct tls_pair **ret);
/* BYTES_EMPTY where there is none. */
struct bytes tls_keys_chain(const struct tls_keys *k, enum tls_kind kind);
/*
 * Signs what tls_content.h allows, and, unless `old`, in TLS 1.3 alone; id names the key (loop/tls.h). Appends the signature.
 * ERR_DENIED (not such a content, scheme or version), ERR_NOT_FOUND (no such key of that kind), ERR_MEMORY.
 */
COHUE_MUST_USE enum err tls_keys_sign(const struct tls_keys *k, enum tls_kind kind, bool old,
				      const uint8_t id[32], unsigned scheme, struct bytes content,
				      struct buf *ret);

#endif
