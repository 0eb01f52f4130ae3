/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/decode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* At every split into two pieces, and octet by octet. */
static void
decodes(enum mail_encoding encoding, struct bytes text, struct bytes want)
{
	for (size_t split = 0; split <= text.len; split++) {
		struct mail_decoder d;
		struct buf out = BUF_INIT(1000);
		mail_decoder_init(&d, encoding);
		assert_int_equal(mail_decoder_push(&d, bytes_slice(text, 0, split), &out), ERR_OK);
		assert_int_equal(mail_decoder_push(&d, bytes_from(text, split), &out), ERR_OK);
		assert_int_equal(mail_decoder_end(&d, &out), ERR_OK);
		assert_true(bytes_equal(buf_bytes(&out), want));
		buf_clear(&out);
	}
}

static void
quoted_printable_is_decoded_at_every_split(void **state)
{
	(void)state;
	decodes(MAIL_ENCODING_QUOTED_PRINTABLE, BYTES_LIT("a=3D=\r\nb =20\t \r\n=zz =\r\n=C3=a9=  \nc  "),
		BYTES_LIT("a=b  \r\n=zz \xc3\xa9"
			  "c"));
}

static void
base64_is_decoded_at_every_split(void **state)
{
	(void)state;
	decodes(MAIL_ENCODING_BASE64, BYTES_LIT("aGVs\r\nbG8*=\r\naGk="), BYTES_LIT("hellohi"));
	decodes(MAIL_ENCODING_8BIT, BYTES_LIT("a=3D\xff"), BYTES_LIT("a=3D\xff"));
}

static void
encoders_keep_lines_short_and_round_trip(void **state)
{
	(void)state;
	struct buf body = BUF_INIT(100000);
	struct buf coded = BUF_INIT(100000);
	struct buf back = BUF_INIT(100000);
	for (unsigned int i = 0; i < 6000; i++) {
		uint8_t c = (uint8_t)(i * 7919U >> 3);
		assert_int_equal(c == '\n' || c == '\r' ? buf_append_str(&body, ".\r\n--b\r\nFrom x \r\n")
							: buf_append_byte(&body, c),
				 ERR_OK);
	}
	for (int kind = 0; kind < 2; kind++) {
		size_t column = 0;
		buf_reset(&coded);
		buf_reset(&back);
		assert_int_equal(kind == 0 ? mail_encode_quoted_printable(buf_bytes(&body), &coded)
					   : mail_encode_base64(buf_bytes(&body), &coded),
				 ERR_OK);
		assert_true(bytes_is_ascii(buf_bytes(&coded)));
		for (size_t i = 0; i < coded.len; i++) {
			column = coded.ptr[i] == '\n' ? 0 : column + 1;
			assert_true(column <= 77);
		}
		assert_true(bytes_search(buf_bytes(&coded), BYTES_LIT("\n--")) < 0);
		assert_true(bytes_search(buf_bytes(&coded), BYTES_LIT("\nFrom ")) < 0);
		assert_int_equal(
		    mail_decode(kind == 0 ? MAIL_ENCODING_QUOTED_PRINTABLE : MAIL_ENCODING_BASE64,
				buf_bytes(&coded), &back),
		    ERR_OK);
		assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&body)));
	}
	buf_clear(&body);
	buf_clear(&coded);
	buf_clear(&back);
}

static void
names_of_encodings_are_known(void **state)
{
	(void)state;
	assert_int_equal(mail_encoding_of(BYTES_EMPTY), MAIL_ENCODING_7BIT);
	assert_int_equal(mail_encoding_of(BYTES_LIT("Base64")), MAIL_ENCODING_BASE64);
	assert_int_equal(mail_encoding_of(BYTES_LIT("x-uuencode")), MAIL_ENCODING_UNKNOWN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(quoted_printable_is_decoded_at_every_split),
	    cmocka_unit_test(base64_is_decoded_at_every_split),
	    cmocka_unit_test(encoders_keep_lines_short_and_round_trip),
	    cmocka_unit_test(names_of_encodings_are_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
