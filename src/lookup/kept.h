/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOKUP_KEPT_H
#define COHUE_LOOKUP_KEPT_H

#include "process/role.h"
#include "sealed/spool.h"

/*
 * What a process wants to find again after a restart: one value of at most SPOOL_VALUE_MAX octets for each process of a role, sealed under a purpose key
 * of that role's and put among the store's values by way of the mixer. From tasks.
 */

/* Appends the value of one place. ERR_NOT_FOUND: none yet; ERR_AUTH, ERR_FORMAT, ERR_UNSUPPORTED: it cannot be read; all else: later. */
COHUE_MUST_USE enum err kept_get(struct role_host *h, const uint8_t key[SEALED_KEY_LEN], const char *role,
				 unsigned place, struct buf *ret_plain);
/* Puts the own one. */
COHUE_MUST_USE enum err kept_put(struct role_host *h, const uint8_t key[SEALED_KEY_LEN], const char *role,
				 struct bytes plain);

#endif
