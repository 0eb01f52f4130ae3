/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mail/structure.h"
#include "mail/write.h"

static struct mail_dsn_recipient recipient = {
    .final = {(const uint8_t *)"x@y.example", 11},
    .action = MAIL_DSN_FAILED,
    .status = {(const uint8_t *)"5.1.1", 5},
    .diagnostic = {(const uint8_t *)"550 5.1.1 no\r\nsuch user", 23},
    .remote_mta = {(const uint8_t *)"mx.y.example", 12},
    .last_attempt = 1,
};

static struct mail_dsn
sample(void)
{
	return (struct mail_dsn){
	    .reporting_mta = BYTES_LIT("mail.example.org"),
	    .from = BYTES_LIT("postmaster@example.org"),
	    .to = BYTES_LIT("a@example.org"),
	    .message_id = BYTES_LIT("<1@example.org>"),
	    .boundary = BYTES_LIT("=_b0"),
	    .date = 2,
	    .envelope_id = BYTES_LIT("QQ314159"),
	    .recipients = &recipient,
	    .recipient_count = 1,
	    .original = BYTES_LIT("Subject: hello\r\n\r\nsecret body\r\n"),
	};
}

static void
a_report_has_its_three_parts_and_fields(void **state)
{
	(void)state;
	struct arena arena;
	struct mail_structure s;
	struct buf out = BUF_INIT(100000);
	struct mail_dsn dsn = sample();
	arena_init(&arena, MAIL_PARSE_MEMORY);
	assert_int_equal(mail_dsn_write(&out, &dsn), ERR_OK);
	assert_int_equal(mail_parse(&arena, buf_bytes(&out), &s), ERR_OK);
	assert_int_equal(s.count, 4);
	assert_true(bytes_is(s.parts[0].subtype, "report"));
	assert_true(bytes_is(s.parts[2].subtype, "delivery-status"));
	assert_true(bytes_is(s.parts[3].subtype, "rfc822-headers"));
	assert_true(bytes_search(buf_bytes(&out), BYTES_LIT("secret body")) < 0);
	struct bytes status = bytes_slice(buf_bytes(&out), s.parts[2].body_at, s.parts[2].body_len);
	assert_true(bytes_is(status,
			     "Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; mail.example.org\r\n\r\n"
			     "Final-Recipient: rfc822; x@y.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
			     "Remote-MTA: dns; mx.y.example\r\n"
			     "Diagnostic-Code: smtp; 550 5.1.1 no  such user\r\n"
			     "Last-Attempt-Date: Thu, 01 Jan 1970 00:00:01 +0000\r\n"));
	dsn.return_full = true;
	buf_reset(&out);
	assert_int_equal(mail_dsn_write(&out, &dsn), ERR_OK);
	assert_int_equal(mail_parse(&arena, buf_bytes(&out), &s), ERR_OK);
	assert_int_equal(s.parts[3].kind, MAIL_PART_MESSAGE);
	assert_true(
	    bytes_equal(bytes_slice(buf_bytes(&out), s.parts[3].body_at, s.parts[3].body_len), dsn.original));
	buf_clear(&out);
	arena_clear(&arena);
}

static void
an_unsafe_boundary_or_no_recipient_is_refused(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(100000);
	struct mail_dsn dsn = sample();
	dsn.boundary = BYTES_LIT("hello");
	assert_int_equal(mail_dsn_write(&out, &dsn), ERR_FORMAT);
	dsn.boundary = BYTES_LIT("a b");
	assert_int_equal(mail_dsn_write(&out, &dsn), ERR_FORMAT);
	dsn = sample();
	dsn.recipient_count = 0;
	assert_int_equal(mail_dsn_write(&out, &dsn), ERR_FORMAT);
	assert_int_equal(out.len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_report_has_its_three_parts_and_fields),
	    cmocka_unit_test(an_unsafe_boundary_or_no_recipient_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
