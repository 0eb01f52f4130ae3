/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_DIRECTORY_H
#define COHUE_SEALED_DIRECTORY_H

#include "sealed/keys.h"

/*
 * The directory: address → accounts, account → what the gates need of it, account → slots. Found by
 * keyed hashes, sealed under `directory-seal` with the hash as associated data, padded to
 * multiples of 512 bytes (slot lists: 1 KiB), so that neither key nor size tells what an entry is.
 * A walk over all values gives the list of members: each plain value begins with its kind.
 */

enum {
	DIRECTORY_ACCOUNTS_MAX = 200, /* accounts behind one alias */
	DIRECTORY_ADDRESSES_MAX = 64, /* further addresses of one account */
	DIRECTORY_ADDRESS_MAX = 320,  /* bytes */
	DIRECTORY_VALUE_MAX = 64 * 1024,
	DIRECTORY_LANE_MAX = 2,
	DIRECTORY_REF_MAX = 32, /* octets of a reference */
	DIRECTORY_FORWARDS_MAX = 5,
	DIRECTORY_LIMIT_NONE = 65535,
};

enum directory_kind {
	DIRECTORY_ADDRESS = 1,
	DIRECTORY_ACCOUNT = 2,
	DIRECTORY_SLOTS = 3,
};

enum address_kind {
	ADDRESS_MEMBER = 1, /* exactly one account */
	ADDRESS_ALIAS = 2,  /* one or several */
};

enum account_status {
	ACCOUNT_INVITED = 1,
	ACCOUNT_ACTIVE = 2,
	ACCOUNT_SUSPENDED = 3,
	ACCOUNT_REMOVED = 4,
};

struct directory_address {
	enum address_kind kind;
	struct bytes address; /* the normalised address itself, so that a walk can list it */
	size_t count;
	uint8_t accounts[DIRECTORY_ACCOUNTS_MAX][SEALED_ID_LEN];
};

struct directory_account {
	uint8_t id[SEALED_ID_LEN];
	enum account_status status;
	struct bytes name; /* local part */
	size_t address_count;
	struct bytes
	    addresses[DIRECTORY_ADDRESSES_MAX]; /* normalised, besides name@domain; may be sent from */
	uint32_t generation;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t signature[SIGN_LEN]; /* sealed_public_verify it before sealing to public_key */
	bool unsigned_yet;           /* of version 1: a MAC (sealed_public_mac), and no signature */
	uint8_t mac[SEALED_HASH_LEN];
	uint64_t quota;       /* bytes, 0: none */
	uint32_t created_day; /* since 1970 */
	/* How her letters wait where neither letter nor envelope says it: enum law_lane, 0 to 2. */
	uint8_t lane;
	/* How she sends (session/sending_limit.h). */
	struct bytes held;    /* reference of the log's line about why she cannot send; empty: she can */
	uint32_t lifts;       /* how often that was lifted: what was found before is void */
	uint16_t limit_times; /* her multiple of the house's limits; 0: 1; DIRECTORY_LIMIT_NONE: no limits */
	/* Where a copy of what comes to her goes, elsewhere; by her own wish, and kept openly under the house's key. */
	size_t forward_count;
	struct bytes forwards[DIRECTORY_FORWARDS_MAX]; /* local@domain, the domain as A-labels */
	uint32_t forward_slot;                         /* by which secret she said so; gone with it */
	uint8_t forwards_signature[SIGN_LEN];          /* where there are any: sealed/forward_list.h */
};

/* BLAKE2b-256(directory_hash, "address:" || normalised address); normalising is the caller's. */
void directory_address_key(const uint8_t directory_hash[SEALED_KEY_LEN], struct bytes address,
			   uint8_t ret[SEALED_HASH_LEN]);
/* BLAKE2b-256(directory_hash, "account:" || id). For slots: sealed_slots_key. */
void directory_account_key(const uint8_t directory_hash[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
			   uint8_t ret[SEALED_HASH_LEN]);

/* Append the value. ERR_LIMIT: too many or too long. ERR_FORMAT: not a legal entry. ERR_MEMORY. */
COHUE_MUST_USE enum err directory_address_seal(const struct directory_address *entry,
					       const uint8_t directory_seal[SEALED_KEY_LEN],
					       const uint8_t key[SEALED_HASH_LEN], struct buf *ret);
COHUE_MUST_USE enum err directory_account_seal(const struct directory_account *entry,
					       const uint8_t directory_seal[SEALED_KEY_LEN],
					       const uint8_t key[SEALED_HASH_LEN], struct buf *ret);

/*
 * Opens any value: appends its plain bytes to ret_plain (an empty buffer, kept while views into it are in use;
 * wipe it then) and gives its kind; decode with the function of that kind. ERR_AUTH, ERR_FORMAT,
 * ERR_UNSUPPORTED, ERR_MEMORY.
 */
COHUE_MUST_USE enum err directory_unseal(const uint8_t directory_seal[SEALED_KEY_LEN],
					 const uint8_t key[SEALED_HASH_LEN], struct bytes value,
					 struct buf *ret_plain, enum directory_kind *ret_kind);
/* Views borrow from plain. ERR_FORMAT where it is of another kind or not well formed. */
COHUE_MUST_USE enum err directory_address_decode(struct bytes plain, struct directory_address *ret);
COHUE_MUST_USE enum err directory_account_decode(struct bytes plain, struct directory_account *ret);

#endif
