/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/tls_proof.h"

#include "base/openssl.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "loop/internal.h"
#include "loop/stream_internal.h"

enum err
tls_client_create_proving(enum tls_version minimum, struct bytes authorities, struct tls_context **ret_ctx)
{
	struct tls_context *ctx = NULL;
	enum err e = tls_client_create(minimum, BYTES_EMPTY, &ctx);
	if (e == ERR_OK && authorities.len > 0) {
		e = tls_context_trust(ctx, authorities);
	}
	if (e == ERR_OK && SSL_CTX_dane_enable(tls_context_ssl(ctx)) != 1) {
		e = ERR_UNSUPPORTED;
	}
	if (e == ERR_OK) {
		/* A record for the very certificate is proof enough: no names, no dates (RFC 7671 section 5.1). */
		(void)SSL_CTX_dane_set_flags(tls_context_ssl(ctx), DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	}
	ERR_clear_error();
	if (e != ERR_OK) {
		tls_context_destroy(&ctx);
		return e;
	}
	*ret_ctx = ctx;
	return ERR_OK;
}

static size_t
add_associations(SSL *ssl, const struct tls_association *list, size_t count)
{
	size_t usable = 0;
	for (size_t i = 0; i < count; i++) {
		const struct tls_association *a = &list[i];
		/* The usages that rest on public authorities are none for SMTP (RFC 7672 section 3.1.3). */
		if ((a->usage == TLS_DANE_TA || a->usage == TLS_DANE_EE) && a->data.len > 0 &&
		    SSL_dane_tlsa_add(ssl, a->usage, a->selector, a->matching, a->data.ptr, a->data.len) ==
			1) {
			usable++;
		}
	}
	return usable;
}

size_t
tls_associations_usable(const struct tls_context *ctx, const struct tls_association *list, size_t count)
{
	SSL *ssl = SSL_new(tls_context_ssl(ctx));
	size_t usable = 0;
	if (ssl != NULL && SSL_dane_enable(ssl, "localhost") == 1) {
		usable = add_associations(ssl, list, count);
	}
	SSL_free(ssl);
	ERR_clear_error();
	return usable;
}

static bool
set_sni(SSL *ssl, const char *host)
{
	/* OpenSSL's macro takes the name without const. */
	char name[256];
	size_t len = bytes_str(host).len;
	if (len >= sizeof(name)) {
		return false;
	}
	memcpy(name, host, len + 1);
	return SSL_set_tlsext_host_name(ssl, name) == 1;
}

enum err
tls_expect(SSL *ssl, const struct tls_expectation *x)
{
	const char *host = x->host;
	if (x->proof == TLS_PROOF_NONE) {
		return host == NULL || set_sni(ssl, host) ? ERR_OK : ERR_MEMORY;
	}
	if (host == NULL || host[0] == '\0') {
		return ERR_STATE;
	}
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (x->proof == TLS_PROOF_AUTHORITY) {
		return set_sni(ssl, host) && SSL_set1_host(ssl, host) == 1 ? ERR_OK : ERR_MEMORY;
	}
	/* Sets SNI and the first name. */
	if (SSL_dane_enable(ssl, host) != 1) {
		return ERR_MEMORY;
	}
	if (x->also != NULL && x->also[0] != '\0' && SSL_add1_host(ssl, x->also) != 1) {
		return ERR_MEMORY;
	}
	return add_associations(ssl, x->associations, x->count) > 0 ? ERR_OK : ERR_UNSUPPORTED;
}
