/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[CRYPTO_KEY_LEN] = {1, 2, 3};
static const struct bytes a = {(const uint8_t *)"a", 1};
static const struct bytes b = {(const uint8_t *)"b", 1};

static int
make(void **state)
{
	struct rate_table *t = NULL;
	assert_int_equal(rate_create(key, &t), ERR_OK);
	*state = t;
	return 0;
}

static int
unmake(void **state)
{
	struct rate_table *t = *state;
	rate_destroy(&t);
	return t == NULL ? 0 : 1;
}

static unsigned
taken(struct rate_table *t, struct bytes who, unsigned tries, msec now)
{
	unsigned n = 0;
	for (unsigned i = 0; i < tries; i++) {
		n += rate_take(t, RATE_MESSAGES, who, 10, MSEC_MINUTE, 1, now) ? 1 : 0;
	}
	return n;
}

static void
so_many_pass_and_then_as_many_as_time_allows(void **state)
{
	msec now = 1000000;
	assert_int_equal(taken(*state, a, 30, now), 10);
	assert_int_equal(taken(*state, b, 30, now), 10); /* each for itself */
	assert_int_equal(taken(*state, a, 30, now + 5 * MSEC_SECOND), 0);
	assert_int_equal(taken(*state, a, 30, now + 13 * MSEC_SECOND), 2);
	assert_int_equal(taken(*state, a, 30, now + 10 * MSEC_MINUTE), 10);
}

static void
steps_of_a_millisecond_are_not_lost(void **state)
{
	unsigned n = 0;
	for (msec now = 0; now <= 2 * MSEC_MINUTE; now++) {
		n += taken(*state, a, 1, now);
	}
	assert_in_range(n, 29, 31); /* ten at first, then ten a minute */
}

static void
asking_takes_nothing(void **state)
{
	for (unsigned i = 0; i < 50; i++) {
		assert_true(rate_take(*state, RATE_UNKNOWN, a, 2, MSEC_HOUR, 0, 1000));
	}
	assert_true(rate_take(*state, RATE_UNKNOWN, a, 2, MSEC_HOUR, 1, 1000));
	assert_true(rate_take(*state, RATE_UNKNOWN, a, 2, MSEC_HOUR, 1, 1000));
	assert_false(rate_take(*state, RATE_UNKNOWN, a, 2, MSEC_HOUR, 0, 1000));
	assert_true(rate_take(*state, RATE_CONNECTIONS, a, 2, MSEC_HOUR, 0, 1000)); /* kinds are apart */
	assert_true(rate_take(*state, RATE_UNKNOWN, a, 0, MSEC_HOUR, 1, 1000));     /* 0: no limit */
}

static void
who_floods_is_remembered_however_many_others_come(void **state)
{
	msec now = 1000;
	unsigned passed = 0;
	assert_int_equal(taken(*state, a, 11, now), 10);
	for (uint32_t i = 0; i < 200000; i++) {
		(void)rate_take(*state, RATE_MESSAGES, bytes_of(&i, sizeof(i)), 10, MSEC_MINUTE, 1,
				now + i / 100);
		if (i % 1000 == 0) {
			passed += taken(*state, a, 1, now + i / 100);
		}
	}
	assert_true(passed <= 1);
}

static void
who_comes_again_is_known(void **state)
{
	msec first = 1000;
	msec delay = 5 * MSEC_MINUTE;
	assert_false(rate_has_come_again(*state, a, a, a, delay, first));
	assert_false(rate_has_come_again(*state, a, a, a, delay, first + delay - 1));
	assert_false(rate_has_come_again(*state, a, a, b, delay, first + delay - 1));
	assert_false(rate_has_come_again(*state, b, a, a, delay, first + delay));
	assert_true(rate_has_come_again(*state, a, a, a, delay, first + delay));
	/* Then its network is, for whatever it sends. */
	assert_true(rate_has_come_again(*state, a, b, b, delay, first + delay));
	assert_true(rate_has_come_again(*state, a, b, b, delay, first + 30 * MSEC_DAY));
	assert_false(rate_has_come_again(*state, a, b, b, delay, first + 70 * MSEC_DAY));
	/* A day later the first time does not count any more. */
	assert_false(rate_has_come_again(*state, b, a, a, delay, first + 2 * MSEC_DAY));
}

static void
known_networks_outlive_the_process_and_reach_other_gates(void **state)
{
	static const uint8_t first_key[CRYPTO_KEY_LEN] = {1};
	static const uint8_t second_key[CRYPTO_KEY_LEN] = {2};
	static const uint8_t house[CRYPTO_KEY_LEN] = {3};
	const msec delay = 300 * MSEC_SECOND;
	const msec wall = 20000 * MSEC_DAY;
	const msec then = 100 * MSEC_DAY;
	const msec now = MSEC_MINUTE; /* of a machine that came up anew */
	struct rate_table *one = NULL;
	struct rate_table *two = NULL;
	struct buf out = BUF_INIT(4096);
	(void)state;
	assert_int_equal(rate_create(first_key, &one), ERR_OK);
	assert_int_equal(rate_create(second_key, &two), ERR_OK);
	rate_known_under(one, house);
	rate_known_under(two, house);
	assert_false(rate_has_come_again(one, a, a, a, delay, then));
	assert_true(rate_has_come_again(one, a, a, a, delay, then + delay));
	/* Came once. */
	assert_false(rate_has_come_again(one, b, b, b, delay, then + delay));
	assert_int_equal(rate_known_write(one, then + delay, wall, out.max, &out), ERR_OK);
	assert_int_equal(out.len, 4 + 10);
	assert_false(rate_has_come_again(two, a, b, b, delay, now));
	assert_int_equal(rate_known_read(two, buf_bytes(&out), now, wall + MSEC_DAY), ERR_OK);
	assert_true(rate_has_come_again(two, a, b, b, delay, now));
	assert_false(rate_has_come_again(two, b, b, b, delay, now));
	/* Twice is once; half an entry is none; and five weeks are over for it, too. */
	assert_int_equal(rate_known_read(two, buf_bytes(&out), now, wall + MSEC_DAY), ERR_OK);
	for (size_t n = 0; n < out.len; n++) {
		if (n != 4) {
			assert_int_equal(rate_known_read(two, bytes_slice(buf_bytes(&out), 0, n), now, wall),
					 ERR_FORMAT);
		}
	}
	buf_reset(&out);
	assert_int_equal(rate_known_write(two, now, wall, 4 + 9, &out), ERR_OK);
	assert_int_equal(out.len, 4);
	buf_reset(&out);
	assert_int_equal(rate_known_write(one, then + delay, wall, out.max, &out), ERR_OK);
	rate_destroy(&two);
	assert_int_equal(rate_create(second_key, &two), ERR_OK);
	rate_known_under(two, house);
	assert_int_equal(rate_known_read(two, buf_bytes(&out), now, wall + 36 * MSEC_DAY), ERR_OK);
	assert_false(rate_has_come_again(two, a, b, b, delay, now));
	rate_destroy(&one);
	rate_destroy(&two);
	buf_clear(&out);
}

static void
networks_are_told_apart_as_they_are_given_out(void **state)
{
	static const uint8_t addresses[][16] = {
	    {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1},
	    {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 200},
	    {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 3, 1},
	    {0x20, 1, 0xd, 0xb8, 0, 0, 1, 1, 5},
	    {0x20, 1, 0xd, 0xb8, 0, 0, 1, 2, 6},
	    {0x20, 1, 0xd, 0xb8, 0, 0, 2, 1, 5},
	};
	uint8_t n[6][RATE_NETWORK_MAX];
	size_t len[6];
	(void)state;
	for (size_t i = 0; i < 6; i++) {
		len[i] = rate_network(addresses[i], n[i]);
	}
	assert_true(bytes_equal(bytes_of(n[0], len[0]), bytes_of(n[1], len[1])));
	assert_false(bytes_equal(bytes_of(n[0], len[0]), bytes_of(n[2], len[2])));
	assert_true(bytes_equal(bytes_of(n[3], len[3]), bytes_of(n[4], len[4])));
	assert_false(bytes_equal(bytes_of(n[3], len[3]), bytes_of(n[5], len[5])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(so_many_pass_and_then_as_many_as_time_allows, make, unmake),
	    cmocka_unit_test_setup_teardown(steps_of_a_millisecond_are_not_lost, make, unmake),
	    cmocka_unit_test_setup_teardown(asking_takes_nothing, make, unmake),
	    cmocka_unit_test_setup_teardown(who_floods_is_remembered_however_many_others_come, make, unmake),
	    cmocka_unit_test_setup_teardown(who_comes_again_is_known, make, unmake),
	    cmocka_unit_test(known_networks_outlive_the_process_and_reach_other_gates),
	    cmocka_unit_test(networks_are_told_apart_as_they_are_given_out),
	};
	return cmocka_run_group_tests_name("rates", tests, NULL, NULL);
}
