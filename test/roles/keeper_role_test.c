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

/* ---- certificates by ACME ---- */

static enum err
ask_empty(struct fake *f, enum msg_type type, struct answer *a)
{
	assert_int_equal(channel_request_empty(f->ch, type, 0, answer_take, a), ERR_OK);
	return answer_wait(f->host, a);
}

/* Until nothing is on its way to the disk any more. */
static enum err
ask_state(struct fake *fetcher)
{
	enum err e = ERR_AGAIN;
	for (int i = 0; i < 100 && e == ERR_AGAIN; i++) {
		struct answer a;
		answer_init(&a);
		e = ask_empty(fetcher, MSG_ACME_STATE, &a);
		answer_clear(&a);
		rolehost_run(fetcher->host, 5);
	}
	return e;
}

static enum err
ask_signature(struct fake *fetcher, enum acme_request what, enum acme_kind kind)
{
	struct answer a;
	struct msg_acme_sign q = {.what = (uint8_t)what,
				  .kind = (uint8_t)kind,
				  .url = BYTES_LIT("https://ca.test/x"),
				  .nonce = BYTES_LIT("n"),
				  .account = what == ACME_NEW_ACCOUNT ? BYTES_EMPTY
								      : BYTES_LIT("https://ca.test/me")};
	answer_init(&a);
	enum err e = fake_ask(fetcher, ACME_SIGN, acme_sign, &q, &a);
	answer_clear(&a);
	return e;
}

static enum err
ask_vouch(struct fake *gate)
{
	struct answer a;
	struct msg_acme_vouch_reply r;
	answer_init(&a);
	enum err e = ask_empty(gate, MSG_ACME_VOUCH, &a);
	if (e == ERR_OK) {
		static const uint8_t nothing[32];
		assert_int_equal(msg_acme_vouch_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		assert_memory_not_equal(r.thumbprint, nothing, sizeof(nothing));
	}
	answer_clear(&a);
	return e;
}

static struct fake *
open_acme(struct scene *s, bool on, const char *own_mx_key)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-keeper-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	rolehost_init(&s->host, binary, s->home);
	s->host.config.acme = on ? CONFIG_ON : CONFIG_OFF;
	(void)snprintf(s->host.config.hostname, sizeof(s->host.config.hostname), "mail.house.test");
	(void)snprintf(s->host.config.acme_directory, sizeof(s->host.config.acme_directory),
		       "https://ca.test/directory");
	(void)snprintf(s->host.config.tls_mx_key, sizeof(s->host.config.tls_mx_key), "%s", own_mx_key);
	s->member = rolehost_fake(&s->host, ROLE_GATE_MEMBER, 0, ROLE_KEEPER);
	struct fake *fetcher = rolehost_fake(&s->host, ROLE_FETCHER, 0, ROLE_KEEPER);
	assert_true(rolehost_start(&s->host, ROLE_KEEPER));
	return fetcher;
}

static void
a_gate_hears_whose_account_is_proved_only_while_an_order_may_be_under_way(void **state)
{
	struct scene s;
	(void)state;
	struct fake *fetcher = open_acme(&s, false, "");
	assert_int_equal(ask_vouch(s.member), ERR_DENIED);
	assert_int_equal(ask_signature(fetcher, ACME_NEW_ORDER, ACME_MEMBER), ERR_DENIED);
	close_scene(&s);

	fetcher = open_acme(&s, true, "");
	assert_int_equal(ask_state(fetcher), ERR_OK);
	assert_int_equal(ask_vouch(s.member), ERR_DENIED);
	assert_int_equal(ask_signature(fetcher, ACME_NEW_ACCOUNT, ACME_MEMBER), ERR_OK);
	assert_int_equal(ask_signature(fetcher, ACME_GET, ACME_MEMBER), ERR_OK);
	assert_int_equal(ask_vouch(s.member), ERR_DENIED);
	assert_int_equal(ask_signature(fetcher, ACME_NEW_ORDER, ACME_MEMBER), ERR_OK);
	assert_int_equal(ask_vouch(s.member), ERR_OK);
	close_scene(&s);
}

static void
whose_files_are_ones_own_is_nobodys_to_order_but_the_account_is_of_both(void **state)
{
	struct scene s;
	(void)state;
	struct fake *fetcher = open_acme(&s, true, "/own/key");
	assert_int_equal(ask_state(fetcher), ERR_OK);
	assert_int_equal(ask_signature(fetcher, ACME_NEW_ACCOUNT, ACME_MX), ERR_OK);
	assert_int_equal(ask_signature(fetcher, ACME_GET, ACME_MX), ERR_OK);
	assert_int_equal(ask_signature(fetcher, ACME_TRY, ACME_MX), ERR_OK);
	assert_int_equal(ask_signature(fetcher, ACME_NEW_ORDER, ACME_MX), ERR_DENIED);
	assert_int_equal(ask_signature(fetcher, ACME_FINALIZE, ACME_MX), ERR_DENIED);
	assert_int_equal(ask_signature(fetcher, ACME_NEW_ORDER, ACME_MEMBER), ERR_OK);
	assert_int_equal(ask_signature(fetcher, ACME_FINALIZE, ACME_MEMBER), ERR_OK);
	assert_int_equal(s.host.saves[ACME_FILE_MX_NEXT], 0);
	close_scene(&s);
}

static void
what_the_disk_refused_is_said_and_written_at_the_next_question(void **state)
{
	static const enum acme_file files[] = {ACME_FILE_ACCOUNT, ACME_FILE_MX_NEXT, ACME_FILE_MEMBER_NEXT};
	struct scene s;
	(void)state;
	struct fake *fetcher = open_acme(&s, true, "");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		s.host.disk_full[files[i]] = true;
		for (unsigned tries = 1; tries <= 2; tries++) {
			assert_int_equal(ask_state(fetcher), ERR_IO);
			assert_int_equal(s.host.saves[files[i]], tries);
		}
		s.host.disk_full[files[i]] = false;
		memset(s.host.saves, 0, sizeof(s.host.saves));
		/* The last but not the others: they come one behind the other. */
		if (files[i] != ACME_FILE_ACCOUNT) {
			assert_int_equal(ask_state(fetcher), ERR_OK);
			assert_int_equal(s.host.saves[files[i]], 1);
			rolehost_kill(&s.host, ROLE_KEEPER);
			assert_true(rolehost_start(&s.host, ROLE_KEEPER));
			memset(s.host.saves, 0, sizeof(s.host.saves));
		}
	}
	close_scene(&s);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_gate_gets_its_chain_and_handshakes_signed_and_nothing_else),
	    cmocka_unit_test(a_gate_that_sends_what_is_no_request_is_accused),
	    cmocka_unit_test(a_gate_hears_whose_account_is_proved_only_while_an_order_may_be_under_way),
	    cmocka_unit_test(whose_files_are_ones_own_is_nobodys_to_order_but_the_account_is_of_both),
	    cmocka_unit_test(what_the_disk_refused_is_said_and_written_at_the_next_question),
	};
	if (argc < 2) {
		return 2;
	}
	binary = argv[1];
	return cmocka_run_group_tests_name("keeper role", tests, NULL, NULL);
}
