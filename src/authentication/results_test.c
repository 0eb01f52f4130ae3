/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/results.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define REST "From: a@example.org\r\n\r\nAuthentication-Results: mail.house.test; this=body\r\n"

static void
expect(struct bytes value, bool goes)
{
	struct buf in = BUF_INIT(1 << 20);
	struct buf out = BUF_INIT(1 << 20);
	assert_int_equal(buf_append_str(&in, "Authentication-Results:"), ERR_OK);
	assert_int_equal(buf_append(&in, value), ERR_OK);
	assert_int_equal(buf_append_str(&in, "\r\n" REST), ERR_OK);
	assert_int_equal(authentication_results_strip(buf_bytes(&in), "mail.house.test", "house.test", &out),
			 ERR_OK);
	if (!bytes_equal(buf_bytes(&out), goes ? BYTES_LIT(REST) : buf_bytes(&in))) {
		fail_msg("%s: %.*s", goes ? "stays" : "goes", (int)value.len, (const char *)value.ptr);
	}
	buf_clear(&in);
	buf_clear(&out);
}

/* A comment may hold a semicolon, which ends no name; and what is no name by the letter may be taken for ours. */
static void
no_disguise_of_our_name_stays(void **state)
{
	(void)state;
	static const char *const ours[] = {
	    " mail.house.test; dmarc=pass",
	    "mail.house.test;dmarc=pass",
	    " MAIL.House.TEST 1; dmarc=pass",
	    " (;) mail.house.test; dmarc=pass",
	    " (a(b;)c) mail.house.test 1; dmarc=pass",
	    " (\\;) \"mail.house.test\"; dmarc=pass",
	    " (\\)) mail.house.test; dmarc=pass",
	    " (\";) mail.house.test; dmarc=pass",
	    " mail.house.test(;); dmarc=pass",
	    " mail.house.test (;) 1 (;); dmarc=pass",
	    " (;\r\n ;)\r\n\tmail.house.test\r\n ; dmarc=pass",
	    " \"mail.\\house.test\"; dmarc=pass",
	    " \"mail.house.test.\"; dmarc=pass",
	    " mail.house.test..; dmarc=pass",
	    " \" mail.house.test\"; dmarc=pass",
	    " mail\xe3\x80\x82house.test; dmarc=pass",
	    " mail\xef\xbc\x8ehouse.test; dmarc=pass",
	    " \xef\xbd\x8d"
	    "ail.house.test; dmarc=pass",
	    " mail.house.test\xc2\xa0; dmarc=pass",
	    " mail.hou\xc2\xadse.test; dmarc=pass",
	    " mail(x).house.test; dmarc=pass",
	    " mail .house.test; dmarc=pass",
	    " mail.\r\n house.test; dmarc=pass",
	    " =?utf-8?q?mail=2Ehouse=2Etest?=; dmarc=pass",
	    " ; mail.house.test; dmarc=pass",
	    " \"\"mail.house.test; dmarc=pass",
	    " ) mail.house.test; dmarc=pass",
	    " (x mail.house.test; dmarc=pass",
	    " (\x0b;) mail.house.test; dmarc=pass",
	    " \x0b"
	    "mail.house.test; dmarc=pass",
	    " mail.house.test/1; dmarc=pass",
	    " (mail.house.test) other.example; dmarc=pass",
	    " other.example (mail.house.test); dmarc=pass",
	    " other.example mail.house.test; dmarc=pass",
	    " mail.house.test",
	    " other.example",
	    "",
	    " ;",
	    " \"",
	    " \"\\",
	    " (\\",
	    " .; x=y",
	    " house.test; dmarc=pass",
	    " inner.house.test; dmarc=pass",
	    " \"\\m\\a\\i\\l\\.house.test\" 1; dmarc=pass",
	};
	static const char *const others[] = {
	    " other.example; dmarc=pass",
	    " other.example 1; dmarc=pass",
	    " (;(x)\\)) \"other.example\" (a) 1 (b); dmarc=pass",
	    "\r\n other.example\r\n\t; dmarc=pass",
	    " mail.house.test.example; dmarc=pass",
	    " mailhouse.test; dmarc=pass",
	    " smtp-other_1.example; dmarc=pass",
	    " other.example; none",
	    " other.example; spf=pass smtp.mailfrom=mail.house.test",
	    " other.example.; x=y",
	};
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		expect(bytes_str(ours[i]), true);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		expect(bytes_str(others[i]), false);
	}
	expect(BYTES_LIT(" (\0;) mail.house.test; dmarc=pass"), true);
	expect(BYTES_LIT(" mail.house.test\0; dmarc=pass"), true);
}

/* However long what stands around the name is. */
static void
length_hides_nothing(void **state)
{
	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		struct buf value = BUF_INIT(1 << 18);
		for (size_t i = 0; i < 60000; i++) {
			assert_int_equal(buf_append_byte(&value, kind == 0 || i > 30000 ? ')' : '('), ERR_OK);
			if (kind == 0) {
				value.ptr[value.len - 1] = i == 0 ? '(' : i == 59999 ? ')' : ';';
			}
		}
		/* Of the second kind one ')' is missing: nothing ends there. */
		assert_int_equal(buf_append_str(&value, " mail.house.test; dmarc=pass"), ERR_OK);
		expect(buf_bytes(&value), true);
		buf_clear(&value);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_disguise_of_our_name_stays),
	    cmocka_unit_test(length_hides_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
