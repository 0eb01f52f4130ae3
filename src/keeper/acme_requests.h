/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_ACME_REQUESTS_H
#define COHUE_KEEPER_ACME_REQUESTS_H

#include "keeper/acme.h"
#include "process/role.h"
#include "sealed/keys.h"

/* The keeper's side of the ACME messages. */

enum { ACME_ORDERS_A_DAY = 24 };

struct saving;

struct keeper_acme {
	struct role_host *host;
	struct tls_keys *tls;
	struct acme_account account;
	struct x509_store_st *roots;       /* that a new chain must lead to */
	struct saving *saving[ACME_FILES]; /* by enum acme_file: on its way to the disk */
	bool failed[ACME_FILES];           /* it could not be saved: not tried again in this life */
	unsigned orders;
	msec orders_since;
	/* New certificates are in force. */
	void (*changed)(void *arg);
	void *arg;
};

/* The name under which a TLS key is wrapped. */
const char *keeper_tls_name(unsigned kind);
/* While there are files: with a host. ERR_MEMORY, or what OpenSSL lacks. */
COHUE_MUST_USE enum err keeper_acme_prepare(struct keeper_acme *a);
/* ACME_ACCOUNT. What does not open is told, and never replaced. ERR_FORMAT. */
COHUE_MUST_USE enum err keeper_acme_take(struct keeper_acme *a, const uint8_t wrap[SEALED_KEY_LEN],
					 struct bytes payload);
/* ACME_SAVED. ERR_FORMAT: for nothing that was sent. */
COHUE_MUST_USE enum err keeper_acme_saved(struct keeper_acme *a, struct bytes payload);
/* Handlers: ERR_OK where it is answered, or will be. */
COHUE_MUST_USE enum err keeper_acme_state(struct keeper_acme *a, const uint8_t wrap[SEALED_KEY_LEN],
					  struct channel *ch, const struct channel_message *m);
COHUE_MUST_USE enum err keeper_acme_sign(struct keeper_acme *a, struct channel *ch,
					 const struct channel_message *m);
COHUE_MUST_USE enum err keeper_acme_chain(struct keeper_acme *a, struct channel *ch,
					  const struct channel_message *m);

#endif
