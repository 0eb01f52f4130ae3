/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_DKIM_H
#define COHUE_AUTHENTICATION_DKIM_H

#include "authentication/question.h"
#include "base/arena.h"

/* DKIM (RFC 6376, RFC 8301, RFC 8463). Pure but for its questions. The message is borrowed, whole, with CRLF lines. */

enum {
	DKIM_SIGNATURES_MAX = 8,  /* told of */
	DKIM_FIELDS_MAX = 64,     /* looked at; more are ignored, the lower ones (RFC 6376 section 6.1) */
	DKIM_QUESTIONS_MAX = 12,  /* keys asked for, each with one verification */
	DKIM_RSA_BITS_MIN = 1024, /* RFC 8301 section 3.2; below: policy */
	DKIM_RSA_BITS_MAX = 4096,
	DKIM_DOMAIN_MAX = 254,
	DKIM_SELECTOR_MAX = 254
};
enum dkim_algorithm { DKIM_RSA_SHA256 = 1, DKIM_ED25519_SHA256 = 2 };

struct dkim_verdict {
	enum authentication_result result;
	const char *why;        /* static, for people; NULL with pass */
	struct bytes domain;    /* d=, A-labels, lower case; in the arena */
	struct bytes selector;  /* s= */
	struct bytes identity;  /* i=, empty where absent */
	struct bytes signature; /* the first octets of b= (RFC 6008: header.b) */
	enum dkim_algorithm algorithm;
	bool testing; /* t=y in the key record */
};
struct dkim_verdicts {
	struct dkim_verdict list[DKIM_SIGNATURES_MAX];
	size_t count;
};
/*
 * now: seconds since 1970, for x=. author: From's domain, or empty; signatures of its organisational domain come first. Of more than can be told
 * of, those that pass are told. ERR_MEMORY only: all else is a result.
 */
COHUE_MUST_USE enum err dkim_verify(struct arena *a, struct bytes message, struct bytes author, int64_t now,
				    const struct authentication_dns *dns, struct dkim_verdicts *ret);

/* One signature to make. sign: over what; the private key is elsewhere (the keeper). */
struct dkim_signer {
	const char *domain;
	const char *selector;
	enum dkim_algorithm algorithm;
	/* digest: SHA-256 of the canonicalised header. Appends the raw signature (PKCS#1 v1.5 over it; or Ed25519 of it, RFC 8463). */
	enum err (*sign)(void *ctx, const struct dkim_signer *signer, const uint8_t digest[32],
			 struct buf *ret_signature);
	void *ctx;
};
/*
 * Appends "DKIM-Signature: ...CRLF" fields (relaxed/relaxed, no t=, no l=, From and the like oversigned), one per signer, to be put
 * in front of the message. The body is hashed once. ERR_* of sign, ERR_MEMORY.
 */
COHUE_MUST_USE enum err dkim_sign(struct bytes message, const struct dkim_signer *signers, size_t count,
				  struct buf *out);
/* The TXT record's content ("v=DKIM1; k=rsa; p=...") for a public key: DER SubjectPublicKeyInfo, or 32 raw octets. */
COHUE_MUST_USE enum err dkim_record(enum dkim_algorithm algorithm, struct bytes public_key, struct buf *out);

#endif
