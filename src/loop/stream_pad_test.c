/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The records as they cross the wire: a relay between two socket pairs reads their headers. */
#include "loop/pad.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/stream.h"

enum {
	RECORDS_MAX = 20000,
	TAG = 16, /* of each cipher that is offered */
	APPLICATION_DATA = 23,
};

struct end {
	struct stream *s;
	uint64_t got, sum; /* bytes, and a sum over bytes and their places */
	unsigned secured, closed, drained;
	enum err why;
};

struct relay {
	int fd[2];
	struct buf pending[2]; /* not yet passed on, by direction */
	struct buf header;     /* of the record under way, from server to client */
	size_t skip;           /* bytes of it still to come */
	size_t lengths[RECORDS_MAX];
	size_t count;
};

static struct loop *loop;
static struct tls_context *server_ctx, *server12_ctx, *tickets_ctx, *client_ctx;
static struct end server, client;
static struct relay relay;

static uint8_t
octet(uint64_t place)
{
	return (uint8_t)(place * 131 + place / 251);
}

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct end *e = arg;
	for (size_t i = 0; i < data.len; i++) {
		e->sum += data.ptr[i] == octet(e->got + i) ? 0 : 1;
	}
	e->got += data.len;
	stream_consume(s, data.len);
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
on_closed(struct stream *s, void *arg, enum err why)
{
	(void)s;
	struct end *e = arg;
	e->closed++;
	e->why = why;
}

static const struct stream_events events = {
    .data = on_data, .secured = on_secured, .drained = on_drained, .closed = on_closed};
static const struct stream_settings settings = {.write_max = 8 << 20};

/* Takes the headers of what goes to the client. */
static void
look_at(struct bytes data)
{
	while (data.len > 0) {
		if (relay.skip > 0) {
			size_t n = relay.skip < data.len ? relay.skip : data.len;
			relay.skip -= n;
			data = bytes_from(data, n);
			continue;
		}
		assert_int_equal(buf_append(&relay.header, bytes_slice(data, 0, 1)), ERR_OK);
		data = bytes_from(data, 1);
		if (relay.header.len == 5) {
			const uint8_t *h = relay.header.ptr;
			relay.skip = (size_t)h[3] << 8 | h[4];
			if (h[0] == APPLICATION_DATA && client.secured > 0 && relay.count < RECORDS_MAX) {
				relay.lengths[relay.count++] = relay.skip;
			}
			buf_reset(&relay.header);
		}
	}
}

static void
pass(int direction)
{
	uint8_t piece[65536];
	struct buf *pending = &relay.pending[direction];
	ssize_t n = pending->len > 0 ? 0 : read(relay.fd[direction], piece, sizeof(piece));
	if (n > 0) {
		assert_int_equal(buf_append(pending, bytes_of(piece, (size_t)n)), ERR_OK);
		if (direction == 0) {
			look_at(bytes_of(piece, (size_t)n));
		}
	}
	n = pending->len == 0 ? 0 : write(relay.fd[1 - direction], pending->ptr, pending->len);
	if (n > 0) {
		buf_consume(pending, (size_t)n);
	}
}

static void
turns(int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(loop_run_once(loop, 0), ERR_OK);
		pass(0);
		pass(1);
	}
}

#define UNTIL(done)                                                                                          \
	do {                                                                                                 \
		for (msec end_ = clock_monotonic() + 10000; !(done) && clock_monotonic() < end_;) {          \
			turns(1);                                                                            \
		}                                                                                            \
		assert_true(done);                                                                           \
	} while (0)

static void
connect_to(struct tls_context *ctx)
{
	int a[2];
	int b[2];
	assert_int_equal(loop_create(&loop), ERR_OK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b), 0);
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	memset(&relay, 0, sizeof(relay));
	for (int i = 0; i < 2; i++) {
		buf_init(&relay.pending[i], 1 << 20);
	}
	buf_init(&relay.header, 5);
	relay.fd[0] = a[1];
	relay.fd[1] = b[1];
	assert_int_equal(stream_create(loop, a[0], &settings, &events, &server, &server.s), ERR_OK);
	assert_int_equal(stream_create(loop, b[0], &settings, &events, &client, &client.s), ERR_OK);
	assert_int_equal(stream_start_tls_server(server.s, ctx, true, NULL), ERR_OK);
	assert_int_equal(stream_start_tls_client(client.s, client_ctx, NULL, true, NULL), ERR_OK);
}

static void
shake_hands(struct tls_context *ctx)
{
	connect_to(ctx);
	UNTIL(server.secured == 1 && client.secured == 1);
	turns(5);
	relay.count = 0;
}

static void
disconnect(void)
{
	stream_destroy(&server.s);
	stream_destroy(&client.s);
	for (int i = 0; i < 2; i++) {
		(void)close(relay.fd[i]);
		buf_clear(&relay.pending[i]);
	}
	buf_clear(&relay.header);
	loop_destroy(&loop);
}

static uint64_t written;

/* The next n bytes of the pattern. */
static void
make(struct buf *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(buf_append_byte(out, octet(written++)), ERR_OK);
	}
}

static enum err
send_bytes(size_t n)
{
	struct buf out = BUF_INIT(8 << 20);
	make(&out, n);
	enum err e = stream_write(server.s, buf_bytes(&out));
	buf_clear(&out);
	return e;
}

static void
assert_records(size_t size, uint64_t count)
{
	assert_int_equal(relay.count, count);
	for (size_t i = 0; i < relay.count; i++) {
		assert_int_equal(relay.lengths[i], size + TAG);
	}
	relay.count = 0;
}

static void
written_records_have_the_size_and_number_that_were_asked_for(void **state)
{
	(void)state;
	static const struct {
		size_t bytes, size;
		uint64_t count;
	} cases[] = {{1, 1024, 1},      {1023, 1024, 1},      {2, 1024, 2},         {2046, 1024, 2},
		     {1, 16384, 1},     {16383, 16384, 1},    {4, 16384, 4},        {16383, 16384, 4},
		     {16386, 16384, 4}, {16387, 16384, 4},    {65531, 16384, 4},    {65532, 16384, 4},
		     {16, 16384, 16},   {65533, 16384, 16},   {262128, 16384, 16},  {4, 2, 4},
		     {64, 16384, 64},   {1048511, 16384, 64}, {1048512, 16384, 64}, {300, 512, 300}};
	written = 0;
	shake_hands(server_ctx);
	assert_true(stream_can_pad(server.s));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = BUF_INIT(8 << 20);
		uint64_t payload = client.got;
		uint64_t padding = stream_bytes_padding(server.s);
		make(&out, cases[i].bytes);
		assert_int_equal(
		    stream_write_records(server.s, buf_bytes(&out), cases[i].size, cases[i].count), ERR_OK);
		UNTIL(client.got == payload + cases[i].bytes);
		turns(5);
		assert_records(cases[i].size, cases[i].count);
		assert_int_equal(stream_bytes_padding(server.s) - padding,
				 cases[i].count * (cases[i].size - 1) - cases[i].bytes);
		buf_clear(&out);
	}
	assert_int_equal(client.sum, 0);
	disconnect();
}

static void
what_does_not_go_in_is_refused_and_nothing_of_it_leaves(void **state)
{
	(void)state;
	static uint8_t some[70000];
	shake_hands(server_ctx);
	struct bytes all = bytes_of(some, sizeof(some));
	assert_int_equal(stream_write_records(server.s, BYTES_EMPTY, 512, 1), ERR_LIMIT);
	assert_int_equal(stream_write_records(server.s, bytes_slice(all, 0, 512), 512, 1), ERR_LIMIT);
	assert_int_equal(stream_write_records(server.s, bytes_slice(all, 0, 3), 512, 4), ERR_LIMIT);
	assert_int_equal(stream_write_records(server.s, bytes_slice(all, 0, 65533), 16384, 4), ERR_LIMIT);
	assert_int_equal(stream_write_records(server.s, bytes_slice(all, 0, 100), 16385, 1), ERR_LIMIT);
	assert_int_equal(stream_write_records(server.s, bytes_slice(all, 0, 100), 1, 100), ERR_LIMIT);
	assert_int_equal(stream_plan_records(server.s, UINT64_MAX, 16384, UINT64_MAX / 16384), ERR_LIMIT);
	assert_int_equal(stream_queued(server.s), 0);
	turns(5);
	assert_int_equal(relay.count, 0);
	disconnect();
}

static void
a_plan_may_be_filled_little_by_little(void **state)
{
	(void)state;
	written = 0;
	shake_hands(server_ctx);
	assert_int_equal(send_bytes(100), ERR_OK); /* leaves before, as it comes */
	assert_int_equal(stream_plan_records(server.s, 200000, 16384, 64), ERR_OK);
	assert_int_equal(stream_plan_records(server.s, 1, 512, 1), ERR_STATE);
	for (size_t i = 0; i < 200; i++) {
		assert_int_equal(send_bytes(1000), ERR_OK);
		turns(1);
	}
	assert_int_equal(stream_plan_records(server.s, 10, 512, 1), ERR_OK);
	assert_int_equal(send_bytes(10), ERR_OK);
	UNTIL(client.got == 200110);
	turns(5);
	assert_int_equal(relay.count, 66);
	assert_int_equal(relay.lengths[0], 100 + 1 + TAG);
	assert_int_equal(relay.lengths[65], 512 + TAG);
	for (size_t i = 1; i < 65; i++) {
		assert_int_equal(relay.lengths[i], 16384 + TAG);
	}
	assert_int_equal(client.sum, 0);
	disconnect();
}

static void
a_plan_that_is_not_filled_sends_nothing_of_the_rest_when_the_stream_closes(void **state)
{
	(void)state;
	written = 0;
	shake_hands(server_ctx);
	assert_int_equal(stream_plan_records(server.s, 20000, 16384, 4), ERR_OK);
	assert_int_equal(send_bytes(16383 + 100), ERR_OK);
	stream_close(server.s);
	UNTIL(server.closed == 1);
	assert_int_equal(server.why, ERR_STATE);
	turns(5);
	assert_int_equal(client.got, 16383);
	disconnect();
}

static void
responses_show_their_step_whatever_their_pieces(void **state)
{
	(void)state;
	static const size_t sizes[] = {1,     2,      510,    511,     512,     4094,   4095,  4096,
				       16382, 16383,  16384,  20479,   20480,   40000,  65531, 65532,
				       65533, 262128, 262129, 1048512, 1048513, 2000000};
	static const size_t pieces[] = {1, 37, 4096, 16384, 60000, 4 << 20};
	written = 0;
	shake_hands(server_ctx);
	stream_set_ladder(server.s, STREAM_LADDER_RESPONSE);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizeof(pieces) / sizeof(pieces[0]); j++) {
			struct pad_shape want;
			if (sizes[i] / pieces[j] > 4096) {
				continue;
			}
			uint64_t before = client.got;
			for (size_t left = sizes[i]; left > 0;) {
				size_t n = left < pieces[j] ? left : pieces[j];
				assert_int_equal(send_bytes(n), ERR_OK);
				turns(1);
				left -= n;
			}
			assert_int_equal(stream_end_response(server.s), ERR_OK);
			UNTIL(client.got == before + sizes[i]);
			turns(5);
			assert_int_equal(pad_ladder(0, sizes[i], &want), ERR_OK);
			assert_records(want.size, want.count);
		}
	}
	assert_int_equal(client.sum, 0);
	disconnect();
}

static void
a_response_waits_for_its_end(void **state)
{
	(void)state;
	written = 0;
	shake_hands(server_ctx);
	stream_set_ladder(server.s, STREAM_LADDER_RESPONSE);
	assert_int_equal(send_bytes(16383 + 4096), ERR_OK);
	turns(10);
	assert_int_equal(relay.count, 0);
	assert_int_equal(send_bytes(1), ERR_OK);
	turns(10);
	assert_int_equal(relay.count, 1);
	stream_close(server.s);
	UNTIL(client.got == 16383 + 4097);
	turns(5);
	assert_true(relay.count >= 4);
	assert_int_equal(relay.lengths[3], 16384 + TAG);
	assert_int_equal(client.sum, 0);
	disconnect();
}

static void
two_responses_of_one_turn_are_two(void **state)
{
	(void)state;
	written = 0;
	shake_hands(server_ctx);
	stream_set_ladder(server.s, STREAM_LADDER_RESPONSE);
	assert_int_equal(send_bytes(10), ERR_OK);
	assert_int_equal(stream_end_response(server.s), ERR_OK);
	assert_int_equal(send_bytes(400), ERR_OK);
	assert_int_equal(stream_end_record(server.s, 512), ERR_OK);
	assert_int_equal(stream_end_record(server.s, 512), ERR_LIMIT);
	assert_int_equal(stream_end_response(server.s), ERR_OK);
	UNTIL(client.got == 410);
	turns(5);
	assert_records(512, 2);
	assert_int_equal(send_bytes(512), ERR_OK);
	assert_int_equal(stream_end_record(server.s, 512), ERR_LIMIT);
	disconnect();
}

static void
what_is_written_before_the_handshake_is_padded_after_it(void **state)
{
	(void)state;
	written = 0;
	connect_to(server_ctx);
	stream_set_ladder(server.s, STREAM_LADDER_TURN);
	assert_int_equal(send_bytes(40), ERR_OK);
	UNTIL(client.got == 40);
	assert_true(relay.count >= 1);
	assert_int_equal(relay.lengths[relay.count - 1], 512 + TAG);
	relay.count = 0;
	assert_int_equal(send_bytes(600), ERR_OK);
	UNTIL(client.got == 640);
	assert_records(4096, 1);
	disconnect();
}

static void
older_tls_says_that_it_cannot_pad(void **state)
{
	(void)state;
	written = 0;
	shake_hands(server12_ctx);
	assert_false(stream_can_pad(server.s));
	assert_int_equal(stream_plan_records(server.s, 100, 1024, 1), ERR_UNSUPPORTED);
	assert_int_equal(stream_write_records(server.s, BYTES_LIT("x"), 1024, 1), ERR_UNSUPPORTED);
	stream_set_ladder(server.s, STREAM_LADDER_RESPONSE);
	assert_int_equal(send_bytes(40), ERR_OK);
	assert_int_equal(stream_end_response(server.s), ERR_OK);
	UNTIL(client.got == 40);
	assert_int_equal(stream_bytes_padding(server.s), 0);
	disconnect();
}

static void
a_client_never_resumes_a_session(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct tls_info info;
		written = 0;
		shake_hands(tickets_ctx);
		assert_int_equal(send_bytes(1), ERR_OK);
		UNTIL(client.got == 1); /* the ticket came before it */
		assert_int_equal(stream_tls_info(client.s, &info), ERR_OK);
		assert_string_equal(info.version, "TLSv1.3");
		assert_false(info.resumed);
		disconnect();
	}
}

static int
make_contexts(void **state)
{
	(void)state;
	struct buf key = BUF_INIT(4096);
	struct buf cert = BUF_INIT(4096);
	bool ok = tls_make_self_signed("mail.example", clock_wall(), &key, &cert) == ERR_OK;
	struct tls_server_settings s = {
	    .key_pem = buf_bytes(&key), .chain_pem = buf_bytes(&cert), .minimum = TLS_1_3};
	ok = ok && tls_server_create(&s, &server_ctx) == ERR_OK;
	s.tickets = true;
	ok = ok && tls_server_create(&s, &tickets_ctx) == ERR_OK;
	s.minimum = TLS_1_2;
	s.tickets = false;
	ok = ok && tls_server_create(&s, &server12_ctx) == ERR_OK &&
	     tls_client_create(TLS_1_2, BYTES_EMPTY, &client_ctx) == ERR_OK;
	buf_wipe(&key);
	buf_clear(&cert);
	return ok && tls_context_limit(server12_ctx, TLS_1_2) == ERR_OK ? 0 : -1;
}

static int
destroy_contexts(void **state)
{
	(void)state;
	tls_context_destroy(&server_ctx);
	tls_context_destroy(&tickets_ctx);
	tls_context_destroy(&server12_ctx);
	tls_context_destroy(&client_ctx);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(written_records_have_the_size_and_number_that_were_asked_for),
	    cmocka_unit_test(what_does_not_go_in_is_refused_and_nothing_of_it_leaves),
	    cmocka_unit_test(a_plan_may_be_filled_little_by_little),
	    cmocka_unit_test(a_plan_that_is_not_filled_sends_nothing_of_the_rest_when_the_stream_closes),
	    cmocka_unit_test(responses_show_their_step_whatever_their_pieces),
	    cmocka_unit_test(a_response_waits_for_its_end),
	    cmocka_unit_test(two_responses_of_one_turn_are_two),
	    cmocka_unit_test(what_is_written_before_the_handshake_is_padded_after_it),
	    cmocka_unit_test(older_tls_says_that_it_cannot_pad),
	    cmocka_unit_test(a_client_never_resumes_a_session),
	};
	return cmocka_run_group_tests(tests, make_contexts, destroy_contexts);
}
