/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/charset.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
word_is(const char *text, const char *want)
{
	struct buf out = BUF_INIT(1000);
	assert_int_equal(mail_words_decode(bytes_str(text), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), want));
	buf_clear(&out);
}

static void
encoded_words_become_utf8(void **state)
{
	(void)state;
	word_is("plain", "plain");
	word_is("=?ISO-8859-1?Q?a?= b", "a b");
	word_is("=?ISO-8859-1?Q?a?=\r\n  =?ISO-8859-1?Q?b_c?=", "ab c");
	word_is("=?utf-8?b?w6k=?=", "\xc3\xa9");
	word_is("=?utf-8*en?q?=C3=A9?=", "\xc3\xa9");
	/* a character split between two words */
	word_is("=?utf-8?q?=C3?= =?UTF-8?q?=A9?=", "\xc3\xa9");
	word_is("=?koi8-r?b?8NLJ18XU?=", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82");
	word_is("=?nonsense?q?a?= x", "=?nonsense?q?a?= x");
	word_is("=?utf-8?q?open", "=?utf-8?q?open");
	word_is("caf\xe9", "caf\xc3\xa9");
	word_is("caf\xc3\xa9", "caf\xc3\xa9");
}

static void
wrong_octets_become_replacement_characters(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1000);
	assert_int_equal(mail_charset_to_utf8(BYTES_LIT("utf-8"),
					      BYTES_LIT("a\xff"
							"b"),
					      &out),
			 ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "a\xef\xbf\xbd"
					      "b"));
	buf_reset(&out);
	assert_int_equal(mail_charset_to_utf8(BYTES_LIT("us-ascii"), BYTES_LIT("\xe9"), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "\xef\xbf\xbd"));
	buf_reset(&out);
	assert_int_equal(mail_charset_to_utf8(BYTES_LIT("gb2312"), BYTES_LIT("\xc4\xe3\xff"), &out), ERR_OK);
	assert_true(bytes_starts_with(buf_bytes(&out), "\xe4\xbd\xa0"));
	assert_true(bytes_is_utf8(buf_bytes(&out)));
	buf_clear(&out);
}

static void
unknown_charsets_and_options_are_refused(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1000);
	assert_false(mail_charset_known(BYTES_LIT("x-none")));
	assert_false(mail_charset_known(BYTES_LIT("koi8-r//TRANSLIT")));
	assert_false(mail_charset_known(BYTES_LIT("")));
	assert_true(mail_charset_known(BYTES_LIT("KOI8-R")));
	assert_int_equal(mail_charset_to_utf8(BYTES_LIT("x-none"), BYTES_LIT("a"), &out), ERR_UNSUPPORTED);
	assert_int_equal(out.len, 0);
}

static void
preloaded_converters_need_no_files(void **state)
{
	(void)state;
	mail_charset_preload();
	assert_true(mail_charset_known(BYTES_LIT("iso-2022-jp")));
	assert_true(mail_charset_known(BYTES_LIT("big5")));
	/* Known to iconv, but not among the preloaded: it is not asked any more. */
	assert_false(mail_charset_known(BYTES_LIT("ebcdic-us")));
	word_is("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac");
	mail_charset_unload();
	assert_true(mail_charset_known(BYTES_LIT("ebcdic-us")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(encoded_words_become_utf8),
	    cmocka_unit_test(wrong_octets_become_replacement_characters),
	    cmocka_unit_test(unknown_charsets_and_options_are_refused),
	    cmocka_unit_test(preloaded_converters_need_no_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
