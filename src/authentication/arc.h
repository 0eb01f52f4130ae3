/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_ARC_H
#define COHUE_AUTHENTICATION_ARC_H

#include "authentication/dkim.h"

/* ARC (RFC 8617): the chain of those who passed a message on. */

enum { ARC_SETS_MAX = 50 };
struct arc_verdict {
	enum authentication_result result; /* none, pass, fail; temperror where the DNS gave no answer */
	unsigned sets;                     /* the highest number */
	bool
	    ended; /* nobody adds to it: its newest seal says cv=fail, or it has numbers that are none (RFC 8617 section 5.1) */
	/* Where it passes, of each set, the oldest first, in the arena: d= of its seal, and what it says (ARC-Authentication-Results). */
	struct bytes *sealers;
	struct bytes *results;
	const char *why;
};
COHUE_MUST_USE enum err arc_verify(struct arena *a, struct bytes message,
				   const struct authentication_dns *dns, struct arc_verdict *ret);
/* Appends one ARC set to be put in front of a message that is passed on; results: the payload of our Authentication-Results. */
COHUE_MUST_USE enum err arc_seal(struct bytes message, const struct arc_verdict *before, struct bytes results,
				 const struct dkim_signer *signer, struct buf *out);

#endif
