/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "opener/throttle.h"

enum { START = 1000000 };

static struct throttle_attempt
from(unsigned host, const char *name, bool guessable)
{
	/* 192.0.2.x, mapped. */
	struct throttle_attempt a = {.name = bytes_str(name), .guessable = guessable};
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	memcpy(a.address, mapped, sizeof(mapped));
	a.address[12] = 192;
	a.address[14] = (uint8_t)(host >> 8);
	a.address[15] = (uint8_t)host;
	return a;
}

static struct throttle *
create(void)
{
	struct throttle *t = NULL;
	assert_int_equal(throttle_create(START, &t), ERR_OK);
	return t;
}

static void
test_a_few_failures_are_free_then_each_waits_longer(void **state)
{
	(void)state;
	struct throttle *t = create();
	struct throttle_attempt a = from(1, "alice@example.org", true);
	msec now = START;
	for (unsigned i = 0; i < THROTTLE_FREE_NAME + 1; i++) {
		assert_int_equal(throttle_enter(t, now, &a), 0);
	}
	msec last = 0;
	for (unsigned i = 0; i < 6; i++) {
		msec wait = throttle_enter(t, now, &a);
		assert_true(wait > last);
		assert_true(wait <= THROTTLE_MOST_MS);
		now += wait;
		last = wait;
	}
	throttle_destroy(&t);
}

static void
test_many_at_once_gain_nothing(void **state)
{
	(void)state;
	struct throttle *t = create();
	unsigned at_once = 0;
	unsigned within = 0;
	/* A thousand guesses in the same instant, each from another address. */
	for (unsigned i = 0; i < 1000; i++) {
		struct throttle_attempt a = from(i, "alice@example.org", true);
		msec wait = throttle_enter(t, START, &a);
		at_once += wait == 0;
		within += wait != THROTTLE_REFUSED;
		assert_true(wait == THROTTLE_REFUSED || (wait >= 0 && wait <= THROTTLE_MOST_MS));
	}
	assert_int_equal(at_once, THROTTLE_FREE_NAME + 1);
	assert_true(within < 20);
	throttle_destroy(&t);
}

static void
test_one_address_is_slowed_over_all_names(void **state)
{
	(void)state;
	struct throttle *t = create();
	unsigned at_once = 0;
	for (unsigned i = 0; i < 200; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "member%u@example.org", i);
		struct throttle_attempt a = from(1, name, i % 2 == 0);
		at_once += throttle_enter(t, START, &a) == 0;
	}
	assert_int_equal(at_once, THROTTLE_FREE_ADDRESS + 1);
	struct throttle_attempt other = from(2, "member1@example.org", true);
	assert_int_equal(throttle_enter(t, START, &other), 0);
	throttle_destroy(&t);
}

static void
test_ipv6_counts_by_its_network(void **state)
{
	(void)state;
	struct throttle *t = create();
	struct throttle_attempt a = {.name = BYTES_LIT("x"), .guessable = false};
	unsigned at_once = 0;
	a.address[0] = 0x20;
	a.address[1] = 0x01;
	for (unsigned i = 0; i < 200; i++) {
		a.address[15] = (uint8_t)i;
		a.address[8] = (uint8_t)(i * 7);
		at_once += throttle_enter(t, START, &a) == 0;
	}
	assert_int_equal(at_once, THROTTLE_FREE_ADDRESS + 1);
	a.address[7] = 1;
	assert_int_equal(throttle_enter(t, START, &a), 0);
	throttle_destroy(&t);
}

static void
test_time_forgives(void **state)
{
	(void)state;
	struct throttle *t = create();
	struct throttle_attempt a = from(1, "alice@example.org", true);
	msec now = START;
	for (unsigned i = 0; i < 300; i++) {
		msec wait = throttle_enter(t, now, &a);
		now += wait > 0 ? wait : 1;
	}
	assert_true(throttle_enter(t, now, &a) != 0);
	/* Nobody is locked out for good. */
	now += (msec)50 * THROTTLE_FORGIVE_MS;
	for (unsigned i = 0; i < THROTTLE_FREE_NAME + 1; i++) {
		assert_int_equal(throttle_enter(t, now, &a), 0);
	}
	throttle_destroy(&t);
}

static void
test_success_frees_her_there_and_not_the_guesser_elsewhere(void **state)
{
	(void)state;
	struct throttle *t = create();
	struct throttle_attempt hers = from(1, "alice@example.org", true);
	assert_int_equal(throttle_enter(t, START, &hers), 0);
	throttle_succeeded(t, START, &hers);
	msec most = 0;
	for (unsigned i = 0; i < 500; i++) {
		struct throttle_attempt a = from(100 + i, "alice@example.org", true);
		msec wait = throttle_enter(t, START, &a);
		most = wait > most ? wait : most;
		/* She logs in again and again meanwhile, without any wait. */
		assert_int_equal(throttle_enter(t, START, &hers), 0);
		throttle_succeeded(t, START, &hers);
	}
	assert_true(most > 10 * 1000);
	/* Somebody else at her address is no member: he is slowed, and ends the trust. */
	unsigned free_tries = 0;
	while (throttle_enter(t, START, &hers) == 0 && free_tries < 1000) {
		free_tries++;
	}
	assert_true(free_tries < 10);
	throttle_destroy(&t);
}

static void
test_codes_that_cannot_be_guessed_do_not_meet_the_name_s_wait(void **state)
{
	(void)state;
	struct throttle *t = create();
	for (unsigned i = 0; i < 500; i++) {
		struct throttle_attempt a = from(100 + i, "alice@example.org", true);
		(void)throttle_enter(t, START, &a);
	}
	struct throttle_attempt phone = from(1, "alice@example.org", false);
	assert_int_equal(throttle_enter(t, START, &phone), 0);
	throttle_destroy(&t);
}

static void
test_a_temporary_failure_is_taken_back(void **state)
{
	(void)state;
	struct throttle *t = create();
	struct throttle_attempt a = from(1, "alice@example.org", true);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(throttle_enter(t, START, &a), 0);
		throttle_undo(t, START, &a);
	}
	throttle_destroy(&t);
}

static void
test_whether_a_name_exists_makes_no_difference(void **state)
{
	(void)state;
	/* The throttle never hears of it: two names get the same waits for the same attempts. */
	struct throttle *t = create();
	for (unsigned i = 0; i < 60; i++) {
		struct throttle_attempt a = from(2 * i, "alice@example.org", true);
		struct throttle_attempt b = from(2 * i + 1, "nobody@example.org", true);
		assert_int_equal(throttle_enter(t, START, &a), throttle_enter(t, START, &b));
	}
	throttle_destroy(&t);
}

static void
test_the_key_changes_every_day_and_a_flood_does_not_wash_out_the_worst(void **state)
{
	(void)state;
	struct throttle *t = create();
	struct throttle_attempt a = from(1, "alice@example.org", true);
	msec now = START;
	while (throttle_enter(t, now, &a) != THROTTLE_REFUSED) {
	}
	for (unsigned i = 0; i < 60000; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "n%u", i);
		struct throttle_attempt b = from(2 + i, name, true);
		(void)throttle_enter(t, now, &b);
	}
	assert_int_equal(throttle_enter(t, now, &a), THROTTLE_REFUSED);
	assert_int_equal(throttle_enter(t, now + THROTTLE_KEY_MS, &a), 0);
	throttle_destroy(&t);
}

/* A program that opens six connections at once, at many members of one house with one address. */
static void
test_many_at_once_that_succeed_leave_nothing_behind(void **state)
{
	struct throttle *t = NULL;
	char name[32];
	(void)state;
	assert_int_equal(throttle_create(START, &t), ERR_OK);
	for (unsigned m = 0; m < 20; m++) {
		struct throttle_attempt a[6];
		(void)snprintf(name, sizeof(name), "member%u@example.org", m);
		for (size_t i = 0; i < 6; i++) {
			a[i] = from(1, name, false);
			assert_int_equal(throttle_enter(t, START, &a[i]), 0);
		}
		for (size_t i = 0; i < 6; i++) {
			throttle_succeeded(t, START, &a[i]);
		}
		/* And again, trusted now. */
		for (size_t i = 0; i < 6; i++) {
			a[i] = from(1, name, false);
			assert_int_equal(throttle_enter(t, START, &a[i]), 0);
			assert_true(a[i].trusted);
		}
		for (size_t i = 0; i < 6; i++) {
			throttle_succeeded(t, START, &a[i]);
		}
	}
	for (unsigned i = 0; i < THROTTLE_FREE_ADDRESS; i++) {
		struct throttle_attempt stranger = from(1, "stranger@example.org", false);
		assert_int_equal(throttle_enter(t, START, &stranger), 0);
	}
	throttle_destroy(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_few_failures_are_free_then_each_waits_longer),
	    cmocka_unit_test(test_many_at_once_gain_nothing),
	    cmocka_unit_test(test_many_at_once_that_succeed_leave_nothing_behind),
	    cmocka_unit_test(test_one_address_is_slowed_over_all_names),
	    cmocka_unit_test(test_ipv6_counts_by_its_network),
	    cmocka_unit_test(test_time_forgives),
	    cmocka_unit_test(test_success_frees_her_there_and_not_the_guesser_elsewhere),
	    cmocka_unit_test(test_codes_that_cannot_be_guessed_do_not_meet_the_name_s_wait),
	    cmocka_unit_test(test_a_temporary_failure_is_taken_back),
	    cmocka_unit_test(test_whether_a_name_exists_makes_no_difference),
	    cmocka_unit_test(test_the_key_changes_every_day_and_a_flood_does_not_wash_out_the_worst),
	};
	return crypto_init() == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
