/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_REPORTING_H
#define COHUE_COURIER_REPORTING_H

#include "courier/internal.h"

/*
 * Reports to others, of both kinds, once a day: what the gates judged and what this courier met. A day's sums stand in memory alone; of those
 * that may not be told nothing is left an hour after its end. The others wait for an hour of the following half day, drawn for each; only then
 * the DNS is asked who wants them, and where. The letters leave through the waiting room as mail of nobody.
 */

void reporting_init(struct courier *c);
/* ERR_FORMAT. */
COHUE_MUST_USE enum err reporting_take(struct courier *c, struct bytes rows);
/* What came of a session for a work's domain; new: it began for this work, and is counted. Nothing where reports.tls is off. */
void reporting_session(const struct work *w, enum tally_policy policy, enum tally_session session, bool new);

#endif
