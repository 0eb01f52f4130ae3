/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_THEORY_H
#define COHUE_CROWD_THEORY_H

#include "law/law.h"

/*
 * What can be said without simulating, for letters that come at a constant rate (a real day is more uneven: `cohue crowd simulate`). rho is the
 * number of letters that come within a mean wait.
 */

/* No law can push the best guess below this, nor the entropy (bits) above that, at rho. */
double theory_guess_bound(double rho);
double theory_entropy_bound(double rho);
/* The exponential law (stop-and-go; Danezis 2004): the best guess at a departure, and its entropy. */
double theory_guess_exponential(double rho);
double theory_entropy_exponential(double rho);
/* A plain batch of b letters on average: E[1/n] for a letter, (1 - e^-b) / b. 1 at b = 0. */
double theory_guess_batch(double b);
/* That a letter leaves a plain batch alone: e^-b. */
double theory_alone(double b);
/*
 * That the gate stays shut for a letter at its first tick: fewer than k - 1 of the other members wrote in the period.
 * Each of them writes `rate` letters a day.
 */
double theory_gate_shut(uint32_t members, double rate, msec period, uint32_t k);

struct theory_cell {
	uint32_t members;
	double rate; /* letters a member and day */
	msec period;
	double b;    /* letters a period */
	double mean; /* ms: half the period */
	double any;  /* best guess under any law at this mean wait */
	double exponential;
	double batch;
	double alone;
	double shut;
	double bits_any;
	double bits_exponential;
};
struct theory_cell theory_cell(uint32_t members, double rate, msec period, uint32_t k);

#endif
