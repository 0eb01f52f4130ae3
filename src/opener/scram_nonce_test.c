/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "opener/scram_nonce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "crypto/crypto.h"

#define ALICE BYTES_LIT("alice@example.org")
#define HERS BYTES_LIT("fyko+d2lbbFgONRv9qkxdawL")

enum { START = 1000 };

static void
a_nonce_is_for_one_name_one_dialogue_and_some_minutes(void **state)
{
	(void)state;
	struct scram_nonces *n = NULL;
	struct scram_nonces *successor = NULL;
	uint8_t nonce[SCRAM_NONCE_LEN];
	uint8_t other[SCRAM_NONCE_LEN];
	assert_int_equal(scram_nonces_create(START, &n), ERR_OK);
	assert_int_equal(scram_nonces_create(START, &successor), ERR_OK);
	for (msec at = START; at < START + 3 * SCRAM_NONCE_EPOCH_MS; at += SCRAM_NONCE_EPOCH_MS / 3) {
		scram_nonce_make(n, at, ALICE, HERS, nonce);
		scram_nonce_make(n, at, ALICE, HERS, other);
		assert_memory_not_equal(nonce, other, SCRAM_NONCE_LEN);
		for (size_t i = 0; i < SCRAM_NONCE_LEN; i++) {
			/* printable = %x21-2B / %x2D-7E (RFC 5802 section 7) */
			assert_true(nonce[i] > 0x20 && nonce[i] < 0x7f && nonce[i] != ',');
		}
		assert_true(scram_nonce_check(n, at, ALICE, HERS, nonce));
		assert_true(scram_nonce_check(n, at + SCRAM_NONCE_EPOCH_MS, ALICE, HERS, nonce));
		assert_false(scram_nonce_check(n, at + 2 * SCRAM_NONCE_EPOCH_MS, ALICE, HERS, nonce));
		assert_false(scram_nonce_check(n, at, BYTES_LIT("bob@example.org"), HERS, nonce));
		assert_false(scram_nonce_check(n, at, ALICE, BYTES_LIT("fyko"), nonce));
		assert_false(scram_nonce_check(successor, at, ALICE, HERS, nonce));
		/* Where name and nonce meet does not blur. */
		assert_false(scram_nonce_check(n, at, BYTES_LIT("alice@example.orgf"),
					       BYTES_LIT("yko+d2lbbFgONRv9qkxdawL"), nonce));
		for (size_t i = 0; i < SCRAM_NONCE_LEN; i++) {
			memcpy(other, nonce, sizeof(other));
			other[i] = other[i] == 'A' ? 'B' : 'A';
			assert_false(scram_nonce_check(n, at, ALICE, HERS, other));
		}
	}
	scram_nonces_destroy(&n);
	scram_nonces_destroy(&successor);
}

static void
it_lets_in_once(void **state)
{
	(void)state;
	struct scram_nonces *n = NULL;
	uint8_t nonce[SCRAM_NONCE_LEN];
	uint8_t other[SCRAM_NONCE_LEN];
	assert_int_equal(scram_nonces_create(START, &n), ERR_OK);
	scram_nonce_make(n, START, ALICE, HERS, nonce);
	assert_int_equal(scram_nonce_use(n, START, nonce), ERR_OK);
	for (msec at = START; scram_nonce_check(n, at, ALICE, HERS, nonce); at += 1000) {
		assert_int_equal(scram_nonce_use(n, at + 30 * 1000, nonce), ERR_AUTH);
	}
	scram_nonce_make(n, START, ALICE, HERS, other);
	assert_int_equal(scram_nonce_use(n, START, other), ERR_OK);
	/* Remembered are many; past that nobody is forgotten for a newcomer. */
	size_t taken = 0;
	for (size_t i = 0; i < SCRAM_NONCE_PLACES + 1000; i++) {
		scram_nonce_make(n, START, ALICE, HERS, other);
		enum err e = scram_nonce_use(n, START, other);
		assert_true(e == ERR_OK || e == ERR_AGAIN);
		taken += e == ERR_OK;
	}
	assert_in_range(taken, SCRAM_NONCE_PLACES * 3 / 4, SCRAM_NONCE_PLACES);
	assert_int_equal(scram_nonce_use(n, START, nonce), ERR_AUTH);
	assert_int_equal(scram_nonce_use(n, START + 4 * SCRAM_NONCE_EPOCH_MS, other), ERR_OK);
	scram_nonces_destroy(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_nonce_is_for_one_name_one_dialogue_and_some_minutes),
	    cmocka_unit_test(it_lets_in_once),
	};
	if (crypto_init() != ERR_OK || secret_pool_init(SECRET_POOL_BYTES) != ERR_OK) {
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
