/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_member/gate.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

/* A client under TLS, the gate, and an opener and a session played by the test. */

struct world {
	struct role_host host;
	struct member_gate gate;
	struct gate_listener door;
	struct channel *opener; /* their ends */
	struct channel *session;
	struct tls_context *client_tls;
	struct stream *client;
	struct buf heard; /* by the client */
	struct buf got;   /* by the session */
	enum err verdict; /* of the opener; ERR__COUNT: it keeps silent */
	unsigned asked, opened, conn_closed;
	uint8_t extended;
	uint32_t pending;
	bool client_closed, starts_tls;
	char name[64], password[64];
};

static struct world w;

static void
on_opener_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct msg_login q;
	struct msg_login_reply r = {.worker = 0, .token = {9}};
	(void)arg;
	assert_int_equal(m->type, MSG_LOGIN);
	assert_int_equal(msg_login_decode(m->payload, &q), ERR_OK);
	assert_int_equal(q.address[15], 1);
	memcpy(w.name, q.name.ptr, q.name.len);
	memcpy(w.password, q.password.ptr, q.password.len);
	w.asked++;
	w.pending = m->id;
	if (w.verdict == ERR_OK) {
		assert_int_equal(channel_reply(ch, LOGIN, login_reply, m->id, &r), ERR_OK);
	} else if (w.verdict != ERR__COUNT) {
		assert_int_equal(channel_answer(ch, MSG_LOGIN, m->id, w.verdict), ERR_OK);
	}
}

static void
on_session_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct msg_conn_open opened;
	struct msg_conn_data data;
	(void)arg;
	(void)ch;
	if (m->type == MSG_CONN_OPEN) {
		assert_int_equal(msg_conn_open_decode(m->payload, &opened), ERR_OK);
		assert_int_equal(opened.token[0], 9);
		w.extended = opened.extended;
		w.opened++;
	} else if (m->type == MSG_CONN_DATA) {
		assert_int_equal(msg_conn_data_decode(m->payload, &data), ERR_OK);
		assert_int_equal(buf_append(&w.got, data.data), ERR_OK);
	} else {
		w.conn_closed++;
	}
}

static void
on_gate_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	(void)arg;
	(void)ch;
	(void)m;
	fail();
}

static void
on_gone(void *arg, struct channel *ch, bool fault)
{
	(void)arg;
	(void)fault;
	/* As process/role.c does. */
	for (unsigned p = 0; p < ROLE__COUNT; p++) {
		if (w.host.peers[p][0] == ch) {
			w.host.peers[p][0] = NULL;
			channel_destroy(&ch);
			return;
		}
	}
}

static const struct channel_events opener_events = {.message = on_opener_message, .closed = on_gone};
static const struct channel_events session_events = {.message = on_session_message, .closed = on_gone};
static const struct channel_events gate_events = {.message = on_gate_message, .closed = on_gone};

static void
client_data(struct stream *s, void *arg, struct bytes data)
{
	(void)arg;
	assert_int_equal(buf_append(&w.heard, data), ERR_OK);
	stream_consume(s, data.len);
	if (w.starts_tls && bytes_starts_with(data, "220 2.0.0")) {
		w.starts_tls = false;
		assert_int_equal(stream_start_tls_client(s, w.client_tls, "mail.example", false, NULL),
				 ERR_OK);
	}
}

static void
client_closed(struct stream *s, void *arg, enum err why)
{
	(void)s;
	(void)arg;
	(void)why;
	w.client_closed = true;
	stream_destroy(&w.client);
}

static const struct stream_events client_events = {.data = client_data, .closed = client_closed};

static void
turn(int times)
{
	for (int i = 0; i < times; i++) {
		assert_int_equal(loop_run_once(w.host.loop, 3), ERR_OK);
	}
}

static void
join(enum role peer, const struct channel_events *events, struct channel **ret)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(channel_create(w.host.loop, pair[0], ROLE_GATE_MEMBER, peer, 0, &gate_events, NULL,
					&w.host.peers[peer][0]),
			 ERR_OK);
	assert_int_equal(channel_create(w.host.loop, pair[1], peer, ROLE_GATE_MEMBER, 0, events, NULL, ret),
			 ERR_OK);
}

static int
setup(void **state)
{
	struct buf key = BUF_INIT(65536);
	struct buf chain = BUF_INIT(65536);
	(void)state;
	memset(&w, 0, sizeof(w));
	buf_init(&w.heard, 1U << 20);
	buf_init(&w.got, 1U << 20);
	assert_int_equal(loop_create(&w.host.loop), ERR_OK);
	config_defaults(&w.host.config);
	w.gate.host = &w.host;
	smtp_server_config_default(&w.gate.smtp);
	w.gate.smtp.hostname = BYTES_LIT("mail.example");
	assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &key, &chain), ERR_OK);
	struct tls_server_settings settings = {
	    .key_pem = buf_bytes(&key), .chain_pem = buf_bytes(&chain), .minimum = TLS_1_3};
	assert_int_equal(tls_server_create(&settings, &w.gate.tls), ERR_OK);
	assert_int_equal(tls_client_create(TLS_1_3, BYTES_EMPTY, &w.client_tls), ERR_OK);
	buf_clear(&key);
	buf_clear(&chain);
	join(ROLE_OPENER, &opener_events, &w.opener);
	join(ROLE_SESSION, &session_events, &w.session);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	stream_destroy(&w.client);
	while (w.gate.all != NULL) {
		connection_free(w.gate.all);
	}
	channel_destroy(&w.host.peers[ROLE_OPENER][0]);
	channel_destroy(&w.host.peers[ROLE_SESSION][0]);
	channel_destroy(&w.opener);
	channel_destroy(&w.session);
	tls_context_destroy(&w.gate.tls);
	tls_context_destroy(&w.client_tls);
	loop_destroy(&w.host.loop);
	buf_clear(&w.heard);
	buf_clear(&w.got);
	return 0;
}

static void
connect_to(uint16_t port)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(0x7f000001)}};
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	w.door = (struct gate_listener){.gate = &w.gate, .port = port};
	assert_int_equal(stream_create(w.host.loop, pair[1], NULL, &client_events, NULL, &w.client), ERR_OK);
	if (port != 587) {
		assert_int_equal(stream_start_tls_client(w.client, w.client_tls, "mail.example", true, NULL),
				 ERR_OK);
	}
	member_connection_open(&w.door, pair[0], (const struct sockaddr *)&from);
	turn(20);
}

static void
say(const char *text)
{
	assert_non_null(w.client);
	assert_int_equal(stream_write(w.client, bytes_str(text)), ERR_OK);
	turn(20);
}

static bool
heard(const char *text)
{
	return bytes_search(buf_bytes(&w.heard), bytes_str(text)) >= 0;
}

static void
test_an_imap_login_becomes_a_pipe_with_what_came_behind_it(void **state)
{
	(void)state;
	connect_to(993);
	assert_true(heard("* OK [CAPABILITY IMAP4rev1"));
	say("a LOGIN alice \"pass word\"\r\nb SELECT INBOX\r\n");
	assert_string_equal(w.name, "alice");
	assert_string_equal(w.password, "pass word");
	assert_true(heard("a OK "));
	assert_int_equal(w.opened, 1);
	say("c NOOP\r\n");
	assert_true(bytes_is(buf_bytes(&w.got), "b SELECT INBOX\r\nc NOOP\r\n"));
	/* The engine has gone: nothing of it is held while the member idles. */
	assert_null(w.gate.all->login);
	assert_int_equal(w.gate.piped, 1);
}

static void
test_a_wrong_password_is_told_and_another_may_follow(void **state)
{
	(void)state;
	w.verdict = ERR_AUTH;
	connect_to(993);
	say("a LOGIN alice wrong\r\n");
	assert_true(heard("a NO [AUTHENTICATIONFAILED]"));
	w.verdict = ERR_OK;
	say("b LOGIN alice right\r\n");
	assert_true(heard("b OK "));
}

static void
test_trouble_in_the_house_is_never_a_wrong_password(void **state)
{
	static const enum err trouble[] = {ERR_AGAIN, ERR_MEMORY, ERR_TIMEOUT, ERR_CLOSED};
	(void)state;
	connect_to(465);
	say("EHLO c\r\n");
	for (size_t i = 0; i < sizeof(trouble) / sizeof(trouble[0]); i++) {
		w.verdict = trouble[i];
		buf_reset(&w.heard);
		say("AUTH PLAIN AGFsaWNlAHB3\r\n");
		assert_true(heard("454 4.7.0 "));
	}
	/* No opener at all, then one that took the question with it. */
	w.verdict = ERR__COUNT;
	buf_reset(&w.heard);
	say("AUTH PLAIN AGFsaWNlAHB3\r\n");
	assert_int_equal(w.heard.len, 0);
	channel_destroy(&w.opener);
	turn(10);
	assert_true(heard("454 4.7.0 "));
	buf_reset(&w.heard);
	say("AUTH PLAIN AGFsaWNlAHB3\r\n");
	assert_true(heard("454 4.7.0 "));
}

static void
test_a_damaged_account_is_neither_a_wrong_password_nor_a_matter_of_time(void **state)
{
	(void)state;
	w.verdict = ERR_DAMAGED;
	connect_to(465);
	say("EHLO c\r\n");
	buf_reset(&w.heard);
	say("AUTH PLAIN AGFsaWNlAHB3\r\n");
	assert_true(heard("554 5.3.0 Your account is damaged here"));
	stream_destroy(&w.client);
	turn(10);
	connect_to(993);
	say("a LOGIN alice right\r\n");
	assert_true(heard("a NO [CONTACTADMIN] Your account is damaged here"));
	w.verdict = ERR_OK;
	say("b LOGIN alice right\r\n");
	assert_true(heard("b OK "));
}

static void
test_a_login_whose_worker_is_away_is_put_off(void **state)
{
	(void)state;
	channel_destroy(&w.session);
	turn(5);
	connect_to(465);
	say("EHLO c\r\nAUTH PLAIN AGFsaWNlAHB3\r\n");
	assert_int_equal(w.asked, 1);
	assert_true(heard("454 4.7.0 "));
	assert_false(heard("235"));
}

static void
test_starttls_then_login_and_nothing_said_in_clear_counts(void **state)
{
	(void)state;
	connect_to(587);
	say("EHLO c\r\n");
	assert_false(heard("AUTH"));
	say("AUTH PLAIN AGFsaWNlAHB3\r\n");
	assert_true(heard("538 "));
	w.starts_tls = true;
	buf_reset(&w.heard);
	say("STARTTLS\r\nEHLO injected\r\nAUTH PLAIN AGFsaWNlAHB3\r\n");
	turn(20);
	assert_int_equal(w.asked, 0);
	say("AUTH PLAIN AGFsaWNlAHB3\r\n");
	assert_true(heard("503 ")); /* EHLO must come again */
	say("EHLO c\r\nAUTH PLAIN AGFsaWNlAHB3\r\nMAIL FROM:<x@y>\r\n");
	assert_true(heard("235 2.7.0 "));
	assert_int_equal(w.extended, 1);
	assert_true(bytes_is(buf_bytes(&w.got), "MAIL FROM:<x@y>\r\n"));
}

static void
test_who_asks_to_act_for_another_is_refused_unasked(void **state)
{
	(void)state;
	connect_to(465);
	/* authzid bob, authcid alice */
	say("EHLO c\r\nAUTH PLAIN Ym9iAGFsaWNlAHB3\r\n");
	assert_int_equal(w.asked, 0);
	assert_true(heard("535 5.7.8 "));
	/* authzid alice, authcid alice */
	say("AUTH PLAIN YWxpY2UAYWxpY2UAcHc=\r\n");
	assert_true(heard("235 "));
}

static void
test_a_client_that_leaves_before_the_answer_leaves_nothing(void **state)
{
	struct msg_login_reply r = {.worker = 0, .token = {9}};
	(void)state;
	w.verdict = ERR__COUNT;
	connect_to(465);
	say("EHLO c\r\nAUTH PLAIN AGFsaWNlAHB3\r\n");
	assert_int_equal(w.asked, 1);
	stream_destroy(&w.client);
	turn(10);
	assert_null(w.gate.all);
	assert_int_equal(w.gate.connections, 0);
	assert_int_equal(channel_reply(w.opener, LOGIN, login_reply, w.pending, &r), ERR_OK);
	turn(10);
	assert_int_equal(w.opened, 0);
	/* IMAP reads nothing while it waits: there the end is found with the answer. */
	connect_to(993);
	say("a LOGIN alice pw\r\n");
	stream_destroy(&w.client);
	assert_int_equal(channel_reply(w.opener, LOGIN, login_reply, w.pending, &r), ERR_OK);
	turn(20);
	assert_null(w.gate.all);
	assert_int_equal(w.opened, w.conn_closed);
}

static void
test_stopping_is_told_before_login(void **state)
{
	(void)state;
	connect_to(993);
	login_shutdown(w.gate.all);
	turn(20);
	assert_true(heard("* BYE [UNAVAILABLE]"));
	assert_true(w.client_closed);
}

static void
test_one_source_cannot_take_all_places(void **state)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(0x7f000001)}};
	struct sockaddr_in other = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(0x7f000002)}};
	int clients[GATE_SHARE_LEAST + 2];
	(void)state;
	w.host.config.gate_member_connections = GATE_SHARE_LEAST * GATE_SHARE;
	w.door = (struct gate_listener){.gate = &w.gate, .port = 465};
	for (size_t i = 0; i < GATE_SHARE_LEAST + 2; i++) {
		int pair[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
		clients[i] = pair[1];
		member_connection_open(&w.door, pair[0],
				       (const struct sockaddr *)(i <= GATE_SHARE_LEAST ? &from : &other));
	}
	assert_int_equal(w.gate.connections, GATE_SHARE_LEAST + 1);
	assert_int_equal(w.gate.seen_crowded, 1);
	while (w.gate.all != NULL) {
		connection_free(w.gate.all);
	}
	for (size_t i = 0; i < GATE_BUCKETS; i++) {
		assert_null(w.gate.sources[i]);
	}
	for (size_t i = 0; i < GATE_SHARE_LEAST + 2; i++) {
		(void)close(clients[i]);
	}
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_an_imap_login_becomes_a_pipe_with_what_came_behind_it),
	    T(test_a_wrong_password_is_told_and_another_may_follow),
	    T(test_trouble_in_the_house_is_never_a_wrong_password),
	    T(test_a_damaged_account_is_neither_a_wrong_password_nor_a_matter_of_time),
	    T(test_a_login_whose_worker_is_away_is_put_off),
	    T(test_starttls_then_login_and_nothing_said_in_clear_counts),
	    T(test_who_asks_to_act_for_another_is_refused_unasked),
	    T(test_a_client_that_leaves_before_the_answer_leaves_nothing),
	    T(test_stopping_is_told_before_login),
	    T(test_one_source_cannot_take_all_places),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
