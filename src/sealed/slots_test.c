/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/slots.h"

#include "crypto/password.h"
#include "sealed/directory.h"
#include "sealed/value.h"

#include "sealed/sealed_testing.h"

static const uint8_t pepper[32] = {1};
static const uint8_t seal_key[32] = {2};
static const uint8_t hash_key[32] = {3};
static const uint8_t account[16] = {4};

static void
assert_same_keys(const struct member_keys *a, const struct member_keys *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		assert_int_equal(a->keys[i].generation, i + 1);
		assert_memory_equal(a->keys[i].public_key, b->keys[i].public_key, 32);
		assert_memory_equal(a->keys[i].secret, b->keys[i].secret, 32);
		assert_memory_equal(a->keys[i].record_key, b->keys[i].record_key, 32);
		assert_true(secret_contains(b->keys[i].secret));
	}
}

static struct sealed_slots *
through_the_store(const struct sealed_slots *slots)
{
	struct buf value = BUF_INIT(1 << 17);
	struct sealed_slots *back = NULL;
	uint8_t key[32];
	uint8_t h1[32];
	uint8_t h2[32];
	sealed_slots_key(hash_key, account, key);
	assert_int_equal(sealed_slots_seal(slots, seal_key, key, &value), ERR_OK);
	assert_int_equal((value.len - 41) % 1024, 0);
	assert_int_equal(sealed_slots_unseal(seal_key, key, account, buf_bytes(&value), &back), ERR_OK);
	assert_int_equal(sealed_slots_hash(slots, h1), ERR_OK);
	assert_int_equal(sealed_slots_hash(back, h2), ERR_OK);
	assert_memory_equal(h1, h2, 32);
	buf_clear(&value);
	return back;
}

static void
codes_survive_the_pen_and_typing_errors_do_not(void **state)
{
	(void)state;
	struct slot_code code = {.kind = SLOT_APP, .number = 7};
	struct slot_code back;
	char text[SLOT_CODE_TEXT_MAX];
	for (size_t i = 0; i < 16; i++) {
		code.secret[i] = (uint8_t)(i * 37 + 5);
	}
	slot_code_print(&code, text);
	assert_int_equal(strlen(text), 2 + 27 + 5);
	assert_memory_equal(text, "7-", 2);
	assert_int_equal(slot_code_parse(bytes_str(text), &back), ERR_OK);
	assert_memory_equal(&code, &back, sizeof(code));
	/* Loud, with spaces, and with the look-alikes. */
	char loud[SLOT_CODE_TEXT_MAX];
	for (size_t i = 0; i <= strlen(text); i++) {
		char c = (char)ascii_upper((uint8_t)text[i]);
		loud[i] = c == '-' ? ' ' : c == '0' && i > 2 ? 'O' : c == '1' && i > 2 ? 'l' : c;
	}
	assert_int_equal(slot_code_parse(bytes_str(loud), &back), ERR_OK);
	assert_memory_equal(&code, &back, sizeof(code));
	/* Nearly every other symbol anywhere is found. */
	size_t missed = 0;
	size_t tried = 0;
	for (size_t i = 2; i < strlen(text); i++) {
		for (const char *s = "0123456789abcdefghjkmnpqrstvwxyz"; *s != '\0'; s++) {
			char old = text[i];
			if (old != '-' && *s != old) {
				text[i] = *s;
				tried++;
				missed += slot_code_parse(bytes_str(text), &back) == ERR_OK;
				text[i] = old;
			}
		}
	}
	assert_in_range(missed, 0, tried / 64);
	text[0] = '8';
	assert_int_equal(slot_code_parse(bytes_str(text), &back), ERR_FORMAT);
	code.kind = SLOT_RECOVERY;
	code.number = 0;
	slot_code_print(&code, text);
	assert_int_equal(strlen(text), 35 + 6);
	assert_int_equal(slot_code_parse(bytes_str(text), &back), ERR_OK);
	assert_int_equal(back.kind, SLOT_RECOVERY);
	assert_memory_equal(back.secret, code.secret, 20);
	static const char *const others[] = {
	    "",  "7",     "7-", "correct horse battery staple", "-", "0-00000-00000-00000-00000-00000-00",
	    "u", "7-\xff"};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(slot_code_parse(bytes_str(others[i]), &back), ERR_FORMAT);
	}
}

static void
each_kind_of_slot_opens_all_generations(void **state)
{
	(void)state;
	size_t before = secret_pool_used();
	struct member_keys keys;
	struct member_keys got;
	struct sealed_slots *slots = NULL;
	struct slot_code app;
	struct slot_code recovery;
	uint32_t number = 0;
	uint32_t main_number = 0;
	member_keys_init(&keys);
	member_keys_init(&got);
	assert_int_equal(sealed_slots_create(account, &slots, &keys), ERR_OK);
	struct buf none = BUF_INIT(100);
	assert_int_equal(sealed_slots_seal(slots, seal_key, hash_key, &none), ERR_STATE);
	assert_int_equal(sealed_slots_add_main(slots, &keys, pepper, BYTES_LIT("first"), 20000,
					       BYTES_LIT("at home"), &main_number),
			 ERR_OK);
	assert_int_equal(
	    sealed_slots_add_main(slots, &keys, pepper, BYTES_LIT("x"), 20000, BYTES_EMPTY, &number),
	    ERR_EXISTS);
	assert_int_equal(
	    sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 20000, BYTES_LIT("Thunderbird"), &app),
	    ERR_OK);
	assert_int_equal(sealed_slots_new_generation(slots, &keys), ERR_OK);
	assert_int_equal(
	    sealed_slots_add_code(slots, &keys, pepper, SLOT_RECOVERY, 20000, BYTES_EMPTY, &recovery),
	    ERR_OK);
	assert_int_equal(sealed_slots_new_generation(slots, &keys), ERR_OK);
	assert_int_equal(keys.count, 3);
	struct sealed_slots *read = through_the_store(slots);
	assert_int_equal(sealed_slots_count(read), 3);
	assert_int_equal(sealed_slots_info(read, 1).kind, SLOT_APP);
	assert_int_equal(sealed_slots_info(read, 1).created_day, 20000);

	assert_int_equal(sealed_slots_open_main(read, pepper, BYTES_LIT("first"), &got, &number), ERR_OK);
	assert_int_equal(number, main_number);
	assert_same_keys(&keys, &got);
	member_keys_clear(&got);
	assert_int_equal(sealed_slots_open_code(read, pepper, &app, &got, &number), ERR_OK);
	assert_int_equal(number, app.number);
	assert_same_keys(&keys, &got);
	member_keys_clear(&got);
	assert_int_equal(sealed_slots_open_code(read, pepper, &recovery, &got, &number), ERR_OK);
	assert_same_keys(&keys, &got);

	/* Labels: for the member alone. */
	struct buf label = BUF_INIT(100);
	assert_int_equal(sealed_slots_label(read, &got, app.number, &label), ERR_OK);
	assert_true(bytes_is(buf_bytes(&label), "Thunderbird"));
	struct member_keys others;
	make_keys(&others, 3);
	assert_int_equal(sealed_slots_label(read, &others, app.number, &label), ERR_AUTH);
	assert_int_equal(sealed_slots_label(read, &got, 99, &label), ERR_NOT_FOUND);
	/* Another member's keys change nothing here. */
	assert_int_equal(sealed_slots_revoke(read, &others, app.number), ERR_STATE);
	buf_clear(&label);

	/* Wrong in each way. */
	member_keys_clear(&got);
	uint8_t other_pepper[32] = {9};
	assert_int_equal(sealed_slots_open_main(read, pepper, BYTES_LIT("First"), &got, &number), ERR_AUTH);
	assert_int_equal(sealed_slots_open_main(read, other_pepper, BYTES_LIT("first"), &got, &number),
			 ERR_AUTH);
	assert_int_equal(sealed_slots_open_code(read, other_pepper, &app, &got, &number), ERR_AUTH);
	app.secret[15] ^= 1;
	assert_int_equal(sealed_slots_open_code(read, pepper, &app, &got, &number), ERR_AUTH);
	app.number = 99;
	assert_int_equal(sealed_slots_open_code(read, pepper, &app, &got, &number), ERR_AUTH);
	uint8_t longest[PASSWORD_MAX + 1];
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(
	    sealed_slots_open_main(read, pepper, bytes_of(longest, sizeof(longest)), &got, &number),
	    ERR_AUTH);
	/* One octet more than the longest password is not that password. */
	assert_int_equal(
	    sealed_slots_change_main(read, &keys, pepper, bytes_of(longest, PASSWORD_MAX), 1, &number),
	    ERR_OK);
	assert_int_equal(
	    sealed_slots_open_main(read, pepper, bytes_of(longest, sizeof(longest)), &got, &number),
	    ERR_AUTH);
	assert_int_equal(sealed_slots_fake_open(pepper, BYTES_LIT("first"), NULL), ERR_AUTH);
	assert_int_equal(sealed_slots_fake_open(pepper, BYTES_EMPTY, &app), ERR_AUTH);
	assert_int_equal(got.count, 0);
	member_keys_clear(&keys);
	member_keys_clear(&others);
	sealed_slots_destroy(&slots);
	sealed_slots_destroy(&read);
	assert_int_equal(secret_pool_used(), before);
}

static void
a_revoked_slot_opens_nothing_that_comes_after(void **state)
{
	(void)state;
	struct member_keys keys;
	struct member_keys got;
	struct sealed_slots *slots = NULL;
	struct slot_code a;
	struct slot_code b;
	uint32_t number = 0;
	uint8_t old_public[32];
	uint8_t new_public[32];
	member_keys_init(&keys);
	member_keys_init(&got);
	assert_int_equal(sealed_slots_create(account, &slots, &keys), ERR_OK);
	assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &a), ERR_OK);
	assert_int_equal(sealed_slots_revoke(slots, &keys, a.number), ERR_STATE);
	assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &b), ERR_OK);
	assert_int_equal(sealed_slots_generation(slots, old_public), 1);
	struct sealed_slots *older = through_the_store(slots);
	assert_int_equal(sealed_slots_revoke(slots, &keys, a.number), ERR_OK);
	assert_int_equal(sealed_slots_revoke(slots, &keys, a.number), ERR_NOT_FOUND);
	assert_int_equal(sealed_slots_generation(slots, new_public), 2);
	assert_memory_not_equal(old_public, new_public, 32);
	assert_int_equal(keys.count, 2);
	assert_int_equal(sealed_slots_open_code(slots, pepper, &a, &got, &number), ERR_AUTH);
	assert_int_equal(sealed_slots_open_code(slots, pepper, &b, &got, &number), ERR_OK);
	assert_same_keys(&keys, &got);
	member_keys_clear(&got);
	/* With the old list it knows the old generation, and no more. */
	assert_int_equal(sealed_slots_open_code(older, pepper, &a, &got, &number), ERR_OK);
	assert_int_equal(got.count, 1);
	assert_memory_not_equal(got.keys[0].secret, keys.keys[1].secret, 32);
	/* A number never comes twice. */
	struct slot_code c;
	assert_int_equal(sealed_slots_revoke(slots, &got, b.number), ERR_STATE);
	assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &c), ERR_OK);
	assert_int_equal(c.number, 3);
	member_keys_clear(&got);
	member_keys_clear(&keys);
	sealed_slots_destroy(&slots);
	sealed_slots_destroy(&older);
}

static void
a_new_main_password_keeps_the_keys(void **state)
{
	(void)state;
	struct member_keys keys;
	struct member_keys got;
	struct sealed_slots *slots = NULL;
	struct slot_code app;
	uint32_t number = 0;
	member_keys_init(&keys);
	member_keys_init(&got);
	assert_int_equal(sealed_slots_create(account, &slots, &keys), ERR_OK);
	assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &app), ERR_OK);
	assert_int_equal(sealed_slots_change_main(slots, &keys, pepper, BYTES_LIT("old"), 2, &number),
			 ERR_OK);
	assert_int_equal(sealed_slots_change_main(slots, &keys, pepper, BYTES_LIT("new"), 3, &number),
			 ERR_OK);
	assert_int_equal(sealed_slots_count(slots), 2);
	assert_int_equal(sealed_slots_open_main(slots, pepper, BYTES_LIT("old"), &got, &number), ERR_AUTH);
	assert_int_equal(sealed_slots_open_main(slots, pepper, BYTES_LIT("new"), &got, &number), ERR_OK);
	assert_same_keys(&keys, &got);
	member_keys_clear(&got);
	assert_int_equal(sealed_slots_open_code(slots, pepper, &app, &got, &number), ERR_OK);
	assert_same_keys(&keys, &got);
	member_keys_clear(&got);
	member_keys_clear(&keys);
	sealed_slots_destroy(&slots);
}

struct opening {
	uint8_t key[32];
};

static enum err
unseal(void *arg, struct bytes sealed)
{
	struct opening *o = arg;
	struct sealed_slots *s = NULL;
	enum err e = sealed_slots_unseal(seal_key, o->key, account, sealed, &s);
	sealed_slots_destroy(&s);
	return e;
}

static void
the_list_holds_up_to_its_limits_and_shows_every_change(void **state)
{
	(void)state;
	struct member_keys keys;
	struct member_keys got;
	struct sealed_slots *slots = NULL;
	struct slot_code code;
	struct slot_code last;
	struct opening o;
	struct buf value = BUF_INIT(1 << 17);
	uint32_t number = 0;
	member_keys_init(&keys);
	member_keys_init(&got);
	sealed_slots_key(hash_key, account, o.key);
	assert_int_equal(sealed_slots_create(account, &slots, &keys), ERR_OK);
	assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &code),
			 ERR_OK);
	assert_int_equal(sealed_slots_seal(slots, seal_key, o.key, &value), ERR_OK);
	assert_every_change_is_found(buf_bytes(&value), 20000, unseal, &o);
	struct sealed_slots *other = NULL;
	uint8_t other_account[16] = {7};
	assert_int_equal(sealed_slots_unseal(seal_key, o.key, other_account, buf_bytes(&value), &other),
			 ERR_DAMAGED);
	assert_int_equal(sealed_slots_unseal(hash_key, o.key, account, buf_bytes(&value), &other), ERR_AUTH);
	o.key[0] ^= 1;
	assert_int_equal(unseal(&o, buf_bytes(&value)), ERR_AUTH);
	o.key[0] ^= 1;
	for (size_t i = 1; i < SLOTS_MAX; i++) {
		assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &last),
				 ERR_OK);
	}
	assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &code),
			 ERR_LIMIT);
	uint8_t label[SLOT_LABEL_MAX + 1] = {0};
	assert_int_equal(sealed_slots_revoke(slots, &keys, code.number), ERR_OK);
	assert_int_equal(
	    sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, bytes_of(label, sizeof(label)), &code),
	    ERR_LIMIT);
	/* All generations there may be: still one scalar multiplication, and one value. */
	while (keys.count < MEMBER_GENERATIONS_MAX) {
		assert_int_equal(sealed_slots_new_generation(slots, &keys), ERR_OK);
	}
	assert_int_equal(sealed_slots_new_generation(slots, &keys), ERR_LIMIT);
	assert_int_equal(keys.count, MEMBER_GENERATIONS_MAX);
	other = through_the_store(slots);
	assert_int_equal(sealed_slots_open_code(other, pepper, &last, &got, &number), ERR_OK);
	assert_same_keys(&keys, &got);
	member_keys_clear(&got);
	/* Over the wire to the session. */
	buf_clear(&value);
	assert_int_equal(member_keys_encode(&keys, &value), ERR_OK);
	assert_int_equal(member_keys_decode(buf_bytes(&value), &got), ERR_OK);
	assert_same_keys(&keys, &got);
	member_keys_clear(&got);
	value.ptr[40] ^= 1;
	assert_int_equal(member_keys_decode(buf_bytes(&value), &got), ERR_FORMAT);
	assert_int_equal(member_keys_decode(bytes_slice(buf_bytes(&value), 0, 200), &got), ERR_FORMAT);
	assert_int_equal(got.count, 0);
	buf_wipe(&value);
	member_keys_clear(&keys);
	sealed_slots_destroy(&slots);
	sealed_slots_destroy(&other);
}

static void
each_change_raises_the_revision_and_lists_without_one_stay_what_they_were(void **state)
{
	(void)state;
	struct member_keys keys;
	struct sealed_slots *slots = NULL;
	struct slot_code code;
	struct slot_code recovery;
	uint32_t number = 0;
	member_keys_init(&keys);
	assert_int_equal(sealed_slots_create(account, &slots, &keys), ERR_OK);
	assert_int_equal(sealed_slots_revision(slots), 0);
	assert_int_equal(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &code),
			 ERR_OK);
	assert_int_equal(sealed_slots_revision(slots), 1);
	assert_int_equal(
	    sealed_slots_add_code(slots, &keys, pepper, SLOT_RECOVERY, 1, BYTES_EMPTY, &recovery), ERR_OK);
	assert_int_equal(sealed_slots_revision(slots), 2);
	assert_int_equal(sealed_slots_change_main(slots, &keys, pepper, BYTES_LIT("a password"), 1, &number),
			 ERR_OK);
	assert_int_equal(sealed_slots_revision(slots), 3);
	assert_int_equal(sealed_slots_new_generation(slots, &keys), ERR_OK);
	assert_int_equal(sealed_slots_revision(slots), 4);
	assert_int_equal(sealed_slots_revoke(slots, &keys, code.number), ERR_OK);
	assert_int_equal(sealed_slots_revision(slots), 5);
	/* What changes nothing raises nothing. */
	assert_int_equal(sealed_slots_revoke(slots, &keys, 999), ERR_NOT_FOUND);
	assert_int_equal(sealed_slots_revision(slots), 5);
	struct sealed_slots *back = through_the_store(slots);
	assert_int_equal(sealed_slots_revision(back), 5);
	sealed_slots_destroy(&back);
	/* The same list as it was written before there were revisions. */
	struct buf value = BUF_INIT(1 << 17);
	struct buf plain = BUF_INIT(1 << 17);
	uint8_t key[32];
	uint8_t hash[32];
	uint8_t wanted[32];
	sealed_slots_key(hash_key, account, key);
	assert_int_equal(sealed_slots_seal(slots, seal_key, key, &value), ERR_OK);
	assert_int_equal(sealed_directory_get(seal_key, key, buf_bytes(&value), &plain), ERR_OK);
	assert_int_equal(plain.ptr[1], 2);
	plain.ptr[1] = 1;
	memmove(plain.ptr + 18, plain.ptr + 22, plain.len - 22);
	buf_truncate(&plain, plain.len - 4);
	assert_int_equal(sealed_slots_decode(buf_bytes(&plain), &back), ERR_OK);
	assert_int_equal(sealed_slots_revision(back), 0);
	buf_reset(&value);
	assert_int_equal(buf_append_str(&value, "cohue slot list 1"), ERR_OK);
	assert_int_equal(buf_append(&value, buf_bytes(&plain)), ERR_OK);
	crypto_digest(buf_bytes(&value), wanted);
	assert_int_equal(sealed_slots_hash(back, hash), ERR_OK);
	assert_memory_equal(hash, wanted, 32);
	assert_int_equal(sealed_slots_new_generation(back, &keys), ERR_OK);
	assert_int_equal(sealed_slots_revision(back), 1);
	buf_wipe(&value);
	buf_wipe(&plain);
	sealed_slots_destroy(&back);
	sealed_slots_destroy(&slots);
	member_keys_clear(&keys);
}

static const struct slot_scram scram = {.salt = "sixteen of salt", .count = 16};
static const char dialogue_head[] = "n=alice,r=a,r=ab,s=x,i=16,";
static const char dialogue_tail[] = "c=biws,r=ab";
static const struct scram_message dialogue = {
    .head = {.ptr = (const uint8_t *)dialogue_head, .len = sizeof(dialogue_head) - 1},
    .tail = {.ptr = (const uint8_t *)dialogue_tail, .len = sizeof(dialogue_tail) - 1}};

/* As her program would. */
static void
prove(const struct slot_code *code, const struct slot_scram *with, uint8_t proof[32], uint8_t signature[32])
{
	struct scram_keys k;
	char text[SLOT_CODE_TEXT_MAX];
	slot_code_print(code, text);
	scram_derive(bytes_str(text), with->salt, with->count, &k);
	scram_prove(&k, &dialogue, proof);
	scram_sign(k.server, &dialogue, signature);
}

static void
a_proof_opens_the_slot_whose_password_it_shows(void **state)
{
	(void)state;
	struct member_keys keys;
	struct member_keys got;
	struct sealed_slots *slots = NULL;
	struct slot_code app[3];
	struct slot_code recovery;
	uint8_t proof[32];
	uint8_t wanted[32];
	uint8_t signature[32];
	uint32_t number = 0;
	member_keys_init(&keys);
	member_keys_init(&got);
	assert_int_equal(sealed_slots_create(account, &slots, &keys), ERR_OK);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(
		    sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 20000, BYTES_EMPTY, &app[i]),
		    ERR_OK);
	}
	assert_int_equal(
	    sealed_slots_add_code(slots, &keys, pepper, SLOT_RECOVERY, 20000, BYTES_EMPTY, &recovery),
	    ERR_OK);
	uint32_t revision = sealed_slots_revision(slots);
	assert_int_equal(sealed_slots_add_scram(slots, pepper, &recovery, &scram), ERR_UNSUPPORTED);
	struct slot_code wrong = app[1];
	wrong.secret[0] ^= 1;
	assert_int_equal(sealed_slots_add_scram(slots, pepper, &wrong, &scram), ERR_AUTH);
	assert_int_equal(sealed_slots_revision(slots), revision);
	/* The third has none. */
	assert_int_equal(sealed_slots_add_scram(slots, pepper, &app[0], &scram), ERR_OK);
	assert_int_equal(sealed_slots_add_scram(slots, pepper, &app[1], &scram), ERR_OK);
	assert_int_equal(sealed_slots_revision(slots), revision + 2);
	assert_int_equal(sealed_slots_new_generation(slots, &keys), ERR_OK);
	struct sealed_slots *read = through_the_store(slots);
	for (size_t i = 0; i < 3; i++) {
		prove(&app[i], &scram, proof, wanted);
		assert_int_equal(sealed_slots_has_scram(read, app[i].number, &scram), i < 2);
		enum err e =
		    sealed_slots_open_scram(read, pepper, &scram, &dialogue, proof, &got, &number, signature);
		assert_int_equal(e, i < 2 ? ERR_OK : ERR_AUTH);
		if (i < 2) {
			assert_int_equal(number, app[i].number);
			assert_same_keys(&keys, &got);
			assert_memory_equal(signature, wanted, 32);
			member_keys_clear(&got);
		}
		/* The password itself still opens. */
		assert_int_equal(sealed_slots_open_code(read, pepper, &app[i], &got, &number), ERR_OK);
		member_keys_clear(&got);
	}
	/* Wrong in each way. */
	prove(&app[0], &scram, proof, wanted);
	const uint8_t other_pepper[32] = {9};
	struct scram_message other = dialogue;
	other.tail.len--;
	assert_int_equal(
	    sealed_slots_open_scram(read, other_pepper, &scram, &dialogue, proof, &got, &number, signature),
	    ERR_AUTH);
	assert_int_equal(
	    sealed_slots_open_scram(read, pepper, &scram, &other, proof, &got, &number, signature), ERR_AUTH);
	assert_int_equal(sealed_slots_fake_scram(pepper, &scram, &dialogue, proof), ERR_AUTH);
	memset(proof, 0, sizeof(proof));
	assert_int_equal(
	    sealed_slots_open_scram(read, pepper, &scram, &dialogue, proof, &got, &number, signature),
	    ERR_AUTH);
	/* Another salt is another password; the old verifiers go when the first new one comes. */
	struct slot_scram next = scram;
	next.salt[3] ^= 1;
	prove(&app[0], &next, proof, wanted);
	assert_int_equal(
	    sealed_slots_open_scram(read, pepper, &next, &dialogue, proof, &got, &number, signature),
	    ERR_AUTH);
	assert_int_equal(sealed_slots_add_scram(read, pepper, &app[2], &next), ERR_OK);
	assert_false(sealed_slots_has_scram(read, app[0].number, &scram));
	assert_false(sealed_slots_has_scram(read, app[0].number, &next));
	assert_true(sealed_slots_has_scram(read, app[2].number, &next));
	/* A dropped one opens nothing. */
	prove(&app[1], &scram, proof, wanted);
	assert_int_equal(sealed_slots_revoke(slots, &keys, app[1].number), ERR_OK);
	assert_int_equal(
	    sealed_slots_open_scram(slots, pepper, &scram, &dialogue, proof, &got, &number, signature),
	    ERR_AUTH);
	assert_int_equal(got.count, 0);
	sealed_slots_destroy(&read);
	sealed_slots_destroy(&slots);
	member_keys_clear(&keys);
}

static void
the_largest_list_with_verifiers_fits(void **state)
{
	(void)state;
	struct member_keys keys;
	struct sealed_slots *slots = NULL;
	struct slot_code app;
	struct slot_scram quick = {.count = 1};
	member_keys_init(&keys);
	assert_int_equal(sealed_slots_create(account, &slots, &keys), ERR_OK);
	for (size_t i = 0; i < SLOTS_MAX; i++) {
		assert_int_equal(
		    sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 20000, BYTES_EMPTY, &app), ERR_OK);
		assert_int_equal(sealed_slots_add_scram(slots, pepper, &app, &quick), ERR_OK);
	}
	while (keys.count < MEMBER_GENERATIONS_MAX) {
		assert_int_equal(sealed_slots_new_generation(slots, &keys), ERR_OK);
	}
	struct sealed_slots *back = through_the_store(slots);
	assert_int_equal(sealed_slots_count(back), SLOTS_MAX);
	sealed_slots_destroy(&back);
	sealed_slots_destroy(&slots);
	member_keys_clear(&keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(codes_survive_the_pen_and_typing_errors_do_not),
	    cmocka_unit_test(each_kind_of_slot_opens_all_generations),
	    cmocka_unit_test(a_revoked_slot_opens_nothing_that_comes_after),
	    cmocka_unit_test(a_new_main_password_keeps_the_keys),
	    cmocka_unit_test(each_change_raises_the_revision_and_lists_without_one_stay_what_they_were),
	    cmocka_unit_test(a_proof_opens_the_slot_whose_password_it_shows),
	    cmocka_unit_test(the_largest_list_with_verifiers_fits),
	    cmocka_unit_test(the_list_holds_up_to_its_limits_and_shows_every_change),
	};
	return cmocka_run_group_tests(tests, sealed_test_setup, NULL);
}
