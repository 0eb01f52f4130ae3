/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_FORWARD_LIST_H
#define COHUE_SEALED_FORWARD_LIST_H

#include "sealed/directory.h"

/*
 * Where a member has her mail sent on, as the keeper signs it when she says so with a secret of hers. Who gives the courier something to
 * send on shows it this list, and it goes to nobody else: a gate can neither make a list nor change one. Her wish lives as long as the secret
 * by which she said it: the list names that one's slot, and who takes the slot away ends the wish.
 */

enum { FORWARD_LIST_MAX = (DIRECTORY_FORWARDS_MAX + 1) * (DIRECTORY_ADDRESS_MAX + 4) + 1 + 4 };

struct forward_list {
	struct bytes name; /* her local part */
	size_t count;      /* 1 to DIRECTORY_FORWARDS_MAX */
	struct bytes addresses[DIRECTORY_FORWARDS_MAX];
	uint32_t slot; /* of the secret by which she said so: never 0 */
};

/* Appends the list of an entry, to a buffer with room for FORWARD_LIST_MAX. ERR_FORMAT: there is none. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err forward_list_put(const struct directory_account *entry, struct buf *ret);
/* Views borrow from encoded. ERR_FORMAT. */
COHUE_MUST_USE enum err forward_list_decode(struct bytes encoded, struct forward_list *ret);

/* What the keeper signs besides the account. */
void forward_list_hash(struct bytes encoded, uint8_t ret[SEALED_HASH_LEN]);
void forward_list_sign(const uint8_t seed[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		       const uint8_t hash[SEALED_HASH_LEN], uint8_t ret[SIGN_LEN]);
/* ERR_AUTH: the keeper has not signed this list for this account. About 60 microseconds. */
COHUE_MUST_USE enum err forward_list_verify(const uint8_t verify_key[SEALED_KEY_LEN],
					    const uint8_t account[SEALED_ID_LEN], struct bytes encoded,
					    const uint8_t signature[SIGN_LEN]);

#endif
