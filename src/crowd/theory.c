/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/theory.h"

#include <math.h>

double
theory_guess_bound(double rho)
{
	return 1 / (2 * rho + 1);
}

double
theory_entropy_bound(double rho)
{
	return rho <= 0 ? 0 : (rho + 1) * log2(rho + 1) - rho * log2(rho);
}

double
theory_guess_exponential(double rho)
{
	return 1 / (1 + rho);
}

double
theory_entropy_exponential(double rho)
{
	/* e = exp(1); below 2 the fit of the simulations, which is not continuous with it. */
	return rho >= 2 ? log2(exp(1) * rho) : 2 * rho / (1 + rho / 3);
}

double
theory_guess_batch(double b)
{
	return b <= 0 ? 1 : -expm1(-b) / b;
}

double
theory_alone(double b)
{
	return exp(-b);
}

double
theory_gate_shut(uint32_t members, double rate, msec period, uint32_t k)
{
	double absent = exp(-rate * (double)period / (double)MSEC_DAY);
	double present = 1 - absent;
	uint32_t others = members > 0 ? members - 1 : 0;
	if (k <= 1) {
		return 0;
	}
	if (others < k - 1) {
		return 1;
	}
	if (absent <= 0) {
		return 0;
	}
	/* Binomial: the sum of the first k - 1 terms, each from the one before. */
	double term = exp((double)others * log(absent));
	double sum = 0;
	for (uint32_t i = 0; i < k - 1; i++) {
		sum += term;
		term *= (double)(others - i) / (double)(i + 1) * present / absent;
	}
	return sum < 1 ? sum : 1;
}

struct theory_cell
theory_cell(uint32_t members, double rate, msec period, uint32_t k)
{
	double b = (double)members * rate * (double)period / (double)MSEC_DAY;
	double rho = b / 2;
	return (struct theory_cell){
	    .members = members,
	    .rate = rate,
	    .period = period,
	    .b = b,
	    .mean = (double)period / 2,
	    .any = theory_guess_bound(rho),
	    .exponential = theory_guess_exponential(rho),
	    .batch = theory_guess_batch(b),
	    .alone = theory_alone(b),
	    .shut = theory_gate_shut(members, rate, period, k),
	    .bits_any = theory_entropy_bound(rho),
	    .bits_exponential = theory_entropy_exponential(rho),
	};
}
