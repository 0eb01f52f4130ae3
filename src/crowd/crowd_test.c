/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The observer against oracles, and the law's own figures within their Monte Carlo error. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crowd/active.h"
#include "crowd/advise.h"
#include "crowd/attack.h"
#include "crowd/regular.h"
#include "crowd/run.h"
#include "crowd/theory.h"
#include "law/posterior.h"

static void
near(double a, double b, double within)
{
	if (!(fabs(a - b) <= within)) {
		print_error("%g is not within %g of %g\n", a, within, b);
		fail();
	}
}

static struct attack_view
batch(const uint32_t *weights, uint32_t members, uint32_t honest)
{
	struct batch_attack *a = NULL;
	struct attack_view view;
	assert_int_equal(batch_attack_create(members, honest, &a), ERR_OK);
	/* A look forgets: the second must not see the first. */
	batch_attack_add(a, 0, 9);
	batch_attack_look(a, &view);
	for (uint32_t m = 0; m < members; m++) {
		batch_attack_add(a, m, weights[m]);
	}
	batch_attack_look(a, &view);
	batch_attack_destroy(&a);
	return view;
}

static void
a_batch_gives_each_member_her_share(void **state)
{
	/* The law's oracles, as released: entropy and largest share. */
	static const uint32_t one[] = {1, 1, 1};
	static const uint32_t two[] = {2, 2, 2, 1};
	static const uint32_t ten[] = {2, 2, 2, 2, 1, 1};
	static const uint32_t four[] = {4, 4, 4, 4};
	static const uint32_t mine[] = {3, 1, 7};
	(void)state;
	near(batch(one, 3, 3).guess, 1.0 / 3, 1e-12);
	near(batch(one, 3, 3).entropy, 1.5850, 5e-5);
	near(batch(two, 4, 4).guess, 0.2857, 5e-5);
	near(batch(two, 4, 4).entropy, 1.9502, 5e-5);
	near(batch(ten, 6, 6).entropy, 2.5219, 5e-5);
	near(batch(four, 4, 4).entropy, 2, 1e-12);
	/* The attacker's own letters are no cover. */
	near(batch(mine, 3, 2).guess, 0.75, 1e-12);
	assert_int_equal(batch(mine, 3, 2).weight, 4);
}

static void
the_stream_attack_is_the_exact_posterior(void **state)
{
	/* in, in, out, in, out, out: (.5, .5), (.25, .25, .5), (.25, .25, .5). */
	struct stream_attack *a = NULL;
	struct attack_view view;
	(void)state;
	assert_int_equal(stream_attack_create(3, 3, &a), ERR_OK);
	stream_attack_in(a, 0);
	stream_attack_in(a, 1);
	near(stream_attack_of(a, 0), 0.5, 1e-12);
	stream_attack_out(a, 0, &view);
	near(view.guess, 0.5, 1e-12);
	near(view.entropy, 1, 1e-12);
	stream_attack_in(a, 2);
	for (int i = 0; i < 2; i++) {
		near(stream_attack_of(a, 0), 0.25, 1e-12);
		near(stream_attack_of(a, 1), 0.25, 1e-12);
		near(stream_attack_of(a, 2), 0.5, 1e-12);
		stream_attack_out(a, 1, &view);
		near(view.guess, 0.5, 1e-12);
		near(view.entropy, 1.5, 1e-12);
	}
	stream_attack_in(a, 1);
	near(stream_attack_of(a, 1), 1, 1e-12);
	stream_attack_destroy(&a);
}

static void
the_stream_attack_sums_the_posterior_of_letters_over_members(void **state)
{
	enum { STEPS = 6000, MEMBERS = 7 };
	struct stream_attack *a = NULL;
	struct law_posterior *p = NULL;
	static uint32_t sender[STEPS];
	struct chance chance;
	size_t waiting = 0;
	size_t letters = 0;
	(void)state;
	chance_init(&chance, 5);
	assert_int_equal(stream_attack_create(MEMBERS, MEMBERS, &a), ERR_OK);
	assert_int_equal(law_posterior_create(STEPS, &p), ERR_OK);
	for (int i = 0; i < STEPS; i++) {
		size_t at = 0;
		/* Fills up to dozens, runs empty, and again. */
		bool in = waiting == 0 || chance_unit(&chance) < (i % 600 < 300 ? 0.6 : 0.35);
		if (in) {
			uint32_t m = (uint32_t)chance_below(&chance, MEMBERS);
			assert_int_equal(law_posterior_in(p, &at), ERR_OK);
			sender[letters++] = m;
			stream_attack_in(a, m);
			waiting++;
			continue;
		}
		struct attack_view view;
		double sum[MEMBERS] = {0};
		double best = 0;
		double bits = 0;
		assert_int_equal(law_posterior_out(p, &at), ERR_OK);
		for (size_t k = 0; k < letters; k++) {
			sum[sender[k]] += law_posterior_of(p, at, k);
		}
		for (uint32_t m = 0; m < MEMBERS; m++) {
			near(stream_attack_of(a, m), sum[m], 1e-9);
			best = sum[m] > best ? sum[m] : best;
			bits -= sum[m] > 0 ? sum[m] * log2(sum[m]) : 0;
		}
		stream_attack_out(a, 0, &view);
		waiting--;
		near(view.guess, best, 1e-9);
		near(view.entropy, bits, 1e-6);
	}
	law_posterior_destroy(&p);
	stream_attack_destroy(&a);
}

static void
theory_gives_the_known_values(void **state)
{
	(void)state;
	near(theory_guess_batch(2), 0.4323, 5e-5);
	near(theory_guess_batch(5), 0.1987, 5e-5);
	near(theory_guess_batch(10), 0.1, 5e-5);
	near(theory_guess_batch(0), 1, 0);
	near(theory_guess_exponential(9), 0.1, 1e-12);
	near(theory_guess_bound(4.5), 0.1, 1e-12);
	near(theory_entropy_exponential(10), 4.7646, 5e-5);
	near(theory_entropy_bound(1), 2, 1e-12);
	/* Two others needed among two, each there with 1/2: 3/4 shut. */
	near(theory_gate_shut(3, 24 * log(2), MSEC_HOUR, 3), 0.75, 1e-12);
	near(theory_gate_shut(2, 24, MSEC_HOUR, 3), 1, 0);
	near(theory_gate_shut(2, 24, MSEC_HOUR, 1), 0, 0);
	near(theory_gate_shut(1000000, 5, MSEC_HOUR, 3), 0, 1e-12);
}

static struct run_figures
run(enum law_kind kind, uint32_t k, msec period, const struct source_members *model)
{
	struct run_setup setup = {.law = {.kind = kind,
					  .clock = period,
					  .k = k,
					  .deadline = MSEC_DAY,
					  .mean = period,
					  .patient = 2 * MSEC_DAY},
				  .honest = UINT32_MAX,
				  .seed = 7};
	struct source *source = NULL;
	struct run_figures f;
	assert_int_equal(source_of_members(model, &source), ERR_OK);
	assert_int_equal(run_law(&setup, source, NULL, &f), ERR_OK);
	source_destroy(&source);
	assert_int_equal(f.left_waiting, 0);
	return f;
}

/*
 * Bounds: five standard errors as seen over seeds (the letters of one batch and of one night are not independent), and half a
 * unit of the last digit given.
 */
static void
the_laws_table_is_reproduced(void **state)
{
	static const struct {
		uint32_t members;
		double rate;
		double days;
		double mean;
		double guess[3];
		double guess_within;
		double half[3];
		double half_within;
		double p99;
		double p99_within;
	} cells[] = {
	    {10, 5, 1200, 62, {.28, .35, .33}, .012, {0, .099, .062}, .012, 681, 60},
	    {30, 5, 400, 35, {.175, .21, .19}, .009, {0, .037, .024}, .006, 193, 40},
	    {100, 1, 600, 38, {.16, .22, .18}, .010, {0, .044, .031}, .009, 255, 50},
	    {100, 5, 120, 31, {.077, .097, .082}, .005, {0, .009, .004}, .004, 60, 1},
	    {1000, 5, 12, 30, {.012, .014, .012}, .001, {0, 0, 0}, .0005, 59, 1},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		struct source_members model = {.members = cells[i].members,
					       .rate = cells[i].rate,
					       .days = cells[i].days,
					       .seed = 11 + i};
		struct run_figures f[3];
		f[0] = run(LAW_CROWD, 3, MSEC_HOUR, &model);
		msec mean = delays_mean(f[0].delays);
		f[1] = run(LAW_EXPONENTIAL, 0, (msec)((double)mean / 0.966), &model);
		f[2] = run(LAW_CROWD, 1, 2 * mean, &model);
		near((double)mean / (double)MSEC_MINUTE, cells[i].mean, 2);
		near((double)delays_quantile(f[0].delays, 0.99) / (double)MSEC_MINUTE, cells[i].p99,
		     cells[i].p99_within);
		for (size_t law = 0; law < 3; law++) {
			near(run_guess(&f[law]), cells[i].guess[law], cells[i].guess_within);
			near(run_above_half(&f[law]), cells[i].half[law],
			     law == 0 ? .0005 : cells[i].half_within);
			near((double)delays_mean(f[law].delays), (double)mean, 0.03 * (double)mean);
			run_figures_clear(&f[law]);
		}
	}
}

static void
nobody_has_more_than_one_in_k_where_the_promise_was_kept(void **state)
{
	(void)state;
	for (uint32_t k = 2; k <= 6; k++) {
		struct source_members model = {
		    .members = 25, .rate = 2, .days = 150, .large = 0.2, .seed = k};
		struct run_figures f = run(LAW_CROWD, k, 40 * MSEC_MINUTE, &model);
		assert_true(f.letters > 7000);
		assert_int_equal(f.above_kept, 0);
		near(f.largest_kept, 1.0 / k, 0.02);
		run_figures_clear(&f);
	}
	/* The same measure finds who has more, where there is no gate. */
	struct source_members model = {.members = 25, .rate = 2, .days = 20, .seed = 1};
	struct run_figures f = run(LAW_CROWD, 1, 40 * MSEC_MINUTE, &model);
	near(f.largest_kept, 1, 0);
	assert_true(run_above_half(&f) > 0.1);
	run_figures_clear(&f);
}

static void
a_fifth_of_large_letters_costs_what_the_law_says(void **state)
{
	/* The clocks that give the derivation's mean waits, 43 and 96 min, with our model of sizes. */
	struct source_members model = {.members = 100, .rate = 5, .days = 200, .large = 0.2, .seed = 1};
	struct run_figures f = run(LAW_CROWD, 3, 63 * MSEC_MINUTE, &model);
	(void)state;
	near((double)delays_mean(f.delays) / (double)MSEC_MINUTE, 43, 2);
	assert_true(run_guess(&f) <= 0.11);
	assert_true(run_void(&f) <= 0.012);
	near(run_overhead(&f), 2.4, 0.15);
	assert_int_equal(f.above_kept, 0);
	run_figures_clear(&f);
	model.rate = 1;
	model.days = 600;
	f = run(LAW_CROWD, 3, 66 * MSEC_MINUTE, &model);
	assert_true(delays_mean(f.delays) <= 96 * MSEC_MINUTE);
	assert_true(run_guess(&f) <= 0.21);
	assert_true(run_void(&f) <= 0.012);
	assert_int_equal(f.above_kept, 0);
	run_figures_clear(&f);
}

static void
a_regular_correspondent_is_found_after_a_few_letters_unless_patient(void **state)
{
	struct regular_setup setup = {.law = {.kind = LAW_CROWD,
					      .clock = MSEC_HOUR,
					      .k = 3,
					      .deadline = MSEC_DAY,
					      .mean = MSEC_HOUR,
					      .patient = 2 * MSEC_DAY},
				      .members = 100,
				      .rate = 5,
				      .days = 90,
				      .weekly = 1,
				      .tests = 40,
				      .certain = 0.95,
				      .seed = 3};
	struct regular_figures f;
	(void)state;
	assert_int_equal(regular_members(&setup, &f), ERR_OK);
	assert_int_equal(f.tests, 40);
	near(f.letters, 90.0 / 7, 2.5);
	assert_true(f.letters_half >= 2 && f.letters_half <= 7);
	assert_true(f.bayes[1] > 0.9 && f.disclosure[1] > 0.8);
	assert_true(isnan(f.bayes[2]));
	struct regular_setup stream = setup;
	stream.law = (struct law_config){.kind = LAW_EXPONENTIAL, .mean = MSEC_HOUR / 2};
	assert_int_equal(regular_members(&stream, &f), ERR_OK);
	assert_true(f.letters_half >= 2 && f.letters_half <= 8);
	assert_true(f.bayes[1] > 0.9 && f.disclosure[1] > 0.8);
	/* Who waits ten days with everybody else is not found by it. */
	stream.law.mean = 10 * MSEC_DAY;
	assert_int_equal(regular_members(&stream, &f), ERR_OK);
	assert_true(f.bayes[1] < 0.1);
	setup.patient = true;
	assert_int_equal(regular_members(&setup, &f), ERR_OK);
	near(f.bayes[1], 0, 0.03);
	assert_true(f.disclosure[1] < 0.2);
	assert_true(isnan(f.letters_half));
}

static void
a_trace_tests_its_own_correspondences(void **state)
{
	/* Forty people write to many; number 0 writes to "far" each week and nobody else does. */
	struct buf text = BUF_INIT(1 << 20);
	struct trace_error error;
	struct trace trace;
	struct chance chance;
	(void)state;
	chance_init(&chance, 9);
	for (unsigned long long t = 0; t < 60ULL * 86400; t += 300) {
		unsigned long long who = chance_below(&chance, 40);
		assert_int_equal(buf_printf(&text, "%llu to%llu %llu\n", who,
					    (unsigned long long)chance_below(&chance, 3000), t),
				 ERR_OK);
		if (t % (5ULL * 86400) == 0) {
			assert_int_equal(buf_printf(&text, "0 far %llu\n", t + 1), ERR_OK);
		}
	}
	assert_int_equal(trace_read(buf_bytes(&text), INT64_MAX, &trace, &error), ERR_OK);
	struct regular_setup setup = {
	    .law = {.kind = LAW_CROWD, .clock = MSEC_HOUR, .k = 3, .deadline = MSEC_DAY, .mean = 1},
	    .days = 60,
	    .tests = 5,
	    .certain = 0.95,
	    .seed = 1};
	struct regular_figures f;
	assert_int_equal(regular_trace(&setup, &trace, &f), ERR_OK);
	assert_int_equal(f.tests, 1);
	near(f.letters, 12, 0);
	near(f.bayes[0], 1, 0);
	assert_true(f.letters_half >= 2 && f.letters_half <= 6);
	trace_clear(&trace);
	buf_clear(&text);
}

static void
accounts_of_the_attacker_cost_one_of_k_each(void **state)
{
	struct law_config law = {
	    .kind = LAW_CROWD, .clock = MSEC_HOUR, .k = 4, .deadline = MSEC_DAY, .mean = MSEC_HOUR};
	(void)state;
	for (uint32_t c = 0; c <= 4; c++) {
		struct active_block b;
		assert_int_equal(active_block(&law, c, 1, &b), ERR_OK);
		assert_int_equal(b.is_void, c < 3);
		assert_true(c < 3 ? b.wait >= MSEC_DAY && b.wait <= MSEC_DAY + MSEC_HOUR
				  : b.wait <= MSEC_HOUR);
	}
	struct source_members model = {.members = 60, .rate = 5, .days = 40, .flood_rate = 240, .seed = 2};
	msec waits[6];
	for (uint32_t i = 0; i < 6; i++) {
		struct run_figures f;
		const uint32_t c = i % 3;
		model.flooders = c;
		model.flood_urgent = i >= 3;
		assert_int_equal(active_flood(&law, &model, &f), ERR_OK);
		near(f.largest_kept, 1.0 / (4 - c), 1e-9);
		waits[i] = delays_mean(f.delays);
		run_figures_clear(&f);
	}
	/* They never delay others: more letters only open the gate sooner. */
	assert_true(waits[1] <= waits[0] && waits[2] <= waits[1]);
	/* Nor do urgent ones, which count against nobody's share but their own. */
	assert_true(waits[4] <= waits[3] && waits[5] <= waits[3]);
}

static void
advice_keeps_within_its_limits(void **state)
{
	struct advise_setup setup = {.members = 100,
				     .rate = 5,
				     .large = 0.2,
				     .wait = 45 * MSEC_MINUTE,
				     .void_most = 0.012,
				     .deadline = MSEC_DAY,
				     .seed = 1};
	struct advise_choice choices[ADVISE_CHOICES];
	struct advise_size sizes[ADVISE_SIZES];
	size_t best = 0;
	(void)state;
	assert_int_equal(advise_choose(&setup, choices, &best), ERR_OK);
	assert_true(choices[best].fits && choices[best].mean <= setup.wait);
	assert_true(choices[best].void_share <= 0.012);
	for (size_t i = 0; i < ADVISE_CHOICES; i++) {
		assert_true(!choices[i].fits || choices[i].guess >= choices[best].guess);
	}
	assert_int_equal(advise_sizes(&setup, &choices[best].law, &attention_default, sizes), ERR_OK);
	for (size_t i = 1; i < ADVISE_SIZES; i++) {
		assert_true(sizes[i].guess < sizes[i - 1].guess * 1.05);
	}
	size_t turn = advise_turn(sizes);
	assert_true(turn < ADVISE_SIZES && sizes[turn].members > 100 && sizes[turn].members < 30000);
	near(advise_guess_at(sizes, sizes[4].members), sizes[4].guess, 1e-9);
	assert_true(sizes[advise_hides(sizes, 0.1)].guess <= 0.1);
	/* Who is not watched for his size has no reason to stay small. */
	struct attention none = {.floor = 0.1, .half = 1e15, .steep = 1};
	assert_int_equal(advise_sizes(&setup, &choices[best].law, &none, sizes), ERR_OK);
	assert_int_equal(advise_turn(sizes), ADVISE_SIZES);
	/* Too few letters for any limit: then no wait that is much longer than it must be. */
	setup.members = 60;
	setup.rate = 1;
	assert_int_equal(advise_choose(&setup, choices, &best), ERR_OK);
	assert_false(choices[best].fits);
	assert_true(best > 0 && choices[best].mean <= choices[0].mean + choices[0].mean / 4);
	setup.members = 2;
	assert_int_equal(advise_choose(&setup, choices, &best), ERR_NOT_FOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_batch_gives_each_member_her_share),
	    cmocka_unit_test(the_stream_attack_is_the_exact_posterior),
	    cmocka_unit_test(the_stream_attack_sums_the_posterior_of_letters_over_members),
	    cmocka_unit_test(theory_gives_the_known_values),
	    cmocka_unit_test(the_laws_table_is_reproduced),
	    cmocka_unit_test(nobody_has_more_than_one_in_k_where_the_promise_was_kept),
	    cmocka_unit_test(a_fifth_of_large_letters_costs_what_the_law_says),
	    cmocka_unit_test(a_regular_correspondent_is_found_after_a_few_letters_unless_patient),
	    cmocka_unit_test(a_trace_tests_its_own_correspondences),
	    cmocka_unit_test(accounts_of_the_attacker_cost_one_of_k_each),
	    cmocka_unit_test(advice_keeps_within_its_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
