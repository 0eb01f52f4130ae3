/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_TLS_CONTENT_H
#define COHUE_KEEPER_TLS_CONTENT_H

#include "base/bytes.h"

/*
 * What a TLS key signs: exactly what a server of ours signs in a handshake, octet for octet of these forms, and nothing else that the
 * same key could be made to sign for (no message, no token, no certificate, no client's handshake).
 *
 *   TLS 1.3, CertificateVerify (RFC 8446 section 4.4.3): 64 spaces, "TLS 1.3, server CertificateVerify", a zero octet,
 *   and the transcript's hash, 32 or 48 octets.
 *
 *   TLS 1.2, ServerKeyExchange (RFC 8422 section 5.4, RFC 5246 section 7.4.3): the client's random and the server's, 32 octets
 *   each; curve_type named_curve; one of the groups that we offer; the length of its points, and an uncompressed
 *   point (X25519: 32 octets).
 *
 * The second cannot pass for the first, whose 65th octet is a T and not a 3.
 */
enum tls_content { TLS_CONTENT_NONE = 0, TLS_CONTENT_12, TLS_CONTENT_13 };

enum { TLS_CONTENT_MAX = 64 + 4 + 97 };

enum tls_content tls_content_kind(struct bytes content);

/* How a SignatureScheme signs (RFC 8446 section 4.2.3). */
struct tls_scheme {
	bool rsa;
	bool pss;      /* of RSA */
	unsigned bits; /* of the digest: SHA-256, SHA-384 or SHA-512 */
};
/* Those that we sign with in this form: no SHA-1, and in TLS 1.3 no PKCS #1 (section 4.4.3). ERR_DENIED for others. */
COHUE_MUST_USE enum err tls_scheme_read(unsigned scheme, enum tls_content kind, struct tls_scheme *ret);

#endif
