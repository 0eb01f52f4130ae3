/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/member.h"
#include "session/worker.h"

enum { MIB = 1 << 20 };

static struct role_host host;
static struct worker worker = {.host = &host};
static struct member alice, bob;

static int
begin(void **state)
{
	(void)state;
	worker.message_bytes = 0;
	host.config.message_size = (uint64_t)35 * MIB;
	alice = bob = (struct member){.worker = &worker};
	return 0;
}

static void
one_member_leaves_room_for_the_others(void **state)
{
	(void)state;
	size_t taken = 0;
	while (worker_take_bytes(&worker, &alice, 10 * MIB) == ERR_OK) {
		taken += (size_t)10 * MIB;
	}
	assert_int_equal(taken, (size_t)WORKER_MEMBER_BYTES / (10 * MIB) * (10 * MIB));
	assert_false(worker_has_bytes(&worker, &alice, 10 * MIB));
	/* Her work has a share of its own. */
	size_t worked = 0;
	while (worker_take_work(&worker, &alice, 60 * MIB) == ERR_OK) {
		worked += (size_t)60 * MIB;
	}
	assert_int_equal(worked, 120 * MIB);
	assert_true(worker_has_bytes(&worker, &bob, 35 * MIB));
	assert_int_equal(worker_take_bytes(&worker, &bob, 35 * MIB), ERR_OK);
	assert_int_equal(worker_take_work(&worker, &bob, 175 * MIB), ERR_OK);
	worker_give_work(&worker, &bob, 175 * MIB);
	worker_give_bytes(&worker, &bob, 35 * MIB);
	worker_give_work(&worker, &alice, worked);
	worker_give_bytes(&worker, &alice, taken);
	assert_int_equal(worker.message_bytes, 0);
	assert_int_equal(alice.message_bytes + alice.work_bytes + bob.message_bytes + bob.work_bytes, 0);
}

static void
one_message_of_the_largest_size_has_room(void **state)
{
	(void)state;
	host.config.message_size = (uint64_t)200 * MIB;
	assert_int_equal(worker_take_bytes(&worker, &alice, 200 * MIB), ERR_OK);
	assert_int_equal(worker_take_bytes(&worker, &alice, 1 * MIB), ERR_AGAIN);
	/* A large work alone, but not beside another. */
	assert_int_equal(worker_take_work(&worker, &alice, 200 * MIB), ERR_OK);
	assert_int_equal(worker_take_work(&worker, &alice, 1), ERR_AGAIN);
	assert_int_equal(worker_take_work(&worker, &bob, 112 * MIB), ERR_OK);
	/* All together have the worker's. */
	assert_int_equal(worker_take_bytes(&worker, &bob, 1), ERR_AGAIN);
	worker_give_bytes(&worker, &alice, 200 * MIB);
	assert_int_equal(worker_take_bytes(&worker, &bob, 1), ERR_OK);
	host.config.message_size = (uint64_t)1024 * MIB;
	assert_false(worker_has_bytes(&worker, &alice, (size_t)1024 * MIB));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(one_member_leaves_room_for_the_others, begin),
	    cmocka_unit_test_setup(one_message_of_the_largest_size_has_room, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
