/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/stream.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Two streams over a socket pair, or one and a bare descriptor that plays the peer. */

struct end {
	struct stream *s;
	struct buf got;
	size_t calls, closed, secured, ended, drained;
	enum err why;
	size_t take; /* most bytes consumed per call */
	bool pause_after, destroy_in_data, starttls, close_at_end;
	size_t discarded;
	enum err tls_result;
};

static struct loop *loop;
static struct tls_context *server_ctx, *client_ctx, *strict_ctx;
static int fds[2];
static struct end a, b;

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct end *e = arg;
	e->calls++;
	size_t n = data.len < e->take ? data.len : e->take;
	assert_int_equal(buf_append(&e->got, bytes_slice(data, 0, n)), ERR_OK);
	if (e->starttls) {
		/* Takes the command, answers, and begins TLS with the rest unread. */
		ptrdiff_t line = bytes_find(data, '\n');
		assert_true(line >= 0);
		stream_consume(s, (size_t)line + 1);
		e->starttls = false;
		assert_int_equal(stream_write(s, BYTES_LIT("220 ready\r\n")), ERR_OK);
		e->tls_result = stream_start_tls_server(s, server_ctx, false, &e->discarded);
		buf_reset(&e->got);
		return;
	}
	stream_consume(s, n);
	if (e->pause_after) {
		stream_pause(s);
	}
	if (e->destroy_in_data) {
		stream_destroy(&e->s);
	}
}

static void
on_secured(struct stream *s, void *arg)
{
	(void)s;
	((struct end *)arg)->secured++;
}

static void
on_drained(struct stream *s, void *arg)
{
	(void)s;
	((struct end *)arg)->drained++;
}

static void
on_ended(struct stream *s, void *arg)
{
	struct end *e = arg;
	e->ended++;
	if (e->close_at_end) {
		stream_close(s);
	}
}

static void
on_closed(struct stream *s, void *arg, enum err why)
{
	(void)s;
	struct end *e = arg;
	e->closed++;
	e->why = why;
}

static const struct stream_events events = {
    .data = on_data, .secured = on_secured, .drained = on_drained, .ended = on_ended, .closed = on_closed};
static const struct stream_settings settings = {.read_max = 4096,
						.write_max = 1 << 20,
						.high_water = 65536,
						.low_water = 16384,
						.handshake_ms = 60,
						.close_ms = 80};

static void
clear_end(struct end *e)
{
	buf_init(&e->got, 4 << 20);
	*e = (struct end){.got = e->got, .take = SIZE_MAX, .why = ERR_STATE, .tls_result = ERR_STATE};
}

static int
set_up(void **state)
{
	(void)state;
	clear_end(&a);
	clear_end(&b);
	if (loop_create(&loop) != ERR_OK || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 ||
	    fcntl(fds[1], F_SETFL, O_NONBLOCK) != 0) {
		return -1;
	}
	return stream_create(loop, fds[0], &settings, &events, &a, &a.s) == ERR_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	stream_destroy(&a.s);
	if (b.s == NULL && fds[1] >= 0) {
		(void)close(fds[1]);
	}
	stream_destroy(&b.s);
	buf_clear(&a.got);
	buf_clear(&b.got);
	loop_destroy(&loop);
	return 0;
}

static void
second_stream(void)
{
	assert_int_equal(stream_create(loop, fds[1], &settings, &events, &b, &b.s), ERR_OK);
}

/* Turns until `done` or for a second. */
#define UNTIL(done)                                                                                          \
	do {                                                                                                 \
		for (msec end_ = clock_monotonic() + 1000; !(done) && clock_monotonic() < end_;) {           \
			assert_int_equal(loop_run_once(loop, 10), ERR_OK);                                   \
		}                                                                                            \
		assert_true(done);                                                                           \
	} while (0)

static void
turns(int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(loop_run_once(loop, 0), ERR_OK);
	}
}

static void
peer_sends(const char *text)
{
	size_t n = bytes_str(text).len;
	assert_int_equal(write(fds[1], text, n), (ssize_t)n);
}

static bool
peer_reads(const char *text)
{
	char got[256];
	ssize_t n = read(fds[1], got, sizeof(got));
	return n >= 0 && bytes_is(bytes_of(got, (size_t)n), text);
}

static void
handshake(void)
{
	second_stream();
	assert_int_equal(stream_start_tls_server(a.s, server_ctx, true, NULL), ERR_OK);
	assert_int_equal(stream_start_tls_client(b.s, client_ctx, "mail.example", true, NULL), ERR_OK);
	UNTIL(a.secured == 1 && b.secured == 1);
}

static void
writes_of_one_turn_leave_together(void **state)
{
	(void)state;
	assert_int_equal(stream_write(a.s, BYTES_LIT("one ")), ERR_OK);
	assert_int_equal(stream_write(a.s, BYTES_LIT("two ")), ERR_OK);
	assert_int_equal(stream_write(a.s, BYTES_LIT("three")), ERR_OK);
	assert_false(peer_reads("")); /* nothing has left yet */
	turns(1);
	assert_true(peer_reads("one two three"));
	assert_int_equal(stream_queued(a.s), 0);
}

static void
what_is_not_consumed_is_offered_again_with_more_behind_it(void **state)
{
	(void)state;
	a.take = 0;
	peer_sends("abc");
	turns(2);
	assert_int_equal(a.calls, 1);
	a.take = 4;
	peer_sends("def");
	turns(2);
	/* Four of six, then the two that were left. */
	assert_true(bytes_is(buf_bytes(&a.got), "abcdef"));
	assert_int_equal(a.calls, 3);
}

static void
unread_bytes_stay_below_the_maximum(void **state)
{
	(void)state;
	static uint8_t flood[100000];
	a.take = 0;
	assert_true(write(fds[1], flood, sizeof(flood)) > 50000);
	turns(10);
	assert_int_equal(stream_bytes_in(a.s), 4096);
	a.take = SIZE_MAX;
	stream_consume(a.s, 96);
	UNTIL(stream_bytes_in(a.s) > 50000);
	assert_int_equal(a.got.len, stream_bytes_in(a.s) - 96);
}

static void
a_paused_stream_reads_nothing_until_resumed(void **state)
{
	(void)state;
	a.pause_after = true;
	peer_sends("first");
	turns(2);
	peer_sends("second");
	turns(3);
	assert_int_equal(a.calls, 1);
	assert_true(bytes_is(buf_bytes(&a.got), "first"));
	a.pause_after = false;
	stream_resume(a.s);
	turns(3);
	assert_true(bytes_is(buf_bytes(&a.got), "firstsecond"));
}

static void
a_paused_stream_whose_peer_is_gone_does_not_spin(void **state)
{
	(void)state;
	stream_pause(a.s);
	peer_sends("last words");
	(void)close(fds[1]);
	fds[1] = -1;
	turns(3);
	uint64_t before = loop_turns(loop);
	msec start = clock_monotonic();
	assert_int_equal(loop_run_once(loop, 30), ERR_OK);
	assert_true(clock_monotonic() - start >= 25);
	assert_int_equal(loop_turns(loop), before + 1);
	stream_resume(a.s);
	UNTIL(a.ended == 1);
	assert_true(bytes_is(buf_bytes(&a.got), "last words"));
}

static void
back_pressure_is_felt_and_its_end_announced(void **state)
{
	(void)state;
	handshake();
	static uint8_t block[32768];
	stream_pause(b.s);
	turns(2);
	size_t sent = 0;
	for (int i = 0; i < 200 && stream_write(a.s, bytes_of(block, sizeof(block))) == ERR_OK; i++) {
		sent += sizeof(block);
		turns(1);
	}
	assert_true(stream_is_congested(a.s));
	assert_true(stream_queued(a.s) > (1 << 20) - sizeof(block));
	assert_int_equal(stream_write(a.s, bytes_of(block, sizeof(block))), ERR_LIMIT);
	assert_int_equal(a.drained, 0);
	stream_resume(b.s);
	UNTIL(b.got.len == sent);
	assert_int_equal(a.drained, 1);
	assert_false(stream_is_congested(a.s));
}

static void
after_half_close_the_answer_still_arrives(void **state)
{
	(void)state;
	peer_sends("question");
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	UNTIL(a.ended == 1);
	assert_true(bytes_is(buf_bytes(&a.got), "question"));
	assert_int_equal(a.closed, 0);
	assert_int_equal(stream_write(a.s, BYTES_LIT("answer")), ERR_OK);
	stream_close(a.s);
	assert_int_equal(stream_write(a.s, BYTES_LIT("more")), ERR_CLOSED);
	UNTIL(a.closed == 1);
	assert_int_equal(a.why, ERR_OK);
	assert_true(peer_reads("answer"));
	assert_int_equal(a.ended, 1);
}

static void
closing_under_tls_delivers_everything_first(void **state)
{
	(void)state;
	handshake();
	static uint8_t block[200000];
	b.close_at_end = true;
	assert_int_equal(stream_write(a.s, bytes_of(block, sizeof(block))), ERR_OK);
	stream_close(a.s);
	UNTIL(a.closed == 1 && b.closed == 1);
	assert_int_equal(a.why, ERR_OK);
	assert_int_equal(b.why, ERR_OK);
	assert_int_equal(b.ended, 1);
	assert_int_equal(b.got.len, sizeof(block));
}

static void
a_peer_that_does_not_close_is_left_after_the_deadline(void **state)
{
	(void)state;
	msec start = clock_monotonic();
	stream_close(a.s);
	UNTIL(a.closed == 1);
	assert_int_equal(a.why, ERR_OK);
	assert_true(clock_monotonic() - start >= 70);
}

static void
a_finished_stream_flushes_and_frees_itself(void **state)
{
	(void)state;
	assert_int_equal(stream_write(a.s, BYTES_LIT("421 bye")), ERR_OK);
	stream_finish(&a.s);
	assert_null(a.s);
	turns(3);
	assert_true(peer_reads("421 bye"));
	(void)close(fds[1]);
	fds[1] = -1;
	turns(3);
	assert_int_equal(a.closed, 0);
}

static void
both_sides_agree_on_tls(void **state)
{
	(void)state;
	handshake();
	assert_int_equal(stream_write(b.s, BYTES_LIT("hello")), ERR_OK);
	UNTIL(a.got.len == 5);
	struct tls_info info;
	assert_int_equal(stream_tls_info(a.s, &info), ERR_OK);
	assert_string_equal(info.version, "TLSv1.3");
	assert_string_equal(info.cipher, "TLS_AES_128_GCM_SHA256");
	assert_false(info.verified);
	uint8_t mine[32];
	uint8_t yours[32];
	assert_int_equal(stream_tls_exporter(a.s, "EXPORTER-Channel-Binding", mine, sizeof(mine)), ERR_OK);
	assert_int_equal(stream_tls_exporter(b.s, "EXPORTER-Channel-Binding", yours, sizeof(yours)), ERR_OK);
	assert_memory_equal(mine, yours, sizeof(mine));
}

static void
bytes_written_before_the_handshake_is_done_never_leave_in_clear(void **state)
{
	(void)state;
	assert_int_equal(stream_write(a.s, BYTES_LIT("220 ready")), ERR_OK);
	assert_int_equal(stream_start_tls_server(a.s, server_ctx, false, NULL), ERR_OK);
	assert_int_equal(stream_write(a.s, BYTES_LIT("250 secret")), ERR_OK);
	turns(5);
	assert_true(peer_reads("220 ready"));
	turns(5);
	assert_false(peer_reads("250 secret"));
}

static void
what_is_pipelined_behind_starttls_is_thrown_away(void **state)
{
	(void)state;
	a.starttls = true;
	peer_sends("STARTTLS\r\nMAIL FROM:<injected@example>\r\n");
	turns(1);
	assert_int_equal(a.tls_result, ERR_OK);
	assert_int_equal(a.discarded, sizeof("MAIL FROM:<injected@example>\r\n") - 1);
	turns(2);
	assert_true(peer_reads("220 ready\r\n"));
	second_stream();
	assert_int_equal(stream_start_tls_client(b.s, client_ctx, NULL, true, NULL), ERR_OK);
	UNTIL(a.secured == 1);
	assert_int_equal(stream_write(b.s, BYTES_LIT("EHLO x\r\n")), ERR_OK);
	UNTIL(a.got.len > 0);
	assert_true(bytes_is(buf_bytes(&a.got), "EHLO x\r\n"));
}

static void
what_still_waits_in_the_kernel_behind_starttls_is_thrown_away(void **state)
{
	(void)state;
	/* Longer than one read takes. */
	static char text[9000];
	memset(text, 'x', sizeof(text));
	memcpy(text, "STARTTLS\r\n", 10);
	a.starttls = true;
	assert_int_equal(write(fds[1], text, sizeof(text)), (ssize_t)sizeof(text));
	turns(1);
	assert_int_equal(a.tls_result, ERR_OK);
	assert_int_equal(a.discarded, sizeof(text) - 10);
}

static void
a_handshake_has_a_deadline(void **state)
{
	(void)state;
	msec start = clock_monotonic();
	assert_int_equal(stream_start_tls_server(a.s, server_ctx, true, NULL), ERR_OK);
	peer_sends("\x16\x03\x01");
	UNTIL(a.closed == 1);
	assert_int_equal(a.why, ERR_TIMEOUT);
	assert_true(clock_monotonic() - start >= 55);
}

static void
clear_text_in_place_of_a_handshake_ends_the_stream(void **state)
{
	(void)state;
	assert_int_equal(stream_start_tls_server(a.s, server_ctx, true, NULL), ERR_OK);
	peer_sends("EHLO not.tls.example\r\n");
	UNTIL(a.closed == 1);
	assert_int_equal(a.why, ERR_AUTH);
	assert_int_equal(a.secured, 0);
	assert_int_equal(a.calls, 0);
}

static void
a_verifying_client_accepts_the_right_name_only(void **state)
{
	(void)state;
	second_stream();
	assert_int_equal(stream_start_tls_server(a.s, server_ctx, true, NULL), ERR_OK);
	assert_int_equal(stream_start_tls_client(b.s, strict_ctx, "mail.example", true, NULL), ERR_OK);
	UNTIL(b.secured == 1);
	struct tls_info info;
	assert_int_equal(stream_tls_info(b.s, &info), ERR_OK);
	assert_true(info.verified);
}

static void
a_verifying_client_refuses_a_wrong_name(void **state)
{
	(void)state;
	second_stream();
	assert_int_equal(stream_start_tls_server(a.s, server_ctx, true, NULL), ERR_OK);
	assert_int_equal(stream_start_tls_client(b.s, strict_ctx, "other.example", true, NULL), ERR_OK);
	UNTIL(b.closed == 1);
	assert_int_equal(b.why, ERR_AUTH);
	assert_int_equal(b.secured, 0);
}

static void
an_idle_stream_ends_and_a_paused_one_does_not(void **state)
{
	(void)state;
	second_stream();
	stream_set_idle(a.s, 30);
	stream_set_idle(b.s, 30);
	stream_pause(b.s);
	b.close_at_end = false;
	UNTIL(a.closed == 1);
	assert_int_equal(a.why, ERR_TIMEOUT);
	assert_int_equal(b.closed, 0);
}

static void
a_stream_may_be_destroyed_by_its_own_callback(void **state)
{
	(void)state;
	a.destroy_in_data = true;
	peer_sends("x");
	turns(2);
	assert_null(a.s);
	assert_int_equal(a.calls, 1);
}

static void
padded_records_hide_the_length(void **state)
{
	(void)state;
	/* The peer is a stream, and what crosses is counted on a relay between two socket pairs. */
	int other[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, other), 0);
	assert_int_equal(stream_create(loop, other[1], &settings, &events, &b, &b.s), ERR_OK);
	assert_int_equal(stream_start_tls_server(a.s, server_ctx, true, NULL), ERR_OK);
	assert_int_equal(stream_start_tls_client(b.s, client_ctx, NULL, true, NULL), ERR_OK);
	size_t sizes[2] = {0, 0};
	for (int i = 0; i < 200; i++) {
		uint8_t relay[16384];
		if (i == 100 || i == 150) {
			struct bytes text =
			    i == 100 ? BYTES_LIT("x") : BYTES_LIT("a much longer line of text");
			assert_int_equal(a.secured, 1);
			assert_int_equal(stream_set_padding(a.s, 512), ERR_OK);
			assert_int_equal(stream_write(a.s, text), ERR_OK);
		}
		assert_int_equal(loop_run_once(loop, 0), ERR_OK);
		ssize_t n = read(fds[1], relay, sizeof(relay));
		if (n > 0) {
			assert_int_equal(write(other[0], relay, (size_t)n), n);
			sizes[0] += i >= 100 && i < 150 ? (size_t)n : 0;
			sizes[1] += i >= 150 ? (size_t)n : 0;
		}
		n = read(other[0], relay, sizeof(relay));
		if (n > 0) {
			assert_int_equal(write(fds[1], relay, (size_t)n), n);
		}
	}
	assert_true(sizes[0] >= 512);
	assert_int_equal(sizes[0], sizes[1]);
	assert_true(bytes_is(buf_bytes(&b.got), "xa much longer line of text"));
	(void)close(other[0]);
	(void)close(fds[1]);
}

static void
a_key_that_does_not_fit_the_certificate_is_refused(void **state)
{
	(void)state;
	struct buf key[2] = {BUF_INIT(4096), BUF_INIT(4096)};
	struct buf cert[2] = {BUF_INIT(4096), BUF_INIT(4096)};
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &key[i], &cert[i]),
				 ERR_OK);
	}
	assert_int_equal(tls_make_self_signed("a,DNS:b", clock_wall(), &key[0], &cert[0]), ERR_FORMAT);
	struct tls_context *ctx = NULL;
	struct tls_server_settings s = {
	    .key_pem = buf_bytes(&key[0]), .chain_pem = buf_bytes(&cert[1]), .minimum = TLS_1_2};
	assert_int_equal(tls_server_create(&s, &ctx), ERR_AUTH);
	s.chain_pem = BYTES_LIT("nonsense");
	assert_int_equal(tls_server_create(&s, &ctx), ERR_FORMAT);
	assert_null(ctx);
	for (size_t i = 0; i < 2; i++) {
		buf_wipe(&key[i]);
		buf_clear(&cert[i]);
	}
}

static bool
make_contexts(void)
{
	struct buf key = BUF_INIT(4096);
	struct buf cert = BUF_INIT(4096);
	bool ok = tls_make_self_signed("mail.example", clock_wall(), &key, &cert) == ERR_OK;
	struct tls_server_settings s = {
	    .key_pem = buf_bytes(&key), .chain_pem = buf_bytes(&cert), .minimum = TLS_1_3};
	ok = ok && tls_server_create(&s, &server_ctx) == ERR_OK &&
	     tls_client_create(TLS_1_2, BYTES_EMPTY, &client_ctx) == ERR_OK &&
	     tls_client_create(TLS_1_2, buf_bytes(&cert), &strict_ctx) == ERR_OK;
	buf_wipe(&key);
	buf_clear(&cert);
	return ok;
}

int
main(void)
{
#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    STREAM_TEST(writes_of_one_turn_leave_together),
	    STREAM_TEST(what_is_not_consumed_is_offered_again_with_more_behind_it),
	    STREAM_TEST(unread_bytes_stay_below_the_maximum),
	    STREAM_TEST(a_paused_stream_reads_nothing_until_resumed),
	    STREAM_TEST(a_paused_stream_whose_peer_is_gone_does_not_spin),
	    STREAM_TEST(back_pressure_is_felt_and_its_end_announced),
	    STREAM_TEST(after_half_close_the_answer_still_arrives),
	    STREAM_TEST(closing_under_tls_delivers_everything_first),
	    STREAM_TEST(a_peer_that_does_not_close_is_left_after_the_deadline),
	    STREAM_TEST(a_finished_stream_flushes_and_frees_itself),
	    STREAM_TEST(both_sides_agree_on_tls),
	    STREAM_TEST(bytes_written_before_the_handshake_is_done_never_leave_in_clear),
	    STREAM_TEST(what_is_pipelined_behind_starttls_is_thrown_away),
	    STREAM_TEST(what_still_waits_in_the_kernel_behind_starttls_is_thrown_away),
	    STREAM_TEST(a_handshake_has_a_deadline),
	    STREAM_TEST(clear_text_in_place_of_a_handshake_ends_the_stream),
	    STREAM_TEST(a_verifying_client_accepts_the_right_name_only),
	    STREAM_TEST(a_verifying_client_refuses_a_wrong_name),
	    STREAM_TEST(an_idle_stream_ends_and_a_paused_one_does_not),
	    STREAM_TEST(a_stream_may_be_destroyed_by_its_own_callback),
	    STREAM_TEST(padded_records_hide_the_length),
	    cmocka_unit_test(a_key_that_does_not_fit_the_certificate_is_refused),
	};
	int failed = make_contexts() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
	tls_context_destroy(&server_ctx);
	tls_context_destroy(&client_ctx);
	tls_context_destroy(&strict_ctx);
	return failed;
}
