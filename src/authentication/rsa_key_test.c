/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "authentication/rsa_key.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

enum { DER_MAX = 1024 };

/* What OpenSSL alone makes of it. */
static EVP_PKEY *
by_openssl(const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)len);
	if (key == NULL) {
		at = der;
		key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)len);
	}
	return key;
}

static void
keys_of_both_forms_and_of_all_sizes_are_what_openssl_makes_of_them(void **state)
{
	static const unsigned sizes[] = {512, 768, 1024, 1032, 2048, 4096};
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		EVP_PKEY *key = EVP_RSA_gen(sizes[i]);
		assert_non_null(key);
		for (unsigned form = 0; form < 2; form++) {
			unsigned char *der = NULL;
			int len = form == 0 ? i2d_PUBKEY(key, &der) : i2d_PublicKey(key, &der);
			assert_true(len > 0);
			EVP_PKEY *read = rsa_key_read(bytes_of(der, (size_t)len));
			assert_non_null(read);
			assert_int_equal(EVP_PKEY_eq(read, key), 1);
			EVP_PKEY_free(read);
			OPENSSL_free(der);
		}
		EVP_PKEY_free(key);
	}
}

static void
whatever_octet_differs_openssl_would_say_the_same(void **state)
{
	static const uint8_t masks[] = {0x01, 0x80, 0xff};
	uint8_t changed[DER_MAX];
	unsigned char *der = NULL;
	EVP_PKEY *key = EVP_RSA_gen(1024);
	(void)state;
	int made = i2d_PUBKEY(key, &der);
	assert_true(made > 0 && made < DER_MAX);
	size_t len = (size_t)made;
	/* The structure: all but the middle of the modulus. */
	for (size_t i = 0; i < len; i += i == 40 ? len - 52 : 1) {
		for (size_t m = 0; m < sizeof(masks); m++) {
			memcpy(changed, der, len);
			changed[i] ^= masks[m];
			EVP_PKEY *ours = rsa_key_read(bytes_of(changed, len));
			EVP_PKEY *theirs = by_openssl(changed, len);
			assert_int_equal(ours == NULL, theirs == NULL);
			assert_true(ours == NULL || EVP_PKEY_eq(ours, theirs) == 1);
			EVP_PKEY_free(ours);
			EVP_PKEY_free(theirs);
		}
	}
	for (size_t cut = 0; cut < len; cut++) {
		EVP_PKEY *ours = rsa_key_read(bytes_of(der, cut));
		assert_null(ours);
	}
	OPENSSL_free(der);
	EVP_PKEY_free(key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_of_both_forms_and_of_all_sizes_are_what_openssl_makes_of_them),
	    cmocka_unit_test(whatever_octet_differs_openssl_would_say_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
