/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/tls_challenge.h"

#include "base/openssl.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "loop/internal.h"

enum { NAME_MAX_OCTETS = 253, DIGEST = 32, LIFE_S = 7 * 24 * 3600 };

/* RFC 8737 section 3 */
#define ACME_IDENTIFIER "1.3.6.1.5.5.7.1.31"

struct tls_challenges {
	struct {
		char name[NAME_MAX_OCTETS + 1]; /* "": free */
		X509 *certificate;
		EVP_PKEY *key;
		msec until;
	} rows[TLS_CHALLENGES_MAX];
};

enum err
tls_challenges_create(struct tls_challenges **ret)
{
	struct tls_challenges *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return ERR_MEMORY;
	}
	*ret = c;
	return ERR_OK;
}

static void
drop(struct tls_challenges *c, size_t i)
{
	X509_free(c->rows[i].certificate);
	EVP_PKEY_free(c->rows[i].key);
	memset(&c->rows[i], 0, sizeof(c->rows[i]));
}

static bool
is_name(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.ptr[i];
		if (!ascii_is_digit(c) && !(c >= 'a' && c <= 'z') && c != '.' && c != '-') {
			return false;
		}
	}
	return name.len > 0 && name.len <= NAME_MAX_OCTETS;
}

static bool
add(X509 *x, X509_EXTENSION *e)
{
	bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

/* The digest of the key authorisation, as an OCTET STRING; critical. */
static X509_EXTENSION *
identifier(struct bytes key_authorisation)
{
	uint8_t der[2 + DIGEST] = {0x04, DIGEST};
	ASN1_OBJECT *oid = OBJ_txt2obj(ACME_IDENTIFIER, 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e = NULL;
	if (oid != NULL && value != NULL &&
	    EVP_Digest(key_authorisation.ptr, key_authorisation.len, der + 2, NULL, EVP_sha256(), NULL) ==
		1 &&
	    ASN1_OCTET_STRING_set(value, der, (int)sizeof(der)) == 1) {
		e = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
	}
	ASN1_OBJECT_free(oid);
	ASN1_OCTET_STRING_free(value);
	return e;
}

static X509 *
certificate(const char *name, EVP_PKEY *key, struct bytes key_authorisation)
{
	char san[NAME_MAX_OCTETS + 8] = "DNS:";
	memcpy(san + 4, name, strlen(name) + 1);
	X509 *x = X509_new();
	X509_NAME *subject = x == NULL ? NULL : X509_get_subject_name(x);
	bool ok = x != NULL && key != NULL && X509_set_version(x, X509_VERSION_3) == 1 &&
		  ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
		  X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL &&
		  X509_gmtime_adj(X509_getm_notAfter(x), LIFE_S) != NULL && X509_set_pubkey(x, key) == 1 &&
		  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"acme", -1,
					     -1, 0) == 1 &&
		  X509_set_issuer_name(x, subject) == 1 &&
		  add(x, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san)) &&
		  add(x, identifier(key_authorisation)) && X509_sign(x, key, EVP_sha256()) > 0;
	if (!ok) {
		X509_free(x);
		return NULL;
	}
	return x;
}

enum err
tls_challenges_set(struct tls_challenges *c, struct bytes name, struct bytes key_authorisation, msec now,
		   msec until)
{
	size_t place = TLS_CHALLENGES_MAX;
	if (!is_name(name)) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < TLS_CHALLENGES_MAX; i++) {
		if (c->rows[i].name[0] != '\0' &&
		    (c->rows[i].until <= now || bytes_is(name, c->rows[i].name))) {
			drop(c, i);
		}
		place = c->rows[i].name[0] == '\0' && place == TLS_CHALLENGES_MAX ? i : place;
	}
	if (key_authorisation.len == 0) {
		return ERR_OK;
	}
	if (place == TLS_CHALLENGES_MAX) {
		return ERR_FULL;
	}
	memcpy(c->rows[place].name, name.ptr, name.len);
	c->rows[place].name[name.len] = '\0';
	c->rows[place].until = until;
	c->rows[place].key = EVP_EC_gen("P-256");
	c->rows[place].certificate = certificate(c->rows[place].name, c->rows[place].key, key_authorisation);
	ERR_clear_error();
	if (c->rows[place].certificate == NULL) {
		drop(c, place);
		return ERR_MEMORY;
	}
	return ERR_OK;
}

static bool
speaks_http(SSL *ssl)
{
	const struct stream *s = SSL_get_app_data(ssl);
	const char *name = s == NULL ? NULL : stream_alpn(s);
	return name != NULL && strcmp(name, "http/1.1") == 0;
}

/* RFC 7301 section 3.1, and nothing else in the list (RFC 8737 section 3). */
static bool
offers_acme_alone(SSL *ssl)
{
	static const uint8_t wanted[] = "\x00\x0b\x0a" TLS_CHALLENGE_ALPN;
	const unsigned char *ext = NULL;
	size_t len = 0;
	return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &ext,
					 &len) == 1 &&
	       bytes_equal(bytes_of(ext, len), bytes_of(wanted, sizeof(wanted) - 1));
}

/* RFC 6066 section 3: a list of one, a host name. */
static struct bytes
asked_for(SSL *ssl)
{
	const unsigned char *ext = NULL;
	size_t len = 0;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &len) != 1 || len < 5 ||
	    ext[2] != 0 || ((size_t)ext[0] << 8 | ext[1]) != len - 2 ||
	    ((size_t)ext[3] << 8 | ext[4]) != len - 5) {
		return BYTES_EMPTY;
	}
	return bytes_of(ext + 5, len - 5);
}

int
tls_challenges_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_challenges *c = arg;
	(void)alert;
	if (!speaks_http(ssl) || !offers_acme_alone(ssl)) {
		return SSL_CLIENT_HELLO_SUCCESS;
	}
	struct bytes name = asked_for(ssl);
	for (size_t i = 0; i < TLS_CHALLENGES_MAX; i++) {
		if (c->rows[i].name[0] == '\0' || !bytes_is_nocase(name, c->rows[i].name) ||
		    c->rows[i].until <= clock_monotonic()) {
			continue;
		}
		SSL_certs_clear(ssl);
		return SSL_use_certificate(ssl, c->rows[i].certificate) == 1 &&
			       SSL_use_PrivateKey(ssl, c->rows[i].key) == 1
			   ? SSL_CLIENT_HELLO_SUCCESS
			   : SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

bool
tls_challenges_shown(const struct tls_challenges *c, SSL *ssl)
{
	const X509 *shown = SSL_get_certificate(ssl);
	for (size_t i = 0; i < TLS_CHALLENGES_MAX && c != NULL && shown != NULL; i++) {
		if (c->rows[i].certificate == shown) {
			return true;
		}
	}
	return false;
}
