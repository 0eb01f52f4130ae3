/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FETCHER_INTERNAL_H
#define COHUE_FETCHER_INTERNAL_H

#include "fetcher/transfer.h"
#include "process/role.h"

/* What the files of this role share. */

/*
 * From a task: the addresses of a host, by the resolver, into `addresses` and the request's count; nothing for a numeric host, which must be
 * allowed (`loopback`). ERR_DENIED, ERR_FORMAT (no name), ERR_NOT_FOUND, and what RESOLVE gives.
 */
COHUE_MUST_USE enum err fetcher_addresses(struct role_host *h, const struct transfer_url *url, bool loopback,
					  struct transfer_request *request,
					  struct transfer_address addresses[TRANSFER_ADDRESSES_MAX]);

/* ---- acme.c: certificates for the house ---- */

struct acme;
/* Before the sandbox. authorities: PEM, of the system or the configuration. Where acme is off *ret stays NULL. Says what fails. */
COHUE_MUST_USE enum err acme_create(struct role_host *h, struct bytes authorities, struct acme **ret);
/* When the role has started. */
COHUE_MUST_USE enum err acme_start(struct acme *a);
/* ACME_RENEW: ERR_OK where it will be answered. a may be NULL: ERR_DENIED. */
COHUE_MUST_USE enum err acme_renew(struct acme *a, const struct channel_message *m);
COHUE_MUST_USE enum err acme_status(const struct acme *a, struct buf *out);

#endif
