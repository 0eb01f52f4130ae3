/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
what_is_written_is_read_back(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1000);
	struct wire_writer w;
	wire_writer_init(&w, &b);
	wire_put_u8(&w, 1);
	wire_put_u16(&w, 0x0203);
	wire_put_u32(&w, 0x04050607);
	wire_put_u64(&w, 0x08090a0b0c0d0e0fULL);
	wire_put_bytes(&w, bytes_str("text"));
	wire_put_fixed(&w, (const uint8_t *)"fix", 3);
	assert_int_equal(wire_done(&w), ERR_OK);

	struct wire_reader r;
	wire_reader_init(&r, buf_bytes(&b));
	assert_int_equal(wire_get_u8(&r), 1);
	assert_int_equal(wire_get_u16(&r), 0x0203);
	assert_int_equal(wire_get_u32(&r), 0x04050607);
	assert_true(wire_get_u64(&r) == 0x08090a0b0c0d0e0fULL);
	assert_true(bytes_is(wire_get_bytes(&r, 4), "text"));
	uint8_t fix[3];
	wire_get_fixed(&r, fix, 3);
	assert_memory_equal(fix, "fix", 3);
	assert_int_equal(wire_end(&r), ERR_OK);
	buf_clear(&b);
}

static void
the_error_sticks_and_nothing_may_be_left_over(void **state)
{
	(void)state;
	struct wire_reader r;
	wire_reader_init(&r, bytes_of("\0\0\0\5abc", 7));
	assert_int_equal(wire_get_bytes(&r, 100).len, 0);
	assert_int_equal(wire_get_u8(&r), 0);
	assert_int_equal(wire_end(&r), ERR_FORMAT);

	wire_reader_init(&r, bytes_of("\0\0\0\3abc", 7));
	assert_int_equal(wire_get_bytes(&r, 2).len, 0);
	assert_int_equal(wire_end(&r), ERR_FORMAT);

	wire_reader_init(&r, bytes_of("ab", 2));
	assert_int_equal(wire_get_u8(&r), 'a');
	assert_int_equal(wire_end(&r), ERR_FORMAT);
}

static void
a_byte_string_can_be_written_where_it_stands(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(20);
	struct wire_writer w;
	struct wire_reader r;
	wire_writer_init(&w, &b);
	size_t outer = wire_open_bytes(&w);
	wire_put_u8(&w, 7);
	size_t inner = wire_open_bytes(&w);
	assert_int_equal(buf_append_str(&b, "text"), ERR_OK);
	wire_close_bytes(&w, inner);
	wire_close_bytes(&w, outer);
	assert_int_equal(wire_done(&w), ERR_OK);
	wire_reader_init(&r, buf_bytes(&b));
	struct bytes all = wire_get_bytes(&r, 100);
	assert_int_equal(wire_end(&r), ERR_OK);
	wire_reader_init(&r, all);
	assert_int_equal(wire_get_u8(&r), 7);
	assert_true(bytes_is(wire_get_bytes(&r, 100), "text"));
	assert_int_equal(wire_end(&r), ERR_OK);
	/* No room for the length: nothing is written at its place. */
	wire_put_u32(&w, 1);
	outer = wire_open_bytes(&w);
	wire_close_bytes(&w, outer);
	assert_int_equal(wire_done(&w), ERR_LIMIT);
	assert_int_equal(b.len, 17);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_is_read_back),
	    cmocka_unit_test(the_error_sticks_and_nothing_may_be_left_over),
	    cmocka_unit_test(a_byte_string_can_be_written_where_it_stands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
