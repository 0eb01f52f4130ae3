/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_DKIM_RING_H
#define COHUE_DKIM_RING_H

#include "authentication/dkim.h"
#include "crypto/crypto.h"
#include "crypto/sign.h"

/*
 * The house's own DKIM keys, HOME/dkim.keys (docs/store-format.md): pairs, each of an RSA-2048 and an Ed25519 key, in the order in
 * which they were made. What a pair is good for follows from the file and the time alone, so that nobody has to
 * remember anything: it waits (published, while others may still have the answer "no such record"), signs, is kept (its
 * record, for mail in flight), is revoked (an empty p=), and is gone. The public part is in clear; the secrets are sealed under
 * `dkim-wrap`, bound to it. Pure; the time is passed in.
 */

enum {
	DKIM_RING_PAIRS = 16,
	DKIM_RING_FILE_MAX = 32 * 1024,
	DKIM_NAME_MAX = 16,     /* "c202611", "c202611b" with its NUL */
	DKIM_SPKI_MAX = 320,    /* of RSA-2048: 294 */
	DKIM_RING_MADE_MAX = 26 /* pairs of one month */
};
/* Seconds. After the next pair signs: how long the record stays, and then how long it stays empty. */
#define DKIM_RING_KEEP ((int64_t)7 * 24 * 3600)
#define DKIM_RING_REVOKE ((int64_t)30 * 24 * 3600)

enum dkim_state { DKIM_WAITING, DKIM_SIGNING, DKIM_KEPT, DKIM_REVOKED, DKIM_GONE };

struct dkim_pair {
	char name[DKIM_NAME_MAX]; /* the selectors without their last letter */
	int64_t made;             /* seconds since 1970 */
	int64_t active;           /* signs from then on */
	bool secret;              /* false: destroyed, since it signs no more */
	uint8_t spki[DKIM_SPKI_MAX];
	size_t spki_len;
	uint8_t ed25519[SIGN_PUBLIC_LEN];
	/* Where the ring was opened or made here, not only read. */
	uint8_t *seed;           /* in the pool */
	struct evp_pkey_st *rsa; /* OpenSSL's EVP_PKEY */
};
struct dkim_ring {
	struct dkim_pair pairs[DKIM_RING_PAIRS];
	size_t count;
};

void dkim_ring_init(struct dkim_ring *r);
/* Frees and wipes. Safe twice. */
void dkim_ring_clear(struct dkim_ring *r);

/* What everybody may know of a file. ERR_FORMAT, ERR_UNSUPPORTED. *ret was init'ed. */
COHUE_MUST_USE enum err dkim_ring_read(struct bytes file, struct dkim_ring *ret);
/* With the secrets. ERR_AUTH: of another house, or changed; ERR_FORMAT, ERR_UNSUPPORTED, ERR_MEMORY. */
COHUE_MUST_USE enum err dkim_ring_open(struct bytes file, const uint8_t wrap[CRYPTO_KEY_LEN],
				       struct dkim_ring *ret);
/* Appends the file. Needs the secrets that it has. */
COHUE_MUST_USE enum err dkim_ring_write(const struct dkim_ring *r, const uint8_t wrap[CRYPTO_KEY_LEN],
					struct buf *out);

/*
 * Makes a pair that signs from `active` on (takes some tenths of a second). ERR_EXISTS: one waits already. ERR_LIMIT: so
 * many are still listed. ERR_MEMORY.
 */
COHUE_MUST_USE enum err dkim_ring_make(struct dkim_ring *r, int64_t now, int64_t active);
/* The pair that waits signs from now on. ERR_NOT_FOUND: none waits. */
COHUE_MUST_USE enum err dkim_ring_activate(struct dkim_ring *r, int64_t now);
/* Destroys the secrets of what signs no more, and forgets what is gone. True where that changed anything. */
bool dkim_ring_tidy(struct dkim_ring *r, int64_t now);

enum dkim_state dkim_ring_state(const struct dkim_ring *r, size_t pair, int64_t now);
/* When that state ends, in seconds since 1970; INT64_MAX: not by itself. */
int64_t dkim_ring_until(const struct dkim_ring *r, size_t pair, int64_t now);
/* Which pair signs; NULL: there is none. */
const struct dkim_pair *dkim_ring_signer(const struct dkim_ring *r, int64_t now);

/* "c202611r": ret has room for DKIM_NAME_MAX + 1. */
void dkim_selector(const struct dkim_pair *p, enum dkim_algorithm algorithm, char ret[DKIM_NAME_MAX + 1]);
/* Appends the TXT record's content of a pair in that state: the key, or an empty p=. */
COHUE_MUST_USE enum err dkim_pair_record(const struct dkim_pair *p, enum dkim_algorithm algorithm,
					 enum dkim_state state, struct buf *out);

/*
 * pair.c. Signs the SHA-256 of a header: RSASSA-PKCS1-v1_5, or Ed25519 over the digest (RFC 8463 section 3). Appends. ERR_NOT_FOUND:
 * its secret is not here. ERR_MEMORY.
 */
COHUE_MUST_USE enum err dkim_pair_sign(const struct dkim_pair *p, enum dkim_algorithm algorithm,
				       const uint8_t digest[32], struct buf *out);
/* Both keys. ERR_MEMORY. */
COHUE_MUST_USE enum err dkim_pair_make(struct dkim_pair *p);
/* The RSA key as DER (RFC 8017 appendix A.1.2), appended; wipe it. */
COHUE_MUST_USE enum err dkim_pair_write_rsa(const struct dkim_pair *p, struct buf *out);
/* ERR_FORMAT: not the key of its public half. */
COHUE_MUST_USE enum err dkim_pair_read_rsa(struct dkim_pair *p, struct bytes der);
/* Loads what OpenSSL loads on demand: before a sandbox. */
COHUE_MUST_USE enum err dkim_pair_warm(void);

#endif
