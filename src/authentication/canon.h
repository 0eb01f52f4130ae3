/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_CANON_H
#define COHUE_AUTHENTICATION_CANON_H

#include "base/openssl.h"

#include <openssl/evp.h>

#include "base/bytes.h"

/* Canonical forms of header fields and bodies (RFC 6376 section 3.4), on their way into SHA-256. */

enum { CANON_DIGEST_LEN = 32 };
#define CANON_NO_LIMIT UINT64_MAX

struct canon {
	EVP_MD_CTX *md;
	uint64_t left; /* octets that may still go in */
	uint64_t seen; /* octets of the canonical form, those past the limit included */
	size_t held;
	enum err error;
	uint8_t hold[2048];
};

/* ERR_MEMORY. Give it back with canon_end in any case. */
COHUE_MUST_USE enum err canon_begin(struct canon *c, uint64_t limit);
/* Octets as they are. */
void canon_put(struct canon *c, struct bytes data);
/*
 * A header field (name to final line end). with_end false: without the CRLF at its end, for the signature's own
 * field. Line ends inside must be CRLF for the simple form to be the sender's.
 */
void canon_field(struct canon *c, struct bytes whole, bool relaxed, bool with_end);
void canon_body(struct canon *c, struct bytes body, bool relaxed);
/* Frees. ERR_MEMORY. */
COHUE_MUST_USE enum err canon_end(struct canon *c, uint8_t ret_digest[CANON_DIGEST_LEN]);

#endif
