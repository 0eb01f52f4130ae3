/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The courier in its own process; the mixer that hands it a batch, and keeper and resolver, are played. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "roles/rolehost.h"
#include "sealed/spool.h"

enum { PARTS = 40 };

static const char *binary;

struct scene {
	struct rolehost host;
	struct fake *mixer, *keeper, *resolver;
	char home[64];
	size_t wanted;
	uint32_t order[PARTS]; /* of the spool keys that were asked for */
	size_t asked;
};

static void
open_scene(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-courier-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	rolehost_init(&s->host, binary, s->home);
	(void)snprintf(s->host.config.hostname, sizeof(s->host.config.hostname), "mail.example.org");
	(void)snprintf(s->host.config.domain, sizeof(s->host.config.domain), "example.org");
	s->mixer = rolehost_fake(&s->host, ROLE_MIXER, 0, ROLE_COURIER);
	s->keeper = rolehost_fake(&s->host, ROLE_KEEPER, 0, ROLE_COURIER);
	s->resolver = rolehost_fake(&s->host, ROLE_RESOLVER, 0, ROLE_COURIER);
	assert_true(rolehost_start(&s->host, ROLE_COURIER));
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

/* Parts of one message, each under a spool key of its own, so that the questions for keys show which one begins when. */
static void
hand_over(struct scene *s, uint64_t batch, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct msg_courier_work w = {.part = (uint32_t)i,
					     .epoch = (uint32_t)i,
					     .batch_id = batch,
					     .body = BYTES_LIT("sealed")};
		w.unit[0] = (uint8_t)batch;
		assert_int_equal(channel_notice(s->mixer->ch, COURIER_WORK, courier_work, &w), ERR_OK);
	}
}

/* There is no such key: the part is given back. */
static void
look(struct scene *s)
{
	for (size_t i = 0; i < s->keeper->inbox_count; i++) {
		struct msg_spool_key_secret q;
		assert_int_equal(msg_spool_key_secret_decode(buf_bytes(&s->keeper->inbox[i].payload), &q),
				 ERR_OK);
		assert_true(s->asked < PARTS);
		s->order[s->asked++] = q.epoch;
		assert_int_equal(channel_answer(s->keeper->ch, MSG_SPOOL_KEY_SECRET, s->keeper->inbox[i].id,
						ERR_NOT_FOUND),
				 ERR_OK);
	}
	fake_forget_inbox(s->keeper);
	for (size_t i = 0; i < s->mixer->inbox_count; i++) {
		assert_int_equal(
		    channel_answer(s->mixer->ch, s->mixer->inbox[i].type, s->mixer->inbox[i].id, ERR_OK),
		    ERR_OK);
	}
	fake_forget_inbox(s->mixer);
}

static bool
all_asked(void *arg)
{
	struct scene *s = arg;
	look(s);
	return s->asked >= s->wanted;
}

/* How many parts begin right behind one that was handed over right before or behind them. */
static size_t
neighbours(const struct scene *s, size_t count)
{
	size_t n = 0;
	for (size_t i = 1; i < count; i++) {
		n += s->order[i] == s->order[i - 1] + 1 || s->order[i] + 1 == s->order[i - 1] ? 1 : 0;
	}
	return n;
}

static void
a_batch_begins_in_random_order(void **state)
{
	struct scene s;
	(void)state;
	open_scene(&s);
	for (uint64_t batch = 1; batch <= 3; batch++) {
		bool seen[PARTS] = {false};
		s.asked = 0;
		s.wanted = PARTS;
		hand_over(&s, batch, PARTS);
		assert_true(rolehost_until(&s.host, all_asked, &s, 10000));
		for (size_t i = 0; i < PARTS; i++) {
			assert_false(seen[s.order[i]]);
			seen[s.order[i]] = true;
		}
		/* Two are expected (about Poisson); of 15 or more the chance is below 10^-7. */
		assert_true(neighbours(&s, PARTS) < 15);
		rolehost_run(&s.host, 100);
		look(&s);
		rolehost_run(&s.host, 100);
	}
	assert_int_equal(rolehost_figure(&s.host, ROLE_COURIER, "at_hand"), 0);
	close_scene(&s);
}

static void
nothing_of_a_batch_begins_before_it_is_complete(void **state)
{
	struct scene s;
	(void)state;
	open_scene(&s);
	s.wanted = 6;
	hand_over(&s, 1, 3);
	rolehost_run(&s.host, 30);
	look(&s);
	assert_int_equal(s.asked, 0);
	for (uint32_t i = 3; i < 6; i++) {
		struct msg_courier_work w = {
		    .part = i, .epoch = i, .batch_id = 1, .body = BYTES_LIT("sealed")};
		assert_int_equal(channel_notice(s.mixer->ch, COURIER_WORK, courier_work, &w), ERR_OK);
	}
	assert_true(rolehost_until(&s.host, all_asked, &s, 10000));
	close_scene(&s);
}

static void
without_a_tick_each_part_begins_as_it_comes(void **state)
{
	struct scene s;
	(void)state;
	open_scene(&s);
	s.wanted = PARTS;
	hand_over(&s, 0, PARTS);
	assert_true(rolehost_until(&s.host, all_asked, &s, 10000));
	assert_int_equal(neighbours(&s, PARTS), PARTS - 1);
	close_scene(&s);
}

/* Alice has hers sent on to a@example.net, and the keeper has signed it. */
static void
sign_wish(struct courier_part *part, struct buf *list)
{
	uint8_t hash[SEALED_HASH_LEN];
	struct directory_account alice = {.name = BYTES_LIT("alice"),
					  .forward_count = 1,
					  .forward_slot = 1,
					  .forwards = {BYTES_LIT("a@example.net")}};
	assert_int_equal(forward_list_put(&alice, list), ERR_OK);
	forward_list_hash(buf_bytes(list), hash);
	forward_list_sign(rolehost_sign_seed, part->account, hash, part->forwards_signature);
	part->forwards = buf_bytes(list);
}

/*
 * Whether the courier asks for the way of a stranger's part; if not, it is given back as finished, and nobody is told. alter: an
 * octet of the signature.
 */
static bool
goes_on(struct scene *s, uint32_t number, const char *sender, const char *recipient, uint32_t flags,
	uint8_t alter)
{
	uint8_t pub[BOX_PUBLIC_LEN];
	uint8_t sec[BOX_SECRET_LEN];
	struct buf sealed = BUF_INIT(SPOOL_PART_MAX);
	struct courier_recipient to = {.address = bytes_str(recipient)};
	struct buf list = BUF_INIT(FORWARD_LIST_MAX);
	struct courier_part part = {
	    .domain = BYTES_LIT("example.net"),
	    .sender = bytes_str(sender),
	    .flags = flags,
	    .generation = 1,
	    .forwarder = (flags & COURIER_FORWARDED) != 0 ? BYTES_LIT("alice@example.org") : BYTES_EMPTY,
	    .recipient_count = 1,
	    .recipients = &to};
	struct msg_courier_work w = {.part = number, .epoch = number, .strange = 1};
	bool asked = false;
	bool given_back = false;
	box_pair(pub, sec);
	memcpy(part.public_key, pub, sizeof(part.public_key));
	if ((flags & COURIER_FORWARDED) != 0) {
		sign_wish(&part, &list);
		part.forwards_signature[0] ^= alter;
	}
	blob_ref_init(&part.blob);
	part.blob.stored = 4096 + BLOB_CHUNK_OVERHEAD;
	part.blob.chunks = 1;
	assert_int_equal(courier_part_seal(&part, number, pub, w.unit, number, &sealed), ERR_OK);
	w.body = buf_bytes(&sealed);
	assert_int_equal(channel_notice(s->mixer->ch, COURIER_WORK, courier_work, &w), ERR_OK);
	for (unsigned i = 0; i < 200 && !asked && !given_back; i++) {
		rolehost_run(&s->host, 20);
		for (size_t k = 0; k < s->keeper->inbox_count; k++) {
			struct msg_spool_key_secret_reply r;
			memcpy(r.public_key, pub, sizeof(r.public_key));
			memcpy(r.secret_key, sec, sizeof(r.secret_key));
			assert_int_equal(channel_reply(s->keeper->ch, SPOOL_KEY_SECRET,
						       spool_key_secret_reply, s->keeper->inbox[k].id, &r),
					 ERR_OK);
		}
		fake_forget_inbox(s->keeper);
		asked = s->resolver->inbox_count > 0;
		for (size_t k = 0; k < s->mixer->inbox_count; k++) {
			struct msg_courier_verdict v;
			if (s->mixer->inbox[k].type == MSG_COURIER_VERDICT) {
				assert_int_equal(
				    msg_courier_verdict_decode(buf_bytes(&s->mixer->inbox[k].payload), &v),
				    ERR_OK);
				given_back = v.again == 0;
				assert_true(v.notices.len == 0 && v.journal.len == 0);
			}
			assert_int_equal(channel_answer(s->mixer->ch, s->mixer->inbox[k].type,
							s->mixer->inbox[k].id, ERR_OK),
					 ERR_OK);
		}
		fake_forget_inbox(s->mixer);
	}
	fake_forget_inbox(s->resolver);
	buf_clear(&sealed);
	buf_clear(&list);
	assert_true(asked != given_back);
	return asked;
}

static void
the_gate_of_strangers_sends_copies_of_members_and_no_letters(void **state)
{
	struct scene s;
	(void)state;
	open_scene(&s);
	const char *she = "alice+forwarded@example.org";
	const char *there = "a@example.net";
	assert_false(goes_on(&s, 1, "alice@example.org", there, COURIER_FORWARDED, 0));
	assert_false(goes_on(&s, 2, "alice+forwarded@example.com", there, COURIER_FORWARDED, 0));
	assert_false(goes_on(&s, 3, she, there, 0, 0));
	assert_false(goes_on(&s, 4, she, "eve@example.net", COURIER_FORWARDED, 0));
	assert_false(goes_on(&s, 5, "", "eve@example.net", COURIER_FORWARDED, 0));
	assert_false(goes_on(&s, 6, she, there, COURIER_FORWARDED, 1));
	assert_true(goes_on(&s, 7, she, there, COURIER_FORWARDED, 0));
	assert_true(goes_on(&s, 8, "", there, COURIER_FORWARDED, 0));
	close_scene(&s);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_batch_begins_in_random_order),
	    cmocka_unit_test(nothing_of_a_batch_begins_before_it_is_complete),
	    cmocka_unit_test(without_a_tick_each_part_begins_as_it_comes),
	    cmocka_unit_test(the_gate_of_strangers_sends_copies_of_members_and_no_letters),
	};
	if (argc < 2) {
		return 2;
	}
	binary = argv[1];
	return cmocka_run_group_tests_name("courier role", tests, NULL, NULL);
}
