/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/acme.h"

#include "base/openssl.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "loop/tls.h"

#define NOW ((msec)1800000000 * MSEC_SECOND)

static const struct acme_names two = {.of = {"mail.house.test", "mta-sts.house.test"}, .count = 2};
static const struct acme_names one = {.of = {"mail.house.test"}, .count = 1};

/* base64url to octets */
static void
decode(struct bytes text, struct buf *out)
{
	struct buf padded = BUF_INIT(32 * 1024);
	assert_int_equal(buf_append(&padded, text), ERR_OK);
	for (size_t i = 0; i < padded.len; i++) {
		padded.ptr[i] = padded.ptr[i] == '-' ? '+' : padded.ptr[i] == '_' ? '/' : padded.ptr[i];
	}
	while (padded.len % 4 != 0) {
		assert_int_equal(buf_append_byte(&padded, '='), ERR_OK);
	}
	assert_int_equal(buf_append_unbase64(out, buf_bytes(&padded)), ERR_OK);
	buf_clear(&padded);
}

static void
part(struct bytes body, const char *name, struct buf *text, struct buf *plain)
{
	assert_int_equal(json_string(json_member(body, name), text), ERR_OK);
	decode(buf_bytes(text), plain);
}

struct request {
	struct buf body, head64, payload64, signature64, head, payload, signature;
};

static void
clear(struct request *r)
{
	struct buf *const all[] = {&r->body, &r->head64,  &r->payload64, &r->signature64,
				   &r->head, &r->payload, &r->signature};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		buf_clear(all[i]);
	}
}

static void
ask(const struct acme_account *a, const struct acme_order *o, struct request *r)
{
	struct buf *const all[] = {&r->body, &r->head64,  &r->payload64, &r->signature64,
				   &r->head, &r->payload, &r->signature};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		buf_init(all[i], 32 * 1024);
	}
	assert_int_equal(acme_write(a, o, &r->body), ERR_OK);
	struct bytes body = buf_bytes(&r->body);
	assert_int_equal(json_check(body), ERR_OK);
	part(body, "protected", &r->head64, &r->head);
	part(body, "payload", &r->payload64, &r->payload);
	part(body, "signature", &r->signature64, &r->signature);
	assert_int_equal(json_check(buf_bytes(&r->head)), ERR_OK);
}

/* RFC 7515 section 5.2, RFC 7518 section 3.4 */
static bool
verifies(const struct acme_account *a, const struct request *r)
{
	struct buf content = BUF_INIT(64 * 1024);
	unsigned char *der = NULL;
	assert_int_equal(r->signature.len, 64);
	ECDSA_SIG *s = ECDSA_SIG_new();
	assert_int_equal(ECDSA_SIG_set0(s, BN_bin2bn(r->signature.ptr, 32, NULL),
					BN_bin2bn(r->signature.ptr + 32, 32, NULL)),
			 1);
	int n = i2d_ECDSA_SIG(s, &der);
	assert_int_equal(buf_printf(&content, "%.*s.%.*s", (int)r->head64.len, (const char *)r->head64.ptr,
				    (int)r->payload64.len, (const char *)r->payload64.ptr),
			 ERR_OK);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, a->key), 1);
	bool fits = EVP_DigestVerify(ctx, der, (size_t)n, content.ptr, content.len) == 1;
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG_free(s);
	OPENSSL_free(der);
	buf_clear(&content);
	return fits;
}

static struct acme_order
order(enum acme_request what)
{
	return (struct acme_order){
	    .what = what,
	    .url = BYTES_LIT("https://ca.test:14000/x"),
	    .nonce = BYTES_LIT("n0-n_ce"),
	    .account = what == ACME_NEW_ACCOUNT ? BYTES_EMPTY : BYTES_LIT("https://ca.test:14000/me"),
	    .contact = "",
	    .names = &two};
}

static struct acme_account
account(void)
{
	struct acme_account a = {.key = NULL};
	struct buf pem = BUF_INIT(4096);
	assert_int_equal(acme_account_make(&a, &pem), ERR_OK);
	buf_wipe(&pem);
	return a;
}

static void
each_request_says_who_asks_where_and_what_and_is_signed(void **state)
{
	static const struct {
		enum acme_request what;
		const char *payload;
	} rows[] = {{ACME_NEW_ACCOUNT, "{\"termsOfServiceAgreed\":true}"},
		    {ACME_NEW_ORDER, "{\"identifiers\":[{\"type\":\"dns\",\"value\":\"mail.house.test\"},"
				     "{\"type\":\"dns\",\"value\":\"mta-sts.house.test\"}]}"},
		    {ACME_GET, ""},
		    {ACME_TRY, "{}"}};
	struct acme_account a = account();
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct acme_order o = order(rows[i].what);
		struct request r;
		ask(&a, &o, &r);
		struct bytes head = buf_bytes(&r.head);
		assert_true(json_is(json_member(head, "alg"), "ES256"));
		assert_true(json_is(json_member(head, "nonce"), "n0-n_ce"));
		assert_true(json_is(json_member(head, "url"), "https://ca.test:14000/x"));
		bool first = rows[i].what == ACME_NEW_ACCOUNT;
		assert_int_equal(json_kind(json_member(head, "jwk")), first ? JSON_OBJECT : JSON_NOTHING);
		assert_int_equal(json_kind(json_member(head, "kid")), first ? JSON_NOTHING : JSON_STRING);
		assert_true(bytes_is(buf_bytes(&r.payload), rows[i].payload));
		assert_true(verifies(&a, &r));
		clear(&r);
	}
	acme_account_clear(&a);
}

static void
what_would_break_out_of_the_header_is_refused(void **state)
{
	struct acme_account a = account();
	struct buf out = BUF_INIT(32 * 1024);
	struct acme_order o = order(ACME_GET);
	(void)state;
	o.nonce = BYTES_LIT("a\",\"x\":\"");
	assert_int_equal(acme_write(&a, &o, &out), ERR_FORMAT);
	o.nonce = BYTES_EMPTY;
	assert_int_equal(acme_write(&a, &o, &out), ERR_FORMAT);
	o = order(ACME_GET);
	o.account = BYTES_EMPTY;
	assert_int_equal(acme_write(&a, &o, &out), ERR_FORMAT);
	o = order(ACME_NEW_ACCOUNT);
	o.account = BYTES_LIT("https://ca.test:14000/me");
	assert_int_equal(acme_write(&a, &o, &out), ERR_FORMAT);
	/* No other request has a payload: to revoke (RFC 8555 section 7.6) is not among them. */
	o = order(ACME_GET);
	o.what = (enum acme_request)6;
	assert_int_equal(acme_write(&a, &o, &out), ERR_FORMAT);
	assert_int_equal(out.len, 0);
	acme_account_clear(&a);
}

static void
an_account_comes_back_from_its_text_and_other_keys_do_not(void **state)
{
	struct acme_account a = {.key = NULL};
	struct acme_account b = {.key = NULL};
	struct buf pem = BUF_INIT(4096);
	(void)state;
	assert_int_equal(acme_account_make(&a, &pem), ERR_OK);
	assert_int_equal(acme_account_read(&b, buf_bytes(&pem)), ERR_OK);
	assert_memory_equal(a.thumbprint, b.thumbprint, ACME_THUMBPRINT);
	assert_int_equal(acme_account_read(&b, BYTES_LIT("no key")), ERR_FORMAT);
	assert_non_null(b.key);
	EVP_PKEY *other = EVP_EC_gen("P-384");
	BIO *text = BIO_new(BIO_s_mem());
	char *p = NULL;
	assert_int_equal(PEM_write_bio_PrivateKey(text, other, NULL, NULL, 0, NULL, NULL), 1);
	long n = BIO_get_mem_data(text, &p);
	assert_int_equal(acme_account_read(&b, bytes_of(p, (size_t)n)), ERR_FORMAT);
	(void)BIO_free(text);
	EVP_PKEY_free(other);
	acme_account_clear(&a);
	acme_account_clear(&b);
	buf_wipe(&pem);
}

static void
the_request_for_a_certificate_has_its_key_and_names(void **state)
{
	struct acme_account a = account();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct acme_order o = order(ACME_FINALIZE);
	struct request r;
	struct buf text = BUF_INIT(8192);
	struct buf der = BUF_INIT(8192);
	(void)state;
	o.key = key;
	ask(&a, &o, &r);
	part(buf_bytes(&r.payload), "csr", &text, &der);
	const unsigned char *p = der.ptr;
	X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)der.len);
	assert_non_null(req);
	assert_int_equal(X509_REQ_verify(req, key), 1);
	STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(req);
	GENERAL_NAMES *names = X509V3_get_d2i(list, NID_subject_alt_name, NULL, NULL);
	assert_int_equal(sk_GENERAL_NAME_num(names), 2);
	for (int i = 0; i < 2; i++) {
		const ASN1_STRING *name = sk_GENERAL_NAME_value(names, i)->d.dNSName;
		assert_true(bytes_is(bytes_of(ASN1_STRING_get0_data(name), (size_t)ASN1_STRING_length(name)),
				     two.of[i]));
	}
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	buf_clear(&text);
	buf_clear(&der);
	clear(&r);
	acme_account_clear(&a);
}

static X509 *
issue_of(const char *subject, const char *issuer, const char *san, EVP_PKEY *key, EVP_PKEY *signer, long from,
	 long to, bool ca)
{
	X509 *x = X509_new();
	time_t now = (time_t)(NOW / MSEC_SECOND);
	assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 7), 1);
	assert_non_null(X509_time_adj_ex(X509_getm_notBefore(x), 0, from, &now));
	assert_non_null(X509_time_adj_ex(X509_getm_notAfter(x), 0, to, &now));
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
						    (const unsigned char *)subject, -1, -1, 0),
			 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_issuer_name(x), "CN", MBSTRING_ASC,
						    (const unsigned char *)issuer, -1, -1, 0),
			 1);
	assert_int_equal(X509_set_pubkey(x, key), 1);
	if (san != NULL) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
		assert_int_equal(X509_add_ext(x, e, -1), 1);
		X509_EXTENSION_free(e);
	}
	if (ca) {
		X509_EXTENSION *e =
		    X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
		assert_int_equal(X509_add_ext(x, e, -1), 1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(x, signer, EVP_sha256()) > 0);
	return x;
}

static X509 *
issue(const char *subject, const char *issuer, const char *san, EVP_PKEY *key, EVP_PKEY *signer, long from,
      long to)
{
	return issue_of(subject, issuer, san, key, signer, from, to, san == NULL);
}

static void
put_pem(X509 *x, struct buf *out)
{
	BIO *text = BIO_new(BIO_s_mem());
	char *p = NULL;
	assert_int_equal(PEM_write_bio_X509(text, x), 1);
	long n = BIO_get_mem_data(text, &p);
	assert_int_equal(buf_append(out, bytes_of(p, (size_t)n)), ERR_OK);
	(void)BIO_free(text);
	X509_free(x);
}

static void
only_a_chain_for_this_key_and_these_names_is_taken(void **state)
{
	static const char both[] = "DNS:mail.house.test,DNS:mta-sts.house.test";
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *ca = EVP_EC_gen("P-256");
	const struct {
		const char *issuer;
		const char *san;
		EVP_PKEY *of;
		EVP_PKEY *signer;
		long from, to;
		enum err want;
	} rows[] = {
	    {"CA", both, key, ca, -60, 600, ERR_OK},
	    {"CA", both, ca, ca, -60, 600, ERR_AUTH},
	    {"CA", "DNS:mail.house.test", key, ca, -60, 600, ERR_DENIED},
	    {"CA", "DNS:*.house.test", key, ca, -60, 600, ERR_DENIED},
	    {"CA", NULL, key, ca, -60, 600, ERR_DENIED},
	    {"CA", "DNS:mail.house.test,DNS:mta-sts.house.test,DNS:other.test", key, ca, -60, 600,
	     ERR_DENIED},
	    {"CA", "DNS:mail.house.test,DNS:mta-sts.house.test,IP:192.0.2.1", key, ca, -60, 600, ERR_DENIED},
	    {"CA", both, key, ca, -600, -60, ERR_STATE},
	    {"CA", both, key, ca, 60, 600, ERR_STATE},
	    {"mail.house.test", both, key, key, -60, 600, ERR_DENIED},
	    {"CA", both, key, key, -60, 600, ERR_DAMAGED}};
	X509_STORE *roots = NULL;
	struct buf root = BUF_INIT(4096);
	(void)state;
	put_pem(issue("CA", "CA", NULL, ca, ca, -600, 6000), &root);
	assert_int_equal(acme_roots_add(buf_bytes(&root), &roots), ERR_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf pem = BUF_INIT(ACME_CHAIN_MAX);
		struct buf out = BUF_INIT(ACME_CHAIN_MAX);
		put_pem(issue("mail.house.test", rows[i].issuer, rows[i].san, rows[i].of, rows[i].signer,
			      rows[i].from, rows[i].to),
			&pem);
		put_pem(issue("CA", "CA", NULL, ca, ca, -600, 6000), &pem);
		assert_int_equal(acme_chain_check(buf_bytes(&pem), key, roots, &two, NOW, &out),
				 rows[i].want);
		assert_true((out.len > 0) == (rows[i].want == ERR_OK));
		if (out.len > 0) {
			struct acme_certificate c;
			assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&pem)));
			assert_int_equal(acme_certificate_read(buf_bytes(&out), &c), ERR_OK);
			assert_true(c.authority && c.not_before == NOW - 60000 &&
				    c.not_after == NOW + 600000);
			/* A name that was not asked for. */
			buf_reset(&out);
			assert_int_equal(acme_chain_check(buf_bytes(&pem), key, roots, &one, NOW, &out),
					 ERR_DENIED);
		}
		buf_clear(&pem);
		buf_clear(&out);
	}
	/* With it and its key others could be vouched for. */
	struct buf vouching = BUF_INIT(ACME_CHAIN_MAX);
	put_pem(issue_of("mail.house.test", "CA", both, key, ca, -60, 600, true), &vouching);
	put_pem(issue("CA", "CA", NULL, ca, ca, -600, 6000), &vouching);
	struct buf out = BUF_INIT(64);
	struct acme_certificate c;
	assert_int_equal(acme_chain_check(buf_bytes(&vouching), key, roots, &two, NOW, &out), ERR_DENIED);
	buf_clear(&vouching);
	assert_int_equal(acme_chain_check(BYTES_LIT("<html>"), key, roots, &one, NOW, &out), ERR_DAMAGED);
	assert_int_equal(acme_chain_check(BYTES_EMPTY, key, roots, &one, NOW, &out), ERR_DAMAGED);
	assert_int_equal(acme_certificate_read(BYTES_LIT("x"), &c), ERR_FORMAT);
	buf_clear(&root);
	acme_roots_destroy(&roots);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca);
}

/* Each signature of it is good: it could be of anybody who calls himself so. */
static void
a_chain_must_lead_to_an_authority_that_is_known(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *ca = EVP_EC_gen("P-256");
	EVP_PKEY *root_key = EVP_EC_gen("P-256");
	X509_STORE *roots = NULL;
	struct buf pem = BUF_INIT(ACME_CHAIN_MAX);
	struct buf out = BUF_INIT(ACME_CHAIN_MAX);
	struct buf root = BUF_INIT(4096);
	(void)state;
	put_pem(issue("leaf", "CA", "DNS:mail.house.test", key, ca, -60, 600), &pem);
	put_pem(issue("CA", "Root", NULL, ca, root_key, -600, 6000), &pem);
	assert_int_equal(acme_chain_check(buf_bytes(&pem), key, roots, &one, NOW, &out), ERR_NOT_FOUND);
	assert_int_equal(acme_roots_add(BYTES_LIT("no PEM"), &roots), ERR_FORMAT);
	assert_int_equal(acme_chain_check(buf_bytes(&pem), key, roots, &one, NOW, &out), ERR_NOT_FOUND);
	/* One that has its name, and another key. */
	put_pem(issue("Root", "Root", NULL, ca, ca, -600, 6000), &root);
	assert_int_equal(acme_roots_add(buf_bytes(&root), &roots), ERR_OK);
	assert_int_equal(acme_chain_check(buf_bytes(&pem), key, roots, &one, NOW, &out), ERR_NOT_FOUND);
	assert_int_equal(out.len, 0);
	buf_reset(&root);
	put_pem(issue("Root", "Root", NULL, root_key, root_key, -600, 6000), &root);
	acme_roots_destroy(&roots);
	assert_int_equal(acme_roots_add(buf_bytes(&root), &roots), ERR_OK);
	assert_int_equal(acme_chain_check(buf_bytes(&pem), key, roots, &one, NOW, &out), ERR_OK);
	/* A leaf that vouches for another one. */
	buf_reset(&pem);
	put_pem(issue("leaf", "leaf 0", "DNS:mail.house.test", key, ca, -60, 600), &pem);
	put_pem(issue("leaf 0", "Root", "DNS:other.test", ca, root_key, -60, 600), &pem);
	assert_int_equal(acme_chain_check(buf_bytes(&pem), key, roots, &one, NOW, &out), ERR_NOT_FOUND);
	acme_roots_destroy(&roots);
	buf_clear(&pem);
	buf_clear(&out);
	buf_clear(&root);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca);
	EVP_PKEY_free(root_key);
}

/* What `cohue init` makes is to be replaced. */
static void
the_house_s_own_certificate_is_of_no_authority(void **state)
{
	struct buf key = BUF_INIT(8192);
	struct buf chain = BUF_INIT(8192);
	struct acme_certificate c;
	(void)state;
	assert_int_equal(tls_make_self_signed("mail.house.test", NOW, &key, &chain), ERR_OK);
	assert_int_equal(acme_certificate_read(buf_bytes(&chain), &c), ERR_OK);
	assert_false(c.authority);
	assert_true(c.not_before < NOW && c.not_after > NOW + 3600 * MSEC_DAY);
	buf_wipe(&key);
	buf_clear(&chain);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_request_says_who_asks_where_and_what_and_is_signed),
	    cmocka_unit_test(what_would_break_out_of_the_header_is_refused),
	    cmocka_unit_test(an_account_comes_back_from_its_text_and_other_keys_do_not),
	    cmocka_unit_test(the_request_for_a_certificate_has_its_key_and_names),
	    cmocka_unit_test(the_house_s_own_certificate_is_of_no_authority),
	    cmocka_unit_test(only_a_chain_for_this_key_and_these_names_is_taken),
	    cmocka_unit_test(a_chain_must_lead_to_an_authority_that_is_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
