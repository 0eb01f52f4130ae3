/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_nfc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
text_is_brought_into_form_c(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
	    {"", ""},
	    {"plain", "plain"},
	    {"e\xcc\x81t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
	    {"\xe2\x84\xab", "\xc3\x85"},                             /* the sign of Angstrom */
	    {"\xe2\x84\xaa", "K"},                                    /* that of Kelvin */
	    {"s\xcc\x87\xcc\xa3", "\xe1\xb9\xa9"},                    /* marks in either order */
	    {"s\xcc\xa3\xcc\x87", "\xe1\xb9\xa9"},                    /* s, dot below, dot above */
	    {"\xe1\xb8\x9b\xcc\xa3", "\xe1\xb8\x9b\xcc\xa3"},         /* f with a dot cannot have one below */
	    {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"}, /* Hangul */
	    {"\xed\x95\x98\xe1\x86\xab", "\xed\x95\x9c"},
	    {"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"}, /* excluded from composition */
	    {"\xef\xac\x81", "\xef\xac\x81"},             /* a ligature: compatibility is left alone */
	    {"a\xcc\x81\xcc\x81", "\xc3\xa1\xcc\x81"},
	    {"\xcc\x81"
	     "a",
	     "\xcc\x81"
	     "a"},
	    {"\xe1\xbe\x82", "\xe1\xbe\x82"}, /* made of four */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = BUF_INIT(100);
		assert_int_equal(imap_nfc(bytes_str(rows[i][0]), &out), ERR_OK);
		assert_true(bytes_is(buf_bytes(&out), rows[i][1]));
		buf_clear(&out);
	}
}

static size_t
utf8_of(uint32_t c, uint8_t o[static 4])
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n; i-- > 1; c >>= 6) {
		o[i] = (uint8_t)(0x80 | (c & 0x3f));
	}
	o[0] = (uint8_t)(lead[n] | c);
	return n;
}

static void
add_to_sum(uint64_t *sum, const uint8_t *text, size_t len)
{
	struct buf out = BUF_INIT(64);
	struct buf again = BUF_INIT(64);
	assert_int_equal(imap_nfc(bytes_of(text, len), &out), ERR_OK);
	assert_int_equal(imap_nfc(buf_bytes(&out), &again), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&again)));
	for (size_t i = 0; i < out.len; i++) {
		*sum = (*sum ^ out.ptr[i]) * 0x100000001b3U;
	}
	buf_clear(&out);
	buf_clear(&again);
}

/* Each character that has a decomposition, alone and before a cedilla, an acute and a Hangul vowel, against Python's unicodedata (14.0). */
static void
all_characters_come_out_as_the_oracle_has_them(void **state)
{
	(void)state;
	static const uint8_t behind[] = {0xcc, 0x81, 0xcc, 0xa7, 0xe1, 0x85, 0xa1};
	uint64_t sum = 0xcbf29ce484222325U;
	for (uint32_t c = 1; c < 0x30000; c++) {
		uint8_t text[4 + sizeof(behind)];
		if ((c >= 0xd800 && c < 0xe000) || (c >= 0x3400 && c < 0xa000) || c >= 0x2fa20 ||
		    (c >= 0x20000 && c < 0x2f800)) {
			continue;
		}
		size_t n = utf8_of(c, text);
		add_to_sum(&sum, text, n);
		memcpy(text + n, behind, sizeof(behind));
		add_to_sum(&sum, text, n + sizeof(behind));
	}
	assert_true(sum == UINT64_C(0xa0e4ff8cf0a3a962));
}

static void
what_is_no_utf8_or_does_not_fit_leaves_the_output_alone(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(4);
	assert_int_equal(buf_append_str(&out, "ab"), ERR_OK);
	assert_int_equal(imap_nfc(BYTES_LIT("\xcc"), &out), ERR_FORMAT);
	assert_int_equal(imap_nfc(BYTES_LIT("e\xcc\x81x"), &out), ERR_LIMIT);
	assert_true(bytes_is(buf_bytes(&out), "ab"));
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_is_brought_into_form_c),
	    cmocka_unit_test(all_characters_come_out_as_the_oracle_has_them),
	    cmocka_unit_test(what_is_no_utf8_or_does_not_fit_leaves_the_output_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
