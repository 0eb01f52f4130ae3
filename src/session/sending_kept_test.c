/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "session/sending_kept.h"

static const struct sending_limits usual = {
    .messages = 40, .recipients = 100, .recipients_day = 400, .domains = 5, .failures = 30};
static const msec start = 5 * MSEC_MINUTE; /* shortly after the machine came up */
static const msec wall = 20000 * MSEC_DAY;
static const uint8_t name[SENDING_KEPT_NAME] = "somebody";
static const uint8_t other[SENDING_KEPT_NAME] = "other";
static struct sending_kept kept;

/* As a process that ends, and another one that begins `later`, on a machine that came up anew. */
static bool
restarted(struct sending *s, msec later, msec now, size_t *ret_size)
{
	struct buf out = BUF_INIT(SENDING_KEPT_SIZE);
	struct sending after;
	memset(&kept, 0, sizeof(kept));
	sending_kept_add(&kept, name, 7, s, &usual, start);
	assert_int_equal(sending_kept_write(&kept, start, wall, &out), ERR_OK);
	*ret_size = out.len;
	assert_int_equal(sending_kept_read(buf_bytes(&out), now, wall + later, &kept), ERR_OK);
	buf_clear(&out);
	assert_false(sending_kept_take(&kept, other, 7, &after));
	bool found = sending_kept_take(&kept, name, 7, &after);
	if (found) {
		*s = after;
		assert_false(sending_kept_take(&kept, name, 7, &after));
	}
	return found;
}

static void
send(struct sending *s, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(sending_recipient(s, &usual, BYTES_LIT("big.test"), start), SENDING_FINE);
	}
}

static void
test_who_sends_as_people_do_leaves_nothing(void **state)
{
	struct sending s = {0};
	size_t size = 0;
	(void)state;
	send(&s, 24);
	assert_false(restarted(&s, 0, start, &size));
	assert_int_equal(size, SENDING_KEPT_SIZE);
	send(&s, 1);
	assert_true(restarted(&s, 0, start, &size));
	assert_int_equal(size, SENDING_KEPT_SIZE);
}

static void
test_a_restart_gives_nobody_a_new_limit_and_time_does(void **state)
{
	struct sending s = {0};
	size_t size = 0;
	(void)state;
	send(&s, 100);
	assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, start), SENDING_LATER);
	/* A minute later, by a clock that began anew. */
	assert_true(restarted(&s, MSEC_MINUTE, 10, &size));
	assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, 10), SENDING_LATER);
	assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, 10 + 2 * MSEC_HOUR), SENDING_FINE);
	/* The day's count is of 104 by then, rounded up. */
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(sending_recipient(&s, &usual, BYTES_EMPTY, 10 + 3 * MSEC_HOUR),
				 SENDING_FINE);
	}
	struct sending_used u = sending_used(&s, 10 + 3 * MSEC_HOUR);
	assert_in_range(u.recipients_day, 141, 153);
}

static void
test_whom_she_wrote_to_is_not_kept(void **state)
{
	struct sending s = {0};
	size_t size = 0;
	static const uint8_t none[sizeof(s.domains)];
	(void)state;
	send(&s, 100);
	assert_memory_not_equal(s.domains, none, sizeof(none));
	assert_true(restarted(&s, 0, start, &size));
	assert_memory_equal(s.domains, none, sizeof(none));
	assert_int_equal(s.domain_count, 0);
	assert_memory_equal(s.key, none, sizeof(s.key));
}

static void
test_refusals_go_on_to_be_summed_up_in_her_favour(void **state)
{
	struct sending s = {0};
	size_t size = 0;
	(void)state;
	for (unsigned i = 0; i < 19; i++) {
		assert_int_equal(sending_reported(&s, &usual, true, start), SENDING_FINE);
	}
	assert_true(restarted(&s, 0, start, &size));
	struct sending_used u = sending_used(&s, start);
	assert_int_equal(u.failed, 16);
	assert_int_equal(u.reported, 20);
	assert_int_equal(sending_reported(&s, &usual, true, start), SENDING_HOLD);
}

static void
test_a_hold_that_was_lifted_since_begins_anew(void **state)
{
	struct sending s = {0};
	struct sending after = {0};
	(void)state;
	send(&s, 100);
	memset(&kept, 0, sizeof(kept));
	sending_kept_add(&kept, name, 7, &s, &usual, start);
	assert_false(sending_kept_take(&kept, name, 8, &after));
	assert_int_equal(sending_used(&after, start).recipients, 0);
	assert_false(sending_kept_take(&kept, name, 7, &after));
}

static void
test_what_is_old_or_odd_is_nothing(void **state)
{
	struct sending s = {0};
	size_t size = 0;
	struct buf out = BUF_INIT(SENDING_KEPT_SIZE);
	(void)state;
	send(&s, 100);
	assert_false(restarted(&s, 2 * MSEC_DAY, start, &size));
	assert_false(restarted(&s, -MSEC_HOUR, start, &size));
	memset(&kept, 0, sizeof(kept));
	sending_kept_add(&kept, name, 7, &s, &usual, start);
	assert_int_equal(sending_kept_write(&kept, start, wall, &out), ERR_OK);
	for (size_t n = 0; n < 200; n++) {
		assert_int_not_equal(
		    sending_kept_read(bytes_slice(buf_bytes(&out), 0, n), start, wall, &kept), ERR_OK);
		assert_int_equal(kept.count, 0);
	}
	out.ptr[9] = 0xff; /* more accounts than there may be */
	assert_int_equal(sending_kept_read(buf_bytes(&out), start, wall, &kept), ERR_FORMAT);
	out.ptr[0] = 9;
	assert_int_equal(sending_kept_read(buf_bytes(&out), start, wall, &kept), ERR_UNSUPPORTED);
	buf_clear(&out);
}

static void
test_all_that_may_be_kept_goes_in(void **state)
{
	struct sending s = {0};
	struct buf out = BUF_INIT(SENDING_KEPT_SIZE);
	(void)state;
	send(&s, 100);
	memset(&kept, 0, sizeof(kept));
	for (unsigned i = 0; i < SENDING_KEPT_MOST + 10; i++) {
		uint8_t many[SENDING_KEPT_NAME] = {(uint8_t)i, (uint8_t)(i >> 8), 1};
		sending_kept_add(&kept, many, 7, &s, &usual, start);
	}
	assert_int_equal(kept.count, SENDING_KEPT_MOST);
	assert_int_equal(sending_kept_write(&kept, start, wall, &out), ERR_OK);
	assert_int_equal(sending_kept_read(buf_bytes(&out), start, wall, &kept), ERR_OK);
	assert_int_equal(kept.count, SENDING_KEPT_MOST);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_who_sends_as_people_do_leaves_nothing),
	    cmocka_unit_test(test_a_restart_gives_nobody_a_new_limit_and_time_does),
	    cmocka_unit_test(test_whom_she_wrote_to_is_not_kept),
	    cmocka_unit_test(test_refusals_go_on_to_be_summed_up_in_her_favour),
	    cmocka_unit_test(test_a_hold_that_was_lifted_since_begins_anew),
	    cmocka_unit_test(test_what_is_old_or_odd_is_nothing),
	    cmocka_unit_test(test_all_that_may_be_kept_goes_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
