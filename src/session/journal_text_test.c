/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mail/header.h"
#include "session/journal_text.h"

static const struct journal_names names = {.domain = "example.org",
					   .address = {.ptr = (const uint8_t *)"a@example.org", .len = 13}};

static bool
has(const struct buf *text, const char *part)
{
	return bytes_search(buf_bytes(text), bytes_str(part)) >= 0;
}

static void
write_line(const struct journal_line *l, struct buf *out)
{
	buf_reset(out);
	assert_int_equal(journal_write(l, &names, out), ERR_OK);
	for (size_t i = 0; i < out->len; i++) {
		assert_true((out->ptr[i] >= ' ' && out->ptr[i] < 127) || out->ptr[i] == '\r' ||
			    out->ptr[i] == '\n');
	}
}

static void
each_way_of_leaving_is_told_as_it_was(void **state)
{
	(void)state;
	static const struct {
		enum journal_wait wait;
		const char *subject;
		const char *protection;
	} rows[] = {
	    {JOURNAL_WAIT_CROWD, "Subject: Left in a crowd of 5: protected\r\n", "Cohue-Protected: yes\r\n"},
	    {JOURNAL_WAIT_VOID, "Subject: Left without a crowd: not protected\r\n",
	     "Cohue-Protected: no\r\n"},
	    {JOURNAL_WAIT_EXPONENTIAL, "Subject: Left after a random delay\r\n", "Cohue-Protected: no\r\n"},
	    {JOURNAL_WAIT_NONE, "Subject: Left at once: not protected\r\n", "Cohue-Protected: no\r\n"},
	};
	struct buf out = BUF_INIT(8192);
	const struct journal_line alone = {
	    .event = JOURNAL_LEFT, .wait = JOURNAL_WAIT_CROWD, .crowd = 1, .batch = 1};
	write_line(&alone, &out);
	assert_true(has(&out, rows[1].subject) && has(&out, rows[1].protection));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct journal_line l = {
		    .event = JOURNAL_LEFT, .unit = {0xab}, .wait = rows[i].wait, .crowd = 5, .batch = 7};
		write_line(&l, &out);
		assert_true(has(&out, rows[i].subject));
		assert_true(has(&out, rows[i].protection));
		assert_true(
		    has(&out, "References: <ab000000000000000000000000000000.journal@example.org>\r\n"));
	}
	buf_clear(&out);
}

static void
what_a_server_said_stays_in_its_line(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(8192);
	struct mail_field f;
	struct journal_line l = {.event = JOURNAL_DELIVERED,
				 .domain = BYTES_LIT("evil\r\nBcc: x@example.net"),
				 .tls = 0x0304,
				 .padded = true,
				 .text = BYTES_LIT("250 ok\r\n\r\n.\r\nFrom: x")};
	write_line(&l, &out);
	assert_false(mail_field_find(buf_bytes(&out), "Bcc", &f));
	assert_true(has(&out, "TLS 1.3, encrypted, not verified, its size hidden"));
	assert_true(has(&out, "Cohue-Link: encrypted, not verified\r\n") && has(&out, "Cohue-Reason: "));
	buf_clear(&out);
	l.proof = JOURNAL_PROOF_DANE;
	assert_int_equal(journal_write(&l, &names, &out), ERR_OK);
	assert_true(has(&out, "proved who it is (DANE)") && has(&out, "Cohue-Link: DANE\r\n"));
	buf_clear(&out);
	l.proof = JOURNAL_PROOF_STS;
	assert_int_equal(journal_write(&l, &names, &out), ERR_OK);
	assert_true(has(&out, "proved who it is (MTA-STS)") && has(&out, "Cohue-Link: MTA-STS\r\n"));
	l.tls = 0;
	write_line(&l, &out);
	assert_true(has(&out, "in clear"));
	assert_true(has(&out, "Cohue-Size-Hidden: no\r\n") && has(&out, "void for size: it showed"));
	l.event = JOURNAL_DEFERRED;
	write_line(&l, &out);
	assert_true(has(&out, "Subject: Not yet taken by evil"));
	assert_false(has(&out, "in clear"));
	l.event = JOURNAL_FORWARD_FAILED;
	write_line(&l, &out);
	assert_true(has(&out, "Subject: A forwarded copy was refused by evil"));
	assert_true(has(&out, "was to be sent on") && has(&out, "Cohue-Event: forward-failed\r\n") &&
		    has(&out, "Cohue-Reason: 250 ok"));
	l.event = JOURNAL_SUBMITTED;
	l.hold = 3600;
	l.recipients = 2;
	write_line(&l, &out);
	assert_true(has(&out, "to 2 recipients") && has(&out, "after 60 minutes") && has(&out, "64 KiB"));
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_way_of_leaving_is_told_as_it_was),
	    cmocka_unit_test(what_a_server_said_stays_in_its_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
