/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "delivery/delivery.h"

static uint64_t
added(struct bytes message)
{
	return delivery_wire_size(message) - DELIVERY_WIRE_ROOM - message.len;
}

static void
each_dot_at_the_start_of_a_line_is_doubled(void **state)
{
	(void)state;
	assert_int_equal(added(BYTES_LIT("a: b\r\n\r\nno dot. here\r\n")), 0);
	assert_int_equal(added(BYTES_LIT(".a\r\n..\r\n b.\r\n.\r\n")), 3);
	assert_int_equal(added(BYTES_LIT("a\r\n")), 0);
	assert_int_equal(added(BYTES_LIT("\n.")), 1);
	assert_int_equal(added(BYTES_EMPTY), 0);
}

static enum err
no_chunk(void *arg, const uint8_t blob[SEALED_ID_LEN], uint32_t chunk, struct bytes data)
{
	(void)arg;
	(void)blob;
	(void)chunk;
	(void)data;
	return ERR_OK;
}

static void
copies_for_very_many_fit_into_one_unit(void **state)
{
	(void)state;
	enum { UNIT_MAX = 8 << 20, AROUND = 128 * 1024 };
	static const size_t counts[] = {1, 12, 60, 61, 100, 200, 400};
	struct buf m = BUF_INIT(4 << 20);
	struct blob_codec *codec = NULL;
	uint8_t secret[32];
	struct delivery_target target = {.generation = 1};
	assert_int_equal(crypto_init(), ERR_OK);
	box_pair(target.public_key, secret);
	assert_int_equal(blob_codec_create(&codec), ERR_OK);
	assert_int_equal(buf_append_str(&m, "From: a@b\r\nTo: "), ERR_OK);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(buf_append_str(&m, "someone@example.org, "), ERR_OK);
	}
	assert_int_equal(buf_append_str(&m, "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"), ERR_OK);
	for (int i = 0; i < 9000; i++) {
		assert_int_equal(buf_append_str(&m, "--b\r\nContent-Description: a part\r\n\r\nx\r\n"),
				 ERR_OK);
	}
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		struct delivery d;
		struct buf parts = BUF_INIT(UNIT_MAX - AROUND);
		assert_int_equal(delivery_init(&d, codec, secret, buf_bytes(&m), counts[c]), ERR_OK);
		/* Where there is room, nothing is cut for it. */
		assert_true(counts[c] > 60 || d.summary.len > 90 * 1024);
		d.sender = bytes_of(m.ptr, ARRIVAL_ADDRESS_MAX);
		target.recipient = d.sender;
		for (size_t i = 0; i < counts[c]; i++) {
			assert_int_equal(delivery_add_arrival(&d, &target, no_chunk, NULL, &parts), ERR_OK);
		}
		delivery_clear(&d);
		buf_clear(&parts);
	}
	blob_codec_destroy(&codec);
	buf_clear(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_dot_at_the_start_of_a_line_is_doubled),
	    cmocka_unit_test(copies_for_very_many_fit_into_one_unit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
