/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_GATE_TLS_H
#define COHUE_GATE_GATE_TLS_H

#include "loop/tls.h"
#include "process/role.h"

/*
 * The gates' TLS. The certificate comes from the keeper; the private key stays there: each full handshake asks the keeper for a
 * signature, and the gate waits for it with all that it does (about a tenth of a millisecond).
 */
struct gate_tls {
	struct role_host *host;
	struct tls_context *ctx; /* the same for ever; what it stands for changes with the certificate */
	enum tls_version minimum;
	struct tls_signer signer;
	struct tls_challenges *challenges; /* NULL: none; set before gate_tls_start() */
	msec mute_until; /* the keeper did not answer in time: no handshake waits for it until then */
	bool fetching;
	bool again; /* it changed once more meanwhile */
	uint64_t unsigned_handshakes;
};

/*
 * Makes a throw-away key, certificate and contexts, so that OpenSSL loads its configuration and providers
 * while there are still files: call it in prepare(). ERR_MEMORY, ERR_IO.
 */
COHUE_MUST_USE enum err gate_tls_warm_up(void);
/*
 * From start(): asks the keeper for this role's chain; t stays where it is. On a failure that a person must mend it has
 * logged what to do. ERR_TIMEOUT, ERR_CLOSED, ERR_FORMAT, ERR_AUTH, ERR_MEMORY.
 */
COHUE_MUST_USE enum err gate_tls_start(struct gate_tls *t, struct role_host *h, enum tls_version minimum);
/* The keeper says TLS_CHANGED, or is a new one: connections from now on get what it has now. Nothing before gate_tls_start(). */
void gate_tls_changed(struct gate_tls *t);

#endif
