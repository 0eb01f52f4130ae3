/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_TLS_NEXT_H
#define COHUE_KEEPER_TLS_NEXT_H

#include "keeper/tls_keys.h"

/*
 * The TLS key that comes next: made and on disk (HOME/tls/KIND.next) long before a certificate is asked for it, so that its TLSA record can
 * stand in the DNS first (RFC 7671 section 8.1). The file: its id [32], in clear, then the key, wrapped as the one in use is.
 *
 * The change, of which each step may be the last for a while: the chain's file is replaced by one for the next key; then the key's file by what is in
 * the next one; only then is another next key made. So at any time the chain fits one of the two files.
 */

enum { TLS_NEXT_ID = 32, TLS_NEXT_MAX = 4096 };

struct tls_next;

/* A new P-256 key; its PEM text is appended, to be wrapped and given to tls_next_keep(). ERR_MEMORY. */
COHUE_MUST_USE enum err tls_next_make(struct buf *ret_pem, struct tls_next **ret);
/* ERR_FORMAT: no P-256 key, or its id is not that. */
COHUE_MUST_USE enum err tls_next_read(struct bytes pem, const uint8_t id[TLS_NEXT_ID], struct tls_next **ret);
/* How the key lies on disk. ERR_MEMORY, ERR_LIMIT. */
COHUE_MUST_USE enum err tls_next_keep(struct tls_next *n, struct bytes wrapped);
void tls_next_destroy(struct tls_next **n);

const uint8_t *tls_next_id(const struct tls_next *n);
struct evp_pkey_st *tls_next_key(const struct tls_next *n);
struct bytes tls_next_wrapped(const struct tls_next *n);
/* The key with its chain. ERR_AUTH: it is of another key. */
COHUE_MUST_USE enum err tls_next_pair(const struct tls_next *n, struct bytes chain_pem,
				      struct tls_pair **ret);

#endif
