/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "control/control.h"

static void
test_an_answer_comes_back_as_it_was_said(void **state)
{
	(void)state;
	struct buf packet = BUF_INIT(CONTROL_ANSWER_MAX);
	struct control_answer a;
	assert_int_equal(control_answer_encode(&packet, ERR_EXISTS, BYTES_LIT("taken"), BYTES_LIT("\0\1\2")),
			 ERR_OK);
	assert_int_equal(control_answer_decode(buf_bytes(&packet), &a), ERR_OK);
	assert_int_equal(a.status, ERR_EXISTS);
	assert_true(bytes_is(a.text, "taken"));
	assert_true(bytes_equal(a.data, BYTES_LIT("\0\1\2")));
	buf_clear(&packet);
}

static void
test_what_is_cut_or_has_more_is_refused(void **state)
{
	(void)state;
	struct buf packet = BUF_INIT(CONTROL_ANSWER_MAX);
	struct control_answer a;
	assert_int_equal(control_answer_encode(&packet, ERR_OK, BYTES_LIT("text"), BYTES_LIT("data")),
			 ERR_OK);
	for (size_t n = 0; n < packet.len; n++) {
		assert_int_equal(control_answer_decode(bytes_slice(buf_bytes(&packet), 0, n), &a),
				 ERR_FORMAT);
	}
	assert_int_equal(buf_append_byte(&packet, 0), ERR_OK);
	assert_int_equal(control_answer_decode(buf_bytes(&packet), &a), ERR_FORMAT);
	buf_truncate(&packet, packet.len - 1);
	packet.ptr[0] = ERR__COUNT;
	assert_int_equal(control_answer_decode(buf_bytes(&packet), &a), ERR_FORMAT);
	buf_clear(&packet);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_answer_comes_back_as_it_was_said),
	    cmocka_unit_test(test_what_is_cut_or_has_more_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
