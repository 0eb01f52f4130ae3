/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_SEALED_TESTING_H
#define COHUE_SEALED_SEALED_TESTING_H

/* What the tests of this module share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "sealed/member_keys.h"

static inline int
sealed_test_setup(void **state)
{
	(void)state;
	return crypto_init() == ERR_OK && secret_pool_init(SECRET_POOL_BYTES) == ERR_OK ? 0 : -1;
}

/* `count` generations. */
static inline void
make_keys(struct member_keys *k, uint32_t count)
{
	member_keys_init(k);
	for (uint32_t g = 1; g <= count; g++) {
		uint8_t pub[32];
		uint8_t sec[32];
		box_pair(pub, sec);
		assert_int_equal(member_keys_add(k, g, pub, sec), ERR_OK);
	}
}

/*
 * Opens with each bit flipped and at each truncation (at most about `most` bits, evenly spread); none may succeed, and nothing
 * may be left in the output.
 */
typedef enum err (*open_fn)(void *arg, struct bytes sealed);

static inline void
assert_every_change_is_found(struct bytes sealed, size_t most, open_fn open, void *arg)
{
	uint8_t *copy = malloc(sealed.len);
	assert_non_null(copy);
	memcpy(copy, sealed.ptr, sealed.len);
	assert_int_equal(open(arg, bytes_of(copy, sealed.len)), ERR_OK);
	size_t step = sealed.len * 8 / most + 1;
	for (size_t bit = 0; bit < sealed.len * 8; bit += step) {
		copy[bit / 8] ^= (uint8_t)(1 << (bit % 8));
		assert_int_not_equal(open(arg, bytes_of(copy, sealed.len)), ERR_OK);
		copy[bit / 8] ^= (uint8_t)(1 << (bit % 8));
	}
	for (size_t n = 0; n < sealed.len; n += n < 64 ? 1 : step) {
		assert_int_not_equal(open(arg, bytes_of(copy, n)), ERR_OK);
	}
	/* One octet more is found, too. */
	uint8_t *longer = malloc(sealed.len + 1);
	assert_non_null(longer);
	memcpy(longer, sealed.ptr, sealed.len);
	longer[sealed.len] = 0;
	assert_int_not_equal(open(arg, bytes_of(longer, sealed.len + 1)), ERR_OK);
	free(longer);
	free(copy);
}

#endif
