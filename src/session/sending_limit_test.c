/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>

#include "session/sending_limit.h"

static const struct sending_limits usual = {
    .messages = 10, .recipients = 30, .recipients_day = 50, .domains = 5, .failures = 30};
static const msec start = 1000 * MSEC_DAY;

static struct bytes
domain_of(unsigned i, char text[32])
{
	(void)snprintf(text, 32, "d%u.test", i);
	return bytes_str(text);
}

static void
test_an_hours_messages_are_limited_and_the_limit_passes(void **state)
{
	(void)state;
	struct sending s = {0};
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(sending_message(&s, &usual, start + i), SENDING_FINE);
	}
	assert_int_equal(sending_message(&s, &usual, start + 11), SENDING_LATER);
	assert_int_equal(sending_message(&s, &usual, start + MSEC_HOUR - 1), SENDING_LATER);
	/* Just behind the border of a window, nearly all of the former one still counts. */
	assert_int_equal(sending_message(&s, &usual, start + MSEC_HOUR + MSEC_HOUR / 5), SENDING_FINE);
	assert_int_equal(sending_message(&s, &usual, start + MSEC_HOUR + MSEC_HOUR / 5), SENDING_FINE);
	assert_int_equal(sending_message(&s, &usual, start + MSEC_HOUR + MSEC_HOUR / 5), SENDING_LATER);
	assert_int_equal(sending_message(&s, &usual, start + 3 * MSEC_HOUR), SENDING_FINE);
}

static void
test_a_days_recipients_hold_the_account(void **state)
{
	(void)state;
	struct sending s = {0};
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, start), SENDING_FINE);
	}
	assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, start), SENDING_LATER);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, start + 3 * MSEC_HOUR),
				 SENDING_FINE);
	}
	assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, start + 6 * MSEC_HOUR), SENDING_HOLD);
	sending_reset(&s);
	assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, start + 6 * MSEC_HOUR), SENDING_FINE);
}

static void
test_new_domains_are_limited_and_known_ones_are_not(void **state)
{
	(void)state;
	struct sending s = {0};
	char text[32];
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(sending_recipient(&s, &usual, domain_of(i, text), start), SENDING_FINE);
	}
	assert_int_equal(sending_recipient(&s, &usual, domain_of(3, text), start), SENDING_FINE);
	unsigned refused = 0;
	for (unsigned i = 10; i < 15; i++) {
		refused += sending_recipient(&s, &usual, domain_of(i, text), start) == SENDING_LATER ? 1 : 0;
	}
	/* Two domains may share a bit, rarely. */
	assert_true(refused >= 4);
	assert_int_equal(sending_recipient(&s, &usual, domain_of(77, text), start + 2 * MSEC_HOUR),
			 SENDING_FINE);
}

static void
test_after_an_hour_the_set_and_its_key_are_forgotten(void **state)
{
	(void)state;
	struct sending s = {0};
	uint8_t key[SENDING_DOMAIN_KEY];
	assert_int_equal(sending_recipient(&s, &usual, BYTES_LIT("a.test"), start), SENDING_FINE);
	memcpy(key, s.key, sizeof(key));
	assert_null(memmem(&s, sizeof(s), "a.test", 6));
	assert_int_equal(sending_recipient(&s, &usual, BYTES_LIT("b.test"), start + MSEC_HOUR), SENDING_FINE);
	assert_memory_not_equal(key, s.key, sizeof(key));
	assert_int_equal(s.domain_count, 1);
}

static void
test_who_insists_is_held(void **state)
{
	(void)state;
	struct sending s = {0};
	for (unsigned i = 0; i < SENDING_PATIENCE; i++) {
		assert_int_equal(sending_refused(&s, start + i), SENDING_LATER);
	}
	assert_int_equal(sending_refused(&s, start + 60), SENDING_HOLD);
}

static void
test_many_refusals_by_others_hold_the_account_and_few_do_not(void **state)
{
	(void)state;
	struct sending s = {0};
	for (unsigned i = 0; i < SENDING_REPORTED_MIN - 1; i++) {
		assert_int_equal(sending_reported(&s, &usual, true, start), SENDING_FINE);
	}
	assert_int_equal(sending_reported(&s, &usual, true, start), SENDING_HOLD);
	sending_reset(&s);
	for (unsigned i = 0; i < 100; i++) {
		/* A fifth: a list with old addresses. */
		assert_int_equal(sending_reported(&s, &usual, i % 5 == 0, start), SENDING_FINE);
	}
}

static void
test_a_members_own_multiple_and_none(void **state)
{
	(void)state;
	struct sending_limits l = usual;
	struct sending s = {0};
	l.times = 2;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(sending_message(&s, &l, start), SENDING_FINE);
	}
	assert_int_equal(sending_message(&s, &l, start), SENDING_LATER);
	l.times = SENDING_TIMES_NONE;
	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(sending_message(&s, &l, start), SENDING_FINE);
		assert_int_equal(sending_recipient(&s, &l, BYTES_LIT("x.test"), start), SENDING_FINE);
		assert_int_equal(sending_reported(&s, &l, true, start), SENDING_FINE);
	}
}

static void
test_a_clock_that_goes_back_does_not_lock_out_nor_overflow(void **state)
{
	(void)state;
	struct sending s = {0};
	for (unsigned i = 0; i < 20; i++) {
		(void)sending_message(&s, &usual, start);
		(void)sending_recipient(&s, &usual, BYTES_LIT("x.test"), start);
	}
	assert_int_equal(sending_message(&s, &usual, start - MSEC_DAY), SENDING_FINE);
	assert_int_equal(sending_recipient(&s, &usual, BYTES_LIT("x.test"), start - MSEC_DAY), SENDING_FINE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_hours_messages_are_limited_and_the_limit_passes),
	    cmocka_unit_test(test_a_days_recipients_hold_the_account),
	    cmocka_unit_test(test_new_domains_are_limited_and_known_ones_are_not),
	    cmocka_unit_test(test_after_an_hour_the_set_and_its_key_are_forgotten),
	    cmocka_unit_test(test_who_insists_is_held),
	    cmocka_unit_test(test_many_refusals_by_others_hold_the_account_and_few_do_not),
	    cmocka_unit_test(test_a_members_own_multiple_and_none),
	    cmocka_unit_test(test_a_clock_that_goes_back_does_not_lock_out_nor_overflow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
