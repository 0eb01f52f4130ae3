/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sealed/judgement.h"

#define FROM "From: Ann Example <ann@example.com>\r\n"
#define REST "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello.\r\n"

static struct client_verdict client;
static struct authentication_results results;
static struct score_input in;

static int
honest(void **state)
{
	(void)state;
	memset(&client, 0, sizeof(client));
	memset(&results, 0, sizeof(results));
	client.reverse = CLIENT_REVERSE_CONFIRMED;
	results.spf.result = AUTHENTICATION_PASS;
	in = (struct score_input){.message = BYTES_LIT(FROM REST),
				  .client = &client,
				  .results = &results,
				  .recipients = 1,
				  .sender = BYTES_LIT("ann@example.com")};
	return 0;
}

static uint32_t
with_from(const char *from)
{
	char text[1024];
	(void)snprintf(text, sizeof(text), "From: %s\r\n%s", from, REST);
	in.message = bytes_str(text);
	uint32_t s = score_message(&in);
	in.message = BYTES_LIT(FROM REST);
	return s;
}

static void
an_ordinary_message_costs_nothing(void **state)
{
	(void)state;
	assert_int_equal(score_message(&in), 0);
	client.reverse = CLIENT_REVERSE_UNKNOWN;
	results.spf.result = AUTHENTICATION_TEMPERROR;
	results.dmarc.result = AUTHENTICATION_TEMPERROR;
	assert_int_equal(score_message(&in), 0); /* nothing is held against anybody for a DNS that is down */
}

static void
what_the_host_shows_counts(void **state)
{
	static const struct {
		enum client_reverse reverse;
		enum client_hello hello;
		unsigned lists;
		enum score_rule rule;
	} table[] = {
	    {CLIENT_REVERSE_NONE, CLIENT_HELLO_NAME, 0, SCORE_REVERSE_NONE},
	    {CLIENT_REVERSE_OTHER, CLIENT_HELLO_NAME, 0, SCORE_REVERSE_OTHER},
	    {CLIENT_REVERSE_CONFIRMED, CLIENT_HELLO_OURS, 0, SCORE_HELLO_OURS},
	    {CLIENT_REVERSE_CONFIRMED, CLIENT_HELLO_NUMERIC, 0, SCORE_HELLO_NUMERIC},
	    {CLIENT_REVERSE_CONFIRMED, CLIENT_HELLO_LITERAL, 0, SCORE_HELLO_LITERAL},
	    {CLIENT_REVERSE_CONFIRMED, CLIENT_HELLO_SHORT, 0, SCORE_HELLO_SHORT},
	    {CLIENT_REVERSE_CONFIRMED, CLIENT_HELLO_LOST, 0, SCORE_HELLO_LOST},
	    {CLIENT_REVERSE_CONFIRMED, CLIENT_HELLO_NAME, 1, SCORE_LISTED},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		client = (struct client_verdict){
		    .reverse = table[i].reverse, .hello = table[i].hello, .lists = table[i].lists};
		assert_int_equal(score_message(&in), score_weight(table[i].rule));
		assert_true(score_weight(table[i].rule) > 0);
	}
}

static void
who_vouches_counts(void **state)
{
	(void)state;
	uint32_t nobody = score_weight(SCORE_NOBODY_VOUCHES);
	results.spf.result = AUTHENTICATION_NONE;
	assert_int_equal(score_message(&in), nobody);
	results.spf.result = AUTHENTICATION_SOFTFAIL;
	assert_int_equal(score_message(&in), nobody + score_weight(SCORE_SPF_SOFTFAIL));
	results.spf.result = AUTHENTICATION_FAIL;
	assert_int_equal(score_message(&in), nobody + score_weight(SCORE_SPF_FAIL));
	results.dmarc = (struct dmarc_verdict){.result = AUTHENTICATION_FAIL, .policy = DMARC_MONITOR};
	assert_int_equal(score_message(&in),
			 nobody + score_weight(SCORE_SPF_FAIL) + score_weight(SCORE_DMARC_FAIL));
	/* Forwarded: the address does not fit, the signature does. */
	results.dmarc.result = AUTHENTICATION_PASS;
	results.dkim.count = 1;
	results.dkim.list[0].result = AUTHENTICATION_PASS;
	assert_int_equal(score_message(&in), 0);
	/* A list that is trusted changed it. */
	results.dkim.list[0].result = AUTHENTICATION_FAIL;
	results.dmarc.result = AUTHENTICATION_FAIL;
	in.vouched = true;
	assert_int_equal(score_message(&in), 0);
}

static void
the_header_counts(void **state)
{
	(void)state;
	in.message = BYTES_LIT(FROM "Message-ID: <1@example.com>\r\n\r\n");
	assert_int_equal(score_message(&in), score_weight(SCORE_NO_DATE));
	in.message = BYTES_LIT(FROM "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\n");
	assert_int_equal(score_message(&in), score_weight(SCORE_NO_MESSAGE_ID));
	in.message = BYTES_LIT(REST);
	assert_int_equal(score_message(&in), score_weight(SCORE_NO_FROM));
}

static void
a_name_that_is_another_address_counts(void **state)
{
	uint32_t w = score_weight(SCORE_NAME_IS_ADDRESS);
	(void)state;
	assert_int_equal(with_from("\"help@bank.example\" <eve@evil.example>"), w);
	assert_int_equal(with_from("help@bank.example <eve@evil.example>"), w);
	assert_int_equal(with_from("\"Bank (help@bank.co.uk)\" <eve@evil.co.uk>"), w);
	assert_int_equal(with_from("=?utf-8?B?aGVscEBiYW5rLmV4YW1wbGU=?= <eve@evil.example>"), w);
	assert_int_equal(with_from("Ann <a@example.com>, \"help@bank.example\" <eve@evil.example>"), w);
	assert_int_equal(with_from("\"ann@example.com\" <ann@example.com>"), 0);
	assert_int_equal(with_from("\"ann@example.com\" <ann@MAIL.example.com>"), 0);
	assert_int_equal(with_from("\"Ann @ Work\" <ann@example.com>"), 0);
	assert_int_equal(with_from("\"meet@noon\" <ann@example.com>"), 0);
	assert_int_equal(with_from("\"@twitter.example\" <ann@example.com>"), 0);
	assert_int_equal(with_from("ann@example.com"), 0);
}

static void
many_recipients_count_but_for_lists(void **state)
{
	(void)state;
	in.recipients = 19;
	assert_int_equal(score_message(&in), 0);
	in.recipients = 20;
	assert_int_equal(score_message(&in), score_weight(SCORE_MANY));
	in.message = BYTES_LIT("List-Id: <choir.example.com>\r\n" FROM REST);
	assert_int_equal(score_message(&in), 0);
	in.recipients = 2;
	in.sender = BYTES_EMPTY;
	assert_int_equal(score_message(&in), score_weight(SCORE_BOUNCE_TO_MANY));
}

/* The promise that the weights are chosen for. */
static void
an_honest_small_house_stays_below_the_line(void **state)
{
	(void)state;
	client.reverse = CLIENT_REVERSE_NONE;
	client.hello = CLIENT_HELLO_SHORT;
	results.spf.result = AUTHENTICATION_NONE;
	in.message = BYTES_LIT(FROM "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\n");
	assert_true(score_message(&in) < 50);
	(void)honest(NULL);
	client.reverse = CLIENT_REVERSE_OTHER;
	results.spf.result = AUTHENTICATION_FAIL;
	results.dmarc = (struct dmarc_verdict){.result = AUTHENTICATION_FAIL, .policy = DMARC_MONITOR};
	assert_true(score_message(&in) < 50);
	/* One list alone condemns nobody. */
	(void)honest(NULL);
	client.lists = 1;
	assert_true(score_message(&in) < 50);
}

static void
it_has_an_end(void **state)
{
	(void)state;
	client.lists = 1000;
	assert_int_equal(score_message(&in), JUDGEMENT_SCORE_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(an_ordinary_message_costs_nothing, honest),
	    cmocka_unit_test_setup(what_the_host_shows_counts, honest),
	    cmocka_unit_test_setup(who_vouches_counts, honest),
	    cmocka_unit_test_setup(the_header_counts, honest),
	    cmocka_unit_test_setup(a_name_that_is_another_address_counts, honest),
	    cmocka_unit_test_setup(many_recipients_count_but_for_lists, honest),
	    cmocka_unit_test_setup(an_honest_small_house_stays_below_the_line, honest),
	    cmocka_unit_test_setup(it_has_an_end, honest),
	};
	if (dmarc_prepare() != ERR_OK) {
		return 1;
	}
	return cmocka_run_group_tests_name("the score", tests, NULL, NULL);
}
