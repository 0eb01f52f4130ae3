/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The waiting room with the real store and the real keeper, each a process; gate, session and courier are played. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "law/age.h"
#include "roles/mail.h"
#include "sealed/keys.h"
#include "sealed/spool.h"

static const char *binary;

struct scene {
	struct rolehost host;
	struct fake *gate;    /* of the mixer */
	struct fake *sender;  /* a session, of the mixer */
	struct fake *courier; /* of the mixer */
	struct fake *session; /* of the store */
	struct fake *spool;   /* another mixer, of the store: only looks */
	struct fake *asker;   /* a session, of the keeper */
	char home[64];
};

static void
start_all(struct scene *s)
{
	assert_true(rolehost_start(&s->host, ROLE_KEEPER));
	assert_true(rolehost_start(&s->host, ROLE_STORE));
	assert_true(rolehost_start(&s->host, ROLE_MIXER));
}

static void
kill_all(struct scene *s)
{
	rolehost_kill(&s->host, ROLE_MIXER);
	rolehost_kill(&s->host, ROLE_STORE);
	rolehost_kill(&s->host, ROLE_KEEPER);
}

static void
open_scene(struct scene *s, enum law_kind leave, enum law_kind arrive)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-mixer-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	rolehost_init(&s->host, binary, s->home);
	s->host.config.leave.kind = leave;
	s->host.config.arrive.kind = arrive;
	s->host.config.leave.mean = s->host.config.arrive.mean = MSEC_DAY;
	s->gate = rolehost_fake(&s->host, ROLE_GATE_MX, 0, ROLE_MIXER);
	s->sender = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_MIXER);
	s->courier = rolehost_fake(&s->host, ROLE_COURIER, 0, ROLE_MIXER);
	s->session = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_STORE);
	s->spool = rolehost_fake(&s->host, ROLE_MIXER, 9, ROLE_STORE);
	struct fake *opener = rolehost_fake(&s->host, ROLE_OPENER, 0, ROLE_STORE);
	s->asker = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_KEEPER);
	start_all(s);
	know_accounts(opener);
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

/* ---- what is waited for ---- */

static bool
spool_is_empty(void *arg)
{
	struct scene *s = arg;
	return spool_count(s->spool) == 0;
}

static size_t wanted;

static bool
courier_has(void *arg)
{
	const struct scene *s = arg;
	return s->courier->inbox_count >= wanted;
}

static void
wait_for_work(struct scene *s, size_t count)
{
	wanted = count;
	assert_true(rolehost_until(&s->host, courier_has, s, HOST_LIMIT_MS));
}

static struct msg_courier_work
work(struct scene *s, size_t i)
{
	struct msg_courier_work w;
	assert_int_equal(s->courier->inbox[i].type, MSG_COURIER_WORK);
	assert_int_equal(msg_courier_work_decode(buf_bytes(&s->courier->inbox[i].payload), &w), ERR_OK);
	return w;
}

static enum err
post_verdict(struct scene *s, const struct msg_courier_work *w, bool again, const char *body,
	     struct bytes notices, struct answer *a)
{
	struct msg_courier_verdict v = {
	    .part = w->part, .again = again, .body = bytes_str(body), .notices = notices};
	memcpy(v.unit, w->unit, 16);
	return channel_request(s->courier->ch, COURIER_VERDICT, courier_verdict, &v, 0, answer_take, a);
}

static enum err
verdict(struct scene *s, const struct msg_courier_work *w, bool again, const char *body, struct bytes notices)
{
	struct answer a;
	answer_init(&a);
	enum err e = post_verdict(s, w, again, body, notices, &a);
	e = e == ERR_OK ? answer_wait(&s->host, &a) : e;
	answer_clear(&a);
	return e;
}

static uint32_t
current_epoch(struct scene *s)
{
	struct answer a;
	struct msg_spool_key_current_reply r;
	enum err e = ERR_AGAIN;
	answer_init(&a);
	for (int i = 0; i < 500 && e != ERR_OK; i++) {
		e = s->asker->ch == NULL || channel_request_empty(s->asker->ch, MSG_SPOOL_KEY_CURRENT, 0,
								  answer_take, &a) != ERR_OK
			? ERR_CLOSED
			: answer_wait(&s->host, &a);
		if (e != ERR_OK) {
			rolehost_run(&s->host, 10);
		}
	}
	assert_int_equal(e, ERR_OK);
	assert_int_equal(msg_spool_key_current_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	answer_clear(&a);
	return r.epoch;
}

/* A message for `count` accounts (from 1 on), each with a blob of its own. */
static enum err
send_arriving(struct scene *s, unsigned unit, unsigned count, const char *body)
{
	struct buf parts = BUF_INIT(IPC_PAYLOAD_MAX);
	for (unsigned i = 1; i <= count; i++) {
		uint8_t blob[16];
		name_of(blob, 'b', unit * 1000 + i);
		assert_int_equal(put_blob(s->gate, blob, bytes_str(body)), ERR_OK);
		add_part(&parts, IPC_PART_ARRIVAL, i, blob, 10, 0, 0, bytes_str(body));
	}
	enum err e = put_unit(s->gate, IPC_STAGE_ARRIVING, unit, buf_bytes(&parts));
	buf_clear(&parts);
	return e;
}

/* A message of a member: to `locals` accounts, and `couriers` domains. */
static enum err
send_leaving(struct scene *s, unsigned unit, unsigned locals, unsigned couriers, const char *body)
{
	struct buf parts = BUF_INIT(IPC_PAYLOAD_MAX);
	uint32_t epoch = couriers > 0 ? current_epoch(s) : 0;
	for (unsigned i = 1; i <= locals + couriers; i++) {
		uint8_t blob[16];
		name_of(blob, 'b', unit * 1000 + i);
		assert_int_equal(put_blob(s->gate, blob, bytes_str(body)), ERR_OK);
		add_part(&parts, i <= locals ? IPC_PART_ARRIVAL : IPC_PART_COURIER, i, blob, 10, 0,
			 i <= locals ? 0 : epoch, bytes_str(body));
	}
	enum err e = put_unit(s->sender, IPC_STAGE_LEAVING, unit, buf_bytes(&parts));
	buf_clear(&parts);
	return e;
}

/* ---- tests ---- */

static void
a_session_sends_for_its_own_members_only(void **state)
{
	(void)state;
	struct scene s;
	struct answer a;
	uint8_t sender[16];
	open_scene(&s, LAW_EXPONENTIAL, LAW_EXPONENTIAL);
	/* Of two workers the test is one: send_leaving's member is of this one, or of the other. */
	name_of(sender, 's', 1);
	s.host.config.session_workers = 2;
	rolehost_kill(&s.host, ROLE_MIXER);
	assert_true(rolehost_start(&s.host, ROLE_MIXER));
	struct msg_mix_put m = {.stage = IPC_STAGE_LEAVING, .size = 1, .parts = BYTES_LIT("x")};
	m.sender[0] = 1;
	answer_init(&a);
	assert_int_equal(fake_ask(s.sender, MIX_PUT, mix_put, &m, &a), ERR_CLOSED);
	answer_clear(&a);
	/* The accusation leaves after the channel has closed. */
	for (int i = 0; i < 200 && s.host.children[ROLE_MIXER].peer_faults == 0; i++) {
		rolehost_run(&s.host, 10);
	}
	assert_int_equal(s.host.children[ROLE_MIXER].peer_faults, 1);
	rolehost_kill(&s.host, ROLE_MIXER);
	assert_true(rolehost_start(&s.host, ROLE_MIXER));
	assert_int_equal(send_leaving(&s, 1, 1, 0, "body"), sender[0] % 2 == 0 ? ERR_OK : ERR_CLOSED);
	close_scene(&s);
}

static void
the_courier_sends_in_nobodys_name_only(void **state)
{
	(void)state;
	struct scene s;
	struct answer a;
	open_scene(&s, LAW_EXPONENTIAL, LAW_EXPONENTIAL);
	const struct {
		uint8_t sender, counts, generation, stage;
		enum err wanted;
	} cases[] = {{0, 0, 0, IPC_STAGE_LEAVING, ERR_OK},
		     {1, 0, 0, IPC_STAGE_LEAVING, ERR_CLOSED},
		     {0, 1, 0, IPC_STAGE_LEAVING, ERR_CLOSED},
		     {0, 0, 1, IPC_STAGE_LEAVING, ERR_CLOSED},
		     {0, 0, 0, IPC_STAGE_ARRIVING, ERR_CLOSED}};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf parts = BUF_INIT(1024);
		uint8_t blob[16];
		name_of(blob, 'r', i);
		assert_int_equal(put_blob(s.courier, blob, BYTES_LIT("report")), ERR_OK);
		add_part(&parts, IPC_PART_COURIER, 0, blob, 6, 0, 1, BYTES_LIT("x"));
		struct msg_mix_put m = {.stage = cases[i].stage,
					.size = 6,
					.weight = 1,
					.counts = cases[i].counts,
					.generation = cases[i].generation,
					.parts = buf_bytes(&parts)};
		m.sender[0] = cases[i].sender;
		name_of(m.unit, 'u', 70 + i);
		answer_init(&a);
		assert_int_equal(fake_ask(s.courier, MIX_PUT, mix_put, &m, &a), cases[i].wanted);
		answer_clear(&a);
		buf_clear(&parts);
		if (cases[i].wanted != ERR_OK) {
			rolehost_kill(&s.host, ROLE_MIXER);
			assert_true(rolehost_start(&s.host, ROLE_MIXER));
		}
		assert_int_equal(spool_count(s.spool), 1);
	}
	close_scene(&s);
}

static void
what_was_answered_is_on_disk(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, LAW_EXPONENTIAL, LAW_EXPONENTIAL);
	assert_int_equal(send_arriving(&s, 1, 3, "one"), ERR_OK);
	kill_all(&s);
	start_all(&s);
	assert_int_equal(spool_count(s.spool), 1);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_arrive"), 1);
	/* The same unit a second time, by who did not hear the answer, is there once. */
	struct buf parts = BUF_INIT(1024);
	uint8_t blob[16];
	name_of(blob, 'x', 1);
	assert_int_equal(put_blob(s.gate, blob, BYTES_LIT("x")), ERR_OK);
	add_part(&parts, IPC_PART_ARRIVAL, 1, blob, 1, 0, 0, BYTES_LIT("x"));
	assert_int_equal(put_unit(s.gate, IPC_STAGE_ARRIVING, 1, buf_bytes(&parts)), ERR_OK);
	assert_int_equal(spool_count(s.spool), 1);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_arrive"), 1);
	/* A session's stage is not a gate's. */
	assert_int_equal(put_unit(s.gate, IPC_STAGE_LEAVING, 2, buf_bytes(&parts)), ERR_CLOSED);
	buf_clear(&parts);
	close_scene(&s);
}

static void
released_mail_is_in_each_log_once_and_nowhere_else(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, LAW_NONE, LAW_NONE);
	assert_int_equal(send_arriving(&s, 1, 3, "one"), ERR_OK);
	assert_true(rolehost_until(&s.host, spool_is_empty, &s, HOST_LIMIT_MS));
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(log_count(s.session, i, BYTES_LIT("one")), 1);
		assert_true(log_length(s.session, i) == 1);
		assert_true(log_used(s.session, i) >= 10);
	}
	assert_int_equal(s.session->inbox_count, 3);
	/* Who puts it again now has been heard, too. */
	struct buf parts = BUF_INIT(1024);
	uint8_t blob[16];
	name_of(blob, 'x', 1);
	assert_int_equal(put_blob(s.gate, blob, BYTES_LIT("x")), ERR_OK);
	add_part(&parts, IPC_PART_ARRIVAL, 1, blob, 1, 0, 0, BYTES_LIT("x"));
	assert_int_equal(put_unit(s.gate, IPC_STAGE_ARRIVING, 1, buf_bytes(&parts)), ERR_OK);
	buf_clear(&parts);
	assert_int_equal(spool_count(s.spool), 0);
	kill_all(&s);
	start_all(&s);
	rolehost_run(&s.host, 100);
	assert_true(log_length(s.session, 1) == 1);
	close_scene(&s);
}

static void
local_parts_wait_a_second_time_as_arriving(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, LAW_NONE, LAW_EXPONENTIAL);
	assert_int_equal(send_leaving(&s, 1, 2, 1, "local"), ERR_OK);
	wait_for_work(&s, 1);
	/* The members' parts in a unit of their own, the courier's in the first one. */
	assert_int_equal(spool_count(s.spool), 2);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_arrive"), 1);
	assert_true(log_length(s.session, 1) == 0);
	struct msg_courier_work w = work(&s, 0);
	assert_int_equal(verdict(&s, &w, false, "", BYTES_EMPTY), ERR_OK);
	assert_int_equal(spool_count(s.spool), 1);
	kill_all(&s);
	s.host.config.arrive.kind = LAW_EXPONENTIAL;
	start_all(&s);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_arrive"), 1);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "being_delivered"), 0);
	close_scene(&s);
}

static void
the_authors_copy_is_in_her_log_with_the_unit(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, LAW_EXPONENTIAL, LAW_EXPONENTIAL);
	static const struct {
		enum ipc_part_kind kinds[3];
		unsigned account; /* of the copy */
		enum err wanted;
	} cases[] = {
	    {{IPC_PART_ARRIVAL, IPC_PART_ARRIVAL, IPC_PART_SENT}, 1, ERR_OK},
	    /* For another than the author; twice; not last; nothing but the copy. */
	    {{IPC_PART_ARRIVAL, IPC_PART_ARRIVAL, IPC_PART_SENT}, 2, ERR_CLOSED},
	    {{IPC_PART_ARRIVAL, IPC_PART_SENT, IPC_PART_SENT}, 1, ERR_CLOSED},
	    {{IPC_PART_SENT, IPC_PART_ARRIVAL, IPC_PART_ARRIVAL}, 1, ERR_CLOSED},
	    {{IPC_PART_SENT, 0, 0}, 1, ERR_CLOSED},
	};
	for (unsigned c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct buf parts = BUF_INIT(IPC_PAYLOAD_MAX);
		for (unsigned i = 0; i < 3 && cases[c].kinds[i] != 0; i++) {
			uint8_t blob[16];
			name_of(blob, 'b', c * 10 + i);
			assert_int_equal(put_blob(s.gate, blob, BYTES_LIT("letter")), ERR_OK);
			add_part(&parts, cases[c].kinds[i], cases[c].account, blob, 10, 0, 0,
				 bytes_str(cases[c].kinds[i] == IPC_PART_SENT ? "copy" : "letter"));
		}
		struct msg_mix_put m = {.stage = IPC_STAGE_LEAVING, .size = 1000, .weight = 1, .counts = 1};
		struct answer a;
		m.parts = buf_bytes(&parts);
		name_of(m.unit, 'u', c + 1);
		name_of(m.sender, 'a', 1);
		answer_init(&a);
		assert_int_equal(fake_ask(s.sender, MIX_PUT, mix_put, &m, &a), cases[c].wanted);
		answer_clear(&a);
		buf_clear(&parts);
		if (cases[c].wanted != ERR_OK) {
			rolehost_kill(&s.host, ROLE_MIXER);
			assert_true(rolehost_start(&s.host, ROLE_MIXER));
		}
		/* The letters wait; her copy is there, once. */
		assert_int_equal(spool_count(s.spool), 1);
		assert_int_equal(log_count(s.session, 1, BYTES_LIT("copy")), 1);
		assert_true(log_length(s.session, 1) == 1);
		assert_true(log_length(s.session, 2) == 0);
	}
	kill_all(&s);
	start_all(&s);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_leave"), 1);
	assert_true(log_length(s.session, 1) == 1);
	close_scene(&s);
}

static void
many_local_recipients_do_not_stop_the_room(void **state)
{
	(void)state;
	enum { UNITS = 20, RECIPIENTS = 200 };
	struct scene s;
	open_scene(&s, LAW_NONE, LAW_NONE);
	/* Together far more than one message to the store holds. */
	for (unsigned u = 1; u <= UNITS; u++) {
		assert_int_equal(send_leaving(&s, u, RECIPIENTS, 0, "to all"), ERR_OK);
	}
	assert_true(rolehost_until(&s.host, spool_is_empty, &s, HOST_LIMIT_MS));
	assert_int_equal(log_count(s.session, 1, BYTES_LIT("to all")), UNITS);
	assert_int_equal(log_count(s.session, RECIPIENTS, BYTES_LIT("to all")), UNITS);
	close_scene(&s);
}

static void
verdicts_on_parts_of_one_unit_do_not_undo_each_other(void **state)
{
	(void)state;
	enum { PARTS = 8 };
	struct answer a[PARTS];
	struct scene s;
	open_scene(&s, LAW_NONE, LAW_NONE);
	assert_int_equal(send_leaving(&s, 1, 0, PARTS, "many domains"), ERR_OK);
	wait_for_work(&s, PARTS);
	for (unsigned i = 0; i < PARTS; i++) {
		struct msg_courier_work w = work(&s, i);
		answer_init(&a[i]);
		assert_int_equal(post_verdict(&s, &w, i == 3, "", BYTES_EMPTY, &a[i]), ERR_OK);
	}
	for (unsigned i = 0; i < PARTS; i++) {
		assert_int_equal(answer_wait(&s.host, &a[i]), ERR_OK);
		answer_clear(&a[i]);
	}
	/* One part waits for its next attempt; the disk says so, too. */
	assert_int_equal(spool_count(s.spool), 1);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_leave"), 1);
	fake_forget_inbox(s.courier);
	kill_all(&s);
	start_all(&s);
	rolehost_run(&s.host, 200);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_leave"), 1);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "being_delivered"), 0);
	assert_int_equal(s.courier->inbox_count, 0);
	close_scene(&s);
}

static void
a_verdict_brings_notices_and_takes_the_blob_away(void **state)
{
	(void)state;
	struct scene s;
	uint8_t blob[16];
	struct buf notices = BUF_INIT(1024);
	open_scene(&s, LAW_NONE, LAW_NONE);
	assert_int_equal(send_leaving(&s, 1, 0, 1, "bounces"), ERR_OK);
	wait_for_work(&s, 1);
	struct msg_courier_work w = work(&s, 0);
	assert_int_equal(w.attempt, 0);
	assert_true(bytes_is(w.body, "bounces"));
	/* Only the blobs of work at hand. */
	struct answer a;
	struct msg_courier_blob get = {.part = w.part, .count = 1};
	memcpy(get.unit, w.unit, 16);
	answer_init(&a);
	name_of(get.blob, 'b', 999);
	assert_int_equal(fake_ask(s.courier, COURIER_BLOB, courier_blob, &get, &a), ERR_DENIED);
	name_of(get.blob, 'b', 1001);
	assert_int_equal(fake_ask(s.courier, COURIER_BLOB, courier_blob, &get, &a), ERR_OK);
	assert_int_equal(a.payload.len, 4 + 4 + 7);
	name_of(blob, 'n', 1);
	assert_int_equal(put_blob(s.courier, blob, BYTES_LIT("notice")), ERR_OK);
	add_part(&notices, IPC_PART_ARRIVAL, 4, blob, 10, 0, 0, BYTES_LIT("a bounce"));
	assert_int_equal(verdict(&s, &w, false, "", buf_bytes(&notices)), ERR_OK);
	/* Said twice changes nothing. */
	assert_int_equal(verdict(&s, &w, false, "", buf_bytes(&notices)), ERR_OK);
	assert_true(rolehost_until(&s.host, spool_is_empty, &s, HOST_LIMIT_MS));
	assert_int_equal(log_count(s.session, 4, BYTES_LIT("a bounce")), 1);
	name_of(blob, 'b', 1001);
	assert_int_equal(blob_is(s.session, blob, BYTES_LIT("bounces")), ERR_NOT_FOUND);
	answer_clear(&a);
	buf_clear(&notices);
	close_scene(&s);
}

static void
a_new_courier_gets_what_the_old_one_had(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, LAW_NONE, LAW_NONE);
	assert_int_equal(send_leaving(&s, 1, 0, 3, "leaving"), ERR_OK);
	wait_for_work(&s, 3);
	struct msg_courier_work w = work(&s, 1);
	assert_int_equal(verdict(&s, &w, true, "fewer", BYTES_EMPTY), ERR_OK);
	fake_forget_inbox(s.courier);
	/* The courier's end, and its successor's begin: the two parts that were not judged. */
	channel_destroy(&s.courier->ch);
	rolehost_run(&s.host, 50);
	struct fake *next = rolehost_fake(&s.host, ROLE_COURIER, 0, ROLE_MIXER);
	s.courier = next;
	wait_for_work(&s, 2);
	rolehost_run(&s.host, 100);
	assert_int_equal(s.courier->inbox_count, 2);
	for (size_t i = 0; i < 2; i++) {
		w = work(&s, i);
		assert_int_equal(verdict(&s, &w, false, "", BYTES_EMPTY), ERR_OK);
	}
	assert_int_equal(spool_count(s.spool), 1);
	close_scene(&s);
}

static void
a_keeper_that_restarts_gets_its_keys_and_nothing_is_handed_over_twice(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, LAW_NONE, LAW_NONE);
	uint32_t epoch = current_epoch(&s);
	assert_int_equal(send_leaving(&s, 1, 0, 2, "leaving"), ERR_OK);
	wait_for_work(&s, 2);
	rolehost_kill(&s.host, ROLE_KEEPER);
	assert_true(rolehost_start(&s.host, ROLE_KEEPER));
	assert_int_equal(current_epoch(&s), epoch);
	rolehost_run(&s.host, 300);
	assert_int_equal(s.courier->inbox_count, 2);
	close_scene(&s);
}

static void
a_store_that_restarts_loses_no_verdict_and_repeats_no_work(void **state)
{
	(void)state;
	struct scene s;
	struct answer a;
	open_scene(&s, LAW_NONE, LAW_NONE);
	assert_int_equal(send_leaving(&s, 1, 0, 3, "leaving"), ERR_OK);
	wait_for_work(&s, 3);
	/* The verdict comes while the store is away, and is stored when it is back. */
	rolehost_kill(&s.host, ROLE_STORE);
	struct msg_courier_work w = work(&s, 0);
	answer_init(&a);
	assert_int_equal(post_verdict(&s, &w, false, "", BYTES_EMPTY, &a), ERR_OK);
	rolehost_run(&s.host, 100);
	assert_false(a.done);
	assert_true(rolehost_start(&s.host, ROLE_STORE));
	assert_int_equal(answer_wait(&s.host, &a), ERR_OK);
	rolehost_run(&s.host, 300);
	assert_int_equal(s.courier->inbox_count, 3);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "being_delivered"), 2);
	for (size_t i = 1; i < 3; i++) {
		w = work(&s, i);
		assert_int_equal(verdict(&s, &w, false, "", BYTES_EMPTY), ERR_OK);
	}
	assert_int_equal(spool_count(s.spool), 0);
	answer_clear(&a);
	close_scene(&s);
}

static void
the_store_dies_again_and_again_and_each_message_arrives_once(void **state)
{
	(void)state;
	enum { ROUNDS = 6, EACH = 20 };
	static struct answer answers[ROUNDS][EACH];
	struct scene s;
	unsigned good = 0;
	open_scene(&s, LAW_NONE, LAW_NONE);
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned i = 0; i < EACH; i++) {
			uint8_t blob[16];
			name_of(blob, 'b', r * EACH + i + 1);
			assert_int_equal(put_blob(s.gate, blob, BYTES_LIT("data")), ERR_OK);
		}
		for (unsigned i = 0; i < EACH; i++) {
			struct buf parts = BUF_INIT(1024);
			uint8_t blob[16];
			char body[32];
			unsigned number = r * EACH + i + 1;
			(void)snprintf(body, sizeof(body), "message %u", number);
			name_of(blob, 'b', number);
			add_part(&parts, IPC_PART_ARRIVAL, 1, blob, 10, 0, 0, bytes_str(body));
			answer_init(&answers[r][i]);
			assert_int_equal(
			    post_unit(s.gate, IPC_STAGE_ARRIVING, number, buf_bytes(&parts), &answers[r][i]),
			    ERR_OK);
			buf_clear(&parts);
			/* In one turn or in several, before and after its commit. */
			if (r % 3 == 2) {
				rolehost_turn(&s.host);
			}
		}
		for (unsigned i = 0; i < r; i++) {
			rolehost_turn(&s.host);
		}
		rolehost_kill(&s.host, ROLE_STORE);
		assert_true(rolehost_start(&s.host, ROLE_STORE));
		for (unsigned i = 0; i < EACH; i++) {
			enum err e = answer_wait(&s.host, &answers[r][i]);
			if (e != ERR_OK && e != ERR_AGAIN && e != ERR_CONFLICT) {
				fail_msg("%s", err_text(e));
			}
			answers[r][i].status = e;
			good += e == ERR_OK ? 1 : 0;
		}
		/* Until the room is loaded anew it takes nothing. */
		for (int i = 0; i < 500; i++) {
			uint8_t blob[16];
			name_of(blob, 'p', r * 1000 + (unsigned)i);
			struct buf parts = BUF_INIT(1024);
			assert_int_equal(buf_append_str(&parts, ""), ERR_OK);
			enum err e = put_blob(s.gate, blob, BYTES_LIT("x"));
			add_part(&parts, IPC_PART_ARRIVAL, 2, blob, 1, 0, 0, BYTES_LIT("probe"));
			e = e == ERR_OK ? put_unit(s.gate, IPC_STAGE_ARRIVING,
						   100000 + r * 1000 + (unsigned)i, buf_bytes(&parts))
					: e;
			buf_clear(&parts);
			if (e == ERR_OK) {
				break;
			}
			rolehost_run(&s.host, 10);
		}
	}
	assert_true(rolehost_until(&s.host, spool_is_empty, &s, HOST_LIMIT_MS));
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned i = 0; i < EACH; i++) {
			char body[32];
			(void)snprintf(body, sizeof(body), "message %u", r * EACH + i + 1);
			/* A temporary failure is one: with the store back, the answer says which. */
			assert_int_equal(log_count(s.session, 1, bytes_str(body)),
					 answers[r][i].status == ERR_OK ? 1 : 0);
			answer_clear(&answers[r][i]);
		}
	}
	print_message("%u of %d taken while the store died %d times\n", good, ROUNDS * EACH, ROUNDS);
	close_scene(&s);
}

/* Bytes of memory that a process has: the second number of its statm, in pages. */
static uint64_t
resident(pid_t pid)
{
	char path[64];
	char text[128];
	uint64_t pages = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text));
	assert_true(fd >= 0 && n > 0);
	(void)close(fd);
	struct bytes rest = bytes_of(text, (size_t)n);
	rest = bytes_from(rest, (size_t)bytes_find(rest, ' ') + 1);
	rest = bytes_slice(rest, 0, (size_t)bytes_find(rest, ' '));
	assert_int_equal(bytes_to_u64(rest, UINT64_MAX, &pages), ERR_OK);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
load_long_queue(enum law_kind kind, msec due)
{
	enum { UNITS = 100000, BURST = 500 };
	static struct answer answers[BURST];
	struct scene s;
	uint8_t house[SEALED_KEY_LEN];
	uint8_t key[SEALED_KEY_LEN];
	open_scene(&s, kind, kind);
	rolehost_kill(&s.host, ROLE_MIXER);
	memset(house, 'k', sizeof(house));
	sealed_purpose_key(house, PURPOSE_SPOOL_STATE, key);
	for (unsigned u = 0; u < UNITS; u += BURST) {
		for (unsigned i = 0; i < BURST; i++) {
			struct spool_part part = {.kind = SPOOL_PART_LOCAL, .bytes = 10};
			struct spool_state unit = {.stage = SPOOL_ARRIVING,
						   .sender_kind = SPOOL_SENDER_HOST,
						   .due = due,
						   .weight = 1,
						   .part_count = 1,
						   .parts = &part};
			struct buf sealed = BUF_INIT(SPOOL_STATE_MAX);
			struct msg_spool_put m = {.unused_ = 0};
			name_of(m.unit, 'u', u + i);
			name_of(unit.sender, 'h', u % 5000 + i);
			assert_int_equal(spool_state_seal(&unit, key, m.unit, &sealed), ERR_OK);
			m.state = buf_bytes(&sealed);
			answer_init(&answers[i]);
			assert_int_equal(channel_request(s.spool->ch, SPOOL_PUT, spool_put, &m, 0,
							 answer_take, &answers[i]),
					 ERR_OK);
			buf_clear(&sealed);
		}
		for (unsigned i = 0; i < BURST; i++) {
			assert_int_equal(answer_wait(&s.host, &answers[i]), ERR_OK);
			answer_clear(&answers[i]);
		}
	}
	msec begin = clock_monotonic();
	assert_true(rolehost_start(&s.host, ROLE_MIXER));
	msec took = clock_monotonic() - begin;
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_arrive"), UNITS);
	uint64_t full = resident(s.host.children[ROLE_MIXER].pid);
	print_message("%d units: loaded in %d ms, %u MiB\n", UNITS, (int)took, (unsigned)(full >> 20));
#ifndef COHUE_SANITIZED
	assert_true(full < 100UL << 20);
	assert_true(took < 20000);
#endif
	close_scene(&s);
}

static void
a_long_queue_is_small_and_soon_loaded(void **state)
{
	(void)state;
	load_long_queue(LAW_EXPONENTIAL, 1000 * MSEC_DAY);
	/* None of them counts: the gate stays shut, and they wait for their deadline. */
	load_long_queue(LAW_CROWD, 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_answered_is_on_disk),
	    cmocka_unit_test(a_session_sends_for_its_own_members_only),
	    cmocka_unit_test(the_courier_sends_in_nobodys_name_only),
	    cmocka_unit_test(released_mail_is_in_each_log_once_and_nowhere_else),
	    cmocka_unit_test(local_parts_wait_a_second_time_as_arriving),
	    cmocka_unit_test(the_authors_copy_is_in_her_log_with_the_unit),
	    cmocka_unit_test(many_local_recipients_do_not_stop_the_room),
	    cmocka_unit_test(verdicts_on_parts_of_one_unit_do_not_undo_each_other),
	    cmocka_unit_test(a_verdict_brings_notices_and_takes_the_blob_away),
	    cmocka_unit_test(a_new_courier_gets_what_the_old_one_had),
	    cmocka_unit_test(a_keeper_that_restarts_gets_its_keys_and_nothing_is_handed_over_twice),
	    cmocka_unit_test(a_store_that_restarts_loses_no_verdict_and_repeats_no_work),
	    cmocka_unit_test(the_store_dies_again_and_again_and_each_message_arrives_once),
	    cmocka_unit_test(a_long_queue_is_small_and_soon_loaded),
	};
	if (argc < 2) {
		return 2;
	}
	binary = argv[1];
	if (argc > 2) {
		cmocka_set_test_filter(argv[2]);
	}
	return cmocka_run_group_tests_name("mixer role", tests, NULL, NULL);
}
