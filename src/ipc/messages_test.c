/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Distinct values for each field, so that a swapped pair is seen. */
static uint8_t counter;
static uint8_t pool[4096];

static struct bytes
some_bytes(void)
{
	counter++;
	memset(pool + counter, counter, counter % 7);
	return bytes_of(pool + counter, counter % 7);
}

#define S_U8(n) a.n = ++counter;
#define S_U16(n) a.n = (uint16_t)(0x0100 + ++counter);
#define S_U32(n) a.n = 0x01020300 + ++counter;
#define S_U64(n) a.n = 0x0102030405060700 + ++counter;
#define S_FIX(n, size) memset(a.n, ++counter, size);
#define S_BYTES(n) a.n = some_bytes();

#define C_U8(n) assert_int_equal(a.n, b.n);
#define C_U16(n) assert_int_equal(a.n, b.n);
#define C_U32(n) assert_int_equal(a.n, b.n);
#define C_U64(n) assert_true(a.n == b.n);
#define C_FIX(n, size) assert_memory_equal(a.n, b.n, size);
#define C_BYTES(n) assert_true(bytes_equal(a.n, b.n));

#define CHECK(name, FIELDS)                                                                                  \
	static void check_##name(void)                                                                       \
	{                                                                                                    \
		struct msg_##name a;                                                                         \
		struct msg_##name b;                                                                         \
		struct buf out = BUF_INIT(IPC_PAYLOAD_MAX);                                                  \
		memset(&a, 0, sizeof(a));                                                                    \
		counter = 0;                                                                                 \
		FIELDS(S_U8, S_U16, S_U32, S_U64, S_FIX, S_BYTES)                                            \
		assert_int_equal(msg_##name##_encode(&out, &a), ERR_OK);                                     \
		assert_int_equal(msg_##name##_decode(buf_bytes(&out), &b), ERR_OK);                          \
		FIELDS(C_U8, C_U16, C_U32, C_U64, C_FIX, C_BYTES)                                            \
		for (size_t n = 0; n < out.len; n++) {                                                       \
			/* A copy of exactly this length: reading past it is seen by ASan. */                \
			uint8_t *cut = malloc(n + 1);                                                        \
			assert_non_null(cut);                                                                \
			memcpy(cut + 1, out.ptr, n);                                                         \
			memset(&b, 0x5a, sizeof(b));                                                         \
			assert_int_equal(msg_##name##_decode(bytes_of(cut + 1, n), &b), ERR_FORMAT);         \
			const uint8_t *untouched = (const uint8_t *)&b;                                      \
			for (size_t i = 0; i < sizeof(b); i++) {                                             \
				assert_int_equal(untouched[i], 0x5a);                                        \
			}                                                                                    \
			free(cut);                                                                           \
		}                                                                                            \
		assert_int_equal(buf_append_byte(&out, 0), ERR_OK);                                          \
		assert_int_equal(msg_##name##_decode(buf_bytes(&out), &b), ERR_FORMAT);                      \
		buf_clear(&out);                                                                             \
		struct buf small = BUF_INIT(1);                                                              \
		if (buf_append(&small, BYTES_LIT("x")) == ERR_OK && sizeof(a) > 1) {                         \
			enum err e = msg_##name##_encode(&small, &a);                                        \
			assert_true(e == ERR_LIMIT || e == ERR_OK);                                          \
		}                                                                                            \
		buf_clear(&small);                                                                           \
	}

IPC_PAYLOADS(CHECK)

static void
every_payload_comes_back_and_every_truncation_is_refused(void **state)
{
	(void)state;
#define RUN(name, FIELDS) check_##name();
	IPC_PAYLOADS(RUN)
}

static void
an_empty_payload_is_empty(void **state)
{
	(void)state;
	assert_int_equal(msg_empty_decode(BYTES_EMPTY), ERR_OK);
	assert_int_equal(msg_empty_decode(BYTES_LIT("x")), ERR_FORMAT);
}

static void
the_table_is_sound(void **state)
{
	(void)state;
	assert_null(msg_rule(0));
	assert_null(msg_rule(MSG__COUNT));
	assert_null(msg_rule(70000));
	for (unsigned t = 1; t < MSG__COUNT; t++) {
		const struct msg_rule *r = msg_rule(t);
		assert_non_null(r);
		assert_true(r->from != 0 && r->to != 0);
		assert_true((r->from | r->to) < ROLE_BIT(ROLE__COUNT));
		assert_true(r->max <= IPC_UNIT_MAX);
		assert_true(r->kind == IPC_REQUEST || r->kind == IPC_NOTICE);
		/* Descriptors come from the supervisor alone, and nothing asks it anything. */
		assert_true(!r->descriptor || r->from == ROLE_BIT(ROLE_SUPERVISOR));
		assert_true(r->kind == IPC_NOTICE || (r->to & ROLE_BIT(ROLE_SUPERVISOR)) == 0);
		/* Nobody who reads the network speaks to the store's spool, or to the keeper of secrets of others. */
		assert_true(t != MSG_SPOOL_KEY_SECRET || r->from == ROLE_BIT(ROLE_COURIER));
		assert_true(t != MSG_HOUSE_KEY || r->to == ROLE_BIT(ROLE_KEEPER));
	}
	for (unsigned r = 0; r < ROLE__COUNT; r++) {
		assert_true(strlen(role_name((enum role)r)) > 0);
	}
	assert_string_equal(role_name((enum role)1000), "none");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_payload_comes_back_and_every_truncation_is_refused),
	    cmocka_unit_test(an_empty_payload_is_empty),
	    cmocka_unit_test(the_table_is_sound),
	};
	return cmocka_run_group_tests_name("ipc messages", tests, NULL, NULL);
}
