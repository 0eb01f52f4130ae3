/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_BASE_OPENSSL_H
#define COHUE_BASE_OPENSSL_H

/*
 * OpenSSL has a (deprecated) type called ERR_STATE, and we an error. Whoever
 * uses OpenSSL includes this before any <openssl/...>.
 */

#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/types.h>

#include <openssl/err.h>
#undef ERR_STATE

#endif
