/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * OpenSSL 3 tries all its decoders on each key, which takes five times as long as to check a signature with it. What nearly everybody
 * publishes is read here, strictly; whatever differs by one octet is OpenSSL's to judge.
 */
#include "authentication/rsa_key.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/x509.h>

enum {
	TAG_INTEGER = 0x02,
	TAG_BITS = 0x03,
	TAG_SEQUENCE = 0x30,
	MODULUS_MAX = 1024, /* octets */
	EXPONENT_MAX = 4
};

/* Takes one element with a length in DER's shortest form off the front. */
static bool
take(struct bytes *in, uint8_t tag, struct bytes *ret)
{
	size_t head = 2;
	if (in->len < 2 || in->ptr[0] != tag) {
		return false;
	}
	size_t len = in->ptr[1];
	if (len == 0x81 && in->len > 2 && in->ptr[2] >= 0x80) {
		len = in->ptr[2];
		head = 3;
	} else if (len == 0x82 && in->len > 3 && in->ptr[2] != 0) {
		len = (size_t)in->ptr[2] << 8 | in->ptr[3];
		head = 4;
	} else if (len >= 0x80) {
		return false;
	}
	if (in->len - head < len) {
		return false;
	}
	*ret = bytes_slice(*in, head, len);
	*in = bytes_from(*in, head + len);
	return true;
}

/* A positive number in the shortest form, without the octet that only says that it is positive. */
static bool
take_number(struct bytes *in, struct bytes *ret)
{
	struct bytes n;
	if (!take(in, TAG_INTEGER, &n) || n.len == 0 || n.ptr[0] >= 0x80) {
		return false;
	}
	if (n.ptr[0] == 0) {
		if (n.len < 2 || n.ptr[1] < 0x80) {
			return false;
		}
		n = bytes_from(n, 1);
	}
	*ret = n;
	return true;
}

static bool
is_rsa(struct bytes algorithm)
{
	/* rsaEncryption, with NULL as its parameters. */
	static const uint8_t rsa[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
				      0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
	return bytes_equal(algorithm, bytes_of(rsa, sizeof(rsa)));
}

static bool
read_numbers(struct bytes der, struct bytes *ret_modulus, struct bytes *ret_exponent)
{
	struct bytes outer;
	struct bytes algorithm;
	struct bytes bits;
	struct bytes key = der;
	if (!take(&der, TAG_SEQUENCE, &outer) || der.len > 0) {
		return false;
	}
	if (take(&outer, TAG_SEQUENCE, &algorithm)) {
		if (!is_rsa(algorithm) || !take(&outer, TAG_BITS, &bits) || outer.len > 0 || bits.len == 0 ||
		    bits.ptr[0] != 0) {
			return false;
		}
		key = bytes_from(bits, 1);
	}
	return take(&key, TAG_SEQUENCE, &outer) && key.len == 0 && take_number(&outer, ret_modulus) &&
	       take_number(&outer, ret_exponent) && outer.len == 0;
}

/* OpenSSL wants numbers in the machine's own order. */
static void
to_native(struct bytes n, uint8_t *out)
{
	const uint16_t probe = 1;
	bool little = *(const uint8_t *)&probe == 1;
	for (size_t i = 0; i < n.len; i++) {
		out[i] = n.ptr[little ? n.len - 1 - i : i];
	}
}

static EVP_PKEY *
make(struct bytes modulus, struct bytes exponent)
{
	uint8_t n[MODULUS_MAX];
	uint8_t e[EXPONENT_MAX];
	EVP_PKEY *key = NULL;
	to_native(modulus, n);
	to_native(exponent, e);
	OSSL_PARAM parts[] = {OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, modulus.len),
			      OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, exponent.len),
			      OSSL_PARAM_construct_end()};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, parts) != 1) {
		key = NULL;
	}
	EVP_PKEY_CTX_free(ctx);
	return key;
}

EVP_PKEY *
rsa_key_read(struct bytes der)
{
	struct bytes modulus;
	struct bytes exponent;
	EVP_PKEY *key = NULL;
	const unsigned char *at = der.ptr;
	if (read_numbers(der, &modulus, &exponent) && modulus.len <= MODULUS_MAX &&
	    exponent.len <= EXPONENT_MAX) {
		key = make(modulus, exponent);
	}
	if (key == NULL) {
		key = d2i_PUBKEY(NULL, &at, (long)der.len);
	}
	if (key == NULL) {
		at = der.ptr;
		key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)der.len);
	}
	ERR_clear_error();
	return key;
}
