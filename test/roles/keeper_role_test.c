/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The keeper as a process of its own, asked by a gate that is well, and by one that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/tls.h"
#include "roles/rolehost.h"

static const char *binary;

struct scene {
	struct rolehost host;
	struct fake *mx;
	struct fake *member;
	char home[64];
};

static void
open_scene(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-keeper-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	rolehost_init(&s->host, binary, s->home);
	s->mx = rolehost_fake(&s->host, ROLE_GATE_MX, 0, ROLE_KEEPER);
	s->member = rolehost_fake(&s->host, ROLE_GATE_MEMBER, 0, ROLE_KEEPER);
	assert_true(rolehost_start(&s->host, ROLE_KEEPER));
}

static void
close_scene(struct scene *s)
{
	char path[128];
	rolehost_clear(&s->host);
	(void)snprintf(path, sizeof(path), "%s/store", s->home);
	(void)rmdir(path);
	(void)rmdir(s->home);
}

static enum err
sign(struct fake *gate, const uint8_t id[TLS_KEY_ID], unsigned scheme, struct bytes content)
{
	struct answer a;
	struct msg_tls_sign q = {.scheme = (uint16_t)scheme, .content = content};
	memcpy(q.key, id, sizeof(q.key));
	answer_init(&a);
	enum err e = fake_ask(gate, TLS_SIGN, tls_sign, &q, &a);
	answer_clear(&a);
	return e;
}

static struct bytes
verify(uint8_t out[130], const char *side)
{
	memset(out, ' ', 64);
	(void)snprintf((char *)out + 64, 40, "TLS 1.3, %s CertificateVerify", side);
	memset(out + 98, 7, 32);
	return bytes_of(out, 130);
}

static struct bytes
exchange(uint8_t out[100])
{
	memset(out, 9, 100);
	memcpy(out + 64, "\3\0\x1d\x20", 4);
	return bytes_of(out, 100);
}

static void
a_gate_gets_its_chain_and_handshakes_signed_and_nothing_else(void **state)
{
	struct scene s;
	struct answer chain;
	uint8_t id[TLS_KEY_ID];
	uint8_t area[130];
	(void)state;
	open_scene(&s);
	answer_init(&chain);
	assert_int_equal(channel_request_empty(s.member->ch, MSG_TLS_CHAIN, 0, answer_take, &chain), ERR_OK);
	assert_int_equal(answer_wait(&s.host, &chain), ERR_OK);
	/* A certificate, and no private key anywhere in what it is told. */
	assert_true(bytes_search(buf_bytes(&chain.payload), BYTES_LIT("BEGIN CERTIFICATE")) >= 0);
	assert_true(bytes_search(buf_bytes(&chain.payload), BYTES_LIT("PRIVATE KEY")) < 0);
	assert_int_equal(tls_key_id(bytes_from(buf_bytes(&chain.payload), 4), id), ERR_OK);
	answer_clear(&chain);

	assert_int_equal(sign(s.member, id, 0x0403, verify(area, "server")), ERR_OK);
	assert_int_equal(sign(s.member, id, 0x0403, verify(area, "client")), ERR_DENIED);
	assert_int_equal(sign(s.member, id, 0x0403, BYTES_LIT("eyJhbGciOiJFUzI1NiJ9.eyJhIjoxfQ")),
			 ERR_DENIED);
	assert_int_equal(sign(s.member, id, 0x0403, BYTES_LIT("from:alice@house.test\r\n")), ERR_DENIED);
	assert_int_equal(sign(s.member, id, 0x0403, BYTES_EMPTY), ERR_DENIED);
	assert_int_equal(sign(s.member, id, 0x0804, verify(area, "server")), ERR_DENIED);
	/* Members speak TLS 1.3 alone, strangers 1.2 as well. */
	assert_int_equal(sign(s.member, id, 0x0403, exchange(area)), ERR_DENIED);
	assert_int_equal(sign(s.mx, id, 0x0403, exchange(area)), ERR_OK);
	id[0] ^= 1;
	assert_int_equal(sign(s.member, id, 0x0403, verify(area, "server")), ERR_NOT_FOUND);
	assert_int_equal(rolehost_figure(&s.host, ROLE_KEEPER, "handshakes_signed"), 2);
	assert_true(rolehost_runs(&s.host, ROLE_KEEPER));
	close_scene(&s);
}

static void
a_gate_that_sends_what_is_no_request_is_accused(void **state)
{
	struct scene s;
	(void)state;
	open_scene(&s);
	channel_start_request(s.member->ch, MSG_TLS_SIGN, 0, NULL, NULL);
	assert_int_equal(
	    channel_finish(s.member->ch, buf_append(channel_out(s.member->ch), BYTES_LIT("short"))), ERR_OK);
	for (int i = 0; i < 200 && s.host.children[ROLE_KEEPER].peer_faults == 0; i++) {
		rolehost_run(&s.host, 20);
	}
	assert_int_equal(s.host.children[ROLE_KEEPER].peer_faults, 1);
	/* The other gate is served. */
	struct answer a;
	answer_init(&a);
	assert_int_equal(channel_request_empty(s.mx->ch, MSG_TLS_CHAIN, 0, answer_take, &a), ERR_OK);
	assert_int_equal(answer_wait(&s.host, &a), ERR_OK);
	answer_clear(&a);
	close_scene(&s);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_gate_gets_its_chain_and_handshakes_signed_and_nothing_else),
	    cmocka_unit_test(a_gate_that_sends_what_is_no_request_is_accused),
	};
	if (argc < 2) {
		return 2;
	}
	binary = argv[1];
	return cmocka_run_group_tests_name("keeper role", tests, NULL, NULL);
}
