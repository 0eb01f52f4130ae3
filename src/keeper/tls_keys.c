/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/tls_keys.h"

#include "base/openssl.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/secret.h"
#include "keeper/tls_content.h"
#include "loop/tls.h"

enum {
	CHAIN_MAX = 64 * 1024,
	PEM_MAX = 64 * 1024,
	SECURE_BYTES = 256 * 1024, /* of OpenSSL's own pool, in which the numbers of keys lie */
	SECURE_LEAST = 32,
	RSA_BITS_LEAST = 2048,
	RSA_BITS_MOST = 8192,
};

struct tls_pair {
	EVP_PKEY *key;
	uint8_t id[TLS_KEY_ID];
	struct buf chain;
};

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
check_kind(const EVP_PKEY *key)
{
	int bits = EVP_PKEY_get_bits(key);
	if (EVP_PKEY_is_a(key, "RSA")) {
		return bits >= RSA_BITS_LEAST && bits <= RSA_BITS_MOST ? ERR_OK : ERR_UNSUPPORTED;
	}
	char group[32] = "";
	size_t len = 0;
	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
		       (bytes_is(bytes_str(group), "prime256v1") || bytes_is(bytes_str(group), "secp384r1") ||
			bytes_is(bytes_str(group), "secp521r1"))
		   ? ERR_OK
		   : ERR_UNSUPPORTED;
}

enum err
tls_pair_create(struct bytes key_pem, struct bytes chain_pem, struct tls_pair **ret)
{
	if (key_pem.len == 0 || key_pem.len > INT_MAX || chain_pem.len == 0 || chain_pem.len > INT_MAX) {
		return ERR_FORMAT;
	}
	struct tls_pair *p = calloc(1, sizeof(*p));
	BIO *key_in = BIO_new_mem_buf(key_pem.ptr, (int)key_pem.len);
	BIO *chain_in = BIO_new_mem_buf(chain_pem.ptr, (int)chain_pem.len);
	X509 *leaf = chain_in == NULL ? NULL : PEM_read_bio_X509(chain_in, NULL, no_password, NULL);
	enum err e = p == NULL || key_in == NULL || chain_in == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		buf_init(&p->chain, CHAIN_MAX);
		p->key = PEM_read_bio_PrivateKey(key_in, NULL, no_password, NULL);
		e = p->key == NULL || leaf == NULL ? ERR_FORMAT : check_kind(p->key);
	}
	if (e == ERR_OK) {
		e = X509_check_private_key(leaf, p->key) == 1 ? tls_key_id(chain_pem, p->id) : ERR_AUTH;
	}
	if (e == ERR_OK) {
		e = buf_append(&p->chain, chain_pem);
	}
	(void)BIO_free(key_in);
	(void)BIO_free(chain_in);
	X509_free(leaf);
	ERR_clear_error();
	if (e != ERR_OK) {
		tls_pair_destroy(&p);
		return e;
	}
	*ret = p;
	return ERR_OK;
}

void
tls_pair_destroy(struct tls_pair **pp)
{
	struct tls_pair *p = *pp;
	if (p != NULL) {
		EVP_PKEY_free(p->key);
		buf_clear(&p->chain);
		free(p);
	}
	*pp = NULL;
}

void
tls_keys_put(struct tls_keys *k, enum tls_kind kind, struct tls_pair **pair)
{
	struct tls_pair *now = k->of[kind].now;
	if (now != NULL && secret_equal(now->id, (*pair)->id, sizeof(now->id))) {
		/* The same key under another certificate: the one before, if any, is still the one before. */
		tls_pair_destroy(&now);
	} else if (now != NULL) {
		tls_pair_destroy(&k->of[kind].before);
		k->of[kind].before = now;
	}
	k->of[kind].now = *pair;
	*pair = NULL;
}

void
tls_keys_forget(struct tls_keys *k)
{
	for (size_t i = 0; i < TLS_KINDS; i++) {
		tls_pair_destroy(&k->of[i].before);
	}
}

bool
tls_keys_complete(const struct tls_keys *k)
{
	return k->of[TLS_KIND_MX].now != NULL && k->of[TLS_KIND_MEMBER].now != NULL;
}

struct bytes
tls_keys_chain(const struct tls_keys *k, enum tls_kind kind)
{
	return k->of[kind].now == NULL ? BYTES_EMPTY : buf_bytes(&k->of[kind].now->chain);
}

struct evp_pkey_st *
tls_keys_private(const struct tls_keys *k, enum tls_kind kind)
{
	return k->of[kind].now == NULL ? NULL : k->of[kind].now->key;
}

enum err
tls_pair_of(EVP_PKEY *key, const uint8_t id[32], struct bytes chain_pem, struct tls_pair **ret)
{
	struct tls_pair *p = calloc(1, sizeof(*p));
	enum err e = p == NULL ? ERR_MEMORY : key == NULL ? ERR_NOT_FOUND : ERR_OK;
	if (e == ERR_OK && EVP_PKEY_up_ref(key) == 1) {
		p->key = key;
		buf_init(&p->chain, CHAIN_MAX);
		e = tls_key_id(chain_pem, p->id);
	}
	if (e == ERR_OK && !secret_equal(p->id, id, sizeof(p->id))) {
		e = ERR_AUTH;
	}
	e = e == ERR_OK ? buf_append(&p->chain, chain_pem) : e;
	if (e != ERR_OK) {
		tls_pair_destroy(&p);
		return e;
	}
	*ret = p;
	return ERR_OK;
}

const uint8_t *
tls_pair_id(const struct tls_pair *pair)
{
	return pair->id;
}

enum err
tls_keys_again(const struct tls_keys *k, enum tls_kind kind, struct bytes chain_pem, struct tls_pair **ret)
{
	const struct tls_pair *now = k->of[kind].now;
	return now == NULL ? ERR_NOT_FOUND : tls_pair_of(now->key, now->id, chain_pem, ret);
}

static enum err
sign(EVP_PKEY *key, const struct tls_scheme *how, struct bytes content, struct buf *ret)
{
	const char *digest = how->bits == 256 ? "SHA256" : how->bits == 384 ? "SHA384" : "SHA512";
	uint8_t out[TLS_SIGNATURE_MAX];
	size_t len = sizeof(out);
	EVP_PKEY_CTX *options = NULL; /* the context's */
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx != NULL && EVP_DigestSignInit_ex(ctx, &options, digest, NULL, NULL, key, NULL) == 1 &&
		  (!how->pss || (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
				 EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
		  EVP_DigestSign(ctx, out, &len, content.ptr, content.len) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok ? buf_append(ret, bytes_of(out, len)) : ERR_MEMORY;
}

enum err
tls_keys_sign(const struct tls_keys *k, enum tls_kind kind, bool old, const uint8_t id[32], unsigned scheme,
	      struct bytes content, struct buf *ret)
{
	struct tls_scheme how;
	enum tls_content form = tls_content_kind(content);
	enum err e = form == TLS_CONTENT_12 && !old ? ERR_DENIED : tls_scheme_read(scheme, form, &how);
	if (e != ERR_OK) {
		return e;
	}
	const struct tls_pair *const pairs[] = {k->of[kind].now, k->of[kind].before};
	for (size_t i = 0; i < 2; i++) {
		if (pairs[i] != NULL && secret_equal(pairs[i]->id, id, TLS_KEY_ID)) {
			return how.rsa == (EVP_PKEY_is_a(pairs[i]->key, "RSA") == 1)
				   ? sign(pairs[i]->key, &how, content, ret)
				   : ERR_DENIED;
		}
	}
	return ERR_NOT_FOUND;
}

/* One handshake's worth of signing with a key of this kind. */
static enum err
try_kind(EVP_PKEY *key, const struct tls_scheme *how)
{
	struct buf out = BUF_INIT(TLS_SIGNATURE_MAX);
	enum err e = key == NULL ? ERR_MEMORY : sign(key, how, BYTES_LIT("warm"), &out);
	buf_clear(&out);
	return e;
}

enum err
tls_keys_warm_up(void)
{
	struct buf key = BUF_INIT(PEM_MAX);
	struct buf chain = BUF_INIT(PEM_MAX);
	struct tls_pair *pair = NULL;
	/* Where the machine does not lock it, keys lie in ordinary memory, as before; this role is never dumped. */
	(void)CRYPTO_secure_malloc_init(SECURE_BYTES, SECURE_LEAST);
	enum err e = tls_make_self_signed("warm.invalid", clock_wall(), &key, &chain);
	if (e == ERR_OK) {
		e = tls_pair_create(buf_bytes(&key), buf_bytes(&chain), &pair);
	}
	for (unsigned bits = 256; bits <= 512 && e == ERR_OK; bits += 128) {
		e = try_kind(pair->key, &(struct tls_scheme){.bits = bits});
	}
	tls_pair_destroy(&pair);
	buf_wipe(&key);
	buf_clear(&chain);
	return e;
}
