/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/tls_keys.h"

#include "base/openssl.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "loop/tls.h"

static struct bytes
verify(uint8_t out[130])
{
	static const char context[] = "TLS 1.3, server CertificateVerify";
	memset(out, ' ', 64);
	memcpy(out + 64, context, sizeof(context));
	memset(out + 98, 7, 32);
	return bytes_of(out, 130);
}

static struct bytes
exchange(uint8_t out[100])
{
	memset(out, 9, 100);
	memcpy(out + 64, "\3\0\x1d\x20", 4);
	return bytes_of(out, 100);
}

static struct tls_pair *
make(uint8_t id[TLS_KEY_ID], EVP_PKEY **ret_public)
{
	struct buf key = BUF_INIT(65536);
	struct buf chain = BUF_INIT(65536);
	struct tls_pair *pair = NULL;
	assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &key, &chain), ERR_OK);
	assert_int_equal(tls_pair_create(buf_bytes(&key), buf_bytes(&chain), &pair), ERR_OK);
	assert_int_equal(tls_key_id(buf_bytes(&chain), id), ERR_OK);
	if (ret_public != NULL) {
		BIO *in = BIO_new_mem_buf(chain.ptr, (int)chain.len);
		X509 *leaf = PEM_read_bio_X509(in, NULL, NULL, NULL);
		*ret_public = X509_get_pubkey(leaf);
		X509_free(leaf);
		(void)BIO_free(in);
	}
	buf_wipe(&key);
	buf_clear(&chain);
	return pair;
}

static void
a_signature_is_over_the_content_and_fits_the_certificate(void **state)
{
	struct tls_keys keys = {.of = {{.now = NULL}}};
	uint8_t id[TLS_KEY_ID];
	uint8_t area[130];
	EVP_PKEY *public_half = NULL;
	struct buf out = BUF_INIT(TLS_SIGNATURE_MAX);
	(void)state;
	struct tls_pair *pair = make(id, &public_half);
	tls_keys_put(&keys, TLS_KIND_MEMBER, &pair);
	struct bytes content = verify(area);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MEMBER, false, id, 0x0403, content, &out), ERR_OK);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, public_half), 1);
	assert_int_equal(EVP_DigestVerify(ctx, out.ptr, out.len, content.ptr, content.len), 1);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(public_half);
	buf_clear(&out);
	tls_pair_destroy(&keys.of[TLS_KIND_MEMBER].now);
}

static void
what_a_captured_gate_might_ask_for_is_denied(void **state)
{
	struct tls_keys keys = {.of = {{.now = NULL}}};
	uint8_t id[TLS_KEY_ID];
	uint8_t other[TLS_KEY_ID] = {1};
	uint8_t area[130];
	uint8_t old[100];
	struct buf out = BUF_INIT(TLS_SIGNATURE_MAX);
	(void)state;
	struct tls_pair *pair = make(id, NULL);
	tls_keys_put(&keys, TLS_KIND_MEMBER, &pair);
	struct bytes content = verify(area);
	/* No text, no digest alone, no scheme of another key, nor of TLS 1.2 where only 1.3 is spoken, nor the other gate's. */
	assert_int_equal(
	    tls_keys_sign(&keys, TLS_KIND_MEMBER, true, id, 0x0403, BYTES_LIT("header.claims"), &out),
	    ERR_DENIED);
	assert_int_equal(
	    tls_keys_sign(&keys, TLS_KIND_MEMBER, true, id, 0x0403, bytes_slice(content, 98, 32), &out),
	    ERR_DENIED);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MEMBER, false, id, 0x0804, content, &out), ERR_DENIED);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MEMBER, false, id, 0x0203, content, &out), ERR_DENIED);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MEMBER, false, id, 0x0403, exchange(old), &out),
			 ERR_DENIED);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MX, true, id, 0x0403, content, &out), ERR_NOT_FOUND);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MEMBER, true, other, 0x0403, content, &out),
			 ERR_NOT_FOUND);
	assert_int_equal(out.len, 0);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MEMBER, true, id, 0x0403, exchange(old), &out),
			 ERR_OK);
	buf_clear(&out);
	tls_pair_destroy(&keys.of[TLS_KIND_MEMBER].now);
}

static void
the_key_before_signs_until_it_is_forgotten(void **state)
{
	struct tls_keys keys = {.of = {{.now = NULL}}};
	uint8_t first[TLS_KEY_ID];
	uint8_t second[TLS_KEY_ID];
	uint8_t area[130];
	struct buf out = BUF_INIT(TLS_SIGNATURE_MAX);
	(void)state;
	struct bytes content = verify(area);
	struct tls_pair *pair = make(first, NULL);
	tls_keys_put(&keys, TLS_KIND_MX, &pair);
	pair = make(second, NULL);
	tls_keys_put(&keys, TLS_KIND_MX, &pair);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MX, true, first, 0x0403, content, &out), ERR_OK);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MX, true, second, 0x0403, content, &out), ERR_OK);
	tls_keys_forget(&keys);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MX, true, first, 0x0403, content, &out),
			 ERR_NOT_FOUND);
	assert_int_equal(tls_keys_sign(&keys, TLS_KIND_MX, true, second, 0x0403, content, &out), ERR_OK);
	assert_false(tls_keys_complete(&keys));
	buf_clear(&out);
	tls_pair_destroy(&keys.of[TLS_KIND_MX].now);
}

static void
pairs_that_do_not_fit_or_are_weak_are_refused(void **state)
{
	struct buf keys[2] = {BUF_INIT(65536), BUF_INIT(65536)};
	struct buf chains[2] = {BUF_INIT(65536), BUF_INIT(65536)};
	struct tls_pair *pair = NULL;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &keys[i], &chains[i]),
				 ERR_OK);
	}
	assert_int_equal(tls_pair_create(buf_bytes(&keys[0]), buf_bytes(&chains[1]), &pair), ERR_AUTH);
	assert_int_equal(tls_pair_create(BYTES_LIT("no key"), buf_bytes(&chains[1]), &pair), ERR_FORMAT);
	assert_int_equal(tls_pair_create(buf_bytes(&keys[0]), BYTES_LIT("no chain"), &pair), ERR_FORMAT);
	assert_int_equal(tls_pair_create(BYTES_EMPTY, BYTES_EMPTY, &pair), ERR_FORMAT);
	EVP_PKEY *weak = EVP_RSA_gen(1024);
	BIO *pem = BIO_new(BIO_s_mem());
	char *text = NULL;
	assert_int_equal(PEM_write_bio_PrivateKey(pem, weak, NULL, NULL, 0, NULL, NULL), 1);
	long n = BIO_get_mem_data(pem, &text);
	assert_int_equal(tls_pair_create(bytes_of(text, (size_t)n), buf_bytes(&chains[0]), &pair),
			 ERR_UNSUPPORTED);
	assert_null(pair);
	(void)BIO_free(pem);
	EVP_PKEY_free(weak);
	for (size_t i = 0; i < 2; i++) {
		buf_wipe(&keys[i]);
		buf_clear(&chains[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_signature_is_over_the_content_and_fits_the_certificate),
	    cmocka_unit_test(what_a_captured_gate_might_ask_for_is_denied),
	    cmocka_unit_test(the_key_before_signs_until_it_is_forgotten),
	    cmocka_unit_test(pairs_that_do_not_fit_or_are_weak_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
