/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Channels made anew, and accusations, with children that are only the ends of their channels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "supervisor/house.h"

enum { CHILDREN = 3 };

/* What a child heard. */
struct end {
	struct channel *ch;
	unsigned channels;
	struct msg_channel last;
	int fd;
};

static struct house *house;
static struct end ends[CHILDREN];
static unsigned ended[CHILDREN];

void
child_give_up(struct child *c)
{
	ended[c - house->children]++;
}

void
house_fail(struct house *h)
{
	(void)h;
	fail();
}

static void
hear(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct end *e = arg;
	(void)ch;
	assert_int_equal(m->type, MSG_CHANNEL);
	assert_int_equal(msg_channel_decode(m->payload, &e->last), ERR_OK);
	if (e->fd >= 0) {
		(void)close(e->fd);
	}
	e->fd = m->fd;
	e->channels++;
}

static void
say(void *arg, struct channel *ch, const struct channel_message *m)
{
	(void)arg;
	(void)ch;
	(void)m;
	fail();
}

static void
closed(void *arg, struct channel *ch, bool fault)
{
	(void)arg;
	(void)ch;
	(void)fault;
	fail();
}

static int
set_up(void **state)
{
	static const enum role roles[CHILDREN] = {ROLE_STORE, ROLE_GATE_MX, ROLE_GATE_MEMBER};
	static const struct channel_events mine = {.message = say, .closed = closed};
	static const struct channel_events theirs = {.message = hear, .closed = closed};
	(void)state;
	memset(ends, 0, sizeof(ends));
	memset(ended, 0, sizeof(ended));
	house = calloc(1, sizeof(*house));
	assert_non_null(house);
	assert_int_equal(loop_create(&house->loop), ERR_OK);
	house->child_count = CHILDREN;
	joints_init(house);
	for (size_t i = 0; i < CHILDREN; i++) {
		struct child *c = &house->children[i];
		int pair[2];
		*c = (struct child){.house = house, .role = roles[i], .pid = 1, .state = CHILD_READY};
		ends[i].fd = -1;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
		assert_int_equal(
		    channel_create(house->loop, pair[0], ROLE_SUPERVISOR, c->role, 0, &mine, c, &c->channel),
		    ERR_OK);
		assert_int_equal(channel_create(house->loop, pair[1], c->role, ROLE_SUPERVISOR, 0, &theirs,
						&ends[i], &ends[i].ch),
				 ERR_OK);
	}
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	timer_stop(&house->rejoin);
	for (size_t i = 0; i < CHILDREN; i++) {
		channel_destroy(&house->children[i].channel);
		channel_destroy(&ends[i].ch);
		if (ends[i].fd >= 0) {
			(void)close(ends[i].fd);
		}
	}
	loop_destroy(&house->loop);
	free(house);
	return 0;
}

static void
run_for(msec ms)
{
	msec until = clock_monotonic() + ms;
	while (clock_monotonic() < until) {
		assert_int_equal(loop_run_once(house->loop, 5), ERR_OK);
	}
}

static void
assert_connected(size_t a, size_t b)
{
	char got = 0;
	assert_int_equal(write(ends[a].fd, "x", 1), 1);
	assert_int_equal(read(ends[b].fd, &got, 1), 1);
	assert_int_equal(got, 'x');
	assert_int_equal(ends[a].last.life, ends[b].last.life);
}

static void
a_channel_that_ended_between_live_roles_is_made_anew_once(void **state)
{
	(void)state;
	struct child *store = &house->children[0];
	struct child *gate = &house->children[1];
	joints_make(gate);
	run_for(20);
	assert_int_equal(ends[0].channels, 1);
	assert_int_equal(ends[1].channels, 1);
	assert_int_equal(ends[2].channels, 0); /* they have nothing to say to each other */
	assert_connected(0, 1);
	uint32_t first = ends[0].last.life;
	/* Both say it, one of them late. */
	joints_lost(store, gate, first);
	joints_lost(gate, store, first);
	run_for(20);
	assert_int_equal(ends[0].channels, 1); /* not before it is known that neither has died */
	run_for(350);
	assert_int_equal(ends[0].channels, 2);
	assert_int_equal(ends[1].channels, 2);
	assert_int_equal(ends[0].last.life, first + 1);
	assert_connected(1, 0);
	joints_lost(gate, store, first);
	run_for(400);
	assert_int_equal(ends[0].channels, 2);
	/* Who ends it again and again waits longer and longer. */
	struct joint *j = &house->joints[0][1];
	msec before = 0;
	for (unsigned i = 0; i < 10; i++) {
		joints_lost(gate, store, j->life);
		msec pause = j->due - loop_now(house->loop);
		assert_true(i >= 5 ? pause == 16000 : pause > before);
		before = pause;
		j->lost = false;
	}
	j->joined_at -= 2 * MSEC_MINUTE;
	joints_lost(gate, store, j->life);
	assert_true(j->due - loop_now(house->loop) <= 250);
	assert_int_equal(ended[0] + ended[1] + ended[2], 0);
}

static void
who_has_died_is_not_joined_before_it_is_ready_for_it(void **state)
{
	(void)state;
	struct child *store = &house->children[0];
	struct child *gate = &house->children[1];
	joints_make(gate);
	run_for(20);
	uint32_t first = ends[0].last.life;
	joints_lost(gate, store, first);
	store->state = CHILD_STARTING;
	run_for(350);
	assert_int_equal(ends[1].channels, 1);
	store->state = CHILD_SANDBOXED;
	joints_make(store);
	/* The old one's end is told after that: it means nothing any more. */
	joints_lost(gate, store, first);
	run_for(350);
	assert_int_equal(ends[1].channels, 2);
	assert_connected(0, 1);
	house->stopping = true;
	joints_lost(gate, store, first + 1);
	run_for(350);
	assert_int_equal(ends[1].channels, 2);
}

static void
who_accuses_again_and_again_is_ended_too(void **state)
{
	(void)state;
	struct child *store = &house->children[0];
	struct child *gate = &house->children[1];
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 1; i <= 3; i++) {
			joints_accused(gate, store);
			assert_int_equal(ended[0], round * 4 + i);
			assert_int_equal(ended[1], round);
		}
		joints_accused(gate, store);
		assert_int_equal(ended[0], round * 4 + 4);
		assert_int_equal(ended[1], round + 1);
	}
	/* Seldom: it may well be right. */
	for (unsigned i = 0; i < 10; i++) {
		joints_accused(gate, store);
		gate->accusing_since -= 11 * MSEC_MINUTE;
	}
	assert_int_equal(ended[0], 18);
	assert_int_equal(ended[1], 2);
	/* Of one with whom it has no channel, it can know nothing. */
	joints_accused(gate, &house->children[2]);
	assert_int_equal(ended[1], 3);
	assert_int_equal(ended[2], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_channel_that_ended_between_live_roles_is_made_anew_once, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(who_has_died_is_not_joined_before_it_is_ready_for_it, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(who_accuses_again_and_again_is_ended_too, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
