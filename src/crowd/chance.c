/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/chance.h"

#include <math.h>

void
chance_init(struct chance *c, uint64_t seed)
{
	c->state = seed;
}

uint64_t
chance_u64(struct chance *c)
{
	uint64_t z = (c->state += 0x9e3779b97f4a7c15U);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

double
chance_unit(struct chance *c)
{
	return ((double)(chance_u64(c) >> 11) + 0.5) * 0x1p-53;
}

uint64_t
chance_below(struct chance *c, uint64_t n)
{
	return (uint64_t)(chance_unit(c) * (double)n);
}

double
chance_exponential(struct chance *c)
{
	return -log(chance_unit(c));
}

double
chance_normal(struct chance *c)
{
	double radius = sqrt(2 * chance_exponential(c));
	return radius * cos(2 * 3.14159265358979323846 * chance_unit(c));
}

static uint64_t
next(void *arg)
{
	struct chance *c = arg;
	return chance_u64(c);
}

struct law_random
chance_law(struct chance *c)
{
	return (struct law_random){.next = next, .arg = c};
}
