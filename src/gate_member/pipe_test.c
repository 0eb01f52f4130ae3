/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_member/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A client's socket, the gate's pipe, and a session played by the test. */

struct world {
	struct role_host host;
	struct member_gate gate;
	struct connection *c;
	struct stream *stream;
	struct channel *session; /* the session's end */
	int client;
	struct buf got; /* by the session */
	uint32_t conn;
	unsigned opened, closed;
	bool gate_closed, fault;
};

static struct world w;

static void
on_session_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct msg_conn_data data;
	struct msg_conn_open opened;
	(void)arg;
	(void)ch;
	if (m->type == MSG_CONN_OPEN) {
		assert_int_equal(msg_conn_open_decode(m->payload, &opened), ERR_OK);
		assert_int_equal(opened.token[0], 7);
		w.conn = opened.conn;
		w.opened++;
	} else if (m->type == MSG_CONN_DATA) {
		assert_int_equal(msg_conn_data_decode(m->payload, &data), ERR_OK);
		assert_int_equal(buf_append(&w.got, data.data), ERR_OK);
	} else if (m->type == MSG_CONN_CLOSE) {
		w.closed++;
	}
}

static void
on_session_closed(void *arg, struct channel *ch, bool fault)
{
	(void)arg;
	(void)ch;
	(void)fault;
	w.gate_closed = true;
}

/* As gate_member.c does with a frame. */
static void
on_gate_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct msg_conn_data data;
	struct msg_conn_credit credit;
	struct msg_conn_flush flush;
	struct msg_conn_close end;
	enum err e = ERR_OK;
	(void)arg;
	if (m->type == MSG_CONN_DATA) {
		assert_int_equal(msg_conn_data_decode(m->payload, &data), ERR_OK);
		e = pipe_data(&w.gate, channel_peer_index(ch), &data);
	} else if (m->type == MSG_CONN_FLUSH) {
		assert_int_equal(msg_conn_flush_decode(m->payload, &flush), ERR_OK);
		e = pipe_flush(&w.gate, channel_peer_index(ch), &flush);
	} else if (m->type == MSG_CONN_CREDIT) {
		assert_int_equal(msg_conn_credit_decode(m->payload, &credit), ERR_OK);
		e = pipe_credit(&w.gate, channel_peer_index(ch), &credit);
	} else {
		assert_int_equal(msg_conn_close_decode(m->payload, &end), ERR_OK);
		e = pipe_close(&w.gate, channel_peer_index(ch), &end);
	}
	w.fault = w.fault || e == ERR_FORMAT;
}

static const struct channel_events session_events = {.message = on_session_message,
						     .closed = on_session_closed};
static const struct channel_events gate_events = {.message = on_gate_message, .closed = on_session_closed};

static void
no_data(struct stream *s, void *arg, struct bytes data)
{
	(void)s;
	(void)arg;
	(void)data;
}

static void
no_closed(struct stream *s, void *arg, enum err why)
{
	(void)s;
	(void)arg;
	(void)why;
}

static const struct stream_events before_login = {.data = no_data, .closed = no_closed};

static void
turn(int times)
{
	for (int i = 0; i < times; i++) {
		assert_int_equal(loop_run_once(w.host.loop, 5), ERR_OK);
	}
}

static int
setup(void **state)
{
	int pair[2];
	(void)state;
	memset(&w, 0, sizeof(w));
	buf_init(&w.got, 4U << 20);
	assert_int_equal(loop_create(&w.host.loop), ERR_OK);
	config_defaults(&w.host.config);
	w.gate.host = &w.host;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(channel_create(w.host.loop, pair[0], ROLE_GATE_MEMBER, ROLE_SESSION, 0, &gate_events,
					NULL, &w.host.peers[ROLE_SESSION][0]),
			 ERR_OK);
	assert_int_equal(channel_create(w.host.loop, pair[1], ROLE_SESSION, ROLE_GATE_MEMBER, 0,
					&session_events, NULL, &w.session),
			 ERR_OK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	w.client = pair[1];
	assert_int_equal(stream_create(w.host.loop, pair[0], NULL, &before_login, NULL, &w.stream), ERR_OK);
	w.c = calloc(1, sizeof(*w.c));
	assert_non_null(w.c);
	w.c->gate = &w.gate;
	w.c->protocol = IPC_PROTOCOL_SUBMISSION;
	w.c->link = &w.gate.all;
	w.gate.all = w.c;
	w.gate.connections = 1;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (w.gate.all != NULL) {
		connection_free(w.gate.all);
	}
	channel_destroy(&w.host.peers[ROLE_SESSION][0]);
	channel_destroy(&w.session);
	loop_destroy(&w.host.loop);
	(void)close(w.client);
	buf_clear(&w.got);
	return 0;
}

static void
start(const char *unread)
{
	static const uint8_t token[IPC_TOKEN] = {7};
	struct buf early = BUF_INIT(1024);
	assert_int_equal(buf_append_str(&early, unread), ERR_OK);
	pipe_start(w.c, w.stream, token, true, &early);
	assert_null(early.ptr);
}

static size_t
client_sends(size_t n)
{
	static uint8_t block[65536];
	size_t sent = 0;
	while (sent < n) {
		size_t most = n - sent < sizeof(block) ? n - sent : sizeof(block);
		ssize_t some = write(w.client, block, most);
		if (some <= 0) {
			turn(3);
			some = write(w.client, block, most);
			if (some <= 0) {
				break;
			}
		}
		sent += (size_t)some;
	}
	turn(10);
	return sent;
}

static size_t
client_reads(char *ret, size_t n)
{
	size_t at = 0;
	for (int i = 0; i < 5 && at < n; i++) {
		turn(2);
		ssize_t some = read(w.client, ret + at, n - at);
		at += some > 0 ? (size_t)some : 0;
	}
	return at;
}

static void
test_pipelined_bytes_come_first_and_all_are_carried_in_order(void **state)
{
	(void)state;
	/* Arrived before the login was answered, one part read by the engine and one not. */
	assert_int_equal(write(w.client, "second", 6), 6);
	turn(2);
	start("first ");
	turn(4);
	assert_int_equal(w.opened, 1);
	assert_int_equal(write(w.client, " third", 6), 6);
	turn(4);
	assert_true(bytes_is(buf_bytes(&w.got), "first second third"));
}

static void
test_no_more_than_a_window_goes_to_the_session_without_credit(void **state)
{
	(void)state;
	start("12345");
	(void)client_sends(1U << 20);
	assert_int_equal(w.got.len, CONN_WINDOW);
	struct msg_conn_credit credit = {.conn = w.conn, .count = 1000};
	assert_int_equal(channel_notice(w.session, CONN_CREDIT, conn_credit, &credit), ERR_OK);
	turn(10);
	assert_int_equal(w.got.len, CONN_WINDOW + 1000);
	assert_false(w.fault);
}

static void
test_credit_for_bytes_that_were_never_sent_is_a_fault(void **state)
{
	(void)state;
	start("12345");
	turn(3);
	struct msg_conn_credit credit = {.conn = w.conn, .count = 6};
	assert_int_equal(channel_notice(w.session, CONN_CREDIT, conn_credit, &credit), ERR_OK);
	turn(3);
	assert_true(w.fault);
}

static enum err
session_sends(size_t n)
{
	static uint8_t block[65536];
	enum err e = ERR_OK;
	while (n > 0 && e == ERR_OK) {
		size_t most = n < sizeof(block) ? n : sizeof(block);
		struct msg_conn_data m = {.conn = w.conn, .data = bytes_of(block, most)};
		e = channel_notice(w.session, CONN_DATA, conn_data, &m);
		n -= most;
	}
	turn(10);
	return e;
}

static void
test_a_session_that_passes_its_window_is_a_fault(void **state)
{
	(void)state;
	start("");
	turn(3);
	/* The client reads nothing: no credit is given past the stream's high-water mark. */
	assert_int_equal(session_sends(CONN_WINDOW), ERR_OK);
	assert_false(w.fault);
	for (int i = 0; i < 8 && !w.fault; i++) {
		assert_int_equal(session_sends(CONN_WINDOW), ERR_OK);
	}
	assert_true(w.fault);
}

static void
test_a_reading_client_gives_the_session_its_window_back(void **state)
{
	static char scratch[CONN_WINDOW];
	(void)state;
	start("");
	turn(3);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(session_sends(GATE_CREDIT_STEP), ERR_OK);
		size_t got = 0;
		for (int k = 0; k < 50 && got < GATE_CREDIT_STEP; k++) {
			got += client_reads(scratch, GATE_CREDIT_STEP - got);
		}
		assert_int_equal(got, GATE_CREDIT_STEP);
	}
	assert_false(w.fault);
}

static void
test_frames_of_a_connection_that_has_gone_are_dropped(void **state)
{
	(void)state;
	start("");
	turn(3);
	uint32_t old = w.conn;
	(void)close(w.client);
	w.client = -1;
	turn(5);
	assert_int_equal(w.closed, 1);
	assert_null(w.gate.all);
	struct msg_conn_data m = {.conn = old, .data = BYTES_LIT("late")};
	assert_int_equal(pipe_data(&w.gate, 0, &m), ERR_OK);
}

static void
test_another_worker_cannot_speak_for_a_connection(void **state)
{
	(void)state;
	start("");
	turn(3);
	struct msg_conn_data m = {.conn = w.conn, .data = BYTES_LIT("intruder")};
	assert_int_equal(pipe_data(&w.gate, 1, &m), ERR_FORMAT);
	struct msg_conn_close end = {.conn = w.conn};
	assert_int_equal(pipe_close(&w.gate, 1, &end), ERR_FORMAT);
	struct msg_conn_flush flush = {.conn = w.conn, .pad = CONN_PAD_LADDER};
	assert_int_equal(pipe_flush(&w.gate, 1, &flush), ERR_FORMAT);
	assert_int_equal(pipe_flush(&w.gate, 0, &flush), ERR_OK);
	flush.pad = 3;
	assert_int_equal(pipe_flush(&w.gate, 0, &flush), ERR_FORMAT);
}

static void
test_a_submission_hears_421_when_its_worker_goes(void **state)
{
	char text[100] = "";
	(void)state;
	start("");
	turn(3);
	pipe_worker_gone(&w.gate, 0);
	size_t n = client_reads(text, sizeof(text) - 1);
	assert_true(bytes_starts_with(bytes_of(text, n), "421 4.3.2 "));
	assert_int_equal(w.gate.piped, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_pipelined_bytes_come_first_and_all_are_carried_in_order),
	    T(test_no_more_than_a_window_goes_to_the_session_without_credit),
	    T(test_credit_for_bytes_that_were_never_sent_is_a_fault),
	    T(test_a_session_that_passes_its_window_is_a_fault),
	    T(test_a_reading_client_gives_the_session_its_window_back),
	    T(test_frames_of_a_connection_that_has_gone_are_dropped),
	    T(test_another_worker_cannot_speak_for_a_connection),
	    T(test_a_submission_hears_421_when_its_worker_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
