/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "protocol/http_server.h"

enum { TEXT_MAX = 512 * 1024 };

/* One connection in virtual time; the host writes down what it is asked, and echoes the path and the body. */
struct line {
	struct http_server server;
	struct buf out;
	struct buf asked;
	msec now;
	bool later; /* the host does not answer within the callback */
};

static msec
wall(void)
{
	return 784111777000; /* RFC 9110 section 5.6.7's example */
}

static const struct http_server_config config = {.fields = "X-Common: 1\r\n", .wall = wall};

static void
answer(struct line *l, struct bytes body)
{
	struct http_answer a = {.status = 200, .type = "text/plain", .body = body};
	http_server_answer(&l->server, &a, l->now);
}

static void
on_request(void *ctx, const struct http_request *r)
{
	struct line *l = ctx;
	static const char *const names[] = {"GET", "HEAD", "POST"};
	assert_int_equal(buf_printf(&l->asked, "%s %.*s %.*s ?%.*s [%.*s];", names[r->method],
				    (int)r->host.len, r->host.len > 0 ? (const char *)r->host.ptr : "",
				    (int)r->path.len, (const char *)r->path.ptr, (int)r->query.len,
				    r->query.len > 0 ? (const char *)r->query.ptr : "",
				    (int)(r->body.len > 40 ? 40 : r->body.len),
				    r->body.len > 0 ? (const char *)r->body.ptr : ""),
			 ERR_OK);
	if (!l->later) {
		answer(l, BYTES_LIT("hello"));
	}
}

static const struct http_server_host host = {.request = on_request};

static void
open_line(struct line *l)
{
	*l = (struct line){.now = 1000};
	buf_init(&l->out, TEXT_MAX);
	buf_init(&l->asked, TEXT_MAX);
	http_server_init(&l->server, &config, &host, l, l->now);
}

static void
take_output(struct line *l)
{
	for (struct bytes o = http_server_output(&l->server); o.len > 0; o = http_server_output(&l->server)) {
		assert_int_equal(buf_append(&l->out, o), ERR_OK);
		http_server_sent(&l->server, o.len, l->now);
	}
}

static void
say_bytes(struct line *l, struct bytes text, size_t piece)
{
	while (text.len > 0 && !http_server_closing(&l->server)) {
		size_t room = http_server_wants(&l->server);
		if (room == 0) {
			return;
		}
		struct bytes part = bytes_slice(text, 0, piece < room ? piece : room);
		assert_int_equal(http_server_feed(&l->server, part, l->now), ERR_OK);
		text = bytes_from(text, part.len);
		take_output(l);
	}
}

static void
say(struct line *l, const char *text)
{
	say_bytes(l, bytes_str(text), SIZE_MAX);
}

static void
close_line(struct line *l)
{
	http_server_clear(&l->server);
	buf_clear(&l->out);
	buf_clear(&l->asked);
}

static bool
has(const struct buf *b, const char *text)
{
	return bytes_search(buf_bytes(b), bytes_str(text)) >= 0;
}

static unsigned
count(const struct buf *b, const char *text)
{
	unsigned n = 0;
	struct bytes rest = buf_bytes(b);
	for (ptrdiff_t at; (at = bytes_search(rest, bytes_str(text))) >= 0; n++) {
		rest = bytes_from(rest, (size_t)at + 1);
	}
	return n;
}

/* The request is answered with this status, in whatever pieces it comes, and the connection ends. */
static void
refused(const char *text, unsigned status)
{
	char expected[32];
	(void)snprintf(expected, sizeof(expected), "HTTP/1.1 %u ", status);
	static const size_t pieces[] = {SIZE_MAX, 1, 7};
	for (size_t i = 0; i < 3; i++) {
		struct line l;
		open_line(&l);
		say_bytes(&l, bytes_str(text), pieces[i]);
		if (!bytes_starts_with(buf_bytes(&l.out), expected) || l.asked.len > 0) {
			fail_msg("%s: %.*s", text, (int)l.out.len, (const char *)l.out.ptr);
		}
		assert_true(http_server_closing(&l.server));
		assert_true(has(&l.out, "Connection: close\r\n"));
		assert_int_equal(count(&l.out, "HTTP/1.1 "), 1);
		close_line(&l);
	}
}

static void
test_a_request_is_asked_and_answered_with_length_date_and_the_common_fields(void **state)
{
	(void)state;
	struct line l;
	open_line(&l);
	say(&l, "GET /a/b?c=d%20&e HTTP/1.1\r\nhost: Mail.Example.ORG.:8443\r\nX: y\r\n\r\n");
	assert_true(bytes_is(buf_bytes(&l.asked), "GET mail.example.org /a/b ?c=d%20&e [];"));
	assert_true(bytes_is(buf_bytes(&l.out),
			     "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: "
			     "text/plain\r\nContent-Length: 5\r\nX-Common: 1\r\n\r\nhello"));
	assert_false(http_server_closing(&l.server));
	/* An idle connection holds nothing. */
	assert_int_equal(http_server_held(&l.server), 0);
	close_line(&l);
}

static void
test_pipelined_requests_are_answered_one_by_one_whatever_the_pieces(void **state)
{
	(void)state;
	static const char text[] =
	    "\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
	    "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
	    "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
	    "3;x=\"y\"\r\nabc\r\n00A \r\n0123456789\r\n0\r\nTrailer: z\r\n\r\n"
	    "HEAD http://other:80/4?q HTTP/1.1\r\nHost: a\r\n\r\n"
	    "GET https://other HTTP/1.1\r\nHost: [::1]:80\r\nConnection: x, Close\r\n\r\n"
	    "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct line l;
		open_line(&l);
		say_bytes(&l, BYTES_LIT(text), piece);
		assert_true(bytes_is(buf_bytes(&l.asked),
				     "GET a /1 ? [];POST a /2 ? [body];POST a /3 ? [abc0123456789];"
				     "HEAD other /4 ?q [];GET other / ? [];"));
		assert_int_equal(count(&l.out, "HTTP/1.1 200 OK"), 5);
		assert_int_equal(count(&l.out, "Content-Length: 5\r\n"), 5);
		assert_int_equal(count(&l.out, "hello"), 4); /* not to HEAD */
		assert_int_equal(count(&l.out, "Connection: close"), 1);
		assert_true(http_server_closing(&l.server));
		close_line(&l);
	}
}

static void
test_what_could_be_read_in_two_ways_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nContent-Length: 3\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\n\tX: 1\r\n\r\n",
	    "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
	    "GET / HTTP/1.1\nHost: a\n\n",
	    "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
	    "GET / HTTP/1.1\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nX: \001\r\n\r\n",
	    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET /\303\244 HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET http://u@b/x HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET /\r\nHost: a\r\n\r\n",
	    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
	    "GET / http/1.1\r\nHost: a\r\n\r\n",
	    "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
	    "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "\026\003\001\001\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3x\r\nabc\r\n0\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		refused(bad[i], 400);
	}
	struct line l;
	open_line(&l);
	say_bytes(&l, BYTES_LIT("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"), SIZE_MAX);
	assert_true(bytes_starts_with(buf_bytes(&l.out), "HTTP/1.1 400 "));
	close_line(&l);
}

static void
test_what_is_not_offered_is_said_with_its_own_status(void **state)
{
	(void)state;
	refused("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405);
	refused("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", 405);
	refused("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405);
	refused("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
	refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
	refused("PRI * HTTP/2.0\r\n\r\n", 505);
	refused("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417);
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413);
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413);
	refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff1\r\n",
		413);
	/* What is broken goes before what is not offered. */
	refused("PUT / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400);
}

static void
long_request(const char *before, size_t n, const char *between, unsigned times, unsigned status)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	assert_int_equal(buf_append_str(&b, before), ERR_OK);
	for (unsigned t = 0; t < times; t++) {
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(buf_append_byte(&b, 'x'), ERR_OK);
		}
		assert_int_equal(buf_append_str(&b, between), ERR_OK);
	}
	assert_int_equal(buf_append_byte(&b, 0), ERR_OK);
	refused((const char *)b.ptr, status);
	buf_clear(&b);
}

static void
test_heads_and_bodies_are_bounded(void **state)
{
	(void)state;
	long_request("GET /", HTTP_LINE_MAX, " HTTP/1.1\r\nHost: a\r\n\r\n", 1, 414);
	long_request("GET / HTTP/1.1\r\nHost: a\r\nX: ", HTTP_HEAD_MAX, "\r\n\r\n", 1, 431);
	/* Two chunks, each within the limit, and together beyond. */
	struct line l;
	open_line(&l);
	say(&l, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 9 && !http_server_closing(&l.server); i++) {
		char chunk[8192];
		memset(chunk, 'x', sizeof(chunk));
		say(&l, "2000\r\n");
		say_bytes(&l, bytes_of(chunk, sizeof(chunk)), SIZE_MAX);
		assert_true(http_server_held(&l.server) < (size_t)3 * 64 * 1024);
		if (i < 8) {
			say(&l, "\r\n");
		}
	}
	assert_true(bytes_starts_with(buf_bytes(&l.out), "HTTP/1.1 413 "));
	close_line(&l);
	/* Chunks of an octet: their lines are bounded, too. */
	open_line(&l);
	say(&l, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	unsigned chunks = 0;
	for (; chunks < HTTP_BODY_MAX && !http_server_closing(&l.server); chunks++) {
		say(&l, "1\r\nx\r\n");
	}
	assert_true(chunks < 6000);
	assert_true(bytes_starts_with(buf_bytes(&l.out), "HTTP/1.1 400 "));
	close_line(&l);
	open_line(&l);
	say(&l, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
	for (unsigned n = 0; n < 10000 && !http_server_closing(&l.server); n++) {
		say(&l, "Trailer: x\r\n");
	}
	assert_true(http_server_closing(&l.server));
	assert_int_equal(l.asked.len, 0);
	close_line(&l);
}

static void
test_more_than_so_many_fields_are_refused(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(TEXT_MAX);
	assert_int_equal(buf_append_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n"), ERR_OK);
	for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++) {
		assert_int_equal(buf_append_str(&b, "X: 1\r\n"), ERR_OK);
	}
	assert_int_equal(buf_append(&b, bytes_of("\r\n", 3)), ERR_OK);
	refused((const char *)b.ptr, 431);
	buf_clear(&b);
}

static void
test_100_continue_is_said_once_and_only_where_a_body_is_taken(void **state)
{
	(void)state;
	struct line l;
	open_line(&l);
	say(&l, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n");
	assert_true(bytes_is(buf_bytes(&l.out), "HTTP/1.1 100 Continue\r\n\r\n"));
	say(&l, "ab");
	assert_true(has(&l.asked, "[ab]"));
	assert_true(has(&l.out, "\r\n\r\nHTTP/1.1 200 OK"));
	say(&l, "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
	assert_int_equal(count(&l.out, "100 Continue"), 1);
	close_line(&l);
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\nExpect: 100-continue\r\n\r\n", 413);
}

static void
test_http_1_0_gets_one_answer_and_needs_no_host(void **state)
{
	(void)state;
	struct line l;
	open_line(&l);
	say(&l, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /y HTTP/1.0\r\n\r\n");
	assert_true(bytes_is(buf_bytes(&l.asked), "GET  /x ? [];"));
	assert_true(http_server_closing(&l.server));
	close_line(&l);
}

static void
test_nothing_is_read_until_the_host_has_answered(void **state)
{
	(void)state;
	struct line l;
	open_line(&l);
	l.later = true;
	say(&l, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(http_server_asked(&l.server));
	assert_int_equal(http_server_wants(&l.server), 0);
	assert_true(http_server_deadline(&l.server) == HTTP_NEVER);
	assert_true(bytes_is(buf_bytes(&l.asked), "GET a /1 ? [];"));
	l.now += 3600 * 1000;
	answer(&l, BYTES_LIT("late"));
	take_output(&l);
	assert_true(has(&l.out, "late"));
	assert_true(http_server_feed(&l.server, BYTES_EMPTY, l.now) == ERR_OK ||
		    http_server_closing(&l.server));
	close_line(&l);
}

static void
test_slow_peers_are_bounded_in_each_state(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *status;
	} rows[] = {
	    {"", ""}, /* nothing at all: just the end */
	    {"G", "HTTP/1.1 408 "},
	    {"GET / HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 408 "},
	    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "HTTP/1.1 408 "},
	    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1", "HTTP/1.1 408 "},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct line l;
		open_line(&l);
		say(&l, rows[i].text);
		l.now = http_server_deadline(&l.server) - 1;
		/* An octet now and then buys no time. */
		http_server_tick(&l.server, l.now);
		assert_false(http_server_closing(&l.server));
		l.now++;
		http_server_tick(&l.server, l.now);
		take_output(&l);
		assert_true(http_server_closing(&l.server));
		assert_true(l.now <= 1000 + 40 * 1000);
		assert_true(bytes_starts_with(buf_bytes(&l.out), rows[i].status));
		assert_true(rows[i].status[0] != '\0' || l.out.len == 0);
		close_line(&l);
	}
}

static void
test_a_connection_ends_after_its_silence_its_requests_and_its_life(void **state)
{
	(void)state;
	struct line l;
	open_line(&l);
	say(&l, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	size_t said = l.out.len;
	assert_true(http_server_deadline(&l.server) == l.now + 10 * 1000);
	l.now += 10 * 1000;
	http_server_tick(&l.server, l.now);
	assert_true(http_server_closing(&l.server));
	assert_int_equal(http_server_output(&l.server).len, 0);
	close_line(&l);

	open_line(&l);
	unsigned n = 0;
	for (; n < 2 * HTTP_REQUESTS_MAX && !http_server_closing(&l.server); n++) {
		say(&l, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	}
	assert_int_equal(n, HTTP_REQUESTS_MAX);
	assert_true(l.out.len >= said * HTTP_REQUESTS_MAX);
	assert_int_equal(count(&l.out, "Connection: close"), 1);
	close_line(&l);

	open_line(&l);
	for (n = 0; n < HTTP_REQUESTS_MAX && !http_server_closing(&l.server); n++) {
		say(&l, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
		l.now += 9 * 1000;
		http_server_tick(&l.server, l.now);
	}
	assert_true(n < 16);
	close_line(&l);
}

static void
test_an_answer_that_is_too_large_becomes_an_honest_error(void **state)
{
	(void)state;
	struct line l;
	open_line(&l);
	l.later = true;
	say(&l, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	static uint8_t large[HTTP_OUTPUT_MAX];
	memset(large, 'x', sizeof(large));
	answer(&l, bytes_of(large, sizeof(large)));
	take_output(&l);
	assert_true(bytes_starts_with(buf_bytes(&l.out), "HTTP/1.1 500 "));
	assert_true(http_server_closing(&l.server));
	close_line(&l);
}

static void
test_the_values_of_a_query_are_decoded(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(16);
	static const struct {
		const char *query;
		enum err e;
		const char *value;
	} rows[] = {
	    {"a=x", ERR_OK, "x"},        {"b=1&a=x%40y+z&a=2", ERR_OK, "x@y z"},
	    {"aa=1", ERR_NOT_FOUND, ""}, {"a", ERR_NOT_FOUND, ""},
	    {"", ERR_NOT_FOUND, ""},     {"a=", ERR_OK, ""},
	    {"a=%4", ERR_FORMAT, ""},    {"a=%", ERR_FORMAT, ""},
	    {"a=x%zz", ERR_FORMAT, ""},  {"a=%0d%0aX", ERR_FORMAT, ""},
	    {"a=%00", ERR_FORMAT, ""},   {"a=12345678901234567", ERR_LIMIT, ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		assert_int_equal(http_query_value(bytes_str(rows[i].query), "a", &out), rows[i].e);
		assert_true(bytes_is(buf_bytes(&out), rows[i].value));
	}
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_request_is_asked_and_answered_with_length_date_and_the_common_fields),
	    cmocka_unit_test(test_pipelined_requests_are_answered_one_by_one_whatever_the_pieces),
	    cmocka_unit_test(test_what_could_be_read_in_two_ways_is_refused),
	    cmocka_unit_test(test_what_is_not_offered_is_said_with_its_own_status),
	    cmocka_unit_test(test_heads_and_bodies_are_bounded),
	    cmocka_unit_test(test_more_than_so_many_fields_are_refused),
	    cmocka_unit_test(test_100_continue_is_said_once_and_only_where_a_body_is_taken),
	    cmocka_unit_test(test_http_1_0_gets_one_answer_and_needs_no_host),
	    cmocka_unit_test(test_nothing_is_read_until_the_host_has_answered),
	    cmocka_unit_test(test_slow_peers_are_bounded_in_each_state),
	    cmocka_unit_test(test_a_connection_ends_after_its_silence_its_requests_and_its_life),
	    cmocka_unit_test(test_an_answer_that_is_too_large_becomes_an_honest_error),
	    cmocka_unit_test(test_the_values_of_a_query_are_decoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
