/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/rspamd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sealed/judgement.h"

static void
its_scale_becomes_ours(void **state)
{
	static const struct {
		const char *json;
		uint32_t tenths;
	} table[] = {
	    {"{\"score\":0.0,\"required_score\":15.0,\"action\":\"no action\"}", 0},
	    {"{\"score\":-3.25,\"required_score\":15,\"action\":\"no action\"}", 0},
	    {" { \"action\" : \"greylist\" , \"required_score\" : 15.0 , \"score\" : 4.5 } ", 24},
	    {"{\"score\":6.5,\"required_score\":15,\"action\":\"add header\"}", 50},
	    {"{\"score\":12,\"required_score\":15,\"action\":\"rewrite subject\"}", 64},
	    {"{\"score\":15,\"required_score\":15,\"action\":\"reject\"}", 80},
	    {"{\"score\":1,\"required_score\":15,\"action\":\"reject\"}", 80},
	    {"{\"score\":99999999,\"required_score\":1,\"action\":\"reject\"}", JUDGEMENT_SCORE_MAX},
	    {"{\"score\":5,\"required_score\":null,\"action\":\"add header\"}", 50},
	    /* Only what stands at the top counts, and what is in a string does not. */
	    {"{\"s\":\"\\\"score\\\":99,{\",\"score\":1.5,\"required_score\":15.0,\"action\":\"no action\","
	     "\"symbols\":{\"X\":{\"score\":90.0,\"action\":\"reject\"}},\"list\":[\"action\",\"reject\"]}",
	     8},
	    /* Nor does it matter in which charset somebody's words are. */
	    {"{\"score\":15,\"action\":\"reject\",\"message-id\":\"\xff\xc3\"}", 80},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t tenths = 9999;
		assert_int_equal(rspamd_read(bytes_str(table[i].json), &tenths), ERR_OK);
		assert_int_equal(tenths, table[i].tenths);
	}
}

static void
what_is_no_answer_is_refused(void **state)
{
	static const char *const table[] = {
	    "",
	    "[]",
	    "{}",
	    "12",
	    "{\"score\":1.0,\"required_score\":15.0,\"action\":\"no action\"",
	    "{\"score\":\"1\",\"required_score\":15.0,\"action\":\"no action\"}",
	    "{\"required_score\":15.0,\"action\":\"no action\"}",
	    "{\"score\":1.0,\"required_score\":15.0}",
	    "{\"score\":1.0,\"action\":reject}",
	    "{\"score\":1.0,\"action\":\"rej",
	    "{\"score\":1.0,\"action\":\"no action\"},",
	    "[{\"score\":1.0,\"action\":\"no action\"}]",
	    "{\"score\":11111111111111111111111111111111111111111111,\"action\":\"no action\"}",
	};
	uint32_t tenths = 7;
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(rspamd_read(bytes_str(table[i]), &tenths), ERR_FORMAT);
	}
	assert_int_equal(tenths, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(its_scale_becomes_ours),
	    cmocka_unit_test(what_is_no_answer_is_refused),
	};
	return cmocka_run_group_tests_name("rspamd's answer", tests, NULL, NULL);
}
