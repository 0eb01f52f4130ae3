/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_CHANCE_H
#define COHUE_CROWD_CHANCE_H

#include "law/law.h"

/*
 * The seeded generator of simulations (splitmix64): the same numbers for the same seed on every machine, and one
 * call costs a nanosecond. It hides nothing: nothing here is ever sent.
 */

struct chance {
	uint64_t state;
};

void chance_init(struct chance *c, uint64_t seed);
uint64_t chance_u64(struct chance *c);
/* In (0, 1), 53 bits. */
double chance_unit(struct chance *c);
/* Uniform below n (1 to 2^32), but for a bias of n / 2^53. */
uint64_t chance_below(struct chance *c, uint64_t n);
/* Mean 1. */
double chance_exponential(struct chance *c);
/* Mean 0, deviation 1 (Box and Muller). */
double chance_normal(struct chance *c);
/* For the law: borrows the generator. */
struct law_random chance_law(struct chance *c);

#endif
