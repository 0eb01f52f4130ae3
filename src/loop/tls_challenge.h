/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_TLS_CHALLENGE_H
#define COHUE_LOOP_TLS_CHALLENGE_H

#include "base/bytes.h"
#include "base/clock.h"

/*
 * Answers to a certificate authority within a handshake: tls-alpn-01 (RFC 8737). Certificates that sign themselves, under keys that are made
 * here, thrown away, and good for nothing else; shown to who offers "acme-tls/1" and nothing else, for a name that is awaited,
 * on streams that speak http/1.1 alone.
 */

struct tls_challenges;

enum { TLS_CHALLENGES_MAX = 8 };

COHUE_MUST_USE enum err tls_challenges_create(struct tls_challenges **ret);
/*
 * Until then (CLOCK_MONOTONIC, ms) the name (lower case) is answered for; an empty key authorisation takes it away. ERR_FORMAT: no host name;
 * ERR_FULL; ERR_MEMORY.
 */
COHUE_MUST_USE enum err tls_challenges_set(struct tls_challenges *c, struct bytes name,
					   struct bytes key_authorisation, msec now, msec until);

#endif
