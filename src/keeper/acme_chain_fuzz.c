/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The chain that a certificate authority gives, PEM: nothing is taken that is not for our key, whatever it says. */
#include "base/openssl.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdint.h>

#include "keeper/acme.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { NOW_DAYS = 20000 };
	static const struct acme_names names = {.of = {"mail.house.test"}, .count = 1};
	static EVP_PKEY *key;
	struct x509_store_st *roots = NULL;
	struct bytes in = bytes_of(data, size);
	struct buf out = BUF_INIT(ACME_CHAIN_MAX);
	struct acme_certificate c;
	if (key == NULL && (key = EVP_EC_gen("P-256")) == NULL) {
		panic("out of memory");
	}
	/* What it says of itself counts for nothing: its own certificates as roots, it has another key still. */
	enum err e = acme_roots_add(in, &roots);
	if (acme_chain_check(in, key, roots, &names, (msec)NOW_DAYS * MSEC_DAY, &out) == ERR_OK ||
	    out.len > 0) {
		panic("a chain of another key is taken");
	}
	e = acme_certificate_read(in, &c);
	(void)e;
	acme_roots_destroy(&roots);
	buf_clear(&out);
	return 0;
}
