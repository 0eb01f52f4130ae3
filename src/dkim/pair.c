/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One pair's keys: RSA by OpenSSL, Ed25519 by libsodium. */
#include "base/openssl.h"
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/secret.h"
#include "dkim/ring.h"

enum { RSA_BITS = 2048, RSA_SIGNATURE_MAX = 512 };

static enum err
sign_rsa(EVP_PKEY *key, const uint8_t digest[32], struct buf *out)
{
	unsigned char signature[RSA_SIGNATURE_MAX];
	size_t n = sizeof(signature);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool good = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
		    EVP_PKEY_sign(ctx, signature, &n, digest, 32) == 1;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return good ? buf_append(out, bytes_of(signature, n)) : ERR_MEMORY;
}

enum err
dkim_pair_sign(const struct dkim_pair *p, enum dkim_algorithm algorithm, const uint8_t digest[32],
	       struct buf *out)
{
	if (p->rsa == NULL || p->seed == NULL) {
		return ERR_NOT_FOUND;
	}
	if (algorithm == DKIM_RSA_SHA256) {
		return sign_rsa(p->rsa, digest, out);
	}
	uint8_t signature[SIGN_LEN];
	sign_make(p->seed, bytes_of(digest, 32), signature);
	return buf_append(out, bytes_of(signature, sizeof(signature)));
}

static enum err
take_public(EVP_PKEY *key, struct dkim_pair *p)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);
	bool good = n > 0 && (size_t)n <= sizeof(p->spki);
	if (good) {
		memcpy(p->spki, der, (size_t)n);
		p->spki_len = (size_t)n;
	}
	OPENSSL_free(der);
	return good ? ERR_OK : ERR_MEMORY;
}

enum err
dkim_pair_make(struct dkim_pair *p)
{
	uint8_t *seed = secret_alloc(SIGN_SEED_LEN);
	EVP_PKEY *rsa = seed == NULL ? NULL : EVP_RSA_gen(RSA_BITS);
	enum err e = rsa == NULL ? ERR_MEMORY : take_public(rsa, p);
	if (e != ERR_OK) {
		ERR_clear_error();
		EVP_PKEY_free(rsa);
		secret_free(seed);
		return e;
	}
	crypto_random_bytes(seed, SIGN_SEED_LEN);
	sign_public(seed, p->ed25519);
	p->seed = seed;
	p->rsa = rsa;
	p->secret = true;
	return ERR_OK;
}

enum err
dkim_pair_write_rsa(const struct dkim_pair *p, struct buf *out)
{
	unsigned char *der = NULL;
	int n = p->rsa == NULL ? -1 : i2d_PrivateKey(p->rsa, &der);
	enum err e = n > 0 ? buf_append(out, bytes_of(der, (size_t)n)) : ERR_MEMORY;
	if (n > 0) {
		OPENSSL_clear_free(der, (size_t)n);
	}
	return e;
}

enum err
dkim_pair_read_rsa(struct dkim_pair *p, struct bytes der)
{
	const unsigned char *at = der.ptr;
	struct dkim_pair other = {.spki_len = 0};
	EVP_PKEY *key = der.len == 0 ? NULL : d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, (long)der.len);
	bool good = key != NULL && EVP_PKEY_get_bits(key) == RSA_BITS && take_public(key, &other) == ERR_OK &&
		    bytes_equal(bytes_of(p->spki, p->spki_len), bytes_of(other.spki, other.spki_len));
	ERR_clear_error();
	if (!good) {
		EVP_PKEY_free(key);
		return ERR_FORMAT;
	}
	p->rsa = key;
	return ERR_OK;
}

enum err
dkim_pair_warm(void)
{
	/* The smallest that there is: what counts is what it loads. */
	uint8_t digest[32] = {0};
	struct buf out = BUF_INIT(RSA_SIGNATURE_MAX);
	EVP_PKEY *key = EVP_RSA_gen(512);
	unsigned char *der = NULL;
	enum err e = key == NULL ? ERR_MEMORY : sign_rsa(key, digest, &out);
	int n = e != ERR_OK ? -1 : i2d_PrivateKey(key, &der);
	const unsigned char *at = der;
	EVP_PKEY *again = n > 0 ? d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, n) : NULL;
	struct dkim_pair unused = {.spki_len = 0};
	e = again == NULL ? ERR_MEMORY : take_public(again, &unused);
	if (n > 0) {
		OPENSSL_clear_free(der, (size_t)n);
	}
	EVP_PKEY_free(key);
	EVP_PKEY_free(again);
	buf_clear(&out);
	return e;
}
