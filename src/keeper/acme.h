/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_ACME_H
#define COHUE_KEEPER_ACME_H

#include "base/bytes.h"
#include "base/clock.h"
#include "ipc/messages.h"
#include "keeper/tls_keys.h"

/*
 * What the keeper signs for a certificate authority (RFC 8555): requests that it writes itself, from a few words of who asks. So who
 * captures the asker can have nothing signed but these, for the house's own names and keys: no revocation, no change of the
 * account's key, no end of the account. No I/O.
 */

struct evp_pkey_st;
struct x509_store_st;

enum { ACME_THUMBPRINT = 32, ACME_NAME_MAX = 256, ACME_BODY_MAX = 12 * 1024 };

struct acme_account {
	struct evp_pkey_st *key; /* P-256; NULL: none yet */
	uint8_t thumbprint[ACME_THUMBPRINT];
};

struct acme_names {
	const char *of[ACME_NAMES_MAX];
	size_t count;
};

/* A new key; its PEM text is appended. ERR_MEMORY. */
COHUE_MUST_USE enum err acme_account_make(struct acme_account *a, struct buf *ret_pem);
/* ERR_FORMAT: no P-256 key. */
COHUE_MUST_USE enum err acme_account_read(struct acme_account *a, struct bytes pem);
void acme_account_clear(struct acme_account *a);

struct acme_order {
	enum acme_request what;
	struct bytes url;     /* checked by the caller: config_acme_url() */
	struct bytes nonce;   /* base64url */
	struct bytes account; /* the same as url; empty with ACME_NEW_ACCOUNT alone */
	const char *contact;  /* "": none */
	const struct acme_names *names;
	struct evp_pkey_st *key; /* the certificate's */
};

/* The body of the request: a JWS (RFC 7515, flattened; ES256). ERR_FORMAT (nonce, or account), ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err acme_write(const struct acme_account *a, const struct acme_order *o, struct buf *out);

/* What chains may lead to: adds the certificates of a PEM text; *ret is made where it is NULL. ERR_FORMAT: none in it; ERR_MEMORY. */
COHUE_MUST_USE enum err acme_roots_add(struct bytes pem, struct x509_store_st **ret);
void acme_roots_destroy(struct x509_store_st **roots);
/*
 * The chain that the authority gave, leaf first, written anew. ERR_DAMAGED: no certificates, or one is not issued by the next; ERR_AUTH: the
 * leaf is of another key; ERR_STATE: it is not in force now; ERR_DENIED: it lacks a name or has others, or may vouch for certificates; ERR_NOT_FOUND: it leads to none of the roots
 * (NULL: there are none), as a certificate for a server, now.
 */
COHUE_MUST_USE enum err acme_chain_check(struct bytes pem, struct evp_pkey_st *key,
					 struct x509_store_st *roots, const struct acme_names *names,
					 msec now_wall, struct buf *ret);

struct acme_certificate {
	bool authority; /* not signed by itself */
	msec not_before;
	msec not_after;
};
/* Of the leaf. ERR_FORMAT. */
COHUE_MUST_USE enum err acme_certificate_read(struct bytes chain_pem, struct acme_certificate *ret);

/* Touches what of OpenSSL is needed, while there are still files. */
COHUE_MUST_USE enum err acme_warm_up(void);

#endif
