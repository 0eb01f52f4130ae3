/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What stands inside the seals, as a captured gate, session or mixer might write it. The first octet chooses the decoder; what
 * decodes must also encode (where there is an encoder) and decode again to the same octets.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "sealed/arrival.h"
#include "sealed/card.h"
#include "sealed/directory.h"
#include "sealed/journal.h"
#include "sealed/record.h"
#include "sealed/slots.h"
#include "sealed/snapshot.h"
#include "sealed/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t id[SEALED_ID_LEN];
static const uint8_t key[SEALED_KEY_LEN];

/* An error is a fine answer to garbage. */
static void
ignore(enum err e)
{
	(void)e;
}

static enum err
drop(void *arg, uint32_t index, struct bytes piece)
{
	(void)index;
	size_t *total = arg;
	*total += piece.len;
	if (*total > (size_t)1 << 20) {
		abort(); /* more than the reference declared */
	}
	return ERR_OK;
}

/* The input is a zstd frame that claims to hold size bytes. */
static void
try_frame(struct bytes frame)
{
	static struct blob_codec *codec;
	static uint8_t chunk[BLOB_CHUNK_MAX];
	uint8_t nonce[CRYPTO_NONCE_LEN] = {0};
	uint8_t ad[12 + 1 + 16 + 4 + 1] = "cohue blob 1";
	struct blob_ref ref = {.size = 1 << 16, .chunks = 1};
	struct blob_reader *r = NULL;
	size_t total = 0;

	if (codec == NULL && blob_codec_create(&codec) != ERR_OK) {
		return;
	}
	if (frame.len > BLOB_CHUNK_PLAIN) {
		return;
	}
	size_t padded = (size_t)blob_ladder(frame.len);
	ad[12] = 1;
	ad[33] = 1;
	if (frame.len >= 6) {
		ref.size = (uint64_t)frame.ptr[5] << 8 | frame.ptr[4];
	}
	memset(chunk, 0, sizeof(chunk));
	chunk[0] = 1;
	if (frame.len > 0) {
		memcpy(chunk + 1, frame.ptr, frame.len);
	}
	crypto_seal(ref.key, nonce, bytes_of(ad, sizeof(ad)), bytes_of(chunk + 1, padded), chunk + 1);
	ref.stored = padded + BLOB_CHUNK_OVERHEAD;
	struct bytes stored = bytes_of(chunk, padded + BLOB_CHUNK_OVERHEAD);
	crypto_digest(stored, ref.hash);
	struct buf out = BUF_INIT((size_t)1 << 20);
	enum err small = blob_open_small(codec, &ref, stored, &out);
	if (small == ERR_AUTH || (small == ERR_OK && out.len != ref.size)) {
		abort();
	}
	buf_clear(&out);
	if (blob_reader_create(codec, &ref, drop, &total, &r) == ERR_OK) {
		enum err e = blob_reader_feed(r, stored);
		if (e == ERR_OK) {
			e = blob_reader_finish(r);
		}
		if ((e == ERR_OK) != (small == ERR_OK) || total > ref.size) {
			abort();
		}
	}
	blob_reader_destroy(&r);
}

static void
try_card(struct bytes body)
{
	struct card card;
	struct buf again = BUF_INIT((size_t)1 << 20);
	if (card_decode(body, &card) == ERR_OK &&
	    (card_encode(&card, &again) != ERR_OK || !bytes_equal(buf_bytes(&again), body))) {
		abort();
	}
	buf_clear(&again);
}

static void
try_slots(struct bytes body)
{
	struct sealed_slots *slots = NULL;
	if (sealed_slots_decode(body, &slots) != ERR_OK) {
		return;
	}
	struct buf value = BUF_INIT((size_t)1 << 20);
	struct buf plain = BUF_INIT((size_t)1 << 20);
	enum directory_kind kind = DIRECTORY_ADDRESS;
	if (sealed_slots_seal(slots, key, key, &value) != ERR_OK ||
	    directory_unseal(key, key, buf_bytes(&value), &plain, &kind) != ERR_OK ||
	    kind != DIRECTORY_SLOTS || !bytes_equal(buf_bytes(&plain), body)) {
		abort();
	}
	struct slot_code code = {.kind = SLOT_APP, .number = 1};
	struct member_keys keys;
	uint32_t number = 0;
	member_keys_init(&keys);
	ignore(sealed_slots_open_code(slots, key, &code, &keys, &number));
	member_keys_clear(&keys);
	static const struct slot_scram scram = {.count = 1};
	const struct scram_message m = {.head = body, .tail = BYTES_EMPTY};
	uint8_t signature[SCRAM_KEY_LEN];
	ignore(sealed_slots_open_scram(slots, key, &scram, &m, key, &keys, &number, signature));
	member_keys_clear(&keys);
	buf_clear(&value);
	buf_clear(&plain);
	sealed_slots_destroy(&slots);
}

static void
try_sealed(struct bytes body)
{
	static struct member_keys keys; /* made once: generation 1 */
	if (keys.count == 0) {
		uint8_t pub[BOX_PUBLIC_LEN];
		box_public(key, pub);
		if (member_keys_add(&keys, 1, pub, key) != ERR_OK) {
			return;
		}
	}
	struct buf plain = BUF_INIT((size_t)1 << 20);
	struct arrival arrival;
	struct record_place place = {.kind = 2};
	struct snapshot_header header;
	uint32_t epoch = 0;
	ignore(arrival_open(id, &keys, body, &plain, &arrival));
	ignore(record_open(&keys, &place, body, &plain));
	ignore(snapshot_open_header(id, &keys, 1, id, body, &header));
	ignore(courier_part_epoch(body, &epoch));
	buf_wipe(&plain);
	struct member_keys got;
	member_keys_init(&got);
	ignore(member_keys_decode(body, &got));
	member_keys_clear(&got);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	static struct directory_address address;
	struct directory_account account;
	struct arrival arrival;
	struct snapshot_header header;
	struct spool_state state;
	struct journal_line line;
	struct courier_part part;
	struct slot_code code;
	struct arena arena;

	if (!ready) {
		ready = crypto_init() == ERR_OK && secret_pool_init(SECRET_POOL_BYTES) == ERR_OK;
	}
	if (!ready || size == 0) {
		return 0;
	}
	struct bytes body = bytes_of(data + 1, size - 1);
	arena_init(&arena, (size_t)1 << 20);
	switch (data[0]) {
	case 'a':
		ignore(arrival_decode(body, &arrival));
		break;
	case 'b':
		try_frame(body);
		break;
	case 'c':
		try_card(body);
		break;
	case 'd':
		ignore(directory_address_decode(body, &address));
		ignore(directory_account_decode(body, &account));
		break;
	case 'h':
		ignore(snapshot_header_decode(body, &header));
		break;
	case 'j':
		ignore(journal_decode(body, &line));
		break;
	case 'l':
		try_slots(body);
		break;
	case 'p':
		ignore(courier_part_decode(body, &arena, &part));
		break;
	case 's':
		ignore(spool_state_decode(body, &arena, &state));
		break;
	case 't':
		ignore(slot_code_parse(body, &code));
		break;
	default:
		try_sealed(body);
		break;
	}
	arena_clear(&arena);
	return 0;
}
