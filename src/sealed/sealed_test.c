/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Keys, directory, records, arrivals, cards and the spool. */
#include "sealed/arrival.h"
#include "sealed/card.h"
#include "sealed/directory.h"
#include "sealed/journal.h"
#include "sealed/record.h"
#include "sealed/sealed_testing.h"
#include "sealed/spool.h"

static const uint8_t account[16] = {4, 5, 6};
static const uint8_t unit[16] = {8, 9};

static void
purpose_keys_are_what_the_labels_say(void **state)
{
	(void)state;
	uint8_t house[32] = {1};
	uint8_t key[32];
	uint8_t want[32];
	for (int p = 0; p < PURPOSE_PUBLIC_KEY_VERIFY; p++) {
		sealed_purpose_key(house, (enum sealed_purpose)p, key);
		crypto_mac(house, bytes_str(sealed_purpose_label((enum sealed_purpose)p)), want);
		assert_memory_equal(key, want, 32);
	}
	assert_string_equal(sealed_purpose_label(PURPOSE_SCRAM_FAKE), "scram-fake");
	/* The one that is no secret. */
	sealed_purpose_key(house, PURPOSE_PUBLIC_KEY_SIGN, key);
	sign_public(key, want);
	sealed_purpose_key(house, PURPOSE_PUBLIC_KEY_VERIFY, key);
	assert_memory_equal(key, want, 32);
}

static void
a_public_key_counts_only_with_its_mac(void **state)
{
	(void)state;
	uint8_t mac_key[32] = {1};
	uint8_t pub[32] = {2};
	uint8_t mac[32];
	sealed_public_mac(mac_key, account, 3, pub, mac);
	assert_int_equal(sealed_public_check(mac_key, account, 3, pub, mac), ERR_OK);
	assert_int_equal(sealed_public_check(mac_key, account, 4, pub, mac), ERR_AUTH);
	assert_int_equal(sealed_public_check(mac_key, unit, 3, pub, mac), ERR_AUTH);
	pub[31] ^= 1;
	assert_int_equal(sealed_public_check(mac_key, account, 3, pub, mac), ERR_AUTH);
}

static void
a_public_key_is_signed_by_who_holds_the_seed(void **state)
{
	(void)state;
	uint8_t house[32] = {1};
	uint8_t seed[32];
	uint8_t verify[32];
	uint8_t pub[32] = {2};
	uint8_t signature[SIGN_LEN];
	sealed_purpose_key(house, PURPOSE_PUBLIC_KEY_SIGN, seed);
	sealed_purpose_key(house, PURPOSE_PUBLIC_KEY_VERIFY, verify);
	sealed_public_sign(seed, account, 3, pub, signature);
	assert_int_equal(sealed_public_verify(verify, account, 3, pub, signature), ERR_OK);
	assert_int_equal(sealed_public_verify(verify, account, 4, pub, signature), ERR_AUTH);
	assert_int_equal(sealed_public_verify(verify, unit, 3, pub, signature), ERR_AUTH);
	/* What a gate has makes none. */
	sealed_public_sign(verify, account, 3, pub, signature);
	assert_int_equal(sealed_public_verify(verify, account, 3, pub, signature), ERR_AUTH);
	sealed_public_sign(seed, account, 3, pub, signature);
	pub[31] ^= 1;
	assert_int_equal(sealed_public_verify(verify, account, 3, pub, signature), ERR_AUTH);
}

static void
an_account_without_a_signature_is_read_and_written_as_it_was(void **state)
{
	(void)state;
	uint8_t key[32] = {5};
	struct directory_account a = {.status = ACCOUNT_ACTIVE,
				      .name = BYTES_LIT("alice"),
				      .generation = 2,
				      .unsigned_yet = true,
				      .quota = 7,
				      .created_day = 9};
	struct directory_account back;
	for (int round = 0; round < 2; round++) {
		struct buf value = BUF_INIT(1 << 16);
		struct buf plain = BUF_INIT(1 << 16);
		enum directory_kind kind;
		memset(a.mac, 1, sizeof(a.mac));
		memset(a.signature, 2, sizeof(a.signature));
		assert_int_equal(directory_account_seal(&a, key, key, &value), ERR_OK);
		assert_int_equal(directory_unseal(key, key, buf_bytes(&value), &plain, &kind), ERR_OK);
		assert_int_equal(plain.ptr[1], a.unsigned_yet ? 1 : 6);
		assert_int_equal(directory_account_decode(buf_bytes(&plain), &back), ERR_OK);
		assert_int_equal(back.unsigned_yet, a.unsigned_yet);
		assert_int_equal(back.mac[31], a.unsigned_yet ? 1 : 0);
		assert_int_equal(back.signature[63], a.unsigned_yet ? 0 : 2);
		assert_int_equal(back.quota, 7);
		plain.ptr[1] = 7;
		assert_int_equal(directory_account_decode(buf_bytes(&plain), &back), ERR_UNSUPPORTED);
		buf_clear(&value);
		buf_clear(&plain);
		a.unsigned_yet = false;
	}
}

struct wrapped {
	const uint8_t *key;
	struct bytes name;
};

static enum err
unwrap(void *arg, struct bytes sealed)
{
	struct wrapped *w = arg;
	struct buf out = BUF_INIT(4096);
	enum err e = sealed_unwrap(w->key, w->name, sealed, &out);
	buf_wipe(&out);
	return e;
}

static enum err
open_spool_key(void *arg, struct bytes sealed)
{
	uint8_t pub[32];
	uint8_t sec[32];
	return sealed_spool_key_open(arg, 5, sealed, pub, sec);
}

static void
wrapped_keys_open_under_their_name_only(void **state)
{
	(void)state;
	uint8_t key[32] = {1};
	struct buf w = BUF_INIT(4096);
	struct wrapped arg = {.key = key, .name = BYTES_LIT("tls gate-mx")};
	assert_int_equal(sealed_wrap(key, arg.name, BYTES_LIT("a private key"), &w), ERR_OK);
	assert_int_equal(w.len, 13 + SEALED_WRAP_OVERHEAD);
	assert_every_change_is_found(buf_bytes(&w), 100000, unwrap, &arg);
	arg.name = BYTES_LIT("tls gate-member");
	assert_int_equal(unwrap(&arg, buf_bytes(&w)), ERR_AUTH);
	uint8_t pub[32];
	uint8_t sec[32];
	uint8_t pub2[32];
	uint8_t sec2[32];
	uint8_t value[SPOOL_KEY_VALUE_LEN];
	box_pair(pub, sec);
	sealed_spool_key_seal(key, 5, pub, sec, value);
	assert_int_equal(sealed_spool_key_open(key, 5, bytes_of(value, sizeof(value)), pub2, sec2), ERR_OK);
	assert_memory_equal(pub, pub2, 32);
	assert_memory_equal(sec, sec2, 32);
	assert_int_equal(sealed_spool_key_open(key, 6, bytes_of(value, sizeof(value)), pub2, sec2), ERR_AUTH);
	assert_every_change_is_found(bytes_of(value, sizeof(value)), 100000, open_spool_key, key);
	buf_clear(&w);
}

static enum err
open_entry(void *arg, struct bytes sealed)
{
	const uint8_t *k = arg;
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	enum directory_kind kind;
	enum err e = directory_unseal(k, k + 32, sealed, &plain, &kind);
	buf_wipe(&plain);
	return e;
}

static void
directory_entries_come_back_and_stay_at_their_key(void **state)
{
	(void)state;
	uint8_t keys[64] = {1};
	uint8_t hash_key[32] = {2};
	struct buf value = BUF_INIT(1 << 17);
	struct buf plain = BUF_INIT(1 << 17);
	enum directory_kind kind;
	static struct directory_address address;
	static struct directory_address got_address;
	address = (struct directory_address){
	    .kind = ADDRESS_ALIAS, .address = BYTES_LIT("board@example.org"), .count = 200};
	for (size_t i = 0; i < 200; i++) {
		address.accounts[i][0] = (uint8_t)i;
	}
	directory_address_key(hash_key, address.address, keys + 32);
	assert_int_equal(directory_address_seal(&address, keys, keys + 32, &value), ERR_OK);
	assert_int_equal((value.len - 41) % 512, 0);
	assert_int_equal(directory_unseal(keys, keys + 32, buf_bytes(&value), &plain, &kind), ERR_OK);
	assert_int_equal(kind, DIRECTORY_ADDRESS);
	assert_int_equal(directory_address_decode(buf_bytes(&plain), &got_address), ERR_OK);
	assert_int_equal(got_address.count, 200);
	assert_memory_equal(got_address.accounts, address.accounts, sizeof(address.accounts));
	assert_true(bytes_is(got_address.address, "board@example.org"));
	struct directory_account none;
	assert_int_equal(directory_account_decode(buf_bytes(&plain), &none), ERR_FORMAT);
	assert_every_change_is_found(buf_bytes(&value), 5000, open_entry, keys);
	keys[40] ^= 1;
	assert_int_equal(open_entry(keys, buf_bytes(&value)), ERR_AUTH);
	address.kind = ADDRESS_MEMBER;
	assert_int_equal(directory_address_seal(&address, keys, keys + 32, &value), ERR_FORMAT);
	address.count = 201;
	assert_int_equal(directory_address_seal(&address, keys, keys + 32, &value), ERR_LIMIT);

	struct directory_account a = {.status = ACCOUNT_ACTIVE,
				      .name = BYTES_LIT("alice"),
				      .address_count = 2,
				      .addresses = {BYTES_LIT("a@example.org"), BYTES_LIT("b@example.org")},
				      .generation = 7,
				      .quota = 1ULL << 40,
				      .held = BYTES_LIT("0badcafe"),
				      .lifts = 9,
				      .limit_times = 65535,
				      .created_day = 20000,
				      .lane = 2};
	struct directory_account b;
	memcpy(a.id, account, 16);
	a.public_key[1] = 3;
	a.signature[2] = 4;
	buf_reset(&value);
	buf_reset(&plain);
	directory_account_key(hash_key, account, keys + 32);
	assert_int_equal(directory_account_seal(&a, keys, keys + 32, &value), ERR_OK);
	assert_int_equal(value.len, 41 + 512);
	assert_int_equal(directory_unseal(keys, keys + 32, buf_bytes(&value), &plain, &kind), ERR_OK);
	assert_int_equal(kind, DIRECTORY_ACCOUNT);
	assert_int_equal(directory_account_decode(buf_bytes(&plain), &b), ERR_OK);
	assert_memory_equal(a.id, b.id, 16);
	assert_int_equal(b.status, ACCOUNT_ACTIVE);
	assert_true(bytes_is(b.name, "alice"));
	assert_int_equal(b.address_count, 2);
	assert_true(bytes_is(b.addresses[1], "b@example.org"));
	assert_int_equal(b.generation, 7);
	assert_memory_equal(a.public_key, b.public_key, 32);
	assert_memory_equal(a.signature, b.signature, SIGN_LEN);
	assert_true(b.quota == 1ULL << 40);
	assert_true(bytes_is(b.held, "0badcafe"));
	assert_int_equal(b.lifts, 9);
	assert_int_equal(b.limit_times, 65535);
	assert_int_equal(b.created_day, 20000);
	assert_int_equal(b.lane, 2);
	assert_int_equal(b.forward_count, 0);
	/* Version 4 ended before what is forwarded: the count of none. */
	size_t end = plain.len - 1;
	assert_int_equal(plain.ptr[end], 0);
	plain.ptr[1] = 4;
	assert_int_equal(directory_account_decode(bytes_slice(buf_bytes(&plain), 0, end), &b), ERR_OK);
	assert_true(b.limit_times == 65535 && b.forward_count == 0);
	buf_clear(&value);
	buf_clear(&plain);
}

static void
an_account_says_where_its_mail_is_sent_on(void **state)
{
	(void)state;
	uint8_t key[32] = {5};
	struct directory_account a = {.status = ACCOUNT_ACTIVE,
				      .name = BYTES_LIT("alice"),
				      .generation = 2,
				      .forward_count = DIRECTORY_FORWARDS_MAX,
				      .forward_slot = 70000,
				      .forwards_signature = {1, 2, [SIGN_LEN - 1] = 3}};
	struct directory_account b;
	struct buf value = BUF_INIT(1 << 16);
	struct buf plain = BUF_INIT(1 << 16);
	enum directory_kind kind;
	for (size_t i = 0; i < DIRECTORY_FORWARDS_MAX; i++) {
		a.forwards[i] = i == 4 ? BYTES_LIT("last@example.net") : BYTES_LIT("a@example.net");
	}
	assert_int_equal(directory_account_seal(&a, key, key, &value), ERR_OK);
	assert_int_equal(directory_unseal(key, key, buf_bytes(&value), &plain, &kind), ERR_OK);
	assert_int_equal(directory_account_decode(buf_bytes(&plain), &b), ERR_OK);
	assert_int_equal(b.forward_count, DIRECTORY_FORWARDS_MAX);
	assert_true(bytes_is(b.forwards[0], "a@example.net") && bytes_is(b.forwards[4], "last@example.net"));
	assert_memory_equal(a.forwards_signature, b.forwards_signature, SIGN_LEN);
	assert_int_equal(b.forward_slot, 70000);
	for (size_t cut = 1; cut < 94 + SIGN_LEN; cut++) {
		assert_int_not_equal(
		    directory_account_decode(bytes_slice(buf_bytes(&plain), 0, plain.len - cut), &b), ERR_OK);
	}
	/* Version 5 named no secret: what it says of addresses is void. */
	memmove(plain.ptr + plain.len - SIGN_LEN - 4, plain.ptr + plain.len - SIGN_LEN, SIGN_LEN);
	plain.ptr[1] = 5;
	assert_int_equal(directory_account_decode(bytes_slice(buf_bytes(&plain), 0, plain.len - 4), &b),
			 ERR_OK);
	assert_true(b.forward_count == 0 && b.forward_slot == 0);
	a.forward_slot = 0;
	assert_int_equal(directory_account_seal(&a, key, key, &value), ERR_FORMAT);
	a.forward_slot = 1;
	a.forwards[2] = BYTES_EMPTY;
	assert_int_equal(directory_account_seal(&a, key, key, &value), ERR_FORMAT);
	a.forward_count = DIRECTORY_FORWARDS_MAX + 1;
	assert_int_equal(directory_account_seal(&a, key, key, &value), ERR_LIMIT);
	a.forward_count = 1;
	a.unsigned_yet = true;
	assert_int_equal(directory_account_seal(&a, key, key, &value), ERR_FORMAT);
	buf_clear(&value);
	buf_clear(&plain);
}

static void
a_list_of_addresses_is_signed_for_one_account(void **state)
{
	(void)state;
	uint8_t seed[SIGN_SEED_LEN] = {4};
	uint8_t key[SEALED_KEY_LEN];
	uint8_t hash[SEALED_HASH_LEN];
	uint8_t signature[SIGN_LEN];
	struct directory_account a = {
	    .name = BYTES_LIT("alice"), .forward_count = DIRECTORY_FORWARDS_MAX, .forward_slot = 7};
	struct forward_list list;
	struct buf encoded = BUF_INIT(FORWARD_LIST_MAX);
	static uint8_t longest[DIRECTORY_ADDRESS_MAX];
	memset(longest, 'a', sizeof(longest));
	a.name = bytes_of(longest, sizeof(longest));
	for (size_t i = 0; i < DIRECTORY_FORWARDS_MAX; i++) {
		a.forwards[i] = bytes_of(longest, sizeof(longest) - i);
	}
	sign_public(seed, key);
	assert_int_equal(forward_list_put(&a, &encoded), ERR_OK);
	assert_int_equal(forward_list_decode(buf_bytes(&encoded), &list), ERR_OK);
	assert_true(list.count == DIRECTORY_FORWARDS_MAX && bytes_equal(list.name, a.name) &&
		    bytes_equal(list.addresses[4], a.forwards[4]) && list.slot == 7);
	forward_list_hash(buf_bytes(&encoded), hash);
	forward_list_sign(seed, account, hash, signature);
	assert_int_equal(forward_list_verify(key, account, buf_bytes(&encoded), signature), ERR_OK);
	assert_int_equal(forward_list_verify(key, unit, buf_bytes(&encoded), signature), ERR_AUTH);
	encoded.ptr[encoded.len - 1] ^= 1;
	assert_int_equal(forward_list_verify(key, account, buf_bytes(&encoded), signature), ERR_AUTH);
	for (size_t n = 0; n < encoded.len; n++) {
		assert_int_equal(forward_list_decode(bytes_slice(buf_bytes(&encoded), 0, n), &list),
				 ERR_FORMAT);
	}
	encoded.ptr[4 + DIRECTORY_ADDRESS_MAX] = DIRECTORY_FORWARDS_MAX + 1;
	assert_int_equal(forward_list_decode(buf_bytes(&encoded), &list), ERR_FORMAT);
	a.forward_slot = 0;
	buf_reset(&encoded);
	assert_int_equal(forward_list_put(&a, &encoded), ERR_FORMAT);
	a.forward_slot = 7;
	a.forward_count = 0;
	assert_int_equal(forward_list_put(&a, &encoded), ERR_FORMAT);
	buf_clear(&encoded);
}

struct record_arg {
	struct member_keys keys;
	struct record_place place;
};

static enum err
open_record(void *arg, struct bytes sealed)
{
	struct record_arg *a = arg;
	struct buf out = BUF_INIT(SEALED_RECORD_MAX);
	enum err e = record_open(&a->keys, &a->place, sealed, &out);
	assert_true(e == ERR_OK || out.len == 0);
	buf_wipe(&out);
	return e;
}

static void
a_record_opens_at_its_place_only(void **state)
{
	(void)state;
	struct record_arg a = {.place = {.kind = 2, .n = 12}};
	struct buf sealed = BUF_INIT(SEALED_RECORD_MAX);
	struct buf out = BUF_INIT(SEALED_RECORD_MAX);
	make_keys(&a.keys, 2);
	memcpy(a.place.account, account, 16);
	a.place.before[0] = 1;
	assert_int_equal(record_seal(&a.keys, &a.place, BYTES_LIT("flags"), &sealed), ERR_OK);
	assert_int_equal(sealed.len, 1 + 4 + 24 + 64 + 16);
	assert_int_equal(record_open(&a.keys, &a.place, buf_bytes(&sealed), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "flags"));
	assert_every_change_is_found(buf_bytes(&sealed), 100000, open_record, &a);
	/* Elsewhere, or as something else. */
	struct record_place here = a.place;
	a.place.n++;
	assert_int_equal(open_record(&a, buf_bytes(&sealed)), ERR_AUTH);
	a.place = here;
	a.place.kind = 1;
	assert_int_equal(open_record(&a, buf_bytes(&sealed)), ERR_AUTH);
	a.place = here;
	a.place.before[31] ^= 1;
	assert_int_equal(open_record(&a, buf_bytes(&sealed)), ERR_AUTH);
	a.place = here;
	a.place.account[15] ^= 1;
	assert_int_equal(open_record(&a, buf_bytes(&sealed)), ERR_AUTH);
	a.place = here;
	/* Older generations stay readable; unknown ones are told apart. */
	uint8_t pub[32];
	uint8_t sec[32];
	box_pair(pub, sec);
	assert_int_equal(member_keys_add(&a.keys, 3, pub, sec), ERR_OK);
	assert_int_equal(open_record(&a, buf_bytes(&sealed)), ERR_OK);
	struct record_arg fewer = {.place = here};
	make_keys(&fewer.keys, 1);
	assert_int_equal(open_record(&fewer, buf_bytes(&sealed)), ERR_NOT_FOUND);
	/* Sizes: all lengths up to the limit come back, in steps. */
	struct buf plain = BUF_INIT(SEALED_RECORD_MAX);
	assert_int_equal(buf_reserve(&plain, SEALED_RECORD_PLAIN_MAX + 1), ERR_OK);
	memset(plain.ptr, 0, SEALED_RECORD_PLAIN_MAX + 1);
	static const size_t sizes[] = {0, 63, 64, 1023, 1024, 16383, 16384, SEALED_RECORD_PLAIN_MAX};
	static const size_t padded[] = {64,   64,    128,   1024,
					1536, 16384, 20480, SEALED_RECORD_PLAIN_MAX + 4096};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		buf_reset(&sealed);
		buf_reset(&out);
		assert_int_equal(record_seal(&a.keys, &a.place, bytes_of(plain.ptr, sizes[i]), &sealed),
				 ERR_OK);
		assert_int_equal(sealed.len, 45 + padded[i]);
		assert_int_equal(record_open(&a.keys, &a.place, buf_bytes(&sealed), &out), ERR_OK);
		assert_int_equal(out.len, sizes[i]);
	}
	assert_int_equal(
	    record_seal(&a.keys, &a.place, bytes_of(plain.ptr, SEALED_RECORD_PLAIN_MAX + 1), &sealed),
	    ERR_LIMIT);
	member_keys_clear(&a.keys);
	member_keys_clear(&fewer.keys);
	assert_int_equal(record_seal(&a.keys, &a.place, BYTES_EMPTY, &sealed), ERR_STATE);
	buf_clear(&sealed);
	buf_clear(&out);
	buf_clear(&plain);
}

static enum err
open_arrival(void *arg, struct bytes sealed)
{
	struct arrival a;
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	enum err e = arrival_open(account, arg, sealed, &plain, &a);
	assert_true(e == ERR_OK || plain.len == 0);
	buf_wipe(&plain);
	return e;
}

static void
sample_ref(struct blob_ref *ref)
{
	blob_ref_init(ref);
	ref->size = 3000;
	ref->stored = 4096 + BLOB_CHUNK_OVERHEAD;
	ref->chunks = 1;
}

static void
an_arrival_shows_its_size_in_steps_and_the_first_leaves_a_row_within_a_page(void **state)
{
	(void)state;
	static const struct {
		size_t plain, padded;
	} sizes[] = {{0, 880},     {879, 880},   {880, 2048},   {1024, 2048},
		     {2047, 2048}, {2048, 3072}, {16384, 24576}};
	/* SQLite: at most (4096 - 12) * 64 / 255 - 23 octets of a row; 62 go to its header and other columns. */
	assert_true(5 + 48 + 880 + 62 <= 1002);
	struct member_keys keys;
	struct arrival a = {.received = 1};
	struct arrival b;
	struct buf sealed = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	static const uint8_t text[20000];
	make_keys(&keys, 2);
	sample_ref(&a.blob);
	a.flags = ARRIVAL_NULL_SENDER;
	size_t rest = 1 + 16 + BLOB_REF_LEN + 8 + 4 + 4 * 4;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i].plain < rest ? 0 : sizes[i].plain - rest;
		a.summary = bytes_of(text, n);
		buf_reset(&sealed);
		buf_reset(&plain);
		assert_int_equal(arrival_seal(account, 2, keys.keys[1].public_key, &a, &sealed), ERR_OK);
		assert_int_equal(sealed.len, 5 + 48 + sizes[i].padded);
		assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &b), ERR_OK);
		assert_int_equal(b.summary.len, n);
	}
	member_keys_clear(&keys);
	buf_clear(&sealed);
	buf_wipe(&plain);
}

static void
an_arrival_opens_for_its_member_and_is_checked_again(void **state)
{
	(void)state;
	static const uint8_t extra[] = {0, 9, 0, 0, 0, 2, 'x', 'y'};
	struct member_keys keys;
	struct arrival a = {.received = 1700000000,
			    .flags = ARRIVAL_AUTHENTICATED,
			    .sender = BYTES_LIT("bob@example.net"),
			    .recipient = BYTES_LIT("alice+shop@example.org"),
			    .summary = BYTES_LIT("summary"),
			    .extra = bytes_of(extra, sizeof(extra))};
	struct arrival b;
	struct card card;
	struct card read;
	struct buf sealed = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	make_keys(&keys, 2);
	sample_ref(&a.blob);
	a.delivery[0] = 1;
	assert_int_equal(arrival_seal(account, 2, keys.keys[1].public_key, &a, &sealed), ERR_OK);
	assert_int_equal(sealed.len, 5 + 48 + 880);
	assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &b), ERR_OK);
	assert_memory_equal(a.delivery, b.delivery, 16);
	assert_memory_equal(&a.blob, &b.blob, BLOB_REF_LEN);
	assert_true(b.received == 1700000000 && b.flags == ARRIVAL_AUTHENTICATED);
	assert_true(bytes_equal(a.sender, b.sender) && bytes_equal(a.recipient, b.recipient));
	assert_true(bytes_equal(a.summary, b.summary) && bytes_equal(a.extra, b.extra));
	assert_every_change_is_found(buf_bytes(&sealed), 3000, open_arrival, &keys);
	/* The card says the same. */
	struct buf c = BUF_INIT(ARRIVAL_SEALED_MAX);
	card_of_arrival(&b, &card);
	assert_int_equal(card_encode(&card, &c), ERR_OK);
	assert_int_equal(card_decode(buf_bytes(&c), &read), ERR_OK);
	assert_memory_equal(&read.blob, &a.blob, BLOB_REF_LEN);
	assert_true(read.internal_date == 1700000000 && bytes_equal(read.summary, a.summary));
	for (size_t n = 0; n < c.len; n++) {
		assert_int_equal(card_decode(bytes_slice(buf_bytes(&c), 0, n), &read), ERR_FORMAT);
	}
	/* For another account, or under another generation, it is nothing. */
	struct arrival none;
	buf_reset(&plain);
	assert_int_equal(arrival_open(unit, &keys, buf_bytes(&sealed), &plain, &none), ERR_AUTH);
	sealed.ptr[4] = 1;
	assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &none), ERR_AUTH);
	sealed.ptr[4] = 9;
	assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &none), ERR_NOT_FOUND);
	sealed.ptr[0] = 2;
	assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &none), ERR_UNSUPPORTED);
	/* What a captured gate might say is refused inside, too: impossible sizes. */
	a.blob.chunks = 2;
	buf_reset(&sealed);
	assert_int_equal(arrival_seal(account, 2, keys.keys[1].public_key, &a, &sealed), ERR_OK);
	assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &none), ERR_FORMAT);
	a.blob.chunks = 1;
	a.blob.size = BLOB_MESSAGE_MAX + 1;
	buf_reset(&sealed);
	assert_int_equal(arrival_seal(account, 2, keys.keys[1].public_key, &a, &sealed), ERR_OK);
	assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &none), ERR_FORMAT);
	a.blob.size = 1;
	a.extra = bytes_of(extra, 7);
	assert_int_equal(arrival_seal(account, 2, keys.keys[1].public_key, &a, &sealed), ERR_FORMAT);
	a.extra = BYTES_EMPTY;
	a.flags = ARRIVAL_NULL_SENDER;
	assert_int_equal(arrival_seal(account, 2, keys.keys[1].public_key, &a, &sealed), ERR_FORMAT);
	member_keys_clear(&keys);
	buf_clear(&sealed);
	buf_clear(&plain);
	buf_clear(&c);
}

static enum err
open_state(void *arg, struct bytes sealed)
{
	struct arena arena;
	struct spool_state s;
	arena_init(&arena, 1 << 20);
	enum err e = spool_state_open(arg, unit, sealed, &arena, &s);
	arena_clear(&arena);
	return e;
}

static void
a_value_of_the_mixer_opens_under_its_own_name_only(void **state)
{
	static const uint8_t key[SEALED_KEY_LEN] = {3};
	static const uint8_t other[SEALED_KEY_LEN] = {4};
	struct buf one = BUF_INIT(SPOOL_VALUE_MAX + 4096);
	struct buf two = BUF_INIT(SPOOL_VALUE_MAX + 4096);
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	static uint8_t large[SPOOL_VALUE_MAX + 1];
	(void)state;
	assert_int_equal(spool_value_seal(BYTES_LIT("what"), key, "mixer-leave", &one), ERR_OK);
	assert_int_equal(spool_value_seal(bytes_of(large, 400), key, "mixer-leave", &two), ERR_OK);
	/* Sizes tell a step, and no more. */
	assert_int_equal(one.len, two.len);
	assert_int_equal(spool_value_open(key, "mixer-leave", buf_bytes(&one), &plain), ERR_OK);
	assert_true(bytes_is(buf_bytes(&plain), "what"));
	buf_reset(&plain);
	assert_int_equal(spool_value_open(key, "mixer-arrive", buf_bytes(&one), &plain), ERR_AUTH);
	assert_int_equal(spool_value_open(other, "mixer-leave", buf_bytes(&one), &plain), ERR_AUTH);
	assert_int_equal(spool_value_open(key, "mixer-leave", BYTES_EMPTY, &plain), ERR_FORMAT);
	one.ptr[one.len - 1] ^= 1;
	assert_int_equal(spool_value_open(key, "mixer-leave", buf_bytes(&one), &plain), ERR_AUTH);
	one.ptr[0]++;
	assert_int_equal(spool_value_open(key, "mixer-leave", buf_bytes(&one), &plain), ERR_UNSUPPORTED);
	assert_int_equal(plain.len, 0);
	assert_int_equal(spool_value_seal(bytes_of(large, sizeof(large)), key, "mixer-leave", &one),
			 ERR_LIMIT);
	buf_reset(&two);
	assert_int_equal(spool_value_seal(bytes_of(large, SPOOL_VALUE_MAX), key, "mixer-leave", &two),
			 ERR_OK);
	buf_clear(&one);
	buf_clear(&two);
	buf_clear(&plain);
}

static void
the_state_of_a_unit_comes_back_and_stays_with_it(void **state)
{
	(void)state;
	uint8_t key[32] = {3};
	static struct spool_part parts[SPOOL_PARTS_MAX];
	struct spool_state s = {.stage = SPOOL_LEAVING,
				.sender_kind = SPOOL_SENDER_ACCOUNT,
				.entered = 5,
				.wall_entered = -6,
				.due = 7,
				.size_class = 2,
				.lane = 1,
				.weight = 3,
				.attempts = 4,
				.flags = 9,
				.epoch = 11,
				.since_day = 12,
				.generation = 13,
				.public_key = {14},
				.left = 15,
				.is_void = true,
				.crowd = 16,
				.batch = 17,
				.part_count = SPOOL_PARTS_MAX,
				.parts = parts};
	struct spool_state got;
	struct arena arena;
	struct buf value = BUF_INIT(SPOOL_STATE_MAX);
	for (size_t i = 0; i < SPOOL_PARTS_MAX; i++) {
		parts[i] = (struct spool_part){.number = (uint32_t)i * 2,
					       .kind = i % 2 == 0 ? SPOOL_PART_COURIER : SPOOL_PART_LOCAL,
					       .bytes = i,
					       .destinations = 1,
					       .due = (msec)i,
					       .epoch = 11,
					       .flags = 1};
	}
	arena_init(&arena, 1 << 20);
	assert_int_equal(spool_state_seal(&s, key, unit, &value), ERR_OK);
	assert_int_equal((value.len - 41) % 512, 0);
	assert_int_equal(spool_state_open(key, unit, buf_bytes(&value), &arena, &got), ERR_OK);
	assert_int_equal(got.part_count, SPOOL_PARTS_MAX);
	assert_true(got.entered == 5 && got.wall_entered == -6 && got.due == 7 && got.weight == 3);
	assert_true(got.size_class == 2 && got.lane == 1 && got.attempts == 4 && got.flags == 9 &&
		    got.epoch == 11);
	assert_true(got.since_day == 12 && got.generation == 13 && got.public_key[0] == 14 &&
		    got.left == 15 && got.is_void && got.crowd == 16 && got.batch == 17);
	for (size_t i = 0; i < SPOOL_PARTS_MAX; i++) {
		assert_int_equal(got.parts[i].number, parts[i].number);
		assert_int_equal(got.parts[i].kind, parts[i].kind);
		assert_true(got.parts[i].bytes == parts[i].bytes && got.parts[i].due == parts[i].due);
	}
	assert_int_equal(spool_state_open(key, account, buf_bytes(&value), &arena, &got), ERR_AUTH);
	s.part_count = 1;
	buf_reset(&value);
	assert_int_equal(spool_state_seal(&s, key, unit, &value), ERR_OK);
	assert_int_equal(value.len, 41 + 512);
	assert_every_change_is_found(buf_bytes(&value), 5000, open_state, key);
	s.part_count = SPOOL_PARTS_MAX + 1;
	assert_int_equal(spool_state_seal(&s, key, unit, &value), ERR_LIMIT);
	s.part_count = 2;
	parts[1].number = 0;
	assert_int_equal(spool_state_seal(&s, key, unit, &value), ERR_FORMAT);
	arena_clear(&arena);
	buf_clear(&value);
}

struct part_arg {
	uint8_t pub[32];
	uint8_t sec[32];
	uint32_t number;
};

static enum err
open_part(void *arg, struct bytes sealed)
{
	struct part_arg *a = arg;
	struct arena arena;
	struct courier_part p;
	struct buf plain = BUF_INIT(SPOOL_PART_MAX);
	arena_init(&arena, 1 << 20);
	enum err e = courier_part_open(a->sec, a->pub, unit, a->number, sealed, &plain, &arena, &p);
	assert_true(e == ERR_OK || plain.len == 0);
	arena_clear(&arena);
	buf_wipe(&plain);
	return e;
}

static void
a_courier_part_opens_with_the_spool_secret_of_its_epoch(void **state)
{
	(void)state;
	struct part_arg a = {.number = 3};
	struct courier_recipient to[2] = {{.address = BYTES_LIT("bob@example.net"),
					   .notify = SPOOL_NOTIFY_FAILURE,
					   .orcpt = BYTES_LIT("rfc822;bob@example.net")},
					  {.address = BYTES_LIT("eve@example.net"),
					   .status = SPOOL_RECIPIENT_DELAYED,
					   .diagnostic = BYTES_LIT("451 later")}};
	struct courier_part p = {.domain = BYTES_LIT("example.net"),
				 .sender = BYTES_LIT("alice@example.org"),
				 .generation = 2,
				 .ret = SPOOL_RET_HEADERS,
				 .envid = BYTES_LIT("e1"),
				 .flags = COURIER_8BIT,
				 .message_id = BYTES_LIT("<1@example.org>"),
				 .first_release = 5,
				 .entered = 4,
				 .recipient_count = 2,
				 .recipients = to};
	struct courier_part q;
	struct arena arena;
	struct buf sealed = BUF_INIT(SPOOL_PART_MAX);
	struct buf plain = BUF_INIT(SPOOL_PART_MAX);
	uint32_t epoch = 0;
	box_pair(a.pub, a.sec);
	sample_ref(&p.blob);
	memcpy(p.account, account, 16);
	p.public_key[0] = 1;
	arena_init(&arena, 1 << 20);
	assert_int_equal(courier_part_seal(&p, 20000, a.pub, unit, 3, &sealed), ERR_OK);
	assert_int_equal(courier_part_epoch(buf_bytes(&sealed), &epoch), ERR_OK);
	assert_int_equal(epoch, 20000);
	assert_int_equal(courier_part_open(a.sec, a.pub, unit, 3, buf_bytes(&sealed), &plain, &arena, &q),
			 ERR_OK);
	assert_true(bytes_is(q.domain, "example.net") && bytes_is(q.sender, "alice@example.org"));
	assert_memory_equal(q.account, account, 16);
	assert_memory_equal(q.public_key, p.public_key, 32);
	assert_memory_equal(&q.blob, &p.blob, BLOB_REF_LEN);
	assert_true(q.generation == 2 && q.ret == SPOOL_RET_HEADERS && q.flags == COURIER_8BIT &&
		    q.first_release == 5);
	assert_true(bytes_is(q.envid, "e1") && bytes_is(q.message_id, "<1@example.org>") && q.entered == 4);
	assert_int_equal(q.recipient_count, 2);
	assert_true(bytes_is(q.recipients[0].orcpt, "rfc822;bob@example.net") &&
		    q.recipients[0].notify == SPOOL_NOTIFY_FAILURE);
	assert_true(bytes_is(q.recipients[1].diagnostic, "451 later") &&
		    q.recipients[1].status == SPOOL_RECIPIENT_DELAYED);
	assert_every_change_is_found(buf_bytes(&sealed), 3000, open_part, &a);
	a.number = 4;
	assert_int_equal(open_part(&a, buf_bytes(&sealed)), ERR_AUTH);
	p.recipient_count = 0;
	assert_int_equal(courier_part_seal(&p, 1, a.pub, unit, 3, &sealed), ERR_FORMAT);
	/* What is sent on says by whom, and what was found when it came; nothing else does. */
	p.recipient_count = 2;
	p.forwarder = BYTES_LIT("carol@example.org");
	assert_int_equal(courier_part_seal(&p, 1, a.pub, unit, 3, &sealed), ERR_FORMAT);
	p.flags = COURIER_FORWARDED;
	p.results = BYTES_LIT("mx.example.org; dmarc=pass");
	p.arc_result = 2;
	p.arc_sets = 7;
	/* And shows what the keeper has signed. */
	assert_int_equal(courier_part_seal(&p, 1, a.pub, unit, 3, &sealed), ERR_FORMAT);
	p.forwards = BYTES_LIT("list");
	p.forwards_signature[SIGN_LEN - 1] = 9;
	buf_reset(&sealed);
	buf_reset(&plain);
	assert_int_equal(courier_part_seal(&p, 1, a.pub, unit, 3, &sealed), ERR_OK);
	assert_int_equal(courier_part_open(a.sec, a.pub, unit, 3, buf_bytes(&sealed), &plain, &arena, &q),
			 ERR_OK);
	assert_int_equal(plain.ptr[0], 2);
	assert_true(bytes_is(q.forwarder, "carol@example.org") &&
		    bytes_is(q.results, "mx.example.org; dmarc=pass") && q.arc_result == 2 &&
		    q.arc_sets == 7);
	assert_true(bytes_is(q.forwards, "list") && q.forwards_signature[SIGN_LEN - 1] == 9);
	plain.ptr[0] = 1;
	assert_int_equal(courier_part_decode(buf_bytes(&plain), &arena, &q), ERR_FORMAT);
	p.flags = 0;
	p.forwarder = BYTES_EMPTY;
	p.results = BYTES_EMPTY;
	p.arc_result = 0;
	p.arc_sets = 0;
	assert_int_equal(courier_part_seal(&p, 1, a.pub, unit, 3, &sealed), ERR_FORMAT);
	p.flags = COURIER_FORWARDED;
	assert_int_equal(courier_part_seal(&p, 1, a.pub, unit, 3, &sealed), ERR_FORMAT);
	arena_clear(&arena);
	buf_clear(&sealed);
	buf_clear(&plain);
}

static void
a_line_of_the_journal_comes_back_and_is_no_mail(void **state)
{
	(void)state;
	struct member_keys keys;
	struct journal_line l = {.event = JOURNAL_DELIVERED,
				 .time = 1700000000,
				 .wait = JOURNAL_WAIT_CROWD,
				 .crowd = 5,
				 .batch = 7,
				 .domain = BYTES_LIT("example.net"),
				 .tls = 0x0304,
				 .padded = true,
				 .text = BYTES_LIT("250 2.0.0 Ok")};
	struct journal_line got;
	struct arrival a;
	struct buf sealed = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	uint8_t delivery[SEALED_ID_LEN] = {9};
	make_keys(&keys, 2);
	assert_int_equal(journal_seal(account, 2, keys.keys[1].public_key, delivery, &l, &sealed), ERR_OK);
	assert_int_equal(arrival_open(account, &keys, buf_bytes(&sealed), &plain, &a), ERR_OK);
	assert_memory_equal(a.delivery, delivery, SEALED_ID_LEN);
	assert_int_equal(journal_of_arrival(&a, &got), ERR_OK);
	assert_int_equal(got.event, JOURNAL_DELIVERED);
	assert_int_equal(got.time, l.time);
	assert_int_equal(got.crowd, 5);
	assert_int_equal(got.batch, 7);
	assert_int_equal(got.tls, 0x0304);
	assert_true(got.padded && got.proof == JOURNAL_PROOF_NONE && got.wait == JOURNAL_WAIT_CROWD);
	assert_true(bytes_equal(got.domain, l.domain) && bytes_equal(got.text, l.text));
	assert_true((a.flags & ARRIVAL_JOURNAL) != 0);
	a.extra = BYTES_EMPTY;
	assert_int_equal(journal_of_arrival(&a, &got), ERR_NOT_FOUND);
	l.event = JOURNAL__COUNT;
	assert_int_equal(journal_seal(account, 2, keys.keys[1].public_key, delivery, &l, &sealed),
			 ERR_FORMAT);
	buf_clear(&sealed);
	buf_wipe(&plain);
	member_keys_clear(&keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(purpose_keys_are_what_the_labels_say),
	    cmocka_unit_test(a_public_key_counts_only_with_its_mac),
	    cmocka_unit_test(a_public_key_is_signed_by_who_holds_the_seed),
	    cmocka_unit_test(an_account_without_a_signature_is_read_and_written_as_it_was),
	    cmocka_unit_test(wrapped_keys_open_under_their_name_only),
	    cmocka_unit_test(directory_entries_come_back_and_stay_at_their_key),
	    cmocka_unit_test(an_account_says_where_its_mail_is_sent_on),
	    cmocka_unit_test(a_list_of_addresses_is_signed_for_one_account),
	    cmocka_unit_test(a_record_opens_at_its_place_only),
	    cmocka_unit_test(an_arrival_shows_its_size_in_steps_and_the_first_leaves_a_row_within_a_page),
	    cmocka_unit_test(a_line_of_the_journal_comes_back_and_is_no_mail),
	    cmocka_unit_test(an_arrival_opens_for_its_member_and_is_checked_again),
	    cmocka_unit_test(a_value_of_the_mixer_opens_under_its_own_name_only),
	    cmocka_unit_test(the_state_of_a_unit_comes_back_and_stays_with_it),
	    cmocka_unit_test(a_courier_part_opens_with_the_spool_secret_of_its_epoch),
	};
	return cmocka_run_group_tests(tests, sealed_test_setup, NULL);
}
