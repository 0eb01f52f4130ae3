/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROCESS_STATUS_H
#define COHUE_PROCESS_STATUS_H

#include "base/bytes.h"

/*
 * What `cohue status` may tell of a role's figures. A role writes lines "name value" as they are at this moment, and says
 * with a mark before the name what each is:
 *     +name N   a sum since the start, of mail or of what members do: told of the last whole hour and of the last 24
 *     =name N   an amount at this moment: told as it was when the last whole hour ended
 *     ~name N   the same, and left out where it was 0
 *     !name N   faults of the house: told at once, as a sum since the start
 *     name x    of the house, nothing to do with who writes when: told as it is
 * Each number is told as the next power of ten, as "name_last_hour_at_most", "name_last_day_at_most", "name_at_most". So who
 * asks every second learns no more than who asks once an hour, and neither sees a single letter. With `exact` (tests) the
 * marks are left out and each number is told as it is. Pure; the hours are passed in.
 */

enum { STATUS_FIGURES = 64, STATUS_HOURS = 24, STATUS_NAME_MAX = 40 };

struct status_figure {
	char name[STATUS_NAME_MAX];    /* with its mark */
	uint64_t at[STATUS_HOURS + 1]; /* at the ends of the last hours, the latest first */
};

struct status_record {
	struct status_figure figures[STATUS_FIGURES];
	size_t count;
	bool begun;
	uint64_t hours; /* that have ended since the start */
};

/* An hour has ended: what the role says at that moment. The first time: at its start. */
void status_hour_ends(struct status_record *s, struct bytes lines);
/* Appends what may be told of these lines. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err status_tell(const struct status_record *s, struct bytes lines, bool exact,
				    struct buf *out);
/* 0, 10, 100, 1000 … : the least that is not below n. */
uint64_t status_coarse(uint64_t n);

#endif
