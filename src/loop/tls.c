/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/tls.h"

#include "base/openssl.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/secret.h"
#include "loop/internal.h"

enum { CHAIN_MAX = 16, CA_MAX = 4096 };

struct tls_context {
	SSL_CTX *ssl;
	bool verify;
};

/* RFC 9325 section 4.2: forward secrecy and AEAD only; AES first where the machine has it. */
static const char ciphers_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
				 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:"
				 "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305";
static const char ciphers_13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
/* No SHA-1 and no SHA-224 (RFC 9155), on our side of a handshake. */
static char signatures[] = "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:"
			   "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
			   "rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512";
static char groups[] = /* OpenSSL's macro takes it without const */
    "X25519:P-256:P-384";

struct ssl_ctx_st *
tls_context_ssl(const struct tls_context *ctx)
{
	return ctx->ssl;
}

bool
tls_context_verifies(const struct tls_context *ctx)
{
	return ctx->verify;
}

enum err
tls_context_limit(struct tls_context *ctx, enum tls_version maximum)
{
	return SSL_CTX_set_max_proto_version(ctx->ssl,
					     maximum == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1
		   ? ERR_OK
		   : ERR_UNSUPPORTED;
}

void
tls_context_destroy(struct tls_context **ctx)
{
	if (*ctx == NULL) {
		return;
	}
	SSL_CTX_free((*ctx)->ssl);
	free(*ctx);
	*ctx = NULL;
}

void
tls_context_replace(struct tls_context *ctx, struct tls_context **other)
{
	struct tls_context before = *ctx;
	*ctx = **other;
	**other = before;
	tls_context_destroy(other);
}

/* What servers and clients have in common. */
static enum err
context_create(const SSL_METHOD *method, enum tls_version minimum, struct tls_context **ret_ctx)
{
	struct tls_context *ctx = calloc(1, sizeof(*ctx));
	if (ctx == NULL) {
		return ERR_MEMORY;
	}
	ctx->ssl = SSL_CTX_new(method);
	if (ctx->ssl == NULL) {
		ERR_clear_error();
		free(ctx);
		return ERR_MEMORY;
	}
	if (SSL_CTX_set_min_proto_version(ctx->ssl, minimum == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) !=
		1 ||
	    SSL_CTX_set_cipher_list(ctx->ssl, ciphers_12) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx->ssl, ciphers_13) != 1 ||
	    SSL_CTX_set1_groups_list(ctx->ssl, groups) != 1) {
		ERR_clear_error();
		tls_context_destroy(&ctx);
		return ERR_UNSUPPORTED;
	}
	(void)SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
						SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
						SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CLEANSE_PLAINTEXT);
	/* Records are made here, where they are padded, and not by the kernel. */
	(void)SSL_CTX_clear_options(ctx->ssl, SSL_OP_ENABLE_KTLS);
	(void)SSL_CTX_set_mode(
	    ctx->ssl,
	    SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		SSL_MODE_AUTO_RETRY |
		/* The chain is what the file says; building one anew costs each handshake a verification. */
		SSL_MODE_NO_AUTO_CHAIN);
	(void)SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
	/* One read(2) for a record's header and body. */
	SSL_CTX_set_read_ahead(ctx->ssl, 1);
	(void)SSL_CTX_set_max_early_data(ctx->ssl, 0);
	(void)SSL_CTX_set_recv_max_early_data(ctx->ssl, 0);
	*ret_ctx = ctx;
	return ERR_OK;
}

/* A memory BIO over borrowed PEM text. */
static BIO *
pem_open(struct bytes pem)
{
	return pem.len == 0 || pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
}

/* No prompt: encrypted keys are refused. */
static int
no_password(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static enum err
use_key(SSL_CTX *ssl, struct bytes pem)
{
	BIO *in = pem_open(pem);
	if (in == NULL) {
		return ERR_FORMAT;
	}
	EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, no_password, NULL);
	(void)BIO_free(in);
	if (key == NULL) {
		return ERR_FORMAT;
	}
	int ok = SSL_CTX_use_PrivateKey(ssl, key);
	EVP_PKEY_free(key);
	return ok == 1 ? ERR_OK : ERR_AUTH;
}

static enum err
use_chain(SSL_CTX *ssl, struct bytes pem)
{
	BIO *in = pem_open(pem);
	if (in == NULL) {
		return ERR_FORMAT;
	}
	enum err e = ERR_OK;
	int n = 0;
	for (; n < CHAIN_MAX && e == ERR_OK; n++) {
		X509 *cert = PEM_read_bio_X509(in, NULL, no_password, NULL);
		if (cert == NULL) {
			break;
		}
		int ok =
		    n == 0 ? SSL_CTX_use_certificate(ssl, cert) : (int)SSL_CTX_add1_chain_cert(ssl, cert);
		X509_free(cert);
		e = ok == 1 ? ERR_OK : ERR_FORMAT;
	}
	(void)BIO_free(in);
	return e == ERR_OK && n == 0 ? ERR_FORMAT : e;
}

/* The stream says what it speaks. */
static int
select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
	    unsigned in_len, void *arg)
{
	const struct stream *s = SSL_get_app_data(ssl);
	const char *name = s == NULL ? NULL : stream_alpn(s);
	struct bytes wanted = name == NULL ? BYTES_EMPTY : bytes_str(name);
	if (tls_challenges_shown(arg, ssl)) {
		wanted = BYTES_LIT(TLS_CHALLENGE_ALPN);
	}
	if (wanted.len == 0) {
		return SSL_TLSEXT_ERR_NOACK;
	}
	/* RFC 7301 section 3.1: a length of one octet, and a name. */
	for (struct bytes rest = bytes_of(in, in_len); rest.len > 0;) {
		struct bytes offered = bytes_slice(rest, 1, rest.ptr[0]);
		if (bytes_equal(offered, wanted)) {
			*out = offered.ptr;
			*out_len = (unsigned char)offered.len;
			return SSL_TLSEXT_ERR_OK;
		}
		rest = bytes_from(rest, offered.len + 1);
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

enum err
tls_leaf_key_id(struct x509_st *leaf, uint8_t ret[TLS_KEY_ID])
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(X509_get0_pubkey(leaf), &der);
	bool ok = n > 0 && EVP_Digest(der, (size_t)n, ret, NULL, EVP_sha256(), NULL) == 1;
	OPENSSL_free(der);
	ERR_clear_error();
	return ok ? ERR_OK : ERR_FORMAT;
}

enum err
tls_key_id(struct bytes chain_pem, uint8_t ret[TLS_KEY_ID])
{
	BIO *in = pem_open(chain_pem);
	X509 *leaf = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, no_password, NULL);
	(void)BIO_free(in);
	enum err e = leaf == NULL ? ERR_FORMAT : tls_leaf_key_id(leaf, ret);
	X509_free(leaf);
	ERR_clear_error();
	return e;
}

/* The leaf's own key, held by somebody else. */
static enum err
use_signer(SSL_CTX *ssl, const struct tls_signer *signer)
{
	X509 *leaf = SSL_CTX_get0_certificate(ssl);
	EVP_PKEY *key = NULL;
	enum err e = leaf == NULL ? ERR_FORMAT : tls_remote_key(leaf, signer, &key);
	if (e == ERR_OK && SSL_CTX_use_PrivateKey(ssl, key) != 1) {
		e = ERR_AUTH;
	}
	EVP_PKEY_free(key);
	return e;
}

enum err
tls_server_create(const struct tls_server_settings *settings, struct tls_context **ret_ctx)
{
	struct tls_context *ctx = NULL;
	enum err e = context_create(TLS_server_method(), settings->minimum, &ctx);
	if (e != ERR_OK) {
		return e;
	}
	/* The certificate first: the key is then checked against it. */
	e = use_chain(ctx->ssl, settings->chain_pem);
	if (e == ERR_OK) {
		e = settings->signer != NULL ? use_signer(ctx->ssl, settings->signer)
					     : use_key(ctx->ssl, settings->key_pem);
	}
	if (e == ERR_OK && SSL_CTX_check_private_key(ctx->ssl) != 1) {
		e = ERR_AUTH;
	}
	if (e == ERR_OK && !settings->tickets) {
		(void)SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_TICKET);
	}
	SSL_CTX_set_alpn_select_cb(ctx->ssl, select_alpn, settings->challenges);
	if (settings->challenges != NULL) {
		SSL_CTX_set_client_hello_cb(ctx->ssl, tls_challenges_hello, settings->challenges);
	}
	if (e == ERR_OK && SSL_CTX_set1_sigalgs_list(ctx->ssl, signatures) != 1) {
		e = ERR_UNSUPPORTED;
	}
	static const unsigned char session_id[] = "cohue";
	if (e == ERR_OK &&
	    (SSL_CTX_set_session_id_context(ctx->ssl, session_id, sizeof(session_id) - 1) != 1 ||
	     SSL_CTX_set_num_tickets(ctx->ssl, settings->tickets ? 1 : 0) != 1)) {
		e = ERR_MEMORY;
	}
	if (e == ERR_OK && settings->tickets) {
		e = tls_tickets_use(ctx->ssl);
	}
	ERR_clear_error();
	if (e != ERR_OK) {
		tls_context_destroy(&ctx);
		return e;
	}
	*ret_ctx = ctx;
	return ERR_OK;
}

static enum err
trust(SSL_CTX *ssl, struct bytes pem)
{
	BIO *in = pem_open(pem);
	if (in == NULL) {
		return ERR_FORMAT;
	}
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);
	enum err e = ERR_OK;
	int n = 0;
	for (; n < CA_MAX && e == ERR_OK; n++) {
		X509 *cert = PEM_read_bio_X509(in, NULL, no_password, NULL);
		if (cert == NULL) {
			break;
		}
		e = X509_STORE_add_cert(store, cert) == 1 ? ERR_OK : ERR_FORMAT;
		X509_free(cert);
	}
	(void)BIO_free(in);
	return e == ERR_OK && n == 0 ? ERR_FORMAT : e;
}

enum err
tls_context_trust(struct tls_context *ctx, struct bytes pem)
{
	return trust(ctx->ssl, pem);
}

enum err
tls_client_create(enum tls_version minimum, struct bytes ca_pem, struct tls_context **ret_ctx)
{
	struct tls_context *ctx = NULL;
	enum err e = context_create(TLS_client_method(), minimum, &ctx);
	if (e != ERR_OK) {
		return e;
	}
	(void)SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_TICKET);
	SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_NONE, NULL);
	if (ca_pem.len > 0) {
		e = trust(ctx->ssl, ca_pem);
		SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER, NULL);
		ctx->verify = true;
	}
	ERR_clear_error();
	if (e != ERR_OK) {
		tls_context_destroy(&ctx);
		return e;
	}
	*ret_ctx = ctx;
	return ERR_OK;
}

static enum err
append_bio(BIO *out, struct buf *pem)
{
	char *text = NULL;
	long len = BIO_get_mem_data(out, &text);
	return len <= 0 ? ERR_MEMORY : buf_append(pem, bytes_of(text, (size_t)len));
}

static bool
add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
	X509V3_set_ctx_nodb(&context);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

/* The name goes into OpenSSL's little configuration language: nothing but letters, digits, dots and hyphens may. */
static bool
is_host_name(struct bytes name)
{
	if (name.len == 0 || name.len > 253) {
		return false;
	}
	for (size_t i = 0; i < name.len; i++) {
		if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '.' && name.ptr[i] != '-') {
			return false;
		}
	}
	return true;
}

static bool
fill_certificate(X509 *cert, EVP_PKEY *key, const char *hostname, const char *san, int64_t now_wall)
{
	time_t from = (time_t)(now_wall / 1000);
	ASN1_INTEGER *serial = X509_get_serialNumber(cert);
	BIGNUM *number = BN_new();
	X509_NAME *subject = X509_get_subject_name(cert);
	bool ok = number != NULL && serial != NULL &&
		  BN_rand(number, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
		  BN_to_ASN1_INTEGER(number, serial) != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
		  X509_time_adj_ex(X509_getm_notBefore(cert), -1, 0, &from) != NULL &&
		  X509_time_adj_ex(X509_getm_notAfter(cert), 3650, 0, &from) != NULL &&
		  X509_set_pubkey(cert, key) == 1;
	BN_free(number);
	/* A common name holds 64 octets at most (X.520); the name that counts is the alternative one. */
	const char *common = bytes_str(hostname).len <= 64 ? hostname : "mail";
	const unsigned char *text = (const unsigned char *)common;
	return ok && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, text, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(cert, subject) == 1 &&
	       add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(cert, NID_ext_key_usage, "serverAuth") &&
	       add_extension(cert, NID_subject_alt_name, san) && X509_sign(cert, key, EVP_sha256()) > 0;
}

enum err
tls_make_self_signed(const char *hostname, int64_t now_wall, struct buf *key_pem, struct buf *cert_pem)
{
	return tls_make_self_signed_for(&hostname, 1, now_wall, key_pem, cert_pem);
}

/* "DNS:a,DNS:b", with its NUL. */
static enum err
write_names(const char *const *names, size_t count, struct buf *out)
{
	enum err e = count == 0 ? ERR_FORMAT : ERR_OK;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = is_host_name(bytes_str(names[i]))
			? buf_printf(out, "%sDNS:%s", i == 0 ? "" : ",", names[i])
			: ERR_FORMAT;
	}
	return e == ERR_OK ? buf_append_byte(out, 0) : e;
}

enum err
tls_make_self_signed_for(const char *const *names, size_t count, int64_t now_wall, struct buf *key_pem,
			 struct buf *cert_pem)
{
	struct buf san = BUF_INIT(8 * 1024);
	enum err named = write_names(names, count, &san);
	if (named != ERR_OK) {
		buf_clear(&san);
		return named;
	}
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	/* The key's text lies in memory that OpenSSL wipes when it is freed. */
	BIO *key_out = BIO_new(BIO_s_secmem());
	BIO *cert_out = BIO_new(BIO_s_mem());
	size_t key_len = key_pem->len;
	size_t cert_len = cert_pem->len;
	enum err e = ERR_MEMORY;
	if (key != NULL && cert != NULL && key_out != NULL && cert_out != NULL &&
	    fill_certificate(cert, key, names[0], (const char *)san.ptr, now_wall) &&
	    PEM_write_bio_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
	    PEM_write_bio_X509(cert_out, cert) == 1) {
		e = append_bio(key_out, key_pem);
		if (e == ERR_OK) {
			e = append_bio(cert_out, cert_pem);
		}
	}
	if (e != ERR_OK) {
		buf_truncate(key_pem, key_len);
		buf_truncate(cert_pem, cert_len);
	}
	buf_clear(&san);
	(void)BIO_free(key_out);
	(void)BIO_free(cert_out);
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return e;
}
