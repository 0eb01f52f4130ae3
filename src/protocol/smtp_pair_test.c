/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The client engine talks to the server engine: what goes in comes out, at any cut of the octets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/smtp_client.h"
#include "protocol/smtp_server.h"

enum { MESSAGES = 5, RCPTS = 3 };

struct pair {
	struct smtp_server server;
	struct smtp_client client;
	struct smtp_client_rcpt rcpts[RCPTS];
	struct smtp_client_mail mail;
	struct buf body;
	struct buf received;
	size_t at;
	uint32_t random;
	uint64_t body_sent; /* octets of the body as they crossed */
	unsigned sent;
	unsigned accepted;
	unsigned verdicts;
	unsigned refused;
	bool client_tls_due;
	bool server_tls_due;
	bool logged_in;
	bool closed;
	enum smtp_closed why;
};

static uint32_t
next_random(struct pair *p)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 17;
	p->random ^= p->random << 5;
	return p->random;
}

static void
make_body(struct pair *p)
{
	static const char *const pieces[] = {".",    "..",        "\r\n", ".\r\n",
					     "text", "\r\n.\r\n", " ",    "long long text"};
	buf_reset(&p->body);
	buf_reset(&p->received);
	for (size_t n = next_random(p) % 20000; n > 0; n--) {
		assert_int_equal(buf_append_str(&p->body, pieces[next_random(p) % 8]), ERR_OK);
	}
	assert_int_equal(buf_append_str(&p->body, "\r\n"), ERR_OK);
	p->at = 0;
}

static void
server_hello(void *ctx, enum smtp_hello kind, struct bytes name)
{
	(void)ctx;
	assert_int_equal(kind, SMTP_HELLO_EHLO);
	assert_true(bytes_is(name, "out.example.org"));
}

static void
server_starttls(void *ctx)
{
	((struct pair *)ctx)->server_tls_due = true;
}

static void
server_auth(void *ctx, const struct smtp_credentials *c)
{
	(void)ctx;
	(void)c;
	fail();
}

static void
server_mail(void *ctx, const struct smtp_mail *m)
{
	struct pair *p = ctx;
	assert_true(bytes_is(m->sender.local, "a"));
	assert_int_equal(m->size, p->body.len);
	smtp_server_accept(&p->server, 0);
}

static void
server_rcpt(void *ctx, const struct smtp_rcpt *r)
{
	struct pair *p = ctx;
	if (bytes_is(r->recipient.local, "nobody")) {
		smtp_server_reply(&p->server, 550, "5.1.1", BYTES_LIT("No"), 0);
	} else {
		smtp_server_accept(&p->server, 0);
	}
}

static void
server_begin(void *ctx, bool chunked)
{
	(void)chunked;
	smtp_server_accept(&((struct pair *)ctx)->server, 0);
}

static void
server_data(void *ctx, struct bytes chunk)
{
	assert_int_equal(buf_append(&((struct pair *)ctx)->received, chunk), ERR_OK);
}

static void
server_end(void *ctx, uint64_t size)
{
	struct pair *p = ctx;
	assert_int_equal(size, p->body.len);
	assert_true(bytes_equal(buf_bytes(&p->received), buf_bytes(&p->body)));
	assert_int_equal(p->body_sent, smtp_client_body_size(buf_bytes(&p->body)));
	p->body_sent = 0;
	p->accepted++;
	smtp_server_accept(&p->server, 0);
}

static void
server_reset(void *ctx)
{
	(void)ctx;
}

static const struct smtp_server_host server_host = {server_hello, server_starttls, server_auth,  NULL,
						    server_mail,  server_rcpt,     server_begin, server_data,
						    server_end,   server_reset};

static void
client_starttls(void *ctx)
{
	((struct pair *)ctx)->client_tls_due = true;
}

static void
client_ready(void *ctx)
{
	struct pair *p = ctx;
	if (p->sent == MESSAGES) {
		smtp_client_quit(&p->client, 0);
		return;
	}
	p->sent++;
	make_body(p);
	p->mail.size = p->body.len;
	assert_int_equal(smtp_client_send(&p->client, &p->mail, 0), ERR_OK);
}

static enum err
client_body(void *ctx, struct bytes *ret_chunk)
{
	struct pair *p = ctx;
	*ret_chunk = bytes_slice(buf_bytes(&p->body), p->at, 1 + next_random(p) % 5000);
	p->at += ret_chunk->len;
	return ERR_OK;
}

static void
client_recipient(void *ctx, size_t index, const struct smtp_result *r)
{
	struct pair *p = ctx;
	assert_int_equal(r->code, index == 1 ? 550 : 250);
	assert_string_equal(r->status, index == 1 ? "5.1.1" : "2.0.0");
	p->verdicts++;
}

static void
client_done(void *ctx)
{
	(void)ctx;
}

static void
client_closed(void *ctx, enum smtp_closed why, const struct smtp_result *r)
{
	struct pair *p = ctx;
	(void)r;
	p->closed = true;
	p->why = why;
}

static const struct smtp_client_host client_host = {client_starttls,  client_ready, client_body,
						    client_recipient, client_done,  client_closed};

static void
shuttle(struct pair *p, size_t cut)
{
	struct bytes out = bytes_slice(smtp_server_output(&p->server), 0, 1 + next_random(p) % cut);
	if (out.len > 0 && !p->client_tls_due) {
		smtp_client_feed(&p->client, out, 0);
		smtp_server_sent(&p->server, out.len, 0);
	}
	if (p->client_tls_due && p->server_tls_due) {
		p->client_tls_due = false;
		p->server_tls_due = false;
		smtp_server_tls_started(&p->server, 0);
		smtp_client_tls_started(&p->client, 0);
	}
	out = bytes_slice(smtp_client_output(&p->client), 0, 1 + next_random(p) % cut);
	size_t wants = smtp_server_wants(&p->server);
	out = bytes_slice(out, 0, wants);
	if (out.len > 0) {
		p->body_sent += smtp_client_is_in_body(&p->client) ? out.len : 0;
		assert_int_equal(smtp_server_feed(&p->server, out, 0), ERR_OK);
		smtp_client_sent(&p->client, out.len, 0);
	}
}

static void
talk(uint32_t seed, size_t cut, enum smtp_tls_policy tls)
{
	struct smtp_server_config sc;
	struct smtp_client_config cc;
	struct pair p = {.random = seed, .body = BUF_INIT(1 << 20), .received = BUF_INIT(1 << 20)};
	smtp_server_config_default(&sc);
	smtp_client_config_default(&cc);
	sc.hostname = BYTES_LIT("mx.example.net");
	cc.hello = BYTES_LIT("out.example.org");
	cc.tls = tls;
	p.rcpts[0].mailbox = BYTES_LIT("b@example.net");
	p.rcpts[1].mailbox = BYTES_LIT("nobody@example.net");
	p.rcpts[2].mailbox = BYTES_LIT("\"c d\"@example.net");
	p.mail = (struct smtp_client_mail){
	    .sender = BYTES_LIT("a@example.org"), .rcpts = p.rcpts, .rcpt_count = RCPTS, .needs_8bit = true};
	smtp_server_init(&p.server, SMTP_MODE_MX, false, &sc, &server_host, &p);
	smtp_client_init(&p.client, &cc, &client_host, &p);
	smtp_client_start(&p.client, 0);
	smtp_server_start(&p.server, SMTP_HELLO_NONE, 0);
	for (unsigned long i = 0; i < 5000000 && !p.closed; i++) {
		shuttle(&p, cut);
	}
	assert_true(p.closed);
	assert_int_equal(p.why, SMTP_CLOSED_QUIT);
	assert_int_equal(p.accepted, MESSAGES);
	assert_int_equal(p.verdicts, MESSAGES * RCPTS);
	assert_true(smtp_server_closing(&p.server));
	assert_int_equal(smtp_client_is_tls(&p.client), tls == SMTP_TLS_REQUIRE);
	smtp_client_clear(&p.client);
	smtp_server_clear(&p.server);
	buf_clear(&p.body);
	buf_clear(&p.received);
}

static void
bodies_arrive_octet_for_octet(void **state)
{
	(void)state;
	static const size_t cuts[] = {3, 50, 1500, 16384, 60000};
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		talk(2463534242U + (uint32_t)i, cuts[i], SMTP_TLS_NONE);
		talk(88172645U + (uint32_t)i, cuts[i], SMTP_TLS_REQUIRE);
	}
}

/* The gate's unread octets go on into the session, and none is lost or said twice. */
static void
ignore_hello(void *ctx, enum smtp_hello kind, struct bytes name)
{
	(void)ctx;
	(void)kind;
	(void)name;
}

static void
accept_auth(void *ctx, const struct smtp_credentials *c)
{
	assert_true(bytes_is(c->user, "alice"));
	smtp_server_accept(ctx, 0);
}

static void
accept_mail(void *ctx, const struct smtp_mail *m)
{
	(void)m;
	smtp_server_accept(ctx, 0);
}

static void
pipelined_octets_go_from_gate_to_session_counted(void **state)
{
	(void)state;
	struct smtp_server_config config;
	struct smtp_server gate;
	struct smtp_server session;
	struct smtp_server_host host = {
	    .hello = ignore_hello, .auth = accept_auth, .mail = accept_mail, .reset = server_reset};
	struct buf unread = BUF_INIT(SMTP_UNREAD_MAX);
	struct bytes in = BYTES_LIT("EHLO me\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
				    "MAIL FROM:<alice@example.org>\r\nQUIT\r\n");
	smtp_server_config_default(&config);
	config.hostname = BYTES_LIT("mx.example.org");
	smtp_server_init(&gate, SMTP_MODE_GATE, true, &config, &host, &gate);
	smtp_server_start(&gate, SMTP_HELLO_NONE, 0);
	assert_int_equal(smtp_server_take_unread(&gate, &unread), ERR_STATE);
	assert_int_equal(smtp_server_feed(&gate, in, 0), ERR_OK);
	assert_true(smtp_server_logged_in(&gate));
	assert_int_equal(smtp_server_wants(&gate), 0);
	assert_int_equal(smtp_server_hello(&gate), SMTP_HELLO_EHLO);
	assert_int_equal(smtp_server_take_unread(&gate, &unread), ERR_OK);
	assert_true(bytes_is(buf_bytes(&unread), "MAIL FROM:<alice@example.org>\r\nQUIT\r\n"));
	assert_null(gate.in.ptr);
	smtp_server_init(&session, SMTP_MODE_SESSION, true, &config, &host, &session);
	smtp_server_start(&session, smtp_server_hello(&gate), 0);
	assert_int_equal(smtp_server_output(&session).len, 0);
	assert_int_equal(smtp_server_feed(&session, buf_bytes(&unread), 0), ERR_OK);
	assert_true(bytes_is(smtp_server_output(&session), "250 2.1.0 Sender accepted\r\n221 2.0.0 Bye\r\n"));
	smtp_server_clear(&gate);
	smtp_server_clear(&session);
	buf_clear(&unread);
}

static void
unread_octets_stay_below_their_cap(void **state)
{
	(void)state;
	struct smtp_server_config config;
	struct smtp_server s;
	struct smtp_server_host host = {.hello = ignore_hello, .reset = server_reset};
	uint8_t noops[6000];
	smtp_server_config_default(&config);
	config.max_junk = UINT32_MAX;
	config.hostname = BYTES_LIT("mx.example.org");
	for (size_t i = 0; i < sizeof(noops); i += 6) {
		memcpy(noops + i, "NOOP\r\n", 6);
	}
	smtp_server_init(&s, SMTP_MODE_MX, false, &config, &host, &s);
	smtp_server_start(&s, SMTP_HELLO_NONE, 0);
	size_t fed = 0;
	while (smtp_server_wants(&s) >= sizeof(noops)) {
		assert_int_equal(smtp_server_feed(&s, bytes_of(noops, sizeof(noops)), 0), ERR_OK);
		fed += sizeof(noops) / 6;
		assert_true(fed < 100000 && s.in.len <= SMTP_UNREAD_MAX &&
			    smtp_server_output(&s).len < 20000);
	}
	assert_int_equal(smtp_server_feed(&s, bytes_of(noops, sizeof(noops)), 0), ERR_LIMIT);
	size_t replies = 0;
	while (smtp_server_output(&s).len > 0) {
		size_t n = smtp_server_output(&s).len;
		for (size_t i = 0; i < n; i++) {
			replies += smtp_server_output(&s).ptr[i] == '\n' ? 1 : 0;
		}
		smtp_server_sent(&s, n, 0);
	}
	assert_int_equal(replies, fed + 1);
	assert_null(s.in.ptr);
	assert_null(s.out.ptr);
	smtp_server_clear(&s);
}

static void
ignore_starttls(void *ctx)
{
	(void)ctx;
}

static void
octets_glued_behind_starttls_are_forgotten_and_counted(void **state)
{
	(void)state;
	struct smtp_server_config config;
	struct smtp_server s;
	struct smtp_server_host host = {
	    .hello = ignore_hello, .starttls = ignore_starttls, .reset = server_reset};
	smtp_server_config_default(&config);
	config.hostname = BYTES_LIT("mx.example.org");
	smtp_server_init(&s, SMTP_MODE_MX, false, &config, &host, &s);
	smtp_server_start(&s, SMTP_HELLO_NONE, 0);
	assert_int_equal(smtp_server_feed(&s, BYTES_LIT("STARTTLS\r\nEHLO evil\r\nNO"), 0), ERR_OK);
	assert_int_equal(s.errors, 1);
	assert_int_equal(smtp_server_wants(&s), 0);
	assert_null(s.in.ptr);
	smtp_server_tls_started(&s, 0);
	assert_int_equal(smtp_server_feed(&s, BYTES_LIT("OP\r\n"), 0), ERR_OK);
	assert_int_equal(smtp_server_hello(&s), SMTP_HELLO_NONE);
	assert_true(bytes_ends_with_nocase(smtp_server_output(&s), "500 5.5.1 Command not recognised\r\n"));
	smtp_server_clear(&s);
}

static void
octets_in_clear_behind_the_reply_to_starttls_end_the_connection(void **state)
{
	(void)state;
	struct smtp_client_config config;
	struct pair p = {.random = 1};
	smtp_client_config_default(&config);
	config.hello = BYTES_LIT("out.example.org");
	smtp_client_init(&p.client, &config, &client_host, &p);
	smtp_client_start(&p.client, 0);
	smtp_client_feed(&p.client, BYTES_LIT("220 mx\r\n"), 0);
	smtp_client_feed(&p.client, BYTES_LIT("250-mx\r\n250 STARTTLS\r\n"), 0);
	smtp_client_feed(&p.client, BYTES_LIT("220 go\r\n250 evil\r\n"), 0);
	assert_true(p.closed);
	assert_int_equal(p.why, SMTP_CLOSED_PROTOCOL);
	assert_false(p.client_tls_due);
	smtp_client_clear(&p.client);
}

static void
the_size_of_a_body_on_the_way_counts_doubled_dots_and_its_end(void **state)
{
	(void)state;
	assert_int_equal(smtp_client_body_size(BYTES_EMPTY), 3);
	assert_int_equal(smtp_client_body_size(BYTES_LIT("a")), 6);
	assert_int_equal(smtp_client_body_size(BYTES_LIT(".")), 7);
	assert_int_equal(smtp_client_body_size(BYTES_LIT("a\r\n")), 6);
	assert_int_equal(smtp_client_body_size(BYTES_LIT(".\r\n..\r\na.\r\n")), 11 + 2 + 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_size_of_a_body_on_the_way_counts_doubled_dots_and_its_end),
	    cmocka_unit_test(bodies_arrive_octet_for_octet),
	    cmocka_unit_test(pipelined_octets_go_from_gate_to_session_counted),
	    cmocka_unit_test(octets_glued_behind_starttls_are_forgotten_and_counted),
	    cmocka_unit_test(octets_in_clear_behind_the_reply_to_starttls_end_the_connection),
	    cmocka_unit_test(unread_octets_stay_below_their_cap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
