/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Hers: alice@house.example, any alice+x of it, "al ice"@house.example, and a UTF-8 one. */
static bool
owns(const void *arg, const struct mail_mailbox *m)
{
	struct buf normal = BUF_INIT(1024);
	(void)arg;
	bool mine = false;
	if (mail_mailbox_normalise(m, &normal) == ERR_OK) {
		struct bytes n = buf_bytes(&normal);
		mine = bytes_is(n, "alice@house.example") ||
		       (bytes_starts_with(n, "alice+") && bytes_ends_with_nocase(n, "@house.example")) ||
		       bytes_is(n, "al ice@house.example") || bytes_is(n, "\"al ice\"@house.example") ||
		       bytes_is(n, "al\xc3\xafs@house.example");
	}
	buf_clear(&normal);
	return mine;
}

static enum submission_verdict
check(const char *header)
{
	static const struct submission_owner owner = {.owns = owns, .arg = NULL};
	struct buf message = BUF_INIT(1 << 20);
	assert_int_equal(buf_append_str(&message, header), ERR_OK);
	assert_int_equal(buf_append_str(&message, "\r\nbody\r\n"), ERR_OK);
	enum submission_verdict v = submission_check(buf_bytes(&message), &owner);
	buf_clear(&message);
	return v;
}

static void
test_her_own_addresses_are_accepted(void **state)
{
	(void)state;
	static const char *const good[] = {
	    "From: alice@house.example\r\n",
	    "FROM : Alice <Alice@HOUSE.example>\r\n",
	    "From: \"ceo@bank.example\" <alice@house.example>\r\n",
	    "From: =?utf-8?q?Al=C3=AFs?= <alice@house.example>\r\n",
	    "From: alice@house.example (who is at@home)\r\n",
	    "From: \"alice\"@house.example\r\n",
	    "From: \"al ice\"@house.example\r\n",
	    "From: alice+shop@house.example\r\n",
	    "From: alice@house.example, alice+x@house.example\r\n",
	    "From: us: alice@house.example, alice+x@house.example;\r\n",
	    "From: Alice\r\n <alice@house.example>\r\n",
	    "From: al\xc3\xafs@house.example\r\n",
	    "To: ceo@bank.example\r\nFrom: alice@house.example\r\nSender: alice+desk@house.example\r\n",
	    "From: alice@house.example\r\nResent-From: alice@house.example\r\nResent-To: x@y.example\r\n",
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (check(good[i]) != SUBMISSION_OK) {
			print_error("refused: %s", good[i]);
		}
		assert_int_equal(check(good[i]), SUBMISSION_OK);
	}
}

static void
test_an_address_of_somebody_else_is_refused_wherever_it_stands(void **state)
{
	(void)state;
	static const char *const foreign[] = {
	    "From: bob@house.example\r\n",
	    "From: alice@bank.example\r\n",
	    "From: alice@house.example, ceo@bank.example\r\n",
	    "From: ceo@bank.example, alice@house.example\r\n",
	    "From: us: alice@house.example, ceo@bank.example;\r\n",
	    "From: <alice@house.example> <ceo@bank.example>\r\n",
	    "From: alice <ceo@bank.example>\r\n",
	    "From: \"alice@house.example\" <ceo@bank.example>\r\n",
	    "From: (alice@house.example) ceo@bank.example\r\n",
	    "From: \"alice@house.example\"@bank.example\r\n",
	    "From: alice+shop@bank.example\r\n",
	    "From: bob+alice@house.example\r\n",
	};
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		if (check(foreign[i]) != SUBMISSION_FOREIGN_FROM) {
			print_error("not foreign: %s", foreign[i]);
		}
		assert_int_equal(check(foreign[i]), SUBMISSION_FOREIGN_FROM);
	}
}

static void
test_a_from_that_can_be_read_in_two_ways_is_refused(void **state)
{
	(void)state;
	static const char *const unclear[] = {
	    "From: ceo@bank.example <alice@house.example>\r\n",
	    "From: <@bank.example:alice@house.example>\r\n",
	    "From: alice\r\n",
	    "From: \r\n",
	    "From: us:;\r\n",
	    "From: Alice <>\r\n",
	    "From: alice@house.example \"open\r\n",
	    "From: alice@house.example (open\r\n",
	    "From: alice@house.example\x01\r\n",
	};
	for (size_t i = 0; i < sizeof(unclear) / sizeof(unclear[0]); i++) {
		if (check(unclear[i]) != SUBMISSION_UNCLEAR_FROM) {
			print_error("not unclear: %s", unclear[i]);
		}
		assert_int_equal(check(unclear[i]), SUBMISSION_UNCLEAR_FROM);
	}
}

static void
test_there_is_exactly_one_from(void **state)
{
	(void)state;
	assert_int_equal(check("To: bob@house.example\r\n"), SUBMISSION_NO_FROM);
	assert_int_equal(check("From: alice@house.example\r\nfrom: alice@house.example\r\n"),
			 SUBMISSION_MANY_FROM);
	assert_int_equal(check("From: alice@house.example\r\nFrom\t: ceo@bank.example\r\n"),
			 SUBMISSION_MANY_FROM);
	/* What stands behind a line that is no field is still looked at. */
	assert_int_equal(check("From: alice@house.example\r\nno field\r\nFrom: ceo@bank.example\r\n"),
			 SUBMISSION_MANY_FROM);
}

static void
test_sender_is_one_address_of_hers(void **state)
{
	(void)state;
	static const char from[] = "From: alice@house.example\r\n";
	static const struct {
		const char *fields;
		enum submission_verdict verdict;
	} cases[] = {
	    {"Sender: alice@house.example\r\n", SUBMISSION_OK},
	    {"Sender: bob@house.example\r\n", SUBMISSION_FOREIGN_SENDER},
	    {"Sender: alice@house.example, alice+x@house.example\r\n", SUBMISSION_BAD_SENDER},
	    {"Sender: alice@house.example\r\nSender: alice@house.example\r\n", SUBMISSION_BAD_SENDER},
	    {"Sender:\r\n", SUBMISSION_BAD_SENDER},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf header = BUF_INIT(4096);
		assert_int_equal(buf_append_str(&header, from), ERR_OK);
		assert_int_equal(buf_append_str(&header, cases[i].fields), ERR_OK);
		assert_int_equal(buf_append_byte(&header, 0), ERR_OK);
		assert_int_equal(check((const char *)header.ptr), cases[i].verdict);
		buf_clear(&header);
	}
}

static void
test_resent_fields_name_her_too(void **state)
{
	(void)state;
	assert_int_equal(check("From: alice@house.example\r\nResent-To: bob@house.example\r\n"),
			 SUBMISSION_BAD_RESENT);
	assert_int_equal(check("From: alice@house.example\r\nResent-From: bob@house.example\r\n"),
			 SUBMISSION_FOREIGN_RESENT);
	assert_int_equal(check("From: alice@house.example\r\nResent-From: alice@house.example\r\n"
			       "Resent-Sender: bob@house.example\r\n"),
			 SUBMISSION_FOREIGN_RESENT);
	assert_int_equal(check("From: alice@house.example\r\nResent-From: alice@house.example\r\n"
			       "Resent-From: bob@house.example\r\n"),
			 SUBMISSION_FOREIGN_RESENT);
	/* To resend another's letter is to write in his name, for whoever reads From. */
	assert_int_equal(check("From: ceo@bank.example\r\nResent-From: alice@house.example\r\n"),
			 SUBMISSION_FOREIGN_FROM);
}

static void
test_every_verdict_has_a_text_in_ascii(void **state)
{
	(void)state;
	for (int v = 0; v < SUBMISSION__COUNT; v++) {
		struct bytes text = bytes_str(submission_verdict_text((enum submission_verdict)v));
		assert_true(text.len > 0 && bytes_is_ascii(text));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_her_own_addresses_are_accepted),
	    cmocka_unit_test(test_an_address_of_somebody_else_is_refused_wherever_it_stands),
	    cmocka_unit_test(test_a_from_that_can_be_read_in_two_ways_is_refused),
	    cmocka_unit_test(test_there_is_exactly_one_from),
	    cmocka_unit_test(test_sender_is_one_address_of_hers),
	    cmocka_unit_test(test_resent_fields_name_her_too),
	    cmocka_unit_test(test_every_verdict_has_a_text_in_ascii),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
