/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/tls_content.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static size_t
verify(uint8_t out[256], const char *context, size_t hash)
{
	size_t n = strlen(context) + 1;
	memset(out, ' ', 64);
	memcpy(out + 64, context, n);
	memset(out + 64 + n, 0xab, hash);
	return 64 + n + hash;
}

static size_t
exchange(uint8_t out[256], uint8_t type, uint16_t group, uint8_t len, uint8_t first)
{
	memset(out, 0x5a, 64);
	out[64] = type;
	out[65] = (uint8_t)(group >> 8);
	out[66] = (uint8_t)group;
	out[67] = len;
	memset(out + 68, 0x77, len);
	out[68] = first;
	return 68U + len;
}

static enum tls_content
kind_of(const uint8_t *data, size_t n)
{
	return tls_content_kind(bytes_of(data, n));
}

static void
a_server_s_certificate_verify_is_signed_with_either_hash(void **state)
{
	uint8_t out[256];
	(void)state;
	assert_int_equal(kind_of(out, verify(out, "TLS 1.3, server CertificateVerify", 32)), TLS_CONTENT_13);
	assert_int_equal(kind_of(out, verify(out, "TLS 1.3, server CertificateVerify", 48)), TLS_CONTENT_13);
	static const size_t others[] = {0, 20, 31, 33, 47, 49, 64};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(kind_of(out, verify(out, "TLS 1.3, server CertificateVerify", others[i])),
				 TLS_CONTENT_NONE);
	}
}

static void
a_client_s_and_any_other_context_are_not(void **state)
{
	uint8_t out[256];
	(void)state;
	/* The client's has the same length: it would let who holds the gate log in elsewhere as this house. */
	assert_int_equal(kind_of(out, verify(out, "TLS 1.3, client CertificateVerify", 32)),
			 TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, verify(out, "TLS 1.4, server CertificateVerify", 32)),
			 TLS_CONTENT_NONE);
	size_t n = verify(out, "TLS 1.3, server CertificateVerify", 32);
	for (size_t i = 0; i < 98; i++) {
		out[i] ^= 1;
		assert_int_equal(kind_of(out, n), TLS_CONTENT_NONE);
		out[i] ^= 1;
	}
	assert_int_equal(kind_of(out, n), TLS_CONTENT_13);
}

static void
a_server_key_exchange_is_signed_for_the_groups_that_are_offered(void **state)
{
	uint8_t out[256];
	(void)state;
	assert_int_equal(kind_of(out, exchange(out, 3, 29, 32, 0)), TLS_CONTENT_12);
	assert_int_equal(kind_of(out, exchange(out, 3, 23, 65, 4)), TLS_CONTENT_12);
	assert_int_equal(kind_of(out, exchange(out, 3, 24, 97, 4)), TLS_CONTENT_12);
	/* A curve written out, another group, another length, a compressed point. */
	assert_int_equal(kind_of(out, exchange(out, 1, 23, 65, 4)), TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, exchange(out, 3, 25, 133, 4)), TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, exchange(out, 3, 0x0117, 65, 4)), TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, exchange(out, 3, 23, 64, 4)), TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, exchange(out, 3, 23, 65, 2)), TLS_CONTENT_NONE);
	size_t n = exchange(out, 3, 29, 32, 0);
	out[n] = 0;
	assert_int_equal(kind_of(out, n + 1), TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, n - 1), TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, 67), TLS_CONTENT_NONE);
	assert_int_equal(kind_of(out, 0), TLS_CONTENT_NONE);
}

static void
what_else_keys_sign_is_not_signed(void **state)
{
	static const char *const texts[] = {
	    "eyJhbGciOiJFUzI1NiJ9."
	    "eyJpc3MiOiJzb21lYm9keSIsInN1YiI6InNvbWVib2R5IGVsc2UiLCJhdWQiOiJhIHNlcnZlciJ9",
	    "from:Alice <alice@house.test>\r\nto:bob@far.test\r\nsubject:Money\r\ndkim-signature:v=1; "
	    "a=rsa-sha256; "
	    "d=house.test; s=x; h=from:to:subject; bh=; b=",
	    "0\202\001\042 a certificate's first octets, and more of it than a hash has, for good measure: "
	    "0123456789",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		for (size_t n = 0; n <= strlen(texts[i]); n++) {
			assert_int_equal(kind_of((const uint8_t *)texts[i], n), TLS_CONTENT_NONE);
		}
	}
}

static void
schemes_are_those_of_the_version(void **state)
{
	struct tls_scheme how;
	(void)state;
	assert_int_equal(tls_scheme_read(0x0403, TLS_CONTENT_13, &how), ERR_OK);
	assert_true(!how.rsa && how.bits == 256);
	assert_int_equal(tls_scheme_read(0x0805, TLS_CONTENT_13, &how), ERR_OK);
	assert_true(how.rsa && how.pss && how.bits == 384);
	/* PKCS #1 v1.5 (RFC 8446 section 4.4.3) in TLS 1.2 alone; SHA-1 and SHA-224 never. */
	assert_int_equal(tls_scheme_read(0x0401, TLS_CONTENT_13, &how), ERR_DENIED);
	assert_int_equal(tls_scheme_read(0x0401, TLS_CONTENT_12, &how), ERR_OK);
	assert_true(how.rsa && !how.pss);
	assert_int_equal(tls_scheme_read(0x0201, TLS_CONTENT_12, &how), ERR_DENIED);
	assert_int_equal(tls_scheme_read(0x0203, TLS_CONTENT_12, &how), ERR_DENIED);
	assert_int_equal(tls_scheme_read(0x0303, TLS_CONTENT_12, &how), ERR_DENIED);
	assert_int_equal(tls_scheme_read(0x0403, TLS_CONTENT_NONE, &how), ERR_DENIED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_server_s_certificate_verify_is_signed_with_either_hash),
	    cmocka_unit_test(a_client_s_and_any_other_context_are_not),
	    cmocka_unit_test(a_server_key_exchange_is_signed_for_the_groups_that_are_offered),
	    cmocka_unit_test(what_else_keys_sign_is_not_signed),
	    cmocka_unit_test(schemes_are_those_of_the_version),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
