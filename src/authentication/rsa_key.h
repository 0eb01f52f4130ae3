/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_RSA_KEY_H
#define COHUE_AUTHENTICATION_RSA_KEY_H

#include "base/openssl.h"

#include "base/bytes.h"

/*
 * An RSA public key of a key record: DER, SubjectPublicKeyInfo (RFC 5280) or RSAPublicKey (RFC 8017), which RFC 6376 section 3.6.1 names.
 * NULL where it is none; an EVP_PKEY of another kind may come out as well. The caller frees it.
 */
EVP_PKEY *rsa_key_read(struct bytes der);

#endif
