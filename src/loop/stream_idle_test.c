/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "loop/internal.h"
#include "loop/stream.h"

/*
 * The heap that an idle TLS connection costs the server. The clients live in
 * a process of their own, so that only the server's side is counted.
 */

enum { CONNECTIONS = 200, BUDGET = 24 * 1024 };

static size_t secured, received, gone;

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	(void)arg;
	received += data.len;
	stream_consume(s, data.len);
}

static void
on_server_data(struct stream *s, void *arg, struct bytes data)
{
	/* Some traffic both ways first: an idle connection is one that has worked before. */
	assert_int_equal(stream_write(s, data), ERR_OK);
	on_data(s, arg, data);
}

static void
on_secured(struct stream *s, void *arg)
{
	(void)s;
	(void)arg;
	secured++;
}

static void
on_closed(struct stream *s, void *arg, enum err why)
{
	(void)s;
	(void)arg;
	(void)why;
	gone++;
}

static const struct stream_events server_events = {
    .data = on_server_data, .secured = on_secured, .closed = on_closed};
static const struct stream_events client_events = {
    .data = on_data, .secured = on_secured, .closed = on_closed};

static bool
turn(struct loop *loop)
{
	return loop_run_once(loop, 200) == ERR_OK;
}

static int
be_clients(int fds[CONNECTIONS][2])
{
	struct loop *loop = NULL;
	struct tls_context *ctx = NULL;
	static uint8_t kilobytes[8 * 1024];
	if (loop_create(&loop) != ERR_OK || tls_client_create(TLS_1_3, BYTES_EMPTY, &ctx) != ERR_OK) {
		return 1;
	}
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct stream *s = NULL;
		(void)close(fds[i][0]);
		if (stream_create(loop, fds[i][1], NULL, &client_events, NULL, &s) != ERR_OK ||
		    stream_start_tls_client(s, ctx, "mail.example", true, NULL) != ERR_OK ||
		    stream_write(s, bytes_of(kilobytes, sizeof(kilobytes))) != ERR_OK) {
			return 1;
		}
	}
	while (gone < CONNECTIONS && turn(loop)) {
	}
	return secured == CONNECTIONS && received == CONNECTIONS * sizeof(kilobytes) ? 0 : 2;
}

static void
an_idle_tls_connection_stays_within_its_budget(void **state)
{
	(void)state;
	static int fds[CONNECTIONS][2];
	static struct stream *streams[CONNECTIONS];
	for (size_t i = 0; i < CONNECTIONS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
	}
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		_exit(be_clients(fds));
	}
	struct loop *loop = NULL;
	struct tls_context *ctx = NULL;
	struct buf key = BUF_INIT(4096);
	struct buf cert = BUF_INIT(4096);
	assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &key, &cert), ERR_OK);
	struct tls_server_settings settings = {
	    .key_pem = buf_bytes(&key), .chain_pem = buf_bytes(&cert), .minimum = TLS_1_3};
	assert_int_equal(tls_server_create(&settings, &ctx), ERR_OK);
	assert_int_equal(loop_create(&loop), ERR_OK);
	size_t before = 0;
	for (size_t i = 0; i < CONNECTIONS; i++) {
		(void)close(fds[i][1]);
		if (i == 8) {
			/* What the first connections set up once for all of them does not count. */
			while (received < 8 * 8192 && turn(loop)) {
			}
			before = mallinfo2().uordblks;
		}
		assert_int_equal(stream_create(loop, fds[i][0], NULL, &server_events, NULL, &streams[i]),
				 ERR_OK);
		assert_int_equal(stream_start_tls_server(streams[i], ctx, true, NULL), ERR_OK);
		stream_set_idle(streams[i], 30 * MSEC_MINUTE);
	}
	while (received < CONNECTIONS * 8192 && gone == 0) {
		assert_true(turn(loop));
	}
	assert_int_equal(secured, CONNECTIONS);
	size_t each = (mallinfo2().uordblks - before) / (CONNECTIONS - 8);
	(void)printf("heap per idle TLS 1.3 connection: %zu bytes\n", each);
#ifndef COHUE_SANITIZED /* its allocator counts otherwise */
	assert_true(each > 1000);
	assert_true(each <= BUDGET);
#endif
	for (size_t i = 0; i < CONNECTIONS; i++) {
		stream_finish(&streams[i]);
	}
	while (loop->finishing != NULL) {
		assert_true(turn(loop));
	}
	int status = -1;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	tls_context_destroy(&ctx);
	loop_destroy(&loop);
	buf_wipe(&key);
	buf_clear(&cert);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(an_idle_tls_connection_stays_within_its_budget)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
