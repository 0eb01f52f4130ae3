/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * A key of OpenSSL's without its private half: a provider, built in, whose keys wrap the public half as the default provider has it, and
 * whose one operation, a signature in one go (EVP_DigestSign), asks the tls_signer. It lives in a library context of its own, so
 * that nothing but such a key ever meets it: public keys, certificates and key exchanges stay with the default provider.
 * provider(7), provider-keymgmt(7), provider-signature(7).
 */
#include "base/openssl.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "loop/internal.h"

#define FN(f) ((void (*)(void))(f))

static const char provider_name[] = "cohue-remote";
/* What a key is made of: where the leaf, which lends its public half, and the signer lie. */
static const char param_leaf[] = "cohue-leaf";
static const char param_signer[] = "cohue-signer";

struct remote_key {
	EVP_PKEY *public_half;
	const struct tls_signer *signer;
	uint8_t id[TLS_KEY_ID];
};

/* ---- keys ---- */

static void *
key_new(void *provider)
{
	(void)provider;
	return calloc(1, sizeof(struct remote_key));
}

static void
key_free(void *key)
{
	struct remote_key *k = key;
	if (k != NULL) {
		EVP_PKEY_free(k->public_half);
		free(k);
	}
}

static int
key_has(const void *key, int selection)
{
	(void)selection;
	/* The private half, too: that it is elsewhere is for nobody to know. */
	return key != NULL && ((const struct remote_key *)key)->public_half != NULL;
}

static int
key_import(void *key, int selection, const OSSL_PARAM params[])
{
	struct remote_key *k = key;
	const OSSL_PARAM *leaf = OSSL_PARAM_locate_const(params, param_leaf);
	const OSSL_PARAM *signer = OSSL_PARAM_locate_const(params, param_signer);
	const void *at[2] = {NULL, NULL};
	size_t size = 0;
	(void)selection;
	/* Keys of other providers are not taken: they are compared over there. */
	if (leaf == NULL || signer == NULL || OSSL_PARAM_get_octet_ptr(leaf, &at[0], &size) != 1 ||
	    OSSL_PARAM_get_octet_ptr(signer, &at[1], &size) != 1) {
		return 0;
	}
	/* X509_get_pubkey() counts references within a certificate that it does not change otherwise. */
	X509 *cert = (X509 *)(uintptr_t)at[0];
	k->signer = at[1];
	k->public_half = X509_get_pubkey(cert);
	return k->public_half != NULL && tls_leaf_key_id(cert, k->id) == ERR_OK;
}

static const OSSL_PARAM *
key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
	    {param_leaf, OSSL_PARAM_OCTET_PTR, NULL, 0, 0},
	    {param_signer, OSSL_PARAM_OCTET_PTR, NULL, 0, 0},
	    {NULL, 0, NULL, 0, 0},
	};
	(void)selection;
	return types;
}

static int
key_export(void *key, int selection, OSSL_CALLBACK *take, void *arg)
{
	const struct remote_key *k = key;
	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0) {
		return 0;
	}
	return EVP_PKEY_export(k->public_half, selection, take, arg);
}

static const OSSL_PARAM *
key_export_types(int selection)
{
	static const OSSL_PARAM types[] = {
	    {OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PARAM_UTF8_STRING, NULL, 0, 0},
	    {OSSL_PKEY_PARAM_PUB_KEY, OSSL_PARAM_OCTET_STRING, NULL, 0, 0},
	    {OSSL_PKEY_PARAM_RSA_N, OSSL_PARAM_UNSIGNED_INTEGER, NULL, 0, 0},
	    {OSSL_PKEY_PARAM_RSA_E, OSSL_PARAM_UNSIGNED_INTEGER, NULL, 0, 0},
	    {NULL, 0, NULL, 0, 0},
	};
	return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? NULL : types;
}

static int
key_get_params(void *key, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((const struct remote_key *)key)->public_half, params);
}

static const OSSL_PARAM *
key_gettable(void *provider)
{
	static const OSSL_PARAM types[] = {
	    {OSSL_PKEY_PARAM_BITS, OSSL_PARAM_INTEGER, NULL, 0, 0},
	    {OSSL_PKEY_PARAM_SECURITY_BITS, OSSL_PARAM_INTEGER, NULL, 0, 0},
	    {OSSL_PKEY_PARAM_MAX_SIZE, OSSL_PARAM_INTEGER, NULL, 0, 0},
	    {OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PARAM_UTF8_STRING, NULL, 0, 0},
	    {NULL, 0, NULL, 0, 0},
	};
	(void)provider;
	return types;
}

static int
key_match(const void *a, const void *b, int selection)
{
	(void)selection;
	return EVP_PKEY_eq(((const struct remote_key *)a)->public_half,
			   ((const struct remote_key *)b)->public_half) == 1;
}

static const char *
ec_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

static const char *
rsa_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "RSA" : NULL;
}

#define KEY_FUNCTIONS(operation)                                                                             \
	{OSSL_FUNC_KEYMGMT_NEW, FN(key_new)}, {OSSL_FUNC_KEYMGMT_FREE, FN(key_free)},                        \
	    {OSSL_FUNC_KEYMGMT_HAS, FN(key_has)}, {OSSL_FUNC_KEYMGMT_IMPORT, FN(key_import)},                \
	    {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, FN(key_import_types)},                                          \
	    {OSSL_FUNC_KEYMGMT_EXPORT, FN(key_export)},                                                      \
	    {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, FN(key_export_types)},                                          \
	    {OSSL_FUNC_KEYMGMT_GET_PARAMS, FN(key_get_params)},                                              \
	    {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, FN(key_gettable)}, {OSSL_FUNC_KEYMGMT_MATCH, FN(key_match)}, \
	    {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, FN(operation)},                                         \
	{                                                                                                    \
		0, NULL                                                                                      \
	}

static const OSSL_DISPATCH ec_key[] = {KEY_FUNCTIONS(ec_operation)};
static const OSSL_DISPATCH rsa_key[] = {KEY_FUNCTIONS(rsa_operation)};

/* ---- signatures ---- */

enum { PADDING_PKCS1 = RSA_PKCS1_PADDING, PADDING_PSS = RSA_PKCS1_PSS_PADDING };

struct signature {
	const struct remote_key *key;
	unsigned bits; /* of the digest */
	int padding;
	bool salt_fits; /* RFC 8446 section 4.2.3: as long as the digest */
};

static void *
signature_new(void *provider, const char *properties)
{
	(void)provider;
	(void)properties;
	return calloc(1, sizeof(struct signature));
}

static void
signature_free(void *context)
{
	free(context);
}

static int
signature_set(void *context, const OSSL_PARAM params[])
{
	struct signature *s = context;
	const OSSL_PARAM *p =
	    params == NULL ? NULL : OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	const char *text = NULL;
	int n = 0;
	if (p != NULL) {
		if (p->data_type == OSSL_PARAM_UTF8_STRING) {
			text = p->data;
			n = text == NULL                                        ? 0
			    : strcmp(text, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0     ? PADDING_PSS
			    : strcmp(text, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ? PADDING_PKCS1
										: 0;
		} else if (OSSL_PARAM_get_int(p, &n) != 1) {
			return 0;
		}
		if (n != PADDING_PKCS1 && n != PADDING_PSS) {
			return 0;
		}
		s->padding = n;
	}
	p = params == NULL ? NULL : OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
	if (p != NULL) {
		if (p->data_type == OSSL_PARAM_UTF8_STRING) {
			text = p->data;
			s->salt_fits = text != NULL && strcmp(text, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0;
		} else {
			s->salt_fits = OSSL_PARAM_get_int(p, &n) == 1 && n == RSA_PSS_SALTLEN_DIGEST;
		}
	}
	return 1;
}

static const OSSL_PARAM *
signature_settable(void *context, void *provider)
{
	static const OSSL_PARAM types[] = {
	    {OSSL_SIGNATURE_PARAM_PAD_MODE, OSSL_PARAM_UTF8_STRING, NULL, 0, 0},
	    {OSSL_SIGNATURE_PARAM_PSS_SALTLEN, OSSL_PARAM_UTF8_STRING, NULL, 0, 0},
	    {NULL, 0, NULL, 0, 0},
	};
	(void)context;
	(void)provider;
	return types;
}

static int
signature_begin(void *context, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signature *s = context;
	*s = (struct signature){.key = key, .padding = PADDING_PKCS1};
	s->bits =
	    digest == NULL                                                                             ? 0
	    : OPENSSL_strcasecmp(digest, "SHA256") == 0 || OPENSSL_strcasecmp(digest, "SHA2-256") == 0 ? 256
	    : OPENSSL_strcasecmp(digest, "SHA384") == 0 || OPENSSL_strcasecmp(digest, "SHA2-384") == 0 ? 384
	    : OPENSSL_strcasecmp(digest, "SHA512") == 0 || OPENSSL_strcasecmp(digest, "SHA2-512") == 0 ? 512
												       : 0;
	return key != NULL && s->bits != 0 && signature_set(s, params) == 1;
}

/* SignatureScheme, RFC 8446 section 4.2.3; 0 for what has none. */
static unsigned
scheme_of(const struct signature *s)
{
	unsigned step = s->bits == 256 ? 0 : s->bits == 384 ? 1 : 2;
	if (EVP_PKEY_is_a(s->key->public_half, "EC")) {
		return 0x0403 + 0x100 * step;
	}
	if (s->padding == PADDING_PSS) {
		return s->salt_fits ? 0x0804 + step : 0;
	}
	return 0x0401 + 0x100 * step;
}

static int
signature_sign(void *context, unsigned char *out, size_t *len, size_t room, const unsigned char *content,
	       size_t content_len)
{
	struct signature *s = context;
	int most = EVP_PKEY_get_size(s->key->public_half);
	unsigned scheme = scheme_of(s);
	if (most <= 0 || scheme == 0) {
		return 0;
	}
	if (out == NULL) {
		*len = (size_t)most;
		return 1;
	}
	struct buf made = BUF_INIT(TLS_SIGNATURE_MAX);
	enum err e = s->key->signer->sign(s->key->signer->arg, s->key->id, scheme,
					  bytes_of(content, content_len), &made);
	bool ok = e == ERR_OK && made.len > 0 && made.len <= room && made.len <= (size_t)most;
	if (ok) {
		memcpy(out, made.ptr, made.len);
		*len = made.len;
	}
	buf_clear(&made);
	return ok;
}

static const OSSL_DISPATCH signing[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, FN(signature_new)},
    {OSSL_FUNC_SIGNATURE_FREECTX, FN(signature_free)},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, FN(signature_begin)},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, FN(signature_sign)},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, FN(signature_set)},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, FN(signature_settable)},
    {0, NULL},
};

/* ---- the provider ---- */

static const OSSL_ALGORITHM *
query(void *provider, int operation, int *no_cache)
{
	/* The names of the default provider's, by which libssl knows a key's kind. */
	static const OSSL_ALGORITHM keys[] = {
	    {"EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=cohue-remote", ec_key, NULL},
	    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=cohue-remote", rsa_key, NULL},
	    {NULL, NULL, NULL, NULL},
	};
	static const OSSL_ALGORITHM signatures[] = {
	    {"ECDSA", "provider=cohue-remote", signing, NULL},
	    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=cohue-remote", signing, NULL},
	    {NULL, NULL, NULL, NULL},
	};
	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int
provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ret)
{
	static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, FN(query)}, {0, NULL}};
	static char state; /* there is none; but it must not be NULL */
	(void)core;
	(void)in;
	*out = functions;
	*ret = &state;
	return 1;
}

/* Once for the process, which keeps it. */
static OSSL_LIB_CTX *
library(void)
{
	static OSSL_LIB_CTX *ctx;
	if (ctx == NULL) {
		ctx = OSSL_LIB_CTX_new();
		if (ctx != NULL && (OSSL_PROVIDER_add_builtin(ctx, provider_name, provider_init) != 1 ||
				    OSSL_PROVIDER_load(ctx, provider_name) == NULL)) {
			OSSL_LIB_CTX_free(ctx);
			ctx = NULL;
		}
	}
	return ctx;
}

enum err
tls_remote_key(struct x509_st *leaf, const struct tls_signer *signer, struct evp_pkey_st **ret)
{
	EVP_PKEY *public_half = X509_get0_pubkey(leaf);
	const char *kind = public_half == NULL                 ? NULL
			   : EVP_PKEY_is_a(public_half, "EC")  ? "EC"
			   : EVP_PKEY_is_a(public_half, "RSA") ? "RSA"
							       : NULL;
	if (kind == NULL) {
		return ERR_UNSUPPORTED;
	}
	OSSL_LIB_CTX *ctx = library();
	EVP_PKEY_CTX *maker = ctx == NULL ? NULL : EVP_PKEY_CTX_new_from_name(ctx, kind, NULL);
	void *leaf_at = leaf;
	void *signer_at = (void *)(uintptr_t)signer;
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_ptr(param_leaf, &leaf_at, sizeof(leaf_at)),
	    OSSL_PARAM_construct_octet_ptr(param_signer, &signer_at, sizeof(signer_at)),
	    OSSL_PARAM_construct_end(),
	};
	EVP_PKEY *key = NULL;
	bool ok = maker != NULL && EVP_PKEY_fromdata_init(maker) == 1 &&
		  EVP_PKEY_fromdata(maker, &key, EVP_PKEY_KEYPAIR, params) == 1;
	EVP_PKEY_CTX_free(maker);
	ERR_clear_error();
	if (!ok) {
		EVP_PKEY_free(key);
		return ERR_MEMORY;
	}
	*ret = key;
	return ERR_OK;
}
