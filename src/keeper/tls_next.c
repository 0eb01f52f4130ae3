/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/tls_next.h"

#include "base/openssl.h"

#include <limits.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

struct tls_next {
	EVP_PKEY *key;
	uint8_t id[TLS_NEXT_ID];
	struct buf wrapped;
};

static int
no_password(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* SHA-256 of the SubjectPublicKeyInfo, as tls_key_id() has it of a certificate. Takes the key. */
static enum err
create(EVP_PKEY *key, struct tls_next **ret)
{
	struct tls_next *n = calloc(1, sizeof(*n));
	unsigned char *der = NULL;
	int len = key == NULL ? -1 : i2d_PUBKEY(key, &der);
	enum err e =
	    n != NULL && len > 0 && EVP_Digest(der, (size_t)len, n->id, NULL, EVP_sha256(), NULL) == 1
		? ERR_OK
		: ERR_MEMORY;
	OPENSSL_free(der);
	if (e != ERR_OK) {
		EVP_PKEY_free(key);
		free(n);
		return e;
	}
	n->key = key;
	buf_init(&n->wrapped, TLS_NEXT_MAX);
	*ret = n;
	return ERR_OK;
}

enum err
tls_next_make(struct buf *ret_pem, struct tls_next **ret)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *out = BIO_new(BIO_s_secmem());
	char *text = NULL;
	enum err e = ERR_MEMORY;
	if (key != NULL && out != NULL &&
	    PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1) {
		long n = BIO_get_mem_data(out, &text);
		e = n > 0 ? buf_append(ret_pem, bytes_of(text, (size_t)n)) : ERR_MEMORY;
	}
	(void)BIO_free(out);
	if (e == ERR_OK) {
		e = create(key, ret);
	} else {
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	return e;
}

enum err
tls_next_read(struct bytes pem, const uint8_t id[TLS_NEXT_ID], struct tls_next **ret)
{
	BIO *in = pem.len == 0 || pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
	EVP_PKEY *key = in == NULL ? NULL : PEM_read_bio_PrivateKey(in, NULL, no_password, NULL);
	struct tls_next *n = NULL;
	char group[32] = "";
	size_t len = 0;
	(void)BIO_free(in);
	bool fits = key != NULL && EVP_PKEY_is_a(key, "EC") == 1 &&
		    EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
		    strcmp(group, "prime256v1") == 0;
	enum err e = ERR_FORMAT;
	if (fits) {
		e = create(key, &n);
	} else {
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	if (e == ERR_OK && !secret_equal(n->id, id, TLS_NEXT_ID)) {
		tls_next_destroy(&n);
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		*ret = n;
	}
	return e;
}

enum err
tls_next_keep(struct tls_next *n, struct bytes wrapped)
{
	buf_reset(&n->wrapped);
	return buf_append(&n->wrapped, wrapped);
}

void
tls_next_destroy(struct tls_next **np)
{
	struct tls_next *n = *np;
	if (n != NULL) {
		EVP_PKEY_free(n->key);
		buf_clear(&n->wrapped);
		free(n);
	}
	*np = NULL;
}

const uint8_t *
tls_next_id(const struct tls_next *n)
{
	return n->id;
}

struct evp_pkey_st *
tls_next_key(const struct tls_next *n)
{
	return n->key;
}

struct bytes
tls_next_wrapped(const struct tls_next *n)
{
	return buf_bytes(&n->wrapped);
}

enum err
tls_next_pair(const struct tls_next *n, struct bytes chain_pem, struct tls_pair **ret)
{
	return tls_pair_of(n->key, n->id, chain_pem, ret);
}
