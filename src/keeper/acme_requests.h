/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_ACME_REQUESTS_H
#define COHUE_KEEPER_ACME_REQUESTS_H

#include "keeper/acme.h"
#include "process/role.h"
#include "sealed/keys.h"

/* The keeper's side of the ACME messages. */

enum { ACME_ORDERS_A_DAY = 24, ACME_VOUCH_MS = 3600 * 1000 };

struct saving;

struct keeper_acme {
	struct role_host *host;
	struct tls_keys *tls;
	struct acme_account account;
	struct x509_store_st *roots;       /* that a new chain must lead to */
	struct saving *saving[ACME_FILES]; /* by enum acme_file: on its way to the disk */
	msec failed[ACME_FILES]; /* when it could not be saved; 0: it could, or who asked has heard of it */
	unsigned orders;
	msec orders_since;
	msec ordered; /* when one was signed last; 0: never */
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
/* For the gates: whose account challenges are answered for, while an order of the house may be under way. */
COHUE_MUST_USE enum err keeper_acme_vouch(const struct keeper_acme *a, struct channel *ch,
					  const struct channel_message *m);
COHUE_MUST_USE enum err keeper_acme_chain(struct keeper_acme *a, struct channel *ch,
					  const struct channel_message *m);

#endif
