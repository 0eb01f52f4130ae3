/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The crowd law in the real mixer, on the real store: ticks, restarts in the middle of one, clocks that jump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secret.h"
#include "law/age.h"
#include "law/law.h"
#include "roles/mail.h"
#include "sealed/journal.h"
#include "sealed/keys.h"
#include "sealed/spool.h"

static const char *binary;

struct scene {
	struct rolehost host;
	struct fake *gate;
	struct fake *sender;
	struct fake *courier;
	struct fake *opener;
	struct fake *session; /* of the store */
	struct fake *spool;   /* another mixer, of the store: only looks */
	struct fake *asker;
	uint32_t epoch;
	char home[64];
};

#define T MSEC_SECOND

static void
start_all(struct scene *s)
{
	assert_true(rolehost_start(&s->host, ROLE_KEEPER));
	assert_true(rolehost_start(&s->host, ROLE_STORE));
	assert_true(rolehost_start(&s->host, ROLE_MIXER));
}

static void
restart_mixer(struct scene *s)
{
	rolehost_kill(&s->host, ROLE_MIXER);
	assert_true(rolehost_start(&s->host, ROLE_MIXER));
}

static void
learn_epoch(struct scene *s)
{
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

/* k for leaving, and a deadline in seconds; arriving mail likewise with a gate of two. */
static void
open_scene(struct scene *s, uint32_t k, msec deadline)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-tick-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	rolehost_init(&s->host, binary, s->home);
	s->host.config.leave = (struct law_config){
	    .kind = LAW_CROWD, .clock = T, .k = k, .deadline = deadline, .mean = T, .patient = MSEC_DAY};
	s->host.config.arrive = (struct law_config){
	    .kind = LAW_CROWD, .clock = T, .k = 2, .deadline = deadline, .mean = T, .patient = 0};
	s->gate = rolehost_fake(&s->host, ROLE_GATE_MX, 0, ROLE_MIXER);
	s->sender = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_MIXER);
	s->courier = rolehost_fake(&s->host, ROLE_COURIER, 0, ROLE_MIXER);
	s->opener = rolehost_fake(&s->host, ROLE_OPENER, 0, ROLE_MIXER);
	s->session = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_STORE);
	s->spool = rolehost_fake(&s->host, ROLE_MIXER, 9, ROLE_STORE);
	s->asker = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_KEEPER);
	struct fake *directory = rolehost_fake(&s->host, ROLE_OPENER, 0, ROLE_STORE);
	rolehost_set_clock(&s->host, 0);
	start_all(s);
	know_accounts(directory);
	learn_epoch(s);
}

static void
close_scene(struct scene *s)
{
	static const char *const files[] = {"store/cohue.db", "store/cohue.db-wal", "store/cohue.db-shm",
					    "store/lock", "clock"};
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

/* ---- what is said ---- */

static unsigned last_unit;

struct letter {
	unsigned member;
	enum law_lane lane;
	msec hold;
	bool local;
	const uint8_t *public_key; /* of the author's journal */
};

static void
put(struct scene *s, struct fake *f, struct msg_mix_put *q, const struct buf *parts)
{
	struct answer a;
	q->size = 1000;
	q->weight = 1;
	q->counts = 1;
	q->parts = buf_bytes(parts);
	name_of(q->unit, 'u', ++last_unit);
	answer_init(&a);
	assert_int_equal(fake_ask(f, MIX_PUT, mix_put, q, &a), ERR_OK);
	answer_clear(&a);
	(void)s;
}

static void
send(struct scene *s, struct letter l)
{
	struct buf parts = BUF_INIT(4096);
	uint8_t blob[16];
	struct msg_mix_put q = {
	    .stage = IPC_STAGE_LEAVING, .lane = (uint8_t)l.lane, .hold = (uint64_t)l.hold};
	name_of(q.sender, 'a', 100 + l.member);
	if (l.public_key != NULL) {
		q.generation = 1;
		memcpy(q.public_key, l.public_key, sizeof(q.public_key));
	}
	name_of(blob, 'b', last_unit + 1);
	assert_int_equal(put_blob(s->gate, blob, BYTES_LIT("data")), ERR_OK);
	add_part(&parts, l.local ? IPC_PART_ARRIVAL : IPC_PART_COURIER, 1, blob, 10, 0,
		 l.local ? 0 : s->epoch, BYTES_LIT("body"));
	put(s, s->sender, &q, &parts);
	buf_clear(&parts);
}

static void
receive(struct scene *s, unsigned host, enum law_lane lane, const char *body)
{
	struct buf parts = BUF_INIT(4096);
	uint8_t blob[16];
	struct msg_mix_put q = {.stage = IPC_STAGE_ARRIVING, .lane = (uint8_t)lane};
	name_of(q.source, 'h', host);
	name_of(blob, 'b', last_unit + 1);
	assert_int_equal(put_blob(s->gate, blob, BYTES_LIT("data")), ERR_OK);
	add_part(&parts, IPC_PART_ARRIVAL, 1, blob, 10, 0, 0, bytes_str(body));
	put(s, s->gate, &q, &parts);
	buf_clear(&parts);
}

static void
tell_house(struct scene *s, uint32_t members, uint32_t counting, uint32_t first_day)
{
	struct msg_house h = {.members = members, .counting = counting, .first_day = first_day};
	assert_int_equal(channel_notice(s->opener->ch, HOUSE, house, &h), ERR_OK);
	rolehost_run(&s->host, 100);
}

static uint32_t
today(void)
{
	return (uint32_t)(clock_wall() / MSEC_DAY);
}

static struct msg_courier_work
work(struct scene *s, size_t i)
{
	struct msg_courier_work w;
	assert_int_equal(s->courier->inbox[i].type, MSG_COURIER_WORK);
	assert_int_equal(msg_courier_work_decode(buf_bytes(&s->courier->inbox[i].payload), &w), ERR_OK);
	return w;
}

static size_t wanted;

static bool
courier_has(void *arg)
{
	const struct scene *s = arg;
	return s->courier->inbox_count >= wanted;
}

static bool
wait_for_works(struct scene *s, size_t count, msec ms)
{
	wanted = count;
	return rolehost_until(&s->host, courier_has, s, ms);
}

static void
conclude(struct scene *s, const struct msg_courier_work *w, bool again)
{
	struct answer a;
	struct msg_courier_verdict v = {.part = w->part, .again = again};
	memcpy(v.unit, w->unit, 16);
	answer_init(&a);
	assert_int_equal(
	    channel_request(s->courier->ch, COURIER_VERDICT, courier_verdict, &v, 0, answer_take, &a),
	    ERR_OK);
	assert_int_equal(answer_wait(&s->host, &a), ERR_OK);
	answer_clear(&a);
}

/* Right after a tick: what follows within the next half second comes before the next one. */
static void
await_tick(struct scene *s)
{
	msec next = law_grid_after(T, clock_wall());
	while (clock_wall() < next + 20) {
		rolehost_run(&s->host, 5);
	}
}

/* ---- tests ---- */

static void
a_crowd_leaves_together_at_the_tick(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 3, MSEC_DAY);
	await_tick(&s);
	send(&s, (struct letter){.member = 1});
	send(&s, (struct letter){.member = 2});
	send(&s, (struct letter){.member = 2});
	assert_false(wait_for_works(&s, 1, 2 * T));
	await_tick(&s);
	msec before = clock_wall();
	send(&s, (struct letter){.member = 3});
	assert_true(wait_for_works(&s, 3, 2 * T));
	assert_true(law_grid_at(T, clock_wall()) > before);
	uint64_t tick = work(&s, 0).batch_id;
	assert_int_equal(tick, law_grid_after(T, before));
	for (size_t i = 0; i < 3; i++) {
		struct msg_courier_work w = work(&s, i);
		assert_int_equal(w.left, tick);
		assert_int_equal(w.batch_id, tick);
		assert_int_equal(w.crowd, 3);
		assert_int_equal(w.batch, 3);
		assert_int_equal(w.is_void, 0);
	}
	/* The second of member 2 is capped: alone it does not leave. */
	assert_false(wait_for_works(&s, 4, 2 * T));
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "waiting_to_leave"), 1);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "leave_class_0"), 1);
	close_scene(&s);
}

/* The line of a member's journal, which is the only record in her log. */
static void
read_journal(struct scene *s, unsigned member, const struct member_keys *keys, struct buf *plain,
	     struct journal_line *ret)
{
	struct msg_log_read q = {.from = 1, .max_bytes = 512 * 1024};
	struct msg_log_read_reply r;
	struct answer a;
	struct wire_reader rows;
	struct arrival arrival;
	uint8_t before[IPC_HEAD];
	assert_int_equal(log_length(s->session, 100 + member), 1);
	name_of(q.account, 'a', 100 + member);
	answer_init(&a);
	assert_int_equal(fake_ask(s->session, LOG_READ, log_read, &q, &a), ERR_OK);
	assert_int_equal(msg_log_read_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	wire_reader_init(&rows, r.rows);
	(void)wire_get_u64(&rows);
	wire_get_fixed(&rows, before, sizeof(before));
	(void)wire_get_u8(&rows);
	struct bytes body = wire_get_bytes(&rows, IPC_PAYLOAD_MAX);
	assert_int_equal(arrival_open(q.account, keys, body, plain, &arrival), ERR_OK);
	assert_int_equal(journal_of_arrival(&arrival, ret), ERR_OK);
	answer_clear(&a);
}

static void
the_author_reads_in_her_journal_how_it_left(void **state)
{
	(void)state;
	struct scene s;
	struct member_keys keys;
	struct journal_line line;
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	uint8_t secret[BOX_SECRET_LEN];
	uint8_t public_key[BOX_PUBLIC_LEN];
	box_pair(public_key, secret);
	member_keys_init(&keys);
	assert_int_equal(member_keys_add(&keys, 1, public_key, secret), ERR_OK);
	open_scene(&s, 2, MSEC_DAY);
	await_tick(&s);
	send(&s, (struct letter){.member = 1, .public_key = public_key});
	send(&s, (struct letter){.member = 2, .local = true});
	assert_true(wait_for_works(&s, 1, 3 * T));
	read_journal(&s, 1, &keys, &plain, &line);
	assert_int_equal(line.event, JOURNAL_LEFT);
	assert_int_equal(line.wait, JOURNAL_WAIT_CROWD);
	assert_int_equal(line.crowd, 2);
	assert_int_equal(line.batch, 2);
	assert_int_equal(line.time, work(&s, 0).left / 1000);
	buf_wipe(&plain);
	send(&s, (struct letter){.member = 3, .lane = LAW_URGENT, .public_key = public_key});
	assert_true(wait_for_works(&s, 2, 3 * T));
	read_journal(&s, 3, &keys, &plain, &line);
	assert_int_equal(line.wait, JOURNAL_WAIT_VOID);
	assert_int_equal(line.crowd, 0); /* at a shut gate there is none */
	buf_wipe(&plain);
	member_keys_clear(&keys);
	close_scene(&s);
}

static void
without_a_crowd_letters_leave_void_at_their_deadline(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 3, 3 * T);
	msec entered = clock_wall();
	send(&s, (struct letter){.member = 1});
	send(&s, (struct letter){.member = 2});
	assert_true(wait_for_works(&s, 2, 6 * T));
	assert_true(clock_wall() - entered >= 3 * T);
	assert_int_equal(work(&s, 0).is_void, 1);
	assert_int_equal(work(&s, 1).is_void, 1);
	assert_int_equal(work(&s, 0).crowd, 0);
	close_scene(&s);
}

static void
what_left_urgently_is_remembered_over_a_restart(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 3, MSEC_DAY);
	send(&s, (struct letter){.member = 1, .lane = LAW_URGENT});
	assert_true(wait_for_works(&s, 1, 3 * T));
	struct msg_courier_work w = work(&s, 0);
	assert_int_equal(w.is_void, 1);
	conclude(&s, &w, false);
	fake_forget_inbox(s.courier);
	rolehost_kill(&s.host, ROLE_MIXER);
	rolehost_kill(&s.host, ROLE_STORE);
	rolehost_kill(&s.host, ROLE_KEEPER);
	start_all(&s);
	/* Three members, but one of them has had a part of the share. */
	for (unsigned m = 1; m <= 3; m++) {
		send(&s, (struct letter){.member = m});
	}
	assert_false(wait_for_works(&s, 1, 3 * T));
	send(&s, (struct letter){.member = 4});
	assert_true(wait_for_works(&s, 3, 3 * T));
	assert_int_equal(work(&s, 0).is_void, 0);
	assert_false(wait_for_works(&s, 4, 2 * T));
	close_scene(&s);
}

/* What a stranger makes a member send on. */
static void
forward(struct scene *s, unsigned member)
{
	struct buf parts = BUF_INIT(4096);
	uint8_t blob[16];
	struct msg_mix_put q = {.stage = IPC_STAGE_FORWARDING};
	name_of(q.sender, 'a', 100 + member);
	name_of(blob, 'b', last_unit + 1);
	assert_int_equal(put_blob(s->gate, blob, BYTES_LIT("data")), ERR_OK);
	add_part(&parts, IPC_PART_COURIER, 1, blob, 10, 0, s->epoch, BYTES_LIT("body"));
	put(s, s->gate, &q, &parts);
	buf_clear(&parts);
}

static void
what_is_sent_on_opens_no_gate_and_is_nobody_s(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 3, MSEC_DAY);
	send(&s, (struct letter){.member = 1});
	send(&s, (struct letter){.member = 2});
	await_tick(&s);
	msec before = clock_wall();
	/* Of a third member, and of her who has written herself. */
	forward(&s, 3);
	forward(&s, 1);
	assert_true(wait_for_works(&s, 2, 2 * T));
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(work(&s, i).strange, 1);
		assert_int_equal(work(&s, i).batch_id, law_grid_after(T, before));
	}
	assert_false(wait_for_works(&s, 3, 2 * T));
	struct msg_courier_work w = work(&s, 0);
	conclude(&s, &w, false);
	fake_forget_inbox(s.courier);
	/* After a restart it is still no letter of hers: three who write are a crowd, and the promise holds for each. */
	restart_mixer(&s);
	assert_true(wait_for_works(&s, 1, 3 * T));
	assert_int_equal(work(&s, 0).strange, 1);
	await_tick(&s);
	forward(&s, 1);
	send(&s, (struct letter){.member = 3});
	assert_true(wait_for_works(&s, 5, 3 * T));
	unsigned strange = 0;
	for (size_t i = 1; i < 5; i++) {
		struct msg_courier_work x = work(&s, i);
		strange += x.strange;
		assert_true(x.strange != 0 || (x.is_void == 0 && x.crowd == 3 && x.batch == 3));
	}
	assert_int_equal(strange, 1);
	close_scene(&s);
}

static void
held_letters_are_not_there_before_their_time(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 2, MSEC_DAY);
	msec entered = clock_wall();
	send(&s, (struct letter){.member = 1, .hold = 3 * T});
	send(&s, (struct letter){.member = 2});
	restart_mixer(&s);
	assert_true(wait_for_works(&s, 2, 6 * T));
	assert_true(clock_wall() >= entered + 3 * T);
	assert_int_equal(work(&s, 0).is_void, 0);
	close_scene(&s);
}

static void
a_hold_is_a_time_of_the_wall_clock(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 2, MSEC_DAY);
	send(&s, (struct letter){.member = 1, .hold = 5 * MSEC_HOUR});
	send(&s, (struct letter){.member = 2});
	/* A wall clock that jumps forwards is not believed at once. */
	rolehost_set_clock(&s.host, 5 * MSEC_HOUR);
	assert_false(wait_for_works(&s, 1, 4 * T));
	/* Nor is one that stands still the author's: an hour without power, of five. */
	rolehost_set_clock(&s.host, MSEC_HOUR);
	restart_mixer(&s);
	assert_false(wait_for_works(&s, 1, 3 * T));
	/* Five hours later power is back. The age clock has not seen them. */
	rolehost_stop(&s.host, ROLE_MIXER);
	rolehost_set_clock(&s.host, 5 * MSEC_HOUR);
	assert_true(rolehost_start(&s.host, ROLE_MIXER));
	assert_true(wait_for_works(&s, 2, 4 * T));
	assert_int_equal(work(&s, 0).is_void, 0);
	close_scene(&s);
	/* Set back, it only delays. */
	open_scene(&s, 2, MSEC_DAY);
	send(&s, (struct letter){.member = 1, .hold = 6 * T});
	send(&s, (struct letter){.member = 2});
	assert_false(wait_for_works(&s, 1, 3 * T));
	rolehost_set_clock(&s.host, -MSEC_HOUR);
	assert_false(wait_for_works(&s, 1, 4 * T));
	/* But by no more than the hold itself. */
	assert_true(wait_for_works(&s, 2, 6 * T));
	close_scene(&s);
}

static void
arriving_mail_waits_for_a_second_host_and_plus_now_for_nobody(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 3, MSEC_DAY);
	await_tick(&s);
	receive(&s, 1, LAW_NORMAL, "one");
	receive(&s, 1, LAW_NORMAL, "two");
	receive(&s, 1, LAW_DUE, "now");
	assert_int_equal(log_length(s.session, 1), 0);
	await_tick(&s);
	rolehost_run(&s.host, 200);
	assert_int_equal(log_length(s.session, 1), 1);
	assert_int_equal(log_count(s.session, 1, BYTES_LIT("now")), 1);
	/* Mail between members is no host: it leaves the house's gate alone. */
	send(&s, (struct letter){.member = 1, .local = true, .lane = LAW_URGENT});
	rolehost_run(&s.host, 3 * T);
	assert_int_equal(log_length(s.session, 1), 1);
	await_tick(&s);
	receive(&s, 2, LAW_NORMAL, "three");
	await_tick(&s);
	rolehost_run(&s.host, 200);
	/* One of each host, and the local one with them. */
	assert_int_equal(log_length(s.session, 1), 4);
	close_scene(&s);
}

static void
a_house_of_too_few_is_exponential_and_void_also_after_a_restart(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 3, MSEC_DAY);
	tell_house(&s, 9, 2, today() - 100);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "leave_alone"), 1);
	send(&s, (struct letter){.member = 1});
	assert_true(wait_for_works(&s, 1, 8 * T));
	assert_int_equal(work(&s, 0).is_void, 1);
	assert_int_equal(work(&s, 0).batch_id, 0);
	restart_mixer(&s);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "leave_alone"), 1);
	/* In the house's first days all count; and it does not grow young again when its founders leave. */
	tell_house(&s, 9, 2, today());
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "leave_alone"), 1);
	tell_house(&s, 9, 3, today());
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "leave_alone"), 0);
	close_scene(&s);
	open_scene(&s, 3, MSEC_DAY);
	tell_house(&s, 3, 0, today() - 29);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "leave_alone"), 0);
	tell_house(&s, 2, 0, today() - 29);
	assert_int_equal(rolehost_figure(&s.host, ROLE_MIXER, "leave_alone"), 1);
	close_scene(&s);
}

/* The age clock as it lies on disk, so much later. */
static void
let_time_pass(struct scene *s, msec by)
{
	struct answer a;
	struct msg_meta_get get = {.name = BYTES_LIT("mixer-age")};
	struct msg_meta_get_reply r;
	struct law_age age;
	struct buf saved = BUF_INIT(LAW_AGE_ENCODED_LEN);
	rolehost_stop(&s->host, ROLE_MIXER);
	answer_init(&a);
	assert_int_equal(fake_ask(s->spool, META_GET, meta_get, &get, &a), ERR_OK);
	assert_int_equal(msg_meta_get_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	/* Of another boot: it goes on from what is saved, whatever this machine's clock says. */
	uint8_t boot[LAW_BOOT_ID_LEN] = {0x77};
	assert_int_equal(law_age_resume(r.value, boot, 0, &age), ERR_OK);
	assert_int_equal(law_age_save(&age, by, &saved), ERR_OK);
	answer_clear(&a);
	struct msg_meta_put put = {.name = BYTES_LIT("mixer-age"), .value = buf_bytes(&saved)};
	answer_init(&a);
	assert_int_equal(fake_ask(s->spool, META_PUT, meta_put, &put, &a), ERR_OK);
	answer_clear(&a);
	buf_clear(&saved);
	assert_true(rolehost_start(&s->host, ROLE_MIXER));
}

static void
a_retry_leaves_at_a_tick_and_keeps_its_first_release(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 2, MSEC_DAY);
	send(&s, (struct letter){.member = 1});
	send(&s, (struct letter){.member = 2});
	assert_true(wait_for_works(&s, 2, 3 * T));
	struct msg_courier_work first = work(&s, 0);
	struct msg_courier_work other = work(&s, 1);
	conclude(&s, &first, true);
	conclude(&s, &other, false);
	uint64_t left = first.left;
	fake_forget_inbox(s.courier);
	assert_false(wait_for_works(&s, 1, 2 * T));
	/* An hour and more later it is due: at the next tick, not when the mixer starts. */
	await_tick(&s);
	let_time_pass(&s, 2 * MSEC_HOUR);
	assert_true(wait_for_works(&s, 1, 4 * T));
	struct msg_courier_work again = work(&s, 0);
	assert_int_equal(again.attempt, 1);
	assert_int_equal(again.left, left);
	assert_true(again.batch_id > left);
	assert_int_equal(again.is_void, 0);
	assert_int_equal(again.crowd, 2);
	/* It was on its way when the mixer fell: it had its tick, and goes at once. */
	uint64_t tick = again.batch_id;
	fake_forget_inbox(s.courier);
	s.host.config.leave.clock = MSEC_DAY;
	s.host.config.leave.deadline = MSEC_DAY;
	restart_mixer(&s);
	assert_true(wait_for_works(&s, 1, 3 * T));
	assert_int_equal(work(&s, 0).batch_id, tick);
	close_scene(&s);
}

/* The courier gives a letter up; what its author is told waits with her other mail. */
static void
bounce(struct scene *s, const struct msg_courier_work *w)
{
	struct answer a;
	struct buf notices = BUF_INIT(1024);
	uint8_t blob[16];
	name_of(blob, 'n', 1);
	assert_int_equal(put_blob(s->courier, blob, BYTES_LIT("notice")), ERR_OK);
	add_part(&notices, IPC_PART_ARRIVAL, 1, blob, 10, 0, 0, BYTES_LIT("a bounce"));
	struct msg_courier_verdict v = {.part = w->part, .notices = buf_bytes(&notices)};
	memcpy(v.unit, w->unit, 16);
	answer_init(&a);
	assert_int_equal(fake_ask(s->courier, COURIER_VERDICT, courier_verdict, &v, &a), ERR_OK);
	answer_clear(&a);
	buf_clear(&notices);
}

static bool
bounce_came(void *arg)
{
	const struct scene *s = arg;
	return log_count(s->session, 1, BYTES_LIT("a bounce")) > 0;
}

static void
a_bounce_comes_hours_later_under_each_law_that_waits(void **state)
{
	static const enum law_kind laws[] = {LAW_CROWD, LAW_EXPONENTIAL};
	(void)state;
	for (size_t i = 0; i < sizeof(laws) / sizeof(laws[0]); i++) {
		struct scene s;
		open_scene(&s, 3, 2 * T);
		s.host.config.arrive.kind = laws[i];
		restart_mixer(&s);
		send(&s, (struct letter){.member = 1, .lane = LAW_URGENT});
		assert_true(wait_for_works(&s, 1, 3 * T));
		struct msg_courier_work w = work(&s, 0);
		bounce(&s, &w);
		/* Any other mail would be there by now. */
		assert_false(rolehost_until(&s.host, bounce_came, &s, 4 * T));
		let_time_pass(&s, 50 * MSEC_MINUTE);
		assert_false(rolehost_until(&s.host, bounce_came, &s, 2 * T));
		let_time_pass(&s, 8 * MSEC_HOUR);
		assert_true(rolehost_until(&s.host, bounce_came, &s, 3 * T));
		close_scene(&s);
	}
}

static void
who_waited_for_days_has_not_failed_for_days(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 2, 20 * MSEC_DAY);
	send(&s, (struct letter){.member = 1});
	let_time_pass(&s, 6 * MSEC_DAY);
	send(&s, (struct letter){.member = 2});
	assert_true(wait_for_works(&s, 2, 4 * T));
	for (size_t i = 0; i < 2; i++) {
		struct msg_courier_work w = work(&s, i);
		assert_int_equal(w.last, 0);
		assert_true(w.age < MSEC_MINUTE);
	}
	struct msg_courier_work failed = work(&s, 0);
	conclude(&s, &failed, true);
	fake_forget_inbox(s.courier);
	let_time_pass(&s, 2 * MSEC_HOUR);
	/* The one that is tried again, and the other one, of which the courier has said nothing. */
	assert_true(wait_for_works(&s, 2, 4 * T));
	for (size_t i = 0; i < 2; i++) {
		struct msg_courier_work w = work(&s, i);
		assert_int_equal(w.last, 0);
		assert_true(w.age > MSEC_HOUR && w.age < 3 * MSEC_HOUR);
	}
	close_scene(&s);
}

/* ---- a large tick ---- */

/* Straight to disk, while the mixer is away: each of a host of its own, for account 1. */
static void
fill_spool(struct scene *s, unsigned count, struct bytes body)
{
	enum { BURST = 250 };
	static struct answer answers[BURST];
	uint8_t house[SEALED_KEY_LEN];
	uint8_t key[SEALED_KEY_LEN];
	memset(house, 'k', sizeof(house));
	sealed_purpose_key(house, PURPOSE_SPOOL_STATE, key);
	for (unsigned u = 0; u < count; u += BURST) {
		for (unsigned i = 0; i < BURST; i++) {
			struct spool_part part = {.kind = SPOOL_PART_LOCAL, .bytes = 10};
			struct spool_state unit = {.stage = SPOOL_ARRIVING,
						   .sender_kind = SPOOL_SENDER_HOST,
						   .entered = 1,
						   .weight = 1,
						   .flags = 1 << 1, /* it counts */
						   .part_count = 1,
						   .parts = &part};
			struct buf sealed = BUF_INIT(SPOOL_STATE_MAX);
			struct buf parts = BUF_INIT(1024);
			struct wire_writer w;
			struct msg_spool_put m = {.unused_ = 0};
			name_of(part.account, 'a', 1);
			name_of(unit.sender, 'h', u + i);
			name_of(m.unit, 'U', u + i);
			wire_writer_init(&w, &parts);
			wire_put_bytes(&w, body);
			assert_int_equal(wire_done(&w), ERR_OK);
			assert_int_equal(spool_state_seal(&unit, key, m.unit, &sealed), ERR_OK);
			m.state = buf_bytes(&sealed);
			m.parts = buf_bytes(&parts);
			answer_init(&answers[i]);
			assert_int_equal(channel_request(s->spool->ch, SPOOL_PUT, spool_put, &m, 0,
							 answer_take, &answers[i]),
					 ERR_OK);
			buf_clear(&sealed);
			buf_clear(&parts);
		}
		for (unsigned i = 0; i < BURST; i++) {
			assert_int_equal(answer_wait(&s->host, &answers[i]), ERR_OK);
			answer_clear(&answers[i]);
		}
	}
}

static bool
something_came(void *arg)
{
	const struct scene *s = arg;
	return s->session->inbox_count > 0;
}

static bool
one_is_left(void *arg)
{
	struct scene *s = arg;
	return spool_count(s->spool) <= 1;
}

/* The mixer, or the store, falls while the portions of one decision are carried out. */
static void
fall_in_the_middle(enum role who)
{
	enum { UNITS = 7000 };
	struct scene s;
	bool in_the_middle = false;
	/* It may be through before it is killed: then once more. */
	for (int attempt = 0; attempt < 5 && !in_the_middle; attempt++) {
		open_scene(&s, 3, MSEC_DAY);
		rolehost_stop(&s.host, ROLE_MIXER);
		fill_spool(&s, UNITS, BYTES_LIT("large"));
		fake_forget_inbox(s.session);
		assert_true(rolehost_start(&s.host, ROLE_MIXER));
		assert_true(rolehost_until(&s.host, something_came, &s, 10 * T));
		rolehost_kill(&s.host, who);
		if (who == ROLE_STORE) {
			rolehost_kill(&s.host, ROLE_MIXER);
			assert_true(rolehost_start(&s.host, ROLE_STORE));
		}
		uint64_t length = log_length(s.session, 1);
		in_the_middle = length > 0 && length < UNITS;
		assert_int_equal(spool_count(s.spool), UNITS - length);
		/* No further tick for hours: what was decided goes on all the same, and nothing else does. */
		s.host.config.arrive.clock = MSEC_DAY;
		s.host.config.arrive.deadline = MSEC_DAY;
		fake_forget_inbox(s.session);
		assert_true(rolehost_start(&s.host, ROLE_MIXER));
		receive(&s, 1, LAW_NORMAL, "later");
		assert_true(rolehost_until(&s.host, one_is_left, &s, HOST_LIMIT_MS));
		rolehost_run(&s.host, T);
		assert_int_equal(spool_count(s.spool), 1);
		assert_int_equal(log_length(s.session, 1), UNITS);
		assert_int_equal(log_count(s.session, 1, BYTES_LIT("large")), UNITS);
		if (in_the_middle) {
			print_message("%u of %d when it fell\n", (unsigned)length, UNITS);
		}
		close_scene(&s);
	}
	assert_true(in_the_middle);
}

static void
a_mixer_that_falls_in_the_middle_of_a_tick_finishes_it_and_nothing_else(void **state)
{
	(void)state;
	fall_in_the_middle(ROLE_MIXER);
}

static void
a_store_that_falls_in_the_middle_of_a_tick_lets_it_be_finished(void **state)
{
	(void)state;
	fall_in_the_middle(ROLE_STORE);
}

/* ---- clocks ---- */

static void
a_clock_that_jumps_opens_no_deadline(void **state)
{
	(void)state;
	struct scene s;
	open_scene(&s, 3, MSEC_HOUR);
	await_tick(&s);
	send(&s, (struct letter){.member = 1});
	rolehost_set_clock(&s.host, 400 * MSEC_DAY);
	assert_false(wait_for_works(&s, 1, 3 * T));
	rolehost_set_clock(&s.host, -400 * MSEC_DAY);
	assert_false(wait_for_works(&s, 1, 3 * T));
	restart_mixer(&s);
	assert_false(wait_for_works(&s, 1, 2 * T));
	/* It ticks on, wherever the clock stands. */
	send(&s, (struct letter){.member = 2});
	send(&s, (struct letter){.member = 3});
	assert_true(wait_for_works(&s, 3, 3 * T));
	assert_int_equal(work(&s, 0).is_void, 0);
	assert_true((msec)work(&s, 0).left < clock_wall() - 399 * MSEC_DAY);
	close_scene(&s);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_crowd_leaves_together_at_the_tick),
	    cmocka_unit_test(the_author_reads_in_her_journal_how_it_left),
	    cmocka_unit_test(without_a_crowd_letters_leave_void_at_their_deadline),
	    cmocka_unit_test(what_left_urgently_is_remembered_over_a_restart),
	    cmocka_unit_test(what_is_sent_on_opens_no_gate_and_is_nobody_s),
	    cmocka_unit_test(held_letters_are_not_there_before_their_time),
	    cmocka_unit_test(a_hold_is_a_time_of_the_wall_clock),
	    cmocka_unit_test(arriving_mail_waits_for_a_second_host_and_plus_now_for_nobody),
	    cmocka_unit_test(a_house_of_too_few_is_exponential_and_void_also_after_a_restart),
	    cmocka_unit_test(a_retry_leaves_at_a_tick_and_keeps_its_first_release),
	    cmocka_unit_test(a_bounce_comes_hours_later_under_each_law_that_waits),

	    cmocka_unit_test(who_waited_for_days_has_not_failed_for_days),
	    cmocka_unit_test(a_mixer_that_falls_in_the_middle_of_a_tick_finishes_it_and_nothing_else),
	    cmocka_unit_test(a_store_that_falls_in_the_middle_of_a_tick_lets_it_be_finished),
	    cmocka_unit_test(a_clock_that_jumps_opens_no_deadline),
	};
	if (argc < 2) {
		return 2;
	}
	binary = argv[1];
	if (argc > 2) {
		cmocka_set_test_filter(argv[2]);
	}
	if (secret_pool_init(1 << 16) != ERR_OK) {
		return 2;
	}
	return cmocka_run_group_tests_name("ticks", tests, NULL, NULL);
}
