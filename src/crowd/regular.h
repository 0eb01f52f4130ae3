/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_REGULAR_H
#define COHUE_CROWD_REGULAR_H

#include "crowd/run.h"

/*
 * The observer over months: a member writes regularly to a small server (or domain) that nobody else here writes to. When does he know who? He sees
 * each batch: how many letters of each member are in it, and how many of them went to that server.
 *
 * Exact Bayes: under "it is member m", each of her letters goes there with an unknown constant probability q, uniform before. Her batches b
 * had r_b letters, of which v_b went there (v_b <= r_b, or it is not she):
 *     P(all | m) = Beta(V + 1, R - V + 1) * product of binomials C(r_b, v_b),   V, R the sums.
 * All members equally likely before. Found out: she has a probability of at least `certain`.
 *
 * Under the exponential law there are no batches: at a departure to that server each member has a probability p_m (attack.h), which
 * takes the binomials' place. Each departure is judged by itself, as if the others told nothing of it, so that this is
 * the best observer but for what little they do.
 *
 * Statistical disclosure (Danezis 2003): the mean share of each member in the batches with letters to that server, less
 * her share in all batches. Found out: she is the first and stays it.
 *
 * The patient lane: lanes are secret, so that whoever wrote anything since the store was last opened may be the one. Here all
 * letters go through it, which gives just this set.
 */

struct regular_setup {
	struct law_config law; /* crowd or exponential */
	bool patient;          /* crowd only */
	uint32_t members;
	double rate;
	uint32_t days;
	double weekly;  /* letters to that server in a week */
	uint32_t tests; /* members tried, each with a server of her own */
	double certain; /* 0.95 */
	uint64_t seed;
};

enum {
	REGULAR_MARKS = 3,
	REGULAR_CURVE = 14, /* points of the curve, four weeks apart, from 0 */
	REGULAR_CURVE_DAYS = 28,
};
extern const uint32_t regular_marks[REGULAR_MARKS]; /* days: 30, 90, 365 */

struct regular_figures {
	uint32_t tests;
	double letters; /* to the server, on average */
	/* After so many days (NAN beyond the run): the share found out. */
	double bayes[REGULAR_MARKS];
	double disclosure[REGULAR_MARKS];
	double curve[REGULAR_CURVE]; /* found out by Bayes */
	/* Letters until Bayes is certain, of all tests (NAN: not reached by so many). */
	double letters_tenth;
	double letters_half;
	double letters_most; /* nine of ten */
};

COHUE_MUST_USE enum err regular_members(const struct regular_setup *setup, struct regular_figures *ret);
/*
 * The same with a trace's own correspondences: pairs with at least one letter a week on average in the first `days`
 * of it, at most `tests` of them, drawn at random. setup's members, rate and weekly are not used.
 */
COHUE_MUST_USE enum err regular_trace(const struct regular_setup *setup, const struct trace *trace,
				      struct regular_figures *ret);

#endif
