/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "keeper/tls_next.h"
#include "loop/tls.h"

static void
a_key_comes_back_from_its_text_and_is_known_by_its_id(void **state)
{
	struct buf pem = BUF_INIT(TLS_NEXT_MAX);
	struct tls_next *made = NULL;
	struct tls_next *read = NULL;
	uint8_t other[TLS_NEXT_ID];
	(void)state;
	assert_int_equal(tls_next_make(&pem, &made), ERR_OK);
	assert_int_equal(tls_next_read(buf_bytes(&pem), tls_next_id(made), &read), ERR_OK);
	assert_memory_equal(tls_next_id(read), tls_next_id(made), TLS_NEXT_ID);
	tls_next_destroy(&read);
	/* What stands in clear before it is what volunteers publish: it must be of this key. */
	memcpy(other, tls_next_id(made), sizeof(other));
	other[31] ^= 1;
	assert_int_equal(tls_next_read(buf_bytes(&pem), other, &read), ERR_FORMAT);
	assert_int_equal(tls_next_read(BYTES_LIT("no key"), other, &read), ERR_FORMAT);
	assert_int_equal(tls_next_read(BYTES_EMPTY, other, &read), ERR_FORMAT);
	assert_null(read);
	tls_next_destroy(&made);
	buf_wipe(&pem);
}

static void
it_makes_a_pair_with_its_own_chain_alone(void **state)
{
	struct buf key[2] = {BUF_INIT(8192), BUF_INIT(8192)};
	struct buf chain[2] = {BUF_INIT(8192), BUF_INIT(8192)};
	uint8_t id[TLS_NEXT_ID];
	struct tls_next *next = NULL;
	struct tls_pair *pair = NULL;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &key[i], &chain[i]),
				 ERR_OK);
	}
	assert_int_equal(tls_key_id(buf_bytes(&chain[0]), id), ERR_OK);
	assert_int_equal(tls_next_read(buf_bytes(&key[0]), id, &next), ERR_OK);
	assert_int_equal(tls_next_pair(next, buf_bytes(&chain[1]), &pair), ERR_AUTH);
	assert_null(pair);
	assert_int_equal(tls_next_pair(next, buf_bytes(&chain[0]), &pair), ERR_OK);
	assert_memory_equal(tls_pair_id(pair), id, sizeof(id));
	tls_pair_destroy(&pair);
	tls_next_destroy(&next);
	for (size_t i = 0; i < 2; i++) {
		buf_wipe(&key[i]);
		buf_clear(&chain[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_key_comes_back_from_its_text_and_is_known_by_its_id),
	    cmocka_unit_test(it_makes_a_pair_with_its_own_chain_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
