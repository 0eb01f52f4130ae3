/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_dot_at_the_start_of_a_line_is_doubled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
