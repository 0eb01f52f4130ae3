/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Changes of a slot list. Each works on a copy and puts it in place when nothing can fail any more. */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/password.h"
#include "sealed/slots_list.h"

_Static_assert((int)SEALED_SALT_LEN == (int)PASSWORD_SALT_LEN, "salt");

static struct sealed_slots *
copy_of(const struct sealed_slots *slots)
{
	struct sealed_slots *copy = malloc(sizeof(*copy));
	if (copy != NULL) {
		memcpy(copy, slots, sizeof(*copy));
	}
	return copy;
}

/* Takes over what the copy holds. */
static void
put_in_place(struct sealed_slots *slots, struct sealed_slots **copy)
{
	memcpy(slots, *copy, sizeof(*slots));
	sealed_slots_destroy(copy);
}

void
slots_next_revision(struct sealed_slots *list)
{
	if (list->revision == UINT32_MAX) {
		panic("a slot list changed four thousand million times");
	}
	list->revision++;
}

void
slot_wrap(const uint8_t key[SEALED_KEY_LEN], const struct sealed_ad *ad, const uint8_t secret[BOX_SECRET_LEN],
	  uint8_t ret[SLOT_WRAPPED_LEN])
{
	crypto_random_bytes(ret, SEALED_NONCE_LEN);
	crypto_seal(key, ret, sealed_ad_bytes(ad), bytes_of(secret, BOX_SECRET_LEN), ret + SEALED_NONCE_LEN);
}

/* A box of known length into a fixed place. */
static enum err
box_into(const uint8_t to[BOX_PUBLIC_LEN], const char *label, const struct sealed_ad *ad, struct bytes plain,
	 uint8_t *ret, size_t len)
{
	struct buf b = BUF_INIT(len);
	enum err e = box_seal(to, label, sealed_ad_bytes(ad), plain, &b);
	if (e == ERR_OK) {
		memcpy(ret, b.ptr, len);
	}
	buf_clear(&b);
	return e;
}

static enum err
seal_newest(const struct sealed_slots *list, struct slot *slot, const uint8_t secret[BOX_SECRET_LEN])
{
	struct sealed_ad ad;
	uint32_t generation = (uint32_t)list->generation_count;
	slot_generation_ad(&ad, list->account, slot->number, generation,
			   list->generations[generation - 1].public_key);
	return box_into(slot->public_key, SLOT_GENERATION_BOX, &ad, bytes_of(secret, BOX_SECRET_LEN),
			slot->newest, sizeof(slot->newest));
}

static enum err
seal_label(const struct sealed_slots *list, struct slot *slot, struct bytes label)
{
	struct sealed_ad ad;
	struct buf text = BUF_INIT(SLOT_LABEL_MAX + 2);
	slot_label_ad(&ad, list->account, slot->number);
	slot->label_generation = (uint32_t)list->generation_count;
	enum err e = buf_append(&text, label);
	if (e == ERR_OK) {
		e = sealed_pad(&text, 0, SLOT_LABEL_MAX + 2);
	}
	if (e == ERR_OK) {
		e = box_into(list->generations[list->generation_count - 1].public_key, SLOT_LABEL_BOX, &ad,
			     buf_bytes(&text), slot->label, sizeof(slot->label));
	}
	buf_wipe(&text);
	return e;
}

/* The keys must be of this list's newest generation. */
static enum err
check_keys(const struct sealed_slots *list, const struct member_keys *keys)
{
	const struct member_key *newest = member_keys_newest(keys);
	if (newest == NULL || newest->generation != list->generation_count ||
	    memcmp(newest->public_key, list->generations[list->generation_count - 1].public_key,
		   BOX_PUBLIC_LEN) != 0) {
		return ERR_STATE;
	}
	return ERR_OK;
}

/* Appends a slot, whose wrapping key comes from a password or (password NULL) from a fresh code. */
static enum err
append(struct sealed_slots *list, const struct member_keys *keys, const uint8_t pepper[SEALED_KEY_LEN],
       enum slot_kind kind, const struct bytes *password, uint32_t day, struct bytes label,
       struct slot_code *ret_code)
{
	uint8_t secret[BOX_SECRET_LEN];
	uint8_t key[SEALED_KEY_LEN];
	struct sealed_ad ad;

	enum err e = check_keys(list, keys);
	if (e != ERR_OK) {
		return e;
	}
	if (list->slot_count >= SLOTS_MAX || list->next_number > SLOT_NUMBER_MAX ||
	    label.len > SLOT_LABEL_MAX) {
		return ERR_LIMIT;
	}
	struct slot *slot = &list->slots[list->slot_count];
	memset(slot, 0, sizeof(*slot));
	slot->number = list->next_number;
	slot->kind = kind;
	slot->created_day = day;
	crypto_random_bytes(slot->salt, sizeof(slot->salt));
	if (password != NULL) {
		e = password_key(pepper, *password, slot->salt, key);
		if (e != ERR_OK) {
			return e;
		}
	} else {
		memset(ret_code, 0, sizeof(*ret_code));
		ret_code->kind = kind;
		ret_code->number = slot->number;
		crypto_random_bytes(ret_code->secret, kind == SLOT_APP ? 16 : 20);
		slot_code_key(pepper, list->account, slot->number, kind, slot->salt, ret_code->secret, key);
	}
	box_pair(slot->public_key, secret);
	slot_wrap_ad(&ad, list->account, slot);
	slot_wrap(key, &ad, secret, slot->wrapped);
	secret_wipe(secret, sizeof(secret));
	secret_wipe(key, sizeof(key));
	e = seal_newest(list, slot, member_keys_newest(keys)->secret);
	if (e == ERR_OK) {
		e = seal_label(list, slot, label);
	}
	if (e == ERR_OK) {
		list->slot_count++;
		list->next_number++;
		slots_next_revision(list);
	}
	return e;
}

enum err
sealed_slots_create(const uint8_t account[SEALED_ID_LEN], struct sealed_slots **ret,
		    struct member_keys *ret_keys)
{
	uint8_t secret[BOX_SECRET_LEN];
	struct sealed_slots *list = calloc(1, sizeof(*list));
	if (list == NULL) {
		return ERR_MEMORY;
	}
	memcpy(list->account, account, SEALED_ID_LEN);
	list->next_number = 1;
	list->generation_count = 1;
	box_pair(list->generations[0].public_key, secret);
	enum err e = member_keys_add(ret_keys, 1, list->generations[0].public_key, secret);
	secret_wipe(secret, sizeof(secret));
	if (e != ERR_OK) {
		sealed_slots_destroy(&list);
		return e;
	}
	*ret = list;
	return ERR_OK;
}

static bool
has_main(const struct sealed_slots *slots)
{
	for (size_t i = 0; i < slots->slot_count; i++) {
		if (slots->slots[i].kind == SLOT_MAIN) {
			return true;
		}
	}
	return false;
}

enum err
sealed_slots_add_main(struct sealed_slots *slots, const struct member_keys *keys,
		      const uint8_t pepper[SEALED_KEY_LEN], struct bytes password, uint32_t day,
		      struct bytes label, uint32_t *ret_number)
{
	if (has_main(slots)) {
		return ERR_EXISTS;
	}
	enum err e = append(slots, keys, pepper, SLOT_MAIN, &password, day, label, NULL);
	if (e == ERR_OK) {
		*ret_number = slots->slots[slots->slot_count - 1].number;
	}
	return e;
}

enum err
sealed_slots_add_code(struct sealed_slots *slots, const struct member_keys *keys,
		      const uint8_t pepper[SEALED_KEY_LEN], enum slot_kind kind, uint32_t day,
		      struct bytes label, struct slot_code *ret_code)
{
	struct slot_code code;
	if (kind != SLOT_APP && kind != SLOT_RECOVERY) {
		return ERR_UNSUPPORTED;
	}
	enum err e = append(slots, keys, pepper, kind, NULL, day, label, &code);
	if (e == ERR_OK) {
		*ret_code = code;
	}
	secret_wipe(&code, sizeof(code));
	return e;
}

static void
take_away(struct sealed_slots *list, size_t index)
{
	memmove(&list->slots[index], &list->slots[index + 1],
		(list->slot_count - index - 1) * sizeof(list->slots[0]));
	list->slot_count--;
}

enum err
sealed_slots_change_main(struct sealed_slots *slots, const struct member_keys *keys,
			 const uint8_t pepper[SEALED_KEY_LEN], struct bytes password, uint32_t day,
			 uint32_t *ret_number)
{
	struct sealed_slots *copy = copy_of(slots);
	if (copy == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = copy->slot_count; i > 0; i--) {
		if (copy->slots[i - 1].kind == SLOT_MAIN) {
			take_away(copy, i - 1);
		}
	}
	enum err e = append(copy, keys, pepper, SLOT_MAIN, &password, day, BYTES_EMPTY, NULL);
	if (e != ERR_OK) {
		sealed_slots_destroy(&copy);
		return e;
	}
	*ret_number = copy->slots[copy->slot_count - 1].number;
	put_in_place(slots, &copy);
	return ERR_OK;
}

static enum err
begin_generation(struct sealed_slots *list, struct member_keys *keys)
{
	uint8_t secret[BOX_SECRET_LEN];
	uint8_t older_key[SEALED_KEY_LEN];
	struct sealed_ad ad;

	enum err e = check_keys(list, keys);
	if (e != ERR_OK) {
		return e;
	}
	if (list->generation_count >= MEMBER_GENERATIONS_MAX) {
		return ERR_LIMIT;
	}
	struct slot_generation *older = &list->generations[list->generation_count - 1];
	struct slot_generation *newer = older + 1;
	uint32_t number = (uint32_t)list->generation_count + 1;
	memset(newer, 0, sizeof(*newer));
	box_pair(newer->public_key, secret);
	slot_older_key(secret, older_key);
	slot_older_ad(&ad, list->account, number - 1, older->public_key);
	slot_wrap(older_key, &ad, member_keys_newest(keys)->secret, older->wrapped);
	list->generation_count++;
	for (size_t i = 0; i < list->slot_count && e == ERR_OK; i++) {
		e = seal_newest(list, &list->slots[i], secret);
	}
	if (e == ERR_OK) {
		e = member_keys_add(keys, number, newer->public_key, secret);
	}
	if (e == ERR_OK) {
		slots_next_revision(list);
	}
	secret_wipe(secret, sizeof(secret));
	secret_wipe(older_key, sizeof(older_key));
	return e;
}

enum err
sealed_slots_revoke(struct sealed_slots *slots, struct member_keys *keys, uint32_t number)
{
	size_t index = 0;
	while (index < slots->slot_count && slots->slots[index].number != number) {
		index++;
	}
	if (index == slots->slot_count) {
		return ERR_NOT_FOUND;
	}
	if (slots->slot_count == 1) {
		return ERR_STATE;
	}
	struct sealed_slots *copy = copy_of(slots);
	if (copy == NULL) {
		return ERR_MEMORY;
	}
	take_away(copy, index);
	enum err e = begin_generation(copy, keys);
	if (e != ERR_OK) {
		sealed_slots_destroy(&copy);
		return e;
	}
	put_in_place(slots, &copy);
	return ERR_OK;
}

enum err
sealed_slots_new_generation(struct sealed_slots *slots, struct member_keys *keys)
{
	struct sealed_slots *copy = copy_of(slots);
	if (copy == NULL) {
		return ERR_MEMORY;
	}
	enum err e = begin_generation(copy, keys);
	if (e != ERR_OK) {
		sealed_slots_destroy(&copy);
		return e;
	}
	put_in_place(slots, &copy);
	return ERR_OK;
}
