/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "crypto/box.h"
#include "crypto/password.h"
#include "crypto/random.h"
#include "crypto/scram.h"
#include "crypto/sign.h"

static struct bytes
unhex(struct buf *b, const char *text)
{
	buf_reset(b);
	assert_int_equal(buf_append_unhex(b, bytes_str(text)), ERR_OK);
	return buf_bytes(b);
}

static void
the_hash_is_blake2b_256(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1024);
	uint8_t got[CRYPTO_HASH_LEN];
	uint8_t again[CRYPTO_HASH_LEN];
	crypto_digest(BYTES_LIT("abc"), got);
	struct bytes want = unhex(&b, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	assert_memory_equal(got, want.ptr, 32);
	/* hashlib.blake2b(b'abc', digest_size=32, key=bytes(range(32))) */
	uint8_t key[32];
	for (size_t i = 0; i < 32; i++) {
		key[i] = (uint8_t)i;
	}
	crypto_mac(key, BYTES_LIT("abc"), got);
	want = unhex(&b, "d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f");
	assert_memory_equal(got, want.ptr, 32);
	/* In pieces, anywhere in memory. */
	uint8_t *raw = malloc(sizeof(struct crypto_hasher) + 64);
	assert_non_null(raw);
	for (size_t shift = 0; shift < 64; shift += 8) {
		struct crypto_hasher *h = (void *)(raw + shift);
		crypto_hasher_init(h, key);
		crypto_hasher_update(h, BYTES_LIT("a"));
		crypto_hasher_update(h, BYTES_EMPTY);
		crypto_hasher_update(h, BYTES_LIT("bc"));
		crypto_hasher_final(h, again);
		assert_memory_equal(got, again, 32);
	}
	free(raw);
	crypto_derive(key, "abc", again);
	assert_memory_equal(got, again, 32);
	buf_clear(&b);
}

static void
sealing_is_xchacha20_poly1305(void **state)
{
	(void)state;
	/* draft-irtf-cfrg-xchacha-03, A.3.1 */
	struct buf k = BUF_INIT(1024);
	struct buf n = BUF_INIT(1024);
	struct buf a = BUF_INIT(1024);
	struct buf t = BUF_INIT(1024);
	struct bytes plain =
	    BYTES_LIT("Ladies and Gentlemen of the class of '99: If I could offer you only one tip "
		      "for the future, sunscreen would be it.");
	struct bytes key = unhex(&k, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
	struct bytes nonce = unhex(&n, "404142434445464748494a4b4c4d4e4f5051525354555657");
	struct bytes ad = unhex(&a, "50515253c0c1c2c3c4c5c6c7");
	uint8_t out[256];
	crypto_seal(key.ptr, nonce.ptr, ad, plain, out);
	struct bytes tag = unhex(&t, "c0875924c1c7987947deafd8780acf49");
	assert_memory_equal(out + plain.len, tag.ptr, 16);
	struct bytes sealed = bytes_of(out, plain.len + CRYPTO_TAG_LEN);
	uint8_t back[256];
	assert_int_equal(crypto_open(key.ptr, nonce.ptr, ad, sealed, back), ERR_OK);
	assert_memory_equal(back, plain.ptr, plain.len);
	assert_int_equal(crypto_open(key.ptr, nonce.ptr, BYTES_EMPTY, sealed, back), ERR_AUTH);
	assert_int_equal(crypto_open(key.ptr, nonce.ptr, ad, bytes_slice(sealed, 0, 15), back), ERR_FORMAT);
	for (size_t bit = 0; bit < sealed.len * 8; bit++) {
		out[bit / 8] ^= (uint8_t)(1 << (bit % 8));
		assert_int_equal(crypto_open(key.ptr, nonce.ptr, ad, sealed, back), ERR_AUTH);
		out[bit / 8] ^= (uint8_t)(1 << (bit % 8));
	}
	buf_clear(&k);
	buf_clear(&n);
	buf_clear(&a);
	buf_clear(&t);
}

static void
a_box_opens_only_with_its_secret_label_and_data(void **state)
{
	(void)state;
	uint8_t pub[32];
	uint8_t sec[32];
	uint8_t pub2[32];
	uint8_t sec2[32];
	box_pair(pub, sec);
	box_pair(pub2, sec2);
	struct buf box = BUF_INIT(4096);
	struct buf out = BUF_INIT(4096);
	struct bytes ad = BYTES_LIT("where");
	assert_int_equal(box_seal(pub, "test", ad, BYTES_LIT("hello"), &box), ERR_OK);
	assert_int_equal(box.len, 5 + BOX_OVERHEAD);
	assert_int_equal(box_open(sec, pub, "test", ad, buf_bytes(&box), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "hello"));
	buf_reset(&out);
	assert_int_equal(box_open(sec2, pub2, "test", ad, buf_bytes(&box), &out), ERR_AUTH);
	assert_int_equal(box_open(sec, pub2, "test", ad, buf_bytes(&box), &out), ERR_AUTH);
	assert_int_equal(box_open(sec, pub, "tesu", ad, buf_bytes(&box), &out), ERR_AUTH);
	assert_int_equal(box_open(sec, pub, "test", BYTES_LIT("there"), buf_bytes(&box), &out), ERR_AUTH);
	for (size_t i = 0; i < box.len * 8; i++) {
		box.ptr[i / 8] ^= (uint8_t)(1 << (i % 8));
		/* X25519 ignores the top bit of a point, but the key is bound to all of its octets. */
		assert_int_equal(box_open(sec, pub, "test", ad, buf_bytes(&box), &out), ERR_AUTH);
		box.ptr[i / 8] ^= (uint8_t)(1 << (i % 8));
	}
	for (size_t n = 0; n < box.len; n++) {
		assert_int_not_equal(box_open(sec, pub, "test", ad, bytes_slice(buf_bytes(&box), 0, n), &out),
				     ERR_OK);
	}
	assert_int_equal(out.len, 0);
	/* A point of small order is no public key. */
	uint8_t zero[32] = {0};
	assert_int_equal(box_seal(zero, "test", ad, BYTES_EMPTY, &out), ERR_FORMAT);
	assert_int_equal(out.len, 0);
	/* Nothing inside is a box, too. */
	buf_reset(&box);
	assert_int_equal(box_seal(pub, "test", ad, BYTES_EMPTY, &box), ERR_OK);
	assert_int_equal(box_open(sec, pub, "test", ad, buf_bytes(&box), &out), ERR_OK);
	assert_int_equal(out.len, 0);
	buf_clear(&box);
	buf_clear(&out);
}

static void
a_password_key_depends_on_pepper_password_and_salt(void **state)
{
	(void)state;
	uint8_t pepper[32] = {1};
	uint8_t salt[16] = {2};
	uint8_t a[32];
	uint8_t b[32];
	assert_int_equal(password_key(pepper, BYTES_LIT("horse"), salt, a), ERR_OK);
	assert_int_equal(password_key(pepper, BYTES_LIT("horse"), salt, b), ERR_OK);
	assert_memory_equal(a, b, 32);
	assert_int_equal(password_key(pepper, BYTES_LIT("horsf"), salt, b), ERR_OK);
	assert_memory_not_equal(a, b, 32);
	pepper[31] = 1;
	assert_int_equal(password_key(pepper, BYTES_LIT("horse"), salt, b), ERR_OK);
	assert_memory_not_equal(a, b, 32);
	pepper[31] = 0;
	salt[15] = 1;
	assert_int_equal(password_key(pepper, BYTES_LIT("horse"), salt, b), ERR_OK);
	assert_memory_not_equal(a, b, 32);
	uint8_t *longest = calloc(PASSWORD_MAX + 1, 1);
	assert_non_null(longest);
	assert_int_equal(password_key(pepper, bytes_of(longest, PASSWORD_MAX + 1), salt, b), ERR_LIMIT);
	free(longest);
}

static void
without_memory_a_password_is_not_called_wrong(void **state)
{
	(void)state;
#ifdef COHUE_SANITIZED
	skip(); /* the sanitizer's own maps pass any limit */
#else
	uint8_t pepper[32] = {1};
	uint8_t salt[16] = {2};
	uint8_t a[32] = {0};
	struct rlimit old;
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	struct rlimit small = {.rlim_cur = 48 << 20, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
	enum err e = password_key(pepper, BYTES_LIT("horse"), salt, a);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_int_equal(e, ERR_MEMORY);
	uint8_t zero[32] = {0};
	assert_memory_equal(a, zero, 32);
#endif
}

static void
the_generator_repeats_only_its_seed(void **state)
{
	(void)state;
	struct crypto_random a;
	struct crypto_random b;
	uint8_t seed[32] = {7};
	crypto_random_init_seed(&a, seed);
	crypto_random_init_seed(&b, seed);
	for (int i = 0; i < 1000; i++) {
		assert_true(crypto_random_u64(&a) == crypto_random_u64(&b));
	}
	crypto_random_init(&a);
	crypto_random_init(&b);
	uint64_t same = 0;
	for (int i = 0; i < 1000; i++) {
		same += crypto_random_u64(&a) == crypto_random_u64(&b);
	}
	assert_int_equal(same, 0);
	/* Below a bound: each value comes, about equally often. */
	unsigned counts[7] = {0};
	for (int i = 0; i < 70000; i++) {
		uint64_t v = crypto_random_below(&a, 7);
		assert_true(v < 7);
		counts[v]++;
	}
	for (size_t i = 0; i < 7; i++) {
		assert_in_range(counts[i], 9300, 10700);
	}
	assert_int_equal(crypto_random_below(&a, 1), 0);
	crypto_random_clear(&a);
	crypto_random_clear(&b);
}

static void
signing_is_ed25519(void **state)
{
	(void)state;
	/* RFC 8032 section 7.1, test 2. */
	struct buf b = BUF_INIT(1024);
	uint8_t seed[SIGN_SEED_LEN];
	uint8_t key[SIGN_PUBLIC_LEN];
	uint8_t got[SIGN_LEN];
	memcpy(seed, unhex(&b, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").ptr, 32);
	sign_public(seed, key);
	assert_memory_equal(
	    key, unhex(&b, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c").ptr, 32);
	sign_make(seed, BYTES_LIT("r"), got);
	assert_memory_equal(got,
			    unhex(&b, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
				      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
				.ptr,
			    64);
	assert_int_equal(sign_check(key, BYTES_LIT("r"), got), ERR_OK);
	assert_int_equal(sign_check(key, BYTES_LIT("s"), got), ERR_AUTH);
	got[40] ^= 1;
	assert_int_equal(sign_check(key, BYTES_LIT("r"), got), ERR_AUTH);
	buf_clear(&b);
}

/* RFC 7677 section 3: user "user", password "pencil". */
static void
scram_is_that_of_the_rfc(void **state)
{
	(void)state;
	struct scram_keys keys;
	struct buf b = BUF_INIT(1024);
	uint8_t salt[SCRAM_SALT_LEN];
	uint8_t proof[SCRAM_KEY_LEN];
	uint8_t got[SCRAM_KEY_LEN];
	const struct scram_message m = {
	    .head = BYTES_LIT(
		"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"),
	    .tail = BYTES_LIT("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")};
	assert_int_equal(buf_append_unbase64(&b, BYTES_LIT("W22ZaJ0SNY7soEsUEjb6gQ==")), ERR_OK);
	memcpy(salt, b.ptr, sizeof(salt));
	scram_derive(BYTES_LIT("pencil"), salt, 4096, &keys);
	scram_prove(&keys, &m, proof);
	buf_reset(&b);
	assert_int_equal(buf_append_base64(&b, bytes_of(proof, sizeof(proof))), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
	scram_sign(keys.server, &m, got);
	buf_reset(&b);
	assert_int_equal(buf_append_base64(&b, bytes_of(got, sizeof(got))), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
	assert_true(scram_check(keys.stored, &m, proof, got));
	assert_memory_equal(got, keys.client, sizeof(got));
	for (size_t i = 0; i < sizeof(proof); i++) {
		proof[i] ^= 0x10;
		assert_false(scram_check(keys.stored, &m, proof, got));
		proof[i] ^= 0x10;
	}
	struct scram_message other = m;
	other.tail.len--;
	assert_false(scram_check(keys.stored, &other, proof, got));
	buf_clear(&b);
}

static int
with_crypto(void **state)
{
	(void)state;
	return crypto_init() == ERR_OK ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_hash_is_blake2b_256),
	    cmocka_unit_test(sealing_is_xchacha20_poly1305),
	    cmocka_unit_test(a_box_opens_only_with_its_secret_label_and_data),
	    cmocka_unit_test(a_password_key_depends_on_pepper_password_and_salt),
	    cmocka_unit_test(without_memory_a_password_is_not_called_wrong),
	    cmocka_unit_test(signing_is_ed25519),
	    cmocka_unit_test(scram_is_that_of_the_rfc),
	    cmocka_unit_test(the_generator_repeats_only_its_seed),
	};
	return cmocka_run_group_tests(tests, with_crypto, NULL);
}
