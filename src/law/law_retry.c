/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "law/law.h"

msec
law_retry_at(unsigned failures, msec first_failure, msec give_up)
{
	/* Hours after the first failure; then every twelve. */
	static const msec early[] = {1, 2, 3, 4, 6, 10, 18};
	enum { EARLY = sizeof(early) / sizeof(early[0]), LATER = 12 };
	if (failures == 0) {
		return first_failure;
	}
	/* One more attempt stands at the end itself, so look at the attempt before, too. */
	msec offset = 0;
	msec before = 0;
	unsigned bounded = failures < 100000 ? failures : 100000;
	if (bounded <= EARLY) {
		offset = early[bounded - 1] * MSEC_HOUR;
		before = bounded > 1 ? early[bounded - 2] * MSEC_HOUR : 0;
	} else {
		offset = (early[EARLY - 1] + (msec)(bounded - EARLY) * LATER) * MSEC_HOUR;
		before = offset - LATER * MSEC_HOUR;
	}
	if (before >= give_up) {
		return LAW_NEVER;
	}
	return first_failure + (offset < give_up ? offset : give_up);
}

bool
law_retry_warns(msec first_failure, msec now, msec warn_after, bool warned)
{
	return !warned && now - first_failure >= warn_after;
}
