/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_RUN_H
#define COHUE_CROWD_RUN_H

#include "crowd/delays.h"
#include "crowd/source.h"

/*
 * The server's own law in virtual time, and the observer of single messages (attack.h) beside it. A member's
 * letters of one size class and what leaves of that class are matched, class by class.
 */

struct run_setup {
	struct law_config law;
	uint8_t lane;    /* enum law_lane of all letters */
	uint32_t honest; /* members from here on are the attacker's; UINT32_MAX: none */
	uint64_t seed;   /* of the law's own randomness */
};

struct run_class {
	uint64_t letters;
	uint64_t void_letters;
	double wait; /* sum, ms */
};

/* Sums are over honest deliveries; the shares below divide them. */
struct run_figures {
	uint64_t letters; /* honest ones that left */
	uint64_t void_letters;
	uint64_t deliveries;
	double guess;
	double entropy;
	uint64_t above_half; /* deliveries where somebody has more than 1/2 */
	/* Letters for which the promise is said to hold, whatever else left with them: */
	double largest_kept; /* the largest probability of one's true sender */
	uint64_t
	    above_kept; /* deliveries where it is more than 1/k: must be 0 where nobody is the attacker's */
	double bytes;   /* on the wire without padding */
	double padded;  /* with it */
	double ticks;   /* that released something */
	struct run_class classes[LAW_CLASSES];
	struct delays *delays; /* owned */
	uint64_t left_waiting; /* at the end: 0 */
};

struct stream_attack;

/*
 * Called for each letter that leaves, in order; what leaves in one tick has the same `batch`, which counts up. `stream`: the exponential law's
 * attacker of its size class just before the departure (NULL for batches). May be NULL.
 */
struct run_hook {
	void (*left)(void *arg, uint64_t batch, msec when, const struct law_unit *unit,
		     const struct stream_attack *stream);
	void *arg;
};

/* Runs the source to its end, and what waits until it has left. ERR_MEMORY, ERR_LIMIT (more than a million waiting), what law_create says. */
COHUE_MUST_USE enum err run_law(const struct run_setup *setup, struct source *source,
				const struct run_hook *hook, struct run_figures *ret);
void run_figures_clear(struct run_figures *f);

double run_guess(const struct run_figures *f);
double run_entropy(const struct run_figures *f);
double run_above_half(const struct run_figures *f);
double run_void(const struct run_figures *f);
double run_overhead(const struct run_figures *f); /* padded over plain bytes */

#endif
