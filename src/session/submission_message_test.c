/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static bool
has(const struct buf *b, const char *text)
{
	return bytes_search(buf_bytes(b), bytes_str(text)) >= 0;
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
	    cmocka_unit_test(test_the_sent_copy_shows_in_bcc_who_is_not_in_to_or_cc),
	    cmocka_unit_test(test_the_sent_copy_has_no_bcc_where_all_are_shown),
	    cmocka_unit_test(test_automatic_mail_is_known_by_its_field),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
