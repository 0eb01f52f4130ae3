/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The pool against a server on this machine that greets, and knows EHLO and QUIT. */
#include "courier/pool.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS_MAX = 8 };

struct client {
	struct watch watch;
	int fd;
	bool quit;
};

static struct loop *loop;
static struct pool *pool;
static struct connection_settings settings;
static struct route_target target;
static struct watch door;
static struct client clients[CLIENTS_MAX];
static size_t accepted;
static bool done;

static void
on_client(struct watch *w, unsigned events)
{
	struct client *c = w->arg;
	char text[512];
	(void)events;
	ssize_t n = recv(c->fd, text, sizeof(text), MSG_DONTWAIT);
	if (n <= 0) {
		watch_stop(w);
		return;
	}
	c->quit = c->quit || memcmp(text, "QUIT", 4) == 0;
	const char *reply = c->quit ? "221 bye\r\n" : "250 mx.example\r\n";
	assert_true(send(c->fd, reply, bytes_str(reply).len, MSG_NOSIGNAL) > 0);
}

static void
on_door(struct watch *w, unsigned events)
{
	(void)events;
	assert_true(accepted < CLIENTS_MAX);
	struct client *c = &clients[accepted++];
	c->fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(c->fd >= 0);
	watch_init(&c->watch, on_client, c);
	assert_int_equal(watch_start(loop, &c->watch, c->fd, LOOP_READ), ERR_OK);
	assert_true(send(c->fd, "220 mx.example\r\n", 16, MSG_NOSIGNAL) > 0);
}

static int
set_up(void **state)
{
	struct sockaddr_in here = {.sin_family = AF_INET};
	socklen_t len = sizeof(here);
	static const uint8_t loopback[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
	(void)state;
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	memset(clients, 0, sizeof(clients));
	memset(&settings, 0, sizeof(settings));
	accepted = 0;
	done = false;
	if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&here, len) != 0 || listen(fd, 8) != 0 ||
	    getsockname(fd, (struct sockaddr *)(void *)&here, &len) != 0 || loop_create(&loop) != ERR_OK) {
		return -1;
	}
	watch_init(&door, on_door, NULL);
	smtp_client_config_default(&settings.smtp[SMTP_TLS_NONE]);
	settings.smtp[SMTP_TLS_NONE].hello = BYTES_LIT("out.example");
	settings.smtp[SMTP_TLS_NONE].tls = SMTP_TLS_NONE;
	settings.loop = loop;
	settings.port = ntohs(here.sin_port);
	settings.connect_ms = 5000;
	memcpy(target.address, loopback, sizeof(loopback));
	(void)memcpy(target.name, "mx.example", sizeof("mx.example"));
	return watch_start(loop, &door, fd, LOOP_READ) == ERR_OK && pool_create(&settings, 4, &pool) == ERR_OK
		   ? 0
		   : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < accepted; i++) {
		watch_stop(&clients[i].watch);
		(void)close(clients[i].fd);
	}
	int fd = door.fd;
	watch_stop(&door);
	(void)close(fd);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(loop_run_once(loop, 5), ERR_OK);
	}
	assert_int_equal(pool_open_count(pool), 0);
	/* The role keeps its pool for its whole life. */
	pool_destroy(&pool);
	loop_destroy(&loop);
	return 0;
}

static struct connection *
get(uint64_t batch)
{
	struct connection *c = NULL;
	struct smtp_result why;
	enum smtp_closed how;
	struct connection_wish wish;
	connection_wish_init(&wish, SMTP_TLS_NONE);
	assert_int_equal(pool_get(pool, &target, &wish, batch, false, loop_now(loop) + 5000, &c, &why, &how),
			 ERR_OK);
	return c;
}

static void
use(uint64_t batch)
{
	struct connection *c = get(batch);
	pool_put(pool, &c);
}

static void
run(task_fn *fn)
{
	assert_int_equal(task_spawn(loop, fn, NULL, NULL), ERR_OK);
	for (msec end = clock_monotonic() + 10000; !done && clock_monotonic() < end;) {
		assert_int_equal(loop_run_once(loop, 10), ERR_OK);
	}
	assert_true(done);
}

static void
batches(void *arg)
{
	(void)arg;
	use(7);
	use(7);
	assert_int_equal(accepted, 1);
	use(8);
	assert_int_equal(accepted, 2);
	use(7);
	assert_int_equal(accepted, 2);
	pool_quit_batch(pool, 7);
	assert_int_equal(task_sleep(100), ERR_OK);
	assert_true(clients[0].quit);
	assert_false(clients[1].quit);
	use(7);
	assert_int_equal(accepted, 3);
	pool_quit_idle(pool);
	done = true;
}

static void
a_connection_serves_the_works_of_its_batch_alone_and_ends_with_it(void **state)
{
	(void)state;
	run(batches);
}

static void
crowded(void *arg)
{
	(void)arg;
	struct connection *held[POOL_PER_HOST];
	for (size_t i = 0; i < POOL_PER_HOST; i++) {
		held[i] = get(1);
	}
	/* All places are taken, one of them by an idle connection of another batch: it makes room. */
	pool_put(pool, &held[0]);
	struct connection *other = get(2);
	assert_int_equal(accepted, POOL_PER_HOST + 1);
	assert_int_equal(pool_open_count(pool), POOL_PER_HOST);
	pool_put(pool, &other);
	for (size_t i = 1; i < POOL_PER_HOST; i++) {
		pool_put(pool, &held[i]);
	}
	pool_quit_idle(pool);
	done = true;
}

static void
another_batchs_idle_connection_makes_room(void **state)
{
	(void)state;
	run(crowded);
}

static void
put_off(void *arg)
{
	struct smtp_result said;
	struct smtp_result why;
	enum smtp_closed how;
	struct connection_wish wish;
	struct connection *c = get(1);
	struct connection *none = NULL;
	(void)arg;
	smtp_result_local(451, "4.2.0", "a mailbox of mine is busy", &said);
	said.local = false;
	pool_heard(pool, c, &said, true);
	pool_put(pool, &c);
	c = get(1);
	assert_int_equal(accepted, 1);
	smtp_result_local(421, "4.7.0", "slower, please", &said);
	said.local = false;
	pool_heard(pool, c, &said, true);
	pool_put(pool, &c);
	/* However it is asked for, and though there is an idle connection. */
	for (unsigned tls = SMTP_TLS_NONE; tls <= SMTP_TLS_REQUIRE; tls++) {
		connection_wish_init(&wish, (enum smtp_tls_policy)tls);
		assert_int_not_equal(
		    pool_get(pool, &target, &wish, 1, false, loop_now(loop) + 5000, &none, &why, &how),
		    ERR_OK);
		assert_null(none);
		assert_int_equal(why.code, 421);
		assert_int_equal(how, SMTP_CLOSED_REFUSED);
	}
	assert_int_equal(accepted, 1);
	pool_quit_idle(pool);
	done = true;
}

static void
a_host_that_asks_for_a_pause_gets_one(void **state)
{
	(void)state;
	run(put_off);
}

static void
another_way(void *arg)
{
	struct connection *held[POOL_PER_HOST];
	struct connection *none = NULL;
	struct smtp_result why;
	enum smtp_closed how;
	struct connection_wish wish;
	(void)arg;
	for (size_t i = 0; i < POOL_PER_HOST; i++) {
		held[i] = get(1);
	}
	connection_wish_init(&wish, SMTP_TLS_PREFER);
	assert_int_equal(pool_get(pool, &target, &wish, 1, false, loop_now(loop) + 50, &none, &why, &how),
			 ERR_TIMEOUT);
	assert_int_equal(accepted, POOL_PER_HOST);
	for (size_t i = 0; i < POOL_PER_HOST; i++) {
		pool_put(pool, &held[i]);
	}
	pool_quit_idle(pool);
	done = true;
}

static void
a_host_sees_no_more_connections_because_they_are_protected_otherwise(void **state)
{
	(void)state;
	run(another_way);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_connection_serves_the_works_of_its_batch_alone_and_ends_with_it,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_host_that_asks_for_a_pause_gets_one, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		a_host_sees_no_more_connections_because_they_are_protected_otherwise, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(another_batchs_idle_connection_makes_room, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
