/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/slots.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "sealed/directory.h"
#include "sealed/slots_list.h"

void
slot_wrap_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], const struct slot *slot)
{
	sealed_ad_init(ad, "cohue slot 1");
	sealed_ad_put(ad, account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, slot->number);
	sealed_ad_put_u8(ad, (uint8_t)slot->kind);
	sealed_ad_put(ad, slot->public_key, BOX_PUBLIC_LEN);
}

void
slot_generation_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t slot_number,
		   uint32_t generation, const uint8_t public_key[BOX_PUBLIC_LEN])
{
	sealed_ad_init(ad, "");
	sealed_ad_put(ad, account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, slot_number);
	sealed_ad_put_u32(ad, generation);
	sealed_ad_put(ad, public_key, BOX_PUBLIC_LEN);
}

void
slot_label_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t slot_number)
{
	sealed_ad_init(ad, "");
	sealed_ad_put(ad, account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, slot_number);
}

void
slot_older_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t generation,
	      const uint8_t public_key[BOX_PUBLIC_LEN])
{
	sealed_ad_init(ad, "cohue older generation 1");
	sealed_ad_put(ad, account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, generation);
	sealed_ad_put(ad, public_key, BOX_PUBLIC_LEN);
}

void
slot_older_key(const uint8_t newer_secret[BOX_SECRET_LEN], uint8_t ret[SEALED_KEY_LEN])
{
	crypto_derive(newer_secret, "cohue older generation key 1", ret);
}

void
slot_code_key(const uint8_t pepper[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN], uint32_t number,
	      enum slot_kind kind, const uint8_t salt[SEALED_SALT_LEN],
	      const uint8_t secret[SLOT_CODE_SECRET_MAX], uint8_t ret[SEALED_KEY_LEN])
{
	struct sealed_ad m;
	sealed_ad_init(&m, kind == SLOT_APP ? "cohue app password 1" : "cohue recovery code 1");
	sealed_ad_put(&m, account, SEALED_ID_LEN);
	sealed_ad_put_u32(&m, number);
	sealed_ad_put(&m, salt, SEALED_SALT_LEN);
	sealed_ad_put(&m, secret, kind == SLOT_APP ? 16 : 20);
	crypto_mac(pepper, sealed_ad_bytes(&m), ret);
	secret_wipe(&m, sizeof(m));
}

static void
put_slot(struct wire_writer *w, const struct slot *s, bool with_scram)
{
	wire_put_u32(w, s->number);
	wire_put_u8(w, (uint8_t)s->kind);
	wire_put_u32(w, s->created_day);
	wire_put_fixed(w, s->public_key, sizeof(s->public_key));
	wire_put_fixed(w, s->salt, sizeof(s->salt));
	wire_put_fixed(w, s->wrapped, sizeof(s->wrapped));
	wire_put_u32(w, s->label_generation);
	wire_put_fixed(w, s->label, sizeof(s->label));
	wire_put_fixed(w, s->newest, sizeof(s->newest));
	if (with_scram) {
		wire_put_u8(w, s->has_scram ? 1 : 0);
		if (s->has_scram) {
			wire_put_fixed(w, s->verifier, sizeof(s->verifier));
			wire_put_fixed(w, s->scram_wrapped, sizeof(s->scram_wrapped));
		}
	}
}

static void
get_slot(struct wire_reader *r, struct slot *s, bool with_scram)
{
	s->number = wire_get_u32(r);
	uint8_t kind = wire_get_u8(r);
	sealed_expect(r, kind >= SLOT_MAIN && kind <= SLOT_RECOVERY);
	s->kind = (enum slot_kind)kind;
	s->created_day = wire_get_u32(r);
	wire_get_fixed(r, s->public_key, sizeof(s->public_key));
	wire_get_fixed(r, s->salt, sizeof(s->salt));
	wire_get_fixed(r, s->wrapped, sizeof(s->wrapped));
	s->label_generation = wire_get_u32(r);
	wire_get_fixed(r, s->label, sizeof(s->label));
	wire_get_fixed(r, s->newest, sizeof(s->newest));
	if (with_scram) {
		uint8_t has = wire_get_u8(r);
		sealed_expect(r, has == 0 || (has == 1 && s->kind == SLOT_APP));
		s->has_scram = has == 1;
		if (s->has_scram) {
			wire_get_fixed(r, s->verifier, sizeof(s->verifier));
			wire_get_fixed(r, s->scram_wrapped, sizeof(s->scram_wrapped));
		}
	}
}

enum { WITH_REVISION = 2, WITH_SCRAM = 3 };

static enum err
encode(const struct sealed_slots *slots, struct buf *ret)
{
	struct wire_writer w;
	wire_writer_init(&w, ret);
	wire_put_u8(&w, DIRECTORY_SLOTS);
	/* What was read as an older version stays so until it is changed: the log knows its hash. */
	bool with_scram = slots->scram.count != 0;
	wire_put_u8(&w, with_scram ? WITH_SCRAM : slots->revision == 0 ? SEALED_VERSION : WITH_REVISION);
	wire_put_fixed(&w, slots->account, SEALED_ID_LEN);
	if (slots->revision != 0) {
		wire_put_u32(&w, slots->revision);
	}
	wire_put_u32(&w, slots->next_number);
	if (with_scram) {
		wire_put_fixed(&w, slots->scram.salt, sizeof(slots->scram.salt));
		wire_put_u32(&w, slots->scram.count);
	}
	wire_put_u16(&w, (uint16_t)slots->slot_count);
	for (size_t i = 0; i < slots->slot_count; i++) {
		put_slot(&w, &slots->slots[i], with_scram);
	}
	wire_put_u16(&w, (uint16_t)slots->generation_count);
	for (size_t i = 0; i < slots->generation_count; i++) {
		wire_put_fixed(&w, slots->generations[i].public_key, BOX_PUBLIC_LEN);
		if (i + 1 < slots->generation_count) {
			wire_put_fixed(&w, slots->generations[i].wrapped, SLOT_WRAPPED_LEN);
		}
	}
	return wire_done(&w);
}

static void
read_list(struct wire_reader *r, uint8_t version, struct sealed_slots *list)
{
	size_t mains = 0;
	wire_get_fixed(r, list->account, SEALED_ID_LEN);
	if (version >= WITH_REVISION) {
		list->revision = wire_get_u32(r);
		sealed_expect(r, list->revision != 0);
	}
	list->next_number = wire_get_u32(r);
	if (version >= WITH_SCRAM) {
		wire_get_fixed(r, list->scram.salt, sizeof(list->scram.salt));
		list->scram.count = wire_get_u32(r);
		sealed_expect(r, list->scram.count >= 1 && list->scram.count <= SLOT_SCRAM_COUNT_MAX);
	}
	list->slot_count = wire_get_u16(r);
	sealed_expect(r, list->slot_count >= 1 && list->slot_count <= SLOTS_MAX &&
			     list->next_number <= SLOT_NUMBER_MAX + 1);
	for (size_t i = 0; i < list->slot_count && r->error == ERR_OK; i++) {
		get_slot(r, &list->slots[i], version >= WITH_SCRAM);
		uint32_t least = i == 0 ? 1 : list->slots[i - 1].number + 1;
		sealed_expect(r, list->slots[i].number >= least && list->slots[i].number < list->next_number);
		mains += list->slots[i].kind == SLOT_MAIN;
	}
	list->generation_count = wire_get_u16(r);
	sealed_expect(r, mains <= 1 && list->generation_count >= 1 &&
			     list->generation_count <= MEMBER_GENERATIONS_MAX);
	for (size_t i = 0; i < list->generation_count && r->error == ERR_OK; i++) {
		wire_get_fixed(r, list->generations[i].public_key, BOX_PUBLIC_LEN);
		if (i + 1 < list->generation_count) {
			wire_get_fixed(r, list->generations[i].wrapped, SLOT_WRAPPED_LEN);
		}
	}
	for (size_t i = 0; i < list->slot_count && r->error == ERR_OK; i++) {
		uint32_t g = list->slots[i].label_generation;
		sealed_expect(r, g >= 1 && g <= list->generation_count);
	}
}

enum err
sealed_slots_decode(struct bytes plain, struct sealed_slots **ret)
{
	struct wire_reader r;
	wire_reader_init(&r, plain);
	if (wire_get_u8(&r) != DIRECTORY_SLOTS) {
		return ERR_FORMAT;
	}
	uint8_t version = wire_get_u8(&r);
	if (version < SEALED_VERSION || version > WITH_SCRAM) {
		return r.error != ERR_OK ? r.error : ERR_UNSUPPORTED;
	}
	struct sealed_slots *list = calloc(1, sizeof(*list));
	if (list == NULL) {
		return ERR_MEMORY;
	}
	read_list(&r, version, list);
	enum err e = wire_end(&r);
	if (e != ERR_OK) {
		sealed_slots_destroy(&list);
		return e;
	}
	*ret = list;
	return ERR_OK;
}

void
sealed_slots_destroy(struct sealed_slots **slots)
{
	if (*slots != NULL) {
		secret_wipe(*slots, sizeof(**slots));
		free(*slots);
		*slots = NULL;
	}
}

void
sealed_slots_key(const uint8_t directory_hash[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		 uint8_t ret[SEALED_HASH_LEN])
{
	struct sealed_ad m;
	sealed_ad_init(&m, "slots:");
	sealed_ad_put(&m, account, SEALED_ID_LEN);
	crypto_mac(directory_hash, sealed_ad_bytes(&m), ret);
}

enum err
sealed_slots_seal(const struct sealed_slots *slots, const uint8_t directory_seal[SEALED_KEY_LEN],
		  const uint8_t key[SEALED_HASH_LEN], struct buf *ret)
{
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	if (slots->slot_count == 0) {
		return ERR_STATE;
	}
	enum err e = encode(slots, &plain);
	if (e == ERR_OK) {
		e = sealed_directory_put(directory_seal, key, buf_bytes(&plain), SLOTS_STEP, ret);
	}
	buf_wipe(&plain);
	return e;
}

enum err
sealed_slots_unseal(const uint8_t directory_seal[SEALED_KEY_LEN], const uint8_t key[SEALED_HASH_LEN],
		    const uint8_t account[SEALED_ID_LEN], struct bytes value, struct sealed_slots **ret)
{
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct sealed_slots *list = NULL;
	enum err e = sealed_directory_get(directory_seal, key, value, &plain);
	if (e == ERR_OK) {
		e = sealed_slots_decode(buf_bytes(&plain), &list);
	}
	buf_wipe(&plain);
	if (e == ERR_OK && memcmp(list->account, account, SEALED_ID_LEN) != 0) {
		e = ERR_DAMAGED;
	}
	if (e != ERR_OK) {
		sealed_slots_destroy(&list);
		return e;
	}
	*ret = list;
	return ERR_OK;
}

const uint8_t *
sealed_slots_account(const struct sealed_slots *slots)
{
	return slots->account;
}

enum err
sealed_slots_hash(const struct sealed_slots *slots, uint8_t ret[SEALED_HASH_LEN])
{
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	enum err e = buf_append_str(&plain, "cohue slot list 1");
	if (e == ERR_OK) {
		e = encode(slots, &plain);
	}
	if (e == ERR_OK) {
		crypto_digest(buf_bytes(&plain), ret);
	}
	buf_wipe(&plain);
	return e;
}

uint32_t
sealed_slots_revision(const struct sealed_slots *slots)
{
	return slots->revision;
}

size_t
sealed_slots_count(const struct sealed_slots *slots)
{
	return slots->slot_count;
}

struct slot_info
sealed_slots_info(const struct sealed_slots *slots, size_t index)
{
	if (index >= slots->slot_count) {
		panic("no such slot");
	}
	const struct slot *s = &slots->slots[index];
	return (struct slot_info){.number = s->number, .kind = s->kind, .created_day = s->created_day};
}

enum err
sealed_slots_label(const struct sealed_slots *slots, const struct member_keys *keys, uint32_t number,
		   struct buf *ret)
{
	const struct slot *s = NULL;
	for (size_t i = 0; i < slots->slot_count; i++) {
		if (slots->slots[i].number == number) {
			s = &slots->slots[i];
		}
	}
	const struct member_key *k = s == NULL ? NULL : member_keys_find(keys, s->label_generation);
	if (k == NULL) {
		return ERR_NOT_FOUND;
	}
	struct sealed_ad ad;
	size_t before = ret->len;
	slot_label_ad(&ad, slots->account, number);
	enum err e = box_open(k->secret, k->public_key, SLOT_LABEL_BOX, sealed_ad_bytes(&ad),
			      bytes_of(s->label, sizeof(s->label)), ret);
	if (e == ERR_OK) {
		e = sealed_unpad(ret, before);
	}
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	return e;
}

uint32_t
sealed_slots_generation(const struct sealed_slots *slots, uint8_t ret_public[BOX_PUBLIC_LEN])
{
	memcpy(ret_public, slots->generations[slots->generation_count - 1].public_key, BOX_PUBLIC_LEN);
	return (uint32_t)slots->generation_count;
}
