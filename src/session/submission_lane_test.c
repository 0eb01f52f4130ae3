/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "mail/privacy.h"
#include "session/submission_lane.h"

static enum law_lane
by_header(const char *message)
{
	struct smtp_mail mail = {.size = 0};
	return submission_lane(&mail, bytes_str(message), LAW_NORMAL).lane;
}

static void
what_mail_programs_write_chooses_the_lane(void **state)
{
	(void)state;
	static const struct {
		const char *field;
		enum law_lane lane;
	} rows[] = {
	    {"X-Priority: 1 (Highest)", LAW_URGENT}, {"X-Priority: 2 (High)", LAW_URGENT},
	    {"X-Priority: 3", LAW_NORMAL},           {"x-priority: 4 (Low)", LAW_PATIENT},
	    {"X-Priority:\r\n 5", LAW_PATIENT},      {"X-Priority: 15", LAW_NORMAL},
	    {"X-Priority: 0", LAW_NORMAL},           {"X-Priority:", LAW_NORMAL},
	    {"Importance: High", LAW_URGENT},        {"Importance: low", LAW_PATIENT},
	    {"Priority: urgent", LAW_URGENT},        {"Priority: non-urgent", LAW_PATIENT},
	    {"X-MSMail-Priority: High", LAW_URGENT}, {"MT-Priority: 4", LAW_URGENT},
	    {"MT-Priority: -9", LAW_PATIENT},        {"MT-Priority: 3", LAW_NORMAL},
	    {"Subject: X-Priority: 1", LAW_NORMAL},  {"Subject: a\r\n\r\nX-Priority: 1", LAW_NORMAL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[200];
		(void)snprintf(text, sizeof(text), "From: a@example.org\r\n%s\r\n\r\nbody\r\n",
			       rows[i].field);
		assert_int_equal(by_header(text), rows[i].lane);
	}
}

static void
the_member_s_own_lane_holds_where_nothing_is_said(void **state)
{
	(void)state;
	struct smtp_mail mail = {.size = 0};
	assert_int_equal(submission_lane(&mail, BYTES_LIT("a: b\r\n\r\n"), LAW_PATIENT).lane, LAW_PATIENT);
	assert_int_equal(submission_lane(&mail, BYTES_LIT("X-Priority: 3\r\n\r\n"), LAW_PATIENT).lane,
			 LAW_NORMAL);
	assert_int_equal(
	    submission_lane(&mail, BYTES_LIT("X-Priority: nonsense\r\nImportance: high\r\n\r\n"), LAW_PATIENT)
		.lane,
	    LAW_URGENT);
}

static void
the_envelope_goes_before_the_header(void **state)
{
	(void)state;
	struct bytes low = BYTES_LIT("X-Priority: 5\r\n\r\n");
	struct smtp_mail mail = {.hold = 1};
	assert_int_equal(submission_lane(&mail, low, LAW_NORMAL).lane, LAW_URGENT);
	assert_int_equal(submission_lane(&mail, low, LAW_NORMAL).hold, 0);
	mail = (struct smtp_mail){.has_priority = true, .priority = 0};
	assert_int_equal(submission_lane(&mail, low, LAW_PATIENT).lane, LAW_NORMAL);
	mail.priority = 9;
	assert_int_equal(submission_lane(&mail, low, LAW_PATIENT).lane, LAW_URGENT);
	mail = (struct smtp_mail){.hold = 3600};
	assert_int_equal(submission_lane(&mail, low, LAW_NORMAL).lane, LAW_PATIENT);
	assert_int_equal(submission_lane(&mail, low, LAW_NORMAL).hold, MSEC_HOUR);
	/* A time of her choice says more than her usual lane, and not more than what the letter says. */
	assert_int_equal(submission_lane(&mail, low, LAW_NORMAL).lane, LAW_PATIENT);
	assert_int_equal(submission_lane(&mail, BYTES_LIT("a: b\r\n\r\n"), LAW_PATIENT).lane, LAW_NORMAL);
	assert_int_equal(submission_lane(&mail, BYTES_LIT("a: b\r\n\r\n"), LAW_URGENT).lane, LAW_URGENT);
}

static void
what_chose_the_lane_does_not_leave(void **state)
{
	(void)state;
	for (size_t i = 0; submission_lane_fields[i] != NULL; i++) {
		const struct mail_privacy p = {.id = BYTES_LIT("<a@b>")};
		struct buf message = BUF_INIT(1024);
		struct buf out = BUF_INIT(1024);
		assert_int_equal(
		    buf_printf(&message, "Message-ID: <a@b>\r\n%s: 1\r\n\r\n", submission_lane_fields[i]),
		    ERR_OK);
		assert_int_equal(mail_privacy_leave(buf_bytes(&message), &p, &out), ERR_OK);
		assert_true(bytes_is(buf_bytes(&out), "Message-ID: <a@b>\r\n\r\n"));
		buf_clear(&message);
		buf_clear(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_mail_programs_write_chooses_the_lane),
	    cmocka_unit_test(the_member_s_own_lane_holds_where_nothing_is_said),
	    cmocka_unit_test(the_envelope_goes_before_the_header),
	    cmocka_unit_test(what_chose_the_lane_does_not_leave),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
