/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/acme.h"

#include "base/openssl.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { CHAIN_CERTIFICATES_MAX = 10, COORDINATE = 32, NONCE_MAX = 256, PEM_MAX = 16 * 1024 };

/* RFC 4648 section 5, without padding. */
static enum err
put_base64url(struct buf *out, struct bytes data)
{
	size_t from = out->len;
	enum err e = buf_append_base64(out, data);
	for (size_t i = from; e == ERR_OK && i < out->len; i++) {
		uint8_t *c = &out->ptr[i];
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	}
	while (e == ERR_OK && out->len > from && out->ptr[out->len - 1] == '=') {
		buf_truncate(out, out->len - 1);
	}
	return e;
}

static bool
is_base64url(struct bytes t)
{
	for (size_t i = 0; i < t.len; i++) {
		if (!ascii_is_alnum(t.ptr[i]) && t.ptr[i] != '-' && t.ptr[i] != '_') {
			return false;
		}
	}
	return t.len > 0 && t.len <= NONCE_MAX;
}

/* ---- the account ---- */

static bool
coordinate(const EVP_PKEY *key, const char *name, uint8_t ret[COORDINATE])
{
	BIGNUM *n = NULL;
	bool ok = EVP_PKEY_get_bn_param(key, name, &n) == 1 && BN_bn2binpad(n, ret, COORDINATE) == COORDINATE;
	BN_free(n);
	return ok;
}

/* RFC 7638 section 3.2: the members in this order, without blanks. */
static enum err
put_jwk(const EVP_PKEY *key, struct buf *out)
{
	uint8_t x[COORDINATE];
	uint8_t y[COORDINATE];
	if (!coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, x) || !coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, y)) {
		return ERR_FORMAT;
	}
	enum err e = buf_append_str(out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
	e = e == ERR_OK ? put_base64url(out, bytes_of(x, sizeof(x))) : e;
	e = e == ERR_OK ? buf_append_str(out, "\",\"y\":\"") : e;
	e = e == ERR_OK ? put_base64url(out, bytes_of(y, sizeof(y))) : e;
	return e == ERR_OK ? buf_append_str(out, "\"}") : e;
}

static enum err
take(struct acme_account *a, EVP_PKEY *key)
{
	struct buf jwk = BUF_INIT(512);
	uint8_t thumbprint[ACME_THUMBPRINT];
	enum err e = put_jwk(key, &jwk);
	if (e == ERR_OK && EVP_Digest(jwk.ptr, jwk.len, thumbprint, NULL, EVP_sha256(), NULL) != 1) {
		e = ERR_MEMORY;
	}
	buf_clear(&jwk);
	if (e == ERR_OK) {
		acme_account_clear(a);
		a->key = key;
		memcpy(a->thumbprint, thumbprint, sizeof(thumbprint));
	}
	return e;
}

enum err
acme_account_make(struct acme_account *a, struct buf *ret_pem)
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
	e = e == ERR_OK ? take(a, key) : e;
	(void)BIO_free(out);
	if (e != ERR_OK) {
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	return e;
}

static int
no_password(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

enum err
acme_account_read(struct acme_account *a, struct bytes pem)
{
	BIO *in = pem.len == 0 || pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
	EVP_PKEY *key = in == NULL ? NULL : PEM_read_bio_PrivateKey(in, NULL, no_password, NULL);
	char group[32] = "";
	size_t len = 0;
	(void)BIO_free(in);
	bool fits = key != NULL && EVP_PKEY_is_a(key, "EC") == 1 &&
		    EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
		    strcmp(group, "prime256v1") == 0;
	enum err e = fits ? take(a, key) : ERR_FORMAT;
	if (e != ERR_OK) {
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	return e;
}

void
acme_account_clear(struct acme_account *a)
{
	EVP_PKEY_free(a->key);
	*a = (struct acme_account){.key = NULL};
}

/* ---- the request for a certificate ---- */

static enum err
alternative_names(const struct acme_names *names, struct buf *out)
{
	enum err e = names->count == 0 ? ERR_FORMAT : ERR_OK;
	for (size_t i = 0; i < names->count && e == ERR_OK; i++) {
		e = buf_printf(out, "%sDNS:%s", i == 0 ? "" : ",", names->of[i]);
	}
	return e == ERR_OK ? buf_append_byte(out, 0) : e;
}

/* PKCS #10 (RFC 2986): no subject, the names as alternatives. DER. */
static enum err
put_csr(const struct acme_names *names, EVP_PKEY *key, struct buf *out)
{
	struct buf text = BUF_INIT(ACME_NAMES_MAX * (ACME_NAME_MAX + 8));
	enum err e = alternative_names(names, &text);
	X509_REQ *req = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	X509_EXTENSION *san =
	    e == ERR_OK ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, (const char *)text.ptr)
			: NULL;
	unsigned char *der = NULL;
	bool ok = req != NULL && list != NULL && san != NULL && sk_X509_EXTENSION_push(list, san) > 0;
	if (!ok) {
		X509_EXTENSION_free(san);
	}
	ok = ok && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(req, key) == 1 &&
	     X509_REQ_add_extensions(req, list) == 1 && X509_REQ_sign(req, key, EVP_sha256()) > 0;
	int n = ok ? i2d_X509_REQ(req, &der) : -1;
	e = e != ERR_OK ? e : n > 0 ? buf_append(out, bytes_of(der, (size_t)n)) : ERR_MEMORY;
	OPENSSL_free(der);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	X509_REQ_free(req);
	buf_clear(&text);
	ERR_clear_error();
	return e;
}

/* ---- what is said ---- */

static enum err
put_identifiers(const struct acme_names *names, struct buf *out)
{
	enum err e = buf_append_str(out, "{\"identifiers\":[");
	for (size_t i = 0; i < names->count && e == ERR_OK; i++) {
		e = buf_printf(out, "%s{\"type\":\"dns\",\"value\":\"%s\"}", i == 0 ? "" : ",", names->of[i]);
	}
	return e == ERR_OK ? buf_append_str(out, "]}") : e;
}

static enum err
put_finalize(const struct acme_order *o, struct buf *out)
{
	struct buf csr = BUF_INIT(ACME_BODY_MAX);
	enum err e = put_csr(o->names, o->key, &csr);
	e = e == ERR_OK ? buf_append_str(out, "{\"csr\":\"") : e;
	e = e == ERR_OK ? put_base64url(out, buf_bytes(&csr)) : e;
	buf_clear(&csr);
	return e == ERR_OK ? buf_append_str(out, "\"}") : e;
}

/* The only payloads that there are. */
static enum err
put_payload(const struct acme_order *o, struct buf *out)
{
	switch (o->what) {
	case ACME_NEW_ACCOUNT:
		return o->contact[0] == '\0'
			   ? buf_append_str(out, "{\"termsOfServiceAgreed\":true}")
			   : buf_printf(out, "{\"termsOfServiceAgreed\":true,\"contact\":[\"mailto:%s\"]}",
					o->contact);
	case ACME_NEW_ORDER:
		return put_identifiers(o->names, out);
	case ACME_GET:
		return ERR_OK;
	case ACME_TRY:
		return buf_append_str(out, "{}");
	case ACME_FINALIZE:
		return put_finalize(o, out);
	}
	return ERR_FORMAT;
}

/* RFC 8555 section 6.2. What stands in it needs no escapes: checked by the caller, and here. */
static enum err
put_protected(const struct acme_account *a, const struct acme_order *o, struct buf *out)
{
	bool first = o->what == ACME_NEW_ACCOUNT;
	if (!is_base64url(o->nonce) || first != (o->account.len == 0)) {
		return ERR_FORMAT;
	}
	enum err e =
	    buf_printf(out, "{\"alg\":\"ES256\",\"nonce\":\"%.*s\",\"url\":\"%.*s\",", (int)o->nonce.len,
		       (const char *)o->nonce.ptr, (int)o->url.len, (const char *)o->url.ptr);
	if (e == ERR_OK && first) {
		e = buf_append_str(out, "\"jwk\":");
		e = e == ERR_OK ? put_jwk(a->key, out) : e;
		return e == ERR_OK ? buf_append_byte(out, '}') : e;
	}
	return e == ERR_OK
		   ? buf_printf(out, "\"kid\":\"%.*s\"}", (int)o->account.len, (const char *)o->account.ptr)
		   : e;
}

/* RFC 7518 section 3.4: R and S, 32 octets each. */
static enum err
sign(EVP_PKEY *key, struct bytes content, uint8_t ret[2 * COORDINATE])
{
	uint8_t der[128];
	size_t len = sizeof(der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
		  EVP_DigestSign(ctx, der, &len, content.ptr, content.len) == 1;
	EVP_MD_CTX_free(ctx);
	const unsigned char *p = der;
	ECDSA_SIG *s = ok ? d2i_ECDSA_SIG(NULL, &p, (long)len) : NULL;
	ok = s != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(s), ret, COORDINATE) == COORDINATE &&
	     BN_bn2binpad(ECDSA_SIG_get0_s(s), ret + COORDINATE, COORDINATE) == COORDINATE;
	ECDSA_SIG_free(s);
	ERR_clear_error();
	return ok ? ERR_OK : ERR_MEMORY;
}

enum err
acme_write(const struct acme_account *a, const struct acme_order *o, struct buf *out)
{
	struct buf head = BUF_INIT(ACME_BODY_MAX);
	struct buf payload = BUF_INIT(ACME_BODY_MAX);
	struct buf content = BUF_INIT(2 * ACME_BODY_MAX);
	uint8_t signature[2 * COORDINATE];
	size_t before = out->len;
	enum err e = a->key == NULL ? ERR_STATE : put_protected(a, o, &head);
	e = e == ERR_OK ? put_payload(o, &payload) : e;
	e = e == ERR_OK ? put_base64url(&content, buf_bytes(&head)) : e;
	size_t dot = content.len;
	e = e == ERR_OK ? buf_append_byte(&content, '.') : e;
	e = e == ERR_OK ? put_base64url(&content, buf_bytes(&payload)) : e;
	e = e == ERR_OK ? sign(a->key, buf_bytes(&content), signature) : e;
	struct bytes c = buf_bytes(&content);
	const struct {
		const char *name;
		struct bytes value;
	} parts[] = {{"{\"protected\":\"", bytes_slice(c, 0, dot)},
		     {"\",\"payload\":\"", bytes_from(c, dot + 1)}};
	for (size_t i = 0; i < 2 && e == ERR_OK; i++) {
		e = buf_append_str(out, parts[i].name);
		e = e == ERR_OK ? buf_append(out, parts[i].value) : e;
	}
	e = e == ERR_OK ? buf_append_str(out, "\",\"signature\":\"") : e;
	e = e == ERR_OK ? put_base64url(out, bytes_of(signature, sizeof(signature))) : e;
	e = e == ERR_OK ? buf_append_str(out, "\"}") : e;
	buf_clear(&head);
	buf_clear(&payload);
	buf_clear(&content);
	if (e != ERR_OK) {
		buf_truncate(out, before);
	}
	return e;
}

/* ---- what came ---- */

static bool
names_itself(X509 *x)
{
	return X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
}

/* Each alternative name is one that was asked for, or the certificate would speak for others, too. */
static bool
has_no_others(X509 *leaf, const struct acme_names *names)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	int count = all == NULL ? 0 : sk_GENERAL_NAME_num(all);
	bool good = count > 0;
	for (int i = 0; i < count && good; i++) {
		const GENERAL_NAME *each = sk_GENERAL_NAME_value(all, i);
		good = false;
		for (size_t n = 0; n < names->count && each->type == GEN_DNS && !good; n++) {
			struct bytes text = bytes_of(ASN1_STRING_get0_data(each->d.dNSName),
						     (size_t)ASN1_STRING_length(each->d.dNSName));
			good = bytes_is_nocase(text, names->of[n]);
		}
	}
	GENERAL_NAMES_free(all);
	return good;
}

static enum err
check_leaf(X509 *leaf, EVP_PKEY *key, const struct acme_names *names, msec now_wall)
{
	time_t now = (time_t)(now_wall / MSEC_SECOND);
	if (X509_check_private_key(leaf, key) != 1) {
		return ERR_AUTH;
	}
	if (X509_cmp_time(X509_get0_notBefore(leaf), &now) >= 0 ||
	    X509_cmp_time(X509_get0_notAfter(leaf), &now) <= 0) {
		return ERR_STATE;
	}
	if (names_itself(leaf) || X509_check_ca(leaf) != 0 || !has_no_others(leaf, names)) {
		return ERR_DENIED;
	}
	for (size_t i = 0; i < names->count; i++) {
		if (X509_check_host(leaf, names->of[i], strlen(names->of[i]),
				    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS,
				    NULL) != 1) {
			return ERR_DENIED;
		}
	}
	return ERR_OK;
}

enum err
acme_roots_add(struct bytes pem, X509_STORE **ret)
{
	X509_STORE *store = *ret != NULL ? *ret : X509_STORE_new();
	BIO *in = pem.len == 0 || pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
	size_t count = 0;
	enum err e = store == NULL ? ERR_MEMORY : ERR_OK;
	while (in != NULL && e == ERR_OK) {
		X509 *x = PEM_read_bio_X509(in, NULL, no_password, NULL);
		if (x == NULL) {
			break;
		}
		e = X509_STORE_add_cert(store, x) == 1 ? ERR_OK : ERR_MEMORY;
		X509_free(x);
		count++;
	}
	(void)BIO_free(in);
	ERR_clear_error();
	*ret = store;
	return e == ERR_OK && count == 0 ? ERR_FORMAT : e;
}

void
acme_roots_destroy(X509_STORE **roots)
{
	X509_STORE_free(*roots);
	*roots = NULL;
}

static enum err
check_root(X509 *const *chain, size_t count, X509_STORE *roots, msec now_wall)
{
	STACK_OF(X509) *others = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool ok = roots != NULL && others != NULL && ctx != NULL;
	for (size_t i = 1; i < count && ok; i++) {
		ok = sk_X509_push(others, chain[i]) > 0;
	}
	ok = ok && X509_STORE_CTX_init(ctx, roots, chain[0], others) == 1 &&
	     X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) == 1;
	if (ok) {
		X509_STORE_CTX_set_time(ctx, 0, (time_t)(now_wall / MSEC_SECOND));
		ok = X509_verify_cert(ctx) == 1;
	}
	X509_STORE_CTX_free(ctx);
	sk_X509_free(others);
	return ok ? ERR_OK : ERR_NOT_FOUND;
}

static enum err
write_chain(X509 *const *chain, size_t count, struct buf *ret)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *text = NULL;
	bool ok = out != NULL;
	for (size_t i = 0; i < count && ok; i++) {
		ok = PEM_write_bio_X509(out, chain[i]) == 1;
	}
	long n = ok ? BIO_get_mem_data(out, &text) : 0;
	enum err e = n > 0 ? buf_append(ret, bytes_of(text, (size_t)n)) : ERR_MEMORY;
	(void)BIO_free(out);
	return e;
}

enum err
acme_chain_check(struct bytes pem, EVP_PKEY *key, X509_STORE *roots, const struct acme_names *names,
		 msec now_wall, struct buf *ret)
{
	X509 *chain[CHAIN_CERTIFICATES_MAX];
	size_t count = 0;
	BIO *in = pem.len == 0 || pem.len > ACME_CHAIN_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
	while (in != NULL && count < CHAIN_CERTIFICATES_MAX) {
		X509 *x = PEM_read_bio_X509(in, NULL, no_password, NULL);
		if (x == NULL) {
			break;
		}
		chain[count++] = x;
	}
	(void)BIO_free(in);
	enum err e = count == 0 ? ERR_DAMAGED : check_leaf(chain[0], key, names, now_wall);
	for (size_t i = 0; i + 1 < count && e == ERR_OK; i++) {
		EVP_PKEY *issuer = X509_get0_pubkey(chain[i + 1]);
		e = X509_check_issued(chain[i + 1], chain[i]) == X509_V_OK && issuer != NULL &&
			    X509_verify(chain[i], issuer) == 1
			? ERR_OK
			: ERR_DAMAGED;
	}
	e = e == ERR_OK ? check_root(chain, count, roots, now_wall) : e;
	e = e == ERR_OK ? write_chain(chain, count, ret) : e;
	for (size_t i = 0; i < count; i++) {
		X509_free(chain[i]);
	}
	ERR_clear_error();
	return e;
}

static bool
to_msec(const ASN1_TIME *t, msec *ret)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0;
	int seconds = 0;
	bool ok = epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, t) == 1;
	ASN1_TIME_free(epoch);
	*ret = ok ? (msec)days * MSEC_DAY + (msec)seconds * MSEC_SECOND : 0;
	return ok;
}

enum err
acme_certificate_read(struct bytes chain_pem, struct acme_certificate *ret)
{
	BIO *in = chain_pem.len == 0 || chain_pem.len > INT_MAX
		      ? NULL
		      : BIO_new_mem_buf(chain_pem.ptr, (int)chain_pem.len);
	X509 *leaf = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, no_password, NULL);
	struct acme_certificate c = {.authority = leaf != NULL && !names_itself(leaf)};
	bool ok = leaf != NULL && to_msec(X509_get0_notBefore(leaf), &c.not_before) &&
		  to_msec(X509_get0_notAfter(leaf), &c.not_after);
	(void)BIO_free(in);
	X509_free(leaf);
	ERR_clear_error();
	if (!ok) {
		return ERR_FORMAT;
	}
	*ret = c;
	return ERR_OK;
}

enum err
acme_warm_up(void)
{
	struct acme_account a = {.key = NULL};
	struct buf pem = BUF_INIT(PEM_MAX);
	struct buf body = BUF_INIT(ACME_BODY_MAX);
	const struct acme_names names = {.of = {"warm.invalid"}, .count = 1};
	enum err e = acme_account_make(&a, &pem);
	e = e == ERR_OK ? acme_account_read(&a, buf_bytes(&pem)) : e;
	struct acme_order o = {.what = ACME_FINALIZE,
			       .url = BYTES_LIT("https://warm.invalid/"),
			       .nonce = BYTES_LIT("a"),
			       .account = BYTES_LIT("https://warm.invalid/"),
			       .contact = "",
			       .names = &names,
			       .key = a.key};
	e = e == ERR_OK ? acme_write(&a, &o, &body) : e;
	acme_account_clear(&a);
	buf_wipe(&pem);
	buf_clear(&body);
	return e;
}
