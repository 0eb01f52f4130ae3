/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/imap_fold_case.h"
#include "protocol/imap_search_html.h"

static void
folds_to(const char *text, const char *folded)
{
	struct buf out = BUF_INIT(1000);
	assert_int_equal(imap_fold_case(bytes_str(text), &out), ERR_OK);
	if (!bytes_is(buf_bytes(&out), folded)) {
		print_message("%s gives %.*s\n", text, (int)out.len, (const char *)out.ptr);
		fail();
	}
	buf_clear(&out);
}

static void
letters_lose_their_case_in_all_scripts(void **state)
{
	(void)state;
	folds_to("ABC xyz 09", "abc xyz 09");
	folds_to("\u00de\u00d7\u0141", "\u00fe\u00d7\u0142"); /* the multiplication sign stays */
	folds_to("\u0391\u03a9\u03c2", "\u03b1\u03c9\u03c3");
	folds_to("\u0416\u042f", "\u0436\u044f");
	folds_to("STRASSE", "strasse");
	folds_to("Stra\u00dfe \u1e9e", "strasse ss");
	folds_to("\U00010400", "\U00010428");     /* Deseret: beyond the first plane */
	folds_to("\u13a0\uab70", "\u13a0\u13a0"); /* Cherokee folds upwards */
	folds_to("\U0001f600", "\U0001f600");
}

static void
however_a_letter_is_composed_it_is_the_same(void **state)
{
	(void)state;
	folds_to("\u00c9", "e\u0301");
	folds_to("E\u0301", "e\u0301");
	folds_to("\u212b \u00c5", "a\u030a a\u030a");
	folds_to("\u1ec7", "e\u0323\u0302");
	folds_to("e\u0302\u0323", "e\u0323\u0302"); /* canonical order */
	folds_to("\u00ea\u0323", "e\u0323\u0302");
	folds_to("\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af");
	folds_to("\uff21\uff22\uff43\uff11", "abc1");
	folds_to("\ufb01x\u00bd", "fix1\u20442");
	folds_to("\uff76\uff9e", "\u30ab\u3099"); /* half-width ga */
	folds_to("\u30ac", "\u30ab\u3099");
}

static void
blanks_are_one_and_invisible_characters_none(void **state)
{
	(void)state;
	folds_to("a \t\r\n b", "a b");
	folds_to("a\u00a0\u3000 b", "a b");
	folds_to("a \u2003", "a ");
	folds_to("Donau\u00addampf\u200bschiff\ufeff", "donaudampfschiff");
	folds_to("\u2764\ufe0f", "\u2764");
	struct buf out = BUF_INIT(100);
	assert_int_equal(imap_fold_case(BYTES_LIT("a "), &out), ERR_OK);
	assert_int_equal(imap_fold_case(BYTES_LIT(" b"), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "a b"));
	buf_clear(&out);
}

static void
plain_text_is_folded_the_same_without_memory(void **state)
{
	static const char letters[] = "aZ \t\r\n=?_\x01~";
	uint32_t random = 1;
	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t octets[24];
		uint8_t room[sizeof(octets)];
		size_t len = 0;
		size_t n = round % sizeof(octets);
		bool word = false;
		for (size_t i = 0; i < n; i++) {
			random = random * 1664525 + 1013904223;
			octets[i] = (uint8_t)letters[(random >> 16) % (sizeof(letters) - 1)];
			word = word || (i > 0 && octets[i - 1] == '=' && octets[i] == '?');
		}
		struct bytes text = bytes_of(octets, n);
		struct buf out = BUF_INIT(200);
		assert_int_equal(imap_fold_plain(text, room, &len), !word);
		if (!word) {
			assert_int_equal(imap_fold_case(text, &out), ERR_OK);
			assert_true(bytes_equal(buf_bytes(&out), bytes_of(room, len)));
		}
		buf_clear(&out);
	}
	size_t len = 0;
	uint8_t room[8];
	assert_false(imap_fold_plain(BYTES_LIT("caf\xc3\xa9"), room, &len));
	assert_true(imap_fold_plain(BYTES_LIT(" A  b="), room, &len));
	assert_int_equal(len, 5);
	assert_memory_equal(room, " a b=", 5);
}

static void
wrong_octets_stay_and_limits_hold(void **state)
{
	(void)state;
	folds_to("\xff\xc3", "\xff\xc3");
	folds_to("A\xc3", "a\xc3");
	folds_to("\xe2\x82", "\xe2\x82");
	folds_to("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80", "\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80");
	struct buf out = BUF_INIT(5);
	assert_int_equal(imap_fold_case(BYTES_LIT("ABCDEFG"), &out), ERR_LIMIT);
	assert_true(bytes_is(buf_bytes(&out), "abcde"));
	buf_clear(&out);
	/* More marks than are sorted, and one of 18 characters. */
	struct buf many = BUF_INIT(10000);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(buf_append_str(&many, i % 2 == 0 ? "\u0301" : "\u0323"), ERR_OK);
	}
	struct buf folded = BUF_INIT(10000);
	assert_int_equal(imap_fold_case(buf_bytes(&many), &folded), ERR_OK);
	assert_int_equal(folded.len, many.len);
	buf_reset(&folded);
	assert_int_equal(imap_fold_case(BYTES_LIT("\ufdfa"), &folded), ERR_OK);
	assert_int_equal(folded.len, 33);
	buf_clear(&folded);
	buf_clear(&many);
}

static void
reads_as(const char *html, const char *text)
{
	struct buf out = BUF_INIT(2000);
	assert_int_equal(imap_search_html(bytes_str(html), &out), ERR_OK);
	if (!bytes_is(buf_bytes(&out), text)) {
		print_message("%s gives %.*s\n", html, (int)out.len, (const char *)out.ptr);
		fail();
	}
	buf_clear(&out);
}

static void
html_is_searched_as_it_is_read(void **state)
{
	(void)state;
	reads_as("wo<b>r</b>d", "word");
	reads_as("<p>one</p><p>two", "\none\n\ntwo");
	reads_as("<td>a<td>b", "\na\nb");
	reads_as("a<br>b", "a\nb");
	reads_as("caf&eacute; &amp; t&#233;&#xE9; &euro; &yuml;&AElig;",
		 "caf\u00e9 & t\u00e9\u00e9 \u20ac \u00ff\u00c6");
	reads_as("&unknown; & &#; &#x; &#0;&#x110000;", "&unknown; & &#; &#x; ");
	reads_as("a<!-- secret > <b> -->b", "ab");
	reads_as("a<!-- open", "a");
	reads_as("<!DOCTYPE html><?x?>a", "a");
	reads_as("a<STYLE>p { x: '<' }</style>b", "a\n\nb");
	reads_as("a<script>if (a < b) '</scrip'</SCRIPT >b", "a\n\nb");
	reads_as("a<script>never ends", "a\n");
	reads_as("3 < 4 <5", "3 < 4 <5");
	reads_as("<a href='http://x.test/?a=1&amp;b=2' class=q>site</a>", "site\nhttp://x.test/?a=1&b=2\n");
	reads_as("<img src=x alt=\"a > b\"/>", "\n\na > b\n");
	reads_as("<a title=", "");
	reads_as("<a title=\"x", "");
	reads_as("<", "<");
	reads_as("</", "\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(letters_lose_their_case_in_all_scripts),
	    cmocka_unit_test(however_a_letter_is_composed_it_is_the_same),
	    cmocka_unit_test(blanks_are_one_and_invisible_characters_none),
	    cmocka_unit_test(plain_text_is_folded_the_same_without_memory),
	    cmocka_unit_test(wrong_octets_stay_and_limits_hold),
	    cmocka_unit_test(html_is_searched_as_it_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
