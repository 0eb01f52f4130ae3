/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Verdicts, reports, and the message as it leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "courier/message.h"
#include "courier/report.h"

#define MESSAGE "From: alice@house.test\r\nSubject: marker-subject\r\n\r\nmarker-body\r\n"

static const uint8_t entropy[16] = {1, 2, 3};

struct fixture {
	struct courier_recipient recipients[4];
	struct outcome outcomes[4];
	struct courier_part part;
	struct report_context context;
	struct buf out;
};

static void
begin(struct fixture *f, size_t count)
{
	static const char *const addresses[] = {"bob@far.test", "carol@far.test", "dave@far.test",
						"eve@far.test"};
	memset(f, 0, sizeof(*f));
	for (size_t i = 0; i < count; i++) {
		f->recipients[i].address = bytes_str(addresses[i]);
	}
	f->part = (struct courier_part){.sender = BYTES_LIT("alice@house.test"),
					.generation = 1,
					.entered = 1000,
					.recipients = f->recipients,
					.recipient_count = count};
	f->context = (struct report_context){.hostname = "mail.house.test",
					     .domain = "house.test",
					     .reference = "0123abcd",
					     .random = entropy,
					     .now = 5000,
					     .give_up = 433000,
					     .original = BYTES_LIT(MESSAGE)};
	buf_init(&f->out, 1 << 20);
}

static void
take(struct fixture *f, size_t i, unsigned code, const char *status, const char *text, bool reports)
{
	struct smtp_result r;
	smtp_result_local(code, status, text, &r);
	r.local = false;
	outcome_take(&f->outcomes[i], &r, "mx.far.test", reports);
}

static bool
has(const struct fixture *f, const char *text)
{
	return bytes_search(buf_bytes(&f->out), bytes_str(text)) >= 0;
}

static void
what_is_temporary_stays_open_and_the_rest_is_decided(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 3);
	take(&f, 0, 250, "2.0.0", "taken", false);
	take(&f, 1, 550, "5.1.1", "nobody", false);
	take(&f, 2, 451, "4.7.1", "greylisted", false);
	struct verdict v = report_decide(&f.part, f.outcomes, false, false);
	assert_true(v.again);
	assert_int_equal(v.open, 1);
	assert_int_equal(v.failed, 1);
	assert_int_equal(v.delayed, 0);
	assert_int_equal(v.relayed, 0);
}

static void
the_last_attempt_leaves_nothing_open(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 3);
	take(&f, 0, 451, "4.7.1", "greylisted", false);
	outcome_temporary(&f.outcomes[1], "4.7.10", "no encryption");
	struct verdict v = report_decide(&f.part, f.outcomes, true, true);
	assert_false(v.again);
	assert_false(v.warn);
	assert_int_equal(v.failed, 3);
	assert_string_equal(f.outcomes[0].result.status, "5.4.7");
	assert_string_equal(f.outcomes[1].result.status, "5.7.10");
	assert_string_equal(f.outcomes[2].result.status, "5.4.7");
}

static void
a_null_sender_and_the_houses_own_mail_are_never_answered(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 1);
	take(&f, 0, 550, "5.1.1", "nobody", false);
	f.part.generation = 0;
	assert_int_equal(report_decide(&f.part, f.outcomes, false, false).failed, 0);
	f.part.generation = 1;
	f.part.sender = BYTES_EMPTY;
	f.part.flags = COURIER_NULL_SENDER;
	assert_int_equal(report_decide(&f.part, f.outcomes, false, false).failed, 0);
}

static void
notify_says_who_hears_what(void **state)
{
	(void)state;
	static const struct {
		uint8_t notify;
		unsigned code;
		bool reports;
		size_t failed, delayed, relayed;
	} table[] = {
	    {SPOOL_NOTIFY_DEFAULT, 550, false, 1, 0, 0}, {SPOOL_NOTIFY_DEFAULT, 450, false, 0, 1, 0},
	    {SPOOL_NOTIFY_DEFAULT, 250, false, 0, 0, 0}, {SPOOL_NOTIFY_NEVER, 550, false, 0, 0, 0},
	    {SPOOL_NOTIFY_NEVER, 450, false, 0, 0, 0},   {SPOOL_NOTIFY_FAILURE, 450, false, 0, 0, 0},
	    {SPOOL_NOTIFY_FAILURE, 550, false, 1, 0, 0}, {SPOOL_NOTIFY_DELAY, 550, false, 0, 0, 0},
	    {SPOOL_NOTIFY_DELAY, 450, false, 0, 1, 0},   {SPOOL_NOTIFY_SUCCESS, 250, false, 0, 0, 1},
	    {SPOOL_NOTIFY_SUCCESS, 250, true, 0, 0, 0},  {SPOOL_NOTIFY_SUCCESS, 550, false, 0, 0, 0},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct fixture f;
		begin(&f, 1);
		f.recipients[0].notify = table[i].notify;
		take(&f, 0, table[i].code, table[i].code == 250 ? "2.0.0" : "4.0.0", "x", table[i].reports);
		struct verdict v = report_decide(&f.part, f.outcomes, false, true);
		assert_int_equal(v.failed, table[i].failed);
		assert_int_equal(v.delayed, table[i].delayed);
		assert_int_equal(v.relayed, table[i].relayed);
	}
}

static void
a_first_decision_stands(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 1);
	take(&f, 0, 250, "2.0.0", "taken", true);
	take(&f, 0, 421, "4.4.2", "lost", false);
	assert_int_equal(f.outcomes[0].state, OUTCOME_DONE);
	assert_true(f.outcomes[0].peer_reports);
}

static void
a_report_names_those_concerned_alone_and_returns_the_header(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 2);
	f.recipients[0].orcpt = BYTES_LIT("rfc822;bob+2Bx@far.test");
	f.part.envid = BYTES_LIT("an id");
	take(&f, 0, 550, "5.1.1", "no such user", false);
	take(&f, 1, 250, "2.0.0", "taken", false);
	assert_int_equal(report_write(&f.part, f.outcomes, REPORT_FAILED, &f.context, &f.out), ERR_OK);
	assert_true(has(&f, "Content-Type: multipart/report; report-type=delivery-status;"));
	assert_true(bytes_starts_with(
	    buf_bytes(&f.out),
	    "Return-Path: <>\r\nReceived: by mail.house.test (Cohue) id 0123abcd; Thu, 01 Jan"));
	assert_true(has(&f, "To: <alice@house.test>\r\n"));
	assert_true(has(&f, "Final-Recipient: rfc822; bob@far.test\r\n"));
	assert_true(has(&f, "Original-Recipient: rfc822;bob+2Bx@far.test\r\n"));
	assert_true(has(&f, "Action: failed\r\nStatus: 5.1.1\r\n"));
	assert_true(has(&f, "Remote-MTA: dns; mx.far.test\r\n"));
	assert_true(has(&f, "Diagnostic-Code: smtp; 550 no such user\r\n"));
	assert_true(has(&f, "Original-Envelope-Id: an+20id\r\n"));
	assert_true(has(&f, "There is no such address there."));
	assert_true(has(&f, "Reference: 0123abcd\r\n"));
	assert_true(has(&f, "marker-subject"));
	assert_false(has(&f, "marker-body"));
	assert_false(has(&f, "carol"));
	assert_true(message_is_clean(buf_bytes(&f.out)));
	buf_clear(&f.out);
}

static void
a_report_returns_all_where_that_was_asked_for(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 1);
	f.part.ret = SPOOL_RET_FULL;
	take(&f, 0, 550, "5.1.1", "no such user", false);
	assert_int_equal(report_write(&f.part, f.outcomes, REPORT_FAILED, &f.context, &f.out), ERR_OK);
	assert_true(has(&f, "marker-body"));
	buf_clear(&f.out);
}

static void
a_warning_says_until_when(void **state)
{
	(void)state;
	struct fixture f;
	begin(&f, 1);
	outcome_temporary(&f.outcomes[0], "4.4.1", "No answer");
	assert_int_equal(report_write(&f.part, f.outcomes, REPORT_DELAYED, &f.context, &f.out), ERR_OK);
	assert_true(has(&f, "Action: delayed\r\n"));
	assert_true(has(&f, "Will-Retry-Until: Tue, 06 Jan 1970 00:16:40 +0000\r\n"));
	assert_true(has(&f, "What happened: No answer"));
	assert_int_equal(report_write(&f.part, f.outcomes, REPORT_FAILED, &f.context, &f.out), ERR_NOT_FOUND);
	buf_clear(&f.out);
}

static void
orcpt_is_read_as_xtext_or_as_it_stands(void **state)
{
	(void)state;
	static const struct {
		const char *given, *type, *plain;
	} table[] = {
	    {"rfc822;bob+2Bx@far.test", "rfc822", "bob+x@far.test"},
	    {"rfc822;bob+shop@far.test", "rfc822", "bob+shop@far.test"},
	    {"utf-8;b\xc3\xbc@far.test", "utf-8", "b\xc3\xbc@far.test"},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct buf scratch = BUF_INIT(1000);
		struct bytes type;
		struct bytes plain;
		assert_true(report_orcpt(bytes_str(table[i].given), &scratch, &type, &plain));
		assert_true(bytes_is(type, table[i].type));
		assert_true(bytes_is(plain, table[i].plain));
		buf_clear(&scratch);
	}
	struct buf scratch = BUF_INIT(1000);
	struct bytes none;
	assert_false(report_orcpt(BYTES_LIT("no type"), &scratch, &none, &none));
	assert_false(report_orcpt(BYTES_LIT(";x"), &scratch, &none, &none));
	assert_false(report_orcpt(BYTES_LIT("rfc822;"), &scratch, &none, &none));
}

/* ---- the message ---- */

static void
only_crlf_is_clean(void **state)
{
	(void)state;
	assert_true(message_is_clean(BYTES_LIT("a\r\n\r\nb\r\n")));
	assert_true(message_is_clean(BYTES_EMPTY));
	assert_false(message_is_clean(BYTES_LIT("a\n")));
	assert_false(message_is_clean(BYTES_LIT("a\r")));
	assert_false(message_is_clean(BYTES_LIT("a\r\r\n")));
	assert_false(message_is_clean(BYTES_LIT("a\0\r\n")));
}

static void
a_released_message_has_one_line_of_the_house_and_keeps_its_octets(void **state)
{
	(void)state;
	struct message_trace trace = {
	    .hostname = "mail.house.test", .reference = "0123abcd", .now = 7200, .first_release = 3600};
	struct buf out = BUF_INIT(65536);
	assert_int_equal(
	    message_release(BYTES_LIT("Date: Sat, 03 Jan 1970 01:00:00 +0000\r\n" MESSAGE), &trace, &out),
	    ERR_OK);
	assert_true(bytes_equal(
	    buf_bytes(&out),
	    BYTES_LIT("Received: by mail.house.test (Cohue) id 0123abcd; Thu, 01 Jan 1970 02:00:00\r\n"
		      " +0000\r\nDate: Sat, 03 Jan 1970 01:00:00 +0000\r\n" MESSAGE)));
	buf_clear(&out);
	/* Without a date it gets that of its first release, at each attempt the same. */
	assert_int_equal(message_release(BYTES_LIT(MESSAGE), &trace, &out), ERR_OK);
	assert_true(bytes_search(buf_bytes(&out),
				 BYTES_LIT("\r\nDate: Thu, 01 Jan 1970 01:00:00 +0000\r\nFrom:")) > 0);
	buf_clear(&out);
	trace.date = MAIL_DATE_DAY;
	assert_int_equal(message_release(BYTES_LIT(MESSAGE), &trace, &out), ERR_OK);
	assert_true(bytes_search(buf_bytes(&out),
				 BYTES_LIT("\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nFrom:")) > 0);
	buf_clear(&out);
	/* One that was kept, and then waited for so long that providers would refuse it. */
	trace.date = MAIL_DATE_KEEP;
	trace.first_release += 5 * 86400;
	assert_int_equal(
	    message_release(BYTES_LIT("Date: Sat, 03 Jan 1970 01:00:00 +0000\r\n" MESSAGE), &trace, &out),
	    ERR_OK);
	assert_true(bytes_search(buf_bytes(&out), BYTES_LIT("Date: Sat, 03 Jan")) < 0);
	assert_true(bytes_search(buf_bytes(&out),
				 BYTES_LIT("\r\nDate: Tue, 06 Jan 1970 01:00:00 +0000\r\nFrom:")) > 0);
	buf_clear(&out);
	assert_int_equal(message_release(BYTES_LIT("From: a\n"), &trace, &out), ERR_FORMAT);
}

static void
addresses_need_smtputf8_for_their_local_part_alone(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1000);
	bool utf8 = true;
	assert_int_equal(message_address(BYTES_LIT("Bob@b\xc3\xbc"
						   "cher.test"),
					 &out, &utf8),
			 ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "Bob@xn--bcher-kva.test"));
	assert_false(utf8);
	buf_clear(&out);
	assert_int_equal(message_address(BYTES_LIT("b\xc3\xbc@far.test"), &out, &utf8), ERR_OK);
	assert_true(utf8);
	buf_clear(&out);
	assert_int_equal(message_address(BYTES_LIT("\"a b\"@[192.0.2.1]"), &out, &utf8), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "\"a b\"@[192.0.2.1]"));
	buf_clear(&out);
	assert_int_equal(message_address(BYTES_LIT("nobody"), &out, &utf8), ERR_FORMAT);
	assert_int_equal(message_address(BYTES_LIT("a@b> RCPT"), &out, &utf8), ERR_FORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_temporary_stays_open_and_the_rest_is_decided),
	    cmocka_unit_test(the_last_attempt_leaves_nothing_open),
	    cmocka_unit_test(a_null_sender_and_the_houses_own_mail_are_never_answered),
	    cmocka_unit_test(notify_says_who_hears_what),
	    cmocka_unit_test(a_first_decision_stands),
	    cmocka_unit_test(a_report_names_those_concerned_alone_and_returns_the_header),
	    cmocka_unit_test(a_report_returns_all_where_that_was_asked_for),
	    cmocka_unit_test(a_warning_says_until_when),
	    cmocka_unit_test(orcpt_is_read_as_xtext_or_as_it_stands),
	    cmocka_unit_test(only_crlf_is_clean),
	    cmocka_unit_test(a_released_message_has_one_line_of_the_house_and_keeps_its_octets),
	    cmocka_unit_test(addresses_need_smtputf8_for_their_local_part_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
