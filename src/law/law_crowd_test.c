/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The crowd law: the figures of the paper it comes from, and what must hold in every run. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "law/law.h"

static uint64_t
splitmix(void *arg)
{
	uint64_t *state = arg;
	uint64_t z = (*state += 0x9e3779b97f4a7c15U);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

static uint64_t seed = 1;
static const struct law_random chance = {.next = splitmix, .arg = &seed};
static uint64_t last_id;

enum { DAY_TICKS = 24 };
#define T MSEC_HOUR
#define D MSEC_DAY

static struct law *
make_with(struct law_config config)
{
	struct law *law = NULL;
	assert_int_equal(law_create(&config, &law), ERR_OK);
	return law;
}

static struct law *
make(uint32_t k)
{
	return make_with((struct law_config){.kind = LAW_CROWD,
					     .clock = T,
					     .k = k,
					     .deadline = D,
					     .mean = 15 * MSEC_MINUTE,
					     .patient = 2 * MSEC_DAY});
}

/* The clocks agree, unless a test says otherwise. */
static struct law_time
at(msec age)
{
	return (struct law_time){.age = age, .wall = age};
}

static uint64_t
enter_unit(struct law *law, msec age, struct law_unit unit)
{
	unit.id = ++last_id;
	law_admit(law, at(age), chance, &unit);
	assert_int_equal(law_insert(law, &unit), ERR_OK);
	return unit.id;
}

static uint64_t
enter(struct law *law, msec age, uint64_t member, enum law_lane lane, uint32_t weight)
{
	struct law_unit unit;
	law_unit_init(&unit);
	unit.member = member;
	unit.lane = (uint8_t)lane;
	unit.weight = weight;
	return enter_unit(law, age, unit);
}

/* One letter each: counts[m] from member m, until a negative number. */
static void
enter_all(struct law *law, msec age, const int *counts)
{
	for (uint64_t m = 0; counts[m] >= 0; m++) {
		for (int i = 0; i < counts[m]; i++) {
			(void)enter(law, age, m, LAW_NORMAL, 1);
		}
	}
}

enum { MEMBERS = 64 };

struct batch {
	size_t count;
	size_t voids;
	uint64_t weight;
	uint64_t most; /* of one member */
	uint64_t of[MEMBERS];
	double entropy;
	uint32_t crowd; /* as the law tells it, of the last release */
	uint32_t told;
	msec tick;
};

static struct batch
release_at(struct law *law, struct law_time now)
{
	struct law_decision d;
	struct batch b = {.count = 0};
	assert_int_equal(law_decide(law, now, chance, SIZE_MAX, &d), ERR_OK);
	for (size_t i = 0; i < d.release_count; i++) {
		const struct law_release *r = &d.releases[i];
		b.count++;
		b.voids += r->is_void;
		b.weight += r->unit.weight;
		b.of[r->unit.member % MEMBERS] += r->unit.weight;
		b.crowd = r->crowd;
		b.told = r->batch;
	}
	for (size_t m = 0; m < MEMBERS; m++) {
		double p = b.weight == 0 ? 0 : (double)b.of[m] / (double)b.weight;
		b.most = b.of[m] > b.most ? b.of[m] : b.most;
		b.entropy -= p > 0 ? p * log2(p) : 0;
	}
	b.tick = d.tick;
	law_commit(law, &d);
	law_decision_clear(&d);
	return b;
}

static struct batch
release(struct law *law, msec age)
{
	return release_at(law, at(age));
}

static bool
is_near(double a, double b)
{
	return fabs(a - b) < 5e-5;
}

/* ---- the oracles ---- */

static void
the_gate_opens_with_the_largest_fair_share(void **state)
{
	static const struct {
		int counts[8];
		uint32_t k;
		size_t released;
		uint64_t x;
		double most;
		double entropy;
	} oracles[] = {
	    {{1, 1, 1, -1}, 3, 3, 1, .3333, 1.5850},
	    {{5, 1, 1, -1}, 3, 3, 1, .3333, 1.5850},
	    {{5, 2, 2, 1, -1}, 3, 7, 2, .2857, 1.9502},
	    {{10, 3, 3, 2, 1, 1, -1}, 5, 10, 2, .2, 2.5219},
	    {{4, 4, 4, 4, -1}, 3, 16, 4, .25, 2},
	    {{9, 9, -1}, 3, 0, 0, 0, 0},
	    {{7, 3, -1}, 2, 6, 3, .5, 1},
	    {{6, -1}, 1, 6, 6, 1, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(oracles) / sizeof(oracles[0]); i++) {
		struct law *law = make(oracles[i].k);
		enter_all(law, 0, oracles[i].counts);
		struct batch b = release(law, T);
		assert_int_equal(b.count, oracles[i].released);
		assert_int_equal(b.most, oracles[i].x);
		assert_int_equal(b.voids, 0);
		if (b.count > 0) {
			size_t members = 0;
			for (size_t m = 0; m < MEMBERS; m++) {
				members += b.of[m] > 0;
			}
			assert_true(is_near((double)b.most / (double)b.weight, oracles[i].most));
			assert_true(is_near(b.entropy, oracles[i].entropy));
			assert_int_equal(b.crowd, members);
			assert_int_equal(b.told, b.weight);
		}
		law_destroy(&law);
	}
}

static void
capped_letters_alone_leave_exactly_at_the_deadline(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, 0, (const int[]){5, 1, 1, -1});
	assert_int_equal(release(law, T).count, 3);
	for (msec t = 2; t < DAY_TICKS; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	/* Alone: they draw nobody along who has time yet. */
	enter_all(law, D - 1, (const int[]){1, 1, -1});
	struct batch b = release(law, D);
	assert_int_equal(b.count, 4);
	assert_int_equal(b.voids, 4);
	assert_int_equal(b.crowd, 0);
	assert_int_equal(law_waiting(law), 2);
	law_destroy(&law);
}

static void
at_the_deadline_of_one_who_was_never_capped_all_leave_void(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, 0, (const int[]){9, 0, -1});
	enter_all(law, 5 * T, (const int[]){0, 9, -1});
	for (msec t = 1; t < DAY_TICKS; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	struct batch b = release(law, D);
	assert_int_equal(b.count, 18);
	assert_int_equal(b.voids, 18);
	law_destroy(&law);
}

static void
what_is_capped_and_overdue_leaves_with_an_opening_and_is_void_where_it_is_too_much(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, 0, (const int[]){8, 1, 1, -1});
	assert_int_equal(release(law, T).count, 3);
	enter_all(law, D - 1, (const int[]){0, 1, 1, -1});
	struct batch b = release(law, D);
	assert_int_equal(b.count, 9);
	/* Seven of nine are one member's: for him the promise does not hold, for the two others it does. One each is the crowd. */
	assert_int_equal(b.voids, 7);
	assert_int_equal(b.crowd, 3);
	assert_int_equal(b.told, 3);
	law_destroy(&law);
}

static void
an_urgent_letter_leaves_alone_and_counts_against_the_next_opening(void **state)
{
	struct law *law = make(3);
	(void)state;
	(void)enter(law, 0, 1, LAW_URGENT, 1);
	(void)enter(law, 0, 2, LAW_NORMAL, 1);
	struct batch b = release(law, T);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.voids, 1);
	assert_int_equal(b.of[1], 1);
	(void)enter(law, T + 1, 3, LAW_NORMAL, 1);
	assert_int_equal(release(law, 2 * T).count, 0);
	(void)enter(law, 2 * T + 1, 4, LAW_NORMAL, 1);
	b = release(law, 3 * T);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.most, 1);
	assert_int_equal(b.voids, 0);
	/* The counters began anew. */
	enter_all(law, 3 * T + 1, (const int[]){1, 1, 1, -1});
	assert_int_equal(release(law, 4 * T).count, 3);
	law_destroy(&law);
}

static void
who_sent_urgently_has_had_a_part_of_the_next_share(void **state)
{
	struct law *law = make(3);
	(void)state;
	(void)enter(law, 0, 0, LAW_URGENT, 1);
	assert_int_equal(release(law, T).count, 1);
	enter_all(law, T + 1, (const int[]){1, 1, 1, -1});
	assert_int_equal(release(law, 2 * T).count, 0);
	/* A fourth makes up for the one that went: three leave, and her own not, who has had hers. */
	enter_all(law, 2 * T + 1, (const int[]){0, 0, 0, 1, -1});
	struct batch b = release(law, 3 * T);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.of[0], 0);
	law_destroy(&law);
}

/* Twenty of one member's at a shut gate take up room in her own share, and in nobody else's. */
static void
urgent_letters_of_one_shut_the_gate_for_nobody_else(void **state)
{
	struct law *law = make(3);
	(void)state;
	for (int i = 0; i < 20; i++) {
		(void)enter(law, 0, 0, LAW_URGENT, 1);
	}
	(void)enter(law, 0, 9, LAW_URGENT, 30);
	struct batch b = release(law, T);
	assert_int_equal(b.count, 21);
	assert_int_equal(b.voids, 21);
	assert_int_equal(b.crowd, 0);
	/* She has had hers; three others are a crowd. */
	(void)enter(law, T + 1, 0, LAW_NORMAL, 1);
	enter_all(law, T + 1, (const int[]){0, 1, 1, 1, -1});
	b = release(law, 2 * T);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.of[0], 0);
	assert_int_equal(b.voids, 0);
	assert_int_equal(b.crowd, 3);
	law_destroy(&law);
}

static void
an_urgent_letter_to_thirty_hosts_makes_nobody_elses_void(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, 0, (const int[]){1, 1, 1, -1});
	(void)enter(law, 0, 9, LAW_URGENT, 30);
	struct batch b = release(law, T);
	assert_int_equal(b.count, 4);
	assert_int_equal(b.voids, 1);
	assert_int_equal(b.told, 3);
	law_destroy(&law);
}

/* What an automatic sender, or one beyond his share, adds to the batch is nobody's crowd. */
static void
no_crowd_is_made_of_what_does_not_count_or_is_void(void **state)
{
	struct law *law = make(3);
	struct law_unit unit;
	(void)state;
	/* Two of hers are void beside the share of one: thirty automatic deliveries make no crowd for them. */
	enter_all(law, 0, (const int[]){0, 1, 1, -1});
	(void)enter(law, 0, 0, LAW_URGENT, 1);
	(void)enter(law, 0, 0, LAW_URGENT, 1);
	for (uint64_t i = 0; i < 30; i++) {
		law_unit_init(&unit);
		unit.counts = false;
		unit.member = 20 + i;
		(void)enter_unit(law, 0, unit);
	}
	struct batch b = release(law, T);
	assert_int_equal(b.count, 34);
	assert_int_equal(b.voids, 2);
	assert_int_equal(b.crowd, 3);
	assert_int_equal(b.told, 3);
	law_destroy(&law);
}

static void
a_storm_of_urgent_letters_can_still_be_stored(void **state)
{
	struct law *law = make(LAW_GONE_MAX + 500);
	struct buf b = BUF_INIT(LAW_CLASS_ENCODED_MAX);
	(void)state;
	for (uint64_t m = 0; m < LAW_GONE_MAX + 200; m++) {
		(void)enter(law, 0, m, LAW_URGENT, 1);
	}
	assert_int_equal(release(law, T).count, LAW_GONE_MAX + 200);
	assert_int_equal(law_class_encode(law, NULL, 0, &b), ERR_OK);
	assert_int_equal(law_class_decode(law, 0, buf_bytes(&b)), ERR_OK);
	buf_clear(&b);
	law_destroy(&law);
}

static void
an_urgent_letter_in_an_open_gate_takes_its_share_first(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, 0, (const int[]){4, 1, 1, -1});
	uint64_t haste = enter(law, 1, 0, LAW_URGENT, 1);
	struct batch b = release(law, T);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.voids, 0);
	assert_int_equal(law_remove(law, haste), ERR_NOT_FOUND);
	law_destroy(&law);
}

/* Two of her own do not fit into a share of one: both leave, and she alone is told that the promise did not hold. */
static void
an_urgent_letter_beyond_its_share_leaves_void_at_an_open_gate(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, 0, (const int[]){1, 1, 1, -1});
	uint64_t first = enter(law, 0, 9, LAW_URGENT, 1);
	uint64_t second = enter(law, 0, 9, LAW_URGENT, 1);
	struct batch b = release(law, T);
	assert_int_equal(b.count, 5);
	assert_int_equal(b.voids, 2);
	assert_int_equal(law_remove(law, first), ERR_NOT_FOUND);
	assert_int_equal(law_remove(law, second), ERR_NOT_FOUND);
	law_destroy(&law);
}

/* k = 1: the plain batch of Poisson arrivals, guess (1 - e^-b) / b. */
static void
a_gate_of_one_is_the_plain_batch(void **state)
{
	static const struct {
		double b;
		double guess;
	} oracles[] = {{2, .4323}, {5, .1987}, {10, .1000}};
	enum { TICKS = 60000 };
	(void)state;
	seed = 7;
	for (size_t i = 0; i < 3; i++) {
		struct law *law = make(1);
		double next = 0;
		double batches = 0;
		double letters = 0;
		for (msec t = 1; t <= TICKS; t++) {
			while (next < (double)(t * T)) {
				(void)enter(law, (msec)next, splitmix(&seed), LAW_NORMAL, 1);
				double u = ((double)(splitmix(&seed) >> 11) + 0.5) * 0x1p-53;
				next += -log(u) * (double)T / oracles[i].b;
			}
			struct batch b = release(law, t * T);
			letters += (double)b.count;
			batches += b.count > 0;
		}
		/* Each letter is guessed with one over its batch. */
		assert_true(fabs(batches / letters - oracles[i].guess) < 0.01 * oracles[i].guess + .0005);
		law_destroy(&law);
	}
}

/* ---- the rules one by one ---- */

static void
each_size_class_has_its_own_gate(void **state)
{
	struct law *law = make(3);
	struct law_unit unit;
	(void)state;
	for (uint64_t m = 0; m < 5; m++) {
		law_unit_init(&unit);
		unit.member = m;
		unit.size_class = m < 3 ? 2 : 0;
		(void)enter_unit(law, 0, unit);
	}
	assert_int_equal(release(law, T).count, 3);
	assert_int_equal(law_waiting_in(law, 2), 0);
	assert_int_equal(law_waiting_in(law, 0), 2);
	law_destroy(&law);
}

static void
who_does_not_count_opens_no_gate_but_leaves_with_the_others(void **state)
{
	struct law *law = make(3);
	struct law_unit unit;
	(void)state;
	law_unit_init(&unit);
	unit.counts = false;
	for (uint64_t i = 0; i < 20; i++) {
		unit.member = 10 + i % 2;
		(void)enter_unit(law, 0, unit);
	}
	enter_all(law, 0, (const int[]){2, 2, -1});
	assert_int_equal(release(law, T).count, 0);
	enter_all(law, T + 1, (const int[]){0, 0, 2, -1});
	struct batch b = release(law, 2 * T);
	/* Six that count, and of the others no more than the share. */
	assert_int_equal(b.count, 10);
	assert_int_equal(b.of[10], 2);
	assert_int_equal(b.of[11], 2);
	/* They stand within the equal shares, and are nobody's crowd. */
	assert_int_equal(b.voids, 0);
	assert_int_equal(b.crowd, 3);
	assert_int_equal(b.told, 6);
	law_destroy(&law);
}

static void
a_unit_that_fits_no_share_leaves_void_at_its_deadline(void **state)
{
	struct law *law = make(3);
	(void)state;
	(void)enter(law, 0, 9, LAW_NORMAL, 40);
	enter_all(law, 0, (const int[]){1, 1, 1, -1});
	struct batch b = release(law, T);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.voids, 0);
	for (msec t = 2; t < DAY_TICKS; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	b = release(law, D);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.voids, 1);
	law_destroy(&law);
}

static void
units_of_several_deliveries_leave_where_they_fit(void **state)
{
	struct law *law = make(3);
	(void)state;
	/* Shares of 3: 1+2, 3, 2+1 (the 4 waits), in all 9. */
	(void)enter(law, 0, 0, LAW_NORMAL, 1);
	(void)enter(law, 1, 0, LAW_NORMAL, 2);
	(void)enter(law, 0, 1, LAW_NORMAL, 3);
	(void)enter(law, 0, 2, LAW_NORMAL, 2);
	(void)enter(law, 1, 2, LAW_NORMAL, 4);
	(void)enter(law, 2, 2, LAW_NORMAL, 1);
	struct batch b = release(law, T);
	assert_int_equal(b.weight, 9);
	assert_int_equal(b.most, 3);
	assert_int_equal(law_waiting(law), 1);
	law_destroy(&law);
}

static void
the_patient_leave_together_at_their_period_once_enough_came(void **state)
{
	struct law *law = make(3);
	(void)state;
	(void)enter(law, 1, 0, LAW_PATIENT, 1);
	(void)enter(law, 2, 1, LAW_PATIENT, 1);
	(void)enter(law, 3, 1, LAW_PATIENT, 1);
	for (msec t = 1; t <= 2 * DAY_TICKS; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	(void)enter(law, 2 * D + 1, 2, LAW_PATIENT, 1);
	for (msec t = 2 * DAY_TICKS + 1; t < 4 * DAY_TICKS; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	struct batch b = release(law, 4 * D);
	assert_int_equal(b.count, 4);
	assert_int_equal(b.crowd, 3);
	/* Half of them are one member's: one of each is the crowd. */
	assert_int_equal(b.voids, 2);
	assert_int_equal(b.told, 3);
	law_destroy(&law);
}

static void
patience_ends_after_three_periods_in_the_normal_lane(void **state)
{
	struct law *law = make(3);
	(void)state;
	(void)enter(law, 0, 0, LAW_PATIENT, 1);
	for (msec t = 1; t < 6 * DAY_TICKS; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	enter_all(law, 6 * D - 1, (const int[]){0, 1, 1, -1});
	struct batch b = release(law, 6 * D);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.voids, 0);
	law_destroy(&law);
}

static uint64_t
hold(struct law *law, msec age, uint64_t member, msec until)
{
	struct law_unit unit;
	law_unit_init(&unit);
	unit.member = member;
	unit.due = until;
	return enter_unit(law, age, unit);
}

static void
held_letters_leave_at_the_first_tick_after_their_time(void **state)
{
	struct law *law = make(3);
	(void)state;
	/* Alone: void, and told. */
	(void)hold(law, 0, 7, 100 * T + 5);
	enter_all(law, 0, (const int[]){0, 1, 1, -1});
	for (msec t = 1; t < DAY_TICKS; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	assert_int_equal(release(law, D).count, 2);
	for (msec t = DAY_TICKS + 1; t < 101; t++) {
		assert_int_equal(release(law, t * T).count, 0);
	}
	struct batch b = release(law, 101 * T);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.voids, 1);
	/* With two others: in their crowd. It has its place in her share before what she wrote earlier. */
	uint64_t chosen = hold(law, 101 * T + 1, 0, 103 * T);
	enter_all(law, 101 * T + 1, (const int[]){1, 1, -1});
	assert_int_equal(release(law, 102 * T).count, 0);
	enter_all(law, 102 * T + 1, (const int[]){0, 0, 1, -1});
	b = release(law, 103 * T);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.voids, 0);
	assert_int_equal(b.crowd, 3);
	struct law_unit unit;
	assert_int_equal(law_get(law, chosen, &unit), ERR_NOT_FOUND);
	assert_int_equal(law_waiting(law), 1);
	law_destroy(&law);
}

static void
retries_leave_at_the_first_tick_after_their_time_and_count_for_nothing(void **state)
{
	struct law *law = make(3);
	struct law_unit unit;
	(void)state;
	law_unit_init(&unit);
	unit.lane = LAW_DUE;
	unit.counts = false;
	unit.due = 5 * T + 1;
	(void)enter_unit(law, 0, unit);
	enter_all(law, 0, (const int[]){0, 1, 1, -1});
	assert_int_equal(release(law, 5 * T).count, 0);
	assert_int_equal(release(law, 6 * T - 1).count, 0);
	struct batch b = release(law, 6 * T);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.voids, 0);
	law_destroy(&law);
}

static void
too_few_members_fall_to_the_exponential_law_and_all_is_void(void **state)
{
	struct law *law = make(3);
	msec when = 0;
	(void)state;
	enter_all(law, 0, (const int[]){1, 1, 1, 1, 1, -1});
	law_set_members(law, at(0), 2);
	assert_true(law_is_alone(law));
	size_t gone = 0;
	while (law_waiting(law) > 0) {
		msec wait = law_next(law, at(when));
		assert_true(wait != LAW_NEVER);
		when += wait;
		struct batch b = release(law, when);
		assert_int_equal(b.voids, b.count);
		assert_true(b.tick == LAW_NO_TICK);
		gone += b.count;
	}
	assert_int_equal(gone, 5);
	assert_true(when <= 5 * 15 * MSEC_MINUTE);
	/* The house grows: from now on the clock, and not the tick that is past. */
	msec now = 10 * T + 7;
	enter_all(law, 10 * T - 1, (const int[]){1, 1, 1, -1});
	law_set_members(law, at(now), 3);
	assert_false(law_is_alone(law));
	assert_int_equal(release(law, now).count, 0);
	assert_int_equal(law_next(law, at(now)), T - 7);
	assert_int_equal(release(law, 11 * T).count, 3);
	law_destroy(&law);
}

static void
the_exponential_fallback_has_its_mean(void **state)
{
	enum { N = 100000 };
	const double m = 15 * MSEC_MINUTE;
	struct law *law = make(3);
	double sum = 0;
	(void)state;
	for (int i = 0; i < N; i++) {
		struct law_unit unit;
		law_unit_init(&unit);
		law_admit(law, at(1000), chance, &unit);
		sum += (double)(unit.alone - 1000);
	}
	assert_true(fabs(sum / N - m * (1 - 5 * exp(-5) / (1 - exp(-5)))) < 0.01 * m);
	law_destroy(&law);
}

/* ---- clocks ---- */

static void
nothing_leaves_between_two_ticks(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, T - 1, (const int[]){1, 1, 1, -1});
	assert_int_equal(law_next(law, at(T - 1)), 0); /* the tick at 0 is open, and has nothing for them */
	assert_int_equal(release(law, T - 1).count, 0);
	assert_int_equal(law_next(law, at(T - 1)), 1);
	enter_all(law, T + 1, (const int[]){1, 1, 1, -1});
	/* Late, but as of the tick. */
	assert_int_equal(release(law, T + 5).count, 3);
	assert_int_equal(law_next(law, at(T + 5)), T - 5);
	assert_int_equal(release(law, T + 5).count, 0);
	assert_int_equal(release(law, 2 * T - 1).count, 0);
	assert_int_equal(release(law, 2 * T).count, 3);
	law_destroy(&law);
}

static void
a_missed_tick_happens_once_and_late(void **state)
{
	struct law *law = make(3);
	(void)state;
	(void)release(law, T);
	enter_all(law, T + 1, (const int[]){1, 1, 1, -1});
	/* Asleep for five periods. Those who came last have no part in a tick before them. */
	enter_all(law, 6 * T + 10, (const int[]){1, 1, 1, -1});
	struct batch b = release(law, 6 * T + 20);
	assert_int_equal(b.count, 3);
	assert_true(b.tick == 6 * T);
	assert_int_equal(release(law, 6 * T + 21).count, 0);
	assert_int_equal(law_next(law, at(6 * T + 21)), T - 21);
	assert_int_equal(release(law, 7 * T).count, 3);
	law_destroy(&law);
}

static void
clock_jumps_open_no_deadline_and_make_no_two_ticks_of_one(void **state)
{
	struct law *law = make(3);
	(void)state;
	enter_all(law, 10, (const int[]){1, 1, -1});
	assert_int_equal(release(law, T).count, 0);
	/* A year ahead: one tick, and nobody is older for it. */
	struct law_time ahead = {.age = T + 100, .wall = 365 * MSEC_DAY};
	assert_int_equal(law_next(law, ahead), 0);
	assert_int_equal(release_at(law, ahead).count, 0);
	assert_int_equal(release_at(law, ahead).tick, LAW_NO_TICK);
	/* And back: not the tick of T once more, nor silence for a year, but the next one. */
	struct law_time back = {.age = T + 200, .wall = T + 200};
	assert_int_equal(law_next(law, back), T - 200);
	enter_all(law, T + 300, (const int[]){0, 0, 1, -1});
	assert_int_equal(release(law, T + 400).count, 0);
	assert_int_equal(release(law, 2 * T).count, 3);
	/* A clock that trembles around a tick. */
	(void)enter(law, 2 * T, 0, LAW_NORMAL, 1);
	struct law_time before = {.age = 2 * T + 50, .wall = 2 * T - 50};
	assert_true(release_at(law, before).tick == LAW_NO_TICK);
	assert_int_equal(law_next(law, before), T + 50);
	assert_true(release(law, 2 * T + 100).tick == LAW_NO_TICK);
	assert_true(release(law, 3 * T).tick == 3 * T);
	law_destroy(&law);
}

static void
a_decision_that_was_not_stored_is_made_again_the_same(void **state)
{
	struct law *law = make(3);
	struct law_decision a;
	struct law_decision b;
	struct buf one = BUF_INIT(1000);
	struct buf two = BUF_INIT(1000);
	(void)state;
	enter_all(law, 0, (const int[]){5, 2, 2, 1, -1});
	(void)enter(law, 0, 70, LAW_URGENT, 1);
	assert_int_equal(law_decide(law, at(T), chance, 1, &a), ERR_OK);
	enter_all(law, T + 1, (const int[]){0, 0, 5, 5, -1});
	assert_int_equal(law_decide(law, at(T + 2), chance, 1, &b), ERR_OK);
	assert_int_equal(a.release_count, 9);
	assert_int_equal(a.release_count, b.release_count);
	assert_int_equal(a.classes, b.classes);
	assert_int_equal(law_tick_encode(law, &a, &one), ERR_OK);
	assert_int_equal(law_class_encode(law, &a, 0, &one), ERR_OK);
	assert_int_equal(law_tick_encode(law, &b, &two), ERR_OK);
	assert_int_equal(law_class_encode(law, &b, 0, &two), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&one), buf_bytes(&two)));
	/* One goes away in between: no harm. */
	assert_int_equal(law_remove(law, a.releases[0].unit.id), ERR_OK);
	law_commit(law, &a);
	law_decision_clear(&a);
	law_decision_clear(&b);
	/* Once committed it is not made again. */
	assert_int_equal(law_next(law, at(T + 3)), T - 3);
	assert_int_equal(law_waiting(law), 12);
	buf_clear(&one);
	buf_clear(&two);
	law_destroy(&law);
}

static void
impossible_settings_are_refused(void **state)
{
	struct law *law = NULL;
	const struct law_config good = {.kind = LAW_CROWD, .clock = T, .k = 3, .deadline = D, .mean = T};
	struct law_config bad = good;
	(void)state;
	bad.k = 0;
	assert_int_equal(law_create(&bad, &law), ERR_FORMAT);
	bad = good;
	bad.clock = 0;
	assert_int_equal(law_create(&bad, &law), ERR_FORMAT);
	bad = good;
	bad.deadline = -1;
	assert_int_equal(law_create(&bad, &law), ERR_FORMAT);
	bad = good;
	bad.mean = 0;
	assert_int_equal(law_create(&bad, &law), ERR_FORMAT);
	bad = good;
	bad.patient = T - 1;
	assert_int_equal(law_create(&bad, &law), ERR_FORMAT);
	assert_null(law);
	assert_int_equal(law_create(&good, &law), ERR_OK);
	law_destroy(&law);
}

/* ---- the share (what must hold in every run: law_runs_test.c) ---- */

enum { PEOPLE = 12, CLASSES = 2 };

/* A plain model of who waits, and since when he is in the queue. */
struct model {
	struct law_unit units[4096];
	msec arrived[4096];
	size_t count;
};

static const struct law_unit *
model_take(struct model *m, uint64_t id, msec *ret_arrived)
{
	static struct law_unit taken;
	for (size_t i = 0; i < m->count; i++) {
		if (m->units[i].id == id) {
			taken = m->units[i];
			*ret_arrived = m->arrived[i];
			m->units[i] = m->units[--m->count];
			m->arrived[i] = m->arrived[m->count];
			return &taken;
		}
	}
	return NULL;
}

static void
model_enter(struct model *m, struct law *law, msec age, uint64_t *dice)
{
	struct law_unit unit;
	if (m->count == sizeof(m->units) / sizeof(m->units[0])) {
		return;
	}
	law_unit_init(&unit);
	unit.id = ++last_id;
	unit.member = splitmix(dice) % PEOPLE;
	unit.size_class = (uint8_t)(splitmix(dice) % CLASSES);
	law_admit(law, at(age), chance, &unit);
	assert_int_equal(law_insert(law, &unit), ERR_OK);
	m->arrived[m->count] = age;
	m->units[m->count++] = unit;
}

/* The largest x by the words of the law: tried one by one, from above, on plain lists. */
static uint64_t
plain_share(const struct model *m, unsigned size_class, msec cut, uint64_t k)
{
	uint64_t c[PEOPLE] = {0};
	uint64_t most = 0;
	for (size_t i = 0; i < m->count; i++) {
		if (m->units[i].size_class == size_class && m->arrived[i] <= cut) {
			c[m->units[i].member]++;
		}
	}
	for (size_t i = 0; i < PEOPLE; i++) {
		most = c[i] > most ? c[i] : most;
	}
	for (uint64_t x = most; x > 0; x--) {
		uint64_t sum = 0;
		for (size_t i = 0; i < PEOPLE; i++) {
			sum += c[i] < x ? c[i] : x;
		}
		if (sum >= k * x) {
			return x;
		}
	}
	return 0;
}

/* Plain letters: the share is the one that the law's words give. */
static void
the_share_is_the_largest_there_is(void **state)
{
	enum { RUNS = 60, TICKS = 2000 };
	static struct model m;
	(void)state;
	for (uint64_t run = 0; run < RUNS; run++) {
		uint64_t dice = 77 + run;
		uint32_t k = 1 + (uint32_t)(run % 6);
		struct law *law = make_with((struct law_config){
		    .kind = LAW_CROWD, .clock = T, .k = k, .deadline = 300 * MSEC_DAY, .mean = T});
		m.count = 0;
		for (msec t = 1; t <= TICKS; t++) {
			for (uint64_t n = splitmix(&dice) % 8; n > 0; n--) {
				model_enter(&m, law, (t - 1) * T + 1, &dice);
			}
			uint64_t x[CLASSES];
			uint64_t waiting[CLASSES][PEOPLE] = {{0}};
			for (unsigned c = 0; c < CLASSES; c++) {
				x[c] = plain_share(&m, c, t * T, k);
			}
			for (size_t i = 0; i < m.count; i++) {
				waiting[m.units[i].size_class][m.units[i].member]++;
			}
			struct law_decision d;
			uint64_t out[CLASSES][PEOPLE] = {{0}};
			assert_int_equal(law_decide(law, at(t * T), chance, SIZE_MAX, &d), ERR_OK);
			for (size_t i = 0; i < d.release_count; i++) {
				msec arrived;
				out[d.releases[i].unit.size_class][d.releases[i].unit.member]++;
				assert_false(d.releases[i].is_void);
				assert_non_null(model_take(&m, d.releases[i].unit.id, &arrived));
			}
			law_commit(law, &d);
			law_decision_clear(&d);
			for (unsigned c = 0; c < CLASSES; c++) {
				for (size_t p = 0; p < PEOPLE; p++) {
					uint64_t w = waiting[c][p];
					assert_int_equal(out[c][p], w < x[c] ? w : x[c]);
				}
			}
		}
		law_destroy(&law);
	}
}

/* ---- restarts ---- */

static struct law *
restart(struct law *law, const struct model *m, struct law_time now, uint64_t *dice)
{
	struct law *born = make(3);
	struct buf b = BUF_INIT(1 << 20);
	assert_int_equal(law_tick_encode(law, NULL, &b), ERR_OK);
	assert_int_equal(law_tick_decode(born, buf_bytes(&b)), ERR_OK);
	for (unsigned c = 0; c < LAW_CLASSES; c++) {
		buf_reset(&b);
		assert_int_equal(law_class_encode(law, NULL, c, &b), ERR_OK);
		assert_int_equal(law_class_decode(born, c, buf_bytes(&b)), ERR_OK);
	}
	/* In another order, as they lie on disk. */
	size_t from = m->count == 0 ? 0 : splitmix(dice) % m->count;
	for (size_t i = 0; i < m->count; i++) {
		struct law_unit unit;
		const struct law_unit *stored = &m->units[(from + i * 7919) % m->count];
		if (m->count % 7919 == 0) {
			stored = &m->units[i];
		}
		buf_reset(&b);
		assert_int_equal(law_unit_encode(stored, &b), ERR_OK);
		assert_int_equal(law_unit_decode(buf_bytes(&b), stored->id, &unit), ERR_OK);
		law_admit(born, now, chance, &unit);
		assert_int_equal(law_insert(born, &unit), ERR_OK);
	}
	buf_clear(&b);
	law_destroy(&law);
	return born;
}

static int
by_id(const void *a, const void *b)
{
	const struct law_release *x = a;
	const struct law_release *y = b;
	return x->unit.id < y->unit.id ? -1 : x->unit.id > y->unit.id;
}

static void
a_restart_at_any_time_changes_nothing(void **state)
{
	enum { RUNS = 30, TICKS = 600 };
	static struct model m;
	(void)state;
	for (uint64_t run = 0; run < RUNS; run++) {
		uint64_t dice = 9 + run;
		struct law *stays = make(3);
		struct law *falls = make(3);
		m.count = 0;
		for (msec t = 1; t <= TICKS; t++) {
			for (uint64_t n = splitmix(&dice) % 7; n > 0; n--) {
				struct law_unit unit;
				msec when = (t - 1) * T + (msec)(splitmix(&dice) % T);
				law_unit_init(&unit);
				unit.id = ++last_id;
				unit.member = splitmix(&dice) % PEOPLE;
				unit.weight = 1 + (uint32_t)(splitmix(&dice) % 3);
				unit.counts = splitmix(&dice) % 5 != 0;
				unit.lane = (uint8_t)(splitmix(&dice) % 4);
				unit.due = splitmix(&dice) % 5 == 0 || unit.lane == LAW_DUE
					       ? when + (msec)(splitmix(&dice) % (uint64_t)(9 * T))
					       : LAW_UNDRAWN;
				law_admit(stays, at(when), chance, &unit);
				assert_int_equal(law_insert(stays, &unit), ERR_OK);
				assert_int_equal(law_insert(falls, &unit), ERR_OK);
				m.units[m.count++] = unit;
			}
			if (splitmix(&dice) % 3 == 0) {
				falls = restart(falls, &m, at(t * T - 1), &dice);
			}
			if (splitmix(&dice) % 7 == 0) {
				/* Missed, by both. */
				continue;
			}
			struct law_decision a;
			struct law_decision b;
			msec late = (msec)(splitmix(&dice) % 1000);
			assert_int_equal(law_decide(stays, at(t * T + late), chance, SIZE_MAX, &a), ERR_OK);
			assert_int_equal(law_decide(falls, at(t * T + late), chance, SIZE_MAX, &b), ERR_OK);
			assert_int_equal(a.release_count, b.release_count);
			if (a.release_count > 0) {
				qsort(a.releases, a.release_count, sizeof(*a.releases), by_id);
				qsort(b.releases, b.release_count, sizeof(*b.releases), by_id);
			}
			for (size_t i = 0; i < a.release_count; i++) {
				msec arrived;
				assert_int_equal(a.releases[i].unit.id, b.releases[i].unit.id);
				assert_int_equal(a.releases[i].is_void, b.releases[i].is_void);
				assert_int_equal(a.releases[i].crowd, b.releases[i].crowd);
				assert_non_null(model_take(&m, a.releases[i].unit.id, &arrived));
			}
			law_commit(stays, &a);
			law_decision_clear(&a);
			law_commit(falls, &b);
			law_decision_clear(&b);
			if (splitmix(&dice) % 3 == 0) {
				/* Right after a tick: it is not made again. */
				falls = restart(falls, &m, at(t * T + late), &dice);
				assert_true(m.count == 0 || law_next(falls, at(t * T + late)) == T - late);
			}
		}
		law_destroy(&stays);
		law_destroy(&falls);
	}
}

/* ---- cost ---- */

static double
seconds(void)
{
	struct timespec now;
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void
a_tick_with_ten_thousand_waiting_costs_about_as_much_as_bringing_them_in(void **state)
{
	enum { N = 10000, ROUNDS = 10 };
	static const struct {
		uint32_t k;
		uint32_t most; /* weight */
		uint32_t members;
		bool opens;
	} rows[] = {
	    {3, 1, 1000, true}, {2000, 1, 1000, false}, {3, 4, 1000, true},
	    {3, 4, 30, true},   {3, 4, 3, true},        {3, 400, 1000, true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		double best = 1e9;
		double entering = 1e9;
		for (int round = 0; round < ROUNDS; round++) {
			struct law *law = make(rows[i].k);
			struct law_decision d;
			double before = seconds();
			for (uint64_t n = 0; n < N; n++) {
				(void)enter(law, (msec)n, splitmix(&seed) % rows[i].members, LAW_NORMAL,
					    (uint32_t)(1 + splitmix(&seed) % rows[i].most));
			}
			double start = seconds();
			entering = start - before < entering ? start - before : entering;
			assert_int_equal(law_decide(law, at(T), chance, SIZE_MAX, &d), ERR_OK);
			double took = seconds() - start;
			best = took < best ? took : best;
			assert_true(rows[i].opens ? d.release_count > N / 2 : d.release_count == 0);
			law_commit(law, &d);
			law_decision_clear(&d);
			law_destroy(&law);
		}
		print_message("k %u, weights 1 to %u, %u members: %.0f us\n", rows[i].k, rows[i].most,
			      rows[i].members, best * 1e6);
		/* No absolute time: it takes about as long as to bring them in; what grows with the square would take hundreds of times that. */
		assert_true(best < 20 * entering);
	}
}

static void
a_hostile_backlog_costs_no_more_than_a_moment(void **state)
{
	enum { N = 100000, FLOODERS = 3 };
	struct law *law = make(3);
	struct law_decision d;
	(void)state;
	double before = seconds();
	/* Weights that leave gaps in every share, in a backlog without end. */
	for (uint64_t i = 0; i < N; i++) {
		(void)enter(law, (msec)i, i % FLOODERS, LAW_NORMAL,
			    (uint32_t)(i % 5 == 0 ? 3 : 7 * (i % FLOODERS + 2)));
	}
	(void)enter(law, N, 10, LAW_NORMAL, 1);
	double start = seconds();
	assert_int_equal(law_decide(law, at(T), chance, SIZE_MAX, &d), ERR_OK);
	double took = seconds() - start;
	print_message("%.1f ms for %d (%.1f ms to bring them in), %zu released\n", took * 1e3, N,
		      (start - before) * 1e3, d.release_count);
	assert_true(took < 100 * (start - before));
	law_commit(law, &d);
	law_decision_clear(&d);
	law_destroy(&law);
}

static void
stored_ticks_and_classes_are_checked(void **state)
{
	struct law *law = make(3);
	struct buf b = BUF_INIT(4096);
	(void)state;
	(void)enter(law, 0, 5, LAW_URGENT, 2);
	(void)enter(law, 0, 4, LAW_URGENT, 1);
	assert_int_equal(release(law, T).count, 2);
	assert_int_equal(law_tick_encode(law, NULL, &b), ERR_OK);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(law_tick_decode(law, bytes_slice(buf_bytes(&b), 0, n)), ERR_FORMAT);
	}
	b.ptr[0]++;
	assert_int_equal(law_tick_decode(law, buf_bytes(&b)), ERR_UNSUPPORTED);
	buf_reset(&b);
	assert_int_equal(law_class_encode(law, NULL, 0, &b), ERR_OK);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_not_equal(law_class_decode(law, 0, bytes_slice(buf_bytes(&b), 0, n)), ERR_OK);
	}
	assert_int_equal(law_class_decode(law, 1, buf_bytes(&b)), ERR_OK);
	assert_int_equal(law_class_decode(law, LAW_CLASSES, buf_bytes(&b)), ERR_FORMAT);
	b.ptr[16]++; /* u, which is then no sum any more */
	assert_int_equal(law_class_decode(law, 0, buf_bytes(&b)), ERR_FORMAT);
	b.ptr[16]--;
	b.ptr[0]++;
	assert_int_equal(law_class_decode(law, 0, buf_bytes(&b)), ERR_UNSUPPORTED);
	buf_clear(&b);
	law_destroy(&law);
}

/* The clock jumps forwards so that the next tick lies before the last one by age: what that one left behind stays capped. */
static void
a_jump_forwards_makes_nobody_who_was_capped_new(void **state)
{
	struct law *law = make(3);
	const msec soon = T - MSEC_MINUTE;
	(void)state;
	for (int i = 0; i < 5; i++) {
		(void)enter(law, soon, 0, LAW_NORMAL, 1);
	}
	(void)enter(law, soon, 1, LAW_NORMAL, 1);
	(void)enter(law, soon, 2, LAW_NORMAL, 1);
	assert_int_equal(release(law, T).count, 3);
	for (uint64_t m = 3; m < 6; m++) {
		(void)enter(law, 0, m, LAW_NORMAL, 1);
	}
	struct law_time jumped = {.age = T + MSEC_MINUTE, .wall = 3 * T - MSEC_MINUTE};
	assert_int_equal(release_at(law, jumped).count, 3);
	const msec ahead = jumped.wall - jumped.age;
	uint64_t young = enter(law, T + 10 * MSEC_MINUTE, 9, LAW_NORMAL, 1);
	/* Overdue are only the four that are capped: the young one, who is not, waits on. */
	struct batch b = {.count = 0};
	for (msec wall = 3 * T; b.count == 0 && wall < 3 * T + 2 * D; wall += T) {
		b = release_at(law, (struct law_time){.age = wall - ahead, .wall = wall});
	}
	assert_int_equal(b.count, 4);
	struct law_unit unit;
	assert_int_equal(law_get(law, young, &unit), ERR_OK);
	law_destroy(&law);
}

/* Its age clock is younger than what has passed of the period: the tick's age would be below zero. */
static void
the_first_tick_of_a_young_house_can_be_stored(void **state)
{
	struct law *law = make(3);
	struct law *back = make(3);
	struct buf b = BUF_INIT(4096);
	(void)state;
	(void)enter(law, 10, 1, LAW_DUE, 1);
	(void)enter(law, 10, 2, LAW_NORMAL, 1);
	struct law_time early = {.age = 5000, .wall = 100 * T + 10 * MSEC_MINUTE};
	(void)release_at(law, early);
	assert_int_equal(law_last_tick(law), 100 * T);
	assert_true(law_tick_age(law) >= 0);
	assert_int_equal(law_tick_encode(law, NULL, &b), ERR_OK);
	assert_int_equal(law_tick_decode(back, buf_bytes(&b)), ERR_OK);
	assert_int_equal(law_last_tick(back), 100 * T);
	for (unsigned i = 0; i < LAW_CLASSES; i++) {
		buf_reset(&b);
		assert_int_equal(law_class_encode(law, NULL, i, &b), ERR_OK);
		assert_int_equal(law_class_decode(back, i, buf_bytes(&b)), ERR_OK);
	}
	buf_clear(&b);
	law_destroy(&law);
	law_destroy(&back);
}

static void
the_grid_is_public(void **state)
{
	(void)state;
	assert_int_equal(law_grid_at(1000, 5999), 5000);
	assert_int_equal(law_grid_at(1000, 6000), 6000);
	assert_int_equal(law_grid_after(1000, 6000), 7000);
	assert_int_equal(law_grid_at(1000, -1), -1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_gate_opens_with_the_largest_fair_share),
	    cmocka_unit_test(capped_letters_alone_leave_exactly_at_the_deadline),
	    cmocka_unit_test(at_the_deadline_of_one_who_was_never_capped_all_leave_void),
	    cmocka_unit_test(
		what_is_capped_and_overdue_leaves_with_an_opening_and_is_void_where_it_is_too_much),
	    cmocka_unit_test(an_urgent_letter_leaves_alone_and_counts_against_the_next_opening),
	    cmocka_unit_test(who_sent_urgently_has_had_a_part_of_the_next_share),
	    cmocka_unit_test(urgent_letters_of_one_shut_the_gate_for_nobody_else),
	    cmocka_unit_test(an_urgent_letter_to_thirty_hosts_makes_nobody_elses_void),
	    cmocka_unit_test(no_crowd_is_made_of_what_does_not_count_or_is_void),
	    cmocka_unit_test(a_storm_of_urgent_letters_can_still_be_stored),
	    cmocka_unit_test(an_urgent_letter_in_an_open_gate_takes_its_share_first),
	    cmocka_unit_test(an_urgent_letter_beyond_its_share_leaves_void_at_an_open_gate),
	    cmocka_unit_test(a_gate_of_one_is_the_plain_batch),
	    cmocka_unit_test(each_size_class_has_its_own_gate),
	    cmocka_unit_test(who_does_not_count_opens_no_gate_but_leaves_with_the_others),
	    cmocka_unit_test(a_unit_that_fits_no_share_leaves_void_at_its_deadline),
	    cmocka_unit_test(units_of_several_deliveries_leave_where_they_fit),
	    cmocka_unit_test(the_patient_leave_together_at_their_period_once_enough_came),
	    cmocka_unit_test(patience_ends_after_three_periods_in_the_normal_lane),
	    cmocka_unit_test(held_letters_leave_at_the_first_tick_after_their_time),
	    cmocka_unit_test(retries_leave_at_the_first_tick_after_their_time_and_count_for_nothing),
	    cmocka_unit_test(too_few_members_fall_to_the_exponential_law_and_all_is_void),
	    cmocka_unit_test(the_exponential_fallback_has_its_mean),
	    cmocka_unit_test(nothing_leaves_between_two_ticks),
	    cmocka_unit_test(a_missed_tick_happens_once_and_late),
	    cmocka_unit_test(clock_jumps_open_no_deadline_and_make_no_two_ticks_of_one),
	    cmocka_unit_test(a_decision_that_was_not_stored_is_made_again_the_same),
	    cmocka_unit_test(impossible_settings_are_refused),
	    cmocka_unit_test(the_share_is_the_largest_there_is),
	    cmocka_unit_test(a_restart_at_any_time_changes_nothing),
	    cmocka_unit_test(a_tick_with_ten_thousand_waiting_costs_about_as_much_as_bringing_them_in),
	    cmocka_unit_test(a_hostile_backlog_costs_no_more_than_a_moment),
	    cmocka_unit_test(stored_ticks_and_classes_are_checked),
	    cmocka_unit_test(a_jump_forwards_makes_nobody_who_was_capped_new),
	    cmocka_unit_test(the_first_tick_of_a_young_house_can_be_stored),
	    cmocka_unit_test(the_grid_is_public),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
