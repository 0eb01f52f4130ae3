/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_ATTACK_H
#define COHUE_CROWD_ATTACK_H

#include "law/law.h"

/*
 * The observer of one departure: who sent it? He sees all submissions (who, when, which size class) and all departures (when,
 * which class), knows the law and its settings, and has no prior about who writes to whom. Both attackers are
 * exact, that is: nobody who sees no more can do better.
 *
 * Members numbered from `honest` on are his own: he knows their letters and leaves them out.
 */

/* What he knows of one departure, or of each departure of a batch. */
struct attack_view {
	double guess;     /* probability of the likeliest member */
	double entropy;   /* over members, in bits */
	uint32_t members; /* possible ones */
	uint64_t weight;  /* honest departures that this holds for */
};

/*
 * Batches (crowd, and the plain batch, which is its k = 1): what leaves in one tick and one size class leaves in random order, so each
 * departure is a member's with the share of the deliveries that she has in it. Who is in the batch is public,
 * since the rules of release need nothing secret (but the lanes: see regular.h).
 */
struct batch_attack;
COHUE_MUST_USE enum err batch_attack_create(uint32_t people, uint32_t honest, struct batch_attack **ret);
void batch_attack_destroy(struct batch_attack **a);
void batch_attack_add(struct batch_attack *a, uint32_t member, uint32_t weight);
/* The probability, for each departure of the batch added so far, that it is this member's. */
double batch_attack_of(const struct batch_attack *a, uint32_t member);
/* Looks at the batch added since the last look, and forgets it. weight 0: nothing honest was in it. */
void batch_attack_look(struct batch_attack *a, struct attack_view *ret);

/*
 * The exponential law, one size class: law/posterior.h summed over each member's letters. At a departure with n waiting letter i left with
 * p_i / n; all p_i then shrink by the same factor, so that the sums by member keep their order and their
 * proportions until the next arrival: O(1) a step. (The law redraws beyond 5 m; he neglects these 0.7 %.)
 */
struct stream_attack;
COHUE_MUST_USE enum err stream_attack_create(uint32_t people, uint32_t honest, struct stream_attack **ret);
void stream_attack_destroy(struct stream_attack **a);
void stream_attack_in(struct stream_attack *a, uint32_t member);
/* A departure of `member`'s (he is not told whose, but knows his own). weight 0: his own. */
void stream_attack_out(struct stream_attack *a, uint32_t member, struct attack_view *ret);
/* The probability that the next departure is this member's. */
double stream_attack_of(const struct stream_attack *a, uint32_t member);

#endif
