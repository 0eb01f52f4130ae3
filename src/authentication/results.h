/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_RESULTS_H
#define COHUE_AUTHENTICATION_RESULTS_H

#include "authentication/arc.h"
#include "authentication/dmarc.h"

/* Authentication-Results (RFC 8601). */

struct authentication_results {
	struct spf_verdict spf;
	struct spf_verdict hello; /* SPF of the HELO name; result none and empty domain: not asked */
	struct dkim_verdicts dkim;
	struct dmarc_verdict dmarc;
	struct arc_verdict arc;
	struct bytes sender; /* MAIL FROM, for smtp.mailfrom */
};
/* Appends the field, folded, for authserv-id `host`. */
COHUE_MUST_USE enum err authentication_results_write(const char *host, const struct authentication_results *r,
						     struct buf *out);
/*
 * Appends the message without the Authentication-Results fields that claim to be ours (section 5): of the host, of the domain and what is below it,
 * and those whose authserv-id is none by the letter. ERR_MEMORY, ERR_LIMIT.
 */
COHUE_MUST_USE enum err authentication_results_strip(struct bytes message, const char *host,
						     const char *domain, struct buf *out);
/* Reads what a field or an ARC-Authentication-Results says of a method ("dkim", "spf", "dmarc"). ERR_NOT_FOUND, ERR_FORMAT. */
COHUE_MUST_USE enum err authentication_results_read(struct bytes value, const char *method,
						    enum authentication_result *ret);
/* The value of a property of that method, "header.from"; borrowed. ERR_NOT_FOUND. */
COHUE_MUST_USE enum err authentication_results_property(struct bytes value, const char *method,
							const char *property, struct bytes *ret);

#endif
