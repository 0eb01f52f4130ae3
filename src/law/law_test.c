/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "law/law.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "law/age.h"
#include "law/hold.h"
#include "law/posterior.h"

static uint64_t
splitmix(void *arg)
{
	uint64_t *state = arg;
	uint64_t z = (*state += 0x9e3779b97f4a7c15U);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

static uint64_t seed;
static const struct law_random chance = {.next = splitmix, .arg = &seed};

static struct law *
make(enum law_kind kind, msec mean)
{
	struct law *law = NULL;
	struct law_config config = {.kind = kind, .mean = mean};
	assert_int_equal(law_create(&config, &law), ERR_OK);
	seed = 1;
	return law;
}

static struct law_time
at(msec age)
{
	return (struct law_time){.age = age, .wall = 0};
}

static struct law_unit
enter(struct law *law, uint64_t id, msec age)
{
	struct law_unit unit;
	law_unit_init(&unit);
	unit.id = id;
	unit.member = id % 7;
	law_admit(law, at(age), chance, &unit);
	assert_int_equal(law_insert(law, &unit), ERR_OK);
	return unit;
}

/* Releases all that is ready; gives how many. */
static size_t
release(struct law *law, msec age)
{
	struct law_decision d;
	assert_int_equal(law_decide(law, at(age), chance, SIZE_MAX, &d), ERR_OK);
	size_t n = d.release_count;
	law_commit(law, &d);
	law_decision_clear(&d);
	return n;
}

static void
names_and_impossible_values_are_refused(void **state)
{
	struct law *law = NULL;
	struct law_config config = {.kind = LAW_EXPONENTIAL, .mean = 0};
	enum law_kind kind;
	(void)state;
	assert_int_equal(law_kind_of(BYTES_LIT("crowd"), &kind), ERR_OK);
	assert_int_equal(kind, LAW_CROWD);
	assert_int_equal(law_kind_of(BYTES_LIT("mob"), &kind), ERR_FORMAT);
	assert_int_equal(law_create(&config, &law), ERR_FORMAT);
	config.kind = (enum law_kind)9;
	assert_int_equal(law_create(&config, &law), ERR_UNSUPPORTED);
	assert_null(law);
}

static void
what_is_held_waits_from_the_end_of_its_hold(void **state)
{
	struct law *law = make(LAW_EXPONENTIAL, 1000);
	struct law_unit unit;
	(void)state;
	law_unit_init(&unit);
	unit.due = 50000;
	law_admit(law, at(100), chance, &unit);
	assert_true(unit.due > 50000 && unit.due <= 55000);
	msec drawn = unit.due;
	law_admit(law, at(200), chance, &unit);
	assert_int_equal(unit.due, drawn);
	law_unit_init(&unit);
	unit.lane = LAW_URGENT;
	law_admit(law, at(100), chance, &unit);
	assert_int_equal(unit.due, 100);
	law_destroy(&law);
}

static void
none_releases_at_once_but_keeps_a_backoff(void **state)
{
	struct law *law = make(LAW_NONE, 0);
	struct law_unit unit;
	(void)state;
	assert_true(law_next(law, at(0)) == LAW_NEVER);
	(void)enter(law, 1, 100);
	assert_int_equal(law_next(law, at(100)), 0);
	assert_int_equal(release(law, 100), 1);
	law_unit_init(&unit);
	unit.id = 2;
	unit.lane = LAW_DUE;
	unit.due = 5000;
	law_admit(law, at(200), chance, &unit);
	assert_int_equal(law_insert(law, &unit), ERR_OK);
	assert_int_equal(law_next(law, at(200)), 4800);
	assert_int_equal(release(law, 4999), 0);
	assert_int_equal(release(law, 5000), 1);
	law_destroy(&law);
}

static void
exponential_delays_have_their_mean_and_never_pass_five_of_it(void **state)
{
	enum { N = 200000 };
	const msec mean = 900000;
	struct law *law = make(LAW_EXPONENTIAL, mean);
	double sum = 0;
	size_t below = 0;
	size_t beyond_four = 0;
	(void)state;
	for (uint64_t i = 0; i < N; i++) {
		struct law_unit unit;
		law_unit_init(&unit);
		law_admit(law, at(1000), chance, &unit);
		msec delay = unit.due - 1000;
		assert_true(delay >= 0 && delay <= 5 * mean);
		sum += (double)delay;
		below += delay < mean;
		beyond_four += delay > 4 * mean;
	}
	/* Truncated at 5 m: mean m (1 - 5 e^-5 / (1 - e^-5)); P(< m) = (1 - e^-1) / (1 - e^-5). */
	double expected = (double)mean * (1 - 5 * exp(-5) / (1 - exp(-5)));
	assert_true(fabs(sum / N - expected) < 0.01 * expected);
	assert_true(fabs((double)below / N - (1 - exp(-1)) / (1 - exp(-5))) < 0.005);
	assert_true(fabs((double)beyond_four / N - (exp(-4) - exp(-5)) / (1 - exp(-5))) < 0.002);
	law_destroy(&law);
}

static void
what_was_drawn_survives_a_restart_and_a_changed_mean(void **state)
{
	struct law *law = make(LAW_EXPONENTIAL, 900000);
	struct buf b = BUF_INIT(LAW_UNIT_ENCODED_MAX);
	struct law_unit before = enter(law, 5, 1000);
	struct law_unit after;
	(void)state;
	before.weight = 9;
	before.size_class = 3;
	assert_int_equal(law_unit_encode(&before, &b), ERR_OK);
	law_destroy(&law);
	law = make(LAW_EXPONENTIAL, 1000);
	assert_int_equal(law_unit_decode(buf_bytes(&b), 77, &after), ERR_OK);
	law_admit(law, at(2000), chance, &after);
	assert_int_equal(after.id, 77);
	assert_int_equal(after.due, before.due);
	assert_int_equal(after.entered, 1000);
	assert_true(after.counts && after.weight == 9 && after.size_class == 3);
	assert_int_equal(law_insert(law, &after), ERR_OK);
	assert_int_equal(law_next(law, at(2000)), before.due - 2000);
	assert_int_equal(law_waiting_in(law, 3), 1);
	law_destroy(&law);
	buf_clear(&b);
}

static void
the_wall_clock_opens_nothing(void **state)
{
	struct law *law = make(LAW_EXPONENTIAL, 900000);
	struct law_unit unit = enter(law, 1, 0);
	struct law_time jumped = {.age = unit.due - 1, .wall = INT64_MAX / 2};
	struct law_decision d;
	(void)state;
	assert_int_equal(law_next(law, jumped), 1);
	assert_int_equal(law_decide(law, jumped, chance, 10, &d), ERR_OK);
	assert_int_equal(d.release_count, 0);
	law_decision_clear(&d);
	law_destroy(&law);
}

static void
a_decision_that_was_not_stored_changes_nothing(void **state)
{
	struct law *law = make(LAW_EXPONENTIAL, 1000);
	struct law_decision d;
	(void)state;
	for (uint64_t i = 0; i < 50; i++) {
		(void)enter(law, i, 0);
	}
	assert_int_equal(law_decide(law, at(100000), chance, 20, &d), ERR_OK);
	assert_int_equal(d.release_count, 20);
	law_decision_clear(&d);
	assert_int_equal(law_waiting(law), 50);
	assert_int_equal(law_decide(law, at(100000), chance, 20, &d), ERR_OK);
	/* One goes away in between: no harm. */
	assert_int_equal(law_remove(law, d.releases[0].unit.id), ERR_OK);
	assert_int_equal(law_remove(law, d.releases[0].unit.id), ERR_NOT_FOUND);
	law_commit(law, &d);
	law_decision_clear(&d);
	assert_int_equal(law_waiting(law), 30);
	assert_int_equal(law_next(law, at(100000)), 0);
	assert_int_equal(release(law, 100000), 30);
	law_destroy(&law);
}

static void
released_units_come_in_random_order(void **state)
{
	enum { N = 5, ROUNDS = 24000 };
	size_t first[N] = {0};
	struct law *law = make(LAW_NONE, 0);
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct law_decision d;
		for (uint64_t i = 0; i < N; i++) {
			(void)enter(law, i, (msec)i);
		}
		assert_int_equal(law_decide(law, at(100), chance, SIZE_MAX, &d), ERR_OK);
		assert_int_equal(d.release_count, N);
		first[d.releases[0].unit.id]++;
		law_commit(law, &d);
		law_decision_clear(&d);
	}
	for (size_t i = 0; i < N; i++) {
		assert_true(first[i] > ROUNDS / N * 9 / 10 && first[i] < ROUNDS / N * 11 / 10);
	}
	law_destroy(&law);
}

static uint64_t
highest(void *arg)
{
	int *calls = arg;
	return ++*calls == 1 ? UINT64_MAX : 5;
}

static void
a_number_below_a_bound_is_uniform(void **state)
{
	enum { N = 7, DRAWS = 700000 };
	size_t of[N] = {0};
	int calls = 0;
	(void)state;
	for (int i = 0; i < DRAWS; i++) {
		of[law_random_below(chance, N)]++;
	}
	for (size_t i = 0; i < N; i++) {
		assert_true(of[i] > 99000 && of[i] < 101000);
	}
	assert_int_equal(law_random_below(chance, 1), 0);
	for (int i = 0; i < 1000; i++) {
		assert_true(law_random_below(chance, (uint64_t)1 << 40) < (uint64_t)1 << 40);
	}
	/* The last stretch is incomplete: drawn again. */
	struct law_random rigged = {.next = highest, .arg = &calls};
	assert_int_equal(law_random_below(rigged, ((uint64_t)1 << 63) + 1), 5);
	assert_int_equal(calls, 2);
}

static void
the_queue_agrees_with_a_plain_list(void **state)
{
	enum { N = 3000, IDS = 400 };
	struct law *law = make(LAW_EXPONENTIAL, 5000);
	msec due[IDS];
	size_t count = 0;
	msec now = 0;
	uint64_t dice = 99;
	(void)state;
	for (size_t i = 0; i < IDS; i++) {
		due[i] = -1;
	}
	for (int i = 0; i < N; i++) {
		uint64_t id = splitmix(&dice) % IDS;
		struct law_unit unit;
		switch (splitmix(&dice) % 4) {
		case 0:
		case 1:
			law_unit_init(&unit);
			unit.id = id;
			law_admit(law, at(now), chance, &unit);
			assert_int_equal(law_insert(law, &unit), due[id] < 0 ? ERR_OK : ERR_EXISTS);
			count += due[id] < 0;
			due[id] = due[id] < 0 ? unit.due : due[id];
			break;
		case 2:
			assert_int_equal(law_remove(law, id), due[id] < 0 ? ERR_NOT_FOUND : ERR_OK);
			count -= due[id] >= 0;
			due[id] = -1;
			break;
		default: {
			size_t expected = 0;
			now += (msec)(splitmix(&dice) % 200);
			for (size_t k = 0; k < IDS; k++) {
				if (due[k] >= 0 && due[k] <= now) {
					expected++;
					due[k] = -1;
				}
			}
			assert_int_equal(release(law, now), expected);
			count -= expected;
		}
		}
		assert_int_equal(law_waiting(law), count);
		msec least = LAW_NEVER;
		for (size_t k = 0; k < IDS; k++) {
			least = due[k] >= 0 && due[k] < least ? due[k] : least;
		}
		msec next = law_next(law, at(now));
		assert_true(next == (least == LAW_NEVER ? LAW_NEVER : least <= now ? 0 : least - now));
		assert_int_equal(law_get(law, id, &unit), due[id] < 0 ? ERR_NOT_FOUND : ERR_OK);
	}
	law_destroy(&law);
}

/* Processor time for so many to come in and leave, in seconds. */
static double
pass_through(uint64_t count)
{
	struct law *law = make(LAW_EXPONENTIAL, 900000);
	struct timespec start;
	struct timespec end;
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start), 0);
	for (uint64_t i = 0; i < count; i++) {
		(void)enter(law, i, (msec)i);
	}
	uint64_t gone = 0;
	for (msec now = 0; gone < count; now += 5000) {
		gone += release(law, now);
	}
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end), 0);
	assert_int_equal(gone, count);
	law_destroy(&law);
	return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
}

static void
a_hundred_thousand_wait_without_strain(void **state)
{
	(void)state;
	double some = pass_through(5000);
	/* Twenty times as many: a quadratic queue would take four hundred times as long. */
	assert_true(pass_through(100000) < 150 * (some + 1e-3));
}

static void
stored_units_are_checked(void **state)
{
	struct law *law = make(LAW_EXPONENTIAL, 1000);
	struct law_unit unit = enter(law, 1, 5);
	struct buf b = BUF_INIT(LAW_UNIT_ENCODED_MAX);
	(void)state;
	assert_int_equal(law_unit_encode(&unit, &b), ERR_OK);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(law_unit_decode(bytes_slice(buf_bytes(&b), 0, n), 1, &unit), ERR_FORMAT);
	}
	b.ptr[0] = 2;
	assert_int_equal(law_unit_decode(buf_bytes(&b), 1, &unit), ERR_UNSUPPORTED);
	b.ptr[0] = 1;
	b.ptr[29] = LAW_CLASSES;
	assert_int_equal(law_unit_decode(buf_bytes(&b), 1, &unit), ERR_FORMAT);
	law_destroy(&law);
	buf_clear(&b);
}

static void
the_size_ladder_starts_at_64_kib_and_grows_by_four(void **state)
{
	(void)state;
	assert_int_equal(law_size_class(0), 0);
	assert_int_equal(law_size_class(65536), 0);
	assert_int_equal(law_size_class(65537), 1);
	assert_int_equal(law_size_class(262144), 1);
	assert_int_equal(law_size_class(262145), 2);
	assert_int_equal(law_size_class(UINT64_MAX), LAW_CLASSES - 1);
	assert_int_equal(law_class_bytes(2), 1048576);
	for (unsigned c = 0; c < LAW_CLASSES; c++) {
		assert_int_equal(law_size_class(law_class_bytes(c)), c);
	}
}

static void
retries_are_hourly_for_four_hours_and_end_after_five_days(void **state)
{
	static const msec hours[] = {1, 2, 3, 4, 6, 10, 18, 30, 42, 54, 66, 78, 90, 102, 114, 120};
	enum { N = sizeof(hours) / sizeof(hours[0]) };
	(void)state;
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(law_retry_at(i + 1, 1000, LAW_RETRY_GIVE_UP), 1000 + hours[i] * MSEC_HOUR);
	}
	assert_true(law_retry_at(N + 1, 1000, LAW_RETRY_GIVE_UP) == LAW_NEVER);
	assert_true(law_retry_at(UINT32_MAX, 1000, LAW_RETRY_GIVE_UP) == LAW_NEVER);
	assert_false(law_retry_warns(1000, MSEC_DAY, LAW_RETRY_WARN, false));
	assert_true(law_retry_warns(1000, 1000 + MSEC_DAY, LAW_RETRY_WARN, false));
	assert_false(law_retry_warns(1000, 1000 + MSEC_DAY, LAW_RETRY_WARN, true));
}

static void
the_age_clock_neither_jumps_nor_goes_back(void **state)
{
	struct law_age a;
	struct law_age b;
	struct buf saved = BUF_INIT(LAW_AGE_ENCODED_LEN);
	static const uint8_t boot1[LAW_BOOT_ID_LEN] = {1};
	static const uint8_t boot2[LAW_BOOT_ID_LEN] = {2};
	(void)state;
	law_age_start(&a, boot1, 5000);
	assert_int_equal(law_age_now(&a, 4000), 0);
	assert_int_equal(law_age_now(&a, 8000), 3000);
	assert_int_equal(law_age_save(&a, 8000, &saved), ERR_OK);
	assert_int_equal(saved.len, LAW_AGE_ENCODED_LEN);
	/* The service was down for 2 s: the same boot counts them. */
	assert_int_equal(law_age_resume(buf_bytes(&saved), boot1, 10000, &b), ERR_OK);
	assert_int_equal(law_age_now(&b, 10000), 5000);
	/* Another boot goes on from what was saved. */
	assert_int_equal(law_age_resume(buf_bytes(&saved), boot2, 70, &b), ERR_OK);
	assert_int_equal(law_age_now(&b, 70), 3000);
	assert_int_equal(law_age_now(&b, 170), 3100);
	/* Stamped after the last save: the clock is no younger than that. */
	law_age_reach(&b, 170, 9000);
	assert_int_equal(law_age_now(&b, 170), 9000);
	law_age_reach(&b, 170, 5);
	assert_int_equal(law_age_now(&b, 270), 9100);
	assert_int_equal(law_age_resume(bytes_slice(buf_bytes(&saved), 0, 20), boot1, 1, &b), ERR_FORMAT);
	saved.ptr[0] = 9;
	assert_int_equal(law_age_resume(buf_bytes(&saved), boot1, 1, &b), ERR_UNSUPPORTED);
	buf_clear(&saved);
}

static void
notices_enter_after_one_to_eight_hours(void **state)
{
	(void)state;
	seed = 3;
	for (int i = 0; i < 1000; i++) {
		msec d = law_notice_delay(chance);
		assert_true(d >= MSEC_HOUR && d <= 8 * MSEC_HOUR);
	}
}

static void
the_exact_posterior_of_in_in_out_in_out_out(void **state)
{
	struct law_posterior *p = NULL;
	static const char events[] = "iioioo";
	static const double expected[3][3] = {{.5, .5, 0}, {.25, .25, .5}, {.25, .25, .5}};
	size_t index;
	(void)state;
	assert_int_equal(law_posterior_create(100, &p), ERR_OK);
	for (size_t i = 0; events[i] != '\0'; i++) {
		assert_int_equal(
		    events[i] == 'i' ? law_posterior_in(p, &index) : law_posterior_out(p, &index), ERR_OK);
	}
	assert_int_equal(law_posterior_out(p, &index), ERR_STATE);
	for (size_t d = 0; d < 3; d++) {
		for (size_t m = 0; m < 3; m++) {
			assert_true(fabs(law_posterior_of(p, d, m) - expected[d][m]) < 1e-12);
		}
	}
	assert_true(fabs(law_posterior_entropy(p, 0) - 1) < 1e-12);
	assert_true(fabs(law_posterior_entropy(p, 1) - 1.5) < 1e-12);
	size_t best = 0;
	assert_true(fabs(law_posterior_best(p, 1, &best) - .5) < 1e-12);
	assert_int_equal(best, 2);
	law_posterior_destroy(&p);
}

/* The recursion of the source, message by message. */
static void
the_posterior_agrees_with_the_plain_recursion(void **state)
{
	enum { N = 300 };
	struct law_posterior *p = NULL;
	double plain[N];
	size_t in = 0;
	size_t out = 0;
	uint64_t dice = 5;
	(void)state;
	assert_int_equal(law_posterior_create(N, &p), ERR_OK);
	while (out < N) {
		size_t index = 0;
		if (in < N && (in == out || splitmix(&dice) % 2 == 0)) {
			assert_int_equal(law_posterior_in(p, &index), ERR_OK);
			plain[in++] = 1;
			continue;
		}
		double n = (double)(in - out);
		double sum = 0;
		assert_int_equal(law_posterior_out(p, &index), ERR_OK);
		assert_int_equal(index, out++);
		for (size_t i = 0; i < in; i++) {
			assert_true(fabs(law_posterior_of(p, index, i) - plain[i] / n) < 1e-9);
			sum += law_posterior_of(p, index, i);
			plain[i] *= 1 - 1 / n;
		}
		assert_true(fabs(sum - 1) < 1e-9);
	}
	size_t index;
	assert_int_equal(law_posterior_in(p, &index), ERR_LIMIT);
	law_posterior_destroy(&p);
}

/*
 * The law module itself in virtual time, Poisson arrivals with rho = 8: the best guess of the exact
 * attacker comes to 1/(1 + rho), as Danezis (2004) says.
 */
static void
the_exponential_law_gives_the_guess_that_theory_says(void **state)
{
	enum { N = 40000 };
	const msec mean = 800000;
	const double gap = 100000; /* ms between entries */
	struct law *law = make(LAW_EXPONENTIAL, mean);
	struct law_posterior *p = NULL;
	double now = 0;
	double sum = 0;
	(void)state;
	assert_int_equal(law_posterior_create(N, &p), ERR_OK);
	for (uint64_t i = 0; i < N; i++) {
		size_t index;
		size_t best;
		now += -gap * log(((double)(splitmix(&seed) >> 11) + 0.5) * 0x1p-53);
		msec next;
		/* Departures before this entry, one at a time. */
		while ((next = law_next(law, at(0))) <= (msec)now) {
			for (size_t n = release(law, next); n > 0; n--) {
				assert_int_equal(law_posterior_out(p, &index), ERR_OK);
				sum += law_posterior_best(p, index, &best);
			}
		}
		(void)enter(law, i, (msec)now);
		assert_int_equal(law_posterior_in(p, &index), ERR_OK);
	}
	double rho = (double)mean * (1 - 5 * exp(-5) / (1 - exp(-5))) / gap;
	double guess = sum / (double)law_posterior_departures(p);
	assert_true(fabs(guess - 1 / (1 + rho)) < 0.01);
	law_posterior_destroy(&p);
	law_destroy(&law);
}

/* Held for five hours since age 1000, when the wall clock said W. */
static void
a_hold_ends_by_the_wall_clock(void **state)
{
	enum { W = 1000000000 };
	const msec entered = 1000;
	const msec hold = 5 * MSEC_HOUR;
	const msec due = entered + hold;
	(void)state;
	/* As long as nothing happens, both clocks say the same. */
	struct law_time later = {.age = entered + MSEC_HOUR, .wall = W + MSEC_HOUR};
	assert_int_equal(law_hold_due(entered, due, W, later), due);
	/* Two hours without power: the age clock is late, the letter is not. */
	later.wall += 2 * MSEC_HOUR;
	assert_int_equal(law_hold_due(entered, due, W, later), due - 2 * MSEC_HOUR);
	/* Its time has come meanwhile: now, and not before; where it had come before, then. */
	later.wall = W + 9 * MSEC_HOUR;
	assert_int_equal(law_hold_due(entered, due, W, later), later.age);
	later.age = due + 7;
	assert_int_equal(law_hold_due(entered, due, W, later), due);
	/* Set back by an hour: an hour later. By years: not longer than the whole hold once more. */
	later = (struct law_time){.age = entered + MSEC_HOUR, .wall = W};
	assert_int_equal(law_hold_due(entered, due, W, later), due + MSEC_HOUR);
	later.wall = W - 4000 * MSEC_DAY;
	assert_int_equal(law_hold_due(entered, due, W, later), later.age + hold);
}

static void
a_wall_clock_set_forward_is_believed_when_it_has_stood_for_an_hour(void **state)
{
	struct law_hold_clock c;
	struct law_time now = {.age = 50, .wall = 1000000};
	(void)state;
	law_hold_clock_start(&c, now);
	/* Both run. */
	now.age += MSEC_DAY;
	now.wall += MSEC_DAY + 1;
	assert_false(law_hold_clock_turned(&c, now));
	/* Set back: at once, and once. */
	now.wall -= MSEC_HOUR;
	assert_true(law_hold_clock_turned(&c, now));
	assert_false(law_hold_clock_turned(&c, now));
	/* Set forward for less than an hour, and put right. */
	now.wall += 400 * MSEC_DAY;
	assert_false(law_hold_clock_turned(&c, now));
	now.age += LAW_HOLD_BELIEVED_AFTER - 1;
	now.wall += LAW_HOLD_BELIEVED_AFTER - 1;
	assert_false(law_hold_clock_turned(&c, now));
	now.wall -= 400 * MSEC_DAY;
	assert_false(law_hold_clock_turned(&c, now));
	/* The hour counts from the next time. */
	now.wall += 2 * MSEC_HOUR;
	assert_false(law_hold_clock_turned(&c, now));
	now.age += LAW_HOLD_BELIEVED_AFTER;
	now.wall += LAW_HOLD_BELIEVED_AFTER;
	assert_true(law_hold_clock_turned(&c, now));
	assert_false(law_hold_clock_turned(&c, now));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_and_impossible_values_are_refused),
	    cmocka_unit_test(what_is_held_waits_from_the_end_of_its_hold),
	    cmocka_unit_test(none_releases_at_once_but_keeps_a_backoff),
	    cmocka_unit_test(exponential_delays_have_their_mean_and_never_pass_five_of_it),
	    cmocka_unit_test(what_was_drawn_survives_a_restart_and_a_changed_mean),
	    cmocka_unit_test(the_wall_clock_opens_nothing),
	    cmocka_unit_test(a_decision_that_was_not_stored_changes_nothing),
	    cmocka_unit_test(released_units_come_in_random_order),
	    cmocka_unit_test(a_number_below_a_bound_is_uniform),
	    cmocka_unit_test(the_queue_agrees_with_a_plain_list),
	    cmocka_unit_test(a_hundred_thousand_wait_without_strain),
	    cmocka_unit_test(stored_units_are_checked),
	    cmocka_unit_test(the_size_ladder_starts_at_64_kib_and_grows_by_four),
	    cmocka_unit_test(retries_are_hourly_for_four_hours_and_end_after_five_days),
	    cmocka_unit_test(the_age_clock_neither_jumps_nor_goes_back),
	    cmocka_unit_test(notices_enter_after_one_to_eight_hours),
	    cmocka_unit_test(the_exact_posterior_of_in_in_out_in_out_out),
	    cmocka_unit_test(the_posterior_agrees_with_the_plain_recursion),
	    cmocka_unit_test(the_exponential_law_gives_the_guess_that_theory_says),
	    cmocka_unit_test(a_hold_ends_by_the_wall_clock),
	    cmocka_unit_test(a_wall_clock_set_forward_is_believed_when_it_has_stood_for_an_hour),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
