/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_ACTIVE_H
#define COHUE_CROWD_ACTIVE_H

#include "crowd/run.h"

/*
 * The attacker who does something: he holds accounts in the house, floods with them, or blocks all others at their lines (the "n - 1"
 * attack: only the victim and he himself are in the batch).
 */

/* All others are blocked; each of his accounts writes one letter in each period; the victim writes one. */
struct active_block {
	uint32_t accounts;
	msec wait;    /* until the victim's letter left */
	bool is_void; /* it left without the promise, and its sender is told */
};
COHUE_MUST_USE enum err active_block(const struct law_config *law, uint32_t accounts, uint64_t seed,
				     struct active_block *ret);

/* An ordinary house, with `model.flooders` of his accounts in it. Figures over the others' letters. */
COHUE_MUST_USE enum err active_flood(const struct law_config *law, const struct source_members *model,
				     struct run_figures *ret);

#endif
