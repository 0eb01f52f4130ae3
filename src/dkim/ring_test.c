/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a pair is good for, and when; the file. */
#include "base/openssl.h"
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "dkim/ring.h"

enum { DAY = 24 * 3600, FILE_BITS = 8 };
static const int64_t start = 1795132800; /* 2026-11-20 */
static const uint8_t wrap[CRYPTO_KEY_LEN] = {7};
static const uint8_t other_wrap[CRYPTO_KEY_LEN] = {8};

static int
set_up(void **state)
{
	(void)state;
	return crypto_init() == ERR_OK && secret_pool_init(64 * 1024) == ERR_OK ? 0 : -1;
}

static void
verify(const struct dkim_pair *p, enum dkim_algorithm algorithm)
{
	uint8_t digest[32];
	struct buf signature = BUF_INIT(512);
	memset(digest, 'd', sizeof(digest));
	assert_int_equal(dkim_pair_sign(p, algorithm, digest, &signature), ERR_OK);
	if (algorithm == DKIM_ED25519_SHA256) {
		assert_int_equal(signature.len, SIGN_LEN);
		assert_int_equal(sign_check(p->ed25519, bytes_of(digest, 32), signature.ptr), ERR_OK);
	} else {
		const unsigned char *at = p->spki;
		EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)p->spki_len);
		assert_non_null(key);
		assert_int_equal(EVP_PKEY_get_bits(key), 2048);
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
		assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
		assert_int_equal(EVP_PKEY_verify(ctx, signature.ptr, signature.len, digest, 32), 1);
		digest[0] ^= 1;
		assert_int_not_equal(EVP_PKEY_verify(ctx, signature.ptr, signature.len, digest, 32), 1);
		EVP_PKEY_CTX_free(ctx);
		EVP_PKEY_free(key);
	}
	buf_clear(&signature);
}

static void
both_keys_sign_and_survive_the_file(void **state)
{
	struct dkim_ring r;
	struct dkim_ring again;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	(void)state;
	dkim_ring_init(&r);
	assert_int_equal(dkim_ring_make(&r, start, start), ERR_OK);
	assert_string_equal(r.pairs[0].name, "c202611");
	assert_int_equal(dkim_ring_write(&r, wrap, &file), ERR_OK);
	assert_int_equal(dkim_ring_open(buf_bytes(&file), wrap, &again), ERR_OK);
	assert_int_equal(again.count, 1);
	assert_memory_equal(again.pairs[0].ed25519, r.pairs[0].ed25519, SIGN_PUBLIC_LEN);
	verify(&again.pairs[0], DKIM_RSA_SHA256);
	verify(&again.pairs[0], DKIM_ED25519_SHA256);
	assert_true(secret_contains(again.pairs[0].seed));
	dkim_ring_clear(&again);
	/* Who reads without the key learns no secret, and cannot sign nor write it anew. */
	assert_int_equal(dkim_ring_read(buf_bytes(&file), &again), ERR_OK);
	assert_null(again.pairs[0].seed);
	assert_int_equal(dkim_pair_sign(&again.pairs[0], DKIM_RSA_SHA256, wrap, &file), ERR_NOT_FOUND);
	struct buf unused = BUF_INIT(DKIM_RING_FILE_MAX);
	assert_int_equal(dkim_ring_write(&again, wrap, &unused), ERR_STATE);
	dkim_ring_clear(&again);
	dkim_ring_clear(&r);
	buf_clear(&file);
	buf_clear(&unused);
}

static void
a_changed_file_opens_nowhere(void **state)
{
	struct dkim_ring r;
	struct dkim_ring again;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	(void)state;
	dkim_ring_init(&r);
	dkim_ring_init(&again);
	assert_int_equal(dkim_ring_make(&r, start, start), ERR_OK);
	assert_int_equal(dkim_ring_write(&r, wrap, &file), ERR_OK);
	assert_int_equal(dkim_ring_open(buf_bytes(&file), other_wrap, &again), ERR_AUTH);
	for (size_t at = 0; at < file.len; at++) {
		file.ptr[at] ^= (uint8_t)(1U << (at % FILE_BITS));
		assert_int_not_equal(dkim_ring_open(buf_bytes(&file), wrap, &again), ERR_OK);
		/* In clear it may be read, or not: without harm. */
		if (dkim_ring_read(buf_bytes(&file), &again) == ERR_OK) {
			assert_true(again.count <= DKIM_RING_PAIRS);
			dkim_ring_clear(&again);
		}
		file.ptr[at] ^= (uint8_t)(1U << (at % FILE_BITS));
	}
	for (size_t n = 0; n < file.len; n++) {
		assert_int_not_equal(dkim_ring_open(bytes_of(file.ptr, n), wrap, &again), ERR_OK);
		assert_int_not_equal(dkim_ring_read(bytes_of(file.ptr, n), &again), ERR_OK);
	}
	assert_int_equal(dkim_ring_open(buf_bytes(&file), wrap, &again), ERR_OK);
	dkim_ring_clear(&again);
	dkim_ring_clear(&r);
	buf_clear(&file);
}

static void
assert_states(const struct dkim_ring *r, int64_t now, enum dkim_state first, enum dkim_state second)
{
	assert_int_equal(dkim_ring_state(r, 0, now), first);
	assert_int_equal(dkim_ring_state(r, 1, now), second);
}

static void
a_pair_waits_signs_is_kept_is_revoked_and_goes(void **state)
{
	struct dkim_ring r;
	struct buf record = BUF_INIT(2048);
	char selector[DKIM_NAME_MAX + 1];
	(void)state;
	dkim_ring_init(&r);
	assert_null(dkim_ring_signer(&r, start));
	assert_int_equal(dkim_ring_make(&r, start, start), ERR_OK);
	assert_int_equal(dkim_ring_until(&r, 0, start), INT64_MAX);
	assert_int_equal(dkim_ring_activate(&r, start), ERR_NOT_FOUND);
	assert_int_equal(dkim_ring_make(&r, start + DAY, start + 8 * DAY), ERR_OK);
	assert_string_equal(r.pairs[1].name, "c202611b");
	assert_int_equal(dkim_ring_make(&r, start + 2 * DAY, start + 9 * DAY), ERR_EXISTS);
	dkim_selector(&r.pairs[1], DKIM_ED25519_SHA256, selector);
	assert_string_equal(selector, "c202611be");

	const int64_t then = start + 8 * DAY;
	assert_states(&r, then - 1, DKIM_SIGNING, DKIM_WAITING);
	assert_int_equal(dkim_ring_until(&r, 1, then - 1), then);
	assert_states(&r, then, DKIM_KEPT, DKIM_SIGNING);
	assert_ptr_equal(dkim_ring_signer(&r, then), &r.pairs[1]);
	assert_states(&r, then + 7 * DAY - 1, DKIM_KEPT, DKIM_SIGNING);
	assert_states(&r, then + 7 * DAY, DKIM_REVOKED, DKIM_SIGNING);
	assert_states(&r, then + 37 * DAY - 1, DKIM_REVOKED, DKIM_SIGNING);
	assert_states(&r, then + 37 * DAY, DKIM_GONE, DKIM_SIGNING);

	assert_int_equal(dkim_pair_record(&r.pairs[0], DKIM_RSA_SHA256, DKIM_REVOKED, &record), ERR_OK);
	assert_true(bytes_is(buf_bytes(&record), "v=DKIM1; k=rsa; p="));
	buf_reset(&record);
	assert_int_equal(dkim_pair_record(&r.pairs[0], DKIM_RSA_SHA256, DKIM_KEPT, &record), ERR_OK);
	assert_true(record.len > 400 && record.len < 450);

	/* The secret goes with the first change after it signed last, and the pair itself when it is gone. */
	assert_false(dkim_ring_tidy(&r, then - 1));
	assert_true(dkim_ring_tidy(&r, then));
	assert_false(dkim_ring_tidy(&r, then));
	assert_null(r.pairs[0].seed);
	assert_null(r.pairs[0].rsa);
	/* A clock that was set back does not make it sign. */
	assert_ptr_equal(dkim_ring_signer(&r, start), &r.pairs[1]);
	assert_true(dkim_ring_tidy(&r, then + 37 * DAY));
	assert_int_equal(r.count, 1);
	assert_string_equal(r.pairs[0].name, "c202611b");
	verify(&r.pairs[0], DKIM_RSA_SHA256);
	dkim_ring_clear(&r);
	buf_clear(&record);
}

static void
at_once_means_at_once_and_names_never_come_twice(void **state)
{
	struct dkim_ring r;
	(void)state;
	dkim_ring_init(&r);
	assert_int_equal(dkim_ring_make(&r, start, start), ERR_OK);
	for (int i = 1; i < DKIM_RING_PAIRS; i++) {
		if (i == 1) {
			assert_int_equal(dkim_ring_make(&r, start + i, start + DAY), ERR_OK);
			assert_int_equal(dkim_ring_activate(&r, start + i), ERR_OK);
		} else {
			/* As if made: what is told apart is the name. */
			r.pairs[i] = (struct dkim_pair){.made = start, .active = start + i, .secret = true};
			memcpy(r.pairs[i].name, "cx", 3);
			r.pairs[i].name[1] = (char)('a' + i);
			r.count++;
		}
		assert_int_equal(dkim_ring_state(&r, (size_t)i, start + i), DKIM_SIGNING);
		assert_int_equal(dkim_ring_state(&r, (size_t)i - 1, start + i), DKIM_KEPT);
	}
	assert_string_equal(r.pairs[1].name, "c202611b");
	assert_int_equal(dkim_ring_make(&r, start + DAY, start + DAY), ERR_LIMIT);
	/* Room comes with time alone. */
	assert_true(dkim_ring_tidy(&r, start + 40 * DAY));
	assert_int_equal(r.count, 1);
	dkim_ring_clear(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_keys_sign_and_survive_the_file),
	    cmocka_unit_test(a_changed_file_opens_nowhere),
	    cmocka_unit_test(a_pair_waits_signs_is_kept_is_revoked_and_goes),
	    cmocka_unit_test(at_once_means_at_once_and_names_never_come_twice),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
