/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SCRAM verifiers beside application passwords. What is not there is replaced by an empty one, so that every check does the
 * work of SLOTS_MAX.
 */
#include <string.h>

#include "base/secret.h"
#include "sealed/slots_list.h"

/* StoredKey, ServerKey. */
enum { VERIFIER_PLAIN = 2 * SCRAM_KEY_LEN };
_Static_assert((int)SLOT_VERIFIER_LEN == (int)SEALED_NONCE_LEN + (int)VERIFIER_PLAIN + (int)CRYPTO_TAG_LEN,
	       "verifier");

static const struct slot no_slot = {.kind = SLOT_APP};

/* What names a slot, after a label. */
static void
slot_ad(struct sealed_ad *ad, const char *label, const uint8_t account[SEALED_ID_LEN],
	const struct slot *slot)
{
	sealed_ad_init(ad, label);
	sealed_ad_put(ad, account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, slot->number);
	sealed_ad_put(ad, slot->public_key, BOX_PUBLIC_LEN);
}

static void
verifier_key(const uint8_t pepper[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
	     const struct slot *slot, uint8_t ret[SEALED_KEY_LEN])
{
	struct sealed_ad m;
	sealed_ad_init(&m, "cohue scram verifier key 1");
	sealed_ad_put(&m, account, SEALED_ID_LEN);
	sealed_ad_put_u32(&m, slot->number);
	sealed_ad_put(&m, slot->salt, SEALED_SALT_LEN);
	crypto_mac(pepper, sealed_ad_bytes(&m), ret);
}

static void
client_key(const uint8_t pepper[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
	   const struct slot *slot, const uint8_t client[SCRAM_KEY_LEN], uint8_t ret[SEALED_KEY_LEN])
{
	struct sealed_ad m;
	sealed_ad_init(&m, "cohue scram client key 1");
	sealed_ad_put(&m, account, SEALED_ID_LEN);
	sealed_ad_put_u32(&m, slot->number);
	sealed_ad_put(&m, slot->salt, SEALED_SALT_LEN);
	sealed_ad_put(&m, client, SCRAM_KEY_LEN);
	crypto_mac(pepper, sealed_ad_bytes(&m), ret);
	secret_wipe(&m, sizeof(m));
}

static void
verifier_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], const struct slot *slot,
	    const struct slot_scram *scram)
{
	slot_ad(ad, "cohue scram verifier 1", account, slot);
	sealed_ad_put(ad, scram->salt, SCRAM_SALT_LEN);
	sealed_ad_put_u32(ad, scram->count);
}

static void
seal_verifier(const uint8_t pepper[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN], struct slot *slot,
	      const struct slot_scram *scram, const struct scram_keys *keys)
{
	struct sealed_ad ad;
	uint8_t key[SEALED_KEY_LEN];
	uint8_t plain[VERIFIER_PLAIN];
	memcpy(plain, keys->stored, SCRAM_KEY_LEN);
	memcpy(plain + SCRAM_KEY_LEN, keys->server, SCRAM_KEY_LEN);
	verifier_key(pepper, account, slot, key);
	verifier_ad(&ad, account, slot, scram);
	crypto_random_bytes(slot->verifier, SEALED_NONCE_LEN);
	crypto_seal(key, slot->verifier, sealed_ad_bytes(&ad), bytes_of(plain, sizeof(plain)),
		    slot->verifier + SEALED_NONCE_LEN);
	secret_wipe(key, sizeof(key));
	secret_wipe(plain, sizeof(plain));
}

static bool
is_same(const struct slot_scram *a, const struct slot_scram *b)
{
	return a->count == b->count && memcmp(a->salt, b->salt, sizeof(a->salt)) == 0;
}

static struct slot *
app_slot(struct sealed_slots *slots, uint32_t number)
{
	for (size_t i = 0; i < slots->slot_count; i++) {
		if (slots->slots[i].kind == SLOT_APP && slots->slots[i].number == number) {
			return &slots->slots[i];
		}
	}
	return NULL;
}

bool
sealed_slots_has_scram(const struct sealed_slots *slots, uint32_t number, const struct slot_scram *scram)
{
	bool has = false;
	for (size_t i = 0; i < slots->slot_count; i++) {
		has = has || (slots->slots[i].number == number && slots->slots[i].has_scram);
	}
	return has && is_same(&slots->scram, scram);
}

enum err
sealed_slots_add_scram(struct sealed_slots *slots, const uint8_t pepper[SEALED_KEY_LEN],
		       const struct slot_code *code, const struct slot_scram *scram)
{
	char text[SLOT_CODE_TEXT_MAX];
	uint8_t secret[BOX_SECRET_LEN];
	uint8_t key[SEALED_KEY_LEN];
	struct scram_keys keys;
	struct sealed_ad ad;
	struct slot *slot = code->kind == SLOT_APP ? app_slot(slots, code->number) : NULL;

	if (code->kind != SLOT_APP || scram->count == 0 || scram->count > SLOT_SCRAM_COUNT_MAX) {
		return ERR_UNSUPPORTED;
	}
	if (slot == NULL) {
		return ERR_AUTH;
	}
	slot_code_key(pepper, slots->account, slot->number, slot->kind, slot->salt, code->secret, key);
	slot_wrap_ad(&ad, slots->account, slot);
	enum err e = slot_unwrap(key, &ad, slot->wrapped, secret);
	if (e == ERR_OK) {
		for (size_t i = 0; i < slots->slot_count && !is_same(&slots->scram, scram); i++) {
			slots->slots[i].has_scram = false;
		}
		slots->scram = *scram;
		slot_code_print(code, text);
		scram_derive(bytes_str(text), scram->salt, scram->count, &keys);
		seal_verifier(pepper, slots->account, slot, scram, &keys);
		client_key(pepper, slots->account, slot, keys.client, key);
		slot_ad(&ad, "cohue slot scram 1", slots->account, slot);
		slot_wrap(key, &ad, secret, slot->scram_wrapped);
		slot->has_scram = true;
		slots_next_revision(slots);
		secret_wipe(text, sizeof(text));
		secret_wipe(&keys, sizeof(keys));
	}
	secret_wipe(secret, sizeof(secret));
	secret_wipe(key, sizeof(key));
	return e;
}

/* What the place of a slot without verifier is tried with: it opens as a real one does, and no proof fits it. */
static void
make_empty(const uint8_t pepper[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
	   const struct slot_scram *scram, struct slot *ret)
{
	struct scram_keys keys;
	crypto_random_bytes(&keys, sizeof(keys));
	*ret = no_slot;
	seal_verifier(pepper, account, ret, scram, &keys);
	secret_wipe(&keys, sizeof(keys));
}

/* Tries one slot. What fits is kept: the slot, its key, and what shows that we know her ServerKey. */
struct trial {
	const struct slot *slot;
	uint8_t client[SCRAM_KEY_LEN];
	uint8_t signature[SCRAM_KEY_LEN];
};

static void
try_slot(const struct sealed_slots *slots, const struct slot *slot, const uint8_t pepper[SEALED_KEY_LEN],
	 const struct slot_scram *scram, const struct scram_message *m, const uint8_t proof[SCRAM_KEY_LEN],
	 struct trial *t)
{
	struct sealed_ad ad;
	uint8_t key[SEALED_KEY_LEN];
	uint8_t plain[VERIFIER_PLAIN];
	uint8_t client[SCRAM_KEY_LEN];
	uint8_t signature[SCRAM_KEY_LEN];
	verifier_key(pepper, slots->account, slot, key);
	verifier_ad(&ad, slots->account, slot, scram);
	memset(plain, 0, sizeof(plain));
	bool opens =
	    crypto_open(key, slot->verifier, sealed_ad_bytes(&ad),
			bytes_of(slot->verifier + SEALED_NONCE_LEN, SLOT_VERIFIER_LEN - SEALED_NONCE_LEN),
			plain) == ERR_OK;
	bool fits = scram_check(plain, m, proof, client);
	scram_sign(plain + SCRAM_KEY_LEN, m, signature);
	if (opens && fits && slot->number != 0) {
		t->slot = slot;
		memcpy(t->client, client, sizeof(client));
		memcpy(t->signature, signature, sizeof(signature));
	}
	secret_wipe(key, sizeof(key));
	secret_wipe(plain, sizeof(plain));
	secret_wipe(client, sizeof(client));
	secret_wipe(signature, sizeof(signature));
}

enum err
sealed_slots_open_scram(const struct sealed_slots *slots, const uint8_t pepper[SEALED_KEY_LEN],
			const struct slot_scram *scram, const struct scram_message *m,
			const uint8_t proof[SCRAM_KEY_LEN], struct member_keys *ret_keys,
			uint32_t *ret_number, uint8_t ret_signature[SCRAM_KEY_LEN])
{
	struct slot empty;
	struct trial t = {.slot = &no_slot};
	struct sealed_ad ad;
	uint8_t key[SEALED_KEY_LEN];
	bool same = is_same(&slots->scram, scram);

	make_empty(pepper, slots->account, scram, &empty);
	for (size_t i = 0; i < SLOTS_MAX; i++) {
		bool there = same && i < slots->slot_count && slots->slots[i].has_scram;
		try_slot(slots, there ? &slots->slots[i] : &empty, pepper, scram, m, proof, &t);
	}
	client_key(pepper, slots->account, t.slot, t.client, key);
	slot_ad(&ad, "cohue slot scram 1", slots->account, t.slot);
	enum err e = slot_unlock(slots, t.slot, key, &ad, t.slot->scram_wrapped, ret_keys);
	if (e == ERR_OK) {
		*ret_number = t.slot->number;
		memcpy(ret_signature, t.signature, SCRAM_KEY_LEN);
	} else if (e == ERR_AUTH && t.slot->number != 0) {
		e = ERR_DAMAGED; /* the proof was right */
	}
	secret_wipe(key, sizeof(key));
	secret_wipe(&t, sizeof(t));
	return e;
}

enum err
sealed_slots_fake_scram(const uint8_t pepper[SEALED_KEY_LEN], const struct slot_scram *scram,
			const struct scram_message *m, const uint8_t proof[SCRAM_KEY_LEN])
{
	struct sealed_slots *no_list = NULL;
	struct member_keys keys;
	uint8_t signature[SCRAM_KEY_LEN];
	uint32_t number = 0;
	enum err e = slots_fake(&no_list);
	if (e != ERR_OK) {
		return e;
	}
	member_keys_init(&keys);
	e = sealed_slots_open_scram(no_list, pepper, scram, m, proof, &keys, &number, signature);
	member_keys_clear(&keys);
	sealed_slots_destroy(&no_list);
	return e == ERR_MEMORY ? ERR_MEMORY : ERR_AUTH;
}
