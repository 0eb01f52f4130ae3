/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_ADVISE_H
#define COHUE_CROWD_ADVISE_H

#include "crowd/run.h"

/*
 * Which T and k for how many members who write how much; found by running the law on made-up members (source.h) with
 * every pair of a short list.
 */

struct advise_setup {
	uint32_t members;
	double rate;      /* letters a member and day */
	double large;     /* share with attachments */
	msec wait;        /* the mean wait that members accept */
	double void_most; /* share of letters that may leave void: 0.012 */
	msec deadline;
	uint64_t seed;
};

struct advise_choice {
	struct law_config law;
	msec mean;
	msec p99;
	double guess;
	double void_share;
	double above_half;
	bool fits; /* wait and void are within the limits */
};

enum { ADVISE_CHOICES = 9 };

/*
 * One choice a period (5 min to 4 h): with the largest k of 3, 5, 8, 12, 20 that keeps within the limits (else k = 3). The best
 * is the one of least guess among those that fit; where none fits, among those that wait little longer than
 * the quickest. ERR_NOT_FOUND: fewer than 3 members, no crowd.
 */
COHUE_MUST_USE enum err advise_choose(const struct advise_setup *setup,
				      struct advise_choice ret[ADVISE_CHOICES], size_t *ret_best);
/* Runs one setting long enough for two digits. */
COHUE_MUST_USE enum err advise_try(const struct advise_setup *setup, const struct law_config *law,
				   struct advise_choice *ret);
/* The patient store's period: 48 h, 7 days where people write less than about once a day. */
msec advise_patient(double rate);

/*
 * A model of attention, open to change, since nobody can measure it: an observer decides whether a service is worth watching at all. The
 * chance of it rises with its size N:
 *     watched(N) = floor + (1 - floor) N^steep / (N^steep + half^steep)
 * and the risk that one letter is assigned to its sender is watched(N) * guess(N).
 */
struct attention {
	double floor; /* watched for other reasons than size: 0.05 */
	double half;  /* members at which every second service is watched: 10,000 */
	double steep; /* 1.5 */
};
extern const struct attention attention_default;
double attention_watched(const struct attention *a, double members);

enum { ADVISE_SIZES = 17 };
struct advise_size {
	double members;
	double guess; /* simulated up to 30,000 members; beyond, taken to fall with 1/N */
	double watched;
	double risk;
};
/* 3 to 1,000,000 members under one law and rate. `law.k` is lowered to the members where need be. */
COHUE_MUST_USE enum err advise_sizes(const struct advise_setup *setup, const struct law_config *law,
				     const struct attention *attention, struct advise_size ret[ADVISE_SIZES]);
/* The guess at any size, between the rows (straight in logarithms). */
double advise_guess_at(const struct advise_size rows[ADVISE_SIZES], double members);
/* The row from which on more members raise the risk; ADVISE_SIZES where they never do. */
size_t advise_turn(const struct advise_size rows[ADVISE_SIZES]);
/* The first row whose guess is at most that; ADVISE_SIZES where none is. */
size_t advise_hides(const struct advise_size rows[ADVISE_SIZES], double guess);

#endif
