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
labels_mean_what_mail_means_by_them(void **state)
{
	static const struct {
		const char *labels[8];
		const char *octets, *text;
	} rows[] = {
	    {{"cp1251", "X-CP1251", "windows-1251", "csWindows1251"}, "\xcf\xf0", "\xd0\x9f\xd1\x80"},
	    {{"cp1250", "x-cp1250"}, "\xb9", "\xc4\x85"},
	    {{"cp1252", "ISO_8859-1:1987", "latin1", "csISOLatin1", "CP819", "unknown-8bit"},
	     "\x80",
	     "\xe2\x82\xac"},
	    {{"latin2", "ISO8859-2", "csISOLatin2", "iso-ir-101"}, "\xb1", "\xc4\x85"},
	    {{"csISOLatin9", "l9", "iso8859-15"}, "\xa4", "\xe2\x82\xac"},
	    {{"windows-31j", "csWindows31J", "ms_kanji", "cp932", "x-sjis", "Shift_JIS"},
	     "\x87\x40",
	     "\xe2\x91\xa0"},
	    {{"iso-8859-11", "windows-874", "dos-874", "TIS-620"}, "\xa4", "\xe0\xb8\x84"},
	    {{"ibm850", "cp850", "850", "csPC850Multilingual"}, "\x82", "\xc3\xa9"},
	    {{"ibm437", "cp437"}, "\xe1", "\xc3\x9f"},
	    {{"ibm866", "cp866", "csIBM866"}, "\x80", "\xd0\x90"},
	    {{"x-mac-cyrillic", "x-mac-ukrainian"}, "\x80", "\xd0\x90"},
	    {{"x-mac-roman", "macintosh", "csMacintosh"}, "\x8e", "\xc3\xa9"},
	    {{"unicode-1-1-utf-7", "utf-7"}, "+AOk-", "\xc3\xa9"},
	    {{"johab"}, "\x88\x61", "\xea\xb0\x80"},
	    {{"ks_c_5601-1987", "csKSC56011987", "windows-949", "euc-kr"}, "\xb0\xa1", "\xea\xb0\x80"},
	    {{"gb2312", "csGB2312", "chinese", "cp936", "gb18030"}, "\xc4\xe3", "\xe4\xbd\xa0"},
	    {{"big5", "csBig5", "cp950"}, "\xa7\x41", "\xe4\xbd\xa0"},
	    {{"koi8-r", "csKOI8R", "koi8-ru"}, "\xf0", "\xd0\x9f"},
	    {{"hz-gb-2312"},
	     "a~~~{Dc~}~\nb~{Dc\nDc",
	     "a~\xe4\xbd\xa0"
	     "b\xe4\xbd\xa0\nDc"},
	};
	(void)state;
	for (int preloaded = 0; preloaded < 2; preloaded++) {
		if (preloaded != 0) {
			mail_charset_preload();
		}
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			for (size_t k = 0; k < 8 && rows[i].labels[k] != NULL; k++) {
				struct buf out = BUF_INIT(100);
				if (mail_charset_to_utf8(bytes_str(rows[i].labels[k]),
							 bytes_str(rows[i].octets), &out) != ERR_OK ||
				    !bytes_is(buf_bytes(&out), rows[i].text)) {
					fail_msg("%s", rows[i].labels[k]);
				}
				assert_false(mail_charset_is_wide(bytes_str(rows[i].labels[k])));
				buf_clear(&out);
			}
		}
	}
	mail_charset_unload();
	assert_true(mail_charset_is_wide(BYTES_LIT("UTF-16")));
	assert_true(mail_charset_is_wide(BYTES_LIT("csUTF32")));
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
	    cmocka_unit_test(labels_mean_what_mail_means_by_them),
	    cmocka_unit_test(wrong_octets_become_replacement_characters),
	    cmocka_unit_test(unknown_charsets_and_options_are_refused),
	    cmocka_unit_test(preloaded_converters_need_no_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
