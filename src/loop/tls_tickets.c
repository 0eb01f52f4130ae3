/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Keys of session tickets: random, of one context, never written anywhere. A key makes tickets for TICKET_KEY_MS and opens them as
 * long again, which is as long as OpenSSL takes one (SSL_CTX_get_timeout); then it is wiped, and nobody who takes
 * the process over later opens the tickets of before.
 */
#include "base/openssl.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "loop/internal.h"

enum {
	TICKET_S = 2 * 60 * 60, /* RFC 8446 section 4.6.1: seven days at most */
	TICKET_KEY_MS = TICKET_S * 1000,
	TICKET_NAME = 16,
	TICKET_IV = 16,
};

struct ticket_key {
	msec since; /* 0: none */
	uint8_t name[TICKET_NAME];
	uint8_t seal[32];
	uint8_t mac[32];
};

struct tickets {
	struct ticket_key now;
	struct ticket_key before;
};

static void
forget(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	if (ptr != NULL) {
		explicit_bzero(ptr, sizeof(struct tickets));
		free(ptr);
	}
}

/* Where a context keeps them: one number for the process. */
static int
place(void)
{
	static int at = -1;
	if (at < 0) {
		at = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, forget);
	}
	return at;
}

static bool
make_key(struct ticket_key *k)
{
	k->since = clock_monotonic();
	return RAND_bytes(k->name, sizeof(k->name)) == 1 && RAND_bytes(k->seal, sizeof(k->seal)) == 1 &&
	       RAND_bytes(k->mac, sizeof(k->mac)) == 1;
}

static bool
turn(struct tickets *t)
{
	msec age = clock_monotonic() - t->now.since;
	if (age < TICKET_KEY_MS) {
		return true;
	}
	t->before = t->now;
	if (age >= 2 * (msec)TICKET_KEY_MS) {
		explicit_bzero(&t->before, sizeof(t->before));
	}
	return make_key(&t->now);
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb(3) wants it: 1 done, 2 done and make a new one, 0 no such key, -1 failure. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
	  int sealing)
{
	struct tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), place());
	char digest[] = "SHA256";
	if (t == NULL || SSL_version(ssl) != TLS1_3_VERSION) {
		return 0;
	}
	if (!turn(t)) {
		return -1;
	}
	struct ticket_key *k = &t->now;
	if (sealing) {
		if (RAND_bytes(iv, TICKET_IV) != 1) {
			return -1;
		}
		memcpy(name, k->name, TICKET_NAME);
	} else if (memcmp(name, k->name, TICKET_NAME) != 0) {
		k = &t->before;
		if (k->since == 0 || memcmp(name, k->name, TICKET_NAME) != 0) {
			return 0;
		}
	}
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_end(),
	};
	if (EVP_MAC_CTX_set_params(mac, params) != 1 ||
	    (sealing ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->seal, iv)
		     : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->seal, iv)) != 1) {
		return -1;
	}
	return k == &t->now ? 1 : 2;
}

enum err
tls_tickets_use(struct ssl_ctx_st *ssl)
{
	struct tickets *t = calloc(1, sizeof(*t));
	int at = place();
	if (t == NULL || at < 0 || !make_key(&t->now) || SSL_CTX_set_ex_data(ssl, at, t) != 1) {
		free(t);
		return ERR_MEMORY;
	}
	(void)SSL_CTX_set_timeout(ssl, TICKET_S);
	return SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket) == 1 ? ERR_OK : ERR_MEMORY;
}
