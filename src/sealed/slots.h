/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_SLOTS_H
#define COHUE_SEALED_SLOTS_H

#include "crypto/scram.h"
#include "sealed/member_keys.h"

/*
 * The slot list of an account: who can open it, and with what. A slot is an X25519 pair whose
 * secret is wrapped by a main password (Argon2id), an application password or a recovery code
 * (keyed BLAKE2b: they are random). The newest generation's secret is sealed to the public key
 * of each slot; each older generation's secret is wrapped under a key from the next newer one, so that
 * opening costs one scalar multiplication however many generations there were, and a revoked slot,
 * which knows only older secrets, cannot go forward.
 *
 * The list is one directory value (key: sealed_slots_key), padded to multiples of 1 KiB. Every change gives one
 * new value and touches no mail. The log commits to sealed_slots_hash and the revision.
 */

enum {
	SLOTS_MAX = 64,
	SLOT_LABEL_MAX = 62,
	SLOT_NUMBER_MAX = 99999,
	SLOT_CODE_SECRET_MAX = 20,
	SLOT_CODE_TEXT_MAX = 64,
	SLOT_SCRAM_COUNT_MAX = 1000000,
};

enum slot_kind {
	SLOT_MAIN = 1,
	SLOT_APP = 2,
	SLOT_RECOVERY = 3,
};

/* A generated credential: what an application password or recovery code says. Wipe it after use. */
struct slot_code {
	enum slot_kind kind; /* SLOT_APP or SLOT_RECOVERY */
	uint32_t number;     /* application passwords name their slot; 0 in a parsed recovery code */
	uint8_t secret[SLOT_CODE_SECRET_MAX]; /* 16 bytes for SLOT_APP, 20 for SLOT_RECOVERY */
};

/* The text of a code, NUL-terminated: `7-xxxxx-xxxxx-xxxxx-xxxxx-xxxxx-xx` or seven groups of five. */
void slot_code_print(const struct slot_code *code, char ret[SLOT_CODE_TEXT_MAX]);
/*
 * Reads either form; ignores case, spaces and hyphens, takes o for 0 and i, l for 1. ERR_FORMAT: it is
 * neither (at a login: then it is a main password). The checksum finds all but 1 in 128 mistypings
 * of an application password, 1 in 32,768 of a recovery code.
 */
COHUE_MUST_USE enum err slot_code_parse(struct bytes text, struct slot_code *ret);

struct sealed_slots;

/* What may be shown of a slot. */
struct slot_info {
	uint32_t number;
	enum slot_kind kind;
	uint32_t created_day; /* since 1970 */
};

/* A new account's list: generation 1, no slot yet (add one before sealing it). Fills ret_keys (must be empty). */
COHUE_MUST_USE enum err sealed_slots_create(const uint8_t account[SEALED_ID_LEN], struct sealed_slots **ret,
					    struct member_keys *ret_keys);
void sealed_slots_destroy(struct sealed_slots **slots);

/* The directory key of an account's list: BLAKE2b-256(directory_hash, "slots:" || account). */
void sealed_slots_key(const uint8_t directory_hash[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		      uint8_t ret[SEALED_HASH_LEN]);
/* Appends the directory value. ERR_STATE: no slot. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err sealed_slots_seal(const struct sealed_slots *slots,
					  const uint8_t directory_seal[SEALED_KEY_LEN],
					  const uint8_t key[SEALED_HASH_LEN], struct buf *ret);
/* ERR_AUTH, ERR_FORMAT, ERR_UNSUPPORTED (newer version), ERR_MEMORY; ERR_DAMAGED: it is another account's. */
COHUE_MUST_USE enum err sealed_slots_unseal(const uint8_t directory_seal[SEALED_KEY_LEN],
					    const uint8_t key[SEALED_HASH_LEN],
					    const uint8_t account[SEALED_ID_LEN], struct bytes value,
					    struct sealed_slots **ret);
/* From the plain bytes of a directory value of kind DIRECTORY_SLOTS (used by the above and by walks). */
COHUE_MUST_USE enum err sealed_slots_decode(struct bytes plain, struct sealed_slots **ret);
const uint8_t *sealed_slots_account(const struct sealed_slots *slots);
/* BLAKE2b-256 of "cohue slot list 1" and the plain list: what the log commits to. ERR_MEMORY. */
COHUE_MUST_USE enum err sealed_slots_hash(const struct sealed_slots *slots, uint8_t ret[SEALED_HASH_LEN]);

/*
 * Rises with every change, from 1 on; 0: written before there were revisions. The log commits to it too, so that an older list, put
 * back in the place of a newer one, is found out.
 */
uint32_t sealed_slots_revision(const struct sealed_slots *slots);

size_t sealed_slots_count(const struct sealed_slots *slots);
/* index < count, ascending by number. */
struct slot_info sealed_slots_info(const struct sealed_slots *slots, size_t index);
/* The label of a slot, appended to ret: only the member can read it. ERR_NOT_FOUND, ERR_AUTH. */
COHUE_MUST_USE enum err sealed_slots_label(const struct sealed_slots *slots, const struct member_keys *keys,
					   uint32_t number, struct buf *ret);
/* The present generation and its public key (for the account's directory entry). */
uint32_t sealed_slots_generation(const struct sealed_slots *slots, uint8_t ret_public[BOX_PUBLIC_LEN]);

/*
 * Adding slots. Needs the member's keys (an opened slot, or a new list). `label` at most SLOT_LABEL_MAX bytes,
 * readable by the member only. ERR_LIMIT: SLOTS_MAX reached or label too long. ERR_MEMORY. The list is
 * unchanged on failure. There is at most one main slot: ERR_EXISTS.
 */
COHUE_MUST_USE enum err sealed_slots_add_main(struct sealed_slots *slots, const struct member_keys *keys,
					      const uint8_t pepper[SEALED_KEY_LEN], struct bytes password,
					      uint32_t day, struct bytes label, uint32_t *ret_number);
/* kind SLOT_APP or SLOT_RECOVERY; gives the random code to print for the member. */
COHUE_MUST_USE enum err sealed_slots_add_code(struct sealed_slots *slots, const struct member_keys *keys,
					      const uint8_t pepper[SEALED_KEY_LEN], enum slot_kind kind,
					      uint32_t day, struct bytes label, struct slot_code *ret_code);
/* A new main password in the place of the old one (or the first): a new slot pair, the same generation. */
COHUE_MUST_USE enum err sealed_slots_change_main(struct sealed_slots *slots, const struct member_keys *keys,
						 const uint8_t pepper[SEALED_KEY_LEN], struct bytes password,
						 uint32_t day, uint32_t *ret_number);
/*
 * Takes a slot away and begins a new generation (also added to keys), so that what it knew opens nothing
 * that comes after. ERR_NOT_FOUND. ERR_STATE: it is the last slot. The caller writes the account's
 * directory entry anew, with the new public key.
 */
COHUE_MUST_USE enum err sealed_slots_revoke(struct sealed_slots *slots, struct member_keys *keys,
					    uint32_t number);
/* A new generation, sealed to all slots: at the first login. ERR_LIMIT past MEMBER_GENERATIONS_MAX. */
COHUE_MUST_USE enum err sealed_slots_new_generation(struct sealed_slots *slots, struct member_keys *keys);

/*
 * Opening. ret_keys must be empty; ret_number names the slot. ERR_AUTH: wrong, or there is no such slot (the
 * same work is done then, so that time does not tell). ERR_MEMORY: a temporary failure. ERR_DAMAGED:
 * the slot opens but the generations behind it do not.
 */
COHUE_MUST_USE enum err sealed_slots_open_main(const struct sealed_slots *slots,
					       const uint8_t pepper[SEALED_KEY_LEN], struct bytes password,
					       struct member_keys *ret_keys, uint32_t *ret_number);
/* Under 50 microseconds besides one or two scalar multiplications. A recovery code tries each recovery slot. */
COHUE_MUST_USE enum err sealed_slots_open_code(const struct sealed_slots *slots,
					       const uint8_t pepper[SEALED_KEY_LEN],
					       const struct slot_code *code, struct member_keys *ret_keys,
					       uint32_t *ret_number);
/*
 * For a member who does not exist or is suspended: the work of unsealing a list and of a failed opening.
 * code NULL: a main password. Gives ERR_AUTH, or ERR_MEMORY where a real one would.
 */
COHUE_MUST_USE enum err sealed_slots_fake_open(const uint8_t pepper[SEALED_KEY_LEN], struct bytes password,
					       const struct slot_code *code);

/*
 * SCRAM-SHA-256 for application passwords (slots_scram.c). Beside each may stand a verifier: StoredKey and ServerKey, sealed under
 * a key from the pepper, and the slot's secret once more, wrapped under a key from the pepper and the ClientKey, which whoever checks a
 * proof knows for that moment. The SCRAM password is the text of slot_code_print, octet by octet.
 */
struct slot_scram {
	uint8_t salt[SCRAM_SALT_LEN];
	uint32_t count; /* rounds, up to SLOT_SCRAM_COUNT_MAX */
};
/* Whether this slot has a verifier of this salt and count. */
bool sealed_slots_has_scram(const struct sealed_slots *slots, uint32_t number,
			    const struct slot_scram *scram);
/*
 * Makes a verifier for an application password; takes the time of scram_derive. Verifiers of another salt or count are
 * dropped: all of a list share theirs. The list is unchanged on failure. ERR_UNSUPPORTED: a recovery code. ERR_AUTH: the code does not open its slot.
 */
COHUE_MUST_USE enum err sealed_slots_add_scram(struct sealed_slots *slots,
					       const uint8_t pepper[SEALED_KEY_LEN],
					       const struct slot_code *code, const struct slot_scram *scram);
/*
 * Opens the slot whose password the proof shows, as sealed_slots_open_code. Tries as many as there can be, whatever the list
 * holds. ret_signature: what shows the client that we know her ServerKey.
 */
COHUE_MUST_USE enum err sealed_slots_open_scram(const struct sealed_slots *slots,
						const uint8_t pepper[SEALED_KEY_LEN],
						const struct slot_scram *scram, const struct scram_message *m,
						const uint8_t proof[SCRAM_KEY_LEN],
						struct member_keys *ret_keys, uint32_t *ret_number,
						uint8_t ret_signature[SCRAM_KEY_LEN]);
/* As sealed_slots_fake_open. */
COHUE_MUST_USE enum err sealed_slots_fake_scram(const uint8_t pepper[SEALED_KEY_LEN],
						const struct slot_scram *scram, const struct scram_message *m,
						const uint8_t proof[SCRAM_KEY_LEN]);

#endif
