/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_RESOLVER_TLS_FORWARD_H
#define COHUE_RESOLVER_TLS_FORWARD_H

#include "config/config.h"
#include "loop/loop.h"
#include "loop/tls.h"

/*
 * DNS over TLS (RFC 7858) to a recursive server, since Debian's libunbound is built without TLS: a UDP port on the
 * loopback, to which libunbound forwards, and one TLS connection behind it, with the server's name verified.
 */

struct tls_forward;

/*
 * Binds the port; connects when there is a question. `tls` verifies; list and tls are borrowed for its life. ERR_IO, ERR_MEMORY.
 */
COHUE_MUST_USE enum err tls_forward_create(struct loop *loop, const struct config_upstream *list,
					   size_t count, struct tls_context *tls, struct tls_forward **ret,
					   uint16_t *ret_port);
/* The sandbox must keep it. */
int tls_forward_descriptor(const struct tls_forward *f);

#endif
