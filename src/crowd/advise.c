/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/advise.h"

#include <math.h>

enum { LETTERS = 20000, DAYS_LEAST = 4, DAYS_MOST = 500, SIMULATED = 30000 };

static const msec periods[ADVISE_CHOICES] = {5 * MSEC_MINUTE,  10 * MSEC_MINUTE,  15 * MSEC_MINUTE,
					     20 * MSEC_MINUTE, 30 * MSEC_MINUTE,  60 * MSEC_MINUTE,
					     90 * MSEC_MINUTE, 120 * MSEC_MINUTE, 240 * MSEC_MINUTE};
static const uint32_t gates[] = {3, 5, 8, 12, 20};
enum { GATES = sizeof(gates) / sizeof(gates[0]) };

static const double sizes[ADVISE_SIZES] = {3,    5,    10,   20,    30,    50,     100,    200,    500,
					   1000, 2000, 5000, 10000, 30000, 100000, 300000, 1000000};

const struct attention attention_default = {.floor = 0.05, .half = 10000, .steep = 1.5};

enum err
advise_try(const struct advise_setup *setup, const struct law_config *law, struct advise_choice *ret)
{
	double daily = (double)setup->members * setup->rate;
	double days = daily > 0 ? ceil(LETTERS / daily) : DAYS_MOST;
	struct source_members model = {
	    .members = setup->members,
	    .rate = setup->rate,
	    .days = days < DAYS_LEAST  ? DAYS_LEAST
		    : days > DAYS_MOST ? DAYS_MOST
				       : days,
	    .large = setup->large,
	    .seed = setup->seed,
	};
	struct run_setup run = {.law = *law, .honest = UINT32_MAX, .seed = setup->seed};
	struct run_figures f = {.delays = NULL};
	struct source *source = NULL;
	enum err e = source_of_members(&model, &source);
	e = e == ERR_OK ? run_law(&run, source, NULL, &f) : e;
	source_destroy(&source);
	if (e != ERR_OK) {
		return e;
	}
	*ret = (struct advise_choice){
	    .law = *law,
	    .mean = delays_mean(f.delays),
	    .p99 = delays_quantile(f.delays, 0.99),
	    .guess = run_guess(&f),
	    .void_share = run_void(&f),
	    .above_half = run_above_half(&f),
	};
	ret->fits = ret->mean <= setup->wait && ret->void_share <= setup->void_most && f.letters > 0;
	run_figures_clear(&f);
	return ERR_OK;
}

static enum err
choose_gate(const struct advise_setup *setup, msec period, struct advise_choice *ret)
{
	struct advise_choice kept = {.fits = false};
	for (size_t i = 0; i < GATES && gates[i] <= setup->members; i++) {
		struct law_config law = {.kind = LAW_CROWD,
					 .clock = period,
					 .k = gates[i],
					 .deadline = setup->deadline,
					 .mean = period,
					 .patient = advise_patient(setup->rate)};
		struct advise_choice c;
		enum err e = advise_try(setup, &law, &c);
		if (e != ERR_OK) {
			return e;
		}
		if (i > 0 && !c.fits) {
			break;
		}
		kept = c;
		if (!c.fits) {
			break;
		}
	}
	*ret = kept;
	return ERR_OK;
}

/* Where nothing fits, a wait of a quarter more than the shortest is bearable as well. */
static bool
is_bearable(const struct advise_choice *c, bool any_fits, msec shortest)
{
	return any_fits ? c->fits : c->mean <= shortest + shortest / 4;
}

static size_t
best_of(const struct advise_choice choices[ADVISE_CHOICES])
{
	bool any_fits = false;
	msec shortest = LAW_NEVER;
	size_t best = ADVISE_CHOICES;
	for (size_t i = 0; i < ADVISE_CHOICES; i++) {
		any_fits = any_fits || choices[i].fits;
		shortest = choices[i].mean < shortest ? choices[i].mean : shortest;
	}
	for (size_t i = 0; i < ADVISE_CHOICES; i++) {
		if (is_bearable(&choices[i], any_fits, shortest) &&
		    (best == ADVISE_CHOICES || choices[i].guess < choices[best].guess)) {
			best = i;
		}
	}
	return best;
}

enum err
advise_choose(const struct advise_setup *setup, struct advise_choice ret[ADVISE_CHOICES], size_t *ret_best)
{
	if (setup->members < gates[0]) {
		return ERR_NOT_FOUND;
	}
	for (size_t i = 0; i < ADVISE_CHOICES; i++) {
		enum err e = choose_gate(setup, periods[i], &ret[i]);
		if (e != ERR_OK) {
			return e;
		}
	}
	*ret_best = best_of(ret);
	return ERR_OK;
}

msec
advise_patient(double rate)
{
	return rate < 1 ? 7 * MSEC_DAY : 2 * MSEC_DAY;
}

double
attention_watched(const struct attention *a, double members)
{
	double n = pow(members, a->steep);
	double h = pow(a->half, a->steep);
	return a->floor + (1 - a->floor) * n / (n + h);
}

enum err
advise_sizes(const struct advise_setup *setup, const struct law_config *law,
	     const struct attention *attention, struct advise_size ret[ADVISE_SIZES])
{
	for (size_t i = 0; i < ADVISE_SIZES; i++) {
		struct advise_size *row = &ret[i];
		row->members = sizes[i];
		if (sizes[i] <= SIMULATED) {
			struct advise_setup one = *setup;
			struct law_config own = *law;
			struct advise_choice c;
			one.members = (uint32_t)sizes[i];
			own.k = own.k < one.members ? own.k : one.members;
			enum err e = advise_try(&one, &own, &c);
			if (e != ERR_OK) {
				return e;
			}
			row->guess = c.guess;
		} else {
			row->guess = ret[i - 1].guess * sizes[i - 1] / sizes[i];
		}
		row->watched = attention_watched(attention, row->members);
		row->risk = row->watched * row->guess;
	}
	return ERR_OK;
}

double
advise_guess_at(const struct advise_size rows[ADVISE_SIZES], double members)
{
	if (members <= rows[0].members) {
		return members < 2 ? 1 : rows[0].guess;
	}
	for (size_t i = 1; i < ADVISE_SIZES; i++) {
		if (members <= rows[i].members) {
			double part =
			    log(members / rows[i - 1].members) / log(rows[i].members / rows[i - 1].members);
			return rows[i - 1].guess * pow(rows[i].guess / rows[i - 1].guess, part);
		}
	}
	const struct advise_size *last = &rows[ADVISE_SIZES - 1];
	return last->guess * last->members / members;
}

size_t
advise_turn(const struct advise_size rows[ADVISE_SIZES])
{
	for (size_t i = 1; i < ADVISE_SIZES; i++) {
		if (rows[i].risk > rows[i - 1].risk) {
			return i - 1;
		}
	}
	return ADVISE_SIZES;
}

size_t
advise_hides(const struct advise_size rows[ADVISE_SIZES], double guess)
{
	size_t i = 0;
	while (i < ADVISE_SIZES && rows[i].guess > guess) {
		i++;
	}
	return i;
}
