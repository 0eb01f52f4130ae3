/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOKUP_VERIFIED_H
#define COHUE_LOOKUP_VERIFIED_H

#include "sealed/directory.h"

/*
 * The keeper's signatures under members' public keys, each verified once: a verification costs more than all else of a lookup.
 * Remembered are hashes over all that a signature states and the signature itself, each in the one place that its first octets
 * name; the newer one stays.
 */

enum { VERIFIED_MAX = 1024 };

struct verified_keys {
	uint8_t hash[VERIFIED_MAX][SEALED_HASH_LEN];
	uint64_t signatures; /* verified, and not only remembered */
};

/* ERR_DAMAGED: the entry's key is not signed with this verification key's seed, or has no signature yet. */
COHUE_MUST_USE enum err verified_check(struct verified_keys *v, const uint8_t verify_key[SEALED_KEY_LEN],
				       const struct directory_account *entry);

#endif
