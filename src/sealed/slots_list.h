/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_SLOTS_LIST_H
#define COHUE_SEALED_SLOTS_LIST_H

#include "sealed/slots.h"
#include "sealed/value.h"

/* The slot list in memory (internal to this module): slots.c codes it, slots_open.c and slots_change.c work on it. */

enum {
	SLOT_WRAPPED_LEN = 24 + 32 + 16,           /* nonce, a secret, tag */
	SLOT_LABEL_LEN = SLOT_LABEL_MAX + 2 + 48,  /* box of the padded label */
	SLOT_GENERATION_LEN = BOX_SECRET_LEN + 48, /* box of a generation's secret */
	SLOT_VERIFIER_LEN = 24 + 64 + 16,          /* nonce, StoredKey, ServerKey, tag */
	SLOTS_STEP = 1024,
};

struct slot {
	uint32_t number;
	enum slot_kind kind;
	uint32_t created_day;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t salt[SEALED_SALT_LEN];
	uint8_t wrapped[SLOT_WRAPPED_LEN]; /* the slot's secret */
	uint32_t label_generation;
	uint8_t label[SLOT_LABEL_LEN];
	uint8_t newest[SLOT_GENERATION_LEN]; /* the newest generation's secret */
	bool has_scram;
	uint8_t verifier[SLOT_VERIFIER_LEN]; /* under a key from the pepper */
	uint8_t
	    scram_wrapped[SLOT_WRAPPED_LEN]; /* the slot's secret, under a key from pepper and ClientKey */
};

/* Generation i + 1. */
struct slot_generation {
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t
	    wrapped[SLOT_WRAPPED_LEN]; /* its secret, under a key from the next newer; zero in the newest */
};

struct sealed_slots {
	uint8_t account[SEALED_ID_LEN];
	uint32_t revision;       /* one more with each change; 0: a list of version 1, which had none */
	uint32_t next_number;    /* numbers are never given twice */
	struct slot_scram scram; /* of all verifiers; count 0: there is none */
	size_t slot_count;
	struct slot slots[SLOTS_MAX]; /* ascending by number */
	size_t generation_count;
	struct slot_generation generations[MEMBER_GENERATIONS_MAX];
};

void slot_wrap_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], const struct slot *slot);
void slot_generation_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t slot_number,
			uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN]);
void slot_label_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t slot_number);
/* For a generation's secret that the next newer one wraps. */
void slot_older_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t generation,
		   const uint8_t public_key[BOX_PUBLIC_LEN]);
void slot_older_key(const uint8_t newer_secret[BOX_SECRET_LEN], uint8_t ret[SEALED_KEY_LEN]);
/* What an application password or recovery code gives for a slot. */
void slot_code_key(const uint8_t pepper[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		   uint32_t number, enum slot_kind kind, const uint8_t salt[SEALED_SALT_LEN],
		   const uint8_t secret[SLOT_CODE_SECRET_MAX], uint8_t ret[SEALED_KEY_LEN]);
/* Seals a secret: nonce, ciphertext, tag. */
void slot_wrap(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad,
	       const uint8_t secret[BOX_SECRET_LEN], uint8_t ret[SLOT_WRAPPED_LEN]);
/* Opens a slot whose secret is `wrapped` under key and ad. ERR_AUTH, ERR_MEMORY, ERR_DAMAGED as sealed_slots_open_main. */
COHUE_MUST_USE enum err slot_unlock(const struct sealed_slots *slots, const struct slot *slot,
				    const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad,
				    const uint8_t wrapped[SLOT_WRAPPED_LEN], struct member_keys *ret);
/* The slot's secret alone. ERR_AUTH. */
COHUE_MUST_USE enum err slot_unwrap(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad,
				    const uint8_t wrapped[SLOT_WRAPPED_LEN], uint8_t ret[BOX_SECRET_LEN]);
/* Every change of a list ends in this. */
void slots_next_revision(struct sealed_slots *list);
/* As a real list would be made and unsealed, for whom there is none. ERR_MEMORY. */
COHUE_MUST_USE enum err slots_fake(struct sealed_slots **ret);
#define SLOT_LABEL_BOX "cohue slot label 1"
#define SLOT_GENERATION_BOX "cohue generation 1"

#endif
