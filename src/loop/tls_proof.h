/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_TLS_PROOF_H
#define COHUE_LOOP_TLS_PROOF_H

#include "loop/stream.h"
#include "loop/tls.h"

/*
 * What a server must prove, connection by connection: by an authority that we trust (RFC 6125), or by what its signed DNS says of
 * its keys (DANE, RFC 6698, RFC 7671, RFC 7672).
 */

enum tls_proof { TLS_PROOF_NONE, TLS_PROOF_AUTHORITY, TLS_PROOF_DANE };

enum { TLS_DANE_TA = 2, TLS_DANE_EE = 3 };

/* A TLSA record. */
struct tls_association {
	uint8_t usage;
	uint8_t selector;
	uint8_t matching;
	struct bytes data;
};

struct tls_expectation {
	enum tls_proof proof;
	const char *
	    host; /* SNI, and the name that is checked; for DANE: the TLSA records' base. NULL: none to ask for */
	const char *also; /* DANE-TA: another name that is good in its certificate; NULL: none */
	const struct tls_association *associations;
	size_t count;
};

/*
 * For outgoing connections: each as its expectation says. authorities: PEM; empty: nobody can prove anything by one. No resumption.
 * ERR_FORMAT: no certificate among the bytes; ERR_UNSUPPORTED, ERR_MEMORY.
 */
COHUE_MUST_USE enum err tls_client_create_proving(enum tls_version minimum, struct bytes authorities,
						  struct tls_context **ret_ctx);
/*
 * How many of the records a certificate can be held against: usage 2 or 3 (RFC 7672 section 3.1.3), with a selector, a hash and
 * data that OpenSSL understands.
 */
size_t tls_associations_usable(const struct tls_context *ctx, const struct tls_association *list,
			       size_t count);
/*
 * As stream_start_tls_client. A server that does not prove what is expected fails the handshake (ERR_AUTH) before it has been sent
 * anything. ERR_UNSUPPORTED: none of the associations is usable. The expectation is borrowed for the call alone.
 */
COHUE_MUST_USE enum err stream_start_tls_client_proving(struct stream *s, struct tls_context *ctx,
							const struct tls_expectation *expectation,
							bool implicit, size_t *ret_discarded);
/* In closed(): the handshake failed since the server did not prove what it should. */
bool stream_is_unproved(const struct stream *s);

#endif
