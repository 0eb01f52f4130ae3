/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Writes one of each sealed thing as a text of "name hex" lines on standard output, for the independent reader
 * (test/reader/reader.py). With the argument `seeds FOLDER` it writes the plain forms as seeds for sealed_fuzz instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "sealed/arrival.h"
#include "sealed/card.h"
#include "sealed/directory.h"
#include "sealed/record.h"
#include "sealed/slots.h"
#include "sealed/snapshot.h"
#include "sealed/spool.h"
#include "sealed/value.h"

static void
must(enum err e)
{
	if (e != ERR_OK) {
		panic(err_text(e));
	}
}

static void
say(const char *name, struct bytes value)
{
	(void)fputs(name, stdout);
	(void)fputc(' ', stdout);
	for (size_t i = 0; i < value.len; i++) {
		(void)printf("%02x", value.ptr[i]);
	}
	(void)fputc('\n', stdout);
}

static enum err
say_chunk(void *arg, uint32_t index, struct bytes chunk)
{
	char name[64];
	(void)snprintf(name, sizeof(name), "%s.%u", (const char *)arg, index);
	say(name, chunk);
	return ERR_OK;
}

static const char *seeds;

/* A plain form: the seed of a fuzz target; of older or rarer forms under another name. */
static void
seed_as(const char *name, char kind, struct bytes plain)
{
	char path[512];
	if (seeds == NULL) {
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", seeds, name);
	FILE *f = fopen(path, "wb");
	if (f == NULL || fputc(kind, f) == EOF || fwrite(plain.ptr, 1, plain.len, f) != plain.len ||
	    fclose(f) != 0) {
		panic("cannot write a seed");
	}
}

static void
seed(char kind, struct bytes plain)
{
	const char name[2] = {kind, '\0'};
	seed_as(name, kind, plain);
}

static const uint8_t house[32] = "thirty-two bytes of a house key";
static const uint8_t account[16] = "account sixteen";
static const uint8_t unit[16] = "a unit's own id";
static uint8_t purpose[PURPOSE__COUNT][32];
static struct blob_codec *codec;

static void
text_message(struct buf *b, size_t lines)
{
	must(buf_append_str(b, "From: alice@example.org\r\nSubject: sample\r\n\r\n"));
	for (size_t i = 0; i < lines; i++) {
		must(buf_printf(b, "line %zu of %zu, %zx\r\n", i, lines, i * 2654435761U));
	}
}

static void
sample_slots(struct member_keys *keys)
{
	struct sealed_slots *slots = NULL;
	struct slot_code app;
	struct slot_code recovery;
	char text[SLOT_CODE_TEXT_MAX];
	uint8_t key[32];
	uint8_t hash[32];
	uint32_t number = 0;
	struct buf value = BUF_INIT(1 << 17);
	struct buf plain = BUF_INIT(1 << 17);
	enum directory_kind kind;
	const uint8_t *pepper = purpose[PURPOSE_PEPPER];
	static const struct slot_scram scram = {.salt = "a salt, shared!", .count = 4096};

	must(sealed_slots_create(account, &slots, keys));
	must(sealed_slots_add_main(slots, keys, pepper, BYTES_LIT("main password"), 20000,
				   BYTES_LIT("at home"), &number));
	must(sealed_slots_new_generation(slots, keys));
	must(sealed_slots_add_code(slots, keys, pepper, SLOT_APP, 20001, BYTES_LIT("phone"), &app));
	must(sealed_slots_add_scram(slots, pepper, &app, &scram));
	must(sealed_slots_add_code(slots, keys, pepper, SLOT_RECOVERY, 20002, BYTES_EMPTY, &recovery));
	must(sealed_slots_new_generation(slots, keys));
	sealed_slots_key(purpose[PURPOSE_DIRECTORY_HASH], account, key);
	must(sealed_slots_seal(slots, purpose[PURPOSE_DIRECTORY_SEAL], key, &value));
	must(sealed_slots_hash(slots, hash));
	say("slots", buf_bytes(&value));
	say("slots-hash", bytes_of(hash, 32));
	slot_code_print(&app, text);
	say("app", bytes_str(text));
	slot_code_print(&recovery, text);
	say("recovery", bytes_str(text));
	seed('t', bytes_str(text));
	must(directory_unseal(purpose[PURPOSE_DIRECTORY_SEAL], key, buf_bytes(&value), &plain, &kind));
	seed('l', buf_bytes(&plain));
	for (size_t i = 0; i < keys->count; i++) {
		char name[64];
		(void)snprintf(name, sizeof(name), "expect-secret.%zu", i + 1);
		say(name, bytes_of(keys->keys[i].secret, 32));
	}
	buf_clear(&value);
	buf_clear(&plain);
	sealed_slots_destroy(&slots);
}

/* The keeper's word under where alice has her mail sent on; list: empty, kept. */
static void
sign_forwards(struct directory_account *entry, struct buf *list)
{
	uint8_t hash[SEALED_HASH_LEN];
	entry->forward_count = 2;
	entry->forward_slot = 3;
	entry->forwards[0] = BYTES_LIT("al@example.net");
	entry->forwards[1] = BYTES_LIT("a@example.com");
	must(forward_list_put(entry, list));
	forward_list_hash(buf_bytes(list), hash);
	forward_list_sign(purpose[PURPOSE_PUBLIC_KEY_SIGN], entry->id, hash, entry->forwards_signature);
}

static void
sample_directory(const struct member_keys *keys)
{
	struct buf value = BUF_INIT(1 << 17);
	struct buf plain = BUF_INIT(1 << 17);
	enum directory_kind kind;
	uint8_t key[32];
	struct bytes address = BYTES_LIT("alice@example.org");
	static struct directory_address a;
	a = (struct directory_address){.kind = ADDRESS_MEMBER, .address = address, .count = 1};
	memcpy(a.accounts[0], account, 16);
	directory_address_key(purpose[PURPOSE_DIRECTORY_HASH], address, key);
	must(directory_address_seal(&a, purpose[PURPOSE_DIRECTORY_SEAL], key, &value));
	say("address", buf_bytes(&value));
	buf_reset(&value);
	const struct member_key *k = member_keys_newest(keys);
	struct directory_account c = {.status = ACCOUNT_ACTIVE,
				      .name = BYTES_LIT("alice"),
				      .address_count = 1,
				      .addresses = {BYTES_LIT("al@example.org")},
				      .generation = k->generation,
				      .quota = 1 << 30,
				      .held = BYTES_LIT("1a2b3c4d"),
				      .lifts = 3,
				      .limit_times = 5,
				      .created_day = 20000};
	memcpy(c.id, account, 16);
	memcpy(c.public_key, k->public_key, 32);
	sealed_public_sign(purpose[PURPOSE_PUBLIC_KEY_SIGN], account, k->generation, k->public_key,
			   c.signature);
	struct buf list = BUF_INIT(FORWARD_LIST_MAX);
	sign_forwards(&c, &list);
	buf_clear(&list);
	directory_account_key(purpose[PURPOSE_DIRECTORY_HASH], account, key);
	must(directory_account_seal(&c, purpose[PURPOSE_DIRECTORY_SEAL], key, &value));
	say("account", buf_bytes(&value));
	must(directory_unseal(purpose[PURPOSE_DIRECTORY_SEAL], key, buf_bytes(&value), &plain, &kind));
	seed('d', buf_bytes(&plain));
	buf_clear(&value);
	buf_clear(&plain);
}

static void
sample_mail(const struct member_keys *keys)
{
	struct buf message = BUF_INIT(1 << 24);
	struct buf frame = BUF_INIT(1 << 20);
	struct buf value = BUF_INIT(1 << 20);
	struct buf plain = BUF_INIT(1 << 20);
	struct arrival a = {.received = 1700000000,
			    .flags = ARRIVAL_AUTHENTICATED,
			    .sender = BYTES_LIT("bob@example.net"),
			    .recipient = BYTES_LIT("alice@example.org"),
			    .summary = BYTES_LIT("a summary")};
	struct arrival got;
	struct card card;
	const struct member_key *k = member_keys_newest(keys);
	char small[] = "blob";
	char large[] = "large";

	text_message(&message, 100);
	say("expect-blob", buf_bytes(&message));
	blob_ref_init(&a.blob);
	must(blob_seal(codec, &a.blob, buf_bytes(&message), say_chunk, small));
	must(blob_compress(codec, buf_bytes(&message), &frame));
	seed('b', buf_bytes(&frame));
	crypto_random_bytes(a.delivery, sizeof(a.delivery));
	must(arrival_seal(account, k->generation, k->public_key, &a, &value));
	say("arrival", buf_bytes(&value));
	seed('x', buf_bytes(&value));
	must(arrival_open(account, keys, buf_bytes(&value), &plain, &got));
	seed('a', buf_bytes(&plain));
	/* A record that carries the card of a large message. */
	buf_reset(&message);
	text_message(&message, 20000);
	uint8_t digest[32];
	crypto_digest(buf_bytes(&message), digest);
	say("expect-large-blake2b", bytes_of(digest, 32));
	card_of_arrival(&a, &card);
	blob_ref_init(&card.blob);
	must(blob_seal(codec, &card.blob, buf_bytes(&message), say_chunk, large));
	buf_reset(&plain);
	must(card_encode(&card, &plain));
	seed('c', buf_bytes(&plain));
	struct record_place place = {.kind = 2, .n = 9};
	memcpy(place.account, account, 16);
	memset(place.before, 7, 32);
	buf_reset(&value);
	must(record_seal(keys, &place, buf_bytes(&plain), &value));
	say("record", buf_bytes(&value));
	buf_clear(&message);
	buf_clear(&frame);
	buf_clear(&value);
	buf_wipe(&plain);
}

static void
sample_snapshot(const struct member_keys *keys)
{
	char label[] = "snapshot";
	uint8_t head[32];
	uint8_t name[16];
	uint64_t stored = 0;
	memset(head, 8, sizeof(head));
	must(snapshot_seal(codec, account, keys, 77, head, BYTES_LIT("a folded log"), say_chunk, label, name,
			   &stored));
	say("snapshot-name", bytes_of(name, 16));
}

static void
sample_spool(void)
{
	struct spool_part part = {.number = 1, .kind = SPOOL_PART_COURIER, .destinations = 1, .epoch = 20000};
	struct spool_state state = {.stage = SPOOL_LEAVING,
				    .sender_kind = SPOOL_SENDER_ACCOUNT,
				    .entered = 1,
				    .wall_entered = 2,
				    .due = 3,
				    .weight = 1,
				    .epoch = 20000,
				    .since_day = 4,
				    .left = 5,
				    .is_void = true,
				    .crowd = 6,
				    .part_count = 1,
				    .parts = &part};
	struct courier_recipient to = {.address = BYTES_LIT("bob@example.net"),
				       .orcpt = BYTES_LIT("rfc822;bob@example.net")};
	struct courier_part courier = {.domain = BYTES_LIT("example.net"),
				       .sender = BYTES_LIT("alice@example.org"),
				       .generation = 1,
				       .recipient_count = 1,
				       .recipients = &to};
	struct courier_part got;
	struct arena arena;
	uint8_t pub[32];
	uint8_t sec[32];
	uint8_t wrapped[SPOOL_KEY_VALUE_LEN];
	struct buf value = BUF_INIT(1 << 20);
	struct buf plain = BUF_INIT(1 << 20);
	memcpy(state.sender, account, 16);
	must(spool_state_seal(&state, purpose[PURPOSE_SPOOL_STATE], unit, &value));
	say("state", buf_bytes(&value));
	struct sealed_ad ad;
	sealed_ad_init(&ad, "cohue spool state 1");
	sealed_ad_put_u8(&ad, SEALED_VERSION);
	sealed_ad_put(&ad, unit, sizeof(unit));
	must(sealed_body_get(purpose[PURPOSE_SPOOL_STATE], &ad, bytes_from(buf_bytes(&value), 1), &plain));
	seed('s', buf_bytes(&plain));
	buf_reset(&plain);
	buf_reset(&value);
	box_pair(pub, sec);
	sealed_spool_key_seal(purpose[PURPOSE_SPOOL_WRAP], 20000, pub, sec, wrapped);
	say("spool-key", bytes_of(wrapped, sizeof(wrapped)));
	blob_ref_init(&courier.blob);
	courier.blob.stored = 4096 + BLOB_CHUNK_OVERHEAD;
	courier.blob.chunks = 1;
	must(courier_part_seal(&courier, 20000, pub, unit, 1, &value));
	say("courier", buf_bytes(&value));
	arena_init(&arena, 1 << 20);
	must(courier_part_open(sec, pub, unit, 1, buf_bytes(&value), &plain, &arena, &got));
	seed('p', buf_bytes(&plain));
	struct directory_account wish = {.name = BYTES_LIT("alice")};
	struct buf list = BUF_INIT(FORWARD_LIST_MAX);
	memcpy(wish.id, account, 16);
	memcpy(courier.account, account, 16);
	sign_forwards(&wish, &list);
	courier.forwards = buf_bytes(&list);
	memcpy(courier.forwards_signature, wish.forwards_signature, SIGN_LEN);
	courier.flags = COURIER_FORWARDED;
	courier.forwarder = BYTES_LIT("alice@example.org");
	courier.results = BYTES_LIT("mx.example.org; dmarc=pass header.from=example.com");
	courier.arc_result = 1;
	courier.arc_sets = 2;
	buf_reset(&value);
	buf_reset(&plain);
	must(courier_part_seal(&courier, 20000, pub, unit, 1, &value));
	say("courier-forwarded", buf_bytes(&value));
	must(courier_part_open(sec, pub, unit, 1, buf_bytes(&value), &plain, &arena, &got));
	seed_as("p2", 'p', buf_bytes(&plain));
	buf_clear(&list);
	arena_clear(&arena);
	buf_clear(&value);
	buf_wipe(&plain);
	secret_wipe(sec, sizeof(sec));
}

int
main(int argc, char **argv)
{
	struct member_keys keys;
	if (argc == 3 && strcmp(argv[1], "seeds") == 0) {
		seeds = argv[2];
	}
	must(crypto_init());
	must(secret_pool_init(SECRET_POOL_BYTES));
	must(blob_codec_create(&codec));
	member_keys_init(&keys);
	for (int p = 0; p < PURPOSE__COUNT; p++) {
		sealed_purpose_key(house, (enum sealed_purpose)p, purpose[p]);
	}
	say("house", bytes_of(house, 32));
	say("account-id", bytes_of(account, 16));
	say("unit-id", bytes_of(unit, 16));
	sample_slots(&keys);
	sample_directory(&keys);
	sample_mail(&keys);
	sample_snapshot(&keys);
	sample_spool();
	member_keys_clear(&keys);
	blob_codec_destroy(&codec);
	return 0;
}
