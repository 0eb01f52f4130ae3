/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/turns.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* As many as `network` gets now. */
static size_t
take_all(struct turns *t, enum turns_kind kind, uint8_t network)
{
	size_t taken = 0;
	size_t place;
	while (turns_take(t, kind, &network, 1, &place)) {
		taken++;
		assert_true(taken <= TURNS_ROOM);
	}
	return taken;
}

static void
no_network_takes_what_others_need(void **state)
{
	(void)state;
	struct turns t;
	turns_init(&t, 1);
	size_t first = take_all(&t, TURNS_SENDERS, 1);
	assert_in_range(first, TURNS_ROOM / 4, TURNS_ROOM / 2);
	assert_false(turns_are_short(&t, TURNS_SENDERS));
	for (uint8_t n = 2; n <= 10; n++) {
		assert_true(take_all(&t, TURNS_SENDERS, n) >= 1);
	}
	assert_true(turns_are_short(&t, TURNS_SENDERS));
	/* Whoever comes anew finds a place, where ten take what they can. */
	assert_true(take_all(&t, TURNS_SENDERS, 11) >= 1);
	/* And all of it says nothing of the other kind. */
	assert_int_equal(take_all(&t, TURNS_POLICY, 1), first);
}

static void
the_room_ends_and_comes_back(void **state)
{
	(void)state;
	struct turns t;
	size_t place[TURNS_ROOM];
	size_t more;
	uint8_t who[2] = {0, 0};
	turns_init(&t, 1);
	for (uint8_t i = 0; i < TURNS_ROOM; i++) {
		who[0] = i;
		assert_true(turns_take(&t, TURNS_POLICY, who, 2, &place[i]));
	}
	who[1] = 1;
	assert_false(turns_take(&t, TURNS_POLICY, who, 2, &more));
	turns_give(&t, TURNS_POLICY, place[7]);
	turns_give(&t, TURNS_POLICY, place[7]); /* twice is once */
	assert_true(turns_take(&t, TURNS_POLICY, who, 2, &more));
	assert_int_equal(more, place[7]);
	assert_false(turns_take(&t, TURNS_POLICY, who, 1, &more));
}

static void
several_gates_share_one_resolver(void **state)
{
	(void)state;
	struct turns t;
	turns_init(&t, 4);
	assert_true(take_all(&t, TURNS_POLICY, 1) <= TURNS_ROOM / 8);
	turns_init(&t, 1000);
	assert_true(take_all(&t, TURNS_POLICY, 1) >= 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_network_takes_what_others_need),
	    cmocka_unit_test(the_room_ends_and_comes_back),
	    cmocka_unit_test(several_gates_share_one_resolver),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
