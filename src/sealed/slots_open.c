/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Opening a slot. What is not there is replaced by a slot of zeros, so that the same work is done. */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/password.h"
#include "sealed/directory.h"
#include "sealed/slots_list.h"

static const struct slot no_slot = {.kind = SLOT_MAIN};

/* All generations, oldest first, from the newest one's secret down the chain. */
static enum err
collect(const struct sealed_slots *slots, const uint8_t newest[BOX_SECRET_LEN], struct member_keys *ret)
{
	uint8_t older_key[SEALED_KEY_LEN];
	uint8_t check[BOX_PUBLIC_LEN];
	size_t count = slots->generation_count;
	enum err e = ERR_OK;

	box_public(newest, check);
	if (memcmp(check, slots->generations[count - 1].public_key, sizeof(check)) != 0) {
		return ERR_DAMAGED;
	}
	/* 8 KiB at most: in the pool, in two pieces where it must be. */
	uint8_t *halves[2] = {secret_alloc(count > 128 ? 4096 : count * BOX_SECRET_LEN),
			      count > 128 ? secret_alloc(4096) : NULL};
	if (halves[0] == NULL || (count > 128 && halves[1] == NULL)) {
		e = ERR_MEMORY;
		goto out;
	}
	memcpy(halves[(count - 1) / 128] + (count - 1) % 128 * BOX_SECRET_LEN, newest, BOX_SECRET_LEN);
	for (size_t i = count - 1; i > 0 && e == ERR_OK; i--) {
		const struct slot_generation *g = &slots->generations[i - 1];
		struct sealed_ad ad;
		slot_older_key(halves[i / 128] + i % 128 * BOX_SECRET_LEN, older_key);
		slot_older_ad(&ad, slots->account, (uint32_t)i, g->public_key);
		if (crypto_open(older_key, g->wrapped, sealed_ad_bytes(&ad),
				bytes_of(g->wrapped + SEALED_NONCE_LEN, SLOT_WRAPPED_LEN - SEALED_NONCE_LEN),
				halves[(i - 1) / 128] + (i - 1) % 128 * BOX_SECRET_LEN) != ERR_OK) {
			e = ERR_DAMAGED;
		}
	}
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = member_keys_add(ret, (uint32_t)i + 1, slots->generations[i].public_key,
				    halves[i / 128] + i % 128 * BOX_SECRET_LEN);
	}
	if (e != ERR_OK) {
		member_keys_clear(ret);
	}
out:
	secret_free(halves[0]);
	secret_free(halves[1]);
	secret_wipe(older_key, sizeof(older_key));
	return e;
}

enum err
slot_unwrap(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad,
	    const uint8_t wrapped[SLOT_WRAPPED_LEN], uint8_t ret[BOX_SECRET_LEN])
{
	return crypto_open(key, wrapped, sealed_ad_bytes(ad),
			   bytes_of(wrapped + SEALED_NONCE_LEN, SLOT_WRAPPED_LEN - SEALED_NONCE_LEN),
			   ret) == ERR_OK
		   ? ERR_OK
		   : ERR_AUTH;
}

enum err
slot_unlock(const struct sealed_slots *slots, const struct slot *slot, const uint8_t key[SEALED_KEY_LEN],
	    const struct sealed_ad *wrap_ad, const uint8_t wrapped[SLOT_WRAPPED_LEN], struct member_keys *ret)
{
	uint8_t secret[BOX_SECRET_LEN];
	struct sealed_ad ad;

	enum err e = slot_unwrap(key, wrap_ad, wrapped, secret);
	if (e != ERR_OK || slot->number == 0) {
		return ERR_AUTH;
	}
	uint32_t generation = (uint32_t)slots->generation_count;
	struct buf newest = BUF_INIT(BOX_SECRET_LEN + 1);
	slot_generation_ad(&ad, slots->account, slot->number, generation,
			   slots->generations[generation - 1].public_key);
	e = box_open(secret, slot->public_key, SLOT_GENERATION_BOX, sealed_ad_bytes(&ad),
		     bytes_of(slot->newest, sizeof(slot->newest)), &newest);
	secret_wipe(secret, sizeof(secret));
	if (e == ERR_OK) {
		e = collect(slots, newest.ptr, ret);
	} else if (e != ERR_MEMORY) {
		e = ERR_DAMAGED;
	}
	buf_wipe(&newest);
	return e;
}

/* With the key that wraps the slot's secret. */
static enum err
unlock(const struct sealed_slots *slots, const struct slot *slot, const uint8_t key[SEALED_KEY_LEN],
       struct member_keys *ret)
{
	struct sealed_ad ad;
	slot_wrap_ad(&ad, slots->account, slot);
	return slot_unlock(slots, slot, key, &ad, slot->wrapped, ret);
}

enum err
sealed_slots_open_main(const struct sealed_slots *slots, const uint8_t pepper[SEALED_KEY_LEN],
		       struct bytes password, struct member_keys *ret_keys, uint32_t *ret_number)
{
	const struct slot *slot = &no_slot;
	uint8_t key[SEALED_KEY_LEN];

	for (size_t i = 0; i < slots->slot_count; i++) {
		if (slots->slots[i].kind == SLOT_MAIN) {
			slot = &slots->slots[i];
		}
	}
	/* What is too long for any password is wrong at the same price. */
	bool too_long = password.len > PASSWORD_MAX;
	enum err e = password_key(pepper, bytes_slice(password, 0, PASSWORD_MAX), slot->salt, key);
	if (e != ERR_OK) {
		return e;
	}
	e = too_long ? ERR_AUTH : unlock(slots, slot, key, ret_keys);
	secret_wipe(key, sizeof(key));
	if (e == ERR_OK) {
		*ret_number = slot->number;
	}
	return e;
}

static enum err
try_code(const struct sealed_slots *slots, const struct slot *slot, const uint8_t pepper[SEALED_KEY_LEN],
	 const struct slot_code *code, struct member_keys *ret_keys, uint32_t *ret_number)
{
	uint8_t key[SEALED_KEY_LEN];
	slot_code_key(pepper, slots->account, slot->number, code->kind, slot->salt, code->secret, key);
	enum err e = unlock(slots, slot, key, ret_keys);
	secret_wipe(key, sizeof(key));
	if (e == ERR_OK) {
		*ret_number = slot->number;
	}
	return e;
}

enum err
sealed_slots_open_code(const struct sealed_slots *slots, const uint8_t pepper[SEALED_KEY_LEN],
		       const struct slot_code *code, struct member_keys *ret_keys, uint32_t *ret_number)
{
	enum err e = ERR_AUTH;
	bool tried = false;

	for (size_t i = 0; i < slots->slot_count && e == ERR_AUTH; i++) {
		const struct slot *s = &slots->slots[i];
		if (s->kind == code->kind && (code->kind == SLOT_RECOVERY || s->number == code->number)) {
			e = try_code(slots, s, pepper, code, ret_keys, ret_number);
			tried = true;
		}
	}
	return tried ? e : try_code(slots, &no_slot, pepper, code, ret_keys, ret_number);
}

enum err
slots_fake(struct sealed_slots **ret)
{
	static const uint8_t no_key[SEALED_KEY_LEN];
	static const uint8_t no_value[1 + SEALED_NONCE_LEN + SLOTS_STEP + CRYPTO_TAG_LEN] = {SEALED_VERSION};
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct sealed_slots *no_list = calloc(1, sizeof(*no_list));
	if (no_list == NULL) {
		return ERR_MEMORY;
	}
	no_list->generation_count = 1;
	enum err e = sealed_directory_get(no_key, no_key, bytes_of(no_value, sizeof(no_value)), &plain);
	buf_wipe(&plain);
	if (e == ERR_MEMORY) {
		sealed_slots_destroy(&no_list);
		return e;
	}
	*ret = no_list;
	return ERR_OK;
}

enum err
sealed_slots_fake_open(const uint8_t pepper[SEALED_KEY_LEN], struct bytes password,
		       const struct slot_code *code)
{
	struct member_keys keys;
	struct sealed_slots *no_list = NULL;
	uint32_t number = 0;

	enum err e = slots_fake(&no_list);
	if (e != ERR_OK) {
		return e;
	}
	member_keys_init(&keys);
	e = code == NULL ? sealed_slots_open_main(no_list, pepper, password, &keys, &number)
			 : sealed_slots_open_code(no_list, pepper, code, &keys, &number);
	member_keys_clear(&keys);
	sealed_slots_destroy(&no_list);
	return e == ERR_MEMORY ? ERR_MEMORY : ERR_AUTH;
}
