/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/write.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mail/charset.h"
#include "mail/header.h"

#define IS(view, text) assert_true(bytes_is((view), (text)))

static void
a_field_value_can_not_bring_another_field(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(10000);
	assert_int_equal(mail_write_field(&out, "X", BYTES_LIT("a\r\nBcc: b\rc\nd\0e")), ERR_OK);
	IS(buf_bytes(&out), "X: a  Bcc: b c d e\r\n");
	assert_int_equal(mail_write_field(&out, "X\r\nY", BYTES_LIT("a")), ERR_FORMAT);
	assert_int_equal(out.len, 20);
	buf_clear(&out);
}

static void
long_values_are_folded_and_unfold_to_themselves(void **state)
{
	(void)state;
	struct buf value = BUF_INIT(100000);
	struct buf out = BUF_INIT(100000);
	struct buf back = BUF_INIT(100000);
	struct mail_field f;
	for (int i = 0; i < 60; i++) {
		assert_int_equal(
		    buf_append_str(&value, i == 30 ? "a-rather-long-word-with-no-blank" : "word  x "),
		    ERR_OK);
	}
	assert_int_equal(buf_append_str(&value, "end"), ERR_OK);
	assert_int_equal(mail_write_field(&out, "Subject", buf_bytes(&value)), ERR_OK);
	size_t column = 0;
	for (size_t i = 0; i < out.len; i++) {
		column = out.ptr[i] == '\n' ? 0 : column + 1;
		assert_true(column <= 79);
	}
	assert_true(mail_field_find(buf_bytes(&out), "subject", &f));
	assert_int_equal(f.whole.len, out.len);
	assert_int_equal(mail_unfold(f.value, &back), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&value)));
	buf_clear(&value);
	buf_clear(&out);
	buf_clear(&back);
}

static void
texts_and_phrases_read_back_as_they_were(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(10000);
	struct buf back = BUF_INIT(10000);
	struct bytes text = BYTES_LIT(
	    "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	    "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 a b \xe2\x82\xac"
	    "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
	struct mail_field f;
	assert_int_equal(mail_write_text_field(&out, "Subject", text), ERR_OK);
	assert_true(bytes_is_ascii(buf_bytes(&out)));
	assert_true(mail_field_find(buf_bytes(&out), "Subject", &f));
	assert_int_equal(mail_words_decode(f.value, &back), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&back), text));
	buf_reset(&out);
	assert_int_equal(mail_write_phrase(&out, BYTES_LIT("Joe \"Q\", x")), ERR_OK);
	IS(buf_bytes(&out), "\"Joe \\\"Q\\\", x\"");
	buf_clear(&out);
	buf_clear(&back);
}

static void
dates_are_written_in_utc_and_read_back(void **state)
{
	(void)state;
	static const int64_t times[] = {0, 951825600, 1709251199, 4102444800, -1};
	struct buf out = BUF_INIT(100);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct mail_date d;
		buf_reset(&out);
		assert_int_equal(mail_write_date(&out, times[i]), ERR_OK);
		assert_int_equal(mail_date_parse(buf_bytes(&out), &d), ERR_OK);
		assert_int_equal(d.seconds, times[i]);
	}
	buf_reset(&out);
	assert_int_equal(mail_write_date(&out, 1026337231), ERR_OK);
	IS(buf_bytes(&out), "Wed, 10 Jul 2002 21:40:31 +0000");
	buf_clear(&out);
}

static void
stripping_leaves_all_other_octets(void **state)
{
	(void)state;
	static const char *const names[] = {"bcc", "X-Mailer", NULL};
	struct buf out = BUF_INIT(1000);
	struct bytes m =
	    BYTES_LIT("A: b\r\nBCC : x@y,\r\n\tz@y\r\njunk\r\nX-Mailer: m\r\nC: d\r\n\r\nBcc: body\r\n");
	assert_int_equal(mail_strip_fields(m, names, &out), ERR_OK);
	IS(buf_bytes(&out), "A: b\r\njunk\r\nC: d\r\n\r\nBcc: body\r\n");
	buf_reset(&out);
	assert_int_equal(mail_insert_top(BYTES_LIT("just text"), BYTES_LIT("A: b\r\n"), &out), ERR_OK);
	IS(buf_bytes(&out), "A: b\r\n\r\njust text");
	buf_reset(&out);
	assert_int_equal(mail_insert_top(BYTES_LIT("C: d\r\n\r\nx"), BYTES_LIT("A: b\r\n"), &out), ERR_OK);
	IS(buf_bytes(&out), "A: b\r\nC: d\r\n\r\nx");
	buf_reset(&out);
	assert_int_equal(mail_insert_top(BYTES_LIT("From : c@d\r\n\r\nx"), BYTES_LIT("A: b\r\n"), &out),
			 ERR_OK);
	IS(buf_bytes(&out), "A: b\r\nFrom : c@d\r\n\r\nx");
	assert_int_equal(mail_count_received(BYTES_LIT("Received: a\r\nreceived: b\r\n\r\nReceived: c\r\n")),
			 2);
	buf_clear(&out);
}

static void
the_downgrade_encodes_what_needs_it_and_no_more(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(10000);
	struct bytes m =
	    BYTES_LIT("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		      "--b\r\n\r\nplain\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9\r\n"
		      "--b\r\nContent-Type: image/x\r\n\r\n\xff\r\n--b--\r\n");
	assert_int_equal(mail_downgrade_8bit(m, &out), ERR_OK);
	IS(buf_bytes(&out),
	   "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
	   "--b\r\n\r\nplain\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n"
	   "--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n/w==\r\n\r\n--b--\r\n");
	buf_reset(&out);
	assert_int_equal(mail_downgrade_8bit(BYTES_LIT("A: b\r\n\r\nplain\r\n"), &out), ERR_OK);
	IS(buf_bytes(&out), "A: b\r\n\r\nplain\r\n");
	buf_clear(&out);
}

static void
the_downgrade_never_touches_what_is_signed(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(10000);
	struct bytes bad =
	    BYTES_LIT("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa9\r\n--b--\r\n");
	struct bytes good = BYTES_LIT(
	    "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\n\xc3\xa9\r\n--o\r\n"
	    "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx \r\n--b--\r\n--o--\r\n");
	assert_int_equal(mail_downgrade_8bit(bad, &out), ERR_UNSUPPORTED);
	assert_int_equal(out.len, 0);
	assert_int_equal(mail_downgrade_8bit(good, &out), ERR_OK);
	assert_true(bytes_is_ascii(buf_bytes(&out)));
	assert_true(bytes_search(buf_bytes(&out),
				 BYTES_LIT("boundary=b\r\n\r\n--b\r\n\r\nx \r\n--b--\r\n--o--")) > 0);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_field_value_can_not_bring_another_field),
	    cmocka_unit_test(long_values_are_folded_and_unfold_to_themselves),
	    cmocka_unit_test(texts_and_phrases_read_back_as_they_were),
	    cmocka_unit_test(dates_are_written_in_utc_and_read_back),
	    cmocka_unit_test(stripping_leaves_all_other_octets),
	    cmocka_unit_test(the_downgrade_encodes_what_needs_it_and_no_more),
	    cmocka_unit_test(the_downgrade_never_touches_what_is_signed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
