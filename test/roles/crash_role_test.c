/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Store and mixer killed at each of their system calls while a message enters, is released, and leaves: after a restart
 * what was answered is there, whole and once, what was not is there once or not at all, and nothing waits for ever.
 * crash_role_test BINARY [STEP [ticks]]: every STEP-th call (1 by default); with ticks, under the crowd law, each tick a second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "roles/mail.h"

enum { CALLS_MAX = 2000, ROUND_MS = 20000 };

static const char *binary;
static unsigned long step = 1;
static bool ticks;

struct scene {
	struct rolehost host;
	struct fake *gate;
	struct fake *sender;
	struct fake *courier;
	struct fake *session;
	struct fake *spool;
	struct fake *asker;
	uint32_t epoch;
	unsigned number; /* of the message of this round */
	enum role target;
	struct answer put;
	struct answer *ignored; /* of the two chunks */
	unsigned verdicts;      /* answered with ERR_OK */
	char home[64];
};

static void
open_scene(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-crash-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	rolehost_init(&s->host, binary, s->home);
	if (ticks) {
		s->host.config.leave =
		    (struct law_config){.kind = LAW_CROWD,
					.clock = MSEC_SECOND,
					.k = 2, /* nobody else comes: each leaves at its deadline */
					.deadline = MSEC_SECOND,
					.mean = MSEC_SECOND,
					.patient = MSEC_DAY};
		s->host.config.arrive = s->host.config.leave;
		s->host.config.arrive.patient = 0;
		s->host.config.arrive.deadline = MSEC_SECOND;
	}
	s->gate = rolehost_fake(&s->host, ROLE_GATE_MX, 0, ROLE_MIXER);
	s->sender = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_MIXER);
	s->courier = rolehost_fake(&s->host, ROLE_COURIER, 0, ROLE_MIXER);
	s->session = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_STORE);
	s->spool = rolehost_fake(&s->host, ROLE_MIXER, 9, ROLE_STORE);
	struct fake *opener = rolehost_fake(&s->host, ROLE_OPENER, 0, ROLE_STORE);
	s->asker = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_KEEPER);
	assert_true(rolehost_start(&s->host, ROLE_KEEPER));
	assert_true(rolehost_start(&s->host, ROLE_STORE));
	know_accounts(opener);
	assert_true(rolehost_start(&s->host, ROLE_MIXER));
	struct answer a;
	struct msg_spool_key_current_reply r;
	answer_init(&a);
	assert_int_equal(channel_request_empty(s->asker->ch, MSG_SPOOL_KEY_CURRENT, 0, answer_take, &a),
			 ERR_OK);
	assert_int_equal(answer_wait(&s->host, &a), ERR_OK);
	assert_int_equal(msg_spool_key_current_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	s->epoch = r.epoch;
	answer_clear(&a);
}

static void
close_scene(struct scene *s)
{
	static const char *const files[] = {"store/cohue.db", "store/cohue.db-wal", "store/cohue.db-shm",
					    "store/lock"};
	char path[128];
	rolehost_clear(&s->host);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", s->home, files[i]);
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/store", s->home);
	(void)rmdir(path);
	(void)rmdir(s->home);
}

static void
on_verdict(void *arg, enum err status, struct bytes payload)
{
	struct scene *s = arg;
	(void)payload;
	s->verdicts += status == ERR_OK ? 1 : 0;
}

/* The courier delivers at once whatever it is given. */
static void
deliver(struct scene *s)
{
	for (size_t i = 0; i < s->courier->inbox_count; i++) {
		struct msg_courier_work w;
		struct msg_courier_verdict v = {.unused_ = 0};
		assert_int_equal(msg_courier_work_decode(buf_bytes(&s->courier->inbox[i].payload), &w),
				 ERR_OK);
		v.part = w.part;
		memcpy(v.unit, w.unit, 16);
		if (s->courier->ch != NULL) {
			assert_int_equal(channel_request(s->courier->ch, COURIER_VERDICT, courier_verdict, &v,
							 0, on_verdict, s),
					 ERR_OK);
		}
	}
	fake_forget_inbox(s->courier);
}

/* The blob's names of a message: to the member, and away. */
static void
blobs(const struct scene *s, uint8_t local[16], uint8_t away[16])
{
	name_of(local, 'l', s->number);
	name_of(away, 'w', s->number);
}

static bool
has_chunks(void *arg)
{
	const struct scene *s = arg;
	return (s->ignored[0].done && s->ignored[1].done) || !rolehost_runs(&s->host, s->target);
}

/* Says a message; the answers come, or the killed one's channel closes. */
static void
send_message(struct scene *s, const char *body)
{
	struct msg_mix_blob m = {.data = bytes_str(body)};
	struct msg_mix_put q = {.stage = IPC_STAGE_LEAVING, .size = 1000, .weight = 1, .counts = 1};
	struct buf parts = BUF_INIT(4096);
	uint8_t local[16];
	uint8_t away[16];
	static struct answer ignored[2];
	blobs(s, local, away);
	answer_init(&s->put);
	for (int i = 0; i < 2; i++) {
		answer_clear(&ignored[i]);
		answer_init(&ignored[i]);
		memcpy(m.blob, i == 0 ? local : away, 16);
		assert_int_equal(
		    channel_request(s->gate->ch, MIX_BLOB, mix_blob, &m, 0, answer_take, &ignored[i]),
		    ERR_OK);
	}
	channel_flush(s->gate->ch);
	/* The chunks come by another channel than the unit: both must be there first. */
	s->ignored = ignored;
	assert_true(rolehost_until(&s->host, has_chunks, s, ROUND_MS));
	add_part(&parts, IPC_PART_ARRIVAL, 1, local, 10, 0, 0, bytes_str(body));
	add_part(&parts, IPC_PART_COURIER, 0, away, 10, 0, s->epoch, bytes_str(body));
	name_of(q.unit, 'u', s->number);
	name_of(q.sender, 's', 1);
	q.parts = buf_bytes(&parts);
	if (s->sender->ch == NULL ||
	    channel_request(s->sender->ch, MIX_PUT, mix_put, &q, 0, answer_take, &s->put) != ERR_OK) {
		s->put.done = true;
		s->put.status = ERR_CLOSED;
	}
	buf_clear(&parts);
}

/* Answered and gone its whole way, or the target is dead. */
static bool
is_through(void *arg)
{
	struct scene *s = arg;
	deliver(s);
	return !rolehost_runs(&s->host, s->target) ||
	       (!s->host.killing && s->put.done &&
		(s->put.status != ERR_OK || (s->session->inbox_count > 0 && s->verdicts > 0)));
}

static bool
is_answered(void *arg)
{
	struct scene *s = arg;
	deliver(s);
	return s->put.done;
}

static bool
nothing_waits(void *arg)
{
	struct scene *s = arg;
	deliver(s);
	return spool_count(s->spool) == 0;
}

/* One round: killed before call number `at` of the target. False once the target survives it. */
static bool
round_of(struct scene *s, enum role target, unsigned long at)
{
	char body[64];
	uint8_t local[16];
	uint8_t away[16];
	s->target = target;
	s->number++;
	s->verdicts = 0;
	fake_forget_inbox(s->session);
	(void)snprintf(body, sizeof(body), "message %u", s->number);
	while (rolehost_figure(&s->host, ROLE_MIXER, "loaded") == 0) {
		rolehost_run(&s->host, 5);
	}
	if (!rolehost_trace(&s->host, target, at)) {
		print_message("ptrace is not permitted here\n");
		skip();
	}
	send_message(s, body);
	assert_true(rolehost_until(&s->host, is_through, s, ROUND_MS));
	bool killed = !rolehost_runs(&s->host, target);
	if (!killed) {
		rolehost_kill(&s->host, target);
	}
	assert_true(rolehost_start(&s->host, target));
	assert_true(rolehost_until(&s->host, is_answered, s, ROUND_MS));
	assert_true(rolehost_until(&s->host, nothing_waits, s, ROUND_MS));
	unsigned count = log_count(s->session, 1, bytes_str(body));
	if (s->put.status == ERR_OK ? count != 1 : count > 1) {
		fail_msg("%s killed at call %lu: answered %s, there %u times", role_name(target), at,
			 err_text(s->put.status), count);
	}
	/* Its blob is whole where the message is, and is nowhere where it is not; the delivered one is gone. */
	blobs(s, local, away);
	if (count == 1) {
		assert_int_equal(blob_is(s->session, local, bytes_str(body)), ERR_OK);
		assert_int_equal(blob_is(s->session, away, bytes_str(body)), ERR_NOT_FOUND);
	}
	assert_int_equal(s->host.children[ROLE_STORE].peer_faults, 0);
	answer_clear(&s->put);
	return killed;
}

static void
kill_everywhere(enum role target)
{
	struct scene s;
	unsigned long at = 1;
	unsigned taken = 0;
	unsigned rounds = 0;
	bool killed = true;
	open_scene(&s);
	msec begin = clock_monotonic();
	while (killed && at < CALLS_MAX) {
		killed = round_of(&s, target, at);
		taken += s.put.status == ERR_OK ? 1 : 0;
		rounds++;
		at += step;
	}
	assert_true(at < CALLS_MAX);
	if (taken == 0) {
		fail_msg("nothing was taken: %s", err_text(s.put.status));
	}
	print_message("%s: %u kills, the last before call %lu; %u messages were taken; %d ms\n",
		      role_name(target), rounds - 1, at - step, taken, (int)(clock_monotonic() - begin));
	close_scene(&s);
}

static void
the_store_may_die_at_each_of_its_calls(void **state)
{
	(void)state;
	kill_everywhere(ROLE_STORE);
}

static void
the_mixer_may_die_at_each_of_its_calls(void **state)
{
	(void)state;
	kill_everywhere(ROLE_MIXER);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_store_may_die_at_each_of_its_calls),
	    cmocka_unit_test(the_mixer_may_die_at_each_of_its_calls),
	};
	if (argc < 2) {
		return 2;
	}
	binary = argv[1];
	if (argc > 2) {
		step = strtoul(argv[2], NULL, 10);
	}
	ticks = argc > 3 && strcmp(argv[3], "ticks") == 0;
	return step == 0 ? 2 : cmocka_run_group_tests_name("crash points", tests, NULL, NULL);
}
