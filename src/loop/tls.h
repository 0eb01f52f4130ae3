/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_TLS_H
#define COHUE_LOOP_TLS_H

#include <stdbool.h>

#include "base/bytes.h"

/*
 * TLS contexts (OpenSSL 3). No renegotiation, no compression, no early data;
 * below TLS 1.3 only ECDHE with AEAD ciphers (RFC 9325).
 *
 * Session tickets, where asked for: one per connection in TLS 1.3, stateless (sealed under
 * keys that only this process holds, tls_tickets.c), no server-side
 * cache. Resumption saves the signature of a full handshake to clients that
 * reconnect often (a phone); the ticket costs the connection
 * no memory once sent. TLS 1.2 has no tickets: there they would outlive the
 * connection's forward secrecy.
 */

struct tls_context;
struct tls_challenges;

enum tls_version { TLS_1_2, TLS_1_3 };

enum { TLS_KEY_ID = 32, TLS_SIGNATURE_MAX = 1024 };

/*
 * Signs for a server whose private key is in another process (tls_remote.c: a provider of OpenSSL's, built in). Called from within the
 * handshake, hence it must not suspend; what it waits the whole process waits.
 */
struct tls_signer {
	/*
	 * key_id: tls_key_id() of the chain; scheme: a SignatureScheme (RFC 8446 section 4.2.3); content: what is to be signed, not its
	 * digest. Appends the signature. Any failure ends the handshake.
	 */
	enum err (*sign)(void *arg, const uint8_t key_id[TLS_KEY_ID], unsigned scheme, struct bytes content,
			 struct buf *ret_signature);
	void *arg;
};

struct tls_server_settings {
	struct bytes key_pem;            /* PKCS#8 or SEC 1, unencrypted; or, in its place: */
	const struct tls_signer *signer; /* lives as long as the process */
	struct bytes chain_pem;          /* leaf first */
	enum tls_version minimum;
	bool tickets;                      /* offer resumption (TLS 1.3) */
	struct tls_challenges *challenges; /* loop/tls_challenge.h; NULL: none. Live as long as the process */
};

/* ERR_FORMAT: no key or certificate in the bytes; ERR_AUTH: they do not belong together; ERR_MEMORY. */
COHUE_MUST_USE enum err tls_server_create(const struct tls_server_settings *settings,
					  struct tls_context **ret_ctx);

/*
 * For outgoing connections: encrypted, not verified (opportunistic, RFC 7435),
 * no resumption. With ca_pem, the peer's chain must lead to one of these, and
 * its name is checked against the SNI. BYTES_EMPTY: no verification.
 */
COHUE_MUST_USE enum err tls_client_create(enum tls_version minimum, struct bytes ca_pem,
					  struct tls_context **ret_ctx);
/* No newer version than this one: for tests that play an old peer. ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err tls_context_limit(struct tls_context *ctx, enum tls_version maximum);
/* From now on ctx is what *other is, for connections that begin; others go on with what they began with. *other is taken. */
void tls_context_replace(struct tls_context *ctx, struct tls_context **other);
/* SHA-256 of the public key in the leaf (SubjectPublicKeyInfo, DER). ERR_FORMAT. */
COHUE_MUST_USE enum err tls_key_id(struct bytes chain_pem, uint8_t ret[TLS_KEY_ID]);
/* Streams that use it go on working. Accepts NULL. */
void tls_context_destroy(struct tls_context **ctx);

/*
 * A new P-256 key and a self-signed certificate for one host name, valid for
 * ten years from the day before now_wall (ms since 1970). Appends PEM text.
 */
COHUE_MUST_USE enum err tls_make_self_signed(const char *hostname, int64_t now_wall, struct buf *key_pem,
					     struct buf *cert_pem);

/* The same for several names, the first of which is the common one. ERR_FORMAT: none, or not host names. */
COHUE_MUST_USE enum err tls_make_self_signed_for(const char *const *names, size_t count, int64_t now_wall,
						 struct buf *key_pem, struct buf *cert_pem);

struct tls_info {
	const char *version; /* "TLSv1.3", static */
	const char *cipher;  /* IANA name, static */
	unsigned bits;       /* strength of the symmetric cipher */
	bool verified;       /* the peer's chain and name were asked for and fit */
	bool resumed;
};

#endif
