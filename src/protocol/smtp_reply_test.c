/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/smtp_envelope.h"
#include "protocol/smtp_reply.h"

static enum err
parse(struct bytes in, size_t step, struct smtp_result *ret_result, bool *ret_complete)
{
	struct smtp_reply_parser p;
	enum err e = ERR_OK;
	smtp_reply_init(&p);
	while (in.len > 0 && e == ERR_OK && !p.complete) {
		size_t used = 0;
		e = smtp_reply_feed(&p, bytes_slice(in, 0, step), &used);
		in = bytes_from(in, used);
	}
	*ret_complete = p.complete;
	if (p.complete) {
		smtp_result_of(&p, ret_result);
	}
	smtp_reply_clear(&p);
	assert_null(p.text.ptr);
	return e;
}

static void
results_carry_code_status_and_clean_text(void **state)
{
	(void)state;
	static const struct {
		const char *reply;
		unsigned code;
		const char *status;
		const char *text;
	} cases[] = {
	    {"250 2.1.5 Ok\r\n", 250, "2.1.5", "Ok"},
	    {"550\r\n", 550, "5.0.0", ""},
	    {"550 4.1.1 odd\r\n", 550, "5.0.0", "4.1.1 odd"},
	    {"550 5.1.1234 x\r\n", 550, "5.0.0", "5.1.1234 x"},
	    {"450-4.7.1 one\r\n450-4.7.1 two\r\n450 three\r\n", 450, "4.7.1", "one two three"},
	    {"550 5.1.1 \x1b[2J\xff\r\n", 550, "5.1.1", "?[2J?"},
	    {"554 5.7.26\r\n", 554, "5.7.26", ""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 50; step += 7) {
			struct smtp_result r;
			bool complete = false;
			assert_int_equal(parse(bytes_str(cases[i].reply), step, &r, &complete), ERR_OK);
			assert_true(complete);
			assert_int_equal(r.code, cases[i].code);
			assert_string_equal(r.status, cases[i].status);
			assert_string_equal(r.text, cases[i].text);
		}
	}
}

static void
what_is_no_reply_is_refused(void **state)
{
	(void)state;
	static const char *const cases[] = {
	    "25\r\n",  "250x\r\n",    "150 x\r\n", "650 x\r\n",          "2a0 x\r\n",
	    "250 x\n", "250 x\r\r\n", "\r\n",      "250-a\r\n550 b\r\n", "250-a\r\nb\r\n"};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_result r;
		bool complete = false;
		assert_int_equal(parse(bytes_str(cases[i]), 3, &r, &complete), ERR_FORMAT);
		assert_false(complete);
	}
}

static void
endless_replies_are_refused(void **state)
{
	(void)state;
	struct buf in = BUF_INIT(1 << 20);
	struct smtp_result r;
	bool complete = false;
	for (int i = 0; i < 101; i++) {
		assert_int_equal(buf_append_str(&in, "250-x\r\n"), ERR_OK);
	}
	assert_int_equal(parse(buf_bytes(&in), 1000, &r, &complete), ERR_LIMIT);
	buf_reset(&in);
	assert_int_equal(buf_append_str(&in, "250 "), ERR_OK);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(buf_append_str(&in, "x"), ERR_OK);
	}
	assert_int_equal(parse(buf_bytes(&in), 1000, &r, &complete), ERR_LIMIT);
	/* Long, but within the limits: the text is cut, the reply stands. */
	buf_truncate(&in, 4000);
	assert_int_equal(buf_append_str(&in, "\r\n"), ERR_OK);
	assert_int_equal(parse(buf_bytes(&in), 1000, &r, &complete), ERR_OK);
	assert_int_equal(strlen(r.text), SMTP_RESULT_TEXT_MAX);
	buf_clear(&in);
}

static void
xtext_comes_back_as_it_was(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(4096);
	struct buf plain = BUF_INIT(4096);
	uint8_t all[256];
	for (size_t i = 0; i < 256; i++) {
		all[i] = (uint8_t)i;
	}
	assert_int_equal(smtp_xtext_encode(bytes_of(all, 256), &text), ERR_OK);
	assert_int_equal(smtp_xtext_decode(buf_bytes(&text), &plain), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&plain), bytes_of(all, 256)));
	static const char *const bad[] = {"+", "+2", "+2b", "a=b", "a b", "+G0", "\xc3\xa4"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_reset(&plain);
		assert_int_equal(smtp_xtext_decode(bytes_str(bad[i]), &plain), ERR_FORMAT);
		assert_int_equal(plain.len, 0);
	}
	buf_clear(&text);
	buf_clear(&plain);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(results_carry_code_status_and_clean_text),
	    cmocka_unit_test(what_is_no_reply_is_refused),
	    cmocka_unit_test(endless_replies_are_refused),
	    cmocka_unit_test(xtext_comes_back_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
