/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/tls.h"

#include "base/openssl.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "loop/internal.h"

/* The other process, played here. */
struct keeper {
	EVP_PKEY *key;
	enum err fails;
	unsigned asked;
	unsigned scheme;
	uint8_t id[TLS_KEY_ID];
	uint8_t content[512];
	size_t content_len;
};

static enum err
sign(void *arg, const uint8_t key_id[TLS_KEY_ID], unsigned scheme, struct bytes content, struct buf *ret)
{
	struct keeper *k = arg;
	uint8_t out[TLS_SIGNATURE_MAX];
	size_t len = sizeof(out);
	EVP_PKEY_CTX *options = NULL;
	k->asked++;
	k->scheme = scheme;
	memcpy(k->id, key_id, TLS_KEY_ID);
	assert_in_range(content.len, 1, sizeof(k->content));
	memcpy(k->content, content.ptr, content.len);
	k->content_len = content.len;
	if (k->fails != ERR_OK) {
		return k->fails;
	}
	const char *digest =
	    (scheme & 0xff00) == 0x0800
		? ((const char *const[]){"SHA256", "SHA384", "SHA512"})[(scheme - 0x0804) % 3]
		: ((const char *const[]){"SHA256", "SHA384", "SHA512"})[((scheme >> 8) - 4) % 3];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestSignInit_ex(ctx, &options, digest, NULL, NULL, k->key, NULL), 1);
	if ((scheme & 0xff00) == 0x0800) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST), 1);
	}
	assert_int_equal(EVP_DigestSign(ctx, out, &len, content.ptr, content.len), 1);
	EVP_MD_CTX_free(ctx);
	return buf_append(ret, bytes_of(out, len));
}

static EVP_PKEY *
read_key(struct bytes pem)
{
	BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	(void)BIO_free(in);
	assert_non_null(key);
	return key;
}

/* A certificate for the key: one of ours, with its public half exchanged. */
static void
make_chain(EVP_PKEY *key, struct buf *chain)
{
	struct buf unused = BUF_INIT(65536);
	struct buf made = BUF_INIT(65536);
	char *text = NULL;
	assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &unused, &made), ERR_OK);
	BIO *in = BIO_new_mem_buf(made.ptr, (int)made.len);
	X509 *leaf = PEM_read_bio_X509(in, NULL, NULL, NULL);
	BIO *out = BIO_new(BIO_s_mem());
	assert_int_equal(X509_set_pubkey(leaf, key), 1);
	assert_true(X509_sign(leaf, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(out, leaf), 1);
	long n = BIO_get_mem_data(out, &text);
	assert_int_equal(buf_append(chain, bytes_of(text, (size_t)n)), ERR_OK);
	X509_free(leaf);
	(void)BIO_free(in);
	(void)BIO_free(out);
	buf_wipe(&unused);
	buf_clear(&made);
}

/* A whole handshake between two ends in memory; true: both have completed it, and the client has checked the signature. */
static bool
shake(struct tls_context *server, struct tls_context *client)
{
	SSL *s = SSL_new(tls_context_ssl(server));
	SSL *c = SSL_new(tls_context_ssl(client));
	BIO *a = NULL;
	BIO *b = NULL;
	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(s, a, a);
	SSL_set_bio(c, b, b);
	SSL_set_accept_state(s);
	SSL_set_connect_state(c);
	for (int i = 0; i < 20; i++) {
		(void)SSL_do_handshake(c);
		(void)SSL_do_handshake(s);
	}
	bool done = SSL_is_init_finished(s) == 1 && SSL_is_init_finished(c) == 1;
	SSL_free(s);
	SSL_free(c);
	ERR_clear_error();
	return done;
}

static void
try(EVP_PKEY *key, enum tls_version version, unsigned scheme)
{
	struct buf chain = BUF_INIT(65536);
	struct keeper k = {.key = key};
	struct tls_signer signer = {.sign = sign, .arg = &k};
	struct tls_context *server = NULL;
	struct tls_context *client = NULL;
	uint8_t id[TLS_KEY_ID];
	make_chain(key, &chain);
	struct tls_server_settings settings = {
	    .signer = &signer, .chain_pem = buf_bytes(&chain), .minimum = TLS_1_2};
	assert_int_equal(tls_server_create(&settings, &server), ERR_OK);
	assert_int_equal(tls_client_create(TLS_1_2, BYTES_EMPTY, &client), ERR_OK);
	assert_int_equal(tls_context_limit(client, version), ERR_OK);
	assert_true(shake(server, client));
	assert_int_equal(k.asked, 1);
	assert_int_equal(k.scheme, scheme);
	assert_int_equal(tls_key_id(buf_bytes(&chain), id), ERR_OK);
	assert_memory_equal(k.id, id, sizeof(id));
	/* What is to be signed, not its digest. */
	if (version == TLS_1_3) {
		assert_memory_equal(k.content + 64, "TLS 1.3, server CertificateVerify", 34);
		assert_int_equal(k.content_len, 98 + 32);
	} else {
		assert_memory_equal(k.content + 64, "\3\0\x1d\x20", 4);
		assert_int_equal(k.content_len, 100);
	}
	/* Without a signature there is no handshake. */
	k.fails = ERR_DENIED;
	assert_false(shake(server, client));
	tls_context_destroy(&server);
	tls_context_destroy(&client);
	buf_clear(&chain);
}

static void
p256_signs_elsewhere(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	(void)state;
	try(key, TLS_1_3, 0x0403);
	try(key, TLS_1_2, 0x0403);
	EVP_PKEY_free(key);
}

static void
p384_signs_elsewhere(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-384");
	(void)state;
	try(key, TLS_1_3, 0x0503);
	EVP_PKEY_free(key);
}

static void
rsa_signs_elsewhere(void **state)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	(void)state;
	try(key, TLS_1_3, 0x0804);
	try(key, TLS_1_2, 0x0804);
	EVP_PKEY_free(key);
}

static void
a_context_that_is_replaced_shows_the_new_certificate_and_old_connections_go_on(void **state)
{
	struct buf keys[2] = {BUF_INIT(65536), BUF_INIT(65536)};
	struct buf chains[2] = {BUF_INIT(65536), BUF_INIT(65536)};
	struct keeper k[2] = {{.asked = 0}, {.asked = 0}};
	struct tls_signer signers[2] = {{.sign = sign, .arg = &k[0]}, {.sign = sign, .arg = &k[1]}};
	struct tls_context *contexts[2] = {NULL, NULL};
	struct tls_context *client = NULL;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &keys[i], &chains[i]),
				 ERR_OK);
		k[i].key = read_key(buf_bytes(&keys[i]));
		struct tls_server_settings settings = {.signer = &signers[i],
						       .chain_pem = buf_bytes(&chains[i]),
						       .minimum = TLS_1_3,
						       .tickets = true};
		assert_int_equal(tls_server_create(&settings, &contexts[i]), ERR_OK);
	}
	assert_int_equal(tls_client_create(TLS_1_3, BYTES_EMPTY, &client), ERR_OK);
	assert_true(shake(contexts[0], client));
	SSL *begun = SSL_new(tls_context_ssl(contexts[0]));
	tls_context_replace(contexts[0], &contexts[1]);
	assert_null(contexts[1]);
	assert_true(shake(contexts[0], client));
	assert_int_equal(k[0].asked, 1);
	assert_int_equal(k[1].asked, 1);
	/* One that had begun keeps its certificate, and the key that belongs to it. */
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(SSL_get_certificate(begun)), k[0].key), 1);
	SSL_free(begun);
	tls_context_destroy(&contexts[0]);
	tls_context_destroy(&client);
	for (size_t i = 0; i < 2; i++) {
		EVP_PKEY_free(k[i].key);
		buf_wipe(&keys[i]);
		buf_clear(&chains[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(p256_signs_elsewhere),
	    cmocka_unit_test(p384_signs_elsewhere),
	    cmocka_unit_test(rsa_signs_elsewhere),
	    cmocka_unit_test(a_context_that_is_replaced_shows_the_new_certificate_and_old_connections_go_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
