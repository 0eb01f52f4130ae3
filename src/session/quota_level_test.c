/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/quota_level.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "session/notice.h"

#define QUOTA ((uint64_t)100 << 20)

static unsigned
at(unsigned percent, unsigned before)
{
	return quota_level(QUOTA / 100 * percent + QUOTA / 200, QUOTA, before);
}

static void
each_level_is_reached_once_and_left_well_below_it(void **state)
{
	(void)state;
	assert_int_equal(at(79, 0), 0);
	assert_int_equal(at(80, 0), 80);
	assert_int_equal(at(94, 80), 80);
	assert_int_equal(at(95, 80), 95);
	assert_int_equal(at(95, 0), 95);
	/* Around the brink nothing is told again ... */
	assert_int_equal(at(94, 95), 95);
	assert_int_equal(at(85, 95), 95);
	assert_int_equal(at(79, 80), 80);
	assert_int_equal(at(70, 80), 80);
	/* ... and well below it, it may be. */
	assert_int_equal(at(84, 95), 80);
	assert_int_equal(at(69, 95), 0);
	assert_int_equal(at(69, 80), 0);
	assert_int_equal(quota_level(UINT64_MAX, QUOTA, 80), 95);
	assert_int_equal(quota_level(UINT64_MAX / 100 * 81, UINT64_MAX, 0), 80);
}

static void
without_a_quota_or_with_a_tiny_one_nothing_is_told(void **state)
{
	(void)state;
	assert_int_equal(quota_level(UINT64_MAX, 0, 0), 0);
	assert_int_equal(quota_level(UINT64_MAX, 0, 95), 0);
	assert_int_equal(quota_level(16384, 16384, 0), 0);
	assert_int_equal(quota_level_read(BYTES_LIT("95")), 95);
	assert_int_equal(quota_level_read(BYTES_LIT("")), 0);
	assert_int_equal(quota_level_read(BYTES_LIT("100")), 0);
}

static void
the_message_says_how_much_of_what(void **state)
{
	(void)state;
	struct buf body = BUF_INIT(4096);
	struct buf b = BUF_INIT(8192);
	char subject[QUOTA_SUBJECT_LEN];
	const uint8_t random[16] = {0xab};
	assert_int_equal(quota_level_say(95, (uint64_t)96 << 20, QUOTA, subject, &body), ERR_OK);
	const struct notice n = {.subject = subject, .tag = "quota", .body = buf_bytes(&body)};
	assert_int_equal(notice_text(&n, "house.test", BYTES_LIT("anna@house.test"), 1760000000, random, &b),
			 ERR_OK);
	assert_int_equal(buf_append_byte(&b, 0), ERR_OK);
	const char *text = (const char *)b.ptr;
	assert_non_null(strstr(text, "Subject: Your mailboxes are 95 % full\r\n"));
	assert_non_null(strstr(text, "To: <anna@house.test>\r\n"));
	assert_non_null(strstr(text, "takes 96 of the 100 MiB"));
	assert_non_null(
	    strstr(text, "\r\nMessage-ID: <ab000000000000000000000000000000.quota@house.test>\r\n"));
	assert_null(strstr(text, "\n\n"));
	buf_clear(&body);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_level_is_reached_once_and_left_well_below_it),
	    cmocka_unit_test(without_a_quota_or_with_a_tiny_one_nothing_is_told),
	    cmocka_unit_test(the_message_says_how_much_of_what),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
