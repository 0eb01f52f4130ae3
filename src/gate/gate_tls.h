/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_GATE_TLS_H
#define COHUE_GATE_GATE_TLS_H

#include "loop/tls.h"
#include "process/role.h"

/* The gates' TLS: the key comes from the keeper, once, at the start. */

/*
 * Makes a throw-away key, certificate and context, so that OpenSSL loads its configuration and providers
 * while there are still files: call it in prepare(). ERR_MEMORY, ERR_IO.
 */
COHUE_MUST_USE enum err gate_tls_warm_up(void);
/*
 * From start(): asks the keeper for this role's key and chain. On a failure that a person must mend it has
 * logged what to do. ERR_TIMEOUT, ERR_CLOSED, ERR_FORMAT, ERR_AUTH (key and certificate differ), ERR_MEMORY.
 */
COHUE_MUST_USE enum err gate_tls_fetch(struct role_host *h, enum tls_version minimum,
				       struct tls_context **ret_ctx);

#endif
