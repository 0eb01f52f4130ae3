/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

struct host {
	size_t accepted, connected;
	enum err result;
	bool hold_after_one;
};

static struct loop *loop;

static void
on_accept(struct listener *l, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
	struct host *h = l->arg;
	h->accepted++;
	assert_int_equal(peer->sa_family, AF_INET);
	assert_true(peer_len >= sizeof(struct sockaddr_in));
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	(void)close(fd);
	if (h->hold_after_one) {
		listener_hold(l);
	}
}

static void
on_connect(struct connector *c, enum err result, int fd)
{
	struct host *h = c->arg;
	h->connected++;
	h->result = result;
	assert_true((fd >= 0) == (result == ERR_OK));
	if (fd >= 0) {
		(void)close(fd);
	}
}

static int
listening(struct sockaddr_in *ret_address)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_port = 0, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*ret_address = at;
	return fd;
}

#define UNTIL(done)                                                                                          \
	do {                                                                                                 \
		for (msec end_ = clock_monotonic() + 2000; !(done) && clock_monotonic() < end_;) {           \
			assert_int_equal(loop_run_once(loop, 10), ERR_OK);                                   \
		}                                                                                            \
		assert_true(done);                                                                           \
	} while (0)

static void
start(struct connector *c, const struct sockaddr_in *to, struct host *h)
{
	assert_int_equal(connector_start(loop, c, (const struct sockaddr *)to, sizeof(*to), NULL, 0,
					 clock_monotonic() + 1000, on_connect, h),
			 ERR_OK);
	assert_int_equal(h->connected, 0);
}

static void
connections_are_made_and_accepted(void **state)
{
	(void)state;
	struct host h = {.result = ERR_STATE};
	struct sockaddr_in at;
	struct listener l;
	struct connector c;
	int fd = listening(&at);
	assert_int_equal(listener_start(loop, &l, fd, on_accept, &h), ERR_OK);
	start(&c, &at, &h);
	UNTIL(h.accepted == 1 && h.connected == 1);
	assert_int_equal(h.result, ERR_OK);
	listener_stop(&l);
	(void)close(fd);
}

static void
a_refused_connection_says_so(void **state)
{
	(void)state;
	struct host h = {.result = ERR_STATE};
	struct sockaddr_in at;
	struct connector c;
	(void)close(listening(&at));
	start(&c, &at, &h);
	UNTIL(h.connected == 1);
	assert_int_equal(h.result, ERR_CLOSED);
}

static void
a_connection_has_a_deadline_and_can_be_given_up(void **state)
{
	(void)state;
	struct host h = {.result = ERR_STATE};
	struct sockaddr_in at;
	/* A queue that is full: the next connection stays in SYN-SENT. */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	struct host filler = {.result = ERR_STATE};
	struct connector first;
	start(&first, &at, &filler);
	UNTIL(filler.connected == 1);
	struct connector second;
	struct connector third;
	assert_int_equal(connector_start(loop, &second, (struct sockaddr *)&at, sizeof(at), NULL, 0,
					 clock_monotonic() + 30, on_connect, &h),
			 ERR_OK);
	assert_int_equal(connector_start(loop, &third, (struct sockaddr *)&at, sizeof(at), NULL, 0,
					 clock_monotonic() + 10, on_connect, &filler),
			 ERR_OK);
	connector_stop(&third);
	UNTIL(h.connected == 1);
	assert_int_equal(h.result, ERR_TIMEOUT);
	assert_int_equal(filler.connected, 1);
	(void)close(fd);
}

static void
without_descriptors_the_listener_pauses_and_comes_back(void **state)
{
	(void)state;
	struct host h = {.result = ERR_STATE};
	struct sockaddr_in at;
	struct listener l;
	struct connector c;
	struct rlimit old;
	int fd = listening(&at);
	assert_int_equal(listener_start(loop, &l, fd, on_accept, &h), ERR_OK);
	start(&c, &at, &h); /* the socket exists; from here on there are no more */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	struct rlimit none = {.rlim_cur = 3, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	UNTIL(timer_is_running(&l.pause));
	uint64_t before = loop_turns(loop);
	assert_int_equal(loop_run_once(loop, 20), ERR_OK);
	assert_int_equal(loop_run_once(loop, 20), ERR_OK);
	assert_true(loop_turns(loop) - before == 2);
	assert_int_equal(h.accepted, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	UNTIL(h.accepted == 1);
	listener_stop(&l);
	(void)close(fd);
}

static void
a_held_listener_leaves_them_in_the_queue(void **state)
{
	(void)state;
	struct host h = {.result = ERR_STATE, .hold_after_one = true};
	struct host g = {.result = ERR_STATE};
	struct sockaddr_in at;
	struct listener l;
	struct connector c[2];
	int fd = listening(&at);
	assert_int_equal(listener_start(loop, &l, fd, on_accept, &h), ERR_OK);
	start(&c[0], &at, &h);
	start(&c[1], &at, &g);
	UNTIL(h.connected == 1 && g.connected == 1 && h.accepted == 1);
	assert_int_equal(loop_run_once(loop, 10), ERR_OK);
	assert_int_equal(h.accepted, 1);
	listener_release(&l);
	UNTIL(h.accepted == 2);
	listener_stop(&l);
	(void)close(fd);
}

static int
set_up(void **state)
{
	(void)state;
	return loop_create(&loop) == ERR_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	loop_destroy(&loop);
	return 0;
}

int
main(void)
{
#define LISTEN_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    LISTEN_TEST(connections_are_made_and_accepted),
	    LISTEN_TEST(a_refused_connection_says_so),
	    LISTEN_TEST(a_connection_has_a_deadline_and_can_be_given_up),
	    LISTEN_TEST(without_descriptors_the_listener_pauses_and_comes_back),
	    LISTEN_TEST(a_held_listener_leaves_them_in_the_queue),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
