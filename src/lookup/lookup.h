/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOKUP_LOOKUP_H
#define COHUE_LOOKUP_LOOKUP_H

#include "lookup/verified.h"
#include "mail/address.h"
#include "process/role.h"
#include "sealed/directory.h"

/*
 * Purpose keys from the keeper, and addresses to accounts by the store's directory: shared by gate-mx, opener
 * and session. All functions that ask another role are called from a task and suspend.
 */

struct purpose_keys {
	uint8_t *key[PURPOSE__COUNT];   /* in the pool; NULL where this role was granted none */
	struct verified_keys *verified; /* signatures that were good before */
};

/* Asks the keeper. ERR_TIMEOUT, ERR_CLOSED, ERR_MEMORY. */
COHUE_MUST_USE enum err purpose_keys_fetch(struct role_host *h, struct purpose_keys *ret);

/* To whom something can be sealed; the keeper's signature under its public key has been checked. */
struct lookup_account {
	uint8_t id[SEALED_ID_LEN];
	enum account_status status;
	uint32_t generation;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint64_t quota; /* bytes, 0: none */
	uint32_t created_day;
	bool forwards; /* what comes to her is to be sent on (lookup/forward.h) */
};

/*
 * The accounts behind an address of ours, at most DIRECTORY_ACCOUNTS_MAX, without those removed: as written, else without
 * its subaddress. An address without domain is one of ours. `ret` has room for `room` accounts.
 * ERR_DENIED: not our domain. ERR_NOT_FOUND. ERR_LIMIT: more than room. ERR_DAMAGED: an entry does not verify. Also
 * ERR_TIMEOUT, ERR_CLOSED, ERR_MEMORY: temporary.
 */
COHUE_MUST_USE enum err lookup_address(struct role_host *h, const struct purpose_keys *keys,
				       const struct mail_mailbox *mailbox, struct lookup_account *ret,
				       size_t room, size_t *ret_count);
/*
 * The same for a recipient of new mail of `size` octets as declared (RFC 1870 section 6), 0 where nothing was. Each account
 * is asked how full it is along with its entry, in one round trip. ERR_QUOTA: the one account behind the address has no room
 * for it; or, of several, none has, or to one of them not even the tolerance leaves room: limits.message_size over her
 * quota. One full mailbox does not stop the others, and who is behind a list is not passed over in silence.
 */
COHUE_MUST_USE enum err lookup_recipient(struct role_host *h, const struct purpose_keys *keys,
					 const struct mail_mailbox *mailbox, uint64_t size,
					 struct lookup_account *ret, size_t room, size_t *ret_count);
/*
 * The quota to say for a part of mail whose recipient was accepted; 0 for none. It is higher than hers by the tolerance and by
 * the largest message as it is stored, so that whoever was accepted takes what comes, of whatever size, and stops none of the
 * others. Only several messages at once, sent before the first was stored, can pass it.
 */
uint64_t lookup_ceiling(const struct role_host *h, const struct lookup_account *account);
/* One account by its id. With `ret_entry` (may be NULL) the whole entry, whose views borrow from ret_plain. */
COHUE_MUST_USE enum err lookup_account(struct role_host *h, const struct purpose_keys *keys,
				       const uint8_t id[SEALED_ID_LEN], struct lookup_account *ret,
				       struct buf *ret_plain, struct directory_account *ret_entry);
/* The value behind a key: opened and told its kind. ERR_NOT_FOUND, ERR_DAMAGED. */
COHUE_MUST_USE enum err lookup_value(struct role_host *h, const struct purpose_keys *keys,
				     const uint8_t key[SEALED_HASH_LEN], struct buf *ret_plain,
				     enum directory_kind *ret_kind);
/* Bytes in use by the account. */
COHUE_MUST_USE enum err lookup_used(struct role_host *h, const uint8_t id[SEALED_ID_LEN], uint64_t *ret_used);

/*
 * Gives a unit to the mixer and waits for its word, a minute at most. A mixer that dies before it answered is asked again when it
 * is back, under the same unit id: what is on disk is not put twice, and the sender need not come again with what would
 * be a second message. As MIX_PUT; ERR_CLOSED and ERR_AGAIN: it is not known, or was not taken.
 */
struct msg_mix_put;
COHUE_MUST_USE enum err mixer_put_unit(struct role_host *h, const struct msg_mix_put *m);

#endif
