/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FETCHER_ACME_WORDS_H
#define COHUE_FETCHER_ACME_WORDS_H

#include "base/bytes.h"
#include "base/clock.h"

/* What a certificate authority says (RFC 8555), read; and when to ask it. Pure. Texts are views into what is read. */

enum { ACME_AUTHORISATIONS_MAX = 8, ACME_ERROR_MAX = 40 };

/* Of an answer's header lines: the value of the first field of that name, trimmed; empty where there is none. */
struct bytes acme_header(struct bytes headers, const char *name);
/*
 * The type of a problem document (RFC 7807, RFC 8555 section 6.7), or of an `error` within an object, without its "urn:ietf:params:acme:error:";
 * letters alone. "" where there is none that could be printed.
 */
void acme_error(struct bytes document, char ret[ACME_ERROR_MAX]);
/* What to do about it, for a volunteer; static. */
const char *acme_remedy(const char *error);

enum acme_status {
	ACME_STATUS_OTHER,
	ACME_STATUS_PENDING,
	ACME_STATUS_READY,
	ACME_STATUS_PROCESSING,
	ACME_STATUS_VALID,
	ACME_STATUS_INVALID
};
/* The `status` of an order, authorisation or challenge in a checked text. */
enum acme_status acme_status_of(struct bytes object);
/* A string without escapes between `least` and `most` octets, else an empty view. */
struct bytes acme_text(struct bytes value, size_t least, size_t most);
/* The challenge of that type in a checked authorisation; empty where there is none. */
struct bytes acme_challenge_find(struct bytes authorisation, const char *type);

/* What the DNS says of a key, as the list of rdata that RESOLVE gives of its host's TLSA records. */
enum acme_tlsa {
	ACME_TLSA_NONE,    /* there are no records: nobody insists on any key */
	ACME_TLSA_MISSING, /* others' alone */
	ACME_TLSA_THERE    /* "3 1 1" with its id */
};
enum acme_tlsa acme_tlsa_of(struct bytes answers, const uint8_t id[32]);

/* Two thirds of the lifetime, as wall-clock time. */
msec acme_renewal(msec not_before, msec not_after);
/* After so many failures in a row (1 and up): 1, 2, 4, 8, then 12 hours. */
msec acme_backoff(unsigned failures);

#endif
