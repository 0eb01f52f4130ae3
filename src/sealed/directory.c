/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/directory.h"

#include <string.h>

#include "base/secret.h"
#include "sealed/value.h"

/* Versions of an account entry: with a signature, with a lane, with how she sends, with what is forwarded, and by which secret of hers. */
enum {
	ENTRY_STEP = 512,
	ACCOUNT_SIGNED = 2,
	ACCOUNT_LANE = 3,
	ACCOUNT_SENDING = 4,
	ACCOUNT_FORWARD = 5,
	ACCOUNT_FORWARD_SLOT = 6,
};

void
directory_address_key(const uint8_t directory_hash[SEALED_KEY_LEN], struct bytes address,
		      uint8_t ret[SEALED_HASH_LEN])
{
	struct crypto_hasher h;
	crypto_hasher_init(&h, directory_hash);
	crypto_hasher_update(&h, BYTES_LIT("address:"));
	crypto_hasher_update(&h, address);
	crypto_hasher_final(&h, ret);
}

void
directory_account_key(const uint8_t directory_hash[SEALED_KEY_LEN], const uint8_t account[SEALED_ID_LEN],
		      uint8_t ret[SEALED_HASH_LEN])
{
	struct sealed_ad m;
	sealed_ad_init(&m, "account:");
	sealed_ad_put(&m, account, SEALED_ID_LEN);
	crypto_mac(directory_hash, sealed_ad_bytes(&m), ret);
}

static enum err
seal(struct wire_writer *w, const uint8_t directory_seal[SEALED_KEY_LEN], const uint8_t key[SEALED_HASH_LEN],
     struct buf *ret)
{
	enum err e = wire_done(w);
	if (e == ERR_OK) {
		e = sealed_directory_put(directory_seal, key, buf_bytes(w->out), ENTRY_STEP, ret);
	}
	buf_wipe(w->out);
	return e;
}

enum err
directory_address_seal(const struct directory_address *entry, const uint8_t directory_seal[SEALED_KEY_LEN],
		       const uint8_t key[SEALED_HASH_LEN], struct buf *ret)
{
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct wire_writer w;

	if (entry->count > DIRECTORY_ACCOUNTS_MAX || entry->address.len > DIRECTORY_ADDRESS_MAX) {
		return ERR_LIMIT;
	}
	if (entry->count == 0 ||
	    (entry->kind != ADDRESS_ALIAS && (entry->kind != ADDRESS_MEMBER || entry->count != 1))) {
		return ERR_FORMAT;
	}
	wire_writer_init(&w, &plain);
	wire_put_u8(&w, DIRECTORY_ADDRESS);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u8(&w, (uint8_t)entry->kind);
	wire_put_bytes(&w, entry->address);
	wire_put_u16(&w, (uint16_t)entry->count);
	for (size_t i = 0; i < entry->count; i++) {
		wire_put_fixed(&w, entry->accounts[i], SEALED_ID_LEN);
	}
	return seal(&w, directory_seal, key, ret);
}

enum err
directory_account_seal(const struct directory_account *entry, const uint8_t directory_seal[SEALED_KEY_LEN],
		       const uint8_t key[SEALED_HASH_LEN], struct buf *ret)
{
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct wire_writer w;

	if (entry->address_count > DIRECTORY_ADDRESSES_MAX || entry->name.len > DIRECTORY_ADDRESS_MAX ||
	    entry->held.len > DIRECTORY_REF_MAX || entry->forward_count > DIRECTORY_FORWARDS_MAX) {
		return ERR_LIMIT;
	}
	if (entry->status < ACCOUNT_INVITED || entry->status > ACCOUNT_REMOVED || entry->name.len == 0 ||
	    entry->generation == 0) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < entry->address_count; i++) {
		if (entry->addresses[i].len > DIRECTORY_ADDRESS_MAX) {
			return ERR_LIMIT;
		}
	}
	for (size_t i = 0; i < entry->forward_count; i++) {
		if (entry->forwards[i].len > DIRECTORY_ADDRESS_MAX) {
			return ERR_LIMIT;
		}
		if (entry->forwards[i].len == 0 || entry->forward_slot == 0 || entry->unsigned_yet) {
			return ERR_FORMAT;
		}
	}
	wire_writer_init(&w, &plain);
	wire_put_u8(&w, DIRECTORY_ACCOUNT);
	wire_put_u8(&w, entry->unsigned_yet ? SEALED_VERSION : ACCOUNT_FORWARD_SLOT);
	wire_put_fixed(&w, entry->id, SEALED_ID_LEN);
	wire_put_u8(&w, (uint8_t)entry->status);
	wire_put_bytes(&w, entry->name);
	wire_put_u16(&w, (uint16_t)entry->address_count);
	for (size_t i = 0; i < entry->address_count; i++) {
		wire_put_bytes(&w, entry->addresses[i]);
	}
	wire_put_u32(&w, entry->generation);
	wire_put_fixed(&w, entry->public_key, BOX_PUBLIC_LEN);
	if (entry->unsigned_yet) {
		wire_put_fixed(&w, entry->mac, SEALED_HASH_LEN);
	} else {
		wire_put_fixed(&w, entry->signature, SIGN_LEN);
	}
	wire_put_u64(&w, entry->quota);
	wire_put_u32(&w, entry->created_day);
	if (!entry->unsigned_yet) {
		wire_put_u8(&w, entry->lane);
		wire_put_bytes(&w, entry->held);
		wire_put_u32(&w, entry->lifts);
		wire_put_u16(&w, entry->limit_times);
		wire_put_u8(&w, (uint8_t)entry->forward_count);
		for (size_t i = 0; i < entry->forward_count; i++) {
			wire_put_bytes(&w, entry->forwards[i]);
		}
		if (entry->forward_count > 0) {
			wire_put_u32(&w, entry->forward_slot);
			wire_put_fixed(&w, entry->forwards_signature, SIGN_LEN);
		}
	}
	return seal(&w, directory_seal, key, ret);
}

enum err
directory_unseal(const uint8_t directory_seal[SEALED_KEY_LEN], const uint8_t key[SEALED_HASH_LEN],
		 struct bytes value, struct buf *ret_plain, enum directory_kind *ret_kind)
{
	size_t before = ret_plain->len;
	enum err e = sealed_directory_get(directory_seal, key, value, ret_plain);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t kind = ret_plain->len > before ? ret_plain->ptr[before] : 0;
	if (kind < DIRECTORY_ADDRESS || kind > DIRECTORY_SLOTS) {
		secret_wipe(ret_plain->ptr + before, ret_plain->len - before);
		buf_truncate(ret_plain, before);
		return ERR_FORMAT;
	}
	*ret_kind = (enum directory_kind)kind;
	return ERR_OK;
}

/* Kind and version (1 to most), at the front of each plain entry. */
static enum err
begin(struct wire_reader *r, struct bytes plain, enum directory_kind kind, uint8_t most, uint8_t *ret_version)
{
	wire_reader_init(r, plain);
	if (wire_get_u8(r) != kind) {
		return ERR_FORMAT;
	}
	uint8_t version = wire_get_u8(r);
	*ret_version = version;
	return r->error != ERR_OK ? r->error : version < 1 || version > most ? ERR_UNSUPPORTED : ERR_OK;
}

enum err
directory_address_decode(struct bytes plain, struct directory_address *ret)
{
	struct wire_reader r;
	struct directory_address got = {.count = 0};

	uint8_t version = 0;
	enum err e = begin(&r, plain, DIRECTORY_ADDRESS, SEALED_VERSION, &version);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t kind = wire_get_u8(&r);
	got.kind = kind == ADDRESS_MEMBER ? ADDRESS_MEMBER : ADDRESS_ALIAS;
	got.address = wire_get_bytes(&r, DIRECTORY_ADDRESS_MAX);
	got.count = wire_get_u16(&r);
	sealed_expect(&r,
		      (kind == ADDRESS_MEMBER && got.count == 1) ||
			  (kind == ADDRESS_ALIAS && got.count >= 1 && got.count <= DIRECTORY_ACCOUNTS_MAX));
	for (size_t i = 0; i < got.count && r.error == ERR_OK; i++) {
		wire_get_fixed(&r, got.accounts[i], SEALED_ID_LEN);
	}
	e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = got;
	}
	return e;
}

enum err
directory_account_decode(struct bytes plain, struct directory_account *ret)
{
	struct wire_reader r;
	struct directory_account got = {.address_count = 0};

	uint8_t version = 0;
	enum err e = begin(&r, plain, DIRECTORY_ACCOUNT, ACCOUNT_FORWARD_SLOT, &version);
	if (e != ERR_OK) {
		return e;
	}
	wire_get_fixed(&r, got.id, SEALED_ID_LEN);
	uint8_t status = wire_get_u8(&r);
	sealed_expect(&r, status >= ACCOUNT_INVITED && status <= ACCOUNT_REMOVED);
	got.status = (enum account_status)status;
	got.name = wire_get_bytes(&r, DIRECTORY_ADDRESS_MAX);
	got.address_count = wire_get_u16(&r);
	sealed_expect(&r, got.name.len > 0 && got.address_count <= DIRECTORY_ADDRESSES_MAX);
	for (size_t i = 0; i < got.address_count && r.error == ERR_OK; i++) {
		got.addresses[i] = wire_get_bytes(&r, DIRECTORY_ADDRESS_MAX);
	}
	got.generation = wire_get_u32(&r);
	sealed_expect(&r, got.generation > 0);
	wire_get_fixed(&r, got.public_key, BOX_PUBLIC_LEN);
	got.unsigned_yet = version < ACCOUNT_SIGNED;
	if (got.unsigned_yet) {
		wire_get_fixed(&r, got.mac, SEALED_HASH_LEN);
	} else {
		wire_get_fixed(&r, got.signature, SIGN_LEN);
	}
	got.quota = wire_get_u64(&r);
	got.created_day = wire_get_u32(&r);
	got.lane = version < ACCOUNT_LANE ? 0 : wire_get_u8(&r);
	sealed_expect(&r, got.lane <= DIRECTORY_LANE_MAX);
	if (version >= ACCOUNT_SENDING) {
		got.held = wire_get_bytes(&r, DIRECTORY_REF_MAX);
		got.lifts = wire_get_u32(&r);
		got.limit_times = wire_get_u16(&r);
	}
	if (version >= ACCOUNT_FORWARD) {
		got.forward_count = wire_get_u8(&r);
		sealed_expect(&r, got.forward_count <= DIRECTORY_FORWARDS_MAX);
		for (size_t i = 0; i < got.forward_count && r.error == ERR_OK; i++) {
			got.forwards[i] = wire_get_bytes(&r, DIRECTORY_ADDRESS_MAX);
			sealed_expect(&r, got.forwards[i].len > 0);
		}
		if (got.forward_count > 0) {
			got.forward_slot = version >= ACCOUNT_FORWARD_SLOT ? wire_get_u32(&r) : 0;
			sealed_expect(&r, version < ACCOUNT_FORWARD_SLOT || got.forward_slot > 0);
			wire_get_fixed(&r, got.forwards_signature, SIGN_LEN);
		}
		if (version < ACCOUNT_FORWARD_SLOT) {
			/* That hung on no secret of hers: void. */
			got.forward_count = 0;
		}
	}
	e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = got;
	}
	return e;
}
