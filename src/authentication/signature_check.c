/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The key a signature names, and whether it made the signature. */
#include <string.h>

#include "authentication/rsa_key.h"
#include "authentication/signature.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "crypto/sign.h"

struct key {
	enum dkim_algorithm algorithm;
	EVP_PKEY *rsa;
	uint8_t ed25519[SIGN_PUBLIC_LEN];
	bool strict; /* t=s */
	bool testing;
};

static struct finding
no_key(const char *why)
{
	return (struct finding){AUTHENTICATION_PERMERROR, why};
}

static bool
list_has(struct bytes list, const char *word)
{
	struct bytes item;
	while (tags_item(&list, ':', &item)) {
		if (bytes_is_nocase(item, word)) {
			return true;
		}
	}
	return false;
}

static struct finding
read_rsa(struct bytes der, struct key *key)
{
	key->rsa = rsa_key_read(der);
	if (key->rsa == NULL || EVP_PKEY_get_base_id(key->rsa) != EVP_PKEY_RSA) {
		return no_key("the published key is not readable");
	}
	if (EVP_PKEY_get_bits(key->rsa) > DKIM_RSA_BITS_MAX) {
		return no_key("the published key is too long");
	}
	return (struct finding){AUTHENTICATION_PASS, NULL};
}

static struct finding
read_public(struct bytes base64, struct key *key)
{
	struct buf text = BUF_INIT(TXT_RECORD_MAX);
	struct buf der = BUF_INIT(TXT_RECORD_MAX);
	struct finding f = no_key("the published key is not readable");
	if (tags_compact(base64, &text) == ERR_OK && buf_append_unbase64(&der, buf_bytes(&text)) == ERR_OK) {
		if (key->algorithm == DKIM_RSA_SHA256) {
			f = read_rsa(buf_bytes(&der), key);
		} else if (der.len == SIGN_PUBLIC_LEN) {
			memcpy(key->ed25519, der.ptr, SIGN_PUBLIC_LEN);
			f = (struct finding){AUTHENTICATION_PASS, NULL};
		}
	}
	buf_clear(&text);
	buf_clear(&der);
	return f;
}

/* RFC 6376 section 3.6.1. */
static struct finding
read_record(struct bytes text, struct key *key)
{
	struct tags tags;
	struct bytes value;
	struct bytes public_key;
	if (tags_parse(text, &tags) != ERR_OK) {
		return no_key("the key record is malformed");
	}
	if (tags_find(&tags, "v", &value) &&
	    (!bytes_is(value, "DKIM1") || !bytes_is(tags.list[0].name, "v"))) {
		return no_key("the key record is of another version");
	}
	if (!tags_find(&tags, "p", &public_key)) {
		return no_key("the key record has no key");
	}
	if (public_key.len == 0) {
		return no_key("the key has been revoked");
	}
	if (!tags_find(&tags, "k", &value)) {
		value = BYTES_LIT("rsa");
	}
	if (!bytes_is_nocase(value, key->algorithm == DKIM_RSA_SHA256 ? "rsa" : "ed25519")) {
		return no_key("the key is for another algorithm");
	}
	if (tags_find(&tags, "h", &value) && !list_has(value, "sha256")) {
		return no_key("the key is not for SHA-256");
	}
	if (tags_find(&tags, "s", &value) && !list_has(value, "*") && !list_has(value, "email")) {
		return no_key("the key is not for mail");
	}
	if (tags_find(&tags, "t", &value)) {
		key->testing = list_has(value, "y");
		key->strict = list_has(value, "s");
	}
	return read_public(public_key, key);
}

static struct finding
fetch_key(const struct signature *s, const struct authentication_dns *dns, struct key *key)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct bytes one;
	struct buf name = BUF_INIT(600);
	struct finding f = no_key("no key is published");
	enum err e =
	    buf_printf(&name, "%.*s._domainkey.%.*s", (int)s->selector.len, (const char *)s->selector.ptr,
		       (int)s->domain.len, (const char *)s->domain.ptr);
	if (e == ERR_OK && name.len > 253) {
		buf_clear(&name);
		return no_key("the key's name is too long");
	}
	if (e == ERR_OK) {
		e = dns->ask(dns->ctx, buf_bytes(&name), AUTHENTICATION_TXT, &answer);
	}
	buf_clear(&name);
	if (e != ERR_OK) {
		return (struct finding){AUTHENTICATION_TEMPERROR, "the key could not be asked for"};
	}
	/* Several records are undefined (section 3.6.2.2): the first one that can be used, of a few. */
	for (unsigned i = 0; i < 4 && text_records_next(&answer.rdata, &one); i++) {
		struct buf text = BUF_INIT(TXT_RECORD_MAX);
		if (text_of_txt(one, &text) == ERR_OK) {
			f = read_record(buf_bytes(&text), key);
		}
		buf_clear(&text);
		if (f.why == NULL) {
			break;
		}
		EVP_PKEY_free(key->rsa);
		key->rsa = NULL;
	}
	return f;
}

static bool
verify_rsa(EVP_PKEY *key, const uint8_t digest[CANON_DIGEST_LEN], struct bytes made)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool good = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
		    EVP_PKEY_verify(ctx, made.ptr, made.len, digest, CANON_DIGEST_LEN) == 1;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return good;
}

void
signature_check(const struct signature *s, const uint8_t digest[CANON_DIGEST_LEN],
		struct bytes identity_domain, const struct authentication_dns *dns, bool *ret_testing,
		struct finding *ret)
{
	struct key key = {.algorithm = s->algorithm, .rsa = NULL};
	struct finding f = fetch_key(s, dns, &key);
	if (f.why == NULL && key.strict && identity_domain.len > 0 &&
	    !bytes_equal_nocase(identity_domain, s->domain)) {
		f = no_key("the key is not for subdomains");
	}
	if (f.why == NULL) {
		bool good = key.algorithm == DKIM_RSA_SHA256
				? verify_rsa(key.rsa, digest, buf_bytes(&s->made))
				: s->made.len == SIGN_LEN &&
				      sign_check(key.ed25519, bytes_of(digest, CANON_DIGEST_LEN),
						 s->made.ptr) == ERR_OK;
		if (!good) {
			f = (struct finding){AUTHENTICATION_FAIL, "signature does not fit"};
		} else if (key.rsa != NULL && EVP_PKEY_get_bits(key.rsa) < DKIM_RSA_BITS_MIN) {
			f = (struct finding){AUTHENTICATION_POLICY, "the key is too short"};
		}
	}
	if (ret_testing != NULL) {
		*ret_testing = key.testing;
	}
	EVP_PKEY_free(key.rsa);
	*ret = f;
}
