/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_SIGNATURE_H
#define COHUE_AUTHENTICATION_SIGNATURE_H

#include "authentication/canon.h"
#include "authentication/dkim.h"
#include "authentication/text.h"
#include "mail/header.h"

/* What DKIM-Signature, ARC-Message-Signature and ARC-Seal share. Inside the library. */

enum {
	HEADER_FIELDS_MAX = 4096, /* fields of one message that signatures can name */
	SIGNED_NAMES_MAX = 512,   /* names in one h= */
	SIGNATURE_OCTETS_MAX = 1024,
	SIGNATURE_VALUE_MAX = 16 * 1024,
};

/* All fields of a message's header, by position. */
struct header_index {
	struct mail_field *fields;
	uint32_t *hashes; /* of the names, without case */
	size_t count;
	struct bytes body; /* behind the empty line */
	bool too_many;
};
COHUE_MUST_USE enum err header_index_make(struct arena *a, struct bytes message, struct header_index *ret);

/* Body hashes already made, by canonical form; without l=. */
struct body_hashes {
	bool known[2];
	uint64_t length[2];
	uint8_t digest[2][CANON_DIGEST_LEN];
};

/* A signature field that has been read. */
struct signature {
	const struct mail_field *field;
	struct tags tags;
	enum dkim_algorithm algorithm;
	bool relaxed_header, relaxed_body;
	struct bytes domain, selector; /* as written */
	struct bytes names;            /* h= */
	struct buf made;               /* b=, decoded */
	uint8_t body_hash[CANON_DIGEST_LEN];
	uint64_t length; /* l=, or CANON_NO_LIMIT */
};

/* A result with its reason: of what was wrong, or pass with NULL. */
struct finding {
	enum authentication_result result;
	const char *why;
};

/* Reads a=, b=, d=, s=; of a signature over a message also bh=, c=, h=, l=. Clear `made` in any case. */
COHUE_MUST_USE enum err signature_read(const struct mail_field *field, bool of_message, struct signature *ret,
				       struct finding *ret_finding);
/* Compares the body. finding: pass, fail, or policy where l= leaves a part of it out. */
COHUE_MUST_USE enum err signature_body(const struct signature *s, const struct header_index *h,
				       struct body_hashes *hashes, struct finding *ret);
/* Hashes the fields named in h= and the signature's own field. ERR_MEMORY. */
COHUE_MUST_USE enum err signature_digest(struct arena *a, const struct signature *s,
					 const struct header_index *h, uint8_t ret_digest[CANON_DIGEST_LEN],
					 struct finding *ret);
/* Puts a field into the digest with the value of its b= left out, and no line end. */
void signature_own_field(struct canon *c, const struct mail_field *field, const struct tags *tags,
			 bool relaxed);

/* Asks for the key and checks the signature over a digest. identity_domain: of i=, for t=s; empty: d=. testing may be NULL. */
void signature_check(const struct signature *s, const uint8_t digest[CANON_DIGEST_LEN],
		     struct bytes identity_domain, const struct authentication_dns *dns, bool *ret_testing,
		     struct finding *ret);

/* Writes `name: text b=...` folded, signed by the signer over what `before` has hashed and the field itself. */
COHUE_MUST_USE enum err signature_write(const char *name, struct bytes text, struct canon *before,
					const struct dkim_signer *signer, struct buf *out);
/* Appends base64 folded so that no line passes 76 octets. */
COHUE_MUST_USE enum err signature_fold_base64(struct bytes data, struct buf *out);
/* Appends "h=" names of the fields to be signed, oversigned, and hashes them. ERR_MEMORY. */
COHUE_MUST_USE enum err signature_choose(const struct header_index *h, struct buf *names, struct canon *c);

#endif
