/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A gate that asks its keeper, whose end is bare bytes. Ids of requests are a round and a place. */
enum { REPLY = 3, FIRST_ID = 1 << 20, SECOND_ID = 2 << 20 | 1 };

static struct {
	struct loop *loop;
	struct channel *ch;
	int keeper;
	unsigned messages;
	unsigned replies;
	unsigned order; /* of what was heard, a digit each: 1 a message, 2 a reply */
	unsigned closed;
	bool fault;
	bool ask_within;
	enum err asked;
} t;

static enum err
ask(msec limit, struct buf *reply)
{
	struct msg_tls_sign q = {.scheme = 0x0403, .content = BYTES_LIT("content")};
	return channel_ask(t.ch, TLS_SIGN, tls_sign, &q, limit, reply);
}

static void
on_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct buf reply = BUF_INIT(64);
	(void)arg;
	(void)ch;
	assert_int_equal(m->type, MSG_TLS_CHANGED);
	t.messages++;
	t.order = t.order * 10 + 1;
	if (t.ask_within) {
		t.asked = ask(1000, &reply);
	}
}

static void
on_reply(void *arg, enum err status, struct bytes payload)
{
	(void)arg;
	assert_int_equal(status, ERR_OK);
	assert_int_equal(payload.len, 5);
	t.replies++;
	t.order = t.order * 10 + 2;
}

static void
on_closed(void *arg, struct channel *ch, bool fault)
{
	(void)arg;
	t.closed++;
	t.fault = fault;
	channel_destroy(&ch);
	t.ch = NULL;
}

static int
set_up(void **state)
{
	static const struct channel_events events = {.message = on_message, .closed = on_closed};
	int fds[2];
	(void)state;
	memset(&t, 0, sizeof(t));
	if (loop_create(&t.loop) != ERR_OK ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0 ||
	    channel_create(t.loop, fds[0], ROLE_GATE_MX, ROLE_KEEPER, 0, &events, NULL, &t.ch) != ERR_OK) {
		return -1;
	}
	t.keeper = fds[1];
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	channel_destroy(&t.ch);
	(void)close(t.keeper);
	loop_destroy(&t.loop);
	return 0;
}

static void
turn(unsigned n)
{
	while (n-- > 0) {
		assert_int_equal(loop_run_once(t.loop, 1), ERR_OK);
	}
}

static void
say(uint32_t len, unsigned type, uint8_t kind, uint8_t status, uint32_t id, const char *body)
{
	uint8_t out[64] = {0,
			   0,
			   0,
			   (uint8_t)len,
			   (uint8_t)(type >> 8),
			   (uint8_t)type,
			   kind,
			   status,
			   (uint8_t)(id >> 24),
			   (uint8_t)(id >> 16),
			   (uint8_t)(id >> 8),
			   (uint8_t)id};
	assert_in_range(len, 0, sizeof(out) - 12);
	if (len > 0) {
		memcpy(out + 12, body, len);
	}
	assert_int_equal(write(t.keeper, out, 12 + len), (ssize_t)(12 + len));
}

static void
its_reply_is_taken_and_the_rest_is_heard_afterwards_in_order(void **state)
{
	struct buf reply = BUF_INIT(64);
	(void)state;
	assert_int_equal(channel_request_empty(t.ch, MSG_TLS_CHAIN, 0, on_reply, NULL), ERR_OK);
	say(0, MSG_TLS_CHANGED, IPC_NOTICE, 0, 0, NULL);
	say(5, MSG_TLS_CHAIN, REPLY, ERR_OK, FIRST_ID, "\0\0\0\1c");
	say(7, MSG_TLS_SIGN, REPLY, ERR_OK, SECOND_ID, "\0\0\0\3sig");
	say(0, MSG_TLS_CHANGED, IPC_NOTICE, 0, 0, NULL);
	assert_int_equal(ask(5000, &reply), ERR_OK);
	assert_int_equal(reply.len, 7);
	assert_memory_equal(reply.ptr, "\0\0\0\3sig", 7);
	assert_int_equal(t.order, 0);
	turn(3);
	assert_int_equal(t.order, 121);
	assert_int_equal(t.closed, 0);
	/* The request itself has left, whole. */
	uint8_t got[256];
	assert_in_range(read(t.keeper, got, sizeof(got)), 24 + 32 + 2 + 4 + 7, sizeof(got));
	buf_clear(&reply);
}

static void
a_refusal_is_the_peer_s(void **state)
{
	struct buf reply = BUF_INIT(64);
	(void)state;
	say(0, MSG_TLS_SIGN, REPLY, ERR_DENIED, FIRST_ID, NULL);
	assert_int_equal(ask(5000, &reply), ERR_DENIED);
	assert_int_equal(reply.len, 0);
	turn(2);
	assert_int_equal(t.closed, 0);
}

static void
silence_ends_it_and_the_late_reply_is_dropped(void **state)
{
	struct buf reply = BUF_INIT(64);
	(void)state;
	msec begun = clock_monotonic();
	assert_int_equal(ask(50, &reply), ERR_TIMEOUT);
	assert_true(clock_monotonic() - begun >= 50);
	say(7, MSG_TLS_SIGN, REPLY, ERR_OK, FIRST_ID, "\0\0\0\3sig");
	turn(2);
	assert_int_equal(t.closed, 0);
	assert_int_equal(reply.len, 0);
	say(7, MSG_TLS_SIGN, REPLY, ERR_OK, SECOND_ID, "\0\0\0\3two");
	assert_int_equal(ask(5000, &reply), ERR_OK);
	buf_clear(&reply);
}

static void
a_peer_that_goes_is_told_as_ever(void **state)
{
	struct buf reply = BUF_INIT(64);
	(void)state;
	assert_int_equal(shutdown(t.keeper, SHUT_RDWR), 0);
	assert_int_equal(ask(5000, &reply), ERR_CLOSED);
	turn(2);
	assert_int_equal(t.closed, 1);
	assert_false(t.fault);
	assert_int_equal(ask(5000, &reply), ERR_CLOSED);
}

static void
what_the_table_forbids_is_a_fault_here_too(void **state)
{
	struct buf reply = BUF_INIT(64);
	(void)state;
	say(0, MSG_STOP, IPC_NOTICE, 0, 0, NULL);
	say(7, MSG_TLS_SIGN, REPLY, ERR_OK, FIRST_ID, "\0\0\0\3sig");
	assert_int_equal(ask(5000, &reply), ERR_CLOSED);
	turn(2);
	assert_int_equal(t.closed, 1);
	assert_true(t.fault);
	assert_int_equal(reply.len, 0);
}

static void
from_within_its_own_messages_it_is_refused(void **state)
{
	(void)state;
	t.ask_within = true;
	say(0, MSG_TLS_CHANGED, IPC_NOTICE, 0, 0, NULL);
	turn(2);
	assert_int_equal(t.messages, 1);
	assert_int_equal(t.asked, ERR_STATE);
	assert_int_equal(t.closed, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(its_reply_is_taken_and_the_rest_is_heard_afterwards_in_order),
	    TEST(a_refusal_is_the_peer_s),
	    TEST(silence_ends_it_and_the_late_reply_is_dropped),
	    TEST(a_peer_that_goes_is_told_as_ever),
	    TEST(what_the_table_forbids_is_a_fault_here_too),
	    TEST(from_within_its_own_messages_it_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
