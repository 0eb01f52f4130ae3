/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct submission_stamp stamp = {
    .domain = "house.example", .now = 0, .random = {0xab, 0xcd, 0xef}};

static bool
has(const struct buf *b, const char *text)
{
	return bytes_search(buf_bytes(b), bytes_str(text)) >= 0;
}

static void
test_date_and_message_id_are_added_only_where_missing(void **state)
{
	struct buf fields = BUF_INIT(4096);
	struct buf id = BUF_INIT(998);
	(void)state;
	assert_int_equal(submission_missing_fields(BYTES_LIT("From: a@b\r\n\r\n"), &stamp, &fields, &id),
			 ERR_OK);
	assert_true(has(&fields, "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"));
	assert_true(has(&fields, "Message-ID: <abcdef00000000000000000000000000@house.example>\r\n"));
	assert_true(bytes_is(buf_bytes(&id), "<abcdef00000000000000000000000000@house.example>"));
	buf_clear(&fields);
	buf_clear(&id);
	assert_int_equal(submission_missing_fields(BYTES_LIT("date: today\r\nMESSAGE-ID:\r\n <x@y>\r\n\r\n"),
						   &stamp, &fields, &id),
			 ERR_OK);
	assert_int_equal(fields.len, 0);
	assert_true(bytes_is(buf_bytes(&id), "<x@y>"));
	buf_clear(&id);
}

static void
test_what_leaves_tells_neither_bcc_nor_program(void **state)
{
	struct buf out = BUF_INIT(4096);
	(void)state;
	assert_int_equal(
	    submission_leaving(BYTES_LIT("From: a@b\r\nBcc: secret@c,\r\n more@c\r\n"
					 "User-Agent: Mail 1\r\nX-Mailer: M\r\n"
					 "X-Originating-IP: [192.0.2.1]\r\nReturn-Path: <a@b>\r\n"
					 "bcc : again@c\r\nSubject: Bcc: x\r\n\r\n"
					 "User-Agent: in the body\r\n"),
			       BYTES_LIT("Date: now\r\n"), &out),
	    ERR_OK);
	assert_true(bytes_is(buf_bytes(&out),
			     "Date: now\r\nFrom: a@b\r\nSubject: Bcc: x\r\n\r\nUser-Agent: in the body\r\n"));
	buf_clear(&out);
}

static void
test_the_sent_copy_shows_in_bcc_who_is_not_in_to_or_cc(void **state)
{
	struct submission_address all[] = {
	    {.address = BYTES_LIT("Bob@C.example"), .normal = BYTES_LIT("bob@c.example")},
	    {.address = BYTES_LIT("eve@c.example"), .normal = BYTES_LIT("eve@c.example")},
	    {.address = BYTES_LIT("dan@d.example"), .normal = BYTES_LIT("dan@d.example")},
	    {.address = BYTES_LIT("zoe@d.example"), .normal = BYTES_LIT("zoe@d.example")},
	};
	struct buf out = BUF_INIT(4096);
	(void)state;
	assert_int_equal(
	    submission_sent_copy(BYTES_LIT("From: a@b\r\nTo: Bob <bob@C.EXAMPLE>, us: dan@d.example;\r\n"
					   "Bcc: old@x\r\nUser-Agent: Mail 1\r\n\r\nbody\r\n"),
				 BYTES_EMPTY, all, 4, &out),
	    ERR_OK);
	assert_true(has(&out, "Bcc: eve@c.example, zoe@d.example\r\n"));
	assert_false(has(&out, "old@x"));
	/* Otherwise as it was handed in. */
	assert_true(has(&out, "From: a@b\r\nTo: Bob <bob@C.EXAMPLE>, us: dan@d.example;\r\n"
			      "User-Agent: Mail 1\r\n\r\nbody\r\n"));
	buf_clear(&out);
}

static void
test_the_sent_copy_has_no_bcc_where_all_are_shown(void **state)
{
	struct submission_address all[] = {
	    {.address = BYTES_LIT("x@c.example"), .normal = BYTES_LIT("x@c.example")}};
	static const char text[] = "From: a@b\r\nCc: x@c.example\r\n\r\nbody\r\n";
	struct buf out = BUF_INIT(4096);
	(void)state;
	assert_int_equal(submission_sent_copy(bytes_str(text), BYTES_EMPTY, all, 1, &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), text));
	buf_clear(&out);
}

static void
test_automatic_mail_is_known_by_its_field(void **state)
{
	(void)state;
	assert_true(submission_is_automatic(BYTES_LIT("Auto-Submitted: auto-replied\r\n\r\n")));
	assert_false(submission_is_automatic(BYTES_LIT("Auto-Submitted: no\r\n\r\n")));
	assert_false(submission_is_automatic(BYTES_LIT("Subject: x\r\n\r\nAuto-Submitted: yes\r\n")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_date_and_message_id_are_added_only_where_missing),
	    cmocka_unit_test(test_what_leaves_tells_neither_bcc_nor_program),
	    cmocka_unit_test(test_the_sent_copy_shows_in_bcc_who_is_not_in_to_or_cc),
	    cmocka_unit_test(test_the_sent_copy_has_no_bcc_where_all_are_shown),
	    cmocka_unit_test(test_automatic_mail_is_known_by_its_field),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
